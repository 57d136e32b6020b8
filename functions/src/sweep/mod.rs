#![doc = include_str!("README.md")]

mod paced;
mod state;

use crate::{
    Error, Function, Incomplete, Request, Resources,
    ingest::{Handled, Ingest, ListedExecution, MonitorSweep, SweepState, monitor_key},
    remediate::{Remediate, RemediateClients, model_key},
};
use alerting::{
    AlertStateChange, AlertStatus, ExecutionEvidence, ExecutionStatus, Level, Metric, MetricName, MonitorLedger,
};
use futures_util::{
    future::join3,
    stream::{self, StreamExt as _},
};
use jiff::{SignedDuration, Timestamp};
use machine::{Clock, Documents, ETag, Fetched, ListedDocument, LoadedDocument, load, parse_document, update_shared};
use model_monitor::{EndpointName, ProcessingJobStateChange, ScheduleExpression};
use paced::Paced;
use promotion::BaselineDocument;
use remediation::{AnalysisSchedule, FLEET_KEY, Fleet, Input, Levels, ModelDocument, MonitorRef, Policy, schedule_key};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use shell::{
    PolicyStore,
    config::{ConfigError, Vars},
    pace::TokenBucket,
    ports::{
        DescribedJob, Metrics, MonitoringAlerts, MonitoringExecution, MonitoringSchedules, ProcessingJobs, Reports,
        Schedule,
    },
    telemetry,
};
use state::{Item as _, LoadedState, MonitorState, Quiet, SWEEP_KEY};
use std::collections::{BTreeMap, BTreeSet};
use tracing::Instrument as _;

/// Minimum time range in which executions are searched, in case they are listed late.
const LOOK_BACK: SignedDuration = SignedDuration::from_hours(26);
/// Time before the last comparison from which executions are searched, because sweeps may have failed since. With the interval in which
/// comparisons are recorded, it is shorter than [`LOOK_BACK`] while sweeps succeed.
const LISTED_LATE: SignedDuration = SignedDuration::from_hours(18);
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
/// Time for which a foreign schedule is not examined again.
const FOREIGN_FOR: SignedDuration = SignedDuration::from_hours(24);
/// No new monitor or model is started within this time before the function's deadline.
const RESERVE: SignedDuration = SignedDuration::from_secs(60);
/// Maximum rate of `List…` and `Describe…` requests to SageMaker, per second. SageMaker limits them per account, and other programs
/// need their share.
const MAX_REQUESTS_PER_SECOND: f64 = 8.0;
/// Time range for which the executions of all schedules are listed together. It covers the usual look-back of a monitor.
const SHARED_LOOK_BACK: SignedDuration = SignedDuration::from_hours(27);
/// Time range before a monitor was read in which a change of the list of its executions is noticed. With the time for which a monitor is
/// not read again ([`state::QUIET_FOR`]), it is shorter than [`SHARED_LOOK_BACK`].
const QUIET_LOOK_BACK: SignedDuration = SignedDuration::from_hours(8);
/// Maximum number of pages with executions of all schedules.
const MAX_SHARED_PAGES: usize = 1000;
/// Number of failures that are logged and reported in detail.
const MAX_FAILURES: usize = 1000;

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
    function_name: String,
    /// Pace of the requests to SageMaker, kept between invocations.
    bucket: TokenBucket,
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

/// A monitor to sweep: its schedule in SageMaker's list or in the policy, and its documents.
struct Candidate {
    /// Key of the monitor in `sweep.json`.
    key: String,
    name: String,
    listed: Option<Schedule>,
    /// The `[[analysis]]` table of the policy, if SageMaker has no schedule with this name.
    analysis: Option<AnalysisSchedule>,
    /// Entity tag of its ledger. `None` if it has none.
    ledger: Option<ETag>,
    /// Entity tag of its baseline document, if a promotion has changed its baseline.
    baseline: Option<ETag>,
}

