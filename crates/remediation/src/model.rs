//! The state document of one model: the alerts of its monitors, its open incident, its retrainings, and its pending
//! effects.
//!
//! The stages of an incident and their transitions are in [`crate::lifecycle`]. An alert that arrives while an incident
//! is open joins it. A decision is repeated whenever something that it depends on changes, until the retraining starts.
//! An incident has at most one retraining. Afterwards, the next executions show whether the retraining helped.

use crate::{
    AlertSnapshot, Approval, Cause, Decision, IncidentClosed, ModelPolicy, Outcome, Pause, Policy, REMEDIATION_DECIDED,
    REMEDIATION_INCIDENT_CLOSED, RETRAINING_PIPELINE_EXECUTION_STATUS_CHANGE, Reason, RemediationApproval,
    RemediationDecided, RemediationPause, RemediationResolution, RetrainingStatusChange, RiskRating, Stage, StartKind,
    Verdict, decision::DecisionInput, policy::PIPELINE_PARAMETERS,
};
use alerting::{AlertStateChange, AlertStatus, DatapointState};
use jiff::{SignedDuration, Timestamp};
use outbox::{Caller, Outbox};
use promotion::{Conclusion, Experiment, ExperimentDocument, ExperimentStage, ExperimentStateChange, Mode};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// Maximum number of closed incidents in a document. Older ones are in earlier versions of the S3 object.
const MAX_CLOSED_INCIDENTS: usize = 20;
/// Time for which a document keeps retrainings: longer than a month, the period of the longest budget.
const RETRAINING_RETENTION: SignedDuration = SignedDuration::from_hours(32 * 24);
/// SageMaker's limit for the description of an execution, which has one line (*API Reference*,
/// `StartPipelineExecution`).
const MAX_DESCRIPTION_CHARS: usize = 3072;
/// SageMaker's limit for the value of a pipeline parameter (*API Reference*, `StartPipelineExecution`).
const MAX_PARAMETER_CHARS: usize = 1024;

/// Prefix of the display name of pipeline executions; maps their events to incidents.
pub const DISPLAY_NAME_PREFIX: &str = "driftwarden-";

/// Component that starts the pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum PipelineStart {
    /// The function `remediate`, with a `ClientRequestToken`.
    Remediate,
    /// An EventBridge rule for `Remediation Decided`, without a token.
    Rule,
}

/// Retraining settings of the stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Name or ARN of the SageMaker pipeline.
    pub pipeline: String,
    /// Component that starts the pipeline.
    pub pipeline_start: PipelineStart,
}

/// Status of a pipeline execution, as SageMaker spells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum ExecutionStatus {
    /// The execution is in progress.
    Executing,
    /// The execution is being stopped.
    Stopping,
    /// The execution ended with success.
    Succeeded,
    /// The execution ended with a failed step.
    Failed,
    /// The execution was stopped before its end.
    Stopped,
    /// The execution ended, but some steps failed.
    CompletedWithFailures,
}

impl ExecutionStatus {
    /// Parses SageMaker's spelling.
    pub fn parse(name: &str) -> Option<Self> {
        [
            Self::Executing,
            Self::Stopping,
            Self::Succeeded,
            Self::Failed,
            Self::Stopped,
            Self::CompletedWithFailures,
        ]
        .into_iter()
        .find(|status| status.as_str() == name)
    }

    /// Converts a status of Step Functions.
    pub fn from_state_machine(name: &str) -> Option<Self> {
        match name {
            "RUNNING" | "PENDING_REDRIVE" => Some(Self::Executing),
            "SUCCEEDED" => Some(Self::Succeeded),
            "FAILED" | "TIMED_OUT" => Some(Self::Failed),
            "ABORTED" => Some(Self::Stopped),
            _ => None,
        }
    }

    /// SageMaker's spelling.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Executing => "Executing",
            Self::Stopping => "Stopping",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
            Self::Stopped => "Stopped",
            Self::CompletedWithFailures => "CompletedWithFailures",
        }
    }

    /// Later statuses have a higher rank. A status of the highest rank is final.
    fn rank(self) -> u8 {
        match self {
            Self::Executing => 0,
            Self::Stopping => 1,
            Self::Succeeded | Self::Failed | Self::Stopped | Self::CompletedWithFailures => 2,
        }
    }

    /// Whether the execution has ended.
    pub fn is_final(self) -> bool {
        self.rank() == 2
    }
}

/// A pipeline execution as reported by an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PipelineExecution {
    /// ARN of the execution.
    pub arn: String,
    /// Status of the execution.
    pub status: ExecutionStatus,
    /// Start time, if SageMaker reported it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Timestamp>,
    /// End time, if SageMaker reported it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_time: Option<Timestamp>,
}

