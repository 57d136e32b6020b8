//! The level of a monitor: what is true of it now.
//!
//! Decisions depend on levels. The event of a transition only says that the level may have changed: while an alert lasts,
//! its check types and its severity may change, and the monitor may fall silent.

use crate::{AlertStateChange, AlertStatus, HealthStatus};
use jiff::{SignedDuration, Timestamp};

/// Number of intervals without a judged execution after which a monitor is silent.
const SILENT_AFTER_INTERVALS: i32 = 3;
/// Interval of a monitor with too few executions to have one: that of the longest usual schedule.
const DEFAULT_INTERVAL: SignedDuration = SignedDuration::from_hours(24);
/// Time that an execution may take, and start late, before its result is expected.
const EXECUTION_TIME: SignedDuration = SignedDuration::from_hours(2);

/// What is true of a monitor now.
#[derive(Debug, Clone, PartialEq)]
pub struct Level {
    /// The alert with its present facts, under the ID of its last transition.
    pub alert: AlertStateChange,
    /// Health of the monitor.
    pub health: HealthStatus,
    /// Usual time between two executions. `None` with fewer than two executions.
    pub interval: Option<SignedDuration>,
    /// Number of executions that were judged since the last transition of the alert, with the one that led to it, up to 100.
    pub judged_since_transition: usize,
    /// Scheduled times of the latest executions with a result that counts, newest first, at most 100.
    pub judged: Vec<Timestamp>,
    /// Scheduled times of the executions that led to the latest alerts, oldest first, at most 50.
    pub alerts: Vec<Timestamp>,
}

impl Level {
    /// Whether the monitor is in alert.
    pub fn is_in_alert(&self) -> bool {
        self.alert.alert_status == AlertStatus::InAlert
    }

    /// Time between two executions, or that of a daily schedule if it is not known.
    pub fn interval(&self) -> SignedDuration {
        self.interval.unwrap_or(DEFAULT_INTERVAL)
    }

    /// Time since which the monitor is silent: the scheduled time of the last execution that was judged. `None` while the
    /// monitor is healthy and has judged an execution within three of its intervals. A silent monitor shows neither that
    /// the drift lasts nor that it ended.
    pub fn silent_since(&self, now: Timestamp) -> Option<Timestamp> {
        let last = self.judged.first().copied().unwrap_or(self.alert.time);
        let is_late = is_late(last, self.interval(), now);
        (is_late || self.health == HealthStatus::Unhealthy).then_some(last)
    }

    /// Time since which a monitor without a ledger is silent: that of the last event about its alert. `None` while the event
    /// is recent for a daily schedule.
    pub fn silent_without_ledger(last_event: Timestamp, now: Timestamp) -> Option<Timestamp> {
        is_late(last_event, DEFAULT_INTERVAL, now).then_some(last_event)
    }

    /// Number of judged executions that are scheduled after a time, at most 100.
    pub fn judged_after(&self, time: Timestamp) -> u32 {
        let executions = self.judged.iter().filter(|judged| **judged > time).count();
        u32::try_from(executions).unwrap_or(u32::MAX)
    }
}

/// Whether an execution is overdue.
fn is_late(last: Timestamp, interval: SignedDuration, now: Timestamp) -> bool {
    let expected = interval
        .saturating_mul(SILENT_AFTER_INTERVALS)
        .saturating_add(EXECUTION_TIME);
    now.duration_since(last) > expected
}
