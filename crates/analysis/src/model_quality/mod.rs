//! Model quality: predictions compared with ground truth.
//!
//! Source of names and formulas: developer guide, page `model-monitor-model-quality-metrics`, and Spark `MLlib`'s
//! `BinaryClassificationMetrics` and `MulticlassMetrics`, which its examples follow. One evaluation ([`evaluate`])
//! computes every metric that the columns allow. [`Evaluation::to_statistics`], [`suggest_constraints`], and
//! [`check_constraints`] create the monitor's three files from it. [`by_segment`] evaluates each value of a column, and
//! [`EstimatedPerformance`] estimates performance before there are labels.
//!
//! Choices where the guide has no answer or contradicts itself:
//!
//! | question | answer here |
//! | --- | --- |
//! | the positive class | the last label in sort order, numeric if all labels are numbers ([`Classes::binary`]) |
//! | a rate whose denominator is 0 | 0, also for the true negative and the false negative rate |
//! | `auc` with only one class in the labels | NaN; Spark returns 0 or 1 |
//! | `au_prc` | trapezoids over Spark's points; not the average precision. 0 without positives |
//! | `*_best_constant_classifier` | always answers the most frequent label, the first in sort order if there are several. Real output of the service agrees; the guide's two examples always answer the last label |
//! | `r2` if all labels are equal | NaN |
//! | standard deviation | over five samples of 80% of the rows, without replacement, divided by n − 1; NaN below 200 rows |
//! | the random samples | drawn with a fixed seed: the same rows give the same standard deviation. For a classification, they do not depend on the order of the rows |
//! | a standard deviation when constraints are checked | is ignored |
//! | `f0_5` | is checked like any other metric; the service sometimes omits it |
//! | a metric with a constraint and without a value | is not checked; so is a rate whose denominator is 0 |

mod binary;
mod classes;
mod estimate;
mod multiclass;
mod regression;
mod report;
mod sampling;
mod segments;

pub use binary::Curve;
pub use classes::{Classes, TwoClasses};
pub use estimate::{Calibration, EstimateWarning, EstimatedPerformance};
pub use report::{
    ConstraintCheck, Deviations, MetricViolation, Suggestion, check_constraints, suggest_constraints,
    suggest_with_tolerance,
};
pub use sampling::metric_deviations;
pub use segments::{OmittedSegments, Segment, SegmentOptions, SegmentReport, by_segment};

use std::collections::BTreeMap;

/// `MonitoringProblemType` of a model quality job definition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum ProblemType {
    /// Two classes, one of which is positive.
    BinaryClassification,
    /// Any number of classes.
    MulticlassClassification,
    /// Numbers.
    Regression,
}

/// Columns of one evaluation, all of the same length and in the same row order.
#[derive(Debug, Clone, Copy)]
pub enum Rows<'a> {
    /// Two classes.
    Binary {
        /// Ground truth, as class numbers.
        labels: &'a [u32],
        /// Predictions, as class numbers.
        predictions: &'a [u32],
        /// Score of the positive class, if there is one: a probability or any finite number that grows with it. Without
        /// it there is no `auc`, no `au_prc`, and no curve.
        probabilities: Option<&'a [f64]>,
        /// The two classes.
        classes: &'a TwoClasses,
    },
    /// Multiple classes.
    Multiclass {
        /// Ground truth, as class numbers.
        labels: &'a [u32],
        /// Predictions, as class numbers.
        predictions: &'a [u32],
        /// The classes.
        classes: &'a Classes,
    },
    /// Numbers.
    Regression {
        /// Ground truth.
        labels: &'a [f64],
        /// Predictions.
        predictions: &'a [f64],
    },
}

