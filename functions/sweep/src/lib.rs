#![doc = include_str!("../README.md")]

mod error;

pub use error::SweepError;

use alerting::{AlertStateChange, AlertWindow, ExecutionEvidence, ExecutionStatus, MonitorLedger};
use futures_util::{
    future::join3,
    stream::{self, StreamExt as _},
};
use ingest::{Handled, Ingest, ListedExecution, SweepFound, SweptMonitor, monitor_key};
use jiff::{SignedDuration, Timestamp};
use model_monitor::{ProcessingJobStateChange, ScheduleExpression};
use promotion::BaselineDocument;
use remediate::{Remediate, World as RemediateWorld, model_key};
use remediation::{Input, ModelDocument, MonitorLevel, schedule_key};
use serde::Serialize;
use shell::{
    Loaded, PolicyStore, TurnError,
    config::{ConfigError, Vars},
    load,
    ports::{
        DescribedJob, Documents, Fetched, Metrics, MonitoringAlerts, MonitoringExecution, MonitoringSchedules,
        ProcessingJobs, Reports, Schedule,
    },
    telemetry,
};
use std::collections::{BTreeMap, BTreeSet};
use tracing::Instrument as _;

/// So far back executions are looked for, at least: longer than a day, so that a daily monitor's last one is among them.
const LOOK_BACK: SignedDuration = SignedDuration::from_hours(26);
/// So far back for a schedule that nothing is known of: it may be nobody's.
const LOOK_BACK_UNKNOWN: SignedDuration = SignedDuration::from_hours(7 * 24);
/// Not farther, though: what is older can hardly be in a window.
const LOOK_BACK_AT_MOST: SignedDuration = SignedDuration::from_hours(30 * 24);
/// An execution that is due may start up to 20 minutes late (developer guide), and takes its time to be listed.
const GRACE: SignedDuration = SignedDuration::from_mins(60);
/// How many monitors, and then models, are swept at the same time: SageMaker throttles sooner than it is slow.
const AT_ONCE: usize = 8;
/// After so many jobs that write elsewhere a schedule is taken for somebody else's: one of them may have been a merge.
const FOREIGN_JOBS: usize = 3;
/// How many executions of a monitor a model's verification can need: the longest evaluation period.
const LEVELS: usize = 100;
/// So long before the function's deadline nothing new is begun.
const RESERVE: SignedDuration = SignedDuration::from_secs(60);

/// What the sweep touches of AWS.
pub trait World: RemediateWorld + Reports + Metrics + ProcessingJobs + MonitoringAlerts + MonitoringSchedules {}

impl<W: RemediateWorld + Reports + Metrics + ProcessingJobs + MonitoringAlerts + MonitoringSchedules> World for W {}

/// The function, configured.
#[derive(Debug)]
pub struct Sweep {
    ingest: Ingest,
    remediate: Remediate,
    policy: PolicyStore,
    any_bucket: bool,
}

/// What a sweep did: the function's answer.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Swept {
    /// How many monitors were looked at.
    pub monitors: usize,
    /// How many models were looked at.
    pub models: usize,
    /// How many executions were recorded that no event had told of.
    pub repaired: usize,
    /// How many executions were due and never ran, newly found.
    pub missing: usize,
    /// How many alert windows were restarted, as their baseline changed and no event had told of it.
    pub restarted: usize,
    /// How many alerts were told to models that had not heard of them.
    pub told: usize,
    /// How many monitors and models were left for the next sweep, for want of time.
    pub left: usize,
}

/// One monitor to be swept: its schedule, as SageMaker lists it, and which documents it has.
struct Candidate {
    name: String,
    listed: Option<Schedule>,
    has_ledger: bool,
    /// Whether a promotion ever changed its baseline.
    has_baseline: bool,
}

#[derive(Default)]
struct OfMonitor {
    repaired: usize,
    missing: usize,
    restarted: bool,
    /// Up to this scheduled time the list and the ledger agree.
    compared_until: Option<Timestamp>,
    ledger: Option<(MonitorLedger, MonitorLevel)>,
}

