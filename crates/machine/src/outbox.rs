//! Side effects stored with the state that causes them.

use jiff::{SignedDuration, Timestamp};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{DeserializeOwned, Error as _},
    ser::SerializeSeq as _,
};
use serde_json::{Map, Value};

/// Time in which a caller executes the effects that it claims. Then it stops.
pub(crate) const EXECUTION_LIMIT: SignedDuration = SignedDuration::from_secs(60);
/// Duration of a claim. It is longer than the 60 s in which an effect is executed, because the clocks of two functions may differ.
pub const CLAIM: SignedDuration = SignedDuration::from_secs(90);
/// Pause after the first failed attempt, before another caller takes the effect over. It doubles up to 16 times this.
const FIRST_PAUSE: SignedDuration = SignedDuration::from_mins(2);
/// Maximum number of effects that were given up, in a document.
const MAX_GIVEN_UP: usize = 10;
/// Maximum length of the message of a failure in a document.
const MAX_MESSAGE_CHARS: usize = 500;

/// The invocation that changes a document, and its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Lambda's request ID. Retries of an asynchronous invocation have the same ID; duplicates of an event do not.
    pub id: String,
    /// Current time.
    pub now: Timestamp,
}

impl Caller {
    /// The invocation with this request ID.
    pub fn new(id: impl Into<String>, now: Timestamp) -> Self {
        Self { id: id.into(), now }
    }

    fn claim(&self) -> Claim {
        Claim {
            by: self.id.clone(),
            until: self.now.saturating_add(CLAIM).unwrap_or(Timestamp::MAX),
        }
    }
}

/// Claim of a caller to execute an effect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// [`Caller::id`] of the caller.
    pub by: String,
    /// Time at which the claim expires. From then on, any caller may take over the effect.
    pub until: Timestamp,
}

/// One pending effect.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry<E> {
    /// Deterministic ID: the same change of state gives the same ID.
    pub id: String,
    /// The effect to execute.
    pub effect: E,
    /// Claim of the caller that executes the effect.
    pub claim: Claim,
    /// The failed attempts. `None` before the first failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failures: Option<Failures>,
    /// Fields of a newer release.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// The failed attempts to execute an effect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failures {
    /// Number of failed attempts.
    pub attempts: u32,
    /// Time of the first failure.
    pub since: Timestamp,
    /// Message of the last failure.
    pub last: String,
}

/// An effect that was given up: it failed until its limit passed, and is attempted no more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GivenUp {
    /// [`Entry::id`] of the effect.
    pub id: String,
    /// Time at which it was given up.
    pub at: Timestamp,
    /// The failed attempts.
    #[serde(flatten)]
    pub failures: Failures,
}

impl GivenUp {
    /// Adds an effect to those of a document, which keeps the latest.
    pub fn record(self, known: &mut Vec<Self>) {
        known.push(self);
        let excess = known.len().saturating_sub(MAX_GIVEN_UP);
        known.drain(..excess);
    }
}

/// The pending effects of a document, oldest first.
#[derive(Debug, Clone, PartialEq)]
pub struct Outbox<E> {
    entries: Vec<Entry<E>>,
    /// Entries with an effect that this release does not know, as they were written. They are never executed or changed.
    unknown: Vec<Value>,
}

impl<E> Default for Outbox<E> {
    fn default() -> Self {
        Self {
            entries: Vec::new(),
            unknown: Vec::new(),
        }
    }
}

impl<E: Serialize> Serialize for Outbox<E> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut entries = serializer.serialize_seq(Some(self.entries.len() + self.unknown.len()))?;
        for entry in &self.unknown {
            entries.serialize_element(entry)?;
        }
        for entry in &self.entries {
            entries.serialize_element(entry)?;
        }
        entries.end()
    }
}

impl<'de, E: DeserializeOwned> Deserialize<'de> for Outbox<E> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut outbox = Self::default();
        for entry in Vec::<Value>::deserialize(deserializer)? {
            match Entry::deserialize(&entry) {
                Ok(entry) => outbox.entries.push(entry),
                // An effect of another release. An entry without an ID is not an entry of any release.
                Err(_) if entry_id(&entry).is_some() => outbox.unknown.push(entry),
                Err(error) => return Err(D::Error::custom(error)),
            }
        }
        Ok(outbox)
    }
}

