//! The stored form of ledgers: documents of earlier versions, their size, and datapoints that must not stay.
#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test fails by panicking")]

use alerting::{
    AlertStateChange, AlertStatus, AlertWindow, DatapointState, DropOutcome, Evidence, ExecutionEvidence,
    ExecutionStatus, ExecutionWindow, JobEvidence, JobStatus, MAX_DATAPOINTS, MAX_LEDGER_BYTES, Monitor,
    MonitorDatapointDrop, MonitorEffect, MonitorLedger, MonitorRules, Observation, Pattern, Period, PeriodLength,
    Recorded, ReportEvidence, Severity, TimeWindow, TreatMissingData, ViolationRule,
};
use jiff::{SignedDuration, Timestamp};
use machine::Caller;
use model_monitor::{ConstraintCheckType, MonitorType, Quantity, Subject, Violation, ViolationReport};

use DatapointState::{Clean, Failed, Missing, NoData, Violations};

/// A ledger as it was stored in November 2026: 2 of 3, in alert, the last three executions clean.
const STORED: &str = include_str!("fixtures/ledger-2026-11.json");

fn hour(n: i64) -> Timestamp {
    "2026-09-21T14:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_hours(n)
}

fn caller(now: Timestamp) -> Caller {
    Caller {
        id: "request".into(),
        now,
    }
}

fn monitor() -> Monitor {
    Monitor {
        schedule: "Churn-DQ".into(),
        endpoint: Some("churn".into()),
        model: "churn-model".into(),
        monitor_type: Some(MonitorType::DataQuality),
    }
}

fn window(m: i64, n: i64) -> MonitorRules {
    MonitorRules {
        window: AlertWindow::Executions(ExecutionWindow::new(m, n).unwrap()),
        policy_version: "0123456789ab".into(),
        ..MonitorRules::default()
    }
}

fn over_time(m: i64, n: i64, period: &str) -> MonitorRules {
    MonitorRules {
        window: AlertWindow::Time {
            window: TimeWindow::new(m, n, TreatMissingData::Missing).unwrap(),
            period: PeriodLength::parse(period).unwrap(),
        },
        ..window(1, 1)
    }
}

/// Report with this many violations, with names and descriptions of Model Monitor's usual length.
fn report(at: i64, violations: u32) -> ReportEvidence {
    let violations = (0..violations).map(|n| Violation {
        subject: Subject::Feature(format!("customer_service_calls_{n}")),
        check_type: ConstraintCheckType::new("baseline_drift_check"),
        observed: Some(Quantity::Number(0.2 + f64::from(n) / 100.0)),
        threshold: Some(Quantity::Number(0.1)),
        description: Some("Baseline drift distance: 0.4172 exceeds threshold: 0.1".into()),
        extra: serde_json::Map::new(),
    });
    let report = ViolationReport {
        version: None,
        monitor_type: None,
        violations: violations.collect(),
        extra: serde_json::Map::new(),
    };
    let folder = hour(at).strftime("%Y/%m/%d/%H");
    let uri = format!(
        "s3://example-model-monitor-reports/monitoring/reports/churn-endpoint/churn-data-quality/{folder}/constraint_violations.json"
    );
    let written = hour(at) + SignedDuration::from_mins(12);
    let sequencer = Some("0066E2B7C4D5F60718");
    ReportEvidence::new(
        uri,
        format!("\"8c6d3bd9b2f2f0b6a1a1b1f9a6{at:06}\""),
        written,
        &report,
        20,
    )
    .with_sequencer(sequencer)
}

fn job(at: i64, violations: u64) -> JobEvidence {
    JobEvidence {
        processing_job_arn: format!(
            "arn:aws:sagemaker:us-east-1:111122223333:processing-job/data-quality-monitoring-{at:012}-2f3a9c5b7d1e2f4a6b8c0d1e"
        ),
        status: JobStatus::Completed,
        violations: Some(violations),
        reason: Some(format!(
            "CompletedWithViolations: Job completed successfully with {violations} violations."
        )),
        ended_at: hour(at) + SignedDuration::from_mins(13),
    }
}

fn violations(at: i64, count: u32) -> Evidence {
    Evidence {
        report: Some(report(at, count)),
        job: Some(job(at, count.into())),
        execution: None,
    }
}

fn clean(at: i64) -> Evidence {
    Evidence {
        execution: Some(ExecutionEvidence {
            status: ExecutionStatus::Completed,
            reason: None,
            last_modified: hour(at),
        }),
        ..Evidence::default()
    }
}

fn record(ledger: &mut MonitorLedger, at: i64, evidence: Evidence, rules: &MonitorRules, now: i64) -> Recorded {
    let observation = Observation {
        monitor: monitor(),
        scheduled_time: hour(at),
        evidence,
    };
    ledger.record(observation, rules, &caller(hour(now)))
}

/// Settles all effects. Returns the alert events.
fn settle(ledger: &mut MonitorLedger) -> Vec<AlertStateChange> {
    let entries = ledger.outbox.entries().to_vec();
    let changes = entries.into_iter().filter_map(|entry| {
        ledger.outbox.settle(&entry.id);
        match entry.effect {
            MonitorEffect::PutAlertStateChange(change) => Some(*change),
            _ => None,
        }
    });
    changes.collect()
}

