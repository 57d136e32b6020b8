//! Incidents: the facts that they have in every stage, and the state of their stage.

use crate::{
    Approval, Decision, Outcome, PipelineExecution, Stage,
    state::{Past, State, WaitsFor},
    time::after,
};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

/// Time after which the decision of an incident is published again.
pub(crate) const REMINDER_INTERVAL: SignedDuration = SignedDuration::from_hours(7 * 24);

/// Drift of one model, from the first alert until every monitor has been OK for some executions.
#[derive(Debug, Clone, PartialEq)]
pub struct Incident {
    /// Sequence number within the model, starting at 1.
    pub number: u64,
    /// `{model}-{number}`.
    pub id: String,
    /// Correlation ID of the execution whose alert opened the incident.
    pub correlation_id: Option<String>,
    /// Idempotency token of the retraining (`ClientRequestToken`).
    pub token: String,
    /// Time of the last change of the stage.
    pub stage_since: Timestamp,
    /// Time at which the first alert was received.
    pub opened_at: Timestamp,
    /// Time of the latest alert.
    pub last_alert_at: Option<Timestamp>,
    /// Number of times that the incident was reopened because the drift returned.
    pub returns: u32,
    /// Monitoring schedules that were in alert during the incident.
    pub monitors: Vec<String>,
    /// Latest decision. `None` before the first one.
    pub decision: Option<Decision>,
    /// Number of decisions.
    pub decisions: u64,
    /// Number of starts that AWS refused. Each attempt has a separate token.
    pub refused_starts: u32,
    /// The latest approval request and its answer. They stay with the incident after the decision.
    pub(crate) consent: Consent,
    /// The state of its stage.
    pub(crate) state: State,
    /// Fields of a newer release. They survive a rewrite.
    pub rest: Map<String, Value>,
}

/// A request for approval, and the latest answer. An answer can come without a request, if the automation level suggests.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Consent {
    pub(crate) request: Option<ApprovalRequest>,
    pub(crate) answer: Option<Approval>,
}

/// A request for approval of a retraining.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ApprovalRequest {
    pub(crate) expires_at: Timestamp,
    /// [`Decision::fingerprint`] of the decision that requests it. `None` in requests of the first release.
    pub(crate) fingerprint: Option<String>,
}

/// A closed incident.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClosedIncident {
    /// The incident at the time at which it was closed.
    pub incident: Incident,
    /// Time at which the incident was closed.
    pub closed_at: Timestamp,
    /// Outcome of the incident.
    pub outcome: Outcome,
}

impl Incident {
    /// A new incident of a model. `seed` is part of the token: if a document is lost and the count restarts at 1, SageMaker
    /// must not return the pipeline execution of the earlier incident 1.
    pub(crate) fn new(model: &str, number: u64, seed: &str, now: Timestamp) -> Self {
        let id = format!("{model}-{number}");
        let token = hex::encode(Sha256::digest(format!("driftwarden/start/{id}/{seed}")));
        Self {
            number,
            id,
            correlation_id: None,
            token,
            stage_since: now,
            opened_at: now,
            last_alert_at: None,
            returns: 0,
            monitors: Vec::new(),
            decision: None,
            decisions: 0,
            refused_starts: 0,
            consent: Consent::default(),
            state: State::undecided(WaitsFor::Facts, Past::NoRetraining),
            rest: Map::new(),
        }
    }

    /// The incident after the drift has returned. It keeps the facts about its retraining.
    pub(crate) fn reopened(self, now: Timestamp) -> Self {
        Self {
            stage_since: now,
            returns: self.returns.saturating_add(1),
            consent: Consent::default(),
            state: State::undecided(WaitsFor::Facts, self.state.into_past()),
            ..self
        }
    }

    /// Stage of the incident; never [`Stage::Healthy`].
    pub fn stage(&self) -> Stage {
        self.state.stage()
    }

    /// Time at which the approval request expires. `None` without a request.
    pub fn approval_expires_at(&self) -> Option<Timestamp> {
        self.consent.request.as_ref().map(|request| request.expires_at)
    }

    /// Answer to the approval request.
    pub fn approval(&self) -> Option<&Approval> {
        self.consent.answer.as_ref()
    }

    /// Time of the decision to retrain. `None` if there is none, or its start was withdrawn or refused.
    pub fn retrain_decided_at(&self) -> Option<Timestamp> {
        self.state.facts().decided_at
    }

    /// Execution of the retraining. `None` until it is known.
    pub fn execution(&self) -> Option<&PipelineExecution> {
        self.state.facts().retraining.map(|retraining| &retraining.execution)
    }

    /// Time at which the retraining succeeded, if its model has to be tested: start of the wait for its model package.
    pub fn candidate_since(&self) -> Option<Timestamp> {
        self.state.facts().test.map(|test| test.since)
    }

    /// ID of the experiment with the retrained model.
    pub fn experiment_id(&self) -> Option<&str> {
        self.state.facts().test?.experiment_id.as_deref()
    }

    /// Time since which the retrained model serves. Later executions verify it.
    pub fn verifying_since(&self) -> Option<Timestamp> {
        self.state.facts().serves_since
    }

    /// Adds monitors that are in alert.
    pub(crate) fn add_monitors(&mut self, monitors: impl IntoIterator<Item = String>) {
        for monitor in monitors {
            if !self.monitors.contains(&monitor) {
                self.monitors.push(monitor);
            }
        }
    }

    /// Whether a decision only repeats the last one, and is not due again.
    pub(crate) fn has_decided(&self, decision: &Decision) -> bool {
        self.decision
            .as_ref()
            .is_some_and(|last| last.is_equivalent_to(decision) && after(last.time, REMINDER_INTERVAL) > decision.time)
    }

    /// Moves to a state. The only way to change the stage of an open incident.
    pub(crate) fn advance(&mut self, state: State, now: Timestamp) {
        if state.stage() != self.stage() {
            self.stage_since = now;
        }
        self.state = state;
    }

    /// ID of the pending effect that starts the retraining.
    pub(crate) fn start_effect_id(&self) -> String {
        match self.refused_starts {
            0 => format!("start/{}", self.id),
            refused => format!("start/{}/{refused}", self.id),
        }
    }
}
