//! A decision, and why.

use crate::{DecidedAlert, Policy};
use alerting::AlertStateChange;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What is to be done about an incident.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Verdict {
    /// The retraining pipeline is started.
    Retrain,
}

impl Verdict {
    /// The name as written in documents and events.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Retrain => "Retrain",
        }
    }
}

/// One reason of a decision, for machines.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "code", rename_all_fields = "camelCase")]
pub enum Reason {
    /// A monitor of the model is in alert.
    MonitorInAlert {
        /// Its schedule.
        monitoring_schedule: String,
        /// How many datapoints breached.
        breaching: usize,
        /// M.
        datapoints_to_alert: u8,
        /// N.
        evaluation_period: u8,
    },
    /// The model had no open incident, so that no retraining was in flight.
    NoOpenIncident,
}

/// A decision: what, why, by which policy, on which alert. Kept with the incident, and told on the bus.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Decision {
    /// What is to be done.
    pub verdict: Verdict,
    /// Why, for machines.
    pub reasons: Vec<Reason>,
    /// Why, for people.
    pub sentence: String,
    /// Version (hash) of the policy that decided.
    pub policy_version: String,
    /// The alerts that it was decided on.
    pub alerts: Vec<DecidedAlert>,
    /// When.
    pub time: Timestamp,
}

impl Decision {
    /// Decides on the alert that opens an incident.
    pub(crate) fn on_alert(alert: &AlertStateChange, policy: &Policy, now: Timestamp) -> Self {
        let told = DecidedAlert::new(alert);
        let sentence = format!(
            "Retrain `{}`: monitor `{}` is in alert ({}){}. No other incident of this model is open.",
            alert.model,
            alert.monitoring_schedule,
            alert.reason,
            told.worst()
                .map_or_else(String::new, |worst| format!(", worst: {worst}")),
        );
        Self {
            verdict: Verdict::Retrain,
            reasons: vec![
                Reason::MonitorInAlert {
                    monitoring_schedule: alert.monitoring_schedule.clone(),
                    breaching: alert.breaching,
                    datapoints_to_alert: alert.datapoints_to_alert,
                    evaluation_period: alert.evaluation_period,
                },
                Reason::NoOpenIncident,
            ],
            sentence,
            policy_version: policy.version().to_owned(),
            alerts: vec![told],
            time: now,
        }
    }
}
