//! What a sweep finds and mends, on AWS in memory, without a single event.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use alerting::{AlertStatus, DatapointState, HealthStatus, MonitorLedger};
use ingest::{Config, Ingest};
use jiff::{SignedDuration, Timestamp};
use remediate::Remediate;
use remediation::{ExecutionStatus, ModelDocument, PipelineStart, Settings, Stage};
use shell::{
    Kind,
    config::Vars,
    memory::{Fault, Memory},
    ports::{DescribedJob, MonitoringExecution, Schedule},
};
use sweep::{Sweep, Swept};

const POLICY: &str = "[remediation]\nautomation = 'auto'\ncooldown = '0h'\nretrainings_per_day = 9\n";
const REPORT: &str = r#"{"violations": [{"feature_name": "age", "constraint_check_type": "baseline_drift_check",
    "description": "Numerical distance: 0.4172 exceeds numerical threshold: 0.1"}]}"#;

fn at(text: &str) -> Timestamp {
    format!("2026-11-23T{text}Z").parse().unwrap()
}

fn function() -> Sweep {
    let vars = Vars(|name: &str| {
        let value = match name {
            "STATE_BUCKET" => "driftwarden-state",
            "EVENT_BUS_NAME" => "driftwarden",
            "REPORT_BUCKET" => "reports",
            "REPORT_PREFIX" => "monitoring",
            _ => return None,
        };
        Some(value.to_owned())
    });
    let settings = Settings {
        pipeline: "retraining".into(),
        pipeline_start: PipelineStart::Remediate,
    };
    Sweep::new(
        Ingest::new(Config::from_vars(&vars).unwrap()),
        Remediate::new(settings),
        false,
    )
}

async fn sweep(world: &Memory) -> Swept {
    function().run(world, "sweep", Timestamp::MAX).await.unwrap()
}

/// A world at 06:30 with an hourly monitor that began at 01:00.
fn world() -> Memory {
    let world = Memory::at(at("06:30:00"));
    world.put_document("policy.toml", POLICY);
    let schedule = Schedule {
        name: "Churn-DQ".into(),
        endpoint: Some("churn".into()),
        status: "Scheduled".into(),
        created: at("00:30:00"),
    };
    world.put_schedule(schedule, "cron(0 * ? * * *)");
    world
}

