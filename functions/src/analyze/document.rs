//! Document of a schedule: which executions have run, and which one is running.
//!
//! An execution is claimed here before it begins, so that it runs once although ticks overlap and events are delivered more than
//! once. An invocation that is stopped (time limit, memory limit) leaves its claim behind. The claim lapses with the time limit of
//! the invocation, or when Lambda retries the same invocation. After the second lapse the execution ends as `Failed`: a third
//! attempt on the same data would end in the same way, and the executions after it have to run.

use crate::Error;
use crate::analyze::{AnalyzeClients, execution::ExecutionRecord};
use jiff::{SignedDuration, Timestamp};
use machine::{Documents, ETag, Fetched, Kind, Precondition, UpdateError, parse_document};
use remediation::AnalysisSchedule;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::time::Duration;

/// Format version of the document.
const VERSION: u64 = 1;
/// Maximum number of missed executions that are run later, latest first.
const MAX_CATCH_UP: usize = 24;
/// Number of latest executions kept in a schedule's document.
const KEPT_EXECUTIONS: usize = 24;
/// Number of attempts of an execution that end without a result.
const MAX_ATTEMPTS: u32 = 2;
/// Maximum duration of an invocation (Lambda's quota).
const MAX_DURATION: SignedDuration = SignedDuration::from_mins(15);
/// Time between the end of an invocation and the end of its claim, because clocks differ.
const GRACE: SignedDuration = SignedDuration::from_secs(30);
/// Maximum number of attempts of a conditional write.
const MAX_WRITES: u32 = 8;

/// Document of a schedule: `analyses/{schedule}.json` in the state bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AnalysisDocument {
    version: u64,
    /// Scheduled time up to which all executions have run.
    executed_until: Timestamp,
    /// The latest executions, oldest first.
    executions: Vec<ExecutionRecord>,
    /// The execution that is running, or that was stopped without a result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    executing: Option<Claim>,
    /// Fields of a newer release.
    #[serde(flatten)]
    rest: Map<String, Value>,
}

/// Claim of an execution by an invocation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Claim {
    /// Scheduled time of the execution.
    pub scheduled_time: Timestamp,
    /// Time at which the invocation began.
    pub since: Timestamp,
    /// Time at which the claim lapses: the invocation has ended by then.
    pub until: Timestamp,
    /// Lambda request ID of the invocation. Lambda's retries have the same ID.
    pub by: String,
    /// Number of the attempt, starting at 1.
    pub attempt: u32,
}

/// The invocation that runs an execution.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Invocation<'a> {
    /// Lambda request ID.
    pub id: &'a str,
    /// Time at which the invocation began.
    pub since: Timestamp,
    /// Time at which Lambda stops the invocation.
    pub deadline: Timestamp,
}

/// Outcome of an attempt to claim an execution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ClaimOutcome {
    /// The caller runs the execution, once the document is written.
    Claimed,
    /// The claim has lapsed too often: the execution has failed. Contains the latest claim.
    Exhausted(Claim),
    /// The caller does not run the execution, for this reason.
    Refused(String),
}

impl AnalysisDocument {
    /// Key of a schedule's document in the state bucket.
    pub(crate) fn key(analysis: &AnalysisSchedule) -> String {
        format!("analyses/{}.json", analysis.schedule.key())
    }

    /// Document of a new schedule, of which only the latest execution is due.
    fn new(analysis: &AnalysisSchedule, now: Timestamp) -> Self {
        let until = startable_until(analysis, now);
        let day = until.checked_sub(SignedDuration::from_hours(25)).unwrap_or(until);
        let latest = analysis.expression.due(day, until).pop();
        let before = latest.and_then(|latest| latest.checked_sub(SignedDuration::from_secs(1)).ok());
        Self {
            version: VERSION,
            executed_until: before.unwrap_or(until),
            executions: Vec::new(),
            executing: None,
            rest: Map::new(),
        }
    }

    /// Scheduled time of the execution to run next. `None` if none is due.
    pub(crate) fn next(&self, analysis: &AnalysisSchedule, now: Timestamp) -> Option<Timestamp> {
        // An execution that was stopped is finished first, however old it is: otherwise its claim would block later ones.
        if let Some(claim) = &self.executing {
            return Some(claim.scheduled_time);
        }
        let due = analysis
            .expression
            .due(self.executed_until, startable_until(analysis, now));
        let missed = due.len().saturating_sub(MAX_CATCH_UP);
        if missed > 0 {
            tracing::warn!(monitoring_schedule = %analysis.schedule, missed, "missed executions skipped: they are too old");
        }
        due.get(missed).copied()
    }

    /// Whether an invocation runs an execution of the schedule.
    pub(crate) fn is_running(&self, now: Timestamp) -> bool {
        self.executing.as_ref().is_some_and(|claim| claim.until > now)
    }

    /// Claims an execution for an invocation.
    pub(crate) fn claim(
        &mut self,
        analysis: &AnalysisSchedule,
        scheduled_time: Timestamp,
        invocation: &Invocation<'_>,
    ) -> ClaimOutcome {
        if scheduled_time <= self.executed_until {
            return ClaimOutcome::Refused("the execution has already run".to_owned());
        }
        let attempt = match &self.executing {
            Some(claim) if claim.scheduled_time != scheduled_time => {
                return ClaimOutcome::Refused(format!("the execution of {} has to end first", claim.scheduled_time));
            }
            // The response of the write was lost, so the SDK sent it again.
            Some(claim) if claim.by == invocation.id && claim.since == invocation.since => claim.attempt,
            // Lambda retries an invocation only after it has ended.
            Some(claim) if claim.by != invocation.id && claim.until > invocation.since => {
                return ClaimOutcome::Refused(format!(
                    "another invocation has been running the execution since {}",
                    claim.since
                ));
            }
            Some(claim) if claim.attempt >= MAX_ATTEMPTS => return ClaimOutcome::Exhausted(claim.clone()),
            Some(claim) => claim.attempt + 1,
            None if self.next(analysis, invocation.since) != Some(scheduled_time) => {
                return ClaimOutcome::Refused("the execution is not the next one of its schedule".to_owned());
            }
            None => 1,
        };
        let latest = invocation.since.saturating_add(MAX_DURATION).unwrap_or(Timestamp::MAX);
        let until = invocation.deadline.min(latest).saturating_add(GRACE);
        self.executing = Some(Claim {
            scheduled_time,
            since: invocation.since,
            until: until.unwrap_or(Timestamp::MAX),
            by: invocation.id.to_owned(),
            attempt,
        });
        ClaimOutcome::Claimed
    }

