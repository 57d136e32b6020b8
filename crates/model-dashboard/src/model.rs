//! The page of one model: decision, monitors, timeline, log, metrics, distributions, experiments, lineage, and incidents.

use crate::{
    Console, Documents, EndpointFacts, ExecutionMetrics, Summary,
    frame::{Frame, badge, describe_states, legend, number, policy, prose, strip, time},
    history::log,
    lineage,
    overview::{alert, conclusion_class, risk, stage_class, state},
    reason::past_sentence,
    series::{self, object},
    summary::STRIP_EXECUTIONS,
    timeline::timeline,
};
use alerting::{DatapointState, MonitorLedger};
use analysis::page::{COLUMN_LEGEND, column_sections};
use jiff::Timestamp;
use maud::{Markup, PreEscaped, html};
use model_monitor::{FeatureStatistics, Statistics};
use promotion::{Conclusion, ExperimentDocument, ExperimentStage, plot};
use remediation::{Decision, Stage, Verdict};
use std::collections::BTreeSet;

const STYLE: &str = include_str!("model.css");

/// Maximum number of log entries on the page.
const MAX_ENTRIES: usize = 80;
/// Maximum number of executions listed per monitor.
const MAX_EXECUTIONS: usize = 48;
/// Maximum number of columns whose distributions are drawn, columns with violations first.
const MAX_COLUMNS: usize = 24;
/// Maximum number of experiments with a chart, latest first.
const MAX_EXPERIMENTS: usize = 3;

/// Distributions of the latest execution of a data quality monitor, and of its baseline.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// Name of the monitoring schedule.
    pub schedule: String,
    /// Scheduled time of the execution.
    pub scheduled_time: Timestamp,
    /// `s3://` URI of the execution's `statistics.json`.
    pub statistics_uri: String,
    /// `s3://` URI of the baseline's folder, if known.
    pub baseline_uri: Option<String>,
    /// Statistics of the baseline, if they could be read.
    pub baseline: Option<Statistics>,
    /// Statistics of the execution.
    pub current: Statistics,
}

/// Input of a model's page.
#[derive(Debug, Clone)]
pub struct ModelView<'a> {
    /// Name of the deployment.
    pub deployment: &'a str,
    /// State documents of the model.
    pub documents: Documents<'a>,
    /// Summary of the model on the overview.
    pub summary: &'a Summary,
    /// Metric values from report files, in addition to those in the ledgers.
    pub measured: &'a [ExecutionMetrics],
    /// Distributions of the latest executions and of their baselines.
    pub comparisons: &'a [Comparison],
    /// Documents and files that could not be read, one message each.
    pub notes: &'a [String],
    /// Time at which the page is rendered.
    pub now: Timestamp,
    /// Links into the AWS console.
    pub console: &'a Console,
}

/// Renders the page of a model ([`crate::page_path`]).
pub fn model_page(view: &ModelView<'_>) -> String {
    let documents = &view.documents;
    let model = documents.model;
    Frame {
        title: &format!("{model} – {}", view.deployment),
        style: STYLE,
        header: header(view),
        main: html! {
            @for note in view.notes.iter().chain(&view.summary.facts.missing) { p.warn { (note) } }
            div.now {
                div {
                    (decision_card(view))
                    @if let Some(endpoint) = &view.summary.facts.endpoint { (endpoint_card(endpoint, view)) }
                    (retrainings(view))
                }
                (monitors(view))
            }
            (given_up(view))
            h2 #timeline { "Timeline" }
            (legend())
            (timeline(documents, view.now))
            (log_section(view))
            (metrics(view))
            (distributions(view))
            @if let Some(document) = documents.experiments { (experiments(document, view)) }
            h2 #lineage { "Lineage" }
            (lineage::section(view))
            (incidents(view))
            (executions(view))
        },
        footer: html! {
            p { "Written by Driftwarden at " (time(view.now)) " UTC, " (policy(documents.policy.version())) ". All times are UTC." }
        },
        script: "",
    }
    .page()
}

fn header(view: &ModelView<'_>) -> Markup {
    let summary = view.summary;
    html! {
        nav aria-label="Breadcrumb" { a href="../index.html" { "All models of " (view.deployment) } }
        h1 { (view.documents.model) " " (state(summary)) " " (risk(summary.risk_rating)) }
        p.soft {
            @match &summary.endpoint {
                Some(endpoint) => { "Endpoint "
                    @match view.console.endpoint(endpoint) { Some(link) => a href=(link) { (endpoint) }, None => (endpoint) } }
                None => "Batch transform",
            }
            ", as of " (time(view.now)) " UTC"
        }
    }
}

