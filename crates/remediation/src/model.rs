//! The state document of one model: the alerts of its monitors, its open incident, its retrainings, and its pending
//! effects.
//!
//! The stages of an incident and their transitions are in [`crate::lifecycle`]. Every input has two parts: it changes the
//! document, and then the document follows up on what is true now ([`crate::follow_up`]). So an event that was lost, late,
//! or repeated leads to the same decision as one that arrived in time.

use crate::{
    AlertSnapshot, Approval, CandidateStatus, Cause, Decision, ExecutionStatus, InAlertChoice, IncidentClosed, Outcome,
    Pause, PipelineExecution, Policy, REMEDIATION_INCIDENT_CLOSED, RETRAINING_PIPELINE_EXECUTION_STATUS_CHANGE, Reason,
    RemediationApproval, RemediationDecided, RemediationPause, RemediationResolution, RetrainingStatusChange,
    RiskRating, Settings, Stage, StartPipelineExecution, StartStateMachine,
};
use alerting::{AlertPosition, AlertStateChange, AlertStatus, DatapointState, Level};
use jiff::{SignedDuration, Timestamp};
use machine::{Caller, Outbox};
use promotion::{Conclusion, Mode};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// Maximum number of closed incidents in a document. Older ones are in earlier versions of the S3 object.
const MAX_CLOSED_INCIDENTS: usize = 20;
/// Time for which an alert that an operator accepted opens no incident, unless it ends before.
const ACCEPTED_FOR: SignedDuration = SignedDuration::from_hours(7 * 24);

/// Levels of the monitors of a model, by [`schedule_key`]. A monitor whose level was not read is missing.
pub type Levels = BTreeMap<String, Level>;

/// Input of the state machine.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// The alert of one of the model's monitors changed.
    Alert(Box<AlertStateChange>),
    /// A monitor no longer exists, or monitors another model now.
    Retired {
        /// Name of its monitoring schedule.
        monitoring_schedule: String,
    },
    /// The execution of the retraining of one of the model's incidents changed.
    PipelineExecution {
        /// Sequence number of the incident within the model.
        incident: u64,
        /// The execution.
        execution: PipelineExecution,
        /// Time of the change.
        at: Timestamp,
    },
    /// AWS does not know the execution of the retraining of the open incident.
    RunUnknown {
        /// ARN of the execution.
        execution_arn: String,
    },
    /// An approver approved or denied the retraining.
    Approval(RemediationApproval),
    /// An operator closed the incident.
    Resolution(RemediationResolution),
    /// An operator paused or resumed the model.
    Pause(RemediationPause),
    /// The experiment with a retrained model changed.
    Experiment(CandidateStatus),
    /// Time has passed.
    Tick,
}

/// Facts from AWS that a decision needs, beside the levels of the monitors.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    /// ARNs of the pipeline executions in progress that may belong to this model, no matter who started them.
    pub in_flight: Vec<String>,
    /// The latest pipeline execution with the display name of the open incident, in progress or ended.
    pub own_execution: Option<PipelineExecution>,
    /// Risk rating in the model card.
    pub risk_rating: RiskRating,
    /// Latest pause or resume of all models.
    pub paused: Option<Pause>,
    /// The reason why a start has to wait for other models ([`crate::Fleet::check`]).
    pub fleet: Option<Reason>,
}

/// Context in which an input is processed.
#[derive(Debug, Clone, Copy)]
pub struct StepContext<'a> {
    /// Effective policy.
    pub policy: &'a Policy,
    /// Settings of the stack.
    pub settings: &'a Settings,
    /// Levels of the model's monitors.
    pub levels: &'a Levels,
    /// Facts from AWS. `None` if they were not needed. An error is the message of the failure to read them.
    pub facts: Option<Result<&'a Facts, &'a str>>,
}

/// What an input needs to know ([`ModelDocument::needs`]).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Needs {
    /// Whether it needs [`Facts`], because it may lead to a decision.
    pub facts: bool,
    /// Names of the monitoring schedules of which it needs the [`Level`].
    pub levels: Vec<String>,
}

/// Why a command changed nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Refusal {
    /// The incident is not open.
    NotOpen,
    /// The incident does not wait for a decision.
    Decided,
    /// The command answers another decision than the latest one.
    OtherDecision,
    /// The approval request has expired.
    Expired,
    /// A later command is known.
    Outdated,
    /// Monitors are in alert, and the command does not say what becomes of them.
    MonitorsInAlert,
}

/// Outcome of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepOutcome {
    /// The document changed.
    Changed,
    /// The document is unchanged: the input is a duplicate, is outdated, or belongs to an incident that is not open.
    Unchanged,
    /// The command of an operator was refused.
    Refused(Refusal),
}

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
}

