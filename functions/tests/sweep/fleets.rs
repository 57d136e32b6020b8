//! Sweeps of many monitors and models: unreadable documents, little time, and a rate limit.
#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test fails by panicking")]

use crate::sweep::common;

use alerting::{AlertStatus, MetricName};
use functions::{
    Error,
    sweep::{Sweep, SweepSummary},
};
use jiff::{SignedDuration, Timestamp};
use machine::Kind;
use remediation::{ModelDocument, Stage};
use serde_json::{Value, json};
use shell::{
    memory::{Fault, Memory},
    ports::{DescribedJob, MonitoringExecution, Schedule},
};
use std::collections::BTreeMap;

pub(super) const POLICY: &str = "[remediation]\ndecide_after = '0s'\nautomation = 'auto'\n";
const REPORT: &str = r#"{"violations": [{"feature_name": "age", "constraint_check_type": "baseline_drift_check",
    "description": "Numerical distance: 0.4172 exceeds numerical threshold: 0.1"}]}"#;

fn at(text: &str) -> Timestamp {
    format!("2026-11-23T{text}Z").parse().unwrap()
}

fn function() -> Sweep {
    common::function(&[("REPORT_BUCKET", "reports")], false)
}

/// Sweeps with an amount of time in which monitors and models may be started.
pub(super) async fn sweep_for(aws: &Memory, seconds: i64) -> Result<SweepSummary, Error> {
    let deadline = aws.time().checked_add(SignedDuration::from_secs(seconds + 60)).unwrap();
    function().run(aws, "sweep", deadline).await
}

/// AWS at 06:30 with hourly monitors of one model each. The execution of 05:00 ended with this status; its events were lost.
pub(super) fn fleet(monitors: usize, status: &str) -> Memory {
    fleet_of(monitors, 1, status)
}

/// The same with this number of monitors for each model.
fn fleet_of(monitors: usize, monitors_per_model: usize, status: &str) -> Memory {
    let aws = Memory::at(at("06:30:00"));
    aws.put_document("policy.toml", POLICY);
    for number in 0..monitors {
        let (name, endpoint) = (
            format!("dq-{number:03}"),
            format!("m{:03}", number / monitors_per_model),
        );
        let schedule = Schedule {
            name: name.clone(),
            endpoint: Some(endpoint.clone()),
            status: "Scheduled".into(),
            created: at("04:30:00"),
            last_modified: at("04:30:00"),
        };
        aws.put_schedule(schedule, "cron(0 * ? * * *)");
        let arn = format!("arn:aws:sagemaker:us-east-1:111122223333:processing-job/job-{number}");
        aws.put_monitoring_execution(
            &name,
            MonitoringExecution {
                scheduled_time: at("05:00:00"),
                status: status.into(),
                processing_job_arn: Some(arn.clone()),
                endpoint: Some(endpoint.clone()),
                failure_reason: None,
                last_modified: at("05:20:00"),
            },
        );
        let folder = format!("s3://reports/out/{endpoint}/{name}/2026/11/23/05");
        if status == "CompletedWithViolations" {
            aws.put_object(&format!("{folder}/constraint_violations.json"), REPORT);
        }
        aws.put_job(
            &format!("job-{number}"),
            DescribedJob {
                arn,
                status: "Completed".into(),
                outputs: vec![folder],
                monitoring_schedule_arn: Some(format!(
                    "arn:aws:sagemaker:us-east-1:111122223333:monitoring-schedule/{name}"
                )),
                exit_message: Some(format!("{status}: done")),
                end_time: Some(at("05:20:00")),
                ..DescribedJob::default()
            },
        );
    }
    aws
}

pub(super) fn json(aws: &Memory, key: &str) -> Value {
    serde_json::from_slice(&aws.document(key).unwrap()).unwrap()
}

pub(super) fn stage(aws: &Memory, model: &str) -> Option<Stage> {
    let document = aws.document(&format!("models/{model}.json"))?;
    Some(serde_json::from_slice::<ModelDocument>(&document).ok()?.stage())
}

