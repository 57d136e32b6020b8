//! Model quality: predictions against ground truth.
//!
//! Source of names and formulas: developer guide, page `model-monitor-model-quality-metrics`, and Spark `MLlib`'s
//! `BinaryClassificationMetrics` and `MulticlassMetrics`, which its examples follow. One evaluation ([`evaluate`]) gives
//! every metric that the columns allow; [`Evaluation::to_statistics`], [`suggest_constraints`] and
//! [`check_constraints`] make the monitor's three files of it. [`by_segment`] does the same per value of a column, and
//! [`EstimatedPerformance`] tells what to expect before there are labels.
//!
//! Where the guide is silent or at odds with itself:
//!
//! | question | answer here |
//! | --- | --- |
//! | the positive class | the last label in sort order, by number if all labels are numbers ([`Classes::binary`]) |
//! | a rate whose denominator is 0 | 0, also the true negative and the false negative rate |
//! | `auc` with one class only in the labels | NaN; Spark would answer 0 or 1 |
//! | `au_prc` | trapezoids over Spark's points; not the average precision. 0 without positives |
//! | `*_best_constant_classifier` | always answers the most frequent label, the first in sort order of several. Real output of the service agrees; the guide's two examples always answer the last label |
//! | `r2` of labels that are all the same | NaN |
//! | standard deviation | of five samples of 80 % of the rows, without replacement, divided by n − 1; NaN below 200 rows |
//! | the random samples | drawn from a fixed seed: the same rows give the same deviation. Of a classification they do not depend on the order of the rows |
//! | a standard deviation when constraints are checked | does not soften the comparison |
//! | `f0_5` | is checked as any other metric; the service has been seen to leave it out |
//! | a metric that has a constraint and no value | is a violation, with the value NaN |

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
pub use report::{MetricViolation, Suggestion, check_constraints, suggest_constraints};
pub use segments::{LeftOut, Segment, SegmentOptions, SegmentReport, by_segment};

use std::collections::BTreeMap;

/// `MonitoringProblemType` of a model quality job definition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum ProblemType {
    /// Two classes, of which one is positive.
    BinaryClassification,
    /// Any number of classes.
    MulticlassClassification,
    /// Numbers.
    Regression,
}

/// The columns of one evaluation; all of one length, a row at the same place in each.
#[derive(Debug, Clone, Copy)]
pub enum Rows<'a> {
    /// Two classes.
    Binary {
        /// Ground truth, as numbers of `classes`.
        labels: &'a [u32],
        /// What the model answered, as numbers of `classes`.
        predictions: &'a [u32],
        /// The model's score of the positive class, if there is one: a probability or any finite number that grows with
        /// it. Without it there is no `auc`, no `au_prc` and no curve.
        probabilities: Option<&'a [f64]>,
        /// The two classes.
        classes: &'a TwoClasses,
    },
    /// Many classes.
    Multiclass {
        /// Ground truth, as numbers of `classes`.
        labels: &'a [u32],
        /// What the model answered, as numbers of `classes`.
        predictions: &'a [u32],
        /// The classes.
        classes: &'a Classes,
    },
    /// Numbers.
    Regression {
        /// Ground truth.
        labels: &'a [f64],
        /// What the model answered.
        predictions: &'a [f64],
    },
}

impl Rows<'_> {
    /// What kind of problem they are of.
    pub fn problem_type(&self) -> ProblemType {
        match self {
            Self::Binary { .. } => ProblemType::BinaryClassification,
            Self::Multiclass { .. } => ProblemType::MulticlassClassification,
            Self::Regression { .. } => ProblemType::Regression,
        }
    }

    /// How many rows, if the columns have one length and any row.
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

/// Which points of the curves an evaluation keeps. Areas are always those under all points.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CurvePoints {
    /// None.
    None,
    /// About a thousand where there are 2,000 or more, as Spark since 3.0: of runs of equally many points the last each.
    #[default]
    Thinned,
    /// One per distinct score.
    All,
}

/// What an evaluation is to give beside the metrics' values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Whether standard deviations are computed. Without, they are NaN.
    pub standard_deviations: bool,
    /// Which points the curves have.
    pub curve_points: CurvePoints,
}

impl Default for Options {
    /// As `statistics.json` has it.
    fn default() -> Self {
        Self {
            standard_deviations: true,
            curve_points: CurvePoints::Thinned,
        }
    }
}

/// A metric's value and how sure it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Metric {
    /// The value over all rows. NaN where it is not defined.
    pub value: f64,
    /// Standard deviation over the samples; NaN below 200 rows.
    pub standard_deviation: f64,
}

