//! The policy as the state bucket holds it, kept between invocations and read again only when it has changed.

use crate::{
    AwsError, ErrorType,
    ports::{Documents, ETag, Fetched},
};
use remediation::{Policy, PolicyError};
use std::sync::{Arc, Mutex, PoisonError};

/// Where the policy lies in the state bucket.
pub const POLICY_KEY: &str = "policy.toml";

/// Why there is no policy to judge by.
#[derive(Debug, thiserror::Error)]
pub enum LoadPolicyError {
    /// It could not be read.
    #[error("{0}")]
    Aws(AwsError),
    /// It cannot hold, and this function has not seen a good one before.
    #[error("{POLICY_KEY} in the state bucket is not a policy")]
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

/// A policy that was read, and the entity tag of its object.
type Known = (ETag, Arc<Policy>);

/// The policy that was last read. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct PolicyStore {
    last: Arc<Mutex<Option<Known>>>,
}

impl PolicyStore {
    /// The policy to decide by: the one in the state bucket; the defaults if there is none; the newest valid version in the bucket
    /// if the present one is invalid.
    ///
    /// # Errors
    /// If the bucket cannot be read, or no version of the policy is valid.
    pub async fn load(&self, world: &impl Documents) -> Result<Arc<Policy>, LoadPolicyError> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let known = last.as_ref().map(|(etag, _)| etag);
        let (body, etag) = match (
            world.read(POLICY_KEY, known).await.map_err(LoadPolicyError::Aws)?,
            last.as_ref(),
        ) {
            (Fetched::Found(body, etag), _) => (body, etag),
            (Fetched::Unchanged, Some((_, policy))) => return Ok(Arc::clone(policy)),
            (Fetched::Absent | Fetched::Unchanged, _) => return Ok(Arc::new(Policy::default())),
        };
        let policy = match Policy::parse(&body) {
            Ok(policy) => Arc::new(policy),
            Err(error) => {
                // The bucket is asked first: this function may have slept through a valid version that is newer than the one it
                // knows. Its own is the last resort, for a bucket that has lost its versions.
                let earlier = world.earlier(POLICY_KEY).await.map_err(LoadPolicyError::Aws)?;
                let valid = earlier.iter().find_map(|body| Policy::parse(body).ok()).map(Arc::new);
                let Some(policy) = valid.or(last.map(|(_, policy)| policy)) else {
                    return Err(LoadPolicyError::Invalid(error));
                };
                tracing::error!(
                    policy.version = policy.version(),
                    error = %error,
                    "the policy is invalid: its last valid version stays effective"
                );
                policy
            }
        };
        // Under the entity tag of an invalid one, too: versions are listed once.
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some((etag, Arc::clone(&policy)));
        Ok(policy)
    }
}
