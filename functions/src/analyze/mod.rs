#![doc = include_str!("README.md")]

mod baselines;
pub mod datasets;
mod dispatch;
mod document;
mod execution;
mod large;

pub use dispatch::RequestedExecution;

use crate::{Error, Function, Request, Resources};
use document::Invocation;
use events::{Event, Incoming, ReceivedEvent};
use execution::{Execution, ExecutionRecord};
use jiff::Timestamp;
use machine::{Clock, Documents};
use promotion::BaselinesCreated;
use serde::{Deserialize, Serialize, de::IgnoredAny};
use shell::{
    PolicyStore,
    config::{ConfigError, Vars},
    ports::{Datasets, Endpoints, EventBus, MonitorMetrics, Reports},
};

/// Default of the number of executions that run at the same time.
const AT_ONCE: u16 = 100;

/// AWS APIs that the function uses.
pub trait AnalyzeClients: Documents + Datasets + Reports + MonitorMetrics + Endpoints + EventBus + Clock {}

impl<W: Documents + Datasets + Reports + MonitorMetrics + Endpoints + EventBus + Clock> AnalyzeClients for W {}

/// The `analyze` function.
#[derive(Debug)]
pub struct Analyze {
    policy: PolicyStore,
    /// Maximum number of executions that run at the same time.
    at_once: u16,
}

impl Default for Analyze {
    fn default() -> Self {
        Self {
            policy: PolicyStore::default(),
            at_once: AT_ONCE,
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Payload {
    #[serde(default)]
    schedule: Option<String>,
    #[serde(default)]
    scheduled_time: Option<Timestamp>,
    #[serde(default)]
    profile: Option<large::ProfileRequest>,
    #[serde(default)]
    merge: Option<large::MergeRequest>,
    /// Detail-type of an EventBridge event.
    #[serde(default, rename = "detail-type")]
    detail_type: Option<IgnoredAny>,
}

/// Outcome of an event: the response of the function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Handled {
    /// Due executions were requested. There may be none.
    Requested {
        /// The requested executions; first the one that has been due longest.
        requested: Vec<RequestedExecution>,
        /// Number of executions that are running.
        running: usize,
        /// Number of due executions left for later ticks because too many are running.
        left: usize,
    },
    /// An execution was run.
    Executions {
        /// The execution.
        executions: Vec<ExecutionRecord>,
    },
    /// A requested execution was not run.
    Ignored {
        /// Why the request was ignored.
        reason: String,
    },
    /// A partial profile was written.
    Profiled(large::ProfileRecord),
    /// Baselines were created.
    Baselines(BaselinesCreated),
}

impl<C: AnalyzeClients> Function<C> for Analyze {
    type Response = Handled;

    async fn invoke(&self, clients: &C, request: Request<'_>) -> Result<Handled, Error> {
        self.handle(clients, request.payload, request.request_id, request.deadline)
            .await
    }
}

impl Analyze {
    /// Creates the function from environment variables. Also returns the resources that its clients use.
    ///
    /// # Errors
    /// If a variable is missing or invalid.
    pub fn from_vars(vars: &Vars<impl Fn(&str) -> Option<String>>) -> Result<(Self, Resources), ConfigError> {
        let at_once = vars.parsed("ANALYSES_AT_ONCE", AT_ONCE, "a number from 1 to 65535")?;
        let function = Self {
            // With 0, nothing would ever run.
            at_once: at_once.max(1),
            ..Self::default()
        };
        Ok((function, Resources::with_event_bus(vars)?))
    }

    /// Handles one event. `request_id` is the Lambda request ID, which Lambda's retries of the invocation share, and `deadline` the
    /// time at which Lambda stops the invocation.
    ///
    /// # Errors
    /// If the event cannot be parsed, no valid policy is available, or a call to AWS fails. Problems with data or baselines are failed
    /// executions instead.
    pub async fn handle(
        &self,
        clients: &impl AnalyzeClients,
        payload: &str,
        request_id: &str,
        deadline: Timestamp,
    ) -> Result<Handled, Error> {
        let since = clients.now();
        let request: Payload = serde_json::from_str(payload).map_err(|source| Error::Payload {
            expected: "a scheduled event or a request for an analysis",
            source,
        })?;
        let own = match request.detail_type {
            Some(_) => Some(ReceivedEvent::parse(payload)?.incoming),
            None => None,
        };
        if let Some(Incoming::Own(Event::BaselinesRequested(request))) = own {
            return baselines::create(clients, *request).await.map(Handled::Baselines);
        }
        let policy = self.policy.load(clients).await.map_err(Error::Policy)?;
        let schedules = policy.analyses();
        let find = |name: &str| {
            let key = name.to_ascii_lowercase();
            let found = schedules.iter().find(|analysis| analysis.schedule.key() == key);
            found.ok_or_else(|| Error::ScheduleUnknown(name.to_owned()))
        };
        if let Some(Incoming::Own(Event::ExecutionRequested(requested))) = own {
            let Ok(analysis) = find(&requested.monitoring_schedule) else {
                let reason = format!(
                    "the policy has no [[analysis]] table with the schedule `{}` any more",
                    requested.monitoring_schedule
                );
                tracing::info!(reason, "request ignored");
                return Ok(Handled::Ignored { reason });
            };
            let invocation = Invocation {
                id: request_id,
                since,
                deadline,
            };
            return dispatch::execute(clients, analysis, requested.scheduled_time, &invocation).await;
        }
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
            });
        }
        if let Some(name) = request.schedule {
            let scheduled_time = request.scheduled_time.unwrap_or_else(|| this_hour(clients.now()));
            let record = Execution::new(find(&name)?, scheduled_time).run(clients).await?;
            return Ok(Handled::Executions {
                executions: vec![record],
            });
        }
        dispatch::tick(clients, &schedules, usize::from(self.at_once)).await
    }
}

/// The full hour of a time.
fn this_hour(time: Timestamp) -> Timestamp {
    let second = time.as_second();
    Timestamp::from_second(second - second.rem_euclid(3600)).unwrap_or(time)
}
