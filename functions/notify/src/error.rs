//! Why an event could not be told.

use model_monitor::ParseError;
use shell::{ErrorType, TurnError};

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

impl ErrorType for NotifyError {
    fn error_type(&self) -> &'static str {
        match self {
            Self::Event(_) | Self::Detail { .. } => "EventUnreadable",
            Self::Turn(error) => error.error_type(),
            Self::Refused(_) => "NotificationRefused",
        }
    }
}
