//! Updates of a document, with faults at every call.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use alerting::MonitorDatapointDrop;
use events::Event;
use jiff::{SignedDuration, Timestamp};
use machine::{
    AwsError, Caller, ErrorType as _, GivenUp, Kind, Outbox, OutboxDocument, UpdateError, load, update_document,
};
use serde::{Deserialize, Serialize};
use shell::{
    memory::{Fault, Memory},
    ports::{EventBus as _, Metrics as _},
};

/// A counter with an effect for every number.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
struct Counter {
    seen: Vec<u64>,
    outbox: Outbox<u64>,
    #[serde(default)]
    given_up: Vec<GivenUp>,
}

impl OutboxDocument for Counter {
    type Effect = u64;
    type Done = ();

    fn outbox(&mut self) -> &mut Outbox<u64> {
        &mut self.outbox
    }

    fn note_given_up(&mut self, given_up: GivenUp) {
        given_up.record(&mut self.given_up);
    }
}

const KEY: &str = "counters/one.json";

fn aws() -> Memory {
    Memory::at(Timestamp::from_second(1_790_000_000).unwrap())
}

fn caller(aws: &Memory, id: &str) -> Caller {
    use machine::Clock as _;
    Caller {
        id: id.into(),
        now: aws.now(),
    }
}

/// The event of a number.
fn event(number: u64) -> Event {
    Event::DatapointDrop(Box::new(MonitorDatapointDrop {
        monitoring_schedule: number.to_string(),
        scheduled_time: Timestamp::UNIX_EPOCH,
        by: "ada".into(),
        time: Timestamp::UNIX_EPOCH,
        reason: "wrong file".into(),
    }))
}

/// Counts a number once, with two effects: an event and a metric request.
async fn count(aws: &Memory, number: u64, request: &str) -> Result<bool, UpdateError> {
    let caller = caller(aws, request);
    let apply = |counter: &mut Counter| {
        let new = !counter.seen.contains(&number);
        if new {
            counter.seen.push(number);
            counter.outbox.enqueue(format!("event-{number}"), number, &caller);
            counter
                .outbox
                .enqueue(format!("metrics-{number}"), number + 1000, &caller);
        }
        new
    };
    let execute = async |effect: &u64| -> Result<(), AwsError> {
        if *effect < 1000 {
            aws.put(&event(*effect)).await
        } else {
            aws.publish("n", &[]).await
        }
    };
    update_document(
        aws,
        KEY,
        load(aws, KEY).await?,
        &caller,
        Counter::default,
        apply,
        execute,
    )
    .await
}

fn counter(aws: &Memory) -> Counter {
    serde_json::from_slice(&aws.document(KEY).unwrap()).unwrap()
}

fn times(aws: &Memory, operation: &str) -> usize {
    aws.calls().iter().filter(|call| **call == operation).count()
}

#[tokio::test]
async fn duplicate_update_only_reads() {
    let aws = aws();
    assert!(count(&aws, 1, "a").await.unwrap());
    assert_eq!(
        aws.calls(),
        [
            "s3:GetObject",
            "s3:PutObject",
            "events:PutEvents",
            "cloudwatch:PutMetricData",
            "s3:PutObject"
        ],
        "the effects are executed concurrently"
    );
    assert!(!count(&aws, 1, "b").await.unwrap());
    assert_eq!(times(&aws, "s3:GetObject"), 2);
    assert_eq!(aws.calls().len(), 6, "a duplicate only reads");
}

#[tokio::test]
async fn retry_completes_update_after_any_fault() {
    let faults = [Fault::Before(Kind::Transient), Fault::After];
    let operations = [
        "s3:GetObject",
        "s3:PutObject",
        "events:PutEvents",
        "cloudwatch:PutMetricData",
    ];
    for fault in faults {
        for operation in operations {
            // The second write settles the effects.
            for fault_at in 0..if operation == "s3:PutObject" { 2 } else { 1 } {
                let aws = aws();
                for _ in 0..fault_at {
                    aws.fail(operation, Fault::Overtaken);
                }
                aws.fail(operation, fault);
                let first = count(&aws, 1, "a").await;
                let retried = if first.is_err() {
                    count(&aws, 1, "a").await
                } else {
                    first
                };
                let context = format!("{operation} {fault:?} at {fault_at}");
                retried.unwrap_or_else(|error| panic!("{context}: {error}"));
                assert_eq!(
                    counter(&aws),
                    Counter {
                        seen: vec![1],
                        ..Counter::default()
                    },
                    "{context}"
                );
                // Only an effect whose result was lost is executed again.
                let again = usize::from(fault == Fault::After && operation == "events:PutEvents");
                let resettled = usize::from(
                    operation == "s3:PutObject" && fault == Fault::Before(Kind::Transient) && fault_at == 1,
                );
                assert!(
                    aws.events().len() <= 1 + again + resettled,
                    "{context}: {:?}",
                    aws.events()
                );
                assert!(!aws.events().is_empty(), "{context}");
            }
        }
    }
}

#[tokio::test]
async fn slow_effect_is_stopped_before_its_claim_expires() {
    let aws = aws();
    let first = caller(&aws, "slow");
    let apply = |counter: &mut Counter| counter.outbox.enqueue("event-1", 1, &first);
    let slow = async |_: &u64| {
        aws.pass(SignedDuration::from_secs(61));
        Ok(())
    };
    let loaded = load(&aws, KEY).await.unwrap();
    let error = update_document(&aws, KEY, loaded, &first, Counter::default, apply, slow)
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "pending effect on `event-1` failed: not completed within 60 s"
    );
    let entry = counter(&aws).outbox.entries()[0].clone();
    assert!(aws.time() < entry.claim.until, "no other caller has taken it over");
    assert_eq!(entry.failures.unwrap().attempts, 1);
}

