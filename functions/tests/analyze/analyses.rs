//! Runs the function on AWS in memory: due executions, failures, and large datasets in parts.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use crate::analyze::common;

use analyzer::{Dataset, Object, ReadOptions, job::DataQualityJob, read};
use common::{at, ended, invoke, invoke_as, tick};
use functions::analyze::Analyze;
use jiff::SignedDuration;
use machine::Kind;
use serde_json::{Value, json};
use shell::memory::{Fault, Memory};
use std::io::Cursor;

const POLICY: &str = r#"
[[analysis]]
schedule = "churn-dq"
endpoint = "churn"
expression = "rate(1 hour)"
data = "s3://data/capture/churn/AllTraffic"
baseline = "s3://data/baselines/churn"
output = "s3://reports/monitoring"
"#;

/// AWS at 03:15 with a baseline, and captured data of the hour 02.
fn aws(shift: u32) -> Memory {
    let aws = Memory::at(at("2026-11-23T03:15:00Z"));
    aws.put_document("policy.toml", POLICY);
    let rows = (0..2000).map(|row| format!("{},{}\n", 20 + row % 50, ["a", "b"][row % 2]));
    let csv = format!("age,plan\n{}", rows.collect::<Vec<_>>().concat());
    let object = Object::stream("baseline.csv", None, move || {
        Ok(Box::new(Cursor::new(csv.into_bytes())))
    });
    let dataset: Dataset<analysis::Profile> =
        read(vec![object], &ReadOptions::default(), analysis::Profile::default).unwrap();
    for file in DataQualityJob::default().baseline(&dataset).unwrap().all_files() {
        aws.put_object(&format!("s3://data/baselines/churn/{}", file.name), file.content);
    }
    capture(&aws, "2026/11/23/02", shift);
    aws
}

fn capture(aws: &Memory, hour: &str, shift: u32) {
    for part in 0..3 {
        let lines: Vec<String> = (0..300)
            .map(|row| {
                let data = format!("{},{}", 20 + shift + (row * 7 + part) % 50, ["a", "b"][(row % 2) as usize]);
                let input = json!({"observedContentType": "text/csv", "mode": "INPUT", "data": data, "encoding": "CSV"});
                let line = json!({"captureData": {"endpointInput": input}, "eventMetadata": {"eventId": "1"}, "eventVersion": "0"});
                format!("{line}\n")
            })
            .collect();
        aws.put_object(
            &format!("s3://data/capture/churn/AllTraffic/{hour}/{part}.jsonl"),
            lines.concat(),
        );
    }
}

