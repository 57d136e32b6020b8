//! `constraints.json` of the data quality and model quality monitors. Clarify's constraints are its `analysis.json`.
//!
//! Source: developer guide, pages `model-monitor-byoc-constraints` and `model-monitor-model-quality-metrics`; the older
//! keys are those of files from 2019.

use crate::{
    ConstraintCheckType, Limits, ParseError, Subject, Violation, json,
    quantity::{lenient, lenient_option},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// A constraints file. A data quality file has `features`, a model quality file one of the three metric tables.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Constraints {
    /// `0.0` in every file that the analyzer writes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<Value>,
    /// Data quality: what holds for each column.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub features: Option<Vec<FeatureConstraints>>,
    /// Data quality: how it is checked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monitoring_config: Option<MonitoringConfig>,
    /// Model quality of a regression, by metric.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub regression_constraints: Option<BTreeMap<String, MetricConstraint>>,
    /// Model quality of a binary classification, by metric.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binary_classification_constraints: Option<BTreeMap<String, MetricConstraint>>,
    /// Model quality of a multiclass classification, by metric.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub multiclass_classification_constraints: Option<BTreeMap<String, MetricConstraint>>,
    /// Fields that are not documented, as they are.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// What holds for one column.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct FeatureConstraints {
    /// The column.
    pub name: String,
    /// `Fractional`, `Integral`, `String` or `Unknown`.
    pub inferred_type: String,
    /// The least share of values that are present, 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "lenient_option")]
    pub completeness: Option<f64>,
    /// Of numeric columns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub num_constraints: Option<NumConstraints>,
    /// Of string columns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub string_constraints: Option<StringConstraints>,
    /// Other settings for this column; the guide's spelling, which the SDK's is read as too.
    #[serde(
        default,
        rename = "monitoringConfigOverrides",
        alias = "monitoring_config_overrides",
        skip_serializing_if = "Option::is_none"
    )]
    pub monitoring_config_overrides: Option<MonitoringConfig>,
    /// Fields that are not documented, as they are.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl FeatureConstraints {
    /// The settings of this column in any of the places where files have them.
    pub fn overrides(&self) -> Option<&MonitoringConfig> {
        self.monitoring_config_overrides
            .as_ref()
            .or_else(|| self.string_constraints.as_ref()?.monitoring_config_overrides.as_ref())
    }
}

/// Constraints of a numeric column.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct NumConstraints {
    /// Whether every value is 0 or more.
    #[serde(default)]
    pub is_non_negative: bool,
    /// Fields that are not documented, as they are.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// Constraints of a string column.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct StringConstraints {
    /// The values of the baseline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domains: Option<Vec<String>>,
    /// Where files of 2019 have the column's own settings.
    #[serde(
        default,
        alias = "monitoringConfigOverrides",
        skip_serializing_if = "Option::is_none"
    )]
    pub monitoring_config_overrides: Option<MonitoringConfig>,
    /// Fields that are not documented, as they are.
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

/// How data quality is checked. What is not set has the service's default.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct MonitoringConfig {
    /// Whether constraints are checked at all; default `Enabled`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evaluate_constraints: Option<Switch>,
    /// Whether CloudWatch metrics are published; default `Enabled`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub emit_metrics: Option<Switch>,
    /// The least share of values of the inferred type; the analyzer writes 1.0.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "lenient_option")]
    pub datatype_check_threshold: Option<f64>,
    /// The least share of values within the domain; the analyzer writes 1.0.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "lenient_option")]
    pub domain_content_threshold: Option<f64>,
    /// How distributions are compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distribution_constraints: Option<DistributionConstraints>,
    /// Fields that are not documented, as they are.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// How distributions are compared.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct DistributionConstraints {
    /// Whether they are; default `Enabled`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub perform_comparison: Option<Switch>,
    /// The largest distance; the analyzer writes 0.1.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "lenient_option")]
    pub comparison_threshold: Option<f64>,
    /// `Simple` or `Robust`, also spelled `linf_simple` and `linf_robust`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comparison_method: Option<String>,
    /// The largest distance of string columns; default the `comparison_threshold`.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "lenient_option")]
    pub categorical_comparison_threshold: Option<f64>,
    /// `LInfinity` (default) or `ChiSquared`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub categorical_drift_method: Option<String>,
    /// Files of 2019, in the place of `perform_comparison`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enable_comparisons: Option<bool>,
    /// Files of 2019, in the place of [`MonitoringConfig::domain_content_threshold`].
    #[serde(default, skip_serializing_if = "Option::is_none", with = "lenient_option")]
    pub min_domain_mass: Option<f64>,
    /// Fields that are not documented, as they are.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// On which side of the threshold a metric violates it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ComparisonOperator {
    /// Below.
    LessThanThreshold,
    /// Above.
    GreaterThanThreshold,
}

impl ComparisonOperator {
    /// The name as files spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::LessThanThreshold => "LessThanThreshold",
            Self::GreaterThanThreshold => "GreaterThanThreshold",
        }
    }
}

/// The constraint of a model quality metric.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MetricConstraint {
    /// The threshold: the baseline's value, as suggested.
    #[serde(with = "lenient")]
    pub threshold: f64,
    /// On which side of it the metric violates it.
    pub comparison_operator: ComparisonOperator,
    /// Fields that are not documented, as they are.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl Constraints {
    /// Reads a constraints file. `object` is what errors call it.
    ///
    /// # Errors
    /// If it is larger than the limits, not JSON, or of another shape; also if it holds no constraints of any kind.
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

    /// The constraints of model quality metrics, whatever the problem type.
    pub fn metrics(&self) -> impl Iterator<Item = (&String, &MetricConstraint)> {
        let tables = [
            &self.regression_constraints,
            &self.binary_classification_constraints,
            &self.multiclass_classification_constraints,
        ];
        tables.into_iter().flatten().flatten()
    }

    /// The threshold that a violation was held against, in the unit of its observed value.
    pub(crate) fn threshold(&self, violation: &Violation) -> Option<f64> {
        match &violation.subject {
            Subject::Metric(name) => {
                // Violations spell four rates in camel case that constraints spell in snake case.
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
                    // Old descriptions give the share as a fraction, as the setting does.
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

/// `truePositiveRate` as `true_positive_rate`.
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
