//! Decisions: what they depend on, and what they say.

use crate::{AlertSnapshot, Automation, ModelPolicy, Paused, Reason, RiskRating, time::midnight};
use jiff::{Timestamp, ToSpan, civil::Date, tz::TimeZone};
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
    use alerting::Severity;

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
}
