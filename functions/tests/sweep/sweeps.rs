//! Runs the sweep on AWS in memory, with all events lost.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use crate::sweep::common;

use alerting::{AlertStatus, DatapointState, HealthStatus, MonitorLedger};
use functions::sweep::{Sweep, SweepSummary};
use jiff::{SignedDuration, Timestamp};
use machine::Kind;
use remediation::{ExecutionStatus, ModelDocument, Stage};
use shell::{
    memory::{Fault, Memory},
    ports::{DescribedJob, MonitoringExecution, Schedule},
};

const POLICY: &str = "[remediation]\ndecide_after = '0s'\nautomation = 'auto'\ncooldown = '0h'\nretrainings_per_day = 9\nclose_after = 1\nverify_executions = 1\nreopen_within = '0m'\n";
const REPORT: &str = r#"{"violations": [{"feature_name": "age", "constraint_check_type": "baseline_drift_check",
    "description": "Numerical distance: 0.4172 exceeds numerical threshold: 0.1"}]}"#;

fn at(text: &str) -> Timestamp {
    format!("2026-11-23T{text}Z").parse().unwrap()
}

fn function() -> Sweep {
    common::function(&[("REPORT_BUCKET", "reports"), ("REPORT_PREFIX", "monitoring")], false)
}

async fn sweep(aws: &Memory) -> SweepSummary {
    function().run(aws, "sweep", Timestamp::MAX).await.unwrap()
}

/// AWS at 06:30 with an hourly monitor that started at 01:00.
fn aws() -> Memory {
    let aws = Memory::at(at("06:30:00"));
    aws.put_document("policy.toml", POLICY);
    let schedule = Schedule {
        name: "Churn-DQ".into(),
        endpoint: Some("churn".into()),
        status: "Scheduled".into(),
        created: at("00:30:00"),
        last_modified: at("00:30:00"),
    };
    aws.put_schedule(schedule, "cron(0 * ? * * *)");
    aws
}

/// Adds an execution to SageMaker's list, with its processing job unless there was no data.
fn execution(aws: &Memory, hour: u8, status: &str) {
    let name = format!("job-{hour}");
    let no_data = status == "NoData";
    let status = if no_data { "Failed" } else { status };
    let arn = format!("arn:aws:sagemaker:us-east-1:111122223333:processing-job/{name}");
    aws.put_monitoring_execution(
        "Churn-DQ",
        MonitoringExecution {
            scheduled_time: at(&format!("{hour:02}:00:00")),
            status: status.into(),
            processing_job_arn: (!no_data).then(|| arn.clone()),
            endpoint: Some("churn".into()),
            failure_reason: no_data.then(|| "Job inputs had no data".into()),
            last_modified: at(&format!("{hour:02}:20:00")),
        },
    );
    let folder = format!("s3://reports/monitoring/churn/Churn-DQ/2026/11/23/{hour:02}");
    if status == "CompletedWithViolations" {
        aws.put_object(&format!("{folder}/constraint_violations.json"), REPORT);
    }
    let job_status = if status.starts_with("Completed") {
        "Completed"
    } else {
        status
    };
    aws.put_job(
        &name,
        DescribedJob {
            arn,
            status: job_status.into(),
            outputs: vec![folder],
            monitoring_schedule_arn: Some(
                "arn:aws:sagemaker:us-east-1:111122223333:monitoring-schedule/churn-dq".into(),
            ),
            exit_message: status.starts_with("Completed").then(|| format!("{status}: done")),
            end_time: Some(at(&format!("{hour:02}:20:00"))),
            ..DescribedJob::default()
        },
    );
}

fn ledger(aws: &Memory) -> MonitorLedger {
    serde_json::from_slice(&aws.document("monitors/churn-dq.json").unwrap()).unwrap()
}

fn states(aws: &Memory) -> Vec<DatapointState> {
    ledger(aws).datapoints.iter().map(alerting::Datapoint::state).collect()
}

