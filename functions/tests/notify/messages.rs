//! Every notification in each of its forms, validated with the schema that its receiver has published.

use crate::notify::harness::{EVENTS, Harness, check, event, with};
use functions::notify::{Handled, Notification, webhook};
use machine::{ErrorType as _, chain};
use serde_json::Value;
use shell::ports::{Post, Secret};

/// A policy with every form.
const EVERYWHERE: &str = "\
    [[notification]]\nto = 'sns-text'\n\
    [[notification]]\nto = 'sns-json'\ntopic = 'arn:aws:sns:us-east-1:111122223333:json'\n\
    [[notification]]\nto = 'chat'\ntopic = 'arn:aws:sns:us-east-1:111122223333:chat'\n\
    [[notification]]\nto = 'pagerduty'\nsecret = 'secretsmanager:pd'\n\
    [[notification]]\nto = 'webhook'\nurl = 'https://hooks.example.com/x'\nsecret = 'ssm:/hook'\n";

fn names() -> Vec<String> {
    let files = std::fs::read_dir(EVENTS).unwrap();
    let stem = |path: std::path::PathBuf| path.file_stem().unwrap().to_string_lossy().into_owned();
    let mut names: Vec<String> = files.map(|entry| stem(entry.unwrap().path())).collect();
    names.sort();
    assert!(names.len() > 20);
    names
}

fn post_to<'a>(posts: &'a [Post], host: &str) -> Option<&'a Post> {
    posts.iter().find(|post| post.host() == host)
}

#[tokio::test]
async fn every_sample_event_becomes_a_message() {
    for name in names() {
        let harness = Harness::with_policy("");
        let handled = harness.handle(&event(&name)).await;
        assert!(matches!(handled, Handled::Sent { destinations: 1, .. }), "{handled:?}");
        let [(subject, body)] = &harness.aws.messages()[..] else {
            panic!("one message")
        };
        assert!(subject.is_ascii() && subject.len() < 100, "SNS rejects this subject");
        assert!(
            body.contains("\nMore\n") || name == "health-healthy",
            "{name} has no commands"
        );
        assert!(
            !subject.contains("needed to retrain") || body.contains("expires at"),
            "{name} has no deadline"
        );
        insta::assert_snapshot!(name.as_str(), format!("Subject: {subject}\n\n{body}"));
    }
}

#[tokio::test]
async fn every_form_matches_schema_of_receiver() {
    let mut actions = Vec::new();
    for name in names() {
        let harness = Harness::with_policy(EVERYWHERE);
        harness.handle(&event(&name)).await;
        let published = harness.aws.published();
        let message_to = |topic: &str| -> Value {
            let ends = |arn: &Option<String>| arn.as_ref().is_some_and(|arn| arn.ends_with(topic));
            let (_, _, message) = published.iter().find(|(arn, ..)| ends(arn)).unwrap();
            serde_json::from_str(message).unwrap()
        };
        assert_eq!(published.len(), 3, "{name}");
        check("events/schemas/notification.v1.json", &message_to("json"));
        check("amazon-q-custom-notification.json", &message_to("chat"));
        let posts = harness.aws.posts();
        let hook = post_to(&posts, "https://hooks.example.com").unwrap();
        let sent: Notification = serde_json::from_slice(&hook.body).unwrap();
        assert_eq!(
            serde_json::to_value(&sent).unwrap(),
            message_to("json"),
            "webhook and SNS get the same JSON"
        );
        let headers: std::collections::BTreeMap<_, _> = hook.headers.iter().cloned().collect();
        let expected = webhook::signature(&Secret::new("signing key"), harness.aws.time(), &hook.body);
        assert_eq!(headers[webhook::SIGNATURE], expected);
        assert_eq!(headers[webhook::ID], sent.id);
        if let Some(page) = post_to(&posts, "https://events.pagerduty.com") {
            let page: Value = serde_json::from_slice(&page.body).unwrap();
            check("pagerduty-events-v2.json", &page);
            assert_eq!(page["dedup_key"], message_to("chat")["metadata"]["threadId"]);
            actions.push(format!("{name}: {}", page["event_action"].as_str().unwrap()));
        } else {
            actions.push(format!("{name}: nothing"));
        }
    }
    insta::assert_snapshot!("pagerduty-actions", actions.join("\n"));
}

