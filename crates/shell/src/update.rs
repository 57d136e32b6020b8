//! Updates of state documents: load, apply, write conditionally, execute the effects, settle them.
//!
//! Pending effects are stored in the document in S3. If an invocation stops in between, its retry continues with the pending
//! effects. Other invocations take over after the claim has expired. See the crate `outbox`.

use crate::{
    AwsError, ErrorType, Kind,
    invocation::{conflict_retried, effects_executed},
    ports::{Clock, Documents, ETag, Fetched, Precondition},
};
use alerting::{MonitorEffect, MonitorLedger};
use futures_util::future::join_all;
use jiff::{SignedDuration, Timestamp};
use outbox::{Caller, Entry, Outbox};
use promotion::{EffectOutcome, ExperimentDocument, ExperimentEffect};
use remediation::{ModelDocument, ModelEffect, ModelEffectOutcome};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::time::Duration;

/// Lifetime of a claim. It is longer than an update can take, so that no other invocation takes over while the first one is
/// still active. Functions time out after 60 s (`infra/template.yaml`). The sweep may run longer, but claims again with each update.
pub const LEASE: SignedDuration = SignedDuration::from_secs(120);

/// Time after which an effect that always fails is given up.
const EFFECT_LIMIT: SignedDuration = SignedDuration::from_hours(24);

/// Newest format version of shared documents that this release supports.
const SHARED_VERSION: u64 = 1;

/// Time for which a start that is denied is attempted again.
const DENIED_FOR: SignedDuration = SignedDuration::from_mins(15);

/// Maximum number of attempts of a conditional write. At every conflict another writer has succeeded, so among n writers the
/// last one has n - 1 conflicts.
const MAX_ATTEMPTS: u32 = 100;

/// A document with an outbox.
pub trait OutboxDocument: Serialize + DeserializeOwned + Clone + PartialEq {
    /// Type of its effects.
    type Effect: Clone;
    /// Result of executing an effect.
    type Done: Clone;

    /// Newest format version that this release supports (member `version`).
    const VERSION: u64 = 1;

    /// The outbox with the pending effects.
    fn outbox(&mut self) -> &mut Outbox<Self::Effect>;

    /// Records the result of an effect in the document.
    fn note(&mut self, _effect: &Self::Effect, _done: Self::Done) {}

    /// The result of an effect that AWS refuses: another attempt would not help. `since` is the time of the first
    /// failure. `None` if the effect is attempted again.
    fn refusal(_effect: &Self::Effect, _error: &AwsError, _since: Timestamp, _now: Timestamp) -> Option<Self::Done> {
        None
    }

    /// Whether an effect that has failed for 24 hours is given up.
    fn is_given_up(_effect: &Self::Effect) -> bool {
        true
    }
}

impl OutboxDocument for MonitorLedger {
    type Effect = MonitorEffect;
    type Done = ();

    fn outbox(&mut self) -> &mut Outbox<MonitorEffect> {
        &mut self.outbox
    }
}

impl OutboxDocument for ModelDocument {
    type Effect = ModelEffect;
    type Done = ModelEffectOutcome;

    fn outbox(&mut self) -> &mut Outbox<ModelEffect> {
        &mut self.outbox
    }

    fn note(&mut self, effect: &ModelEffect, outcome: ModelEffectOutcome) {
        self.record_outcome(effect, outcome);
    }

    fn refusal(effect: &ModelEffect, error: &AwsError, since: Timestamp, now: Timestamp) -> Option<ModelEffectOutcome> {
        let is_refused = match error.kind {
            Kind::Rejected | Kind::NotFound => true,
            // The permissions of a new role take effect after some minutes.
            Kind::Denied => now.duration_since(since) >= DENIED_FOR,
            Kind::Transient | Kind::Conflict => false,
        };
        (is_refused && effect.is_start()).then(|| ModelEffectOutcome::Refused(error.to_string()))
    }

    /// The deadline of the stage ends the attempts to start a retraining.
    fn is_given_up(effect: &ModelEffect) -> bool {
        !effect.is_start()
    }
}

impl OutboxDocument for ExperimentDocument {
    type Effect = ExperimentEffect;
    type Done = EffectOutcome;

