//! Summary of a model for the overview. Summaries are small: the overview reads those of all models at once.

use crate::{Facts, frame::letter, reason};
use alerting::{AlertStatus, Datapoint, DatapointState, HealthStatus, MonitorLedger, Period};
use jiff::Timestamp;
use promotion::{Conclusion, ExperimentDocument, ExperimentStage};
use remediation::{
    Decision, ExecutionStatus, Incident, ModelDocument, MonitorRef, Outcome, Policy, RiskRating, Stage, Verdict,
};
use serde::{Deserialize, Serialize};

/// Number of latest executions whose states are shown per monitor.
pub const STRIP_EXECUTIONS: usize = 48;

/// The monitor types of SageMaker Model Monitor, in its console's order.
pub(crate) const MONITOR_TYPES: [&str; 4] = ["DataQuality", "ModelQuality", "ModelBias", "ModelExplainability"];

/// The state documents of a model.
#[derive(Debug, Clone, Copy)]
pub struct Documents<'a> {
    /// Name of the model.
    pub model: &'a str,
    /// `models/{model}.json`. `None` if no monitor of the model has ever been in alert.
    pub document: Option<&'a ModelDocument>,
    /// Ledgers of the model's monitors.
    pub ledgers: &'a [MonitorLedger],
    /// `experiments/{model}.json`. `None` if no candidate of the model has ever been tested.
    pub experiments: Option<&'a ExperimentDocument>,
    /// The effective policy.
    pub policy: &'a Policy,
}

/// A model on the overview.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Name of the model.
    pub model: String,
    /// Time at which the documents were read.
    pub at: Timestamp,
    /// Lifecycle stage of the model.
    pub stage: Stage,
    /// Endpoint of the model. `None` for batch transform.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// Risk rating from the policy, or else from the model card.
    pub risk_rating: RiskRating,
    /// Monitors of the model.
    pub monitors: Vec<MonitorSummary>,
    /// The open incident.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incident: Option<IncidentSummary>,
    /// The latest decision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<LastDecision>,
    /// The latest retraining.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retraining: Option<LastRetraining>,
    /// Number of retrainings in the documents.
    #[serde(default)]
    pub retrainings: u32,
    /// Total duration of the retrainings in seconds, where SageMaker reported start and end.
    #[serde(default)]
    pub retraining_seconds: i64,
    /// Total cost of the retrainings. `None` if the policy sets no cost per retraining.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<f64>,
    /// The open experiment, or else the latest one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub experiment: Option<ExperimentSummary>,
    /// Facts from AWS.
    #[serde(default)]
    pub facts: Facts,
}

/// A monitor on the overview.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MonitorSummary {
    /// Name of the monitoring schedule.
    pub schedule: String,
    /// Monitor type. `None` until a report shows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monitor_type: Option<String>,
    /// Alert status.
    pub status: AlertStatus,
    /// Health status.
    pub health: HealthStatus,
    /// Scheduled time of the first execution without a result. `None` for a healthy monitor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unhealthy_since: Option<Timestamp>,
    /// Number of breaching datapoints among those evaluated.
    pub breaching: usize,
    /// Number of breaching datapoints that raise the alert (M).
    pub datapoints_to_alert: u8,
    /// Number of latest executions, or periods, that are evaluated (N).
    pub evaluation_period: u8,
    /// States of the latest executions, oldest first, one letter each: `C`lean, `V`iolations, `N`oData, `F`ailed, `M`issing.
    pub states: String,
    /// Scheduled time of the latest execution.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latest: Option<Timestamp>,
}

/// An open incident on the overview.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IncidentSummary {
    /// Incident ID.
    pub id: String,
    /// Time at which the incident was opened.
    pub opened_at: Timestamp,
    /// The worst violations with their ratios, as in `income 4.2×, accuracy −0.18`. Empty without a decision or a violation.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub findings: String,
    /// Time of the next automatic decision. `None` if time alone changes nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// A decision on the overview.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LastDecision {
    /// ID of the incident.
    pub incident_id: String,
    /// The verdict.
    pub verdict: Verdict,
    /// Description of the decision: in the present tense for an open incident, in the past tense for a closed one.
    pub sentence: String,
    /// Time of the decision.
    pub time: Timestamp,
}

/// A retraining on the overview.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LastRetraining {
    /// Time of the decision to retrain.
    pub time: Timestamp,
    /// Status of the pipeline execution, once it has started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<ExecutionStatus>,
    /// Result of the verification: whether the monitors were OK after it. `None` while that is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "helped")]
    pub verified: Option<bool>,
}

