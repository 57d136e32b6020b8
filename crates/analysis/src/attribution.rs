//! Feature attribution drift: nDCG of the live global SHAP values compared with the baseline's.
//!
//! Source: developer guide, page `clarify-model-monitor-feature-attribution-drift`, which gives the formula and points
//! to scikit-learn's `ndcg_score` (`y_true` is the baseline, `y_score` the live values).

use crate::{java::java_double, random::Random, violation::ConstraintViolation};
use model_monitor::{Analysis, ConstraintCheckType, Explanation, Explanations, Shap};
use serde::{Deserialize, Serialize};
use std::{cmp::Ordering, collections::BTreeMap};

/// nDCG below which attributions have drifted. Model Monitor has no other threshold.
pub const NDCG_THRESHOLD: f64 = 0.9;

/// Reason for which attributions are not comparable or global values are not computable.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum AttributionError {
    /// A feature exists on one side only.
    #[error("feature `{feature}` is missing in the {side} attributions: both need the same features")]
    MissingFeature {
        /// Name of the feature.
        feature: String,
        /// Side that lacks it: `baseline` or `live`.
        side: &'static str,
    },
    /// A single feature has no order.
    #[error("{0} features: attribution drift requires at least two")]
    TooFewFeatures(usize),
    /// A value is NaN or infinite, so it has no rank.
    #[error("the {side} attribution of feature `{feature}` is {value}: expected a finite number")]
    NotFinite {
        /// Name of the feature.
        feature: String,
        /// Side of the value: `baseline` or `live`.
        side: &'static str,
        /// The value.
        value: f64,
    },
    /// A baseline attribution is negative, but gains of nDCG are not.
    #[error(
        "the baseline attribution of feature `{feature}` is {value}: expected an absolute value, because nDCG has no \
         negative gains"
    )]
    Negative {
        /// Name of the feature.
        feature: String,
        /// The value.
        value: f64,
    },
    /// A row has another number of local values than the rows before it.
    #[error("row {row} has {found} local SHAP values: expected {expected}")]
    RowLength {
        /// Row, starting at 0.
        row: usize,
        /// Number of its values.
        found: usize,
        /// Number of features.
        expected: usize,
    },
    /// A local value is NaN or infinite.
    #[error("row {row} has the local SHAP value {value}: expected a finite number")]
    LocalValue {
        /// Row, starting at 0.
        row: usize,
        /// The value.
        value: f64,
    },
    /// There are no rows to aggregate.
    #[error("there are no rows of local SHAP values: expected at least one")]
    NoRows,
    /// A file has no Kernel SHAP values.
    #[error("the {0} analysis has no `explanations.kernel_shap`")]
    NoExplanations(&'static str),
    /// A label of the live analysis is not in the baseline.
    #[error("label `{0}` is not in the baseline analysis")]
    UnknownLabel(String),
}

/// nDCG of the live attributions, by feature name: the sum of the baseline's attributions, in the order of the live
/// ones, each divided by log2(1 + its rank), relative to the same sum in the baseline's own order. The value is 1 if
/// the order is unchanged, and lower the higher the rank at which it changed.
///
/// Features with equal live attributions share the mean of their gains over their ranks, as in scikit-learn. If all
/// baseline attributions are 0, there is nothing to gain, and nDCG is 0. Live attributions may be negative. Negative
/// baseline attributions are an error, as in scikit-learn: global values by mean absolute or squared value are never
/// negative, and [`GlobalShap`] makes medians absolute.
///
/// # Errors
/// Fails if the features differ or are fewer than two, a value is not finite, or a baseline value is negative.
pub fn ndcg(baseline: &BTreeMap<String, f64>, live: &BTreeMap<String, f64>) -> Result<f64, AttributionError> {
    for (features, side, others) in [(baseline, "live", live), (live, "baseline", baseline)] {
        if let Some(feature) = features.keys().find(|feature| !others.contains_key(*feature)) {
            let feature = feature.clone();
            return Err(AttributionError::MissingFeature { feature, side });
        }
    }
    if baseline.len() < 2 {
        return Err(AttributionError::TooFewFeatures(baseline.len()));
    }
    for (values, side) in [(baseline, "baseline"), (live, "live")] {
        if let Some((feature, value)) = values.iter().find(|(_, value)| !value.is_finite()) {
            let (feature, value) = (feature.clone(), *value);
            return Err(AttributionError::NotFinite { feature, side, value });
        }
    }
    if let Some((feature, value)) = baseline.iter().find(|(_, value)| **value < 0.0) {
        let (feature, value) = (feature.clone(), *value);
        return Err(AttributionError::Negative { feature, value });
    }
    let most = baseline.values().copied().fold(0.0, f64::max);
    if most <= 0.0 {
        return Ok(0.0);
    }
    // In units of the largest value, no sum of gains overflows. Adding 0.0 turns -0.0 into 0.0.
    let gains = baseline.values().map(|gain| gain / most);
    let mut ranked: Vec<(f64, f64)> = live.values().map(|value| value + 0.0).zip(gains).collect();
    ranked.sort_by(|(one, _), (other, _)| other.total_cmp(one));
    let mut discounts = discounts();
    let gained: f64 = ranked
        .chunk_by(|(one, _), (other, _)| one.total_cmp(other) == Ordering::Equal)
        .map(|tied| {
            let gain: f64 = tied.iter().map(|(_, gain)| gain).sum();
            let places: f64 = tied.iter().map(|_| 1.0).sum();
            let discount: f64 = discounts.by_ref().take(tied.len()).sum();
            gain / places * discount
        })
        .sum();
    ranked.sort_by(|(_, one), (_, other)| other.total_cmp(one));
    let ideal: f64 = ranked
        .iter()
        .zip(self::discounts())
        .map(|((_, gain), discount)| gain * discount)
        .sum();
    // The baseline's own order gives the full gain, except for rounding.
    Ok((gained / ideal).min(1.0))
}

