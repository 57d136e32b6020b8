//! What to expect of a binary classification before its labels arrive: confidence-based performance estimation.
//!
//! The idea is `NannyML`'s CBPE: where probabilities are calibrated, a row of probability 0.9 is positive nine times of
//! ten, so that it adds 0.9 to the expected true positives if it was predicted positive, and 0.1 to the false ones. The
//! estimate sees drift of the inputs, not a change of what the inputs mean (concept drift): it is an early warning and
//! takes no measurement's place, so that types and names say `estimated` everywhere.

use super::{
    ModelQualityError, ProblemType, Sum, TwoClasses, f_score, float,
    regression::finite,
    report::{holds, number},
};
use model_monitor::{ComparisonOperator, Constraints};
use serde_json::Value;
use std::collections::BTreeMap;

/// From the model's scores to probabilities, learnt from rows with labels: piecewise linear between points, constant
/// beyond them, never falling.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Calibration {
    /// Score and probability, by rising score.
    points: Vec<(f64, f64)>,
}

/// Rows of one score, or of neighbours: mean score, share of positives, how many.
#[derive(Debug, Clone, Copy)]
struct Pool {
    lowest: f64,
    highest: f64,
    positives: u64,
    rows: u64,
}

impl Pool {
    fn probability(self) -> f64 {
        float(self.positives) / float(self.rows)
    }
}

impl Calibration {
    /// Isotonic regression (pooling adjacent violators): the never falling function that is nearest to the labels.
    /// Between two pools it is linear.
    ///
    /// # Errors
    /// If there are no rows, the columns differ in length, or a score is not finite.
    pub fn isotonic(labels: &[u32], probabilities: &[f64], classes: &TwoClasses) -> Result<Self, ModelQualityError> {
        let mut pools: Vec<Pool> = Vec::new();
        for mut pool in by_score(labels, probabilities, classes)? {
            // What is no lower than its successor is pooled with it; compared in whole numbers.
            while let Some(last) = pools.last()
                && u128::from(last.positives) * u128::from(pool.rows)
                    >= u128::from(pool.positives) * u128::from(last.rows)
            {
                pool = Pool {
                    lowest: last.lowest,
                    highest: pool.highest,
                    positives: last.positives + pool.positives,
                    rows: last.rows + pool.rows,
                };
                pools.pop();
            }
            pools.push(pool);
        }
        let mut points = Vec::with_capacity(pools.len() * 2);
        for pool in pools {
            points.push((pool.lowest, pool.probability()));
            if pool.highest > pool.lowest {
                points.push((pool.highest, pool.probability()));
            }
        }
        Ok(Self { points })
    }

    /// Bins of about equally many rows, rows of one score staying together: each bin's share of positives at the middle
    /// of its scores. Where the shares fall, bins are pooled until they do not.
    ///
    /// # Errors
    /// As [`Calibration::isotonic`].
    pub fn binned(
        labels: &[u32],
        probabilities: &[f64],
        classes: &TwoClasses,
        bins: u32,
    ) -> Result<Self, ModelQualityError> {
        let scores = by_score(labels, probabilities, classes)?;
        let rows: u64 = scores.iter().map(|pool| pool.rows).sum();
        let rows_of_bin = rows.div_ceil(u64::from(bins.max(1)));
        let mut pools: Vec<Pool> = Vec::new();
        for pool in scores {
            match pools.last_mut() {
                Some(last) if last.rows < rows_of_bin => {
                    last.highest = pool.highest;
                    last.positives += pool.positives;
                    last.rows += pool.rows;
                }
                _ => pools.push(pool),
            }
        }
        let mut points: Vec<(f64, f64)> = Vec::new();
        let mut rising: Vec<Pool> = Vec::new();
        for mut pool in pools {
            while let Some(last) = rising.last()
                && last.probability() > pool.probability()
            {
                pool.lowest = last.lowest;
                pool.positives += last.positives;
                pool.rows += last.rows;
                rising.pop();
            }
            rising.push(pool);
        }
        for pool in rising {
            points.push((f64::midpoint(pool.lowest, pool.highest), pool.probability()));
        }
        Ok(Self { points })
    }

