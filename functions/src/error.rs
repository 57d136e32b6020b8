//! The error of an invocation.

use events::ReceiveError;
use jiff::Timestamp;
use machine::{AwsError, ErrorType, UpdateError};
use model_monitor::ParseError;
use shell::LoadPolicyError;

/// Why an invocation failed. Lambda retries it, then moves the event to the dead-letter queue.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The payload is not a valid event of its detail-type.
    #[error(transparent)]
    Event(#[from] ReceiveError),
    /// The payload is none of the requests that the function accepts.
    #[error("failed to parse the payload: expected {expected}")]
    Payload {
        /// What was expected.
        expected: &'static str,
        /// The parse error.
        source: serde_json::Error,
    },
    /// No valid policy is available.
    #[error("no valid policy is available")]
    Policy(#[source] LoadPolicyError),
    /// A call to AWS failed.
    #[error(transparent)]
    Aws(#[from] AwsError),
    /// A state document was not updated.
    #[error(transparent)]
    Update(#[from] UpdateError),
    /// Some items of many failed. All others were processed, and the log contains every error.
    #[error("failed to {} {failed} of {all} {}; first error: {first}", what.verb(), what.items())]
    Incomplete {
        /// What is incomplete.
        what: Incomplete,
        /// Number of failed items.
        failed: usize,
        /// Number of all items.
        all: usize,
        /// The first error.
        first: String,
    },
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
    /// The policy has no native analysis with this schedule.
    #[error("the policy has no [[analysis]] table with the schedule `{0}`")]
    ScheduleUnknown(String),
    /// A dataset or its profile is unreadable.
    #[error("{0}")]
    Data(String),
    /// A destination refused the notification. It is not retried; the document of the model keeps the reason.
    #[error("{0}: fix the destination or its [[notification]] table")]
    NotificationRefused(String),
    /// No destination accepted the notification. It stays pending, and is retried for 72 hours.
    #[error("no destination accepted the notification, which is retried for 72 h: {0}")]
    NotificationUndelivered(String),
}

/// What an invocation did not complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Incomplete {
    /// The requests for due executions of native analyses.
    Analyses,
    /// The pages of the dashboard.
    Dashboard,
    /// The experiments.
    Promotion,
    /// The sweep of monitors and models.
    Sweep,
}

impl Incomplete {
    fn verb(self) -> &'static str {
        match self {
            Self::Analyses => "request the due executions of",
            Self::Dashboard => "write the pages of",
            Self::Promotion => "process the experiments of",
            Self::Sweep => "sweep",
        }
    }

    fn items(self) -> &'static str {
        match self {
            Self::Analyses => "monitoring schedules",
            Self::Dashboard | Self::Promotion => "models",
            Self::Sweep => "monitors and models",
        }
    }
}

impl Error {
    /// Whether a report is unreadable, as opposed to a failed call or an invalid event.
    pub fn is_unreadable_report(&self) -> bool {
        matches!(
            self,
            Self::Report(_) | Self::ReportTooLarge { .. } | Self::ReportGone { .. }
        )
    }
}

impl ErrorType for Error {
    fn error_type(&self) -> &'static str {
        match self {
            Self::Event(_) | Self::Payload { .. } => "EventUnreadable",
            Self::Policy(error) => error.error_type(),
            Self::Aws(error) => error.error_type(),
            Self::Update(error) => error.error_type(),
            Self::Incomplete { what, .. } => match what {
                Incomplete::Analyses => "AnalysisIncomplete",
                Incomplete::Dashboard => "DashboardIncomplete",
                Incomplete::Promotion => "PromotionIncomplete",
                Incomplete::Sweep => "SweepIncomplete",
            },
            Self::Report(_) => "ReportUnreadable",
            Self::ReportTooLarge { .. } => "ReportTooLarge",
            Self::ReportGone { .. } => "ReportGone",
            Self::Ahead { .. } => "ExecutionAhead",
            Self::ScheduleUnknown(_) => "ScheduleUnknown",
            Self::Data(_) => "DataUnreadable",
            Self::NotificationRefused(_) => "NotificationRefused",
            Self::NotificationUndelivered(_) => "NotificationUndelivered",
        }
    }
}
