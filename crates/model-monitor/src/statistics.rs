//! `statistics.json` of the data quality and model quality monitors. Clarify's monitors do not write it.
//!
//! Source: developer guide, pages `model-monitor-byoc-statistics` and `model-monitor-model-quality-metrics`.

use crate::{
    Limits, ParseError,
    json::{self, count, some_text},
    quantity::{lenient, lenient_levels, lenient_option},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Statistics file. A data quality file has `features`; a model quality file has one of the three metric tables.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Statistics {
    /// Version; `0.0` in every file that Model Monitor writes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<Value>,
    /// The whole dataset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dataset: Option<Dataset>,
    /// Data quality: statistics of each column.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub features: Option<Vec<FeatureStatistics>>,
    /// Model quality of a regression, by metric.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub regression_metrics: Option<BTreeMap<String, MetricStatistics>>,
    /// Model quality of a binary classification, by metric, with the confusion matrix and the curves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binary_classification_metrics: Option<BTreeMap<String, MetricStatistics>>,
    /// Model quality of a multiclass classification, by metric, with the confusion matrix.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub multiclass_classification_metrics: Option<BTreeMap<String, MetricStatistics>>,
    /// Undocumented fields, unchanged.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// The whole dataset.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Dataset {
    /// Number of rows.
    #[serde(deserialize_with = "count")]
    pub item_count: u64,
    /// Undocumented fields, unchanged.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// Statistics of one column.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct FeatureStatistics {
    /// Name of the column.
    pub name: String,
    /// `Fractional`, `Integral`, `String`, or `Unknown`.
    pub inferred_type: String,
    /// Statistics of a numeric column.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub numerical_statistics: Option<NumericalStatistics>,
    /// Statistics of a string column.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub string_statistics: Option<StringStatistics>,
    /// Undocumented fields, unchanged.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// Numbers of present and missing values of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Common {
    /// Rows with a value.
    #[serde(deserialize_with = "count")]
    pub num_present: u64,
    /// Rows without a value.
    #[serde(deserialize_with = "count")]
    pub num_missing: u64,
}

/// Statistics of a numeric column.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct NumericalStatistics {
    /// Numbers of present and missing values.
    pub common: Common,
    /// Mean of the values.
    #[serde(with = "lenient")]
    pub mean: f64,
    /// Sum of the values.
    #[serde(with = "lenient")]
    pub sum: f64,
    /// Standard deviation of the population.
    #[serde(with = "lenient")]
    pub std_dev: f64,
    /// Minimum.
    #[serde(with = "lenient")]
    pub min: f64,
    /// Maximum.
    #[serde(with = "lenient")]
    pub max: f64,
    /// Distribution of the values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distribution: Option<Distribution>,
    /// Undocumented fields, unchanged.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// The distribution of a numeric column.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Distribution {
    /// Histogram and KLL sketch.
    pub kll: KllSketch,
    /// Exact counts of a column with few distinct numbers. Model Monitor does not write it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub categorical: Option<Categorical>,
}

/// Ten buckets of equal width, and the sketch that they come from.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct KllSketch {
    /// Buckets, from the minimum to the maximum.
    pub buckets: Vec<KllBucket>,
    /// Sketch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sketch: Option<Sketch>,
}

/// Bucket of the histogram.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct KllBucket {
    /// Lower bound.
    #[serde(with = "lenient")]
    pub lower_bound: f64,
    /// Upper bound.
    #[serde(with = "lenient")]
    pub upper_bound: f64,
    /// Number of values: an estimate, therefore not an integer.
    #[serde(with = "lenient")]
    pub count: f64,
}

/// KLL sketch. An item on level h represents 2^h values.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Sketch {
    /// Parameters of the sketch.
    pub parameters: SketchParameters,
    /// Items, level by level.
    #[serde(with = "lenient_levels")]
    pub data: Vec<Vec<f64>>,
}

/// Parameters of a sketch.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct SketchParameters {
    /// Factor by which each level shrinks; 0.64.
    pub c: f64,
    /// Size of the largest level; 2048.
    pub k: f64,
}

/// Statistics of a string column.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct StringStatistics {
    /// Numbers of present and missing values.
    pub common: Common,
    /// Number of distinct values: an estimate, therefore not an integer.
    #[serde(with = "lenient")]
    pub distinct_count: f64,
    /// Distribution of the values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distribution: Option<StringDistribution>,
    /// Undocumented fields, unchanged.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// Distribution of a string column.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct StringDistribution {
    /// Counts by value.
    pub categorical: Categorical,
}

/// Counts by value.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Categorical {
    /// Values with their counts.
    pub buckets: Vec<CategoricalBucket>,
}

/// Count of a value.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CategoricalBucket {
    /// Value.
    #[serde(deserialize_with = "some_text")]
    pub value: String,
    /// Number of occurrences.
    #[serde(deserialize_with = "count")]
    pub count: u64,
}

/// Model quality metric. The confusion matrix and the curves are among the metrics, without value and standard
/// deviation: they are in `extra`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct MetricStatistics {
    /// Value.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "lenient_option")]
    pub value: Option<f64>,
    /// Standard deviation; NaN below 200 rows.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "lenient_option")]
    pub standard_deviation: Option<f64>,
    /// All other fields.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl Statistics {
    /// Parses a statistics file. `object` is its name in errors.
    ///
    /// # Errors
    /// Fails if the file exceeds the limits, is not JSON, has another shape, or contains no statistics.
    pub fn parse(object: &str, bytes: &[u8], limits: &Limits) -> Result<Self, ParseError> {
        let statistics: Self = json::parse(object, bytes, limits)?;
        limits.check(object, "features", statistics.features.as_ref().map_or(0, Vec::len))?;
        if statistics.features.is_none() && statistics.metrics().next().is_none() {
            let expected = "the field `features`, or one of `regression_metrics`, `binary_classification_metrics`, \
                            `multiclass_classification_metrics`";
            return Err(ParseError::unexpected(object, ".", expected, "none"));
        }
        Ok(statistics)
    }

    /// Model quality metrics, for any problem type.
    pub fn metrics(&self) -> impl Iterator<Item = (&String, &MetricStatistics)> {
        let tables = [
            &self.regression_metrics,
            &self.binary_classification_metrics,
            &self.multiclass_classification_metrics,
        ];
        tables.into_iter().flatten().flatten()
    }
}
