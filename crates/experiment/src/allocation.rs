//! Which variant a request goes to: by weights, the same for a user each time; and weights by Thompson sampling.

use crate::{real, sample::Sample};
use statrs::function::beta::checked_beta_reg;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// So many steps of the quadrature.
const STEPS: u32 = 4000;

/// The shares of variants.
///
/// ```
/// use experiment::{Allocation, Sample};
///
/// // A user stays where they are: the name of the variant goes into `TargetVariant` of the request.
/// let even = Allocation::new(&[("champion", 1.0), ("challenger", 1.0)], 7)?;
/// assert_eq!(even.variant("alice"), even.variant("alice"));
///
/// // The better a variant is so far, the more of the traffic it gets; none gets less than 5 %.
/// let so_far = [Sample::proportion(80, 100), Sample::proportion(90, 100)];
/// let shares = Allocation::thompson(&so_far, 0.05);
/// assert!(shares[1] > 0.9 && shares[0] >= 0.05);
/// # Ok::<(), experiment::AllocationError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Allocation {
    /// Each variant with the share up to its end.
    ends: Vec<(String, f64)>,
    seed: u64,
}

/// Why there is no allocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AllocationError {
    /// The weights are not numbers from 0 up, or all of them are 0.
    #[error("weights must be numbers from 0 up, and one must be more")]
    Weights,
}

impl Allocation {
    /// By weights; another seed assigns users anew.
    ///
    /// # Errors
    /// If the weights are no shares of anything.
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

    /// The variant of a user. Where the weights change and the order of the variants does not, only users near the ends
    /// move.
    pub fn variant(&self, user: &str) -> &str {
        #[expect(clippy::cast_precision_loss, reason = "53 bits are what a double holds")]
        let place = (xxh3_64_with_seed(user.as_bytes(), self.seed) >> 11) as f64 / (1_u64 << 53) as f64;
        let found = self.ends.iter().find(|(_, end)| place < *end);
        // Rounding may leave the last end a little below 1.
        found.or(self.ends.last()).map_or("", |(name, _)| name)
    }

    /// The shares by which Thompson sampling would pick variants of these successes (Thompson 1933): the probability that each
    /// is the best, with uniform priors, by quadrature instead of by drawing. None gets less than `least`, so that all go on
    /// being learnt of.
    pub fn thompson(variants: &[Sample], least: f64) -> Vec<f64> {
        let below = |sample: &Sample, x: f64| {
            checked_beta_reg(sample.sum + 1.0, real(sample.count) - sample.sum + 1.0, x).unwrap_or(f64::NAN)
        };
        let mut best = vec![0.0; variants.len()];
        let mut previous: Vec<f64> = vec![0.0; variants.len()];
        for at in 0..STEPS {
            let middle = (f64::from(at) + 0.5) / f64::from(STEPS);
            let here: Vec<f64> = variants.iter().map(|sample| below(sample, middle)).collect();
            for (number, (sample, share)) in variants.iter().zip(&mut best).enumerate() {
                let until = below(sample, f64::from(at + 1) / f64::from(STEPS));
                let mass = previous
                    .get_mut(number)
                    .map_or(0.0, |previous| until - std::mem::replace(previous, until));
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
    fn users_are_spread_by_the_weights() {
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
    fn shares_are_the_probabilities_of_being_the_best() {
        let shares = Allocation::thompson(&[Sample::proportion(0, 1), Sample::proportion(1, 1)], 0.0);
        assert!((shares[1] - 5.0 / 6.0).abs() < 1e-4, "{shares:?}");
        let even = Allocation::thompson(&[Sample::default(); 4], 0.1);
        assert!(even.iter().all(|share| (share - 0.25).abs() < 1e-9), "{even:?}");
    }

    proptest! {
        #[test]
        fn shares_add_up_and_none_is_too_small(counts in prop::collection::vec((0_u64..50, 0_u64..50), 1..5)) {
            let samples: Vec<Sample> = counts.iter().map(|(a, b)| Sample::proportion(*a, a + b)).collect();
            let shares = Allocation::thompson(&samples, 0.05);
            prop_assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-9);
            prop_assert!(shares.iter().all(|share| *share >= 0.05 - 1e-12));
        }

        #[test]
        fn a_growing_challenger_takes_users_and_gives_none_back(user in "[a-z]{1,9}") {
            let of = |weight: f64| {
                Allocation::new(&[("challenger", weight), ("champion", 100.0 - weight)], 3).unwrap().variant(&user).to_owned()
            };
            for (small, large) in [(5.0, 10.0), (10.0, 25.0), (25.0, 50.0)] {
                prop_assert!(of(small) == "champion" || of(large) == "challenger");
            }
        }
    }
}
