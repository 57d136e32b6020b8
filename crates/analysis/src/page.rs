//! HTML page of a data quality analysis: one file without scripts, with the distributions of each column in the
//! baseline and in the current data.

use crate::{ConstraintViolation, data_quality::ColumnDrift};
use model_monitor::{FeatureStatistics, Statistics};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt::Write as _,
};

/// Maximum number of charts, most drifted columns first. The other columns are only listed.
const MAX_CHARTS: usize = 200;
/// Number of bins of a histogram.
const BINS: usize = 30;
/// Maximum number of values of a string column that are drawn.
const MAX_BARS: usize = 12;
/// Width of a chart, in SVG units.
const WIDTH: f64 = 420.0;
const HEIGHT: f64 = 150.0;

/// Input of the page.
#[derive(Debug, Clone, Copy)]
pub struct Page<'a> {
    /// Title, for example "Data quality of churn".
    pub title: &'a str,
    /// Names of the datasets.
    pub datasets: &'a [String],
    /// Statistics of the baseline.
    pub baseline: Option<&'a Statistics>,
    /// Statistics of the current data.
    pub current: &'a Statistics,
    /// Violations.
    pub violations: &'a [ConstraintViolation],
    /// Drift of each column.
    pub drift: &'a [ColumnDrift],
    /// Notes of the analysis.
    pub notes: &'a [String],
}

const STYLE: &str = "\
:root{color-scheme:light dark;--text:#1c1c1e;--faint:#6b6b70;--line:#d8d8dc;--page:#fff;--then:#0072b2;--now:#d55e00;--bad:#b3261e;--good:#2e7d32}\
@media(prefers-color-scheme:dark){:root{--text:#ececf0;--faint:#a0a0a8;--line:#3a3a40;--page:#16161a;--then:#56b4e9;--now:#e69f00;--bad:#ff8a80;--good:#81c784}}\
body{font:15px/1.5 system-ui,sans-serif;color:var(--text);background:var(--page);max-width:960px;margin:2rem auto;padding:0 1rem}\
h1{font-size:1.5rem;margin:0}h2{font-size:1.15rem;margin:2.2rem 0 .6rem}h3{font-size:1rem;margin:0}.faint{color:var(--faint)}\
.verdict{font-size:1.15rem;font-weight:600;margin:.4rem 0}.bad{color:var(--bad)}.good{color:var(--good)}\
table{border-collapse:collapse;width:100%}th{text-align:left;font-weight:600}td,th{padding:.25rem .6rem .25rem 0;border-bottom:1px solid var(--line);vertical-align:top}\
.n{text-align:right;font-variant-numeric:tabular-nums}section{border-top:1px solid var(--line);padding:1rem 0;break-inside:avoid}\
.columns{display:grid;grid-template-columns:minmax(0,1fr) 440px;gap:1.2rem}@media(max-width:800px){.columns{grid-template-columns:1fr}}\
svg{max-width:100%;height:auto}svg text{font:11px system-ui,sans-serif;fill:var(--faint)}.then{stroke:var(--then)}.now{stroke:var(--now)}\
.fthen{fill:var(--then)}.fnow{fill:var(--now)}ul{padding-left:1.2rem}";

/// Escapes a string for HTML.
fn escaped(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            c if c.is_control() => html.push(' '),
            c => html.push(c),
        }
    }
    html
}

/// Truncates a string to a maximum number of characters, and escapes it.
fn short(text: &str, most: usize) -> String {
    let mut short: String = text.chars().take(most).collect();
    if text.chars().count() > most {
        short.push('…');
    }
    escaped(&short)
}

/// Formats a number with U+2212 as the minus sign.
fn number(value: f64) -> String {
    text::with_minus(&text::number(value))
}

#[expect(clippy::cast_precision_loss, reason = "counts of rows are below 2^53")]
fn real(count: u64) -> f64 {
    count as f64
}