impl Sweep {
    /// The function with those whose work it repeats. `any_bucket` says that every monitor of the account is watched.
    pub fn new(ingest: Ingest, remediate: Remediate, any_bucket: bool) -> Self {
        // One policy for all three: it is read and parsed once.
        let policy = PolicyStore::default();
        Self {
            ingest: ingest.with_policy(policy.clone()),
            remediate: remediate.with_policy(policy.clone()),
            policy,
            any_bucket,
        }
    }

    /// The function as the environment configures it, with the state bucket and the event bus: the variables of ingest
    /// and of remediate.
    ///
    /// # Errors
    /// If a variable is missing or wrong.
    pub fn from_vars(vars: &Vars<impl Fn(&str) -> Option<String>>) -> Result<(Self, String, String), ConfigError> {
        let (ingest, state_bucket, event_bus) = Ingest::from_vars(vars)?;
        let (remediate, _, _) = Remediate::from_vars(vars)?;
        let any_bucket = vars.optional("REPORT_BUCKET").is_none();
        Ok((Self::new(ingest, remediate, any_bucket), state_bucket, event_bus))
    }

    /// One sweep. Begins nothing new shortly before the deadline: what is left is first in a later one.
    ///
    /// # Errors
    /// If something could not be swept; all else has been.
    pub async fn run<W: World>(&self, world: &W, request_id: &str, deadline: Timestamp) -> Result<Swept, SweepError> {
        let policy = self.policy.load(world).await.map_err(SweepError::Policy)?;
        let (schedules, ledgers, baselines) =
            join3(world.schedules(), world.list("monitors/"), world.list("baselines/")).await;
        let mut candidates = candidates(schedules?, &ledgers?, baselines?);
        // Every sweep begins elsewhere, so that the same ones are not always left.
        let turn = usize::try_from(world.now().as_second().div_euclid(60)).unwrap_or_default();
        let begin = turn.checked_rem(candidates.len()).unwrap_or_default();
        candidates.rotate_left(begin);
        let in_time = |world: &W| world.now().saturating_add(RESERVE).is_ok_and(|then| then < deadline);

        let mut swept = Swept::default();
        let mut failures: Vec<String> = Vec::new();
        let mut levels: BTreeMap<String, BTreeMap<String, MonitorLevel>> = BTreeMap::new();
        let mut changes = Vec::new();
        let all = candidates.len();
        let mut monitors = stream::iter(candidates.iter().map(async |candidate| {
            if !in_time(world) {
                return (candidate, None);
            }
            let named = policy.names(&candidate.name) || self.any_bucket;
            let about = telemetry::about(None, Some(&candidate.name), None);
            let swept = Box::pin(self.monitor(world, candidate, named, request_id))
                .instrument(about)
                .await;
            (candidate, Some(swept))
        }))
        .buffer_unordered(AT_ONCE);
        while let Some((candidate, of)) = monitors.next().await {
            match of {
                None => swept.left += 1,
                Some(Ok(of)) => {
                    swept.monitors += 1;
                    swept.repaired += of.repaired;
                    swept.missing += of.missing;
                    swept.restarted += usize::from(of.restarted);
                    if let Some((ledger, level)) = of.ledger {
                        let of_model = levels.entry(ledger.monitor.model.clone()).or_default();
                        of_model.insert(schedule_key(&ledger.monitor.schedule), level);
                        let sent = |id: &str| ledger.outbox.entries().iter().all(|entry| entry.id != id);
                        changes.extend(ledger.last_change.as_deref().filter(|change| sent(&change.id)).cloned());
                    }
                }
                Some(Err(error)) => {
                    tracing::error!(monitoring_schedule = %candidate.name, error = %error, "monitor not swept");
                    failures.push(format!("monitor {}: {error}", candidate.name));
                }
            }
        }

        self.tell(world, changes, &mut swept, &mut failures, request_id).await?;
        let models = world.list("models/").await?;
        let models: Vec<&str> = models.iter().filter_map(|key| name_of(key, "models/")).collect();
        let mut sweeps = stream::iter(models.iter().map(async |model| {
            if !in_time(world) {
                return (model, None);
            }
            let levels = levels.get(*model).cloned().unwrap_or_default();
            let swept = Box::pin(self.remediate.sweep(world, model, levels, request_id)).await;
            (model, Some(swept))
        }))
        .buffer_unordered(AT_ONCE);
        while let Some((model, of)) = sweeps.next().await {
            match of {
                None => swept.left += 1,
                Some(Ok(())) => swept.models += 1,
                Some(Err(error)) => {
                    tracing::error!(model, error = %error, "model not swept");
                    failures.push(format!("model {model}: {error}"));
                }
            }
        }
        tracing::info!(
            monitors = swept.monitors,
            models = swept.models,
            repaired = swept.repaired,
            missing = swept.missing,
            restarted = swept.restarted,
            told = swept.told,
            left = swept.left,
            failed = failures.len(),
            "swept"
        );
        let failed = failures.len();
        match failures.into_iter().next() {
            None => Ok(swept),
            Some(first) => Err(SweepError::Some {
                failed,
                all: all + models.len(),
                first,
            }),
        }
    }

