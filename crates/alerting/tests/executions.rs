//! From the evidence of executions to states, transitions, health, and metrics of a monitor.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use alerting::{
    AlertHistoryItem, AlertStateChange, AlertStatus, AlertWindow, Datapoint, DatapointState, Evidence,
    ExecutionEvidence, ExecutionStatus, ExecutionWindow, FollowedAlert, HealthStateChange, HealthStatus, JobEvidence,
    JobStatus, MaintenanceWindow, Metric, MetricName, MismatchReason, Monitor, MonitorDatapointDrop, MonitorEffect,
    MonitorLedger, MonitorRules, Observation, PeriodLength, Recorded, ReportEvidence, Severity, TimeWindow, Transition,
    TreatAs, TreatMissingData, Treatment, Unit, compare, execution_correlation_id,
};
use jiff::{SignedDuration, Timestamp};
use machine::Caller;
use model_monitor::{ConstraintCheckType, MonitorType, Quantity, Subject, Violation, ViolationReport};

use DatapointState::{Clean, Failed, Missing, NoData, Violations};

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
        monitor_type: None,
    }
}

fn execution(status: ExecutionStatus, reason: Option<&str>) -> Evidence {
    Evidence {
        execution: Some(ExecutionEvidence {
            status,
            reason: reason.map(Into::into),
            last_modified: hour(0),
        }),
        ..Evidence::default()
    }
}

fn job(status: JobStatus, violations: Option<u64>) -> Evidence {
    Evidence {
        job: Some(JobEvidence {
            processing_job_arn: "arn:aws:sagemaker:us-east-1:111122223333:processing-job/1".into(),
            status,
            violations,
            reason: None,
            ended_at: hour(0),
        }),
        ..Evidence::default()
    }
}

fn violation(feature: &str, check_type: &str, observed: f64) -> Violation {
    Violation {
        subject: Subject::Feature(feature.into()),
        check_type: ConstraintCheckType::new(check_type),
        observed: Some(Quantity::Number(observed)),
        threshold: Some(Quantity::Number(0.1)),
        description: None,
        extra: serde_json::Map::new(),
    }
}

fn report(violations: Vec<Violation>, top: usize) -> Evidence {
    let report = ViolationReport {
        version: None,
        monitor_type: None,
        violations,
        extra: serde_json::Map::new(),
    };
    Evidence {
        report: Some(ReportEvidence::new(
            "s3://reports/churn.json".into(),
            "\"1\"".into(),
            hour(0),
            &report,
            top,
        )),
        ..Evidence::default()
    }
}

fn violations(count: usize) -> Evidence {
    report(vec![violation("age", "baseline_drift_check", 0.2); count], 20)
}

/// Evidence of an execution in this state.
fn evidence(state: DatapointState) -> Evidence {
    match state {
        Clean => execution(ExecutionStatus::Completed, None),
        Violations => execution(ExecutionStatus::CompletedWithViolations, None),
        NoData => execution(ExecutionStatus::Failed, Some("Job inputs had no data")),
        Failed => execution(ExecutionStatus::Failed, Some("AlgorithmError")),
        Missing => Evidence::default(),
    }
}

fn window(m: i64, n: i64) -> MonitorRules {
    MonitorRules {
        window: AlertWindow::Executions(ExecutionWindow::new(m, n).unwrap()),
        policy_version: "0123456789ab".into(),
        ..MonitorRules::default()
    }
}

fn hourly(m: i64, n: i64, treat_missing_data: TreatMissingData) -> MonitorRules {
    MonitorRules {
        window: AlertWindow::Time {
            window: TimeWindow::new(m, n, treat_missing_data).unwrap(),
            period: PeriodLength::Minutes(60),
        },
        ..MonitorRules::default()
    }
}

fn record(ledger: &mut MonitorLedger, at: i64, evidence: Evidence, rules: &MonitorRules) -> Recorded {
    let observation = Observation {
        monitor: monitor(),
        scheduled_time: hour(at),
        evidence,
    };
    let newest = ledger.datapoints.back().map(|datapoint| datapoint.scheduled_time);
    let now = newest.map_or(hour(at), |newest| newest.max(hour(at)));
    ledger.record(observation, rules, &caller(now))
}

/// The ledger after executions in these states, one per hour.
fn ledger(states: &[DatapointState], rules: &MonitorRules) -> MonitorLedger {
    let mut ledger = MonitorLedger::new(monitor());
    for (at, state) in (0..).zip(states) {
        record(&mut ledger, at, evidence(*state), rules);
    }
    ledger
}

fn alert_events(ledger: &MonitorLedger) -> Vec<&AlertStateChange> {
    let changes = ledger.outbox.entries().iter().filter_map(|entry| match &entry.effect {
        MonitorEffect::PutAlertStateChange(change) => Some(&**change),
        _ => None,
    });
    changes.collect()
}

fn health_events(ledger: &MonitorLedger) -> Vec<&HealthStateChange> {
    let changes = ledger.outbox.entries().iter().filter_map(|entry| match &entry.effect {
        MonitorEffect::PutHealthStateChange(change) => Some(&**change),
        _ => None,
    });
    changes.collect()
}

fn metrics(ledger: &MonitorLedger) -> Vec<&Metric> {
    let metrics = ledger.outbox.entries().iter().filter_map(|entry| match &entry.effect {
        MonitorEffect::PublishMetrics(metrics) => Some(metrics),
        _ => None,
    });
    metrics.flatten().collect()
}

#[test]
fn state_follows_from_execution_status() {
    for state in [Clean, Violations, NoData, Failed, Missing] {
        assert_eq!(evidence(state).state(), state);
    }
    assert_eq!(execution(ExecutionStatus::Stopped, None).state(), Failed);
    assert_eq!(execution(ExecutionStatus::Failed, None).state(), Failed);
    // Only a failed execution can have had no data.
    assert_eq!(execution(ExecutionStatus::Stopped, Some("No Data")).state(), Failed);
    assert_eq!(execution(ExecutionStatus::Completed, Some("no data")).state(), Clean);
    assert_eq!(execution(ExecutionStatus::Failed, Some("No Data.")).state(), NoData);
}

