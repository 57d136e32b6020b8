//! The ledger: the state document of one monitor.

use crate::{
    AlertStateChange, AlertStatus, AlertWindow, Datapoint, DatapointState, EventDatapoint, Evidence, ExecutionWindow,
    HealthStateChange, Level, MaintenanceWindow, Metric, MonitorDatapointDrop, MonitorRules, PastResults, Period,
    PeriodLength, ReportedViolation, TimeWindow, Treatment, ViolationFacts, datapoint::json_size,
    execution_correlation_id, is_ahead,
};
use jiff::{SignedDuration, Timestamp};
use machine::{Caller, GivenUp, Outbox, OutboxDocument};
use model_monitor::MonitorType;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::{BTreeSet, VecDeque};

/// Name of the schedule of the reports that `driftwarden doctor` writes to check the event flow. Its executions are
/// recorded and its metrics are published, but its alert window is never evaluated. So it leads to no notification and
/// no retraining.
pub const DOCTOR_SCHEDULE: &str = "driftwarden-doctor";

/// Maximum number of datapoints in a ledger: the longest evaluation period, and room for datapoints that are late or
/// take no slot in the window. The ledger of an hourly monitor covers 12 days. Time windows also use the results of
/// earlier executions, see [`PastResults`].
pub const MAX_DATAPOINTS: usize = 300;

/// Maximum size of a ledger as JSON in bytes, without pending effects.
pub const MAX_LEDGER_BYTES: usize = 300_000;

/// Maximum size of all datapoints as JSON in bytes. If they are larger, the oldest ones are condensed or removed.
const MAX_DATAPOINT_BYTES: usize = 200_000;

/// Number of latest datapoints that keep violations and jobs, even if the window does not evaluate them. The dashboard
/// shows 48 executions.
const DETAILED_DATAPOINTS: usize = 48;

/// Size of the check types in a ledger as JSON in bytes from which on no further one is added. Model Monitor's take 300.
const MAX_CHECK_TYPE_BYTES: usize = 8_000;

/// Maximum number of dropped datapoints that are recorded.
const MAX_DROPPED: usize = 50;

/// Maximum length of the name of an operator, and of the reason for a drop.
const MAX_DROP_CHARS: usize = 300;

/// Maximum number of datapoints in an event: the longest window over executions.
const MAX_EVENT_DATAPOINTS: usize = 100;

/// Maximum number of report URIs in an event, for the latest datapoints.
const MAX_EVENT_REPORTS: usize = 20;

/// Maximum number of alert transitions in a ledger.
const MAX_TRANSITIONS: usize = 50;

/// Minimum time between two calls to `ListMonitoringAlerts` for a schedule.
const FOLLOW_INTERVAL: SignedDuration = SignedDuration::from_mins(10);

/// Minimum time between two records that a ledger is complete.
const COMPARISON_INTERVAL: SignedDuration = SignedDuration::from_hours(6);

/// Maximum number of check types in an event. Model Monitor has about ten.
const MAX_EVENT_CHECK_TYPES: usize = 16;

/// Maximum number of judged executions in a level: the longest evaluation period.
const MAX_JUDGED: usize = 100;

/// Number of latest intervals between executions of which the median is the usual one.
const INTERVALS: usize = 9;

/// The monitor that a ledger belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Monitor {
    /// Name of the monitoring schedule.
    pub schedule: String,
    /// Name of the monitored endpoint. `None` for batch transform.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// Name of the monitored model.
    pub model: String,
    /// Monitor type. `None` until a report shows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monitor_type: Option<MonitorType>,
}

/// Evidence about an execution.
#[derive(Debug, Clone, PartialEq)]
pub struct Observation {
    /// The monitor, from the event and the policy.
    pub monitor: Monitor,
    /// Scheduled time of the execution, which identifies the datapoint within the monitor.
    pub scheduled_time: Timestamp,
    /// The evidence.
    pub evidence: Evidence,
}

/// Outcome of recording an observation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recorded {
    /// The datapoint is new.
    New,
    /// The evidence of the datapoint changed.
    Changed,
    /// The evidence was known.
    Duplicate,
    /// The execution is older than all datapoints in the ledger. It affects only time windows that are that long.
    TooOld,
    /// The execution is scheduled more than [`MAX_AHEAD`](crate::MAX_AHEAD) after the current time. It is not recorded.
    Ahead,
    /// The datapoint was dropped, and the evidence is not newer than the drop. It is not recorded.
    Dropped,
}

/// Outcome of dropping a datapoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DropOutcome {
    /// The datapoint was removed.
    Dropped,
    /// The ledger has no such datapoint.
    Absent,
    /// The datapoint has evidence that is newer than the command.
    Newer,
}

/// A datapoint that was removed from a ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DroppedDatapoint {
    /// Scheduled time of the execution.
    pub scheduled_time: Timestamp,
    /// State of the datapoint.
    pub state: DatapointState,
    /// Name of the operator, or `driftwarden`.
    pub by: String,
    /// Time of the command. Later evidence about the execution counts again.
    pub time: Timestamp,
    /// Reason.
    pub reason: String,
}

