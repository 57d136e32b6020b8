//! `driftwarden pause` and `driftwarden resume`.

use super::{Deployment, hour};
use jiff::SignedDuration;
use remediation::Pause;
use shell::memory::Fault;

#[test]
fn pause_and_resume_one_model() {
    let deployment = super::asking();
    let mut output = String::new();
    for line in [
        &[
            "pause",
            "churn",
            "--until",
            "24h",
            "--reason",
            "labels are wrong",
            "--dry-run",
        ][..],
        &["pause", "churn", "--until", "24h", "--reason", "labels are wrong"],
        &["incidents"],
        &[
            "pause",
            "churn",
            "--until",
            "2026-12-01T08:00:00Z",
            "--reason",
            "more",
            "--json",
        ],
        &["resume", "churn", "--by", "bob"],
        &["pause", "churn"],
        &["pause", "churn", "--until", "2026-01-01T00:00:00Z", "--reason", "late"],
    ] {
        output += &deployment.run(line);
        output.push('\n');
        deployment.aws.pass(SignedDuration::from_secs(1));
    }
    insta::assert_snapshot!(output);
    let pause = deployment.stored_model("churn").pause.unwrap();
    assert_eq!((pause.paused, pause.by.as_str()), (false, super::CALLER));
    assert_eq!(deployment.aws.url_requests().len(), 3);
}

#[test]
fn pause_follows_resume_from_fast_clock() {
    let deployment = super::asking();
    // Sent by an earlier release, from a laptop whose clock is an hour fast.
    let mut document = deployment.stored_model("churn");
    document.pause = Some(Pause {
        paused: false,
        by: "bob".into(),
        time: hour(101),
        until: None,
        reason: None,
    });
    deployment.put_model(&document);
    let output = deployment.run(&["pause", "churn", "--reason", "labels are wrong"]);
    assert!(output.contains("exit 0"), "{output}");
    assert!(deployment.stored_model("churn").pause.unwrap().is_active(hour(100)));
}

#[test]
fn pause_and_resume_all_models() {
    let deployment = Deployment::new().without(&["EVENT_BUS_NAME"]);
    let mut output = deployment.run_all(&[
        &["pause", "--reason", "the feature store is down", "--dry-run"],
        &["pause", "--reason", "the feature store is down"],
        &["incidents"],
    ]);
    let paused: Pause = serde_json::from_slice(&deployment.aws.document("pause.json").unwrap()).unwrap();
    assert!(paused.is_active(hour(100)) && paused.by == "alice");
    output.push('\n');
    output += &deployment.run_all(&[&["resume", "--json"], &["incidents"]]);
    let resumed: Pause = serde_json::from_slice(&deployment.aws.document("pause.json").unwrap()).unwrap();
    assert!(!resumed.is_active(hour(100)));
    // Another process wrote the pause first.
    deployment.aws.fail("s3:PutObject", Fault::Overtaken);
    output.push('\n');
    output += &deployment.run(&["pause", "--reason", "again"]);
    insta::assert_snapshot!(output);
    assert_eq!(deployment.aws.events(), [], "no event is sent");
}

#[test]
fn pause_of_all_models_has_time_of_its_write() {
    let deployment = Deployment::new();
    // Written by a laptop whose clock is a day slow.
    let pause = r#"{"paused":true,"by":"ada","time":"2026-09-24T18:00:00Z","reason":"the feature store is down"}"#;
    deployment.aws.put_document("pause.json", pause);
    let output = deployment.run(&["incidents"]);
    assert!(output.contains("paused by ada at 2026-09-25 18:00 UTC"), "{output}");
}
