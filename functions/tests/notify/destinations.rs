//! A destination that fails, does not respond, or is slow delays no other, and gets few requests.

use crate::notify::harness::{Harness, event, with};
use functions::notify::Handled;
use jiff::SignedDuration;
use machine::{ErrorType as _, Kind, chain};
use shell::memory::Fault;
use std::{collections::BTreeSet, time::Duration};

const HOOK: &str = "https://hooks.example.com/services/T0SECRET99/B0SECRET99";
const OTHER_HOOK: &str = "https://other.example.com/x";
/// A webhook, another webhook, and the topic with a digest.
const MIXED: &str = "[[notification]]\nto = 'webhook'\nurl = 'https://hooks.example.com/services/T0SECRET99/B0SECRET99'\n\
                     secret = 'ssm:/hook'\n\
                     [[notification]]\nto = 'webhook'\nurl = 'https://other.example.com/x'\nsecret = 'ssm:/hook'\n\
                     [[notification]]\nto = 'sns-text'\ndigest = 'daily at 08:00'\n";
const HOOK_ONLY: &str = "[[notification]]\nto = 'webhook'\n\
                         url = 'https://hooks.example.com/services/T0SECRET99/B0SECRET99'\nsecret = 'ssm:/hook'\n";

fn mins(mins: i64) -> SignedDuration {
    SignedDuration::from_mins(mins)
}

/// An alert of a model.
fn alert(model: &str) -> String {
    with("alert-in-alert", |detail| {
        detail["id"] = format!("alert-{model}").into();
        detail["model"] = model.into();
    })
}

/// Number of requests to a URL.
fn requests(harness: &Harness, url: &str) -> usize {
    harness.aws.posts().iter().filter(|post| post.url == url).count()
}

#[tokio::test]
async fn dead_webhook_delays_neither_digest_nor_others() {
    let harness = Harness::with_policy(MIXED);
    harness.aws.answer_after(HOOK, Duration::MAX);
    for model in 1..=7 {
        let handled = harness.handle(&alert(&format!("model-{model}"))).await;
        assert!(
            matches!(
                handled,
                Handled::Sent {
                    destinations: 3,
                    pending: 1,
                    ..
                }
            ),
            "{handled:?}"
        );
    }
    assert_eq!(requests(&harness, OTHER_HOOK), 7, "the other webhook gets all at once");
    assert_eq!(requests(&harness, HOOK), 3, "after three failures, no attempt is made");
    // The digest is due.
    harness.aws.set_time("2026-11-24T08:00:00Z".parse().unwrap());
    let handled = harness.tick().await.unwrap();
    assert!(
        matches!(
            handled,
            Handled::Ticked {
                held: 1,
                delivered: 2,
                pending: 7,
                ..
            }
        ),
        "{handled:?}"
    );
    let subjects = harness.subjects();
    assert!(
        subjects
            .iter()
            .any(|subject| subject.contains("digest: 7 notifications")),
        "{subjects:?}"
    );
    assert_eq!(
        requests(&harness, HOOK),
        4,
        "one request shows that the webhook is still dead"
    );
    let duration = harness
        .aws
        .time()
        .duration_since("2026-11-24T08:00:00Z".parse().unwrap());
    assert!(duration <= SignedDuration::from_secs(31), "{duration}");
}

#[tokio::test]
async fn notifications_arrive_when_webhook_responds_again() {
    let harness = Harness::with_policy(MIXED);
    harness.aws.answer(HOOK, 503);
    for model in 1..=7 {
        harness.handle(&alert(&format!("model-{model}"))).await;
    }
    harness.pass(mins(30)).await;
    harness.aws.answer(HOOK, 200);
    let before = requests(&harness, HOOK);
    harness.pass(mins(30)).await;
    assert_eq!(requests(&harness, HOOK) - before, 7, "each arrives, within two ticks");
    assert_eq!(harness.queue(HOOK)["pending"].as_array().unwrap().len(), 0);
}

#[tokio::test]
async fn slow_webhook_gets_few_requests_with_one_id() {
    let harness = Harness::with_policy(HOOK_ONLY);
    harness.aws.answer_after(HOOK, Duration::from_secs(15));
    let error = harness.try_handle(&alert("churn")).await.unwrap_err();
    assert_eq!(error.error_type(), "NotificationUndelivered");
    harness.pass(SignedDuration::from_hours(72)).await;
    assert_eq!(
        requests(&harness, HOOK),
        2,
        "the second request waits longer for the response"
    );
    let ids: BTreeSet<_> = harness.aws.posts().iter().map(|post| post.headers[1].clone()).collect();
    assert_eq!(ids.len(), 1, "{ids:?}");
    harness.handle(&alert("fraud")).await;
    assert_eq!(requests(&harness, HOOK), 3, "the next notification is sent once");
}

