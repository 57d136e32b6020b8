//! Native analyses of model quality, bias, and feature attributions, on AWS in memory.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use analyzer::{
    Header, Object, ReadOptions,
    job::{AnalysisConfig, ModelRequest, PredictionJob, Thresholds},
    read,
};
use functions::analyze::Analyze;
use jiff::{SignedDuration, Timestamp};
use machine::Kind;
use model_monitor::MonitorType;
use serde_json::{Value, json};
use shell::memory::{Fault, Memory};
use std::{fmt::Write as _, io::Cursor};

const HOUR: &str = "2026/11/23/02";
const REPORT: &str = "s3://reports/churn/own/2026/11/23/03";

/// AWS at 03:15 with a policy with one analysis of this type, and a baseline from a dataset.
fn aws(kind: MonitorType, config: &Value, dataset: &str) -> Memory {
    let aws = Memory::at("2026-11-23T03:15:00Z".parse().unwrap());
    aws.put_model("churn", linear);
    aws.put_document(
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
    aws.put_object("s3://data/config.json", config.to_string());
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
    let model = &mut |request: &ModelRequest| Ok(linear(&request.body));
    let baseline = job.baseline(&dataset, None, Some(model), Thresholds::Exact);
    for file in baseline.unwrap().all_files() {
        aws.put_object(&format!("s3://data/baseline/{}", file.name), file.content);
    }
    aws
}

/// A model: three times the first number, plus the second.
fn linear(body: &[u8]) -> Vec<u8> {
    let mut answer = String::new();
    for line in String::from_utf8(body.to_vec()).unwrap().lines() {
        let numbers: Vec<f64> = line.split(',').map(|cell| cell.parse().unwrap()).collect();
        writeln!(answer, "{}", 3.0 * numbers[0] + numbers[1]).unwrap();
    }
    answer.into_bytes()
}

/// Adds captured data: pairs of request and response.
fn capture(aws: &Memory, requests: impl Iterator<Item = (String, String)>) {
    let mut lines = String::new();
    for (id, (input, output)) in requests.enumerate() {
        let side = |mode: &str, data: &str| json!({"observedContentType": "text/csv", "mode": mode, "data": data, "encoding": "CSV"});
        let line = json!({
            "captureData": {"endpointInput": side("INPUT", &input), "endpointOutput": side("OUTPUT", &output)},
            "eventMetadata": {"eventId": id.to_string(), "inferenceTime": "2026-11-23T02:20:00Z"}, "eventVersion": "0",
        });
        writeln!(lines, "{line}").unwrap();
    }
    aws.put_object(&format!("s3://data/capture/{HOUR}/a.jsonl"), lines);
}

fn label(aws: &Memory, hour: &str, labels: impl Iterator<Item = (usize, String)>) {
    let mut lines = String::new();
    for (id, label) in labels {
        let line = json!({
            "groundTruthData": {"data": label, "encoding": "CSV"},
            "eventMetadata": {"eventId": id.to_string()}, "eventVersion": "0",
        });
        writeln!(lines, "{line}").unwrap();
    }
    aws.put_object(&format!("s3://data/truth/{hour}/a.jsonl"), lines);
}

async fn execute(aws: &Memory) -> Result<Value, String> {
    let request = json!({"schedule": "own", "scheduledTime": "2026-11-23T03:00:00Z"}).to_string();
    let handled = Analyze::default()
        .handle(aws, &request, "request", Timestamp::MAX)
        .await;
    let handled = handled.map_err(|error| error.to_string())?;
    Ok(serde_json::to_value(handled).unwrap()["executions"][0].clone())
}

fn violations(aws: &Memory) -> Value {
    let report = aws.object(&format!("{REPORT}/constraint_violations.json")).unwrap();
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
    let aws = aws(MonitorType::ModelQuality, &config, &dataset);
    let answer = |id: usize| ["0.1", "0.9"][id % 2];
    capture(&aws, (0..400).map(|id| ("1".to_owned(), answer(id).to_owned())));
    aws
}

#[tokio::test]
async fn model_quality_uses_available_labels() {
    let aws = quality();
    // Without labels there is no data. This is not clean.
    let done = execute(&aws).await.unwrap();
    assert_eq!(done["failureReason"], "Job inputs had no data", "{done}");
    // Three of four labels arrive within the hour, the others an hour later.
    label(&aws, HOUR, (0..300).map(|id| (id, (id % 2).to_string())));
    let done = execute(&aws).await.unwrap();
    assert_eq!(
        (&done["monitoringExecutionStatus"], &done["itemCount"]),
        (&json!("Completed"), &json!(300)),
        "{done}"
    );
    label(
        &aws,
        "2026/11/23/03",
        (300..400).map(|id| (id, ((id + 1) % 2).to_string())),
    );
    let done = execute(&aws).await.unwrap();
    assert_eq!(done["itemCount"], 400);
    // Labels with a future date are not used.
    label(
        &aws,
        "2026/11/24/03",
        (0..400).map(|id| (id, ((id + 1) % 2).to_string())),
    );
    assert_eq!(execute(&aws).await.unwrap(), done);
    aws.pass(SignedDuration::from_hours(24));
    let late = execute(&aws).await.unwrap();
    assert_eq!(late["monitoringExecutionStatus"], "CompletedWithViolations", "{late}");
    let violated = violations(&aws);
    assert!(
        violated
            .as_array()
            .unwrap()
            .iter()
            .any(|violation| violation["metric_name"] == "accuracy"),
        "{violated}"
    );
    let names: Vec<_> = aws.monitor_metrics().into_iter().map(|metric| metric.name).collect();
    assert!(names.contains(&"accuracy".to_owned()), "{names:?}");
}

#[tokio::test]
async fn bias_of_predictions_is_reported() {
    let config = json!({
        "headers": ["approved", "sex", "age", "predicted"], "label": "approved", "predicted_label": "predicted", "label_values_or_threshold": [1],
        "facet": [{"name_or_index": "sex", "value_or_threshold": [0]}],
        "predictor": {"label": "0"}, "methods": {"post_training_bias": {"methods": ["DPPL"]}},
    });
    let mut dataset = "approved,sex,age,predicted\n".to_owned();
    for row in 0..400 {
        writeln!(dataset, "{},{},30,{}", row / 2 % 2, row % 2, row / 2 % 2).unwrap();
    }
    let aws = aws(MonitorType::ModelBias, &config, &dataset);
    let predicted = |id: usize| if id % 2 == 1 { 1 } else { id / 2 % 2 };
    capture(
        &aws,
        (0..400).map(|id| (format!("{},30", id % 2), predicted(id).to_string())),
    );
    label(&aws, HOUR, (0..400).map(|id| (id, (id / 2 % 2).to_string())));
    let done = execute(&aws).await.unwrap();
    assert_eq!(done["monitoringExecutionStatus"], "CompletedWithViolations", "{done}");
    assert_eq!(violations(&aws)[0]["metric_name"], "DPPL", "{}", violations(&aws));
}

fn explained() -> Memory {
    let config = json!({
        "headers": ["y", "a", "b"], "label": "y", "methods": {"shap": {"baseline": [[0, 0]]}},
        "predictor": {"content_type": "text/csv"},
    });
    let aws = aws(
        MonitorType::ModelExplainability,
        &config,
        "y,a,b\n0,5,1\n1,3,2\n0,2,4\n",
    );
    // The second feature has become the important one.
    capture(&aws, (0..20).map(|id| (format!("1,{}", 50 + id), "5".to_owned())));
    aws
}

#[tokio::test]
async fn attributions_query_monitored_endpoint() {
    let aws = explained();
    let done = execute(&aws).await.unwrap();
    assert_eq!(done["monitoringExecutionStatus"], "CompletedWithViolations", "{done}");
    assert_eq!(
        violations(&aws)[0]["constraint_check_type"],
        "feature_attribution_drift_check"
    );
    assert!(aws.calls().contains(&"sagemaker:InvokeEndpoint"));
}

#[tokio::test]
async fn failing_endpoint_is_retried_missing_one_reported() {
    let aws = explained();
    aws.fail("sagemaker:InvokeEndpoint", Fault::Before(Kind::Transient));
    let error = execute(&aws).await.unwrap_err();
    assert!(error.contains("sagemaker:InvokeEndpoint on `churn`"), "{error}");
    aws.fail("sagemaker:InvokeEndpoint", Fault::Before(Kind::NotFound));
    let done = execute(&aws).await.unwrap();
    assert_eq!(done["monitoringExecutionStatus"], "Failed");
    assert!(done["failureReason"].as_str().unwrap().contains("`churn`"), "{done}");
}

#[tokio::test]
async fn invalid_configuration_is_a_failed_execution() {
    let aws = quality();
    aws.put_object("s3://data/config.json", "{\"problem_type\": \"Guess\"}");
    let reason = execute(&aws).await.unwrap()["failureReason"].clone();
    assert!(reason.as_str().unwrap().contains("s3://data/config.json"), "{reason}");
    aws.refuse_object("s3://data/config.json", Kind::NotFound);
    let reason = execute(&aws).await.unwrap()["failureReason"].clone();
    assert!(reason.as_str().unwrap().contains("s3://data/config.json"), "{reason}");
    let profile = json!({"profile": {"run": "r", "schedule": "own", "bucket": "data", "key": "x"}}).to_string();
    let error = Analyze::default()
        .handle(&aws, &profile, "request", Timestamp::MAX)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("supported for data quality only"), "{error}");
}
