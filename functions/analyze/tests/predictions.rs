//! Monitoring schedules of model quality, bias and feature attributions, on AWS in memory.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use analyze::Analyze;
use analyzer::{
    Header, Object, ReadOptions,
    job::{AnalysisConfig, PredictionJob},
    read,
};
use jiff::{SignedDuration, Timestamp};
use model_monitor::MonitorType;
use serde_json::{Value, json};
use shell::{
    Kind,
    memory::{Fault, Memory},
};
use std::{fmt::Write as _, io::Cursor};

const HOUR: &str = "2026/11/23/02";
const REPORT: &str = "s3://reports/churn/own/2026/11/23/03";

/// It is 03:15, the policy has one schedule of that type, and its baseline is made of a dataset.
fn world(kind: MonitorType, config: &Value, dataset: &str) -> Memory {
    let world = Memory::at("2026-11-23T03:15:00Z".parse().unwrap());
    world.put_model("churn", linear);
    world.put_document(
        "policy.toml",
        format!(
            r#"
            [[analysis]]
            schedule = "own"
            endpoint = "churn"
            monitor_type = "{kind}"
            data = "s3://data/capture"
            ground_truth = "s3://data/truth"
            config = "s3://data/config.json"
            baseline = "s3://data/baseline"
            output = "s3://reports"
            "#
        ),
    );
    world.put_object("s3://data/config.json", config.to_string());
    let config = AnalysisConfig::parse("config.json", config.to_string().as_bytes()).unwrap();
    let job = PredictionJob::new(kind, Some(config)).unwrap();
    let mut options = ReadOptions {
        header: Header::Present,
        ..ReadOptions::default()
    };
    job.prepare(&mut options);
    let bytes = dataset.as_bytes().to_vec();
    let object = Object::stream("baseline.csv", None, move || Ok(Box::new(Cursor::new(bytes))));
    let dataset = read(vec![object], &options, job.tables()).unwrap();
    let baseline = job.baseline(&dataset, None, Some(&mut |request| Ok(linear(&request.body))));
    for file in baseline.unwrap().all_files() {
        world.put_object(&format!("s3://data/baseline/{}", file.name), file.content);
    }
    world
}

/// A model: thrice the first number, and the second.
fn linear(body: &[u8]) -> Vec<u8> {
    let mut answer = String::new();
    for line in String::from_utf8(body.to_vec()).unwrap().lines() {
        let numbers: Vec<f64> = line.split(',').map(|cell| cell.parse().unwrap()).collect();
        writeln!(answer, "{}", 3.0 * numbers[0] + numbers[1]).unwrap();
    }
    answer.into_bytes()
}

/// Captured requests: what was asked, what the model answered.
fn capture(world: &Memory, requests: impl Iterator<Item = (String, String)>) {
    let mut lines = String::new();
    for (id, (input, output)) in requests.enumerate() {
        let side = |mode: &str, data: &str| json!({"observedContentType": "text/csv", "mode": mode, "data": data, "encoding": "CSV"});
        let line = json!({
            "captureData": {"endpointInput": side("INPUT", &input), "endpointOutput": side("OUTPUT", &output)},
            "eventMetadata": {"eventId": id.to_string(), "inferenceTime": "2026-11-23T02:20:00Z"}, "eventVersion": "0",
        });
        writeln!(lines, "{line}").unwrap();
    }
    world.put_object(&format!("s3://data/capture/{HOUR}/a.jsonl"), lines);
}

fn label(world: &Memory, hour: &str, labels: impl Iterator<Item = (usize, String)>) {
    let mut lines = String::new();
    for (id, label) in labels {
        let line = json!({
            "groundTruthData": {"data": label, "encoding": "CSV"},
            "eventMetadata": {"eventId": id.to_string()}, "eventVersion": "0",
        });
        writeln!(lines, "{line}").unwrap();
    }
    world.put_object(&format!("s3://data/truth/{hour}/a.jsonl"), lines);
}

async fn execute(world: &Memory) -> Result<Value, String> {
    let request = json!({"schedule": "own", "scheduledTime": "2026-11-23T03:00:00Z"}).to_string();
    let handled = Analyze::default().handle(world, &request, Timestamp::MAX).await;
    let handled = handled.map_err(|error| error.to_string())?;
    Ok(serde_json::to_value(handled).unwrap()["executions"][0].clone())
}

fn violations(world: &Memory) -> Value {
    let report = world.object(&format!("{REPORT}/constraint_violations.json")).unwrap();
    serde_json::from_slice::<Value>(&report).unwrap()["violations"].clone()
}

fn quality() -> Memory {
    let config = json!({
        "problem_type": "BinaryClassification", "probability_attribute": "0", "probability_threshold_attribute": 0.5,
        "ground_truth_attribute": "label",
    });
    let mut dataset = "0,label\n".to_owned();
    for row in 0..500 {
        writeln!(
            dataset,
            "{},{}",
            if row % 2 == 0 { 0.1 } else { 0.9 },
            (row + row / 40 % 2) % 2
        )
        .unwrap();
    }
    let world = world(MonitorType::ModelQuality, &config, &dataset);
    let answer = |id: usize| ["0.1", "0.9"][id % 2];
    capture(&world, (0..400).map(|id| ("1".to_owned(), answer(id).to_owned())));
    world
}

