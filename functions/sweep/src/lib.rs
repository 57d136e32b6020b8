#![doc = include_str!("../README.md")]

mod error;

pub use error::SweepError;

use alerting::{AlertStateChange, AlertWindow, ExecutionEvidence, ExecutionStatus, MonitorLedger};
use futures_util::{
    future::join3,
    stream::{self, StreamExt as _},
};
use ingest::{Handled, Ingest, ListedExecution, MonitorSweep, SweepState, monitor_key};
use jiff::{SignedDuration, Timestamp};
use model_monitor::{ProcessingJobStateChange, ScheduleExpression};
use promotion::BaselineDocument;
use remediate::{Remediate, RemediateClients, model_key};
use remediation::{Input, ModelDocument, MonitorLevel, schedule_key};
use serde::Serialize;
use shell::{
    LoadedDocument, PolicyStore, UpdateError,
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

/// Minimum time range in which executions are searched: more than a day, so that it contains the last execution of a daily monitor.
const LOOK_BACK: SignedDuration = SignedDuration::from_hours(26);
/// Time range for a schedule without a ledger, which may not belong to this deployment.
const LOOK_BACK_WITHOUT_LEDGER: SignedDuration = SignedDuration::from_hours(7 * 24);
/// Maximum time range: older executions are rarely in an alert window.
const MAX_LOOK_BACK: SignedDuration = SignedDuration::from_hours(30 * 24);
/// Time after which a due execution counts as missing. Executions may start up to 20 minutes late (developer guide), and are listed
/// with a delay.
const GRACE: SignedDuration = SignedDuration::from_mins(60);
/// Number of monitors, and then of models, that are swept concurrently. More would be throttled by SageMaker.
const SWEEPS_AT_ONCE: usize = 8;
/// Number of jobs with other output folders after which a schedule counts as foreign. It is more than one because a job can be a
/// merge job.
const MAX_FOREIGN_JOBS: usize = 3;
/// Maximum number of executions of a monitor for the verification of a model: the longest evaluation period.
const MAX_LEVELS: usize = 100;
/// No new monitor or model is started within this time before the function's deadline.
const RESERVE: SignedDuration = SignedDuration::from_secs(60);

/// AWS APIs that the sweep uses.
pub trait SweepClients:
    RemediateClients + Reports + Metrics + ProcessingJobs + MonitoringAlerts + MonitoringSchedules
{
}

impl<W: RemediateClients + Reports + Metrics + ProcessingJobs + MonitoringAlerts + MonitoringSchedules> SweepClients
    for W
{
}

/// The `sweep` function.
#[derive(Debug)]
pub struct Sweep {
    ingest: Ingest,
    remediate: Remediate,
    policy: PolicyStore,
    any_bucket: bool,
}

/// Result of a sweep: the response of the function.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SweepSummary {
    /// Number of swept monitors.
    pub monitors: usize,
    /// Number of swept models.
    pub models: usize,
    /// Number of executions that were recorded because their events were lost.
    pub repaired: usize,
    /// Number of executions that were newly recorded as `Missing`.
    pub missing: usize,
    /// Number of alert windows that were restarted because the event of a changed baseline was lost.
    pub restarted: usize,
    /// Number of alerts that were delivered to models that had missed them.
    #[serde(rename = "told")]
    pub delivered: usize,
    /// Number of monitors and models left for the next sweep because the deadline was near.
    pub left: usize,
}

/// A monitor to sweep: its schedule in SageMaker's list, and its documents.
struct Candidate {
    name: String,
    listed: Option<Schedule>,
    has_ledger: bool,
    /// Whether a promotion has changed its baseline.
    has_baseline: bool,
}

/// Work that was done for one monitor.
#[derive(Default)]
struct MonitorWork {
    repaired: usize,
    missing: usize,
    restarted: bool,
    /// Scheduled time up to which SageMaker's list and the ledger agree.
    compared_until: Option<Timestamp>,
    ledger: Option<(MonitorLedger, MonitorLevel)>,
}

impl Sweep {
    /// Creates the function from the functions whose work it repeats. `any_bucket` accepts all monitors of the account.
    pub fn new(ingest: Ingest, remediate: Remediate, any_bucket: bool) -> Self {
        // One policy cache for all three: the policy is read and parsed once.
        let policy = PolicyStore::default();
        Self {
            ingest: ingest.with_policy(policy.clone()),
            remediate: remediate.with_policy(policy.clone()),
            policy,
            any_bucket,
        }
    }

