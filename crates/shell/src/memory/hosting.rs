//! SageMaker's hosting, model registry, and CloudWatch metrics in memory. An update of an endpoint takes some time. It can fail,
//! and then leaves the endpoint unchanged. During an update the endpoint accepts no other change.

use super::{Inner, Memory, PlantedBug, not_found};
use crate::ports::{
    DescribedModelPackage, Hosting, MetricData, MetricQuery, ModelPackages, MonitoringBaselines, NewEndpointConfig,
};
use jiff::{SignedDuration, Timestamp};
use machine::{AwsError, Kind};
use promotion::{BlueGreen, Endpoint, EndpointStatus, MonitorBaseline, Variant};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// An endpoint in memory.
#[derive(Debug)]
struct HostedEndpoint {
    config: String,
    variants: Vec<Variant>,
    updating: Option<Update>,
    failure_reason: Option<String>,
}

/// An update in progress.
#[derive(Debug)]
struct Update {
    to: String,
    until: Timestamp,
    fails: bool,
}

/// An endpoint configuration in memory: its production variants with the names of their models.
#[derive(Debug, Clone, Default)]
struct Config {
    variants: Vec<(Variant, String)>,
    shadow: Option<String>,
}

/// State of SageMaker's hosting.
#[derive(Debug)]
pub(super) struct HostingState {
    endpoints: BTreeMap<String, HostedEndpoint>,
    configs: BTreeMap<String, Config>,
    /// Model packages by name of the model.
    models: BTreeMap<String, Option<String>>,
    packages: BTreeMap<String, DescribedModelPackage>,
    monitors: BTreeMap<String, Vec<MonitorBaseline>>,
    /// Time, value, and count of each datapoint, by namespace, name, and dimensions.
    values: BTreeMap<String, Vec<(Timestamp, f64, u64)>>,
    update_duration: SignedDuration,
    fail_next: u32,
    /// Number of updates that fail, per thousand.
    failures_per_mille: u16,
    /// Number of accepted updates of endpoints.
    updates: usize,
    /// Planted bug: updates that are executed again at a later time.
    repeated: Vec<(String, String, Timestamp)>,
}

impl Default for HostingState {
    fn default() -> Self {
        Self {
            endpoints: BTreeMap::new(),
            configs: BTreeMap::new(),
            models: BTreeMap::new(),
            packages: BTreeMap::new(),
            monitors: BTreeMap::new(),
            values: BTreeMap::new(),
            update_duration: SignedDuration::from_mins(5),
            fail_next: 0,
            failures_per_mille: 0,
            updates: 0,
            repeated: Vec::new(),
        }
    }
}

fn key(namespace: &str, name: &str, dimensions: &[(String, String)]) -> String {
    let mut dimensions: Vec<String> = dimensions
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    dimensions.sort();
    format!("{namespace}/{name}/{}", dimensions.join(","))
}

fn rejected(operation: &'static str, resource: &str, message: &str) -> AwsError {
    AwsError {
        operation,
        resource: resource.to_owned(),
        kind: Kind::Rejected,
        message: message.to_owned(),
    }
}

impl Inner {
    /// Completes the updates whose time has passed.
    fn settle(&mut self) {
        let now = self.now;
        let HostingState {
            endpoints,
            configs,
            repeated,
            update_duration,
            ..
        } = &mut self.hosted;
        for endpoint in endpoints.values_mut() {
            let Some(update) = endpoint.updating.take_if(|update| update.until <= now) else {
                continue;
            };
            let config = configs.get(&update.to).filter(|_| !update.fails);
            let Some(config) = config else {
                endpoint.failure_reason = Some("the container did not respond to /ping".to_owned());
                continue;
            };
            endpoint.variants = config.variants.iter().map(|(variant, _)| variant.clone()).collect();
            (endpoint.config, endpoint.failure_reason) = (update.to, None);
        }
        repeated.retain(|(endpoint, to, at)| {
            let served = endpoints.get_mut(endpoint).filter(|served| served.updating.is_none());
            let Some(served) = served.filter(|_| *at <= now && configs.contains_key(to)) else {
                return *at > now;
            };
            served.updating = Some(Update {
                to: to.clone(),
                until: now.saturating_add(*update_duration).unwrap_or(Timestamp::MAX),
                fails: false,
            });
            false
        });
    }
}

