//! The lifecycle of a model: every transition, every verdict, and at most one retraining per incident for any input.
#![expect(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod held;
mod now;
mod returns;
mod starts;
mod stored;
mod table;

use alerting::{AlertStateChange, AlertStatus, DatapointState, EventDatapoint, HealthStatus, Level, Severity};
use jiff::{SignedDuration, Timestamp};
use machine::{Caller, Outbox};
use promotion::Conclusion;
use proptest::prelude::*;
use remediation::{
    CandidateStatus, Cause, ExecutionStatus, Facts, InAlertChoice, Input, Levels, ModelDocument, ModelEffect,
    ModelEffectOutcome, Outcome, Pause, PipelineExecution, PipelineStart, Policy, Reason, Refusal, RemediationApproval,
    RemediationPause, RemediationResolution, RiskRating, Settings, Stage, StartPipelineExecution, StepContext,
    StepOutcome, TRANSITIONS, Verdict, diagram, parse_display_name,
};
use std::collections::{BTreeMap, BTreeSet};

/// A policy that starts every retraining immediately, and closes an incident after one clean execution.
const AUTO: &str = "[remediation]\ndecide_after = '0s'\nautomation = 'auto'\ncooldown = '0m'\nretrainings_per_day = 1000\n\
    retrainings_per_month = 1000\nclose_after = 1\nverify_executions = 1\nreopen_within = '0m'\n";
/// Settings with which an incident is closed after one clean execution, and is not reopened.
const QUICK: &str = "close_after = 1\nverify_executions = 1\nreopen_within = '0m'\n";

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_790_000_000 + second).unwrap()
}

fn caller(second: i64) -> Caller {
    Caller {
        id: format!("request-{second}"),
        now: at(second),
    }
}

/// A model under a policy, the levels of its monitors, and the facts from SageMaker.
struct Scenario {
    document: ModelDocument,
    policy: Policy,
    settings: Settings,
    levels: Levels,
    /// `None` if SageMaker does not answer.
    facts: Option<Facts>,
    /// The outcome of a start. `None` if it has none yet.
    start: Option<ModelEffectOutcome>,
    /// All calls that started a pipeline.
    started: Vec<StartPipelineExecution>,
    /// All transitions between stages.
    transitions: Vec<(Stage, Cause, Stage)>,
    second: i64,
}

impl Scenario {
    fn with_policy(policy: &str) -> Self {
        Self {
            document: ModelDocument::new("churn"),
            policy: Policy::parse(policy.as_bytes()).unwrap(),
            settings: Settings {
                pipeline: "churn-retraining".into(),
                pipeline_start: PipelineStart::Remediate,
            },
            levels: Levels::new(),
            facts: Some(Facts::default()),
            start: Some(ModelEffectOutcome::Started(EXECUTION.into())),
            started: Vec::new(),
            transitions: Vec::new(),
            second: 0,
        }
    }

    fn after(inputs: impl IntoIterator<Item = Input>) -> Self {
        let mut scenario = Self::with_policy(AUTO);
        for input in inputs {
            scenario.apply(input);
        }
        scenario
    }

    /// Applies an input as the function `remediate` does: with what the document says that it needs.
    fn apply(&mut self, input: Input) -> StepOutcome {
        self.second += 1;
        if let Input::Alert(change) = &input {
            let key = change.monitoring_schedule.to_lowercase();
            let known = self.levels.get(&key).map(|level| level.alert.position());
            if known.is_none_or(|known| known < change.position()) {
                let level = level(change, &[self.second]);
                self.levels.insert(key, level);
            }
        }
        let caller = caller(self.second);
        let needs = self.document.needs(&input, &caller);
        let mut levels = self.levels.clone();
        levels.retain(|key, _| needs.levels.contains(key));
        let facts = self.facts.as_ref().ok_or("ThrottlingException");
        let given = StepContext {
            policy: &self.policy,
            settings: &self.settings,
            levels: &levels,
            facts: needs.facts.then_some(facts),
        };
        let (outcome, transitions) = self.document.step_with_transitions(input, given, &caller);
        self.transitions.extend(transitions);
        // Without an outcome, the invocation dies before it claims the start.
        if self.start.is_some() {
            self.document.outbox.take_over(&caller);
        }
        let pending = self.document.outbox.clone();
        for entry in pending.claimed_by(&caller).filter(|entry| entry.effect.is_start()) {
            let Some(outcome) = self.start.clone() else { continue };
            if let ModelEffect::StartPipelineExecution(start) = &entry.effect {
                self.started.push(start.clone());
            }
            self.document.outbox.settle(&entry.id);
            self.document.record_outcome(&entry.effect, outcome);
        }
        if self.document.has_start_answer() {
            self.apply(Input::Tick);
        }
        outcome
    }

    /// Sets the seconds of the judged executions of a monitor, newest first, and lets time pass.
    fn judge_at(&mut self, second: i64, schedule: &str, judged: &[i64]) -> Stage {
        let known = self.levels.get_mut(schedule).unwrap();
        *known = level(&known.alert, judged);
        self.apply_at(second, Input::Tick)
    }

    /// Applies an input at a time in seconds after the start.
    fn apply_at(&mut self, second: i64, input: Input) -> Stage {
        self.second = second - 1;
        self.apply(input);
        self.stage()
    }

    fn stage(&self) -> Stage {
        self.document.stage()
    }

    fn starts(&self) -> Vec<&StartPipelineExecution> {
        self.started.iter().collect()
    }

    /// Verdict and reasons of the last decision, except `MonitorInAlert`.
    fn last_decision(&self) -> (Verdict, Vec<Reason>) {
        let decision = self.document.incident.as_ref().unwrap().decision.as_ref().unwrap();
        let reasons = decision.reasons.iter();
        let others = reasons.filter(|reason| !matches!(reason, Reason::MonitorInAlert { .. }));
        (decision.verdict, others.cloned().collect())
    }
}

