//! Kernel SHAP: how much each feature moves a model's prediction for a row away from its mean prediction on a baseline.
//!
//! Lundberg and Lee (A unified approach to interpreting model predictions, 2017). A coalition is a set of features. Its
//! value is the model's mean prediction over the rows of the baseline, with the coalition's features taken from the
//! explained row. The local SHAP values are the weighted least squares fit of a linear function of membership to these
//! values. A coalition of s of d features has the weight (d - 1) / (C(d, s) s (d - s)), and the values have the
//! constraint that their sum is f(row) - E f. Over all coalitions, the fit gives the Shapley values exactly.
//!
//! The model is only a function that predicts a batch of rows.

mod coalitions;
mod kmeans;
mod solve;

pub use kmeans::{KmeansError, MAX_CLUSTERS, kmeans};

use coalitions::Coalition;
use solve::Fit;

/// Maximum number of features of a row. The fit takes quadratic memory and cubic time in this number.
pub const MAX_FEATURES: usize = 1_000;

/// Maximum number of coalitions for a row.
pub const MAX_SAMPLES: usize = 32_768;

/// Options of the explanation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KernelShapOptions {
    /// Number of coalitions to predict, at most [`MAX_SAMPLES`]. Default: twice the features plus 2048, as in the shap
    /// package. If there are not more coalitions, all are predicted.
    pub num_samples: Option<usize>,
    /// Seed for the sampling of coalitions, if not all are predicted.
    pub seed: u64,
    /// Whether to explain the log-odds ln(p / (1 - p)) of the predictions, computed after the mean over the baseline.
    pub use_logit: bool,
    /// Number of rows to predict in one call, at least 1.
    pub batch_rows: usize,
}

impl Default for KernelShapOptions {
    fn default() -> Self {
        Self {
            num_samples: None,
            seed: 0,
            use_logit: false,
            batch_rows: 1_000,
        }
    }
}

/// Reason for which a row is not explainable. `E` is the error of the model.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ShapError<E> {
    /// The model failed.
    #[error("the model failed")]
    Model(#[source] E),
    /// The baseline is empty.
    #[error("the baseline has no rows")]
    NoBaseline,
    /// There are no features, or more than the fit supports.
    #[error("the row has {0} features: expected 1 to {MAX_FEATURES}")]
    Features(usize),
    /// A row differs in length from the first row of the baseline.
    #[error("{what} has {found} features: expected {expected}")]
    RowLength {
        /// The row: `the row`, or its index in the baseline.
        what: String,
        /// Number of its features.
        found: usize,
        /// Number of features of the baseline's first row.
        expected: usize,
    },
    /// There are too few coalitions to determine the fit.
    #[error("`num_samples` is {found}: expected {needed} to {MAX_SAMPLES} for {features} features")]
    Samples {
        /// Requested number.
        found: usize,
        /// Number of features that differ from the baseline.
        features: usize,
        /// Number of coalitions that they require.
        needed: usize,
    },
    /// A batch has no rows.
    #[error("`batch_rows` is 0: expected at least 1")]
    BatchRows,
    /// The number of predictions differs from the number of rows.
    #[error("the number of predictions is {found}: expected {expected}, one per row")]
    Predictions {
        /// Number of predictions.
        found: usize,
        /// Number of rows in the batch.
        expected: usize,
    },
    /// A prediction has another number of labels than earlier ones, or none.
    #[error("the model predicted {found} labels: expected {expected}")]
    Labels {
        /// Number of labels in the prediction.
        found: usize,
        /// Number of labels in earlier predictions; at least 1 is expected in the first.
        expected: usize,
    },
    /// A prediction is NaN or infinite.
    #[error("the model predicted {0}: expected a finite number")]
    NotFinite(f64),
    /// A mean prediction has no log-odds.
    #[error("a mean prediction is {0}: log-odds require numbers between 0 and 1; set `use_logit` to false")]
    Logit(f64),
}

/// Model: predicts a batch of rows, with one number per label for each.
pub type Model<'a, E> = dyn FnMut(&[Vec<f64>]) -> Result<Vec<Vec<f64>>, E> + 'a;

