//! The ports: AWS as the functions need it, one trait a concern. A function's bounds say what it may touch.

use crate::AwsError;
use alerting::{AlertStatus, ExecutionWindow, Metric};
use analysis::metric::AnalysisMetric;
use jiff::Timestamp;
use model_dashboard::{LineageArtifact, LineageAssociation, TransformJob};
use remediation::{PipelineExecution, RiskRating, StartPipelineExecution, StartStateMachine};
use std::{collections::BTreeMap, time::Duration};

/// S3's entity tag of an object, as S3 wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ETag(pub String);

/// Under which condition a document may be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Precondition {
    /// `If-None-Match: *`: only if there is none.
    Absent,
    /// `If-Match`: only if it is still this one.
    Unchanged(ETag),
}

/// What a read answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fetched {
    /// There is no such document.
    Absent,
    /// It is still the one that the reader knows.
    Unchanged,
    /// The document.
    Found(Vec<u8>, ETag),
}

/// The documents in the state bucket.
pub trait Documents {
    /// Reads a document, unless it is still the `known` one.
    fn read(&self, key: &str, known: Option<&ETag>) -> impl Future<Output = Result<Fetched, AwsError>>;

    /// The keys of all documents that begin so, in order.
    fn list(&self, prefix: &str) -> impl Future<Output = Result<Vec<String>, AwsError>>;

    /// Earlier versions of a document, the newest first, a few.
    fn earlier(&self, key: &str) -> impl Future<Output = Result<Vec<Vec<u8>>, AwsError>>;

    /// Writes a document if the precondition holds; [`crate::Kind::Conflict`] if it does not.
    fn write(
        &self,
        key: &str,
        body: Vec<u8>,
        precondition: &Precondition,
    ) -> impl Future<Output = Result<ETag, AwsError>>;
}

/// An object that has been read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Its content.
    pub body: Vec<u8>,
    /// Its entity tag.
    pub etag: ETag,
    /// When S3 got it.
    pub last_modified: Timestamp,
}

/// An object that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FetchedObject {
    /// There is none. Only S3's own 404 means this, never a denied access.
    Absent,
    /// It is larger than the limit; nothing was read.
    TooLarge(u64),
    /// The object.
    Found(Object),
}

/// Model Monitor's reports, in any bucket.
pub trait Reports {
    /// Reads an object of at most `limit` bytes.
    fn report(&self, bucket: &str, key: &str, limit: u64) -> impl Future<Output = Result<FetchedObject, AwsError>>;
}

/// An object that was listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedObject {
    /// Its key.
    pub key: String,
    /// Its size.
    pub bytes: u64,
}

/// A part of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The bytes, fewer than asked for at the end of the object.
    pub bytes: Vec<u8>,
    /// The object's entity tag.
    pub etag: ETag,
}

/// The objects of datasets, and the reports of analyses, in any bucket.
pub trait Datasets {
    /// The objects whose keys begin so, in the order of their keys.
    fn objects(&self, bucket: &str, prefix: &str) -> impl Future<Output = Result<Vec<ListedObject>, AwsError>>;

    /// So many bytes of an object, from one on; [`crate::Kind::Conflict`] if it is another one than the `known`.
    fn part(
        &self,
        bucket: &str,
        key: &str,
        known: Option<&ETag>,
        from: u64,
        bytes: u64,
    ) -> impl Future<Output = Result<Part, AwsError>>;

    /// Writes an object, whether there is one or not.
    fn store(&self, bucket: &str, key: &str, body: Vec<u8>) -> impl Future<Output = Result<(), AwsError>>;

    /// Writes an object, but only if there is none (`If-None-Match: *`); says whether it was written.
    fn store_new(&self, bucket: &str, key: &str, body: Vec<u8>) -> impl Future<Output = Result<bool, AwsError>>;
}

/// CloudWatch metrics.
pub trait Metrics {
    /// Publishes metrics, in as many requests as CloudWatch's limits need. Those that CloudWatch would refuse for
    /// their age (older than two weeks, more than two hours ahead) are left out, and said so in the log.
    fn publish(&self, namespace: &str, metrics: &[Metric]) -> impl Future<Output = Result<(), AwsError>>;
}

