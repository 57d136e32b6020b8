//! AWS in memory, for tests: the same conditional writes, a clock that only tests move, a log of all operations, and faults on
//! demand.
//!
//! With [`Memory::interleave`] every operation yields once before and once after it is executed. A test that polls several
//! handlers thereby controls their order, and where one of them stops.
mod alarms;
mod deployment;
mod hosting;
mod lineage;
mod outside;
mod trouble;

pub use trouble::{DocumentWrite, NEWER_FIELD};

use crate::operator::{DeadLetter, DeadLetters, FunctionUrls, Functions};
use crate::ports::{
    CloudWatchAlarm, Datasets, DatedDocuments, DescribedJob, Endpoints, EventBus, ExecutionPage, FetchedObject,
    ListedObject, Marks, Metrics, ModelCards, ModelEndpoint, MonitorMetrics, MonitoringAlerts, MonitoringExecution,
    MonitoringSchedules, Object, Part, PipelineExecutionPage, PipelineExecutionSummary, Pipelines, PostResponse,
    ProcessingJobs, Reports, Schedule, StateMachines, detail_of,
};
use alerting::{AlertStatus, ExecutionWindow, Metric};
use analysis::metric::AnalysisMetric;
use events::Event;
use jiff::{SignedDuration, Timestamp};
use machine::{AwsError, Clock, Documents, ETag, Fetched, Kind, ListedDocument, Precondition};
use remediation::{ExecutionStatus, PipelineExecution, RiskRating, StartPipelineExecution, StartStateMachine};
use std::{
    cmp::Reverse,
    collections::BTreeMap,
    future::poll_fn,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Poll,
    time::Duration,
};

/// Kind of a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The operation fails without effect.
    Before(Kind),
    /// The operation is executed, but its response is lost.
    After,
    /// Another writer changes the document immediately before the operation.
    Overtaken,
    /// The operation is executed: the next fault is injected into a later call.
    Skipped,
}

/// A deliberate bug, which proves that the tests find it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlantedBug {
    /// The idempotency token is dropped: every call starts a pipeline execution.
    DropToken,
    /// Documents are written without their outbox: effects are executed from memory only.
    SkipOutbox,
    /// `If-Match` and `If-None-Match` are ignored.
    LooseETag,
    /// An update of an endpoint is executed again later, without a check whether it is still wanted.
    BlindUpdate,
    /// A start that failed is executed again later, without a check whether it is still wanted.
    FrozenStart,
    /// Decisions use the facts with which an alert began, and not its present facts.
    EdgeFacts,
    /// A deleted policy counts as the default policy.
    FailOpen,
    /// A sweep stops at the first document that cannot be parsed. The simulator stops it.
    StopAtFirst,
    /// Each sweep begins with the same monitors.
    NoRotation,
    /// A list of schedules that fails counts as empty.
    RetireOnError,
    /// Fields of a newer release are dropped when a document is written.
    DropUnknown,
    /// A ledger that was lost continues with its old epoch, and counts its transitions from 1 again.
    SameEpoch,
    /// An approval counts for later decisions, too.
    StaleApproval,
    /// The pause of all models is not read.
    IgnorePause,
    /// The state of the fleet is not written.
    SkipFleet,
}

/// A function behind a URL: maps the body of a request to the response.
#[derive(Clone)]
struct UrlFunction(Arc<dyn Fn(&str) -> PostResponse + Send + Sync>);

impl std::fmt::Debug for UrlFunction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("UrlFunction")
    }
}

