//! Results of a replay.

use crate::{Assumptions, History, Recorded, replay};
use alerting::DatapointState;
use remediation::Policy;
use serde::Serialize;
use std::collections::BTreeMap;

/// Average length of a month in seconds: a twelfth of 365.25 days.
const SECONDS_PER_MONTH: f64 = 365.25 / 12.0 * 86_400.0;

/// Delays, in hours.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Delay {
    /// Median delay.
    pub median_hours: f64,
    /// Longest delay.
    pub worst_hours: f64,
}

impl Delay {
    /// Summary of delays in seconds. `None` without delays.
    #[expect(clippy::cast_precision_loss, reason = "delays are far shorter than 2^52 seconds")]
    pub(crate) fn from_seconds(mut seconds: Vec<i64>) -> Option<Self> {
        seconds.sort_unstable();
        let median = *seconds.get(seconds.len() / 2)?;
        let worst = *seconds.last()?;
        Some(Self {
            median_hours: median as f64 / 3600.0,
            worst_hours: worst as f64 / 3600.0,
        })
    }
}

/// What a policy would have done for one model.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ModelReport {
    /// Name of the model.
    pub model: String,
    /// Number of monitors.
    pub monitors: usize,
    /// Number of executions of the monitors.
    pub executions: usize,
    /// Number of executions with violations.
    pub violations: usize,
    /// Number of alerts.
    pub alerts: usize,
    /// Number of incidents.
    pub incidents: u64,
    /// Number of decisions by verdict.
    pub decisions: BTreeMap<&'static str, usize>,
    /// Number of approval requests and suggestions.
    pub waiting_for_people: usize,
    /// Number of retrainings.
    pub retrainings: usize,
    /// Delay from the first violation in the window to the alert.
    pub alert_delay: Option<Delay>,
    /// Delay from the first violation of an incident to its retraining.
    pub retraining_delay: Option<Delay>,
    /// Number of closed incidents by outcome.
    pub incidents_closed: BTreeMap<&'static str, usize>,
    /// Stage of the last incident, if it is open.
    pub open: Option<&'static str>,
    /// Total cost of the retrainings.
    pub cost: f64,
}

impl ModelReport {
    pub(crate) fn new(model: &str, monitors: usize) -> Self {
        Self {
            model: model.to_owned(),
            monitors,
            executions: 0,
            violations: 0,
            alerts: 0,
            incidents: 0,
            decisions: BTreeMap::new(),
            waiting_for_people: 0,
            retrainings: 0,
            alert_delay: None,
            retraining_delay: None,
            incidents_closed: BTreeMap::new(),
            open: None,
            cost: 0.0,
        }
    }

    pub(crate) fn count(&mut self, recorded: &Recorded) {
        self.executions += 1;
        self.violations += usize::from(recorded.state == DatapointState::Violations);
    }

    /// Number of decisions with this verdict.
    pub fn decisions_of(&self, verdict: &str) -> usize {
        self.decisions.get(verdict).copied().unwrap_or_default()
    }
}

/// Totals of all models.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Total {
    /// Version of the policy.
    pub policy_version: String,
    /// Number of executions.
    pub executions: usize,
    /// Number of alerts.
    pub alerts: usize,
    /// Number of incidents.
    pub incidents: u64,
    /// Number of retrainings.
    pub retrainings: usize,
    /// Average number of retrainings per model and month.
    pub retrainings_per_model_and_month: f64,
    /// Number of decisions with the verdict `Escalate`.
    pub escalations: usize,
    /// Number of approval requests and suggestions.
    pub waiting_for_people: usize,
    /// Median of the models' median alert delays, in hours.
    pub median_alert_delay_hours: Option<f64>,
    /// Total cost of the retrainings.
    pub cost: f64,
}

/// Totals of the reports of all models.
#[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52 retrainings")]
pub fn total(reports: &[ModelReport], history: &History, policy: &Policy) -> Total {
    let seconds = history
        .span()
        .map_or(0.0, |(first, last)| last.duration_since(first).as_secs_f64());
    let months = (seconds / SECONDS_PER_MONTH).max(f64::MIN_POSITIVE) * reports.len().max(1) as f64;
    let sum = |count: fn(&ModelReport) -> usize| reports.iter().map(count).sum::<usize>();
    let retrainings = sum(|report| report.retrainings);
    let mut delays: Vec<f64> = reports
        .iter()
        .filter_map(|report| Some(report.alert_delay?.median_hours))
        .collect();
    delays.sort_unstable_by(f64::total_cmp);
    Total {
        policy_version: policy.version().to_owned(),
        executions: sum(|report| report.executions),
        alerts: sum(|report| report.alerts),
        incidents: reports.iter().map(|report| report.incidents).sum(),
        retrainings,
        retrainings_per_model_and_month: if seconds > 0.0 {
            retrainings as f64 / months
        } else {
            0.0
        },
        escalations: sum(|report| report.decisions_of("Escalate")),
        waiting_for_people: sum(|report| report.waiting_for_people),
        median_alert_delay_hours: delays.get(delays.len() / 2).copied(),
        cost: reports.iter().map(|report| report.cost).sum(),
    }
}

/// Results of one model under two policies.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// Name of the model.
    pub model: String,
    /// Result under the policy.
    pub policy: Option<ModelReport>,
    /// Result under the other policy.
    pub against: Option<ModelReport>,
}

/// Pairs the reports of two policies by model. A model may have a report under one policy only.
pub fn compare(policy: &[ModelReport], against: &[ModelReport]) -> Vec<Comparison> {
    let mut models: BTreeMap<&str, (Option<&ModelReport>, Option<&ModelReport>)> = BTreeMap::new();
    for report in policy {
        models.entry(&report.model).or_default().0 = Some(report);
    }
    for report in against {
        models.entry(&report.model).or_default().1 = Some(report);
    }
    models
        .into_iter()
        .map(|(model, (policy, against))| Comparison {
            model: model.to_owned(),
            policy: policy.cloned(),
            against: against.cloned(),
        })
        .collect()
}

/// Results of one alert window in a sweep.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Cell {
    /// Number of breaching datapoints that raise the alert (M).
    pub datapoints_to_alert: u8,
    /// Number of latest executions that are evaluated (N).
    pub evaluation_period: u8,
    /// Totals of all models with this window.
    #[serde(flatten)]
    pub total: Total,
}

/// Replays the history under the policy with a different alert window, M of N.
pub fn cell(
    history: &History,
    policy: &Policy,
    datapoints_to_alert: u8,
    evaluation_period: u8,
    assumptions: &Assumptions,
) -> Cell {
    let policy = policy.with_window(datapoints_to_alert, evaluation_period);
    let models = history.models(&policy);
    let reports = replay(&models, &policy, assumptions);
    Cell {
        datapoints_to_alert,
        evaluation_period,
        total: total(&reports, history, &policy),
    }
}
