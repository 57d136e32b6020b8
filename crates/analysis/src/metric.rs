//! CloudWatch metrics of an analysis, with Model Monitor's names.
//!
//! Sources: developer guide, pages `model-monitor-interpreting-cloudwatch`, `model-monitor-model-quality-cw`,
//! `clarify-model-monitor-bias-drift-cw`, `clarify-feature-attribute-drift-cw`.

use serde::Serialize;

/// The largest magnitude that CloudWatch takes (2^360). Clarify publishes infinities as this.
const BOUND: f64 = 2.348_542_582_773_833_3e108;

/// A metric of an analysis.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AnalysisMetric {
    /// Its name: `feature_data_age`.
    pub name: String,
    /// The dimensions beyond those of the monitor.
    pub dimensions: Vec<(String, String)>,
    /// What was measured.
    pub value: MetricValue,
}

/// The value of a metric, or of many.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub enum MetricValue {
    /// One value.
    Value(f64),
    /// A statistic set.
    StatisticSet {
        /// How many values.
        sample_count: f64,
        /// Their sum.
        sum: f64,
        /// The smallest.
        minimum: f64,
        /// The largest.
        maximum: f64,
    },
}

/// A number that CloudWatch takes; `None` for NaN.
fn bounded(value: f64) -> Option<f64> {
    (!value.is_nan()).then(|| value.clamp(-BOUND, BOUND))
}

impl AnalysisMetric {
    /// A metric of one value; `None` if it is NaN.
    pub fn value(name: String, dimensions: Vec<(String, String)>, value: f64) -> Option<Self> {
        Some(Self {
            name,
            dimensions,
            value: MetricValue::Value(bounded(value)?),
        })
    }

    /// A metric of many values; `None` if one of the numbers is NaN.
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
