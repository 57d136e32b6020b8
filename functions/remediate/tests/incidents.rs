//! Incidents as the function sees them, on AWS in memory: every sample event, and a fault at every call.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use jiff::Timestamp;
use remediate::{Handled, Remediate};
use remediation::{ExecutionStatus, ModelDocument, PipelineStart, RiskRating, Settings, Stage};
use shell::{
    ErrorType as _, Kind,
    config::Vars,
    memory::{Fault, Memory},
};

const EVENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../events/remediate");

fn event(name: &str) -> String {
    std::fs::read_to_string(format!("{EVENTS}/{name}.json")).unwrap()
}

fn function() -> Remediate {
    Remediate::new(Settings {
        pipeline: "driftwarden-retraining".into(),
        pipeline_start: PipelineStart::Remediate,
    })
}

/// Acts at once, and knows an alarm.
const POLICY: &str = "[remediation]\nautomation = 'auto'\n\
    [[alarm]]\nname = 'churn-latency-*'\nmodel = 'churn-endpoint'\nseverity = 'critical'\n";

fn world() -> Memory {
    let world = Memory::at("2026-11-23T03:16:22Z".parse::<Timestamp>().unwrap());
    world.put_document("policy.toml", POLICY);
    world
}

fn model(world: &Memory) -> ModelDocument {
    serde_json::from_slice(&world.document("models/churn-endpoint.json").unwrap()).unwrap()
}

/// The sample execution of the events: the one that the pipeline of this world started.
fn of_this_world(world: &Memory, name: &str) -> String {
    let sample = "arn:aws:sagemaker:us-east-1:111122223333:pipeline/driftwarden-retraining/execution/k3v9q2m7x1ab";
    let started = world
        .executions()
        .first()
        .map_or_else(|| sample.to_owned(), |(_, arn)| arn.clone());
    event(name).replace(sample, &started)
}

#[tokio::test]
async fn an_incident_from_its_first_alert_to_its_end() {
    let world = world();
    let mut stages = Vec::new();
    for (at, name) in [
        "alert-in-alert",
        "pipeline-execution-executing",
        "pipeline-execution-succeeded",
        "alert-ok",
    ]
    .iter()
    .enumerate()
    {
        for copy in 0..3 {
            function()
                .handle(&world, &of_this_world(&world, name), &format!("{at}-{copy}"))
                .await
                .unwrap();
        }
        stages.push(model(&world).incident.map(|incident| incident.stage));
    }
    assert_eq!(
        stages,
        [
            Some(Stage::Retraining),
            Some(Stage::Retraining),
            Some(Stage::Verifying),
            None
        ]
    );
    assert_eq!(world.executions().len(), 1);
    let told: Vec<String> = world.events().into_iter().map(|(detail_type, _)| detail_type).collect();
    assert_eq!(
        told,
        [
            "Remediation Decided",
            "Retraining Pipeline Execution Status Change",
            "Remediation Incident Closed"
        ]
    );
    assert!(model(&world).outbox.is_empty());
}

#[tokio::test]
async fn every_sample_event_is_handled() {
    for entry in std::fs::read_dir(EVENTS).unwrap() {
        let payload = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        let handled = function().handle(&world(), &payload, "request").await.unwrap();
        assert!(!matches!(handled, Handled::Ignored { .. }), "{handled:?}");
    }
}

#[tokio::test]
async fn a_fault_at_any_call_still_gives_one_retraining() {
    for fault in [Fault::Before(Kind::Transient), Fault::After] {
        for operation in [
            "s3:GetObject",
            "s3:PutObject",
            "sagemaker:ListPipelineExecutions",
            "sagemaker:StartPipelineExecution",
            "events:PutEvents",
        ] {
            let world = world();
            world.fail(operation, fault);
            let mut attempts = 0;
            while function()
                .handle(&world, &event("alert-in-alert"), "request")
                .await
                .is_err()
            {
                attempts += 1;
                assert!(attempts < 3, "{operation} {fault:?}");
            }
            assert_eq!(world.executions().len(), 1, "{operation} {fault:?}");
            let document = model(&world);
            assert!(document.outbox.is_empty(), "{operation} {fault:?}");
            let known = document.incident.unwrap().execution.unwrap();
            assert_eq!(known.arn, world.executions()[0].1, "{operation} {fault:?}");
        }
    }
}

