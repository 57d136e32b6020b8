//! The event `Model Monitor Alert State Change` that a transition puts on the bus.
//! Its JSON Schema is generated from these types into `events/schemas/`.

use crate::{AlertStatus, DatapointState, ReportedViolation};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The event's detail-type.
pub const MODEL_MONITOR_ALERT_STATE_CHANGE: &str = "Model Monitor Alert State Change";

/// Detail of `Model Monitor Alert State Change`, version 1: the alert of one monitor changed its status.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct AlertStateChange {
    /// Version of this layout. Fields may be added within a version; unknown ones are to be ignored.
    pub version: String,
    /// Deterministic: the same transition has the same id, however often it is delivered.
    pub id: String,
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
    /// M.
    pub datapoints_to_alert: u8,
    /// N.
    pub evaluation_period: u8,
    /// How many of the evaluated datapoints had violations.
    pub breaching: usize,
    /// The evaluated datapoints, oldest first.
    pub datapoints: Vec<EventDatapoint>,
    /// The violations of the latest breaching datapoint, those farthest beyond their threshold first, bounded.
    pub violations: Vec<ReportedViolation>,
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
