//! The overview: all models of a deployment on one page, those that need action first.

use crate::{
    Console, EndpointFacts, MonitorSummary, STRIP_EXECUTIONS, Summary, VariantFacts,
    frame::{Frame, badge, describe_states, legend, number, policy, strip, time},
    page_path,
    summary::MONITOR_TYPES,
};
use alerting::{AlertStatus, HealthStatus};
use jiff::{SignedDuration, Timestamp};
use maud::{Markup, html};
use promotion::Conclusion;
use remediation::{RiskRating, Stage};
use std::fmt::Write as _;

const STYLE: &str = include_str!("overview.css");
const SCRIPT: &str = include_str!("overview.js");

/// Longer reasons are cut. The model's page contains the complete text.
const MAX_REASON_CHARS: usize = 220;

/// Input of the overview.
#[derive(Debug, Clone)]
pub struct Deployment<'a> {
    /// Name of the deployment: its stack, or its state bucket.
    pub name: &'a str,
    /// Time at which the page is rendered.
    pub now: Timestamp,
    /// Version of the effective policy. `default` if no policy was published yet.
    pub policy_version: &'a str,
    /// All models, in any order.
    pub models: &'a [Summary],
    /// Documents that could not be read, one message each.
    pub notes: &'a [String],
    /// Links into the AWS console.
    pub console: &'a Console,
}

/// Renders the overview ([`crate::OVERVIEW`]).
pub fn overview(deployment: &Deployment<'_>) -> String {
    let mut models: Vec<&Summary> = deployment.models.iter().collect();
    models.sort_by(|a, b| attention(a).cmp(&attention(b)).then_with(|| a.model.cmp(&b.model)));
    Frame {
        title: &format!("Models of {}", deployment.name),
        style: STYLE,
        header: header(deployment),
        main: html! {
            (tools(deployment))
            @if models.is_empty() {
                p { "No monitor has reported yet. A model appears after its first monitoring execution. Run "
                    code { "driftwarden doctor" } " to check the deployment." }
            } @else {
                (legend())
                (unknowns(deployment.models))
                table #models {
                    thead { tr {
                        th scope="col" { "Model" }
                        th scope="col" { "Stage, reason, and last decision" }
                        th scope="col" { "Monitors: last " (STRIP_EXECUTIONS) " executions; breaching datapoints, alert threshold" }
                        th scope="col" { "Endpoint, last hour" }
                        th scope="col" { "Last retraining, experiment" }
                        th scope="col" { "Batch transform" }
                    } }
                    tbody { @for model in &models { (row(model, deployment)) } }
                }
            }
        },
        footer: html! {
            p { "Written by Driftwarden at " (time(deployment.now)) " UTC, " (policy(deployment.policy_version))
                ". All times are UTC. Endpoint metrics cover the hour before the page was written." }
        },
        script: if models.is_empty() { "" } else { SCRIPT },
    }
    .page()
}

/// Sort key: models with a lower number need attention sooner.
fn attention(model: &Summary) -> u8 {
    match model.stage {
        _ if model.needs_action() => 0,
        Stage::Healthy if model.in_alert() => 1,
        // Drift of these models may go undetected.
        _ if model.unhealthy() => 2,
        Stage::Healthy if model.has_open_experiment() => 4,
        Stage::Healthy => 5,
        _ => 3,
    }
}