/// Work that was done for one monitor.
#[derive(Default)]
struct MonitorWork {
    repaired: usize,
    missing: usize,
    restarted: bool,
    /// Scheduled time up to which SageMaker's list and the ledger agree.
    compared_until: Option<Timestamp>,
    ledger: Option<(MonitorLedger, Level)>,
    /// Whether its ledger is as listed, and only an event, a change, or a due execution can lead to work.
    is_quiet: bool,
    /// Executions that could not be recorded. The others were.
    failures: Vec<String>,
}

/// Input of all monitors of one sweep.
struct MonitorContext<'a> {
    policy: &'a Policy,
    /// Whether the list of monitors is complete.
    is_complete: bool,
    /// Entity tags of the documents of all models, by key. `None` if they could not be listed.
    models: Option<&'a BTreeMap<String, ETag>>,
    shared: Option<&'a SharedExecutions>,
    request_id: &'a str,
}

/// Executions of all schedules since a time, by the key of the schedule.
struct SharedExecutions {
    after: Timestamp,
    executions: BTreeMap<String, Vec<MonitoringExecution>>,
}

/// What one sweep has found and done so far.
#[derive(Default)]
struct Progress {
    summary: SweepSummary,
    failures: Failures,
    /// Levels of the swept monitors, by model and schedule.
    levels: BTreeMap<String, Levels>,
    /// Models with a monitor in alert.
    in_alert: BTreeSet<String>,
    /// Latest alerts of the swept monitors.
    changes: Vec<AlertStateChange>,
}

/// Failures by monitor, model, or list. Each is reported once per sweep, however often it is met.
#[derive(Default)]
struct Failures {
    first: Option<String>,
    items: BTreeSet<String>,
}

impl Failures {
    #[expect(clippy::needless_pass_by_value, reason = "every caller makes the text for this call")]
    fn add(&mut self, item: String, error: &str) {
        if self.items.len() < MAX_FAILURES && self.items.insert(item.clone()) {
            tracing::error!(item = %item, error = %error, "failed to sweep");
            self.first.get_or_insert_with(|| format!("{item}: {error}"));
        }
    }
}

impl<C: SweepClients> Function<C> for Sweep {
    type Response = SweepSummary;

    fn from_vars(vars: &Vars<impl Fn(&str) -> Option<String>>) -> Result<(Self, Resources), ConfigError> {
        Self::from_vars(vars)
    }

    async fn invoke(&self, clients: &C, request: Request<'_>) -> Result<SweepSummary, Error> {
        self.run(clients, request.request_id, request.deadline).await
    }
}

impl Sweep {
    /// Creates the function from the functions whose work it repeats. `any_bucket` accepts all monitors of the account.
    pub fn new(ingest: Ingest, remediate: Remediate, any_bucket: bool) -> Self {
        // One policy cache for all three: the policy is read and parsed once.
        let policy = PolicyStore::recording();
        Self {
            ingest: ingest.with_policy(policy.clone()),
            remediate: remediate.with_policy(policy.clone()),
            policy,
            any_bucket,
            function_name: "sweep".to_owned(),
            bucket: TokenBucket::new(MAX_REQUESTS_PER_SECOND),
        }
    }

    /// Creates the function from environment variables, those of `ingest` and `remediate`. Also returns the resources that its
    /// clients use.
    ///
    /// # Errors
    /// If a variable is missing or invalid.
    pub fn from_vars(vars: &Vars<impl Fn(&str) -> Option<String>>) -> Result<(Self, Resources), ConfigError> {
        let (ingest, resources) = Ingest::from_vars(vars)?;
        let (remediate, _) = Remediate::from_vars(vars)?;
        let any_bucket = vars.optional("REPORT_BUCKET").is_none();
        let mut sweep = Self::new(ingest, remediate, any_bucket);
        if let Some(name) = vars.optional("AWS_LAMBDA_FUNCTION_NAME") {
            sweep.function_name = name;
        }
        Ok((sweep, resources))
    }

