//! Every notification in each of its forms, validated with the schema that its receiver has published.

use crate::harness::{EVENTS, Harness, check, event};
use notify::{Handled, Notification, webhook};
use serde_json::Value;
use shell::{
    ErrorType as _, chain,
    ports::{Post, Secret},
};

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
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../events/schemas/notification.v1.json");
    if option_env!("UPDATE_SCHEMAS").is_some() {
        std::fs::write(path, &text).unwrap();
    }
    let found = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        found == text,
        "{path} differs from the type: run UPDATE_SCHEMAS=1 cargo test -p driftwarden-notify"
    );
}