fn header(deployment: &Deployment<'_>) -> Markup {
    let count = |matches: &dyn Fn(&Summary) -> bool| deployment.models.iter().filter(|model| matches(model)).count();
    let costs: Vec<f64> = deployment.models.iter().filter_map(|model| model.cost).collect();
    let cost = (!costs.is_empty()).then(|| costs.iter().sum::<f64>());
    let figures = [
        (deployment.models.len(), ["model", "models"], ""),
        (
            count(&Summary::needs_action),
            ["model that needs action", "models that need action"],
            "bad",
        ),
        (count(&Summary::in_alert), ["model in alert", "models in alert"], "bad"),
        (
            count(&|model| model.incident.is_some()),
            ["open incident", "open incidents"],
            "warn",
        ),
        (
            count(&Summary::unhealthy),
            ["model with an unhealthy monitor", "models with an unhealthy monitor"],
            "bad",
        ),
        (
            count(&Summary::has_open_experiment),
            ["open experiment", "open experiments"],
            "",
        ),
    ];
    html! {
        h1 { "Models of " (deployment.name) }
        p.soft { "As of " (time(deployment.now)) " UTC" }
        ul.counts {
            @for (count, [singular, plural], class) in figures {
                li { b class=[(count > 0 && !class.is_empty()).then_some(class)] { (count) } (if count == 1 { singular } else { plural }) }
            }
        }
        @if let Some(cost) = cost { p { "Retraining cost so far: " b { (number(cost)) } ", at the cost per retraining set in the policy." } }
        @if !deployment.notes.is_empty() {
            section aria-label="Documents that could not be read" {
                @for note in deployment.notes { p.bad { (note) } }
            }
        }
    }
}

fn tools(deployment: &Deployment<'_>) -> Markup {
    html! {
        // The script shows the form: without the script, search does not work.
        form.tools hidden role="search" aria-label="Models" onsubmit="return false" {
            label { "Search" input #q type="search" autocomplete="off" placeholder="model, endpoint, schedule, reason"; }
            label { "Show" select #f {
                option value="" { "all models" }
                option value="p" { "models that need action" }
                option value="a" { "models in alert" }
                option value="i" { "models with an open incident" }
                option value="u" { "models with an unhealthy monitor" }
                option value="e" { "models with an open experiment" }
                option value="m" { "models with a monitor type not configured" }
            } }
            label { "Order" select #s {
                option value="attention" { "attention" }
                option value="name" { "name" }
                option value="invocations" { "invocations" }
                option value="latency" { "latency" }
                option value="errors" { "errors" }
                option value="cpu" { "CPU" }
                option value="retrained" { "last retraining" }
            } }
            output #shown aria-live="polite" { (text::count(deployment.models.len(), "model")) }
        }
    }
}

/// Values that the script filters and sorts by.
fn key(model: &Summary) -> String {
    let variants = || model.facts.endpoint.iter().flat_map(|endpoint| &endpoint.variants);
    let maximum = |value: fn(&VariantFacts) -> Option<f64>| variants().filter_map(value).fold(-1.0, f64::max);
    let sum = |value: fn(&VariantFacts) -> f64| variants().map(value).sum::<f64>();
    let retrained = model
        .retraining
        .as_ref()
        .map_or(0, |retraining| retraining.time.as_second());
    let flags = [
        (model.needs_action(), 'p'),
        (model.in_alert(), 'a'),
        (model.incident.is_some(), 'i'),
        (model.unhealthy(), 'u'),
        (model.has_open_experiment(), 'e'),
        (!model.not_configured().is_empty(), 'm'),
    ];
    let flags: String = flags.iter().filter_map(|(is, flag)| is.then_some(*flag)).collect();
    let name: String = model.model.chars().filter(|c| *c != '|').collect();
    format!(
        "{name}|{:.0}|{:.0}|{:.1}|{:.0}|{retrained}|{flags}",
        maximum(|variant| variant.cpu),
        sum(|variant| variant.invocations.unwrap_or_default()),
        maximum(|variant| variant.latency),
        sum(|variant| variant.errors_4xx.unwrap_or_default() + variant.errors_5xx.unwrap_or_default()),
    )
}

fn row(model: &Summary, deployment: &Deployment<'_>) -> Markup {
    html! {
        tr data-k=(key(model)) {
            th scope="row" {
                a href=(page_path(&model.model)) { (model.model) }
                br;
                @match &model.endpoint {
                    Some(endpoint) if *endpoint != model.model => { span.soft { "endpoint " (endpoint) } br; }
                    Some(_) => {}
                    None => { span.soft { "batch transform" } br; }
                }
                (risk(model.risk_rating))
            }
            td { (stage(model, deployment.now)) }
            td { (monitors(model)) }
            td { @if let Some(endpoint) = &model.facts.endpoint { (endpoint_cell(endpoint)) } }
            td { (retraining(model, deployment.now)) }
            td { (batch(model, deployment.now)) }
        }
    }
}

