//! Decisions rest on what is true now, and every stage has an exit.

use super::*;

pub(super) const HOUR: i64 = 3600;
pub(super) const DAY: i64 = 24 * HOUR;

/// The alert of `dq` as it is now, with a later revision.
pub(super) fn revised(revision: u64, check_types: &[&str], severity: Severity) -> AlertStateChange {
    let Input::Alert(change) = in_alert("dq", 1) else {
        panic!("an alert")
    };
    AlertStateChange {
        revision,
        check_types: check_types.iter().map(|name| (*name).to_owned()).collect(),
        severity: Some(severity),
        ..*change
    }
}

fn paused() -> Facts {
    Facts {
        paused: Some(Pause {
            paused: true,
            by: "ada".into(),
            time: at(1),
            until: None,
            reason: None,
        }),
        ..Facts::default()
    }
}

/// A model whose start was decided by an invocation that died before it called AWS.
fn with_pending_start() -> Scenario {
    let mut scenario = Scenario::with_policy(AUTO);
    scenario.start = None;
    assert_eq!(scenario.apply_at(10, in_alert("dq", 1)), Stage::Starting);
    scenario.start = Some(ModelEffectOutcome::Started(EXECUTION.into()));
    scenario
}

#[test]
fn refused_start_escalates_and_is_forgotten() {
    let mut scenario = Scenario::with_policy(AUTO);
    scenario.start = Some(ModelEffectOutcome::Refused("Parameter ReportUri is unknown".into()));
    assert_eq!(scenario.apply_at(10, in_alert("dq", 1)), Stage::Escalated);
    let (verdict, reasons) = scenario.last_decision();
    assert_eq!(verdict, Verdict::Escalate);
    assert!(matches!(&reasons[..], [Reason::StartRefused { error }] if error.contains("ReportUri")));
    assert!(scenario.document.retrainings.is_empty(), "it counts toward no budget");
    let is_start = |entry: &machine::Entry<ModelEffect>| entry.effect.is_start();
    assert!(!scenario.document.outbox.entries().iter().any(is_start));
    // An operator can end it, and a later alert is a new incident.
    let accept = resolution(1, Some(InAlertChoice::Accept));
    assert_eq!(scenario.apply_at(20, accept), Stage::Healthy);
    scenario.start = Some(ModelEffectOutcome::Started(EXECUTION.into()));
    scenario.apply_at(30, ok("dq", 2));
    assert_eq!(scenario.apply_at(40, in_alert("dq", 3)), Stage::Retraining);
}

#[test]
fn start_without_any_answer_escalates() {
    let mut scenario = with_pending_start();
    scenario.start = None;
    assert_eq!(scenario.apply_at(10 + HOUR - 1, tick()), Stage::Starting);
    assert_eq!(scenario.apply_at(10 + HOUR, tick()), Stage::Escalated);
    assert!(matches!(scenario.last_decision().1[..], [Reason::StartMissing { .. }]));
    assert!(scenario.document.retrainings.is_empty());
    // The run is seen after all.
    let late = execution(1, ExecutionStatus::Executing);
    assert_eq!(scenario.apply_at(2 * HOUR, late), Stage::Retraining);
}

#[test]
fn delayed_start_is_withdrawn_if_it_no_longer_holds() {
    let mut scenario = with_pending_start();
    scenario.facts = Some(paused());
    assert_eq!(scenario.apply_at(200, tick()), Stage::Holding);
    assert!(scenario.document.retrainings.is_empty());
    scenario.facts = Some(Facts::default());
    assert_eq!(scenario.apply_at(300, tick()), Stage::Retraining);
    assert_eq!(scenario.starts().len(), 1);

    // Every monitor is OK again.
    let mut scenario = with_pending_start();
    assert_eq!(scenario.apply_at(200, ok("dq", 2)), Stage::Holding);
    assert_eq!(scenario.apply_at(201, tick()), Stage::Healthy);
    assert!(scenario.starts().is_empty());
}

