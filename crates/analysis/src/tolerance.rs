//! How far an execution may be from its baseline by chance, given the numbers of rows of both.
//!
//! A baseline is a sample, and so is an execution: without any drift, half of all executions are below the baseline's
//! completeness. A check with a tolerance reports a violation only if a difference of this size would be rare without drift,
//! and if it is large enough to matter. The executions without drift that have a violation are limited as a whole: each check
//! gets an equal part of [`FALSE_ALARM_RATE`].
//!
//! `constraints.json` has the thresholds for a stated number of rows. `tolerance.json` repeats them, and has what the thresholds
//! for other numbers of rows follow from. A threshold that differs between the two files was edited, and is applied as it is.

use crate::distance::real;
use serde::{Deserialize, Serialize};
use statrs::function::{beta::ln_beta, erf::erfc_inv, factorial::ln_binomial};
use std::collections::BTreeMap;

/// Maximum share of executions without drift that have a violation, of one monitor.
pub const FALSE_ALARM_RATE: f64 = 0.004;
/// Number of rows that the thresholds in `constraints.json` are for, unless another one is given.
pub const DEFAULT_ROWS_PER_EXECUTION: u64 = 1_000;
/// Smallest shortfall of a share (completeness, share of values in the domain) that is a violation.
pub const MIN_SHORTFALL: f64 = 0.01;
/// Smallest distance that is a violation.
pub const MIN_DISTANCE: f64 = 0.05;

/// Number of rows beyond which a tolerance stays the same. By then it is far below every smallest difference that matters.
const MAX_ROWS: u64 = 1_000_000;
/// Share of the probability of the most likely count below which counts are ignored.
const NEGLIGIBLE: f64 = 1e-15;
/// Tails of metrics are heavier than those of a normal distribution.
const HEAVY_TAILS: f64 = 1.25;

/// `tolerance.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tolerance {
    /// Version of the format.
    pub version: u32,
    /// Number of rows that the thresholds in `constraints.json` are for.
    pub rows_per_execution: u64,
    /// Maximum share of executions without drift that have a violation.
    pub false_alarm_rate: f64,
    /// Number of rows of the baseline.
    pub baseline_rows: u64,
    /// Data quality: thresholds in `constraints.json`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_quality: Option<DataQualityTolerance>,
    /// Model quality and bias: values in the baseline, and how they vary.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub metrics: Vec<MetricTolerance>,
}

/// Thresholds of data quality. What they follow from is in `statistics.json`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct DataQualityTolerance {
    /// `comparison_threshold`.
    pub comparison_threshold: f64,
    /// `domain_content_threshold` of all columns.
    pub domain_content_threshold: f64,
    /// Thresholds by column.
    pub features: BTreeMap<String, FeatureTolerance>,
}

/// Thresholds of a column.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct FeatureTolerance {
    /// `completeness`.
    pub completeness: f64,
    /// `domain_content_threshold`, if it differs from that of all columns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain_content_threshold: Option<f64>,
    /// Whether the values look like identifiers, times, or free text, so that `perform_comparison` is `Disabled`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_identifier: bool,
}

/// How a metric varies between samples of the baseline's rows.
///
/// The tolerance of a metric is a number of standard deviations that follows from the false alarms that are allowed. For metrics
/// that are never below 0, or whose errors have heavy tails, the distribution is skewed; the first term of the Cornish-Fisher
/// expansion takes that into account (Cornish and Fisher, Moments and cumulants in the specification of distributions, 1938).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MetricTolerance {
    /// Bias: `pre_training_bias_metrics` or `post_training_bias_metrics`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<String>,
    /// Bias: facet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub facet: Option<String>,
    /// Bias: value of the facet, or interval of its values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub facet_value: Option<String>,
    /// Name of the metric.
    pub metric_name: String,
    /// Value in the baseline.
    pub value: f64,
    /// Model quality: threshold in `constraints.json`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f64>,
    /// Distribution of the metric in random samples of the baseline's rows, by number of rows.
    pub deviations: Vec<Deviation>,
}

/// Distribution of a metric in random samples of a number of rows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Deviation {
    /// Number of rows.
    pub rows: u64,
    /// Standard deviation.
    pub deviation: f64,
    /// Skewness: positive if large values are farther from the mean than small ones.
    pub skewness: f64,
}

impl Tolerance {
    /// Version of the format.
    pub const VERSION: u32 = 1;

