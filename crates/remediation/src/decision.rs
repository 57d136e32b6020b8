//! Decisions and their reasons.

use crate::{AlertSnapshot, Automation, ExecutionStatus, ModelPolicy, Paused, RiskRating, Stage};
use alerting::Severity;
use jiff::{Timestamp, ToSpan, civil::Date, tz::TimeZone};
use promotion::Conclusion;
use serde::{Deserialize, Serialize};

/// Response to an incident.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Verdict {
    /// Start the retraining now.
    Retrain,
    /// The input data is broken: fix it. A retraining on it would make the model worse.
    FixData,
    /// Do not retrain now. The reasons say why, and for how long.
    Hold,
    /// The retraining failed or did not help: an operator has to investigate.
    Escalate,
}

impl Verdict {
    /// The name as written in documents and events.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Retrain => "Retrain",
            Self::FixData => "FixData",
            Self::Hold => "Hold",
            Self::Escalate => "Escalate",
        }
    }
}

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
    /// A monitor that is in alert has fallen silent: it is unhealthy, or has judged no execution for three of its intervals.
    /// Its alert shows no longer that the drift lasts.
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
    fn expires_at(&self) -> Option<Timestamp> {
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
            Self::FleetAtOnce { .. } | Self::FleetPerDay { .. } | Self::CommonCause { .. }
        )
    }

    /// Whether both are the same reason. The counts of an alert are not compared, because they change with every
    /// execution.
    fn is_equivalent_to(&self, other: &Self) -> bool {
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
            (Self::DriftReturned { .. }, Self::DriftReturned { .. })
            | (Self::FleetAtOnce { .. }, Self::FleetAtOnce { .. }) => true,
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
                "monitor `{monitoring_schedule}` has judged no execution since {}, so its alert no longer shows drift",
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
            Self::CommonCause { since, count, .. } => format!(
                "{} drifted within an hour of {}, which has one cause more likely than many; `driftwarden fleet release` \
                 ends the hold",
                text::count(*count as u64, "model"),
                text::time(*since)
            ),
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
            Self::DriftReturned { returns } => format!(
                "the drift returned {} after the incident had ended, and the incident has had its retraining",
                text::count(*returns, "time")
            ),
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

/// Start of a day (UTC).
pub(crate) fn midnight(date: Date) -> Timestamp {
    let midnight = date.to_zoned(TimeZone::UTC);
    midnight.map_or(Timestamp::MAX, |zoned| zoned.timestamp())
}

fn describe_budget(retrainings: u32, limit: u32, period: &str, until: Timestamp) -> String {
    let limit = text::count(limit, "retraining");
    format!(
        "the limit of {limit} per {period} is reached ({retrainings} started); it resets at {}",
        text::time(until)
    )
}

/// A decision with its reasons, the policy version, and the alerts that it is based on. Stored with the incident and
/// published as an event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Decision {
    /// Sequence number within the incident, starting at 1.
    pub number: u64,
    /// The response.
    pub verdict: Verdict,
    /// Reasons, in machine-readable form.
    pub reasons: Vec<Reason>,
    /// Verdict, alerts, and reasons in sentences.
    pub sentence: String,
    /// Latest time of the next decision. `None` if time alone changes nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Version of the policy that was applied.
    pub policy_version: String,
    /// Alerts that the decision is based on.
    pub alerts: Vec<AlertSnapshot>,
    /// Hash of what an approval is given for: the monitors in alert, their severities and broken data, and the target of
    /// the retraining. Empty in decisions of the first release.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub fingerprint: String,
    /// Time of the decision.
    pub time: Timestamp,
}

impl Decision {
    /// Makes a decision from a verdict and its reasons. The alerts become reasons, too.
    pub(crate) fn new(
        model: &str,
        verdict: Verdict,
        reasons: Vec<Reason>,
        alerts: Vec<AlertSnapshot>,
        policy_version: &str,
        now: Timestamp,
    ) -> Self {
        let until = reasons.iter().map(Reason::expires_at).collect::<Option<Vec<_>>>();
        let until = until.and_then(|times| times.into_iter().max());
        let sentence = describe(model, verdict, &reasons, &alerts);
        let mut all = Vec::with_capacity(alerts.len() + reasons.len());
        all.extend(alerts.iter().map(|alert| Reason::MonitorInAlert {
            monitoring_schedule: alert.monitoring_schedule.clone(),
            breaching: alert.breaching,
            datapoints_to_alert: alert.datapoints_to_alert,
            evaluation_period: alert.evaluation_period,
        }));
        all.extend(reasons);
        Self {
            number: 0,
            verdict,
            reasons: all,
            sentence,
            until: until.filter(|_| verdict == Verdict::Hold),
            policy_version: policy_version.to_owned(),
            alerts,
            fingerprint: String::new(),
            time: now,
        }
    }

