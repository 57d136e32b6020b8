//! Ticks and the executions that they request: each runs once, and none delays the others.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use crate::analyze::common;

use common::{at, ended, invoke, invoke_as, request_event, requests, tick};
use functions::analyze::Analyze;
use futures_util::future::{join, join_all};
use jiff::SignedDuration;
use machine::Kind;
use serde_json::{Value, json};
use shell::{
    config::Vars,
    memory::{Fault, Memory},
};
use std::{collections::BTreeMap, fmt::Write as _, future::poll_fn, task::Poll};

/// AWS at 03:15 with a policy of hourly analyses. No data was captured.
fn aws(schedules: &[&str]) -> Memory {
    let aws = Memory::at(at("2026-11-23T03:15:00Z"));
    aws.put_document("policy.toml", policy(schedules));
    aws
}

fn policy(schedules: &[&str]) -> String {
    let mut policy = String::new();
    for schedule in schedules {
        writeln!(
            policy,
            "[[analysis]]\nschedule = \"{schedule}\"\nexpression = \"rate(1 hour)\"\ndata = \"s3://data/{schedule}\"\n\
             baseline = \"s3://data/baselines/{schedule}\"\noutput = \"s3://reports/monitoring\""
        )
        .unwrap();
    }
    policy
}

/// The function with a number of executions at the same time.
fn analyze(at_once: u16) -> Analyze {
    let vars = Vars(|name: &str| {
        Some(match name {
            "ANALYSES_AT_ONCE" => at_once.to_string(),
            _ => "state".to_owned(),
        })
    });
    Analyze::from_vars(&vars).unwrap().0
}

fn document(aws: &Memory, schedule: &str) -> Value {
    serde_json::from_slice(&aws.document(&format!("analyses/{schedule}.json")).unwrap()).unwrap()
}

/// Number of times that datasets were listed.
fn reads(aws: &Memory) -> usize {
    aws.calls().iter().filter(|call| **call == "s3:ListBucket").count()
}

/// Names of the schedules that a tick requested, in order.
fn requested(handled: &Value) -> Vec<&str> {
    let requested = handled["requested"].as_array().unwrap().iter();
    requested
        .map(|execution| execution["monitoringSchedule"].as_str().unwrap())
        .collect()
}

