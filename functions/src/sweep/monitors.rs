//! The sweep of one monitor: its executions, its alert window, its retirement.

use super::{
    Sweep, SweepClients,
    candidates::{Candidate, GRACE, MonitorContext},
    quiet::{is_quiet, monitor_fingerprint},
    state::{MonitorState, Quiet},
};
use crate::{
    Error,
    ingest::{Handled, ListedExecution, MonitorSweep, SweepState, monitor_key},
    remediate::model_key,
};
use alerting::{ExecutionEvidence, ExecutionStatus, Level, MonitorLedger};
use jiff::{SignedDuration, Timestamp};
use machine::{Documents, Fetched, LoadedDocument, load, parse_document};
use model_monitor::{EndpointName, ProcessingJobStateChange, ScheduleExpression};
use promotion::BaselineDocument;
use remediation::{AnalysisSchedule, Input, ModelDocument, MonitorRef, schedule_key};
use shell::ports::{DescribedJob, MonitoringExecution, MonitoringSchedules, Schedule};
use std::collections::BTreeSet;

/// Minimum time range in which executions are searched, in case they are listed late.
const LOOK_BACK: SignedDuration = SignedDuration::from_hours(26);
/// Time before the last comparison from which executions are searched, because sweeps may have failed since. With the interval in which
/// comparisons are recorded, it is shorter than [`LOOK_BACK`] while sweeps succeed.
const LISTED_LATE: SignedDuration = SignedDuration::from_hours(18);
/// Time range for a schedule without a ledger, which may not belong to this deployment.
const LOOK_BACK_WITHOUT_LEDGER: SignedDuration = SignedDuration::from_hours(7 * 24);
/// Maximum time range: older executions are rarely in an alert window.
const MAX_LOOK_BACK: SignedDuration = SignedDuration::from_hours(30 * 24);
/// Number of jobs with other output folders after which a schedule counts as foreign. It is more than one because a job can be a
/// merge job.
const MAX_FOREIGN_JOBS: usize = 3;
/// Time for which a foreign schedule is not examined again.
const FOREIGN_FOR: SignedDuration = SignedDuration::from_hours(24);

/// Work that was done for one monitor.
#[derive(Default)]
pub(super) struct MonitorWork {
    pub(super) repaired: usize,
    pub(super) missing: usize,
    pub(super) restarted: bool,
    /// Scheduled time up to which SageMaker's list and the ledger agree.
    pub(super) compared_until: Option<Timestamp>,
    pub(super) ledger: Option<(MonitorLedger, Level)>,
    /// Executions that could not be recorded. The others were.
    pub(super) failures: Vec<String>,
}

impl MonitorWork {
    /// Whether the ledger is as it was loaded.
    pub(super) fn is_unchanged(&self) -> bool {
        self.repaired + self.missing == 0 && !self.restarted && self.failures.is_empty()
    }
}

