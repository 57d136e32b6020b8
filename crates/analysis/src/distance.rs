//! Distances between two distributions of a column: its current values (the sample) and those of the baseline.
//!
//! | distance | of numbers | of categories |
//! | --- | --- | --- |
//! | `linf_simple`, `linf_robust` | Deequ's `Distance.numericalDistance` | Deequ's `Distance.categoricalDistance` |
//! | Kolmogorov-Smirnov | statistic and p-value as `SciPy`'s `ks_2samp` | |
//! | chi-square | | statistic and p-value as Deequ's `ChisquareMethod` |
//! | population stability index | on bins of the baseline | on the union of the categories |
//! | Jensen-Shannon distance | on bins of the baseline | on the union of the categories |
//! | Wasserstein | as `SciPy`'s `wasserstein_distance` | |
//!
//! All of them are functions of two samples that are not empty ([`Weighted`], [`Categories`]). So none of them fails,
//! and only the chi-square test can be without a result. [`control`] is for tests of many features.

mod categorical;
pub mod control;
mod ks;
mod numeric;

pub use categorical::{Categories, ChiSquare};
pub use ks::ks_pvalue;
pub use numeric::Weighted;

use std::num::NonZeroU64;

/// Reason for which there is no distribution to compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DistanceError {
    /// There are no values.
    #[error("there are no values: a distance requires at least one on each side")]
    Empty,
    /// A value is NaN, which has no order.
    #[error("a value is NaN: omit it and count it as missing")]
    NotANumber,
    /// The sum of the weights exceeds 64 bits.
    #[error("there are more than 2^64 - 1 rows")]
    TooMany,
}

/// Numbers of rows on both sides. The weights of a sketch may have a slightly different sum, so row counts are passed
/// separately from the sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rows {
    sample: NonZeroU64,
    baseline: NonZeroU64,
}

impl Rows {
    /// Row counts of the sample and of the baseline.
    ///
    /// # Errors
    /// Fails if one of them is 0.
    pub fn new(sample: u64, baseline: u64) -> Result<Self, DistanceError> {
        let rows = |count| NonZeroU64::new(count).ok_or(DistanceError::Empty);
        Ok(Self {
            sample: rows(sample)?,
            baseline: rows(baseline)?,
        })
    }

    /// Row count of the sample.
    pub fn sample(self) -> u64 {
        self.sample.get()
    }

    /// Row count of the baseline.
    pub fn baseline(self) -> u64 {
        self.baseline.get()
    }
}

/// Deequ's `c` of the robust distance: for the significance level 0.003, from Knuth's table for the Kolmogorov-Smirnov
/// test.
pub const ROBUST_C: f64 = 1.8;

/// The `c` of a significance level in (0, 1): sqrt(-ln(alpha / 2) / 2), Smirnov's limit. NaN outside of 0 to 2.
pub fn robust_c(alpha: f64) -> f64 {
    (-(alpha / 2.0).ln() / 2.0).sqrt()
}

/// Deequ's `linf_robust`: `linf_simple` minus the distance that two samples of these sizes from one distribution may
/// have, max(0, simple - c sqrt((n + m) / (n m))). `c` is [`ROBUST_C`] or [`robust_c`] of a level.
pub fn linf_robust(simple: f64, rows: Rows, c: f64) -> f64 {
    let (n, m) = (real(rows.sample()), real(rows.baseline()));
    (simple - c * ((n + m) / (n * m)).sqrt()).max(0.0)
}

/// Minimum share in the population stability index. A smaller share of a bin, also 0, is replaced by it. Otherwise one
/// value in an empty bin would make the index infinite.
pub const PSI_MIN_SHARE: f64 = 1e-4;

/// Population stability index of bins with the shares of the sample and of the baseline: the sum of (p - q) ln(p / q),
/// both at least [`PSI_MIN_SHARE`].
fn stability_index(shares: impl Iterator<Item = (f64, f64)>) -> f64 {
    shares
        .map(|(sample, baseline)| (sample.max(PSI_MIN_SHARE), baseline.max(PSI_MIN_SHARE)))
        .map(|(p, q)| (p - q) * (p / q).ln())
        .sum()
}

/// Jensen-Shannon distance of bins as in `SciPy`'s `jensenshannon`: the square root of the divergence, natural
/// logarithm, between 0 and sqrt(ln 2) = 0.8326.
fn jensen_shannon(shares: impl Iterator<Item = (f64, f64)>) -> f64 {
    let entropy = |part: f64, whole: f64| if part > 0.0 { part * (part / whole).ln() } else { 0.0 };
    let (left, right) = shares.fold((0.0, 0.0), |(left, right), (p, q)| {
        let mean = f64::midpoint(p, q);
        (left + entropy(p, mean), right + entropy(q, mean))
    });
    // Rounding may give a value slightly below 0.
    (f64::midpoint(left, right)).max(0.0).sqrt()
}

/// Count as a floating-point number.
#[expect(
    clippy::cast_precision_loss,
    reason = "a distance of more than 2^53 rows is as exact as a double is"
)]
pub(crate) fn real(count: u64) -> f64 {
    count as f64
}

/// Product of two counts, or difference of such products, as a floating-point number.
#[expect(
    clippy::cast_precision_loss,
    reason = "the quotient of two such numbers is as exact as a double is"
)]
fn wide(product: u128) -> f64 {
    product as f64
}