    /// Runs one sweep, the monitors and models first that were not swept for the longest time. Shortly before the deadline it starts
    /// no new monitor or model. Those that are left come first in the next sweep.
    ///
    /// # Errors
    /// If no policy is available, or a list, a monitor, or a model could not be swept. All others have been swept.
    pub async fn run<W: SweepClients>(
        &self,
        clients: &W,
        request_id: &str,
        deadline: Timestamp,
    ) -> Result<SweepSummary, Error> {
        let clients = &Paced {
            clients,
            bucket: &self.bucket,
        };
        let started = clients.now();
        let (policy, fell_back) = self.policy.load_with_state(clients).await.map_err(Error::Policy)?;
        let mut progress = Progress::default();
        let mut state = LoadedState::load(clients).await.unwrap_or_else(|error| {
            progress.failures.add(SWEEP_KEY.to_owned(), &error.to_string());
            LoadedState::unknown()
        });
        if let Some(rate) = state.document.requests_per_second {
            self.bucket.set_rate(rate);
        }
        let (candidates, is_complete) = self.candidates(clients, &policy, &mut progress.failures).await;
        let keys = candidates.iter().map(|candidate| candidate.key.clone());
        state.document.monitors.update(keys, is_complete, started);
        if is_complete {
            count_models(clients, &policy, &candidates).await;
        }
        let shared = self.shared_executions(clients, &candidates).await;
        let models = list_models(clients, &mut progress.failures).await;

        // Models have their own half of the time, and monitors what models leave of it.
        let end = deadline.saturating_sub(RESERVE).unwrap_or(Timestamp::MIN);
        let half = started.saturating_add(end.duration_since(started) / 2).unwrap_or(end);
        let context = MonitorContext {
            policy: &policy,
            is_complete,
            models: models.as_ref(),
            shared: shared.as_ref(),
            request_id,
        };
        let mut monitors: Vec<&Candidate> = candidates.iter().collect();
        let passes = &state.document.monitors;
        monitors.sort_by_cached_key(|candidate| passes.rank(&candidate.key, false));
        let monitors = self.sweep_monitors(clients, monitors, half, &context, &mut state, &mut progress);
        let monitors = Box::pin(monitors).await;
        // If the function is stopped, the next sweep continues here.
        state.store(clients).await;
        Box::pin(self.deliver_alerts(clients, end, &mut state, &mut progress, request_id)).await;
        let models_left = Box::pin(self.sweep_models(clients, end, &context, &mut state, &mut progress)).await;
        let monitors = self.sweep_monitors(clients, monitors, end, &context, &mut state, &mut progress);
        let monitors = Box::pin(monitors).await;
        Box::pin(self.deliver_alerts(clients, end, &mut state, &mut progress, request_id)).await;

        let all = candidates.len() + state.document.models.items.len();
        state.document.requests_per_second = Some(self.bucket.rate());
        state.store(clients).await;
        let now = clients.now();
        let age = state.document.monitors.age(now).max(state.document.models.age(now));
        self.publish_metrics(clients, age, fell_back).await;
        let Progress {
            mut summary, failures, ..
        } = progress;
        summary.left = monitors.len() + models_left;
        let failed = failures.items.len();
        tracing::info!(
            monitors = summary.monitors,
            models = summary.models,
            repaired = summary.repaired,
            missing = summary.missing,
            restarted = summary.restarted,
            delivered = summary.delivered,
            left = summary.left,
            age_seconds = age.as_secs(),
            requests_per_second = self.bucket.rate(),
            failed,
            "sweep completed"
        );
        match failures.first {
            None => Ok(summary),
            Some(first) => Err(Error::Incomplete {
                what: Incomplete::Sweep,
                failed,
                all,
                first,
            }),
        }
    }

