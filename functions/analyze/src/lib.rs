#![doc = include_str!("../README.md")]

mod baselines;
pub mod datasets;
mod error;
mod execution;
mod large;

pub use error::AnalyzeError;

use execution::{Executed, Execution};
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

/// So many executions that were missed are made up for, the latest.
const CATCH_UP: usize = 24;
/// So long before the function's deadline nothing new is begun.
const RESERVE: SignedDuration = SignedDuration::from_secs(60);
/// So many executions are remembered.
const REMEMBERED: usize = 24;

/// What the function touches of AWS.
pub trait World: Documents + Datasets + Reports + MonitorMetrics + Endpoints + EventBus + Clock {}

impl<W: Documents + Datasets + Reports + MonitorMetrics + Endpoints + EventBus + Clock> World for W {}

/// The function, configured.
#[derive(Debug, Default)]
pub struct Analyze {
    policy: PolicyStore,
}

/// What is kept of a schedule: `analyses/{schedule}.json` in the state bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct AnalysisDocument {
    version: u32,
    /// Up to this scheduled time every execution has been carried out.
    executed_until: Timestamp,
    /// The latest executions, oldest first.
    executions: Vec<Executed>,
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
    /// Of an EventBridge event.
    #[serde(default)]
    source: Option<String>,
    #[serde(default, rename = "detail-type")]
    detail_type: Option<String>,
    #[serde(default)]
    detail: Option<Box<RawValue>>,
}

impl Request {
    /// The detail of a request for baselines, if it is one.
    fn baselines(&self) -> Option<&RawValue> {
        let ours = self.source.as_deref() == Some(alerting::EVENT_SOURCE)
            && self.detail_type.as_deref() == Some(MODEL_BASELINES_REQUESTED);
        self.detail.as_deref().filter(|_| ours)
    }
}

/// What was done: the function's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Handled {
    /// Executions were carried out, perhaps none.
    Executions {
        /// They, in the order of the policy.
        executions: Vec<Executed>,
        /// How many schedules were left for the next tick, for want of time.
        left: usize,
    },
    /// A partial profile was written.
    Profiled(large::Profiled),
    /// Baselines were asked for.
    Baselines(BaselinesCreated),
}

impl Analyze {
    /// The function as the environment configures it, with the state bucket and the event bus.
    ///
    /// # Errors
    /// If a variable is missing or wrong.
    pub fn from_vars(vars: &Vars<impl Fn(&str) -> Option<String>>) -> Result<(Self, String, String), ConfigError> {
        let state_bucket = vars.bucket("STATE_BUCKET")?;
        let event_bus = vars.required("EVENT_BUS_NAME", "the name of the EventBridge bus")?;
        Ok((Self::default(), state_bucket, event_bus))
    }

    /// Handles one event.
    ///
    /// # Errors
    /// If the event cannot be read, the policy cannot be had, or AWS fails. What is wrong with data or baselines is
    /// told by a failed execution.
    pub async fn handle(
        &self,
        world: &impl World,
        payload: &str,
        deadline: Timestamp,
    ) -> Result<Handled, AnalyzeError> {
        let request: Request = serde_json::from_str(payload).map_err(AnalyzeError::Event)?;
        if let Some(detail) = request.baselines() {
            let request = serde_json::from_str(detail.get()).map_err(AnalyzeError::Baselines)?;
            return baselines::create(world, request).await.map(Handled::Baselines);
        }
        let policy = self.policy.load(world).await.map_err(AnalyzeError::Policy)?;
        let analyses = policy.analyses();
        let named = |name: &str| {
            let found = analyses
                .iter()
                .find(|analysis| analysis.schedule.key() == name.to_ascii_lowercase());
            found.ok_or_else(|| AnalyzeError::Unknown(name.to_owned()))
        };
        if let Some(profile) = request.profile {
            let execution = Execution::new(named(&profile.schedule)?, world.now());
            return large::profile(world, &execution, &profile).await.map(Handled::Profiled);
        }
        if let Some(merge) = request.merge {
            let execution = Execution::new(named(&merge.schedule)?, merge.scheduled_time);
            let executed = large::merge(world, &execution, &merge).await?;
            return Ok(Handled::Executions {
                executions: vec![executed],
                left: 0,
            });
        }
        if let Some(name) = request.schedule {
            let scheduled_time = request.scheduled_time.unwrap_or_else(|| this_hour(world.now()));
            let executed = Execution::new(named(&name)?, scheduled_time).carry_out(world).await?;
            return Ok(Handled::Executions {
                executions: vec![executed],
                left: 0,
            });
        }
        self.tick(world, &analyses, deadline).await
    }