#[tokio::test]
async fn json_forms_match_snapshots() {
    for name in ["alert-in-alert", "remediation-decided-approval-missing"] {
        let harness = Harness::with_policy(EVERYWHERE);
        harness.handle(&event(name)).await;
        for (topic, _, message) in harness.aws.published() {
            if let Some(topic) = topic {
                let form = topic.rsplit(':').next().unwrap();
                let message: Value = serde_json::from_str(&message).unwrap();
                insta::assert_json_snapshot!(format!("{form}-{name}"), message);
            }
        }
        let posts = harness.aws.posts();
        let page = post_to(&posts, "https://events.pagerduty.com").unwrap();
        let page: Value = serde_json::from_slice(&page.body).unwrap();
        insta::assert_json_snapshot!(format!("pagerduty-{name}"), page);
    }
}

/// A decision on alerts of a hundred monitors, each with long texts.
fn burst() -> String {
    with("remediation-decided", |detail| {
        let alert = detail["alerts"][0].clone();
        let alerts = (0..100).map(|at| {
            let mut alert = alert.clone();
            alert["monitoringSchedule"] = format!("churn-monitor-with-a-rather-long-name-{at:03}").into();
            alert["severity"] = if at == 70 { "critical" } else { "warning" }.into();
            alert["violations"] = vec![alert["violations"][0].clone(); 10].into();
            alert["violations"][0]["description"] = "x".repeat(5_000).into();
            alert["reportUri"] = format!("s3://reports/{at}/constraint_violations.json").into();
            alert["datapoints"] = vec![alert["datapoints"][0].clone(); 100].into();
            alert
        });
        detail["alerts"] = alerts.collect();
        detail["sentence"] = "monitor `churn` is in alert (100 of 100 breaching). "
            .repeat(1_000)
            .into();
    })
}

#[tokio::test]
async fn decision_on_hundred_alerts_fits_every_receiver() {
    let harness = Harness::with_policy(EVERYWHERE);
    harness.handle(&burst()).await;
    let published = harness.aws.published();
    for (_, subject, body) in &published {
        assert!(subject.is_ascii() && subject.len() < 100, "{subject}");
        assert!(body.len() < 20_000, "{} bytes", body.len());
    }
    let (_, _, text) = published.iter().find(|(topic, ..)| topic.is_none()).unwrap();
    let (_, listed) = text.split_once("100 monitors in alert").unwrap();
    let listed: Vec<&str> = listed
        .lines()
        .skip(1)
        .take_while(|line| line.starts_with("  "))
        .collect();
    assert_eq!(listed.len(), 21, "{listed:#?}");
    assert!(
        listed[0].contains("name-070  critical"),
        "the most severe first: {}",
        listed[0]
    );
    assert_eq!(listed[20], "  80 more");
    let (_, _, chat) = published
        .iter()
        .find(|(topic, ..)| topic.as_ref().is_some_and(|topic| topic.ends_with("chat")))
        .unwrap();
    let chat: Value = serde_json::from_str(chat).unwrap();
    check("amazon-q-custom-notification.json", &chat);
    let description = chat["content"]["description"].as_str().unwrap();
    assert!(
        description.len() <= 3_000 && description.contains("*Severity:*"),
        "{description}"
    );
    assert_eq!(description.matches("```").count() % 2, 0, "code blocks are closed");
    // PagerDuty gets the same content when it is paged for it.
    let escalated = burst().replace("\"verdict\":\"Retrain\"", "\"verdict\":\"Escalate\"");
    let harness = Harness::with_policy(EVERYWHERE);
    harness.handle(&escalated).await;
    let posts = harness.aws.posts();
    let page = post_to(&posts, "https://events.pagerduty.com").unwrap();
    assert!(page.body.len() < 20_000);
    check("pagerduty-events-v2.json", &serde_json::from_slice(&page.body).unwrap());
}