/// Side effect of a change of a ledger.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum MonitorEffect {
    /// Publishes metrics in CloudWatch.
    PublishMetrics(Vec<Metric>),
    /// Publishes `Model Monitor Alert State Change`.
    PutAlertStateChange(Box<AlertStateChange>),
    /// Publishes `Model Monitor Health State Change`.
    PutHealthStateChange(Box<HealthStateChange>),
}

/// The alert of a monitor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Alert {
    /// Status of the alert.
    pub status: AlertStatus,
    /// Number of transitions so far.
    pub transition: u64,
}

/// Health status of a monitor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum HealthStatus {
    /// The monitor produces results.
    #[default]
    Healthy,
    /// The latest executions failed, had no data, or never ran.
    Unhealthy,
    /// The monitor no longer exists, or monitors another model by now. Only events have this status.
    Retired,
}

impl HealthStatus {
    /// Name in events.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "Healthy",
            Self::Unhealthy => "Unhealthy",
            Self::Retired => "Retired",
        }
    }
}

/// The health of a monitor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Health {
    /// Health status.
    pub status: HealthStatus,
    /// Number of transitions so far.
    pub transition: u64,
}

/// A transition of the alert, like an item of SageMaker's `ListMonitoringAlertHistory`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertHistoryItem {
    /// New status.
    pub status: AlertStatus,
    /// Scheduled time of the latest execution.
    pub scheduled_time: Timestamp,
    /// Time of the transition.
    pub time: Timestamp,
}

/// Settings of the schedule's `MonitoringAlert` in SageMaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FollowedAlert {
    /// `DatapointsToAlert` and `EvaluationPeriod`. `None` if the schedule has no alert, or an alert that cannot be
    /// raised.
    pub window: Option<ExecutionWindow>,
    /// Time at which the settings were read.
    pub read_at: Timestamp,
}

/// State document of one monitor: `monitors/{schedule}.json` in the state bucket.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MonitorLedger {
    /// Version of the document format.
    pub version: u32,
    /// The monitor.
    pub monitor: Monitor,
    /// Time at which the ledger was begun. Part of the IDs of its events, so that a ledger that was lost and begun again
    /// does not repeat them. `None` in ledgers of the first release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<Timestamp>,
    /// Datapoints of the latest executions, oldest first, at most [`MAX_DATAPOINTS`].
    pub datapoints: VecDeque<Datapoint>,
    /// Results of earlier executions, for long time windows.
    #[serde(default, skip_serializing_if = "PastResults::is_empty")]
    pub past: PastResults,
    /// Datapoints that were removed, latest last. The number is bounded.
    #[serde(default, skip_serializing_if = "VecDeque::is_empty")]
    pub dropped: VecDeque<DroppedDatapoint>,
    /// Check types that this monitor has reported. The number is bounded.
    #[serde(default)]
    pub check_types: BTreeSet<String>,
    /// Alert of the monitor.
    #[serde(default)]
    pub alert: Alert,
    /// Event of the last transition of the alert, for publishing it again if it was lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_change: Option<Box<AlertStateChange>>,
    /// Latest transitions of the alert, oldest first. The number is bounded.
    #[serde(default, skip_serializing_if = "VecDeque::is_empty")]
    pub history: VecDeque<AlertHistoryItem>,
    /// Health of the monitor.
    #[serde(default)]
    pub health: Health,
    /// Settings of the schedule's `MonitoringAlert`, if the policy follows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub followed: Option<FollowedAlert>,
    /// Latest time for which a sweep evaluated a time window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_of: Option<Timestamp>,
    /// Scheduled time up to which the ledger has every execution that SageMaker lists, as found by a sweep.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compared_until: Option<Timestamp>,
    /// Time of the last change of the baseline: earlier datapoints do not count. `None` if the baseline never changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restarted_at: Option<Timestamp>,
    /// Pending effects.
    #[serde(default)]
    pub outbox: Outbox<MonitorEffect>,
    /// Latest effects that were given up, oldest first. At most 10.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub given_up: Vec<GivenUp>,
    /// Fields of a newer release. They survive a rewrite.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

impl MonitorLedger {
    /// Ledger of a monitor without executions.
    pub fn new(monitor: Monitor) -> Self {
        Self {
            version: 1,
            monitor,
            epoch: None,
            datapoints: VecDeque::new(),
            past: PastResults::default(),
            dropped: VecDeque::new(),
            check_types: BTreeSet::new(),
            alert: Alert::default(),
            last_change: None,
            history: VecDeque::new(),
            health: Health::default(),
            followed: None,
            as_of: None,
            compared_until: None,
            restarted_at: None,
            outbox: Outbox::default(),
            given_up: Vec::new(),
            rest: Map::new(),
        }
    }

    /// Key of the ledger of a schedule in the state bucket. SageMaker lowercases schedule names in ARNs.
    pub fn key(schedule: &str) -> String {
        format!("monitors/{}.json", schedule.to_ascii_lowercase())
    }

    /// The datapoint of an execution, if the ledger has one.
    pub fn datapoint(&self, scheduled_time: Timestamp) -> Option<&Datapoint> {
        self.datapoints.get(self.position(scheduled_time).ok()?)
    }

