//! `analysis_config.json`: which columns are what, and how predictions are analysed.
//!
//! The keys are those of Clarify's file of this name (developer guide, page `clarify-processing-job-configure-analysis`)
//! and, in snake case, those of a model quality job definition (API, `ModelQualityAppSpecification`, `EndpointInput`); some
//! are Driftwarden's own. Keys that are not known are left alone.

use analysis::{
    attribution::Aggregation,
    bias::{Bootstrap, Cell, Metric, Stage},
    model_quality::ProblemType,
};
use model_monitor::MonitorType;
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, Error as _},
};
use serde_json::Value;
use std::{collections::BTreeSet, fmt};

/// Its name in the baseline's folder.
pub const ANALYSIS_CONFIG: &str = "analysis_config.json";

/// A file may be this large: it can hold the rows of a SHAP baseline.
const MAX_BYTES: usize = 64 << 20;
/// So many datasets are drawn for an interval at most.
const MAX_RESAMPLES: u32 = 100_000;

/// Why a configuration cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{object}: {message}")]
    File {
        /// The file.
        object: String,
        /// What is wrong with it.
        message: String,
    },
    /// A value is not what it should be.
    #[error("{object}, `{key}`: {message}")]
    Value {
        /// The file.
        object: String,
        /// The key.
        key: String,
        /// What is wrong with its value.
        message: String,
    },
    /// A key is missing that the analysis needs.
    #[error("`{key}` is missing in analysis_config.json: {why}")]
    Missing {
        /// The key, or several of which one is needed.
        key: &'static str,
        /// What it is needed for.
        why: &'static str,
    },
    /// There is no file, and the analysis needs one.
    #[error(
        "{0} needs an analysis_config.json that says which columns are what: give one, or put it beside the baseline"
    )]
    None(MonitorType),
}

/// A column, or a key of the response: by its name, or by its place from 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Named {
    /// Its name; for JSON a path to it.
    Name(String),
    /// Its place.
    Index(usize),
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => write!(f, "column `{name}`"),
            Self::Index(index) => write!(f, "column {index}"),
        }
    }
}

impl<'de> Deserialize<'de> for Named {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "expected a name or a place from 0")]
        enum Raw {
            Index(usize),
            Name(String),
        }
        Ok(match Raw::deserialize(deserializer)? {
            Raw::Index(index) => Self::Index(index),
            Raw::Name(name) => Self::Name(name),
        })
    }
}

/// A list, or its only item.
#[derive(Debug, Clone, PartialEq)]
struct Many<T>(Vec<T>);

impl<T> Default for Many<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Many<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let one = |value: Value, place: &dyn fmt::Display| {
            serde_json::from_value(value).map_err(|error| D::Error::custom(format_args!("{place}{error}")))
        };
        Ok(Self(match Value::deserialize(deserializer)? {
            Value::Null => Vec::new(),
            Value::Array(values) => {
                let values = values.into_iter().enumerate();
                let values = values.map(|(at, value)| one(value, &format_args!("[{at}]: ")));
                values.collect::<Result<_, _>>()?
            }
            value => vec![one(value, &"")?],
        }))
    }
}

/// A sensitive attribute.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Facet {
    /// Its column.
    pub name_or_index: Named,
    #[serde(default)]
    value_or_threshold: Many<Cell>,
}

impl Facet {
    /// The values of the sensitive group, or one threshold; none for each value against the rest.
    pub fn values(&self) -> &[Cell] {
        &self.value_or_threshold.0
    }
}

/// Which metrics of a stage are reported.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
enum Metrics {
    #[default]
    All,
    Some(BTreeSet<Metric>),
}

impl<'de> Deserialize<'de> for Metrics {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let names = Many::<String>::deserialize(deserializer)?.0;
        if names.iter().any(|name| name == "all") {
            return Ok(Self::All);
        }
        let metric = |name: &String| {
            let known = Metric::new(name);
            known.ok_or_else(|| D::Error::custom(format!("`{name}` is no bias metric, nor `all`")))
        };
        names.iter().map(metric).collect::<Result<_, _>>().map(Self::Some)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
struct BiasMethod {
    #[serde(default)]
    methods: Metrics,
}

/// `methods`: what is analysed. A section that is left out is not.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
struct Methods {
    pre_training_bias: Option<BiasMethod>,
    post_training_bias: Option<BiasMethod>,
    shap: Option<Shap>,
}

/// `methods.shap`: how feature attributions are computed.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct Shap {
    /// The rows that features are held against, each with all features in their order; if there are none, the centres of
    /// clusters of the dataset.
    pub baseline: Option<Vec<Vec<Cell>>>,
    /// Into how many clusters the dataset goes, where no rows are given.
    pub num_clusters: usize,
    /// How many coalitions of features the model is asked about for each row.
    pub num_samples: Option<usize>,
    /// How local values become global ones.
    pub agg_method: Aggregation,
    /// Whether log-odds are explained.
    pub use_logit: bool,
    /// What rows and coalitions are drawn by.
    pub seed: u64,
    /// How many rows of the dataset are explained; Driftwarden's own.
    pub sample_rows: usize,
    /// How many rows the model is asked about in one request; Driftwarden's own.
    pub batch_rows: usize,
}

