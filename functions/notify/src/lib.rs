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
pub use notification::{Action, Collected, Facts, Form, Notification, Place, Repeat, ThreadStatus, ToldEvent, VERSION};

use deliver::{PENDING, Pending, Refusals, change, remember};
use held::Held;
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
    turn,
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};
use threads::{Became, Effect, Threads};
use words::Heard;

/// So long before the function's deadline a tick begins with nothing new.
const RESERVE: SignedDuration = SignedDuration::from_secs(20);

/// What notifications touch of AWS, and outside of it.
pub trait World: Documents + Topics + Secrets + Web + Clock {}

impl<W: Documents + Topics + Secrets + Web + Clock> World for W {}

/// The function.
#[derive(Debug, Default)]
pub struct Notify {
    policy: PolicyStore,
    /// Secrets by their parameter, with when they were read.
    secrets: Mutex<BTreeMap<String, (Secret, Timestamp)>>,
}

/// What became of an event: the function's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "lowercase")]
pub enum Handled {
    /// It is told, or held to be told later.
    Told {
        /// In one line.
        subject: String,
        /// To so many destinations.
        destinations: usize,
    },
    /// It came again, and is counted.
    Counted {
        /// In one line.
        subject: String,
    },
    /// It had been heard before.
    Known {
        /// In one line.
        subject: String,
    },
    /// It does not concern anybody.
    Ignored {
        /// Why.
        reason: String,
    },
    /// What was due has been told.
    Ticked {
        /// So many models were looked at.
        models: usize,
        /// So many destinations were told what was held for them.
        held: usize,
        /// So many were left for the next tick, for want of time.
        left: usize,
    },
}

impl Notify {
    /// The function as the environment configures it, with the state bucket and the topic.
    ///
    /// | variable | what |
    /// | --- | --- |
    /// | `STATE_BUCKET` | bucket of the documents; required |
    /// | `TOPIC_ARN` | the deployment's SNS topic; required |
    ///
    /// # Errors
    /// If a variable is missing or wrong.
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
    /// If the event is ours and cannot be read, AWS fails, or a destination fails or does not take what it should: Lambda
    /// retries it, then keeps it in the dead-letter queue. What could not be delivered is tried again by the ticks.
    pub async fn handle<W: World>(
        &self,
        world: &W,
        payload: &str,
        request_id: &str,
        deadline: Timestamp,
    ) -> Result<Handled, NotifyError> {
        let event = Event::parse("event", payload.as_bytes()).map_err(NotifyError::Event)?;
        let caller = Caller {
            id: request_id.to_owned(),
            now: world.now(),
            lease: LEASE,
        };
        let heard = match &event.detail {
            Detail::Other(_) if event.detail_type == "Scheduled Event" => {
                return self.tick(world, &caller, deadline).await;
            }
            Detail::Other(detail) if event.source == "driftwarden" => {
                let heard = Heard::of(&event.detail_type, detail, event.region.as_deref());
                heard.map_err(|source| NotifyError::Detail {
                    detail_type: event.detail_type.clone(),
                    source,
                })?
            }
            _ => None,
        };
        let Some(heard) = heard else {
            let reason = format!("`{}` is nothing that people are told of", event.detail_type);
            tracing::debug!(reason = %reason, "event ignored");
            return Ok(Handled::Ignored { reason });
        };
        self.hear(world, &heard, &caller).await
    }

    async fn hear<W: World>(&self, world: &W, heard: &Heard, caller: &Caller) -> Result<Handled, NotifyError> {
        let routes = self.routes(world).await?;
        let model = &heard.model;
        let key = Threads::key(model);
        let refusals = Refusals::default();
        let heard_now = turn(
            world,
            &key,
            load(world, &key).await?,
            caller,
            || Threads::new(model),
            |threads| threads.hear(heard, &routes, caller),
            async |effect: &Effect| self.carry_out(world, model, effect, caller, &refusals).await,
        )
        .await;
        let became = match heard_now {
            Ok(became) => became,
            Err(error) => {
                // Whatever is still owed is tried again by the ticks, even if nobody redrives the event.
                if let Err(error) = remember(world, model, caller).await {
                    tracing::warn!(error = %error, "the ticks do not know of what is owed");
                }
                return Err(error.into());
            }
        };
        let subject = heard.notification.subject.clone();
        tracing::info!(subject = %subject, became = ?became, "event handled");
        refused(refusals)?;
        Ok(match became {
            Became::Known => Handled::Known { subject },
            Became::Counted => Handled::Counted { subject },
            Became::Told(0) if heard.silent => Handled::Ignored {
                reason: format!("at the level `observe` nobody is told to act: {subject}"),
            },
            Became::Told(0) => Handled::Ignored {
                reason: format!("no [[notification]] of the policy takes it: {subject}"),
            },
            Became::Told(destinations) => Handled::Told { subject, destinations },
        })
    }

