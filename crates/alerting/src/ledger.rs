//! The ledger: the state document of one monitor.

use crate::{
    AlertStateChange, AlertStatus, AlertWindow, Datapoint, DatapointState, EventDatapoint, Evidence, ExecutionWindow,
    HealthStateChange, MaintenanceWindow, Metric, MonitorRules, Period, ReportedViolation, Treatment, ViolationFacts,
    execution_correlation_id,
};
use jiff::{SignedDuration, Timestamp};
use model_monitor::MonitorType;
use outbox::{Caller, Outbox};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::{BTreeSet, VecDeque};

/// Name of the schedule of the reports that `driftwarden doctor` writes to check the event flow. Its executions are
/// recorded and its metrics are published, but its alert window is never evaluated. So it leads to no notification and
/// no retraining.
pub const DOCTOR_SCHEDULE: &str = "driftwarden-doctor";

/// Maximum number of datapoints in a ledger: the longest evaluation period, and room for datapoints that are late or
/// take no slot in the window. The ledger of an hourly monitor covers 12 days.
pub const MAX_DATAPOINTS: usize = 300;

/// Maximum number of alert transitions in a ledger.
const MAX_TRANSITIONS: usize = 50;

/// Minimum time between two calls to `ListMonitoringAlerts` for a schedule.
const FOLLOW_INTERVAL: SignedDuration = SignedDuration::from_mins(10);

/// Minimum time between two records that a ledger is complete.
const COMPARISON_INTERVAL: SignedDuration = SignedDuration::from_hours(6);

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
    /// The execution is older than all datapoints in the ledger, and cannot affect the window.
    TooOld,
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
}

impl HealthStatus {
    /// Name in events.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "Healthy",
            Self::Unhealthy => "Unhealthy",
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
    /// Datapoints of the latest executions, oldest first, at most [`MAX_DATAPOINTS`].
    pub datapoints: VecDeque<Datapoint>,
    /// Check types that this monitor has reported.
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
            datapoints: VecDeque::new(),
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
            rest: Map::new(),
        }
    }

    /// Records evidence about an execution and evaluates the alert window. Enqueues the metrics of a new or changed
    /// datapoint, and the event of a transition.
    pub fn record(&mut self, observation: Observation, rules: &MonitorRules, caller: &Caller) -> Recorded {
        let Observation {
            monitor,
            scheduled_time,
            evidence,
        } = observation;
        let (recorded, publish) = self.merge(scheduled_time, evidence);
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
        self.evaluate(Some(scheduled_time), rules, caller);
        recorded
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
        if matches!(rules.window, AlertWindow::Time { .. }) && !self.datapoints.is_empty() {
            self.as_of = self.as_of.max(Some(caller.now));
        }
        self.evaluate(None, rules, caller);
    }

    /// Restarts the alert window because the baseline of the monitor changed: earlier datapoints no longer take a slot.
    /// The alert is evaluated as if the ledger had started at this time, and is OK until an execution counts. Returns
    /// false if this restart, or a later one, is already recorded.
    pub fn restart(&mut self, at: Timestamp, rules: &MonitorRules, caller: &Caller) -> bool {
        if self.restarted_at.is_some_and(|known| known >= at) {
            return false;
        }
        self.restarted_at = Some(at);
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

    /// Records and evaluates like [`MonitorLedger::record`], at the time `now`, but returns the transition instead of
    /// enqueuing it. So a replay uses the same code as live executions.
    pub fn replay(
        &mut self,
        scheduled_time: Timestamp,
        evidence: Evidence,
        rules: &MonitorRules,
        now: Timestamp,
    ) -> Option<Box<AlertStateChange>> {
        self.merge(scheduled_time, evidence);
        self.update_alert(Some(scheduled_time), rules, now, false)
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
    fn merge(&mut self, scheduled_time: Timestamp, evidence: Evidence) -> (Recorded, Option<usize>) {
        if let Some(report) = &evidence.report {
            for check_type in report.by_check_type.keys() {
                if !self.check_types.contains(check_type) {
                    self.check_types.insert(check_type.clone());
                }
            }
        }
        // Most executions arrive in order.
        let newest = self.datapoints.back().map(|datapoint| datapoint.scheduled_time);
        let found = if newest.is_none_or(|newest| newest < scheduled_time) {
            Err(self.datapoints.len())
        } else {
            self.datapoints
                .binary_search_by_key(&scheduled_time, |datapoint| datapoint.scheduled_time)
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
            Err(0) if self.datapoints.len() >= MAX_DATAPOINTS => (Recorded::TooOld, None),
            Err(mut at) => {
                self.datapoints.insert(
                    at,
                    Datapoint {
                        scheduled_time,
                        evidence,
                    },
                );
                if self.datapoints.len() > MAX_DATAPOINTS {
                    self.datapoints.pop_front();
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
        let newest = self.datapoints.back()?.scheduled_time;
        let window = self.window(rules);
        let as_of = self.as_of.map_or(newest, |as_of| as_of.max(newest));
        let previous = self.alert.status;
        let status = if restarted {
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
        rules.status(window, counting, self.restarted_at, as_of, previous)
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
        let evaluated = rules.evaluated(window, self.counting(), as_of);
        let latest_breaching = evaluated.iter().rev().find(|(_, period)| *period == Period::Breaching);
        let latest_report = evaluated
            .iter()
            .rev()
            .filter(|(datapoint, period)| {
                *period == Period::Breaching && datapoint.state() == DatapointState::Violations
            })
            .find_map(|(datapoint, _)| datapoint.evidence.report.as_ref());
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
                let reason = format!(
                    "{} breached in the latest periods of {period}; alert at {m} of {n} periods, missing periods are \
                     treated as {missing}",
                    text::count(breaching as u64, "execution")
                );
                (reason, Some(period.to_string()))
            }
        };
        AlertStateChange {
            version: "1".into(),
            id: format!(
                "alert-{}-{}",
                self.monitor.schedule.to_lowercase(),
                self.alert.transition
            ),
            correlation_id: None,
            model: self.monitor.model.clone(),
            endpoint: self.monitor.endpoint.clone(),
            monitoring_schedule: self.monitor.schedule.clone(),
            monitor_type: self.monitor.monitor_type.map(|kind| kind.to_string()),
            transition: self.alert.transition,
            alert_status: self.alert.status,
            previous_alert_status: previous,
            severity: latest_breaching
                .filter(|_| self.alert.status == AlertStatus::InAlert)
                .map(|(datapoint, _)| rules.severity(datapoint).unwrap_or_default()),
            datapoints_to_alert: m,
            evaluation_period: n,
            period,
            breaching,
            datapoints: evaluated
                .iter()
                .map(|(datapoint, _)| EventDatapoint::from(*datapoint))
                .collect(),
            violations: latest_report
                .map(|report| {
                    let counts =
                        |violation: &&ReportedViolation| rules.severity_of(&ViolationFacts::from(*violation)).is_some();
                    report.top.iter().filter(counts).cloned().collect()
                })
                .unwrap_or_default(),
            check_types: latest_report
                .map(|report| rules.check_types(report))
                .unwrap_or_default(),
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
            HealthStatus::Healthy => "the latest execution has a result again".to_owned(),
        };
        Some(Box::new(HealthStateChange {
            version: "1".into(),
            id: format!(
                "health-{}-{}",
                self.monitor.schedule.to_lowercase(),
                self.health.transition
            ),
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
