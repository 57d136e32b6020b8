//! Every notification in each of its forms, as it is sent, checked against the schema that its receiver has published.

use crate::told::{EVENTS, Told, check, event};
use notify::{Handled, Notification, webhook};
use serde_json::Value;
use shell::{
    ErrorType as _, chain,
    ports::{Post, Secret},
};

/// All ways at once.
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
async fn every_event_of_the_folder_becomes_a_message() {
    for name in names() {
        let told = Told::by("");
        let handled = told.hear(&event(&name)).await;
        assert!(matches!(handled, Handled::Told { destinations: 1, .. }), "{handled:?}");
        let [(subject, body)] = &told.world.messages()[..] else {
            panic!("one message")
        };
        assert!(
            subject.is_ascii() && subject.len() < 100,
            "SNS would refuse this subject"
        );
        // What, and what people can do: each message answers.
        for answer in ["What happens next:", "What you can do:"] {
            assert!(
                body.contains(answer) || name == "health-healthy",
                "{name} lacks {answer}"
            );
        }
        insta::assert_snapshot!(name.as_str(), format!("Subject: {subject}\n\n{body}"));
    }
}

#[tokio::test]
async fn every_form_of_every_event_is_what_its_receiver_has_published() {
    let mut actions = Vec::new();
    for name in names() {
        let told = Told::by(EVERYWHERE);
        told.hear(&event(&name)).await;
        let published = told.world.published();
        let of = |topic: &str| -> Value {
            let ends = |arn: &Option<String>| arn.as_ref().is_some_and(|arn| arn.ends_with(topic));
            let (_, _, message) = published.iter().find(|(arn, ..)| ends(arn)).unwrap();
            serde_json::from_str(message).unwrap()
        };
        assert_eq!(published.len(), 3, "{name}");
        check("events/schemas/notification.v1.json", &of("json"));
        check("amazon-q-custom-notification.json", &of("chat"));
        let posts = told.world.posts();
        let hook = post_to(&posts, "https://hooks.example.com").unwrap();
        let sent: Notification = serde_json::from_slice(&hook.body).unwrap();
        assert_eq!(
            serde_json::to_value(&sent).unwrap(),
            of("json"),
            "a webhook gets the same"
        );
        let headers: std::collections::BTreeMap<_, _> = hook.headers.iter().cloned().collect();
        let expected = webhook::signature(&Secret::new("signing key"), told.world.time(), &hook.body);
        assert_eq!(headers[webhook::SIGNATURE], expected);
        assert_eq!(headers[webhook::ID], sent.id);
        if let Some(page) = post_to(&posts, "https://events.pagerduty.com") {
            let page: Value = serde_json::from_slice(&page.body).unwrap();
            check("pagerduty-events-v2.json", &page);
            assert_eq!(page["dedup_key"], of("chat")["metadata"]["threadId"]);
            actions.push(format!("{name}: {}", page["event_action"].as_str().unwrap()));
        } else {
            actions.push(format!("{name}: nothing"));
        }
    }
    insta::assert_snapshot!("pagerduty-actions", actions.join("\n"));
}

#[tokio::test]
async fn each_kind_as_it_is_sent() {
    for name in ["alert-in-alert", "remediation-decided-approval-missing"] {
        let told = Told::by(EVERYWHERE);
        told.hear(&event(name)).await;
        for (topic, _, message) in told.world.published() {
            if let Some(topic) = topic {
                let form = topic.rsplit(':').next().unwrap();
                let message: Value = serde_json::from_str(&message).unwrap();
                insta::assert_json_snapshot!(format!("{form}-{name}"), message);
            }
        }
        let posts = told.world.posts();
        let page = post_to(&posts, "https://events.pagerduty.com").unwrap();
        let page: Value = serde_json::from_slice(&page.body).unwrap();
        insta::assert_json_snapshot!(format!("pagerduty-{name}"), page);
    }
}

#[tokio::test]
async fn what_is_not_ours_is_ignored_without_a_call() {
    let told = Told::by("");
    let foreign = event("alert-in-alert").replace("\"driftwarden\"", "\"somebody\"");
    assert!(matches!(told.hear(&foreign).await, Handled::Ignored { .. }));
    assert!(told.world.calls().is_empty());
}

#[tokio::test]
async fn the_steps_between_are_not_told() {
    let told = Told::by("");
    let between = ["Preparing", "Promoting", "Baking", "Retiring", "RollingBack", "Testing"];
    for stage in between {
        // A later step of the traffic: a look lies behind it.
        let event = event("experiment-paused").replace("\"stage\": \"Paused\"", &format!("\"stage\": \"{stage}\""));
        assert!(matches!(told.hear(&event).await, Handled::Ignored { .. }), "{stage}");
    }
    assert!(told.world.calls().is_empty());
}

#[tokio::test]
async fn a_detail_of_another_layout_is_an_error_that_says_so() {
    let broken = event("alert-in-alert").replace("\"alertStatus\": \"InAlert\"", "\"alertStatus\": \"Alarmed\"");
    let error = Told::by("").try_hear(&broken).await.unwrap_err();
    assert_eq!(error.error_type(), "EventUnreadable");
    assert!(chain(&error).contains("unknown variant `Alarmed`"), "{}", chain(&error));
}

#[tokio::test]
async fn a_template_of_the_user_s_takes_the_place_of_the_text() {
    let told = Told::by("");
    let template =
        "Subject: {{ model }} is {{ severity | upper }}\n{{ what }}\n{% for line in next %}- {{ line }}\n{% endfor %}";
    told.world.put_document("notification-templates/alert.txt", template);
    told.hear(&event("alert-in-alert")).await;
    let (subject, body) = told.world.messages().remove(0);
    assert_eq!(subject, "[Driftwarden] churn-endpoint is WARNING");
    assert!(
        body.starts_with("Model churn-endpoint: the DataQuality monitor") && body.contains("- Driftwarden decides"),
        "{body}"
    );
}

#[tokio::test]
async fn a_template_that_cannot_be_used_loses_nothing() {
    for broken in ["{{ modl }}", "{% for", "", "{{ what"] {
        let told = Told::by("");
        told.world.put_document("notification-templates/alert.txt", broken);
        told.hear(&event("alert-in-alert")).await;
        let (_, body) = told.world.messages().remove(0);
        assert!(
            body.starts_with("(The template notification-templates/alert.txt cannot be used: "),
            "{body}"
        );
        assert!(body.contains("Violations of the latest of them"), "{body}");
    }
}

#[test]
fn the_schema_of_notifications_is_that_of_the_type() {
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
        "{path} is not what the type says: run UPDATE_SCHEMAS=1 cargo test -p driftwarden-notify"
    );
}