impl Rows<'_> {
    /// Problem type of the rows.
    pub fn problem_type(&self) -> ProblemType {
        match self {
            Self::Binary { .. } => ProblemType::BinaryClassification,
            Self::Multiclass { .. } => ProblemType::MulticlassClassification,
            Self::Regression { .. } => ProblemType::Regression,
        }
    }

    /// Number of rows, if the columns have the same length and at least one row.
    fn len(&self) -> Result<usize, ModelQualityError> {
        let (labels, predictions, probabilities) = match self {
            Self::Binary {
                labels,
                predictions,
                probabilities,
                ..
            } => (labels.len(), predictions.len(), probabilities.map(<[f64]>::len)),
            Self::Multiclass {
                labels, predictions, ..
            } => (labels.len(), predictions.len(), None),
            Self::Regression { labels, predictions } => (labels.len(), predictions.len(), None),
        };
        let same = |field, len| {
            if len == labels {
                Ok(())
            } else {
                Err(ModelQualityError::Lengths { field, len, labels })
            }
        };
        same("prediction", predictions)?;
        probabilities.map_or(Ok(()), |len| same("probability", len))?;
        if labels == 0 {
            return Err(ModelQualityError::NoRows);
        }
        Ok(labels)
    }
}

/// Points of the curves that an evaluation keeps. Areas are always computed from all points.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CurvePoints {
    /// None.
    None,
    /// About a thousand if there are 2,000 or more, as Spark since 3.0: the last point of each group; groups have equal
    /// sizes.
    #[default]
    Thinned,
    /// One per distinct score.
    All,
}

/// Optional results of an evaluation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Whether standard deviations are computed. Otherwise they are NaN.
    pub standard_deviations: bool,
    /// Points of the curves.
    pub curve_points: CurvePoints,
}

impl Default for Options {
    /// Options for `statistics.json`.
    fn default() -> Self {
        Self {
            standard_deviations: true,
            curve_points: CurvePoints::Thinned,
        }
    }
}

/// Value of a metric, and its standard deviation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Metric {
    /// Value over all rows; NaN if it is not defined.
    pub value: f64,
    /// Standard deviation over the samples; NaN below 200 rows.
    pub standard_deviation: f64,
}

/// Number of predictions of each class for each true class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfusionMatrix {
    classes: Vec<String>,
    counts: Vec<u64>,
}

impl ConfusionMatrix {
    /// Classes in sort order.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// Counts by true class in sort order: the number of predictions of each class, in the same order.
    pub fn rows(&self) -> impl Iterator<Item = (&str, &[u64])> {
        let rows = self.counts.chunks(self.classes.len().max(1));
        self.classes.iter().map(String::as_str).zip(rows)
    }
}

/// All metrics of some rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluation {
    /// Problem type.
    pub problem_type: ProblemType,
    /// Number of rows.
    pub rows: u64,
    /// Metrics by their name in `statistics.json`.
    pub metrics: BTreeMap<&'static str, Metric>,
    /// Confusion matrix of a classification.
    pub confusion_matrix: Option<ConfusionMatrix>,
    /// Curve of a binary classification with scores.
    pub curve: Option<Curve>,
}

/// Reason for which there is no evaluation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ModelQualityError {
    /// There are no rows.
    #[error("label has no values: expected at least one row")]
    NoRows,
    /// The columns differ in length.
    #[error("{field} has {len} values, but label has {labels}: expected equal numbers")]
    Lengths {
        /// Name of the column that differs.
        field: &'static str,
        /// Length of the column.
        len: usize,
        /// Number of labels.
        labels: usize,
    },
    /// A number is NaN or infinite.
    #[error("{field}[{row}]: expected a finite number, found {value}: remove or fix the row")]
    NotFinite {
        /// Name of the column.
        field: &'static str,
        /// Row, starting at 0.
        row: usize,
        /// The value.
        value: String,
    },
    /// A value is not a probability.
    #[error("{field}[{row}]: expected a probability between 0 and 1, found {value}")]
    NotAProbability {
        /// Name of the column.
        field: &'static str,
        /// Row, starting at 0.
        row: usize,
        /// The value.
        value: String,
    },
    /// A class number has no class.
    #[error("{field}[{row}]: class number {id} is not among the classes")]
    UnknownClass {
        /// Name of the column.
        field: &'static str,
        /// Row, starting at 0.
        row: usize,
        /// The class number.
        id: u32,
    },
    /// There are more classes than a binary classification has.
    #[error("label and prediction have the values {}: expected two classes; set the problem type to \
             MulticlassClassification, or map the values to two classes", list(.classes))]
    NotBinary {
        /// Some of the classes, in sort order.
        classes: Vec<String>,
    },
    /// All rows have one class, which may be positive or negative.
    #[error("label and prediction have only the value `{class}`: set the positive class")]
    PositiveUnknown {
        /// Name of the class.
        class: String,
    },
    /// The positive class is not one of the two.
    #[error("the positive class `{positive}` is not among the values of label and prediction: {}", list(.classes))]
    PositiveNotFound {
        /// Requested positive class.
        positive: String,
        /// Classes of the rows.
        classes: Vec<String>,
    },
    /// There are more classes than the maximum of a confusion matrix.
    #[error(
        "label and prediction have {classes} classes, more than {MAX_CLASSES}: for numbers, set the problem type \
             to Regression"
    )]
    TooManyClasses {
        /// Number of classes.
        classes: usize,
    },
    /// A constraint is of a metric that does not exist.
    #[error("constraints.json: unknown metric `{name}`{}", nearest.as_ref().map_or(String::new(), |name| format!(": did you mean `{name}`?")))]
    UnknownMetric {
        /// Name in the constraint.
        name: String,
        /// The most similar metric.
        nearest: Option<String>,
    },
    /// The constraints belong to another analysis.
    #[error("the constraints have no `{table}`: create a baseline with this problem type")]
    NoConstraints {
        /// Table that is missing.
        table: &'static str,
    },
}

