//! Executes pending effects: delivers, holds, and marks models as pending. Sends what is pending for a destination.

use crate::notify::{
    Clients, Notify,
    chat::ChatNotification,
    held::HeldNotifications,
    notification::Notification,
    pagerduty::PagerDutyEvent,
    queue::{Attempt, DestinationQueue, PendingNotification},
    template,
    text::{Text, subject_line, truncate},
    threads::{Effect, EffectOutcome},
    webhook,
};
use jiff::{SignedDuration, Timestamp};
use machine::{
    AwsError, Caller, Documents, Fetched, Kind, Outbox, OutboxDocument, UpdateError, chain, load, update_document,
};
use remediation::{Destination, SecretReference};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use shell::ports::{Post, Secret};
use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

/// Document with the models that the next tick has to process.
pub(crate) const PENDING_KEY: &str = "notifications/pending.json";
/// Maximum age of a cached secret.
const MAX_SECRET_AGE: SignedDuration = SignedDuration::from_mins(5);
/// Time before the deadline of the invocation that is reserved for storing the outcome of an attempt.
const SETTLE_TIME: Duration = Duration::from_secs(5);
/// Minimum time for a response of a server. Without it, no attempt begins.
const MIN_RESPONSE_TIME: Duration = Duration::from_secs(2);
/// Maximum time that SNS takes, with the retries of the SDK. Without it, no attempt begins.
const PUBLISH_TIME: Duration = Duration::from_secs(20);
/// A later delivery omits the distance of deadlines.
const DISTANCE_VALID: SignedDuration = SignedDuration::from_hours(1);
/// Maximum number of bytes of a response that are kept.
const MAX_RESPONSE_BYTES: usize = 300;

/// The models that the next tick has to process, with the time at which each was added.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Pending {
    pub(crate) models: BTreeMap<String, Timestamp>,
    #[serde(default)]
    outbox: Outbox<()>,
    /// Fields of a newer release.
    #[serde(flatten)]
    rest: Map<String, Value>,
}

impl OutboxDocument for Pending {
    type Effect = ();
    type Done = ();

    fn outbox(&mut self) -> &mut Outbox<()> {
        &mut self.outbox
    }
}

/// Deliveries of an invocation.
#[derive(Debug, Default)]
pub(crate) struct Deliveries {
    /// Number of destinations that accepted or hold a notification.
    accepted: AtomicUsize,
    /// Deliveries that failed and stay pending, with the reasons.
    pending: Mutex<Vec<String>>,
    /// Refusals, with the reasons.
    refused: Mutex<Vec<String>>,
}

impl Deliveries {
    fn accept(&self) {
        self.accepted.fetch_add(1, Ordering::Relaxed);
    }

    fn keep_pending(&self, to: &Destination, reason: &str) {
        push(&self.pending, format!("{to}: {reason}"));
    }

    fn refuse(&self, to: &Destination, notification: &Notification, reason: &str) {
        tracing::error!(destination = %to, notification = %notification.id, reason, "notification refused");
        push(&self.refused, format!("{to} refused {}: {reason}", notification.id));
    }

    /// Number of destinations that accepted or hold a notification.
    pub(crate) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Reasons of the deliveries that stay pending.
    pub(crate) fn pending(&self) -> Vec<String> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reasons of the refusals.
    pub(crate) fn refused(&self) -> Vec<String> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn push(list: &Mutex<Vec<String>>, item: String) {
    list.lock().unwrap_or_else(PoisonError::into_inner).push(item);
}

/// The invocation that executes effects.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Work<'a> {
    pub(crate) caller: &'a Caller,
    /// Time at which Lambda stops the invocation.
    pub(crate) deadline: Timestamp,
    /// Whether notifications are sent at once. Otherwise they are added to the documents of their destinations, from
    /// which a tick sends them.
    pub(crate) at_once: bool,
    pub(crate) deliveries: &'a Deliveries,
}

/// Time limit of an attempt.
#[derive(Debug, Clone, Copy)]
struct TimeLimit {
    /// Time limit for one response.
    response: Duration,
    /// Time at which the attempt has to end.
    until: Timestamp,
}

