//! `driftwarden pause` and `driftwarden resume`.

use super::{Deployment, alert, hour};
use alerting::AlertStatus;
use remediation::{Facts, Input, ModelDocument, Pause, PipelineStart, Policy, Settings, Stage, StepContext};
use shell::memory::Fault;

#[test]
fn pause_and_resume_one_model() {
    let deployment = Deployment::new();
    insta::assert_snapshot!(deployment.run_all(&[
        &[
            "pause",
            "churn",
            "--until",
            "24h",
            "--reason",
            "labels are wrong",
            "--dry-run"
        ],
        &["pause", "churn", "--until", "24h", "--reason", "labels are wrong"],
        &[
            "pause",
            "churn",
            "--until",
            "2026-12-01T08:00:00Z",
            "--reason",
            "more",
            "--json"
        ],
        &["resume", "churn", "--by", "bob"],
        &["pause", "churn"],
        &["pause", "churn", "--until", "2026-01-01T00:00:00Z", "--reason", "late"],
    ]));
    let events = deployment.aws.events();
    // The model's document accepts the event.
    let mut document = ModelDocument::new("churn");
    let (policy, facts) = (Policy::default(), Facts::default());
    let settings = Settings {
        pipeline: "retraining".into(),
        pipeline_start: PipelineStart::Remediate,
    };
    let given = StepContext {
        policy: &policy,
        settings: &settings,
        facts: Some(&facts),
    };
    let (detail_type, detail) = &events[0];
    assert_eq!(detail_type, "Remediation Pause");
    let pause = Input::Pause(serde_json::from_str(detail).unwrap());
    document.step(pause, given, &super::caller(hour(100)));
    document.step(
        alert("churn", "churn-dq", 1, AlertStatus::InAlert, 100),
        given,
        &super::caller(hour(100)),
    );
    assert_eq!(document.stage(), Stage::Holding);
    deployment.put_model(&document);
    insta::assert_snapshot!(deployment.run_all(&[&["incidents"], &["incidents", "churn"]]));
    assert_eq!(events.len(), 3);
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
