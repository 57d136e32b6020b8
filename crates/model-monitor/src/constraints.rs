//! `constraints.json` of the data quality and model quality monitors. Clarify's constraints are its `analysis.json`.
//!
//! Source: developer guide, pages `model-monitor-byoc-constraints` and `model-monitor-model-quality-metrics`. The older
//! keys come from files of 2019.

use crate::{
    ConstraintCheckType, Limits, ParseError, Subject, Violation, json,
    quantity::{lenient, lenient_option},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Constraints file. A data quality file has `features`; a model quality file has one of the three metric tables.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Constraints {
    /// Version; `0.0` in every file that Model Monitor writes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<Value>,
    /// Data quality: constraints of each column.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub features: Option<Vec<FeatureConstraints>>,
    /// Data quality: settings of the checks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monitoring_config: Option<MonitoringConfig>,
    /// Model quality of a regression: constraints by metric.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub regression_constraints: Option<BTreeMap<String, MetricConstraint>>,
    /// Model quality of a binary classification: constraints by metric.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binary_classification_constraints: Option<BTreeMap<String, MetricConstraint>>,
    /// Model quality of a multiclass classification: constraints by metric.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub multiclass_classification_constraints: Option<BTreeMap<String, MetricConstraint>>,
    /// Undocumented fields, unchanged.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// Constraints of one column.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct FeatureConstraints {
    /// Name of the column.
    pub name: String,
    /// `Fractional`, `Integral`, `String`, or `Unknown`.
    pub inferred_type: String,
    /// Minimum share of values that are present, from 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "lenient_option")]
    pub completeness: Option<f64>,
    /// Constraints of a numeric column.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub num_constraints: Option<NumConstraints>,
    /// Constraints of a string column.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub string_constraints: Option<StringConstraints>,
    /// Settings that override the general ones for this column. The key is spelled as in the guide; the SDK's spelling
    /// is accepted too.
    #[serde(
        default,
        rename = "monitoringConfigOverrides",
        alias = "monitoring_config_overrides",
        skip_serializing_if = "Option::is_none"
    )]
    pub monitoring_config_overrides: Option<MonitoringConfig>,
    /// Undocumented fields, unchanged.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl FeatureConstraints {
    /// Settings of this column, from any of the places where files contain them.
    pub fn overrides(&self) -> Option<&MonitoringConfig> {
        self.monitoring_config_overrides
            .as_ref()
            .or_else(|| self.string_constraints.as_ref()?.monitoring_config_overrides.as_ref())
    }
}

/// Constraints of a numeric column.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct NumConstraints {
    /// Whether every value is at least 0.
    #[serde(default)]
    pub is_non_negative: bool,
    /// Undocumented fields, unchanged.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// Constraints of a string column.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct StringConstraints {
    /// Values of the baseline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domains: Option<Vec<String>>,
    /// Settings of the column in files of 2019.
    #[serde(
        default,
        alias = "monitoringConfigOverrides",
        skip_serializing_if = "Option::is_none"
    )]
    pub monitoring_config_overrides: Option<MonitoringConfig>,
    /// Undocumented fields, unchanged.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// `Enabled` or `Disabled`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Switch {
    /// On.
    Enabled,
    /// Off.
    Disabled,
}

/// Settings of the data quality checks. Settings that are absent have Model Monitor's default.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct MonitoringConfig {
    /// Whether constraints are checked. Default: `Enabled`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evaluate_constraints: Option<Switch>,
    /// Whether CloudWatch metrics are published. Default: `Enabled`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub emit_metrics: Option<Switch>,
    /// Minimum share of values with the inferred type. Model Monitor writes 1.0.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "lenient_option")]
    pub datatype_check_threshold: Option<f64>,
    /// Minimum share of values within the domain. Model Monitor writes 1.0.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "lenient_option")]
    pub domain_content_threshold: Option<f64>,
    /// Settings of the comparison of distributions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distribution_constraints: Option<DistributionConstraints>,
    /// Undocumented fields, unchanged.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// Settings of the comparison of distributions.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct DistributionConstraints {
    /// Whether distributions are compared. Default: `Enabled`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub perform_comparison: Option<Switch>,
    /// Maximum distance. Model Monitor writes 0.1.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "lenient_option")]
    pub comparison_threshold: Option<f64>,
    /// `Simple` or `Robust`, or `linf_simple` or `linf_robust`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comparison_method: Option<String>,
    /// Maximum distance of string columns. Default: `comparison_threshold`.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "lenient_option")]
    pub categorical_comparison_threshold: Option<f64>,
    /// `LInfinity` (default) or `ChiSquared`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub categorical_drift_method: Option<String>,
    /// `perform_comparison` in files of 2019.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enable_comparisons: Option<bool>,
    /// [`MonitoringConfig::domain_content_threshold`] in files of 2019.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "lenient_option")]
    pub min_domain_mass: Option<f64>,
    /// Undocumented fields, unchanged.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// Side of the threshold on which a metric violates it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ComparisonOperator {
    /// Below.
    LessThanThreshold,
    /// Above.
    GreaterThanThreshold,
}

