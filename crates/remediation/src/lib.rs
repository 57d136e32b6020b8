#![doc = include_str!("../README.md")]

mod command;
mod decision;
mod effect;
mod event;
mod execution;
mod fleet;
mod incident;
mod input;
mod lifecycle;
mod model;
mod monitor;
mod policy;
mod reason;
mod recurrence;
mod situation;
mod stages;
mod start;
mod state;
mod step;
mod stored;
mod time;

pub use command::{
    CommandResult, CommandTarget, ModelState, ModelTarget, OPERATOR_COMMAND_ACCEPTED, OperatorAction, OperatorAnswer,
    OperatorCommand, OperatorCommandAccepted, OperatorRefusal, PIPELINE_SOURCE, experiment_model, incident_model,
};
pub use decision::{Approval, Decision, PAUSE_KEY, Pause, Verdict};
pub use effect::{ModelEffect, ModelEffectOutcome, StartAnswer};
pub use event::{
    AlertSnapshot, InAlertChoice, IncidentClosed, OPERATOR_SOURCE, Outcome, REMEDIATION_APPROVAL, REMEDIATION_DECIDED,
    REMEDIATION_INCIDENT_CLOSED, REMEDIATION_PAUSE, REMEDIATION_RESOLUTION,
    RETRAINING_PIPELINE_EXECUTION_STATUS_CHANGE, RETRAINING_STATUS_REPORTED, RemediationApproval, RemediationDecided,
    RemediationPause, RemediationResolution, RetrainingStatusChange, RetrainingStatusReported,
};
pub use execution::{CandidateStatus, ExecutionStatus, PipelineExecution};
pub use fleet::{CommonCause, FLEET_KEY, Fleet, Slot, StartRequest, WaitingModel};
pub use incident::{ClosedIncident, Incident};
pub use input::{Facts, Input, Levels, Needs, Refusal, StepContext, StepOutcome};
pub use lifecycle::{Cause, Stage, TRANSITIONS, diagram};
pub use model::ModelDocument;
pub use monitor::{MonitorAlert, alarm_name, schedule_key};
#[cfg(feature = "schema")]
pub use policy::policy_schema;
pub use policy::{
    AlarmPolicy, AnalysisSchedule, Automation, DailyAt, Destination, Explanation, FleetPolicy, HourlyUri, ModelPolicy,
    MonitorPolicy, MonitorRef, NotificationKind, NotificationRoute, NotificationSeverity, Paused, Policy, PolicyError,
    PolicyWarning, QuietHours, RetrainingPolicy, RiskRating, SecretReference, Setting, StartKind, duration,
};
pub use reason::Reason;
pub use recurrence::Recurrence;
pub use start::{
    DISPLAY_NAME_PREFIX, PipelineStart, Settings, StartPipelineExecution, StartStateMachine, parse_display_name,
};
