//! Bias drift: the metrics of an execution compared with those of its baseline.

use super::{Interval, Metric, Stage, column::float_text};
use crate::{
    ConstraintViolation, Judgments,
    tolerance::{MetricTolerance, Tolerance, Worse, is_same, per_check},
};
use model_monitor::{Analysis, BiasFacet, BiasMetric, BiasMetrics, ConstraintCheckType};
use std::collections::BTreeMap;

/// Relative tolerance: smaller differences come from the order of summation and are ignored.
const RELATIVE_TOLERANCE: f64 = 1e-12;

/// Result of the drift check of an execution.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DriftCheck {
    /// Metrics that are farther from "no bias" than the baseline allows, by stage (predictions first, as in Model
    /// Monitor's files), facet, value, and name.
    pub violations: Vec<ConstraintViolation>,
    /// Metrics that were checked, and metrics of the baseline or of the execution that were not. The subject is facet and value.
    pub judgments: Judgments,
}

/// Bootstrap intervals by facet, value of the facet in the execution, and metric.
pub type Intervals = BTreeMap<(String, String, Metric), Interval>;

/// Compares an execution with its baseline. A violation is a metric that is farther from 0 than in the baseline, on
/// either side. For disparate impact, which is 1 without bias, it is the distance from 1 (the guide mentions 0 only).
/// Metrics that are null or missing in either are not checked.
///
/// The interval of a facet ends at the largest value of the execution. So the interval of the baseline with the same
/// threshold is used.
///
/// With a tolerance, a metric whose value in the baseline is unedited may be farther from 0 by what a sample of `rows` rows explains.
///
/// With `intervals`, a violation also requires that the interval of the metric does not overlap the values that the
/// baseline allows. A metric without an interval is checked by its value alone.
pub fn check(
    current: &Analysis,
    baseline: &Analysis,
    intervals: Option<&Intervals>,
    tolerance: Option<(&Tolerance, u64)>,
) -> DriftCheck {
    let mut drift = DriftCheck::default();
    let leeway = Leeway { intervals, tolerance };
    let stages = |analysis: &Analysis| {
        let sections = [
            (Stage::PostTraining, &analysis.post_training_bias_metrics),
            (Stage::PreTraining, &analysis.pre_training_bias_metrics),
        ];
        sections.map(|(stage, section)| (stage, section.clone().unwrap_or_default()))
    };
    for ((stage, current), (_, baseline)) in stages(current).iter().zip(&stages(baseline)) {
        drift.check_stage(*stage, current, baseline, &leeway);
    }
    drift
}

/// What a metric of the baseline is about.
struct Subject<'a> {
    stage: Stage,
    facet: &'a str,
    facet_value: &'a str,
}

/// What a metric may be farther from 0 by.
struct Leeway<'a> {
    intervals: Option<&'a Intervals>,
    /// Tolerance, and the number of rows of the execution.
    tolerance: Option<(&'a Tolerance, u64)>,
}

impl Leeway<'_> {
    /// Margin of a metric around the baseline's value; 0 without a tolerance, and if the value was edited.
    fn margin(&self, of: &Subject<'_>, metric_name: &str, allowed: f64, value: f64) -> f64 {
        let Some((tolerance, rows)) = self.tolerance else {
            return 0.0;
        };
        let is_of = |known: &&MetricTolerance| {
            known.stage.as_deref() == Some(of.stage.section())
                && known.facet.as_deref() == Some(of.facet)
                && known.facet_value.as_deref() == Some(of.facet_value)
                && known.metric_name == metric_name
                && is_same(known.value, allowed)
        };
        let Some(known) = tolerance.metrics.iter().find(is_of) else {
            return 0.0;
        };
        let worse = if value < allowed { Worse::Smaller } else { Worse::Larger };
        // A metric may be too far from 0 on either side.
        let alpha = per_check(tolerance.false_alarm_rate, tolerance.metrics.len() * 2);
        let margin = known.margin(rows, tolerance.baseline_rows, alpha, worse);
        if margin.is_finite() { margin } else { 0.0 }
    }
}

