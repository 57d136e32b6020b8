//! What monitors measured over time: by feature, metric, facet or label, with the threshold that it is held against.
//!
//! Two sources: the violations that a ledger keeps, which is all there is of an execution whose report cannot be read, and
//! the report's other files, which tell of clean executions as well ([`Measured`]).

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
/// So many pictures a monitor has at most, the worst first.
const DRAWN: usize = 24;
/// So many rows the table of a picture has.
const ROWS: usize = 24;
/// So many values are kept of one report: more are those of a dataset with very many columns.
const KEPT: usize = 400;

/// What one execution measured, out of its report's files.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// The monitoring schedule.
    pub schedule: String,
    /// Which execution.
    pub scheduled_time: Timestamp,
    /// The values by what they are of, named as violations name it: the feature, the metric, `facet=value metric`.
    pub values: BTreeMap<String, f64>,
    /// What they are held against, as far as the files tell; of the latest execution of a monitor only.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub thresholds: BTreeMap<String, f64>,
}

impl Measured {
    /// The metrics of a model quality monitor's `statistics.json`.
    pub fn of_statistics(statistics: &Statistics) -> BTreeMap<String, f64> {
        let tables = [
            &statistics.binary_classification_metrics,
            &statistics.multiclass_classification_metrics,
            &statistics.regression_metrics,
        ];
        let metrics = tables.into_iter().flatten().flatten();
        metrics
            .filter_map(|(name, metric)| Some((name.clone(), metric.value?)))
            .filter(|(_, value)| value.is_finite())
            .take(KEPT)
            .collect()
    }

    /// The metrics of a bias monitor's `analysis.json`, after training and before.
    pub fn of_analysis(analysis: &Analysis) -> BTreeMap<String, f64> {
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
        while values.len() > KEPT {
            values.pop_last();
        }
        values
    }
}

/// One thing that a monitor measures, over time.
#[derive(Debug, Clone, PartialEq)]
struct Series {
    subject: String,
    check_type: String,
    /// By scheduled time: the value, and whether it violated.
    points: BTreeMap<Timestamp, (f64, bool)>,
    threshold: Option<f64>,
}

impl Series {
    /// How lately and how far it violated: the worst first.
    fn rank(&self) -> (Option<Timestamp>, usize) {
        let violated = || self.points.iter().filter(|(_, (_, violated))| *violated);
        (violated().map(|(at, _)| *at).next_back(), violated().count())
    }
}

/// The series of a monitor, the worst first.
fn of_monitor(ledger: &MonitorLedger, measured: &[Measured]) -> Vec<Series> {
    let mut series: BTreeMap<(String, String), Series> = BTreeMap::new();
    // A feature is checked in several ways, each a quantity of its own; a metric is one, however it is compared.
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
    let of_this = measured.iter().filter(|of| of.schedule == ledger.monitor.schedule);
    for execution in of_this {
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

/// The pictures of a monitor.
pub(crate) fn section(ledger: &MonitorLedger, measured: &[Measured], console: &Console) -> Markup {
    let all = of_monitor(ledger, measured);
    if all.is_empty() {
        return html! {};
    }
    let monitor = &ledger.monitor;
    let kind = monitor.monitor_type.map_or("Custom", |of| of.as_str());
    let times = ledger.datapoints.iter().map(|datapoint| datapoint.scheduled_time);
    html! {
        h3 { (kind) " " span.soft { (monitor.schedule) } }
        div.sm {
            @for one in all.iter().take(DRAWN) {
                @if let Some(span) = Span::of(times.clone(), LEFT, WIDTH - LEFT - 20.0) { (figure(one, &span, ledger, console)) }
            }
        }
        @if all.len() > DRAWN {
            p.soft { "Not drawn, " (all.len() - DRAWN) " more: "
                (all.iter().skip(DRAWN).take(200).map(|one| one.subject.as_str()).collect::<Vec<_>>().join(", ")) }
        }
    }
}

fn figure(series: &Series, span: &Span, ledger: &MonitorLedger, console: &Console) -> Markup {
    let values = series.points.values().map(|(value, _)| *value).chain(series.threshold);
    let Some(range) = Range::of(values, TOP, HEIGHT - TOP - BOTTOM) else {
        return html! {};
    };
    let latest = series.points.last_key_value();
    let said = latest.map_or_else(String::new, |(at, (value, _))| {
        format!("{} at {}", number(*value), crate::frame::minute(*at))
    });
    let label = format!(
        "{} {}: {} values, the latest {said}{}",
        series.subject,
        series.check_type,
        series.points.len(),
        series
            .threshold
            .map_or_else(String::new, |threshold| format!(", threshold {}", number(threshold)))
    );
    html! {
        figure.card {
            figcaption { b { (series.subject) } " " span.soft { (series.check_type) } span.la { (said) } }
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
                    tbody { @for (at, (value, violated)) in series.points.iter().rev().take(ROWS) {
                        tr { th scope="row" { (time(*at)) }
                            td class=(if *violated { "r bad" } else { "r" }) { (number(*value)) }
                            td { (report(ledger, *at, console)) } }
                    } }
                }
                @if series.points.len() > ROWS { p.soft { "and " (series.points.len() - ROWS) " earlier ones" } }
            }
        }
    }
}