#[test]
fn delayed_start_is_renewed_with_new_parameters() {
    let mut scenario = with_pending_start();
    let policy = format!("{AUTO}[retraining]\nparameters = {{ Model = '{{model}}' }}\n");
    scenario.policy = Policy::parse(policy.as_bytes()).unwrap();
    assert_eq!(scenario.apply_at(200, tick()), Stage::Retraining);
    let [start] = scenario.starts()[..] else {
        panic!("one start")
    };
    assert_eq!(start.parameters, BTreeMap::from([("Model".into(), "churn".into())]));
    assert_eq!(scenario.document.retrainings, [at(200)]);
}

#[test]
fn execution_of_a_lost_answer_is_found() {
    for (status, started) in [(ExecutionStatus::Executing, at(10)), (ExecutionStatus::Failed, at(11))] {
        let mut scenario = with_pending_start();
        let execution = PipelineExecution {
            arn: EXECUTION.into(),
            status,
            start_time: Some(started),
            end_time: None,
        };
        scenario.facts = Some(Facts {
            own_execution: Some(execution),
            ..Facts::default()
        });
        assert_eq!(scenario.apply_at(200, tick()), Stage::Retraining, "{status:?}");
        assert!(scenario.starts().is_empty(), "no second call");
        assert_eq!(scenario.document.retrainings, [at(10)], "it counts");
    }
}

#[test]
fn execution_of_an_earlier_incident_is_not_its_own() {
    let mut scenario = with_pending_start();
    scenario.facts = Some(Facts {
        own_execution: Some(PipelineExecution {
            arn: EXECUTION.into(),
            status: ExecutionStatus::Succeeded,
            start_time: Some(at(-500)),
            end_time: None,
        }),
        ..Facts::default()
    });
    scenario.start = None;
    assert_eq!(scenario.apply_at(20, tick()), Stage::Starting);
    assert_eq!(scenario.document.incident.unwrap().execution(), None);
}

#[test]
fn start_waits_for_other_models() {
    let mut scenario = Scenario::with_policy(AUTO);
    let full = Reason::FleetAtOnce {
        retrainings: 5,
        limit: 5,
    };
    // Other models took the last slots between decision and start.
    scenario.start = Some(ModelEffectOutcome::Held(full.clone()));
    assert_eq!(scenario.apply_at(10, in_alert("dq", 1)), Stage::Holding);
    assert_eq!(scenario.last_decision(), (Verdict::Hold, vec![full.clone()]));
    assert!(scenario.document.waits_for_fleet());
    scenario.facts = Some(Facts {
        fleet: Some(full),
        ..Facts::default()
    });
    assert_eq!(scenario.apply_at(20, tick()), Stage::Holding);
    scenario.facts = Some(Facts::default());
    scenario.start = Some(ModelEffectOutcome::Started(EXECUTION.into()));
    assert_eq!(scenario.apply_at(30, tick()), Stage::Retraining);
}

#[test]
fn event_that_starts_a_retraining_waits_like_a_start() {
    let full = Reason::FleetAtOnce {
        retrainings: 5,
        limit: 5,
    };
    let decided = |scenario: &Scenario| {
        let entries = scenario.document.outbox.entries().iter();
        let verdicts = entries.filter_map(|entry| match &entry.effect {
            ModelEffect::PutRemediationDecided(decided) => Some(decided.verdict),
            _ => None,
        });
        verdicts.collect::<Vec<_>>()
    };
    for (policy, pipeline_start) in [
        (
            format!("{AUTO}[retraining]\nstart = 'event'\n"),
            PipelineStart::Remediate,
        ),
        (AUTO.to_owned(), PipelineStart::Rule),
    ] {
        let mut scenario = Scenario::with_policy(&policy);
        scenario.settings.pipeline_start = pipeline_start;
        scenario.start = Some(ModelEffectOutcome::Held(full.clone()));
        assert_eq!(scenario.apply_at(10, in_alert("dq", 1)), Stage::Holding);
        assert_eq!(scenario.last_decision(), (Verdict::Hold, vec![full.clone()]));
        assert_eq!(
            decided(&scenario),
            [Verdict::Hold],
            "the decision to retrain was not published"
        );
        // An invocation dies before it publishes the event. Meanwhile retraining is paused.
        scenario.start = None;
        assert_eq!(scenario.apply_at(20, tick()), Stage::Starting);
        assert_eq!(decided(&scenario), [Verdict::Hold, Verdict::Retrain]);
        scenario.facts = Some(paused());
        assert_eq!(scenario.apply_at(200, tick()), Stage::Holding);
        assert!(!decided(&scenario).contains(&Verdict::Retrain), "it is withdrawn");
        scenario.facts = Some(Facts::default());
        scenario.start = Some(ModelEffectOutcome::Published);
        assert_eq!(scenario.apply_at(300, tick()), Stage::Starting);
        assert_eq!(scenario.document.outbox.get("start/churn-1"), None, "it is published");
        // Published once: the report about the retraining comes next.
        assert_eq!(scenario.apply_at(400, tick()), Stage::Starting);
        assert!(!decided(&scenario).contains(&Verdict::Retrain));
        let running = execution(1, ExecutionStatus::Executing);
        assert_eq!(scenario.apply_at(500, running), Stage::Retraining);
    }
}

