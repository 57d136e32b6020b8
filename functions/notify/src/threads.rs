//! What has been told of one model, and what is owed to whom: `notifications/models/{model}.json` in the state bucket.
//!
//! One incident is one thread: the alerts that begin it, what is decided, the retraining, the experiment of its model, and
//! how it ended. What comes again in it, or within an hour, is counted instead of told; the count comes with the thread's
//! next message, at its end, in a digest, or by itself once the hour is over. A document changes by conditional writes alone,
//! and holds what it owes (see the crate `outbox`): each destination is an effect of its own.

use crate::{
    notification::{Form, Notification, Repeat, ThreadStatus},
    words::{Belongs, Heard, plural},
};
use jiff::{SignedDuration, Timestamp};
use outbox::{Caller, Outbox};
use remediation::{Destination, NotificationKind, NotificationRoute, NotificationSeverity};
use serde::{Deserialize, Serialize};
use shell::Owing;
use std::collections::{BTreeMap, BTreeSet};

/// For so long the same is a repeat, where no incident is open.
const REPEATS_WITHIN: SignedDuration = SignedDuration::from_hours(1);
/// An alert that nobody has decided on for so long is not of the incident that is decided on.
const DECIDED_WITHIN: SignedDuration = SignedDuration::from_hours(24);
/// So many events are known again.
const SEEN: usize = 2_000;
/// So many threads are known, the latest.
const THREADS: usize = 20;
/// So many different things are counted.
const TOLD: usize = 200;
/// So many refusals are kept, the latest.
const REFUSED: usize = 20;

/// What is owed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "effect", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub(crate) enum Effect {
    /// A notification to a destination.
    Deliver {
        to: Destination,
        /// The id under which its receiver knows what belongs together, if it is not the thread's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        dedup_key: Option<String>,
        notification: Box<Notification>,
        owed_since: Timestamp,
    },
    /// A notification to be held for a destination, and told with others as one.
    Hold {
        id: String,
        to: Destination,
        form: Form,
        until: Timestamp,
        /// What is the same is told once, with a count.
        key: String,
        notification: Box<Notification>,
    },
    /// The model is to be looked at by the next tick.
    Remember,
}

/// What became of an effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Done {
    /// It is done.
    Done,
    /// Its destination will never take it.
    Refused(String),
}

/// A notification that its destination did not take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Refusal {
    pub(crate) notification: String,
    pub(crate) destination: String,
    pub(crate) reason: String,
}

impl Refusal {
    /// Of an effect that was refused, for a reason.
    pub(crate) fn of(effect: &Effect, reason: &str) -> Option<Self> {
        let Effect::Deliver { to, notification, .. } = effect else {
            return None;
        };
        Some(Self {
            notification: notification.id.clone(),
            destination: to.to_string(),
            reason: reason.to_owned(),
        })
    }
}

/// Keeps the latest.
pub(crate) fn keep<T>(list: &mut Vec<T>, one: T, at_most: usize) {
    list.push(one);
    let over = list.len().saturating_sub(at_most);
    list.drain(..over);
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum ThreadKind {
    Incident,
    Health,
    Experiment,
}

/// What belongs together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Thread {
    id: String,
    kind: ThreadKind,
    /// When it was last heard of.
    last: Timestamp,
    #[serde(default)]
    closed: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    incident: Option<String>,
    /// Retrainings of the incident.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    executions: BTreeSet<String>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    experiments: BTreeSet<String>,
    /// Destinations that have been told of it.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    told_to: BTreeSet<String>,
    /// Whether it was said that Driftwarden is at it: PagerDuty's alert is acknowledged, and pages nobody any more.
    #[serde(default)]
    acknowledged: bool,
    /// Whether somebody was paged anew after that, by an alert of its own.
    #[serde(default)]
    paged_again: bool,
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
            told_to: BTreeSet::new(),
            acknowledged: false,
            paged_again: false,
        }
    }

    /// PagerDuty's key of what came after the acknowledgement.
    fn second_key(&self) -> String {
        format!("{}/2", self.id)
    }

    fn of_open_incident(&self) -> bool {
        !self.closed && self.incident.is_some()
    }
}

/// What has been told, and how often it came again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Told {
    key: String,
    thread: String,
    kind: NotificationKind,
    severity: NotificationSeverity,
    what: String,
    /// When it was told.
    at: Timestamp,
    /// How often it came again since it was first told.
    #[serde(default)]
    count: u64,
    /// When it came last.
    last: Timestamp,
    /// How many of these each destination knows of.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    counted: BTreeMap<String, u64>,
}

