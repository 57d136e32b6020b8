//! The container: from the environment and the folders that SageMaker gives it to the files and the exit message that
//! SageMaker reads.
#![expect(
    clippy::unwrap_used,
    clippy::string_slice,
    clippy::format_collect,
    reason = "a test fails by panicking; texts of some rows"
)]

use model_monitor::{ExitMessage, Limits, Statistics, ViolationReport};
use std::{collections::BTreeMap, fs, path::Path};

/// Runs the container below a root, with what the service puts into the environment.
fn run(root: &Path, more: &[(&str, &str)]) -> Result<String, String> {
    let service = [
        (
            "dataset_format",
            r#"{"sagemakerCaptureJson": {"captureIndexNames": ["endpointInput", "endpointOutput"]}}"#,
        ),
        ("dataset_source", "/opt/ml/processing/input/endpoint"),
        ("output_path", "/opt/ml/processing/output"),
        ("publish_cloudwatch_metrics", "Enabled"),
        ("sagemaker_endpoint_name", "churn"),
        ("sagemaker_monitoring_schedule_name", "churn-data-quality"),
        ("start_time", "2026-11-23T02:00:00Z"),
        ("end_time", "2026-11-23T03:00:00Z"),
    ];
    let environment: BTreeMap<&str, &str> = service.into_iter().chain(more.iter().copied()).collect();
    let variable = |name: &str| environment.get(name).map(|value| (*value).to_owned());
    let result = analyzer::container::run(root, variable).map_err(|error| error.to_string());
    let message = fs::read_to_string(root.join("opt/ml/output/message")).unwrap();
    assert_eq!(
        message,
        *result.as_ref().unwrap_or_else(|error| error),
        "the message is what SageMaker is told"
    );
    result
}

fn put(root: &Path, path: &str, content: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

fn captured(ages: impl Iterator<Item = u32>) -> String {
    ages.map(|age| {
        format!(
            "{}\n",
            serde_json::json!({
                "captureData": {
                    "endpointInput": {"observedContentType": "text/csv", "mode": "INPUT", "data": format!("{age},basic"), "encoding": "CSV"},
                    "endpointOutput": {"observedContentType": "text/csv", "mode": "OUTPUT", "data": "0.5", "encoding": "CSV"},
                },
                "eventMetadata": {"eventId": age.to_string(), "inferenceTime": "2026-11-23T02:20:00Z"},
                "eventVersion": "0",
            })
        )
    })
    .collect()
}

const BASELINE: [(&str, &str); 2] = [
    (
        "baseline_constraints",
        "/opt/ml/processing/baseline/constraints/constraints.json",
    ),
    (
        "baseline_statistics",
        "/opt/ml/processing/baseline/stats/statistics.json",
    ),
];

#[test]
fn a_baseline_is_made_and_data_are_held_against_it() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let rows: String = (0..500).map(|row| format!("0.5,{},basic\n", 20 + row % 50)).collect();
    put(
        root,
        "opt/ml/processing/input/endpoint/dataset.csv",
        &format!("score,age,plan\n{rows}"),
    );
    let csv = (
        "dataset_format",
        r#"{"csv": {"header": true, "output_columns_position": "START"}}"#,
    );
    assert_eq!(
        run(root, &[csv]).unwrap(),
        "Completed: Job completed successfully with no violations."
    );
    for (_, path) in BASELINE {
        let name = path.rsplit('/').next().unwrap();
        let content = fs::read_to_string(root.join("opt/ml/processing/output").join(name)).unwrap();
        put(root, &path[1..], &content);
    }
    fs::remove_file(root.join("opt/ml/processing/input/endpoint/dataset.csv")).unwrap();
    let hour = "opt/ml/processing/input/endpoint/churn/AllTraffic/2026/11/23/02/a.jsonl";

    put(root, hour, &captured((0..500).map(|row| 20 + row % 50)));
    assert_eq!(
        run(root, &BASELINE).unwrap(),
        "Completed: Job completed successfully with no violations."
    );
    assert!(
        !root
            .join("opt/ml/processing/output/constraint_violations.json")
            .exists()
    );
    let metrics = fs::read_to_string(root.join("opt/ml/output/metrics/cloudwatch/cloudwatch_metrics.jsonl")).unwrap();
    insta::assert_snapshot!(metrics.lines().next().unwrap(), @r#"{"MetricName":"feature_data_score","Timestamp":"2026-11-23T03:00:00Z","Dimensions":[{"Name":"Endpoint","Value":"churn"},{"Name":"MonitoringSchedule","Value":"churn-data-quality"}],"StatisticValues":{"SampleCount":500.0,"Sum":250.0,"Minimum":0.5,"Maximum":0.5}}"#);

    put(root, hour, &captured((0..500).map(|row| 60 + row % 50)));
    let message = run(root, &BASELINE).unwrap();
    assert_eq!(
        ExitMessage::parse(&message),
        ExitMessage::CompletedWithViolations { count: Some(1) }
    );
    let output = |name: &str| fs::read(root.join("opt/ml/processing/output").join(name)).unwrap();
    let report = ViolationReport::parse("r", &output("constraint_violations.json"), &Limits::default()).unwrap();
    assert_eq!(report.violations[0].subject.to_string(), "age");
    assert!(
        report.violations[0].drift().is_some_and(|drift| drift > 0.0),
        "the text tells distance and threshold"
    );
    let statistics = Statistics::parse("s", &output("statistics.json"), &Limits::default()).unwrap();
    assert_eq!(statistics.dataset.unwrap().item_count, 500);
}

#[test]
fn a_window_without_data_and_a_missing_baseline_are_said() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    put(
        root,
        "opt/ml/processing/input/endpoint/churn/AllTraffic/2026/11/23/02/a.jsonl",
        "",
    );
    let error = run(root, &BASELINE).unwrap_err();
    assert!(
        error.contains("baseline_constraints") && error.contains("constraints.json"),
        "{error}"
    );
    put(
        root,
        "opt/ml/processing/baseline/constraints/constraints.json",
        r#"{"version": 0.0, "features": []}"#,
    );
    put(
        root,
        "opt/ml/processing/baseline/stats/statistics.json",
        r#"{"version": 0.0, "dataset": {"item_count": 0}, "features": []}"#,
    );
    assert_eq!(run(root, &BASELINE).unwrap(), "Job inputs had no data");
    let error = run(root, &[("dataset_format", "csv")]).unwrap_err();
    assert!(error.contains("dataset_format"), "{error}");
    let error = run(root, &[("analysis_type", "MODEL_QUALITY")]).unwrap_err();
    assert!(error.contains("MODEL_QUALITY"), "{error}");
}
