//! Invariants of datapoints, windows, and ledgers for any input.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use alerting::{
    AlertStatus, AlertWindow, DatapointState, Evidence, ExecutionEvidence, ExecutionStatus, ExecutionWindow,
    JobEvidence, JobStatus, MAX_DATAPOINTS, MetricName, Monitor, MonitorEffect, MonitorLedger, MonitorRules,
    Observation, PeriodLength, Recorded, ReportEvidence, TimeWindow, TreatMissingData,
};
use jiff::{SignedDuration, Timestamp};
use machine::Caller;
use proptest::prelude::*;
use std::collections::BTreeMap;

fn hour(n: i64) -> Timestamp {
    Timestamp::from_second(1_790_000_000 / 3600 * 3600 + n * 3600).unwrap()
}

fn caller(id: &str) -> Caller {
    Caller {
        id: id.into(),
        now: hour(1000),
    }
}

fn report(violations: u64, written: i64, etag: u8) -> ReportEvidence {
    ReportEvidence {
        uri: "s3://reports/churn/dq/2026/11/23/01/constraint_violations.json".into(),
        etag: format!("\"{etag}\""),
        last_modified: hour(written),
        violations,
        by_check_type: BTreeMap::from([("baseline_drift_check".to_owned(), violations)]),
        top: Vec::new(),
        rest: Vec::new(),
        other_drift: None,
        sequencer: None,
        judged: None,
    }
}

fn job(status: JobStatus, violations: Option<u64>, ended: i64) -> JobEvidence {
    JobEvidence {
        processing_job_arn: format!("arn:aws:sagemaker:us-east-1:111122223333:processing-job/{ended}"),
        status,
        violations,
        reason: None,
        ended_at: hour(ended),
    }
}

fn monitor() -> Monitor {
    Monitor {
        schedule: "Churn-DQ".into(),
        endpoint: Some("churn".into()),
        model: "churn".into(),
        monitor_type: None,
    }
}

fn observation(at: i64, evidence: Evidence) -> Observation {
    Observation {
        monitor: monitor(),
        scheduled_time: hour(at),
        evidence,
    }
}

fn window((m, n): (i64, i64)) -> MonitorRules {
    MonitorRules {
        window: AlertWindow::Executions(ExecutionWindow::new(m, n).unwrap()),
        ..MonitorRules::default()
    }
}

fn window_over_time((m, n): (i64, i64), treat_missing_data: TreatMissingData) -> MonitorRules {
    MonitorRules {
        window: AlertWindow::Time {
            window: TimeWindow::new(m, n, treat_missing_data).unwrap(),
            period: PeriodLength::Minutes(60),
        },
        ..MonitorRules::default()
    }
}

fn some_rules() -> impl Strategy<Value = MonitorRules> {
    (1..4_i64, 0..4_i64, 0..5_usize).prop_map(|(m, more, kind)| {
        let treats = [
            TreatMissingData::Missing,
            TreatMissingData::Breaching,
            TreatMissingData::NotBreaching,
            TreatMissingData::Ignore,
        ];
        match treats.get(kind) {
            Some(treat) => window_over_time((m, m + more), *treat),
            None => window((m, m + more)),
        }
    })
}

/// An input of a ledger.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "few, in a test")]
enum LedgerInput {
    Execution(i64, Evidence),
    /// The baseline changed 30 minutes after the hour.
    Restart(i64),
}

impl LedgerInput {
    fn minute(&self) -> i64 {
        match self {
            Self::Execution(at, _) => at * 60,
            Self::Restart(at) => at * 60 + 30,
        }
    }

    fn apply_all<'a>(all: impl IntoIterator<Item = &'a Self>, rules: &MonitorRules) -> MonitorLedger {
        let mut ledger = MonitorLedger::new(monitor());
        for input in all {
            input.apply(&mut ledger, rules);
        }
        ledger
    }

    fn apply(&self, ledger: &mut MonitorLedger, rules: &MonitorRules) {
        match self {
            Self::Execution(at, evidence) => {
                ledger.record(observation(*at, evidence.clone()), rules, &caller("a"));
            }
            Self::Restart(at) => {
                ledger.restart(half_past(*at), rules, &caller("a"));
            }
        }
    }
}

fn half_past(at: i64) -> Timestamp {
    hour(at).checked_add(SignedDuration::from_mins(30)).unwrap()
}