    /// Publishes the metrics of the sweep itself. If that fails, it is only logged.
    async fn publish_metrics(&self, clients: &(impl Metrics + Clock), age: SignedDuration, fell_back: bool) {
        let now = clients.now();
        let metric = |name, value| Metric::for_function(&self.function_name, name, now, value);
        let metrics = [
            metric(MetricName::SweepAge, age.as_secs_f64()),
            metric(MetricName::PolicyFallback, f64::from(u8::from(fell_back))),
        ];
        if let Err(error) = clients.publish(self.ingest.metric_namespace(), &metrics).await {
            tracing::warn!(error = %error, "failed to publish the metrics of the sweep");
        }
    }

    /// All monitors: SageMaker's schedules, the native analyses of the policy, and the ledgers. Also returns whether all lists could
    /// be read. What is in the others is swept anyway.
    async fn candidates(
        &self,
        clients: &(impl Documents + MonitoringSchedules),
        policy: &Policy,
        failures: &mut Failures,
    ) -> (Vec<Candidate>, bool) {
        let (schedules, ledgers, baselines) = join3(
            clients.schedules(),
            clients.list("monitors/"),
            clients.list("baselines/"),
        )
        .await;
        let is_complete = schedules.is_ok() && ledgers.is_ok();
        for error in [
            schedules.as_ref().err(),
            ledgers.as_ref().err(),
            baselines.as_ref().err(),
        ]
        .into_iter()
        .flatten()
        {
            failures.add(error.operation.to_owned() + " " + &error.resource, &error.to_string());
        }
        let baselines = by_key(baselines.unwrap_or_default());
        let mut candidates: BTreeMap<String, Candidate> = BTreeMap::new();
        let mut candidate = |key: String, name: &str| {
            let baseline = baselines.get(&BaselineDocument::key(&key)).cloned();
            let new = Candidate {
                key: key.clone(),
                name: name.to_owned(),
                listed: None,
                analysis: None,
                ledger: None,
                baseline,
            };
            // The closure returns a reference into the map, so the entry is looked up by the caller.
            candidates.entry(key).or_insert(new);
        };
        let ledgers = ledgers.unwrap_or_default();
        let ledgers: Vec<(&str, &ETag)> = ledgers
            .iter()
            .filter_map(|listed| Some((strip_key(&listed.key, "monitors/")?, &listed.etag)))
            .collect();
        let schedules = schedules.unwrap_or_default();
        let analyses = policy.analyses();
        for (key, _) in &ledgers {
            candidate((*key).to_owned(), key);
        }
        for analysis in &analyses {
            candidate(analysis.schedule.key(), analysis.schedule.as_str());
        }
        for schedule in &schedules {
            candidate(schedule_key(&schedule.name), &schedule.name);
        }
        for (key, etag) in ledgers {
            if let Some(candidate) = candidates.get_mut(key) {
                candidate.ledger = Some(etag.clone());
            }
        }
        for analysis in analyses {
            if let Some(candidate) = candidates.get_mut(&analysis.schedule.key()) {
                analysis.schedule.as_str().clone_into(&mut candidate.name);
                candidate.analysis = Some(analysis);
            }
        }
        for schedule in schedules {
            if let Some(candidate) = candidates.get_mut(&schedule_key(&schedule.name)) {
                schedule.name.clone_into(&mut candidate.name);
                candidate.analysis = None;
                candidate.listed = Some(schedule);
            }
        }
        (candidates.into_values().collect(), is_complete)
    }

