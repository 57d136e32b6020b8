//! Why an event could not be told.

use lambda_runtime::Diagnostic;
use model_monitor::ParseError;
use shell::{TurnError, telemetry};

/// Why an event could not be told.
#[derive(Debug, thiserror::Error)]
pub enum NotifyError {
    /// Not an event.
    #[error("the event cannot be read")]
    Event(#[source] ParseError),
    /// Ours, and not in its layout.
    #[error("the detail of `{detail_type}` cannot be read")]
    Detail {
        /// The event's detail-type.
        detail_type: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The message could not be published, or that it was could not be remembered.
    #[error("the message could not be published")]
    Turn(#[from] TurnError),
}

impl From<NotifyError> for Diagnostic {
    fn from(error: NotifyError) -> Self {
        let error_type = match &error {
            NotifyError::Event(_) | NotifyError::Detail { .. } => "EventUnreadable",
            NotifyError::Turn(error) => error.error_type(),
        };
        telemetry::diagnostic(error_type, &error)
    }
}
