//! Errors of the `operator` function.

use shell::ErrorType;

/// Why an invocation was not answered. A command that is refused, or that AWS did not let take effect, is answered.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    /// The payload is not a request of a function URL.
    #[error("failed to parse the payload as a request of a function URL")]
    Request(#[source] serde_json::Error),
}

impl ErrorType for OperatorError {
    fn error_type(&self) -> &'static str {
        match self {
            Self::Request(_) => "EventUnreadable",
        }
    }
}
