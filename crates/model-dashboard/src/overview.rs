//! The overview: every model of a deployment on one page, those that need somebody first.

use crate::{
    Console, EndpointFacts, MonitorSummary, STRIP, Summary, VariantFacts,
    frame::{Frame, badge, counts, lasting, legend, minute, number, strip, time},
    page_of,
};
use alerting::{AlertStatus, HealthStatus};
use jiff::{SignedDuration, Timestamp};
use maud::{Markup, html};
use promotion::{Conclusion, ExperimentStage};
use remediation::{RiskRating, Stage};

const STYLE: &str = include_str!("overview.css");
const SCRIPT: &str = include_str!("overview.js");

/// A longer reason is cut: it stands in full on the model's page.
const REASON: usize = 220;

/// All that the overview shows.
#[derive(Debug, Clone)]
pub struct Deployment<'a> {
    /// What it is called: the stack, or the state bucket.
    pub name: &'a str,
    /// When the page was made.
    pub now: Timestamp,
    /// The version of the policy in force.
    pub policy_version: &'a str,
    /// Every model, in any order.
    pub models: &'a [Summary],
    /// What could not be read, each in words.
    pub notes: &'a [String],
    /// Links into the console.
    pub console: &'a Console,
}

/// The page of a deployment: [`crate::OVERVIEW`].
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
                p { "No monitor has reported yet. A model appears with the first monitoring execution that is heard of; "
                    code { "driftwarden doctor" } " says whether anything can be." }
            } @else {
                (legend())
                table #models {
                    thead { tr {
                        th scope="col" { "Model" }
                        th scope="col" { "Stage, last decision and why" }
                        th scope="col" { "Monitors: latest " (STRIP) " executions; breaching of N, alert at M" }
                        th scope="col" { "Endpoint, last hour" }
                        th scope="col" { "Last retraining, experiment" }
                        th scope="col" { "Batch transform" }
                    } }
                    tbody { @for model in &models { (row(model, deployment)) } }
                }
            }
        },
        footer: html! {
            p { "Made by Driftwarden at " (time(deployment.now)) " UTC, by policy " code { (deployment.policy_version) }
                ". All times are UTC. Numbers of endpoints are those of the hour before they were asked for." }
        },
        script: if models.is_empty() { "" } else { SCRIPT },
    }
    .page()
}

/// The lower, the sooner somebody should look.
fn attention(model: &Summary) -> u8 {
    match model.stage {
        _ if model.needs_a_person() => 0,
        Stage::Healthy if model.in_alert() => 1,
        Stage::Healthy if model.unhealthy() => 3,
        Stage::Healthy => match &model.experiment {
            Some(experiment) if experiment.stage != ExperimentStage::Ended => 4,
            _ => 5,
        },
        _ => 2,
    }
}

fn header(deployment: &Deployment<'_>) -> Markup {
    let count = |what: &dyn Fn(&Summary) -> bool| deployment.models.iter().filter(|model| what(model)).count();
    let tested = |model: &Summary| {
        let open = |of: &crate::ExperimentSummary| of.stage != ExperimentStage::Ended;
        model.experiment.as_ref().is_some_and(open)
    };
    let costs: Vec<f64> = deployment.models.iter().filter_map(|model| model.cost).collect();
    let cost = (!costs.is_empty()).then(|| costs.iter().sum::<f64>());
    let figures = [
        (deployment.models.len(), "models", ""),
        (count(&Summary::needs_a_person), "need a person", "bad"),
        (count(&Summary::in_alert), "in alert", "bad"),
        (count(&|model| model.incident.is_some()), "open incidents", "warn"),
        (count(&Summary::unhealthy), "monitors silent", "warn"),
        (count(&tested), "candidates tested", ""),
    ];
    html! {
        h1 { "Models of " (deployment.name) }
        p.soft { "As of " (time(deployment.now)) " UTC" }
        ul.counts {
            @for (count, what, class) in figures {
                li { b class=[(count > 0 && !class.is_empty()).then_some(class)] { (count) } (what) }
            }
        }
        @if let Some(cost) = cost { p { "Retrainings so far cost " b { (number(cost)) } ", as the policy says what one costs." } }
        @if !deployment.notes.is_empty() {
            section aria-label="What could not be read" {
                @for note in deployment.notes { p.bad { (note) } }
            }
        }
    }
}

