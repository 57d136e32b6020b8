//! Rows counted by group, label, prediction and subgroup, and the metrics that follow from the counts.

use super::{Metric, MetricError, MetricResult, Stage};
use std::collections::BTreeMap;

/// Rows of one group by label and prediction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Quadrants {
    true_positive: u64,
    false_positive: u64,
    false_negative: u64,
    true_negative: u64,
}

impl Quadrants {
    fn cell(&mut self, label: bool, predicted: bool) -> &mut u64 {
        match (label, predicted) {
            (true, true) => &mut self.true_positive,
            (true, false) => &mut self.false_negative,
            (false, true) => &mut self.false_positive,
            (false, false) => &mut self.true_negative,
        }
    }

    fn merge(&mut self, other: &Self) {
        for (label, predicted) in [(true, true), (true, false), (false, true), (false, false)] {
            let mut other = *other;
            let more = *other.cell(label, predicted);
            let cell = self.cell(label, predicted);
            *cell = cell.saturating_add(more);
        }
    }

    fn rows(&self) -> f64 {
        self.labelled(true) + self.labelled(false)
    }

    /// Rows whose label is (not) positive.
    fn labelled(&self, positive: bool) -> f64 {
        if positive {
            float(self.true_positive) + float(self.false_negative)
        } else {
            float(self.true_negative) + float(self.false_positive)
        }
    }

    /// Rows whose prediction is (not) positive.
    fn predicted(&self, positive: bool) -> f64 {
        if positive {
            float(self.true_positive) + float(self.false_positive)
        } else {
            float(self.true_negative) + float(self.false_negative)
        }
    }
}

/// The rows of a and of d.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Table {
    advantaged: Quadrants,
    disadvantaged: Quadrants,
}

impl Table {
    pub(super) fn cell(&mut self, facet: bool, label: bool, predicted: bool) -> &mut u64 {
        let group = if facet {
            &mut self.disadvantaged
        } else {
            &mut self.advantaged
        };
        group.cell(label, predicted)
    }

    fn merge(&mut self, other: &Self) {
        self.advantaged.merge(&other.advantaged);
        self.disadvantaged.merge(&other.disadvantaged);
    }
}

/// What is known of the subgroups within which [`Metric::Cddl`] and [`Metric::Cddpl`] compare.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Subgroups {
    Counted(BTreeMap<String, Table>),
    Unknown(MetricError),
}

/// Rows by facet, label, prediction and subgroup. Partitions of a dataset can be counted apart and merged.
///
/// ```
/// use analysis::bias::{FacetCounts, Metric};
///
/// let mut counts = FacetCounts::new();
/// for (facet, label, predicted) in [(true, false, false), (false, true, true), (false, true, false)] {
///     counts.add(facet, label, predicted, None);
/// }
/// assert_eq!(counts.evaluate(Metric::Dpl), Ok(1.0));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FacetCounts {
    all: Table,
    subgroups: Subgroups,
}

impl Default for FacetCounts {
    fn default() -> Self {
        Self::new()
    }
}

impl FacetCounts {
    /// No rows, and no subgroups.
    pub fn new() -> Self {
        Self::without_subgroups(MetricError::NoGroup)
    }

    /// No rows; those to come are of subgroups.
    pub fn with_subgroups() -> Self {
        Self {
            all: Table::default(),
            subgroups: Subgroups::Counted(BTreeMap::new()),
        }
    }

    /// No rows; there are no subgroups, for a reason.
    pub fn without_subgroups(reason: MetricError) -> Self {
        Self {
            all: Table::default(),
            subgroups: Subgroups::Unknown(reason),
        }
    }

    /// Counts a row. `facet` is true for a row of d, `label` and `predicted` where they are positive. Without
    /// predictions, any value of `predicted` does for the metrics of [`Stage::PreTraining`]. A row without a subgroup is
    /// not counted in any.
    pub fn add(&mut self, facet: bool, label: bool, predicted: bool, group: Option<&str>) {
        let mut row = Table::default();
        *row.cell(facet, label, predicted) = 1;
        self.all.merge(&row);
        if let Some(group) = group {
            self.count_subgroup(group, &row);
        }
    }

    /// Counts many rows of no subgroup.
    pub(super) fn add_table(&mut self, table: &Table) {
        self.all.merge(table);
    }

    /// Counts many rows of a subgroup.
    pub(super) fn add_subgroup(&mut self, group: &str, table: &Table) {
        self.all.merge(table);
        self.count_subgroup(group, table);
    }

    fn count_subgroup(&mut self, group: &str, table: &Table) {
        let Subgroups::Counted(tables) = &mut self.subgroups else {
            return;
        };
        if let Some(found) = tables.get_mut(group) {
            found.merge(table);
        } else {
            tables.insert(group.to_owned(), *table);
        }
    }

