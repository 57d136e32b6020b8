//! The lifecycle of a model: one incident, one retraining, whatever comes in.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use alerting::{AlertStateChange, AlertStatus, DatapointState, EventDatapoint};
use jiff::{SignedDuration, Timestamp};
use outbox::{Caller, Outbox};
use proptest::prelude::*;
use remediation::{
    ExecutionStatus, Input, ModelDocument, ModelEffect, PipelineExecution, PipelineStart, Policy, Settings, Stage,
    StartPipelineExecution, Stepped, model_of_display_name,
};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_790_000_000 + second).unwrap()
}

fn caller(second: i64) -> Caller {
    Caller {
        id: format!("request-{second}"),
        now: at(second),
        lease: SignedDuration::from_secs(120),
    }
}

fn settings(pipeline_start: PipelineStart) -> Settings {
    Settings {
        pipeline: "churn-retraining".into(),
        pipeline_start,
    }
}

fn alert(schedule: &str, transition: u64, status: AlertStatus) -> Input {
    let previous = if status == AlertStatus::Ok {
        AlertStatus::InAlert
    } else {
        AlertStatus::Ok
    };
    Input::Alert(Box::new(AlertStateChange {
        version: "1".into(),
        id: format!("alert-{schedule}-{transition}"),
        model: "churn".into(),
        endpoint: Some("churn".into()),
        monitoring_schedule: schedule.into(),
        monitor_type: Some("DataQuality".into()),
        transition,
        alert_status: status,
        previous_alert_status: previous,
        datapoints_to_alert: 2,
        evaluation_period: 3,
        breaching: 2,
        datapoints: vec![EventDatapoint {
            scheduled_time: at(0),
            state: DatapointState::Violations,
            violations: Some(2),
            report_uri: None,
        }],
        violations: Vec::new(),
        report_uri: None,
        reason: "2 of the 3 latest executions had violations; 2 of 3 alert".into(),
        policy_version: "default".into(),
        time: at(i64::try_from(transition).unwrap()),
    }))
}

fn in_alert(schedule: &str, transition: u64) -> Input {
    alert(schedule, transition, AlertStatus::InAlert)
}

fn ok(schedule: &str, transition: u64) -> Input {
    alert(schedule, transition, AlertStatus::Ok)
}

fn execution(incident: u64, status: ExecutionStatus) -> Input {
    let arn = format!("arn:aws:sagemaker:us-east-1:111122223333:pipeline/churn-retraining/execution/{incident}");
    Input::PipelineExecution {
        incident,
        execution: PipelineExecution {
            arn,
            status,
            start_time: None,
            end_time: None,
        },
    }
}

fn play(inputs: impl IntoIterator<Item = Input>) -> ModelDocument {
    let mut document = ModelDocument::new("churn");
    for (input, second) in inputs.into_iter().zip(0..) {
        document.step(
            input,
            &Policy::default(),
            &settings(PipelineStart::Remediate),
            &caller(second),
        );
    }
    document
}

fn starts(document: &ModelDocument) -> Vec<&StartPipelineExecution> {
    let starts = document
        .outbox
        .entries()
        .iter()
        .filter_map(|entry| match &entry.effect {
            ModelEffect::StartPipelineExecution(start) => Some(start),
            _ => None,
        });
    starts.collect()
}

fn stage(document: &ModelDocument) -> Option<Stage> {
    document.incident.as_ref().map(|incident| incident.stage)
}

#[test]
fn the_first_alert_opens_an_incident_and_starts_the_pipeline() {
    let document = play([in_alert("dq", 1)]);
    let [start] = starts(&document)[..] else {
        panic!("one start")
    };
    assert_eq!(start.pipeline, "churn-retraining");
    assert_eq!(start.display_name, "driftwarden-churn-1");
    assert_eq!(model_of_display_name(&start.display_name), Some(("churn", 1)));
    assert!((32..=128).contains(&start.client_request_token.len()));
    assert_eq!(start.parameters["DriftwardenIncident"], "churn-1");
    assert_eq!(start.parameters["DriftedFeatures"], "none");
    insta::assert_snapshot!(start.description, @"Retrain `churn`: monitor `dq` is in alert (2 of the 3 latest executions had violations; 2 of 3 alert). No other incident of this model is open.");
    assert_eq!(stage(&document), Some(Stage::Retraining));
}

#[test]
fn names_that_sagemaker_would_refuse_in_a_description_are_made_one_line() {
    let Input::Alert(mut change) = in_alert("dq", 1) else {
        panic!("an alert")
    };
    change.reason = format!("a\nb {}", "x".repeat(5000));
    let document = play([Input::Alert(change)]);
    let description = &starts(&document)[0].description;
    assert!(
        description.chars().count() <= 3072 && !description.contains('\n'),
        "{description}"
    );
}

#[test]
fn other_monitors_join_and_start_nothing() {
    let document = play([in_alert("dq", 1), in_alert("mq", 1), in_alert("dq", 3)]);
    assert_eq!(starts(&document).len(), 1);
    assert_eq!(document.incident.unwrap().monitors, ["dq", "mq"]);
}

