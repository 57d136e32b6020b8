//! `driftwarden inspect`: shows the contents of Model Monitor files and events.

use crate::{
    Exit, Streams,
    error::Message,
    input,
    table::{Table, plain},
};
use analyzer::{Description, describe};
use model_monitor::{
    Analysis, Constraints, Detail, Document, Event, ExitMessage, Limits, MonitorType, ParseError, Problem, Quantity,
    Statistics, Violation, ViolationReport,
};
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::io::{self, Write};

/// Show the contents of Model Monitor files and events.
///
/// Reads violation reports of all four monitor types and of custom containers, statistics, constraints, Clarify analyses, and
/// EventBridge events. Describes captured requests, ground truth, manifests, drift.json, and datasets in one line each. The type of a
/// file is detected from its content.
#[derive(Debug, clap::Args)]
pub struct Inspect {
    /// Print JSON Lines: one object per file, in the same order.
    #[arg(long, display_order = 110)]
    json: bool,
    /// Baseline with the thresholds that a violation report lacks: constraints.json, or analysis.json of a Clarify monitor.
    #[arg(long, value_name = "FILE")]
    constraints: Option<String>,
    /// Files to show; `-` reads standard input.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<String>,
}

/// Content of a file.
enum Content {
    Document(Box<Document>),
    /// Data, which is only described.
    Data(Description),
}

/// Source of thresholds that the violation report does not contain.
enum Baseline {
    None,
    Constraints(Constraints),
    Analysis(Analysis),
}

impl Inspect {
    /// Runs the command.
    pub(crate) fn run(&self, streams: Streams<'_>) -> Exit {
        let Streams { input, out, err } = streams;
        match self.inspect(input, out, err) {
            Ok(exit) => exit,
            Err(error) => Exit::from_output_error(&error),
        }
    }

    fn inspect(&self, input: &mut dyn io::Read, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<Exit> {
        let mut content = |name: &str| read(name, input);
        let baseline = match self.constraints.as_deref().map(|name| baseline(name, content(name)?)) {
            None => Baseline::None,
            Some(Ok(baseline)) => baseline,
            Some(Err(message)) => {
                message.print(err)?;
                return Ok(Exit::Failed);
            }
        };
        let mut exit = Exit::Done;
        let mut shown = false;
        for name in &self.files {
            match (content(name), self.json) {
                (Ok(content), true) => {
                    let content = baseline.fill(content);
                    line(out, &Line::new(name, &content, &baseline))?;
                }
                (Ok(content), false) => {
                    if shown {
                        writeln!(out)?;
                    }
                    shown = true;
                    match baseline.fill(content) {
                        Content::Document(document) => show(out, name, &document, &baseline)?,
                        Content::Data(data) => writeln!(out, "{}: {}", plain(name), plain(&data.text))?,
                    }
                }
                (Err(message), json) => {
                    exit = Exit::Failed;
                    if json {
                        line(
                            out,
                            &Line::Failed {
                                file: name,
                                error: message.to_string(),
                            },
                        )?;
                    } else {
                        message.print(err)?;
                    }
                }
            }
        }
        Ok(exit)
    }
}

/// Reads a file of any format.
fn read(name: &str, input: &mut dyn io::Read) -> Result<Content, Message> {
    let limits = Limits::default();
    let bytes = input::read(name, input, limits.max_bytes).map_err(|error| format!("{name}: {error}"))?;
    match Document::parse(name, &bytes, &limits) {
        Ok(document) => Ok(Content::Document(Box::new(document))),
        Err(error) => describe(name, &bytes)
            .map(Content::Data)
            .ok_or_else(|| error.to_string().into()),
    }
}

fn baseline(name: &str, content: Content) -> Result<Baseline, Message> {
    let found = match content {
        Content::Document(document) => match *document {
            Document::Constraints(constraints) => return Ok(Baseline::Constraints(constraints)),
            Document::Analysis(analysis) => return Ok(Baseline::Analysis(analysis)),
            other => other.kind(),
        },
        Content::Data(data) => data.kind,
    };
    let problem = Problem::Unexpected {
        path: ".".to_owned(),
        expected: "constraints, or the analysis of a Clarify monitor".to_owned(),
        found: found.to_owned(),
    };
    Err(ParseError::new(name, problem).to_string().into())
}

impl Baseline {
    /// Fills the thresholds of a violation report.
    fn fill(&self, mut content: Content) -> Content {
        let Content::Document(document) = &mut content else {
            return content;
        };
        let Document::Violations(report) = document.as_mut() else {
            return content;
        };
        let fill = |violation: Violation| match self {
            Self::None => violation,
            Self::Constraints(constraints) => violation.with_constraints(constraints),
            Self::Analysis(analysis) => violation.with_analysis(analysis),
        };
        report.violations = std::mem::take(&mut report.violations).into_iter().map(fill).collect();
        content
    }

