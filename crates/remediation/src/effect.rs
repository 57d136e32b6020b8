//! Side effects of changes of a model's document.

use crate::{
    AlertSnapshot, Decision, Incident, IncidentClosed, MonitorAlert, Outcome, REMEDIATION_DECIDED,
    REMEDIATION_INCIDENT_CLOSED, RETRAINING_PIPELINE_EXECUTION_STATUS_CHANGE, Reason, RemediationDecided,
    RetrainingStatusChange, Settings, StartKind, StartPipelineExecution, StartStateMachine, Verdict,
    policy::RetrainingPolicy, start::Target,
};
use alerting::{DatapointState, HealthStateChange, HealthStatus, MODEL_MONITOR_HEALTH_STATE_CHANGE};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::{cmp::Reverse, collections::BTreeMap};

/// Maximum number of alerts in an event.
const MAX_ALERTS: usize = 20;
/// Maximum size of the alerts in an event. `EventBridge` limits an event to 256 KiB (`PutEvents`).
const MAX_ALERTS_BYTES: usize = 160 * 1024;

/// Side effect of a change of the document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ModelEffect {
    /// Starts the retraining pipeline.
    StartPipelineExecution(StartPipelineExecution),
    /// Starts the retraining state machine.
    StartStateMachine(StartStateMachine),
    /// Publishes `Remediation Decided`.
    PutRemediationDecided(Box<RemediationDecided>),
    /// Publishes `Retraining Pipeline Execution Status Change`.
    PutRetrainingStatusChange(Box<RetrainingStatusChange>),
    /// Publishes `Remediation Incident Closed`.
    PutIncidentClosed(Box<IncidentClosed>),
    /// Publishes `Model Monitor Health State Change`: a monitor retired.
    PutHealthStateChange(Box<HealthStateChange>),
}

impl ModelEffect {
    /// Whether the effect starts a retraining.
    pub fn is_start(&self) -> bool {
        self.start_of().is_some()
    }

    /// Sequence number of the incident whose retraining the effect starts. An EventBridge rule, or another service, starts it on
    /// the event about the decision.
    pub fn start_of(&self) -> Option<u64> {
        match self {
            Self::StartPipelineExecution(start) => Some(start.incident),
            Self::StartStateMachine(start) => Some(start.incident),
            Self::PutRemediationDecided(decided) if decided.is_start() => Some(decided.incident),
            _ => None,
        }
    }

    /// Time of the decision whose retraining the effect starts. `None` if the effect starts none, or of starts of earlier releases.
    pub(crate) fn decided_at(&self) -> Option<Timestamp> {
        match self {
            Self::StartPipelineExecution(start) => start.decided_at,
            Self::StartStateMachine(start) => start.decided_at,
            Self::PutRemediationDecided(decided) if decided.is_start() => Some(decided.time),
            _ => None,
        }
    }
}

/// Outcome of a [`ModelEffect`].
#[derive(Debug, Clone, PartialEq)]
pub enum ModelEffectOutcome {
    /// The event was published.
    Published,
    /// The retraining was started. The value is the ARN of its execution.
    Started(String),
    /// AWS refused to start the retraining, with this message.
    Refused(String),
    /// The start has to wait for other models.
    Held(Reason),
}

impl ModelEffectOutcome {
    /// Whether AWS did what the effect asks for.
    pub fn is_executed(&self) -> bool {
        matches!(self, Self::Published | Self::Started(_))
    }
}

/// Answer to the start of a retraining that the incident has not followed up on yet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum StartAnswer {
    /// AWS refused it, with this message.
    Refused(String),
    /// It has to wait for other models.
    Held(Reason),
}

