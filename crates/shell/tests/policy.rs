//! Which policy is effective while `policy.toml` changes.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use shell::{
    ErrorType as _, Kind, POLICY_KEY, PolicyStore,
    memory::{Fault, Memory},
};

const FIRST: &str = "[alert]\ndatapoints_to_alert = 1\n";
const SECOND: &str = "paused = true\n";
const INVALID: &str = "[alert]\ndatapoints_to_alrt = 1\n";

/// The bucket after the first policy, and a function that has read it.
async fn warm() -> (Memory, PolicyStore, String) {
    let aws = Memory::at("2026-11-23T03:00:00Z".parse().unwrap());
    aws.put_document(POLICY_KEY, FIRST);
    let store = PolicyStore::default();
    let version = version(&aws, &store).await;
    (aws, store, version)
}

async fn version(aws: &Memory, store: &PolicyStore) -> String {
    store.load(aws).await.unwrap().version().to_owned()
}

#[tokio::test]
async fn valid_version_published_unseen_wins_over_older_known_one() {
    let (aws, warm, first) = warm().await;
    aws.put_document(POLICY_KEY, SECOND);
    let second = version(&aws, &PolicyStore::default()).await;
    assert_ne!(first, second);
    aws.put_document(POLICY_KEY, INVALID);
    assert_eq!(version(&aws, &warm).await, second);
    assert_eq!(version(&aws, &PolicyStore::default()).await, second);
}

#[tokio::test]
async fn versions_are_listed_once_per_invalid_policy() {
    let (aws, store, first) = warm().await;
    for _ in 0..2 {
        aws.put_document(POLICY_KEY, INVALID);
        for _ in 0..3 {
            assert_eq!(version(&aws, &store).await, first);
        }
    }
    let listed = aws
        .calls()
        .into_iter()
        .filter(|call| *call == "s3:ListBucketVersions")
        .count();
    assert_eq!(listed, 2);
}

#[tokio::test]
async fn versions_that_cannot_be_listed_are_an_error() {
    let (aws, store, _) = warm().await;
    aws.put_document(POLICY_KEY, INVALID);
    aws.fail("s3:ListBucketVersions", Fault::Before(Kind::Denied));
    assert_eq!(store.load(&aws).await.unwrap_err().error_type(), "AwsAccessDenied");
}
