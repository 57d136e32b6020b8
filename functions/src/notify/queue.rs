//! Notifications that wait for one destination: `notifications/destinations/{hash}.json` in the state bucket.
//!
//! A notification is sent at once. If that fails, it waits here, so a destination that does not respond delays no other.
//! Pauses between attempts grow, for the notification and for the destination: after [`BREAKER_FAILURES`] failures in a
//! row, one request per pause shows whether the destination responds again, and new notifications wait without an
//! attempt. Notifications of one thread are sent in order. A notification that could not be delivered within
//! [`RETRY_PERIOD`] is given up, and recorded. One invocation at a time sends from a document: it claims the document.

use crate::notify::{
    notification::Notification,
    threads::{identity, push_bounded},
};
use jiff::{SignedDuration, Timestamp};
use machine::{CLAIM, Caller, Outbox, OutboxDocument};
use remediation::Destination;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use std::time::Duration;

/// Folder of the documents in the state bucket.
pub(crate) const FOLDER: &str = "notifications/destinations/";
/// Period in which a failed delivery is retried.
pub(crate) const RETRY_PERIOD: SignedDuration = SignedDuration::from_hours(72);
/// Number of failures in a row after which new notifications wait without an attempt.
const BREAKER_FAILURES: u32 = 3;
/// Pause after the first failure. It doubles with each further one.
const FIRST_PAUSE: SignedDuration = SignedDuration::from_mins(1);
/// Maximum pause between two attempts of a notification.
const MAX_PAUSE: SignedDuration = SignedDuration::from_hours(4);
/// Maximum pause between two requests to a destination that fails. New notifications are tried at that rate.
const MAX_BREAKER_PAUSE: SignedDuration = SignedDuration::from_mins(30);
/// A destination that has failed for this long is reported through another one.
const REPORT_AFTER: SignedDuration = SignedDuration::from_hours(1);
/// Minimum period between two reports of lost notifications of a destination.
const REPORT_PERIOD: SignedDuration = SignedDuration::from_hours(24);
/// Time limit for a response, in seconds. After a request without a response it doubles, so that a slow receiver is not
/// sent the same notification again and again.
const RESPONSE_SECONDS: u64 = 10;
/// Maximum time limit for a response, in seconds.
const MAX_RESPONSE_SECONDS: u64 = 30;
/// Maximum number of pending notifications. Beyond it, the oldest is given up.
const MAX_PENDING: usize = 500;
/// Maximum number of pending notifications in full; the rest are stored without details.
const MAX_PENDING_IN_FULL: usize = 20;
/// Maximum number of undelivered notifications that are recorded; the oldest are dropped first.
const MAX_UNDELIVERED: usize = 20;
/// Maximum number of IDs that are kept for deduplication.
const MAX_SENT_IDS: usize = 200;

/// A notification that waits for its destination.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PendingNotification {
    /// ID of the delivery, unique for the destination.
    pub(crate) id: String,
    /// PagerDuty's `dedup_key`, if it is not the ID of the thread.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) dedup_key: Option<String>,
    pub(crate) notification: Box<Notification>,
    /// Time from which the notification is to be delivered.
    pub(crate) since: Timestamp,
    #[serde(default)]
    attempts: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    first_failure: Option<Timestamp>,
    next_attempt: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_error: Option<String>,
    /// Fields of a newer release.
    #[serde(flatten)]
    rest: Map<String, Value>,
}

impl PendingNotification {
    pub(crate) fn new(dedup_key: Option<&str>, notification: &Notification, since: Timestamp) -> Self {
        let mark = dedup_key.map_or("", |_| "/2");
        Self {
            id: format!("{}{mark}", notification.id),
            dedup_key: dedup_key.map(str::to_owned),
            notification: Box::new(notification.clone()),
            since,
            attempts: 0,
            first_failure: None,
            next_attempt: since,
            last_error: None,
            rest: Map::new(),
        }
    }
}

/// Failures of a destination without a success in between.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Outage {
    /// Time of the first failure.
    since: Timestamp,
    failures: u32,
    /// Time from which the destination is tried again, after [`BREAKER_FAILURES`] failures.
    next_attempt: Timestamp,
    last_error: String,
    /// Whether the outage was reported through another destination.
    #[serde(default)]
    reported: bool,
    /// Fields of a newer release.
    #[serde(flatten)]
    rest: Map<String, Value>,
}

