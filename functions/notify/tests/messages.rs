//! Every message as people read it, and that an event is told once.
#![expect(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use jiff::{SignedDuration, Timestamp};
use notify::{Handled, Notify};
use shell::{
    Kind,
    memory::{Fault, Memory},
};

const EVENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../events/notify");

fn event(name: &str) -> String {
    std::fs::read_to_string(format!("{EVENTS}/{name}.json")).unwrap()
}

fn world() -> Memory {
    Memory::at(Timestamp::from_second(1_795_404_000).unwrap())
}

async fn told(name: &str) -> String {
    let world = world();
    let handled = Notify.handle(&world, &event(name), "request").await.unwrap();
    assert!(matches!(handled, Handled::Told { .. }), "{handled:?}");
    let [(subject, body)] = &world.messages()[..] else {
        panic!("one message")
    };
    assert!(
        subject.is_ascii() && subject.len() < 100,
        "SNS would refuse this subject"
    );
    format!("Subject: {subject}\n\n{body}")
}

#[tokio::test]
async fn every_event_of_the_folder_becomes_a_message() {
    let mut names: Vec<String> = std::fs::read_dir(EVENTS)
        .unwrap()
        .map(|entry| {
            entry
                .unwrap()
                .path()
                .file_stem()
                .unwrap()
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    names.sort();
    assert!(!names.is_empty());
    for name in names {
        let message = told(&name).await;
        insta::assert_snapshot!(name, message);
    }
}

#[tokio::test]
async fn an_event_delivered_twenty_times_is_told_once() {
    let world = world();
    for request in 0..20 {
        Notify
            .handle(&world, &event("alert-in-alert"), &format!("request-{request}"))
            .await
            .unwrap();
    }
    assert_eq!(world.messages().len(), 1);
}

#[tokio::test]
async fn a_message_that_could_not_be_published_is_published_by_the_retry() {
    let world = world();
    world.fail("sns:Publish", Fault::Before(Kind::Transient));
    Notify
        .handle(&world, &event("alert-in-alert"), "request")
        .await
        .unwrap_err();
    Notify
        .handle(&world, &event("alert-in-alert"), "request")
        .await
        .unwrap();
    assert_eq!(world.messages().len(), 1);
}

#[tokio::test]
async fn whose_invocation_died_is_told_when_the_event_comes_again() {
    let world = world();
    world.fail("sns:Publish", Fault::Before(Kind::Transient));
    Notify
        .handle(&world, &event("alert-in-alert"), "died")
        .await
        .unwrap_err();
    let handled = Notify
        .handle(&world, &event("alert-in-alert"), "redriven")
        .await
        .unwrap();
    assert!(
        matches!(handled, Handled::Known { .. }),
        "the first may still be at work"
    );
    world.pass(SignedDuration::from_mins(5));
    Notify
        .handle(&world, &event("alert-in-alert"), "redriven")
        .await
        .unwrap();
    assert_eq!(world.messages().len(), 1);
}

#[tokio::test]
async fn what_is_not_ours_is_ignored_without_a_call() {
    let world = world();
    let foreign = event("alert-in-alert").replace("\"driftwarden\"", "\"somebody\"");
    let handled = Notify.handle(&world, &foreign, "request").await.unwrap();
    assert!(matches!(handled, Handled::Ignored { .. }));
    assert!(world.calls().is_empty());
}

#[tokio::test]
async fn the_steps_between_are_not_told() {
    let world = world();
    let between = ["Preparing", "Promoting", "Baking", "Retiring", "RollingBack", "Testing"];
    for stage in between {
        // A later step of the traffic: a look lies behind it.
        let event = event("experiment-paused").replace("\"stage\": \"Paused\"", &format!("\"stage\": \"{stage}\""));
        let handled = Notify.handle(&world, &event, "request").await.unwrap();
        assert!(matches!(handled, Handled::Ignored { .. }), "{stage}");
    }
    assert!(world.calls().is_empty());
}

#[tokio::test]
async fn a_detail_of_another_layout_is_an_error_that_says_so() {
    let broken = event("alert-in-alert").replace("\"alertStatus\": \"InAlert\"", "\"alertStatus\": \"Alarmed\"");
    let error = Notify.handle(&world(), &broken, "request").await.unwrap_err();
    let told = lambda_runtime::Diagnostic::from(error);
    assert_eq!(told.error_type, "EventUnreadable");
    assert!(
        told.error_message.contains("unknown variant `Alarmed`"),
        "{}",
        told.error_message
    );
}
