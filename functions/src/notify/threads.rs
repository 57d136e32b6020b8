//! Threads, repeats, and pending deliveries of one model: `notifications/models/{model}.json` in the state bucket.
//!
//! One incident is one thread: the alerts that open it, its decisions, the retraining, the experiment of the new model,
//! and the end. A notification that repeats within an open incident, or within an hour, is counted and not sent. The
//! count is included in the next message of the thread, at its end, in a digest, or in a separate message one hour
//! after the last repeat. A document changes only by conditional writes. It contains its pending effects (see the crate
//! `outbox`), one per destination.

use crate::notify::{
    notification::{Form, Notification, Repeat, ThreadStatus},
    words::{IncomingNotification, ThreadScope},
};
use jiff::{SignedDuration, Timestamp};
use machine::{Caller, Outbox, OutboxDocument};
use remediation::{Destination, NotificationKind, NotificationRoute, NotificationSeverity};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// Period in which the same notification is a repeat if no incident is open.
const REPEAT_PERIOD: SignedDuration = SignedDuration::from_hours(1);
/// Maximum age of an undecided alert that joins the incident of a decision.
const MAX_UNDECIDED_AGE: SignedDuration = SignedDuration::from_hours(24);
/// Maximum number of event IDs that are kept for deduplication.
const MAX_SEEN_IDS: usize = 2_000;
/// Maximum number of threads that are kept; the oldest are dropped first.
const MAX_THREADS: usize = 20;
/// Maximum number of sent notifications whose repeats are counted.
const MAX_SENT: usize = 200;
/// Maximum number of refusals that are kept; the oldest are dropped first.
const MAX_REFUSALS: usize = 20;

/// A pending effect.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "effect", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub(crate) enum Effect {
    /// A notification to a destination.
    Deliver {
        to: Destination,
        /// PagerDuty's `dedup_key`, if it is not the ID of the thread.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        dedup_key: Option<String>,
        notification: Box<Notification>,
        #[serde(rename = "owedSince")]
        pending_since: Timestamp,
    },
    /// A notification to hold for a destination, and to send in a summary later.
    Hold {
        id: String,
        to: Destination,
        form: Form,
        until: Timestamp,
        /// Deduplication key: notifications with the same key are listed once, with a count.
        key: String,
        notification: Box<Notification>,
    },
    /// The model is added to those that the next tick processes.
    #[serde(rename = "remember")]
    MarkPending,
}

/// Outcome of executing an effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum EffectOutcome {
    /// The effect was executed.
    Done,
    /// The destination refused the notification, and a retry would not help. The string is the reason.
    Refused(String),
}

/// A notification that its destination refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Refusal {
    pub(crate) notification: String,
    pub(crate) destination: String,
    pub(crate) reason: String,
    /// Fields of a newer release.
    #[serde(flatten)]
    rest: Map<String, Value>,
}

impl Refusal {
    /// `None` if the effect is not a delivery.
    pub(crate) fn from_effect(effect: &Effect, reason: &str) -> Option<Self> {
        let Effect::Deliver { to, notification, .. } = effect else {
            return None;
        };
        Some(Self {
            notification: notification.id.clone(),
            destination: to.to_string(),
            reason: reason.to_owned(),
            rest: Map::new(),
        })
    }
}

/// Appends an item, and drops the oldest items beyond a maximum length.
pub(crate) fn push_bounded<T>(list: &mut Vec<T>, item: T, max_items: usize) {
    list.push(item);
    let excess = list.len().saturating_sub(max_items);
    list.drain(..excess);
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum ThreadKind {
    Incident,
    Health,
    Experiment,
}

/// Notifications that belong together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Thread {
    id: String,
    kind: ThreadKind,
    /// Time of the last event of the thread.
    last: Timestamp,
    #[serde(default)]
    closed: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    incident: Option<String>,
    /// Pipeline executions of the incident.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    executions: BTreeSet<String>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    experiments: BTreeSet<String>,
    /// Destinations that received a notification of the thread.
    #[serde(default, rename = "toldTo", skip_serializing_if = "BTreeSet::is_empty")]
    recipients: BTreeSet<String>,
    /// Whether PagerDuty's alert is acknowledged, because Driftwarden is responding. It does not page again.
    #[serde(default)]
    acknowledged: bool,
    /// Whether a second alert was triggered after the acknowledgement.
    #[serde(default)]
    paged_again: bool,
    /// Fields of a newer release.
    #[serde(flatten)]
    rest: Map<String, Value>,
}

