//! Assigns users to variants by weights, the same variant each time, and computes weights by Thompson sampling.

use crate::{real, sample::Sample};
use statrs::function::beta::checked_beta_reg;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Number of steps of the quadrature.
const QUADRATURE_STEPS: u32 = 4000;

/// Assignment of users to variants by shares.
///
/// ```
/// use experiment::{Allocation, Sample};
///
/// // A user always gets the same variant. Pass its name as `TargetVariant` of the request.
/// let even = Allocation::new(&[("champion", 1.0), ("challenger", 1.0)], 7)?;
/// assert_eq!(even.variant("alice"), even.variant("alice"));
///
/// // The better a variant is so far, the larger its share. Each variant gets at least 5%.
/// let samples = [Sample::proportion(80, 100), Sample::proportion(90, 100)];
/// let shares = Allocation::thompson(&samples, 0.05);
/// assert!(shares[1] > 0.9 && shares[0] >= 0.05);
/// # Ok::<(), experiment::AllocationError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Allocation {
    /// Each variant with the upper end of its range in 0 to 1.
    ends: Vec<(String, f64)>,
    seed: u64,
}

/// Error of an invalid allocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AllocationError {
    /// A weight is negative or not a number, or all weights are 0.
    #[error("weights must not be negative, and at least one must be positive")]
    Weights,
}

impl Allocation {
    /// Allocation by weights. Another seed assigns users differently.
    ///
    /// # Errors
    /// If a weight is negative or not a number, or if all weights are 0.
    pub fn new(variants: &[(&str, f64)], seed: u64) -> Result<Self, AllocationError> {
        let total: f64 = variants.iter().map(|(_, weight)| weight).sum();
        let negative = variants.iter().any(|(_, weight)| weight.is_nan() || *weight < 0.0);
        if negative || !total.is_finite() || total <= 0.0 {
            return Err(AllocationError::Weights);
        }
        let mut end = 0.0;
        let ends = variants.iter().map(|(name, weight)| {
            end += weight / total;
            ((*name).to_owned(), end)
        });
        Ok(Self {
            ends: ends.collect(),
            seed,
        })
    }

    /// Variant of a user. If only the weights change, and not the order of the variants, only users near the ends of the ranges
    /// move.
    pub fn variant(&self, user: &str) -> &str {
        #[expect(clippy::cast_precision_loss, reason = "a double has 53 bits")]
        let place = (xxh3_64_with_seed(user.as_bytes(), self.seed) >> 11) as f64 / (1_u64 << 53) as f64;
        let found = self.ends.iter().find(|(_, end)| place < *end);
        // Because of rounding, the last end can be slightly less than 1.
        found.or(self.ends.last()).map_or("", |(name, _)| name)
    }

    /// Shares by which Thompson sampling would choose variants with these successes (Thompson 1933): the probability that each
    /// is the best, with uniform priors, by quadrature instead of random draws. Each variant gets at least `least`, so that
    /// outcomes of all variants keep arriving.
    pub fn thompson(variants: &[Sample], least: f64) -> Vec<f64> {
        let below = |sample: &Sample, x: f64| {
            checked_beta_reg(sample.sum + 1.0, real(sample.count) - sample.sum + 1.0, x).unwrap_or(f64::NAN)
        };
        let mut best = vec![0.0; variants.len()];
        let mut previous: Vec<f64> = vec![0.0; variants.len()];
        for at in 0..QUADRATURE_STEPS {
            let middle = (f64::from(at) + 0.5) / f64::from(QUADRATURE_STEPS);
            let here: Vec<f64> = variants.iter().map(|sample| below(sample, middle)).collect();
            for (number, (sample, share)) in variants.iter().zip(&mut best).enumerate() {
                let cumulative = below(sample, f64::from(at + 1) / f64::from(QUADRATURE_STEPS));
                let mass = previous
                    .get_mut(number)
                    .map_or(0.0, |previous| cumulative - std::mem::replace(previous, cumulative));
                let others = here.iter().enumerate().filter(|(other, _)| *other != number);
                *share += mass * others.map(|(_, below)| below).product::<f64>();
            }
        }
        let total: f64 = best.iter().sum();
        let count = real(variants.len() as u64);
        let least = least.clamp(0.0, 1.0 / count.max(1.0));
        best.iter()
            .map(|share| least + (1.0 - least * count) * share / total)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn users_are_assigned_by_weights() {
        let weights = [("a", 45.0), ("b", 10.0), ("c", 20.0), ("d", 15.0), ("e", 10.0)];
        let allocation = Allocation::new(&weights, 1).unwrap();
        for (name, weight) in weights {
            let users = (0..100_000)
                .filter(|user| allocation.variant(&format!("user-{user}")) == name)
                .count();
            assert!((real(users as u64) / 1000.0 - weight).abs() < 0.5, "{name}: {users}");
        }
        assert_eq!(Allocation::new(&[("a", 0.0)], 1), Err(AllocationError::Weights));
        assert_eq!(
            Allocation::new(&[("a", -1.0), ("b", 2.0)], 1),
            Err(AllocationError::Weights)
        );
    }

    #[test]
    fn shares_are_probabilities_of_being_best() {
        let shares = Allocation::thompson(&[Sample::proportion(0, 1), Sample::proportion(1, 1)], 0.0);
        assert!((shares[1] - 5.0 / 6.0).abs() < 1e-4, "{shares:?}");
        let even = Allocation::thompson(&[Sample::default(); 4], 0.1);
        assert!(even.iter().all(|share| (share - 0.25).abs() < 1e-9), "{even:?}");
    }

    proptest! {
        #[test]
        fn shares_add_up_and_reach_minimum(counts in prop::collection::vec((0_u64..50, 0_u64..50), 1..5)) {
            let samples: Vec<Sample> = counts.iter().map(|(a, b)| Sample::proportion(*a, a + b)).collect();
            let shares = Allocation::thompson(&samples, 0.05);
            prop_assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-9);
            prop_assert!(shares.iter().all(|share| *share >= 0.05 - 1e-12));
        }

        #[test]
        fn growing_challenger_keeps_its_users(user in "[a-z]{1,9}") {
            let variant = |weight: f64| {
                Allocation::new(&[("challenger", weight), ("champion", 100.0 - weight)], 3).unwrap().variant(&user).to_owned()
            };
            for (small, large) in [(5.0, 10.0), (10.0, 25.0), (25.0, 50.0)] {
                prop_assert!(variant(small) == "champion" || variant(large) == "challenger");
            }
        }
    }
}
