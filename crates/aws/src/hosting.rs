//! SageMaker's hosting and model registry, and their CloudWatch metrics.

use super::{Aws, failed, seconds};
use aws_sdk_cloudwatch::types::{Dimension, Metric, MetricDataQuery, MetricStat, ScanBy};
use aws_sdk_s3::primitives::DateTime;
use jiff::Timestamp;
use promotion::{BlueGreen, Endpoint, EndpointStatus, ModelPackage, Variant};
use sagemaker_sdk::{
    operation::{describe_endpoint_config::DescribeEndpointConfigOutput, describe_model::DescribeModelOutput},
    types::{
        Alarm, AutoRollbackConfig, BlueGreenUpdatePolicy, CapacitySize, CapacitySizeType, ContainerDefinition,
        DeploymentConfig, DesiredWeightAndCapacity, DriftCheckBaselines, FileSource, MetricsSource,
        ModelApprovalStatus, ModelPackageSortBy, ModelPackageStatus, ProductionVariant, SortOrder,
        TrafficRoutingConfig, TrafficRoutingConfigType, VariantProperty, VariantPropertyType,
    },
};
use shell::{
    AwsError, Kind,
    ports::{Clock as _, DescribedModelPackage, Hosting, MetricData, MetricQuery, ModelPackages, NewEndpointConfig},
};
use std::{collections::BTreeMap, time::Duration};

/// Maximum number of queries per request (API, `GetMetricData`).
const MAX_QUERIES_PER_REQUEST: usize = 500;
/// Number of newest packages of a group that are listed.
const MAX_PACKAGES: i32 = 5;

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
fn weight(weight: f64) -> f32 {
    weight as f32
}

impl Aws {
    async fn describe_endpoint_config(&self, name: &str) -> Result<DescribeEndpointConfigOutput, AwsError> {
        let described = self.sagemaker().describe_endpoint_config().endpoint_config_name(name);
        let sent = described.send().await;
        sent.map_err(|error| failed("sagemaker:DescribeEndpointConfig", name, &error))
    }

    async fn describe_model(&self, name: &str) -> Result<DescribeModelOutput, AwsError> {
        let sent = self.sagemaker().describe_model().model_name(name).send().await;
        sent.map_err(|error| failed("sagemaker:DescribeModel", name, &error))
    }

    /// Describes the model of a variant.
    async fn find_model(
        &self,
        config: &DescribeEndpointConfigOutput,
        variant: &str,
    ) -> Result<DescribeModelOutput, AwsError> {
        let found = named(config, variant).and_then(|variant| variant.model_name());
        let name = found.ok_or_else(|| {
            let name = config.endpoint_config_name().unwrap_or_default();
            let message = format!("variant `{variant}` of the configuration has no model");
            rejected("sagemaker:DescribeEndpointConfig", name, message)
        })?;
        self.describe_model(name).await
    }

    async fn create_model(&self, new: &NewEndpointConfig, like: DescribeModelOutput) -> Result<(), AwsError> {
        let container = ContainerDefinition::builder()
            .model_package_name(&new.model_package_arn)
            .build();
        let created = self
            .sagemaker()
            .create_model()
            .model_name(&new.model_name)
            .primary_container(container)
            .set_execution_role_arn(like.execution_role_arn)
            .set_vpc_config(like.vpc_config)
            .set_enable_network_isolation(like.enable_network_isolation)
            .send()
            .await
            .map_err(|error| failed("sagemaker:CreateModel", &new.model_name, &error));
        match created {
            Err(error) if !already_exists(&error) => Err(error),
            _ => Ok(()),
        }
    }
}

fn named<'a>(config: &'a DescribeEndpointConfigOutput, variant: &str) -> Option<&'a ProductionVariant> {
    let mut variants = config.production_variants().iter();
    variants.find(|found| found.variant_name() == Some(variant))
}

/// Production variants and shadow variants of the new configuration.
fn variants(
    base: &DescribeEndpointConfigOutput,
    new: &NewEndpointConfig,
) -> Option<(Vec<ProductionVariant>, Option<Vec<ProductionVariant>>)> {
    let weighted = |variant: &ProductionVariant| {
        let share = new.weights.get(variant.variant_name()?)?;
        let mut variant = variant.clone();
        variant.initial_variant_weight = Some(weight(*share));
        Some(variant)
    };
    let mut production: Vec<_> = base.production_variants().iter().filter_map(weighted).collect();
    let mut candidate = named(base, &new.template_variant)?.clone();
    candidate.variant_name = Some(new.variant_name.clone());
    candidate.model_name = Some(new.model_name.clone());
    if new.shadow {
        // A shadow variant with the weight of its production variant gets a copy of every request.
        candidate.initial_variant_weight = new.weights.get(&new.template_variant).copied().map(weight);
        return Some((production, Some(vec![candidate])));
    }
    candidate.initial_variant_weight = new.weights.get(&new.variant_name).copied().map(weight);
    production.push(candidate);
    Some((production, None))
}

