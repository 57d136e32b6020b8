//! What the overview says of a model: small enough that those of a thousand models are kept and read at once.

use crate::Facts;
use alerting::{AlertStatus, DatapointState, HealthStatus, MonitorLedger, Period};
use jiff::Timestamp;
use model_monitor::MonitorType;
use promotion::{Conclusion, ExperimentDocument, ExperimentStage};
use remediation::{
    Decision, ExecutionStatus, Incident, ModelDocument, MonitorOf, Outcome, Policy, RiskRating, Stage, Verdict,
};
use serde::{Deserialize, Serialize};

/// Of so many of its latest executions a monitor's states are shown.
pub const STRIP: usize = 48;

/// The monitor types of SageMaker Model Monitor, in its console's order.
pub(crate) const MONITOR_TYPES: [&str; 4] = ["DataQuality", "ModelQuality", "ModelBias", "ModelExplainability"];

/// What the state bucket holds of a model.
#[derive(Debug, Clone, Copy)]
pub struct Documents<'a> {
    /// The model.
    pub model: &'a str,
    /// `models/{model}.json`; none if no monitor of it was ever in alert.
    pub document: Option<&'a ModelDocument>,
    /// The ledgers of its monitors.
    pub ledgers: &'a [MonitorLedger],
    /// `experiments/{model}.json`; none if no candidate of it was ever tested.
    pub experiments: Option<&'a ExperimentDocument>,
    /// The policy in force.
    pub policy: &'a Policy,
}

/// A model on the overview.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// The model.
    pub model: String,
    /// When the documents were read.
    pub at: Timestamp,
    /// The stage of its lifecycle.
    pub stage: Stage,
    /// Its endpoint; `None` for batch transform.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// Its risk rating: the policy's, else the model card's.
    pub risk_rating: RiskRating,
    /// Its monitors.
    pub monitors: Vec<MonitorSummary>,
    /// The open incident.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incident: Option<IncidentSummary>,
    /// What was decided last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<LastDecision>,
    /// The last retraining.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retraining: Option<LastRetraining>,
    /// How many retrainings the documents know of.
    #[serde(default)]
    pub retrainings: u32,
    /// How long they ran, in seconds, as far as SageMaker told.
    #[serde(default)]
    pub retraining_seconds: i64,
    /// What they cost so far, if the policy says what one costs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<f64>,
    /// The open experiment, else the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub experiment: Option<ExperimentSummary>,
    /// What AWS says.
    #[serde(default)]
    pub facts: Facts,
}

/// A monitor on the overview.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MonitorSummary {
    /// Its monitoring schedule.
    pub schedule: String,
    /// What it monitors, once a report has told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monitor_type: Option<String>,
    /// Its alert.
    pub status: AlertStatus,
    /// Its health.
    pub health: HealthStatus,
    /// How many of the evaluated datapoints breach.
    pub breaching: usize,
    /// M.
    pub datapoints_to_alert: u8,
    /// N.
    pub evaluation_period: u8,
    /// The states of its latest executions, oldest first, a letter each: `C`lean, `V`iolations, `N`oData, `F`ailed, `M`issing.
    pub states: String,
    /// When the latest of them was scheduled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latest: Option<Timestamp>,
}

/// An open incident on the overview.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IncidentSummary {
    /// Its id.
    pub id: String,
    /// Since when it is open.
    pub opened_at: Timestamp,
    /// Until when it waits as it does, if time alone changes anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// A decision on the overview.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LastDecision {
    /// Of which incident.
    pub incident_id: String,
    /// What was decided.
    pub verdict: Verdict,
    /// Why, in words.
    pub sentence: String,
    /// When.
    pub time: Timestamp,
}

/// A retraining on the overview.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LastRetraining {
    /// When it was decided.
    pub time: Timestamp,
    /// How its run stands, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<ExecutionStatus>,
    /// Whether it helped: the drift was gone after it; `None` while that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub helped: Option<bool>,
}

/// An experiment on the overview.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExperimentSummary {
    /// Its id.
    pub id: String,
    /// Where it stands.
    pub stage: ExperimentStage,
    /// How it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conclusion: Option<Conclusion>,
    /// What was last said of it.
    pub sentence: String,
    /// When it came to where it stands.
    pub since: Timestamp,
}

/// A state as a letter: `C`lean, `V`iolations, `N`oData, `F`ailed, `M`issing.
pub(crate) fn letter(state: DatapointState) -> char {
    match state {
        DatapointState::Clean => 'C',
        DatapointState::Violations => 'V',
        DatapointState::NoData => 'N',
        DatapointState::Failed => 'F',
        DatapointState::Missing => 'M',
    }
}