    /// Records evidence about an execution and evaluates the alert window. Enqueues the metrics of a new or changed
    /// datapoint, and the event of a transition. Bounds the size of the ledger.
    pub fn record(&mut self, observation: Observation, rules: &MonitorRules, caller: &Caller) -> Recorded {
        let Observation {
            monitor,
            scheduled_time,
            evidence,
        } = observation;
        self.drop_ahead(caller.now);
        let (recorded, publish) = if is_ahead(scheduled_time, caller.now) {
            (Recorded::Ahead, None)
        } else {
            if self.datapoints.is_empty() && self.alert.transition == 0 {
                self.epoch.get_or_insert(caller.now);
            }
            self.merge(scheduled_time, evidence, rules)
        };
        if let Some(datapoint) = publish.and_then(|at| self.datapoints.get(at)) {
            let metrics = Metric::for_datapoint(datapoint, &self.monitor, &self.check_types, rules);
            let version = datapoint
                .evidence
                .report
                .as_ref()
                .map_or("none", |report| report.etag.as_str());
            let id = format!("metrics/{scheduled_time}/{}/{version}", datapoint.state().as_str());
            self.outbox.enqueue(id, MonitorEffect::PublishMetrics(metrics), caller);
        }
        if matches!(recorded, Recorded::New | Recorded::Changed) {
            let known_type = self.monitor.monitor_type;
            self.monitor = Monitor {
                monitor_type: monitor.monitor_type.or(known_type),
                ..monitor
            };
        }
        let is_ignored = matches!(recorded, Recorded::Ahead | Recorded::Dropped);
        self.evaluate((!is_ignored).then_some(scheduled_time), rules, caller);
        self.bound(rules);
        recorded
    }

    /// Removes a datapoint as commanded by an operator, records who did it when and why, evaluates the ledger again,
    /// and enqueues the events of transitions. Only evidence that is newer than the command counts again. Repeating the
    /// command changes nothing.
    pub fn drop_datapoint(
        &mut self,
        command: &MonitorDatapointDrop,
        rules: &MonitorRules,
        caller: &Caller,
    ) -> DropOutcome {
        let found = self.position(command.scheduled_time);
        // A clock that is ahead must not hide future evidence.
        let time = command.time.min(caller.now);
        let outcome = match found.ok().and_then(|at| self.datapoints.get(at)) {
            None => DropOutcome::Absent,
            Some(datapoint) if datapoint.evidence.latest_change() > Some(time) => DropOutcome::Newer,
            Some(_) => DropOutcome::Dropped,
        };
        if outcome == DropOutcome::Dropped
            && let Some(datapoint) = found.ok().and_then(|at| self.datapoints.remove(at))
        {
            let short = |text: &str| text.chars().take(MAX_DROP_CHARS).collect();
            self.note_dropped(&datapoint, short(&command.by), time, short(&command.reason));
        }
        self.drop_ahead(caller.now);
        self.evaluate(None, rules, caller);
        self.bound(rules);
        outcome
    }

    /// Whether a datapoint was removed and has not been recorded again.
    pub fn is_dropped(&self, scheduled_time: Timestamp) -> bool {
        let is_same = |dropped: &DroppedDatapoint| dropped.scheduled_time == scheduled_time;
        self.dropped.iter().any(is_same) && self.position(scheduled_time).is_err()
    }

    /// Position of the datapoint of an execution, or the position at which it would be.
    fn position(&self, scheduled_time: Timestamp) -> Result<usize, usize> {
        self.datapoints
            .binary_search_by_key(&scheduled_time, |datapoint| datapoint.scheduled_time)
    }

    fn note_dropped(&mut self, datapoint: &Datapoint, by: String, time: Timestamp, reason: String) {
        let scheduled_time = datapoint.scheduled_time;
        self.dropped.retain(|dropped| dropped.scheduled_time != scheduled_time);
        self.dropped.push_back(DroppedDatapoint {
            scheduled_time,
            state: datapoint.state(),
            by,
            time,
            reason,
        });
        if self.dropped.len() > MAX_DROPPED {
            self.dropped.pop_front();
        }
    }

    /// Removes datapoints that are scheduled too far ahead. Earlier versions of Driftwarden recorded them, and they
    /// would be the newest datapoints for years.
    fn drop_ahead(&mut self, now: Timestamp) {
        let newest_is_ahead = |datapoint: &mut Datapoint| is_ahead(datapoint.scheduled_time, now);
        while let Some(datapoint) = self.datapoints.pop_back_if(newest_is_ahead) {
            let reason = "scheduled more than 2 hours ahead of the time at which it was removed".to_owned();
            self.note_dropped(&datapoint, "driftwarden".to_owned(), now, reason);
        }
    }

