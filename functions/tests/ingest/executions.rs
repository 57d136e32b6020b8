//! Runs the function on AWS in memory: all sample events, invalid input, and a fault at every call.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use alerting::{DatapointState, MetricName, MonitorLedger};
use functions::{
    Error,
    ingest::{Config, Handled, Ingest, ListedExecution},
};
use jiff::{SignedDuration, Timestamp};
use machine::{ErrorType as _, Kind, chain};
use shell::{
    config::Vars,
    memory::{Fault, Memory},
    ports::DescribedJob,
};

const EVENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../events/ingest");
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

/// AWS with the report of 03:00.
fn aws() -> Memory {
    let aws = Memory::at("2026-11-23T06:00:00Z".parse::<Timestamp>().unwrap());
    aws.put_object(&report_uri("03"), REPORT);
    aws
}

fn ledger(aws: &Memory, schedule: &str) -> MonitorLedger {
    serde_json::from_slice(&aws.document(&format!("monitors/{schedule}.json")).unwrap()).unwrap()
}

fn states(aws: &Memory, schedule: &str) -> Vec<DatapointState> {
    ledger(aws, schedule)
        .datapoints
        .iter()
        .map(alerting::Datapoint::state)
        .collect()
}

#[tokio::test]
async fn every_sample_event_is_handled() {
    let aws = aws();
    aws.put_job(
        "data-quality-monitoring-202611230400-2f3a9c5b7d1e2f4a6b8c0d1e",
        DescribedJob {
            monitoring_schedule_arn: Some(
                "arn:aws:sagemaker:us-east-1:111122223333:monitoring-schedule/churn-data-quality".into(),
            ),
            exit_message: Some("Completed: Job completed successfully with no violations.".into()),
            ..DescribedJob::default()
        },
    );
    aws.put_job(
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
        let handled = function().handle(&aws, &event(&name), &name).await.unwrap();
        outcomes.push(format!("{name}: {}", serde_json::to_string(&handled).unwrap()));
    }
    insta::assert_snapshot!(outcomes.join("\n"));
    let expected = [
        DatapointState::Violations,
        DatapointState::Clean,
        DatapointState::Failed,
    ];
    assert_eq!(states(&aws, "churn-data-quality"), expected);
    assert_eq!(states(&aws, "churn-model-quality"), [DatapointState::Clean]);
}

#[tokio::test]
async fn both_events_of_an_execution_are_one_datapoint() {
    for names in [
        ["s3-object-created", "processing-job-completed-with-violations"],
        ["processing-job-completed-with-violations", "s3-object-created"],
    ] {
        let aws = aws();
        for (at, name) in names.iter().cycle().take(6).enumerate() {
            function()
                .handle(&aws, &event(name), &format!("request-{at}"))
                .await
                .unwrap();
        }
        assert_eq!(states(&aws, "churn-data-quality"), [DatapointState::Violations]);
        assert_eq!(aws.events().len(), 1, "one transition");
        let breaching = aws
            .metrics()
            .iter()
            .filter(|metric| metric.name == MetricName::Breaching)
            .count();
        assert_eq!(breaching, 1, "published once");
        assert!(ledger(&aws, "churn-data-quality").outbox.is_empty());
    }
}

#[tokio::test]
async fn execution_of_the_future_is_an_error_without_a_call() {
    let aws = aws();
    for (name, from, to) in [
        ("s3-object-created", "2026/11/23/03", "2126/11/23/03"),
        ("s3-object-created", "2026/11/23/03", "2999/11/23/03"),
        ("s3-object-created", "2026/11/23/03", "2026/11/23/09"),
        (
            "processing-job-completed-with-violations",
            "2026/11/23/03",
            "2126/11/23/03",
        ),
        ("monitoring-execution-clean", "2026/11/23/03", "2126/11/23/03"),
    ] {
        let payload = event(name).replace(from, to);
        assert!(payload.contains(to), "{name}");
        let error = function().handle(&aws, &payload, "request").await.unwrap_err();
        assert_eq!(error.error_type(), "ExecutionAhead", "{name}");
    }
    let listed = ListedExecution {
        schedule: "churn-data-quality",
        endpoint: None,
        scheduled_time: "2026-11-24T03:00:00Z".parse().unwrap(),
        evidence: None,
    };
    let error = function().handle_execution(&aws, listed, "request").await.unwrap_err();
    insta::assert_snapshot!(
        chain(&error),
        @"the execution of schedule `churn-data-quality` is scheduled for 2026-11-24T03:00:00Z, more than 2 hours after the current time, 2026-11-23T06:00:00Z: the date in the folder of its report is wrong; delete the report, or move it to the folder of its hour"
    );
    assert!(aws.calls().is_empty(), "{:?}", aws.calls());
}

