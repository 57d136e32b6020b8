//! `driftwarden datapoint drop`.

use super::{CALLER, Deployment, hour, ledger};
use alerting::{Datapoint, Evidence, ExecutionEvidence, ExecutionStatus, MonitorDatapointDrop};

#[test]
fn datapoint_drop_checks_ledger_and_sends_event() {
    let deployment = Deployment::new();
    let mut known = ledger("churn-dq", "churn");
    for at in [97, 98, 99] {
        known.datapoints.push_back(Datapoint {
            scheduled_time: hour(at),
            evidence: Evidence {
                execution: Some(ExecutionEvidence {
                    status: ExecutionStatus::CompletedWithViolations,
                    reason: None,
                    last_modified: hour(at),
                }),
                ..Evidence::default()
            },
        });
    }
    deployment.put_ledger(&known);
    let time = hour(98).to_string();
    let drop = ["datapoint", "drop", "churn-dq", &time];
    let with = |more: &[&'static str]| drop.iter().copied().chain(more.iter().copied()).collect::<Vec<&str>>();
    let dry_run = with(&["--reason", "report of another model", "--dry-run"]);
    let sent = with(&["--reason", "report of another model"]);
    let mut output = deployment.run_all(&[&dry_run, &sent, &drop]);
    deployment.put_ledger(&known);
    let json = with(&["--reason", "again", "--json", "--by", "bob"]);
    output.push('\n');
    output += &deployment.run(&json);
    let events = deployment.aws.events();
    assert_eq!(events.len(), 2);
    for (detail_type, detail) in events {
        assert_eq!(detail_type, "Monitor Datapoint Drop");
        let command: MonitorDatapointDrop = serde_json::from_str(&detail).unwrap();
        assert_eq!((command.by.as_str(), command.time), (CALLER, hour(100)));
    }
    let unknown = hour(96).to_string();
    for line in [
        &sent[..],
        &["datapoint", "drop", "churn-dq", &unknown, "--reason", "x"],
        &["datapoint", "drop", "other", &unknown, "--reason", "x"],
    ] {
        output.push('\n');
        output += &deployment.run(line);
    }
    insta::assert_snapshot!(output);
    assert_eq!(deployment.aws.events().len(), 2, "nothing more is sent");
}
