//! Errors of the `dashboard` function.

use model_monitor::ParseError;
use shell::{AwsError, ErrorType, LoadPolicyError};

/// Why pages were not written.
#[derive(Debug, thiserror::Error)]
pub enum DashboardError {
    /// The payload is not an EventBridge event.
    #[error("failed to parse the event")]
    Event(#[source] ParseError),
    /// No valid policy is available.
    #[error("no valid policy is available")]
    Policy(#[source] LoadPolicyError),
    /// A call to AWS failed.
    #[error("{0}")]
    Aws(AwsError),
    /// The pages of some models were not written.
    #[error("failed to write the pages of {failed} of {models} models")]
    Incomplete {
        /// Number of models whose page was not written.
        failed: usize,
        /// Number of all models.
        models: usize,
    },
}

impl ErrorType for DashboardError {
    fn error_type(&self) -> &'static str {
        match self {
            Self::Event(_) => "EventUnreadable",
            Self::Policy(error) => error.error_type(),
            Self::Aws(error) => error.error_type(),
            Self::Incomplete { .. } => "DashboardIncomplete",
        }
    }
}