#[test]
fn start_that_a_dead_invocation_left_is_not_executed() {
    // An operator closes the incident while an invocation executes the start. The invocation dies.
    let mut scenario = with_pending_start();
    let accept = resolution(1, Some(InAlertChoice::Accept));
    assert_eq!(scenario.apply_at(20, accept), Stage::Healthy);
    let pending = scenario.document.outbox.get("start/churn-1");
    assert!(pending.is_some(), "it may be in progress");
    assert_eq!(scenario.document.retrainings.len(), 1, "it may be in progress");
    scenario.apply_at(10 + 121, tick());
    assert!(scenario.starts().is_empty());
    assert_eq!(scenario.document.outbox.get("start/churn-1"), None);
    assert_eq!(scenario.document.retrainings, [], "it is not known to have begun");
    // AWS had accepted it.
    scenario.apply_at(10 + 300, execution(1, ExecutionStatus::Executing));
    scenario.apply_at(10 + 600, execution(1, ExecutionStatus::Succeeded));
    assert_eq!(scenario.document.retrainings.len(), 1);
}

#[test]
fn accepted_start_counts_if_its_execution_is_the_first_news() {
    // The answer of AWS was lost, and the incident was closed meanwhile.
    let mut scenario = with_pending_start();
    scenario.apply_at(20, resolution(1, Some(InAlertChoice::Accept)));
    scenario.apply_at(10 + 121, execution(1, ExecutionStatus::Succeeded));
    assert_eq!(scenario.document.outbox.get("start/churn-1"), None);
    assert_eq!(scenario.document.retrainings.len(), 1);
}

#[test]
fn start_refused_after_its_incident_closed_does_not_count() {
    let mut scenario = with_pending_start();
    scenario.apply_at(20, resolution(1, Some(InAlertChoice::Accept)));
    let pending = scenario.document.outbox.settle("start/churn-1").unwrap();
    assert_eq!(scenario.document.retrainings.len(), 1);
    let refused = ModelEffectOutcome::Refused("ResourceLimitExceeded".into());
    scenario.document.record_outcome(&pending, refused);
    assert_eq!(scenario.document.retrainings, []);
}

