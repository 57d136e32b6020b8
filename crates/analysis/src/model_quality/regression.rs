//! Regression: mean absolute error, mean squared error and its root, coefficient of determination.

use super::{Evaluation, ModelQualityError, Options, ProblemType, Sum, Values, float, metrics, sampling::deviations};

pub(super) fn evaluate(
    len: usize,
    labels: &[f64],
    predictions: &[f64],
    options: Options,
) -> Result<Evaluation, ModelQualityError> {
    let mut errors = Errors::default();
    for (row, (label, prediction)) in labels.iter().zip(predictions).enumerate() {
        finite("label", row, *label)?;
        finite("prediction", row, *prediction)?;
        errors.add(*label, *prediction);
    }
    let rows = u64::try_from(len).unwrap_or(u64::MAX);
    let of_sample = |sampler: &mut super::sampling::Sampler| {
        let mut errors = Errors::default();
        for (label, prediction) in labels.iter().zip(predictions) {
            if sampler.takes() {
                errors.add(*label, *prediction);
            }
        }
        errors.values()
    };
    let deviations = options
        .standard_deviations
        .then(|| deviations(rows, of_sample))
        .flatten();
    Ok(Evaluation {
        problem_type: ProblemType::Regression,
        rows,
        metrics: metrics(errors.values(), deviations.as_deref()),
        confusion_matrix: None,
        curve: None,
    })
}

pub(super) fn finite(field: &'static str, row: usize, value: f64) -> Result<(), ModelQualityError> {
    if value.is_finite() {
        Ok(())
    } else {
        let value = crate::java::java_double(value);
        Err(ModelQualityError::NotFinite { field, row, value })
    }
}

/// Sums for the metrics, in one pass. The spread of the labels uses Welford's method on distances from the first label,
/// so that large labels with small differences lose no precision.
#[derive(Debug, Default)]
struct Errors {
    rows: u64,
    absolute: Sum,
    squared: Sum,
    first_label: f64,
    mean: f64,
    squares_around_mean: Sum,
}

impl Errors {
    fn add(&mut self, label: f64, prediction: f64) {
        let error = label - prediction;
        self.absolute.add(error.abs());
        self.squared.add(error * error);
        if self.rows == 0 {
            self.first_label = label;
        }
        self.rows += 1;
        let distance = label - self.first_label;
        let from_mean = distance - self.mean;
        self.mean += from_mean / float(self.rows);
        self.squares_around_mean.add(from_mean * (distance - self.mean));
    }

    fn values(&self) -> Values {
        let rows = float(self.rows);
        let mean_squared = self.squared.value() / rows;
        let spread = self.squares_around_mean.value();
        // Share of the spread that is explained, if there is any spread.
        let r2 = if spread > 0.0 {
            1.0 - self.squared.value() / spread
        } else {
            f64::NAN
        };
        vec![
            ("mae", self.absolute.value() / rows),
            ("mse", mean_squared),
            ("rmse", mean_squared.sqrt()),
            ("r2", r2),
        ]
    }
}
