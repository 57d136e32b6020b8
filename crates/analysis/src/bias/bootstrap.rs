//! Confidence intervals of bias metrics, from the size of the sample.

use super::{
    FacetCounts, Metric, Stage,
    counts::{Table, cells, float},
};
use crate::{
    random::Random,
    tolerance::{Deviation, SAMPLE_SIZES},
};
use statrs::function::gamma::ln_gamma;
use std::collections::BTreeMap;

/// Confidence interval of a metric. Its ends may be infinite.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// Percentile bootstrap: rows are resampled with replacement, and the interval lies between two quantiles of the metric
/// over the resamples. Because the metrics follow from counts, the counts are resampled (from a multinomial
/// distribution). So the time does not depend on the number of rows.
///
/// Clarify's guide describes a normal bootstrap interval. This one is also valid for metrics that are sometimes
/// infinite. The flip test needs rows and has no interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bootstrap {
    /// Number of resamples.
    pub resamples: u32,
    /// Confidence level, between 0 and 1.
    pub confidence: f64,
    /// Seed: the same seed gives the same resamples.
    pub seed: u64,
}

impl Default for Bootstrap {
    /// 1000 resamples, 95%.
    fn default() -> Self {
        Self {
            resamples: 1_000,
            confidence: 0.95,
            seed: 0,
        }
    }
}

impl Bootstrap {
    /// Intervals of the metrics of the stages. A metric without a value on the dataset itself, or on half of the
    /// resamples, has none.
    pub fn intervals(&self, counts: &FacetCounts, stages: &[Stage]) -> BTreeMap<Metric, Interval> {
        let samples = sample(
            counts,
            stages,
            counts.rows(),
            self.resamples,
            &mut Random::new(self.seed),
        );
        let interval = |mut sample: Vec<f64>| {
            let enough = sample.len().saturating_mul(2) > usize::try_from(self.resamples).ok()?;
            sample.sort_by(f64::total_cmp);
            let tail = (1.0 - self.confidence.clamp(0.0, 1.0)) / 2.0;
            let low = quantile(&sample, tail).filter(|_| enough)?;
            let high = quantile(&sample, 1.0 - tail)?;
            Some(Interval { low, high })
        };
        let samples = samples.into_iter();
        samples
            .filter_map(|(metric, sample)| Some((metric, interval(sample)?)))
            .collect()
    }
}

/// Number of samples for the distribution of a metric.
const SAMPLES: u32 = 1_000;

/// Distributions of the metrics of the stages in random samples of the rows, by size of the samples.
pub fn deviations(counts: &FacetCounts, stages: &[Stage]) -> BTreeMap<Metric, Vec<Deviation>> {
    let mut random = Random::new(0);
    let mut found = BTreeMap::<Metric, Vec<Deviation>>::new();
    for rows in SAMPLE_SIZES {
        for (metric, values) in sample(counts, stages, rows, SAMPLES, &mut random) {
            let deviation = Deviation::new(rows, &values, SAMPLES);
            found.entry(metric).or_default().extend(deviation);
        }
    }
    found
}

/// Values of the metrics of the stages in random samples of the rows, for the metrics that have a value on the dataset itself. A sample
/// without a value is left out.
fn sample(
    counts: &FacetCounts,
    stages: &[Stage],
    rows: u64,
    samples: u32,
    random: &mut Random,
) -> Vec<(Metric, Vec<f64>)> {
    let of_stages = |metric: &&Metric| stages.contains(&metric.stage()) && counts.evaluate(**metric).is_ok();
    let metrics = Metric::ALL.iter().filter(of_stages);
    let mut found: Vec<_> = metrics.map(|metric| (*metric, Vec::new())).collect();
    let tables = counts.tables();
    for _ in 0..samples {
        let drawn = draw(counts, &tables, rows, random);
        for (metric, values) in &mut found {
            values.extend(drawn.evaluate(*metric));
        }
    }
    found
}

/// Quantile of a sorted sample: the nearest value, because infinite values have no interpolation.
fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 0 and the number of resamples"
    )]
    let at = (share * last as f64).round() as usize;
    sorted.get(at.min(last)).copied()
}

/// Counts of a random sample of a number of rows, with replacement.
fn draw(counts: &FacetCounts, tables: &[(Option<&str>, Table)], sampled: u64, random: &mut Random) -> FacetCounts {
    // Rows of the remaining cells, and rows left to draw.
    let mut rows = counts.rows();
    let mut left = sampled;
    let mut drawn = counts.emptied();
    for (group, table) in tables {
        let mut table = *table;
        for (facet, label, predicted) in cells() {
            let cell = table.cell(facet, label, predicted);
            let of = *cell;
            *cell = if of == rows {
                left
            } else {
                binomial(left, float(of) / float(rows), random)
            };
            left -= *cell;
            rows -= of;
        }
        match group {
            Some(group) => drawn.add_subgroup(group, &table),
            None => drawn.add_table(&table),
        }
    }
    drawn
}

/// Binomial random number for `n` and `p`, by inversion from the most likely number outward. Takes some standard
/// deviations of steps.
fn binomial(n: u64, p: f64, random: &mut Random) -> u64 {
    if n == 0 || p <= 0.0 {
        return 0;
    }
    if p >= 1.0 {
        return n;
    }
    let size = float(n);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and n")]
    let mode = (((size + 1.0) * p) as u64).min(n);
    let k = float(mode);
    let ways = ln_gamma(size + 1.0) - ln_gamma(k + 1.0) - ln_gamma(size - k + 1.0);
    let top = (ways + k * p.ln() + (size - k) * (-p).ln_1p()).exp();
    let odds = p / (1.0 - p);
    let mut rest = random.unit() - top;
    let (mut low, mut high) = (Some((mode, top)), Some((mode, top)));
    while rest > 0.0 && (low.is_some() || high.is_some()) {
        high = high.filter(|(k, _)| *k < n).map(|(k, chance)| {
            let chance = chance * odds * float(n - k) / float(k + 1);
            (k + 1, chance)
        });
        if let Some((k, chance)) = high {
            rest -= chance;
            if rest <= 0.0 {
                return k;
            }
        }
        low = low.filter(|(k, _)| *k > 0).map(|(k, chance)| {
            let chance = chance * float(k) / (odds * float(n - k + 1));
            (k - 1, chance)
        });
        if let Some((k, chance)) = low {
            rest -= chance;
            if rest <= 0.0 {
                return k;
            }
        }
        // Rounding leaves nothing in the tails.
        if high.is_none_or(|(_, chance)| chance <= 0.0) && low.is_none_or(|(_, chance)| chance <= 0.0) {
            break;
        }
    }
    mode
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binomial_numbers_have_expected_mean_and_variance() {
        let mut random = Random::new(7);
        for (n, p) in [(1, 0.3), (20, 0.5), (1_000, 0.01), (1_000_000, 0.2), (1_000_000, 0.999)] {
            let draws: Vec<f64> = (0..4_000).map(|_| float(binomial(n, p, &mut random))).collect();
            let mean = draws.iter().sum::<f64>() / 4_000.0;
            let variance = draws.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 4_000.0;
            let (expected, spread) = (float(n) * p, float(n) * p * (1.0 - p));
            assert!(
                (mean - expected).abs() < 4.0 * (spread / 4_000.0).sqrt(),
                "{n} {p}: {mean}"
            );
            assert!((variance / spread - 1.0).abs() < 0.12, "{n} {p}: {variance}");
        }
    }
}
