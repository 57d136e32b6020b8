//! Which executions were due: native analyses, and schedules that were stopped or changed.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use crate::sweep::common;

use alerting::{Datapoint, DatapointState, HealthStatus, MonitorLedger};
use functions::ingest::ListedExecution;
use jiff::{SignedDuration, Timestamp};
use shell::{memory::Memory, ports::Schedule};

const ANALYSIS: &str = "[[analysis]]\nschedule = 'churn-dq'\nendpoint = 'churn'\ndata = 's3://captured/churn'\n\
    baseline = 's3://baselines/churn'\noutput = 's3://reports/churn'\n";

fn at(text: &str) -> Timestamp {
    format!("2026-11-{text}:00Z").parse().unwrap()
}

async fn sweep(aws: &Memory) -> usize {
    let sweep = common::function(&[], true);
    sweep.run(aws, "sweep", Timestamp::MAX).await.unwrap().missing
}

/// Sweeps every half hour until a time. Returns the number of executions that were recorded as missing.
async fn sweep_until(aws: &Memory, until: &str) -> usize {
    let mut missing = 0;
    while aws.time() < at(until) {
        aws.pass(SignedDuration::from_mins(30));
        missing += sweep(aws).await;
    }
    missing
}

/// Records an execution without violations.
async fn record(aws: &Memory, hour: &str) {
    let execution = ListedExecution {
        schedule: "churn-dq",
        endpoint: Some("churn"),
        scheduled_time: at(hour),
        evidence: Some(alerting::ExecutionEvidence {
            status: alerting::ExecutionStatus::Completed,
            reason: None,
            last_modified: at(hour),
        }),
    };
    common::ingest(&[])
        .handle_execution(aws, execution, "record")
        .await
        .unwrap();
}

fn ledger(aws: &Memory) -> MonitorLedger {
    serde_json::from_slice(&aws.document("monitors/churn-dq.json").unwrap()).unwrap()
}

fn schedule(aws: &Memory, status: &str, expression: &str) {
    let schedule = Schedule {
        name: "churn-dq".into(),
        endpoint: Some("churn".into()),
        status: status.into(),
        created: at("20T00:30"),
        last_modified: aws.time(),
    };
    aws.put_schedule(schedule, expression);
}

#[tokio::test]
async fn analysis_that_stopped_running_is_missing() {
    let aws = Memory::at(at("23T16:30"));
    aws.put_document("policy.toml", ANALYSIS);
    for hour in ["23T04:00", "23T05:00", "23T06:00"] {
        record(&aws, hour).await;
    }
    // At 16:30, the grace period and the delay of 15:00 have passed.
    assert_eq!(sweep(&aws).await, 9);
    let states: Vec<_> = ledger(&aws).datapoints.iter().map(Datapoint::state).collect();
    assert_eq!(states[3..], [DatapointState::Missing; 9]);
    assert_eq!(ledger(&aws).health.status, HealthStatus::Unhealthy);
    let events = aws.events();
    assert!(
        events
            .iter()
            .any(|(kind, _)| kind == "Model Monitor Health State Change")
    );
    assert_eq!(sweep(&aws).await, 0);
    // It runs again, also what it caught up on.
    record(&aws, "23T15:00").await;
    assert_eq!(ledger(&aws).health.status, HealthStatus::Healthy);
    assert_eq!(ledger(&aws).datapoints.len(), 12);
}

#[tokio::test]
async fn analysis_that_never_ran_is_missing_from_its_publication() {
    let aws = Memory::at(at("23T06:30"));
    aws.put_document(
        "policy.toml",
        ANALYSIS.replace("schedule = 'churn-dq'", "schedule = 'Churn-DQ'"),
    );
    assert_eq!(sweep(&aws).await, 0);
    assert_eq!(sweep_until(&aws, "23T10:30").await, 3);
    assert_eq!(ledger(&aws).monitor.schedule, "Churn-DQ");
    assert_eq!(ledger(&aws).health.status, HealthStatus::Unhealthy);
}

