//! Errors of the `ingest` function.

use jiff::Timestamp;
use model_monitor::ParseError;
use shell::{AwsError, ErrorType, LoadPolicyError, UpdateError};

/// Why an execution was not recorded. No error records the execution as clean.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// The payload is not a valid event of its detail-type.
    #[error("failed to parse the event")]
    Event(#[source] ParseError),
    /// The event of a native analysis is invalid.
    #[error("failed to parse the detail of the event as a monitoring execution")]
    Execution(#[source] serde_json::Error),
    /// The event of a changed baseline is invalid.
    #[error("failed to parse the detail of the event as a baseline change")]
    BaselineChange(#[source] serde_json::Error),
    /// The violation report is invalid.
    #[error("failed to parse the violation report")]
    Report(#[source] ParseError),
    /// The violation report is larger than the limit.
    #[error(
        "the violation report `{uri}` has {bytes} bytes: the limit is {limit} (environment variable `MAX_REPORT_BYTES`)"
    )]
    ReportTooLarge {
        /// `s3://` URI of the report.
        uri: String,
        /// Size in bytes.
        bytes: u64,
        /// Size limit in bytes.
        limit: u64,
    },
    /// The violation report in the event does not exist.
    #[error("the violation report `{uri}` no longer exists")]
    ReportGone {
        /// `s3://` URI in the event.
        uri: String,
    },
    /// The event of an operator who drops a datapoint is invalid.
    #[error("failed to parse the detail of the event as a drop of a datapoint")]
    DatapointDrop(#[source] serde_json::Error),
    /// The execution is scheduled too far ahead.
    #[error(
        "the execution of schedule `{schedule}` is scheduled for {scheduled_time}, more than 2 hours after the current \
         time, {now}: the date in the folder of its report is wrong; delete the report, or move it to the folder of its hour"
    )]
    Ahead {
        /// Name of the monitoring schedule.
        schedule: String,
        /// Scheduled time of the execution.
        scheduled_time: Timestamp,
        /// Current time.
        now: Timestamp,
    },
    /// A call to AWS failed.
    #[error(transparent)]
    Aws(#[from] AwsError),
    /// No valid policy is available.
    #[error("no valid policy is available")]
    Policy(#[source] LoadPolicyError),
    /// The monitor's ledger was not updated.
    #[error("failed to update the monitor's ledger")]
    Update(#[from] UpdateError),
}

impl IngestError {
    /// Whether the report is unreadable, as opposed to a failed call or an invalid event.
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
            Self::Event(_) | Self::Execution(_) | Self::BaselineChange(_) | Self::DatapointDrop(_) => "EventUnreadable",
            Self::Ahead { .. } => "ExecutionAhead",
            Self::Report(_) => "ReportUnreadable",
            Self::ReportTooLarge { .. } => "ReportTooLarge",
            Self::ReportGone { .. } => "ReportGone",
            Self::Aws(error) => error.error_type(),
            Self::Policy(error) => error.error_type(),
            Self::Update(error) => error.error_type(),
        }
    }
}
