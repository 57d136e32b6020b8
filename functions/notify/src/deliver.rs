//! Executes pending effects: delivers, holds, and marks models as pending.

use crate::{
    Clients, Notify,
    chat::ChatNotification,
    held::HeldNotifications,
    notification::Notification,
    pagerduty::PagerDutyEvent,
    template,
    text::{Text, subject_line, truncate},
    threads::{Effect, EffectOutcome},
    webhook,
};
use jiff::{SignedDuration, Timestamp};
use outbox::{Caller, Outbox};
use remediation::{Destination, SecretReference};
use serde::{Deserialize, Serialize};
use shell::{
    AwsError, Kind, LEASE, OutboxDocument, UpdateError, load,
    ports::{Documents, Fetched, Post, Secret},
    update_document,
};
use std::{collections::BTreeMap, sync::PoisonError};

/// Document with the models that the next tick has to process.
pub(crate) const PENDING_KEY: &str = "notifications/pending.json";
/// Maximum age of a cached secret.
const MAX_SECRET_AGE: SignedDuration = SignedDuration::from_mins(5);
/// Period in which a failed delivery is retried.
const RETRY_PERIOD: SignedDuration = SignedDuration::from_hours(72);
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
}

impl OutboxDocument for Pending {
    type Effect = ();
    type Done = ();

    fn outbox(&mut self) -> &mut Outbox<()> {
        &mut self.outbox
    }
}

/// Refusals of the invocation, for its error.
pub(crate) type Refusals = std::sync::Mutex<Vec<String>>;

impl Notify {
    /// Executes an effect. A refusal is final; after any other failure the effect stays pending.
    pub(crate) async fn execute<C: Clients>(
        &self,
        aws: &C,
        model: &str,
        effect: &Effect,
        caller: &Caller,
        refusals: &Refusals,
    ) -> Result<EffectOutcome, AwsError> {
        match effect {
            Effect::MarkPending => mark_pending(aws, model, caller).await,
            Effect::Hold {
                id,
                to,
                form,
                until,
                key,
                notification,
            } => {
                let document = HeldNotifications::key(to, *form);
                let hold = |held: &mut HeldNotifications| held.hold(id, key, *until, notification, caller.now);
                change(aws, &document, caller, || HeldNotifications::new(to, *form), hold).await?;
                Ok(EffectOutcome::Done)
            }
            Effect::Deliver {
                to,
                dedup_key,
                notification,
                pending_since,
            } => {
                let pending_for = caller.now.duration_since(*pending_since);
                let mut notification = notification.clone();
                if pending_for > DISTANCE_VALID {
                    notification.remove_distances();
                }
                let delivered = match self.deliver(aws, to, dedup_key.as_deref(), &notification).await {
                    Err(error) if pending_for > RETRY_PERIOD => {
                        EffectOutcome::Refused(format!("gave up after {} h: {error}", RETRY_PERIOD.as_hours()))
                    }
                    delivered => delivered?,
                };
                if let EffectOutcome::Refused(reason) = &delivered {
                    tracing::error!(destination = %to, notification = %notification.id, reason = %reason, "notification refused");
                    let mut refusals = refusals.lock().unwrap_or_else(PoisonError::into_inner);
                    refusals.push(format!("{to} refused {}: {reason}", notification.id));
                }
                Ok(delivered)
            }
        }
    }

    async fn deliver<C: Clients>(
        &self,
        aws: &C,
        to: &Destination,
        dedup_key: Option<&str>,
        notification: &Notification,
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
                return self.post(aws, url, routing_key, request).await;
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
                return self.post(aws, url, signing_key, request).await;
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
        request: impl Fn(&Secret, Timestamp) -> Result<(Vec<u8>, Vec<(&'static str, String)>), AwsError>,
    ) -> Result<EffectOutcome, AwsError> {
        let mut use_cache = true;
        loop {
            let (secret, fresh) = self.secret(aws, reference, use_cache).await?;
            let (body, headers) = request(&secret, aws.now())?;
            let post = Post {
                url: url.to_owned(),
                headers,
                body,
            };
            let answer = aws.post(&post).await?;
            let response = truncate(answer.body.replace(secret.expose(), "…"), MAX_RESPONSE_BYTES);
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

/// Changes a document without executing its pending effects.
pub(crate) async fn change<D: OutboxDocument>(
    aws: &impl Clients,
    key: &str,
    caller: &Caller,
    new: impl Fn() -> D,
    apply: impl FnMut(&mut D),
) -> Result<(), AwsError> {
    // This caller has a different ID, so that it claims no pending effect of the document.
    let caller = Caller {
        id: format!("{} {key}", caller.id),
        now: Timestamp::MIN,
        lease: LEASE,
    };
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