/// The latest decision, its reasons, and the commands that an operator can run.
fn decision_card(view: &ModelView<'_>) -> Markup {
    let summary = view.summary;
    let incident = view.documents.document.and_then(|document| document.incident.as_ref());
    let decision = incident.and_then(|incident| incident.decision.as_ref());
    html! {
        section.card aria-labelledby="decided" {
            h2 #decided { "Decision" }
            @match (incident, decision) {
                (Some(incident), Some(decision)) => {
                    p { "Incident " b { (incident.id) } ", open since " (time(incident.opened_at)) " UTC: " (badge(stage_class(incident.stage()), incident.stage().as_str())) }
                    (decision_text(decision))
                    (commands(&incident.id, incident.stage(), decision))
                }
                (Some(incident), None) => p { "Incident " b { (incident.id) } ", open since " (time(incident.opened_at)) " UTC. No decision yet. The next sweep tries again." }
                (None, _) => {
                    p { "No incident is open." }
                    @if let Some(last) = &summary.decision {
                        p { "Last decision: " b { (last.verdict.as_str()) } " in incident " b { (last.incident_id) } ", at " (time(last.time)) " UTC" }
                        p { (prose(&last.sentence)) }
                    }
                }
            }
        }
    }
}

fn decision_text(decision: &Decision) -> Markup {
    html! {
        p { b { (decision.verdict.as_str()) } " " span.soft { "at " (time(decision.time)) " UTC, decision " (decision.number) ", " (policy(&decision.policy_version)) } }
        p { (prose(&decision.sentence)) }
        ul.why { @for reason in &decision.reasons { li { (prose(&reason.describe())) } } }
        @if let Some(until) = decision.until { p { "Next decision by " (time(until)) " UTC." } }
    }
}

fn commands(id: &str, stage: Stage, decision: &Decision) -> Markup {
    let approve = format!("driftwarden approve {id} --decision {}", decision.number);
    let commands = match stage {
        Stage::AwaitingApproval => {
            let deny = format!("{approve} --deny --reason \"…\"");
            vec![approve, deny]
        }
        Stage::Holding if decision.verdict == Verdict::Hold => vec![approve],
        Stage::AwaitingData | Stage::Escalated => vec![format!("driftwarden resolve {id} --accept --reason \"…\"")],
        _ => Vec::new(),
    };
    html! { @if !commands.is_empty() { p { "Commands:" } pre tabindex="0" { (commands.join("\n")) } } }
}

fn monitors(view: &ModelView<'_>) -> Markup {
    let summary = view.summary;
    let missing = summary.not_configured();
    html! {
        section.card aria-labelledby="monitors" {
            h2 #monitors { "Monitors" }
            @if summary.monitors.is_empty() { p.soft { "No monitor has reported yet." } }
            @for monitor in &summary.monitors {
                h3 { @if let Some(monitor_type) = &monitor.monitor_type { (monitor_type) " " } span.soft { (monitor.schedule) } }
                p.num { (alert(monitor)) span.soft {
                    @if let Some(latest) = monitor.latest { " (latest execution " (time(latest)) ")" } } }
                @if let Some(since) = monitor.unhealthy_since { p.bad { "No result since " (time(since)) " UTC. Until the monitor recovers, drift is not detected." } }
                (strip(&monitor.states, STRIP_EXECUTIONS, &format!("{}: {}", monitor.schedule, describe_states(&monitor.states))))
                p.soft { (describe_states(&monitor.states)) " of the last " (STRIP_EXECUTIONS) " executions" }
            }
            @if !missing.is_empty() && !summary.monitors.is_empty() { p.warn { "Not configured: " (missing.join(", ")) } }
        }
    }
}

/// Effects of the model's documents that failed until they were given up.
fn given_up(view: &ModelView<'_>) -> Markup {
    let documents = &view.documents;
    let model = documents.document.iter().flat_map(|document| &document.given_up);
    let monitors = documents.ledgers.iter().flat_map(|ledger| &ledger.given_up);
    let experiments = documents.experiments.iter().flat_map(|document| &document.given_up);
    let mut effects: Vec<_> = model.chain(monitors).chain(experiments).collect();
    effects.sort_by_key(|effect| std::cmp::Reverse(effect.at));
    html! {
        @if !effects.is_empty() {
            h2 #given-up { "Effects that were given up" }
            p.bad { "Every attempt to execute these effects failed for 24 hours. Driftwarden does not try again." }
            div.wide tabindex="0" role="region" aria-label="Effects that were given up" { table {
                thead { tr { th scope="col" { "Effect" } th scope="col" { "Given up" } th.r scope="col" { "Attempts" } th scope="col" { "Last error" } } }
                tbody { @for effect in effects {
                    tr {
                        th scope="row" { code { (effect.id) } }
                        td.num { (time(effect.at)) }
                        td.r { (effect.failures.attempts) }
                        td { (prose(&effect.failures.last)) }
                    }
                } }
            } }
        }
    }
}