fn size(ledger: &MonitorLedger) -> usize {
    serde_json::to_vec(ledger).unwrap().len()
}

#[test]
fn stored_ledger_of_an_earlier_version_is_continued() {
    let mut ledger: MonitorLedger = serde_json::from_str(STORED).unwrap();
    let states = |ledger: &MonitorLedger| -> Vec<DatapointState> {
        ledger.datapoints.iter().map(alerting::Datapoint::state).collect()
    };
    let mut expected = vec![
        Clean, Clean, Clean, Violations, Violations, Failed, NoData, Missing, Clean, Clean, Clean, Clean,
    ];
    assert_eq!(states(&ledger), expected);
    assert_eq!((ledger.alert.status, ledger.alert.transition), (AlertStatus::Ok, 2));
    assert_eq!(ledger.last_change.as_ref().unwrap().transition, 2);
    assert_eq!((ledger.history.len(), ledger.health.transition), (2, 2));
    assert!(!ledger.outbox.is_empty());
    assert!(ledger.past.is_empty() && ledger.dropped.is_empty());
    let listed = ledger.datapoints[4].evidence.report.clone().unwrap();
    assert_eq!((listed.top.len(), listed.rest.len(), listed.sequencer), (20, 5, None));
    // What the earlier version wrote is written again, unchanged.
    let stored: serde_json::Value = serde_json::from_str(STORED).unwrap();
    assert_eq!(serde_json::to_value(&ledger).unwrap(), stored);
    let rules = window(2, 3);
    assert_eq!(record(&mut ledger, 12, violations(12, 2), &rules, 12), Recorded::New);
    assert_eq!(record(&mut ledger, 13, violations(13, 2), &rules, 13), Recorded::New);
    expected.extend([Violations, Violations]);
    assert_eq!(states(&ledger), expected);
    assert_eq!(
        (ledger.alert.status, ledger.alert.transition),
        (AlertStatus::InAlert, 3)
    );
}

#[test]
fn execution_of_the_future_is_not_recorded() {
    let rules = window(1, 1);
    let mut ledger = MonitorLedger::new(monitor());
    for at in [3, 24, 876_000] {
        assert_eq!(record(&mut ledger, at, violations(at, 2), &rules, 0), Recorded::Ahead);
    }
    assert_eq!(ledger, MonitorLedger::new(monitor()));
    assert_eq!(record(&mut ledger, 2, violations(2, 2), &rules, 0), Recorded::New);
}

#[test]
fn stored_datapoint_of_the_future_does_not_blind_the_monitor() {
    let rules = window(1, 1);
    let future = |evidence: Evidence| {
        let mut ledger = MonitorLedger::new(monitor());
        record(&mut ledger, 0, clean(0), &rules, 0);
        // An earlier version recorded it.
        record(&mut ledger, 876_000, evidence, &rules, 876_000);
        settle(&mut ledger);
        ledger
    };
    let mut ledger = future(clean(876_000));
    assert_eq!(record(&mut ledger, 1, violations(1, 2), &rules, 1), Recorded::New);
    let changes = settle(&mut ledger);
    assert_eq!(changes.len(), 1);
    assert_eq!(changes[0].alert_status, AlertStatus::InAlert);
    assert_eq!(ledger.datapoints.len(), 2);
    let dropped = &ledger.dropped[0];
    assert_eq!(
        (dropped.scheduled_time, dropped.by.as_str()),
        (hour(876_000), "driftwarden")
    );

    // In alert because of the future: the sweep ends the alert.
    let mut ledger = future(violations(876_000, 2));
    assert_eq!(ledger.alert.status, AlertStatus::InAlert);
    ledger.sweep(&rules, &caller(hour(1)));
    let changes = settle(&mut ledger);
    assert_eq!(changes.len(), 1);
    assert_eq!(changes[0].alert_status, AlertStatus::Ok);

    // Without another datapoint.
    let mut ledger = MonitorLedger::new(monitor());
    record(&mut ledger, 876_000, violations(876_000, 2), &rules, 876_000);
    settle(&mut ledger);
    ledger.sweep(&rules, &caller(hour(1)));
    assert_eq!((ledger.alert.status, settle(&mut ledger).len()), (AlertStatus::Ok, 1));
    ledger.sweep(&rules, &caller(hour(2)));
    assert!(settle(&mut ledger).is_empty());

    // The same with a restart, and when that hour has come.
    let mut ledger = future(violations(876_000, 2));
    assert!(ledger.restart(hour(0), &rules, &caller(hour(1))));
    assert_eq!(ledger.alert.status, AlertStatus::Ok);
    let real = violations(876_000, 2);
    assert_eq!(record(&mut ledger, 876_000, real, &rules, 876_001), Recorded::New);
    assert_eq!(ledger.alert.status, AlertStatus::InAlert);
}

