//! The ports: AWS as the functions need it, one trait a concern. A function's bounds say what it may touch.

use crate::AwsError;
use alerting::Metric;
use jiff::Timestamp;
use remediation::StartPipelineExecution;
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

/// CloudWatch metrics.
pub trait Metrics {
    /// Publishes metrics, in as many requests as CloudWatch's limits need. Those that CloudWatch would refuse for
    /// their age (older than two weeks, more than two hours ahead) are left out, and said so in the log.
    fn publish(&self, namespace: &str, metrics: &[Metric]) -> impl Future<Output = Result<(), AwsError>>;
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

/// `DescribeProcessingJob`, as far as events leave it open.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DescribedJob {
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
