//! The document of one model: its monitors' alerts, its open incident, its retrainings, and what the last change owes.
//!
//! The stages of an incident and what leads from one to another are in [`crate::lifecycle`]. An alert that comes while an
//! incident is open joins it. What was decided is decided again whenever something changes that it rests on, until the
//! retraining is started: never twice for one incident. After it the next executions say whether it helped.

use crate::{
    Approval, Cause, DecidedAlert, Decision, IncidentClosed, ModelPolicy, Outcome, Pause, Policy, REMEDIATION_DECIDED,
    REMEDIATION_INCIDENT_CLOSED, RETRAINING_PIPELINE_EXECUTION_STATUS_CHANGE, Reason, RemediationApproval,
    RemediationDecided, RemediationPause, RemediationResolution, RetrainingStatusChange, RiskRating, Stage, StartKind,
    Verdict, decision::Circumstances, policy::PIPELINE_PARAMETERS,
};
use alerting::{AlertStateChange, AlertStatus, DatapointState};
use jiff::{SignedDuration, Timestamp};
use outbox::{Caller, Outbox};
use promotion::{Conclusion, Experiment, ExperimentDocument, ExperimentStage, ExperimentStateChange, Mode};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// How many closed incidents a document keeps; older ones are in the versions of the bucket.
const CLOSED_INCIDENTS: usize = 20;
/// For how long a document knows of retrainings: longer than a month, which is the longest budget.
const RETRAININGS_KEPT: SignedDuration = SignedDuration::from_hours(32 * 24);
/// SageMaker's limit on the description of an execution (API, `StartPipelineExecution`), which is one line.
const EXECUTION_DESCRIPTION: usize = 3072;
/// SageMaker's limit on the value of a pipeline parameter (API, `StartPipelineExecution`).
const PARAMETER_VALUE: usize = 1024;

/// With this a run's name begins, so that its events find the incident.
pub const DISPLAY_NAME_PREFIX: &str = "driftwarden-";

/// Who starts the pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum PipelineStart {
    /// The remediate function, under a `ClientRequestToken`.
    Remediate,
    /// An EventBridge rule on `Remediation Decided`, without a token.
    Rule,
}

/// What a deployment says about retraining.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Name or ARN of the SageMaker pipeline.
    pub pipeline: String,
    /// Who starts it.
    pub pipeline_start: PipelineStart,
}

/// Status of a pipeline execution, as SageMaker spells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum ExecutionStatus {
    /// Under way.
    Executing,
    /// Being stopped.
    Stopping,
    /// Ended well.
    Succeeded,
    /// Ended with a failed step.
    Failed,
    /// Stopped by somebody.
    Stopped,
    /// Ended, with some steps failed.
    CompletedWithFailures,
}

impl ExecutionStatus {
    /// The status of that name.
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

    /// The status that Step Functions calls so.
    pub fn of_state_machine(name: &str) -> Option<Self> {
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

    /// Later statuses rank higher; none follows one of the highest rank.
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

/// What an event says of a pipeline execution.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PipelineExecution {
    /// Its ARN.
    pub arn: String,
    /// Its status.
    pub status: ExecutionStatus,
    /// When it started, if SageMaker told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Timestamp>,
    /// When it ended, if SageMaker told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_time: Option<Timestamp>,
}

/// What goes into the state machine.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// The alert of one of the model's monitors changed.
    Alert(Box<AlertStateChange>),
    /// The run of one of the model's incidents changed.
    PipelineExecution {
        /// The how-manieth incident of the model it belongs to.
        incident: u64,
        /// The run.
        execution: PipelineExecution,
    },
    /// A person said yes or no.
    Approval(RemediationApproval),
    /// A person closes the incident.
    Resolution(RemediationResolution),
    /// A person pauses the model, or lets it go on.
    Pause(RemediationPause),
    /// The experiment of a retrained model went on.
    Experiment(CandidateStatus),
    /// Time has passed: what the monitors have judged by now, by [`schedule_key`].
    Tick(BTreeMap<String, MonitorLevel>),
}

