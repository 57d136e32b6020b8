//! Replay of one model's executions through ledger, window, decision, and lifecycle, in the order of time.

use crate::{Delay, ModelReport, Monitor, Recorded};
use alerting::{AlertStateChange, AlertStatus, MonitorLedger, MonitorRules};
use jiff::{SignedDuration, Timestamp};
use outbox::{Caller, Outbox};
use remediation::{
    Automation, ExecutionStatus, Facts, Input, ModelDocument, ModelEffect, MonitorLevel, PipelineExecution,
    PipelineStart, Policy, Reason, RemediationApproval, RemediationDecided, RiskRating, Settings, Stage, StepContext,
    schedule_key,
};
use std::collections::BTreeMap;

/// Assumed delay between the scheduled time of an execution and its report: an execution starts up to 20 minutes late.
const REPORT_DELAY: SignedDuration = SignedDuration::from_mins(30);
/// Maximum number of executions that a verification can require.
const MAX_VERIFY_EXECUTIONS: usize = 100;

/// Assumptions about facts that the history does not contain.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Assumptions {
    /// Duration of a retraining.
    pub retraining: SignedDuration,
    /// Whether approval requests and suggestions are approved immediately.
    pub approved: bool,
    /// Risk rating of models for which the policy does not set one.
    pub risk_rating: RiskRating,
    /// Cost of one retraining, in any currency.
    pub cost: f64,
}

impl Default for Assumptions {
    fn default() -> Self {
        Self {
            retraining: SignedDuration::from_hours(2),
            approved: false,
            risk_rating: RiskRating::Unknown,
            cost: 0.0,
        }
    }
}

/// State of the replay of one monitor.
struct Lane<'a> {
    key: String,
    rules: MonitorRules,
    ledger: MonitorLedger,
    remaining: std::slice::Iter<'a, Recorded>,
    next: Option<&'a Recorded>,
    /// Scheduled time of the oldest breaching datapoint of the alert.
    drift_since: Option<Timestamp>,
}

/// State of the replay of one model.
struct ModelReplay<'a> {
    document: ModelDocument,
    policy: &'a Policy,
    settings: Settings,
    assumptions: &'a Assumptions,
    /// Retraining in progress: the number of its incident, and its end.
    retraining: Option<(u64, Timestamp)>,
    /// Time of the next decision without new input.
    decision_due: Option<Timestamp>,
    /// Start of the drift of the open incident.
    drift_since: Option<Timestamp>,
    report: ModelReport,
    alert_delays: Vec<i64>,
    retraining_delays: Vec<i64>,
}

/// Replays the executions of one model's monitors under a policy.
pub fn replay(model: &str, monitors: &[&Monitor], policy: &Policy, assumptions: &Assumptions) -> ModelReport {
    let mut lanes: Vec<Lane<'_>> = monitors
        .iter()
        .map(|monitor| {
            let mut remaining = monitor.executions.iter();
            let next = remaining.next();
            Lane {
                key: schedule_key(&monitor.schedule),
                rules: policy.monitor(&monitor.to_ref()).rules,
                ledger: MonitorLedger::new(alerting::Monitor {
                    schedule: monitor.schedule.clone(),
                    endpoint: monitor.endpoint.clone(),
                    model: model.to_owned(),
                    monitor_type: None,
                }),
                remaining,
                next,
                drift_since: None,
            }
        })
        .collect();
    let mut replay = ModelReplay {
        document: ModelDocument::new(model),
        policy,
        settings: Settings {
            pipeline: "backtest".into(),
            pipeline_start: PipelineStart::Remediate,
        },
        assumptions,
        retraining: None,
        decision_due: None,
        drift_since: None,
        report: ModelReport::new(model, monitors.len()),
        alert_delays: Vec::new(),
        retraining_delays: Vec::new(),
    };
    // A linear search is fast enough, because a model has few monitors.
    while let Some(lane) = lanes
        .iter_mut()
        .filter(|lane| lane.next.is_some())
        .min_by_key(|lane| lane.next.map(|recorded| recorded.scheduled_time))
    {
        let Some(recorded) = lane.next.take() else {
            break;
        };
        lane.next = lane.remaining.next();
        let now = recorded
            .scheduled_time
            .saturating_add(REPORT_DELAY)
            .unwrap_or(Timestamp::MAX);
        replay.advance_to(now);
        replay.report.count(recorded);
        let change = lane
            .ledger
            .replay(recorded.scheduled_time, recorded.evidence(), &lane.rules, now);
        if let Some(change) = change {
            lane.drift_since = drift_start(&change, &lane.rules, &lane.ledger);
            replay.on_alert(change, lane.drift_since, now);
        }
        if replay.document.stage() == Stage::Verifying {
            replay.verify(&lanes, now);
        }
    }
    replay.finish()
}

/// Start of the drift of an alert: its oldest breaching datapoint.
fn drift_start(change: &AlertStateChange, rules: &MonitorRules, ledger: &MonitorLedger) -> Option<Timestamp> {
    if change.alert_status != AlertStatus::InAlert {
        return None;
    }
    ledger.oldest_breaching(rules, change.time)
}