/// A level of a monitor. Its interval is so long that it is not silent.
fn level(change: &AlertStateChange, judged: &[i64]) -> Level {
    Level {
        alert: change.clone(),
        health: HealthStatus::Healthy,
        interval: Some(SignedDuration::from_hours(24 * 30)),
        judged_since_transition: usize::from(change.alert_status == AlertStatus::Ok),
        alerts: Vec::new(),
        judged: judged.iter().map(|second| at(*second)).collect(),
    }
}

fn tick() -> Input {
    Input::Tick
}

fn approval(granted: bool, second: i64) -> Input {
    Input::Approval(RemediationApproval {
        incident_id: "churn-1".into(),
        granted,
        decision: None,
        by: "ada".into(),
        time: at(second),
        valid_until: None,
        reason: None,
    })
}

/// A pause or resume of the model at a time. `seconds` is the duration of the pause.
fn pause(paused: bool, second: i64, seconds: Option<i64>) -> Input {
    Input::Pause(RemediationPause {
        model: "churn".into(),
        paused,
        by: "ada".into(),
        time: at(second),
        until: seconds.map(|seconds| at(second + seconds)),
        reason: Some("the labels are late".into()),
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
        epoch: None,
        transition,
        revision: 0,
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
        reason: "2 of the last 3 executions had violations; alert at 2 of 3".into(),
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
    Input::PipelineExecution {
        incident,
        execution: PipelineExecution {
            arn: EXECUTION.into(),
            status,
            start_time: None,
            end_time: None,
        },
        at: at(0),
    }
}

#[test]
fn transitions_are_those_of_the_table() {
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
            "{from:?} has an exit"
        );
        assert!(
            TRANSITIONS.iter().any(|(_, _, to)| *to == from),
            "{from:?} can be reached"
        );
    }
    // A retraining starts in undecided stages only, so no incident has two. A start that was not executed is renewed.
    for (from, cause, to) in TRANSITIONS {
        assert_eq!(cause == Cause::Retrain, to == Stage::Starting);
        assert!(to != Stage::Starting || from.is_undecided() || from == Stage::Starting);
    }
}

#[test]
fn diagram_in_the_docs_matches_the_table() {
    let docs = include_str!("../../../../ARCHITECTURE.md");
    assert!(
        docs.contains(&diagram()),
        "ARCHITECTURE.md should contain:\n```mermaid\n{}```",
        diagram()
    );
}

#[test]
fn first_alert_opens_an_incident_and_starts_the_pipeline() {
    let scenario = Scenario::after([in_alert("dq", 1)]);
    let [start] = scenario.starts()[..] else {
        panic!("one start")
    };
    assert_eq!(start.pipeline, "churn-retraining");
    assert_eq!(start.display_name, "driftwarden-churn-1");
    assert_eq!(parse_display_name(&start.display_name), Some(("churn", 1)));
    assert!((32..=128).contains(&start.client_request_token.len()));
    assert_eq!(start.parameters["DriftwardenIncident"], "churn-1");
    assert_eq!(start.parameters["DriftedFeatures"], "none");
    let decision = scenario.document.incident.as_ref().unwrap().decision.as_ref().unwrap();
    assert_eq!(start.description, decision.sentence);
    assert_eq!(scenario.stage(), Stage::Retraining);
}

#[test]
fn execution_description_is_one_short_line() {
    let Input::Alert(mut change) = in_alert("dq", 1) else {
        panic!("an alert")
    };
    change.reason = format!("a\nb {}", "x".repeat(5000));
    let scenario = Scenario::after([Input::Alert(change)]);
    let description = &scenario.starts()[0].description;
    assert!(
        description.chars().count() <= 3072 && !description.contains('\n'),
        "{description}"
    );
}

#[test]
fn event_about_large_alerts_fits_eventbridge() {
    let mut scenario = Scenario::with_policy(AUTO);
    for monitor in 0..100 {
        let Input::Alert(mut change) = in_alert(&format!("monitor-{monitor:02}"), 1) else {
            panic!("an alert")
        };
        let datapoint = EventDatapoint {
            report_uri: Some("s3://reports/".to_owned() + &"x".repeat(300)),
            ..change.datapoints.remove(0)
        };
        change.datapoints = vec![datapoint; 100];
        if monitor == 99 {
            change.severity = Some(Severity::Critical);
        }
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
        // With another execution in progress, every alert that joins leads to a decision with all alerts so far.
        scenario.facts = Some(Facts {
            in_flight: vec![format!("execution-{monitor}")],
            ..Facts::default()
        });
        scenario.apply(Input::Alert(change));
    }
    let decided = scenario.document.outbox.entries().iter();
    let decided = decided.filter_map(|entry| match &entry.effect {
        ModelEffect::PutRemediationDecided(decided) => Some(decided),
        _ => None,
    });
    let mut alerts = 0;
    for decided in decided {
        let bytes = serde_json::to_vec(decided).unwrap().len();
        assert!(bytes < 256 << 10, "{bytes} bytes");
        alerts = decided.alerts.len() + decided.more_alerts;
        assert!(decided.alerts.len() >= alerts.min(6) && decided.alerts.len() <= 20);
        if alerts == 100 {
            assert_eq!(
                decided.alerts.first().unwrap().monitoring_schedule,
                "monitor-99",
                "the most severe one"
            );
        }
    }
    assert_eq!(alerts, 100, "the others are counted");
}

#[test]
fn other_monitors_join_the_incident() {
    let scenario = Scenario::after([in_alert("dq", 1), in_alert("mq", 1), in_alert("dq", 3)]);
    assert_eq!(scenario.starts().len(), 1);
    assert_eq!(scenario.document.incident.unwrap().monitors, ["dq", "mq"]);
}

