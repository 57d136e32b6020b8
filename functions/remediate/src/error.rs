//! Why an event could not be handled.

use lambda_runtime::Diagnostic;
use model_monitor::ParseError;
use shell::{LoadPolicyError, TurnError, telemetry};

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

impl From<RemediateError> for Diagnostic {
    fn from(error: RemediateError) -> Self {
        let error_type = match &error {
            RemediateError::Event(_) | RemediateError::Detail { .. } => "EventUnreadable",
            RemediateError::Policy(error) => error.error_type(),
            RemediateError::Turn(error) => error.error_type(),
        };
        telemetry::diagnostic(error_type, &error)
    }
}
