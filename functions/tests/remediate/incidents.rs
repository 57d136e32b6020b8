//! Runs the function on AWS in memory: all sample events, and a fault at every call.
#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test fails by panicking")]

use alerting::{AlertStatus, HealthStatus, Level};
use functions::remediate::{Handled, Remediate};
use jiff::Timestamp;
use machine::{ErrorType as _, Kind};
use remediation::{
    ExecutionStatus, Input, Levels, ModelDocument, PipelineStart, RemediationApproval, RiskRating, Settings, Stage,
};
use shell::{
    config::Vars,
    memory::{Fault, Memory},
};

const EVENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../events/remediate");

pub(super) fn event(name: &str) -> String {
    std::fs::read_to_string(format!("{EVENTS}/{name}.json")).unwrap()
}

pub(super) fn function() -> Remediate {
    Remediate::new(Settings {
        pipeline: "driftwarden-retraining".into(),
        pipeline_start: PipelineStart::Remediate,
    })
}

/// A policy that retrains automatically, with an alarm.
pub(super) const POLICY: &str = "[remediation]\ndecide_after = '0s'\nautomation = 'auto'\nclose_after = 1\nverify_executions = 1\n\
    [[alarm]]\nname = 'churn-latency-*'\nmodel = 'churn-endpoint'\nseverity = 'critical'\n";

pub(super) fn aws() -> Memory {
    let aws = Memory::at("2026-11-23T03:16:22Z".parse::<Timestamp>().unwrap());
    aws.put_document("policy.toml", POLICY);
    aws
}

pub(super) fn model(aws: &Memory) -> ModelDocument {
    serde_json::from_slice(&aws.document("models/churn-endpoint.json").unwrap()).unwrap()
}

/// The level of the monitor after an execution on the retrained model.
fn clean_level(aws: &Memory) -> Level {
    let ok: serde_json::Value = serde_json::from_str(&event("alert-ok")).unwrap();
    Level {
        alert: serde_json::from_value(ok["detail"].clone()).unwrap(),
        health: HealthStatus::Healthy,
        interval: None,
        judged_since_transition: 1,
        alerts: Vec::new(),
        judged: vec![aws.time() + jiff::SignedDuration::from_hours(1)],
    }
}

/// A sample event with the ARN of the pipeline execution that was started.
fn event_for_started(aws: &Memory, name: &str) -> String {
    let sample = "arn:aws:sagemaker:us-east-1:111122223333:pipeline/driftwarden-retraining/execution/k3v9q2m7x1ab";
    let started = aws
        .executions()
        .first()
        .map_or_else(|| sample.to_owned(), |(_, arn)| arn.clone());
    event(name).replace(sample, &started)
}

#[tokio::test]
async fn incident_runs_from_alert_to_closure() {
    let aws = aws();
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
                .handle(&aws, &event_for_started(&aws, name), &format!("{at}-{copy}"))
                .await
                .unwrap();
        }
        stages.push(model(&aws).incident.map(|incident| incident.stage()));
    }
    assert_eq!(
        stages,
        [
            Some(Stage::Retraining),
            Some(Stage::Retraining),
            Some(Stage::Verifying),
            // Only executions on the retrained model show that it helped.
            Some(Stage::Verifying)
        ]
    );
    let levels = Levels::from([("churn-data-quality".to_owned(), clean_level(&aws))]);
    function()
        .sweep(&aws, "churn-endpoint", levels, None, "sweep")
        .await
        .unwrap();
    assert_eq!(model(&aws).stage(), Stage::Healthy);
    assert_eq!(aws.executions().len(), 1);
    let published: Vec<String> = aws.events().into_iter().map(|(detail_type, _)| detail_type).collect();
    assert_eq!(
        published,
        [
            "Remediation Decided",
            "Retraining Pipeline Execution Status Change",
            "Remediation Incident Closed"
        ]
    );
    assert!(model(&aws).outbox.is_empty());
    // The audit trail has each of them as it was published.
    let records: Vec<String> = aws
        .documents()
        .into_iter()
        .filter(|key| key.starts_with("audit/"))
        .collect();
    assert_eq!(records.len(), published.len());
    for (_, detail) in aws.events() {
        let event: serde_json::Value = serde_json::from_str(&detail).unwrap();
        let key = format!(
            "audit/churn-endpoint/churn-endpoint-1/{}.json",
            event["id"].as_str().unwrap()
        );
        assert_eq!(aws.document(&key).unwrap(), detail.as_bytes(), "{key}: {records:?}");
    }
}

