//! Why an event could not be handled.

use model_monitor::ParseError;
use shell::{AwsError, ErrorType, LoadPolicyError, TurnError};

/// Why an event could not be handled.
#[derive(Debug, thiserror::Error)]
pub enum PromoteError {
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
    /// There is no policy to promote by.
    #[error("there is no policy to promote by")]
    Policy(#[source] LoadPolicyError),
    /// The document of the model's experiments could not be brought to its next state.
    #[error("the document of the model's experiments could not be brought to its next state")]
    Turn(#[from] TurnError),
    /// Some models could not be looked after; the log names each, and the next tick tries again.
    #[error("{failed} of {all} models could not be looked after, the first: {first}")]
    Some {
        /// How many.
        failed: usize,
        /// Of how many.
        all: usize,
        /// What became of the first.
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
            Self::Some { .. } => "PromotionIncomplete",
        }
    }
}
