#![doc = include_str!("../README.md")]

mod decision;
mod event;
mod lifecycle;
mod model;
mod policy;

pub use decision::{Approval, Decision, PAUSE_KEY, Pause, Reason, Verdict};
pub use event::{
    AlertSnapshot, IncidentClosed, OPERATOR_SOURCE, Outcome, REMEDIATION_APPROVAL, REMEDIATION_DECIDED,
    REMEDIATION_INCIDENT_CLOSED, REMEDIATION_PAUSE, REMEDIATION_RESOLUTION,
    RETRAINING_PIPELINE_EXECUTION_STATUS_CHANGE, RETRAINING_STATUS_REPORTED, RemediationApproval, RemediationDecided,
    RemediationPause, RemediationResolution, RetrainingStatusChange, RetrainingStatusReported,
};
pub use lifecycle::{Cause, Stage, TRANSITIONS, diagram};
pub use model::{
    CandidateStatus, ClosedIncident, DISPLAY_NAME_PREFIX, ExecutionStatus, Facts, Incident, Input, ModelDocument,
    ModelEffect, MonitorAlert, MonitorLevel, PipelineExecution, PipelineStart, Settings, StartPipelineExecution,
    StartStateMachine, StepContext, StepOutcome, parse_display_name, schedule_key,
};
#[cfg(feature = "schema")]
pub use policy::policy_schema;
pub use policy::{
    AlarmPolicy, AnalysisSchedule, Automation, DailyAt, Destination, Explanation, FleetPolicy, HourlyUri, ModelPolicy,
    MonitorPolicy, MonitorRef, NotificationKind, NotificationRoute, NotificationSeverity, Paused, Policy, PolicyError,
    QuietHours, RetrainingPolicy, RiskRating, SecretReference, Setting, StartKind, duration,
};
