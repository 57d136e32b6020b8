//! Errors of the `remediate` function.

use model_monitor::ParseError;
use shell::{ErrorType, LoadPolicyError, UpdateError};

/// Why an event was not handled.
#[derive(Debug, thiserror::Error)]
pub enum RemediateError {
    /// The payload is not a valid event of its detail-type.
    #[error("failed to parse the event")]
    Event(#[source] ParseError),
    /// The detail of one of Driftwarden's events is invalid.
    #[error("failed to parse the detail of the event `{detail_type}`")]
    Detail {
        /// Detail-type of the event.
        detail_type: String,
        /// The parse error.
        source: serde_json::Error,
    },
    /// No valid policy is available.
    #[error("no valid policy is available")]
    Policy(#[source] LoadPolicyError),
    /// The state document of the model was not updated.
    #[error("failed to update the state document of the model")]
    Update(#[from] UpdateError),
}

impl ErrorType for RemediateError {
    fn error_type(&self) -> &'static str {
        match self {
            Self::Event(_) | Self::Detail { .. } => "EventUnreadable",
            Self::Policy(error) => error.error_type(),
            Self::Update(error) => error.error_type(),
        }
    }
}