#[tokio::test]
async fn an_end_that_is_heard_before_the_start_was_noted_counts() {
    let world = world();
    world.fail("s3:PutObject", Fault::Before(Kind::Transient));
    let arn_unknown = event("alert-in-alert");
    function().handle(&world, &arn_unknown, "request").await.unwrap_err();
    function().handle(&world, &arn_unknown, "request").await.unwrap();
    function()
        .handle(&world, &of_this_world(&world, "pipeline-execution-failed"), "end")
        .await
        .unwrap();
    assert_eq!(model(&world).incident.unwrap().stage, Stage::Escalated);
}

#[tokio::test]
async fn executions_of_others_are_ignored_without_a_call() {
    let world = world();
    let foreign = event("pipeline-execution-succeeded").replace("driftwarden-churn-endpoint-1", "nightly");
    let handled = function().handle(&world, &foreign, "request").await.unwrap();
    assert!(matches!(handled, Handled::Ignored { .. }));
    assert!(world.calls().is_empty());
}

#[tokio::test]
async fn with_a_rule_the_parameters_lead_an_execution_to_its_incident() {
    let by_rule = Remediate::new(Settings {
        pipeline: "driftwarden-retraining".into(),
        pipeline_start: PipelineStart::Rule,
    });
    let world = world();
    by_rule
        .handle(&world, &event("alert-in-alert"), "request")
        .await
        .unwrap();
    assert!(world.executions().is_empty(), "the rule starts it");
    // The rule's execution has the parameters that the decision told, and a display name that SageMaker chose.
    function()
        .handle(
            &world,
            &event("alert-in-alert").replace("churn-endpoint", "other"),
            "rule",
        )
        .await
        .unwrap();
    let foreign =
        of_this_world(&world, "pipeline-execution-succeeded").replace("driftwarden-churn-endpoint-1", "execution-17");
    let handled = by_rule.handle(&world, &foreign, "end").await.unwrap();
    assert_eq!(handled, Handled::Changed { model: "other".into() });
}

#[tokio::test]
async fn an_alert_of_another_layout_is_an_error() {
    let broken = event("alert-in-alert").replace("\"transition\": 1", "\"transition\": \"one\"");
    let error = function().handle(&world(), &broken, "request").await.unwrap_err();
    assert_eq!(error.error_type(), "EventUnreadable");
}

#[tokio::test]
async fn an_alarm_that_the_policy_names_opens_an_incident_and_any_other_is_ignored() {
    let world = world();
    let handled = function().handle(&world, &event("alarm"), "request").await.unwrap();
    assert!(matches!(handled, Handled::Changed { .. }));
    assert_eq!(model(&world).incident.unwrap().monitors, ["alarm:churn-latency-p99"]);
    assert_eq!(world.executions().len(), 1);
    let other = event("alarm").replace("churn-latency", "disk-space");
    let handled = function().handle(&world, &other, "request").await.unwrap();
    assert!(matches!(handled, Handled::Ignored { .. }), "{handled:?}");
}

#[tokio::test]
async fn a_medium_risk_model_is_retrained_once_somebody_approves() {
    let world = Memory::at("2026-11-23T03:16:22Z".parse::<Timestamp>().unwrap());
    world.put_risk_rating("churn-endpoint", RiskRating::Medium);
    function()
        .handle(&world, &event("alert-in-alert"), "alert")
        .await
        .unwrap();
    assert_eq!(model(&world).stage(), Stage::AwaitingApproval);
    assert!(world.executions().is_empty());
    for copy in 0..3 {
        function()
            .handle(&world, &event("approval"), &format!("approval-{copy}"))
            .await
            .unwrap();
    }
    assert_eq!(model(&world).stage(), Stage::Retraining);
    assert_eq!(world.executions().len(), 1);
}

#[tokio::test]
async fn a_run_by_hand_holds_and_one_of_another_model_does_not() {
    let world = world();
    let other = [("DriftwardenModel".to_owned(), "other".to_owned())].into();
    world.start_by_hand("driftwarden-other-3", [].into());
    world.start_by_hand("by a person, for another", other);
    let by_hand = world.start_by_hand("by a person", [].into());
    function()
        .handle(&world, &event("alert-in-alert"), "alert")
        .await
        .unwrap();
    assert_eq!(model(&world).stage(), Stage::Holding);
    world.finish(&by_hand, ExecutionStatus::Succeeded);
    function()
        .sweep(&world, "churn-endpoint", [].into(), "sweep")
        .await
        .unwrap();
    assert_eq!(model(&world).stage(), Stage::Retraining);
    assert_eq!(world.executions().len(), 1);
}

