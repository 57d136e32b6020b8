//! Events in words: a subject and a body that a person understands without opening the console.

use crate::experiment::{baseline_message, state_message};
use alerting::{
    AlertStateChange, AlertStatus, EventDatapoint, HealthStateChange, HealthStatus, MODEL_MONITOR_ALERT_STATE_CHANGE,
    MODEL_MONITOR_HEALTH_STATE_CHANGE, ReportedViolation,
};
use jiff::Timestamp;
use promotion::{EXPERIMENT_STATE_CHANGE, ExperimentStateChange, MONITOR_BASELINE_CHANGE, MonitorBaselineChange};
use remediation::{
    Automation, ExecutionStatus, IncidentClosed, Outcome, PipelineStart, REMEDIATION_DECIDED,
    REMEDIATION_INCIDENT_CLOSED, RETRAINING_PIPELINE_EXECUTION_STATUS_CHANGE, Reason, RemediationDecided,
    RetrainingStatusChange, Stage, StartKind, Verdict,
};
use serde::{Deserialize, Serialize};

/// How many violations a message lists.
const LISTED: usize = 10;
/// SNS takes subjects of fewer than 100 ASCII characters.
const SUBJECT: usize = 99;

/// A message for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// One line of ASCII, within SNS's limit.
    pub subject: String,
    /// Plain text.
    pub body: String,
}

impl Message {
    /// The message of an event of ours, with the event's id; `None` for one that people are not told of.
    ///
    /// # Errors
    /// If the detail is not in the layout of its detail-type.
    pub fn of(
        detail_type: &str,
        detail: &serde_json::Value,
        region: Option<&str>,
    ) -> Result<Option<(String, Self)>, serde_json::Error> {
        let links = Links { region };
        Ok(match detail_type {
            MODEL_MONITOR_ALERT_STATE_CHANGE => {
                let alert = AlertStateChange::deserialize(detail)?;
                Some((alert.id.clone(), alert_message(&alert, &links)))
            }
            MODEL_MONITOR_HEALTH_STATE_CHANGE => {
                let change = HealthStateChange::deserialize(detail)?;
                Some((change.id.clone(), health_message(&change, &links)))
            }
            REMEDIATION_DECIDED => {
                let decided = RemediationDecided::deserialize(detail)?;
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
                (!decided.reasons.iter().any(observes))
                    .then(|| (decided.id.clone(), decision_message(&decided, &links)))
            }
            REMEDIATION_INCIDENT_CLOSED => {
                let closed = IncidentClosed::deserialize(detail)?;
                Some((closed.id.clone(), closed_message(&closed)))
            }
            RETRAINING_PIPELINE_EXECUTION_STATUS_CHANGE => {
                let change = RetrainingStatusChange::deserialize(detail)?;
                Some((change.id.clone(), outcome_message(&change)))
            }
            EXPERIMENT_STATE_CHANGE => {
                let change = ExperimentStateChange::deserialize(detail)?;
                state_message(&change, &links).map(|message| (change.id.clone(), message))
            }
            MONITOR_BASELINE_CHANGE => {
                let change = MonitorBaselineChange::deserialize(detail)?;
                Some((change.id.clone(), baseline_message(&change, &links)))
            }
            _ => None,
        })
    }
}

fn alert_message(alert: &AlertStateChange, links: &Links<'_>) -> Message {
    let schedule = &alert.monitoring_schedule;
    let kind = alert.monitor_type.as_deref().unwrap_or("Model Monitor");
    let counted = format!("{} of {} had violations", alert.breaching, alert.datapoints.len());
    let mut body = Body::default();
    let state = match alert.alert_status {
        AlertStatus::InAlert => "is in alert",
        AlertStatus::Ok => "is OK again",
        AlertStatus::InsufficientData => "has too little data to say",
    };
    body.line(&format!(
        "Model {}: the {kind} monitor {schedule} {state}.",
        alert.model
    ));
    body.line(&format!("Why: {}.", alert.reason));
    body.section("Executions evaluated (scheduled time, UTC)");
    for datapoint in &alert.datapoints {
        body.item(&execution(datapoint));
    }
    if alert.alert_status == AlertStatus::InAlert {
        body.violations(
            "Violations of the latest of them, farthest beyond the threshold first",
            &alert.violations,
        );
    }
    body.section("Where to look");
    body.links(alert.report_uri.as_deref(), alert.endpoint.as_deref(), links);
    body.section("What happens next");
    body.item(match alert.alert_status {
        AlertStatus::InAlert => {
            "Driftwarden decides; if this opens an incident, the decision comes in a message of its own."
        }
        AlertStatus::Ok => "The model's open incident is closed once all its monitors are OK and no retraining runs.",
        AlertStatus::InsufficientData => {
            "Nothing by itself. An open incident of the model stays open until the monitor is OK."
        }
    });
    body.footer(&alert.id, &alert.policy_version);
    let status = alert.alert_status.as_str();
    Message {
        subject: subject(&format!("{}: {schedule} {status} ({counted})", alert.model)),
        body: body.text,
    }
}

