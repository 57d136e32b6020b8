//! The verdict and its reasons for each obstacle, at its limits.

use super::*;
use crate::{ModelPolicy, Policy, Recurrence};
use jiff::SignedDuration;

const NOW: &str = "2026-11-23T15:00:00Z";

/// A model that may be retrained automatically.
fn policy(settings: &str) -> ModelPolicy {
    let text = format!("[remediation]\nautomation = 'auto'\n{settings}\n");
    Policy::parse(text.as_bytes()).unwrap().model("churn")
}

fn automated(automation: Automation) -> ModelPolicy {
    ModelPolicy {
        automation: Some(automation),
        ..policy("")
    }
}

fn input(policy: &ModelPolicy) -> DecisionInput<'_> {
    DecisionInput {
        policy,
        risk_rating: RiskRating::Low,
        silent: &[],
        in_flight: Vec::new(),
        fleet: None,
        retrainings: &[],
        approval: None,
        paused_globally: None,
        paused: None,
        approval_expires_at: time("2026-11-24T15:00:00Z"),
        now: time(NOW),
    }
}

fn approval(granted: bool, valid_until: &str) -> Approval {
    Approval {
        granted,
        by: "ada".into(),
        fingerprint: None,
        at: time("2026-11-23T12:00:00Z"),
        valid_until: time(valid_until),
        reason: None,
    }
}

fn pause(paused: bool, until: Option<&str>) -> Pause {
    Pause {
        paused,
        by: "ada".into(),
        time: time("2026-11-23T12:00:00Z"),
        until: until.map(time),
        reason: Some("labels are late".into()),
    }
}

fn level(automation: Automation, risk_rating: RiskRating) -> Reason {
    Reason::AutomationLevel {
        automation,
        risk_rating,
    }
}

fn retrain(permission: Reason) -> (Verdict, Vec<Reason>) {
    (Verdict::Retrain, vec![Reason::NothingInFlight, permission])
}

fn hold(reason: Reason) -> (Verdict, Vec<Reason>) {
    (Verdict::Hold, vec![reason])
}

#[test]
fn drift_without_obstacle_is_retrained() {
    let policy = policy("");
    let expected = retrain(level(Automation::Auto, RiskRating::Low));
    assert_eq!(input(&policy).decide(&[alert("a")]), expected);
}

#[test]
fn broken_data_of_any_monitor_comes_before_obstacles() {
    let policy = policy("fix_data_check_types = ['broken', 'missing']");
    let with = |schedule: &str, check_types: &[&str]| AlertSnapshot {
        check_types: check_types.iter().map(|name| (*name).to_owned()).collect(),
        ..alert(schedule)
    };
    let paused = pause(true, None);
    let input = DecisionInput {
        paused: Some(&paused),
        ..input(&policy)
    };
    let alerts = [
        with("a", &["drift"]),
        with("b", &["drift", "missing", "broken"]),
        with("c", &["broken"]),
    ];
    let broke = |schedule: &str, check_types: &[&str]| Reason::DataBroke {
        monitoring_schedule: schedule.into(),
        check_types: check_types.iter().map(|name| (*name).to_owned()).collect(),
    };
    let expected = vec![broke("b", &["missing", "broken"]), broke("c", &["broken"])];
    assert_eq!(input.decide(&alerts), (Verdict::FixData, expected));
    assert_eq!(input.decide(&alerts[..1]).0, Verdict::Hold);
}

#[test]
fn retraining_needs_a_monitor_that_is_not_silent() {
    let policy = policy("");
    assert_eq!(input(&policy).decide(&[]), hold(Reason::NoMonitorInAlert));
    let silent = ["a", "b"].map(|schedule| (schedule.to_owned(), time(NOW)));
    let decide = |silent, alerts: &[AlertSnapshot]| {
        let input = DecisionInput {
            silent,
            ..input(&policy)
        };
        input.decide(alerts)
    };
    let alerts = [alert("a"), alert("b")];
    assert_eq!(decide(&silent[..1], &alerts).0, Verdict::Retrain);
    let reasons = silent
        .clone()
        .map(|(monitoring_schedule, since)| Reason::MonitorSilent {
            monitoring_schedule,
            since,
        });
    assert_eq!(decide(&silent, &alerts), (Verdict::Hold, reasons.to_vec()));
    assert_eq!(
        decide(&silent[..1], &alerts[..1]),
        (Verdict::Hold, reasons[..1].to_vec())
    );
}

