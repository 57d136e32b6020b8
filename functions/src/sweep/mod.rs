#![doc = include_str!("README.md")]

mod candidates;
mod monitors;
mod paced;
mod quiet;
mod state;

use crate::{
    Error, Function, Incomplete, Request, Resources,
    ingest::Ingest,
    remediate::{ListedAlarms, Remediate, RemediateClients, model_key},
};
use alerting::{AlertStateChange, AlertStatus, Metric, MetricName};
use candidates::{Candidate, MonitorContext, count_models, list_models};
use futures_util::stream::{self, StreamExt as _};
use jiff::{SignedDuration, Timestamp};
use machine::{Clock, ETag, load};
use monitors::MonitorWork;
use paced::Paced;
use quiet::fingerprint;
use remediation::{Input, Levels, ModelDocument, schedule_key};
use serde::Serialize;
use shell::{
    PolicyStore,
    config::{ConfigError, Vars},
    pace::TokenBucket,
    ports::{Metrics, MonitoringAlerts, MonitoringSchedules, ProcessingJobs, Reports},
    telemetry,
};
use state::{Item as _, LoadedState, MonitorState, Quiet, SWEEP_KEY};
use std::collections::{BTreeMap, BTreeSet};
use tracing::Instrument as _;

/// Number of monitors, and then of models, that are swept concurrently. More would be throttled by SageMaker.
const SWEEPS_AT_ONCE: usize = 8;
/// No new monitor or model is started within this time before the function's deadline.
const RESERVE: SignedDuration = SignedDuration::from_secs(60);
/// Maximum rate of `List…` and `Describe…` requests to SageMaker, per second. SageMaker limits them per account, and other programs
/// need their share.
const MAX_REQUESTS_PER_SECOND: f64 = 8.0;
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
        let alarms = ListedAlarms::read(clients, &policy, started).await;
        if let Err(error) = &alarms {
            progress.failures.add(error.operation.to_owned(), &error.to_string());
        }

        // Models have their own half of the time, and monitors what models leave of it.
        let end = deadline.saturating_sub(RESERVE).unwrap_or(Timestamp::MIN);
        let half = started.saturating_add(end.duration_since(started) / 2).unwrap_or(end);
        let context = MonitorContext {
            policy: &policy,
            is_complete,
            models: models.as_ref(),
            shared: shared.as_ref(),
            alarms: alarms.as_ref().ok(),
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
        let mut listed = listed.unwrap_or_default();
        if let Some(alarms) = context.alarms {
            // The event of an alarm may have been lost before its model has a document.
            for model in alarms.models_in_alert(context.policy) {
                listed.entry(model).or_insert_with(|| ETag(String::new()));
            }
        }
        let mut models: Vec<(&str, &ETag)> = listed.iter().map(|(model, etag)| (model.as_str(), etag)).collect();
        let pass = &mut state.document.models;
        let names = models.iter().map(|(model, _)| (*model).to_owned());
        pass.update(names, is_complete, now);
        models.sort_by_cached_key(|(model, _)| pass.rank(model, progress.in_alert.contains(*model)));
        let (mut work, mut left) = (Vec::new(), 0);
        for (model, etag) in models {
            let alarms = context.alarms.map(|alarms| alarms.describe(model, context.policy));
            let fingerprint = fingerprint(&[context.policy.version(), &etag.0, &alarms.unwrap_or_default()]);
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
            let swept = self
                .remediate
                .sweep(clients, model, levels, context.alarms, context.request_id);
            let swept = Box::pin(swept).await;
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
