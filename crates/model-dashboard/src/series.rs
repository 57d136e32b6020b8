//! Charts of metric values over time, per feature, metric, facet, or label, with the threshold.
//!
//! Values come from two sources: the violations in a ledger, and the report's other files ([`ExecutionMetrics`]). Only the files contain
//! values of clean executions. If they cannot be read, the violations are all there is.

use crate::{
    Console,
    chart::{Range, Span},
    frame::{number, time},
};
use alerting::MonitorLedger;
use jiff::Timestamp;
use maud::{Markup, html};
use model_monitor::{Analysis, MonitorType, Quantity, Statistics};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt::Write as _};

const WIDTH: f64 = 340.0;
const HEIGHT: f64 = 120.0;
const LEFT: f64 = 46.0;
const TOP: f64 = 8.0;
const BOTTOM: f64 = 20.0;
/// Maximum number of charts per monitor, latest violations first. The other series are only listed.
const MAX_CHARTS: usize = 24;
/// Maximum number of rows in the table of a chart.
const MAX_ROWS: usize = 24;
/// Maximum number of values kept per report. Only datasets with several hundred columns have more.
const MAX_VALUES: usize = 400;

/// Metric values of one monitoring execution, read from the files of its report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExecutionMetrics {
    /// The monitoring schedule.
    pub schedule: String,
    /// Scheduled time of the execution.
    pub scheduled_time: Timestamp,
    /// Values by subject. Subjects are named as in violations: the feature, the metric, or `facet=value metric`.
    pub values: BTreeMap<String, f64>,
    /// Thresholds by subject, if the files contain them. Kept for the latest execution of a monitor only.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub thresholds: BTreeMap<String, f64>,
}

impl ExecutionMetrics {
    /// Reads the metrics of a model quality monitor from its `statistics.json`.
    pub fn values_from_statistics(statistics: &Statistics) -> BTreeMap<String, f64> {
        let tables = [
            &statistics.binary_classification_metrics,
            &statistics.multiclass_classification_metrics,
            &statistics.regression_metrics,
        ];
        let metrics = tables.into_iter().flatten().flatten();
        metrics
            .filter_map(|(name, metric)| Some((name.clone(), metric.value?)))
            .filter(|(_, value)| value.is_finite())
            .take(MAX_VALUES)
            .collect()
    }

    /// Reads the metrics of a bias monitor from its `analysis.json`: post-training metrics first, then pre-training metrics.
    pub fn values_from_analysis(analysis: &Analysis) -> BTreeMap<String, f64> {
        let stages = [
            &analysis.post_training_bias_metrics,
            &analysis.pre_training_bias_metrics,
        ];
        let mut values = BTreeMap::new();
        for (name, facets) in stages.into_iter().flatten().flat_map(|stage| &stage.facets) {
            for facet in facets {
                for metric in &facet.metrics {
                    let subject = format!("{name}={} {}", facet.value_or_threshold, metric.name);
                    if let Some(value) = metric.value.filter(|value| value.is_finite()) {
                        values.entry(subject).or_insert(value);
                    }
                }
            }
        }
        while values.len() > MAX_VALUES {
            values.pop_last();
        }
        values
    }
}

/// The values of one subject over time.
#[derive(Debug, Clone, PartialEq)]
struct Series {
    subject: String,
    check_type: String,
    /// By scheduled time: the value, and whether it violates its constraint.
    points: BTreeMap<Timestamp, (f64, bool)>,
    threshold: Option<f64>,
}

impl Series {
    /// Sort key: time of the latest violation, then number of violations.
    fn rank(&self) -> (Option<Timestamp>, usize) {
        let violated = || self.points.iter().filter(|(_, (_, violated))| *violated);
        (violated().map(|(at, _)| *at).next_back(), violated().count())
    }
}

