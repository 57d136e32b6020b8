//! `driftwarden inspect`: Model Monitor's files, read by the code that runs in Lambda.

use clap::Args;
use model_monitor::{Analysis, Constraints, Limits, MonitorType, Quantity, Statistics, Violation, ViolationReport};
use serde::Serialize;
use serde_json::{Value, json};
use std::{
    fs::File,
    io::{self, Read, Write},
    path::PathBuf,
};

/// Read Model Monitor's files and say what is in them.
///
/// Reads constraint_violations.json of all four monitor types and of custom containers; also recognises
/// statistics.json, constraints.json and Clarify's analysis.json.
#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// The files; `-` is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// One JSON object a file, in the files' order
    #[arg(long)]
    json: bool,
    /// Take thresholds that a report does not tell from this constraints.json, or analysis.json of a bias baseline
    #[arg(long, value_name = "FILE")]
    constraints: Option<PathBuf>,
    /// The largest file that is read, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = Limits::default().max_bytes)]
    max_bytes: usize,
}

/// What a file turned out to be.
enum Content {
    Violations(ViolationReport),
    Statistics(Statistics),
    Constraints(Constraints),
    Analysis(Analysis),
}

/// What thresholds can be taken from.
enum Baseline {
    Constraints(Constraints),
    Analysis(Analysis),
}

#[derive(Serialize)]
struct Answer<'a> {
    file: &'a str,
    monitor_type: MonitorType,
    violations: Vec<ViolationAnswer<'a>>,
}

#[derive(Serialize)]
struct ViolationAnswer<'a> {
    subject: String,
    constraint_check_type: &'a str,
    observed: Option<&'a Quantity>,
    threshold: Option<&'a Quantity>,
    description: Option<&'a str>,
}

impl Inspect {
    /// Whether every file could be read.
    pub(crate) fn run(&self, input: &mut dyn Read, output: &mut dyn Write, errors: &mut dyn Write) -> io::Result<bool> {
        let limits = Limits {
            max_bytes: self.max_bytes,
            ..Limits::default()
        };
        let baseline = match self.baseline(&limits) {
            Ok(baseline) => baseline,
            Err(error) => {
                writeln!(errors, "error: {error}")?;
                return Ok(false);
            }
        };
        let mut all_read = true;
        for (at, path) in self.files.iter().enumerate() {
            let name = path.to_string_lossy();
            let content = if path.as_os_str() == "-" {
                bounded(input, &limits).map_err(|error| format!("standard input: {error}"))
            } else {
                read(path, &limits)
            };
            match content.and_then(|bytes| recognise(&name, &bytes, &limits)) {
                Ok(content) => {
                    let content = with_baseline(content, baseline.as_ref());
                    if self.json {
                        writeln!(output, "{}", in_json(&name, &content))?;
                    } else {
                        if at > 0 {
                            writeln!(output)?;
                        }
                        in_words(output, &name, &content)?;
                    }
                }
                Err(error) => {
                    all_read = false;
                    if self.json {
                        writeln!(output, "{}", json!({"file": name, "error": error}))?;
                    } else {
                        writeln!(errors, "error: {error}")?;
                    }
                }
            }
        }
        Ok(all_read)
    }

    fn baseline(&self, limits: &Limits) -> Result<Option<Baseline>, String> {
        let Some(path) = &self.constraints else { return Ok(None) };
        let name = path.to_string_lossy();
        match recognise(&name, &read(path, limits)?, limits)? {
            Content::Constraints(constraints) => Ok(Some(Baseline::Constraints(constraints))),
            Content::Analysis(analysis) => Ok(Some(Baseline::Analysis(analysis))),
            _ => Err(format!("`{name}` is neither a constraints.json nor an analysis.json")),
        }
    }
}

fn read(path: &PathBuf, limits: &Limits) -> Result<Vec<u8>, String> {
    let name = path.display();
    let mut file = File::open(path).map_err(|error| format!("`{name}`: {error}"))?;
    bounded(&mut file, limits).map_err(|error| format!("`{name}`: {error}"))
}

/// Everything, or one byte more than the limit: the parser then says that it is too much.
fn bounded(input: &mut dyn Read, limits: &Limits) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let most = u64::try_from(limits.max_bytes).unwrap_or(u64::MAX).saturating_add(1);
    input.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Which of Model Monitor's files it is, by what only that one has. What has nothing of any is read as a violation
