//! Ports to AWS, one trait per concern. The bounds of a function show which AWS APIs it uses.

use alerting::{AlertStatus, ExecutionWindow, Metric};
use analysis::metric::AnalysisMetric;
use events::Event;
use jiff::Timestamp;
use machine::{AwsError, ETag, Kind};
use model_dashboard::{LineageArtifact, LineageAssociation, TransformJob};
use remediation::{PipelineExecution, RiskRating, StartPipelineExecution, StartStateMachine};
use std::{collections::BTreeMap, time::Duration};

/// Deletion of marks: empty documents in the state bucket whose key says what has to be done.
pub trait Marks {
    /// Deletes a mark, if it exists.
    fn delete_mark(&self, key: &str) -> impl Future<Output = Result<(), AwsError>>;
}

/// Documents whose time matters.
pub trait DatedDocuments {
    /// Reads a document, with the time of its last write as S3 recorded it. `None` if it does not exist.
    fn read_dated(&self, key: &str) -> impl Future<Output = Result<Option<(Vec<u8>, Timestamp)>, AwsError>>;
}

/// An object with its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Content of the object.
    pub body: Vec<u8>,
    /// Entity tag of the object.
    pub etag: ETag,
    /// Time of the last modification.
    pub last_modified: Timestamp,
}

/// Result of reading an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FetchedObject {
    /// The object does not exist: S3 returned 404. Denied access is an error instead.
    Absent,
    /// The object is larger than the limit, and was not read. Contains the size in bytes.
    TooLarge(u64),
    /// The object.
    Found(Object),
}

/// Model Monitor's reports, in any bucket.
pub trait Reports {
    /// Reads an object of at most `limit` bytes.
    fn report(&self, bucket: &str, key: &str, limit: u64) -> impl Future<Output = Result<FetchedObject, AwsError>>;
}

/// An object in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedObject {
    /// Key of the object.
    pub key: String,
    /// Size in bytes.
    pub bytes: u64,
}

/// A part of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Content of the part: shorter than requested at the end of the object.
    pub bytes: Vec<u8>,
    /// Entity tag of the object.
    pub etag: ETag,
}

/// Objects of datasets, and reports of native analyses, in any bucket.
pub trait Datasets {
    /// Lists the objects with this prefix, ordered by key.
    fn objects(&self, bucket: &str, prefix: &str) -> impl Future<Output = Result<Vec<ListedObject>, AwsError>>;

    /// Reads `bytes` bytes of an object, starting at `from`. The error is [`machine::Kind::Conflict`] if the object no longer has the
    /// `known` entity tag.
    fn part(
        &self,
        bucket: &str,
        key: &str,
        known: Option<&ETag>,
        from: u64,
        bytes: u64,
    ) -> impl Future<Output = Result<Part, AwsError>>;

    /// Writes an object, also over an existing one.
    fn store(&self, bucket: &str, key: &str, body: Vec<u8>) -> impl Future<Output = Result<(), AwsError>>;

    /// Writes an object if it does not exist (`If-None-Match: *`). Returns whether it was written.
    fn store_new(&self, bucket: &str, key: &str, body: Vec<u8>) -> impl Future<Output = Result<bool, AwsError>>;
}

/// CloudWatch metrics.
pub trait Metrics {
    /// Publishes metrics, in as many requests as CloudWatch's limits require. Metrics that CloudWatch would reject for their time
    /// (older than two weeks, or more than two hours in the future) are dropped and logged.
    fn publish(&self, namespace: &str, metrics: &[Metric]) -> impl Future<Output = Result<(), AwsError>>;
}

/// Metrics of a native analysis, in the form in which Model Monitor publishes them.
pub trait MonitorMetrics {
    /// Publishes the metrics of an execution with the dimensions of its monitor. Metrics that CloudWatch would reject (names that
    /// are too long or not ASCII, times that are too old) are dropped and logged.
    fn publish_monitor(
        &self,
        namespace: &str,
        dimensions: &[(String, String)],
        time: Timestamp,
        metrics: &[AnalysisMetric],
    ) -> impl Future<Output = Result<(), AwsError>>;
}