/// Explains rows with one model and one baseline.
#[derive(Debug, Clone)]
pub struct KernelShap {
    baseline: Vec<Vec<f64>>,
    options: KernelShapOptions,
    /// Mean prediction on the baseline, by label.
    mean: Vec<f64>,
    /// The same, as log-odds if those are explained.
    expected: Vec<f64>,
}

/// Explanation of a row.
#[derive(Debug, Clone, PartialEq)]
pub struct LocalShap {
    /// Local SHAP values, by label, then by feature.
    pub values: Vec<Vec<f64>>,
    /// Prediction by label, as log-odds if those are explained: the sum of the label's values and its expected value.
    pub prediction: Vec<f64>,
}

impl KernelShap {
    /// Predicts the baseline with the model.
    ///
    /// # Errors
    /// Fails if the baseline is empty or its rows differ in length, the options are invalid, or the model fails or
    /// returns invalid predictions.
    pub fn new<E>(
        baseline: Vec<Vec<f64>>,
        options: KernelShapOptions,
        model: &mut Model<'_, E>,
    ) -> Result<Self, ShapError<E>> {
        let features = baseline.first().ok_or(ShapError::NoBaseline)?.len();
        if !(1..=MAX_FEATURES).contains(&features) {
            return Err(ShapError::Features(features));
        }
        for (place, row) in baseline.iter().enumerate() {
            if row.len() != features {
                return Err(ShapError::RowLength {
                    what: format!("row {place} of the baseline"),
                    found: row.len(),
                    expected: features,
                });
            }
        }
        if options.batch_rows == 0 {
            return Err(ShapError::BatchRows);
        }
        let mut explainer = Self {
            baseline,
            options,
            mean: Vec::new(),
            expected: Vec::new(),
        };
        explainer.coalition_count(features)?;
        let nothing = Coalition::none(features);
        let means = explainer.means(&[], &[], std::iter::once(&nothing), model)?;
        explainer.mean = means.into_iter().next().unwrap_or_default();
        explainer.expected = explainer.linked(&explainer.mean)?;
        Ok(explainer)
    }

    /// Mean prediction on the baseline by label, as log-odds if those are explained: `expected_value` in
    /// `analysis.json`.
    pub fn expected(&self) -> &[f64] {
        &self.expected
    }

    /// Maximum number of rows that the model has to predict for one explanation.
    pub fn rows_per_explanation(&self) -> usize {
        let features = self.baseline.first().map_or(0, Vec::len);
        let coalitions = self.coalition_count::<()>(features).unwrap_or(0);
        coalitions.saturating_mul(self.baseline.len()).saturating_add(1)
    }

    /// Explains a row.
    ///
    /// A feature that has the same value in this row and in all rows of the baseline has the value 0 and is not part of
    /// the coalitions.
    ///
    /// # Errors
    /// Fails if the row has another number of features than the baseline, or if the model fails or returns invalid
    /// predictions.
    pub fn explain<E>(&self, row: &[f64], model: &mut Model<'_, E>) -> Result<LocalShap, ShapError<E>> {
        let features = self.baseline.first().map_or(0, Vec::len);
        if row.len() != features {
            return Err(ShapError::RowLength {
                what: "the row".to_owned(),
                found: row.len(),
                expected: features,
            });
        }
        let predicted = self.predict(&[row.to_vec()], model)?;
        let prediction = self.linked(&predicted.into_iter().next().unwrap_or_default())?;
        let varying: Vec<usize> = row
            .iter()
            .enumerate()
            .filter(|(feature, value)| {
                let differs = |other: &f64| other.total_cmp(value).is_ne();
                self.baseline.iter().any(|row| row.get(*feature).is_some_and(differs))
            })
            .map(|(feature, _)| feature)
            .collect();
        let samples = self.coalition_count(varying.len())?;
        let drawn = coalitions::draw(varying.len(), samples, self.options.seed);
        let means = self.means(row, &varying, drawn.iter().map(|(coalition, _)| coalition), model)?;
        let linked = means
            .iter()
            .map(|mean| self.linked(mean))
            .collect::<Result<Vec<_>, _>>()?;
        let fit = Fit::new(&drawn, varying.len());
        let mut values = Vec::with_capacity(self.expected.len());
        for (label, (expected, predicted)) in self.expected.iter().zip(&prediction).enumerate() {
            let gains = linked
                .iter()
                .map(|mean| mean.get(label).map_or(0.0, |mean| mean - expected));
            let fitted = fit.values(&gains.collect::<Vec<_>>(), predicted - expected);
            let mut of_label = vec![0.0; features];
            for (feature, value) in varying.iter().zip(fitted) {
                if let Some(place) = of_label.get_mut(*feature) {
                    *place = value;
                }
            }
            values.push(of_label);
        }
        Ok(LocalShap { values, prediction })
    }