#[test]
fn state_follows_from_job_status() {
    assert_eq!(job(JobStatus::Completed, None).state(), Clean);
    assert_eq!(job(JobStatus::Completed, Some(0)).state(), Clean);
    assert_eq!(job(JobStatus::Completed, Some(1)).state(), Violations);
    assert_eq!(job(JobStatus::Stopped, None).state(), Failed);
    assert_eq!(job(JobStatus::Failed, Some(1)).state(), Failed);
}

#[test]
fn failed_execution_is_not_clean_despite_empty_report() {
    let empty = || violations(0);
    assert_eq!(empty().state(), Clean);
    assert_eq!(empty().merge(job(JobStatus::Failed, None)).state(), Failed);
    assert_eq!(empty().merge(job(JobStatus::Stopped, None)).state(), Failed);
    assert_eq!(empty().merge(execution(ExecutionStatus::Failed, None)).state(), Failed);
    let found = violations(1).merge(execution(ExecutionStatus::Failed, None));
    assert_eq!(found.state(), Violations);
}

#[test]
fn violations_are_counted_by_best_evidence() {
    let listed = || execution(ExecutionStatus::CompletedWithViolations, None);
    assert_eq!(Evidence::default().violations(), None);
    assert_eq!(job(JobStatus::Completed, None).violations(), Some(0));
    assert_eq!(job(JobStatus::Completed, Some(7)).violations(), Some(7));
    assert_eq!(job(JobStatus::Failed, Some(7)).violations(), None);
    // A report is exact, an exit message counts, a list entry has at least one.
    assert_eq!(
        violations(3).merge(job(JobStatus::Completed, Some(7))).violations(),
        Some(3)
    );
    assert_eq!(
        violations(0).merge(job(JobStatus::Completed, Some(7))).violations(),
        Some(7)
    );
    assert_eq!(violations(3).merge(listed()).violations(), Some(3));
    assert_eq!(job(JobStatus::Completed, Some(7)).merge(listed()).violations(), Some(7));
    assert_eq!(violations(0).merge(listed()).violations(), Some(1));
    assert_eq!(listed().violations(), Some(1));
    assert_eq!(execution(ExecutionStatus::Completed, None).violations(), Some(0));
    assert_eq!(execution(ExecutionStatus::Failed, None).violations(), None);
}

#[test]
fn later_evidence_replaces_earlier_evidence() {
    let at = |time: i64, status, etag: &str| {
        let mut evidence = violations(1)
            .merge(execution(status, None))
            .merge(job(JobStatus::Completed, None));
        let (report, job) = (evidence.report.as_mut().unwrap(), evidence.job.as_mut().unwrap());
        (report.last_modified, report.etag) = (hour(time), etag.into());
        (job.ended_at, job.violations) = (hour(time), Some(u64::try_from(time).unwrap()));
        evidence.execution.as_mut().unwrap().last_modified = hour(time);
        evidence
    };
    let earlier = at(1, ExecutionStatus::Failed, "z");
    let later = at(2, ExecutionStatus::Completed, "a");
    assert_eq!(earlier.clone().merge(later.clone()), later);
    assert_eq!(later.clone().merge(earlier), later);
}

#[test]
fn execution_status_reads_final_statuses_only() {
    let read = ExecutionStatus::parse;
    assert_eq!(read("Completed"), Some(ExecutionStatus::Completed));
    assert_eq!(
        read("CompletedWithViolations"),
        Some(ExecutionStatus::CompletedWithViolations)
    );
    assert_eq!(read("Stopped"), Some(ExecutionStatus::Stopped));
    assert_eq!(read("Failed"), Some(ExecutionStatus::Failed));
    for name in ["Pending", "InProgress", "Stopping", "failed", ""] {
        assert_eq!(read(name), None, "{name}");
    }
}

#[test]
fn names_are_as_serialized() {
    fn name(value: impl serde::Serialize) -> String {
        serde_json::to_value(value).unwrap().as_str().unwrap().to_owned()
    }
    for state in [Clean, Violations, NoData, Failed, Missing] {
        assert_eq!(state.as_str(), name(state));
    }
    for status in [AlertStatus::Ok, AlertStatus::InAlert, AlertStatus::InsufficientData] {
        assert_eq!(status.as_str(), name(status));
    }
    for status in [HealthStatus::Healthy, HealthStatus::Unhealthy] {
        assert_eq!(status.as_str(), name(status));
    }
    for severity in [Severity::Warning, Severity::Critical] {
        assert_eq!(severity.as_str(), name(severity));
    }
    for treat in [TreatAs::Missing, TreatAs::Breaching, TreatAs::NotBreaching] {
        assert_eq!(treat.as_str(), name(treat));
    }
    for treat in [
        TreatMissingData::Missing,
        TreatMissingData::Ignore,
        TreatMissingData::Breaching,
        TreatMissingData::NotBreaching,
    ] {
        assert_eq!(treat.as_str(), name(treat));
    }
    for metric in [
        MetricName::ConstraintViolations,
        MetricName::Breaching,
        MetricName::ExecutionFailed,
        MetricName::ObservedValue,
        MetricName::UnreadableReports,
        MetricName::SweepAge,
        MetricName::PolicyFallback,
    ] {
        assert_eq!(metric.as_str(), name(metric));
    }
    assert_eq!(name(AlertStatus::InsufficientData), "INSUFFICIENT_DATA");
}

#[test]
fn correlation_id_depends_on_schedule_and_hour() {
    let minute = SignedDuration::from_mins(1);
    let id = execution_correlation_id("Churn-DQ", hour(0));
    assert_eq!(id, machine::correlation_id("execution", "churn-dq/2026-09-21T14"));
    assert_eq!(id, execution_correlation_id("churn-dq", hour(0) + minute));
    assert_ne!(id, execution_correlation_id("churn-dq", hour(1)));
}