/// Legend of the colors in [`column_sections`], as HTML.
pub const COLUMN_LEGEND: &str = "<svg width=\"12\" height=\"10\" aria-hidden=\"true\"><rect width=\"12\" height=\"10\" \
class=\"fthen\"/></svg> baseline &nbsp; <svg width=\"12\" height=\"10\" aria-hidden=\"true\"><rect width=\"12\" \
height=\"10\" class=\"fnow\"/></svg> current. Charts show the share of the values of each column.";

/// One section per column, with its statistics and its distributions in the current data and in the baseline. The HTML
/// is for a page that styles the classes `then`, `now`, `fthen`, `fnow`, `n`, `faint`, and `columns`.
pub fn column_sections(features: &[&FeatureStatistics], baseline: Option<&Statistics>) -> String {
    let mut html = String::new();
    for now in features {
        let mut known = baseline
            .into_iter()
            .flat_map(|baseline| baseline.features.iter().flatten());
        let then = known.find(|feature| feature.name == now.name);
        // Writing to a string does not fail.
        let _written = column(&mut html, &now.name, then, Some(now), None);
    }
    html
}

/// Renders the page.
pub fn render(page: &Page<'_>) -> String {
    let mut html = String::new();
    match write(&mut html, page) {
        // Writing to a string does not fail.
        Ok(()) | Err(std::fmt::Error) => html,
    }
}

fn rows(statistics: &Statistics) -> u64 {
    statistics.dataset.as_ref().map_or(0, |dataset| dataset.item_count)
}

fn write(html: &mut String, page: &Page<'_>) -> std::fmt::Result {
    let title = escaped(page.title);
    write!(
        html,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width\">\
         <title>{title}</title><style>{STYLE}</style></head><body>\n<h1>{title}</h1>\n"
    )?;
    let now = rows(page.current);
    let (class, verdict) = match (now, page.violations.len()) {
        (0, _) => ("bad", "No data: nothing was checked".to_owned()),
        (_, 0) => ("good", "Clean: no violations".to_owned()),
        (_, 1) => ("bad", "1 violation".to_owned()),
        (_, count) => ("bad", format!("{count} violations")),
    };
    writeln!(html, "<p class=\"verdict {class}\">{verdict}</p>")?;
    let datasets: Vec<_> = page.datasets.iter().map(|name| escaped(name)).collect();
    write!(
        html,
        "<p class=\"faint\">{} from {}",
        text::count(now, "row"),
        datasets.join(", ")
    )?;
    match page.baseline {
        Some(baseline) => writeln!(
            html,
            ", compared with a baseline of {}</p>",
            text::count(rows(baseline), "row")
        )?,
        None => writeln!(html, "; the baseline has no statistics</p>")?,
    }
    violations(html, page.violations)?;
    if !page.notes.is_empty() {
        html.push_str("<h2>Notes</h2>\n<ul>\n");
        for note in page.notes {
            writeln!(html, "<li>{}</li>", escaped(note))?;
        }
        html.push_str("</ul>\n");
    }
    columns(html, page)?;
    html.push_str("</body></html>\n");
    Ok(())
}

fn violations(html: &mut String, violations: &[ConstraintViolation]) -> std::fmt::Result {
    if violations.is_empty() {
        return Ok(());
    }
    html.push_str("<h2>Violations</h2>\n<table><thead><tr><th>Column</th><th>Check</th><th>Description</th></tr></thead><tbody>\n");
    for violation in violations {
        writeln!(
            html,
            "<tr><td>{}</td><td>{}</td><td>{}</td></tr>",
            escaped(violation.subject()),
            escaped(&violation.constraint_check_type),
            escaped(&text::rounded(&violation.description))
        )?;
    }
    html.push_str("</tbody></table>\n");
    Ok(())
}

