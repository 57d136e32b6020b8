//! Routes, threads, repeats, quiet hours, digests, and faults: no notification is sent twice.

use crate::notify::harness::{Harness, check, event, event_as, with};
use functions::notify::Handled;
use jiff::SignedDuration;
use machine::{ErrorType as _, Kind, chain};
use serde_json::Value;
use shell::memory::Fault;

const PAGES: &str = "[[notification]]\nto = 'sns-text'\n\
                     [[notification]]\nto = 'pagerduty'\nsecret = 'secretsmanager:pd'\n\
                     [[notification]]\nto = 'webhook'\nurl = 'https://hooks.example.com/x'\nsecret = 'ssm:/hook'\n";

fn hours(hours: i64) -> SignedDuration {
    SignedDuration::from_hours(hours)
}

#[tokio::test]
async fn event_delivered_twenty_times_is_sent_once() {
    let harness = Harness::with_policy("");
    for _ in 0..20 {
        harness.handle(&event("alert-in-alert")).await;
    }
    assert_eq!(harness.subjects().len(), 1);
    assert!(matches!(
        harness.handle(&event("alert-in-alert")).await,
        Handled::Duplicate { .. }
    ));
}

#[tokio::test]
async fn twenty_equal_alerts_are_one_message_and_a_count() {
    let harness = Harness::with_policy(PAGES);
    harness.handle(&event("alert-in-alert")).await;
    harness.handle(&event("remediation-decided-cooldown")).await;
    assert_eq!(harness.subjects().len(), 2);
    for time in 2..=20 {
        harness.aws.pass(SignedDuration::from_mins(20));
        let handled = harness
            .handle(&event_as("alert-in-alert", &format!("alert-{time}")))
            .await;
        assert!(matches!(handled, Handled::Repeat { .. }), "{handled:?}");
    }
    harness.pass(hours(2)).await;
    assert_eq!(
        harness.subjects().len(),
        2,
        "while the incident is open, the count waits for the next message"
    );
    harness.handle(&event("incident-closed")).await;
    let (_, last) = harness.aws.messages().pop().unwrap();
    assert!(
        last.contains(
            "19 repeats, last at 2026-11-23 18:20 UTC: churn-endpoint: monitor churn-data-quality is in alert"
        ),
        "{last}"
    );
    assert_eq!(harness.subjects().len(), 3);
    let hook = harness
        .posts()
        .into_iter()
        .rfind(|post| post.get("version").is_some())
        .unwrap();
    assert_eq!(hook["repeats"][0]["count"], 19, "each destination receives the count");
    // PagerDuty does not page for repeats.
    let pages: Vec<_> = harness
        .posts()
        .into_iter()
        .filter(|post| post.get("event_action").is_some())
        .collect();
    assert_eq!(pages.len(), 2, "{pages:?}");
    harness.pass(hours(3)).await;
    assert_eq!(harness.subjects().len(), 3, "a count is sent once");
}

#[tokio::test]
async fn flapping_monitor_is_counted_and_sent_by_tick_after_hour() {
    let harness = Harness::with_policy("");
    for time in 0..20 {
        harness.handle(&event_as("alert-in-alert", &format!("in-{time}"))).await;
        harness.handle(&event_as("alert-ok", &format!("ok-{time}"))).await;
        harness.pass(SignedDuration::from_mins(2)).await;
    }
    let subjects = harness.subjects();
    assert_eq!(subjects.len(), 2, "one InAlert, one OK: {subjects:?}");
    harness.pass(hours(2)).await;
    let (subject, body) = harness.aws.messages().pop().unwrap();
    assert_eq!(harness.subjects().len(), 3);
    assert_eq!(
        subject,
        "[Driftwarden] churn-endpoint: 38 repeats of earlier notifications"
    );
    assert!(body.matches("19 repeats").count() == 2, "{body}");
    assert!(!harness.aws.documents().is_empty());
    let pending = harness.aws.document("notifications/pending.json").unwrap();
    assert!(
        String::from_utf8(pending).unwrap().contains("\"models\":{}"),
        "no model is pending"
    );
    harness.handle(&event_as("alert-in-alert", "in-later")).await;
    assert_eq!(harness.subjects().len(), 4, "after an hour it is sent again");
}

