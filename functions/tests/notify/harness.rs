//! Test harness: notify with AWS in memory, sample events, and schema checks of sent messages.

use functions::{
    Error,
    notify::{Handled, Notify},
};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use shell::memory::Memory;

/// Folder of the sample events.
pub(crate) const EVENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../events/notify");
/// A Monday at noon.
pub(crate) const NOON: &str = "2026-11-23T12:00:00Z";

/// A sample event.
pub(crate) fn event(name: &str) -> String {
    std::fs::read_to_string(format!("{EVENTS}/{name}.json")).unwrap()
}

/// A sample event with another `detail.id`.
pub(crate) fn event_as(name: &str, id: &str) -> String {
    with(name, |detail| detail["id"] = id.into())
}

/// A sample event with a changed detail.
pub(crate) fn with(name: &str, change: impl FnOnce(&mut Value)) -> String {
    let mut event: Value = serde_json::from_str(&event(name)).unwrap();
    change(&mut event["detail"]);
    event.to_string()
}

/// Notify with AWS in memory.
pub(crate) struct Harness {
    pub(crate) aws: Memory,
    pub(crate) notify: Notify,
    requests: std::cell::Cell<u32>,
}

impl Harness {
    /// Starts at noon with a policy.
    pub(crate) fn with_policy(policy: &str) -> Self {
        Self::at(NOON, policy)
    }

    /// Starts at a time with a policy.
    pub(crate) fn at(time: &str, policy: &str) -> Self {
        let aws = Memory::at(time.parse().unwrap());
        aws.put_document("policy.toml", policy);
        aws.put_secret("/aws/reference/secretsmanager/pd", &"k".repeat(32));
        aws.put_secret("/hook", "signing key");
        Self {
            aws,
            notify: Notify::default(),
            requests: std::cell::Cell::new(0),
        }
    }

    /// Handles an event in a new invocation.
    pub(crate) async fn try_handle(&self, event: &str) -> Result<Handled, Error> {
        self.requests.set(self.requests.get() + 1);
        let request = format!("request-{}", self.requests.get());
        self.try_handle_as(event, &request).await
    }

    /// Handles an event in an invocation with this request ID.
    pub(crate) async fn try_handle_as(&self, event: &str, request: &str) -> Result<Handled, Error> {
        let deadline = self.aws.time() + SignedDuration::from_secs(60);
        self.notify.handle(&self.aws, event, request, deadline).await
    }

    /// Handles an event.
    pub(crate) async fn handle(&self, event: &str) -> Handled {
        self.try_handle(event).await.unwrap()
    }

    /// Advances time with a tick every 15 minutes, as the schedule does.
    pub(crate) async fn pass(&self, duration: SignedDuration) {
        let end: Timestamp = self.aws.time() + duration;
        while self.aws.time() < end {
            let step = SignedDuration::from_mins(15).min(end.duration_since(self.aws.time()));
            self.aws.pass(step);
            self.tick().await.unwrap();
        }
    }

    /// Advances time as [`Self::pass`] does, and ignores failed ticks.
    pub(crate) async fn pass_with_errors(&self, duration: SignedDuration) {
        let end: Timestamp = self.aws.time() + duration;
        while self.aws.time() < end {
            self.aws.pass(SignedDuration::from_mins(15));
            drop(self.tick().await);
        }
    }

    /// Handles a tick of the schedule.
    pub(crate) async fn tick(&self) -> Result<Handled, Error> {
        let tick = r#"{"version":"0","id":"t","detail-type":"Scheduled Event","source":"aws.events","account":"111122223333",
            "time":"2026-11-23T12:00:00Z","region":"us-east-1","resources":[],"detail":{}}"#;
        self.try_handle(tick).await
    }

    /// The document of a destination with pending notifications, by its form or URL.
    pub(crate) fn queue(&self, to: &str) -> Value {
        let documents = self.aws.documents().into_iter();
        let queues = documents.filter(|key| key.starts_with("notifications/destinations/"));
        let mut queues = queues.map(|key| serde_json::from_slice(&self.aws.document(&key).unwrap()).unwrap());
        queues
            .find(|queue: &Value| queue["to"]["to"] == to || queue["to"]["url"] == to)
            .unwrap_or_default()
    }

    /// The subjects of the messages published so far.
    pub(crate) fn subjects(&self) -> Vec<String> {
        self.aws.messages().into_iter().map(|(subject, _)| subject).collect()
    }

    /// The bodies of the POST requests sent so far.
    pub(crate) fn posts(&self) -> Vec<Value> {
        let posts = self.aws.posts().into_iter();
        posts.map(|post| serde_json::from_slice(&post.body).unwrap()).collect()
    }
}

/// Validates a document with a schema in `tests/schemas` or `events/schemas`.
pub(crate) fn check(schema: &str, document: &Value) {
    let path = match schema.strip_prefix("events/") {
        Some(_) => format!("{}/../{schema}", env!("CARGO_MANIFEST_DIR")),
        None => format!("{}/tests/notify/schemas/{schema}", env!("CARGO_MANIFEST_DIR")),
    };
    let schema: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let wrong: Vec<String> = validator
        .iter_errors(document)
        .map(|error| format!("{} at {}", error, error.instance_path()))
        .collect();
    assert!(wrong.is_empty(), "{wrong:?} in {document:#}");
}