#[test]
fn incident_without_alert_is_announced_if_monitors_are_silent() {
    let policy = "[remediation]\ndecide_after = '0s'\nautomation = 'auto'\ncooldown = '10h'\nclose_after = 3\n";
    let mut scenario = Scenario::with_policy(policy);
    scenario.document.retrainings = vec![at(0)];
    assert_eq!(scenario.apply_at(10, in_alert("dq", 1)), Stage::Holding);
    // One clean execution, and then nothing more.
    assert_eq!(scenario.apply_at(HOUR, ok("dq", 2)), Stage::Holding);
    assert_eq!(scenario.document.incident.as_ref().unwrap().decisions, 1);
    let known = scenario.levels.get_mut("dq").unwrap();
    known.interval = Some(SignedDuration::from_hours(1));
    assert_eq!(scenario.apply_at(12 * HOUR, tick()), Stage::Holding);
    let (verdict, reasons) = scenario.last_decision();
    let since = at(HOUR);
    assert_eq!(verdict, Verdict::Hold);
    assert!(
        matches!(&reasons[..], [Reason::NoMonitorInAlert, Reason::MonitorSilent { since: known, .. }] if *known == since),
        "{reasons:?}"
    );
    // Announced again every week, and decided when the monitor is in alert again.
    let decisions = |scenario: &Scenario| scenario.document.incident.as_ref().unwrap().decisions;
    scenario.apply_at(DAY, tick());
    assert_eq!(decisions(&scenario), 2);
    scenario.apply_at(8 * DAY, tick());
    assert_eq!(decisions(&scenario), 3);
    assert_eq!(scenario.apply_at(9 * DAY, in_alert("dq", 3)), Stage::Retraining);

    // An alarm of CloudWatch that has no data.
    let mut scenario = Scenario::with_policy(policy);
    scenario.document.retrainings = vec![at(0)];
    scenario.apply_at(10, in_alert("alarm:latency", 1));
    scenario.apply_at(HOUR, alert("alarm:latency", 2, AlertStatus::InsufficientData));
    assert_eq!(decisions(&scenario), 1);
    scenario.apply_at(4 * DAY, tick());
    assert_eq!(decisions(&scenario), 2);
}

#[test]
fn answer_before_the_first_decision_has_no_effect() {
    let mut scenario = Scenario::with_policy(AUTO);
    scenario.facts = None;
    assert_eq!(scenario.apply_at(10, in_alert("dq", 1)), Stage::Deciding);
    for decision in [None, Some(0)] {
        let Input::Approval(answer) = approval(true, 20) else {
            panic!("an approval")
        };
        let outcome = scenario.apply(Input::Approval(RemediationApproval { decision, ..answer }));
        assert_eq!(outcome, StepOutcome::Refused(Refusal::OtherDecision));
    }
}

#[test]
fn feed_that_breaks_while_held_is_not_retrained_on() {
    let mut scenario =
        Scenario::with_policy("[remediation]\ndecide_after = '0s'\nautomation = 'auto'\ncooldown = '10h'\n");
    scenario.document.retrainings = vec![at(0)];
    assert_eq!(scenario.apply_at(10, in_alert("dq", 1)), Stage::Holding);
    let broken = revised(1, &["baseline_drift_check", "missing_column_check"], Severity::Warning);
    scenario.levels.insert("dq".into(), level(&broken, &[9 * HOUR]));
    assert_eq!(scenario.apply_at(11 * HOUR, tick()), Stage::AwaitingData);
    assert_eq!(scenario.last_decision().0, Verdict::FixData);
    // The feed is repaired, and the drift stays.
    let repaired = revised(2, &["baseline_drift_check"], Severity::Warning);
    scenario.levels.insert("dq".into(), level(&repaired, &[30 * HOUR]));
    assert_eq!(scenario.apply_at(31 * HOUR, tick()), Stage::Retraining);
}

#[test]
fn silent_monitor_supports_no_retraining() {
    let mut scenario =
        Scenario::with_policy("[remediation]\ndecide_after = '0s'\nautomation = 'auto'\ncooldown = '10h'\n");
    scenario.document.retrainings = vec![at(0)];
    scenario.apply_at(10, in_alert("dq", 1));
    let known = scenario.levels.get_mut("dq").unwrap();
    known.interval = Some(SignedDuration::from_hours(1));
    assert_eq!(scenario.apply_at(11 * HOUR, tick()), Stage::Holding);
    assert!(matches!(&scenario.last_decision().1[..], [Reason::MonitorSilent { since, .. }] if *since == at(10)));
    assert_eq!(
        scenario.apply_at(3 * DAY, tick()),
        Stage::Holding,
        "silence is no recovery"
    );
    // If the ledger is lost, the last event is too old.
    scenario.levels.clear();
    assert_eq!(scenario.apply_at(4 * DAY, tick()), Stage::Holding);
    // Another monitor still shows the drift.
    assert_eq!(scenario.apply_at(4 * DAY + 2, in_alert("mq", 1)), Stage::Retraining);
}

