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
    BaselineDocument, BaselineFailure, BaselinesCreated, BaselinesRequested, MODEL_BASELINES_CREATED,
    MODEL_BASELINES_REQUESTED, MONITOR_BASELINE_CHANGE, MonitorBaseline, MonitorBaselineChange,
};
pub use document::{
    Baselines, BlueGreen, Candidate, Comparison, EffectOutcome, Ended, Endpoint, EndpointStatus, Evidence, Experiment,
    ExperimentDocument, ExperimentEffect, Input, Look, ModelPackage, OriginalEndpoint, StepContext, StepOutcome,
    Variant,
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
pub use words::describe_outcome;
