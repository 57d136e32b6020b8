//! The page of one model: where it stands and why, what happened, what its monitors measured, its experiments, its lineage.

use crate::{
    Console, Documents, EndpointFacts, Measured, Summary,
    frame::{Frame, badge, counts, lasting, legend, number, prose, strip, time},
    history::log,
    lineage,
    overview::{alert, class_of, conclusion_class, risk},
    series::{self, object},
    summary::STRIP,
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

/// So many entries of the log are shown.
const ENTRIES: usize = 80;
/// So many executions of each monitor are listed.
const EXECUTIONS: usize = 48;
/// Of so many columns the distributions are drawn, those that violate something first.
const COLUMNS: usize = 24;
/// So many experiments are drawn, the latest first.
const EXPERIMENTS: usize = 3;

/// The distributions that a data quality monitor saw last, and those of its baseline.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// The monitoring schedule.
    pub schedule: String,
    /// Which execution.
    pub scheduled_time: Timestamp,
    /// `s3://` URI of its `statistics.json`.
    pub statistics_uri: String,
    /// `s3://` URI of the baseline's folder, if it is known.
    pub baseline_uri: Option<String>,
    /// The baseline's statistics, if they could be read.
    pub baseline: Option<Statistics>,
    /// The execution's.
    pub current: Statistics,
}

/// All that the page of a model shows.
#[derive(Debug, Clone)]
pub struct ModelView<'a> {
    /// What the deployment is called.
    pub deployment: &'a str,
    /// The documents.
    pub documents: Documents<'a>,
    /// What the overview says of it.
    pub summary: &'a Summary,
    /// What its monitors measured, beyond what the ledgers keep.
    pub measured: &'a [Measured],
    /// Distributions against the baseline.
    pub comparisons: &'a [Comparison],
    /// What could not be read, each in words.
    pub notes: &'a [String],
    /// When the page was made.
    pub now: Timestamp,
    /// Links into the console.
    pub console: &'a Console,
}

/// The page of a model: [`crate::page_of`].
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
                    (decided(view))
                    @if let Some(endpoint) = &view.summary.facts.endpoint { (endpoint_card(endpoint, view)) }
                    (retrainings(view))
                }
                (monitors(view))
            }
            h2 #timeline { "Timeline" }
            (legend())
            (timeline(documents, view.now))
            (happened(view))
            (measured(view))
            (distributions(view))
            @if let Some(document) = documents.experiments { (experiments(document, view)) }
            h2 #lineage { "Lineage" }
            (lineage::section(view))
            (incidents(view))
            (executions(view))
        },
        footer: html! {
            p { "Made by Driftwarden at " (time(view.now)) " UTC, by policy " code { (documents.policy.version()) } ". All times are UTC." }
        },
        script: "",
    }
    .page()
}