/// All columns, those that drifted or violate a constraint first.
fn columns(html: &mut String, page: &Page<'_>) -> std::fmt::Result {
    let features = |statistics: &'_ Statistics| -> HashMap<String, FeatureStatistics> {
        let features = statistics.features.iter().flatten();
        features
            .map(|feature| (feature.name.clone(), feature.clone()))
            .collect()
    };
    let (then, now) = (page.baseline.map(features).unwrap_or_default(), features(page.current));
    let drift: HashMap<&str, &ColumnDrift> = page.drift.iter().map(|drift| (drift.name.as_str(), drift)).collect();
    let mut names: Vec<&str> = page
        .current
        .features
        .iter()
        .flatten()
        .map(|feature| feature.name.as_str())
        .collect();
    let missing = page
        .baseline
        .iter()
        .flat_map(|baseline| baseline.features.iter().flatten());
    names.extend(
        missing
            .map(|feature| feature.name.as_str())
            .filter(|name| !now.contains_key(*name)),
    );
    let violating: HashSet<&str> = page.violations.iter().map(ConstraintViolation::subject).collect();
    let rank = |name: &&str| {
        let over = drift
            .get(name)
            .map_or(f64::NEG_INFINITY, |drift| drift.distance - drift.threshold);
        (!violating.contains(name), over)
    };
    names.sort_by(|a, b| {
        let ((a_fine, a_over), (b_fine, b_over)) = (rank(a), rank(b));
        a_fine.cmp(&b_fine).then(b_over.total_cmp(&a_over))
    });
    writeln!(html, "<h2>Columns</h2>\n<p class=\"faint\">{COLUMN_LEGEND}</p>")?;
    for name in names.iter().take(MAX_CHARTS) {
        column(html, name, then.get(*name), now.get(*name), drift.get(name).copied())?;
    }
    if names.len() > MAX_CHARTS {
        let rest: Vec<_> = names.iter().skip(MAX_CHARTS).map(|name| escaped(name)).collect();
        writeln!(
            html,
            "<p class=\"faint\">{} more columns without a chart: {}</p>",
            rest.len(),
            rest.join(", ")
        )?;
    }
    Ok(())
}

fn completeness(feature: &FeatureStatistics) -> Option<String> {
    let numeric = feature.numerical_statistics.as_ref().map(|of| of.common);
    let common = numeric.or_else(|| feature.string_statistics.as_ref().map(|of| of.common))?;
    let all = common.num_present + common.num_missing;
    (all > 0).then(|| text::percent(real(common.num_present) / real(all)))
}

fn column(
    html: &mut String,
    name: &str,
    then: Option<&FeatureStatistics>,
    now: Option<&FeatureStatistics>,
    drift: Option<&ColumnDrift>,
) -> std::fmt::Result {
    write!(html, "<section><h3>{}", escaped(name))?;
    if drift.is_some_and(|drift| drift.drifted) {
        html.push_str(" <span class=\"bad\">drifted</span>");
    }
    html.push_str(
        "</h3>\n<div class=\"columns\"><table><thead><tr><td></td><th class=\"n\">baseline</th><th \
                   class=\"n\">current</th></tr></thead><tbody>\n",
    );
    let mut line = |what: &str, value: &dyn Fn(&FeatureStatistics) -> Option<String>| -> std::fmt::Result {
        let (before, after) = (then.and_then(value), now.and_then(value));
        if before.is_some() || after.is_some() {
            let shown = |value: Option<String>| value.unwrap_or_else(|| "–".to_owned());
            writeln!(
                html,
                "<tr><th>{what}</th><td class=\"n\">{}</td><td class=\"n\">{}</td></tr>",
                escaped(&shown(before)),
                escaped(&shown(after))
            )?;
        }
        Ok(())
    };
    line("type", &|feature| Some(feature.inferred_type.clone()))?;
    line("completeness", &completeness)?;
    line("mean", &|feature| {
        Some(number(feature.numerical_statistics.as_ref()?.mean))
    })?;
    line("standard deviation", &|feature| {
        Some(number(feature.numerical_statistics.as_ref()?.std_dev))
    })?;
    line("minimum", &|feature| {
        Some(number(feature.numerical_statistics.as_ref()?.min))
    })?;
    line("maximum", &|feature| {
        Some(number(feature.numerical_statistics.as_ref()?.max))
    })?;
    line("distinct values", &|feature| {
        Some(number(feature.string_statistics.as_ref()?.distinct_count))
    })?;
    if let Some(drift) = drift {
        writeln!(
            html,
            "<tr><th>distance</th><td class=\"n faint\">threshold {}</td><td class=\"n{}\">{}</td></tr>",
            number(drift.threshold),
            if drift.drifted { " bad" } else { "" },
            number(drift.distance)
        )?;
        for (what, value) in drift.measured.named() {
            writeln!(
                html,
                "<tr><th class=\"faint\">{what}</th><td></td><td class=\"n\">{}</td></tr>",
                number(value)
            )?;
        }
    }
    html.push_str("</tbody></table>\n");
    let numbers = |feature: Option<&FeatureStatistics>| feature.map(numbers).unwrap_or_default();
    let (a, b) = (numbers(then), numbers(now));
    if a.is_empty() && b.is_empty() {
        bars(
            html,
            name,
            &then.map(texts).unwrap_or_default(),
            &now.map(texts).unwrap_or_default(),
        )?;
    } else {
        histogram(html, name, &a, &b)?;
    }
    html.push_str("</div></section>\n");
    Ok(())
}

