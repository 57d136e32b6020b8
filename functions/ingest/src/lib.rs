#![doc = include_str!("../README.md")]

mod config;
mod error;
mod evidence;

pub use config::Config;
pub use error::IngestError;

use alerting::{
    Evidence, ExecutionEvidence, FollowedAlert, MODEL_MONITOR_ALERT_STATE_CHANGE, MODEL_MONITOR_HEALTH_STATE_CHANGE,
    MONITORING_EXECUTION_STATE_CHANGE, Metric, MetricName, Monitor, MonitorEffect, MonitorLedger, MonitorRules,
    Observation, Recorded, execution_correlation_id,
};
use evidence::{Found, Source};
use futures_util::future::{join, join3};
use jiff::Timestamp;
use model_monitor::{Detail, EndpointName, Event, ProcessingJobStateChange, ReportFolder};
use outbox::Caller;
use promotion::{MONITOR_BASELINE_CHANGE, MonitorBaselineChange};
use remediation::{MonitorOf, MonitorPolicy, Policy};
use serde::Serialize;
use shell::{
    AwsError, Kind, LEASE, Loaded, PolicyStore,
    config::{ConfigError, Vars},
    load,
    ports::{Clock, Documents, EventBus, Metrics, MonitoringAlerts, ProcessingJobs, Reports},
    telemetry, turn,
};
use tracing::{Instrument as _, Span};

/// The function, configured.
#[derive(Debug)]
pub struct Ingest {
    config: Config,
    policy: PolicyStore,
}

/// What became of an event: the function's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "lowercase", rename_all_fields = "camelCase")]
pub enum Handled {
    /// A datapoint was recorded, or more is known of one.
    Recorded {
        /// The monitoring schedule.
        monitoring_schedule: String,
        /// The datapoint's scheduled time.
        scheduled_time: String,
    },
    /// Nothing that was not known.
    Duplicate {
        /// The monitoring schedule.
        monitoring_schedule: String,
        /// The datapoint's scheduled time.
        scheduled_time: String,
    },
    /// The alert window of a monitor began anew.
    Restarted {
        /// The monitoring schedule.
        monitoring_schedule: String,
        /// Since when executions count.
        restarted_at: String,
    },
    /// It does not concern us.
    Ignored {
        /// Why.
        reason: String,
    },
}

