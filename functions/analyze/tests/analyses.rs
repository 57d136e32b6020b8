//! analyze on AWS in memory: what is due, once; what fails, and how; large datasets in parts.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use analyze::{Analyze, Handled};
use analyzer::{Dataset, Object, ReadOptions, job::DataQualityJob, read};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use shell::Kind;
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

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// It is 03:15, the baseline is there, and the hour of 02 was captured.
fn world(shift: u32) -> Memory {
    let world = Memory::at(at("2026-11-23T03:15:00Z"));
    world.put_document("policy.toml", POLICY);
    let rows = (0..2000).map(|row| format!("{},{}\n", 20 + row % 50, ["a", "b"][row % 2]));
    let csv = format!("age,plan\n{}", rows.collect::<Vec<_>>().concat());
    let object = Object::stream("baseline.csv", None, move || {
        Ok(Box::new(Cursor::new(csv.into_bytes())))
    });
    let dataset: Dataset<analysis::Profile> =
        read(vec![object], &ReadOptions::default(), analysis::Profile::default).unwrap();
    for file in DataQualityJob::default().baseline(&dataset).unwrap().all_files() {
        world.put_object(&format!("s3://data/baselines/churn/{}", file.name), file.content);
    }
    capture(&world, "2026/11/23/02", shift);
    world
}

fn capture(world: &Memory, hour: &str, shift: u32) {
    for part in 0..3 {
        let lines: Vec<String> = (0..300)
            .map(|row| {
                let data = format!("{},{}", 20 + shift + (row * 7 + part) % 50, ["a", "b"][(row % 2) as usize]);
                let input = json!({"observedContentType": "text/csv", "mode": "INPUT", "data": data, "encoding": "CSV"});
                let line = json!({"captureData": {"endpointInput": input}, "eventMetadata": {"eventId": "1"}, "eventVersion": "0"});
                format!("{line}\n")
            })
            .collect();
        world.put_object(
            &format!("s3://data/capture/churn/AllTraffic/{hour}/{part}.jsonl"),
            lines.concat(),
        );
    }
}

async fn invoke(analyze: &Analyze, world: &Memory, request: Value) -> Result<Value, String> {
    let handled = analyze.handle(world, &request.to_string(), Timestamp::MAX).await;
    handled
        .map(|handled: Handled| serde_json::to_value(handled).unwrap())
        .map_err(|error| error.to_string())
}

fn told(world: &Memory) -> Vec<Value> {
    let events = world.events();
    assert!(
        events
            .iter()
            .all(|(kind, _)| kind == "Monitoring Execution State Change")
    );
    events
        .iter()
        .map(|(_, detail)| serde_json::from_str(detail).unwrap())
        .collect()
}