    /// Bounds the size of the ledger. Datapoints that neither the window evaluates nor the dashboard shows are
    /// condensed. If the others are still too large, the oldest ones are condensed, too, and removed if that is not
    /// enough. The latest breaching report keeps its violations, because events contain them.
    fn bound(&mut self, rules: &MonitorRules) {
        let window = self.window(rules);
        let shown = self.datapoints.len().saturating_sub(DETAILED_DATAPOINTS);
        let detailed = match self.datapoints.back() {
            None => return,
            Some(newest) => {
                let as_of = self.as_of(newest.scheduled_time);
                let evaluated = rules.evaluated(&window, self.counting(), as_of);
                let oldest = evaluated.first().map(|(datapoint, _)| datapoint.scheduled_time);
                oldest.map_or(shown, |oldest| {
                    let before = self
                        .datapoints
                        .partition_point(|datapoint| datapoint.scheduled_time < oldest);
                    before.min(shown)
                })
            }
        };
        for datapoint in self.datapoints.iter_mut().take(detailed) {
            datapoint.condense(rules);
        }
        let mut sizes: VecDeque<usize> = self.datapoints.iter().map(Datapoint::size).collect();
        let mut total: usize = sizes.iter().sum::<usize>() + sizes.len();
        let latest_report = self
            .datapoints
            .iter()
            .rposition(|datapoint| datapoint.evidence.report.is_some() && rules.judge(datapoint) == Period::Breaching);
        for (at, (datapoint, size)) in self.datapoints.iter_mut().zip(&mut sizes).enumerate() {
            if total <= MAX_DATAPOINT_BYTES {
                break;
            }
            if at >= detailed && Some(at) != latest_report {
                datapoint.condense(rules);
                let condensed = datapoint.size();
                // The result of the rules may take more than what is removed.
                total = (total + condensed).saturating_sub(*size);
                *size = condensed;
            }
        }
        while total > MAX_DATAPOINT_BYTES && self.datapoints.len() > 1 {
            total = total.saturating_sub(sizes.pop_front().unwrap_or_default() + 1);
            if let Some(datapoint) = self.datapoints.pop_front() {
                self.remember(&datapoint, &window, rules);
            }
        }
    }

    /// Adds the result of a datapoint that the ledger does not keep to those of earlier executions.
    fn remember(&mut self, datapoint: &Datapoint, window: &AlertWindow, rules: &MonitorRules) {
        let time = datapoint.scheduled_time;
        if self.restarted_at.is_none_or(|since| time >= since) {
            let result = rules.judge(datapoint);
            self.past.add(time, result, window, &rules.policy_version);
        }
    }

    /// Records that a sweep has compared the ledger with SageMaker's list up to a scheduled time. Because each record
    /// is a write, at most every 6 hours.
    pub fn record_comparison(&mut self, until: Timestamp) {
        let known = self.compared_until.unwrap_or(Timestamp::MIN);
        if until.duration_since(known) >= COMPARISON_INTERVAL {
            self.compared_until = Some(until);
        }
    }

    /// Evaluates the ledger with the current rules and enqueues the events of transitions. This applies a changed
    /// policy, and the passing of time without an execution.
    pub fn sweep(&mut self, rules: &MonitorRules, caller: &Caller) {
        self.drop_ahead(caller.now);
        if matches!(rules.window, AlertWindow::Time { .. }) && !self.datapoints.is_empty() {
            self.as_of = self.as_of.max(Some(caller.now));
        }
        self.evaluate(None, rules, caller);
        self.bound(rules);
    }

    /// Whether only an execution, a changed policy, or a changed baseline can change the ledger: it is OK and healthy, nothing is
    /// pending, and its window does not depend on the time.
    pub fn waits_for_executions(&self, rules: &MonitorRules) -> bool {
        let is_ok = self.alert.status != AlertStatus::InAlert && self.health.status == HealthStatus::Healthy;
        let depends_on_time = matches!(rules.window, AlertWindow::Time { .. }) || rules.follow_monitoring_alert;
        is_ok && self.outbox.is_empty() && !depends_on_time
    }

    /// Restarts the alert window because the baseline of the monitor changed: earlier datapoints no longer take a slot.
    /// The alert is evaluated as if the ledger had started at this time, and is OK until an execution counts. Returns
    /// false if this restart, or a later one, is already recorded.
    pub fn restart(&mut self, at: Timestamp, rules: &MonitorRules, caller: &Caller) -> bool {
        if self.restarted_at.is_some_and(|known| known >= at) {
            return false;
        }
        self.drop_ahead(caller.now);
        self.restarted_at = Some(at);
        self.past.remove_before(at);
        let change = self.update_alert(None, rules, caller.now, true);
        self.enqueue_change(change, caller);
        true
    }

    /// Datapoints that count, newest first: those since the last restart of the window, or all.
    pub fn counting(&self) -> impl Iterator<Item = &Datapoint> {
        let since = self.restarted_at;
        let newest_first = self.datapoints.iter().rev();
        newest_first.take_while(move |datapoint| since.is_none_or(|since| datapoint.scheduled_time >= since))
    }

    /// Records and evaluates like [`MonitorLedger::record`], at the time `now`, but returns the transition of the alert instead
    /// of enqueuing effects. So a replay uses the same code as live executions.
    pub fn replay(
        &mut self,
        scheduled_time: Timestamp,
        evidence: Evidence,
        rules: &MonitorRules,
        now: Timestamp,
    ) -> Option<Box<AlertStateChange>> {
        self.merge(scheduled_time, evidence, rules);
        let change = self.update_alert(Some(scheduled_time), rules, now, false);
        self.update_health(Some(scheduled_time), rules, now);
        change
    }