/// Numbers of a column with their weights: its values, or the items of its sketch.
fn numbers(feature: &FeatureStatistics) -> Vec<(f64, f64)> {
    let Some(distribution) = feature
        .numerical_statistics
        .as_ref()
        .and_then(|of| of.distribution.as_ref())
    else {
        return Vec::new();
    };
    let mut numbers: Vec<(f64, f64)> = Vec::new();
    if let Some(categorical) = &distribution.categorical {
        let pair = |bucket: &model_monitor::CategoricalBucket| Some((bucket.value.parse().ok()?, real(bucket.count)));
        numbers.extend(categorical.buckets.iter().filter_map(pair));
    } else if let Some(sketch) = &distribution.kll.sketch {
        let levels = sketch.data.iter().zip(0..);
        numbers.extend(levels.flat_map(|(items, level)| items.iter().map(move |item| (*item, 2f64.powi(level)))));
    } else {
        let buckets = distribution.kll.buckets.iter();
        numbers.extend(buckets.map(|bucket| (f64::midpoint(bucket.lower_bound, bucket.upper_bound), bucket.count)));
    }
    numbers.retain(|(value, weight)| value.is_finite() && weight.is_finite());
    numbers.sort_by(|a, b| a.0.total_cmp(&b.0));
    numbers
}

/// Quantile of weighted numbers.
fn quantile(numbers: &[(f64, f64)], share: f64) -> Option<f64> {
    let wanted = share * numbers.iter().map(|(_, weight)| weight).sum::<f64>();
    let mut sum = 0.0;
    let found = numbers.iter().find(|(_, weight)| {
        sum += weight;
        sum >= wanted
    });
    found.or(numbers.last()).map(|(value, _)| *value)
}