#[test]
fn incident_closes_when_all_monitors_are_ok() {
    use ExecutionStatus::{Executing, Succeeded};
    let mut scenario = Scenario::after([
        in_alert("dq", 1),
        in_alert("mq", 1),
        execution(1, Executing),
        execution(1, Succeeded),
    ]);
    assert_eq!(scenario.stage(), Stage::Verifying);
    assert_eq!(scenario.apply_at(100, ok("dq", 2)), Stage::Verifying);
    assert_eq!(scenario.apply_at(7200, ok("mq", 2)), Stage::Healthy);
    let closed = scenario.document.closed.last().unwrap();
    assert_eq!(closed.outcome, Outcome::Repaired);
    let event = scenario
        .document
        .outbox
        .entries()
        .iter()
        .find_map(|entry| match &entry.effect {
            ModelEffect::PutIncidentClosed(closed) => Some(closed),
            _ => None,
        });
    let event = event.unwrap();
    assert_eq!(event.time_to_repair_seconds, 7199);
    insta::assert_snapshot!(event.sentence, @"Incident churn-1 of `churn` (`dq`, `mq`) closed after 1 h 59 min: the retraining helped, and every monitor is OK.");
    assert_eq!(scenario.apply_at(7300, in_alert("dq", 3)), Stage::Retraining);
    let tokens: BTreeSet<_> = scenario
        .starts()
        .iter()
        .map(|start| &start.client_request_token)
        .collect();
    assert_eq!(tokens.len(), 2, "the next incident has its own retraining");
}

#[test]
fn incident_stays_open_while_pipeline_runs() {
    let scenario = Scenario::after([in_alert("dq", 1), ok("dq", 2), in_alert("dq", 3)]);
    assert_eq!((scenario.stage(), scenario.starts().len()), (Stage::Retraining, 1));
    let mut scenario = Scenario::after([in_alert("dq", 1), ok("dq", 2), execution(1, ExecutionStatus::Succeeded)]);
    assert_eq!(scenario.stage(), Stage::Verifying);
    scenario.judge_at(100, "dq", &[50]);
    assert_eq!((scenario.stage(), scenario.document.closed.len()), (Stage::Healthy, 1));
}

#[test]
fn failed_pipeline_escalates() {
    for status in [
        ExecutionStatus::Failed,
        ExecutionStatus::Stopped,
        ExecutionStatus::CompletedWithFailures,
    ] {
        let scenario = Scenario::after([in_alert("dq", 1), execution(1, status), in_alert("dq", 3)]);
        assert_eq!((scenario.stage(), scenario.starts().len()), (Stage::Escalated, 1));
        assert_eq!(scenario.last_decision().0, Verdict::Escalate);
    }
}

#[test]
fn persistent_drift_escalates_without_another_retraining() {
    let mut scenario = Scenario::with_policy(&AUTO.replace("verify_executions = 1\n", ""));
    scenario.apply(in_alert("dq", 1));
    scenario.apply(execution(1, ExecutionStatus::Succeeded));
    assert_eq!(
        scenario.judge_at(5000, "dq", &[4000, 3000, -100]),
        Stage::Verifying,
        "two since the retraining"
    );
    assert_eq!(
        scenario.judge_at(6000, "dq", &[5000, 4000, 3000]),
        Stage::Escalated,
        "three since, and still in alert"
    );
    let (verdict, reasons) = scenario.last_decision();
    assert_eq!(verdict, Verdict::Escalate);
    assert!(matches!(&reasons[..], [Reason::DriftPersists { executions: 3, .. }]));
    assert_eq!(scenario.apply_at(7000, in_alert("mq", 1)), Stage::Escalated);
    assert_eq!(scenario.starts().len(), 1);
    scenario.apply_at(8000, ok("dq", 2));
    assert_eq!(scenario.apply_at(8001, ok("mq", 2)), Stage::Healthy);
    assert_eq!(scenario.document.closed[0].outcome, Outcome::Recovered);
}

#[test]
fn verify_executions_delays_closing() {
    let mut scenario = Scenario::with_policy(&AUTO.replace("verify_executions = 1", "verify_executions = 2"));
    scenario.apply(in_alert("dq", 1));
    scenario.apply(execution(1, ExecutionStatus::Succeeded));
    assert_eq!(scenario.apply_at(4000, ok("dq", 2)), Stage::Verifying);
    assert_eq!(scenario.judge_at(4001, "dq", &[3700]), Stage::Verifying);
    assert_eq!(
        scenario.apply_at(4002, tick()),
        Stage::Verifying,
        "no level of the monitor"
    );
    assert_eq!(scenario.judge_at(8000, "dq", &[7200, 3700]), Stage::Healthy);
}

#[test]
fn broken_data_prevents_retraining() {
    let Input::Alert(mut change) = in_alert("dq", 1) else {
        panic!("an alert")
    };
    change.check_types = vec!["baseline_drift_check".into(), "data_type_check".into()];
    let mut scenario = Scenario::with_policy(AUTO);
    assert_eq!(scenario.apply_at(1, Input::Alert(change)), Stage::AwaitingData);
    let (verdict, reasons) = scenario.last_decision();
    assert_eq!(verdict, Verdict::FixData);
    assert!(matches!(&reasons[..], [Reason::DataBroke { check_types, .. }] if check_types == &["data_type_check"]));
    assert_eq!(
        scenario.apply_at(2, in_alert("mq", 1)),
        Stage::AwaitingData,
        "the data is still broken"
    );
    // The data is fixed, and the drift of the other monitor is left.
    assert_eq!(scenario.apply_at(3, ok("dq", 2)), Stage::Retraining);
}

