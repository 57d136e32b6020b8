//! The policy in the state bucket, cached between invocations and read again only after a change.

use crate::{
    AwsError, ErrorType,
    ports::{Documents, ETag, Fetched},
};
use remediation::{Policy, PolicyError};
use std::sync::{Arc, Mutex, PoisonError};

/// Key of the policy in the state bucket.
pub const POLICY_KEY: &str = "policy.toml";

/// Why no policy is effective.
#[derive(Debug, thiserror::Error)]
pub enum LoadPolicyError {
    /// The policy could not be read.
    #[error("{0}")]
    Aws(AwsError),
    /// The policy is invalid, and no earlier version is valid.
    #[error("`{POLICY_KEY}` in the state bucket is invalid")]
    Invalid(#[source] PolicyError),
}

impl ErrorType for LoadPolicyError {
    fn error_type(&self) -> &'static str {
        match self {
            Self::Aws(error) => error.error_type(),
            Self::Invalid(_) => "PolicyInvalid",
        }
    }
}

/// A policy and the entity tag of its object.
type CachedPolicy = (ETag, Arc<Policy>);

/// Cache of the effective policy. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct PolicyStore {
    last: Arc<Mutex<Option<CachedPolicy>>>,
}

impl PolicyStore {
    /// The effective policy: the one in the state bucket, or the defaults if there is none. If it is invalid, the newest valid
    /// version in the bucket.
    ///
    /// # Errors
    /// If the bucket cannot be read, or no version of the policy is valid.
    pub async fn load(&self, clients: &impl Documents) -> Result<Arc<Policy>, LoadPolicyError> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let known = last.as_ref().map(|(etag, _)| etag);
        let (body, etag) = match (
            clients.read(POLICY_KEY, known).await.map_err(LoadPolicyError::Aws)?,
            last.as_ref(),
        ) {
            (Fetched::Found(body, etag), _) => (body, etag),
            (Fetched::Unchanged, Some((_, policy))) => return Ok(Arc::clone(policy)),
            (Fetched::Absent | Fetched::Unchanged, _) => return Ok(Arc::new(Policy::default())),
        };
        let policy = match Policy::parse(&body) {
            Ok(policy) => Arc::new(policy),
            Err(error) => {
                // The bucket comes first: it may have a valid version that is newer than the cached one, published while this
                // function was idle. The cached policy is the last resort, for a bucket without earlier versions.
                let earlier = clients
                    .earlier_versions(POLICY_KEY)
                    .await
                    .map_err(LoadPolicyError::Aws)?;
                let valid = earlier.iter().find_map(|body| Policy::parse(body).ok()).map(Arc::new);
                let Some(policy) = valid.or(last.map(|(_, policy)| policy)) else {
                    return Err(LoadPolicyError::Invalid(error));
                };
                tracing::error!(
                    policy.version = policy.version(),
                    error = %error,
                    "policy invalid: the last valid version stays effective"
                );
                policy
            }
        };
        // Also under the entity tag of an invalid policy: versions are listed once per change.
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some((etag, Arc::clone(&policy)));
        Ok(policy)
    }
}
