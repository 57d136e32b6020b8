//! The level of a monitor, and the events about changes of an alert that lasts.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use alerting::{
    AlertStateChange, AlertStatus, AlertWindow, Evidence, ExecutionEvidence, ExecutionStatus, ExecutionWindow, Level,
    MODEL_MONITOR_ALERT_STATE_CHANGE, MODEL_MONITOR_LEVEL_CHANGE, Monitor, MonitorEffect, MonitorLedger, MonitorRules,
    Observation, Pattern, ReportEvidence, Severity, ViolationRule,
};
use jiff::{SignedDuration, Timestamp};
use machine::Caller;

fn hour(at: i64) -> Timestamp {
    Timestamp::from_second(1_790_000_000 / 3600 * 3600 + at * 3600).unwrap()
}

fn caller(at: i64) -> Caller {
    Caller {
        id: format!("request-{at}"),
        now: hour(at),
    }
}

/// Rules with a window, in which violations of `missing_column_check` are critical.
fn rules(m: i64, n: i64) -> MonitorRules {
    MonitorRules {
        window: AlertWindow::Executions(ExecutionWindow::new(m, n).unwrap()),
        violations: vec![ViolationRule {
            check_type: Some(Pattern::new("missing_column_check")),
            severity: Severity::Critical,
            counts: true,
            ..ViolationRule::default()
        }],
        ..MonitorRules::default()
    }
}

fn evidence(at: i64, check_types: &[&str]) -> Evidence {
    let report = ReportEvidence {
        uri: format!("s3://reports/{at}"),
        etag: at.to_string(),
        last_modified: hour(at),
        violations: check_types.len() as u64,
        by_check_type: check_types.iter().map(|name| ((*name).to_owned(), 1)).collect(),
        top: check_types
            .iter()
            .map(|name| alerting::ReportedViolation {
                subject: "age".into(),
                dimensions: [("Feature".to_owned(), "age".to_owned())].into(),
                constraint_check_type: (*name).to_owned(),
                observed: None,
                threshold: None,
                description: None,
            })
            .collect(),
        rest: Vec::new(),
        other_drift: None,
        judged: None,
        sequencer: None,
    };
    let status = if check_types.is_empty() {
        ExecutionStatus::Completed
    } else {
        ExecutionStatus::CompletedWithViolations
    };
    Evidence {
        report: (!check_types.is_empty()).then_some(report),
        job: None,
        execution: Some(ExecutionEvidence {
            status,
            reason: None,
            last_modified: hour(at),
        }),
    }
}

fn record(ledger: &mut MonitorLedger, at: i64, check_types: &[&str], rules: &MonitorRules) {
    let observation = Observation {
        monitor: ledger.monitor.clone(),
        scheduled_time: hour(at),
        evidence: evidence(at, check_types),
    };
    ledger.record(observation, rules, &caller(at));
}

fn ledger(executions: &[&[&str]], rules: &MonitorRules) -> MonitorLedger {
    let mut ledger = MonitorLedger::new(Monitor {
        schedule: "churn-dq".into(),
        endpoint: Some("churn".into()),
        model: "churn".into(),
        monitor_type: None,
    });
    for (at, check_types) in (0..).zip(executions) {
        record(&mut ledger, at, check_types, rules);
    }
    ledger
}

fn changes(ledger: &MonitorLedger) -> Vec<&AlertStateChange> {
    let changes = ledger.outbox.entries().iter().filter_map(|entry| match &entry.effect {
        MonitorEffect::PutAlertStateChange(change) => Some(&**change),
        _ => None,
    });
    changes.collect()
}

const DRIFT: &[&str] = &["baseline_drift_check"];
const BROKEN: &[&str] = &["missing_column_check"];
const CLEAN: &[&str] = &[];

