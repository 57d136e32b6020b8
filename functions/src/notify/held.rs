//! Notifications that are held for one destination: `notifications/held/{hash}.json` in the state bucket.
//!
//! Quiet hours hold notifications until they end, a digest until its time of day. The document contains the destination
//! and the time of sending, so that no notification is lost if the policy changes in the meantime.

use crate::notify::{
    notification::{Collected, Form, Notification, ThreadStatus},
    threads::{Effect, EffectOutcome, Refusal, identity, push_bounded},
};
use jiff::Timestamp;
use machine::{Caller, Outbox, OutboxDocument};
use remediation::{Destination, NotificationKind, NotificationSeverity};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeSet;

/// Folder of the documents in the state bucket.
pub(crate) const FOLDER: &str = "notifications/held/";
/// Maximum number of different notifications that are listed; the rest are counted.
const MAX_HELD: usize = 500;
/// Maximum number of notifications held in full; the rest are held without details.
const MAX_HELD_IN_FULL: usize = 5;
/// Maximum number of IDs that are kept for deduplication.
const MAX_SEEN_IDS: usize = 2_000;
/// Maximum number of refusals that are kept; the oldest are dropped first.
const MAX_REFUSALS: usize = 20;

/// A held notification.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct HeldEntry {
    key: String,
    count: u64,
    first: Timestamp,
    last: Timestamp,
    notification: Notification,
    /// Fields of a newer release.
    #[serde(flatten)]
    rest: Map<String, Value>,
}

/// Notifications that are held for one destination.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct HeldNotifications {
    version: u32,
    to: Destination,
    form: Form,
    /// Time of sending. `None` if nothing is held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    until: Option<Timestamp>,
    #[serde(default)]
    entries: Vec<HeldEntry>,
    /// Number of notifications beyond [`MAX_HELD`].
    #[serde(default)]
    more: u64,
    /// IDs of the notifications that were held, latest last.
    #[serde(default)]
    seen: Vec<String>,
    #[serde(default)]
    refused: Vec<Refusal>,
    #[serde(default)]
    outbox: Outbox<Effect>,
    /// Fields of a newer release.
    #[serde(flatten)]
    rest: Map<String, Value>,
}

impl OutboxDocument for HeldNotifications {
    type Effect = Effect;
    type Done = EffectOutcome;

    fn outbox(&mut self) -> &mut Outbox<Effect> {
        &mut self.outbox
    }

    fn note(&mut self, effect: &Effect, done: EffectOutcome) {
        if let EffectOutcome::Refused(reason) = done
            && let Some(refusal) = Refusal::from_effect(effect, &reason)
        {
            push_bounded(&mut self.refused, refusal, MAX_REFUSALS);
        }
    }
}

