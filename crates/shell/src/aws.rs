//! AWS itself behind the ports.

use crate::{
    AwsError, Kind,
    ports::{
        Clock, DescribedJob, Documents, ETag, EventBus, Fetched, FetchedObject, Metrics, Object, Pipelines,
        Precondition, ProcessingJobs, Reports, Topic,
    },
};
use alerting::{Metric, Unit};
use aws_config::{BehaviorVersion, SdkConfig, retry::RetryConfig, timeout::TimeoutConfig};
use aws_sdk_cloudwatch::types::{Dimension, MetricDatum, StandardUnit};
use aws_sdk_eventbridge::types::PutEventsRequestEntry;
use aws_sdk_s3::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
    primitives::{ByteStream, DateTime},
};
use aws_sdk_sagemaker::types::Parameter;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use jiff::{SignedDuration, Timestamp};
use remediation::StartPipelineExecution;
use std::{collections::BTreeMap, sync::OnceLock, time::Duration};

/// The `source` of our events.
const SOURCE: &str = "driftwarden";
/// `PutMetricData` takes no more metrics at once.
const METRICS_A_REQUEST: usize = 1000;

/// The clients, each made when it is first needed: a cold start pays only for those it uses.
#[derive(Debug)]
pub struct Aws {
    config: SdkConfig,
    state_bucket: String,
    event_bus: String,
    topic_arn: String,
    s3: OnceLock<aws_sdk_s3::Client>,
    cloudwatch: OnceLock<aws_sdk_cloudwatch::Client>,
    eventbridge: OnceLock<aws_sdk_eventbridge::Client>,
    sagemaker: OnceLock<aws_sdk_sagemaker::Client>,
    sns: OnceLock<aws_sdk_sns::Client>,
}

impl Aws {
    /// AWS as the environment describes it (region, credentials, `AWS_ENDPOINT_URL`).
    ///
    /// Each attempt has 5 s, each operation with its retries 20 s: a function that times out after 60 s can still say
    /// what failed. Throttling and 5xx are retried by the SDK three times with jitter.
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
        Self {
            config,
            state_bucket: String::new(),
            event_bus: String::new(),
            topic_arn: String::new(),
            s3: OnceLock::new(),
            cloudwatch: OnceLock::new(),
            eventbridge: OnceLock::new(),
            sagemaker: OnceLock::new(),
            sns: OnceLock::new(),
        }
    }

    /// With the bucket that holds the documents.
    #[must_use]
    pub fn with_state_bucket(mut self, name: impl Into<String>) -> Self {
        self.state_bucket = name.into();
        self
    }

    /// With the bus that our events are put on.
    #[must_use]
    pub fn with_event_bus(mut self, name: impl Into<String>) -> Self {
        self.event_bus = name.into();
        self
    }

    /// With the topic that people listen to.
    #[must_use]
    pub fn with_topic(mut self, arn: impl Into<String>) -> Self {
        self.topic_arn = arn.into();
        self
    }

    fn s3(&self) -> &aws_sdk_s3::Client {
        self.s3.get_or_init(|| aws_sdk_s3::Client::new(&self.config))
    }

    fn cloudwatch(&self) -> &aws_sdk_cloudwatch::Client {
        self.cloudwatch
            .get_or_init(|| aws_sdk_cloudwatch::Client::new(&self.config))
    }

    fn eventbridge(&self) -> &aws_sdk_eventbridge::Client {
        self.eventbridge
            .get_or_init(|| aws_sdk_eventbridge::Client::new(&self.config))
    }

    fn sagemaker(&self) -> &aws_sdk_sagemaker::Client {
        self.sagemaker
            .get_or_init(|| aws_sdk_sagemaker::Client::new(&self.config))
    }

    fn sns(&self) -> &aws_sdk_sns::Client {
        self.sns.get_or_init(|| aws_sdk_sns::Client::new(&self.config))
    }
}

/// What the SDK's error means for us.
fn failed<E: ProvideErrorMetadata + std::error::Error + 'static>(
    operation: &'static str,
    resource: impl Into<String>,
    error: &SdkError<E, HttpResponse>,
) -> AwsError {
    let status = error.raw_response().map(|response| response.status().as_u16());
    let code = error.as_service_error().and_then(ProvideErrorMetadata::code);
    let kind = match (status, code) {
        (_, Some("PreconditionFailed" | "ConditionalRequestConflict")) | (Some(409 | 412), _) => Kind::Conflict,
        (_, Some(code))
            if ["Throttl", "TooManyRequests", "LimitExceeded", "SlowDown"]
                .iter()
                .any(|of| code.contains(of)) =>
        {
            Kind::Transient
        }
        (_, Some("ResourceNotFound" | "ResourceNotFoundException" | "NoSuchKey" | "NoSuchBucket")) | (Some(404), _) => {
            Kind::NotFound
        }
        (_, Some("AccessDenied" | "AccessDeniedException")) | (Some(401 | 403), _) => Kind::Denied,
        (Some(400..=499), _) if status != Some(408) && status != Some(429) => Kind::Rejected,
        _ => Kind::Transient,
    };
    AwsError {
        operation,
        resource: resource.into(),
        kind,
        message: chain(error),
    }
}

/// An error and its sources, each once.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
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