fn some_input() -> impl Strategy<Value = LedgerInput> {
    prop_oneof![
        4 => (0..12_i64, some_evidence()).prop_map(|(at, evidence)| LedgerInput::Execution(at, evidence)),
        1 => (-1..12_i64).prop_map(LedgerInput::Restart),
    ]
}

fn evidence(state: DatapointState) -> Evidence {
    match state {
        DatapointState::Clean => Evidence {
            report: None,
            job: Some(job(JobStatus::Completed, Some(0), 1)),
            ..Evidence::default()
        },
        DatapointState::Violations => Evidence {
            report: Some(report(3, 1, 1)),
            job: None,
            ..Evidence::default()
        },
        DatapointState::Failed => Evidence {
            report: None,
            job: Some(job(JobStatus::Failed, None, 1)),
            ..Evidence::default()
        },
        DatapointState::NoData | DatapointState::Missing => Evidence::default(),
    }
}

fn some_evidence() -> impl Strategy<Value = Evidence> {
    // The number of violations depends on the version of a report, so that reports of the same version are equal.
    let reports =
        proptest::option::of((0..3_i64, 0..3_u8).prop_map(|(written, etag)| {
            report((u64::try_from(written).unwrap() + u64::from(etag)) % 3, written, etag)
        }));
    let status = prop_oneof![
        Just(JobStatus::Completed),
        Just(JobStatus::Failed),
        Just(JobStatus::Stopped)
    ];
    let jobs = proptest::option::of(
        (status, proptest::option::of(0..3_u64), 0..3_i64).prop_map(|(status, v, ended)| job(status, v, ended)),
    );
    let status = prop_oneof![
        Just(ExecutionStatus::Completed),
        Just(ExecutionStatus::CompletedWithViolations),
        Just(ExecutionStatus::Failed),
        Just(ExecutionStatus::Stopped)
    ];
    let executions = proptest::option::of((status, any::<bool>(), 0..3_i64).prop_map(|(status, empty, changed)| {
        ExecutionEvidence {
            status,
            reason: empty.then(|| "Job inputs had no data".to_owned()),
            last_modified: hour(changed),
        }
    }));
    (reports, jobs, executions).prop_map(|(report, job, execution)| Evidence { report, job, execution })
}