/// A model: maps the body of a request to the body of the response.
type Model = fn(&[u8]) -> Vec<u8>;

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
    /// Times of the last writes of documents.
    written: BTreeMap<String, Timestamp>,
    /// Earlier versions of documents, oldest first.
    earlier: BTreeMap<String, Vec<Vec<u8>>>,
    objects: BTreeMap<String, Result<Object, Kind>>,
    metrics: Vec<Metric>,
    monitor_metrics: Vec<AnalysisMetric>,
    events: Vec<(String, String)>,
    executions: Vec<(StartPipelineExecution, String)>,
    /// All pipeline executions by ARN: display name, parameters, and status.
    runs: BTreeMap<String, (String, BTreeMap<String, String>, PipelineExecution)>,
    schedules: Vec<(Schedule, String)>,
    monitoring_executions: BTreeMap<String, Vec<MonitoringExecution>>,
    monitoring_alerts: BTreeMap<String, (ExecutionWindow, Vec<(Timestamp, AlertStatus)>)>,
    risk_ratings: BTreeMap<String, RiskRating>,
    alarms: BTreeMap<String, CloudWatchAlarm>,
    interleaved: bool,
    /// Maximum number of calls per second to SageMaker's `List…` and `Describe…`, and the calls of the current second.
    rate_limit: Option<(u32, i64, u32)>,
    latency: SignedDuration,
    /// Number of throttled calls.
    throttled: usize,
    /// Random generator, and number of calls that fail, per thousand.
    trouble: (fastrand::Rng, u16),
    jitter: fastrand::Rng,
    planted: Option<PlantedBug>,
    jobs: BTreeMap<String, DescribedJob>,
    outside: outside::Outside,
    models: BTreeMap<String, Model>,
    hosted: hosting::HostingState,
    lineage: lineage::LineageState,
    calls: Vec<&'static str>,
    faults: Vec<(&'static str, Fault)>,
    /// Messages of the dead-letter queue, and the time until which each is hidden.
    dead_letters: Vec<(DeadLetter, Timestamp)>,
    invocations: Vec<(String, String)>,
    url_functions: BTreeMap<String, UrlFunction>,
    url_requests: Vec<(String, String)>,
    deployed: deployment::DeploymentState,
    /// Document that is added when the next object is stored.
    put_document_after_store: Option<(String, Vec<u8>)>,
    lasting: trouble::TroubleState,
}

impl Memory {
    /// AWS without any resource, at the time `now`.
    pub fn at(now: Timestamp) -> Self {
        Self {
            inner: Mutex::new(Inner {
                now,
                writes: 0,
                documents: BTreeMap::new(),
                written: BTreeMap::new(),
                earlier: BTreeMap::new(),
                objects: BTreeMap::new(),
                metrics: Vec::new(),
                monitor_metrics: Vec::new(),
                events: Vec::new(),
                executions: Vec::new(),
                runs: BTreeMap::new(),
                schedules: Vec::new(),
                monitoring_executions: BTreeMap::new(),
                monitoring_alerts: BTreeMap::new(),
                risk_ratings: BTreeMap::new(),
                alarms: BTreeMap::new(),
                interleaved: false,
                rate_limit: None,
                latency: SignedDuration::ZERO,
                throttled: 0,
                trouble: (fastrand::Rng::with_seed(0), 0),
                jitter: fastrand::Rng::with_seed(0),
                planted: None,
                jobs: BTreeMap::new(),
                outside: outside::Outside::default(),
                models: BTreeMap::new(),
                hosted: hosting::HostingState::default(),
                lineage: lineage::LineageState::default(),
                calls: Vec::new(),
                faults: Vec::new(),
                dead_letters: Vec::new(),
                invocations: Vec::new(),
                url_functions: BTreeMap::new(),
                url_requests: Vec::new(),
                deployed: deployment::DeploymentState::default(),
                put_document_after_store: None,
                lasting: trouble::TroubleState::default(),
            }),
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves the clock forward.
    pub fn pass(&self, duration: SignedDuration) {
        let mut inner = self.inner();
        inner.now = inner.now.saturating_add(duration).unwrap_or(Timestamp::MAX);
    }

    /// Adds a model behind an endpoint or a URL.
    pub fn put_model(&self, endpoint: &str, model: Model) {
        self.inner().models.insert(endpoint.to_owned(), model);
    }

    /// Adds an object to a bucket, at the current time.
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

    /// Adds a processing job.
    pub fn put_job(&self, name: &str, job: DescribedJob) {
        self.inner().jobs.insert(name.to_owned(), job);
    }

    /// Writes a document unconditionally.
    pub fn put_document(&self, key: &str, body: impl Into<Vec<u8>>) {
        let mut inner = self.inner();
        inner.writes += 1;
        let etag = ETag(format!("\"{}\"", inner.writes));
        let now = inner.now;
        inner.written.insert(key.to_owned(), now);
        let body = body.into();
        inner.note_write(key, Some(&body), false);
        if let Some((before, _)) = inner.documents.insert(key.to_owned(), (body, etag)) {
            inner.earlier.entry(key.to_owned()).or_default().push(before);
        }
    }

    /// Deletes a document. Its versions stay, as in a bucket with versioning.
    pub fn delete_document(&self, key: &str) {
        let mut inner = self.inner();
        inner.note_write(key, None, false);
        if let Some((before, _)) = inner.documents.remove(key) {
            inner.earlier.entry(key.to_owned()).or_default().push(before);
        }
    }

    /// Deletes the earlier versions of a document, as after they expired.
    pub fn expire_versions(&self, key: &str) {
        self.inner().earlier.remove(key);
    }

    /// Current content of a document.
    pub fn document(&self, key: &str) -> Option<Vec<u8>> {
        self.inner().documents.get(key).map(|(body, _)| body.clone())
    }

    /// Injects a fault into the next call of an operation. Several faults of one operation occur in order.
    pub fn fail(&self, operation: &'static str, fault: Fault) {
        self.inner().faults.push((operation, fault));
    }

    /// Current content of an object in any bucket.
    pub fn object(&self, uri: &str) -> Option<Vec<u8>> {
        let object = self.inner().objects.get(uri).cloned();
        object.and_then(Result::ok).map(|object| object.body)
    }

    /// Metrics of native analyses published so far.
    pub fn monitor_metrics(&self) -> Vec<AnalysisMetric> {
        self.inner().monitor_metrics.clone()
    }

    /// Metrics published so far.
    pub fn metrics(&self) -> Vec<Metric> {
        self.inner().metrics.clone()
    }

    /// Detail-type and detail of the events published so far.
    pub fn events(&self) -> Vec<(String, String)> {
        self.inner().events.clone()
    }

    /// Detail-type and detail of the events published after the first `count`.
    pub fn events_after(&self, count: usize) -> Vec<(String, String)> {
        self.inner().events.iter().skip(count).cloned().collect()
    }

    /// Number of pipeline executions so far.
    pub fn execution_count(&self) -> usize {
        self.inner().runs.len()
    }

    /// Number of operations called so far.
    pub fn call_count(&self) -> usize {
        self.inner().calls.len()
    }

    /// Name of the operation called last.
    pub fn last_call(&self) -> Option<&'static str> {
        self.inner().calls.last().copied()
    }

    /// Pipeline executions started so far with their ARNs, one per token.
    pub fn executions(&self) -> Vec<(StartPipelineExecution, String)> {
        self.inner().executions.clone()
    }

    /// Names of the operations called so far, in order.
    pub fn calls(&self) -> Vec<&'static str> {
        self.inner().calls.clone()
    }

