#![doc = include_str!("../README.md")]

mod alarms;
mod baselines;
mod hosting;
mod json;
mod lineage;
#[cfg(feature = "operator")]
mod operator;
mod outside;
#[cfg(test)]
mod recorded;
mod sagemaker;
#[cfg(test)]
mod shapes;

use alerting::{Metric, Unit};
use analysis::metric::{AnalysisMetric, MetricValue};
use aws_config::{BehaviorVersion, SdkConfig, retry::RetryConfig, timeout::TimeoutConfig};
use aws_sdk_cloudwatch::types::{Dimension, MetricDatum, StandardUnit, StatisticSet};
use aws_sdk_eventbridge::types::PutEventsRequestEntry;
use aws_sdk_s3::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
    primitives::{ByteStream, DateTime},
};
use aws_smithy_http_client::{
    Connector,
    tls::{Provider, rustls_provider::CryptoMode},
};
use events::Event;
use jiff::{SignedDuration, Timestamp};
use json::JsonClient;
use machine::{
    AwsError, Clock, Documents, ETag, Fetched, Kind, ListedDocument, Precondition, invocation::trace_header,
};
use remediation::{ExecutionStatus, PipelineExecution, StartStateMachine};
use shell::{
    POLICY_KEY,
    ports::{
        Datasets, DatedDocuments, Endpoints, EventBus, FetchedObject, ListedObject, Marks, Metrics, ModelEndpoint,
        MonitorMetrics, Object, Part, Reports, StateMachines, Topics, detail_of,
    },
};
use std::{ops::Range, sync::OnceLock, time::Duration};

/// Number of listed versions when earlier versions of a document are read.
const MAX_VERSIONS: i32 = 10;
/// Maximum number of metrics per request (API, `PutMetricData`).
const MAX_METRICS_PER_REQUEST: usize = 1000;

/// Time limit for an invocation of an endpoint. SageMaker's own limit is 60 s (API, `InvokeEndpoint`).
const INVOCATION_TIMEOUT: Duration = Duration::from_secs(65);

/// AWS clients. Each is created on first use, so that a cold start creates only those that it needs.
#[derive(Debug)]
pub struct Aws {
    config: SdkConfig,
    state_bucket: String,
    event_bus: String,
    topic_arn: String,
    s3: OnceLock<aws_sdk_s3::Client>,
    cloudwatch: OnceLock<aws_sdk_cloudwatch::Client>,
    eventbridge: OnceLock<aws_sdk_eventbridge::Client>,
    sagemaker: OnceLock<JsonClient>,
    parameter_store: OnceLock<JsonClient>,
    sagemaker_runtime: OnceLock<aws_sdk_sagemakerruntime::Client>,
    sns: OnceLock<aws_sdk_sns::Client>,
    sfn: OnceLock<aws_sdk_sfn::Client>,
    web: OnceLock<Connector>,
}

impl Aws {
    /// Reads the configuration from the environment: region, credentials, and `AWS_ENDPOINT_URL`.
    ///
    /// An attempt may take 5 s, an operation with its retries 20 s. So a function that times out after 60 s can still report the
    /// error. The SDK retries throttling and 5xx three times with jitter.
    pub async fn from_env() -> Self {
        let http = aws_smithy_http_client::Builder::new()
            .tls_provider(Provider::Rustls(CryptoMode::Ring))
            .build_https();
        let config = aws_config::defaults(BehaviorVersion::v2026_01_12())
            .http_client(http)
            .retry_config(
                RetryConfig::standard()
                    .with_max_attempts(4)
                    .with_initial_backoff(Duration::from_millis(200)),
            )
            .timeout_config(
                TimeoutConfig::builder()
                    .connect_timeout(Duration::from_secs(2))
                    .operation_attempt_timeout(Duration::from_secs(5))
                    .operation_timeout(Duration::from_secs(20))
                    .build(),
            )
            .load()
            .await;
        Self::new(config)
    }

