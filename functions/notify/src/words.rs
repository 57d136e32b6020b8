//! Events in words: what happened, how bad it is, since when, what was decided and why, what happens next, what people can
//! do.

use crate::{
    experiment::{baseline_change, experiment_change},
    notification::{Form, Notification, ThreadStatus, ToldEvent},
};
use alerting::{
    AlertStateChange, AlertStatus, DatapointState, EventDatapoint, HealthStateChange, HealthStatus,
    MODEL_MONITOR_ALERT_STATE_CHANGE, MODEL_MONITOR_HEALTH_STATE_CHANGE, ReportedViolation, Severity,
};
use jiff::Timestamp;
use promotion::{EXPERIMENT_STATE_CHANGE, ExperimentStateChange, MONITOR_BASELINE_CHANGE, MonitorBaselineChange};
use remediation::{
    Automation, ExecutionStatus, IncidentClosed, NotificationKind, NotificationSeverity, Outcome, PipelineStart,
    REMEDIATION_DECIDED, REMEDIATION_INCIDENT_CLOSED, RETRAINING_PIPELINE_EXECUTION_STATUS_CHANGE, Reason,
    RemediationDecided, RetrainingStatusChange, Stage, StartKind, Verdict,
};
use serde::Deserialize;

/// How many violations a notification lists.
const LISTED: usize = 10;

/// To which thread of its model a notification belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Belongs {
    /// To the model's open incident, or to the one that it begins.
    Alert,
    /// To an incident.
    Incident {
        id: String,
        /// The retraining.
        execution: Option<String>,
    },
    /// To a monitor's health.
    Health { schedule: String },
    /// To an experiment: to the incident's, if that has retrained the candidate.
    Experiment {
        id: String,
        /// The retraining that made the candidate.
        execution: Option<String>,
    },
}

/// An event of ours.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Heard {
    /// The model.
    pub(crate) model: String,
    /// What it tells.
    pub(crate) notification: Notification,
    pub(crate) belongs: Belongs,
    /// What is the same under this key is a repeat; `None` for what is never one.
    pub(crate) key: Option<String>,
    /// Only the thread has to know.
    pub(crate) silent: bool,
}

impl Heard {
    fn new(model: &str, notification: Notification, belongs: Belongs) -> Self {
        Self {
            model: model.to_owned(),
            notification,
            belongs,
            key: None,
            silent: false,
        }
    }

    /// An event of ours; `None` for one that people are not told of.
    ///
    /// # Errors
    /// If the detail is not in the layout of its detail-type.
    pub(crate) fn of(
        detail_type: &str,
        detail: &serde_json::Value,
        region: Option<&str>,
    ) -> Result<Option<Self>, serde_json::Error> {
        let links = Links { region };
        let heard = match detail_type {
            MODEL_MONITOR_ALERT_STATE_CHANGE => Some(alert(&AlertStateChange::deserialize(detail)?, &links)),
            MODEL_MONITOR_HEALTH_STATE_CHANGE => Some(health(&HealthStateChange::deserialize(detail)?, &links)),
            REMEDIATION_DECIDED => Some(decision(&RemediationDecided::deserialize(detail)?, &links)),
            REMEDIATION_INCIDENT_CLOSED => Some(closed(&IncidentClosed::deserialize(detail)?)),
            RETRAINING_PIPELINE_EXECUTION_STATUS_CHANGE => {
                Some(retraining(&RetrainingStatusChange::deserialize(detail)?))
            }
            EXPERIMENT_STATE_CHANGE => {
                let change = ExperimentStateChange::deserialize(detail)?;
                experiment_change(&change, &links).map(|notification| {
                    let belongs = Belongs::Experiment {
                        id: change.experiment_id.clone(),
                        execution: change.pipeline_execution_arn.clone(),
                    };
                    Self::new(&change.model, notification, belongs)
                })
            }
            MONITOR_BASELINE_CHANGE => {
                let change = MonitorBaselineChange::deserialize(detail)?;
                let belongs = Belongs::Experiment {
                    id: change.experiment_id.clone(),
                    execution: None,
                };
                Some(Self::new(&change.model, baseline_change(&change, &links), belongs))
            }
            _ => None,
        };
        Ok(heard.map(|mut heard| {
            let policy_version = detail.get("policyVersion").and_then(|version| version.as_str());
            heard.notification.event = Some(ToldEvent {
                detail_type: detail_type.to_owned(),
                id: heard.notification.id.clone(),
                policy_version: policy_version.map(str::to_owned),
            });
            heard
        }))
    }
}