/// Draws both distributions over the range that contains nearly all values of both.
fn histogram(html: &mut String, name: &str, then: &[(f64, f64)], now: &[(f64, f64)]) -> std::fmt::Result {
    let ends = |share: f64| [quantile(then, share), quantile(now, share)].into_iter().flatten();
    let low = ends(0.005).fold(f64::INFINITY, f64::min);
    let high = ends(0.995).fold(f64::NEG_INFINITY, f64::max);
    if !(low.is_finite() && high.is_finite()) {
        return Ok(());
    }
    // A single value still needs a width.
    let (low, high) = if high > low {
        (low, high)
    } else {
        (low - 0.5, high + 0.5)
    };
    let shares = |numbers: &[(f64, f64)]| {
        let mut bins = [0.0; BINS];
        let all: f64 = numbers.iter().map(|(_, weight)| weight).sum();
        for (value, weight) in numbers {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                clippy::cast_precision_loss,
                reason = "between 0 and the bins"
            )]
            let at = (((value - low) / (high - low)) * BINS as f64).clamp(0.0, BINS as f64 - 1.0) as usize;
            if let Some(bin) = bins.get_mut(at) {
                *bin += weight / all;
            }
        }
        bins
    };
    let sides = [
        (shares(then), "then", then.is_empty()),
        (shares(now), "now", now.is_empty()),
    ];
    let most = sides
        .iter()
        .flat_map(|(bins, ..)| bins)
        .fold(0.0, |most: f64, share| most.max(*share));
    write!(
        html,
        "<svg viewBox=\"0 0 {WIDTH} {}\" role=\"img\"><title>{}: distribution in the baseline and in the current \
         data</title>",
        HEIGHT + 18.0,
        escaped(name)
    )?;
    #[expect(clippy::cast_precision_loss, reason = "few")]
    let step = WIDTH / BINS as f64;
    for (bins, class, _) in sides.iter().filter(|(.., empty)| !empty) {
        let mut path = format!("M0 {HEIGHT}");
        for (share, at) in bins.iter().zip(0u32..) {
            let (x, y) = (f64::from(at) * step, HEIGHT - share / most.max(1e-12) * (HEIGHT - 14.0));
            write!(path, "L{x:.1} {y:.1}L{:.1} {y:.1}", x + step)?;
        }
        write!(path, "L{WIDTH} {HEIGHT}")?;
        write!(
            html,
            "<path d=\"{path}\" class=\"{class} f{class}\" fill-opacity=\".15\" stroke-width=\"1.5\"/>"
        )?;
    }
    writeln!(
        html,
        "<text x=\"0\" y=\"{0}\">{1}</text><text x=\"{WIDTH}\" y=\"{0}\" text-anchor=\"end\">{2}</text>\
         <text x=\"{WIDTH}\" y=\"10\" text-anchor=\"end\">tallest bin: {3}</text></svg>",
        HEIGHT + 14.0,
        number(low),
        number(high),
        text::percent(most)
    )
}

/// Values of a string column with their shares.
fn texts(feature: &FeatureStatistics) -> BTreeMap<&str, f64> {
    let Some(string) = &feature.string_statistics else {
        return BTreeMap::new();
    };
    let present = real(string.common.num_present).max(1.0);
    let buckets = string.distribution.iter().flat_map(|of| &of.categorical.buckets);
    buckets
        .map(|bucket| (bucket.value.as_str(), real(bucket.count) / present))
        .collect()
}

