//! The policy in the state bucket, cached between invocations and read again only after a change.
//!
//! A bucket that ever had a policy has one. If `policy.toml` is invalid or was deleted, the last valid version stays effective:
//! the newest valid version in the bucket, otherwise the one in `policy-in-force.json`, otherwise the cached one. The defaults
//! are effective only in a bucket that never had a policy.
//!
//! **Invariant.** If it is unknown whether there was a policy, loading fails: nothing is decided by the defaults.

use futures_util::future::join;
use machine::{AwsError, Documents, ETag, ErrorType, Fetched, Kind, Precondition, UpdateError, parse_document};
use remediation::{Policy, PolicyError};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::sync::{Arc, Mutex, PoisonError};

/// Key of the policy in the state bucket.
pub const POLICY_KEY: &str = "policy.toml";

/// Key of the last valid policy that a function has read, in the state bucket.
pub const POLICY_IN_FORCE_KEY: &str = "policy-in-force.json";

/// Why no policy is effective.
#[derive(Debug, thiserror::Error)]
pub enum LoadPolicyError {
    /// The policy could not be read.
    #[error("{0}")]
    Aws(AwsError),
    /// The policy is invalid, and no earlier version is valid.
    #[error("`{POLICY_KEY}` in the state bucket is invalid")]
    Invalid(#[source] PolicyError),
    /// The policy has no content, and no earlier version is valid.
    #[error(
        "`{POLICY_KEY}` in the state bucket is empty, and no earlier version is valid; publish a policy with `driftwarden policy push`"
    )]
    Empty,
    /// The policy was deleted, and no earlier version is valid.
    #[error(
        "`{POLICY_KEY}` was deleted from the state bucket, and no earlier version is valid; publish a policy with `driftwarden policy push`"
    )]
    Missing,
    /// The record of the last valid policy cannot be parsed, or was written by a newer release.
    #[error(transparent)]
    InForce(UpdateError),
}

impl ErrorType for LoadPolicyError {
    fn error_type(&self) -> &'static str {
        match self {
            Self::Aws(error) => error.error_type(),
            Self::Invalid(_) | Self::Empty => "PolicyInvalid",
            Self::Missing => "PolicyMissing",
            Self::InForce(error) => error.error_type(),
        }
    }
}

/// Document [`POLICY_IN_FORCE_KEY`]: the last valid policy that a function has read. Versions of `policy.toml` expire, this
/// document does not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PolicyInForce {
    /// Version of the document format.
    version: u64,
    /// Policy version of the text.
    policy_version: String,
    /// Content of the policy.
    policy: String,
    /// Fields of a newer release.
    #[serde(flatten)]
    rest: Map<String, Value>,
}

impl PolicyInForce {
    /// Newest format version that this release supports.
    const VERSION: u64 = 1;

    fn parse(body: &[u8]) -> Result<Self, UpdateError> {
        parse_document(POLICY_IN_FORCE_KEY, body, Self::VERSION)
    }
}

/// Why `policy.toml` is not effective.
#[derive(Debug)]
enum Problem {
    /// It is invalid.
    Invalid(PolicyError),
    /// It has no content.
    Empty,
    /// It does not exist, although the bucket had a policy.
    Missing,
}

impl From<Problem> for LoadPolicyError {
    fn from(problem: Problem) -> Self {
        match problem {
            Problem::Invalid(error) => Self::Invalid(error),
            Problem::Empty => Self::Empty,
            Problem::Missing => Self::Missing,
        }
    }
}

/// What `policy.toml` was at the last read.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Seen {
    /// An object with this entity tag.
    Object(ETag),
    /// No object. Contains the entity tag of [`POLICY_IN_FORCE_KEY`], if that existed.
    Absent(Option<ETag>),
}

/// The policy that was effective at the last read.
#[derive(Debug, Clone)]
struct CachedPolicy {
    seen: Seen,
    policy: Arc<Policy>,
    /// Content of the policy, until it is recorded in [`POLICY_IN_FORCE_KEY`].
    unrecorded: Option<Arc<str>>,
    /// Whether `policy.toml` itself is not effective.
    fell_back: bool,
}

/// Cache of the effective policy. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct PolicyStore {
    last: Arc<Mutex<Option<CachedPolicy>>>,
    records: bool,
}

impl PolicyStore {
    /// Cache of a function that records the effective policy in [`POLICY_IN_FORCE_KEY`]. Requires permission to write it.
    pub fn recording() -> Self {
        Self {
            records: true,
            ..Self::default()
        }
    }