/// The series of a monitor, latest violations first.
fn series_for(ledger: &MonitorLedger, measured: &[ExecutionMetrics]) -> Vec<Series> {
    let mut series: BTreeMap<(String, String), Series> = BTreeMap::new();
    // A feature has one value per check type. A metric has one value, whichever check compares it.
    let by_check = ledger.monitor.monitor_type == Some(MonitorType::DataQuality);
    for datapoint in &ledger.datapoints {
        let Some(report) = &datapoint.evidence.report else {
            continue;
        };
        for violation in &report.top {
            let Some(value) = violation.observed.as_ref().and_then(Quantity::as_number) else {
                continue;
            };
            let check = violation.constraint_check_type.clone();
            let key = (
                violation.subject.clone(),
                if by_check { check.clone() } else { String::new() },
            );
            let one = series.entry(key).or_insert_with(|| Series {
                subject: violation.subject.clone(),
                check_type: check,
                points: BTreeMap::new(),
                threshold: None,
            });
            one.points.insert(datapoint.scheduled_time, (value, true));
            let threshold = violation.threshold.as_ref().and_then(Quantity::as_number);
            one.threshold = threshold.or(one.threshold);
        }
    }
    let executions = measured
        .iter()
        .filter(|execution| execution.schedule == ledger.monitor.schedule);
    for execution in executions {
        for (subject, value) in &execution.values {
            let check = if by_check { "baseline_drift_check" } else { "" };
            let one = series
                .entry((subject.clone(), check.to_owned()))
                .or_insert_with(|| Series {
                    subject: subject.clone(),
                    check_type: check.to_owned(),
                    points: BTreeMap::new(),
                    threshold: None,
                });
            one.points.entry(execution.scheduled_time).or_insert((*value, false));
            one.threshold = execution.thresholds.get(subject).copied().or(one.threshold);
        }
    }
    let mut all: Vec<Series> = series.into_values().collect();
    all.sort_by(|a, b| b.rank().cmp(&a.rank()).then_with(|| a.subject.cmp(&b.subject)));
    all
}

/// The charts of a monitor.
pub(crate) fn section(ledger: &MonitorLedger, measured: &[ExecutionMetrics], console: &Console) -> Markup {
    let all = series_for(ledger, measured);
    if all.is_empty() {
        return html! {};
    }
    let monitor = &ledger.monitor;
    let kind = monitor
        .monitor_type
        .map_or("Custom", |monitor_type| monitor_type.as_str());
    let times = ledger.datapoints.iter().map(|datapoint| datapoint.scheduled_time);
    html! {
        h3 { (kind) " " span.soft { (monitor.schedule) } }
        div.sm {
            @for one in all.iter().take(MAX_CHARTS) {
                @if let Some(span) = Span::from_times(times.clone(), LEFT, WIDTH - LEFT - 20.0) { (figure(one, &span, ledger, console)) }
            }
        }
        @if all.len() > MAX_CHARTS {
            p.soft { (all.len() - MAX_CHARTS) " more without a chart: "
                (all.iter().skip(MAX_CHARTS).take(200).map(|one| one.subject.as_str()).collect::<Vec<_>>().join(", ")) }
        }
    }
}