impl Thread {
    fn new(id: String, kind: ThreadKind, now: Timestamp) -> Self {
        Self {
            id,
            kind,
            last: now,
            closed: false,
            incident: None,
            executions: BTreeSet::new(),
            experiments: BTreeSet::new(),
            recipients: BTreeSet::new(),
            acknowledged: false,
            paged_again: false,
            rest: Map::new(),
        }
    }

    /// PagerDuty's `dedup_key` of the second alert, after the acknowledgement.
    fn second_key(&self) -> String {
        format!("{}/2", self.id)
    }

    fn has_open_incident(&self) -> bool {
        !self.closed && self.incident.is_some()
    }
}

/// A notification that was sent, and the number of its repeats.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SentNotification {
    key: String,
    thread: String,
    kind: NotificationKind,
    severity: NotificationSeverity,
    what: String,
    /// Time of sending.
    at: Timestamp,
    /// Number of repeats since it was first sent.
    #[serde(default)]
    count: u64,
    /// Time of the latest repeat.
    last: Timestamp,
    /// Number of these repeats that each destination has received.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    counted: BTreeMap<String, u64>,
    /// Fields of a newer release.
    #[serde(flatten)]
    rest: Map<String, Value>,
}

/// Threads, repeats, and pending deliveries of one model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Threads {
    version: u32,
    model: String,
    /// IDs of the events that were processed, latest last.
    #[serde(default)]
    seen: Vec<String>,
    #[serde(default)]
    known: Vec<Thread>,
    #[serde(default, rename = "told")]
    sent: Vec<SentNotification>,
    /// Whether the ticks process the model.
    #[serde(default, rename = "remembered")]
    is_pending: bool,
    /// Refused deliveries, latest last.
    #[serde(default)]
    refused: Vec<Refusal>,
    #[serde(default)]
    outbox: Outbox<Effect>,
    /// Fields of a newer release.
    #[serde(flatten)]
    rest: Map<String, Value>,
}

impl OutboxDocument for Threads {
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

/// Outcome of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// The event was processed before.
    Duplicate,
    /// The notification repeats an earlier one, and is counted.
    Repeat,
    /// Number of destinations of the notification; 0 if no `[[notification]]` table matches it.
    Sent(usize),
}

impl Threads {
    /// The document of a model without notifications.
    pub(crate) fn new(model: &str) -> Self {
        Self {
            version: 1,
            model: model.to_owned(),
            seen: Vec::new(),
            known: Vec::new(),
            sent: Vec::new(),
            is_pending: false,
            refused: Vec::new(),
            outbox: Outbox::default(),
            rest: Map::new(),
        }
    }

    /// Key of the document in the state bucket.
    pub(crate) fn key(model: &str) -> String {
        format!("notifications/models/{model}.json")
    }

    /// Applies an event, and adds the deliveries that follow from it to the outbox.
    pub(crate) fn apply(
        &mut self,
        incoming: &IncomingNotification,
        routes: &[NotificationRoute],
        caller: &Caller,
    ) -> Delivery {
        let now = caller.now;
        let mut notification = incoming.notification.clone();
        if self.seen.contains(&notification.id) {
            return Delivery::Duplicate;
        }
        push_bounded(&mut self.seen, notification.id.clone(), MAX_SEEN_IDS);
        let mut thread = self.take_thread(incoming, now);
        thread.last = now;
        notification.thread.clone_from(&thread.id);
        if notification.incident_id.is_none() {
            notification.incident_id.clone_from(&thread.incident);
        }
        let closes_incident = notification.kind == Some(NotificationKind::Incident);
        // The thread stays open while its incident is open.
        if thread.kind == ThreadKind::Incident
            && notification.status == ThreadStatus::Closed
            && !closes_incident
            && thread.incident.is_some()
        {
            notification.status = ThreadStatus::Note;
        }
        let repeated = incoming.key.as_ref().filter(|key| self.is_repeat(key, &thread, now));
        let delivery = if incoming.silent {
            Delivery::Sent(0)
        } else if let Some(key) = repeated {
            self.count_repeat(key, &notification, routes, caller);
            Delivery::Repeat
        } else {
            let destinations = self.send(&notification, incoming.key.as_deref(), &mut thread, routes, caller);
            if let Some(key) = &incoming.key {
                self.record_sent(key, &notification, now);
            }
            Delivery::Sent(destinations)
        };
        if notification.status == ThreadStatus::Closed && (closes_incident || thread.kind != ThreadKind::Incident) {
            thread.closed = true;
        }
        push_bounded(&mut self.known, thread, MAX_THREADS);
        self.prune_sent(routes, now);
        delivery
    }

