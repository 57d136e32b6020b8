//! Starts of retrainings that AWS denies, loses, or forgets, and pauses in between.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::incidents::{POLICY, aws, event, function, model};
use jiff::SignedDuration;
use machine::Kind;
use remediation::{ExecutionStatus, Input, Reason, RemediationPause, Stage};
use serde_json::json;
use shell::memory::Memory;

const STATE_MACHINE: &str = "arn:aws:states:us-east-1:111122223333:stateMachine:retrain";

fn minutes(minutes: i64) -> SignedDuration {
    SignedDuration::from_mins(minutes)
}

async fn sweep(aws: &Memory) -> Stage {
    let (function, request) = (function(), format!("sweep-{}", aws.time()));
    let swept = function.sweep(aws, "churn-endpoint", [].into(), None, &request);
    // A failed sweep is followed by the next one.
    drop(swept.await);
    model(aws).stage()
}

/// Sweeps every five minutes for a time, and returns the stage after the last sweep.
async fn sweep_for(aws: &Memory, duration: SignedDuration) -> Stage {
    let end = aws.time() + duration;
    while aws.time() < end {
        aws.pass(minutes(5));
        sweep(aws).await;
    }
    model(aws).stage()
}

/// Reasons of the last decision.
fn reasons(aws: &Memory) -> Vec<Reason> {
    model(aws).incident.unwrap().decision.unwrap().reasons
}

/// A model whose start fails from the alert on.
async fn failing(policy: &str, operation: &'static str, kind: Kind) -> Memory {
    let aws = aws();
    aws.put_document("policy.toml", policy);
    aws.break_operation(operation, "", kind);
    function()
        .handle(&aws, &event("alert-in-alert"), "alert")
        .await
        .unwrap_err();
    assert_eq!(model(&aws).stage(), Stage::Starting);
    aws
}

#[tokio::test]
async fn start_denied_for_minutes_is_repeated() {
    let aws = failing(POLICY, "sagemaker:StartPipelineExecution", Kind::Denied).await;
    assert_eq!(sweep_for(&aws, minutes(10)).await, Stage::Starting);
    // The permission of a new role takes effect.
    aws.repair("sagemaker:StartPipelineExecution");
    assert_eq!(sweep_for(&aws, minutes(15)).await, Stage::Retraining);
    assert_eq!(aws.executions().len(), 1);
}

#[tokio::test]
async fn start_denied_for_fifteen_minutes_is_refused() {
    for (policy, operation) in [
        (POLICY.to_owned(), "sagemaker:StartPipelineExecution"),
        (
            format!("{POLICY}[retraining]\nstart = 'state-machine'\nstate_machine = '{STATE_MACHINE}'\n"),
            "states:StartExecution",
        ),
    ] {
        let aws = failing(&policy, operation, Kind::Denied).await;
        assert_eq!(sweep_for(&aws, minutes(10)).await, Stage::Starting, "{operation}");
        assert_eq!(sweep_for(&aws, minutes(20)).await, Stage::Escalated, "{operation}");
        let reasons = reasons(&aws);
        let is_refusal =
            |reason: &Reason| matches!(reason, Reason::StartRefused { error } if error.contains(operation));
        assert!(reasons.iter().any(is_refusal), "{reasons:?}");
        // It takes no place of the fleet, and is not attempted again.
        let fleet = aws.document("fleet.json").unwrap();
        let fleet: serde_json::Value = serde_json::from_slice(&fleet).unwrap();
        let attempts = aws.calls().iter().filter(|call| **call == operation).count();
        sweep_for(&aws, minutes(60)).await;
        assert_eq!(aws.calls().iter().filter(|call| **call == operation).count(), attempts);
        assert!(model(&aws).retrainings.is_empty(), "{fleet}");
    }
}

