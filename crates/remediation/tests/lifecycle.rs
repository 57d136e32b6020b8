//! The lifecycle of a model: every transition, every verdict, and one incident, one retraining, whatever comes in.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use alerting::{AlertStateChange, AlertStatus, DatapointState, EventDatapoint, Severity};
use jiff::{SignedDuration, Timestamp};
use outbox::{Caller, Outbox};
use promotion::Conclusion;
use proptest::prelude::*;
use remediation::{
    CandidateStatus, Cause, ExecutionStatus, Facts, Given, Input, ModelDocument, ModelEffect, MonitorLevel, Outcome,
    Pause, PipelineExecution, PipelineStart, Policy, Reason, RemediationApproval, RemediationPause,
    RemediationResolution, RiskRating, Settings, Stage, StartPipelineExecution, Stepped, TRANSITIONS, Verdict, diagram,
    model_of_display_name,
};
use std::collections::{BTreeMap, BTreeSet};

/// Acts at once, as often as asked.
const AUTO: &str =
    "[remediation]\nautomation = 'auto'\ncooldown = '0m'\nretrainings_per_day = 1000\nretrainings_per_month = 1000\n";

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_790_000_000 + second).unwrap()
}

fn caller(second: i64) -> Caller {
    Caller {
        id: format!("request-{second}"),
        now: at(second),
        lease: SignedDuration::from_secs(120),
    }
}

/// A model under a policy, and what SageMaker would say if it were asked.
struct Play {
    document: ModelDocument,
    policy: Policy,
    settings: Settings,
    facts: Option<Facts>,
    second: i64,
}

impl Play {
    fn under(policy: &str) -> Self {
        Self {
            document: ModelDocument::new("churn"),
            policy: Policy::parse(policy.as_bytes()).unwrap(),
            settings: Settings {
                pipeline: "churn-retraining".into(),
                pipeline_start: PipelineStart::Remediate,
            },
            facts: Some(Facts::default()),
            second: 0,
        }
    }

    fn of(inputs: impl IntoIterator<Item = Input>) -> Self {
        let mut play = Self::under(AUTO);
        for input in inputs {
            play.take(input);
        }
        play
    }

    fn take(&mut self, input: Input) -> Stepped {
        let given = Given {
            policy: &self.policy,
            settings: &self.settings,
            facts: self.facts.as_ref(),
        };
        self.second += 1;
        self.document.step(input, given, &caller(self.second))
    }

    /// Takes an input so many seconds after the beginning.
    fn take_at(&mut self, second: i64, input: Input) -> Stage {
        self.second = second - 1;
        self.take(input);
        self.stage()
    }

    fn stage(&self) -> Stage {
        self.document.stage()
    }

    fn starts(&self) -> Vec<&StartPipelineExecution> {
        starts(&self.document)
    }

    /// Verdict and reasons of the last decision, without what repeats the alerts.
    fn decided(&self) -> (Verdict, Vec<Reason>) {
        let decision = self.document.incident.as_ref().unwrap().decision.as_ref().unwrap();
        let reasons = decision.reasons.iter();
        let others = reasons.filter(|reason| !matches!(reason, Reason::MonitorInAlert { .. }));
        (decision.verdict, others.cloned().collect())
    }

    fn sentence(&self) -> String {
        let decision = self.document.incident.as_ref().unwrap().decision.as_ref().unwrap();
        decision.sentence.clone()
    }
}

fn starts(document: &ModelDocument) -> Vec<&StartPipelineExecution> {
    let starts = document
        .outbox
        .entries()
        .iter()
        .filter_map(|entry| match &entry.effect {
            ModelEffect::StartPipelineExecution(start) => Some(start),
            _ => None,
        });
    starts.collect()
}

fn tick() -> Input {
    Input::Tick(BTreeMap::new())
}

fn approval(granted: bool, second: i64) -> Input {
    Input::Approval(RemediationApproval {
        incident_id: "churn-1".into(),
        granted,
        by: "ada".into(),
        time: at(second),
        valid_until: None,
        reason: None,
    })
}

/// A person pauses the model at a time, for so many seconds or until somebody says otherwise; or lets it go on.
fn pause(paused: bool, second: i64, seconds: Option<i64>) -> Input {
    Input::Pause(RemediationPause {
        model: "churn".into(),
        paused,
        by: "ada".into(),
        time: at(second),
        until: seconds.map(|seconds| at(second + seconds)),
        reason: Some("the season's data are late".into()),
    })
}

fn alert(schedule: &str, transition: u64, status: AlertStatus) -> Input {
    let previous = if status == AlertStatus::Ok {
        AlertStatus::InAlert
    } else {
        AlertStatus::Ok
    };
    Input::Alert(Box::new(AlertStateChange {
        version: "1".into(),
        id: format!("alert-{schedule}-{transition}"),
        correlation_id: Some(format!("of-{schedule}-{transition}")),
        model: "churn".into(),
        endpoint: Some("churn".into()),
        monitoring_schedule: schedule.into(),
        monitor_type: Some("DataQuality".into()),
        transition,
        alert_status: status,
        previous_alert_status: previous,
        severity: (status == AlertStatus::InAlert).then_some(Severity::Warning),
        datapoints_to_alert: 2,
        evaluation_period: 3,
        period: None,
        breaching: 2,
        datapoints: vec![EventDatapoint {
            scheduled_time: at(0),
            state: DatapointState::Violations,
            violations: Some(2),
            report_uri: None,
        }],
        violations: Vec::new(),
        check_types: vec!["baseline_drift_check".into()],
        report_uri: None,
        reason: "2 of the 3 latest executions had violations; 2 of 3 alert".into(),
        policy_version: "default".into(),
        time: at(i64::try_from(transition).unwrap()),
    }))
}

