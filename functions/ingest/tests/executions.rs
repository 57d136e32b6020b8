//! Executions as the function sees them, on AWS in memory: every sample event, bad input, and a fault at every call.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use alerting::{DatapointState, MetricName, MonitorLedger};
use ingest::{Config, Handled, Ingest, IngestError};
use jiff::{SignedDuration, Timestamp};
use shell::{
    ErrorType as _, Kind, chain,
    config::Vars,
    memory::{Fault, Memory},
    ports::DescribedJob,
};

const EVENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../events/ingest");
const BUCKET: &str = "example-model-monitor-reports";
const FOLDER: &str = "monitoring/reports/churn-endpoint/churn-data-quality/2026/11/23";
const REPORT: &str = r#"{"violations": [{"feature_name": "total_day_minutes", "constraint_check_type": "baseline_drift_check",
    "description": "Numerical distance: 0.4172 exceeds numerical threshold: 0.1"}]}"#;

fn event(name: &str) -> String {
    std::fs::read_to_string(format!("{EVENTS}/{name}.json")).unwrap()
}

fn vars(name: &str) -> Option<String> {
    let value = match name {
        "STATE_BUCKET" => "driftwarden-state",
        "EVENT_BUS_NAME" => "driftwarden",
        "REPORT_PREFIX" => "monitoring/reports",
        _ => return None,
    };
    Some(value.to_owned())
}

fn function() -> Ingest {
    Ingest::new(Config::from_vars(&Vars(vars)).unwrap())
}

fn report_uri(hour: &str) -> String {
    format!("s3://{BUCKET}/{FOLDER}/{hour}/constraint_violations.json")
}

/// A world in which the report of 03:00 lies where it should.
fn world() -> Memory {
    let world = Memory::at("2026-11-23T06:00:00Z".parse::<Timestamp>().unwrap());
    world.put_object(&report_uri("03"), REPORT);
    world
}

fn ledger(world: &Memory, schedule: &str) -> MonitorLedger {
    serde_json::from_slice(&world.document(&format!("monitors/{schedule}.json")).unwrap()).unwrap()
}

fn states(world: &Memory, schedule: &str) -> Vec<DatapointState> {
    ledger(world, schedule)
        .datapoints
        .iter()
        .map(alerting::Datapoint::state)
        .collect()
}

