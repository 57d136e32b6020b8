//! How what is owed is carried out.

use crate::{
    Notify, World,
    chat::ChatNotification,
    held::Held,
    notification::Notification,
    pagerduty::PagerDutyEvent,
    template,
    text::{Text, limited, subject},
    threads::{Done, Effect},
    webhook,
};
use jiff::{SignedDuration, Timestamp};
use outbox::{Caller, Outbox};
use remediation::{Destination, SecretReference};
use serde::{Deserialize, Serialize};
use shell::{
    AwsError, Kind, LEASE, Owing, TurnError, load,
    ports::{Documents, Fetched, Post, Secret},
    turn,
};
use std::{collections::BTreeMap, sync::PoisonError};

/// Which models the next tick has to look at.
pub(crate) const PENDING: &str = "notifications/pending.json";
/// A secret is read again after so long.
const SECRET_HOLDS: SignedDuration = SignedDuration::from_mins(5);
/// What could not be delivered for so long is given up.
const GIVES_UP: SignedDuration = SignedDuration::from_hours(72);
/// So much of an answer is kept.
const ANSWER: usize = 300;

/// The models that the next tick has to look at, since when.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Pending {
    pub(crate) models: BTreeMap<String, Timestamp>,
    #[serde(default)]
    outbox: Outbox<()>,
}

impl Owing for Pending {
    type Effect = ();
    type Done = ();

    fn outbox(&mut self) -> &mut Outbox<()> {
        &mut self.outbox
    }
}

/// Where what was refused is noted, for the answer of the invocation.
pub(crate) type Refusals = std::sync::Mutex<Vec<String>>;

impl Notify {
    /// Carries an effect out. What a destination will never take is refused; all else that fails is owed on.
    pub(crate) async fn carry_out<W: World>(
        &self,
        world: &W,
        model: &str,
        effect: &Effect,
        caller: &Caller,
        refusals: &Refusals,
    ) -> Result<Done, AwsError> {
        match effect {
            Effect::Remember => remember(world, model, caller).await,
            Effect::Hold {
                id,
                to,
                form,
                until,
                key,
                notification,
            } => {
                let document = Held::key(to, *form);
                let hold = |held: &mut Held| held.hold(id, key, *until, notification, caller.now);
                change(world, &document, caller, || Held::new(to, *form), hold).await?;
                Ok(Done::Done)
            }
            Effect::Deliver {
                to,
                dedup_key,
                notification,
                owed_since,
            } => {
                let delivered = match self.deliver(world, to, dedup_key.as_deref(), notification).await {
                    Err(error) if caller.now.duration_since(*owed_since) > GIVES_UP => {
                        Done::Refused(format!("given up after {} h: {error}", GIVES_UP.as_hours()))
                    }
                    delivered => delivered?,
                };
                if let Done::Refused(reason) = &delivered {
                    tracing::error!(destination = %to, notification = %notification.id, reason = %reason, "not taken");
                    let mut refusals = refusals.lock().unwrap_or_else(PoisonError::into_inner);
                    refusals.push(format!("{to} did not take {}: {reason}", notification.id));
                }
                Ok(delivered)
            }
        }
    }

    async fn deliver<W: World>(
        &self,
        world: &W,
        to: &Destination,
        dedup_key: Option<&str>,
        notification: &Notification,
    ) -> Result<Done, AwsError> {
        match to {
            Destination::SnsText { topic } => {
                let text = text(world, notification).await?;
                world
                    .publish_message(topic.as_deref(), &text.subject, &text.body)
                    .await?;
            }
            Destination::SnsJson { topic } => {
                let json = as_json(notification)?;
                let line = subject(&notification.subject);
                world.publish_message(topic.as_deref(), &line, &json).await?;
            }
            Destination::Chat { topic } => {
                let described = match templated(world, notification, "md").await? {
                    Templated::Text(text) => Some(text),
                    // The built-in description has no room to spare: the log says what is wrong.
                    Templated::None | Templated::Wrong(_) => None,
                };
                let json = as_json(&ChatNotification::of(notification, described))?;
                let line = subject(&notification.subject);
                world.publish_message(topic.as_deref(), &line, &json).await?;
            }
            Destination::PagerDuty { url, routing_key } => {
                let dedup_key = dedup_key.unwrap_or(&notification.thread);
                let request = |secret: &Secret, _: Timestamp| {
                    let event = PagerDutyEvent::of(notification, dedup_key, secret.expose().trim());
                    Ok((as_json(&event)?.into_bytes(), Vec::new()))
                };
                return self.post(world, url, routing_key, request).await;
            }
            Destination::Webhook { url, signing_key } => {
                let body = as_json(notification)?.into_bytes();
                let request = |secret: &Secret, now: Timestamp| {
                    let signature = webhook::signature(secret, now, &body);
                    let headers = vec![(webhook::SIGNATURE, signature), (webhook::ID, header(&notification.id))];
                    Ok((body.clone(), headers))
                };
                return self.post(world, url, signing_key, request).await;
            }
        }
        Ok(Done::Done)
    }

