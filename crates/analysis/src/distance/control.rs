//! Many features tested at once: the false discovery rate held by Benjamini and Hochberg's procedure (Controlling the
//! false discovery rate, 1995), as `SciPy`'s `false_discovery_control` and statsmodels' `fdr_bh` have it.

/// Why p-values cannot be controlled.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum ControlError {
    /// A p-value that is none.
    #[error("p-value {place} is {value}, not between 0 and 1: leave out features without a verdict")]
    NotAProbability {
        /// Which, from 0.
        place: usize,
        /// What it is.
        value: f64,
    },
    /// A rate that is none.
    #[error("the false discovery rate is {0}, not between 0 and 1")]
    Rate(f64),
}

/// The verdict over several p-values, in their order.
#[derive(Debug, Clone, PartialEq)]
pub struct Controlled {
    /// The adjusted p-values: the least rate at which each would be rejected.
    pub adjusted: Vec<f64>,
    /// Whether each is rejected, that is, counts as drift, at the given rate.
    pub rejected: Vec<bool>,
}

/// Holds the expected share of false alarms among the alarms at `rate`, if the tests are independent (or positively
/// dependent). The largest p-value of rank i of m that is at most i / m times the rate is rejected with all below it.
///
/// # Errors
/// If a p-value or the rate is not between 0 and 1.
pub fn benjamini_hochberg(pvalues: &[f64], rate: f64) -> Result<Controlled, ControlError> {
    if !(0.0..=1.0).contains(&rate) {
        return Err(ControlError::Rate(rate));
    }
    for (place, value) in pvalues.iter().copied().enumerate() {
        if !(0.0..=1.0).contains(&value) {
            return Err(ControlError::NotAProbability { place, value });
        }
    }
    let mut ranked: Vec<(usize, f64)> = pvalues.iter().copied().enumerate().collect();
    ranked.sort_by(|(_, one), (_, other)| one.total_cmp(other));
    let mut controlled = Controlled {
        adjusted: vec![1.0; pvalues.len()],
        rejected: vec![false; pvalues.len()],
    };
    let tests: f64 = pvalues.iter().map(|_| 1.0).sum();
    let mut rank = tests;
    let mut least = 1.0_f64;
    let mut rejecting = false;
    for (place, value) in ranked.into_iter().rev() {
        least = least.min(value * (tests / rank));
        rejecting |= value <= rank / tests * rate;
        rank -= 1.0;
        if let Some(adjusted) = controlled.adjusted.get_mut(place) {
            *adjusted = least;
        }
        if let Some(rejected) = controlled.rejected.get_mut(place) {
            *rejected = rejecting;
        }
    }
    Ok(controlled)
}