    /// Takes the thread of an event out of the list, or creates it.
    fn take_thread(&mut self, incoming: &IncomingNotification, now: Timestamp) -> Thread {
        let within = |thread: &Thread, limit: SignedDuration| now.duration_since(thread.last) < limit;
        let model = &incoming.model;
        let position = |fits: &dyn Fn(&Thread) -> bool| self.known.iter().rposition(fits);
        let incident = |thread: &Thread| thread.kind == ThreadKind::Incident && !thread.closed;
        let found = match &incoming.scope {
            ThreadScope::Alert => {
                position(&|thread| incident(thread) && (thread.incident.is_some() || within(thread, REPEAT_PERIOD)))
            }
            ThreadScope::Incident { id, .. } => {
                position(&|thread| thread.incident.as_ref() == Some(id)).or_else(|| {
                    position(&|thread| {
                        incident(thread) && thread.incident.is_none() && within(thread, MAX_UNDECIDED_AGE)
                    })
                })
            }
            ThreadScope::Health { schedule } => {
                let id = health_id(model, schedule);
                position(&|thread| thread.id == id)
            }
            ThreadScope::Experiment { id, execution } => position(&|thread| {
                thread.experiments.contains(id)
                    || execution
                        .as_ref()
                        .is_some_and(|execution| thread.executions.contains(execution))
            }),
        };
        let mut thread = match (found, &incoming.scope) {
            (Some(at), _) => self.known.remove(at),
            (None, ThreadScope::Alert) => Thread::new(
                format!("{model}/{}", incoming.notification.id),
                ThreadKind::Incident,
                now,
            ),
            (None, ThreadScope::Incident { id, .. }) => Thread::new(id.clone(), ThreadKind::Incident, now),
            (None, ThreadScope::Health { schedule }) => {
                Thread::new(health_id(model, schedule), ThreadKind::Health, now)
            }
            (None, ThreadScope::Experiment { id, .. }) => Thread::new(id.clone(), ThreadKind::Experiment, now),
        };
        match &incoming.scope {
            ThreadScope::Incident { id, execution } => {
                thread.incident = Some(id.clone());
                thread.executions.extend(execution.clone());
            }
            ThreadScope::Experiment { id, .. } => {
                thread.experiments.insert(id.clone());
            }
            ThreadScope::Health { .. } if thread.closed => {
                thread.closed = false;
                thread.recipients.clear();
            }
            ThreadScope::Alert | ThreadScope::Health { .. } => {}
        }
        thread
    }

    /// Whether a notification with the same key was sent in the same open incident, or within the last hour.
    fn is_repeat(&self, key: &str, thread: &Thread, now: Timestamp) -> bool {
        let sent = self.sent.iter().find(|sent| sent.key == key);
        sent.is_some_and(|sent| {
            let same_incident = sent.thread == thread.id && thread.has_open_incident();
            same_incident || now.duration_since(sent.at) < REPEAT_PERIOD
        })
    }

    fn record_sent(&mut self, key: &str, notification: &Notification, now: Timestamp) {
        let Some(kind) = notification.kind else { return };
        let before = self.sent.iter().position(|sent| sent.key == key);
        let mut sent = match before {
            Some(at) => self.sent.remove(at),
            None => SentNotification {
                key: key.to_owned(),
                thread: String::new(),
                kind,
                severity: notification.severity,
                what: notification.subject.clone(),
                at: now,
                count: 0,
                last: now,
                counted: BTreeMap::new(),
                rest: Map::new(),
            },
        };
        sent.thread.clone_from(&notification.thread);
        sent.what.clone_from(&notification.subject);
        sent.at = now;
        push_bounded(&mut self.sent, sent, MAX_SENT);
    }

    /// Counts a repeat. A digest counts separately; for the other destinations, the ticks send the count.
    fn count_repeat(&mut self, key: &str, notification: &Notification, routes: &[NotificationRoute], caller: &Caller) {
        if let Some(sent) = self.sent.iter_mut().find(|sent| sent.key == key) {
            sent.count += 1;
            sent.last = caller.now;
        }
        for route in self.matching_routes(notification, routes, &BTreeSet::new()) {
            if let (Some(until), true) = (
                route.held_until(notification.severity, caller.now),
                route.digest.is_some(),
            ) {
                self.hold(route, until, key, notification, caller);
            }
        }
        self.mark_pending(caller);
    }