/// Keys of all documents that a sweep without lost events must not write.
fn ledgers_and_models(aws: &Memory) -> Vec<String> {
    let is_state = |key: &String| key.starts_with("monitors/") || key.starts_with("models/");
    aws.documents().into_iter().filter(is_state).collect()
}

/// Number of calls of an operation.
fn count(aws: &Memory, operation: &str) -> usize {
    aws.calls().into_iter().filter(|call| *call == operation).count()
}

fn model(aws: &Memory) -> ModelDocument {
    serde_json::from_slice(&aws.document("models/churn.json").unwrap()).unwrap()
}

#[tokio::test]
async fn lost_executions_lead_to_one_retraining() {
    use DatapointState::{Clean, Failed, NoData, Violations};
    let aws = aws();
    for (hour, status) in [(1, "Completed"), (2, "NoData"), (3, "Failed"), (4, "Completed")] {
        execution(&aws, hour, status);
    }
    execution(&aws, 5, "CompletedWithViolations");
    let swept = sweep(&aws).await;
    assert_eq!((swept.repaired, swept.missing, swept.delivered), (5, 0, 1));
    assert_eq!(states(&aws), [Clean, NoData, Failed, Clean, Violations]);
    assert_eq!(ledger(&aws).alert.status, AlertStatus::InAlert);
    assert_eq!(
        ledger(&aws).datapoints[4].evidence.report.as_ref().unwrap().violations,
        1
    );
    assert_eq!(model(&aws).stage(), Stage::Retraining);
    assert_eq!(aws.executions().len(), 1);
    let published: Vec<String> = aws.events().into_iter().map(|(detail_type, _)| detail_type).collect();
    assert_eq!(published, ["Model Monitor Alert State Change", "Remediation Decided"]);
    // A sweep without lost events changes nothing.
    let idle = sweep(&aws).await;
    assert_eq!((idle.repaired, idle.missing, idle.delivered), (0, 0, 0));
    assert_eq!((aws.executions().len(), aws.events().len()), (1, 2));
}

#[tokio::test]
async fn missing_executions_make_monitor_unhealthy() {
    let aws = aws();
    execution(&aws, 1, "Completed");
    let swept = sweep(&aws).await;
    // At 06:30 the grace period of 05:00 has passed, that of 06:00 has not.
    assert_eq!(swept.missing, 4);
    assert_eq!(states(&aws)[1..], [DatapointState::Missing; 4]);
    let ledger = ledger(&aws);
    assert_eq!(
        ledger.alert.status,
        AlertStatus::Ok,
        "Missing is not breaching by default"
    );
    assert_eq!(ledger.health.status, HealthStatus::Unhealthy);
    assert_eq!(aws.events()[0].0, "Model Monitor Health State Change");
    // The execution was only late.
    execution(&aws, 5, "CompletedWithViolations");
    sweep(&aws).await;
    assert_eq!(states(&aws)[4], DatapointState::Violations);
    assert_eq!(self::ledger(&aws).health.status, HealthStatus::Healthy);
}

#[tokio::test]
async fn stopped_and_foreign_schedules_miss_nothing() {
    let aws = Memory::at(at("06:30:00"));
    for (name, status) in [("stopped", "Stopped"), ("foreign", "Scheduled")] {
        let schedule = Schedule {
            name: name.into(),
            endpoint: None,
            status: status.into(),
            created: at("00:30:00"),
            last_modified: at("00:30:00"),
        };
        aws.put_schedule(schedule, "cron(0 * ? * * *)");
    }
    aws.put_document("policy.toml", "[[monitor]]\nschedule = 'stopped'\n");
    let swept = sweep(&aws).await;
    assert_eq!((swept.monitors, swept.missing), (2, 0));
    assert_eq!(ledgers_and_models(&aws), [""; 0]);
}