#[test]
fn alert_event_describes_transition() {
    let ledger = ledger(&[Violations, Clean, Violations, Clean], &window(2, 3));
    let [alert, recovery] = alert_events(&ledger)[..] else {
        unreachable!("two transitions")
    };
    let begun = hour(0).as_second();
    assert_eq!(alert.id, format!("alert-churn-dq-{begun}-1"));
    assert_eq!(recovery.id, format!("alert-churn-dq-{begun}-2"));
    assert_eq!(alert.epoch, Some(hour(0)));
    assert_eq!((alert.transition, recovery.transition), (1, 2));
    assert_eq!(
        (alert.previous_alert_status, alert.alert_status),
        (AlertStatus::Ok, AlertStatus::InAlert)
    );
    assert_eq!(
        (recovery.previous_alert_status, recovery.alert_status),
        (AlertStatus::InAlert, AlertStatus::Ok)
    );
    assert_eq!(alert.severity, Some(Severity::Warning));
    assert_eq!(recovery.severity, None);
    assert_eq!((alert.breaching, recovery.breaching), (2, 1));
    let states = |change: &AlertStateChange| change.datapoints.iter().map(|it| it.state).collect::<Vec<_>>();
    assert_eq!(states(alert), [Violations, Clean, Violations]);
    assert_eq!(states(recovery), [Clean, Violations, Clean]);
    assert_eq!((alert.time, recovery.time), (hour(2), hour(3)));
    assert_eq!(alert.model, "churn-model");
    assert_eq!(alert.endpoint.as_deref(), Some("churn"));
    assert_eq!(alert.monitoring_schedule, "Churn-DQ");
    assert_eq!(alert.policy_version, "0123456789ab");
    assert_eq!(alert.period, None);
    assert_eq!(
        alert.correlation_id,
        Some(execution_correlation_id("churn-dq", hour(2)))
    );
    insta::assert_snapshot!(alert.reason, @"2 of the last 3 executions had violations; alert at 2 of 3");
}

#[test]
fn ledger_keeps_transitions_and_last_event() {
    let ledger = ledger(&[Violations, Clean, Violations], &window(1, 1));
    let history: Vec<_> = ledger
        .history
        .iter()
        .map(|item| (item.status, item.scheduled_time))
        .collect();
    assert_eq!(
        history,
        [
            (AlertStatus::InAlert, hour(0)),
            (AlertStatus::Ok, hour(1)),
            (AlertStatus::InAlert, hour(2)),
        ]
    );
    assert_eq!(ledger.last_change.unwrap().transition, 3);
    assert_eq!(ledger.alert.transition, 3);
}

#[test]
fn ledger_keeps_fifty_transitions() {
    let states = |count: usize| [Violations, Clean].into_iter().cycle().take(count).collect::<Vec<_>>();
    assert_eq!(ledger(&states(50), &window(1, 1)).history.len(), 50);
    let ledger = ledger(&states(52), &window(1, 1));
    assert_eq!(ledger.history.len(), 50);
    assert_eq!(ledger.history.front().unwrap().scheduled_time, hour(2));
}

#[test]
fn late_execution_is_named_as_cause_of_transition() {
    let rules = window(2, 3);
    let mut ledger = MonitorLedger::new(monitor());
    record(&mut ledger, 2, evidence(Violations), &rules);
    record(&mut ledger, 1, evidence(Violations), &rules);
    let change = ledger.last_change.as_ref().unwrap();
    assert_eq!(
        change.correlation_id,
        Some(execution_correlation_id("churn-dq", hour(1)))
    );
    assert_eq!(ledger.history.back().unwrap().scheduled_time, hour(2));
}

#[test]
fn treated_failures_are_described_as_breaching() {
    let rules = MonitorRules {
        treatment: Treatment {
            failed: TreatAs::Breaching,
            ..Treatment::default()
        },
        ..window(1, 1)
    };
    let change = ledger(&[Failed], &rules).last_change.unwrap();
    insta::assert_snapshot!(change.reason, @"the last execution breached; alert at 1 of 1");
    // There is no report for the event.
    assert_eq!((change.report_uri, change.violations.len()), (None, 0));
    assert_eq!(change.severity, Some(Severity::Warning));
}

#[test]
fn each_uninformative_state_has_its_own_treatment() {
    let rules = MonitorRules {
        treatment: Treatment {
            no_data: TreatAs::Missing,
            failed: TreatAs::Breaching,
            missing: TreatAs::NotBreaching,
        },
        ..window(1, 1)
    };
    let status = |states: &[DatapointState]| ledger(states, &rules).alert.status;
    assert_eq!(status(&[Violations, NoData]), AlertStatus::InAlert);
    assert_eq!(status(&[Clean, NoData]), AlertStatus::Ok);
    assert_eq!(status(&[Clean, Failed]), AlertStatus::InAlert);
    assert_eq!(status(&[Violations, Missing]), AlertStatus::Ok);
}

#[test]
fn maintenance_window_mutes_violations_and_failures() {
    let rules = MonitorRules {
        maintenance: vec![MaintenanceWindow::Once {
            start: hour(1),
            end: hour(3),
        }],
        unhealthy_after: 1,
        ..window(1, 1)
    };
    let status = |state, at| {
        let mut ledger = MonitorLedger::new(monitor());
        record(&mut ledger, at, evidence(state), &rules);
        (ledger.alert.status, ledger.health.status)
    };
    let muted = (AlertStatus::Ok, HealthStatus::Healthy);
    let noticed = (AlertStatus::InAlert, HealthStatus::Healthy);
    assert_eq!(
        [0, 1, 2, 3].map(|at| status(Violations, at)),
        [noticed, muted, muted, noticed]
    );
    let unhealthy = (AlertStatus::Ok, HealthStatus::Unhealthy);
    assert_eq!(
        [0, 1, 2, 3].map(|at| status(Failed, at)),
        [unhealthy, muted, muted, unhealthy]
    );
}