/// Where a candidate stands, as far as its incident needs to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CandidateStatus {
    /// Its experiment.
    pub experiment_id: String,
    /// The pipeline execution that made it, if SageMaker told.
    pub pipeline_execution_arn: Option<String>,
    /// How the experiment ended, once it has.
    pub ended: Option<Conclusion>,
    /// What was last said of it.
    pub sentence: String,
    /// When the experiment was found to stand there.
    pub at: Timestamp,
}

impl CandidateStatus {
    /// Of an event.
    pub fn of_change(change: &ExperimentStateChange) -> Self {
        Self {
            experiment_id: change.experiment_id.clone(),
            pipeline_execution_arn: change.pipeline_execution_arn.clone(),
            ended: change.conclusion.filter(|_| change.stage == ExperimentStage::Ended),
            sentence: change.sentence.clone(),
            at: change.time,
        }
    }

    /// Of every experiment that a document keeps, oldest first.
    pub fn of_document(document: &ExperimentDocument) -> Vec<Self> {
        let of = |experiment: &Experiment, ended, at| Self {
            experiment_id: experiment.id.clone(),
            pipeline_execution_arn: experiment.package.generated_by.clone(),
            ended,
            sentence: experiment.sentence.clone(),
            at,
        };
        let over = document.ended.iter();
        let over = over.map(|ended| of(&ended.experiment, Some(ended.conclusion), ended.ended_at));
        let open = document.experiment.iter().map(|open| of(open, None, open.since));
        over.chain(open).collect()
    }
}

/// What a monitor has judged by now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MonitorLevel {
    /// The scheduled times of its latest executions that say something of the data, newest first, bounded.
    pub judged: Vec<Timestamp>,
    /// N of its window.
    pub evaluation_period: u8,
}

/// What a decision needs to know and only AWS can tell.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    /// ARNs of the runs in flight that may be of this model, started by whomever.
    pub in_flight: Vec<String>,
    /// The risk rating of the model card.
    pub risk_rating: RiskRating,
    /// What a person last said about pausing all models.
    pub paused: Option<Pause>,
}

/// What an input is taken under.
#[derive(Debug, Clone, Copy)]
pub struct Given<'a> {
    /// The policy in force.
    pub policy: &'a Policy,
    /// What the deployment says.
    pub settings: &'a Settings,
    /// What was asked of AWS; `None` if it was not asked, or did not answer.
    pub facts: Option<&'a Facts>,
}

/// What an input did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stepped {
    /// The document changed.
    Changed,
    /// Already known, overtaken by something later, or about an incident that is not open.
    Nothing,
}

/// A pipeline execution to be started: all that `StartPipelineExecution` is given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartPipelineExecution {
    /// Name or ARN of the pipeline.
    pub pipeline: String,
    /// Deterministic: SageMaker answers a repeated token with the execution that it already started.
    pub client_request_token: String,
    /// Display name; leads the execution's events back to the incident.
    pub display_name: String,
    /// Why it was started.
    pub description: String,
    /// The parameters of the run.
    pub parameters: BTreeMap<String, String>,
    /// The incident it is for.
    pub incident: u64,
}

/// A Step Functions execution to be started: all that `StartExecution` is given. The name is deterministic: a STANDARD
/// state machine answers a repeated name and input with the execution that it already started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartStateMachine {
    /// ARN of the state machine.
    pub state_machine_arn: String,
    /// Name of the execution.
    pub name: String,
    /// Its input, JSON.
    pub input: String,
    /// The incident it is for.
    pub incident: u64,
}

/// What a change of the document owes to the world.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ModelEffect {
    /// The retraining pipeline is to be started.
    StartPipelineExecution(StartPipelineExecution),
    /// The retraining state machine is to be started.
    StartStateMachine(StartStateMachine),
    /// `Remediation Decided` is to be put on the bus.
    PutRemediationDecided(Box<RemediationDecided>),
    /// `Retraining Pipeline Execution Status Change` is to be put on the bus.
    PutRetrainingStatusChange(Box<RetrainingStatusChange>),
    /// `Remediation Incident Closed` is to be put on the bus.
    PutIncidentClosed(Box<IncidentClosed>),
}