/// report, whose error then says what is missing.
fn recognise(name: &str, bytes: &[u8], limits: &Limits) -> Result<Content, String> {
    let keys: Vec<String> = match serde_json::from_slice::<Value>(bytes.get(..limits.max_bytes).unwrap_or(bytes)) {
        Ok(Value::Object(object)) if bytes.len() <= limits.max_bytes => object.keys().cloned().collect(),
        _ => Vec::new(),
    };
    let has = |wanted: fn(&str) -> bool| keys.iter().any(|key| wanted(key));
    let content = if has(|key| key == "violations") {
        ViolationReport::parse(name, bytes, limits).map(Content::Violations)
    } else if has(|key| key.ends_with("_bias_metrics") || key == "explanations") {
        Analysis::parse(name, bytes, limits).map(Content::Analysis)
    } else if has(|key| key == "dataset" || key.ends_with("_metrics")) {
        Statistics::parse(name, bytes, limits).map(Content::Statistics)
    } else if has(|key| key == "features" || key.ends_with("_constraints")) {
        Constraints::parse(name, bytes, limits).map(Content::Constraints)
    } else {
        ViolationReport::parse(name, bytes, limits).map(Content::Violations)
    };
    content.map_err(|error| error.to_string())
}

fn with_baseline(content: Content, baseline: Option<&Baseline>) -> Content {
    let (mut report, baseline) = match (content, baseline) {
        (Content::Violations(report), Some(baseline)) => (report, baseline),
        (other, _) => return other,
    };
    let fill = |violation: Violation| match baseline {
        Baseline::Constraints(constraints) => violation.with_constraints(constraints),
        Baseline::Analysis(analysis) => violation.with_analysis(analysis),
    };
    report.violations = report.violations.into_iter().map(fill).collect();
    Content::Violations(report)
}

/// One line of JSON, keys in the documented order.
fn in_json(name: &str, content: &Content) -> String {
    let line = match content {
        Content::Violations(report) => serde_json::to_string(&Answer {
            file: name,
            monitor_type: report.monitor_type.unwrap_or(MonitorType::Custom),
            violations: report
                .violations
                .iter()
                .map(|violation| ViolationAnswer {
                    subject: violation.subject.to_string(),
                    constraint_check_type: violation.check_type.as_str(),
                    observed: violation.observed.as_ref(),
                    threshold: violation.threshold.as_ref(),
                    description: violation.description.as_deref(),
                })
                .collect(),
        }),
        Content::Statistics(statistics) => serde_json::to_string(&json!({"file": name, "statistics": statistics})),
        Content::Constraints(constraints) => serde_json::to_string(&json!({"file": name, "constraints": constraints})),
        Content::Analysis(analysis) => serde_json::to_string(&json!({"file": name, "analysis": analysis})),
    };
    line.unwrap_or_else(|error| json!({"file": name, "error": error.to_string()}).to_string())
}