impl Sweep {
    pub(super) async fn monitor<W: SweepClients>(
        &self,
        clients: &W,
        candidate: &Candidate,
        state: &mut MonitorState,
        context: &MonitorContext<'_>,
    ) -> Result<MonitorWork, Error> {
        let request_id = context.request_id;
        let mut work = MonitorWork::default();
        if is_quiet(candidate, state, context, clients.now()) {
            return Ok(work);
        }
        let changed_at = if candidate.baseline.is_some() {
            baseline_changed_at(clients, &candidate.name).await?
        } else {
            None
        };
        let mut known = None;
        if let Some(schedule) = &candidate.listed {
            let named = context.policy.has_schedule(&candidate.name) || self.any_bucket;
            let is_foreign = state.foreign_until.is_some_and(|until| clients.now() < until);
            if is_foreign && !named && candidate.ledger.is_none() {
                return Ok(work);
            }
            state.foreign_until = None;
            let loaded = self
                .compare(clients, schedule, named, changed_at, state, context, &mut work)
                .await?;
            // After a change, the loaded ledger is outdated.
            known = Some(loaded).filter(|_| work.is_unchanged());
        } else if let Some(analysis) = &candidate.analysis {
            let loaded = self
                .compare_analysis(clients, analysis, state, context, &mut work)
                .await?;
            known = Some(loaded).filter(|_| work.is_unchanged());
        }
        let mut waits_for_executions = false;
        // Also for a new ledger: it has been evaluated, but its model has not received the alert.
        if candidate.ledger.is_some() || work.repaired + work.missing > 0 {
            if work.compared_until.is_some() {
                state.compared_until = work.compared_until;
            }
            let state = SweepState {
                compared_until: work.compared_until,
                baseline_changed_at: changed_at,
            };
            let swept = self.ingest.sweep(clients, &candidate.name, known, state, request_id);
            let ledger = swept.await?;
            work.restarted |= ledger.as_ref().is_some_and(|swept| swept.restarted);
            work.ledger = ledger.map(|MonitorSweep { ledger, rules, .. }| {
                let level = ledger.level(&rules, clients.now());
                waits_for_executions = ledger.waits_for_executions(&rules);
                (ledger, level)
            });
        }
        self.retire(clients, candidate, state, context, &mut work).await?;
        state.quiet = None;
        if let Some((ledger, _)) = &work.ledger
            && waits_for_executions
            && work.is_unchanged()
        {
            let now = clients.now();
            // If the ledger was written after the list, its next entity tag differs.
            let fingerprint = monitor_fingerprint(candidate, &ledger.monitor.model, now, context);
            state.quiet = fingerprint.map(|fingerprint| Quiet::new(now, &ledger.monitor.model, fingerprint));
        }
        Ok(work)
    }

    /// Takes a monitor from its model that no longer exists, or that monitors another model by now. A monitor is gone when it is
    /// absent from two complete lists, at least an hour apart, after it was listed or was an analysis of the policy.
    async fn retire<W: SweepClients>(
        &self,
        clients: &W,
        candidate: &Candidate,
        state: &mut MonitorState,
        context: &MonitorContext<'_>,
        work: &mut MonitorWork,
    ) -> Result<(), Error> {
        let now = clients.now();
        let exists = candidate.listed.is_some() || candidate.analysis.is_some();
        let is_retired = state.observe_existence(exists, context.is_complete, now);
        let Some((ledger, level)) = &mut work.ledger else {
            return Ok(());
        };
        let known = ledger.monitor.model.clone();
        let model = context.policy.monitor(&MonitorRef::from(&ledger.monitor));
        // A monitor that moved and was deleted had been reported to the model that it monitored last.
        let left = if is_retired {
            BTreeSet::from([known, model.model.clone()])
        } else {
            BTreeSet::from_iter(Some(known).filter(|known| *known != model.model))
        };
        let key = schedule_key(&ledger.monitor.schedule);
        for known in left {
            let loaded = load::<ModelDocument>(clients, &model_key(&known)).await?;
            if loaded
                .document()
                .is_some_and(|document| document.alerts.contains_key(&key))
            {
                let input = Input::Retired {
                    monitoring_schedule: ledger.monitor.schedule.clone(),
                };
                tracing::warn!(monitoring_schedule = %candidate.name, model = %known, is_retired, "monitor retired from its model");
                self.remediate.take(clients, known, input, context.request_id).await?;
            }
        }
        if is_retired {
            work.ledger = None;
        } else {
            // The model that it monitors now learns its level in this sweep, also if the alert began under another model. That
            // one retires the monitor when it is swept.
            level.alert.model.clone_from(&model.model);
            ledger.monitor.model.clone_from(&model.model);
            if let Some(change) = &mut ledger.last_change {
                change.model = model.model;
            }
        }
        Ok(())
    }