impl Memory {
    /// Adds an endpoint in service, with variants, their weights, and the model packages that they serve.
    pub fn put_endpoint(&self, name: &str, config: &str, variants: &[(&str, f64, Option<&str>)]) {
        let mut inner = self.inner();
        let mut new_config = Config::default();
        for (variant, weight, package) in variants {
            let model = format!("{config}-{variant}");
            let variant = Variant {
                name: (*variant).to_owned(),
                weight: *weight,
            };
            new_config.variants.push((variant, model.clone()));
            inner.hosted.models.insert(model, package.map(str::to_owned));
        }
        let served = HostedEndpoint {
            config: config.to_owned(),
            variants: new_config.variants.iter().map(|(variant, _)| variant.clone()).collect(),
            updating: None,
            failure_reason: None,
        };
        inner.hosted.configs.insert(config.to_owned(), new_config);
        inner.hosted.endpoints.insert(name.to_owned(), served);
    }

    /// Sets the duration of endpoint updates, and the number of failures per thousand.
    pub fn updates(&self, duration: SignedDuration, failures_per_mille: u16) {
        let mut inner = self.inner();
        (inner.hosted.update_duration, inner.hosted.failures_per_mille) = (duration, failures_per_mille);
    }

    /// Lets the next `count` updates of endpoints fail.
    pub fn fail_updates(&self, count: u32) {
        self.inner().hosted.fail_next = count;
    }

    /// Number of accepted updates of endpoints.
    pub fn update_count(&self) -> usize {
        self.inner().hosted.updates
    }

    /// Changes an endpoint immediately, as another process would.
    pub fn change_endpoint(&self, name: &str, config: &str, variants: &[(&str, f64)]) {
        let mut inner = self.inner();
        let variants: Vec<Variant> = variants
            .iter()
            .map(|(name, weight)| Variant {
                name: (*name).to_owned(),
                weight: *weight,
            })
            .collect();
        let new_config = Config {
            variants: variants
                .iter()
                .map(|variant| (variant.clone(), config.to_owned()))
                .collect(),
            shadow: None,
        };
        inner.hosted.configs.entry(config.to_owned()).or_insert(new_config);
        if let Some(endpoint) = inner.hosted.endpoints.get_mut(name) {
            config.clone_into(&mut endpoint.config);
            endpoint.variants = variants;
        }
    }

    /// Current configuration of an endpoint, and its variants with their weights.
    pub fn hosted(&self, name: &str) -> Option<(String, Vec<Variant>)> {
        let mut inner = self.inner();
        inner.settle();
        let endpoint = inner.hosted.endpoints.get(name)?;
        Some((endpoint.config.clone(), endpoint.variants.clone()))
    }

    /// The model package that a variant of an endpoint serves.
    pub fn serves(&self, endpoint: &str, variant: &str) -> Option<String> {
        let inner = self.inner();
        let config = inner
            .hosted
            .configs
            .get(&inner.hosted.endpoints.get(endpoint)?.config)?;
        let model = config.variants.iter().find(|(found, _)| found.name == variant)?;
        inner.hosted.models.get(&model.1)?.clone()
    }

    /// The shadow variant of an endpoint.
    pub fn shadow(&self, endpoint: &str) -> Option<String> {
        let inner = self.inner();
        let config = &inner.hosted.endpoints.get(endpoint)?.config;
        inner.hosted.configs.get(config)?.shadow.clone()
    }

    /// The names of all endpoint configurations, and of all models.
    pub fn hosted_names(&self) -> (BTreeSet<String>, BTreeSet<String>) {
        let inner = self.inner();
        (
            inner.hosted.configs.keys().cloned().collect(),
            inner.hosted.models.keys().cloned().collect(),
        )
    }

