//! `docs/metrics.md`: what ingest publishes, found by letting the code publish; what analyze publishes, by the names in its code.

use crate::{cell, check, read, root};
use alerting::{Datapoint, Evidence, Metric, Monitor, MonitorRules, ReportEvidence, Unit};
use jiff::Timestamp;
use model_monitor::{Document, Limits};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

/// What a metric means: the comment of its name in the code.
fn meanings() -> BTreeMap<String, String> {
    let code = read("crates/alerting/src/metric.rs");
    let names = code.split("pub enum MetricName {").nth(1).unwrap();
    let mut meanings = BTreeMap::new();
    let mut comment = Vec::new();
    for line in names.split("\n}").next().unwrap().lines().map(str::trim) {
        if let Some(text) = line.strip_prefix("///") {
            comment.push(text.trim().to_owned());
        } else if !line.is_empty() {
            meanings.insert(line.trim_end_matches(',').to_owned(), comment.join(" "));
            comment.clear();
        }
    }
    meanings
}

/// The dimensions of each metric, beyond those of the monitor, as the code gives them to reports of every kind.
fn published() -> BTreeMap<(String, Vec<String>), Unit> {
    let monitor = Monitor {
        schedule: "schedule".into(),
        endpoint: Some("endpoint".into()),
        model: "model".into(),
        monitor_type: None,
    };
    let mut published = BTreeMap::new();
    for entry in std::fs::read_dir(root().join("crates/model-monitor/tests/fixtures/violations")).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        let Ok(Document::Violations(report)) = Document::parse("a report", &bytes, &Limits::default()) else {
            continue;
        };
        // One violation alone is kept, so that those that are summed are among the metrics too.
        for top in [1, 20] {
            let report = ReportEvidence::new(
                "s3://reports/r".into(),
                "\"1\"".into(),
                Timestamp::UNIX_EPOCH,
                &report,
                top,
            );
            let check_types: BTreeSet<String> = report.by_check_type.keys().cloned().collect();
            let datapoint = Datapoint {
                scheduled_time: Timestamp::UNIX_EPOCH,
                evidence: Evidence {
                    report: Some(report),
                    ..Evidence::default()
                },
            };
            for metric in Metric::of(&datapoint, &monitor, &check_types, &MonitorRules::default()) {
                let more = metric.dimensions.iter().skip(2).map(|(name, _)| name.clone()).collect();
                published.insert((metric.name.as_str().to_owned(), more), metric.unit);
            }
        }
    }
    published
}

/// Metrics of the analyses: namespace, the beginning of the name as the code has it, dimensions beyond the monitor's, meaning.
const ANALYSES: [(&str, &str, &str, &str); 10] = [
    (
        "data-metrics",
        "feature_data_",
        "–",
        "the values of a column of numbers, as a statistic set",
    ),
    (
        "data-metrics",
        "feature_non_null_",
        "–",
        "rows in which the column is present",
    ),
    (
        "data-metrics",
        "feature_baseline_drift_",
        "–",
        "the distance that is held against the constraint",
    ),
    (
        "data-metrics",
        "feature_psi_",
        "–",
        "population stability index; Driftwarden's own",
    ),
    (
        "data-metrics",
        "feature_jensen_shannon_",
        "–",
        "Jensen-Shannon distance; Driftwarden's own",
    ),
    (
        "data-metrics",
        "feature_wasserstein_",
        "–",
        "Wasserstein distance, of columns of numbers; Driftwarden's own",
    ),
    (
        "data-metrics",
        "feature_p_value_",
        "–",
        "p-value of the Kolmogorov-Smirnov, or of the chi-squared test; Driftwarden's own",
    ),
    (
        "bias-metrics",
        "bias_metric_",
        "`BiasStage`, `Label`, `LabelValue`, `Facet`, `FacetValue`",
        "a bias metric, by its short name",
    ),
    (
        "explainability-metrics",
        "feature_",
        "`ExplainabilityMethod`, `Label`, `ValueType`",
        "the global SHAP value of a column",
    ),
    (
        "explainability-metrics",
        "ExpectedValue",
        "`ExplainabilityMethod`, `Label`, `ValueType`",
        "what the model predicts on the baseline",
    ),
];

#[test]
fn the_metric_reference_is_that_of_the_code() {
    let meanings = meanings();
    let mut page = "## Of Driftwarden\n\n| metric | dimensions, beside those of the monitor | unit | value |\n| --- | --- | --- | --- |\n"
        .to_owned();
    let mut seen = BTreeSet::new();
    let published = published();
    for ((name, more), unit) in &published {
        let more: Vec<String> = more.iter().map(|name| format!("`{name}`")).collect();
        let more = if more.is_empty() {
            "–".to_owned()
        } else {
            more.join(", ")
        };
        let unit = match unit {
            Unit::Count => "Count",
            Unit::None => "None",
        };
        writeln!(
            page,
            "| `{name}` | {more} | {unit} | {} |",
            cell(meanings.get(name).unwrap())
        )
        .unwrap();
        seen.insert(name.clone());
    }
    for (name, meaning) in meanings.iter().filter(|(name, _)| !seen.contains(*name)) {
        writeln!(page, "| `{name}` | – | Count | {} |", cell(meaning)).unwrap();
    }

    page += "\n## Of the analyses\n\n| namespace | metric | more dimensions | value |\n| --- | --- | --- | --- |\n";
    for (namespace, name, dimensions, meaning) in ANALYSES {
        let shown = if name.ends_with('_') {
            format!("{name}…")
        } else {
            name.to_owned()
        };
        writeln!(page, "| `…/{namespace}` | `{shown}` | {dimensions} | {meaning} |").unwrap();
    }
    writeln!(
        page,
        "| `…/model-metrics` | by the names of statistics.json: {} | – | the metric |",
        quality()
            .into_iter()
            .map(|name| format!("`{name}`"))
            .collect::<Vec<_>>()
            .join(", ")
    )
    .unwrap();
    check("docs/metrics.md", &page);
}

/// The names of the model quality metrics, from their code: `("recall", recall),`.
fn quality() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for kind in ["binary", "multiclass", "regression"] {
        let code = read(&format!("crates/analysis/src/model_quality/{kind}.rs"));
        let code = code.split("#[cfg(test)]").next().unwrap();
        for word in code.split("(\"").skip(1).filter_map(|rest| rest.split_once("\", ")) {
            names.insert(word.0.to_owned());
        }
    }
    // Of those three it is said what is wrong with them.
    names.retain(|name| !["label", "prediction", "probability"].contains(&name.as_str()));
    names
}

#[test]
fn every_metric_of_the_analyses_is_in_the_table() {
    let code: String = [
        "crates/analysis/src/data_quality/metrics.rs",
        "crates/analyzer/src/job/bias.rs",
        "crates/analyzer/src/job/explainability.rs",
    ]
    .map(read)
    .concat();
    let named: BTreeSet<&str> = code
        .split("format!(\"")
        .skip(1)
        .filter_map(|rest| rest.split('{').next())
        .filter(|name| name.starts_with("feature_") || name.starts_with("bias_metric"))
        .collect();
    let told: BTreeSet<&str> = ANALYSES
        .iter()
        .map(|(_, name, ..)| *name)
        .filter(|name| name.ends_with('_'))
        .collect();
    assert_eq!(named, told, "left: the code, right: the table");
}
