//! The alerts of a model's monitors.

use crate::AlertSnapshot;
use alerting::{AlertPosition, AlertStateChange, AlertStatus};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The alert of one monitor as last seen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MonitorAlert {
    /// Status of the alert.
    pub status: AlertStatus,
    /// Time at which the ledger of the monitor was begun. `None` for ledgers of the first release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<Timestamp>,
    /// Number of the transition to this status. An event with a lower number of the same epoch is outdated.
    pub transition: u64,
    /// Number of changes of severity or check types since the transition.
    #[serde(default)]
    pub revision: u64,
    /// Time of the transition.
    pub since: Timestamp,
    /// Name of the CloudWatch alarm, because the key of the alert is in lower case. `None` for a monitoring schedule, and in
    /// documents of the first release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alarm: Option<String>,
    /// Snapshot of the alert. `None` unless the monitor is in alert.
    #[serde(rename = "told", default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<Box<AlertSnapshot>>,
    /// Time until which the alert opens no incident, because an operator accepted it. `None` unless accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted_until: Option<Timestamp>,
}

impl MonitorAlert {
    /// The alert after a change. An alert that an operator accepted stays accepted until the monitor leaves it.
    pub(crate) fn new(change: &AlertStateChange, known: Option<&Self>) -> Self {
        let in_alert = change.alert_status == AlertStatus::InAlert;
        Self {
            status: change.alert_status,
            epoch: change.epoch,
            transition: change.transition,
            revision: change.revision,
            since: change.time,
            alarm: alarm_name(&change.monitoring_schedule).map(ToOwned::to_owned),
            snapshot: in_alert.then(|| Box::new(AlertSnapshot::new(change))),
            accepted_until: known.and_then(|known| known.accepted_until).filter(|_| in_alert),
        }
    }

    /// Position of the alert's last change.
    pub fn position(&self) -> AlertPosition {
        AlertPosition {
            epoch: self.epoch,
            transition: self.transition,
            revision: self.revision,
        }
    }

    /// Whether the monitor is in alert, and no operator has accepted that.
    pub(crate) fn is_in_alert(&self, now: Timestamp) -> bool {
        self.status == AlertStatus::InAlert && self.accepted_until.is_none_or(|until| until <= now)
    }
}

/// Key of a monitor: the schedule name in lower case, as SageMaker writes it in ARNs.
pub fn schedule_key(schedule: &str) -> String {
    schedule.to_lowercase()
}

/// Name of the CloudWatch alarm that a monitor stands for. `None` for a monitoring schedule.
pub fn alarm_name(monitoring_schedule: &str) -> Option<&str> {
    monitoring_schedule.strip_prefix("alarm:")
}

/// Whether the key of a monitor is that of a CloudWatch alarm. An alarm has no ledger: its state in CloudWatch is its level.
pub(crate) fn is_alarm(key: &str) -> bool {
    alarm_name(key).is_some()
}