impl ModelEffect {
    /// Whether the effect starts a retraining.
    pub fn is_start(&self) -> bool {
        self.start_of().is_some()
    }

    /// Sequence number of the incident whose retraining the effect starts.
    pub fn start_of(&self) -> Option<u64> {
        match self {
            Self::StartPipelineExecution(start) => Some(start.incident),
            Self::StartStateMachine(start) => Some(start.incident),
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

/// Answer to the start of a retraining that the incident has not followed up on yet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum StartAnswer {
    /// AWS refused it, with this message.
    Refused(String),
    /// It has to wait for other models.
    Held(Reason),
}

/// The alert of one monitor as last seen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MonitorAlert {
    /// Status of the alert.
    pub status: AlertStatus,
    /// Time at which the ledger of the monitor was begun. `None` for ledgers of the first release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<Timestamp>,
    /// Number of the transition to this status. An event with a lower number of the same epoch is outdated.
    pub transition: u64,
    /// Number of changes of severity or check types since the transition.
    #[serde(default)]
    pub revision: u64,
    /// Time of the transition.
    pub since: Timestamp,
    /// Snapshot of the alert. `None` unless the monitor is in alert.
    #[serde(rename = "told", default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<Box<AlertSnapshot>>,
    /// Time until which the alert opens no incident, because an operator accepted it. `None` unless accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted_until: Option<Timestamp>,
}

impl MonitorAlert {
    /// Position of the alert's last change.
    pub fn position(&self) -> AlertPosition {
        AlertPosition {
            epoch: self.epoch,
            transition: self.transition,
            revision: self.revision,
        }
    }

    /// Whether the monitor is in alert, and no operator has accepted that.
    pub(crate) fn is_in_alert(&self, now: Timestamp) -> bool {
        self.status == AlertStatus::InAlert && self.accepted_until.is_none_or(|until| until <= now)
    }
}

/// Drift of one model, from the first alert until every monitor has been OK for some executions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Incident {
    /// Sequence number within the model, starting at 1.
    pub number: u64,
    /// `{model}-{number}`.
    pub id: String,
    /// Correlation ID of the execution whose alert opened the incident.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    /// Idempotency token of the retraining (`ClientRequestToken`).
    pub token: String,
    /// The stage as stored. The first release has no `Starting`: it is `Retraining` without an execution.
    #[serde(rename = "stage")]
    pub(crate) stored_stage: Stage,
    /// Time of the last change of the stage. `None` in incidents of the first release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage_since: Option<Timestamp>,
    /// Time at which the first alert was received.
    pub opened_at: Timestamp,
    /// Time of the latest alert.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_alert_at: Option<Timestamp>,
    /// Number of times that the incident was reopened because the drift returned.
    #[serde(default)]
    pub returns: u32,
    /// Monitoring schedules that were in alert during the incident.
    pub monitors: Vec<String>,
    /// Latest decision. `None` before the first one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<Decision>,
    /// Number of decisions.
    #[serde(default)]
    pub decisions: u64,
    /// Time at which the approval request expires. `None` without a request.
    #[serde(rename = "asked_until", default, skip_serializing_if = "Option::is_none")]
    pub approval_expires_at: Option<Timestamp>,
    /// [`Decision::fingerprint`] of the approval request. `None` without a request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval_fingerprint: Option<String>,
    /// Answer to the approval request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<Approval>,
    /// Execution of the retraining. `None` until it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution: Option<PipelineExecution>,
    /// Number of times that the execution was retried after its end.
    #[serde(default)]
    pub retries: u32,
    /// Time of the end before the execution was last retried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retried_after: Option<Timestamp>,
    /// Number of starts that AWS refused. Each attempt has a separate token.
    #[serde(default)]
    pub refused_starts: u32,
    /// Answer to the start that has no consequence yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_answer: Option<StartAnswer>,
    /// Time of the decision to retrain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retrain_decided_at: Option<Timestamp>,
    /// Time at which the retraining succeeded, if its model has to be tested: start of the wait for its model package.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candidate_since: Option<Timestamp>,
    /// ID of the experiment with the retrained model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub experiment_id: Option<String>,
    /// Time since which the retrained model serves. Later executions verify it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verifying_since: Option<Timestamp>,
    /// Fields of a newer release. They survive a rewrite.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

impl Incident {
    /// Stage of the incident; never [`Stage::Healthy`].
    pub fn stage(&self) -> Stage {
        match (self.stored_stage, &self.execution) {
            (Stage::Retraining, None) => Stage::Starting,
            (stage, _) => stage,
        }
    }

