#![doc = include_str!("../README.md")]

mod chat;
mod deliver;
mod error;
mod experiment;
mod held;
mod notification;
mod pagerduty;
mod template;
mod text;
mod threads;
pub mod webhook;
mod words;

pub use error::NotifyError;
pub use notification::{
    Action, Collected, Facts, Form, Notification, Place, Repeat, SourceEvent, ThreadStatus, VERSION,
};

use deliver::{PENDING_KEY, Pending, Refusals, change, mark_pending};
use held::HeldNotifications;
use jiff::{SignedDuration, Timestamp};
use model_monitor::{Detail, Event};
use outbox::Caller;
use remediation::{NotificationRoute, Policy};
use serde::Serialize;
use shell::{
    LEASE, LoadPolicyError, PolicyStore,
    config::{ConfigError, Vars},
    load,
    ports::{Clock, Documents, Secret, Secrets, Topics, Web},
    update_document,
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};
use threads::{Delivery, Effect, Threads};
use words::IncomingNotification;

/// Time before the deadline of the function from which a tick starts no more work.
const RESERVE: SignedDuration = SignedDuration::from_secs(20);

/// Clients that notifications need: AWS, secrets, webhooks, and a clock.
pub trait Clients: Documents + Topics + Secrets + Web + Clock {}

impl<C: Documents + Topics + Secrets + Web + Clock> Clients for C {}

/// The notify function.
#[derive(Debug, Default)]
pub struct Notify {
    policy: PolicyStore,
    /// Cached secrets by parameter, each with the time of reading.
    secrets: Mutex<BTreeMap<String, (Secret, Timestamp)>>,
}

/// Outcome of an event: the response of the function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "lowercase")]
pub enum Handled {
    /// The notification was sent, or is held for later.
    #[serde(rename = "told")]
    Sent {
        /// Subject of the notification.
        subject: String,
        /// Number of destinations.
        destinations: usize,
    },
    /// The notification repeats an earlier one, and was counted.
    #[serde(rename = "counted")]
    Repeat {
        /// Subject of the notification.
        subject: String,
    },
    /// The event was processed before.
    #[serde(rename = "known")]
    Duplicate {
        /// Subject of the notification.
        subject: String,
    },
    /// The event causes no notification.
    Ignored {
        /// Reason, in one line.
        reason: String,
    },
    /// A scheduled tick sent the notifications that were due.
    Ticked {
        /// Number of models that were processed.
        models: usize,
        /// Number of destinations that received held notifications.
        held: usize,
        /// Number of documents that are left for the next tick, because time was short.
        left: usize,
    },
}

impl Notify {
    /// Configures the function from environment variables. Also returns the state bucket and the topic.
    ///
    /// | variable | meaning |
    /// | --- | --- |
    /// | `STATE_BUCKET` | state bucket; required |
    /// | `TOPIC_ARN` | the deployment's SNS topic; required |
    ///
    /// # Errors
    /// If a variable is missing or invalid.
    pub fn from_vars(vars: &Vars<impl Fn(&str) -> Option<String>>) -> Result<(Self, String, String), ConfigError> {
        let expected = "the ARN of an SNS topic, `arn:aws:sns:…`";
        let topic = vars.required("TOPIC_ARN", expected)?;
        if !topic.starts_with("arn:") {
            return Err(ConfigError::Invalid {
                name: "TOPIC_ARN",
                value: topic,
                expected,
            });
        }
        Ok((Self::default(), vars.bucket("STATE_BUCKET")?, topic))
    }

    /// Handles one event.
    ///
    /// # Errors
    /// If a Driftwarden event cannot be parsed, AWS fails, or a destination fails or refuses a notification. Lambda
    /// retries the event, then moves it to the dead-letter queue. The ticks retry failed deliveries.
    pub async fn handle<C: Clients>(
        &self,
        aws: &C,
        payload: &str,
        request_id: &str,
        deadline: Timestamp,
    ) -> Result<Handled, NotifyError> {
        let event = Event::parse("event", payload.as_bytes()).map_err(NotifyError::Event)?;
        let caller = Caller {
            id: request_id.to_owned(),
            now: aws.now(),
            lease: LEASE,
        };
        let incoming = match &event.detail {
            Detail::Other(_) if event.detail_type == "Scheduled Event" => {
                return self.tick(aws, &caller, deadline).await;
            }
            Detail::Other(detail) if event.source == "driftwarden" => {
                let region = event.region.as_deref();
                let incoming = IncomingNotification::from_event(&event.detail_type, detail, region, caller.now);
                incoming.map_err(|source| NotifyError::Detail {
                    detail_type: event.detail_type.clone(),
                    source,
                })?
            }
            _ => None,
        };
        let Some(incoming) = incoming else {
            let reason = format!("`{}` causes no notification", event.detail_type);
            tracing::debug!(reason = %reason, "event ignored");
            return Ok(Handled::Ignored { reason });
        };
        self.process(aws, &incoming, &caller).await
    }

