//! Sample ratio mismatch: whether the variants got their configured traffic shares. If not, something between router and
//! counter treats them differently, and no other result of the experiment can be trusted (Fabijan et al. 2019, *Diagnosing
//! sample ratio mismatch in online controlled experiments*).

use crate::real;
use serde::Serialize;
use statrs::function::gamma::{checked_gamma_ur, ln_gamma};

/// Weight of the mixture's prior, as a number of earlier requests.
const CONCENTRATION: f64 = 1000.0;

/// Test of request counts against the configured shares.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SampleRatio {
    /// Statistic of the chi-squared test.
    pub statistic: f64,
    /// P-value of the chi-squared test, valid for a single look.
    pub pvalue: f64,
    /// P-value that is valid at every look. The smallest over all looks is a valid p-value, too.
    pub anytime_pvalue: f64,
}

impl SampleRatio {
    /// Tests the number of requests of each variant against the configured weights. `None` without requests, with a single
    /// variant, or if there is not one positive weight for each variant.
    ///
    /// The anytime-valid test is the Dirichlet-multinomial mixture against the shares (Lindon and Malek 2022, *Anytime-valid
    /// inference for multinomial count data*): 1 / Bayes factor. With the configured shares, this is rarely small at any time
    /// (Ville's inequality).
    pub fn from_counts(counts: &[u64], weights: &[f64]) -> Option<Self> {
        let total: u64 = counts.iter().sum();
        let weight: f64 = weights.iter().sum();
        let fits = counts.len() == weights.len() && counts.len() > 1 && total > 0;
        if !fits || !weight.is_finite() || weights.iter().any(|one| one.is_nan() || *one <= 0.0) {
            return None;
        }
        let cells = || {
            counts
                .iter()
                .map(|count| real(*count))
                .zip(weights.iter().map(|one| one / weight))
        };
        let statistic = cells()
            .map(|(count, share)| (count - share * real(total)).powi(2) / (share * real(total)))
            .sum::<f64>();
        let freedom: f64 = counts.iter().skip(1).map(|_| 1.0).sum();
        let log_factor = ln_gamma(CONCENTRATION) - ln_gamma(CONCENTRATION + real(total))
            + cells()
                .map(|(count, share)| {
                    let prior = CONCENTRATION * share;
                    ln_gamma(prior + count) - ln_gamma(prior) - count * share.ln()
                })
                .sum::<f64>();
        let pvalue = if statistic > 0.0 {
            checked_gamma_ur(freedom / 2.0, statistic / 2.0).unwrap_or(f64::NAN)
        } else {
            1.0
        };
        Some(Self {
            statistic,
            pvalue,
            anytime_pvalue: (-log_factor).exp().min(1.0),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mismatch_has_small_pvalue() {
        let fits = SampleRatio::from_counts(&[4500, 1010, 1990, 1500, 1000], &[45.0, 10.0, 20.0, 15.0, 10.0]).unwrap();
        assert!(fits.pvalue > 0.9 && fits.anytime_pvalue > 0.9, "{fits:?}");
        let off = SampleRatio::from_counts(&[4700, 810, 1990, 1500, 1000], &[45.0, 10.0, 20.0, 15.0, 10.0]).unwrap();
        assert!(off.pvalue < 1e-8 && off.anytime_pvalue < 1e-4, "{off:?}");
    }

    #[test]
    fn statistic_matches_scipy() {
        // scipy.stats.chisquare([30, 70], [50, 50]): statistic 16, p-value 6.334e-05.
        let ratio = SampleRatio::from_counts(&[30, 70], &[1.0, 1.0]).unwrap();
        assert!((ratio.statistic - 16.0).abs() < 1e-12);
        assert!(
            (ratio.pvalue / 6.334_248_366_623_988e-5 - 1.0).abs() < 1e-9,
            "{}",
            ratio.pvalue
        );
    }

    #[test]
    fn invalid_input_has_no_result() {
        assert_eq!(SampleRatio::from_counts(&[0, 0], &[1.0, 1.0]), None);
        assert_eq!(SampleRatio::from_counts(&[1, 2], &[1.0]), None);
        assert_eq!(SampleRatio::from_counts(&[1, 2], &[1.0, 0.0]), None);
        assert_eq!(SampleRatio::from_counts(&[1], &[1.0]), None);
    }
}