#[tokio::test]
async fn due_execution_runs_once() {
    let (analyze, aws) = (Analyze::default(), aws(0));
    let done = tick(&analyze, &aws).await.unwrap();
    insta::assert_json_snapshot!(done, @r#"
    [
      {
        "itemCount": 900,
        "monitoringExecutionStatus": "Completed",
        "monitoringSchedule": "churn-dq",
        "reportUri": "s3://reports/monitoring/churn/churn-dq/2026/11/23/03",
        "scheduledTime": "2026-11-23T03:00:00Z",
        "violations": 0
      }
    ]
    "#);
    assert!(tick(&analyze, &aws).await.unwrap().is_empty());
    let published = ended(&aws);
    assert_eq!(published.len(), 1);
    assert_eq!(published[0]["id"], "churn-dq-20261123T03");
    let names: Vec<_> = aws.monitor_metrics().into_iter().map(|metric| metric.name).collect();
    assert!(names.contains(&"feature_baseline_drift_age".to_owned()), "{names:?}");
}

#[tokio::test]
async fn missed_executions_run_later() {
    let (analyze, aws) = (Analyze::default(), aws(0));
    tick(&analyze, &aws).await.unwrap();
    capture(&aws, "2026/11/23/04", 0);
    aws.pass(SignedDuration::from_hours(3));
    // One tick is enough: each execution requests the next one.
    let done = tick(&analyze, &aws).await.unwrap();
    let status = |at: usize| done[at]["monitoringExecutionStatus"].as_str().unwrap().to_owned();
    // No data was captured in the hour 03: the execution of 04 has no data.
    assert_eq!([status(0), status(1), status(2)], ["Failed", "Completed", "Failed"]);
    assert_eq!(done[0]["failureReason"], "Job inputs had no data");
    assert_eq!(ended(&aws).len(), 4);
}

#[tokio::test]
async fn clean_repeat_removes_violations() {
    let (analyze, aws) = (Analyze::default(), aws(40));
    let request = json!({"schedule": "churn-dq", "scheduledTime": "2026-11-23T03:00:00Z"});
    let violations = || {
        let report = aws.object("s3://reports/monitoring/churn/churn-dq/2026/11/23/03/constraint_violations.json");
        report.map(|report| serde_json::from_slice::<Value>(&report).unwrap()["violations"].clone())
    };
    invoke(&analyze, &aws, request.clone()).await.unwrap();
    assert!(!violations().unwrap().as_array().unwrap().is_empty());
    capture(&aws, "2026/11/23/02", 0);
    let done = invoke(&analyze, &aws, request.clone()).await.unwrap();
    assert_eq!(done["executions"][0]["monitoringExecutionStatus"], "Completed");
    assert_eq!(violations(), Some(json!([])));
}

#[tokio::test]
async fn report_has_location_of_model_monitor() {
    let (analyze, aws) = (Analyze::default(), aws(40));
    let done = invoke(
        &analyze,
        &aws,
        json!({"schedule": "churn-dq", "scheduledTime": "2026-11-23T03:00:00Z"}),
    )
    .await
    .unwrap();
    assert_eq!(
        done["executions"][0]["monitoringExecutionStatus"],
        "CompletedWithViolations"
    );
    assert_eq!(
        done["executions"][0]["reportUri"],
        "s3://reports/monitoring/churn/churn-dq/2026/11/23/03"
    );
    let report = aws
        .object("s3://reports/monitoring/churn/churn-dq/2026/11/23/03/constraint_violations.json")
        .unwrap();
    let report: Value = serde_json::from_slice(&report).unwrap();
    assert_eq!(report["violations"][0]["feature_name"], "age");
    assert_eq!(report["violations"][0]["constraint_check_type"], "baseline_drift_check");
}

#[tokio::test]
async fn retry_after_fault_doubles_nothing() {
    for operation in [
        "s3:ListBucket",
        "s3:GetObject",
        "s3:PutObject",
        "cloudwatch:PutMetricData",
        "events:PutEvents",
    ] {
        for fault in [Fault::Before(Kind::Transient), Fault::After] {
            let (analyze, aws) = (Analyze::default(), aws(40));
            aws.fail(operation, fault);
            let first = tick(&analyze, &aws).await;
            // If the response of the last write is lost, the execution is recorded as done.
            let again = tick(&analyze, &aws)
                .await
                .unwrap_or_else(|error| panic!("{operation} {fault:?}: {error}"));
            let done = first.as_ref().map_or(0, Vec::len) + again.len();
            assert!(
                done >= 1 || !ended(&aws).is_empty(),
                "{operation} {fault:?}: {first:?} {again:?}"
            );
            let ids: std::collections::BTreeSet<_> = ended(&aws).iter().map(|event| event["id"].to_string()).collect();
            assert_eq!(
                ids.len(),
                1,
                "{operation} {fault:?}: one execution, published once or twice with one ID"
            );
        }
    }
}

#[tokio::test]
async fn unreadable_baseline_is_a_failed_execution() {
    let (analyze, aws) = (Analyze::default(), aws(0));
    aws.put_object("s3://data/baselines/churn/constraints.json", "{");
    let done = invoke(&analyze, &aws, json!({"schedule": "churn-dq"})).await.unwrap();
    let reason = done["executions"][0]["failureReason"].as_str().unwrap().to_owned();
    assert!(
        reason.contains("s3://data/baselines/churn/constraints.json"),
        "{reason}"
    );
    aws.refuse_object("s3://data/baselines/churn/constraints.json", Kind::Denied);
    let done = invoke(&analyze, &aws, json!({"schedule": "churn-dq"})).await.unwrap();
    assert_eq!(done["executions"][0]["monitoringExecutionStatus"], "Failed");
}

#[tokio::test]
async fn merged_parts_give_same_report_as_whole() {
    let (analyze, aws) = (Analyze::default(), aws(40));
    for part in [2, 0, 1, 1] {
        let key = format!("capture/churn/AllTraffic/2026/11/23/02/{part}.jsonl");
        let profile = json!({"profile": {"run": "r1", "schedule": "churn-dq", "bucket": "data", "key": key}});
        assert_eq!(invoke(&analyze, &aws, profile).await.unwrap()["itemCount"], 300);
    }
    let merge = json!({"merge": {"run": "r1", "schedule": "churn-dq", "scheduledTime": "2026-11-23T03:00:00Z"}});
    let merged = invoke(&analyze, &aws, merge).await.unwrap();
    let uri = "s3://reports/monitoring/churn/churn-dq/2026/11/23/03/statistics.json";
    // With few rows, the sketch contains the numbers in their original order.
    let statistics = || {
        let mut statistics: Value = serde_json::from_slice(&aws.object(uri).unwrap()).unwrap();
        let sketch = &mut statistics["features"][0]["numerical_statistics"]["distribution"]["kll"]["sketch"]["data"][0];
        let mut numbers: Vec<f64> = serde_json::from_value(sketch.take()).unwrap();
        numbers.sort_by(f64::total_cmp);
        (statistics, numbers)
    };
    let merged_statistics = statistics();
    let whole = invoke(
        &analyze,
        &aws,
        json!({"schedule": "churn-dq", "scheduledTime": "2026-11-23T03:00:00Z"}),
    )
    .await
    .unwrap();
    assert_eq!(merged, whole);
    assert!(
        merged_statistics == statistics(),
        "with few distinct values, everything is exact"
    );
    let missing = json!({"profile": {"run": "r1", "schedule": "churn-dq", "bucket": "data", "key": "nothing.csv"}});
    assert!(
        invoke(&analyze, &aws, missing)
            .await
            .unwrap_err()
            .contains("s3://data/nothing.csv")
    );
}

#[tokio::test]
async fn invalid_requests_are_errors() {
    let (analyze, aws) = (Analyze::default(), aws(0));
    assert!(
        invoke(&analyze, &aws, json!({"schedule": "other"}))
            .await
            .unwrap_err()
            .contains("`other`")
    );
    assert!(invoke(&analyze, &aws, json!({"scheduledTime": "soon"})).await.is_err());
}

#[tokio::test]
async fn every_sample_event_is_handled() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../events/analyze");
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path)
            .unwrap()
            .replace("my-data", "data")
            .replace("churn-data-quality", "churn-dq");
        let text = text.replace("20-45-950-c13afd5c", "0");
        let handled = invoke_as(&Analyze::default(), &aws(0), &text, "request").await;
        assert!(handled.is_ok(), "{}: {handled:?}", path.display());
    }
}