fn in_words(output: &mut dyn Write, name: &str, content: &Content) -> io::Result<()> {
    match content {
        Content::Violations(report) => {
            let kind = report
                .monitor_type
                .map_or_else(|| "of an unknown monitor".to_owned(), |kind| kind.to_string());
            let count = report.violations.len();
            writeln!(
                output,
                "{name}: violation report, {kind}, {count} {}",
                plural(count, "violation")
            )?;
            let rows: Vec<[String; 4]> = report.violations.iter().map(row).collect();
            table(
                output,
                ["SUBJECT", "CONSTRAINT CHECK TYPE", "OBSERVED", "THRESHOLD"],
                &rows,
            )?;
            let told = |violation: &&Violation| violation.observed.is_none() && violation.description.is_some();
            for violation in report.violations.iter().filter(told) {
                let description = violation.description.as_deref().unwrap_or_default().trim();
                writeln!(output, "  {}: {description}", violation.subject)?;
            }
            Ok(())
        }
        Content::Statistics(statistics) => {
            let rows = statistics.dataset.as_ref().map_or(0, |dataset| dataset.item_count);
            match &statistics.features {
                Some(features) => {
                    let count = features.len();
                    writeln!(
                        output,
                        "{name}: statistics, DataQuality, {rows} rows, {count} {}",
                        plural(count, "feature")
                    )?;
                    let rows: Vec<[String; 4]> = features
                        .iter()
                        .map(|feature| {
                            let numbers = feature.numerical_statistics.as_ref();
                            let strings = feature.string_statistics.as_ref();
                            let common = numbers.map(|of| of.common).or(strings.map(|of| of.common));
                            let missing = common.map_or(0, |common| common.num_missing);
                            let said = numbers
                                .map(|of| format!("mean {} std_dev {}", of.mean, of.std_dev))
                                .or(strings.map(|of| format!("distinct {}", of.distinct_count)));
                            [
                                feature.name.clone(),
                                feature.inferred_type.clone(),
                                missing.to_string(),
                                said.unwrap_or_default(),
                            ]
                        })
                        .collect();
                    table(output, ["FEATURE", "INFERRED TYPE", "MISSING", "VALUES"], &rows)
                }
                None => {
                    writeln!(output, "{name}: statistics, ModelQuality, {rows} rows")?;
                    let show = |value: Option<f64>| {
                        value.map_or_else(String::new, |value| Quantity::Number(value).to_string())
                    };
                    let rows: Vec<[String; 4]> = statistics
                        .metrics()
                        .filter(|(_, metric)| metric.value.is_some())
                        .map(|(name, metric)| {
                            [
                                name.clone(),
                                show(metric.value),
                                show(metric.standard_deviation),
                                String::new(),
                            ]
                        })
                        .collect();
                    table(output, ["METRIC", "VALUE", "STANDARD DEVIATION", ""], &rows)
                }
            }
        }
        Content::Constraints(constraints) => match &constraints.features {
            Some(features) => {
                let count = features.len();
                writeln!(
                    output,
                    "{name}: constraints, DataQuality, {count} {}",
                    plural(count, "feature")
                )?;
                let rows: Vec<[String; 4]> = features
                    .iter()
                    .map(|feature| {
                        let domains = feature.string_constraints.as_ref().and_then(|of| of.domains.as_ref());
                        [
                            feature.name.clone(),
                            feature.inferred_type.clone(),
                            feature.completeness.map_or_else(String::new, |share| share.to_string()),
                            domains.map_or_else(String::new, |domains| format!("{} values", domains.len())),
                        ]
                    })
                    .collect();
                table(output, ["FEATURE", "INFERRED TYPE", "COMPLETENESS", "DOMAIN"], &rows)
            }
            None => {
                writeln!(output, "{name}: constraints, ModelQuality")?;
                let rows: Vec<[String; 4]> = constraints
                    .metrics()
                    .map(|(name, constraint)| {
                        let operator = format!("{:?}", constraint.comparison_operator);
                        [name.clone(), operator, constraint.threshold.to_string(), String::new()]
                    })
                    .collect();
                table(output, ["METRIC", "COMPARISON OPERATOR", "THRESHOLD", ""], &rows)
            }
        },
        Content::Analysis(analysis) => {
            writeln!(output, "{name}: analysis")?;
            let stages = [
                ("Pre-training", &analysis.pre_training_bias_metrics),
                ("Post-training", &analysis.post_training_bias_metrics),
            ];
            let mut rows: Vec<[String; 4]> = Vec::new();
            for (stage, metrics) in stages {
                for (facet, values) in metrics.iter().flat_map(|metrics| &metrics.facets) {
                    for value in values {
                        rows.extend(value.metrics.iter().map(|metric| {
                            let found = metric.value.map(|found| Quantity::Number(found).to_string());
                            [
                                format!("{facet}={}", value.value_or_threshold),
                                metric.name.clone(),
                                found.or_else(|| metric.error.clone()).unwrap_or_default(),
                                stage.to_owned(),
                            ]
                        }));
                    }
                }
            }
            if !rows.is_empty() {
                table(output, ["FACET", "METRIC", "VALUE", "BIAS STAGE"], &rows)?;
            }
            let labels = analysis
                .explanations
                .iter()
                .filter_map(|explanations| explanations.kernel_shap.as_ref());
            let rows: Vec<[String; 4]> = labels
                .flatten()
                .flat_map(|(label, explanation)| {
                    explanation
                        .global_shap_values
                        .iter()
                        .map(|(feature, shap)| [label.clone(), feature.clone(), shap.0.to_string(), String::new()])
                })
                .collect();
            if rows.is_empty() {
                Ok(())
            } else {
                table(output, ["LABEL", "FEATURE", "GLOBAL SHAP", ""], &rows)
            }
        }
    }
}

fn row(violation: &Violation) -> [String; 4] {
    let show = |value: Option<&Quantity>| value.map_or_else(|| "-".to_owned(), ToString::to_string);
    [
        violation.subject.to_string(),
        violation.check_type.to_string(),
        show(violation.observed.as_ref()),
        show(violation.threshold.as_ref()),
    ]
}

fn plural(count: usize, noun: &str) -> String {
    if count == 1 {
        noun.to_owned()
    } else {
        format!("{noun}s")
    }
}

/// Aligned columns, two spaces apart.
fn table(output: &mut dyn Write, head: [&str; 4], rows: &[[String; 4]]) -> io::Result<()> {
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