impl ModelReplay<'_> {
    /// Applies what happens up to a time without an execution: the ends of retrainings, cooldowns, and budgets.
    fn advance_to(&mut self, now: Timestamp) {
        while let Some(next) = [self.retraining.map(|(_, end)| end), self.decision_due]
            .into_iter()
            .flatten()
            .min()
        {
            if next > now {
                break;
            }
            match self.retraining {
                Some((incident, end)) if end == next => {
                    self.retraining = None;
                    let execution = PipelineExecution {
                        arn: "backtest".into(),
                        status: ExecutionStatus::Succeeded,
                        start_time: None,
                        end_time: Some(end),
                    };
                    self.step(Input::PipelineExecution { incident, execution }, next);
                }
                _ => {
                    self.decision_due = None;
                    self.step(Input::Tick(BTreeMap::new()), next);
                }
            }
        }
    }

    fn on_alert(&mut self, change: Box<AlertStateChange>, since: Option<Timestamp>, now: Timestamp) {
        if let Some(since) = since {
            self.report.alerts += 1;
            self.alert_delays.push(now.duration_since(since).as_secs());
            if self.document.incident.is_none() {
                self.drift_since = Some(since);
            }
        }
        self.step(Input::Alert(change), now);
    }

    /// Applies the executions after a retraining, which show whether it helped.
    fn verify(&mut self, lanes: &[Lane<'_>], now: Timestamp) {
        let levels = lanes.iter().map(|lane| {
            let level = MonitorLevel {
                judged: lane.ledger.judged(&lane.rules).take(MAX_VERIFY_EXECUTIONS).collect(),
                evaluation_period: lane.ledger.window(&lane.rules).evaluation_period(),
            };
            (lane.key.clone(), level)
        });
        self.step(Input::Tick(levels.collect()), now);
    }

    fn step(&mut self, input: Input, now: Timestamp) {
        let facts = Facts {
            in_flight: self
                .retraining
                .iter()
                .map(|(incident, _)| format!("backtest/{incident}"))
                .collect(),
            risk_rating: self.assumptions.risk_rating,
            paused: None,
        };
        let given = StepContext {
            policy: self.policy,
            settings: &self.settings,
            facts: Some(&facts),
        };
        let caller = Caller {
            id: "backtest".into(),
            now,
            lease: SignedDuration::ZERO,
        };
        self.document.step(input, given, &caller);
        let pending = std::mem::take(&mut self.document.outbox);
        for entry in Outbox::entries(&pending) {
            match &entry.effect {
                ModelEffect::PutRemediationDecided(decided) => self.on_decision(decided, now),
                ModelEffect::PutIncidentClosed(closed) => {
                    *self.report.incidents_closed.entry(closed.outcome.as_str()).or_default() += 1;
                }
                _ => {}
            }
        }
        self.decision_due = self.document.incident.as_ref().and_then(|incident| {
            let decision = incident.decision.as_ref().filter(|_| incident.stage.is_undecided())?;
            let expires_at = incident
                .approval_expires_at
                .filter(|_| incident.stage == Stage::AwaitingApproval);
            decision.until.or(expires_at).filter(|until| *until > now)
        });
    }

    fn on_decision(&mut self, decided: &RemediationDecided, now: Timestamp) {
        *self.report.decisions.entry(decided.verdict.as_str()).or_default() += 1;
        match decided.stage {
            Stage::Retraining => {
                let end = now
                    .saturating_add(self.assumptions.retraining)
                    .unwrap_or(Timestamp::MAX);
                self.retraining = Some((decided.incident, end));
                self.report.retrainings += 1;
                if let Some(since) = self.drift_since {
                    self.retraining_delays.push(now.duration_since(since).as_secs());
                }
            }
            Stage::AwaitingApproval | Stage::Holding => {
                let needs_approval_only = decided.reasons.iter().all(|reason| {
                    matches!(
                        reason,
                        Reason::MonitorInAlert { .. }
                            | Reason::ApprovalMissing { .. }
                            | Reason::AutomationLevel {
                                automation: Automation::Suggest,
                                ..
                            }
                    )
                });
                if needs_approval_only {
                    self.report.waiting_for_people += 1;
                    if self.assumptions.approved {
                        let approval = RemediationApproval {
                            incident_id: decided.incident_id.clone(),
                            granted: true,
                            by: "backtest".into(),
                            time: now,
                            valid_until: None,
                            reason: None,
                        };
                        self.step(Input::Approval(approval), now);
                    }
                }
            }
            _ => {}
        }
    }

    fn finish(mut self) -> ModelReport {
        self.report.incidents = self.document.incidents;
        self.report.open = self.document.incident.as_ref().map(|incident| incident.stage.as_str());
        self.report.alert_delay = Delay::from_seconds(self.alert_delays);
        self.report.retraining_delay = Delay::from_seconds(self.retraining_delays);
        #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52 retrainings")]
        let retrainings = self.report.retrainings as f64;
        self.report.cost = retrainings * self.assumptions.cost;
        self.report
    }
}