fn header(view: &ModelView<'_>) -> Markup {
    let summary = view.summary;
    html! {
        nav aria-label="Breadcrumb" { a href="../index.html" { "All models of " (view.deployment) } }
        h1 { (view.documents.model) " " (badge(class_of(summary.stage), summary.stage.as_str())) " " (risk(summary.risk_rating)) }
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

/// What was decided, why, and what people can do.
fn decided(view: &ModelView<'_>) -> Markup {
    let summary = view.summary;
    let incident = view.documents.document.and_then(|document| document.incident.as_ref());
    let decision = incident.and_then(|incident| incident.decision.as_ref());
    html! {
        section.card aria-labelledby="decided" {
            h2 #decided { "Decision" }
            @match (incident, decision) {
                (Some(incident), Some(decision)) => {
                    p { "Incident " b { (incident.id) } ", open since " (time(incident.opened_at)) ": " (badge(class_of(incident.stage), incident.stage.as_str())) }
                    (decision_of(decision))
                    (what_to_do(&incident.id, incident.stage, decision))
                }
                (Some(incident), None) => p { "Incident " b { (incident.id) } ", open since " (time(incident.opened_at)) ": no decision has been taken yet; the next sweep tries again." }
                (None, _) => {
                    p { "No incident is open." }
                    @if let Some(last) = &summary.decision {
                        p { "The last decision, of incident " b { (last.incident_id) } " at " (time(last.time)) ": " b { (last.verdict.as_str()) } }
                        p { (prose(&last.sentence)) }
                    }
                }
            }
        }
    }
}

fn decision_of(decision: &Decision) -> Markup {
    html! {
        p { b { (decision.verdict.as_str()) } " " span.soft { "at " (time(decision.time)) ", decision " (decision.number) ", policy " code { (decision.policy_version) } } }
        p { (prose(&decision.sentence)) }
        ul.why { @for reason in &decision.reasons { li { (prose(&reason.words())) } } }
        @if let Some(until) = decision.until { p { "Decided again at " (time(until)) " at the latest." } }
    }
}

fn what_to_do(id: &str, stage: Stage, decision: &Decision) -> Markup {
    let commands = match stage {
        Stage::AwaitingApproval => vec![
            format!("driftwarden approve {id}"),
            format!("driftwarden approve {id} --deny --reason \"…\""),
        ],
        Stage::Holding if decision.verdict == Verdict::Hold => vec![format!("driftwarden approve {id}")],
        Stage::AwaitingData | Stage::Escalated => vec![format!("driftwarden resolve {id} --reason \"…\"")],
        _ => Vec::new(),
    };
    html! { @if !commands.is_empty() { p { "What you can do:" } pre tabindex="0" { (commands.join("\n")) } } }
}

fn monitors(view: &ModelView<'_>) -> Markup {
    let summary = view.summary;
    let missing = summary.not_configured();
    html! {
        section.card aria-labelledby="monitors" {
            h2 #monitors { "Monitors" }
            @if summary.monitors.is_empty() { p.soft { "No monitor has reported yet." } }
            @for monitor in &summary.monitors {
                h3 { (monitor.monitor_type.as_deref().unwrap_or("Not told yet")) " " span.soft { (monitor.schedule) } }
                p.num { (alert(monitor)) span.soft {
                    " (alerts at " (monitor.datapoints_to_alert) " of " (monitor.evaluation_period)
                    @if let Some(latest) = monitor.latest { "; latest " (time(latest)) } ")" } }
                (strip(&monitor.states, STRIP, &format!("{}: {}", monitor.schedule, counts(&monitor.states))))
                p.soft { (counts(&monitor.states)) " of the latest " (STRIP) }
            }
            @if !missing.is_empty() && !summary.monitors.is_empty() { p.warn { "Not configured: " (missing.join(", ")) } }
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
                            td.r { (number(variant.share)) " %" }
                            td.r { (cell(variant.cpu, " %")) } td.r { (cell(variant.memory, " %")) } td.r { (cell(variant.disk, " %")) } td.r { (cell(variant.gpu, " %")) }
                            td.r { (cell(variant.invocations, "")) } td.r { (cell(variant.latency, " ms")) }
                            td.r { (cell(variant.errors_4xx, "")) } td.r { (cell(variant.errors_5xx, "")) }
                        }
                    } }
                }
            }
            @if let Some(at) = view.summary.facts.at { p.soft { "The hour before " (time(at)) } }
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
                    p { "Last retraining decided at " (time(last.time))
                        @if let Some(status) = last.status { ": " (status.as_str()) }
                        @match last.helped {
                            Some(true) => { ", " span.good { b { "it helped" } } ": the monitors were OK after it." }
                            Some(false) => { ", " span.bad { b { "it did not help" } } "." }
                            None => { "." }
                        }
                    }
                    p { (summary.retrainings) " known"
                        @if let Some(cost) = summary.cost { ", cost " (number(cost)) " so far" }
                        @if summary.retraining_seconds > 0 { ", " (lasting(jiff::SignedDuration::from_secs(summary.retraining_seconds))) " of runs" } "." }
                }
                None => p.soft { "Never retrained by Driftwarden." },
            }
            @if let Some(job) = &summary.facts.transform_job {
                p { "Most recent batch transform job: "
                    @match view.console.transform_job(&job.name) { Some(link) => a href=(link) { (job.name) }, None => (job.name) }
                    " " (badge(if job.status == "Failed" { "bad" } else { "" }, &job.status))
                    " " span.soft { (time(job.created)) @if let Some(ended) = job.ended { ", " (lasting(ended.duration_since(job.created))) } } }
                @if let Some(reason) = &job.failure_reason { p.bad { (reason) } }
            }
        }
    }
}

