//! From candidate to production: one model's experiment as a state machine. Pure: no AWS, no clock, no I/O.
//!
//! [`ExperimentDocument`] is reconciled, level by level: what is seen of the endpoint ([`Endpoint`]) and of its traffic
//! ([`Evidence`]) goes in, and what is to be changed comes out as effects ([`ExperimentEffect`]) in the document's outbox, each
//! with a deterministic id. Nothing is taken for done because it was ordered: the next look says whether it is. So a
//! crash, a repetition or a delay costs a round, and an endpoint that somebody else changes is left alone.

mod baseline;
mod document;
mod event;
mod opinion;
pub mod plot;
mod policy;
mod stage;
mod words;

pub use baseline::{
    BaselineDocument, BaselinesCreated, BaselinesRequested, MODEL_BASELINES_CREATED, MODEL_BASELINES_REQUESTED,
    MONITOR_BASELINE_CHANGE, MonitorBaseline, MonitorBaselineChange, NotCreated,
};
pub use document::{
    Base, Baselines, BlueGreen, Candidate, Carried, Comparison, Ended, Endpoint, EndpointStatus, Evidence, Experiment,
    ExperimentDocument, ExperimentEffect, Given, Input, Look, ModelPackage, Stepped, Variant,
};
pub use event::{
    EXPERIMENT_COMMAND, EXPERIMENT_OUTCOMES_REPORTED, EXPERIMENT_STATE_CHANGE, ExperimentCommand,
    ExperimentStateChange, Order, OutcomesReported, VariantState,
};
pub use opinion::Opinion;
pub use policy::{
    Assignment, BaselinesPolicy, Capture, CloudWatchMetric, Gate, GuardrailMetric, GuardrailPolicy, Inconclusive,
    Metric, Mode, PromotionPolicy,
};
pub use stage::{Cause, Conclusion, ExperimentStage, TRANSITIONS, diagram};
pub use words::{number, outcome, signed};
