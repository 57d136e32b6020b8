#![doc = include_str!("../README.md")]

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
    AllocationPolicy, Assignment, BaselinesPolicy, Capture, CloudWatchMetric, Gate, GuardrailMetric, GuardrailPolicy,
    Inconclusive, Metric, Mode, PromotionPolicy,
};
pub use stage::{Cause, Conclusion, ExperimentStage, TRANSITIONS, diagram};
pub use words::{number, outcome, signed};