#[tokio::test]
async fn every_sample_event_is_handled() {
    for entry in std::fs::read_dir(EVENTS).unwrap() {
        let payload = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        let handled = function().handle(&aws(), &payload, "request").await.unwrap();
        assert!(!matches!(handled, Handled::Ignored { .. }), "{handled:?}");
    }
}

#[tokio::test]
async fn fault_at_any_call_starts_one_retraining() {
    for fault in [Fault::Before(Kind::Transient), Fault::After] {
        for operation in [
            "s3:GetObject",
            "s3:PutObject",
            "sagemaker:ListPipelineExecutions",
            "sagemaker:StartPipelineExecution",
            "events:PutEvents",
        ] {
            let aws = aws();
            aws.fail(operation, fault);
            let mut attempts = 0;
            while function()
                .handle(&aws, &event("alert-in-alert"), "request")
                .await
                .is_err()
            {
                attempts += 1;
                assert!(attempts < 3, "{operation} {fault:?}");
            }
            assert_eq!(aws.executions().len(), 1, "{operation} {fault:?}");
            let document = model(&aws);
            assert!(document.outbox.is_empty(), "{operation} {fault:?}");
            let known = document.incident.as_ref().unwrap().execution().unwrap();
            assert_eq!(known.arn, aws.executions()[0].1, "{operation} {fault:?}");
        }
    }
}

#[tokio::test]
async fn refused_start_leaves_its_place_to_other_models() {
    let policy = "[fleet]\nretrainings_per_day = 1\n[remediation]\ndecide_after = '0s'\nautomation = 'auto'\n";
    let aws = aws();
    aws.put_document("policy.toml", policy);
    let refused = Fault::Before(Kind::Rejected);
    aws.fail("sagemaker:StartPipelineExecution", refused);
    function()
        .handle(&aws, &event("alert-in-alert"), "request-1")
        .await
        .unwrap();
    assert_eq!(model(&aws).stage(), Stage::Escalated);
    let other = event("alert-in-alert")
        .replace("churn-endpoint", "fraud")
        .replace("churn-", "fraud-");
    function().handle(&aws, &other, "request-2").await.unwrap();
    assert_eq!(aws.executions().len(), 1, "the day has one start");
    let third = other.replace("fraud", "upsell");
    function().handle(&aws, &third, "request-3").await.unwrap();
    assert_eq!(aws.executions().len(), 1);
}

#[tokio::test]
async fn end_before_recorded_start_counts() {
    let aws = aws();
    // The start is answered, and the answer cannot be recorded.
    let function = function();
    function.sweep(&aws, "other", [].into(), None, "policy").await.unwrap();
    aws.fail("s3:PutObject", Fault::Before(Kind::Transient));
    let arn_unknown = event("alert-in-alert");
    function.handle(&aws, &arn_unknown, "request").await.unwrap_err();
    function.handle(&aws, &arn_unknown, "request").await.unwrap();
    function
        .handle(&aws, &event_for_started(&aws, "pipeline-execution-failed"), "end")
        .await
        .unwrap();
    assert_eq!(model(&aws).incident.unwrap().stage(), Stage::Escalated);
}

#[tokio::test]
async fn foreign_executions_make_no_call() {
    let aws = aws();
    let foreign = event("pipeline-execution-succeeded").replace("driftwarden-churn-endpoint-1", "nightly");
    let handled = function().handle(&aws, &foreign, "request").await.unwrap();
    assert!(matches!(handled, Handled::Ignored { .. }));
    assert!(aws.calls().is_empty());
}

#[tokio::test]
async fn parameters_map_rule_execution_to_incident() {
    let by_rule = Remediate::new(Settings {
        pipeline: "driftwarden-retraining".into(),
        pipeline_start: PipelineStart::Rule,
    });
    let aws = aws();
    by_rule.handle(&aws, &event("alert-in-alert"), "request").await.unwrap();
    assert!(aws.executions().is_empty(), "the rule starts the pipeline");
    // The rule's execution has the parameters of the decision, and a display name from SageMaker.
    function()
        .handle(
            &aws,
            &event("alert-in-alert").replace("churn-endpoint", "other"),
            "rule",
        )
        .await
        .unwrap();
    let foreign =
        event_for_started(&aws, "pipeline-execution-succeeded").replace("driftwarden-churn-endpoint-1", "execution-17");
    let handled = by_rule.handle(&aws, &foreign, "end").await.unwrap();
    assert_eq!(handled, Handled::Changed { model: "other".into() });
}