    /// Monitor type of a report. A report without entries has none; the constraints identify it.
    fn monitor_type(&self, report: &ViolationReport) -> MonitorType {
        let from_baseline = match self {
            Self::None => None,
            Self::Constraints(constraints) => Some(constraints.monitor_type()),
            Self::Analysis(analysis) => analysis.monitor_type(),
        };
        report.monitor_type.or(from_baseline).unwrap_or(MonitorType::Custom)
    }
}

/// JSON line of a file.
#[derive(Serialize)]
#[serde(untagged)]
enum Line<'a> {
    Violations {
        file: &'a str,
        monitor_type: MonitorType,
        violations: Vec<Entry<'a>>,
    },
    Other {
        file: &'a str,
        kind: &'static str,
        summary: Value,
    },
    Failed {
        file: &'a str,
        error: String,
    },
}

/// JSON object of a violation.
#[derive(Serialize)]
struct Entry<'a> {
    subject: String,
    constraint_check_type: &'a str,
    observed: Option<&'a Quantity>,
    threshold: Option<&'a Quantity>,
    description: Option<&'a str>,
}

impl<'a> Line<'a> {
    fn new(file: &'a str, content: &'a Content, baseline: &Baseline) -> Self {
        let document = match content {
            Content::Document(document) => document.as_ref(),
            Content::Data(data) => {
                return Self::Other {
                    file,
                    kind: data.kind,
                    summary: data.summary.clone(),
                };
            }
        };
        match document {
            Document::Violations(report) => Self::Violations {
                file,
                monitor_type: baseline.monitor_type(report),
                violations: report.violations.iter().map(Entry::new).collect(),
            },
            other => Self::Other {
                file,
                kind: other.kind(),
                summary: summary(other),
            },
        }
    }
}

impl<'a> Entry<'a> {
    fn new(violation: &'a Violation) -> Self {
        Self {
            subject: violation.subject.to_string(),
            constraint_check_type: violation.check_type.as_str(),
            observed: violation.observed.as_ref(),
            threshold: violation.threshold.as_ref(),
            description: violation.description.as_deref(),
        }
    }
}

fn line(out: &mut dyn Write, line: &Line<'_>) -> io::Result<()> {
    serde_json::to_writer(&mut *out, line)?;
    writeln!(out)
}

/// Summary of a file, without absent fields.
fn summary(document: &Document) -> Value {
    let summary = match document {
        Document::Violations(report) => json!({"violations": report.violations.len()}),
        Document::Statistics(statistics) => json!({
            "item_count": statistics.dataset.as_ref().map(|dataset| dataset.item_count),
            "features": statistics.features.as_ref().map(Vec::len),
            "metrics": metrics(statistics),
        }),
        Document::Constraints(constraints) => json!({
            "features": constraints.features.as_ref().map(Vec::len),
            "metrics": filled(constraints.metrics().map(|(name, constraint)| {
                (name.clone(), json!({
                    "comparison_operator": constraint.comparison_operator,
                    "threshold": Quantity::Number(constraint.threshold),
                }))
            }).collect()),
        }),
        Document::Analysis(analysis) => json!({
            "bias": filled(bias(analysis).map(|(name, value, _)| (name, json!(value.map(Quantity::Number)))).collect()),
            "global_shap_values": filled(shap(analysis).map(|(name, value)| (name, json!(Quantity::Number(value)))).collect()),
        }),
        Document::Event(event) => event_summary(event),
    };
    match summary {
        Value::Object(fields) => Value::Object(fields.into_iter().filter(|(_, value)| !value.is_null()).collect()),
        other => other,
    }
}

fn filled(fields: Map<String, Value>) -> Value {
    if fields.is_empty() {
        Value::Null
    } else {
        Value::Object(fields)
    }
}