#[test]
fn every_pause_holds_the_retraining() {
    let paused = |globally, by: Option<&Pause>| Reason::Paused {
        globally,
        by: by.map(|pause| pause.by.clone()),
        at: by.map(|pause| pause.time),
        until: by.and_then(|pause| pause.until),
        why: by.and_then(|pause| pause.reason.clone()),
    };
    let decide = |text: &str, all: Option<&Pause>, one: Option<&Pause>| {
        let policy = Policy::parse(format!("{text}\n[remediation]\nautomation = 'auto'").as_bytes()).unwrap();
        let policy = policy.model("churn");
        let input = DecisionInput {
            paused_globally: all,
            paused: one,
            ..input(&policy)
        };
        input.decide(&[alert("a")])
    };
    assert_eq!(decide("paused = true", None, None), hold(paused(true, None)));
    let model = "[[model]]\nname = 'churn'\npaused = true";
    assert_eq!(decide(model, None, None), hold(paused(false, None)));
    let (endless, ending) = (pause(true, None), pause(true, Some("2026-11-23T15:00:01Z")));
    assert_eq!(decide("", Some(&endless), None), hold(paused(true, Some(&endless))));
    assert_eq!(decide("", None, Some(&ending)), hold(paused(false, Some(&ending))));
    let both = vec![paused(true, Some(&ending)), paused(false, Some(&endless))];
    assert_eq!(decide("", Some(&ending), Some(&endless)), (Verdict::Hold, both));
    // A resume, and a pause that ends now.
    let (resumed, ended) = (pause(false, None), pause(true, Some(NOW)));
    assert_eq!(decide("", Some(&resumed), Some(&ended)).0, Verdict::Retrain);
    let later = pause(false, Some("2026-11-24T15:00:00Z"));
    assert_eq!(decide("", Some(&later), None).0, Verdict::Retrain);
}

#[test]
fn severity_of_worst_alert_counts() {
    let with = |severity| AlertSnapshot { severity, ..alert("a") };
    let (warning, critical) = (Some(Severity::Warning), Some(Severity::Critical));
    let policy_for = |minimum: &str| policy(&format!("minimum_severity = '{minimum}'"));
    let below = hold(Reason::SeverityBelow {
        severity: Severity::Warning,
        minimum_severity: Severity::Critical,
    });
    let policy = policy_for("critical");
    assert_eq!(input(&policy).decide(&[with(warning), with(None)]), below);
    assert_eq!(input(&policy).decide(&[with(None)]), below);
    assert_eq!(
        input(&policy).decide(&[with(critical), with(warning)]).0,
        Verdict::Retrain
    );
    let policy = policy_for("warning");
    assert_eq!(input(&policy).decide(&[with(None)]).0, Verdict::Retrain);
}

#[test]
fn cooldown_ends_to_the_second() {
    let policy = policy("cooldown = '3h'\nretrainings_per_day = 9");
    let decide = |last: &str| {
        let retrainings = [time("2026-11-20T00:00:00Z"), time(last)];
        let input = DecisionInput {
            retrainings: &retrainings,
            ..input(&policy)
        };
        input.decide(&[alert("a")])
    };
    assert_eq!(decide("2026-11-23T12:00:00Z").0, Verdict::Retrain);
    let last_retraining = time("2026-11-23T12:00:01Z");
    let until = last_retraining + SignedDuration::from_hours(3);
    let cooldown = Reason::Cooldown { last_retraining, until };
    assert_eq!(decide("2026-11-23T12:00:01Z"), hold(cooldown));
}

#[test]
fn budgets_count_retrainings_since_midnight_and_month() {
    let policy = policy("cooldown = '0s'\nretrainings_per_day = 2\nretrainings_per_month = 3");
    let decide = |times: &[&str]| {
        let retrainings: Vec<Timestamp> = times.iter().map(|text| time(text)).collect();
        let input = DecisionInput {
            retrainings: &retrainings,
            ..input(&policy)
        };
        input.decide(&[alert("a")])
    };
    let midnight = "2026-11-23T00:00:00Z";
    let before = "2026-11-22T23:59:59Z";
    let per_day = Reason::BudgetPerDay {
        retrainings: 2,
        limit: 2,
        until: time("2026-11-24T00:00:00Z"),
    };
    assert_eq!(decide(&[before, midnight]).0, Verdict::Retrain);
    assert_eq!(decide(&[midnight, midnight]), hold(per_day.clone()));
    let per_month = |retrainings| Reason::BudgetPerMonth {
        retrainings,
        limit: 3,
        until: time("2026-12-01T00:00:00Z"),
    };
    let first = "2026-11-01T00:00:00Z";
    assert_eq!(decide(&["2026-10-31T23:59:59Z", before, midnight]).0, Verdict::Retrain);
    assert_eq!(decide(&[first, before, midnight]), hold(per_month(3)));
    let both = vec![per_day, per_month(4)];
    assert_eq!(decide(&[first, before, midnight, midnight]), (Verdict::Hold, both));
}