#[test]
fn an_incident_closes_when_the_pipeline_has_succeeded_and_every_monitor_is_ok() {
    use ExecutionStatus::{Executing, Succeeded};
    let mut document = play([
        in_alert("dq", 1),
        in_alert("mq", 1),
        execution(1, Executing),
        execution(1, Succeeded),
    ]);
    assert_eq!(stage(&document), Some(Stage::Verifying));
    let mut then = |input| {
        document.step(
            input,
            &Policy::default(),
            &settings(PipelineStart::Remediate),
            &caller(9),
        );
        (stage(&document), document.closed.len())
    };
    assert_eq!(then(ok("dq", 2)), (Some(Stage::Verifying), 0));
    assert_eq!(then(ok("mq", 2)), (None, 1));
    assert_eq!(then(in_alert("dq", 3)), (Some(Stage::Retraining), 1));
    let tokens: std::collections::BTreeSet<_> = starts(&document)
        .into_iter()
        .map(|start| &start.client_request_token)
        .collect();
    assert_eq!(tokens.len(), 2, "the next incident is another retraining");
}

#[test]
fn an_alert_that_is_over_does_not_close_an_incident_whose_pipeline_runs() {
    let document = play([in_alert("dq", 1), ok("dq", 2), in_alert("dq", 3)]);
    assert_eq!(
        (stage(&document), starts(&document).len()),
        (Some(Stage::Retraining), 1)
    );
    let document = play([in_alert("dq", 1), ok("dq", 2), execution(1, ExecutionStatus::Succeeded)]);
    assert_eq!((stage(&document), document.closed.len()), (None, 1));
}

#[test]
fn a_failed_pipeline_needs_a_person() {
    for status in [
        ExecutionStatus::Failed,
        ExecutionStatus::Stopped,
        ExecutionStatus::CompletedWithFailures,
    ] {
        let document = play([in_alert("dq", 1), execution(1, status), in_alert("dq", 3)]);
        assert_eq!((stage(&document), starts(&document).len()), (Some(Stage::Escalated), 1));
    }
}

#[test]
fn late_and_foreign_executions_change_nothing() {
    let mut document = play([in_alert("dq", 1), execution(1, ExecutionStatus::Succeeded)]);
    let before = document.clone();
    for late in [
        execution(1, ExecutionStatus::Executing),
        execution(1, ExecutionStatus::Failed),
        execution(7, ExecutionStatus::Failed),
    ] {
        let stepped = document.step(
            late,
            &Policy::default(),
            &settings(PipelineStart::Remediate),
            &caller(9),
        );
        assert_eq!(stepped, Stepped::Nothing);
    }
    assert_eq!(document, before);
}

#[test]
fn a_rule_that_starts_the_pipeline_is_told_with_the_decision_alone() {
    let mut document = ModelDocument::new("churn");
    let fewer = Policy::parse(b"[retraining]\nparameters = []\n").unwrap();
    document.step(in_alert("dq", 1), &fewer, &settings(PipelineStart::Rule), &caller(0));
    assert!(starts(&document).is_empty());
    let [entry] = document.outbox.entries() else {
        panic!("one effect")
    };
    let ModelEffect::PutRemediationDecided(decided) = &entry.effect else {
        panic!("the decision")
    };
    assert_eq!(decided.pipeline_start, PipelineStart::Rule);
    assert_eq!(decided.pipeline_parameters.len(), 5, "the rule's target names them all");
    assert!(
        decided
            .pipeline_parameters
            .keys()
            .all(|name| name.chars().all(|c| c.is_ascii_alphanumeric()))
    );
}

#[test]
fn a_lost_document_begins_anew_with_another_token() {
    let token = |document: &ModelDocument| starts(document)[0].client_request_token.clone();
    let first = play([in_alert("dq", 1)]);
    let anew = play([in_alert("dq", 5)]);
    assert_ne!(token(&first), token(&anew));
    assert_eq!(
        token(&first),
        token(&play([in_alert("dq", 1)])),
        "and the same alert with the same"
    );
}

fn some_input() -> impl Strategy<Value = Input> {
    use ExecutionStatus::{Executing, Failed, Stopped, Succeeded};
    prop_oneof![
        3 => (prop_oneof![Just("dq"), Just("mq"), Just("bias")], 1..8_u64)
            // As a ledger counts: alerts are odd, their ends even.
            .prop_map(|(schedule, n)| if n % 2 == 1 { in_alert(schedule, n) } else { ok(schedule, n) }),
        1 => (1..4_u64, prop_oneof![Just(Executing), Just(Failed), Just(Stopped), Just(Succeeded)])
            .prop_map(|(incident, status)| execution(incident, status)),
    ]
}

proptest! {
    /// Never two retrainings for one incident, never an incident without its decision, never two open at once.
    #[test]
    fn one_incident_has_one_retraining(inputs in proptest::collection::vec(some_input(), 0..60)) {
        let mut document = ModelDocument::new("churn");
        let mut started = Vec::new();
        for (input, second) in inputs.iter().zip(0..) {
            // Every event comes twice.
            for _ in 0..2 {
                document.step(input.clone(), &Policy::default(), &settings(PipelineStart::Remediate), &caller(second));
                started.extend(starts(&document).into_iter().map(|start| start.incident));
                document.outbox = Outbox::default();
            }
        }
        let incidents: Vec<u64> = (1..=document.incidents).collect();
        prop_assert_eq!(started, incidents, "each incident is started once, in order");
        let open = u64::from(document.incident.is_some());
        prop_assert!(document.closed.len() as u64 + open <= document.incidents);
        let quiet = document.alerts.values().all(|alert| alert.status == AlertStatus::Ok);
        prop_assert!(quiet || document.incident.is_some(), "a monitor in alert has an incident");
    }

    /// A model's document survives being written and read at any point.
    #[test]
    fn a_document_reads_back_as_it_was_written(inputs in proptest::collection::vec(some_input(), 0..30)) {
        let document = play(inputs);
        let text = serde_json::to_vec(&document).unwrap();
        prop_assert_eq!(serde_json::from_slice::<ModelDocument>(&text).unwrap(), document);
    }
}
