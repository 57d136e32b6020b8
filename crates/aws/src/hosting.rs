//! SageMaker's hosting and model registry, and their CloudWatch metrics.

use super::{
    Aws, failed,
    json::{Time, set},
    sagemaker::known,
    seconds,
};
use aws_sdk_cloudwatch::types::{Dimension, Metric, MetricDataQuery, MetricStat, ScanBy};
use aws_sdk_s3::primitives::DateTime;
use jiff::Timestamp;
use machine::{AwsError, Clock as _, Kind};
use promotion::{BlueGreen, Endpoint, EndpointStatus, ModelPackage, Variant};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use shell::ports::{DescribedModelPackage, Hosting, MetricData, MetricQuery, ModelPackages, NewEndpointConfig};
use std::{collections::BTreeMap, time::Duration};

/// Maximum number of queries per request (API, `GetMetricData`).
const MAX_QUERIES_PER_REQUEST: usize = 500;
/// Number of newest packages of a group that are listed.
const MAX_PACKAGES: u32 = 5;
/// Members of an endpoint configuration that the next one keeps: all but its name and its variants.
pub(crate) const KEPT: [&str; 8] = [
    "AsyncInferenceConfig",
    "DataCaptureConfig",
    "EnableNetworkIsolation",
    "ExecutionRoleArn",
    "ExplainerConfig",
    "KmsKeyId",
    "MetricsConfig",
    "VpcConfig",
];

/// Whether the resource does not exist. SageMaker reports this as a `ValidationException`, recognizable by its text only.
fn is_missing(error: &AwsError) -> bool {
    let text = error.message.to_lowercase();
    error.kind == Kind::NotFound
        || (error.kind == Kind::Rejected && (text.contains("could not find") || text.contains("does not exist")))
}

/// Whether the resource already exists.
fn already_exists(error: &AwsError) -> bool {
    let text = error.message.to_lowercase();
    text.contains("already existing") || text.contains("already exists")
}

fn rejected(operation: &'static str, resource: &str, message: String) -> AwsError {
    AwsError {
        operation,
        resource: resource.to_owned(),
        kind: Kind::Rejected,
        message,
    }
}

/// SageMaker keeps weights in single precision.
#[expect(clippy::cast_possible_truncation, reason = "the API takes a float")]
fn weight(weight: f64) -> Value {
    (weight as f32).into()
}

/// Response of `DescribeEndpoint`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
#[cfg_attr(test, derive(serde::Serialize))]
pub(crate) struct DescribedEndpoint {
    endpoint_status: Option<String>,
    endpoint_config_name: Option<String>,
    production_variants: Option<Vec<VariantSummary>>,
    pending_deployment_summary: Option<PendingDeployment>,
    failure_reason: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
#[cfg_attr(test, derive(serde::Serialize))]
struct VariantSummary {
    variant_name: Option<String>,
    desired_weight: Option<f32>,
    current_weight: Option<f32>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
#[cfg_attr(test, derive(serde::Serialize))]
struct PendingDeployment {
    endpoint_config_name: Option<String>,
}

/// Response of `DescribeEndpointConfig`. Its other members are copied without a look into them.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
#[cfg_attr(test, derive(serde::Serialize))]
pub(crate) struct DescribedConfig {
    endpoint_config_name: Option<String>,
    production_variants: Option<Vec<ProductionVariant>>,
    #[serde(flatten)]
    other: Map<String, Value>,
}

#[derive(Clone, Deserialize, serde::Serialize)]
#[serde(rename_all = "PascalCase")]
struct ProductionVariant {
    variant_name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    model_name: Option<String>,
    #[serde(default)]
    initial_variant_weight: Value,
    #[serde(flatten)]
    other: Map<String, Value>,
}

/// Response of `DescribeModel`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
#[cfg_attr(test, derive(serde::Serialize))]
pub(crate) struct DescribedModel {
    primary_container: Option<Container>,
    containers: Option<Vec<Container>>,
    execution_role_arn: Option<String>,
    vpc_config: Option<Value>,
    enable_network_isolation: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
#[cfg_attr(test, derive(serde::Serialize))]
struct Container {
    model_package_name: Option<String>,
}

impl Aws {
    async fn describe_endpoint_config(&self, name: &str) -> Result<DescribedConfig, AwsError> {
        let input = json!({"EndpointConfigName": name});
        self.sagemaker("sagemaker:DescribeEndpointConfig", name, input).await
    }