#[test]
fn time_window_event_names_period_and_treatment() {
    let ledger = ledger(
        &[Clean, Violations, Violations],
        &hourly(2, 3, TreatMissingData::NotBreaching),
    );
    let change = ledger.last_change.unwrap();
    assert_eq!(change.period.as_deref(), Some("1h"));
    assert_eq!((change.datapoints_to_alert, change.evaluation_period), (2, 3));
    assert_eq!((change.breaching, change.datapoints.len()), (2, 3));
    insta::assert_snapshot!(change.reason, @"2 of the last 3 periods of 1h with a result breached; alert at 2 of 3 periods, missing periods are treated as notBreaching");
}

#[test]
fn time_window_event_lists_evaluation_range_only() {
    // N + 2 periods are evaluated: of 7 hours the last 5.
    let rules = hourly(3, 3, TreatMissingData::Missing);
    let states = [Violations, Violations, Clean, Clean, Violations, Violations, Violations];
    let change = ledger(&states, &rules).last_change.unwrap();
    let times: Vec<Timestamp> = change.datapoints.iter().map(|it| it.scheduled_time).collect();
    assert_eq!(times, [hour(2), hour(3), hour(4), hour(5), hour(6)]);
    assert_eq!(change.breaching, 3);
}

#[test]
fn worst_execution_of_period_decides() {
    let rules = hourly(1, 1, TreatMissingData::Missing);
    let status = |states: [DatapointState; 2]| {
        let mut ledger = MonitorLedger::new(monitor());
        for (minute, state) in [0, 30].into_iter().zip(states) {
            let time = hour(0) + SignedDuration::from_mins(minute);
            ledger.replay(time, evidence(state), &rules, time);
        }
        ledger.alert.status
    };
    assert_eq!(status([Violations, Clean]), AlertStatus::InAlert);
    assert_eq!(status([Clean, Violations]), AlertStatus::InAlert);
    assert_eq!(status([Failed, Violations]), AlertStatus::InAlert);
    assert_eq!(status([Clean, Failed]), AlertStatus::Ok);
    assert_eq!(status([Failed, Clean]), AlertStatus::Ok);
    assert_eq!(status([Failed, Failed]), AlertStatus::InsufficientData);
}

#[test]
fn sweep_moves_time_window_without_executions() {
    let rules = hourly(1, 1, TreatMissingData::Missing);
    let mut ledger = ledger(&[Violations], &rules);
    assert_eq!(ledger.alert.status, AlertStatus::InAlert);
    ledger.sweep(&rules, &caller(hour(2)));
    assert_eq!(ledger.alert.status, AlertStatus::InAlert);
    ledger.sweep(&rules, &caller(hour(3)));
    assert_eq!(ledger.alert.status, AlertStatus::InsufficientData);
    assert_eq!(ledger.as_of, Some(hour(3)));
    // A sweep that is late does not move the window back.
    ledger.sweep(&rules, &caller(hour(2)));
    assert_eq!((ledger.as_of, ledger.alert.transition), (Some(hour(3)), 2));
    let change = ledger.last_change.unwrap();
    assert_eq!(
        (change.alert_status, change.time),
        (AlertStatus::InsufficientData, hour(3))
    );
    assert_eq!((change.breaching, change.datapoints.len()), (0, 0));
}

#[test]
fn sweep_does_not_move_execution_window_or_empty_ledger() {
    let mut executions = ledger(&[Violations], &window(1, 1));
    executions.sweep(&window(1, 1), &caller(hour(9)));
    assert_eq!(executions.as_of, None);
    let rules = hourly(1, 1, TreatMissingData::Missing);
    let mut empty = MonitorLedger::new(monitor());
    empty.sweep(&rules, &caller(hour(9)));
    assert_eq!(empty, MonitorLedger::new(monitor()));
}

#[test]
fn sweep_applies_changed_rules() {
    let mut ledger = ledger(&[Violations, Clean], &window(2, 2));
    assert_eq!(ledger.alert.status, AlertStatus::Ok);
    ledger.sweep(&window(1, 2), &caller(hour(5)));
    assert_eq!(ledger.alert.status, AlertStatus::InAlert);
    let change = ledger.last_change.unwrap();
    assert_eq!(
        change.correlation_id,
        Some(execution_correlation_id("churn-dq", hour(1)))
    );
}

#[test]
fn doctor_schedule_is_recorded_and_never_judged() {
    let mut ledger = MonitorLedger::new(monitor());
    let schedule = alerting::DOCTOR_SCHEDULE.to_owned();
    for at in 0..4 {
        let observation = Observation {
            monitor: Monitor {
                schedule: schedule.clone(),
                ..monitor()
            },
            scheduled_time: hour(at),
            evidence: evidence(if at == 0 { Violations } else { Failed }),
        };
        assert_eq!(
            ledger.record(observation, &window(1, 1), &caller(hour(at))),
            Recorded::New
        );
    }
    assert_eq!((ledger.datapoints.len(), metrics(&ledger).is_empty()), (4, false));
    assert_eq!((alert_events(&ledger).len(), health_events(&ledger).len()), (0, 0));
    assert_eq!(ledger.alert.status, AlertStatus::Ok);
}

#[test]
fn monitor_becomes_unhealthy_after_failures_in_a_row() {
    let rules = window(1, 1);
    let ledger = ledger(&[Clean, Failed, NoData, Missing, Missing, Clean], &rules);
    let [unhealthy, healthy] = health_events(&ledger)[..] else {
        unreachable!("two transitions")
    };
    assert_eq!(
        (unhealthy.health_status, healthy.health_status),
        (HealthStatus::Unhealthy, HealthStatus::Healthy)
    );
    assert_eq!((unhealthy.in_a_row, healthy.in_a_row), (3, 0));
    assert_eq!((unhealthy.transition, healthy.transition), (1, 2));
    let id = |transition: u8| format!("health-churn-dq-{}-{transition}", hour(0).as_second());
    assert_eq!((unhealthy.id.clone(), healthy.id.clone()), (id(1), id(2)));
    let states = |change: &HealthStateChange| change.datapoints.iter().map(|it| it.state).collect::<Vec<_>>();
    assert_eq!(states(unhealthy), [Failed, NoData, Missing]);
    assert_eq!(states(healthy), [Clean]);
    assert_eq!((unhealthy.time, healthy.time), (hour(3), hour(5)));
    assert_eq!(
        unhealthy.correlation_id,
        Some(execution_correlation_id("churn-dq", hour(3)))
    );
    assert_eq!(ledger.health.transition, 2);
}

