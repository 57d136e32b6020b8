#![doc = include_str!("README.md")]

mod config;
mod evidence;

pub use config::Config;

use crate::{Error, Function, Ignored, Request, Resources};
use alerting::{
    DropOutcome, Evidence, ExecutionEvidence, FollowedAlert, Metric, MetricName, Monitor, MonitorDatapointDrop,
    MonitorEffect, MonitorLedger, MonitorRules, Observation, Recorded, execution_correlation_id, is_ahead,
};
use events::{Event, Incoming, ReceivedEvent};
use evidence::{Finding, Source};
use futures_util::future::{join, join3};
use jiff::Timestamp;
use machine::{AwsError, Caller, Clock, Documents, LoadedDocument, load, update_document};
use model_monitor::{Detail, EndpointName, ProcessingJobStateChange, ReportFolder};
use remediation::{MonitorPolicy, MonitorRef, Policy};
use serde::Serialize;
use shell::{
    PolicyStore,
    config::{ConfigError, Vars},
    ports::{EventBus, Metrics, MonitoringAlerts, ProcessingJobs, Reports},
    telemetry,
};
use tracing::{Instrument as _, Span};

/// AWS APIs that the function uses.
pub trait IngestClients: Documents + Reports + Metrics + EventBus + ProcessingJobs + MonitoringAlerts + Clock {}

impl<W: Documents + Reports + Metrics + EventBus + ProcessingJobs + MonitoringAlerts + Clock> IngestClients for W {}

/// The `ingest` function.
#[derive(Debug)]
pub struct Ingest {
    config: Config,
    policy: PolicyStore,
}

/// Outcome of an event: the response of the function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "lowercase", rename_all_fields = "camelCase")]
pub enum Handled {
    /// A datapoint was recorded or updated.
    Recorded {
        /// Name of the monitoring schedule.
        monitoring_schedule: String,
        /// Scheduled time of the datapoint.
        scheduled_time: String,
    },
    /// The datapoint was already recorded.
    Duplicate {
        /// Name of the monitoring schedule.
        monitoring_schedule: String,
        /// Scheduled time of the datapoint.
        scheduled_time: String,
    },
    /// The alert window of a monitor was restarted.
    Restarted {
        /// Name of the monitoring schedule.
        monitoring_schedule: String,
        /// Time from which executions count.
        restarted_at: String,
    },
    /// A datapoint was removed by an operator.
    Dropped {
        /// Name of the monitoring schedule.
        monitoring_schedule: String,
        /// Scheduled time of the datapoint.
        scheduled_time: String,
    },
    /// The event does not concern monitoring executions of this deployment.
    Ignored {
        /// Why the event was ignored.
        reason: String,
    },
}

impl<C: IngestClients> Function<C> for Ingest {
    type Response = Handled;

    async fn invoke(&self, clients: &C, request: Request<'_>) -> Result<Handled, Error> {
        self.handle(clients, request.payload, request.request_id).await
    }
}