    /// Records an execution that has ended. `false` if it is recorded already.
    fn settle(&mut self, record: &ExecutionRecord) -> bool {
        if record.scheduled_time <= self.executed_until {
            return false;
        }
        self.executed_until = record.scheduled_time;
        self.executing = None;
        self.executions.push(record.clone());
        let excess = self.executions.len().saturating_sub(KEPT_EXECUTIONS);
        self.executions.drain(..excess);
        true
    }

    /// Gives a claim back, because a call to AWS failed: the attempt does not count. Returns whether the claim was still there.
    fn release(&mut self, invocation: &Invocation<'_>) -> bool {
        let Some(claim) = &mut self.executing else { return false };
        if claim.by != invocation.id || claim.since != invocation.since {
            return false;
        }
        if claim.attempt > 1 {
            claim.attempt -= 1;
            claim.until = claim.since;
        } else {
            self.executing = None;
        }
        true
    }
}

/// Latest scheduled time of an execution that may start now.
fn startable_until(analysis: &AnalysisSchedule, now: Timestamp) -> Timestamp {
    now.checked_sub(analysis.delay).unwrap_or(Timestamp::MIN)
}

/// Reads the document of a schedule, or creates it, so that the first execution of a new schedule stays due until it has run.
pub(crate) async fn load(
    clients: &impl AnalyzeClients,
    analysis: &AnalysisSchedule,
) -> Result<(AnalysisDocument, ETag), Error> {
    let key = AnalysisDocument::key(analysis);
    for _ in 0..MAX_WRITES {
        if let Fetched::Found(body, etag) = clients.read(&key, None).await? {
            return Ok((parse_document(&key, &body, VERSION)?, etag));
        }
        let document = AnalysisDocument::new(analysis, clients.now());
        if let Some(etag) = write(clients, &key, &document, Precondition::Absent).await? {
            return Ok((document, etag));
        }
    }
    Err(UpdateError::Contended { key }.into())
}

/// Claims an execution in the document of its schedule.
pub(crate) async fn claim(
    clients: &impl AnalyzeClients,
    analysis: &AnalysisSchedule,
    scheduled_time: Timestamp,
    invocation: &Invocation<'_>,
) -> Result<ClaimOutcome, Error> {
    let outcome = update(clients, analysis, |document| {
        let outcome = document.claim(analysis, scheduled_time, invocation);
        let is_changed = outcome == ClaimOutcome::Claimed;
        (is_changed, outcome)
    });
    Ok(outcome.await?.0)
}

/// Records an execution that has ended. Returns the scheduled time of the next execution that is due.
pub(crate) async fn settle(
    clients: &impl AnalyzeClients,
    analysis: &AnalysisSchedule,
    record: &ExecutionRecord,
) -> Result<Option<Timestamp>, Error> {
    let ((), document) = update(clients, analysis, |document| (document.settle(record), ())).await?;
    Ok(document.next(analysis, clients.now()))
}

/// Gives back the claim of an execution that could not be run because a call to AWS failed.
pub(crate) async fn release(
    clients: &impl AnalyzeClients,
    analysis: &AnalysisSchedule,
    invocation: &Invocation<'_>,
) -> Result<(), Error> {
    update(clients, analysis, |document| (document.release(invocation), ())).await?;
    Ok(())
}

/// Changes the document of a schedule. `change` returns whether it has changed the document, and a result.
async fn update<T>(
    clients: &impl AnalyzeClients,
    analysis: &AnalysisSchedule,
    mut change: impl FnMut(&mut AnalysisDocument) -> (bool, T),
) -> Result<(T, AnalysisDocument), Error> {
    let key = AnalysisDocument::key(analysis);
    for attempt in 0..MAX_WRITES {
        if attempt > 0 {
            let longest = Duration::from_millis(40 << attempt);
            clients.sleep(clients.jitter(longest)).await;
        }
        let (mut document, etag) = load(clients, analysis).await?;
        let (is_changed, result) = change(&mut document);
        if !is_changed {
            return Ok((result, document));
        }
        let written = write(clients, &key, &document, Precondition::Unchanged(etag)).await?;
        if written.is_some() {
            return Ok((result, document));
        }
    }
    Err(UpdateError::Contended { key }.into())
}

/// Writes the document of a schedule. `None` if another invocation was faster.
async fn write(
    clients: &impl Documents,
    key: &str,
    document: &AnalysisDocument,
    precondition: Precondition,
) -> Result<Option<ETag>, Error> {
    let body = serde_json::to_vec(document).map_err(|source| UpdateError::Unreadable {
        key: key.to_owned(),
        source,
    })?;
    match clients.write(key, body, &precondition).await {
        Ok(etag) => Ok(Some(etag)),
        Err(error) if error.kind == Kind::Conflict => Ok(None),
        Err(error) => Err(error.into()),
    }
}
