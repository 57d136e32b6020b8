//! Why an execution could not be recorded.

use model_monitor::ParseError;
use shell::{AwsError, ErrorType, LoadPolicyError, TurnError};

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

impl ErrorType for IngestError {
    fn error_type(&self) -> &'static str {
        match self {
            Self::Event(_) | Self::Execution(_) | Self::BaselineChange(_) => "EventUnreadable",
            Self::Report(_) => "ReportUnreadable",
            Self::ReportTooLarge { .. } => "ReportTooLarge",
            Self::ReportGone { .. } => "ReportGone",
            Self::Aws(error) => error.error_type(),
            Self::Policy(error) => error.error_type(),
            Self::Turn(error) => error.error_type(),
        }
    }
}