/// Time of the last sweep of each monitor or model.
fn swept(aws: &Memory, kind: &str) -> BTreeMap<String, Option<Timestamp>> {
    let state = json(aws, "sweep.json");
    let items = state[kind]["items"].as_object().unwrap();
    let time = |item: &Value| item["sweptAt"].as_str().map(|time| time.parse().unwrap());
    items.iter().map(|(name, item)| (name.clone(), time(item))).collect()
}

/// Latest value of a metric of the sweep.
fn metric(aws: &Memory, name: MetricName) -> f64 {
    let metrics = aws.metrics();
    metrics.iter().rev().find(|metric| metric.name == name).unwrap().value
}

#[tokio::test]
async fn number_of_models_is_recorded() {
    let aws = fleet(61, "Completed");
    for _ in 0..2 {
        sweep_for(&aws, 600).await.unwrap();
    }
    assert_eq!(json(&aws, "fleet.json")["models"], 61);
    // A newer release owns the document: its fields may have another meaning.
    let newer = json!({"version": 2, "models": 1}).to_string();
    aws.put_document("fleet.json", newer.clone());
    sweep_for(&aws, 600).await.unwrap();
    assert_eq!(aws.document("fleet.json").unwrap(), newer.as_bytes());
}

#[tokio::test]
async fn unreadable_model_stops_no_other_model() {
    let broken = json!({"version": 1, "model": "m001", "incident": {"stage": "Pondering"}});
    for document in [
        broken.to_string(),
        json!({"version": 9, "model": "m001"}).to_string(),
        "none".to_owned(),
    ] {
        let aws = fleet(5, "CompletedWithViolations");
        aws.put_document("models/m001.json", document.clone());
        for _ in 0..2 {
            let error = sweep_for(&aws, 600).await.unwrap_err().to_string();
            assert!(error.contains(" 1 of 10 "), "reported once: {error}");
            assert!(
                error.contains("model m001: ") && error.contains("models/m001.json"),
                "{error}"
            );
        }
        for model in ["m000", "m002", "m003", "m004"] {
            assert_eq!(stage(&aws, model), Some(Stage::Retraining), "{model}");
        }
        assert_eq!(aws.executions().len(), 4, "m001 starts nothing");
        assert_eq!(aws.document("models/m001.json").unwrap(), document.as_bytes());
    }
}

#[tokio::test]
async fn unreadable_documents_stop_no_other_item() {
    let aws = fleet(5, "CompletedWithViolations");
    aws.put_document("monitors/dq-001.json", "none");
    aws.put_document("models/unrelated.json", "none");
    aws.put_document("baselines/dq-003.json", "none");
    aws.put_document("sweep.json", "none");
    let error = sweep_for(&aws, 600).await.unwrap_err().to_string();
    assert!(error.contains(" 3 of "), "{error}");
    assert!(
        error.contains("monitors/dq-001.json") || error.contains("dq-003"),
        "{error}"
    );
    for model in ["m000", "m002", "m004"] {
        assert_eq!(stage(&aws, model), Some(Stage::Retraining), "{model}");
    }
}

#[tokio::test]
async fn unreadable_report_stops_no_other_execution() {
    let aws = fleet(1, "CompletedWithViolations");
    aws.put_object(
        "s3://reports/out/m000/dq-000/2026/11/23/05/constraint_violations.json",
        "{",
    );
    aws.set_time(at("09:30:00"));
    for hour in [6, 7] {
        let execution = MonitoringExecution {
            scheduled_time: at(&format!("0{hour}:00:00")),
            status: "Failed".into(),
            processing_job_arn: None,
            endpoint: None,
            failure_reason: Some("AlgorithmError".into()),
            last_modified: at("08:00:00"),
        };
        aws.put_monitoring_execution("dq-000", execution);
    }
    aws.put_document("policy.toml", "[[monitor]]\nschedule = 'dq-000'\n");
    let error = sweep_for(&aws, 600).await.unwrap_err().to_string();
    assert!(error.contains("2026-11-23T05:00:00Z"), "{error}");
    let ledger = json(&aws, "monitors/dq-000.json");
    let hours: Vec<_> = ledger["datapoints"]
        .as_array()
        .unwrap()
        .iter()
        .map(|point| &point["scheduled_time"])
        .collect();
    // 08:00 never ran.
    assert_eq!(
        hours,
        ["2026-11-23T06:00:00Z", "2026-11-23T07:00:00Z", "2026-11-23T08:00:00Z"]
    );
    // The execution with the unreadable report is not given up.
    aws.put_object(
        "s3://reports/out/m000/dq-000/2026/11/23/05/constraint_violations.json",
        REPORT,
    );
    sweep_for(&aws, 600).await.unwrap();
    assert_eq!(
        json(&aws, "monitors/dq-000.json")["datapoints"]
            .as_array()
            .unwrap()
            .len(),
        4
    );
}

