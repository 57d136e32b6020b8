//! Starts that AWS refuses or never answers, for each kind of target.

use super::{
    now::{DAY, HOUR},
    *,
};
use machine::{AwsError, Kind, OutboxDocument as _};

/// A pending start of a retraining, with this policy for retrainings.
fn pending(retraining: &str) -> Scenario {
    let mut scenario = Scenario::with_policy(&format!("{AUTO}[retraining]\n{retraining}"));
    scenario.start = None;
    assert_eq!(scenario.apply_at(10, in_alert("dq", 1)), Stage::Starting);
    scenario
}

const STATE_MACHINE: &str = "start = 'state-machine'\n\
                             state_machine = 'arn:aws:states:us-east-1:111122223333:stateMachine:retrain'\n";

#[test]
fn denied_start_is_refused_after_fifteen_minutes() {
    for retraining in ["", STATE_MACHINE, "start = 'event'\n"] {
        let scenario = pending(retraining);
        let start = scenario.document.outbox.get(&start_id(&scenario)).unwrap();
        let refusal = |kind: Kind, since: i64, now: i64| {
            let error = AwsError {
                operation: "sagemaker:StartPipelineExecution",
                resource: "churn-retraining".into(),
                kind,
                message: "the role may not start it".into(),
            };
            ModelDocument::refusal(&start.effect, &error, at(since), at(now))
        };
        for kind in [Kind::Denied, Kind::Transient, Kind::Conflict] {
            assert_eq!(refusal(kind, 10, 10 + 15 * 60 - 1), None, "{kind:?} {retraining}");
        }
        for (kind, now) in [(Kind::Denied, 10 + 15 * 60), (Kind::Rejected, 10), (Kind::NotFound, 10)] {
            let refused = refusal(kind, 10, now);
            assert!(
                matches!(&refused, Some(ModelEffectOutcome::Refused(error)) if error.contains("the role may not start it")),
                "{kind:?} {retraining} {refused:?}"
            );
        }
        for kind in [Kind::Transient, Kind::Conflict] {
            assert_eq!(refusal(kind, 10, 10 + DAY), None, "{kind:?} {retraining}");
        }
    }
}

/// ID of the pending start, whichever effect it is.
fn start_id(scenario: &Scenario) -> String {
    let mut entries = scenario.document.outbox.entries().iter();
    entries.find(|entry| entry.effect.is_start()).unwrap().id.clone()
}

#[test]
fn refused_state_machine_start_escalates() {
    let mut scenario = pending(STATE_MACHINE);
    scenario.start = Some(ModelEffectOutcome::Refused("StateMachineDoesNotExist".into()));
    assert_eq!(scenario.apply_at(200, tick()), Stage::Escalated);
    assert!(
        matches!(&scenario.last_decision().1[..], [Reason::StartRefused { error }] if error.contains("DoesNotExist"))
    );
    assert!(scenario.document.retrainings.is_empty(), "it counts toward no budget");
    let entries = scenario.document.outbox.entries().iter();
    assert_eq!(entries.filter(|entry| entry.effect.is_start()).count(), 0);
}

#[test]
fn start_by_event_escalates_at_its_own_deadline() {
    for (within, deadline) in [("", 48 * HOUR), ("retraining_within = '6h'\n", 6 * HOUR)] {
        let policy = AUTO.replace("[remediation]\n", &format!("[remediation]\n{within}"));
        let mut scenario = Scenario::with_policy(&format!("{policy}[retraining]\nstart = 'event'\n"));
        scenario.start = Some(ModelEffectOutcome::Published);
        assert_eq!(scenario.apply_at(10, in_alert("dq", 1)), Stage::Starting);
        assert!(scenario.document.outbox.get("start/churn-1").is_none());
        // `start_within`, an hour, is for starts that AWS answers.
        assert_eq!(scenario.apply_at(2 * HOUR, tick()), Stage::Starting);
        assert_eq!(scenario.apply_at(deadline + 9, tick()), Stage::Starting);
        assert_eq!(scenario.apply_at(deadline + 10, tick()), Stage::Escalated);
        let (_, reasons) = scenario.last_decision();
        assert!(
            matches!(&reasons[..], [Reason::StartMissing { until, error: None }] if *until == at(deadline + 10)),
            "{reasons:?}"
        );
        // The service that retrains reports late.
        let late = execution(1, ExecutionStatus::Executing);
        assert_eq!(scenario.apply_at(deadline + HOUR, late), Stage::Retraining);
    }
}
