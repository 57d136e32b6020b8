//! Sweeps of CloudWatch alarms whose events were lost.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use crate::sweep::common;

use alerting::AlertStatus;
use functions::{Error, sweep::SweepSummary};
use jiff::{SignedDuration, Timestamp};
use machine::Kind;
use remediation::{ModelDocument, Stage};
use shell::memory::Memory;

const POLICY: &str = "[remediation]\ndecide_after = '0s'\nautomation = 'auto'\n";
const TABLE: &str = "[[alarm]]\nname = 'Latency-*'\nmodel = 'churn'\n";

fn aws() -> Memory {
    let aws = Memory::at("2026-11-23T03:16:22Z".parse::<Timestamp>().unwrap());
    aws.put_document("policy.toml", format!("{POLICY}{TABLE}"));
    aws
}

fn model(aws: &Memory) -> ModelDocument {
    serde_json::from_slice(&aws.document("models/churn.json").unwrap()).unwrap()
}

fn status(aws: &Memory) -> Option<AlertStatus> {
    let document = model(aws);
    document.alerts.get("alarm:latency-p99").map(|alert| alert.status)
}

async fn sweep(aws: &Memory) -> Result<SweepSummary, Error> {
    aws.pass(SignedDuration::from_mins(15));
    common::function(&[], false).run(aws, "sweep", Timestamp::MAX).await
}

#[tokio::test]
async fn lost_events_of_an_alarm_are_delivered() {
    let aws = aws();
    aws.set_alarm_state("Latency-p50", AlertStatus::Ok);
    aws.set_alarm_state("Latency-p99", AlertStatus::InAlert);
    sweep(&aws).await.unwrap();
    assert_eq!(
        (model(&aws).stage(), status(&aws)),
        (Stage::Retraining, Some(AlertStatus::InAlert))
    );
    assert_eq!(model(&aws).alerts.len(), 1, "an alarm that is OK is of no concern");
    for next in [AlertStatus::InsufficientData, AlertStatus::Ok, AlertStatus::InAlert] {
        aws.set_alarm_state("Latency-p99", next);
        sweep(&aws).await.unwrap();
        assert_eq!(status(&aws), Some(next));
    }
    // Nothing changes without a change.
    let before = aws.document("models/churn.json");
    sweep(&aws).await.unwrap();
    assert_eq!(aws.document("models/churn.json"), before);
}

#[tokio::test]
async fn alarm_that_is_deleted_retires_from_its_model() {
    let aws = aws();
    aws.set_alarm_state("Latency-p99", AlertStatus::InAlert);
    sweep(&aws).await.unwrap();
    aws.delete_alarm("Latency-p99");
    aws.break_operation("cloudwatch:DescribeAlarms", "*", Kind::Denied);
    let error = sweep(&aws).await.unwrap_err().to_string();
    assert!(error.contains("cloudwatch:DescribeAlarms"), "{error}");
    assert_eq!(
        status(&aws),
        Some(AlertStatus::InAlert),
        "a failed list retires nothing"
    );
    aws.repair("cloudwatch:DescribeAlarms");
    sweep(&aws).await.unwrap();
    assert_eq!(status(&aws), None);
}

#[tokio::test]
async fn alarm_that_leaves_the_policy_retires_in_any_state() {
    for last in [AlertStatus::InAlert, AlertStatus::InsufficientData, AlertStatus::Ok] {
        let aws = aws();
        // Nothing is retrained, so that the incident waits for its alarm.
        aws.put_document("policy.toml", TABLE);
        aws.set_alarm_state("Latency-p99", AlertStatus::InAlert);
        sweep(&aws).await.unwrap();
        aws.put_document(
            "pause.json",
            r#"{"paused":true,"by":"ada","time":"2026-11-23T03:00:00Z"}"#,
        );
        aws.set_alarm_state("Latency-p99", last);
        sweep(&aws).await.unwrap();
        aws.put_document("policy.toml", POLICY);
        sweep(&aws).await.unwrap();
        assert_eq!((model(&aws).stage(), status(&aws)), (Stage::Healthy, None), "{last:?}");
    }
}

#[tokio::test]
async fn alarm_that_moves_to_another_model_is_known_there() {
    let aws = aws();
    aws.set_alarm_state("Latency-p99", AlertStatus::InAlert);
    sweep(&aws).await.unwrap();
    aws.put_document("policy.toml", format!("{POLICY}{}", TABLE.replace("churn", "upsell")));
    sweep(&aws).await.unwrap();
    assert_eq!(status(&aws), None);
    let upsell = aws.document("models/upsell.json").unwrap();
    assert!(
        serde_json::from_slice::<ModelDocument>(&upsell)
            .unwrap()
            .incident
            .is_some()
    );
}

#[tokio::test]
async fn alarms_are_listed_a_hundred_at_a_time() {
    let aws = aws();
    let calls = || {
        aws.calls()
            .iter()
            .filter(|call| **call == "cloudwatch:DescribeAlarms")
            .count()
    };
    let named = (0..150).map(|number| format!("[[alarm]]\nname = 'a{number}'\nmodel = 'm'\n"));
    let named: Vec<String> = named.collect();
    aws.put_document("policy.toml", format!("{POLICY}{TABLE}{}", named.concat()));
    for number in 0..201 {
        aws.set_alarm_state(&format!("a{number}"), AlertStatus::Ok);
        aws.set_alarm_state(&format!("Latency-{number}"), AlertStatus::Ok);
    }
    sweep(&aws).await.unwrap();
    assert_eq!(calls(), 2 + 3);
    // A policy without alarms makes no call.
    aws.put_document("policy.toml", POLICY);
    sweep(&aws).await.unwrap();
    assert_eq!(calls(), 2 + 3);
}