fn in_alert(schedule: &str, transition: u64) -> Input {
    alert(schedule, transition, AlertStatus::InAlert)
}

fn ok(schedule: &str, transition: u64) -> Input {
    alert(schedule, transition, AlertStatus::Ok)
}

fn execution(incident: u64, status: ExecutionStatus) -> Input {
    let arn = format!("arn:aws:sagemaker:us-east-1:111122223333:pipeline/churn-retraining/execution/{incident}");
    Input::PipelineExecution {
        incident,
        execution: PipelineExecution {
            arn,
            status,
            start_time: None,
            end_time: None,
        },
    }
}

fn levels(judged: &[i64]) -> Input {
    let level = MonitorLevel {
        judged: judged.iter().map(|second| at(*second)).collect(),
        evaluation_period: 3,
    };
    Input::Tick(BTreeMap::from([("dq".to_owned(), level)]))
}

#[test]
fn every_row_of_the_table_is_a_transition_and_all_else_is_none() {
    let mut seen = BTreeSet::new();
    for (from, cause, to) in TRANSITIONS {
        assert!(seen.insert((from, cause)), "{from:?} {cause:?} is listed twice");
        assert_eq!(from.after(cause), Some(to));
    }
    for from in Stage::ALL {
        for cause in Cause::ALL {
            assert_eq!(
                from.after(cause).is_some(),
                seen.contains(&(from, cause)),
                "{from:?} {cause:?}"
            );
        }
        assert!(
            from == Stage::Healthy || TRANSITIONS.iter().any(|(a, _, b)| *a == from && *b != from),
            "{from:?} has a way out"
        );
        assert!(
            TRANSITIONS.iter().any(|(_, _, to)| *to == from),
            "{from:?} can be reached"
        );
    }
    // A retraining is started from undecided stages alone, so that no incident has two.
    for (from, cause, to) in TRANSITIONS {
        assert_eq!(cause == Cause::Retrain, to == Stage::Retraining && from.is_undecided());
    }
}

#[test]
fn the_diagram_of_the_docs_is_drawn_from_the_table() {
    let docs = include_str!("../../../ARCHITECTURE.md");
    assert!(
        docs.contains(&diagram()),
        "ARCHITECTURE.md should hold:\n```mermaid\n{}```",
        diagram()
    );
}

#[test]
fn the_first_alert_opens_an_incident_and_starts_the_pipeline() {
    let play = Play::of([in_alert("dq", 1)]);
    let [start] = play.starts()[..] else {
        panic!("one start")
    };
    assert_eq!(start.pipeline, "churn-retraining");
    assert_eq!(start.display_name, "driftwarden-churn-1");
    assert_eq!(model_of_display_name(&start.display_name), Some(("churn", 1)));
    assert!((32..=128).contains(&start.client_request_token.len()));
    assert_eq!(start.parameters["DriftwardenIncident"], "churn-1");
    assert_eq!(start.parameters["DriftedFeatures"], "none");
    insta::assert_snapshot!(start.description, @"Retrain `churn`: monitor `dq` is in alert (2 of the 3 latest executions had violations; 2 of 3 alert). No run of this model is in flight; the automation level is `auto` (risk rating unknown).");
    assert_eq!(play.stage(), Stage::Retraining);
}

#[test]
fn names_that_sagemaker_would_refuse_in_a_description_are_made_one_line() {
    let Input::Alert(mut change) = in_alert("dq", 1) else {
        panic!("an alert")
    };
    change.reason = format!("a\nb {}", "x".repeat(5000));
    let play = Play::of([Input::Alert(change)]);
    let description = &play.starts()[0].description;
    assert!(
        description.chars().count() <= 3072 && !description.contains('\n'),
        "{description}"
    );
}

#[test]
fn a_decision_on_many_large_alerts_is_an_event_that_eventbridge_takes() {
    let mut play = Play::under(AUTO);
    for monitor in 0..6 {
        let Input::Alert(mut change) = in_alert(&format!("monitor-{monitor}"), 1) else {
            panic!("an alert")
        };
        let datapoint = EventDatapoint {
            report_uri: Some("s3://reports/".to_owned() + &"x".repeat(300)),
            ..change.datapoints.remove(0)
        };
        change.datapoints = vec![datapoint; 100];
        let name = "y".repeat(256);
        change.violations = vec![
            alerting::ReportedViolation {
                subject: name.clone(),
                dimensions: BTreeMap::from([("Feature".to_owned(), name.clone())]),
                constraint_check_type: name.clone(),
                observed: None,
                threshold: None,
                description: Some("z".repeat(300)),
            };
            20
        ];
        // A run in flight: every alert that joins is decided on anew, with all that came before.
        play.facts = Some(Facts {
            in_flight: vec![format!("run-{monitor}")],
            ..Facts::default()
        });
        play.take(Input::Alert(change));
    }
    let largest = play
        .document
        .outbox
        .entries()
        .iter()
        .filter_map(|entry| match &entry.effect {
            ModelEffect::PutRemediationDecided(decided) => Some(serde_json::to_vec(decided).unwrap().len()),
            _ => None,
        });
    let largest = largest.max().unwrap();
    assert!(largest > 64 << 10, "{largest} bytes: the alerts are large");
    assert!(largest < 256 << 10, "{largest} bytes");
}

#[test]
fn other_monitors_join_and_start_nothing() {
    let play = Play::of([in_alert("dq", 1), in_alert("mq", 1), in_alert("dq", 3)]);
    assert_eq!(play.starts().len(), 1);
    assert_eq!(play.document.incident.unwrap().monitors, ["dq", "mq"]);
}

