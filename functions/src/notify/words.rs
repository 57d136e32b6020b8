//! Builds notifications from events: what happened, what to do and by when, why, and how severe it is.

use crate::notify::{
    experiment::{baseline_notification, experiment_notification},
    links::{Links, monitor_name},
    notification::{Notification, SourceEvent, ThreadStatus, new_notification},
};
use alerting::{
    AlertStateChange, AlertStatus, DatapointState, EventDatapoint, HealthStateChange, HealthStatus, ReportedViolation,
    Severity,
};
use events::Event;
use jiff::{SignedDuration, Timestamp};
use model_monitor::Quantity;
use remediation::{
    AlertSnapshot, Automation, ExecutionStatus, IncidentClosed, NotificationKind, NotificationSeverity, Outcome,
    PipelineStart, Reason, RemediationDecided, RetrainingStatusChange, Stage, StartKind, Verdict,
};
use text::number;

/// Maximum number of violations that a notification lists.
const MAX_VIOLATIONS: usize = 10;
/// Maximum number of alerts that a notification describes in full. More alerts have one line each.
const MAX_ALERTS_IN_FULL: usize = 3;
/// Maximum number of alerts that a notification lists. The rest are counted.
const MAX_ALERTS: usize = 20;

/// Thread of its model that a notification belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ThreadScope {
    /// The open incident of the model, or the incident that the alert opens.
    Alert,
    /// An incident.
    Incident {
        id: String,
        /// The retraining.
        execution: Option<String>,
    },
    /// The health of a monitor.
    Health { schedule: String },
    /// An experiment. If an incident retrained the candidate, the thread is that of the incident.
    Experiment {
        id: String,
        /// The retraining that created the candidate.
        execution: Option<String>,
    },
}

/// A Driftwarden event, converted to a notification.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct IncomingNotification {
    /// The model.
    pub(crate) model: String,
    pub(crate) notification: Notification,
    pub(crate) scope: ThreadScope,
    /// Deduplication key: notifications with the same key are repeats. `None` disables deduplication.
    pub(crate) key: Option<String>,
    /// Whether the event only updates its thread and is not sent.
    pub(crate) silent: bool,
}

impl IncomingNotification {
    fn new(model: &str, notification: Notification, scope: ThreadScope) -> Self {
        Self {
            model: model.to_owned(),
            notification,
            scope,
            key: None,
            silent: false,
        }
    }

    /// Converts a Driftwarden event. `None` if the event causes no notification.
    pub(crate) fn from_event(event: &Event, region: Option<&str>, now: Timestamp) -> Option<Self> {
        let links = Links { region };
        let (mut incoming, policy_version) = match event {
            Event::AlertStateChange(change) => (alert(change, &links), Some(&change.policy_version)),
            Event::LevelChange(change) => (level_change(change, &links)?, Some(&change.policy_version)),
            Event::HealthStateChange(change) => (health(change, &links), Some(&change.policy_version)),
            Event::RemediationDecided(decided) => (decision(decided, &links, now), Some(&decided.policy_version)),
            Event::IncidentClosed(closed) => (closed_incident(closed), None),
            Event::RetrainingStatusChange(change) => (retraining(change), None),
            Event::ExperimentStateChange(change) => {
                let scope = ThreadScope::Experiment {
                    id: change.experiment_id.clone(),
                    execution: change.pipeline_execution_arn.clone(),
                };
                let notification = experiment_notification(change, &links)?;
                (Self::new(&change.model, notification, scope), None)
            }
            Event::BaselineChange(change) => {
                let scope = ThreadScope::Experiment {
                    id: change.experiment_id.clone(),
                    execution: None,
                };
                let notification = baseline_notification(change, &links);
                (Self::new(&change.model, notification, scope), None)
            }
            // Requests, answers, and records: their effects are notified.
            Event::ExecutionRequested(_)
            | Event::ExecutionStateChange(_)
            | Event::DatapointDrop(_)
            | Event::RetrainingStatusReported(_)
            | Event::CommandAccepted(_)
            | Event::ExperimentCommand(_)
            | Event::OutcomesReported(_)
            | Event::BaselinesRequested(_)
            | Event::BaselinesCreated(_) => return None,
        };
        incoming.notification.event = Some(SourceEvent {
            detail_type: event.detail_type().to_owned(),
            id: incoming.notification.id.clone(),
            policy_version: policy_version.cloned(),
        });
        incoming.notification.limit_size();
        Some(incoming)
    }
}