    /// A tolerance with the default share of false alarms, without thresholds.
    pub fn new(rows_per_execution: u64, baseline_rows: u64) -> Self {
        Self {
            version: Self::VERSION,
            rows_per_execution,
            false_alarm_rate: FALSE_ALARM_RATE,
            baseline_rows,
            data_quality: None,
            metrics: Vec::new(),
        }
    }
}

/// Part of a share of false alarms that each of some checks gets.
pub(crate) fn per_check(false_alarm_rate: f64, checks: usize) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a number of columns or metrics")]
    let checks = checks.max(1) as f64;
    false_alarm_rate / checks
}

/// Cells of a baseline with a property, out of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Observed {
    pub(crate) part: u64,
    pub(crate) whole: u64,
}

impl Observed {
    /// Share of the cells.
    pub(crate) fn share(self) -> f64 {
        real(self.part) / real(self.whole.max(1))
    }

    /// The smallest share among `rows` cells of the same population that is not unusual: with probability `alpha` at most, a
    /// share is smaller. Follows from the beta-binomial distribution, which is the predictive distribution of a count if all
    /// shares of the population are equally likely beforehand (Laplace's rule of succession).
    pub(crate) fn lower(self, rows: u64, alpha: f64) -> f64 {
        let rows = rows.clamp(1, MAX_ROWS);
        let (n, a, b) = (
            real(rows),
            real(self.part) + 1.0,
            real(self.whole.saturating_sub(self.part)) + 1.0,
        );
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 0 and the rows"
        )]
        let likely = (n * self.share()).round() as u64;
        let at = real(likely);
        let top = (ln_binomial(rows, likely) + ln_beta(at + a, n - at + b) - ln_beta(a, b)).exp();
        // The probabilities of smaller and smaller counts, each from the one before.
        let mut tail = vec![top];
        let mut chance = top;
        for count in (1..=likely).rev() {
            let k = real(count);
            chance *= k * (n - k + b) / ((n - k + 1.0) * (k - 1.0 + a));
            if chance < top * NEGLIGIBLE {
                break;
            }
            tail.push(chance);
        }
        let mut count = likely + 1 - tail.len() as u64;
        let mut below = 0.0;
        for chance in tail.iter().rev() {
            below += chance;
            if below >= alpha {
                break;
            }
            count += 1;
        }
        real(count.min(likely)) / n
    }

    /// The largest share that is not unusual. See [`Self::lower`].
    pub(crate) fn upper(self, rows: u64, alpha: f64) -> f64 {
        let rest = Self {
            part: self.whole.saturating_sub(self.part),
            ..self
        };
        1.0 - rest.lower(rows, alpha)
    }

    /// The smallest share among `rows` cells that is no violation: it is not unusual, or not much smaller than this one.
    pub(crate) fn threshold(self, rows: u64, alpha: f64) -> f64 {
        self.lower(rows, alpha).min(self.share() - MIN_SHORTFALL).max(0.0)
    }
}

/// The largest distance between the distribution functions of two samples of one population that is no violation: Smirnov's
/// limit for two samples, which is for many rows, plus a step of each distribution function; or the smallest distance that matters.
pub(crate) fn distance_threshold(rows: u64, baseline_rows: u64, alpha: f64) -> f64 {
    let (n, m) = (real(rows.max(1)), real(baseline_rows.max(1)));
    let steps = 1.0 / n + 1.0 / m;
    let limit = crate::distance::robust_c(alpha) * steps.sqrt() + steps;
    limit.max(MIN_DISTANCE)
}

/// Direction in which a metric is worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Worse {
    Smaller,
    Larger,
}

impl MetricTolerance {
    /// How far the metric of an execution may be from the baseline's value by chance.
    pub(crate) fn margin(&self, rows: u64, baseline_rows: u64, alpha: f64, worse: Worse) -> f64 {
        let both = (1.0 + real(rows) / real(baseline_rows.max(1))).sqrt();
        let z = normal_quantile(alpha);
        let known = self.deviations.iter().rev().find(|known| known.rows <= rows);
        let skewness = known.or(self.deviations.first()).map_or(0.0, |known| known.skewness);
        let toward = match worse {
            Worse::Smaller => -skewness,
            Worse::Larger => skewness,
        };
        let skewed = z + (z * z - 1.0) / 6.0 * toward.max(0.0);
        skewed * HEAVY_TAILS * self.deviation(rows) * both
    }