    /// Whether the settings of the schedule's `MonitoringAlert` have to be read, at most every 10 minutes.
    pub fn needs_monitoring_alert(&self, rules: &MonitorRules, now: Timestamp) -> bool {
        let fresh = |followed: FollowedAlert| now.duration_since(followed.read_at) < FOLLOW_INTERVAL;
        rules.follow_monitoring_alert && !self.followed.is_some_and(fresh)
    }

    /// Effective alert window: that of the schedule's `MonitoringAlert` if the policy follows it and it is known, or
    /// else that of the policy.
    pub fn window(&self, rules: &MonitorRules) -> AlertWindow {
        match self.followed.and_then(|followed| followed.window) {
            Some(window) if rules.follow_monitoring_alert => AlertWindow::Executions(window),
            _ => rules.window,
        }
    }

    /// Scheduled times of the datapoints that take a slot in the window, newest first.
    pub fn judged(&self, rules: &MonitorRules) -> impl Iterator<Item = Timestamp> {
        self.counting()
            .filter(|datapoint| rules.judge(datapoint) != Period::Missing)
            .map(|datapoint| datapoint.scheduled_time)
    }

    /// Updates alert and health, and enqueues the events of transitions. `cause` is the execution with new evidence, if
    /// there is one.
    fn evaluate(&mut self, cause: Option<Timestamp>, rules: &MonitorRules, caller: &Caller) {
        if self.monitor.schedule == DOCTOR_SCHEDULE {
            return;
        }
        let change = self.update_alert(cause, rules, caller.now, false);
        let change = change.or_else(|| self.revise_alert(cause, rules, caller.now));
        self.enqueue_change(change, caller);
        if let Some(change) = self.update_health(cause, rules, caller.now) {
            self.outbox
                .enqueue(change.id.clone(), MonitorEffect::PutHealthStateChange(change), caller);
        }
    }

    fn enqueue_change(&mut self, change: Option<Box<AlertStateChange>>, caller: &Caller) {
        if let Some(change) = change {
            self.last_change = Some(change.clone());
            self.outbox
                .enqueue(change.id.clone(), MonitorEffect::PutAlertStateChange(change), caller);
        }
    }

    /// Merges evidence. Returns the outcome, and the index of the datapoint if it has metrics to publish.
    fn merge(
        &mut self,
        scheduled_time: Timestamp,
        evidence: Evidence,
        rules: &MonitorRules,
    ) -> (Recorded, Option<usize>) {
        let mut dropped = self.dropped.iter();
        if let Some(dropped) = dropped.find(|dropped| dropped.scheduled_time == scheduled_time)
            && evidence.latest_change() <= Some(dropped.time)
        {
            return (Recorded::Dropped, None);
        }
        if let Some(report) = &evidence.report {
            for check_type in report.by_check_type.keys() {
                if !self.check_types.contains(check_type) && json_size(&self.check_types) < MAX_CHECK_TYPE_BYTES {
                    self.check_types.insert(check_type.clone());
                }
            }
        }
        // Most executions arrive in order.
        let newest = self.datapoints.back().map(|datapoint| datapoint.scheduled_time);
        let found = if newest.is_none_or(|newest| newest < scheduled_time) {
            Err(self.datapoints.len())
        } else {
            self.position(scheduled_time)
        };
        match found {
            Ok(at) => {
                let Some(datapoint) = self.datapoints.get_mut(at) else {
                    return (Recorded::Duplicate, None);
                };
                let merged = datapoint.evidence.clone().merge(evidence);
                if merged == datapoint.evidence {
                    return (Recorded::Duplicate, None);
                }
                if datapoint.evidence.is_condensed() {
                    let mut condensed = merged.clone();
                    condensed.condense(rules);
                    if condensed == datapoint.evidence {
                        return (Recorded::Duplicate, None);
                    }
                }
                let published = |evidence: &Evidence| {
                    (
                        evidence.state(),
                        evidence.violations(),
                        evidence.report.as_ref().map(|r| r.etag.clone()),
                    )
                };
                let publish = published(&merged) != published(&datapoint.evidence);
                datapoint.evidence = merged;
                (Recorded::Changed, publish.then_some(at))
            }
            Err(0) if self.datapoints.len() >= MAX_DATAPOINTS => {
                let window = self.window(rules);
                let datapoint = Datapoint {
                    scheduled_time,
                    evidence,
                };
                self.remember(&datapoint, &window, rules);
                (Recorded::TooOld, None)
            }
            Err(mut at) => {
                self.datapoints.insert(
                    at,
                    Datapoint {
                        scheduled_time,
                        evidence,
                    },
                );
                if self.datapoints.len() > MAX_DATAPOINTS
                    && let Some(oldest) = self.datapoints.pop_front()
                {
                    let window = self.window(rules);
                    self.remember(&oldest, &window, rules);
                    at = at.saturating_sub(1);
                }
                (Recorded::New, Some(at))
            }
        }
    }

