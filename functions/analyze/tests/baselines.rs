//! Baselines of promoted models on AWS in memory: where they come from, what is never overwritten, what is told.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use analyze::Analyze;
use jiff::Timestamp;
use serde_json::{Value, json};
use shell::{
    Kind,
    memory::{Fault, Memory},
    ports::Datasets as _,
};
use std::fmt::Write as _;

const OUTPUT: &str = "s3://data/baselines/churn/7";
const CREATED: &str = "Model Baselines Created";

/// Rows with a header: ages from so many years on.
fn csv(from: u32, header: &str) -> String {
    let mut text = header.to_owned();
    for row in 0..1000 {
        writeln!(text, "{},{}", from + row % 50, ["a", "b"][(row % 2) as usize]).unwrap();
    }
    text
}

/// It is 03:15; the model was trained on ages from 60 on, and the monitor's baseline begins at 20.
fn world() -> Memory {
    let world = Memory::at("2026-11-23T03:15:00Z".parse().unwrap());
    world.put_object("s3://data/training/7.csv", csv(60, "age,plan\n"));
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
    world.put_object("s3://data/baselines/churn/6/constraints.json", constraints.to_string());
    world
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

async fn invoke(world: &Memory, request: &Value) -> Result<Value, String> {
    let handled = Analyze::default()
        .handle(world, &request.to_string(), Timestamp::MAX)
        .await;
    let handled = handled.map_err(|error| error.to_string())?;
    Ok(serde_json::to_value(handled).unwrap())
}

fn file(world: &Memory, name: &str) -> Option<Value> {
    let body = world.object(&format!("{OUTPUT}/{name}"))?;
    Some(serde_json::from_slice(&body).unwrap())
}

fn reason(answer: &Value, at: usize) -> &str {
    answer["notCreated"][at]["reason"].as_str().unwrap()
}

const TRAINED: Option<&str> = Some("s3://data/training/7.csv");

#[tokio::test]
async fn data_quality_is_made_of_the_training_data_with_the_settings_of_before() {
    let world = world();
    let asked = request(&[monitor("Churn-DQ", "DataQuality", true)], TRAINED, &json!({}));
    let answer = invoke(&world, &asked).await.unwrap();
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
    let statistics = file(&world, "Churn-DQ/statistics.json").unwrap();
    assert_eq!(statistics["features"][0]["numerical_statistics"]["min"], 60.0);
    let constraints = file(&world, "Churn-DQ/constraints.json").unwrap();
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
    let (kind, detail) = world.events().remove(0);
    assert_eq!(
        (kind.as_str(), serde_json::from_str::<Value>(&detail).unwrap()),
        (CREATED, answer)
    );
}

#[tokio::test]
async fn training_data_may_be_a_folder_without_headers_or_of_json_lines() {
    let world = world();
    let asked = |uri| request(&[monitor("dq", "DataQuality", false)], Some(uri), &json!({}));
    // As many columns as the baseline before, whose names they have; what only begins the same is not read.
    world.put_object("s3://data/few/1.csv", "1,a,x\n2,b,x\n");
    world.put_object("s3://data/few/2.csv", "3,a,y\n");
    world.put_object("s3://data/fewer.csv", "\"");
    let answer = invoke(&world, &asked("s3://data/few/")).await.unwrap();
    assert_eq!(answer["notCreated"], json!([]));
    let names = |world: &Memory| -> Vec<String> {
        let constraints = file(world, "dq/constraints.json").unwrap();
        let features = constraints["features"].as_array().unwrap().iter();
        features
            .map(|feature| feature["name"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(names(&world), ["age", "plan", "gone"]);
    assert_eq!(file(&world, "dq/statistics.json").unwrap()["dataset"]["item_count"], 3);

    let world = self::world();
    world.put_object(
        "s3://data/lines",
        "{\"age\": 1, \"plan\": \"a\"}\n{\"age\": 2, \"plan\": \"b\"}\n",
    );
    invoke(&world, &asked("s3://data/lines")).await.unwrap();
    assert_eq!(names(&world), ["age", "plan"]);

    // A label more than the baseline has, and no names: which is which?
    let world = self::world();
    world.put_object("s3://data/labelled.csv", "1,30,a,x\n0,40,b,x\n");
    let answer = invoke(&world, &asked("s3://data/labelled.csv")).await.unwrap();
    insta::assert_snapshot!(reason(&answer, 0), @"no baseline can be made of s3://data/labelled.csv: it has no header and 4 columns, where the baseline before has 3, so that they cannot be told apart: write one with a header");
    assert_eq!(file(&world, "dq/constraints.json"), None);
}

#[tokio::test]
async fn the_drift_check_baselines_of_the_model_package_go_first() {
    let world = world();
    let constraints = json!({"version": 0.0, "features": [{"name": "age", "inferred_type": "Integral"}]});
    world.put_object("s3://data/package/c.json", constraints.to_string());
    world.put_object("s3://data/package/s.json", "{}");
    let quality = json!({"version": 0.0, "binary_classification_constraints": {"auc": {"threshold": 0.9, "comparison_operator": "LessThanThreshold"}}});
    world.put_object("s3://data/package/q.json", quality.to_string());
    world.put_object(
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
        monitor("theirs", "DataQuality", false),
        monitor("ours", "ModelQuality", true),
        monitor("bias", "ModelBias", false),
        monitor("shap", "ModelExplainability", false),
        monitor("wrong", "ModelBias", true),
    ];
    let answer = invoke(&world, &request(&monitors, None, &given)).await.unwrap();
    let made: Vec<_> = answer["baselines"]
        .as_array()
        .unwrap()
        .iter()
        .map(|of| &of["monitoringSchedule"])
        .collect();
    assert_eq!(made, ["theirs", "ours"]);
    assert_eq!(file(&world, "theirs/constraints.json").unwrap(), constraints);
    assert_eq!(file(&world, "theirs/statistics.json").unwrap(), json!({}));
    assert_eq!(file(&world, "ours/constraints.json").unwrap(), quality);
    assert_eq!(
        file(&world, "ours/analysis_config.json").unwrap(),
        json!({"label": "churned"})
    );
    assert_eq!(file(&world, "theirs/analysis_config.json"), None);
    let reasons: Vec<_> = (0..3).map(|at| reason(&answer, at)).collect();
    insta::assert_snapshot!(reasons.join("\n"), @r"
    s3://data/package/b.json, a drift check baseline of the model package, does not exist
    the drift check baseline of ModelExplainability that the model package has lacks analysis.json or constraints.json, and none is made of training data for this monitor: register the model package with one
    the drift check baseline of ModelBias that the model package has lacks analysis.json, and the policy names no training data: register the model package with one, or set `training_data` of its promotion's `baselines`
    ");

    // One that our analyses could not read is not laid before them.
    let world = self::world();
    world.put_object("s3://data/package/c.json", quality.to_string());
    world.put_object("s3://data/package/s.json", "{");
    let ours = [monitor("ours", "DataQuality", true)];
    let answer = invoke(&world, &request(&ours, TRAINED, &given)).await.unwrap();
    assert!(reason(&answer, 0).contains("s3://data/package/s.json"), "{answer}");
    world.put_object("s3://data/package/s.json", "{\"version\": 0.0, \"features\": []}");
    let answer = invoke(&world, &request(&ours, TRAINED, &given)).await.unwrap();
    assert!(reason(&answer, 0).ends_with("is none of DataQuality"), "{answer}");
}

/// Scored data with the labels, and what says which column is what.
fn scored(world: &Memory) {
    let mut text = "score,sex,label\n".to_owned();
    for row in 0..400 {
        let score = if row % 2 == 0 { 0.1 } else { 0.9 };
        writeln!(text, "{score},{},{}", row / 2 % 2, (row + row / 40 % 2) % 2).unwrap();
    }
    world.put_object("s3://data/scored.csv", text);
}

#[tokio::test]
async fn analyses_of_predictions_are_made_of_data_that_has_them() {
    let world = world();
    scored(&world);
    let config = json!({
        "problem_type": "BinaryClassification", "probability_attribute": "score", "probability_threshold_attribute": 0.5,
        "ground_truth_attribute": "label",
    });
    world.put_object("s3://data/quality/analysis_config.json", config.to_string());
    let mut quality = monitor("quality", "ModelQuality", true);
    quality["baselineUri"] = json!("s3://data/quality");
    let config = json!({
        "headers": ["score", "sex", "label"], "label": "label", "probability": "score", "probability_threshold": 0.5,
        "label_values_or_threshold": [1], "facet": [{"name_or_index": "sex", "value_or_threshold": [0]}],
        "methods": {"post_training_bias": {"methods": ["DPPL"]}},
    });
    world.put_object("s3://data/bias/analysis_config.json", config.to_string());
    let mut bias = monitor("bias", "ModelBias", true);
    bias["baselineUri"] = json!("s3://data/bias");
    let monitors = [
        quality.clone(),
        bias,
        monitor("without-config", "ModelQuality", true),
        monitor("theirs", "ModelQuality", false),
        monitor("shap", "ModelExplainability", true),
    ];
    let scored = Some("s3://data/scored.csv");
    let answer = invoke(&world, &request(&monitors, scored, &json!({}))).await.unwrap();
    let made: Vec<_> = answer["baselines"]
        .as_array()
        .unwrap()
        .iter()
        .map(|of| &of["monitoringSchedule"])
        .collect();
    assert_eq!(made, ["quality", "bias"], "{answer}");
    let constraints = file(&world, "quality/constraints.json").unwrap();
    assert!(
        constraints["binary_classification_constraints"]["auc"].is_object(),
        "{constraints}"
    );
    assert_eq!(
        file(&world, "quality/analysis_config.json").unwrap()["probability_attribute"],
        "score"
    );
    assert!(file(&world, "bias/analysis.json").unwrap()["post_training_bias_metrics"].is_object());
    assert_eq!(file(&world, "bias/analysis_config.json").unwrap(), config);
    // Data without predictions, and no data at all.
    let empty = self::world();
    empty.put_object("s3://data/quality/analysis_config.json", json!({"problem_type": "BinaryClassification", "inference_attribute": "guess", "ground_truth_attribute": "plan"}).to_string());
    let unfit = invoke(&empty, &request(&[quality], TRAINED, &json!({}))).await.unwrap();
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
        reason(&unfit, 0),
        reason(&none, 0),
    ];
    insta::assert_snapshot!(reasons.join("\n"), @r"
    the model package has no drift check baseline of ModelQuality, and the baseline that the monitor had has no analysis_config.json, which would say which columns of the training data are what: register the model package with one, or put that file beside the baseline
    the model package has no drift check baseline of ModelQuality, and none is made of training data for this monitor: register the model package with one
    the model package has no drift check baseline of ModelExplainability, and none is made of training data for this monitor: register the model package with one
    no baseline can be made of s3://data/training/7.csv: `inference_attribute` names column `guess`, which the dataset does not have: it has `age`, `plan`; register the model package with a drift check baseline, or name training data that has what the model predicted
    the model package has no drift check baseline of DataQuality, and the policy names no training data: register the model package with one, or set `training_data` of its promotion's `baselines`
    ");
}

#[tokio::test]
async fn what_is_there_is_never_overwritten() {
    let world = world();
    let asked = request(&[monitor("dq", "DataQuality", true)], TRAINED, &json!({}));
    let first = invoke(&world, &asked).await.unwrap();
    let made = file(&world, "dq/statistics.json");
    // The data are others by now, or gone: the answer is the same.
    world.put_object("s3://data/training/7.csv", csv(20, "age,plan\n"));
    assert_eq!(invoke(&world, &asked).await.unwrap(), first);
    assert_eq!(file(&world, "dq/statistics.json"), made);
    let ids: Vec<Value> = world
        .events()
        .iter()
        .map(|(_, detail)| serde_json::from_str(detail).unwrap())
        .collect();
    assert_eq!(ids[0], ids[1]);
    // What somebody else put there is taken as it is, file by file.
    let world = self::world();
    world.put_object(&format!("{OUTPUT}/dq/statistics.json"), "{\"mine\": true}");
    invoke(&world, &asked).await.unwrap();
    assert_eq!(file(&world, "dq/statistics.json").unwrap(), json!({"mine": true}));
    assert!(file(&world, "dq/constraints.json").is_some());
    assert!(
        !world
            .store_new("data", "baselines/churn/7/dq/constraints.json", Vec::new())
            .await
            .unwrap()
    );
}

#[tokio::test]
async fn one_that_cannot_be_made_does_not_keep_the_others_from_it() {
    let world = world();
    world.put_object("s3://data/package/c.json", "{}");
    world.refuse_object("s3://data/package/s.json", Kind::Denied);
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
    let answer = invoke(&world, &request(&monitors, TRAINED, &given)).await.unwrap();
    assert_eq!(answer["baselines"].as_array().unwrap().len(), 1, "{answer}");
    let reasons: Vec<_> = (0..4).map(|at| reason(&answer, at)).collect();
    insta::assert_snapshot!(reasons.join("\n"), @r"
    s3:GetObject on `s3://data/package/s.json` failed: refused (the function's role needs `s3:GetObject` on it, and `s3:ListBucket` on the bucket, without which S3 denies what is only missing)
    `file:///baseline` is no s3:// URI
    `../etc` is no name of a monitoring schedule
    of monitors of type `Custom` no baselines are known
    ");
    for (uri, body) in [
        ("s3://data/open.csv", "age,plan\n1,\"a\n"),
        ("s3://data/head.csv", "age,plan\n"),
    ] {
        world.put_object(uri, body);
        let asked = request(&[monitor("bad", "DataQuality", true)], Some(uri), &json!({}));
        let answer = invoke(&world, &asked).await.unwrap();
        assert!(reason(&answer, 0).contains(uri), "{answer}");
    }
    let asked = request(
        &[monitor("bad", "DataQuality", true)],
        Some("s3://data/nothing"),
        &json!({}),
    );
    assert!(reason(&invoke(&world, &asked).await.unwrap(), 0).contains("does not exist"));
}

#[tokio::test]
async fn what_aws_fails_at_fails_the_invocation_and_is_tried_again() {
    let asked = request(&[monitor("dq", "DataQuality", true)], TRAINED, &json!({}));
    let clean = world();
    invoke(&clean, &asked).await.unwrap();
    let calls = clean.calls();
    for at in 0..calls.len() {
        for fault in [
            Fault::Before(Kind::Transient),
            Fault::Before(Kind::Conflict),
            Fault::After,
        ] {
            let world = world();
            let (operation, nth) = (calls[at], calls[..at].iter().filter(|call| **call == calls[at]).count());
            for _ in 0..nth {
                world.fail(operation, Fault::Overtaken);
            }
            world.fail(operation, fault);
            assert!(invoke(&world, &asked).await.is_err(), "{operation} {nth} {fault:?}");
            let answer = invoke(&world, &asked).await.unwrap();
            assert_eq!(answer["notCreated"], json!([]));
            for name in ["dq/statistics.json", "dq/constraints.json"] {
                assert_eq!(file(&world, name), file(&clean, name), "{operation} {nth} {fault:?}");
            }
        }
    }
    assert!(calls.len() >= 7, "{calls:?}");
    let unreadable = json!({"detail-type": "Model Baselines Requested", "source": "driftwarden", "detail": {}});
    let error = invoke(&world(), &unreadable).await.unwrap_err();
    assert!(error.contains("request for baselines"), "{error}");
}

const POLICY: &str = r#"
[[analysis]]
schedule = "Churn-DQ"
endpoint = "churn"
data = "s3://data/capture"
baseline = "s3://data/baselines/churn/5"
output = "s3://reports/monitoring"
"#;

fn changed(world: &Memory, baseline_uri: &str) {
    let change = json!({
        "version": "1", "id": "1", "model": "churn", "monitoringSchedule": "Churn-DQ", "monitorType": "DataQuality",
        "baselineUri": baseline_uri, "experimentId": "churn-7", "sentence": "changed", "time": "2026-11-23T03:20:00Z",
    });
    world.put_document(
        "baselines/churn-dq.json",
        json!({"version": 1, "change": change}).to_string(),
    );
}

#[tokio::test]
async fn an_execution_is_held_against_the_baseline_of_the_promoted_model() {
    let world = world();
    world.put_document("policy.toml", POLICY);
    world.put_object("s3://data/capture/2026/11/23/02/a.csv", csv(60, "age,plan\n"));
    for (version, from) in [(5, 20), (7, 60)] {
        let data = format!("s3://data/made/{version}.csv");
        world.put_object(&data, csv(from, "age,plan\n"));
        let mut asked = request(&[monitor("Churn-DQ", "DataQuality", true)], Some(&data), &json!({}));
        asked["detail"]["outputUri"] = json!(format!("s3://data/made/{version}"));
        invoke(&world, &asked).await.unwrap();
        for name in ["statistics.json", "constraints.json"] {
            let body = world
                .object(&format!("s3://data/made/{version}/Churn-DQ/{name}"))
                .unwrap();
            world.put_object(&format!("s3://data/baselines/churn/{version}/{name}"), body);
        }
    }
    let execute = async || {
        let request = json!({"schedule": "churn-dq", "scheduledTime": "2026-11-23T03:00:00Z"});
        let done = invoke(&world, &request).await?;
        Ok::<_, String>(
            done["executions"][0]["monitoringExecutionStatus"]
                .as_str()
                .unwrap()
                .to_owned(),
        )
    };
    assert_eq!(execute().await.unwrap(), "CompletedWithViolations");
    changed(&world, "s3://data/baselines/churn/7");
    assert_eq!(execute().await.unwrap(), "Completed");
    // Not to know which is no reason to take the other one, nor a failed execution.
    let told = world.events().len();
    for kind in [Kind::Transient, Kind::Denied] {
        // The policy is read first.
        world.fail("s3:GetObject", Fault::Overtaken);
        world.fail("s3:GetObject", Fault::Before(kind));
        assert!(execute().await.unwrap_err().contains("baselines/churn-dq.json"));
    }
    changed(&world, "7");
    assert!(execute().await.unwrap_err().contains("baselines/churn-dq.json"));
    world.put_document("baselines/churn-dq.json", "{}");
    assert!(execute().await.unwrap_err().contains("baselines/churn-dq.json"));
    let merge = json!({"merge": {"run": "r", "schedule": "churn-dq", "scheduledTime": "2026-11-23T03:00:00Z"}});
    assert!(
        invoke(&world, &merge)
            .await
            .unwrap_err()
            .contains("baselines/churn-dq.json")
    );
    assert_eq!(world.events().len(), told);
}