#[tokio::test]
async fn what_is_due_is_executed_once() {
    let (analyze, world) = (Analyze::default(), world(0));
    let done = invoke(&analyze, &world, json!({})).await.unwrap();
    insta::assert_json_snapshot!(done["executions"], @r#"
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
    assert_eq!(
        invoke(&analyze, &world, json!({})).await.unwrap()["executions"],
        json!([])
    );
    let told = told(&world);
    assert_eq!(told.len(), 1);
    assert_eq!(told[0]["id"], "churn-dq-20261123T03");
    let names: Vec<_> = world.monitor_metrics().into_iter().map(|metric| metric.name).collect();
    assert!(names.contains(&"feature_baseline_drift_age".to_owned()), "{names:?}");
}

#[tokio::test]
async fn executions_that_were_missed_are_made_up_for() {
    let (analyze, world) = (Analyze::default(), world(0));
    invoke(&analyze, &world, json!({})).await.unwrap();
    capture(&world, "2026/11/23/04", 0);
    world.pass(SignedDuration::from_hours(3));
    let done = invoke(&analyze, &world, json!({})).await.unwrap();
    let status = |at: usize| {
        done["executions"][at]["monitoringExecutionStatus"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    // The hour of 03 was not captured: of the execution at 04 there are no data.
    assert_eq!([status(0), status(1), status(2)], ["Failed", "Completed", "Failed"]);
    assert_eq!(done["executions"][0]["failureReason"], "Job inputs had no data");
    assert_eq!(told(&world).len(), 4);
}

#[tokio::test]
async fn an_execution_that_is_repeated_and_clean_leaves_no_violations_of_the_first() {
    let (analyze, world) = (Analyze::default(), world(40));
    let request = json!({"schedule": "churn-dq", "scheduledTime": "2026-11-23T03:00:00Z"});
    let violations = || {
        let report = world.object("s3://reports/monitoring/churn/churn-dq/2026/11/23/03/constraint_violations.json");
        report.map(|report| serde_json::from_slice::<Value>(&report).unwrap()["violations"].clone())
    };
    invoke(&analyze, &world, request.clone()).await.unwrap();
    assert!(!violations().unwrap().as_array().unwrap().is_empty());
    capture(&world, "2026/11/23/02", 0);
    let done = invoke(&analyze, &world, request.clone()).await.unwrap();
    assert_eq!(done["executions"][0]["monitoringExecutionStatus"], "Completed");
    assert_eq!(violations(), Some(json!([])));
}

#[tokio::test]
async fn drift_is_reported_where_model_monitor_would() {
    let (analyze, world) = (Analyze::default(), world(40));
    let done = invoke(
        &analyze,
        &world,
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
    let report = world
        .object("s3://reports/monitoring/churn/churn-dq/2026/11/23/03/constraint_violations.json")
        .unwrap();
    let report: Value = serde_json::from_slice(&report).unwrap();
    assert_eq!(report["violations"][0]["feature_name"], "age");
    assert_eq!(report["violations"][0]["constraint_check_type"], "baseline_drift_check");
}

#[tokio::test]
async fn what_aws_fails_at_is_tried_again_and_doubles_nothing() {
    for operation in [
        "s3:ListBucket",
        "s3:GetObject",
        "s3:PutObject",
        "cloudwatch:PutMetricData",
        "events:PutEvents",
    ] {
        for fault in [Fault::Before(Kind::Transient), Fault::After] {
            let (analyze, world) = (Analyze::default(), world(40));
            world.fail(operation, fault);
            let first = invoke(&analyze, &world, json!({})).await;
            // A lost answer of the last write leaves the execution done, and its note taken.
            let again = invoke(&analyze, &world, json!({}))
                .await
                .unwrap_or_else(|error| panic!("{operation} {fault:?}: {error}"));
            let done = [first.as_ref().ok(), Some(&again)]
                .into_iter()
                .flatten()
                .filter(|answer| answer["executions"] != json!([]))
                .count();
            assert!(done >= 1, "{operation} {fault:?}: {first:?} {again}");
            let ids: std::collections::BTreeSet<_> = told(&world).iter().map(|event| event["id"].to_string()).collect();
            assert_eq!(
                ids.len(),
                1,
                "{operation} {fault:?}: one execution, told perhaps twice, with one id"
            );
        }
    }
}

#[tokio::test]
async fn a_baseline_that_is_missing_or_denied_is_a_failed_execution() {
    let (analyze, world) = (Analyze::default(), world(0));
    world.put_object("s3://data/baselines/churn/constraints.json", "{");
    let done = invoke(&analyze, &world, json!({"schedule": "churn-dq"})).await.unwrap();
    let reason = done["executions"][0]["failureReason"].as_str().unwrap().to_owned();
    assert!(
        reason.contains("s3://data/baselines/churn/constraints.json"),
        "{reason}"
    );
    world.refuse_object("s3://data/baselines/churn/constraints.json", Kind::Denied);
    let done = invoke(&analyze, &world, json!({"schedule": "churn-dq"})).await.unwrap();
    assert_eq!(done["executions"][0]["monitoringExecutionStatus"], "Failed");
}

#[tokio::test]
async fn parts_of_a_large_dataset_make_the_report_of_the_whole() {
    let (analyze, world) = (Analyze::default(), world(40));
    for part in [2, 0, 1, 1] {
        let key = format!("capture/churn/AllTraffic/2026/11/23/02/{part}.jsonl");
        let profile = json!({"profile": {"run": "r1", "schedule": "churn-dq", "bucket": "data", "key": key}});
        assert_eq!(invoke(&analyze, &world, profile).await.unwrap()["itemCount"], 300);
    }
    let merge = json!({"merge": {"run": "r1", "schedule": "churn-dq", "scheduledTime": "2026-11-23T03:00:00Z"}});
    let of_parts = invoke(&analyze, &world, merge).await.unwrap();
    let uri = "s3://reports/monitoring/churn/churn-dq/2026/11/23/03/statistics.json";
    // The numbers of so few rows stand in the sketch in the order in which they came.
    let statistics = || {
        let mut statistics: Value = serde_json::from_slice(&world.object(uri).unwrap()).unwrap();
        let sketch = &mut statistics["features"][0]["numerical_statistics"]["distribution"]["kll"]["sketch"]["data"][0];
        let mut numbers: Vec<f64> = serde_json::from_value(sketch.take()).unwrap();
        numbers.sort_by(f64::total_cmp);
        (statistics, numbers)
    };
    let by_parts = statistics();
    let whole = invoke(
        &analyze,
        &world,
        json!({"schedule": "churn-dq", "scheduledTime": "2026-11-23T03:00:00Z"}),
    )
    .await
    .unwrap();
    assert_eq!(of_parts, whole);
    assert!(by_parts == statistics(), "few different values: everything is exact");
    let missing = json!({"profile": {"run": "r1", "schedule": "churn-dq", "bucket": "data", "key": "nothing.csv"}});
    assert!(
        invoke(&analyze, &world, missing)
            .await
            .unwrap_err()
            .contains("s3://data/nothing.csv")
    );
}

#[tokio::test]
async fn requests_that_make_no_sense_say_so() {
    let (analyze, world) = (Analyze::default(), world(0));
    assert!(
        invoke(&analyze, &world, json!({"schedule": "other"}))
            .await
            .unwrap_err()
            .contains("`other`")
    );
    assert!(
        invoke(&analyze, &world, json!({"scheduledTime": "soon"}))
            .await
            .is_err()
    );
}

#[tokio::test]
async fn every_sample_event_is_handled() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../events/analyze");
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path)
            .unwrap()
            .replace("my-data", "data")
            .replace("churn-data-quality", "churn-dq");
        let text = text.replace("20-45-950-c13afd5c", "0");
        let handled = Analyze::default().handle(&world(0), &text, Timestamp::MAX).await;
        assert!(handled.is_ok(), "{}: {handled:?}", path.display());
    }
}
