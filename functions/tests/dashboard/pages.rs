//! Runs the function on AWS in memory: from events and ticks to pages in the state bucket, also with concurrent writers.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use alerting::{Evidence, JobEvidence, JobStatus, Monitor, MonitorLedger, MonitorRules, Observation, ReportEvidence};
use functions::dashboard::{Dashboard, Handled};
use jiff::{SignedDuration, Timestamp};
use machine::{Caller, Kind};
use model_dashboard::{LineageArtifact, TransformJob};
use model_monitor::{Limits, MonitorType, ViolationReport};
use remediation::{ModelDocument, RiskRating};
use serde_json::json;
use shell::memory::{Fault, Memory};

const PACKAGE: &str = "arn:aws:sagemaker:us-east-1:111122223333:model-package/churn/7";
const REPORT: &str = r#"{"violations": [{"feature_name": "age", "constraint_check_type": "baseline_drift_check",
    "description": "Numerical distance: 0.27 exceeds numerical threshold: 0.1"}]}"#;

fn start() -> Timestamp {
    "2026-11-29T02:00:00Z".parse().unwrap()
}

/// Ledger of a data quality monitor: two clean executions, and one with violations.
fn ledger(model: &str) -> MonitorLedger {
    ledger_with(model, "data-quality", MonitorType::DataQuality, 3)
}

/// Ledger of a monitor. Of its executions, the third has violations.
fn ledger_with(model: &str, suffix: &str, monitor_type: MonitorType, executions: i64) -> MonitorLedger {
    let monitor = Monitor {
        schedule: format!("{model}-{suffix}"),
        endpoint: Some(model.to_owned()),
        model: model.to_owned(),
        monitor_type: Some(monitor_type),
    };
    let mut ledger = MonitorLedger::new(monitor.clone());
    for hour in 0..executions {
        let scheduled_time = start() - SignedDuration::from_hours(2 - hour);
        let caller = Caller {
            id: format!("request-{hour}"),
            now: scheduled_time + SignedDuration::from_mins(9),
        };
        let folder = scheduled_time.strftime("%Y/%m/%d/%H");
        let uri = format!("s3://reports/out/{model}/{model}-{suffix}/{folder}/constraint_violations.json");
        let report = ViolationReport::parse("report", REPORT.as_bytes(), &Limits::default()).unwrap();
        let evidence = if hour == 2 {
            Evidence {
                report: Some(ReportEvidence::new(uri, "\"1\"".into(), caller.now, &report, 20)),
                ..Evidence::default()
            }
        } else {
            Evidence {
                job: Some(JobEvidence {
                    processing_job_arn: "arn:aws:sagemaker:us-east-1:111122223333:processing-job/j".into(),
                    status: JobStatus::Completed,
                    violations: Some(0),
                    reason: None,
                    ended_at: caller.now,
                }),
                ..Evidence::default()
            }
        };
        let observation = Observation {
            monitor: monitor.clone(),
            scheduled_time,
            evidence,
        };
        ledger.record(observation, &MonitorRules::default(), &caller);
    }
    ledger
}

/// AWS with a model that has a monitor, an endpoint with metrics, a lineage, and report files.
fn aws() -> Memory {
    let aws = Memory::at(start() + SignedDuration::from_mins(29));
    put(&aws, "churn");
    aws.put_endpoint("churn", "churn-1", &[("AllTraffic", 1.0, Some(PACKAGE))]);
    aws.put_value("AWS/SageMaker", "Invocations", "churn", "AllTraffic", 1.0, 1234);
    aws.put_value(
        "/aws/sagemaker/Endpoints",
        "CPUUtilization",
        "churn",
        "AllTraffic",
        37.5,
        1,
    );
    aws.pass(SignedDuration::from_mins(1));
    aws.put_risk_rating("churn", RiskRating::High);
    aws.put_transform_job(TransformJob {
        name: "churn-nightly".into(),
        status: "Completed".into(),
        created: start(),
        ended: None,
        failure_reason: None,
    });
    let artifact = LineageArtifact {
        arn: "arn:aws:sagemaker:us-east-1:111122223333:artifact/1".into(),
        kind: "DataSet".into(),
        source: "s3://data/training/october.csv".into(),
    };
    aws.put_lineage(PACKAGE, vec![artifact], Vec::new());
    for (hour, distance) in [("00", 0.02), ("01", 0.04), ("02", 0.27)] {
        let uri = format!("s3://reports/out/churn/churn-data-quality/2026/11/29/{hour}/drift.json");
        let drift = json!({"version": 0.0, "features": [{"name": "age", "distance": distance, "threshold": 0.1}]});
        aws.put_object(&uri, drift.to_string());
    }
    aws
}