/// A notification that was not delivered, and never will be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Undelivered {
    notification: String,
    subject: String,
    since: Timestamp,
    at: Timestamp,
    reason: String,
    /// Fields of a newer release.
    #[serde(flatten)]
    rest: Map<String, Value>,
}

/// The invocation that sends from the document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sender {
    by: String,
    until: Timestamp,
}

/// Outcome of one attempt to deliver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Attempt {
    /// The destination accepted the notification. Contains the time that it took.
    Delivered(SignedDuration),
    /// The destination refused the notification, and a retry would not help. Contains the reason.
    Refused(String),
    /// A later attempt may succeed.
    Failed {
        error: String,
        /// Whether the destination did not respond within the time limit.
        timed_out: bool,
    },
}

/// What operators have to be notified about through another destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Report {
    /// The destination has failed for an hour.
    Failing {
        since: Timestamp,
        attempts: u32,
        pending: usize,
        error: String,
    },
    /// Notifications were given up, or refused.
    Lost {
        count: u64,
        /// Time of the latest loss.
        at: Timestamp,
        /// Subjects and reasons, latest first.
        latest: Vec<(String, String)>,
    },
}

/// Notifications that wait for one destination.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DestinationQueue {
    version: u32,
    pub(crate) to: Destination,
    /// Pending notifications, oldest first.
    #[serde(default)]
    pending: Vec<PendingNotification>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    outage: Option<Outage>,
    /// Time limit for a response of this destination, in seconds.
    #[serde(default = "response_seconds")]
    response_seconds: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sender: Option<Sender>,
    /// IDs of deliveries that left the document, latest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    ended: Vec<String>,
    /// Notifications that were given up or refused, latest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    undelivered: Vec<Undelivered>,
    /// Number of undelivered notifications that were not reported yet.
    #[serde(default)]
    unreported: u64,
    /// Time of the latest report of undelivered notifications.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    loss_reported_at: Option<Timestamp>,
    /// Always empty: this document has no effects.
    #[serde(default)]
    outbox: Outbox<()>,
    /// Fields of a newer release.
    #[serde(flatten)]
    rest: Map<String, Value>,
}

fn response_seconds() -> u64 {
    RESPONSE_SECONDS
}

impl OutboxDocument for DestinationQueue {
    type Effect = ();
    type Done = ();

    fn outbox(&mut self) -> &mut Outbox<()> {
        &mut self.outbox
    }
}

impl DestinationQueue {
    /// The document of a destination without pending notifications.
    pub(crate) fn new(to: &Destination) -> Self {
        Self {
            version: 1,
            to: to.clone(),
            pending: Vec::new(),
            outage: None,
            response_seconds: RESPONSE_SECONDS,
            sender: None,
            ended: Vec::new(),
            undelivered: Vec::new(),
            unreported: 0,
            loss_reported_at: None,
            outbox: Outbox::default(),
            rest: Map::new(),
        }
    }

    /// Key of the document of a destination.
    pub(crate) fn key(to: &Destination) -> String {
        let mut hash = hex::encode(Sha256::digest(identity(to).as_bytes()));
        hash.truncate(16);
        format!("{FOLDER}{hash}.json")
    }

    /// Time limit for a response of the destination.
    pub(crate) fn response_limit(&self) -> Duration {
        Duration::from_secs(self.response_seconds.clamp(1, MAX_RESPONSE_SECONDS))
    }

    /// Number of pending notifications.
    pub(crate) fn pending_count(&self) -> usize {
        self.pending.len()
    }

    /// Whether the delivery with this ID is pending.
    pub(crate) fn is_pending(&self, id: &str) -> bool {
        self.pending.iter().any(|pending| pending.id == id)
    }

    /// Whether the delivery with this ID was pending, and ended.
    pub(crate) fn has_ended(&self, id: &str) -> bool {
        self.ended.iter().any(|ended| ended == id)
    }

    /// Whether earlier notifications of a thread are pending, so that a new one must not overtake them.
    pub(crate) fn has_thread(&self, thread: &str) -> bool {
        self.pending.iter().any(|pending| pending.notification.thread == thread)
    }

    /// Whether the destination failed repeatedly, so that new notifications wait without an attempt.
    pub(crate) fn is_broken(&self) -> bool {
        self.outage
            .as_ref()
            .is_some_and(|outage| outage.failures >= BREAKER_FAILURES)
    }