    /// Describes a violated invariant of an endpoint. Invariants: the endpoint exists, one of its variants has a weight above 0,
    /// and neither its current nor its next configuration has been deleted.
    pub fn endpoint_problem(&self, endpoint: &str) -> Option<String> {
        let mut inner = self.inner();
        inner.settle();
        let HostingState { endpoints, configs, .. } = &inner.hosted;
        let Some(served) = endpoints.get(endpoint) else {
            return Some(format!("endpoint {endpoint} does not exist"));
        };
        let pending = served.updating.as_ref().map(|update| &update.to);
        if let Some(gone) = pending
            .into_iter()
            .chain([&served.config])
            .find(|config| !configs.contains_key(*config))
        {
            return Some(format!("configuration {gone} of endpoint {endpoint} was deleted"));
        }
        let all = served.variants.iter();
        let are_valid = all
            .clone()
            .all(|variant| variant.weight.is_finite() && variant.weight >= 0.0);
        let has_weight = all.clone().any(|variant| variant.weight > 0.0);
        (!are_valid || !has_weight).then(|| format!("endpoint {endpoint} has the variants {:?}", served.variants))
    }

    /// A model package.
    pub fn package(&self, arn: &str) -> Option<DescribedModelPackage> {
        self.inner().hosted.packages.get(arn).cloned()
    }

    /// Registers a model package, or replaces the package with the same ARN.
    pub fn put_package(&self, package: DescribedModelPackage) {
        let mut inner = self.inner();
        inner.hosted.packages.insert(package.package.arn.clone(), package);
    }

    /// Adds a monitoring schedule of an endpoint.
    pub fn put_monitor(&self, endpoint: &str, monitor: MonitorBaseline) {
        let mut inner = self.inner();
        inner
            .hosted
            .monitors
            .entry(endpoint.to_owned())
            .or_default()
            .push(monitor);
    }

    /// Schedules that monitor an endpoint, with their baselines.
    pub fn monitors(&self, endpoint: &str) -> Vec<MonitorBaseline> {
        self.inner().hosted.monitors.get(endpoint).cloned().unwrap_or_default()
    }

    /// Publishes `count` values of a variant's metric at the current time.
    pub fn put_value(&self, namespace: &str, name: &str, endpoint: &str, variant: &str, value: f64, count: u64) {
        let mut inner = self.inner();
        let now = inner.now;
        let dimensions = [("EndpointName", endpoint), ("VariantName", variant)];
        let dimensions = dimensions.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let values = inner
            .hosted
            .values
            .entry(key(namespace, name, &dimensions))
            .or_default();
        values.push((now, value, count));
    }
}

impl Hosting for Memory {
    async fn endpoint(&self, name: &str) -> Result<Option<Endpoint>, AwsError> {
        self.call("sagemaker:DescribeEndpoint", name, |inner| {
            inner.settle();
            let now = inner.now;
            Ok(inner.hosted.endpoints.get(name).map(|endpoint| Endpoint {
                status: if endpoint.updating.is_some() {
                    EndpointStatus::Busy
                } else {
                    EndpointStatus::InService
                },
                config: endpoint.config.clone(),
                variants: endpoint.variants.clone(),
                failure_reason: endpoint.failure_reason.clone(),
                pending: endpoint.updating.as_ref().map(|update| update.to.clone()),
                at: now,
            }))
        })
        .await
    }

    async fn served_package(&self, config: &str, variant: &str) -> Result<Option<String>, AwsError> {
        self.call("sagemaker:DescribeModel", config, |inner| {
            let variants = inner.hosted.configs.get(config).map(|config| &config.variants);
            let model = variants.into_iter().flatten().find(|(found, _)| found.name == variant);
            Ok(model.and_then(|(_, model)| inner.hosted.models.get(model)?.clone()))
        })
        .await
    }