impl Default for Shap {
    fn default() -> Self {
        Self {
            baseline: None,
            num_clusters: 1,
            num_samples: None,
            agg_method: Aggregation::default(),
            use_logit: false,
            seed: 0,
            sample_rows: 100,
            batch_rows: 1_000,
        }
    }
}

/// `predictor`: what the model takes and answers.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct Predictor {
    /// The endpoint.
    pub endpoint_name: Option<String>,
    /// What requests are in: `text/csv`, `application/jsonlines` or `application/json`.
    pub content_type: Option<String>,
    /// What responses are in; by default as the requests.
    pub accept_type: Option<String>,
    /// A request in JSON, or a line of it, around `$features`, `$record` or `$records`.
    pub content_template: Option<String>,
    /// A record of a request in JSON, around `$features` or `$features_kvp`.
    pub record_template: Option<String>,
    /// The predicted label in the response.
    pub label: Option<Named>,
    /// The probability, or the score, in the response.
    pub probability: Option<Named>,
    /// What the labels are called.
    pub label_headers: Option<Vec<Value>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Intervals(Option<Bootstrap>);

impl<'de> Deserialize<'de> for Intervals {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(
            untagged,
            expecting = "expected true, false or {\"resamples\", \"confidence\", \"seed\"}"
        )]
        enum Raw {
            Switch(bool),
            Options {
                resamples: Option<u32>,
                confidence: Option<f64>,
                seed: Option<u64>,
            },
        }
        let usual = Bootstrap::default();
        let bootstrap = match Raw::deserialize(deserializer)? {
            Raw::Switch(on) => return Ok(Self(on.then_some(usual))),
            Raw::Options {
                resamples,
                confidence,
                seed,
            } => Bootstrap {
                resamples: resamples.unwrap_or(usual.resamples),
                confidence: confidence.unwrap_or(usual.confidence),
                seed: seed.unwrap_or(usual.seed),
            },
        };
        if !(1..=MAX_RESAMPLES).contains(&bootstrap.resamples) {
            let message = format!("resamples is {}, not 1 to {MAX_RESAMPLES}", bootstrap.resamples);
            return Err(D::Error::custom(message));
        }
        if !(bootstrap.confidence > 0.0 && bootstrap.confidence < 1.0) {
            let message = format!("confidence is {}, not between 0 and 1", bootstrap.confidence);
            return Err(D::Error::custom(message));
        }
        Ok(Self(Some(bootstrap)))
    }
}

/// `analysis_config.json`.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub struct AnalysisConfig {
    /// The names of the dataset's columns, where it has none.
    pub headers: Vec<String>,
    /// Where the features are in a record of JSON.
    pub features: Option<String>,
    /// The label.
    pub label: Option<Named>,
    label_values_or_threshold: Many<Cell>,
    facet: Many<Facet>,
    /// The subgroups of conditional metrics.
    pub group_variable: Option<Named>,
    /// A column that is only an identifier, and no feature.
    pub joinsource_name_or_index: Option<Named>,
    /// What the model predicted, in the dataset.
    pub predicted_label: Option<Named>,
    /// The probability that it gave, in the dataset.
    pub probability: Option<Named>,
    /// From which probability on the prediction is positive.
    pub probability_threshold: Option<f64>,
    methods: Option<Methods>,
    /// What the model takes and answers.
    pub predictor: Predictor,
    /// Model quality: what kind of problem the model solves.
    pub problem_type: Option<ProblemType>,
    /// Model quality: the prediction.
    pub inference_attribute: Option<Named>,
    /// Model quality: the probability.
    pub probability_attribute: Option<Named>,
    /// Model quality: from which probability on the prediction is positive.
    pub probability_threshold_attribute: Option<f64>,
    /// Model quality: the label.
    pub ground_truth_attribute: Option<Named>,
    /// Model quality of two classes: the positive one, if it is not the last in sort order; Driftwarden's own.
    pub positive_label: Option<Cell>,
    /// Model quality: the column by whose values metrics are told apart; Driftwarden's own.
    pub segment: Option<Named>,
    /// Model quality of two classes: whether it is estimated from probabilities while labels are late; Driftwarden's own.
    pub estimate_without_labels: bool,
    bootstrap: Intervals,
    /// The file as it is.
    #[serde(skip)]
    raw: Value,
}

