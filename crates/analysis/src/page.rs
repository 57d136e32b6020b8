//! The data quality analysis as a page to look at: one HTML file without scripts, with the distributions of each column
//! before and now.

use crate::{ConstraintViolation, data_quality::ColumnDrift};
use model_monitor::{FeatureStatistics, Statistics};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt::Write as _,
};

/// So many columns are drawn, those that drifted most first; the others are listed.
const DRAWN: usize = 200;
/// Bars of a histogram.
const BINS: usize = 30;
/// Values of a text column that are drawn.
const VALUES: usize = 12;
/// The size of a plot.
const WIDTH: f64 = 420.0;
const HEIGHT: f64 = 150.0;

/// What the page shows.
#[derive(Debug, Clone, Copy)]
pub struct Page<'a> {
    /// What was analysed: «Data quality of churn».
    pub title: &'a str,
    /// The datasets.
    pub datasets: &'a [String],
    /// What the baseline's columns are like.
    pub baseline: Option<&'a Statistics>,
    /// What they are like now.
    pub current: &'a Statistics,
    /// What violates the constraints.
    pub violations: &'a [ConstraintViolation],
    /// How far each column drifted.
    pub drift: &'a [ColumnDrift],
    /// What people should know.
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

/// A text as HTML.
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

/// A text on a plot: its beginning.
fn short(text: &str, most: usize) -> String {
    let mut short: String = text.chars().take(most).collect();
    if text.chars().count() > most {
        short.push('…');
    }
    escaped(&short)
}