fn command(at: i64, time: i64) -> MonitorDatapointDrop {
    MonitorDatapointDrop {
        monitoring_schedule: "Churn-DQ".into(),
        scheduled_time: hour(at),
        by: "ada".into(),
        time: hour(time),
        reason: "report of another model".into(),
    }
}

#[test]
fn dropped_datapoint_is_judged_no_more_and_recorded() {
    let rules = window(1, 1);
    let mut ledger = MonitorLedger::new(monitor());
    record(&mut ledger, 0, clean(0), &rules, 0);
    record(&mut ledger, 1, violations(1, 2), &rules, 1);
    settle(&mut ledger);
    let drop = |ledger: &mut MonitorLedger, at, time, now| {
        ledger.drop_datapoint(&command(at, time), &rules, &caller(hour(now)))
    };
    assert_eq!(drop(&mut ledger, 5, 6, 6), DropOutcome::Absent);
    assert_eq!(drop(&mut ledger, 1, 3, 4), DropOutcome::Dropped);
    let changes = settle(&mut ledger);
    assert_eq!((changes.len(), changes[0].alert_status), (1, AlertStatus::Ok));
    let dropped = &ledger.dropped[0];
    assert_eq!(
        (dropped.by.as_str(), dropped.time, dropped.state),
        ("ada", hour(3), Violations)
    );
    assert_eq!(dropped.reason, "report of another model");
    assert!(ledger.is_dropped(hour(1)) && !ledger.is_dropped(hour(0)));

    // Repeated events and the sweep do not bring it back, repeated commands change nothing.
    let before = ledger.clone();
    assert_eq!(record(&mut ledger, 1, violations(1, 2), &rules, 4), Recorded::Dropped);
    assert_eq!(
        record(&mut ledger, 1, Evidence::default(), &rules, 4),
        Recorded::Dropped
    );
    assert_eq!(drop(&mut ledger, 1, 3, 5), DropOutcome::Absent);
    assert_eq!(ledger, before);

    // A report that was written after the command counts, and a late copy of the command does not remove it.
    let mut newer = violations(1, 2);
    newer.report.as_mut().unwrap().last_modified = hour(4);
    assert_eq!(record(&mut ledger, 1, newer, &rules, 5), Recorded::New);
    assert_eq!(ledger.alert.status, AlertStatus::InAlert);
    assert_eq!(drop(&mut ledger, 1, 3, 6), DropOutcome::Newer);
    assert!(!ledger.is_dropped(hour(1)));
    assert_eq!(ledger.datapoints.len(), 2);
    // A clock that is ahead hides nothing.
    assert_eq!(drop(&mut ledger, 1, 1_000, 7), DropOutcome::Dropped);
    assert_eq!(ledger.dropped.len(), 1);
    assert_eq!(ledger.dropped[0].time, hour(7));
}

#[test]
fn number_of_recorded_drops_is_bounded() {
    let rules = window(1, 1);
    let mut ledger = MonitorLedger::new(monitor());
    for at in 0..80 {
        record(&mut ledger, at, clean(at), &rules, at);
        let long = MonitorDatapointDrop {
            reason: "x".repeat(5_000),
            ..command(at, at)
        };
        assert_eq!(
            ledger.drop_datapoint(&long, &rules, &caller(hour(at))),
            DropOutcome::Dropped
        );
        settle(&mut ledger);
    }
    assert_eq!(ledger.dropped.len(), 50);
    assert!(size(&ledger) < 40_000, "{}", size(&ledger));
}

#[test]
fn ledger_of_large_reports_stays_within_its_limit() {
    for rules in [window(3, 5), over_time(4, 4, "1w")] {
        let mut ledger = MonitorLedger::new(monitor());
        let mut largest = 0;
        for at in 0..330 {
            assert_eq!(record(&mut ledger, at, violations(at, 300), &rules, at), Recorded::New);
            // With the pending effects of one execution.
            largest = largest.max(size(&ledger));
            settle(&mut ledger);
        }
        assert!(largest <= MAX_LEDGER_BYTES, "{largest} bytes with {:?}", rules.window);
        assert_eq!(ledger.datapoints.len(), MAX_DATAPOINTS);
        // The latest report has its violations.
        let newest = ledger.datapoints.back().unwrap().evidence.report.clone().unwrap();
        assert_eq!((newest.top.len(), newest.rest.len()), (20, 180));
        // Duplicates of condensed datapoints are recognized.
        let before = ledger.clone();
        for at in [31, 150, 320, 329] {
            assert_eq!(
                record(&mut ledger, at, violations(at, 300), &rules, 329),
                Recorded::Duplicate,
                "{at}"
            );
        }
        assert_eq!(ledger, before);
        // What an earlier version stored is bounded by the next sweep.
        let mut stored = MonitorLedger::new(monitor());
        for at in 0..MAX_DATAPOINTS {
            let at = i64::try_from(at).unwrap();
            stored.replay(hour(at), violations(at, 300), &rules, hour(at));
        }
        assert!(size(&stored) > 7_000_000, "{}", size(&stored));
        stored.sweep(&rules, &caller(hour(300)));
        settle(&mut stored);
        assert!(size(&stored) <= MAX_LEDGER_BYTES, "{}", size(&stored));
    }
}