fn alert(alert: &AlertStateChange, links: &Links<'_>) -> IncomingNotification {
    let schedule = &alert.monitoring_schedule;
    let mut notification = new_notification(&alert.id, NotificationKind::Alert, &alert.model, alert.time);
    notification.monitoring_schedule = Some(schedule.clone());
    let monitor = monitor_name(alert.monitor_type.as_deref());
    let (status, state) = match alert.alert_status {
        AlertStatus::InAlert => (ThreadStatus::Open, "is in alert"),
        AlertStatus::Ok => (ThreadStatus::Closed, "is OK again"),
        AlertStatus::InsufficientData => (ThreadStatus::Note, "has insufficient data"),
    };
    notification.status = status;
    notification.severity = match (alert.alert_status, alert.severity) {
        (AlertStatus::InAlert, Some(Severity::Critical)) => NotificationSeverity::Critical,
        (AlertStatus::Ok, _) => NotificationSeverity::Info,
        _ => NotificationSeverity::Warning,
    };
    notification.subject = format!(
        "{}: monitor {schedule} {state} ({} of {} breaching)",
        alert.model,
        alert.breaching,
        alert.datapoints.len()
    );
    notification.what = format!("The {monitor} {schedule} of {} {state}.", alert.model);
    notification.why = Some(format!("{}.", alert.reason));
    if alert.alert_status == AlertStatus::InAlert {
        notification.how_bad = Some(describe_severity(notification.severity, &alert.violations));
        notification.since = first_violation(&alert.datapoints);
    }
    let executions = alert.datapoints.iter().map(execution_line).collect();
    notification.add_facts("Evaluated executions (UTC)", executions);
    if alert.alert_status == AlertStatus::InAlert {
        let title = "Violations in the latest breaching execution, worst first";
        notification.add_facts(title, violation_lines(&alert.violations));
    }
    add_places(
        &mut notification,
        alert.report_uri.as_deref(),
        alert.endpoint.as_deref(),
        links,
    );
    notification.add_next(match alert.alert_status {
        AlertStatus::InAlert => {
            "Driftwarden decides on a response. If the alert opens an incident, you will get the decision in a separate \
             message."
        }
        AlertStatus::Ok => {
            "An open incident of the model closes when all its monitors have been OK for some executions, and no retraining is \
             in progress."
        }
        AlertStatus::InsufficientData => {
            "Driftwarden takes no action. An open incident of the model stays open until the monitor is OK."
        }
    });
    notification.add_action("Show the alert window", &[format!("driftwarden alerts {schedule}")]);
    if alert.alert_status == AlertStatus::InAlert {
        add_pause(&mut notification, &alert.model);
    }
    let key = format!(
        "alert {schedule} {} {}",
        alert.alert_status.as_str(),
        notification.severity.as_str()
    );
    IncomingNotification {
        key: Some(key),
        ..IncomingNotification::new(&alert.model, notification, ThreadScope::Alert)
    }
}

/// A change of an alert that stays in alert. It is routed by the new severity. The same severity and check types within an
/// open incident are a repeat.
fn level_change(change: &AlertStateChange, links: &Links<'_>) -> Option<IncomingNotification> {
    if change.alert_status != AlertStatus::InAlert {
        return None;
    }
    let mut incoming = alert(change, links);
    let notification = &mut incoming.notification;
    let schedule = &change.monitoring_schedule;
    let (severity, check_types) = (notification.severity.as_str(), change.check_types.join(", "));
    notification.subject = format!(
        "{}: alert of monitor {schedule} has changed, now {severity}",
        change.model
    );
    notification.what = format!(
        "The {} {schedule} of {} is still in alert, and its violations have changed.",
        monitor_name(change.monitor_type.as_deref()),
        change.model
    );
    notification.next =
        vec!["Driftwarden decides again. If the decision changes, you will get it in a separate message.".to_owned()];
    if !check_types.is_empty() {
        notification.add_facts("Check types of the violations", change.check_types.clone());
    }
    incoming.key = Some(format!("level {schedule} {severity} {check_types}"));
    Some(incoming)
}