    /// Lets every operation yield once before and once after it is executed.
    pub fn interleave(&self) {
        self.inner().interleaved = true;
    }

    /// Lets `per_mille` of a thousand calls fail at random, before or after they are executed.
    pub fn fail_randomly(&self, seed: u64, per_mille: u16) {
        self.inner().trouble = (fastrand::Rng::with_seed(seed), per_mille);
    }

    /// Limits the calls to SageMaker's `List…` and `Describe…`, per second. Further calls are throttled.
    pub fn limit_rate(&self, per_second: u32) {
        self.inner().rate_limit = Some((per_second, 0, 0));
    }

    /// Lets each call to SageMaker take this time. Concurrent calls wait for one another.
    pub fn set_latency(&self, latency: SignedDuration) {
        self.inner().latency = latency;
    }

    /// Number of calls that were throttled so far.
    pub fn throttled(&self) -> usize {
        self.inner().throttled
    }

    /// Activates a planted bug.
    pub fn plant(&self, bug: PlantedBug) {
        self.inner().planted = Some(bug);
    }

    /// Adds a monitoring schedule with its expression, or replaces the schedule with the same name.
    pub fn put_schedule(&self, schedule: Schedule, expression: &str) {
        let mut inner = self.inner();
        inner.schedules.retain(|(known, _)| known.name != schedule.name);
        inner.schedules.push((schedule, expression.to_owned()));
    }

    /// Adds a monitoring execution, or replaces the one with the same scheduled time.
    pub fn put_monitoring_execution(&self, schedule: &str, execution: MonitoringExecution) {
        let mut inner = self.inner();
        let executions = inner.monitoring_executions.entry(schedule.to_lowercase()).or_default();
        executions.retain(|known| known.scheduled_time != execution.scheduled_time);
        executions.push(execution);
    }

    /// Sets a schedule's own alert window and alert history.
    pub fn put_monitoring_alert(
        &self,
        schedule: &str,
        window: ExecutionWindow,
        history: Vec<(Timestamp, AlertStatus)>,
    ) {
        self.inner()
            .monitoring_alerts
            .insert(schedule.to_lowercase(), (window, history));
    }

    /// Sets the risk rating of a model card.
    pub fn put_risk_rating(&self, card: &str, rating: RiskRating) {
        self.inner().risk_ratings.insert(card.to_owned(), rating);
    }

    /// Starts a pipeline execution as an operator would, and returns its ARN.
    pub fn start_manually(&self, display_name: &str, parameters: BTreeMap<String, String>) -> String {
        let mut inner = self.inner();
        let number = inner.runs.len() + 1;
        let arn = format!("{EXECUTION_PREFIX}/hand{number}");
        let execution = executing(&arn, inner.now);
        inner
            .runs
            .insert(arn.clone(), (display_name.to_owned(), parameters, execution));
        arn
    }

