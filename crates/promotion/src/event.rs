//! The events of experiments. Their JSON Schemas are generated from these types into `events/schemas/`.

use crate::{Conclusion, ExperimentStage};
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
    /// Its name.
    pub variant_name: String,
    /// Its weight, as it should be.
    pub weight: f64,
    /// Its outcomes so far, of this step.
    pub outcomes: Sample,
}

/// Detail of `Experiment State Change`, version 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct ExperimentStateChange {
    /// Version of this layout. Fields may be added within a version; unknown ones are to be ignored.
    pub version: String,
    /// Deterministic: the same change has the same id, however often it is delivered.
    pub id: String,
    /// The experiment's: that of the incident whose retraining made the candidate, else one of the model package.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    /// The model.
    pub model: String,
    /// The experiment.
    pub experiment_id: String,
    /// The endpoint.
    pub endpoint: String,
    /// The candidate.
    pub model_package_arn: String,
    /// The pipeline execution that made the candidate, if SageMaker told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pipeline_execution_arn: Option<String>,
    /// Where the experiment stands now.
    pub stage: ExperimentStage,
    /// How it ended, once it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conclusion: Option<Conclusion>,
    /// What the last look said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// Why, for machines.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<Reason>,
    /// Candidate less champion, with its confidence sequence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Interval>,
    /// The variants, the champion first and the candidate last.
    pub variants: Vec<VariantState>,
    /// Why, for people.
    pub sentence: String,
    /// When.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub time: Timestamp,
}

/// What a person orders.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Order {
    /// The experiment ends, the champion stays.
    Stop,
    /// The candidate takes over, whatever the numbers say.
    Promote,
    /// The champion takes over again; as `Stop`, but noted as a loss.
    Rollback,
    /// A paused comparison goes on.
    Resume,
}

impl Order {
    /// In words: what a person did.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stopped",
            Self::Promote => "promoted",
            Self::Rollback => "rolled back",
            Self::Resume => "resumed",
        }
    }
}

/// Detail of `Experiment Command`, version 1: a person intervenes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct ExperimentCommand {
    /// The model.
    pub model: String,
    /// The experiment.
    pub experiment_id: String,
    /// What is ordered.
    pub order: Order,
    /// Who.
    pub by: String,
    /// When.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub time: Timestamp,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Detail of `Experiment Outcomes Reported`, version 1: outcomes of a metric of the owner's. A later report of the same
/// variant and period takes the place of an earlier one, so that a repeated report counts once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct OutcomesReported {
    /// The model.
    pub model: String,
    /// Its production variant.
    pub variant_name: String,
    /// The metric.
    pub metric: String,
    /// When the period began that is reported.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub period_start: Timestamp,
    /// The outcomes of the period.
    pub outcomes: Sample,
    /// When it was counted: of two reports of a period the later holds.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub time: Timestamp,
}