#[test]
fn medium_risk_requires_approval() {
    let mut scenario = Scenario::with_policy("[remediation]\ndecide_after = '0s'\n");
    scenario.facts = Some(Facts {
        risk_rating: RiskRating::Medium,
        ..Facts::default()
    });
    assert_eq!(scenario.apply_at(10, in_alert("dq", 1)), Stage::AwaitingApproval);
    let expires_at = at(10 + 3 * 24 * 3600);
    let requested = vec![Reason::ApprovalMissing { until: expires_at }];
    assert_eq!(scenario.last_decision(), (Verdict::Hold, requested));
    assert_eq!(scenario.apply_at(20, tick()), Stage::AwaitingApproval);
    let events = scenario.document.outbox.entries().len();
    assert_eq!(events, 1, "a repeated decision is not published");
    assert_eq!(scenario.apply_at(30, approval(true, 30)), Stage::Retraining);
    assert!(scenario.last_decision().1.contains(&Reason::Approved {
        by: "ada".into(),
        at: at(30)
    }));
    assert_eq!(
        scenario.apply_at(40, approval(true, 30)),
        Stage::Retraining,
        "a duplicate"
    );
    assert_eq!(scenario.starts().len(), 1);
}

#[test]
fn expired_request_is_renewed_by_another_monitor() {
    let day = 24 * 3600;
    let mut scenario = Scenario::with_policy("[remediation]\ndecide_after = '0s'\nautomation = 'approve'\n");
    scenario.apply_at(10, in_alert("dq", 1));
    assert_eq!(scenario.apply_at(3 * day + 11, tick()), Stage::Holding);
    assert!(matches!(
        scenario.last_decision().1[..],
        [Reason::ApprovalExpired { .. }]
    ));
    assert_eq!(
        scenario.apply_at(3 * day + 12, approval(true, 3 * day + 12)),
        Stage::Holding
    );
    assert_eq!(
        scenario.apply_at(3 * day + 13, in_alert("mq", 1)),
        Stage::AwaitingApproval
    );
    assert_eq!(
        scenario.apply_at(3 * day + 14, approval(true, 3 * day + 14)),
        Stage::Retraining
    );
}

#[test]
fn approval_during_cooldown_expires() {
    let policy =
        "[remediation]\ndecide_after = '0s'\nautomation = 'approve'\ncooldown = '10h'\napproval_valid_for = '1h'\n";
    let mut scenario = Scenario::with_policy(policy);
    scenario.document.retrainings = vec![at(-1)];
    assert_eq!(
        scenario.apply_at(10, in_alert("dq", 1)),
        Stage::AwaitingApproval,
        "requested during the cooldown"
    );
    assert_eq!(
        scenario.apply_at(20, approval(true, 20)),
        Stage::Holding,
        "because of the cooldown"
    );
    assert_eq!(
        scenario.apply_at(10 * 3600, tick()),
        Stage::AwaitingApproval,
        "the approval has expired"
    );
    assert_eq!(
        scenario.apply_at(10 * 3600 + 1, approval(true, 10 * 3600 + 1)),
        Stage::Retraining
    );
}

#[test]
fn denial_is_valid_until_another_monitor_alerts() {
    for automation in ["auto", "approve", "suggest"] {
        let mut scenario = Scenario::with_policy(&format!(
            "[remediation]\ndecide_after = '0s'\nautomation = '{automation}'\ncooldown = '10h'\n"
        ));
        scenario.document.retrainings = vec![at(-1)];
        scenario.apply_at(10, in_alert("dq", 1));
        assert_eq!(
            scenario.apply_at(20, approval(false, 20)),
            Stage::Holding,
            "{automation}"
        );
        assert_eq!(
            scenario.apply_at(11 * 3600, tick()),
            Stage::Holding,
            "{automation}: after the cooldown"
        );
        let after = scenario.apply_at(11 * 3600 + 1, in_alert("mq", 1));
        let expected = match automation {
            "auto" => Stage::Retraining,
            "approve" => Stage::AwaitingApproval,
            _ => Stage::Holding,
        };
        assert_eq!(after, expected, "{automation}: another monitor");
    }
}

#[test]
fn approval_starts_suggested_but_not_observed_retraining() {
    let mut scenario = Scenario::with_policy("[remediation]\ndecide_after = '0s'\n");
    assert_eq!(
        scenario.apply_at(10, in_alert("dq", 1)),
        Stage::Holding,
        "the level for an unknown risk is suggest"
    );
    assert_eq!(scenario.apply_at(20, approval(true, 20)), Stage::Retraining);
    let mut scenario = Scenario::with_policy("[remediation]\ndecide_after = '0s'\nautomation = 'observe'\n");
    scenario.apply_at(10, in_alert("dq", 1));
    assert_eq!(scenario.apply_at(20, approval(true, 20)), Stage::Holding);
}

#[test]
fn policy_pause_holds_retraining() {
    for paused in ["paused = true\n", "[[model]]\nname = 'churn'\npaused = true\n"] {
        let mut scenario = Scenario::with_policy(AUTO);
        scenario.policy = Policy::parse(format!("{paused}{AUTO}").as_bytes())
            .or_else(|_| Policy::parse(format!("{AUTO}{paused}").as_bytes()))
            .unwrap();
        assert_eq!(scenario.apply_at(10, in_alert("dq", 1)), Stage::Holding);
        assert!(matches!(scenario.last_decision().1[..], [Reason::Paused { .. }]));
        scenario.policy = Policy::parse(AUTO.as_bytes()).unwrap();
        assert_eq!(scenario.apply_at(20, tick()), Stage::Retraining);
    }
}

#[test]
fn paused_model_holds_until_resumed() {
    let mut scenario = Scenario::with_policy(AUTO);
    // The pause comes before the first alert.
    scenario.apply_at(5, pause(true, 5, None));
    assert_eq!(scenario.apply_at(10, in_alert("dq", 1)), Stage::Holding);
    let (verdict, reasons) = scenario.last_decision();
    assert_eq!(verdict, Verdict::Hold);
    assert!(matches!(&reasons[..], [Reason::Paused { globally: false, by: Some(by), .. }] if by == "ada"));
    assert_eq!(scenario.apply_at(20, tick()), Stage::Holding);
    // An older command that arrives late has no effect. A newer one resumes immediately.
    assert_eq!(scenario.apply_at(25, pause(false, 4, None)), Stage::Holding);
    assert_eq!(scenario.apply_at(30, pause(false, 30, None)), Stage::Retraining);
    // A duplicate of the first command has no effect.
    scenario.apply_at(40, pause(true, 5, None));
    assert!(!scenario.document.pause.as_ref().unwrap().paused);
}

