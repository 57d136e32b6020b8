//! `ingest`: one monitoring execution in, one datapoint out.
//!
//! | event | what it tells |
//! | --- | --- |
//! | S3 `Object Created` of a violation report | the report |
//! | `SageMaker Processing Job State Change` of an analysis job | how the execution ended; its report, if there is one |
//!
//! Both lead to the same datapoint (schedule and scheduled time), whichever comes first and however often. What is
//! owed from there, metrics and the event of a changed alert, is in the monitor's ledger before it is carried out.
//!
//! AWS round trips of an event, one after another: everything is read at once; the ledger is written; metrics and
//! event go out at once; the ledger notes that they have. A duplicate costs the first alone.

mod config;
mod error;
mod evidence;

pub use config::Config;
pub use error::IngestError;

use alerting::{
    MODEL_MONITOR_ALERT_STATE_CHANGE, Metric, MetricName, Monitor, MonitorEffect, MonitorLedger, Observation, Recorded,
};
use evidence::{Found, Source};
use futures_util::future::join3;
use model_monitor::{Detail, Event, ReportFolder};
use outbox::Caller;
use serde::Serialize;
use shell::{
    AwsError, Kind, LEASE, PolicyStore,
    config::{ConfigError, Vars},
    load,
    ports::{Clock, Documents, EventBus, Metrics, ProcessingJobs, Reports},
    turn,
};

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
        W: Documents + Reports + Metrics + EventBus + ProcessingJobs + Clock,
    {
        let event = Event::parse("event", payload.as_bytes()).map_err(IngestError::Event)?;
        let source = match event.detail {
            Detail::ObjectCreated(object) => Source::of_object(object, &self.config),
            Detail::ProcessingJob(job) => Source::of_job(*job, &self.config),
            _ => Err(format!(
                "`{}` does not concern monitoring executions",
                event.detail_type
            )),
        };
        let (folder, source) = match source {
            Ok(source) => source,
            Err(reason) => return Ok(ignored(reason)),
        };

        let key = format!("monitors/{}.json", folder.schedule.key());
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
        let Found { evidence, monitor_type } = match found {
            Ok(found) => found,
            Err(reason) => return Ok(ignored(reason)),
        };
        let policy = policy.map_err(IngestError::Policy)?;

        let rules = policy.monitor(folder.schedule.as_str());
        let endpoint = folder.endpoint.as_ref().map(|endpoint| endpoint.as_str().to_owned());
        let schedule = folder.schedule.as_str().to_owned();
        let model = rules
            .model
            .or_else(|| endpoint.clone())
            .unwrap_or_else(|| schedule.clone());
        let monitor = Monitor {
            schedule: schedule.clone(),
            endpoint,
            model,
            monitor_type,
        };
        let observation = Observation {
            monitor: monitor.clone(),
            scheduled_time: folder.scheduled_time,
            evidence,
            window: rules.window,
            policy_version: policy.version().to_owned(),
        };
        let caller = Caller {
            id: request_id.to_owned(),
            now: world.now(),
            lease: LEASE,
        };
        let recorded = turn(
            world,
            &key,
            loaded?,
            &caller,
            || MonitorLedger::new(monitor.clone()),
            |ledger| {
                let recorded = ledger.record(observation.clone(), &caller);
                let state = ledger
                    .datapoints
                    .iter()
                    .find(|datapoint| datapoint.scheduled_time == folder.scheduled_time);
                let state = state.map(alerting::Datapoint::state);
                (recorded, state, ledger.alert.status)
            },
            async |effect| self.carry_out(world, effect).await,
        )
        .await?;
        let (recorded, state, alert_status) = recorded;
        tracing::info!(
            monitoring_schedule = %schedule,
            scheduled_time = %folder.scheduled_time,
            recorded = ?recorded,
            state = state.map(alerting::DatapointState::as_str),
            alert_status = alert_status.as_str(),
            "execution handled"
        );
        let scheduled_time = folder.scheduled_time.to_string();
        Ok(match recorded {
            Recorded::New | Recorded::Changed => Handled::Recorded {
                monitoring_schedule: schedule,
                scheduled_time,
            },
            Recorded::Duplicate => Handled::Duplicate {
                monitoring_schedule: schedule,
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
            MonitorEffect::PutAlertStateChange(change) => {
                let detail = serde_json::to_string(change).map_err(|error| AwsError {
                    operation: "events:PutEvents",
                    resource: MODEL_MONITOR_ALERT_STATE_CHANGE.into(),
                    kind: Kind::Rejected,
                    message: error.to_string(),
                })?;
                world.put(MODEL_MONITOR_ALERT_STATE_CHANGE, detail).await?;
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

fn ignored(reason: String) -> Handled {
    tracing::debug!(reason = %reason, "event ignored");
    Handled::Ignored { reason }
}