/// Unknown ratings and missing monitor types, once for all models instead of on every row.
fn unknowns(models: &[Summary]) -> Markup {
    let unrated = models
        .iter()
        .filter(|model| model.risk_rating == RiskRating::Unknown)
        .count();
    let mut missing = String::new();
    for name in MONITOR_TYPES {
        let count = models
            .iter()
            .filter(|model| !model.monitors.is_empty() && model.not_configured().contains(&name))
            .count();
        if count > 0 {
            let separator = if missing.is_empty() { "" } else { ", " };
            // Writing to a `String` never fails.
            let _written = write!(missing, "{separator}{name} ({})", text::count(count, "model"));
        }
    }
    html! {
        @if unrated > 0 { p.soft { "Risk rating unknown: " (text::count(unrated, "model")) } }
        @if !missing.is_empty() { p.soft { "Not configured: " (missing) } }
    }
}

/// Badge of a risk rating. An unknown rating has none.
pub(crate) fn risk(rating: RiskRating) -> Markup {
    let class = match rating {
        RiskRating::High => "bad",
        RiskRating::Medium => "warn",
        RiskRating::Low => "",
        RiskRating::Unknown => return html! {},
    };
    badge(class, &format!("risk {}", rating.as_str().to_lowercase()))
}

/// CSS class of a stage.
pub(crate) fn stage_class(stage: Stage) -> &'static str {
    match stage {
        Stage::Healthy => "good",
        Stage::AwaitingApproval | Stage::AwaitingData | Stage::Escalated => "bad",
        _ => "warn",
    }
}

/// Badges of a model's state. A model with an unhealthy monitor is never shown as healthy: its drift may go undetected.
pub(crate) fn state(model: &Summary) -> Markup {
    let unhealthy = model.unhealthy();
    html! {
        @if unhealthy {
            (badge("bad", &unhealthy_label(model)))
        }
        @if !unhealthy || model.stage != Stage::Healthy {
            @if unhealthy { " " }
            (badge(stage_class(model.stage), model.stage.as_str()))
        }
    }
}

fn unhealthy_label(model: &Summary) -> String {
    match model.unhealthy_since() {
        Some(since) => format!("Monitoring failed since {}", text::time(since)),
        None => "Monitoring failed".to_owned(),
    }
}

fn stage(model: &Summary, now: Timestamp) -> Markup {
    html! {
        (state(model))
        @if let Some(incident) = &model.incident {
            " " span.soft { (incident.id) ", open for " (elapsed(incident.opened_at, now)) }
        }
        @if let Some(decision) = &model.decision {
            p.w {
                @match &model.incident {
                    Some(incident) if !incident.findings.is_empty() => { b { (incident.findings) } ". " }
                    _ => {}
                }
                (cut(&decision.sentence))
            }
            p.soft { "Decided " (text::time(decision.time))
                @if let Some(until) = model.incident.as_ref().and_then(|incident| incident.until) { ", next decision by " (text::time(until)) } }
        }
    }
}

fn cut(text: &str) -> String {
    let mut reason: String = text.chars().filter(|c| *c != '`').take(MAX_REASON_CHARS).collect();
    if text.chars().count() > MAX_REASON_CHARS {
        reason.push('…');
    }
    reason
}

/// Time since an event.
fn elapsed(at: Timestamp, now: Timestamp) -> String {
    text::duration(now.duration_since(at))
}

fn monitors(model: &Summary) -> Markup {
    html! {
        dl.mo { @for monitor in &model.monitors { (monitor_row(monitor)) } }
    }
}

fn monitor_row(monitor: &MonitorSummary) -> Markup {
    let name = monitor.monitor_type.as_deref().unwrap_or(&monitor.schedule);
    let label = format!("{}: {}", monitor.schedule, describe_states(&monitor.states));
    html! {
        dt { (name) }
        dd { (strip(&monitor.states, STRIP_EXECUTIONS, &label)) }
        dd { (alert(monitor)) }
    }
}