impl Notify {
    /// Executes an effect. A delivery that fails waits in the document of its destination.
    pub(crate) async fn execute<C: Clients>(
        &self,
        aws: &C,
        model: &str,
        effect: &Effect,
        work: Work<'_>,
    ) -> Result<EffectOutcome, AwsError> {
        match effect {
            Effect::MarkPending => mark_pending(aws, model, work.caller).await,
            Effect::Hold {
                id,
                to,
                form,
                until,
                key,
                notification,
            } => {
                let document = HeldNotifications::key(to, *form);
                let now = work.caller.now;
                let hold = |held: &mut HeldNotifications| held.hold(id, key, *until, notification, now);
                change(aws, &document, work.caller, || HeldNotifications::new(to, *form), hold).await?;
                work.deliveries.accept();
                Ok(EffectOutcome::Done)
            }
            Effect::Deliver {
                to,
                dedup_key,
                notification,
                pending_since,
            } => {
                let pending = PendingNotification::new(dedup_key.as_deref(), notification, *pending_since);
                self.dispatch(aws, to, pending, work).await
            }
        }
    }

    /// Delivers a notification, or adds it to the document of its destination.
    async fn dispatch<C: Clients>(
        &self,
        aws: &C,
        to: &Destination,
        pending: PendingNotification,
        work: Work<'_>,
    ) -> Result<EffectOutcome, AwsError> {
        let key = DestinationQueue::key(to);
        let new = || DestinationQueue::new(to);
        let id = pending.id.clone();
        let add = |queue: &mut DestinationQueue| queue.add(pending.clone(), aws.now());
        if !work.at_once {
            change(aws, &key, work.caller, new, add).await?;
            return Ok(EffectOutcome::Done);
        }
        let queue = match load::<DestinationQueue>(aws, &key).await {
            Ok(loaded) => loaded.document().cloned().unwrap_or_else(new),
            Err(error) => {
                tracing::warn!(destination = %to, error = %chain(&error), "pending notifications not read");
                new()
            }
        };
        if queue.is_pending(&id) || queue.has_ended(&id) {
            return Ok(EffectOutcome::Done);
        }
        if queue.is_broken() {
            change(aws, &key, work.caller, new, add).await?;
            work.deliveries.keep_pending(to, "the destination failed repeatedly");
            return Ok(EffectOutcome::Done);
        }
        let thread = &pending.notification.thread;
        if queue.has_thread(thread) {
            // The order of a thread matters: its earlier notifications are sent first.
            let hurry = |queue: &mut DestinationQueue| {
                queue.add(pending.clone(), aws.now());
                queue.hurry(thread, aws.now());
            };
            change(aws, &key, work.caller, new, hurry).await?;
            match self.send_pending(aws, to, work).await?.0 {
                Some(queue) if !queue.is_pending(&id) => work.deliveries.accept(),
                _ => work
                    .deliveries
                    .keep_pending(to, "earlier notifications of the thread are pending"),
            }
            return Ok(EffectOutcome::Done);
        }
        let Some(attempt) = self.attempt(aws, to, &pending, &queue, work.deadline).await else {
            change(aws, &key, work.caller, new, add).await?;
            work.deliveries.keep_pending(to, "the invocation had no time left");
            return Ok(EffectOutcome::Done);
        };
        if let Attempt::Failed { error, .. } = &attempt {
            let fail = |queue: &mut DestinationQueue| {
                queue.add(pending.clone(), aws.now());
                queue.record(&id, &attempt, aws.now());
            };
            change(aws, &key, work.caller, new, fail).await?;
            work.deliveries.keep_pending(to, error);
            return Ok(EffectOutcome::Done);
        }
        if queue.learns_from(&attempt) {
            let note = |queue: &mut DestinationQueue| queue.note_response(&attempt, aws.now());
            // The notification is delivered, whether or not this can be stored.
            if let Err(error) = change(aws, &key, work.caller, new, note).await {
                tracing::warn!(destination = %to, error = %error, "response of the destination not recorded");
            }
        }
        match attempt {
            Attempt::Refused(reason) => {
                work.deliveries.refuse(to, &pending.notification, &reason);
                Ok(EffectOutcome::Refused(reason))
            }
            Attempt::Delivered(_) | Attempt::Failed { .. } => {
                work.deliveries.accept();
                Ok(EffectOutcome::Done)
            }
        }
    }