fn health(change: &HealthStateChange, links: &Links<'_>) -> IncomingNotification {
    let schedule = &change.monitoring_schedule;
    let model = &change.model;
    let mut notification = new_notification(&change.id, NotificationKind::Health, model, change.time);
    notification.monitoring_schedule = Some(schedule.clone());
    let status = change.health_status.as_str();
    notification.why = Some(format!("{}.", change.reason));
    let executions = change.datapoints.iter().map(execution_line).collect();
    if change.health_status == HealthStatus::Retired {
        notification.status = ThreadStatus::Closed;
        notification.subject = format!("{model}: monitor {schedule} has retired");
        notification.what = format!("The monitor {schedule} has retired from {model}, and its alert no longer counts.");
        notification.add_next(
            "If you did not delete, rename, or move it, create it again. Drift that only this monitor detects is not detected.",
        );
        notification.add_action("Show the model", &[format!("driftwarden incidents {model}")]);
    } else if change.health_status == HealthStatus::Unhealthy {
        notification.status = ThreadStatus::Open;
        notification.severity = NotificationSeverity::Warning;
        notification.subject = format!("{model}: monitor {schedule} has stopped producing results");
        notification.what = format!(
            "The monitor {schedule} of {model} has had no usable result for {}.",
            text::count(change.in_a_row as u64, "execution")
        );
        notification.how_bad = Some(notification.severity.as_str().to_owned());
        let first = change.datapoints.iter().rev().take(change.in_a_row).next_back();
        notification.since = first.map(|datapoint| datapoint.scheduled_time);
        let checks = [
            "NoData   data capture, and whether the endpoint gets traffic",
            "Failed   the log of the processing job",
            "Missing  the status and the role of the monitoring schedule",
        ];
        notification.add_facts("What to check", checks.map(str::to_owned).to_vec());
        notification.add_facts("Last executions (UTC)", executions);
        if let Some(endpoint) = &change.endpoint {
            notification.add_place("Endpoint", endpoint, links.endpoint(endpoint));
        }
        notification.add_next("Driftwarden takes no action. You will get a message when the monitor recovers.");
        notification.add_action("Show the alert window", &[format!("driftwarden alerts {schedule}")]);
    } else {
        notification.status = ThreadStatus::Closed;
        notification.subject = format!("{model}: monitor {schedule} has recovered");
        notification.what = format!("The monitor {schedule} of {model} produces results again.");
        notification.add_facts("Last executions (UTC)", executions);
        notification.add_next("Driftwarden evaluates its executions again.");
    }
    let scope = ThreadScope::Health {
        schedule: schedule.clone(),
    };
    IncomingNotification {
        key: Some(format!("health {schedule} {status}")),
        ..IncomingNotification::new(model, notification, scope)
    }
}