    async fn process<C: Clients>(
        &self,
        aws: &C,
        incoming: &IncomingNotification,
        caller: &Caller,
    ) -> Result<Handled, NotifyError> {
        let routes = self.routes(aws).await?;
        let model = &incoming.model;
        let key = Threads::key(model);
        let refusals = Refusals::default();
        let updated = update_document(
            aws,
            &key,
            load(aws, &key).await?,
            caller,
            || Threads::new(model),
            |threads| threads.apply(incoming, &routes, caller),
            async |effect: &Effect| self.execute(aws, model, effect, caller, &refusals).await,
        )
        .await;
        let delivery = match updated {
            Ok(delivery) => delivery,
            Err(error) => {
                // The ticks retry pending deliveries even if the event is not redriven.
                if let Err(error) = mark_pending(aws, model, caller).await {
                    tracing::warn!(error = %error, "model not marked for retries by the ticks");
                }
                return Err(error.into());
            }
        };
        let subject = incoming.notification.subject.clone();
        tracing::info!(subject = %subject, became = ?delivery, "event handled");
        fail_if_refused(refusals)?;
        Ok(match delivery {
            Delivery::Duplicate => Handled::Duplicate { subject },
            Delivery::Repeat => Handled::Repeat { subject },
            Delivery::Sent(0) if incoming.silent => Handled::Ignored {
                reason: format!("not sent at the automation level `observe`: {subject}"),
            },
            Delivery::Sent(0) => Handled::Ignored {
                reason: format!("no [[notification]] table of the policy matches: {subject}"),
            },
            Delivery::Sent(destinations) => Handled::Sent { subject, destinations },
        })
    }

    /// Sends what is due: counts of repeats after an hour, notifications that quiet hours held, and digests. Retries
    /// failed deliveries.
    async fn tick<C: Clients>(&self, aws: &C, caller: &Caller, deadline: Timestamp) -> Result<Handled, NotifyError> {
        let routes = self.routes(aws).await?;
        let has_time = || aws.now().saturating_add(RESERVE).is_ok_and(|then| then < deadline);
        let refusals = Refusals::default();
        let (mut models, mut held, mut left, mut failure) = (0, 0, 0, None);
        let pending = load::<Pending>(aws, PENDING_KEY).await?;
        let pending = pending
            .document()
            .map(|pending| pending.models.clone())
            .unwrap_or_default();
        let mut finished = BTreeMap::new();
        for (model, since) in pending {
            if !has_time() {
                left += 1;
                continue;
            }
            match self.tick_model(aws, &model, &routes, caller, &refusals).await {
                Ok(again) => {
                    models += 1;
                    if !again {
                        finished.insert(model, since);
                    }
                }
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        if !finished.is_empty() {
            // A model that was marked again in the meantime stays.
            let remove =
                |pending: &mut Pending| pending.models.retain(|model, since| finished.get(model) != Some(since));
            if let Err(error) = change(aws, PENDING_KEY, caller, Pending::default, remove).await {
                failure = failure.or(Some(shell::UpdateError::from(error).into()));
            }
        }
        for key in aws.list(held::FOLDER).await.map_err(shell::UpdateError::from)? {
            if !has_time() {
                left += 1;
                continue;
            }
            match self.send_held(aws, &key, caller, &refusals).await {
                Ok(sent) => held += usize::from(sent),
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        if let Some(error) = failure {
            return Err(error);
        }
        fail_if_refused(refusals)?;
        Ok(Handled::Ticked { models, held, left })
    }

    /// Sends the counts of a model that are due. Returns whether the next tick has to process the model again.
    async fn tick_model<C: Clients>(
        &self,
        aws: &C,
        model: &str,
        routes: &[NotificationRoute],
        caller: &Caller,
        refusals: &Refusals,
    ) -> Result<bool, NotifyError> {
        let key = Threads::key(model);
        let again = update_document(
            aws,
            &key,
            load(aws, &key).await?,
            caller,
            || Threads::new(model),
            |threads| threads.tick(routes, caller),
            async |effect: &Effect| self.execute(aws, model, effect, caller, refusals).await,
        );
        Ok(again.await?)
    }

    /// Sends the held notifications of a destination if they are due. Returns whether they were.
    async fn send_held<C: Clients>(
        &self,
        aws: &C,
        key: &str,
        caller: &Caller,
        refusals: &Refusals,
    ) -> Result<bool, NotifyError> {
        let loaded = load::<HeldNotifications>(aws, key).await?;
        let Some(document) = loaded.document().filter(|held| held.is_due(caller.now)).cloned() else {
            return Ok(false);
        };
        update_document(
            aws,
            key,
            loaded,
            caller,
            || document.to_empty(),
            |held| held.release(caller),
            async |effect: &Effect| self.execute(aws, "", effect, caller, refusals).await,
        )
        .await?;
        Ok(true)
    }

    /// Routes of notifications. Without a valid policy, the default route applies, so that no notification is lost.
    async fn routes(&self, aws: &impl Documents) -> Result<Vec<NotificationRoute>, NotifyError> {
        let policy = match self.policy.load(aws).await {
            Ok(policy) => policy,
            Err(LoadPolicyError::Aws(error)) => return Err(shell::UpdateError::from(error).into()),
            Err(error) => {
                tracing::error!(error = %error, "no valid policy: all notifications go to the deployment's topic");
                Arc::new(Policy::default())
            }
        };
        Ok(policy.notifications())
    }
}

/// An error that lists the refusals, if there are any.
fn fail_if_refused(refusals: Refusals) -> Result<(), NotifyError> {
    let refusals = refusals.into_inner().unwrap_or_else(PoisonError::into_inner);
    if refusals.is_empty() {
        Ok(())
    } else {
        Err(NotifyError::Refused(refusals.join("; ")))
    }
}
