//! The document that remembers one monitor.

use crate::{
    AlertStateChange, AlertStatus, AlertWindow, Datapoint, DatapointState, EventDatapoint, Evidence, ExecutionWindow,
    HealthStateChange, MaintenanceWindow, Metric, MonitorRules, Period, ReportedViolation, Treatment, ViolationFacts,
    execution_correlation_id,
};
use jiff::{SignedDuration, Timestamp};
use model_monitor::MonitorType;
use outbox::{Caller, Outbox};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, VecDeque};

/// The schedule of the reports that `driftwarden doctor` writes to see whether events flow. Its executions are recorded and
/// their metrics published as any other's; its window is never judged, so that nobody is told, and nothing is retrained.
pub const DOCTOR_SCHEDULE: &str = "driftwarden-doctor";

/// How many datapoints a ledger keeps: the largest evaluation period, and room for those that come late or take no
/// slot in the window. An hourly monitor's ledger reaches back over twelve days.
pub const KEPT_DATAPOINTS: usize = 300;

/// How many transitions of the alert a ledger keeps.
const KEPT_TRANSITIONS: usize = 50;

/// `ListMonitoringAlerts` is asked no more often than this for one schedule.
const FOLLOW_AT_MOST_EVERY: SignedDuration = SignedDuration::from_mins(10);

/// That a ledger is complete is noted no more often than this.
const COMPARED_EVERY: SignedDuration = SignedDuration::from_hours(6);

/// Which monitor a ledger is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Monitor {
    /// Name of the monitoring schedule.
    pub schedule: String,
    /// The monitored endpoint; `None` for batch transform.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// The model it watches.
    pub model: String,
    /// What it monitors, once a report has told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monitor_type: Option<MonitorType>,
}

/// What is said of an execution.
#[derive(Debug, Clone, PartialEq)]
pub struct Observation {
    /// The monitor, as the event and the policy name it.
    pub monitor: Monitor,
    /// The datapoint's identity within the monitor.
    pub scheduled_time: Timestamp,
    /// What is known of the execution.
    pub evidence: Evidence,
}

/// What an observation did to a ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recorded {
    /// A datapoint more.
    New,
    /// More is known of a datapoint, or its report has been replaced.
    Changed,
    /// Nothing that was not known.
    Duplicate,
    /// The execution is older than everything that the ledger keeps: it can no longer change the window.
    TooOld,
}

/// What a change of a ledger owes to the world.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum MonitorEffect {
    /// To be published in CloudWatch.
    PublishMetrics(Vec<Metric>),
    /// To be put on the bus.
    PutAlertStateChange(Box<AlertStateChange>),
    /// To be put on the bus.
    PutHealthStateChange(Box<HealthStateChange>),
}

/// The alert of a monitor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Alert {
    /// Its status.
    pub status: AlertStatus,
    /// How often it has changed.
    pub transition: u64,
}

/// Whether a monitor still says something of the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum HealthStatus {
    /// It does.
    #[default]
    Healthy,
    /// Its latest executions failed, had no data, or never ran.
    Unhealthy,
}

impl HealthStatus {
    /// The name as written in events.
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
    /// Its status.
    pub status: HealthStatus,
    /// How often it has changed.
    pub transition: u64,
}

/// A transition of the alert, as `ListMonitoringAlertHistory` has its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertHistoryItem {
    /// The status from then on.
    pub status: AlertStatus,
    /// The scheduled time of the execution that was the latest one.
    pub scheduled_time: Timestamp,
    /// When it was found.
    pub time: Timestamp,
}

/// What is set on the schedule's own `MonitoringAlert`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FollowedAlert {
    /// `DatapointsToAlert` and `EvaluationPeriod`; `None` if the schedule has no alert, or one that could never alert.
    pub window: Option<ExecutionWindow>,
    /// When it was read.
    pub read_at: Timestamp,
}

