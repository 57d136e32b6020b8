//! CloudWatch alarms: only their present state supports a retraining.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use alerting::AlertStatus;
use functions::remediate::Remediate;
use jiff::{SignedDuration, Timestamp};
use machine::Kind;
use remediation::{ModelDocument, PipelineStart, Settings, Stage};
use shell::memory::{Fault, Memory};

const ALARM: &str = "churn-latency-p99";
const EVENT: &str = include_str!("../../../events/remediate/alarm.json");
const POLICY: &str = "[remediation]\ndecide_after = '0s'\nautomation = 'auto'\n\
    [[alarm]]\nname = 'churn-latency-*'\nmodel = 'churn-endpoint'\n";

fn function() -> Remediate {
    Remediate::new(Settings {
        pipeline: "driftwarden-retraining".into(),
        pipeline_start: PipelineStart::Remediate,
    })
}

fn aws() -> Memory {
    let aws = Memory::at("2026-11-23T03:16:22Z".parse::<Timestamp>().unwrap());
    aws.put_document("policy.toml", POLICY);
    aws
}

fn model(aws: &Memory) -> ModelDocument {
    serde_json::from_slice(&aws.document("models/churn-endpoint.json").unwrap()).unwrap()
}

fn status(aws: &Memory) -> Option<AlertStatus> {
    let document = model(aws);
    let alert = document.alerts.get(&format!("alarm:{ALARM}"));
    alert.map(|alert| alert.status)
}

async fn sweep(aws: &Memory) {
    aws.pass(SignedDuration::from_mins(10));
    let swept = function().sweep(aws, "churn-endpoint", [].into(), None, "sweep").await;
    swept.unwrap();
}

#[tokio::test]
async fn late_event_of_an_alarm_supports_no_retraining() {
    let aws = aws();
    aws.set_alarm_state(ALARM, AlertStatus::Ok);
    function().handle(&aws, EVENT, "alarm").await.unwrap();
    assert_eq!(
        (model(&aws).stage(), status(&aws)),
        (Stage::Healthy, Some(AlertStatus::Ok))
    );
    assert!(aws.executions().is_empty());
    // The same alarm an hour later.
    aws.pass(SignedDuration::from_hours(1));
    aws.set_alarm_state(ALARM, AlertStatus::InAlert);
    let event = EVENT.replace("2026-11-23T03:10:00.123", "2026-11-23T04:16:22.000");
    function().handle(&aws, &event, "again").await.unwrap();
    assert_eq!(model(&aws).stage(), Stage::Retraining);
}

#[tokio::test]
async fn alarm_that_does_not_exist_supports_no_retraining() {
    let aws = aws();
    function().handle(&aws, EVENT, "alarm").await.unwrap();
    assert_eq!(status(&aws), Some(AlertStatus::InsufficientData));
    assert!(aws.executions().is_empty());
}

#[tokio::test]
async fn alarm_is_read_again_before_a_delayed_start() {
    let aws = aws();
    aws.set_alarm_state(ALARM, AlertStatus::InAlert);
    aws.fail("sagemaker:StartPipelineExecution", Fault::Before(Kind::Transient));
    function().handle(&aws, EVENT, "alarm").await.unwrap_err();
    assert_eq!(model(&aws).stage(), Stage::Starting);
    // The event of this change is lost.
    aws.pass(SignedDuration::from_mins(10));
    aws.set_alarm_state(ALARM, AlertStatus::Ok);
    sweep(&aws).await;
    sweep(&aws).await;
    assert_eq!(
        (model(&aws).stage(), status(&aws)),
        (Stage::Healthy, Some(AlertStatus::Ok))
    );
    assert!(aws.executions().is_empty());
}

#[tokio::test]
async fn nothing_starts_while_alarms_cannot_be_read() {
    let aws = aws();
    aws.set_alarm_state(ALARM, AlertStatus::InAlert);
    aws.break_operation("cloudwatch:DescribeAlarms", "*", Kind::Denied);
    function().handle(&aws, EVENT, "alarm").await.unwrap_err();
    assert_eq!(model(&aws).stage(), Stage::Deciding);
    aws.repair("cloudwatch:DescribeAlarms");
    sweep(&aws).await;
    assert_eq!(model(&aws).stage(), Stage::Retraining);
}