/// What has been told of one model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Threads {
    version: u32,
    model: String,
    /// Ids of the events that have been heard, the latest last.
    #[serde(default)]
    seen: Vec<String>,
    #[serde(default)]
    known: Vec<Thread>,
    #[serde(default)]
    told: Vec<Told>,
    /// Whether the ticks look at it.
    #[serde(default)]
    remembered: bool,
    /// What was not taken, the latest last.
    #[serde(default)]
    refused: Vec<Refusal>,
    #[serde(default)]
    outbox: Outbox<Effect>,
}

impl Owing for Threads {
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

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Became {
    /// It had been heard before.
    Known,
    /// It came again, and is counted.
    Counted,
    /// It is told to so many destinations; of none if no table takes it.
    Told(usize),
}

impl Threads {
    /// The document of a model of which nothing has been told.
    pub(crate) fn new(model: &str) -> Self {
        Self {
            version: 1,
            model: model.to_owned(),
            seen: Vec::new(),
            known: Vec::new(),
            told: Vec::new(),
            remembered: false,
            refused: Vec::new(),
            outbox: Outbox::default(),
        }
    }

    /// Its key.
    pub(crate) fn key(model: &str) -> String {
        format!("notifications/models/{model}.json")
    }

    /// Hears an event, and owes what follows from it.
    pub(crate) fn hear(&mut self, heard: &Heard, routes: &[NotificationRoute], caller: &Caller) -> Became {
        let now = caller.now;
        let mut notification = heard.notification.clone();
        if self.seen.contains(&notification.id) {
            return Became::Known;
        }
        keep(&mut self.seen, notification.id.clone(), SEEN);
        let mut thread = self.take_thread(heard, now);
        thread.last = now;
        notification.thread.clone_from(&thread.id);
        if notification.incident_id.is_none() {
            notification.incident_id.clone_from(&thread.incident);
        }
        let over = notification.kind == Some(NotificationKind::Incident);
        // While the incident is open its thread is, whatever ends in it.
        if thread.kind == ThreadKind::Incident
            && notification.status == ThreadStatus::Closed
            && !over
            && thread.incident.is_some()
        {
            notification.status = ThreadStatus::Note;
        }
        let repeated = heard.key.as_ref().filter(|key| self.is_repeat(key, &thread, now));
        let became = if heard.silent {
            Became::Told(0)
        } else if let Some(key) = repeated {
            self.count(key, &notification, routes, caller);
            Became::Counted
        } else {
            let told = self.tell(&notification, heard.key.as_deref(), &mut thread, routes, caller);
            if let Some(key) = &heard.key {
                self.remember_told(key, &notification, now);
            }
            Became::Told(told)
        };
        if notification.status == ThreadStatus::Closed && (over || thread.kind != ThreadKind::Incident) {
            thread.closed = true;
        }
        keep(&mut self.known, thread, THREADS);
        self.forget(routes, now);
        became
    }

    /// The thread of an event, taken out of the list.
    fn take_thread(&mut self, heard: &Heard, now: Timestamp) -> Thread {
        let within = |thread: &Thread, limit: SignedDuration| now.duration_since(thread.last) < limit;
        let model = &heard.model;
        let position = |fits: &dyn Fn(&Thread) -> bool| self.known.iter().rposition(fits);
        let incident = |thread: &Thread| thread.kind == ThreadKind::Incident && !thread.closed;
        let found = match &heard.belongs {
            Belongs::Alert => {
                position(&|thread| incident(thread) && (thread.incident.is_some() || within(thread, REPEATS_WITHIN)))
            }
            Belongs::Incident { id, .. } => position(&|thread| thread.incident.as_ref() == Some(id)).or_else(|| {
                position(&|thread| incident(thread) && thread.incident.is_none() && within(thread, DECIDED_WITHIN))
            }),
            Belongs::Health { schedule } => {
                let id = health_id(model, schedule);
                position(&|thread| thread.id == id)
            }
            Belongs::Experiment { id, execution } => position(&|thread| {
                thread.experiments.contains(id)
                    || execution
                        .as_ref()
                        .is_some_and(|execution| thread.executions.contains(execution))
            }),
        };
        let mut thread = match (found, &heard.belongs) {
            (Some(at), _) => self.known.remove(at),
            (None, Belongs::Alert) => {
                Thread::new(format!("{model}/{}", heard.notification.id), ThreadKind::Incident, now)
            }
            (None, Belongs::Incident { id, .. }) => Thread::new(id.clone(), ThreadKind::Incident, now),
            (None, Belongs::Health { schedule }) => Thread::new(health_id(model, schedule), ThreadKind::Health, now),
            (None, Belongs::Experiment { id, .. }) => Thread::new(id.clone(), ThreadKind::Experiment, now),
        };
        match &heard.belongs {
            Belongs::Incident { id, execution } => {
                thread.incident = Some(id.clone());
                thread.executions.extend(execution.clone());
            }
            Belongs::Experiment { id, .. } => {
                thread.experiments.insert(id.clone());
            }
            Belongs::Health { .. } if thread.closed => {
                thread.closed = false;
                thread.told_to.clear();
            }
            Belongs::Alert | Belongs::Health { .. } => {}
        }
        thread
    }