#[test]
fn ledger_of_hostile_reports_stays_within_its_limit() {
    let name = "\u{1}".repeat(2_000);
    let rules = window(50, 100);
    let mut ledger = MonitorLedger::new(monitor());
    let mut largest = 0;
    for at in 0..200_i64 {
        let violations = (0..200).map(|n| Violation {
            subject: Subject::Facet {
                facet: name.clone(),
                value: name.clone(),
                metric: name.clone(),
            },
            check_type: ConstraintCheckType::new(&format!("{n}-{at}-{name}")),
            observed: Some(Quantity::Text(name.clone())),
            threshold: Some(Quantity::Text(name.clone())),
            description: Some(name.clone()),
            extra: serde_json::Map::new(),
        });
        let report = ViolationReport {
            version: None,
            monitor_type: None,
            violations: violations.collect(),
            extra: serde_json::Map::new(),
        };
        let uri = format!("s3://reports/{}/{at}.json", "k".repeat(1_000));
        let evidence = Evidence {
            report: Some(ReportEvidence::new(uri, format!("{at}"), hour(at), &report, 20)),
            job: Some(JobEvidence {
                status: JobStatus::Failed,
                reason: Some(name.clone()),
                ..job(at, 200)
            }),
            execution: Some(ExecutionEvidence {
                status: ExecutionStatus::Failed,
                reason: Some(name.clone()),
                last_modified: hour(at),
            }),
        };
        record(&mut ledger, at, evidence, &rules, at);
        settle(&mut ledger);
        largest = largest.max(size(&ledger));
    }
    assert!(largest <= MAX_LEDGER_BYTES, "{largest} bytes");
    assert_eq!(ledger.alert.status, AlertStatus::InAlert);
}

fn rule(check_type: Option<&str>, feature: Option<&str>, counts: bool, severity: Severity) -> ViolationRule {
    ViolationRule {
        check_type: check_type.map(Pattern::new),
        feature: feature.map(Pattern::new),
        counts,
        severity,
        ..ViolationRule::default()
    }
}

/// The oldest datapoint with this many violations, after 60 clean ones have condensed it.
fn condensed(violating: u32, rules: &MonitorRules) -> alerting::Datapoint {
    let mut ledger = MonitorLedger::new(monitor());
    for at in 0..=60 {
        let evidence = if at == 0 { violations(at, violating) } else { clean(at) };
        record(&mut ledger, at, evidence, rules, at);
    }
    ledger.datapoints[0].clone()
}

#[test]
fn condensed_datapoint_keeps_its_result() {
    let muted = MonitorRules {
        violations: vec![rule(None, Some("customer_*"), false, Severity::Warning)],
        ..window(1, 1)
    };
    let critical = MonitorRules {
        violations: vec![rule(None, Some("*_7"), true, Severity::Critical)],
        ..window(1, 1)
    };
    let drift_ignored = MonitorRules {
        violations: vec![rule(Some("baseline_*"), None, false, Severity::Warning)],
        policy_version: "new".into(),
        ..window(1, 1)
    };
    let other = |rules: &MonitorRules| MonitorRules {
        policy_version: "new".into(),
        ..rules.clone()
    };
    for (count, rules, severity) in [
        (300, &window(1, 1), Some(Severity::Warning)),
        (300, &muted, None),
        (199, &muted, None),
        (199, &critical, Some(Severity::Critical)),
        (1, &muted, None),
    ] {
        let unlisted = count > 200;
        let severity = severity.or((unlisted).then_some(Severity::Warning));
        let datapoint = condensed(count, rules);
        let report = datapoint.evidence.report.as_ref().unwrap();
        assert!(report.judged.is_some() && report.top.is_empty());
        assert_eq!(datapoint.state(), Violations);
        assert_eq!(rules.severity(&datapoint), severity, "{count} violations");
        assert_eq!(rules.judge(&datapoint) == Period::Breaching, severity.is_some());
        // Another policy version keeps the result if it needs the violations that are lost,
        assert_eq!(other(rules).severity(&datapoint), severity);
        // and judges again what it can judge.
        assert_eq!(drift_ignored.severity(&datapoint), None);
        assert_eq!(drift_ignored.check_types(report), Vec::<String>::new());
    }
    // The violations of small reports are all kept as summaries, so each policy can judge them.
    let small = condensed(1, &window(1, 1));
    assert_eq!(small.evidence.report.as_ref().unwrap().rest.len(), 1);
    assert_eq!(other(&muted).severity(&small), None);
    let large = condensed(199, &window(1, 1));
    assert_eq!(
        other(&muted).severity(&large),
        Some(Severity::Warning),
        "as judged before"
    );
    assert_eq!(
        other(&muted).check_types(large.evidence.report.as_ref().unwrap()),
        ["baseline_drift_check"]
    );
}