    /// Moves to the stage that follows a cause. Returns false if the cause has no effect in the present stage. The only way
    /// to change a stage.
    pub(crate) fn advance(&mut self, cause: Cause, now: Timestamp) -> bool {
        let before = self.stage();
        let Some(after) = before.after(cause) else {
            return false;
        };
        self.stored_stage = if after == Stage::Starting {
            Stage::Retraining
        } else {
            after
        };
        if after != before {
            self.stage_since = Some(now);
        }
        true
    }

    /// Time since which the incident is in its stage.
    pub(crate) fn since(&self) -> Timestamp {
        let known = [self.verifying_since, self.candidate_since, self.retrain_decided_at];
        let decided = self.decision.as_ref().map(|decision| decision.time);
        self.stage_since
            .or_else(|| known.into_iter().flatten().chain(decided).max())
            .unwrap_or(self.opened_at)
    }

    /// ID of the pending effect that starts the retraining.
    pub(crate) fn start_effect_id(&self) -> String {
        match self.refused_starts {
            0 => format!("start/{}", self.id),
            refused => format!("start/{}/{refused}", self.id),
        }
    }
}

/// A closed incident.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClosedIncident {
    /// The incident at the time at which it was closed.
    pub incident: Incident,
    /// Time at which the incident was closed.
    pub closed_at: Timestamp,
    /// Outcome of the incident.
    pub outcome: Outcome,
}

/// State document of one model: `models/{model}.json` in the state bucket.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelDocument {
    /// Version of the document format.
    pub version: u32,
    /// Name of the model.
    pub model: String,
    /// Alerts of its monitors, by [`schedule_key`].
    #[serde(default)]
    pub alerts: BTreeMap<String, MonitorAlert>,
    /// Times of the latest decisions to retrain, oldest first, without those that led to no retraining. Cooldown and budget
    /// depend on them.
    #[serde(default)]
    pub retrainings: Vec<Timestamp>,
    /// Number of incidents, with the open one.
    #[serde(default)]
    pub incidents: u64,
    /// Latest pause or resume of the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause: Option<Pause>,
    /// The open incident.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incident: Option<Incident>,
    /// Latest closed incidents, oldest first. The number is bounded.
    #[serde(default)]
    pub closed: Vec<ClosedIncident>,
    /// Pending effects.
    #[serde(default)]
    pub outbox: Outbox<ModelEffect>,
    /// Fields of a newer release. They survive a rewrite.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

impl ModelDocument {
    /// Document of a model without alerts.
    pub fn new(model: impl Into<String>) -> Self {
        Self {
            version: 1,
            model: model.into(),
            alerts: BTreeMap::new(),
            retrainings: Vec::new(),
            incidents: 0,
            pause: None,
            incident: None,
            closed: Vec::new(),
            outbox: Outbox::default(),
            rest: Map::new(),
        }
    }

    /// Key of the document in the state bucket.
    pub fn key(model: &str) -> String {
        format!("models/{model}.json")
    }

    /// Whether the retraining of an incident is in progress. It continues if an operator closes its incident.
    pub fn retrains_for(&self, incident: u64) -> bool {
        let open = self.incident.iter();
        let open = open.map(|open| (open, open.stage() == Stage::Starting));
        // The start of a closed incident was withdrawn.
        let closed = self.closed.iter().map(|closed| (&closed.incident, false));
        open.chain(closed).any(|(known, may_start)| {
            let execution = known.execution.as_ref();
            let is_running = execution.is_some_and(|execution| !execution.status.is_final());
            known.number == incident && (may_start || is_running)
        })
    }

    /// What an input needs to know.
    pub fn needs(&self, input: &Input, caller: &Caller) -> Needs {
        let stage = self.stage();
        // Any input may execute a pending start, which is reviewed first.
        let reviews = self.has_start_to_review(caller);
        let facts = match input {
            _ if reviews => true,
            Input::Alert(alert) => {
                let known = self.alerts.get(&schedule_key(&alert.monitoring_schedule));
                let is_new = known.is_none_or(|known| known.position() < alert.position());
                let may_decide = stage.is_undecided() || stage == Stage::Healthy;
                (is_new && may_decide) || self.is_deciding()
            }
            Input::Resolution(_) => true,
            Input::Approval(_) | Input::Pause(_) | Input::Retired { .. } | Input::Tick => {
                stage.is_undecided()
                    || stage == Stage::Starting
                    || (stage == Stage::Healthy && self.would_open(caller.now))
            }
            Input::PipelineExecution { .. } | Input::RunUnknown { .. } | Input::Experiment(_) => false,
        };
        let mut levels = Vec::new();
        if facts || self.incident.is_some() {
            let in_alert = self.alerts.iter().filter(|(_, alert)| alert.status != AlertStatus::Ok);
            levels.extend(in_alert.map(|(key, _)| key.clone()));
            // The level of a monitor that has retired would bring its alert back.
            let of_incident = self.incident.iter().flat_map(|open| &open.monitors);
            let of_incident = of_incident.map(|schedule| schedule_key(schedule));
            levels.extend(of_incident.filter(|key| self.alerts.contains_key(key)));
            if let Input::Alert(alert) = input {
                levels.push(schedule_key(&alert.monitoring_schedule));
            }
            levels.sort_unstable();
            levels.dedup();
            levels.retain(|key| !is_alarm(key));
        }
        Needs { facts, levels }
    }