/// Alert status of a monitor: breaching datapoints of the last N, and the number M that raises the alert.
pub(crate) fn alert(monitor: &MonitorSummary) -> Markup {
    let MonitorSummary {
        breaching,
        datapoints_to_alert,
        evaluation_period,
        ..
    } = monitor;
    let window = format!("{breaching} of {evaluation_period}, alert at {datapoints_to_alert}");
    html! {
        @if monitor.health == HealthStatus::Unhealthy { b.bad { "unhealthy" } " " }
        @match monitor.status {
            AlertStatus::InAlert => span.bad { b { "InAlert" } " " (window) },
            AlertStatus::Ok => { span.soft { "OK" } " " (window) }
            AlertStatus::InsufficientData => { span.soft { "insufficient data" } " " (window) }
        }
    }
}

fn endpoint_cell(endpoint: &EndpointFacts) -> Markup {
    html! {
        @if endpoint.status != "InService" { p.warn { b { (endpoint.status) } } }
        @for variant in &endpoint.variants {
            p.va.num {
                @if endpoint.variants.len() > 1 { b { (variant.name) } " " span.soft { (number(variant.share)) "%" } br; }
                (figures(variant))
            }
        }
    }
}

/// Metrics of a variant.
fn figures(variant: &VariantFacts) -> Markup {
    let utilization = [
        ("CPU", variant.cpu),
        ("memory", variant.memory),
        ("disk", variant.disk),
        ("GPU", variant.gpu),
    ];
    let errors = [("4xx", variant.errors_4xx), ("5xx", variant.errors_5xx)];
    html! {
        @for (label, value) in utilization {
            @if let Some(value) = value { span class=[(value > 85.0).then_some("warn")] { (label) " " (number(value)) "%" } }
        }
        br;
        @if let Some(value) = variant.invocations { span { (number(value)) " requests" } }
        @if let Some(value) = variant.latency { span { "p99 " (number(value)) " ms" } }
        @for (label, value) in errors {
            @if let Some(value) = value.filter(|value| *value > 0.0) { span.bad { (number(value)) " " (label) } }
        }
    }
}

fn retraining(model: &Summary, now: Timestamp) -> Markup {
    html! {
        @if let Some(last) = &model.retraining {
            p { (elapsed(last.time, now)) " ago"
                @match last.verified {
                    Some(true) => { ", " span.good { b { "drift fixed" } } }
                    Some(false) => { ", " span.bad { b { "drift not fixed" } } }
                    None => @if let Some(status) = last.status { ", " (status.as_str()) }
                }
            }
            p.soft { (text::count(model.retrainings, "retraining"))
                @if let Some(cost) = model.cost { ", cost " (number(cost)) }
                @if model.retraining_seconds > 0 { ", " (text::duration(SignedDuration::from_secs(model.retraining_seconds))) " in pipelines" } }
        }
        @if let Some(experiment) = &model.experiment {
            p { (badge(conclusion_class(experiment.conclusion), experiment.conclusion.map_or(experiment.stage.as_str(), Conclusion::as_str)))
                " " span.soft { (experiment.id) } }
        }
    }
}

/// CSS class of the result of an experiment.
pub(crate) fn conclusion_class(conclusion: Option<Conclusion>) -> &'static str {
    match conclusion {
        Some(Conclusion::Promoted) => "good",
        Some(Conclusion::Invalid | Conclusion::Failed | Conclusion::Abandoned) => "bad",
        Some(Conclusion::RolledBack | Conclusion::Rejected) => "warn",
        _ => "",
    }
}

fn batch(model: &Summary, now: Timestamp) -> Markup {
    html! {
        @if let Some(job) = &model.facts.transform_job {
            p { (badge(if job.status == "Failed" { "bad" } else { "" }, &job.status)) " " span.soft { (elapsed(job.created, now)) " ago" } }
            p.soft { (job.name) }
        }
    }
}
