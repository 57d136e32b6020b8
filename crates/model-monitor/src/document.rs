//! Which of the formats a file is in, told by its name or by what is in it.

use crate::{
    Analysis, Constraints, Event, Limits, MonitorType, ParseError, Statistics, VIOLATION_FILE_NAMES, ViolationReport,
    json,
};
use serde::{Deserialize, de::IgnoredAny};

/// A file of any of the formats.
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

/// The fields that tell the formats apart.
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
}

#[derive(Deserialize)]
#[serde(expecting = "an object for a feature")]
struct ProbedFeature {
    numerical_statistics: Option<IgnoredAny>,
    string_statistics: Option<IgnoredAny>,
}

impl Document {
    /// Reads a file of any format. `object` is what errors call it; one that is named as violation reports are is a
    /// violation report whatever is in it, so that a broken one is never taken for something else.
    ///
    /// # Errors
    /// If it is larger than the limits, not JSON, of none of the formats, or of one but not in its shape.
    pub fn parse(object: &str, bytes: &[u8], limits: &Limits) -> Result<Self, ParseError> {
        let name = object.rsplit(['/', '\\']).next().unwrap_or(object);
        if VIOLATION_FILE_NAMES.contains(&name) {
            return ViolationReport::parse(object, bytes, limits).map(Self::Violations);
        }
        let probe: Probe = json::parse(object, bytes, limits)?;
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

    /// What the file is called in its format.
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

    /// Statistics and constraints both list features.
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
    /// The monitor that checks them.
    pub fn monitor_type(&self) -> MonitorType {
        if self.metrics().next().is_some() {
            MonitorType::ModelQuality
        } else {
            MonitorType::DataQuality
        }
    }
}

impl Analysis {
    /// The monitor whose baseline or result it is; `None` if it holds both.
    pub fn monitor_type(&self) -> Option<MonitorType> {
        let bias = self.pre_training_bias_metrics.is_some() || self.post_training_bias_metrics.is_some();
        match (bias, self.explanations.is_some()) {
            (true, false) => Some(MonitorType::ModelBias),
            (false, true) => Some(MonitorType::ModelExplainability),
            _ => None,
        }
    }
}