fn figure(series: &Series, span: &Span, ledger: &MonitorLedger, console: &Console) -> Markup {
    let values = series.points.values().map(|(value, _)| *value).chain(series.threshold);
    let Some(range) = Range::from_values(values, TOP, HEIGHT - TOP - BOTTOM) else {
        return html! {};
    };
    let latest = series.points.last_key_value();
    let headline = latest.map_or_else(String::new, |(at, (value, _))| {
        format!("{} at {}", number(*value), text::time(*at))
    });
    let label = format!(
        "{} {}: {}, latest {headline}{}",
        series.subject,
        series.check_type,
        text::count(series.points.len(), "value"),
        series
            .threshold
            .map_or_else(String::new, |threshold| format!(", threshold {}", number(threshold)))
    );
    html! {
        figure.card {
            figcaption { b { (series.subject) } " " span.soft { (series.check_type) } span.la { (headline) } }
            svg viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" aria-label=(label) {
                @for (x, mark) in span.marks(4) {
                    path.grid d=(format!("M{x:.1} {TOP}V{:.1}", HEIGHT - BOTTOM)) {}
                    text.ax x=(format!("{x:.1}")) y=(HEIGHT - 5.0) text-anchor="middle" { (mark) }
                }
                @for value in [range.least, range.most] {
                    text.ax x=(LEFT - 5.0) y=(format!("{:.1}", range.y(value) + 4.0)) text-anchor="end" { (number(value)) }
                }
                @if let Some(threshold) = series.threshold {
                    @let y = range.y(threshold);
                    path.th d=(format!("M{LEFT} {y:.1}H{:.1}", span.left + span.width)) {}
                    @if (range.y(range.least) - y).abs() > 12.0 && (range.y(range.most) - y).abs() > 12.0 {
                        text.ax x=(LEFT - 5.0) y=(format!("{:.1}", y + 4.0)) text-anchor="end" { (number(threshold)) }
                    }
                }
                path.ln d=(line(series, span, &range)) {}
                path.ok d=(dots(series, span, &range, false)) {}
                path.no d=(dots(series, span, &range, true)) {}
            }
            details { summary { "Values and reports" }
                table { thead { tr { th scope="col" { "Scheduled" } th.r scope="col" { "Value" } th scope="col" { "Report" } } }
                    tbody { @for (at, (value, violated)) in series.points.iter().rev().take(MAX_ROWS) {
                        tr { th scope="row" { (time(*at)) }
                            td class=(if *violated { "r bad" } else { "r" }) { (number(*value)) }
                            td { (report(ledger, *at, console)) } }
                    } }
                }
                @if series.points.len() > MAX_ROWS { p.soft { "and " (series.points.len() - MAX_ROWS) " earlier values" } }
            }
        }
    }
}

/// Link to the report of an execution.
fn report(ledger: &MonitorLedger, at: Timestamp, console: &Console) -> Markup {
    let mut datapoints = ledger.datapoints.iter();
    let datapoint = datapoints.find(|datapoint| datapoint.scheduled_time == at);
    let report = datapoint.and_then(|datapoint| datapoint.evidence.report.as_ref());
    html! { @if let Some(report) = report { (object(&report.uri, console)) } @else { span.soft { "–" } } }
}

/// An S3 object: a link if the console is known, its URI otherwise.
pub(crate) fn object(uri: &str, console: &Console) -> Markup {
    let name = uri.rsplit('/').find(|part| !part.is_empty()).unwrap_or(uri);
    html! {
        @match console.object(uri) {
            Some(link) => a href=(link) title=(uri) { (name) },
            None => code title=(uri) { (uri) },
        }
    }
}

/// Line through consecutive values, with a gap where an execution is missing.
fn line(series: &Series, span: &Span, range: &Range) -> String {
    let mut path = String::new();
    let mut last: Option<Timestamp> = None;
    let usual = usual_gap(series);
    for (at, (value, _)) in &series.points {
        let is_consecutive = last.is_some_and(|last| at.duration_since(last).as_secs() <= usual * 3 / 2);
        let letter = if is_consecutive { 'L' } else { 'M' };
        let _written = write!(path, "{letter}{:.1} {:.1}", span.x(*at), range.y(*value));
        last = Some(*at);
    }
    path
}

/// Shortest distance between two values, in seconds.
fn usual_gap(series: &Series) -> i64 {
    let times: Vec<&Timestamp> = series.points.keys().collect();
    let gaps = times.windows(2).filter_map(|pair| match pair {
        [a, b] => Some(b.duration_since(**a).as_secs()),
        _ => None,
    });
    gaps.min().unwrap_or(i64::MAX / 4)
}

/// Markers of the values: circles for values that meet their constraint, squares for violations.
fn dots(series: &Series, span: &Span, range: &Range, violated: bool) -> String {
    let mut path = String::new();
    for (at, (value, _)) in series
        .points
        .iter()
        .filter(|(_, (_, is_violated))| *is_violated == violated)
    {
        let (x, y) = (span.x(*at), range.y(*value));
        let _written = if violated {
            write!(path, "M{:.1} {:.1}h6v6h-6z", x - 3.0, y - 3.0)
        } else {
            write!(path, "M{:.1} {y:.1}a2 2 0 1 0 4 0a2 2 0 1 0-4 0", x - 2.0)
        };
    }
    path
}
