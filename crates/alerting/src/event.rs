//! Events about monitors. Their JSON Schemas in `events/schemas/` are generated from these types.

use crate::{AlertStatus, DatapointState, HealthStatus, ReportedViolation, Severity};
use jiff::Timestamp;
use machine::correlation_id;
use serde::{Deserialize, Serialize};

/// Source of the events that Driftwarden publishes.
pub const EVENT_SOURCE: &str = "driftwarden";

/// Detail-type of [`AlertStateChange`].
pub const MODEL_MONITOR_ALERT_STATE_CHANGE: &str = "Model Monitor Alert State Change";

/// Detail-type of an [`AlertStateChange`] with a revision: the facts of an alert changed, but not its status.
pub const MODEL_MONITOR_LEVEL_CHANGE: &str = "Model Monitor Level Change";

/// Detail-type of [`HealthStateChange`].
pub const MODEL_MONITOR_HEALTH_STATE_CHANGE: &str = "Model Monitor Health State Change";

/// Detail-type of [`MonitoringExecutionStateChange`].
pub const MONITORING_EXECUTION_STATE_CHANGE: &str = "Monitoring Execution State Change";

/// Detail-type of [`MonitorDatapointDrop`].
pub const MONITOR_DATAPOINT_DROP: &str = "Monitor Datapoint Drop";

/// Detail-type of [`MonitoringExecutionRequested`].
pub const MONITORING_EXECUTION_REQUESTED: &str = "Monitoring Execution Requested";

/// Correlation ID of an execution and of all that follows from it, derived from the schedule and the hour of the
/// execution.
pub fn execution_correlation_id(schedule: &str, scheduled_time: Timestamp) -> String {
    // SageMaker lowercases schedule names in ARNs.
    let identity = format!("{}/{}", schedule.to_lowercase(), scheduled_time.strftime("%Y-%m-%dT%H"));
    correlation_id("execution", &identity)
}

/// Detail of `Monitoring Execution State Change`, version 1: an execution of a native analysis ended. SageMaker
/// publishes no such event for its monitoring executions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct MonitoringExecutionStateChange {
    /// Version of the event format. A version may get new fields; ignore fields that you do not know.
    pub version: String,
    /// ID of the execution, the same for every attempt and every delivery.
    pub id: String,
    /// Correlation ID of the execution and of all that follows from it, up to a promotion. It has the form of a W3C
    /// trace ID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    /// Name of the monitoring schedule.
    pub monitoring_schedule: String,
    /// Name of the monitored endpoint. Absent for batch transform.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// Monitor type: `DataQuality`, `ModelQuality`, `ModelBias`, or `ModelExplainability`.
    pub monitor_type: String,
    /// Time at which the execution was due.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub scheduled_time: Timestamp,
    /// Status of the execution, in SageMaker's spelling: `Completed`, `CompletedWithViolations`, or `Failed`.
    pub monitoring_execution_status: String,
    /// Reason for a failure. `Job inputs had no data` if there was no data to analyze.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_reason: Option<String>,
    /// `s3://` URI of the folder with the report.
    pub report_uri: String,
    /// Number of analyzed rows.
    pub item_count: u64,
    /// Number of violations that were found.
    pub violations: u64,
    /// Time at which the execution ended.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub time: Timestamp,
}

/// Detail of `Monitoring Execution Requested`, version 1: an execution of a native analysis is due. Each event starts one
/// invocation of analyze, which ignores repeated requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct MonitoringExecutionRequested {
    /// Version of the event format. A version may get new fields; ignore fields that you do not know.
    pub version: String,
    /// ID of the request, the same for every request of this execution.
    pub id: String,
    /// Correlation ID of the execution and of all that follows from it, up to a promotion. It has the form of a W3C
    /// trace ID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    /// Name of the monitoring schedule.
    pub monitoring_schedule: String,
    /// Time at which the execution was due.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub scheduled_time: Timestamp,
    /// Time of the request.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub time: Timestamp,
}

