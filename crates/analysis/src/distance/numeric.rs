//! Distances between two samples of numbers.

use super::{DistanceError, Rows, jensen_shannon, ks_pvalue, real, stability_index, wide};
use std::{cmp::Ordering, num::NonZeroU64};

/// Sample of numbers: each distinct value in ascending order, with its number of rows.
///
/// A sketch is a sample too: its items with their weights. -0.0 is 0.0. Infinities are valid values.
#[derive(Debug, Clone, PartialEq)]
pub struct Weighted {
    values: Vec<(f64, u64)>,
    total: NonZeroU64,
}

impl Weighted {
    /// Creates a sample from (value, weight) pairs in any order. Weights of equal values are added. A weight of 0 is
    /// ignored.
    ///
    /// # Errors
    /// Fails if a value is NaN, or if there are no rows, or more than 2^64 - 1.
    pub fn new(pairs: impl IntoIterator<Item = (f64, u64)>) -> Result<Self, DistanceError> {
        Self::merged(pairs, u64::checked_add)
    }

    /// Creates a sample with one row per value.
    ///
    /// # Errors
    /// Fails like [`Weighted::new`].
    pub fn from_values(values: impl IntoIterator<Item = f64>) -> Result<Self, DistanceError> {
        Self::new(values.into_iter().map(|value| (value, 1)))
    }

    /// Creates a sample as Deequ's `QuantileNonSample.getRankMap` sees it: weights of equal values overwrite each other
    /// instead of adding up. So each distinct value counts once, with the weight of the highest level that contains it.
    ///
    /// This is a defect: a column of zeros and ones is reduced to the presence of both. Use it only to reproduce the
    /// distances of a monitor with this defect. The result is exact if no value is repeated.
    ///
    /// # Errors
    /// Fails like [`Weighted::new`].
    pub fn deequ_compat(pairs: impl IntoIterator<Item = (f64, u64)>) -> Result<Self, DistanceError> {
        Self::merged(pairs, |one, other| Some(one.max(other)))
    }

    fn merged(
        pairs: impl IntoIterator<Item = (f64, u64)>,
        merge: impl Fn(u64, u64) -> Option<u64>,
    ) -> Result<Self, DistanceError> {
        // Adding 0.0 turns -0.0 into 0.0.
        let mut values: Vec<(f64, u64)> = pairs
            .into_iter()
            .filter(|(_, weight)| *weight > 0)
            .map(|(value, weight)| (value + 0.0, weight))
            .collect();
        if values.iter().any(|(value, _)| value.is_nan()) {
            return Err(DistanceError::NotANumber);
        }
        values.sort_unstable_by(|(one, _), (other, _)| one.total_cmp(other));
        let mut fits = true;
        values.dedup_by(|(value, weight), (kept, sum)| {
            let same = value.total_cmp(kept) == Ordering::Equal;
            if same {
                *sum = merge(*sum, *weight).unwrap_or_else(|| {
                    fits = false;
                    *sum
                });
            }
            same
        });
        let total = values
            .iter()
            .try_fold(0_u64, |sum, (_, weight)| sum.checked_add(*weight));
        let total = total.filter(|_| fits).ok_or(DistanceError::TooMany)?;
        let total = NonZeroU64::new(total).ok_or(DistanceError::Empty)?;
        Ok(Self { values, total })
    }

    /// Sum of the weights, at least 1.
    pub fn total(&self) -> u64 {
        self.total.get()
    }

    /// Distinct values in ascending order, with their weights.
    pub fn values(&self) -> &[(f64, u64)] {
        &self.values
    }

    /// Row counts of this sample and of a baseline, from the weights.
    pub fn rows(&self, baseline: &Self) -> Rows {
        Rows {
            sample: self.total,
            baseline: baseline.total,
        }
    }

    /// Deequ's `linf_simple`: the largest difference between the two cumulative distributions, from 0 to 1. It is the
    /// two-sample Kolmogorov-Smirnov statistic. Exact, also for repeated values.
    pub fn linf_simple(&self, baseline: &Self) -> f64 {
        let largest = steps(self, baseline).map(|step| step.difference).max();
        wide(largest.unwrap_or(0)) / wide(u128::from(self.total()) * u128::from(baseline.total()))
    }

    /// [`Self::linf_simple`] with the robust correction: [`super::linf_robust`].
    pub fn linf_robust(&self, baseline: &Self, rows: Rows, c: f64) -> f64 {
        super::linf_robust(self.linf_simple(baseline), rows, c)
    }

    /// Two-sample Kolmogorov-Smirnov statistic, two-sided: [`Self::linf_simple`].
    pub fn ks_statistic(&self, baseline: &Self) -> f64 {
        self.linf_simple(baseline)
    }

    /// p-value of the statistic: [`ks_pvalue`].
    pub fn ks_pvalue(&self, baseline: &Self, rows: Rows) -> f64 {
        ks_pvalue(self.linf_simple(baseline), rows)
    }