/// The document of one monitor: `monitors/{schedule}.json` in the state bucket.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MonitorLedger {
    /// Version of this layout.
    pub version: u32,
    /// Which monitor.
    pub monitor: Monitor,
    /// The latest executions, oldest first, at most [`KEPT_DATAPOINTS`].
    pub datapoints: VecDeque<Datapoint>,
    /// The check types that this monitor has reported.
    #[serde(default)]
    pub check_types: BTreeSet<String>,
    /// Its alert.
    #[serde(default)]
    pub alert: Alert,
    /// The event of the alert's last transition: whoever did not hear of it is told again from here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_change: Option<Box<AlertStateChange>>,
    /// The alert's latest transitions, oldest first, bounded.
    #[serde(default, skip_serializing_if = "VecDeque::is_empty")]
    pub history: VecDeque<AlertHistoryItem>,
    /// Its health.
    #[serde(default)]
    pub health: Health,
    /// What is set on the schedule's own alert, if the policy follows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub followed: Option<FollowedAlert>,
    /// The latest time that a sweep has judged a window over time for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_of: Option<Timestamp>,
    /// Up to this scheduled time every execution that SageMaker lists is known here, as a sweep has found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compared_until: Option<Timestamp>,
    /// Since when datapoints count: the baseline that the monitor is held against changed. None if it never did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restarted_at: Option<Timestamp>,
    /// What the last changes still owe.
    #[serde(default)]
    pub outbox: Outbox<MonitorEffect>,
}