impl Ingest {
    /// Creates the function from a configuration.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            policy: PolicyStore::recording(),
        }
    }

    /// CloudWatch namespace of the metrics.
    pub fn metric_namespace(&self) -> &str {
        &self.config.metric_namespace
    }

    /// Shares a policy cache with other functions of this process.
    #[must_use]
    pub fn with_policy(self, policy: PolicyStore) -> Self {
        Self { policy, ..self }
    }

    /// Creates the function from environment variables, see [`Config`]. Also returns the resources that its clients use.
    ///
    /// # Errors
    /// If a variable is missing or invalid.
    pub fn from_vars(vars: &Vars<impl Fn(&str) -> Option<String>>) -> Result<(Self, Resources), ConfigError> {
        Ok((Self::new(Config::from_vars(vars)?), Resources::with_event_bus(vars)?))
    }

    /// Handles one event.
    ///
    /// # Errors
    /// If the event or its report cannot be parsed, or a call to AWS fails. Lambda retries the event, then sends it to the
    /// dead-letter queue.
    pub async fn handle<W: IngestClients>(
        &self,
        clients: &W,
        payload: &str,
        request_id: &str,
    ) -> Result<Handled, Error> {
        let event = ReceivedEvent::parse(payload)?;
        let source = match event.incoming {
            Incoming::Aws(Detail::ObjectCreated(object)) => Source::from_object(object, &self.config),
            Incoming::Aws(Detail::ProcessingJob(job)) => Source::from_job(*job, &self.config),
            Incoming::Own(Event::ExecutionStateChange(execution)) => Source::from_execution(*execution, &self.config),
            Incoming::Own(Event::BaselineChange(change)) => {
                let schedule = &change.monitoring_schedule;
                let span = telemetry::span_for(Some(&change.model), Some(schedule), change.correlation_id.as_deref());
                let restarted = self.restart(clients, schedule, change.time, request_id);
                return restarted.instrument(span).await;
            }
            Incoming::Own(Event::DatapointDrop(command)) => {
                let span = execution_span(&command.monitoring_schedule, command.scheduled_time);
                let dropped = self.drop_datapoint(clients, &command, request_id);
                return dropped.instrument(span).await;
            }
            _ => Err(Ignored(format!(
                "`{}` does not concern monitoring executions",
                event.detail_type
            ))),
        };
        match source {
            Ok((folder, source)) => {
                let span = execution_span(folder.schedule.as_str(), folder.scheduled_time);
                let observed = self.observe(clients, folder, source, request_id);
                observed.instrument(span).await
            }
            Err(Ignored(reason)) => Ok(ignored(reason)),
        }
    }

    /// Handles an analysis job that the sweep found because its event was lost.
    ///
    /// # Errors
    /// As [`Ingest::handle`].
    pub async fn handle_job<W>(
        &self,
        clients: &W,
        job: ProcessingJobStateChange,
        request_id: &str,
    ) -> Result<Handled, Error>
    where
        W: IngestClients,
    {
        match Source::from_job(job, &self.config) {
            Ok((folder, source)) => {
                let span = execution_span(folder.schedule.as_str(), folder.scheduled_time);
                let observed = self.observe(clients, folder, source, request_id);
                observed.instrument(span).await
            }
            Err(Ignored(reason)) => Ok(ignored(reason)),
        }
    }

    /// Records an execution from SageMaker's list, or one that is missing there.
    ///
    /// # Errors
    /// If the execution is scheduled too far ahead, no valid policy is available, or a call to AWS fails.
    pub async fn handle_execution<W>(
        &self,
        clients: &W,
        execution: ListedExecution<'_>,
        request_id: &str,
    ) -> Result<Handled, Error>
    where
        W: Documents + Metrics + EventBus + MonitoringAlerts + Clock,
    {
        check_time(clients, execution.schedule, execution.scheduled_time)?;
        let key = monitor_key(execution.schedule);
        let (policy, loaded) = join(self.policy.load(clients), load::<MonitorLedger>(clients, &key)).await;
        let policy = policy.map_err(Error::Policy)?;
        let finding = Finding {
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
        let execution = (schedule, endpoint, scheduled_time);
        let recorded = self.record(clients, execution, finding, &policy, loaded?, request_id);
        recorded.instrument(execution_span(schedule, scheduled_time)).await
    }

    /// Restarts the alert window of a monitor after a change of its baseline. A monitor without a ledger is ignored: the sweep
    /// restarts its window later.
    ///
    /// # Errors
    /// If no valid policy is available, or a call to AWS fails.
    pub async fn restart<W>(
        &self,
        clients: &W,
        schedule: &str,
        changed_at: Timestamp,
        request_id: &str,
    ) -> Result<Handled, Error>
    where
        W: Documents + Metrics + EventBus + Clock,
    {
        let change = |ledger: &mut MonitorLedger, rules: &MonitorRules, caller: &Caller| {
            ledger.restart(changed_at, rules, caller)
        };
        let Some(restarted) = self.update_known(clients, schedule, request_id, change).await? else {
            return Ok(ignored(format!("no execution of `{schedule}` has been recorded")));
        };
        if !restarted {
            return Ok(ignored(format!(
                "the alert window of `{schedule}` was already restarted at {changed_at} or later"
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

    /// Changes the ledger of a monitor, and executes its pending effects. `None` if the monitor has no ledger.
    async fn update_known<W, R>(
        &self,
        clients: &W,
        schedule: &str,
        request_id: &str,
        change: impl Fn(&mut MonitorLedger, &MonitorRules, &Caller) -> R,
    ) -> Result<Option<R>, Error>
    where
        W: Documents + Metrics + EventBus + Clock,
    {
        let key = monitor_key(schedule);
        let (policy, loaded) = join(self.policy.load(clients), load::<MonitorLedger>(clients, &key)).await;
        let policy = policy.map_err(Error::Policy)?;
        let loaded = loaded?;
        let Some(monitor) = loaded.document().map(|ledger| ledger.monitor.clone()) else {
            return Ok(None);
        };
        let caller = caller(clients, request_id);
        let rules = rules_for(&policy, &monitor).rules;
        let changed = update_document(
            clients,
            &key,
            loaded,
            &caller,
            || MonitorLedger::new(monitor.clone()),
            |ledger| change(ledger, &rules, &caller),
            async |effect| self.execute(clients, effect).await,
        );
        Ok(Some(changed.await?))
    }

    /// Removes a datapoint of a monitor as commanded by an operator, and evaluates the monitor again.
    ///
    /// # Errors
    /// If no valid policy is available, or a call to AWS fails.
    pub async fn drop_datapoint<W>(
        &self,
        clients: &W,
        command: &MonitorDatapointDrop,
        request_id: &str,
    ) -> Result<Handled, Error>
    where
        W: Documents + Metrics + EventBus + Clock,
    {
        let schedule = &command.monitoring_schedule;
        let scheduled_time = command.scheduled_time;
        let change = |ledger: &mut MonitorLedger, rules: &MonitorRules, caller: &Caller| {
            ledger.drop_datapoint(command, rules, caller)
        };
        let Some(outcome) = self.update_known(clients, schedule, request_id, change).await? else {
            return Ok(ignored(format!("no execution of `{schedule}` has been recorded")));
        };
        match outcome {
            DropOutcome::Dropped => {
                tracing::info!(
                    monitoring_schedule = %schedule,
                    scheduled_time = %scheduled_time,
                    by = %command.by,
                    reason = %command.reason,
                    "datapoint dropped"
                );
                Ok(Handled::Dropped {
                    monitoring_schedule: schedule.clone(),
                    scheduled_time: scheduled_time.to_string(),
                })
            }
            DropOutcome::Absent => Ok(ignored(format!(
                "the ledger of `{schedule}` has no datapoint of {scheduled_time}"
            ))),
            DropOutcome::Newer => Ok(ignored(format!(
                "the datapoint of {scheduled_time} in the ledger of `{schedule}` has evidence that is newer than the command"
            ))),
        }
    }

    /// Evaluates a monitor again with the current policy and time. Restarts its window if its baseline changed after the last
    /// restart, records up to which scheduled time its ledger has been compared with SageMaker's list, and executes pending effects.
    /// `known` is the ledger, if the sweep has just loaded it. Returns `None` if there is no ledger.
    ///
    /// # Errors
    /// If no valid policy is available, or a call to AWS fails.
    pub async fn sweep<W>(
        &self,
        clients: &W,
        schedule: &str,
        known: Option<LoadedDocument<MonitorLedger>>,
        state: SweepState,
        request_id: &str,
    ) -> Result<Option<MonitorSweep>, Error>
    where
        W: Documents + Metrics + EventBus + MonitoringAlerts + Clock,
    {
        let key = monitor_key(schedule);
        let loaded = async {
            match known {
                Some(known) => Ok(known),
                None => load::<MonitorLedger>(clients, &key).await,
            }
        };
        let (policy, loaded) = join(self.policy.load(clients), loaded).await;
        let policy = policy.map_err(Error::Policy)?;
        let loaded = loaded?;
        let Some(ledger) = loaded.document() else {
            return Ok(None);
        };
        let caller = caller(clients, request_id);
        let rules = rules_for(&policy, &ledger.monitor).rules;
        let followed = follow_alert(clients, ledger, &rules, &caller).await;
        let monitor = ledger.monitor.clone();
        let (ledger, restarted) = update_document(
            clients,
            &key,
            loaded,
            &caller,
            || MonitorLedger::new(monitor.clone()),
            |ledger| {
                ledger.followed = followed.or(ledger.followed);
                if let Some(until) = state.compared_until {
                    ledger.record_comparison(until);
                }
                let changed = state.baseline_changed_at;
                let restarted = changed.is_some_and(|at| ledger.restart(at, &rules, &caller));
                ledger.sweep(&rules, &caller);
                (ledger.clone(), restarted)
            },
            async |effect| self.execute(clients, effect).await,
        )
        .await?;
        Ok(Some(MonitorSweep {
            ledger,
            rules,
            restarted,
        }))
    }

    async fn observe<W>(
        &self,
        clients: &W,
        folder: ReportFolder,
        source: Source,
        request_id: &str,
    ) -> Result<Handled, Error>
    where
        W: IngestClients,
    {
        check_time(clients, folder.schedule.as_str(), folder.scheduled_time)?;
        let key = monitor_key(folder.schedule.as_str());
        let (policy, loaded, finding) = join3(
            self.policy.load(clients),
            load::<MonitorLedger>(clients, &key),
            evidence::gather(clients, &folder, source, &self.config),
        )
        .await;
        let finding = match finding {
            Err(error) if error.is_unreadable_report() => {
                self.count_unreadable(clients, &folder).await;
                return Err(error);
            }
            finding => finding?,
        };
        let finding = match finding {
            Ok(finding) => finding,
            Err(Ignored(reason)) => return Ok(ignored(reason)),
        };
        let policy = policy.map_err(Error::Policy)?;
        let endpoint = folder.endpoint.as_ref().map(EndpointName::as_str);
        let execution = (folder.schedule.as_str(), endpoint, folder.scheduled_time);
        self.record(clients, execution, finding, &policy, loaded?, request_id)
            .await
    }

    async fn record<W>(
        &self,
        clients: &W,
        (schedule, endpoint, scheduled_time): (&str, Option<&str>, Timestamp),
        finding: Finding,
        policy: &Policy,
        loaded: LoadedDocument<MonitorLedger>,
        request_id: &str,
    ) -> Result<Handled, Error>
    where
        W: Documents + Metrics + EventBus + MonitoringAlerts + Clock,
    {
        let known = loaded.document().map(|ledger| &ledger.monitor);
        let mut monitor = Monitor {
            schedule: schedule.to_owned(),
            // SageMaker's list may omit the endpoint, the folder of a report contains it.
            endpoint: endpoint.map(ToOwned::to_owned).or_else(|| known?.endpoint.clone()),
            model: String::new(),
            monitor_type: finding.monitor_type.or_else(|| known?.monitor_type),
        };
        let MonitorPolicy { model, rules } = rules_for(policy, &monitor);
        monitor.model = model;
        let caller = caller(clients, request_id);
        let followed = match loaded.document() {
            Some(ledger) => follow_alert(clients, ledger, &rules, &caller).await,
            None => follow_alert(clients, &MonitorLedger::new(monitor.clone()), &rules, &caller).await,
        };
        let observation = Observation {
            monitor: monitor.clone(),
            scheduled_time,
            evidence: finding.evidence,
        };
        let recorded = update_document(
            clients,
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
            async |effect| self.execute(clients, effect).await,
        )
        .await?;
        let (recorded, state, alert_status) = recorded;
        if recorded == Recorded::Ahead {
            return Err(ahead(schedule, scheduled_time, caller.now));
        }
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
            Recorded::Ahead | Recorded::Dropped => ignored(format!(
                "an operator dropped the datapoint of {scheduled_time} in the ledger of `{monitoring_schedule}`"
            )),
            Recorded::TooOld => ignored(format!(
                "the execution of {scheduled_time} is older than all datapoints in the ledger of `{schedule}`"
            )),
        })
    }

    async fn execute(&self, clients: &(impl Metrics + EventBus), effect: &MonitorEffect) -> Result<(), AwsError> {
        match effect {
            MonitorEffect::PublishMetrics(metrics) => clients.publish(&self.config.metric_namespace, metrics).await,
            MonitorEffect::PutHealthStateChange(change) => {
                clients.put(&Event::HealthStateChange(change.clone())).await?;
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
                clients.put(&Event::from(change.clone())).await?;
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

    /// Counts an unreadable report, at every attempt. If the metric cannot be published, this is only logged: the error of the
    /// report is more important.
    async fn count_unreadable(&self, clients: &(impl Metrics + Clock), folder: &ReportFolder) {
        let schedule = folder.schedule.as_str().to_owned();
        let endpoint = folder.endpoint.as_ref().map(|endpoint| endpoint.as_str().to_owned());
        let monitor = Monitor {
            model: schedule.clone(),
            schedule,
            endpoint,
            monitor_type: None,
        };
        let metric = Metric::new(&monitor, MetricName::UnreadableReports, [], clients.now(), 1.0);
        let metrics: Vec<Metric> = metric.into_iter().collect();
        if let Err(error) = clients.publish(&self.config.metric_namespace, &metrics).await {
            tracing::warn!(error = %error, "failed to publish the metric of the unreadable report");
        }
    }
}

/// An execution from SageMaker's list, or one that is missing there although it was due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedExecution<'a> {
    /// Name of the monitoring schedule.
    pub schedule: &'a str,
    /// The monitored endpoint, if the list contains it.
    pub endpoint: Option<&'a str>,
    /// Scheduled time of the execution.
    pub scheduled_time: Timestamp,
    /// Result of the execution. `None` if it is missing.
    pub evidence: Option<ExecutionEvidence>,
}

/// State of a monitor in SageMaker, as the sweep found it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SweepState {
    /// Scheduled time up to which SageMaker's list and the ledger agree.
    pub compared_until: Option<Timestamp>,
    /// Time of the latest change of the monitor's baseline. `None` if it never changed.
    pub baseline_changed_at: Option<Timestamp>,
}

/// Result of sweeping a monitor.
#[derive(Debug, Clone)]
pub struct MonitorSweep {
    /// Ledger of the monitor.
    pub ledger: MonitorLedger,
    /// Rules with which the monitor was evaluated.
    pub rules: MonitorRules,
    /// Whether the alert window was restarted because the event of the changed baseline was lost.
    pub restarted: bool,
}

/// Span for log lines about an execution.
fn execution_span(schedule: &str, scheduled_time: Timestamp) -> Span {
    let correlation_id = execution_correlation_id(schedule, scheduled_time);
    telemetry::span_for(None, Some(schedule), Some(&correlation_id))
}

/// Key of a monitor's ledger in the state bucket.
pub fn monitor_key(schedule: &str) -> String {
    MonitorLedger::key(schedule)
}

fn rules_for(policy: &Policy, monitor: &Monitor) -> MonitorPolicy {
    policy.monitor(&MonitorRef::from(monitor))
}

/// Rejects an execution with a date in the future, before anything is read.
fn check_time(clients: &impl Clock, schedule: &str, scheduled_time: Timestamp) -> Result<(), Error> {
    let now = clients.now();
    if is_ahead(scheduled_time, now) {
        return Err(ahead(schedule, scheduled_time, now));
    }
    Ok(())
}

fn ahead(schedule: &str, scheduled_time: Timestamp, now: Timestamp) -> Error {
    Error::Ahead {
        schedule: schedule.to_owned(),
        scheduled_time,
        now,
    }
}

fn caller(clients: &impl Clock, request_id: &str) -> Caller {
    Caller::new(request_id, clients.now())
}

/// Reads the schedule's own alert, if the policy follows it and the known one is outdated. If the call fails, the known alert
/// stays effective.
async fn follow_alert(
    clients: &impl MonitoringAlerts,
    ledger: &MonitorLedger,
    rules: &MonitorRules,
    caller: &Caller,
) -> Option<FollowedAlert> {
    if !ledger.needs_monitoring_alert(rules, caller.now) {
        return None;
    }
    match clients.monitoring_alert(&ledger.monitor.schedule).await {
        Ok(window) => Some(FollowedAlert {
            window,
            read_at: caller.now,
        }),
        Err(error) => {
            tracing::warn!(error = %error, "failed to read the alert of the schedule: the last known one stays effective");
            None
        }
    }
}

fn ignored(reason: String) -> Handled {
    tracing::debug!(reason = %reason, "event ignored");
    Handled::Ignored { reason }
}