#[tokio::test]
async fn failed_list_stops_no_other_item() {
    for operation in ["sagemaker:ListMonitoringSchedules", "s3:ListBucket"] {
        let aws = fleet(3, "CompletedWithViolations");
        sweep_for(&aws, 600).await.unwrap();
        for model in ["m000", "m001", "m002"] {
            let mut document: ModelDocument =
                serde_json::from_slice(&aws.document(&format!("models/{model}.json")).unwrap()).unwrap();
            document.alerts.clear();
            aws.put_document(&format!("models/{model}.json"), serde_json::to_vec(&document).unwrap());
        }
        for _ in 0..6 {
            aws.fail(operation, Fault::Before(Kind::Denied));
        }
        let error = sweep_for(&aws, 600).await.unwrap_err().to_string();
        assert!(error.contains(operation), "{error}");
        let monitors = swept(&aws, "monitors");
        assert_eq!(monitors.len(), 3, "an incomplete list removes nothing");
    }
}

#[tokio::test]
async fn rate_limit_slows_sweep_down() {
    for limit in [2, 4, 10] {
        let aws = fleet(60, "Completed");
        aws.limit_rate(limit);
        for _ in 0..2 {
            sweep_for(&aws, 540).await.unwrap();
            aws.pass(SignedDuration::from_mins(6));
        }
        assert!(
            swept(&aws, "monitors").values().all(Option::is_some),
            "{limit} per second"
        );
        assert_eq!(
            aws.documents()
                .iter()
                .filter(|key| key.starts_with("monitors/"))
                .count(),
            60
        );
        let limited = |call: &&&str| call.starts_with("sagemaker:List") || call.starts_with("sagemaker:Describe");
        let calls = aws.calls().iter().filter(limited).count();
        assert!(
            aws.throttled() * 10 <= calls,
            "{} of {calls} at {limit} per second",
            aws.throttled()
        );
    }
}

#[tokio::test]
async fn every_item_is_swept_at_any_budget() {
    let aws = fleet(60, "CompletedWithViolations");
    // A fifth of the monitors fits into the time of one sweep.
    let mut sweeps = 0;
    while sweeps == 0 || swept(&aws, "monitors").values().any(Option::is_none) {
        sweep_for(&aws, 6).await.unwrap();
        aws.pass(SignedDuration::from_mins(15));
        sweeps += 1;
        assert!(sweeps < 15, "{:?}", swept(&aws, "monitors"));
    }
    assert!(sweeps > 2, "the budget is too large for this test");
    let models = swept(&aws, "models");
    assert!(
        models.values().all(Option::is_some),
        "models have their own time: {models:?}"
    );
    // In the next pass, none waits longer than one pass.
    let oldest = |aws: &Memory| swept(aws, "monitors").into_values().flatten().min().unwrap();
    for _ in 0..3 * sweeps {
        let age = aws.time().duration_since(oldest(&aws));
        assert!(
            age <= SignedDuration::from_mins(16) * (sweeps + 2),
            "{age} after {sweeps} sweeps a pass"
        );
        let published = metric(&aws, MetricName::SweepAge);
        assert!(published <= age.as_secs_f64() + 10.0, "{published} {age}");
        sweep_for(&aws, 6).await.unwrap();
        aws.pass(SignedDuration::from_mins(15));
    }
}