    /// AWS with a configuration of the SDK.
    pub(crate) fn new(config: SdkConfig) -> Self {
        Self {
            config,
            state_bucket: String::new(),
            event_bus: String::new(),
            topic_arn: String::new(),
            s3: OnceLock::new(),
            cloudwatch: OnceLock::new(),
            eventbridge: OnceLock::new(),
            sagemaker: OnceLock::new(),
            parameter_store: OnceLock::new(),
            sagemaker_runtime: OnceLock::new(),
            sns: OnceLock::new(),
            sfn: OnceLock::new(),
            web: OnceLock::new(),
        }
    }

    /// Sets the state bucket.
    #[must_use]
    pub fn with_state_bucket(mut self, name: impl Into<String>) -> Self {
        self.state_bucket = name.into();
        self
    }

    /// Sets the event bus for Driftwarden's events.
    #[must_use]
    pub fn with_event_bus(mut self, name: impl Into<String>) -> Self {
        self.event_bus = name.into();
        self
    }

    /// Sets the SNS topic for notifications.
    #[must_use]
    pub fn with_topic(mut self, arn: impl Into<String>) -> Self {
        self.topic_arn = arn.into();
        self
    }

    pub(crate) fn s3(&self) -> &aws_sdk_s3::Client {
        self.s3.get_or_init(|| aws_sdk_s3::Client::new(&self.config))
    }

    pub(crate) fn cloudwatch(&self) -> &aws_sdk_cloudwatch::Client {
        self.cloudwatch
            .get_or_init(|| aws_sdk_cloudwatch::Client::new(&self.config))
    }

    pub(crate) fn eventbridge(&self) -> &aws_sdk_eventbridge::Client {
        self.eventbridge
            .get_or_init(|| aws_sdk_eventbridge::Client::new(&self.config))
    }

    fn sagemaker_runtime(&self) -> &aws_sdk_sagemakerruntime::Client {
        self.sagemaker_runtime.get_or_init(|| {
            let timeouts = TimeoutConfig::builder()
                .connect_timeout(Duration::from_secs(2))
                .operation_attempt_timeout(INVOCATION_TIMEOUT)
                .build();
            let config = aws_sdk_sagemakerruntime::config::Builder::from(&self.config).timeout_config(timeouts);
            aws_sdk_sagemakerruntime::Client::from_conf(config.build())
        })
    }

    fn sfn(&self) -> &aws_sdk_sfn::Client {
        self.sfn.get_or_init(|| aws_sdk_sfn::Client::new(&self.config))
    }

    #[cfg(feature = "operator")]
    pub(crate) fn config(&self) -> &SdkConfig {
        &self.config
    }

    pub(crate) fn sns(&self) -> &aws_sdk_sns::Client {
        self.sns.get_or_init(|| aws_sdk_sns::Client::new(&self.config))
    }
}

/// Converts an error of the SDK.
pub(crate) fn failed<E: ProvideErrorMetadata + std::error::Error + 'static>(
    operation: &'static str,
    resource: impl Into<String>,
    error: &SdkError<E, HttpResponse>,
) -> AwsError {
    let status = error.raw_response().map(|response| response.status().as_u16());
    let code = error.as_service_error().and_then(ProvideErrorMetadata::code);
    AwsError {
        operation,
        resource: resource.into(),
        kind: kind(status, code),
        message: chain(error),
    }
}

/// Kind of an error, by the HTTP status and the error code of the response. Without a response it is transient.
pub(crate) fn kind(status: Option<u16>, code: Option<&str>) -> Kind {
    match (status, code) {
        (_, Some("PreconditionFailed" | "ConditionalRequestConflict")) | (Some(409 | 412), _) => Kind::Conflict,
        (_, Some(code))
            if ["Throttl", "TooManyRequests", "LimitExceeded", "SlowDown"]
                .iter()
                .any(|part| code.contains(part)) =>
        {
            Kind::Transient
        }
        (
            _,
            Some("ResourceNotFound" | "ResourceNotFoundException" | "NoSuchKey" | "NoSuchBucket" | "ParameterNotFound"),
        )
        | (Some(404), _) => Kind::NotFound,
        (_, Some("AccessDenied" | "AccessDeniedException")) | (Some(401 | 403), _) => Kind::Denied,
        (Some(400..=499), _) if status != Some(408) && status != Some(429) => Kind::Rejected,
        _ => Kind::Transient,
    }
}