#[test]
fn change_of_facts_while_the_alert_lasts_is_an_event() {
    let rules = rules(1, 1);
    let ledger = ledger(&[DRIFT, DRIFT, BROKEN, BROKEN, DRIFT, CLEAN], &rules);
    let found: Vec<_> = changes(&ledger)
        .into_iter()
        .map(|change| (change.transition, change.revision, change.severity))
        .collect();
    assert_eq!(
        found,
        [
            (1, 0, Some(Severity::Warning)),
            (1, 1, Some(Severity::Critical)),
            (1, 2, Some(Severity::Warning)),
            (2, 0, None),
        ]
    );
    let broken = changes(&ledger)[1];
    assert_eq!(broken.detail_type(), MODEL_MONITOR_LEVEL_CHANGE);
    assert_eq!(broken.id, format!("level-churn-dq-{}-1-1", hour(0).as_second()));
    assert_eq!(broken.check_types, ["missing_column_check"]);
    assert_eq!(broken.report_uri.as_deref(), Some("s3://reports/2"));
    let mut positions: Vec<_> = changes(&ledger).iter().map(|change| change.position()).collect();
    positions.reverse();
    assert!(positions.is_sorted_by(|later, earlier| later > earlier));
}

#[test]
fn all_breaching_executions_of_the_window_count() {
    let rules = rules(2, 3);
    // A feed that breaks every other hour does not change the facts every hour.
    let ledger = ledger(&[DRIFT, BROKEN, DRIFT, BROKEN, DRIFT], &rules);
    let [alert] = changes(&ledger)[..] else {
        panic!("one event")
    };
    assert_eq!(alert.check_types, ["baseline_drift_check", "missing_column_check"]);
    assert_eq!(alert.severity, Some(Severity::Critical));
    let level = ledger.level(&rules, hour(5));
    assert_eq!(level.alert.severity, Some(Severity::Critical));
    assert_eq!(
        level.alert.report_uri.as_deref(),
        Some("s3://reports/4"),
        "of the latest one"
    );
    assert_eq!(level.alert.position(), alert.position());
}

#[test]
fn level_counts_executions() {
    let rules = rules(1, 1);
    let ledger = ledger(&[DRIFT, CLEAN, CLEAN, CLEAN], &rules);
    let level = ledger.level(&rules, hour(4));
    assert!(!level.is_in_alert());
    assert_eq!(level.judged_since_transition, 3);
    assert_eq!(level.judged, [hour(3), hour(2), hour(1), hour(0)]);
    assert_eq!(level.judged_after(hour(1)), 2);
    assert_eq!(level.interval, Some(SignedDuration::from_hours(1)));
}

#[test]
fn monitor_without_results_is_silent() {
    let rules = rules(1, 1);
    let mut ledger = ledger(&[CLEAN, DRIFT], &rules);
    let silent = |ledger: &MonitorLedger, at| ledger.level(&rules, hour(at)).silent_since(hour(at));
    // Three intervals and the time of an execution.
    assert_eq!(silent(&ledger, 6), None);
    assert_eq!(silent(&ledger, 7), Some(hour(1)));
    // Executions without a result make it unhealthy before.
    for at in 2..5 {
        let observation = Observation {
            monitor: ledger.monitor.clone(),
            scheduled_time: hour(at),
            evidence: Evidence::default(),
        };
        ledger.record(observation, &rules, &caller(at));
    }
    assert_eq!(silent(&ledger, 5), Some(hour(1)));
    // A monitor with one execution may have a daily schedule.
    let ledger = self::ledger(&[DRIFT], &rules);
    assert_eq!(silent(&ledger, 73), None);
    assert_eq!(silent(&ledger, 75), Some(hour(0)));
}

