//! Executions of the retraining, and the candidates that they made.

use jiff::Timestamp;
use promotion::{Conclusion, Experiment, ExperimentDocument, ExperimentStage, ExperimentStateChange};
use serde::{Deserialize, Serialize};

/// Status of a pipeline execution, as SageMaker spells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum ExecutionStatus {
    /// The execution is in progress.
    Executing,
    /// The execution is being stopped.
    Stopping,
    /// The execution ended with success.
    Succeeded,
    /// The execution ended with a failed step.
    Failed,
    /// The execution was stopped before its end.
    Stopped,
    /// The execution ended, but some steps failed.
    CompletedWithFailures,
}

impl ExecutionStatus {
    /// Parses SageMaker's spelling.
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

    /// Converts a status of Step Functions.
    pub fn from_state_machine(name: &str) -> Option<Self> {
        match name {
            "RUNNING" | "PENDING_REDRIVE" => Some(Self::Executing),
            "SUCCEEDED" => Some(Self::Succeeded),
            "FAILED" | "TIMED_OUT" => Some(Self::Failed),
            "ABORTED" => Some(Self::Stopped),
            _ => None,
        }
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

    /// Later statuses have a higher rank. A status of the highest rank is final.
    pub(crate) fn rank(self) -> u8 {
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

/// A pipeline execution as reported by an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PipelineExecution {
    /// ARN of the execution.
    pub arn: String,
    /// Status of the execution.
    pub status: ExecutionStatus,
    /// Start time, if SageMaker reported it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Timestamp>,
    /// End time, if SageMaker reported it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_time: Option<Timestamp>,
}

impl PipelineExecution {
    /// An execution that was just started.
    pub(crate) fn started(arn: String) -> Self {
        Self {
            arn,
            status: ExecutionStatus::Executing,
            start_time: None,
            end_time: None,
        }
    }
}

/// Status of a candidate for its incident.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CandidateStatus {
    /// ID of the experiment.
    pub experiment_id: String,
    /// ARN of the pipeline execution that made the candidate, if SageMaker reported it.
    pub pipeline_execution_arn: Option<String>,
    /// Result of the experiment. `None` until it has ended.
    pub ended: Option<Conclusion>,
    /// Latest description of the experiment.
    pub sentence: String,
    /// Time of the status.
    pub at: Timestamp,
}

impl CandidateStatus {
    /// Status from an event.
    pub fn from_change(change: &ExperimentStateChange) -> Self {
        Self {
            experiment_id: change.experiment_id.clone(),
            pipeline_execution_arn: change.pipeline_execution_arn.clone(),
            ended: change.conclusion.filter(|_| change.stage == ExperimentStage::Ended),
            sentence: change.sentence.clone(),
            at: change.time,
        }
    }

    /// Statuses of all experiments in a document, oldest first.
    pub fn all_from_document(document: &ExperimentDocument) -> Vec<Self> {
        let status = |experiment: &Experiment, ended, at| Self {
            experiment_id: experiment.id.clone(),
            pipeline_execution_arn: experiment.package.generated_by.clone(),
            ended,
            sentence: experiment.sentence.clone(),
            at,
        };
        let ended = document.ended.iter();
        let ended = ended.map(|ended| status(&ended.experiment, Some(ended.conclusion), ended.ended_at));
        let open = document.experiment.iter().map(|open| status(open, None, open.since));
        ended.chain(open).collect()
    }
}