/// The alert of one monitor as last heard.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MonitorAlert {
    /// Its status.
    pub status: AlertStatus,
    /// The transition that led to it: an event with a lower number is late.
    pub transition: u64,
    /// When the transition was found.
    pub since: Timestamp,
    /// What it told, while it is in alert.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told: Option<Box<DecidedAlert>>,
}

/// Drift of one model, from the first alert until every monitor is OK again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Incident {
    /// The how-manieth of the model, from 1.
    pub number: u64,
    /// `{model}-{number}`.
    pub id: String,
    /// The correlation id of the alert that opened it: that of the execution which made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    /// Under this the retraining is started, once.
    pub token: String,
    /// Where it stands; never [`Stage::Healthy`].
    pub stage: Stage,
    /// When the first alert was heard.
    pub opened_at: Timestamp,
    /// The schedules of the monitors that have been in alert during it.
    pub monitors: Vec<String>,
    /// What was decided last; `None` while deciding.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<Decision>,
    /// How many decisions there were.
    #[serde(default)]
    pub decisions: u64,
    /// Until when an approval is waited for, once one was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked_until: Option<Timestamp>,
    /// What a person said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<Approval>,
    /// The run, once it has a name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution: Option<PipelineExecution>,
    /// When the retraining was decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retrain_decided_at: Option<Timestamp>,
    /// When the retraining ended well, and its model is to be tested first: from then on its model package is waited for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candidate_since: Option<Timestamp>,
    /// The experiment of the retrained model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub experiment_id: Option<String>,
    /// Since when the retrained model serves: what is scheduled later is judged on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verifying_since: Option<Timestamp>,
}

/// An incident that is over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClosedIncident {
    /// The incident as it last stood.
    pub incident: Incident,
    /// When it was closed.
    pub closed_at: Timestamp,
    /// How.
    pub outcome: Outcome,
}

/// The document of one model: `models/{model}.json` in the state bucket.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelDocument {
    /// Version of this layout.
    pub version: u32,
    /// The model.
    pub model: String,
    /// The alerts of its monitors, by schedule.
    #[serde(default)]
    pub alerts: BTreeMap<String, MonitorAlert>,
    /// When its latest retrainings were decided, oldest first: cooldown and budget count them.
    #[serde(default)]
    pub retrainings: Vec<Timestamp>,
    /// How many incidents it has had, with the open one.
    #[serde(default)]
    pub incidents: u64,
    /// What a person last said about pausing it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause: Option<Pause>,
    /// The open incident.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incident: Option<Incident>,
    /// The latest incidents that are over, oldest first, bounded.
    #[serde(default)]
    pub closed: Vec<ClosedIncident>,
    /// What the last changes still owe.
    #[serde(default)]
    pub outbox: Outbox<ModelEffect>,
}

/// The model and the incident's number that a display name of ours holds; `None` for any other display name.
pub fn model_of_display_name(display_name: &str) -> Option<(&str, u64)> {
    let (model, number) = display_name.strip_prefix(DISPLAY_NAME_PREFIX)?.rsplit_once('-')?;
    Some((model, number.parse().ok()?))
}