    /// Sends the pending notifications of a destination that are due, one after another, until the destination fails
    /// repeatedly or the invocation has no time left. Returns the document, and the number of notifications sent.
    /// `None` if another invocation is sending them.
    pub(crate) async fn send_pending<C: Clients>(
        &self,
        aws: &C,
        to: &Destination,
        work: Work<'_>,
    ) -> Result<(Option<DestinationQueue>, usize), AwsError> {
        let key = DestinationQueue::key(to);
        let new = || DestinationQueue::new(to);
        let claim = |queue: &mut DestinationQueue| queue.claim(work.caller, aws.now()).then(|| queue.clone());
        let Some(mut queue) = change(aws, &key, work.caller, new, claim).await? else {
            return Ok((None, 0));
        };
        let mut sent = 0;
        while let Some(pending) = queue.next_due(aws.now()).cloned() {
            let Some(attempt) = self.attempt(aws, to, &pending, &queue, work.deadline).await else {
                break;
            };
            match &attempt {
                Attempt::Delivered(_) => sent += 1,
                Attempt::Refused(reason) => work.deliveries.refuse(to, &pending.notification, reason),
                Attempt::Failed { .. } => {}
            }
            // Stored after each notification, so that an interruption repeats at most one.
            let record = |queue: &mut DestinationQueue| {
                queue.record(&pending.id, &attempt, aws.now());
                queue.clone()
            };
            queue = change(aws, &key, work.caller, new, record).await?;
        }
        let release = |queue: &mut DestinationQueue| {
            queue.release(work.caller, aws.now());
            queue.clone()
        };
        Ok((Some(change(aws, &key, work.caller, new, release).await?), sent))
    }

    /// One attempt to deliver. `None` if the invocation has no time left for it.
    async fn attempt<C: Clients>(
        &self,
        aws: &C,
        to: &Destination,
        pending: &PendingNotification,
        queue: &DestinationQueue,
        deadline: Timestamp,
    ) -> Option<Attempt> {
        let start = aws.now();
        let needed = match to {
            Destination::SnsText { .. } | Destination::SnsJson { .. } | Destination::Chat { .. } => PUBLISH_TIME,
            Destination::PagerDuty { .. } | Destination::Webhook { .. } => MIN_RESPONSE_TIME,
        };
        let left = Duration::try_from(deadline.duration_since(start)).ok()?;
        let left = left.checked_sub(SETTLE_TIME).filter(|left| *left >= needed)?;
        let limit = TimeLimit {
            response: queue.response_limit().min(left),
            until: start.saturating_add(left).unwrap_or(deadline),
        };
        let mut notification = pending.notification.clone();
        if start.duration_since(pending.since) > DISTANCE_VALID {
            notification.remove_distances();
        }
        let delivered = self
            .deliver(aws, to, pending.dedup_key.as_deref(), &notification, limit)
            .await;
        let duration = aws.now().duration_since(start);
        Some(match delivered {
            Ok(EffectOutcome::Done) => Attempt::Delivered(duration),
            Ok(EffectOutcome::Refused(reason)) => Attempt::Refused(reason),
            Err(error) if error.kind == Kind::Rejected => Attempt::Refused(error.to_string()),
            Err(error) => {
                tracing::warn!(destination = %to, notification = %notification.id, error = %error, "notification not delivered");
                Attempt::Failed {
                    error: error.to_string(),
                    timed_out: duration.unsigned_abs() >= limit.response,
                }
            }
        })
    }

