//! Events about incidents. Their JSON Schemas in `events/schemas/` are generated from these types.

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
/// Source of the events that operators and approvers publish with the CLI.
pub const OPERATOR_SOURCE: &str = "driftwarden.operator";
/// Detail-type of [`RemediationApproval`].
pub const REMEDIATION_APPROVAL: &str = "Remediation Approval";
/// Detail-type of [`RemediationResolution`].
pub const REMEDIATION_RESOLUTION: &str = "Remediation Resolution";
/// Detail-type of [`RemediationPause`].
pub const REMEDIATION_PAUSE: &str = "Remediation Pause";
/// Detail-type of [`RetrainingStatusReported`].
pub const RETRAINING_STATUS_REPORTED: &str = "Retraining Status Reported";

/// Maximum number of report URIs in the snapshot of an alert, for the latest datapoints.
const MAX_SNAPSHOT_REPORTS: usize = 10;
/// Maximum number of violations in the snapshot of an alert.
const MAX_SNAPSHOT_VIOLATIONS: usize = 10;

/// Snapshot of an alert on which a decision is based.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct AlertSnapshot {
    /// ID of the event `Model Monitor Alert State Change`.
    pub id: String,
    /// Correlation ID of the execution that changed the alert.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    /// Name of the monitoring schedule.
    pub monitoring_schedule: String,
    /// Monitor type. Absent until a report shows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monitor_type: Option<String>,
    /// Name of the monitored endpoint. Absent for batch transform.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// Severity of the alert.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity: Option<Severity>,
    /// Check types of the violations that count toward the alert.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub check_types: Vec<String>,
    /// Number of breaching datapoints that raise the alert (M).
    pub datapoints_to_alert: u8,
    /// Number of datapoints that are evaluated (N).
    pub evaluation_period: u8,
    /// Number of breaching datapoints among the evaluated ones.
    pub breaching: usize,
    /// Evaluated datapoints, oldest first.
    pub datapoints: Vec<EventDatapoint>,
    /// Violations of the latest breaching datapoint, worst first. At most 10.
    pub violations: Vec<ReportedViolation>,
    /// URI of the violation report of that datapoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report_uri: Option<String>,
    /// Description of the alert.
    pub reason: String,
}

impl AlertSnapshot {
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
                        .filter(|_| at + MAX_SNAPSHOT_REPORTS >= alert.datapoints.len()),
                    ..datapoint.clone()
                })
                .collect(),
            violations: alert.violations.iter().take(MAX_SNAPSHOT_VIOLATIONS).cloned().collect(),
            report_uri: alert.report_uri.clone(),
            reason: alert.reason.clone(),
        }
    }

    /// Describes the violation that is farthest beyond its threshold.
    pub(crate) fn describe_worst_violation(&self) -> Option<String> {
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
    /// Version of the event format. A version may get new fields; ignore fields that you do not know.
    pub version: String,
    /// ID of the decision, the same in every delivery of the event.
    pub id: String,
    /// Correlation ID of the incident: that of the execution whose alert opened it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    /// Name of the model.
    pub model: String,
    /// Sequence number of the incident within the model, starting at 1.
    pub incident: u64,
    /// ID of the incident: `MODEL-NUMBER`.
    pub incident_id: String,
    /// Sequence number of the decision within the incident, starting at 1.
    pub decision: u64,
    /// Response to the incident.
    pub verdict: Verdict,
    /// Stage of the incident after the decision.
    pub stage: Stage,
    /// Reasons of the decision, in machine-readable form.
    pub reasons: Vec<Reason>,
    /// Description of the decision and its reasons, for people.
    pub sentence: String,
    /// Latest time of the next decision. Absent if time alone changes nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
    pub until: Option<Timestamp>,
    /// Target that is started. Absent unless the verdict is `Retrain`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<StartKind>,
    /// Component that starts the pipeline. Absent if no pipeline is started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pipeline_start: Option<PipelineStart>,
    /// Name or ARN of the pipeline, or ARN of the state machine, that is started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pipeline: Option<String>,
    /// Parameters of the pipeline execution. Their names have no underscores, because targets of EventBridge rules
    /// reject them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub pipeline_parameters: BTreeMap<String, String>,
    /// Version of the policy that was applied.
    pub policy_version: String,
    /// Alerts that the decision is based on, the most severe ones first: at most 20, and as many as fit into an event.
    pub alerts: Vec<AlertSnapshot>,
    /// Number of further alerts. `reasons` names their monitors. Absent if all are listed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub more_alerts: usize,
    /// Time of the decision.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub time: Timestamp,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(count: &usize) -> bool {
    *count == 0
}

impl RemediationDecided {
    /// Whether another component starts the retraining when it gets the event: an EventBridge rule, or an external service.
    pub fn is_start(&self) -> bool {
        self.start == Some(StartKind::Event) || self.pipeline_start == Some(PipelineStart::Rule)
    }
}