/// A body to its end. A connection lost on the way is as transient as one that never was.
async fn whole(body: ByteStream, operation: &'static str, resource: impl Fn() -> String) -> Result<Vec<u8>, AwsError> {
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
        let body = whole(response.body, operation, resource).await?;
        Ok(Fetched::Found(body, etag))
    }

    async fn write(&self, key: &str, body: Vec<u8>, precondition: &Precondition) -> Result<ETag, AwsError> {
        let request = self
            .s3()
            .put_object()
            .bucket(&self.state_bucket)
            .key(key)
            .content_type("application/json")
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
                // If-Match on a document that has been deleted since: as lost as to another writer.
                let vanished = error.as_service_error().and_then(ProvideErrorMetadata::code) == Some("NoSuchKey");
                if vanished && matches!(precondition, Precondition::Unchanged(_)) {
                    failure.kind = Kind::Conflict;
                }
                Err(failure)
            }
        }
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
        let body = whole(response.body, operation, resource).await?;
        Ok(FetchedObject::Found(Object {
            body,
            etag,
            last_modified,
        }))
    }
}

impl Metrics for Aws {
    async fn publish(&self, namespace: &str, metrics: &[Metric]) -> Result<(), AwsError> {
        // CloudWatch's limits on the age of a datapoint (API, `PutMetricData`).
        let now = self.now();
        let oldest = now - SignedDuration::from_hours(14 * 24);
        let newest = now + SignedDuration::from_hours(2);
        let (published, refused): (Vec<_>, Vec<_>) = metrics
            .iter()
            .partition(|metric| (oldest..=newest).contains(&metric.timestamp));
        if let Some(metric) = refused.first() {
            tracing::warn!(
                metric.time = %metric.timestamp,
                metric.count = refused.len(),
                "metrics left out: CloudWatch takes none older than two weeks or more than two hours ahead"
            );
        }
        for batch in published.chunks(METRICS_A_REQUEST) {
            let data = batch.iter().map(|metric| {
                let dimensions = metric
                    .dimensions
                    .iter()
                    .map(|(name, value)| Dimension::builder().name(name).value(value).build())
                    .collect();
                let unit = match metric.unit {
                    Unit::Count => StandardUnit::Count,
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

impl EventBus for Aws {
    async fn put(&self, detail_type: &str, detail: String) -> Result<(), AwsError> {
        let operation = "events:PutEvents";
        let entry = PutEventsRequestEntry::builder()
            .event_bus_name(&self.event_bus)
            .source(SOURCE)
            .detail_type(detail_type)
            .detail(detail)
            .build();
        let response = self
            .eventbridge()
            .put_events()
            .entries(entry)
            .send()
            .await
            .map_err(|error| failed(operation, &self.event_bus, &error))?;
        // A refused entry comes with status 200.
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

impl ProcessingJobs for Aws {
    async fn describe(&self, name: &str) -> Result<DescribedJob, AwsError> {
        let job = self
            .sagemaker()
            .describe_processing_job()
            .processing_job_name(name)
            .send()
            .await
            .map_err(|error| failed("sagemaker:DescribeProcessingJob", name, &error))?;
        Ok(DescribedJob {
            monitoring_schedule_arn: job.monitoring_schedule_arn,
            exit_message: job.exit_message,
        })
    }
}

impl Pipelines for Aws {
    async fn start(&self, start: &StartPipelineExecution) -> Result<String, AwsError> {
        let operation = "sagemaker:StartPipelineExecution";
        let parameters = start
            .parameters
            .iter()
            .map(|(name, value)| Parameter::builder().name(name).value(value).build());
        let response = self
            .sagemaker()
            .start_pipeline_execution()
            .pipeline_name(&start.pipeline)
            .client_request_token(&start.client_request_token)
            .pipeline_execution_display_name(&start.display_name)
            .pipeline_execution_description(&start.description)
            .set_pipeline_parameters(Some(parameters.collect()))
            .send()
            .await
            .map_err(|error| {
                let mut failure = failed(operation, &start.pipeline, &error);
                // SageMaker's own conflict (409) is a run being started under the token: it will have been.
                if failure.kind == Kind::Conflict {
                    failure.kind = Kind::Transient;
                }
                failure
            })?;
        response.pipeline_execution_arn.ok_or_else(|| AwsError {
            operation,
            resource: start.pipeline.clone(),
            kind: Kind::Transient,
            message: "the answer names no execution".into(),
        })
    }

    async fn parameters(&self, execution_arn: &str) -> Result<BTreeMap<String, String>, AwsError> {
        let response = self
            .sagemaker()
            .list_pipeline_parameters_for_execution()
            .pipeline_execution_arn(execution_arn)
            .max_results(100)
            .send()
            .await
            .map_err(|error| failed("sagemaker:ListPipelineParametersForExecution", execution_arn, &error))?;
        let parameters = response.pipeline_parameters.unwrap_or_default();
        Ok(parameters
            .into_iter()
            .filter_map(|parameter| Some((parameter.name?, parameter.value?)))
            .collect())
    }
}

impl Topic for Aws {
    async fn tell(&self, subject: &str, body: &str) -> Result<(), AwsError> {
        self.sns()
            .publish()
            .topic_arn(&self.topic_arn)
            .subject(subject)
            .message(body)
            .send()
            .await
            .map_err(|error| failed("sns:Publish", &self.topic_arn, &error))?;
        Ok(())
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
}