    /// Whether something has been told in the same open incident, or within the last hour.
    fn is_repeat(&self, key: &str, thread: &Thread, now: Timestamp) -> bool {
        let told = self.told.iter().find(|told| told.key == key);
        told.is_some_and(|told| {
            let same = told.thread == thread.id && thread.of_open_incident();
            same || now.duration_since(told.at) < REPEATS_WITHIN
        })
    }

    fn remember_told(&mut self, key: &str, notification: &Notification, now: Timestamp) {
        let Some(kind) = notification.kind else { return };
        let before = self.told.iter().position(|told| told.key == key);
        let mut told = match before {
            Some(at) => self.told.remove(at),
            None => Told {
                key: key.to_owned(),
                thread: String::new(),
                kind,
                severity: notification.severity,
                what: notification.subject.clone(),
                at: now,
                count: 0,
                last: now,
                counted: BTreeMap::new(),
            },
        };
        told.thread.clone_from(&notification.thread);
        told.what.clone_from(&notification.subject);
        told.at = now;
        keep(&mut self.told, told, TOLD);
    }

    /// Counts what came again. A digest counts for itself; for all others the ticks see to it that the count is told.
    fn count(&mut self, key: &str, notification: &Notification, routes: &[NotificationRoute], caller: &Caller) {
        if let Some(told) = self.told.iter_mut().find(|told| told.key == key) {
            told.count += 1;
            told.last = caller.now;
        }
        for route in self.takers(notification, routes, &BTreeSet::new()) {
            if let (Some(until), true) = (
                route.held_until(notification.severity, caller.now),
                route.digest.is_some(),
            ) {
                self.hold(route, until, key, notification, caller);
            }
        }
        self.remember(caller);
    }

    /// Lets the ticks look at it.
    fn remember(&mut self, caller: &Caller) {
        if !self.remembered {
            self.remembered = true;
            self.outbox.owe("remember", Effect::Remember, caller);
        }
    }