#[tokio::test]
async fn invalid_alert_is_an_error() {
    let broken = event("alert-in-alert").replace("\"transition\": 1", "\"transition\": \"one\"");
    let error = function().handle(&aws(), &broken, "request").await.unwrap_err();
    assert_eq!(error.error_type(), "EventUnreadable");
}

#[tokio::test]
async fn only_alarms_in_policy_open_incidents() {
    let aws = aws();
    aws.set_alarm_state("churn-latency-p99", AlertStatus::InAlert);
    let handled = function().handle(&aws, &event("alarm"), "request").await.unwrap();
    assert!(matches!(handled, Handled::Changed { .. }));
    assert_eq!(model(&aws).incident.unwrap().monitors, ["alarm:churn-latency-p99"]);
    assert_eq!(aws.executions().len(), 1);
    let other = event("alarm").replace("churn-latency", "disk-space");
    let handled = function().handle(&aws, &other, "request").await.unwrap();
    assert!(matches!(handled, Handled::Ignored { .. }), "{handled:?}");
}

#[tokio::test]
async fn medium_risk_model_is_retrained_after_approval() {
    let aws = Memory::at("2026-11-23T03:16:22Z".parse::<Timestamp>().unwrap());
    aws.put_risk_rating("churn-endpoint", RiskRating::Medium);
    function()
        .handle(&aws, &event("alert-in-alert"), "alert")
        .await
        .unwrap();
    // Without a policy, more alerts may join for ten minutes. The next sweep decides.
    assert_eq!(model(&aws).stage(), Stage::Deciding);
    aws.pass(jiff::SignedDuration::from_mins(11));
    function()
        .sweep(&aws, "churn-endpoint", Levels::new(), None, "sweep")
        .await
        .unwrap();
    assert_eq!(model(&aws).stage(), Stage::AwaitingApproval);
    assert!(aws.executions().is_empty());
    let approval = RemediationApproval {
        incident_id: "churn-endpoint-1".into(),
        granted: true,
        decision: None,
        by: "ada".into(),
        time: aws.time(),
        valid_until: None,
        reason: None,
    };
    for copy in 0..3 {
        let input = Input::Approval(approval.clone());
        function()
            .take(&aws, "churn-endpoint".into(), input, &format!("approval-{copy}"))
            .await
            .unwrap();
    }
    assert_eq!(model(&aws).stage(), Stage::Retraining);
    assert_eq!(aws.executions().len(), 1);
}

#[tokio::test]
async fn commands_of_operators_are_not_events() {
    let aws = aws();
    let detail = serde_json::json!({"incidentId": "churn-endpoint-1", "model": "churn-endpoint", "granted": true, "paused": true, "by": "ada", "time": "2026-11-23T03:16:00Z"});
    for detail_type in ["Remediation Approval", "Remediation Resolution", "Remediation Pause"] {
        let event = serde_json::json!({
            "version": "0",
            "id": "1",
            "detail-type": detail_type,
            "source": "driftwarden.operator",
            "account": "111122223333",
            "time": "2026-11-23T03:16:00Z",
            "region": "us-east-1",
            "resources": [],
            "detail": detail,
        });
        let handled = function().handle(&aws, &event.to_string(), "request").await.unwrap();
        assert!(matches!(handled, Handled::Ignored { .. }), "{handled:?}");
    }
    assert_eq!(aws.documents(), ["policy.toml"]);
}

#[tokio::test]
async fn manual_execution_of_model_holds_retraining() {
    let aws = aws();
    let other = [("DriftwardenModel".to_owned(), "other".to_owned())].into();
    aws.start_manually("driftwarden-other-3", [].into());
    aws.start_manually("manual, for another model", other);
    let by_hand = aws.start_manually("manual", [].into());
    function()
        .handle(&aws, &event("alert-in-alert"), "alert")
        .await
        .unwrap();
    assert_eq!(model(&aws).stage(), Stage::Holding);
    aws.finish(&by_hand, ExecutionStatus::Succeeded);
    function()
        .sweep(&aws, "churn-endpoint", [].into(), None, "sweep")
        .await
        .unwrap();
    assert_eq!(model(&aws).stage(), Stage::Retraining);
    assert_eq!(aws.executions().len(), 1);
}

