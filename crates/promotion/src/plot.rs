//! Plot of an experiment: the confidence sequence over time as an SVG, and an HTML page with the plot and a table of all its
//! numbers. Both work without scripts, fonts, and network. Colors follow the system's light or dark mode; print is light.

use crate::{
    Conclusion, Experiment, ExperimentStage, Look, Mode, Opinion,
    words::{describe_outcome, digits},
};
use experiment::{Interval, Outcome, Reason, Sample};
use jiff::Timestamp;
use std::fmt::Write as _;

const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 500.0;
const LEFT: f64 = 78.0;
const RIGHT: f64 = 116.0;
const TOP: f64 = 84.0;
/// Height of the strip above the data that shows the traffic shares.
const STRIP: f64 = 24.0;
const BOTTOM: f64 = 84.0;
/// Largest magnitude that is drawn. Sums of larger numbers would overflow.
const MAX_VALUE: f64 = 1e100;
/// Width of a region from which on it gets a label.
const MIN_LABEL_WIDTH: f64 = 40.0;
/// Distance below which two event labels are placed on separate lines.
const MIN_LABEL_GAP: f64 = 84.0;

/// Possible intervals between marks of the time axis, in seconds.
const TIME_INTERVALS: [i64; 17] = [
    60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400, 172_800, 604_800, 1_209_600, 2_592_000,
    31_536_000,
];
/// Maximum number of marks of the time axis.
const MAX_TIME_MARKS: i64 = 8;