fn metrics(statistics: &Statistics) -> Value {
    let value = |value: Option<f64>| value.map(Quantity::Number);
    filled(
        statistics
            .metrics()
            .filter(|(_, metric)| metric.value.is_some())
            .map(|(name, metric)| {
                let (value, deviation) = (value(metric.value), value(metric.standard_deviation));
                (name.clone(), json!({"value": value, "standard_deviation": deviation}))
            })
            .collect(),
    )
}

/// All bias metrics of an analysis: name as in violations, value, and the reason if there is no value.
fn bias(analysis: &Analysis) -> impl Iterator<Item = (String, Option<f64>, Option<&str>)> {
    [
        &analysis.pre_training_bias_metrics,
        &analysis.post_training_bias_metrics,
    ]
    .into_iter()
    .flatten()
    .flat_map(|stage| &stage.facets)
    .flat_map(|(name, facets)| facets.iter().map(move |facet| (name, facet)))
    .flat_map(|(name, facet)| {
        facet.metrics.iter().map(move |metric| {
            let name = format!("{name}={} {}", facet.value_or_threshold, metric.name);
            (name, metric.value, metric.error.as_deref())
        })
    })
}

/// All global SHAP values of an analysis, by `label feature`.
fn shap(analysis: &Analysis) -> impl Iterator<Item = (String, f64)> {
    analysis
        .explanations
        .iter()
        .filter_map(|explanations| explanations.kernel_shap.as_ref())
        .flatten()
        .flat_map(|(label, explanation)| {
            let values = explanation.global_shap_values.iter();
            values.map(move |(feature, value)| (format!("{label} {feature}"), value.0))
        })
}

fn event_summary(event: &Event) -> Value {
    let time = event.time.map(|time| time.to_string());
    let detail = match &event.detail {
        Detail::ObjectCreated(object) => json!({"object": format!("s3://{}/{}", object.bucket, object.key)}),
        Detail::ProcessingJob(job) => json!({
            "processing_job": job.name,
            "status": job.status,
            "schedule": job.schedule().map(|schedule| schedule.to_string()),
            "scheduled_time": job.scheduled_time().map(|time| time.to_string()),
            "ground_truth_merge": job.is_ground_truth_merge(),
            "violations": job.exit_message.as_deref().and_then(|text| match ExitMessage::parse(text) {
                ExitMessage::CompletedWithViolations { count } => count,
                ExitMessage::Completed => Some(0),
                ExitMessage::Other => None,
            }),
        }),
        Detail::PipelineExecution(execution) => {
            json!({"pipeline_execution": execution.execution_arn, "status": execution.status})
        }
        Detail::PipelineExecutionStep(step) => {
            json!({"pipeline_execution": step.execution_arn, "step": step.step, "status": step.status})
        }
        Detail::ModelPackage(package) => json!({
            "model_package": package.arn,
            "status": package.status,
            "approval_status": package.approval_status,
        }),
        Detail::Endpoint(endpoint) => json!({"endpoint": endpoint.name, "status": endpoint.status}),
        Detail::Alarm(alarm) => json!({"alarm": alarm.alarm_name, "state": alarm.state, "reason": alarm.reason}),
        Detail::Other(_) => Value::Null,
    };
    let mut fields = Map::new();
    fields.insert("detail_type".to_owned(), json!(event.detail_type));
    fields.insert("source".to_owned(), json!(event.source));
    fields.insert("time".to_owned(), json!(time));
    if let Value::Object(detail) = detail {
        fields.extend(detail);
    }
    Value::Object(fields)
}

