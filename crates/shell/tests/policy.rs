//! Which policy is effective while `policy.toml` changes.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use machine::{ErrorType as _, Kind};
use shell::{
    POLICY_IN_FORCE_KEY, POLICY_KEY, PolicyStore,
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

/// A function that decides, without anything in memory.
async fn cold(aws: &Memory) -> Result<String, &'static str> {
    let store = PolicyStore::recording();
    let loaded = store.load(aws).await;
    loaded
        .map(|policy| policy.version().to_owned())
        .map_err(|error| error.error_type())
}

#[tokio::test]
async fn deleted_policy_stays_effective() {
    let (aws, warm, first) = warm().await;
    aws.delete_document(POLICY_KEY);
    for _ in 0..3 {
        assert_eq!(
            version(&aws, &warm).await,
            first,
            "also between two reads of one invocation"
        );
    }
    assert_eq!(cold(&aws).await.as_deref(), Ok(first.as_str()));
    let (_, fell_back) = warm.load_with_state(&aws).await.unwrap();
    assert!(fell_back);
    // Returning to the defaults takes a push.
    aws.put_document(POLICY_KEY, "# the defaults\n");
    let (policy, fell_back) = warm.load_with_state(&aws).await.unwrap();
    assert!(!fell_back);
    assert_eq!(policy.version(), version(&aws, &PolicyStore::default()).await);
    assert_ne!(policy.version(), first);
}

#[tokio::test]
async fn deleted_policy_is_remembered_after_versions_expire() {
    let (aws, _, first) = warm().await;
    assert_eq!(cold(&aws).await.as_deref(), Ok(first.as_str()));
    aws.delete_document(POLICY_KEY);
    aws.expire_versions(POLICY_KEY);
    assert_eq!(cold(&aws).await.as_deref(), Ok(first.as_str()));
    // Another policy is remembered instead, also if it is deleted at once.
    aws.put_document(POLICY_KEY, SECOND);
    let second = cold(&aws).await.unwrap();
    assert_ne!(first, second);
    aws.delete_document(POLICY_KEY);
    aws.expire_versions(POLICY_KEY);
    assert_eq!(cold(&aws).await, Ok(second));
}

#[tokio::test]
async fn policy_deleted_unseen_is_found_in_versions() {
    let aws = Memory::at("2026-11-23T03:00:00Z".parse().unwrap());
    let idle = PolicyStore::default();
    assert_eq!(version(&aws, &idle).await, "default");
    aws.put_document(POLICY_KEY, SECOND);
    aws.delete_document(POLICY_KEY);
    assert_ne!(cold(&aws).await.as_deref(), Ok("default"));
    // It is remembered from now on, also by a function that knew of no policy.
    assert_ne!(version(&aws, &idle).await, "default");
}

#[tokio::test]
async fn nothing_is_decided_without_record() {
    for broken in ["none", "{}"] {
        let (aws, _, _) = warm().await;
        aws.delete_document(POLICY_KEY);
        aws.put_document(POLICY_IN_FORCE_KEY, broken);
        assert_eq!(cold(&aws).await, Err("StateUnreadable"), "{broken}");
    }
    for fault in [Kind::Denied, Kind::Transient] {
        let (aws, _, _) = warm().await;
        aws.expire_versions(POLICY_KEY);
        aws.delete_document(POLICY_KEY);
        aws.fail("s3:GetObject", Fault::Overtaken);
        aws.fail("s3:GetObject", Fault::Before(fault));
        assert!(cold(&aws).await.is_err());
    }
    // It had a policy, but none that is valid.
    let aws = Memory::at("2026-11-23T03:00:00Z".parse().unwrap());
    aws.put_document(POLICY_KEY, INVALID);
    assert_eq!(cold(&aws).await, Err("PolicyInvalid"));
    aws.delete_document(POLICY_KEY);
    assert_eq!(cold(&aws).await, Err("PolicyMissing"));
}