    /// First Wasserstein distance (earth mover's distance), in the unit of the values: the area between the two
    /// cumulative distributions, as in `SciPy`'s `wasserstein_distance`. Infinite if the shares at an infinity differ.
    pub fn wasserstein(&self, baseline: &Self) -> f64 {
        let whole = wide(u128::from(self.total()) * u128::from(baseline.total()));
        let mut area = 0.0;
        let mut steps = steps(self, baseline).peekable();
        while let Some(step) = steps.next() {
            let Some(next) = steps.peek() else { break };
            if step.difference > 0 {
                let height = wide(step.difference) / whole;
                let piece = (next.value - step.value) * height;
                // The full range of doubles is twice as wide as the largest double.
                area += if piece.is_finite() {
                    piece
                } else {
                    next.value * height - step.value * height
                };
            }
        }
        area
    }

    /// Population stability index: the sum of (p - q) ln(p / q) over bins, where p is the sample's share of a bin and q
    /// the baseline's, each at least [`super::PSI_MIN_SHARE`].
    ///
    /// The bins are the baseline's. If it has at most 20 distinct values and on average at least two rows of each, each
    /// value is a bin, and all other values together are another one. Otherwise there are ten bins, cut at the
    /// baseline's deciles. The k-th cut is the smallest value that at least k tenths of the rows do not exceed, and
    /// belongs to the bin below it. Equal cuts are merged. The outermost bins are open.
    pub fn psi(&self, baseline: &Self) -> f64 {
        stability_index(self.shares(baseline))
    }

    /// Jensen-Shannon distance (`SciPy`'s `jensenshannon`, natural logarithm, 0 to 0.8326) on the bins of
    /// [`Self::psi`].
    pub fn jensen_shannon(&self, baseline: &Self) -> f64 {
        jensen_shannon(self.shares(baseline))
    }

    /// Shares of the sample and of the baseline in each of the baseline's bins.
    fn shares(&self, baseline: &Self) -> impl Iterator<Item = (f64, f64)> {
        let bins = Bins::from_baseline(baseline);
        let (n, m) = (real(self.total()), real(baseline.total()));
        let counts = bins.counts(self).into_iter().zip(bins.counts(baseline));
        counts.map(move |(count, expected)| (real(count) / n, real(expected) / m))
    }
}

/// Value of either sample.
struct Step {
    value: f64,
    /// Difference between the two cumulative distributions up to and including the value, in units of 1 / (rows of one
    /// times rows of the other).
    difference: u128,
}

/// Values of both samples, each once, in ascending order.
fn steps<'a>(sample: &'a Weighted, baseline: &'a Weighted) -> impl Iterator<Item = Step> + 'a {
    let mut left = sample.values.iter().peekable();
    let mut right = baseline.values.iter().peekable();
    let (mut reached, mut expected) = (0_u64, 0_u64);
    std::iter::from_fn(move || {
        let value = match (left.peek(), right.peek()) {
            (Some((one, _)), Some((other, _))) => one.min(*other),
            (Some((value, _)), None) | (None, Some((value, _))) => *value,
            (None, None) => return None,
        };
        if let Some((_, weight)) = left.next_if(|(other, _)| *other <= value) {
            reached += weight;
        }
        if let Some((_, weight)) = right.next_if(|(other, _)| *other <= value) {
            expected += weight;
        }
        let one = u128::from(reached) * u128::from(baseline.total());
        let other = u128::from(expected) * u128::from(sample.total());
        Some(Step {
            value,
            difference: one.abs_diff(other),
        })
    })
}

/// Bins of a baseline.
enum Bins {
    /// Each of these values, and all others.
    Values(Vec<f64>),
    /// Up to and including each of these cuts, and above the last.
    Cuts(Vec<f64>),
}

impl Bins {
    const MAX_VALUE_BINS: usize = 20;

    fn from_baseline(baseline: &Weighted) -> Self {
        let distinct = baseline.values.len();
        let repeated = u64::try_from(distinct).is_ok_and(|distinct| distinct <= baseline.total() / 2);
        if distinct <= Self::MAX_VALUE_BINS && repeated {
            return Self::Values(baseline.values.iter().map(|(value, _)| *value).collect());
        }
        let mut cuts = Vec::with_capacity(9);
        let mut decile = 1_u128;
        let mut rows = 0_u128;
        for (value, weight) in &baseline.values {
            rows += u128::from(*weight);
            let reached = 10 * rows / u128::from(baseline.total());
            if decile <= reached.min(9) {
                cuts.push(*value);
                decile = reached + 1;
            }
        }
        Self::Cuts(cuts)
    }

    /// Number of rows in each bin.
    fn counts(&self, sample: &Weighted) -> Vec<u64> {
        let (Self::Values(marks) | Self::Cuts(marks)) = self;
        let mut counts = vec![0; marks.len() + 1];
        for (value, weight) in &sample.values {
            let place = match self {
                Self::Values(values) => values
                    .binary_search_by(|mark| mark.total_cmp(value))
                    .unwrap_or(values.len()),
                Self::Cuts(cuts) => cuts.partition_point(|cut| cut < value),
            };
            if let Some(count) = counts.get_mut(place) {
                *count += weight;
            }
        }
        counts
    }
}
