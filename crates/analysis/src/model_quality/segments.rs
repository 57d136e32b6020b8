//! Metrics for each value of a column. They show where a model fails that performs well overall.

use super::{
    Classes, ConfusionMatrix, Evaluation, ModelQualityError, Options, ProblemType, Rows, evaluate,
    report::{MAX_FULL_MATRIX_CLASSES, number},
};
use serde_json::{Value, json};
use std::cmp::Ordering;

/// Options of the segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentOptions {
    /// Maximum number of segments, the largest first.
    pub most_segments: usize,
    /// Minimum number of rows of a segment. Metrics of fewer rows are random.
    pub least_rows: usize,
    /// Options of the evaluation of each segment.
    pub options: Options,
}

impl Default for SegmentOptions {
    /// At most 50 segments of at least 50 rows; no curves.
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

/// Rows with one value of the column.
#[derive(Debug, Clone, PartialEq)]
pub struct Segment {
    /// Value of the column.
    pub value: String,
    /// Metrics of the rows, with the confusion matrix of at most a hundred classes.
    pub evaluation: Evaluation,
}

/// Metrics by value of a column.
#[derive(Debug, Clone, PartialEq)]
pub struct SegmentReport {
    /// Problem type.
    pub problem_type: ProblemType,
    /// Segments, the largest first.
    pub segments: Vec<Segment>,
    /// Options that were used.
    pub options: SegmentOptions,
    /// Values with too few rows, and their rows.
    pub too_small: OmittedSegments,
    /// Values beyond the maximum number of segments, and their rows.
    pub too_many: OmittedSegments,
}

/// Values without a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OmittedSegments {
    /// Number of values.
    pub values: usize,
    /// Total number of rows.
    pub rows: usize,
}

impl OmittedSegments {
    fn add(&mut self, rows: usize) {
        self.values += 1;
        self.rows += rows;
    }
}

/// Metrics by value of a column. `column` contains the value of each row, as a number of `values`.
///
/// # Errors
/// Fails like [`evaluate`], and if the column has another length or numbers that are not in `values`.
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
    // Ids with their names: `values` numbers its names from 0 without gaps.
    let mut by_size: Vec<(&str, Vec<usize>)> = (0..).map_while(|id| values.name(id)).zip(rows_of).collect();
    by_size.retain(|(_, rows)| !rows.is_empty());
    by_size.sort_by(|(a, of_a), (b, of_b)| of_b.len().cmp(&of_a.len()).then_with(|| a.cmp(b)));
    let mut report = SegmentReport {
        problem_type: rows.problem_type(),
        segments: Vec::new(),
        options,
        too_small: OmittedSegments::default(),
        too_many: OmittedSegments::default(),
    };
    for (value, of_segment) in by_size {
        if of_segment.len() < options.least_rows {
            report.too_small.add(of_segment.len());
        } else if report.segments.len() >= options.most_segments {
            report.too_many.add(of_segment.len());
        } else {
            let mut evaluation = evaluate_some(rows, &of_segment, options.options)?;
            // Fifty matrices with many classes would be unreadable and need much memory.
            let readable = |matrix: &ConfusionMatrix| matrix.classes().len() <= MAX_FULL_MATRIX_CLASSES;
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
    /// Segments ordered by a metric, the worst first. Segments without a number for it are omitted.
    pub fn worst(&self, metric: &str) -> Vec<(&Segment, f64)> {
        let larger_is_worse = self.problem_type.larger_is_worse(metric);
        let value = |segment: &Segment| segment.evaluation.metrics.get(metric).map(|metric| metric.value);
        let mut ranked: Vec<_> = self
            .segments
            .iter()
            .filter_map(|segment| Some((segment, value(segment).filter(|value| !value.is_nan())?)))
            .collect();
        // The sort is stable: of equal values, the larger segment comes first.
        ranked.sort_by(|(_, a), (_, b)| {
            let rising = a.partial_cmp(b).unwrap_or(Ordering::Equal);
            if larger_is_worse { rising.reverse() } else { rising }
        });
        ranked
    }

    /// JSON: the segments with metrics as in `statistics.json`, the `worst` three by the headline metric, the options,
    /// and the values without a segment.
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
        let left_out = |left_out: OmittedSegments| json!({"values": left_out.values, "rows": left_out.rows});
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