#[test]
fn health_event_lists_ten_executions() {
    let rules = MonitorRules {
        unhealthy_after: 12,
        ..window(1, 1)
    };
    let ledger = ledger(&[Failed; 12], &rules);
    let [unhealthy] = health_events(&ledger)[..] else {
        unreachable!("one transition")
    };
    assert_eq!((unhealthy.in_a_row, unhealthy.datapoints.len()), (12, 10));
    assert_eq!(unhealthy.datapoints.last().unwrap().scheduled_time, hour(11));
}

#[test]
fn monitor_stays_healthy_if_health_check_is_off() {
    let rules = MonitorRules {
        unhealthy_after: 0,
        ..window(1, 1)
    };
    assert_eq!(ledger(&[Failed; 5], &rules).health.status, HealthStatus::Healthy);
    assert_eq!(ledger(&[], &rules).health.status, HealthStatus::Healthy);
}

#[test]
fn sagemaker_alert_replaces_window_if_followed() {
    let follow = MonitorRules {
        follow_monitoring_alert: true,
        ..window(1, 1)
    };
    let own = ExecutionWindow::new(2, 5).unwrap();
    let mut ledger = MonitorLedger::new(monitor());
    assert_eq!(ledger.window(&follow), follow.window);
    assert!(ledger.needs_monitoring_alert(&follow, hour(0)));
    assert!(!ledger.needs_monitoring_alert(&window(1, 1), hour(0)));
    ledger.followed = Some(FollowedAlert {
        window: Some(own),
        read_at: hour(0),
    });
    assert_eq!(ledger.window(&follow), AlertWindow::Executions(own));
    assert_eq!(ledger.window(&window(1, 1)), window(1, 1).window);
    // Its settings are read at most once in ten minutes.
    let after = |seconds| hour(0) + SignedDuration::from_secs(seconds);
    assert!(!ledger.needs_monitoring_alert(&follow, after(599)));
    assert!(ledger.needs_monitoring_alert(&follow, after(600)));
    assert!(!ledger.needs_monitoring_alert(&window(1, 1), after(600)));
}

#[test]
fn comparison_with_sagemaker_is_noted_every_six_hours() {
    let mut ledger = MonitorLedger::new(monitor());
    ledger.record_comparison(hour(0));
    assert_eq!(ledger.compared_until, Some(hour(0)));
    ledger.record_comparison(hour(6) - SignedDuration::from_secs(1));
    assert_eq!(ledger.compared_until, Some(hour(0)));
    ledger.record_comparison(hour(6));
    assert_eq!(ledger.compared_until, Some(hour(6)));
}

#[test]
fn known_monitor_type_is_not_lost() {
    let mut ledger = MonitorLedger::new(monitor());
    let observe = |ledger: &mut MonitorLedger, at, monitor_type, model: &str| {
        let observation = Observation {
            monitor: Monitor {
                monitor_type,
                model: model.into(),
                ..monitor()
            },
            scheduled_time: hour(at),
            evidence: evidence(Clean),
        };
        ledger.record(observation, &window(1, 1), &caller(hour(at)))
    };
    observe(&mut ledger, 0, Some(MonitorType::DataQuality), "old");
    observe(&mut ledger, 1, None, "new");
    assert_eq!(ledger.monitor.monitor_type, Some(MonitorType::DataQuality));
    assert_eq!(ledger.monitor.model, "new");
    // A duplicate changes nothing.
    assert_eq!(observe(&mut ledger, 1, None, "newer"), Recorded::Duplicate);
    assert_eq!(ledger.monitor.model, "new");
}

#[test]
fn event_names_monitor_type() {
    let mut ledger = MonitorLedger::new(Monitor {
        monitor_type: Some(MonitorType::ModelBias),
        ..monitor()
    });
    let change = ledger
        .replay(hour(0), evidence(Violations), &window(1, 1), hour(0))
        .unwrap();
    assert_eq!(change.monitor_type.as_deref(), Some("ModelBias"));
}

#[test]
fn replay_enqueues_nothing() {
    let mut ledger = MonitorLedger::new(monitor());
    assert!(
        ledger
            .replay(hour(0), evidence(Clean), &window(1, 1), hour(0))
            .is_none()
    );
    let change = ledger
        .replay(hour(1), evidence(Violations), &window(1, 1), hour(2))
        .unwrap();
    assert_eq!((change.alert_status, change.time), (AlertStatus::InAlert, hour(2)));
    assert!(ledger.outbox.is_empty());
}

fn point(at: i64, evidence: Evidence) -> Datapoint {
    Datapoint {
        scheduled_time: hour(at),
        evidence,
    }
}

/// Each metric as `name{dimensions} value unit`, without the dimensions of the monitor.
fn lines<'a>(metrics: impl IntoIterator<Item = &'a Metric>) -> Vec<String> {
    let line = |metric: &Metric| {
        let own = metric
            .dimensions
            .iter()
            .skip(2)
            .map(|(name, value)| format!("{name}={value}"));
        let own = own.collect::<Vec<_>>().join(",");
        format!("{}{{{own}}} {} {:?}", metric.name.as_str(), metric.value, metric.unit)
    };
    metrics.into_iter().map(line).collect()
}

fn metrics_for(evidence: Evidence, check_types: &[&str]) -> Vec<String> {
    let check_types = check_types.iter().map(|&name| name.into()).collect();
    lines(&Metric::for_datapoint(
        &point(0, evidence),
        &monitor(),
        &check_types,
        &window(1, 1),
    ))
}

