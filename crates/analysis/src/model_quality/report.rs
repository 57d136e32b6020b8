//! Files of the monitor: `statistics.json`, `constraints.json`, and the entries of `constraint_violations.json`.

use super::{ConfusionMatrix, Curve, Evaluation, ModelQualityError, ProblemType};
use crate::{
    Judgments,
    java::java_double,
    tolerance::{MetricTolerance, Tolerance, Worse, is_same, per_check},
};
use model_monitor::{
    ComparisonOperator, Constraints, Dataset, MetricConstraint, MetricStatistics, Quantity, Statistics,
};
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Maximum number of classes for which the zeros of a confusion matrix are written.
pub(super) const MAX_FULL_MATRIX_CLASSES: usize = 100;

/// Metrics that get a constraint, with the side on which it is violated.
///
/// For a binary classification, these are the constraints that Model Monitor suggests. For the other problem types,
/// they are all metrics of the model itself. Constant classifiers get no constraint, because they describe the labels.
/// Neither does `au_prc`, which Model Monitor does not write.
fn constrained(problem_type: ProblemType) -> &'static [(&'static str, ComparisonOperator)] {
    use ComparisonOperator::{GreaterThanThreshold as Greater, LessThanThreshold as Less};
    match problem_type {
        ProblemType::BinaryClassification => &[
            ("recall", Less),
            ("precision", Less),
            ("accuracy", Less),
            ("true_positive_rate", Less),
            ("true_negative_rate", Less),
            ("false_positive_rate", Greater),
            ("false_negative_rate", Greater),
            ("auc", Less),
            ("f0_5", Less),
            ("f1", Less),
            ("f2", Less),
        ],
        ProblemType::MulticlassClassification => &[
            ("accuracy", Less),
            ("weighted_recall", Less),
            ("weighted_precision", Less),
            ("weighted_f0_5", Less),
            ("weighted_f1", Less),
            ("weighted_f2", Less),
        ],
        ProblemType::Regression => &[("mae", Greater), ("mse", Greater), ("rmse", Greater), ("r2", Less)],
    }
}

impl ProblemType {
    /// Metric that segments are ranked by, unless another one is requested.
    pub fn headline_metric(self) -> &'static str {
        match self {
            Self::BinaryClassification => "f1",
            Self::MulticlassClassification => "weighted_f1",
            Self::Regression => "rmse",
        }
    }

    /// Whether a larger value of a metric is worse.
    pub(super) fn larger_is_worse(self, metric: &str) -> bool {
        let side = constrained(self).iter().find(|(name, _)| *name == metric);
        side.is_some_and(|(_, operator)| *operator == ComparisonOperator::GreaterThanThreshold)
    }

    /// Field of `constraints.json`.
    pub(super) fn constraints_table(self) -> &'static str {
        match self {
            Self::BinaryClassification => "binary_classification_constraints",
            Self::MulticlassClassification => "multiclass_classification_constraints",
            Self::Regression => "regression_constraints",
        }
    }

    /// Content of the field.
    pub(super) fn constraints(
        self,
        constraints: &Constraints,
    ) -> Result<&BTreeMap<String, MetricConstraint>, ModelQualityError> {
        let table = match self {
            Self::BinaryClassification => &constraints.binary_classification_constraints,
            Self::MulticlassClassification => &constraints.multiclass_classification_constraints,
            Self::Regression => &constraints.regression_constraints,
        };
        table.as_ref().ok_or(ModelQualityError::NoConstraints {
            table: self.constraints_table(),
        })
    }
}

impl Evaluation {
    /// Metrics as in `statistics.json`, with the confusion matrix and the curves.
    pub fn metric_table(&self) -> BTreeMap<String, MetricStatistics> {
        let metric = |(name, metric): (&&str, &super::Metric)| {
            let statistics = MetricStatistics {
                value: Some(metric.value),
                standard_deviation: Some(metric.standard_deviation),
                extra: Map::new(),
            };
            ((*name).to_owned(), statistics)
        };
        let structure = |(name, extra): (&str, Map<String, Value>)| {
            let statistics = MetricStatistics {
                extra,
                ..MetricStatistics::default()
            };
            (name.to_owned(), statistics)
        };
        let metrics = self.metrics.iter().map(metric);
        metrics.chain(self.structures().into_iter().map(structure)).collect()
    }

