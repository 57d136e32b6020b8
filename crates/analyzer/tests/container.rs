//! Container: from the environment and the folders of SageMaker to the files and the exit message that SageMaker reads.
#![expect(
    clippy::unwrap_used,
    clippy::string_slice,
    clippy::format_collect,
    reason = "a test fails by panicking; texts of some rows"
)]

use model_monitor::{ExitMessage, Limits, Statistics, ViolationReport};
use std::{collections::BTreeMap, fs, path::Path};

/// Runs the container with a root folder, and with the environment that SageMaker sets.
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
        "the message is passed to SageMaker"
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
fn container_creates_baseline_and_compares_data() {
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
        "the description contains distance and threshold"
    );
    let statistics = Statistics::parse("s", &output("statistics.json"), &Limits::default()).unwrap();
    assert_eq!(statistics.dataset.unwrap().item_count, 500);
}

#[test]
fn container_reports_no_data_and_missing_baseline() {
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
    let error = run(root, &[("analysis_type", "GUESS")]).unwrap_err();
    assert!(error.contains("GUESS") && error.contains("MODEL_BIAS"), "{error}");
    let error = run(root, &[("analysis_type", "MODEL_QUALITY")]).unwrap_err();
    assert!(error.contains("analysis_config.json"), "{error}");
}

/// Requests that SageMaker has merged with their labels; one of `wrong` predictions is wrong.
fn merged(wrong: u32) -> String {
    let request = |id: u32| {
        let right = !id.is_multiple_of(wrong);
        let answer = if (id % 2 == 1) == right { "0.9" } else { "0.2" };
        let line = serde_json::json!({
            "captureData": {
                "endpointOutput": {"observedContentType": "text/csv", "mode": "OUTPUT", "data": answer, "encoding": "CSV"},
            },
            "groundTruthData": {"data": (id % 2).to_string(), "encoding": "CSV"},
            "eventMetadata": {"eventId": id.to_string(), "inferenceTime": "2026-11-23T02:20:00Z"},
            "eventVersion": "0",
        });
        format!("{line}\n")
    };
    (0..500).map(request).collect()
}

#[test]
fn container_reads_model_quality_from_environment() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let hour = "opt/ml/processing/input/endpoint/part-00000-0.c000.jsonl";
    let quality = [
        ("analysis_type", "MODEL_QUALITY"),
        ("problem_type", "BinaryClassification"),
        ("probability_attribute", "0"),
        ("probability_threshold_attribute", "0.5"),
    ];
    put(root, hour, &merged(25));
    run(root, &quality).unwrap();
    let constraints = fs::read_to_string(root.join("opt/ml/processing/output/constraints.json")).unwrap();
    put(root, &BASELINE[0].1[1..], &constraints);
    let with_baseline: Vec<_> = quality.iter().copied().chain([BASELINE[0]]).collect();
    assert_eq!(
        run(root, &with_baseline).unwrap(),
        "Completed: Job completed successfully with no violations."
    );
    put(root, hour, &merged(5));
    assert!(
        run(root, &with_baseline)
            .unwrap()
            .starts_with("CompletedWithViolations: ")
    );
}

#[test]
fn container_reads_clarify_bias_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let config = "opt/ml/processing/input/config/analysis_config.json";
    put(
        root,
        config,
        r#"{"label": "paid", "label_values_or_threshold": [1],
            "facet": [{"name_or_index": "sex", "value_or_threshold": ["f"]}]}"#,
    );
    let loans = |favoured: u32| -> String {
        let rows = (0..400).map(|row| match row % 2 {
            0 => format!("f,{}\n", row / 2 % 2),
            _ => format!("m,{}\n", u32::from(row % 10 < favoured)),
        });
        format!("sex,paid\n{}", rows.collect::<String>())
    };
    let dataset = "opt/ml/processing/input/endpoint/loans.csv";
    let bias = ("analysis_type", "MODEL_BIAS");
    put(root, dataset, &loans(5));
    run(root, &[bias]).unwrap();
    let analysis = fs::read_to_string(root.join("opt/ml/processing/output/analysis.json")).unwrap();
    let path = "/opt/ml/processing/baseline/constraints/analysis.json";
    put(root, &path[1..], &analysis);
    put(root, dataset, &loans(9));
    let message = run(root, &[bias, ("baseline_constraints", path)]).unwrap();
    assert!(message.starts_with("CompletedWithViolations: "), "{message}");
    put(
        root,
        config,
        r#"{"predictor": {"endpoint_name": "churn"}, "methods": {"shap": {}}}"#,
    );
    let error = run(root, &[("analysis_type", "MODEL_EXPLAINABILITY")]).unwrap_err();
    assert!(error.contains("does not call endpoints"), "{error}");
}