/// 1 / log2(1 + rank), starting at rank 1.
fn discounts() -> impl Iterator<Item = f64> {
    std::iter::successors(Some(2.0_f64), |place| Some(place + 1.0)).map(|place| 1.0 / place.log2())
}

/// Attribution drift of one label.
#[derive(Debug, Clone, PartialEq)]
pub struct AttributionDrift {
    /// Name of the label.
    pub label: String,
    /// nDCG, from 0 to 1.
    pub ndcg: f64,
}

impl AttributionDrift {
    /// Whether nDCG is below [`NDCG_THRESHOLD`].
    pub fn is_violation(&self) -> bool {
        self.ndcg < NDCG_THRESHOLD
    }

    /// Violation, if the attributions have drifted.
    pub fn violation(&self) -> Option<ConstraintViolation> {
        self.is_violation().then(|| ConstraintViolation {
            label: Some(self.label.clone()),
            metric_name: Some("shap".to_owned()),
            constraint_check_type: ConstraintCheckType::FeatureAttributionDrift.as_str().to_owned(),
            description: format!(
                "Feature attribution drift {} exceeds threshold {}",
                java_double(self.ndcg),
                java_double(NDCG_THRESHOLD)
            ),
            ..ConstraintViolation::default()
        })
    }
}

/// Drift of every label of a live analysis, by label. Each entry is the drift, or the reason for which it is unknown.
///
/// Labels are matched by name. With JSON data, Clarify names a label by its probability, which can differ between a
/// baseline and an execution. So if both sides have only one label, they match whatever their names.
///
/// # Errors
/// Fails if one of the two has no Kernel SHAP values.
pub fn drift(
    baseline: &Analysis,
    live: &Analysis,
) -> Result<BTreeMap<String, Result<AttributionDrift, AttributionError>>, AttributionError> {
    let (known, found) = (labels(baseline, "baseline")?, labels(live, "live")?);
    let pair = known.len() == 1 && found.len() == 1;
    let judged = found.iter().map(|(label, explanation)| {
        let expected = known.get(label).or_else(|| known.values().next().filter(|_| pair));
        let drift = expected
            .ok_or_else(|| AttributionError::UnknownLabel(label.clone()))
            .and_then(|expected| ndcg(&values(expected), &values(explanation)))
            .map(|ndcg| AttributionDrift {
                label: label.clone(),
                ndcg,
            });
        (label.clone(), drift)
    });
    Ok(judged.collect())
}

fn labels<'a>(
    analysis: &'a Analysis,
    side: &'static str,
) -> Result<&'a BTreeMap<String, Explanation>, AttributionError> {
    let explanations = analysis.explanations.as_ref();
    let labels = explanations.and_then(|explanations| explanations.kernel_shap.as_ref());
    labels
        .filter(|labels| !labels.is_empty())
        .ok_or(AttributionError::NoExplanations(side))
}

/// Global SHAP values of a label, by feature.
pub fn values(explanation: &Explanation) -> BTreeMap<String, f64> {
    let values = explanation.global_shap_values.iter();
    values.map(|(feature, shap)| (feature.clone(), shap.0)).collect()
}

