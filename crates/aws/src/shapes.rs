//! The requests and responses of SageMaker that this crate writes and reads, compared with botocore's model of the API
//! (`tests/sagemaker.json`, written by `tests/peers/botocore/shapes.py`).

use super::{
    Aws,
    baselines::{DATA_QUALITY, MODEL_BIAS, MODEL_EXPLAINABILITY, MODEL_QUALITY},
    hosting::KEPT,
    recorded::{self, Sent},
};
use jiff::Timestamp;
use promotion::BlueGreen;
use remediation::StartPipelineExecution;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use shell::ports::{
    Hosting as _, Lineage as _, ModelCards as _, ModelPackages as _, MonitoringAlerts as _, MonitoringBaselines as _,
    MonitoringSchedules as _, NewEndpointConfig, Pipelines as _, ProcessingJobs as _, TransformJobs as _,
};
use std::collections::{BTreeMap, BTreeSet};

fn model() -> Value {
    serde_json::from_str(include_str!("../tests/sagemaker.json")).unwrap()
}

/// Response of an operation with every member.
fn response(operation: &str) -> Value {
    model()[operation]["response"].clone()
}

/// Fails if the request has a member that the model has not, or one of another type.
fn compare(path: &str, request: &Value, model: &Value) {
    match (request, model) {
        (Value::Object(members), Value::Object(known)) => {
            for (name, member) in members {
                let known = known.get(name).or(known.get("key"));
                let known = known.unwrap_or_else(|| panic!("{path} has no member `{name}`"));
                compare(&format!("{path}.{name}"), member, known);
            }
        }
        (Value::Array(items), Value::Array(known)) => {
            for item in items {
                compare(&format!("{path}[]"), item, &known[0]);
            }
        }
        (Value::String(_), Value::String(_))
        | (Value::Number(_), Value::Number(_))
        | (Value::Bool(_), Value::Bool(_)) => {}
        _ => panic!("{path}: `{request}` instead of a value as `{model}`"),
    }
}

/// Answers a request with every member of the model's response. Lists have two pages.
fn answer(request: &Sent) -> (u16, String) {
    let mut response = response(&request.operation);
    // Lists end with their second page.
    if !request.input["NextToken"].is_null() {
        response["NextToken"] = Value::Null;
    }
    if request.operation == "DescribeEndpointConfig" {
        response["ProductionVariants"][0]["VariantName"] = "champion".into();
    }
    if request.operation == "DescribeMonitoringSchedule" {
        let name = request.input["MonitoringScheduleName"].as_str().unwrap();
        let config = &mut response["MonitoringScheduleConfig"];
        config["MonitoringType"] = name.trim_end_matches("Inline").into();
        if name.ends_with("Inline") {
            config["MonitoringJobDefinitionName"] = Value::Null;
        }
    }
    if request.operation == "ListMonitoringSchedules" {
        response["MonitoringScheduleSummaries"][0]["MonitoringScheduleName"] = "DataQuality".into();
    }
    if request.operation == "QueryLineage" {
        let mut other = response["Vertices"][0].clone();
        response["Vertices"][0]["Arn"] = "arn:aws:sagemaker:eu-central-1:1:artifact/1".into();
        other["Arn"] = "arn:aws:sagemaker:eu-central-1:1:context/1".into();
        response["Vertices"].as_array_mut().unwrap().push(other);
    }
    (200, response.to_string())
}

