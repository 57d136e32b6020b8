//! AWS in memory, for tests: the same conditional writes, a clock that only tests move, a log of what was done, and
//! faults on demand.

use crate::{
    AwsError, Kind,
    ports::{
        Clock, DescribedJob, Documents, ETag, EventBus, Fetched, FetchedObject, Metrics, Object, Pipelines,
        Precondition, ProcessingJobs, Reports, Topic,
    },
};
use alerting::Metric;
use jiff::{SignedDuration, Timestamp};
use remediation::StartPipelineExecution;
use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// When a fault strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The operation fails and has done nothing.
    Before(Kind),
    /// The operation has been done, and its answer is lost.
    After,
    /// Another writer changes the document just before this one.
    Overtaken,
}

/// AWS in memory.
#[derive(Debug)]
pub struct Memory {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    now: Timestamp,
    writes: u64,
    documents: BTreeMap<String, (Vec<u8>, ETag)>,
    objects: BTreeMap<String, Result<Object, Kind>>,
    metrics: Vec<Metric>,
    events: Vec<(String, String)>,
    executions: Vec<(StartPipelineExecution, String)>,
    jobs: BTreeMap<String, DescribedJob>,
    messages: Vec<(String, String)>,
    calls: Vec<&'static str>,
    faults: Vec<(&'static str, Fault)>,
}

impl Memory {
    /// An empty world at that time.
    pub fn at(now: Timestamp) -> Self {
        Self {
            inner: Mutex::new(Inner {
                now,
                writes: 0,
                documents: BTreeMap::new(),
                objects: BTreeMap::new(),
                metrics: Vec::new(),
                events: Vec::new(),
                executions: Vec::new(),
                jobs: BTreeMap::new(),
                messages: Vec::new(),
                calls: Vec::new(),
                faults: Vec::new(),
            }),
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves the clock.
    pub fn pass(&self, duration: SignedDuration) {
        let mut inner = self.inner();
        inner.now = inner.now.saturating_add(duration).unwrap_or(Timestamp::MAX);
    }

    /// Puts an object into a bucket, at the time now.
    pub fn put_object(&self, uri: &str, body: impl Into<Vec<u8>>) {
        let mut inner = self.inner();
        inner.writes += 1;
        let object = Object {
            body: body.into(),
            etag: ETag(format!("\"{}\"", inner.writes)),
            last_modified: inner.now,
        };
        inner.objects.insert(uri.to_owned(), Ok(object));
    }

    /// Lets reading an object fail.
    pub fn refuse_object(&self, uri: &str, kind: Kind) {
        self.inner().objects.insert(uri.to_owned(), Err(kind));
    }

    /// Lets `DescribeProcessingJob` know a job.
    pub fn put_job(&self, name: &str, job: DescribedJob) {
        self.inner().jobs.insert(name.to_owned(), job);
    }

    /// Writes a document, whatever was there.
    pub fn put_document(&self, key: &str, body: impl Into<Vec<u8>>) {
        let mut inner = self.inner();
        inner.writes += 1;
        let etag = ETag(format!("\"{}\"", inner.writes));
        inner.documents.insert(key.to_owned(), (body.into(), etag));
    }

    /// A document, as it is now.
    pub fn document(&self, key: &str) -> Option<Vec<u8>> {
        self.inner().documents.get(key).map(|(body, _)| body.clone())
    }

    /// Lets the next call of an operation fail in that way. Several faults of one operation strike in order.
    pub fn fail(&self, operation: &'static str, fault: Fault) {
        self.inner().faults.push((operation, fault));
    }

    /// The metrics published so far.
    pub fn metrics(&self) -> Vec<Metric> {
        self.inner().metrics.clone()
    }

    /// Detail-type and detail of the events put so far.
    pub fn events(&self) -> Vec<(String, String)> {
        self.inner().events.clone()
    }

    /// The pipeline executions started so far, each token once, with their ARNs.
    pub fn executions(&self) -> Vec<(StartPipelineExecution, String)> {
        self.inner().executions.clone()
    }

    /// Subject and body of the messages published so far.
    pub fn messages(&self) -> Vec<(String, String)> {
        self.inner().messages.clone()
    }

    /// The operations called so far, in order.
    pub fn calls(&self) -> Vec<&'static str> {
        self.inner().calls.clone()
    }

    /// Does an operation, unless a fault strikes.
    fn call<T>(
        &self,
        operation: &'static str,
        resource: &str,
        act: impl FnOnce(&mut Inner) -> Result<T, AwsError>,
    ) -> Result<T, AwsError> {
        let mut inner = self.inner();
        inner.calls.push(operation);
        let fault = inner
            .faults
            .iter()
            .position(|(of, _)| *of == operation)
            .map(|at| inner.faults.remove(at).1);
        let error = |kind| AwsError {
            operation,
            resource: resource.to_owned(),
            kind,
            message: "injected".into(),
        };
        match fault {
            Some(Fault::Before(kind)) => Err(error(kind)),
            Some(Fault::After) => {
                act(&mut inner)?;
                Err(error(Kind::Transient))
            }
            Some(Fault::Overtaken) => {
                inner.writes += 1;
                let newer = ETag(format!("\"{}\"", inner.writes));
                if let Some((_, etag)) = inner.documents.get_mut(resource) {
                    *etag = newer;
                }
                act(&mut inner)
            }
            None => act(&mut inner),
        }
    }
}

impl Documents for Memory {
    async fn read(&self, key: &str, known: Option<&ETag>) -> Result<Fetched, AwsError> {
        self.call("s3:GetObject", key, |inner| {
            Ok(match inner.documents.get(key) {
                None => Fetched::Absent,
                Some((_, etag)) if Some(etag) == known => Fetched::Unchanged,
                Some((body, etag)) => Fetched::Found(body.clone(), etag.clone()),
            })
        })
    }