#[tokio::test]
async fn digest_of_long_notifications_fits_into_sns_message() {
    let policy = "[[notification]]\nto = 'sns-json'\ndigest = 'daily at 08:00'\n";
    let harness = Harness::with_policy(policy);
    for at in 0..450 {
        let alert = with("alert-in-alert", |detail| {
            detail["id"] = format!("alert-{at}").into();
            detail["monitoringSchedule"] = format!("{}-{at}", "long".repeat(50)).into();
        });
        harness.handle(&alert).await;
    }
    harness.pass(jiff::SignedDuration::from_hours(20)).await;
    let (_, digest) = harness.aws.messages().pop().unwrap();
    assert!(digest.len() < 256_000, "{} bytes", digest.len());
    let digest: Value = serde_json::from_str(&digest).unwrap();
    let listed = digest["collected"].as_array().unwrap().len();
    assert_eq!(
        digest["facts"][0]["lines"][0],
        format!("{} notifications", 450 - listed)
    );
}

#[tokio::test]
async fn level_change_is_routed_by_new_severity() {
    let policy = "[[notification]]\nto = 'sns-text'\nseverity = 'critical'\nkinds = ['alert']\n";
    let harness = Harness::with_policy(policy);
    harness.handle(&event("alert-in-alert")).await;
    assert!(harness.subjects().is_empty(), "a warning");
    let change = |id: &str| {
        let changed = with("alert-in-alert", |detail| {
            detail["id"] = id.into();
            detail["severity"] = "critical".into();
            detail["checkTypes"] = vec!["completeness_check"].into();
        });
        changed.replace("Model Monitor Alert State Change", "Model Monitor Level Change")
    };
    harness.handle(&change("level-1")).await;
    let (subject, body) = harness.aws.messages().remove(0);
    assert!(
        subject.contains("alert of monitor churn-data-quality has changed"),
        "{subject}"
    );
    assert!(
        body.contains("is still in alert") && body.contains("completeness_check"),
        "{body}"
    );
    assert!(matches!(
        harness.handle(&change("level-2")).await,
        Handled::Repeat { .. }
    ));
}

#[tokio::test]
async fn replay_of_old_event_is_not_sent() {
    let harness = Harness::at("2027-01-03T12:00:00Z", "");
    let handled = harness.handle(&event("alert-in-alert")).await;
    assert!(matches!(handled, Handled::Ignored { .. }), "{handled:?}");
    assert!(harness.aws.calls().is_empty());
    // Documents are kept longer than that, so a younger event is known.
    let template = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../infra/template.yaml")).unwrap();
    let (_, rule) = template.split_once("Prefix: notifications/").unwrap();
    let (_, days) = rule.split_once("ExpirationInDays: ").unwrap();
    let days: i64 = days.lines().next().unwrap().parse().unwrap();
    assert!(days > 41, "{days} days");
}

#[tokio::test]
async fn escalation_before_a_retraining_names_its_cause() {
    let harness = Harness::with_policy("");
    let refused = with("remediation-decided-escalate", |detail| {
        let in_flight = serde_json::json!({"code": "InFlight", "executionArn": "arn:x"});
        detail["reasons"] = vec![in_flight].into();
    });
    harness.handle(&refused).await;
    let (_, body) = harness.aws.messages().remove(0);
    assert!(
        body.contains("another pipeline execution is in progress (arn:x)"),
        "{body}"
    );
    assert!(!body.contains("retraining did not resolve it"), "{body}");
}

