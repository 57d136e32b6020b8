//! What updates of documents need: a store with conditional writes, and a clock.

use crate::AwsError;
use jiff::Timestamp;
use std::{ops::Range, time::Duration};

/// Entity tag of an S3 object, as S3 wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ETag(pub String);

/// Condition of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Precondition {
    /// `If-None-Match: *`: the document does not exist.
    Absent,
    /// `If-Match`: the document still has this entity tag.
    Unchanged(ETag),
}

/// Result of a read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fetched {
    /// The document does not exist.
    Absent,
    /// The document still has the known entity tag.
    Unchanged,
    /// Content and entity tag of the document.
    Found(Vec<u8>, ETag),
}

/// A document in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedDocument {
    /// Key of the document.
    pub key: String,
    /// Its entity tag.
    pub etag: ETag,
}

/// The documents in the state bucket.
pub trait Documents {
    /// Reads a document, unless it still has the `known` entity tag.
    fn read(&self, key: &str, known: Option<&ETag>) -> impl Future<Output = Result<Fetched, AwsError>>;

    /// Lists all documents with this prefix, in the order of their keys.
    fn list(&self, prefix: &str) -> impl Future<Output = Result<Vec<ListedDocument>, AwsError>>;

    /// The keys of all documents with this prefix, in order.
    fn keys(&self, prefix: &str) -> impl Future<Output = Result<Vec<String>, AwsError>> {
        async move {
            let listed = self.list(prefix).await?;
            Ok(listed.into_iter().map(|document| document.key).collect())
        }
    }

    /// Reads some earlier versions of a document, newest first.
    fn earlier_versions(&self, key: &str) -> impl Future<Output = Result<Vec<Vec<u8>>, AwsError>>;

    /// Writes a document if the precondition is met. Otherwise the error is [`crate::Kind::Conflict`].
    fn write(
        &self,
        key: &str,
        body: Vec<u8>,
        precondition: &Precondition,
    ) -> impl Future<Output = Result<ETag, AwsError>>;
}

/// The clock.
pub trait Clock {
    /// Current time.
    fn now(&self) -> Timestamp;

    /// Waits for a duration.
    fn sleep(&self, duration: Duration) -> impl Future<Output = ()>;

    /// The result of `work`. `None` if it takes longer than the limit: then it is stopped.
    fn within<T>(&self, limit: Duration, work: impl Future<Output = T>) -> impl Future<Output = Option<T>>;

    /// A random number in a range.
    fn random(&self, range: Range<u64>) -> u64;

    /// A random duration of 5 ms up to `longest`, so that writers that conflict do not conflict again.
    fn jitter(&self, longest: Duration) -> Duration {
        let longest = u64::try_from(longest.as_millis()).unwrap_or(u64::MAX).max(6);
        Duration::from_millis(self.random(5..longest))
    }
}
