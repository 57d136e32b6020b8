//! The stored form of incidents is that of every release.

use super::*;
use remediation::{Approval, Decision, Incident, StartAnswer};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// An incident as the release of November 2026 reads and writes it.
#[derive(Debug, Serialize, Deserialize)]
struct ReleasedIncident {
    number: u64,
    id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    correlation_id: Option<String>,
    token: String,
    stage: Stage,
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    asked_until: Option<Timestamp>,
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

/// Checks that a release that is older than the typed stages reads what is written, and means the same by it.
fn assert_readable_by_released(incident: &Incident) {
    let written = serde_json::to_value(incident).unwrap();
    let read: ReleasedIncident = serde_json::from_value(written.clone()).unwrap();
    assert!(read.rest.is_empty(), "{:?}", read.rest);
    let stage = match (read.stage, &read.execution) {
        (Stage::Retraining, None) => Stage::Starting,
        (stage, _) => stage,
    };
    assert_eq!(stage, incident.stage());
    assert_ne!(read.stage, Stage::Starting, "the first release does not know it");
    assert_eq!(read.execution.as_ref(), incident.execution());
    assert_eq!(read.approval.as_ref(), incident.approval());
    assert_eq!(read.asked_until, incident.approval_expires_at());
    assert_eq!(read.retrain_decided_at, incident.retrain_decided_at());
    assert_eq!(read.candidate_since, incident.candidate_since());
    assert_eq!(read.experiment_id.as_deref(), incident.experiment_id());
    assert_eq!(read.verifying_since, incident.verifying_since());
    // What that release writes means the same here.
    let rewritten = serde_json::to_value(&read).unwrap();
    assert_eq!(rewritten, written);
    assert_eq!(&serde_json::from_value::<Incident>(rewritten).unwrap(), incident);
}

proptest! {
    #[test]
    fn incident_has_the_stored_form_of_earlier_releases(
        inputs in proptest::collection::vec((some_input(), some_policy(), some_start(), some_candidate()), 0..40),
    ) {
        let mut scenario = Scenario::with_policy(AUTO);
        for (((input, answers), policy, start, candidate), hours) in inputs.into_iter().zip([1, 30, 200].into_iter().cycle()) {
            scenario.policy = Policy::parse(policy.as_bytes()).unwrap();
            scenario.facts = answers.then(Facts::default);
            scenario.start = start;
            scenario.apply(input);
            if let Some(candidate) = candidate {
                scenario.policy = Policy::parse(WITH_EXPERIMENTS.as_bytes()).unwrap();
                scenario.apply(candidate);
            }
            scenario.apply_at(scenario.second + hours * 3600, tick());
            let document = &scenario.document;
            let closed = document.closed.iter().map(|closed| &closed.incident);
            closed.chain(&document.incident).for_each(assert_readable_by_released);
        }
    }
}

fn some_start() -> impl Strategy<Value = Option<ModelEffectOutcome>> {
    let full = Reason::FleetAtOnce {
        retrainings: 5,
        limit: 5,
    };
    prop_oneof![
        4 => Just(Some(ModelEffectOutcome::Started(EXECUTION.into()))),
        1 => Just(Some(ModelEffectOutcome::Refused("unknown parameter".into()))),
        1 => Just(Some(ModelEffectOutcome::Held(full))),
        1 => Just(None),
    ]
}

fn some_candidate() -> impl Strategy<Value = Option<Input>> {
    let conclusion = prop_oneof![
        Just(None),
        Just(Some(Conclusion::Promoted)),
        Just(Some(Conclusion::RolledBack))
    ];
    let ended = conclusion.prop_map(|ended| candidate(ended, Some(EXECUTION), 1_000_000));
    prop_oneof![2 => Just(None), 1 => Just(Some(execution(1, ExecutionStatus::Succeeded))), 2 => ended.prop_map(Some)]
}

/// An incident of the first release, in a stage and with more members.
fn first_release(stage: &str, more: &Value) -> Value {
    let mut incident = json!({
        "number": 3, "id": "churn-3", "token": "t", "stage": stage, "opened_at": at(0), "monitors": ["dq"],
    });
    let members = more.as_object().unwrap().clone();
    incident.as_object_mut().unwrap().extend(members);
    incident
}

#[test]
fn incident_of_the_first_release_is_readable() {
    let read = |stage, more: Value| serde_json::from_value::<Incident>(first_release(stage, &more)).unwrap();
    let deciding = read("Deciding", json!({}));
    assert_eq!((deciding.stage(), deciding.stage_since), (Stage::Deciding, at(0)));
    // A retraining without an execution was decided and not seen.
    let starting = read("Retraining", json!({"retrain_decided_at": at(5)}));
    assert_eq!((starting.stage(), starting.stage_since), (Stage::Starting, at(5)));
    let execution = json!({"arn": EXECUTION, "status": "Executing"});
    let retraining = read("Retraining", json!({"execution": execution}));
    assert_eq!(
        (retraining.stage(), retraining.execution().unwrap().arn.as_str()),
        (Stage::Retraining, EXECUTION)
    );
    let verifying = read("Verifying", json!({"execution": execution, "verifying_since": at(9)}));
    assert_eq!((verifying.stage(), verifying.stage_since), (Stage::Verifying, at(9)));
    // An approval request without the facts that it counts for.
    let asking = read("AwaitingApproval", json!({"asked_until": at(7)}));
    assert_eq!(asking.approval_expires_at(), Some(at(7)));
}

#[test]
fn members_of_a_newer_release_survive() {
    let stored = first_release("Escalated", &json!({"stage_since": at(1), "severity": {"of": "later"}}));
    let incident: Incident = serde_json::from_value(stored.clone()).unwrap();
    let written = serde_json::to_value(&incident).unwrap();
    assert_eq!(written.get("severity"), stored.get("severity"));
}

#[test]
fn stage_without_its_execution_is_not_readable() {
    for stage in ["Candidate", "Verifying", "Healthy"] {
        let error = serde_json::from_value::<Incident>(first_release(stage, &json!({}))).unwrap_err();
        assert!(error.to_string().contains("churn-3"), "{error}");
    }
}
