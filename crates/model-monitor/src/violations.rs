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

/// Monitor type, with SageMaker's names (API, `MonitoringType`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum MonitorType {
    /// Captured data compared with the baseline.
    DataQuality,
    /// Predictions compared with ground truth.
    ModelQuality,
    /// Bias metrics compared with the baseline.
    ModelBias,
    /// Feature attributions compared with the baseline.
    ModelExplainability,
    /// Custom container.
    Custom,
}

impl MonitorType {
    /// Type with this name.
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

    /// Name in SageMaker.
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
        /// `constraint_check_type` of a violation. An unknown one is kept unchanged.
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum ConstraintCheckType {
            $($(#[$doc])* $variant,)*
            /// Any other check type.
            Other(String),
        }

        impl ConstraintCheckType {
            /// Check type with this name.
            pub fn new(text: &str) -> Self {
                match text {
                    $($text => Self::$variant,)*
                    _ => Self::Other(text.to_owned()),
                }
            }

            /// Name in reports.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $text,)*
                    Self::Other(text) => text,
                }
            }

            /// Built-in monitor that writes it.
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
    /// Feature attributions in another order than the baseline's.
    FeatureAttributionDrift = "feature_attribution_drift_check" of ModelExplainability,
}

impl fmt::Display for ConstraintCheckType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Subject of a violation.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// A column (data quality).
    Feature(String),
    /// A model quality metric.
    Metric(String),
    /// A bias metric of one value of a facet.
    Facet {
        /// Name of the facet.
        facet: String,
        /// Value or interval of the facet.
        value: String,
        /// Short name of the metric.
        metric: String,
    },
    /// A label whose feature attributions drifted.
    Label {
        /// Name of the label.
        label: String,
        /// The metric (`shap`).
        metric: String,
    },
    /// The report does not name a subject.
    Unknown,
}

impl fmt::Display for Subject {
    /// Writes the feature, the metric, `facet=value metric`, or the label.
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
    /// Subject of the violation.
    pub subject: Subject,
    /// Check type.
    pub check_type: ConstraintCheckType,
    /// Observed value, if the description contains it. For [`ConstraintCheckType::DataType`] it is a percentage, for
    /// other shares a fraction of 1, as in the report.
    pub observed: Option<Quantity>,
    /// Threshold, if the description or the constraints contain it, in the unit of `observed`.
    pub threshold: Option<Quantity>,
    /// Description of the report, unchanged. Custom containers omit it.
    pub description: Option<String>,
    /// Undocumented fields, unchanged.
    pub extra: Map<String, Value>,
}

impl Violation {
    /// Distance between the observed value and its threshold, if both are numbers. For a bias metric, the absolute
    /// values are compared. Positive if the value is beyond its threshold: above a maximum or below a minimum.
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

    /// Adds a threshold that is not in the description, from the constraints that were checked.
    #[must_use]
    pub fn with_constraints(mut self, constraints: &Constraints) -> Self {
        if self.threshold.is_none() {
            self.threshold = constraints.threshold(&self).map(Quantity::Number);
        }
        self
    }

    /// Adds a threshold that is not in the description, from the baseline's `analysis.json`.
    #[must_use]
    pub fn with_analysis(mut self, baseline: &Analysis) -> Self {
        if let (None, Subject::Facet { facet, value, metric }) = (&self.threshold, &self.subject) {
            self.threshold = baseline.bias_metric(facet, value, metric).map(Quantity::Number);
        }
        self
    }
}

/// Violation report.
#[derive(Debug, Clone, PartialEq)]
pub struct ViolationReport {
    /// `version` as a string, whether it is a number, a string, or absent in the file.
    pub version: Option<String>,
    /// Monitor type of the entries; `None` for a report without entries, which may belong to any monitor.
    pub monitor_type: Option<MonitorType>,
    /// Violations, in the order of the report.
    pub violations: Vec<Violation>,
    /// Undocumented fields beside them, unchanged.
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
    /// Parses a report. `object` is its name in errors: URI or file name.
    ///
    /// # Errors
    /// Fails if the file exceeds the limits, is not JSON, or has no list `violations`. Such a report never counts as
    /// one without violations.
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
        // Fields that the subject does not use are undocumented there, and are kept as such.
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

    /// Takes the fields of the subject.
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

/// Monitor type of all entries. Entries with a check type or a subject that no built-in monitor writes come from a
/// custom container, and so does a mixture.
fn monitor_type(violations: &[Violation]) -> Option<MonitorType> {
    let of = |violation: &Violation| {
        let kind = violation.check_type.monitor_type()?;
        let fits = match (&violation.subject, kind) {
            (Subject::Feature(_), MonitorType::DataQuality)
            | (Subject::Metric(_), MonitorType::ModelQuality)
            | (Subject::Facet { .. }, MonitorType::ModelBias)
            | (Subject::Label { .. }, MonitorType::ModelExplainability) => true,
            // The built-in containers always write a description.
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