    /// The tables that take a notification, of each destination the first. Who was told of a thread is told of its end.
    fn takers<'a>(
        &self,
        notification: &Notification,
        routes: &'a [NotificationRoute],
        told_to: &BTreeSet<String>,
    ) -> Vec<&'a NotificationRoute> {
        let mut takers: Vec<&NotificationRoute> = Vec::new();
        for route in routes {
            let matches = notification
                .kind
                .is_some_and(|kind| route.takes(&self.model, kind, notification.severity));
            let ends = notification.status == ThreadStatus::Closed && told_to.contains(&name(route));
            // What is only good to know pages nobody.
            let pages = matches!(route.destination, Destination::PagerDuty { .. });
            let idle = pages && notification.status == ThreadStatus::Note;
            let first = takers.iter().all(|taker| name(taker) != name(route));
            if (matches || ends) && !idle && first {
                takers.push(route);
            }
        }
        takers
    }

    /// Owes a notification to everybody who should know; to how many.
    fn tell(
        &mut self,
        notification: &Notification,
        key: Option<&str>,
        thread: &mut Thread,
        routes: &[NotificationRoute],
        caller: &Caller,
    ) -> usize {
        let takers = self.takers(notification, routes, &thread.told_to);
        // Whoever is paged after the acknowledgement would not hear of it.
        let again = thread.acknowledged
            && notification.status == ThreadStatus::Open
            && notification.kind != Some(NotificationKind::Alert);
        for route in &takers {
            thread.told_to.insert(name(route));
            if let Some(until) = route.held_until(notification.severity, caller.now) {
                self.hold(route, until, key.unwrap_or(&notification.id), notification, caller);
                continue;
            }
            let mut own = notification.clone();
            own.repeats = self.untold(route, None);
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
        takers.len()
    }

    fn deliver(&mut self, to: &Destination, dedup_key: Option<String>, notification: &Notification, caller: &Caller) {
        let mark = dedup_key.as_ref().map_or("", |_| "/2");
        let effect = Effect::Deliver {
            to: to.clone(),
            dedup_key,
            notification: Box::new(notification.clone()),
            owed_since: caller.now,
        };
        self.outbox
            .owe(format!("{}{mark} {to}", notification.id), effect, caller);
    }

    fn hold(
        &mut self,
        route: &NotificationRoute,
        until: Timestamp,
        key: &str,
        notification: &Notification,
        caller: &Caller,
    ) {
        let id = format!("hold {} {}", notification.id, name(route));
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
        self.outbox.owe(id, effect, caller);
    }

    /// What came again and a destination does not know of yet; it does from now on. With a time, only what is due by itself.
    fn untold(&mut self, route: &NotificationRoute, due: Option<Timestamp>) -> Vec<Repeat> {
        let destination = name(route);
        let open: BTreeSet<String> = self.open_incidents();
        let mut repeats = Vec::new();
        for told in &mut self.told {
            let waits =
                due.is_some_and(|now| open.contains(&told.thread) || now.duration_since(told.last) < REPEATS_WITHIN);
            let counted = told.counted.get(&destination).copied().unwrap_or(0);
            if waits || told.count <= counted || !route.takes(&self.model, told.kind, told.severity) {
                continue;
            }
            told.counted.insert(destination.clone(), told.count);
            repeats.push(Repeat {
                what: told.what.clone(),
                count: told.count - counted,
                last: told.last,
            });
        }
        repeats
    }

    fn open_incidents(&self) -> BTreeSet<String> {
        let open = self.known.iter().filter(|thread| thread.of_open_incident());
        open.map(|thread| thread.id.clone()).collect()
    }

    /// Whether a count is still to be told to somebody.
    fn has_untold(&self, told: &Told, routes: &[NotificationRoute]) -> bool {
        let mut tellable = routes.iter().filter(|route| counts(route));
        tellable.any(|route| {
            let counted = told.counted.get(&name(route)).copied().unwrap_or(0);
            told.count > counted && route.takes(&self.model, told.kind, told.severity)
        })
    }

    /// Forgets what is over.
    fn forget(&mut self, routes: &[NotificationRoute], now: Timestamp) {
        let open = self.open_incidents();
        let keeps: Vec<bool> = self
            .told
            .iter()
            .map(|told| {
                let recent =
                    now.duration_since(told.at) < REPEATS_WITHIN || now.duration_since(told.last) < REPEATS_WITHIN;
                recent || open.contains(&told.thread) || self.has_untold(told, routes)
            })
            .collect();
        let mut keeps = keeps.into_iter();
        self.told.retain(|_| keeps.next().unwrap_or(true));
    }

    /// Tells the counts whose hour is over, and that no message of an open incident will tell. Whether the next tick has to
    /// look again.
    pub(crate) fn tick(&mut self, routes: &[NotificationRoute], caller: &Caller) -> bool {
        let now = caller.now;
        let mut told_to: BTreeSet<String> = BTreeSet::new();
        for route in routes.iter().filter(|route| counts(route)) {
            let held = route.held_until(NotificationSeverity::Info, now).is_some();
            if held || !told_to.insert(name(route)) {
                continue;
            }
            let repeats = self.untold(route, Some(now));
            let Some(last) = repeats.iter().map(|repeat| repeat.last).max() else {
                continue;
            };
            let notification = self.repeated(repeats, last);
            self.deliver(&route.destination, None, &notification, caller);
        }
        self.forget(routes, now);
        let waits = self.told.iter().any(|told| self.has_untold(told, routes));
        self.remembered = waits || !self.outbox.is_empty();
        self.remembered
    }

    /// How often what came again, as a notification of its own.
    fn repeated(&self, repeats: Vec<Repeat>, last: Timestamp) -> Notification {
        let id = format!("repeats-{}-{}", self.model, last.as_second());
        let mut notification = Notification::new(&id, Form::Repeats, last);
        let count: u64 = repeats.iter().map(|repeat| repeat.count).sum();
        notification.model = Some(self.model.clone());
        if let Some(thread) = self.told.iter().rev().find(|told| told.last == last) {
            notification.thread.clone_from(&thread.thread);
            notification.kind = Some(thread.kind);
            notification.severity = thread.severity;
        }
        notification.subject = format!("{}: came {count} time{} more", self.model, plural(count));
        notification.what = format!(
            "Model {}: what had been told came {count} time{} more, and was counted.",
            self.model,
            plural(count)
        );
        notification.repeats = repeats;
        notification.next("It is told again if it comes once more.");
        notification.action(
            "See where the model stands now:",
            &[format!("driftwarden incidents {}", self.model)],
        );
        notification
    }
}

/// Whether counts are told by a table: a digest counts for itself, and nobody is paged for a count.
fn counts(route: &NotificationRoute) -> bool {
    route.digest.is_none() && !matches!(route.destination, Destination::PagerDuty { .. })
}

/// A destination, as documents name it: a digest to it is another one.
pub(crate) fn name(route: &NotificationRoute) -> String {
    let digest = if route.digest.is_some() { " digest" } else { "" };
    format!("{}{digest}", route.destination)
}

fn health_id(model: &str, schedule: &str) -> String {
    format!("{model}/{schedule}/health")
}