proptest! {
    #[test]
    fn evidence_merges_in_any_order(a in some_evidence(), b in some_evidence(), c in some_evidence()) {
        prop_assert_eq!(a.clone().merge(b.clone()), b.clone().merge(a.clone()));
        prop_assert_eq!(a.clone().merge(b.clone()).merge(c.clone()), a.clone().merge(b.clone().merge(c)));
        prop_assert_eq!(a.clone().merge(a.clone()), a);
    }

    /// Duplicate, late, and out-of-order events lead to the same state as the events in order.
    #[test]
    fn ledger_ignores_order_and_number_of_events(
        events in proptest::collection::vec((0..12_i64, some_evidence()), 1..30),
        order in proptest::collection::vec(any::<u16>(), 90),
        m in 1..4_i64, more in 0..4_i64,
    ) {
        let rules = window((m, m + more));
        let mut sorted = events.clone();
        sorted.sort_by_key(|(at, _)| *at);
        let mut in_order = MonitorLedger::new(monitor());
        for (at, evidence) in &sorted {
            in_order.record(observation(*at, evidence.clone()), &rules, &caller("a"));
        }
        let mut shuffled: Vec<_> = events.iter().flat_map(|event| [event; 3]).zip(order).collect();
        shuffled.sort_by_key(|(_, key)| *key);
        let mut any_order = MonitorLedger::new(monitor());
        for ((at, evidence), _) in shuffled {
            any_order.record(observation(*at, evidence.clone()), &rules, &caller("b"));
        }
        prop_assert_eq!(&in_order.datapoints, &any_order.datapoints);
        prop_assert_eq!(in_order.alert.status, any_order.alert.status);
        prop_assert_eq!(in_order.health.status, any_order.health.status);
        prop_assert_eq!(in_order.check_types, any_order.check_types);
    }

    /// A restart can be late or duplicated, before or after the executions that it affects.
    #[test]
    fn ledger_ignores_when_a_restart_arrives(
        inputs in proptest::collection::vec(some_input(), 1..30),
        order in proptest::collection::vec(any::<u16>(), 90),
        rules in some_rules(),
    ) {
        let mut sorted = inputs.clone();
        sorted.sort_by_key(LedgerInput::minute);
        let in_order = LedgerInput::apply_all(&sorted, &rules);
        let mut shuffled: Vec<_> = inputs.iter().flat_map(|input| [input; 3]).zip(order).collect();
        shuffled.sort_by_key(|(_, key)| *key);
        let any_order = LedgerInput::apply_all(shuffled.into_iter().map(|(input, _)| input), &rules);
        // A ledger that starts at the last restart.
        let restarts = sorted.iter().filter(|input| matches!(input, LedgerInput::Restart(_)));
        let since = restarts.map(LedgerInput::minute).max();
        let later = sorted.iter().filter(|input| since.is_none_or(|since| input.minute() > since));
        let restarted = LedgerInput::apply_all(later, &rules);
        prop_assert_eq!(&in_order.datapoints, &any_order.datapoints);
        prop_assert_eq!(in_order.restarted_at, any_order.restarted_at);
        prop_assert_eq!(in_order.health.status, any_order.health.status);
        let keeps = matches!(rules.window, AlertWindow::Time { window, .. }
            if window.treat_missing_data() == TreatMissingData::Ignore);
        // If missing periods keep the status, the order of executions matters, with and without a restart.
        if !keeps {
            prop_assert_eq!(in_order.alert.status, any_order.alert.status);
            prop_assert_eq!(in_order.judged(&rules).count(), restarted.judged(&rules).count());
            match rules.window {
                AlertWindow::Executions(_) => prop_assert_eq!(in_order.alert.status, restarted.alert.status),
                AlertWindow::Time { .. } if restarted.datapoints.is_empty() => {
                    prop_assert_eq!(in_order.alert.status, AlertStatus::Ok);
                }
                AlertWindow::Time { .. } => {}
            }
        }
    }

    /// With executions in order, a restart may arrive at any position, for any window.
    #[test]
    fn late_restart_has_the_same_result(
        executions in proptest::collection::btree_map(0..14_i64, some_evidence(), 1..14),
        at in -1..14_i64, arrival in 0..15_usize, rules in some_rules(),
    ) {
        let executions = executions.into_iter().map(|(at, evidence)| LedgerInput::Execution(at, evidence));
        let executions: Vec<_> = executions.collect();
        let arriving_at = |position: usize| {
            let mut inputs = executions.clone();
            inputs.insert(position.min(inputs.len()), LedgerInput::Restart(at));
            LedgerInput::apply_all(&inputs, &rules)
        };
        let in_time = arriving_at(executions.iter().filter(|input| input.minute() < at * 60 + 30).count());
        prop_assert_eq!(in_time.alert.status, arriving_at(arrival).alert.status);
    }
}

#[test]
fn restart_ends_the_alert() {
    let mut ledger = MonitorLedger::new(monitor());
    let rules = window((2, 3));
    for at in 0..3 {
        ledger.record(
            observation(at, evidence(DatapointState::Violations)),
            &rules,
            &caller("a"),
        );
    }
    assert_eq!(ledger.alert.status, AlertStatus::InAlert);
    let text = serde_json::to_string(&ledger).unwrap();
    assert!(!text.contains("restarted_at"), "an unset time is not written");
    ledger.outbox = machine::Outbox::default();
    assert!(ledger.restart(half_past(2), &rules, &caller("a")));
    let [entry] = ledger.outbox.entries() else {
        panic!("one effect")
    };
    let MonitorEffect::PutAlertStateChange(change) = &entry.effect else {
        panic!("a transition")
    };
    assert_eq!(ledger.last_change.as_ref(), Some(change));
    assert_eq!(
        (change.alert_status, change.previous_alert_status, change.transition),
        (AlertStatus::Ok, AlertStatus::InAlert, 2)
    );
    assert_eq!((change.breaching, change.datapoints.len()), (0, 0));
    insta::assert_snapshot!(change.reason, @"the baseline changed, so only executions scheduled since 2026-09-21 16:30 UTC count; none of them has a result yet");
    // Duplicate and older restarts have no effect.
    let before = ledger.clone();
    for at in [2, 1] {
        assert!(!ledger.restart(half_past(at), &rules, &caller("b")));
    }
    assert_eq!(ledger, before);
    // A late execution from before the restart is recorded and does not count.
    ledger.record(
        observation(-1, evidence(DatapointState::Violations)),
        &rules,
        &caller("b"),
    );
    ledger.sweep(&rules, &caller("b"));
    assert_eq!((ledger.alert.status, ledger.datapoints.len()), (AlertStatus::Ok, 4));
    for at in 3..5 {
        assert_eq!(ledger.alert.status, AlertStatus::Ok);
        ledger.record(
            observation(at, evidence(DatapointState::Violations)),
            &rules,
            &caller("b"),
        );
    }
    assert_eq!(ledger.alert.status, AlertStatus::InAlert);
    assert_eq!(ledger.judged(&rules).collect::<Vec<_>>(), [hour(4), hour(3)]);
    let read: MonitorLedger = serde_json::from_str(&serde_json::to_string(&ledger).unwrap()).unwrap();
    assert_eq!(read, ledger);
}

