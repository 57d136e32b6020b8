//! A decision, and why.

use crate::{Automation, DecidedAlert, ExecutionStatus, ModelPolicy, Paused, RiskRating};
use alerting::Severity;
use jiff::{Timestamp, ToSpan, civil::Date, tz::TimeZone};
use promotion::Conclusion;
use serde::{Deserialize, Serialize};

/// What is to be done about an incident.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Verdict {
    /// The retraining is started.
    Retrain,
    /// The data broke: retraining on them would make it worse.
    FixData,
    /// Not now; the reasons say why, and until when.
    Hold,
    /// Retraining has not helped, or failed: a person has to look.
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

/// One reason of a decision, for machines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "code", rename_all_fields = "camelCase")]
pub enum Reason {
    /// A monitor of the model is in alert.
    MonitorInAlert {
        /// Its schedule.
        monitoring_schedule: String,
        /// How many datapoints breached.
        breaching: usize,
        /// M.
        datapoints_to_alert: u8,
        /// N.
        evaluation_period: u8,
    },
    /// No retraining of the model is in flight, as SageMaker itself says.
    NothingInFlight,
    /// Violations of these types mean that the data broke.
    DataBroke {
        /// The monitor that found them.
        monitoring_schedule: String,
        /// `constraint_check_type`s.
        check_types: Vec<String>,
    },
    /// A kill switch is on: the policy's, or one that a person has thrown.
    Paused {
        /// That of all models, or that of this one.
        globally: bool,
        /// Who paused it; absent of the policy's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<String>,
        /// When they did.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
        at: Option<Timestamp>,
        /// Until when, if they said.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
        until: Option<Timestamp>,
        /// Why, if they said.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        why: Option<String>,
    },
    /// The alerts are less grave than what is acted on.
    SeverityBelow {
        /// The gravest of them.
        severity: Severity,
        /// What is acted on.
        minimum_severity: Severity,
    },
    /// A run is in flight already, started by whomever.
    InFlight {
        /// Its ARN.
        execution_arn: String,
    },
    /// The last retraining was not long enough ago.
    Cooldown {
        /// When it was started.
        #[cfg_attr(feature = "schema", schemars(with = "String"))]
        last_retraining: Timestamp,
        /// When the next may be.
        #[cfg_attr(feature = "schema", schemars(with = "String"))]
        until: Timestamp,
    },
    /// The day's retrainings are used up.
    BudgetPerDay {
        /// How many there were.
        retrainings: u32,
        /// How many there may be.
        limit: u32,
        /// The next day.
        #[cfg_attr(feature = "schema", schemars(with = "String"))]
        until: Timestamp,
    },
    /// The month's retrainings are used up.
    BudgetPerMonth {
        /// How many there were.
        retrainings: u32,
        /// How many there may be.
        limit: u32,
        /// The next month.
        #[cfg_attr(feature = "schema", schemars(with = "String"))]
        until: Timestamp,
    },
    /// How far Driftwarden may go by itself.
    AutomationLevel {
        /// The level.
        automation: Automation,
        /// The risk rating that it follows from, unless the policy says it.
        risk_rating: RiskRating,
    },
    /// A person has to approve.
    ApprovalMissing {
        /// How long the approval is waited for.
        #[cfg_attr(feature = "schema", schemars(with = "String"))]
        until: Timestamp,
    },
    /// Nobody approved in time.
    ApprovalExpired {
        /// When it was too late.
        #[cfg_attr(feature = "schema", schemars(with = "String"))]
        at: Timestamp,
    },
    /// A person approved.
    Approved {
        /// Who.
        by: String,
        /// When.
        #[cfg_attr(feature = "schema", schemars(with = "String"))]
        at: Timestamp,
    },
    /// A person said no.
    Denied {
        /// Who.
        by: String,
        /// When.
        #[cfg_attr(feature = "schema", schemars(with = "String"))]
        at: Timestamp,
    },
    /// The retraining ended otherwise than well.
    RunEnded {
        /// Its ARN.
        execution_arn: String,
        /// How.
        status: ExecutionStatus,
    },
    /// The retrained model was tested, or was to be, and does not serve.
    NotPromoted {
        /// The experiment.
        experiment_id: String,
        /// How it ended.
        conclusion: Conclusion,
        /// The experiment's last sentence.
        sentence: String,
    },
    /// The retraining succeeded, and no model package of it came.
    CandidateMissing {
        /// Of which model package group.
        model_package_group: String,
        /// When it was waited for no longer.
        #[cfg_attr(feature = "schema", schemars(with = "String"))]
        until: Timestamp,
    },
    /// A monitor is still in alert after the retraining.
    DriftPersists {
        /// Its schedule.
        monitoring_schedule: String,
        /// On how many executions since.
        executions: u32,
    },
}

