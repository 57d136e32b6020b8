//! The timeline of a model: one lane per monitor with its datapoints and alerts, then lanes for incidents, retrainings, and
//! experiments.

use crate::{
    Documents,
    chart::Span,
    frame::{STATES, describe_states, letter},
    history::{Bar, alerts, lanes},
};
use alerting::{DatapointState, MonitorLedger};
use jiff::Timestamp;
use maud::{Markup, html};
use std::fmt::Write as _;

const WIDTH: f64 = 1180.0;
const LEFT: f64 = 210.0;
const RIGHT: f64 = 40.0;
const LANE: f64 = 30.0;
const TOP: f64 = 8.0;
const BOTTOM: f64 = 26.0;
/// Longer labels are cut.
const MAX_LABEL_CHARS: usize = 30;

/// Draws the timeline. Without datapoints and bars it is one sentence.
pub(crate) fn timeline(documents: &Documents<'_>, now: Timestamp) -> Markup {
    let lanes = lanes(documents);
    let datapoints = documents.ledgers.iter().flat_map(|ledger| &ledger.datapoints);
    let mut times: Vec<Timestamp> = datapoints.map(|datapoint| datapoint.scheduled_time).collect();
    // Older bars are cut at the oldest datapoint: otherwise all datapoints would be squeezed together.
    let oldest = times.iter().min().copied();
    let bars = lanes.iter().flat_map(|(_, bars)| bars);
    times.extend(bars.map(|bar| oldest.map_or(bar.from, |oldest| bar.from.max(oldest))));
    if times.is_empty() {
        return html! { p.soft { "No monitoring execution has been recorded yet." } };
    }
    times.push(now);
    let Some(span) = Span::from_times(times.into_iter(), LEFT, WIDTH - LEFT - RIGHT) else {
        return html! {};
    };
    let shown: Vec<_> = lanes.iter().filter(|(_, bars)| !bars.is_empty()).collect();
    #[expect(clippy::cast_precision_loss, reason = "few lanes")]
    let height = TOP + (documents.ledgers.len() + shown.len()) as f64 * LANE;
    let mut tops = (0u32..).map(|at| TOP + f64::from(at) * LANE);
    html! {
        div.wide tabindex="0" role="region" aria-label="Timeline" {
            svg.tl viewBox=(format!("0 0 {WIDTH} {}", height + BOTTOM)) role="img" aria-labelledby="tl-title tl-desc" {
                title #tl-title { "Timeline of " (documents.model) }
                desc #tl-desc { (description(documents, &lanes)) }
                @for (x, mark) in span.marks(9) {
                    path.grid d=(format!("M{x:.1} {TOP}V{height:.1}")) {}
                    text.ax x=(format!("{x:.1}")) y=(format!("{:.1}", height + 16.0)) text-anchor="middle" { (mark) }
                }
                @for ledger in documents.ledgers {
                    @let y = tops.next().unwrap_or_default();
                    text.la x="0" y=(format!("{:.1}", y + 18.0)) { (short(&ledger.monitor.schedule)) }
                    (monitor(ledger, &span, y, now))
                }
                @for (name, bars) in shown {
                    @let y = tops.next().unwrap_or_default();
                    text.la x="0" y=(format!("{:.1}", y + 18.0)) { (name) }
                    (lane(bars, &span, y, now))
                }
            }
        }
    }
}

fn short(text: &str) -> String {
    let mut label: String = text.chars().take(MAX_LABEL_CHARS).collect();
    if text.chars().count() > MAX_LABEL_CHARS {
        label.pop();
        label.push('…');
    }
    label
}

/// Text alternative of the chart.
fn description(documents: &Documents<'_>, lanes: &[(&str, Vec<Bar>)]) -> String {
    let mut text = String::new();
    for ledger in documents.ledgers {
        let states: String = ledger
            .datapoints
            .iter()
            .map(|datapoint| letter(datapoint.state()))
            .collect();
        let _written = write!(text, "{}: {}. ", ledger.monitor.schedule, describe_states(&states));
    }
    for (name, bars) in lanes.iter().filter(|(_, bars)| !bars.is_empty()) {
        let _written = write!(text, "{name}: {}. ", bars.len());
    }
    text.push_str("The tables below contain all values.");
    text
}

/// The datapoints of a monitor, with its alerts as background.
fn monitor(ledger: &MonitorLedger, span: &Span, y: f64, now: Timestamp) -> Markup {
    let count = ledger.datapoints.len().max(1);
    #[expect(clippy::cast_precision_loss, reason = "at most some hundred")]
    let width = (span.width / count as f64 * 0.8).clamp(1.2, 7.0);
    html! {
        @for bar in alerts(ledger) {
            @let (from, to) = (span.x(bar.from), span.x(bar.to.unwrap_or(now)));
            rect.al x=(format!("{:.1}", from - width / 2.0)) y=(format!("{:.1}", y + 1.0)) width=(format!("{:.1}", (to - from + width).max(3.0))) height=(LANE - 4.0) {
                title { "InAlert" }
            }
        }
        @for (state, class) in STATES {
            @let path = marks(ledger, span, state, y, width);
            @if !path.is_empty() { path class=(class) d=(path) {} }
        }
    }
}

fn marks(ledger: &MonitorLedger, span: &Span, state: DatapointState, y: f64, width: f64) -> String {
    let (top, height) = match state {
        DatapointState::Clean => (9.0, 12.0),
        DatapointState::Violations => (4.0, 20.0),
        DatapointState::Failed => (12.0, 9.0),
        DatapointState::NoData => (16.0, 5.0),
        DatapointState::Missing => (18.0, 2.0),
    };
    let mut path = String::new();
    for datapoint in ledger.datapoints.iter().filter(|datapoint| datapoint.state() == state) {
        let x = span.x(datapoint.scheduled_time) - width / 2.0;
        let _written = write!(path, "M{x:.1} {:.0}h{width:.1}v{height:.0}h-{width:.1}z", y + top);
    }
    path
}

fn lane(bars: &[Bar], span: &Span, y: f64, now: Timestamp) -> Markup {
    let visible = |bar: &&Bar| bar.to.is_none_or(|to| to >= span.from);
    html! {
        @for bar in bars.iter().filter(visible) {
            @let (from, to) = (span.x(bar.from), span.x(bar.to.unwrap_or(now)));
            @let width = (to - from).max(5.0);
            rect class=(format!("bar {}", bar.class)) x=(format!("{from:.1}")) y=(format!("{:.1}", y + 6.0)) width=(format!("{width:.1}")) height="16" rx="3" {
                title { (bar.label) }
            }
            @let room = 7.0 * f64::from(u32::try_from(bar.label.chars().count()).unwrap_or(u32::MAX)) + 8.0;
            @if width > room { text.in x=(format!("{:.1}", from + 5.0)) y=(format!("{:.1}", y + 18.0)) { (bar.label) } }
        }
    }
}