#[test]
fn report_gives_metrics_per_check_type_and_violation() {
    let violations = vec![
        violation("age", "baseline_drift_check", 0.4),
        violation("income", "baseline_drift_check", 0.3),
        violation("city", "baseline_drift_check", 0.25),
    ];
    assert_eq!(
        metrics_for(report(violations, 1), &["baseline_drift_check", "completeness_check"]),
        [
            "ExecutionFailed{} 0 Count",
            "ConstraintViolations{} 3 Count",
            "Breaching{} 1 Count",
            "ConstraintViolations{ConstraintCheckType=baseline_drift_check} 3 Count",
            "ConstraintViolations{ConstraintCheckType=completeness_check} 0 Count",
            "ObservedValue{Feature=age,ConstraintCheckType=baseline_drift_check} 0.4 None",
            "ObservedValue{Feature=(all others, summed)} 0.55 None",
        ]
    );
}

#[test]
fn exit_message_alone_gives_no_metrics_per_check_type() {
    let types = ["baseline_drift_check"];
    assert_eq!(
        metrics_for(job(JobStatus::Completed, Some(2)), &types),
        [
            "ExecutionFailed{} 0 Count",
            "ConstraintViolations{} 2 Count",
            "Breaching{} 1 Count",
        ]
    );
    assert_eq!(
        metrics_for(job(JobStatus::Completed, Some(0)), &types),
        [
            "ExecutionFailed{} 0 Count",
            "ConstraintViolations{} 0 Count",
            "Breaching{} 0 Count",
            "ConstraintViolations{ConstraintCheckType=baseline_drift_check} 0 Count",
        ]
    );
}

#[test]
fn execution_without_result_gives_one_metric() {
    for (state, value) in [(Failed, 1), (NoData, 0), (Missing, 0)] {
        assert_eq!(
            metrics_for(evidence(state), &["baseline_drift_check"]),
            [format!("ExecutionFailed{{}} {value} Count")],
            "{state:?}"
        );
    }
}

#[test]
fn metric_is_within_cloudwatch_limits() {
    let metric = |text: &str, value| {
        let more = [("Feature".to_owned(), text.to_owned())];
        Metric::new(&monitor(), MetricName::ObservedValue, more, hour(0), value)
    };
    let name = |text: &str| metric(text, 0.0).unwrap().dimensions.pop().unwrap().1;
    assert_eq!(name("age ~!"), "age ~!");
    assert_eq!(name("größe\n"), r"gr\u{f6}\u{df}e\u{a}");
    assert_eq!(name(" "), "(blank)");
    assert_eq!(name(""), "(blank)");
    assert_eq!(name(&"x".repeat(2000)).len(), 1024);
    assert_eq!(metric("age", f64::NAN), None);
    let value = |value| metric("age", value).unwrap().value;
    let exponent = |value: f64| format!("{:.6}", value.log2());
    assert_eq!(exponent(value(f64::INFINITY)), "360.000000");
    assert_eq!(exponent(-value(f64::NEG_INFINITY)), "360.000000");
    assert_eq!(exponent(value(0.25)), "-2.000000");
}

#[test]
fn metric_names_endpoint_if_there_is_one() {
    let dimensions = |endpoint: Option<&str>| {
        let monitor = Monitor {
            endpoint: endpoint.map(Into::into),
            ..monitor()
        };
        let metric = Metric::new(&monitor, MetricName::UnreadableReports, [], hour(0), 1.0).unwrap();
        assert_eq!((metric.unit, metric.timestamp), (Unit::Count, hour(0)));
        metric.dimensions
    };
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let schedule = || pair("MonitoringSchedule", "Churn-DQ");
    assert_eq!(dimensions(Some("churn")), [pair("Endpoint", "churn"), schedule()]);
    assert_eq!(dimensions(None), [schedule()]);
}

#[test]
fn metrics_are_published_again_if_report_changes() {
    let rules = window(9, 9);
    let mut ledger = MonitorLedger::new(monitor());
    record(&mut ledger, 0, job(JobStatus::Completed, Some(1)), &rules);
    record(&mut ledger, 0, violations(2), &rules);
    record(&mut ledger, 0, violations(2), &rules);
    let published = metrics(&ledger)
        .into_iter()
        .filter(|metric| metric.name == MetricName::ConstraintViolations && metric.dimensions.len() == 2)
        .map(|metric| metric.value)
        .collect::<Vec<_>>();
    assert_eq!(published, [1.0, 2.0]);
    assert_eq!(ledger.check_types.iter().collect::<Vec<_>>(), ["baseline_drift_check"]);
}

#[test]
fn late_datapoint_publishes_its_own_metrics() {
    let rules = window(9, 9);
    let mut ledger = MonitorLedger::new(monitor());
    for at in 0..300 {
        record(&mut ledger, 2 * at, evidence(Clean), &rules);
    }
    ledger.outbox = machine::Outbox::default();
    // The ledger is full: the oldest datapoint makes room.
    assert_eq!(record(&mut ledger, 5, evidence(Failed), &rules), Recorded::New);
    assert_eq!(ledger.datapoints.len(), 300);
    assert_eq!(ledger.datapoints.front().unwrap().scheduled_time, hour(2));
    assert_eq!(lines(metrics(&ledger)), ["ExecutionFailed{} 1 Count"]);
    assert!(metrics(&ledger).iter().all(|metric| metric.timestamp == hour(5)));
}

#[test]
fn judged_executions_are_listed_newest_first() {
    let ledger = ledger(&[Clean, Failed, Violations, NoData], &window(1, 1));
    assert_eq!(ledger.judged(&window(1, 1)).collect::<Vec<_>>(), [hour(2), hour(0)]);
    assert_eq!(ledger.counting().count(), 4);
}