#[tokio::test]
async fn open_incidents_come_before_healthy_models() {
    let aws = fleet(1, "Completed");
    for number in 0..40 {
        let mut document = ModelDocument::new(format!("healthy-{number:02}"));
        document.alerts.clear();
        aws.put_document(
            &ModelDocument::key(&document.model),
            serde_json::to_vec(&document).unwrap(),
        );
    }
    let incident = json!({
        "number": 1, "id": "zoe-1", "token": "t", "stage": "Escalated", "opened_at": "2026-11-23T03:00:00Z", "monitors": ["x"],
    });
    let open = json!({"version": 1, "model": "zoe", "incidents": 1, "incident": incident});
    aws.put_document("models/zoe.json", open.to_string());
    sweep_for(&aws, 600).await.unwrap();
    let state = json(&aws, "sweep.json");
    assert_eq!(state["models"]["items"]["zoe"]["isOpen"], true);
    assert_eq!(state["models"]["items"]["healthy-00"]["isOpen"], false);
    // After a day, every model is read again. Eight are swept at the same time.
    aws.pass(SignedDuration::from_hours(24));
    aws.record_writes();
    sweep_for(&aws, 600).await.unwrap();
    let reads = aws.take_reads();
    let models: Vec<&String> = reads.iter().filter(|key| key.starts_with("models/")).collect();
    let place = models.iter().position(|key| *key == "models/zoe.json").unwrap();
    assert!(models.len() > 40 && place < 8, "{models:?}");
}

#[tokio::test]
async fn lost_alert_of_every_model_is_delivered_despite_failure() {
    let aws = fleet(4, "CompletedWithViolations");
    aws.fail("events:PutEvents", Fault::Before(Kind::Transient));
    let _first = sweep_for(&aws, 600).await;
    aws.pass(SignedDuration::from_mins(15));
    sweep_for(&aws, 600).await.unwrap();
    aws.pass(SignedDuration::from_mins(15));
    sweep_for(&aws, 600).await.unwrap();
    for model in ["m000", "m001", "m002", "m003"] {
        let document: ModelDocument =
            serde_json::from_slice(&aws.document(&format!("models/{model}.json")).unwrap()).unwrap();
        assert!(
            document
                .alerts
                .values()
                .all(|alert| alert.status == AlertStatus::InAlert)
        );
        assert_eq!(stage(&aws, model), Some(Stage::Retraining), "{model}");
    }
}

#[tokio::test]
async fn deleted_monitor_stays_retired() {
    let aws = fleet(2, "CompletedWithViolations");
    // Two monitors of one model.
    let policy = format!("{POLICY}[[monitor]]\nschedule = 'dq-001'\nmodel = 'm000'\n");
    aws.put_document("policy.toml", policy);
    sweep_for(&aws, 600).await.unwrap();
    assert_eq!(json(&aws, "models/m000.json")["alerts"].as_object().unwrap().len(), 2);
    aws.delete_schedule("dq-001").unwrap();
    for _ in 0..4 {
        aws.pass(SignedDuration::from_mins(61));
        sweep_for(&aws, 600).await.unwrap();
    }
    let alerts = json(&aws, "models/m000.json")["alerts"].clone();
    assert_eq!(alerts.as_object().unwrap().keys().collect::<Vec<_>>(), ["dq-000"]);
}

#[tokio::test]
async fn moved_monitor_in_alert_is_known_to_its_model() {
    let aws = fleet(1, "CompletedWithViolations");
    sweep_for(&aws, 600).await.unwrap();
    assert_eq!(stage(&aws, "m000"), Some(Stage::Retraining));
    let policy = format!("{POLICY}[[monitor]]\nschedule = 'dq-000'\nmodel = 'churn'\n");
    aws.put_document("policy.toml", policy);
    // An execution is recorded under the new model before the next sweep. The alert lasts.
    let mut ledger = json(&aws, "monitors/dq-000.json");
    ledger["monitor"]["model"] = "churn".into();
    aws.put_document("monitors/dq-000.json", ledger.to_string());
    sweep_for(&aws, 600).await.unwrap();
    assert_eq!(json(&aws, "models/m000.json")["alerts"], json!({}));
    assert_eq!(json(&aws, "models/churn.json")["alerts"]["dq-000"]["status"], "InAlert");
}

