//! Who is told of what, and that nothing is told twice: routes, threads, repeats, quiet hours, digests, faults.

use crate::told::{Told, check, event, event_as, with};
use jiff::SignedDuration;
use notify::Handled;
use shell::{ErrorType as _, Kind, chain, memory::Fault};

const PAGES: &str = "[[notification]]\nto = 'sns-text'\n\
                     [[notification]]\nto = 'pagerduty'\nsecret = 'secretsmanager:pd'\n\
                     [[notification]]\nto = 'webhook'\nurl = 'https://hooks.example.com/x'\nsecret = 'ssm:/hook'\n";

fn hours(hours: i64) -> SignedDuration {
    SignedDuration::from_hours(hours)
}

#[tokio::test]
async fn an_event_delivered_twenty_times_is_told_once() {
    let told = Told::by("");
    for _ in 0..20 {
        told.hear(&event("alert-in-alert")).await;
    }
    assert_eq!(told.subjects().len(), 1);
    assert!(matches!(
        told.hear(&event("alert-in-alert")).await,
        Handled::Known { .. }
    ));
}

#[tokio::test]
async fn the_same_alert_twenty_times_is_one_message_and_a_count() {
    let told = Told::by(PAGES);
    told.hear(&event("alert-in-alert")).await;
    told.hear(&event("remediation-decided-cooldown")).await;
    assert_eq!(told.subjects().len(), 2);
    for time in 2..=20 {
        told.world.pass(SignedDuration::from_mins(20));
        let handled = told.hear(&event_as("alert-in-alert", &format!("alert-{time}"))).await;
        assert!(matches!(handled, Handled::Counted { .. }), "{handled:?}");
    }
    told.pass(hours(2)).await;
    assert_eq!(
        told.subjects().len(),
        2,
        "while the incident is open, the count waits for something to say"
    );
    told.hear(&event("incident-closed")).await;
    let (_, last) = told.world.messages().pop().unwrap();
    assert!(
        last.contains("19 times more, last at 2026-11-23 18:20:00 UTC: churn-endpoint: churn-data-quality InAlert"),
        "{last}"
    );
    assert_eq!(told.subjects().len(), 3);
    let hook = told
        .posts()
        .into_iter()
        .rfind(|post| post.get("version").is_some())
        .unwrap();
    assert_eq!(hook["repeats"][0]["count"], 19, "each destination is told the count");
    // Nobody was paged again.
    let pages: Vec<_> = told
        .posts()
        .into_iter()
        .filter(|post| post.get("event_action").is_some())
        .collect();
    assert_eq!(pages.len(), 2, "{pages:?}");
    told.pass(hours(3)).await;
    assert_eq!(told.subjects().len(), 3, "what has been counted is not told again");
}

#[tokio::test]
async fn a_monitor_that_flaps_without_an_incident_is_counted_for_an_hour_and_told_by_the_tick() {
    let told = Told::by("");
    for time in 0..20 {
        told.hear(&event_as("alert-in-alert", &format!("in-{time}"))).await;
        told.hear(&event_as("alert-ok", &format!("ok-{time}"))).await;
        told.pass(SignedDuration::from_mins(2)).await;
    }
    let subjects = told.subjects();
    assert_eq!(subjects.len(), 2, "one InAlert, one OK: {subjects:?}");
    told.pass(hours(2)).await;
    let (subject, body) = told.world.messages().pop().unwrap();
    assert_eq!(told.subjects().len(), 3);
    assert_eq!(subject, "[Driftwarden] churn-endpoint: came 38 times more");
    assert!(body.matches("19 times more").count() == 2, "{body}");
    assert!(!told.world.documents().is_empty());
    let pending = told.world.document("notifications/pending.json").unwrap();
    assert!(
        String::from_utf8(pending).unwrap().contains("\"models\":{}"),
        "nothing is left to look at"
    );
    told.hear(&event_as("alert-in-alert", "in-later")).await;
    assert_eq!(told.subjects().len(), 4, "after the hour it is told again");
}

#[tokio::test]
async fn what_gets_worse_is_no_repeat() {
    let told = Told::by("");
    told.hear(&event("alert-in-alert")).await;
    let worse = with("alert-in-alert", |detail| {
        detail["id"] = "worse".into();
        detail["severity"] = "critical".into();
    });
    assert!(matches!(told.hear(&worse).await, Handled::Told { .. }));
}

