//! Pages on AWS in memory: events and ticks in, pages in the state bucket out, whoever else writes them.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use alerting::{Evidence, JobEvidence, JobStatus, Monitor, MonitorLedger, MonitorRules, Observation, ReportEvidence};
use dashboard::{Dashboard, Handled};
use jiff::{SignedDuration, Timestamp};
use model_dashboard::{LineageArtifact, Summary, TransformJob};
use model_monitor::{Limits, MonitorType, ViolationReport};
use outbox::Caller;
use remediation::{ModelDocument, RiskRating};
use serde_json::json;
use shell::{
    Kind,
    memory::{Fault, Memory},
};

const PACKAGE: &str = "arn:aws:sagemaker:us-east-1:111122223333:model-package/churn/7";
const REPORT: &str = r#"{"violations": [{"feature_name": "age", "constraint_check_type": "baseline_drift_check",
    "description": "Numerical distance: 0.27 exceeds numerical threshold: 0.1"}]}"#;

fn start() -> Timestamp {
    "2026-11-29T02:00:00Z".parse().unwrap()
}

/// The ledger of a data quality monitor: two clean executions, and one with violations.
fn ledger(model: &str) -> MonitorLedger {
    let monitor = Monitor {
        schedule: format!("{model}-data-quality"),
        endpoint: Some(model.to_owned()),
        model: model.to_owned(),
        monitor_type: Some(MonitorType::DataQuality),
    };
    let mut ledger = MonitorLedger::new(monitor.clone());
    for hour in 0..3 {
        let scheduled_time = start() - SignedDuration::from_hours(2 - hour);
        let caller = Caller {
            id: format!("request-{hour}"),
            now: scheduled_time + SignedDuration::from_mins(9),
            lease: SignedDuration::from_secs(120),
        };
        let folder = scheduled_time.strftime("%Y/%m/%d/%H");
        let uri = format!("s3://reports/out/{model}/{model}-data-quality/{folder}/constraint_violations.json");
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

/// A world with a model that has a monitor, an endpoint with numbers, a lineage, and files of reports.
fn world() -> Memory {
    let world = Memory::at(start() + SignedDuration::from_mins(29));
    put(&world, "churn");
    world.put_endpoint("churn", "churn-1", &[("AllTraffic", 1.0, Some(PACKAGE))]);
    world.put_value("AWS/SageMaker", "Invocations", "churn", "AllTraffic", 1.0, 1234);
    world.put_value(
        "/aws/sagemaker/Endpoints",
        "CPUUtilization",
        "churn",
        "AllTraffic",
        37.5,
        1,
    );
    world.pass(SignedDuration::from_mins(1));
    world.put_risk_rating("churn", RiskRating::High);
    world.put_transform_job(TransformJob {
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
    world.put_lineage(PACKAGE, vec![artifact], Vec::new());
    for (hour, distance) in [("00", 0.02), ("01", 0.04), ("02", 0.27)] {
        let uri = format!("s3://reports/out/churn/churn-data-quality/2026/11/29/{hour}/drift.json");
        let drift = json!({"version": 0.0, "features": [{"name": "age", "distance": distance, "threshold": 0.1}]});
        world.put_object(&uri, drift.to_string());
    }
    world
}

fn put(world: &Memory, model: &str) {
    let ledger = serde_json::to_vec(&ledger(model)).unwrap();
    world.put_document(&format!("monitors/{model}-data-quality.json"), ledger);
    let document = serde_json::to_vec(&ModelDocument::new(model)).unwrap();
    world.put_document(&format!("models/{model}.json"), document);
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

async fn handle(world: &Memory, event: &str) -> Result<Handled, dashboard::DashboardError> {
    Dashboard::new("driftwarden", Some("us-east-1"))
        .handle(world, event, Timestamp::MAX)
        .await
}

fn page(world: &Memory, key: &str) -> String {
    String::from_utf8(world.document(key).unwrap()).unwrap()
}

#[tokio::test(flavor = "current_thread")]
async fn an_event_makes_the_page_of_its_model_and_the_overview() {
    let world = world();
    let handled = handle(&world, &alert()).await.unwrap();
    assert_eq!(handled, Handled::Rendered { models: 1, left: 0 });
    let model = page(&world, "dashboard/models/churn.html");
    for said in [
        "InAlert",
        "1\u{202f}234",
        "37.5 %",
        "risk high",
        "churn-nightly",
        "october.csv",
        "0.270",
    ] {
        assert!(model.contains(said), "the page says {said}");
    }
    let overview = page(&world, "dashboard/index.html");
    assert!(overview.contains("models/churn.html") && overview.contains("37.5 %"));
    // Clean executions are on the picture as well: their values stand in no report of violations.
    let measured = page(&world, "dashboard/data/measured/churn.json");
    assert!(measured.contains("0.02") && measured.contains("0.04"));
}

#[tokio::test(flavor = "current_thread")]
async fn files_and_lineage_are_read_once() {
    let world = world();
    handle(&world, &alert()).await.unwrap();
    let calls = |world: &Memory, operation: &str| world.calls().iter().filter(|call| **call == operation).count();
    let (files, lineage) = (calls(&world, "s3:GetObject"), calls(&world, "sagemaker:QueryLineage"));
    world.pass(SignedDuration::from_mins(10));
    handle(&world, &event("Scheduled Event", &json!({}))).await.unwrap();
    assert_eq!(calls(&world, "sagemaker:QueryLineage"), lineage);
    assert_eq!(
        calls(&world, "cloudwatch:GetMetricData"),
        2,
        "numbers are asked for anew"
    );
    let again = calls(&world, "s3:GetObject") - files;
    assert!(again < files, "{again} of {files}");
}

#[tokio::test(flavor = "current_thread")]
async fn a_tick_makes_every_page() {
    let world = world();
    put(&world, "fraud");
    let handled = handle(&world, &event("Scheduled Event", &json!({}))).await.unwrap();
    assert_eq!(handled, Handled::Rendered { models: 2, left: 0 });
    let overview = page(&world, "dashboard/index.html");
    assert!(overview.contains("models/churn.html") && overview.contains("models/fraud.html"));
}

#[tokio::test(flavor = "current_thread")]
async fn what_aws_does_not_say_is_a_note_and_stops_nothing() {
    let world = world();
    for operation in [
        "sagemaker:DescribeEndpoint",
        "sagemaker:DescribeModelCard",
        "sagemaker:ListTransformJobs",
    ] {
        world.fail(operation, Fault::Before(Kind::Denied));
    }
    handle(&world, &alert()).await.unwrap();
    let model = page(&world, "dashboard/models/churn.html");
    assert!(model.contains("InAlert") && model.contains("sagemaker:DescribeEndpoint"));
}

#[tokio::test(flavor = "current_thread")]
async fn a_page_that_somebody_else_wrote_meanwhile_is_made_anew() {
    let world = world();
    handle(&world, &alert()).await.unwrap();
    world.fail("s3:PutObject", Fault::Overtaken);
    world.pass(SignedDuration::from_mins(1));
    handle(&world, &alert()).await.unwrap();
    let model = page(&world, "dashboard/models/churn.html");
    assert!(model.contains("02:31"), "the page is of now");
}

#[tokio::test(flavor = "current_thread")]
async fn other_events_change_nothing() {
    let world = world();
    let other = event("Something Else", &json!({"no": "model"}));
    assert!(matches!(handle(&world, &other).await.unwrap(), Handled::Ignored { .. }));
    assert!(world.document("dashboard/index.html").is_none());
}

#[tokio::test(flavor = "current_thread")]
async fn a_fault_at_any_call_is_mended_by_the_retry() {
    let calls = {
        let world = world();
        handle(&world, &alert()).await.unwrap();
        world.calls()
    };
    for operation in calls.iter().collect::<std::collections::BTreeSet<_>>() {
        for fault in [Fault::Before(Kind::Transient), Fault::After] {
            let world = world();
            world.fail(operation, fault);
            if handle(&world, &alert()).await.is_err() {
                handle(&world, &alert()).await.unwrap();
            }
            let summary: Summary =
                serde_json::from_slice(&world.document("dashboard/data/summaries/churn.json").unwrap()).unwrap();
            assert!(summary.in_alert(), "{operation} {fault:?}");
            assert!(
                page(&world, "dashboard/index.html").contains("models/churn.html"),
                "{operation} {fault:?}"
            );
        }
    }
}