/// Writes the contents of a file as text.
fn show(out: &mut dyn Write, name: &str, document: &Document, baseline: &Baseline) -> io::Result<()> {
    let name = plain(name);
    match document {
        Document::Violations(report) => {
            let monitor_type = match report.monitor_type {
                None if matches!(baseline, Baseline::None) => "any monitor".to_owned(),
                _ => baseline.monitor_type(report).to_string(),
            };
            let count = text::count(report.violations.len(), "violation");
            writeln!(out, "{name}: violation report of {monitor_type}, {count}")?;
            let mut table = Table::new(["subject", "check", "observed", "threshold", "description"]);
            for violation in &report.violations {
                // The description is shown only if there is no observed value.
                let description = violation
                    .description
                    .as_deref()
                    .filter(|_| violation.observed.is_none());
                table.row([
                    violation.subject.to_string(),
                    violation.check_type.to_string(),
                    number(violation.observed.as_ref()),
                    number(violation.threshold.as_ref()),
                    description.unwrap_or_default().to_owned(),
                ]);
            }
            table.write(out)
        }
        Document::Statistics(statistics) => show_statistics(out, &name, statistics),
        Document::Constraints(constraints) => show_constraints(out, &name, constraints),
        Document::Analysis(analysis) => {
            writeln!(out, "{name}: Clarify analysis")?;
            let mut table = Table::new(["bias metric", "value", "error"]);
            for (name, value, error) in bias(analysis) {
                table.row([name, float(value), error.unwrap_or_default().to_owned()]);
            }
            table.write(out)?;
            let mut table = Table::new(["label feature", "global SHAP value"]);
            for (name, value) in shap(analysis) {
                table.row([name, float(Some(value))]);
            }
            table.write(out)
        }
        Document::Event(event) => {
            writeln!(
                out,
                "{name}: event `{}` of `{}`",
                plain(&event.detail_type),
                plain(&event.source)
            )?;
            let mut table = Table::new(["field", "value"]);
            if let Value::Object(fields) = summary(document) {
                for (field, value) in fields {
                    let value = value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
                    table.row([field, value]);
                }
            }
            table.write(out)
        }
    }
}

fn show_statistics(out: &mut dyn Write, name: &str, statistics: &Statistics) -> io::Result<()> {
    let rows = statistics
        .dataset
        .as_ref()
        .map_or_else(String::new, |dataset| format!(", {} rows", dataset.item_count));
    writeln!(out, "{name}: statistics{rows}")?;
    let mut table = Table::new(["feature", "type", "present", "missing", "mean", "distinct"]);
    for feature in statistics.features.iter().flatten() {
        let numerical = feature.numerical_statistics.as_ref();
        let string = feature.string_statistics.as_ref();
        let common = numerical.map(|of| of.common).or_else(|| string.map(|of| of.common));
        let count = |count: Option<u64>| count.map_or_else(|| "-".to_owned(), |count| count.to_string());
        table.row([
            feature.name.clone(),
            feature.inferred_type.clone(),
            count(common.map(|common| common.num_present)),
            count(common.map(|common| common.num_missing)),
            float(numerical.map(|of| of.mean)),
            float(string.map(|of| of.distinct_count)),
        ]);
    }
    table.write(out)?;
    let mut table = Table::new(["metric", "value", "standard deviation"]);
    for (name, metric) in statistics.metrics().filter(|(_, metric)| metric.value.is_some()) {
        table.row([name.clone(), float(metric.value), float(metric.standard_deviation)]);
    }
    table.write(out)
}

fn show_constraints(out: &mut dyn Write, name: &str, constraints: &Constraints) -> io::Result<()> {
    writeln!(out, "{name}: constraints of {}", constraints.monitor_type())?;
    let mut table = Table::new(["feature", "type", "completeness", "non-negative", "domain"]);
    for feature in constraints.features.iter().flatten() {
        let domain = feature.string_constraints.as_ref().and_then(|of| of.domains.as_ref());
        let non_negative = feature.num_constraints.as_ref().map(|of| of.is_non_negative);
        table.row([
            feature.name.clone(),
            feature.inferred_type.clone(),
            float(feature.completeness),
            non_negative
                .map_or("-", |yes| if yes { "yes" } else { "no" })
                .to_owned(),
            domain.map_or_else(|| "-".to_owned(), |values| text::count(values.len(), "value")),
        ]);
    }
    table.write(out)?;
    let mut table = Table::new(["metric", "violated when", "threshold"]);
    for (name, constraint) in constraints.metrics() {
        let operator = constraint.comparison_operator.as_str().to_owned();
        table.row([name.clone(), operator, float(Some(constraint.threshold))]);
    }
    table.write(out)
}

fn number(quantity: Option<&Quantity>) -> String {
    match quantity {
        Some(Quantity::Number(value)) => text::number(*value),
        Some(quantity) => quantity.to_string(),
        None => "-".to_owned(),
    }
}

fn float(value: Option<f64>) -> String {
    number(value.map(Quantity::Number).as_ref())
}
