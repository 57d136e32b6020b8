//! The stored form of an incident: one flat object, as every release reads and writes it.
//!
//! An object in which the facts contradict the stage is not an incident: reading it fails, and nothing is guessed.

use crate::{
    Approval, Decision, Incident, PipelineExecution, Stage, StartAnswer,
    incident::{ApprovalRequest, Consent},
    state::{Candidate, CandidateTest, Past, Retraining, Starting, State, Verifying, WaitsFor},
};
use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use serde_json::{Map, Value};

/// An incident as stored. The fields are described at [`Incident`] and its state.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct StoredIncident {
    number: u64,
    id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    correlation_id: Option<String>,
    token: String,
    /// The first release has no `Starting`: it is `Retraining` without an execution.
    stage: Stage,
    /// `None` in incidents of the first release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stage_since: Option<Timestamp>,
    opened_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_alert_at: Option<Timestamp>,
    #[serde(default)]
    returns: u32,
    monitors: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    decision: Option<Decision>,
    #[serde(default)]
    decisions: u64,
    #[serde(rename = "asked_until", default, skip_serializing_if = "Option::is_none")]
    approval_expires_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    approval_fingerprint: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    approval: Option<Approval>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    execution: Option<PipelineExecution>,
    #[serde(default)]
    retries: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retried_after: Option<Timestamp>,
    #[serde(default)]
    refused_starts: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    start_answer: Option<StartAnswer>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retrain_decided_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    candidate_since: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    experiment_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    verifying_since: Option<Timestamp>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

impl Serialize for Incident {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        StoredIncident::from(self.clone()).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Incident {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let stored = StoredIncident::deserialize(deserializer)?;
        Self::try_from(stored).map_err(D::Error::custom)
    }
}

impl From<Incident> for StoredIncident {
    fn from(incident: Incident) -> Self {
        let facts = incident.state.facts();
        let answer = match &incident.state {
            State::Starting(starting) => starting.answer.clone(),
            _ => None,
        };
        let stage = match incident.state.stage() {
            Stage::Starting => Stage::Retraining,
            stage => stage,
        };
        let (expires_at, fingerprint) = match incident.consent.request {
            Some(request) => (Some(request.expires_at), request.fingerprint),
            None => (None, None),
        };
        Self {
            stage,
            execution: facts.retraining.map(|retraining| retraining.execution.clone()),
            retries: facts.retraining.map_or(0, |retraining| retraining.retries),
            retried_after: facts.retraining.and_then(|retraining| retraining.retried_after),
            start_answer: answer,
            retrain_decided_at: facts.decided_at,
            candidate_since: facts.test.map(|test| test.since),
            experiment_id: facts.test.and_then(|test| test.experiment_id.clone()),
            verifying_since: facts.serves_since,
            number: incident.number,
            id: incident.id,
            correlation_id: incident.correlation_id,
            token: incident.token,
            stage_since: Some(incident.stage_since),
            opened_at: incident.opened_at,
            last_alert_at: incident.last_alert_at,
            returns: incident.returns,
            monitors: incident.monitors,
            decision: incident.decision,
            decisions: incident.decisions,
            approval_expires_at: expires_at,
            approval_fingerprint: fingerprint,
            approval: incident.consent.answer,
            refused_starts: incident.refused_starts,
            rest: incident.rest,
        }
    }
}

impl TryFrom<StoredIncident> for Incident {
    type Error = String;

    fn try_from(stored: StoredIncident) -> Result<Self, Self::Error> {
        // Incidents of the first release do not contain the time: it is that of the latest known event.
        let decided = stored.decision.as_ref().map(|decision| decision.time);
        let known = [
            stored.verifying_since,
            stored.candidate_since,
            stored.retrain_decided_at,
            decided,
        ];
        let stage_since = stored.stage_since.or_else(|| known.into_iter().flatten().max());
        let stage_since = stage_since.unwrap_or(stored.opened_at);
        Ok(Self {
            state: stored.state(stage_since)?,
            number: stored.number,
            id: stored.id,
            correlation_id: stored.correlation_id,
            token: stored.token,
            stage_since,
            opened_at: stored.opened_at,
            last_alert_at: stored.last_alert_at,
            returns: stored.returns,
            monitors: stored.monitors,
            decision: stored.decision,
            decisions: stored.decisions,
            refused_starts: stored.refused_starts,
            consent: Consent {
                request: stored.approval_expires_at.map(|expires_at| ApprovalRequest {
                    expires_at,
                    fingerprint: stored.approval_fingerprint,
                }),
                answer: stored.approval,
            },
            rest: stored.rest,
        })
    }
}

impl StoredIncident {
    /// The state. Times that an early release did not record are those of its stage.
    fn state(&self, since: Timestamp) -> Result<State, String> {
        let retraining = self.execution.clone().map(|execution| Retraining {
            execution,
            decided_at: self.retrain_decided_at,
            retries: self.retries,
            retried_after: self.retried_after,
        });
        let undecided = |waits_for, retraining| State::undecided(waits_for, self.past(retraining, since));
        Ok(match (self.stage, retraining) {
            (Stage::Deciding, retraining) => undecided(WaitsFor::Facts, retraining),
            (Stage::AwaitingApproval, retraining) => undecided(WaitsFor::Approval, retraining),
            (Stage::Holding, retraining) => undecided(WaitsFor::Release, retraining),
            (Stage::AwaitingData, retraining) => undecided(WaitsFor::Data, retraining),
            (Stage::Starting | Stage::Retraining, None) => State::Starting(Starting {
                decided_at: self.retrain_decided_at.unwrap_or(since),
                answer: self.start_answer.clone(),
            }),
            (Stage::Starting | Stage::Retraining, Some(retraining)) => State::Retraining(retraining),
            (Stage::Candidate, Some(retraining)) => State::Candidate(Candidate {
                retraining,
                test: self.test(since),
            }),
            (Stage::Verifying, Some(retraining)) => {
                State::Verifying(self.verifying(retraining, self.verifying_since.unwrap_or(since)))
            }
            (Stage::Escalated, retraining) => State::Escalated(self.past(retraining, since)),
            (Stage::Candidate | Stage::Verifying, None) | (Stage::Healthy, _) => {
                let (id, stage) = (&self.id, self.stage.as_str());
                return Err(format!(
                    "incident {id} is in stage {stage} without the execution of its retraining"
                ));
            }
        })
    }

    fn past(&self, retraining: Option<Retraining>, since: Timestamp) -> Past {
        match (retraining, self.verifying_since) {
            (None, _) => self.retrain_decided_at.map_or(Past::NoRetraining, Past::NotSeen),
            (Some(retraining), Some(serves_since)) => Past::Served(self.verifying(retraining, serves_since)),
            (Some(retraining), None) if self.is_tested() => Past::Tested(Candidate {
                retraining,
                test: self.test(since),
            }),
            (Some(retraining), None) => Past::Seen(retraining),
        }
    }

    fn verifying(&self, retraining: Retraining, serves_since: Timestamp) -> Verifying {
        Verifying {
            retraining,
            test: self.is_tested().then(|| self.test(serves_since)),
            serves_since,
        }
    }

    fn is_tested(&self) -> bool {
        self.candidate_since.is_some() || self.experiment_id.is_some()
    }

    fn test(&self, since: Timestamp) -> CandidateTest {
        CandidateTest {
            since: self.candidate_since.unwrap_or(since),
            experiment_id: self.experiment_id.clone(),
        }
    }
}
