//! Documents of another release: nothing is dropped, and nothing is misread.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use alerting::{Monitor, MonitorLedger};
use jiff::{SignedDuration, Timestamp};
use machine::{Caller, ErrorType as _, OutboxDocument, load, update_document};
use promotion::ExperimentDocument;
use remediation::ModelDocument;
use serde_json::{Value, json};
use shell::memory::Memory;

const KEY: &str = "documents/one.json";

fn aws() -> Memory {
    Memory::at("2026-11-23T03:00:00Z".parse().unwrap())
}

fn ledger() -> MonitorLedger {
    MonitorLedger::new(Monitor {
        schedule: "churn-dq".into(),
        endpoint: None,
        model: "churn".into(),
        monitor_type: None,
    })
}

/// Puts a document with changed members into the bucket.
fn put(aws: &Memory, document: &impl serde::Serialize, change: &Value) -> Value {
    let mut document = serde_json::to_value(document).unwrap();
    let members = document.as_object_mut().unwrap();
    members.extend(change.as_object().unwrap().clone());
    aws.put_document(KEY, document.to_string());
    document
}

fn stored(aws: &Memory) -> Value {
    serde_json::from_slice(&aws.document(KEY).unwrap()).unwrap()
}

/// Rewrites the document in an update that changes one of its members.
async fn rewrite<D: OutboxDocument>(aws: &Memory, new: D, change: impl Fn(&mut D)) -> Result<(), &'static str> {
    let caller = Caller::new("caller", aws.time());
    let loaded = load::<D>(aws, KEY).await.map_err(|error| error.error_type())?;
    let new = || new.clone();
    let updated = update_document(aws, KEY, loaded, &caller, new, change, async |_| {
        unreachable!("no known effect is pending")
    })
    .await;
    updated.map_err(|error| error.error_type())
}

#[tokio::test]
async fn document_of_newer_version_is_not_written() {
    let aws = aws();
    // The meaning of a known field may differ, or its type.
    for change in [
        json!({"version": 2, "added": true}),
        json!({"version": 7, "model": {"name": "churn"}, "monitor": 1}),
    ] {
        let before = put(&aws, &ledger(), &change);
        let result = rewrite(&aws, ledger(), |ledger| ledger.monitor.model.push('x')).await;
        assert_eq!(result, Err("StateNewer"));
        assert_eq!(stored(&aws), before);
        let before = put(&aws, &ModelDocument::new("churn"), &change);
        let result = rewrite(&aws, ModelDocument::new("churn"), |document| document.incidents += 1).await;
        assert_eq!(result, Err("StateNewer"));
        assert_eq!(stored(&aws), before);
    }
    put(&aws, &ledger(), &json!({"version": 1, "monitor": 1}));
    let error = load::<MonitorLedger>(&aws, KEY).await.unwrap_err();
    assert_eq!(error.error_type(), "StateUnreadable");
    put(&aws, &ledger(), &json!({"version": 2}));
    let error = load::<MonitorLedger>(&aws, KEY).await.unwrap_err().to_string();
    assert!(
        error.contains(KEY) && error.contains("version 2") && error.contains("version 1"),
        "{error}"
    );
}

#[tokio::test]
async fn fields_of_newer_release_survive_rewrite() {
    let aws = aws();
    let added = json!({"addedLater": {"list": [1, 0.1, null, "text"]}});
    put(&aws, &ledger(), &added);
    rewrite(&aws, ledger(), |ledger| ledger.monitor.model.push('2'))
        .await
        .unwrap();
    assert_eq!(stored(&aws)["addedLater"], added["addedLater"]);
    assert_eq!(stored(&aws)["monitor"]["model"], "churn2");

    let incident = json!({
        "number": 3, "id": "churn-3", "token": "t", "stage": "Deciding", "opened_at": "2026-11-23T03:00:00Z",
        "monitors": ["churn-dq"], "addedLater": {"deadline": "2026-11-23T04:00:00Z"},
    });
    let closed = json!([{"incident": incident, "closed_at": "2026-11-23T03:00:00Z", "outcome": "Recovered"}]);
    let mut change = added.clone();
    change["incident"] = incident.clone();
    change["closed"] = closed;
    put(&aws, &ModelDocument::new("churn"), &change);
    rewrite(&aws, ModelDocument::new("churn"), |document| document.incidents += 1)
        .await
        .unwrap();
    assert_eq!(stored(&aws)["addedLater"], added["addedLater"]);
    assert_eq!(stored(&aws)["incident"]["addedLater"], incident["addedLater"]);
    assert_eq!(
        stored(&aws)["closed"][0]["incident"]["addedLater"],
        incident["addedLater"]
    );

    put(&aws, &ExperimentDocument::new("churn"), &added);
    rewrite(&aws, ExperimentDocument::new("churn"), |document| {
        document.experiments += 1;
    })
    .await
    .unwrap();
    assert_eq!(stored(&aws)["addedLater"], added["addedLater"]);
}

#[tokio::test]
async fn unknown_effect_does_not_stop_document() {
    let aws = aws();
    let claimed = |until: Timestamp| json!({"by": "newer", "until": until});
    let effect =
        json!({"id": "page/churn-dq", "effect": {"PageOperator": {"urgent": true}}, "claim": claimed(aws.time())});
    put(&aws, &ledger(), &json!({"outbox": [effect]}));
    aws.pass(SignedDuration::from_hours(1));
    for _ in 0..2 {
        rewrite(&aws, ledger(), |ledger| ledger.monitor.model.push('2'))
            .await
            .unwrap();
    }
    assert_eq!(stored(&aws)["outbox"], json!([effect]));
    assert_eq!(stored(&aws)["monitor"]["model"], "churn22");
}