fn decision(decided: &RemediationDecided, links: &Links<'_>, now: Timestamp) -> IncomingNotification {
    let id = &decided.incident_id;
    let mut notification = new_notification(&decided.id, NotificationKind::Decision, &decided.model, decided.time);
    notification.incident_id = Some(id.clone());
    notification.why = Some(decided.sentence.clone());
    let is_critical = |alert: &AlertSnapshot| alert.severity == Some(Severity::Critical);
    let critical = decided.verdict == Verdict::Escalate || decided.alerts.iter().any(is_critical);
    notification.severity = if critical {
        NotificationSeverity::Critical
    } else {
        NotificationSeverity::Warning
    };
    // The most severe alerts first, otherwise in order.
    let mut alerts: Vec<&AlertSnapshot> = decided.alerts.iter().collect();
    alerts.sort_by_key(|alert| !is_critical(alert));
    let worst = alerts.iter().find(|alert| !alert.violations.is_empty());
    let worst = worst.map(|alert| alert.violations.as_slice()).unwrap_or_default();
    notification.how_bad = Some(describe_severity(notification.severity, worst));
    let first_violations = alerts.iter().filter_map(|alert| first_violation(&alert.datapoints));
    notification.since = first_violations.min();
    add_alerts(&mut notification, decided, &alerts, links);
    if !decided.pipeline_parameters.is_empty() {
        let parameters = decided.pipeline_parameters.iter();
        notification.add_facts(
            "Parameters of the retraining",
            parameters.map(|(name, value)| format!("{name} = {value}")).collect(),
        );
    }
    let request = add_response(&mut notification, decided, now);
    notification.subject = format!("{}: {request} ({id})", decided.model);
    notification.add_action(
        "Show the incident",
        &[format!("driftwarden incidents {}", decided.model)],
    );
    if !matches!(decided.verdict, Verdict::Escalate) {
        add_pause(&mut notification, &decided.model);
    }
    let codes: Vec<String> = decided.reasons.iter().map(reason_code).collect();
    let verdict = decided.verdict.as_str();
    let key = format!("decision {id} {verdict} {} {}", decided.stage.as_str(), codes.join(" "));
    let scope = ThreadScope::Incident {
        id: id.clone(),
        execution: None,
    };
    IncomingNotification {
        key: Some(key),
        // Decisions at the level `observe` are recorded and not sent. A common cause of many models is announced once.
        silent: has_automation(decided, Automation::Observe) || is_announced_by_another(decided),
        ..IncomingNotification::new(&decided.model, notification, scope)
    }
}

/// Adds the alerts of a decision: a few in full, more with one line each, and the rest as a count.
fn add_alerts(
    notification: &mut Notification,
    decided: &RemediationDecided,
    alerts: &[&AlertSnapshot],
    links: &Links<'_>,
) {
    let in_alert = |reason: &&Reason| matches!(reason, Reason::MonitorInAlert { .. });
    let count = decided.reasons.iter().filter(in_alert).count().max(alerts.len());
    for alert in alerts.iter().take(MAX_ALERTS_IN_FULL) {
        let schedule = &alert.monitoring_schedule;
        if count <= MAX_ALERTS_IN_FULL {
            let title = format!(
                "Evaluated executions of {schedule}, {} of {} breaching (UTC)",
                alert.breaching,
                alert.datapoints.len()
            );
            notification.add_facts(&title, alert.datapoints.iter().map(execution_line).collect());
            let title = format!("Violations in the latest breaching execution of {schedule}, worst first");
            notification.add_facts(&title, violation_lines(&alert.violations));
        }
        if alert.report_uri.is_some() {
            add_places(notification, alert.report_uri.as_deref(), None, links);
        }
    }
    if count > MAX_ALERTS_IN_FULL {
        let listed = alerts.iter().take(MAX_ALERTS);
        let mut monitors: Vec<String> = listed.map(|alert| alert_line(alert)).collect();
        let more = count.saturating_sub(monitors.len());
        if more > 0 {
            monitors.push(format!("{} more", text::integer(more as u64)));
        }
        let title = format!("{} in alert", text::count(count as u64, "monitor"));
        notification.add_facts(&title, monitors);
    }
}

/// An alert in one line, with its worst violation.
fn alert_line(alert: &AlertSnapshot) -> String {
    let severity = alert.severity.map_or("warning", Severity::as_str);
    let worst = alert.violations.first().map_or_else(String::new, |worst| {
        format!(
            "  {} {} {}",
            worst.subject,
            worst.constraint_check_type,
            value_parts(worst).join(", ")
        )
    });
    let line = format!(
        "{}  {severity}  {} of {} breaching{worst}",
        alert.monitoring_schedule,
        alert.breaching,
        alert.datapoints.len()
    );
    line.trim_end().to_owned()
}

