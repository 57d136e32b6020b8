//! The executions of one model through ledger, window, decision and lifecycle, in the order of time.

use crate::{Delay, ModelReport, Monitor, Recorded};
use alerting::{AlertStateChange, AlertStatus, MonitorLedger, MonitorRules, Period};
use jiff::{SignedDuration, Timestamp};
use outbox::{Caller, Outbox};
use remediation::{
    Automation, ExecutionStatus, Facts, Given, Input, ModelDocument, ModelEffect, MonitorLevel, PipelineExecution,
    PipelineStart, Policy, Reason, RemediationApproval, RemediationDecided, RiskRating, Settings, Stage, schedule_key,
};
use std::collections::BTreeMap;

/// A report is there about half an hour after its execution is due: started up to 20 minutes late, then analyzed.
const REPORT_AFTER: SignedDuration = SignedDuration::from_mins(30);
/// As many executions as a verification can ask for.
const LEVELS: usize = 100;

/// What history does not tell.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Assumptions {
    /// How long a retraining takes.
    pub retraining: SignedDuration,
    /// Whether a person approves at once whatever they are asked, or suggested.
    pub approved: bool,
    /// The risk rating of the models, where the policy does not say it.
    pub risk_rating: RiskRating,
    /// What a retraining costs, in whatever currency.
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

/// One monitor under way.
struct Lane<'a> {
    key: String,
    rules: MonitorRules,
    ledger: MonitorLedger,
    left: std::slice::Iter<'a, Recorded>,
    next: Option<&'a Recorded>,
    /// Since when its alert has had violations in its window.
    since: Option<Timestamp>,
}

/// A model under way.
struct Model<'a> {
    document: ModelDocument,
    policy: &'a Policy,
    settings: Settings,
    assumptions: &'a Assumptions,
    /// The run in flight: of which incident, and when it ends.
    run: Option<(u64, Timestamp)>,
    /// When the next decision is due by itself.
    due: Option<Timestamp>,
    /// When the drift of the open incident began.
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
            let mut left = monitor.executions.iter();
            let next = left.next();
            Lane {
                key: schedule_key(&monitor.schedule),
                rules: policy.monitor(&monitor.of()).rules,
                ledger: MonitorLedger::new(alerting::Monitor {
                    schedule: monitor.schedule.clone(),
                    endpoint: monitor.endpoint.clone(),
                    model: model.to_owned(),
                    monitor_type: None,
                }),
                left,
                next,
                since: None,
            }
        })
        .collect();
    let mut of = Model {
        document: ModelDocument::new(model),
        policy,
        settings: Settings {
            pipeline: "backtest".into(),
            pipeline_start: PipelineStart::Remediate,
        },
        assumptions,
        run: None,
        due: None,
        drift_since: None,
        report: ModelReport::new(model, monitors.len()),
        alert_delays: Vec::new(),
        retraining_delays: Vec::new(),
    };
    // A model has few monitors: the earliest is found by looking at all of them.
    while let Some(lane) = lanes
        .iter_mut()
        .filter(|lane| lane.next.is_some())
        .min_by_key(|lane| lane.next.map(|recorded| recorded.scheduled_time))
    {
        let Some(recorded) = lane.next.take() else {
            break;
        };
        lane.next = lane.left.next();
        let now = recorded
            .scheduled_time
            .saturating_add(REPORT_AFTER)
            .unwrap_or(Timestamp::MAX);
        of.until(now);
        of.report.count(recorded);
        let change = lane
            .ledger
            .replay(recorded.scheduled_time, recorded.evidence(), &lane.rules, now);
        if let Some(change) = change {
            lane.since = begin_of(&change, &lane.rules, &lane.ledger);
            of.hear(change, lane.since, now);
        }
        if of.document.stage() == Stage::Verifying {
            of.verify(&lanes, now);
        }
    }
    of.finish()
}