impl Reason {
    /// Until when it holds by itself; `None` if time alone does not end it.
    fn until(&self) -> Option<Timestamp> {
        match self {
            Self::Cooldown { until, .. } | Self::BudgetPerDay { until, .. } | Self::BudgetPerMonth { until, .. } => {
                Some(*until)
            }
            Self::Paused { until, .. } => *until,
            _ => None,
        }
    }

    /// In words, as a part of a sentence.
    pub fn words(&self) -> String {
        match self {
            Self::MonitorInAlert {
                monitoring_schedule, ..
            } => format!("monitor `{monitoring_schedule}` is in alert"),
            Self::NothingInFlight => "no run of this model is in flight".into(),
            Self::DataBroke {
                monitoring_schedule,
                check_types,
            } => format!(
                "monitor `{monitoring_schedule}` found that the data broke ({}), and retraining on broken data would \
                 make it worse",
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
                let at = at.map_or_else(String::new, |at| format!(" at {}", second(&at)));
                let until = until.map_or_else(String::new, |until| format!(" until {}", second(&until)));
                let why = why.as_ref().map_or_else(String::new, |why| format!(" ({why})"));
                format!("{by} paused {what}{at}{until}{why}")
            }
            Self::Paused { globally: true, .. } => "the kill switch of the policy is on".into(),
            Self::Paused { globally: false, .. } => "the model's kill switch is on".into(),
            Self::SeverityBelow {
                severity,
                minimum_severity,
            } => format!(
                "the alerts are of severity {}, and only {} ones are acted on",
                severity.as_str(),
                minimum_severity.as_str()
            ),
            Self::InFlight { execution_arn } => format!("a run is in flight already ({execution_arn})"),
            Self::Cooldown { last_retraining, until } => {
                let (last, until) = (second(last_retraining), second(until));
                format!("the last retraining was started at {last}, and the cooldown lasts until {until}")
            }
            Self::BudgetPerDay {
                retrainings,
                limit,
                until,
            } => format!(
                "{retrainings} of {limit} retrainings a day are used up until {}",
                second(until)
            ),
            Self::BudgetPerMonth {
                retrainings,
                limit,
                until,
            } => format!(
                "{retrainings} of {limit} retrainings a month are used up until {}",
                second(until)
            ),
            Self::AutomationLevel {
                automation,
                risk_rating,
            } => format!(
                "the automation level is `{}` (risk rating {})",
                automation.as_str(),
                risk_rating.as_str()
            ),
            Self::ApprovalMissing { until } => format!("a person has to approve it until {}", second(until)),
            Self::ApprovalExpired { at } => format!("nobody approved it until {}", second(at)),
            Self::Approved { by, at } => format!("{by} approved it at {}", second(at)),
            Self::Denied { by, at } => format!("{by} said no at {}", second(at)),
            Self::RunEnded { execution_arn, status } => format!("the run {execution_arn} ended: {}", status.as_str()),
            Self::NotPromoted {
                experiment_id,
                conclusion,
                sentence,
            } => format!(
                "the retrained model does not serve: experiment {experiment_id} ended {}. {}",
                conclusion.as_str(),
                sentence.trim_end_matches('.')
            ),
            Self::CandidateMissing {
                model_package_group,
                until,
            } => format!(
                "the retraining succeeded, and until {} no new version of the model package group `{model_package_group}` \
                 came to be tested",
                second(until)
            ),
            Self::DriftPersists {
                monitoring_schedule,
                executions,
            } => format!(
                "monitor `{monitoring_schedule}` is still in alert on {executions} execution{} after the retraining",
                if *executions == 1 { "" } else { "s" }
            ),
        }
    }
}