impl MonitorLedger {
    /// The ledger of a monitor that nothing is known of yet.
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
        }
    }

    /// Records what is known of an execution, judges the window, and owes the metrics of a datapoint that is new or
    /// has another value than before, and the event of a transition.
    pub fn record(&mut self, observation: Observation, rules: &MonitorRules, caller: &Caller) -> Recorded {
        let Observation {
            monitor,
            scheduled_time,
            evidence,
        } = observation;
        let (recorded, publish) = self.merge(scheduled_time, evidence);
        if let Some(datapoint) = publish.and_then(|at| self.datapoints.get(at)) {
            let metrics = Metric::of(datapoint, &self.monitor, &self.check_types, rules);
            let version = datapoint
                .evidence
                .report
                .as_ref()
                .map_or("none", |report| report.etag.as_str());
            let id = format!("metrics/{scheduled_time}/{}/{version}", datapoint.state().as_str());
            self.outbox.owe(id, MonitorEffect::PublishMetrics(metrics), caller);
        }
        if matches!(recorded, Recorded::New | Recorded::Changed) {
            let known_type = self.monitor.monitor_type;
            self.monitor = Monitor {
                monitor_type: monitor.monitor_type.or(known_type),
                ..monitor
            };
        }
        self.rejudge(Some(scheduled_time), rules, caller);
        recorded
    }

    /// Notes that a sweep has compared the ledger with SageMaker's list, up to a scheduled time. Not every time, as each is
    /// a write.
    pub fn compared(&mut self, until: Timestamp) {
        let known = self.compared_until.unwrap_or(Timestamp::MIN);
        if until.duration_since(known) >= COMPARED_EVERY {
            self.compared_until = Some(until);
        }
    }

    /// Judges what is known by the rules of now, and owes the events of transitions: after a change of the policy, and
    /// as time goes on without an execution.
    pub fn sweep(&mut self, rules: &MonitorRules, caller: &Caller) {
        if matches!(rules.window, AlertWindow::Time { .. }) && !self.datapoints.is_empty() {
            self.as_of = self.as_of.max(Some(caller.now));
        }
        self.rejudge(None, rules, caller);
    }

    /// Begins the alert window anew, as the baseline that the monitor is held against changed: datapoints that are scheduled
    /// before take no slot any more. The alert is judged as if the ledger had begun then, and is OK until an execution
    /// counts. Says whether that was news: a restart that is known, or older than the known one, changes nothing.
    pub fn restart(&mut self, at: Timestamp, rules: &MonitorRules, caller: &Caller) -> bool {
        if self.restarted_at.is_some_and(|known| known >= at) {
            return false;
        }
        self.restarted_at = Some(at);
        let change = self.judge(None, rules, caller.now, true);
        self.owe_change(change, caller);
        true
    }

    /// The datapoints that count, newest first: all, or those since the window was restarted.
    pub fn counting(&self) -> impl Iterator<Item = &Datapoint> {
        let since = self.restarted_at;
        let newest_first = self.datapoints.iter().rev();
        newest_first.take_while(move |datapoint| since.is_none_or(|since| datapoint.scheduled_time >= since))
    }

    /// Records and judges as [`MonitorLedger::record`] does, at the time `now`, and returns the transition instead of
    /// owing it: history is replayed by the code that judges the present.
    pub fn replay(
        &mut self,
        scheduled_time: Timestamp,
        evidence: Evidence,
        rules: &MonitorRules,
        now: Timestamp,
    ) -> Option<Box<AlertStateChange>> {
        self.merge(scheduled_time, evidence);
        self.judge(Some(scheduled_time), rules, now, false)
    }

    /// Whether the settings of the schedule's own alert are to be read (again): at most once in ten minutes.
    pub fn wants_monitoring_alert(&self, rules: &MonitorRules, now: Timestamp) -> bool {
        let fresh = |followed: FollowedAlert| now.duration_since(followed.read_at) < FOLLOW_AT_MOST_EVERY;
        rules.follow_monitoring_alert && !self.followed.is_some_and(fresh)
    }

    /// The window that judges: the schedule's own alert's, if the policy follows it and it is known, else the policy's.
    pub fn window(&self, rules: &MonitorRules) -> AlertWindow {
        match self.followed.and_then(|followed| followed.window) {
            Some(window) if rules.follow_monitoring_alert => AlertWindow::Executions(window),
            _ => rules.window,
        }
    }

    /// The scheduled times of the datapoints that count and say something of the data, newest first.
    pub fn judged(&self, rules: &MonitorRules) -> impl Iterator<Item = Timestamp> {
        self.counting()
            .filter(|datapoint| rules.judge(datapoint) != Period::Missing)
            .map(|datapoint| datapoint.scheduled_time)
    }

    /// Judges what is known; `made_by` is the execution that there is news of, if it is one.
    fn rejudge(&mut self, made_by: Option<Timestamp>, rules: &MonitorRules, caller: &Caller) {
        if self.monitor.schedule == DOCTOR_SCHEDULE {
            return;
        }
        let change = self.judge(made_by, rules, caller.now, false);
        self.owe_change(change, caller);
        if let Some(change) = self.judge_health(made_by, rules, caller.now) {
            self.outbox
                .owe(change.id.clone(), MonitorEffect::PutHealthStateChange(change), caller);
        }
    }

    fn owe_change(&mut self, change: Option<Box<AlertStateChange>>, caller: &Caller) {
        if let Some(change) = change {
            self.last_change = Some(change.clone());
            self.outbox
                .owe(change.id.clone(), MonitorEffect::PutAlertStateChange(change), caller);
        }
    }

    /// Merges; says what that did, and at which place a datapoint has values that are not published yet.
    fn merge(&mut self, scheduled_time: Timestamp, evidence: Evidence) -> (Recorded, Option<usize>) {
        if let Some(report) = &evidence.report {
            for check_type in report.by_check_type.keys() {
                if !self.check_types.contains(check_type) {
                    self.check_types.insert(check_type.clone());
                }
            }
        }
        // Executions come in order, but for a few.
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
            Err(0) if self.datapoints.len() >= KEPT_DATAPOINTS => (Recorded::TooOld, None),
            Err(mut at) => {
                self.datapoints.insert(
                    at,
                    Datapoint {
                        scheduled_time,
                        evidence,
                    },
                );
                if self.datapoints.len() > KEPT_DATAPOINTS {
                    self.datapoints.pop_front();
                    at = at.saturating_sub(1);
                }
                (Recorded::New, Some(at))
            }
        }
    }

    fn judge(
        &mut self,
        made_by: Option<Timestamp>,
        rules: &MonitorRules,
        now: Timestamp,
        restarted: bool,
    ) -> Option<Box<AlertStateChange>> {
        let newest = self.datapoints.back()?.scheduled_time;
        let window = self.window(rules);
        let as_of = self.as_of.map_or(newest, |as_of| as_of.max(newest));
        let previous = self.alert.status;
        let status = if restarted {
            self.status_anew(&window, rules, as_of)
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
        if self.history.len() > KEPT_TRANSITIONS {
            self.history.pop_front();
        }
        let mut change = self.change(&window, rules, previous, as_of, now);
        change.correlation_id = Some(self.correlation_id(made_by.unwrap_or(newest)));
        if let (true, Some(since)) = (restarted, self.restarted_at) {
            let so_far = if change.datapoints.is_empty() {
                "none of them says anything of the data yet".to_owned()
            } else {
                change.reason
            };
            change.reason = format!(
                "the window was restarted because of a new baseline: executions scheduled from {since} on count; {so_far}"
            );
        }
        Some(Box::new(change))
    }

    /// The status that follows from the datapoints that count, without the newest few, and the status before.
    fn status(
        &self,
        window: &AlertWindow,
        rules: &MonitorRules,
        without: usize,
        as_of: Timestamp,
        previous: AlertStatus,
    ) -> AlertStatus {
        let mut counting = self.counting().skip(without).peekable();
        // A monitor of which nothing counts yet is OK, restarted or new, whatever is made of missing periods.
        if self.restarted_at.is_some() && counting.peek().is_none() {
            return AlertStatus::Ok;
        }
        rules.status(window, counting, self.restarted_at, as_of, previous)
    }

    /// The status of a ledger that began at the restart: each datapoint since then judged when it was the newest. By most
    /// windows that is the status of the last one; where missing periods keep the status, the ones before matter.
    fn status_anew(&self, window: &AlertWindow, rules: &MonitorRules, as_of: Timestamp) -> AlertStatus {
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

    /// The event of the transition that has just been made.
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
                let considered = evaluated.len();
                let had = if rules.treatment == Treatment::default() {
                    "had violations"
                } else {
                    "breached"
                };
                let reason = format!("{breaching} of the {considered} latest executions {had}; {m} of {n} alert");
                (reason, None)
            }
            AlertWindow::Time { window, period } => {
                let missing = window.treat_missing_data().as_str();
                let reason = format!(
                    "{breaching} executions of the latest periods of {period} breached; {m} of {n} periods alert, \
                     missing ones are treated as {missing}"
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

    fn judge_health(
        &mut self,
        made_by: Option<Timestamp>,
        rules: &MonitorRules,
        now: Timestamp,
    ) -> Option<Box<HealthStateChange>> {
        let silent = |datapoint: &&Datapoint| {
            let muted = |window: &MaintenanceWindow| window.covers(datapoint.scheduled_time);
            matches!(
                datapoint.state(),
                DatapointState::Failed | DatapointState::NoData | DatapointState::Missing
            ) && !rules.maintenance.iter().any(muted)
        };
        let in_a_row = self.datapoints.iter().rev().take_while(silent).count();
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
            HealthStatus::Unhealthy => format!(
                "the latest {in_a_row} executions failed, had no data or never ran: nothing is known of the data since then"
            ),
            HealthStatus::Healthy => "the latest execution says something of the data again".to_owned(),
        };
        Some(Box::new(HealthStateChange {
            version: "1".into(),
            id: format!(
                "health-{}-{}",
                self.monitor.schedule.to_lowercase(),
                self.health.transition
            ),
            correlation_id: made_by
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