#[test]
fn ledger_that_starts_again_has_new_ids() {
    let rules = rules(1, 1);
    let first = ledger(&[DRIFT], &rules);
    let mut second = ledger(&[], &rules);
    record(&mut second, 1, DRIFT, &rules);
    assert_ne!(changes(&first)[0].id, changes(&second)[0].id);
    assert!(changes(&first)[0].position() < changes(&second)[0].position());
    // Ledgers of the first release have no epoch, and are earlier than any.
    let mut old = first.clone();
    old.epoch = None;
    old.outbox = machine::Outbox::default();
    record(&mut old, 1, CLEAN, &rules);
    assert_eq!(changes(&old)[0].id, "alert-churn-dq-2");
    assert!(changes(&old)[0].position() < changes(&first)[0].position());
}

#[test]
fn monitor_without_ledger_is_silent_after_three_days() {
    let silent = |seconds| Level::silent_without_ledger(hour(0), hour(74) + SignedDuration::from_secs(seconds));
    // Three intervals of a daily schedule and the time of an execution.
    assert_eq!(silent(0), None);
    assert_eq!(silent(1), Some(hour(0)));
}

#[test]
fn level_repeats_facts_of_last_transition() {
    let rules = rules(1, 1);
    let mut ledger = ledger(&[CLEAN, DRIFT, DRIFT], &rules);
    let level = ledger.level(&rules, hour(9));
    assert!(level.is_in_alert());
    let transition = changes(&ledger)[0];
    assert_eq!(
        (level.alert.id.as_str(), level.alert.time),
        (transition.id.as_str(), hour(1))
    );
    assert_eq!(level.alert.correlation_id, transition.correlation_id);
    assert_eq!(level.alert.previous_alert_status, AlertStatus::Ok);
    record(&mut ledger, 3, CLEAN, &rules);
    let level = ledger.level(&rules, hour(9));
    assert!(!level.is_in_alert());
    assert_eq!(level.alert.previous_alert_status, AlertStatus::InAlert);
    assert_eq!((level.alert.time, level.alert.severity), (hour(3), None));
}

#[test]
fn level_counts_executions_since_change_of_policy() {
    let mut ledger = ledger(&[DRIFT, CLEAN, CLEAN], &rules(1, 3));
    let count = |ledger: &MonitorLedger| ledger.level(&rules(1, 1), hour(9)).judged_since_transition;
    // The changed policy ends the alert without an execution: the latest one led to it.
    ledger.sweep(&rules(1, 1), &caller(5));
    assert!(!ledger.level(&rules(1, 1), hour(9)).is_in_alert());
    assert_eq!(count(&ledger), 1);
    record(&mut ledger, 6, CLEAN, &rules(1, 1));
    assert_eq!(count(&ledger), 2);
    // Executions before a restart do not count.
    assert!(ledger.restart(hour(7), &rules(1, 1), &caller(8)));
    assert_eq!(count(&ledger), 0);
}

#[test]
fn interval_is_the_median() {
    let rules = rules(1, 1);
    let interval = |hours: &[i64]| {
        let mut ledger = ledger(&[], &rules);
        for at in hours {
            record(&mut ledger, *at, CLEAN, &rules);
        }
        ledger
            .level(&rules, hour(99))
            .interval
            .map(|interval| interval.as_hours())
    };
    assert_eq!(interval(&[0]), None);
    assert_eq!(interval(&[0, 24]), Some(24));
    assert_eq!(interval(&[0, 1, 4, 6, 10]), Some(3));
    // A pause of the schedule does not change it, and only the latest executions count.
    assert_eq!(interval(&[0, 10, 20, 30, 40, 50, 51, 52, 53, 54, 80, 81]), Some(1));
}

#[test]
fn event_of_transition_has_no_revision() {
    let rules = rules(1, 1);
    let ledger = ledger(&[DRIFT, BROKEN], &rules);
    let [alert, revised] = changes(&ledger)[..] else {
        panic!("two events")
    };
    let revision = |change: &AlertStateChange| serde_json::to_value(change).unwrap().get("revision").cloned();
    assert_eq!(revision(alert), None);
    assert_eq!(revision(revised), Some(1.into()));
    assert_eq!(alert.detail_type(), MODEL_MONITOR_ALERT_STATE_CHANGE);
}
