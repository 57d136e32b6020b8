//! `driftwarden inspect`: Model Monitor's files, read by the code that runs in Lambda.

mod words;

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
/// Reads `constraint_violations.json` of all four monitor types and of custom containers; also recognises
/// `statistics.json`, `constraints.json` and Clarify's `analysis.json`.
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
                        words::write(output, &name, &content)?;
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