/// Draws the most frequent values of both, and all other values as one.
fn bars(html: &mut String, name: &str, then: &BTreeMap<&str, f64>, now: &BTreeMap<&str, f64>) -> std::fmt::Result {
    let share = |of: &BTreeMap<&str, f64>, value: &str| of.get(value).copied().unwrap_or(0.0);
    let mut values: Vec<&str> = then.keys().chain(now.keys()).copied().collect();
    values.sort_unstable();
    values.dedup();
    let either = |value: &str| share(then, value).max(share(now, value));
    values.sort_by(|a, b| either(b).total_cmp(&either(a)));
    let mut drawn: Vec<(String, f64, f64)> = values
        .iter()
        .take(MAX_BARS)
        .map(|value| (short(value, 18), share(then, value), share(now, value)))
        .collect();
    if values.len() > MAX_BARS {
        let rest = |column: usize| {
            1.0 - drawn
                .iter()
                .map(|(_, then, now)| if column == 0 { *then } else { *now })
                .sum::<f64>()
        };
        let (a, b) = (rest(0).max(0.0), rest(1).max(0.0));
        drawn.push((
            "other values".to_owned(),
            if then.is_empty() { 0.0 } else { a },
            if now.is_empty() { 0.0 } else { b },
        ));
    }
    if drawn.is_empty() {
        return Ok(());
    }
    let most = drawn.iter().fold(1e-12, |most: f64, (_, a, b)| most.max(*a).max(*b));
    #[expect(clippy::cast_precision_loss, reason = "few")]
    let height = drawn.len() as f64 * 20.0;
    write!(
        html,
        "<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\"><title>{}: shares of the values in the baseline and in \
         the current data</title>",
        escaped(name)
    )?;
    for ((value, then, now), at) in drawn.iter().zip(0u32..) {
        let y = f64::from(at) * 20.0;
        let width = |share: f64| share / most * (WIDTH - 190.0);
        write!(
            html,
            "<text x=\"122\" y=\"{:.1}\" text-anchor=\"end\">{value}</text>\
             <rect x=\"130\" y=\"{:.1}\" width=\"{:.1}\" height=\"7\" class=\"fthen\"/>\
             <rect x=\"130\" y=\"{:.1}\" width=\"{:.1}\" height=\"7\" class=\"fnow\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            y + 13.0,
            y + 2.0,
            width(*then),
            y + 9.0,
            width(*now),
            136.0 + width(*now),
            y + 18.0,
            text::percent(*now)
        )?;
    }
    html.push_str("</svg>\n");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Profile,
        data_quality::{Options, check, statistics, suggest},
    };
    use proptest::prelude::*;

    fn profile(cells: &[(&str, &[String])]) -> Profile {
        let mut profile = Profile::default();
        let rows = cells.iter().map(|(_, values)| values.len()).max().unwrap_or(0);
        for (name, values) in cells {
            let place = profile.column(name).unwrap();
            for value in values.iter().filter(|value| !value.is_empty()) {
                profile.at(place).unwrap().add_text(value.as_bytes());
            }
        }
        profile.add_rows(rows as u64);
        profile
    }

    fn render_page(then: &Profile, now: &Profile) -> String {
        let baseline = statistics(then);
        let constraints = suggest(then);
        let against = crate::data_quality::Baseline {
            constraints: &constraints,
            statistics: Some(&baseline),
            tolerance: None,
        };
        let found = check(now, &against, &Options::default());
        render(&Page {
            title: "Data quality of <churn>",
            datasets: &["now.csv".to_owned()],
            baseline: Some(&baseline),
            current: &statistics(now),
            violations: &found.violations,
            drift: &found.drift,
            notes: &found.notes,
        })
    }

    fn texts(of: impl Iterator<Item = String>) -> Vec<String> {
        of.collect()
    }

    #[test]
    fn page_shows_verdict_and_drifted_columns_first() {
        let plans = texts((0..400).map(|row| ["basic", "<b>plus</b>"][row % 2].to_owned()));
        let ages = |from: usize| texts((0..400).map(move |row| (from + row % 40).to_string()));
        let (then, now) = (ages(20), ages(50));
        let page = render_page(
            &profile(&[("plan", &plans), ("age", &then)]),
            &profile(&[("plan", &plans), ("age", &now)]),
        );
        assert!(page.contains("1 violation") && page.contains("Data quality of &lt;churn&gt;"));
        assert!(!page.contains("<b>plus"), "values are escaped");
        let place = |text: &str| page.find(text).unwrap();
        assert!(place("<h3>age") < place("<h3>plan"), "drifted columns come first");
        insta::assert_snapshot!(page);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_dataset_renders(
            name in "\\PC{0,8}",
            then in prop::collection::vec(prop_oneof!["-?[0-9]{1,3}(\\.[0-9])?", "\\PC{0,6}", Just("1e300".to_owned())], 0..40),
            now in prop::collection::vec(prop_oneof!["-?[0-9]{1,3}", "[<>&\"a-c]{0,3}", Just("-1e300".to_owned())], 0..40),
        ) {
            let page = render_page(&profile(&[(&name, &then)]), &profile(&[(&name, &now)]));
            prop_assert!(page.starts_with("<!doctype html>") && page.ends_with("</html>\n"));
            for path in page.split("<path d=\"").skip(1).filter_map(|rest| rest.split('"').next()) {
                prop_assert!(path.chars().all(|c| "ML -.".contains(c) || c.is_ascii_digit()), "a path contains an invalid number: {}", path);
            }
        }
    }
}