impl Ingest {
    /// The function with a configuration.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            policy: PolicyStore::default(),
        }
    }

    /// With a policy that is shared with other functions of this process.
    #[must_use]
    pub fn with_policy(self, policy: PolicyStore) -> Self {
        Self { policy, ..self }
    }

    /// The function as the environment configures it, with the state bucket and the event bus. See [`Config`].
    ///
    /// # Errors
    /// If a variable is missing or wrong.
    pub fn from_vars(vars: &Vars<impl Fn(&str) -> Option<String>>) -> Result<(Self, String, String), ConfigError> {
        let config = Config::from_vars(vars)?;
        let (state_bucket, event_bus) = (config.state_bucket.clone(), config.event_bus.clone());
        Ok((Self::new(config), state_bucket, event_bus))
    }

    /// Handles one event.
    ///
    /// # Errors
    /// If the event or its report cannot be read, or AWS fails: Lambda retries it, then keeps it in the dead-letter
    /// queue.
    pub async fn handle<W>(&self, world: &W, payload: &str, request_id: &str) -> Result<Handled, IngestError>
    where
        W: Documents + Reports + Metrics + EventBus + ProcessingJobs + MonitoringAlerts + Clock,
    {
        let event = Event::parse("event", payload.as_bytes()).map_err(IngestError::Event)?;
        let source = match event.detail {
            Detail::ObjectCreated(object) => Source::of_object(object, &self.config),
            Detail::ProcessingJob(job) => Source::of_job(*job, &self.config),
            Detail::Other(detail)
                if event.source == alerting::EVENT_SOURCE && event.detail_type == MONITORING_EXECUTION_STATE_CHANGE =>
            {
                let execution = serde_json::from_value(detail).map_err(IngestError::Execution)?;
                Source::of_execution(execution, &self.config)
            }
            Detail::Other(detail)
                if event.source == alerting::EVENT_SOURCE && event.detail_type == MONITOR_BASELINE_CHANGE =>
            {
                let change: MonitorBaselineChange =
                    serde_json::from_value(detail).map_err(IngestError::BaselineChange)?;
                let schedule = &change.monitoring_schedule;
                let about = telemetry::about(Some(&change.model), Some(schedule), change.correlation_id.as_deref());
                let restarted = self.restart(world, schedule, change.time, request_id);
                return restarted.instrument(about).await;
            }
            _ => Err(format!(
                "`{}` does not concern monitoring executions",
                event.detail_type
            )),
        };
        match source {
            Ok((folder, source)) => {
                let about = about(folder.schedule.as_str(), folder.scheduled_time);
                let observed = self.observe(world, folder, source, request_id);
                observed.instrument(about).await
            }
            Err(reason) => Ok(ignored(reason)),
        }
    }

    /// Handles an analysis job as the sweep finds it, where its event was lost.
    ///
    /// # Errors
    /// As [`Ingest::handle`].
    pub async fn handle_job<W>(
        &self,
        world: &W,
        job: ProcessingJobStateChange,
        request_id: &str,
    ) -> Result<Handled, IngestError>
    where
        W: Documents + Reports + Metrics + EventBus + ProcessingJobs + MonitoringAlerts + Clock,
    {
        match Source::of_job(job, &self.config) {
            Ok((folder, source)) => {
                let about = about(folder.schedule.as_str(), folder.scheduled_time);
                let observed = self.observe(world, folder, source, request_id);
                observed.instrument(about).await
            }
            Err(reason) => Ok(ignored(reason)),
        }
    }

    /// Records what SageMaker's own list, or its silence, says of an execution.
    ///
    /// # Errors
    /// If there is no policy to judge by, or AWS fails.
    pub async fn handle_execution<W>(
        &self,
        world: &W,
        execution: ListedExecution<'_>,
        request_id: &str,
    ) -> Result<Handled, IngestError>
    where
        W: Documents + Metrics + EventBus + MonitoringAlerts + Clock,
    {
        let key = monitor_key(execution.schedule);
        let (policy, loaded) = join(self.policy.load(world), load::<MonitorLedger>(world, &key)).await;
        let policy = policy.map_err(IngestError::Policy)?;
        let found = Found {
            evidence: Evidence {
                execution: execution.evidence,
                ..Evidence::default()
            },
            monitor_type: None,
        };
        let ListedExecution {
            schedule,
            endpoint,
            scheduled_time,
            ..
        } = execution;
        let of = (schedule, endpoint, scheduled_time);
        let recorded = self.record(world, of, found, &policy, loaded?, request_id);
        recorded.instrument(about(schedule, scheduled_time)).await
    }

    /// Begins a monitor's alert window anew, as its baseline changed. A monitor of which nothing was ever recorded has none:
    /// the sweep restarts it, should there be one later.
    ///
    /// # Errors
    /// If there is no policy to judge by, or AWS fails.
    pub async fn restart<W>(
        &self,
        world: &W,
        schedule: &str,
        changed_at: Timestamp,
        request_id: &str,
    ) -> Result<Handled, IngestError>
    where
        W: Documents + Metrics + EventBus + Clock,
    {
        let key = monitor_key(schedule);
        let (policy, loaded) = join(self.policy.load(world), load::<MonitorLedger>(world, &key)).await;
        let policy = policy.map_err(IngestError::Policy)?;
        let loaded = loaded?;
        let Some(monitor) = loaded.document().map(|ledger| ledger.monitor.clone()) else {
            return Ok(ignored(format!("nothing was ever recorded of `{schedule}`")));
        };
        let caller = caller(world, request_id);
        let rules = rules_of(&policy, &monitor).rules;
        let restarted = turn(
            world,
            &key,
            loaded,
            &caller,
            || MonitorLedger::new(monitor.clone()),
            |ledger| ledger.restart(changed_at, &rules, &caller),
            async |effect| self.carry_out(world, effect).await,
        )
        .await?;
        if !restarted {
            return Ok(ignored(format!(
                "the window of `{schedule}` has been restarted at {changed_at} or later"
            )));
        }
        tracing::info!(
            monitoring_schedule = %schedule,
            restarted_at = %changed_at,
            "alert window restarted"
        );
        Ok(Handled::Restarted {
            monitoring_schedule: schedule.to_owned(),
            restarted_at: changed_at.to_string(),
        })
    }

    /// Judges a monitor again by the policy and the time of now, restarts its window if its baseline changed later than it
    /// knows, notes up to which scheduled time its ledger has been compared with SageMaker's list, and carries out what the
    /// ledger still owes. `known` is the ledger, if the sweep has just read it. `None` if there is no ledger.
    ///
    /// # Errors
    /// If there is no policy to judge by, or AWS fails.
    pub async fn sweep<W>(
        &self,
        world: &W,
        schedule: &str,
        known: Option<Loaded<MonitorLedger>>,
        found: SweepFound,
        request_id: &str,
    ) -> Result<Option<SweptMonitor>, IngestError>
    where
        W: Documents + Metrics + EventBus + MonitoringAlerts + Clock,
    {
        let key = monitor_key(schedule);
        let loaded = async {
            match known {
                Some(known) => Ok(known),
                None => load::<MonitorLedger>(world, &key).await,
            }
        };
        let (policy, loaded) = join(self.policy.load(world), loaded).await;
        let policy = policy.map_err(IngestError::Policy)?;
        let loaded = loaded?;
        let Some(ledger) = loaded.document() else {
            return Ok(None);
        };
        let caller = caller(world, request_id);
        let rules = rules_of(&policy, &ledger.monitor).rules;
        let followed = follow(world, ledger, &rules, &caller).await;
        let monitor = ledger.monitor.clone();
        let (ledger, restarted) = turn(
            world,
            &key,
            loaded,
            &caller,
            || MonitorLedger::new(monitor.clone()),
            |ledger| {
                ledger.followed = followed.or(ledger.followed);
                if let Some(until) = found.compared_until {
                    ledger.compared(until);
                }
                let changed = found.baseline_changed_at;
                let restarted = changed.is_some_and(|at| ledger.restart(at, &rules, &caller));
                ledger.sweep(&rules, &caller);
                (ledger.clone(), restarted)
            },
            async |effect| self.carry_out(world, effect).await,
        )
        .await?;
        Ok(Some(SweptMonitor {
            ledger,
            rules,
            restarted,
        }))
    }

    async fn observe<W>(
        &self,
        world: &W,
        folder: ReportFolder,
        source: Source,
        request_id: &str,
    ) -> Result<Handled, IngestError>
    where
        W: Documents + Reports + Metrics + EventBus + ProcessingJobs + MonitoringAlerts + Clock,
    {
        let key = monitor_key(folder.schedule.as_str());
        let (policy, loaded, found) = join3(
            self.policy.load(world),
            load::<MonitorLedger>(world, &key),
            evidence::gather(world, &folder, source, &self.config),
        )
        .await;
        let found = match found {
            Err(error) if error.is_unreadable_report() => {
                self.count_unreadable(world, &folder).await;
                return Err(error);
            }
            found => found?,
        };
        let found = match found {
            Ok(found) => found,
            Err(reason) => return Ok(ignored(reason)),
        };
        let policy = policy.map_err(IngestError::Policy)?;
        let endpoint = folder.endpoint.as_ref().map(EndpointName::as_str);
        let of = (folder.schedule.as_str(), endpoint, folder.scheduled_time);
        self.record(world, of, found, &policy, loaded?, request_id).await
    }

    async fn record<W>(
        &self,
        world: &W,
        (schedule, endpoint, scheduled_time): (&str, Option<&str>, Timestamp),
        found: Found,
        policy: &Policy,
        loaded: Loaded<MonitorLedger>,
        request_id: &str,
    ) -> Result<Handled, IngestError>
    where
        W: Documents + Metrics + EventBus + MonitoringAlerts + Clock,
    {
        let known = loaded.document().map(|ledger| &ledger.monitor);
        let mut monitor = Monitor {
            schedule: schedule.to_owned(),
            // SageMaker's list may name no endpoint where a report's folder does.
            endpoint: endpoint.map(ToOwned::to_owned).or_else(|| known?.endpoint.clone()),
            model: String::new(),
            monitor_type: found.monitor_type.or_else(|| known?.monitor_type),
        };
        let MonitorPolicy { model, rules } = rules_of(policy, &monitor);
        monitor.model = model;
        let caller = caller(world, request_id);
        let followed = match loaded.document() {
            Some(ledger) => follow(world, ledger, &rules, &caller).await,
            None => follow(world, &MonitorLedger::new(monitor.clone()), &rules, &caller).await,
        };
        let observation = Observation {
            monitor: monitor.clone(),
            scheduled_time,
            evidence: found.evidence,
        };
        let recorded = turn(
            world,
            &monitor_key(schedule),
            loaded,
            &caller,
            || MonitorLedger::new(monitor.clone()),
            |ledger| {
                ledger.followed = followed.or(ledger.followed);
                let recorded = ledger.record(observation.clone(), &rules, &caller);
                let state = ledger
                    .datapoints
                    .iter()
                    .find(|datapoint| datapoint.scheduled_time == scheduled_time);
                let state = state.map(alerting::Datapoint::state);
                (recorded, state, ledger.alert.status)
            },
            async |effect| self.carry_out(world, effect).await,
        )
        .await?;
        let (recorded, state, alert_status) = recorded;
        tracing::info!(
            monitoring_schedule = %schedule,
            scheduled_time = %scheduled_time,
            recorded = ?recorded,
            state = state.map(alerting::DatapointState::as_str),
            alert_status = alert_status.as_str(),
            "execution handled"
        );
        let scheduled_time = scheduled_time.to_string();
        let monitoring_schedule = schedule.to_owned();
        Ok(match recorded {
            Recorded::New | Recorded::Changed => Handled::Recorded {
                monitoring_schedule,
                scheduled_time,
            },
            Recorded::Duplicate => Handled::Duplicate {
                monitoring_schedule,
                scheduled_time,
            },
            Recorded::TooOld => ignored(format!(
                "the execution of {scheduled_time} is older than all that the ledger of `{schedule}` keeps"
            )),
        })
    }

    async fn carry_out(&self, world: &(impl Metrics + EventBus), effect: &MonitorEffect) -> Result<(), AwsError> {
        match effect {
            MonitorEffect::PublishMetrics(metrics) => world.publish(&self.config.metric_namespace, metrics).await,
            MonitorEffect::PutHealthStateChange(change) => {
                world.put(MODEL_MONITOR_HEALTH_STATE_CHANGE, json(change)?).await?;
                tracing::info!(
                    model = %change.model,
                    monitoring_schedule = %change.monitoring_schedule,
                    health_status = change.health_status.as_str(),
                    reason = %change.reason,
                    "health state changed"
                );
                Ok(())
            }
            MonitorEffect::PutAlertStateChange(change) => {
                world.put(MODEL_MONITOR_ALERT_STATE_CHANGE, json(change)?).await?;
                tracing::info!(
                    model = %change.model,
                    monitoring_schedule = %change.monitoring_schedule,
                    alert_status = change.alert_status.as_str(),
                    reason = %change.reason,
                    "alert state changed"
                );
                Ok(())
            }
        }
    }

    /// Counts a report that cannot be read, at every attempt. The error itself matters more than its count: one that
    /// cannot be published is only logged.
    async fn count_unreadable(&self, world: &(impl Metrics + Clock), folder: &ReportFolder) {
        let schedule = folder.schedule.as_str().to_owned();
        let endpoint = folder.endpoint.as_ref().map(|endpoint| endpoint.as_str().to_owned());
        let monitor = Monitor {
            model: schedule.clone(),
            schedule,
            endpoint,
            monitor_type: None,
        };
        let metric = Metric::new(&monitor, MetricName::UnreadableReports, [], world.now(), 1.0);
        let metrics: Vec<Metric> = metric.into_iter().collect();
        if let Err(error) = world.publish(&self.config.metric_namespace, &metrics).await {
            tracing::warn!(error = %error, "the unreadable report could not be counted");
        }
    }
}