#[test]
fn expired_pause_lets_next_tick_decide() {
    let mut scenario = Scenario::with_policy(AUTO);
    assert_eq!(scenario.apply_at(10, in_alert("dq", 1)), Stage::Retraining);
    assert_eq!(
        scenario.apply_at(15, pause(true, 15, Some(100))),
        Stage::Retraining,
        "a retraining in progress is not stopped"
    );
    scenario.apply_at(20, execution(1, ExecutionStatus::Succeeded));
    scenario.apply_at(30, ok("dq", 2));
    assert_eq!(scenario.apply_at(40, in_alert("dq", 3)), Stage::Holding);
    let until = scenario
        .document
        .incident
        .as_ref()
        .unwrap()
        .decision
        .as_ref()
        .unwrap()
        .until;
    assert_eq!(until, Some(at(115)));
    assert_eq!(scenario.apply_at(114, tick()), Stage::Holding);
    assert_eq!(scenario.apply_at(115, tick()), Stage::Retraining);
}

#[test]
fn pause_of_all_models_includes_new_model() {
    let mut scenario = Scenario::with_policy(AUTO);
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
    scenario.facts = Some(facts(&paused));
    assert_eq!(scenario.apply_at(10, in_alert("dq", 1)), Stage::Holding);
    let (verdict, reasons) = scenario.last_decision();
    assert_eq!(verdict, Verdict::Hold);
    assert!(matches!(&reasons[..], [Reason::Paused { globally: true, .. }]));
    // Resuming one model does not end the pause of all models.
    assert_eq!(scenario.apply_at(15, pause(false, 15, None)), Stage::Holding);
    scenario.facts = Some(facts(&Pause {
        paused: false,
        ..paused
    }));
    assert_eq!(scenario.apply_at(20, tick()), Stage::Retraining);
}

#[test]
fn pipeline_execution_started_by_hand_holds_retraining() {
    let mut scenario = Scenario::with_policy(AUTO);
    scenario.facts = Some(Facts {
        in_flight: vec!["arn:aws:sagemaker:us-east-1:111122223333:pipeline/p/execution/hand".into()],
        ..Facts::default()
    });
    assert_eq!(scenario.apply_at(10, in_alert("dq", 1)), Stage::Holding);
    let (verdict, reasons) = scenario.last_decision();
    assert_eq!(verdict, Verdict::Hold);
    assert!(matches!(&reasons[..], [Reason::InFlight { execution_arn }] if execution_arn.ends_with("/hand")));
    scenario.facts = Some(Facts::default());
    assert_eq!(scenario.apply_at(20, tick()), Stage::Retraining);
}

#[test]
fn cooldown_and_budgets_hold_retraining() {
    let hour = 3600;
    let mut scenario = Scenario::with_policy(&format!(
        "[remediation]\ndecide_after = '0s'\nautomation = 'auto'\n{QUICK}"
    ));
    scenario.apply_at(10, in_alert("dq", 1));
    scenario.apply_at(20, execution(1, ExecutionStatus::Succeeded));
    scenario.apply_at(30, ok("dq", 2));
    assert_eq!(scenario.apply_at(hour, in_alert("dq", 3)), Stage::Holding);
    let (verdict, reasons) = scenario.last_decision();
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
    let until = scenario
        .document
        .incident
        .as_ref()
        .unwrap()
        .decision
        .as_ref()
        .unwrap()
        .until;
    assert_eq!(until, Some(at(10 + 24 * hour)));
    assert_eq!(scenario.apply_at(10 + 24 * hour, tick()), Stage::Retraining);
    // The budget per month.
    let mut scenario = Scenario::with_policy(
        "[remediation]\ndecide_after = '0s'\nautomation = 'auto'\ncooldown = '0h'\nretrainings_per_day = 9\nretrainings_per_month = 2\n",
    );
    scenario.document.retrainings = vec![at(-2 * hour), at(-hour)];
    assert_eq!(scenario.apply_at(10, in_alert("dq", 1)), Stage::Holding);
    assert!(matches!(
        scenario.last_decision().1[..],
        [Reason::BudgetPerMonth { .. }]
    ));
    assert_eq!(scenario.apply_at(31 * 24 * hour, tick()), Stage::Retraining);
}

#[test]
fn minimum_severity_holds_until_severe_alert_joins() {
    let mut scenario = Scenario::with_policy(&format!("{AUTO}minimum_severity = 'critical'\n"));
    assert_eq!(scenario.apply_at(10, in_alert("dq", 1)), Stage::Holding);
    let Input::Alert(mut critical) = in_alert("mq", 1) else {
        panic!("an alert")
    };
    critical.severity = Some(Severity::Critical);
    assert_eq!(scenario.apply_at(20, Input::Alert(critical)), Stage::Retraining);
}

#[test]
fn alert_without_facts_waits_for_decision() {
    let mut scenario = Scenario::with_policy(AUTO);
    scenario.facts = None;
    assert_eq!(scenario.apply_at(10, in_alert("dq", 1)), Stage::Deciding);
    assert!(scenario.document.outbox.is_empty());
    assert!(
        scenario.document.needs(&in_alert("dq", 1), &caller(20)).facts,
        "a retry of the same alert needs facts"
    );
    scenario.facts = Some(Facts::default());
    assert_eq!(scenario.apply_at(20, in_alert("dq", 1)), Stage::Retraining);
}

