//! `constraint_violations.json` of all four monitor types and of custom containers, as one typed violation.
//!
//! Sources: developer guide, pages `model-monitor-interpreting-violations`, `model-monitor-byoc-contract-outputs`,
//! `clarify-model-monitor-bias-drift-violations`, `clarify-model-monitor-model-attribution-drift-violations`.

use crate::{
    Analysis, Constraints, Limits, ParseError, Quantity, description,
    json::{self, text},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::fmt;

/// What a monitor monitors, as SageMaker spells it (API, `MonitoringType`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum MonitorType {
    /// The captured data against its baseline.
    DataQuality,
    /// Predictions against ground truth.
    ModelQuality,
    /// Bias metrics against their baseline.
    ModelBias,
    /// Feature attributions against their baseline.
    ModelExplainability,
    /// A container of one's own.
    Custom,
}

impl MonitorType {
    /// The type of that name.
    pub fn parse(name: &str) -> Option<Self> {
        let all = [
            Self::DataQuality,
            Self::ModelQuality,
            Self::ModelBias,
            Self::ModelExplainability,
            Self::Custom,
        ];
        all.into_iter().find(|kind| kind.as_str() == name)
    }

    /// SageMaker's spelling.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::DataQuality => "DataQuality",
            Self::ModelQuality => "ModelQuality",
            Self::ModelBias => "ModelBias",
            Self::ModelExplainability => "ModelExplainability",
            Self::Custom => "Custom",
        }
    }
}

impl fmt::Display for MonitorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

macro_rules! check_types {
    ($($(#[$doc:meta])* $variant:ident = $text:literal of $kind:ident,)*) => {
        /// `constraint_check_type` of a violation. One that is not known survives as it is.
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum ConstraintCheckType {
            $($(#[$doc])* $variant,)*
            /// Any other.
            Other(String),
        }

        impl ConstraintCheckType {
            /// The check type of that name.
            pub fn new(text: &str) -> Self {
                match text {
                    $($text => Self::$variant,)*
                    _ => Self::Other(text.to_owned()),
                }
            }

            /// The name as the report spells it.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $text,)*
                    Self::Other(text) => text,
                }
            }

            /// Which built-in monitor writes it.
            pub fn monitor_type(&self) -> Option<MonitorType> {
                match self {
                    $(Self::$variant => Some(MonitorType::$kind),)*
                    Self::Other(_) => None,
                }
            }
        }
    };
}

check_types! {
    /// Share of values of the inferred type below the threshold.
    DataType = "data_type_check" of DataQuality,
    /// Share of values that are present below the constraint.
    Completeness = "completeness_check" of DataQuality,
    /// Distance between the current and the baseline distribution above the threshold.
    BaselineDrift = "baseline_drift_check" of DataQuality,
    /// Fewer columns than the baseline has.
    MissingColumn = "missing_column_check" of DataQuality,
    /// More columns than the baseline has.
    ExtraColumn = "extra_column_check" of DataQuality,
    /// Share of values within the baseline's domain below the threshold.
    CategoricalValues = "categorical_values_check" of DataQuality,
    /// A model quality metric below its threshold.
    LessThanThreshold = "LessThanThreshold" of ModelQuality,
    /// A model quality metric above its threshold.
    GreaterThanThreshold = "GreaterThanThreshold" of ModelQuality,
    /// A bias metric farther from 0 than its baseline.
    BiasDrift = "bias_drift_check" of ModelBias,
    /// Feature attributions ordered otherwise than the baseline's.
    FeatureAttributionDrift = "feature_attribution_drift_check" of ModelExplainability,
}

impl fmt::Display for ConstraintCheckType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What a violation is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// A column (data quality).
    Feature(String),
    /// A model quality metric.
    Metric(String),
    /// A bias metric of one value of a facet.
    Facet {
        /// The facet.
        facet: String,
        /// Its value or interval.
        value: String,
        /// Short name of the metric.
        metric: String,
    },
    /// A label whose feature attributions drifted.
    Label {
        /// The label.
        label: String,
        /// The metric (`shap`).
        metric: String,
    },
    /// The report does not say.
    Unknown,
}

impl fmt::Display for Subject {
    /// The feature, the metric, `facet=value metric`, or the label.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Feature(name) | Self::Metric(name) | Self::Label { label: name, .. } => f.pad(name),
            Self::Facet { facet, value, metric } => f.pad(format!("{facet}={value} {metric}").trim_end()),
            Self::Unknown => f.pad(""),
        }
    }
}