#[test]
fn executions_in_progress_are_each_a_reason() {
    let policy = policy("");
    let input = DecisionInput {
        in_flight: vec!["arn:1", "arn:2"],
        ..input(&policy)
    };
    let reasons = ["arn:1", "arn:2"].map(|arn| Reason::InFlight {
        execution_arn: arn.into(),
    });
    assert_eq!(input.decide(&[alert("a")]), (Verdict::Hold, reasons.to_vec()));
}

#[test]
fn fleet_is_named_only_if_nothing_else_holds() {
    let policy = policy("");
    let full = Reason::FleetAtOnce {
        retrainings: 5,
        limit: 5,
    };
    let mut input = DecisionInput {
        fleet: Some(full.clone()),
        ..input(&policy)
    };
    assert_eq!(input.decide(&[alert("a")]), hold(full));
    assert_eq!(input.decide(&[]), hold(Reason::NoMonitorInAlert));
    input.fleet = None;
    assert_eq!(input.decide(&[alert("a")]).0, Verdict::Retrain);
}

#[test]
fn permission_depends_on_level_and_answer() {
    use Automation::{Approve, Auto, Observe, Suggest};
    let at = time("2026-11-23T12:00:00Z");
    let valid = approval(true, "2026-11-23T15:00:01Z");
    let expired = approval(true, NOW);
    let denied = approval(false, "2026-11-24T15:00:00Z");
    let approved = || retrain(Reason::Approved { by: "ada".into(), at });
    let denial = || hold(Reason::Denied { by: "ada".into(), at });
    let missing = || {
        hold(Reason::ApprovalMissing {
            until: time("2026-11-24T15:00:00Z"),
        })
    };
    let low = |automation| level(automation, RiskRating::Low);
    for (automation, approval, expected) in [
        (Observe, None, hold(low(Observe))),
        (Observe, Some(&valid), hold(low(Observe))),
        (Observe, Some(&denied), hold(low(Observe))),
        (Suggest, None, hold(low(Suggest))),
        (Suggest, Some(&valid), approved()),
        (Suggest, Some(&expired), hold(low(Suggest))),
        (Suggest, Some(&denied), denial()),
        (Approve, None, missing()),
        (Approve, Some(&valid), approved()),
        (Approve, Some(&expired), missing()),
        (Approve, Some(&denied), denial()),
        (Auto, None, retrain(low(Auto))),
        (Auto, Some(&valid), retrain(low(Auto))),
        (Auto, Some(&denied), denial()),
    ] {
        let policy = automated(automation);
        let input = DecisionInput {
            approval,
            ..input(&policy)
        };
        assert_eq!(input.decide(&[alert("a")]), expected, "{automation:?} {approval:?}");
    }
}

#[test]
fn approval_request_expires_to_the_second() {
    let policy = automated(Automation::Approve);
    let decide = |expires: &str| {
        let input = DecisionInput {
            approval_expires_at: time(expires),
            ..input(&policy)
        };
        input.decide(&[alert("a")])
    };
    assert_eq!(decide(NOW), hold(Reason::ApprovalExpired { at: time(NOW) }));
    let until = time("2026-11-23T15:00:01Z");
    assert_eq!(decide("2026-11-23T15:00:01Z"), hold(Reason::ApprovalMissing { until }));
}

#[test]
fn risk_rating_sets_level_unless_policy_does() {
    let policy = Policy::default().model("churn");
    let rated = |risk_rating| {
        let input = DecisionInput {
            risk_rating,
            ..input(&policy)
        };
        input.decide(&[alert("a")])
    };
    let low = level(Automation::Auto, RiskRating::Low);
    assert_eq!(rated(RiskRating::Low), retrain(low));
    assert_eq!(
        rated(RiskRating::High),
        hold(level(Automation::Suggest, RiskRating::High))
    );
}

#[test]
fn hold_ends_with_its_last_obstacle() {
    let (early, late) = (time("2026-11-24T00:00:00Z"), time("2026-12-01T00:00:00Z"));
    let per_day = Reason::BudgetPerDay {
        retrainings: 1,
        limit: 1,
        until: early,
    };
    let per_month = Reason::BudgetPerMonth {
        retrainings: 8,
        limit: 8,
        until: late,
    };
    let fleet = Reason::FleetPerDay {
        retrainings: 20,
        limit: 20,
        until: early,
    };
    let cooldown = Reason::Cooldown {
        last_retraining: early,
        until: late,
    };
    let paused = |until| Reason::Paused {
        globally: true,
        by: Some("ada".into()),
        at: Some(early),
        until,
        why: None,
    };
    let until = |reasons: &[&Reason]| {
        let reasons = reasons.iter().map(|reason| (*reason).clone()).collect();
        decision(Verdict::Hold, reasons, &["a"]).until
    };
    for reason in [&per_day, &fleet, &paused(Some(early))] {
        assert_eq!(until(&[reason]), Some(early), "{reason:?}");
    }
    for reasons in [
        [&per_day, &per_month],
        [&cooldown, &per_day],
        [&paused(Some(late)), &fleet],
    ] {
        assert_eq!(until(&reasons), Some(late), "{reasons:?}");
    }
    // Time alone does not end these.
    let forever = paused(None);
    let silent = Reason::NoMonitorInAlert;
    assert_eq!((until(&[&forever]), until(&[&per_day, &silent])), (None, None));
    assert_eq!(decision(Verdict::Escalate, vec![per_day], &["a"]).until, None);
}

