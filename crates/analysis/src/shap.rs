//! Kernel SHAP: how much each feature moves a model's prediction of a row away from its mean prediction on a baseline.
//!
//! Lundberg and Lee (A unified approach to interpreting model predictions, 2017). A coalition is a set of features. Its
//! value is the model's mean prediction over the baseline's rows, with the coalition's features taken from the row that is
//! explained. The local SHAP values are the weighted least squares fit of a linear function of membership to those values,
//! with the weight (d - 1) / (C(d, s) s (d - s)) of a coalition of s of d features, under the constraint that they sum to
//! f(row) - E f. Over all coalitions the fit gives the Shapley values exactly.
//!
//! Nothing is known of the model but a function that predicts a batch of rows.

mod coalitions;
mod kmeans;
mod solve;

pub use kmeans::{KmeansError, MAX_CLUSTERS, kmeans};

use coalitions::Coalition;
use solve::Fit;

/// How many features a row may have: the fit takes their square in memory and their cube in time.
pub const MAX_FEATURES: usize = 1_000;

/// How many coalitions a row may be explained by.
pub const MAX_SAMPLES: usize = 32_768;

/// How to explain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KernelShapOptions {
    /// How many coalitions to ask the model for, at most [`MAX_SAMPLES`]; twice the features + 2048 if not given, as the
    /// shap package has it. If there are no more than that, all are asked for.
    pub num_samples: Option<usize>,
    /// Which coalitions are drawn, where not all are asked for.
    pub seed: u64,
    /// Whether to explain the log-odds ln(p / (1 - p)) of the predictions, taken after the mean over the baseline.
    pub use_logit: bool,
    /// How many rows to predict in one call, at least 1.
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

/// Why a row cannot be explained; `E` is the model's own error.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ShapError<E> {
    /// The model could not predict.
    #[error("the model failed")]
    Model(#[source] E),
    /// Nothing to hold the row against.
    #[error("the baseline has no rows")]
    NoBaseline,
    /// More than can be fitted, or none.
    #[error("{0} features, not 1 to {MAX_FEATURES}")]
    Features(usize),
    /// A row of another length than the baseline's first.
    #[error("{what} has {found} features, not {expected}")]
    RowLength {
        /// `the row`, or which of the baseline.
        what: String,
        /// How many it has.
        found: usize,
        /// How many the baseline's first row has.
        expected: usize,
    },
    /// Too few coalitions leave the fit undetermined.
    #[error("`num_samples` is {found}: {features} features need {needed} to {MAX_SAMPLES}")]
    Samples {
        /// What was asked for.
        found: usize,
        /// How many features differ from the baseline.
        features: usize,
        /// How many coalitions they need.
        needed: usize,
    },
    /// A batch without rows.
    #[error("`batch_rows` is 0: the model is called with at least 1")]
    BatchRows,
    /// More or fewer predictions than rows.
    #[error("the model gave {found} predictions for {expected} rows")]
    Predictions {
        /// How many it gave.
        found: usize,
        /// How many rows it was given.
        expected: usize,
    },
    /// A prediction of more or fewer labels than before, or of none.
    #[error("the model predicted {found} labels, not {expected}")]
    Labels {
        /// How many it predicted.
        found: usize,
        /// How many it did before; of the first prediction, 1 is the least.
        expected: usize,
    },
    /// A prediction that is no number.
    #[error("the model predicted {0}, not a finite number")]
    NotFinite(f64),
    /// A mean prediction without log-odds.
    #[error("a mean prediction is {0}: log-odds are of numbers between 0 and 1, so turn `use_logit` off")]
    Logit(f64),
}

/// A model: predicts a batch of rows, one number a label for each.
pub type Model<'a, E> = dyn FnMut(&[Vec<f64>]) -> Result<Vec<Vec<f64>>, E> + 'a;

/// Explains rows of one model against one baseline.
#[derive(Debug, Clone)]
pub struct KernelShap {
    baseline: Vec<Vec<f64>>,
    options: KernelShapOptions,
    /// Mean prediction on the baseline, by label.
    mean: Vec<f64>,
    /// The same, as log-odds if those are explained.
    expected: Vec<f64>,
}

/// The explanation of a row.
#[derive(Debug, Clone, PartialEq)]
pub struct LocalShap {
    /// The local SHAP values: by label, then by feature.
    pub values: Vec<Vec<f64>>,
    /// The prediction by label, as log-odds if those are explained: what the values of a label and its expected value sum
    /// to.
    pub prediction: Vec<f64>,
}

impl KernelShap {
    /// Asks the model for its predictions on the baseline.
    ///
    /// # Errors
    /// If the baseline is empty or its rows differ in length, the options cannot be met, or the model fails or predicts
    /// what it should not.
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
        explainer.coalitions_of(features)?;
        let nothing = Coalition::none(features);
        let means = explainer.means(&[], &[], std::iter::once(&nothing), model)?;
        explainer.mean = means.into_iter().next().unwrap_or_default();
        explainer.expected = explainer.linked(&explainer.mean)?;
        Ok(explainer)
    }

    /// The mean prediction on the baseline by label, as log-odds if those are explained: `expected_value` in
    /// `analysis.json`.
    pub fn expected(&self) -> &[f64] {
        &self.expected
    }

    /// How many rows the model has to predict at most for one explanation.
    pub fn rows_per_explanation(&self) -> usize {
        let features = self.baseline.first().map_or(0, Vec::len);
        let coalitions = self.coalitions_of::<()>(features).unwrap_or(0);
        coalitions.saturating_mul(self.baseline.len()).saturating_add(1)
    }

    /// Explains a row.
    ///
    /// A feature that is in all baseline rows as it is in this one has the value 0, and takes no part in the coalitions.
    ///
    /// # Errors
    /// If the row has another number of features than the baseline, or the model fails or predicts what it should not.
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
        let samples = self.coalitions_of(varying.len())?;
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

    /// How many coalitions to ask for, of so many features that vary.
    fn coalitions_of<E>(&self, features: usize) -> Result<usize, ShapError<E>> {
        let all = coalitions::count(features);
        let asked = self.options.num_samples.unwrap_or(2 * features + 2_048);
        // With each feature alone and each left out alone, the fit is determined.
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

    /// The mean predictions over the baseline, by coalition, then by label. The coalitions are of the varying features.
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

    /// A batch's predictions, of as many labels as there are.
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
