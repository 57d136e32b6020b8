//! The document of one model: its monitors' alerts, its open incident, and what the last change owes.
//!
//! ```text
//!               InAlert                     Succeeded                every alert OK
//!  (no incident) ─────► Retraining ─────────────────► Verifying ───────────────────► (no incident)
//!                           │  Failed, Stopped                                             ▲
//!                           └───────────────────────► Escalated ───────────────────────────┘
//! ```
//! An alert that comes while an incident is open joins it and starts nothing. An alert that is over while the pipeline
//! runs does not close the incident before the pipeline has ended.

use crate::{
    Decision, Policy, REMEDIATION_DECIDED, RETRAINING_PIPELINE_EXECUTION_STATUS_CHANGE, RemediationDecided,
    RetrainingStatusChange, policy::PIPELINE_PARAMETERS,
};
use alerting::{AlertStateChange, AlertStatus};
use jiff::Timestamp;
use outbox::{Caller, Outbox};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// How many closed incidents a document keeps; older ones are in the versions of the bucket.
const CLOSED_INCIDENTS: usize = 20;
/// SageMaker's limit on the description of an execution (API, `StartPipelineExecution`), which is one line.
const EXECUTION_DESCRIPTION: usize = 3072;
/// SageMaker's limit on the value of a pipeline parameter (API, `StartPipelineExecution`).
const PARAMETER_VALUE: usize = 1024;

/// With this a pipeline execution's display name begins, so that its events find the incident.
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
    /// The pipeline execution of one of the model's incidents changed.
    PipelineExecution {
        /// The how-manieth incident of the model it belongs to.
        incident: u64,
        /// The execution.
        execution: PipelineExecution,
    },
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

/// What a change of the document owes to the world.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ModelEffect {
    /// The retraining pipeline is to be started.
    StartPipelineExecution(StartPipelineExecution),
    /// `Remediation Decided` is to be put on the bus.
    PutRemediationDecided(Box<RemediationDecided>),
    /// `Retraining Pipeline Execution Status Change` is to be put on the bus.
    PutRetrainingStatusChange(Box<RetrainingStatusChange>),
}

/// The alert of one monitor as last heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MonitorAlert {
    /// Its status.
    pub status: AlertStatus,
    /// The transition that led to it: an event with a lower number is late.
    pub transition: u64,
    /// When the transition was found.
    pub since: Timestamp,
}

/// Where an open incident stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    /// The pipeline has been asked for and has not ended.
    Retraining,
    /// The pipeline succeeded; the monitors have yet to say that it helped.
    Verifying,
    /// The pipeline failed or was stopped: a person has to look.
    Escalated,
}

/// Drift of one model, from the first alert until every monitor is OK again after the retraining.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Incident {
    /// The how-manieth of the model, from 1.
    pub number: u64,
    /// `{model}-{number}`.
    pub id: String,
    /// Where it stands.
    pub stage: Stage,
    /// When the first alert was heard.
    pub opened_at: Timestamp,
    /// The schedules of the monitors that have been in alert during it.
    pub monitors: Vec<String>,
    /// What was decided.
    pub decision: Decision,
    /// The pipeline execution, once SageMaker has named it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution: Option<PipelineExecution>,
}