    /// Sends a POST request, once more with a secret that was just read if the one that was kept may be an old one.
    async fn post<W: World>(
        &self,
        world: &W,
        url: &str,
        reference: &SecretReference,
        request: impl Fn(&Secret, Timestamp) -> Result<(Vec<u8>, Vec<(&'static str, String)>), AwsError>,
    ) -> Result<Done, AwsError> {
        let mut kept = true;
        loop {
            let (secret, fresh) = self.secret(world, reference, kept).await?;
            let (body, headers) = request(&secret, world.now())?;
            let post = Post {
                url: url.to_owned(),
                headers,
                body,
            };
            let answer = world.post(&post).await?;
            let told = limited(answer.body.replace(secret.expose(), "…"), ANSWER);
            let message = format!("status {}: {}", answer.status, told.trim());
            match answer.status {
                200..=299 => return Ok(Done::Done),
                408 | 425 | 429 | 500.. => {
                    return Err(AwsError {
                        operation: "POST",
                        resource: post.host().to_owned(),
                        kind: Kind::Transient,
                        message,
                    });
                }
                400 | 401 | 403 if !fresh => kept = false,
                _ => return Ok(Done::Refused(message)),
            }
        }
    }

    /// A secret, and whether it was read just now.
    async fn secret<W: World>(
        &self,
        world: &W,
        reference: &SecretReference,
        kept: bool,
    ) -> Result<(Secret, bool), AwsError> {
        let parameter = reference.parameter();
        let now = world.now();
        let known = self
            .secrets
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&parameter)
            .cloned();
        if let Some((secret, read)) = known.filter(|(_, read)| kept && now.duration_since(*read) < SECRET_HOLDS) {
            return Ok((secret, read == now));
        }
        let secret = world.secret(&parameter).await?;
        let mut secrets = self.secrets.lock().unwrap_or_else(PoisonError::into_inner);
        secrets.insert(parameter, (secret.clone(), now));
        Ok((secret, true))
    }
}

/// Lets the next tick look at a model.
pub(crate) async fn remember(world: &impl World, model: &str, caller: &Caller) -> Result<Done, AwsError> {
    let remember = |pending: &mut Pending| {
        pending.models.insert(model.to_owned(), caller.now);
    };
    change(world, PENDING, caller, Pending::default, remember).await?;
    Ok(Done::Done)
}

/// Changes a document that owes nothing by this change.
pub(crate) async fn change<D: Owing>(
    world: &impl World,
    key: &str,
    caller: &Caller,
    new: impl Fn() -> D,
    apply: impl FnMut(&mut D),
) -> Result<(), AwsError> {
    // A carrier of its own: what else the document owes is left to whoever has claimed it.
    let caller = Caller {
        id: format!("{} {key}", caller.id),
        now: Timestamp::MIN,
        lease: LEASE,
    };
    let changed = async {
        turn(world, key, load(world, key).await?, &caller, new, apply, async |_| {
            Err(nothing(key))
        })
        .await
    };
    changed.await.map_err(|error| match error {
        TurnError::Aws(error) => error,
        other => AwsError {
            operation: "s3:PutObject",
            resource: key.to_owned(),
            kind: Kind::Transient,
            message: other.to_string(),
        },
    })
}

fn nothing(key: &str) -> AwsError {
    AwsError {
        operation: "s3:PutObject",
        resource: key.to_owned(),
        kind: Kind::Transient,
        message: "what it owes is carried out by the next tick".to_owned(),
    }
}

fn as_json(value: &impl Serialize) -> Result<String, AwsError> {
    serde_json::to_string(value).map_err(|error| AwsError {
        operation: "JSON",
        resource: "notification".to_owned(),
        kind: Kind::Rejected,
        message: error.to_string(),
    })
}

/// What a header may hold.
fn header(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_ascii_graphic() { c } else { '?' })
        .collect()
}

/// What became of a user's template.
enum Templated {
    /// There is none.
    None,
    /// It rendered this.
    Text(String),
    /// What is wrong with it.
    Wrong(String),
}

async fn templated(
    world: &impl Documents,
    notification: &Notification,
    extension: &str,
) -> Result<Templated, AwsError> {
    let key = template::key(notification, extension);
    let wrong = |reason: String| {
        tracing::error!(template = %key, reason = %reason, "the template cannot be used: the built-in text is sent");
        Templated::Wrong(format!(
            "(The template {key} cannot be used: {reason}. This is the built-in text.)"
        ))
    };
    let source = match world.read(&key, None).await {
        Ok(Fetched::Found(source, _)) => source,
        Ok(Fetched::Absent | Fetched::Unchanged) => return Ok(Templated::None),
        Err(error) if error.kind == Kind::Transient => return Err(error),
        Err(error) => return Ok(wrong(error.to_string())),
    };
    Ok(match template::render(&source, notification) {
        Ok(text) => Templated::Text(text),
        Err(reason) => wrong(reason),
    })
}

/// The text of a notification: of the user's template if there is one that can be used. A first line `Subject: …` of it is
/// the subject.
async fn text(world: &impl Documents, notification: &Notification) -> Result<Text, AwsError> {
    let mut text = Text::of(notification);
    match templated(world, notification, "txt").await? {
        Templated::None => {}
        Templated::Wrong(line) => text.body = format!("{line}\n\n{}", text.body),
        Templated::Text(rendered) => {
            let own = rendered
                .strip_prefix("Subject: ")
                .and_then(|rest| rest.split_once('\n'));
            text = match own {
                Some((line, body)) => Text {
                    subject: subject(line.trim()),
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
