//! `docs/reference/metrics.md`: metrics of ingest, from the metrics that the code returns; metrics of analyze, from the names in its
//! code.

use super::{cell, check, read, root};
use alerting::{Datapoint, Evidence, Metric, Monitor, MonitorRules, ReportEvidence, Unit};
use jiff::Timestamp;
use model_monitor::{Document, Limits};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

/// Meanings of the metrics: doc comments of their names in the code.
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

/// Dimensions of each metric in addition to those of the monitor, for reports of every kind.
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
        // With one violation kept, the metrics include the summed ones.
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
            for metric in Metric::for_datapoint(&datapoint, &monitor, &check_types, &MonitorRules::default()) {
                let more = metric.dimensions.iter().skip(2).map(|(name, _)| name.clone()).collect();
                published.insert((metric.name.as_str().to_owned(), more), metric.unit);
            }
        }
    }
    published
}

/// Metrics of the analyses: namespace, prefix of the name as in the code, additional dimensions, meaning.
const ANALYSES: [(&str, &str, &str, &str); 10] = [
    (
        "data-metrics",
        "feature_data_",
        "–",
        "values of a numeric column, as a statistic set",
    ),
    (
        "data-metrics",
        "feature_non_null_",
        "–",
        "number of rows with a value in the column",
    ),
    (
        "data-metrics",
        "feature_baseline_drift_",
        "–",
        "distance that is compared with the constraint",
    ),
    (
        "data-metrics",
        "feature_psi_",
        "–",
        "population stability index; not in Model Monitor",
    ),
    (
        "data-metrics",
        "feature_jensen_shannon_",
        "–",
        "Jensen-Shannon distance; not in Model Monitor",
    ),
    (
        "data-metrics",
        "feature_wasserstein_",
        "–",
        "Wasserstein distance of a numeric column; not in Model Monitor",
    ),
    (
        "data-metrics",
        "feature_p_value_",
        "–",
        "p-value of the Kolmogorov-Smirnov test or the chi-squared test; not in Model Monitor",
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
        "global SHAP value of a column",
    ),
    (
        "explainability-metrics",
        "ExpectedValue",
        "`ExplainabilityMethod`, `Label`, `ValueType`",
        "prediction of the model for the SHAP baseline",
    ),
];

#[test]
fn metric_reference_matches_code() {
    let meanings = meanings();
    let mut page = "## Table of the execution metrics\n\n| metric | dimensions, in addition to those of the monitor | unit | value |\n| --- | --- | --- | --- |\n"
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
            Unit::Seconds => "Seconds",
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

    page += "\n## Table of the analysis metrics\n\n| namespace | metric | additional dimensions | value |\n| --- | --- | --- | --- |\n";
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
        "| `…/model-metrics` | names of statistics.json: {} | – | the metric |",
        quality()
            .into_iter()
            .map(|name| format!("`{name}`"))
            .collect::<Vec<_>>()
            .join(", ")
    )
    .unwrap();
    check("docs/reference/metrics.md", &page);
}

/// Names of the model quality metrics, from their code: `("recall", recall),`.
fn quality() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for kind in ["binary", "multiclass", "regression"] {
        let code = read(&format!("crates/analysis/src/model_quality/{kind}.rs"));
        let code = code.split("#[cfg(test)]").next().unwrap();
        for word in code.split("(\"").skip(1).filter_map(|rest| rest.split_once("\", ")) {
            names.insert(word.0.to_owned());
        }
    }
    // These three are names of invalid inputs, not of metrics.
    names.retain(|name| !["label", "prediction", "probability"].contains(&name.as_str()));
    names
}

#[test]
fn table_has_every_analysis_metric() {
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
    let listed: BTreeSet<&str> = ANALYSES
        .iter()
        .map(|(_, name, ..)| *name)
        .filter(|name| name.ends_with('_'))
        .collect();
    assert_eq!(named, listed, "left: the code, right: the table");
}
