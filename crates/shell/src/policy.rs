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
    /// The policy in force: the one in the state bucket; the defaults if there is none; the last good one if the one
    /// in the bucket cannot hold.
    ///
    /// # Errors
    /// If it cannot be read, or cannot hold and none was good before.
    pub async fn load(&self, world: &impl Documents) -> Result<Arc<Policy>, LoadPolicyError> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let known = last.as_ref().map(|(etag, _)| etag);
        match (world.read(POLICY_KEY, known).await.map_err(LoadPolicyError::Aws)?, last) {
            (Fetched::Unchanged, Some((_, policy))) => Ok(policy),
            (Fetched::Absent | Fetched::Unchanged, _) => Ok(Arc::new(Policy::default())),
            (Fetched::Found(body, etag), last) => match (Policy::parse(&body), last) {
                (Ok(policy), _) => {
                    let policy = Arc::new(policy);
                    *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some((etag, Arc::clone(&policy)));
                    Ok(policy)
                }
                (Err(error), Some((_, policy))) => {
                    tracing::error!(
                        policy.version = policy.version(),
                        error = %error,
                        "the new policy cannot hold: the last good one stays in force"
                    );
                    Ok(policy)
                }
                // Nobody has seen a good one since this function began: the bucket has.
                (Err(error), None) => {
                    let earlier = world.earlier(POLICY_KEY).await.map_err(LoadPolicyError::Aws)?;
                    let Some(policy) = earlier.iter().find_map(|body| Policy::parse(body).ok()) else {
                        return Err(LoadPolicyError::Invalid(error));
                    };
                    tracing::error!(
                        policy.version = policy.version(),
                        error = %error,
                        "the policy in the bucket cannot hold: its last good version stays in force"
                    );
                    let policy = Arc::new(policy);
                    *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some((etag, Arc::clone(&policy)));
                    Ok(policy)
                }
            },
        }
    }
}