    /// Whether a decision waits for [`Facts`].
    pub fn is_deciding(&self) -> bool {
        self.stage() == Stage::Deciding
    }

    /// Whether the answer to a start has no consequence yet.
    pub fn has_start_answer(&self) -> bool {
        self.incident.as_ref().is_some_and(|open| open.start_answer.is_some())
    }

    /// Whether the retraining waits for other models alone.
    pub fn waits_for_fleet(&self) -> bool {
        let open = self.incident.as_ref().filter(|open| open.stage() == Stage::Holding);
        let decision = open.and_then(|open| open.decision.as_ref());
        decision.is_some_and(|decision| decision.reasons.iter().any(Reason::is_of_fleet))
    }

    /// Stage of the model.
    pub fn stage(&self) -> Stage {
        self.incident.as_ref().map_or(Stage::Healthy, Incident::stage)
    }

    /// Correlation ID of the open incident.
    pub fn correlation_id(&self) -> Option<&str> {
        self.incident.as_ref()?.correlation_id.as_deref()
    }

    /// Correlation ID of the incident whose retraining made a model package. The pipeline execution that registered the
    /// package identifies it; without one, it is the incident that is waiting for its candidate.
    pub fn candidate_correlation_id(&self, generated_by: Option<&str>) -> Option<&str> {
        let closed = self.closed.iter().rev().map(|closed| &closed.incident);
        let mut incidents = self.incident.iter().chain(closed);
        let found = match generated_by {
            Some(arn) => incidents.find(|incident| {
                incident
                    .execution
                    .as_ref()
                    .is_some_and(|execution| execution.arn == arn)
            }),
            None => incidents
                .find(|incident| matches!(incident.stage(), Stage::Starting | Stage::Retraining | Stage::Candidate)),
        };
        found?.correlation_id.as_deref()
    }

    /// Applies one input, then follows up on what is true now. Effects go to the outbox.
    pub fn step(&mut self, input: Input, given: StepContext<'_>, caller: &Caller) -> StepOutcome {
        let mut outcome = self.observe_levels(given.levels);
        let applied = match input {
            Input::Alert(alert) => self.observe(&alert),
            Input::Retired { monitoring_schedule } => self.retire(&monitoring_schedule),
            Input::PipelineExecution {
                incident,
                execution,
                at,
            } => self.on_execution(incident, execution, at, given, caller),
            Input::RunUnknown { execution_arn } => self.on_run_unknown(execution_arn, given, caller),
            Input::Approval(approval) => self.on_approval(approval, given),
            Input::Resolution(resolution) => self.on_resolution(&resolution, caller),
            Input::Pause(pause) => self.on_pause(pause),
            Input::Experiment(status) => self.on_experiment(status, given, caller),
            Input::Tick => StepOutcome::Unchanged,
        };
        if applied != StepOutcome::Unchanged {
            outcome = applied;
        }
        if self.follow_up(given, caller) && outcome == StepOutcome::Unchanged {
            outcome = StepOutcome::Changed;
        }
        outcome
    }

    /// Records the outcome of an effect.
    pub fn record_outcome(&mut self, effect: &ModelEffect, outcome: ModelEffectOutcome) {
        let Some(number) = effect.start_of() else { return };
        let open = self.incident.as_mut().filter(|open| open.number == number);
        let closed = self.closed.iter_mut().map(|closed| &mut closed.incident);
        // A start may succeed just after its incident was closed. Its run is recorded anyway.
        let Some(incident) = open.or_else(|| closed.rev().find(|closed| closed.number == number)) else {
            return;
        };
        match outcome {
            ModelEffectOutcome::Published => {}
            ModelEffectOutcome::Started(arn) => {
                incident
                    .execution
                    .get_or_insert_with(|| PipelineExecution::started(arn));
            }
            ModelEffectOutcome::Refused(error) => incident.start_answer = Some(StartAnswer::Refused(error)),
            ModelEffectOutcome::Held(reason) => incident.start_answer = Some(StartAnswer::Held(reason)),
        }
    }