#[test]
fn alarm_without_data_supports_no_retraining() {
    let mut scenario =
        Scenario::with_policy("[remediation]\ndecide_after = '0s'\nautomation = 'auto'\ncooldown = '10h'\n");
    scenario.document.retrainings = vec![at(0)];
    assert_eq!(scenario.apply_at(10, in_alert("alarm:latency", 1)), Stage::Holding);
    let unknown = alert("alarm:latency", 2, AlertStatus::InsufficientData);
    scenario.apply_at(20, unknown);
    assert_eq!(scenario.apply_at(11 * HOUR, tick()), Stage::Holding);
    assert!(scenario.starts().is_empty());
    assert_eq!(
        scenario.apply_at(12 * HOUR, in_alert("alarm:latency", 3)),
        Stage::Retraining
    );
}

#[test]
fn approval_counts_for_the_facts_it_was_given_for() {
    let policy = "[remediation]\ndecide_after = '0s'\nautomation = 'approve'\ncooldown = '10h'\n";
    let mut scenario = Scenario::with_policy(policy);
    scenario.document.retrainings = vec![at(0)];
    scenario.apply_at(10, in_alert("dq", 1));
    let answer = |decision, second| {
        let Input::Approval(approval) = approval(true, second) else {
            panic!("an approval")
        };
        Input::Approval(RemediationApproval {
            decision: Some(decision),
            ..approval
        })
    };
    assert_eq!(
        scenario.apply(answer(7, 20)),
        StepOutcome::Refused(Refusal::OtherDecision)
    );
    assert_eq!(scenario.apply_at(20, answer(1, 20)), Stage::Holding, "the cooldown");
    // The alert becomes critical: the approval lapses, and another one is requested.
    let critical = revised(1, &["baseline_drift_check"], Severity::Critical);
    scenario.levels.insert("dq".into(), level(&critical, &[9 * HOUR]));
    assert_eq!(scenario.apply_at(11 * HOUR, tick()), Stage::AwaitingApproval);
    assert!(scenario.starts().is_empty());
    let number = scenario.document.incident.as_ref().unwrap().decisions;
    assert_eq!(
        scenario.apply_at(11 * HOUR + 10, answer(number, 11 * HOUR + 10)),
        Stage::Retraining
    );
}

#[test]
fn retired_monitor_holds_no_incident_open() {
    let mut scenario = Scenario::after([in_alert("dq", 1), execution(1, ExecutionStatus::Succeeded)]);
    assert_eq!(scenario.apply_at(100, tick()), Stage::Verifying);
    let retired = Input::Retired {
        monitoring_schedule: "dq".into(),
    };
    assert_eq!(scenario.apply_at(200, retired), Stage::Healthy);
    assert!(scenario.document.alerts.is_empty());
}

#[test]
fn retirement_is_published_once() {
    let mut scenario = Scenario::with_policy(AUTO);
    let retired = || Input::Retired {
        monitoring_schedule: "DQ".into(),
    };
    let published = |scenario: &Scenario| {
        let entries = scenario.document.outbox.entries().iter();
        let changes = entries.filter_map(|entry| match &entry.effect {
            ModelEffect::PutHealthStateChange(change) => Some((change.id.clone(), change.health_status)),
            _ => None,
        });
        changes.collect::<Vec<_>>()
    };
    scenario.apply_at(10, retired());
    assert_eq!(published(&scenario), [], "the model does not know the monitor");
    scenario.apply_at(20, in_alert("dq", 1));
    scenario.apply_at(200, retired());
    scenario.apply_at(300, retired());
    let id = "retired-churn-DQ-1790000200".to_owned();
    assert_eq!(published(&scenario), [(id, HealthStatus::Retired)]);
}

#[test]
fn level_of_retired_monitor_is_not_needed() {
    let mut scenario = Scenario::after([in_alert("dq", 1), in_alert("mq", 1)]);
    let retired = Input::Retired {
        monitoring_schedule: "dq".into(),
    };
    scenario.apply_at(200, retired);
    assert!(scenario.document.incident.is_some());
    // Its ledger still says that it is in alert.
    let needs = scenario.document.needs(&tick(), &caller(300));
    assert_eq!(needs.levels, ["mq"]);
}

