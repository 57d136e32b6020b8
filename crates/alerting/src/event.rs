//! The events that a monitor's ledger puts on the bus. Their JSON Schemas are generated from these types into
//! `events/schemas/`.

use crate::{AlertStatus, DatapointState, HealthStatus, ReportedViolation, Severity};
use jiff::Timestamp;
use outbox::correlation_id;
use serde::{Deserialize, Serialize};

/// The `source` of Driftwarden's events.
pub const EVENT_SOURCE: &str = "driftwarden";

/// The event's detail-type.
pub const MODEL_MONITOR_ALERT_STATE_CHANGE: &str = "Model Monitor Alert State Change";

/// The detail-type of [`HealthStateChange`].
pub const MODEL_MONITOR_HEALTH_STATE_CHANGE: &str = "Model Monitor Health State Change";

/// The detail-type of [`MonitoringExecutionStateChange`].
pub const MONITORING_EXECUTION_STATE_CHANGE: &str = "Monitoring Execution State Change";

/// The correlation id of an execution, which what follows from it carries on: of its schedule and the hour that it was due.
pub fn execution_correlation_id(schedule: &str, scheduled_time: Timestamp) -> String {
    // SageMaker lower-cases schedule names in ARNs.
    let identity = format!("{}/{}", schedule.to_lowercase(), scheduled_time.strftime("%Y-%m-%dT%H"));
    correlation_id("execution", &identity)
}

/// Detail of `Monitoring Execution State Change`, version 1: an execution of a monitoring schedule of Driftwarden's own
/// has ended. SageMaker has no such event of its own executions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct MonitoringExecutionStateChange {
    /// Version of this layout. Fields may be added within a version; unknown ones are to be ignored.
    pub version: String,
    /// Deterministic: the same execution has the same id, however often it is carried out.
    pub id: String,
    /// Ties together all that follows from the execution, up to a promotion: a W3C trace id, [`execution_correlation_id`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    /// The monitoring schedule.
    pub monitoring_schedule: String,
    /// The monitored endpoint; absent as for batch transform.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// `DataQuality`, `ModelQuality`, `ModelBias` or `ModelExplainability`.
    pub monitor_type: String,
    /// The hour that the execution was due.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub scheduled_time: Timestamp,
    /// `Completed`, `CompletedWithViolations` or `Failed`, as SageMaker spells it.
    pub monitoring_execution_status: String,
    /// Why it failed; `Job inputs had no data` if there was nothing to analyse.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_reason: Option<String>,
    /// The folder of its report.
    pub report_uri: String,
    /// How many rows were analysed.
    pub item_count: u64,
    /// How many constraints are violated.
    pub violations: u64,
    /// When it ended.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub time: Timestamp,
}

/// Detail of `Model Monitor Alert State Change`, version 1: the alert of one monitor changed its status.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct AlertStateChange {
    /// Version of this layout. Fields may be added within a version; unknown ones are to be ignored.
    pub version: String,
    /// Deterministic: the same transition has the same id, however often it is delivered.
    pub id: String,
    /// The correlation id of the execution that made the transition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    /// The model that the monitor watches: the policy's name for it, else its endpoint, else its schedule.
    pub model: String,
    /// The monitored endpoint; absent for batch transform.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// The monitoring schedule.
    pub monitoring_schedule: String,
    /// `DataQuality`, `ModelQuality`, `ModelBias`, `ModelExplainability` or `Custom`, once a report has told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monitor_type: Option<String>,
    /// Number of this monitor's transitions so far: of two events the one with the higher number is the later one.
    pub transition: u64,
    /// The status now.
    pub alert_status: AlertStatus,
    /// The status before.
    pub previous_alert_status: AlertStatus,
    /// How grave the violations of the latest breaching datapoint are; absent if it is OK.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity: Option<Severity>,
    /// M.
    pub datapoints_to_alert: u8,
    /// N: executions, or periods.
    pub evaluation_period: u8,
    /// How long a period is, of a window over time: `1h`, `1d`, `1w`, `1mo`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub period: Option<String>,
    /// How many of the evaluated datapoints breach.
    pub breaching: usize,
    /// The evaluated datapoints, oldest first.
    pub datapoints: Vec<EventDatapoint>,
    /// The violations of the latest breaching datapoint, those farthest beyond their threshold first, bounded.
    pub violations: Vec<ReportedViolation>,
    /// The check types of its violations that count, also of those that are not listed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub check_types: Vec<String>,
    /// The report of the latest breaching datapoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report_uri: Option<String>,
    /// The transition in words.
    pub reason: String,
    /// Version (hash) of the policy that judged.
    pub policy_version: String,
    /// When the transition was found.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub time: Timestamp,
}

/// One datapoint of the evaluated window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct EventDatapoint {
    /// The hour that the execution was scheduled for.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub scheduled_time: Timestamp,
    /// Its state.
    pub state: DatapointState,
    /// How many violations it had, when that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub violations: Option<u64>,
    /// Its report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report_uri: Option<String>,
}

/// Detail of `Model Monitor Health State Change`, version 1: a monitor has stopped to say anything of the data, or says
/// something again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct HealthStateChange {
    /// Version of this layout. Fields may be added within a version; unknown ones are to be ignored.
    pub version: String,
    /// Deterministic: the same transition has the same id, however often it is delivered.
    pub id: String,
    /// The correlation id of the execution that made the transition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    /// The model that the monitor watches.
    pub model: String,
    /// The monitored endpoint; absent for batch transform.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// The monitoring schedule.
    pub monitoring_schedule: String,
    /// Number of this monitor's health transitions so far.
    pub transition: u64,
    /// The status now.
    pub health_status: HealthStatus,
    /// How many of the latest executions in a row failed, had no data or never ran.
    pub in_a_row: usize,
    /// The latest executions, oldest first, bounded.
    pub datapoints: Vec<EventDatapoint>,
    /// The transition in words.
    pub reason: String,
    /// Version (hash) of the policy that judged.
    pub policy_version: String,
    /// When the transition was found.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub time: Timestamp,
}
