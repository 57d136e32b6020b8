//! Detects the format of a file by its name or its content.

use crate::{
    Analysis, Constraints, Event, Limits, MonitorType, ParseError, Statistics, VIOLATION_FILE_NAMES, ViolationReport,
    json,
};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::Value;

/// File of any format.
#[derive(Debug, Clone, PartialEq)]
pub enum Document {
    /// `constraint_violations.json`.
    Violations(ViolationReport),
    /// `statistics.json`.
    Statistics(Statistics),
    /// `constraints.json`.
    Constraints(Constraints),
    /// `analysis.json`.
    Analysis(Analysis),
    /// An EventBridge event.
    Event(Event),
}

/// Fields that distinguish the formats.
#[derive(Deserialize)]
#[serde(expecting = "an object")]
struct Probe {
    violations: Option<IgnoredAny>,
    #[serde(rename = "detail-type")]
    detail_type: Option<IgnoredAny>,
    dataset: Option<IgnoredAny>,
    features: Option<Vec<ProbedFeature>>,
    regression_metrics: Option<IgnoredAny>,
    binary_classification_metrics: Option<IgnoredAny>,
    multiclass_classification_metrics: Option<IgnoredAny>,
    monitoring_config: Option<IgnoredAny>,
    regression_constraints: Option<IgnoredAny>,
    binary_classification_constraints: Option<IgnoredAny>,
    multiclass_classification_constraints: Option<IgnoredAny>,
    pre_training_bias_metrics: Option<IgnoredAny>,
    post_training_bias_metrics: Option<IgnoredAny>,
    explanations: Option<IgnoredAny>,
    body_dict: Option<Value>,
}

#[derive(Deserialize)]
#[serde(expecting = "an object for a feature")]
struct ProbedFeature {
    numerical_statistics: Option<IgnoredAny>,
    string_statistics: Option<IgnoredAny>,
}

impl Document {
    /// Parses a file of any format. `object` is its name in errors. A file with the name of a violation report is
    /// always parsed as one, so that a broken report is never mistaken for another format.
    ///
    /// # Errors
    /// Fails if the file exceeds the limits, is not JSON, has none of the formats, or has one of them with another
    /// shape.
    pub fn parse(object: &str, bytes: &[u8], limits: &Limits) -> Result<Self, ParseError> {
        let name = object.rsplit(['/', '\\']).next().unwrap_or(object);
        if VIOLATION_FILE_NAMES.contains(&name) {
            return ViolationReport::parse(object, bytes, limits).map(Self::Violations);
        }
        let probe: Probe = json::parse(object, bytes, limits)?;
        // The SageMaker Python SDK's `MonitoringExecution.constraint_violations()`, printed as JSON.
        if let Some(body @ Value::Object(_)) = &probe.body_dict
            && body.get("body_dict").is_none()
        {
            return Self::parse(object, body.to_string().as_bytes(), limits);
        }
        if probe.violations.is_some() {
            ViolationReport::parse(object, bytes, limits).map(Self::Violations)
        } else if probe.detail_type.is_some() {
            Event::parse(object, bytes).map(Self::Event)
        } else if probe.is_analysis() {
            Analysis::parse(object, bytes, limits).map(Self::Analysis)
        } else if probe.is_statistics() {
            Statistics::parse(object, bytes, limits).map(Self::Statistics)
        } else if probe.is_constraints() {
            Constraints::parse(object, bytes, limits).map(Self::Constraints)
        } else {
            let expected = "the fields of a violation report (`violations`), of statistics, of constraints, \
                            of a Clarify analysis or of an EventBridge event";
            Err(ParseError::unexpected(object, ".", expected, "none of them"))
        }
    }

    /// Name of the format.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Violations(_) => "constraint_violations",
            Self::Statistics(_) => "statistics",
            Self::Constraints(_) => "constraints",
            Self::Analysis(_) => "analysis",
            Self::Event(_) => "event",
        }
    }
}

impl Probe {
    fn is_analysis(&self) -> bool {
        self.pre_training_bias_metrics.is_some()
            || self.post_training_bias_metrics.is_some()
            || self.explanations.is_some()
    }

    /// Statistics and constraints both contain a list of features.
    fn is_statistics(&self) -> bool {
        let has_statistics =
            |feature: &ProbedFeature| feature.numerical_statistics.is_some() || feature.string_statistics.is_some();
        self.dataset.is_some()
            || self.regression_metrics.is_some()
            || self.binary_classification_metrics.is_some()
            || self.multiclass_classification_metrics.is_some()
            || self.features.iter().flatten().any(has_statistics)
    }

    fn is_constraints(&self) -> bool {
        self.features.is_some()
            || self.monitoring_config.is_some()
            || self.regression_constraints.is_some()
            || self.binary_classification_constraints.is_some()
            || self.multiclass_classification_constraints.is_some()
    }
}

impl Constraints {
    /// Monitor type that uses the constraints.
    pub fn monitor_type(&self) -> MonitorType {
        if self.metrics().next().is_some() {
            MonitorType::ModelQuality
        } else {
            MonitorType::DataQuality
        }
    }
}

impl Analysis {
    /// Monitor type whose baseline or result this is; `None` if it contains both.
    pub fn monitor_type(&self) -> Option<MonitorType> {
        let bias = self.pre_training_bias_metrics.is_some() || self.post_training_bias_metrics.is_some();
        match (bias, self.explanations.is_some()) {
            (true, false) => Some(MonitorType::ModelBias),
            (false, true) => Some(MonitorType::ModelExplainability),
            _ => None,
        }
    }
}