    /// Converts to `statistics.json`.
    pub fn to_statistics(&self) -> Statistics {
        let mut statistics = Statistics {
            version: Some(json!(0.0)),
            dataset: Some(Dataset {
                item_count: self.rows,
                extra: Map::new(),
            }),
            ..Statistics::default()
        };
        let table = match self.problem_type {
            ProblemType::BinaryClassification => &mut statistics.binary_classification_metrics,
            ProblemType::MulticlassClassification => &mut statistics.multiclass_classification_metrics,
            ProblemType::Regression => &mut statistics.regression_metrics,
        };
        *table = Some(self.metric_table());
        statistics
    }

    /// Metrics as plain values, with the confusion matrix and the curves, for scripts.
    pub fn to_json(&self) -> Value {
        let metrics = self.metrics.iter().map(|(name, metric)| (*name, number(metric.value)));
        let structures = self.structures().into_iter();
        let structures = structures.map(|(name, structure)| (name, Value::Object(structure)));
        let all = metrics.chain(structures).map(|(name, value)| (name.to_owned(), value));
        Value::Object(all.collect())
    }

    fn structures(&self) -> Vec<(&'static str, Map<String, Value>)> {
        let mut structures = Vec::new();
        if let Some(matrix) = &self.confusion_matrix {
            structures.push(("confusion_matrix", matrix.to_json()));
        }
        if let Some(curve) = &self.curve {
            structures.extend(curve.to_json());
        }
        structures
    }
}

/// Number for JSON. A number that JSON cannot represent becomes a string.
pub(super) fn number(value: f64) -> Value {
    serde_json::to_value(Quantity::Number(value)).unwrap_or_default()
}

impl ConfusionMatrix {
    /// Counts by true class, then by prediction. With more than a hundred classes, zeros are omitted.
    fn to_json(&self) -> Map<String, Value> {
        let in_full = self.classes.len() <= MAX_FULL_MATRIX_CLASSES;
        let row = |counts: &[u64]| {
            let cells = self.classes.iter().zip(counts);
            let cells = cells.filter(|(_, count)| in_full || **count > 0);
            cells
                .map(|(class, count)| (class.clone(), Value::from(*count)))
                .collect()
        };
        self.rows()
            .map(|(class, counts)| (class.to_owned(), Value::Object(row(counts))))
            .collect()
    }
}