/// A time as people read it.
fn second(time: &Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// A decision: what, why, by which policy, on which alerts. Kept with the incident, and told on the bus.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Decision {
    /// The how-manieth of the incident, from 1.
    pub number: u64,
    /// What is to be done.
    pub verdict: Verdict,
    /// Why, for machines.
    pub reasons: Vec<Reason>,
    /// Why, for people.
    pub sentence: String,
    /// When it is decided again by itself, at the latest; `None` if time alone changes nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Version (hash) of the policy that decided.
    pub policy_version: String,
    /// The alerts that it was decided on.
    pub alerts: Vec<DecidedAlert>,
    /// When.
    pub time: Timestamp,
}

impl Decision {
    /// Puts a verdict and its reasons into a decision.
    pub(crate) fn new(
        model: &str,
        verdict: Verdict,
        reasons: Vec<Reason>,
        alerts: Vec<DecidedAlert>,
        policy_version: &str,
        now: Timestamp,
    ) -> Self {
        let until = reasons.iter().map(Reason::until).collect::<Option<Vec<_>>>();
        let until = until.and_then(|times| times.into_iter().max());
        let sentence = sentence(model, verdict, &reasons, &alerts);
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
            time: now,
        }
    }

    /// Whether another decision says the same: same verdict, same reasons, about the same monitors.
    pub(crate) fn says_the_same_as(&self, other: &Self) -> bool {
        let essence = |decision: &Self| {
            let reasons = decision.reasons.iter().map(|reason| match reason {
                // How many datapoints breach changes all the time.
                Reason::MonitorInAlert {
                    monitoring_schedule, ..
                } => monitoring_schedule.clone(),
                other => other.words(),
            });
            reasons.collect::<Vec<_>>()
        };
        self.verdict == other.verdict && essence(self) == essence(other)
    }
}

/// A sentence for people.
fn sentence(model: &str, verdict: Verdict, reasons: &[Reason], alerts: &[DecidedAlert]) -> String {
    let alerts: Vec<String> = alerts
        .iter()
        .map(|alert| {
            let worst = alert
                .worst()
                .map_or_else(String::new, |worst| format!(", worst: {worst}"));
            format!("`{}` is in alert ({}){worst}", alert.monitoring_schedule, alert.reason)
        })
        .collect();
    let alerts = match alerts.as_slice() {
        [] => String::new(),
        [one] => format!("monitor {one}. "),
        several => format!("monitors {}. ", several.join("; ")),
    };
    let why = reasons.iter().map(Reason::words).collect::<Vec<_>>().join("; ");
    let begin = match verdict {
        Verdict::Retrain => format!("Retrain `{model}`"),
        Verdict::FixData => format!("Mend the data of `{model}`"),
        Verdict::Hold => format!("Hold the retraining of `{model}`"),
        Verdict::Escalate => format!("Look at `{model}` yourself"),
    };
    let mut why = why.chars();
    let why: String = why.next().into_iter().flat_map(char::to_uppercase).chain(why).collect();
    format!("{begin}: {alerts}{why}.")
}

/// What speaks for and against a retraining, besides the alerts.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Circumstances<'a> {
    pub(crate) policy: &'a ModelPolicy,
    pub(crate) risk_rating: RiskRating,
    /// Runs in flight, of whomever.
    pub(crate) in_flight: &'a [String],
    /// When the model's retrainings were started, oldest first.
    pub(crate) retrainings: &'a [Timestamp],
    pub(crate) approval: Option<&'a Approval>,
    /// What a person last said about pausing all models.
    pub(crate) paused_globally: Option<&'a Pause>,
    /// What a person last said about pausing this one.
    pub(crate) paused: Option<&'a Pause>,
    /// Until when an approval is waited for.
    pub(crate) asked_until: Timestamp,
    pub(crate) now: Timestamp,
}