fn resolution(incident: u64, in_alert: Option<InAlertChoice>) -> Input {
    Input::Resolution(RemediationResolution {
        incident_id: format!("churn-{incident}"),
        in_alert,
        by: "ada".into(),
        time: at(100),
        reason: None,
    })
}

#[test]
fn resolution_says_what_becomes_of_alerts() {
    let mut scenario = Scenario::after([in_alert("dq", 1)]);
    assert_eq!(
        scenario.apply(resolution(1, None)),
        StepOutcome::Refused(Refusal::MonitorsInAlert)
    );
    assert_eq!(
        scenario.apply(resolution(7, None)),
        StepOutcome::Refused(Refusal::NotOpen)
    );
    assert_eq!(
        scenario.apply_at(90, resolution(1, Some(InAlertChoice::Reopen))),
        Stage::Retraining,
        "also during the retraining; in the next incident"
    );
    assert_eq!(scenario.document.incident.as_ref().unwrap().number, 2);
    assert_eq!(scenario.document.closed[0].outcome, Outcome::Resolved);
    assert_eq!(scenario.starts().len(), 2);
    // The end of the first retraining is recorded.
    scenario.apply(execution(1, ExecutionStatus::Failed));
    let ended = scenario.document.closed[0].incident.execution().unwrap();
    assert_eq!(ended.status, ExecutionStatus::Failed);
}

#[test]
fn accepted_alert_opens_no_incident_until_it_returns() {
    let day = 24 * 3600;
    let mut scenario = Scenario::after([in_alert("dq", 1)]);
    let accept = resolution(1, Some(InAlertChoice::Accept));
    assert_eq!(scenario.apply_at(90, accept.clone()), Stage::Healthy);
    assert_eq!(scenario.apply_at(6 * day, tick()), Stage::Healthy);
    assert_eq!(scenario.apply_at(6 * day + 1, in_alert("mq", 1)), Stage::Retraining);
    // It counts again after a week.
    let mut scenario = Scenario::after([in_alert("dq", 1)]);
    scenario.apply_at(90, accept.clone());
    assert_eq!(scenario.apply_at(8 * day, tick()), Stage::Retraining);
    // Or when it comes back.
    let mut scenario = Scenario::after([in_alert("dq", 1)]);
    scenario.apply_at(90, accept);
    assert_eq!(scenario.apply_at(100, ok("dq", 2)), Stage::Healthy);
    assert_eq!(scenario.apply_at(110, in_alert("dq", 3)), Stage::Retraining);
}

#[test]
fn changed_policy_applies_to_undecided_incident() {
    let mut scenario = Scenario::with_policy("[remediation]\ndecide_after = '0s'\nautomation = 'suggest'\n");
    assert_eq!(scenario.apply_at(10, in_alert("dq", 1)), Stage::Holding);
    scenario.policy = Policy::parse(AUTO.as_bytes()).unwrap();
    assert_eq!(scenario.apply_at(20, tick()), Stage::Retraining);
    let decision = scenario.document.incident.as_ref().unwrap().decision.as_ref().unwrap();
    assert_eq!(decision.policy_version, scenario.policy.version());
    scenario.policy = Policy::parse(b"paused = true").unwrap();
    assert_eq!(
        scenario.apply_at(30, tick()),
        Stage::Retraining,
        "a started retraining continues"
    );
    assert_eq!(scenario.starts().len(), 1);
}

#[test]
fn insufficient_data_does_not_count_as_ok() {
    let mut scenario = Scenario::after([in_alert("dq", 1), execution(1, ExecutionStatus::Succeeded)]);
    let Input::Alert(mut unknown) = ok("dq", 2) else {
        panic!("an alert")
    };
    unknown.alert_status = AlertStatus::InsufficientData;
    assert_eq!(scenario.apply_at(10, Input::Alert(unknown)), Stage::Verifying);
    assert_eq!(scenario.apply_at(20, ok("dq", 3)), Stage::Healthy);
}

#[test]
fn late_and_unrelated_executions_are_ignored() {
    let mut scenario = Scenario::after([in_alert("dq", 1), execution(1, ExecutionStatus::Succeeded)]);
    let before = scenario.document.clone();
    for late in [
        execution(1, ExecutionStatus::Executing),
        execution(1, ExecutionStatus::Failed),
        execution(7, ExecutionStatus::Failed),
    ] {
        assert_eq!(scenario.apply(late), StepOutcome::Unchanged);
    }
    assert_eq!(scenario.document, before);
}

#[test]
fn rule_start_publishes_parameters_in_decision() {
    let mut scenario = Scenario::with_policy(&format!("{AUTO}[retraining]\nparameters = []\n"));
    scenario.settings.pipeline_start = PipelineStart::Rule;
    scenario.start = None;
    scenario.apply(in_alert("dq", 1));
    assert!(scenario.starts().is_empty());
    let [entry] = scenario.document.outbox.entries() else {
        panic!("one effect")
    };
    let ModelEffect::PutRemediationDecided(decided) = &entry.effect else {
        panic!("the decision")
    };
    assert_eq!(decided.pipeline_start, Some(PipelineStart::Rule));
    assert_eq!(
        decided.pipeline_parameters.len(),
        5,
        "the target of the rule lists all of them"
    );
    assert!(
        decided
            .pipeline_parameters
            .keys()
            .all(|name| name.chars().all(|c| c.is_ascii_alphanumeric()))
    );
}

#[test]
fn state_machine_and_event_get_custom_parameters() {
    let arn = "arn:aws:states:eu-central-1:111122223333:stateMachine:retrain";
    let mut scenario = Scenario::with_policy(&format!(
        "{AUTO}[retraining]\nstart = 'state-machine'\nstate_machine = '{arn}'\nparameters = {{ Model_Name = '{{model}}-v2' }}\n"
    ));
    scenario.start = None;
    scenario.apply(in_alert("dq", 1));
    let start = scenario
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

    let mut scenario = Scenario::with_policy(&format!("{AUTO}[retraining]\nstart = 'event'\n"));
    scenario.start = None;
    scenario.apply(in_alert("dq", 1));
    assert_eq!(scenario.stage(), Stage::Starting);
    assert_eq!(scenario.document.outbox.entries().len(), 1, "only the event");
}