#[tokio::test]
async fn one_incident_is_one_thread_from_alert_to_end() {
    let told = Told::by(PAGES);
    let story = [
        "alert-in-alert",
        "remediation-decided",
        "retraining-failed",
        "remediation-decided-escalate",
        "incident-closed",
    ];
    for name in story {
        told.hear(&event(name)).await;
    }
    let posts = told.posts();
    let (pages, hooks): (Vec<_>, Vec<_>) = posts.iter().partition(|post| post.get("event_action").is_some());
    let threads: std::collections::BTreeSet<_> = hooks.iter().map(|hook| hook["thread"].to_string()).collect();
    assert_eq!((hooks.len(), threads.len()), (5, 1));
    let thread = hooks[0]["thread"].as_str().unwrap();
    let said: Vec<String> = pages
        .iter()
        .map(|page| {
            format!(
                "{} {}",
                page["event_action"].as_str().unwrap(),
                page["dedup_key"].as_str().unwrap().replace(thread, "T")
            )
        })
        .collect();
    // The acknowledged alert pages nobody any more: who is needed after it is paged by a second one.
    assert_eq!(
        said,
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
async fn the_next_incident_is_a_thread_of_its_own() {
    let told = Told::by(PAGES);
    told.hear(&event("remediation-decided-escalate")).await;
    told.hear(&event("incident-closed")).await;
    let next = with("remediation-decided-escalate", |detail| {
        detail["id"] = "decision-2".into();
        detail["incidentId"] = "churn-endpoint-2".into();
    });
    told.hear(&next).await;
    let hooks: Vec<_> = told
        .posts()
        .into_iter()
        .filter(|post| post.get("thread").is_some())
        .collect();
    assert_eq!(hooks[0]["thread"], "churn-endpoint-1");
    assert_eq!(hooks[2]["thread"], "churn-endpoint-2");
}

#[tokio::test]
async fn a_notification_goes_by_model_severity_and_kind() {
    let policy = "[[notification]]\nto = 'sns-text'\nmodels = ['fraud']\n\
                  [[notification]]\nto = 'sns-json'\nkinds = ['decision']\nseverity = 'critical'\n";
    let told = Told::by(policy);
    assert!(matches!(
        told.hear(&event("alert-in-alert")).await,
        Handled::Ignored { .. }
    ));
    assert!(matches!(
        told.hear(&event("remediation-decided-cooldown")).await,
        Handled::Ignored { .. }
    ));
    assert!(matches!(
        told.hear(&event("remediation-decided-escalate")).await,
        Handled::Told { destinations: 1, .. }
    ));
    // Who was told of it is told of its end, although that is less grave.
    assert!(matches!(
        told.hear(&event("incident-closed")).await,
        Handled::Told { destinations: 1, .. }
    ));
    let json: serde_json::Value = serde_json::from_str(&told.world.messages()[1].1).unwrap();
    assert_eq!(json["status"], "closed");
}

#[tokio::test]
async fn of_two_tables_with_one_destination_the_first_decides() {
    let policy = "[[notification]]\nto = 'sns-text'\nseverity = 'warning'\n[[notification]]\nto = 'sns-text'\n";
    let told = Told::by(policy);
    told.hear(&event("alert-in-alert")).await;
    assert_eq!(told.subjects().len(), 1);
}

#[tokio::test]
async fn quiet_hours_hold_and_tell_as_one_when_they_end() {
    let policy = "[[notification]]\nto = 'sns-text'\nquiet = ['22:00-07:00']\nurgent = 'critical'\n\
                  [[notification]]\nto = 'pagerduty'\nsecret = 'secretsmanager:pd'\nquiet = ['22:00-07:00']\n";
    let told = Told::at("2026-11-23T23:00:00Z", policy);
    told.hear(&event("alert-in-alert")).await;
    told.hear(&event("alert-in-alert")).await;
    told.hear(&event("health-unhealthy")).await;
    told.hear(&event("health-healthy")).await;
    told.pass(hours(1)).await;
    assert!(told.subjects().is_empty() && told.posts().is_empty());
    told.hear(&event("remediation-decided-escalate")).await;
    assert_eq!(told.subjects().len(), 1, "what is urgent is told at once");
    told.pass(hours(8)).await;
    let (subject, body) = told.world.messages().pop().unwrap();
    assert_eq!(subject, "[Driftwarden] 3 notifications of 1 model in quiet hours");
    insta::assert_snapshot!("quiet-hours", format!("Subject: {subject}\n\n{body}"));
    assert_eq!(told.subjects().len(), 2);
    // The last word of each thread: the health is well again by now.
    let said: Vec<_> = told
        .posts()
        .iter()
        .map(|page| page["event_action"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(said, ["resolve", "trigger"]);
    told.pass(hours(4)).await;
    assert_eq!(told.subjects().len(), 2);
    told.hear(&event("retraining-failed")).await;
    assert_eq!(told.subjects().len(), 3, "by day it is told at once");
}

#[tokio::test]
async fn one_that_was_held_alone_is_told_as_it_is() {
    let told = Told::at(
        "2026-11-23T23:00:00Z",
        "[[notification]]\nto = 'sns-text'\nquiet = ['22:00-07:00']\n",
    );
    told.hear(&event("alert-in-alert")).await;
    told.pass(hours(9)).await;
    let (subject, body) = told.world.messages().pop().unwrap();
    assert!(
        subject.contains("churn-data-quality InAlert") && body.contains("Violations of the latest"),
        "{body}"
    );
}

#[tokio::test]
async fn a_digest_sums_up_the_day() {
    let told = Told::by("[[notification]]\nto = 'sns-text'\ndigest = 'daily at 08:00'\n");
    let day = [
        "alert-in-alert",
        "remediation-decided",
        "retraining-succeeded",
        "experiment-promoted",
        "alert-ok",
        "incident-closed",
    ];
    for name in day {
        told.hear(&event(name)).await;
        if name == "remediation-decided" {
            for time in 0..19 {
                told.hear(&event_as("alert-in-alert", &format!("again-{time}"))).await;
            }
        }
    }
    told.pass(hours(19)).await;
    assert!(told.subjects().is_empty());
    told.pass(hours(1)).await;
    let (subject, body) = told.world.messages().pop().unwrap();
    assert_eq!(told.subjects().len(), 1);
    insta::assert_snapshot!("digest", format!("Subject: {subject}\n\n{body}"));
    assert!(body.contains("20 times"), "{body}");
    told.pass(hours(24)).await;
    assert_eq!(told.subjects().len(), 1, "a day on which nothing was is not told");
}

#[tokio::test]
async fn a_message_that_could_not_be_published_is_published_by_the_retry() {
    let told = Told::by("");
    told.world.fail("sns:Publish", Fault::Before(Kind::Transient));
    told.try_as(&event("alert-in-alert"), "request").await.unwrap_err();
    told.try_as(&event("alert-in-alert"), "request").await.unwrap();
    assert_eq!(told.subjects().len(), 1);
}

#[tokio::test]
async fn whose_invocation_died_is_told_by_the_next_tick() {
    let told = Told::by("");
    told.world.fail("sns:Publish", Fault::Before(Kind::Transient));
    told.try_as(&event("alert-in-alert"), "died").await.unwrap_err();
    let handled = told.hear(&event("alert-in-alert")).await;
    assert!(matches!(handled, Handled::Known { .. }));
    assert!(told.subjects().is_empty(), "the first may still be at work");
    told.pass(SignedDuration::from_mins(15)).await;
    assert_eq!(told.subjects().len(), 1);
}

#[tokio::test]
async fn a_destination_that_fails_lets_no_other_be_told_twice() {
    let told = Told::by(PAGES);
    told.world.answer("https://hooks.example.com/x", 503);
    told.try_as(&event("alert-in-alert"), "request").await.unwrap_err();
    told.try_as(&event("alert-in-alert"), "request").await.unwrap_err();
    assert_eq!(told.subjects().len(), 1);
    assert_eq!(told.posts().len(), 3, "the page once, the webhook twice");
    told.world.answer("https://hooks.example.com/x", 200);
    told.pass(SignedDuration::from_mins(15)).await;
    assert_eq!((told.subjects().len(), told.posts().len()), (1, 4));
    told.pass(hours(1)).await;
    assert_eq!((told.subjects().len(), told.posts().len()), (1, 4));
}

#[tokio::test]
async fn what_is_not_taken_is_said_and_kept_and_not_sent_again() {
    let told = Told::by(PAGES);
    told.world.answer("https://events.pagerduty.com/v2/enqueue", 400);
    let error = told.try_as(&event("alert-in-alert"), "request").await.unwrap_err();
    assert_eq!(error.error_type(), "NotificationRefused");
    assert!(chain(&error).contains("status 400"), "{}", chain(&error));
    assert!(!chain(&error).contains("kkkk"), "a key is not told");
    let sent = told.posts().len();
    told.try_as(&event("alert-in-alert"), "request").await.unwrap();
    told.pass(hours(1)).await;
    assert_eq!(told.posts().len(), sent);
    let document = told.world.document("notifications/models/churn-endpoint.json").unwrap();
    let document = String::from_utf8(document).unwrap();
    assert!(
        document.contains("status 400") && !document.contains("kkkk"),
        "{document}"
    );
}

#[tokio::test]
async fn a_destination_that_is_gone_for_good_is_given_up() {
    let told = Told::by(PAGES);
    told.world.answer("https://hooks.example.com/x", 503);
    told.try_hear(&event("alert-in-alert")).await.unwrap_err();
    told.world.pass(hours(73));
    let error = told.tick().await.unwrap_err();
    assert!(chain(&error).contains("given up after 72 h"), "{}", chain(&error));
    let sent = told.posts().len();
    told.pass(hours(1)).await;
    assert_eq!(told.posts().len(), sent);
}

#[tokio::test]
async fn a_key_that_was_changed_is_read_again() {
    let told = Told::by(PAGES);
    told.hear(&event("alert-in-alert")).await;
    told.world.pass(SignedDuration::from_mins(1));
    told.world.put_secret("/hook", "another key");
    told.world.answer("https://hooks.example.com/x", 401);
    told.try_hear(&event("remediation-decided-escalate")).await.unwrap_err();
    let signatures: Vec<_> = told
        .world
        .posts()
        .iter()
        .filter_map(|post| post.headers.first().cloned())
        .collect();
    assert_eq!(signatures.len(), 3, "once more with the key as it is now");
    assert_ne!(signatures[1], signatures[2]);
}

#[tokio::test]
async fn a_fault_at_any_call_loses_nothing() {
    let story = ["alert-in-alert", "remediation-decided-cooldown", "incident-closed"];
    let policy = "[[notification]]\nto = 'sns-json'\n[[notification]]\nto = 'sns-text'\ndigest = 'daily at 08:00'\n\
                  [[notification]]\nto = 'webhook'\nurl = 'https://hooks.example.com/x'\nsecret = 'ssm:/hook'\n";
    let mut struck = 0;
    for seed in 0..60 {
        let told = Told::by(policy);
        told.world.trouble(seed, 60);
        let mut events: Vec<String> = story.iter().map(|name| event(name)).collect();
        for time in 0..5 {
            events.insert(2, event_as("alert-in-alert", &format!("again-{time}")));
        }
        let mut dead_letters = Vec::new();
        for (at, event) in events.into_iter().enumerate() {
            let request = format!("story-{at}");
            let mut handled = false;
            for _ in 0..3 {
                handled = handled || told.try_as(&event, &request).await.is_ok();
            }
            if !handled {
                struck += 1;
                dead_letters.push(event);
            }
        }
        told.world.trouble(0, 0);
        // What failed three times is redriven; a day and a half of ticks, and whatever was owed is told.
        told.world.pass(SignedDuration::from_mins(5));
        for event in dead_letters {
            told.hear(&event).await;
        }
        told.pass(hours(36)).await;
        let documents = told.world.documents();
        for key in documents.iter().filter(|key| key.starts_with("notifications/")) {
            let document: serde_json::Value = serde_json::from_slice(&told.world.document(key).unwrap()).unwrap();
            assert!(
                document["outbox"].as_array().unwrap().is_empty(),
                "seed {seed}: {key} owes {document:#}"
            );
        }
        let ids: std::collections::BTreeSet<_> = told
            .posts()
            .iter()
            .map(|post| post["id"].as_str().unwrap().to_owned())
            .collect();
        for id in [
            "alert-churn-data-quality-1",
            "decision-churn-endpoint-1-1-3f9a1c0b",
            "closed-churn-endpoint-1-3f9a1c0b",
        ] {
            assert!(ids.contains(id), "seed {seed}: the webhook was not told of {id}");
        }
        // The answer to a message may be lost: then it is sent once more, under the same id. Nothing else is.
        let again = told.posts().len() - ids.len();
        assert!(again <= 8, "seed {seed}: {again}");
        let digests: Vec<_> = told
            .world
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
    assert!(struck > 5, "the faults struck");
}

#[tokio::test]
async fn deliveries_at_the_same_time_tell_once() {
    let told = Told::by(PAGES);
    told.world.interleave();
    let same = event("alert-in-alert");
    let requests: Vec<String> = (0..8).map(|request| format!("at-once-{request}")).collect();
    let all = requests.iter().map(|request| told.try_as(&same, request));
    for handled in futures_util::future::join_all(all).await {
        handled.unwrap();
    }
    assert_eq!((told.subjects().len(), told.posts().len()), (1, 2));
}
