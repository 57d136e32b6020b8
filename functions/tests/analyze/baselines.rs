//! Baselines of promoted models on AWS in memory: sources, existing files, and results.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use functions::analyze::Analyze;
use jiff::Timestamp;
use machine::Kind;
use serde_json::{Value, json};
use shell::{
    memory::{Fault, Memory},
    ports::Datasets as _,
};
use std::fmt::Write as _;

const OUTPUT: &str = "s3://data/baselines/churn/7";
const CREATED: &str = "Model Baselines Created";

/// Rows with a header, with ages starting at `from`.
fn csv(from: u32, header: &str) -> String {
    let mut text = header.to_owned();
    for row in 0..1000 {
        writeln!(text, "{},{}", from + row % 50, ["a", "b"][(row % 2) as usize]).unwrap();
    }
    text
}

/// AWS at 03:15. The model was trained on ages from 60, and the monitor's baseline starts at 20.
fn aws() -> Memory {
    let aws = Memory::at("2026-11-23T03:15:00Z".parse().unwrap());
    aws.put_object("s3://data/training/7.csv", csv(60, "age,plan\n"));
    let constraints = json!({
        "version": 0.0,
        "features": [
            {"name": "age", "inferred_type": "Integral", "completeness": 1.0},
            {"name": "plan", "inferred_type": "String", "completeness": 1.0,
             "monitoringConfigOverrides": {"domain_content_threshold": 0.5}},
            {"name": "gone", "inferred_type": "String", "monitoringConfigOverrides": {"domain_content_threshold": 0.1}},
        ],
        "monitoring_config": {"distribution_constraints": {"comparison_threshold": 0.3, "comparison_method": "Simple"}},
    });
    aws.put_object("s3://data/baselines/churn/6/constraints.json", constraints.to_string());
    aws
}

fn monitor(schedule: &str, kind: &str, own: bool) -> Value {
    json!({"monitoringSchedule": schedule, "monitorType": kind, "own": own, "baselineUri": "s3://data/baselines/churn/6"})
}

fn request(monitors: &[Value], training_data: Option<&str>, drift_check: &Value) -> Value {
    let mut detail = json!({
        "version": "1", "id": "baselines-churn-7", "model": "churn", "experimentId": "churn-7",
        "modelPackageArn": "arn:aws:sagemaker:eu-central-1:123456789012:model-package/churn/7",
        "outputUri": OUTPUT, "monitors": monitors, "driftCheckBaselines": drift_check, "time": "2026-11-23T03:10:00Z",
    });
    if let Some(uri) = training_data {
        detail["trainingDataUri"] = json!(uri);
    }
    json!({"detail-type": "Model Baselines Requested", "source": "driftwarden", "detail": detail})
}

async fn invoke(aws: &Memory, request: &Value) -> Result<Value, String> {
    let handled = Analyze::default()
        .handle(aws, &request.to_string(), "request", Timestamp::MAX)
        .await;
    let handled = handled.map_err(|error| error.to_string())?;
    Ok(serde_json::to_value(handled).unwrap())
}

fn file(aws: &Memory, name: &str) -> Option<Value> {
    let body = aws.object(&format!("{OUTPUT}/{name}"))?;
    Some(serde_json::from_slice(&body).unwrap())
}

fn reason(answer: &Value, at: usize) -> &str {
    answer["notCreated"][at]["reason"].as_str().unwrap()
}

const TRAINED: Option<&str> = Some("s3://data/training/7.csv");