#[tokio::test]
async fn analysis_is_due_by_its_expression_and_delay() {
    let aws = Memory::at(at("23T06:30"));
    aws.put_document(
        "policy.toml",
        format!("{ANALYSIS}expression = 'rate(6 hours)'\ndelay = '2h'\n"),
    );
    record(&aws, "23T06:00").await;
    assert_eq!(sweep(&aws).await, 0);
    assert_eq!(sweep_until(&aws, "23T14:30").await, 0);
    assert_eq!(sweep_until(&aws, "23T15:30").await, 1);
    // An analysis that leaves the policy is not due.
    aws.put_document("policy.toml", "# nothing\n");
    assert_eq!(sweep_until(&aws, "24T15:30").await, 0);
}

#[tokio::test]
async fn stopped_schedule_is_not_due_until_it_starts() {
    let aws = Memory::at(at("23T06:30"));
    schedule(&aws, "Scheduled", "cron(0 * ? * * *)");
    for hour in ["23T04:00", "23T05:00", "23T06:00"] {
        record(&aws, hour).await;
    }
    sweep(&aws).await;
    schedule(&aws, "Stopped", "cron(0 * ? * * *)");
    assert_eq!(sweep_until(&aws, "23T15:30").await, 0);
    schedule(&aws, "Scheduled", "cron(0 * ? * * *)");
    assert_eq!(sweep(&aws).await, 0, "it was stopped on purpose for nine hours");
    assert_eq!(sweep_until(&aws, "23T17:30").await, 1, "16:00 never ran");
    let newest = ledger(&aws).datapoints.back().unwrap().clone();
    assert_eq!(
        (newest.scheduled_time, newest.state()),
        (at("23T16:00"), DatapointState::Missing)
    );
}

#[tokio::test]
async fn changed_expression_applies_from_its_change() {
    let aws = Memory::at(at("23T06:30"));
    schedule(&aws, "Scheduled", "cron(0 6 ? * * *)");
    for hour in ["21T06:00", "22T06:00", "23T06:00"] {
        record(&aws, hour).await;
    }
    let before = sweep(&aws).await;
    assert_eq!(before, 1, "20T06:00");
    assert_eq!(sweep_until(&aws, "24T05:00").await, 0);
    schedule(&aws, "Scheduled", "cron(0 * ? * * *)");
    assert_eq!(sweep(&aws).await, 0);
    assert_eq!(sweep_until(&aws, "24T08:30").await, 3, "05:00, 06:00, and 07:00");
}

#[tokio::test]
async fn expression_is_read_only_after_change() {
    let aws = Memory::at(at("23T06:30"));
    schedule(&aws, "Scheduled", "cron(0 * ? * * *)");
    let described = |aws: &Memory| {
        let calls = aws.calls();
        calls
            .iter()
            .filter(|call| **call == "sagemaker:DescribeMonitoringSchedule")
            .count()
    };
    sweep_until(&aws, "23T09:30").await;
    assert_eq!(described(&aws), 1);
    schedule(&aws, "Scheduled", "cron(0 6 ? * * *)");
    sweep_until(&aws, "23T10:30").await;
    assert_eq!(described(&aws), 2);
}

#[tokio::test]
async fn executions_of_all_schedules_are_listed_together() {
    let aws = Memory::at(at("23T06:30"));
    for number in 0..30 {
        let schedule = Schedule {
            name: format!("dq-{number}"),
            endpoint: None,
            status: "Scheduled".into(),
            created: at("23T05:30"),
            last_modified: at("23T05:30"),
        };
        aws.put_schedule(schedule, "cron(0 * ? * * *)");
    }
    sweep(&aws).await;
    sweep(&aws).await;
    let calls = aws.calls();
    let listed = calls
        .iter()
        .filter(|call| **call == "sagemaker:ListMonitoringExecutions")
        .count();
    assert_eq!(listed, 2);
}