    /// Tells models the alerts that they have not heard of.
    async fn tell<W: World>(
        &self,
        world: &W,
        changes: Vec<AlertStateChange>,
        swept: &mut Swept,
        failures: &mut Vec<String>,
        request_id: &str,
    ) -> Result<(), SweepError> {
        for change in changes {
            let loaded = load::<ModelDocument>(world, &model_key(&change.model)).await?;
            let known = loaded
                .document()
                .and_then(|document| document.alerts.get(&schedule_key(&change.monitoring_schedule)));
            if known.is_some_and(|known| known.transition >= change.transition) {
                continue;
            }
            let model = change.model.clone();
            match self
                .remediate
                .take(world, model.clone(), Input::Alert(Box::new(change)), request_id)
                .await
            {
                Ok(_) => swept.told += 1,
                Err(error) => {
                    tracing::error!(model = %model, error = %error, "the model could not be told");
                    failures.push(format!("model {model}: {error}"));
                }
            }
        }
        Ok(())
    }

    async fn monitor<W: World>(
        &self,
        world: &W,
        candidate: &Candidate,
        named: bool,
        request_id: &str,
    ) -> Result<OfMonitor, SweepError> {
        let mut of = OfMonitor::default();
        let changed_at = if candidate.has_baseline {
            baseline_changed_at(world, &candidate.name).await?
        } else {
            None
        };
        let mut known = None;
        if let Some(schedule) = &candidate.listed {
            let loaded = self
                .compare(world, schedule, named, changed_at, &mut of, request_id)
                .await?;
            // What was repaired is in a newer one.
            known = Some(loaded).filter(|_| of.repaired + of.missing == 0 && !of.restarted);
        }
        // A monitor whose ledger has just been begun is judged already, yet its model has not heard of it.
        if candidate.has_ledger || of.repaired + of.missing > 0 {
            let found = SweepFound {
                compared_until: of.compared_until,
                baseline_changed_at: changed_at,
            };
            let swept = self.ingest.sweep(world, &candidate.name, known, found, request_id);
            let ledger = swept.await?;
            of.restarted |= ledger.as_ref().is_some_and(|swept| swept.restarted);
            of.ledger = ledger.map(|SweptMonitor { ledger, rules, .. }| {
                let level = MonitorLevel {
                    judged: ledger.judged(&rules).take(LEVELS).collect(),
                    evaluation_period: match ledger.window(&rules) {
                        AlertWindow::Executions(window) => window.evaluation_period(),
                        AlertWindow::Time { window, .. } => window.evaluation_periods(),
                    },
                };
                (ledger, level)
            });
        }
        Ok(of)
    }