#[test]
fn lost_document_restarts_with_another_token() {
    let token = |scenario: &Scenario| scenario.starts()[0].client_request_token.clone();
    let first = Scenario::after([in_alert("dq", 1)]);
    let restarted = Scenario::after([in_alert("dq", 5)]);
    assert_ne!(token(&first), token(&restarted));
    assert_eq!(
        token(&first),
        token(&Scenario::after([in_alert("dq", 1)])),
        "the same alert has the same token"
    );
}

#[test]
fn events_of_an_incident_share_its_correlation_id() {
    let mut scenario = with_candidate();
    scenario.apply(in_alert("dq", 1));
    scenario.apply(candidate(Some(Conclusion::Promoted), Some(EXECUTION), 300));
    let json = serde_json::to_string(&scenario.document).unwrap();
    let ids: Vec<Option<&str>> = scenario
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
    assert_eq!(scenario.document.correlation_id(), Some("of-quality-1"));
    // Only its own candidate inherits it.
    let of_candidate = |arn| scenario.document.candidate_correlation_id(arn);
    assert_eq!(of_candidate(Some(EXECUTION)), Some("of-quality-1"));
    assert_eq!(of_candidate(Some("another execution")), None);
    // A document of a version without correlation IDs is readable.
    let mut before: serde_json::Value = serde_json::from_str(&json).unwrap();
    before["incident"].as_object_mut().unwrap().remove("correlation_id");
    let before: ModelDocument = serde_json::from_value(before).unwrap();
    assert_eq!(before.correlation_id(), None);
}

fn some_input() -> impl Strategy<Value = (Input, bool)> {
    use ExecutionStatus::{Executing, Failed, Stopped, Succeeded};
    let input = prop_oneof![
        6 => (prop_oneof![Just("dq"), Just("mq"), Just("bias")], 1..8_u64)
            // As in a ledger, transitions to InAlert have odd numbers and transitions to OK have even ones.
            .prop_map(|(schedule, n)| if n % 2 == 1 { in_alert(schedule, n) } else { ok(schedule, n) }),
        2 => (1..4_u64, prop_oneof![Just(Executing), Just(Failed), Just(Stopped), Just(Succeeded)])
            .prop_map(|(incident, status)| execution(incident, status)),
        1 => (any::<bool>(), 0..60_i64).prop_map(|(granted, second)| approval(granted, second)),
        1 => (any::<bool>(), 0..60_i64, prop::option::of(1..30_i64))
            .prop_map(|(paused, second, seconds)| pause(paused, second, seconds)),
        1 => Just(tick()),
        1 => (1..3_u64, prop::option::of(prop_oneof![Just(InAlertChoice::Accept), Just(InAlertChoice::Reopen)]))
            .prop_map(|(incident, choice)| resolution(incident, choice)),
        1 => prop_oneof![Just("dq"), Just("mq")]
            .prop_map(|schedule| Input::Retired { monitoring_schedule: schedule.to_owned() }),
    ];
    // The second value: whether SageMaker answers.
    (input, prop::bool::weighted(0.8))
}

fn some_policy() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => Just(AUTO.to_owned()),
        1 => Just("paused = true".to_owned()),
        1 => Just("[remediation]\ndecide_after = '0s'\nautomation = 'approve'\ncooldown = '0m'".to_owned()),
        1 => Just(String::new()),
    ]
}

proptest! {
    /// For any input under any policy: an incident has at most one retraining and has its decision, and a monitor in
    /// alert has an incident.
    #[test]
    fn incident_has_at_most_one_retraining(
        inputs in proptest::collection::vec((some_input(), some_policy()), 0..60),
    ) {
        let mut scenario = Scenario::with_policy(AUTO);
        let mut started = Vec::new();
        let mut decisions = BTreeSet::new();
        for ((input, answers), policy) in &inputs {
            scenario.policy = Policy::parse(policy.as_bytes()).unwrap();
            scenario.facts = answers.then(Facts::default);
            // Every event is delivered twice.
            for _ in 0..2 {
                let before = scenario.stage();
                let resolved = matches!(input, Input::Resolution(_));
                scenario.apply(input.clone());
                for start in std::mem::take(&mut scenario.started) {
                    prop_assert!(before.is_undecided() || before == Stage::Healthy || resolved);
                    let (pause, now) = (scenario.document.pause.as_ref(), at(scenario.second));
                    let paused = pause.is_some_and(|pause| pause.is_active(now));
                    prop_assert!(!paused, "no retraining starts while the model is paused");
                    started.push(start.incident);
                }
                for entry in scenario.document.outbox.entries() {
                    if let ModelEffect::PutRemediationDecided(decided) = &entry.effect {
                        prop_assert!(decisions.insert(decided.id.clone()), "{} is published twice", decided.id);
                    }
                }
                scenario.document.outbox = Outbox::default();
                let document = &scenario.document;
                let is_quiet = |alert: &remediation::MonitorAlert| {
                    alert.status == AlertStatus::Ok || alert.accepted_until.is_some()
                };
                let quiet = document.alerts.values().all(is_quiet);
                prop_assert!(quiet || document.incident.is_some(), "a monitor in alert has an incident");
                let undecided = document.incident.as_ref().is_some_and(|incident| incident.decision.is_none());
                let has_run = document.incident.as_ref().is_some_and(|incident| incident.execution().is_some());
                prop_assert!(!undecided || document.is_deciding() || has_run, "only in the stage Deciding");
            }
        }
        let incidents: BTreeSet<u64> = started.iter().copied().collect();
        prop_assert_eq!(incidents.len(), started.len(), "each incident has at most one retraining");
    }

    /// A document is the same after it was written and read.
    #[test]
    fn document_survives_serialization(inputs in proptest::collection::vec(some_input(), 0..30)) {
        let scenario = Scenario::after(inputs.into_iter().map(|(input, _)| input));
        let text = serde_json::to_vec(&scenario.document).unwrap();
        prop_assert_eq!(serde_json::from_slice::<ModelDocument>(&text).unwrap(), scenario.document);
    }
}