#[test]
fn only_fleet_reasons_concern_other_models() {
    let at = time(NOW);
    let of_fleet = [
        Reason::FleetAtOnce {
            retrainings: 1,
            limit: 1,
        },
        Reason::FleetPerDay {
            retrainings: 1,
            limit: 1,
            until: at,
        },
        Reason::CommonCause {
            since: at,
            count: 6,
            models: Vec::new(),
            check_types: Vec::new(),
        },
        Reason::FleetTurn { models: 1 },
    ];
    assert!(of_fleet.iter().all(Reason::is_of_fleet));
    assert!(!Reason::NoMonitorInAlert.is_of_fleet() && !Reason::NothingInFlight.is_of_fleet());
}

#[test]
fn changed_counts_are_not_another_reason() {
    let returned = |returns| Reason::DriftReturned {
        returns,
        recurrence: None,
    };
    let at_once = |retrainings| Reason::FleetAtOnce { retrainings, limit: 5 };
    let per_day = |retrainings| Reason::BudgetPerDay {
        retrainings,
        limit: 1,
        until: time(NOW),
    };
    let equivalent = |first: Reason, second: Reason| {
        let [first, second] = [first, second].map(|reason| decision(Verdict::Hold, vec![reason], &["a"]));
        first.is_equivalent_to(&second)
    };
    assert!(equivalent(returned(1), returned(2)));
    let recurring = Reason::DriftReturned {
        returns: 1,
        recurrence: Some(Recurrence {
            alerts: 3,
            hours: Some([1, 5]),
            weekday: None,
        }),
    };
    assert!(!equivalent(returned(1), recurring.clone()) && equivalent(recurring.clone(), recurring));
    assert!(equivalent(at_once(5), at_once(6)));
    assert!(equivalent(per_day(1), per_day(1)));
    assert!(!equivalent(per_day(1), per_day(2)));
    assert!(!equivalent(returned(1), at_once(5)));
}

#[test]
fn changed_facts_are_another_decision() {
    let with = |fingerprint: &str| Decision {
        fingerprint: fingerprint.into(),
        ..decision(Verdict::Hold, vec![Reason::NoMonitorInAlert], &["a"])
    };
    assert!(with("1").is_equivalent_to(&with("1")));
    assert!(!with("1").is_equivalent_to(&with("2")));
    // A decision of the first release has none.
    assert!(with("").is_equivalent_to(&with("2")));
}

#[test]
fn decision_lists_alerts_before_reasons() {
    let decision = decision(Verdict::Retrain, vec![Reason::NothingInFlight], &["a", "b"]);
    let in_alert = |schedule: &str| Reason::MonitorInAlert {
        monitoring_schedule: schedule.into(),
        breaching: 2,
        datapoints_to_alert: 2,
        evaluation_period: 3,
    };
    assert_eq!(
        decision.reasons,
        [in_alert("a"), in_alert("b"), Reason::NothingInFlight]
    );
    assert_eq!((decision.alerts.len(), decision.number), (2, 0));
    assert_eq!(midnight(jiff::civil::date(2026, 11, 23)), time("2026-11-23T00:00:00Z"));
}

#[test]
fn decision_without_alerts_starts_with_its_first_reason() {
    let sentence = |reasons| decision(Verdict::Hold, reasons, &[]).sentence;
    let first = Reason::NoMonitorInAlert;
    assert_eq!(
        sentence(vec![first, Reason::NothingInFlight]),
        "Hold the retraining of `churn`: no monitor is in alert at present. No pipeline execution of this model is in \
         progress."
    );
    assert_eq!(sentence(Vec::new()), "Hold the retraining of `churn`.");
}

#[test]
fn verdicts_are_named_as_in_documents() {
    for verdict in [Verdict::Retrain, Verdict::FixData, Verdict::Hold, Verdict::Escalate] {
        assert_eq!(serde_json::to_value(verdict).unwrap(), verdict.as_str());
    }
}