/// One constraint violation.
#[derive(Debug, Clone, PartialEq)]
pub struct Violation {
    /// What it is about.
    pub subject: Subject,
    /// Which check found it.
    pub check_type: ConstraintCheckType,
    /// The value that was found, as far as the description tells it. Of a [`ConstraintCheckType::DataType`] check a
    /// percentage, of other shares a fraction of 1, as the report writes them.
    pub observed: Option<Quantity>,
    /// What it was held against, as far as the description or the constraints tell it; in the unit of `observed`.
    pub threshold: Option<Quantity>,
    /// The report's own words, untouched. Custom containers leave it out.
    pub description: Option<String>,
    /// Fields that are not documented, as they are.
    pub extra: Map<String, Value>,
}

impl Violation {
    /// How far the observed value is from its threshold, as far as both are numbers; a bias metric is judged by how far
    /// it is from 0, whatever its sign. Positive where the value is beyond its threshold: above what it should be at
    /// most, below what it should be at least.
    pub fn drift(&self) -> Option<f64> {
        let (observed, threshold) = (
            self.observed.as_ref()?.as_number()?,
            self.threshold.as_ref()?.as_number()?,
        );
        let drift = match self.check_type {
            ConstraintCheckType::BiasDrift => observed.abs() - threshold.abs(),
            ConstraintCheckType::BaselineDrift
            | ConstraintCheckType::GreaterThanThreshold
            | ConstraintCheckType::ExtraColumn => observed - threshold,
            ConstraintCheckType::DataType
            | ConstraintCheckType::Completeness
            | ConstraintCheckType::CategoricalValues
            | ConstraintCheckType::MissingColumn
            | ConstraintCheckType::LessThanThreshold
            | ConstraintCheckType::FeatureAttributionDrift => threshold - observed,
            ConstraintCheckType::Other(_) => return None,
        };
        (!drift.is_nan()).then_some(drift)
    }

    /// Fills a threshold that the description does not give from the constraints that were checked.
    #[must_use]
    pub fn with_constraints(mut self, constraints: &Constraints) -> Self {
        if self.threshold.is_none() {
            self.threshold = constraints.threshold(&self).map(Quantity::Number);
        }
        self
    }

    /// Fills a threshold that the description does not give from the baseline's `analysis.json`.
    #[must_use]
    pub fn with_analysis(mut self, baseline: &Analysis) -> Self {
        if let (None, Subject::Facet { facet, value, metric }) = (&self.threshold, &self.subject) {
            self.threshold = baseline.bias_metric(facet, value, metric).map(Quantity::Number);
        }
        self
    }
}

/// A whole report.
#[derive(Debug, Clone, PartialEq)]
pub struct ViolationReport {
    /// `version` as text, whether the file has it as number, as text, or not at all.
    pub version: Option<String>,
    /// What the entries are of; `None` for a report without entries, which may be any monitor's.
    pub monitor_type: Option<MonitorType>,
    /// The violations, in the report's order.
    pub violations: Vec<Violation>,
    /// Fields beside them that are not documented, as they are.
    pub extra: Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(expecting = "an object with a list `violations`")]
struct RawReport {
    #[serde(default, deserialize_with = "text")]
    version: Option<String>,
    violations: Vec<RawViolation>,
    #[serde(flatten)]
    extra: Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(expecting = "an object for a violation")]