    /// Ends a pipeline execution.
    pub fn finish(&self, arn: &str, status: ExecutionStatus) {
        let mut inner = self.inner();
        let now = inner.now;
        if let Some((_, _, execution)) = inner.runs.get_mut(arn) {
            execution.status = status;
            execution.end_time = Some(now);
        }
    }

    /// All pipeline executions with their display names, ordered by ARN.
    pub fn runs(&self) -> Vec<(String, PipelineExecution)> {
        let inner = self.inner();
        inner
            .runs
            .values()
            .map(|(name, _, run)| (name.clone(), run.clone()))
            .collect()
    }

    /// Current time.
    pub fn time(&self) -> Timestamp {
        self.inner().now
    }

    /// Sets the clock.
    pub fn set_time(&self, now: Timestamp) {
        self.inner().now = now;
    }

    /// Keys of all documents.
    pub fn documents(&self) -> Vec<String> {
        self.inner().documents.keys().cloned().collect()
    }

    /// Adds a message to the dead-letter queue.
    pub fn put_dead_letter(&self, letter: DeadLetter) {
        let mut inner = self.inner();
        let now = inner.now;
        inner.dead_letters.push((letter, now));
    }

    /// IDs of the messages in the dead-letter queue, and whether they are visible now.
    pub fn dead_letters(&self) -> Vec<(String, bool)> {
        let inner = self.inner();
        let letters = inner.dead_letters.iter();
        letters
            .map(|(letter, hidden_until)| (letter.id.clone(), *hidden_until <= inner.now))
            .collect()
    }

    /// Functions invoked so far, with their payloads.
    pub fn invocations(&self) -> Vec<(String, String)> {
        self.inner().invocations.clone()
    }

    /// Adds a function behind a URL.
    pub fn put_url_function(&self, url: &str, function: impl Fn(&str) -> PostResponse + Send + Sync + 'static) {
        let function = UrlFunction(Arc::new(function));
        self.inner().url_functions.insert(url.to_owned(), function);
    }

    /// Requests to the URLs of functions so far: URL and body.
    pub fn url_requests(&self) -> Vec<(String, String)> {
        self.inner().url_requests.clone()
    }

    /// Executes an operation, or a fault instead.
    async fn call<T>(
        &self,
        operation: &'static str,
        resource: &str,
        act: impl FnOnce(&mut Inner) -> Result<T, AwsError>,
    ) -> Result<T, AwsError> {
        self.pause().await;
        let result = self.call_at_once(operation, resource, act);
        self.pause().await;
        result
    }

    /// Yields once, if operations are interleaved.
    async fn pause(&self) {
        let mut waited = !self.inner().interleaved;
        poll_fn(|context| {
            if waited {
                return Poll::Ready(());
            }
            waited = true;
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }

    fn call_at_once<T>(
        &self,
        operation: &'static str,
        resource: &str,
        act: impl FnOnce(&mut Inner) -> Result<T, AwsError>,
    ) -> Result<T, AwsError> {
        let mut inner = self.inner();
        inner.calls.push(operation);
        if operation.starts_with("sagemaker:") {
            inner.now = inner.now.saturating_add(inner.latency).unwrap_or(Timestamp::MAX);
        }
        inner.execute_frozen();
        let outage = inner.outage(operation, resource);
        let mut fault = inner
            .faults
            .iter()
            .position(|(faulty, _)| *faulty == operation)
            .map(|at| inner.faults.remove(at).1);
        let (random, per_mille) = &mut inner.trouble;
        if *per_mille > 0 && random.u16(0..1000) < *per_mille {
            let before = Fault::Before(Kind::Transient);
            fault = fault.or(Some(if random.bool() { before } else { Fault::After }));
        }
        let error = |kind| AwsError {
            operation,
            resource: resource.to_owned(),
            kind,
            message: "injected".into(),
        };
        let is_limited = ["sagemaker:List", "sagemaker:Describe"]
            .iter()
            .any(|prefix| operation.starts_with(prefix));
        let second = inner.now.as_second();
        if let Some((limit, current, calls)) = inner.rate_limit.as_mut().filter(|_| is_limited) {
            *calls = if *current == second { *calls + 1 } else { 1 };
            *current = second;
            if *calls > *limit {
                inner.throttled += 1;
                return Err(error(Kind::Transient));
            }
        }
        if let Some(kind) = outage {
            return Err(error(kind));
        }
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
            None | Some(Fault::Skipped) => act(&mut inner),
        }
    }
}

impl Documents for Memory {
    async fn read(&self, key: &str, known: Option<&ETag>) -> Result<Fetched, AwsError> {
        self.call("s3:GetObject", key, |inner| Ok(inner.fetch(key, known)))
            .await
    }

