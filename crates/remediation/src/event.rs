//! The events that remediation puts on the bus. Their JSON Schemas are generated from these types into
//! `events/schemas/`.

use crate::{ExecutionStatus, PipelineStart, Reason, Verdict};
use alerting::{AlertStateChange, EventDatapoint, ReportedViolation};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Detail-type of [`RemediationDecided`].
pub const REMEDIATION_DECIDED: &str = "Remediation Decided";
/// Detail-type of [`RetrainingStatusChange`].
pub const RETRAINING_PIPELINE_EXECUTION_STATUS_CHANGE: &str = "Retraining Pipeline Execution Status Change";

/// An alert as a decision was taken on it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct DecidedAlert {
    /// Id of the `Model Monitor Alert State Change`.
    pub id: String,
    /// The monitoring schedule.
    pub monitoring_schedule: String,
    /// What it monitors, once a report has told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monitor_type: Option<String>,
    /// M.
    pub datapoints_to_alert: u8,
    /// N.
    pub evaluation_period: u8,
    /// How many of the evaluated datapoints had violations.
    pub breaching: usize,
    /// The evaluated datapoints, oldest first.
    pub datapoints: Vec<EventDatapoint>,
    /// The violations of the latest breaching datapoint, bounded.
    pub violations: Vec<ReportedViolation>,
    /// Its report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report_uri: Option<String>,
    /// The alert in words.
    pub reason: String,
}

impl DecidedAlert {
    pub(crate) fn new(alert: &AlertStateChange) -> Self {
        Self {
            id: alert.id.clone(),
            monitoring_schedule: alert.monitoring_schedule.clone(),
            monitor_type: alert.monitor_type.clone(),
            datapoints_to_alert: alert.datapoints_to_alert,
            evaluation_period: alert.evaluation_period,
            breaching: alert.breaching,
            datapoints: alert.datapoints.clone(),
            violations: alert.violations.clone(),
            report_uri: alert.report_uri.clone(),
            reason: alert.reason.clone(),
        }
    }

    /// The violation farthest beyond its threshold, in words.
    pub(crate) fn worst(&self) -> Option<String> {
        let worst = self.violations.first()?;
        let values = worst.values().map_or_else(String::new, |values| format!(" {values}"));
        Some(format!("{} {}{values}", worst.subject, worst.constraint_check_type))
    }
}

/// Detail of `Remediation Decided`, version 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct RemediationDecided {
    /// Version of this layout. Fields may be added within a version; unknown ones are to be ignored.
    pub version: String,
    /// Deterministic: the same decision has the same id, however often it is delivered.
    pub id: String,
    /// The model.
    pub model: String,
    /// The how-manieth incident of the model.
    pub incident: u64,
    /// The incident's id.
    pub incident_id: String,
    /// What is to be done.
    pub verdict: Verdict,
    /// Why, for machines.
    pub reasons: Vec<Reason>,
    /// Why, for people.
    pub sentence: String,
    /// Who starts the pipeline.
    pub pipeline_start: PipelineStart,
    /// Name or ARN of the pipeline.
    pub pipeline: String,
    /// The parameters of the run. Names without underscores: an EventBridge rule's target takes no others.
    pub pipeline_parameters: BTreeMap<String, String>,
    /// Version (hash) of the policy that decided.
    pub policy_version: String,
    /// The alerts that it was decided on.
    pub alerts: Vec<DecidedAlert>,
    /// When.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub time: Timestamp,
}

/// Detail of `Retraining Pipeline Execution Status Change`, version 1: an incident's pipeline execution ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct RetrainingStatusChange {
    /// Version of this layout. Fields may be added within a version; unknown ones are to be ignored.
    pub version: String,
    /// Deterministic: the same end has the same id, however often it is delivered.
    pub id: String,
    /// The model.
    pub model: String,
    /// The incident's id.
    pub incident_id: String,
    /// The pipeline execution.
    pub pipeline_execution_arn: String,
    /// How it ended.
    pub status: ExecutionStatus,
    /// When it started, if SageMaker told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
    pub execution_start_time: Option<Timestamp>,
    /// When it ended, if SageMaker told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
    pub execution_end_time: Option<Timestamp>,
    /// What it was started for.
    pub sentence: String,
    /// When this was found.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub time: Timestamp,
}
