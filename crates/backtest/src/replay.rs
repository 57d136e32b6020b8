//! Replay of the executions of all models through ledger, window, decision, and lifecycle, in the order of time.
//!
//! Models affect each other only through the limits of the fleet. So each model is replayed on its own up to the next time
//! at which something happens beside clean executions, and then the earliest of them continues.

use crate::{Delay, ModelReport, Monitor, Recorded};
use alerting::{AlertStateChange, AlertStatus, MonitorLedger, MonitorRules};
use jiff::{SignedDuration, Timestamp};
use machine::{Caller, Outbox};
use remediation::{
    Automation, ExecutionStatus, Facts, Fleet, Input, Levels, ModelDocument, ModelEffect, ModelEffectOutcome,
    PipelineExecution, PipelineStart, Policy, Reason, RemediationApproval, RemediationDecided, RiskRating, Settings,
    StepContext, Verdict, schedule_key,
};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
};

/// Assumed delay between the scheduled time of an execution and its report: an execution starts up to 20 minutes late.
const REPORT_DELAY: SignedDuration = SignedDuration::from_mins(30);
/// Number of intervals after the last execution of a monitor after which it counts as retired, if others continue.
const RETIRED_AFTER_INTERVALS: i32 = 6;

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
    schedule: &'a str,
    rules: MonitorRules,
    ledger: MonitorLedger,
    remaining: std::slice::Iter<'a, Recorded>,
    next: Option<&'a Recorded>,
    /// Scheduled time of the oldest breaching datapoint of the alert.
    drift_since: Option<Timestamp>,
    /// Time at which the monitor counts as retired. `None` as long as it has executions.
    retires_at: Option<Timestamp>,
}

/// Next point in time of a model.
enum Next {
    /// An execution of one of its monitors ended, maybe with a transition of its alert.
    Execution {
        lane: usize,
        change: Option<Box<AlertStateChange>>,
    },
    /// A retraining ends, a monitor retires, or a decision is due.
    Due,
}

/// State of the replay of one model.
struct ModelReplay<'a> {
    lanes: Vec<Lane<'a>>,
    document: ModelDocument,
    policy: &'a Policy,
    settings: &'a Settings,
    assumptions: &'a Assumptions,
    next: Option<(Timestamp, Next)>,
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

/// Replays the executions of all models under a policy. The reports are in the order of the models.
pub fn replay(
    models: &BTreeMap<String, Vec<&Monitor>>,
    policy: &Policy,
    assumptions: &Assumptions,
) -> Vec<ModelReport> {
    let settings = Settings {
        pipeline: "backtest".into(),
        pipeline_start: PipelineStart::Remediate,
    };
    let mut replays: Vec<ModelReplay<'_>> = models
        .iter()
        .map(|(model, monitors)| ModelReplay::new(model, monitors, policy, &settings, assumptions))
        .collect();
    replays.iter_mut().for_each(ModelReplay::run_ahead);
    let mut fleet = Fleet {
        models: replays.len(),
        ..Fleet::default()
    };
    let next = |replay: &ModelReplay<'_>| replay.next.as_ref().map(|(at, _)| *at);
    let first = replays.iter().enumerate();
    let mut due: BinaryHeap<Reverse<(Timestamp, usize)>> = first
        .filter_map(|(index, replay)| Some(Reverse((next(replay)?, index))))
        .collect();
    while let Some(Reverse((_, index))) = due.pop() {
        let Some(replay) = replays.get_mut(index) else { continue };
        loop {
            replay.go_on(&mut fleet);
            replay.run_ahead();
            let Some(at) = next(replay) else { break };
            if due.peek().is_some_and(|Reverse((other, _))| *other < at) {
                due.push(Reverse((at, index)));
                break;
            }
        }
    }
    replays.into_iter().map(ModelReplay::finish).collect()
}

/// Start of the drift of an alert: its oldest breaching datapoint.
fn drift_start(change: &AlertStateChange, rules: &MonitorRules, ledger: &MonitorLedger) -> Option<Timestamp> {
    if change.alert_status != AlertStatus::InAlert {
        return None;
    }
    ledger.oldest_breaching(rules, change.time)
}

fn report_time(recorded: &Recorded) -> Timestamp {
    let at = recorded.scheduled_time.saturating_add(REPORT_DELAY);
    at.unwrap_or(Timestamp::MAX)
}