impl AnalysisConfig {
    /// Reads a configuration; `object` is what errors call it.
    ///
    /// # Errors
    /// If it is not JSON, or a key has a value that it cannot have.
    pub fn parse(object: &str, bytes: &[u8]) -> Result<Self, ConfigError> {
        let file = |message: String| ConfigError::File {
            object: object.to_owned(),
            message,
        };
        let value = |key: String, message: String| ConfigError::Value {
            object: object.to_owned(),
            key,
            message,
        };
        if bytes.len() > MAX_BYTES {
            return Err(file(format!(
                "it has {} bytes, at most {MAX_BYTES} are read",
                bytes.len()
            )));
        }
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let raw: Value = serde_json::from_slice(bytes).map_err(|error| file(format!("it is not JSON: {error}")))?;
        if !raw.is_object() {
            return Err(file("it is no JSON object".to_owned()));
        }
        let mut deserializer = serde_json::Deserializer::from_slice(bytes);
        let mut config: Self = serde_path_to_error::deserialize(&mut deserializer)
            .map_err(|error| value(error.path().to_string(), error.inner().to_string()))?;
        config.raw = raw;
        for (key, threshold) in [
            ("probability_threshold", config.probability_threshold),
            (
                "probability_threshold_attribute",
                config.probability_threshold_attribute,
            ),
        ] {
            if threshold.is_some_and(|threshold| !threshold.is_finite()) {
                return Err(value(key.to_owned(), "it is no finite number".to_owned()));
            }
        }
        let mut seen = BTreeSet::new();
        if let Some(name) = config.headers.iter().find(|name| !seen.insert(name.as_str())) {
            return Err(value("headers".to_owned(), format!("two columns are called `{name}`")));
        }
        let shap = config.shap();
        for (key, number) in [("sample_rows", shap.sample_rows), ("batch_rows", shap.batch_rows)] {
            if number == 0 {
                return Err(value(format!("methods.shap.{key}"), "it must be at least 1".to_owned()));
            }
        }
        Ok(config)
    }

    /// The file as it is.
    pub fn raw(&self) -> &Value {
        &self.raw
    }

    /// The positive values of the label, or one threshold.
    pub fn label_values(&self) -> &[Cell] {
        &self.label_values_or_threshold.0
    }

    /// The sensitive attributes.
    pub fn facets(&self) -> &[Facet] {
        &self.facet.0
    }

    /// How intervals around bias metrics are made, if they are.
    pub fn bootstrap(&self) -> Option<Bootstrap> {
        self.bootstrap.0
    }

    /// How feature attributions are computed.
    pub fn shap(&self) -> Shap {
        let methods = self.methods.as_ref();
        methods.and_then(|methods| methods.shap.clone()).unwrap_or_default()
    }

    /// From which probability on a prediction is positive: 0.5, if nothing is said.
    pub fn threshold(&self) -> f64 {
        let said = self.probability_threshold_attribute.or(self.probability_threshold);
        said.unwrap_or(0.5)
    }

    /// Whether the model is to be asked for what it predicts: there is a `predictor`.
    pub fn asks_model(&self) -> bool {
        self.raw.get("predictor").is_some_and(Value::is_object)
    }

    /// Whether something says where the model's answer is.
    pub fn names_prediction(&self) -> bool {
        let said = [
            &self.inference_attribute,
            &self.predicted_label,
            &self.probability_attribute,
            &self.probability,
            &self.predictor.label,
            &self.predictor.probability,
        ];
        said.iter().any(|named| named.is_some())
    }

    /// Whether `methods` has a section about bias.
    pub fn names_bias_methods(&self) -> bool {
        let methods = self.methods.as_ref();
        methods.is_some_and(|methods| methods.pre_training_bias.is_some() || methods.post_training_bias.is_some())
    }

    /// Whether a bias metric is asked for: all are, if no section of `methods` is about bias.
    pub fn reports(&self, metric: Metric) -> bool {
        let methods = self.methods.as_ref();
        let pre = methods.and_then(|methods| methods.pre_training_bias.as_ref());
        let post = methods.and_then(|methods| methods.post_training_bias.as_ref());
        let of_stage = match metric.stage() {
            Stage::PreTraining => pre,
            Stage::PostTraining => post,
        };
        match of_stage {
            None => !self.names_bias_methods(),
            Some(BiasMethod { methods: Metrics::All }) => true,
            Some(BiasMethod {
                methods: Metrics::Some(metrics),
            }) => metrics.contains(&metric),
        }
    }
}