    /// Describes the model of a variant.
    async fn find_model(&self, config: &DescribedConfig, variant: &str) -> Result<DescribedModel, AwsError> {
        let found = named(config, variant).and_then(|variant| variant.model_name.as_deref());
        let name = found.ok_or_else(|| {
            let name = config.endpoint_config_name.as_deref().unwrap_or_default();
            let message = format!("variant `{variant}` of the configuration has no model");
            rejected("sagemaker:DescribeEndpointConfig", name, message)
        })?;
        self.sagemaker("sagemaker:DescribeModel", name, json!({"ModelName": name}))
            .await
    }

    async fn create_model(&self, new: &NewEndpointConfig, like: DescribedModel) -> Result<(), AwsError> {
        let input = json!({
            "ModelName": new.model_name,
            "PrimaryContainer": {"ModelPackageName": new.model_package_arn},
            "ExecutionRoleArn": like.execution_role_arn,
            "VpcConfig": like.vpc_config,
            "EnableNetworkIsolation": like.enable_network_isolation,
        });
        self.create("sagemaker:CreateModel", &new.model_name, input).await
    }

    /// Calls an operation that creates a resource. A resource with this name is one that an earlier attempt created.
    async fn create(&self, operation: &'static str, name: &str, input: Value) -> Result<(), AwsError> {
        match self.sagemaker::<Value>(operation, name, input).await {
            Err(error) if !already_exists(&error) => Err(error),
            _ => Ok(()),
        }
    }