#[test]
fn late_restart_evaluates_executions_since_then() {
    use DatapointState::{Clean, Violations};
    let rules = window((2, 3));
    let restarted = |states: [DatapointState; 4]| {
        let mut ledger = MonitorLedger::new(monitor());
        for (at, state) in (0..).zip(states) {
            ledger.record(observation(at, evidence(state)), &rules, &caller("a"));
        }
        ledger.restart(half_past(1), &rules, &caller("a"));
        (ledger.alert, ledger.last_change.unwrap().reason)
    };
    let (alert, reason) = restarted([Violations, Violations, Violations, Clean]);
    assert_eq!((alert.status, alert.transition), (AlertStatus::Ok, 2));
    insta::assert_snapshot!(reason, @"the baseline changed, so only executions scheduled since 2026-09-21 15:30 UTC count; 1 of the last 2 executions had violations; alert at 2 of 3");
    let (alert, _) = restarted([Violations; 4]);
    assert_eq!(
        (alert.status, alert.transition),
        (AlertStatus::InAlert, 1),
        "no transition"
    );
}

#[test]
fn periods_before_a_restart_are_not_missing() {
    let rules = window_over_time((1, 3), TreatMissingData::Breaching);
    let mut ledger = MonitorLedger::new(monitor());
    for at in 0..5 {
        ledger.record(
            observation(at, evidence(DatapointState::Violations)),
            &rules,
            &caller("a"),
        );
    }
    ledger.restart(half_past(4), &rules, &caller("a"));
    assert_eq!(ledger.alert.status, AlertStatus::Ok);
    // The period of the restart has no execution since then.
    ledger.restart(hour(5), &rules, &caller("a"));
    ledger.record(observation(5, evidence(DatapointState::Clean)), &rules, &caller("a"));
    assert_eq!(ledger.alert.status, AlertStatus::Ok);
    ledger.record(observation(7, evidence(DatapointState::Clean)), &rules, &caller("a"));
    assert_eq!(
        ledger.alert.status,
        AlertStatus::InAlert,
        "the period of 06:00 is missing"
    );
}

#[test]
fn partly_filled_window_is_in_alert_at_m_breaching() {
    let mut ledger = MonitorLedger::new(monitor());
    let mut status = Vec::new();
    for (at, state) in (0..).zip("vv..v..v".chars()) {
        let state = if state == 'v' {
            DatapointState::Violations
        } else {
            DatapointState::Clean
        };
        ledger.record(observation(at, evidence(state)), &window((2, 3)), &caller("a"));
        status.push(ledger.alert.status == AlertStatus::InAlert);
    }
    assert_eq!(status, [false, true, true, false, false, false, false, false]);
    assert_eq!(ledger.alert.transition, 2);
}

#[test]
fn failed_execution_takes_no_slot() {
    let mut ledger = MonitorLedger::new(monitor());
    for (at, state) in (0..).zip([
        DatapointState::Violations,
        DatapointState::Failed,
        DatapointState::Violations,
    ]) {
        ledger.record(observation(at, evidence(state)), &window((2, 2)), &caller("a"));
    }
    assert_eq!(ledger.alert.status, AlertStatus::InAlert);
}

#[test]
fn duplicate_has_no_effects() {
    let mut ledger = MonitorLedger::new(monitor());
    let violations = || observation(0, evidence(DatapointState::Violations));
    assert_eq!(
        ledger.record(violations(), &window((1, 1)), &caller("a")),
        Recorded::New
    );
    let pending = ledger.outbox.entries().len();
    assert_eq!(pending, 2, "metrics and one transition");
    let before = ledger.clone();
    assert_eq!(
        ledger.record(violations(), &window((1, 1)), &caller("b")),
        Recorded::Duplicate
    );
    assert_eq!(ledger, before);
}

