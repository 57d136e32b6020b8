//! What is held for one destination, to be told as one: `notifications/held/{hash}.json` in the state bucket.
//!
//! In quiet hours notifications are held until these are over, for a digest until its time of the day. The document knows by
//! itself to whom, and when, so that nothing is lost if the policy changes in between.

use crate::{
    notification::{Collected, Form, Notification, ThreadStatus},
    threads::{Done, Effect, Refusal, keep},
    words::plural,
};
use jiff::Timestamp;
use outbox::{Caller, Outbox};
use remediation::{Destination, NotificationKind, NotificationSeverity};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use shell::Owing;

/// Where the documents lie.
pub(crate) const FOLDER: &str = "notifications/held/";
/// So many different notifications are listed; more are counted.
const HELD: usize = 500;
/// So many are held in full; of more only what matters.
const IN_FULL: usize = 5;
/// So many are known again.
const SEEN: usize = 2_000;
/// So many refusals are kept, the latest.
const REFUSED: usize = 20;

/// One that is held.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct One {
    key: String,
    count: u64,
    first: Timestamp,
    last: Timestamp,
    notification: Notification,
}

/// What is held for one destination.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Held {
    version: u32,
    to: Destination,
    form: Form,
    /// When it is told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    until: Option<Timestamp>,
    #[serde(default)]
    entries: Vec<One>,
    /// How many more there were than are held.
    #[serde(default)]
    more: u64,
    /// Ids of what has been held, the latest last.
    #[serde(default)]
    seen: Vec<String>,
    #[serde(default)]
    refused: Vec<Refusal>,
    #[serde(default)]
    outbox: Outbox<Effect>,
}

impl Owing for Held {
    type Effect = Effect;
    type Done = Done;

    fn outbox(&mut self) -> &mut Outbox<Effect> {
        &mut self.outbox
    }

    fn note(&mut self, effect: &Effect, done: Done) {
        if let Done::Refused(reason) = done
            && let Some(refusal) = Refusal::of(effect, &reason)
        {
            keep(&mut self.refused, refusal, REFUSED);
        }
    }
}

impl Held {
    /// Nothing is held.
    pub(crate) fn new(to: &Destination, form: Form) -> Self {
        Self {
            version: 1,
            to: to.clone(),
            form,
            until: None,
            entries: Vec::new(),
            more: 0,
            seen: Vec::new(),
            refused: Vec::new(),
            outbox: Outbox::default(),
        }
    }

    /// The same destination with nothing held.
    pub(crate) fn emptied(&self) -> Self {
        Self::new(&self.to, self.form)
    }

    /// The key of a destination's document.
    pub(crate) fn key(to: &Destination, form: Form) -> String {
        let name = format!("{} {to}", form.as_str());
        let mut hash = hex::encode(Sha256::digest(name.as_bytes()));
        hash.truncate(16);
        format!("{FOLDER}{hash}.json")
    }

    /// Holds a notification, once.
    pub(crate) fn hold(&mut self, id: &str, key: &str, until: Timestamp, notification: &Notification, now: Timestamp) {
        if self.seen.iter().any(|seen| seen == id) {
            return;
        }
        keep(&mut self.seen, id.to_owned(), SEEN);
        // What is held already is not held for longer.
        self.until = Some(self.until.map_or(until, |earlier| earlier.min(until)));
        if let Some(one) = self.entries.iter_mut().find(|one| one.key == key) {
            one.count += 1;
            one.last = now;
            return;
        }
        if self.entries.len() >= HELD {
            self.more += 1;
            return;
        }
        let mut notification = notification.clone();
        if self.entries.len() >= IN_FULL {
            notification.facts.clear();
        }
        self.entries.push(One {
            key: key.to_owned(),
            count: 1,
            first: now,
            last: now,
            notification,
        });
    }

    /// Whether the next tick has anything to do here.
    pub(crate) fn is_due(&self, now: Timestamp) -> bool {
        self.until.is_some_and(|until| until <= now) || !self.outbox.is_empty()
    }

