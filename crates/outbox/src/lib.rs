#![doc = include_str!("../README.md")]

mod correlation;

pub use correlation::correlation_id;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// Who acts on a document, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The Lambda request id. Retries of an asynchronous invocation keep it, duplicates of an event do not share it.
    pub id: String,
    /// The time of this turn.
    pub now: Timestamp,
    /// For how long this caller keeps what it claims: at least its own timeout, or two callers might carry out the
    /// same effect at once.
    pub lease: SignedDuration,
}

impl Caller {
    fn claim(&self) -> Claim {
        Claim {
            by: self.id.clone(),
            until: self.now.saturating_add(self.lease).unwrap_or(Timestamp::MAX),
        }
    }
}

/// Who is carrying out an effect, and until when nobody else may.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// [`Caller::id`] of the carrier.
    pub by: String,
    /// From here on anybody may take the effect over.
    pub until: Timestamp,
}

/// One effect, not settled yet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry<E> {
    /// Deterministic: the same change of state gives the same id.
    pub id: String,
    /// What is to be done.
    pub effect: E,
    /// Who does it.
    pub claim: Claim,
}

/// The effects that a document still owes, oldest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Outbox<E> {
    entries: Vec<Entry<E>>,
}

impl<E> Default for Outbox<E> {
    fn default() -> Self {
        Self { entries: Vec::new() }
    }
}

impl<E> Outbox<E> {
    /// Owes an effect, claimed by the caller. An id that is already owed is left as it is.
    pub fn owe(&mut self, id: impl Into<String>, effect: E, caller: &Caller) {
        let id = id.into();
        if self.entries.iter().all(|entry| entry.id != id) {
            self.entries.push(Entry {
                id,
                effect,
                claim: caller.claim(),
            });
        }
    }

    /// Takes over every effect whose claim by somebody else has lapsed, and says whether there was one, in which case
    /// the document must be written before anything is carried out.
    pub fn take_over(&mut self, caller: &Caller) -> bool {
        let mut taken = false;
        for entry in &mut self.entries {
            if entry.claim.by != caller.id && entry.claim.until <= caller.now {
                entry.claim = caller.claim();
                taken = true;
            }
        }
        taken
    }

    /// The effects that the caller has to carry out.
    pub fn claimed_by(&self, caller: &Caller) -> impl Iterator<Item = &Entry<E>> {
        self.entries.iter().filter(|entry| entry.claim.by == caller.id)
    }

    /// Forgets an effect that has been carried out, and returns it.
    pub fn settle(&mut self, id: &str) -> Option<E> {
        let at = self.entries.iter().position(|entry| entry.id == id)?;
        Some(self.entries.remove(at).effect)
    }

    /// Forgets the effects that are no longer wanted, as far as nobody else is carrying them out; whether somebody is.
    pub fn withdraw(&mut self, unwanted: impl Fn(&E) -> bool, caller: &Caller) -> bool {
        let theirs = |claim: &Claim| claim.by != caller.id && claim.until > caller.now;
        self.entries
            .retain(|entry| !unwanted(&entry.effect) || theirs(&entry.claim));
        self.entries.iter().any(|entry| unwanted(&entry.effect))
    }

    /// Every effect not settled yet, oldest first.
    pub fn entries(&self) -> &[Entry<E>] {
        &self.entries
    }

    /// Whether nothing is owed.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(id: &str, second: i64) -> Caller {
        Caller {
            id: id.into(),
            now: Timestamp::from_second(second).unwrap(),
            lease: SignedDuration::from_secs(60),
        }
    }

    fn claimed<'a>(outbox: &'a Outbox<&'static str>, caller: &Caller) -> Vec<&'a str> {
        outbox.claimed_by(caller).map(|entry| entry.id.as_str()).collect()
    }

    #[test]
    fn the_same_id_is_owed_once() {
        let mut outbox = Outbox::default();
        outbox.owe("a", "first", &caller("one", 0));
        outbox.owe("a", "second", &caller("two", 0));
        assert_eq!(outbox.entries().len(), 1);
        assert_eq!(outbox.settle("a"), Some("first"));
        assert!(outbox.is_empty());
        assert_eq!(outbox.settle("a"), None);
    }

    #[test]
    fn what_is_no_longer_wanted_is_withdrawn_unless_somebody_is_at_it() {
        let mut outbox = Outbox::default();
        outbox.owe("a", "old", &caller("one", 0));
        outbox.owe("b", "new", &caller("one", 0));
        assert!(outbox.withdraw(|effect| *effect == "old", &caller("two", 59)));
        assert!(!outbox.withdraw(|effect| *effect == "old", &caller("two", 60)));
        assert_eq!(outbox.entries().len(), 1);
        assert!(!outbox.withdraw(|effect| *effect == "new", &caller("one", 1)));
        assert!(outbox.is_empty());
    }

    #[test]
    fn a_retry_of_the_same_invocation_goes_on_at_once() {
        let mut outbox = Outbox::default();
        outbox.owe("a", "effect", &caller("one", 0));
        let retry = caller("one", 1);
        assert!(!outbox.take_over(&retry));
        assert_eq!(claimed(&outbox, &retry), ["a"]);
    }

    #[test]
    fn others_wait_until_the_claim_has_lapsed() {
        let mut outbox = Outbox::default();
        outbox.owe("a", "effect", &caller("one", 0));
        let early = caller("two", 59);
        assert!(!outbox.take_over(&early));
        assert!(claimed(&outbox, &early).is_empty());
        let late = caller("two", 60);
        assert!(outbox.take_over(&late));
        assert_eq!(claimed(&outbox, &late), ["a"]);
        assert!(claimed(&outbox, &caller("one", 61)).is_empty());
    }

    #[test]
    fn outbox_is_empty_if_nothing_is_pending() {
        let mut outbox = Outbox::default();
        assert!(outbox.is_empty());
        outbox.owe("a", "effect", &caller("one", 0));
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
            outbox.owe(id, "effect", &caller("one", 0));
        }
        outbox.settle("a");
        assert_eq!(claimed(&outbox, &caller("one", 1)), ["c", "b"]);
        let ids: Vec<&str> = outbox.entries().iter().map(|entry| entry.id.as_str()).collect();
        assert_eq!(ids, ["c", "b"]);
    }

    #[test]
    fn claim_without_end_is_never_taken_over() {
        let endless = Caller {
            lease: SignedDuration::MAX,
            ..caller("one", 0)
        };
        let mut outbox = Outbox::default();
        outbox.owe("a", "effect", &endless);
        assert!(!outbox.take_over(&caller("two", 1_000_000_000)));
        assert!(outbox.withdraw(|_| true, &caller("two", 1_000_000_000)));
    }
}