    /// Tells what is due: counts whose hour is over, what quiet hours held, digests; and tries again what failed.
    async fn tick<W: World>(&self, world: &W, caller: &Caller, deadline: Timestamp) -> Result<Handled, NotifyError> {
        let routes = self.routes(world).await?;
        let in_time = || world.now().saturating_add(RESERVE).is_ok_and(|then| then < deadline);
        let refusals = Refusals::default();
        let (mut models, mut held, mut left, mut failure) = (0, 0, 0, None);
        let pending = load::<Pending>(world, PENDING).await?;
        let pending = pending
            .document()
            .map(|pending| pending.models.clone())
            .unwrap_or_default();
        let mut over = BTreeMap::new();
        for (model, since) in pending {
            if !in_time() {
                left += 1;
                continue;
            }
            match self.tick_model(world, &model, &routes, caller, &refusals).await {
                Ok(again) => {
                    models += 1;
                    if !again {
                        over.insert(model, since);
                    }
                }
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        if !over.is_empty() {
            // What was remembered anew in between stays.
            let forget = |pending: &mut Pending| pending.models.retain(|model, since| over.get(model) != Some(since));
            if let Err(error) = change(world, PENDING, caller, Pending::default, forget).await {
                failure = failure.or(Some(shell::TurnError::from(error).into()));
            }
        }
        for key in world.list(held::FOLDER).await.map_err(shell::TurnError::from)? {
            if !in_time() {
                left += 1;
                continue;
            }
            match self.tell_held(world, &key, caller, &refusals).await {
                Ok(told) => held += usize::from(told),
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        if let Some(error) = failure {
            return Err(error);
        }
        refused(refusals)?;
        Ok(Handled::Ticked { models, held, left })
    }

    /// Tells the counts of a model that are due; whether the next tick has to look again.
    async fn tick_model<W: World>(
        &self,
        world: &W,
        model: &str,
        routes: &[NotificationRoute],
        caller: &Caller,
        refusals: &Refusals,
    ) -> Result<bool, NotifyError> {
        let key = Threads::key(model);
        let again = turn(
            world,
            &key,
            load(world, &key).await?,
            caller,
            || Threads::new(model),
            |threads| threads.tick(routes, caller),
            async |effect: &Effect| self.carry_out(world, model, effect, caller, refusals).await,
        );
        Ok(again.await?)
    }

    /// Tells what is held for a destination, if its time has come; whether it had.
    async fn tell_held<W: World>(
        &self,
        world: &W,
        key: &str,
        caller: &Caller,
        refusals: &Refusals,
    ) -> Result<bool, NotifyError> {
        let loaded = load::<Held>(world, key).await?;
        let Some(document) = loaded.document().filter(|held| held.is_due(caller.now)).cloned() else {
            return Ok(false);
        };
        turn(
            world,
            key,
            loaded,
            caller,
            || document.emptied(),
            |held| held.tell(caller),
            async |effect: &Effect| self.carry_out(world, "", effect, caller, refusals).await,
        )
        .await?;
        Ok(true)
    }

    /// Where notifications go. What happened is told, as if there were no policy, even if there is none that can hold.
    async fn routes(&self, world: &impl Documents) -> Result<Vec<NotificationRoute>, NotifyError> {
        let policy = match self.policy.load(world).await {
            Ok(policy) => policy,
            Err(LoadPolicyError::Aws(error)) => return Err(shell::TurnError::from(error).into()),
            Err(error @ LoadPolicyError::Invalid(_)) => {
                tracing::error!(error = %error, "everything is told to the deployment's topic");
                Arc::new(Policy::default())
            }
        };
        Ok(policy.notifications())
    }
}

/// An error that says what was not taken.
fn refused(refusals: Refusals) -> Result<(), NotifyError> {
    let refusals = refusals.into_inner().unwrap_or_else(PoisonError::into_inner);
    if refusals.is_empty() {
        Ok(())
    } else {
        Err(NotifyError::Refused(refusals.join("; ")))
    }
}
