//! Confidence sequences: intervals that cover the true difference at all looks simultaneously, for any number of looks and any
//! stopping rule.
//!
//! Construction: the information of a difference grows with the samples. The estimate times its information is, in the limit, a
//! Brownian motion with drift on that scale (Jennison and Turnbull 1999, *Group sequential methods*, chapter 11). For a
//! Brownian motion whose variance is the information I, the two-sided normal mixture boundary applies at all times with
//! probability 1 - α (Robbins 1970; Howard, Ramdas, `McAuliffe`, and Sekhon 2021, *Time-uniform, nonparametric, nonasymptotic
//! confidence sequences*, equation 14):
//!
//! |estimate - truth| · I < √((I + ρ) · ln((I + ρ) / (ρ α²)))
//!
//! With estimated variances, this is an asymptotic confidence sequence (Waudby-Smith, Arbour, Sinha, Kennedy, and Ramdas 2024,
//! *Time-uniform central limit theory and asymptotic confidence sequences*). One formula covers proportions and means, any
//! traffic split, and any number of looks. The cost is a wider interval than that of a test with a single look. With small
//! samples the approximation does not apply: [`crate::Rule::minimum`] excludes them.

use crate::sample::Difference;
use serde::{Deserialize, Serialize};

/// A confidence interval with its estimate.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Interval {
    /// Lower bound of the difference.
    pub low: f64,
    /// Estimate of the difference.
    pub estimate: f64,
    /// Upper bound of the difference.
    pub high: f64,
}

/// A confidence sequence for a difference.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ConfidenceSequence {
    alpha: f64,
    rho: f64,
}

impl ConfidenceSequence {
    /// Confidence sequence that covers with probability 1 - `alpha` and is nearly optimal at the information `narrowest`. Both
    /// must be positive, and `alpha` less than 1.
    ///
    /// ρ = narrowest / (2 ln(1/α) + ln(1 + 2 ln(1/α))) (Howard et al. 2021, section 3.5).
    pub fn new(alpha: f64, narrowest: f64) -> Self {
        let log = -2.0 * alpha.ln();
        Self {
            alpha,
            rho: narrowest / (log + log.ln_1p()),
        }
    }

    /// Half the width of the interval at this information.
    pub fn half_width(&self, information: f64) -> f64 {
        let sum = information + self.rho;
        (sum * (sum / (self.rho * self.alpha * self.alpha)).ln()).sqrt() / information
    }

    /// Interval at a look.
    pub fn interval(&self, difference: &Difference) -> Interval {
        let half = self.half_width(difference.information());
        Interval {
            low: difference.estimate - half,
            estimate: difference.estimate,
            high: difference.estimate + half,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Sample;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn width_depends_on_confidence_and_information(alpha in 0.001_f64..0.4, information in 1e-3_f64..1e9, narrowest in 1e-3_f64..1e9) {
            let sequence = |alpha: f64| ConfidenceSequence::new(alpha, narrowest);
            let width = sequence(alpha).half_width(information);
            prop_assert!(width.is_finite() && width > 0.0);
            prop_assert!(sequence(alpha / 2.0).half_width(information) > width);
            prop_assert!(sequence(alpha).half_width(information * 2.0) < width);
        }

        #[test]
        fn interval_is_symmetric_in_variants(a in 0_u64..500, b in 0_u64..500, n in 500_u64..900, m in 500_u64..900) {
            let (a, b) = (Sample::proportion(a, n), Sample::proportion(b, m));
            let sequence = ConfidenceSequence::new(0.05, 1e4);
            let (there, back) = (Difference::between(&a, &b).unwrap(), Difference::between(&b, &a).unwrap());
            let (there, back) = (sequence.interval(&there), sequence.interval(&back));
            prop_assert!((there.low + back.high).abs() < 1e-12 && (there.high + back.low).abs() < 1e-12);
        }
    }

    #[test]
    fn sequence_is_nearly_optimal_at_chosen_information() {
        // No sequence that is tuned for another information is more than 1% narrower here.
        let best = ConfidenceSequence::new(0.05, 1000.0).half_width(1000.0);
        for elsewhere in [10.0, 100.0, 500.0, 900.0, 1100.0, 2000.0, 1e4, 1e5] {
            assert!(ConfidenceSequence::new(0.05, elsewhere).half_width(1000.0) > 0.99 * best);
        }
    }
}
