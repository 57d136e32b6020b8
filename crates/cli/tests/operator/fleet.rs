//! `driftwarden fleet`: the slots, the starts of the day, and the hold of a common cause.

use super::{Deployment, hour};
use remediation::{CommonCause, FLEET_KEY, Fleet, Slot};

fn put(deployment: &Deployment, fleet: &Fleet) {
    deployment
        .aws
        .put_document(FLEET_KEY, serde_json::to_vec(fleet).unwrap());
}

fn stored(deployment: &Deployment) -> Fleet {
    serde_json::from_slice(&deployment.aws.document(FLEET_KEY).unwrap()).unwrap()
}

/// A fleet with two slots, one of which has ended, and a common cause.
fn held() -> Fleet {
    let slot = |model: &str, since, until| Slot {
        model: model.to_owned(),
        incident: 3,
        since: hour(since),
        until: hour(until),
    };
    Fleet {
        slots: vec![slot("churn", 98, 146), slot("fraud", 40, 88)],
        starts: vec![hour(40), hour(77), hour(98)],
        common_cause: Some(CommonCause {
            since: hour(99),
            check_types: Vec::new(),
            models: ["churn", "fraud", "ltv", "upsell", "risk", "spam"]
                .map(str::to_owned)
                .to_vec(),
        }),
        ..Fleet::default()
    }
}

#[test]
fn fleet_status_shows_slots_and_common_cause() {
    let deployment = Deployment::new();
    let mut output = deployment.run(&["fleet", "status"]);
    put(&deployment, &held());
    for line in [&["fleet", "status"][..], &["fleet", "status", "--json"]] {
        output.push('\n');
        output += &deployment.run(line);
    }
    insta::assert_snapshot!(output);
    assert_eq!(stored(&deployment), held(), "nothing is changed");
}

#[test]
fn fleet_release_ends_the_hold() {
    let deployment = Deployment::new();
    let nothing = deployment.run(&["fleet", "release"]);
    assert!(
        nothing.contains("exit 0\n") && nothing.contains("nothing was changed"),
        "{nothing}"
    );
    assert_eq!(deployment.aws.document(FLEET_KEY), None);
    put(&deployment, &held());
    let released = deployment.run(&["fleet", "release"]);
    assert!(
        released.contains("released: the next sweep decides again about the retrainings that were held"),
        "{released}"
    );
    let after = Fleet {
        common_cause: None,
        released_at: Some(hour(100)),
        ..held()
    };
    assert_eq!(stored(&deployment), after, "slots and starts stay");
    let again = deployment.run(&["fleet", "release", "--json"]);
    assert!(again.contains(r#""released":false"#), "{again}");
    // A document of a newer release is not changed.
    let newer = serde_json::json!({"version": 2, "common_cause": {}}).to_string();
    deployment.aws.put_document(FLEET_KEY, newer.clone());
    let refused = deployment.run(&["fleet", "release"]);
    assert!(
        refused.contains("exit 1\n") && refused.contains("format version 2"),
        "{refused}"
    );
    assert_eq!(deployment.aws.document(FLEET_KEY).unwrap(), newer.as_bytes());
}
