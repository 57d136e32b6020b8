//! Why a sweep was not complete.

use ingest::IngestError;
use remediate::RemediateError;
use shell::{AwsError, ErrorType, LoadPolicyError, TurnError};

/// Why a sweep was not complete. What could be swept was.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    /// The list of what is to be swept could not be had.
    #[error(transparent)]
    Aws(#[from] AwsError),
    /// There is no policy to judge by.
    #[error("there is no policy to judge by")]
    Policy(#[source] LoadPolicyError),
    /// A document could not be read.
    #[error("a document could not be read")]
    Turn(#[from] TurnError),
    /// A monitor could not be swept.
    #[error(transparent)]
    Monitor(#[from] IngestError),
    /// A model could not be swept.
    #[error(transparent)]
    Model(#[from] RemediateError),
    /// Some could not be swept; each is in the log.
    #[error("{failed} of {all} monitors and models could not be swept; the first: {first}")]
    Some {
        /// How many.
        failed: usize,
        /// Of how many.
        all: usize,
        /// What was wrong with the first.
        first: String,
    },
}

impl ErrorType for SweepError {
    fn error_type(&self) -> &'static str {
        match self {
            Self::Aws(error) => error.error_type(),
            Self::Policy(error) => error.error_type(),
            Self::Turn(error) => error.error_type(),
            Self::Monitor(_) | Self::Model(_) | Self::Some { .. } => "SweepIncomplete",
        }
    }
}