impl ComparisonOperator {
    /// Name in files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::LessThanThreshold => "LessThanThreshold",
            Self::GreaterThanThreshold => "GreaterThanThreshold",
        }
    }
}

/// Constraint of a model quality metric.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MetricConstraint {
    /// Threshold. The suggested one is the baseline's value.
    #[serde(with = "lenient")]
    pub threshold: f64,
    /// Side of the threshold on which the metric violates it.
    pub comparison_operator: ComparisonOperator,
    /// Undocumented fields, unchanged.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl Constraints {
    /// Parses a constraints file. `object` is its name in errors.
    ///
    /// # Errors
    /// Fails if the file exceeds the limits, is not JSON, has another shape, or contains no constraints.
    pub fn parse(object: &str, bytes: &[u8], limits: &Limits) -> Result<Self, ParseError> {
        let constraints: Self = json::parse(object, bytes, limits)?;
        limits.check(object, "features", constraints.features.as_ref().map_or(0, Vec::len))?;
        if constraints.features.is_none() && constraints.metrics().next().is_none() {
            let expected = "the field `features`, or one of `regression_constraints`, \
                            `binary_classification_constraints`, `multiclass_classification_constraints`";
            return Err(ParseError::unexpected(object, ".", expected, "none"));
        }
        Ok(constraints)
    }

    /// Constraints of model quality metrics, for any problem type.
    pub fn metrics(&self) -> impl Iterator<Item = (&String, &MetricConstraint)> {
        let tables = [
            &self.regression_constraints,
            &self.binary_classification_constraints,
            &self.multiclass_classification_constraints,
        ];
        tables.into_iter().flatten().flatten()
    }

    /// Threshold of a violation, in the unit of its observed value.
    pub(crate) fn threshold(&self, violation: &Violation) -> Option<f64> {
        match &violation.subject {
            Subject::Metric(name) => {
                // Violations write four rates in camel case; constraints use snake case.
                let spelled = [name.clone(), snake_case(name)];
                spelled.iter().find_map(|name| {
                    let (_, constraint) = self.metrics().find(|(metric, _)| *metric == name)?;
                    Some(constraint.threshold)
                })
            }
            Subject::Feature(name) => {
                let feature = self.features.iter().flatten().find(|feature| feature.name == *name);
                let configs = [
                    feature.and_then(FeatureConstraints::overrides),
                    self.monitoring_config.as_ref(),
                ];
                let first =
                    |setting: fn(&MonitoringConfig) -> Option<f64>| configs.into_iter().flatten().find_map(setting);
                match violation.check_type {
                    ConstraintCheckType::Completeness => feature?.completeness,
                    ConstraintCheckType::CategoricalValues => first(|config| config.domain_content_threshold)
                        .or_else(|| first(|config| config.distribution_constraints.as_ref()?.min_domain_mass)),
                    // Old descriptions contain the share as a fraction, like the setting.
                    ConstraintCheckType::DataType => first(|config| config.datatype_check_threshold),
                    ConstraintCheckType::BaselineDrift => {
                        let categorical = feature
                            .filter(|feature| feature.inferred_type == "String")
                            .and_then(|_| {
                                first(|config| {
                                    config
                                        .distribution_constraints
                                        .as_ref()?
                                        .categorical_comparison_threshold
                                })
                            });
                        categorical
                            .or_else(|| first(|config| config.distribution_constraints.as_ref()?.comparison_threshold))
                    }
                    _ => None,
                }
            }
            _ => None,
        }
    }
}

/// Converts `truePositiveRate` to `true_positive_rate`.
fn snake_case(name: &str) -> String {
    let mut snake = String::with_capacity(name.len() + 4);
    for c in name.chars() {
        if c.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
    }
    snake
}