/// An incident that is over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClosedIncident {
    /// The incident as it last stood.
    pub incident: Incident,
    /// When it was closed.
    pub closed_at: Timestamp,
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
    /// How many incidents it has had, with the open one.
    #[serde(default)]
    pub incidents: u64,
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
            incidents: 0,
            incident: None,
            closed: Vec::new(),
            outbox: Outbox::default(),
        }
    }

    /// Takes one input. What follows from it is in the outbox.
    pub fn step(&mut self, input: Input, policy: &Policy, settings: &Settings, caller: &Caller) -> Stepped {
        match input {
            Input::Alert(alert) => self.on_alert(&alert, policy, settings, caller),
            Input::PipelineExecution { incident, execution } => self.on_execution(incident, execution, caller),
        }
    }

    /// Notes which execution SageMaker started for an incident.
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

    fn on_alert(&mut self, alert: &AlertStateChange, policy: &Policy, settings: &Settings, caller: &Caller) -> Stepped {
        let schedule = alert.monitoring_schedule.to_lowercase();
        if self
            .alerts
            .get(&schedule)
            .is_some_and(|known| known.transition >= alert.transition)
        {
            return Stepped::Nothing;
        }
        let heard = MonitorAlert {
            status: alert.alert_status,
            transition: alert.transition,
            since: alert.time,
        };
        self.alerts.insert(schedule, heard);
        match (alert.alert_status, &mut self.incident) {
            (AlertStatus::Ok, _) => self.close_if_over(caller.now),
            (AlertStatus::InAlert, None) => self.open(alert, policy, settings, caller),
            (AlertStatus::InAlert, Some(incident)) => {
                if !incident.monitors.contains(&alert.monitoring_schedule) {
                    incident.monitors.push(alert.monitoring_schedule.clone());
                }
            }
        }
        Stepped::Changed
    }

    fn open(&mut self, alert: &AlertStateChange, policy: &Policy, settings: &Settings, caller: &Caller) {
        self.incidents += 1;
        let number = self.incidents;
        let decision = Decision::on_alert(alert, policy, caller.now);
        let incident = Incident {
            number,
            id: format!("{}-{number}", self.model),
            stage: Stage::Retraining,
            opened_at: caller.now,
            monitors: vec![alert.monitoring_schedule.clone()],
            decision,
            execution: None,
        };
        // A rule's target names its parameters in the template: an event without them would start nothing.
        let names: Vec<&str> = match settings.pipeline_start {
            PipelineStart::Remediate => policy.retraining().parameters.iter().map(String::as_str).collect(),
            PipelineStart::Rule => PIPELINE_PARAMETERS.to_vec(),
        };
        let parameters = parameters(&names, &incident, alert, &self.model);
        if settings.pipeline_start == PipelineStart::Remediate {
            let start = StartPipelineExecution {
                pipeline: settings.pipeline.clone(),
                // The alert's id and time are part of it: a document that was lost and began anew at incident 1 must
                // not be answered with the execution of an older incident 1.
                client_request_token: hex::encode(Sha256::digest(format!(
                    "driftwarden/start/{}/{}/{}",
                    incident.id, alert.id, alert.time
                ))),
                display_name: format!("{DISPLAY_NAME_PREFIX}{}", incident.id),
                description: one_line(&incident.decision.sentence, EXECUTION_DESCRIPTION),
                parameters: parameters.clone(),
                incident: number,
            };
            let id = format!("start/{}", incident.id);
            self.outbox.owe(id, ModelEffect::StartPipelineExecution(start), caller);
        }
        let decided = RemediationDecided {
            version: "1".into(),
            id: format!("decision-{}-{}", incident.id, alert.id),
            model: self.model.clone(),
            incident: number,
            incident_id: incident.id.clone(),
            verdict: incident.decision.verdict,
            reasons: incident.decision.reasons.clone(),
            sentence: incident.decision.sentence.clone(),
            pipeline_start: settings.pipeline_start,
            pipeline: settings.pipeline.clone(),
            pipeline_parameters: parameters,
            policy_version: incident.decision.policy_version.clone(),
            alerts: incident.decision.alerts.clone(),
            time: caller.now,
        };
        let id = format!("{REMEDIATION_DECIDED}/{}", incident.id);
        self.outbox
            .owe(id, ModelEffect::PutRemediationDecided(Box::new(decided)), caller);
        self.incident = Some(incident);
    }

    fn on_execution(&mut self, incident: u64, execution: PipelineExecution, caller: &Caller) -> Stepped {
        let Some(open) = self.incident.as_mut().filter(|open| open.number == incident) else {
            return Stepped::Nothing;
        };
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
        if execution.status.is_final() {
            open.stage = if execution.status == ExecutionStatus::Succeeded {
                Stage::Verifying
            } else {
                Stage::Escalated
            };
            let id = format!("retraining-{}-{}", open.id, execution.status.as_str());
            let change = RetrainingStatusChange {
                version: "1".into(),
                id: format!("{id}-{}", execution.arn.rsplit('/').next().unwrap_or_default()),
                model: self.model.clone(),
                incident_id: open.id.clone(),
                pipeline_execution_arn: execution.arn,
                status: execution.status,
                execution_start_time: execution.start_time,
                execution_end_time: execution.end_time,
                sentence: open.decision.sentence.clone(),
                time: caller.now,
            };
            let id = format!("{RETRAINING_PIPELINE_EXECUTION_STATUS_CHANGE}/{id}");
            self.outbox
                .owe(id, ModelEffect::PutRetrainingStatusChange(Box::new(change)), caller);
            self.close_if_over(caller.now);
        }
        Stepped::Changed
    }

    fn close_if_over(&mut self, now: Timestamp) {
        let quiet = self.alerts.values().all(|alert| alert.status == AlertStatus::Ok);
        let over = |incident: &mut Incident| quiet && incident.stage != Stage::Retraining;
        if let Some(incident) = self.incident.take_if(over) {
            self.closed.push(ClosedIncident {
                incident,
                closed_at: now,
            });
            if self.closed.len() > CLOSED_INCIDENTS {
                self.closed.remove(0);
            }
        }
    }
}

/// The named parameters of a run.
fn parameters(names: &[&str], incident: &Incident, alert: &AlertStateChange, model: &str) -> BTreeMap<String, String> {
    let mut features: Vec<&str> = Vec::new();
    for violation in &alert.violations {
        if !features.contains(&violation.subject.as_str()) {
            features.push(&violation.subject);
        }
    }
    // SageMaker takes no empty value.
    let or_none = |text: String| if text.is_empty() { "none".to_owned() } else { text };
    let value = |name: &str| match name {
        "DriftwardenModel" => model.to_owned(),
        "DriftwardenIncident" => incident.id.clone(),
        "MonitoringSchedule" => alert.monitoring_schedule.clone(),
        "ReportUri" => or_none(alert.report_uri.clone().unwrap_or_default()),
        _ => or_none(joined(&features)),
    };
    names.iter().map(|name| ((*name).to_owned(), value(name))).collect()
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