    fn outbox(&mut self) -> &mut Outbox<ExperimentEffect> {
        &mut self.outbox
    }

    fn note(&mut self, effect: &ExperimentEffect, record_outcome: EffectOutcome) {
        self.record_outcome(effect, record_outcome);
    }
}

/// A document as loaded, or the fact that it does not exist.
#[derive(Debug, Clone)]
pub struct LoadedDocument<D> {
    document: Option<(D, ETag)>,
}

impl<D> LoadedDocument<D> {
    /// The document. `None` if it does not exist.
    pub fn document(&self) -> Option<&D> {
        self.document.as_ref().map(|(document, _)| document)
    }
}

/// Why an update did not complete.
#[derive(Debug, thiserror::Error)]
pub enum UpdateError {
    /// A call to AWS failed. Pending effects stay in the document.
    #[error("{0}")]
    Aws(AwsError),
    /// The document was written by a newer release. This release must not change it.
    #[error(
        "document `{key}` in the state bucket has format version {found}, this release supports up to version {supported}; \
         deploy the newer release again, then redrive the event"
    )]
    Newer {
        /// Key of the document.
        key: String,
        /// Format version of the document.
        found: u64,
        /// Newest format version that this release supports.
        supported: u64,
    },
    /// The document is not valid for this version of Driftwarden.
    #[error("failed to parse document `{key}` in the state bucket")]
    Unreadable {
        /// Key of the document.
        key: String,
        /// The parse error.
        source: serde_json::Error,
    },
    /// Too many concurrent writers.
    #[error(
        "failed to write document `{key}` in the state bucket: other writers changed it at each of {MAX_ATTEMPTS} attempts"
    )]
    Contended {
        /// Key of the document.
        key: String,
    },
}

impl ErrorType for UpdateError {
    fn error_type(&self) -> &'static str {
        match self {
            Self::Aws(error) => error.error_type(),
            Self::Newer { .. } => "StateNewer",
            Self::Unreadable { .. } => "StateUnreadable",
            Self::Contended { .. } => "StateContended",
        }
    }
}

impl From<AwsError> for UpdateError {
    fn from(error: AwsError) -> Self {
        Self::Aws(error)
    }
}

/// The member that all state documents have.
#[derive(Deserialize)]
struct DocumentVersion {
    #[serde(default)]
    version: u64,
}

/// Parses a state document. A document of a newer format version is refused, also if it could be parsed: its fields may have
/// another meaning. Within a version, fields are only added. Documents keep those that this release does not know.
///
/// # Errors
/// If the document has a newer format version, or cannot be parsed.
pub fn parse_document<D: DeserializeOwned>(key: &str, body: &[u8], supported: u64) -> Result<D, UpdateError> {
    let parsed = serde_json::from_slice::<DocumentVersion>(body);
    let found = parsed.map_or(0, |document| document.version);
    if found > supported {
        return Err(UpdateError::Newer {
            key: key.to_owned(),
            found,
            supported,
        });
    }
    serde_json::from_slice(body).map_err(|source| UpdateError::Unreadable {
        key: key.to_owned(),
        source,
    })
}

/// Reports pending effects that this release cannot execute. They stay in the document for the release that enqueued them.
fn report_unknown_effects(key: &str, unknown: usize) {
    if unknown > 0 {
        tracing::warn!(
            document = key,
            effects = unknown,
            "pending effects of another release stay in the document"
        );
    }
}

/// Loads a document from the state bucket.
///
/// # Errors
/// If the call to AWS fails, the document has a newer format version, or it cannot be parsed.
pub async fn load<D: OutboxDocument>(clients: &impl Documents, key: &str) -> Result<LoadedDocument<D>, UpdateError> {
    let document = match clients.read(key, None).await? {
        Fetched::Found(body, etag) => {
            let mut document: D = parse_document(key, &body, D::VERSION)?;
            report_unknown_effects(key, document.outbox().unknown());
            Some((document, etag))
        }
        Fetched::Absent | Fetched::Unchanged => None,
    };
    Ok(LoadedDocument { document })
}