    /// The effective policy: the one in the state bucket, or the defaults if there never was one. If it is invalid or was deleted,
    /// the last valid version.
    ///
    /// # Errors
    /// If the bucket or the record of the last valid policy cannot be read, or no version of the policy is valid.
    pub async fn load(&self, clients: &impl Documents) -> Result<Arc<Policy>, LoadPolicyError> {
        self.load_with_state(clients).await.map(|(policy, _)| policy)
    }

    /// The effective policy, as [`PolicyStore::load`], and whether `policy.toml` itself is invalid or was deleted.
    ///
    /// # Errors
    /// As [`PolicyStore::load`].
    pub async fn load_with_state(&self, clients: &impl Documents) -> Result<(Arc<Policy>, bool), LoadPolicyError> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let read = |known| async move { clients.read(POLICY_KEY, known).await.map_err(LoadPolicyError::Aws) };
        let (fetched, in_force) = match last.as_ref().map(|last| &last.seen) {
            Some(Seen::Object(etag)) => (read(Some(etag)).await?, None),
            // Both are probably unchanged. Versions are not listed at every event.
            Some(Seen::Absent(known)) => {
                let (fetched, in_force) = join(read(None), read_in_force(clients, known.as_ref())).await;
                let is_unchanged = matches!((in_force?, known), (InForce::Unchanged, _) | (InForce::Absent, None));
                (fetched?, Some(is_unchanged))
            }
            None => (read(None).await?, None),
        };
        let mut current = match (fetched, last) {
            (Fetched::Unchanged, Some(last)) => last,
            (Fetched::Found(body, etag), last) => found(clients, &body, etag, last).await?,
            (Fetched::Absent, Some(last)) if in_force == Some(true) => last,
            (Fetched::Absent | Fetched::Unchanged, last) => absent(clients, last).await?,
        };
        if let Some(text) = current.unrecorded.clone().filter(|_| self.records) {
            // A failure is not an error: the versions in the bucket give the same policy, and the next load records it.
            match record(clients, &current.policy, &text).await {
                Ok(true) => current.unrecorded = None,
                Ok(false) => {}
                Err(error) => tracing::error!(error = %error, "failed to record the effective policy"),
            }
        }
        let loaded = (Arc::clone(&current.policy), current.fell_back);
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(current);
        Ok(loaded)
    }
}

/// Parses a published policy. An empty object is not a policy: it is what an interrupted or misdirected upload leaves. To return to
/// the defaults, publish a file with a setting or a comment.
fn parse(body: &[u8]) -> Result<Policy, Problem> {
    if body.trim_ascii().is_empty() {
        return Err(Problem::Empty);
    }
    Policy::parse(body).map_err(Problem::Invalid)
}

/// The effective policy if `policy.toml` exists and is new to this function.
async fn found(
    clients: &impl Documents,
    body: &[u8],
    etag: ETag,
    last: Option<CachedPolicy>,
) -> Result<CachedPolicy, LoadPolicyError> {
    let seen = Seen::Object(etag);
    match parse(body) {
        Ok(policy) => Ok(CachedPolicy {
            seen,
            policy: Arc::new(policy),
            unrecorded: std::str::from_utf8(body).ok().map(Arc::from),
            fell_back: false,
        }),
        Err(problem) => {
            let (in_force, earlier) = history(clients).await?;
            let in_force = match in_force {
                InForce::Found(in_force, _) => Some(in_force),
                InForce::Unchanged | InForce::Absent => None,
            };
            // Also under the entity tag of an invalid policy: versions are listed once per change.
            fall_back(seen, problem, &earlier, in_force, last)
        }
    }
}

/// The effective policy if `policy.toml` does not exist.
async fn absent(clients: &impl Documents, last: Option<CachedPolicy>) -> Result<CachedPolicy, LoadPolicyError> {
    let (in_force, earlier) = history(clients).await?;
    let (in_force, etag) = match in_force {
        InForce::Found(in_force, etag) => (Some(in_force), Some(etag)),
        InForce::Unchanged | InForce::Absent => (None, None),
    };
    let seen = Seen::Absent(etag);
    // A cached policy that is not the default was in the bucket.
    let had_policy = last
        .as_ref()
        .is_some_and(|last| last.policy.version() != Policy::default().version());
    if in_force.is_none() && earlier.is_empty() && !had_policy {
        return Ok(CachedPolicy {
            seen,
            policy: Arc::new(Policy::default()),
            unrecorded: None,
            fell_back: false,
        });
    }
    fall_back(seen, Problem::Missing, &earlier, in_force, last)
}

