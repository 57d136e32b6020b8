//! Clarify's `analysis.json`: the result of the bias and explainability monitors, and the constraints of both.
//!
//! Source: developer guide, pages `clarify-processing-job-analysis-results` and `clarify-model-monitor-bias-drift-results`.

use crate::{
    Limits, ParseError,
    json::{self, some_text, text},
    quantity::{lenient, lenient_option},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Analysis file with bias metrics, explanations, or both.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Analysis {
    /// `"1.0"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<Value>,
    /// Bias of the labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pre_training_bias_metrics: Option<BiasMetrics>,
    /// Bias of the predictions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub post_training_bias_metrics: Option<BiasMetrics>,
    /// Feature attributions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub explanations: Option<Explanations>,
    /// Undocumented fields, unchanged.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// Bias metrics of one stage.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct BiasMetrics {
    /// Name of the label.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Positive value of the label, or the interval of its positive values.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub label_value_or_threshold: Option<String>,
    /// Facets by name.
    pub facets: BTreeMap<String, Vec<BiasFacet>>,
    /// Undocumented fields, unchanged.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// One value or interval of a facet.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct BiasFacet {
    /// Value, or interval such as `(0.5, 0.99]`.
    #[serde(deserialize_with = "some_text")]
    pub value_or_threshold: String,
    /// Metrics of this value.
    pub metrics: Vec<BiasMetric>,
    /// Undocumented fields, unchanged.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// One bias metric.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct BiasMetric {
    /// Short name of the metric.
    pub name: String,
    /// Long name of the metric.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Value; `None` (null in the file) if it was not computable.
    #[serde(default, with = "lenient_option")]
    pub value: Option<f64>,
    /// Reason for which there is no value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Undocumented fields, unchanged.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// Feature attributions by method.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Explanations {
    /// Kernel SHAP, by label. With JSON data, a label can be a probability as a string, which can differ between the
    /// baseline and an execution.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel_shap: Option<BTreeMap<String, Explanation>>,
    /// Undocumented fields, unchanged.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// Feature attributions of one label.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Explanation {
    /// Global SHAP value, by feature.
    pub global_shap_values: BTreeMap<String, Shap>,
    /// Mean prediction of the model on the baseline.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "lenient_option")]
    pub expected_value: Option<f64>,
    /// Undocumented fields, unchanged.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// A global SHAP value.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Shap(#[serde(with = "lenient")] pub f64);

impl Analysis {
    /// Parses an analysis file. `object` is its name in errors.
    ///
    /// # Errors
    /// Fails if the file exceeds the limits, is not JSON, has another shape, or contains no analysis.
    pub fn parse(object: &str, bytes: &[u8], limits: &Limits) -> Result<Self, ParseError> {
        let analysis: Self = json::parse(object, bytes, limits)?;
        let empty = analysis.pre_training_bias_metrics.is_none()
            && analysis.post_training_bias_metrics.is_none()
            && analysis.explanations.is_none();
        if empty {
            let expected =
                "one of the fields `pre_training_bias_metrics`, `post_training_bias_metrics`, `explanations`";
            return Err(ParseError::unexpected(object, ".", expected, "none"));
        }
        Ok(analysis)
    }

    /// Bias metric by facet, value of the facet, and short name. No short name occurs in both stages.
    pub fn bias_metric(&self, facet: &str, value: &str, metric: &str) -> Option<f64> {
        [&self.pre_training_bias_metrics, &self.post_training_bias_metrics]
            .into_iter()
            .flatten()
            .filter_map(|stage| stage.facets.get(facet))
            .flatten()
            .filter(|facet| facet.value_or_threshold == value)
            .flat_map(|facet| &facet.metrics)
            .find(|found| found.name == metric)?
            .value
    }
}