    /// Compares SageMaker's list, and the schedule's expression, with the ledger, and returns the ledger that it read.
    async fn compare<W: World>(
        &self,
        world: &W,
        schedule: &Schedule,
        named: bool,
        changed_at: Option<Timestamp>,
        of: &mut OfMonitor,
        request_id: &str,
    ) -> Result<Loaded<MonitorLedger>, SweepError> {
        let loaded = load::<MonitorLedger>(world, &monitor_key(&schedule.name)).await?;
        let ledger = loaded.document();
        // First of all: executions of before the change are not to alert once more.
        if let (Some(ledger), Some(at)) = (ledger, changed_at)
            && ledger.restarted_at < changed_at
        {
            let handled = self.ingest.restart(world, &schedule.name, at, request_id).await?;
            of.restarted |= matches!(handled, Handled::Restarted { .. });
        }
        let now = world.now();
        let after = look_back(ledger, schedule.created, now);
        let mut executions = world.executions(&schedule.name, after).await?;
        executions.sort_by_key(|execution| execution.scheduled_time);
        let datapoint = |hour: Timestamp| {
            let mut datapoints = ledger.into_iter().flat_map(|ledger| &ledger.datapoints);
            datapoints.find(|datapoint| datapoint.scheduled_time == hour)
        };
        let mut ours = ledger.is_some() || named;
        let until = now.saturating_sub(GRACE).unwrap_or(Timestamp::MIN);
        let mut compared_until = until;
        let mut foreign = 0;
        for execution in &executions {
            let hour = full_hour(execution.scheduled_time);
            let Some(status) = ExecutionStatus::parse(&execution.status) else {
                // Still at work: from here on it is compared again.
                compared_until = compared_until.min(hour);
                continue;
            };
            if datapoint(hour).is_some_and(|datapoint| !is_news(status, &datapoint.evidence)) {
                continue;
            }
            let handled = self
                .repair(world, schedule, execution, status, hour, ours, request_id)
                .await?;
            ours |= handled;
            of.repaired += usize::from(handled);
            foreign += usize::from(!ours && execution.processing_job_arn.is_some());
            if foreign >= FOREIGN_JOBS {
                tracing::debug!(monitoring_schedule = %schedule.name, "its jobs write where nobody watches");
                return Ok(loaded);
            }
        }
        // Only of what had a ledger before: a new one is compared from the schedule's first hour on.
        of.compared_until = ledger.map(|_| compared_until);
        if !ours || schedule.status != "Scheduled" {
            return Ok(loaded);
        }
        let expression = world.schedule_expression(&schedule.name).await?;
        let Some(expression) = ScheduleExpression::parse(&expression) else {
            tracing::debug!(monitoring_schedule = %schedule.name, expression, "no expression that says when it is due");
            return Ok(loaded);
        };
        for hour in expression.due(after, until) {
            let listed = executions
                .iter()
                .any(|execution| full_hour(execution.scheduled_time) == hour);
            if listed || datapoint(hour).is_some() || hour < schedule.created {
                continue;
            }
            let never_ran = ListedExecution {
                schedule: &schedule.name,
                endpoint: schedule.endpoint.as_deref(),
                scheduled_time: hour,
                evidence: None,
            };
            self.ingest.handle_execution(world, never_ran, request_id).await?;
            of.missing += 1;
        }
        Ok(loaded)
    }

    /// Records an execution that no event told of; whether it is one of a monitor that is watched.
    #[expect(
        clippy::too_many_arguments,
        reason = "what is known of one execution, from three sources"
    )]
    async fn repair<W: World>(
        &self,
        world: &W,
        schedule: &Schedule,
        execution: &MonitoringExecution,
        status: ExecutionStatus,
        hour: Timestamp,
        ours: bool,
        request_id: &str,
    ) -> Result<bool, SweepError> {
        let (mut told, mut settled) = (false, false);
        if let Some(arn) = &execution.processing_job_arn {
            let name = arn.rsplit('/').next().unwrap_or(arn);
            let job = state_change(name, world.describe(name).await?, arn);
            let handled = self.ingest.handle_job(world, job, request_id).await?;
            told = matches!(handled, Handled::Recorded { .. } | Handled::Duplicate { .. });
            // A job that merges, or that failed, does not tell all; one that told nothing new leaves it to the list.
            settled = matches!(handled, Handled::Recorded { .. })
                && !matches!(status, ExecutionStatus::Failed | ExecutionStatus::Stopped);
        }
        // What writes elsewhere is nobody's here.
        if settled || !(told || ours) {
            return Ok(told);
        }
        let listed = ListedExecution {
            schedule: &schedule.name,
            endpoint: execution.endpoint.as_deref().or(schedule.endpoint.as_deref()),
            scheduled_time: hour,
            evidence: Some(ExecutionEvidence {
                status,
                reason: execution.failure_reason.clone(),
                last_modified: execution.last_modified,
            }),
        };
        self.ingest.handle_execution(world, listed, request_id).await?;
        Ok(true)
    }
}