#[tokio::test]
async fn training_data_baseline_keeps_settings() {
    let aws = aws();
    let requested = request(&[monitor("Churn-DQ", "DataQuality", true)], TRAINED, &json!({}));
    let answer = invoke(&aws, &requested).await.unwrap();
    insta::assert_json_snapshot!(answer, @r#"
    {
      "baselines": [
        {
          "baselineUri": "s3://data/baselines/churn/7/Churn-DQ",
          "monitorType": "DataQuality",
          "monitoringSchedule": "Churn-DQ",
          "own": true
        }
      ],
      "experimentId": "churn-7",
      "id": "baselines-churn-7",
      "model": "churn",
      "modelPackageArn": "arn:aws:sagemaker:eu-central-1:123456789012:model-package/churn/7",
      "notCreated": [],
      "time": "2026-11-23T03:15:00Z",
      "version": "1"
    }
    "#);
    let statistics = file(&aws, "Churn-DQ/statistics.json").unwrap();
    assert_eq!(statistics["features"][0]["numerical_statistics"]["min"], 60.0);
    let constraints = file(&aws, "Churn-DQ/constraints.json").unwrap();
    let features = constraints["features"].as_array().unwrap();
    assert_eq!(features.len(), 2);
    assert_eq!(features[0].get("monitoringConfigOverrides"), None);
    assert_eq!(
        features[1]["monitoringConfigOverrides"]["domain_content_threshold"],
        0.5
    );
    let how = &constraints["monitoring_config"]["distribution_constraints"];
    assert_eq!(
        (&how["comparison_threshold"], &how["comparison_method"]),
        (&json!(0.3), &json!("Simple"))
    );
    let (kind, detail) = aws.events().remove(0);
    assert_eq!(
        (kind.as_str(), serde_json::from_str::<Value>(&detail).unwrap()),
        (CREATED, answer)
    );
}

#[tokio::test]
async fn training_data_is_a_folder_or_json_lines() {
    let aws = aws();
    let requested = |uri| request(&[monitor("dq", "DataQuality", false)], Some(uri), &json!({}));
    // The columns get the names of the previous baseline. Keys that only share the prefix are not read.
    aws.put_object("s3://data/few/1.csv", "1,a,x\n2,b,x\n");
    aws.put_object("s3://data/few/2.csv", "3,a,y\n");
    aws.put_object("s3://data/fewer.csv", "\"");
    let answer = invoke(&aws, &requested("s3://data/few/")).await.unwrap();
    assert_eq!(answer["notCreated"], json!([]));
    let names = |aws: &Memory| -> Vec<String> {
        let constraints = file(aws, "dq/constraints.json").unwrap();
        let features = constraints["features"].as_array().unwrap().iter();
        features
            .map(|feature| feature["name"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(names(&aws), ["age", "plan", "gone"]);
    assert_eq!(file(&aws, "dq/statistics.json").unwrap()["dataset"]["item_count"], 3);

    let aws = self::aws();
    aws.put_object(
        "s3://data/lines",
        "{\"age\": 1, \"plan\": \"a\"}\n{\"age\": 2, \"plan\": \"b\"}\n",
    );
    invoke(&aws, &requested("s3://data/lines")).await.unwrap();
    assert_eq!(names(&aws), ["age", "plan"]);

    // With a label in addition and without names, the columns cannot be identified.
    let aws = self::aws();
    aws.put_object("s3://data/labeled.csv", "1,30,a,x\n0,40,b,x\n");
    let answer = invoke(&aws, &requested("s3://data/labeled.csv")).await.unwrap();
    insta::assert_snapshot!(reason(&answer, 0), @"failed to create a baseline from s3://data/labeled.csv: it has no header and 4 columns, but the previous baseline has 3, so the columns cannot be identified: add a header");
    assert_eq!(file(&aws, "dq/constraints.json"), None);
}

#[tokio::test]
async fn drift_check_baselines_take_precedence() {
    let aws = aws();
    let constraints = json!({"version": 0.0, "features": [{"name": "age", "inferred_type": "Integral"}]});
    aws.put_object("s3://data/package/c.json", constraints.to_string());
    aws.put_object("s3://data/package/s.json", "{}");
    let quality = json!({"version": 0.0, "binary_classification_constraints": {"auc": {"threshold": 0.9, "comparison_operator": "LessThanThreshold"}}});
    aws.put_object("s3://data/package/q.json", quality.to_string());
    aws.put_object(
        "s3://data/baselines/churn/6/analysis_config.json",
        "{\"label\": \"churned\"}",
    );
    let given = json!({
        "DataQuality": {"constraints.json": "s3://data/package/c.json", "statistics.json": "s3://data/package/s.json"},
        "ModelQuality": {"constraints.json": "s3://data/package/q.json"},
        "ModelBias": {"constraints.json": "s3://data/package/b.json"},
        "ModelExplainability": {"analysis_config.json": "s3://data/package/e.json"},
    });
    let monitors = [
        monitor("sagemaker", "DataQuality", false),
        monitor("native", "ModelQuality", true),
        monitor("bias", "ModelBias", false),
        monitor("shap", "ModelExplainability", false),
        monitor("wrong", "ModelBias", true),
    ];
    let answer = invoke(&aws, &request(&monitors, None, &given)).await.unwrap();
    let created: Vec<_> = answer["baselines"]
        .as_array()
        .unwrap()
        .iter()
        .map(|baseline| &baseline["monitoringSchedule"])
        .collect();
    assert_eq!(created, ["sagemaker", "native"]);
    assert_eq!(file(&aws, "sagemaker/constraints.json").unwrap(), constraints);
    assert_eq!(file(&aws, "sagemaker/statistics.json").unwrap(), json!({}));
    assert_eq!(file(&aws, "native/constraints.json").unwrap(), quality);
    assert_eq!(
        file(&aws, "native/analysis_config.json").unwrap(),
        json!({"label": "churned"})
    );
    assert_eq!(file(&aws, "sagemaker/analysis_config.json"), None);
    let reasons: Vec<_> = (0..3).map(|at| reason(&answer, at)).collect();
    insta::assert_snapshot!(reasons.join("\n"), @r"
    s3://data/package/b.json, a file of the model package's drift check baseline, does not exist
    the model package's drift check baseline for ModelExplainability has no analysis.json or constraints.json, and baselines of this monitor are not created from training data: register the model package with a drift check baseline
    the model package's drift check baseline for ModelBias has no analysis.json, and the policy names no training data: register the model package with a drift check baseline, or set `training_data` in `baselines` of its promotion
    ");

    // A baseline that native analyses cannot read is not copied.
    let aws = self::aws();
    aws.put_object("s3://data/package/c.json", quality.to_string());
    aws.put_object("s3://data/package/s.json", "{");
    let native = [monitor("native", "DataQuality", true)];
    let answer = invoke(&aws, &request(&native, TRAINED, &given)).await.unwrap();
    assert!(reason(&answer, 0).contains("s3://data/package/s.json"), "{answer}");
    aws.put_object("s3://data/package/s.json", "{\"version\": 0.0, \"features\": []}");
    let answer = invoke(&aws, &request(&native, TRAINED, &given)).await.unwrap();
    assert!(
        reason(&answer, 0).ends_with("is not a baseline for DataQuality"),
        "{answer}"
    );
}

/// Adds a dataset with scores and labels.
fn scored(aws: &Memory) {
    let mut text = "score,sex,label\n".to_owned();
    for row in 0..400 {
        let score = if row % 2 == 0 { 0.1 } else { 0.9 };
        writeln!(text, "{score},{},{}", row / 2 % 2, (row + row / 40 % 2) % 2).unwrap();
    }
    aws.put_object("s3://data/scored.csv", text);
}

#[tokio::test]
async fn prediction_baselines_need_predictions() {
    let aws = aws();
    scored(&aws);
    let config = json!({
        "problem_type": "BinaryClassification", "probability_attribute": "score", "probability_threshold_attribute": 0.5,
        "ground_truth_attribute": "label",
    });
    aws.put_object("s3://data/quality/analysis_config.json", config.to_string());
    let mut quality = monitor("quality", "ModelQuality", true);
    quality["baselineUri"] = json!("s3://data/quality");
    let config = json!({
        "headers": ["score", "sex", "label"], "label": "label", "probability": "score", "probability_threshold": 0.5,
        "label_values_or_threshold": [1], "facet": [{"name_or_index": "sex", "value_or_threshold": [0]}],
        "methods": {"post_training_bias": {"methods": ["DPPL"]}},
    });
    aws.put_object("s3://data/bias/analysis_config.json", config.to_string());
    let mut bias = monitor("bias", "ModelBias", true);
    bias["baselineUri"] = json!("s3://data/bias");
    let monitors = [
        quality.clone(),
        bias,
        monitor("without-config", "ModelQuality", true),
        monitor("sagemaker", "ModelQuality", false),
        monitor("shap", "ModelExplainability", true),
    ];
    let scored = Some("s3://data/scored.csv");
    let answer = invoke(&aws, &request(&monitors, scored, &json!({}))).await.unwrap();
    let created: Vec<_> = answer["baselines"]
        .as_array()
        .unwrap()
        .iter()
        .map(|baseline| &baseline["monitoringSchedule"])
        .collect();
    assert_eq!(created, ["quality", "bias"], "{answer}");
    let constraints = file(&aws, "quality/constraints.json").unwrap();
    assert!(
        constraints["binary_classification_constraints"]["auc"].is_object(),
        "{constraints}"
    );
    assert_eq!(
        file(&aws, "quality/analysis_config.json").unwrap()["probability_attribute"],
        "score"
    );
    assert!(file(&aws, "bias/analysis.json").unwrap()["post_training_bias_metrics"].is_object());
    assert_eq!(file(&aws, "bias/analysis_config.json").unwrap(), config);
    // Training data without predictions, and no training data.
    let empty = self::aws();
    empty.put_object("s3://data/quality/analysis_config.json", json!({"problem_type": "BinaryClassification", "inference_attribute": "guess", "ground_truth_attribute": "plan"}).to_string());
    let unsuitable = invoke(&empty, &request(&[quality], TRAINED, &json!({}))).await.unwrap();
    let none = invoke(
        &empty,
        &request(&[monitor("dq", "DataQuality", true)], None, &json!({})),
    )
    .await
    .unwrap();
    let reasons = [
        reason(&answer, 0),
        reason(&answer, 1),
        reason(&answer, 2),
        reason(&unsuitable, 0),
        reason(&none, 0),
    ];
    insta::assert_snapshot!(reasons.join("\n"), @r"
    the model package has no drift check baseline for ModelQuality, and the monitor's previous baseline has no analysis_config.json, which describes the columns of the training data: register the model package with a drift check baseline, or add that file to the previous baseline
    the model package has no drift check baseline for ModelQuality, and baselines of this monitor are not created from training data: register the model package with a drift check baseline
    the model package has no drift check baseline for ModelExplainability, and baselines of this monitor are not created from training data: register the model package with a drift check baseline
    failed to create a baseline from s3://data/training/7.csv: `inference_attribute` names column `guess`, which is not in the dataset; its columns are `age`, `plan`; register the model package with a drift check baseline, or set training data that contains the predictions of the model
    the model package has no drift check baseline for DataQuality, and the policy names no training data: register the model package with a drift check baseline, or set `training_data` in `baselines` of its promotion
    ");
}

#[tokio::test]
async fn existing_files_are_never_overwritten() {
    let aws = aws();
    let requested = request(&[monitor("dq", "DataQuality", true)], TRAINED, &json!({}));
    let first = invoke(&aws, &requested).await.unwrap();
    let statistics = file(&aws, "dq/statistics.json");
    // The data has changed since: the response is the same.
    aws.put_object("s3://data/training/7.csv", csv(20, "age,plan\n"));
    assert_eq!(invoke(&aws, &requested).await.unwrap(), first);
    assert_eq!(file(&aws, "dq/statistics.json"), statistics);
    let ids: Vec<Value> = aws
        .events()
        .iter()
        .map(|(_, detail)| serde_json::from_str(detail).unwrap())
        .collect();
    assert_eq!(ids[0], ids[1]);
    // Files of another process are kept.
    let aws = self::aws();
    aws.put_object(&format!("{OUTPUT}/dq/statistics.json"), "{\"mine\": true}");
    invoke(&aws, &requested).await.unwrap();
    assert_eq!(file(&aws, "dq/statistics.json").unwrap(), json!({"mine": true}));
    assert!(file(&aws, "dq/constraints.json").is_some());
    assert!(
        !aws.store_new("data", "baselines/churn/7/dq/constraints.json", Vec::new())
            .await
            .unwrap()
    );
}

#[tokio::test]
async fn one_failure_does_not_stop_other_baselines() {
    let aws = aws();
    aws.put_object("s3://data/package/c.json", "{}");
    aws.refuse_object("s3://data/package/s.json", Kind::Denied);
    let given = json!({"ModelQuality": {"constraints.json": "s3://data/package/c.json", "statistics.json": "s3://data/package/s.json"}});
    let mut elsewhere = monitor("elsewhere", "DataQuality", true);
    elsewhere["baselineUri"] = json!("file:///baseline");
    let monitors = [
        monitor("denied", "ModelQuality", false),
        elsewhere,
        monitor("../etc", "DataQuality", true),
        monitor("custom", "Custom", true),
        monitor("dq", "DataQuality", true),
    ];
    let answer = invoke(&aws, &request(&monitors, TRAINED, &given)).await.unwrap();
    assert_eq!(answer["baselines"].as_array().unwrap().len(), 1, "{answer}");
    let reasons: Vec<_> = (0..4).map(|at| reason(&answer, at)).collect();
    insta::assert_snapshot!(reasons.join("\n"), @r"
    s3:GetObject on `s3://data/package/s.json` failed: refused (requires permission `s3:GetObject` on the resource, and `s3:ListBucket` on the bucket: without it, S3 denies access to missing objects too)
    `file:///baseline` is not an s3:// URI
    `../etc` is not a valid name of a monitoring schedule
    baselines are not supported for monitors of type `Custom`
    ");
    for (uri, body) in [
        ("s3://data/open.csv", "age,plan\n1,\"a\n"),
        ("s3://data/head.csv", "age,plan\n"),
    ] {
        aws.put_object(uri, body);
        let requested = request(&[monitor("bad", "DataQuality", true)], Some(uri), &json!({}));
        let answer = invoke(&aws, &requested).await.unwrap();
        assert!(reason(&answer, 0).contains(uri), "{answer}");
    }
    let requested = request(
        &[monitor("bad", "DataQuality", true)],
        Some("s3://data/nothing"),
        &json!({}),
    );
    assert!(reason(&invoke(&aws, &requested).await.unwrap(), 0).contains("does not exist"));
}

#[tokio::test]
async fn failed_call_fails_invocation_and_retry_succeeds() {
    let requested = request(&[monitor("dq", "DataQuality", true)], TRAINED, &json!({}));
    let clean = aws();
    invoke(&clean, &requested).await.unwrap();
    let calls = clean.calls();
    for at in 0..calls.len() {
        for fault in [
            Fault::Before(Kind::Transient),
            Fault::Before(Kind::Conflict),
            Fault::After,
        ] {
            let aws = aws();
            let (operation, nth) = (calls[at], calls[..at].iter().filter(|call| **call == calls[at]).count());
            for _ in 0..nth {
                aws.fail(operation, Fault::Overtaken);
            }
            aws.fail(operation, fault);
            assert!(invoke(&aws, &requested).await.is_err(), "{operation} {nth} {fault:?}");
            let answer = invoke(&aws, &requested).await.unwrap();
            assert_eq!(answer["notCreated"], json!([]));
            for name in ["dq/statistics.json", "dq/constraints.json"] {
                assert_eq!(file(&aws, name), file(&clean, name), "{operation} {nth} {fault:?}");
            }
        }
    }
    assert!(calls.len() >= 7, "{calls:?}");
    let unreadable = json!({"detail-type": "Model Baselines Requested", "source": "driftwarden", "detail": {}});
    let error = invoke(&aws(), &unreadable).await.unwrap_err();
    assert!(
        error.contains("the detail of the event `Model Baselines Requested`"),
        "{error}"
    );
}

const POLICY: &str = r#"
[[analysis]]
schedule = "Churn-DQ"
endpoint = "churn"
data = "s3://data/capture"
baseline = "s3://data/baselines/churn/5"
output = "s3://reports/monitoring"
"#;

fn change_baseline(aws: &Memory, baseline_uri: &str) {
    let change = json!({
        "version": "1", "id": "1", "model": "churn", "monitoringSchedule": "Churn-DQ", "monitorType": "DataQuality",
        "baselineUri": baseline_uri, "experimentId": "churn-7", "sentence": "changed", "time": "2026-11-23T03:20:00Z",
    });
    aws.put_document(
        "baselines/churn-dq.json",
        json!({"version": 1, "change": change}).to_string(),
    );
}

#[tokio::test]
async fn execution_uses_baseline_of_promoted_model() {
    let aws = aws();
    aws.put_document("policy.toml", POLICY);
    aws.put_object("s3://data/capture/2026/11/23/02/a.csv", csv(60, "age,plan\n"));
    for (version, from) in [(5, 20), (7, 60)] {
        let data = format!("s3://data/made/{version}.csv");
        aws.put_object(&data, csv(from, "age,plan\n"));
        let mut requested = request(&[monitor("Churn-DQ", "DataQuality", true)], Some(&data), &json!({}));
        requested["detail"]["outputUri"] = json!(format!("s3://data/made/{version}"));
        invoke(&aws, &requested).await.unwrap();
        for name in ["statistics.json", "constraints.json"] {
            let body = aws
                .object(&format!("s3://data/made/{version}/Churn-DQ/{name}"))
                .unwrap();
            aws.put_object(&format!("s3://data/baselines/churn/{version}/{name}"), body);
        }
    }
    let execute = async || {
        let request = json!({"schedule": "churn-dq", "scheduledTime": "2026-11-23T03:00:00Z"});
        let done = invoke(&aws, &request).await?;
        Ok::<_, String>(
            done["executions"][0]["monitoringExecutionStatus"]
                .as_str()
                .unwrap()
                .to_owned(),
        )
    };
    assert_eq!(execute().await.unwrap(), "CompletedWithViolations");
    change_baseline(&aws, "s3://data/baselines/churn/7");
    assert_eq!(execute().await.unwrap(), "Completed");
    // An unknown baseline is neither replaced by another one nor a failed execution.
    let published = aws.events().len();
    for kind in [Kind::Transient, Kind::Denied] {
        // The policy is read first.
        aws.fail("s3:GetObject", Fault::Overtaken);
        aws.fail("s3:GetObject", Fault::Before(kind));
        assert!(execute().await.unwrap_err().contains("baselines/churn-dq.json"));
    }
    change_baseline(&aws, "7");
    assert!(execute().await.unwrap_err().contains("baselines/churn-dq.json"));
    aws.put_document("baselines/churn-dq.json", "{}");
    assert!(execute().await.unwrap_err().contains("baselines/churn-dq.json"));
    let newer = |key: &str| {
        let document = String::from_utf8(aws.document(key).unwrap()).unwrap();
        aws.put_document(key, document.replacen("\"version\":1", "\"version\":2", 1));
    };
    change_baseline(&aws, "s3://data/baselines/churn/7");
    newer("baselines/churn-dq.json");
    assert!(execute().await.unwrap_err().contains("format version 2"));
    let merge = json!({"merge": {"run": "r", "schedule": "churn-dq", "scheduledTime": "2026-11-23T03:00:00Z"}});
    assert!(
        invoke(&aws, &merge)
            .await
            .unwrap_err()
            .contains("baselines/churn-dq.json")
    );
    assert_eq!(aws.events().len(), published);
}