fn happened(view: &ModelView<'_>) -> Markup {
    let entries = log(&view.documents);
    html! {
        @if !entries.is_empty() {
            h2 #log { "What happened" }
            div.wide tabindex="0" role="region" aria-label="What happened" {
                table {
                    thead { tr { th scope="col" { "When" } th scope="col" { "What" } th scope="col" { "In words" } th scope="col" { "Look" } } }
                    tbody { @for entry in entries.iter().take(ENTRIES) {
                        tr {
                            td.num { (time(entry.at)) }
                            th scope="row" class=[(!entry.class.is_empty()).then_some(entry.class)] { (entry.kind.as_str()) }
                            td { (prose(&entry.what)) }
                            td { @if let Some(about) = &entry.about { (about_link(about, view)) } }
                        }
                    } }
                }
            }
            @if entries.len() > ENTRIES { p.soft { (entries.len() - ENTRIES) " earlier entries are in the documents of the state bucket." } }
        }
    }
}

fn about_link(about: &str, view: &ModelView<'_>) -> Markup {
    let link = view.console.arn(about).or_else(|| view.console.object(about));
    let name = about.rsplit('/').next().unwrap_or(about);
    html! { @match link { Some(link) => a href=(link) title=(about) { (name) }, None => code title=(about) { (name) } } }
}

fn measured(view: &ModelView<'_>) -> Markup {
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
                span { svg viewBox="0 0 12 12" aria-hidden="true" { path.ok d="M4 6a2 2 0 1 0 4 0a2 2 0 1 0-4 0" {} } "does not" }
                span { svg viewBox="0 0 12 12" aria-hidden="true" { path.th d="M0 6H12" {} } "threshold" } }
            @for section in &sections { (PreEscaped(section)) }
        }
    }
}

/// Distributions against the baseline: columns that the latest execution found violated first, at most so many.
fn distributions(view: &ModelView<'_>) -> Markup {
    html! {
        @for comparison in view.comparisons {
            @let (sections, left_out) = columns_of(comparison, view.documents.ledgers);
            @if !sections.is_empty() {
                h2 { "Distributions of " (comparison.schedule) ", now and in the baseline" }
                p.soft { "Execution of " (time(comparison.scheduled_time)) ", " (object(&comparison.statistics_uri, view.console))
                    @if let Some(uri) = &comparison.baseline_uri { "; baseline " (object(&format!("{}/statistics.json", uri.trim_end_matches('/')), view.console)) } }
                div.cols { p.soft { (PreEscaped(COLUMN_LEGEND)) } (PreEscaped(sections)) }
                @if left_out > 0 { p.soft { (left_out) " more columns are in the files above." } }
            }
        }
    }
}