/// A notification of an event about a model.
pub(crate) fn about(id: &str, kind: NotificationKind, model: &str, time: Timestamp) -> Notification {
    let mut notification = Notification::new(id, Form::Single, time);
    notification.kind = Some(kind);
    notification.model = Some(model.to_owned());
    notification
}

fn alert(alert: &AlertStateChange, links: &Links<'_>) -> Heard {
    let schedule = &alert.monitoring_schedule;
    let mut told = about(&alert.id, NotificationKind::Alert, &alert.model, alert.time);
    told.monitoring_schedule = Some(schedule.clone());
    let kind = alert.monitor_type.as_deref().unwrap_or("Model Monitor");
    let (status, state) = match alert.alert_status {
        AlertStatus::InAlert => (ThreadStatus::Open, "is in alert"),
        AlertStatus::Ok => (ThreadStatus::Closed, "is OK again"),
        AlertStatus::InsufficientData => (ThreadStatus::Note, "has too little data to say"),
    };
    let counted = format!("{} of {} had violations", alert.breaching, alert.datapoints.len());
    told.status = status;
    told.severity = match (alert.alert_status, alert.severity) {
        (AlertStatus::InAlert, Some(Severity::Critical)) => NotificationSeverity::Critical,
        (AlertStatus::Ok, _) => NotificationSeverity::Info,
        _ => NotificationSeverity::Warning,
    };
    told.subject = format!(
        "{}: {schedule} {} ({counted})",
        alert.model,
        alert.alert_status.as_str()
    );
    told.what = format!("Model {}: the {kind} monitor {schedule} {state}.", alert.model);
    told.why = Some(format!("{}.", alert.reason));
    if alert.alert_status == AlertStatus::InAlert {
        told.how_bad = Some(how_bad(told.severity, &alert.violations));
        told.since = since(&alert.datapoints);
    }
    let executions = alert.datapoints.iter().map(execution).collect();
    told.facts("Executions evaluated (scheduled time, UTC)", executions);
    if alert.alert_status == AlertStatus::InAlert {
        let title = "Violations of the latest of them, farthest beyond the threshold first";
        told.facts(title, violations(&alert.violations));
    }
    look_at(&mut told, alert.report_uri.as_deref(), alert.endpoint.as_deref(), links);
    told.next(match alert.alert_status {
        AlertStatus::InAlert => {
            "Driftwarden decides; if this opens an incident, the decision comes in a message of its own."
        }
        AlertStatus::Ok => "The model's open incident is closed once all its monitors are OK and no retraining runs.",
        AlertStatus::InsufficientData => {
            "Nothing by itself. An open incident of the model stays open until the monitor is OK."
        }
    });
    told.action(
        "Look at the monitor's window:",
        &[format!("driftwarden alerts {schedule}")],
    );
    if alert.alert_status == AlertStatus::InAlert {
        pause(&mut told, &alert.model);
    }
    let key = format!(
        "alert {schedule} {} {}",
        alert.alert_status.as_str(),
        told.severity.as_str()
    );
    Heard {
        key: Some(key),
        ..Heard::new(&alert.model, told, Belongs::Alert)
    }
}

fn health(change: &HealthStateChange, links: &Links<'_>) -> Heard {
    let schedule = &change.monitoring_schedule;
    let mut told = about(&change.id, NotificationKind::Health, &change.model, change.time);
    told.monitoring_schedule = Some(schedule.clone());
    let unhealthy = change.health_status == HealthStatus::Unhealthy;
    let state = if unhealthy {
        "says nothing any more"
    } else {
        "works again"
    };
    let status = change.health_status.as_str();
    told.subject = format!("{}: monitor {schedule} {status}", change.model);
    told.what = format!("Model {}: the monitor {schedule} {state}.", change.model);
    told.why = Some(format!("{}.", change.reason));
    let executions = change.datapoints.iter().map(execution).collect();
    told.facts("Latest executions (scheduled time, UTC)", executions);
    if unhealthy {
        told.status = ThreadStatus::Open;
        told.severity = NotificationSeverity::Warning;
        told.how_bad = Some("warning: until it works again nobody sees whether the model drifts".to_owned());
        let silent = change.datapoints.iter().rev().take(change.in_a_row).next_back();
        told.since = silent.map(|datapoint| datapoint.scheduled_time);
        if let Some(endpoint) = &change.endpoint {
            told.look("Endpoint", endpoint, links.endpoint(endpoint));
        }
        told.next("Nothing by itself. That the monitor works again comes in a message of its own.");
        told.action(
            "Failed: look at the logs of the processing job. NoData: at data capture, or the endpoint's traffic.",
            &[],
        );
        told.action("Missing: look at the monitoring schedule's status, and its role.", &[]);
        told.action(
            "Look at the monitor's window:",
            &[format!("driftwarden alerts {schedule}")],
        );
    } else {
        told.status = ThreadStatus::Closed;
        told.next("Its executions count again.");
    }
    let belongs = Belongs::Health {
        schedule: schedule.clone(),
    };
    Heard {
        key: Some(format!("health {schedule} {status}")),
        ..Heard::new(&change.model, told, belongs)
    }
}