#[test]
fn an_incident_closes_when_the_pipeline_has_succeeded_and_every_monitor_is_ok() {
    use ExecutionStatus::{Executing, Succeeded};
    let mut play = Play::of([
        in_alert("dq", 1),
        in_alert("mq", 1),
        execution(1, Executing),
        execution(1, Succeeded),
    ]);
    assert_eq!(play.stage(), Stage::Verifying);
    assert_eq!(play.take_at(100, ok("dq", 2)), Stage::Verifying);
    assert_eq!(play.take_at(7200, ok("mq", 2)), Stage::Healthy);
    let closed = play.document.closed.last().unwrap();
    assert_eq!(closed.outcome, Outcome::Repaired);
    let told = play
        .document
        .outbox
        .entries()
        .iter()
        .find_map(|entry| match &entry.effect {
            ModelEffect::PutIncidentClosed(closed) => Some(closed),
            _ => None,
        });
    let told = told.unwrap();
    assert_eq!(told.time_to_repair_seconds, 7199);
    insta::assert_snapshot!(told.sentence, @"Incident churn-1 of `churn` (`dq`, `mq`) is over after 1 h 59 min: the retraining helped: every monitor is OK after it.");
    assert_eq!(play.take_at(7300, in_alert("dq", 3)), Stage::Retraining);
    let tokens: BTreeSet<_> = play.starts().iter().map(|start| &start.client_request_token).collect();
    assert_eq!(tokens.len(), 2, "the next incident is another retraining");
}

#[test]
fn an_alert_that_is_over_does_not_close_an_incident_whose_pipeline_runs() {
    let play = Play::of([in_alert("dq", 1), ok("dq", 2), in_alert("dq", 3)]);
    assert_eq!((play.stage(), play.starts().len()), (Stage::Retraining, 1));
    let play = Play::of([in_alert("dq", 1), ok("dq", 2), execution(1, ExecutionStatus::Succeeded)]);
    assert_eq!((play.stage(), play.document.closed.len()), (Stage::Healthy, 1));
}

#[test]
fn a_failed_pipeline_needs_a_person() {
    for status in [
        ExecutionStatus::Failed,
        ExecutionStatus::Stopped,
        ExecutionStatus::CompletedWithFailures,
    ] {
        let play = Play::of([in_alert("dq", 1), execution(1, status), in_alert("dq", 3)]);
        assert_eq!((play.stage(), play.starts().len()), (Stage::Escalated, 1));
        assert_eq!(play.decided().0, Verdict::Escalate);
    }
}

#[test]
fn drift_that_persists_after_the_retraining_escalates_and_never_retrains_again() {
    let mut play = Play::of([in_alert("dq", 1), execution(1, ExecutionStatus::Succeeded)]);
    assert_eq!(
        play.take_at(5000, levels(&[4000, 3000, -100])),
        Stage::Verifying,
        "two since the run's end"
    );
    assert_eq!(
        play.take_at(6000, levels(&[5000, 4000, 3000])),
        Stage::Escalated,
        "three since, and still in alert"
    );
    insta::assert_snapshot!(play.sentence(), @"Look at `churn` yourself: monitor `dq` is in alert (2 of the 3 latest executions had violations; 2 of 3 alert). Monitor `dq` is still in alert on 3 executions after the retraining.");
    assert_eq!(play.take_at(7000, in_alert("mq", 1)), Stage::Escalated);
    assert_eq!(play.starts().len(), 1);
    play.take_at(8000, ok("dq", 2));
    assert_eq!(play.take_at(8001, ok("mq", 2)), Stage::Healthy);
    assert_eq!(play.document.closed[0].outcome, Outcome::Recovered);
}

#[test]
fn a_policy_may_ask_for_more_executions_before_an_incident_closes() {
    let mut play = Play::under(&format!("{AUTO}verify_executions = 2\n"));
    play.take(in_alert("dq", 1));
    play.take(execution(1, ExecutionStatus::Succeeded));
    assert_eq!(play.take_at(4000, ok("dq", 2)), Stage::Verifying);
    assert_eq!(play.take_at(4001, levels(&[3700])), Stage::Verifying);
    assert_eq!(
        play.take_at(4002, tick()),
        Stage::Verifying,
        "nothing is known of the monitor"
    );
    assert_eq!(play.take_at(8000, levels(&[7200, 3700])), Stage::Healthy);
}

#[test]
fn broken_data_are_mended_and_not_trained_on() {
    let Input::Alert(mut change) = in_alert("dq", 1) else {
        panic!("an alert")
    };
    change.check_types = vec!["baseline_drift_check".into(), "data_type_check".into()];
    let mut play = Play::under(AUTO);
    assert_eq!(play.take_at(1, Input::Alert(change)), Stage::AwaitingData);
    insta::assert_snapshot!(play.sentence(), @"Mend the data of `churn`: monitor `dq` is in alert (2 of the 3 latest executions had violations; 2 of 3 alert). Monitor `dq` found that the data broke (data_type_check), and retraining on broken data would make it worse.");
    assert_eq!(
        play.take_at(2, in_alert("mq", 1)),
        Stage::AwaitingData,
        "another monitor does not make it better"
    );
    // The data are mended, and the other monitor's drift is left: now a retraining helps.
    assert_eq!(play.take_at(3, ok("dq", 2)), Stage::Retraining);
}

