//! A turn of a document, struck by faults at every call it makes.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use jiff::{SignedDuration, Timestamp};
use outbox::{Caller, Outbox};
use serde::{Deserialize, Serialize};
use shell::{
    AwsError, ErrorType as _, Kind, Owing, TurnError, load,
    memory::{Fault, Memory},
    ports::{EventBus as _, Metrics as _},
    turn,
};

/// A counter that owes an event for every number it reaches.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
struct Counter {
    seen: Vec<u64>,
    outbox: Outbox<u64>,
}

impl Owing for Counter {
    type Effect = u64;
    type Done = ();

    fn outbox(&mut self) -> &mut Outbox<u64> {
        &mut self.outbox
    }
}

const KEY: &str = "counters/one.json";

fn world() -> Memory {
    Memory::at(Timestamp::from_second(1_790_000_000).unwrap())
}

fn caller(world: &Memory, id: &str) -> Caller {
    use shell::ports::Clock as _;
    Caller {
        id: id.into(),
        now: world.now(),
        lease: SignedDuration::from_secs(120),
    }
}

/// Counts a number once, owing two effects for it: an event and a metric request.
async fn count(world: &Memory, number: u64, request: &str) -> Result<bool, TurnError> {
    let caller = caller(world, request);
    let apply = |counter: &mut Counter| {
        let new = !counter.seen.contains(&number);
        if new {
            counter.seen.push(number);
            counter.outbox.owe(format!("event-{number}"), number, &caller);
            counter.outbox.owe(format!("metrics-{number}"), number + 1000, &caller);
        }
        new
    };
    let carry_out = async |effect: &u64| -> Result<(), AwsError> {
        if *effect < 1000 {
            world.put("Counted", effect.to_string()).await
        } else {
            world.publish("n", &[]).await
        }
    };
    turn(
        world,
        KEY,
        load(world, KEY).await?,
        &caller,
        Counter::default,
        apply,
        carry_out,
    )
    .await
}

fn counter(world: &Memory) -> Counter {
    serde_json::from_slice(&world.document(KEY).unwrap()).unwrap()
}

fn times(world: &Memory, operation: &str) -> usize {
    world.calls().iter().filter(|call| **call == operation).count()
}

#[tokio::test]
async fn a_turn_is_four_round_trips_and_a_duplicate_one() {
    let world = world();
    assert!(count(&world, 1, "a").await.unwrap());
    assert_eq!(
        world.calls(),
        [
            "s3:GetObject",
            "s3:PutObject",
            "events:PutEvents",
            "cloudwatch:PutMetricData",
            "s3:PutObject"
        ],
        "the effects go out at once"
    );
    assert!(!count(&world, 1, "b").await.unwrap());
    assert_eq!(times(&world, "s3:GetObject"), 2);
    assert_eq!(world.calls().len(), 6, "a duplicate reads, and that is all");
}

#[tokio::test]
async fn whatever_fails_the_retry_completes_the_rest() {
    let faults = [Fault::Before(Kind::Transient), Fault::After];
    let operations = [
        "s3:GetObject",
        "s3:PutObject",
        "events:PutEvents",
        "cloudwatch:PutMetricData",
    ];
    for fault in faults {
        for operation in operations {
            // The second write is the one that settles.
            for strikes_at in 0..if operation == "s3:PutObject" { 2 } else { 1 } {
                let world = world();
                for _ in 0..strikes_at {
                    world.fail(operation, Fault::Overtaken);
                }
                world.fail(operation, fault);
                let first = count(&world, 1, "a").await;
                let retried = if first.is_err() {
                    count(&world, 1, "a").await
                } else {
                    first
                };
                let context = format!("{operation} {fault:?} at {strikes_at}");
                retried.unwrap_or_else(|error| panic!("{context}: {error}"));
                assert_eq!(
                    counter(&world),
                    Counter {
                        seen: vec![1],
                        ..Counter::default()
                    },
                    "{context}"
                );
                // Only an effect whose own answer was lost is carried out again.
                let again = usize::from(fault == Fault::After && operation == "events:PutEvents");
                let resettled = usize::from(
                    operation == "s3:PutObject" && fault == Fault::Before(Kind::Transient) && strikes_at == 1,
                );
                assert!(
                    world.events().len() <= 1 + again + resettled,
                    "{context}: {:?}",
                    world.events()
                );
                assert!(!world.events().is_empty(), "{context}");
            }
        }
    }
}

#[tokio::test]
async fn somebody_else_takes_over_when_the_claim_has_lapsed_and_not_before() {
    let world = world();
    world.fail("events:PutEvents", Fault::Before(Kind::Transient));
    count(&world, 1, "dead").await.unwrap_err();
    assert_eq!(counter(&world).outbox.entries().len(), 1, "what was done is settled");

    count(&world, 2, "early").await.unwrap();
    assert_eq!(world.events().len(), 1, "the claim of another is left alone");

    world.pass(SignedDuration::from_secs(121));
    count(&world, 2, "late").await.unwrap();
    let told: Vec<String> = world.events().into_iter().map(|(_, detail)| detail).collect();
    assert_eq!(told, ["2", "1"]);
    assert!(counter(&world).outbox.is_empty());
}

#[tokio::test]
async fn a_lost_race_is_run_again_on_the_newer_document() {
    let world = world();
    count(&world, 1, "a").await.unwrap();
    world.fail("s3:PutObject", Fault::Overtaken);
    count(&world, 2, "b").await.unwrap();
    assert_eq!(counter(&world).seen, [1, 2]);
    assert_eq!(world.events().len(), 2);
}

#[tokio::test]
async fn a_document_that_cannot_be_read_is_an_error_that_names_it() {
    let world = world();
    world.put_document(KEY, "{\"seen\": 7}");
    let error = count(&world, 1, "a").await.unwrap_err();
    assert_eq!(error.error_type(), "StateUnreadable");
    assert_eq!(
        error.to_string(),
        "document `counters/one.json` of the state bucket cannot be read"
    );
    assert_eq!(
        world.document(KEY).unwrap(),
        b"{\"seen\": 7}",
        "and it is left as it is"
    );
}