#[test]
fn late_report_of_condensed_datapoint_is_judged() {
    let rules = window(1, 1);
    let mut ledger = MonitorLedger::new(monitor());
    for at in 0..=60 {
        record(&mut ledger, at, violations(at, 30), &rules, at);
    }
    assert!(ledger.datapoints[0].evidence.report.as_ref().unwrap().top.is_empty());
    let mut corrected = report(0, 0);
    corrected.last_modified = hour(61);
    let evidence = Evidence {
        report: Some(corrected),
        job: None,
        execution: Some(ExecutionEvidence {
            status: ExecutionStatus::Completed,
            reason: None,
            last_modified: hour(61),
        }),
    };
    assert_eq!(record(&mut ledger, 0, evidence, &rules, 61), Recorded::Changed);
    assert_eq!(ledger.datapoints[0].evidence.report.as_ref().unwrap().violations, 0);
}

#[test]
fn report_replaced_within_a_second_is_ordered_by_sequencer() {
    let version = |etag: &str, sequencer: Option<&str>, count: u32| {
        let report = ReportEvidence {
            etag: etag.into(),
            ..report(0, count)
        };
        Evidence {
            report: Some(report.with_sequencer(sequencer)),
            ..Evidence::default()
        }
    };
    // The corrected report is clean, and its ETag is smaller.
    for (first, second) in [
        ("0066E2B7", "0066E2B8"),
        ("0066E2B7", "0066E2B70001"),
        ("0066e2ba", "0066E2BB00"),
    ] {
        let (wrong, corrected) = (version("f", Some(first), 2), version("a", Some(second), 0));
        assert_eq!(wrong.clone().merge(corrected.clone()), corrected, "{first} {second}");
        assert_eq!(corrected.clone().merge(wrong), corrected, "{first} {second}");
    }
    // Padding with zeros does not change a sequencer. Without sequencers, the larger ETag wins as before.
    let (short, long) = (version("a", Some("0066E2"), 2), version("b", Some("0066E200"), 0));
    assert_eq!(short.merge(long.clone()), long);
    let (a, b) = (version("a", None, 2), version("b", Some("not hexadecimal"), 0));
    assert_eq!(b.report.as_ref().unwrap().sequencer, None);
    assert_eq!(a.merge(b.clone()), b);
}

#[test]
fn policy_may_lengthen_the_window_later() {
    let mut ledger = MonitorLedger::new(monitor());
    let daily = |ledger: &mut MonitorLedger, days: std::ops::Range<i64>, rules: &MonitorRules| {
        for hour in days.start * 24..days.end * 24 {
            let evidence = if hour % 24 == 3 {
                violations(hour, 300)
            } else {
                clean(hour)
            };
            record(ledger, hour, evidence, rules, hour);
            settle(ledger);
        }
    };
    daily(&mut ledger, 0..60, &window(3, 3));
    assert_eq!(ledger.alert.status, AlertStatus::Ok);
    for (m, n, period) in [(4, 4, "1w"), (2, 2, "1mo"), (29, 30, "1d"), (49, 50, "1d")] {
        let mut ledger = ledger.clone();
        ledger.sweep(&over_time(m, n, period), &caller(hour(60 * 24)));
        assert_eq!(ledger.alert.status, AlertStatus::InAlert, "{m} of {n} {period}");
        let change = ledger.last_change.unwrap();
        assert!(change.datapoints.len() <= 100 && change.breaching <= change.datapoints.len());
        assert_eq!(change.severity, Some(Severity::Warning));
        assert_eq!(change.violations.len(), 20);
        assert!(
            change.reason.contains(&format!("of the last {n} periods of {period}")),
            "{}",
            change.reason
        );
    }
}

/// Evidence with one report of these check types, one violation each.
fn custom_report(check_types: &[&str]) -> Evidence {
    let violations = check_types.iter().map(|check_type| Violation {
        subject: Subject::Feature("age".into()),
        check_type: ConstraintCheckType::new(check_type),
        observed: Some(Quantity::Number(0.2)),
        threshold: Some(Quantity::Number(0.1)),
        description: None,
        extra: serde_json::Map::new(),
    });
    let report = ViolationReport {
        version: None,
        monitor_type: None,
        violations: violations.collect(),
        extra: serde_json::Map::new(),
    };
    Evidence {
        report: Some(ReportEvidence::new(
            "s3://reports/0".into(),
            "0".into(),
            hour(0),
            &report,
            20,
        )),
        ..Evidence::default()
    }
}

fn failure(reason: &str) -> Evidence {
    Evidence {
        execution: Some(ExecutionEvidence {
            status: ExecutionStatus::Failed,
            reason: Some(reason.to_owned()),
            last_modified: hour(0),
        }),
        ..Evidence::default()
    }
}

/// A ledger in which 60 later executions have condensed the first one.
fn condensed_ledger(first: Evidence, rules: &MonitorRules) -> MonitorLedger {
    let mut ledger = MonitorLedger::new(monitor());
    record(&mut ledger, 0, first, rules, 0);
    for at in 1..=60 {
        record(&mut ledger, at, clean(at), rules, at);
    }
    ledger
}