#[tokio::test]
async fn moved_monitor_that_is_deleted_retires() {
    let aws = fleet(1, "CompletedWithViolations");
    sweep_for(&aws, 600).await.unwrap();
    let policy = format!("{POLICY}[[monitor]]\nschedule = 'dq-000'\nmodel = 'churn'\n");
    aws.put_document("policy.toml", policy);
    aws.delete_schedule("dq-000").unwrap();
    // No execution has been recorded under the new model.
    sweep_for(&aws, 600).await.unwrap();
    assert_eq!(json(&aws, "models/churn.json")["alerts"]["dq-000"]["status"], "InAlert");
    aws.pass(SignedDuration::from_mins(61));
    sweep_for(&aws, 600).await.unwrap();
    assert_eq!(json(&aws, "models/churn.json")["alerts"], json!({}));
}

#[tokio::test]
async fn deleted_policy_is_measured_and_stays_effective() {
    let aws = fleet(1, "CompletedWithViolations");
    aws.put_document(
        "policy.toml",
        "paused = true\n[remediation]\ndecide_after = '0s'\nautomation = 'observe'\n",
    );
    sweep_for(&aws, 600).await.unwrap();
    assert!(metric(&aws, MetricName::PolicyFallback).abs() < f64::EPSILON);
    aws.delete_document("policy.toml");
    aws.expire_versions("policy.toml");
    aws.put_risk_rating("m000", remediation::RiskRating::Low);
    for _ in 0..2 {
        sweep_for(&aws, 600).await.unwrap();
        assert!((metric(&aws, MetricName::PolicyFallback) - 1.0).abs() < f64::EPSILON);
    }
    assert!(aws.executions().is_empty());
}

/// Number of calls to SageMaker and to S3 since the call with number `from`.
fn count_calls(aws: &Memory, from: usize) -> (usize, usize) {
    let calls = aws.calls().split_off(from);
    let count = |service: &str| calls.iter().filter(|call| call.starts_with(service)).count();
    (count("sagemaker:"), count("s3:"))
}

#[tokio::test]
async fn five_thousand_monitors_are_swept_within_two_sweeps() {
    let aws = fleet_of(5000, 2, "Completed");
    aws.limit_rate(10);
    aws.set_latency(SignedDuration::from_millis(30));
    let mut counts = Vec::new();
    for _ in 0..6 {
        let (began, from) = (aws.time(), aws.calls().len());
        sweep_for(&aws, 780).await.unwrap();
        counts.push(count_calls(&aws, from));
        let time_left = SignedDuration::from_mins(15) - aws.time().duration_since(began);
        assert!(time_left.is_positive(), "a sweep takes less than the time between two");
        aws.pass(time_left);
        if counts.len() == 2 {
            for kind in ["monitors", "models"] {
                let swept = swept(&aws, kind);
                let missed = swept.values().filter(|swept| swept.is_none()).count();
                assert_eq!(missed, 0, "of {} {kind}", swept.len());
            }
        }
    }
    assert_eq!(aws.throttled(), 0);
    // The first two describe the jobs of 5,000 executions. When nothing has changed, 51 calls list schedules and executions.
    let (sagemaker, s3): (Vec<_>, Vec<_>) = counts.into_iter().unzip();
    assert!(
        (10_000..10_300).contains(&(sagemaker[0] + sagemaker[1])),
        "{sagemaker:?}"
    );
    assert_eq!(sagemaker[2..], [51; 4]);
    // The third records an execution that never ran, for each monitor, and the fourth reads what that has changed. Then nothing has
    // changed: lists with entity tags suffice.
    assert_eq!(s3[3], 10_010, "{s3:?}");
    assert_eq!(s3[4..], [10, 10], "{s3:?}");
}