impl Curve {
    fn to_json(&self) -> [(&'static str, Map<String, Value>); 2] {
        let list = |name: &str, values: &mut dyn Iterator<Item = f64>| (name.to_owned(), values.map(number).collect());
        let roc = [
            list("false_positive_rates", &mut self.false_positive_rates()),
            list("true_positive_rates", &mut self.true_positive_rates()),
        ];
        let precision_recall = [
            list("precisions", &mut self.precisions()),
            list("recalls", &mut self.recalls()),
        ];
        [
            ("receiver_operating_characteristic_curve", roc.into_iter().collect()),
            ("precision_recall_curve", precision_recall.into_iter().collect()),
        ]
    }
}

/// Constraints that a baseline suggests.
#[derive(Debug, Clone, PartialEq)]
pub struct Suggestion {
    /// `constraints.json`.
    pub constraints: Constraints,
    /// Metrics that Model Monitor constrains and that have no constraint here, because the baseline has no number for
    /// them: `auc` without scores or with labels of one class, `r2` if all labels are equal.
    pub left_out: Vec<&'static str>,
}

/// Distributions of the metrics in random samples of a baseline's rows, by name.
pub type Deviations = BTreeMap<&'static str, Vec<crate::tolerance::Deviation>>;

/// Suggests constraints with a tolerance: thresholds for a number of rows, and what the thresholds for other numbers follow from.
pub fn suggest_with_tolerance(
    baseline: &Evaluation,
    deviations: &Deviations,
    rows_per_execution: u64,
) -> (Suggestion, Tolerance) {
    let mut suggestion = suggest_constraints(baseline);
    let mut tolerance = Tolerance::new(rows_per_execution, baseline.rows);
    let constraints = &mut suggestion.constraints;
    let tables = [
        &mut constraints.binary_classification_constraints,
        &mut constraints.multiclass_classification_constraints,
        &mut constraints.regression_constraints,
    ];
    let constrained = tables.into_iter().flatten().flatten();
    let known = constrained.filter_map(|(name, constraint)| Some((deviations.get(name.as_str())?, name, constraint)));
    let known: Vec<_> = known.filter(|(deviations, ..)| !deviations.is_empty()).collect();
    let alpha = per_check(tolerance.false_alarm_rate, known.len());
    for (deviations, name, constraint) in known {
        let mut metric = MetricTolerance {
            stage: None,
            facet: None,
            facet_value: None,
            metric_name: name.clone(),
            value: constraint.threshold,
            threshold: None,
            deviations: deviations.clone(),
        };
        constraint.threshold = metric_threshold(
            &metric,
            constraint.comparison_operator,
            rows_per_execution,
            alpha,
            &tolerance,
        );
        metric.threshold = Some(constraint.threshold);
        tolerance.metrics.push(metric);
    }
    (suggestion, tolerance)
}

/// The value that a metric of a number of rows may have at worst.
fn metric_threshold(
    metric: &MetricTolerance,
    operator: ComparisonOperator,
    rows: u64,
    alpha: f64,
    tolerance: &Tolerance,
) -> f64 {
    let margin = |worse| metric.margin(rows, tolerance.baseline_rows, alpha, worse);
    match operator {
        ComparisonOperator::LessThanThreshold => metric.value - margin(Worse::Smaller),
        ComparisonOperator::GreaterThanThreshold => metric.value + margin(Worse::Larger),
    }
}

/// Suggests constraints: the values of the baseline are the thresholds, so that worse values are violations.
///
/// Constraints cover the metrics of the model itself: minimums for scores, maximums for errors (`mae`, `mse`, `rmse`,
/// `false_positive_rate`, `false_negative_rate`). A perfect baseline gives thresholds that every mistake violates, as
/// in Model Monitor. Edit such thresholds.
pub fn suggest_constraints(baseline: &Evaluation) -> Suggestion {
    let mut left_out = Vec::new();
    let mut table = BTreeMap::new();
    for (name, comparison_operator) in constrained(baseline.problem_type) {
        let value = baseline.metrics.get(name).map(|metric| metric.value);
        let Some(threshold) = value.filter(|value| value.is_finite()) else {
            left_out.push(*name);
            continue;
        };
        let extra = [("additional_properties".to_owned(), Value::Null)];
        let constraint = MetricConstraint {
            threshold,
            comparison_operator: *comparison_operator,
            extra: extra.into_iter().collect(),
        };
        table.insert((*name).to_owned(), constraint);
    }
    let mut constraints = Constraints {
        version: Some(json!(0.0)),
        ..Constraints::default()
    };
    let place = match baseline.problem_type {
        ProblemType::BinaryClassification => &mut constraints.binary_classification_constraints,
        ProblemType::MulticlassClassification => &mut constraints.multiclass_classification_constraints,
        ProblemType::Regression => &mut constraints.regression_constraints,
    };
    *place = Some(table);
    Suggestion { constraints, left_out }
}

/// Entry of `constraint_violations.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MetricViolation {
    /// Operator of the constraint.
    pub constraint_check_type: ComparisonOperator,
    /// `Metric precision with 0.69 +/- 0.0089 was LessThanThreshold '1.0'`, with numbers as Java prints them.
    pub description: String,
    /// Name of the metric. Four rates are in camel case, as in Model Monitor's violations, and only there.
    pub metric_name: String,
}

/// Result of the check of an execution.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ConstraintCheck {
    /// Violations, ordered by metric name.
    pub violations: Vec<MetricViolation>,
    /// Metrics that were checked, and those that were not.
    pub judgments: Judgments,
}

