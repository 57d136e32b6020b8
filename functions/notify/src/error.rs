//! Errors of the notify function.

use model_monitor::ParseError;
use shell::{ErrorType, UpdateError};

/// Error while handling an event.
#[derive(Debug, thiserror::Error)]
pub enum NotifyError {
    /// The payload is not an event.
    #[error("failed to read the event")]
    Event(#[source] ParseError),
    /// The detail of a Driftwarden event does not have the layout of its detail-type.
    #[error("failed to read the detail of `{detail_type}`")]
    Detail {
        /// Detail-type of the event.
        detail_type: String,
        /// The parse error.
        source: serde_json::Error,
    },
    /// The delivery failed, or its result could not be stored. The delivery stays pending.
    #[error("failed to deliver the notification")]
    Turn(#[from] UpdateError),
    /// A destination refused the notification. It is not retried; the document of the model keeps the reason.
    #[error("{0}: fix the destination or its [[notification]] table")]
    Refused(String),
    /// No destination accepted the notification. It stays pending, and is retried for 72 hours.
    #[error("no destination accepted the notification, which is retried for 72 h: {0}")]
    Undelivered(String),
}

impl ErrorType for NotifyError {
    fn error_type(&self) -> &'static str {
        match self {
            Self::Event(_) | Self::Detail { .. } => "EventUnreadable",
            Self::Turn(error) => error.error_type(),
            Self::Refused(_) => "NotificationRefused",
            Self::Undelivered(_) => "NotificationUndelivered",
        }
    }
}