impl<'a> ModelReplay<'a> {
    fn new(
        model: &str,
        monitors: &[&'a Monitor],
        policy: &'a Policy,
        settings: &'a Settings,
        assumptions: &'a Assumptions,
    ) -> Self {
        let lanes = monitors.iter().map(|monitor| {
            let mut remaining = monitor.executions.iter();
            let next = remaining.next();
            Lane {
                key: schedule_key(&monitor.schedule),
                schedule: &monitor.schedule,
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
                retires_at: None,
            }
        });
        Self {
            lanes: lanes.collect(),
            document: ModelDocument::new(model),
            policy,
            settings,
            assumptions,
            next: None,
            retraining: None,
            decision_due: None,
            drift_since: None,
            report: ModelReport::new(model, monitors.len()),
            alert_delays: Vec::new(),
            retraining_delays: Vec::new(),
        }
    }

    /// Replays executions up to the next time at which something happens to the model.
    fn run_ahead(&mut self) {
        self.next = None;
        loop {
            // A linear search is fast enough, because a model has few monitors.
            let lanes = self.lanes.iter().enumerate();
            let times = lanes.filter_map(|(index, lane)| Some((lane.next?.scheduled_time, index)));
            let Some((_, index)) = times.min() else { return };
            let Some(lane) = self.lanes.get_mut(index) else { return };
            let Some(recorded) = lane.next else { return };
            let now = report_time(recorded);
            let retirements = self.lanes.iter().filter_map(|lane| lane.retires_at);
            let due = [self.retraining.map(|(_, end)| end), self.decision_due];
            let due = due.into_iter().flatten().chain(retirements).min();
            if let Some(due) = due.filter(|due| *due <= now) {
                self.next = Some((due, Next::Due));
                return;
            }
            let Some(lane) = self.lanes.get_mut(index) else { return };
            lane.next = lane.remaining.next();
            self.report.count(recorded);
            let change = lane
                .ledger
                .replay(recorded.scheduled_time, recorded.evidence(), &lane.rules, now);
            if lane.next.is_none() {
                let level = lane.ledger.level(&lane.rules, now);
                lane.retires_at = now
                    .checked_add(level.interval().saturating_mul(RETIRED_AFTER_INTERVALS))
                    .ok();
            }
            if let Some(change) = &change {
                lane.drift_since = drift_start(change, &lane.rules, &lane.ledger);
            }
            if change.is_some() || self.document.incident.is_some() {
                self.next = Some((now, Next::Execution { lane: index, change }));
                return;
            }
        }
    }

    /// Applies what happens next.
    fn go_on(&mut self, fleet: &mut Fleet) {
        match self.next.take() {
            None => {}
            Some((now, Next::Due)) => self.apply_due(now, fleet),
            Some((now, Next::Execution { change: None, .. })) => self.step(Input::Tick, now, fleet),
            Some((
                now,
                Next::Execution {
                    lane,
                    change: Some(change),
                },
            )) => {
                if let Some(since) = self.lanes.get(lane).and_then(|lane| lane.drift_since)
                    && change.alert_status == AlertStatus::InAlert
                {
                    self.report.alerts += 1;
                    self.alert_delays.push(now.duration_since(since).as_secs());
                    if self.document.incident.is_none() {
                        self.drift_since = Some(since);
                    }
                }
                self.step(Input::Alert(change), now, fleet);
            }
        }
    }

    fn apply_due(&mut self, now: Timestamp, fleet: &mut Fleet) {
        let model = self.document.model.clone();
        if let Some((incident, end)) = self.retraining.take_if(|(_, end)| *end <= now) {
            fleet.free(&model, incident, true);
            let execution = PipelineExecution {
                arn: "backtest".into(),
                status: ExecutionStatus::Succeeded,
                start_time: None,
                end_time: Some(end),
            };
            let input = Input::PipelineExecution {
                incident,
                execution,
                at: end,
            };
            return self.step(input, now, fleet);
        }
        for lane in &mut self.lanes {
            if lane.retires_at.take_if(|at| *at <= now).is_some() {
                let monitoring_schedule = lane.schedule.to_owned();
                return self.step(Input::Retired { monitoring_schedule }, now, fleet);
            }
        }
        self.decision_due = None;
        self.step(Input::Tick, now, fleet);
    }

    fn step(&mut self, input: Input, now: Timestamp, fleet: &mut Fleet) {
        let caller = Caller::new("backtest", now);
        let needs = self.document.needs(&input, &caller);
        let lanes = self.lanes.iter().filter(|lane| needs.levels.contains(&lane.key));
        let levels: Levels = lanes
            .map(|lane| (lane.key.clone(), lane.ledger.level(&lane.rules, now)))
            .collect();
        let number = self.document.incident.as_ref().map_or(0, |open| open.number);
        let facts = needs.facts.then(|| Facts {
            in_flight: self
                .retraining
                .iter()
                .map(|(incident, _)| format!("backtest/{incident}"))
                .collect(),
            own_execution: None,
            risk_rating: self.assumptions.risk_rating,
            paused: None,
            fleet: fleet
                .check(&self.document.model, number, &self.policy.fleet(), now)
                .err(),
        });
        let given = StepContext {
            policy: self.policy,
            settings: self.settings,
            levels: &levels,
            facts: facts.as_ref().map(Ok),
        };
        self.document.step(input, given, &caller);
        let pending = std::mem::take(&mut self.document.outbox);
        for entry in Outbox::entries(&pending) {
            if let Some(incident) = entry.effect.start_of() {
                let outcome = self.start(incident, now, fleet);
                let is_held = matches!(outcome, ModelEffectOutcome::Held(_));
                self.document.record_outcome(&entry.effect, outcome);
                if is_held {
                    continue;
                }
            }
            match &entry.effect {
                ModelEffect::PutRemediationDecided(decided) => self.on_decision(decided, now, fleet),
                ModelEffect::PutIncidentClosed(closed) => {
                    *self.report.incidents_closed.entry(closed.outcome.as_str()).or_default() += 1;
                }
                _ => {}
            }
        }
        if self.document.has_start_answer() {
            return self.step(Input::Tick, now, fleet);
        }
        if self.document.waits_for_fleet() {
            fleet.wait(&self.document.start_request(now), &self.policy.fleet());
        }
        let policy = self.policy.model(&self.document.model);
        self.decision_due = self.document.next_decision_at(&policy, now);
    }

    /// Starts the retraining of an incident, if the limits of the fleet allow it.
    fn start(&mut self, incident: u64, now: Timestamp, fleet: &mut Fleet) -> ModelEffectOutcome {
        let end = now
            .saturating_add(self.assumptions.retraining)
            .unwrap_or(Timestamp::MAX);
        if let Err(reason) = fleet.take(&self.document.start_request(now), incident, end, &self.policy.fleet()) {
            ModelEffectOutcome::Held(reason)
        } else {
            self.retraining = Some((incident, end));
            self.report.retrainings += 1;
            if let Some(since) = self.drift_since {
                self.retraining_delays.push(now.duration_since(since).as_secs());
            }
            ModelEffectOutcome::Started("backtest".into())
        }
    }

    fn on_decision(&mut self, decided: &RemediationDecided, now: Timestamp, fleet: &mut Fleet) {
        *self.report.decisions.entry(decided.verdict.as_str()).or_default() += 1;
        let needs_approval_only = decided.verdict == Verdict::Hold
            && decided.reasons.iter().all(|reason| {
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
        if !needs_approval_only {
            return;
        }
        self.report.waiting_for_people += 1;
        if self.assumptions.approved {
            let approval = RemediationApproval {
                incident_id: decided.incident_id.clone(),
                granted: true,
                decision: Some(decided.decision),
                by: "backtest".into(),
                time: now,
                valid_until: None,
                reason: None,
            };
            self.step(Input::Approval(approval), now, fleet);
        }
    }

    fn finish(mut self) -> ModelReport {
        self.report.incidents = self.document.incidents;
        self.report.open = self
            .document
            .incident
            .as_ref()
            .map(|incident| incident.stage().as_str());
        self.report.alert_delay = Delay::from_seconds(self.alert_delays);
        self.report.retraining_delay = Delay::from_seconds(self.retraining_delays);
        #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52 retrainings")]
        let retrainings = self.report.retrainings as f64;
        self.report.cost = retrainings * self.assumptions.cost;
        self.report
    }
}