/// Since when the drift is there that an alert is about: its oldest breaching datapoint.
fn begin_of(change: &AlertStateChange, rules: &MonitorRules, ledger: &MonitorLedger) -> Option<Timestamp> {
    if change.alert_status != AlertStatus::InAlert {
        return None;
    }
    let window = ledger.window(rules);
    let evaluated = rules.evaluated(&window, ledger.counting(), change.time);
    let mut breaching = evaluated.iter().filter(|(_, period)| *period == Period::Breaching);
    breaching.next().map(|(datapoint, _)| datapoint.scheduled_time)
}

impl Model<'_> {
    /// What comes of time alone: runs end, cooldowns and budgets do.
    fn until(&mut self, now: Timestamp) {
        while let Some(next) = [self.run.map(|(_, end)| end), self.due].into_iter().flatten().min() {
            if next > now {
                break;
            }
            match self.run {
                Some((incident, end)) if end == next => {
                    self.run = None;
                    let execution = PipelineExecution {
                        arn: "backtest".into(),
                        status: ExecutionStatus::Succeeded,
                        start_time: None,
                        end_time: Some(end),
                    };
                    self.step(Input::PipelineExecution { incident, execution }, next);
                }
                _ => {
                    self.due = None;
                    self.step(Input::Tick(BTreeMap::new()), next);
                }
            }
        }
    }

    fn hear(&mut self, change: Box<AlertStateChange>, since: Option<Timestamp>, now: Timestamp) {
        if let Some(since) = since {
            self.report.alerts += 1;
            self.alert_delays.push(now.duration_since(since).as_secs());
            if self.document.incident.is_none() {
                self.drift_since = Some(since);
            }
        }
        self.step(Input::Alert(change), now);
    }

    /// The executions after a retraining decide whether it helped.
    fn verify(&mut self, lanes: &[Lane<'_>], now: Timestamp) {
        let levels = lanes.iter().map(|lane| {
            let level = MonitorLevel {
                judged: lane.ledger.judged(&lane.rules).take(LEVELS).collect(),
                evaluation_period: lane.ledger.window(&lane.rules).evaluation_period(),
            };
            (lane.key.clone(), level)
        });
        self.step(Input::Tick(levels.collect()), now);
    }

    fn step(&mut self, input: Input, now: Timestamp) {
        let facts = Facts {
            in_flight: self
                .run
                .iter()
                .map(|(incident, _)| format!("backtest/{incident}"))
                .collect(),
            risk_rating: self.assumptions.risk_rating,
            paused: None,
        };
        let given = Given {
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
        let owed = std::mem::take(&mut self.document.outbox);
        for entry in Outbox::entries(&owed) {
            match &entry.effect {
                ModelEffect::PutRemediationDecided(decided) => self.decided(decided, now),
                ModelEffect::PutIncidentClosed(closed) => {
                    *self.report.incidents_closed.entry(closed.outcome.as_str()).or_default() += 1;
                }
                _ => {}
            }
        }
        self.due = self.document.incident.as_ref().and_then(|incident| {
            let decision = incident.decision.as_ref().filter(|_| incident.stage.is_undecided())?;
            let asked = incident
                .asked_until
                .filter(|_| incident.stage == Stage::AwaitingApproval);
            decision.until.or(asked).filter(|until| *until > now)
        });
    }

    fn decided(&mut self, decided: &RemediationDecided, now: Timestamp) {
        *self.report.decisions.entry(decided.verdict.as_str()).or_default() += 1;
        match decided.stage {
            Stage::Retraining => {
                let end = now
                    .saturating_add(self.assumptions.retraining)
                    .unwrap_or(Timestamp::MAX);
                self.run = Some((decided.incident, end));
                self.report.retrainings += 1;
                if let Some(since) = self.drift_since {
                    self.retraining_delays.push(now.duration_since(since).as_secs());
                }
            }
            Stage::AwaitingApproval | Stage::Holding => {
                let suggested = decided.reasons.iter().all(|reason| {
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
                if suggested {
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
        self.report.alert_delay = Delay::of(self.alert_delays);
        self.report.retraining_delay = Delay::of(self.retraining_delays);
        #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52 retrainings")]
        let retrainings = self.report.retrainings as f64;
        self.report.cost = retrainings * self.assumptions.cost;
        self.report
    }
}