#[test]
fn a_medium_risk_waits_for_an_approval_and_says_until_when() {
    let mut play = Play::under("");
    play.facts = Some(Facts {
        risk_rating: RiskRating::Medium,
        ..Facts::default()
    });
    assert_eq!(play.take_at(10, in_alert("dq", 1)), Stage::AwaitingApproval);
    insta::assert_snapshot!(play.sentence(), @"Hold the retraining of `churn`: monitor `dq` is in alert (2 of the 3 latest executions had violations; 2 of 3 alert). A person has to approve it until 2026-09-24T14:13:30Z.");
    assert_eq!(play.take_at(20, tick()), Stage::AwaitingApproval);
    let told = play.document.outbox.entries().len();
    assert_eq!(told, 1, "a decision that says the same is told once");
    assert_eq!(play.take_at(30, approval(true, 30)), Stage::Retraining);
    assert!(play.decided().1.contains(&Reason::Approved {
        by: "ada".into(),
        at: at(30)
    }));
    assert_eq!(
        play.take_at(40, approval(true, 30)),
        Stage::Retraining,
        "the same again"
    );
    assert_eq!(play.starts().len(), 1);
}

#[test]
fn an_approval_that_comes_too_late_starts_nothing_and_a_new_monitor_asks_again() {
    let day = 24 * 3600;
    let mut play = Play::under("[remediation]\nautomation = 'approve'\n");
    play.take_at(10, in_alert("dq", 1));
    assert_eq!(play.take_at(3 * day + 11, tick()), Stage::Holding);
    assert!(matches!(play.decided().1[..], [Reason::ApprovalExpired { .. }]));
    assert_eq!(play.take_at(3 * day + 12, approval(true, 3 * day + 12)), Stage::Holding);
    assert_eq!(play.take_at(3 * day + 13, in_alert("mq", 1)), Stage::AwaitingApproval);
    assert_eq!(
        play.take_at(3 * day + 14, approval(true, 3 * day + 14)),
        Stage::Retraining
    );
}

#[test]
fn an_approval_that_cannot_be_acted_on_holds_for_its_time() {
    let policy = "[remediation]\nautomation = 'approve'\ncooldown = '10h'\napproval_valid_for = '1h'\n";
    let mut play = Play::under(policy);
    play.document.retrainings = vec![at(-1)];
    assert_eq!(
        play.take_at(10, in_alert("dq", 1)),
        Stage::AwaitingApproval,
        "asked while the cooldown lasts"
    );
    assert_eq!(play.take_at(20, approval(true, 20)), Stage::Holding, "by the cooldown");
    assert_eq!(
        play.take_at(10 * 3600, tick()),
        Stage::AwaitingApproval,
        "the approval has lapsed"
    );
    assert_eq!(
        play.take_at(10 * 3600 + 1, approval(true, 10 * 3600 + 1)),
        Stage::Retraining
    );
}

#[test]
fn a_no_is_a_no_until_something_new_comes() {
    for automation in ["auto", "approve", "suggest"] {
        let mut play = Play::under(&format!(
            "[remediation]\nautomation = '{automation}'\ncooldown = '10h'\n"
        ));
        play.document.retrainings = vec![at(-1)];
        play.take_at(10, in_alert("dq", 1));
        assert_eq!(play.take_at(20, approval(false, 20)), Stage::Holding, "{automation}");
        assert_eq!(
            play.take_at(11 * 3600, tick()),
            Stage::Holding,
            "{automation}: past the cooldown"
        );
        let after = play.take_at(11 * 3600 + 1, in_alert("mq", 1));
        let expected = match automation {
            "auto" => Stage::Retraining,
            "approve" => Stage::AwaitingApproval,
            _ => Stage::Holding,
        };
        assert_eq!(after, expected, "{automation}: another monitor");
    }
}

#[test]
fn a_suggestion_may_be_ordered_and_an_observation_may_not() {
    let mut play = Play::under("");
    assert_eq!(
        play.take_at(10, in_alert("dq", 1)),
        Stage::Holding,
        "an unknown risk is suggested"
    );
    assert_eq!(play.take_at(20, approval(true, 20)), Stage::Retraining);
    let mut play = Play::under("[remediation]\nautomation = 'observe'\n");
    play.take_at(10, in_alert("dq", 1));
    assert_eq!(play.take_at(20, approval(true, 20)), Stage::Holding);
}

#[test]
fn the_kill_switch_holds_everything_and_off_again_decides() {
    for paused in ["paused = true\n", "[[model]]\nname = 'churn'\npaused = true\n"] {
        let mut play = Play::under(AUTO);
        play.policy = Policy::parse(format!("{paused}{AUTO}").as_bytes())
            .or_else(|_| Policy::parse(format!("{AUTO}{paused}").as_bytes()))
            .unwrap();
        assert_eq!(play.take_at(10, in_alert("dq", 1)), Stage::Holding);
        assert!(matches!(play.decided().1[..], [Reason::Paused { .. }]));
        play.policy = Policy::parse(AUTO.as_bytes()).unwrap();
        assert_eq!(play.take_at(20, tick()), Stage::Retraining);
    }
}

#[test]
fn a_paused_model_holds_until_somebody_lets_it_go_on() {
    let mut play = Play::under(AUTO);
    // Before anything was ever heard of it.
    play.take_at(5, pause(true, 5, None));
    assert_eq!(play.take_at(10, in_alert("dq", 1)), Stage::Holding);
    insta::assert_snapshot!(play.sentence(), @"Hold the retraining of `churn`: monitor `dq` is in alert (2 of the 3 latest executions had violations; 2 of 3 alert). Ada paused the model at 2026-09-21T14:13:25Z (the season's data are late).");
    let (verdict, reasons) = play.decided();
    assert_eq!(verdict, Verdict::Hold);
    assert!(matches!(&reasons[..], [Reason::Paused { globally: false, by: Some(by), .. }] if by == "ada"));
    assert_eq!(play.take_at(20, tick()), Stage::Holding);
    // An older word that comes late changes nothing, and the newer one lets it go on at once.
    assert_eq!(play.take_at(25, pause(false, 4, None)), Stage::Holding);
    assert_eq!(play.take_at(30, pause(false, 30, None)), Stage::Retraining);
    // The first word comes again: nothing is held by it.
    play.take_at(40, pause(true, 5, None));
    assert!(!play.document.pause.as_ref().unwrap().paused);
}