    /// The probability of a score.
    pub fn apply(&self, score: f64) -> f64 {
        let above = self.points.partition_point(|(at, _)| *at < score);
        let lower = above.checked_sub(1).and_then(|at| self.points.get(at));
        match (lower, self.points.get(above)) {
            (Some((x0, y0)), Some((x1, y1))) => y0 + (y1 - y0) * ((score - x0) / (x1 - x0)),
            (None, Some((_, y))) | (Some((_, y)), None) => *y,
            (None, None) => f64::NAN,
        }
    }
}

/// Rows of one score each, by rising score.
fn by_score(labels: &[u32], probabilities: &[f64], classes: &TwoClasses) -> Result<Vec<Pool>, ModelQualityError> {
    same_length("probability", probabilities.len(), labels.len())?;
    let mut rows = Vec::with_capacity(labels.len());
    for (row, (label, score)) in labels.iter().zip(probabilities).enumerate() {
        finite("probability", row, *score)?;
        rows.push((*score + 0.0, classes.is_positive("label", row, *label)?));
    }
    rows.sort_unstable_by(|(a, _), (b, _)| a.total_cmp(b));
    let mut pools: Vec<Pool> = Vec::new();
    for (score, positive) in rows {
        match pools.last_mut() {
            Some(last) if last.highest >= score => {
                last.positives += u64::from(positive);
                last.rows += 1;
            }
            _ => pools.push(Pool {
                lowest: score,
                highest: score,
                positives: u64::from(positive),
                rows: 1,
            }),
        }
    }
    Ok(pools)
}

fn same_length(field: &'static str, len: usize, labels: usize) -> Result<(), ModelQualityError> {
    if len != labels {
        Err(ModelQualityError::Lengths { field, len, labels })
    } else if labels == 0 {
        Err(ModelQualityError::NoRows)
    } else {
        Ok(())
    }
}

/// Performance that is to be expected, without labels. Expected counts are no whole numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct EstimatedPerformance {
    /// How many rows it is of.
    pub rows: u64,
    /// Expected rows that are positive and predicted so.
    pub estimated_true_positives: f64,
    /// Expected rows that are negative and predicted positive.
    pub estimated_false_positives: f64,
    /// Expected rows that are positive and predicted negative.
    pub estimated_false_negatives: f64,
    /// Expected rows that are negative and predicted so.
    pub estimated_true_negatives: f64,
    /// Expected share of rows that are right.
    pub estimated_accuracy: f64,
    /// Expected precision; 0 if nothing was predicted positive.
    pub estimated_precision: f64,
    /// Expected recall; 0 if nothing is expected to be positive.
    pub estimated_recall: f64,
    /// F1 of the two.
    pub estimated_f1: f64,
    /// Expected area under the receiver operating characteristic; NaN if all rows are sure to be of one class.
    pub estimated_auc: f64,
}

