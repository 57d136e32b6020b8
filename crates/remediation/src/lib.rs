//! Policy, the lifecycle of a model, and the decisions about it. Pure: no AWS, no clock, no I/O.
//!
//! [`ModelDocument`] is a state machine ([`TRANSITIONS`]). Alerts of the model's monitors, the state changes of its
//! retraining, what people say and the passing of time go in ([`Input`]); what follows comes out as effects
//! ([`ModelEffect`]) in the document's outbox, each with a deterministic id, for the shell to carry out. One model has at
//! most one open incident, and one incident has at most one retraining.

mod decision;
mod event;
mod lifecycle;
mod model;
mod policy;

pub use decision::{Approval, Decision, PAUSE_KEY, Pause, Reason, Verdict};
pub use event::{
    DecidedAlert, IncidentClosed, OPERATOR_SOURCE, Outcome, REMEDIATION_APPROVAL, REMEDIATION_DECIDED,
    REMEDIATION_INCIDENT_CLOSED, REMEDIATION_PAUSE, REMEDIATION_RESOLUTION,
    RETRAINING_PIPELINE_EXECUTION_STATUS_CHANGE, RETRAINING_STATUS_REPORTED, RemediationApproval, RemediationDecided,
    RemediationPause, RemediationResolution, RetrainingStatusChange, RetrainingStatusReported,
};
pub use lifecycle::{Cause, Stage, TRANSITIONS, diagram};
pub use model::{
    CandidateStatus, ClosedIncident, DISPLAY_NAME_PREFIX, ExecutionStatus, Facts, Given, Incident, Input,
    ModelDocument, ModelEffect, MonitorAlert, MonitorLevel, PipelineExecution, PipelineStart, Settings,
    StartPipelineExecution, StartStateMachine, Stepped, in_words, model_of_display_name, schedule_key,
};
#[cfg(feature = "schema")]
pub use policy::policy_schema;
pub use policy::{
    AlarmPolicy, AnalysisSchedule, Automation, DailyAt, Destination, Explanation, HourlyUri, ModelPolicy, MonitorOf,
    MonitorPolicy, NotificationKind, NotificationRoute, NotificationSeverity, Paused, Policy, PolicyError, QuietHours,
    RetrainingPolicy, RiskRating, SecretReference, Setting, StartKind, duration,
};