#[test]
fn duplicate_of_any_condensed_evidence_is_recognized() {
    let only_job = |status| Evidence {
        job: Some(JobEvidence { status, ..job(0, 9) }),
        ..Evidence::default()
    };
    for evidence in [
        Evidence {
            report: Some(report(0, 30)),
            ..Evidence::default()
        },
        only_job(JobStatus::Completed),
        only_job(JobStatus::Failed),
        failure(&"x".repeat(300)),
        // The cut reason is less than this one, and would lose against it.
        failure(&"漢".repeat(300)),
    ] {
        let mut ledger = condensed_ledger(evidence.clone(), &window(1, 1));
        assert_ne!(ledger.datapoints[0].evidence, evidence);
        let before = ledger.datapoints.clone();
        // A later policy does not change that.
        for version in ["0123456789ab", "new"] {
            let rules = MonitorRules {
                policy_version: version.into(),
                ..window(1, 1)
            };
            let again = record(&mut ledger, 0, evidence.clone(), &rules, 60);
            assert_eq!(again, Recorded::Duplicate, "{evidence:?}");
        }
        assert_eq!(ledger.datapoints, before);
    }
}

#[test]
fn condensed_datapoint_keeps_reasons_of_failures() {
    let reason = format!("Algorithm\nError {}", "x".repeat(300));
    let short = format!("Algorithm Error {}…", "x".repeat(200 - "Algorithm Error ".len()));
    let condensed = |evidence: Evidence| condensed_ledger(evidence, &window(1, 1)).datapoints[0].clone();
    let job = |status| {
        let evidence = JobEvidence {
            status,
            reason: Some(reason.clone()),
            ..job(0, 0)
        };
        let condensed = condensed(Evidence {
            job: Some(evidence),
            ..Evidence::default()
        });
        (condensed.state(), condensed.evidence.job.unwrap().reason)
    };
    assert_eq!(job(JobStatus::Failed), (Failed, Some(short.clone())));
    assert_eq!(job(JobStatus::Stopped), (Failed, Some(short.clone())));
    assert_eq!(job(JobStatus::Completed), (Clean, None));
    let failed = condensed(failure(&reason));
    assert_eq!(
        (failed.state(), failed.evidence.execution.unwrap().reason),
        (Failed, Some(short))
    );
    // The words that make it `NoData` may be at the end.
    let no_data = condensed(failure(&format!("{reason}: job inputs had no data")));
    let expected = Some("Job inputs had no data".to_owned());
    assert_eq!(
        (no_data.state(), no_data.evidence.execution.unwrap().reason),
        (NoData, expected)
    );
}

#[test]
fn condensed_report_counts_all_check_types() {
    let name = |letter: &str| letter.repeat(150);
    let [a, b, c] = ["a", "b", "c"].map(name);
    let check_types: [&str; 7] = [&a, &b, &b, &c, &c, &c, "z"];
    let counts = |evidence: &Evidence| -> Vec<(String, u64)> {
        let by_check_type = evidence.report.as_ref().unwrap().by_check_type.iter();
        by_check_type
            .map(|(name, count)| (name.chars().take(5).collect(), *count))
            .collect()
    };
    let pairs = |pairs: &[(&str, u64)]| -> Vec<(String, u64)> {
        pairs.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
    };
    // Names that are too long together are counted as `other`.
    let ledger = condensed_ledger(custom_report(&check_types), &window(1, 1));
    let expected = [("aaaaa", 1), ("bbbbb", 2), ("other", 3), ("z", 1)];
    assert_eq!(counts(&ledger.datapoints[0].evidence), pairs(&expected));
    let short = condensed_ledger(custom_report(&["p", "q", "q"]), &window(1, 1));
    assert_eq!(counts(&short.datapoints[0].evidence), pairs(&[("p", 1), ("q", 2)]));
    // The same holds for the check types that count.
    let counting = |ignored: &str, check_types: &[&str]| -> Vec<String> {
        let rules = MonitorRules {
            violations: vec![rule(Some(ignored), None, false, Severity::Warning)],
            ..window(1, 1)
        };
        let ledger = condensed_ledger(custom_report(check_types), &rules);
        let report = ledger.datapoints[0].evidence.report.as_ref().unwrap();
        let names = rules.check_types(report).into_iter();
        names.map(|name| name.chars().take(5).collect()).collect()
    };
    assert_eq!(counting("a*", &check_types), ["bbbbb", "z", "other"]);
    assert_eq!(counting("c*", &check_types), ["aaaaa", "bbbbb", "z"]);
    assert_eq!(counting("a*", &[&a, &b, &c, "other"]), ["bbbbb", "other"]);
    assert_eq!(counting("z", &["p", "z"]), ["p"]);
    assert_eq!(counting("*", &["p", "z"]), [""; 0]);
}