/// Message of an error and its sources, without repetitions.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

/// Reads a body completely. A lost connection is a transient error.
async fn read_body(
    body: ByteStream,
    operation: &'static str,
    resource: impl Fn() -> String,
) -> Result<Vec<u8>, AwsError> {
    let bytes = body.collect().await.map_err(|error| AwsError {
        operation,
        resource: resource(),
        kind: Kind::Transient,
        message: chain(&error),
    })?;
    Ok(bytes.to_vec())
}

fn timestamp(time: Option<&DateTime>) -> Timestamp {
    time.and_then(|time| Timestamp::from_second(time.secs()).ok())
        .unwrap_or(Timestamp::UNIX_EPOCH)
}

impl Documents for Aws {
    async fn read(&self, key: &str, known: Option<&ETag>) -> Result<Fetched, AwsError> {
        let request = self.s3().get_object().bucket(&self.state_bucket).key(key);
        let resource = || format!("s3://{}/{key}", self.state_bucket);
        let operation = "s3:GetObject";
        let response = match request.set_if_none_match(known.map(|etag| etag.0.clone())).send().await {
            Ok(response) => response,
            Err(error) if error.raw_response().is_some_and(|raw| raw.status().as_u16() == 304) => {
                return Ok(Fetched::Unchanged);
            }
            Err(error) => {
                return match error.as_service_error() {
                    Some(service) if service.is_no_such_key() => Ok(Fetched::Absent),
                    _ => Err(failed(operation, resource(), &error)),
                };
            }
        };
        let etag = ETag(response.e_tag.unwrap_or_default());
        let body = read_body(response.body, operation, resource).await?;
        Ok(Fetched::Found(body, etag))
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ListedDocument>, AwsError> {
        let mut pages = self
            .s3()
            .list_objects_v2()
            .bucket(&self.state_bucket)
            .prefix(prefix)
            .into_paginator()
            .send();
        let mut documents = Vec::new();
        while let Some(page) = pages.next().await {
            let resource = || format!("s3://{}/{prefix}", self.state_bucket);
            let page = page.map_err(|error| failed("s3:ListBucket", resource(), &error))?;
            let objects = page.contents.into_iter().flatten();
            documents.extend(objects.filter_map(|object| {
                Some(ListedDocument {
                    key: object.key?,
                    etag: ETag(object.e_tag.unwrap_or_default()),
                })
            }));
        }
        Ok(documents)
    }

    async fn earlier_versions(&self, key: &str) -> Result<Vec<Vec<u8>>, AwsError> {
        let resource = || format!("s3://{}/{key}", self.state_bucket);
        let listed = self
            .s3()
            .list_object_versions()
            .bucket(&self.state_bucket)
            .prefix(key)
            .max_keys(MAX_VERSIONS)
            .send()
            .await
            .map_err(|error| failed("s3:ListBucketVersions", resource(), &error))?;
        // S3 lists the versions of a key newest first.
        let versions = listed
            .versions
            .into_iter()
            .flatten()
            .filter(|version| version.key.as_deref() == Some(key));
        let earlier = versions.filter(|version| version.is_latest != Some(true));
        let mut bodies = Vec::new();
        for id in earlier.filter_map(|version| version.version_id) {
            let request = self
                .s3()
                .get_object()
                .bucket(&self.state_bucket)
                .key(key)
                .version_id(id);
            let operation = "s3:GetObjectVersion";
            let response = request
                .send()
                .await
                .map_err(|error| failed(operation, resource(), &error))?;
            bodies.push(read_body(response.body, operation, resource).await?);
        }
        Ok(bodies)
    }

    async fn write(&self, key: &str, body: Vec<u8>, precondition: &Precondition) -> Result<ETag, AwsError> {
        let content_type = if key == POLICY_KEY {
            "application/toml"
        } else if key.rsplit_once('.').is_some_and(|(_, extension)| extension == "html") {
            "text/html; charset=utf-8"
        } else {
            "application/json"
        };
        let request = self
            .s3()
            .put_object()
            .bucket(&self.state_bucket)
            .key(key)
            .content_type(content_type)
            .body(ByteStream::from(body));
        let request = match precondition {
            Precondition::Absent => request.if_none_match("*"),
            Precondition::Unchanged(etag) => request.if_match(&etag.0),
        };
        match request.send().await {
            Ok(response) => Ok(ETag(response.e_tag.unwrap_or_default())),
            Err(error) => {
                let resource = format!("s3://{}/{key}", self.state_bucket);
                let mut failure = failed("s3:PutObject", resource, &error);
                // If-Match on a deleted document: a conflict, as with another writer.
                let vanished = error.as_service_error().and_then(ProvideErrorMetadata::code) == Some("NoSuchKey");
                if vanished && matches!(precondition, Precondition::Unchanged(_)) {
                    failure.kind = Kind::Conflict;
                }
                Err(failure)
            }
        }
    }
}

impl Marks for Aws {
    async fn delete_mark(&self, key: &str) -> Result<(), AwsError> {
        let request = self.s3().delete_object().bucket(&self.state_bucket).key(key);
        let deleted = request.send().await;
        deleted.map_err(|error| failed("s3:DeleteObject", format!("s3://{}/{key}", self.state_bucket), &error))?;
        Ok(())
    }
}

impl Reports for Aws {
    async fn report(&self, bucket: &str, key: &str, limit: u64) -> Result<FetchedObject, AwsError> {
        let operation = "s3:GetObject";
        let resource = || format!("s3://{bucket}/{key}");
        let response = match self.s3().get_object().bucket(bucket).key(key).send().await {
            Ok(response) => response,
            Err(error) => {
                return match error.as_service_error() {
                    Some(service) if service.is_no_such_key() => Ok(FetchedObject::Absent),
                    _ => Err(failed(operation, resource(), &error)),
                };
            }
        };
        let length = u64::try_from(response.content_length.unwrap_or_default()).unwrap_or_default();
        if length > limit {
            return Ok(FetchedObject::TooLarge(length));
        }
        let etag = ETag(response.e_tag.clone().unwrap_or_default());
        let last_modified = timestamp(response.last_modified.as_ref());
        let body = read_body(response.body, operation, resource).await?;
        Ok(FetchedObject::Found(Object {
            body,
            etag,
            last_modified,
        }))
    }
}

impl DatedDocuments for Aws {
    async fn read_dated(&self, key: &str) -> Result<Option<(Vec<u8>, Timestamp)>, AwsError> {
        Ok(match self.report(&self.state_bucket, key, u64::MAX).await? {
            FetchedObject::Found(object) => Some((object.body, object.last_modified)),
            FetchedObject::Absent | FetchedObject::TooLarge(_) => None,
        })
    }
}

impl Datasets for Aws {
    async fn objects(&self, bucket: &str, prefix: &str) -> Result<Vec<ListedObject>, AwsError> {
        let request = self.s3().list_objects_v2().bucket(bucket).prefix(prefix);
        let mut pages = request.into_paginator().send();
        let mut objects = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| failed("s3:ListBucket", format!("s3://{bucket}/{prefix}"), &error))?;
            objects.extend(page.contents.into_iter().flatten().filter_map(|object| {
                Some(ListedObject {
                    key: object.key?,
                    bytes: u64::try_from(object.size.unwrap_or_default()).unwrap_or_default(),
                })
            }));
        }
        Ok(objects)
    }

    async fn part(
        &self,
        bucket: &str,
        key: &str,
        known: Option<&ETag>,
        from: u64,
        bytes: u64,
    ) -> Result<Part, AwsError> {
        let operation = "s3:GetObject";
        let resource = || format!("s3://{bucket}/{key}");
        let range = format!("bytes={from}-{}", from.saturating_add(bytes).saturating_sub(1));
        let request = self.s3().get_object().bucket(bucket).key(key).range(range);
        let request = request.set_if_match(known.map(|etag| etag.0.clone()));
        let response = request
            .send()
            .await
            .map_err(|error| failed(operation, resource(), &error))?;
        let etag = ETag(response.e_tag.clone().unwrap_or_default());
        Ok(Part {
            bytes: read_body(response.body, operation, resource).await?,
            etag,
        })
    }

    async fn store(&self, bucket: &str, key: &str, body: Vec<u8>) -> Result<(), AwsError> {
        let request = self
            .s3()
            .put_object()
            .bucket(bucket)
            .key(key)
            .body(ByteStream::from(body));
        request
            .send()
            .await
            .map_err(|error| failed("s3:PutObject", format!("s3://{bucket}/{key}"), &error))?;
        Ok(())
    }

    async fn store_new(&self, bucket: &str, key: &str, body: Vec<u8>) -> Result<bool, AwsError> {
        let request = self.s3().put_object().bucket(bucket).key(key);
        let request = request.if_none_match("*").body(ByteStream::from(body));
        match request.send().await {
            Ok(_) => Ok(true),
            // 409 means a concurrent write, which may still fail. So only 412 means that the object exists.
            Err(error) if error.raw_response().is_some_and(|raw| raw.status().as_u16() == 412) => Ok(false),
            Err(error) => Err(failed("s3:PutObject", format!("s3://{bucket}/{key}"), &error)),
        }
    }
}