struct RawViolation {
    #[serde(default, deserialize_with = "text")]
    feature_name: Option<String>,
    #[serde(default, deserialize_with = "text")]
    metric_name: Option<String>,
    #[serde(default, deserialize_with = "text")]
    facet: Option<String>,
    #[serde(default, deserialize_with = "text")]
    facet_value: Option<String>,
    #[serde(default, deserialize_with = "text")]
    label: Option<String>,
    #[serde(default, deserialize_with = "text")]
    constraint_check_type: Option<String>,
    #[serde(default, deserialize_with = "text")]
    description: Option<String>,
    #[serde(flatten)]
    extra: Map<String, Value>,
}

impl ViolationReport {
    /// Reads a report. `object` is what errors call it: its URI or file name.
    ///
    /// # Errors
    /// If it is larger than the limits, not JSON, or has no list `violations`: such a report is never one without
    /// violations.
    pub fn parse(object: &str, bytes: &[u8], limits: &Limits) -> Result<Self, ParseError> {
        let raw: RawReport = json::parse(object, bytes, limits)?;
        limits.check(object, "violations", raw.violations.len())?;
        let mut violations = Vec::with_capacity(raw.violations.len());
        for (at, raw) in raw.violations.into_iter().enumerate() {
            violations.push(raw.typed(object, at)?);
        }
        let monitor_type = monitor_type(&violations);
        Ok(Self {
            version: raw.version,
            monitor_type,
            violations,
            extra: raw.extra,
        })
    }
}

impl RawViolation {
    fn typed(mut self, object: &str, at: usize) -> Result<Violation, ParseError> {
        let subject = self.subject();
        // What the subject has no use for is not documented beside it, and survives as such.
        let rest = [
            ("feature_name", self.feature_name),
            ("metric_name", self.metric_name),
            ("facet", self.facet),
            ("facet_value", self.facet_value),
            ("label", self.label),
        ];
        for (name, text) in rest {
            if let Some(text) = text {
                self.extra.insert(name.to_owned(), Value::String(text));
            }
        }
        let Some(check_type) = self.constraint_check_type else {
            let path = format!("violations[{at}].constraint_check_type");
            let expected = "the name of the check that was violated";
            return Err(ParseError::unexpected(object, path, expected, "none"));
        };
        let (observed, threshold) = self.description.as_deref().map_or((None, None), description::values);
        Ok(Violation {
            subject,
            check_type: ConstraintCheckType::new(&check_type),
            observed,
            threshold,
            description: self.description,
            extra: self.extra,
        })
    }

    /// Takes the fields that the subject is made of.
    fn subject(&mut self) -> Subject {
        if let Some(feature) = self.feature_name.take() {
            Subject::Feature(feature)
        } else if let Some(facet) = self.facet.take() {
            Subject::Facet {
                facet,
                value: self.facet_value.take().unwrap_or_default(),
                metric: self.metric_name.take().unwrap_or_default(),
            }
        } else if let Some(label) = self.label.take() {
            Subject::Label {
                label,
                metric: self.metric_name.take().unwrap_or_default(),
            }
        } else if let Some(metric) = self.metric_name.take() {
            Subject::Metric(metric)
        } else {
            Subject::Unknown
        }
    }
}

/// What all entries are of. Entries with a check or a subject that no built-in monitor writes are a custom container's,
/// and so is a mixture.
fn monitor_type(violations: &[Violation]) -> Option<MonitorType> {
    let of = |violation: &Violation| {
        let kind = violation.check_type.monitor_type()?;
        let fits = match (&violation.subject, kind) {
            (Subject::Feature(_), MonitorType::DataQuality)
            | (Subject::Metric(_), MonitorType::ModelQuality)
            | (Subject::Facet { .. }, MonitorType::ModelBias)
            | (Subject::Label { .. }, MonitorType::ModelExplainability) => true,
            // The built-in containers always describe.
            _ => false,
        };
        (fits && violation.description.is_some()).then_some(kind)
    };
    let mut kinds = violations
        .iter()
        .map(|violation| of(violation).unwrap_or(MonitorType::Custom));
    let first = kinds.next()?;
    Some(if kinds.all(|kind| kind == first) {
        first
    } else {
        MonitorType::Custom
    })
}
