//! Distances between two samples of numbers.

use super::{DistanceError, Rows, jensen_shannon, ks_pvalue, real, stability_index, wide};
use std::{cmp::Ordering, num::NonZeroU64};

/// A sample of numbers: each value that occurs once, in rising order, with how many rows have it.
///
/// A sketch is one too: its items with their weights. -0.0 is 0.0; the infinities are values like others.
#[derive(Debug, Clone, PartialEq)]
pub struct Weighted {
    values: Vec<(f64, u64)>,
    total: NonZeroU64,
}

impl Weighted {
    /// A sample of (value, weight) in any order; the weights of equal values are added. A weight of 0 is no row.
    ///
    /// # Errors
    /// If a value is NaN, or there is nothing, or more than 2^64 - 1 rows.
    pub fn new(pairs: impl IntoIterator<Item = (f64, u64)>) -> Result<Self, DistanceError> {
        Self::merged(pairs, u64::checked_add)
    }

    /// A sample of one row a value.
    ///
    /// # Errors
    /// As [`Weighted::new`].
    pub fn of_values(values: impl IntoIterator<Item = f64>) -> Result<Self, DistanceError> {
        Self::new(values.into_iter().map(|value| (value, 1)))
    }

    /// A sample as Deequ's `QuantileNonSample.getRankMap` sees it: the weights of equal values overwrite one another
    /// instead of adding, so that each distinct value counts once, with the weight of the highest level it sits on.
    ///
    /// That is a defect: of a column of zeros and ones nothing but their presence is left. It is offered for who has to
    /// reproduce the distances of a monitor that has it. Exact where no value is repeated.
    ///
    /// # Errors
    /// As [`Weighted::new`].
    pub fn deequ_compat(pairs: impl IntoIterator<Item = (f64, u64)>) -> Result<Self, DistanceError> {
        Self::merged(pairs, |one, other| Some(one.max(other)))
    }

    fn merged(
        pairs: impl IntoIterator<Item = (f64, u64)>,
        merge: impl Fn(u64, u64) -> Option<u64>,
    ) -> Result<Self, DistanceError> {
        // Adding 0.0 makes -0.0 the 0.0 that it is equal to.
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

    /// The sum of the weights: at least 1.
    pub fn total(&self) -> u64 {
        self.total.get()
    }

    /// The distinct values in rising order, each with its weight.
    pub fn values(&self) -> &[(f64, u64)] {
        &self.values
    }

    /// Row counts of this sample and a baseline, taken from the weights.
    pub fn rows(&self, baseline: &Self) -> Rows {
        Rows {
            sample: self.total,
            baseline: baseline.total,
        }
    }

    /// Deequ's `linf_simple`: the largest difference of the two cumulative distributions, between 0 and 1. It is the
    /// two-sample Kolmogorov-Smirnov statistic. Exact, also for repeated values.
    pub fn linf_simple(&self, baseline: &Self) -> f64 {
        let largest = steps(self, baseline).map(|step| step.difference).max();
        wide(largest.unwrap_or(0)) / wide(u128::from(self.total()) * u128::from(baseline.total()))
    }

    /// [`Self::linf_simple`] less the robust correction: [`super::linf_robust`].
    pub fn linf_robust(&self, baseline: &Self, rows: Rows, c: f64) -> f64 {
        super::linf_robust(self.linf_simple(baseline), rows, c)
    }

    /// The two-sample Kolmogorov-Smirnov statistic, two-sided: [`Self::linf_simple`].
    pub fn ks_statistic(&self, baseline: &Self) -> f64 {
        self.linf_simple(baseline)
    }

    /// Its p-value: [`ks_pvalue`].
    pub fn ks_pvalue(&self, baseline: &Self, rows: Rows) -> f64 {
        ks_pvalue(self.linf_simple(baseline), rows)
    }

    /// The first Wasserstein distance (earth mover's), in the unit of the values: the area between the two cumulative
    /// distributions, as `SciPy`'s `wasserstein_distance`. Infinity if the two have other shares at an infinity.
    pub fn wasserstein(&self, baseline: &Self) -> f64 {
        let whole = wide(u128::from(self.total()) * u128::from(baseline.total()));
        let mut area = 0.0;
        let mut steps = steps(self, baseline).peekable();
        while let Some(step) = steps.next() {
            let Some(next) = steps.peek() else { break };
            if step.difference > 0 {
                let height = wide(step.difference) / whole;
                let piece = (next.value - step.value) * height;
                // The whole range of doubles is twice as wide as the largest of them.
                area += if piece.is_finite() {
                    piece
                } else {
                    next.value * height - step.value * height
                };
            }
        }
        area
    }

    /// The population stability index: the sum of (p - q) ln(p / q) over bins, p the sample's share of a bin and q the
    /// baseline's, each at least [`super::PSI_LEAST_SHARE`].
    ///
    /// The bins are the baseline's. If it has at most 20 distinct values and on average at least two rows of each, each
    /// value is a bin of its own, and all other values together are one more. Else there are ten, cut at the baseline's
    /// deciles: the k-th cut is the least value that at least k tenths of the rows do not exceed, and belongs to the bin
    /// below it; equal cuts are one; the outermost bins are open.
    pub fn psi(&self, baseline: &Self) -> f64 {
        stability_index(self.shares(baseline))
    }

    /// The Jensen-Shannon distance (`SciPy`'s `jensenshannon`, natural logarithm, 0 to 0.8326) on the bins of
    /// [`Self::psi`].
    pub fn jensen_shannon(&self, baseline: &Self) -> f64 {
        jensen_shannon(self.shares(baseline))
    }

    /// The shares of the sample and of the baseline in each of the baseline's bins.
    fn shares(&self, baseline: &Self) -> impl Iterator<Item = (f64, f64)> {
        let bins = Bins::of(baseline);
        let (n, m) = (real(self.total()), real(baseline.total()));
        let counts = bins.counts(self).into_iter().zip(bins.counts(baseline));
        counts.map(move |(count, expected)| (real(count) / n, real(expected) / m))
    }
}

/// A value of either sample.
struct Step {
    value: f64,
    /// How far the two cumulative distributions are from one another up to and with the value, in units of
    /// 1 / (rows of the one times rows of the other).
    difference: u128,
}

/// The values of both samples, each once, in rising order.
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

/// The bins of a baseline.
enum Bins {
    /// Each of these values, and all others.
    Values(Vec<f64>),
    /// Up to and with each of these cuts, and beyond the last.
    Cuts(Vec<f64>),
}

impl Bins {
    const MOST_VALUES: usize = 20;

    fn of(baseline: &Weighted) -> Self {
        let distinct = baseline.values.len();
        let repeated = u64::try_from(distinct).is_ok_and(|distinct| distinct <= baseline.total() / 2);
        if distinct <= Self::MOST_VALUES && repeated {
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

    /// How many rows fall into each bin.
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