impl Metrics for Aws {
    async fn publish(&self, namespace: &str, metrics: &[Metric]) -> Result<(), AwsError> {
        // CloudWatch's limits on the age of a datapoint (API, `PutMetricData`).
        let now = self.now();
        let oldest = now - SignedDuration::from_hours(14 * 24);
        let newest = now + SignedDuration::from_hours(2);
        let (published, dropped): (Vec<_>, Vec<_>) = metrics
            .iter()
            .partition(|metric| (oldest..=newest).contains(&metric.timestamp));
        if let Some(metric) = dropped.first() {
            tracing::warn!(
                metric.time = %metric.timestamp,
                metric.count = dropped.len(),
                "metrics dropped: CloudWatch rejects times older than two weeks or more than two hours in the future"
            );
        }
        for batch in published.chunks(MAX_METRICS_PER_REQUEST) {
            let data = batch.iter().map(|metric| {
                let dimensions = metric
                    .dimensions
                    .iter()
                    .map(|(name, value)| Dimension::builder().name(name).value(value).build())
                    .collect();
                let unit = match metric.unit {
                    Unit::Count => StandardUnit::Count,
                    Unit::Seconds => StandardUnit::Seconds,
                    Unit::None => StandardUnit::None,
                };
                MetricDatum::builder()
                    .metric_name(metric.name.as_str())
                    .set_dimensions(Some(dimensions))
                    .timestamp(DateTime::from_secs(metric.timestamp.as_second()))
                    .value(metric.value)
                    .unit(unit)
                    .build()
            });
            self.cloudwatch()
                .put_metric_data()
                .namespace(namespace)
                .set_metric_data(Some(data.collect()))
                .send()
                .await
                .map_err(|error| failed("cloudwatch:PutMetricData", namespace, &error))?;
        }
        Ok(())
    }
}