#[tokio::test]
async fn higher_severity_is_not_a_repeat() {
    let harness = Harness::with_policy("");
    harness.handle(&event("alert-in-alert")).await;
    let worse = with("alert-in-alert", |detail| {
        detail["id"] = "worse".into();
        detail["severity"] = "critical".into();
    });
    assert!(matches!(harness.handle(&worse).await, Handled::Sent { .. }));
}

#[tokio::test]
async fn incident_is_one_thread_from_alert_to_end() {
    let harness = Harness::with_policy(PAGES);
    let events = [
        "alert-in-alert",
        "remediation-decided",
        "retraining-failed",
        "remediation-decided-escalate",
        "incident-closed",
    ];
    for name in events {
        harness.handle(&event(name)).await;
    }
    let posts = harness.posts();
    let (pages, hooks): (Vec<_>, Vec<_>) = posts.iter().partition(|post| post.get("event_action").is_some());
    let threads: std::collections::BTreeSet<_> = hooks.iter().map(|hook| hook["thread"].to_string()).collect();
    assert_eq!((hooks.len(), threads.len()), (5, 1));
    let thread = hooks[0]["thread"].as_str().unwrap();
    let actions: Vec<String> = pages
        .iter()
        .map(|page| {
            format!(
                "{} {}",
                page["event_action"].as_str().unwrap(),
                page["dedup_key"].as_str().unwrap().replace(thread, "T")
            )
        })
        .collect();
    // An acknowledged alert does not page again: a second alert does.
    assert_eq!(
        actions,
        [
            "trigger T",
            "acknowledge T",
            "trigger T/2",
            "trigger T/2",
            "resolve T",
            "resolve T/2"
        ]
    );
    for page in pages {
        check("pagerduty-events-v2.json", page);
    }
}

#[tokio::test]
async fn next_incident_starts_new_thread() {
    let harness = Harness::with_policy(PAGES);
    harness.handle(&event("remediation-decided-escalate")).await;
    harness.handle(&event("incident-closed")).await;
    let next = with("remediation-decided-escalate", |detail| {
        detail["id"] = "decision-2".into();
        detail["incidentId"] = "churn-endpoint-2".into();
    });
    harness.handle(&next).await;
    let hooks: Vec<_> = harness
        .posts()
        .into_iter()
        .filter(|post| post.get("thread").is_some())
        .collect();
    assert_eq!(hooks[0]["thread"], "churn-endpoint-1");
    assert_eq!(hooks[2]["thread"], "churn-endpoint-2");
}

#[tokio::test]
async fn routes_match_model_severity_and_kind() {
    let policy = "[[notification]]\nto = 'sns-text'\nmodels = ['fraud']\n\
                  [[notification]]\nto = 'sns-json'\nkinds = ['decision']\nseverity = 'critical'\n";
    let harness = Harness::with_policy(policy);
    assert!(matches!(
        harness.handle(&event("alert-in-alert")).await,
        Handled::Ignored { .. }
    ));
    assert!(matches!(
        harness.handle(&event("remediation-decided-cooldown")).await,
        Handled::Ignored { .. }
    ));
    assert!(matches!(
        harness.handle(&event("remediation-decided-escalate")).await,
        Handled::Sent { destinations: 1, .. }
    ));
    // A recipient of the decision also receives the end, although its severity is lower.
    assert!(matches!(
        harness.handle(&event("incident-closed")).await,
        Handled::Sent { destinations: 1, .. }
    ));
    let json: Value = serde_json::from_str(&harness.aws.messages()[1].1).unwrap();
    assert_eq!(json["status"], "closed");
}

#[tokio::test]
async fn first_table_of_a_destination_wins() {
    let policy = "[[notification]]\nto = 'sns-text'\nseverity = 'warning'\n[[notification]]\nto = 'sns-text'\n";
    let harness = Harness::with_policy(policy);
    harness.handle(&event("alert-in-alert")).await;
    assert_eq!(harness.subjects().len(), 1);
}