    /// The monitors in alert, unless an operator accepted that.
    pub(crate) fn in_alert(&self, now: Timestamp) -> impl Iterator<Item = (&String, &MonitorAlert)> {
        self.alerts.iter().filter(move |(_, alert)| alert.is_in_alert(now))
    }

    /// Whether the next step opens an incident.
    fn would_open(&self, now: Timestamp) -> bool {
        self.incident.is_none() && self.in_alert(now).next().is_some()
    }

    /// Takes over the levels of the monitors, in case an event was lost.
    fn observe_levels(&mut self, levels: &Levels) -> StepOutcome {
        let mut outcome = StepOutcome::Unchanged;
        for level in levels.values() {
            if self.observe(&level.alert) == StepOutcome::Changed {
                outcome = StepOutcome::Changed;
            }
        }
        outcome
    }

    /// Takes over the state of an alert, unless a later one is known.
    fn observe(&mut self, change: &AlertStateChange) -> StepOutcome {
        let key = schedule_key(&change.monitoring_schedule);
        let known = self.alerts.get(&key);
        let is_known = known.is_some_and(|known| known.position() >= change.position());
        // A monitor that has never been in alert is of no concern.
        if is_known || (known.is_none() && change.transition == 0) {
            return StepOutcome::Unchanged;
        }
        let in_alert = change.alert_status == AlertStatus::InAlert;
        let was_in_alert = known.is_some_and(|known| known.status == AlertStatus::InAlert);
        let alert = MonitorAlert {
            status: change.alert_status,
            epoch: change.epoch,
            transition: change.transition,
            revision: change.revision,
            since: change.time,
            snapshot: in_alert.then(|| Box::new(AlertSnapshot::new(change))),
            accepted_until: known.and_then(|known| known.accepted_until).filter(|_| in_alert),
        };
        self.alerts.insert(key, alert);
        if let Some(incident) = self.incident.as_mut().filter(|_| in_alert) {
            if !was_in_alert {
                incident.last_alert_at = incident.last_alert_at.max(Some(change.time));
            }
            if !incident.monitors.contains(&change.monitoring_schedule) {
                incident.monitors.push(change.monitoring_schedule.clone());
            }
        }
        StepOutcome::Changed
    }

    fn retire(&mut self, monitoring_schedule: &str) -> StepOutcome {
        match self.alerts.remove(&schedule_key(monitoring_schedule)) {
            Some(_) => StepOutcome::Changed,
            None => StepOutcome::Unchanged,
        }
    }

    /// Opens an incident for the monitors in alert, or reopens the last one if the drift returned soon after its end. `seed`
    /// is part of the token: if a document is lost and the count restarts at 1, SageMaker must not return the pipeline
    /// execution of the earlier incident 1.
    pub(crate) fn open(&mut self, reopen_within: SignedDuration, seed: &str, caller: &Caller) {
        let in_alert: Vec<&AlertSnapshot> = self
            .in_alert(caller.now)
            .filter_map(|(_, alert)| alert.snapshot.as_deref())
            .collect();
        let Some(first) = in_alert.first() else { return };
        let seed = format!("{}/{seed}", first.id);
        let correlation_id = first.correlation_id.clone();
        let monitors: Vec<String> = in_alert.iter().map(|alert| alert.monitoring_schedule.clone()).collect();
        let last_alert_at = self.in_alert(caller.now).map(|(_, alert)| alert.since).max();
        let is_recent = |closed: &ClosedIncident| {
            closed.outcome != Outcome::Resolved && caller.now.duration_since(closed.closed_at) < reopen_within
        };
        if self.closed.last().is_some_and(is_recent)
            && let Some(closed) = self.closed.pop()
        {
            let mut incident = closed.incident;
            incident.stored_stage = Stage::Deciding;
            incident.stage_since = Some(caller.now);
            incident.returns = incident.returns.saturating_add(1);
            incident.last_alert_at = last_alert_at;
            incident.approval = None;
            incident.approval_expires_at = None;
            incident.approval_fingerprint = None;
            for monitor in monitors {
                if !incident.monitors.contains(&monitor) {
                    incident.monitors.push(monitor);
                }
            }
            self.incident = Some(incident);
            return;
        }
        self.incidents += 1;
        let number = self.incidents;
        let id = format!("{}-{number}", self.model);
        let token = hex::encode(Sha256::digest(format!("driftwarden/start/{id}/{seed}")));
        self.incident = Some(Incident {
            number,
            id,
            correlation_id,
            token,
            stored_stage: Stage::Deciding,
            stage_since: Some(caller.now),
            opened_at: caller.now,
            last_alert_at,
            returns: 0,
            monitors,
            decision: None,
            decisions: 0,
            approval_expires_at: None,
            approval_fingerprint: None,
            approval: None,
            execution: None,
            retries: 0,
            retried_after: None,
            refused_starts: 0,
            start_answer: None,
            retrain_decided_at: None,
            candidate_since: None,
            experiment_id: None,
            verifying_since: None,
            rest: Map::new(),
        });
    }