impl MonitorMetrics for Aws {
    async fn publish_monitor(
        &self,
        namespace: &str,
        dimensions: &[(String, String)],
        time: Timestamp,
        metrics: &[AnalysisMetric],
    ) -> Result<(), AwsError> {
        let now = self.now();
        if time < now - SignedDuration::from_hours(14 * 24) || time > now + SignedDuration::from_hours(2) {
            tracing::warn!(
                metric.time = %time,
                metric.count = metrics.len(),
                "metrics dropped: CloudWatch rejects times older than two weeks or more than two hours in the future"
            );
            return Ok(());
        }
        // Column names can contain any character; metric names and dimension values cannot (API, `PutMetricData`).
        let is_valid = |text: &str, limit: usize| text.is_ascii() && !text.trim().is_empty() && text.len() <= limit;
        let (published, dropped): (Vec<_>, Vec<_>) = metrics.iter().partition(|metric| {
            is_valid(&metric.name, 255) && metric.dimensions.iter().all(|(_, value)| is_valid(value, 1024))
        });
        if let Some(metric) = dropped.first() {
            tracing::warn!(metric.name = %metric.name, metric.count = dropped.len(), "metrics dropped: CloudWatch \
                rejects their names");
        }
        for batch in published.chunks(MAX_METRICS_PER_REQUEST) {
            let data = batch.iter().map(|metric| {
                let all = dimensions.iter().chain(&metric.dimensions);
                let all = all.map(|(name, value)| Dimension::builder().name(name).value(value).build());
                let datum = MetricDatum::builder()
                    .metric_name(&metric.name)
                    .set_dimensions(Some(all.collect()))
                    .timestamp(DateTime::from_secs(time.as_second()));
                match metric.value {
                    MetricValue::Value(value) => datum.value(value),
                    MetricValue::StatisticSet {
                        sample_count,
                        sum,
                        minimum,
                        maximum,
                    } => {
                        let set = StatisticSet::builder().sample_count(sample_count).sum(sum);
                        datum.statistic_values(set.minimum(minimum).maximum(maximum).build())
                    }
                }
                .build()
            });
            self.cloudwatch()
                .put_metric_data()
                .namespace(namespace)
                .set_metric_data(Some(data.collect()))
                .send()
                .await
                .map_err(|error| failed("cloudwatch:PutMetricData", namespace, &error))?;
        }
        Ok(())
    }
}

