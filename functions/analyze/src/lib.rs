#![doc = include_str!("../README.md")]

mod baselines;
pub mod datasets;
mod error;
mod execution;
mod large;

pub use error::AnalyzeError;

use execution::{Execution, ExecutionRecord};
use jiff::{SignedDuration, Timestamp};
use promotion::{BaselinesCreated, MODEL_BASELINES_REQUESTED};
use remediation::AnalysisSchedule;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use shell::{
    Kind, PolicyStore,
    config::{ConfigError, Vars},
    ports::{Clock, Datasets, Documents, ETag, Endpoints, EventBus, Fetched, MonitorMetrics, Precondition, Reports},
};

/// Maximum number of missed executions that are run later, latest first.
const MAX_CATCH_UP: usize = 24;
/// No new execution is started within this time before the function's deadline.
const RESERVE: SignedDuration = SignedDuration::from_secs(60);
/// Number of latest executions kept in a schedule's document.
const KEPT_EXECUTIONS: usize = 24;

/// AWS APIs that the function uses.
pub trait AnalyzeClients: Documents + Datasets + Reports + MonitorMetrics + Endpoints + EventBus + Clock {}

impl<W: Documents + Datasets + Reports + MonitorMetrics + Endpoints + EventBus + Clock> AnalyzeClients for W {}

/// The `analyze` function.
#[derive(Debug, Default)]
pub struct Analyze {
    policy: PolicyStore,
}

/// Document of a schedule: `analyses/{schedule}.json` in the state bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct AnalysisDocument {
    version: u32,
    /// Scheduled time up to which all executions have run.
    executed_until: Timestamp,
    /// The latest executions, oldest first.
    executions: Vec<ExecutionRecord>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    #[serde(default)]
    schedule: Option<String>,
    #[serde(default)]
    scheduled_time: Option<Timestamp>,
    #[serde(default)]
    profile: Option<large::ProfileRequest>,
    #[serde(default)]
    merge: Option<large::MergeRequest>,
    /// `source` of an EventBridge event.
    #[serde(default)]
    source: Option<String>,
    #[serde(default, rename = "detail-type")]
    detail_type: Option<String>,
    #[serde(default)]
    detail: Option<Box<RawValue>>,
}

impl Request {
    /// Detail of a request for baselines. `None` for other events.
    fn baselines(&self) -> Option<&RawValue> {
        let is_request = self.source.as_deref() == Some(alerting::EVENT_SOURCE)
            && self.detail_type.as_deref() == Some(MODEL_BASELINES_REQUESTED);
        self.detail.as_deref().filter(|_| is_request)
    }
}

/// Outcome of an event: the response of the function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Handled {
    /// Executions were run. There may be none.
    Executions {
        /// The executions, in the order of the policy.
        executions: Vec<ExecutionRecord>,
        /// Number of schedules left for the next tick because the deadline was near.
        left: usize,
    },
    /// A partial profile was written.
    Profiled(large::ProfileRecord),
    /// Baselines were created.
    Baselines(BaselinesCreated),
}

impl Analyze {
    /// Creates the function from environment variables. Also returns the names of the state bucket and the event bus.
    ///
    /// # Errors
    /// If a variable is missing or invalid.
    pub fn from_vars(vars: &Vars<impl Fn(&str) -> Option<String>>) -> Result<(Self, String, String), ConfigError> {
        let state_bucket = vars.bucket("STATE_BUCKET")?;
        let event_bus = vars.required("EVENT_BUS_NAME", "the name of an EventBridge event bus")?;
        Ok((Self::default(), state_bucket, event_bus))
    }

    /// Handles one event.
    ///
    /// # Errors
    /// If the event cannot be parsed, no valid policy is available, or a call to AWS fails. Problems with data or baselines are failed
    /// executions instead.
    pub async fn handle(
        &self,
        clients: &impl AnalyzeClients,
        payload: &str,
        deadline: Timestamp,
    ) -> Result<Handled, AnalyzeError> {
        let request: Request = serde_json::from_str(payload).map_err(AnalyzeError::Event)?;
        if let Some(detail) = request.baselines() {
            let request = serde_json::from_str(detail.get()).map_err(AnalyzeError::Baselines)?;
            return baselines::create(clients, request).await.map(Handled::Baselines);
        }
        let policy = self.policy.load(clients).await.map_err(AnalyzeError::Policy)?;
        let analyses = policy.analyses();
        let find = |name: &str| {
            let found = analyses
                .iter()
                .find(|analysis| analysis.schedule.key() == name.to_ascii_lowercase());
            found.ok_or_else(|| AnalyzeError::Unknown(name.to_owned()))
        };
        if let Some(profile) = request.profile {
            let execution = Execution::new(find(&profile.schedule)?, clients.now());
            return large::profile(clients, &execution, &profile)
                .await
                .map(Handled::Profiled);
        }
        if let Some(merge) = request.merge {
            let execution = Execution::new(find(&merge.schedule)?, merge.scheduled_time);
            let record = large::merge(clients, &execution, &merge).await?;
            return Ok(Handled::Executions {
                executions: vec![record],
                left: 0,
            });
        }
        if let Some(name) = request.schedule {
            let scheduled_time = request.scheduled_time.unwrap_or_else(|| this_hour(clients.now()));
            let record = Execution::new(find(&name)?, scheduled_time).run(clients).await?;
            return Ok(Handled::Executions {
                executions: vec![record],
                left: 0,
            });
        }
        self.tick(clients, &analyses, deadline).await
    }

