//! `analysis_config.json`: the roles of the columns, and how predictions are analyzed.
//!
//! The keys are those of Clarify's file of this name (developer guide, page
//! `clarify-processing-job-configure-analysis`) and, in snake case, those of a model quality job definition (API,
//! `ModelQualityAppSpecification`, `EndpointInput`). Some keys are Driftwarden extensions. Unknown keys are ignored; those that are
//! similar to a known one are reported.

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

/// Name of the file in the folder of the baseline.
pub const ANALYSIS_CONFIG: &str = "analysis_config.json";

/// Maximum size of the file in bytes. It can contain the rows of a SHAP baseline.
const MAX_BYTES: usize = 64 << 20;
/// Maximum number of resamples for a confidence interval.
const MAX_RESAMPLES: u32 = 100_000;

/// Reason for which a configuration is invalid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The file is not readable.
    #[error("{object}: {message}")]
    File {
        /// Name of the file.
        object: String,
        /// Description of the problem.
        message: String,
    },
    /// A value is invalid.
    #[error("{object}, `{key}`: {message}")]
    Value {
        /// Name of the file.
        object: String,
        /// Key of the value.
        key: String,
        /// Description of the problem.
        message: String,
    },
    /// A key that the analysis requires is missing.
    #[error("`{key}` is missing in analysis_config.json: {why}")]
    Missing {
        /// Missing key, or several keys of which one is required.
        key: &'static str,
        /// What to set it to.
        why: &'static str,
    },
    /// The analysis requires a file, and there is none.
    #[error(
        "{0} requires an analysis_config.json that assigns roles to the columns: pass one, or put it into the folder \
         of the baseline"
    )]
    None(MonitorType),
}

/// A column, or a key of the response: a name or a zero-based index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Named {
    /// Name, or path in JSON.
    Name(String),
    /// Zero-based index.
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
        #[serde(untagged, expecting = "expected a column name or a zero-based index")]
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

/// Sensitive attribute.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Facet {
    /// Column of the attribute.
    pub name_or_index: Named,
    #[serde(default)]
    value_or_threshold: Many<Cell>,
}

impl Facet {
    /// Values of the sensitive group, or one threshold. If empty, each value is compared with the rest.
    pub fn values(&self) -> &[Cell] {
        &self.value_or_threshold.0
    }
}

/// Selected metrics of a stage.
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
            known.ok_or_else(|| D::Error::custom(format!("`{name}` is neither a bias metric nor `all`")))
        };
        names.iter().map(metric).collect::<Result<_, _>>().map(Self::Some)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
struct BiasMethod {
    #[serde(default)]
    methods: Metrics,
}

/// `methods`: the selected analyses. A section that is absent is skipped.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
struct Methods {
    pre_training_bias: Option<BiasMethod>,
    post_training_bias: Option<BiasMethod>,
    shap: Option<Shap>,
}

/// `methods.shap.baseline`, in one of the forms of Clarify.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum ShapBaseline {
    /// Rows, each with all features in order.
    Rows(Vec<Vec<Cell>>),
    /// An S3 URI, or records with keys. Only the analysis of attributions rejects it.
    Other(Value),
}

/// `methods.shap`: how feature attributions are computed.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct Shap {
    /// Rows that are the reference for features, each with all features in order. Without rows, cluster centers of the
    /// dataset are used.
    pub baseline: Option<ShapBaseline>,
    /// Number of clusters of the dataset if no rows are set.
    pub num_clusters: usize,
    /// Number of feature coalitions that the model is asked to predict for each row.
    pub num_samples: Option<usize>,
    /// How local values are aggregated to global ones.
    pub agg_method: Aggregation,
    /// Whether log-odds are explained.
    pub use_logit: bool,
    /// Seed for the sampling of rows and coalitions.
    pub seed: u64,
    /// Number of rows of the dataset that are explained. Driftwarden extension.
    pub sample_rows: usize,
    /// Number of rows in one request to the model. Driftwarden extension.
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

/// `predictor`: request and response formats of the model.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct Predictor {
    /// Name of the endpoint.
    pub endpoint_name: Option<String>,
    /// Format of requests: `text/csv`, `application/jsonlines`, or `application/json`.
    pub content_type: Option<String>,
    /// Format of responses. Default: the format of requests.
    pub accept_type: Option<String>,
    /// Template of a request in JSON, or of one of its lines, with `$features`, `$record`, or `$records`.
    pub content_template: Option<String>,
    /// Template of a record in a JSON request, with `$features` or `$features_kvp`.
    pub record_template: Option<String>,
    /// Predicted label in the response.
    pub label: Option<Named>,
    /// Probability or score in the response.
    pub probability: Option<Named>,
    /// Names of the labels.
    pub label_headers: Option<Vec<Value>>,
}

