//! Standard deviations of metrics, by random samples.
//!
//! According to the guide: for 200 rows or more, five random samples of 80% of the rows, the metric of each, and the
//! standard deviation of the five. The numbers printed there match samples without replacement.

use super::{CurvePoints, ModelQualityError, Options, Rows, Values, evaluate, report::Deviations};
use crate::{
    random::Random,
    tolerance::{Deviation, SAMPLE_SIZES},
};

/// Minimum number of rows for a standard deviation.
const MIN_ROWS: u64 = 200;

/// Number of samples.
const SAMPLES: u8 = 5;

/// Seed of the generator, so that the same rows give the same standard deviations: the first digits of pi.
const SEED: u64 = 3_141_592_653_589_793_238;

/// Selects 80% of the rows, with equal probability for each set of this size: selection sampling, row by row (Knuth,
/// The Art of Computer Programming, volume 2, algorithm 3.4.2 S).
#[derive(Debug)]
pub(super) struct Sampler {
    state: u64,
    needed: u64,
    remaining: u64,
}

impl Sampler {
    fn new(sample: u8, rows: u64) -> Self {
        Self {
            state: SEED.wrapping_add(u64::from(sample)),
            needed: rows / 5 * 4 + rows % 5 * 4 / 5,
            remaining: rows,
        }
    }

    /// Whether the next row is in the sample.
    pub(super) fn takes(&mut self) -> bool {
        let scaled = (u128::from(self.random()) * u128::from(self.remaining)) >> 64;
        let takes = scaled < u128::from(self.needed);
        self.remaining = self.remaining.saturating_sub(1);
        self.needed -= u64::from(takes);
        takes
    }

    /// Number of the next rows that are in the sample.
    pub(super) fn count_taken(&mut self, rows: u64) -> u64 {
        (0..rows).map(|_| u64::from(self.takes())).sum()
    }

    /// `SplitMix64` by Steele, Lea, and Flood.
    fn random(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.state;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bits ^ (bits >> 31)
    }
}

/// Standard deviation of each metric over the samples; empty if there are too few rows. `values` computes the metrics
/// of the rows that the sampler selects.
pub(super) fn deviations(rows: u64, values: impl Fn(&mut Sampler) -> Values) -> Option<Vec<f64>> {
    if rows < MIN_ROWS {
        return None;
    }
    let samples: Vec<Values> = (0..SAMPLES)
        .map(|sample| values(&mut Sampler::new(sample, rows)))
        .collect();
    let metrics = samples.first().map_or(0, Vec::len);
    let of_samples = |at: usize| {
        let values: Vec<f64> = samples.iter().filter_map(|values| Some(values.get(at)?.1)).collect();
        standard_deviation(&values)
    };
    Some((0..metrics).map(of_samples).collect())
}

/// Number of samples for the distribution of a metric.
const DISTRIBUTION_SAMPLES: u32 = 300;

/// Distributions of the metrics in random samples of the rows, with replacement, by size of the samples.
///
/// Two mistakes are added to the rows of a classification, one in each direction: the next sample may have mistakes that these
/// rows do not have. Without them, a perfect baseline would have no tolerance.
///
/// # Errors
/// As [`evaluate`].
pub fn metric_deviations(rows: &Rows<'_>) -> Result<Deviations, ModelQualityError> {
    rows.len()?;
    let extended = |column: &[u32], [first, second]: [u32; 2]| [column, &[first, second]].concat();
    match *rows {
        Rows::Binary {
            labels,
            predictions,
            probabilities,
            classes,
        } => {
            let [negative, positive] = classes.ids();
            // The mistakes have the scores that contradict their labels most.
            let extremes = |scores: &[f64]| {
                let lowest = scores.iter().copied().fold(f64::INFINITY, f64::min);
                let highest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                [scores, &[lowest, highest]].concat()
            };
            let probabilities = probabilities.map(extremes);
            deviations_of(&Rows::Binary {
                labels: &extended(labels, [positive, negative]),
                predictions: &extended(predictions, [negative, positive]),
                probabilities: probabilities.as_deref(),
                classes,
            })
        }
        Rows::Multiclass {
            labels,
            predictions,
            classes,
        } if classes.len() > 1 => deviations_of(&Rows::Multiclass {
            labels: &extended(labels, [0, 1]),
            predictions: &extended(predictions, [1, 0]),
            classes,
        }),
        Rows::Multiclass { .. } | Rows::Regression { .. } => deviations_of(rows),
    }
}

