//! Confidence sequences: intervals that cover the true difference at every look together, however often one looks and
//! whatever one decides by what one sees.
//!
//! Construction: the information of a difference grows with the samples, and the estimate times its information is, in the
//! limit, a Brownian motion with drift on that scale (Jennison and Turnbull 1999, «Group sequential methods», chapter 11).
//! For a Brownian motion with the information I as its variance the two-sided normal mixture boundary holds at all times
//! with probability 1 - α (Robbins 1970; Howard, Ramdas, `McAuliffe` and Sekhon 2021, «Time-uniform, nonparametric, nonasymptotic confidence
//! sequences», equation 14):
//!
//! |estimate - truth| · I < √((I + ρ) · ln((I + ρ) / (ρ α²)))
//!
//! With estimated variances that makes an asymptotic confidence sequence (Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas 2024,
//! «Time-uniform central limit theory and asymptotic confidence sequences»). It was chosen since one formula serves
//! proportions and means, any split of the traffic, and any number of looks; its price against a test with a single look is a
//! wider interval. Where it begins, at small samples, the minimum sample of a [`crate::Plan`] guards it.

use crate::sample::Difference;
use serde::{Deserialize, Serialize};

/// An interval around an estimate.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Interval {
    /// Its lower end.
    pub low: f64,
    /// The estimate.
    pub estimate: f64,
    /// Its upper end.
    pub high: f64,
}

/// A confidence sequence for a difference.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ConfidenceSequence {
    alpha: f64,
    rho: f64,
}

impl ConfidenceSequence {
    /// One that covers with probability 1 - `alpha`, and is about as narrow as it can be where the information is
    /// `narrowest`; both must be positive, and `alpha` below 1.
    ///
    /// ρ = narrowest / (2 ln(1/α) + ln(1 + 2 ln(1/α))) (Howard et al. 2021, section 3.5).
    pub fn new(alpha: f64, narrowest: f64) -> Self {
        let log = -2.0 * alpha.ln();
        Self {
            alpha,
            rho: narrowest / (log + log.ln_1p()),
        }
    }

    /// How far from the truth an estimate may be that has this information.
    pub fn half_width(&self, information: f64) -> f64 {
        let sum = information + self.rho;
        (sum * (sum / (self.rho * self.alpha * self.alpha)).ln()).sqrt() / information
    }

    /// The interval at a look.
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
        fn certainty_and_data_narrow_it(alpha in 0.001_f64..0.4, information in 1e-3_f64..1e9, narrowest in 1e-3_f64..1e9) {
            let of = |alpha: f64| ConfidenceSequence::new(alpha, narrowest);
            let width = of(alpha).half_width(information);
            prop_assert!(width.is_finite() && width > 0.0);
            prop_assert!(of(alpha / 2.0).half_width(information) > width);
            prop_assert!(of(alpha).half_width(information * 2.0) < width);
        }

        #[test]
        fn both_sides_are_seen_alike(a in 0_u64..500, b in 0_u64..500, n in 500_u64..900, m in 500_u64..900) {
            let (a, b) = (Sample::proportion(a, n), Sample::proportion(b, m));
            let sequence = ConfidenceSequence::new(0.05, 1e4);
            let (there, back) = (Difference::of(&a, &b).unwrap(), Difference::of(&b, &a).unwrap());
            let (there, back) = (sequence.interval(&there), sequence.interval(&back));
            prop_assert!((there.low + back.high).abs() < 1e-12 && (there.high + back.low).abs() < 1e-12);
        }
    }

    #[test]
    fn it_is_about_narrowest_where_it_should_be() {
        // Among sequences tuned elsewhere, none is more than a hundredth narrower there.
        let best = ConfidenceSequence::new(0.05, 1000.0).half_width(1000.0);
        for elsewhere in [10.0, 100.0, 500.0, 900.0, 1100.0, 2000.0, 1e4, 1e5] {
            assert!(ConfidenceSequence::new(0.05, elsewhere).half_width(1000.0) > 0.99 * best);
        }
    }
}