/// The event with the detail of a command to drop the datapoint of an hour.
fn drop_event(hour: &str, time: &str) -> String {
    event("monitor-datapoint-drop")
        .replace("2026-11-23T02:00:00Z", &format!("2026-11-23T{hour}:00:00Z"))
        .replace("2026-11-23T03:46:21Z", time)
}

#[tokio::test]
async fn operator_drops_datapoint_and_ends_its_alert() {
    let aws = aws();
    let handle = async |payload: String, request: &str| function().handle(&aws, &payload, request).await.unwrap();
    handle(event("s3-object-created"), "first").await;
    assert_eq!(aws.events().len(), 1);
    let other = drop_event("04", "2026-11-23T06:00:00Z");
    assert!(matches!(handle(other, "absent").await, Handled::Ignored { .. }));
    let before_report = drop_event("03", "2026-11-23T05:59:59Z");
    assert!(matches!(handle(before_report, "early").await, Handled::Ignored { .. }));
    assert_eq!(states(&aws, "churn-data-quality").len(), 1);

    let command = drop_event("03", "2026-11-23T06:00:01Z");
    aws.pass(SignedDuration::from_secs(2));
    assert!(matches!(handle(command.clone(), "drop").await, Handled::Dropped { .. }));
    let details: Vec<String> = aws.events().into_iter().map(|(_, detail)| detail).collect();
    assert!(details[1].contains(r#""alertStatus":"OK""#), "{details:?}");
    let dropped = ledger(&aws, "churn-data-quality").dropped;
    assert_eq!(
        (dropped.len(), dropped[0].by.as_str()),
        (1, "arn:aws:sts::111122223333:assumed-role/Operator/ada")
    );
    assert_eq!(dropped[0].reason, "the report belongs to another model");
    assert!(ledger(&aws, "churn-data-quality").outbox.is_empty());
    // The same report again, and the same command again.
    assert!(matches!(
        handle(event("s3-object-created"), "again").await,
        Handled::Ignored { .. }
    ));
    assert!(matches!(
        handle(command.clone(), "again").await,
        Handled::Ignored { .. }
    ));
    assert!(states(&aws, "churn-data-quality").is_empty());
    // A corrected report counts, and the command does not remove it.
    aws.pass(SignedDuration::from_mins(1));
    aws.put_object(&report_uri("03"), REPORT);
    assert!(matches!(
        handle(event("s3-object-created"), "new").await,
        Handled::Recorded { .. }
    ));
    assert!(matches!(handle(command, "late").await, Handled::Ignored { .. }));
    assert_eq!(states(&aws, "churn-data-quality"), [DatapointState::Violations]);
    // Events of other sources drop nothing.
    let foreign = drop_event("03", "2026-11-23T06:10:00Z").replace("driftwarden.operator", "driftwarden");
    assert!(matches!(handle(foreign, "foreign").await, Handled::Ignored { .. }));
    assert_eq!(states(&aws, "churn-data-quality").len(), 1);
}

#[tokio::test]
async fn sequencer_belongs_to_the_version_that_was_read() {
    let aws = aws();
    let sequencer = |aws: &Memory| {
        let ledger = ledger(aws, "churn-data-quality");
        ledger.datapoints[0].evidence.report.clone().unwrap().sequencer
    };
    function()
        .handle(&aws, &event("s3-object-created"), "other version")
        .await
        .unwrap();
    assert_eq!(sequencer(&aws), None);
    let report = ledger(&aws, "churn-data-quality").datapoints[0].evidence.report.clone();
    let etag = report.unwrap().etag;
    let same = event("s3-object-created").replace("8c6d3bd9b2f2f0b6a1a1b1f9a6f0c1d2", etag.trim_matches('"'));
    function().handle(&aws, &same, "same version").await.unwrap();
    assert_eq!(sequencer(&aws).as_deref(), Some("0066E2B7C4D5F60718"));
}

#[tokio::test]
async fn unrelated_events_make_no_call() {
    for name in [
        "s3-object-created-unrelated",
        "processing-job-unrelated",
        "processing-job-ground-truth-merge",
    ] {
        let aws = aws();
        let handled = function().handle(&aws, &event(name), "request").await.unwrap();
        assert!(matches!(handled, Handled::Ignored { .. }), "{name}: {handled:?}");
        assert!(aws.calls().is_empty(), "{name}: {:?}", aws.calls());
    }
}

#[tokio::test]
async fn other_report_buckets_make_no_call() {
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
        let aws = aws();
        let handled = function.handle(&aws, &event(name), "request").await.unwrap();
        assert!(matches!(handled, Handled::Ignored { .. }), "{name}: {handled:?}");
        assert!(aws.calls().is_empty(), "{name}");
    }
}

#[tokio::test]
async fn job_without_monitoring_schedule_is_ignored() {
    let aws = aws();
    let name = "data-quality-monitoring-202611230400-2f3a9c5b7d1e2f4a6b8c0d1e";
    aws.put_job(name, DescribedJob::default());
    let handled = function()
        .handle(&aws, &event("processing-job-completed-without-exit-message"), "request")
        .await;
    assert!(matches!(handled.unwrap(), Handled::Ignored { .. }));
    assert!(aws.document("monitors/churn-data-quality.json").is_none());
}

async fn handle_error(aws: &Memory, name: &str) -> Error {
    function().handle(aws, &event(name), "request").await.unwrap_err()
}

#[tokio::test]
async fn unreadable_report_is_an_error_never_clean() {
    let broken: [(&str, Vec<u8>); 5] = [
        ("ReportUnreadable", b"{\"violations\": [".to_vec()),
        ("ReportUnreadable", b"".to_vec()),
        ("ReportUnreadable", b"{\"violations\": \"none\"}".to_vec()),
        ("ReportUnreadable", vec![0xFF; 64]),
        ("ReportTooLarge", vec![b' '; 17 << 20]),
    ];
    for name in ["s3-object-created", "processing-job-completed-with-violations"] {
        for (error_type, body) in &broken {
            let aws = aws();
            aws.put_object(&report_uri("03"), body.clone());
            assert_eq!(handle_error(&aws, name).await.error_type(), *error_type);
            assert!(aws.document("monitors/churn-data-quality.json").is_none());
            let counted = aws.metrics();
            assert_eq!(counted.len(), 1);
            assert_eq!(counted[0].name, MetricName::UnreadableReports);
        }
        let aws = aws();
        aws.refuse_object(&report_uri("03"), Kind::Denied);
        let denied = handle_error(&aws, name).await;
        assert_eq!(denied.error_type(), "AwsAccessDenied");
        assert!(
            chain(&denied).contains("s3:ListBucket"),
            "permission is missing in: {}",
            chain(&denied)
        );
        assert!(aws.document("monitors/churn-data-quality.json").is_none());
    }
}

#[tokio::test]
async fn errors_name_object_and_place() {
    let aws = aws();
    aws.put_object(&report_uri("03"), r#"{"violations": [{"feature_name": "age"}]}"#);
    insta::assert_snapshot!(
        chain(&handle_error(&aws, "s3-object-created").await),
        @"failed to parse the violation report: `s3://example-model-monitor-reports/monitoring/reports/churn-endpoint/churn-data-quality/2026/11/23/03/constraint_violations.json` at `violations[0].constraint_check_type`: expected the name of the check that was violated, found none"
    );
    aws.put_document("policy.toml", "[alert]\ndatapoints_to_alert = 0\n");
    aws.put_object(&report_uri("03"), REPORT);
    insta::assert_snapshot!(
        chain(&handle_error(&aws, "s3-object-created").await),
        @"no valid policy is available: `policy.toml` in the state bucket is invalid: [alert] datapoints_to_alert, line 2: datapoints_to_alert is 0, but must be from 1 to 100"
    );
}

#[tokio::test]
async fn invalid_policy_never_replaces_valid_one() {
    let aws = aws();
    aws.put_document(
        "policy.toml",
        "[alert]\ndatapoints_to_alert = 2\nevaluation_period = 2\n",
    );
    let function = function();
    function
        .handle(&aws, &event("s3-object-created"), "first")
        .await
        .unwrap();
    aws.put_document("policy.toml", "[alert]\ndatapoints_to_alrt = 1\n");
    function
        .handle(&aws, &event("s3-object-created"), "second")
        .await
        .unwrap();
    // Each of the two functions lists the earlier versions once.
    let cold = self::function();
    for request in ["third", "fourth"] {
        cold.handle(&aws, &event("s3-object-created"), request).await.unwrap();
    }
    assert!(aws.events().is_empty(), "1 of 1 would raise the alert, 2 of 2 does not");
    let listed = aws
        .calls()
        .iter()
        .filter(|call| **call == "s3:ListBucketVersions")
        .count();
    assert_eq!(listed, 2);
}

#[tokio::test]
async fn fault_at_any_call_loses_and_doubles_nothing() {
    let name = "s3-object-created";
    let count = {
        let aws = aws();
        function().handle(&aws, &event(name), "request").await.unwrap();
        aws.calls()
    };
    assert_eq!(
        count.len(),
        9,
        "five reads, of which two look for an earlier policy, a write, two effects, a write: {count:?}"
    );
    for fault in [Fault::Before(Kind::Transient), Fault::After] {
        for operation in [
            "s3:GetObject",
            "s3:PutObject",
            "cloudwatch:PutMetricData",
            "events:PutEvents",
        ] {
            let aws = aws();
            aws.fail(operation, fault);
            let mut attempts = 0;
            while function().handle(&aws, &event(name), "request").await.is_err() {
                attempts += 1;
                assert!(attempts < 3, "{operation} {fault:?}");
            }
            assert_eq!(states(&aws, "churn-data-quality"), [DatapointState::Violations]);
            assert!(
                ledger(&aws, "churn-data-quality").outbox.is_empty(),
                "{operation} {fault:?}"
            );
            let ids: std::collections::BTreeSet<_> = aws.events().into_iter().map(|(_, detail)| detail).collect();
            assert_eq!(ids.len(), 1, "one transition with one ID: {operation} {fault:?}");
            let breaching = aws
                .metrics()
                .iter()
                .filter(|metric| metric.name == MetricName::Breaching)
                .count();
            let lost_response = usize::from(fault == Fault::After && operation == "cloudwatch:PutMetricData");
            assert_eq!(breaching, 1 + lost_response, "{operation} {fault:?}");
        }
    }
}

#[tokio::test]
async fn later_event_executes_pending_effects() {
    let aws = aws();
    aws.fail("events:PutEvents", Fault::Before(Kind::Transient));
    function()
        .handle(&aws, &event("s3-object-created"), "dead")
        .await
        .unwrap_err();
    assert!(aws.events().is_empty());
    aws.pass(SignedDuration::from_mins(30));
    function()
        .handle(&aws, &event("processing-job-completed-with-violations"), "later")
        .await
        .unwrap();
    assert_eq!(aws.events().len(), 1);
}

#[test]
fn configuration_errors_name_variable_and_value() {
    let error = |name: &'static str, value: &'static str| {
        let vars = Vars(move |variable: &str| {
            if variable == name {
                Some(value.to_owned())
            } else {
                vars(variable)
            }
        });
        Ingest::from_vars(&vars).unwrap_err().to_string()
    };
    insta::assert_snapshot!(error("STATE_BUCKET", ""), @"environment variable `STATE_BUCKET` is not set: expected the name of an S3 bucket, without `s3://` and without a path");
    insta::assert_snapshot!(error("STATE_BUCKET", "s3://state"), @"environment variable `STATE_BUCKET` has the invalid value `s3://state`: expected the name of an S3 bucket, without `s3://` and without a path");
    insta::assert_snapshot!(error("EVENT_BUS_NAME", " "), @"environment variable `EVENT_BUS_NAME` is not set: expected the name of an EventBridge event bus");
    insta::assert_snapshot!(error("MAX_REPORT_BYTES", "16 MB"), @"environment variable `MAX_REPORT_BYTES` has the invalid value `16 MB`: expected a number of bytes");
    insta::assert_snapshot!(error("METRIC_NAMESPACE", "AWS/Lambda"), @"environment variable `METRIC_NAMESPACE` has the invalid value `AWS/Lambda`: expected a CloudWatch namespace: at most 255 letters, digits, and .-_/#: characters, not starting with `AWS/` or `:`");
}

#[tokio::test]
async fn changed_baseline_restarts_window_once() {
    let aws = aws();
    let change = event("monitor-baseline-change").replace("churn-own-data-quality", "churn-data-quality");
    // The monitor has no ledger, and so no alert window.
    let handled = function().handle(&aws, &change, "first").await.unwrap();
    assert!(matches!(handled, Handled::Ignored { .. }), "{handled:?}");
    assert!(aws.document("monitors/churn-data-quality.json").is_none());
    function()
        .handle(&aws, &event("s3-object-created"), "second")
        .await
        .unwrap();
    assert_eq!(
        ledger(&aws, "churn-data-quality").alert.status,
        alerting::AlertStatus::InAlert
    );
    let before = aws.events().len();
    let handled = function().handle(&aws, &change, "third").await.unwrap();
    insta::assert_snapshot!(
        serde_json::to_string(&handled).unwrap(),
        @r#"{"outcome":"restarted","monitoringSchedule":"churn-data-quality","restartedAt":"2026-11-23T03:30:00Z"}"#
    );
    let handled = function().handle(&aws, &change, "fourth").await.unwrap();
    assert!(matches!(handled, Handled::Ignored { .. }), "{handled:?}");
    let [(detail_type, detail)] = &aws.events_after(before)[..] else {
        panic!("one event")
    };
    assert_eq!(detail_type, "Model Monitor Alert State Change");
    let detail: alerting::AlertStateChange = serde_json::from_str(detail).unwrap();
    assert_eq!(detail.alert_status, alerting::AlertStatus::Ok);
    assert!(detail.reason.contains("the baseline changed"), "{}", detail.reason);
    // The job of an earlier execution changes nothing, that of a later one does.
    for (name, status) in [
        ("processing-job-completed-with-violations", alerting::AlertStatus::Ok),
        ("later", alerting::AlertStatus::InAlert),
    ] {
        let event = if name == "later" {
            aws.put_object(&report_uri("04"), REPORT);
            event("s3-object-created").replace("/23/03/", "/23/04/")
        } else {
            event(name)
        };
        function().handle(&aws, &event, name).await.unwrap();
        assert_eq!(ledger(&aws, "churn-data-quality").alert.status, status, "{name}");
    }
}

#[tokio::test]
async fn fault_during_restart_loses_nothing() {
    for fault in [Fault::Before(Kind::Transient), Fault::After] {
        for operation in ["s3:GetObject", "s3:PutObject", "events:PutEvents"] {
            let aws = aws();
            function()
                .handle(&aws, &event("s3-object-created"), "alert")
                .await
                .unwrap();
            let change = event("monitor-baseline-change").replace("churn-own-data-quality", "churn-data-quality");
            aws.fail(operation, fault);
            let mut attempts = 0;
            while function().handle(&aws, &change, "restart").await.is_err() {
                attempts += 1;
                assert!(attempts < 3, "{operation} {fault:?}");
            }
            let ledger = ledger(&aws, "churn-data-quality");
            assert_eq!(ledger.alert.status, alerting::AlertStatus::Ok, "{operation} {fault:?}");
            assert!(ledger.outbox.is_empty(), "{operation} {fault:?}");
            let ids: std::collections::BTreeSet<_> = aws.events().into_iter().map(|(_, detail)| detail).collect();
            assert_eq!(ids.len(), 2, "an alert and its end: {operation} {fault:?}");
        }
    }
}

#[tokio::test]
async fn invalid_baseline_change_is_an_error() {
    let aws = aws();
    let change = event("monitor-baseline-change").replace("monitoringSchedule", "schedule");
    let error = function().handle(&aws, &change, "request").await.unwrap_err();
    assert_eq!(error.error_type(), "EventUnreadable");
}

#[tokio::test]
async fn doctor_report_is_recorded_without_events() {
    let aws = Memory::at("2026-11-23T06:00:00Z".parse::<Timestamp>().unwrap());
    let doctor = alerting::DOCTOR_SCHEDULE;
    let own = format!("{doctor}/{doctor}");
    let event = event("s3-object-created").replace("churn-endpoint/churn-data-quality", &own);
    let uri = report_uri("03").replace("churn-endpoint/churn-data-quality", &own);
    // Also with violations, and with a policy that raises the alert at the first one.
    aws.put_object(&uri, REPORT);
    aws.put_document(
        "policy.toml",
        "[alert]\ndatapoints_to_alert = 1\nevaluation_period = 1\n",
    );
    let handled = function().handle(&aws, &event, "request").await.unwrap();
    assert!(matches!(handled, Handled::Recorded { .. }), "{handled:?}");
    assert_eq!(states(&aws, doctor), [DatapointState::Violations]);
    assert!(ledger(&aws, doctor).outbox.entries().is_empty());
    assert!(!aws.metrics().is_empty());
    // A sweep publishes nothing either.
    let swept = function()
        .sweep(&aws, doctor, None, functions::ingest::SweepState::default(), "sweep")
        .await;
    assert!(swept.unwrap().is_some());
    assert_eq!(aws.events(), []);
    // S3 delivers the event again after the report was deleted.
    let aws = Memory::at(aws.time());
    let handled = function().handle(&aws, &event, "again").await.unwrap();
    assert!(matches!(handled, Handled::Ignored { .. }), "{handled:?}");
}