/// Whether a reason is the result of a retraining, so that the retraining did not resolve the drift.
fn is_retraining_result(reason: &Reason) -> bool {
    match reason {
        Reason::RunEnded { .. }
        | Reason::NotPromoted { .. }
        | Reason::CandidateMissing { .. }
        | Reason::DriftPersists { .. } => true,
        Reason::MonitorInAlert { .. }
        | Reason::NothingInFlight
        | Reason::DataBroke { .. }
        | Reason::Paused { .. }
        | Reason::SeverityBelow { .. }
        | Reason::InFlight { .. }
        | Reason::Cooldown { .. }
        | Reason::BudgetPerDay { .. }
        | Reason::BudgetPerMonth { .. }
        | Reason::AutomationLevel { .. }
        | Reason::ApprovalMissing { .. }
        | Reason::ApprovalExpired { .. }
        | Reason::Approved { .. }
        | Reason::Denied { .. }
        | Reason::MonitorSilent { .. }
        | Reason::NoMonitorInAlert
        | Reason::FleetAtOnce { .. }
        | Reason::FleetPerDay { .. }
        | Reason::FleetTurn { .. }
        | Reason::CommonCause { .. }
        | Reason::StartRefused { .. }
        | Reason::StartMissing { .. }
        | Reason::FactsMissing { .. }
        | Reason::StageOverdue { .. }
        | Reason::RunUnknown { .. }
        | Reason::DriftReturned { .. } => false,
    }
}

fn has_automation(decided: &RemediationDecided, level: Automation) -> bool {
    let mut reasons = decided.reasons.iter();
    reasons.any(|reason| matches!(reason, Reason::AutomationLevel { automation, .. } if *automation == level))
}

/// Whether the decision waits for a common cause that the decision about another model announces.
fn is_announced_by_another(decided: &RemediationDecided) -> bool {
    decided.reasons.iter().any(|reason| match reason {
        Reason::CommonCause { models, .. } => models.last() != Some(&decided.model),
        _ => false,
    })
}

/// The `code` of a reason in JSON.
fn reason_code(reason: &Reason) -> String {
    let code = serde_json::to_value(reason).ok();
    let code = code.as_ref().and_then(|reason| reason.get("code")?.as_str());
    code.unwrap_or_default().to_owned()
}