#[tokio::test]
async fn foreign_schedule_makes_few_calls() {
    let aws = aws();
    for hour in 1..6 {
        execution(&aws, hour, "CompletedWithViolations");
        let name = format!("job-{hour}");
        let elsewhere = DescribedJob {
            arn: format!("arn:aws:sagemaker:us-east-1:111122223333:processing-job/{name}"),
            status: "Completed".into(),
            outputs: vec![format!("s3://elsewhere/churn/Churn-DQ/2026/11/23/{hour:02}")],
            ..DescribedJob::default()
        };
        aws.put_job(&name, elsewhere);
    }
    let swept = sweep(&aws).await;
    assert_eq!((swept.repaired, swept.missing), (0, 0));
    assert_eq!(ledgers_and_models(&aws), [""; 0]);
    assert_eq!(count(&aws, "sagemaker:DescribeProcessingJob"), 3);
    // It is not examined again for a day.
    sweep(&aws).await;
    assert_eq!(count(&aws, "sagemaker:DescribeProcessingJob"), 3);
    aws.pass(SignedDuration::from_hours(25));
    sweep(&aws).await;
    assert_eq!(count(&aws, "sagemaker:DescribeProcessingJob"), 6);
}

#[tokio::test]
async fn monitor_in_policy_is_missed_from_first_hour() {
    let aws = aws();
    aws.put_document("policy.toml", "[[monitor]]\nschedule = 'churn-dq'\n");
    assert_eq!(sweep(&aws).await.missing, 5);
}

#[tokio::test]
async fn pending_effects_execute_after_claim_expires() {
    let aws = aws();
    execution(&aws, 5, "CompletedWithViolations");
    aws.fail("events:PutEvents", Fault::Before(Kind::Transient));
    function().run(&aws, "died", Timestamp::MAX).await.unwrap_err();
    assert!(!ledger(&aws).outbox.is_empty());
    sweep(&aws).await;
    aws.pass(SignedDuration::from_mins(15));
    sweep(&aws).await;
    assert!(ledger(&aws).outbox.is_empty());
    // The event is published now. If the model misses it, the next sweep delivers the alert.
    sweep(&aws).await;
    assert_eq!(model(&aws).stage(), Stage::Retraining);
    assert_eq!(aws.executions().len(), 1);
}

#[tokio::test]
async fn lost_end_of_retraining_leads_to_verification() {
    let aws = aws();
    execution(&aws, 5, "CompletedWithViolations");
    sweep(&aws).await;
    let (_, run) = aws.runs().remove(0);
    aws.finish(&run.arn, ExecutionStatus::Succeeded);
    sweep(&aws).await;
    assert_eq!(model(&aws).stage(), Stage::Verifying);
    // The next execution, on the retrained model, still drifts: the incident is escalated.
    aws.set_time(at("07:30:00"));
    execution(&aws, 7, "CompletedWithViolations");
    sweep(&aws).await;
    assert_eq!(model(&aws).stage(), Stage::Escalated);
    // After a clean execution the incident is closed.
    aws.set_time(at("08:30:00"));
    execution(&aws, 8, "Completed");
    sweep(&aws).await;
    assert_eq!(model(&aws).stage(), Stage::Healthy);
    assert_eq!(aws.executions().len(), 1);
}

#[tokio::test]
async fn changed_policy_evaluates_known_executions() {
    let aws = aws();
    aws.put_document(
        "policy.toml",
        format!("{POLICY}[alert]\ndatapoints_to_alert = 2\nevaluation_period = 3\n"),
    );
    execution(&aws, 4, "Completed");
    execution(&aws, 5, "CompletedWithViolations");
    sweep(&aws).await;
    assert_eq!(ledger(&aws).alert.status, AlertStatus::Ok);
    aws.put_document("policy.toml", POLICY);
    sweep(&aws).await;
    assert_eq!(ledger(&aws).alert.status, AlertStatus::InAlert);
    sweep(&aws).await;
    assert_eq!(aws.executions().len(), 1);
}