/// The metrics of an analysis, as Model Monitor publishes them.
pub trait MonitorMetrics {
    /// Publishes the metrics of an execution under the dimensions of its monitor. What CloudWatch would refuse (names
    /// that are not ASCII or too long, times that are too old) is left out, and said so in the log.
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
    /// Puts one event of ours on the bus.
    fn put(&self, detail_type: &str, detail: String) -> impl Future<Output = Result<(), AwsError>>;
}

/// SageMaker's processing jobs.
pub trait ProcessingJobs {
    /// What only the description of a job tells for sure.
    fn describe(&self, name: &str) -> impl Future<Output = Result<DescribedJob, AwsError>>;
}

/// `DescribeProcessingJob`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DescribedJob {
    /// ARN of the job.
    pub arn: String,
    /// `InProgress`, `Completed`, `Failed`, `Stopping` or `Stopped`.
    pub status: String,
    /// The S3 URIs that it writes to.
    pub outputs: Vec<String>,
    /// The container's image.
    pub image: Option<String>,
    /// Why it failed.
    pub failure_reason: Option<String>,
    /// When it ended.
    pub end_time: Option<Timestamp>,
    /// ARN of the monitoring schedule that started the job; `None` for every other job.
    pub monitoring_schedule_arn: Option<String>,
    /// What the container wrote to `/opt/ml/output/message`.
    pub exit_message: Option<String>,
}

/// SageMaker's pipelines.
pub trait Pipelines {
    /// Starts an execution, or finds the one that was started under the same token, and returns its ARN.
    fn start(&self, start: &StartPipelineExecution) -> impl Future<Output = Result<String, AwsError>>;

    /// The parameters that an execution was started with.
    fn parameters(&self, execution_arn: &str) -> impl Future<Output = Result<BTreeMap<String, String>, AwsError>>;

    /// The executions of a pipeline that have not ended, the newest hundred.
    fn in_flight(&self, pipeline: &str) -> impl Future<Output = Result<Vec<RunningExecution>, AwsError>>;

    /// Where an execution stands; `None` for a status that says nothing.
    fn execution(&self, execution_arn: &str) -> impl Future<Output = Result<Option<PipelineExecution>, AwsError>>;
}

/// A run that has not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunningExecution {
    /// Its ARN.
    pub arn: String,
    /// Its display name, or name.
    pub display_name: String,
}

/// Step Functions' state machines, STANDARD ones.
pub trait StateMachines {
    /// Starts an execution, or finds the one that was started under the same name, and returns its ARN.
    fn start_execution(&self, start: &StartStateMachine) -> impl Future<Output = Result<String, AwsError>>;

    /// Where an execution stands.
    fn describe_execution(&self, arn: &str) -> impl Future<Output = Result<Option<PipelineExecution>, AwsError>>;
}

/// SageMaker's model cards.
pub trait ModelCards {
    /// The risk rating of a model card; unknown if there is no such card.
    fn risk_rating(&self, card: &str) -> impl Future<Output = Result<RiskRating, AwsError>>;
}

/// SageMaker's own alerts on monitoring schedules.
pub trait MonitoringAlerts {
    /// What is set on a schedule's first alert; `None` if it has none, or one that can never alert.
    fn monitoring_alert(&self, schedule: &str) -> impl Future<Output = Result<Option<ExecutionWindow>, AwsError>>;

    /// The alert's latest transitions, oldest first, at most a hundred.
    fn monitoring_alert_history(
        &self,
        schedule: &str,
    ) -> impl Future<Output = Result<Vec<(Timestamp, AlertStatus)>, AwsError>>;
}

/// SageMaker's monitoring schedules and their executions.
pub trait MonitoringSchedules {
    /// Every schedule of the account and region.
    fn schedules(&self) -> impl Future<Output = Result<Vec<Schedule>, AwsError>>;

    /// The schedule expression (`cron(0 * ? * * *)`); empty for one that runs once.
    fn schedule_expression(&self, schedule: &str) -> impl Future<Output = Result<String, AwsError>>;

    /// The executions that were scheduled after a time.
    fn executions(
        &self,
        schedule: &str,
        scheduled_after: Timestamp,
    ) -> impl Future<Output = Result<Vec<MonitoringExecution>, AwsError>>;
}