/// Calls every operation of pipelines, processing jobs, and Model Monitor.
async fn call_monitoring(aws: &Aws) {
    let start = StartPipelineExecution {
        pipeline: "churn".to_owned(),
        client_request_token: "t".repeat(32),
        display_name: "churn-1".to_owned(),
        description: "drift".to_owned(),
        parameters: BTreeMap::from([("Report".to_owned(), "s3://b/k".to_owned())]),
        incident: 1,
        decided_at: None,
    };
    assert_eq!(aws.start(&start).await.unwrap(), "text");
    let page = aws.executions_of_pipeline("churn", None).await.unwrap();
    assert_eq!((page.executions.len(), page.next.as_deref()), (1, Some("text")));
    let last = aws.executions_of_pipeline("churn", Some("text")).await.unwrap();
    assert_eq!(last.next, None);
    aws.execution("arn").await.unwrap();
    assert_eq!(aws.parameters("arn").await.unwrap().len(), 1);
    aws.describe("job").await.unwrap();
    aws.risk_rating("card").await.unwrap();
    assert!(aws.monitoring_alert("schedule").await.unwrap().is_some());
    assert_eq!(aws.monitoring_alert_history("schedule").await.unwrap().len(), 1);
    assert_eq!(aws.schedules().await.unwrap().len(), 2);
    assert_eq!(aws.schedule_expression("DataQuality").await.unwrap(), "text");
    let time = Timestamp::UNIX_EPOCH;
    assert_eq!(aws.executions("schedule", time).await.unwrap().len(), 2);
    let page = aws.executions_of_all(time, None).await.unwrap();
    assert_eq!((page.executions.len(), page.next.as_deref()), (1, Some("text")));
    assert_eq!(aws.executions_of_all(time, Some("text")).await.unwrap().next, None);

    assert_eq!(aws.monitors_for("churn").await.unwrap().len(), 2);
    for schedule in [
        "DataQuality",
        "ModelQuality",
        "ModelBias",
        "ModelExplainability",
        "DataQualityInline",
    ] {
        aws.set_baseline(schedule, "s3://bucket/baseline").await.unwrap();
    }
}

/// Calls every operation of hosting, the model registry, and lineage.
async fn call_hosting(aws: &Aws) {
    aws.endpoint("churn").await.unwrap();
    assert_eq!(
        aws.served_package("config", "champion").await.unwrap().as_deref(),
        Some("text")
    );
    for shadow in [false, true] {
        let new = NewEndpointConfig {
            base: "base".to_owned(),
            name: "next".to_owned(),
            model_name: "candidate".to_owned(),
            model_package_arn: "arn".to_owned(),
            template_variant: "champion".to_owned(),
            variant_name: "candidate".to_owned(),
            weights: BTreeMap::from([("champion".to_owned(), 0.9), ("candidate".to_owned(), 0.1)]),
            shadow,
        };
        aws.create_endpoint_config(&new).await.unwrap();
    }
    for linear in [false, true] {
        let blue_green = BlueGreen {
            alarms: vec!["errors".to_owned()],
            percent: 10,
            linear,
            wait_seconds: 60,
            termination_wait_seconds: 60,
        };
        aws.update_endpoint("churn", "next", Some(&blue_green)).await.unwrap();
    }
    aws.update_endpoint("churn", "next", None).await.unwrap();
    let weights = BTreeMap::from([("champion".to_owned(), 0.5)]);
    aws.update_weights("churn", &weights).await.unwrap();
    aws.delete_endpoint_config("next").await.unwrap();
    aws.delete_model("candidate").await.unwrap();
    aws.model_package("arn").await.unwrap();
    assert_eq!(aws.newest_packages("group").await.unwrap().len(), 1);
    aws.latest_transform_job("churn").await.unwrap();
    let (artifacts, associations) = aws.lineage("arn").await.unwrap();
    assert_eq!((artifacts.len(), associations.len()), (2, 1));
    #[cfg(feature = "operator")]
    {
        // The definition in the model is no JSON.
        use shell::operator::Deployment as _;
        assert!(aws.pipeline_parameters("churn").await.is_err());
    }
}

#[tokio::test]
async fn requests_have_members_of_the_model() {
    let (aws, sent) = recorded::aws(answer);
    call_monitoring(&aws).await;
    call_hosting(&aws).await;

    let model = model();
    let mut called = BTreeSet::new();
    for request in sent.lock().unwrap().iter() {
        let operation = &model[&request.operation];
        compare(&request.operation, &request.input, &operation["request"]);
        for required in operation["required"].as_array().unwrap() {
            let required = required.as_str().unwrap();
            assert!(!request.input[required].is_null(), "{}.{required}", request.operation);
        }
        called.insert(request.operation.clone());
    }
    let mut known: BTreeSet<String> = model.as_object().unwrap().keys().cloned().collect();
    if cfg!(not(feature = "operator")) {
        known.remove("DescribePipeline");
    }
    assert_eq!(called, known);
}