#[tokio::test]
async fn time_window_moves_without_executions() {
    let aws = aws();
    let policy = "[alert]\nwindow = 'time'\nperiod = '1h'\ntreat_missing_data = 'notBreaching'\nevaluation_range = 1\n";
    aws.put_document("policy.toml", format!("{POLICY}{policy}"));
    execution(&aws, 5, "CompletedWithViolations");
    aws.set_time(at("05:30:00"));
    sweep(&aws).await;
    assert_eq!(ledger(&aws).alert.status, AlertStatus::InAlert);
    aws.set_time(at("06:30:00"));
    sweep(&aws).await;
    assert_eq!(ledger(&aws).alert.status, AlertStatus::Ok);
}

#[tokio::test]
async fn one_failure_does_not_stop_other_monitors() {
    let aws = aws();
    execution(&aws, 5, "CompletedWithViolations");
    aws.put_document("monitors/broken.json", "no ledger");
    let error = function().run(&aws, "sweep", Timestamp::MAX).await.unwrap_err();
    assert!(error.to_string().contains(" 1 of "), "{error}");
    assert!(error.to_string().contains("monitor broken"), "{error}");
    assert_eq!(aws.executions().len(), 1);
}

#[tokio::test]
async fn nothing_starts_shortly_before_deadline() {
    let aws = aws();
    execution(&aws, 5, "CompletedWithViolations");
    let deadline = aws.time().checked_add(SignedDuration::from_secs(30)).unwrap();
    let swept = function().run(&aws, "sweep", deadline).await.unwrap();
    assert_eq!((swept.monitors, swept.left), (0, 1));
}

#[tokio::test]
async fn next_sweep_recovers_from_fault_at_any_call() {
    let clean = aws();
    execution(&clean, 5, "CompletedWithViolations");
    sweep(&clean).await;
    let calls = clean.calls().len();
    for fault in [Fault::Before(Kind::Transient), Fault::After] {
        for operation in clean.calls() {
            let aws = aws();
            execution(&aws, 5, "CompletedWithViolations");
            aws.fail(operation, fault);
            for number in 0..4 {
                let _done = function()
                    .run(&aws, &format!("sweep-{number}"), Timestamp::MAX)
                    .await
                    .is_ok();
                aws.pass(SignedDuration::from_mins(3));
            }
            assert_eq!(aws.executions().len(), 1, "{operation} {fault:?}");
            assert_eq!(model(&aws).stage(), Stage::Retraining, "{operation} {fault:?}");
            assert!(ledger(&aws).outbox.is_empty(), "{operation} {fault:?}");
        }
    }
    assert!(calls > 12, "{calls}");
}

fn changed_baseline(aws: &Memory, time: &str) {
    let change = serde_json::json!({
        "version": "1", "id": time, "model": "churn", "monitoringSchedule": "Churn-DQ", "monitorType": "DataQuality",
        "baselineUri": "s3://data/baselines/churn/7/Churn-DQ", "experimentId": "churn-7", "sentence": "changed",
        "time": at(time),
    });
    let document = serde_json::json!({"version": 1, "change": change}).to_string();
    aws.put_document("baselines/churn-dq.json", document);
}

#[tokio::test]
async fn lost_baseline_change_restarts_window() {
    let aws = aws();
    aws.put_document(
        "policy.toml",
        "[remediation]\ndecide_after = '0s'\nautomation = 'observe'\n",
    );
    execution(&aws, 4, "CompletedWithViolations");
    assert_eq!(sweep(&aws).await.restarted, 0);
    assert_eq!(ledger(&aws).alert.status, AlertStatus::InAlert);
    changed_baseline(&aws, "05:30:00");
    // A late execution from before the change does not raise the alert again.
    execution(&aws, 5, "CompletedWithViolations");
    let before = aws.events().len();
    let swept = sweep(&aws).await;
    assert_eq!((swept.restarted, swept.repaired), (1, 1));
    assert_eq!(ledger(&aws).alert.status, AlertStatus::Ok);
    assert_eq!(ledger(&aws).restarted_at, Some(at("05:30:00")));
    let kinds: Vec<_> = aws.events_after(before).into_iter().map(|(kind, _)| kind).collect();
    assert_eq!(
        kinds.iter().filter(|kind| kind.contains("Alert")).count(),
        1,
        "{kinds:?}"
    );
    let before = ledger(&aws);
    assert_eq!(sweep(&aws).await.restarted, 0);
    assert_eq!(ledger(&aws), before);
    // Drift from the new baseline raises the alert again.
    aws.set_time(at("07:30:00"));
    execution(&aws, 6, "CompletedWithViolations");
    sweep(&aws).await;
    assert_eq!(ledger(&aws).alert.status, AlertStatus::InAlert);
    assert_eq!(ledger(&aws).alert.transition, 3);
}