    /// Carries out what is due.
    async fn tick(
        &self,
        world: &impl World,
        analyses: &[AnalysisSchedule],
        deadline: Timestamp,
    ) -> Result<Handled, AnalyzeError> {
        let (mut executions, mut failures, mut left) = (Vec::new(), Vec::new(), 0);
        for analysis in analyses {
            if world.now() > deadline.checked_sub(RESERVE).unwrap_or(deadline) {
                left += 1;
                continue;
            }
            if let Err(error) = due(world, analysis, deadline, &mut executions).await {
                tracing::error!(monitoring_schedule = %analysis.schedule, error = %error, "not analysed");
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

/// The full hour that a time is in.
fn this_hour(time: Timestamp) -> Timestamp {
    let second = time.as_second();
    Timestamp::from_second(second - second.rem_euclid(3600)).unwrap_or(time)
}

/// Carries out the executions of one schedule that are due, oldest first, and notes each.
async fn due(
    world: &impl World,
    analysis: &AnalysisSchedule,
    deadline: Timestamp,
    executions: &mut Vec<Executed>,
) -> Result<(), AnalyzeError> {
    let key = format!("analyses/{}.json", analysis.schedule.key());
    let until = world.now().checked_sub(analysis.delay).unwrap_or(Timestamp::MIN);
    let (mut document, mut etag) = match world.read(&key, None).await? {
        Fetched::Found(body, etag) => {
            let read = serde_json::from_slice::<AnalysisDocument>(&body);
            let document = read.map_err(|source| AnalyzeError::Document {
                key: key.clone(),
                source,
            })?;
            (document, Some(etag))
        }
        Fetched::Absent | Fetched::Unchanged => (first(analysis, until), None),
    };
    let mut due = analysis.expression.due(document.executed_until, until);
    if due.len() > CATCH_UP {
        let missed = due.len() - CATCH_UP;
        tracing::warn!(monitoring_schedule = %analysis.schedule, missed, "executions are too long ago to be made up for");
        due.drain(..missed);
    }
    for scheduled_time in due {
        if world.now() > deadline.checked_sub(RESERVE).unwrap_or(deadline) {
            return Ok(());
        }
        let executed = Execution::new(analysis, scheduled_time).carry_out(world).await?;
        document.executed_until = scheduled_time;
        document.executions.push(executed.clone());
        let excess = document.executions.len().saturating_sub(REMEMBERED);
        document.executions.drain(..excess);
        executions.push(executed);
        match note(world, &key, &document, etag.take()).await? {
            Some(written) => etag = Some(written),
            // Another invocation is at it: it goes on from here.
            None => return Ok(()),
        }
    }
    Ok(())
}

/// Of a schedule that has never been executed only the latest execution is due.
fn first(analysis: &AnalysisSchedule, until: Timestamp) -> AnalysisDocument {
    let day = until.checked_sub(SignedDuration::from_hours(25)).unwrap_or(until);
    let latest = analysis.expression.due(day, until).pop();
    let before = latest.and_then(|latest| latest.checked_sub(SignedDuration::from_secs(1)).ok());
    AnalysisDocument {
        version: 1,
        executed_until: before.unwrap_or(until),
        executions: Vec::new(),
    }
}

/// Writes what is kept of a schedule, unless somebody else has.
async fn note(
    world: &impl World,
    key: &str,
    document: &AnalysisDocument,
    etag: Option<ETag>,
) -> Result<Option<ETag>, AnalyzeError> {
    let body = serde_json::to_vec(document).map_err(|source| AnalyzeError::Document {
        key: key.to_owned(),
        source,
    })?;
    let precondition = etag.map_or(Precondition::Absent, Precondition::Unchanged);
    match world.write(key, body, &precondition).await {
        Ok(etag) => Ok(Some(etag)),
        Err(error) if error.kind == Kind::Conflict => Ok(None),
        Err(error) => Err(error.into()),
    }
}