#[test]
fn every_stage_ends() {
    // Retraining.
    let mut scenario = Scenario::after([in_alert("dq", 1)]);
    assert_eq!(scenario.apply_at(48 * HOUR - 10, tick()), Stage::Retraining);
    assert_eq!(scenario.apply_at(48 * HOUR + 10, tick()), Stage::Escalated);
    let overdue = |scenario: &Scenario| match scenario.last_decision().1[..] {
        [Reason::StageOverdue { stage, .. }, ..] => Some(stage),
        _ => None,
    };
    assert_eq!(overdue(&scenario), Some(Stage::Retraining));
    // The run is not known to SageMaker.
    let mut scenario = Scenario::after([in_alert("dq", 1)]);
    let unknown = Input::RunUnknown {
        execution_arn: EXECUTION.into(),
    };
    assert_eq!(scenario.apply_at(100, unknown), Stage::Escalated);
    assert!(matches!(scenario.last_decision().1[..], [Reason::RunUnknown { .. }]));
    // Broken data.
    let mut scenario = Scenario::with_policy(AUTO);
    let broken = revised(0, &["missing_column_check"], Severity::Warning);
    assert_eq!(
        scenario.apply_at(10, Input::Alert(Box::new(broken))),
        Stage::AwaitingData
    );
    assert_eq!(scenario.apply_at(7 * DAY, tick()), Stage::AwaitingData);
    assert_eq!(scenario.apply_at(7 * DAY + 10, tick()), Stage::Escalated);
    assert_eq!(overdue(&scenario), Some(Stage::AwaitingData));
    // Facts that cannot be read.
    let mut scenario = Scenario::with_policy(AUTO);
    scenario.facts = None;
    assert_eq!(scenario.apply_at(10, in_alert("dq", 1)), Stage::Deciding);
    assert_eq!(scenario.apply_at(10 + HOUR, tick()), Stage::Escalated);
    assert!(
        matches!(&scenario.last_decision().1[..], [Reason::FactsMissing { error }] if error.contains("Throttling"))
    );
    // A monitor that reports nothing about the retrained model.
    let mut scenario = Scenario::after([in_alert("dq", 1), execution(1, ExecutionStatus::Succeeded)]);
    scenario.levels.get_mut("dq").unwrap().interval = Some(SignedDuration::from_hours(1));
    assert_eq!(scenario.apply_at(2 * DAY - 10, tick()), Stage::Verifying);
    assert_eq!(scenario.apply_at(2 * DAY + 10, tick()), Stage::Escalated);
    assert_eq!(overdue(&scenario), Some(Stage::Verifying));
    assert!(matches!(
        &scenario.last_decision().1[1..],
        [Reason::MonitorSilent { .. }]
    ));
    // An experiment of which no end is seen.
    let mut scenario = with_candidate();
    scenario.apply_at(200, candidate(None, None, 200));
    assert_eq!(scenario.apply_at(60 * DAY, tick()), Stage::Escalated);
    assert_eq!(overdue(&scenario), Some(Stage::Candidate));
}

#[test]
fn policy_sets_the_time_to_verify() {
    for (within, interval) in [("6h", 1), ("30d", 1000)] {
        let mut scenario = Scenario::with_policy(&format!("{AUTO}verify_within = '{within}'\n"));
        scenario.apply_at(10, in_alert("dq", 1));
        scenario.apply_at(20, execution(1, ExecutionStatus::Succeeded));
        scenario.levels.get_mut("dq").unwrap().interval = Some(SignedDuration::from_hours(interval));
        let seconds = remediation::duration(within).unwrap().as_secs();
        assert_eq!(scenario.apply_at(seconds, tick()), Stage::Verifying, "{within}");
        assert_eq!(scenario.apply_at(seconds + 30, tick()), Stage::Escalated, "{within}");
    }
}

