//! A constraint violation as `constraint_violations.json` has it.
//!
//! Sources: developer guide, pages `model-monitor-interpreting-violations`, `clarify-model-monitor-bias-drift-violations`,
//! `clarify-model-monitor-model-attribution-drift-violations`. What reads them is [`model_monitor::ViolationReport`].

use model_monitor::ConstraintCheckType;
use serde::Serialize;

/// A violation to be written. Which fields say what it is about depends on the monitor type.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct ConstraintViolation {
    /// Data quality: the column.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub feature_name: Option<String>,
    /// Bias: the facet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub facet: Option<String>,
    /// Bias: its value, or the interval of its values.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub facet_value: Option<String>,
    /// Explainability: the label.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Model quality and bias: the metric; explainability: `shap`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metric_name: Option<String>,
    /// Which check found it.
    pub constraint_check_type: String,
    /// What was found, in the monitor's words.
    pub description: String,
}

impl ConstraintViolation {
    /// A violation of the data quality monitor.
    pub fn of_feature(name: &str, check_type: &ConstraintCheckType, description: String) -> Self {
        Self {
            feature_name: Some(name.to_owned()),
            constraint_check_type: check_type.as_str().to_owned(),
            description,
            ..Self::default()
        }
    }

    /// The column, the metric, the facet or the label.
    pub fn subject(&self) -> &str {
        let fields = [&self.feature_name, &self.facet, &self.label, &self.metric_name];
        fields.into_iter().flatten().next().map_or("", String::as_str)
    }
}