#[tokio::test]
async fn quiet_hours_end_with_one_summary() {
    let policy = "[[notification]]\nto = 'sns-text'\nquiet = ['22:00-07:00']\nurgent = 'critical'\n\
                  [[notification]]\nto = 'pagerduty'\nsecret = 'secretsmanager:pd'\nquiet = ['22:00-07:00']\n";
    let harness = Harness::at("2026-11-23T23:00:00Z", policy);
    harness.handle(&event("alert-in-alert")).await;
    harness.handle(&event("alert-in-alert")).await;
    harness.handle(&event("health-unhealthy")).await;
    harness.handle(&event("health-healthy")).await;
    harness.pass(hours(1)).await;
    assert!(harness.subjects().is_empty() && harness.posts().is_empty());
    harness.handle(&event("remediation-decided-escalate")).await;
    assert_eq!(harness.subjects().len(), 1, "urgent notifications are sent at once");
    harness.pass(hours(8)).await;
    let (subject, body) = harness.aws.messages().pop().unwrap();
    assert_eq!(subject, "[Driftwarden] 3 notifications for 1 model during quiet hours");
    insta::assert_snapshot!("quiet-hours", format!("Subject: {subject}\n\n{body}"));
    assert_eq!(harness.subjects().len(), 2);
    // The latest notification of each thread: the monitor has recovered.
    let actions: Vec<_> = harness
        .posts()
        .iter()
        .map(|page| page["event_action"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(actions, ["resolve", "trigger"]);
    harness.pass(hours(4)).await;
    assert_eq!(harness.subjects().len(), 2);
    harness.handle(&event("retraining-failed")).await;
    assert_eq!(harness.subjects().len(), 3, "outside quiet hours it is sent at once");
}

#[tokio::test]
async fn single_held_notification_is_sent_in_full() {
    let harness = Harness::at(
        "2026-11-23T23:00:00Z",
        "[[notification]]\nto = 'sns-text'\nquiet = ['22:00-07:00']\n",
    );
    harness.handle(&event("alert-in-alert")).await;
    harness.pass(hours(9)).await;
    let (subject, body) = harness.aws.messages().pop().unwrap();
    assert!(
        subject.contains("churn-data-quality is in alert") && body.contains("Violations in the latest"),
        "{body}"
    );
}

#[tokio::test]
async fn digest_summarizes_the_day() {
    let harness = Harness::with_policy("[[notification]]\nto = 'sns-text'\ndigest = 'daily at 08:00'\n");
    let day = [
        "alert-in-alert",
        "remediation-decided",
        "retraining-succeeded",
        "experiment-promoted",
        "alert-ok",
        "incident-closed",
    ];
    for name in day {
        harness.handle(&event(name)).await;
        if name == "remediation-decided" {
            for time in 0..19 {
                harness
                    .handle(&event_as("alert-in-alert", &format!("again-{time}")))
                    .await;
            }
        }
    }
    harness.pass(hours(19)).await;
    assert!(harness.subjects().is_empty());
    harness.pass(hours(1)).await;
    let (subject, body) = harness.aws.messages().pop().unwrap();
    assert_eq!(harness.subjects().len(), 1);
    insta::assert_snapshot!("digest", format!("Subject: {subject}\n\n{body}"));
    assert!(body.contains("20 times"), "{body}");
    harness.pass(hours(24)).await;
    assert_eq!(harness.subjects().len(), 1, "a day without notifications has no digest");
}

#[tokio::test]
async fn retry_publishes_failed_message() {
    let harness = Harness::with_policy("");
    harness.aws.fail("sns:Publish", Fault::Before(Kind::Transient));
    harness
        .try_handle_as(&event("alert-in-alert"), "request")
        .await
        .unwrap_err();
    // Lambda retries a minute later.
    harness.aws.pass(SignedDuration::from_mins(1));
    harness
        .try_handle_as(&event("alert-in-alert"), "request")
        .await
        .unwrap();
    assert_eq!(harness.subjects().len(), 1);
}

#[tokio::test]
async fn tick_sends_message_of_interrupted_invocation() {
    let harness = Harness::with_policy("");
    harness.aws.fail("sns:Publish", Fault::Before(Kind::Transient));
    harness
        .try_handle_as(&event("alert-in-alert"), "died")
        .await
        .unwrap_err();
    let handled = harness.handle(&event("alert-in-alert")).await;
    assert!(matches!(handled, Handled::Duplicate { .. }));
    assert!(
        harness.subjects().is_empty(),
        "the first invocation may still be running"
    );
    harness.pass(SignedDuration::from_mins(15)).await;
    assert_eq!(harness.subjects().len(), 1);
}

#[tokio::test]
async fn failed_destination_does_not_repeat_others() {
    let harness = Harness::with_policy(PAGES);
    harness.aws.answer("https://hooks.example.com/x", 503);
    for _ in 0..2 {
        harness
            .try_handle_as(&event("alert-in-alert"), "request")
            .await
            .unwrap();
    }
    assert_eq!(harness.subjects().len(), 1);
    assert_eq!(harness.posts().len(), 2, "the page and the webhook, each once");
    harness.aws.answer("https://hooks.example.com/x", 200);
    harness.pass(SignedDuration::from_mins(15)).await;
    assert_eq!((harness.subjects().len(), harness.posts().len()), (1, 3));
    harness.pass(hours(1)).await;
    assert_eq!((harness.subjects().len(), harness.posts().len()), (1, 3));
}

#[tokio::test]
async fn refusal_is_recorded_and_not_retried() {
    let harness = Harness::with_policy(PAGES);
    harness.aws.answer("https://events.pagerduty.com/v2/enqueue", 400);
    let error = harness
        .try_handle_as(&event("alert-in-alert"), "request")
        .await
        .unwrap_err();
    assert_eq!(error.error_type(), "NotificationRefused");
    assert!(chain(&error).contains("status 400"), "{}", chain(&error));
    assert!(!chain(&error).contains("kkkk"), "the error contains no key");
    let sent = harness.posts().len();
    harness
        .try_handle_as(&event("alert-in-alert"), "request")
        .await
        .unwrap();
    harness.pass(hours(1)).await;
    assert_eq!(harness.posts().len(), sent);
    let document = harness
        .aws
        .document("notifications/models/churn-endpoint.json")
        .unwrap();
    let document = String::from_utf8(document).unwrap();
    assert!(
        document.contains("status 400") && !document.contains("kkkk"),
        "{document}"
    );
}

#[tokio::test]
async fn rotated_key_is_read_again() {
    let harness = Harness::with_policy(PAGES);
    harness.handle(&event("alert-in-alert")).await;
    harness.aws.pass(SignedDuration::from_mins(1));
    harness.aws.put_secret("/hook", "another key");
    harness.aws.answer("https://hooks.example.com/x", 401);
    harness
        .try_handle(&event("remediation-decided-escalate"))
        .await
        .unwrap_err();
    let signatures: Vec<_> = harness
        .aws
        .posts()
        .iter()
        .filter_map(|post| post.headers.first().cloned())
        .collect();
    assert_eq!(signatures.len(), 3, "the request is repeated with the new key");
    assert_ne!(signatures[1], signatures[2]);
}

#[tokio::test]
async fn faults_at_any_call_lose_no_notification() {
    let samples = ["alert-in-alert", "remediation-decided-cooldown", "incident-closed"];
    let policy = "[[notification]]\nto = 'sns-json'\n[[notification]]\nto = 'sns-text'\ndigest = 'daily at 08:00'\n\
                  [[notification]]\nto = 'webhook'\nurl = 'https://hooks.example.com/x'\nsecret = 'ssm:/hook'\n";
    let mut failed = 0;
    for seed in 0..60 {
        let harness = Harness::with_policy(policy);
        harness.aws.fail_randomly(seed, 60);
        let mut events: Vec<String> = samples.iter().map(|name| event(name)).collect();
        for time in 0..5 {
            events.insert(2, event_as("alert-in-alert", &format!("again-{time}")));
        }
        let mut dead_letters = Vec::new();
        for (at, event) in events.into_iter().enumerate() {
            let request = format!("request-{at}");
            let mut handled = false;
            for _ in 0..3 {
                handled = handled || harness.try_handle_as(&event, &request).await.is_ok();
            }
            if !handled {
                failed += 1;
                dead_letters.push(event);
            }
        }
        harness.aws.fail_randomly(0, 0);
        // Events that failed three times are redriven. After a day and a half of ticks, no delivery is pending.
        harness.aws.pass(SignedDuration::from_mins(5));
        for event in dead_letters {
            harness.handle(&event).await;
        }
        harness.pass(hours(36)).await;
        let documents = harness.aws.documents();
        for key in documents.iter().filter(|key| key.starts_with("notifications/")) {
            let document: Value = serde_json::from_slice(&harness.aws.document(key).unwrap()).unwrap();
            assert!(
                document["outbox"].as_array().unwrap().is_empty(),
                "seed {seed}: {key} has pending effects {document:#}"
            );
            let pending = document["pending"].as_array().map_or(0, Vec::len);
            assert_eq!(pending, 0, "seed {seed}: {key} has pending notifications {document:#}");
        }
        let ids: std::collections::BTreeSet<_> = harness
            .posts()
            .iter()
            .map(|post| post["id"].as_str().unwrap().to_owned())
            .collect();
        for id in [
            "alert-churn-data-quality-1",
            "decision-churn-endpoint-1-1-3f9a1c0b",
            "closed-churn-endpoint-1-3f9a1c0b",
        ] {
            assert!(ids.contains(id), "seed {seed}: the webhook did not receive {id}");
        }
        // If a response is lost, the message is sent once more with the same ID. No other message is repeated.
        let again = harness.posts().len() - ids.len();
        assert!(again <= 8, "seed {seed}: {again}");
        let digests: Vec<_> = harness
            .aws
            .messages()
            .into_iter()
            .filter(|(_, body)| body.contains("since the last digest"))
            .collect();
        let counted: u64 = digests
            .iter()
            .filter_map(|(_, body)| body.split_once(" repeat")?.0.rsplit(' ').next()?.parse::<u64>().ok())
            .sum();
        assert_eq!((digests.len(), counted), (1, 5), "seed {seed}: {digests:?}");
    }
    assert!(failed > 5, "faults occurred");
}

#[tokio::test]
async fn concurrent_deliveries_send_once() {
    let harness = Harness::with_policy(PAGES);
    harness.aws.interleave();
    let same = event("alert-in-alert");
    let requests: Vec<String> = (0..8).map(|request| format!("at-once-{request}")).collect();
    let all = requests.iter().map(|request| harness.try_handle_as(&same, request));
    for handled in futures_util::future::join_all(all).await {
        handled.unwrap();
    }
    assert_eq!((harness.subjects().len(), harness.posts().len()), (1, 2));
}

#[tokio::test]
async fn fields_of_newer_release_survive_rewrite() {
    const HOOK: &str = "https://hooks.example.com/x";
    let harness = Harness::with_policy(&format!(
        "{PAGES}[[notification]]\nto = 'webhook'\nurl = 'https://other.example.com/x'\nsecret = 'ssm:/hook'\n\
         digest = 'daily at 08:00'\n"
    ));
    harness.aws.answer(HOOK, 503);
    harness.handle(&event("alert-in-alert")).await;
    let keys = harness.aws.documents();
    let keys: Vec<&String> = keys.iter().filter(|key| key.starts_with("notifications/")).collect();
    for key in &keys {
        let mut stored: Value = serde_json::from_slice(&harness.aws.document(key).unwrap()).unwrap();
        mark(&mut stored);
        harness.aws.put_document(key, stored.to_string());
    }
    harness.handle(&event("remediation-decided")).await;
    for key in keys {
        let stored = harness.aws.document(key).unwrap();
        let stored: Value = serde_json::from_slice(&stored).unwrap();
        let marks = stored.to_string().matches("addedLater").count();
        let expected = match key.split('/').nth(1).unwrap() {
            // The document, and its thread and its sent notification, or its outage and its pending notification.
            "models" | "destinations" => 3,
            // The document and its held notification.
            "held" => 2,
            _ => 1,
        };
        assert_eq!(marks, expected, "{key}: {stored:#}");
    }
}

/// Adds a member to a document, and to the objects in it that are rewritten.
fn mark(document: &mut Value) {
    for list in ["known", "told", "pending", "entries"] {
        for item in document
            .get_mut(list)
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
        {
            item["addedLater"] = true.into();
        }
    }
    if let Some(outage) = document.get_mut("outage") {
        outage["addedLater"] = true.into();
    }
    document["addedLater"] = true.into();
}