    async fn deliver<C: Clients>(
        &self,
        aws: &C,
        to: &Destination,
        dedup_key: Option<&str>,
        notification: &Notification,
        limit: TimeLimit,
    ) -> Result<EffectOutcome, AwsError> {
        match to {
            Destination::SnsText { topic } => {
                let text = text(aws, notification).await?;
                aws.publish_message(topic.as_deref(), &text.subject, &text.body).await?;
            }
            Destination::SnsJson { topic } => {
                let json = to_json(notification)?;
                let line = subject_line(&notification.subject);
                aws.publish_message(topic.as_deref(), &line, &json).await?;
            }
            Destination::Chat { topic } => {
                let description = match render_template(aws, notification, "md").await? {
                    TemplateResult::Rendered(text) => Some(text),
                    // A chat description is short: only the log contains the error.
                    TemplateResult::Absent | TemplateResult::Failed(_) => None,
                };
                let json = to_json(&ChatNotification::from_notification(notification, description))?;
                let line = subject_line(&notification.subject);
                aws.publish_message(topic.as_deref(), &line, &json).await?;
            }
            Destination::PagerDuty { url, routing_key } => {
                let dedup_key = dedup_key.unwrap_or(&notification.thread);
                let request = |secret: &Secret, _: Timestamp| {
                    let event = PagerDutyEvent::from_notification(notification, dedup_key, secret.expose().trim());
                    Ok((to_json(&event)?.into_bytes(), Vec::new()))
                };
                return self.post(aws, url, routing_key, limit, request).await;
            }
            Destination::Webhook { url, signing_key } => {
                let body = to_json(notification)?.into_bytes();
                let request = |secret: &Secret, now: Timestamp| {
                    let signature = webhook::signature(secret, now, &body);
                    let headers = vec![
                        (webhook::SIGNATURE, signature),
                        (webhook::ID, header_value(&notification.id)),
                    ];
                    Ok((body.clone(), headers))
                };
                return self.post(aws, url, signing_key, limit, request).await;
            }
        }
        Ok(EffectOutcome::Done)
    }

    /// Sends a POST request. If the destination rejects a cached secret, the secret is read again and the request
    /// repeated once.
    async fn post<C: Clients>(
        &self,
        aws: &C,
        url: &str,
        reference: &SecretReference,
        limit: TimeLimit,
        request: impl Fn(&Secret, Timestamp) -> Result<(Vec<u8>, Vec<(&'static str, String)>), AwsError>,
    ) -> Result<EffectOutcome, AwsError> {
        let mut use_cache = true;
        loop {
            let (secret, fresh) = self.secret(aws, reference, use_cache).await?;
            let now = aws.now();
            let (body, headers) = request(&secret, now)?;
            // Reading the secret, or a first request, took a part of the time.
            let left = Duration::try_from(limit.until.duration_since(now)).unwrap_or_default();
            let timeout = limit.response.min(left);
            let post = Post {
                url: url.to_owned(),
                headers,
                body,
                timeout,
            };
            let answer = aws.post(&post).await?;
            let response = post.redact(&answer.body.replace(secret.expose(), "…"));
            let response = truncate(response, MAX_RESPONSE_BYTES);
            let message = format!("status {}: {}", answer.status, response.trim());
            match answer.status {
                200..=299 => return Ok(EffectOutcome::Done),
                408 | 425 | 429 | 500.. => {
                    return Err(AwsError {
                        operation: "POST",
                        resource: post.host().to_owned(),
                        kind: Kind::Transient,
                        message,
                    });
                }
                400 | 401 | 403 if !fresh => use_cache = false,
                _ => return Ok(EffectOutcome::Refused(message)),
            }
        }
    }

    /// A secret, and whether it was read in this call.
    async fn secret<C: Clients>(
        &self,
        aws: &C,
        reference: &SecretReference,
        use_cache: bool,
    ) -> Result<(Secret, bool), AwsError> {
        let parameter = reference.parameter();
        let now = aws.now();
        let known = self
            .secrets
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&parameter)
            .cloned();
        if let Some((secret, read)) = known.filter(|(_, read)| use_cache && now.duration_since(*read) < MAX_SECRET_AGE)
        {
            return Ok((secret, read == now));
        }
        let secret = aws.secret(&parameter).await?;
        let mut secrets = self.secrets.lock().unwrap_or_else(PoisonError::into_inner);
        secrets.insert(parameter, (secret.clone(), now));
        Ok((secret, true))
    }
}

/// Adds a model to those that the next tick processes.
pub(crate) async fn mark_pending(aws: &impl Clients, model: &str, caller: &Caller) -> Result<EffectOutcome, AwsError> {
    let add = |pending: &mut Pending| {
        pending.models.insert(model.to_owned(), caller.now);
    };
    change(aws, PENDING_KEY, caller, Pending::default, add).await?;
    Ok(EffectOutcome::Done)
}

/// Changes a document without executing its pending effects. Returns the result of the change.
pub(crate) async fn change<D: OutboxDocument, R>(
    aws: &impl Clients,
    key: &str,
    caller: &Caller,
    new: impl Fn() -> D,
    apply: impl FnMut(&mut D) -> R,
) -> Result<R, AwsError> {
    // This caller has a different ID, so that it claims no pending effect of the document.
    let caller = Caller::new(format!("{} {key}", caller.id), Timestamp::MIN);
    let changed = async {
        update_document(aws, key, load(aws, key).await?, &caller, new, apply, async |_| {
            Err(not_executed(key))
        })
        .await
    };
    changed.await.map_err(|error| match error {
        UpdateError::Aws(error) => error,
        other => AwsError {
            operation: "s3:PutObject",
            resource: key.to_owned(),
            kind: Kind::Transient,
            message: other.to_string(),
        },
    })
}

fn not_executed(key: &str) -> AwsError {
    AwsError {
        operation: "s3:PutObject",
        resource: key.to_owned(),
        kind: Kind::Transient,
        message: "pending effects are executed by the next tick".to_owned(),
    }
}

fn to_json(value: &impl Serialize) -> Result<String, AwsError> {
    serde_json::to_string(value).map_err(|error| AwsError {
        operation: "JSON",
        resource: "notification".to_owned(),
        kind: Kind::Rejected,
        message: error.to_string(),
    })
}

/// Replaces characters that a header value must not contain.
fn header_value(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_ascii_graphic() { c } else { '?' })
        .collect()
}