/// The event bus.
pub trait EventBus {
    /// Publishes an event with its source.
    fn put(&self, event: &Event) -> impl Future<Output = Result<(), AwsError>>;
}

/// SageMaker's processing jobs.
pub trait ProcessingJobs {
    /// Describes a processing job.
    fn describe(&self, name: &str) -> impl Future<Output = Result<DescribedJob, AwsError>>;
}

/// `DescribeProcessingJob`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DescribedJob {
    /// ARN of the job.
    pub arn: String,
    /// `InProgress`, `Completed`, `Failed`, `Stopping` or `Stopped`.
    pub status: String,
    /// S3 URIs of the job's outputs.
    pub outputs: Vec<String>,
    /// Container image.
    pub image: Option<String>,
    /// `FailureReason`.
    pub failure_reason: Option<String>,
    /// End time. `None` while the job is in progress.
    pub end_time: Option<Timestamp>,
    /// ARN of the monitoring schedule that started the job. `None` for other jobs.
    pub monitoring_schedule_arn: Option<String>,
    /// Content of `/opt/ml/output/message`, written by the container.
    pub exit_message: Option<String>,
}

/// SageMaker's pipelines.
pub trait Pipelines {
    /// Starts an execution and returns its ARN. If one was started with the same token, returns that one's ARN.
    fn start(&self, start: &StartPipelineExecution) -> impl Future<Output = Result<String, AwsError>>;

    /// Parameters with which an execution was started.
    fn parameters(&self, execution_arn: &str) -> impl Future<Output = Result<BTreeMap<String, String>, AwsError>>;

    /// One page of the executions of a pipeline, newest first. `next` continues the list of an earlier page.
    fn executions_of_pipeline(
        &self,
        pipeline: &str,
        next: Option<&str>,
    ) -> impl Future<Output = Result<PipelineExecutionPage, AwsError>>;

    /// Status of an execution. `None` if SageMaker reports an unknown status.
    fn execution(&self, execution_arn: &str) -> impl Future<Output = Result<Option<PipelineExecution>, AwsError>>;
}

/// A pipeline execution in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PipelineExecutionSummary {
    /// Display name of the execution, or its name.
    pub display_name: String,
    /// The execution. SageMaker does not list its end.
    pub execution: PipelineExecution,
}

/// One page of the executions of a pipeline.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PipelineExecutionPage {
    /// The executions.
    pub executions: Vec<PipelineExecutionSummary>,
    /// Token of the next page. `None` on the last page.
    pub next: Option<String>,
}

/// Step Functions' state machines of type STANDARD.
pub trait StateMachines {
    /// Starts an execution and returns its ARN. If one was started with the same name, returns that one's ARN.
    fn start_execution(&self, start: &StartStateMachine) -> impl Future<Output = Result<String, AwsError>>;

    /// Status of an execution.
    fn describe_execution(&self, arn: &str) -> impl Future<Output = Result<Option<PipelineExecution>, AwsError>>;
}

/// CloudWatch alarms: metric alarms, composite alarms, and log alarms.
pub trait Alarms {
    /// One page of the alarms with these names. Alarms that do not exist are missing. `next` continues the list of an earlier page.
    fn describe_alarms(
        &self,
        names: AlarmNames<'_>,
        next: Option<&str>,
    ) -> impl Future<Output = Result<AlarmPage, AwsError>>;
}

/// Names of alarms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AlarmNames<'a> {
    /// These names, at most [`AlarmNames::MAX_LISTED`].
    Listed(&'a [String]),
    /// All names that begin with a text.
    Prefix(&'a str),
}

impl AlarmNames<'_> {
    /// Maximum number of listed names (API, `DescribeAlarms`).
    pub const MAX_LISTED: usize = 100;
}

/// One page of alarms.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AlarmPage {
    /// The alarms.
    pub alarms: Vec<CloudWatchAlarm>,
    /// Token of the next page. `None` on the last page.
    pub next: Option<String>,
}

