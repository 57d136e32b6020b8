//! Second opinion: Bayesian estimates from the same samples, which are easier to explain.

use crate::{
    normal_cdf, real,
    sample::{Difference, Sample},
};
use serde::Serialize;
use statrs::function::beta::checked_beta_reg;

/// Number of steps of the midpoint rule.
const QUADRATURE_STEPS: u32 = 2000;
/// Integration range to each side of the mean, in standard deviations.
const RANGE_DEVIATIONS: f64 = 9.0;

/// Probability that the challenger's mean is higher, and the expected loss of choosing it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Posterior {
    /// Probability that the challenger's mean is higher.
    pub challenger_higher: f64,
    /// Expected amount by which the challenger's mean is lower, counting 0 where it is higher.
    pub expected_loss: f64,
}

impl Posterior {
    /// Posterior of two proportions with uniform priors: beta distributions, compared by quadrature. `None` without trials.
    pub fn from_proportions(champion: &Sample, challenger: &Sample) -> Option<Self> {
        if champion.count == 0 || challenger.count == 0 {
            return None;
        }
        let posterior = |sample: &Sample| (sample.sum + 1.0, real(sample.count) - sample.sum + 1.0);
        let (challenger, champion) = (posterior(challenger), posterior(champion));
        let moments = |(a, b): (f64, f64)| (a / (a + b), (a * b / ((a + b).powi(2) * (a + b + 1.0))).sqrt());
        let (mean, deviation) = moments(challenger);
        let (from, to) = (
            (mean - RANGE_DEVIATIONS * deviation).max(0.0),
            (mean + RANGE_DEVIATIONS * deviation).min(1.0),
        );
        let below = |(a, b): (f64, f64), x: f64| checked_beta_reg(a, b, x.clamp(0.0, 1.0)).unwrap_or(f64::NAN);
        // Differences of the distribution function avoid densities, which could overflow.
        let step = (to - from) / f64::from(QUADRATURE_STEPS);
        let (mut higher, mut loss) = (0.0, 0.0);
        let mut previous = below(challenger, from);
        for at in 0..QUADRATURE_STEPS {
            let x = from + (f64::from(at) + 0.5) * step;
            let cumulative = below(challenger, x + step / 2.0);
            let mass = cumulative - previous;
            previous = cumulative;
            let champion_below = below(champion, x);
            higher += mass * champion_below;
            // E[max(p - x, 0)] = E[p; p > x] - x P(p > x), where p is the champion's proportion.
            let beyond =
                moments(champion).0 * (1.0 - below((champion.0 + 1.0, champion.1), x)) - x * (1.0 - champion_below);
            loss += mass * beyond.max(0.0);
        }
        Some(Self {
            challenger_higher: higher.clamp(0.0, 1.0),
            expected_loss: loss,
        })
    }

    /// Posterior of a difference of means with a flat prior: a normal distribution.
    pub fn from_difference(difference: &Difference) -> Self {
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
    fn equal_samples_have_probability_one_half() {
        let sample = Sample::proportion(30, 200);
        let posterior = Posterior::from_proportions(&sample, &sample).unwrap();
        assert!((posterior.challenger_higher - 0.5).abs() < 1e-4, "{posterior:?}");
        assert!(posterior.expected_loss > 0.0 && posterior.expected_loss < 0.03);
    }

    #[test]
    fn small_samples_match_exact_values() {
        // One success in one trial against none in one: Beta(2, 1) against Beta(1, 2). P(higher) = 5/6 and, by symmetry of
        // the two densities, E[max(champion - challenger, 0)] = 1/30.
        let posterior = Posterior::from_proportions(&Sample::proportion(0, 1), &Sample::proportion(1, 1)).unwrap();
        assert!((posterior.challenger_higher - 5.0 / 6.0).abs() < 1e-5, "{posterior:?}");
        assert!((posterior.expected_loss - 1.0 / 30.0).abs() < 1e-5, "{posterior:?}");
    }

    #[test]
    fn proportions_match_scipy() {
        // scipy 1.17: integrate.quad over beta(61, 251).pdf times beta(46, 256).cdf, and over the loss.
        let posterior =
            Posterior::from_proportions(&Sample::proportion(45, 300), &Sample::proportion(60, 310)).unwrap();
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
    fn large_samples_match_normal_approximation() {
        let (a, b) = (
            Sample::proportion(100_000, 1_000_000),
            Sample::proportion(100_700, 1_000_000),
        );
        let exact = Posterior::from_proportions(&a, &b).unwrap();
        let normal = Posterior::from_difference(&Difference::between(&a, &b).unwrap());
        assert!((exact.challenger_higher - normal.challenger_higher).abs() < 1e-3);
        assert!((exact.expected_loss / normal.expected_loss - 1.0).abs() < 0.02);
    }
}