    /// Adds the rows of another part of the dataset. Subgroups are known of the whole only if they are of both.
    pub fn merge(&mut self, other: &Self) {
        self.all.merge(&other.all);
        match (&mut self.subgroups, &other.subgroups) {
            (Subgroups::Counted(_), Subgroups::Counted(tables)) => {
                for (group, table) in tables {
                    self.count_subgroup(group, table);
                }
            }
            (Subgroups::Counted(_), unknown @ Subgroups::Unknown(_)) => self.subgroups = unknown.clone(),
            (Subgroups::Unknown(_), _) => {}
        }
    }

    /// The counts themselves: the tables of the subgroups, and that of the rows of none.
    pub(super) fn tables(&self) -> Vec<(Option<&str>, Table)> {
        let mut rest = self.all;
        let mut tables = Vec::new();
        if let Subgroups::Counted(counted) = &self.subgroups {
            for (group, table) in counted {
                for (facet, label, predicted) in cells() {
                    let taken = *table.clone().cell(facet, label, predicted);
                    let cell = rest.cell(facet, label, predicted);
                    *cell = cell.saturating_sub(taken);
                }
                tables.push((Some(group.as_str()), *table));
            }
        }
        tables.push((None, rest));
        tables
    }

    /// The same kind of counts, without rows.
    pub(super) fn emptied(&self) -> Self {
        Self {
            all: Table::default(),
            subgroups: match &self.subgroups {
                Subgroups::Counted(_) => Subgroups::Counted(BTreeMap::new()),
                unknown @ Subgroups::Unknown(_) => unknown.clone(),
            },
        }
    }

    /// All metrics of [`Stage::PreTraining`], by name.
    pub fn pre_training(&self) -> Vec<MetricResult> {
        let result = |metric| MetricResult {
            metric,
            outcome: self.evaluate(metric),
        };
        Metric::of(Stage::PreTraining).map(result).collect()
    }

    /// All metrics of [`Stage::PostTraining`], by name. That of the flip test is not in the counts.
    pub fn post_training(&self, flip_test: &Result<f64, MetricError>) -> Vec<MetricResult> {
        let result = |metric| MetricResult {
            metric,
            outcome: match metric {
                Metric::Ft => flip_test.clone(),
                _ => self.evaluate(metric),
            },
        };
        Metric::of(Stage::PostTraining).map(result).collect()
    }

    /// One metric.
    ///
    /// # Errors
    /// If d or a is empty (all metrics but CDDL, CDDPL and GE), or as the metric's own definition says; always for
    /// [`Metric::Ft`].
    pub fn evaluate(&self, metric: Metric) -> Result<f64, MetricError> {
        match metric {
            Metric::Cddl => return self.conditional_disparity(Quadrants::labelled),
            Metric::Cddpl => return self.conditional_disparity(Quadrants::predicted),
            Metric::Ge => return self.generalized_entropy(),
            _ => self.both_groups()?,
        }
        let (a, d) = (&self.all.advantaged, &self.all.disadvantaged);
        let value = match metric {
            Metric::Ci => (a.rows() - d.rows()) / (a.rows() + d.rows()),
            Metric::Dpl => a.labelled(true) / a.rows() - d.labelled(true) / d.rows(),
            Metric::Dppl => a.predicted(true) / a.rows() - d.predicted(true) / d.rows(),
            Metric::Kl => {
                let shares = self.shares()?;
                shares.iter().map(|(a, d)| a * (a / d).ln()).sum()
            }
            Metric::Js => {
                let shares = self.shares()?;
                let divergence = |(a, d): &(f64, f64)| {
                    let mean = 0.5 * (a + d);
                    0.5 * (a * (a / mean).ln() + d * (d / mean).ln())
                };
                shares.iter().map(divergence).sum()
            }
            Metric::Lp => self.differences()?.map(|d| d * d).sum::<f64>().sqrt(),
            Metric::Tvd => 0.5 * self.differences()?.sum::<f64>(),
            Metric::Ks => self.differences()?.fold(0.0, f64::max),
            Metric::Di => {
                let (a, d) = (a.predicted(true) / a.rows(), d.predicted(true) / d.rows());
                divide(d, a)
            }
            Metric::Dca => {
                let rate = |g: &Quadrants| divide(g.labelled(true), g.predicted(true));
                difference(rate(a), rate(d))
            }
            Metric::Dcr => {
                let rate = |g: &Quadrants| divide(g.labelled(false), g.predicted(false));
                difference(rate(d), rate(a))
            }
            Metric::Rd => {
                let recall = |g: &Quadrants| divide(float(g.true_positive), g.labelled(true));
                difference(recall(a), recall(d))
            }
            Metric::Sd => {
                let specificity = |g: &Quadrants| divide(float(g.true_negative), g.labelled(false));
                difference(specificity(d), specificity(a))
            }
            Metric::Dar => {
                let precision = |g: &Quadrants| divide(float(g.true_positive), g.predicted(true));
                difference(precision(a), precision(d))
            }
            Metric::Drr => {
                let rate = |g: &Quadrants| divide(float(g.true_negative), g.predicted(false));
                difference(rate(d), rate(a))
            }
            Metric::Ad => {
                let accuracy = |g: &Quadrants| divide(float(g.true_positive) + float(g.true_negative), g.rows());
                difference(accuracy(a), accuracy(d))
            }
            Metric::Te => {
                let ratio = |g: &Quadrants| divide(float(g.false_negative), float(g.false_positive));
                difference(ratio(d), ratio(a))
            }
            Metric::Ft | Metric::Cddl | Metric::Cddpl | Metric::Ge => return Err(MetricError::NoFeatures),
        };
        Ok(value)
    }