    /// Tells what is held, if its time has come.
    pub(crate) fn tell(&mut self, caller: &Caller) {
        let Some(until) = self.until.filter(|until| *until <= caller.now) else {
            return;
        };
        self.until = None;
        let held = std::mem::take(&mut self.entries);
        let more = std::mem::take(&mut self.more);
        for notification in self.as_one(held, more, until) {
            let effect = Effect::Deliver {
                to: self.to.clone(),
                dedup_key: None,
                notification: Box::new(notification.clone()),
                owed_since: caller.now,
            };
            self.outbox
                .owe(format!("{} {}", notification.id, notification.thread), effect, caller);
        }
    }

    fn as_one(&self, mut held: Vec<One>, more: u64, until: Timestamp) -> Vec<Notification> {
        if matches!(self.to, Destination::PagerDuty { .. }) {
            return pages(held);
        }
        if held.len() == 1 && held.iter().all(|one| one.count == 1) && more == 0 && self.form == Form::QuietHours {
            return held.pop().map(|one| one.notification).into_iter().collect();
        }
        let id = format!("{}-{}", self.form.as_str(), until.as_second());
        let mut told = Notification::new(&id, self.form, until);
        let count: u64 = held.iter().map(|one| one.count).sum::<u64>() + more;
        let models: std::collections::BTreeSet<_> =
            held.iter().filter_map(|one| one.notification.model.clone()).collect();
        let of_models = format!("{} model{}", models.len(), plural(models.len() as u64));
        let notifications = format!("{count} notification{}", plural(count));
        (told.subject, told.what) = match self.form {
            Form::Digest => (
                format!("digest: {notifications} of {of_models}"),
                format!("{notifications} of {of_models} since the last digest: {}.", sums(&held)),
            ),
            _ => (
                format!("{notifications} of {of_models} in quiet hours"),
                format!(
                    "In quiet hours there came {notifications} of {of_models}: {}.",
                    sums(&held)
                ),
            ),
        };
        let severities = held.iter().map(|one| one.notification.severity);
        told.severity = severities.max().unwrap_or(NotificationSeverity::Info);
        told.since = held.iter().map(|one| one.first).min();
        if more > 0 {
            told.facts("Not listed", vec![format!("{more} more")]);
        }
        told.next("What comes from now on is told as the policy says.");
        told.action("See where the models stand now:", &["driftwarden incidents".to_owned()]);
        told.collected = held.into_iter().map(collected).collect();
        vec![told]
    }
}

fn collected(one: One) -> Collected {
    let told = one.notification;
    Collected {
        kind: told.kind,
        model: told.model,
        thread: told.thread,
        severity: told.severity,
        subject: told.subject,
        what: told.what,
        count: one.count,
        first: one.first,
        last: one.last,
    }
}

/// How many of each kind, and how often something came again.
fn sums(held: &[One]) -> String {
    let names = [
        (NotificationKind::Alert, "alert"),
        (NotificationKind::Health, "change of health"),
        (NotificationKind::Decision, "decision"),
        (NotificationKind::Retraining, "retraining"),
        (NotificationKind::Experiment, "step of an experiment"),
        (NotificationKind::Baseline, "baseline"),
        (NotificationKind::Incident, "incident over"),
    ];
    let counts = names.map(|(kind, name)| {
        let of_kind = held.iter().filter(|one| one.notification.kind == Some(kind));
        (of_kind.count(), name)
    });
    let mut parts: Vec<String> = counts
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, name)| format!("{count} × {name}"))
        .collect();
    let repeats: u64 = held.iter().map(|one| one.count - 1).sum();
    if repeats > 0 {
        parts.push(format!("{repeats} repeat{}", plural(repeats)));
    }
    parts.join(", ")
}

/// PagerDuty gets the last word of each thread: what is over by now pages nobody.
fn pages(held: Vec<One>) -> Vec<Notification> {
    let mut last: Vec<One> = Vec::new();
    for one in held {
        let before = last
            .iter()
            .position(|known| known.notification.thread == one.notification.thread);
        let before = before.map(|at| last.remove(at));
        // That Driftwarden is at it says nothing of what nobody was paged for.
        let acknowledges = one.notification.status == ThreadStatus::InProgress;
        last.push(before.filter(|_| acknowledges).unwrap_or(one));
    }
    last.into_iter().map(|one| one.notification).collect()
}