    async fn create_endpoint_config(&self, new: &NewEndpointConfig) -> Result<(), AwsError> {
        let operation = "sagemaker:CreateEndpointConfig";
        self.call(operation, &new.name, |inner| {
            let base = inner.hosted.configs.get(&new.base);
            let base = base.ok_or_else(|| not_found(operation, &new.base))?.clone();
            let package = Some(new.model_package_arn.clone());
            inner.hosted.models.entry(new.model_name.clone()).or_insert(package);
            let weighted = base.variants.iter().filter_map(|(variant, model)| {
                let weight = *new.weights.get(&variant.name)?;
                let name = variant.name.clone();
                Some((Variant { name, weight }, model.clone()))
            });
            let mut config = Config {
                variants: weighted.collect(),
                shadow: new.shadow.then(|| new.variant_name.clone()),
            };
            if let Some(weight) = new.weights.get(&new.variant_name).filter(|_| !new.shadow) {
                let variant = Variant {
                    name: new.variant_name.clone(),
                    weight: *weight,
                };
                config.variants.push((variant, new.model_name.clone()));
            }
            inner.hosted.configs.entry(new.name.clone()).or_insert(config);
            Ok(())
        })
        .await
    }

    async fn update_endpoint(&self, endpoint: &str, config: &str, _: Option<&BlueGreen>) -> Result<(), AwsError> {
        let operation = "sagemaker:UpdateEndpoint";
        self.call(operation, endpoint, |inner| {
            inner.settle();
            let chance = inner.trouble.0.u16(0..1000);
            let blind = inner.planted == Some(PlantedBug::BlindUpdate);
            let (now, hosted) = (inner.now, &mut inner.hosted);
            if !hosted.configs.contains_key(config) {
                return Err(rejected(operation, endpoint, "Could not find endpoint configuration"));
            }
            let served = hosted.endpoints.get_mut(endpoint);
            let served = served.ok_or_else(|| rejected(operation, endpoint, "Could not find endpoint"))?;
            if served.updating.is_some() {
                return Err(rejected(operation, endpoint, "Cannot update in-progress endpoint"));
            }
            let fails = hosted.fail_next > 0 || chance < hosted.failures_per_mille;
            hosted.fail_next = hosted.fail_next.saturating_sub(1);
            hosted.updates += 1;
            if blind {
                let later = now.saturating_add(hosted.update_duration * 8).unwrap_or(Timestamp::MAX);
                hosted.repeated.push((endpoint.to_owned(), config.to_owned(), later));
            }
            served.updating = Some(Update {
                to: config.to_owned(),
                until: now.saturating_add(hosted.update_duration).unwrap_or(Timestamp::MAX),
                fails,
            });
            Ok(())
        })
        .await
    }

    async fn update_weights(&self, endpoint: &str, weights: &BTreeMap<String, f64>) -> Result<(), AwsError> {
        let operation = "sagemaker:UpdateEndpointWeightsAndCapacities";
        self.call(operation, endpoint, |inner| {
            inner.settle();
            let served = inner.hosted.endpoints.get_mut(endpoint);
            let served = served.ok_or_else(|| rejected(operation, endpoint, "Could not find endpoint"))?;
            if served.updating.is_some() {
                return Err(rejected(operation, endpoint, "Cannot update in-progress endpoint"));
            }
            if weights
                .keys()
                .any(|name| served.variants.iter().all(|variant| variant.name != *name))
            {
                return Err(rejected(operation, endpoint, "Could not find variant"));
            }
            for variant in &mut served.variants {
                variant.weight = weights.get(&variant.name).copied().unwrap_or(variant.weight);
            }
            Ok(())
        })
        .await
    }

    async fn delete_endpoint_config(&self, name: &str) -> Result<(), AwsError> {
        self.call("sagemaker:DeleteEndpointConfig", name, |inner| {
            inner.hosted.configs.remove(name);
            Ok(())
        })
        .await
    }

    async fn delete_model(&self, name: &str) -> Result<(), AwsError> {
        self.call("sagemaker:DeleteModel", name, |inner| {
            inner.hosted.models.remove(name);
            Ok(())
        })
        .await
    }
}