    fn update_alert(
        &mut self,
        cause: Option<Timestamp>,
        rules: &MonitorRules,
        now: Timestamp,
        restarted: bool,
    ) -> Option<Box<AlertStateChange>> {
        let newest = self.datapoints.back().map(|datapoint| datapoint.scheduled_time);
        // A new ledger has no transition. A ledger whose datapoints were all dropped is OK.
        if newest.is_none() && self.alert.status == AlertStatus::Ok {
            return None;
        }
        let is_empty = newest.is_none();
        let newest = newest.unwrap_or(now);
        let window = self.window(rules);
        let as_of = self.as_of(newest);
        let previous = self.alert.status;
        let status = if is_empty {
            AlertStatus::Ok
        } else if restarted {
            self.status_since_restart(&window, rules, as_of)
        } else {
            self.status(&window, rules, 0, as_of, previous)
        };
        if status == previous {
            return None;
        }
        self.alert = Alert {
            status,
            transition: self.alert.transition + 1,
        };
        self.history.push_back(AlertHistoryItem {
            status,
            scheduled_time: newest,
            time: now,
        });
        if self.history.len() > MAX_TRANSITIONS {
            self.history.pop_front();
        }
        let mut change = self.change(&window, rules, previous, as_of, now);
        change.correlation_id = Some(self.correlation_id(cause.unwrap_or(newest)));
        if let (true, Some(since)) = (restarted, self.restarted_at) {
            let result = if change.datapoints.is_empty() {
                "none of them has a result yet".to_owned()
            } else {
                change.reason
            };
            change.reason = format!(
                "the baseline changed, so only executions scheduled since {} count; {result}",
                text::time(since)
            );
        }
        Some(Box::new(change))
    }

    /// A change of the facts of an alert that lasts: its severity or its check types. Decisions and the routes of
    /// notifications depend on them.
    fn revise_alert(
        &self,
        cause: Option<Timestamp>,
        rules: &MonitorRules,
        now: Timestamp,
    ) -> Option<Box<AlertStateChange>> {
        let last = self.last_change.as_deref()?;
        if self.alert.status != AlertStatus::InAlert || last.alert_status != AlertStatus::InAlert {
            return None;
        }
        let newest = self.datapoints.back()?.scheduled_time;
        let as_of = self.as_of(newest);
        let mut change = self.change(&self.window(rules), rules, AlertStatus::InAlert, as_of, now);
        if change.severity == last.severity && change.check_types == last.check_types {
            return None;
        }
        change.revision = last.revision + 1;
        change.id = format!("{}-{}", change.id.replacen("alert", "level", 1), change.revision);
        change.correlation_id = Some(self.correlation_id(cause.unwrap_or(newest)));
        Some(Box::new(change))
    }

    /// What is true of the monitor now. Decisions depend on it, and not on the event of the last transition.
    pub fn level(&self, rules: &MonitorRules, now: Timestamp) -> Level {
        let newest = self.datapoints.back().map_or(now, |newest| newest.scheduled_time);
        let as_of = self.as_of(newest);
        let window = self.window(rules);
        let last = self.last_change.as_deref();
        let mut alert = self.change(&window, rules, AlertStatus::Ok, as_of, now);
        if let Some(last) = last.filter(|last| last.transition == self.alert.transition) {
            alert.revision = last.revision;
            alert.previous_alert_status = last.previous_alert_status;
            alert.correlation_id.clone_from(&last.correlation_id);
        }
        let transition = self.history.back();
        alert.time = transition.map_or(now, |transition| transition.time);
        let judged: Vec<Timestamp> = self.judged(rules).take(MAX_JUDGED).collect();
        // Newest first. The transition rests on the latest execution that was judged by then, which may be older than the
        // newest one: a changed policy can end an alert without an execution.
        let later = judged
            .iter()
            .take_while(|time| transition.is_none_or(|transition| **time > transition.scheduled_time));
        let later = later.count();
        let raised = self.history.iter().filter(|item| item.status == AlertStatus::InAlert);
        Level {
            alerts: raised.map(|item| item.scheduled_time).collect(),
            health: self.health.status,
            interval: self.interval(),
            judged_since_transition: judged.len().min(later + 1),
            alert,
            judged,
        }
    }

    /// Time with whose period a time window ends: that of the newest execution, or the latest sweep.
    fn as_of(&self, newest: Timestamp) -> Timestamp {
        self.as_of.map_or(newest, |as_of| as_of.max(newest))
    }

    /// Usual time between two executions: the median of the latest ones. `None` with fewer than two executions.
    fn interval(&self) -> Option<SignedDuration> {
        let newest_first = self.datapoints.iter().rev().map(|datapoint| datapoint.scheduled_time);
        let later = newest_first.clone().take(INTERVALS);
        let mut intervals: Vec<SignedDuration> = later
            .zip(newest_first.skip(1))
            .map(|(later, earlier)| later.duration_since(earlier))
            .collect();
        intervals.sort_unstable();
        intervals.get(intervals.len() / 2).copied()
    }

    /// Status from the previous status and the datapoints that count, except the newest `without` ones.
    fn status(
        &self,
        window: &AlertWindow,
        rules: &MonitorRules,
        without: usize,
        as_of: Timestamp,
        previous: AlertStatus,
    ) -> AlertStatus {
        let mut counting = self.counting().skip(without).peekable();
        // A monitor without datapoints that count is OK, however missing periods are treated.
        if self.restarted_at.is_some() && counting.peek().is_none() {
            return AlertStatus::Ok;
        }
        rules.status(window, counting, &self.past, self.restarted_at, as_of, previous)
    }

