//! The second opinion: what a Bayesian makes of the same samples, in plainer words.

use crate::{
    normal_cdf, real,
    sample::{Difference, Sample},
};
use serde::Serialize;
use statrs::function::beta::checked_beta_reg;

/// So many steps of the midpoint rule, over so many standard deviations to each side.
const STEPS: u32 = 2000;
const REACH: f64 = 9.0;

/// How probable it is that the challenger is better, and what would be lost by taking it if it is not.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Posterior {
    /// The probability that the challenger's mean is higher.
    pub challenger_higher: f64,
    /// By how much, on average, the challenger's mean is lower, counting nothing where it is higher.
    pub expected_loss: f64,
}

impl Posterior {
    /// Of two proportions, each with a uniform prior: beta posteriors, compared by quadrature. `None` without trials.
    pub fn of_proportions(champion: &Sample, challenger: &Sample) -> Option<Self> {
        if champion.count == 0 || challenger.count == 0 {
            return None;
        }
        let posterior = |sample: &Sample| (sample.sum + 1.0, real(sample.count) - sample.sum + 1.0);
        let (ours, theirs) = (posterior(challenger), posterior(champion));
        let of = |(a, b): (f64, f64)| (a / (a + b), (a * b / ((a + b).powi(2) * (a + b + 1.0))).sqrt());
        let (mean, deviation) = of(ours);
        let (from, to) = ((mean - REACH * deviation).max(0.0), (mean + REACH * deviation).min(1.0));
        let below = |(a, b): (f64, f64), x: f64| checked_beta_reg(a, b, x.clamp(0.0, 1.0)).unwrap_or(f64::NAN);
        // As differences of the distribution function there is no density to overflow.
        let step = (to - from) / f64::from(STEPS);
        let (mut higher, mut loss) = (0.0, 0.0);
        let mut previous = below(ours, from);
        for at in 0..STEPS {
            let x = from + (f64::from(at) + 0.5) * step;
            let until = below(ours, x + step / 2.0);
            let mass = until - previous;
            previous = until;
            let champion_below = below(theirs, x);
            higher += mass * champion_below;
            // E[max(p - x, 0)] = mean of p beyond x, less x times the probability of that.
            let beyond = of(theirs).0 * (1.0 - below((theirs.0 + 1.0, theirs.1), x)) - x * (1.0 - champion_below);
            loss += mass * beyond.max(0.0);
        }
        Some(Self {
            challenger_higher: higher.clamp(0.0, 1.0),
            expected_loss: loss,
        })
    }

    /// Of two means, from the difference and its variance, with a flat prior: normal.
    pub fn of_means(difference: &Difference) -> Self {
        let deviation = difference.variance.sqrt();
        let z = difference.estimate / deviation;
        let density = (-z * z / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
        Self {
            challenger_higher: normal_cdf(z),
            expected_loss: (deviation * density - difference.estimate * normal_cdf(-z)).max(0.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_samples_are_even() {
        let sample = Sample::proportion(30, 200);
        let posterior = Posterior::of_proportions(&sample, &sample).unwrap();
        assert!((posterior.challenger_higher - 0.5).abs() < 1e-4, "{posterior:?}");
        assert!(posterior.expected_loss > 0.0 && posterior.expected_loss < 0.03);
    }

    #[test]
    fn small_samples_are_compared_as_by_hand() {
        // One success of one trial against none of one: Beta(2, 1) against Beta(1, 2). P(higher) = 5/6 and, by symmetry of
        // the two densities, E[max(champion - challenger, 0)] = 1/30.
        let posterior = Posterior::of_proportions(&Sample::proportion(0, 1), &Sample::proportion(1, 1)).unwrap();
        assert!((posterior.challenger_higher - 5.0 / 6.0).abs() < 1e-5, "{posterior:?}");
        assert!((posterior.expected_loss - 1.0 / 30.0).abs() < 1e-5, "{posterior:?}");
    }

    #[test]
    fn proportions_are_compared_as_scipy_integrates_them() {
        // scipy 1.17: integrate.quad over beta(61, 251).pdf times beta(46, 256).cdf, and over the loss.
        let posterior = Posterior::of_proportions(&Sample::proportion(45, 300), &Sample::proportion(60, 310)).unwrap();
        assert!(
            (posterior.challenger_higher - 0.921_994_073_452_772_8).abs() < 1e-6,
            "{posterior:?}"
        );
        assert!(
            (posterior.expected_loss - 0.001_078_699_165_340_875).abs() < 1e-7,
            "{posterior:?}"
        );
    }

    #[test]
    fn large_samples_are_as_good_as_normal() {
        let (a, b) = (
            Sample::proportion(100_000, 1_000_000),
            Sample::proportion(100_700, 1_000_000),
        );
        let exact = Posterior::of_proportions(&a, &b).unwrap();
        let normal = Posterior::of_means(&Difference::of(&a, &b).unwrap());
        assert!((exact.challenger_higher - normal.challenger_higher).abs() < 1e-3);
        assert!((exact.expected_loss / normal.expected_loss - 1.0).abs() < 0.02);
    }
}
