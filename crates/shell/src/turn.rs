//! How a document changes: load, apply, write if nobody else did, carry out what is owed, settle it.
//!
//! Whatever happens in between, the document in S3 says what is still owed, and the retry of the invocation, or anybody
//! who touches the document after the claim has lapsed, goes on from there. See the crate `outbox`.

use crate::{
    AwsError, ErrorType, Kind,
    invocation::{carried_out, conflict_retried},
    ports::{Clock, Documents, ETag, Fetched, Precondition},
};
use alerting::{MonitorEffect, MonitorLedger};
use futures_util::future::join_all;
use jiff::SignedDuration;
use outbox::{Caller, Outbox};
use promotion::{Carried, ExperimentDocument, ExperimentEffect};
use remediation::{ModelDocument, ModelEffect};
use serde::{Serialize, de::DeserializeOwned};
use std::time::Duration;

/// For how long a caller keeps the effects it claims: longer than a turn can take, so that nobody takes over from one that
/// is still at work. Functions time out after 60 s (`infra/template.yaml`); the sweep may run for longer, and claims anew
/// with each document's turn.
pub const LEASE: SignedDuration = SignedDuration::from_secs(120);

/// How often a lost conditional write is tried again. Every loss means that somebody else won, so that among n writers
/// the last has lost n - 1 times.
const ATTEMPTS: u32 = 100;

/// A document with an outbox.
pub trait Owing: Serialize + DeserializeOwned + Clone + PartialEq {
    /// What it can owe.
    type Effect: Clone;
    /// What carrying an effect out can tell the document.
    type Done: Clone;

    /// What it owes.
    fn outbox(&mut self) -> &mut Outbox<Self::Effect>;

    /// Notes what carrying an effect out has told.
    fn note(&mut self, _effect: &Self::Effect, _done: Self::Done) {}
}

impl Owing for MonitorLedger {
    type Effect = MonitorEffect;
    type Done = ();

    fn outbox(&mut self) -> &mut Outbox<MonitorEffect> {
        &mut self.outbox
    }
}

impl Owing for ModelDocument {
    type Effect = ModelEffect;
    /// ARN of the run, if one was started.
    type Done = Option<String>;

    fn outbox(&mut self) -> &mut Outbox<ModelEffect> {
        &mut self.outbox
    }

    fn note(&mut self, effect: &ModelEffect, done: Option<String>) {
        let incident = match effect {
            ModelEffect::StartPipelineExecution(start) => start.incident,
            ModelEffect::StartStateMachine(start) => start.incident,
            _ => return,
        };
        if let Some(arn) = done {
            self.started(incident, &arn);
        }
    }
}

impl Owing for ExperimentDocument {
    type Effect = ExperimentEffect;
    type Done = Carried;

    fn outbox(&mut self) -> &mut Outbox<ExperimentEffect> {
        &mut self.outbox
    }

    fn note(&mut self, effect: &ExperimentEffect, carried: Carried) {
        self.carried(effect, carried);
    }
}

/// A document as read, or that there is none.
#[derive(Debug, Clone)]
pub struct Loaded<D> {
    document: Option<(D, ETag)>,
}

impl<D> Loaded<D> {
    /// The document; `None` if there is none.
    pub fn document(&self) -> Option<&D> {
        self.document.as_ref().map(|(document, _)| document)
    }
}

/// Why a turn could not be brought to its end.
#[derive(Debug, thiserror::Error)]
pub enum TurnError {
    /// AWS did not do what was asked. What is owed stays in the document.
    #[error("{0}")]
    Aws(AwsError),
    /// The document in the state bucket is not one of this version.
    #[error("document `{key}` of the state bucket cannot be read")]
    Unreadable {
        /// Its key.
        key: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// Too many writers at once.
    #[error("document `{key}` of the state bucket was changed by others {ATTEMPTS} times in a row")]
    Contended {
        /// Its key.
        key: String,
    },
}

impl ErrorType for TurnError {
    fn error_type(&self) -> &'static str {
        match self {
            Self::Aws(error) => error.error_type(),
            Self::Unreadable { .. } => "StateUnreadable",
            Self::Contended { .. } => "StateContended",
        }
    }
}

impl From<AwsError> for TurnError {
    fn from(error: AwsError) -> Self {
        Self::Aws(error)
    }
}