/// ID of an entry with an unknown effect.
fn entry_id(entry: &Value) -> Option<&str> {
    entry.get("id").and_then(Value::as_str)
}

impl<E> Outbox<E> {
    /// Adds a pending effect that is claimed by the caller. If an effect with the ID is pending, nothing changes.
    pub fn enqueue(&mut self, id: impl Into<String>, effect: E, caller: &Caller) {
        let id = id.into();
        let is_unknown = self.unknown.iter().any(|entry| entry_id(entry) == Some(id.as_str()));
        if !is_unknown && self.entries.iter().all(|entry| entry.id != id) {
            self.entries.push(Entry {
                id,
                effect,
                claim: caller.claim(),
                failures: None,
                rest: Map::new(),
            });
        }
    }

    /// Takes over all effects whose claim by another caller has expired, and returns their IDs. Extends the claims of an earlier
    /// attempt of the caller. If a claim changed, the document must be written before an effect is executed.
    pub fn take_over(&mut self, caller: &Caller) -> Vec<String> {
        let mut taken = Vec::new();
        let claim = caller.claim();
        for entry in &mut self.entries {
            if entry.claim.by == caller.id {
                entry.claim.until = entry.claim.until.max(claim.until);
            } else if entry.claim.until <= caller.now {
                entry.claim = claim.clone();
                taken.push(entry.id.clone());
            }
        }
        taken
    }

    /// Records a failed attempt to execute an effect. Other callers take the effect over after a pause, which grows with
    /// the number of attempts.
    pub fn fail(&mut self, id: &str, message: &str, caller: &Caller) {
        let Some(entry) = self.entries.iter_mut().find(|entry| entry.id == id) else {
            return;
        };
        let failures = entry.failures.get_or_insert_with(|| Failures {
            attempts: 0,
            since: caller.now,
            last: String::new(),
        });
        failures.attempts = failures.attempts.saturating_add(1);
        failures.last = message.chars().take(MAX_MESSAGE_CHARS).collect();
        let pause = FIRST_PAUSE.saturating_mul(1 << failures.attempts.saturating_sub(1).min(4));
        let until = caller.now.saturating_add(pause).unwrap_or(Timestamp::MAX);
        entry.claim.until = entry.claim.until.max(until);
    }

    /// The pending effect with an ID.
    pub fn get(&self, id: &str) -> Option<&Entry<E>> {
        self.entries.iter().find(|entry| entry.id == id)
    }

    /// Effects that the caller has to execute.
    pub fn claimed_by(&self, caller: &Caller) -> impl Iterator<Item = &Entry<E>> {
        self.entries.iter().filter(|entry| entry.claim.by == caller.id)
    }

    /// Removes an effect that failed once more, and is attempted no more. `None` if no effect with the ID is pending.
    pub fn give_up(&mut self, id: &str, message: &str, caller: &Caller) -> Option<GivenUp> {
        self.fail(id, message, caller);
        let failures = self.get(id)?.failures.clone()?;
        self.settle(id);
        Some(GivenUp {
            id: id.to_owned(),
            at: caller.now,
            failures,
        })
    }

    /// Removes an executed effect and returns it.
    pub fn settle(&mut self, id: &str) -> Option<E> {
        let at = self.entries.iter().position(|entry| entry.id == id)?;
        Some(self.entries.remove(at).effect)
    }

    /// Removes unwanted effects, except those that another caller is executing. Returns true if there is such an
    /// effect.
    pub fn withdraw(&mut self, unwanted: impl Fn(&E) -> bool, caller: &Caller) -> bool {
        let is_foreign = |claim: &Claim| claim.by != caller.id && claim.until > caller.now;
        self.entries
            .retain(|entry| !unwanted(&entry.effect) || is_foreign(&entry.claim));
        self.entries.iter().any(|entry| unwanted(&entry.effect))
    }

    /// All pending effects, oldest first.
    pub fn entries(&self) -> &[Entry<E>] {
        &self.entries
    }