/// The event about the end of the retraining of an incident, with the ID of the effect. `None` without an execution.
pub(crate) fn status_change(incident: &Incident, model: &str, now: Timestamp) -> Option<(String, ModelEffect)> {
    let retraining = incident.state.facts().retraining?;
    let execution = &retraining.execution;
    let retries = match retraining.retries {
        0 => String::new(),
        retries => format!("-{retries}"),
    };
    let id = format!("retraining-{}-{}{retries}", incident.id, execution.status.as_str());
    let sentence = incident.decision.as_ref().map(|decision| decision.sentence.clone());
    let change = RetrainingStatusChange {
        version: "1".into(),
        id: format!("{id}-{}", last_part(&execution.arn)),
        correlation_id: incident.correlation_id.clone(),
        model: model.to_owned(),
        incident_id: incident.id.clone(),
        pipeline_execution_arn: execution.arn.clone(),
        status: execution.status,
        execution_start_time: execution.start_time,
        execution_end_time: execution.end_time,
        sentence: sentence.unwrap_or_default(),
        time: now,
    };
    let id = format!("{RETRAINING_PIPELINE_EXECUTION_STATUS_CHANGE}/{id}");
    Some((id, ModelEffect::PutRetrainingStatusChange(Box::new(change))))
}

/// The effects of a decision, with their IDs: the start of a retraining after a decision to retrain, and the event. The incident is in
/// the stage after the decision.
pub(crate) fn decided(
    incident: &Incident,
    decision: Decision,
    model: &str,
    policy: &RetrainingPolicy,
    settings: &Settings,
) -> Vec<(String, ModelEffect)> {
    let mut effects = Vec::new();
    let retrains = decision.verdict == Verdict::Retrain;
    let target = Target::new(policy, settings);
    let mut parameters = BTreeMap::new();
    if retrains {
        parameters = target.parameters(policy, incident, &decision.alerts, model);
        let start = target.start(&parameters, incident, &decision.sentence, model);
        effects.extend(start.map(|start| (incident.start_effect_id(), start)));
    }
    // Part of the token makes the ID unique after the loss of a document, when the count restarts.
    let token = incident.token.get(..8).unwrap_or_default();
    let (alerts, more_alerts) = most_severe(decision.alerts);
    let decided = RemediationDecided {
        version: "1".into(),
        id: format!("decision-{}-{}-{token}", incident.id, decision.number),
        correlation_id: incident.correlation_id.clone(),
        model: model.to_owned(),
        incident: incident.number,
        incident_id: incident.id.clone(),
        decision: decision.number,
        verdict: decision.verdict,
        stage: incident.stage(),
        reasons: decision.reasons,
        sentence: decision.sentence,
        until: decision.until,
        start: retrains.then_some(policy.start),
        pipeline_start: (retrains && policy.start == StartKind::Pipeline).then_some(settings.pipeline_start),
        pipeline: target.name().filter(|_| retrains).map(ToOwned::to_owned),
        pipeline_parameters: parameters,
        policy_version: decision.policy_version,
        alerts,
        more_alerts,
        time: decision.time,
    };
    let id = if decided.is_start() {
        incident.start_effect_id()
    } else {
        format!("{REMEDIATION_DECIDED}/{}", decided.id)
    };
    effects.push((id, ModelEffect::PutRemediationDecided(Box::new(decided))));
    effects
}

/// The event that a monitor retired from its model, with the ID of the effect.
pub(crate) fn retired(
    monitoring_schedule: &str,
    alert: &MonitorAlert,
    model: &str,
    policy_version: &str,
    now: Timestamp,
) -> (String, ModelEffect) {
    let snapshot = alert.snapshot.as_ref();
    let change = HealthStateChange {
        version: "1".into(),
        // A monitor may return and retire again.
        id: format!("retired-{model}-{monitoring_schedule}-{}", now.as_second()),
        correlation_id: snapshot.and_then(|snapshot| snapshot.correlation_id.clone()),
        model: model.to_owned(),
        endpoint: snapshot.and_then(|snapshot| snapshot.endpoint.clone()),
        monitoring_schedule: monitoring_schedule.to_owned(),
        transition: 0,
        health_status: HealthStatus::Retired,
        in_a_row: 0,
        datapoints: Vec::new(),
        reason: "the monitor no longer exists, or monitors another model by now".to_owned(),
        policy_version: policy_version.to_owned(),
        time: now,
    };
    let id = format!("{MODEL_MONITOR_HEALTH_STATE_CHANGE}/{}", change.id);
    (id, ModelEffect::PutHealthStateChange(Box::new(change)))
}