#[test]
fn open_decision_is_published_again_every_week() {
    let mut scenario = Scenario::after([in_alert("dq", 1), execution(1, ExecutionStatus::Failed)]);
    assert_eq!(scenario.document.incident.as_ref().unwrap().decisions, 2);
    for week in 1..4_u64 {
        let second = 7 * DAY * i64::try_from(week).unwrap();
        scenario.apply_at(second - 100, tick());
        assert_eq!(scenario.document.incident.as_ref().unwrap().decisions, 1 + week);
        assert_eq!(scenario.apply_at(second + 100, tick()), Stage::Escalated);
        assert_eq!(scenario.document.incident.as_ref().unwrap().decisions, 2 + week);
        assert!(matches!(scenario.last_decision().1[..], [Reason::RunEnded { .. }]));
    }
}

#[test]
fn retried_run_continues_the_incident() {
    let run = |status, end: Option<i64>, second| Input::PipelineExecution {
        incident: 1,
        execution: PipelineExecution {
            arn: EXECUTION.into(),
            status,
            start_time: Some(at(5)),
            end_time: end.map(at),
        },
        at: at(second),
    };
    let mut scenario = Scenario::after([in_alert("dq", 1)]);
    let failed = run(ExecutionStatus::Failed, Some(100), 100);
    assert_eq!(scenario.apply_at(100, failed.clone()), Stage::Escalated);
    // Late and repeated events about the time before the end.
    assert_eq!(
        scenario.apply_at(110, run(ExecutionStatus::Executing, None, 50)),
        Stage::Escalated
    );
    assert_eq!(scenario.apply_at(111, failed.clone()), Stage::Escalated);
    // RetryPipelineExecution keeps the ARN.
    let mut lost = scenario.document.clone();
    assert_eq!(
        scenario.apply_at(200, run(ExecutionStatus::Executing, None, 200)),
        Stage::Retraining
    );
    assert_eq!(scenario.apply_at(210, failed), Stage::Retraining, "late");
    let succeeded = run(ExecutionStatus::Succeeded, Some(300), 300);
    assert_eq!(scenario.apply_at(300, succeeded.clone()), Stage::Verifying);
    // The event of the retry was lost.
    std::mem::swap(&mut scenario.document, &mut lost);
    assert_eq!(scenario.apply_at(300, succeeded), Stage::Verifying);
}

#[test]
fn drift_that_comes_and_goes_is_one_incident() {
    let mut scenario =
        Scenario::with_policy("[remediation]\ndecide_after = '0s'\nautomation = 'auto'\ncooldown = '0m'\n");
    scenario.apply_at(10, in_alert("dq", 1));
    scenario.apply_at(20, execution(1, ExecutionStatus::Succeeded));
    let mut alerts = Vec::new();
    for night in 0..14_i64 {
        let start = night * DAY + HOUR;
        let transition = u64::try_from(night).unwrap() * 2 + 1;
        let Input::Alert(mut change) = in_alert("dq", transition) else {
            panic!("an alert")
        };
        change.time = at(start);
        scenario.apply_at(start, Input::Alert(change));
        alerts.push(at(start));
        scenario.judge_at(
            start + 3 * HOUR,
            "dq",
            &[start + 3 * HOUR, start + 2 * HOUR, start + HOUR],
        );
        scenario.apply_at(start + 4 * HOUR, ok("dq", transition + 1));
        let level = scenario.levels.get_mut("dq").unwrap();
        level.judged_since_transition = 5;
        level.alerts.clone_from(&alerts);
        scenario.apply_at(start + 8 * HOUR, tick());
    }
    assert_eq!(scenario.document.incidents, 1);
    assert_eq!(scenario.starts().len(), 1, "one incident has one retraining");
    let open = scenario.document.incident.as_ref().unwrap();
    assert_eq!((open.stage(), open.returns), (Stage::Escalated, 1));
    assert!(open.decisions < 6, "{} decisions in two weeks", open.decisions);
    let (_, reasons) = scenario.last_decision();
    let recurs = |reason: &Reason| matches!(reason, Reason::DriftReturned { recurrence: Some(found), .. } if found.hours.is_some());
    assert!(reasons.iter().any(recurs), "{reasons:?}");
    // It ends after a day without drift.
    assert_eq!(scenario.apply_at(16 * DAY, tick()), Stage::Healthy);
}

