//! Reasons of decisions.

use crate::{Automation, ExecutionStatus, Recurrence, RiskRating, Stage};
use alerting::Severity;
use jiff::Timestamp;
use promotion::Conclusion;
use serde::{Deserialize, Serialize};

/// One reason for a decision, in machine-readable form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "code", rename_all_fields = "camelCase")]
pub enum Reason {
    /// A monitor of the model is in alert.
    MonitorInAlert {
        /// Name of the monitoring schedule.
        monitoring_schedule: String,
        /// Number of breaching datapoints.
        breaching: usize,
        /// Number of breaching datapoints that raise the alert (M).
        datapoints_to_alert: u8,
        /// Number of datapoints that are evaluated (N).
        evaluation_period: u8,
    },
    /// SageMaker lists no pipeline execution of this model that is in progress.
    NothingInFlight,
    /// A monitor has fallen silent: it is unhealthy, or has judged no execution for three of its intervals. It no longer shows
    /// whether the drift lasts.
    MonitorSilent {
        /// Name of the monitoring schedule.
        monitoring_schedule: String,
        /// Scheduled time of the last execution that was judged.
        #[cfg_attr(feature = "schema", schemars(with = "String"))]
        since: Timestamp,
    },
    /// No monitor is in alert at present.
    NoMonitorInAlert,
    /// The limit of retrainings at a time over all models is reached.
    FleetAtOnce {
        /// Number of retrainings of all models that are in progress.
        retrainings: u32,
        /// Maximum number of retrainings at a time.
        limit: u32,
    },
    /// The limit of retrainings per day over all models is reached.
    FleetPerDay {
        /// Number of retrainings of all models since the start of the day (UTC).
        retrainings: u32,
        /// Maximum number of retrainings per day.
        limit: u32,
        /// Start of the next day (UTC).
        #[cfg_attr(feature = "schema", schemars(with = "String"))]
        until: Timestamp,
    },
    /// Other models that wait for a retraining come first: by the severity of their alerts, then by the time for which they wait.
    FleetTurn {
        /// Number of these models.
        models: u32,
    },
    /// Many models drift within an hour, which has one cause more likely than many. All retrainings are held until an
    /// operator releases them.
    CommonCause {
        /// Time at which the common cause was noticed.
        #[cfg_attr(feature = "schema", schemars(with = "String"))]
        since: Timestamp,
        /// Number of the models.
        count: usize,
        /// Names of the latest models, at most 20. The last one made the number.
        models: Vec<String>,
        /// Check types that the alerts of all these models have in common.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        check_types: Vec<String>,
    },
    /// AWS refused to start the retraining.
    StartRefused {
        /// Message of AWS about the refused start.
        error: String,
    },
    /// No retraining was seen in time after the decision to start it.
    StartMissing {
        /// Time at which the wait ended.
        #[cfg_attr(feature = "schema", schemars(with = "String"))]
        until: Timestamp,
        /// Message of the last failed attempt. Absent if no attempt failed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    },
    /// Facts that the decision needs could not be read in time.
    FactsMissing {
        /// Message of the last failure.
        error: String,
    },
    /// The stage of the incident lasted longer than the policy permits.
    StageOverdue {
        /// The stage that lasted too long.
        stage: Stage,
        /// Time at which its limit was reached.
        #[cfg_attr(feature = "schema", schemars(with = "String"))]
        until: Timestamp,
    },
    /// SageMaker or Step Functions does not know the execution of the retraining.
    RunUnknown {
        /// ARN of the execution.
        execution_arn: String,
    },
    /// The drift returned after the incident had ended, and the incident has had its retraining.
    DriftReturned {
        /// Number of times that the drift returned.
        returns: u32,
        /// What the alerts of a monitor have in common. Absent if nothing.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        recurrence: Option<Recurrence>,
    },
    /// The violations indicate broken input data.
    DataBroke {
        /// Name of the monitoring schedule that found the violations.
        monitoring_schedule: String,
        /// Check types of the violations (`constraint_check_type` in the report).
        check_types: Vec<String>,
    },
    /// Retraining is paused, by the policy or by an operator.
    Paused {
        /// True if retraining is paused for all models, false if for this model only.
        globally: bool,
        /// Name of the operator. Absent if the policy pauses retraining.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<String>,
        /// Time at which the operator paused retraining. Absent if the policy pauses retraining.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
        at: Option<Timestamp>,
        /// Time at which the pause ends. Absent if it has no end.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
        until: Option<Timestamp>,
        /// Reason that the operator gave. Absent if none was given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        why: Option<String>,
    },
    /// The severity of the alerts is below the minimum severity.
    SeverityBelow {
        /// Highest severity of the alerts.
        severity: Severity,
        /// Lowest severity that starts a response, from the policy.
        minimum_severity: Severity,
    },
    /// Another pipeline execution of this model is in progress, no matter who started it.
    InFlight {
        /// ARN of the pipeline execution.
        execution_arn: String,
    },
    /// The cooldown after the last retraining has not ended.
    Cooldown {
        /// Time at which the last retraining started.
        #[cfg_attr(feature = "schema", schemars(with = "String"))]
        last_retraining: Timestamp,
        /// Time at which the cooldown ends.
        #[cfg_attr(feature = "schema", schemars(with = "String"))]
        until: Timestamp,
    },
    /// The limit of retrainings per day is reached.
    BudgetPerDay {
        /// Number of retrainings since the start of the day (UTC).
        retrainings: u32,
        /// Maximum number of retrainings per day.
        limit: u32,
        /// Start of the next day (UTC).
        #[cfg_attr(feature = "schema", schemars(with = "String"))]
        until: Timestamp,
    },
    /// The limit of retrainings per month is reached.
    BudgetPerMonth {
        /// Number of retrainings since the start of the month (UTC).
        retrainings: u32,
        /// Maximum number of retrainings per month.
        limit: u32,
        /// Start of the next month (UTC).
        #[cfg_attr(feature = "schema", schemars(with = "String"))]
        until: Timestamp,
    },
    /// The automation level permits or prevents the retraining.
    AutomationLevel {
        /// Automation level of the model.
        automation: Automation,
        /// Risk rating of the model. It determines the level unless the policy sets one.
        risk_rating: RiskRating,
    },
    /// The retraining requires approval.
    ApprovalMissing {
        /// Time at which the approval request expires.
        #[cfg_attr(feature = "schema", schemars(with = "String"))]
        until: Timestamp,
    },
    /// The approval request expired without an answer.
    ApprovalExpired {
        /// Time at which the request expired.
        #[cfg_attr(feature = "schema", schemars(with = "String"))]
        at: Timestamp,
    },
    /// An approver approved the retraining.
    Approved {
        /// Name of the approver.
        by: String,
        /// Time of the approval.
        #[cfg_attr(feature = "schema", schemars(with = "String"))]
        at: Timestamp,
    },
    /// An approver denied the retraining.
    Denied {
        /// Name of the approver.
        by: String,
        /// Time of the denial.
        #[cfg_attr(feature = "schema", schemars(with = "String"))]
        at: Timestamp,
    },
    /// The retraining did not succeed: it failed, was stopped, or completed with failures.
    RunEnded {
        /// ARN of the pipeline execution.
        execution_arn: String,
        /// Final status of the pipeline execution.
        status: ExecutionStatus,
    },
    /// The retrained model was not promoted: its experiment did not start, or ended with another result.
    NotPromoted {
        /// ID of the experiment.
        experiment_id: String,
        /// Result of the experiment.
        conclusion: Conclusion,
        /// Last description of the experiment.
        sentence: String,
    },
    /// The retraining succeeded, but no model package from it appeared in time.
    CandidateMissing {
        /// Name of the model package group that was watched.
        model_package_group: String,
        /// Time at which the wait for the model package ended.
        #[cfg_attr(feature = "schema", schemars(with = "String"))]
        until: Timestamp,
    },
    /// A monitor is still in alert after the retraining.
    DriftPersists {
        /// Name of the monitoring schedule.
        monitoring_schedule: String,
        /// Number of executions since the retraining.
        executions: u32,
    },
}

impl Reason {
    /// Time at which the reason expires. `None` if time alone does not end it.
    pub(crate) fn expires_at(&self) -> Option<Timestamp> {
        match self {
            Self::Cooldown { until, .. }
            | Self::BudgetPerDay { until, .. }
            | Self::BudgetPerMonth { until, .. }
            | Self::FleetPerDay { until, .. } => Some(*until),
            Self::Paused { until, .. } => *until,
            _ => None,
        }
    }