fn tools(deployment: &Deployment<'_>) -> Markup {
    html! {
        // Shown by the script: without one there is nothing to search with.
        form.tools hidden role="search" aria-label="Models" onsubmit="return false" {
            label { "Search" input #q type="search" autocomplete="off" placeholder="model, endpoint, schedule, reason"; }
            label { "Show" select #f {
                option value="" { "all models" }
                option value="p" { "those that need a person" }
                option value="a" { "in alert" }
                option value="i" { "with an open incident" }
                option value="u" { "with a silent monitor" }
                option value="e" { "with a candidate on test" }
                option value="m" { "with monitors missing" }
            } }
            label { "Order" select #s {
                option value="attention" { "who needs attention first" }
                option value="name" { "name" }
                option value="invocations" { "invocations" }
                option value="latency" { "latency" }
                option value="errors" { "errors" }
                option value="cpu" { "CPU" }
                option value="retrained" { "last retraining" }
            } }
            output #shown aria-live="polite" { (deployment.models.len()) " models" }
        }
    }
}

/// What the script filters and sorts by.
fn key(model: &Summary) -> String {
    let variants = || model.facts.endpoint.iter().flat_map(|endpoint| &endpoint.variants);
    let most = |of: fn(&VariantFacts) -> Option<f64>| variants().filter_map(of).fold(-1.0, f64::max);
    let sum = |of: fn(&VariantFacts) -> f64| variants().map(of).sum::<f64>();
    let retrained = model
        .retraining
        .as_ref()
        .map_or(0, |retraining| retraining.time.as_second());
    let tested = model.experiment.as_ref().map(|of| of.stage);
    let flags = [
        (model.needs_a_person(), 'p'),
        (model.in_alert(), 'a'),
        (model.incident.is_some(), 'i'),
        (model.unhealthy(), 'u'),
        (tested.is_some_and(|stage| stage != ExperimentStage::Ended), 'e'),
        (!model.not_configured().is_empty(), 'm'),
    ];
    let flags: String = flags.iter().filter_map(|(is, flag)| is.then_some(*flag)).collect();
    let name: String = model.model.chars().filter(|c| *c != '|').collect();
    format!(
        "{name}|{:.0}|{:.0}|{:.1}|{:.0}|{retrained}|{flags}",
        most(|variant| variant.cpu),
        sum(|variant| variant.invocations.unwrap_or_default()),
        most(|variant| variant.latency),
        sum(|variant| variant.errors_4xx.unwrap_or_default() + variant.errors_5xx.unwrap_or_default()),
    )
}