impl Predictor {
    /// Names of the labels.
    pub fn label_names(&self) -> Vec<String> {
        let name = |value: &Value| value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
        self.label_headers.iter().flatten().map(name).collect()
    }
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
            let message = format!("resamples is {}: expected 1 to {MAX_RESAMPLES}", bootstrap.resamples);
            return Err(D::Error::custom(message));
        }
        if !(bootstrap.confidence > 0.0 && bootstrap.confidence < 1.0) {
            let message = format!(
                "confidence is {}: expected a number between 0 and 1",
                bootstrap.confidence
            );
            return Err(D::Error::custom(message));
        }
        Ok(Self(Some(bootstrap)))
    }
}

/// `analysis_config.json`.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub struct AnalysisConfig {
    /// Column names, for a dataset without a header.
    pub headers: Vec<String>,
    /// Path of the features in a JSON record.
    pub features: Option<String>,
    /// The label.
    pub label: Option<Named>,
    label_values_or_threshold: Many<Cell>,
    facet: Many<Facet>,
    /// Column with the subgroups of conditional metrics.
    pub group_variable: Option<Named>,
    /// Column that is only an identifier, not a feature.
    pub joinsource_name_or_index: Option<Named>,
    /// Predicted label, in the dataset.
    pub predicted_label: Option<Named>,
    /// Predicted probability, in the dataset.
    pub probability: Option<Named>,
    /// Probability from which a prediction is positive.
    pub probability_threshold: Option<f64>,
    methods: Option<Methods>,
    /// Request and response formats of the model.
    pub predictor: Predictor,
    /// Model quality: problem type.
    pub problem_type: Option<ProblemType>,
    /// Model quality: predicted label or value.
    pub inference_attribute: Option<Named>,
    /// Model quality: predicted probability.
    pub probability_attribute: Option<Named>,
    /// Model quality: probability from which a prediction is positive.
    pub probability_threshold_attribute: Option<f64>,
    /// Model quality: label.
    pub ground_truth_attribute: Option<Named>,
    /// Model quality with two classes: the positive class. Default: the last one in sort order. Driftwarden extension.
    pub positive_label: Option<Cell>,
    /// Model quality: column whose values split the metrics into segments. Driftwarden extension.
    pub segment: Option<Named>,
    /// Model quality with two classes: whether metrics are estimated from probabilities while labels are late.
    /// Driftwarden extension.
    pub estimate_without_labels: bool,
    bootstrap: Intervals,
    /// File as read.
    #[serde(skip)]
    raw: Value,
}

impl AnalysisConfig {
    /// Parses a configuration. `object` is its name in errors.
    ///
    /// # Errors
    /// Fails if the file is not JSON, or a key has an invalid value.
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
                "the file has {} bytes; the limit is {MAX_BYTES} bytes",
                bytes.len()
            )));
        }
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let raw: Value = serde_json::from_slice(bytes).map_err(|error| file(format!("not valid JSON: {error}")))?;
        if !raw.is_object() {
            return Err(file("expected a JSON object".to_owned()));
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
                return Err(value(key.to_owned(), "expected a finite number".to_owned()));
            }
        }
        let mut seen = BTreeSet::new();
        if let Some(name) = config.headers.iter().find(|name| !seen.insert(name.as_str())) {
            return Err(value(
                "headers".to_owned(),
                format!("two columns have the name `{name}`"),
            ));
        }
        let shap = config.shap();
        for (key, number) in [("sample_rows", shap.sample_rows), ("batch_rows", shap.batch_rows)] {
            if number == 0 {
                return Err(value(
                    format!("methods.shap.{key}"),
                    "expected a number of at least 1".to_owned(),
                ));
            }
        }
        Ok(config)
    }

    /// File as read.
    pub fn raw(&self) -> &Value {
        &self.raw
    }

    /// Positive values of the label, or one threshold.
    pub fn label_values(&self) -> &[Cell] {
        &self.label_values_or_threshold.0
    }

    /// Sensitive attributes.
    pub fn facets(&self) -> &[Facet] {
        &self.facet.0
    }

    /// Settings of the confidence intervals of bias metrics; `None` if there are none.
    pub fn bootstrap(&self) -> Option<Bootstrap> {
        self.bootstrap.0
    }

    /// Settings of the feature attributions.
    pub fn shap(&self) -> Shap {
        let methods = self.methods.as_ref();
        methods.and_then(|methods| methods.shap.clone()).unwrap_or_default()
    }

    /// Probability from which a prediction is positive. Default: 0.5.
    pub fn threshold(&self) -> f64 {
        let said = self.probability_threshold_attribute.or(self.probability_threshold);
        said.unwrap_or(0.5)
    }

    /// Whether predictions come from calls to the model: there is a `predictor`.
    pub fn calls_model(&self) -> bool {
        self.raw.get("predictor").is_some_and(Value::is_object)
    }

    /// Whether the configuration names a prediction.
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

    /// Whether a bias metric is selected. If no section of `methods` is about bias, all are.
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