impl EventBus for Aws {
    async fn put(&self, event: &Event) -> Result<(), AwsError> {
        let operation = "events:PutEvents";
        let detail = detail_of(event)?;
        let entry = entry(&self.event_bus, event, detail);
        let response = self
            .eventbridge()
            .put_events()
            .entries(entry)
            .send()
            .await
            .map_err(|error| failed(operation, &self.event_bus, &error))?;
        // Rejected entries are reported with status 200.
        match response.entries().iter().find(|entry| entry.error_code().is_some()) {
            None => Ok(()),
            Some(entry) => Err(AwsError {
                operation,
                resource: self.event_bus.clone(),
                kind: match entry.error_code() {
                    Some("InternalFailure" | "InternalException" | "ThrottlingException") => Kind::Transient,
                    Some("AccessDeniedException" | "NotAuthorizedForSourceException") => Kind::Denied,
                    _ => Kind::Rejected,
                },
                message: [entry.error_code(), entry.error_message()]
                    .into_iter()
                    .flatten()
                    .collect::<Vec<_>>()
                    .join(": "),
            }),
        }
    }
}

/// An entry of `PutEvents` in the X-Ray trace of the current invocation. EventBridge passes the header to the event's targets, so
/// that one trace spans all functions.
fn entry(event_bus: &str, event: &Event, detail: String) -> PutEventsRequestEntry {
    PutEventsRequestEntry::builder()
        .event_bus_name(event_bus)
        .source(event.source())
        .detail_type(event.detail_type())
        .detail(detail)
        .set_trace_header(trace_header())
        .build()
}

impl StateMachines for Aws {
    async fn start_execution(&self, start: &StartStateMachine) -> Result<String, AwsError> {
        let started = self
            .sfn()
            .start_execution()
            .state_machine_arn(&start.state_machine_arn)
            .name(&start.name)
            .input(&start.input)
            .send()
            .await;
        match started {
            Ok(response) => Ok(response.execution_arn),
            // An execution with this name was started and has ended. The name is derived from the incident's token.
            Err(error)
                if error.as_service_error().is_some_and(
                    aws_sdk_sfn::operation::start_execution::StartExecutionError::is_execution_already_exists,
                ) =>
            {
                let execution = start.state_machine_arn.replacen(":stateMachine:", ":execution:", 1);
                Ok(format!("{execution}:{}", start.name))
            }
            Err(error) => Err(failed("states:StartExecution", &start.state_machine_arn, &error)),
        }
    }