fn deployment(blue_green: &BlueGreen) -> DeploymentConfig {
    let size = |percent| {
        CapacitySize::builder()
            .r#type(CapacitySizeType::CapacityPercent)
            .value(percent)
            .build()
    };
    let routing = TrafficRoutingConfig::builder().wait_interval_in_seconds(blue_green.wait_seconds);
    let routing = if blue_green.linear {
        let routing = routing.r#type(TrafficRoutingConfigType::Linear);
        routing.linear_step_size(size(blue_green.percent))
    } else {
        let routing = routing.r#type(TrafficRoutingConfigType::Canary);
        routing.canary_size(size(blue_green.percent))
    };
    let policy = BlueGreenUpdatePolicy::builder()
        .traffic_routing_configuration(routing.build())
        .termination_wait_in_seconds(blue_green.termination_wait_seconds)
        .build();
    let alarms = blue_green.alarms.iter();
    let alarms: Vec<_> = alarms.map(|name| Alarm::builder().alarm_name(name).build()).collect();
    let rollback = (!alarms.is_empty()).then(|| AutoRollbackConfig::builder().set_alarms(Some(alarms)).build());
    DeploymentConfig::builder()
        .blue_green_update_policy(policy)
        .set_auto_rollback_configuration(rollback)
        .build()
}

