//! Policy, the lifecycle of a model, and the decisions about it. Pure: no AWS, no clock, no I/O.
//!
//! [`ModelDocument`] is a state machine. Alerts of the model's monitors and the state changes of its retraining
//! pipeline go in ([`Input`]); what follows comes out as effects ([`ModelEffect`]) in the document's outbox, each with
//! a deterministic id, for the shell to carry out. One model has at most one open incident, and one incident has at
//! most one retraining.

mod decision;
mod event;
mod model;
mod policy;

pub use decision::{Decision, Reason, Verdict};
pub use event::{
    DecidedAlert, REMEDIATION_DECIDED, RETRAINING_PIPELINE_EXECUTION_STATUS_CHANGE, RemediationDecided,
    RetrainingStatusChange,
};
pub use model::{
    ClosedIncident, DISPLAY_NAME_PREFIX, ExecutionStatus, Incident, Input, ModelDocument, ModelEffect, MonitorAlert,
    PipelineExecution, PipelineStart, Settings, Stage, StartPipelineExecution, Stepped, model_of_display_name,
};
pub use policy::{MonitorPolicy, Policy, PolicyError, RetrainingPolicy};