fn endpoint_card(endpoint: &EndpointFacts, view: &ModelView<'_>) -> Markup {
    let columns = ["CPU", "memory", "disk", "GPU", "requests", "p99", "4xx", "5xx"];
    let cell = |value: Option<f64>, unit: &str| {
        value.map_or_else(|| "–".to_owned(), |value| format!("{}{unit}", number(value)))
    };
    html! {
        section.card aria-labelledby="endpoint" {
            h2 #endpoint { "Endpoint" }
            p { (badge(if endpoint.status == "InService" { "good" } else { "warn" }, &endpoint.status)) " " code { (endpoint.config) } }
            div.wide tabindex="0" role="region" aria-label="Production variants" {
                table {
                    thead { tr { th scope="col" { "Variant" } th.r scope="col" { "traffic" } @for column in columns { th.r scope="col" { (column) } } } }
                    tbody { @for variant in &endpoint.variants {
                        tr {
                            th scope="row" { (variant.name) }
                            td.r { (number(variant.share)) "%" }
                            td.r { (cell(variant.cpu, "%")) } td.r { (cell(variant.memory, "%")) } td.r { (cell(variant.disk, "%")) } td.r { (cell(variant.gpu, "%")) }
                            td.r { (cell(variant.invocations, "")) } td.r { (cell(variant.latency, " ms")) }
                            td.r { (cell(variant.errors_4xx, "")) } td.r { (cell(variant.errors_5xx, "")) }
                        }
                    } }
                }
            }
            @if let Some(at) = view.summary.facts.at { p.soft { "Metrics of the hour before " (time(at)) " UTC" } }
        }
    }
}

fn retrainings(view: &ModelView<'_>) -> Markup {
    let summary = view.summary;
    html! {
        section.card aria-labelledby="retrainings" {
            h2 #retrainings { "Retraining and batch transform" }
            @match &summary.retraining {
                Some(last) => {
                    p { "Last retraining: decided at " (time(last.time)) " UTC"
                        @if let Some(status) = last.status { ", " (status.as_str()) }
                        @match last.verified {
                            Some(true) => { ". " span.good { b { "Drift fixed" } } ": the monitors were OK after it." }
                            Some(false) => { ". " span.bad { b { "Drift not fixed" } } "." }
                            None => { "." }
                        }
                    }
                    p { (text::count(summary.retrainings, "retraining"))
                        @if let Some(cost) = summary.cost { ", cost so far " (number(cost)) }
                        @if summary.retraining_seconds > 0 { ", " (text::duration(jiff::SignedDuration::from_secs(summary.retraining_seconds))) " in pipelines" } "." }
                }
                None => p.soft { "Driftwarden has not retrained this model." },
            }
            @if let Some(job) = &summary.facts.transform_job {
                p { "Most recent batch transform job: "
                    @match view.console.transform_job(&job.name) { Some(link) => a href=(link) { (job.name) }, None => (job.name) }
                    " " (badge(if job.status == "Failed" { "bad" } else { "" }, &job.status))
                    " " span.soft { (time(job.created)) @if let Some(ended) = job.ended { ", " (text::duration(ended.duration_since(job.created))) } } }
                @if let Some(reason) = &job.failure_reason { p.bad { (reason) } }
            }
        }
    }
}

fn log_section(view: &ModelView<'_>) -> Markup {
    let entries = log(&view.documents);
    html! {
        @if !entries.is_empty() {
            h2 #log { "Log" }
            div.wide tabindex="0" role="region" aria-label="Log" {
                table {
                    thead { tr { th scope="col" { "Time" } th scope="col" { "Subject" } th scope="col" { "Details" } th scope="col" { "Resource" } } }
                    tbody { @for entry in entries.iter().take(MAX_ENTRIES) {
                        tr {
                            td.num { (time(entry.at)) }
                            th scope="row" class=[(!entry.class.is_empty()).then_some(entry.class)] { (entry.kind.as_str()) }
                            td { (prose(&entry.text)) }
                            td { @if let Some(resource) = &entry.resource { (resource_link(resource, view)) } }
                        }
                    } }
                }
            }
            @if entries.len() > MAX_ENTRIES { p.soft { (entries.len() - MAX_ENTRIES) " earlier entries are in the state documents." } }
        }
    }
}