    /// Number of pending effects that this release does not know, and leaves to the release that enqueued them.
    pub fn unknown(&self) -> usize {
        self.unknown.len()
    }

    /// Whether no effect is pending.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.unknown.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(id: &str, second: i64) -> Caller {
        Caller {
            id: id.into(),
            now: Timestamp::from_second(second).unwrap(),
        }
    }

    fn claimed<'a>(outbox: &'a Outbox<&'static str>, caller: &Caller) -> Vec<&'a str> {
        outbox.claimed_by(caller).map(|entry| entry.id.as_str()).collect()
    }

    #[test]
    fn effect_with_the_same_id_is_added_once() {
        let mut outbox = Outbox::default();
        outbox.enqueue("a", "first", &caller("one", 0));
        outbox.enqueue("a", "second", &caller("two", 0));
        assert_eq!(outbox.entries().len(), 1);
        assert_eq!(outbox.settle("a"), Some("first"));
        assert!(outbox.is_empty());
        assert_eq!(outbox.settle("a"), None);
    }

    #[test]
    fn withdraws_unwanted_effects_except_claimed_ones() {
        let mut outbox = Outbox::default();
        outbox.enqueue("a", "old", &caller("one", 0));
        outbox.enqueue("b", "new", &caller("one", 0));
        assert!(outbox.withdraw(|effect| *effect == "old", &caller("two", 89)));
        assert!(!outbox.withdraw(|effect| *effect == "old", &caller("two", 90)));
        assert_eq!(outbox.entries().len(), 1);
        assert!(!outbox.withdraw(|effect| *effect == "new", &caller("one", 1)));
        assert!(outbox.is_empty());
    }

    #[test]
    fn retry_continues_with_an_extended_claim() {
        let mut outbox = Outbox::default();
        outbox.enqueue("a", "effect", &caller("one", 0));
        let retry = caller("one", 50);
        assert!(outbox.take_over(&retry).is_empty());
        assert_eq!(claimed(&outbox, &retry), ["a"]);
        assert!(outbox.take_over(&caller("two", 139)).is_empty());
        assert_eq!(outbox.take_over(&caller("two", 140)), ["a"]);
    }

    #[test]
    fn expired_claim_is_taken_over() {
        let mut outbox = Outbox::default();
        outbox.enqueue("a", "effect", &caller("one", 0));
        let early = caller("two", 89);
        assert!(outbox.take_over(&early).is_empty());
        assert!(claimed(&outbox, &early).is_empty());
        let late = caller("two", 90);
        assert_eq!(outbox.take_over(&late), ["a"]);
        assert_eq!(claimed(&outbox, &late), ["a"]);
        assert!(claimed(&outbox, &caller("one", 91)).is_empty());
    }

    #[test]
    fn pauses_between_failed_attempts_grow() {
        let mut outbox = Outbox::default();
        outbox.enqueue("a", "effect", &caller("one", 0));
        let mut second = 0;
        for (attempts, pause) in [(1, 120), (2, 240), (3, 480), (4, 960), (5, 1920), (6, 1920)] {
            let now = caller("one", second);
            outbox.fail("a", "throttled", &now);
            let failures = outbox.get("a").unwrap().failures.clone().unwrap();
            assert_eq!((failures.attempts, failures.since), (attempts, caller("one", 0).now));
            assert!(outbox.take_over(&caller("two", second + pause - 1)).is_empty());
            assert_eq!(
                claimed(&outbox, &now),
                ["a"],
                "a retry of the same invocation does not wait"
            );
            second += pause;
            assert_eq!(outbox.take_over(&caller("one", second)), [""; 0]);
        }
        // The retry extended its claim.
        assert_eq!(outbox.take_over(&caller("two", second)), [""; 0]);
        assert_eq!(outbox.take_over(&caller("two", second + 90)), ["a"]);
    }

    #[test]
    fn outbox_is_empty_if_nothing_is_pending() {
        let mut outbox = Outbox::default();
        assert!(outbox.is_empty());
        outbox.enqueue("a", "effect", &caller("one", 0));
        assert!(!outbox.is_empty());
        assert_eq!(outbox.settle("b"), None);
        assert!(!outbox.is_empty());
        assert_eq!(outbox.settle("a"), Some("effect"));
        assert!(outbox.is_empty());
    }

    #[test]
    fn pending_effects_stay_in_order() {
        let mut outbox = Outbox::default();
        for id in ["c", "a", "b"] {
            outbox.enqueue(id, "effect", &caller("one", 0));
        }
        outbox.settle("a");
        assert_eq!(claimed(&outbox, &caller("one", 1)), ["c", "b"]);
        let ids: Vec<&str> = outbox.entries().iter().map(|entry| entry.id.as_str()).collect();
        assert_eq!(ids, ["c", "b"]);
    }

    #[test]
    fn effects_of_newer_release_stay_as_written() {
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        enum Effect {
            Put(u8),
        }
        let claim = r#"{"by":"one","until":"1970-01-01T00:01:00Z"}"#;
        let newer = format!(
            r#"{{"id":"n","effect":{{"Page":{{"at":0.1,"big":18446744073709551615}}}},"claim":{claim},"attempts":2}}"#
        );
        let known = format!(r#"{{"id":"k","effect":{{"Put":1}},"claim":{claim},"attempts":3}}"#);
        let mut outbox: Outbox<Effect> = serde_json::from_str(&format!("[{newer},{known}]")).unwrap();
        assert_eq!((outbox.entries().len(), outbox.unknown()), (1, 1));
        // It is not executed, not taken over, and not enqueued again.
        let late = caller("two", 1000);
        outbox.take_over(&late);
        outbox.enqueue("n", Effect::Put(2), &late);
        assert_eq!(outbox.claimed_by(&late).count(), 1);
        let written = serde_json::to_value(&outbox).unwrap();
        let newer: Value = serde_json::from_str(&newer).unwrap();
        assert_eq!(written.get(0), Some(&newer));
        assert_eq!(written.pointer("/1/attempts"), Some(&Value::from(3)));
        outbox.settle("k");
        assert!(!outbox.is_empty());
        assert_eq!(serde_json::to_value(&outbox).unwrap(), Value::from(vec![newer]));
        assert!(serde_json::from_str::<Outbox<Effect>>(r#"[{"effect": 1}]"#).is_err());
    }

    #[test]
    fn outbox_survives_storage() {
        let mut outbox: Outbox<String> = Outbox::default();
        outbox.enqueue("a", "effect".to_owned(), &caller("one", 0));
        let stored = serde_json::to_string(&outbox).unwrap();
        let mut read: Outbox<String> = serde_json::from_str(&stored).unwrap();
        assert_eq!((&read, read.unknown()), (&outbox, 0));
        // With an effect of a newer release.
        let newer = r#"{"id":"n","effect":{"Page":1},"claim":{"by":"one","until":"1970-01-01T00:01:00Z"}}"#;
        read = serde_json::from_str(&stored.replacen('[', &format!("[{newer},"), 1)).unwrap();
        assert_eq!((read.entries().len(), read.unknown()), (1, 1));
        let stored = serde_json::to_string(&read).unwrap();
        assert_eq!(serde_json::from_str::<Outbox<String>>(&stored).unwrap(), read);
    }

    #[test]
    fn message_of_failure_is_cut() {
        let mut outbox = Outbox::default();
        outbox.enqueue("a", "effect", &caller("one", 0));
        outbox.fail("a", &"ä".repeat(MAX_MESSAGE_CHARS + 1), &caller("one", 0));
        outbox.fail("b", "no such effect", &caller("one", 0));
        let failures = outbox.get("a").unwrap().failures.clone().unwrap();
        assert_eq!(failures.last, "ä".repeat(MAX_MESSAGE_CHARS));
        assert_eq!(outbox.get("b"), None);
    }

    #[test]
    fn claim_without_end_is_never_taken_over() {
        let last = Caller {
            id: "one".to_owned(),
            now: Timestamp::MAX,
        };
        let mut outbox = Outbox::default();
        outbox.enqueue("a", "effect", &last);
        assert!(outbox.take_over(&caller("two", 1_000_000_000)).is_empty());
        assert!(outbox.withdraw(|_| true, &caller("two", 1_000_000_000)));
    }
}
