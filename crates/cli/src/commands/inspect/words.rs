//! What is in a file, for people: a line that says what it is, then a table.

use super::Content;
use model_monitor::{Analysis, Constraints, FeatureStatistics, Quantity, Statistics, Violation, ViolationReport};
use std::io::{self, Write};

/// Four columns; empty ones at the right are left out.
type Row = [String; 4];

/// Writes what is in a file.
pub(super) fn write(output: &mut dyn Write, name: &str, content: &Content) -> io::Result<()> {
    match content {
        Content::Violations(report) => violations(output, name, report),
        Content::Statistics(of) => statistics(output, name, of),
        Content::Constraints(of) => constraints(output, name, of),
        Content::Analysis(of) => analysis(output, name, of),
    }
}

fn violations(output: &mut dyn Write, name: &str, report: &ViolationReport) -> io::Result<()> {
    let kind = report
        .monitor_type
        .map_or_else(|| "of an unknown monitor".to_owned(), |kind| kind.to_string());
    writeln!(
        output,
        "{name}: violation report, {kind}, {}",
        counted(report.violations.len(), "violation")
    )?;
    let rows: Vec<Row> = report
        .violations
        .iter()
        .map(|violation| {
            [
                violation.subject.to_string(),
                violation.check_type.to_string(),
                quantity(violation.observed.as_ref()),
                quantity(violation.threshold.as_ref()),
            ]
        })
        .collect();
    table(
        output,
        ["SUBJECT", "CONSTRAINT CHECK TYPE", "OBSERVED", "THRESHOLD"],
        &rows,
    )?;
    let only_told = |violation: &&Violation| violation.observed.is_none() && violation.description.is_some();
    for violation in report.violations.iter().filter(only_told) {
        let description = violation.description.as_deref().unwrap_or_default().trim();
        writeln!(output, "  {}: {description}", violation.subject)?;
    }
    Ok(())
}

fn statistics(output: &mut dyn Write, name: &str, statistics: &Statistics) -> io::Result<()> {
    let rows = statistics
        .dataset
        .as_ref()
        .map_or_else(String::new, |of| format!(", {} rows", of.item_count));
    if let Some(features) = &statistics.features {
        writeln!(
            output,
            "{name}: statistics, DataQuality{rows}, {}",
            counted(features.len(), "feature")
        )?;
        let rows: Vec<Row> = features.iter().map(feature).collect();
        return table(output, ["FEATURE", "INFERRED TYPE", "MISSING", "VALUES"], &rows);
    }
    writeln!(output, "{name}: statistics, ModelQuality{rows}")?;
    let rows: Vec<Row> = statistics
        .metrics()
        .filter(|(_, metric)| metric.value.is_some())
        .map(|(name, metric)| {
            [
                name.clone(),
                number(metric.value),
                number(metric.standard_deviation),
                String::new(),
            ]
        })
        .collect();
    table(output, ["METRIC", "VALUE", "STANDARD DEVIATION", ""], &rows)
}

fn feature(feature: &FeatureStatistics) -> Row {
    let (missing, values) = match (&feature.numerical_statistics, &feature.string_statistics) {
        (Some(of), _) => (
            of.common.num_missing,
            format!("mean {} std_dev {}", of.mean, of.std_dev),
        ),
        (None, Some(of)) => (of.common.num_missing, format!("distinct {}", of.distinct_count)),
        (None, None) => (0, String::new()),
    };
    [
        feature.name.clone(),
        feature.inferred_type.clone(),
        missing.to_string(),
        values,
    ]
}

fn constraints(output: &mut dyn Write, name: &str, constraints: &Constraints) -> io::Result<()> {
    if let Some(features) = &constraints.features {
        writeln!(
            output,
            "{name}: constraints, DataQuality, {}",
            counted(features.len(), "feature")
        )?;
        let rows: Vec<Row> = features
            .iter()
            .map(|feature| {
                let domains = feature.string_constraints.as_ref().and_then(|of| of.domains.as_ref());
                let domain = domains.map_or_else(String::new, |values| counted(values.len(), "value"));
                [
                    feature.name.clone(),
                    feature.inferred_type.clone(),
                    number(feature.completeness),
                    domain,
                ]
            })
            .collect();
        return table(output, ["FEATURE", "INFERRED TYPE", "COMPLETENESS", "DOMAIN"], &rows);
    }
    writeln!(output, "{name}: constraints, ModelQuality")?;
    let rows: Vec<Row> = constraints
        .metrics()
        .map(|(name, of)| {
            [
                name.clone(),
                format!("{:?}", of.comparison_operator),
                number(Some(of.threshold)),
                String::new(),
            ]
        })
        .collect();
    table(output, ["METRIC", "COMPARISON OPERATOR", "THRESHOLD", ""], &rows)
}

fn analysis(output: &mut dyn Write, name: &str, analysis: &Analysis) -> io::Result<()> {
    writeln!(output, "{name}: analysis")?;
    let stages = [
        ("Pre-training", &analysis.pre_training_bias_metrics),
        ("Post-training", &analysis.post_training_bias_metrics),
    ];
    let mut rows: Vec<Row> = Vec::new();
    for (stage, metrics) in stages {
        for (facet, values) in metrics.iter().flat_map(|metrics| &metrics.facets) {
            for value in values {
                let facet = format!("{facet}={}", value.value_or_threshold);
                rows.extend(value.metrics.iter().map(|metric| {
                    let found = if metric.value.is_some() {
                        None
                    } else {
                        metric.error.clone()
                    };
                    let found = found.unwrap_or_else(|| number(metric.value));
                    [facet.clone(), metric.name.clone(), found, stage.to_owned()]
                }));
            }
        }
    }
    table(output, ["FACET", "METRIC", "VALUE", "BIAS STAGE"], &rows)?;
    let labels = analysis
        .explanations
        .iter()
        .filter_map(|explanations| explanations.kernel_shap.as_ref());
    let rows: Vec<Row> = labels
        .flatten()
        .flat_map(|(label, explanation)| {
            let values = explanation.global_shap_values.iter();
            values.map(|(feature, shap)| [label.clone(), feature.clone(), number(Some(shap.0)), String::new()])
        })
        .collect();
    table(output, ["LABEL", "FEATURE", "GLOBAL SHAP", ""], &rows)
}

fn quantity(value: Option<&Quantity>) -> String {
    value.map_or_else(|| "-".to_owned(), ToString::to_string)
}

fn number(value: Option<f64>) -> String {
    value.map_or_else(String::new, |value| Quantity::Number(value).to_string())
}

fn counted(count: usize, noun: &str) -> String {
    if count == 1 {
        format!("1 {noun}")
    } else {
        format!("{count} {noun}s")
    }
}

/// Aligned columns, two spaces apart; nothing at all without rows.
fn table(output: &mut dyn Write, head: [&str; 4], rows: &[Row]) -> io::Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let mut widths = head.map(str::len);
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    for row in std::iter::once(&head.map(String::from)).chain(rows) {
        let cells: Vec<String> = row
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        writeln!(output, "  {}", cells.join("  ").trim_end())?;
    }
    Ok(())
}