    async fn earlier_versions(&self, key: &str) -> Result<Vec<Vec<u8>>, AwsError> {
        self.call("s3:ListBucketVersions", key, |inner| {
            let earlier = inner.earlier.get(key).into_iter().flatten().rev();
            Ok(earlier.cloned().collect())
        })
        .await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ListedDocument>, AwsError> {
        self.call("s3:ListBucket", prefix, |inner| {
            let documents = inner.documents.iter().filter(|(key, _)| key.starts_with(prefix));
            let listed = documents.map(|(key, (_, etag))| ListedDocument {
                key: key.clone(),
                etag: etag.clone(),
            });
            Ok(listed.collect())
        })
        .await
    }

    async fn write(&self, key: &str, body: Vec<u8>, precondition: &Precondition) -> Result<ETag, AwsError> {
        self.call("s3:PutObject", key, |inner| {
            let loose = inner.planted == Some(PlantedBug::LooseETag);
            let is_met = loose
                || match (precondition, inner.documents.get(key)) {
                    (Precondition::Absent, None) => true,
                    (Precondition::Unchanged(expected), Some((_, etag))) => expected == etag,
                    _ => false,
                };
            if !is_met {
                return Err(AwsError {
                    operation: "s3:PutObject",
                    resource: key.to_owned(),
                    kind: Kind::Conflict,
                    message: "PreconditionFailed".into(),
                });
            }
            inner.writes += 1;
            let etag = ETag(format!("\"{}\"", inner.writes));
            let now = inner.now;
            if let Some(body) = inner.stored(key, body) {
                inner.written.insert(key.to_owned(), now);
                inner.note_write(key, Some(&body), true);
                inner.documents.insert(key.to_owned(), (body, etag.clone()));
            }
            Ok(etag)
        })
        .await
    }
}

impl Marks for Memory {
    async fn delete_mark(&self, key: &str) -> Result<(), AwsError> {
        self.call("s3:DeleteObject", key, |inner| {
            inner.documents.remove(key);
            Ok(())
        })
        .await
    }
}

impl DatedDocuments for Memory {
    async fn read_dated(&self, key: &str) -> Result<Option<(Vec<u8>, Timestamp)>, AwsError> {
        self.call("s3:GetObject", key, |inner| {
            let written = inner.written.get(key).copied().unwrap_or(inner.now);
            Ok(inner.documents.get(key).map(|(body, _)| (body.clone(), written)))
        })
        .await
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
        .await
    }
}

impl Datasets for Memory {
    async fn objects(&self, bucket: &str, prefix: &str) -> Result<Vec<ListedObject>, AwsError> {
        let uri = format!("s3://{bucket}/{prefix}");
        let folder = format!("s3://{bucket}/");
        self.call("s3:ListBucket", &uri, |inner| {
            let found = inner.objects.iter().filter(|(at, _)| at.starts_with(&uri));
            let listed = found.filter_map(|(at, object)| {
                Some(ListedObject {
                    key: at.strip_prefix(&folder)?.to_owned(),
                    bytes: object.as_ref().map_or(0, |object| object.body.len() as u64),
                })
            });
            let mut listed: Vec<_> = listed.collect();
            listed.sort_by(|a, b| a.key.cmp(&b.key));
            Ok(listed)
        })
        .await
    }

    async fn part(
        &self,
        bucket: &str,
        key: &str,
        known: Option<&ETag>,
        from: u64,
        bytes: u64,
    ) -> Result<Part, AwsError> {
        let uri = format!("s3://{bucket}/{key}");
        let failed = |kind, message: &str| AwsError {
            operation: "s3:GetObject",
            resource: uri.clone(),
            kind,
            message: message.to_owned(),
        };
        self.call("s3:GetObject", &uri, |inner| match inner.objects.get(&uri) {
            None => Err(failed(Kind::NotFound, "no such key")),
            Some(Err(kind)) => Err(failed(*kind, "refused")),
            Some(Ok(object)) if known.is_some_and(|known| *known != object.etag) => {
                Err(failed(Kind::Conflict, "the object has changed"))
            }
            Some(Ok(object)) => {
                let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(object.body.len());
                let range = place(from)..place(from.saturating_add(bytes));
                Ok(Part {
                    bytes: object.body.get(range).unwrap_or_default().to_vec(),
                    etag: object.etag.clone(),
                })
            }
        })
        .await
    }