/// Detail of `Retraining Pipeline Execution Status Change`, version 1: the pipeline execution of an incident ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct RetrainingStatusChange {
    /// Version of the event format. A version may get new fields; ignore fields that you do not know.
    pub version: String,
    /// ID of the status change, the same in every delivery of the event.
    pub id: String,
    /// Correlation ID of the incident: that of the execution whose alert opened it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    /// Name of the model.
    pub model: String,
    /// ID of the incident: `MODEL-NUMBER`.
    pub incident_id: String,
    /// ARN of the pipeline execution.
    pub pipeline_execution_arn: String,
    /// Final status of the pipeline execution.
    pub status: ExecutionStatus,
    /// Start time of the pipeline execution, if SageMaker reported it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
    pub execution_start_time: Option<Timestamp>,
    /// End time of the pipeline execution, if SageMaker reported it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
    pub execution_end_time: Option<Timestamp>,
    /// Description of the decision that started the pipeline execution.
    pub sentence: String,
    /// Time at which Driftwarden recorded the change.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub time: Timestamp,
}

/// Outcome of an incident.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Outcome {
    /// The retraining helped: every monitor is OK after it.
    Repaired,
    /// Every monitor is OK again, but not as a verified result of a retraining.
    Recovered,
    /// An operator closed the incident.
    Resolved,
}

impl Outcome {
    /// Name in state documents and events.
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
    /// Version of the event format. A version may get new fields; ignore fields that you do not know.
    pub version: String,
    /// ID of the closed incident, the same in every delivery of the event.
    pub id: String,
    /// Correlation ID of the incident: that of the execution whose alert opened it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    /// Name of the model.
    pub model: String,
    /// Sequence number of the incident within the model, starting at 1.
    pub incident: u64,
    /// ID of the incident: `MODEL-NUMBER`.
    pub incident_id: String,
    /// Outcome of the incident.
    pub outcome: Outcome,
    /// Name of the operator who closed the incident. Absent if Driftwarden closed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Names of the monitoring schedules that were in alert during the incident.
    pub monitoring_schedules: Vec<String>,
    /// Time at which the first alert was received.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub opened_at: Timestamp,
    /// Time at which the incident was closed.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub closed_at: Timestamp,
    /// Time to detect: seconds from the scheduled time of the first breaching datapoint until the first alert was
    /// received. Absent if no decision had datapoints.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_to_detect_seconds: Option<i64>,
    /// Time to decide: seconds from the first alert until the decision to retrain. Absent without a retraining.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_to_decide_seconds: Option<i64>,
    /// Time to retrain: seconds from the decision to retrain until the retraining ended. Absent if it did not end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_to_retrain_seconds: Option<i64>,
    /// Time to promote: seconds from the end of the retraining until the promotion of its model. Absent without an
    /// experiment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_to_promote_seconds: Option<i64>,
    /// Time to repair: seconds from the first alert until the incident was closed.
    pub time_to_repair_seconds: i64,
    /// ARN of the pipeline execution. Absent without a retraining.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pipeline_execution_arn: Option<String>,
    /// ID of the experiment with the retrained model. Absent without an experiment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub experiment_id: Option<String>,
    /// Description of the closed incident.
    pub sentence: String,
    /// Time at which Driftwarden recorded the change.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub time: Timestamp,
}

/// Detail of `Remediation Approval`, version 1: an approver approves or denies the retraining of an incident.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct RemediationApproval {
    /// ID of the incident: `MODEL-NUMBER`.
    pub incident_id: String,
    /// True to approve the retraining, false to deny it.
    pub granted: bool,
    /// Sequence number of the decision that is answered, within the incident. An answer to another decision than the latest
    /// one is refused. Absent: the latest decision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<u64>,
    /// Name of the approver.
    pub by: String,
    /// Time of the command.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub time: Timestamp,
    /// Time at which the approval expires. Default: `time` plus `approval_valid_for` of the policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
    pub valid_until: Option<Timestamp>,
    /// Reason that the approver gave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What becomes of the alerts that last when an operator closes an incident.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum InAlertChoice {
    /// They open no incident until their monitors have been OK once, or for 7 days.
    Accept,
    /// They open a new incident, under the usual cooldown and budget.
    Reopen,
}

/// Detail of `Remediation Resolution`, version 1: an operator closes an incident.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct RemediationResolution {
    /// ID of the incident: `MODEL-NUMBER`.
    pub incident_id: String,
    /// What becomes of the alerts that last. Required if a monitor of the model is in alert.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_alert: Option<InAlertChoice>,
    /// Name of the operator.
    pub by: String,
    /// Time of the command.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub time: Timestamp,
    /// Reason that the operator gave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Detail of `Remediation Pause`, version 1: an operator pauses or resumes the retraining of a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct RemediationPause {
    /// Name of the model.
    pub model: String,
    /// True to pause retraining, false to resume it.
    pub paused: bool,
    /// Name of the operator.
    pub by: String,
    /// Time of the command.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub time: Timestamp,
    /// Time at which the pause ends. Absent: the pause lasts until the next resume.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
    pub until: Option<Timestamp>,
    /// Reason that the operator gave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Detail of `Retraining Status Reported`, version 1: an external retraining service (`start = "event"`) reports the
/// status of a retraining.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct RetrainingStatusReported {
    /// ID of the incident: `MODEL-NUMBER`.
    pub incident_id: String,
    /// ARN or other ID of the retraining.
    pub execution_arn: String,
    /// Status of the retraining.
    pub status: ExecutionStatus,
    /// Time of the report.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub time: Timestamp,
}