/// Colors are written out because not every image viewer supports CSS variables. Text and lines have a contrast of at least
/// 4.5:1 with the background in both modes.
const STYLE: &str = "\
.experiment { font: 13px system-ui, sans-serif; fill: #1b1f24; }
.experiment .ground { fill: #ffffff; }
.experiment .head { font-size: 16px; font-weight: 600; }
.experiment .soft { fill: #57606a; font-size: 12px; }
.experiment .step { fill: #57606a; }
.experiment .grid { stroke: #d8dee4; stroke-width: 1; }
.experiment .edge { stroke: #8c959f; stroke-width: 1; stroke-dasharray: 1 3; }
.experiment .zero { stroke: #1b1f24; stroke-width: 1.5; }
.experiment .margin { stroke: #b3261e; stroke-width: 1.5; stroke-dasharray: 7 4; }
.experiment .of-margin { fill: #b3261e; font-size: 12px; }
.experiment .band { fill: #0b5cad; fill-opacity: 0.2; }
.experiment .end { fill: none; stroke: #0b5cad; stroke-width: 0.75; stroke-opacity: 0.7; }
.experiment .estimate { fill: none; stroke: #0b5cad; stroke-width: 2; stroke-linejoin: round; }
.experiment .look { fill: #0b5cad; }
.experiment .good { fill: #1a7f37; }
.experiment .bad { fill: #b3261e; }
.experiment .open { fill: #9a6700; }
.experiment .found { stroke: #ffffff; stroke-width: 1.5; }
.experiment .stage { stroke: #1b1f24; stroke-width: 1; stroke-dasharray: 4 3; }
@media screen and (prefers-color-scheme: dark) {
.experiment { fill: #e6edf3; }
.experiment .ground { fill: #0d1117; }
.experiment .soft { fill: #9aa4af; }
.experiment .step { fill: #9aa4af; }
.experiment .grid { stroke: #2d343c; }
.experiment .edge { stroke: #6e7681; }
.experiment .zero { stroke: #e6edf3; }
.experiment .margin { stroke: #ff9a8d; }
.experiment .of-margin { fill: #ff9a8d; }
.experiment .band { fill: #79b8ff; }
.experiment .end { stroke: #79b8ff; }
.experiment .estimate { stroke: #79b8ff; }
.experiment .look { fill: #79b8ff; }
.experiment .good { fill: #56d364; }
.experiment .bad { fill: #ff9a8d; }
.experiment .open { fill: #e3b341; }
.experiment .found { stroke: #0d1117; }
.experiment .stage { stroke: #e6edf3; }
}
";

const PAGE: &str = "\
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; color: #1b1f24; background: #ffffff; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin: 0; }
h2 { font-size: 1.15rem; margin: 2rem 0 0.5rem; }
figure { margin: 1.5rem 0; }
figure svg { width: 100%; height: auto; }
figcaption, .soft { color: #57606a; }
dl { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: 0.2rem 1rem; }
dt { color: #57606a; }
dd { margin: 0; overflow-wrap: anywhere; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: 0.2rem 0.6rem; text-align: right; border-bottom: 1px solid #d8dee4; white-space: nowrap; }
th:first-child, td:last-child, thead th:last-child { text-align: left; }
th { font-weight: 600; }
tbody th { font-weight: 400; }
@media screen and (prefers-color-scheme: dark) {
body { color: #e6edf3; background: #0d1117; }
figcaption, .soft, dt { color: #9aa4af; }
th, td { border-color: #2d343c; }
}
@media print {
body { max-width: none; margin: 0; }
thead { display: table-header-group; }
tr, figure { break-inside: avoid; }
}
";

/// Input of a plot.
#[derive(Debug, Clone, Copy)]
pub struct Plot<'a> {
    /// The experiment to draw.
    pub experiment: &'a Experiment,
    /// Final result and time of the end. `None` if the experiment is open.
    pub ended: Option<(Conclusion, Timestamp)>,
    /// Current time, at which the plot of an open experiment ends.
    pub now: Timestamp,
}

/// A look that can be drawn, with its time in seconds and its interval.
#[derive(Clone, Copy)]
struct PlottedLook<'a> {
    look: &'a Look,
    at: f64,
    low: f64,
    estimate: f64,
    high: f64,
}

/// Observed period of a traffic step.
struct Step {
    number: usize,
    share: Option<f64>,
    from: Timestamp,
    to: Timestamp,
}

/// Coordinate system of the plot.
struct Frame {
    start: Timestamp,
    seconds: f64,
    least: f64,
    most: f64,
}

impl Frame {
    fn x(&self, time: Timestamp) -> f64 {
        self.at(time.duration_since(self.start).as_secs_f64())
    }

    fn at(&self, seconds: f64) -> f64 {
        LEFT + (seconds / self.seconds).clamp(0.0, 1.0) * (WIDTH - LEFT - RIGHT)
    }

    /// Values outside the frame are placed just beyond its edge, where they are clipped.
    fn y(&self, value: f64) -> f64 {
        let share = (value - self.least) / (self.most - self.least);
        HEIGHT - BOTTOM - share.clamp(-0.2, 1.2) * (HEIGHT - TOP - STRIP - BOTTOM)
    }
}

impl<'a> Plot<'a> {
    fn looks(&self) -> &'a [Look] {
        &self.experiment.looks
    }

    /// Start and end of the time axis.
    fn span(&self) -> (Timestamp, Timestamp) {
        let (first, last) = (self.looks().first(), self.looks().last());
        let began = self
            .experiment
            .started_at
            .into_iter()
            .chain(first.map(|look| look.time));
        let start = began.min().unwrap_or(self.experiment.opened_at);
        let end = self.ended.map_or(self.now, |(_, ended)| ended);
        let end = last.map_or(end, |look| end.max(look.time));
        // The axis covers at least one minute.
        let minimum = start.saturating_add(jiff::SignedDuration::from_mins(1));
        (start, end.max(minimum.unwrap_or(Timestamp::MAX)))
    }

    fn margin(&self) -> Option<f64> {
        let comparison = self.experiment.comparison.as_ref()?;
        let margin = comparison.margin.filter(|margin| margin.abs() < MAX_VALUE)?;
        Some(if comparison.lower_is_better { margin } else { -margin })
    }

    /// Looks with an interval, grouped by test: each step is a separate test.
    fn runs(&self, start: Timestamp) -> Vec<Vec<PlottedLook<'a>>> {
        let mut runs: Vec<Vec<PlottedLook<'a>>> = Vec::new();
        let mut last: Option<&Look> = None;
        for look in self.looks() {
            let count = |look: &Look| look.champion.count.saturating_add(look.candidate.count);
            let continues = last.is_some_and(|last| last.step == look.step && count(last) <= count(look));
            last = None;
            let Some(interval) = look.interval else { continue };
            let values = [interval.low, interval.estimate, interval.high];
            if !values.iter().all(|value| value.abs() < MAX_VALUE) {
                continue;
            }
            last = Some(look);
            let seen = PlottedLook {
                look,
                at: look.time.duration_since(start).as_secs_f64(),
                low: interval.low,
                estimate: interval.estimate,
                high: interval.high,
            };
            match runs.last_mut().filter(|_| continues) {
                Some(run) => run.push(seen),
                None => runs.push(vec![seen]),
            }
        }
        runs
    }

    fn frame(&self, runs: &[Vec<PlottedLook<'_>>]) -> Frame {
        let (start, end) = self.span();
        let all = || runs.iter().flatten();
        let mut values: Vec<f64> = all().map(|seen| seen.estimate).collect();
        values.extend(self.margin());
        values.push(0.0);
        for run in runs {
            values.extend(run.last().iter().flat_map(|seen| [seen.low, seen.high]));
        }
        // The first intervals of a test are so wide that the rest would look like a line. The frame fits three of four looks.
        let (mut lows, mut highs): (Vec<f64>, Vec<f64>) = all().map(|seen| (seen.low, seen.high)).unzip();
        lows.sort_by(|a, b| b.total_cmp(a));
        highs.sort_by(f64::total_cmp);
        let shown = (lows.len() * 3 / 4).min(lows.len().saturating_sub(1));
        values.extend(lows.get(shown).into_iter().chain(highs.get(shown)));
        let least = values.iter().copied().fold(0.0, f64::min);
        let most = values.iter().copied().fold(0.0, f64::max);
        let room = if most - least > 0.0 {
            (most - least) * 0.08
        } else {
            0.01
        };
        Frame {
            start,
            seconds: end.duration_since(start).as_secs_f64(),
            least: least - room,
            most: most + room,
        }
    }

    fn steps(&self, end: Timestamp) -> Vec<Step> {
        let mut steps: Vec<Step> = Vec::new();
        for look in self.looks() {
            let same = steps
                .last()
                .is_some_and(|step| step.number == look.step && step.share == look.share);
            if let Some(step) = steps.last_mut() {
                step.to = look.time;
            }
            if !same {
                steps.push(Step {
                    number: look.step,
                    share: look.share,
                    from: look.time,
                    to: look.time,
                });
            }
        }
        let (start, _) = self.span();
        if let Some(first) = steps.first_mut() {
            first.from = start;
        }
        let tests = matches!(
            self.experiment.stage,
            ExperimentStage::Testing | ExperimentStage::Paused
        );
        if let Some(last) = steps.last_mut()
            && tests
        {
            last.to = end;
        }
        steps
    }

    /// Stage, or the final result.
    fn state(&self) -> &'static str {
        self.ended
            .map_or(self.experiment.stage.as_str(), |(conclusion, _)| conclusion.as_str())
    }

    /// Stage changes whose time is known.
    fn marks(&self) -> Vec<(Timestamp, &'static str)> {
        let mut marks: Vec<(Timestamp, &'static str)> = self
            .experiment
            .started_at
            .map(|time| (time, ExperimentStage::Testing.as_str()))
            .into_iter()
            .collect();
        match self.ended {
            Some((conclusion, time)) => marks.push((time, conclusion.as_str())),
            None if self.experiment.stage != ExperimentStage::Testing => {
                marks.push((self.experiment.since, self.experiment.stage.as_str()));
            }
            None => {}
        }
        marks
    }

    fn metric(&self) -> &str {
        let comparison = self.experiment.comparison.as_ref();
        comparison.map_or("difference", |comparison| comparison.metric.as_str())
    }

    fn summary(&self) -> String {
        let Some(look) = self.looks().last() else {
            return "no comparison yet".to_owned();
        };
        match look.interval {
            Some(interval) => {
                let coverage = self.coverage();
                let coverage = coverage.map_or_else(String::new, |percent| format!(" ({percent} confidence sequence)"));
                format!("{}{coverage}", describe_interval(&interval))
            }
            None => "too few outcomes for an interval".to_owned(),
        }
    }

    /// Coverage of the intervals, as a percentage.
    fn coverage(&self) -> Option<String> {
        let comparison = self.experiment.comparison.as_ref()?;
        Some(format!("{}%", number(100.0 * (1.0 - comparison.alpha))))
    }
}

/// Draws the confidence sequence as an SVG: the difference candidate − champion over time.
pub fn svg(plot: &Plot<'_>) -> String {
    let (start, end) = plot.span();
    let runs = plot.runs(start);
    let frame = plot.frame(&runs);
    let id: String = plot
        .experiment
        .id
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    let mut text = String::new();
    // Writing to a `String` cannot fail.
    let _written = head(&mut text, plot, &id)
        .and_then(|()| regions(&mut text, plot, &frame, end))
        .and_then(|()| axes(&mut text, plot, &frame, end))
        .and_then(|()| sequence(&mut text, plot, &frame, &runs, &id))
        .and_then(|()| marks(&mut text, plot, &frame))
        .and_then(|()| legend(&mut text, plot, &runs));
    text.push_str("</svg>\n");
    text
}

fn head(text: &mut String, plot: &Plot<'_>, id: &str) -> std::fmt::Result {
    let experiment = plot.experiment;
    let title = format!("Experiment {}: {}", experiment.id, plot.state());
    write!(
        text,
        "<svg class=\"experiment\" xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" \
         aria-labelledby=\"title-{id} desc-{id}\">\n<title id=\"title-{id}\">{}</title>\n<desc id=\"desc-{id}\">{}</desc>\n\
         <style>\n{STYLE}</style>\n<defs><clipPath id=\"clip-{id}\"><rect x=\"{LEFT}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\"/></clipPath></defs>\n\
         <rect class=\"ground\" width=\"{WIDTH}\" height=\"{HEIGHT}\"/>\n\
         <text class=\"head\" x=\"{LEFT}\" y=\"26\">{}</text>\n<text class=\"soft\" x=\"{LEFT}\" y=\"46\">{}</text>\n",
        escape(&title),
        escape(&description(plot)),
        TOP + STRIP,
        WIDTH - LEFT - RIGHT,
        HEIGHT - TOP - STRIP - BOTTOM,
        escape(&title),
        escape(&format!("{}, candidate − champion: {}", plot.metric(), plot.summary())),
    )
}

/// Text alternative of the plot.
fn description(plot: &Plot<'_>) -> String {
    let (start, end) = plot.span();
    let mut description = format!(
        "Difference between candidate and champion from {} to {}, number of looks: {}. {}, candidate − champion: {}.",
        text::time(start),
        text::time(end),
        plot.looks().len(),
        plot.metric(),
        plot.summary()
    );
    if let Some(margin) = plot.margin() {
        let _written = write!(description, " Non-inferiority margin: {}.", signed(margin));
    }
    for step in plot.steps(end) {
        let _written = write!(
            description,
            " Step {}{}: from {} to {}.",
            step.number + 1,
            share(step.share).map_or_else(String::new, |share| format!(", {share} of the traffic")),
            text::time(step.from),
            text::time(step.to)
        );
    }
    description
}

/// Draws the traffic steps. A larger share is darker.
fn regions(text: &mut String, plot: &Plot<'_>, frame: &Frame, end: Timestamp) -> std::fmt::Result {
    let steps = plot.steps(end);
    let shadow = plot.experiment.mode == Mode::Shadow;
    for step in &steps {
        let (from, to) = (frame.x(step.from), frame.x(step.to));
        let part = step
            .share
            .filter(|share| share.is_finite())
            .unwrap_or(0.0)
            .clamp(0.0, 100.0);
        let label = share(step.share).unwrap_or_else(|| if shadow { "shadow" } else { "test" }.to_owned());
        writeln!(
            text,
            "<rect class=\"step\" x=\"{from:.1}\" y=\"{TOP}\" width=\"{:.1}\" height=\"{:.1}\" fill-opacity=\"{:.3}\">\
             <title>step {}, {label}: {} to {}</title></rect>",
            (to - from).max(0.0),
            HEIGHT - TOP - BOTTOM,
            0.05 + 0.17 * part / 100.0,
            step.number + 1,
            text::time(step.from),
            text::time(step.to)
        )?;
        if to - from > MIN_LABEL_WIDTH {
            let unit = if to - from > 3.0 * MIN_LABEL_WIDTH && step.share.is_some() {
                " of the traffic"
            } else {
                ""
            };
            writeln!(
                text,
                "<text class=\"soft\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{label}{unit}</text>",
                f64::midpoint(from, to),
                TOP + 16.0
            )?;
        }
    }
    for step in steps.iter().skip(1) {
        line(
            text,
            "edge",
            (frame.x(step.from), TOP),
            (frame.x(step.from), HEIGHT - BOTTOM),
        )?;
    }
    Ok(())
}

fn line(text: &mut String, class: &str, from: (f64, f64), to: (f64, f64)) -> std::fmt::Result {
    writeln!(
        text,
        "<line class=\"{class}\" x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\"/>",
        from.0, from.1, to.0, to.1
    )
}

fn axes(text: &mut String, plot: &Plot<'_>, frame: &Frame, end: Timestamp) -> std::fmt::Result {
    let (left, right) = (LEFT, WIDTH - RIGHT);
    let (step, digits) = round_step((frame.most - frame.least) / 5.0);
    let mut at = (frame.least / step).ceil();
    while at * step <= frame.most {
        let y = frame.y(at * step);
        line(text, "grid", (left, y), (right, y))?;
        writeln!(
            text,
            "<text class=\"soft\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            left - 8.0,
            y + 4.0,
            tick(at * step, digits)
        )?;
        at += 1.0;
    }
    times(text, frame, end)?;
    let zero = frame.y(0.0);
    line(text, "zero", (left, zero), (right, zero))?;
    writeln!(
        text,
        "<text class=\"soft\" x=\"{:.1}\" y=\"{:.1}\">no difference</text>",
        right + 8.0,
        zero + 4.0
    )?;
    if let Some(margin) = plot.margin() {
        let y = frame.y(margin);
        line(text, "margin", (left, y), (right, y))?;
        // Keep the label clear of the other one.
        let beside = if (y - zero).abs() < 14.0 {
            (y - zero).signum() * 14.0 + zero
        } else {
            y
        };
        writeln!(
            text,
            "<text class=\"of-margin\" x=\"{:.1}\" y=\"{:.1}\">margin {}</text>",
            right + 8.0,
            beside + 4.0,
            signed(margin)
        )?;
    }
    if let Some(comparison) = &plot.experiment.comparison {
        let (above, below) = if comparison.lower_is_better {
            ("worse", "better")
        } else {
            ("better", "worse")
        };
        for (word, arrow, y) in [(above, '↑', TOP + STRIP + 10.0), (below, '↓', HEIGHT - BOTTOM - 4.0)] {
            let near = |other: f64| (other - y).abs() < 14.0;
            if !near(zero + 4.0) && !plot.margin().is_some_and(|margin| near(frame.y(margin) + 4.0)) {
                writeln!(
                    text,
                    "<text class=\"soft\" x=\"{:.1}\" y=\"{y:.1}\">{arrow} {word}</text>",
                    right + 8.0
                )?;
            }
        }
    }
    Ok(())
}

/// Draws the time axis, in UTC.
fn times(text: &mut String, frame: &Frame, end: Timestamp) -> std::fmt::Result {
    let (first, last) = (frame.start.as_second(), end.as_second());
    let span = last.saturating_sub(first).max(1);
    let fits = |step: &i64| span / step < MAX_TIME_MARKS;
    let step = TIME_INTERVALS
        .into_iter()
        .find(fits)
        .unwrap_or(span / MAX_TIME_MARKS + 1);
    let days = step >= 86_400;
    let (mut at, mut date) = (first.div_euclid(step) * step, String::new());
    while at <= last {
        let Some(time) = Timestamp::from_second(at).ok().filter(|_| at >= first) else {
            at = at.saturating_add(step);
            continue;
        };
        at = at.saturating_add(step);
        let x = frame.x(time);
        line(text, "grid", (x, HEIGHT - BOTTOM), (x, HEIGHT - BOTTOM + 5.0))?;
        let (above, below) = if days { ("%-d %b", "%Y") } else { ("%H:%M", "%-d %b %Y") };
        let mut label = |y: f64, caption: &str| {
            writeln!(
                text,
                "<text class=\"soft\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"middle\">{caption}</text>"
            )
        };
        label(HEIGHT - BOTTOM + 19.0, &time.strftime(above).to_string())?;
        let of = time.strftime(below).to_string();
        if of != date {
            label(HEIGHT - BOTTOM + 34.0, &of)?;
            date = of;
        }
    }
    Ok(())
}

fn sequence(
    text: &mut String,
    plot: &Plot<'_>,
    frame: &Frame,
    runs: &[Vec<PlottedLook<'_>>],
    id: &str,
) -> std::fmt::Result {
    writeln!(text, "<g clip-path=\"url(#clip-{id})\">")?;
    for run in runs {
        let along = |value: fn(&PlottedLook<'_>) -> f64| -> Vec<String> {
            let point = |seen: &PlottedLook<'_>| format!("{:.1},{:.1}", frame.at(seen.at), frame.y(value(seen)));
            run.iter().map(point).collect()
        };
        let (highs, mut lows) = (along(|seen| seen.high), along(|seen| seen.low));
        let (high, low) = (highs.join(" "), lows.join(" "));
        if let [only] = &run[..] {
            // A single look has no area.
            let (x, from, to) = (frame.at(only.at), frame.y(only.low), frame.y(only.high));
            line(text, "estimate", (x, from), (x, to))?;
        } else {
            lows.reverse();
            writeln!(text, "<polygon class=\"band\" points=\"{high} {}\"/>", lows.join(" "))?;
            writeln!(text, "<polyline class=\"end\" points=\"{high}\"/>")?;
            writeln!(text, "<polyline class=\"end\" points=\"{low}\"/>")?;
            let estimates = along(|seen| seen.estimate).join(" ");
            writeln!(text, "<polyline class=\"estimate\" points=\"{estimates}\"/>")?;
        }
    }
    for seen in runs.iter().flatten() {
        writeln!(
            text,
            "<circle class=\"look\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"2\"><title>{}</title></circle>",
            frame.at(seen.at),
            frame.y(seen.estimate),
            escape(&describe_look(seen.look))
        )?;
    }
    text.push_str("</g>\n");
    decisions(text, plot, frame, runs)
}

/// Describes a look in one line.
fn describe_look(look: &Look) -> String {
    let interval = look
        .interval
        .map_or_else(String::new, |interval| format!(": {}", describe_interval(&interval)));
    format!(
        "{}{interval}; outcomes: champion {}, candidate {}; decision: {}",
        text::time(look.time),
        text::integer(look.champion.count),
        text::integer(look.candidate.count),
        describe_outcome(look.outcome)
    )
}

/// Draws a marker at each look with a new decision.
fn decisions(text: &mut String, plot: &Plot<'_>, frame: &Frame, runs: &[Vec<PlottedLook<'_>>]) -> std::fmt::Result {
    let mut before = Outcome::Continue;
    for look in plot.looks() {
        let is_new = look.outcome != before && look.outcome != Outcome::Continue;
        before = look.outcome;
        if !is_new {
            continue;
        }
        let mut all = runs.iter().flatten();
        let seen = all.find(|seen| std::ptr::eq(seen.look, look));
        // An invalid look may have no interval.
        let (x, y) = (frame.x(look.time), frame.y(seen.map_or(0.0, |seen| seen.estimate)));
        let (class, sign) = match look.outcome {
            Outcome::Promote => ("good", format!("M{x:.1} {:.1}l7 12h-14z", y - 8.0)),
            Outcome::RollBack => ("bad", format!("M{x:.1} {:.1}l7 -12h-14z", y + 8.0)),
            Outcome::Invalid => ("bad", format!("M{x:.1} {:.1}l7 7l-7 7l-7 -7z", y - 7.0)),
            Outcome::Inconclusive | Outcome::Continue => ("open", format!("M{x:.1} {:.1}l7 7l-7 7l-7 -7z", y - 7.0)),
        };
        writeln!(
            text,
            "<path class=\"{class} found\" d=\"{sign}\"><title>{}</title></path>",
            escape(&describe_look(look))
        )?;
    }
    Ok(())
}

/// Draws the stage changes.
fn marks(text: &mut String, plot: &Plot<'_>, frame: &Frame) -> std::fmt::Result {
    let mut last = (f64::NEG_INFINITY, false);
    for (time, word) in plot.marks() {
        let x = frame.x(time);
        let raised = x - last.0 < MIN_LABEL_GAP && !last.1;
        last = (x, raised);
        let y = if raised { TOP - 22.0 } else { TOP - 8.0 };
        line(text, "stage", (x, y + 3.0), (x, HEIGHT - BOTTOM))?;
        let anchor = if x < LEFT + MIN_LABEL_WIDTH {
            "start"
        } else if x > WIDTH - RIGHT - MIN_LABEL_WIDTH {
            "end"
        } else {
            "middle"
        };
        writeln!(
            text,
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{word}</text>"
        )?;
    }
    Ok(())
}

fn legend(text: &mut String, plot: &Plot<'_>, runs: &[Vec<PlottedLook<'_>>]) -> std::fmt::Result {
    let y = HEIGHT - 18.0;
    writeln!(
        text,
        "<text class=\"soft\" x=\"{:.1}\" y=\"{y}\" text-anchor=\"end\">time (UTC)</text>",
        WIDTH - RIGHT
    )?;
    if runs.is_empty() {
        let (x, y) = (
            f64::midpoint(LEFT, WIDTH - RIGHT),
            f64::midpoint(TOP, HEIGHT - BOTTOM) - 24.0,
        );
        return writeln!(
            text,
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"middle\">{}</text>",
            escape(&plot.summary())
        );
    }
    let mut x = LEFT;
    line(text, "estimate", (x, y - 4.0), (x + 22.0, y - 4.0))?;
    writeln!(
        text,
        "<text class=\"soft\" x=\"{:.1}\" y=\"{y}\">difference</text>",
        x + 28.0
    )?;
    x += 110.0;
    write!(
        text,
        "<rect class=\"band\" x=\"{x}\" y=\"{:.1}\" width=\"22\" height=\"14\"/>\n\
         <text class=\"soft\" x=\"{:.1}\" y=\"{y}\">{}confidence sequence</text>\n",
        y - 11.0,
        x + 28.0,
        plot.coverage()
            .map_or_else(String::new, |coverage| format!("{coverage} "))
    )?;
    x += 236.0;
    let signs = [
        (Outcome::Promote, "good", "l7 12h-14z", -11.0),
        (Outcome::RollBack, "bad", "l7 -12h-14z", 2.0),
        (Outcome::Inconclusive, "open", "l7 7l-7 7l-7 -7z", -12.0),
        (Outcome::Invalid, "bad", "l7 7l-7 7l-7 -7z", -12.0),
    ];
    for (decision, class, sign, from) in signs {
        if plot.looks().iter().any(|look| look.outcome == decision) {
            writeln!(
                text,
                "<path class=\"{class} found\" d=\"M{:.1} {:.1}{sign}\"/><text class=\"soft\" x=\"{:.1}\" y=\"{y}\">{}</text>",
                x + 7.0,
                y + from,
                x + 20.0,
                describe_outcome(decision)
            )?;
            x += 128.0;
        }
    }
    Ok(())
}

/// Page with the plot, its explanation, and a table of its numbers.
pub fn html(plot: &Plot<'_>) -> String {
    let experiment = plot.experiment;
    let title = escape(&format!("Experiment {}: {}", experiment.id, plot.state()));
    let mut facts = String::new();
    for (name, value) in list_facts(plot) {
        let _written = writeln!(facts, "<dt>{name}</dt><dd>{}</dd>", escape(&value));
    }
    let mut reasons = String::new();
    for reason in &experiment.reasons {
        let _written = writeln!(reasons, "<li>{}</li>", escape(&Reason::describe(reason)));
    }
    if !reasons.is_empty() {
        reasons = format!("<h2>Reasons of the last look</h2>\n<ul>\n{reasons}</ul>\n");
    }
    let mut rows = String::new();
    for look in plot.looks().iter().rev() {
        let end = |value: fn(&Interval) -> f64| look.interval.as_ref().map_or_else(none, |one| signed(value(one)));
        let _written = writeln!(
            rows,
            "<tr><th scope=\"row\">{}</th><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            text::minute(look.time),
            look.step + 1,
            share(look.share).unwrap_or_else(none),
            text::integer(look.champion.count),
            mean(&look.champion),
            text::integer(look.candidate.count),
            mean(&look.candidate),
            end(|interval| interval.estimate),
            end(|interval| interval.low),
            end(|interval| interval.high),
            describe_outcome(look.outcome)
        );
    }
    let table = if rows.is_empty() {
        "<p>No comparison yet.</p>\n".to_owned()
    } else {
        format!(
            "<div class=\"wide\">\n<table>\n<thead><tr><th scope=\"col\">time (UTC)</th><th scope=\"col\">step</th><th scope=\"col\">traffic share</th>\
             <th scope=\"col\">champion outcomes</th><th scope=\"col\">champion mean</th>\
             <th scope=\"col\">candidate outcomes</th><th scope=\"col\">candidate mean</th>\
             <th scope=\"col\">difference</th><th scope=\"col\">lower bound</th><th scope=\"col\">upper bound</th><th scope=\"col\">decision</th></tr></thead>\n\
             <tbody>\n{rows}</tbody>\n</table>\n</div>\n"
        )
    };
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{title}</title>\n\
         <style>\n{PAGE}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n<p>{}</p>\n\
         <figure>\n{}<figcaption>The band is a confidence sequence: it covers the true difference{} at all looks of a step \
         simultaneously, so a decision is valid at any look. Each traffic step is a separate test.</figcaption>\n</figure>\n\
         <dl>\n{facts}</dl>\n{reasons}<h2>Looks, newest first</h2>\n{table}</main>\n</body>\n</html>\n",
        escape(&experiment.sentence),
        svg(plot),
        plot.coverage()
            .map_or_else(String::new, |coverage| format!(" with a probability of {coverage}"))
    )
}

/// Properties of the experiment, as pairs of label and value.
fn list_facts(plot: &Plot<'_>) -> Vec<(&'static str, String)> {
    let experiment = plot.experiment;
    let mut facts = vec![
        ("candidate", experiment.package.arn.clone()),
        (
            "endpoint",
            format!("{}, mode {}", experiment.endpoint, experiment.mode.as_str()),
        ),
        ("opened", text::time(experiment.opened_at)),
    ];
    facts.extend(experiment.started_at.map(|time| ("both in service", text::time(time))));
    facts.extend(plot.ended.map(|(_, time)| ("ended", text::time(time))));
    if let Some(comparison) = &experiment.comparison {
        let better = if comparison.lower_is_better { "lower" } else { "higher" };
        facts.push(("metric", format!("{}, {better} is better", comparison.metric)));
        let opinion = plot
            .looks()
            .last()
            .and_then(|look| Opinion::from_look(look, comparison));
        facts.extend(opinion.map(|opinion| ("second opinion", opinion.describe())));
    }
    facts.extend(experiment.waits_for.clone().map(|what| ("waiting for", what)));
    facts
}

fn none() -> String {
    "–".to_owned()
}

fn share(share: Option<f64>) -> Option<String> {
    share.map(|share| format!("{}%", number(share)))
}

fn mean(sample: &Sample) -> String {
    if sample.count == 0 {
        none()
    } else {
        number(sample.mean())
    }
}

/// Formats an interval: `+0.0012 [-0.0031, +0.0055]`.
fn describe_interval(interval: &Interval) -> String {
    let [estimate, low, high] = [interval.estimate, interval.low, interval.high].map(signed);
    format!("{estimate} [{low}, {high}]")
}

/// Escapes a text for XML, and replaces characters that XML does not allow.
fn escape(text: &str) -> String {
    let mut xml = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => xml.push_str("&amp;"),
            '<' => xml.push_str("&lt;"),
            '>' => xml.push_str("&gt;"),
            '"' => xml.push_str("&quot;"),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => xml.push(' '),
            c => xml.push(c),
        }
    }
    xml
}

/// Smallest step of 1, 2, or 5 times a power of ten that is at least this large, with the number of decimals that it needs.
fn round_step(least: f64) -> (f64, usize) {
    let magnitude = 10.0_f64.powf(least.log10().floor());
    let mut steps = [1.0, 2.0, 5.0, 10.0].into_iter().map(|round| round * magnitude);
    let step = steps.find(|step| *step >= least).unwrap_or(10.0 * magnitude);
    (step, digits(step))
}

/// Label of an axis mark.
fn tick(value: f64, digits: usize) -> String {
    let magnitude = value.abs();
    if magnitude <= 0.0 {
        "0".to_owned()
    } else if magnitude < 1e7 && digits < 8 {
        text::with_minus(&format!("{value:.digits$}"))
    } else {
        text::with_minus(&format!("{value:e}"))
    }
}

/// Formats a number with U+2212 as the minus sign.
fn number(value: f64) -> String {
    text::with_minus(&text::number(value))
}

/// Formats a number with its sign, and U+2212 as the minus sign.
fn signed(value: f64) -> String {
    text::with_minus(&text::signed(value))
}