/// Input of the state machine.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// The alert of one of the model's monitors changed.
    Alert(Box<AlertStateChange>),
    /// The pipeline execution of one of the model's incidents changed.
    PipelineExecution {
        /// Sequence number of the incident within the model.
        incident: u64,
        /// The pipeline execution.
        execution: PipelineExecution,
    },
    /// An approver approved or denied the retraining.
    Approval(RemediationApproval),
    /// An operator closed the incident.
    Resolution(RemediationResolution),
    /// An operator paused or resumed the model.
    Pause(RemediationPause),
    /// The experiment with a retrained model changed.
    Experiment(CandidateStatus),
    /// Time has passed. The value has the evaluated executions of the monitors by [`schedule_key`].
    Tick(BTreeMap<String, MonitorLevel>),
}

/// Status of a candidate for its incident.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CandidateStatus {
    /// ID of the experiment.
    pub experiment_id: String,
    /// ARN of the pipeline execution that made the candidate, if SageMaker reported it.
    pub pipeline_execution_arn: Option<String>,
    /// Result of the experiment. `None` until it has ended.
    pub ended: Option<Conclusion>,
    /// Latest description of the experiment.
    pub sentence: String,
    /// Time of the status.
    pub at: Timestamp,
}

impl CandidateStatus {
    /// Status from an event.
    pub fn from_change(change: &ExperimentStateChange) -> Self {
        Self {
            experiment_id: change.experiment_id.clone(),
            pipeline_execution_arn: change.pipeline_execution_arn.clone(),
            ended: change.conclusion.filter(|_| change.stage == ExperimentStage::Ended),
            sentence: change.sentence.clone(),
            at: change.time,
        }
    }

    /// Statuses of all experiments in a document, oldest first.
    pub fn all_from_document(document: &ExperimentDocument) -> Vec<Self> {
        let status = |experiment: &Experiment, ended, at| Self {
            experiment_id: experiment.id.clone(),
            pipeline_execution_arn: experiment.package.generated_by.clone(),
            ended,
            sentence: experiment.sentence.clone(),
            at,
        };
        let ended = document.ended.iter();
        let ended = ended.map(|ended| status(&ended.experiment, Some(ended.conclusion), ended.ended_at));
        let open = document.experiment.iter().map(|open| status(open, None, open.since));
        ended.chain(open).collect()
    }
}

/// Evaluated executions of a monitor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MonitorLevel {
    /// Scheduled times of the latest executions with a result, newest first. The number is bounded.
    pub judged: Vec<Timestamp>,
    /// Evaluation period (N) of its alert window.
    pub evaluation_period: u8,
}

/// Facts from AWS that a decision needs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    /// ARNs of the pipeline executions in progress that may belong to this model, no matter who started them.
    pub in_flight: Vec<String>,
    /// Risk rating in the model card.
    pub risk_rating: RiskRating,
    /// Latest pause or resume of all models.
    pub paused: Option<Pause>,
}

/// Context in which an input is processed.
#[derive(Debug, Clone, Copy)]
pub struct StepContext<'a> {
    /// Effective policy.
    pub policy: &'a Policy,
    /// Settings of the stack.
    pub settings: &'a Settings,
    /// Facts from AWS. `None` if they were not read, or if reading failed.
    pub facts: Option<&'a Facts>,
}

/// Outcome of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepOutcome {
    /// The document changed.
    Changed,
    /// The document is unchanged: the input is a duplicate, is outdated, or belongs to an incident that is not open.
    Unchanged,
}

/// Parameters of a call to `StartPipelineExecution`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartPipelineExecution {
    /// Name or ARN of the pipeline.
    pub pipeline: String,
    /// Idempotency token. For a repeated token, SageMaker returns the execution that it already started.
    pub client_request_token: String,
    /// Display name, which maps the events of the execution to the incident.
    pub display_name: String,
    /// Reason for the start.
    pub description: String,
    /// Parameters of the pipeline execution.
    pub parameters: BTreeMap<String, String>,
    /// Sequence number of the incident.
    pub incident: u64,
}

/// Parameters of a call to `StartExecution` of Step Functions. The name is deterministic: for a repeated name and
/// input, a STANDARD state machine returns the execution that it already started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartStateMachine {
    /// ARN of the state machine.
    pub state_machine_arn: String,
    /// Name of the execution.
    pub name: String,
    /// Input of the execution, as JSON.
    pub input: String,
    /// Sequence number of the incident.
    pub incident: u64,
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