    async fn store(&self, bucket: &str, key: &str, body: Vec<u8>) -> Result<(), AwsError> {
        let uri = format!("s3://{bucket}/{key}");
        self.call("s3:PutObject", &uri, |inner| {
            let object = Object {
                etag: ETag(format!("\"{}\"", body.len())),
                body,
                last_modified: inner.now,
            };
            inner.objects.insert(uri.clone(), Ok(object));
            if let Some((key, body)) = inner.put_document_after_store.take() {
                inner.writes += 1;
                let etag = ETag(format!("\"{}\"", inner.writes));
                inner.documents.insert(key, (body, etag));
            }
            Ok(())
        })
        .await
    }

    async fn store_new(&self, bucket: &str, key: &str, body: Vec<u8>) -> Result<bool, AwsError> {
        let uri = format!("s3://{bucket}/{key}");
        self.call("s3:PutObject", &uri, |inner| {
            if inner.objects.contains_key(&uri) {
                return Ok(false);
            }
            let object = Object {
                etag: ETag(format!("\"{}\"", body.len())),
                body,
                last_modified: inner.now,
            };
            inner.objects.insert(uri.clone(), Ok(object));
            Ok(true)
        })
        .await
    }
}

impl Metrics for Memory {
    async fn publish(&self, namespace: &str, metrics: &[Metric]) -> Result<(), AwsError> {
        self.call("cloudwatch:PutMetricData", namespace, |inner| {
            inner.metrics.extend_from_slice(metrics);
            Ok(())
        })
        .await
    }
}

impl MonitorMetrics for Memory {
    async fn publish_monitor(
        &self,
        namespace: &str,
        _: &[(String, String)],
        _: Timestamp,
        metrics: &[AnalysisMetric],
    ) -> Result<(), AwsError> {
        self.call("cloudwatch:PutMetricData", namespace, |inner| {
            inner.monitor_metrics.extend_from_slice(metrics);
            Ok(())
        })
        .await
    }
}

impl EventBus for Memory {
    async fn put(&self, event: &Event) -> Result<(), AwsError> {
        let detail = detail_of(event)?;
        self.call("events:PutEvents", event.detail_type(), |inner| {
            let detail = inner.published(detail.clone());
            inner.events.push((event.detail_type().to_owned(), detail));
            Ok(())
        })
        .await
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
        .await
    }
}

impl Pipelines for Memory {
    async fn start(&self, start: &StartPipelineExecution) -> Result<String, AwsError> {
        self.call("sagemaker:StartPipelineExecution", &start.pipeline, |inner| {
            if let Some(refusal) = inner.refusal(start) {
                inner.freeze(start);
                return Err(refusal);
            }
            let arn = inner.start_pipeline(start);
            // The SDK sends a request again if no answer comes in time: here, every fourth one.
            if inner.executions.len().is_multiple_of(4) {
                inner.start_pipeline(start);
            }
            Ok(arn)
        })
        .await
    }

    async fn parameters(&self, execution_arn: &str) -> Result<BTreeMap<String, String>, AwsError> {
        self.call("sagemaker:ListPipelineParametersForExecution", execution_arn, |inner| {
            let known = inner.runs.get(execution_arn);
            Ok(known.map(|(_, parameters, _)| parameters.clone()).unwrap_or_default())
        })
        .await
    }

    async fn executions_of_pipeline(
        &self,
        pipeline: &str,
        next: Option<&str>,
    ) -> Result<PipelineExecutionPage, AwsError> {
        self.call("sagemaker:ListPipelineExecutions", pipeline, |inner| {
            let listed = inner
                .runs
                .values()
                .map(|(display_name, _, execution)| PipelineExecutionSummary {
                    display_name: display_name.clone(),
                    execution: PipelineExecution {
                        end_time: None,
                        ..execution.clone()
                    },
                });
            let mut listed: Vec<PipelineExecutionSummary> = listed.collect();
            listed.sort_by_key(|listed| Reverse(listed.execution.start_time));
            let (executions, next) = page_of(&listed, next);
            Ok(PipelineExecutionPage { executions, next })
        })
        .await
    }

    async fn execution(&self, execution_arn: &str) -> Result<Option<PipelineExecution>, AwsError> {
        self.call("sagemaker:DescribePipelineExecution", execution_arn, |inner| {
            let run = inner.runs.get(execution_arn).map(|(_, _, run)| Some(run.clone()));
            run.ok_or_else(|| not_found("sagemaker:DescribePipelineExecution", execution_arn))
        })
        .await
    }
}

impl StateMachines for Memory {
    async fn start_execution(&self, start: &StartStateMachine) -> Result<String, AwsError> {
        self.call("states:StartExecution", &start.state_machine_arn, |inner| {
            let arn = format!("{}:{}", start.state_machine_arn, start.name);
            let execution = executing(&arn, inner.now);
            let run = (start.name.clone(), BTreeMap::new(), execution);
            inner.runs.entry(arn.clone()).or_insert(run);
            Ok(arn)
        })
        .await
    }