#[tokio::test]
async fn common_cause_is_announced_once_with_its_release() {
    let cause = |last: &str| {
        let models = ["a", "b", "c", "d", "e", last];
        serde_json::json!({"code": "CommonCause", "since": "2026-11-23T15:00:00Z", "count": 6, "models": models})
    };
    let harness = Harness::with_policy("");
    let held = with("remediation-decided-cooldown", |detail| {
        detail["reasons"] = vec![cause("churn-endpoint")].into();
    });
    harness.handle(&held).await;
    let (_, body) = harness.aws.messages().remove(0);
    assert!(body.contains("driftwarden fleet release"), "{body}");
    let harness = Harness::with_policy("");
    let other = with("remediation-decided-cooldown", |detail| {
        detail["reasons"] = vec![cause("another")].into();
    });
    harness.handle(&other).await;
    assert!(harness.aws.messages().is_empty());
}

#[tokio::test]
async fn foreign_event_is_ignored_without_calls() {
    let harness = Harness::with_policy("");
    let foreign = event("alert-in-alert").replace("\"driftwarden\"", "\"example\"");
    assert!(matches!(harness.handle(&foreign).await, Handled::Ignored { .. }));
    assert!(harness.aws.calls().is_empty());
}

#[tokio::test]
async fn intermediate_experiment_stages_are_not_sent() {
    let harness = Harness::with_policy("");
    let between = ["Preparing", "Promoting", "Baking", "Retiring", "RollingBack", "Testing"];
    for stage in between {
        // A later step with the outcome of a look.
        let event = event("experiment-paused").replace("\"stage\": \"Paused\"", &format!("\"stage\": \"{stage}\""));
        assert!(
            matches!(harness.handle(&event).await, Handled::Ignored { .. }),
            "{stage}"
        );
    }
    assert!(harness.aws.calls().is_empty());
}

#[tokio::test]
async fn invalid_detail_is_an_error() {
    let broken = event("alert-in-alert").replace("\"alertStatus\": \"InAlert\"", "\"alertStatus\": \"Alarmed\"");
    let error = Harness::with_policy("").try_handle(&broken).await.unwrap_err();
    assert_eq!(error.error_type(), "EventUnreadable");
    assert!(chain(&error).contains("unknown variant `Alarmed`"), "{}", chain(&error));
}

#[tokio::test]
async fn user_template_replaces_text() {
    let harness = Harness::with_policy("");
    let template =
        "Subject: {{ model }} is {{ severity | upper }}\n{{ what }}\n{% for line in next %}- {{ line }}\n{% endfor %}";
    harness.aws.put_document("notification-templates/alert.txt", template);
    harness.handle(&event("alert-in-alert")).await;
    let (subject, body) = harness.aws.messages().remove(0);
    assert_eq!(subject, "[Driftwarden] churn-endpoint is WARNING");
    assert!(
        body.starts_with("The data quality monitor churn-data-quality") && body.contains("- Driftwarden decides"),
        "{body}"
    );
}

#[tokio::test]
async fn failed_template_falls_back_to_built_in_text() {
    for broken in ["{{ modl }}", "{% for", "", "{{ what"] {
        let harness = Harness::with_policy("");
        harness.aws.put_document("notification-templates/alert.txt", broken);
        harness.handle(&event("alert-in-alert")).await;
        let (_, body) = harness.aws.messages().remove(0);
        assert!(
            body.starts_with("(The template notification-templates/alert.txt failed: "),
            "{body}"
        );
        assert!(body.contains("Violations in the latest breaching execution"), "{body}");
    }
}

#[test]
fn schema_matches_notification_type() {
    let mut schema = schemars::generate::SchemaSettings::draft2020_12()
        .into_generator()
        .into_root_schema_for::<Notification>();
    schema.insert("title".into(), "Notification".into());
    let text = format!("{}\n", serde_json::to_string_pretty(&schema).unwrap());
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../events/schemas/notification.v1.json");
    if option_env!("UPDATE_SCHEMAS").is_some() {
        std::fs::write(path, &text).unwrap();
    }
    let found = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        found == text,
        "{path} differs from the type: run UPDATE_SCHEMAS=1 cargo test -p driftwarden-functions"
    );
}