/// Fails if a field of the type is missing in the response of the model.
fn reads<T: DeserializeOwned + Serialize>(operation: &str) {
    fn find_null(path: String, value: &Value) -> Option<String> {
        match value {
            Value::Null => Some(path),
            Value::Object(members) => members
                .iter()
                .find_map(|(name, member)| find_null(format!("{path}.{name}"), member)),
            Value::Array(items) => items.iter().find_map(|item| find_null(format!("{path}[]"), item)),
            _ => None,
        }
    }
    let read: T = serde_json::from_value(response(operation)).unwrap();
    assert_eq!(find_null(operation.to_owned(), &json!(read)), None);
}

#[test]
fn responses_have_the_members_that_are_read() {
    use super::{baselines, hosting, lineage, sagemaker};
    reads::<sagemaker::JobDescription>("DescribeProcessingJob");
    reads::<sagemaker::StartedExecution>("StartPipelineExecution");
    reads::<sagemaker::PipelineExecutions>("ListPipelineExecutions");
    reads::<sagemaker::DescribedExecution>("DescribePipelineExecution");
    reads::<sagemaker::PipelineParameters>("ListPipelineParametersForExecution");
    reads::<sagemaker::ModelCard>("DescribeModelCard");
    reads::<sagemaker::Alerts>("ListMonitoringAlerts");
    reads::<sagemaker::AlertHistory>("ListMonitoringAlertHistory");
    reads::<sagemaker::Schedules>("ListMonitoringSchedules");
    reads::<sagemaker::MonitoringExecutions>("ListMonitoringExecutions");
    reads::<baselines::DescribedSchedule>("DescribeMonitoringSchedule");
    reads::<hosting::DescribedEndpoint>("DescribeEndpoint");
    reads::<hosting::DescribedConfig>("DescribeEndpointConfig");
    reads::<hosting::DescribedModel>("DescribeModel");
    reads::<hosting::DescribedPackage>("DescribeModelPackage");
    reads::<hosting::Packages>("ListModelPackages");
    reads::<lineage::TransformJobList>("ListTransformJobs");
    reads::<lineage::LineageGraph>("QueryLineage");
    reads::<lineage::Artifacts>("ListArtifacts");
    reads::<lineage::Contexts>("ListContexts");
    reads::<lineage::Entity>("DescribeArtifact");
    reads::<lineage::Entity>("DescribeContext");
    #[cfg(feature = "operator")]
    reads::<super::operator::DescribedPipeline>("DescribePipeline");
}

/// Names of the members that a description and the request that creates such a resource have in common.
fn common(describe: &str, create: &str) -> BTreeSet<String> {
    let (described, created) = (&model()[describe]["response"], &model()[create]["request"]);
    let members = described.as_object().unwrap().keys();
    members
        .filter(|member| !created[member.as_str()].is_null())
        .cloned()
        .collect()
}

#[test]
fn copies_keep_every_member_that_a_request_takes() {
    let mut config = common("DescribeEndpointConfig", "CreateEndpointConfig");
    for replaced in ["EndpointConfigName", "ProductionVariants", "ShadowProductionVariants"] {
        assert!(config.remove(replaced));
    }
    assert_eq!(config, KEPT.map(ToOwned::to_owned).into());

    for kind in [DATA_QUALITY, MODEL_QUALITY, MODEL_BIAS, MODEL_EXPLAINABILITY] {
        let name = |operation: &str| operation.trim_start_matches("sagemaker:").to_owned();
        let mut definition = common(&name(kind.describe), &name(kind.create));
        for replaced in ["JobDefinitionName".to_owned(), kind.baseline_config()] {
            assert!(definition.remove(&replaced));
        }
        assert_eq!(definition, kind.kept().into_iter().collect());
    }
}
