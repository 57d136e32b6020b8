//! Why an event could not be handled.

use model_monitor::ParseError;
use shell::{ErrorType, LoadPolicyError, TurnError};

/// Why an event could not be handled.
#[derive(Debug, thiserror::Error)]
pub enum RemediateError {
    /// The event claims to be one that we know, and cannot be read.
    #[error("the event cannot be read")]
    Event(#[source] ParseError),
    /// Ours, and not in its layout.
    #[error("the detail of `{detail_type}` cannot be read")]
    Detail {
        /// Which event.
        detail_type: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// There is no policy to decide by.
    #[error("there is no policy to decide by")]
    Policy(#[source] LoadPolicyError),
    /// The model's document could not be brought to its next state.
    #[error("the model's document could not be brought to its next state")]
    Turn(#[from] TurnError),
}

impl ErrorType for RemediateError {
    fn error_type(&self) -> &'static str {
        match self {
            Self::Event(_) | Self::Detail { .. } => "EventUnreadable",
            Self::Policy(error) => error.error_type(),
            Self::Turn(error) => error.error_type(),
        }
    }
}
