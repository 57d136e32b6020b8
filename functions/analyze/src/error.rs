//! Why an analysis could not be carried out.

use shell::{AwsError, ErrorType, LoadPolicyError};

/// Why an analysis could not be carried out. What is wrong with the data or the baseline is no error of the function but
/// a failed execution.
#[derive(Debug, thiserror::Error)]
pub enum AnalyzeError {
    /// The event is none that the function knows.
    #[error("the event is no tick of the schedule, and asks for no analysis")]
    Event(#[source] serde_json::Error),
    /// The request for baselines cannot be read.
    #[error("the detail of the event is not that of a request for baselines")]
    Baselines(#[source] serde_json::Error),
    /// There is no policy that says what to analyse.
    #[error("there is no policy that says what to analyse")]
    Policy(#[source] LoadPolicyError),
    /// The policy has no such schedule.
    #[error("the policy has no [[analysis]] with the schedule `{0}`")]
    Unknown(String),
    /// AWS failed.
    #[error(transparent)]
    Aws(#[from] AwsError),
    /// A document or a partial profile cannot be read.
    #[error("`{key}` cannot be read")]
    Document {
        /// Where it lies.
        key: String,
        /// What is wrong.
        #[source]
        source: serde_json::Error,
    },
    /// An object of a dataset cannot be profiled.
    #[error("{0}")]
    Data(String),
    /// Some schedules could not be analysed; each is in the log.
    #[error("{failed} of {all} monitoring schedules could not be analysed; the first: {first}")]
    Some {
        /// How many.
        failed: usize,
        /// Of how many.
        all: usize,
        /// What was wrong with the first.
        first: String,
    },
}

impl ErrorType for AnalyzeError {
    fn error_type(&self) -> &'static str {
        match self {
            Self::Event(_) | Self::Baselines(_) => "EventUnreadable",
            Self::Policy(error) => error.error_type(),
            Self::Unknown(_) => "ScheduleUnknown",
            Self::Aws(error) => error.error_type(),
            Self::Document { .. } => "DocumentUnreadable",
            Self::Data(_) => "DataUnreadable",
            Self::Some { .. } => "AnalysisIncomplete",
        }
    }
}
