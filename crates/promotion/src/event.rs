//! Events of experiments. Their JSON Schemas in `events/schemas/` are generated from these types.

use crate::{Cause, Conclusion, ExperimentStage};
use experiment::{Interval, Outcome, Reason, Sample};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Detail-type of [`ExperimentStateChange`].
pub const EXPERIMENT_STATE_CHANGE: &str = "Experiment State Change";
/// Detail-type of [`ExperimentCommand`].
pub const EXPERIMENT_COMMAND: &str = "Experiment Command";
/// Detail-type of [`OutcomesReported`].
pub const EXPERIMENT_OUTCOMES_REPORTED: &str = "Experiment Outcomes Reported";

/// A production variant in an experiment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct VariantState {
    /// Name of the variant.
    pub variant_name: String,
    /// Desired weight of the variant.
    pub weight: f64,
    /// Outcomes of the variant in the current traffic step.
    pub outcomes: Sample,
}

/// Detail of `Experiment State Change`, version 1: an experiment reached another stage, or its next traffic step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct ExperimentStateChange {
    /// Version of the event layout. Fields can be added within a version; ignore unknown fields.
    pub version: String,
    /// Deterministic ID of the change. Repeated deliveries have the same ID.
    pub id: String,
    /// Correlation ID of the incident whose retraining created the candidate; otherwise derived from the model package.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    /// Name of the model.
    pub model: String,
    /// ID of the experiment.
    pub experiment_id: String,
    /// Name of the endpoint.
    pub endpoint: String,
    /// ARN of the candidate's model package.
    pub model_package_arn: String,
    /// ARN of the pipeline execution that created the candidate. Absent if SageMaker does not report one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pipeline_execution_arn: Option<String>,
    /// New stage of the experiment.
    pub stage: ExperimentStage,
    /// Final result of the experiment. Absent until there is a decision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conclusion: Option<Conclusion>,
    /// Result of the last look. Absent before the first look.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// Reasons of the last look, for programs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<Reason>,
    /// Confidence interval of candidate − champion at the last look.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Interval>,
    /// Compared variants: first the champion, then the candidate.
    pub variants: Vec<VariantState>,
    /// Description of the change and its reason, for people.
    pub sentence: String,
    /// Time of the change.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub time: Timestamp,
}

/// Command of an operator to an experiment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Order {
    /// Stop the experiment and keep the champion.
    Stop,
    /// Promote the candidate, regardless of the comparison.
    Promote,
    /// Restore the champion and record that the candidate lost.
    Rollback,
    /// Resume a paused experiment.
    Resume,
}

impl Order {
    /// Past tense of the command, for sentences.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stopped",
            Self::Promote => "promoted",
            Self::Rollback => "rolled back",
            Self::Resume => "resumed",
        }
    }

    /// Cause of the transition that the command orders.
    pub fn cause(self) -> Cause {
        match self {
            Self::Stop | Self::Rollback => Cause::RollBack,
            Self::Promote => Cause::Promote,
            Self::Resume => Cause::Resume,
        }
    }
}

/// Detail of `Experiment Command`, version 1: an operator controls an experiment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct ExperimentCommand {
    /// Name of the model.
    pub model: String,
    /// ID of the experiment.
    pub experiment_id: String,
    /// Command of the operator.
    pub order: Order,
    /// ARN of the caller, as AWS authenticated it.
    pub by: String,
    /// Time at which AWS received the command.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub time: Timestamp,
    /// Time at which the experiment reached its stage when the command was accepted. The command has no effect in a later stage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
    pub stage_since: Option<Timestamp>,
    /// Reason for the command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Detail of `Experiment Outcomes Reported`, version 1: outcomes of a custom metric. A later report of the same variant and
/// period replaces an earlier one, so a repeated report counts once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct OutcomesReported {
    /// Name of the model.
    pub model: String,
    /// Name of the production variant.
    pub variant_name: String,
    /// Name of the custom metric.
    pub metric: String,
    /// Start of the reported period.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub period_start: Timestamp,
    /// Outcomes of the variant in the period.
    pub outcomes: Sample,
    /// Time of the count. Of two reports of one period, the later one counts.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub time: Timestamp,
}
