//! Ticks, and the executions that they request.
//!
//! A tick runs nothing. It requests the executions that are due with one event each, so that every execution is a separate
//! invocation: a dataset that takes too long delays no other. The execution that has been due longest is requested first. Requests
//! are hints: a lost one is repeated by the next tick, and a repeated one finds that the execution is claimed or has run.

use crate::analyze::{
    AnalyzeClients, Handled,
    datasets::Failed,
    document::{self, ClaimOutcome, Invocation},
    execution::Execution,
};
use crate::{Error, Incomplete};
use alerting::{MonitoringExecutionRequested, execution_correlation_id};
use events::Event;
use futures_util::stream::{self, StreamExt as _};
use jiff::Timestamp;
use remediation::AnalysisSchedule;
use serde::Serialize;
use tracing::Instrument as _;

/// Number of documents that are read concurrently, and of events that are published concurrently.
const CONCURRENT_CALLS: usize = 32;

/// An execution that a tick requested.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestedExecution {
    /// Name of the monitoring schedule.
    pub monitoring_schedule: String,
    /// Scheduled time of the execution.
    pub scheduled_time: Timestamp,
}

/// State of a schedule in a tick.
enum ScheduleState {
    /// No execution is due.
    Idle,
    /// An invocation runs an execution.
    Running,
    /// An execution is due.
    Due(Timestamp),
}

/// Requests the executions that are due, at most as many as may run at the same time.
pub(crate) async fn tick(
    clients: &impl AnalyzeClients,
    schedules: &[AnalysisSchedule],
    at_once: usize,
) -> Result<Handled, Error> {
    let now = clients.now();
    let states = schedules.iter().map(|analysis| async move {
        let (document, _) = document::load(clients, analysis).await?;
        let state = match document.next(analysis, now) {
            _ if document.is_running(now) => ScheduleState::Running,
            Some(scheduled_time) => ScheduleState::Due(scheduled_time),
            None => ScheduleState::Idle,
        };
        Ok::<_, Error>((analysis, state))
    });
    let mut states = stream::iter(states).buffered(CONCURRENT_CALLS);
    let (mut due, mut running, mut failures) = (Vec::new(), 0, Vec::new());
    while let Some(state) = states.next().await {
        match state {
            Ok((_, ScheduleState::Idle)) => {}
            Ok((_, ScheduleState::Running)) => running += 1,
            Ok((analysis, ScheduleState::Due(scheduled_time))) => due.push((analysis, scheduled_time)),
            Err(error) => {
                tracing::error!(error = %machine::chain(&error), "failed to read the executions of a monitoring schedule");
                failures.push(error);
            }
        }
    }
    due.sort_by_key(|(analysis, scheduled_time)| {
        let startable_since = scheduled_time.saturating_add(analysis.delay).unwrap_or(Timestamp::MAX);
        (startable_since, analysis.schedule.key())
    });
    let left = due.split_off(due.len().min(at_once.saturating_sub(running))).len();
    let requests = due.iter().map(|(analysis, scheduled_time)| async move {
        let requested = request(clients, analysis, *scheduled_time).await;
        requested.map(|()| RequestedExecution {
            monitoring_schedule: analysis.schedule.to_string(),
            scheduled_time: *scheduled_time,
        })
    });
    let mut requests = stream::iter(requests).buffered(CONCURRENT_CALLS);
    let mut requested = Vec::with_capacity(due.len());
    while let Some(request) = requests.next().await {
        match request {
            Ok(execution) => requested.push(execution),
            Err(error) => {
                tracing::error!(error = %machine::chain(&error), "failed to request an execution");
                failures.push(error);
            }
        }
    }
    tracing::info!(requested = requested.len(), running, left, "due executions requested");
    match (failures.len(), failures.pop()) {
        (0, _) | (_, None) => Ok(Handled::Requested {
            requested,
            running,
            left,
        }),
        (1, Some(error)) if schedules.len() == 1 => Err(error),
        (failed, Some(error)) => Err(Error::Incomplete {
            what: Incomplete::Analyses,
            failed,
            all: schedules.len(),
            first: machine::chain(&error),
        }),
    }
}

/// Publishes the request for an execution.
async fn request(
    clients: &impl AnalyzeClients,
    analysis: &AnalysisSchedule,
    scheduled_time: Timestamp,
) -> Result<(), Error> {
    let request = MonitoringExecutionRequested {
        version: "1".to_owned(),
        id: format!(
            "execute-{}-{}",
            analysis.schedule.key(),
            scheduled_time.strftime("%Y%m%dT%H")
        ),
        correlation_id: Some(execution_correlation_id(analysis.schedule.as_str(), scheduled_time)),
        monitoring_schedule: analysis.schedule.to_string(),
        scheduled_time,
        time: clients.now(),
    };
    clients.put(&Event::ExecutionRequested(Box::new(request))).await?;
    Ok(())
}

/// Runs a requested execution, unless it has run or another invocation runs it. Then requests the next one of the schedule, if one
/// is due: after an outage, a schedule catches up without waiting for a tick after each execution.
pub(crate) async fn execute(
    clients: &impl AnalyzeClients,
    analysis: &AnalysisSchedule,
    scheduled_time: Timestamp,
    invocation: &Invocation<'_>,
) -> Result<Handled, Error> {
    let execution = Execution::new(analysis, scheduled_time);
    let work = async {
        let result = match document::claim(clients, analysis, scheduled_time, invocation).await? {
            ClaimOutcome::Refused(reason) => {
                tracing::info!(reason, "request ignored");
                return Ok(Handled::Ignored { reason });
            }
            ClaimOutcome::Claimed => execution.run(clients).await,
            ClaimOutcome::Exhausted(claim) => {
                let reason = format!(
                    "not finished within the limit: {} attempts ended without a result, the latest began at {}. Analyze a shorter \
                     window, or start the state machine for larger datasets",
                    claim.attempt, claim.since
                );
                execution.conclude(clients, Err(Failed::ForGood(reason))).await
            }
        };
        let record = match result {
            Ok(record) => record,
            Err(error) => {
                if let Err(error) = document::release(clients, analysis, invocation).await {
                    tracing::warn!(error = %machine::chain(&error), "failed to release the claim of an execution");
                }
                return Err(error);
            }
        };
        if let Some(next) = document::settle(clients, analysis, &record).await?
            && let Err(error) = request(clients, analysis, next).await
        {
            tracing::warn!(error = %machine::chain(&error), "failed to request the next execution; the next tick requests it");
        }
        Ok(Handled::Executions {
            executions: vec![record],
        })
    };
    work.instrument(execution.span()).await
}