/// How often which class was predicted for which.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfusionMatrix {
    classes: Vec<String>,
    counts: Vec<u64>,
}

impl ConfusionMatrix {
    /// The classes in sort order.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// The counts by truth: for each class in sort order how often each was predicted, in the same order.
    pub fn rows(&self) -> impl Iterator<Item = (&str, &[u64])> {
        let rows = self.counts.chunks(self.classes.len().max(1));
        self.classes.iter().map(String::as_str).zip(rows)
    }
}

/// All metrics of some rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluation {
    /// What kind of problem it is.
    pub problem_type: ProblemType,
    /// How many rows it is of.
    pub rows: u64,
    /// The metrics by their name in `statistics.json`.
    pub metrics: BTreeMap<&'static str, Metric>,
    /// Of a classification.
    pub confusion_matrix: Option<ConfusionMatrix>,
    /// Of a binary classification with scores.
    pub curve: Option<Curve>,
}

/// Why there is no evaluation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ModelQualityError {
    /// There is nothing to evaluate.
    #[error("label has no values, at least one row is needed")]
    NoRows,
    /// The columns do not belong together.
    #[error("{field} has {len} values and label has {labels}, each row needs one of both")]
    Lengths {
        /// The column that differs.
        field: &'static str,
        /// Its length.
        len: usize,
        /// That of the labels.
        labels: usize,
    },
    /// A number is NaN or infinite.
    #[error("{field}[{row}] is {value}, it must be a finite number: leave the row out or repair it")]
    NotFinite {
        /// The column.
        field: &'static str,
        /// The row, from 0.
        row: usize,
        /// What it is.
        value: String,
    },
    /// A probability is none.
    #[error("{field}[{row}] is {value}, an estimate needs probabilities between 0 and 1")]
    NotAProbability {
        /// The column.
        field: &'static str,
        /// The row, from 0.
        row: usize,
        /// What it is.
        value: String,
    },
    /// A number that stands for no class.
    #[error("{field}[{row}] is the class number {id}, which is none of the classes given")]
    UnknownClass {
        /// The column.
        field: &'static str,
        /// The row, from 0.
        row: usize,
        /// The number.
        id: u32,
    },
    /// More classes than a binary classification has.
    #[error("label and prediction have the values {}, a binary classification has two: monitor it as MulticlassClassification, or make two classes of them", list(.classes))]
    NotBinary {
        /// Some of them, in sort order.
        classes: Vec<String>,
    },
    /// The one class of all rows may be either.
    #[error("label and prediction have the one value `{class}`, say which class is positive")]
    PositiveUnknown {
        /// The class.
        class: String,
    },
    /// The positive class is not one of the two.
    #[error("the positive class `{positive}` is not among the values of label and prediction, {}", list(.classes))]
    PositiveNotFound {
        /// What was asked for.
        positive: String,
        /// The classes that there are.
        classes: Vec<String>,
    },
    /// More classes than a confusion matrix is made for.
    #[error("label and prediction have {classes} classes, more than {MOST_CLASSES}: is this a regression?")]
    TooManyClasses {
        /// How many.
        classes: usize,
    },
    /// A constraints file for something else.
    #[error("the constraints have no `{table}`, suggest constraints from a baseline of this problem type")]
    NoConstraints {
        /// The table that is missing.
        table: &'static str,
    },
}

/// How many classes a confusion matrix is made for.
pub const MOST_CLASSES: usize = 2_000;

/// Values for a message, not too many.
fn list(values: &[String]) -> String {
    let shown: Vec<_> = values.iter().take(5).map(|value| format!("`{value}`")).collect();
    let more = if values.len() > 5 { ", …" } else { "" };
    format!("{}{more}", shown.join(", "))
}

/// Every metric of the rows.
///
/// # Errors
/// If there are no rows, columns differ in length, a number is not finite, or there are too many classes.
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

/// Puts the values over all rows and the samples' deviations together.
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

/// A share of counts, 0 of nothing.
fn share(part: u64, of: u64) -> f64 {
    if of == 0 { 0.0 } else { float(part) / float(of) }
}

/// The F score that weighs recall `beta` times as much as precision; 0 if both are.
fn f_score(beta: f64, precision: f64, recall: f64) -> f64 {
    let weight = beta * beta;
    let denominator = weight * precision + recall;
    if denominator > 0.0 {
        (1.0 + weight) * precision * recall / denominator
    } else {
        0.0
    }
}

/// A sum that loses next to nothing, however many values it is of (Neumaier's).
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
        // Beyond the largest double what was lost is NaN, the sum is not.
        if value.is_nan() { self.sum } else { value }
    }
}