/// `MonitoringScheduleSummary`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// Its name.
    pub name: String,
    /// The monitored endpoint.
    pub endpoint: Option<String>,
    /// `Pending`, `Failed`, `Scheduled` or `Stopped`.
    pub status: String,
    /// When it was created.
    pub created: Timestamp,
}

/// `MonitoringExecutionSummary`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MonitoringExecution {
    /// When it was due.
    pub scheduled_time: Timestamp,
    /// `Pending`, `InProgress`, `Completed`, `CompletedWithViolations`, `Failed`, `Stopping` or `Stopped`.
    pub status: String,
    /// The job that carried it out; none where there were no data.
    pub processing_job_arn: Option<String>,
    /// The monitored endpoint.
    pub endpoint: Option<String>,
    /// Why it failed.
    pub failure_reason: Option<String>,
    /// When it last changed.
    pub last_modified: Timestamp,
}

/// What people put on the bus.
pub trait OperatorBus {
    /// Puts one event of a person's on the bus, under the source [`remediation::OPERATOR_SOURCE`].
    fn put_as_operator(&self, detail_type: &str, detail: String) -> impl Future<Output = Result<(), AwsError>>;
}

/// A model that can be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelEndpoint {
    /// An endpoint of SageMaker Runtime, by its name.
    Name(String),
    /// A URL that takes what an endpoint takes, without credentials: a model on this machine.
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
    /// Asks a model by a POST request of these types (`Content-Type`, `Accept`), and returns the body of its answer.
    fn invoke_endpoint(
        &self,
        endpoint: &ModelEndpoint,
        content_type: &str,
        accept: &str,
        body: Vec<u8>,
    ) -> impl Future<Output = Result<Vec<u8>, AwsError>>;
}

/// A model and an endpoint configuration that put a candidate beside the variants of another configuration, or alone.
#[derive(Debug, Clone, PartialEq)]
pub struct NewEndpointConfig {
    /// Name of the configuration that is extended.
    pub base: String,
    /// Name of the new one.
    pub name: String,
    /// Name of the candidate's model.
    pub model_name: String,
    /// The model package that it is made of.
    pub model_package_arn: String,
    /// The variant of the base whose instances, role and network the candidate's are like.
    pub like: String,
    /// Name of the candidate's variant.
    pub variant_name: String,
    /// The weight of each variant of the new configuration, the candidate's among them unless it is a shadow.
    pub weights: BTreeMap<String, f64>,
    /// Whether the candidate is a shadow variant.
    pub shadow: bool,
}

/// SageMaker's hosting: endpoints, their configurations, and the models in them.
pub trait Hosting {
    /// An endpoint as it is; `None` if there is none.
    fn endpoint(&self, name: &str) -> impl Future<Output = Result<Option<promotion::Endpoint>, AwsError>>;

    /// The model package that a variant of a configuration serves; `None` if its model is of none.
    fn served_package(&self, config: &str, variant: &str) -> impl Future<Output = Result<Option<String>, AwsError>>;

    /// Creates the model and the configuration, as far as they are not there yet.
    fn create_endpoint_config(&self, config: &NewEndpointConfig) -> impl Future<Output = Result<(), AwsError>>;

    /// Gives an endpoint another configuration. Numbers of instances stay as they are, weights become the configuration's.
    fn update_endpoint(
        &self,
        endpoint: &str,
        config: &str,
        blue_green: Option<&promotion::BlueGreen>,
    ) -> impl Future<Output = Result<(), AwsError>>;

    /// Gives the variants of an endpoint other weights.
    fn update_weights(
        &self,
        endpoint: &str,
        weights: &BTreeMap<String, f64>,
    ) -> impl Future<Output = Result<(), AwsError>>;

    /// Deletes a configuration; nothing if there is none.
    fn delete_endpoint_config(&self, name: &str) -> impl Future<Output = Result<(), AwsError>>;

    /// Deletes a model; nothing if there is none.
    fn delete_model(&self, name: &str) -> impl Future<Output = Result<(), AwsError>>;
}