    /// Whether a later decision has the same verdict, the same facts that an approval counts for, and equivalent reasons. Decisions of
    /// the first release do not contain the facts.
    pub(crate) fn is_equivalent_to(&self, other: &Self) -> bool {
        let mut pairs = self.reasons.iter().zip(&other.reasons);
        self.verdict == other.verdict
            && (self.fingerprint.is_empty() || self.fingerprint == other.fingerprint)
            && self.reasons.len() == other.reasons.len()
            && pairs.all(|(reason, other)| reason.is_equivalent_to(other))
    }
}

/// Describes a decision: the verdict, then the alerts, then the reasons.
fn describe(model: &str, verdict: Verdict, reasons: &[Reason], alerts: &[AlertSnapshot]) -> String {
    let response = match verdict {
        Verdict::Retrain => format!("Retrain `{model}`"),
        Verdict::FixData => format!("Fix the input data of `{model}`"),
        Verdict::Hold => format!("Hold the retraining of `{model}`"),
        Verdict::Escalate => format!("Investigate `{model}`"),
    };
    let clauses: Vec<String> = reasons.iter().map(Reason::describe).collect();
    match (describe_alerts(alerts), clauses.split_first()) {
        (Some(alerts), _) => format!("{response}: {alerts}.{}", sentences(&clauses)),
        (None, Some((first, rest))) => format!("{response}: {first}.{}", sentences(rest)),
        (None, None) => format!("{response}."),
    }
}

/// The monitors in alert, and for each of them the reason and the worst violation; `None` without alerts.
fn describe_alerts(alerts: &[AlertSnapshot]) -> Option<String> {
    let detail = |alert: &AlertSnapshot| {
        let worst = alert.describe_worst_violation();
        let worst = worst.map_or_else(String::new, |worst| format!("; worst violation: {worst}"));
        format!("{}{worst}", alert.reason)
    };
    match alerts {
        [] => None,
        [alert] => Some(format!(
            "monitor `{}` is in alert ({})",
            alert.monitoring_schedule,
            detail(alert)
        )),
        _ => {
            let details: Vec<String> = alerts
                .iter()
                .map(|alert| format!("`{}`: {}", alert.monitoring_schedule, detail(alert)))
                .collect();
            Some(format!(
                "monitors {} are in alert ({})",
                text::list(alerts.iter().map(|alert| &alert.monitoring_schedule)),
                details.join("; ")
            ))
        }
    }
}

/// Clauses as sentences, each after a space.
fn sentences(clauses: &[String]) -> String {
    let mut text = String::new();
    for clause in clauses {
        let mut chars = clause.chars();
        text.push(' ');
        text.extend(chars.next().into_iter().flat_map(char::to_uppercase));
        text.push_str(chars.as_str());
        text.push('.');
    }
    text
}

/// What a decision depends on, except the alerts.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct DecisionInput<'a> {
    pub(crate) policy: &'a ModelPolicy,
    pub(crate) risk_rating: RiskRating,
    /// Monitors in alert that are silent, with the time of their last judged execution.
    pub(crate) silent: &'a [(String, Timestamp)],
    /// ARNs of the pipeline executions in progress, no matter who started them.
    pub(crate) in_flight: Vec<&'a str>,
    /// The reason why a start has to wait for other models.
    pub(crate) fleet: Option<Reason>,
    /// Start times of the model's retrainings, oldest first.
    pub(crate) retrainings: &'a [Timestamp],
    pub(crate) approval: Option<&'a Approval>,
    /// The latest pause or resume of all models.
    pub(crate) paused_globally: Option<&'a Pause>,
    /// The latest pause or resume of this model.
    pub(crate) paused: Option<&'a Pause>,
    /// Time at which the approval request expires.
    pub(crate) approval_expires_at: Timestamp,
    pub(crate) now: Timestamp,
}

/// Answer of an approver to the request to retrain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Approval {
    /// True if approved, false if denied.
    pub granted: bool,
    /// Name of the approver.
    pub by: String,
    /// [`Decision::fingerprint`] of the decision that was answered. `None` in answers of the first release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// Time of the answer.
    pub at: Timestamp,
    /// Time at which a granted approval expires.
    pub valid_until: Timestamp,
    /// Reason that the approver gave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The latest pause or resume command: for one model in its state document, for all models in [`PAUSE_KEY`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pause {
    /// True if retraining is paused, false if it is resumed.
    pub paused: bool,
    /// Name of the operator.
    pub by: String,
    /// Time of the command.
    pub time: Timestamp,
    /// Time at which the pause ends. `None`: at the next resume.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Reason that the operator gave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Key of the pause document of all models in the state bucket. It is separate from the state documents of the models,