fn decision_message(decided: &RemediationDecided, links: &Links<'_>) -> Message {
    let mut body = Body::default();
    body.line(&format!(
        "Decided for model {}, incident {}: {}.",
        decided.model,
        decided.incident_id,
        decided.verdict.as_str()
    ));
    body.line(&format!("Why: {}", decided.sentence));
    for alert in &decided.alerts {
        body.section(&format!(
            "Monitor {} ({} of {})",
            alert.monitoring_schedule,
            alert.breaching,
            alert.datapoints.len()
        ));
        for datapoint in &alert.datapoints {
            body.item(&execution(datapoint));
        }
        body.violations("Violations, farthest beyond the threshold first", &alert.violations);
        if alert.report_uri.is_some() {
            body.section("Where to look");
            body.links(alert.report_uri.as_deref(), None, links);
        }
    }
    body.section("What happens next");
    for line in next_of(decided) {
        body.item(&line);
    }
    if !decided.pipeline_parameters.is_empty() {
        body.section("Parameters of the run");
        for (name, value) in &decided.pipeline_parameters {
            body.item(&format!("{name} = {value}"));
        }
    }
    body.footer(&decided.id, &decided.policy_version);
    let asks = if decided.stage == Stage::AwaitingApproval {
        ", approval needed"
    } else {
        ""
    };
    let subject = subject(&format!(
        "{}: {} decided{asks} ({})",
        decided.model,
        decided.verdict.as_str(),
        decided.incident_id
    ));
    Message {
        subject,
        body: body.text,
    }
}

/// What follows from a decision, and what people can do.
fn next_of(decided: &RemediationDecided) -> Vec<String> {
    let pipeline = decided.pipeline.as_deref().unwrap_or_default();
    let approve = |why: &str| {
        let id = &decided.incident_id;
        vec![
            format!("{why}:"),
            format!("    driftwarden approve {id}"),
            format!("    driftwarden approve {id} --deny --reason \"…\""),
        ]
    };
    match decided.verdict {
        Verdict::Retrain => {
            let started = match (decided.start, decided.pipeline_start) {
                (Some(StartKind::StateMachine), _) => {
                    format!("The state machine {pipeline} is started, once for this incident.")
                }
                (Some(StartKind::Event), _) => "Whoever listens to Remediation Decided retrains.".to_owned(),
                (_, Some(PipelineStart::Rule)) => format!("An EventBridge rule starts the pipeline {pipeline}."),
                _ => format!("The pipeline {pipeline} is started, once for this incident."),
            };
            vec![started, "How it ended comes in a message of its own.".to_owned()]
        }
        Verdict::FixData => vec![
            "Mend the data, or where they come from. Nothing is retrained on them.".to_owned(),
            "Once the monitor is OK the incident is closed, or what is left of the drift is decided on.".to_owned(),
        ],
        Verdict::Hold if decided.stage == Stage::AwaitingApproval => approve("Somebody has to say yes or no"),
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
                return approve("A retraining is suggested, and started if somebody says so");
            }
            vec![match decided.until {
                Some(until) => format!("It is decided again at {}, or as soon as something changes.", second(until)),
                None => "It is decided again as soon as something changes.".to_owned(),
            }]
        }
        Verdict::Escalate => vec![
            "Nothing by itself: no second retraining is started for this incident.".to_owned(),
            "Once every monitor is OK the incident is closed. To close it by hand, and let what still alerts begin anew:"
                .to_owned(),
            format!("    driftwarden resolve {}", decided.incident_id),
        ],
    }
}

fn health_message(change: &HealthStateChange, links: &Links<'_>) -> Message {
    let schedule = &change.monitoring_schedule;
    let mut body = Body::default();
    let state = match change.health_status {
        HealthStatus::Unhealthy => "says nothing any more",
        HealthStatus::Healthy => "works again",
    };
    body.line(&format!("Model {}: the monitor {schedule} {state}.", change.model));
    body.line(&format!("Why: {}.", change.reason));
    body.section("Latest executions (scheduled time, UTC)");
    for datapoint in &change.datapoints {
        body.item(&execution(datapoint));
    }
    if change.health_status == HealthStatus::Unhealthy {
        body.section("Where to look");
        body.item("Failed: the logs of the processing job. NoData: data capture, or the endpoint's traffic.");
        body.item("Missing: the monitoring schedule's status, and its role.");
        if let Some(endpoint) = &change.endpoint {
            body.endpoint(endpoint, links);
        }
    }
    body.footer(&change.id, &change.policy_version);
    let status = change.health_status.as_str();
    Message {
        subject: subject(&format!("{}: monitor {schedule} {status}", change.model)),
        body: body.text,
    }
}