#[tokio::test]
async fn model_quality_takes_the_labels_that_have_come_by_now() {
    let world = quality();
    // No label yet: there is nothing to measure, and that is not clean.
    let done = execute(&world).await.unwrap();
    assert_eq!(done["failureReason"], "Job inputs had no data", "{done}");
    // Three of four labels come within the hour, the last ones an hour later: all are right.
    label(&world, HOUR, (0..300).map(|id| (id, (id % 2).to_string())));
    let done = execute(&world).await.unwrap();
    assert_eq!(
        (&done["monitoringExecutionStatus"], &done["itemCount"]),
        (&json!("Completed"), &json!(300)),
        "{done}"
    );
    label(
        &world,
        "2026/11/23/03",
        (300..400).map(|id| (id, ((id + 1) % 2).to_string())),
    );
    let done = execute(&world).await.unwrap();
    assert_eq!(done["itemCount"], 400);
    // Labels of tomorrow are not there today, however they got into the bucket.
    label(
        &world,
        "2026/11/24/03",
        (0..400).map(|id| (id, ((id + 1) % 2).to_string())),
    );
    assert_eq!(execute(&world).await.unwrap(), done);
    world.pass(SignedDuration::from_hours(24));
    let late = execute(&world).await.unwrap();
    assert_eq!(late["monitoringExecutionStatus"], "CompletedWithViolations", "{late}");
    let violated = violations(&world);
    assert!(
        violated
            .as_array()
            .unwrap()
            .iter()
            .any(|of| of["metric_name"] == "accuracy"),
        "{violated}"
    );
    let names: Vec<_> = world.monitor_metrics().into_iter().map(|metric| metric.name).collect();
    assert!(names.contains(&"accuracy".to_owned()), "{names:?}");
}

#[tokio::test]
async fn bias_of_predictions() {
    let config = json!({
        "headers": ["approved", "sex", "age", "predicted"], "label": "approved", "predicted_label": "predicted", "label_values_or_threshold": [1],
        "facet": [{"name_or_index": "sex", "value_or_threshold": [0]}],
        "predictor": {"label": "0"}, "methods": {"post_training_bias": {"methods": ["DPPL"]}},
    });
    let mut dataset = "approved,sex,age,predicted\n".to_owned();
    for row in 0..400 {
        writeln!(dataset, "{},{},30,{}", row / 2 % 2, row % 2, row / 2 % 2).unwrap();
    }
    let world = world(MonitorType::ModelBias, &config, &dataset);
    let favours = |id: usize| if id % 2 == 1 { 1 } else { id / 2 % 2 };
    capture(
        &world,
        (0..400).map(|id| (format!("{},30", id % 2), favours(id).to_string())),
    );
    label(&world, HOUR, (0..400).map(|id| (id, (id / 2 % 2).to_string())));
    let done = execute(&world).await.unwrap();
    assert_eq!(done["monitoringExecutionStatus"], "CompletedWithViolations", "{done}");
    assert_eq!(violations(&world)[0]["metric_name"], "DPPL", "{}", violations(&world));
}

fn explained() -> Memory {
    let config = json!({
        "headers": ["y", "a", "b"], "label": "y", "methods": {"shap": {"baseline": [[0, 0]]}},
        "predictor": {"content_type": "text/csv"},
    });
    let world = world(
        MonitorType::ModelExplainability,
        &config,
        "y,a,b\n0,5,1\n1,3,2\n0,2,4\n",
    );
    // The second feature has become the important one.
    capture(&world, (0..20).map(|id| (format!("1,{}", 50 + id), "5".to_owned())));
    world
}

#[tokio::test]
async fn feature_attributions_of_the_monitored_endpoint() {
    let world = explained();
    let done = execute(&world).await.unwrap();
    assert_eq!(done["monitoringExecutionStatus"], "CompletedWithViolations", "{done}");
    assert_eq!(
        violations(&world)[0]["constraint_check_type"],
        "feature_attribution_drift_check"
    );
    assert!(world.calls().contains(&"sagemaker:InvokeEndpoint"));
}

#[tokio::test]
async fn an_endpoint_that_fails_is_asked_again_later_and_one_that_is_not_there_is_told() {
    let world = explained();
    world.fail("sagemaker:InvokeEndpoint", Fault::Before(Kind::Transient));
    let error = execute(&world).await.unwrap_err();
    assert!(error.contains("sagemaker:InvokeEndpoint on `churn`"), "{error}");
    world.fail("sagemaker:InvokeEndpoint", Fault::Before(Kind::NotFound));
    let done = execute(&world).await.unwrap();
    assert_eq!(done["monitoringExecutionStatus"], "Failed");
    assert!(done["failureReason"].as_str().unwrap().contains("`churn`"), "{done}");
}

#[tokio::test]
async fn what_is_not_configured_is_a_failed_execution_that_says_so() {
    let world = quality();
    world.put_object("s3://data/config.json", "{\"problem_type\": \"Guess\"}");
    let reason = execute(&world).await.unwrap()["failureReason"].clone();
    assert!(reason.as_str().unwrap().contains("s3://data/config.json"), "{reason}");
    world.refuse_object("s3://data/config.json", Kind::NotFound);
    let reason = execute(&world).await.unwrap()["failureReason"].clone();
    assert!(reason.as_str().unwrap().contains("s3://data/config.json"), "{reason}");
    let profile = json!({"profile": {"run": "r", "schedule": "own", "bucket": "data", "key": "x"}}).to_string();
    let error = Analyze::default()
        .handle(&world, &profile, Timestamp::MAX)
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("only data quality is made in parts"),
        "{error}"
    );
}