fn columns_of(comparison: &Comparison, ledgers: &[MonitorLedger]) -> (String, usize) {
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
    let drawn: Vec<&FeatureStatistics> = features.iter().take(COLUMNS).copied().collect();
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
        @for (experiment, ended) in all.iter().take(EXPERIMENTS) {
            @let state = ended.map_or(experiment.stage.as_str(), |(conclusion, _)| conclusion.as_str());
            h3 { (experiment.id) " " (badge(conclusion_class(ended.map(|(conclusion, _)| conclusion)), state)) }
            p { (prose(&experiment.sentence)) }
            p.soft { "Candidate " (about_link(&experiment.package.arn, view)) ", opened " (time(experiment.opened_at))
                @if let Some((_, at)) = ended { ", ended " (time(*at)) } }
            @if ended.is_none() && experiment.stage == ExperimentStage::Paused {
                pre tabindex="0" { "driftwarden experiment promote " (experiment.id) " --reason \"…\"\ndriftwarden experiment rollback " (experiment.id) " --reason \"…\"" }
            }
            @if !experiment.looks.is_empty() {
                figure.ex { div.wide tabindex="0" role="region" aria-label=(format!("Confidence sequence of {}", experiment.id)) {
                    (PreEscaped(plot::svg(&plot::Plot { experiment, ended: *ended, now: view.now }))) } }
            }
        }
        @if all.len() > EXPERIMENTS {
            details { summary { "Earlier experiments" }
                ul { @for (experiment, ended) in all.iter().skip(EXPERIMENTS) {
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
            h2 #incidents { "Incidents that are over" }
            div.wide tabindex="0" role="region" aria-label="Incidents that are over" { table {
                thead { tr { th scope="col" { "Incident" } th scope="col" { "Opened" } th scope="col" { "Closed" } th scope="col" { "Outcome" } th scope="col" { "Took" } th scope="col" { "Last decision and why" } } }
                tbody { @for of in closed.iter().rev() {
                    tr {
                        th scope="row" { (of.incident.id) }
                        td.num { (time(of.incident.opened_at)) }
                        td.num { (time(of.closed_at)) }
                        td { (badge(if of.outcome == remediation::Outcome::Resolved { "" } else { "good" }, of.outcome.as_str())) }
                        td.num { (lasting(of.closed_at.duration_since(of.incident.opened_at))) }
                        td { @if let Some(decision) = &of.incident.decision { (prose(&decision.sentence)) } }
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
                    summary { (ledger.monitor.schedule) ": the latest " (ledger.datapoints.len().min(EXECUTIONS)) }
                    div.wide tabindex="0" role="region" aria-label=(format!("Executions of {}", ledger.monitor.schedule)) { table {
                        thead { tr { th scope="col" { "Scheduled" } th scope="col" { "State" } th.r scope="col" { "Violations" } th scope="col" { "Found, farthest beyond its threshold first" } th scope="col" { "Report" } } }
                        tbody { @for datapoint in ledger.datapoints.iter().rev().take(EXECUTIONS) {
                            @let report = datapoint.evidence.report.as_ref();
                            tr {
                                th scope="row" { (time(datapoint.scheduled_time)) }
                                td class=[class_of_state(datapoint.state())] { (datapoint.state().as_str()) }
                                td.r { @if let Some(count) = datapoint.evidence.violations() { (count) } }
                                td { @for violation in report.iter().flat_map(|report| &report.top).take(4) {
                                    b { (violation.subject) } " " (violation.constraint_check_type) " " span.soft { (violation.values().unwrap_or_default()) } br; }
                                    @if let Some(reason) = why(datapoint) { span.soft { (reason) } } }
                                td { @if let Some(report) = report { (object(&report.uri, view.console)) } }
                            }
                        } }
                    } }
                }
            }
        }
    }
}

/// Why an execution failed, or had no data.
fn why(datapoint: &alerting::Datapoint) -> Option<&str> {
    let failed = matches!(datapoint.state(), DatapointState::Failed | DatapointState::NoData);
    let evidence = &datapoint.evidence;
    let execution = evidence.execution.as_ref().and_then(|of| of.reason.as_deref());
    let job = evidence.job.as_ref().and_then(|of| of.reason.as_deref());
    execution.or(job).filter(|_| failed)
}

fn class_of_state(state: DatapointState) -> Option<&'static str> {
    match state {
        DatapointState::Clean => None,
        DatapointState::Violations => Some("bad"),
        DatapointState::Failed => Some("warn"),
        DatapointState::NoData | DatapointState::Missing => Some("soft"),
    }
}