/// The state of an alarm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloudWatchAlarm {
    /// Name of the alarm.
    pub name: String,
    /// State of the alarm.
    pub status: AlertStatus,
    /// Reason for the state.
    pub reason: String,
    /// Time at which the alarm entered the state.
    pub since: Timestamp,
}

/// SageMaker's model cards.
pub trait ModelCards {
    /// Risk rating of a model card. `Unknown` if the card does not exist.
    fn risk_rating(&self, card: &str) -> impl Future<Output = Result<RiskRating, AwsError>>;
}

/// SageMaker's own alerts on monitoring schedules.
pub trait MonitoringAlerts {
    /// Alert window of a schedule's first alert. `None` if the schedule has no alert, or one that can never be raised.
    fn monitoring_alert(&self, schedule: &str) -> impl Future<Output = Result<Option<ExecutionWindow>, AwsError>>;

    /// Latest transitions of the alert, at most 100, oldest first.
    fn monitoring_alert_history(
        &self,
        schedule: &str,
    ) -> impl Future<Output = Result<Vec<(Timestamp, AlertStatus)>, AwsError>>;
}

/// SageMaker's monitoring schedules and their executions.
pub trait MonitoringSchedules {
    /// Lists all schedules of the account and region.
    fn schedules(&self) -> impl Future<Output = Result<Vec<Schedule>, AwsError>>;

    /// Schedule expression, for example `cron(0 * ? * * *)`. Empty for a schedule that runs once.
    fn schedule_expression(&self, schedule: &str) -> impl Future<Output = Result<String, AwsError>>;

    /// Lists the executions that are scheduled after a time.
    fn executions(
        &self,
        schedule: &str,
        scheduled_after: Timestamp,
    ) -> impl Future<Output = Result<Vec<MonitoringExecution>, AwsError>>;

    /// One page of the executions of all schedules that are scheduled after a time, latest first. `next` continues the list of an
    /// earlier page.
    fn executions_of_all(
        &self,
        scheduled_after: Timestamp,
        next: Option<&str>,
    ) -> impl Future<Output = Result<ExecutionPage, AwsError>>;
}

/// One page of the executions of all schedules.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExecutionPage {
    /// Name of the schedule of each execution, and the execution.
    pub executions: Vec<(String, MonitoringExecution)>,
    /// Token of the next page. `None` on the last page.
    pub next: Option<String>,
}

/// `MonitoringScheduleSummary`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// Name of the schedule.
    pub name: String,
    /// The monitored endpoint.
    pub endpoint: Option<String>,
    /// `Pending`, `Failed`, `Scheduled` or `Stopped`.
    pub status: String,
    /// Creation time.
    pub created: Timestamp,
    /// Time of the last change of the schedule. SageMaker may also change it with an execution.
    pub last_modified: Timestamp,
}

/// `MonitoringExecutionSummary`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MonitoringExecution {
    /// Scheduled time of the execution.
    pub scheduled_time: Timestamp,
    /// `Pending`, `InProgress`, `Completed`, `CompletedWithViolations`, `Failed`, `Stopping` or `Stopped`.
    pub status: String,
    /// ARN of the processing job. `None` if there was no data.
    pub processing_job_arn: Option<String>,
    /// The monitored endpoint.
    pub endpoint: Option<String>,
    /// `FailureReason`.
    pub failure_reason: Option<String>,
    /// Time of the last modification.
    pub last_modified: Timestamp,
}

/// An endpoint that returns predictions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelEndpoint {
    /// Name of a SageMaker endpoint.
    Name(String),
    /// URL that accepts the same requests without credentials, for example a model on this machine.
    Url(String),
}

impl std::fmt::Display for ModelEndpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (Self::Name(text) | Self::Url(text)) = self;
        f.write_str(text)
    }
}

/// Models behind endpoints.
pub trait Endpoints {
    /// Sends a POST request with these types (`Content-Type`, `Accept`) to a model, and returns the body of the response.
    fn invoke_endpoint(
        &self,
        endpoint: &ModelEndpoint,
        content_type: &str,
        accept: &str,
        body: Vec<u8>,
    ) -> impl Future<Output = Result<Vec<u8>, AwsError>>;
}