fn decision(decided: &RemediationDecided, links: &Links<'_>) -> Heard {
    let id = &decided.incident_id;
    let mut told = about(&decided.id, NotificationKind::Decision, &decided.model, decided.time);
    told.incident_id = Some(id.clone());
    let asks = if decided.stage == Stage::AwaitingApproval {
        ", approval needed"
    } else {
        ""
    };
    let verdict = decided.verdict.as_str();
    told.subject = format!("{}: {verdict} decided{asks} ({id})", decided.model);
    told.what = format!("Decided for model {}, incident {id}: {verdict}.", decided.model);
    told.why = Some(decided.sentence.clone());
    let critical = |severity: &Option<Severity>| *severity == Some(Severity::Critical);
    let grave = decided.verdict == Verdict::Escalate || decided.alerts.iter().any(|alert| critical(&alert.severity));
    told.severity = if grave {
        NotificationSeverity::Critical
    } else {
        NotificationSeverity::Warning
    };
    let worst = decided.alerts.iter().find(|alert| !alert.violations.is_empty());
    let worst = worst.map(|alert| alert.violations.as_slice()).unwrap_or_default();
    told.how_bad = Some(how_bad(told.severity, worst));
    told.since = decided.alerts.iter().filter_map(|alert| since(&alert.datapoints)).min();
    for alert in &decided.alerts {
        let schedule = &alert.monitoring_schedule;
        let title = format!("Monitor {schedule} ({} of {})", alert.breaching, alert.datapoints.len());
        told.facts(&title, alert.datapoints.iter().map(execution).collect());
        told.facts(
            "Violations, farthest beyond the threshold first",
            violations(&alert.violations),
        );
        if alert.report_uri.is_some() {
            look_at(&mut told, alert.report_uri.as_deref(), None, links);
        }
    }
    if !decided.pipeline_parameters.is_empty() {
        let parameters = decided.pipeline_parameters.iter();
        told.facts(
            "Parameters of the run",
            parameters.map(|(name, value)| format!("{name} = {value}")).collect(),
        );
    }
    follow(&mut told, decided);
    told.action(
        "Look at the incident:",
        &[format!("driftwarden incidents {}", decided.model)],
    );
    if !matches!(decided.verdict, Verdict::Escalate) {
        pause(&mut told, &decided.model);
    }
    let codes: Vec<String> = decided.reasons.iter().map(code).collect();
    let key = format!("decision {id} {verdict} {} {}", decided.stage.as_str(), codes.join(" "));
    // At the level `observe` decisions are kept, and nobody is told to act.
    let observes = |reason: &Reason| {
        matches!(
            reason,
            Reason::AutomationLevel {
                automation: Automation::Observe,
                ..
            }
        )
    };
    let belongs = Belongs::Incident {
        id: id.clone(),
        execution: None,
    };
    Heard {
        key: Some(key),
        silent: decided.reasons.iter().any(observes),
        ..Heard::new(&decided.model, told, belongs)
    }
}

/// What kind of reason it is.
fn code(reason: &Reason) -> String {
    let code = serde_json::to_value(reason).ok();
    let code = code.as_ref().and_then(|reason| reason.get("code")?.as_str());
    code.unwrap_or_default().to_owned()
}