/// Runs an invocation that Lambda stops while it reads the data.
async fn invoke_stopped(analyze: &Analyze, aws: &Memory, payload: &str, request_id: &str) {
    let before = reads(aws);
    let reading = poll_fn(|context| {
        context.waker().wake_by_ref();
        if reads(aws) > before {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    });
    aws.interleave();
    tokio::select! {
        biased;
        () = reading => {}
        handled = invoke_as(analyze, aws, payload, request_id) => panic!("not stopped: {handled:?}"),
    }
    aws.pass(SignedDuration::from_mins(15));
}

#[tokio::test]
async fn overlapping_ticks_read_data_once() {
    let (analyze, aws) = (Analyze::default(), aws(&["dq"]));
    aws.interleave();
    let ticks = (0..3).map(|_| invoke(&analyze, &aws, json!({})));
    for handled in join_all(ticks).await {
        handled.unwrap();
    }
    let requests = requests(&aws, 0);
    assert_eq!(requests.len(), 3);
    let executions = requests.iter().enumerate().map(|(number, request)| {
        let (analyze, aws) = (&analyze, &aws);
        async move { invoke_as(analyze, aws, request, &format!("r{number}")).await.unwrap() }
    });
    let handled = join_all(executions).await;
    let run = handled.iter().filter(|handled| handled.get("executions").is_some());
    assert_eq!((run.count(), reads(&aws), ended(&aws).len()), (1, 1, 1), "{handled:?}");
}

#[tokio::test]
async fn stopped_execution_delays_no_other() {
    let (analyze, aws) = (Analyze::default(), aws(&["a-endless", "b-short"]));
    invoke(&analyze, &aws, json!({})).await.unwrap();
    let requests = requests(&aws, 0);
    let (endless, short) = (&requests[0], &requests[1]);
    let ((), short) = join(
        Box::pin(invoke_stopped(&analyze, &aws, endless, "endless")),
        Box::pin(invoke_as(&analyze, &aws, short, "short")),
    )
    .await;
    assert_eq!(short.unwrap()["executions"][0]["monitoringSchedule"], "b-short");
    assert!(document(&aws, "a-endless").get("executing").is_some());
}

#[tokio::test]
async fn execution_stopped_twice_fails_with_reason() {
    let (analyze, aws) = (Analyze::default(), aws(&["endless"]));
    invoke(&analyze, &aws, json!({})).await.unwrap();
    let request = requests(&aws, 0).remove(0);
    // Lambda invokes the function again with the same request ID, at once.
    invoke_stopped(&analyze, &aws, &request, "r1").await;
    invoke_stopped(&analyze, &aws, &request, "r1").await;
    assert_eq!(document(&aws, "endless")["executing"]["attempt"], 2);
    assert!(ended(&aws).is_empty());
    let handled = invoke_as(&analyze, &aws, &request, "r1").await.unwrap();
    let record = &handled["executions"][0];
    assert_eq!(record["monitoringExecutionStatus"], "Failed");
    let reason = record["failureReason"].as_str().unwrap();
    assert!(
        reason.starts_with("not finished within the limit: 2 attempts"),
        "{reason}"
    );
    assert_eq!(ended(&aws)[0]["failureReason"], reason);
    assert_eq!(document(&aws, "endless").get("executing"), None);
    // The next execution runs: an hour later there is another one.
    aws.pass(SignedDuration::from_hours(1));
    assert_eq!(
        tick(&analyze, &aws).await.unwrap()[0]["failureReason"],
        "Job inputs had no data"
    );
}

#[tokio::test]
async fn lapsed_claim_is_taken_over_by_later_tick() {
    let (analyze, aws) = (Analyze::default(), aws(&["dq"]));
    invoke(&analyze, &aws, json!({})).await.unwrap();
    invoke_stopped(&analyze, &aws, &requests(&aws, 0)[0], "r1").await;
    // The limit has passed, but not the margin for differing clocks.
    assert_eq!(invoke(&analyze, &aws, json!({})).await.unwrap()["running"], 1);
    aws.pass(SignedDuration::from_mins(1));
    let executions = tick(&analyze, &aws).await.unwrap();
    assert_eq!(executions[0]["scheduledTime"], "2026-11-23T03:00:00Z");
}

#[tokio::test]
async fn execution_in_progress_is_left_alone() {
    let (analyze, aws) = (Analyze::default(), aws(&["dq"]));
    invoke(&analyze, &aws, json!({})).await.unwrap();
    let request = requests(&aws, 0).remove(0);
    invoke_stopped(&analyze, &aws, &request, "r1").await;
    aws.set_time(at("2026-11-23T03:20:00Z"));
    let handled = invoke(&analyze, &aws, json!({})).await.unwrap();
    assert_eq!(handled, json!({"requested": [], "running": 1, "left": 0}));
    let handled = invoke_as(&analyze, &aws, &request, "r2").await.unwrap();
    assert!(
        handled["reason"].as_str().unwrap().contains("another invocation"),
        "{handled}"
    );
}

#[tokio::test]
async fn failed_call_to_aws_does_not_count_as_attempt() {
    let (analyze, aws) = (Analyze::default(), aws(&["dq"]));
    invoke(&analyze, &aws, json!({})).await.unwrap();
    let request = requests(&aws, 0).remove(0);
    for attempt in 0..5 {
        aws.fail("s3:ListBucket", Fault::Before(Kind::Transient));
        let request_id = format!("r{}", attempt / 3);
        assert!(invoke_as(&analyze, &aws, &request, &request_id).await.is_err());
        aws.pass(SignedDuration::from_mins(1));
    }
    assert_eq!(document(&aws, "dq").get("executing"), None);
    invoke_stopped(&analyze, &aws, &request, "r2").await;
    for _ in 0..3 {
        aws.fail("s3:ListBucket", Fault::Before(Kind::Transient));
        assert!(invoke_as(&analyze, &aws, &request, "r2").await.is_err());
        aws.pass(SignedDuration::from_mins(1));
    }
    let handled = invoke_as(&analyze, &aws, &request, "r2").await.unwrap();
    assert_eq!(handled["executions"][0]["failureReason"], "Job inputs had no data");
}

#[tokio::test]
async fn longest_due_execution_is_requested_first() {
    let (analyze, aws) = (analyze(2), aws(&["a"]));
    invoke(&analyze, &aws, json!({})).await.unwrap();
    aws.pass(SignedDuration::from_hours(1));
    aws.put_document("policy.toml", policy(&["b", "c", "a", "d"]));
    let handled = invoke(&analyze, &aws, json!({})).await.unwrap();
    assert_eq!(requested(&handled), ["a", "b"]);
    assert_eq!(handled["left"], 2);
    for request in requests(&aws, 1) {
        invoke_as(&analyze, &aws, &request, "r1").await.unwrap();
    }
    aws.pass(SignedDuration::from_hours(1));
    // Executions of 04:00 are left of `a`, `c`, and `d`. That of `b` became due an hour later.
    let handled = invoke(&analyze, &aws, json!({})).await.unwrap();
    assert_eq!((requested(&handled), &handled["left"]), (vec!["a", "c"], &json!(2)));
}

#[tokio::test]
async fn requests_that_no_longer_apply_are_ignored() {
    let (analyze, aws) = (Analyze::default(), aws(&["dq"]));
    tick(&analyze, &aws).await.unwrap();
    let again = requests(&aws, 0).remove(0);
    let request = |schedule: &str, time: &str| {
        request_event(
            &json!({"version": "1", "id": "x", "monitoringSchedule": schedule, "scheduledTime": time, "time": time})
                .to_string(),
        )
    };
    for (event, reason) in [
        (again, "already run"),
        (request("dq", "2026-11-24T03:00:00Z"), "not the next one"),
        (request("removed", "2026-11-23T03:00:00Z"), "no [[analysis]] table"),
    ] {
        let handled = invoke_as(&analyze, &aws, &event, "r9").await.unwrap();
        assert!(handled["reason"].as_str().unwrap().contains(reason), "{handled}");
    }
    assert_eq!(ended(&aws).len(), 1);
    let malformed = request_event("{}");
    assert!(invoke_as(&analyze, &aws, &malformed, "r9").await.is_err());
}

#[tokio::test]
async fn unreadable_document_fails_only_its_schedule() {
    let (analyze, aws) = (Analyze::default(), aws(&["a", "b"]));
    aws.put_document("analyses/a.json", "{");
    let error = invoke(&analyze, &aws, json!({})).await.unwrap_err();
    assert!(error.contains("1 of 2") && error.contains("analyses/a.json"), "{error}");
    assert_eq!(requests(&aws, 0).len(), 1);
}

#[tokio::test]
async fn document_of_earlier_version_is_continued() {
    let (analyze, aws) = (Analyze::default(), aws(&["dq"]));
    let document = json!({"version": 1, "executedUntil": "2026-11-23T00:00:00Z", "executions": []});
    aws.put_document("analyses/dq.json", document.to_string());
    let executions = tick(&analyze, &aws).await.unwrap();
    let times: Vec<_> = executions
        .iter()
        .map(|execution| execution["scheduledTime"].as_str())
        .collect();
    assert_eq!(times.len(), 3, "{times:?}");
}

#[tokio::test]
async fn document_of_newer_version_is_not_written() {
    let (analyze, aws) = (Analyze::default(), aws(&["dq"]));
    let newer = json!({"version": 2, "executedUntil": "2026-11-23T00:00:00Z", "executions": []});
    aws.put_document("analyses/dq.json", newer.to_string());
    let error = invoke(&analyze, &aws, json!({})).await.unwrap_err();
    assert!(
        error.contains("`analyses/dq.json`") && error.contains("format version 2"),
        "{error}"
    );
    let request = json!({"monitoringSchedule": "dq", "scheduledTime": "2026-11-23T03:00:00Z", "version": "1", "id": "x", "time": "2026-11-23T03:15:00Z"});
    let event = request_event(&request.to_string());
    assert!(invoke_as(&analyze, &aws, &event, "r1").await.is_err());
    assert_eq!((document(&aws, "dq"), ended(&aws).len()), (newer, 0));
}

#[tokio::test]
async fn fields_of_newer_release_survive_rewrite() {
    let (analyze, aws) = (Analyze::default(), aws(&["dq"]));
    tick(&analyze, &aws).await.unwrap();
    let mut stored = document(&aws, "dq");
    stored["added"] = json!({"later": [1, null]});
    stored["executions"][0]["added"] = json!(0.5);
    aws.put_document("analyses/dq.json", stored.to_string());
    aws.pass(SignedDuration::from_hours(1));
    tick(&analyze, &aws).await.unwrap();
    let rewritten = document(&aws, "dq");
    assert_eq!(rewritten["executions"].as_array().unwrap().len(), 2);
    assert_eq!(rewritten["added"], stored["added"]);
    assert_eq!(rewritten["executions"][0], stored["executions"][0]);
}

/// Ticks come every five minutes, executions take 8 s, and all executions of a tick run at the same time.
#[tokio::test]
async fn five_hundred_hourly_analyses_fit_into_an_hour() {
    let names: Vec<String> = (0..500).map(|number| format!("dq-{number:03}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let (analyze, aws) = (Analyze::default(), aws(&names));
    let mut runs: BTreeMap<String, usize> = BTreeMap::new();
    let mut at_once = 0;
    for _ in 0..12 {
        let seen = aws.events().len();
        invoke(&analyze, &aws, json!({})).await.unwrap();
        let requests = requests(&aws, seen);
        at_once = at_once.max(requests.len());
        aws.pass(SignedDuration::from_secs(8));
        for (number, request) in requests.iter().enumerate() {
            let handled = invoke_as(&analyze, &aws, request, &format!("{seen}-{number}"))
                .await
                .unwrap();
            let record = &handled["executions"][0];
            assert_eq!(record["scheduledTime"], "2026-11-23T03:00:00Z");
            *runs.entry(record["monitoringSchedule"].to_string()).or_default() += 1;
        }
        if runs.len() == 500 {
            break;
        }
        aws.pass(SignedDuration::from_secs(292));
    }
    assert_eq!(runs.len(), 500);
    assert!(runs.values().all(|count| *count == 1));
    assert!(at_once <= 100, "{at_once} at the same time");
    assert!(aws.time() < at("2026-11-23T03:45:00Z"), "done at {}", aws.time());
}