/// Result of rendering a user template.
enum TemplateResult {
    /// There is no template.
    Absent,
    /// The rendered text.
    Rendered(String),
    /// The error, as a line for the message.
    Failed(String),
}

async fn render_template(
    aws: &impl Documents,
    notification: &Notification,
    extension: &str,
) -> Result<TemplateResult, AwsError> {
    let key = template::key(notification, extension);
    let failed = |reason: String| {
        tracing::error!(template = %key, reason = %reason, "template failed, built-in text sent");
        TemplateResult::Failed(format!(
            "(The template {key} failed: {reason}. This is the built-in text.)"
        ))
    };
    let source = match aws.read(&key, None).await {
        Ok(Fetched::Found(source, _)) => source,
        Ok(Fetched::Absent | Fetched::Unchanged) => return Ok(TemplateResult::Absent),
        Err(error) if error.kind == Kind::Transient => return Err(error),
        Err(error) => return Ok(failed(error.to_string())),
    };
    Ok(match template::render(&source, notification) {
        Ok(text) => TemplateResult::Rendered(text),
        Err(reason) => failed(reason),
    })
}

/// The text of a notification, from the user template if there is a valid one. A first line `Subject: …` of the
/// template sets the subject.
async fn text(aws: &impl Documents, notification: &Notification) -> Result<Text, AwsError> {
    let mut text = Text::from_notification(notification);
    match render_template(aws, notification, "txt").await? {
        TemplateResult::Absent => {}
        TemplateResult::Failed(line) => text.body = format!("{line}\n\n{}", text.body),
        TemplateResult::Rendered(rendered) => {
            let with_subject = rendered
                .strip_prefix("Subject: ")
                .and_then(|rest| rest.split_once('\n'));
            text = match with_subject {
                Some((line, body)) => Text {
                    subject: subject_line(line.trim()),
                    body: body.trim_start().to_owned(),
                },
                None => Text {
                    subject: text.subject,
                    body: rendered,
                },
            };
        }
    }
    Ok(text)
}
