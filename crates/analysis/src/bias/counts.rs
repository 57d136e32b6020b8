//! Row counts by group, label, prediction, and subgroup, and the metrics that follow from the counts.

use super::{Metric, MetricError, MetricResult, Stage};
use std::collections::BTreeMap;

/// Row counts of one group by label and prediction.
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

    /// Rows with this label.
    fn labelled(&self, positive: bool) -> f64 {
        if positive {
            float(self.true_positive) + float(self.false_negative)
        } else {
            float(self.true_negative) + float(self.false_positive)
        }
    }

    /// Rows with this prediction.
    fn predicted(&self, positive: bool) -> f64 {
        if positive {
            float(self.true_positive) + float(self.false_positive)
        } else {
            float(self.true_negative) + float(self.false_negative)
        }
    }
}

/// Rows of groups a and d.
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

/// Subgroups that [`Metric::Cddl`] and [`Metric::Cddpl`] compare within.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Subgroups {
    Counted(BTreeMap<String, Table>),
    Unknown(MetricError),
}

/// Row counts by facet, label, prediction, and subgroup. Parts of a dataset can be counted separately and merged.
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
    /// Creates empty counts without subgroups.
    pub fn new() -> Self {
        Self::without_subgroups(MetricError::NoGroup)
    }

    /// Creates empty counts with subgroups.
    pub fn with_subgroups() -> Self {
        Self {
            all: Table::default(),
            subgroups: Subgroups::Counted(BTreeMap::new()),
        }
    }

    /// Creates empty counts without subgroups, for a reason.
    pub fn without_subgroups(reason: MetricError) -> Self {
        Self {
            all: Table::default(),
            subgroups: Subgroups::Unknown(reason),
        }
    }

    /// Counts a row. `facet` is true for a row of d; `label` and `predicted` are true if positive. Without predictions,
    /// the metrics of [`Stage::PreTraining`] accept any value of `predicted`. A row without a subgroup counts in none.
    pub fn add(&mut self, facet: bool, label: bool, predicted: bool, group: Option<&str>) {
        let mut row = Table::default();
        *row.cell(facet, label, predicted) = 1;
        self.all.merge(&row);
        if let Some(group) = group {
            self.count_subgroup(group, &row);
        }
    }

    /// Counts rows without a subgroup.
    pub(super) fn add_table(&mut self, table: &Table) {
        self.all.merge(table);
    }

    /// Counts rows of a subgroup.
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

    /// Adds the rows of another part of the dataset. The whole has subgroups only if both parts have them.
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

    /// Number of rows.
    pub(super) fn rows(&self) -> u64 {
        let mut all = self.all;
        cells()
            .map(|(facet, label, predicted)| *all.cell(facet, label, predicted))
            .sum()
    }

    /// Counts: tables of the subgroups, and of the rows without a subgroup.
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

    /// Empty counts of the same kind.
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
        Metric::in_stage(Stage::PreTraining).map(result).collect()
    }

    /// All metrics of [`Stage::PostTraining`], by name. The flip test does not follow from counts.
    pub fn post_training(&self, flip_test: &Result<f64, MetricError>) -> Vec<MetricResult> {
        let result = |metric| MetricResult {
            metric,
            outcome: match metric {
                Metric::Ft => flip_test.clone(),
                _ => self.evaluate(metric),
            },
        };
        Metric::in_stage(Stage::PostTraining).map(result).collect()
    }

    /// Value of one metric.
    ///
    /// # Errors
    /// Fails if d or a is empty (all metrics except CDDL, CDDPL, and GE), or for the reasons in the definition of the
    /// metric; always for [`Metric::Ft`].
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

    /// Checks that neither a nor d is empty.
    pub(super) fn both_groups(&self) -> Result<(), MetricError> {
        if self.all.disadvantaged.rows() < 1.0 {
            return Err(MetricError::EmptyFacet);
        }
        if self.all.advantaged.rows() < 1.0 {
            return Err(MetricError::EmptyComplement);
        }
        Ok(())
    }

    /// Shares of each label in a and in d, for labels that occur in both. As in smclarify, they are not rescaled if a
    /// label was excluded.
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

    /// Mean over the subgroups, weighted by size, of d's share of the rejected minus d's share of the accepted. The
    /// share of an empty set is 0.
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

    /// Generalized entropy with alpha = 2. The benefit of a row is 2 for a false positive, 0 for a false negative,
    /// otherwise 1.
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

/// Facet, label, and prediction of the cells of a [`Table`].
pub(super) fn cells() -> impl Iterator<Item = (bool, bool, bool)> {
    (0..8).map(|bits| (bits & 4 != 0, bits & 2 != 0, bits & 1 != 0))
}

/// Division as in smclarify: 0/0 is 0, and a positive number divided by 0 is infinite.
fn divide(a: f64, b: f64) -> f64 {
    if b > 0.0 {
        a / b
    } else if a > 0.0 {
        f64::INFINITY
    } else {
        0.0
    }
}

/// The difference of two infinities is 0.
fn difference(a: f64, b: f64) -> f64 {
    if a.is_infinite() && b.is_infinite() { 0.0 } else { a - b }
}

#[expect(clippy::cast_precision_loss, reason = "a dataset has fewer than 2^53 rows")]
pub(super) fn float(count: u64) -> f64 {
    count as f64
}