/// Maximum number of classes of a confusion matrix.
pub const MAX_CLASSES: usize = 2_000;

/// Lists values for a message, at most five.
fn list(values: &[String]) -> String {
    text::first_names(values.iter(), 5)
}

/// Computes every metric of the rows.
///
/// # Errors
/// Fails if there are no rows, columns differ in length, a number is not finite, or there are too many classes.
pub fn evaluate(rows: &Rows<'_>, options: Options) -> Result<Evaluation, ModelQualityError> {
    let len = rows.len()?;
    match *rows {
        Rows::Binary {
            labels,
            predictions,
            probabilities,
            classes,
        } => binary::evaluate(labels, predictions, probabilities, classes, options),
        Rows::Multiclass {
            labels,
            predictions,
            classes,
        } => multiclass::evaluate(labels, predictions, classes, options),
        Rows::Regression { labels, predictions } => regression::evaluate(len, labels, predictions, options),
    }
}

/// Metrics by name, always in the same order.
type Values = Vec<(&'static str, f64)>;

/// Combines the values over all rows with the standard deviations of the samples.
fn metrics(values: Values, deviations: Option<&[f64]>) -> BTreeMap<&'static str, Metric> {
    let deviations = deviations.unwrap_or_default().iter().copied();
    let deviations = deviations.chain(std::iter::repeat(f64::NAN));
    let metric = |((name, value), standard_deviation)| {
        (
            name,
            Metric {
                value,
                standard_deviation,
            },
        )
    };
    values.into_iter().zip(deviations).map(metric).collect()
}

#[expect(clippy::cast_precision_loss, reason = "numbers of rows are far below 2^53")]
fn float(count: u64) -> f64 {
    count as f64
}

/// Ratio of counts; 0 if the denominator is 0.
fn share(part: u64, of: u64) -> f64 {
    if of == 0 { 0.0 } else { float(part) / float(of) }
}

/// F score that weights recall `beta` times as much as precision; 0 if both are 0.
fn f_score(beta: f64, precision: f64, recall: f64) -> f64 {
    let weight = beta * beta;
    let denominator = weight * precision + recall;
    if denominator > 0.0 {
        (1.0 + weight) * precision * recall / denominator
    } else {
        0.0
    }
}

/// Sum with almost no rounding error for any number of values (Neumaier).
#[derive(Debug, Clone, Copy, Default)]
struct Sum {
    sum: f64,
    lost: f64,
}

impl Sum {
    fn add(&mut self, value: f64) {
        let sum = self.sum + value;
        self.lost += if self.sum.abs() >= value.abs() {
            (self.sum - sum) + value
        } else {
            (value - sum) + self.sum
        };
        self.sum = sum;
    }

    fn value(self) -> f64 {
        let value = self.sum + self.lost;
        // Beyond the largest double, the compensation is NaN, but the sum is not.
        if value.is_nan() { self.sum } else { value }
    }
}
