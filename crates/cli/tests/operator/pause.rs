//! `driftwarden pause` and `driftwarden resume`.

use super::{Deployment, alert, hour};
use alerting::AlertStatus;
use remediation::{Facts, Given, Input, ModelDocument, Pause, PipelineStart, Policy, Settings, Stage};
use shell::memory::Fault;

#[test]
fn a_model_is_paused_and_resumed() {
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
    let events = deployment.world.events();
    // What is said is what a model's document takes.
    let mut document = ModelDocument::new("churn");
    let (policy, facts) = (Policy::default(), Facts::default());
    let settings = Settings {
        pipeline: "retraining".into(),
        pipeline_start: PipelineStart::Remediate,
    };
    let given = Given {
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
fn all_models_are_paused_and_resumed() {
    let deployment = Deployment::new().without(&["EVENT_BUS_NAME"]);
    let mut said = deployment.run_all(&[
        &["pause", "--reason", "the feature store is down", "--dry-run"],
        &["pause", "--reason", "the feature store is down"],
        &["incidents"],
    ]);
    let paused: Pause = serde_json::from_slice(&deployment.world.document("pause.json").unwrap()).unwrap();
    assert!(paused.holds(hour(100)) && paused.by == "alice");
    said.push('\n');
    said += &deployment.run_all(&[&["resume", "--json"], &["incidents"]]);
    let resumed: Pause = serde_json::from_slice(&deployment.world.document("pause.json").unwrap()).unwrap();
    assert!(!resumed.holds(hour(100)));
    // Somebody else was faster.
    deployment.world.fail("s3:PutObject", Fault::Overtaken);
    said.push('\n');
    said += &deployment.run(&["pause", "--reason", "again"]);
    insta::assert_snapshot!(said);
    assert_eq!(deployment.world.events(), [], "no function has to work for that");
}
