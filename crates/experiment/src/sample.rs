//! Sums of a variant's values, and the difference between two variants.

use crate::real;
use serde::{Deserialize, Serialize};

/// Summed values of a metric of a variant.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Sample {
    /// Number of observed values.
    pub count: u64,
    /// Sum of the values.
    pub sum: f64,
    /// Sum of the squared values.
    pub sum_of_squares: f64,
}

impl Sample {
    /// Sample of a proportion: each value is 1 for a success, otherwise 0.
    pub fn proportion(successes: u64, trials: u64) -> Self {
        let successes = real(successes.min(trials));
        Self {
            count: trials,
            sum: successes,
            sum_of_squares: successes,
        }
    }

    /// Adds one value.
    pub fn add(&mut self, value: f64) {
        self.count += 1;
        self.sum += value;
        self.sum_of_squares += value * value;
    }

    /// The values of both samples.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            count: self.count + other.count,
            sum: self.sum + other.sum,
            sum_of_squares: self.sum_of_squares + other.sum_of_squares,
        }
    }

    /// Arithmetic mean. NaN without values.
    pub fn mean(&self) -> f64 {
        self.sum / real(self.count)
    }

    /// Sample variance (divided by n - 1). NaN with fewer than two values. For zeros and ones it is never 0: one success and
    /// one failure are added (Agresti and Caffo 2000), because a variant that has not failed yet can still fail.
    pub fn variance(&self) -> f64 {
        let n = real(self.count);
        if self.count < 2 {
            return f64::NAN;
        }
        // Only with zeros and ones does the sum equal the sum of squares, except by chance.
        if (self.sum - self.sum_of_squares).abs() <= 0.0 && self.sum >= 0.0 && self.sum <= n {
            let rate = (self.sum + 1.0) / (n + 2.0);
            return rate * (1.0 - rate);
        }
        ((self.sum_of_squares - self.sum * self.sum / n) / (n - 1.0)).max(0.0)
    }
}

/// Difference of two means: challenger − champion.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Difference {
    /// Estimated difference of the means.
    pub estimate: f64,
    /// Variance of the estimate: the sum of s²/n of both samples.
    pub variance: f64,
}

impl Difference {
    /// Difference between two samples. `None` if one has fewer than two values, or if neither varies.
    pub fn between(champion: &Sample, challenger: &Sample) -> Option<Self> {
        let variance = |sample: &Sample| sample.variance() / real(sample.count);
        let difference = Self {
            estimate: challenger.mean() - champion.mean(),
            variance: variance(champion) + variance(challenger),
        };
        (difference.estimate.is_finite() && difference.variance > 0.0 && difference.variance.is_finite())
            .then_some(difference)
    }

    /// Fisher information of the estimate: the reciprocal of its variance.
    pub fn information(&self) -> f64 {
        self.variance.recip()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn mean_and_variance_match_values() {
        let mut sample = Sample::default();
        for value in [2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0] {
            sample.add(value);
        }
        assert!((sample.mean() - 5.0).abs() < 1e-12 && (sample.variance() - 32.0 / 7.0).abs() < 1e-12);
        assert!(Sample::default().mean().is_nan() && Sample::proportion(1, 1).variance().is_nan());
    }

    #[test]
    fn variance_without_failures_is_positive() {
        assert!(Sample::proportion(0, 10).variance() > 0.05);
        assert!(Difference::between(&Sample::proportion(0, 10), &Sample::proportion(0, 10)).is_some());
        assert!(Difference::between(&Sample::proportion(0, 10), &Sample::proportion(0, 1)).is_none());
    }

    proptest! {
        #[test]
        fn merged_samples_equal_one_sample(values in prop::collection::vec(-100_i32..100, 2..50), cut in 0_usize..50) {
            let sample = |values: &[i32]| values.iter().fold(Sample::default(), |mut sample, value| {
                sample.add(f64::from(*value));
                sample
            });
            let (one, other) = values.split_at(cut.min(values.len()));
            prop_assert_eq!(sample(one).and(sample(other)), sample(&values));
            prop_assert_eq!(sample(other).and(sample(one)), sample(&values));
        }
    }
}