#[test]
fn time_windows_outside_their_range_are_rejected() {
    let rejected = |m, n| {
        TimeWindow::new(m, n, TreatMissingData::Missing)
            .unwrap_err()
            .to_string()
    };
    insta::assert_snapshot!(rejected(0, 1), @"datapoints_to_alarm is 0, but must be from 1 to 100");
    insta::assert_snapshot!(rejected(1, 101), @"evaluation_periods is 101, but must be from 1 to 100");
    insta::assert_snapshot!(rejected(3, 2), @"datapoints_to_alarm (3) must not be greater than evaluation_periods (2)");
    let window = TimeWindow::new(100, 100, TreatMissingData::Ignore).unwrap();
    assert_eq!((window.datapoints_to_alarm(), window.evaluation_periods()), (100, 100));
    assert_eq!(window.evaluation_range(), 102);
    assert_eq!(window.with_evaluation_range(5).evaluation_range(), 100);
    assert_eq!(window.with_evaluation_range(500).evaluation_range(), 500);
    assert_eq!(window.treat_missing_data(), TreatMissingData::Ignore);
}

#[test]
fn alert_window_survives_serialization() {
    for (m, n) in [(1, 1), (100, 100), (1, 100)] {
        let window = ExecutionWindow::new(m, n).unwrap();
        let text = serde_json::to_string(&window).unwrap();
        assert_eq!(serde_json::from_str::<ExecutionWindow>(&text).unwrap(), window);
        assert_eq!(
            (
                i64::from(window.datapoints_to_alert()),
                i64::from(window.evaluation_period())
            ),
            (m, n)
        );
    }
    assert_eq!(ExecutionWindow::default(), ExecutionWindow::new(1, 1).unwrap());
}

#[test]
fn quarters_begin_with_january() {
    let quarter = |time: &str| PeriodLength::Months(3).index(time.parse().unwrap());
    let first = quarter("2026-01-01T00:00:00Z");
    assert_eq!(quarter("2026-03-31T23:59:59Z"), first);
    assert_eq!(quarter("2026-04-01T00:00:00Z"), first + 1);
    assert_eq!(quarter("2025-12-31T23:59:59Z"), first - 1);
}

#[test]
fn period_length_is_approximated_with_months_of_thirty_days() {
    let days = |length: PeriodLength| length.approximate().as_hours() / 24;
    assert_eq!(days(PeriodLength::Months(2)), 60);
    assert_eq!(days(PeriodLength::Minutes(7 * 24 * 60)), 7);
}

#[test]
fn sagemaker_transition_at_edge_of_ledger_is_comparable() {
    let only = |known_since| {
        let theirs = [(hour(5), AlertStatus::InAlert)];
        let tolerance = SignedDuration::from_hours(2);
        let lines = compare(&[], &theirs, Some(known_since), tolerance);
        lines.into_iter().next().unwrap()
    };
    let theirs = (hour(5), AlertStatus::InAlert);
    assert_eq!(
        only(hour(3)),
        Transition::SageMakerOnly(theirs, MismatchReason::DifferentRules)
    );
    assert_eq!(
        only(hour(4)),
        Transition::SageMakerOnly(theirs, MismatchReason::OutsideHistory)
    );
}

#[test]
fn own_transition_at_edge_of_sagemaker_history_is_comparable() {
    let only = |at| {
        let ours = AlertHistoryItem {
            status: AlertStatus::InAlert,
            scheduled_time: hour(at),
            time: hour(at),
        };
        let theirs = [(hour(5), AlertStatus::Ok)];
        let lines = compare(&[ours], &theirs, Some(hour(0)), SignedDuration::from_hours(2));
        match lines.first() {
            Some(Transition::LedgerOnly(_, reason)) => *reason,
            other => unreachable!("{other:?}"),
        }
    };
    assert_eq!(only(3), MismatchReason::DifferentRules);
    assert_eq!(only(2), MismatchReason::OutsideHistory);
    // A ledger without executions has no history to compare with.
    let theirs = (hour(5), AlertStatus::InAlert);
    assert_eq!(
        compare(&[], &[theirs], None, SignedDuration::from_hours(2)),
        [Transition::SageMakerOnly(theirs, MismatchReason::OutsideHistory)]
    );
}

#[test]
fn metric_of_function_has_one_dimension() {
    let metric = |name, value| Metric::for_function("sweep", name, hour(0), value);
    let age = metric(MetricName::SweepAge, 90.0);
    assert_eq!(age.dimensions, [("FunctionName".to_owned(), "sweep".to_owned())]);
    assert_eq!(
        (age.name, age.timestamp, age.unit),
        (MetricName::SweepAge, hour(0), Unit::Seconds)
    );
    let unit = metric(MetricName::PolicyFallback, 1.0).unit;
    assert_eq!(
        (unit, lines([&age])),
        (Unit::Count, vec!["SweepAge{} 90 Seconds".to_owned()])
    );
    for value in [f64::NAN, f64::INFINITY] {
        assert_eq!(lines([&metric(MetricName::SweepAge, value)]), ["SweepAge{} 0 Seconds"]);
    }
}

#[test]
fn ledger_is_found_in_any_case_of_the_schedule() {
    assert_eq!(MonitorLedger::key("Churn-DQ"), "monitors/churn-dq.json");
}

#[test]
fn datapoint_is_found_by_its_scheduled_time() {
    let ledger = ledger(&[Clean, Violations], &window(1, 1));
    let state = |time| ledger.datapoint(time).map(Datapoint::state);
    assert_eq!(
        [0, 1, 2].map(|at| state(hour(at))),
        [Some(Clean), Some(Violations), None]
    );
    assert_eq!(state(hour(0) + SignedDuration::from_mins(1)), None);
}

