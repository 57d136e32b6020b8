//! Errors of the function.

use model_monitor::ParseError;
use shell::{AwsError, ErrorType, LoadPolicyError, UpdateError};

/// Error of handling an event.
#[derive(Debug, thiserror::Error)]
pub enum PromoteError {
    /// The event is malformed.
    #[error("failed to parse the event")]
    Event(#[source] ParseError),
    /// The detail of one of Driftwarden's events is malformed.
    #[error("failed to parse the detail of `{detail_type}`")]
    Detail {
        /// Detail-type of the event.
        detail_type: String,
        /// JSON error.
        source: serde_json::Error,
    },
    /// No valid policy is available.
    #[error("no valid policy is available")]
    Policy(#[source] LoadPolicyError),
    /// The experiment document of the model was not updated.
    #[error("failed to update the experiment document of the model")]
    Turn(#[from] UpdateError),
    /// The experiments of some models were not processed. The log names each model, and the next tick retries.
    #[error("failed to process experiments of {failed} of {all} models; first error: {first}")]
    Incomplete {
        /// Number of models with an error.
        failed: usize,
        /// Number of models.
        all: usize,
        /// First error, with the model.
        first: String,
    },
}

impl From<AwsError> for PromoteError {
    fn from(error: AwsError) -> Self {
        Self::Turn(error.into())
    }
}

impl ErrorType for PromoteError {
    fn error_type(&self) -> &'static str {
        match self {
            Self::Event(_) | Self::Detail { .. } => "EventUnreadable",
            Self::Policy(error) => error.error_type(),
            Self::Turn(error) => error.error_type(),
            Self::Incomplete { .. } => "PromotionIncomplete",
        }
    }
}