/// What a person said about an incident's retraining.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Approval {
    /// Yes or no.
    pub granted: bool,
    /// Who.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// Until when a yes holds.
    pub valid_until: Timestamp,
    /// Why, if they said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What a person last said about pausing retrainings: of one model, in its document, or of all, in [`PAUSE_KEY`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pause {
    /// Whether they are held.
    pub paused: bool,
    /// Who said so.
    pub by: String,
    /// When.
    pub time: Timestamp,
    /// Until when they are held; `None` until somebody lets them go on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Why, if they said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The document of the state bucket that holds what was last said about pausing all models. It lies beside the policy, not
/// in the models' documents, so that a model that is not known yet is held as well.
pub const PAUSE_KEY: &str = "pause.json";

impl Pause {
    /// Whether retrainings are held at that time.
    pub fn holds(&self, now: Timestamp) -> bool {
        self.paused && self.until.is_none_or(|until| now < until)
    }
}

impl Circumstances<'_> {
    /// Decides on alerts: what, and why.
    pub(crate) fn decide(&self, alerts: &[DecidedAlert]) -> (Verdict, Vec<Reason>) {
        let broken: Vec<Reason> = alerts
            .iter()
            .filter_map(|alert| {
                let broke = |check_type: &&String| self.policy.fix_data_check_types.contains(*check_type);
                let check_types: Vec<String> = alert.check_types.iter().filter(broke).cloned().collect();
                (!check_types.is_empty()).then(|| Reason::DataBroke {
                    monitoring_schedule: alert.monitoring_schedule.clone(),
                    check_types,
                })
            })
            .collect();
        if !broken.is_empty() {
            return (Verdict::FixData, broken);
        }
        let mut against = Vec::new();
        if let Some(paused) = self.policy.paused {
            against.push(Reason::Paused {
                globally: paused == Paused::Globally,
                by: None,
                at: None,
                until: None,
                why: None,
            });
        }
        let pauses = [(true, self.paused_globally), (false, self.paused)];
        against.extend(pauses.into_iter().filter_map(|(globally, pause)| {
            let pause = pause.filter(|pause| pause.holds(self.now))?;
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
            against.push(Reason::SeverityBelow {
                severity,
                minimum_severity: self.policy.minimum_severity,
            });
        }
        against.extend(self.in_flight.iter().map(|arn| Reason::InFlight {
            execution_arn: arn.clone(),
        }));
        against.extend(self.cooldown());
        against.extend(self.budget());
        let (leave, refused) = self.leave();
        against.extend(refused);
        if against.is_empty() {
            let mut reasons = vec![Reason::NothingInFlight];
            reasons.extend(leave);
            (Verdict::Retrain, reasons)
        } else {
            (Verdict::Hold, against)
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
        let start = |date: Date| {
            date.to_zoned(TimeZone::UTC)
                .map_or(Timestamp::MAX, |zoned| zoned.timestamp())
        };
        let since = |date: Date| {
            let start = start(date);
            let started = self.retrainings.iter().filter(|time| **time >= start).count();
            u32::try_from(started).unwrap_or(u32::MAX)
        };
        let mut reasons = Vec::new();
        let (retrainings, limit) = (since(today), self.policy.retrainings_per_day);
        if retrainings >= limit {
            let until = today.tomorrow().map_or(Timestamp::MAX, start);
            reasons.push(Reason::BudgetPerDay {
                retrainings,
                limit,
                until,
            });
        }
        let (retrainings, limit) = (since(this_month), self.policy.retrainings_per_month);
        if retrainings >= limit {
            let until = this_month.checked_add(1.month()).map_or(Timestamp::MAX, start);
            reasons.push(Reason::BudgetPerMonth {
                retrainings,
                limit,
                until,
            });
        }
        reasons
    }

    /// Whether Driftwarden may act: why it may, or why not.
    fn leave(&self) -> (Option<Reason>, Option<Reason>) {
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
            (Automation::Approve, _) if self.now >= self.asked_until => {
                (None, Some(Reason::ApprovalExpired { at: self.asked_until }))
            }
            (Automation::Approve, _) => (
                None,
                Some(Reason::ApprovalMissing {
                    until: self.asked_until,
                }),
            ),
        }
    }
}
