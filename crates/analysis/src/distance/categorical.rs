//! Distances between two samples of categories.

use super::{DistanceError, Rows, jensen_shannon, real, stability_index, wide};
use statrs::function::gamma::checked_gamma_ur;
use std::{collections::BTreeMap, num::NonZeroU64};

/// Sample of categories with row counts. Rows without a value are excluded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Categories {
    counts: BTreeMap<String, u64>,
    total: NonZeroU64,
}

/// Deequ's chi-square test of a sample against the shares of a baseline.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ChiSquare {
    /// Sum of (observed - expected)^2 / expected; NaN without a test.
    pub statistic: f64,
    /// Probability of a statistic at least as large under the baseline's shares; NaN without a test.
    pub pvalue: f64,
}

impl Categories {
    /// Creates a sample from (category, count) pairs. Counts of a category that occurs twice are added.
    ///
    /// # Errors
    /// Fails if there are no rows, or more than 2^64 - 1.
    pub fn new(counts: impl IntoIterator<Item = (String, u64)>) -> Result<Self, DistanceError> {
        let mut merged = BTreeMap::new();
        let mut total = 0_u64;
        for (category, count) in counts {
            total = total.checked_add(count).ok_or(DistanceError::TooMany)?;
            *merged.entry(category).or_insert(0) += count;
        }
        let total = NonZeroU64::new(total).ok_or(DistanceError::Empty)?;
        Ok(Self { counts: merged, total })
    }

    /// Number of rows, at least 1.
    pub fn total(&self) -> u64 {
        self.total.get()
    }

    /// Counts by category.
    pub fn counts(&self) -> &BTreeMap<String, u64> {
        &self.counts
    }

    /// Row counts of this sample and of a baseline.
    pub fn rows(&self, baseline: &Self) -> Rows {
        Rows {
            sample: self.total,
            baseline: baseline.total,
        }
    }

    /// Deequ's `linf_simple`: the largest difference between the two shares of a category, from 0 to 1.
    pub fn linf_simple(&self, baseline: &Self) -> f64 {
        let (n, m) = (u128::from(self.total()), u128::from(baseline.total()));
        let differences = self
            .union(baseline)
            .map(|(count, expected)| (u128::from(count) * m).abs_diff(u128::from(expected) * n));
        wide(differences.max().unwrap_or(0)) / wide(n * m)
    }

    /// [`Self::linf_simple`] with the robust correction: [`super::linf_robust`].
    pub fn linf_robust(&self, baseline: &Self, rows: Rows, c: f64) -> f64 {
        super::linf_robust(self.linf_simple(baseline), rows, c)
    }

    /// Population stability index over the union of the categories: the sum of (p - q) ln(p / q), where p is the
    /// sample's share of a category and q the baseline's, each at least [`super::PSI_MIN_SHARE`].
    pub fn psi(&self, baseline: &Self) -> f64 {
        stability_index(self.shares(baseline))
    }

    /// Jensen-Shannon distance (`SciPy`'s `jensenshannon`, natural logarithm, 0 to 0.8326) over the union of the
    /// categories.
    pub fn jensen_shannon(&self, baseline: &Self) -> f64 {
        jensen_shannon(self.shares(baseline))
    }

    /// Deequ's chi-square test of goodness of fit (`Distance.categoricalDistance` with `ChisquareMethod`): `Simple` is
    /// its statistic, `Robust` its p-value.
    ///
    /// Rows of categories that are not in the baseline are excluded; the others are expected in the baseline's shares.
    /// Then small categories are merged. If there are more than two categories, at most a fifth (rounded down) may have
    /// fewer than 5 expected rows; if there are two, none may have fewer than 10. While more do, the category with the
    /// fewest expected rows is merged into the one with the next fewest (ties: first by name). The degrees of freedom
    /// are the number of remaining categories minus one.
    ///
    /// Both are NaN if fewer than two categories remain, or if a remaining category has neither expected nor observed
    /// rows. The number of categories is the baseline's: for a sample with only one of the remaining categories, Deequ
    /// returns NaN, and this function computes the test.
    pub fn chi_square(&self, baseline: &Self) -> ChiSquare {
        let observed = |category: &String| self.counts.get(category).copied().unwrap_or(0);
        let known: u64 = baseline.counts.keys().map(observed).sum();
        let cells = baseline.counts.iter().map(|(category, count)| Cell {
            observed: real(observed(category)),
            expected: real(*count) / real(baseline.total()) * real(known),
        });
        let cells = regroup(cells.collect());
        if cells.len() < 2 {
            return ChiSquare {
                statistic: f64::NAN,
                pvalue: f64::NAN,
            };
        }
        let statistic = cells
            .iter()
            .map(|cell| (cell.observed - cell.expected).powi(2) / cell.expected)
            .sum();
        let freedom = cells.iter().skip(1).map(|_| 1.0).sum();
        ChiSquare {
            statistic,
            pvalue: chi_square_tail(statistic, freedom),
        }
    }

    /// Counts of every category of either sample: in this sample and in the baseline.
    pub(crate) fn union(&self, baseline: &Self) -> impl Iterator<Item = (u64, u64)> {
        let here = self.counts.iter();
        let here = here.map(|(category, count)| (*count, baseline.counts.get(category).copied().unwrap_or(0)));
        let gone = baseline.counts.iter();
        let gone = gone.filter(|(category, _)| !self.counts.contains_key(*category));
        here.chain(gone.map(|(_, expected)| (0, *expected)))
    }

    fn shares(&self, baseline: &Self) -> impl Iterator<Item = (f64, f64)> {
        let (n, m) = (real(self.total()), real(baseline.total()));
        self.union(baseline)
            .map(move |(count, expected)| (real(count) / n, real(expected) / m))
    }
}

/// Observed and expected rows of a category.
#[derive(Clone, Copy)]
struct Cell {
    observed: f64,
    expected: f64,
}

/// Merges the smallest categories until few enough are too small.
fn regroup(mut cells: Vec<Cell>) -> Vec<Cell> {
    while cells.len() >= 2 {
        let (limit, allowed) = if cells.len() > 2 {
            (5.0, cells.len() / 5)
        } else {
            (10.0, 0)
        };
        if cells.iter().filter(|cell| cell.expected < limit).count() <= allowed {
            break;
        }
        let smallest = smallest(&cells);
        let merged = cells.remove(smallest);
        let next = self::smallest(&cells);
        if let Some(cell) = cells.get_mut(next) {
            cell.observed += merged.observed;
            cell.expected += merged.expected;
        }
    }
    cells
}

/// Index of the first category with the fewest expected rows.
fn smallest(cells: &[Cell]) -> usize {
    let least = cells
        .iter()
        .enumerate()
        .min_by(|(_, one), (_, other)| one.expected.total_cmp(&other.expected));
    least.map_or(0, |(place, _)| place)
}

/// Upper tail of the chi-square distribution.
fn chi_square_tail(statistic: f64, freedom: f64) -> f64 {
    if statistic <= 0.0 {
        1.0
    } else if statistic.is_infinite() {
        0.0
    } else {
        checked_gamma_ur(freedom / 2.0, statistic / 2.0).unwrap_or(f64::NAN)
    }
}