    /// Standard deviation in samples of a number of rows, on a straight line between the known ones if both axes are
    /// logarithmic; beyond them, the inverse square root of the number of rows. NaN if none is known.
    fn deviation(&self, rows: u64) -> f64 {
        let beyond = |known: &Deviation| known.deviation * (real(known.rows) / real(rows.max(1))).sqrt();
        let next = self.deviations.iter().position(|known| known.rows >= rows);
        let (before, after) = match next {
            None => return self.deviations.last().map_or(f64::NAN, beyond),
            Some(0) => return self.deviations.first().map_or(f64::NAN, beyond),
            Some(next) => (self.deviations.get(next - 1), self.deviations.get(next)),
        };
        let (Some(before), Some(after)) = (before, after) else {
            return f64::NAN;
        };
        if before.deviation <= 0.0 || after.deviation <= 0.0 {
            return before.deviation.max(after.deviation);
        }
        let place = (real(rows) / real(before.rows)).ln() / (real(after.rows) / real(before.rows)).ln();
        before.deviation * (after.deviation / before.deviation).powf(place)
    }
}

/// Numbers of rows at which the deviations of metrics are measured.
pub(crate) const SAMPLE_SIZES: [u64; 3] = [100, 1_000, 10_000];
impl Deviation {
    /// Distribution of the finite values of a metric in samples of a number of rows. `None` if fewer than half of the samples have
    /// one.
    pub(crate) fn new(rows: u64, values: &[f64], samples: u32) -> Option<Self> {
        let finite: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
        if finite.len() < 2 || finite.len().saturating_mul(2) < samples as usize {
            return None;
        }
        let n = real(finite.len() as u64);
        let mean = finite.iter().sum::<f64>() / n;
        let moment = |power: i32| finite.iter().map(|value| (value - mean).powi(power)).sum::<f64>() / n;
        let variance = moment(2);
        Some(Self {
            rows,
            deviation: (variance * n / (n - 1.0)).sqrt(),
            skewness: if variance > 0.0 {
                moment(3) / variance.powf(1.5)
            } else {
                0.0
            },
        })
    }
}

/// The value that a standard normal number exceeds with this probability, up to 1/2.
fn normal_quantile(alpha: f64) -> f64 {
    std::f64::consts::SQRT_2 * erfc_inv(2.0 * alpha.clamp(f64::MIN_POSITIVE, 0.5))
}

/// Whether two thresholds are the same number, apart from the digits that JSON may lose.
pub(crate) fn is_same(one: f64, other: f64) -> bool {
    (one - other).abs() <= 1e-12 * one.abs().max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// scipy.stats.betabinom.ppf(alpha, n, part + 1, whole - part + 1) / n
    #[test]
    fn lower_share_is_quantile_of_beta_binomial_distribution() {
        for (part, whole, rows, alpha, expected) in [
            (48_979, 50_000, 300, 1e-4, 283.0),
            (48_979, 50_000, 2_000, 1e-4, 1_933.0),
            (50_000, 50_000, 2_000, 1e-4, 1_998.0),
            (25_000, 50_000, 10_000, 1e-4, 4_796.0),
            (300, 500, 10_000, 1e-4, 5_151.0),
            (1, 50_000, 300, 1e-4, 0.0),
            (5, 5, 40, 1e-3, 11.0),
        ] {
            let lower = Observed { part, whole }.lower(rows, alpha) * real(rows);
            assert!(
                (lower - expected).abs() < 1e-6,
                "{part} of {whole}, {rows} rows: {lower}"
            );
        }
    }

    #[test]
    fn upper_share_mirrors_lower_share() {
        let few = Observed { part: 20, whole: 1_000 };
        let many = Observed {
            part: 980,
            whole: 1_000,
        };
        assert!((few.upper(500, 1e-3) + many.lower(500, 1e-3) - 1.0).abs() < 1e-12);
        assert!(few.lower(500, 1e-3) < 0.02 && few.upper(500, 1e-3) > 0.02);
    }

    #[test]
    fn normal_quantile_matches_tables() {
        for (alpha, expected) in [(0.5, 0.0), (0.025, 1.959_96), (1e-3, 3.090_23), (1e-5, 4.264_89)] {
            assert!((normal_quantile(alpha) - expected).abs() < 1e-5, "{alpha}");
        }
    }
}