    /// Compares SageMaker's list and the schedule expression with the ledger. Returns the ledger as it was loaded.
    #[expect(
        clippy::too_many_arguments,
        reason = "the state of a monitor comes from SageMaker, the policy, and two documents"
    )]
    async fn compare<W: SweepClients>(
        &self,
        clients: &W,
        schedule: &Schedule,
        named: bool,
        changed_at: Option<Timestamp>,
        state: &mut MonitorState,
        context: &MonitorContext<'_>,
        work: &mut MonitorWork,
    ) -> Result<LoadedDocument<MonitorLedger>, Error> {
        let request_id = context.request_id;
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
        let known_until = match ledger {
            None => state.examined_until.unwrap_or(Timestamp::MIN),
            Some(ledger) => ledger
                .compared_until
                .max(state.compared_until)
                .unwrap_or(schedule.created),
        };
        let after = look_back(known_until, ledger.is_some(), schedule.created, now);
        let mut executions = match context.shared {
            Some(shared) if after >= shared.after => shared.since(&schedule.name, after),
            _ => clients.executions(&schedule.name, after).await?,
        };
        executions.sort_by_key(|execution| execution.scheduled_time);
        let datapoint = |hour: Timestamp| ledger.and_then(|ledger| ledger.datapoint(hour));
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
                .await;
            let handled = match handled {
                Ok(handled) => handled,
                Err(error) => {
                    // The other executions are recorded, and the next sweep compares from here.
                    compared_until = compared_until.min(hour);
                    work.failures
                        .push(format!("execution of {hour}: {}", machine::chain(&error)));
                    continue;
                }
            };
            is_known |= handled;
            work.repaired += usize::from(handled);
            foreign += usize::from(!is_known && execution.processing_job_arn.is_some());
            if foreign >= MAX_FOREIGN_JOBS {
                tracing::debug!(monitoring_schedule = %schedule.name, "schedule ignored: its jobs write to other folders");
                state.foreign_until = now.saturating_add(FOREIGN_FOR).ok();
                return Ok(loaded);
            }
        }
        // A new ledger is compared from the first hour of the schedule.
        work.compared_until = ledger.map(|_| compared_until);
        state.examined_until = ledger.is_none().then_some(compared_until);
        if !is_known {
            return Ok(loaded);
        }
        self.observe(clients, schedule, state, now).await?;
        let due = state.due(after, until).into_iter();
        let missing: Vec<Timestamp> = due
            .filter(|hour| {
                let is_listed = |execution: &MonitoringExecution| full_hour(execution.scheduled_time) == *hour;
                !executions.iter().any(is_listed)
                    && datapoint(*hour).is_none()
                    && !is_dropped(*hour)
                    && *hour >= schedule.created
            })
            .collect();
        self.record_missing(
            clients,
            &schedule.name,
            schedule.endpoint.as_deref(),
            &missing,
            work,
            request_id,
        )
        .await;
        Ok(loaded)
    }

    /// Records the present settings of a schedule. Its expression is read only if the schedule was changed.
    async fn observe(
        &self,
        clients: &impl MonitoringSchedules,
        schedule: &Schedule,
        state: &mut MonitorState,
        now: Timestamp,
    ) -> Result<(), Error> {
        let (created, modified) = (schedule.created, schedule.last_modified);
        if schedule.status != "Scheduled" {
            state.observe(None, created, modified, now);
            return Ok(());
        }
        let expression = if state.needs_expression(modified) {
            clients.schedule_expression(&schedule.name).await?
        } else {
            state.expression().unwrap_or_default().to_owned()
        };
        state.described_as_of = Some(modified);
        if ScheduleExpression::parse(&expression).is_none() {
            tracing::debug!(monitoring_schedule = %schedule.name, expression, "schedule expression not supported: missing executions are not detected");
        }
        state.observe(Some(&expression), created, modified, now);
        Ok(())
    }

    /// Compares the due executions of a native analysis with the ledger. Returns the ledger as it was loaded.
    async fn compare_analysis<W: SweepClients>(
        &self,
        clients: &W,
        analysis: &AnalysisSchedule,
        state: &mut MonitorState,
        context: &MonitorContext<'_>,
        work: &mut MonitorWork,
    ) -> Result<LoadedDocument<MonitorLedger>, Error> {
        let name = analysis.schedule.as_str();
        let loaded = load::<MonitorLedger>(clients, &monitor_key(name)).await?;
        let ledger = loaded.document();
        let now = clients.now();
        // The analysis was in the policy at its latest execution. Nothing is known about an analysis that never ran.
        let newest = ledger.and_then(|ledger| ledger.datapoints.back());
        let week = now.saturating_sub(LOOK_BACK_WITHOUT_LEDGER).unwrap_or(Timestamp::MIN);
        let since = newest.map_or(now, |newest| newest.scheduled_time.max(week));
        state.observe(analysis.expression.to_cron().as_deref(), since, now, now);
        let oldest = now.saturating_sub(MAX_LOOK_BACK).unwrap_or(Timestamp::MIN);
        let known_until = ledger.and_then(|ledger| ledger.compared_until.max(state.compared_until));
        let after = known_until.map_or(oldest, |until| until.max(oldest));
        let delay = GRACE.saturating_add(analysis.delay);
        let until = now.saturating_sub(delay).unwrap_or(Timestamp::MIN);
        let due = state.due(after, until).into_iter();
        let missing: Vec<Timestamp> = due
            .filter(|hour| !ledger.is_some_and(|ledger| ledger.datapoint(*hour).is_some() || ledger.is_dropped(*hour)))
            .collect();
        let endpoint = analysis.endpoint.as_ref().map(EndpointName::as_str);
        let recorded = self.record_missing(clients, name, endpoint, &missing, work, context.request_id);
        recorded.await;
        if work.failures.is_empty() {
            work.compared_until = ledger.map(|_| until);
        }
        Ok(loaded)
    }

    /// Records due executions that never ran.
    async fn record_missing<W: SweepClients>(
        &self,
        clients: &W,
        schedule: &str,
        endpoint: Option<&str>,
        hours: &[Timestamp],
        work: &mut MonitorWork,
        request_id: &str,
    ) {
        for hour in hours {
            let missing = ListedExecution {
                schedule,
                endpoint,
                scheduled_time: *hour,
                evidence: None,
            };
            match self.ingest.handle_execution(clients, missing, request_id).await {
                Ok(_) => work.missing += 1,
                Err(error) => {
                    // The next sweep compares from here.
                    work.compared_until = work.compared_until.map(|until| until.min(*hour));
                    work.failures
                        .push(format!("execution of {hour}: {}", machine::chain(&error)));
                }
            }
        }
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
    ) -> Result<bool, Error> {
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

/// Start of the time range in which executions are searched: up to there, the ledger is complete, or the executions of a schedule
/// without a ledger were examined.
fn look_back(known_until: Timestamp, has_ledger: bool, created: Timestamp, now: Timestamp) -> Timestamp {
    let before = |duration: SignedDuration| now.saturating_sub(duration).unwrap_or(Timestamp::MIN);
    let from = known_until
        .saturating_sub(LISTED_LATE)
        .unwrap_or(Timestamp::MIN)
        .min(before(LOOK_BACK));
    let oldest = before(if has_ledger {
        MAX_LOOK_BACK
    } else {
        LOOK_BACK_WITHOUT_LEDGER
    });
    from.max(oldest)
        .max(created.saturating_sub(SignedDuration::from_hours(1)).unwrap_or(created))
}

fn full_hour(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second().div_euclid(3600) * 3600).unwrap_or(time)
}

/// Time of the latest change of a monitor's baseline.
async fn baseline_changed_at(clients: &impl Documents, schedule: &str) -> Result<Option<Timestamp>, Error> {
    let key = BaselineDocument::key(schedule);
    match clients.read(&key, None).await? {
        Fetched::Absent | Fetched::Unchanged => Ok(None),
        Fetched::Found(body, _) => {
            let document: BaselineDocument = parse_document(&key, &body, BaselineDocument::VERSION)?;
            Ok(Some(document.change.time))
        }
    }
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