    /// Whether the last request failed.
    pub(crate) fn is_failing(&self) -> bool {
        self.outage.is_some()
    }

    /// Whether a delivery with this outcome changes the document of a destination without pending notifications.
    pub(crate) fn learns_from(&self, attempt: &Attempt) -> bool {
        let mut after = self.clone();
        after.note_response(attempt, Timestamp::MIN);
        after != *self
    }

    /// Adds a notification. The same ID is added once.
    pub(crate) fn add(&mut self, mut pending: PendingNotification, now: Timestamp) {
        if self.is_pending(&pending.id) || self.has_ended(&pending.id) {
            return;
        }
        if self.pending.len() >= MAX_PENDING_IN_FULL {
            pending.notification.facts.clear();
        }
        self.pending.push(pending);
        if self.pending.len() > MAX_PENDING {
            let oldest = self.pending.remove(0);
            self.lose(
                &oldest,
                format!("more than {MAX_PENDING} notifications were pending"),
                now,
            );
        }
    }

    /// Lets the notifications of a thread be sent without a further pause.
    pub(crate) fn hurry(&mut self, thread: &str, now: Timestamp) {
        for pending in &mut self.pending {
            if pending.notification.thread == thread {
                pending.next_attempt = pending.next_attempt.min(now);
            }
        }
    }

    /// Whether a tick has to process the document.
    pub(crate) fn has_work(&self, now: Timestamp) -> bool {
        self.next_due(now).is_some()
            || self.pending.iter().any(|pending| self.is_expired(pending, now))
            || !self.reports(now).is_empty()
    }

    /// Claims the document for a caller, for longer than Lambda lets notify run. Returns false if another invocation sends from it.
    pub(crate) fn claim(&mut self, caller: &Caller, now: Timestamp) -> bool {
        let is_foreign = |sender: &Sender| sender.by != caller.id && sender.until > now;
        if self.sender.as_ref().is_some_and(is_foreign) {
            return false;
        }
        self.sender = Some(Sender {
            by: caller.id.clone(),
            until: now.saturating_add(CLAIM).unwrap_or(Timestamp::MAX),
        });
        true
    }

    /// Ends the claim of a caller, and gives up what was not delivered within [`RETRY_PERIOD`].
    pub(crate) fn release(&mut self, caller: &Caller, now: Timestamp) {
        if self.sender.as_ref().is_some_and(|sender| sender.by == caller.id) {
            self.sender = None;
        }
        let all = std::mem::take(&mut self.pending).into_iter();
        let (expired, pending): (Vec<_>, Vec<_>) = all.partition(|pending| self.is_expired(pending, now));
        self.pending = pending;
        let hours = RETRY_PERIOD.as_hours();
        for pending in expired {
            let outage = self.outage.as_ref().map(|outage| outage.last_error.clone());
            let error = pending.last_error.clone().or(outage).unwrap_or_default();
            self.lose(&pending, format!("gave up after {hours} h: {error}"), now);
        }
    }

    /// A notification is given up only while its destination fails.
    fn is_expired(&self, pending: &PendingNotification, now: Timestamp) -> bool {
        self.outage.is_some() && now.duration_since(pending.since) >= RETRY_PERIOD
    }

    /// The notification to send next: the oldest one whose pause has ended, and that overtakes none of its thread.
    pub(crate) fn next_due(&self, now: Timestamp) -> Option<&PendingNotification> {
        let rests = |outage: &Outage| outage.failures >= BREAKER_FAILURES && outage.next_attempt > now;
        if self.outage.as_ref().is_some_and(rests) {
            return None;
        }
        self.pending.iter().enumerate().find_map(|(at, pending)| {
            let thread = &pending.notification.thread;
            let mut earlier = self.pending.iter().take(at);
            let is_first = earlier.all(|other| other.notification.thread != *thread);
            (is_first && pending.next_attempt <= now).then_some(pending)
        })
    }