    /// Calls an operation that deletes a resource. One that is missing was deleted.
    async fn delete(&self, operation: &'static str, name: &str, input: Value) -> Result<(), AwsError> {
        match self.sagemaker::<Option<Value>>(operation, name, input).await {
            Err(error) if !is_missing(&error) => Err(error),
            _ => Ok(()),
        }
    }
}

fn named<'a>(config: &'a DescribedConfig, variant: &str) -> Option<&'a ProductionVariant> {
    let mut variants = config.production_variants.iter().flatten();
    variants.find(|found| found.variant_name == variant)
}

/// Production variants and shadow variants of the new configuration.
fn variants(
    base: &DescribedConfig,
    new: &NewEndpointConfig,
) -> Option<(Vec<ProductionVariant>, Option<Vec<ProductionVariant>>)> {
    let weighted = |variant: &ProductionVariant| {
        let share = new.weights.get(&variant.variant_name)?;
        let mut variant = variant.clone();
        variant.initial_variant_weight = weight(*share);
        Some(variant)
    };
    let weight_of = |variant: &str| new.weights.get(variant).map_or(Value::Null, |share| weight(*share));
    let production = base.production_variants.iter().flatten();
    let mut production: Vec<_> = production.filter_map(weighted).collect();
    let mut candidate = named(base, &new.template_variant)?.clone();
    candidate.variant_name.clone_from(&new.variant_name);
    candidate.model_name = Some(new.model_name.clone());
    if new.shadow {
        // A shadow variant with the weight of its production variant gets a copy of every request.
        candidate.initial_variant_weight = weight_of(&new.template_variant);
        return Some((production, Some(vec![candidate])));
    }
    candidate.initial_variant_weight = weight_of(&new.variant_name);
    production.push(candidate);
    Some((production, None))
}

/// `DeploymentConfig` of `UpdateEndpoint`.
fn deployment(blue_green: &BlueGreen) -> Value {
    let (kind, size) = if blue_green.linear {
        ("LINEAR", "LinearStepSize")
    } else {
        ("CANARY", "CanarySize")
    };
    let alarms = blue_green.alarms.iter();
    let alarms: Vec<_> = alarms.map(|name| json!({"AlarmName": name})).collect();
    let rollback = (!alarms.is_empty()).then(|| json!({"Alarms": alarms}));
    json!({
        "BlueGreenUpdatePolicy": {
            "TrafficRoutingConfiguration": {
                "Type": kind,
                "WaitIntervalInSeconds": blue_green.wait_seconds,
                size: {"Type": "CAPACITY_PERCENT", "Value": blue_green.percent},
            },
            "TerminationWaitInSeconds": blue_green.termination_wait_seconds,
        },
        "AutoRollbackConfiguration": rollback,
    })
}

impl Hosting for Aws {
    async fn endpoint(&self, name: &str) -> Result<Option<Endpoint>, AwsError> {
        let at = self.now();
        let input = json!({"EndpointName": name});
        let described: DescribedEndpoint = match self.sagemaker("sagemaker:DescribeEndpoint", name, input).await {
            Ok(described) => described,
            Err(error) if is_missing(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        let variants = described.production_variants.into_iter().flatten();
        let variants = variants.map(|variant| Variant {
            name: variant.variant_name.unwrap_or_default(),
            weight: f64::from(variant.desired_weight.or(variant.current_weight).unwrap_or(0.0)),
        });
        let pending = described.pending_deployment_summary;
        Ok(Some(Endpoint {
            status: match described.endpoint_status.as_deref() {
                Some("InService") => EndpointStatus::InService,
                Some("Creating" | "Updating" | "SystemUpdating" | "RollingBack") => EndpointStatus::Busy,
                _ => EndpointStatus::Broken,
            },
            config: described.endpoint_config_name.unwrap_or_default(),
            variants: variants.collect(),
            pending: pending.and_then(|pending| pending.endpoint_config_name),
            failure_reason: described.failure_reason,
            at,
        }))
    }

    async fn served_package(&self, config: &str, variant: &str) -> Result<Option<String>, AwsError> {
        let found = match self.describe_endpoint_config(config).await {
            Ok(config) => self.find_model(&config, variant).await,
            Err(error) => Err(error),
        };
        match found {
            Ok(model) => {
                let containers = model.containers.into_iter().flatten();
                let mut containers = model.primary_container.into_iter().chain(containers);
                Ok(containers.find_map(|container| container.model_package_name))
            }
            // The model was deleted, or the variant has none.
            Err(error) if is_missing(&error) || error.kind == Kind::Rejected => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn create_endpoint_config(&self, new: &NewEndpointConfig) -> Result<(), AwsError> {
        let operation = "sagemaker:CreateEndpointConfig";
        let base = self.describe_endpoint_config(&new.base).await?;
        let like = self.find_model(&base, &new.template_variant).await?;
        self.create_model(new, like).await?;
        let (production, shadow) = variants(&base, new).ok_or_else(|| {
            let message = format!("configuration `{}` has no variant `{}`", new.base, new.template_variant);
            rejected(operation, &new.name, message)
        })?;
        let mut input = json!({
            "EndpointConfigName": new.name,
            "ProductionVariants": production,
            "ShadowProductionVariants": shadow,
        });
        for member in KEPT {
            set(&mut input, member, base.other.get(member).cloned().unwrap_or_default());
        }
        self.create(operation, &new.name, input).await
    }

    async fn update_endpoint(
        &self,
        endpoint: &str,
        config: &str,
        blue_green: Option<&BlueGreen>,
    ) -> Result<(), AwsError> {
        let mut input = json!({"EndpointName": endpoint, "EndpointConfigName": config});
        if let Some(blue_green) = blue_green {
            set(&mut input, "DeploymentConfig", deployment(blue_green));
        } else {
            // Instances that autoscaling added stay. The weights become those of the configuration.
            set(&mut input, "RetainAllVariantProperties", true);
            let excluded = json!([{"VariantPropertyType": "DesiredWeight"}]);
            set(&mut input, "ExcludeRetainedVariantProperties", excluded);
        }
        let updated: Result<Value, _> = self.sagemaker("sagemaker:UpdateEndpoint", endpoint, input).await;
        updated.map(drop)
    }

    async fn update_weights(&self, endpoint: &str, weights: &BTreeMap<String, f64>) -> Result<(), AwsError> {
        let desired = weights.iter();
        let desired: Vec<_> = desired
            .map(|(name, share)| json!({"VariantName": name, "DesiredWeight": weight(*share)}))
            .collect();
        let input = json!({"EndpointName": endpoint, "DesiredWeightsAndCapacities": desired});
        let operation = "sagemaker:UpdateEndpointWeightsAndCapacities";
        let updated: Result<Value, _> = self.sagemaker(operation, endpoint, input).await;
        updated.map(drop)
    }

    async fn delete_endpoint_config(&self, name: &str) -> Result<(), AwsError> {
        let input = json!({"EndpointConfigName": name});
        self.delete("sagemaker:DeleteEndpointConfig", name, input).await
    }

    async fn delete_model(&self, name: &str) -> Result<(), AwsError> {
        self.delete("sagemaker:DeleteModel", name, json!({"ModelName": name}))
            .await
    }
}

/// Response of `DescribeModelPackage`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
#[cfg_attr(test, derive(serde::Serialize))]
pub(crate) struct DescribedPackage {
    model_package_arn: Option<String>,
    model_package_group_name: Option<String>,
    model_package_version: Option<u64>,
    model_package_status: Option<String>,
    model_approval_status: Option<String>,
    metadata_properties: Option<MetadataProperties>,
    creation_time: Option<Time>,
    drift_check_baselines: Option<DriftCheckBaselines>,
    model_metrics: Option<ModelMetrics>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
#[cfg_attr(test, derive(serde::Serialize))]
struct MetadataProperties {
    generated_by: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
#[cfg_attr(test, derive(serde::Serialize))]
struct ModelMetrics {
    model_quality: Option<Baseline>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
#[cfg_attr(test, derive(serde::Serialize))]
struct DriftCheckBaselines {
    model_data_quality: Option<Baseline>,
    model_quality: Option<Baseline>,
    bias: Option<BiasBaseline>,
    explainability: Option<ExplainabilityBaseline>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
#[cfg_attr(test, derive(serde::Serialize))]
struct Baseline {
    statistics: Option<Source>,
    constraints: Option<Source>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
#[cfg_attr(test, derive(serde::Serialize))]
struct BiasBaseline {
    config_file: Option<Source>,
    pre_training_constraints: Option<Source>,
    post_training_constraints: Option<Source>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
#[cfg_attr(test, derive(serde::Serialize))]
struct ExplainabilityBaseline {
    constraints: Option<Source>,
    config_file: Option<Source>,
}

/// A file in S3.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
#[cfg_attr(test, derive(serde::Serialize))]
struct Source {
    s3_uri: Option<String>,
}

/// Response of `ListModelPackages`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
#[cfg_attr(test, derive(serde::Serialize))]
pub(crate) struct Packages {
    model_package_summary_list: Option<Vec<PackageSummary>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
#[cfg_attr(test, derive(serde::Serialize))]
struct PackageSummary {
    model_package_arn: Option<String>,
    creation_time: Option<Time>,
}

/// `DriftCheckBaselines` by monitor type and by file name in a baseline folder.
fn drift_check(baselines: DriftCheckBaselines) -> BTreeMap<String, BTreeMap<String, String>> {
    let mut found: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    let mut add = |kind: &str, name: &str, source: Option<Source>| {
        if let Some(uri) = source.and_then(|source| source.s3_uri) {
            found.entry(kind.to_owned()).or_default().insert(name.to_owned(), uri);
        }
    };
    for (kind, baseline) in [
        ("DataQuality", baselines.model_data_quality),
        ("ModelQuality", baselines.model_quality),
    ] {
        if let Some(baseline) = baseline {
            add(kind, "statistics.json", baseline.statistics);
            add(kind, "constraints.json", baseline.constraints);
        }
    }
    // The result of a Clarify analysis is its baseline.
    if let Some(bias) = baselines.bias {
        let constraints = bias.post_training_constraints.or(bias.pre_training_constraints);
        add("ModelBias", "analysis.json", constraints);
        add("ModelBias", "analysis_config.json", bias.config_file);
    }
    if let Some(explainability) = baselines.explainability {
        add("ModelExplainability", "analysis.json", explainability.constraints);
        add(
            "ModelExplainability",
            "analysis_config.json",
            explainability.config_file,
        );
    }
    found
}

impl ModelPackages for Aws {
    async fn model_package(&self, arn: &str) -> Result<Option<DescribedModelPackage>, AwsError> {
        let input = json!({"ModelPackageName": arn});
        let described: DescribedPackage = match self.sagemaker("sagemaker:DescribeModelPackage", arn, input).await {
            Ok(described) => described,
            Err(error) if is_missing(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        let quality = described.model_metrics.and_then(|metrics| metrics.model_quality);
        Ok(Some(DescribedModelPackage {
            package: ModelPackage {
                arn: described.model_package_arn.unwrap_or_else(|| arn.to_owned()),
                version: described.model_package_version.unwrap_or_default(),
                approval_status: described.model_approval_status.unwrap_or_default(),
                generated_by: described
                    .metadata_properties
                    .and_then(|properties| properties.generated_by),
                metric: None,
                drift_check_baselines: described.drift_check_baselines.map(drift_check).unwrap_or_default(),
            },
            group: described.model_package_group_name.unwrap_or_default(),
            status: described.model_package_status.unwrap_or_default(),
            model_quality: quality.and_then(|quality| quality.statistics?.s3_uri),
            created: known(described.creation_time),
        }))
    }

    async fn newest_packages(&self, group: &str) -> Result<Vec<(String, Timestamp)>, AwsError> {
        let input = json!({
            "ModelPackageGroupName": group,
            "SortBy": "CreationTime",
            "SortOrder": "Descending",
            "MaxResults": MAX_PACKAGES,
        });
        let listed: Packages = match self.sagemaker("sagemaker:ListModelPackages", group, input).await {
            Ok(listed) => listed,
            Err(error) if is_missing(&error) => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let summaries = listed.model_package_summary_list.into_iter().flatten();
        Ok(summaries
            .filter_map(|summary| Some((summary.model_package_arn?, summary.creation_time?.0)))
            .collect())
    }
}

impl MetricData for Aws {
    async fn metric_data(
        &self,
        queries: &[MetricQuery],
        from: Timestamp,
        until: Timestamp,
        period: Duration,
    ) -> Result<Vec<Vec<(Timestamp, f64)>>, AwsError> {
        let mut values: BTreeMap<usize, Vec<(Timestamp, f64)>> = BTreeMap::new();
        let period = i32::try_from(period.as_secs()).unwrap_or(i32::MAX);
        let numbered: Vec<_> = queries.iter().enumerate().collect();
        for some in numbered.chunks(MAX_QUERIES_PER_REQUEST) {
            let asked = some.iter().map(|(number, query)| {
                let dimensions = query.dimensions.iter();
                let dimensions = dimensions.map(|(name, value)| Dimension::builder().name(name).value(value).build());
                let metric = Metric::builder()
                    .namespace(&query.namespace)
                    .metric_name(&query.metric_name)
                    .set_dimensions(Some(dimensions.collect()))
                    .build();
                let stat = MetricStat::builder()
                    .metric(metric)
                    .period(period)
                    .stat(&query.statistic);
                MetricDataQuery::builder()
                    .id(format!("q{number}"))
                    .metric_stat(stat.build())
                    .build()
            });
            let request = self
                .cloudwatch()
                .get_metric_data()
                .set_metric_data_queries(Some(asked.collect()))
                .start_time(DateTime::from_secs(from.as_second()))
                .end_time(DateTime::from_secs(until.as_second()))
                .scan_by(ScanBy::TimestampAscending);
            let mut pages = request.into_paginator().send();
            while let Some(page) = pages.next().await {
                let page = page.map_err(|error| failed("cloudwatch:GetMetricData", "AWS/SageMaker", &error))?;
                for result in page.metric_data_results() {
                    let number = result.id().and_then(|id| id.strip_prefix('q')?.parse().ok());
                    let Some(number) = number else { continue };
                    let times = result.timestamps().iter().map(|time| seconds(time.secs()));
                    let found = times.zip(result.values().iter().copied());
                    values.entry(number).or_default().extend(found);
                }
            }
        }
        Ok(queries
            .iter()
            .enumerate()
            .map(|(number, _)| values.remove(&number).unwrap_or_default())
            .collect())
    }
}