/// Updates a document: applies a change, writes the document, executes the effects that the caller claims, and settles them.
///
/// If another writer was faster, `apply` is called again on the newer document. The result of the last call is returned.
/// Effects are executed concurrently. If one fails, the others are settled anyway, and the failure is recorded in the document. The
/// effects of the change decide the result: a retry of the same invocation continues with them. The failure of an effect that the
/// invocation only took over is no error.
///
/// # Errors
/// If a call to AWS fails, or the document cannot be parsed.
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
    let results = join_all(claimed.iter().map(|entry| execute(&entry.effect))).await;
    let mut outcomes = Vec::with_capacity(claimed.len());
    let mut failure = None;
    for (entry, outcome) in claimed.iter().zip(results) {
        let since = entry.failures.as_ref().map_or(caller.now, |failures| failures.since);
        let outcome = match outcome {
            Ok(done) => Outcome::Done(done),
            Err(error) => match D::refusal(&entry.effect, &error, since, caller.now) {
                Some(done) => Outcome::Done(done),
                None if D::is_given_up(&entry.effect) && caller.now.duration_since(since) >= EFFECT_LIMIT => {
                    tracing::error!(error = %error, effect = %entry.id, key, "pending effect given up");
                    Outcome::GivenUp
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
                Outcome::GivenUp => drop(document.outbox().settle(&entry.id)),
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
    match failure {
        Some(error) => Err(error.into()),
        None => Ok(result),
    }
}

/// Loads a document without effects that several functions share. A document that does not exist is the default.
///
/// # Errors
/// If the call to AWS fails, or the document cannot be parsed.
pub async fn load_shared<T: DeserializeOwned + Default>(clients: &impl Documents, key: &str) -> Result<T, UpdateError> {
    Ok(read_shared(clients, key).await?.0)
}

/// Changes a document without effects that several functions share, by a conditional write. If another writer was faster, `change`
/// is called again on the newer document. The result of the last call is returned.
///
/// # Errors
/// If a call to AWS fails, or the document cannot be parsed.
pub async fn update_shared<T: Serialize + DeserializeOwned + Default + Clone + PartialEq, R>(
    clients: &(impl Documents + Clock),
    key: &str,
    change: impl Fn(&mut T) -> R,
) -> Result<R, UpdateError> {
    let mut attempt = 0;
    loop {
        let (before, etag) = read_shared::<T>(clients, key).await?;
        let mut document = before.clone();
        let result = change(&mut document);
        if document == before {
            return Ok(result);
        }
        match write(clients, key, &document, etag.as_ref()).await {
            Ok(_) => return Ok(result),
            Err(UpdateError::Aws(AwsError {
                kind: Kind::Conflict, ..
            })) => back_off(clients, key, &mut attempt).await?,
            Err(error) => return Err(error),
        }
    }
}

async fn read_shared<T: DeserializeOwned + Default>(
    clients: &impl Documents,
    key: &str,
) -> Result<(T, Option<ETag>), UpdateError> {
    match clients.read(key, None).await? {
        Fetched::Absent | Fetched::Unchanged => Ok((T::default(), None)),
        Fetched::Found(body, etag) => Ok((parse_document(key, &body, SHARED_VERSION)?, Some(etag))),
    }
}

/// Outcome of an attempt to execute an effect.
enum Outcome<T> {
    Done(T),
    Failed(String),
    GivenUp,
}

async fn write<D: Serialize>(
    clients: &impl Documents,
    key: &str,
    document: &D,
    etag: Option<&ETag>,
) -> Result<ETag, UpdateError> {
    let body = serde_json::to_vec(document).map_err(|source| UpdateError::Unreadable {
        key: key.to_owned(),
        source,
    })?;
    let precondition = etag.map_or(Precondition::Absent, |etag| Precondition::Unchanged(etag.clone()));
    Ok(clients.write(key, body, &precondition).await?)
}

/// Waits a random time, longer after more conflicts, so that the same writers do not conflict again.
async fn back_off(clients: &impl Clock, key: &str, attempt: &mut u32) -> Result<(), UpdateError> {
    *attempt += 1;
    conflict_retried();
    if *attempt >= MAX_ATTEMPTS {
        return Err(UpdateError::Contended { key: key.to_owned() });
    }
    let ceiling = 20 << (*attempt).min(5);
    clients.sleep(Duration::from_millis(fastrand::u64(5..ceiling))).await;
    Ok(())
}