/// A model and an endpoint configuration that adds a candidate to the variants of another configuration, or serves it alone.
#[derive(Debug, Clone, PartialEq)]
pub struct NewEndpointConfig {
    /// Name of the configuration to extend.
    pub base: String,
    /// Name of the new configuration.
    pub name: String,
    /// Name of the candidate's model.
    pub model_name: String,
    /// ARN of the model package from which the model is created.
    pub model_package_arn: String,
    /// Variant of the base configuration whose instances, role, and network the candidate gets.
    pub template_variant: String,
    /// Name of the candidate's variant.
    pub variant_name: String,
    /// Weight of each variant of the new configuration. Includes the candidate, unless it is a shadow variant.
    pub weights: BTreeMap<String, f64>,
    /// Whether the candidate is a shadow variant.
    pub shadow: bool,
}

/// SageMaker's hosting: endpoints, their configurations, and the models in them.
pub trait Hosting {
    /// Current state of an endpoint. `None` if it does not exist.
    fn endpoint(&self, name: &str) -> impl Future<Output = Result<Option<promotion::Endpoint>, AwsError>>;

    /// Model package that a variant of a configuration serves. `None` if its model was created without one.
    fn served_package(&self, config: &str, variant: &str) -> impl Future<Output = Result<Option<String>, AwsError>>;

    /// Creates the model and the configuration, unless they exist.
    fn create_endpoint_config(&self, config: &NewEndpointConfig) -> impl Future<Output = Result<(), AwsError>>;

    /// Updates an endpoint to another configuration. The numbers of instances stay, the weights are those of the configuration.
    fn update_endpoint(
        &self,
        endpoint: &str,
        config: &str,
        blue_green: Option<&promotion::BlueGreen>,
    ) -> impl Future<Output = Result<(), AwsError>>;

    /// Updates the weights of an endpoint's variants.
    fn update_weights(
        &self,
        endpoint: &str,
        weights: &BTreeMap<String, f64>,
    ) -> impl Future<Output = Result<(), AwsError>>;

    /// Deletes a configuration, if it exists.
    fn delete_endpoint_config(&self, name: &str) -> impl Future<Output = Result<(), AwsError>>;

    /// Deletes a model, if it exists.
    fn delete_model(&self, name: &str) -> impl Future<Output = Result<(), AwsError>>;
}

/// Description of a model package.
#[derive(Debug, Clone, PartialEq)]
pub struct DescribedModelPackage {
    /// The package, without the metric for the quality gate.
    pub package: promotion::ModelPackage,
    /// Model package group.
    pub group: String,
    /// `Pending`, `InProgress`, `Completed`, `Failed` or `Deleting`.
    pub status: String,
    /// `s3://` URI of the model quality report in the package.
    pub model_quality: Option<String>,
    /// Registration time.
    pub created: Timestamp,
}

/// SageMaker's model registry.
pub trait ModelPackages {
    /// Describes a model package. `None` if it does not exist.
    fn model_package(&self, arn: &str) -> impl Future<Output = Result<Option<DescribedModelPackage>, AwsError>>;

    /// ARNs and registration times of the newest packages in a group, newest first. Empty if the group does not exist.
    fn newest_packages(&self, group: &str) -> impl Future<Output = Result<Vec<(String, Timestamp)>, AwsError>>;
}

/// A query for a CloudWatch metric.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricQuery {
    /// Namespace of the metric.
    pub namespace: String,
    /// Name of the metric.
    pub metric_name: String,
    /// Dimensions of the metric.
    pub dimensions: Vec<(String, String)>,
    /// `Sum`, `SampleCount`, `Average`, `p99`, …
    pub statistic: String,
}

/// Published CloudWatch metrics.
pub trait MetricData {
    /// Values of each query with the start of their periods, oldest first, in the time range from `from` (inclusive) to `until`
    /// (exclusive).
    fn metric_data(
        &self,
        queries: &[MetricQuery],
        from: Timestamp,
        until: Timestamp,
        period: Duration,
    ) -> impl Future<Output = Result<Vec<Vec<(Timestamp, f64)>>, AwsError>>;
}