    /// Records the outcome of an attempt to deliver a pending notification.
    pub(crate) fn record(&mut self, id: &str, attempt: &Attempt, now: Timestamp) {
        self.note_response(attempt, now);
        let Some(at) = self.pending.iter().position(|pending| pending.id == id) else {
            return;
        };
        match attempt {
            Attempt::Delivered(_) => {
                self.pending.remove(at);
                push_bounded(&mut self.ended, id.to_owned(), MAX_SENT_IDS);
            }
            Attempt::Refused(reason) => {
                let refused = self.pending.remove(at);
                self.lose(&refused, reason.clone(), now);
            }
            Attempt::Failed { error, .. } => {
                if let Some(pending) = self.pending.get_mut(at) {
                    pending.attempts = pending.attempts.saturating_add(1);
                    pending.first_failure = pending.first_failure.or(Some(now));
                    pending.next_attempt = after(now, pause(pending.attempts, MAX_PAUSE));
                    pending.last_error = Some(error.clone());
                }
            }
        }
    }

    /// Updates what is known about the destination.
    pub(crate) fn note_response(&mut self, attempt: &Attempt, now: Timestamp) {
        match attempt {
            Attempt::Failed { error, timed_out } => {
                if *timed_out {
                    self.response_seconds = self.response_seconds.saturating_mul(2).min(MAX_RESPONSE_SECONDS);
                }
                let outage = self.outage.get_or_insert_with(|| Outage {
                    since: now,
                    failures: 0,
                    next_attempt: now,
                    last_error: String::new(),
                    reported: false,
                    rest: Map::new(),
                });
                outage.failures = outage.failures.saturating_add(1);
                outage.next_attempt = after(now, pause(outage.failures, MAX_BREAKER_PAUSE));
                outage.last_error.clone_from(error);
            }
            Attempt::Delivered(_) | Attempt::Refused(_) => {
                if let Attempt::Delivered(duration) = attempt
                    && duration.as_secs() < i64::try_from(RESPONSE_SECONDS / 2).unwrap_or(i64::MAX)
                {
                    self.response_seconds = RESPONSE_SECONDS;
                }
                // The destination responds again: nothing that is pending has to wait any longer.
                if self.outage.take().is_some() {
                    for pending in &mut self.pending {
                        pending.next_attempt = pending.next_attempt.min(now);
                    }
                }
            }
        }
    }

    fn lose(&mut self, pending: &PendingNotification, reason: String, now: Timestamp) {
        push_bounded(&mut self.ended, pending.id.clone(), MAX_SENT_IDS);
        self.unreported = self.unreported.saturating_add(1);
        let undelivered = Undelivered {
            notification: pending.notification.id.clone(),
            subject: pending.notification.subject.clone(),
            since: pending.since,
            at: now,
            reason,
            rest: Map::new(),
        };
        push_bounded(&mut self.undelivered, undelivered, MAX_UNDELIVERED);
    }

    /// What has to be reported through another destination.
    pub(crate) fn reports(&self, now: Timestamp) -> Vec<Report> {
        let mut reports = Vec::new();
        if let Some(outage) = &self.outage
            && !outage.reported
            && now.duration_since(outage.since) >= REPORT_AFTER
        {
            reports.push(Report::Failing {
                since: outage.since,
                attempts: outage.failures,
                pending: self.pending.len(),
                error: outage.last_error.clone(),
            });
        }
        let recent = |at: Timestamp| now.duration_since(at) < REPORT_PERIOD;
        if self.unreported > 0 && !self.loss_reported_at.is_some_and(recent) {
            let latest = self.undelivered.iter().rev();
            let latest = latest.map(|lost| (lost.subject.clone(), lost.reason.clone()));
            let listed = usize::try_from(self.unreported).unwrap_or(usize::MAX);
            reports.push(Report::Lost {
                count: self.unreported,
                at: self.undelivered.last().map_or(now, |lost| lost.at),
                latest: latest.take(listed).collect(),
            });
        }
        reports
    }

    /// Records that a report was added to another destination.
    pub(crate) fn reported(&mut self, report: &Report, now: Timestamp) {
        match report {
            Report::Failing { .. } => {
                if let Some(outage) = &mut self.outage {
                    outage.reported = true;
                }
            }
            Report::Lost { count, .. } => {
                self.unreported = self.unreported.saturating_sub(*count);
                self.loss_reported_at = Some(now);
            }
        }
    }
}

/// Pause after a number of failures.
fn pause(failures: u32, max_pause: SignedDuration) -> SignedDuration {
    let factor = 1_i32 << failures.saturating_sub(1).min(16);
    FIRST_PAUSE.saturating_mul(factor).min(max_pause)
}

