//! `driftwarden datapoint drop`.

use super::{Deployment, caller, hour, ledger};
use alerting::{Datapoint, Evidence, ExecutionEvidence, ExecutionStatus, MonitorDatapointDrop, MonitorRules};

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
    let json = with(&["--reason", "again", "--json", "--by", "bob"]);
    let mut output = deployment.run_all(&[&dry_run, &sent, &json, &drop]);
    let events = deployment.aws.events();
    assert_eq!(events.len(), 2);
    let (detail_type, detail) = &events[0];
    assert_eq!(detail_type, "Monitor Datapoint Drop");
    let command: MonitorDatapointDrop = serde_json::from_str(detail).unwrap();
    known.drop_datapoint(&command, &MonitorRules::default(), &caller(hour(100)));
    deployment.put_ledger(&known);
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
    // Without a state bucket, the event is sent without a check.
    let unchecked = Deployment::new().without(&["STATE_BUCKET"]);
    assert!(unchecked.run(&sent).contains("exit 0"));
}