    /// Neither a nor d is empty.
    pub(super) fn both_groups(&self) -> Result<(), MetricError> {
        if self.all.disadvantaged.rows() < 1.0 {
            return Err(MetricError::EmptyFacet);
        }
        if self.all.advantaged.rows() < 1.0 {
            return Err(MetricError::EmptyComplement);
        }
        Ok(())
    }

    /// Shares of a label in a and in d, of the labels that occur in both. They are not scaled up to a sum of 1 where one
    /// was left out, as smclarify does not.
    fn shares(&self) -> Result<Vec<(f64, f64)>, MetricError> {
        let (a, d) = (&self.all.advantaged, &self.all.disadvantaged);
        let share = |positive| (a.labelled(positive) / a.rows(), d.labelled(positive) / d.rows());
        let shares: Vec<_> = [false, true]
            .map(share)
            .into_iter()
            .filter(|(a, d)| *a > 0.0 && *d > 0.0)
            .collect();
        if shares.is_empty() {
            return Err(MetricError::NoCommonLabel);
        }
        Ok(shares)
    }

    fn differences(&self) -> Result<impl Iterator<Item = f64>, MetricError> {
        Ok(self.shares()?.into_iter().map(|(a, d)| (a - d).abs()))
    }

    /// The mean over the subgroups, by their sizes, of d's share of the rejected less d's share of the accepted; a share
    /// of nothing is 0.
    fn conditional_disparity(&self, count: fn(&Quadrants, bool) -> f64) -> Result<f64, MetricError> {
        let tables = match &self.subgroups {
            Subgroups::Counted(tables) => tables,
            Subgroups::Unknown(reason) => return Err(reason.clone()),
        };
        let both = |table: &Table, positive| count(&table.advantaged, positive) + count(&table.disadvantaged, positive);
        if both(&self.all, true) < 1.0 {
            return Err(MetricError::NoPositive);
        }
        if both(&self.all, false) < 1.0 {
            return Err(MetricError::NoNegative);
        }
        let share = |table: &Table, positive| divide(count(&table.disadvantaged, positive), both(table, positive));
        let (mut sum, mut rows) = (0.0, 0.0);
        for table in tables.values() {
            let size = table.advantaged.rows() + table.disadvantaged.rows();
            sum += size * (share(table, false) - share(table, true));
            rows += size;
        }
        Ok(divide(sum, rows))
    }

    /// With alpha = 2. A row's benefit is 2 for a false positive, 0 for a false negative, else 1.
    fn generalized_entropy(&self) -> Result<f64, MetricError> {
        let mut all = self.all.advantaged;
        all.merge(&self.all.disadvantaged);
        let rows = all.rows();
        if rows < 1.0 {
            return Err(MetricError::NoRows);
        }
        let benefits = [
            (float(all.true_positive) + float(all.true_negative), 1.0),
            (float(all.false_positive), 2.0),
            (float(all.false_negative), 0.0),
        ];
        let mean = benefits.iter().map(|(rows, benefit)| rows * benefit).sum::<f64>() / rows;
        if mean <= 0.0 {
            return Err(MetricError::OnlyFalseNegatives);
        }
        let excess = |(rows, benefit): (f64, f64)| rows * ((benefit / mean).powi(2) - 1.0);
        Ok(benefits.into_iter().map(excess).sum::<f64>() / (2.0 * rows))
    }
}

/// Facet, label and prediction of the cells of a [`Table`].
pub(super) fn cells() -> impl Iterator<Item = (bool, bool, bool)> {
    (0..8).map(|bits| (bits & 4 != 0, bits & 2 != 0, bits & 1 != 0))
}

/// smclarify's division: 0/0 is 0, and what is positive by 0 is infinite.
fn divide(a: f64, b: f64) -> f64 {
    if b > 0.0 {
        a / b
    } else if a > 0.0 {
        f64::INFINITY
    } else {
        0.0
    }
}

/// Two infinities do not differ.
fn difference(a: f64, b: f64) -> f64 {
    if a.is_infinite() && b.is_infinite() { 0.0 } else { a - b }
}

#[expect(clippy::cast_precision_loss, reason = "a dataset has fewer than 2^53 rows")]
pub(super) fn float(count: u64) -> f64 {
    count as f64
}