/// What follows from a decision, and what people can do about it.
fn follow(told: &mut Notification, decided: &RemediationDecided) {
    let id = &decided.incident_id;
    let approve = |told: &mut Notification, why: &str| {
        let commands = [
            format!("driftwarden approve {id}"),
            format!("driftwarden approve {id} --deny --reason \"…\""),
        ];
        told.action(why, &commands);
    };
    match decided.verdict {
        Verdict::Retrain => {
            let pipeline = decided.pipeline.as_deref().unwrap_or_default();
            told.status = ThreadStatus::InProgress;
            told.next(&match (decided.start, decided.pipeline_start) {
                (Some(StartKind::StateMachine), _) => {
                    format!("The state machine {pipeline} is started, once for this incident.")
                }
                (Some(StartKind::Event), _) => "Whoever listens to Remediation Decided retrains.".to_owned(),
                (_, Some(PipelineStart::Rule)) => format!("An EventBridge rule starts the pipeline {pipeline}."),
                _ => format!("The pipeline {pipeline} is started, once for this incident."),
            });
            told.next("How it ended comes in a message of its own.");
        }
        Verdict::FixData => {
            told.status = ThreadStatus::Open;
            told.next("Nothing is retrained on broken data.");
            told.next("Once the monitor is OK the incident is closed, or what is left of the drift is decided on.");
            told.action("Mend the data, or where they come from.", &[]);
        }
        Verdict::Hold if decided.stage == Stage::AwaitingApproval => {
            told.status = ThreadStatus::Open;
            told.next(&match decided.until {
                Some(until) => format!(
                    "Nothing, until somebody decides. It is waited for until {}.",
                    second(until)
                ),
                None => "Nothing, until somebody decides.".to_owned(),
            });
            approve(told, "Somebody has to say yes or no:");
        }
        Verdict::Hold => {
            let suggested = |reason: &Reason| {
                matches!(
                    reason,
                    Reason::AutomationLevel {
                        automation: Automation::Suggest,
                        ..
                    }
                )
            };
            if decided.reasons.iter().any(suggested) {
                told.status = ThreadStatus::Open;
                told.next("Nothing, unless somebody says so: a retraining is suggested.");
                approve(told, "Say yes, and it is started; or no:");
                return;
            }
            told.next(&match decided.until {
                Some(until) => format!(
                    "It is decided again at {}, or as soon as something changes.",
                    second(until)
                ),
                None => "It is decided again as soon as something changes.".to_owned(),
            });
        }
        Verdict::Escalate => {
            told.status = ThreadStatus::Open;
            told.next("Nothing by itself: no second retraining is started for this incident.");
            told.next("Once every monitor is OK the incident is closed.");
            told.action(
                "Close it by hand, and let what still alerts begin anew:",
                &[format!("driftwarden resolve {id}")],
            );
        }
    }
}

fn closed(closed: &IncidentClosed) -> Heard {
    let id = &closed.incident_id;
    let mut told = about(&closed.id, NotificationKind::Incident, &closed.model, closed.time);
    told.incident_id = Some(id.clone());
    told.status = ThreadStatus::Closed;
    told.subject = format!("{}: incident {} ({id})", closed.model, closed.outcome.as_str());
    told.what.clone_from(&closed.sentence);
    told.since = Some(closed.opened_at);
    let mut lines = vec![format!("{} to {}", second(closed.opened_at), second(closed.closed_at))];
    if closed.outcome == Outcome::Recovered && closed.pipeline_execution_arn.is_none() {
        lines.push("Nothing was retrained.".to_owned());
    }
    told.facts("From the first alert to its end", lines);
    if let Some(arn) = &closed.pipeline_execution_arn {
        told.look("Retraining", arn, None);
    }
    told.next("The next alert of the model is an incident of its own.");
    told.action(
        "Look at what was decided in it:",
        &[format!("driftwarden incidents {}", closed.model)],
    );
    let belongs = Belongs::Incident {
        id: id.clone(),
        execution: closed.pipeline_execution_arn.clone(),
    };
    Heard::new(&closed.model, told, belongs)
}

fn retraining(change: &RetrainingStatusChange) -> Heard {
    let status = change.status.as_str();
    let mut told = about(&change.id, NotificationKind::Retraining, &change.model, change.time);
    told.incident_id = Some(change.incident_id.clone());
    told.subject = format!("{}: retraining {status} ({})", change.model, change.incident_id);
    told.what = format!(
        "Model {}: the retraining of incident {} ended: {status}.",
        change.model, change.incident_id
    );
    if let (Some(start), Some(end)) = (change.execution_start_time, change.execution_end_time) {
        told.facts("It ran", vec![format!("from {} to {}", second(start), second(end))]);
    }
    told.facts("It was started for", vec![change.sentence.clone()]);
    told.look("Pipeline execution", &change.pipeline_execution_arn, None);
    if change.status == ExecutionStatus::Succeeded {
        told.next("The next monitoring executions show whether it helped; until they are OK the incident stays open.");
    } else {
        told.status = ThreadStatus::Open;
        told.severity = NotificationSeverity::Warning;
        told.how_bad = Some("warning: the model that drifts still serves".to_owned());
        told.next("Nothing by itself. The incident stays open until its monitors are OK, or somebody closes it.");
        told.action("Look at the failed step, and mend it.", &[]);
        told.action(
            "Close the incident, and let what still alerts begin anew:",
            &[format!("driftwarden resolve {}", change.incident_id)],
        );
    }
    told.action(
        "Look at the incident:",
        &[format!("driftwarden incidents {}", change.model)],
    );
    let belongs = Belongs::Incident {
        id: change.incident_id.clone(),
        execution: Some(change.pipeline_execution_arn.clone()),
    };
    Heard::new(&change.model, told, belongs)
}

