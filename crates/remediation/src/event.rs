//! The events that remediation puts on the bus. Their JSON Schemas are generated from these types into
//! `events/schemas/`.

use crate::{ExecutionStatus, PipelineStart, Reason, Stage, StartKind, Verdict};
use alerting::{AlertStateChange, EventDatapoint, ReportedViolation, Severity};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Detail-type of [`RemediationDecided`].
pub const REMEDIATION_DECIDED: &str = "Remediation Decided";
/// Detail-type of [`RetrainingStatusChange`].
pub const RETRAINING_PIPELINE_EXECUTION_STATUS_CHANGE: &str = "Retraining Pipeline Execution Status Change";

/// Detail-type of [`IncidentClosed`].
pub const REMEDIATION_INCIDENT_CLOSED: &str = "Remediation Incident Closed";
/// Source of the events that people put on the bus, by the CLI.
pub const OPERATOR_SOURCE: &str = "driftwarden.operator";
/// Detail-type of [`RemediationApproval`].
pub const REMEDIATION_APPROVAL: &str = "Remediation Approval";
/// Detail-type of [`RemediationResolution`].
pub const REMEDIATION_RESOLUTION: &str = "Remediation Resolution";
/// Detail-type of [`RemediationPause`].
pub const REMEDIATION_PAUSE: &str = "Remediation Pause";
/// Detail-type of [`RetrainingStatusReported`].
pub const RETRAINING_STATUS_REPORTED: &str = "Retraining Status Reported";

/// Of how many of its latest datapoints a decided alert names the report, and how many violations it lists: a model's
/// decision holds all its alerts, and EventBridge takes no event larger than 256 kB.
const REPORTS_TOLD: usize = 10;
/// See [`REPORTS_TOLD`].
const VIOLATIONS_TOLD: usize = 10;

/// An alert as a decision was taken on it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct DecidedAlert {
    /// Id of the `Model Monitor Alert State Change`.
    pub id: String,
    /// Its correlation id: that of the execution that made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    /// The monitoring schedule.
    pub monitoring_schedule: String,
    /// What it monitors, once a report has told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monitor_type: Option<String>,
    /// The monitored endpoint; absent for batch transform.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// How grave it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity: Option<Severity>,
    /// The check types of its violations that count.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub check_types: Vec<String>,
    /// M.
    pub datapoints_to_alert: u8,
    /// N.
    pub evaluation_period: u8,
    /// How many of the evaluated datapoints had violations.
    pub breaching: usize,
    /// The evaluated datapoints, oldest first.
    pub datapoints: Vec<EventDatapoint>,
    /// The violations of the latest breaching datapoint that are farthest beyond their threshold, bounded.
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
            correlation_id: alert.correlation_id.clone(),
            monitoring_schedule: alert.monitoring_schedule.clone(),
            monitor_type: alert.monitor_type.clone(),
            endpoint: alert.endpoint.clone(),
            severity: alert.severity,
            check_types: alert.check_types.clone(),
            datapoints_to_alert: alert.datapoints_to_alert,
            evaluation_period: alert.evaluation_period,
            breaching: alert.breaching,
            datapoints: alert
                .datapoints
                .iter()
                .enumerate()
                .map(|(at, datapoint)| EventDatapoint {
                    report_uri: datapoint
                        .report_uri
                        .clone()
                        .filter(|_| at + REPORTS_TOLD >= alert.datapoints.len()),
                    ..datapoint.clone()
                })
                .collect(),
            violations: alert.violations.iter().take(VIOLATIONS_TOLD).cloned().collect(),
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
    /// The incident's: that of the execution whose alert opened it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    /// The model.
    pub model: String,
    /// The how-manieth incident of the model.
    pub incident: u64,
    /// The incident's id.
    pub incident_id: String,
    /// The how-manieth decision of the incident.
    pub decision: u64,
    /// What is to be done.
    pub verdict: Verdict,
    /// Where the incident stands from then on.
    pub stage: Stage,
    /// Why, for machines.
    pub reasons: Vec<Reason>,
    /// Why, for people.
    pub sentence: String,
    /// When it is decided again by itself, at the latest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
    pub until: Option<Timestamp>,
    /// What is started, if the verdict is `Retrain`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<StartKind>,
    /// Who starts the pipeline, if one is started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pipeline_start: Option<PipelineStart>,
    /// Name or ARN of the pipeline, or ARN of the state machine, that is started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pipeline: Option<String>,
    /// The parameters of the run. An EventBridge rule's target takes no names with underscores.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
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
    /// The incident's: that of the execution whose alert opened it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
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

