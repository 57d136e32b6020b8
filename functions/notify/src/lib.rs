//! `notify`: alerts, decisions and outcomes in, messages for people out (SNS).
//!
//! | event on our bus | message |
//! | --- | --- |
//! | `Model Monitor Alert State Change` | what drifted, by how much against which threshold, M of N |
//! | `Model Monitor Health State Change` | which monitor says nothing any more, and what to look at |
//! | `Experiment State Change` | that a candidate waits for approval, is tested, waits for a decision, or how its experiment ended |
//! | `Monitor Baseline Change` | which baseline a monitor is held against from now on |
//! | `Remediation Incident Closed` | how an incident ended, and how long it took |
//! | `Remediation Decided` | what was decided and why, what happens next |
//! | `Retraining Pipeline Execution Status Change` | how the retraining ended |
//!
//! An event delivered twice is told once: a small document remembers, by the event's `detail.id`, what has been said.

mod error;
mod experiment;
mod message;

pub use error::NotifyError;
pub use message::Message;

use model_monitor::{Detail, Event};
use outbox::{Caller, Outbox};
use serde::{Deserialize, Serialize};
use shell::{
    LEASE, Owing,
    config::{ConfigError, Vars},
    load,
    ports::{Clock, Documents, Topic},
    turn,
};

/// The function.
#[derive(Debug, Clone, Copy, Default)]
pub struct Notify;

/// What became of an event: the function's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "lowercase")]
pub enum Handled {
    /// A message was published.
    Told {
        /// Its subject.
        subject: String,
    },
    /// The message had been published before, or is just being published.
    Known {
        /// Its subject.
        subject: String,
    },
    /// It does not concern us.
    Ignored {
        /// Why.
        reason: String,
    },
}

/// What has been said of one event: `notifications/{detail.id}.json` in the state bucket.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Notification {
    version: u32,
    subject: String,
    #[serde(default)]
    told: bool,
    #[serde(default)]
    outbox: Outbox<Message>,
}

impl Owing for Notification {
    type Effect = Message;
    type Done = ();

    fn outbox(&mut self) -> &mut Outbox<Message> {
        &mut self.outbox
    }

    fn note(&mut self, _: &Message, (): ()) {
        self.told = true;
    }
}

impl Notify {
    /// The function as the environment configures it, with the state bucket and the topic.
    ///
    /// | variable | what |
    /// | --- | --- |
    /// | `STATE_BUCKET` | bucket of the documents; required |
    /// | `TOPIC_ARN` | the SNS topic; required |
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
        Ok((Self, vars.bucket("STATE_BUCKET")?, topic))
    }

    /// Handles one event.
    ///
    /// # Errors
    /// If the event is ours and cannot be read, or AWS fails: Lambda retries it, then keeps it in the dead-letter queue.
    pub async fn handle<W: Documents + Topic + Clock>(
        &self,
        world: &W,
        payload: &str,
        request_id: &str,
    ) -> Result<Handled, NotifyError> {
        let event = Event::parse("event", payload.as_bytes()).map_err(NotifyError::Event)?;
        let told = match &event.detail {
            Detail::Other(detail) if event.source == "driftwarden" => {
                Message::of(&event.detail_type, detail, event.region.as_deref()).map_err(|source| {
                    NotifyError::Detail {
                        detail_type: event.detail_type.clone(),
                        source,
                    }
                })?
            }
            _ => None,
        };
        let Some((id, message)) = told else {
            let reason = format!("`{}` is nothing that people are told of", event.detail_type);
            tracing::debug!(reason = %reason, "event ignored");
            return Ok(Handled::Ignored { reason });
        };
        let key = format!("notifications/{id}.json");
        let caller = Caller {
            id: request_id.to_owned(),
            now: world.now(),
            lease: LEASE,
        };
        let subject = message.subject.clone();
        let new = || Notification {
            version: 1,
            subject: subject.clone(),
            told: false,
            outbox: Outbox::default(),
        };
        let ours = turn(
            world,
            &key,
            load(world, &key).await?,
            &caller,
            new,
            |notification| {
                if !notification.told && notification.outbox.is_empty() {
                    notification.outbox.owe("message", message.clone(), &caller);
                }
                notification.outbox.claimed_by(&caller).next().is_some()
            },
            async |message: &Message| world.tell(&message.subject, &message.body).await,
        )
        .await?;
        tracing::info!(subject = %subject, told = ours, "event handled");
        Ok(if ours {
            Handled::Told { subject }
        } else {
            Handled::Known { subject }
        })
    }
}
