//! A retraining that is held: the decision, its approval, and its start follow what is true when the hold ends.

use super::{
    now::{HOUR, revised},
    *,
};

/// A model in alert that a cooldown of ten hours holds.
fn held(automation: &str) -> Scenario {
    let mut scenario = Scenario::with_policy(&policy(automation, ""));
    scenario.document.retrainings = vec![at(0)];
    scenario.apply_at(10, in_alert("dq", 1));
    scenario
}

fn policy(automation: &str, more: &str) -> String {
    format!("[remediation]\ndecide_after = '0s'\nautomation = '{automation}'\ncooldown = '10h'\n{more}")
}

/// The answer to the latest decision.
fn answer(scenario: &Scenario, granted: bool, second: i64) -> Input {
    let Input::Approval(answer) = approval(granted, second) else {
        panic!("an approval")
    };
    Input::Approval(RemediationApproval {
        decision: Some(scenario.document.incident.as_ref().unwrap().decisions),
        ..answer
    })
}

#[test]
fn monitor_that_joins_voids_a_granted_approval() {
    let mut scenario = held("approve");
    assert_eq!(scenario.stage(), Stage::AwaitingApproval);
    let granted = answer(&scenario, true, 20);
    assert_eq!(scenario.apply_at(20, granted), Stage::Holding, "the cooldown");
    assert_eq!(scenario.apply_at(HOUR, tick()), Stage::Holding, "it stays valid");
    assert_eq!(scenario.apply_at(2 * HOUR, in_alert("mq", 1)), Stage::AwaitingApproval);
    // The approval was for one monitor.
    assert_eq!(scenario.apply_at(11 * HOUR, tick()), Stage::AwaitingApproval);
    assert!(scenario.starts().is_empty());
    let granted = answer(&scenario, true, 11 * HOUR + 10);
    assert_eq!(scenario.apply_at(11 * HOUR + 10, granted), Stage::Retraining);
    assert_eq!(scenario.starts().len(), 1);
}

#[test]
fn granted_approval_of_unchanged_facts_counts_later() {
    let mut scenario = held("approve");
    let granted = answer(&scenario, true, 20);
    scenario.apply_at(20, granted);
    assert_eq!(scenario.apply_at(11 * HOUR, tick()), Stage::Retraining);
}

#[test]
fn start_gets_the_report_and_features_of_the_last_execution() {
    let mut scenario = held("auto");
    let with_report = |revision: u64, hour: u32, features: &[&str]| {
        let violations = features.iter().map(|feature| alerting::ReportedViolation {
            subject: (*feature).to_owned(),
            dimensions: BTreeMap::new(),
            constraint_check_type: "baseline_drift_check".into(),
            observed: None,
            threshold: None,
            description: None,
        });
        AlertStateChange {
            report_uri: Some(format!("s3://reports/{hour:02}")),
            violations: violations.collect(),
            ..revised(revision, &["baseline_drift_check"], Severity::Warning)
        }
    };
    let mut alert = |revision, hour, features: &[&str]| {
        let change = with_report(revision, hour, features);
        scenario.levels.insert("dq".into(), level(&change, &[HOUR]));
        scenario.apply_at(i64::from(hour) * HOUR, tick())
    };
    assert_eq!(alert(1, 1, &["income"]), Stage::Holding);
    assert_eq!(alert(2, 9, &["age", "plan"]), Stage::Holding);
    assert_eq!(alert(3, 11, &["plan", "tenure"]), Stage::Retraining);
    let [start] = scenario.starts()[..] else {
        panic!("one start")
    };
    assert_eq!(start.parameters["ReportUri"], "s3://reports/11");
    assert_eq!(start.parameters["DriftedFeatures"], "plan,tenure");
}

#[test]
fn minimum_severity_of_the_present_policy_counts() {
    let below = |scenario: &Scenario| {
        let (verdict, reasons) = scenario.last_decision();
        let is_below = |reason: &Reason| matches!(reason, Reason::SeverityBelow { .. });
        verdict == Verdict::Hold && reasons.iter().any(is_below)
    };
    let mut scenario = held("auto");
    assert!(!below(&scenario));
    scenario.policy = Policy::parse(policy("auto", "minimum_severity = 'critical'\n").as_bytes()).unwrap();
    assert_eq!(scenario.apply_at(11 * HOUR, tick()), Stage::Holding);
    assert!(below(&scenario) && scenario.starts().is_empty());
    // The alert becomes critical.
    let critical = revised(1, &["baseline_drift_check"], Severity::Critical);
    scenario.levels.insert("dq".into(), level(&critical, &[11 * HOUR]));
    assert_eq!(scenario.apply_at(12 * HOUR, tick()), Stage::Retraining);
}

#[test]
fn older_answer_has_no_effect() {
    for (first, second) in [(true, false), (false, true), (true, true)] {
        let mut scenario = held("approve");
        let known = answer(&scenario, first, 60);
        scenario.apply_at(60, known);
        let approval = scenario.document.incident.as_ref().unwrap().approval().cloned();
        for time in [59, 60] {
            let older = answer(&scenario, second, time);
            assert_eq!(scenario.apply(older), StepOutcome::Refused(Refusal::Outdated), "{time}");
            assert_eq!(
                scenario.document.incident.as_ref().unwrap().approval().cloned(),
                approval
            );
        }
        let later = answer(&scenario, second, 61);
        assert_eq!(scenario.apply(later), StepOutcome::Changed);
        assert_eq!(
            scenario.document.incident.as_ref().unwrap().approval().unwrap().granted,
            second
        );
    }
}
