//! What is true now for a model. Stages read it, and change nothing.

use crate::{
    AlertSnapshot, Decision, Incident, ModelEffect, ModelPolicy, MonitorAlert, Pause, Reason, Recurrence, StepContext,
    Verdict, monitor::is_alarm, schedule_key, time::after,
};
use alerting::{AlertStatus, Level};
use jiff::Timestamp;
use machine::{Caller, Entry};
use std::collections::BTreeMap;

/// Minimum number of executions for which every monitor is OK before an incident ends, unless the policy sets it.
const MIN_CLOSE_AFTER: u32 = 3;

/// The alerts of a model, the facts from AWS, the policy, and the time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Situation<'a> {
    pub(crate) model: &'a str,
    /// Effective settings of the model.
    pub(crate) policy: &'a ModelPolicy,
    pub(crate) given: StepContext<'a>,
    /// Alerts of the monitors, by [`schedule_key`].
    pub(crate) alerts: &'a BTreeMap<String, MonitorAlert>,
    /// Times of the latest decisions to retrain, oldest first.
    pub(crate) retrainings: &'a [Timestamp],
    /// Latest pause or resume of the model.
    pub(crate) pause: Option<&'a Pause>,
    /// The pending start of the open incident.
    pub(crate) start: Option<&'a Entry<ModelEffect>>,
    pub(crate) caller: &'a Caller,
}

impl Situation<'_> {
    pub(crate) fn now(&self) -> Timestamp {
        self.caller.now
    }

    /// The monitors in alert, unless an operator accepted that.
    pub(crate) fn in_alert(&self) -> impl Iterator<Item = (&String, &MonitorAlert)> {
        self.alerts.iter().filter(|(_, alert)| alert.is_in_alert(self.now()))
    }

    /// The monitors in alert with their present facts.
    pub(crate) fn snapshots(&self) -> Vec<AlertSnapshot> {
        let snapshot = |(key, alert): (&String, &MonitorAlert)| match self.given.levels.get(key) {
            Some(level) if level.is_in_alert() => Some(AlertSnapshot::new(&level.alert)),
            _ => alert.snapshot.as_deref().cloned(),
        };
        self.in_alert().filter_map(snapshot).collect()
    }

    /// The monitors in alert that are silent, with the time of their last judged execution. Of a monitor without a ledger, the
    /// last event counts. The alarms of CloudWatch are in alert as long as CloudWatch says so, which is read before each decision.
    pub(crate) fn silent(&self) -> Vec<(String, Timestamp)> {
        let in_alert = self.in_alert().filter(|(key, _)| !is_alarm(key));
        let silent = in_alert.filter_map(|(key, alert)| {
            let snapshot = alert.snapshot.as_ref();
            let schedule = snapshot.map_or(key, |snapshot| &snapshot.monitoring_schedule);
            Some((schedule.clone(), self.silent_since(key, alert)?))
        });
        silent.collect()
    }

    /// Time of the last judged execution of a silent monitor. `None` if it is not silent.
    fn silent_since(&self, key: &String, alert: &MonitorAlert) -> Option<Timestamp> {
        match self.given.levels.get(key) {
            Some(level) => level.silent_since(self.now()),
            None => Level::silent_without_ledger(alert.since, self.now()),
        }
    }

    /// Why the next executions do not show whether an incident has ended: monitors that are not in alert and have fallen silent.
    pub(crate) fn silence(&self, open: &Incident) -> Vec<Reason> {
        let concerned = self
            .concerned(open)
            .filter(|(key, alert)| !alert.is_in_alert(self.now()) && !self.is_monitor_quiet(key, alert));
        let silent = concerned.filter_map(|(key, alert)| {
            let schedules = open.monitors.iter();
            let schedule = schedules.clone().find(|name| schedule_key(name) == *key);
            Some(Reason::MonitorSilent {
                monitoring_schedule: schedule.unwrap_or(key).clone(),
                since: self.silent_since(key, alert)?,
            })
        });
        silent.collect()
    }

    /// The monitors on which the end of an incident depends: those that were in alert during it, and all that are not OK.
    fn concerned(&self, open: &Incident) -> impl Iterator<Item = (&String, &MonitorAlert)> {
        let monitors: Vec<String> = open.monitors.iter().map(|name| schedule_key(name)).collect();
        let alerts = self.alerts.iter();
        alerts.filter(move |(key, alert)| alert.status != AlertStatus::Ok || monitors.contains(key))
    }

    /// Whether a monitor has been OK for some executions, or an operator has accepted its alert.
    fn is_monitor_quiet(&self, key: &String, alert: &MonitorAlert) -> bool {
        let level = self.given.levels.get(key);
        alert.accepted_until.is_some_and(|until| until > self.now())
            || (alert.status == AlertStatus::Ok
                && (is_alarm(key) || level.is_some_and(|level| is_clean(level, self.policy.close_after))))
    }

    /// Whether every monitor has been OK for some executions, so that the incident ends. Silence is not recovery. After the
    /// drift has returned once, the incident stays open for the time in which it would be reopened.
    pub(crate) fn is_quiet(&self, open: &Incident) -> bool {
        let is_recent = |at| after(at, self.policy.reopen_within) > self.now();
        let may_return = open.returns > 0 && open.last_alert_at.is_some_and(is_recent);
        !may_return
            && self
                .concerned(open)
                .all(|(key, alert)| self.is_monitor_quiet(key, alert))
    }

    /// What the alerts of a monitor of an incident have in common.
    pub(crate) fn recurrence(&self, open: &Incident) -> Option<Recurrence> {
        let levels = open
            .monitors
            .iter()
            .map(|name| self.given.levels.get(&schedule_key(name)));
        levels.flatten().find_map(|level| Recurrence::of(&level.alerts))
    }

    /// Whether another invocation is executing the start of the retraining at this moment.
    pub(crate) fn is_start_claimed(&self) -> bool {
        let mut claims = self.start.iter().map(|entry| &entry.claim);
        claims.any(|claim| claim.by != self.caller.id && claim.until > self.now())
    }

    /// A decision on the alerts as they are now.
    pub(crate) fn decision(&self, verdict: Verdict, reasons: Vec<Reason>) -> Decision {
        let version = self.given.policy.version();
        Decision::new(self.model, verdict, reasons, self.snapshots(), version, self.now())
    }
}

/// Whether a monitor has been OK for enough executions.
fn is_clean(level: &Level, close_after: u32) -> bool {
    let required = match close_after {
        0 => u32::from(level.alert.evaluation_period).max(MIN_CLOSE_AFTER),
        required => required,
    };
    level.judged_since_transition >= usize::try_from(required).unwrap_or(usize::MAX)
}