#[tokio::test]
async fn execution_behind_many_newer_ones_holds_retraining() {
    let aws = aws();
    let long = aws.start_manually("manual", [].into());
    let lists = || {
        aws.calls()
            .iter()
            .filter(|call| **call == "sagemaker:ListPipelineExecutions")
            .count()
    };
    for _ in 0..250 {
        aws.pass(jiff::SignedDuration::from_mins(1));
        let other = aws.start_manually("driftwarden-other-1", [].into());
        aws.finish(&other, ExecutionStatus::Succeeded);
    }
    function()
        .handle(&aws, &event("alert-in-alert"), "alert")
        .await
        .unwrap();
    assert_eq!((model(&aws).stage(), lists()), (Stage::Holding, 3));
    aws.finish(&long, ExecutionStatus::Succeeded);
    // Executions that are older than the longest retraining are not listed.
    aws.pass(jiff::SignedDuration::from_hours(48));
    function()
        .sweep(&aws, "churn-endpoint", [].into(), None, "sweep")
        .await
        .unwrap();
    assert_eq!((model(&aws).stage(), lists()), (Stage::Retraining, 4));
}

#[tokio::test]
async fn parameter_names_the_model_of_an_execution() {
    let aws = aws();
    aws.put_document(
        "policy.toml",
        format!("{POLICY}[retraining]\nparameters = {{ ModelName = '{{model}}' }}\n"),
    );
    let run = |model: &str| aws.start_manually("nightly", [("ModelName".to_owned(), model.to_owned())].into());
    run("upsell");
    let own = run("churn-endpoint");
    function()
        .handle(&aws, &event("alert-in-alert"), "alert")
        .await
        .unwrap();
    assert_eq!(model(&aws).stage(), Stage::Holding);
    let held = model(&aws).incident.unwrap().decision.unwrap();
    assert!(held.sentence.contains(&own), "{}", held.sentence);
    aws.finish(&own, ExecutionStatus::Succeeded);
    function()
        .sweep(&aws, "churn-endpoint", [].into(), None, "sweep")
        .await
        .unwrap();
    assert_eq!(
        model(&aws).stage(),
        Stage::Retraining,
        "the run of `upsell` does not hold it"
    );
}

#[tokio::test]
async fn alert_without_facts_is_decided_by_sweep() {
    let aws = aws();
    aws.fail("sagemaker:ListPipelineExecutions", Fault::Before(Kind::Transient));
    function()
        .handle(&aws, &event("alert-in-alert"), "alert")
        .await
        .unwrap_err();
    assert_eq!(model(&aws).stage(), Stage::Deciding);
    function()
        .sweep(&aws, "churn-endpoint", [].into(), None, "sweep")
        .await
        .unwrap();
    assert_eq!(model(&aws).stage(), Stage::Retraining);
}

#[tokio::test]
async fn pending_start_without_facts_is_not_executed() {
    let aws = aws();
    aws.fail("sagemaker:StartPipelineExecution", Fault::Before(Kind::Transient));
    let alert = event("alert-in-alert");
    function().handle(&aws, &alert, "alert").await.unwrap_err();
    assert_eq!(model(&aws).stage(), Stage::Starting);
    aws.pass(jiff::SignedDuration::from_mins(10));
    aws.fail("sagemaker:ListPipelineExecutions", Fault::Before(Kind::Transient));
    let swept = function().sweep(&aws, "churn-endpoint", [].into(), None, "sweep").await;
    swept.unwrap_err();
    assert!(aws.executions().is_empty(), "it may no longer be wanted");
    // An input that makes no decision reviews the start, too.
    aws.pass(jiff::SignedDuration::from_mins(10));
    let resumed = "paused = true\n[[alarm]]\nname = 'x'\nmodel = 'y'\n";
    aws.put_document("policy.toml", resumed);
    let change = event("pipeline-execution-executing").replace("churn-endpoint-1", "churn-endpoint-9");
    function().handle(&aws, &change, "other").await.unwrap();
    assert!(aws.executions().is_empty());
    assert_eq!(model(&aws).stage(), Stage::Holding);
}

#[tokio::test]
async fn nothing_starts_on_unreadable_ledger() {
    for ledger in ["none", r#"{"version": 9}"#] {
        let aws = aws();
        aws.put_document("monitors/churn-data-quality.json", ledger);
        let alert = event("alert-in-alert");
        assert!(alert.contains("churn-data-quality"));
        for request in ["alert", "again"] {
            function().handle(&aws, &alert, request).await.unwrap_err();
        }
        assert!(aws.executions().is_empty(), "its window may have broken data");
        assert_eq!(model(&aws).stage(), Stage::Deciding);
    }
}