/// How an incident was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Outcome {
    /// The retraining helped: every monitor is OK after it.
    Repaired,
    /// Every monitor is OK again without a retraining that is known to have helped.
    Recovered,
    /// A person closed it.
    Resolved,
}

impl Outcome {
    /// The name as written in documents and events.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Repaired => "Repaired",
            Self::Recovered => "Recovered",
            Self::Resolved => "Resolved",
        }
    }
}

/// Detail of `Remediation Incident Closed`, version 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct IncidentClosed {
    /// Version of this layout. Fields may be added within a version; unknown ones are to be ignored.
    pub version: String,
    /// Deterministic.
    pub id: String,
    /// The incident's: that of the execution whose alert opened it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    /// The model.
    pub model: String,
    /// The how-manieth incident of the model.
    pub incident: u64,
    /// The incident's id.
    pub incident_id: String,
    /// How.
    pub outcome: Outcome,
    /// By whom, if a person closed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// The monitors that were in alert during it.
    pub monitoring_schedules: Vec<String>,
    /// When the first alert was heard.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub opened_at: Timestamp,
    /// When it was closed.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub closed_at: Timestamp,
    /// Seconds from the scheduled time of the first breaching datapoint until the first alert was heard: the time to
    /// detect; none if no decision told of datapoints.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_to_detect_seconds: Option<i64>,
    /// Seconds from the first alert until the retraining was decided, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_to_decide_seconds: Option<i64>,
    /// Seconds from that decision until the retraining ended, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_to_retrain_seconds: Option<i64>,
    /// Seconds from the end of the retraining until its model had won and served, if it was tested.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_to_promote_seconds: Option<i64>,
    /// Seconds from the first alert until every monitor was OK again: the time to repair.
    pub time_to_repair_seconds: i64,
    /// The run, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pipeline_execution_arn: Option<String>,
    /// The experiment of its model, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub experiment_id: Option<String>,
    /// In words.
    pub sentence: String,
    /// When this was found.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub time: Timestamp,
}

/// Detail of `Remediation Approval`, version 1: a person says whether an incident's retraining may be started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct RemediationApproval {
    /// The incident.
    pub incident_id: String,
    /// Yes or no.
    pub granted: bool,
    /// Who.
    pub by: String,
    /// When.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub time: Timestamp,
    /// Until when a yes holds; by default as the policy says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
    pub valid_until: Option<Timestamp>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Detail of `Remediation Resolution`, version 1: a person closes an incident.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct RemediationResolution {
    /// The incident.
    pub incident_id: String,
    /// Who.
    pub by: String,
    /// When.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub time: Timestamp,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Detail of `Remediation Pause`, version 1: a person holds a model's retrainings, or lets them go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct RemediationPause {
    /// The model.
    pub model: String,
    /// Whether its retrainings are held from now on.
    pub paused: bool,
    /// Who.
    pub by: String,
    /// When.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub time: Timestamp,
    /// Until when they are held; until somebody lets them go on, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
    pub until: Option<Timestamp>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Detail of `Retraining Status Reported`, version 1: whoever retrains on `Remediation Decided` (start = "event") says how
/// it goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct RetrainingStatusReported {
    /// The incident.
    pub incident_id: String,
    /// An id of the run.
    pub execution_arn: String,
    /// How it goes.
    pub status: ExecutionStatus,
    /// When.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub time: Timestamp,
}