#[tokio::test]
async fn an_alert_whose_facts_could_not_be_asked_is_kept_and_the_sweep_decides() {
    let world = world();
    world.fail("sagemaker:ListPipelineExecutions", Fault::Before(Kind::Transient));
    function()
        .handle(&world, &event("alert-in-alert"), "alert")
        .await
        .unwrap_err();
    assert_eq!(model(&world).stage(), Stage::Deciding);
    function()
        .sweep(&world, "churn-endpoint", [].into(), "sweep")
        .await
        .unwrap();
    assert_eq!(model(&world).stage(), Stage::Retraining);
}

#[tokio::test]
async fn a_run_whose_end_nobody_told_is_asked_after() {
    let world = world();
    function()
        .handle(&world, &event("alert-in-alert"), "alert")
        .await
        .unwrap();
    let arn = world.executions()[0].1.clone();
    world.finish(&arn, ExecutionStatus::Succeeded);
    function()
        .sweep(&world, "churn-endpoint", [].into(), "sweep")
        .await
        .unwrap();
    assert_eq!(model(&world).stage(), Stage::Verifying);
}

#[tokio::test]
async fn a_state_machine_is_started_once_and_followed() {
    let world = world();
    let arn = "arn:aws:states:us-east-1:111122223333:stateMachine:retrain";
    world.put_document(
        "policy.toml",
        format!("{POLICY}[retraining]\nstart = 'state-machine'\nstate_machine = '{arn}'\n"),
    );
    world.fail("states:StartExecution", Fault::After);
    function()
        .handle(&world, &event("alert-in-alert"), "alert")
        .await
        .unwrap_err();
    function()
        .handle(&world, &event("alert-in-alert"), "alert")
        .await
        .unwrap();
    let [(name, run)] = &world.runs()[..] else {
        panic!("one run")
    };
    assert!(name.starts_with("driftwarden-"), "{name}");
    world.finish(&run.arn, ExecutionStatus::Failed);
    let sample = "arn:aws:states:us-east-1:111122223333:execution:retrain:driftwarden-3f9a1c0b5d7e8f90a1b2c3d4e5f60718";
    let ended = event("state-machine-succeeded")
        .replace(sample, &run.arn)
        .replace("SUCCEEDED", "FAILED");
    function().handle(&world, &ended, "end").await.unwrap();
    assert_eq!(model(&world).stage(), Stage::Escalated);
}

#[test]
fn a_wrong_configuration_names_the_variable_and_what_it_should_be() {
    let error = |name: &'static str, value: &'static str| {
        let vars = Vars(move |asked: &str| match asked {
            _ if asked == name => Some(value.to_owned()),
            "STATE_BUCKET" => Some("driftwarden-state".to_owned()),
            "EVENT_BUS_NAME" | "RETRAINING_PIPELINE" => Some("driftwarden".to_owned()),
            _ => None,
        });
        Remediate::from_vars(&vars).unwrap_err().to_string()
    };
    insta::assert_snapshot!(error("RETRAINING_PIPELINE", ""), @"environment variable RETRAINING_PIPELINE is not set: it should be the name or ARN of a SageMaker pipeline");
    insta::assert_snapshot!(error("PIPELINE_START", "auto"), @"environment variable PIPELINE_START is `auto`: it should be `remediate` (this function starts the pipeline) or `rule` (an EventBridge rule does)");
}

#[tokio::test]
async fn what_all_models_are_paused_by_is_read_with_each_decision() {
    let world = world();
    let paused = r#"{"paused":true,"by":"ada","time":"2026-11-23T03:00:00Z","until":"2026-11-24T03:00:00Z"}"#;
    world.put_document("pause.json", paused);
    let function = function();
    function
        .handle(&world, &event("alert-in-alert"), "request")
        .await
        .unwrap();
    assert_eq!(model(&world).stage(), Stage::Holding);
    assert_eq!(world.executions(), []);
    // One that cannot be read is not off: the decision waits.
    world.put_document("pause.json", "{");
    let swept = function
        .sweep(&world, "churn-endpoint", std::collections::BTreeMap::new(), "sweep")
        .await;
    assert!(swept.is_err());
    assert_eq!(model(&world).stage(), Stage::Holding);
    // A day later it is over, and the sweep decides.
    world.put_document("pause.json", paused);
    world.pass(jiff::SignedDuration::from_hours(24));
    let swept = function
        .sweep(&world, "churn-endpoint", std::collections::BTreeMap::new(), "sweep")
        .await;
    assert!(swept.is_ok(), "{swept:?}");
    assert_eq!(model(&world).stage(), Stage::Retraining);
    assert_eq!(world.executions().len(), 1);
}