    /// Lets the ticks process the model.
    fn mark_pending(&mut self, caller: &Caller) {
        if !self.is_pending {
            self.is_pending = true;
            self.outbox.enqueue("remember", Effect::MarkPending, caller);
        }
    }

    /// The first `[[notification]]` table per destination that matches a notification. A destination that received a
    /// notification of the thread also receives its end.
    fn matching_routes<'a>(
        &self,
        notification: &Notification,
        routes: &'a [NotificationRoute],
        recipients: &BTreeSet<String>,
    ) -> Vec<&'a NotificationRoute> {
        let mut matching: Vec<&NotificationRoute> = Vec::new();
        for route in routes {
            let matches = notification
                .kind
                .is_some_and(|kind| route.matches(&self.model, kind, notification.severity));
            let ends = notification.status == ThreadStatus::Closed && recipients.contains(&destination_name(route));
            // PagerDuty does not get notifications that are for information only.
            let pages = matches!(route.destination, Destination::PagerDuty { .. });
            let idle = pages && notification.status == ThreadStatus::Note;
            let first = matching
                .iter()
                .all(|other| destination_name(other) != destination_name(route));
            if (matches || ends) && !idle && first {
                matching.push(route);
            }
        }
        matching
    }

    /// Adds the deliveries of a notification to the outbox, and returns the number of destinations.
    fn send(
        &mut self,
        notification: &Notification,
        key: Option<&str>,
        thread: &mut Thread,
        routes: &[NotificationRoute],
        caller: &Caller,
    ) -> usize {
        let matching = self.matching_routes(notification, routes, &thread.recipients);
        // An acknowledged PagerDuty alert does not page again: a second alert does.
        let again = thread.acknowledged
            && notification.status == ThreadStatus::Open
            && notification.kind != Some(NotificationKind::Alert);
        for route in &matching {
            thread.recipients.insert(destination_name(route));
            if let Some(until) = route.held_until(notification.severity, caller.now) {
                self.hold(route, until, key.unwrap_or(&notification.id), notification, caller);
                continue;
            }
            let mut own = notification.clone();
            own.repeats = self.take_repeats(route, None);
            let pages = matches!(route.destination, Destination::PagerDuty { .. });
            let second_key = || thread.second_key();
            let dedup_key = (pages && again).then(second_key);
            self.deliver(&route.destination, dedup_key, &own, caller);
            if pages && thread.paged_again && notification.status == ThreadStatus::Closed {
                self.deliver(&route.destination, Some(second_key()), &own, caller);
            }
        }
        thread.acknowledged |= notification.status == ThreadStatus::InProgress;
        thread.paged_again |= again;
        matching.len()
    }

    fn deliver(&mut self, to: &Destination, dedup_key: Option<String>, notification: &Notification, caller: &Caller) {
        let mark = dedup_key.as_ref().map_or("", |_| "/2");
        let effect = Effect::Deliver {
            to: to.clone(),
            dedup_key,
            notification: Box::new(notification.clone()),
            pending_since: caller.now,
        };
        let id = format!("{}{mark} {}", notification.id, identity(to));
        self.outbox.enqueue(id, effect, caller);
    }

    fn hold(
        &mut self,
        route: &NotificationRoute,
        until: Timestamp,
        key: &str,
        notification: &Notification,
        caller: &Caller,
    ) {
        let id = format!("hold {} {}", notification.id, destination_name(route));
        let form = if route.digest.is_some() {
            Form::Digest
        } else {
            Form::QuietHours
        };
        let effect = Effect::Hold {
            id: id.clone(),
            to: route.destination.clone(),
            form,
            until,
            key: key.to_owned(),
            notification: Box::new(notification.clone()),
        };
        self.outbox.enqueue(id, effect, caller);
    }

    /// Takes the repeats that a destination has not received yet. With a time, only those that are due in a separate
    /// message.
    fn take_repeats(&mut self, route: &NotificationRoute, due: Option<Timestamp>) -> Vec<Repeat> {
        let destination = destination_name(route);
        let open: BTreeSet<String> = self.open_incidents();
        let mut repeats = Vec::new();
        for sent in &mut self.sent {
            let waits =
                due.is_some_and(|now| open.contains(&sent.thread) || now.duration_since(sent.last) < REPEAT_PERIOD);
            let counted = sent.counted.get(&destination).copied().unwrap_or(0);
            if waits || sent.count <= counted || !route.matches(&self.model, sent.kind, sent.severity) {
                continue;
            }
            sent.counted.insert(destination.clone(), sent.count);
            repeats.push(Repeat {
                what: sent.what.clone(),
                count: sent.count - counted,
                last: sent.last,
            });
        }
        repeats
    }

    fn open_incidents(&self) -> BTreeSet<String> {
        let open = self.known.iter().filter(|thread| thread.has_open_incident());
        open.map(|thread| thread.id.clone()).collect()
    }

    /// Whether a destination has not received all repeats yet.
    fn has_repeats(&self, sent: &SentNotification, routes: &[NotificationRoute]) -> bool {
        let mut counting = routes.iter().filter(|route| receives_counts(route));
        counting.any(|route| {
            let counted = sent.counted.get(&destination_name(route)).copied().unwrap_or(0);
            sent.count > counted && route.matches(&self.model, sent.kind, sent.severity)
        })
    }

    /// Removes sent notifications that can have no repeats any more.
    fn prune_sent(&mut self, routes: &[NotificationRoute], now: Timestamp) {
        let open = self.open_incidents();
        let keeps: Vec<bool> = self
            .sent
            .iter()
            .map(|sent| {
                let recent =
                    now.duration_since(sent.at) < REPEAT_PERIOD || now.duration_since(sent.last) < REPEAT_PERIOD;
                recent || open.contains(&sent.thread) || self.has_repeats(sent, routes)
            })
            .collect();
        let mut keeps = keeps.into_iter();
        self.sent.retain(|_| keeps.next().unwrap_or(true));
    }

    /// Sends the counts whose hour has passed, unless a message of an open incident will include them. Returns whether
    /// the next tick has to process the model again.
    pub(crate) fn tick(&mut self, routes: &[NotificationRoute], caller: &Caller) -> bool {
        let now = caller.now;
        let mut recipients: BTreeSet<String> = BTreeSet::new();
        for route in routes.iter().filter(|route| receives_counts(route)) {
            let held = route.held_until(NotificationSeverity::Info, now).is_some();
            if held || !recipients.insert(destination_name(route)) {
                continue;
            }
            let repeats = self.take_repeats(route, Some(now));
            let Some(last) = repeats.iter().map(|repeat| repeat.last).max() else {
                continue;
            };
            let notification = self.repeats_notification(repeats, last);
            self.deliver(&route.destination, None, &notification, caller);
        }
        self.prune_sent(routes, now);
        let waits = self.sent.iter().any(|sent| self.has_repeats(sent, routes));
        self.is_pending = waits || !self.outbox.is_empty();
        self.is_pending
    }

    /// A separate notification with the numbers of repeats.
    fn repeats_notification(&self, repeats: Vec<Repeat>, last: Timestamp) -> Notification {
        let id = format!("repeats-{}-{}", self.model, last.as_second());
        let mut notification = Notification::new(&id, Form::Repeats, last);
        let count: u64 = repeats.iter().map(|repeat| repeat.count).sum();
        notification.model = Some(self.model.clone());
        if let Some(sent) = self.sent.iter().rev().find(|sent| sent.last == last) {
            notification.thread.clone_from(&sent.thread);
            notification.kind = Some(sent.kind);
            notification.severity = sent.severity;
        }
        let count = text::count(count, "repeat");
        notification.subject = format!("{}: {count} of earlier notifications", self.model);
        notification.what = format!(
            "{} had {count} of earlier notifications. They were counted, not sent.",
            self.model
        );
        notification.repeats = repeats;
        notification.add_next("The next repeat is sent as a new notification.");
        notification.add_action(
            "Show the current state",
            &[format!("driftwarden incidents {}", self.model)],
        );
        notification.limit_size();
        notification
    }
}

/// Whether a table receives counts of repeats. A digest counts separately, and PagerDuty gets no counts.
fn receives_counts(route: &NotificationRoute) -> bool {
    route.digest.is_none() && !matches!(route.destination, Destination::PagerDuty { .. })
}

/// Name of a destination in documents. A digest to the same target is a different destination.
pub(crate) fn destination_name(route: &NotificationRoute) -> String {
    let digest = if route.digest.is_some() { " digest" } else { "" };
    format!("{}{digest}", identity(&route.destination))
}

/// What identifies a destination in state documents. It contains the whole URL, which may be a secret: logs and errors
/// show the destination itself.
pub(crate) fn identity(to: &Destination) -> String {
    match to {
        Destination::PagerDuty { url, routing_key } => format!("pagerduty {url} ({routing_key})"),
        Destination::Webhook { url, .. } => format!("webhook {url}"),
        topic => topic.to_string(),
    }
}

fn health_id(model: &str, schedule: &str) -> String {
    format!("{model}/{schedule}/health")
}
