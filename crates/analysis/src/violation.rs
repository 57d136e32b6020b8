//! Constraint violation as in `constraint_violations.json`.
//!
//! Sources: developer guide, pages `model-monitor-interpreting-violations`,
//! `clarify-model-monitor-bias-drift-violations`, `clarify-model-monitor-model-attribution-drift-violations`.
//! [`model_monitor::ViolationReport`] reads them.

use model_monitor::ConstraintCheckType;
use serde::Serialize;

/// Violation to write. The monitor type determines the fields that identify its subject.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct ConstraintViolation {
    /// Data quality: column.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub feature_name: Option<String>,
    /// Bias: facet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub facet: Option<String>,
    /// Bias: value of the facet, or interval of its values.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub facet_value: Option<String>,
    /// Explainability: label.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Model quality and bias: metric. Explainability: `shap`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metric_name: Option<String>,
    /// Check type.
    pub constraint_check_type: String,
    /// Description in the wording of Model Monitor.
    pub description: String,
}

impl ConstraintViolation {
    /// Violation of the data quality monitor.
    pub fn for_feature(name: &str, check_type: &ConstraintCheckType, description: String) -> Self {
        Self {
            feature_name: Some(name.to_owned()),
            constraint_check_type: check_type.as_str().to_owned(),
            description,
            ..Self::default()
        }
    }

    /// Column, metric, facet, or label.
    pub fn subject(&self) -> &str {
        let fields = [&self.feature_name, &self.facet, &self.label, &self.metric_name];
        fields.into_iter().flatten().next().map_or("", String::as_str)
    }
}
