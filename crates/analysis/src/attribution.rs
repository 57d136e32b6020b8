//! Feature attribution drift: nDCG of the live against the baseline's global SHAP values.
//!
//! Source: developer guide, page `clarify-model-monitor-feature-attribution-drift`, which gives the formula and points to
//! scikit-learn's `ndcg_score` (`y_true` the baseline, `y_score` the live values).

use crate::{java::java_double, random::Random, violation::ConstraintViolation};
use model_monitor::{Analysis, ConstraintCheckType, Explanation, Explanations, Shap};
use serde::{Deserialize, Serialize};
use std::{cmp::Ordering, collections::BTreeMap};

/// The nDCG below which attributions have drifted. The service knows no other.
pub const NDCG_THRESHOLD: f64 = 0.9;

/// Why attributions cannot be compared, or made global.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum AttributionError {
    /// A feature of one side only.
    #[error("feature `{feature}` is missing in the {side} attributions: both need the same features")]
    MissingFeature {
        /// The feature.
        feature: String,
        /// `baseline` or `live`.
        side: &'static str,
    },
    /// An order of one is always the same.
    #[error("{0} features: the order of attributions needs at least two")]
    TooFewFeatures(usize),
    /// A value without a place in an order.
    #[error("the {side} attribution of feature `{feature}` is {value}, not a finite number")]
    NotFinite {
        /// The feature.
        feature: String,
        /// `baseline` or `live`.
        side: &'static str,
        /// What it is.
        value: f64,
    },
    /// The baseline's attributions are gains, and a gain is no loss.
    #[error(
        "the baseline attribution of feature `{feature}` is {value}: take absolute values, nDCG has no negative gain"
    )]
    Negative {
        /// The feature.
        feature: String,
        /// What it is.
        value: f64,
    },
    /// A row with more or fewer local values than the rows before it.
    #[error("row {row} has {found} local SHAP values, not {expected}")]
    RowLength {
        /// Which, from 0.
        row: usize,
        /// How many it has.
        found: usize,
        /// How many features there are.
        expected: usize,
    },
    /// A local value that is no number.
    #[error("row {row} has the local SHAP value {value}, not a finite number")]
    LocalValue {
        /// Which, from 0.
        row: usize,
        /// What it is.
        value: f64,
    },
    /// Without rows there is no mean.
    #[error("no rows of local SHAP values")]
    NoRows,
    /// A file without Kernel SHAP values.
    #[error("no `explanations.kernel_shap` in the {0} analysis")]
    NoExplanations(&'static str),
    /// A label of the live analysis that the baseline does not know.
    #[error("label `{0}` is not in the baseline analysis")]
    UnknownLabel(String),
}

/// nDCG of the live attributions, by feature name: the baseline's attributions in the order of the live ones, each over
/// log2(1 + its place), divided by the same sum in their own order. 1 if the order is kept, the lower the farther up it
/// changed.
///
/// Features with equal live attributions share the mean of their gains over their places, as scikit-learn has it. If all
/// of the baseline is 0 there is nothing to gain, and nDCG is 0. Live attributions may be negative; of the baseline's it is
/// an error, as it is for scikit-learn: global values by mean absolute or squared value never are, and medians are made
/// absolute by [`GlobalShap`].
///
/// # Errors
/// If the features differ or are fewer than two, a value is not finite, or one of the baseline's is negative.
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
    // In units of the largest, no sum of gains can overflow. Adding 0.0 makes -0.0 the 0.0 that it is equal to.
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
    // The order that is kept gains all there is, but for rounding.
    Ok((gained / ideal).min(1.0))
}

/// 1 / log2(1 + place), from place 1.
fn discounts() -> impl Iterator<Item = f64> {
    std::iter::successors(Some(2.0_f64), |place| Some(place + 1.0)).map(|place| 1.0 / place.log2())
}

/// The drift of one label's attributions.
#[derive(Debug, Clone, PartialEq)]
pub struct AttributionDrift {
    /// The label.
    pub label: String,
    /// nDCG, from 0 to 1.
    pub ndcg: f64,
}

impl AttributionDrift {
    /// Whether nDCG is below [`NDCG_THRESHOLD`].
    pub fn is_violation(&self) -> bool {
        self.ndcg < NDCG_THRESHOLD
    }

    /// The violation, if it is one.
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

/// The drift of every label of a live analysis, by label, each with what it is or why it cannot be told.
///
/// Labels are matched by name. With JSON data Clarify names a label by its probability, which need not be the same in a
/// baseline and in a run: so if both sides have one label only, they are a pair whatever their names.
///
/// # Errors
/// If one of the two has no Kernel SHAP values.
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

/// The global SHAP values of a label, by feature.
pub fn values(explanation: &Explanation) -> BTreeMap<String, f64> {
    let values = explanation.global_shap_values.iter();
    values.map(|(feature, shap)| (feature.clone(), shap.0)).collect()
}

/// The global SHAP values of a label and the model's mean prediction on the baseline, as `analysis.json` has them.
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

/// An analysis of these explanations, by label, and nothing else: `analysis.json` of an explainability monitor, which is
/// its constraints too.
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

/// How local SHAP values become global ones: Clarify's `agg_method`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Aggregation {
    /// The mean of the absolute values.
    #[default]
    MeanAbs,
    /// The absolute value of the median. Clarify leaves it signed; a gain of nDCG has no sign.
    Median,
    /// The mean of the squares.
    MeanSq,
}

/// Up to how many rows a median is exact. Of more, it is that of as many rows drawn evenly by a fixed seed.
pub const MEDIAN_ROWS: usize = 10_000;

/// Global SHAP values of one label, row by row, in memory that does not grow with the rows: a number a feature for the
/// means, [`MEDIAN_ROWS`] for the median.
#[derive(Debug, Clone)]
pub struct GlobalShap {
    aggregation: Aggregation,
    rows: usize,
    means: Vec<f64>,
    kept: Vec<Vec<f64>>,
    random: Random,
}

impl GlobalShap {
    /// Of no rows yet, of this many features.
    pub fn new(aggregation: Aggregation, features: usize) -> Self {
        Self {
            aggregation,
            rows: 0,
            means: vec![0.0; features],
            kept: Vec::new(),
            random: Random::new(0),
        }
    }

    /// Adds the local values of a row, one a feature.
    ///
    /// # Errors
    /// If the row has more or fewer, or one is not finite; the row does not count then.
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
                // Each row so far is among the kept ones with the same probability.
                let place = self.random.below(self.rows);
                if let Some(kept) = self.kept.get_mut(place) {
                    row.clone_into(kept);
                }
            }
        }
        Ok(())
    }

    #[expect(clippy::cast_precision_loss, reason = "nobody has 2^53 rows")]
    fn average(&mut self, row: &[f64], magnitude: impl Fn(f64) -> f64) {
        for (mean, value) in self.means.iter_mut().zip(row) {
            *mean += (magnitude(*value) - *mean) / self.rows as f64;
        }
    }

    /// The global values, one a feature.
    ///
    /// # Errors
    /// If there were no rows.
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