/// A number for people: whole, or with about four significant digits.
fn number(value: f64) -> String {
    let magnitude = value.abs();
    if !value.is_finite() {
        return model_monitor::Quantity::Number(value).to_string();
    }
    match magnitude {
        m if m < 1e7 && m.fract().abs() <= 0.0 => format!("{value:.0}"),
        m if !(1e-4..1e7).contains(&m) => format!("{value:.3e}"),
        m if m >= 1000.0 => format!("{value:.0}"),
        m if m >= 100.0 => format!("{value:.1}"),
        m if m >= 10.0 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

#[expect(clippy::cast_precision_loss, reason = "counts of rows are below 2^53")]
fn real(count: u64) -> f64 {
    count as f64
}

/// What the colours of [`column_sections`] mean, as HTML.
pub const COLUMN_LEGEND: &str = "<svg width=\"12\" height=\"10\" aria-hidden=\"true\"><rect width=\"12\" height=\"10\" \
class=\"fthen\"/></svg> baseline &nbsp; <svg width=\"12\" height=\"10\" aria-hidden=\"true\"><rect width=\"12\" \
height=\"10\" class=\"fnow\"/></svg> now. Shares of the values of each column.";

/// A section for each of some columns, with its figures and its distribution now and in the baseline: HTML for a page that
/// styles the classes `then`, `now`, `fthen`, `fnow`, `n`, `faint` and `columns`.
pub fn column_sections(features: &[&FeatureStatistics], baseline: Option<&Statistics>) -> String {
    let mut html = String::new();
    for now in features {
        let mut known = baseline
            .into_iter()
            .flat_map(|baseline| baseline.features.iter().flatten());
        let then = known.find(|feature| feature.name == now.name);
        // Writing to a text does not fail.
        let _written = column(&mut html, &now.name, then, Some(now), None);
    }
    html
}

/// Writes the page.
pub fn render(page: &Page<'_>) -> String {
    let mut html = String::new();
    match write(&mut html, page) {
        // Writing to a text cannot fail.
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
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>{title}</title><style>{STYLE}</style></head><body>\n<h1>{title}</h1>\n"
    )?;
    let now = rows(page.current);
    let (class, verdict) = match (now, page.violations.len()) {
        (0, _) => ("bad", "No data, which is not clean".to_owned()),
        (_, 0) => ("good", "Clean: nothing violates the constraints".to_owned()),
        (_, 1) => ("bad", "1 violation".to_owned()),
        (_, count) => ("bad", format!("{count} violations")),
    };
    writeln!(html, "<p class=\"verdict {class}\">{verdict}</p>")?;
    let datasets: Vec<_> = page.datasets.iter().map(|name| escaped(name)).collect();
    write!(html, "<p class=\"faint\">{now} rows of {}", datasets.join(", "))?;
    match page.baseline {
        Some(baseline) => writeln!(html, ", against a baseline of {} rows</p>", rows(baseline))?,
        None => writeln!(html, "; the baseline has no statistics</p>")?,
    }
    violations(html, page.violations)?;
    if !page.notes.is_empty() {
        html.push_str("<h2>What else there is to know</h2>\n<ul>\n");
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
    html.push_str("<h2>Violations</h2>\n<table><thead><tr><th>Column</th><th>Check</th><th>What was found</th></tr></thead><tbody>\n");
    for violation in violations {
        writeln!(
            html,
            "<tr><td>{}</td><td>{}</td><td>{}</td></tr>",
            escaped(violation.subject()),
            escaped(&violation.constraint_check_type),
            escaped(&violation.description)
        )?;
    }
    html.push_str("</tbody></table>\n");
    Ok(())
}

/// Every column: those that drifted or violate something first.
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
    for name in names.iter().take(DRAWN) {
        column(html, name, then.get(*name), now.get(*name), drift.get(name).copied())?;
    }
    if names.len() > DRAWN {
        let rest: Vec<_> = names.iter().skip(DRAWN).map(|name| escaped(name)).collect();
        writeln!(
            html,
            "<p class=\"faint\">Not drawn, {} columns: {}</p>",
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
    (all > 0).then(|| percent(real(common.num_present) / real(all)))
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
    html.push_str("</h3>\n<div class=\"columns\"><table><thead><tr><td></td><th class=\"n\">baseline</th><th class=\"n\">now</th></tr></thead><tbody>\n");
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
    line("deviation", &|feature| {
        Some(number(feature.numerical_statistics.as_ref()?.std_dev))
    })?;
    line("smallest", &|feature| {
        Some(number(feature.numerical_statistics.as_ref()?.min))
    })?;
    line("largest", &|feature| {
        Some(number(feature.numerical_statistics.as_ref()?.max))
    })?;
    line("different values", &|feature| {
        Some(number(feature.string_statistics.as_ref()?.distinct_count))
    })?;
    if let Some(drift) = drift {
        writeln!(
            html,
            "<tr><th>distance</th><td class=\"n faint\">at most {}</td><td class=\"n{}\">{}</td></tr>",
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

/// The numbers of a column with their weights: its values, or the items of its sketch.
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

/// The value below which a share of the weights lies.
fn quantile(numbers: &[(f64, f64)], share: f64) -> Option<f64> {
    let wanted = share * numbers.iter().map(|(_, weight)| weight).sum::<f64>();
    let mut sum = 0.0;
    let found = numbers.iter().find(|(_, weight)| {
        sum += weight;
        sum >= wanted
    });
    found.or(numbers.last()).map(|(value, _)| *value)
}

/// Both distributions over the range that holds nearly all of both.
fn histogram(html: &mut String, name: &str, then: &[(f64, f64)], now: &[(f64, f64)]) -> std::fmt::Result {
    let ends = |share: f64| [quantile(then, share), quantile(now, share)].into_iter().flatten();
    let low = ends(0.005).fold(f64::INFINITY, f64::min);
    let high = ends(0.995).fold(f64::NEG_INFINITY, f64::max);
    if !(low.is_finite() && high.is_finite()) {
        return Ok(());
    }
    // A single value still has a width to be drawn with.
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
        "<svg viewBox=\"0 0 {WIDTH} {}\" role=\"img\"><title>{}: distribution in the baseline and now</title>",
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
         <text x=\"{WIDTH}\" y=\"10\" text-anchor=\"end\">highest: {3}</text></svg>",
        HEIGHT + 14.0,
        number(low),
        number(high),
        percent(most)
    )
}

/// The values of a column of texts with their shares.
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

/// The most frequent values of both, and all others as one.
fn bars(html: &mut String, name: &str, then: &BTreeMap<&str, f64>, now: &BTreeMap<&str, f64>) -> std::fmt::Result {
    let share = |of: &BTreeMap<&str, f64>, value: &str| of.get(value).copied().unwrap_or(0.0);
    let mut values: Vec<&str> = then.keys().chain(now.keys()).copied().collect();
    values.sort_unstable();
    values.dedup();
    let either = |value: &str| share(then, value).max(share(now, value));
    values.sort_by(|a, b| either(b).total_cmp(&either(a)));
    let mut drawn: Vec<(String, f64, f64)> = values
        .iter()
        .take(VALUES)
        .map(|value| (short(value, 18), share(then, value), share(now, value)))
        .collect();
    if values.len() > VALUES {
        let rest = |column: usize| {
            1.0 - drawn
                .iter()
                .map(|(_, then, now)| if column == 0 { *then } else { *now })
                .sum::<f64>()
        };
        let (a, b) = (rest(0).max(0.0), rest(1).max(0.0));
        drawn.push((
            "all other".to_owned(),
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
        "<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\"><title>{}: shares of its values in the baseline and now</title>",
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
            136.0 + width(then.max(*now)),
            y + 13.0,
            percent(*now)
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

    fn page_of(then: &Profile, now: &Profile) -> String {
        let baseline = statistics(then);
        let found = check(now, &suggest(then), Some(&baseline), &Options::default());
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
    fn a_page_shows_the_verdict_and_what_drifted_first() {
        let plans = texts((0..400).map(|row| ["basic", "<b>plus</b>"][row % 2].to_owned()));
        let ages = |from: usize| texts((0..400).map(move |row| (from + row % 40).to_string()));
        let (then, now) = (ages(20), ages(50));
        let page = page_of(
            &profile(&[("plan", &plans), ("age", &then)]),
            &profile(&[("plan", &plans), ("age", &now)]),
        );
        assert!(page.contains("1 violation") && page.contains("Data quality of &lt;churn&gt;"));
        assert!(!page.contains("<b>plus"), "values are escaped");
        let place = |text: &str| page.find(text).unwrap();
        assert!(place("<h3>age") < place("<h3>plan"), "what drifted comes first");
        insta::assert_snapshot!(page);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_dataset_has_a_page(
            name in "\\PC{0,8}",
            then in prop::collection::vec(prop_oneof!["-?[0-9]{1,3}(\\.[0-9])?", "\\PC{0,6}", Just("1e300".to_owned())], 0..40),
            now in prop::collection::vec(prop_oneof!["-?[0-9]{1,3}", "[<>&\"a-c]{0,3}", Just("-1e300".to_owned())], 0..40),
        ) {
            let page = page_of(&profile(&[(&name, &then)]), &profile(&[(&name, &now)]));
            prop_assert!(page.starts_with("<!doctype html>") && page.ends_with("</html>\n"));
            for path in page.split("<path d=\"").skip(1).filter_map(|rest| rest.split('"').next()) {
                prop_assert!(path.chars().all(|c| "ML -.".contains(c) || c.is_ascii_digit()), "a plot has a number that is none: {}", path);
            }
        }
    }
}