    async fn describe_execution(&self, arn: &str) -> Result<Option<PipelineExecution>, AwsError> {
        let described = self
            .sfn()
            .describe_execution()
            .execution_arn(arn)
            .send()
            .await
            .map_err(|error| failed("states:DescribeExecution", arn, &error))?;
        Ok(
            ExecutionStatus::from_state_machine(described.status.as_str()).map(|status| PipelineExecution {
                arn: arn.to_owned(),
                status,
                start_time: Some(seconds(described.start_date.secs())),
                end_time: described.stop_date.map(|time| seconds(time.secs())),
            }),
        )
    }
}

fn seconds(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap_or(Timestamp::UNIX_EPOCH)
}

impl Topics for Aws {
    async fn publish_message(&self, topic: Option<&str>, subject: &str, message: &str) -> Result<(), AwsError> {
        let topic = topic.unwrap_or(&self.topic_arn);
        self.sns()
            .publish()
            .topic_arn(topic)
            .subject(subject)
            .message(message)
            .send()
            .await
            .map_err(|error| failed("sns:Publish", topic, &error))?;
        Ok(())
    }
}

impl Endpoints for Aws {
    async fn invoke_endpoint(
        &self,
        endpoint: &ModelEndpoint,
        content_type: &str,
        accept: &str,
        body: Vec<u8>,
    ) -> Result<Vec<u8>, AwsError> {
        let operation = self.sagemaker_runtime().invoke_endpoint();
        let operation = operation.content_type(content_type).accept(accept).body(body.into());
        let sent = match endpoint {
            ModelEndpoint::Name(name) => operation.endpoint_name(name).send().await,
            ModelEndpoint::Url(url) => {
                let anonymous = aws_sdk_sagemakerruntime::config::Builder::new()
                    .endpoint_url(url)
                    .allow_no_auth();
                let to = url.clone();
                operation
                    // Part of the path that the URL replaces.
                    .endpoint_name("model")
                    .customize()
                    .config_override(anonymous)
                    // An invalid URL already fails as the client's endpoint.
                    .mutate_request(move |request| drop(request.set_uri(to.as_str())))
                    .send()
                    .await
            }
        };
        let answer = sent.map_err(|error| failed("sagemaker:InvokeEndpoint", endpoint.to_string(), &error))?;
        Ok(answer
            .body
            .map(aws_sdk_sagemakerruntime::primitives::Blob::into_inner)
            .unwrap_or_default())
    }
}

impl Clock for Aws {
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }

    async fn within<T>(&self, limit: Duration, work: impl Future<Output = T>) -> Option<T> {
        tokio::time::timeout(limit, work).await.ok()
    }

    fn random(&self, range: Range<u64>) -> u64 {
        fastrand::u64(range)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alerting::MonitorDatapointDrop;
    use machine::invocation::Invocation;

    #[tokio::test]
    async fn event_carries_trace_of_its_invocation() {
        let header = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1";
        let drop = MonitorDatapointDrop {
            monitoring_schedule: "churn-dq".into(),
            scheduled_time: Timestamp::UNIX_EPOCH,
            by: "ada".into(),
            time: Timestamp::UNIX_EPOCH,
            reason: "wrong file".into(),
        };
        let event = Event::DatapointDrop(Box::new(drop));
        let put = || entry("bus", &event, "{}".to_owned());
        let traced = Invocation::new(Some(header.to_owned())).scope(async { put() }).await;
        assert_eq!(traced.trace_header(), Some(header));
        assert_eq!(put().trace_header(), None);
    }
}