/// The last valid policy. The bucket comes first: it may have a valid version that is newer than the recorded and the cached one.
fn fall_back(
    seen: Seen,
    problem: Problem,
    earlier: &[Vec<u8>],
    in_force: Option<PolicyInForce>,
    last: Option<CachedPolicy>,
) -> Result<CachedPolicy, LoadPolicyError> {
    let is_missing = matches!(problem, Problem::Missing);
    let from_bucket = earlier.iter().find_map(|body| Some((parse(body).ok()?, body)));
    let text = |body: &[u8]| std::str::from_utf8(body).ok().map(Arc::from);
    let recorded = || in_force.and_then(|in_force| parse(in_force.policy.as_bytes()).ok());
    let (policy, unrecorded) = if let Some((policy, body)) = from_bucket {
        (Arc::new(policy), text(body))
    } else if let Some(policy) = recorded() {
        (Arc::new(policy), None)
    } else if let Some(last) = last.filter(|last| last.policy.version() != Policy::default().version()) {
        (last.policy, last.unrecorded)
    } else {
        return Err(problem.into());
    };
    let error = machine::chain(&LoadPolicyError::from(problem));
    if is_missing {
        tracing::error!(
            policy.version = policy.version(),
            "policy deleted: the last valid version stays effective"
        );
    } else {
        tracing::error!(
            policy.version = policy.version(),
            error = %error,
            "policy invalid: the last valid version stays effective"
        );
    }
    Ok(CachedPolicy {
        seen,
        policy,
        unrecorded,
        fell_back: true,
    })
}

/// The record of the last valid policy.
enum InForce {
    Absent,
    Unchanged,
    Found(PolicyInForce, ETag),
}

/// Reads the record of the last valid policy, unless it still has the `known` entity tag.
async fn read_in_force(clients: &impl Documents, known: Option<&ETag>) -> Result<InForce, LoadPolicyError> {
    match clients.read(POLICY_IN_FORCE_KEY, known).await {
        Ok(Fetched::Absent) => Ok(InForce::Absent),
        Ok(Fetched::Unchanged) => Ok(InForce::Unchanged),
        Ok(Fetched::Found(body, etag)) => {
            let in_force = PolicyInForce::parse(&body).map_err(LoadPolicyError::InForce)?;
            Ok(InForce::Found(in_force, etag))
        }
        Err(error) => Err(LoadPolicyError::Aws(error)),
    }
}

/// What the bucket remembers of policies: the record of the last valid one, and earlier versions of `policy.toml`, newest first.
async fn history(clients: &impl Documents) -> Result<(InForce, Vec<Vec<u8>>), LoadPolicyError> {
    let (in_force, earlier) = join(read_in_force(clients, None), clients.earlier_versions(POLICY_KEY)).await;
    Ok((in_force?, earlier.map_err(LoadPolicyError::Aws)?))
}

/// Records a valid policy, unless it is recorded. Returns false if another function was faster: its policy may be older. The
/// record of a newer release is not changed.
async fn record(clients: &impl Documents, policy: &Policy, text: &str) -> Result<bool, AwsError> {
    let (rest, precondition) = match clients.read(POLICY_IN_FORCE_KEY, None).await? {
        Fetched::Found(body, etag) => {
            let rest = match PolicyInForce::parse(&body) {
                Ok(known) if known.policy_version == policy.version() && known.policy == text => return Ok(true),
                Ok(known) => known.rest,
                Err(error @ UpdateError::Newer { .. }) => {
                    tracing::warn!(error = %error, "effective policy not recorded");
                    return Ok(true);
                }
                // The policy in the bucket is valid: it replaces a broken record.
                Err(_) => Map::new(),
            };
            (rest, Precondition::Unchanged(etag))
        }
        Fetched::Absent | Fetched::Unchanged => (Map::new(), Precondition::Absent),
    };
    let document = PolicyInForce {
        version: PolicyInForce::VERSION,
        policy_version: policy.version().to_owned(),
        policy: text.to_owned(),
        rest,
    };
    let body = serde_json::to_vec(&document).map_err(|error| AwsError {
        operation: "s3:PutObject",
        resource: POLICY_IN_FORCE_KEY.to_owned(),
        kind: Kind::Rejected,
        message: error.to_string(),
    })?;
    match clients.write(POLICY_IN_FORCE_KEY, body, &precondition).await {
        Ok(_) => Ok(true),
        Err(error) if error.kind == Kind::Conflict => Ok(false),
        Err(error) => Err(error),
    }
}