impl EstimatedPerformance {
    /// Estimates from the predictions and the probabilities of the positive class. Without a calibration they are taken
    /// for calibrated; with one `probabilities` may be any finite score.
    ///
    /// # Errors
    /// If there are no rows, the columns differ in length, or a probability is not finite or not between 0 and 1.
    pub fn new(
        predictions: &[u32],
        probabilities: &[f64],
        classes: &TwoClasses,
        calibration: Option<&Calibration>,
    ) -> Result<Self, ModelQualityError> {
        // There are no labels: the predictions are what the rest must match.
        same_length("probability", probabilities.len(), predictions.len())?;
        let mut cells = [Sum::default(); 4];
        let mut scored = Vec::with_capacity(predictions.len());
        for (row, (prediction, score)) in predictions.iter().zip(probabilities).enumerate() {
            finite("probability", row, *score)?;
            let probability = calibration.map_or(*score, |calibration| calibration.apply(*score));
            if !(0.0..=1.0).contains(&probability) {
                return Err(ModelQualityError::NotAProbability {
                    field: "probability",
                    row,
                    value: crate::java::java_double(probability),
                });
            }
            let [tp, fp, fneg, tn] = &mut cells;
            let (positive, negative) = if classes.is_positive("prediction", row, *prediction)? {
                (tp, fp)
            } else {
                (fneg, tn)
            };
            positive.add(probability);
            negative.add(1.0 - probability);
            scored.push((*score + 0.0, probability));
        }
        let [tp, fp, fneg, tn] = cells.map(Sum::value);
        let ratio = |part: f64, of: f64| if of > 0.0 { part / of } else { 0.0 };
        let rows = u64::try_from(predictions.len()).unwrap_or(u64::MAX);
        let (precision, recall) = (ratio(tp, tp + fp), ratio(tp, tp + fneg));
        Ok(Self {
            rows,
            estimated_true_positives: tp,
            estimated_false_positives: fp,
            estimated_false_negatives: fneg,
            estimated_true_negatives: tn,
            estimated_accuracy: (tp + tn) / float(rows),
            estimated_precision: precision,
            estimated_recall: recall,
            estimated_f1: f_score(1.0, precision, recall),
            estimated_auc: expected_auc(scored),
        })
    }

    /// The estimates by name.
    pub fn metrics(&self) -> BTreeMap<&'static str, f64> {
        BTreeMap::from([
            ("estimated_accuracy", self.estimated_accuracy),
            ("estimated_precision", self.estimated_precision),
            ("estimated_recall", self.estimated_recall),
            ("estimated_f1", self.estimated_f1),
            ("estimated_auc", self.estimated_auc),
        ])
    }

    /// The estimates by name, as JSON.
    pub fn to_json(&self) -> Value {
        let metrics = self.metrics().into_iter();
        Value::Object(metrics.map(|(name, value)| (name.to_owned(), number(value))).collect())
    }

    /// Estimates on the wrong side of the baseline's constraints. Constraints on metrics that are not estimated are
    /// passed over; an estimate without a number warns.
    ///
    /// # Errors
    /// If the constraints are not of a binary classification.
    pub fn warnings(&self, constraints: &Constraints) -> Result<Vec<EstimateWarning>, ModelQualityError> {
        let table = ProblemType::BinaryClassification.constraints(constraints)?;
        let warning = |(estimated_metric, estimate): (&'static str, f64)| {
            let constraint = table.get(estimated_metric.strip_prefix("estimated_")?)?;
            (!holds(estimate, constraint)).then_some(EstimateWarning {
                estimated_metric,
                estimate,
                comparison_operator: constraint.comparison_operator,
                threshold: constraint.threshold,
            })
        };
        Ok(self.metrics().into_iter().filter_map(warning).collect())
    }
}

/// An estimate on the wrong side of a constraint: a warning, no violation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EstimateWarning {
    /// Which estimate: `estimated_recall`.
    pub estimated_metric: &'static str,
    /// The estimate.
    pub estimate: f64,
    /// On which side of the threshold it is.
    pub comparison_operator: ComparisonOperator,
    /// The baseline's threshold for the metric.
    pub threshold: f64,
}

/// The area under the curve of rows that are positive by their probability and negative by the rest, ranked by score.
fn expected_auc(mut scored: Vec<(f64, f64)>) -> f64 {
    scored.sort_unstable_by(|(a, _), (b, _)| b.total_cmp(a));
    let (mut positives, mut negatives, mut area) = (Sum::default(), Sum::default(), Sum::default());
    for same_score in scored.chunk_by(|(a, _), (b, _)| a <= b) {
        let (before, negatives_before) = (positives.value(), negatives.value());
        for (_, probability) in same_score {
            positives.add(*probability);
            negatives.add(1.0 - probability);
        }
        area.add((negatives.value() - negatives_before) * f64::midpoint(before, positives.value()));
    }
    let pairs = positives.value() * negatives.value();
    if pairs > 0.0 { area.value() / pairs } else { f64::NAN }
}