#[tokio::test]
async fn every_sample_event_is_handled() {
    let world = world();
    world.put_job(
        "data-quality-monitoring-202611230400-2f3a9c5b7d1e2f4a6b8c0d1e",
        DescribedJob {
            monitoring_schedule_arn: Some(
                "arn:aws:sagemaker:us-east-1:111122223333:monitoring-schedule/churn-data-quality".into(),
            ),
            exit_message: Some("Completed: Job completed successfully with no violations.".into()),
            ..DescribedJob::default()
        },
    );
    world.put_job(
        "data-quality-monitoring-202611230500-3f3a9c5b7d1e2f4a6b8c0d1e",
        DescribedJob {
            monitoring_schedule_arn: Some(
                "arn:aws:sagemaker:us-east-1:111122223333:monitoring-schedule/churn-data-quality".into(),
            ),
            exit_message: None,
            ..DescribedJob::default()
        },
    );
    let mut names: Vec<String> = std::fs::read_dir(EVENTS)
        .unwrap()
        .map(|entry| {
            entry
                .unwrap()
                .path()
                .file_stem()
                .unwrap()
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    names.sort();
    let mut outcomes = Vec::new();
    for name in names {
        let handled = function().handle(&world, &event(&name), &name).await.unwrap();
        outcomes.push(format!("{name}: {}", serde_json::to_string(&handled).unwrap()));
    }
    insta::assert_snapshot!(outcomes.join("\n"));
    let expected = [
        DatapointState::Violations,
        DatapointState::Clean,
        DatapointState::Failed,
    ];
    assert_eq!(states(&world, "churn-data-quality"), expected);
    assert_eq!(states(&world, "churn-model-quality"), [DatapointState::Clean]);
}

#[tokio::test]
async fn both_events_of_an_execution_are_one_datapoint_and_one_transition() {
    for names in [
        ["s3-object-created", "processing-job-completed-with-violations"],
        ["processing-job-completed-with-violations", "s3-object-created"],
    ] {
        let world = world();
        for (at, name) in names.iter().cycle().take(6).enumerate() {
            function()
                .handle(&world, &event(name), &format!("request-{at}"))
                .await
                .unwrap();
        }
        assert_eq!(states(&world, "churn-data-quality"), [DatapointState::Violations]);
        assert_eq!(world.events().len(), 1, "one transition");
        let breaching = world
            .metrics()
            .iter()
            .filter(|metric| metric.name == MetricName::Breaching)
            .count();
        assert_eq!(breaching, 1, "published once");
        assert!(ledger(&world, "churn-data-quality").outbox.is_empty());
    }
}

#[tokio::test]
async fn unrelated_events_cost_no_call() {
    for name in [
        "s3-object-created-unrelated",
        "processing-job-unrelated",
        "processing-job-ground-truth-merge",
    ] {
        let world = world();
        let handled = function().handle(&world, &event(name), "request").await.unwrap();
        assert!(matches!(handled, Handled::Ignored { .. }), "{name}: {handled:?}");
        assert!(world.calls().is_empty(), "{name}: {:?}", world.calls());
    }
}

#[tokio::test]
async fn executions_that_report_to_another_bucket_cost_no_call() {
    let elsewhere = Vars(|name: &str| match name {
        "REPORT_BUCKET" => Some("another-bucket".to_owned()),
        name => vars(name),
    });
    let function = Ingest::new(Config::from_vars(&elsewhere).unwrap());
    for name in [
        "s3-object-created",
        "processing-job-completed-with-violations",
        "processing-job-failed",
    ] {
        let world = world();
        let handled = function.handle(&world, &event(name), "request").await.unwrap();
        assert!(matches!(handled, Handled::Ignored { .. }), "{name}: {handled:?}");
        assert!(world.calls().is_empty(), "{name}");
    }
}

#[tokio::test]
async fn a_job_that_no_schedule_started_is_none_of_ours_although_its_output_looks_so() {
    let world = world();
    let name = "data-quality-monitoring-202611230400-2f3a9c5b7d1e2f4a6b8c0d1e";
    world.put_job(name, DescribedJob::default());
    let handled = function()
        .handle(
            &world,
            &event("processing-job-completed-without-exit-message"),
            "request",
        )
        .await;
    assert!(matches!(handled.unwrap(), Handled::Ignored { .. }));
    assert!(world.document("monitors/churn-data-quality.json").is_none());
}

async fn error_of(world: &Memory, name: &str) -> IngestError {
    function().handle(world, &event(name), "request").await.unwrap_err()
}

#[tokio::test]
async fn what_cannot_be_read_is_an_error_and_never_clean() {
    let broken: [(&str, Vec<u8>); 5] = [
        ("ReportUnreadable", b"{\"violations\": [".to_vec()),
        ("ReportUnreadable", b"".to_vec()),
        ("ReportUnreadable", b"{\"violations\": \"none\"}".to_vec()),
        ("ReportUnreadable", vec![0xFF; 64]),
        ("ReportTooLarge", vec![b' '; 17 << 20]),
    ];
    for name in ["s3-object-created", "processing-job-completed-with-violations"] {
        for (error_type, body) in &broken {
            let world = world();
            world.put_object(&report_uri("03"), body.clone());
            assert_eq!(error_of(&world, name).await.error_type(), *error_type);
            assert!(world.document("monitors/churn-data-quality.json").is_none());
            let counted = world.metrics();
            assert_eq!(counted.len(), 1);
            assert_eq!(counted[0].name, MetricName::UnreadableReports);
        }
        let world = world();
        world.refuse_object(&report_uri("03"), Kind::Denied);
        let denied = error_of(&world, name).await;
        assert_eq!(denied.error_type(), "AwsAccessDenied");
        assert!(
            chain(&denied).contains("s3:ListBucket"),
            "the remedy: {}",
            chain(&denied)
        );
        assert!(world.document("monitors/churn-data-quality.json").is_none());
    }
}

#[tokio::test]
async fn errors_name_the_object_the_place_and_the_remedy() {
    let world = world();
    world.put_object(&report_uri("03"), r#"{"violations": [{"feature_name": "age"}]}"#);
    insta::assert_snapshot!(
        chain(&error_of(&world, "s3-object-created").await),
        @"the violation report cannot be read: `s3://example-model-monitor-reports/monitoring/reports/churn-endpoint/churn-data-quality/2026/11/23/03/constraint_violations.json` at `violations[0].constraint_check_type`: expected the name of the check that was violated, found none"
    );
    world.put_document("policy.toml", "[alert]\ndatapoints_to_alert = 0\n");
    world.put_object(&report_uri("03"), REPORT);
    insta::assert_snapshot!(
        chain(&error_of(&world, "s3-object-created").await),
        @"there is no policy to judge by: policy.toml in the state bucket is not a policy: [alert] datapoints_to_alert, line 2: datapoints_to_alert is 0: it must be from 1 to 100"
    );
}

#[tokio::test]
async fn a_bad_policy_never_replaces_a_good_one() {
    let world = world();
    world.put_document(
        "policy.toml",
        "[alert]\ndatapoints_to_alert = 2\nevaluation_period = 2\n",
    );
    let function = function();
    function
        .handle(&world, &event("s3-object-created"), "first")
        .await
        .unwrap();
    world.put_document("policy.toml", "[alert]\ndatapoints_to_alrt = 1\n");
    function
        .handle(&world, &event("s3-object-created"), "second")
        .await
        .unwrap();
    // Both functions ask the bucket for its earlier versions, once each.
    let cold = self::function();
    for request in ["third", "fourth"] {
        cold.handle(&world, &event("s3-object-created"), request).await.unwrap();
    }
    assert!(world.events().is_empty(), "1 of 1 would have alerted, 2 of 2 does not");
    let listed = world
        .calls()
        .iter()
        .filter(|call| **call == "s3:ListBucketVersions")
        .count();
    assert_eq!(listed, 2);
}

#[tokio::test]
async fn a_fault_at_any_call_loses_nothing_and_doubles_nothing() {
    let name = "s3-object-created";
    let count = {
        let world = world();
        function().handle(&world, &event(name), "request").await.unwrap();
        world.calls()
    };
    assert_eq!(count.len(), 7, "three reads, a write, two effects, a write: {count:?}");
    for fault in [Fault::Before(Kind::Transient), Fault::After] {
        for operation in [
            "s3:GetObject",
            "s3:PutObject",
            "cloudwatch:PutMetricData",
            "events:PutEvents",
        ] {
            let world = world();
            world.fail(operation, fault);
            let mut attempts = 0;
            while function().handle(&world, &event(name), "request").await.is_err() {
                attempts += 1;
                assert!(attempts < 3, "{operation} {fault:?}");
            }
            assert_eq!(states(&world, "churn-data-quality"), [DatapointState::Violations]);
            assert!(
                ledger(&world, "churn-data-quality").outbox.is_empty(),
                "{operation} {fault:?}"
            );
            let ids: std::collections::BTreeSet<_> = world.events().into_iter().map(|(_, detail)| detail).collect();
            assert_eq!(ids.len(), 1, "one transition, under one id: {operation} {fault:?}");
            let breaching = world
                .metrics()
                .iter()
                .filter(|metric| metric.name == MetricName::Breaching)
                .count();
            let lost_answer = usize::from(fault == Fault::After && operation == "cloudwatch:PutMetricData");
            assert_eq!(breaching, 1 + lost_answer, "{operation} {fault:?}");
        }
    }
}

#[tokio::test]
async fn another_event_completes_what_a_dead_invocation_owed() {
    let world = world();
    world.fail("events:PutEvents", Fault::Before(Kind::Transient));
    function()
        .handle(&world, &event("s3-object-created"), "dead")
        .await
        .unwrap_err();
    assert!(world.events().is_empty());
    world.pass(SignedDuration::from_mins(30));
    function()
        .handle(&world, &event("processing-job-completed-with-violations"), "later")
        .await
        .unwrap();
    assert_eq!(world.events().len(), 1);
}

#[test]
fn a_wrong_configuration_names_the_variable_and_what_it_should_be() {
    let error = |name: &'static str, value: &'static str| {
        let vars = Vars(move |asked: &str| {
            if asked == name {
                Some(value.to_owned())
            } else {
                vars(asked)
            }
        });
        Config::from_vars(&vars).unwrap_err().to_string()
    };
    insta::assert_snapshot!(error("STATE_BUCKET", ""), @"environment variable STATE_BUCKET is not set: it should be the name of an S3 bucket, without `s3://` and without a path");
    insta::assert_snapshot!(error("STATE_BUCKET", "s3://state"), @"environment variable STATE_BUCKET is `s3://state`: it should be the name of an S3 bucket, without `s3://` and without a path");
    insta::assert_snapshot!(error("EVENT_BUS_NAME", " "), @"environment variable EVENT_BUS_NAME is not set: it should be the name of the EventBridge bus");
    insta::assert_snapshot!(error("MAX_REPORT_BYTES", "16 MB"), @"environment variable MAX_REPORT_BYTES is `16 MB`: it should be a number of bytes");
    insta::assert_snapshot!(error("METRIC_NAMESPACE", "AWS/Lambda"), @"environment variable METRIC_NAMESPACE is `AWS/Lambda`: it should be a CloudWatch namespace: at most 255 of letters, digits and .-_/#: , not beginning with `AWS/` or `:`");
}

#[tokio::test]
async fn a_changed_baseline_restarts_the_window_once() {
    let world = world();
    let change = event("monitor-baseline-change").replace("churn-own-data-quality", "churn-data-quality");
    // Nothing is known of the monitor: it has no window.
    let handled = function().handle(&world, &change, "first").await.unwrap();
    assert!(matches!(handled, Handled::Ignored { .. }), "{handled:?}");
    assert!(world.document("monitors/churn-data-quality.json").is_none());
    function()
        .handle(&world, &event("s3-object-created"), "second")
        .await
        .unwrap();
    assert_eq!(
        ledger(&world, "churn-data-quality").alert.status,
        alerting::AlertStatus::InAlert
    );
    let told = world.events().len();
    let handled = function().handle(&world, &change, "third").await.unwrap();
    insta::assert_snapshot!(
        serde_json::to_string(&handled).unwrap(),
        @r#"{"outcome":"restarted","monitoringSchedule":"churn-data-quality","restartedAt":"2026-11-23T03:30:00Z"}"#
    );
    let handled = function().handle(&world, &change, "fourth").await.unwrap();
    assert!(matches!(handled, Handled::Ignored { .. }), "{handled:?}");
    let [(detail_type, detail)] = &world.events_after(told)[..] else {
        panic!("one event")
    };
    assert_eq!(detail_type, "Model Monitor Alert State Change");
    let detail: alerting::AlertStateChange = serde_json::from_str(detail).unwrap();
    assert_eq!(detail.alert_status, alerting::AlertStatus::Ok);
    assert!(detail.reason.contains("because of a new baseline"), "{}", detail.reason);
    // The job of an execution of before changes nothing any more, one of after does.
    for (name, status) in [
        ("processing-job-completed-with-violations", alerting::AlertStatus::Ok),
        ("later", alerting::AlertStatus::InAlert),
    ] {
        let event = if name == "later" {
            world.put_object(&report_uri("04"), REPORT);
            event("s3-object-created").replace("/23/03/", "/23/04/")
        } else {
            event(name)
        };
        function().handle(&world, &event, name).await.unwrap();
        assert_eq!(ledger(&world, "churn-data-quality").alert.status, status, "{name}");
    }
}

#[tokio::test]
async fn a_fault_while_a_window_is_restarted_loses_nothing() {
    for fault in [Fault::Before(Kind::Transient), Fault::After] {
        for operation in ["s3:GetObject", "s3:PutObject", "events:PutEvents"] {
            let world = world();
            function()
                .handle(&world, &event("s3-object-created"), "alert")
                .await
                .unwrap();
            let change = event("monitor-baseline-change").replace("churn-own-data-quality", "churn-data-quality");
            world.fail(operation, fault);
            let mut attempts = 0;
            while function().handle(&world, &change, "restart").await.is_err() {
                attempts += 1;
                assert!(attempts < 3, "{operation} {fault:?}");
            }
            let ledger = ledger(&world, "churn-data-quality");
            assert_eq!(ledger.alert.status, alerting::AlertStatus::Ok, "{operation} {fault:?}");
            assert!(ledger.outbox.is_empty(), "{operation} {fault:?}");
            let ids: std::collections::BTreeSet<_> = world.events().into_iter().map(|(_, detail)| detail).collect();
            assert_eq!(ids.len(), 2, "an alert and its end: {operation} {fault:?}");
        }
    }
}

#[tokio::test]
async fn a_changed_baseline_that_cannot_be_read_is_an_error() {
    let world = world();
    let change = event("monitor-baseline-change").replace("monitoringSchedule", "schedule");
    let error = function().handle(&world, &change, "request").await.unwrap_err();
    assert_eq!(error.error_type(), "EventUnreadable");
}

#[tokio::test]
async fn a_report_of_the_doctors_is_recorded_and_nobody_is_told() {
    let world = Memory::at("2026-11-23T06:00:00Z".parse::<Timestamp>().unwrap());
    let doctor = alerting::DOCTOR_SCHEDULE;
    let own = format!("{doctor}/{doctor}");
    let event = event("s3-object-created").replace("churn-endpoint/churn-data-quality", &own);
    let uri = report_uri("03").replace("churn-endpoint/churn-data-quality", &own);
    // Even one with violations, and even by a policy that alerts on the first.
    world.put_object(&uri, REPORT);
    world.put_document(
        "policy.toml",
        "[alert]\ndatapoints_to_alert = 1\nevaluation_period = 1\n",
    );
    let handled = function().handle(&world, &event, "request").await.unwrap();
    assert!(matches!(handled, Handled::Recorded { .. }), "{handled:?}");
    assert_eq!(states(&world, doctor), [DatapointState::Violations]);
    assert!(ledger(&world, doctor).outbox.entries().is_empty());
    assert!(!world.metrics().is_empty());
    // A sweep leaves it alone as well.
    let swept = function()
        .sweep(&world, doctor, None, ingest::SweepFound::default(), "sweep")
        .await;
    assert!(swept.unwrap().is_some());
    assert_eq!(world.events(), []);
    // S3's event comes again after the report has been removed.
    let world = Memory::at(world.time());
    let handled = function().handle(&world, &event, "again").await.unwrap();
    assert!(matches!(handled, Handled::Ignored { .. }), "{handled:?}");
}