fn resource_link(resource: &str, view: &ModelView<'_>) -> Markup {
    let link = view.console.arn(resource).or_else(|| view.console.object(resource));
    let name = resource.rsplit('/').next().unwrap_or(resource);
    html! { @match link { Some(link) => a href=(link) title=(resource) { (name) }, None => code title=(resource) { (name) } } }
}

fn metrics(view: &ModelView<'_>) -> Markup {
    let sections: Vec<String> = view
        .documents
        .ledgers
        .iter()
        .map(|ledger| series::section(ledger, view.measured, view.console).into_string())
        .filter(|section| !section.is_empty())
        .collect();
    html! {
        @if !sections.is_empty() {
            h2 #measured { "Drift and metrics over time" }
            p.legend { span { svg viewBox="0 0 12 12" aria-hidden="true" { path.no d="M3 3h6v6h-6z" {} } "violates its constraint" }
                span { svg viewBox="0 0 12 12" aria-hidden="true" { path.ok d="M4 6a2 2 0 1 0 4 0a2 2 0 1 0-4 0" {} } "meets its constraint" }
                span { svg viewBox="0 0 12 12" aria-hidden="true" { path.th d="M0 6H12" {} } "threshold" } }
            @for section in &sections { (PreEscaped(section)) }
        }
    }
}

/// Distributions of the latest executions and their baselines, columns with violations first.
fn distributions(view: &ModelView<'_>) -> Markup {
    html! {
        @for comparison in view.comparisons {
            @let (sections, omitted) = column_markup(comparison, view.documents.ledgers);
            @if !sections.is_empty() {
                h2 { "Distributions of " (comparison.schedule) ": now and baseline" }
                p.soft { "Execution of " (time(comparison.scheduled_time)) " UTC, " (object(&comparison.statistics_uri, view.console))
                    @if let Some(uri) = &comparison.baseline_uri { "; baseline " (object(&format!("{}/statistics.json", uri.trim_end_matches('/')), view.console)) } }
                div.cols { p.soft { (PreEscaped(COLUMN_LEGEND)) } (PreEscaped(sections)) }
                @if omitted > 0 { p.soft { "Without a chart: " (text::count(omitted, "more column")) ". The files contain all columns." } }
            }
        }
    }
}

fn column_markup(comparison: &Comparison, ledgers: &[MonitorLedger]) -> (String, usize) {
    let ledger = ledgers
        .iter()
        .find(|ledger| ledger.monitor.schedule == comparison.schedule);
    let datapoints = ledger.iter().flat_map(|ledger| &ledger.datapoints);
    let execution = datapoints
        .into_iter()
        .find(|datapoint| datapoint.scheduled_time == comparison.scheduled_time);
    let report = execution.and_then(|datapoint| datapoint.evidence.report.as_ref());
    let violated: BTreeSet<&str> = report
        .iter()
        .flat_map(|report| &report.top)
        .map(|violation| violation.subject.as_str())
        .collect();
    let mut features: Vec<&FeatureStatistics> = comparison.current.features.iter().flatten().collect();
    features.sort_by_key(|feature| !violated.contains(feature.name.as_str()));
    let drawn: Vec<&FeatureStatistics> = features.iter().take(MAX_COLUMNS).copied().collect();
    let sections = column_sections(&drawn, comparison.baseline.as_ref());
    (sections, features.len() - drawn.len())
}

fn experiments(document: &ExperimentDocument, view: &ModelView<'_>) -> Markup {
    let open = document.experiment.iter().map(|experiment| (experiment, None));
    let ended = document.ended.iter().rev();
    let ended = ended.map(|ended| (&ended.experiment, Some((ended.conclusion, ended.ended_at))));
    let all: Vec<_> = open.chain(ended).collect();
    html! {
        h2 #experiments { "Experiments" }
        @for (experiment, ended) in all.iter().take(MAX_EXPERIMENTS) {
            @let state = ended.map_or(experiment.stage.as_str(), |(conclusion, _)| conclusion.as_str());
            h3 { (experiment.id) " " (badge(conclusion_class(ended.map(|(conclusion, _)| conclusion)), state)) }
            p { (prose(&experiment.sentence)) }
            p.soft { "Candidate " (resource_link(&experiment.package.arn, view)) ", opened at " (time(experiment.opened_at)) " UTC"
                @if let Some((_, at)) = ended { ", ended at " (time(*at)) " UTC" } }
            @if ended.is_none() && experiment.stage == ExperimentStage::Paused {
                pre tabindex="0" { "driftwarden experiment promote " (experiment.id) " --reason \"…\"\ndriftwarden experiment rollback " (experiment.id) " --reason \"…\"" }
            }
            @if !experiment.looks.is_empty() {
                figure.ex { div.wide tabindex="0" role="region" aria-label=(format!("Confidence sequence of {}", experiment.id)) {
                    (PreEscaped(plot::svg(&plot::Plot { experiment, ended: *ended, now: view.now }))) } }
            }
        }
        @if all.len() > MAX_EXPERIMENTS {
            details { summary { "Earlier experiments" }
                ul { @for (experiment, ended) in all.iter().skip(MAX_EXPERIMENTS) {
                    li { (experiment.id) ": " (ended.map_or("", |(conclusion, _)| Conclusion::as_str(conclusion))) ". " (prose(&experiment.sentence)) }
                } } }
        }
    }
}

