//! Tests of many features: control of the false discovery rate by the procedure of Benjamini and Hochberg (Controlling
//! the false discovery rate, 1995), as in `SciPy`'s `false_discovery_control` and statsmodels' `fdr_bh`.

/// Reason for which the rate is not controllable.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum ControlError {
    /// A p-value is not a probability.
    #[error("p-value {place} is {value}: expected a number between 0 and 1; omit features without a p-value")]
    NotAProbability {
        /// Index, starting at 0.
        place: usize,
        /// The value.
        value: f64,
    },
    /// The rate is not a probability.
    #[error("the false discovery rate is {0}: expected a number between 0 and 1")]
    Rate(f64),
}

/// Result for several p-values, in their order.
#[derive(Debug, Clone, PartialEq)]
pub struct Controlled {
    /// Adjusted p-values: the smallest rate at which each is rejected.
    pub adjusted: Vec<f64>,
    /// Whether each is rejected, that is, counts as drift, at the given rate.
    pub rejected: Vec<bool>,
}

/// Limits the expected share of false alarms among the alarms to `rate`, if the tests are independent or positively
/// dependent. The largest p-value with rank i of m that is at most i / m times the rate is rejected, with all smaller
/// ones.
///
/// # Errors
/// Fails if a p-value or the rate is not between 0 and 1.
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
