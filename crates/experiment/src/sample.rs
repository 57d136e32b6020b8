//! What is known of a metric of a variant, and of the difference between two.

use crate::real;
use serde::{Deserialize, Serialize};

/// The values of a metric of a variant, summed up: whoever counts adds each once.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Sample {
    /// How many values.
    pub count: u64,
    /// Their sum.
    pub sum: f64,
    /// The sum of their squares.
    pub sum_of_squares: f64,
}

impl Sample {
    /// A proportion: so many successes of so many trials. The values are zeros and ones.
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

    /// Both samples together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            count: self.count + other.count,
            sum: self.sum + other.sum,
            sum_of_squares: self.sum_of_squares + other.sum_of_squares,
        }
    }

    /// The arithmetic mean; NaN of none.
    pub fn mean(&self) -> f64 {
        self.sum / real(self.count)
    }

    /// The variance of the values, with the mean estimated (n - 1); NaN of fewer than two. Never quite zero for zeros and
    /// ones: of these, one success and one failure are thought to come on top (Agresti and Caffo 2000), since a variant that has
    /// not failed yet is not one that cannot.
    pub fn variance(&self) -> f64 {
        let n = real(self.count);
        if self.count < 2 {
            return f64::NAN;
        }
        // Sums of zeros and ones, and of nothing else but by chance, equal the sums of their squares.
        if (self.sum - self.sum_of_squares).abs() <= 0.0 && self.sum >= 0.0 && self.sum <= n {
            let rate = (self.sum + 1.0) / (n + 2.0);
            return rate * (1.0 - rate);
        }
        ((self.sum_of_squares - self.sum * self.sum / n) / (n - 1.0)).max(0.0)
    }
}

/// By how much the challenger's mean is above the champion's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Difference {
    /// The difference of the means.
    pub estimate: f64,
    /// The variance of that: s²/n of each, added.
    pub variance: f64,
}

impl Difference {
    /// Of two samples; `None` if one has fewer than two values, or neither varies.
    pub fn of(champion: &Sample, challenger: &Sample) -> Option<Self> {
        let of = |sample: &Sample| sample.variance() / real(sample.count);
        let difference = Self {
            estimate: challenger.mean() - champion.mean(),
            variance: of(champion) + of(challenger),
        };
        (difference.estimate.is_finite() && difference.variance > 0.0 && difference.variance.is_finite())
            .then_some(difference)
    }

    /// How much is known of it: the reciprocal of its variance (Fisher).
    pub fn information(&self) -> f64 {
        self.variance.recip()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_variance_is_that_of_the_values() {
        let mut sample = Sample::default();
        for value in [2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0] {
            sample.add(value);
        }
        assert!((sample.mean() - 5.0).abs() < 1e-12 && (sample.variance() - 32.0 / 7.0).abs() < 1e-12);
        assert!(Sample::default().mean().is_nan() && Sample::proportion(1, 1).variance().is_nan());
    }

    #[test]
    fn a_variant_that_has_not_failed_yet_may_still() {
        assert!(Sample::proportion(0, 10).variance() > 0.05);
        assert!(Difference::of(&Sample::proportion(0, 10), &Sample::proportion(0, 10)).is_some());
        assert!(Difference::of(&Sample::proportion(0, 10), &Sample::proportion(0, 1)).is_none());
    }

    proptest! {
        #[test]
        fn samples_add_up_in_any_order(values in prop::collection::vec(-100_i32..100, 2..50), cut in 0_usize..50) {
            let of = |values: &[i32]| values.iter().fold(Sample::default(), |mut sample, value| {
                sample.add(f64::from(*value));
                sample
            });
            let (one, other) = values.split_at(cut.min(values.len()));
            prop_assert_eq!(of(one).and(of(other)), of(&values));
            prop_assert_eq!(of(other).and(of(one)), of(&values));
        }
    }
}