/// Adds what follows from a decision and what the recipient can do. Returns the state or request for the subject.
fn add_response(notification: &mut Notification, decided: &RemediationDecided, now: Timestamp) -> &'static str {
    let id = &decided.incident_id;
    let model = &decided.model;
    let approve_or_deny = [
        format!("driftwarden approve {id} --decision {}", decided.decision),
        format!(
            "driftwarden approve {id} --decision {} --deny --reason \"...\"",
            decided.decision
        ),
    ];
    match decided.verdict {
        Verdict::Retrain => {
            let pipeline = decided.pipeline.as_deref().unwrap_or_default();
            notification.status = ThreadStatus::InProgress;
            notification.what = format!("{model} has drifted, and Driftwarden decided to retrain it (Retrain).");
            notification.add_next(&match (decided.start, decided.pipeline_start) {
                (Some(StartKind::StateMachine), _) => {
                    format!("Driftwarden starts the state machine {pipeline}, once for this incident.")
                }
                (Some(StartKind::Event), _) => {
                    "Your retraining service receives the event Remediation Decided and retrains the model.".to_owned()
                }
                (_, Some(PipelineStart::Rule)) => format!("An EventBridge rule starts the pipeline {pipeline}."),
                _ => format!("Driftwarden starts the pipeline {pipeline}, once for this incident."),
            });
            notification.add_next("You will get the result in a separate message.");
            "retraining decided"
        }
        Verdict::FixData => {
            notification.status = ThreadStatus::Open;
            notification.what =
                format!("The input data of {model} is broken, and Driftwarden does not retrain on it (FixData).");
            notification.add_next(
                "When the monitor is OK, Driftwarden closes the incident or decides on the drift that remains.",
            );
            notification.add_action("Fix the data or its source.", &[]);
            "input data needs a fix"
        }
        Verdict::Hold if decided.stage == Stage::AwaitingApproval => {
            notification.status = ThreadStatus::Open;
            notification.what =
                format!("{model} has drifted, and the policy requires approval before retraining (Hold).");
            let mut deadlines = decided.reasons.iter().filter_map(|reason| match reason {
                Reason::ApprovalMissing { until } => Some(*until),
                _ => None,
            });
            notification.add_next(&match deadlines.next().or(decided.until) {
                Some(deadline) => format!(
                    "Driftwarden takes no action until you approve or deny. The request expires at {}.",
                    format_deadline(deadline, now)
                ),
                None => "Driftwarden takes no action until you approve or deny.".to_owned(),
            });
            notification.add_action("Approve or deny", &approve_or_deny);
            "approval needed to retrain"
        }
        Verdict::Hold if has_automation(decided, Automation::Suggest) => {
            notification.status = ThreadStatus::Open;
            notification.what = format!("{model} has drifted, and Driftwarden suggests a retraining (Hold).");
            notification.add_next("Driftwarden takes no action until you approve or deny.");
            notification.add_action("Approve or deny", &approve_or_deny);
            "retraining suggested"
        }
        Verdict::Hold => {
            add_hold(notification, decided, now);
            "retraining on hold"
        }
        Verdict::Escalate => {
            notification.status = ThreadStatus::Open;
            let cause = decided
                .reasons
                .iter()
                .find(|reason| !matches!(reason, Reason::MonitorInAlert { .. }));
            if cause.is_none() || decided.reasons.iter().any(is_retraining_result) {
                notification.what =
                    format!("Drift in {model} needs your investigation: retraining did not resolve it (Escalate).");
                notification.add_next(
                    "Driftwarden starts no second retraining for this incident. It closes the incident when every \
                     monitor is OK.",
                );
            } else {
                // Nothing was retrained: the first reason says what prevented it.
                let cause = cause.map(Reason::describe).unwrap_or_default();
                notification.what = format!("{model} needs your investigation (Escalate): {cause}.");
                notification.add_next(
                    "Driftwarden starts no retraining until you respond. It closes the incident when every monitor is OK.",
                );
            }
            notification.add_action(
                "Close the incident, and accept the alerts that remain",
                &[format!("driftwarden resolve {id} --accept")],
            );
            "investigation needed"
        }
    }
}

/// Adds what a retraining waits for.
fn add_hold(notification: &mut Notification, decided: &RemediationDecided, now: Timestamp) {
    notification.what = format!("{} has drifted, and its retraining is on hold (Hold).", decided.model);
    notification.add_next(&match decided.until {
        Some(until) => format!(
            "Driftwarden decides again at {}, or earlier if something changes.",
            format_deadline(until, now)
        ),
        None => "Driftwarden decides again when something changes.".to_owned(),
    });
    let mut reasons = decided.reasons.iter();
    if reasons.any(|reason| matches!(reason, Reason::CommonCause { .. })) {
        let release = "driftwarden fleet release".to_owned();
        notification.add_action("Find the common cause, then release the models", &[release]);
    }
}

fn closed_incident(closed: &IncidentClosed) -> IncomingNotification {
    let id = &closed.incident_id;
    let mut notification = new_notification(&closed.id, NotificationKind::Incident, &closed.model, closed.time);
    notification.incident_id = Some(id.clone());
    notification.status = ThreadStatus::Closed;
    let outcome = match closed.outcome {
        Outcome::Repaired => "repaired",
        Outcome::Recovered => "recovered",
        Outcome::Resolved => "resolved by an operator",
    };
    notification.subject = format!("{}: incident closed, {outcome} ({id})", closed.model);
    notification.what.clone_from(&closed.sentence);
    notification.since = Some(closed.opened_at);
    let mut lines = vec![format_period(closed.opened_at, closed.closed_at)];
    if closed.outcome == Outcome::Recovered && closed.pipeline_execution_arn.is_none() {
        lines.push("The model was not retrained.".to_owned());
    }
    notification.add_facts("Duration of the incident", lines);
    if let Some(arn) = &closed.pipeline_execution_arn {
        notification.add_place("Retraining", arn, None);
    }
    notification.add_next(match closed.outcome {
        Outcome::Resolved => "The next alert opens a new incident.",
        Outcome::Repaired | Outcome::Recovered => {
            "If the drift returns within `reopen_within` of the policy (24 hours by default), this incident opens again. A later \
             alert opens a new one."
        }
    });
    notification.add_action(
        "Show the decisions",
        &[format!("driftwarden incidents {}", closed.model)],
    );
    let scope = ThreadScope::Incident {
        id: id.clone(),
        execution: closed.pipeline_execution_arn.clone(),
    };
    IncomingNotification::new(&closed.model, notification, scope)
}

