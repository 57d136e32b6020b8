//! State documents: format versions, loading, and conditional writes.

use crate::{
    AwsError, Clock, Documents, ETag, ErrorType, Fetched, GivenUp, Outbox, Precondition, invocation::conflict_retried,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::time::Duration;

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

    /// Records an effect that was given up in the document.
    fn note_given_up(&mut self, _given_up: GivenUp) {}

    /// Whether an effect that has failed for 24 hours is given up.
    fn is_given_up(_effect: &Self::Effect) -> bool {
        true
    }
}

/// A document as loaded, or the fact that it does not exist.
#[derive(Debug, Clone)]
pub struct LoadedDocument<D> {
    pub(crate) document: Option<(D, ETag)>,
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
    /// An effect failed until its limit passed. The change of the invocation is stored, and all other effects are settled.
    #[error("pending effect `{id}` of document `{key}` failed for 24 hours and was given up: {error}")]
    GivenUp {
        /// Key of the document.
        key: String,
        /// ID of the effect.
        id: String,
        /// The last failure.
        error: AwsError,
    },
    /// Too many concurrent writers.
    #[error("failed to write document `{key}` in the state bucket: other writers changed it at every attempt")]
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
            Self::GivenUp { .. } => "EffectGivenUp",
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

/// Writes a document, if no other writer has changed it.
pub(crate) async fn write<D: Serialize>(
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
pub(crate) async fn back_off(clients: &impl Clock, key: &str, attempt: &mut u32) -> Result<(), UpdateError> {
    *attempt += 1;
    conflict_retried();
    if *attempt >= MAX_ATTEMPTS {
        return Err(UpdateError::Contended { key: key.to_owned() });
    }
    let longest = Duration::from_millis(20 << (*attempt).min(5));
    clients.sleep(clients.jitter(longest)).await;
    Ok(())
}