    fn on_execution(
        &mut self,
        number: u64,
        execution: PipelineExecution,
        at: Timestamp,
        given: StepContext<'_>,
        caller: &Caller,
    ) -> StepOutcome {
        if self.incident.as_ref().is_none_or(|open| open.number != number) {
            return self.on_late_execution(number, execution, caller);
        }
        let Some(open) = &mut self.incident else {
            return StepOutcome::Unchanged;
        };
        let known = open.execution.as_ref();
        if known.is_some_and(|known| known.arn != execution.arn || *known == execution) {
            return StepOutcome::Unchanged;
        }
        let has_ended = known.is_some_and(|known| known.status.is_final());
        // A pipeline execution that is retried after its end keeps its ARN. An event from before the end is late.
        let ended_at = known.and_then(|known| known.end_time);
        let changed_at = if execution.status.is_final() {
            execution.end_time
        } else {
            Some(at)
        };
        let is_retried = has_ended && open.stage() == Stage::Escalated && changed_at > ended_at;
        let is_old =
            execution.status.is_final() && execution.end_time.is_some() && execution.end_time <= open.retried_after;
        let is_late = known.is_some_and(|known| execution.status.rank() < known.status.rank() || has_ended || is_old);
        if is_late && !is_retried {
            return StepOutcome::Unchanged;
        }
        let start_time = execution.start_time.or(known.and_then(|known| known.start_time));
        if is_retried {
            open.retries = open.retries.saturating_add(1);
            open.retried_after = ended_at;
        }
        if open.stage() != Stage::Retraining && !open.advance(Cause::RunSeen, caller.now) {
            return StepOutcome::Unchanged;
        }
        open.execution = Some(PipelineExecution {
            start_time,
            ..execution.clone()
        });
        self.withdraw_start(number, caller);
        if execution.status.is_final() {
            self.put_status_change(number, caller);
            self.on_retraining_end(execution, given, caller);
        }
        StepOutcome::Changed
    }

    /// The execution of an incident that is closed: it was started just then, or continued after the incident was resolved.
    fn on_late_execution(&mut self, number: u64, execution: PipelineExecution, caller: &Caller) -> StepOutcome {
        let mut closed = self.closed.iter_mut().map(|closed| &mut closed.incident);
        let Some(incident) = closed.find(|closed| closed.number == number) else {
            return StepOutcome::Unchanged;
        };
        let known = incident.execution.as_ref();
        if known.is_some_and(|known| known.arn != execution.arn || known.status.rank() >= execution.status.rank()) {
            return StepOutcome::Unchanged;
        }
        let is_final = execution.status.is_final();
        incident.execution = Some(execution);
        if is_final {
            self.put_status_change(number, caller);
        }
        StepOutcome::Changed
    }

    /// Enqueues the event about the end of the retraining of an incident.
    fn put_status_change(&mut self, number: u64, caller: &Caller) {
        let closed = self.closed.iter().map(|closed| &closed.incident);
        let Some(incident) = self.incident.iter().chain(closed).find(|known| known.number == number) else {
            return;
        };
        let Some(execution) = &incident.execution else { return };
        let retries = match incident.retries {
            0 => String::new(),
            retries => format!("-{retries}"),
        };
        let id = format!("retraining-{}-{}{retries}", incident.id, execution.status.as_str());
        let change = RetrainingStatusChange {
            version: "1".into(),
            id: format!("{id}-{}", last_part(&execution.arn)),
            correlation_id: incident.correlation_id.clone(),
            model: self.model.clone(),
            incident_id: incident.id.clone(),
            pipeline_execution_arn: execution.arn.clone(),
            status: execution.status,
            execution_start_time: execution.start_time,
            execution_end_time: execution.end_time,
            sentence: incident
                .decision
                .as_ref()
                .map_or_else(String::new, |decision| decision.sentence.clone()),
            time: caller.now,
        };
        let id = format!("{RETRAINING_PIPELINE_EXECUTION_STATUS_CHANGE}/{id}");
        self.outbox
            .enqueue(id, ModelEffect::PutRetrainingStatusChange(Box::new(change)), caller);
    }