impl HeldNotifications {
    /// The document of a destination without held notifications.
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
            rest: Map::new(),
        }
    }

    /// An empty document of the same destination.
    pub(crate) fn to_empty(&self) -> Self {
        Self::new(&self.to, self.form)
    }

    /// Key of the document of a destination.
    pub(crate) fn key(to: &Destination, form: Form) -> String {
        let name = format!("{} {}", form.as_str(), identity(to));
        let mut hash = hex::encode(Sha256::digest(name.as_bytes()));
        hash.truncate(16);
        format!("{FOLDER}{hash}.json")
    }

    /// Holds a notification. The same ID is held once.
    pub(crate) fn hold(&mut self, id: &str, key: &str, until: Timestamp, notification: &Notification, now: Timestamp) {
        if self.seen.iter().any(|seen| seen == id) {
            return;
        }
        push_bounded(&mut self.seen, id.to_owned(), MAX_SEEN_IDS);
        // A later notification does not delay those that are already held.
        self.until = Some(self.until.map_or(until, |earlier| earlier.min(until)));
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.key == key) {
            entry.count += 1;
            entry.last = now;
            return;
        }
        if self.entries.len() >= MAX_HELD {
            self.more += 1;
            return;
        }
        let mut notification = notification.clone();
        notification.remove_distances();
        if self.entries.len() >= MAX_HELD_IN_FULL {
            notification.facts.clear();
        }
        self.entries.push(HeldEntry {
            key: key.to_owned(),
            count: 1,
            first: now,
            last: now,
            notification,
            rest: Map::new(),
        });
    }

    /// Whether the next tick has to process the document.
    pub(crate) fn is_due(&self, now: Timestamp) -> bool {
        self.until.is_some_and(|until| until <= now) || !self.outbox.is_empty()
    }

    /// Adds the held notifications to the outbox if they are due.
    pub(crate) fn release(&mut self, caller: &Caller) {
        let Some(until) = self.until.filter(|until| *until <= caller.now) else {
            return;
        };
        self.until = None;
        let held = std::mem::take(&mut self.entries);
        let more = std::mem::take(&mut self.more);
        for notification in self.summarize(held, more, until) {
            let effect = Effect::Deliver {
                to: self.to.clone(),
                dedup_key: None,
                notification: Box::new(notification.clone()),
                pending_since: caller.now,
            };
            self.outbox
                .enqueue(format!("{} {}", notification.id, notification.thread), effect, caller);
        }
    }

    /// The notifications to send: one summary, or for PagerDuty one page per thread.
    fn summarize(&self, mut held: Vec<HeldEntry>, more: u64, until: Timestamp) -> Vec<Notification> {
        if matches!(self.to, Destination::PagerDuty { .. }) {
            return latest_per_thread(held);
        }
        if held.len() == 1 && held.iter().all(|entry| entry.count == 1) && more == 0 && self.form == Form::QuietHours {
            return held.pop().map(|entry| entry.notification).into_iter().collect();
        }
        let id = format!("{}-{}", self.form.as_str(), until.as_second());
        let mut summary = Notification::new(&id, self.form, until);
        let count: u64 = held.iter().map(|entry| entry.count).sum::<u64>() + more;
        let models = held.iter().filter_map(|entry| entry.notification.model.as_ref());
        let models = models.collect::<BTreeSet<_>>().len();
        let total = format!(
            "{} for {}",
            text::count(count, "notification"),
            text::count(models as u64, "model")
        );
        (summary.subject, summary.what) = match self.form {
            Form::Digest => (
                format!("digest: {total}"),
                format!("{total} since the last digest: {}.", count_by_kind(&held)),
            ),
            _ => (
                format!("{total} during quiet hours"),
                format!("{total} during quiet hours: {}.", count_by_kind(&held)),
            ),
        };
        let severities = held.iter().map(|entry| entry.notification.severity);
        summary.severity = severities.max().unwrap_or(NotificationSeverity::Info);
        summary.since = held.iter().map(|entry| entry.first).min();
        if more > 0 {
            summary.add_facts("Not listed", vec![text::count(more, "notification")]);
        }
        summary.add_next("Later notifications are sent as the policy specifies.");
        summary.add_action("Show the current state", &["driftwarden incidents".to_owned()]);
        summary.collected = held.into_iter().map(to_collected).collect();
        summary.limit_size();
        vec![summary]
    }
}

fn to_collected(entry: HeldEntry) -> Collected {
    let notification = entry.notification;
    Collected {
        kind: notification.kind,
        model: notification.model,
        thread: notification.thread,
        severity: notification.severity,
        subject: notification.subject,
        what: notification.what,
        count: entry.count,
        first: entry.first,
        last: entry.last,
    }
}

/// Number of notifications per kind, and number of repeats.
fn count_by_kind(held: &[HeldEntry]) -> String {
    let names = [
        (NotificationKind::Alert, "alert"),
        (NotificationKind::Health, "health change"),
        (NotificationKind::Decision, "decision"),
        (NotificationKind::Retraining, "retraining"),
        (NotificationKind::Experiment, "experiment change"),
        (NotificationKind::Baseline, "baseline change"),
        (NotificationKind::Incident, "closed incident"),
    ];
    let counts = names.map(|(kind, name)| {
        let of_kind = held.iter().filter(|entry| entry.notification.kind == Some(kind));
        (of_kind.count() as u64, name)
    });
    let mut parts: Vec<String> = counts
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, name)| text::count(count, name))
        .collect();
    let repeats: u64 = held.iter().map(|entry| entry.count - 1).sum();
    if repeats > 0 {
        parts.push(text::count(repeats, "repeat"));
    }
    parts.join(", ")
}

/// The latest notification of each thread, for PagerDuty: a problem that has ended in the meantime does not page.
fn latest_per_thread(held: Vec<HeldEntry>) -> Vec<Notification> {
    let mut latest: Vec<HeldEntry> = Vec::new();
    for entry in held {
        let before = latest
            .iter()
            .position(|known| known.notification.thread == entry.notification.thread);
        let before = before.map(|at| latest.remove(at));
        // An acknowledgement must not replace a page that was not sent yet.
        let acknowledges = entry.notification.status == ThreadStatus::InProgress;
        latest.push(before.filter(|_| acknowledges).unwrap_or(entry));
    }
    latest.into_iter().map(|entry| entry.notification).collect()
}