/// An execution as SageMaker's own list has it, or one that was due and is not in the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedExecution<'a> {
    /// The monitoring schedule.
    pub schedule: &'a str,
    /// The monitored endpoint, if the list names it.
    pub endpoint: Option<&'a str>,
    /// The hour that it was due.
    pub scheduled_time: Timestamp,
    /// How it ended; `None` if it never ran.
    pub evidence: Option<ExecutionEvidence>,
}

/// What a sweep has found out about a monitor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SweepFound {
    /// Up to this scheduled time SageMaker's list and the ledger agree.
    pub compared_until: Option<Timestamp>,
    /// When the monitor's baseline changed, if it ever did.
    pub baseline_changed_at: Option<Timestamp>,
}

/// A monitor that was swept.
#[derive(Debug, Clone)]
pub struct SweptMonitor {
    /// Its ledger.
    pub ledger: MonitorLedger,
    /// The rules that it was judged by.
    pub rules: MonitorRules,
    /// Whether its window was restarted, which no event had told of.
    pub restarted: bool,
}

/// The span of what is logged about an execution.
fn about(schedule: &str, scheduled_time: Timestamp) -> Span {
    let correlation_id = execution_correlation_id(schedule, scheduled_time);
    telemetry::about(None, Some(schedule), Some(&correlation_id))
}