/// How grave it is, and by how much a threshold was passed at most.
fn how_bad(severity: NotificationSeverity, violations: &[ReportedViolation]) -> String {
    let worst = violations.first().map(|worst| {
        let values = worst.values().or_else(|| worst.description.clone()).unwrap_or_default();
        format!(": {} {} {values}", worst.subject, worst.constraint_check_type)
    });
    let worst = worst.unwrap_or_default();
    format!("{}{}", severity.as_str(), worst.trim_end())
}

/// Since when there are violations, as far as the evaluated datapoints tell.
fn since(datapoints: &[EventDatapoint]) -> Option<Timestamp> {
    let violations = datapoints
        .iter()
        .filter(|datapoint| datapoint.state == DatapointState::Violations);
    violations.map(|datapoint| datapoint.scheduled_time).min()
}

fn pause(told: &mut Notification, model: &str) {
    told.action(
        "Let nothing be started for the model, until you say otherwise:",
        &[format!("driftwarden pause {model}")],
    );
}

/// A time as people read it.
pub(crate) fn second(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

fn execution(datapoint: &EventDatapoint) -> String {
    let time = datapoint.scheduled_time.strftime("%Y-%m-%d %H:%M");
    match datapoint.violations {
        Some(count) if count > 0 => format!(
            "{time}  {}  {count} violation{}",
            datapoint.state.as_str(),
            plural(count)
        ),
        _ => format!("{time}  {}", datapoint.state.as_str()),
    }
}

pub(crate) fn plural(count: u64) -> &'static str {
    if count == 1 { "" } else { "s" }
}

fn violations(violations: &[ReportedViolation]) -> Vec<String> {
    let listed = violations.iter().take(LISTED);
    let width = listed.clone().map(|violation| violation.subject.chars().count()).max();
    let width = width.unwrap_or(0);
    let mut lines: Vec<String> = listed
        .map(|violation| {
            let found = violation
                .values()
                .or_else(|| violation.description.clone())
                .unwrap_or_default();
            let line = format!(
                "{:width$}  {}  {found}",
                violation.subject, violation.constraint_check_type
            );
            line.trim_end().to_owned()
        })
        .collect();
    if violations.len() > LISTED {
        lines.push(format!("… and more in the report ({LISTED} listed here)"));
    }
    lines
}

fn look_at(told: &mut Notification, report_uri: Option<&str>, endpoint: Option<&str>, links: &Links<'_>) {
    match report_uri {
        Some(uri) => told.look("Report", uri, links.object(uri)),
        None => told.look(
            "Report",
            "none was written; the execution's exit message told of the violations",
            None,
        ),
    }
    if let Some(endpoint) = endpoint {
        told.look("Endpoint", endpoint, links.endpoint(endpoint));
    }
}

/// Links into the AWS console.
pub(crate) struct Links<'a> {
    region: Option<&'a str>,
}

impl Links<'_> {
    fn console(&self) -> Option<(&str, &'static str)> {
        let region = self.region?;
        Some((
            region,
            if region.starts_with("cn-") {
                "amazonaws.cn"
            } else {
                "aws.amazon.com"
            },
        ))
    }

    pub(crate) fn object(&self, uri: &str) -> Option<String> {
        let (region, domain) = self.console()?;
        let (bucket, key) = uri.strip_prefix("s3://")?.split_once('/')?;
        let prefix = key
            .replace('%', "%25")
            .replace(' ', "%20")
            .replace('&', "%26")
            .replace('#', "%23")
            .replace('+', "%2B");
        Some(format!(
            "https://{region}.console.{domain}/s3/object/{bucket}?region={region}&prefix={prefix}"
        ))
    }

    pub(crate) fn endpoint(&self, name: &str) -> Option<String> {
        let (region, domain) = self.console()?;
        Some(format!(
            "https://{region}.console.{domain}/sagemaker/home?region={region}#/endpoints/{name}"
        ))
    }
}