fn retraining(change: &RetrainingStatusChange) -> IncomingNotification {
    let (model, id) = (&change.model, &change.incident_id);
    let mut notification = new_notification(&change.id, NotificationKind::Retraining, model, change.time);
    notification.incident_id = Some(id.clone());
    let state = match change.status {
        ExecutionStatus::Executing => "is in progress",
        ExecutionStatus::Stopping => "is being stopped",
        ExecutionStatus::Succeeded => "succeeded",
        ExecutionStatus::Failed => "failed",
        ExecutionStatus::Stopped => "was stopped",
        ExecutionStatus::CompletedWithFailures => "completed with failures",
    };
    notification.subject = format!("{model}: retraining {state} ({id})");
    notification.what = format!("The retraining of {model} for incident {id} {state}.");
    if let (Some(start), Some(end)) = (change.execution_start_time, change.execution_end_time) {
        notification.add_facts("Retraining period", vec![format_period(start, end)]);
    }
    notification.add_facts("Decision that started it", vec![change.sentence.clone()]);
    notification.add_place("Pipeline execution", &change.pipeline_execution_arn, None);
    if change.status == ExecutionStatus::Succeeded {
        notification.add_next(
            "The next monitoring executions verify the result. The incident stays open until all its monitors are OK.",
        );
    } else {
        notification.status = ThreadStatus::Open;
        notification.severity = NotificationSeverity::Warning;
        notification.how_bad = Some(format!(
            "{}. The drifted model is still in service",
            notification.severity.as_str()
        ));
        notification.add_next(
            "Driftwarden takes no action. The incident stays open until its monitors are OK or you close it.",
        );
        notification.add_action(
            "Find the step that failed and fix it. Then close the incident; monitors that are still in alert open a new one",
            &[format!("driftwarden resolve {id} --reopen")],
        );
    }
    notification.add_action("Show the incident", &[format!("driftwarden incidents {model}")]);
    let scope = ThreadScope::Incident {
        id: id.clone(),
        execution: Some(change.pipeline_execution_arn.clone()),
    };
    IncomingNotification::new(model, notification, scope)
}

/// The severity, and the violation that exceeds its threshold most.
fn describe_severity(severity: NotificationSeverity, violations: &[ReportedViolation]) -> String {
    let severity = severity.as_str();
    match violations.first() {
        Some(worst) => {
            let values = match value_parts(worst).as_slice() {
                [observed, threshold, ratio] => format!("{observed}, {threshold} ({ratio})"),
                parts => parts.join(", "),
            };
            let line = format!(
                "{severity}. Worst violation: {}, {} {values}",
                worst.subject, worst.constraint_check_type
            );
            line.trim_end().to_owned()
        }
        None => severity.to_owned(),
    }
}

/// Observed value, threshold, and their ratio if the value exceeds the threshold. Without values, the description of the
/// report.
fn value_parts(violation: &ReportedViolation) -> Vec<String> {
    let Some(observed) = &violation.observed else {
        return violation.description.clone().into_iter().collect();
    };
    let mut parts = vec![format_quantity(observed)];
    if let Some(threshold) = &violation.threshold {
        parts.push(format!("threshold {}", format_quantity(threshold)));
        parts.extend(violation.threshold_ratio().map(text::ratio));
    }
    parts
}

fn format_quantity(quantity: &Quantity) -> String {
    match quantity.as_number() {
        Some(value) if value.is_finite() => number(value),
        _ => quantity.to_string(),
    }
}

