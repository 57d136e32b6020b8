//! Errors of the `sweep` function.

use ingest::IngestError;
use remediate::RemediateError;
use shell::{AwsError, ErrorType, LoadPolicyError, UpdateError};

/// Why a sweep was incomplete. All other monitors and models were swept.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    /// Monitors or models could not be listed.
    #[error(transparent)]
    Aws(#[from] AwsError),
    /// No valid policy is available.
    #[error("no valid policy is available")]
    Policy(#[source] LoadPolicyError),
    /// A document could not be loaded.
    #[error("failed to load a document")]
    Update(#[from] UpdateError),
    /// A monitor was not swept.
    #[error(transparent)]
    Monitor(#[from] IngestError),
    /// A model was not swept.
    #[error(transparent)]
    Model(#[from] RemediateError),
    /// Some monitors or models were not swept. The log contains every error.
    #[error("failed to sweep {failed} of {all} monitors and models; first error: {first}")]
    Some {
        /// Number of failed monitors and models.
        failed: usize,
        /// Number of all monitors and models.
        all: usize,
        /// The first error.
        first: String,
    },
}

impl ErrorType for SweepError {
    fn error_type(&self) -> &'static str {
        match self {
            Self::Aws(error) => error.error_type(),
            Self::Policy(error) => error.error_type(),
            Self::Update(error) => error.error_type(),
            Self::Monitor(_) | Self::Model(_) | Self::Some { .. } => "SweepIncomplete",
        }
    }
}