/// Reads a document of the state bucket.
///
/// # Errors
/// If it cannot be read, or is not such a document.
pub async fn load<D: Owing>(world: &impl Documents, key: &str) -> Result<Loaded<D>, TurnError> {
    let document = match world.read(key, None).await? {
        Fetched::Found(body, etag) => {
            let document = serde_json::from_slice(&body).map_err(|source| TurnError::Unreadable {
                key: key.to_owned(),
                source,
            })?;
            Some((document, etag))
        }
        Fetched::Absent | Fetched::Unchanged => None,
    };
    Ok(Loaded { document })
}

/// One turn of a document: applies a change to it, writes it, carries out what the caller owes, settles that.
///
/// `apply` is called again on the newer document whenever another writer was faster. What it returns the last time is
/// returned. Effects are carried out at the same time; if one fails the others are settled all the same, and the error
/// is returned: a retry of the same invocation goes on with what is left.
///
/// # Errors
/// If AWS fails, or the document cannot be read.
pub async fn turn<D: Owing, R>(
    world: &(impl Documents + Clock),
    key: &str,
    mut loaded: Loaded<D>,
    caller: &Caller,
    new: impl Fn() -> D,
    mut apply: impl FnMut(&mut D) -> R,
    carry_out: impl AsyncFn(&D::Effect) -> Result<D::Done, AwsError>,
) -> Result<R, TurnError> {
    let (mut document, mut etag, answer) = {
        let mut attempt = 0;
        loop {
            let (before, etag) = match loaded.document {
                Some((document, etag)) => (Some(document), Some(etag)),
                None => (None, None),
            };
            let mut document = before.clone().unwrap_or_else(&new);
            let answer = apply(&mut document);
            document.outbox().take_over(caller);
            // A document that never was and owes nothing is not worth an object.
            if before.as_ref() == Some(&document) || (before.is_none() && document == new()) {
                break (document, etag, answer);
            }
            match write(world, key, &document, etag.as_ref()).await {
                Ok(etag) => break (document, Some(etag), answer),
                Err(TurnError::Aws(AwsError {
                    kind: Kind::Conflict, ..
                })) => {
                    back_off(world, key, &mut attempt).await?;
                    loaded = load(world, key).await?;
                }
                Err(error) => return Err(error),
            }
        }
    };

    let owed: Vec<_> = document
        .outbox()
        .claimed_by(caller)
        .map(|entry| (entry.id.clone(), entry.effect.clone()))
        .collect();
    if owed.is_empty() {
        return Ok(answer);
    }
    let results = join_all(owed.iter().map(|(_, effect)| carry_out(effect))).await;
    let mut done = Vec::new();
    let mut failure = None;
    for ((id, effect), result) in owed.iter().zip(results) {
        match result {
            Ok(told) => done.push((id, effect, told)),
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    carried_out(done.len());
    if !done.is_empty() {
        let mut attempt = 0;
        loop {
            for (id, effect, told) in &done {
                if document.outbox().settle(id).is_some() {
                    document.note(effect, told.clone());
                }
            }
            match write(world, key, &document, etag.as_ref()).await {
                Ok(_) => break,
                Err(TurnError::Aws(AwsError {
                    kind: Kind::Conflict, ..
                })) => {
                    back_off(world, key, &mut attempt).await?;
                    match load(world, key).await?.document {
                        Some((newer, newer_etag)) => (document, etag) = (newer, Some(newer_etag)),
                        // Somebody deleted the document: there is nothing left to settle.
                        None => break,
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }
    match failure {
        Some(error) => Err(error.into()),
        None => Ok(answer),
    }
}

async fn write<D: Owing>(
    world: &impl Documents,
    key: &str,
    document: &D,
    etag: Option<&ETag>,
) -> Result<ETag, TurnError> {
    let body = serde_json::to_vec(document).map_err(|source| TurnError::Unreadable {
        key: key.to_owned(),
        source,
    })?;
    let precondition = etag.map_or(Precondition::Absent, |etag| Precondition::Unchanged(etag.clone()));
    Ok(world.write(key, body, &precondition).await?)
}

/// Waits a random time, longer after more losses, so that writers who met once do not meet again.
async fn back_off(world: &impl Clock, key: &str, attempt: &mut u32) -> Result<(), TurnError> {
    *attempt += 1;
    conflict_retried();
    if *attempt >= ATTEMPTS {
        return Err(TurnError::Contended { key: key.to_owned() });
    }
    let ceiling = 20 << (*attempt).min(5);
    world.sleep(Duration::from_millis(fastrand::u64(5..ceiling))).await;
    Ok(())
}