    /// Status as if the ledger had started at the restart: evaluates the datapoints since then one after the other.
    /// With most windows, only the last one matters. If missing periods keep the status, the earlier ones matter, too.
    fn status_since_restart(&self, window: &AlertWindow, rules: &MonitorRules, as_of: Timestamp) -> AlertStatus {
        let times: Vec<Timestamp> = self.counting().map(|datapoint| datapoint.scheduled_time).collect();
        let oldest_first = times.iter().enumerate().rev();
        let status = oldest_first.fold(AlertStatus::Ok, |previous, (without, time)| {
            self.status(window, rules, without, *time, previous)
        });
        self.status(window, rules, 0, as_of, status)
    }

    /// ID of the event of a transition.
    fn event_id(&self, subject: &str, transition: u64) -> String {
        let schedule = self.monitor.schedule.to_lowercase();
        match self.epoch {
            Some(epoch) => format!("{subject}-{schedule}-{}-{transition}", epoch.as_second()),
            None => format!("{subject}-{schedule}-{transition}"),
        }
    }

    /// Number of breaching periods among the latest N with a result, and their number.
    fn breaching_periods(
        &self,
        rules: &MonitorRules,
        window: &TimeWindow,
        period: PeriodLength,
        as_of: Timestamp,
    ) -> (usize, usize) {
        let periods = rules.periods(window.evaluation_range(), period, self.counting(), &self.past, as_of);
        let with_result = periods.iter().rev().filter(|result| **result != Period::Missing);
        let latest = with_result.take(window.evaluation_periods().into());
        latest.fold((0, 0), |(breaching, all), result| {
            (breaching + usize::from(*result == Period::Breaching), all + 1)
        })
    }

    /// Scheduled time of the oldest breaching execution that the window evaluates. For an execution that is older than
    /// all datapoints, the start of its day (or hour).
    pub fn oldest_breaching(&self, rules: &MonitorRules, as_of: Timestamp) -> Option<Timestamp> {
        let window = self.window(rules);
        let evaluated = rules.evaluated(&window, self.counting(), as_of);
        let mut breaching = evaluated.iter().filter(|(_, period)| *period == Period::Breaching);
        let oldest = breaching.next().map(|(datapoint, _)| datapoint.scheduled_time);
        let AlertWindow::Time { window, period } = window else {
            return oldest;
        };
        let newest = period.index(as_of);
        let range = i64::try_from(window.evaluation_range()).unwrap_or(i64::MAX);
        let past = self.past.newest_first(period);
        let in_range = past.take_while(|(time, _)| newest - period.index(*time) < range);
        let breaching = in_range.filter(|(_, result)| *result == Period::Breaching);
        breaching.last().map(|(time, _)| time).or(oldest)
    }

    fn correlation_id(&self, scheduled_time: Timestamp) -> String {
        execution_correlation_id(&self.monitor.schedule, scheduled_time)
    }