/// Checks the metrics against their constraints.
///
/// A value equal to its threshold is valid. A metric that is not defined for these rows, or was not computed, is not checked. With
/// a tolerance, a threshold that is unedited is replaced by the one for the number of rows.
///
/// # Errors
/// Fails if the constraints do not belong to this problem type, or one is of an unknown metric.
pub fn check_constraints(
    evaluation: &Evaluation,
    constraints: &Constraints,
    tolerance: Option<&Tolerance>,
) -> Result<ConstraintCheck, ModelQualityError> {
    let table = evaluation.problem_type.constraints(constraints)?;
    let mut check = ConstraintCheck::default();
    for (name, constraint) in table {
        let metric_name = in_violations(name);
        let metric = match evaluation.judged(name)? {
            Ok(metric) => metric,
            Err(reason) => {
                let operator = constraint.comparison_operator.as_str();
                check.judgments.skip(name, operator, reason);
                continue;
            }
        };
        check.judgments.judged += 1;
        let constraint = &MetricConstraint {
            threshold: threshold(name, constraint, evaluation.rows, tolerance),
            ..constraint.clone()
        };
        if holds(metric.value, constraint) {
            continue;
        }
        let description = format!(
            "Metric {metric_name} with {} +/- {} was {} '{}'",
            java_double(metric.value),
            java_double(metric.standard_deviation),
            constraint.comparison_operator.as_str(),
            java_double(constraint.threshold),
        );
        check.violations.push(MetricViolation {
            constraint_check_type: constraint.comparison_operator,
            description,
            metric_name: metric_name.to_owned(),
        });
    }
    Ok(check)
}

/// Threshold for the number of rows, if the constraint is the suggested one.
fn threshold(name: &str, constraint: &MetricConstraint, rows: u64, tolerance: Option<&Tolerance>) -> f64 {
    let tolerant = tolerance.and_then(|tolerance| {
        let mut metrics = tolerance.metrics.iter();
        let known = metrics.find(|known| {
            let suggested = known
                .threshold
                .is_some_and(|suggested| is_same(suggested, constraint.threshold));
            suggested && known.metric_name == name
        })?;
        let alpha = per_check(tolerance.false_alarm_rate, tolerance.metrics.len());
        let threshold = metric_threshold(known, constraint.comparison_operator, rows, alpha, tolerance);
        threshold.is_finite().then_some(threshold)
    });
    tolerant.unwrap_or(constraint.threshold)
}

impl Evaluation {
    /// The metric, or why it is not defined for these rows.
    pub(super) fn judged(&self, name: &str) -> Result<Result<&super::Metric, &'static str>, ModelQualityError> {
        let Some(metric) = self.metrics.get(name) else {
            let mut known = constrained(self.problem_type).iter().map(|(known, _)| *known);
            return if known.clone().any(|known| known == name) || name == "au_prc" {
                Ok(Err("it was not computed: the rows have no score"))
            } else {
                Err(ModelQualityError::UnknownMetric {
                    name: name.to_owned(),
                    nearest: text::nearest_name(&mut known, name).map(ToOwned::to_owned),
                })
            };
        };
        Ok(match self.undefined(name) {
            Some(reason) => Err(reason),
            None if metric.value.is_nan() => Err("it is not defined for these rows"),
            None => Ok(metric),
        })
    }

    /// Why a rate of a binary classification has the denominator 0.
    fn undefined(&self, name: &str) -> Option<&'static str> {
        let matrix = self.confusion_matrix.as_ref()?;
        if self.problem_type != ProblemType::BinaryClassification {
            return None;
        }
        let [tn, fp, fneg, tp] = *matrix.counts.as_slice() else {
            return None;
        };
        let needs_positives = [
            "recall",
            "true_positive_rate",
            "false_negative_rate",
            "f0_5",
            "f1",
            "f2",
        ];
        let needs_negatives = ["true_negative_rate", "false_positive_rate"];
        let needs_both = ["auc", "au_prc"];
        let (no_positives, no_negatives) = (tp + fneg == 0, tn + fp == 0);
        if no_positives && (needs_positives.contains(&name) || needs_both.contains(&name)) {
            Some("no label is positive")
        } else if no_negatives && (needs_negatives.contains(&name) || needs_both.contains(&name)) {
            Some("no label is negative")
        } else if tp + fp == 0 && name == "precision" {
            Some("no prediction is positive")
        } else {
            None
        }
    }
}

/// Whether a value is on the right side of its threshold. NaN never is.
pub(super) fn holds(value: f64, constraint: &MetricConstraint) -> bool {
    match constraint.comparison_operator {
        ComparisonOperator::LessThanThreshold => value >= constraint.threshold,
        ComparisonOperator::GreaterThanThreshold => value <= constraint.threshold,
    }
}

fn in_violations(name: &str) -> &str {
    match name {
        "true_positive_rate" => "truePositiveRate",
        "true_negative_rate" => "trueNegativeRate",
        "false_positive_rate" => "falsePositiveRate",
        "false_negative_rate" => "falseNegativeRate",
        name => name,
    }
}