    async fn describe_execution(&self, arn: &str) -> Result<Option<PipelineExecution>, AwsError> {
        self.call("states:DescribeExecution", arn, |inner| {
            Ok(inner.runs.get(arn).map(|(_, _, run)| run.clone()))
        })
        .await
    }
}

impl ModelCards for Memory {
    async fn risk_rating(&self, card: &str) -> Result<RiskRating, AwsError> {
        self.call("sagemaker:DescribeModelCard", card, |inner| {
            Ok(inner.risk_ratings.get(card).copied().unwrap_or_default())
        })
        .await
    }
}

impl MonitoringAlerts for Memory {
    async fn monitoring_alert(&self, schedule: &str) -> Result<Option<ExecutionWindow>, AwsError> {
        self.call("sagemaker:ListMonitoringAlerts", schedule, |inner| {
            let alert = inner.monitoring_alerts.get(&schedule.to_lowercase());
            Ok(alert.map(|(window, _)| *window))
        })
        .await
    }

    async fn monitoring_alert_history(&self, schedule: &str) -> Result<Vec<(Timestamp, AlertStatus)>, AwsError> {
        self.call("sagemaker:ListMonitoringAlertHistory", schedule, |inner| {
            let alert = inner.monitoring_alerts.get(&schedule.to_lowercase());
            Ok(alert.map(|(_, history)| history.clone()).unwrap_or_default())
        })
        .await
    }
}

impl MonitoringSchedules for Memory {
    async fn schedules(&self) -> Result<Vec<Schedule>, AwsError> {
        let listed = self.call("sagemaker:ListMonitoringSchedules", "*", |inner| {
            Ok(inner.schedules.iter().map(|(schedule, _)| schedule.clone()).collect())
        });
        match listed.await {
            Err(_) if self.inner().planted == Some(PlantedBug::RetireOnError) => Ok(Vec::new()),
            listed => listed,
        }
    }

    async fn schedule_expression(&self, schedule: &str) -> Result<String, AwsError> {
        self.call("sagemaker:DescribeMonitoringSchedule", schedule, |inner| {
            let known = inner.schedules.iter().find(|(known, _)| known.name == schedule);
            let expression = known.map(|(_, expression)| expression.clone());
            expression.ok_or_else(|| not_found("sagemaker:DescribeMonitoringSchedule", schedule))
        })
        .await
    }

    async fn executions(
        &self,
        schedule: &str,
        scheduled_after: Timestamp,
    ) -> Result<Vec<MonitoringExecution>, AwsError> {
        self.call("sagemaker:ListMonitoringExecutions", schedule, |inner| {
            let executions = inner.monitoring_executions.get(&schedule.to_lowercase());
            let after = executions
                .into_iter()
                .flatten()
                .filter(|execution| execution.scheduled_time > scheduled_after);
            Ok(after.cloned().collect())
        })
        .await
    }