/// A model package as its description has it.
#[derive(Debug, Clone, PartialEq)]
pub struct DescribedModelPackage {
    /// The package, without the metric of the gate.
    pub package: promotion::ModelPackage,
    /// Its group.
    pub group: String,
    /// `Pending`, `InProgress`, `Completed`, `Failed` or `Deleting`.
    pub status: String,
    /// `s3://` URI of its own report of model quality.
    pub model_quality: Option<String>,
    /// When it was registered.
    pub created: Timestamp,
}

/// SageMaker's model registry.
pub trait ModelPackages {
    /// A model package; `None` if there is none.
    fn model_package(&self, arn: &str) -> impl Future<Output = Result<Option<DescribedModelPackage>, AwsError>>;

    /// The ARNs of the newest packages of a group, with when they were registered, the newest first; none if there is no
    /// such group.
    fn newest_packages(&self, group: &str) -> impl Future<Output = Result<Vec<(String, Timestamp)>, AwsError>>;
}

/// What is asked of CloudWatch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricQuery {
    /// The namespace.
    pub namespace: String,
    /// The metric.
    pub metric_name: String,
    /// The dimensions.
    pub dimensions: Vec<(String, String)>,
    /// `Sum`, `SampleCount`, `Average`, `p99`, …
    pub statistic: String,
}

/// Metrics that have been published.
pub trait MetricData {
    /// The values of each query by the beginning of their periods, oldest first, from one time until before another.
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
    /// The most recent job whose name contains a text; `None` if there is none.
    fn latest_transform_job(&self, name_contains: &str)
    -> impl Future<Output = Result<Option<TransformJob>, AwsError>>;
}

/// SageMaker's lineage: which entities contributed to which.
pub trait Lineage {
    /// The entities that a model package, or an endpoint, comes from, and how they belong together; none of what SageMaker has
    /// no lineage of.
    fn lineage(
        &self,
        arn: &str,
    ) -> impl Future<Output = Result<(Vec<LineageArtifact>, Vec<LineageAssociation>), AwsError>>;
}

/// What Model Monitor's schedules are held against.
pub trait MonitoringBaselines {
    /// The schedules that monitor an endpoint, with the folders of their baselines.
    fn monitors_of(&self, endpoint: &str) -> impl Future<Output = Result<Vec<promotion::MonitorBaseline>, AwsError>>;

    /// Holds a schedule against the baseline in a folder: by a job definition like the one that it has, but for that.
    fn hold_against(&self, schedule: &str, baseline_uri: &str) -> impl Future<Output = Result<(), AwsError>>;
}

/// SNS topics.
pub trait Topics {
    /// Publishes a message to a topic; to the deployment's if none is named.
    fn publish_message(
        &self,
        topic: Option<&str>,
        subject: &str,
        message: &str,
    ) -> impl Future<Output = Result<(), AwsError>>;
}

/// What nobody may read in a log.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// A secret.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Parameter Store, and by way of it Secrets Manager.
pub trait Secrets {
    /// The value of a parameter, decrypted.
    fn secret(&self, parameter: &str) -> impl Future<Output = Result<Secret, AwsError>>;
}

/// A POST request to a server outside of AWS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Post {
    /// Its URL.
    pub url: String,
    /// Headers beside `Content-Type: application/json`.
    pub headers: Vec<(&'static str, String)>,
    /// Its body.
    pub body: Vec<u8>,
}

impl Post {
    /// Scheme and host of the URL: its path may be a secret, and is not told.
    pub fn host(&self) -> &str {
        let end = self.url.match_indices('/').nth(2).map_or(self.url.len(), |(at, _)| at);
        self.url.get(..end).unwrap_or_default()
    }
}

/// What a server answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostAnswer {
    /// The status code.
    pub status: u16,
    /// The beginning of the body.
    pub body: String,
}

/// Servers outside of AWS.
pub trait Web {
    /// Sends a request. Any answer is one, whatever its status; redirects are not followed.
    fn post(&self, request: &Post) -> impl Future<Output = Result<PostAnswer, AwsError>>;
}

/// Time.
pub trait Clock {
    /// The time now.
    fn now(&self) -> Timestamp;

    /// Waits.
    fn sleep(&self, duration: Duration) -> impl Future<Output = ()>;
}
