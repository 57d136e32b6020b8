//! CloudWatch metrics of an analysis, with Model Monitor's names.
//!
//! Sources: developer guide, pages `model-monitor-interpreting-cloudwatch`, `model-monitor-model-quality-cw`,
//! `clarify-model-monitor-bias-drift-cw`, `clarify-feature-attribute-drift-cw`.

use serde::Serialize;

/// Largest magnitude that CloudWatch accepts (2^360). Clarify publishes infinities as this value.
const MAX_MAGNITUDE: f64 = 2.348_542_582_773_833_3e108;

/// Metric of an analysis.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AnalysisMetric {
    /// Name, such as `feature_data_age`.
    pub name: String,
    /// Dimensions in addition to those of the monitor.
    pub dimensions: Vec<(String, String)>,
    /// Value or statistic set.
    pub value: MetricValue,
}

/// Value of a metric, or statistic set of several values.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub enum MetricValue {
    /// Single value.
    Value(f64),
    /// Statistic set.
    StatisticSet {
        /// Number of values.
        sample_count: f64,
        /// Sum.
        sum: f64,
        /// Minimum.
        minimum: f64,
        /// Maximum.
        maximum: f64,
    },
}

/// Number in the range of CloudWatch; `None` for NaN.
fn bounded(value: f64) -> Option<f64> {
    (!value.is_nan()).then(|| value.clamp(-MAX_MAGNITUDE, MAX_MAGNITUDE))
}

impl AnalysisMetric {
    /// Creates a metric of one value; `None` if it is NaN.
    pub fn value(name: String, dimensions: Vec<(String, String)>, value: f64) -> Option<Self> {
        Some(Self {
            name,
            dimensions,
            value: MetricValue::Value(bounded(value)?),
        })
    }

    /// Creates a metric of a statistic set; `None` if one of the numbers is NaN.
    pub fn statistic_set(name: String, sample_count: f64, sum: f64, minimum: f64, maximum: f64) -> Option<Self> {
        Some(Self {
            name,
            dimensions: Vec::new(),
            value: MetricValue::StatisticSet {
                sample_count,
                sum: bounded(sum)?,
                minimum: bounded(minimum)?,
                maximum: bounded(maximum)?,
            },
        })
    }
}
