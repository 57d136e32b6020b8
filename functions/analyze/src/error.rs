//! Errors of the `analyze` function.

use shell::{AwsError, ErrorType, LoadPolicyError};

/// Why an analysis failed. Problems with the data or the baseline are not errors of the function, but failed executions.
#[derive(Debug, thiserror::Error)]
pub enum AnalyzeError {
    /// The event is not supported.
    #[error("failed to parse the event: expected a scheduled event or a request for an analysis")]
    Event(#[source] serde_json::Error),
    /// The request for baselines is invalid.
    #[error("failed to parse the detail of the event as a request for baselines")]
    Baselines(#[source] serde_json::Error),
    /// The request for an execution is invalid.
    #[error("failed to parse the detail of the event as a request for an execution")]
    Requested(#[source] serde_json::Error),
    /// No valid policy is available.
    #[error("no valid policy is available")]
    Policy(#[source] LoadPolicyError),
    /// The policy has no native analysis with this schedule.
    #[error("the policy has no [[analysis]] table with the schedule `{0}`")]
    Unknown(String),
    /// A call to AWS failed.
    #[error(transparent)]
    Aws(#[from] AwsError),
    /// A document or a partial profile is invalid.
    #[error("failed to parse `{key}` in the state bucket")]
    Document {
        /// Key of the document.
        key: String,
        /// The parse error.
        #[source]
        source: serde_json::Error,
    },
    /// Other invocations changed a document at every attempt to write it.
    #[error("failed to write document `{key}` in the state bucket: other writers changed it at every attempt")]
    Contended {
        /// Key of the document.
        key: String,
    },
    /// An object of a dataset could not be profiled.
    #[error("{0}")]
    Data(String),
    /// The due executions of some schedules were not requested. The log contains every error.
    #[error("failed to request the due executions of {failed} of {all} monitoring schedules; first error: {first}")]
    Some {
        /// Number of failed schedules.
        failed: usize,
        /// Number of all schedules.
        all: usize,
        /// The first error.
        first: String,
    },
}

impl ErrorType for AnalyzeError {
    fn error_type(&self) -> &'static str {
        match self {
            Self::Event(_) | Self::Baselines(_) | Self::Requested(_) => "EventUnreadable",
            Self::Policy(error) => error.error_type(),
            Self::Unknown(_) => "ScheduleUnknown",
            Self::Aws(error) => error.error_type(),
            Self::Document { .. } => "DocumentUnreadable",
            Self::Contended { .. } => "StateContended",
            Self::Data(_) => "DataUnreadable",
            Self::Some { .. } => "AnalysisIncomplete",
        }
    }
}