/// Time of the first violation among the evaluated datapoints.
fn first_violation(datapoints: &[EventDatapoint]) -> Option<Timestamp> {
    let violations = datapoints
        .iter()
        .filter(|datapoint| datapoint.state == DatapointState::Violations);
    violations.map(|datapoint| datapoint.scheduled_time).min()
}

fn add_pause(notification: &mut Notification, model: &str) {
    notification.add_action("Pause retraining", &[format!("driftwarden pause {model}")]);
}

fn format_period(start: Timestamp, end: Timestamp) -> String {
    format!("{} to {}", text::time(start), text::time(end))
}

/// A future time with its distance: `2026-11-26 03:16 UTC (in 3 days)`.
fn format_deadline(deadline: Timestamp, now: Timestamp) -> String {
    let left = deadline.duration_since(now);
    if left < SignedDuration::from_mins(1) {
        return text::time(deadline);
    }
    format!("{} ({})", text::time(deadline), text::distance(deadline, now))
}

fn execution_line(datapoint: &EventDatapoint) -> String {
    let time = text::minute(datapoint.scheduled_time);
    let state = datapoint.state.as_str();
    match datapoint.violations {
        Some(count) if count > 0 => format!("{time}  {state}  {}", text::integer(count)),
        _ => format!("{time}  {state}"),
    }
}

fn violation_lines(violations: &[ReportedViolation]) -> Vec<String> {
    let listed = || violations.iter().take(MAX_VIOLATIONS);
    let width = |text: fn(&ReportedViolation) -> &str| listed().map(|one| text(one).chars().count()).max().unwrap_or(0);
    let subject_width = width(|violation| violation.subject.as_str());
    let check_width = width(|violation| violation.constraint_check_type.as_str());
    let mut lines: Vec<String> = listed()
        .map(|violation| {
            let line = format!(
                "{:subject_width$}  {:check_width$}  {}",
                violation.subject,
                violation.constraint_check_type,
                value_parts(violation).join("  ")
            );
            line.trim_end().to_owned()
        })
        .collect();
    if violations.len() > MAX_VIOLATIONS {
        lines.push(format!(
            "The report lists more violations ({MAX_VIOLATIONS} are shown)."
        ));
    }
    lines
}

fn add_places(notification: &mut Notification, report_uri: Option<&str>, endpoint: Option<&str>, links: &Links<'_>) {
    match report_uri {
        Some(uri) => notification.add_place("Report", uri, links.object(uri)),
        None => notification.add_place(
            "Report",
            "none was written; the exit message of the execution reported the violations",
            None,
        ),
    }
    if let Some(endpoint) = endpoint {
        notification.add_place("Endpoint", endpoint, links.endpoint(endpoint));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::notification::remove_distance;

    #[test]
    fn counts_have_plurals_and_thousands_separators() {
        assert_eq!(text::count(1, "alert"), "1 alert");
        assert_eq!(text::count(0, "alert"), "0 alerts");
        assert_eq!(text::count(50_000, "outcome"), "50,000 outcomes");
        assert_eq!(text::count(1_234_567, "outcome"), "1,234,567 outcomes");
    }

    #[test]
    fn deadline_shows_distance_until_it_has_passed() {
        let now = Timestamp::from_second(1_795_404_000).unwrap();
        let after = |seconds: i64| format_deadline(now + SignedDuration::from_secs(seconds), now);
        assert!(
            after(72 * 3600 - 2).ends_with(" UTC (in 3 days)"),
            "{}",
            after(72 * 3600 - 2)
        );
        assert!(after(5 * 3600).ends_with(" UTC (in 5 hours)"));
        assert!(after(600).ends_with(" UTC (in 10 minutes)"));
        assert!(after(-1).ends_with(" UTC"));
        let line = format!("The request expires at {}. Answer it.", after(5 * 3600));
        assert!(remove_distance(&line).ends_with(" UTC. Answer it."), "{line}");
        assert_eq!(remove_distance("No action (in 3 days)."), "No action (in 3 days).");
    }
}