#[tokio::test]
async fn expired_claim_is_taken_over() {
    let aws = aws();
    aws.fail("events:PutEvents", Fault::Before(Kind::Transient));
    count(&aws, 1, "dead").await.unwrap_err();
    assert_eq!(
        counter(&aws).outbox.entries().len(),
        1,
        "the executed effect is settled"
    );

    count(&aws, 2, "early").await.unwrap();
    assert_eq!(aws.events().len(), 1, "the other claim is still valid");

    aws.pass(SignedDuration::from_secs(121));
    count(&aws, 2, "late").await.unwrap();
    let published: Vec<serde_json::Value> = aws
        .events()
        .iter()
        .map(|(_, detail)| serde_json::from_str(detail).unwrap())
        .collect();
    let numbers: Vec<_> = published.iter().map(|detail| &detail["monitoringSchedule"]).collect();
    assert_eq!(numbers, ["2", "1"]);
    assert!(counter(&aws).outbox.is_empty());
}

#[tokio::test]
async fn effect_taken_over_that_fails_again_is_no_error() {
    let aws = aws();
    aws.break_operation("events:PutEvents", "", Kind::Denied);
    count(&aws, 1, "dead").await.unwrap_err();
    // Later invocations publish a metric, and only take over the event.
    let publish = async |number: u64| {
        let caller = caller(&aws, &format!("later-{number}"));
        let apply = |counter: &mut Counter| {
            counter
                .outbox
                .enqueue(format!("metrics-{number}"), number + 1000, &caller);
        };
        let execute = async |effect: &u64| match *effect {
            ..1000 => aws.put(&event(*effect)).await,
            _ => aws.publish("n", &[]).await,
        };
        let loaded = load(&aws, KEY).await.unwrap();
        update_document(&aws, KEY, loaded, &caller, Counter::default, apply, execute).await
    };
    for number in 2..5 {
        aws.pass(SignedDuration::from_hours(1));
        publish(number).await.unwrap();
        let failures = counter(&aws).outbox.entries()[0].failures.clone().unwrap();
        assert_eq!(u64::from(failures.attempts), number);
    }
    assert_eq!(times(&aws, "cloudwatch:PutMetricData"), 4);
}

#[tokio::test]
async fn effect_that_always_fails_is_given_up_once() {
    let aws = aws();
    aws.break_operation("events:PutEvents", "", Kind::Denied);
    count(&aws, 1, "a").await.unwrap_err();
    aws.pass(SignedDuration::from_hours(24) - SignedDuration::from_secs(1));
    count(&aws, 1, "early").await.unwrap();
    assert_eq!(counter(&aws).outbox.entries().len(), 1);
    aws.pass(SignedDuration::from_hours(1));
    let error = count(&aws, 1, "late").await.unwrap_err();
    assert_eq!(error.error_type(), "EffectGivenUp");
    assert!(
        error
            .to_string()
            .starts_with("pending effect `event-1` of document `counters/one.json` failed"),
        "{error}"
    );
    let counter = counter(&aws);
    assert!(counter.outbox.is_empty());
    let [given_up] = &counter.given_up[..] else {
        panic!("one effect")
    };
    assert_eq!(
        (given_up.id.as_str(), given_up.at, given_up.failures.attempts),
        ("event-1", aws.time(), 3)
    );
    assert!(
        given_up.failures.last.contains("events:PutEvents"),
        "{}",
        given_up.failures.last
    );
    // The retry of the invocation, and every later one, succeed.
    count(&aws, 1, "late").await.unwrap();
    aws.repair("events:PutEvents");
    count(&aws, 2, "next").await.unwrap();
    assert_eq!(aws.events().len(), 1);
}

#[tokio::test]
async fn document_keeps_ten_effects_that_were_given_up() {
    let aws = aws();
    aws.break_operation("events:PutEvents", "", Kind::Denied);
    for number in 0..12 {
        count(&aws, number, &format!("{number}")).await.unwrap_err();
    }
    aws.pass(SignedDuration::from_hours(25));
    count(&aws, 0, "late").await.unwrap_err();
    let ids: Vec<String> = counter(&aws).given_up.into_iter().map(|given_up| given_up.id).collect();
    assert_eq!(
        (ids.len(), ids[0].as_str(), ids[9].as_str()),
        (10, "event-2", "event-11")
    );
}

#[tokio::test]
async fn conflict_applies_change_to_newer_document() {
    let aws = aws();
    count(&aws, 1, "a").await.unwrap();
    aws.fail("s3:PutObject", Fault::Overtaken);
    count(&aws, 2, "b").await.unwrap();
    assert_eq!(counter(&aws).seen, [1, 2]);
    assert_eq!(aws.events().len(), 2);
}

#[tokio::test]
async fn invalid_document_is_an_error_with_its_key() {
    let aws = aws();
    aws.put_document(KEY, "{\"seen\": 7}");
    let error = count(&aws, 1, "a").await.unwrap_err();
    assert_eq!(error.error_type(), "StateUnreadable");
    assert_eq!(
        error.to_string(),
        "failed to parse document `counters/one.json` in the state bucket"
    );
    assert_eq!(
        aws.document(KEY).unwrap(),
        b"{\"seen\": 7}",
        "the document is unchanged"
    );
}