impl DriftCheck {
    fn check_stage(&mut self, stage: Stage, current: &BiasMetrics, baseline: &BiasMetrics, leeway: &Leeway<'_>) {
        let all = |section: &BiasMetrics| -> Vec<(String, BiasFacet)> {
            let facets = section.facets.iter();
            facets
                .flat_map(|(facet, values)| values.iter().map(|value| (facet.clone(), value.clone())))
                .collect()
        };
        let find = |section: &BiasMetrics, facet: &str, value: &str| -> Option<BiasFacet> {
            let values = section.facets.get(facet)?;
            let named = values.iter().find(|found| found.value_or_threshold == value);
            let same = || {
                let threshold = threshold(value)?;
                values
                    .iter()
                    .find(|found| self::threshold(&found.value_or_threshold) == Some(threshold))
            };
            named.or_else(same).cloned()
        };
        for (facet, found) in all(baseline) {
            let of = Subject {
                stage,
                facet: &facet,
                facet_value: &found.value_or_threshold,
            };
            let run = find(current, &facet, of.facet_value);
            for constraint in &found.metrics {
                let metrics = run.as_ref().map_or(&[][..], |run| &run.metrics);
                let metric = metrics.iter().find(|metric| metric.name == constraint.name);
                let value = run.as_ref().map_or(of.facet_value, |run| &run.value_or_threshold);
                self.check_metric(&of, value, metric, constraint, leeway);
            }
        }
        for (facet, found) in all(current) {
            let constraints =
                find(baseline, &facet, &found.value_or_threshold).map_or(Vec::new(), |found| found.metrics);
            for metric in &found.metrics {
                if !constraints.iter().any(|constraint| constraint.name == metric.name) {
                    let reason = "it is not in the baseline".to_owned();
                    self.skip(&facet, &found.value_or_threshold, &metric.name, reason);
                }
            }
        }
    }

    fn skip(&mut self, facet: &str, facet_value: &str, metric_name: &str, reason: String) {
        self.judgments
            .skip(format!("{facet}={facet_value}"), metric_name, reason);
    }

    fn check_metric(
        &mut self,
        of: &Subject<'_>,
        facet_value: &str,
        metric: Option<&BiasMetric>,
        constraint: &BiasMetric,
        leeway: &Leeway<'_>,
    ) {
        let (name, facet) = (&constraint.name, of.facet);
        let Some(metric) = metric else {
            return self.skip(facet, facet_value, name, "it is not in this execution".to_owned());
        };
        let number = |metric: &BiasMetric, whose: &str| match metric.value.filter(|value| !value.is_nan()) {
            Some(value) => Ok(value),
            None => Err(match &metric.error {
                Some(error) => format!("{whose} is null: {error}"),
                None => format!("{whose} is null"),
            }),
        };
        let values =
            number(metric, "the value").and_then(|value| Ok((value, number(constraint, "the baseline value")?)));
        let (value, allowed) = match values {
            Ok(values) => values,
            Err(reason) => return self.skip(facet, facet_value, name, reason),
        };
        let known = Metric::new(name);
        let neutral = known.map_or(0.0, Metric::neutral);
        let margin = leeway.margin(of, name, allowed, value);
        let distance = (allowed - neutral).abs() + margin;
        self.judgments.judged += 1;
        if (value - neutral).abs() <= distance + RELATIVE_TOLERANCE * distance.max(1.0) {
            return;
        }
        let interval = leeway.intervals.zip(known).and_then(|(intervals, metric)| {
            let key = (facet.to_owned(), facet_value.to_owned(), metric);
            intervals.get(&key)
        });
        if interval.is_some_and(|interval| interval.low <= neutral + distance && interval.high >= neutral - distance) {
            return;
        }
        let requirement = match margin > 0.0 {
            true if allowed < neutral => neutral - distance,
            true => neutral + distance,
            false => allowed,
        };
        self.violations.push(ConstraintViolation {
            constraint_check_type: ConstraintCheckType::BiasDrift.as_str().to_owned(),
            description: format!(
                "Metric value {} doesn't meet the baseline constraint requirement {}",
                number_text(value),
                number_text(requirement)
            ),
            facet: Some(facet.to_owned()),
            facet_value: Some(facet_value.to_owned()),
            metric_name: Some(name.clone()),
            ..ConstraintViolation::default()
        });
    }
}

/// A number in a description.
fn number_text(value: f64) -> String {
    if value.is_infinite() {
        return if value > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    float_text(value)
}

/// Lower end of an interval `(40.0, 79.376]`, as bits. `None` for a value.
pub(super) fn threshold(value: &str) -> Option<u64> {
    let (low, high) = value.strip_prefix('(')?.strip_suffix(']')?.split_once(", ")?;
    high.parse::<f64>().ok()?;
    Some(low.parse::<f64>().ok()?.to_bits())
}
