//! What the tests of notifications share: a world, events, and schemas to check what was sent against.

use jiff::{SignedDuration, Timestamp};
use notify::{Handled, Notify, NotifyError};
use serde_json::Value;
use shell::memory::Memory;

/// Sample events.
pub(crate) const EVENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../events/notify");
/// Noon of a Monday.
pub(crate) const NOON: &str = "2026-11-23T12:00:00Z";

/// A sample event.
pub(crate) fn event(name: &str) -> String {
    std::fs::read_to_string(format!("{EVENTS}/{name}.json")).unwrap()
}

/// A sample event with another `detail.id`.
pub(crate) fn event_as(name: &str, id: &str) -> String {
    with(name, |detail| detail["id"] = id.into())
}

/// A sample event with another detail.
pub(crate) fn with(name: &str, change: impl FnOnce(&mut Value)) -> String {
    let mut event: Value = serde_json::from_str(&event(name)).unwrap();
    change(&mut event["detail"]);
    event.to_string()
}

/// Notify in a world in memory.
pub(crate) struct Told {
    pub(crate) world: Memory,
    pub(crate) notify: Notify,
    requests: std::cell::Cell<u32>,
}

impl Told {
    /// At noon, with that policy.
    pub(crate) fn by(policy: &str) -> Self {
        Self::at(NOON, policy)
    }

    /// At that time, with that policy.
    pub(crate) fn at(time: &str, policy: &str) -> Self {
        let world = Memory::at(time.parse().unwrap());
        world.put_document("policy.toml", policy);
        world.put_secret("/aws/reference/secretsmanager/pd", &"k".repeat(32));
        world.put_secret("/hook", "signing key");
        Self {
            world,
            notify: Notify::default(),
            requests: std::cell::Cell::new(0),
        }
    }

    /// Handles an event in an invocation of its own.
    pub(crate) async fn try_hear(&self, event: &str) -> Result<Handled, NotifyError> {
        self.requests.set(self.requests.get() + 1);
        let request = format!("request-{}", self.requests.get());
        self.try_as(event, &request).await
    }

    /// Handles an event in that invocation.
    pub(crate) async fn try_as(&self, event: &str, request: &str) -> Result<Handled, NotifyError> {
        let deadline = self.world.time() + SignedDuration::from_secs(60);
        self.notify.handle(&self.world, event, request, deadline).await
    }

    /// Handles an event.
    pub(crate) async fn hear(&self, event: &str) -> Handled {
        self.try_hear(event).await.unwrap()
    }

    /// Lets time pass, tick by tick, as the schedule does.
    pub(crate) async fn pass(&self, duration: SignedDuration) {
        let end: Timestamp = self.world.time() + duration;
        while self.world.time() < end {
            let step = SignedDuration::from_mins(15).min(end.duration_since(self.world.time()));
            self.world.pass(step);
            self.tick().await.unwrap();
        }
    }

    /// A tick of the schedule.
    pub(crate) async fn tick(&self) -> Result<Handled, NotifyError> {
        let tick = r#"{"version":"0","id":"t","detail-type":"Scheduled Event","source":"aws.events","account":"111122223333",
            "time":"2026-11-23T12:00:00Z","region":"us-east-1","resources":[],"detail":{}}"#;
        self.try_hear(tick).await
    }

    /// The subjects of the messages published so far.
    pub(crate) fn subjects(&self) -> Vec<String> {
        self.world.messages().into_iter().map(|(subject, _)| subject).collect()
    }

    /// The bodies of the POST requests sent so far.
    pub(crate) fn posts(&self) -> Vec<Value> {
        let posts = self.world.posts().into_iter();
        posts.map(|post| serde_json::from_slice(&post.body).unwrap()).collect()
    }
}

/// Checks a document against a schema beside these tests, or in `events/schemas`.
pub(crate) fn check(schema: &str, document: &Value) {
    let path = match schema.strip_prefix("events/") {
        Some(_) => format!("{}/../../{schema}", env!("CARGO_MANIFEST_DIR")),
        None => format!("{}/tests/schemas/{schema}", env!("CARGO_MANIFEST_DIR")),
    };
    let schema: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let wrong: Vec<String> = validator
        .iter_errors(document)
        .map(|error| format!("{} at {}", error, error.instance_path()))
        .collect();
    assert!(wrong.is_empty(), "{wrong:?} in {document:#}");
}