#[test]
fn condensed_report_keeps_severity_of_removed_check_type() {
    let name = |letter: &str| letter.repeat(250);
    let rules = MonitorRules {
        violations: vec![rule(Some("b*"), None, true, Severity::Critical)],
        ..window(1, 1)
    };
    let ledger = condensed_ledger(custom_report(&[&name("a"), &name("b")]), &rules);
    let datapoint = &ledger.datapoints[0];
    let names = datapoint.evidence.report.as_ref().unwrap().by_check_type.keys();
    assert_eq!(names.collect::<Vec<_>>(), [&name("a"), &"other".to_owned()]);
    assert_eq!(rules.severity(datapoint), Some(Severity::Critical));
    assert_eq!(rules.check_types(datapoint.evidence.report.as_ref().unwrap()).len(), 2);
}

#[test]
fn later_policy_judges_condensed_report_by_check_type_only() {
    let judged = MonitorRules {
        violations: vec![rule(None, Some("customer_*"), false, Severity::Warning)],
        ..window(1, 1)
    };
    let datapoint = condensed(199, &judged);
    let report = datapoint.evidence.report.as_ref().unwrap();
    assert_eq!(judged.check_types(report), [""; 0]);
    let later = |rule: ViolationRule| MonitorRules {
        violations: vec![rule],
        policy_version: "new".into(),
        ..window(1, 1)
    };
    let critical = |check_type| rule(Some(check_type), None, true, Severity::Critical);
    let far = |rule| ViolationRule {
        minimum_exceedance: 0.5,
        ..rule
    };
    let any = |pattern: &str| Some(Pattern::new(pattern));
    for (rule, severity) in [
        // These need the check type only.
        (critical("baseline_*"), Some(Severity::Critical)),
        (critical("*"), Some(Severity::Critical)),
        (rule(None, None, true, Severity::Critical), Some(Severity::Critical)),
        (critical("completeness_*"), Some(Severity::Warning)),
        (rule(Some("baseline_*"), None, false, Severity::Warning), None),
        (far(rule(Some("baseline_*"), None, false, Severity::Warning)), None),
        // These need the violations, which are lost: the result stays.
        (far(critical("baseline_*")), None),
        (rule(Some("baseline_*"), Some("*"), true, Severity::Critical), None),
        (
            ViolationRule {
                metric: any("*"),
                ..critical("baseline_*")
            },
            None,
        ),
        (
            ViolationRule {
                facet: any("*"),
                ..critical("baseline_*")
            },
            None,
        ),
    ] {
        let later = later(rule.clone());
        assert_eq!(later.severity(&datapoint), severity, "{rule:?}");
        let check_types = later.check_types(report);
        assert_eq!(check_types.len(), usize::from(severity.is_some()), "{rule:?}");
    }
}

#[test]
fn earlier_results_survive_storage() {
    for rules in [window(1, 1), over_time(1, 1, "12h")] {
        let mut ledger = MonitorLedger::new(monitor());
        for at in 0..330 {
            record(&mut ledger, at, clean(at), &rules, at);
            settle(&mut ledger);
        }
        assert!(!ledger.past.is_empty());
        let read: MonitorLedger = serde_json::from_slice(&serde_json::to_vec(&ledger).unwrap()).unwrap();
        assert_eq!(read, ledger);
    }
}

#[test]
fn earlier_results_start_at_the_restart() {
    let rules = over_time(1, 1, "1h");
    let mut ledger = MonitorLedger::new(monitor());
    for at in 0..=310 {
        if at == 20 {
            // The next midnight after the first execution.
            assert!(ledger.restart(hour(10), &rules, &caller(hour(at))));
        }
        record(&mut ledger, at, violations(at, 1), &rules, at);
        settle(&mut ledger);
    }
    let past = |ledger: &MonitorLedger| serde_json::to_value(ledger).unwrap().get("past").cloned();
    // Executions 0 to 10 are no datapoints any more.
    let hours = past(&ledger).unwrap();
    assert_eq!(hours.pointer("/hours/since").unwrap(), "2026-09-22T00:00:00Z");
    assert_eq!(hours.pointer("/hours/results").unwrap(), "X");
    assert_eq!(record(&mut ledger, 9, violations(9, 1), &rules, 310), Recorded::TooOld);
    assert_eq!(past(&ledger).unwrap(), hours);
}

#[test]
fn oldest_breaching_execution_may_be_older_than_datapoints() {
    let first_clean = |clean_until: i64| {
        let mut ledger = MonitorLedger::new(monitor());
        for at in 0..330 {
            let evidence = if at < clean_until { clean(at) } else { violations(at, 1) };
            record(&mut ledger, at, evidence, &over_time(1, 1, "1d"), at);
            settle(&mut ledger);
        }
        ledger
    };
    let oldest = |ledger: &MonitorLedger, n, period| ledger.oldest_breaching(&over_time(1, n, period), hour(329));
    let ledger = first_clean(0);
    assert_eq!(ledger.datapoints[0].scheduled_time, hour(30));
    let start_of_day: Timestamp = "2026-09-21T00:00:00Z".parse().unwrap();
    assert_eq!(oldest(&ledger, 4, "1w"), Some(start_of_day));
    // The range of 1 of 1 days has three days, and ends on October 5.
    assert_eq!(oldest(&ledger, 1, "1d"), Some("2026-10-03T00:00:00Z".parse().unwrap()));
    // The range of 13 days starts on September 21, that of 12 days on September 22.
    assert_eq!(oldest(&ledger, 13, "1d"), Some(start_of_day));
    assert_eq!(oldest(&ledger, 12, "1d"), Some("2026-09-22T00:00:00Z".parse().unwrap()));
    assert_eq!(oldest(&first_clean(100), 4, "1w"), Some(hour(100)));
}