    /// Whether the start has to wait for other models.
    pub(crate) fn is_of_fleet(&self) -> bool {
        matches!(
            self,
            Self::FleetAtOnce { .. } | Self::FleetPerDay { .. } | Self::FleetTurn { .. } | Self::CommonCause { .. }
        )
    }

    /// Whether both are the same reason. The counts of an alert are not compared, because they change with every
    /// execution.
    pub(crate) fn is_equivalent_to(&self, other: &Self) -> bool {
        match (self, other) {
            (
                Self::MonitorInAlert {
                    monitoring_schedule, ..
                },
                Self::MonitorInAlert {
                    monitoring_schedule: other,
                    ..
                },
            ) => monitoring_schedule == other,
            // A recurrence that becomes known is news, unlike another number of returns.
            (Self::DriftReturned { recurrence, .. }, Self::DriftReturned { recurrence: other, .. }) => {
                recurrence.is_some() == other.is_some()
            }
            (Self::FleetAtOnce { .. }, Self::FleetAtOnce { .. }) | (Self::FleetTurn { .. }, Self::FleetTurn { .. }) => {
                true
            }
            _ => self == other,
        }
    }

    /// Describes the reason in a clause that starts in lower case and ends without a full stop.
    #[expect(clippy::too_many_lines, reason = "one arm for each reason")]
    pub fn describe(&self) -> String {
        match self {
            Self::MonitorInAlert {
                monitoring_schedule, ..
            } => format!("monitor `{monitoring_schedule}` is in alert"),
            Self::NothingInFlight => "no pipeline execution of this model is in progress".into(),
            Self::MonitorSilent {
                monitoring_schedule,
                since,
            } => format!(
                "monitor `{monitoring_schedule}` has judged no execution since {}, so it no longer shows whether the drift lasts",
                text::time(*since)
            ),
            Self::NoMonitorInAlert => "no monitor is in alert at present".into(),
            Self::FleetAtOnce { retrainings, limit } => format!(
                "the limit of {} at a time over all models is reached ({retrainings} in progress)",
                text::count(*limit, "retraining")
            ),
            Self::FleetPerDay {
                retrainings,
                limit,
                until,
            } => describe_budget(*retrainings, *limit, "day over all models", *until),
            Self::FleetTurn { models } => format!(
                "{} that wait for a retraining come first, by severity and age",
                text::count(*models, "other model")
            ),
            Self::CommonCause {
                since,
                count,
                check_types,
                ..
            } => {
                let common = match check_types.as_slice() {
                    [] => String::new(),
                    types => format!(" (all with `{}`)", types.join("`, `")),
                };
                format!(
                    "{} drifted within an hour of {}{common}, which has one cause more likely than many; `driftwarden fleet \
                     release` ends the hold",
                    text::count(*count as u64, "model"),
                    text::time(*since)
                )
            }
            Self::StartRefused { error } => format!("AWS refused to start the retraining: {error}"),
            Self::StartMissing { until, error } => {
                let error = error
                    .as_ref()
                    .map_or_else(String::new, |error| format!(" (last error: {error})"));
                format!("no retraining was seen by {}{error}", text::time(*until))
            }
            Self::FactsMissing { error } => format!("the facts for a decision could not be read: {error}"),
            Self::StageOverdue { stage, until } => {
                format!(
                    "stage {} lasted longer than permitted, until {}",
                    stage.as_str(),
                    text::time(*until)
                )
            }
            Self::RunUnknown { execution_arn } => format!("AWS does not know the retraining {execution_arn}"),
            Self::DriftReturned { returns, recurrence } => {
                let recurrence = recurrence.as_ref();
                format!(
                    "the drift returned {} after the incident had ended, and the incident has had its retraining{}",
                    text::count(*returns, "time"),
                    recurrence.map_or_else(String::new, |recurrence| format!("; {recurrence}"))
                )
            }
            Self::DataBroke {
                monitoring_schedule,
                check_types,
            } => format!(
                "monitor `{monitoring_schedule}` found broken input data ({}), and retraining on it would make the \
                 model worse",
                check_types.join(", ")
            ),
            Self::Paused {
                globally,
                by: Some(by),
                at,
                until,
                why,
            } => {
                let what = if *globally { "all models" } else { "the model" };
                let at = at.map_or_else(String::new, |at| format!(" at {}", text::time(at)));
                let until = until.map_or_else(String::new, |until| format!(" until {}", text::time(until)));
                let why = why.as_ref().map_or_else(String::new, |why| format!(" ({why})"));
                format!("operator {by} paused {what}{at}{until}{why}")
            }
            Self::Paused { globally: true, .. } => "the policy pauses retraining for all models".into(),
            Self::Paused { globally: false, .. } => "the policy pauses retraining for this model".into(),
            Self::SeverityBelow {
                severity,
                minimum_severity,
            } => format!(
                "the severity of the alerts is {}, below the minimum severity {}",
                severity.as_str(),
                minimum_severity.as_str()
            ),
            Self::InFlight { execution_arn } => {
                format!("another pipeline execution is in progress ({execution_arn})")
            }
            Self::Cooldown { last_retraining, until } => {
                let (last, until) = (text::time(*last_retraining), text::time(*until));
                format!("the last retraining started at {last}, and the cooldown lasts until {until}")
            }
            Self::BudgetPerDay {
                retrainings,
                limit,
                until,
            } => describe_budget(*retrainings, *limit, "day", *until),
            Self::BudgetPerMonth {
                retrainings,
                limit,
                until,
            } => describe_budget(*retrainings, *limit, "month", *until),
            Self::AutomationLevel {
                automation,
                risk_rating,
            } => format!(
                "the automation level is `{}` (risk rating {})",
                automation.as_str(),
                risk_rating.as_str()
            ),
            Self::ApprovalMissing { until } => {
                format!("waiting for approval; the request expires at {}", text::time(*until))
            }
            Self::ApprovalExpired { at } => format!("the approval request expired at {}", text::time(*at)),
            Self::Approved { by, at } => format!("approved by {by} at {}", text::time(*at)),
            Self::Denied { by, at } => format!("denied by {by} at {}", text::time(*at)),
            Self::RunEnded { execution_arn, status } => {
                format!(
                    "pipeline execution {execution_arn} ended with status {}",
                    status.as_str()
                )
            }
            Self::NotPromoted {
                experiment_id,
                conclusion,
                sentence,
            } => format!(
                "the retrained model was not promoted: experiment {experiment_id} ended with {}. {}",
                conclusion.as_str(),
                sentence.trim_end_matches('.')
            ),
            Self::CandidateMissing {
                model_package_group,
                until,
            } => format!(
                "the retraining succeeded, but no new version of model package group `{model_package_group}` appeared \
                 by {}",
                text::time(*until)
            ),
            Self::DriftPersists {
                monitoring_schedule,
                executions,
            } => format!(
                "monitor `{monitoring_schedule}` is still in alert after {} since the retraining",
                text::count(*executions, "execution")
            ),
        }
    }
}

fn describe_budget(retrainings: u32, limit: u32, period: &str, until: Timestamp) -> String {
    let limit = text::count(limit, "retraining");
    format!(
        "the limit of {limit} per {period} is reached ({retrainings} started); it resets at {}",
        text::time(until)
    )
}

#[cfg(test)]
mod tests;