    /// Lists the latest executions of all schedules together. `None` if that fails: then the executions of each schedule are listed.
    async fn shared_executions(
        &self,
        clients: &(impl MonitoringSchedules + Clock),
        candidates: &[Candidate],
    ) -> Option<SharedExecutions> {
        if !candidates.iter().any(|candidate| candidate.listed.is_some()) {
            return None;
        }
        let after = clients.now().saturating_sub(SHARED_LOOK_BACK).unwrap_or(Timestamp::MIN);
        let mut shared = SharedExecutions {
            after,
            executions: BTreeMap::new(),
        };
        let mut next: Option<String> = None;
        for _ in 0..MAX_SHARED_PAGES {
            let page = match clients.executions_of_all(after, next.as_deref()).await {
                Ok(page) => page,
                Err(error) => {
                    tracing::warn!(error = %error, "failed to list the executions of all schedules: each schedule is listed");
                    return None;
                }
            };
            for (schedule, execution) in page.executions {
                let executions = shared.executions.entry(schedule_key(&schedule)).or_default();
                executions.push(execution);
            }
            next = page.next;
            if next.is_none() {
                return Some(shared);
            }
        }
        tracing::warn!("too many executions of all schedules: each schedule is listed");
        None
    }

    /// Sweeps monitors in this order until a time. Returns those that are left.
    async fn sweep_monitors<'a, W: SweepClients>(
        &self,
        clients: &W,
        candidates: Vec<&'a Candidate>,
        until: Timestamp,
        context: &MonitorContext<'_>,
        state: &mut LoadedState,
        progress: &mut Progress,
    ) -> Vec<&'a Candidate> {
        let states = &mut state.document.monitors.items;
        let known = |key: &str| {
            let state = states.get(key).cloned();
            state.unwrap_or_else(|| MonitorState::first_seen(clients.now()))
        };
        let work: Vec<_> = candidates
            .into_iter()
            .map(|candidate| (candidate, known(&candidate.key)))
            .collect();
        let mut left = Vec::new();
        let mut monitors = stream::iter(work.into_iter().map(async |(candidate, mut state)| {
            if clients.now() >= until {
                return (candidate, state, None);
            }
            let span = telemetry::span_for(None, Some(&candidate.name), None);
            let swept = Box::pin(self.monitor(clients, candidate, &mut state, context))
                .instrument(span)
                .await;
            state.swept_at = Some(clients.now());
            (candidate, state, Some(swept))
        }))
        .buffer_unordered(SWEEPS_AT_ONCE);
        while let Some((candidate, state, result)) = monitors.next().await {
            let Some(result) = result else {
                left.push(candidate);
                continue;
            };
            states.insert(candidate.key.clone(), state);
            let item = format!("monitor {}", candidate.name);
            match result {
                Ok(work) => progress.add(work, item),
                Err(error) => progress.failures.add(item, &machine::chain(&error)),
            }
        }
        left
    }

    /// Sweeps the models, those with an open incident first, until a time. Returns the number of models that are left.
    async fn sweep_models<W: SweepClients>(
        &self,
        clients: &W,
        until: Timestamp,
        context: &MonitorContext<'_>,
        state: &mut LoadedState,
        progress: &mut Progress,
    ) -> usize {
        let now = clients.now();
        // Again: the alerts of this sweep may have changed some.
        let listed = list_models(clients, &mut progress.failures).await;
        let is_complete = listed.is_some();
        let listed = listed.unwrap_or_default();
        let mut models: Vec<(&str, &ETag)> = listed.iter().map(|(model, etag)| (model.as_str(), etag)).collect();
        let pass = &mut state.document.models;
        let names = models.iter().map(|(model, _)| (*model).to_owned());
        pass.update(names, is_complete, now);
        models.sort_by_cached_key(|(model, _)| pass.rank(model, progress.in_alert.contains(*model)));
        let (mut work, mut left) = (Vec::new(), 0);
        for (model, etag) in models {
            let fingerprint = fingerprint(&[context.policy.version(), &etag.0]);
            let levels = progress.levels.remove(model).unwrap_or_default();
            let Some(item) = pass.items.get_mut(model) else {
                continue;
            };
            let is_quiet = item.quiet.as_ref().is_some_and(|quiet| quiet.holds(&fingerprint, now));
            if is_quiet && !progress.in_alert.contains(model) {
                item.swept_at = Some(now);
                progress.summary.models += 1;
            } else {
                work.push((model, levels, fingerprint));
            }
        }
        let mut sweeps = stream::iter(work.into_iter().map(async |(model, levels, fingerprint)| {
            if clients.now() >= until {
                return (model, fingerprint, None);
            }
            let swept = Box::pin(self.remediate.sweep(clients, model, levels, context.request_id)).await;
            (model, fingerprint, Some((swept, clients.now())))
        }))
        .buffer_unordered(SWEEPS_AT_ONCE);
        while let Some((model, fingerprint, result)) = sweeps.next().await {
            let Some((result, now)) = result else {
                left += 1;
                continue;
            };
            if let Some(item) = pass.items.get_mut(model) {
                item.swept_at = Some(now);
                // A model that cannot be swept does not come before the others.
                item.is_open = matches!(result, Ok(true));
                // If the document was written after the list, its next entity tag differs.
                item.quiet = matches!(result, Ok(false)).then(|| Quiet::new(now, model, fingerprint));
            }
            match result {
                Ok(_) => progress.summary.models += 1,
                Err(error) => progress.failures.add(format!("model {model}"), &machine::chain(&error)),
            }
        }
        left
    }

    /// Delivers alerts to models that have missed them, until a time.
    async fn deliver_alerts<W: SweepClients>(
        &self,
        clients: &W,
        until: Timestamp,
        state: &mut LoadedState,
        progress: &mut Progress,
        request_id: &str,
    ) {
        // The alerts of one model follow each other: they are written into the same document.
        let mut by_model: BTreeMap<String, Vec<AlertStateChange>> = BTreeMap::new();
        for change in std::mem::take(&mut progress.changes) {
            by_model.entry(change.model.clone()).or_default().push(change);
        }
        let mut deliveries = stream::iter(by_model.into_iter().map(async |(model, changes)| {
            let monitors: Vec<String> = changes
                .iter()
                .map(|change| schedule_key(&change.monitoring_schedule))
                .collect();
            if clients.now() >= until {
                return (model, monitors, None);
            }
            let delivered = self.deliver_to_model(clients, &model, changes, request_id).await;
            (model, monitors, Some(delivered))
        }))
        .buffer_unordered(SWEEPS_AT_ONCE);
        while let Some((model, monitors, delivered)) = deliveries.next().await {
            if !matches!(delivered, Some(Ok(0))) {
                // The next sweep examines whether the model knows these alerts.
                for monitor in monitors {
                    if let Some(state) = state.document.monitors.items.get_mut(&monitor) {
                        state.quiet = None;
                    }
                }
            }
            match delivered {
                None => {}
                Some(Ok(delivered)) => progress.summary.delivered += delivered,
                Some(Err(error)) => progress.failures.add(format!("model {model}"), &machine::chain(&error)),
            }
        }
    }

    /// Delivers the alerts that a model has missed. Returns their number.
    async fn deliver_to_model<W: SweepClients>(
        &self,
        clients: &W,
        model: &str,
        changes: Vec<AlertStateChange>,
        request_id: &str,
    ) -> Result<usize, Error> {
        let loaded = load::<ModelDocument>(clients, &model_key(model)).await?;
        let (mut delivered, mut failure) = (0, None);
        for change in changes {
            let known = loaded
                .document()
                .and_then(|document| document.alerts.get(&schedule_key(&change.monitoring_schedule)));
            if known.is_some_and(|known| known.position() >= change.position()) {
                continue;
            }
            let input = Input::Alert(Box::new(change));
            match self.remediate.take(clients, model.to_owned(), input, request_id).await {
                Ok(_) => delivered += 1,
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        match failure {
            None => Ok(delivered),
            Some(error) => Err(error),
        }
    }

    async fn monitor<W: SweepClients>(
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
            work.is_quiet = loaded.etag() == candidate.ledger.as_ref();
            known = Some(loaded).filter(|_| work.is_unchanged());
        } else if let Some(analysis) = &candidate.analysis {
            let loaded = self
                .compare_analysis(clients, analysis, state, context, &mut work)
                .await?;
            work.is_quiet = loaded.etag() == candidate.ledger.as_ref();
            known = Some(loaded).filter(|_| work.is_unchanged());
        }
        let before = known.as_ref().and_then(LoadedDocument::document).cloned();
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
                work.is_quiet &= before.as_ref() == Some(&ledger) && ledger.waits_for_executions(&rules);
                (ledger, level)
            });
        }
        self.retire(clients, candidate, state, context, &mut work).await?;
        state.quiet = None;
        if let Some((ledger, _)) = work.ledger.as_ref().filter(|_| work.is_quiet && work.is_unchanged()) {
            let now = clients.now();
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

impl MonitorWork {
    /// Whether the ledger is as it was loaded.
    fn is_unchanged(&self) -> bool {
        self.repaired + self.missing == 0 && !self.restarted && self.failures.is_empty()
    }
}

impl Progress {
    /// Adds the work of one monitor.
    fn add(&mut self, work: MonitorWork, item: String) {
        self.summary.monitors += 1;
        self.summary.repaired += work.repaired;
        self.summary.missing += work.missing;
        self.summary.restarted += usize::from(work.restarted);
        if let Some(first) = work.failures.first() {
            let more = match work.failures.len() {
                1 => String::new(),
                all => format!("; {} more", all - 1),
            };
            self.failures.add(item, &format!("{first}{more}"));
        }
        if let Some((ledger, level)) = work.ledger {
            let model = &ledger.monitor.model;
            let model_levels = self.levels.entry(model.clone()).or_default();
            model_levels.insert(schedule_key(&ledger.monitor.schedule), level);
            if ledger.alert.status == AlertStatus::InAlert {
                self.in_alert.insert(model.clone());
            }
            let sent = |id: &str| ledger.outbox.entries().iter().all(|entry| entry.id != id);
            self.changes
                .extend(ledger.last_change.as_deref().filter(|change| sent(&change.id)).cloned());
        }
    }
}

impl SharedExecutions {
    /// Executions of a schedule that are scheduled after a time.
    fn since(&self, schedule: &str, after: Timestamp) -> Vec<MonitoringExecution> {
        let executions = self.executions.get(&schedule_key(schedule)).into_iter().flatten();
        executions
            .filter(|execution| execution.scheduled_time > after)
            .cloned()
            .collect()
    }
}

/// Whether the list contains more than the ledger: there was no evidence, or an execution with failure or violations was recorded as
/// clean.
fn is_news(status: ExecutionStatus, known: &alerting::Evidence) -> bool {
    let unknown = known.report.is_none() && known.job.is_none() && known.execution.is_none();
    let recorded_as_clean = known.state() == alerting::DatapointState::Clean && status != ExecutionStatus::Completed;
    unknown || recorded_as_clean
}

/// Records the number of models in `fleet.json`. If that fails, the next sweep does it.
async fn count_models(clients: &(impl Documents + Clock), policy: &Policy, candidates: &[Candidate]) {
    let models: BTreeSet<String> = candidates
        .iter()
        // Other schedules may belong to other deployments.
        .filter(|candidate| candidate.ledger.is_some() || candidate.analysis.is_some())
        .map(|candidate| {
            let listed = candidate
                .listed
                .as_ref()
                .and_then(|schedule| schedule.endpoint.as_deref());
            let analyzed = candidate
                .analysis
                .as_ref()
                .and_then(|analysis| analysis.endpoint.as_ref());
            let monitor = MonitorRef {
                schedule: &candidate.name,
                endpoint: listed.or(analyzed.map(EndpointName::as_str)),
                monitor_type: None,
            };
            policy.monitor(&monitor).model
        })
        .collect();
    let count = |fleet: &mut Fleet| fleet.count_models(models.len());
    if let Err(error) = update_shared(clients, FLEET_KEY, count).await {
        tracing::warn!(error = %error, "failed to record the number of models");
    }
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
            let document: BaselineDocument = parse_document(&key, &body, 1)?;
            Ok(Some(document.change.time))
        }
    }
}