    fn on_retraining_end(&mut self, execution: PipelineExecution, given: StepContext<'_>, caller: &Caller) {
        if execution.status != ExecutionStatus::Succeeded {
            let reasons = vec![Reason::RunEnded {
                execution_arn: execution.arn,
                status: execution.status,
            }];
            self.escalate(Cause::Failed, reasons, given, caller);
            return;
        }
        let is_tested = given.policy.promotion(&self.model).mode != Mode::Off;
        let Some(open) = &mut self.incident else { return };
        let ended = Some(execution.end_time.unwrap_or(caller.now));
        if is_tested && open.advance(Cause::CandidateMade, caller.now) {
            open.candidate_since = ended;
        } else if !is_tested && open.advance(Cause::Succeeded, caller.now) {
            open.verifying_since = ended;
        }
    }

    fn on_run_unknown(&mut self, execution_arn: String, given: StepContext<'_>, caller: &Caller) -> StepOutcome {
        let open = self.incident.as_ref();
        let is_current = open.is_some_and(|open| {
            let arn = open.execution.as_ref().map(|known| &known.arn);
            open.stage() == Stage::Retraining && arn == Some(&execution_arn)
        });
        if !is_current {
            return StepOutcome::Unchanged;
        }
        self.escalate(Cause::Failed, vec![Reason::RunUnknown { execution_arn }], given, caller);
        StepOutcome::Changed
    }

    /// Applies the status of an experiment. If SageMaker does not report which pipeline execution registered the model
    /// package, an experiment after the retraining belongs to the incident.
    fn on_experiment(&mut self, status: CandidateStatus, given: StepContext<'_>, caller: &Caller) -> StepOutcome {
        let Some(open) = self.incident.as_mut().filter(|open| open.stage() == Stage::Candidate) else {
            return StepOutcome::Unchanged;
        };
        let belongs = match (&status.pipeline_execution_arn, &open.execution) {
            (Some(arn), Some(execution)) => *arn == execution.arn,
            _ => open.candidate_since.is_none_or(|since| status.at >= since),
        };
        let known = open
            .experiment_id
            .as_ref()
            .is_some_and(|known| *known == status.experiment_id);
        if !(belongs || known) || (known && status.ended.is_none()) {
            return StepOutcome::Unchanged;
        }
        open.experiment_id = Some(status.experiment_id.clone());
        match status.ended {
            Some(Conclusion::Promoted) if open.advance(Cause::Promoted, caller.now) => {
                open.verifying_since = Some(status.at);
            }
            None | Some(Conclusion::Promoted) => {}
            Some(conclusion) => {
                let reasons = vec![Reason::NotPromoted {
                    experiment_id: status.experiment_id,
                    conclusion,
                    sentence: status.sentence,
                }];
                self.escalate(Cause::NotPromoted, reasons, given, caller);
            }
        }
        StepOutcome::Changed
    }

    fn on_approval(&mut self, approval: RemediationApproval, given: StepContext<'_>) -> StepOutcome {
        let valid_for = given.policy.model(&self.model).approval_valid_for;
        let open = self.incident.as_mut().filter(|open| open.id == approval.incident_id);
        let Some(incident) = open else {
            return StepOutcome::Refused(Refusal::NotOpen);
        };
        let number = incident.decision.as_ref().map(|decision| decision.number);
        let refusal = if !incident.stage().is_undecided() {
            Some(Refusal::Decided)
        } else if approval.decision.is_some() && approval.decision != number {
            Some(Refusal::OtherDecision)
        } else if incident
            .approval_expires_at
            .is_some_and(|expires_at| approval.time >= expires_at)
        {
            Some(Refusal::Expired)
        } else if incident
            .approval
            .as_ref()
            .is_some_and(|known| known.at >= approval.time)
        {
            Some(Refusal::Outdated)
        } else {
            None
        };
        if let Some(refusal) = refusal {
            return StepOutcome::Refused(refusal);
        }
        let valid_until = approval.time.saturating_add(valid_for).unwrap_or(Timestamp::MAX);
        let fingerprint = incident.decision.as_ref().map(|decision| decision.fingerprint.clone());
        incident.approval = Some(Approval {
            granted: approval.granted,
            by: approval.by,
            // Without a decision, there is nothing yet that the approval could be bound to.
            fingerprint: fingerprint.filter(|fingerprint| !fingerprint.is_empty()),
            at: approval.time,
            valid_until: approval.valid_until.unwrap_or(valid_until),
            reason: approval.reason,
        });
        StepOutcome::Changed
    }

    /// Applies the latest pause or resume. Only the decision that follows can change the stage.
    fn on_pause(&mut self, command: RemediationPause) -> StepOutcome {
        if self.pause.as_ref().is_some_and(|known| known.time >= command.time) {
            return StepOutcome::Refused(Refusal::Outdated);
        }
        self.pause = Some(Pause {
            paused: command.paused,
            by: command.by,
            time: command.time,
            until: command.until,
            reason: command.reason,
        });
        StepOutcome::Changed
    }