impl ModelPackages for Memory {
    async fn model_package(&self, arn: &str) -> Result<Option<DescribedModelPackage>, AwsError> {
        self.call("sagemaker:DescribeModelPackage", arn, |inner| {
            Ok(inner.hosted.packages.get(arn).cloned())
        })
        .await
    }

    async fn newest_packages(&self, group: &str) -> Result<Vec<(String, Timestamp)>, AwsError> {
        self.call("sagemaker:ListModelPackages", group, |inner| {
            let packages = inner.hosted.packages.values().filter(|package| package.group == group);
            let mut packages: Vec<_> = packages
                .map(|package| (package.package.version, package.package.arn.clone(), package.created))
                .collect();
            packages.sort_by(|a, b| b.cmp(a));
            Ok(packages.into_iter().map(|(_, arn, created)| (arn, created)).collect())
        })
        .await
    }
}

impl MetricData for Memory {
    async fn metric_data(
        &self,
        queries: &[MetricQuery],
        from: Timestamp,
        until: Timestamp,
        period: Duration,
    ) -> Result<Vec<Vec<(Timestamp, f64)>>, AwsError> {
        let seconds = i64::try_from(period.as_secs()).unwrap_or(60).max(1);
        self.call("cloudwatch:GetMetricData", "AWS/SageMaker", |inner| {
            let results = queries.iter().map(|query| {
                let values = inner
                    .hosted
                    .values
                    .get(&key(&query.namespace, &query.metric_name, &query.dimensions));
                let mut periods: BTreeMap<i64, Vec<(f64, u64)>> = BTreeMap::new();
                for (at, value, count) in values
                    .into_iter()
                    .flatten()
                    .filter(|(at, ..)| *at >= from && *at < until)
                {
                    let begin = at.as_second().div_euclid(seconds) * seconds;
                    periods.entry(begin).or_default().push((*value, *count));
                }
                let points = periods.into_iter().filter_map(|(begin, values)| {
                    Some((
                        Timestamp::from_second(begin).ok()?,
                        statistic(&query.statistic, values)?,
                    ))
                });
                points.collect()
            });
            Ok(results.collect())
        })
        .await
    }
}

/// Statistic of the values of a period, each with its count.
fn statistic(name: &str, mut values: Vec<(f64, u64)>) -> Option<f64> {
    #[expect(clippy::cast_precision_loss, reason = "counts of tests are small")]
    let real = |count: u64| count as f64;
    let count: u64 = values.iter().map(|(_, count)| count).sum();
    let sum: f64 = values.iter().map(|(value, count)| value * real(*count)).sum();
    match name {
        "Sum" => Some(sum),
        "SampleCount" => Some(real(count)),
        "Average" => Some(sum / real(count)),
        _ => {
            let percentile: f64 = name.strip_prefix('p')?.parse().ok()?;
            values.sort_by(|a, b| a.0.total_cmp(&b.0));
            let mut seen = 0;
            let mut found = values.iter().find(|(_, count)| {
                seen += count;
                real(seen) >= percentile / 100.0 * real(values.iter().map(|(_, count)| count).sum())
            });
            found.take().map(|(value, _)| *value)
        }
    }
}

impl MonitoringBaselines for Memory {
    async fn monitors_for(&self, endpoint: &str) -> Result<Vec<MonitorBaseline>, AwsError> {
        self.call("sagemaker:ListMonitoringSchedules", endpoint, |inner| {
            Ok(inner.hosted.monitors.get(endpoint).cloned().unwrap_or_default())
        })
        .await
    }

    async fn set_baseline(&self, schedule: &str, baseline_uri: &str) -> Result<(), AwsError> {
        self.call("sagemaker:UpdateMonitoringSchedule", schedule, |inner| {
            let monitors = inner.hosted.monitors.values_mut().flatten();
            for monitor in monitors.filter(|monitor| monitor.monitoring_schedule == schedule) {
                monitor.baseline_uri = Some(baseline_uri.to_owned());
            }
            Ok(())
        })
        .await
    }
}