impl Hosting for Aws {
    async fn endpoint(&self, name: &str) -> Result<Option<Endpoint>, AwsError> {
        let at = self.now();
        let described = self.sagemaker().describe_endpoint().endpoint_name(name).send().await;
        let described = match described.map_err(|error| failed("sagemaker:DescribeEndpoint", name, &error)) {
            Ok(described) => described,
            Err(error) if is_missing(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        let status = described.endpoint_status().map_or("", |status| status.as_str());
        let variants = described.production_variants().iter().map(|variant| Variant {
            name: variant.variant_name().unwrap_or_default().to_owned(),
            weight: f64::from(variant.desired_weight().or(variant.current_weight()).unwrap_or(0.0)),
        });
        let pending = described.pending_deployment_summary();
        Ok(Some(Endpoint {
            status: match status {
                "InService" => EndpointStatus::InService,
                "Creating" | "Updating" | "SystemUpdating" | "RollingBack" => EndpointStatus::Busy,
                _ => EndpointStatus::Broken,
            },
            config: described.endpoint_config_name().unwrap_or_default().to_owned(),
            variants: variants.collect(),
            pending: pending
                .and_then(|pending| pending.endpoint_config_name())
                .map(str::to_owned),
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
                let containers = model
                    .primary_container
                    .into_iter()
                    .chain(model.containers.into_iter().flatten());
                Ok(containers
                    .into_iter()
                    .find_map(|container| container.model_package_name))
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
        let created = self
            .sagemaker()
            .create_endpoint_config()
            .endpoint_config_name(&new.name)
            .set_production_variants(Some(production))
            .set_shadow_production_variants(shadow)
            .set_data_capture_config(base.data_capture_config)
            .set_kms_key_id(base.kms_key_id)
            .set_async_inference_config(base.async_inference_config)
            .set_explainer_config(base.explainer_config)
            .set_execution_role_arn(base.execution_role_arn)
            .set_vpc_config(base.vpc_config)
            .set_enable_network_isolation(base.enable_network_isolation)
            .set_metrics_config(base.metrics_config)
            .send()
            .await
            .map_err(|error| failed(operation, &new.name, &error));
        match created {
            Err(error) if !already_exists(&error) => Err(error),
            _ => Ok(()),
        }
    }

    async fn update_endpoint(
        &self,
        endpoint: &str,
        config: &str,
        blue_green: Option<&BlueGreen>,
    ) -> Result<(), AwsError> {
        let weights = VariantProperty::builder()
            .variant_property_type(VariantPropertyType::DesiredWeight)
            .build();
        // Instances that autoscaling added stay. The weights become those of the configuration.
        let request = self
            .sagemaker()
            .update_endpoint()
            .endpoint_name(endpoint)
            .endpoint_config_name(config);
        let request = match blue_green {
            Some(blue_green) => request.deployment_config(deployment(blue_green)),
            None => request
                .retain_all_variant_properties(true)
                .exclude_retained_variant_properties(weights),
        };
        let sent = request.send().await;
        sent.map_err(|error| failed("sagemaker:UpdateEndpoint", endpoint, &error))?;
        Ok(())
    }

    async fn update_weights(&self, endpoint: &str, weights: &BTreeMap<String, f64>) -> Result<(), AwsError> {
        let desired = weights.iter().map(|(name, share)| {
            let desired = DesiredWeightAndCapacity::builder().variant_name(name);
            desired.desired_weight(weight(*share)).build()
        });
        let request = self.sagemaker().update_endpoint_weights_and_capacities();
        let request = request.endpoint_name(endpoint);
        let request = request.set_desired_weights_and_capacities(Some(desired.collect()));
        let sent = request.send().await;
        sent.map_err(|error| failed("sagemaker:UpdateEndpointWeightsAndCapacities", endpoint, &error))?;
        Ok(())
    }

    async fn delete_endpoint_config(&self, name: &str) -> Result<(), AwsError> {
        let request = self.sagemaker().delete_endpoint_config().endpoint_config_name(name);
        let sent = request.send().await;
        match sent.map_err(|error| failed("sagemaker:DeleteEndpointConfig", name, &error)) {
            Err(error) if !is_missing(&error) => Err(error),
            _ => Ok(()),
        }
    }

    async fn delete_model(&self, name: &str) -> Result<(), AwsError> {
        let sent = self.sagemaker().delete_model().model_name(name).send().await;
        match sent.map_err(|error| failed("sagemaker:DeleteModel", name, &error)) {
            Err(error) if !is_missing(&error) => Err(error),
            _ => Ok(()),
        }
    }
}

/// `DriftCheckBaselines` by monitor type and by file name in a baseline folder.
fn drift_check(baselines: &DriftCheckBaselines) -> BTreeMap<String, BTreeMap<String, String>> {
    let uri = |source: Option<&MetricsSource>| source.and_then(|source| source.s3_uri()).map(str::to_owned);
    let file = |source: Option<&FileSource>| source.and_then(|source| source.s3_uri()).map(str::to_owned);
    let data = baselines.model_data_quality();
    let quality = baselines.model_quality();
    let (bias, explainability) = (baselines.bias(), baselines.explainability());
    let after = bias.and_then(|bias| bias.post_training_constraints());
    let before = bias.and_then(|bias| bias.pre_training_constraints());
    let types = [
        (
            "DataQuality",
            "statistics.json",
            uri(data.and_then(|data| data.statistics())),
        ),
        (
            "DataQuality",
            "constraints.json",
            uri(data.and_then(|data| data.constraints())),
        ),
        (
            "ModelQuality",
            "statistics.json",
            uri(quality.and_then(|quality| quality.statistics())),
        ),
        (
            "ModelQuality",
            "constraints.json",
            uri(quality.and_then(|quality| quality.constraints())),
        ),
        // The result of a Clarify analysis is its baseline.
        ("ModelBias", "analysis.json", uri(after.or(before))),
        (
            "ModelBias",
            "analysis_config.json",
            file(bias.and_then(|bias| bias.config_file())),
        ),
        (
            "ModelExplainability",
            "analysis.json",
            uri(explainability.and_then(|found| found.constraints())),
        ),
        (
            "ModelExplainability",
            "analysis_config.json",
            file(explainability.and_then(|found| found.config_file())),
        ),
    ];
    let mut found: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for (kind, name, uri) in types {
        if let Some(uri) = uri {
            found.entry(kind.to_owned()).or_default().insert(name.to_owned(), uri);
        }
    }
    found
}

impl ModelPackages for Aws {
    async fn model_package(&self, arn: &str) -> Result<Option<DescribedModelPackage>, AwsError> {
        let described = self
            .sagemaker()
            .describe_model_package()
            .model_package_name(arn)
            .send()
            .await;
        let described = match described.map_err(|error| failed("sagemaker:DescribeModelPackage", arn, &error)) {
            Ok(described) => described,
            Err(error) if is_missing(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        let quality = described.model_metrics().and_then(|metrics| metrics.model_quality());
        let quality = quality
            .and_then(|quality| quality.statistics())
            .and_then(|source| source.s3_uri());
        let text = |status: Option<&str>| status.unwrap_or_default().to_owned();
        let version = described.model_package_version().unwrap_or_default();
        Ok(Some(DescribedModelPackage {
            package: ModelPackage {
                arn: described.model_package_arn().unwrap_or(arn).to_owned(),
                version: u64::try_from(version).unwrap_or_default(),
                approval_status: text(described.model_approval_status().map(ModelApprovalStatus::as_str)),
                generated_by: described
                    .metadata_properties()
                    .and_then(|properties| properties.generated_by())
                    .map(str::to_owned),
                metric: None,
                drift_check_baselines: described.drift_check_baselines().map(drift_check).unwrap_or_default(),
            },
            group: text(described.model_package_group_name()),
            status: text(described.model_package_status().map(ModelPackageStatus::as_str)),
            model_quality: quality.map(str::to_owned),
            created: described
                .creation_time()
                .map_or(Timestamp::UNIX_EPOCH, |time| seconds(time.secs())),
        }))
    }

    async fn newest_packages(&self, group: &str) -> Result<Vec<(String, Timestamp)>, AwsError> {
        let listed = self
            .sagemaker()
            .list_model_packages()
            .model_package_group_name(group)
            .sort_by(ModelPackageSortBy::CreationTime)
            .sort_order(SortOrder::Descending)
            .max_results(MAX_PACKAGES)
            .send()
            .await
            .map_err(|error| failed("sagemaker:ListModelPackages", group, &error));
        let listed = match listed {
            Ok(listed) => listed,
            Err(error) if is_missing(&error) => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let summaries = listed.model_package_summary_list.into_iter().flatten();
        let packages = summaries.filter_map(|summary| {
            let created = summary.creation_time().map(|time| seconds(time.secs()))?;
            Some((summary.model_package_arn?, created))
        });
        Ok(packages.collect())
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