    /// Closes the incident in any stage. A retraining in progress continues and is recorded with the closed incident.
    fn on_resolution(&mut self, resolution: &RemediationResolution, caller: &Caller) -> StepOutcome {
        let is_open = |open: &Incident| open.id == resolution.incident_id;
        if !self.incident.as_ref().is_some_and(is_open) {
            return StepOutcome::Refused(Refusal::NotOpen);
        }
        let until = caller.now.saturating_add(ACCEPTED_FOR).unwrap_or(Timestamp::MAX);
        let is_in_alert = self.in_alert(caller.now).next().is_some();
        match resolution.in_alert {
            None if is_in_alert => return StepOutcome::Refused(Refusal::MonitorsInAlert),
            Some(InAlertChoice::Accept) => {
                let in_alert = |alert: &&mut MonitorAlert| alert.status == AlertStatus::InAlert;
                for alert in self.alerts.values_mut().filter(in_alert) {
                    alert.accepted_until = Some(until);
                }
            }
            None | Some(InAlertChoice::Reopen) => {}
        }
        self.close(Outcome::Resolved, Some(&resolution.by), caller);
        StepOutcome::Changed
    }

    /// Closes the incident and withdraws its pending start.
    pub(crate) fn close(&mut self, outcome: Outcome, by: Option<&str>, caller: &Caller) {
        let Some(incident) = self.incident.take() else {
            return;
        };
        if self.withdraw_start(incident.number, caller) && incident.stage() == Stage::Starting {
            self.forget_start(incident.retrain_decided_at);
        }
        let duration = caller.now.duration_since(incident.opened_at);
        let phases = PhaseDurations::for_incident(&incident);
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
            model: self.model.clone(),
            incident: incident.number,
            incident_id: incident.id.clone(),
            outcome,
            by: by.map(ToOwned::to_owned),
            monitoring_schedules: incident.monitors.clone(),
            opened_at: incident.opened_at,
            closed_at: caller.now,
            time_to_detect_seconds: phases.detect,
            time_to_decide_seconds: phases.decide,
            time_to_retrain_seconds: phases.retrain,
            time_to_promote_seconds: phases.promote,
            time_to_repair_seconds: duration.as_secs(),
            pipeline_execution_arn: incident.execution.as_ref().map(|execution| execution.arn.clone()),
            experiment_id: incident.experiment_id.clone(),
            sentence: format!(
                "Incident {} of `{}` (`{monitors}`) closed after {}: {how}.",
                incident.id,
                self.model,
                text::duration(duration)
            ),
            time: caller.now,
        };
        let id = format!("{REMEDIATION_INCIDENT_CLOSED}/{}", closed.id);
        self.outbox
            .enqueue(id, ModelEffect::PutIncidentClosed(Box::new(closed)), caller);
        self.closed.push(ClosedIncident {
            incident,
            closed_at: caller.now,
            outcome,
        });
        if self.closed.len() > MAX_CLOSED_INCIDENTS {
            self.closed.remove(0);
        }
    }
}

/// Durations of the phases of an incident, in seconds.
#[derive(Debug)]
struct PhaseDurations {
    detect: Option<i64>,
    decide: Option<i64>,
    retrain: Option<i64>,
    promote: Option<i64>,
}

impl PhaseDurations {
    fn for_incident(incident: &Incident) -> Self {
        let between = |from: Option<Timestamp>, to: Option<Timestamp>| Some(to?.duration_since(from?).as_secs());
        let alerts = incident.decision.iter().flat_map(|decision| &decision.alerts);
        let datapoints = alerts.flat_map(|alert| &alert.datapoints);
        let breaching = datapoints.filter(|datapoint| datapoint.state == DatapointState::Violations);
        let first = breaching.map(|datapoint| datapoint.scheduled_time).min();
        let ended = incident.execution.as_ref().and_then(|execution| execution.end_time);
        let promoted = incident.verifying_since.filter(|_| incident.candidate_since.is_some());
        Self {
            detect: between(first, Some(incident.opened_at)).filter(|seconds| *seconds >= 0),
            decide: between(Some(incident.opened_at), incident.retrain_decided_at),
            retrain: between(incident.retrain_decided_at, ended),
            promote: between(incident.candidate_since, promoted),
        }
    }
}

/// Key of a monitor: the schedule name in lower case, as SageMaker writes it in ARNs.
pub fn schedule_key(schedule: &str) -> String {
    schedule.to_lowercase()
}

/// Whether the key of a monitor is that of a CloudWatch alarm. An alarm has no ledger: its events are its level.
pub(crate) fn is_alarm(key: &str) -> bool {
    key.starts_with("alarm:")
}

fn last_part(arn: &str) -> &str {
    arn.rsplit(['/', ':']).next().unwrap_or_default()
}
