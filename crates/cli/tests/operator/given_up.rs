//! Effects that were given up, as `driftwarden incidents` shows them.

use super::{Deployment, hour, retraining};
use machine::{Failures, GivenUp};

fn given_up(id: &str, at: i64) -> GivenUp {
    GivenUp {
        id: id.to_owned(),
        at: hour(at),
        failures: Failures {
            attempts: 28,
            since: hour(at - 24),
            last: "events:PutEvents on `driftwarden` failed: access denied".to_owned(),
        },
    }
}

#[test]
fn effects_that_were_given_up_are_shown() {
    let deployment = Deployment::new();
    let mut document = retraining();
    document.given_up = vec![
        given_up("decision/fraud-1/1", 36),
        given_up("incident/fraud-1/opened", 40),
    ];
    deployment.put_model(&document);
    let list = deployment.run(&["incidents"]);
    assert!(
        list.contains("model `fraud`: 2 effects were given up; for details, run `driftwarden incidents fraud`"),
        "{list}"
    );
    let detail = deployment.run(&["incidents", "fraud"]);
    let (_, table) = detail.split_once("given up, latest first\n").unwrap();
    insta::assert_snapshot!(table);
    let json = deployment.run(&["incidents", "--json"]);
    let line = json.lines().last().unwrap();
    let line: serde_json::Value = serde_json::from_str(line).unwrap();
    assert_eq!(line["given_up"], serde_json::to_value(&document.given_up).unwrap());
    document.given_up.pop();
    deployment.put_model(&document);
    assert!(deployment.run(&["incidents"]).contains("1 effect was given up"));
    document.given_up.clear();
    deployment.put_model(&document);
    let output = deployment.run_all(&[&["incidents"], &["incidents", "fraud"]]);
    assert!(!output.contains("given up"), "{output}");
}