fn incidents(view: &ModelView<'_>) -> Markup {
    let closed = view
        .documents
        .document
        .map(|document| document.closed.as_slice())
        .unwrap_or_default();
    html! {
        @if !closed.is_empty() {
            h2 #incidents { "Closed incidents" }
            div.wide tabindex="0" role="region" aria-label="Closed incidents" { table {
                thead { tr { th scope="col" { "Incident" } th scope="col" { "Opened" } th scope="col" { "Closed" } th scope="col" { "Outcome" } th scope="col" { "Duration" } th scope="col" { "Last decision" } } }
                tbody { @for incident in closed.iter().rev() {
                    tr {
                        th scope="row" { (incident.incident.id) }
                        td.num { (time(incident.incident.opened_at)) }
                        td.num { (time(incident.closed_at)) }
                        td { (badge(if incident.outcome == remediation::Outcome::Resolved { "" } else { "good" }, incident.outcome.as_str())) }
                        td.num { (text::duration(incident.closed_at.duration_since(incident.incident.opened_at))) }
                        td { @if let Some(decision) = &incident.incident.decision { (prose(&past_sentence(view.documents.model, decision))) } }
                    }
                } }
            } }
        }
    }
}

fn executions(view: &ModelView<'_>) -> Markup {
    html! {
        @if view.documents.ledgers.iter().any(|ledger| !ledger.datapoints.is_empty()) {
            h2 #executions { "Monitoring executions" }
            @for ledger in view.documents.ledgers {
                details {
                    summary { (ledger.monitor.schedule) ": last " (text::count(ledger.datapoints.len().min(MAX_EXECUTIONS), "execution")) }
                    div.wide tabindex="0" role="region" aria-label=(format!("Executions of {}", ledger.monitor.schedule)) { table {
                        thead { tr { th scope="col" { "Scheduled" } th scope="col" { "State" } th.r scope="col" { "Violations" } th scope="col" { "Worst violations" } th scope="col" { "Report" } } }
                        tbody { @for datapoint in ledger.datapoints.iter().rev().take(MAX_EXECUTIONS) {
                            @let report = datapoint.evidence.report.as_ref();
                            tr {
                                th scope="row" { (time(datapoint.scheduled_time)) }
                                td class=[state_class(datapoint.state())] { (datapoint.state().as_str()) }
                                td.r { @if let Some(count) = datapoint.evidence.violations() { (count) } }
                                td { @for violation in report.iter().flat_map(|report| &report.top).take(4) {
                                    b { (violation.subject) } " " (violation.constraint_check_type) " " span.soft { (violation.values().unwrap_or_default()) } br; }
                                    @if let Some(reason) = failure_reason(datapoint) { span.soft { (reason) } } }
                                td { @if let Some(report) = report { (object(&report.uri, view.console)) } }
                            }
                        } }
                    } }
                }
            }
        }
    }
}

/// Why an execution failed or had no data.
fn failure_reason(datapoint: &alerting::Datapoint) -> Option<&str> {
    let failed = matches!(datapoint.state(), DatapointState::Failed | DatapointState::NoData);
    let evidence = &datapoint.evidence;
    let execution = evidence
        .execution
        .as_ref()
        .and_then(|evidence| evidence.reason.as_deref());
    let job = evidence.job.as_ref().and_then(|evidence| evidence.reason.as_deref());
    execution.or(job).filter(|_| failed)
}

fn state_class(state: DatapointState) -> Option<&'static str> {
    match state {
        DatapointState::Clean => None,
        DatapointState::Violations => Some("bad"),
        DatapointState::Failed => Some("warn"),
        DatapointState::NoData | DatapointState::Missing => Some("soft"),
    }
}