/// An experiment on the overview.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExperimentSummary {
    /// Experiment ID.
    pub id: String,
    /// Stage of the experiment.
    pub stage: ExperimentStage,
    /// Result of the experiment. `None` while it is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conclusion: Option<Conclusion>,
    /// Latest description of the experiment.
    pub sentence: String,
    /// Time at which the experiment entered its stage, or ended.
    pub since: Timestamp,
}

impl Summary {
    /// Summarizes a model at the time `now`.
    pub fn from_documents(documents: &Documents<'_>, facts: Facts, now: Timestamp) -> Self {
        let document = documents.document;
        let incident = document.and_then(|document| document.incident.as_ref());
        let settings = documents.policy.model(documents.model);
        let endpoint = documents
            .ledgers
            .iter()
            .find_map(|ledger| ledger.monitor.endpoint.clone());
        let described_endpoint = facts.endpoint.as_ref().map(|endpoint| endpoint.name.clone());
        let rating = settings.risk_rating.or(facts.risk_rating);
        let incidents = all_incidents(document);
        let executions = incidents.iter().filter_map(|incident| incident.execution());
        let durations =
            executions.filter_map(|execution| Some(execution.end_time?.duration_since(execution.start_time?)));
        let decided = incidents
            .iter()
            .filter(|incident| incident.retrain_decided_at().is_some());
        let retrainings = u32::try_from(decided.count()).unwrap_or(u32::MAX);
        Self {
            model: documents.model.to_owned(),
            at: now,
            stage: document.map_or(Stage::Healthy, ModelDocument::stage),
            endpoint: endpoint.or(described_endpoint),
            risk_rating: rating.unwrap_or_default(),
            monitors: documents
                .ledgers
                .iter()
                .map(|ledger| MonitorSummary::from_ledger(ledger, documents.policy, now))
                .collect(),
            incident: incident.map(|incident| IncidentSummary {
                id: incident.id.clone(),
                opened_at: incident.opened_at,
                findings: incident.decision.as_ref().map(reason::findings).unwrap_or_default(),
                until: incident.decision.as_ref().and_then(|decision| decision.until),
            }),
            decision: last_decision(document),
            retraining: last_retraining(document),
            retrainings,
            cost: settings.retraining.cost.map(|cost| cost * f64::from(retrainings)),
            retraining_seconds: durations.map(|duration| duration.as_secs()).sum(),
            experiment: documents.experiments.and_then(ExperimentSummary::from_document),
            facts,
        }
    }

    /// Model Monitor's monitor types for which the model has no monitor.
    pub fn not_configured(&self) -> Vec<&'static str> {
        let has = |name: &&str| {
            let mut types = self.monitors.iter().map(|monitor| monitor.monitor_type.as_deref());
            // A monitor of unknown type may be of any type.
            types.any(|monitor_type| monitor_type.is_none() || monitor_type == Some(*name))
        };
        MONITOR_TYPES.into_iter().filter(|name| !has(name)).collect()
    }

    /// Whether an operator has to act.
    pub fn needs_action(&self) -> bool {
        let incident_waits = matches!(
            self.stage,
            Stage::AwaitingApproval | Stage::AwaitingData | Stage::Escalated
        );
        let experiment_waits = |experiment: &ExperimentSummary| {
            matches!(
                experiment.stage,
                ExperimentStage::Paused | ExperimentStage::AwaitingApproval
            )
        };
        incident_waits || self.experiment.as_ref().is_some_and(experiment_waits)
    }

    /// Whether a monitor is in alert.
    pub fn in_alert(&self) -> bool {
        self.monitors
            .iter()
            .any(|monitor| monitor.status == AlertStatus::InAlert)
    }

    /// Whether a monitor is unhealthy: it has stopped producing results.
    pub fn unhealthy(&self) -> bool {
        self.monitors
            .iter()
            .any(|monitor| monitor.health == HealthStatus::Unhealthy)
    }

    /// Scheduled time of the first execution without a result, over all unhealthy monitors.
    pub fn unhealthy_since(&self) -> Option<Timestamp> {
        self.monitors.iter().filter_map(|monitor| monitor.unhealthy_since).min()
    }

    /// Whether an experiment is open.
    pub(crate) fn has_open_experiment(&self) -> bool {
        let is_open = |experiment: &ExperimentSummary| experiment.stage != ExperimentStage::Ended;
        self.experiment.as_ref().is_some_and(is_open)
    }
}

