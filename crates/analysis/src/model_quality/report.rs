//! Files of the monitor: `statistics.json`, `constraints.json`, and the entries of `constraint_violations.json`.

use super::{ConfusionMatrix, Curve, Evaluation, ModelQualityError, ProblemType};
use crate::java::java_double;
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

/// Checks the metrics against their constraints, ordered by metric name.
///
/// A value equal to its threshold is valid. A metric without a number violates its constraint, because it is not known
/// to be good: it is not defined for these rows, is not computed, or has a threshold that is NaN. Its description
/// contains NaN.
///
/// # Errors
/// Fails if the constraints do not belong to this problem type.
pub fn check_constraints(
    evaluation: &Evaluation,
    constraints: &Constraints,
) -> Result<Vec<MetricViolation>, ModelQualityError> {
    let table = evaluation.problem_type.constraints(constraints)?;
    let violation = |(name, constraint): (&String, &MetricConstraint)| {
        let metric = evaluation.metrics.get(name.as_str());
        let value = metric.map_or(f64::NAN, |metric| metric.value);
        if holds(value, constraint) {
            return None;
        }
        let metric_name = in_violations(name);
        let description = format!(
            "Metric {metric_name} with {} +/- {} was {} '{}'",
            java_double(value),
            java_double(metric.map_or(f64::NAN, |metric| metric.standard_deviation)),
            constraint.comparison_operator.as_str(),
            java_double(constraint.threshold),
        );
        Some(MetricViolation {
            constraint_check_type: constraint.comparison_operator,
            description,
            metric_name: metric_name.to_owned(),
        })
    };
    Ok(table.iter().filter_map(violation).collect())
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