/// The report of an execution.
fn report(ledger: &MonitorLedger, at: Timestamp, console: &Console) -> Markup {
    let mut datapoints = ledger.datapoints.iter();
    let datapoint = datapoints.find(|datapoint| datapoint.scheduled_time == at);
    let report = datapoint.and_then(|datapoint| datapoint.evidence.report.as_ref());
    html! { @if let Some(report) = report { (object(&report.uri, console)) } @else { span.soft { "–" } } }
}

/// An object of S3, as a link if there is a console.
pub(crate) fn object(uri: &str, console: &Console) -> Markup {
    let name = uri.rsplit('/').find(|part| !part.is_empty()).unwrap_or(uri);
    html! {
        @match console.object(uri) {
            Some(link) => a href=(link) title=(uri) { (name) },
            None => code title=(uri) { (uri) },
        }
    }
}

/// A line through values that follow one another; a gap where an execution between them told nothing is not bridged.
fn line(series: &Series, span: &Span, range: &Range) -> String {
    let mut path = String::new();
    let mut last: Option<Timestamp> = None;
    let usual = usual_gap(series);
    for (at, (value, _)) in &series.points {
        let goes_on = last.is_some_and(|last| at.duration_since(last).as_secs() <= usual * 3 / 2);
        let letter = if goes_on { 'L' } else { 'M' };
        let _written = write!(path, "{letter}{:.1} {:.1}", span.x(*at), range.y(*value));
        last = Some(*at);
    }
    path
}

/// The shortest time between two values, in seconds.
fn usual_gap(series: &Series) -> i64 {
    let times: Vec<&Timestamp> = series.points.keys().collect();
    let gaps = times.windows(2).filter_map(|pair| match pair {
        [a, b] => Some(b.duration_since(**a).as_secs()),
        _ => None,
    });
    gaps.min().unwrap_or(i64::MAX / 4)
}

/// The values as dots: small circles where nothing was violated, squares that stand out where something was.
fn dots(series: &Series, span: &Span, range: &Range, violated: bool) -> String {
    let mut path = String::new();
    for (at, (value, _)) in series.points.iter().filter(|(_, (_, of))| *of == violated) {
        let (x, y) = (span.x(*at), range.y(*value));
        let _written = if violated {
            write!(path, "M{:.1} {:.1}h6v6h-6z", x - 3.0, y - 3.0)
        } else {
            write!(path, "M{:.1} {y:.1}a2 2 0 1 0 4 0a2 2 0 1 0-4 0", x - 2.0)
        };
    }
    path
}