#[test]
fn evidence_as_old_as_a_drop_does_not_count() {
    let rules = window(1, 1);
    let changed_at = |at: i64| {
        let mut evidence = clean(0);
        evidence.execution.as_mut().unwrap().last_modified = hour(at);
        evidence
    };
    let mut ledger = MonitorLedger::new(monitor());
    record(&mut ledger, 0, changed_at(3), &rules, 3);
    let drop = |ledger: &mut MonitorLedger, time| ledger.drop_datapoint(&command(0, time), &rules, &caller(hour(5)));
    assert_eq!(drop(&mut ledger, 2), DropOutcome::Newer);
    assert_eq!(drop(&mut ledger, 3), DropOutcome::Dropped);
    assert_eq!(record(&mut ledger, 0, changed_at(3), &rules, 5), Recorded::Dropped);
    assert!(ledger.is_dropped(hour(0)) && !ledger.is_dropped(hour(1)));
    assert_eq!(record(&mut ledger, 0, changed_at(4), &rules, 5), Recorded::New);
}

#[test]
fn ledger_of_first_release_gets_no_epoch() {
    let rules = window(1, 1);
    // A ledger of the first release has executions, or had a transition.
    let mut with_executions = MonitorLedger::new(monitor());
    with_executions.replay(hour(0), clean(0), &rules, hour(0));
    let mut with_transition = MonitorLedger::new(monitor());
    with_transition.alert.transition = 2;
    for mut ledger in [with_executions, with_transition] {
        record(&mut ledger, 1, clean(1), &rules, 1);
        assert_eq!(ledger.epoch, None);
    }
    let mut new = MonitorLedger::new(monitor());
    record(&mut new, 0, clean(0), &rules, 1);
    record(&mut new, 1, clean(1), &rules, 2);
    assert_eq!(new.epoch, Some(hour(1)));
}

#[test]
fn dashboard_shows_details_of_latest_executions() {
    let rules = window(1, 1);
    let mut ledger = MonitorLedger::new(monitor());
    for at in 0..60 {
        record(&mut ledger, at, violations(at, 2), &rules, at);
    }
    let detailed = |ledger: &MonitorLedger| {
        let reports = ledger
            .datapoints
            .iter()
            .filter_map(|datapoint| datapoint.evidence.report.as_ref());
        reports.filter(|report| report.judged.is_none()).count()
    };
    assert_eq!(detailed(&ledger), 48);
    // A longer window needs more.
    let mut ledger = MonitorLedger::new(monitor());
    for at in 0..80 {
        record(&mut ledger, at, violations(at, 2), &window(1, 55), at);
    }
    assert_eq!(detailed(&ledger), 55);
}

#[test]
fn latest_breaching_report_keeps_its_violations() {
    let rules = MonitorRules {
        violations: vec![rule(None, Some("customer_*"), false, Severity::Warning)],
        ..window(1, 100)
    };
    let mut ledger = MonitorLedger::new(monitor());
    record(&mut ledger, 0, custom_report(&["baseline_drift_check"]), &rules, 0);
    // These are large, and none of their violations counts.
    for at in 1..20 {
        record(&mut ledger, at, violations(at, 199), &rules, at);
        settle(&mut ledger);
    }
    assert_eq!(ledger.alert.status, AlertStatus::InAlert);
    let judged: Vec<bool> = ledger
        .datapoints
        .iter()
        .map(|datapoint| datapoint.evidence.report.as_ref().unwrap().judged.is_some())
        .collect();
    assert_eq!((judged[0], judged[1], judged[19]), (false, true, false));
    assert_eq!(ledger.level(&rules, hour(20)).alert.violations.len(), 1);
    let size = serde_json::to_vec(&ledger.datapoints).unwrap().len();
    assert!((160_000..=200_000).contains(&size), "{size} bytes");
}

#[test]
fn ledger_keeps_as_many_datapoints_as_fit() {
    let rules = window(1, 1);
    for length in (900..1000).step_by(5) {
        let mut ledger = MonitorLedger::new(monitor());
        for at in 0..300 {
            let report = ReportEvidence {
                uri: format!("s3://reports/{}", "k".repeat(length)),
                ..report(at, 0)
            };
            let evidence = Evidence {
                report: Some(report),
                ..Evidence::default()
            };
            ledger.replay(hour(at), evidence, &rules, hour(at));
        }
        ledger.sweep(&rules, &caller(hour(300)));
        // All have the same size, and a comma each.
        let size = serde_json::to_vec(&ledger.datapoints[0]).unwrap().len() + 1;
        assert_eq!(ledger.datapoints.len(), 200_000 / size, "{size} bytes each");
    }
}