#[test]
fn a_pause_that_ends_by_itself_lets_the_next_tick_decide() {
    let mut play = Play::under(AUTO);
    assert_eq!(play.take_at(10, in_alert("dq", 1)), Stage::Retraining);
    assert_eq!(
        play.take_at(15, pause(true, 15, Some(100))),
        Stage::Retraining,
        "a run is not stopped"
    );
    play.take_at(20, execution(1, ExecutionStatus::Succeeded));
    play.take_at(30, ok("dq", 2));
    assert_eq!(play.take_at(40, in_alert("dq", 3)), Stage::Holding);
    let until = play
        .document
        .incident
        .as_ref()
        .unwrap()
        .decision
        .as_ref()
        .unwrap()
        .until;
    assert_eq!(until, Some(at(115)));
    assert_eq!(play.take_at(114, tick()), Stage::Holding);
    assert_eq!(play.take_at(115, tick()), Stage::Retraining);
}

#[test]
fn a_pause_of_all_models_holds_one_that_nobody_knew() {
    let mut play = Play::under(AUTO);
    let paused = Pause {
        paused: true,
        by: "ada".into(),
        time: at(1),
        until: None,
        reason: None,
    };
    let facts = |paused: &Pause| Facts {
        paused: Some(paused.clone()),
        ..Facts::default()
    };
    play.facts = Some(facts(&paused));
    assert_eq!(play.take_at(10, in_alert("dq", 1)), Stage::Holding);
    assert!(
        play.sentence()
            .ends_with("Ada paused all models at 2026-09-21T14:13:21Z.")
    );
    // To let one model go on does not lift what holds all.
    assert_eq!(play.take_at(15, pause(false, 15, None)), Stage::Holding);
    play.facts = Some(facts(&Pause {
        paused: false,
        ..paused
    }));
    assert_eq!(play.take_at(20, tick()), Stage::Retraining);
}

#[test]
fn a_run_that_somebody_started_by_hand_counts() {
    let mut play = Play::under(AUTO);
    play.facts = Some(Facts {
        in_flight: vec!["arn:aws:sagemaker:us-east-1:111122223333:pipeline/p/execution/hand".into()],
        ..Facts::default()
    });
    assert_eq!(play.take_at(10, in_alert("dq", 1)), Stage::Holding);
    insta::assert_snapshot!(play.sentence(), @"Hold the retraining of `churn`: monitor `dq` is in alert (2 of the 3 latest executions had violations; 2 of 3 alert). A run is in flight already (arn:aws:sagemaker:us-east-1:111122223333:pipeline/p/execution/hand).");
    play.facts = Some(Facts::default());
    assert_eq!(play.take_at(20, tick()), Stage::Retraining);
}

#[test]
fn cooldown_and_budgets_hold_and_say_until_when() {
    let hour = 3600;
    let mut play = Play::under("[remediation]\nautomation = 'auto'\n");
    play.take_at(10, in_alert("dq", 1));
    play.take_at(20, execution(1, ExecutionStatus::Succeeded));
    play.take_at(30, ok("dq", 2));
    assert_eq!(play.take_at(hour, in_alert("dq", 3)), Stage::Holding);
    let (verdict, reasons) = play.decided();
    assert_eq!(verdict, Verdict::Hold);
    assert!(matches!(
        reasons[..],
        [
            Reason::Cooldown { .. },
            Reason::BudgetPerDay {
                retrainings: 1,
                limit: 1,
                ..
            }
        ]
    ));
    insta::assert_snapshot!(play.sentence(), @"Hold the retraining of `churn`: monitor `dq` is in alert (2 of the 3 latest executions had violations; 2 of 3 alert). The last retraining was started at 2026-09-21T14:13:30Z, and the cooldown lasts until 2026-09-22T14:13:30Z; 1 of 1 retrainings a day are used up until 2026-09-22T00:00:00Z.");
    let until = play
        .document
        .incident
        .as_ref()
        .unwrap()
        .decision
        .as_ref()
        .unwrap()
        .until;
    assert_eq!(until, Some(at(10 + 24 * hour)));
    assert_eq!(play.take_at(10 + 24 * hour, tick()), Stage::Retraining);
    // The month's budget.
    let mut play = Play::under(
        "[remediation]\nautomation = 'auto'\ncooldown = '0h'\nretrainings_per_day = 9\nretrainings_per_month = 2\n",
    );
    play.document.retrainings = vec![at(-2 * hour), at(-hour)];
    assert_eq!(play.take_at(10, in_alert("dq", 1)), Stage::Holding);
    assert!(matches!(play.decided().1[..], [Reason::BudgetPerMonth { .. }]));
    assert_eq!(play.take_at(31 * 24 * hour, tick()), Stage::Retraining);
}

#[test]
fn alerts_that_are_not_grave_enough_are_not_acted_on_until_a_graver_one_joins() {
    let mut play = Play::under(&format!("{AUTO}minimum_severity = 'critical'\n"));
    assert_eq!(play.take_at(10, in_alert("dq", 1)), Stage::Holding);
    let Input::Alert(mut graver) = in_alert("mq", 1) else {
        panic!("an alert")
    };
    graver.severity = Some(Severity::Critical);
    assert_eq!(play.take_at(20, Input::Alert(graver)), Stage::Retraining);
}