#[tokio::test]
async fn state_machine_without_answer_escalates() {
    let policy = format!("{POLICY}[retraining]\nstart = 'state-machine'\nstate_machine = '{STATE_MACHINE}'\n");
    let aws = failing(&policy, "states:StartExecution", Kind::Transient).await;
    assert_eq!(sweep_for(&aws, minutes(55)).await, Stage::Starting);
    // The pause between two attempts may last until after the deadline.
    assert_eq!(sweep_for(&aws, minutes(32)).await, Stage::Escalated);
    let reasons = reasons(&aws);
    let is_missing = |reason: &Reason| matches!(reason, Reason::StartMissing { error: Some(_), .. });
    assert!(reasons.iter().any(is_missing), "{reasons:?}");
}

#[tokio::test]
async fn pause_of_the_model_withdraws_a_pending_start() {
    let aws = failing(POLICY, "sagemaker:StartPipelineExecution", Kind::Transient).await;
    aws.pass(minutes(5));
    let pause = |paused| {
        Input::Pause(RemediationPause {
            model: "churn-endpoint".into(),
            paused,
            by: "ada".into(),
            time: aws.time(),
            until: None,
            reason: None,
        })
    };
    aws.repair("sagemaker:StartPipelineExecution");
    function()
        .take(&aws, "churn-endpoint".into(), pause(true), "pause")
        .await
        .unwrap();
    assert_eq!((model(&aws).stage(), aws.executions().len()), (Stage::Holding, 0));
    assert_eq!(sweep_for(&aws, minutes(120)).await, Stage::Holding);
    assert!(aws.executions().is_empty() && model(&aws).retrainings.is_empty());
    function()
        .take(&aws, "churn-endpoint".into(), pause(false), "resume")
        .await
        .unwrap();
    assert_eq!((model(&aws).stage(), aws.executions().len()), (Stage::Retraining, 1));
}

#[tokio::test]
async fn deleted_execution_escalates() {
    let aws = aws();
    function()
        .handle(&aws, &event("alert-in-alert"), "alert")
        .await
        .unwrap();
    let arn = aws.executions()[0].1.clone();
    assert_eq!(sweep(&aws).await, Stage::Retraining);
    aws.delete_execution(&arn);
    assert_eq!(sweep(&aws).await, Stage::Escalated);
    let unknown = Reason::RunUnknown { execution_arn: arn };
    assert!(reasons(&aws).contains(&unknown), "{:?}", reasons(&aws));
    assert_eq!(sweep_for(&aws, minutes(60)).await, Stage::Escalated);
    assert_eq!(aws.executions().len(), 1, "it is not started again");
}

#[tokio::test]
async fn redriven_state_machine_continues_the_incident() {
    for status in ["RUNNING", "PENDING_REDRIVE"] {
        let aws = aws();
        let policy = format!("{POLICY}[retraining]\nstart = 'state-machine'\nstate_machine = '{STATE_MACHINE}'\n");
        aws.put_document("policy.toml", policy);
        function()
            .handle(&aws, &event("alert-in-alert"), "alert")
            .await
            .unwrap();
        let arn = aws.runs()[0].1.arn.clone();
        let sample =
            "arn:aws:states:us-east-1:111122223333:execution:retrain:driftwarden-3f9a1c0b5d7e8f90a1b2c3d4e5f60718";
        let change = |status: &str, minute: i64| {
            let mut change: serde_json::Value =
                serde_json::from_str(&event("state-machine-succeeded").replace(sample, &arn)).unwrap();
            let at = aws.time() + minutes(minute);
            change["time"] = json!(at);
            change["detail"]["status"] = status.into();
            change["detail"]["stopDate"] = match status {
                "SUCCEEDED" | "FAILED" => json!(at.as_millisecond()),
                _ => json!(null),
            };
            change.to_string()
        };
        let mut stages = Vec::new();
        for (number, (status, minute)) in [("FAILED", 10), (status, 30), ("SUCCEEDED", 60)]
            .into_iter()
            .enumerate()
        {
            let request = format!("change-{number}");
            function()
                .handle(&aws, &change(status, minute), &request)
                .await
                .unwrap();
            stages.push(model(&aws).stage());
        }
        assert_eq!(
            stages,
            [Stage::Escalated, Stage::Retraining, Stage::Verifying],
            "{status}"
        );
        aws.finish(&arn, ExecutionStatus::Succeeded);
        assert_eq!(sweep(&aws).await, Stage::Verifying);
    }
}