/// The most severe alerts, as many as fit into an event, and the number of the others.
fn most_severe(mut alerts: Vec<AlertSnapshot>) -> (Vec<AlertSnapshot>, usize) {
    alerts.sort_by_key(|alert| Reverse(alert.severity));
    let mut bytes = 0;
    let fits = |alert: &&AlertSnapshot| {
        bytes += serde_json::to_vec(alert).map_or(MAX_ALERTS_BYTES, |json| json.len());
        bytes <= MAX_ALERTS_BYTES
    };
    let listed = alerts.iter().take(MAX_ALERTS).take_while(fits).count();
    let more = alerts.len() - listed;
    alerts.truncate(listed);
    (alerts, more)
}

/// The event about the end of an incident, with the ID of the effect. `by` is the operator who closed it.
pub(crate) fn closed(
    incident: &Incident,
    outcome: Outcome,
    by: Option<&str>,
    model: &str,
    now: Timestamp,
) -> (String, ModelEffect) {
    let duration = now.duration_since(incident.opened_at);
    let phases = PhaseDurations::for_incident(incident);
    let monitors = incident.monitors.join("`, `");
    let how = match (outcome, by) {
        (Outcome::Repaired, _) => "the retraining helped, and every monitor is OK".to_owned(),
        (Outcome::Recovered, _) => "every monitor is OK again".to_owned(),
        (Outcome::Resolved, by) => format!("resolved by {}", by.unwrap_or("an operator")),
    };
    let returns = match incident.returns {
        0 => String::new(),
        returns => format!("-{returns}"),
    };
    let token = incident.token.get(..8).unwrap_or_default();
    let closed = IncidentClosed {
        version: "1".into(),
        id: format!("closed-{}-{token}{returns}", incident.id),
        correlation_id: incident.correlation_id.clone(),
        model: model.to_owned(),
        incident: incident.number,
        incident_id: incident.id.clone(),
        outcome,
        by: by.map(ToOwned::to_owned),
        monitoring_schedules: incident.monitors.clone(),
        opened_at: incident.opened_at,
        closed_at: now,
        time_to_detect_seconds: phases.detect,
        time_to_decide_seconds: phases.decide,
        time_to_retrain_seconds: phases.retrain,
        time_to_promote_seconds: phases.promote,
        time_to_repair_seconds: duration.as_secs(),
        pipeline_execution_arn: incident.execution().map(|execution| execution.arn.clone()),
        experiment_id: incident.experiment_id().map(ToOwned::to_owned),
        sentence: format!(
            "Incident {} of `{model}` (`{monitors}`) closed after {}: {how}.",
            incident.id,
            text::duration(duration)
        ),
        time: now,
    };
    let id = format!("{REMEDIATION_INCIDENT_CLOSED}/{}", closed.id);
    (id, ModelEffect::PutIncidentClosed(Box::new(closed)))
}

/// Durations of the phases of an incident, in seconds.
struct PhaseDurations {
    detect: Option<i64>,
    decide: Option<i64>,
    retrain: Option<i64>,
    promote: Option<i64>,
}

impl PhaseDurations {
    fn for_incident(incident: &Incident) -> Self {
        let between = |from: Option<Timestamp>, to: Option<Timestamp>| Some(to?.duration_since(from?).as_secs());
        let facts = incident.state.facts();
        let alerts = incident.decision.iter().flat_map(|decision| &decision.alerts);
        let datapoints = alerts.flat_map(|alert: &AlertSnapshot| &alert.datapoints);
        let breaching = datapoints.filter(|datapoint| datapoint.state == DatapointState::Violations);
        let first = breaching.map(|datapoint| datapoint.scheduled_time).min();
        let ended = facts.retraining.and_then(|retraining| retraining.execution.end_time);
        let test = facts.test.map(|test| test.since);
        Self {
            detect: between(first, Some(incident.opened_at)).filter(|seconds| *seconds >= 0),
            decide: between(Some(incident.opened_at), facts.decided_at),
            retrain: between(facts.decided_at, ended),
            promote: between(test, facts.serves_since),
        }
    }
}

fn last_part(arn: &str) -> &str {
    arn.rsplit(['/', ':']).next().unwrap_or_default()
}