    /// Event of the latest transition.
    fn change(
        &self,
        window: &AlertWindow,
        rules: &MonitorRules,
        previous: AlertStatus,
        as_of: Timestamp,
        now: Timestamp,
    ) -> AlertStateChange {
        let all_evaluated = rules.evaluated(window, self.counting(), as_of);
        let listed = all_evaluated.len().saturating_sub(MAX_EVENT_DATAPOINTS);
        let evaluated = all_evaluated.get(listed..).unwrap_or_default();
        let severities = all_evaluated
            .iter()
            .filter(|(_, period)| *period == Period::Breaching)
            .map(|(datapoint, _)| rules.severity(datapoint).unwrap_or_default());
        let reports = all_evaluated
            .iter()
            .rev()
            .filter(|(datapoint, period)| {
                *period == Period::Breaching && datapoint.state() == DatapointState::Violations
            })
            .filter_map(|(datapoint, _)| datapoint.evidence.report.as_ref());
        let latest_report = reports.clone().next();
        // All breaching datapoints count: a feed that breaks every other hour must not change the decision every hour.
        let check_types: BTreeSet<String> = reports.flat_map(|report| rules.check_types(report)).collect();
        let breaching = evaluated
            .iter()
            .filter(|(_, period)| *period == Period::Breaching)
            .count();
        let (m, n) = (window.datapoints_to_alert(), window.evaluation_period());
        let (reason, period) = match window {
            AlertWindow::Executions(_) => {
                let (breached, not_breached) = if rules.treatment == Treatment::default() {
                    ("had violations", "had no violations")
                } else {
                    ("breached", "did not breach")
                };
                let result = match (evaluated.len(), breaching) {
                    (0, _) => "no execution counts".to_owned(),
                    (1, 0) => format!("the last execution {not_breached}"),
                    (1, _) => format!("the last execution {breached}"),
                    (executions, _) => format!("{breaching} of the last {executions} executions {breached}"),
                };
                let reason = format!("{result}; alert at {m} of {n}");
                (reason, None)
            }
            AlertWindow::Time { window, period } => {
                let missing = window.treat_missing_data().as_str();
                let (breaching, all) = self.breaching_periods(rules, window, *period, as_of);
                let result = match (all, breaching) {
                    (0, _) => format!("no period of {period} has a result"),
                    (1, 0) => format!("the last period of {period} with a result did not breach"),
                    (1, _) => format!("the last period of {period} with a result breached"),
                    (all, _) => format!("{breaching} of the last {all} periods of {period} with a result breached"),
                };
                let reason = format!("{result}; alert at {m} of {n} periods, missing periods are treated as {missing}");
                (reason, Some(period.to_string()))
            }
        };
        AlertStateChange {
            version: "1".into(),
            id: self.event_id("alert", self.alert.transition),
            correlation_id: None,
            model: self.monitor.model.clone(),
            endpoint: self.monitor.endpoint.clone(),
            monitoring_schedule: self.monitor.schedule.clone(),
            monitor_type: self.monitor.monitor_type.map(|kind| kind.to_string()),
            epoch: self.epoch,
            transition: self.alert.transition,
            revision: 0,
            alert_status: self.alert.status,
            previous_alert_status: previous,
            // The breaching executions may be older than all datapoints.
            severity: (self.alert.status == AlertStatus::InAlert).then(|| severities.max().unwrap_or_default()),
            datapoints_to_alert: m,
            evaluation_period: n,
            period,
            breaching,
            datapoints: evaluated
                .iter()
                .enumerate()
                .map(|(at, (datapoint, _))| {
                    let datapoint = EventDatapoint::from(*datapoint);
                    let is_late = at + MAX_EVENT_REPORTS >= evaluated.len();
                    EventDatapoint {
                        report_uri: datapoint.report_uri.filter(|_| is_late),
                        ..datapoint
                    }
                })
                .collect(),
            violations: latest_report
                .map(|report| {
                    let counts =
                        |violation: &&ReportedViolation| rules.severity_of(&ViolationFacts::from(*violation)).is_some();
                    report.top.iter().filter(counts).cloned().collect()
                })
                .unwrap_or_default(),
            check_types: check_types.into_iter().take(MAX_EVENT_CHECK_TYPES).collect(),
            report_uri: latest_report.map(|report| report.uri.clone()),
            reason,
            policy_version: rules.policy_version.clone(),
            time: now,
        }
    }

    fn update_health(
        &mut self,
        cause: Option<Timestamp>,
        rules: &MonitorRules,
        now: Timestamp,
    ) -> Option<Box<HealthStateChange>> {
        let has_no_result = |datapoint: &&Datapoint| {
            let covers = |window: &MaintenanceWindow| window.covers(datapoint.scheduled_time);
            matches!(
                datapoint.state(),
                DatapointState::Failed | DatapointState::NoData | DatapointState::Missing
            ) && !rules.maintenance.iter().any(covers)
        };
        let in_a_row = self.datapoints.iter().rev().take_while(has_no_result).count();
        let after = usize::from(rules.unhealthy_after);
        let status = if after > 0 && in_a_row >= after {
            HealthStatus::Unhealthy
        } else {
            HealthStatus::Healthy
        };
        if status == self.health.status {
            return None;
        }
        self.health = Health {
            status,
            transition: self.health.transition + 1,
        };
        let latest = self
            .datapoints
            .iter()
            .skip(self.datapoints.len().saturating_sub(in_a_row.clamp(1, 10)));
        let reason = match status {
            HealthStatus::Unhealthy if in_a_row == 1 => {
                "the last execution failed, had no data, or never ran; drift is not detected until the monitor recovers"
                    .to_owned()
            }
            HealthStatus::Unhealthy => format!(
                "the last {in_a_row} executions failed, had no data, or never ran; drift is not detected until the monitor \
                 recovers"
            ),
            HealthStatus::Healthy | HealthStatus::Retired => "the latest execution has a result again".to_owned(),
        };
        Some(Box::new(HealthStateChange {
            version: "1".into(),
            id: self.event_id("health", self.health.transition),
            correlation_id: cause
                .or_else(|| self.datapoints.back().map(|datapoint| datapoint.scheduled_time))
                .map(|time| self.correlation_id(time)),
            model: self.monitor.model.clone(),
            endpoint: self.monitor.endpoint.clone(),
            monitoring_schedule: self.monitor.schedule.clone(),
            transition: self.health.transition,
            health_status: status,
            in_a_row,
            datapoints: latest.map(EventDatapoint::from).collect(),
            reason,
            policy_version: rules.policy_version.clone(),
            time: now,
        }))
    }
}

impl From<&Datapoint> for EventDatapoint {
    fn from(datapoint: &Datapoint) -> Self {
        Self {
            scheduled_time: datapoint.scheduled_time,
            state: datapoint.state(),
            violations: datapoint.evidence.violations(),
            report_uri: datapoint.evidence.report.as_ref().map(|report| report.uri.clone()),
        }
    }
}

impl OutboxDocument for MonitorLedger {
    type Effect = MonitorEffect;
    type Done = ();

    fn outbox(&mut self) -> &mut Outbox<MonitorEffect> {
        &mut self.outbox
    }

    fn note_given_up(&mut self, given_up: GivenUp) {
        given_up.record(&mut self.given_up);
    }
}