#[test]
fn incident_ends_after_three_clean_executions() {
    let mut scenario = Scenario::with_policy("[remediation]\ndecide_after = '0s'\nautomation = 'suggest'\n");
    scenario.apply_at(10, in_alert("dq", 1));
    assert_eq!(scenario.apply_at(20, ok("dq", 2)), Stage::Holding);
    for (clean, stage) in [(1, Stage::Holding), (2, Stage::Holding), (3, Stage::Healthy)] {
        scenario.levels.get_mut("dq").unwrap().judged_since_transition = clean;
        assert_eq!(scenario.apply_at(30, tick()), stage, "{clean} clean executions");
    }
}

#[test]
fn alert_of_a_restarted_ledger_is_later() {
    let mut scenario = Scenario::after([in_alert("dq", 1), ok("dq", 2), in_alert("dq", 3), ok("dq", 4)]);
    scenario.judge_at(100, "dq", &[90]);
    let Input::Alert(mut change) = in_alert("dq", 1) else {
        panic!("an alert")
    };
    change.epoch = Some(at(200));
    assert_ne!(scenario.apply_at(210, Input::Alert(change)), Stage::Healthy);
}

/// Approval was requested for other facts, and the policy no longer requires it. An answer to the present decision counts.
#[test]
fn answer_counts_after_a_request_for_other_facts() {
    let requested = || {
        let mut scenario = Scenario::with_policy("[remediation]\ndecide_after = '0s'\nautomation = 'approve'\n");
        assert_eq!(scenario.apply_at(10, in_alert("dq", 1)), Stage::AwaitingApproval);
        let critical = revised(1, &["baseline_drift_check"], Severity::Critical);
        (scenario, Input::Alert(Box::new(critical)))
    };
    let (mut scenario, critical) = requested();
    scenario.policy = Policy::parse(b"[remediation]\ndecide_after = '0s'\nautomation = 'suggest'\n").unwrap();
    assert_eq!(scenario.apply_at(20, critical), Stage::Holding);
    assert_eq!(scenario.apply_at(30, approval(true, 30)), Stage::Retraining);
    let (mut scenario, critical) = requested();
    scenario.policy = Policy::parse(AUTO.as_bytes()).unwrap();
    scenario.facts = Some(paused());
    assert_eq!(scenario.apply_at(20, critical), Stage::Holding);
    assert_eq!(scenario.apply_at(30, approval(false, 30)), Stage::Holding);
    scenario.facts = Some(Facts::default());
    assert_eq!(scenario.apply_at(40, tick()), Stage::Holding, "denied");
}

/// A hold has the same reasons if the severity changes. The answer to it would count for the former severity.
#[test]
fn changed_facts_of_a_hold_are_another_decision() {
    // The default automation level suggests a retraining.
    let mut scenario = Scenario::with_policy("[remediation]\ndecide_after = '0s'\n");
    assert_eq!(scenario.apply_at(10, in_alert("dq", 1)), Stage::Holding);
    let number = |scenario: &Scenario| {
        scenario
            .document
            .incident
            .as_ref()
            .unwrap()
            .decision
            .as_ref()
            .unwrap()
            .number
    };
    assert_eq!(number(&scenario), 1);
    scenario.apply_at(15, tick());
    assert_eq!(number(&scenario), 1, "nothing has changed");
    let critical = revised(1, &["baseline_drift_check"], Severity::Critical);
    scenario.apply_at(20, Input::Alert(Box::new(critical)));
    assert_eq!(number(&scenario), 2);
    let answer = |decision| {
        let Input::Approval(approval) = approval(true, 30) else {
            panic!("an approval")
        };
        Input::Approval(RemediationApproval {
            decision: Some(decision),
            ..approval
        })
    };
    assert_eq!(
        scenario.apply_at(30, answer(1)),
        Stage::Holding,
        "an answer to the former decision"
    );
    assert_eq!(scenario.apply_at(31, answer(2)), Stage::Retraining);
}