#[test]
fn without_the_facts_the_alert_is_kept_and_the_decision_waits() {
    let mut play = Play::under(AUTO);
    play.facts = None;
    assert_eq!(play.take_at(10, in_alert("dq", 1)), Stage::Deciding);
    assert!(play.document.outbox.is_empty());
    assert!(
        play.document.needs_facts(&in_alert("dq", 1)),
        "a retry of the same alert asks again"
    );
    play.facts = Some(Facts::default());
    assert_eq!(play.take_at(20, in_alert("dq", 1)), Stage::Retraining);
}

#[test]
fn a_person_may_close_an_incident_and_what_still_alerts_is_the_next_one() {
    let resolution = Input::Resolution(RemediationResolution {
        incident_id: "churn-1".into(),
        by: "ada".into(),
        time: at(100),
        reason: None,
    });
    let mut play = Play::of([in_alert("dq", 1)]);
    assert_eq!(
        play.take_at(90, resolution.clone()),
        Stage::Retraining,
        "not while it retrains"
    );
    play.take_at(95, execution(1, ExecutionStatus::Failed));
    assert_eq!(play.take_at(100, resolution), Stage::Retraining, "of the next incident");
    assert_eq!(play.document.incident.as_ref().unwrap().number, 2);
    assert_eq!(play.document.closed[0].outcome, Outcome::Resolved);
    assert_eq!(play.starts().len(), 2);
}

#[test]
fn a_policy_that_changes_amid_an_incident_decides_what_is_still_undecided() {
    let mut play = Play::under("[remediation]\nautomation = 'suggest'\n");
    assert_eq!(play.take_at(10, in_alert("dq", 1)), Stage::Holding);
    play.policy = Policy::parse(AUTO.as_bytes()).unwrap();
    assert_eq!(play.take_at(20, tick()), Stage::Retraining);
    let decision = play.document.incident.as_ref().unwrap().decision.as_ref().unwrap();
    assert_eq!(decision.policy_version, play.policy.version());
    play.policy = Policy::parse(b"paused = true").unwrap();
    assert_eq!(play.take_at(30, tick()), Stage::Retraining, "what was started goes on");
    assert_eq!(play.starts().len(), 1);
}

#[test]
fn a_monitor_that_no_longer_knows_does_not_count_as_ok() {
    let mut play = Play::of([in_alert("dq", 1), execution(1, ExecutionStatus::Succeeded)]);
    let Input::Alert(mut unknown) = ok("dq", 2) else {
        panic!("an alert")
    };
    unknown.alert_status = AlertStatus::InsufficientData;
    assert_eq!(play.take_at(10, Input::Alert(unknown)), Stage::Verifying);
    assert_eq!(play.take_at(20, ok("dq", 3)), Stage::Healthy);
}

#[test]
fn late_and_foreign_executions_change_nothing() {
    let mut play = Play::of([in_alert("dq", 1), execution(1, ExecutionStatus::Succeeded)]);
    let before = play.document.clone();
    for late in [
        execution(1, ExecutionStatus::Executing),
        execution(1, ExecutionStatus::Failed),
        execution(7, ExecutionStatus::Failed),
    ] {
        assert_eq!(play.take(late), Stepped::Nothing);
    }
    assert_eq!(play.document, before);
}

#[test]
fn a_rule_that_starts_the_pipeline_is_told_with_the_decision_alone() {
    let mut play = Play::under(&format!("{AUTO}[retraining]\nparameters = []\n"));
    play.settings.pipeline_start = PipelineStart::Rule;
    play.take(in_alert("dq", 1));
    assert!(play.starts().is_empty());
    let [entry] = play.document.outbox.entries() else {
        panic!("one effect")
    };
    let ModelEffect::PutRemediationDecided(decided) = &entry.effect else {
        panic!("the decision")
    };
    assert_eq!(decided.pipeline_start, Some(PipelineStart::Rule));
    assert_eq!(decided.pipeline_parameters.len(), 5, "the rule's target names them all");
    assert!(
        decided
            .pipeline_parameters
            .keys()
            .all(|name| name.chars().all(|c| c.is_ascii_alphanumeric()))
    );
}

#[test]
fn a_state_machine_or_an_event_alone_may_be_started_with_parameters_of_ones_own() {
    let arn = "arn:aws:states:eu-central-1:111122223333:stateMachine:retrain";
    let mut play = Play::under(&format!(
        "{AUTO}[retraining]\nstart = 'state-machine'\nstate_machine = '{arn}'\nparameters = {{ Model_Name = '{{model}}-v2' }}\n"
    ));
    play.take(in_alert("dq", 1));
    let start = play
        .document
        .outbox
        .entries()
        .iter()
        .find_map(|entry| match &entry.effect {
            ModelEffect::StartStateMachine(start) => Some(start),
            _ => None,
        });
    let start = start.unwrap();
    assert_eq!(start.state_machine_arn, arn);
    assert!(start.name.starts_with("driftwarden-") && start.name.len() <= 80);
    let input: serde_json::Value = serde_json::from_str(&start.input).unwrap();
    assert_eq!(input["Model_Name"], "churn-v2");
    assert_eq!(input["driftwarden"]["incident"], 1);

    let mut play = Play::under(&format!("{AUTO}[retraining]\nstart = 'event'\n"));
    play.take(in_alert("dq", 1));
    assert_eq!(play.stage(), Stage::Retraining);
    assert_eq!(play.document.outbox.entries().len(), 1, "the event");
}