    /// Runs the executions that are due.
    async fn tick(
        &self,
        clients: &impl AnalyzeClients,
        analyses: &[AnalysisSchedule],
        deadline: Timestamp,
    ) -> Result<Handled, AnalyzeError> {
        let (mut executions, mut failures, mut left) = (Vec::new(), Vec::new(), 0);
        for analysis in analyses {
            if clients.now() > deadline.checked_sub(RESERVE).unwrap_or(deadline) {
                left += 1;
                continue;
            }
            if let Err(error) = run_due(clients, analysis, deadline, &mut executions).await {
                tracing::error!(monitoring_schedule = %analysis.schedule, error = %error, "failed to analyze a monitoring schedule");
                failures.push(error);
            }
        }
        match (failures.len(), failures.pop()) {
            (0, _) | (_, None) => Ok(Handled::Executions { executions, left }),
            (1, Some(error)) if analyses.len() == 1 => Err(error),
            (failed, Some(error)) => Err(AnalyzeError::Some {
                failed,
                all: analyses.len(),
                first: error.to_string(),
            }),
        }
    }
}

/// The full hour of a time.
fn this_hour(time: Timestamp) -> Timestamp {
    let second = time.as_second();
    Timestamp::from_second(second - second.rem_euclid(3600)).unwrap_or(time)
}

/// Runs the due executions of one schedule, oldest first, and records each of them.
async fn run_due(
    clients: &impl AnalyzeClients,
    analysis: &AnalysisSchedule,
    deadline: Timestamp,
    executions: &mut Vec<ExecutionRecord>,
) -> Result<(), AnalyzeError> {
    let key = format!("analyses/{}.json", analysis.schedule.key());
    let until = clients.now().checked_sub(analysis.delay).unwrap_or(Timestamp::MIN);
    let (mut document, mut etag) = match clients.read(&key, None).await? {
        Fetched::Found(body, etag) => {
            let read = serde_json::from_slice::<AnalysisDocument>(&body);
            let document = read.map_err(|source| AnalyzeError::Document {
                key: key.clone(),
                source,
            })?;
            (document, Some(etag))
        }
        Fetched::Absent | Fetched::Unchanged => (first_document(analysis, until), None),
    };
    let mut due = analysis.expression.due(document.executed_until, until);
    if due.len() > MAX_CATCH_UP {
        let missed = due.len() - MAX_CATCH_UP;
        tracing::warn!(monitoring_schedule = %analysis.schedule, missed, "missed executions skipped: they are too old");
        due.drain(..missed);
    }
    for scheduled_time in due {
        if clients.now() > deadline.checked_sub(RESERVE).unwrap_or(deadline) {
            return Ok(());
        }
        let record = Execution::new(analysis, scheduled_time).run(clients).await?;
        document.executed_until = scheduled_time;
        document.executions.push(record.clone());
        let excess = document.executions.len().saturating_sub(KEPT_EXECUTIONS);
        document.executions.drain(..excess);
        executions.push(record);
        match write(clients, &key, &document, etag.take()).await? {
            Some(written) => etag = Some(written),
            // Another invocation runs this schedule, and continues from here.
            None => return Ok(()),
        }
    }
    Ok(())
}

/// Document of a new schedule, of which only the latest execution is due.
fn first_document(analysis: &AnalysisSchedule, until: Timestamp) -> AnalysisDocument {
    let day = until.checked_sub(SignedDuration::from_hours(25)).unwrap_or(until);
    let latest = analysis.expression.due(day, until).pop();
    let before = latest.and_then(|latest| latest.checked_sub(SignedDuration::from_secs(1)).ok());
    AnalysisDocument {
        version: 1,
        executed_until: before.unwrap_or(until),
        executions: Vec::new(),
    }
}

/// Writes the document of a schedule. `None` if another invocation was faster.
async fn write(
    clients: &impl AnalyzeClients,
    key: &str,
    document: &AnalysisDocument,
    etag: Option<ETag>,
) -> Result<Option<ETag>, AnalyzeError> {
    let body = serde_json::to_vec(document).map_err(|source| AnalyzeError::Document {
        key: key.to_owned(),
        source,
    })?;
    let precondition = etag.map_or(Precondition::Absent, Precondition::Unchanged);
    match clients.write(key, body, &precondition).await {
        Ok(etag) => Ok(Some(etag)),
        Err(error) if error.kind == Kind::Conflict => Ok(None),
        Err(error) => Err(error.into()),
    }
}