#[tokio::test]
async fn dead_webhook_gets_ever_fewer_requests() {
    let harness = Harness::with_policy(MIXED);
    harness.aws.answer_after(HOOK, Duration::MAX);
    harness.handle(&alert("churn")).await;
    harness.pass(SignedDuration::from_hours(71)).await;
    let sent = requests(&harness, HOOK);
    assert!((10..30).contains(&sent), "{sent} requests in 71 h");
    let pending = harness.queue(HOOK)["pending"][0].clone();
    assert_eq!(pending["firstFailure"], "2026-11-23T12:00:10Z");
    assert_eq!(pending["attempts"].as_u64().unwrap(), sent as u64);
    assert_eq!(
        pending["lastError"],
        "POST on `https://hooks.example.com` failed: no response within 30 s"
    );
    assert!(pending["nextAttempt"].as_str().unwrap() > "2026-11-26T11:00");
}

#[tokio::test]
async fn lost_notification_is_reported_once_elsewhere() {
    let harness = Harness::with_policy(MIXED);
    harness.aws.answer(HOOK, 503);
    harness.handle(&alert("churn")).await;
    harness.pass(SignedDuration::from_hours(120)).await;
    let reports: Vec<_> = harness
        .posts()
        .into_iter()
        .filter(|post| post["kind"].is_null())
        .collect();
    let subjects: Vec<_> = reports.iter().map(|post| post["subject"].as_str().unwrap()).collect();
    assert_eq!(
        subjects,
        [
            "notification destination fails: webhook hooks.example.com",
            "1 notification not delivered: webhook hooks.example.com"
        ]
    );
    assert!(
        reports[1]["facts"][0]["lines"][0]
            .as_str()
            .unwrap()
            .contains("gave up after 72 h")
    );
    let document = harness.queue(HOOK);
    assert_eq!(document["pending"].as_array().unwrap().len(), 0);
    assert_eq!(document["undelivered"][0]["notification"], "alert-churn");
    for report in &reports {
        crate::notify::harness::check("events/schemas/notification.v1.json", report);
    }
}

#[tokio::test]
async fn failure_of_the_only_destination_is_an_error_once() {
    let harness = Harness::with_policy("");
    for _ in 0..200 {
        harness.aws.fail("sns:Publish", Fault::Before(Kind::Denied));
    }
    let error = harness.try_handle(&alert("churn")).await.unwrap_err();
    assert_eq!(error.error_type(), "NotificationUndelivered");
    let mut errors = Vec::new();
    for _ in 0..8 {
        harness.aws.pass(mins(15));
        errors.extend(harness.tick().await.err().map(|error| chain(&error)));
    }
    assert!(
        matches!(&errors[..], [error] if error.contains("have failed since")),
        "{errors:?}"
    );
}

#[tokio::test]
async fn thread_stays_in_order_after_a_failure() {
    let harness = Harness::with_policy(HOOK_ONLY);
    harness.aws.answer(HOOK, 503);
    harness.try_handle(&event("alert-in-alert")).await.unwrap_err();
    harness.aws.answer(HOOK, 200);
    harness.handle(&event("incident-closed")).await;
    let kinds: Vec<_> = harness.posts().iter().map(|post| post["kind"].clone()).collect();
    assert_eq!(kinds, ["alert", "alert", "incident"]);
}

#[tokio::test]
async fn unreadable_document_stops_no_other_destination() {
    let harness = Harness::with_policy(MIXED);
    harness.aws.answer(HOOK, 503);
    harness.aws.answer(OTHER_HOOK, 503);
    harness.handle(&alert("churn")).await;
    let documents = harness.aws.documents().into_iter();
    let key = documents
        .filter(|key| key.starts_with("notifications/destinations/"))
        .find(|key| {
            String::from_utf8(harness.aws.document(key).unwrap())
                .unwrap()
                .contains(HOOK)
        })
        .unwrap();
    harness.aws.put_document(&key, "{");
    harness.aws.answer(OTHER_HOOK, 200);
    harness.aws.pass(mins(15));
    let error = harness.tick().await.unwrap_err();
    assert!(chain(&error).contains(&key), "{}", chain(&error));
    assert_eq!(requests(&harness, OTHER_HOOK), 2, "the other webhook got it");
}

#[tokio::test]
async fn paths_of_webhooks_appear_in_no_error_or_report() {
    let harness = Harness::with_policy(HOOK_ONLY);
    for status in [404, 503] {
        harness.aws.answer(HOOK, status);
        let error = harness.try_handle(&alert(&format!("model-{status}"))).await;
        let error = chain(&error.unwrap_err());
        assert!(
            error.contains("https://hooks.example.com") && !error.contains("SECRET"),
            "{error}"
        );
        assert!(error.contains(&format!("answer {status}")), "{error}");
    }
    harness.pass_with_errors(SignedDuration::from_hours(2)).await;
    let (subject, body) = harness.aws.messages().pop().unwrap();
    assert!(subject.contains("notification destination fails"), "{subject}");
    assert!(
        body.contains("https://hooks.example.com") && !body.contains("SECRET"),
        "{body}"
    );
}