fn closed_message(closed: &IncidentClosed) -> Message {
    let mut body = Body::default();
    body.line(&closed.sentence);
    body.section("From the first alert to its end");
    body.item(&format!("{} to {}", second(closed.opened_at), second(closed.closed_at)));
    if let Some(arn) = &closed.pipeline_execution_arn {
        body.item(&format!("Retraining: {arn}"));
    }
    if closed.outcome == Outcome::Recovered && closed.pipeline_execution_arn.is_none() {
        body.item("Nothing was retrained.");
    }
    body.line(&format!("\n--\nEvent {}", closed.id));
    let outcome = closed.outcome.as_str();
    Message {
        subject: subject(&format!(
            "{}: incident {outcome} ({})",
            closed.model, closed.incident_id
        )),
        body: body.text,
    }
}

fn outcome_message(change: &RetrainingStatusChange) -> Message {
    let status = change.status.as_str();
    let mut body = Body::default();
    body.line(&format!(
        "Model {}: the retraining of incident {} ended: {status}.",
        change.model, change.incident_id
    ));
    if let (Some(start), Some(end)) = (change.execution_start_time, change.execution_end_time) {
        body.line(&format!("It ran from {} to {}.", second(start), second(end)));
    }
    body.section("It was started for");
    body.item(&change.sentence);
    body.section("Where to look");
    body.item(&format!("Pipeline execution: {}", change.pipeline_execution_arn));
    body.section("What happens next");
    body.item(match change.status {
        ExecutionStatus::Succeeded => "The next monitoring executions show whether it helped; until they are OK the incident stays open.",
        _ => "Nothing by itself: look at the failed step. The incident stays open until its monitors are OK, or somebody closes it.",
    });
    body.line(&format!("\n--\nEvent {}", change.id));
    let subject = subject(&format!(
        "{}: retraining {status} ({})",
        change.model, change.incident_id
    ));
    Message {
        subject,
        body: body.text,
    }
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

fn plural(count: u64) -> &'static str {
    if count == 1 { "" } else { "s" }
}

/// One line of ASCII, cut to SNS's limit.
pub(crate) fn subject(text: &str) -> String {
    let plain: String = format!("[Driftwarden] {text}")
        .chars()
        .map(|c| if c == ' ' || c.is_ascii_graphic() { c } else { '?' })
        .collect();
    if plain.len() <= SUBJECT {
        plain
    } else {
        plain.chars().take(SUBJECT - 3).chain("...".chars()).collect()
    }
}

/// The lines of a message.
#[derive(Default)]
pub(crate) struct Body {
    pub(crate) text: String,
}

impl Body {
    pub(crate) fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    pub(crate) fn section(&mut self, title: &str) {
        self.text.push('\n');
        self.text.push_str(title);
        self.text.push_str(":\n");
    }

    pub(crate) fn item(&mut self, item: &str) {
        self.text.push_str("  ");
        self.line(item);
    }

    fn violations(&mut self, title: &str, violations: &[ReportedViolation]) {
        if violations.is_empty() {
            return;
        }
        self.section(title);
        let width = violations
            .iter()
            .take(LISTED)
            .map(|v| v.subject.chars().count())
            .max()
            .unwrap_or(0);
        for violation in violations.iter().take(LISTED) {
            let found = violation
                .values()
                .or_else(|| violation.description.clone())
                .unwrap_or_default();
            let line = format!(
                "{:width$}  {}  {found}",
                violation.subject, violation.constraint_check_type
            );
            self.item(line.trim_end());
        }
        if violations.len() > LISTED {
            self.item(&format!("… and more in the report ({LISTED} listed here)"));
        }
    }

    fn links(&mut self, report_uri: Option<&str>, endpoint: Option<&str>, links: &Links<'_>) {
        match report_uri {
            Some(uri) => {
                self.item(&format!("Report: {uri}"));
                if let Some(link) = links.object(uri) {
                    self.item(&format!("        {link}"));
                }
            }
            None => self.item("Report: none was written; the execution's exit message told of the violations"),
        }
        if let Some(endpoint) = endpoint {
            self.endpoint(endpoint, links);
        }
    }

    pub(crate) fn endpoint(&mut self, endpoint: &str, links: &Links<'_>) {
        self.item(&format!("Endpoint: {endpoint}"));
        if let Some(link) = links.endpoint(endpoint) {
            self.item(&format!("        {link}"));
        }
    }

    fn footer(&mut self, id: &str, policy_version: &str) {
        self.line(&format!("\n--\nEvent {id}, judged by policy {policy_version}"));
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

    fn endpoint(&self, name: &str) -> Option<String> {
        let (region, domain) = self.console()?;
        Some(format!(
            "https://{region}.console.{domain}/sagemaker/home?region={region}#/endpoints/{name}"
        ))
    }
}
