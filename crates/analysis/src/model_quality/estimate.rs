//! Estimated performance of a binary classification before its labels arrive: confidence-based performance estimation.
//!
//! The idea is `NannyML`'s CBPE: if probabilities are calibrated, a row with probability 0.9 is positive nine times out
//! of ten. So it adds 0.9 to the expected true positives if it was predicted positive, and 0.1 to the false positives.
//! The estimate reflects drift of the inputs, but not a change of the relation between inputs and labels (concept
//! drift). It is an early warning and does not replace a measurement, so all types and names contain `estimated`.

use super::{
    ModelQualityError, ProblemType, Sum, TwoClasses, f_score, float,
    regression::finite,
    report::{holds, number},
};
use model_monitor::{ComparisonOperator, Constraints};
use serde_json::Value;
use std::collections::BTreeMap;

/// Maps scores to probabilities, fitted on rows with labels: piecewise linear between points, constant outside of them,
/// never decreasing.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Calibration {
    /// Score and probability, by ascending score.
    points: Vec<(f64, f64)>,
}

/// Rows of one score or of adjacent scores: mean score, share of positives, number of rows.
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
    /// Isotonic regression (pool adjacent violators): the nondecreasing function that is nearest to the labels, linear
    /// between two pools.
    ///
    /// # Errors
    /// Fails if there are no rows, the columns differ in length, or a score is not finite.
    pub fn isotonic(labels: &[u32], probabilities: &[f64], classes: &TwoClasses) -> Result<Self, ModelQualityError> {
        let mut pools: Vec<Pool> = Vec::new();
        for mut pool in by_score(labels, probabilities, classes)? {
            // A pool that is not lower than its successor is merged with it. The comparison uses integers.
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

    /// Bins of about equal size, without splitting rows of one score: each bin's share of positives at the mean of its
    /// scores. Where the shares decrease, bins are merged until they do not.
    ///
    /// # Errors
    /// Fails like [`Calibration::isotonic`].
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

    /// Probability of a score.
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

/// Rows grouped by score, ascending.
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

/// Expected performance, without labels. Expected counts are not integers.
#[derive(Debug, Clone, PartialEq)]
pub struct EstimatedPerformance {
    /// Number of rows.
    pub rows: u64,
    /// Expected true positives.
    pub estimated_true_positives: f64,
    /// Expected false positives.
    pub estimated_false_positives: f64,
    /// Expected false negatives.
    pub estimated_false_negatives: f64,
    /// Expected true negatives.
    pub estimated_true_negatives: f64,
    /// Expected accuracy.
    pub estimated_accuracy: f64,
    /// Expected precision; 0 if nothing was predicted positive.
    pub estimated_precision: f64,
    /// Expected recall; 0 if no positive is expected.
    pub estimated_recall: f64,
    /// F1 of precision and recall.
    pub estimated_f1: f64,
    /// Expected area under the receiver operating characteristic; NaN if all rows certainly have one class.
    pub estimated_auc: f64,
}

impl EstimatedPerformance {
    /// Estimates the performance from the predictions and the probabilities of the positive class. Without a
    /// calibration, the probabilities must be calibrated. With one, `probabilities` may be any finite scores.
    ///
    /// # Errors
    /// Fails if there are no rows, the columns differ in length, or a probability is not finite or not between 0 and 1.
    pub fn new(
        predictions: &[u32],
        probabilities: &[f64],
        classes: &TwoClasses,
        calibration: Option<&Calibration>,
    ) -> Result<Self, ModelQualityError> {
        // There are no labels, so the other columns are compared with the predictions.
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

    /// Estimates by name.
    pub fn metrics(&self) -> BTreeMap<&'static str, f64> {
        BTreeMap::from([
            ("estimated_accuracy", self.estimated_accuracy),
            ("estimated_precision", self.estimated_precision),
            ("estimated_recall", self.estimated_recall),
            ("estimated_f1", self.estimated_f1),
            ("estimated_auc", self.estimated_auc),
        ])
    }

    /// Estimates by name, as JSON.
    pub fn to_json(&self) -> Value {
        let metrics = self.metrics().into_iter();
        Value::Object(metrics.map(|(name, value)| (name.to_owned(), number(value))).collect())
    }

    /// Estimates on the wrong side of the baseline's constraints. Constraints on metrics that are not estimated are
    /// ignored. An estimate without a number is a warning.
    ///
    /// # Errors
    /// Fails if the constraints do not belong to a binary classification.
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

/// Estimate on the wrong side of a constraint. It is a warning, not a violation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EstimateWarning {
    /// Name of the estimate, such as `estimated_recall`.
    pub estimated_metric: &'static str,
    /// Estimate.
    pub estimate: f64,
    /// Side of the threshold on which the estimate is.
    pub comparison_operator: ComparisonOperator,
    /// Threshold of the baseline for the metric.
    pub threshold: f64,
}

/// Area under the curve of rows that are positive with their probability and negative otherwise, ranked by score.
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
