//! The trade-off between alert windows as an SVG and an HTML page. The page has no scripts, fonts, or network access,
//! and follows the color scheme of the system. The table on the page has all values of the plot.

use crate::Cell;
use std::fmt::Write as _;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 460.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 30.0;
const TOP: f64 = 30.0;
const BOTTOM: f64 = 60.0;

/// Style of the plot and the page. All colors have a contrast of at least 4.5:1 in both color schemes.
const STYLE: &str = "\
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #57606a; --line: #d0d7de; --ground: #ffffff; --mark: #0b5cad; --best: #b3261e; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6edf3; --soft: #9aa4af; --line: #3a424b; --ground: #0d1117; --mark: #79b8ff; --best: #ff9a8d; }
}
.backtest { font: 13px system-ui, sans-serif; fill: var(--ink); }
.backtest .grid { stroke: var(--line); stroke-width: 1; }
.backtest .axis { stroke: var(--soft); stroke-width: 1; }
.backtest .tick { fill: var(--soft); font-size: 12px; }
.backtest .best { fill: none; stroke: var(--best); stroke-width: 2; }
.backtest .mark { fill: var(--mark); }
.backtest .mark.of-best { fill: var(--best); }
.backtest .label { font-size: 11px; }
";

/// One mark of the plot.
struct Point {
    retrainings: f64,
    delay: f64,
    label: String,
    title: String,
    best: bool,
}

/// The marks of the plot. A window is best if no other window has both fewer retrainings and a shorter delay.
fn points(cells: &[Cell]) -> Vec<Point> {
    let value = |cell: &Cell| {
        let delay = cell.total.median_alert_delay_hours?;
        Some((cell.total.retrainings_per_model_and_month, delay))
    };
    let mut points: Vec<Point> = Vec::new();
    for cell in cells {
        let Some((retrainings, delay)) = value(cell) else {
            continue;
        };
        let better = cells.iter().filter_map(value).any(|(other_retrainings, other_delay)| {
            (other_retrainings < retrainings && other_delay <= delay)
                || (other_retrainings <= retrainings && other_delay < delay)
        });
        let label = format!("{}/{}", cell.datapoints_to_alert, cell.evaluation_period);
        let same =
            |point: &&mut Point| (point.retrainings - retrainings).abs() < 1e-9 && (point.delay - delay).abs() < 1e-9;
        // Windows with the same result share a mark with all their names.
        if let Some(point) = points.iter_mut().find(same) {
            if point.label.len() < 24 {
                point.label = format!("{}, {label}", point.label);
            } else if !point.label.ends_with('…') {
                point.label.push('…');
            }
            point.title = format!("{}, {label}", point.title);
            continue;
        }
        points.push(Point {
            retrainings,
            delay,
            title: label.clone(),
            label,
            best: !better,
        });
    }
    // The best windows come last, so that they are drawn above the others and labeled first.
    points.sort_by(|a, b| a.best.cmp(&b.best).then(a.retrainings.total_cmp(&b.retrainings)));
    points
}

/// A round upper limit for an axis, and the distance between its five ticks.
fn scale(largest: f64) -> (f64, f64) {
    if !largest.is_finite() || largest <= 0.0 {
        return (1.0, 0.2);
    }
    let magnitude = 10.0_f64.powf((largest / 5.0).log10().floor());
    let step = [1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 10.0]
        .into_iter()
        .map(|round| round * magnitude)
        .find(|step| step * 5.0 >= largest)
        .unwrap_or(largest / 5.0);
    (step * 5.0, step)
}

