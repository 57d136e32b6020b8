//! Monitors that are gone, renamed, or missing in a list; and ledgers that are lost.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::fleets::{POLICY, fleet, json, stage, sweep_for};
use alerting::MonitorLedger;
use jiff::{SignedDuration, Timestamp};
use remediation::{ModelDocument, Stage};
use shell::{memory::Memory, ports::Schedule};

fn model(aws: &Memory, model: &str) -> ModelDocument {
    serde_json::from_slice(&aws.document(&ModelDocument::key(model)).unwrap()).unwrap()
}

fn ledger(aws: &Memory, schedule: &str) -> MonitorLedger {
    serde_json::from_slice(&aws.document(&MonitorLedger::key(schedule)).unwrap()).unwrap()
}

/// Names of the monitors that a model knows.
fn known(aws: &Memory) -> Vec<String> {
    model(aws, "m000").alerts.into_keys().collect()
}

/// Sweeps after a number of minutes.
async fn sweep_after(aws: &Memory, minutes: i64) {
    aws.pass(SignedDuration::from_mins(minutes));
    sweep_for(aws, 600).await.unwrap();
}

/// AWS with a monitor in alert, whose model holds its retraining.
async fn in_alert() -> Memory {
    let aws = fleet(1, "CompletedWithViolations");
    aws.put_document("policy.toml", format!("paused = true\n{POLICY}"));
    sweep_for(&aws, 600).await.unwrap();
    assert_eq!(stage(&aws, "m000"), Some(Stage::Holding));
    aws
}

#[tokio::test]
async fn list_cut_short_retires_nothing() {
    let aws = in_alert().await;
    let (schedule, expression) = aws.delete_schedule("dq-000").unwrap();
    sweep_after(&aws, 15).await;
    assert_eq!(known(&aws), ["dq-000"], "absent from one list");
    aws.put_schedule(schedule, &expression);
    sweep_after(&aws, 50).await;
    // Another list that is cut short, more than an hour after the first one.
    let (schedule, expression) = aws.delete_schedule("dq-000").unwrap();
    sweep_after(&aws, 15).await;
    sweep_after(&aws, 45).await;
    assert_eq!(
        (known(&aws), stage(&aws, "m000")),
        (vec!["dq-000".to_owned()], Some(Stage::Holding))
    );
    aws.put_schedule(schedule, &expression);
    sweep_after(&aws, 120).await;
    assert_eq!(known(&aws), ["dq-000"]);
}

#[tokio::test]
async fn renamed_monitor_retires_and_returns_with_its_name() {
    let aws = in_alert().await;
    let (schedule, expression) = aws.delete_schedule("dq-000").unwrap();
    let renamed = Schedule {
        name: "dq-renamed".into(),
        created: aws.time(),
        last_modified: aws.time(),
        ..schedule.clone()
    };
    aws.put_schedule(renamed, &expression);
    sweep_after(&aws, 15).await;
    assert_eq!(known(&aws), ["dq-000"]);
    sweep_after(&aws, 61).await;
    assert_eq!(known(&aws), [""; 0], "the renamed monitor has not been in alert");
    sweep_after(&aws, 15).await;
    assert_eq!(stage(&aws, "m000"), Some(Stage::Healthy));
    // Renamed back: its ledger is still in alert.
    aws.delete_schedule("dq-renamed").unwrap();
    let returned = Schedule {
        last_modified: aws.time(),
        ..schedule
    };
    aws.put_schedule(returned, &expression);
    sweep_after(&aws, 15).await;
    assert_eq!(known(&aws), ["dq-000"]);
    assert_eq!(stage(&aws, "m000"), Some(Stage::Holding));
    sweep_after(&aws, 61).await;
    assert_eq!(known(&aws), ["dq-000"]);
}

#[tokio::test]
async fn analysis_removed_in_alert_retires() {
    let aws = fleet(1, "CompletedWithViolations");
    let analysis = "[[analysis]]\nschedule = 'dq-000'\nendpoint = 'm000'\ndata = 's3://captured/m000'\n\
                    baseline = 's3://baselines/m000'\noutput = 's3://reports/out'\nexpression = 'rate(1 day)'\n";
    sweep_for(&aws, 600).await.unwrap();
    // The ledger is that of a native analysis from now on.
    aws.delete_schedule("dq-000").unwrap();
    aws.put_document("policy.toml", format!("{POLICY}{analysis}"));
    for _ in 0..3 {
        sweep_after(&aws, 61).await;
        assert_eq!(known(&aws), ["dq-000"], "the policy has the analysis");
    }
    aws.put_document("policy.toml", POLICY);
    sweep_after(&aws, 15).await;
    assert_eq!(known(&aws), ["dq-000"], "absent for less than an hour");
    sweep_after(&aws, 61).await;
    assert_eq!(known(&aws), [""; 0]);
    // With the table back, it is in alert again.
    aws.put_document("policy.toml", format!("{POLICY}{analysis}"));
    sweep_after(&aws, 15).await;
    assert_eq!(known(&aws), ["dq-000"]);
}

#[tokio::test]
async fn ledger_lost_between_sweeps_is_noticed_at_once() {
    let aws = in_alert().await;
    let before = ledger(&aws, "dq-000");
    let changes = |aws: &Memory| -> Vec<serde_json::Value> {
        let events = aws.events().into_iter();
        let changes = events.filter(|(detail_type, _)| detail_type == "Model Monitor Alert State Change");
        changes
            .map(|(_, detail)| serde_json::from_str(&detail).unwrap())
            .collect()
    };
    assert_eq!(changes(&aws).len(), 1);
    aws.delete_document(&MonitorLedger::key("dq-000"));
    sweep_after(&aws, 15).await;
    let after = ledger(&aws, "dq-000");
    assert_eq!(
        after.datapoints.len(),
        before.datapoints.len(),
        "SageMaker's list has them"
    );
    assert_eq!(after.alert.status, before.alert.status);
    let changes = changes(&aws);
    assert_eq!(changes.len(), 2);
    assert_ne!(changes[0]["id"], changes[1]["id"]);
    let epoch = |change: &serde_json::Value| {
        change["epoch"]
            .as_str()
            .map(|epoch| epoch.parse::<Timestamp>().unwrap())
    };
    assert!(epoch(&changes[1]) > epoch(&changes[0]), "{changes:?}");
    // The model takes the new alert for the later one, and its incident continues.
    let document = model(&aws, "m000");
    let position = document.alerts.get("dq-000").unwrap().position();
    assert_eq!(position.epoch, epoch(&changes[1]), "{position:?}");
    assert_eq!((document.incidents, document.stage()), (1, Stage::Holding));
    assert_eq!(
        json(&aws, "sweep.json")["monitors"]["items"].as_object().unwrap().len(),
        1
    );
}

#[tokio::test]
async fn mute_published_during_a_hold_counts() {
    let aws = in_alert().await;
    let mute = "[[violation]]\nfeature = 'age'\ncounts = false\n";
    aws.put_document("policy.toml", format!("{POLICY}{mute}"));
    for _ in 0..3 {
        sweep_after(&aws, 15).await;
    }
    assert!(aws.executions().is_empty(), "the violation does not count");
    // Without the mute, the retraining starts.
    let aws = in_alert().await;
    aws.put_document("policy.toml", POLICY);
    sweep_after(&aws, 15).await;
    assert_eq!(aws.executions().len(), 1);
}