#[test]
fn a_lost_document_begins_anew_with_another_token() {
    let token = |play: &Play| play.starts()[0].client_request_token.clone();
    let first = Play::of([in_alert("dq", 1)]);
    let anew = Play::of([in_alert("dq", 5)]);
    assert_ne!(token(&first), token(&anew));
    assert_eq!(
        token(&first),
        token(&Play::of([in_alert("dq", 1)])),
        "and the same alert with the same"
    );
}

#[test]
fn an_incident_and_all_that_follows_carry_the_id_of_what_opened_it() {
    let mut play = with_candidate();
    play.take(in_alert("dq", 1));
    play.take(candidate(Some(Conclusion::Promoted), Some(RUN), 300));
    let json = serde_json::to_string(&play.document).unwrap();
    let ids: Vec<Option<&str>> = play
        .document
        .outbox
        .entries()
        .iter()
        .filter_map(|entry| match &entry.effect {
            ModelEffect::PutRemediationDecided(decided) => Some(decided.correlation_id.as_deref()),
            ModelEffect::PutRetrainingStatusChange(change) => Some(change.correlation_id.as_deref()),
            _ => None,
        })
        .collect();
    assert_eq!(ids, [Some("of-quality-1"); 2]);
    assert_eq!(play.document.correlation_id(), Some("of-quality-1"));
    // Its candidate takes it over, and nobody else's does.
    let of = |run| play.document.correlation_id_of_candidate(run);
    assert_eq!(of(Some(RUN)), Some("of-quality-1"));
    assert_eq!(of(Some("another run")), None);
    // A document from before there were ids is read as ever.
    let mut before: serde_json::Value = serde_json::from_str(&json).unwrap();
    before["incident"].as_object_mut().unwrap().remove("correlation_id");
    let before: ModelDocument = serde_json::from_value(before).unwrap();
    assert_eq!(before.correlation_id(), None);
}

fn some_input() -> impl Strategy<Value = (Input, bool)> {
    use ExecutionStatus::{Executing, Failed, Stopped, Succeeded};
    let input = prop_oneof![
        6 => (prop_oneof![Just("dq"), Just("mq"), Just("bias")], 1..8_u64)
            // As a ledger counts: alerts are odd, their ends even.
            .prop_map(|(schedule, n)| if n % 2 == 1 { in_alert(schedule, n) } else { ok(schedule, n) }),
        2 => (1..4_u64, prop_oneof![Just(Executing), Just(Failed), Just(Stopped), Just(Succeeded)])
            .prop_map(|(incident, status)| execution(incident, status)),
        1 => (any::<bool>(), 0..60_i64).prop_map(|(granted, second)| approval(granted, second)),
        1 => (any::<bool>(), 0..60_i64, prop::option::of(1..30_i64))
            .prop_map(|(paused, second, seconds)| pause(paused, second, seconds)),
        1 => Just(tick()),
        1 => Just(levels(&[4000, 3000, 2000])),
    ];
    // Whether SageMaker answers what is asked.
    (input, prop::bool::weighted(0.8))
}

fn some_policy() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => Just(AUTO.to_owned()),
        1 => Just("paused = true".to_owned()),
        1 => Just("[remediation]\nautomation = 'approve'\ncooldown = '0m'".to_owned()),
        1 => Just(String::new()),
    ]
}

proptest! {
    /// Never two retrainings for one incident, never an incident without its decision, never two open at once, never a
    /// monitor in alert without an incident, whatever comes in under whatever policy.
    #[test]
    fn one_incident_has_at_most_one_retraining(
        inputs in proptest::collection::vec((some_input(), some_policy()), 0..60),
    ) {
        let mut play = Play::under(AUTO);
        let mut started = Vec::new();
        let mut decisions = BTreeSet::new();
        for ((input, answers), policy) in &inputs {
            play.policy = Policy::parse(policy.as_bytes()).unwrap();
            play.facts = answers.then(Facts::default);
            // Every event comes twice.
            for _ in 0..2 {
                let before = play.stage();
                play.take(input.clone());
                for entry in play.document.outbox.entries() {
                    match &entry.effect {
                        ModelEffect::StartPipelineExecution(start) => {
                            prop_assert!(before.is_undecided() || before == Stage::Healthy);
                            let held = play.document.pause.as_ref().is_some_and(|pause| pause.holds(at(play.second)));
                            prop_assert!(!held, "nothing is started while the model is paused");
                            started.push(start.incident);
                        }
                        ModelEffect::PutRemediationDecided(decided) => {
                            prop_assert!(decisions.insert(decided.id.clone()), "{} is told twice", decided.id);
                        }
                        _ => {}
                    }
                }
                play.document.outbox = Outbox::default();
                let document = &play.document;
                let quiet = document.alerts.values().all(|alert| alert.status == AlertStatus::Ok);
                prop_assert!(quiet || document.incident.is_some(), "a monitor in alert has an incident");
                let undecided = document.incident.as_ref().is_some_and(|incident| incident.decision.is_none());
                prop_assert!(!undecided || document.is_deciding(), "only who is deciding has not decided");
            }
        }
        let incidents: BTreeSet<u64> = started.iter().copied().collect();
        prop_assert_eq!(incidents.len(), started.len(), "each incident is started at most once");
    }

    /// A model's document survives being written and read at any point.
    #[test]
    fn a_document_reads_back_as_it_was_written(inputs in proptest::collection::vec(some_input(), 0..30)) {
        let play = Play::of(inputs.into_iter().map(|(input, _)| input));
        let text = serde_json::to_vec(&play.document).unwrap();
        prop_assert_eq!(serde_json::from_slice::<ModelDocument>(&text).unwrap(), play.document);
    }
}