/// so that it also applies to models that have no document yet.
pub const PAUSE_KEY: &str = "pause.json";

impl Pause {
    /// Whether retraining is paused at that time.
    pub fn is_active(&self, now: Timestamp) -> bool {
        self.paused && self.until.is_none_or(|until| now < until)
    }
}

impl DecisionInput<'_> {
    /// Decides on the response to alerts, and returns the reasons with it.
    pub(crate) fn decide(&self, alerts: &[AlertSnapshot]) -> (Verdict, Vec<Reason>) {
        let broken_data: Vec<Reason> = alerts
            .iter()
            .filter_map(|alert| {
                let indicates_broken_data =
                    |check_type: &&String| self.policy.fix_data_check_types.contains(*check_type);
                let check_types: Vec<String> = alert
                    .check_types
                    .iter()
                    .filter(indicates_broken_data)
                    .cloned()
                    .collect();
                (!check_types.is_empty()).then(|| Reason::DataBroke {
                    monitoring_schedule: alert.monitoring_schedule.clone(),
                    check_types,
                })
            })
            .collect();
        if !broken_data.is_empty() {
            return (Verdict::FixData, broken_data);
        }
        let mut obstacles = Vec::new();
        if alerts.is_empty() {
            obstacles.push(Reason::NoMonitorInAlert);
        } else if self.silent.len() >= alerts.len() {
            let silent = self.silent.iter();
            obstacles.extend(silent.map(|(monitoring_schedule, since)| Reason::MonitorSilent {
                monitoring_schedule: monitoring_schedule.clone(),
                since: *since,
            }));
        }
        if let Some(paused) = self.policy.paused {
            obstacles.push(Reason::Paused {
                globally: paused == Paused::Globally,
                by: None,
                at: None,
                until: None,
                why: None,
            });
        }
        let pauses = [(true, self.paused_globally), (false, self.paused)];
        obstacles.extend(pauses.into_iter().filter_map(|(globally, pause)| {
            let pause = pause.filter(|pause| pause.is_active(self.now))?;
            Some(Reason::Paused {
                globally,
                by: Some(pause.by.clone()),
                at: Some(pause.time),
                until: pause.until,
                why: pause.reason.clone(),
            })
        }));
        let severity = alerts
            .iter()
            .filter_map(|alert| alert.severity)
            .max()
            .unwrap_or_default();
        if severity < self.policy.minimum_severity {
            obstacles.push(Reason::SeverityBelow {
                severity,
                minimum_severity: self.policy.minimum_severity,
            });
        }
        obstacles.extend(self.in_flight.iter().map(|arn| Reason::InFlight {
            execution_arn: (*arn).to_owned(),
        }));
        obstacles.extend(self.cooldown());
        obstacles.extend(self.budget());
        let (permission, denial) = self.check_permission();
        obstacles.extend(denial);
        if obstacles.is_empty() {
            obstacles.extend(self.fleet.clone());
        }
        if obstacles.is_empty() {
            let mut reasons = vec![Reason::NothingInFlight];
            reasons.extend(permission);
            (Verdict::Retrain, reasons)
        } else {
            (Verdict::Hold, obstacles)
        }
    }

    fn cooldown(&self) -> Option<Reason> {
        let last_retraining = *self.retrainings.last()?;
        let until = last_retraining
            .saturating_add(self.policy.cooldown)
            .unwrap_or(Timestamp::MAX);
        (self.now < until).then_some(Reason::Cooldown { last_retraining, until })
    }

    fn budget(&self) -> Vec<Reason> {
        let today = TimeZone::UTC.to_datetime(self.now).date();
        let this_month = today.first_of_month();
        let since = |date: Date| {
            let start = midnight(date);
            let started = self.retrainings.iter().filter(|time| **time >= start).count();
            u32::try_from(started).unwrap_or(u32::MAX)
        };
        let mut reasons = Vec::new();
        let (retrainings, limit) = (since(today), self.policy.retrainings_per_day);
        if retrainings >= limit {
            let until = today.tomorrow().map_or(Timestamp::MAX, midnight);
            reasons.push(Reason::BudgetPerDay {
                retrainings,
                limit,
                until,
            });
        }
        let (retrainings, limit) = (since(this_month), self.policy.retrainings_per_month);
        if retrainings >= limit {
            let until = this_month.checked_add(1.month()).map_or(Timestamp::MAX, midnight);
            reasons.push(Reason::BudgetPerMonth {
                retrainings,
                limit,
                until,
            });
        }
        reasons
    }

    /// Checks whether Driftwarden may act. Returns the reason why, or else the reason why not.
    fn check_permission(&self) -> (Option<Reason>, Option<Reason>) {
        let automation = self.policy.automation(self.risk_rating);
        let level = Reason::AutomationLevel {
            automation,
            risk_rating: self.risk_rating,
        };
        match (automation, self.approval) {
            (Automation::Observe, _) => (None, Some(level)),
            (
                _,
                Some(Approval {
                    granted: false, by, at, ..
                }),
            ) => (
                None,
                Some(Reason::Denied {
                    by: by.clone(),
                    at: *at,
                }),
            ),
            (Automation::Auto, _) => (Some(level), None),
            (
                _,
                Some(Approval {
                    by, at, valid_until, ..
                }),
            ) if self.now < *valid_until => (
                Some(Reason::Approved {
                    by: by.clone(),
                    at: *at,
                }),
                None,
            ),
            (Automation::Suggest, _) => (None, Some(level)),
            (Automation::Approve, _) if self.now >= self.approval_expires_at => (
                None,
                Some(Reason::ApprovalExpired {
                    at: self.approval_expires_at,
                }),
            ),
            (Automation::Approve, _) => (
                None,
                Some(Reason::ApprovalMissing {
                    until: self.approval_expires_at,
                }),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    mod verdicts;

    fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn alert(schedule: &str) -> AlertSnapshot {
        AlertSnapshot {
            id: "alert-1".into(),
            correlation_id: None,
            monitoring_schedule: schedule.into(),
            monitor_type: None,
            endpoint: None,
            severity: Some(Severity::Warning),
            check_types: Vec::new(),
            datapoints_to_alert: 2,
            evaluation_period: 3,
            breaching: 2,
            datapoints: Vec::new(),
            violations: Vec::new(),
            report_uri: None,
            reason: format!("reason of {schedule}"),
        }
    }

    fn decision(verdict: Verdict, reasons: Vec<Reason>, schedules: &[&str]) -> Decision {
        let alerts = schedules.iter().map(|schedule| alert(schedule)).collect();
        Decision::new("churn", verdict, reasons, alerts, "default", Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn sentence_has_verdict_alerts_and_reasons() {
        let sentence =
            |verdict, schedules: &[&str]| decision(verdict, vec![Reason::NothingInFlight], schedules).sentence;
        assert_eq!(
            sentence(Verdict::Retrain, &["a"]),
            "Retrain `churn`: monitor `a` is in alert (reason of a). No pipeline execution of this model is in progress."
        );
        assert_eq!(
            sentence(Verdict::FixData, &["a", "b"]),
            "Fix the input data of `churn`: monitors `a` and `b` are in alert (`a`: reason of a; `b`: reason of b). No \
             pipeline execution of this model is in progress."
        );
        assert_eq!(
            sentence(Verdict::Hold, &["a", "b", "c"]),
            "Hold the retraining of `churn`: monitors `a`, `b`, and `c` are in alert (`a`: reason of a; `b`: reason of b; \
             `c`: reason of c). No pipeline execution of this model is in progress."
        );
        assert_eq!(
            sentence(Verdict::Escalate, &[]),
            "Investigate `churn`: no pipeline execution of this model is in progress."
        );
    }

    #[test]
    fn decisions_are_compared_by_verdict_and_reasons() {
        let hold = |reasons: &[Reason], schedules: &[&str]| decision(Verdict::Hold, reasons.to_vec(), schedules);
        let until = time("2026-11-23T15:00:00Z");
        let first = hold(&[Reason::ApprovalMissing { until }], &["a"]);
        let mut later = first.clone();
        for reason in &mut later.reasons {
            if let Reason::MonitorInAlert { breaching, .. } = reason {
                *breaching += 1;
            }
        }
        assert!(first.is_equivalent_to(&later));
        let others = [
            hold(&[Reason::ApprovalMissing { until }], &["b"]),
            hold(&[Reason::ApprovalMissing { until }], &["a", "b"]),
            hold(&[Reason::ApprovalExpired { at: until }], &["a"]),
            hold(&[], &["a"]),
            decision(Verdict::Escalate, vec![Reason::ApprovalMissing { until }], &["a"]),
        ];
        for other in others {
            assert!(!first.is_equivalent_to(&other), "{}", other.sentence);
        }
    }

    fn times() -> (Timestamp, Timestamp) {
        (time("2026-11-23T15:00:59Z"), time("2026-11-24T15:00:00Z"))
    }

    fn assert_described(described: impl IntoIterator<Item = (Reason, &'static str)>) {
        for (reason, text) in described {
            assert_eq!(reason.describe(), text);
        }
    }

    #[test]
    fn reasons_before_a_retraining_are_described() {
        let (at, until) = times();
        let paused = |globally, by: Option<&str>| Reason::Paused {
            globally,
            by: by.map(Into::into),
            at: by.map(|_| at),
            until: None,
            why: None,
        };
        assert_described([
            (
                Reason::MonitorInAlert {
                    monitoring_schedule: "dq".into(),
                    breaching: 2,
                    datapoints_to_alert: 2,
                    evaluation_period: 3,
                },
                "monitor `dq` is in alert",
            ),
            (
                Reason::DataBroke {
                    monitoring_schedule: "dq".into(),
                    check_types: vec!["data_type_check".into(), "completeness_check".into()],
                },
                "monitor `dq` found broken input data (data_type_check, completeness_check), and retraining on it would \
                 make the model worse",
            ),
            (paused(true, None), "the policy pauses retraining for all models"),
            (paused(false, None), "the policy pauses retraining for this model"),
            (
                paused(true, Some("ada")),
                "operator ada paused all models at 2026-11-23 15:00 UTC",
            ),
            (
                Reason::Paused {
                    globally: false,
                    by: Some("ada".into()),
                    at: Some(at),
                    until: Some(until),
                    why: Some("labels are late".into()),
                },
                "operator ada paused the model at 2026-11-23 15:00 UTC until 2026-11-24 15:00 UTC (labels are late)",
            ),
            (
                Reason::SeverityBelow {
                    severity: Severity::Warning,
                    minimum_severity: Severity::Critical,
                },
                "the severity of the alerts is warning, below the minimum severity critical",
            ),
            (
                Reason::InFlight {
                    execution_arn: "arn:1".into(),
                },
                "another pipeline execution is in progress (arn:1)",
            ),
            (
                Reason::Cooldown {
                    last_retraining: at,
                    until,
                },
                "the last retraining started at 2026-11-23 15:00 UTC, and the cooldown lasts until 2026-11-24 15:00 UTC",
            ),
            (
                Reason::BudgetPerDay {
                    retrainings: 1,
                    limit: 1,
                    until,
                },
                "the limit of 1 retraining per day is reached (1 started); it resets at 2026-11-24 15:00 UTC",
            ),
            (
                Reason::BudgetPerMonth {
                    retrainings: 9,
                    limit: 8,
                    until,
                },
                "the limit of 8 retrainings per month is reached (9 started); it resets at 2026-11-24 15:00 UTC",
            ),
        ]);
    }

    #[test]
    fn answers_and_results_are_described() {
        let (at, until) = times();
        assert_described([
            (
                Reason::AutomationLevel {
                    automation: Automation::Suggest,
                    risk_rating: RiskRating::High,
                },
                "the automation level is `suggest` (risk rating high)",
            ),
            (
                Reason::ApprovalMissing { until },
                "waiting for approval; the request expires at 2026-11-24 15:00 UTC",
            ),
            (
                Reason::ApprovalExpired { at: until },
                "the approval request expired at 2026-11-24 15:00 UTC",
            ),
            (
                Reason::Approved { by: "ada".into(), at },
                "approved by ada at 2026-11-23 15:00 UTC",
            ),
            (
                Reason::Denied { by: "ada".into(), at },
                "denied by ada at 2026-11-23 15:00 UTC",
            ),
            (
                Reason::RunEnded {
                    execution_arn: "arn:1".into(),
                    status: ExecutionStatus::Stopped,
                },
                "pipeline execution arn:1 ended with status Stopped",
            ),
            (
                Reason::NotPromoted {
                    experiment_id: "churn-ab-1".into(),
                    conclusion: Conclusion::RolledBack,
                    sentence: "The candidate lost.".into(),
                },
                "the retrained model was not promoted: experiment churn-ab-1 ended with RolledBack. The candidate lost",
            ),
            (
                Reason::CandidateMissing {
                    model_package_group: "churn".into(),
                    until,
                },
                "the retraining succeeded, but no new version of model package group `churn` appeared by 2026-11-24 15:00 \
                 UTC",
            ),
            (
                Reason::DriftPersists {
                    monitoring_schedule: "dq".into(),
                    executions: 1,
                },
                "monitor `dq` is still in alert after 1 execution since the retraining",
            ),
        ]);
    }
}
