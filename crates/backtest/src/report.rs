//! What a replay says, in numbers.

use crate::{Assumptions, History, Recorded, replay};
use alerting::DatapointState;
use remediation::Policy;
use serde::Serialize;
use std::collections::BTreeMap;

/// A month, for rates: a twelfth of 365.25 days.
const SECONDS_A_MONTH: f64 = 365.25 / 12.0 * 86_400.0;

/// Delays, in hours.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Delay {
    /// The median.
    pub median_hours: f64,
    /// The longest.
    pub worst_hours: f64,
}

impl Delay {
    /// Of delays in seconds; `None` if there is none.
    #[expect(clippy::cast_precision_loss, reason = "delays are far shorter than 2^52 seconds")]
    pub(crate) fn of(mut seconds: Vec<i64>) -> Option<Self> {
        seconds.sort_unstable();
        let median = *seconds.get(seconds.len() / 2)?;
        let worst = *seconds.last()?;
        Some(Self {
            median_hours: median as f64 / 3600.0,
            worst_hours: worst as f64 / 3600.0,
        })
    }
}

/// What would have come of a policy for one model.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ModelReport {
    /// The model.
    pub model: String,
    /// How many monitors watch it.
    pub monitors: usize,
    /// How many executions they had.
    pub executions: usize,
    /// How many of them had violations.
    pub violations: usize,
    /// How often a monitor went into alert.
    pub alerts: usize,
    /// How many incidents there were.
    pub incidents: u64,
    /// Decisions by verdict.
    pub decisions: BTreeMap<&'static str, usize>,
    /// How often a person would have been asked, or told a suggestion.
    pub waiting_for_people: usize,
    /// How many retrainings were started.
    pub retrainings: usize,
    /// From the first violation in the window until the alert.
    pub alert_delay: Option<Delay>,
    /// From the first violation of an incident until its retraining.
    pub retraining_delay: Option<Delay>,
    /// Incidents by how they ended.
    pub incidents_closed: BTreeMap<&'static str, usize>,
    /// Where the last incident stands, if it is still open.
    pub open: Option<&'static str>,
    /// What the retrainings cost.
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

    /// How many decisions had that verdict.
    pub fn decisions_of(&self, verdict: &str) -> usize {
        self.decisions.get(verdict).copied().unwrap_or_default()
    }
}

/// All models together.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Total {
    /// Version (hash) of the policy.
    pub policy_version: String,
    /// How many executions there were.
    pub executions: usize,
    /// How often monitors went into alert.
    pub alerts: usize,
    /// How many incidents there were.
    pub incidents: u64,
    /// How many retrainings were started.
    pub retrainings: usize,
    /// The same for one model in a month.
    pub retrainings_per_model_and_month: f64,
    /// How often a person was called: `Escalate`.
    pub escalations: usize,
    /// How often a person would have been asked.
    pub waiting_for_people: usize,
    /// The median over the models of their median alert delay, in hours.
    pub median_alert_delay_hours: Option<f64>,
    /// What the retrainings cost.
    pub cost: f64,
}

/// Sums the reports of all models up.
#[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52 retrainings")]
pub fn total(reports: &[ModelReport], history: &History, policy: &Policy) -> Total {
    let seconds = history
        .span()
        .map_or(0.0, |(first, last)| last.duration_since(first).as_secs_f64());
    let months = (seconds / SECONDS_A_MONTH).max(f64::MIN_POSITIVE) * reports.len().max(1) as f64;
    let sum = |of: fn(&ModelReport) -> usize| reports.iter().map(of).sum::<usize>();
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

/// One model under two policies.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// The model.
    pub model: String,
    /// Under the policy.
    pub policy: Option<ModelReport>,
    /// Under the other.
    pub against: Option<ModelReport>,
}

/// Puts reports of two policies side by side. A model that only one of them knows stands alone.
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

/// One window of a grid.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Cell {
    /// M.
    pub datapoints_to_alert: u8,
    /// N.
    pub evaluation_period: u8,
    /// What comes of it.
    #[serde(flatten)]
    pub total: Total,
}

/// Replays the history under the policy with another window, M of N.
pub fn cell(
    history: &History,
    policy: &Policy,
    datapoints_to_alert: u8,
    evaluation_period: u8,
    assumptions: &Assumptions,
) -> Cell {
    let policy = policy.with_window(datapoints_to_alert, evaluation_period);
    let models = history.models(&policy);
    let reports: Vec<ModelReport> = models
        .iter()
        .map(|(model, monitors)| replay(model, monitors, &policy, assumptions))
        .collect();
    Cell {
        datapoints_to_alert,
        evaluation_period,
        total: total(&reports, history, &policy),
    }
}
