//! Why a sweep was not complete.

use ingest::IngestError;
use lambda_runtime::Diagnostic;
use remediate::RemediateError;
use shell::{AwsError, LoadPolicyError, TurnError, telemetry};

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

impl From<SweepError> for Diagnostic {
    fn from(error: SweepError) -> Self {
        let error_type = match &error {
            SweepError::Aws(error) => error.error_type(),
            SweepError::Policy(error) => error.error_type(),
            SweepError::Turn(error) => error.error_type(),
            SweepError::Monitor(_) | SweepError::Model(_) | SweepError::Some { .. } => "SweepIncomplete",
        };
        telemetry::diagnostic(error_type, &error)
    }
}