#[tokio::test]
async fn sweep_finds_unreported_end_of_retraining() {
    let aws = aws();
    function()
        .handle(&aws, &event("alert-in-alert"), "alert")
        .await
        .unwrap();
    let arn = aws.executions()[0].1.clone();
    aws.finish(&arn, ExecutionStatus::Succeeded);
    function()
        .sweep(&aws, "churn-endpoint", [].into(), None, "sweep")
        .await
        .unwrap();
    assert_eq!(model(&aws).stage(), Stage::Verifying);
}

#[tokio::test]
async fn state_machine_is_started_once_and_tracked() {
    let aws = aws();
    let arn = "arn:aws:states:us-east-1:111122223333:stateMachine:retrain";
    aws.put_document(
        "policy.toml",
        format!("{POLICY}[retraining]\nstart = 'state-machine'\nstate_machine = '{arn}'\n"),
    );
    aws.fail("states:StartExecution", Fault::After);
    function()
        .handle(&aws, &event("alert-in-alert"), "alert")
        .await
        .unwrap_err();
    function()
        .handle(&aws, &event("alert-in-alert"), "alert")
        .await
        .unwrap();
    let [(name, execution)] = &aws.runs()[..] else {
        panic!("one execution")
    };
    assert!(name.starts_with("driftwarden-"), "{name}");
    aws.finish(&execution.arn, ExecutionStatus::Failed);
    let sample = "arn:aws:states:us-east-1:111122223333:execution:retrain:driftwarden-3f9a1c0b5d7e8f90a1b2c3d4e5f60718";
    let ended = event("state-machine-succeeded")
        .replace(sample, &execution.arn)
        .replace("SUCCEEDED", "FAILED");
    function().handle(&aws, &ended, "end").await.unwrap();
    assert_eq!(model(&aws).stage(), Stage::Escalated);
}

#[test]
fn configuration_errors_name_variable_and_value() {
    let error = |name: &'static str, value: &'static str| {
        let vars = Vars(move |variable: &str| match variable {
            _ if variable == name => Some(value.to_owned()),
            "STATE_BUCKET" => Some("driftwarden-state".to_owned()),
            "EVENT_BUS_NAME" | "RETRAINING_PIPELINE" => Some("driftwarden".to_owned()),
            _ => None,
        });
        Remediate::from_vars(&vars).unwrap_err().to_string()
    };
    insta::assert_snapshot!(error("RETRAINING_PIPELINE", ""), @"environment variable `RETRAINING_PIPELINE` is not set: expected the name or ARN of a SageMaker pipeline");
    insta::assert_snapshot!(error("PIPELINE_START", "auto"), @"environment variable `PIPELINE_START` has the invalid value `auto`: expected `remediate` (this function starts the pipeline) or `rule` (an EventBridge rule starts it)");
}

#[tokio::test]
async fn every_decision_reads_global_pause() {
    let aws = aws();
    let paused = r#"{"paused":true,"by":"ada","time":"2026-11-23T03:00:00Z","until":"2026-11-24T03:00:00Z"}"#;
    aws.put_document("pause.json", paused);
    let function = function();
    function
        .handle(&aws, &event("alert-in-alert"), "request")
        .await
        .unwrap();
    assert_eq!(model(&aws).stage(), Stage::Holding);
    assert_eq!(aws.executions(), []);
    // An unreadable pause does not count as off: there is no decision.
    aws.put_document("pause.json", "{");
    let swept = function
        .sweep(&aws, "churn-endpoint", std::collections::BTreeMap::new(), None, "sweep")
        .await;
    assert!(swept.is_err());
    assert_eq!(model(&aws).stage(), Stage::Holding);
    // After a day the pause has expired, and the sweep decides.
    aws.put_document("pause.json", paused);
    aws.pass(jiff::SignedDuration::from_hours(24));
    let swept = function
        .sweep(&aws, "churn-endpoint", std::collections::BTreeMap::new(), None, "sweep")
        .await;
    assert!(swept.is_ok(), "{swept:?}");
    assert_eq!(model(&aws).stage(), Stage::Retraining);
    assert_eq!(aws.executions().len(), 1);
}