    async fn write(&self, key: &str, body: Vec<u8>, precondition: &Precondition) -> Result<ETag, AwsError> {
        self.call("s3:PutObject", key, |inner| {
            let holds = match (precondition, inner.documents.get(key)) {
                (Precondition::Absent, None) => true,
                (Precondition::Unchanged(expected), Some((_, etag))) => expected == etag,
                _ => false,
            };
            if !holds {
                return Err(AwsError {
                    operation: "s3:PutObject",
                    resource: key.to_owned(),
                    kind: Kind::Conflict,
                    message: "PreconditionFailed".into(),
                });
            }
            inner.writes += 1;
            let etag = ETag(format!("\"{}\"", inner.writes));
            inner.documents.insert(key.to_owned(), (body, etag.clone()));
            Ok(etag)
        })
    }
}

impl Reports for Memory {
    async fn report(&self, bucket: &str, key: &str, limit: u64) -> Result<FetchedObject, AwsError> {
        let uri = format!("s3://{bucket}/{key}");
        self.call("s3:GetObject", &uri, |inner| match inner.objects.get(&uri) {
            None => Ok(FetchedObject::Absent),
            Some(Ok(object)) if object.body.len() as u64 > limit => {
                Ok(FetchedObject::TooLarge(object.body.len() as u64))
            }
            Some(Ok(object)) => Ok(FetchedObject::Found(object.clone())),
            Some(Err(kind)) => Err(AwsError {
                operation: "s3:GetObject",
                resource: uri.clone(),
                kind: *kind,
                message: "refused".into(),
            }),
        })
    }
}

impl Metrics for Memory {
    async fn publish(&self, namespace: &str, metrics: &[Metric]) -> Result<(), AwsError> {
        self.call("cloudwatch:PutMetricData", namespace, |inner| {
            inner.metrics.extend_from_slice(metrics);
            Ok(())
        })
    }
}

impl EventBus for Memory {
    async fn put(&self, detail_type: &str, detail: String) -> Result<(), AwsError> {
        self.call("events:PutEvents", detail_type, |inner| {
            inner.events.push((detail_type.to_owned(), detail));
            Ok(())
        })
    }
}

impl ProcessingJobs for Memory {
    async fn describe(&self, name: &str) -> Result<DescribedJob, AwsError> {
        self.call("sagemaker:DescribeProcessingJob", name, |inner| {
            inner.jobs.get(name).cloned().ok_or_else(|| AwsError {
                operation: "sagemaker:DescribeProcessingJob",
                resource: name.to_owned(),
                kind: Kind::NotFound,
                message: "Could not find requested job".into(),
            })
        })
    }
}

impl Pipelines for Memory {
    async fn start(&self, start: &StartPipelineExecution) -> Result<String, AwsError> {
        self.call("sagemaker:StartPipelineExecution", &start.pipeline, |inner| {
            let known = inner
                .executions
                .iter()
                .find(|(by, _)| by.client_request_token == start.client_request_token);
            if let Some((_, arn)) = known {
                return Ok(arn.clone());
            }
            let number = inner.executions.len() + 1;
            let arn = format!("arn:aws:sagemaker:us-east-1:000000000000:pipeline/retraining/execution/e{number}");
            inner.executions.push((start.clone(), arn.clone()));
            Ok(arn)
        })
    }

    async fn parameters(&self, execution_arn: &str) -> Result<BTreeMap<String, String>, AwsError> {
        self.call("sagemaker:ListPipelineParametersForExecution", execution_arn, |inner| {
            let known = inner.executions.iter().find(|(_, arn)| arn == execution_arn);
            Ok(known.map(|(start, _)| start.parameters.clone()).unwrap_or_default())
        })
    }
}

impl Topic for Memory {
    async fn tell(&self, subject: &str, body: &str) -> Result<(), AwsError> {
        self.call("sns:Publish", subject, |inner| {
            inner.messages.push((subject.to_owned(), body.to_owned()));
            Ok(())
        })
    }
}

impl Clock for Memory {
    fn now(&self) -> Timestamp {
        self.inner().now
    }

    async fn sleep(&self, duration: Duration) {
        self.pass(SignedDuration::try_from(duration).unwrap_or_default());
    }
}