    /// Creates the function from environment variables, those of `ingest` and `remediate`. Also returns the names of the state
    /// bucket and the event bus.
    ///
    /// # Errors
    /// If a variable is missing or invalid.
    pub fn from_vars(vars: &Vars<impl Fn(&str) -> Option<String>>) -> Result<(Self, String, String), ConfigError> {
        let (ingest, state_bucket, event_bus) = Ingest::from_vars(vars)?;
        let (remediate, _, _) = Remediate::from_vars(vars)?;
        let any_bucket = vars.optional("REPORT_BUCKET").is_none();
        Ok((Self::new(ingest, remediate, any_bucket), state_bucket, event_bus))
    }

    /// Runs one sweep. Shortly before the deadline it starts no new monitor or model. Those that are left come first in a later
    /// sweep.
    ///
    /// # Errors
    /// If a monitor or a model could not be swept. All others have been swept.
    pub async fn run<W: SweepClients>(
        &self,
        clients: &W,
        request_id: &str,
        deadline: Timestamp,
    ) -> Result<SweepSummary, SweepError> {
        let policy = self.policy.load(clients).await.map_err(SweepError::Policy)?;
        let (schedules, ledgers, baselines) = join3(
            clients.schedules(),
            clients.list("monitors/"),
            clients.list("baselines/"),
        )
        .await;
        let mut candidates = candidates(schedules?, &ledgers?, baselines?);
        // Every sweep starts at another monitor, so that not always the same ones are left.
        let minute = usize::try_from(clients.now().as_second().div_euclid(60)).unwrap_or_default();
        let first = minute.checked_rem(candidates.len()).unwrap_or_default();
        candidates.rotate_left(first);
        let in_time = |clients: &W| clients.now().saturating_add(RESERVE).is_ok_and(|then| then < deadline);

        let mut swept = SweepSummary::default();
        let mut failures: Vec<String> = Vec::new();
        let mut levels: BTreeMap<String, BTreeMap<String, MonitorLevel>> = BTreeMap::new();
        let mut changes = Vec::new();
        let all = candidates.len();
        let mut monitors = stream::iter(candidates.iter().map(async |candidate| {
            if !in_time(clients) {
                return (candidate, None);
            }
            let named = policy.has_schedule(&candidate.name) || self.any_bucket;
            let span = telemetry::span_for(None, Some(&candidate.name), None);
            let swept = Box::pin(self.monitor(clients, candidate, named, request_id))
                .instrument(span)
                .await;
            (candidate, Some(swept))
        }))
        .buffer_unordered(SWEEPS_AT_ONCE);
        while let Some((candidate, result)) = monitors.next().await {
            match result {
                None => swept.left += 1,
                Some(Ok(work)) => {
                    swept.monitors += 1;
                    swept.repaired += work.repaired;
                    swept.missing += work.missing;
                    swept.restarted += usize::from(work.restarted);
                    if let Some((ledger, level)) = work.ledger {
                        let model_levels = levels.entry(ledger.monitor.model.clone()).or_default();
                        model_levels.insert(schedule_key(&ledger.monitor.schedule), level);
                        let sent = |id: &str| ledger.outbox.entries().iter().all(|entry| entry.id != id);
                        changes.extend(ledger.last_change.as_deref().filter(|change| sent(&change.id)).cloned());
                    }
                }
                Some(Err(error)) => {
                    tracing::error!(monitoring_schedule = %candidate.name, error = %error, "failed to sweep a monitor");
                    failures.push(format!("monitor {}: {error}", candidate.name));
                }
            }
        }

        self.deliver_alerts(clients, changes, &mut swept, &mut failures, request_id)
            .await?;
        let models = clients.list("models/").await?;
        let models: Vec<&str> = models.iter().filter_map(|key| strip_key(key, "models/")).collect();
        let mut sweeps = stream::iter(models.iter().map(async |model| {
            if !in_time(clients) {
                return (model, None);
            }
            let levels = levels.get(*model).cloned().unwrap_or_default();
            let swept = Box::pin(self.remediate.sweep(clients, model, levels, request_id)).await;
            (model, Some(swept))
        }))
        .buffer_unordered(SWEEPS_AT_ONCE);
        while let Some((model, result)) = sweeps.next().await {
            match result {
                None => swept.left += 1,
                Some(Ok(())) => swept.models += 1,
                Some(Err(error)) => {
                    tracing::error!(model, error = %error, "failed to sweep a model");
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
            told = swept.delivered,
            left = swept.left,
            failed = failures.len(),
            "sweep completed"
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

    /// Delivers alerts to models that have missed them.
    async fn deliver_alerts<W: SweepClients>(
        &self,
        clients: &W,
        changes: Vec<AlertStateChange>,
        swept: &mut SweepSummary,
        failures: &mut Vec<String>,
        request_id: &str,
    ) -> Result<(), SweepError> {
        for change in changes {
            let loaded = load::<ModelDocument>(clients, &model_key(&change.model)).await?;
            let known = loaded
                .document()
                .and_then(|document| document.alerts.get(&schedule_key(&change.monitoring_schedule)));
            if known.is_some_and(|known| known.transition >= change.transition) {
                continue;
            }
            let model = change.model.clone();
            match self
                .remediate
                .take(clients, model.clone(), Input::Alert(Box::new(change)), request_id)
                .await
            {
                Ok(_) => swept.delivered += 1,
                Err(error) => {
                    tracing::error!(model = %model, error = %error, "failed to deliver an alert to a model");
                    failures.push(format!("model {model}: {error}"));
                }
            }
        }
        Ok(())
    }

    async fn monitor<W: SweepClients>(
        &self,
        clients: &W,
        candidate: &Candidate,
        named: bool,
        request_id: &str,
    ) -> Result<MonitorWork, SweepError> {
        let mut work = MonitorWork::default();
        let changed_at = if candidate.has_baseline {
            baseline_changed_at(clients, &candidate.name).await?
        } else {
            None
        };
        let mut known = None;
        if let Some(schedule) = &candidate.listed {
            let loaded = self
                .compare(clients, schedule, named, changed_at, &mut work, request_id)
                .await?;
            // After a change, the loaded ledger is outdated.
            known = Some(loaded).filter(|_| work.repaired + work.missing == 0 && !work.restarted);
        }
        // Also for a new ledger: it has been evaluated, but its model has not received the alert.
        if candidate.has_ledger || work.repaired + work.missing > 0 {
            let state = SweepState {
                compared_until: work.compared_until,
                baseline_changed_at: changed_at,
            };
            let swept = self.ingest.sweep(clients, &candidate.name, known, state, request_id);
            let ledger = swept.await?;
            work.restarted |= ledger.as_ref().is_some_and(|swept| swept.restarted);
            work.ledger = ledger.map(|MonitorSweep { ledger, rules, .. }| {
                let level = MonitorLevel {
                    judged: ledger.judged(&rules).take(MAX_LEVELS).collect(),
                    evaluation_period: match ledger.window(&rules) {
                        AlertWindow::Executions(window) => window.evaluation_period(),
                        AlertWindow::Time { window, .. } => window.evaluation_periods(),
                    },
                };
                (ledger, level)
            });
        }
        Ok(work)
    }

    /// Compares SageMaker's list and the schedule expression with the ledger. Returns the ledger as it was loaded.
    async fn compare<W: SweepClients>(
        &self,
        clients: &W,
        schedule: &Schedule,
        named: bool,
        changed_at: Option<Timestamp>,
        work: &mut MonitorWork,
        request_id: &str,
    ) -> Result<LoadedDocument<MonitorLedger>, SweepError> {
        let loaded = load::<MonitorLedger>(clients, &monitor_key(&schedule.name)).await?;
        let ledger = loaded.document();
        // Restart first: executions from before the change must not raise the alert again.
        if let (Some(ledger), Some(at)) = (ledger, changed_at)
            && ledger.restarted_at < changed_at
        {
            let handled = self.ingest.restart(clients, &schedule.name, at, request_id).await?;
            work.restarted |= matches!(handled, Handled::Restarted { .. });
        }
        let now = clients.now();
        let after = look_back(ledger, schedule.created, now);
        let mut executions = clients.executions(&schedule.name, after).await?;
        executions.sort_by_key(|execution| execution.scheduled_time);
        let datapoint = |hour: Timestamp| {
            let mut datapoints = ledger.into_iter().flat_map(|ledger| &ledger.datapoints);
            datapoints.find(|datapoint| datapoint.scheduled_time == hour)
        };
        let is_dropped = |hour: Timestamp| ledger.is_some_and(|ledger| ledger.is_dropped(hour));
        let mut is_known = ledger.is_some() || named;
        let until = now.saturating_sub(GRACE).unwrap_or(Timestamp::MIN);
        let mut compared_until = until;
        let mut foreign = 0;
        for execution in &executions {
            let hour = full_hour(execution.scheduled_time);
            let Some(status) = ExecutionStatus::parse(&execution.status) else {
                // In progress: the next sweep compares from here.
                compared_until = compared_until.min(hour);
                continue;
            };
            if datapoint(hour).is_some_and(|datapoint| !is_news(status, &datapoint.evidence)) || is_dropped(hour) {
                continue;
            }
            let handled = self
                .repair(clients, schedule, execution, status, hour, is_known, request_id)
                .await?;
            is_known |= handled;
            work.repaired += usize::from(handled);
            foreign += usize::from(!is_known && execution.processing_job_arn.is_some());
            if foreign >= MAX_FOREIGN_JOBS {
                tracing::debug!(monitoring_schedule = %schedule.name, "schedule ignored: its jobs write to other folders");
                return Ok(loaded);
            }
        }
        // A new ledger is compared from the first hour of the schedule.
        work.compared_until = ledger.map(|_| compared_until);
        if !is_known || schedule.status != "Scheduled" {
            return Ok(loaded);
        }
        let expression = clients.schedule_expression(&schedule.name).await?;
        let Some(expression) = ScheduleExpression::parse(&expression) else {
            tracing::debug!(monitoring_schedule = %schedule.name, expression, "schedule expression not supported: missing executions are not detected");
            return Ok(loaded);
        };
        for hour in expression.due(after, until) {
            let listed = executions
                .iter()
                .any(|execution| full_hour(execution.scheduled_time) == hour);
            if listed || datapoint(hour).is_some() || is_dropped(hour) || hour < schedule.created {
                continue;
            }
            let missing = ListedExecution {
                schedule: &schedule.name,
                endpoint: schedule.endpoint.as_deref(),
                scheduled_time: hour,
                evidence: None,
            };
            self.ingest.handle_execution(clients, missing, request_id).await?;
            work.missing += 1;
        }
        Ok(loaded)
    }

    /// Records an execution whose event was lost. Returns whether it belongs to a monitor of this deployment.
    #[expect(
        clippy::too_many_arguments,
        reason = "the data about one execution comes from three sources"
    )]
    async fn repair<W: SweepClients>(
        &self,
        clients: &W,
        schedule: &Schedule,
        execution: &MonitoringExecution,
        status: ExecutionStatus,
        hour: Timestamp,
        is_known: bool,
        request_id: &str,
    ) -> Result<bool, SweepError> {
        let (mut is_report, mut is_recorded) = (false, false);
        if let Some(arn) = &execution.processing_job_arn {
            let name = arn.rsplit('/').next().unwrap_or(arn);
            let job = state_change(name, clients.describe(name).await?, arn);
            let handled = self.ingest.handle_job(clients, job, request_id).await?;
            is_report = matches!(handled, Handled::Recorded { .. } | Handled::Duplicate { .. });
            // The list is used if the job is a merge job, has failed, or was a duplicate.
            is_recorded = matches!(handled, Handled::Recorded { .. })
                && !matches!(status, ExecutionStatus::Failed | ExecutionStatus::Stopped);
        }
        // Jobs with other output folders do not belong to this deployment.
        if is_recorded || !(is_report || is_known) {
            return Ok(is_report);
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
        self.ingest.handle_execution(clients, listed, request_id).await?;
        Ok(true)
    }
}

/// Whether the list contains more than the ledger: there was no evidence, or an execution with failure or violations was recorded as
/// clean.
fn is_news(status: ExecutionStatus, known: &alerting::Evidence) -> bool {
    let unknown = known.report.is_none() && known.job.is_none() && known.execution.is_none();
    let recorded_as_clean = known.state() == alerting::DatapointState::Clean && status != ExecutionStatus::Completed;
    unknown || recorded_as_clean
}

/// Start of the time range in which executions are searched: up to there, the ledger is complete.
fn look_back(ledger: Option<&MonitorLedger>, created: Timestamp, now: Timestamp) -> Timestamp {
    let before = |duration: SignedDuration| now.saturating_sub(duration).unwrap_or(Timestamp::MIN);
    let from = match ledger {
        None => before(LOOK_BACK_WITHOUT_LEDGER),
        Some(ledger) => ledger.compared_until.unwrap_or(created).min(before(LOOK_BACK)),
    };
    from.max(before(MAX_LOOK_BACK))
        .max(created.saturating_sub(SignedDuration::from_hours(1)).unwrap_or(created))
}

fn full_hour(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second().div_euclid(3600) * 3600).unwrap_or(time)
}

/// Time of the latest change of a monitor's baseline.
async fn baseline_changed_at(clients: &impl Documents, schedule: &str) -> Result<Option<Timestamp>, SweepError> {
    let key = BaselineDocument::key(schedule);
    match clients.read(&key, None).await? {
        Fetched::Absent | Fetched::Unchanged => Ok(None),
        Fetched::Found(body, _) => {
            let document: BaselineDocument =
                serde_json::from_slice(&body).map_err(|source| UpdateError::Unreadable { key, source })?;
            Ok(Some(document.change.time))
        }
    }
}

fn candidates(schedules: Vec<Schedule>, ledgers: &[String], baselines: Vec<String>) -> Vec<Candidate> {
    let baselines: BTreeSet<String> = baselines.into_iter().collect();
    let has_baseline = |name: &str| baselines.contains(&BaselineDocument::key(name));
    let mut candidates: BTreeMap<String, Candidate> = BTreeMap::new();
    for key in ledgers.iter().filter_map(|key| strip_key(key, "monitors/")) {
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

fn strip_key<'a>(key: &'a str, prefix: &str) -> Option<&'a str> {
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
