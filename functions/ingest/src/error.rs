//! Why an execution could not be recorded.

use lambda_runtime::Diagnostic;
use model_monitor::ParseError;
use shell::{AwsError, LoadPolicyError, TurnError, telemetry};

/// Why an execution could not be recorded. Whatever it is, no datapoint says that the execution was clean.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// The event claims to be one that we know, and cannot be read.
    #[error("the event cannot be read")]
    Event(#[source] ParseError),
    /// The event of an execution of our own cannot be read.
    #[error("the detail of the event is not that of a monitoring execution")]
    Execution(#[source] serde_json::Error),
    /// The event of a changed baseline cannot be read.
    #[error("the detail of the event is not that of a changed baseline")]
    BaselineChange(#[source] serde_json::Error),
    /// The report cannot be read as one.
    #[error("the violation report cannot be read")]
    Report(#[source] ParseError),
    /// The report is too large to be one.
    #[error(
        "the violation report `{uri}` is {bytes} bytes: at most {limit} are read (environment variable MAX_REPORT_BYTES)"
    )]
    ReportTooLarge {
        /// Where it lies.
        uri: String,
        /// Its size.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// The event names a report that is not there.
    #[error("the violation report `{uri}` that the event names does not exist (any more)")]
    ReportGone {
        /// Where it should lie.
        uri: String,
    },
    /// AWS failed.
    #[error(transparent)]
    Aws(#[from] AwsError),
    /// There is no policy to judge by.
    #[error("there is no policy to judge by")]
    Policy(#[source] LoadPolicyError),
    /// The monitor's ledger could not be brought to its next state.
    #[error("the monitor's ledger could not be brought to its next state")]
    Turn(#[from] TurnError),
}

impl IngestError {
    /// Whether it is the report itself that cannot be read.
    pub fn is_unreadable_report(&self) -> bool {
        matches!(
            self,
            Self::Report(_) | Self::ReportTooLarge { .. } | Self::ReportGone { .. }
        )
    }
}

impl From<IngestError> for Diagnostic {
    fn from(error: IngestError) -> Self {
        let error_type = match &error {
            IngestError::Event(_) | IngestError::Execution(_) | IngestError::BaselineChange(_) => "EventUnreadable",
            IngestError::Report(_) => "ReportUnreadable",
            IngestError::ReportTooLarge { .. } => "ReportTooLarge",
            IngestError::ReportGone { .. } => "ReportGone",
            IngestError::Aws(error) => error.error_type(),
            IngestError::Policy(error) => error.error_type(),
            IngestError::Turn(error) => error.error_type(),
        };
        telemetry::diagnostic(error_type, &error)
    }
}