fn deviations_of(rows: &Rows<'_>) -> Result<Deviations, ModelQualityError> {
    let len = rows.len()?;
    let options = Options {
        standard_deviations: false,
        curve_points: CurvePoints::None,
    };
    let mut random = Random::new(SEED);
    let mut found = Deviations::new();
    for size in SAMPLE_SIZES {
        let mut samples = std::collections::BTreeMap::<&'static str, Vec<f64>>::new();
        for _ in 0..DISTRIBUTION_SAMPLES {
            let drawn: Vec<usize> = (0..size).map(|_| random.below(len)).collect();
            let evaluation = with_sample(rows, &drawn, |sample| evaluate(sample, options))?;
            for name in evaluation.metrics.keys() {
                if let Ok(Ok(metric)) = evaluation.judged(name) {
                    samples.entry(name).or_default().push(metric.value);
                }
            }
        }
        for (name, values) in samples {
            let deviation = Deviation::new(size, &values, DISTRIBUTION_SAMPLES);
            found.entry(name).or_default().extend(deviation);
        }
    }
    Ok(found)
}

/// Passes the rows with these indices on.
fn with_sample<R>(rows: &Rows<'_>, drawn: &[usize], visit: impl FnOnce(&Rows<'_>) -> R) -> R {
    fn take<T: Copy>(column: &[T], drawn: &[usize]) -> Vec<T> {
        drawn.iter().filter_map(|row| column.get(*row).copied()).collect()
    }
    match *rows {
        Rows::Binary {
            labels,
            predictions,
            probabilities,
            classes,
        } => {
            let probabilities = probabilities.map(|probabilities| take(probabilities, drawn));
            visit(&Rows::Binary {
                labels: &take(labels, drawn),
                predictions: &take(predictions, drawn),
                probabilities: probabilities.as_deref(),
                classes,
            })
        }
        Rows::Multiclass {
            labels,
            predictions,
            classes,
        } => visit(&Rows::Multiclass {
            labels: &take(labels, drawn),
            predictions: &take(predictions, drawn),
            classes,
        }),
        Rows::Regression { labels, predictions } => visit(&Rows::Regression {
            labels: &take(labels, drawn),
            predictions: &take(predictions, drawn),
        }),
    }
}

/// Standard deviation of a sample: divided by the number of values minus one.
fn standard_deviation(values: &[f64]) -> f64 {
    let Some(first) = values.first() else { return f64::NAN };
    let n = f64::from(SAMPLES);
    // Relative to the first value, so that equal values have a standard deviation of exactly 0.
    let mean = values.iter().map(|value| value - first).sum::<f64>() / n;
    let squares: f64 = values.iter().map(|value| (value - first - mean).powi(2)).sum();
    (squares / (n - 1.0)).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sample_has_four_fifths_of_rows() {
        for rows in [1, 4, 5, 7, 200, 1_003] {
            for sample in 0..SAMPLES {
                assert_eq!(Sampler::new(sample, rows).count_taken(rows), rows * 4 / 5);
            }
        }
    }

    #[test]
    fn every_row_is_equally_likely() {
        let mut taken = [0_u32; 10];
        for state in 0..10_000 {
            let mut sampler = Sampler::new(0, 10);
            sampler.state = state;
            for row in &mut taken {
                *row += u32::from(sampler.takes());
            }
        }
        // 8,000 of 10,000 are expected, with a standard deviation of 40.
        assert!(taken.iter().all(|taken| (7_840..8_160).contains(taken)), "{taken:?}");
    }

    #[test]
    fn equal_values_have_zero_standard_deviation() {
        assert!(standard_deviation(&[0.1; 5]).abs() <= 0.0);
        assert!((standard_deviation(&[1.0, 2.0, 3.0, 4.0, 5.0]) - 2.5_f64.sqrt()).abs() < 1e-15);
        assert!(standard_deviation(&[1.0, f64::NAN, 3.0, 4.0, 5.0]).is_nan());
    }
}