/// Entity tags of the documents of all models. `None` if they cannot be listed.
async fn list_models(clients: &impl Documents, failures: &mut Failures) -> Option<BTreeMap<String, ETag>> {
    match clients.list("models/").await {
        Ok(listed) => {
            let model = |listed: &ListedDocument| strip_key(&listed.key, "models/").map(ToOwned::to_owned);
            let listed = listed.into_iter();
            Some(
                listed
                    .filter_map(|listed| Some((model(&listed)?, listed.etag)))
                    .collect(),
            )
        }
        Err(error) => {
            failures.add("s3:ListBucket models/".to_owned(), &error.to_string());
            None
        }
    }
}

/// Entity tags by key.
fn by_key(listed: Vec<ListedDocument>) -> BTreeMap<String, ETag> {
    let listed = listed.into_iter();
    listed.map(|document| (document.key, document.etag)).collect()
}

/// Whether nothing has happened since the monitor was last read that could lead to work: its documents, its schedule, the
/// policy, and the list of its executions are as they were, and no further execution is due.
fn is_quiet(candidate: &Candidate, state: &mut MonitorState, context: &MonitorContext<'_>, now: Timestamp) -> bool {
    let (Some(quiet), Some(compared_until)) = (&state.quiet, state.compared_until) else {
        return false;
    };
    let fingerprint = monitor_fingerprint(candidate, &quiet.model, quiet.since, context);
    if !fingerprint.is_some_and(|fingerprint| quiet.holds(&fingerprint, now)) {
        return false;
    }
    let delay = candidate
        .analysis
        .as_ref()
        .map_or(SignedDuration::ZERO, |analysis| analysis.delay);
    let until = now
        .saturating_sub(GRACE.saturating_add(delay))
        .unwrap_or(Timestamp::MIN);
    if !state.due(compared_until, until).is_empty() {
        return false;
    }
    state.compared_until = Some(until.max(compared_until));
    true
}

