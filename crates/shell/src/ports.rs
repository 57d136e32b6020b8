//! The ports: AWS as the functions need it, one trait a concern. A function's bounds say what it may touch.

use crate::AwsError;
use alerting::{AlertStatus, ExecutionWindow, Metric};
use analysis::metric::AnalysisMetric;
use jiff::Timestamp;
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

/// The topic that people listen to.
pub trait Topic {
    /// Publishes a message.
    fn tell(&self, subject: &str, body: &str) -> impl Future<Output = Result<(), AwsError>>;
}

/// Time.
pub trait Clock {
    /// The time now.
    fn now(&self) -> Timestamp;

    /// Waits.
    fn sleep(&self, duration: Duration) -> impl Future<Output = ()>;
}
