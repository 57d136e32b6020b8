//! The table of transitions is what the stages do: each row is taken, and nothing else.

use super::*;
use now::revised;

const DAY: i64 = 24 * 3600;

/// A model in a stage, so that a cause can follow. Its incident is the first one.
fn reach(stage: Stage, cause: Cause) -> Scenario {
    use ExecutionStatus::{Failed, Succeeded};
    let mut scenario = Scenario::with_policy(match stage {
        Stage::AwaitingApproval => "[remediation]\ndecide_after = '0s'\nautomation = 'approve'\n",
        Stage::Holding => "[remediation]\ndecide_after = '0s'\nautomation = 'suggest'\n",
        Stage::Candidate => WITH_EXPERIMENTS,
        _ => AUTO,
    });
    match stage {
        Stage::Healthy => {}
        Stage::Deciding if cause == Cause::DriftReturned => {
            scenario.policy = Policy::parse(AUTO.replace("'0m'\n", "'1d'\n").as_bytes()).unwrap();
            for input in [in_alert("dq", 1), execution(1, Succeeded), ok("dq", 2)] {
                scenario.apply(input);
            }
            assert_eq!(scenario.stage(), Stage::Healthy);
            scenario.facts = None;
            scenario.apply(in_alert("dq", 3));
        }
        Stage::Deciding => {
            scenario.facts = None;
            scenario.apply(in_alert("dq", 1));
        }
        Stage::AwaitingData => {
            let broken = revised(0, &["data_type_check"], Severity::Warning);
            scenario.apply(Input::Alert(Box::new(broken)));
        }
        Stage::Starting => {
            scenario.start = None;
            scenario.apply(in_alert("dq", 1));
        }
        Stage::AwaitingApproval | Stage::Holding | Stage::Retraining => {
            scenario.apply(in_alert("dq", 1));
        }
        Stage::Candidate => {
            for input in [
                in_alert("dq", 1),
                execution(1, Succeeded),
                candidate(None, Some(EXECUTION), 10),
            ] {
                scenario.apply(input);
            }
        }
        Stage::Verifying => {
            scenario.apply(in_alert("dq", 1));
            scenario.apply(execution(1, Succeeded));
        }
        Stage::Escalated => {
            scenario.apply(in_alert("dq", 1));
            scenario.apply(execution(1, Failed));
        }
    }
    assert_eq!(scenario.stage(), stage, "before {cause:?}");
    scenario.transitions.clear();
    scenario
}

/// Lets a cause happen, whatever the stage makes of it.
fn provoke(cause: Cause, scenario: &mut Scenario) {
    // The claim of a pending start expires.
    let later = scenario.second + 1000;
    let mut with_policy = |policy: &str| scenario.policy = Policy::parse(policy.as_bytes()).unwrap();
    let drift = ["baseline_drift_check"];
    match cause {
        Cause::Retrain => with_policy(&format!("{AUTO}[retraining]\nparameters = {{ Model = '{{model}}' }}\n")),
        Cause::AskApproval => with_policy("[remediation]\ndecide_after = '0s'\nautomation = 'approve'\n"),
        Cause::Hold => with_policy("[remediation]\ndecide_after = '0s'\nautomation = 'suggest'\n"),
        Cause::AllOk => with_policy(AUTO),
        Cause::CandidateMade => with_policy(WITH_EXPERIMENTS),
        _ => {}
    }
    if !matches!(cause, Cause::Overdue | Cause::InAlert) {
        scenario.facts = Some(Facts::default());
    }
    let revise = |scenario: &mut Scenario, check_types: &[&str]| {
        let change = revised(1, check_types, Severity::Critical);
        scenario.apply_at(later, Input::Alert(Box::new(change)));
    };
    match cause {
        Cause::InAlert => {
            scenario.apply_at(later, in_alert("dq", 1));
        }
        Cause::Retrain | Cause::AskApproval | Cause::Hold => revise(scenario, &drift),
        Cause::FixData => revise(scenario, &["missing_column_check"]),
        Cause::RunSeen => {
            scenario.apply_at(later, execution(1, ExecutionStatus::Executing));
        }
        Cause::NotStarted => {
            scenario.apply_at(later + DAY, tick());
        }
        Cause::Overdue => {
            scenario.facts = None;
            scenario.apply_at(later + 400 * DAY, tick());
            scenario.facts = Some(Facts::default());
            scenario.apply_at(later + 400 * DAY, tick());
        }
        Cause::Remind => {
            scenario.apply_at(later + 8 * DAY, tick());
        }
        Cause::DriftReturned => {
            scenario.apply_at(later, tick());
        }
        Cause::Succeeded | Cause::CandidateMade => {
            scenario.apply_at(later, execution(1, ExecutionStatus::Succeeded));
        }
        Cause::Promoted => {
            scenario.apply_at(later, candidate(Some(Conclusion::Promoted), Some(EXECUTION), later));
        }
        Cause::NotPromoted => {
            scenario.apply_at(later, candidate(Some(Conclusion::RolledBack), Some(EXECUTION), later));
        }
        Cause::Failed => {
            scenario.apply_at(later, execution(1, ExecutionStatus::Failed));
        }
        Cause::DriftPersists => {
            let known = scenario.levels.get("dq").map(|level| level.alert.clone());
            scenario
                .levels
                .extend(known.map(|alert| ("dq".to_owned(), level(&alert, &[later]))));
            scenario.apply_at(later, tick());
        }
        Cause::AllOk => {
            scenario.apply_at(later, ok("dq", 4));
        }
        Cause::Resolved => {
            scenario.apply_at(later, resolution(1, Some(InAlertChoice::Accept)));
        }
    }
}

#[test]
fn stages_take_the_transitions_of_the_table_and_no_others() {
    for from in Stage::ALL {
        for cause in Cause::ALL {
            let mut scenario = reach(from, cause);
            provoke(cause, &mut scenario);
            let mut taken = scenario.transitions.iter();
            let found = taken.find(|(before, by, _)| (*before, *by) == (from, cause));
            let expected = TRANSITIONS
                .iter()
                .find(|(before, by, _)| (*before, *by) == (from, cause));
            assert_eq!(found, expected, "{from:?} {cause:?}: {:?}", scenario.transitions);
            for row in &scenario.transitions {
                assert!(TRANSITIONS.contains(row), "{row:?}");
            }
        }
    }
}