impl MonitorSummary {
    fn from_ledger(ledger: &MonitorLedger, policy: &Policy, now: Timestamp) -> Self {
        let monitor = &ledger.monitor;
        let rules = policy.monitor(&MonitorRef::from(monitor)).rules;
        let window = ledger.window(&rules);
        let evaluated = rules.evaluated(&window, ledger.counting(), ledger.as_of.unwrap_or(now));
        let skipped = ledger.datapoints.len().saturating_sub(STRIP_EXECUTIONS);
        Self {
            schedule: monitor.schedule.clone(),
            monitor_type: monitor.monitor_type.map(|kind| kind.to_string()),
            status: ledger.alert.status,
            health: ledger.health.status,
            unhealthy_since: unhealthy_since(ledger),
            breaching: evaluated
                .iter()
                .filter(|(_, period)| *period == Period::Breaching)
                .count(),
            datapoints_to_alert: window.datapoints_to_alert(),
            evaluation_period: window.evaluation_period(),
            states: ledger
                .datapoints
                .iter()
                .skip(skipped)
                .map(|datapoint| letter(datapoint.state()))
                .collect(),
            latest: ledger.datapoints.back().map(|datapoint| datapoint.scheduled_time),
        }
    }
}

impl ExperimentSummary {
    fn from_document(document: &ExperimentDocument) -> Option<Self> {
        if let Some(open) = &document.experiment {
            return Some(Self {
                id: open.id.clone(),
                stage: open.stage,
                conclusion: None,
                sentence: open.sentence.clone(),
                since: open.since,
            });
        }
        let ended = document.ended.last()?;
        Some(Self {
            id: ended.experiment.id.clone(),
            stage: ExperimentStage::Ended,
            conclusion: Some(ended.conclusion),
            sentence: ended.experiment.sentence.clone(),
            since: ended.ended_at,
        })
    }
}

/// Scheduled time of the first of the latest executions without a result. `None` for a healthy monitor.
fn unhealthy_since(ledger: &MonitorLedger) -> Option<Timestamp> {
    if ledger.health.status == HealthStatus::Healthy {
        return None;
    }
    let has_result =
        |datapoint: &Datapoint| matches!(datapoint.state(), DatapointState::Clean | DatapointState::Violations);
    let without_result = ledger
        .datapoints
        .iter()
        .rev()
        .take_while(|datapoint| !has_result(datapoint));
    without_result.last().map(|datapoint| datapoint.scheduled_time)
}

/// All incidents in the document, oldest first, the open one last.
pub(crate) fn all_incidents(document: Option<&ModelDocument>) -> Vec<&Incident> {
    let Some(document) = document else {
        return Vec::new();
    };
    let closed = document.closed.iter().map(|closed| &closed.incident);
    closed.chain(&document.incident).collect()
}

fn last_decision(document: Option<&ModelDocument>) -> Option<LastDecision> {
    let document = document?;
    let open = document.incident.as_ref().map(|incident| incident.number);
    let last = |incident: &Incident| {
        let decision: &Decision = incident.decision.as_ref()?;
        let is_open = open == Some(incident.number);
        Some(LastDecision {
            incident_id: incident.id.clone(),
            verdict: decision.verdict,
            sentence: if is_open {
                decision.sentence.clone()
            } else {
                reason::past_sentence(&document.model, decision)
            },
            time: decision.time,
        })
    };
    all_incidents(Some(document)).into_iter().rev().find_map(last)
}

fn last_retraining(document: Option<&ModelDocument>) -> Option<LastRetraining> {
    let document = document?;
    let last = |incident: &Incident, verified: Option<bool>| {
        Some(LastRetraining {
            time: incident.retrain_decided_at()?,
            status: incident.execution().map(|execution| execution.status),
            verified,
        })
    };
    let open = document.incident.as_ref();
    let open = open.and_then(|open| last(open, (open.stage() == Stage::Escalated).then_some(false)));
    let mut closed = document.closed.iter().rev();
    open.or_else(|| {
        closed.find_map(|closed| {
            let verified = match closed.outcome {
                Outcome::Repaired => Some(true),
                Outcome::Resolved if closed.incident.stage() == Stage::Escalated => Some(false),
                Outcome::Recovered | Outcome::Resolved => None,
            };
            last(&closed.incident, verified)
        })
    })
}