/// Whether the list says more than what is known: nothing was, or what failed or had violations was taken for clean.
fn is_news(status: ExecutionStatus, known: &alerting::Evidence) -> bool {
    let unknown = known.report.is_none() && known.job.is_none() && known.execution.is_none();
    let taken_for_clean = known.state() == alerting::DatapointState::Clean && status != ExecutionStatus::Completed;
    unknown || taken_for_clean
}

/// From when on executions are looked for: from where the ledger is known to be complete.
fn look_back(ledger: Option<&MonitorLedger>, created: Timestamp, now: Timestamp) -> Timestamp {
    let before = |duration: SignedDuration| now.saturating_sub(duration).unwrap_or(Timestamp::MIN);
    let from = match ledger {
        None => before(LOOK_BACK_UNKNOWN),
        Some(ledger) => ledger.compared_until.unwrap_or(created).min(before(LOOK_BACK)),
    };
    from.max(before(LOOK_BACK_AT_MOST))
        .max(created.saturating_sub(SignedDuration::from_hours(1)).unwrap_or(created))
}

fn full_hour(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second().div_euclid(3600) * 3600).unwrap_or(time)
}

/// When the baseline of a monitor last changed.
async fn baseline_changed_at(world: &impl Documents, schedule: &str) -> Result<Option<Timestamp>, SweepError> {
    let key = BaselineDocument::key(schedule);
    match world.read(&key, None).await? {
        Fetched::Absent | Fetched::Unchanged => Ok(None),
        Fetched::Found(body, _) => {
            let document: BaselineDocument =
                serde_json::from_slice(&body).map_err(|source| TurnError::Unreadable { key, source })?;
            Ok(Some(document.change.time))
        }
    }
}

fn candidates(schedules: Vec<Schedule>, ledgers: &[String], baselines: Vec<String>) -> Vec<Candidate> {
    let baselines: BTreeSet<String> = baselines.into_iter().collect();
    let has_baseline = |name: &str| baselines.contains(&BaselineDocument::key(name));
    let mut candidates: BTreeMap<String, Candidate> = BTreeMap::new();
    for key in ledgers.iter().filter_map(|key| name_of(key, "monitors/")) {
        let candidate = Candidate {
            name: key.to_owned(),
            listed: None,
            has_ledger: true,
            has_baseline: has_baseline(key),
        };
        candidates.insert(key.to_owned(), candidate);
    }
    for schedule in schedules {
        let key = schedule_key(&schedule.name);
        let has_ledger = candidates.contains_key(&key);
        let candidate = Candidate {
            name: schedule.name.clone(),
            has_baseline: has_baseline(&key),
            listed: Some(schedule),
            has_ledger,
        };
        candidates.insert(key, candidate);
    }
    candidates.into_values().collect()
}

fn name_of<'a>(key: &'a str, prefix: &str) -> Option<&'a str> {
    key.strip_prefix(prefix)?.strip_suffix(".json")
}

fn state_change(name: &str, job: DescribedJob, arn: &str) -> ProcessingJobStateChange {
    ProcessingJobStateChange {
        name: name.to_owned(),
        arn: if job.arn.is_empty() { arn.to_owned() } else { job.arn },
        status: job.status,
        outputs: job.outputs,
        image: job.image,
        exit_message: job.exit_message,
        failure_reason: job.failure_reason,
        monitoring_schedule_arn: job.monitoring_schedule_arn,
        end_time: job.end_time,
        last_modified_time: job.end_time,
    }
}