#[tokio::test]
async fn native_monitor_restarts_and_bad_document_fails() {
    let source = aws();
    execution(&source, 5, "CompletedWithViolations");
    sweep(&source).await;
    // As for a native analysis: SageMaker lists no schedule.
    let aws = Memory::at(at("06:30:00"));
    aws.put_document("policy.toml", POLICY);
    aws.put_document(
        "monitors/churn-dq.json",
        source.document("monitors/churn-dq.json").unwrap(),
    );
    changed_baseline(&aws, "05:30:00");
    assert_eq!(sweep(&aws).await.restarted, 1);
    assert_eq!(ledger(&aws).alert.status, AlertStatus::Ok);
    aws.put_document("baselines/churn-dq.json", "none");
    let error = function().run(&aws, "sweep", Timestamp::MAX).await.unwrap_err();
    assert!(error.to_string().contains(" 1 of "), "{error}");
    aws.put_document("baselines/other.json", "none");
    changed_baseline(&aws, "05:30:00");
    sweep(&aws).await;
}

#[tokio::test]
async fn what_has_not_changed_is_not_read_again() {
    let aws = aws();
    for hour in 1..=5 {
        execution(&aws, hour, "Completed");
    }
    for _ in 0..3 {
        sweep(&aws).await;
    }
    let reads = |aws: &Memory, from: usize| {
        let calls = aws.calls().split_off(from);
        calls.iter().filter(|call| **call == "s3:GetObject").count()
    };
    let calls = || aws.calls().len();
    // The policy and the documents that all sweeps read.
    let idle = calls();
    sweep(&aws).await;
    assert_eq!(reads(&aws, idle), 4);
    // A change of what the monitor depends on leads to a read: its ledger, the policy, the list, or a due execution.
    let ledger = aws.document("monitors/churn-dq.json").unwrap();
    let changes: [&dyn Fn(); 4] = [
        &|| aws.put_document("monitors/churn-dq.json", ledger.clone()),
        &|| aws.put_document("policy.toml", format!("{POLICY}retrainings_per_week = 3\n")),
        &|| execution(&aws, 6, "Completed"),
        &|| aws.pass(SignedDuration::from_hours(1)),
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let from = calls();
        change();
        sweep(&aws).await;
        assert!(reads(&aws, from) > 4, "change {number}");
        sweep(&aws).await;
        sweep(&aws).await;
    }
}

#[tokio::test]
async fn execution_missing_before_a_stop_is_found_after_quiet_sweeps() {
    let aws = aws();
    for hour in 1..=6 {
        execution(&aws, hour, "Completed");
    }
    // The execution of 07:00 never ran. No sweep from 07:10 to 07:40 has to read the ledger.
    for minutes in [0, 0, 40, 0, 15, 15] {
        aws.pass(SignedDuration::from_mins(minutes));
        assert_eq!(sweep(&aws).await.missing, 0);
    }
    aws.pass(SignedDuration::from_mins(10));
    let stopped = Schedule {
        name: "Churn-DQ".into(),
        endpoint: Some("churn".into()),
        status: "Stopped".into(),
        created: at("00:30:00"),
        last_modified: at("07:50:00"),
    };
    aws.put_schedule(stopped, "cron(0 * ? * * *)");
    aws.pass(SignedDuration::from_mins(30));
    assert_eq!(sweep(&aws).await.missing, 1);
}