#[tokio::test]
async fn unreadable_content_keeps_last_policy() {
    for content in [
        &b""[..],
        b" \n\t\n",
        b"\xff\xfep\0a\0u\0s\0e\0d\0",
        b"# \xe9t\xe9\n",
        b"\0",
    ] {
        let (aws, warm, first) = warm().await;
        assert_eq!(cold(&aws).await.as_deref(), Ok(first.as_str()));
        aws.put_document(POLICY_KEY, content);
        assert_eq!(version(&aws, &warm).await, first, "{content:?}");
        aws.expire_versions(POLICY_KEY);
        assert_eq!(cold(&aws).await.as_deref(), Ok(first.as_str()), "{content:?}");
    }
}

#[tokio::test]
async fn bucket_without_policy_costs_no_listing_per_event() {
    let aws = Memory::at("2026-11-23T03:00:00Z".parse().unwrap());
    let store = PolicyStore::recording();
    for _ in 0..4 {
        let (policy, fell_back) = store.load_with_state(&aws).await.unwrap();
        assert_eq!((policy.version(), fell_back), ("default", false));
    }
    let listed = aws
        .calls()
        .into_iter()
        .filter(|call| *call == "s3:ListBucketVersions")
        .count();
    assert_eq!(listed, 1);
    assert!(aws.documents().is_empty());
}

#[tokio::test]
async fn record_that_fails_is_repeated() {
    let aws = Memory::at("2026-11-23T03:00:00Z".parse().unwrap());
    aws.put_document(POLICY_KEY, FIRST);
    let store = PolicyStore::recording();
    aws.fail("s3:PutObject", Fault::Before(Kind::Transient));
    version(&aws, &store).await;
    assert_eq!(aws.documents(), [POLICY_KEY]);
    version(&aws, &store).await;
    assert_eq!(aws.documents(), [POLICY_IN_FORCE_KEY, POLICY_KEY]);
    let calls = aws.call_count();
    version(&aws, &store).await;
    assert_eq!(aws.call_count(), calls + 1, "recorded once");
}

#[tokio::test]
async fn record_of_newer_version_is_not_written() {
    let (aws, _, first) = warm().await;
    let newer = r#"{"version":2,"policyVersion":"0123456789ab","policy":"paused = true"}"#;
    aws.put_document(POLICY_IN_FORCE_KEY, newer);
    let store = PolicyStore::recording();
    assert_eq!(
        version(&aws, &store).await,
        first,
        "the policy in the bucket is readable"
    );
    assert_eq!(aws.document(POLICY_IN_FORCE_KEY).unwrap(), newer.as_bytes());
    let calls = aws.call_count();
    version(&aws, &store).await;
    assert_eq!(aws.call_count(), calls + 1, "recording is attempted once per policy");
    // Without it, nothing is decided: the record may mean something else.
    aws.delete_document(POLICY_KEY);
    assert_eq!(cold(&aws).await, Err("StateNewer"));
    assert_eq!(aws.document(POLICY_IN_FORCE_KEY).unwrap(), newer.as_bytes());
}

#[tokio::test]
async fn fields_of_newer_record_survive_rewrite() {
    let (aws, _, first) = warm().await;
    assert_eq!(cold(&aws).await.as_deref(), Ok(first.as_str()));
    let record = String::from_utf8(aws.document(POLICY_IN_FORCE_KEY).unwrap()).unwrap();
    aws.put_document(POLICY_IN_FORCE_KEY, record.replacen('{', r#"{"added":[1],"#, 1));
    aws.put_document(POLICY_KEY, SECOND);
    let second = cold(&aws).await.unwrap();
    let record = String::from_utf8(aws.document(POLICY_IN_FORCE_KEY).unwrap()).unwrap();
    assert!(
        record.contains(&second) && record.contains(r#""added":[1]"#),
        "{record}"
    );
}