    async fn executions_of_all(
        &self,
        scheduled_after: Timestamp,
        next: Option<&str>,
    ) -> Result<ExecutionPage, AwsError> {
        self.call("sagemaker:ListMonitoringExecutions", "*", |inner| {
            let of_all = inner.monitoring_executions.iter();
            let mut listed: Vec<(String, MonitoringExecution)> = of_all
                .flat_map(|(schedule, executions)| {
                    executions.iter().map(|execution| (schedule.clone(), execution.clone()))
                })
                .filter(|(_, execution)| execution.scheduled_time > scheduled_after)
                .collect();
            listed.sort_by_key(|(_, execution)| Reverse(execution.scheduled_time));
            let (executions, next) = page_of(&listed, next);
            Ok(ExecutionPage { executions, next })
        })
        .await
    }
}

impl FunctionUrls for Memory {
    async fn invoke_url(&self, url: &str, body: String) -> Result<PostResponse, AwsError> {
        let operation = "lambda:InvokeFunctionUrl";
        let function = self
            .call(operation, url, |inner| {
                inner.url_requests.push((url.to_owned(), body.clone()));
                let function = inner.url_functions.get(url).cloned();
                function.ok_or_else(|| not_found(operation, url))
            })
            .await?;
        // Not within the operation, because the function uses this AWS.
        let UrlFunction(function) = function;
        Ok(function(&body))
    }
}

/// Prefix of the ARNs of pipeline executions.
const EXECUTION_PREFIX: &str = "arn:aws:sagemaker:us-east-1:000000000000:pipeline/retraining/execution";

fn executing(arn: &str, now: Timestamp) -> PipelineExecution {
    PipelineExecution {
        arn: arn.to_owned(),
        status: ExecutionStatus::Executing,
        start_time: Some(now),
        end_time: None,
    }
}

/// The page of a list that a token begins, of at most 100 items, and the token of the next page.
fn page_of<T: Clone>(listed: &[T], token: Option<&str>) -> (Vec<T>, Option<String>) {
    let from = token.and_then(|token| token.parse().ok()).unwrap_or_default();
    let until = listed.len().min(usize::saturating_add(from, 100));
    let page = listed.get(from..until).unwrap_or_default().to_vec();
    (page, (until < listed.len()).then(|| until.to_string()))
}

fn not_found(operation: &'static str, resource: &str) -> AwsError {
    AwsError {
        operation,
        resource: resource.to_owned(),
        kind: Kind::NotFound,
        message: "not found".into(),
    }
}

/// A document without its outbox.
fn without_outbox(body: Vec<u8>) -> Vec<u8> {
    let Ok(serde_json::Value::Object(mut document)) = serde_json::from_slice(&body) else {
        return body;
    };
    document.remove("outbox");
    serde_json::to_vec(&document).unwrap_or(body)
}

impl Endpoints for Memory {
    async fn invoke_endpoint(
        &self,
        endpoint: &ModelEndpoint,
        _: &str,
        _: &str,
        body: Vec<u8>,
    ) -> Result<Vec<u8>, AwsError> {
        let name = endpoint.to_string();
        self.call("sagemaker:InvokeEndpoint", &name, |inner| {
            let model = inner.models.get(&name);
            let model = model.ok_or_else(|| AwsError {
                operation: "sagemaker:InvokeEndpoint",
                resource: name.clone(),
                kind: Kind::NotFound,
                message: "no such endpoint".to_owned(),
            })?;
            Ok(model(&body))
        })
        .await
    }
}
impl DeadLetters for Memory {
    async fn receive(&self, queue_url: &str, hidden: Duration) -> Result<Vec<DeadLetter>, AwsError> {
        self.call("sqs:ReceiveMessage", queue_url, |inner| {
            let now = inner.now;
            let hidden = SignedDuration::try_from(hidden).unwrap_or_default();
            let until = now.saturating_add(hidden).unwrap_or(Timestamp::MAX);
            let mut received = Vec::new();
            let seen = inner.dead_letters.iter_mut().filter(|(_, until)| *until <= now);
            for (letter, hidden_until) in seen.take(10) {
                *hidden_until = until;
                letter.receipt = format!("{}/{now}/{}", letter.id, letter.receipt.len());
                received.push(letter.clone());
            }
            Ok(received)
        })
        .await
    }

    async fn delete(&self, queue_url: &str, letter: &DeadLetter) -> Result<(), AwsError> {
        self.call("sqs:DeleteMessage", queue_url, |inner| {
            inner.dead_letters.retain(|(kept, _)| kept.receipt != letter.receipt);
            Ok(())
        })
        .await
    }

    async fn restore(&self, queue_url: &str, letter: &DeadLetter) -> Result<(), AwsError> {
        self.call("sqs:ChangeMessageVisibility", queue_url, |inner| {
            let now = inner.now;
            let kept = inner.dead_letters.iter_mut();
            for (_, hidden_until) in kept.filter(|(kept, _)| kept.receipt == letter.receipt) {
                *hidden_until = now;
            }
            Ok(())
        })
        .await
    }
}
impl Functions for Memory {
    async fn invoke_async(&self, function_arn: &str, payload: String) -> Result<(), AwsError> {
        self.call("lambda:InvokeFunction", function_arn, |inner| {
            inner.invocations.push((function_arn.to_owned(), payload));
            Ok(())
        })
        .await
    }
}

impl Clock for Memory {
    fn now(&self) -> Timestamp {
        self.inner().now
    }

    async fn sleep(&self, duration: Duration) {
        self.pass(SignedDuration::try_from(duration).unwrap_or_default());
    }

    async fn within<T>(&self, limit: Duration, work: impl Future<Output = T>) -> Option<T> {
        let start = self.now();
        let result = work.await;
        let taken = Duration::try_from(self.now().duration_since(start)).unwrap_or_default();
        (taken <= limit).then_some(result)
    }

    fn random(&self, range: Range<u64>) -> u64 {
        self.inner().jitter.u64(range)
    }
}