/// Hash of all that could lead to work for a monitor, beside the passing of time. `None` if a list is unknown, or the monitor is not
/// listed. Executions that are scheduled long before `since` were compared then.
fn monitor_fingerprint(
    candidate: &Candidate,
    model: &str,
    since: Timestamp,
    context: &MonitorContext<'_>,
) -> Option<String> {
    let ledger = candidate.ledger.as_ref()?;
    let etag = |etag: Option<&ETag>| etag.map_or_else(String::new, |etag| etag.0.clone());
    let mut parts = vec![
        context.policy.version().to_owned(),
        ledger.0.clone(),
        etag(context.models?.get(model)),
        etag(candidate.baseline.as_ref()),
    ];
    match (&candidate.listed, &candidate.analysis) {
        (Some(schedule), _) => {
            parts.push(format!("{} {}", schedule.status, schedule.last_modified));
            let after = since.saturating_sub(QUIET_LOOK_BACK).unwrap_or(Timestamp::MIN);
            let mut executions: Vec<String> = context
                .shared?
                .since(&schedule.name, after)
                .iter()
                .map(|execution| {
                    let at = execution.scheduled_time;
                    format!("{at} {} {}", execution.status, execution.last_modified)
                })
                .collect();
            executions.sort_unstable();
            parts.append(&mut executions);
        }
        (None, Some(analysis)) => parts.push(analysis.schedule.to_string()),
        (None, None) => return None,
    }
    Some(fingerprint(&parts))
}

/// Hash of texts, in hexadecimal digits.
fn fingerprint(parts: &[impl AsRef<str>]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.as_ref());
        hash.update([0]);
    }
    let mut digits = hex::encode(hash.finalize());
    digits.truncate(16);
    digits
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