/// Global SHAP values of a label, and the mean prediction of the model on the baseline, as in `analysis.json`.
pub fn explanation(values: &BTreeMap<String, f64>, expected_value: Option<f64>) -> Explanation {
    Explanation {
        global_shap_values: values
            .iter()
            .map(|(feature, value)| (feature.clone(), Shap(*value)))
            .collect(),
        expected_value,
        extra: serde_json::Map::new(),
    }
}

/// Analysis with these explanations, by label, and nothing else: the `analysis.json` of an explainability monitor,
/// which also is its constraints file.
pub fn analysis(labels: BTreeMap<String, Explanation>) -> Analysis {
    Analysis {
        version: Some("1.0".into()),
        explanations: Some(Explanations {
            kernel_shap: Some(labels),
            extra: serde_json::Map::new(),
        }),
        ..Analysis::default()
    }
}

/// How local SHAP values are aggregated to global ones: Clarify's `agg_method`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Aggregation {
    /// Mean of the absolute values.
    #[default]
    MeanAbs,
    /// Absolute value of the median. Clarify keeps the sign, but gains of nDCG have none.
    Median,
    /// Mean of the squares.
    MeanSq,
}

/// Number of rows up to which a median is exact. For more rows, it is the median of a uniform sample of this size, with
/// a fixed seed.
pub const MEDIAN_ROWS: usize = 10_000;

/// Global SHAP values of one label, accumulated row by row. Memory does not grow with the number of rows: one number
/// per feature for the means, [`MEDIAN_ROWS`] for the median.
#[derive(Debug, Clone)]
pub struct GlobalShap {
    aggregation: Aggregation,
    rows: usize,
    means: Vec<f64>,
    kept: Vec<Vec<f64>>,
    random: Random,
}

impl GlobalShap {
    /// Creates an empty accumulator for this number of features.
    pub fn new(aggregation: Aggregation, features: usize) -> Self {
        Self {
            aggregation,
            rows: 0,
            means: vec![0.0; features],
            kept: Vec::new(),
            random: Random::new(0),
        }
    }

    /// Adds the local values of a row, one per feature.
    ///
    /// # Errors
    /// Fails if the number of values is wrong or one is not finite. The row is then ignored.
    pub fn add(&mut self, row: &[f64]) -> Result<(), AttributionError> {
        if row.len() != self.means.len() {
            return Err(AttributionError::RowLength {
                row: self.rows,
                found: row.len(),
                expected: self.means.len(),
            });
        }
        if let Some(value) = row.iter().find(|value| !value.is_finite()) {
            return Err(AttributionError::LocalValue {
                row: self.rows,
                value: *value,
            });
        }
        self.rows += 1;
        match self.aggregation {
            Aggregation::MeanAbs => self.average(row, f64::abs),
            Aggregation::MeanSq => self.average(row, |value| value * value),
            Aggregation::Median if self.kept.len() < MEDIAN_ROWS => self.kept.push(row.to_vec()),
            Aggregation::Median => {
                // Each row so far is in the sample with the same probability.
                let place = self.random.below(self.rows);
                if let Some(kept) = self.kept.get_mut(place) {
                    row.clone_into(kept);
                }
            }
        }
        Ok(())
    }

    #[expect(clippy::cast_precision_loss, reason = "there are fewer than 2^53 rows")]
    fn average(&mut self, row: &[f64], magnitude: impl Fn(f64) -> f64) {
        for (mean, value) in self.means.iter_mut().zip(row) {
            *mean += (magnitude(*value) - *mean) / self.rows as f64;
        }
    }

    /// Global values, one per feature.
    ///
    /// # Errors
    /// Fails if there were no rows.
    pub fn finish(self) -> Result<Vec<f64>, AttributionError> {
        if self.rows == 0 {
            return Err(AttributionError::NoRows);
        }
        if self.aggregation != Aggregation::Median {
            return Ok(self.means);
        }
        let median = |feature: usize| {
            let mut values: Vec<f64> = self.kept.iter().filter_map(|row| row.get(feature).copied()).collect();
            values.sort_by(f64::total_cmp);
            let middle = values.len() / 2;
            let upper = values.get(middle).copied().unwrap_or(0.0);
            let lower = values
                .get(middle.saturating_sub(1))
                .copied()
                .filter(|_| values.len().is_multiple_of(2));
            f64::midpoint(lower.unwrap_or(upper), upper).abs()
        };
        Ok((0..self.means.len()).map(median).collect())
    }
}