/// SageMaker's batch transform jobs.
pub trait TransformJobs {
    /// The most recent job whose name contains a string. `None` if there is none.
    fn latest_transform_job(&self, name_contains: &str)
    -> impl Future<Output = Result<Option<TransformJob>, AwsError>>;
}

/// SageMaker's lineage.
pub trait Lineage {
    /// Entities from which a model package or an endpoint was created, and their associations. Empty if SageMaker has no lineage
    /// of it.
    fn lineage(
        &self,
        arn: &str,
    ) -> impl Future<Output = Result<(Vec<LineageArtifact>, Vec<LineageAssociation>), AwsError>>;
}

/// Baselines of Model Monitor's schedules.
pub trait MonitoringBaselines {
    /// Schedules that monitor an endpoint, with the folders of their baselines.
    fn monitors_for(&self, endpoint: &str) -> impl Future<Output = Result<Vec<promotion::MonitorBaseline>, AwsError>>;

    /// Changes the baseline of a schedule to a folder, with a copy of its job definition that differs only in the baseline.
    fn set_baseline(&self, schedule: &str, baseline_uri: &str) -> impl Future<Output = Result<(), AwsError>>;
}

/// SNS topics.
pub trait Topics {
    /// Publishes a message to a topic. `None` is the deployment's topic.
    fn publish_message(
        &self,
        topic: Option<&str>,
        subject: &str,
        message: &str,
    ) -> impl Future<Output = Result<(), AwsError>>;
}

/// A secret. Its `Debug` output hides it from logs.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Returns the secret in clear text.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Secrets in Parameter Store, or in Secrets Manager through Parameter Store.
pub trait Secrets {
    /// Decrypted value of a parameter.
    fn secret(&self, parameter: &str) -> impl Future<Output = Result<Secret, AwsError>>;
}

/// A POST request to a server outside AWS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Post {
    /// URL of the request.
    pub url: String,
    /// Headers in addition to `Content-Type: application/json`.
    pub headers: Vec<(&'static str, String)>,
    /// Body of the request.
    pub body: Vec<u8>,
    /// Time limit for the response.
    pub timeout: Duration,
}

impl Post {
    /// Scheme and host of the URL. The path may contain a secret, and is not logged.
    pub fn host(&self) -> &str {
        let end = self.url.match_indices('/').nth(2).map_or(self.url.len(), |(at, _)| at);
        self.url.get(..end).unwrap_or_default()
    }

    /// Removes the path and the query of the URL, and each longer part of them, from a text that is logged or stored. Some servers
    /// repeat them in their responses.
    pub fn redact(&self, text: &str) -> String {
        const MIN_PART_BYTES: usize = 8;
        let path = self.url.get(self.host().len()..).unwrap_or_default();
        let mut redacted = text.replace(&self.url, self.host());
        let parts = path.split(['/', '?', '&', '=', ';', ':']);
        for part in std::iter::once(path)
            .chain(parts)
            .filter(|part| part.len() >= MIN_PART_BYTES)
        {
            redacted = redacted.replace(part, "…");
        }
        redacted
    }
}

/// Response of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostResponse {
    /// HTTP status code.
    pub status: u16,
    /// Start of the response body.
    pub body: String,
}

/// Servers outside AWS.
pub trait Web {
    /// Sends a request. A response with any status is a result, not an error. Redirects are not followed. A response that does not
    /// arrive within the time limit of the request is a transient error. No error contains the path of the URL.
    fn post(&self, request: &Post) -> impl Future<Output = Result<PostResponse, AwsError>>;
}

/// The detail of an event as JSON.
///
/// # Errors
/// If it cannot be written: EventBridge would reject it.
pub fn detail_of(event: &Event) -> Result<String, AwsError> {
    event.detail().map_err(|error| AwsError {
        operation: "events:PutEvents",
        resource: event.detail_type().to_owned(),
        kind: Kind::Rejected,
        message: error.to_string(),
    })
}
