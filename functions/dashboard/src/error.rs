//! Why pages could not be made.

use model_monitor::ParseError;
use shell::{AwsError, ErrorType, LoadPolicyError};

/// Why pages could not be made.
#[derive(Debug, thiserror::Error)]
pub enum DashboardError {
    /// Not an event.
    #[error("the event cannot be read")]
    Event(#[source] ParseError),
    /// There is no policy to show models by.
    #[error("there is no policy to judge by")]
    Policy(#[source] LoadPolicyError),
    /// AWS failed.
    #[error("{0}")]
    Aws(AwsError),
    /// Somebody else wrote the page again and again.
    #[error("`{key}` of the state bucket was changed by others each time that it was to be written")]
    Contended {
        /// The page.
        key: String,
    },
    /// Some models have no new page.
    #[error("{failed} of {models} models have no new page")]
    Incomplete {
        /// How many failed.
        failed: usize,
        /// Of how many.
        models: usize,
    },
}

impl ErrorType for DashboardError {
    fn error_type(&self) -> &'static str {
        match self {
            Self::Event(_) => "EventUnreadable",
            Self::Policy(error) => error.error_type(),
            Self::Aws(error) => error.error_type(),
            Self::Contended { .. } => "StateContended",
            Self::Incomplete { .. } => "DashboardIncomplete",
        }
    }
}
