//! `statistics.json` of the data quality and model quality monitors. Clarify's monitors write none.
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

/// A statistics file. A data quality file has `features`, a model quality file one of the three metric tables.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Statistics {
    /// `0.0` in every file that the analyzer writes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<Value>,
    /// The data as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dataset: Option<Dataset>,
    /// Data quality: each column.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub features: Option<Vec<FeatureStatistics>>,
    /// Model quality of a regression, by metric.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub regression_metrics: Option<BTreeMap<String, MetricStatistics>>,
    /// Model quality of a binary classification, by metric; with the confusion matrix and the curves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binary_classification_metrics: Option<BTreeMap<String, MetricStatistics>>,
    /// Model quality of a multiclass classification, by metric; with the confusion matrix.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub multiclass_classification_metrics: Option<BTreeMap<String, MetricStatistics>>,
    /// Fields that are not documented, as they are.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// The data as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Dataset {
    /// Number of rows.
    #[serde(deserialize_with = "count")]
    pub item_count: u64,
    /// Fields that are not documented, as they are.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// One column.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct FeatureStatistics {
    /// The column.
    pub name: String,
    /// `Fractional`, `Integral`, `String` or `Unknown`.
    pub inferred_type: String,
    /// Of a numeric column.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub numerical_statistics: Option<NumericalStatistics>,
    /// Of a string column.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub string_statistics: Option<StringStatistics>,
    /// Fields that are not documented, as they are.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// How many values a column has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Common {
    /// Rows with a value.
    #[serde(deserialize_with = "count")]
    pub num_present: u64,
    /// Rows without.
    #[serde(deserialize_with = "count")]
    pub num_missing: u64,
}

/// A numeric column.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct NumericalStatistics {
    /// How many values it has.
    pub common: Common,
    /// Mean of the values.
    #[serde(with = "lenient")]
    pub mean: f64,
    /// Their sum.
    #[serde(with = "lenient")]
    pub sum: f64,
    /// Their standard deviation, that of the population.
    #[serde(with = "lenient")]
    pub std_dev: f64,
    /// The smallest.
    #[serde(with = "lenient")]
    pub min: f64,
    /// The largest.
    #[serde(with = "lenient")]
    pub max: f64,
    /// How they are distributed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distribution: Option<Distribution>,
    /// Fields that are not documented, as they are.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// The distribution of a numeric column.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Distribution {
    /// As histogram and KLL sketch.
    pub kll: KllSketch,
    /// Of a column with few different numbers: each with its count, exactly. The analyzer does not write it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub categorical: Option<Categorical>,
}

/// Ten buckets of equal width, and the sketch behind them.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct KllSketch {
    /// The buckets, from the smallest to the largest value.
    pub buckets: Vec<KllBucket>,
    /// The sketch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sketch: Option<Sketch>,
}

/// A bucket of the histogram.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct KllBucket {
    /// Its lower bound.
    #[serde(with = "lenient")]
    pub lower_bound: f64,
    /// Its upper bound.
    #[serde(with = "lenient")]
    pub upper_bound: f64,
    /// How many values it holds: an estimate, and so not an integer.
    #[serde(with = "lenient")]
    pub count: f64,
}

/// A KLL sketch: an item on level h stands for 2^h values.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Sketch {
    /// How it was built.
    pub parameters: SketchParameters,
    /// The items, level by level.
    #[serde(with = "lenient_levels")]
    pub data: Vec<Vec<f64>>,
}

/// How a sketch was built.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct SketchParameters {
    /// By how much each level shrinks; 0.64.
    pub c: f64,
    /// Size of the largest level; 2048.
    pub k: f64,
}

/// A string column.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct StringStatistics {
    /// How many values it has.
    pub common: Common,
    /// How many different ones: an estimate, and so not an integer.
    #[serde(with = "lenient")]
    pub distinct_count: f64,
    /// How they are distributed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distribution: Option<StringDistribution>,
    /// Fields that are not documented, as they are.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// The distribution of a string column.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct StringDistribution {
    /// By value.
    pub categorical: Categorical,
}

/// How often each value occurs.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Categorical {
    /// The values.
    pub buckets: Vec<CategoricalBucket>,
}

/// How often a value occurs.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CategoricalBucket {
    /// The value.
    #[serde(deserialize_with = "some_text")]
    pub value: String,
    /// How often.
    #[serde(deserialize_with = "count")]
    pub count: u64,
}

/// A model quality metric. The confusion matrix and the curves stand among the metrics, with neither value nor
/// deviation: they are in `extra`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct MetricStatistics {
    /// Its value.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "lenient_option")]
    pub value: Option<f64>,
    /// Its standard deviation; NaN below 200 rows.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "lenient_option")]
    pub standard_deviation: Option<f64>,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl Statistics {
    /// Reads a statistics file. `object` is what errors call it.
    ///
    /// # Errors
    /// If it is larger than the limits, not JSON, or of another shape; also if it holds no statistics of any kind.
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

    /// The model quality metrics, whatever the problem type.
    pub fn metrics(&self) -> impl Iterator<Item = (&String, &MetricStatistics)> {
        let tables = [
            &self.regression_metrics,
            &self.binary_classification_metrics,
            &self.multiclass_classification_metrics,
        ];
        tables.into_iter().flatten().flatten()
    }
}