fn row(model: &Summary, deployment: &Deployment<'_>) -> Markup {
    html! {
        tr data-k=(key(model)) {
            th scope="row" {
                a href=(page_of(&model.model)) { (model.model) }
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

/// The class of a risk rating, and the rating.
pub(crate) fn risk(rating: RiskRating) -> Markup {
    let class = match rating {
        RiskRating::High => "bad",
        RiskRating::Medium => "warn",
        RiskRating::Low | RiskRating::Unknown => "",
    };
    badge(class, &format!("risk {}", rating.as_str().to_lowercase()))
}

/// The class that a stage is shown in.
pub(crate) fn class_of(stage: Stage) -> &'static str {
    match stage {
        Stage::Healthy => "good",
        Stage::AwaitingApproval | Stage::AwaitingData | Stage::Escalated => "bad",
        _ => "warn",
    }
}

fn stage(model: &Summary, now: Timestamp) -> Markup {
    html! {
        (badge(class_of(model.stage), model.stage.as_str()))
        @if let Some(incident) = &model.incident {
            " " span.soft { (incident.id) ", open " (ago(incident.opened_at, now)) }
        }
        @if let Some(decision) = &model.decision {
            p.w { (cut(&decision.sentence)) }
            p.soft { (minute(decision.time))
                @if let Some(until) = model.incident.as_ref().and_then(|incident| incident.until) { ", until " (minute(until)) } }
        }
    }
}

fn cut(text: &str) -> String {
    let mut said: String = text.chars().filter(|c| *c != '`').take(REASON).collect();
    if text.chars().count() > REASON {
        said.push('…');
    }
    said
}

/// How long ago something was.
fn ago(at: Timestamp, now: Timestamp) -> String {
    lasting(now.duration_since(at))
}

fn monitors(model: &Summary) -> Markup {
    let missing = model.not_configured();
    html! {
        dl.mo { @for monitor in &model.monitors { (monitor_row(monitor)) } }
        @if !missing.is_empty() && missing.len() < 4 {
            p.soft { "Not configured: " (missing.join(", ")) }
        }
    }
}

fn monitor_row(monitor: &MonitorSummary) -> Markup {
    let name = monitor.monitor_type.as_deref().unwrap_or(&monitor.schedule);
    let label = format!("{}: {}", monitor.schedule, counts(&monitor.states));
    html! {
        dt { (name) }
        dd { (strip(&monitor.states, STRIP, &label)) }
        dd { (alert(monitor)) }
    }
}

/// The alert of a monitor: how many of its N evaluated datapoints breach, and at how many, M, it alerts.
pub(crate) fn alert(monitor: &MonitorSummary) -> Markup {
    let MonitorSummary {
        breaching,
        datapoints_to_alert,
        evaluation_period,
        ..
    } = monitor;
    let window = format!("{breaching}/{evaluation_period} at {datapoints_to_alert}");
    html! {
        @if monitor.health == HealthStatus::Unhealthy { b.warn { "silent" } " " }
        @match monitor.status {
            AlertStatus::InAlert => span.bad { b { "InAlert" } " " (window) },
            AlertStatus::Ok => { span.soft { "OK" } " " (window) }
            AlertStatus::InsufficientData => { span.soft { "INSUFFICIENT_DATA" } " " (window) }
        }
    }
}

fn endpoint_cell(endpoint: &EndpointFacts) -> Markup {
    html! {
        @if endpoint.status != "InService" { p.warn { b { (endpoint.status) } } }
        @for variant in &endpoint.variants {
            p.va.num {
                @if endpoint.variants.len() > 1 { b { (variant.name) } " " span.soft { (number(variant.share)) " %" } br; }
                (figures(variant))
            }
        }
    }
}

/// The numbers of a variant.
fn figures(variant: &VariantFacts) -> Markup {
    let utilization = [
        ("CPU", variant.cpu),
        ("memory", variant.memory),
        ("disk", variant.disk),
        ("GPU", variant.gpu),
    ];
    let errors = [("4xx", variant.errors_4xx), ("5xx", variant.errors_5xx)];
    html! {
        @for (what, value) in utilization {
            @if let Some(value) = value { span class=[(value > 85.0).then_some("warn")] { (what) " " (number(value)) " %" } }
        }
        br;
        @if let Some(value) = variant.invocations { span { (number(value)) " requests" } }
        @if let Some(value) = variant.latency { span { "p99 " (number(value)) " ms" } }
        @for (what, value) in errors {
            @if let Some(value) = value.filter(|value| *value > 0.0) { span.bad { (number(value)) " " (what) } }
        }
    }
}

fn retraining(model: &Summary, now: Timestamp) -> Markup {
    html! {
        @if let Some(last) = &model.retraining {
            p { (ago(last.time, now)) " ago"
                @match last.helped {
                    Some(true) => { ", " span.good { b { "helped" } } }
                    Some(false) => { ", " span.bad { b { "did not help" } } }
                    None => @if let Some(status) = last.status { ", " (status.as_str()) }
                }
            }
            p.soft { (model.retrainings) " so far"
                @if let Some(cost) = model.cost { ", cost " (number(cost)) }
                @if model.retraining_seconds > 0 { ", " (lasting(SignedDuration::from_secs(model.retraining_seconds))) " of pipeline runs" } }
        }
        @if let Some(experiment) = &model.experiment {
            p { (badge(conclusion_class(experiment.conclusion), experiment.conclusion.map_or(experiment.stage.as_str(), Conclusion::as_str)))
                " " span.soft { (experiment.id) } }
        }
    }
}

/// The class that the end of an experiment is shown in.
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
            p { (badge(if job.status == "Failed" { "bad" } else { "" }, &job.status)) " " span.soft { (ago(job.created, now)) " ago" } }
            p.soft { (job.name) }
        }
    }
}