/// The alert of one monitor as last received.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MonitorAlert {
    /// Status of the alert.
    pub status: AlertStatus,
    /// Number of the transition to this status. An event with a lower number is outdated.
    pub transition: u64,
    /// Time of the transition.
    pub since: Timestamp,
    /// Snapshot of the alert. `None` unless the monitor is in alert.
    #[serde(rename = "told", default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<Box<AlertSnapshot>>,
}

/// Drift of one model, from the first alert until every monitor is OK again.
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
    /// Stage; never [`Stage::Healthy`].
    pub stage: Stage,
    /// Time at which the first alert was received.
    pub opened_at: Timestamp,
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
    /// Answer to the approval request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<Approval>,
    /// Pipeline execution. `None` until it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution: Option<PipelineExecution>,
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
    /// Times of the latest decisions to retrain, oldest first. Cooldown and budget depend on them.
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

/// Parses a display name with [`DISPLAY_NAME_PREFIX`] as model and incident number. `None` for any other display name.
pub fn parse_display_name(display_name: &str) -> Option<(&str, u64)> {
    let (model, number) = display_name.strip_prefix(DISPLAY_NAME_PREFIX)?.rsplit_once('-')?;
    Some((model, number.parse().ok()?))
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

    /// Whether an input needs [`Facts`], because it may lead to a decision.
    pub fn needs_facts(&self, input: &Input) -> bool {
        let undecided = self.incident.as_ref().map(|incident| incident.stage.is_undecided());
        match input {
            Input::Alert(alert) => {
                let known = self.alerts.get(&schedule_key(&alert.monitoring_schedule));
                let is_new = known.is_none_or(|known| known.transition < alert.transition);
                is_new && undecided.unwrap_or(alert.alert_status == AlertStatus::InAlert) || self.is_deciding()
            }
            Input::Approval(_) | Input::Pause(_) | Input::Tick(_) => undecided == Some(true),
            Input::Resolution(_) => self.in_alert().next().is_some(),
            Input::PipelineExecution { .. } | Input::Experiment(_) => false,
        }
    }

    /// Whether a decision waits for [`Facts`].
    pub fn is_deciding(&self) -> bool {
        self.stage() == Stage::Deciding
    }

    /// Stage of the model.
    pub fn stage(&self) -> Stage {
        self.incident.as_ref().map_or(Stage::Healthy, |incident| incident.stage)
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
            None => incidents.find(|incident| matches!(incident.stage, Stage::Retraining | Stage::Candidate)),
        };
        found?.correlation_id.as_deref()
    }

    /// Applies one input. Effects go to the outbox.
    pub fn step(&mut self, input: Input, given: StepContext<'_>, caller: &Caller) -> StepOutcome {
        let before = self.outbox.entries().len();
        let stepped = match input {
            Input::Alert(alert) => self.on_alert(&alert, given, caller),
            Input::PipelineExecution { incident, execution } => self.on_execution(incident, execution, given, caller),
            Input::Approval(approval) => self.on_approval(approval, given, caller),
            Input::Resolution(resolution) => self.on_resolution(&resolution, given, caller),
            Input::Pause(pause) => self.on_pause(pause, given, caller),
            Input::Experiment(status) => self.on_experiment(status, given, caller),
            Input::Tick(levels) => self.on_tick(&levels, given, caller),
        };
        if self.outbox.entries().len() > before {
            StepOutcome::Changed
        } else {
            stepped
        }
    }

    /// Records the pipeline execution that was started for an incident.
    pub fn started(&mut self, incident: u64, arn: &str) {
        if let Some(incident) = self.incident.as_mut().filter(|open| open.number == incident) {
            incident.execution.get_or_insert_with(|| PipelineExecution {
                arn: arn.to_owned(),
                status: ExecutionStatus::Executing,
                start_time: None,
                end_time: None,
            });
        }
    }

    fn in_alert(&self) -> impl Iterator<Item = &AlertSnapshot> {
        let in_alert = self
            .alerts
            .values()
            .filter(|alert| alert.status == AlertStatus::InAlert);
        in_alert.filter_map(|alert| alert.snapshot.as_deref())
    }

    fn on_alert(&mut self, alert: &AlertStateChange, given: StepContext<'_>, caller: &Caller) -> StepOutcome {
        let schedule = schedule_key(&alert.monitoring_schedule);
        let known = self.alerts.get(&schedule);
        if known.is_some_and(|known| known.transition >= alert.transition) {
            // In a retry after an attempt without facts, the decision is still due.
            return self.decide_if_due(given, caller);
        }
        let in_alert = alert.alert_status == AlertStatus::InAlert;
        let received = MonitorAlert {
            status: alert.alert_status,
            transition: alert.transition,
            since: alert.time,
            snapshot: in_alert.then(|| Box::new(AlertSnapshot::new(alert))),
        };
        self.alerts.insert(schedule, received);
        if in_alert {
            match &mut self.incident {
                None => {
                    let seed = format!("{}/{}", alert.id, alert.time);
                    let correlation_id = alert.correlation_id.clone();
                    self.open(vec![alert.monitoring_schedule.clone()], correlation_id, &seed, caller);
                }
                Some(incident) => {
                    if !incident.monitors.contains(&alert.monitoring_schedule) {
                        incident.monitors.push(alert.monitoring_schedule.clone());
                        // Request approval again: the earlier request or denial did not cover this monitor.
                        let denied = incident.approval.as_ref().is_some_and(|approval| !approval.granted);
                        if denied {
                            incident.approval = None;
                        }
                        if denied
                            || incident
                                .approval_expires_at
                                .is_some_and(|expires_at| expires_at <= caller.now)
                        {
                            incident.approval_expires_at = None;
                        }
                    }
                }
            }
        } else if self.close_if_recovered(given, caller) {
            return StepOutcome::Changed;
        }
        self.decide_if_due(given, caller);
        StepOutcome::Changed
    }

    /// Opens an incident for monitors in alert. `seed` is part of the token: if a document is lost and the count
    /// restarts at 1, SageMaker must not return the pipeline execution of the earlier incident 1.
    fn open(&mut self, monitors: Vec<String>, correlation_id: Option<String>, seed: &str, caller: &Caller) {
        let Some(stage) = Stage::Healthy.after(Cause::InAlert) else {
            return;
        };
        self.incidents += 1;
        let number = self.incidents;
        let id = format!("{}-{number}", self.model);
        let token = hex::encode(Sha256::digest(format!("driftwarden/start/{id}/{seed}")));
        self.incident = Some(Incident {
            number,
            id,
            correlation_id,
            token,
            stage,
            opened_at: caller.now,
            monitors,
            decision: None,
            decisions: 0,
            approval_expires_at: None,
            approval: None,
            execution: None,
            retrain_decided_at: None,
            candidate_since: None,
            experiment_id: None,
            verifying_since: None,
            rest: Map::new(),
        });
    }

    /// Makes a decision if one is due and the facts are known. A decision that is equivalent to the last one has no
    /// effect.
    fn decide_if_due(&mut self, given: StepContext<'_>, caller: &Caller) -> StepOutcome {
        let (Some(facts), Some(incident)) = (given.facts, &self.incident) else {
            return StepOutcome::Unchanged;
        };
        if !incident.stage.is_undecided() {
            return StepOutcome::Unchanged;
        }
        let policy = given.policy.model(&self.model);
        let alerts: Vec<AlertSnapshot> = self.in_alert().cloned().collect();
        let approval_expires_at = incident.approval_expires_at.unwrap_or_else(|| {
            let expires_at = caller.now.saturating_add(policy.approval_expires_after);
            expires_at.unwrap_or(Timestamp::MAX)
        });
        let input = DecisionInput {
            policy: &policy,
            risk_rating: policy.risk_rating.unwrap_or(facts.risk_rating),
            in_flight: &facts.in_flight,
            retrainings: &self.retrainings,
            approval: incident.approval.as_ref(),
            paused_globally: facts.paused.as_ref(),
            paused: self.pause.as_ref(),
            approval_expires_at,
            now: caller.now,
        };
        let (verdict, reasons) = input.decide(&alerts);
        let requests_approval = reasons
            .iter()
            .any(|reason| matches!(reason, Reason::ApprovalMissing { .. }));
        let cause = match verdict {
            Verdict::Retrain => Cause::Retrain,
            Verdict::FixData => Cause::FixData,
            Verdict::Hold if requests_approval => Cause::AskApproval,
            Verdict::Hold | Verdict::Escalate => Cause::Hold,
        };
        let version = given.policy.version();
        let decision = Decision::new(&self.model, verdict, reasons, alerts, version, caller.now);
        if let Some(incident) = self.incident.as_mut().filter(|_| requests_approval) {
            incident.approval_expires_at = Some(approval_expires_at);
        }
        self.enact(cause, decision, &policy, given, caller)
    }

    /// Applies a decision: changes the stage, and enqueues the event and the start of the retraining.
    fn enact(
        &mut self,
        cause: Cause,
        mut decision: Decision,
        policy: &ModelPolicy,
        given: StepContext<'_>,
        caller: &Caller,
    ) -> StepOutcome {
        let Some(incident) = &mut self.incident else {
            return StepOutcome::Unchanged;
        };
        let Some(stage) = incident.stage.after(cause) else {
            return StepOutcome::Unchanged;
        };
        let is_repeat = incident
            .decision
            .as_ref()
            .is_some_and(|last| last.is_equivalent_to(&decision));
        if is_repeat && stage == incident.stage {
            return StepOutcome::Unchanged;
        }
        incident.stage = stage;
        incident.decisions += 1;
        decision.number = incident.decisions;
        incident.decision = Some(decision.clone());

        let retrain = decision.verdict == Verdict::Retrain;
        let start = policy.retraining.start;
        let by_rule = start == StartKind::Pipeline && given.settings.pipeline_start == PipelineStart::Rule;
        let parameters = if retrain {
            // The target of the rule lists these parameters in the template: an event without them would start nothing.
            let own: BTreeMap<_, _> = PIPELINE_PARAMETERS.map(|(n, t)| (n.to_owned(), t.to_owned())).into();
            let templates = if by_rule { &own } else { &policy.retraining.parameters };
            parameters(templates, incident, &decision.alerts, &self.model)
        } else {
            BTreeMap::new()
        };
        let pipeline = policy.retraining.pipeline.clone();
        let pipeline = pipeline.unwrap_or_else(|| given.settings.pipeline.clone());
        let state_machine = policy.retraining.state_machine.clone().unwrap_or_default();
        if retrain {
            incident.retrain_decided_at = Some(caller.now);
            self.retrainings.push(caller.now);
            let oldest = caller
                .now
                .saturating_sub(RETRAINING_RETENTION)
                .unwrap_or(Timestamp::MIN);
            self.retrainings.retain(|time| *time >= oldest);
            let id = format!("start/{}", incident.id);
            match start {
                StartKind::Pipeline if !by_rule => {
                    let start = StartPipelineExecution {
                        pipeline: pipeline.clone(),
                        client_request_token: incident.token.clone(),
                        display_name: format!("{DISPLAY_NAME_PREFIX}{}", incident.id),
                        description: one_line(&decision.sentence, MAX_DESCRIPTION_CHARS),
                        parameters: parameters.clone(),
                        incident: incident.number,
                    };
                    self.outbox
                        .enqueue(id, ModelEffect::StartPipelineExecution(start), caller);
                }
                StartKind::StateMachine => {
                    let token: String = incident.token.chars().take(32).collect();
                    let start = StartStateMachine {
                        state_machine_arn: state_machine.clone(),
                        name: format!("{DISPLAY_NAME_PREFIX}{token}"),
                        input: state_machine_input(&parameters, incident, &self.model, &decision.sentence),
                        incident: incident.number,
                    };
                    self.outbox.enqueue(id, ModelEffect::StartStateMachine(start), caller);
                }
                StartKind::Pipeline | StartKind::Event => {}
            }
        }
        let decided = RemediationDecided {
            version: "1".into(),
            // Part of the token makes the ID unique after the loss of a document, when the count restarts.
            id: format!(
                "decision-{}-{}-{}",
                incident.id,
                decision.number,
                incident.token.get(..8).unwrap_or_default()
            ),
            correlation_id: incident.correlation_id.clone(),
            model: self.model.clone(),
            incident: incident.number,
            incident_id: incident.id.clone(),
            decision: decision.number,
            verdict: decision.verdict,
            stage,
            reasons: decision.reasons,
            sentence: decision.sentence,
            until: decision.until,
            start: retrain.then_some(start),
            pipeline_start: (retrain && start == StartKind::Pipeline).then_some(given.settings.pipeline_start),
            pipeline: match start {
                StartKind::Pipeline if retrain => Some(pipeline),
                StartKind::StateMachine if retrain => Some(state_machine),
                _ => None,
            },
            pipeline_parameters: parameters,
            policy_version: decision.policy_version,
            alerts: decision.alerts,
            time: decision.time,
        };
        let id = format!("{REMEDIATION_DECIDED}/{}", decided.id);
        self.outbox
            .enqueue(id, ModelEffect::PutRemediationDecided(Box::new(decided)), caller);
        StepOutcome::Changed
    }

    /// Escalates the incident to an operator.
    fn escalate(&mut self, cause: Cause, reasons: Vec<Reason>, given: StepContext<'_>, caller: &Caller) {
        let policy = given.policy.model(&self.model);
        let alerts: Vec<AlertSnapshot> = self.in_alert().cloned().collect();
        let version = given.policy.version();
        let decision = Decision::new(&self.model, Verdict::Escalate, reasons, alerts, version, caller.now);
        self.enact(cause, decision, &policy, given, caller);
    }

    fn on_execution(
        &mut self,
        incident: u64,
        execution: PipelineExecution,
        given: StepContext<'_>,
        caller: &Caller,
    ) -> StepOutcome {
        let Some(open) = self.incident.as_mut().filter(|open| open.number == incident) else {
            return StepOutcome::Unchanged;
        };
        if open.stage != Stage::Retraining {
            return StepOutcome::Unchanged;
        }
        if let Some(known) = &open.execution {
            let other = known.arn != execution.arn;
            let late = execution.status.rank() < known.status.rank() || known.status.is_final();
            if other || late || *known == execution {
                return StepOutcome::Unchanged;
            }
        }
        let known_start = open.execution.as_ref().and_then(|known| known.start_time);
        let execution = PipelineExecution {
            start_time: execution.start_time.or(known_start),
            ..execution
        };
        open.execution = Some(execution.clone());
        if !execution.status.is_final() {
            return StepOutcome::Changed;
        }
        let id = format!("retraining-{}-{}", open.id, execution.status.as_str());
        let change = RetrainingStatusChange {
            version: "1".into(),
            id: format!("{id}-{}", last_part(&execution.arn)),
            correlation_id: open.correlation_id.clone(),
            model: self.model.clone(),
            incident_id: open.id.clone(),
            pipeline_execution_arn: execution.arn.clone(),
            status: execution.status,
            execution_start_time: execution.start_time,
            execution_end_time: execution.end_time,
            sentence: open
                .decision
                .as_ref()
                .map_or_else(String::new, |decision| decision.sentence.clone()),
            time: caller.now,
        };
        let id = format!("{RETRAINING_PIPELINE_EXECUTION_STATUS_CHANGE}/{id}");
        self.outbox
            .enqueue(id, ModelEffect::PutRetrainingStatusChange(Box::new(change)), caller);
        if execution.status == ExecutionStatus::Succeeded {
            let tested = given.policy.promotion(&self.model).mode != Mode::Off;
            let cause = if tested { Cause::CandidateMade } else { Cause::Succeeded };
            if let Some(stage) = open.stage.after(cause) {
                let ended = Some(execution.end_time.unwrap_or(caller.now));
                open.stage = stage;
                if tested {
                    open.candidate_since = ended;
                } else {
                    open.verifying_since = ended;
                }
            }
        } else {
            let reasons = vec![Reason::RunEnded {
                execution_arn: execution.arn,
                status: execution.status,
            }];
            self.escalate(Cause::Failed, reasons, given, caller);
        }
        self.close_if_recovered(given, caller);
        StepOutcome::Changed
    }

    /// Applies the status of an experiment. If SageMaker does not report which pipeline execution registered the model
    /// package, an experiment after the retraining belongs to the incident.
    fn on_experiment(&mut self, status: CandidateStatus, given: StepContext<'_>, caller: &Caller) -> StepOutcome {
        let Some(open) = self.incident.as_mut().filter(|open| open.stage == Stage::Candidate) else {
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
            None => {}
            Some(Conclusion::Promoted) => {
                if let Some(stage) = open.stage.after(Cause::Promoted) {
                    open.stage = stage;
                    open.verifying_since = Some(status.at);
                }
            }
            Some(conclusion) => {
                let reasons = vec![Reason::NotPromoted {
                    experiment_id: status.experiment_id,
                    conclusion,
                    sentence: status.sentence,
                }];
                self.escalate(Cause::NotPromoted, reasons, given, caller);
            }
        }
        self.close_if_recovered(given, caller);
        StepOutcome::Changed
    }

    /// Escalates the incident if the model package of the retraining did not appear in time.
    fn candidate_missing(&mut self, given: StepContext<'_>, caller: &Caller) -> bool {
        let Some(open) = &self.incident else { return false };
        let waits = open.stage == Stage::Candidate && open.experiment_id.is_none();
        let Some(since) = open.candidate_since.filter(|_| waits) else {
            return false;
        };
        let promotion = given.policy.promotion(&self.model);
        let until = since.checked_add(promotion.candidate_within).ok();
        let Some(until) = until.filter(|until| *until <= caller.now) else {
            return false;
        };
        let reasons = vec![Reason::CandidateMissing {
            model_package_group: promotion.model_package_group,
            until,
        }];
        self.escalate(Cause::NotPromoted, reasons, given, caller);
        true
    }

    fn on_approval(&mut self, approval: RemediationApproval, given: StepContext<'_>, caller: &Caller) -> StepOutcome {
        let valid_for = given.policy.model(&self.model).approval_valid_for;
        let Some(incident) = self.incident.as_mut().filter(|open| open.id == approval.incident_id) else {
            return StepOutcome::Unchanged;
        };
        let expired = incident
            .approval_expires_at
            .is_some_and(|expires_at| approval.time >= expires_at);
        let known = incident
            .approval
            .as_ref()
            .is_some_and(|known| known.at >= approval.time);
        if !incident.stage.is_undecided() || expired || known {
            return self.decide_if_due(given, caller);
        }
        let valid_until = approval.time.saturating_add(valid_for).unwrap_or(Timestamp::MAX);
        incident.approval = Some(Approval {
            granted: approval.granted,
            by: approval.by,
            at: approval.time,
            valid_until: approval.valid_until.unwrap_or(valid_until),
            reason: approval.reason,
        });
        self.decide_if_due(given, caller);
        StepOutcome::Changed
    }

    /// Applies the latest pause or resume. Only the decision that follows can change the stage.
    fn on_pause(&mut self, command: RemediationPause, given: StepContext<'_>, caller: &Caller) -> StepOutcome {
        if self.pause.as_ref().is_some_and(|known| known.time >= command.time) {
            return self.decide_if_due(given, caller);
        }
        self.pause = Some(Pause {
            paused: command.paused,
            by: command.by,
            time: command.time,
            until: command.until,
            reason: command.reason,
        });
        self.decide_if_due(given, caller);
        StepOutcome::Changed
    }

    fn on_resolution(
        &mut self,
        resolution: &RemediationResolution,
        given: StepContext<'_>,
        caller: &Caller,
    ) -> StepOutcome {
        let resolvable = self
            .incident
            .as_ref()
            .is_some_and(|open| open.id == resolution.incident_id && open.stage.after(Cause::Resolved).is_some());
        if !resolvable {
            return self.decide_if_due(given, caller);
        }
        self.close(Outcome::Resolved, Some(&resolution.by), caller);
        // Monitors that are still in alert open a new incident.
        let still_in_alert: Vec<&AlertSnapshot> = self.in_alert().collect();
        if let Some(first) = still_in_alert.first() {
            let seed = format!("{}/{}", first.id, resolution.time);
            let monitors = still_in_alert
                .iter()
                .map(|alert| alert.monitoring_schedule.clone())
                .collect();
            let correlation_id = first.correlation_id.clone();
            self.open(monitors, correlation_id, &seed, caller);
            self.decide_if_due(given, caller);
        }
        StepOutcome::Changed
    }

    fn on_tick(
        &mut self,
        levels: &BTreeMap<String, MonitorLevel>,
        given: StepContext<'_>,
        caller: &Caller,
    ) -> StepOutcome {
        if self.candidate_missing(given, caller) {
            return StepOutcome::Changed;
        }
        let Some(incident) = &self.incident else {
            return StepOutcome::Unchanged;
        };
        if let (Stage::Verifying, Some(since)) = (incident.stage, incident.verifying_since) {
            let verify = given.policy.model(&self.model).verify_executions;
            let mut persists = Vec::new();
            let mut verified = true;
            for schedule in &incident.monitors {
                let key = schedule_key(schedule);
                let Some(level) = levels.get(&key) else {
                    // For an alarm, or a monitor without a level in this tick, only the alert counts.
                    verified &= verify == 0 || schedule.starts_with("alarm:");
                    continue;
                };
                let executions = level.judged.iter().filter(|time| **time > since).count();
                let executions = u32::try_from(executions).unwrap_or(u32::MAX);
                let enough = if verify == 0 {
                    level.evaluation_period.into()
                } else {
                    verify
                };
                let alert = self.alerts.get(&key);
                if alert.is_some_and(|alert| alert.status == AlertStatus::InAlert) && executions >= enough {
                    persists.push(Reason::DriftPersists {
                        monitoring_schedule: schedule.clone(),
                        executions,
                    });
                }
                // A promotion restarts the alert windows: that they are OK means nothing until they have evaluated
                // executions.
                verified &= executions
                    >= if incident.candidate_since.is_some() {
                        enough
                    } else {
                        verify
                    };
            }
            if !persists.is_empty() {
                self.escalate(Cause::DriftPersists, persists, given, caller);
                return StepOutcome::Changed;
            }
            if verified && self.all_monitors_ok() {
                self.close(Outcome::Repaired, None, caller);
                return StepOutcome::Changed;
            }
            return StepOutcome::Unchanged;
        }
        if self.close_if_recovered(given, caller) {
            return StepOutcome::Changed;
        }
        self.decide_if_due(given, caller)
    }

    fn all_monitors_ok(&self) -> bool {
        self.alerts.values().all(|alert| alert.status == AlertStatus::Ok)
    }

    /// Closes the incident if every monitor is OK, unless a pipeline execution is in progress or the verification needs
    /// more executions.
    fn close_if_recovered(&mut self, given: StepContext<'_>, caller: &Caller) -> bool {
        let Some(incident) = &self.incident else {
            return false;
        };
        if incident.stage.after(Cause::AllOk).is_none() || !self.all_monitors_ok() {
            return false;
        }
        let outcome = if incident.stage == Stage::Verifying {
            if incident.candidate_since.is_some() || given.policy.model(&self.model).verify_executions > 0 {
                // A tick closes it after enough executions.
                return false;
            }
            Outcome::Repaired
        } else {
            Outcome::Recovered
        };
        self.close(outcome, None, caller);
        true
    }

    fn close(&mut self, outcome: Outcome, by: Option<&str>, caller: &Caller) {
        let Some(incident) = self.incident.take() else {
            return;
        };
        let duration = caller.now.duration_since(incident.opened_at);
        let phases = PhaseDurations::for_incident(&incident);
        let monitors = incident.monitors.join("`, `");
        let how = match (outcome, by) {
            (Outcome::Repaired, _) => "the retraining helped, and every monitor is OK".to_owned(),
            (Outcome::Recovered, _) => "every monitor is OK again".to_owned(),
            (Outcome::Resolved, by) => format!("resolved by {}", by.unwrap_or("an operator")),
        };
        let closed = IncidentClosed {
            version: "1".into(),
            id: format!("closed-{}-{}", incident.id, incident.token.get(..8).unwrap_or_default()),
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

fn last_part(arn: &str) -> &str {
    arn.rsplit(['/', ':']).next().unwrap_or_default()
}

fn state_machine_input(parameters: &BTreeMap<String, String>, incident: &Incident, model: &str, why: &str) -> String {
    let mut input: Map<String, Value> = parameters
        .iter()
        .map(|(name, value)| (name.clone(), value.clone().into()))
        .collect();
    let own = serde_json::json!({"model": model, "incident": incident.number, "incidentId": incident.id, "why": why});
    input.insert("driftwarden".into(), own);
    Value::Object(input).to_string()
}

/// Fills the templates of the parameters with the data of the incident.
fn parameters(
    templates: &BTreeMap<String, String>,
    incident: &Incident,
    alerts: &[AlertSnapshot],
    model: &str,
) -> BTreeMap<String, String> {
    let mut features: Vec<&str> = Vec::new();
    for violation in alerts.iter().flat_map(|alert| &alert.violations) {
        if !features.contains(&violation.subject.as_str()) {
            features.push(&violation.subject);
        }
    }
    // SageMaker rejects empty values.
    let or_none = |text: &str| {
        if text.is_empty() {
            "none".to_owned()
        } else {
            text.to_owned()
        }
    };
    let first = alerts.first();
    let features = or_none(&join_names(&features));
    let values = [
        ("{model}", model.to_owned()),
        ("{incident}", incident.id.clone()),
        (
            "{schedule}",
            or_none(first.map_or("", |alert| &alert.monitoring_schedule)),
        ),
        (
            "{report_uri}",
            or_none(first.and_then(|alert| alert.report_uri.as_deref()).unwrap_or_default()),
        ),
        (
            "{endpoint}",
            or_none(first.and_then(|alert| alert.endpoint.as_deref()).unwrap_or_default()),
        ),
        (
            "{monitor_type}",
            or_none(
                first
                    .and_then(|alert| alert.monitor_type.as_deref())
                    .unwrap_or_default(),
            ),
        ),
        // Last, because the name of a feature may look like a placeholder.
        ("{features}", features),
    ];
    let fill = |template: &str| {
        let mut text = template.to_owned();
        for (placeholder, value) in &values {
            text = text.replace(placeholder, value);
        }
        or_none(&text.chars().take(MAX_PARAMETER_CHARS).collect::<String>())
    };
    templates
        .iter()
        .map(|(name, template)| (name.clone(), fill(template)))
        .collect()
}

/// A text as one line of limited length: the name of a feature may contain control characters.
fn one_line(text: &str, max_chars: usize) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(max_chars)
        .collect()
}

/// Joins names with commas, as many whole names as fit into the value of a parameter.
fn join_names(names: &[&str]) -> String {
    let mut text = String::new();
    for name in names {
        let separator = usize::from(!text.is_empty());
        if text.chars().count() + separator + name.chars().count() > MAX_PARAMETER_CHARS {
            break;
        }
        if separator == 1 {
            text.push(',');
        }
        text.push_str(name);
    }
    text
}
