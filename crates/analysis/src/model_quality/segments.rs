//! The same metrics for each value of a column: where a model fails that is fine on the whole.

use super::{
    Classes, ConfusionMatrix, Evaluation, ModelQualityError, Options, ProblemType, Rows, evaluate,
    report::{WRITTEN_IN_FULL, number},
};
use serde_json::{Value, json};
use std::cmp::Ordering;

/// Which segments are evaluated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentOptions {
    /// At most so many, those with the most rows.
    pub most_segments: usize,
    /// None with fewer rows: their metrics are chance.
    pub least_rows: usize,
    /// What is computed of each.
    pub options: Options,
}

impl Default for SegmentOptions {
    /// At most 50, of at least 50 rows; without curves.
    fn default() -> Self {
        Self {
            most_segments: 50,
            least_rows: 50,
            options: Options {
                standard_deviations: true,
                curve_points: super::CurvePoints::None,
            },
        }
    }
}

/// The rows with one value of the column.
#[derive(Debug, Clone, PartialEq)]
pub struct Segment {
    /// The value.
    pub value: String,
    /// Their metrics; the confusion matrix of at most a hundred classes.
    pub evaluation: Evaluation,
}

/// Metrics by value of a column.
#[derive(Debug, Clone, PartialEq)]
pub struct SegmentReport {
    /// What kind of problem it is.
    pub problem_type: ProblemType,
    /// The segments, the one with the most rows first.
    pub segments: Vec<Segment>,
    /// The bounds that were set.
    pub options: SegmentOptions,
    /// Values with fewer rows than the bound, and their rows.
    pub too_small: LeftOut,
    /// Values beyond the number of segments, and their rows.
    pub too_many: LeftOut,
}

/// What has no segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LeftOut {
    /// How many values.
    pub values: usize,
    /// How many rows in all.
    pub rows: usize,
}

impl LeftOut {
    fn add(&mut self, rows: usize) {
        self.values += 1;
        self.rows += rows;
    }
}

/// Metrics by value of a column: `column` has the value of each row, as a number of `values`.
///
/// # Errors
/// As [`evaluate`], also if the column is of another length or has numbers that `values` has not.
pub fn by_segment(
    rows: &Rows<'_>,
    column: &[u32],
    values: &Classes,
    options: SegmentOptions,
) -> Result<SegmentReport, ModelQualityError> {
    let labels = rows.len()?;
    if column.len() != labels {
        return Err(ModelQualityError::Lengths {
            field: "segment",
            len: column.len(),
            labels,
        });
    }
    let mut rows_of = vec![Vec::new(); values.len()];
    for (row, id) in column.iter().enumerate() {
        let of = usize::try_from(*id).ok().and_then(|id| rows_of.get_mut(id));
        of.ok_or(ModelQualityError::UnknownClass {
            field: "segment",
            row,
            id: *id,
        })?
        .push(row);
    }
    // Ids beside names: `values` numbers its names from 0 without gaps.
    let mut by_size: Vec<(&str, Vec<usize>)> = (0..).map_while(|id| values.name(id)).zip(rows_of).collect();
    by_size.retain(|(_, rows)| !rows.is_empty());
    by_size.sort_by(|(a, of_a), (b, of_b)| of_b.len().cmp(&of_a.len()).then_with(|| a.cmp(b)));
    let mut report = SegmentReport {
        problem_type: rows.problem_type(),
        segments: Vec::new(),
        options,
        too_small: LeftOut::default(),
        too_many: LeftOut::default(),
    };
    for (value, of_segment) in by_size {
        if of_segment.len() < options.least_rows {
            report.too_small.add(of_segment.len());
        } else if report.segments.len() >= options.most_segments {
            report.too_many.add(of_segment.len());
        } else {
            let mut evaluation = evaluate_some(rows, &of_segment, options.options)?;
            // Fifty matrices of many classes are more than anybody reads, or has memory for.
            let readable = |matrix: &ConfusionMatrix| matrix.classes().len() <= WRITTEN_IN_FULL;
            evaluation.confusion_matrix = evaluation.confusion_matrix.filter(readable);
            report.segments.push(Segment {
                value: value.to_owned(),
                evaluation,
            });
        }
    }
    Ok(report)
}

fn evaluate_some(all: &Rows<'_>, rows: &[usize], options: Options) -> Result<Evaluation, ModelQualityError> {
    fn some<T: Copy>(column: &[T], rows: &[usize]) -> Vec<T> {
        rows.iter().filter_map(|row| column.get(*row).copied()).collect()
    }
    match *all {
        Rows::Binary {
            labels,
            predictions,
            probabilities,
            classes,
        } => {
            let probabilities = probabilities.map(|column| some(column, rows));
            let of_rows = Rows::Binary {
                labels: &some(labels, rows),
                predictions: &some(predictions, rows),
                probabilities: probabilities.as_deref(),
                classes,
            };
            evaluate(&of_rows, options)
        }
        Rows::Multiclass {
            labels,
            predictions,
            classes,
        } => {
            let of_rows = Rows::Multiclass {
                labels: &some(labels, rows),
                predictions: &some(predictions, rows),
                classes,
            };
            evaluate(&of_rows, options)
        }
        Rows::Regression { labels, predictions } => {
            let of_rows = Rows::Regression {
                labels: &some(labels, rows),
                predictions: &some(predictions, rows),
            };
            evaluate(&of_rows, options)
        }
    }
}

impl SegmentReport {
    /// The segments from the worst on by a metric; those without a number for it are left out.
    pub fn worst(&self, metric: &str) -> Vec<(&Segment, f64)> {
        let larger_is_worse = self.problem_type.larger_is_worse(metric);
        let value = |segment: &Segment| segment.evaluation.metrics.get(metric).map(|metric| metric.value);
        let mut ranked: Vec<_> = self
            .segments
            .iter()
            .filter_map(|segment| Some((segment, value(segment).filter(|value| !value.is_nan())?)))
            .collect();
        // Stable: of equal values the larger segment comes first.
        ranked.sort_by(|(_, a), (_, b)| {
            let rising = a.partial_cmp(b).unwrap_or(Ordering::Equal);
            if larger_is_worse { rising.reverse() } else { rising }
        });
        ranked
    }

    /// As JSON: the segments with metrics as `statistics.json` has them, the `worst` three by the headline metric, the
    /// bounds, and what has no segment.
    pub fn to_json(&self, column: &str) -> Value {
        let metric = self.problem_type.headline_metric();
        let segment = |segment: &Segment| {
            json!({
                "value": segment.value,
                "item_count": segment.evaluation.rows,
                "metrics": segment.evaluation.metric_table(),
            })
        };
        let worst = |(segment, value): &(&Segment, f64)| json!({"value": segment.value, metric: number(*value)});
        let left_out = |left_out: LeftOut| json!({"values": left_out.values, "rows": left_out.rows});
        json!({
            "column": column,
            "segments": self.segments.iter().map(segment).collect::<Vec<_>>(),
            "worst": {
                "metric": metric,
                "segments": self.worst(metric).iter().take(3).map(worst).collect::<Vec<_>>(),
            },
            "least_rows": self.options.least_rows,
            "most_segments": self.options.most_segments,
            "too_small": left_out(self.too_small),
            "too_many": left_out(self.too_many),
        })
    }
}