/// Detail of `Model Monitor Alert State Change`, version 1: the alert status of a monitor changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct AlertStateChange {
    /// Version of the event format. A version may get new fields; ignore fields that you do not know.
    pub version: String,
    /// ID of the transition, the same in every delivery of the event.
    pub id: String,
    /// Correlation ID of the execution that caused the transition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    /// Name of the monitored model: as in the policy, or else the name of the endpoint, or else of the schedule.
    pub model: String,
    /// Name of the monitored endpoint. Absent for batch transform.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// Name of the monitoring schedule.
    pub monitoring_schedule: String,
    /// Monitor type: `DataQuality`, `ModelQuality`, `ModelBias`, `ModelExplainability`, or `Custom`. Absent until a
    /// report shows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monitor_type: Option<String>,
    /// Time at which the record of the monitor was begun. Numbers of transitions are comparable within one epoch only: the
    /// events of a later epoch are later. Absent for records of the first release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
    pub epoch: Option<Timestamp>,
    /// Number of transitions of this alert so far. Of two events, the one with the higher number is later.
    pub transition: u64,
    /// Number of changes of severity or check types since the transition. Absent in the event of the transition.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub revision: u64,
    /// New status of the alert.
    pub alert_status: AlertStatus,
    /// Previous status of the alert.
    pub previous_alert_status: AlertStatus,
    /// Highest severity of the violations of the breaching datapoints. Absent unless the monitor is in alert.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity: Option<Severity>,
    /// Number of breaching datapoints that raise the alert (M).
    pub datapoints_to_alert: u8,
    /// Number of latest executions, or periods, that are evaluated (N).
    pub evaluation_period: u8,
    /// Length of a period of a time window: `1h`, `1d`, `1w`, `1mo`. Absent for a window over executions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub period: Option<String>,
    /// Number of breaching datapoints among the evaluated ones.
    pub breaching: usize,
    /// Evaluated datapoints, oldest first: the latest 100.
    pub datapoints: Vec<EventDatapoint>,
    /// Violations of the latest breaching datapoint, worst first. At most 20.
    pub violations: Vec<ReportedViolation>,
    /// Check types of the violations of the breaching datapoints that count toward the alert, including violations that
    /// are not listed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub check_types: Vec<String>,
    /// `s3://` URI of the violation report of that datapoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report_uri: Option<String>,
    /// Description of the transition.
    pub reason: String,
    /// Version of the policy that was applied.
    pub policy_version: String,
    /// Time of the transition.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub time: Timestamp,
}

impl AlertStateChange {
    /// Detail-type with which the change is published.
    pub fn detail_type(&self) -> &'static str {
        if self.revision == 0 {
            MODEL_MONITOR_ALERT_STATE_CHANGE
        } else {
            MODEL_MONITOR_LEVEL_CHANGE
        }
    }

    /// Position among the changes of this alert: a change with a higher position is later.
    pub fn position(&self) -> AlertPosition {
        AlertPosition {
            epoch: self.epoch,
            transition: self.transition,
            revision: self.revision,
        }
    }
}

/// Position of a change among all changes of an alert, in the order of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct AlertPosition {
    /// Time at which the record of the monitor was begun. `None` for records of the first release.
    pub epoch: Option<Timestamp>,
    /// Number of transitions in this epoch.
    pub transition: u64,
    /// Number of changes of the facts since the transition.
    pub revision: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde requires")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// One datapoint of the evaluated window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct EventDatapoint {
    /// Scheduled time of the execution.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub scheduled_time: Timestamp,
    /// State of the datapoint.
    pub state: DatapointState,
    /// Number of violations, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub violations: Option<u64>,
    /// `s3://` URI of the violation report. Only for the latest 20 datapoints of an event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report_uri: Option<String>,
}

/// Detail of `Model Monitor Health State Change`, version 1: a monitor became unhealthy, recovered, or retired from its model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct HealthStateChange {
    /// Version of the event format. A version may get new fields; ignore fields that you do not know.
    pub version: String,
    /// ID of the transition, the same in every delivery of the event.
    pub id: String,
    /// Correlation ID of the execution that caused the transition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    /// Name of the monitored model.
    pub model: String,
    /// Name of the monitored endpoint. Absent for batch transform.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// Name of the monitoring schedule.
    pub monitoring_schedule: String,
    /// Number of health transitions of this monitor so far. 0 if it retired.
    pub transition: u64,
    /// New health status of the monitor.
    pub health_status: HealthStatus,
    /// Number of latest consecutive executions that failed, had no data, or never ran. 0 if the monitor retired.
    pub in_a_row: usize,
    /// Datapoints of the latest executions, oldest first. At most 10.
    pub datapoints: Vec<EventDatapoint>,
    /// Description of the transition.
    pub reason: String,
    /// Version of the policy that was applied.
    pub policy_version: String,
    /// Time of the transition.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub time: Timestamp,
}

/// Detail of `Monitor Datapoint Drop`, version 1: an operator removes a datapoint of a monitor, and its alert is
/// evaluated again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct MonitorDatapointDrop {
    /// Name of the monitoring schedule.
    pub monitoring_schedule: String,
    /// Scheduled time of the execution.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub scheduled_time: Timestamp,
    /// ARN of the caller, as AWS authenticated it.
    pub by: String,
    /// Time at which AWS received the command. Evidence that is newer stays, and newer evidence about the execution counts again.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub time: Timestamp,
    /// Reason, recorded in the ledger.
    pub reason: String,
}
