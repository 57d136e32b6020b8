//! Updates of state documents: load, apply, write conditionally, execute the effects, settle them.
//!
//! Pending effects are stored in the document in S3. If an invocation stops in between, its retry continues with the pending
//! effects. Other invocations take over after the claim has expired.

use crate::{
    AwsError, Caller, Clock, Documents, Entry, Kind, LoadedDocument, OutboxDocument, UpdateError,
    document::{back_off, load, write},
    invocation::effects_executed,
    outbox::EXECUTION_LIMIT,
};
use futures_util::future::join_all;
use jiff::SignedDuration;
use std::time::Duration;

/// Time after which an effect that always fails is given up.
const EFFECT_LIMIT: SignedDuration = SignedDuration::from_hours(24);

/// Updates a document: applies a change, writes the document, executes the effects that the caller claims, and settles them.
///
/// If another writer was faster, `apply` is called again on the newer document. The result of the last call is returned.
/// Effects are executed concurrently, and stopped shortly before the claims of the caller expire. If one fails, the others are settled anyway, and the failure is recorded in the document. The
/// effects of the change decide the result: a retry of the same invocation continues with them. The failure of an effect that the
/// invocation only took over is no error, until it is given up: then the document records it, and one invocation fails, so that an
/// alarm reports it. The retry of that invocation succeeds.
///
/// # Errors
/// If a call to AWS fails, an effect is given up, or the document cannot be parsed.
pub async fn update_document<D: OutboxDocument, R>(
    clients: &(impl Documents + Clock),
    key: &str,
    mut loaded: LoadedDocument<D>,
    caller: &Caller,
    new: impl Fn() -> D,
    mut apply: impl FnMut(&mut D) -> R,
    execute: impl AsyncFn(&D::Effect) -> Result<D::Done, AwsError>,
) -> Result<R, UpdateError> {
    let (mut document, mut etag, result, taken_over) = {
        let mut attempt = 0;
        loop {
            let (before, etag) = match loaded.document {
                Some((document, etag)) => (Some(document), Some(etag)),
                None => (None, None),
            };
            let mut document = before.clone().unwrap_or_else(&new);
            let result = apply(&mut document);
            let taken_over = document.outbox().take_over(caller);
            // A new document without changes and effects is not written.
            if before.as_ref() == Some(&document) || (before.is_none() && document == new()) {
                break (document, etag, result, taken_over);
            }
            match write(clients, key, &document, etag.as_ref()).await {
                Ok(etag) => break (document, Some(etag), result, taken_over),
                Err(UpdateError::Aws(AwsError {
                    kind: Kind::Conflict, ..
                })) => {
                    back_off(clients, key, &mut attempt).await?;
                    loaded = load(clients, key).await?;
                }
                Err(error) => return Err(error),
            }
        }
    };

    let claimed: Vec<Entry<D::Effect>> = document.outbox().claimed_by(caller).cloned().collect();
    if claimed.is_empty() {
        return Ok(result);
    }
    let results = execute_all(clients, &claimed, caller, execute).await;
    let mut outcomes = Vec::with_capacity(claimed.len());
    let (mut failure, mut given_up) = (None, None);
    for (entry, outcome) in claimed.iter().zip(results) {
        let since = entry.failures.as_ref().map_or(caller.now, |failures| failures.since);
        let outcome = match outcome {
            Ok(done) => Outcome::Done(done),
            Err(error) => match D::refusal(&entry.effect, &error, since, caller.now) {
                Some(done) => Outcome::Done(done),
                None if D::is_given_up(&entry.effect) && caller.now.duration_since(since) >= EFFECT_LIMIT => {
                    tracing::error!(error = %error, effect = %entry.id, key, "pending effect given up");
                    let outcome = Outcome::GivenUp(error.to_string());
                    let (key, id) = (key.to_owned(), entry.id.clone());
                    given_up = given_up.or(Some(UpdateError::GivenUp { key, id, error }));
                    outcome
                }
                None => {
                    let outcome = Outcome::Failed(error.to_string());
                    if taken_over.contains(&entry.id) {
                        tracing::warn!(error = %error, effect = %entry.id, key, "pending effect failed again");
                    } else {
                        failure = failure.or(Some(error));
                    }
                    outcome
                }
            },
        };
        outcomes.push((entry, outcome));
    }
    let is_done = |(_, outcome): &&(_, Outcome<D::Done>)| matches!(outcome, Outcome::Done(_));
    effects_executed(outcomes.iter().filter(is_done).count());
    let mut attempt = 0;
    loop {
        for (entry, outcome) in &outcomes {
            match outcome {
                Outcome::Failed(message) => document.outbox().fail(&entry.id, message, caller),
                Outcome::GivenUp(message) => {
                    if let Some(given_up) = document.outbox().give_up(&entry.id, message, caller) {
                        document.note_given_up(given_up);
                    }
                }
                Outcome::Done(done) => {
                    if document.outbox().settle(&entry.id).is_some() {
                        document.note(&entry.effect, done.clone());
                    }
                }
            }
        }
        match write(clients, key, &document, etag.as_ref()).await {
            Ok(_) => break,
            Err(UpdateError::Aws(AwsError {
                kind: Kind::Conflict, ..
            })) => {
                back_off(clients, key, &mut attempt).await?;
                match load(clients, key).await?.document {
                    Some((newer, newer_etag)) => (document, etag) = (newer, Some(newer_etag)),
                    // The document was deleted: there is nothing to settle.
                    None => break,
                }
            }
            Err(error) => return Err(error),
        }
    }
    match failure.map(UpdateError::from).or(given_up) {
        Some(error) => Err(error),
        None => Ok(result),
    }
}

/// Executes effects concurrently, and stops those that are not executed before the claims of the caller expire.
async fn execute_all<E, T>(
    clients: &impl Clock,
    claimed: &[Entry<E>],
    caller: &Caller,
    execute: impl AsyncFn(&E) -> Result<T, AwsError>,
) -> Vec<Result<T, AwsError>> {
    // The claims began at the caller's time.
    let left = EXECUTION_LIMIT - clients.now().duration_since(caller.now);
    let left = Duration::try_from(left).unwrap_or_default();
    let executions = claimed.iter().map(async |entry| {
        let executed = clients.within(left, execute(&entry.effect)).await;
        executed.unwrap_or_else(|| Err(stopped(&entry.id)))
    });
    join_all(executions).await
}

/// Failure of an effect that was stopped. AWS may have executed it.
fn stopped(id: &str) -> AwsError {
    AwsError {
        operation: "pending effect",
        resource: id.to_owned(),
        kind: Kind::Transient,
        message: format!("not completed within {} s", EXECUTION_LIMIT.as_secs()),
    }
}

/// Outcome of an attempt to execute an effect.
enum Outcome<T> {
    Done(T),
    Failed(String),
    GivenUp(String),
}