/// The trade-off as an SVG: x is the number of retrainings per model and month, y is the median alert delay, and each
/// mark is a window M/N. The line joins the windows that no other window beats in both.
pub fn svg(cells: &[Cell]) -> String {
    let points = points(cells);
    let (max_x, step_x) = scale(points.iter().map(|point| point.retrainings).fold(0.0, f64::max));
    let (max_y, step_y) = scale(points.iter().map(|point| point.delay).fold(0.0, f64::max));
    let x = |value: f64| LEFT + value / max_x * (WIDTH - LEFT - RIGHT);
    let y = |value: f64| HEIGHT - BOTTOM - value / max_y * (HEIGHT - TOP - BOTTOM);
    let mut text = format!(
        "<svg class=\"backtest\" xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" \
         aria-labelledby=\"backtest-title backtest-desc\">\n\
         <title id=\"backtest-title\">Alert windows: alert delay and retrainings</title>\n\
         <desc id=\"backtest-desc\">Each mark is an alert window: datapoints to alert / evaluation period. \
         Horizontal axis: retrainings per model and month. Vertical axis: median hours from the first violation to the alert. \
         The line joins the windows that no other window beats in both.</desc>\n<style>\n{STYLE}</style>\n"
    );
    let mut line = |class: &str, from: (f64, f64), to: (f64, f64)| {
        let _written = writeln!(
            text,
            "<line class=\"{class}\" x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\"/>",
            from.0, from.1, to.0, to.1
        );
    };
    for tick in 0..=5_u8 {
        let (at_x, at_y) = (f64::from(tick) * step_x, f64::from(tick) * step_y);
        line("grid", (x(at_x), y(0.0)), (x(at_x), y(max_y)));
        line("grid", (x(0.0), y(at_y)), (x(max_x), y(at_y)));
    }
    line("axis", (x(0.0), y(0.0)), (x(max_x), y(0.0)));
    line("axis", (x(0.0), y(0.0)), (x(0.0), y(max_y)));
    for tick in 0..=5_u8 {
        let (at_x, at_y) = (f64::from(tick) * step_x, f64::from(tick) * step_y);
        let _written = write!(
            text,
            "<text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\n\
             <text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\n",
            x(at_x),
            y(0.0) + 18.0,
            text::number(at_x),
            x(0.0) - 8.0,
            y(at_y) + 4.0,
            text::number(at_y)
        );
    }
    let _written = write!(
        text,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">retrainings per model and month</text>\n\
         <text transform=\"translate(18 {:.1}) rotate(-90)\" text-anchor=\"middle\">median alert delay (hours)</text>\n",
        f64::midpoint(LEFT, WIDTH - RIGHT),
        HEIGHT - 16.0,
        f64::midpoint(TOP, HEIGHT - BOTTOM)
    );
    let best: Vec<String> = points
        .iter()
        .filter(|point| point.best)
        .map(|point| format!("{:.1},{:.1}", x(point.retrainings), y(point.delay)))
        .collect();
    if best.len() > 1 {
        let _written = writeln!(text, "<polyline class=\"best\" points=\"{}\"/>", best.join(" "));
    }
    let mut labels: Vec<(f64, f64)> = Vec::new();
    for point in &points {
        let (at_x, at_y) = (x(point.retrainings), y(point.delay));
        let class = if point.best { "mark of-best" } else { "mark" };
        let _written = writeln!(
            text,
            "<circle class=\"{class}\" cx=\"{at_x:.1}\" cy=\"{at_y:.1}\" r=\"4\"><title>{}: retrainings per model and month {}, median delay {} h</title></circle>",
            point.title,
            text::number(point.retrainings),
            text::number(point.delay)
        );
    }
    for point in points.iter().rev() {
        let (at_x, at_y) = (x(point.retrainings), y(point.delay));
        // A label that would cover another one is left out. The table has its values.
        let clear = labels
            .iter()
            .all(|(other_x, other_y)| (at_x - other_x).abs() > 44.0 || (at_y - other_y).abs() > 13.0);
        if clear || point.best {
            labels.push((at_x, at_y));
            let near_edge = at_x > WIDTH - 120.0;
            let (offset, anchor) = if near_edge { (-7.0, "end") } else { (7.0, "start") };
            let _written = writeln!(
                text,
                "<text class=\"label\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{}</text>",
                at_x + offset,
                at_y - 5.0,
                point.label
            );
        }
    }
    text.push_str("</svg>\n");
    text
}

/// A page with the plot and the table. `summary` is plain text.
pub fn html(cells: &[Cell], summary: &str) -> String {
    let mut rows = String::new();
    for cell in cells {
        let total = &cell.total;
        let delay = total
            .median_alert_delay_hours
            .map_or_else(|| "–".to_owned(), text::number);
        let _written = writeln!(
            rows,
            "<tr><th scope=\"row\">{} of {}</th><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{delay}</td><td>{}</td></tr>",
            cell.datapoints_to_alert,
            cell.evaluation_period,
            total.alerts,
            total.incidents,
            total.retrainings,
            text::number(total.retrainings_per_model_and_month),
            total.escalations,
            text::number(total.cost)
        );
    }
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>Driftwarden backtest</title>\n\
         <style>\n{STYLE}\
         body {{ font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--ground); max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }}\n\
         svg {{ width: 100%; height: auto; }}\n.wide {{ overflow-x: auto; }}\n\
         table {{ border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }}\n\
         th, td {{ padding: 0.25rem 0.75rem; text-align: right; border-bottom: 1px solid var(--line); }}\n\
         th {{ font-weight: 600; }}\npre {{ white-space: pre-wrap; color: var(--soft); }}\n\
         @media print {{ body {{ max-width: none; }} }}\n</style>\n</head>\n<body>\n<main>\n\
         <h1>Backtest of alert windows</h1>\n<pre>{}</pre>\n\
         <figure>\n{}<figcaption>Each mark is an alert window: datapoints to alert / evaluation period. The line joins the \
         windows that no other window beats in both delay and retrainings.</figcaption>\n</figure>\n\
         <h2>Values</h2>\n<div class=\"wide\">\n<table>\n<thead><tr><th scope=\"col\">window</th><th scope=\"col\">alerts</th>\
         <th scope=\"col\">incidents</th><th scope=\"col\">retrainings</th><th scope=\"col\">per model and month</th>\
         <th scope=\"col\">escalations</th><th scope=\"col\">median delay (h)</th><th scope=\"col\">cost</th></tr></thead>\n<tbody>\n{rows}</tbody>\n</table>\n</div>\n\
         <p>A backtest cannot know how a retraining would have changed later data: later executions are replayed unchanged.</p>\n\
         </main>\n</body>\n</html>\n",
        escaped(summary),
        svg(cells)
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