    /// Number of coalitions to predict, for this number of varying features.
    fn coalition_count<E>(&self, features: usize) -> Result<usize, ShapError<E>> {
        let all = coalitions::count(features);
        let asked = self.options.num_samples.unwrap_or(2 * features + 2_048);
        // Each feature alone, and all features except one, determine the fit.
        let needed = all.min(2 * features);
        if asked < needed || asked > MAX_SAMPLES {
            let found = asked;
            return Err(ShapError::Samples {
                found,
                features,
                needed,
            });
        }
        Ok(asked.min(all))
    }

    /// Mean predictions over the baseline, by coalition, then by label. The coalitions consist of varying features.
    fn means<'a, E>(
        &self,
        row: &[f64],
        varying: &[usize],
        coalitions: impl Iterator<Item = &'a Coalition>,
        model: &mut Model<'_, E>,
    ) -> Result<Vec<Vec<f64>>, ShapError<E>> {
        let mixed = coalitions.flat_map(|coalition| {
            self.baseline.iter().map(move |known| {
                let mut mixed = known.clone();
                for (place, feature) in varying.iter().enumerate() {
                    if let (true, Some(slot), Some(value)) =
                        (coalition.has(place), mixed.get_mut(*feature), row.get(*feature))
                    {
                        *slot = *value;
                    }
                }
                mixed
            })
        });
        let mut mixed = mixed.peekable();
        let mut means: Vec<Vec<f64>> = Vec::new();
        let (mut sums, mut rows) = (Vec::new(), 0.0);
        let rows_each: f64 = self.baseline.iter().map(|_| 1.0).sum();
        while mixed.peek().is_some() {
            let batch: Vec<Vec<f64>> = mixed.by_ref().take(self.options.batch_rows).collect();
            for prediction in self.predict(&batch, model)? {
                if sums.is_empty() {
                    sums = vec![0.0; prediction.len()];
                }
                if sums.len() != prediction.len() {
                    return Err(ShapError::Labels {
                        found: prediction.len(),
                        expected: sums.len(),
                    });
                }
                for (sum, value) in sums.iter_mut().zip(prediction) {
                    *sum += value / rows_each;
                }
                rows += 1.0;
                if rows >= rows_each {
                    means.push(std::mem::take(&mut sums));
                    rows = 0.0;
                }
            }
        }
        Ok(means)
    }

    /// Predictions of a batch, with the same number of labels as before.
    fn predict<E>(&self, rows: &[Vec<f64>], model: &mut Model<'_, E>) -> Result<Vec<Vec<f64>>, ShapError<E>> {
        let predictions = model(rows).map_err(ShapError::Model)?;
        if predictions.len() != rows.len() {
            return Err(ShapError::Predictions {
                found: predictions.len(),
                expected: rows.len(),
            });
        }
        for prediction in &predictions {
            let known = if self.mean.is_empty() {
                prediction.len().max(1)
            } else {
                self.mean.len()
            };
            if prediction.len() != known {
                return Err(ShapError::Labels {
                    found: prediction.len(),
                    expected: known,
                });
            }
            if let Some(value) = prediction.iter().find(|value| !value.is_finite()) {
                return Err(ShapError::NotFinite(*value));
            }
        }
        Ok(predictions)
    }

    /// Mean predictions in the unit that is explained.
    fn linked<E>(&self, means: &[f64]) -> Result<Vec<f64>, ShapError<E>> {
        let linked = means.iter().map(|mean| {
            if !self.options.use_logit {
                Ok(*mean)
            } else if *mean > 0.0 && *mean < 1.0 {
                Ok((mean / (1.0 - mean)).ln())
            } else {
                Err(ShapError::Logit(*mean))
            }
        });
        linked.collect()
    }
}