fn put(aws: &Memory, model: &str) {
    let ledger = serde_json::to_vec(&ledger(model)).unwrap();
    aws.put_document(&format!("monitors/{model}-data-quality.json"), ledger);
    let document = serde_json::to_vec(&ModelDocument::new(model)).unwrap();
    aws.put_document(&format!("models/{model}.json"), document);
}

fn event(detail_type: &str, detail: &serde_json::Value) -> String {
    let source = if detail_type == "Scheduled Event" {
        "aws.events"
    } else {
        "driftwarden"
    };
    json!({"version": "0", "id": "e1", "source": source, "detail-type": detail_type, "time": "2026-11-29T02:30:00Z", "account": "111122223333",
           "region": "us-east-1", "resources": [], "detail": detail})
    .to_string()
}

fn alert() -> String {
    event(
        "Model Monitor Alert State Change",
        &json!({"model": "churn", "monitoringSchedule": "churn-data-quality"}),
    )
}

/// Handles an event, and then the tick that renders.
async fn handle(aws: &Memory, event: &str) -> Result<Handled, functions::Error> {
    let dashboard = Dashboard::new("driftwarden", Some("us-east-1"));
    let handled = dashboard.handle(aws, event, "r1", Timestamp::MAX).await?;
    if handled != Handled::Marked {
        return Ok(handled);
    }
    dashboard
        .handle(aws, r#"{"render": "marked"}"#, "r2", Timestamp::MAX)
        .await
}

fn page(aws: &Memory, key: &str) -> String {
    String::from_utf8(aws.document(key).unwrap()).unwrap()
}

#[tokio::test(flavor = "current_thread")]
async fn event_writes_model_page_and_overview() {
    let aws = aws();
    let handled = handle(&aws, &alert()).await.unwrap();
    assert_eq!(handled, Handled::Rendered { models: 1, left: 0 });
    let model = page(&aws, "dashboard/models/churn.html");
    for expected in [
        "InAlert",
        "1,234",
        "37.5%",
        "risk high",
        "churn-nightly",
        "october.csv",
        "0.27",
    ] {
        assert!(model.contains(expected), "{expected} is missing");
    }
    let overview = page(&aws, "dashboard/index.html");
    assert!(overview.contains("models/churn.html") && overview.contains("37.5%"));
    // The chart contains clean executions too: their values come from the other report files.
    let measured = page(&aws, "dashboard/data/measured/churn.json");
    assert!(measured.contains("0.02") && measured.contains("0.04"));
}

#[tokio::test(flavor = "current_thread")]
async fn event_page_lists_monitors_that_never_alerted() {
    let aws = aws();
    put(&aws, "fraud");
    handle(&aws, &event("Scheduled Event", &json!({}))).await.unwrap();
    // The first execution of another monitor is clean. No alert mentions it.
    let ledger = ledger_with("churn", "model-quality", MonitorType::ModelQuality, 1);
    aws.put_document(
        "monitors/churn-model-quality.json",
        serde_json::to_vec(&ledger).unwrap(),
    );
    handle(&aws, &alert()).await.unwrap();
    for key in ["dashboard/models/churn.html", "dashboard/index.html"] {
        let page = page(&aws, key);
        assert!(page.contains("churn-model-quality"), "{key}");
    }
    let model = page(&aws, "dashboard/models/churn.html");
    assert!(model.contains("Not configured: ModelBias, ModelExplainability"));
    assert!(!model.contains("fraud-data-quality"));
}

#[tokio::test(flavor = "current_thread")]
async fn report_files_and_lineage_are_read_once() {
    let aws = aws();
    handle(&aws, &alert()).await.unwrap();
    let calls = |aws: &Memory, operation: &str| aws.calls().iter().filter(|call| **call == operation).count();
    let (files, lineage) = (calls(&aws, "s3:GetObject"), calls(&aws, "sagemaker:QueryLineage"));
    aws.pass(SignedDuration::from_mins(10));
    handle(&aws, &event("Scheduled Event", &json!({}))).await.unwrap();
    assert_eq!(calls(&aws, "sagemaker:QueryLineage"), lineage);
    assert_eq!(calls(&aws, "cloudwatch:GetMetricData"), 2, "metrics are queried again");
    let again = calls(&aws, "s3:GetObject") - files;
    assert!(again < files, "{again} of {files}");
}

#[tokio::test(flavor = "current_thread")]
async fn tick_writes_every_page() {
    let aws = aws();
    put(&aws, "fraud");
    let handled = handle(&aws, &event("Scheduled Event", &json!({}))).await.unwrap();
    assert_eq!(handled, Handled::Rendered { models: 2, left: 0 });
    let overview = page(&aws, "dashboard/index.html");
    assert!(overview.contains("models/churn.html") && overview.contains("models/fraud.html"));
}

#[tokio::test(flavor = "current_thread")]
async fn failed_queries_become_notes() {
    let aws = aws();
    for operation in [
        "sagemaker:DescribeEndpoint",
        "sagemaker:DescribeModelCard",
        "sagemaker:ListTransformJobs",
    ] {
        aws.fail(operation, Fault::Before(Kind::Denied));
    }
    handle(&aws, &alert()).await.unwrap();
    let model = page(&aws, "dashboard/models/churn.html");
    assert!(model.contains("InAlert") && model.contains("sagemaker:DescribeEndpoint"));
}

#[tokio::test(flavor = "current_thread")]
async fn unreadable_summaries_render_all_pages() {
    let aws = aws();
    put(&aws, "fraud");
    aws.put_document("dashboard/data/summaries.json", "{");
    let handled = handle(&aws, &alert()).await.unwrap();
    assert_eq!(handled, Handled::Rendered { models: 2, left: 0 });
    assert!(page(&aws, "dashboard/index.html").contains("models/fraud.html"));
}

#[tokio::test(flavor = "current_thread")]
async fn unrelated_events_change_no_page() {
    let aws = aws();
    let other = event("Something Else", &json!({"no": "model"}));
    assert!(matches!(handle(&aws, &other).await.unwrap(), Handled::Ignored { .. }));
    assert!(aws.document("dashboard/index.html").is_none());
}

#[tokio::test(flavor = "current_thread")]
async fn retry_recovers_from_fault_at_any_call() {
    let calls = {
        let aws = aws();
        handle(&aws, &alert()).await.unwrap();
        aws.calls()
    };
    for operation in calls.iter().collect::<std::collections::BTreeSet<_>>() {
        for fault in [Fault::Before(Kind::Transient), Fault::After] {
            let aws = aws();
            aws.fail(operation, fault);
            if handle(&aws, &alert()).await.is_err() {
                handle(&aws, &alert()).await.unwrap();
            }
            // A page that failed is tried again by the next tick.
            handle(&aws, &alert()).await.unwrap();
            let summaries: serde_json::Value =
                serde_json::from_slice(&aws.document("dashboard/data/summaries.json").unwrap()).unwrap();
            let status = summaries.pointer("/models/0/monitors/0/status").unwrap();
            assert_eq!(status, "InAlert", "{operation} {fault:?}");
            assert!(
                page(&aws, "dashboard/index.html").contains("models/churn.html"),
                "{operation} {fault:?}"
            );
            assert!(
                !aws.documents().iter().any(|key| key.starts_with("dirty/")),
                "{operation} {fault:?}"
            );
        }
    }
}