/// A policy with experiments.
const WITH_EXPERIMENTS: &str = "[remediation]\ndecide_after = '0s'\nautomation = 'auto'\ncooldown = '0m'\nverify_executions = 2\nclose_after = 1\n\
    [promotion]\nmode = 'variants'\nmetric = 'purchases'\ncandidate_within = '6h'\n";

const EXECUTION: &str = "arn:aws:sagemaker:us-east-1:111122223333:pipeline/churn/execution/e1";

fn candidate(ended: Option<Conclusion>, execution: Option<&str>, second: i64) -> Input {
    Input::Experiment(CandidateStatus {
        experiment_id: "churn-ab-1".into(),
        pipeline_execution_arn: execution.map(str::to_owned),
        ended,
        sentence: "Candidate 2 was worse by 0.1.".into(),
        at: at(second),
    })
}

/// A model whose retraining has succeeded, and whose candidate has to be tested.
fn with_candidate() -> Scenario {
    let mut scenario = Scenario::with_policy(WITH_EXPERIMENTS);
    scenario.apply_at(1, alert("quality", 1, AlertStatus::InAlert));
    let execution = PipelineExecution {
        arn: EXECUTION.into(),
        status: ExecutionStatus::Succeeded,
        start_time: Some(at(10)),
        end_time: Some(at(100)),
    };
    scenario.apply_at(
        100,
        Input::PipelineExecution {
            incident: 1,
            execution,
            at: at(100),
        },
    );
    assert_eq!(scenario.stage(), Stage::Candidate);
    scenario
}

/// Judges a number of executions since the promotion at second 1000.
fn judge(scenario: &mut Scenario, second: i64, executions: i64) -> Stage {
    let judged: Vec<i64> = (1..=executions).map(|number| 1000 + number).collect();
    scenario.judge_at(second, "quality", &judged)
}

#[test]
fn promoted_model_is_verified_by_evaluation_period() {
    let mut scenario = with_candidate();
    // That every monitor is OK has no effect: the candidate does not serve yet.
    scenario.apply_at(200, alert("quality", 2, AlertStatus::Ok));
    assert_eq!(scenario.stage(), Stage::Candidate);
    assert_eq!(
        scenario.apply_at(300, candidate(None, Some(EXECUTION), 300)),
        Stage::Candidate
    );
    assert_eq!(
        scenario.apply_at(1000, candidate(Some(Conclusion::Promoted), Some(EXECUTION), 1000)),
        Stage::Verifying
    );
    assert_eq!(judge(&mut scenario, 2000, 1), Stage::Verifying);
    assert_eq!(judge(&mut scenario, 2001, 2), Stage::Healthy);
    let closed = scenario
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
fn persistent_drift_of_promoted_model_escalates() {
    let mut scenario = with_candidate();
    scenario.apply_at(1000, candidate(Some(Conclusion::Promoted), Some(EXECUTION), 1000));
    assert_eq!(judge(&mut scenario, 2000, 2), Stage::Escalated);
    assert!(matches!(scenario.last_decision().1[..], [Reason::DriftPersists { .. }]));
}

#[test]
fn lost_or_missing_candidate_escalates() {
    let mut scenario = with_candidate();
    assert_eq!(
        scenario.apply_at(1000, candidate(Some(Conclusion::RolledBack), Some(EXECUTION), 1000)),
        Stage::Escalated
    );
    let (verdict, reasons) = scenario.last_decision();
    assert_eq!(verdict, Verdict::Escalate);
    assert!(
        matches!(
            &reasons[..],
            [Reason::NotPromoted {
                conclusion: Conclusion::RolledBack,
                sentence,
                ..
            }] if sentence == "Candidate 2 was worse by 0.1."
        ),
        "{reasons:?}"
    );

    let mut scenario = with_candidate();
    assert_eq!(judge(&mut scenario, 100 + 6 * 3600 - 1, 0), Stage::Candidate);
    assert_eq!(judge(&mut scenario, 100 + 6 * 3600, 0), Stage::Escalated);
    assert!(matches!(
        scenario.last_decision().1[..],
        [Reason::CandidateMissing { .. }]
    ));
    // A candidate in an experiment does not time out.
    let mut scenario = with_candidate();
    scenario.apply_at(200, candidate(None, None, 200));
    assert_eq!(judge(&mut scenario, 100 + 7 * 3600, 0), Stage::Candidate);
}

#[test]
fn experiments_of_other_executions_are_ignored() {
    let mut scenario = with_candidate();
    let other = "arn:aws:sagemaker:us-east-1:111122223333:pipeline/churn/execution/other";
    assert_eq!(
        scenario.apply_at(200, candidate(Some(Conclusion::Promoted), Some(other), 200)),
        Stage::Candidate
    );
    // An experiment without an execution that ended before this retraining.
    assert_eq!(
        scenario.apply_at(300, candidate(Some(Conclusion::Promoted), None, 50)),
        Stage::Candidate
    );
    assert_eq!(
        scenario.apply_at(400, candidate(Some(Conclusion::Promoted), None, 400)),
        Stage::Verifying
    );
    // A later result has no effect.
    assert_eq!(
        scenario.apply(candidate(Some(Conclusion::RolledBack), Some(EXECUTION), 500)),
        StepOutcome::Unchanged
    );
}