impl ModelDocument {
    /// The document of a model that nothing is known of yet.
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
        }
    }

    /// The document's key in the state bucket.
    pub fn key(model: &str) -> String {
        format!("models/{model}.json")
    }

    /// Whether taking an input needs [`Facts`], because a retraining may be decided.
    pub fn needs_facts(&self, input: &Input) -> bool {
        let undecided = self.incident.as_ref().map(|incident| incident.stage.is_undecided());
        match input {
            Input::Alert(alert) => {
                let known = self.alerts.get(&schedule_key(&alert.monitoring_schedule));
                let news = known.is_none_or(|known| known.transition < alert.transition);
                news && undecided.unwrap_or(alert.alert_status == AlertStatus::InAlert) || self.is_deciding()
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

    /// Where the model stands.
    pub fn stage(&self) -> Stage {
        self.incident.as_ref().map_or(Stage::Healthy, |incident| incident.stage)
    }

    /// The correlation id of the open incident.
    pub fn correlation_id(&self) -> Option<&str> {
        self.incident.as_ref()?.correlation_id.as_deref()
    }

    /// The correlation id of the incident whose retraining made a model package, if one did: by the run that registered it, and
    /// where SageMaker tells none, of the incident that waits for its candidate.
    pub fn correlation_id_of_candidate(&self, generated_by: Option<&str>) -> Option<&str> {
        let closed = self.closed.iter().rev().map(|closed| &closed.incident);
        let mut incidents = self.incident.iter().chain(closed);
        let found = match generated_by {
            Some(arn) => incidents.find(|incident| incident.execution.as_ref().is_some_and(|run| run.arn == arn)),
            None => incidents.find(|incident| matches!(incident.stage, Stage::Retraining | Stage::Candidate)),
        };
        found?.correlation_id.as_deref()
    }

    /// Takes one input. What follows from it is in the outbox.
    pub fn step(&mut self, input: Input, given: Given<'_>, caller: &Caller) -> Stepped {
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
            Stepped::Changed
        } else {
            stepped
        }
    }

    /// Notes which run was started for an incident.
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

    fn in_alert(&self) -> impl Iterator<Item = &DecidedAlert> {
        let in_alert = self
            .alerts
            .values()
            .filter(|alert| alert.status == AlertStatus::InAlert);
        in_alert.filter_map(|alert| alert.told.as_deref())
    }

    fn on_alert(&mut self, alert: &AlertStateChange, given: Given<'_>, caller: &Caller) -> Stepped {
        let schedule = schedule_key(&alert.monitoring_schedule);
        let known = self.alerts.get(&schedule);
        if known.is_some_and(|known| known.transition >= alert.transition) {
            // A retry, whose first attempt could not ask for the facts, decides now.
            return self.decide_if_due(given, caller);
        }
        let in_alert = alert.alert_status == AlertStatus::InAlert;
        let heard = MonitorAlert {
            status: alert.alert_status,
            transition: alert.transition,
            since: alert.time,
            told: in_alert.then(|| Box::new(DecidedAlert::new(alert))),
        };
        self.alerts.insert(schedule, heard);
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
                        // Something new to ask about: a question nobody answered, or a no, was about less.
                        let refused = incident.approval.as_ref().is_some_and(|approval| !approval.granted);
                        if refused {
                            incident.approval = None;
                        }
                        if refused || incident.asked_until.is_some_and(|until| until <= caller.now) {
                            incident.asked_until = None;
                        }
                    }
                }
            }
        } else if self.close_if_over(given, caller) {
            return Stepped::Changed;
        }
        self.decide_if_due(given, caller);
        Stepped::Changed
    }

    /// Opens an incident for monitors in alert. `seed` is part of its token: a document that was lost and began anew at
    /// incident 1 must not be answered with the run of an older incident 1.
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
            asked_until: None,
            approval: None,
            execution: None,
            retrain_decided_at: None,
            candidate_since: None,
            experiment_id: None,
            verifying_since: None,
        });
    }

    /// Decides, if something is to be decided and the facts are known. A decision that says what the last one said is
    /// none.
    fn decide_if_due(&mut self, given: Given<'_>, caller: &Caller) -> Stepped {
        let (Some(facts), Some(incident)) = (given.facts, &self.incident) else {
            return Stepped::Nothing;
        };
        if !incident.stage.is_undecided() {
            return Stepped::Nothing;
        }
        let policy = given.policy.model(&self.model);
        let alerts: Vec<DecidedAlert> = self.in_alert().cloned().collect();
        let asked_until = incident.asked_until.unwrap_or_else(|| {
            let until = caller.now.saturating_add(policy.approval_expires_after);
            until.unwrap_or(Timestamp::MAX)
        });
        let circumstances = Circumstances {
            policy: &policy,
            risk_rating: policy.risk_rating.unwrap_or(facts.risk_rating),
            in_flight: &facts.in_flight,
            retrainings: &self.retrainings,
            approval: incident.approval.as_ref(),
            paused_globally: facts.paused.as_ref(),
            paused: self.pause.as_ref(),
            asked_until,
            now: caller.now,
        };
        let (verdict, reasons) = circumstances.decide(&alerts);
        let asks = reasons
            .iter()
            .any(|reason| matches!(reason, Reason::ApprovalMissing { .. }));
        let cause = match verdict {
            Verdict::Retrain => Cause::Retrain,
            Verdict::FixData => Cause::FixData,
            Verdict::Hold if asks => Cause::AskApproval,
            Verdict::Hold | Verdict::Escalate => Cause::Hold,
        };
        let version = given.policy.version();
        let decision = Decision::new(&self.model, verdict, reasons, alerts, version, caller.now);
        if let Some(incident) = self.incident.as_mut().filter(|_| asks) {
            incident.asked_until = Some(asked_until);
        }
        self.enact(cause, decision, &policy, given, caller)
    }

    /// Takes a decision: the stage it leads to, the event that tells of it, the start that it orders.
    fn enact(
        &mut self,
        cause: Cause,
        mut decision: Decision,
        policy: &ModelPolicy,
        given: Given<'_>,
        caller: &Caller,
    ) -> Stepped {
        let Some(incident) = &mut self.incident else {
            return Stepped::Nothing;
        };
        let Some(stage) = incident.stage.after(cause) else {
            return Stepped::Nothing;
        };
        let same = incident
            .decision
            .as_ref()
            .is_some_and(|last| last.says_the_same_as(&decision));
        if same && stage == incident.stage {
            return Stepped::Nothing;
        }
        incident.stage = stage;
        incident.decisions += 1;
        decision.number = incident.decisions;
        incident.decision = Some(decision.clone());

        let retrain = decision.verdict == Verdict::Retrain;
        let start = policy.retraining.start;
        let by_rule = start == StartKind::Pipeline && given.settings.pipeline_start == PipelineStart::Rule;
        let parameters = if retrain {
            // A rule's target names its parameters in the template: an event without them would start nothing.
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
            let oldest = caller.now.saturating_sub(RETRAININGS_KEPT).unwrap_or(Timestamp::MIN);
            self.retrainings.retain(|time| *time >= oldest);
            let id = format!("start/{}", incident.id);
            match start {
                StartKind::Pipeline if !by_rule => {
                    let start = StartPipelineExecution {
                        pipeline: pipeline.clone(),
                        client_request_token: incident.token.clone(),
                        display_name: format!("{DISPLAY_NAME_PREFIX}{}", incident.id),
                        description: one_line(&decision.sentence, EXECUTION_DESCRIPTION),
                        parameters: parameters.clone(),
                        incident: incident.number,
                    };
                    self.outbox.owe(id, ModelEffect::StartPipelineExecution(start), caller);
                }
                StartKind::StateMachine => {
                    let token: String = incident.token.chars().take(32).collect();
                    let start = StartStateMachine {
                        state_machine_arn: state_machine.clone(),
                        name: format!("{DISPLAY_NAME_PREFIX}{token}"),
                        input: state_machine_input(&parameters, incident, &self.model, &decision.sentence),
                        incident: incident.number,
                    };
                    self.outbox.owe(id, ModelEffect::StartStateMachine(start), caller);
                }
                StartKind::Pipeline | StartKind::Event => {}
            }
        }
        let decided = RemediationDecided {
            version: "1".into(),
            // With a part of the token: a document that was lost counts anew.
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
            .owe(id, ModelEffect::PutRemediationDecided(Box::new(decided)), caller);
        Stepped::Changed
    }

    /// Calls a person.
    fn escalate(&mut self, cause: Cause, reasons: Vec<Reason>, given: Given<'_>, caller: &Caller) {
        let policy = given.policy.model(&self.model);
        let alerts: Vec<DecidedAlert> = self.in_alert().cloned().collect();
        let version = given.policy.version();
        let decision = Decision::new(&self.model, Verdict::Escalate, reasons, alerts, version, caller.now);
        self.enact(cause, decision, &policy, given, caller);
    }

    fn on_execution(
        &mut self,
        incident: u64,
        execution: PipelineExecution,
        given: Given<'_>,
        caller: &Caller,
    ) -> Stepped {
        let Some(open) = self.incident.as_mut().filter(|open| open.number == incident) else {
            return Stepped::Nothing;
        };
        if open.stage != Stage::Retraining {
            return Stepped::Nothing;
        }
        if let Some(known) = &open.execution {
            let other = known.arn != execution.arn;
            let late = execution.status.rank() < known.status.rank() || known.status.is_final();
            if other || late || *known == execution {
                return Stepped::Nothing;
            }
        }
        let known_start = open.execution.as_ref().and_then(|known| known.start_time);
        let execution = PipelineExecution {
            start_time: execution.start_time.or(known_start),
            ..execution
        };
        open.execution = Some(execution.clone());
        if !execution.status.is_final() {
            return Stepped::Changed;
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
            .owe(id, ModelEffect::PutRetrainingStatusChange(Box::new(change)), caller);
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
        self.close_if_over(given, caller);
        Stepped::Changed
    }

    /// Follows the experiment of the retrained model. Of which pipeline execution a model package is, SageMaker tells if
    /// the package was registered with it; else one that is tested after the retraining is taken for its.
    fn on_experiment(&mut self, status: CandidateStatus, given: Given<'_>, caller: &Caller) -> Stepped {
        let Some(open) = self.incident.as_mut().filter(|open| open.stage == Stage::Candidate) else {
            return Stepped::Nothing;
        };
        let of_incident = match (&status.pipeline_execution_arn, &open.execution) {
            (Some(arn), Some(execution)) => *arn == execution.arn,
            _ => open.candidate_since.is_none_or(|since| status.at >= since),
        };
        let known = open
            .experiment_id
            .as_ref()
            .is_some_and(|known| *known == status.experiment_id);
        if !(of_incident || known) || (known && status.ended.is_none()) {
            return Stepped::Nothing;
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
        self.close_if_over(given, caller);
        Stepped::Changed
    }

    /// Calls a person if the model package of the retraining did not come in time.
    fn candidate_missing(&mut self, given: Given<'_>, caller: &Caller) -> bool {
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

    fn on_approval(&mut self, approval: RemediationApproval, given: Given<'_>, caller: &Caller) -> Stepped {
        let valid_for = given.policy.model(&self.model).approval_valid_for;
        let Some(incident) = self.incident.as_mut().filter(|open| open.id == approval.incident_id) else {
            return Stepped::Nothing;
        };
        let too_late = incident.asked_until.is_some_and(|until| approval.time >= until);
        let known = incident
            .approval
            .as_ref()
            .is_some_and(|known| known.at >= approval.time);
        if !incident.stage.is_undecided() || too_late || known {
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
        Stepped::Changed
    }

    /// The latest word counts. It changes no stage by itself: what is not decided yet is decided anew.
    fn on_pause(&mut self, said: RemediationPause, given: Given<'_>, caller: &Caller) -> Stepped {
        if self.pause.as_ref().is_some_and(|known| known.time >= said.time) {
            return self.decide_if_due(given, caller);
        }
        self.pause = Some(Pause {
            paused: said.paused,
            by: said.by,
            time: said.time,
            until: said.until,
            reason: said.reason,
        });
        self.decide_if_due(given, caller);
        Stepped::Changed
    }

    fn on_resolution(&mut self, resolution: &RemediationResolution, given: Given<'_>, caller: &Caller) -> Stepped {
        let resolvable = self
            .incident
            .as_ref()
            .is_some_and(|open| open.id == resolution.incident_id && open.stage.after(Cause::Resolved).is_some());
        if !resolvable {
            return self.decide_if_due(given, caller);
        }
        self.close(Outcome::Resolved, Some(&resolution.by), caller);
        // What is still in alert is an incident of its own from here on.
        let still: Vec<&DecidedAlert> = self.in_alert().collect();
        if let Some(first) = still.first() {
            let seed = format!("{}/{}", first.id, resolution.time);
            let monitors = still.iter().map(|alert| alert.monitoring_schedule.clone()).collect();
            let correlation_id = first.correlation_id.clone();
            self.open(monitors, correlation_id, &seed, caller);
            self.decide_if_due(given, caller);
        }
        Stepped::Changed
    }

    fn on_tick(&mut self, levels: &BTreeMap<String, MonitorLevel>, given: Given<'_>, caller: &Caller) -> Stepped {
        if self.candidate_missing(given, caller) {
            return Stepped::Changed;
        }
        let Some(incident) = &self.incident else {
            return Stepped::Nothing;
        };
        if let (Stage::Verifying, Some(since)) = (incident.stage, incident.verifying_since) {
            let verify = given.policy.model(&self.model).verify_executions;
            let mut persists = Vec::new();
            let mut verified = true;
            for schedule in &incident.monitors {
                let key = schedule_key(schedule);
                let Some(level) = levels.get(&key) else {
                    // Of an alarm, or a monitor that this tick knows nothing of: only its alert counts.
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
                // The windows of a promoted model began anew: that they are OK says nothing before they have judged.
                verified &= executions
                    >= if incident.candidate_since.is_some() {
                        enough
                    } else {
                        verify
                    };
            }
            if !persists.is_empty() {
                self.escalate(Cause::DriftPersists, persists, given, caller);
                return Stepped::Changed;
            }
            if verified && self.is_quiet() {
                self.close(Outcome::Repaired, None, caller);
                return Stepped::Changed;
            }
            return Stepped::Nothing;
        }
        if self.close_if_over(given, caller) {
            return Stepped::Changed;
        }
        self.decide_if_due(given, caller)
    }

    fn is_quiet(&self) -> bool {
        self.alerts.values().all(|alert| alert.status == AlertStatus::Ok)
    }

    /// Closes the incident if every monitor is OK, unless a run has not ended or more executions are asked for.
    fn close_if_over(&mut self, given: Given<'_>, caller: &Caller) -> bool {
        let Some(incident) = &self.incident else {
            return false;
        };
        if incident.stage.after(Cause::AllOk).is_none() || !self.is_quiet() {
            return false;
        }
        let outcome = if incident.stage == Stage::Verifying {
            if incident.candidate_since.is_some() || given.policy.model(&self.model).verify_executions > 0 {
                // A tick closes it, once so many executions have been judged.
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
        let took = caller.now.duration_since(incident.opened_at);
        let times = Times::of(&incident);
        let monitors = incident.monitors.join("`, `");
        let how = match (outcome, by) {
            (Outcome::Repaired, _) => "the retraining helped: every monitor is OK after it".to_owned(),
            (Outcome::Recovered, _) => "every monitor is OK again".to_owned(),
            (Outcome::Resolved, by) => format!("closed by {}", by.unwrap_or("a person")),
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
            time_to_detect_seconds: times.detect,
            time_to_decide_seconds: times.decide,
            time_to_retrain_seconds: times.retrain,
            time_to_promote_seconds: times.promote,
            time_to_repair_seconds: took.as_secs(),
            pipeline_execution_arn: incident.execution.as_ref().map(|execution| execution.arn.clone()),
            experiment_id: incident.experiment_id.clone(),
            sentence: format!(
                "Incident {} of `{}` (`{monitors}`) is over after {}: {how}.",
                incident.id,
                self.model,
                in_words(took)
            ),
            time: caller.now,
        };
        let id = format!("{REMEDIATION_INCIDENT_CLOSED}/{}", closed.id);
        self.outbox
            .owe(id, ModelEffect::PutIncidentClosed(Box::new(closed)), caller);
        self.closed.push(ClosedIncident {
            incident,
            closed_at: caller.now,
            outcome,
        });
        if self.closed.len() > CLOSED_INCIDENTS {
            self.closed.remove(0);
        }
    }
}

/// What an incident took, part by part, in seconds.
#[derive(Debug)]
struct Times {
    detect: Option<i64>,
    decide: Option<i64>,
    retrain: Option<i64>,
    promote: Option<i64>,
}

impl Times {
    fn of(incident: &Incident) -> Self {
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

/// The key of a monitor: SageMaker lower-cases schedule names in ARNs.
pub fn schedule_key(schedule: &str) -> String {
    schedule.to_lowercase()
}

fn last_part(arn: &str) -> &str {
    arn.rsplit(['/', ':']).next().unwrap_or_default()
}

/// A duration in words, to the minute: `2 d 3 h 10 min`.
pub fn in_words(duration: SignedDuration) -> String {
    let minutes = duration.as_mins();
    let parts = [(minutes / 1440, "d"), (minutes / 60 % 24, "h"), (minutes % 60, "min")];
    let said: Vec<String> = parts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, unit)| format!("{count} {unit}"))
        .collect();
    if said.is_empty() {
        "less than a minute".to_owned()
    } else {
        said.join(" ")
    }
}

fn state_machine_input(parameters: &BTreeMap<String, String>, incident: &Incident, model: &str, why: &str) -> String {
    let mut input: serde_json::Map<String, serde_json::Value> = parameters
        .iter()
        .map(|(name, value)| (name.clone(), value.clone().into()))
        .collect();
    let own = serde_json::json!({"model": model, "incident": incident.number, "incidentId": incident.id, "why": why});
    input.insert("driftwarden".into(), own);
    serde_json::Value::Object(input).to_string()
}

/// The parameters of a run, their templates filled in from the incident.
fn parameters(
    templates: &BTreeMap<String, String>,
    incident: &Incident,
    alerts: &[DecidedAlert],
    model: &str,
) -> BTreeMap<String, String> {
    let mut features: Vec<&str> = Vec::new();
    for violation in alerts.iter().flat_map(|alert| &alert.violations) {
        if !features.contains(&violation.subject.as_str()) {
            features.push(&violation.subject);
        }
    }
    // SageMaker takes no empty value.
    let or_none = |text: &str| {
        if text.is_empty() {
            "none".to_owned()
        } else {
            text.to_owned()
        }
    };
    let first = alerts.first();
    let features = or_none(&joined(&features));
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
        // Last: names of features may hold anything, also what looks like a placeholder.
        ("{features}", features),
    ];
    let fill = |template: &str| {
        let mut text = template.to_owned();
        for (placeholder, value) in &values {
            text = text.replace(placeholder, value);
        }
        or_none(&text.chars().take(PARAMETER_VALUE).collect::<String>())
    };
    templates
        .iter()
        .map(|(name, template)| (name.clone(), fill(template)))
        .collect()
}

/// A text as one line of at most so many characters: names of features may hold anything.
fn one_line(text: &str, most: usize) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(most)
        .collect()
}

/// Names joined by commas: whole names only, as many as a parameter's value can hold.
fn joined(names: &[&str]) -> String {
    let mut text = String::new();
    for name in names {
        let separator = usize::from(!text.is_empty());
        if text.chars().count() + separator + name.chars().count() > PARAMETER_VALUE {
            break;
        }
        if separator == 1 {
            text.push(',');
        }
        text.push_str(name);
    }
    text
}
