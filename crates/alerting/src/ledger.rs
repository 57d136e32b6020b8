//! The document that remembers one monitor.

use crate::{
    AlertStateChange, AlertStatus, Datapoint, DatapointState, EventDatapoint, Evidence, ExecutionWindow, Metric,
};
use jiff::Timestamp;
use model_monitor::MonitorType;
use outbox::{Caller, Outbox};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// How many datapoints a ledger keeps: the largest evaluation period, and room for those that come late or take no
/// slot in the window. An hourly monitor's ledger reaches back over twelve days.
pub const KEPT_DATAPOINTS: usize = 300;

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

/// What an event says of an execution, and by which rules it is to be judged.
#[derive(Debug, Clone, PartialEq)]
pub struct Observation {
    /// The monitor, as the event and the policy name it.
    pub monitor: Monitor,
    /// The datapoint's identity within the monitor.
    pub scheduled_time: Timestamp,
    /// What is known of the execution.
    pub evidence: Evidence,
    /// The alert window.
    pub window: ExecutionWindow,
    /// Version of the policy that the window is from.
    pub policy_version: String,
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
}

/// The alert of a monitor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Alert {
    /// Its status.
    pub status: AlertStatus,
    /// How often it has changed.
    pub transition: u64,
}

/// The document of one monitor: `monitors/{schedule}.json` in the state bucket.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MonitorLedger {
    /// Version of this layout.
    pub version: u32,
    /// Which monitor.
    pub monitor: Monitor,
    /// The latest executions, oldest first, at most [`KEPT_DATAPOINTS`].
    pub datapoints: Vec<Datapoint>,
    /// The check types that this monitor has reported.
    #[serde(default)]
    pub check_types: BTreeSet<String>,
    /// Its alert.
    #[serde(default)]
    pub alert: Alert,
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
            datapoints: Vec::new(),
            check_types: BTreeSet::new(),
            alert: Alert::default(),
            outbox: Outbox::default(),
        }
    }

    /// Records what is known of an execution, judges the window, and owes the metrics of a datapoint that is new or
    /// has another value than before, and the event of a transition.
    pub fn record(&mut self, observation: Observation, caller: &Caller) -> Recorded {
        let Observation {
            monitor,
            scheduled_time,
            evidence,
            window,
            policy_version,
        } = observation;
        let recorded = self.merge(scheduled_time, evidence, caller);
        if matches!(recorded, Recorded::New | Recorded::Changed) {
            let known_type = self.monitor.monitor_type;
            self.monitor = Monitor {
                monitor_type: monitor.monitor_type.or(known_type),
                ..monitor
            };
        }
        self.judge(window, &policy_version, caller);
        recorded
    }

    fn merge(&mut self, scheduled_time: Timestamp, evidence: Evidence, caller: &Caller) -> Recorded {
        if let Some(report) = &evidence.report {
            self.check_types.extend(report.by_check_type.keys().cloned());
        }
        let (at, recorded, publish) = match self
            .datapoints
            .binary_search_by_key(&scheduled_time, |datapoint| datapoint.scheduled_time)
        {
            Ok(at) => {
                let Some(datapoint) = self.datapoints.get_mut(at) else {
                    return Recorded::Duplicate;
                };
                let merged = datapoint.evidence.clone().merge(evidence);
                if merged == datapoint.evidence {
                    return Recorded::Duplicate;
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
                (at, Recorded::Changed, publish)
            }
            Err(0) if self.datapoints.len() >= KEPT_DATAPOINTS => return Recorded::TooOld,
            Err(mut at) => {
                self.datapoints.insert(
                    at,
                    Datapoint {
                        scheduled_time,
                        evidence,
                    },
                );
                if self.datapoints.len() > KEPT_DATAPOINTS {
                    self.datapoints.remove(0);
                    at = at.saturating_sub(1);
                }
                (at, Recorded::New, true)
            }
        };
        if let Some(datapoint) = self.datapoints.get(at).filter(|_| publish) {
            let metrics = Metric::of(datapoint, &self.monitor, &self.check_types);
            let version = datapoint
                .evidence
                .report
                .as_ref()
                .map_or("none", |report| report.etag.as_str());
            let id = format!("metrics/{scheduled_time}/{}/{version}", datapoint.state().as_str());
            self.outbox.owe(id, MonitorEffect::PublishMetrics(metrics), caller);
        }
        recorded
    }

    fn judge(&mut self, window: ExecutionWindow, policy_version: &str, caller: &Caller) {
        let evaluation = window.evaluate(self.datapoints.iter());
        if evaluation.status == self.alert.status {
            return;
        }
        let previous = self.alert.status;
        self.alert = Alert {
            status: evaluation.status,
            transition: self.alert.transition + 1,
        };
        let evaluated: Vec<&Datapoint> = evaluation
            .evaluated
            .iter()
            .filter_map(|(time, _)| {
                self.datapoints
                    .iter()
                    .find(|datapoint| datapoint.scheduled_time == *time)
            })
            .collect();
        let latest_report = evaluated
            .iter()
            .rev()
            .filter(|datapoint| datapoint.state() == DatapointState::Violations)
            .find_map(|datapoint| datapoint.evidence.report.as_ref());
        let reason = format!(
            "{breaching} of the {considered} latest executions had violations; {m} of {n} alert",
            breaching = evaluation.breaching,
            considered = evaluation.evaluated.len(),
            m = window.datapoints_to_alert(),
            n = window.evaluation_period(),
        );
        let id = format!(
            "alert-{}-{}",
            self.monitor.schedule.to_lowercase(),
            self.alert.transition
        );
        let event = AlertStateChange {
            version: "1".into(),
            id: id.clone(),
            model: self.monitor.model.clone(),
            endpoint: self.monitor.endpoint.clone(),
            monitoring_schedule: self.monitor.schedule.clone(),
            monitor_type: self.monitor.monitor_type.map(|kind| kind.to_string()),
            transition: self.alert.transition,
            alert_status: evaluation.status,
            previous_alert_status: previous,
            datapoints_to_alert: window.datapoints_to_alert(),
            evaluation_period: window.evaluation_period(),
            breaching: evaluation.breaching,
            datapoints: evaluated
                .iter()
                .map(|datapoint| EventDatapoint {
                    scheduled_time: datapoint.scheduled_time,
                    state: datapoint.state(),
                    violations: datapoint.evidence.violations(),
                    report_uri: datapoint.evidence.report.as_ref().map(|report| report.uri.clone()),
                })
                .collect(),
            violations: latest_report.map(|report| report.top.clone()).unwrap_or_default(),
            report_uri: latest_report.map(|report| report.uri.clone()),
            reason,
            policy_version: policy_version.to_owned(),
            time: caller.now,
        };
        self.outbox
            .owe(id, MonitorEffect::PutAlertStateChange(Box::new(event)), caller);
    }
}