#[test]
fn reasons_of_short_histories_are_described() {
    let reason = |ledger: &MonitorLedger| ledger.last_change.as_ref().unwrap().reason.clone();
    let mut executions = ledger(&[Violations], &window(1, 1));
    insta::assert_snapshot!(reason(&executions), @"the last execution had violations; alert at 1 of 1");
    record(&mut executions, 1, evidence(Clean), &window(1, 1));
    insta::assert_snapshot!(reason(&executions), @"the last execution had no violations; alert at 1 of 1");
    let mut muted = ledger(&[Violations], &window(1, 1));
    let maintenance = vec![MaintenanceWindow::Once {
        start: hour(0),
        end: hour(1),
    }];
    let rules = MonitorRules {
        maintenance,
        ..window(1, 1)
    };
    muted.sweep(&rules, &caller(hour(1)));
    insta::assert_snapshot!(reason(&muted), @"no execution counts; alert at 1 of 1");
    let rules = hourly(1, 1, TreatMissingData::Missing);
    let mut periods = ledger(&[Violations], &rules);
    insta::assert_snapshot!(reason(&periods), @"the last period of 1h with a result breached; alert at 1 of 1 periods, missing periods are treated as missing");
    record(&mut periods, 1, evidence(Clean), &rules);
    insta::assert_snapshot!(reason(&periods), @"the last period of 1h with a result did not breach; alert at 1 of 1 periods, missing periods are treated as missing");
    periods.sweep(&rules, &caller(hour(9)));
    insta::assert_snapshot!(reason(&periods), @"no period of 1h has a result; alert at 1 of 1 periods, missing periods are treated as missing");
}

#[test]
fn health_event_describes_executions() {
    let rules = |unhealthy_after| MonitorRules {
        unhealthy_after,
        ..window(1, 1)
    };
    let reasons = |states: &[DatapointState], after| {
        let ledger = ledger(states, &rules(after));
        let events = health_events(&ledger);
        events.into_iter().map(|event| event.reason.clone()).collect::<Vec<_>>()
    };
    let [one, recovered] = &reasons(&[Failed, Clean], 1)[..] else {
        unreachable!("two transitions")
    };
    insta::assert_snapshot!(one, @"the last execution failed, had no data, or never ran; drift is not detected until the monitor recovers");
    insta::assert_snapshot!(recovered, @"the latest execution has a result again");
    insta::assert_snapshot!(reasons(&[Failed, NoData], 2).join("; "), @"the last 2 executions failed, had no data, or never ran; drift is not detected until the monitor recovers");
}

#[test]
fn event_lists_hundred_datapoints_and_twenty_reports() {
    let rules = hourly(1, 100, TreatMissingData::Missing);
    let mut ledger = MonitorLedger::new(monitor());
    for at in 0..110 {
        record(&mut ledger, at, violations(1), &rules);
    }
    let alert = ledger.level(&rules, hour(110)).alert;
    // The window evaluates 102 periods.
    let (first, last) = (alert.datapoints.first().unwrap(), alert.datapoints.last().unwrap());
    assert_eq!((first.scheduled_time, last.scheduled_time), (hour(10), hour(109)));
    assert_eq!((alert.datapoints.len(), alert.breaching), (100, 100));
    let with_report = alert
        .datapoints
        .iter()
        .filter(|datapoint| datapoint.report_uri.is_some());
    assert_eq!(with_report.clone().count(), 20);
    assert_eq!(
        with_report.map(|datapoint| datapoint.scheduled_time).min(),
        Some(hour(90))
    );
    // A short window lists all reports.
    let alert = ledger.level(&window(1, 2), hour(110)).alert;
    assert!(alert.datapoints.iter().all(|datapoint| datapoint.report_uri.is_some()));
}

#[test]
fn oldest_breaching_execution_is_one_of_the_window() {
    let ledger = ledger(&[Violations, Violations, Clean, Violations, Clean], &window(1, 1));
    let oldest = |m, n| ledger.oldest_breaching(&window(m, n), hour(4));
    assert_eq!(oldest(1, 1), None);
    assert_eq!(oldest(1, 3), Some(hour(3)));
    assert_eq!(oldest(1, 4), Some(hour(1)));
    // A window over time has N + 2 periods.
    let over_time = hourly(1, 2, TreatMissingData::Missing);
    assert_eq!(ledger.oldest_breaching(&over_time, hour(4)), Some(hour(1)));
    assert_eq!(ledger.oldest_breaching(&over_time, hour(5)), Some(hour(3)));
}

#[test]
fn time_windows_have_a_maximum_evaluation_range() {
    let most = |text| PeriodLength::parse(text).map(PeriodLength::max_evaluation_range);
    // 4,800 hours, or 4,800 days for periods of whole days.
    assert_eq!(most("15m"), Some(4 * 4_800));
    assert_eq!(most("1h"), Some(4_800));
    assert_eq!(most("36h"), Some(133));
    assert_eq!(most("1d"), Some(4_800));
    assert_eq!(most("1w"), Some(685));
    assert_eq!(most("1mo"), Some(154));
    assert_eq!(most("12mo"), Some(12));
}

#[test]
fn period_lengths_are_parsed_and_shown() {
    let shown = |text| PeriodLength::parse(text).map(|length| length.to_string());
    for (text, same) in [
        ("90min", "90m"),
        (" 60 m ", "1h"),
        ("24h", "1d"),
        ("168h", "1w"),
        ("10d", "10d"),
        ("36h", "36h"),
    ] {
        assert_eq!(shown(text).as_deref(), Some(same), "{text}");
    }
    assert_eq!(shown("4294967295m").as_deref(), Some("4294967295m"));
    assert_eq!(shown("4294967295h"), None);
}

#[test]
fn transitions_without_new_evidence_name_latest_execution() {
    let mut ledger = ledger(&[Clean, Failed, Failed, Violations], &window(1, 1));
    let drop = MonitorDatapointDrop {
        monitoring_schedule: "Churn-DQ".into(),
        scheduled_time: hour(3),
        by: "ada".into(),
        time: hour(4),
        reason: "wrong baseline".into(),
    };
    let rules = MonitorRules {
        unhealthy_after: 2,
        ..window(1, 1)
    };
    ledger.drop_datapoint(&drop, &rules, &caller(hour(4)));
    let latest = Some(execution_correlation_id("churn-dq", hour(2)));
    assert_eq!(alert_events(&ledger).last().unwrap().correlation_id, latest);
    assert_eq!(health_events(&ledger).last().unwrap().correlation_id, latest);
}