impl Summary {
    /// The summary of a model, at a time.
    pub fn of(documents: &Documents<'_>, facts: Facts, now: Timestamp) -> Self {
        let document = documents.document;
        let incident = document.and_then(|document| document.incident.as_ref());
        let settings = documents.policy.model(documents.model);
        let endpoint = documents
            .ledgers
            .iter()
            .find_map(|ledger| ledger.monitor.endpoint.clone());
        let of_facts = facts.endpoint.as_ref().map(|endpoint| endpoint.name.clone());
        let rating = settings.risk_rating.or(facts.risk_rating);
        let incidents = all_incidents(document);
        let runs = incidents.iter().filter_map(|incident| incident.execution.as_ref());
        let seconds = runs.filter_map(|run| Some(run.end_time?.duration_since(run.start_time?)));
        let decided = incidents
            .iter()
            .filter(|incident| incident.retrain_decided_at.is_some());
        let retrainings = u32::try_from(decided.count()).unwrap_or(u32::MAX);
        Self {
            model: documents.model.to_owned(),
            at: now,
            stage: document.map_or(Stage::Healthy, ModelDocument::stage),
            endpoint: endpoint.or(of_facts),
            risk_rating: rating.unwrap_or_default(),
            monitors: documents
                .ledgers
                .iter()
                .map(|ledger| MonitorSummary::of(ledger, documents.policy, now))
                .collect(),
            incident: incident.map(|incident| IncidentSummary {
                id: incident.id.clone(),
                opened_at: incident.opened_at,
                until: incident.decision.as_ref().and_then(|decision| decision.until),
            }),
            decision: last_decision(document),
            retraining: last_retraining(document),
            retrainings,
            cost: settings.retraining.cost.map(|cost| cost * f64::from(retrainings)),
            retraining_seconds: seconds.map(|of| of.as_secs()).sum(),
            experiment: documents.experiments.and_then(ExperimentSummary::of),
            facts,
        }
    }

    /// The monitor types of Model Monitor's that no monitor of the model has.
    pub fn not_configured(&self) -> Vec<&'static str> {
        let has = |name: &&str| {
            let mut types = self.monitors.iter().map(|monitor| monitor.monitor_type.as_deref());
            // One that has not told yet what it monitors may be of any type.
            types.any(|of| of.is_none() || of == Some(*name))
        };
        MONITOR_TYPES.into_iter().filter(|name| !has(name)).collect()
    }

    /// Whether a person has something to do.
    pub fn needs_a_person(&self) -> bool {
        let asks = matches!(
            self.stage,
            Stage::AwaitingApproval | Stage::AwaitingData | Stage::Escalated
        );
        let paused =
            |of: &ExperimentSummary| matches!(of.stage, ExperimentStage::Paused | ExperimentStage::AwaitingApproval);
        asks || self.experiment.as_ref().is_some_and(paused)
    }

    /// Whether a monitor is in alert.
    pub fn in_alert(&self) -> bool {
        self.monitors
            .iter()
            .any(|monitor| monitor.status == AlertStatus::InAlert)
    }

    /// Whether a monitor says nothing any more.
    pub fn unhealthy(&self) -> bool {
        self.monitors
            .iter()
            .any(|monitor| monitor.health == HealthStatus::Unhealthy)
    }
}

impl MonitorSummary {
    fn of(ledger: &MonitorLedger, policy: &Policy, now: Timestamp) -> Self {
        let monitor = &ledger.monitor;
        let monitor_type = monitor.monitor_type.map(MonitorType::as_str);
        let rules = policy
            .monitor(&MonitorOf {
                schedule: &monitor.schedule,
                endpoint: monitor.endpoint.as_deref(),
                monitor_type,
            })
            .rules;
        let window = ledger.window(&rules);
        let evaluated = rules.evaluated(&window, ledger.counting(), ledger.as_of.unwrap_or(now));
        let skipped = ledger.datapoints.len().saturating_sub(STRIP);
        Self {
            schedule: monitor.schedule.clone(),
            monitor_type: monitor_type.map(ToOwned::to_owned),
            status: ledger.alert.status,
            health: ledger.health.status,
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
    fn of(document: &ExperimentDocument) -> Option<Self> {
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

/// Every incident that the document keeps, oldest first, the open one last.
pub(crate) fn all_incidents(document: Option<&ModelDocument>) -> Vec<&Incident> {
    let Some(document) = document else {
        return Vec::new();
    };
    let closed = document.closed.iter().map(|closed| &closed.incident);
    closed.chain(&document.incident).collect()
}

fn last_decision(document: Option<&ModelDocument>) -> Option<LastDecision> {
    let decided = |incident: &Incident| {
        let decision: &Decision = incident.decision.as_ref()?;
        Some(LastDecision {
            incident_id: incident.id.clone(),
            verdict: decision.verdict,
            sentence: decision.sentence.clone(),
            time: decision.time,
        })
    };
    all_incidents(document).into_iter().rev().find_map(decided)
}

fn last_retraining(document: Option<&ModelDocument>) -> Option<LastRetraining> {
    let document = document?;
    let of = |incident: &Incident, helped: Option<bool>| {
        Some(LastRetraining {
            time: incident.retrain_decided_at?,
            status: incident.execution.as_ref().map(|run| run.status),
            helped,
        })
    };
    let open = document.incident.as_ref();
    let open = open.and_then(|open| of(open, (open.stage == Stage::Escalated).then_some(false)));
    let mut closed = document.closed.iter().rev();
    open.or_else(|| {
        closed.find_map(|closed| {
            let helped = match closed.outcome {
                Outcome::Repaired => Some(true),
                Outcome::Resolved if closed.incident.stage == Stage::Escalated => Some(false),
                Outcome::Recovered | Outcome::Resolved => None,
            };
            of(&closed.incident, helped)
        })
    })
}