/// The policy of a model whose candidates are tested.
const TESTED: &str = "[remediation]\nautomation = 'auto'\ncooldown = '0m'\n\
    [promotion]\nmode = 'variants'\nmetric = 'purchases'\ncandidate_within = '6h'\n";

const RUN: &str = "arn:aws:sagemaker:us-east-1:111122223333:pipeline/churn/execution/e1";

fn candidate(ended: Option<Conclusion>, run: Option<&str>, second: i64) -> Input {
    Input::Experiment(CandidateStatus {
        experiment_id: "churn-ab-1".into(),
        pipeline_execution_arn: run.map(str::to_owned),
        ended,
        sentence: "Candidate 2 was worse by 0.1.".into(),
        at: at(second),
    })
}

/// A model whose retraining has succeeded, and whose candidate is to be tested.
fn with_candidate() -> Play {
    let mut play = Play::under(TESTED);
    play.take_at(1, alert("quality", 1, AlertStatus::InAlert));
    play.document.started(1, RUN);
    let execution = PipelineExecution {
        arn: RUN.into(),
        status: ExecutionStatus::Succeeded,
        start_time: Some(at(10)),
        end_time: Some(at(100)),
    };
    play.take_at(100, Input::PipelineExecution { incident: 1, execution });
    assert_eq!(play.stage(), Stage::Candidate);
    play
}

fn judged(executions: i64) -> Input {
    let level = MonitorLevel {
        judged: (1..=executions).map(|number| at(1000 + number)).collect(),
        evaluation_period: 2,
    };
    Input::Tick([("quality".to_owned(), level)].into())
}

#[test]
fn a_promoted_model_is_verified_by_as_many_executions_as_its_window_has() {
    let mut play = with_candidate();
    // That every monitor is OK says nothing yet: nothing has changed for them.
    play.take_at(200, alert("quality", 2, AlertStatus::Ok));
    assert_eq!(play.stage(), Stage::Candidate);
    assert_eq!(play.take_at(300, candidate(None, Some(RUN), 300)), Stage::Candidate);
    assert_eq!(
        play.take_at(1000, candidate(Some(Conclusion::Promoted), Some(RUN), 1000)),
        Stage::Verifying
    );
    assert_eq!(play.take_at(2000, judged(1)), Stage::Verifying);
    assert_eq!(play.take_at(2001, judged(2)), Stage::Healthy);
    let closed = play
        .document
        .outbox
        .entries()
        .iter()
        .rev()
        .find_map(|entry| match &entry.effect {
            ModelEffect::PutIncidentClosed(closed) => Some(closed.clone()),
            _ => None,
        });
    let closed = closed.unwrap();
    assert_eq!(
        (closed.outcome, closed.experiment_id.as_deref()),
        (Outcome::Repaired, Some("churn-ab-1"))
    );
    assert_eq!(closed.time_to_decide_seconds, Some(0));
    assert_eq!(closed.time_to_retrain_seconds, Some(99));
    assert_eq!(closed.time_to_promote_seconds, Some(900));
}

#[test]
fn drift_that_is_still_there_on_the_promoted_model_calls_a_person() {
    let mut play = with_candidate();
    play.take_at(1000, candidate(Some(Conclusion::Promoted), Some(RUN), 1000));
    assert_eq!(play.take_at(2000, judged(2)), Stage::Escalated);
    assert!(matches!(play.decided().1[..], [Reason::DriftPersists { .. }]));
}

#[test]
fn a_candidate_that_lost_or_never_came_calls_a_person() {
    let mut play = with_candidate();
    assert_eq!(
        play.take_at(1000, candidate(Some(Conclusion::RolledBack), Some(RUN), 1000)),
        Stage::Escalated
    );
    let (verdict, reasons) = play.decided();
    assert_eq!(verdict, Verdict::Escalate);
    assert!(
        matches!(
            &reasons[..],
            [Reason::NotPromoted {
                conclusion: Conclusion::RolledBack,
                ..
            }]
        ),
        "{reasons:?}"
    );
    assert!(
        play.sentence().contains("Candidate 2 was worse by 0.1"),
        "{}",
        play.sentence()
    );

    let mut play = with_candidate();
    assert_eq!(play.take_at(100 + 6 * 3600 - 1, judged(0)), Stage::Candidate);
    assert_eq!(play.take_at(100 + 6 * 3600, judged(0)), Stage::Escalated);
    assert!(matches!(play.decided().1[..], [Reason::CandidateMissing { .. }]));
    // One that is being tested is waited for.
    let mut play = with_candidate();
    play.take_at(200, candidate(None, None, 200));
    assert_eq!(play.take_at(100 + 7 * 3600, judged(0)), Stage::Candidate);
}

#[test]
fn experiments_of_other_runs_say_nothing_of_an_incident() {
    let mut play = with_candidate();
    let other = "arn:aws:sagemaker:us-east-1:111122223333:pipeline/churn/execution/other";
    assert_eq!(
        play.take_at(200, candidate(Some(Conclusion::Promoted), Some(other), 200)),
        Stage::Candidate
    );
    // One that nobody knows the run of, and that was over before this retraining ended.
    assert_eq!(
        play.take_at(300, candidate(Some(Conclusion::Promoted), None, 50)),
        Stage::Candidate
    );
    assert_eq!(
        play.take_at(400, candidate(Some(Conclusion::Promoted), None, 400)),
        Stage::Verifying
    );
    // Told again, it changes nothing.
    assert_eq!(
        play.take(candidate(Some(Conclusion::RolledBack), Some(RUN), 500)),
        Stepped::Nothing
    );
}
