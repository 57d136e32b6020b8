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
    /// The notification could not be delivered, or that it was could not be remembered. It is still owed.
    #[error("the notification could not be delivered")]
    Turn(#[from] TurnError),
    /// A destination will never take it. It is not owed any more; the document of the model keeps the reason.
    #[error("{0}: mend the destination, or its [[notification]] in the policy")]
    Refused(String),
}

impl From<NotifyError> for Diagnostic {
    fn from(error: NotifyError) -> Self {
        let error_type = match &error {
            NotifyError::Event(_) | NotifyError::Detail { .. } => "EventUnreadable",
            NotifyError::Turn(error) => error.error_type(),
            NotifyError::Refused(_) => "NotificationRefused",
        };
        telemetry::diagnostic(error_type, &error)
    }
}