#[test]
fn job_after_report_publishes_no_metrics_again() {
    let mut ledger = MonitorLedger::new(monitor());
    ledger.record(
        observation(0, evidence(DatapointState::Violations)),
        &window((1, 1)),
        &caller("a"),
    );
    let job = Evidence {
        report: None,
        job: Some(job(JobStatus::Completed, Some(3), 1)),
        ..Evidence::default()
    };
    assert_eq!(
        ledger.record(observation(0, job), &window((1, 1)), &caller("b")),
        Recorded::Changed
    );
    assert_eq!(ledger.outbox.entries().len(), 2);
}

#[test]
fn exit_message_with_violations_is_never_clean() {
    let empty_report = Evidence {
        report: Some(report(0, 1, 1)),
        job: Some(job(JobStatus::Completed, Some(9), 1)),
        ..Evidence::default()
    };
    assert_eq!(empty_report.state(), DatapointState::Violations);
    assert_eq!(empty_report.violations(), Some(9));
    let no_report = Evidence {
        report: None,
        job: Some(job(JobStatus::Completed, Some(9), 1)),
        ..Evidence::default()
    };
    assert_eq!(no_report.state(), DatapointState::Violations);
    assert_eq!(Evidence::default().state(), DatapointState::Missing);
    let failed = Evidence {
        report: None,
        job: Some(job(JobStatus::Failed, Some(0), 1)),
        ..Evidence::default()
    };
    assert_eq!((failed.state(), failed.violations()), (DatapointState::Failed, None));
}

#[test]
fn ledger_is_bounded_and_rejects_older_executions() {
    let mut ledger = MonitorLedger::new(monitor());
    let kept = i64::try_from(MAX_DATAPOINTS).unwrap();
    for at in 0..kept + 50 {
        ledger.record(
            observation(at, evidence(DatapointState::Clean)),
            &window((1, 1)),
            &caller("a"),
        );
        ledger.outbox = machine::Outbox::default();
    }
    assert_eq!(ledger.datapoints.len(), MAX_DATAPOINTS);
    let late = observation(10, evidence(DatapointState::Violations));
    assert_eq!(ledger.record(late, &window((1, 1)), &caller("a")), Recorded::TooOld);
    assert!(ledger.outbox.is_empty());
}

#[test]
fn clean_execution_publishes_zeros() {
    let mut ledger = MonitorLedger::new(monitor());
    ledger.record(
        observation(0, evidence(DatapointState::Violations)),
        &window((2, 2)),
        &caller("a"),
    );
    ledger.outbox = machine::Outbox::default();
    ledger.record(
        observation(1, evidence(DatapointState::Clean)),
        &window((2, 2)),
        &caller("a"),
    );
    let [entry] = ledger.outbox.entries() else {
        panic!("one effect")
    };
    let MonitorEffect::PublishMetrics(metrics) = &entry.effect else {
        panic!("metrics")
    };
    let of = |name| {
        metrics
            .iter()
            .filter(|m| m.name == name)
            .map(|m| (m.dimensions.len(), m.value))
            .collect::<Vec<_>>()
    };
    assert_eq!(of(MetricName::ConstraintViolations), [(2, 0.0), (3, 0.0)]);
    assert_eq!(of(MetricName::Breaching), [(2, 0.0)]);
    assert_eq!(of(MetricName::ExecutionFailed), [(2, 0.0)]);
    assert!(metrics.iter().all(|metric| metric.timestamp == hour(1)));
}

#[test]
fn failed_execution_publishes_no_violations() {
    let mut ledger = MonitorLedger::new(monitor());
    ledger.record(
        observation(0, evidence(DatapointState::Failed)),
        &window((1, 1)),
        &caller("a"),
    );
    let [entry] = ledger.outbox.entries() else {
        panic!("one effect")
    };
    let MonitorEffect::PublishMetrics(metrics) = &entry.effect else {
        panic!("metrics")
    };
    assert_eq!(
        metrics.iter().map(|m| (m.name, m.value)).collect::<Vec<_>>(),
        [(MetricName::ExecutionFailed, 1.0)]
    );
}

#[test]
fn invalid_windows_are_rejected() {
    let rejected = |m, n| ExecutionWindow::new(m, n).unwrap_err().to_string();
    insta::assert_snapshot!(rejected(0, 1), @"datapoints_to_alert is 0, but must be from 1 to 100");
    insta::assert_snapshot!(rejected(1, 101), @"evaluation_period is 101, but must be from 1 to 100");
    insta::assert_snapshot!(rejected(3, 2), @"datapoints_to_alert (3) must not be greater than evaluation_period (2)");
    assert!(serde_json::from_str::<ExecutionWindow>(r#"{"datapoints_to_alert":3,"evaluation_period":2}"#).is_err());
}