/// An execution in SageMaker's list, with the job that carried it out, unless there were no data.
fn execution(world: &Memory, hour: u8, status: &str) {
    let name = format!("job-{hour}");
    let no_data = status == "NoData";
    let status = if no_data { "Failed" } else { status };
    let arn = format!("arn:aws:sagemaker:us-east-1:111122223333:processing-job/{name}");
    world.put_monitoring_execution(
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
        world.put_object(&format!("{folder}/constraint_violations.json"), REPORT);
    }
    let job_status = if status.starts_with("Completed") {
        "Completed"
    } else {
        status
    };
    world.put_job(
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

fn ledger(world: &Memory) -> MonitorLedger {
    serde_json::from_slice(&world.document("monitors/churn-dq.json").unwrap()).unwrap()
}

fn states(world: &Memory) -> Vec<DatapointState> {
    ledger(world)
        .datapoints
        .iter()
        .map(alerting::Datapoint::state)
        .collect()
}

fn model(world: &Memory) -> ModelDocument {
    serde_json::from_slice(&world.document("models/churn.json").unwrap()).unwrap()
}

#[tokio::test]
async fn executions_whose_events_were_lost_are_recorded_and_lead_to_one_retraining() {
    use DatapointState::{Clean, Failed, NoData, Violations};
    let world = world();
    for (hour, status) in [(1, "Completed"), (2, "NoData"), (3, "Failed"), (4, "Completed")] {
        execution(&world, hour, status);
    }
    execution(&world, 5, "CompletedWithViolations");
    let swept = sweep(&world).await;
    assert_eq!((swept.repaired, swept.missing, swept.told), (5, 0, 1));
    assert_eq!(states(&world), [Clean, NoData, Failed, Clean, Violations]);
    assert_eq!(ledger(&world).alert.status, AlertStatus::InAlert);
    assert_eq!(
        ledger(&world).datapoints[4]
            .evidence
            .report
            .as_ref()
            .unwrap()
            .violations,
        1
    );
    assert_eq!(model(&world).stage(), Stage::Retraining);
    assert_eq!(world.executions().len(), 1);
    let told: Vec<String> = world.events().into_iter().map(|(detail_type, _)| detail_type).collect();
    assert_eq!(told, ["Model Monitor Alert State Change", "Remediation Decided"]);
    // A sweep that has nothing to mend changes nothing.
    let calm = sweep(&world).await;
    assert_eq!((calm.repaired, calm.missing, calm.told), (0, 0, 0));
    assert_eq!((world.executions().len(), world.events().len()), (1, 2));
}

#[tokio::test]
async fn what_was_due_and_never_ran_is_missing_and_the_monitor_unhealthy() {
    let world = world();
    execution(&world, 1, "Completed");
    let swept = sweep(&world).await;
    // 05:00 is past its grace at 06:30, 06:00 is not.
    assert_eq!(swept.missing, 4);
    assert_eq!(states(&world)[1..], [DatapointState::Missing; 4]);
    let ledger = ledger(&world);
    assert_eq!(
        ledger.alert.status,
        AlertStatus::Ok,
        "missing is not breaching by default"
    );
    assert_eq!(ledger.health.status, HealthStatus::Unhealthy);
    assert_eq!(world.events()[0].0, "Model Monitor Health State Change");
    // It was only late.
    execution(&world, 5, "CompletedWithViolations");
    sweep(&world).await;
    assert_eq!(states(&world)[4], DatapointState::Violations);
    assert_eq!(self::ledger(&world).health.status, HealthStatus::Healthy);
}

#[tokio::test]
async fn a_stopped_schedule_and_one_of_somebody_else_have_nothing_missing() {
    let world = Memory::at(at("06:30:00"));
    for (name, status) in [("stopped", "Stopped"), ("foreign", "Scheduled")] {
        let schedule = Schedule {
            name: name.into(),
            endpoint: None,
            status: status.into(),
            created: at("00:30:00"),
        };
        world.put_schedule(schedule, "cron(0 * ? * * *)");
    }
    world.put_document("policy.toml", "[[monitor]]\nschedule = 'stopped'\n");
    let swept = sweep(&world).await;
    assert_eq!((swept.monitors, swept.missing), (2, 0));
    assert_eq!(world.documents(), ["policy.toml"]);
}

#[tokio::test]
async fn a_schedule_of_somebody_else_costs_few_calls() {
    let world = world();
    for hour in 1..6 {
        execution(&world, hour, "CompletedWithViolations");
        let name = format!("job-{hour}");
        let elsewhere = DescribedJob {
            arn: format!("arn:aws:sagemaker:us-east-1:111122223333:processing-job/{name}"),
            status: "Completed".into(),
            outputs: vec![format!("s3://elsewhere/churn/Churn-DQ/2026/11/23/{hour:02}")],
            ..DescribedJob::default()
        };
        world.put_job(&name, elsewhere);
    }
    let swept = sweep(&world).await;
    assert_eq!((swept.repaired, swept.missing), (0, 0));
    assert_eq!(world.documents(), ["policy.toml"]);
    let described = world
        .calls()
        .iter()
        .filter(|call| call.contains("DescribeProcessingJob"))
        .count();
    assert_eq!(described, 3);
}

#[tokio::test]
async fn a_monitor_that_the_policy_names_is_missed_from_its_first_hour() {
    let world = world();
    world.put_document("policy.toml", "[[monitor]]\nschedule = 'churn-dq'\n");
    assert_eq!(sweep(&world).await.missing, 5);
}

#[tokio::test]
async fn what_a_document_owes_is_carried_out_once_its_claim_has_lapsed() {
    let world = world();
    execution(&world, 5, "CompletedWithViolations");
    world.fail("events:PutEvents", Fault::Before(Kind::Transient));
    function().run(&world, "died", Timestamp::MAX).await.unwrap_err();
    assert!(!ledger(&world).outbox.is_empty());
    sweep(&world).await;
    world.pass(SignedDuration::from_mins(15));
    sweep(&world).await;
    assert!(ledger(&world).outbox.is_empty());
    // The event is on the bus now; to a model that does not hear of it the next sweep tells it.
    sweep(&world).await;
    assert_eq!(model(&world).stage(), Stage::Retraining);
    assert_eq!(world.executions().len(), 1);
}

#[tokio::test]
async fn a_lost_end_of_a_run_is_found_and_the_retrained_model_verified() {
    let world = world();
    execution(&world, 5, "CompletedWithViolations");
    sweep(&world).await;
    let (_, run) = world.runs().remove(0);
    world.finish(&run.arn, ExecutionStatus::Succeeded);
    sweep(&world).await;
    assert_eq!(model(&world).stage(), Stage::Verifying);
    // The next execution, on the retrained model, still drifts: a person is called.
    world.set_time(at("07:30:00"));
    execution(&world, 7, "CompletedWithViolations");
    sweep(&world).await;
    assert_eq!(model(&world).stage(), Stage::Escalated);
    // And once it is clean the incident is over.
    world.set_time(at("08:30:00"));
    execution(&world, 8, "Completed");
    sweep(&world).await;
    assert_eq!(model(&world).stage(), Stage::Healthy);
    assert_eq!(world.executions().len(), 1);
}

#[tokio::test]
async fn a_changed_policy_judges_what_is_known() {
    let world = world();
    world.put_document(
        "policy.toml",
        format!("{POLICY}[alert]\ndatapoints_to_alert = 2\nevaluation_period = 3\n"),
    );
    execution(&world, 4, "Completed");
    execution(&world, 5, "CompletedWithViolations");
    sweep(&world).await;
    assert_eq!(ledger(&world).alert.status, AlertStatus::Ok);
    world.put_document("policy.toml", POLICY);
    sweep(&world).await;
    assert_eq!(ledger(&world).alert.status, AlertStatus::InAlert);
    sweep(&world).await;
    assert_eq!(world.executions().len(), 1);
}

#[tokio::test]
async fn a_window_over_time_goes_on_without_executions() {
    let world = world();
    let policy = "[alert]\nwindow = 'time'\nperiod = '1h'\ntreat_missing_data = 'notBreaching'\nevaluation_range = 1\n";
    world.put_document("policy.toml", format!("{POLICY}{policy}"));
    execution(&world, 5, "CompletedWithViolations");
    world.set_time(at("05:30:00"));
    sweep(&world).await;
    assert_eq!(ledger(&world).alert.status, AlertStatus::InAlert);
    world.set_time(at("06:30:00"));
    sweep(&world).await;
    assert_eq!(ledger(&world).alert.status, AlertStatus::Ok);
}

#[tokio::test]
async fn one_that_cannot_be_swept_does_not_keep_the_others_from_it() {
    let world = world();
    execution(&world, 5, "CompletedWithViolations");
    world.put_document("monitors/broken.json", "no ledger");
    let error = function().run(&world, "sweep", Timestamp::MAX).await.unwrap_err();
    assert!(error.to_string().starts_with("1 of "), "{error}");
    assert!(error.to_string().contains("monitor broken"), "{error}");
    assert_eq!(world.executions().len(), 1);
}

#[tokio::test]
async fn shortly_before_the_deadline_nothing_new_is_begun() {
    let world = world();
    execution(&world, 5, "CompletedWithViolations");
    let deadline = world.time().checked_add(SignedDuration::from_secs(30)).unwrap();
    let swept = function().run(&world, "sweep", deadline).await.unwrap();
    assert_eq!((swept.monitors, swept.left), (0, 1));
}

#[tokio::test]
async fn a_fault_at_any_call_is_mended_by_the_next_sweep() {
    let clean = world();
    execution(&clean, 5, "CompletedWithViolations");
    sweep(&clean).await;
    let calls = clean.calls().len();
    for fault in [Fault::Before(Kind::Transient), Fault::After] {
        for operation in clean.calls() {
            let world = world();
            execution(&world, 5, "CompletedWithViolations");
            world.fail(operation, fault);
            for turn in 0..4 {
                let _done = function()
                    .run(&world, &format!("sweep-{turn}"), Timestamp::MAX)
                    .await
                    .is_ok();
                world.pass(SignedDuration::from_mins(3));
            }
            assert_eq!(world.executions().len(), 1, "{operation} {fault:?}");
            assert_eq!(model(&world).stage(), Stage::Retraining, "{operation} {fault:?}");
            assert!(ledger(&world).outbox.is_empty(), "{operation} {fault:?}");
        }
    }
    assert!(calls > 12, "{calls}");
}

fn changed_baseline(world: &Memory, time: &str) {
    let change = serde_json::json!({
        "version": "1", "id": time, "model": "churn", "monitoringSchedule": "Churn-DQ", "monitorType": "DataQuality",
        "baselineUri": "s3://data/baselines/churn/7/Churn-DQ", "experimentId": "churn-7", "sentence": "changed",
        "time": at(time),
    });
    let document = serde_json::json!({"version": 1, "change": change}).to_string();
    world.put_document("baselines/churn-dq.json", document);
}

#[tokio::test]
async fn a_window_is_restarted_where_no_event_told_of_the_new_baseline() {
    let world = world();
    world.put_document("policy.toml", "[remediation]\nautomation = 'observe'\n");
    execution(&world, 4, "CompletedWithViolations");
    assert_eq!(sweep(&world).await.restarted, 0);
    assert_eq!(ledger(&world).alert.status, AlertStatus::InAlert);
    changed_baseline(&world, "05:30:00");
    // What is found late of before the change does not alert again.
    execution(&world, 5, "CompletedWithViolations");
    let told = world.events().len();
    let swept = sweep(&world).await;
    assert_eq!((swept.restarted, swept.repaired), (1, 1));
    assert_eq!(ledger(&world).alert.status, AlertStatus::Ok);
    assert_eq!(ledger(&world).restarted_at, Some(at("05:30:00")));
    let kinds: Vec<_> = world.events_after(told).into_iter().map(|(kind, _)| kind).collect();
    assert_eq!(
        kinds.iter().filter(|kind| kind.contains("Alert")).count(),
        1,
        "{kinds:?}"
    );
    let calls = world.call_count();
    assert_eq!(sweep(&world).await.restarted, 0);
    assert_eq!(
        world.calls()[calls..]
            .iter()
            .filter(|call| **call == "s3:PutObject")
            .count(),
        0
    );
    // And on the new baseline it drifts as well.
    world.set_time(at("07:30:00"));
    execution(&world, 6, "CompletedWithViolations");
    sweep(&world).await;
    assert_eq!(ledger(&world).alert.status, AlertStatus::InAlert);
    assert_eq!(ledger(&world).alert.transition, 3);
}

#[tokio::test]
async fn a_monitor_without_events_of_sagemakers_is_restarted_too_and_a_bad_document_is_told() {
    let of_ours = world();
    execution(&of_ours, 5, "CompletedWithViolations");
    sweep(&of_ours).await;
    // As of a monitor of our own: SageMaker lists nothing.
    let world = Memory::at(at("06:30:00"));
    world.put_document("policy.toml", POLICY);
    world.put_document(
        "monitors/churn-dq.json",
        of_ours.document("monitors/churn-dq.json").unwrap(),
    );
    changed_baseline(&world, "05:30:00");
    assert_eq!(sweep(&world).await.restarted, 1);
    assert_eq!(ledger(&world).alert.status, AlertStatus::Ok);
    world.put_document("baselines/churn-dq.json", "none");
    let error = function().run(&world, "sweep", Timestamp::MAX).await.unwrap_err();
    assert!(error.to_string().starts_with("1 of "), "{error}");
    world.put_document("baselines/other.json", "none");
    changed_baseline(&world, "05:30:00");
    sweep(&world).await;
}