fn after(now: Timestamp, pause: SignedDuration) -> Timestamp {
    now.saturating_add(pause).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::notification::Form;

    const FAILED: fn() -> Attempt = || Attempt::Failed {
        error: "status 503".to_owned(),
        timed_out: false,
    };

    fn pending(id: &str, thread: &str, now: Timestamp) -> PendingNotification {
        let mut notification = Notification::new(id, Form::Single, now);
        thread.clone_into(&mut notification.thread);
        PendingNotification::new(None, &notification, now)
    }

    fn queue() -> DestinationQueue {
        DestinationQueue::new(&Destination::SnsText { topic: None })
    }

    fn due(queue: &DestinationQueue, now: Timestamp) -> Option<&str> {
        queue.next_due(now).map(|pending| pending.id.as_str())
    }

    #[test]
    fn pauses_grow_to_a_maximum() {
        let pauses: Vec<i64> = (1..=10).map(|failures| pause(failures, MAX_PAUSE).as_mins()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 128, 240, 240]);
        assert_eq!(pause(u32::MAX, MAX_BREAKER_PAUSE), MAX_BREAKER_PAUSE);
    }

    #[test]
    fn three_failures_in_a_row_stop_all_attempts_until_a_success() {
        let (mut queue, now) = (queue(), Timestamp::UNIX_EPOCH);
        for id in ["a", "b", "c", "d", "e"] {
            queue.add(pending(id, id, now), now);
        }
        for id in ["a", "b", "c"] {
            assert_eq!(due(&queue, now), Some(id));
            queue.record(id, &FAILED(), now);
        }
        assert!(queue.is_broken() && queue.next_due(now).is_none());
        let later = now + SignedDuration::from_mins(4);
        assert_eq!(due(&queue, later), Some("a"));
        queue.record("a", &Attempt::Delivered(SignedDuration::ZERO), later);
        assert!(!queue.is_failing());
        assert_eq!(due(&queue, later), Some("b"), "nothing waits after a success");
    }

    #[test]
    fn notification_does_not_overtake_its_thread() {
        let (mut queue, now) = (queue(), Timestamp::UNIX_EPOCH);
        queue.add(pending("trigger", "churn", now), now);
        queue.record("trigger", &FAILED(), now);
        queue.add(pending("resolve", "churn", now), now);
        assert_eq!(due(&queue, now), None);
        queue.add(pending("other", "fraud", now), now);
        assert_eq!(due(&queue, now), Some("other"));
        queue.hurry("churn", now);
        assert_eq!(due(&queue, now), Some("trigger"));
    }

    #[test]
    fn ended_delivery_is_not_added_again() {
        let (mut queue, now) = (queue(), Timestamp::UNIX_EPOCH);
        queue.add(pending("a", "a", now), now);
        queue.record("a", &Attempt::Delivered(SignedDuration::ZERO), now);
        queue.add(pending("a", "a", now), now);
        assert_eq!(queue.pending_count(), 0);
    }

    #[test]
    fn document_is_bounded() {
        let (mut queue, now) = (queue(), Timestamp::UNIX_EPOCH);
        let mut large = pending("0", "0", now);
        large.notification.add_facts("Facts", vec!["x".repeat(30_000)]);
        for id in 0..2_000 {
            large.id = id.to_string();
            queue.add(large.clone(), now);
        }
        assert_eq!(queue.pending_count(), MAX_PENDING);
        assert!(serde_json::to_vec(&queue).unwrap().len() < 2 << 20);
        assert!(matches!(
            &queue.reports(now)[..],
            [Report::Lost { count: 1_500, latest, .. }] if latest.len() == MAX_UNDELIVERED
        ));
    }

    #[test]
    fn one_invocation_at_a_time_sends() {
        let (mut queue, now) = (queue(), Timestamp::UNIX_EPOCH);
        let caller = |id: &str| Caller { id: id.to_owned(), now };
        assert!(queue.claim(&caller("one"), now));
        assert!(queue.claim(&caller("one"), now), "the retry of an invocation continues");
        assert!(!queue.claim(&caller("two"), now));
        let later = now + CLAIM;
        assert!(queue.claim(&caller("two"), later), "the first invocation has ended");
        queue.release(&caller("one"), later);
        assert!(!queue.claim(&caller("three"), later));
    }
}