/// Where the ledger of a monitor lies in the state bucket.
pub fn monitor_key(schedule: &str) -> String {
    format!("monitors/{}.json", schedule.to_ascii_lowercase())
}

fn rules_of(policy: &Policy, monitor: &Monitor) -> MonitorPolicy {
    let monitor_type = monitor.monitor_type.map(|kind| kind.to_string());
    policy.monitor(&MonitorOf {
        schedule: &monitor.schedule,
        endpoint: monitor.endpoint.as_deref(),
        monitor_type: monitor_type.as_deref(),
    })
}

fn caller(world: &impl Clock, request_id: &str) -> Caller {
    Caller {
        id: request_id.to_owned(),
        now: world.now(),
        lease: LEASE,
    }
}

/// What is set on the schedule's own alert, if the policy follows it and what is known of it is not fresh. An answer that
/// does not come leaves what was known.
async fn follow(
    world: &impl MonitoringAlerts,
    ledger: &MonitorLedger,
    rules: &MonitorRules,
    caller: &Caller,
) -> Option<FollowedAlert> {
    if !ledger.wants_monitoring_alert(rules, caller.now) {
        return None;
    }
    match world.monitoring_alert(&ledger.monitor.schedule).await {
        Ok(window) => Some(FollowedAlert {
            window,
            read_at: caller.now,
        }),
        Err(error) => {
            tracing::warn!(error = %error, "the schedule's own alert could not be read: what was known of it holds");
            None
        }
    }
}

fn json(detail: &impl Serialize) -> Result<String, AwsError> {
    serde_json::to_string(detail).map_err(|error| AwsError {
        operation: "events:PutEvents",
        resource: "detail".into(),
        kind: Kind::Rejected,
        message: error.to_string(),
    })
}

fn ignored(reason: String) -> Handled {
    tracing::debug!(reason = %reason, "event ignored");
    Handled::Ignored { reason }
}
