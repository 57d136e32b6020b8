#![doc = include_str!("README.md")]

mod chat;
mod deliver;
mod experiment;
mod held;
mod links;
mod notification;
mod pagerduty;
mod queue;
mod report;
mod template;
mod text;
mod threads;
pub mod webhook;
mod words;

pub use notification::{
    Action, Collected, Facts, Form, Notification, Place, Repeat, SourceEvent, ThreadStatus, VERSION,
};

use crate::{Error, Function, Request, Resources};
use deliver::{Deliveries, PENDING_KEY, Pending, Work, change, mark_pending};
use events::{Incoming, ReceivedEvent};
use futures_util::{StreamExt as _, stream};
use held::HeldNotifications;
use jiff::{SignedDuration, Timestamp};
use machine::{Caller, Clock, Documents, UpdateError, chain, load, update_document};
use queue::DestinationQueue;
use remediation::{NotificationRoute, Policy};
use serde::Serialize;
use shell::{
    LoadPolicyError, PolicyStore,
    config::{ConfigError, Vars},
    ports::{Secret, Secrets, Topics, Web},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};
use threads::{Delivery, Effect, Threads, identity};
use words::IncomingNotification;

/// Time before the deadline of the function from which a tick starts no more work.
const RESERVE: SignedDuration = SignedDuration::from_secs(20);
/// Maximum age of an event that causes a notification. Documents are kept longer (`infra/template.yaml`), so a replay of
/// earlier events, from an archive of any length, sends no notification again.
const MAX_EVENT_AGE: SignedDuration = SignedDuration::from_hours(40 * 24);
/// Maximum number of documents that a tick processes at the same time. Destinations are independent of each other.
const CONCURRENT_DOCUMENTS: usize = 16;

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
        /// Number of destinations that failed. The notification is retried there.
        #[serde(skip_serializing_if = "is_zero")]
        pending: usize,
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
        /// Number of destinations whose held notifications were due.
        held: usize,
        /// Number of notifications that were delivered.
        delivered: usize,
        /// Number of notifications that stay pending, because their destination failed or time was short.
        pending: usize,
        /// Number of models that are left for the next tick, because time was short.
        left: usize,
    },
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(count: &usize) -> bool {
    *count == 0
}

impl<C: Clients> Function<C> for Notify {
    type Response = Handled;

    async fn invoke(&self, clients: &C, request: Request<'_>) -> Result<Handled, Error> {
        self.handle(clients, request.payload, request.request_id, request.deadline)
            .await
    }
}

impl Notify {
    /// Creates the function from environment variables. Also returns the resources that its clients use.
    ///
    /// | variable | meaning |
    /// | --- | --- |
    /// | `STATE_BUCKET` | state bucket; required |
    /// | `TOPIC_ARN` | the deployment's SNS topic; required |
    ///
    /// # Errors
    /// If a variable is missing or invalid.
    pub fn from_vars(vars: &Vars<impl Fn(&str) -> Option<String>>) -> Result<(Self, Resources), ConfigError> {
        let expected = "the ARN of an SNS topic, `arn:aws:sns:…`";
        let topic = vars.required("TOPIC_ARN", expected)?;
        if !topic.starts_with("arn:") {
            return Err(ConfigError::Invalid {
                name: "TOPIC_ARN",
                value: topic,
                expected,
            });
        }
        let resources = Resources {
            topic_arn: Some(topic),
            ..Resources::state_bucket(vars)?
        };
        Ok((Self::default(), resources))
    }

    /// Handles one event.
    ///
    /// # Errors
    /// If a Driftwarden event cannot be parsed, AWS fails, a destination refuses a notification, or every destination
    /// fails. Lambda retries the event, then moves it to the dead-letter queue. The ticks retry failed deliveries.
    pub async fn handle<C: Clients>(
        &self,
        aws: &C,
        payload: &str,
        request_id: &str,
        deadline: Timestamp,
    ) -> Result<Handled, Error> {
        let event = ReceivedEvent::parse(payload)?;
        let caller = Caller::new(request_id, aws.now());
        let incoming = match &event.incoming {
            Incoming::Tick => return self.tick(aws, &caller, deadline).await,
            Incoming::Own(own) => IncomingNotification::from_event(own, event.region.as_deref(), caller.now),
            Incoming::Aws(_) => None,
        };
        let Some(incoming) = incoming else {
            let reason = format!("`{}` causes no notification", event.detail_type);
            tracing::debug!(reason = %reason, "event ignored");
            return Ok(Handled::Ignored { reason });
        };
        if caller.now.duration_since(incoming.notification.time) > MAX_EVENT_AGE {
            let days = MAX_EVENT_AGE.as_hours() / 24;
            let reason = format!(
                "the event is older than {days} days, and may have been sent: {}",
                incoming.notification.subject
            );
            tracing::warn!(reason = %reason, "event ignored");
            return Ok(Handled::Ignored { reason });
        }
        self.process(aws, &incoming, &caller, deadline).await
    }

    async fn process<C: Clients>(
        &self,
        aws: &C,
        incoming: &IncomingNotification,
        caller: &Caller,
        deadline: Timestamp,
    ) -> Result<Handled, Error> {
        let routes = self.routes(aws).await?;
        let model = &incoming.model;
        let key = Threads::key(model);
        let deliveries = Deliveries::default();
        let work = Work {
            caller,
            deadline,
            at_once: true,
            deliveries: &deliveries,
        };
        let updated = update_document(
            aws,
            &key,
            load(aws, &key).await?,
            caller,
            || Threads::new(model),
            |threads| threads.apply(incoming, &routes, caller),
            async |effect: &Effect| self.execute(aws, model, effect, work).await,
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
        fail_if_refused(&deliveries)?;
        let pending = deliveries.pending();
        if deliveries.accepted() == 0 && !pending.is_empty() {
            // Some operator has to learn of it: the error raises an alarm.
            return Err(Error::NotificationUndelivered(pending.join("; ")));
        }
        Ok(match delivery {
            Delivery::Duplicate => {
                // Lambda retries an event that reached no destination a minute later.
                let work = Work { at_once: false, ..work };
                for error in self.send_due(aws, work).await.failures {
                    tracing::warn!(error = %chain(&error), "pending notifications not sent");
                }
                Handled::Duplicate { subject }
            }
            Delivery::Repeat => Handled::Repeat { subject },
            Delivery::Sent(0) if incoming.silent => Handled::Ignored {
                reason: format!("not sent at the automation level `observe`: {subject}"),
            },
            Delivery::Sent(0) => Handled::Ignored {
                reason: format!("no [[notification]] table of the policy matches: {subject}"),
            },
            Delivery::Sent(destinations) => Handled::Sent {
                subject,
                destinations,
                pending: pending.len(),
            },
        })
    }

    /// Sends what is due: first what quiet hours and digests held, then counts of repeats, and what is pending for each
    /// destination. A destination that fails delays no other, and is no error.
    async fn tick<C: Clients>(&self, aws: &C, caller: &Caller, deadline: Timestamp) -> Result<Handled, Error> {
        let routes = self.routes(aws).await?;
        let deliveries = Deliveries::default();
        let work = Work {
            caller,
            deadline,
            at_once: false,
            deliveries: &deliveries,
        };
        let mut failures = Vec::new();
        let held = self.release_held(aws, work, &mut failures).await;
        let (models, left) = self.tick_models(aws, &routes, work, &mut failures).await;
        let mut sent = self.send_due(aws, work).await;
        failures.append(&mut sent.failures);
        self.report(aws, &routes, work, &mut sent, &mut failures).await;
        for error in &failures {
            tracing::error!(error = %chain(error), "part of the tick failed");
        }
        let pending = sent.queues.values().map(DestinationQueue::pending_count).sum();
        match failures.into_iter().next() {
            Some(error) => Err(error),
            None => Ok(Handled::Ticked {
                models,
                held,
                delivered: sent.delivered,
                pending,
                left,
            }),
        }
    }

    /// Moves the held notifications that are due to the documents of their destinations. Returns their number.
    async fn release_held<C: Clients>(&self, aws: &C, work: Work<'_>, failures: &mut Vec<Error>) -> usize {
        let keys = list(aws, held::FOLDER, failures).await;
        let released = stream::iter(keys.iter().map(|key| self.send_held(aws, key, work)));
        let released: Vec<_> = released.buffer_unordered(CONCURRENT_DOCUMENTS).collect().await;
        let mut held = 0;
        for result in released {
            match result {
                Ok(sent) => held += usize::from(sent),
                Err(error) => failures.push(error),
            }
        }
        held
    }

    /// Processes the models with counts of repeats, or with deliveries of an interrupted invocation: those that wait
    /// longest first, for half of the time. Returns their number, and the number of those that are left.
    async fn tick_models<C: Clients>(
        &self,
        aws: &C,
        routes: &[NotificationRoute],
        work: Work<'_>,
        failures: &mut Vec<Error>,
    ) -> (usize, usize) {
        let start = aws.now();
        let until = start.saturating_add(work.deadline.duration_since(start) / 2);
        let until = until.unwrap_or(work.deadline).min(work.deadline);
        let pending = match load::<Pending>(aws, PENDING_KEY).await {
            Ok(pending) => pending.document().map(|pending| pending.models.clone()),
            Err(error) => {
                failures.push(error.into());
                None
            }
        };
        let mut pending: Vec<(String, Timestamp)> = pending.unwrap_or_default().into_iter().collect();
        pending.sort_by_key(|(_, since)| *since);
        let ticked = stream::iter(pending.iter().map(async |(model, since)| {
            let has_time = aws.now().saturating_add(RESERVE).is_ok_and(|then| then < until);
            let again = if has_time {
                Some(self.tick_model(aws, model, routes, work).await)
            } else {
                None
            };
            (model, since, again)
        }));
        let ticked: Vec<_> = ticked.buffer_unordered(CONCURRENT_DOCUMENTS).collect().await;
        let (mut models, mut left, mut processed) = (0, 0, BTreeMap::new());
        for (model, since, again) in ticked {
            match again {
                Some(Ok(again)) => {
                    models += 1;
                    processed.insert(model, (since, again));
                }
                Some(Err(error)) => failures.push(error),
                None => left += 1,
            }
        }
        if !processed.is_empty() {
            // A model that was marked again in the meantime stays. One that waits moves to the end.
            let update = |pending: &mut Pending| {
                pending.models.retain(|model, since| match processed.get(model) {
                    Some((known, again)) if *known == since => {
                        *since = start;
                        *again
                    }
                    _ => true,
                });
            };
            if let Err(error) = change(aws, PENDING_KEY, work.caller, Pending::default, update).await {
                failures.push(UpdateError::from(error).into());
            }
        }
        (models, left)
    }

    /// Sends the counts of a model that are due. Returns whether the next tick has to process the model again.
    async fn tick_model<C: Clients>(
        &self,
        aws: &C,
        model: &str,
        routes: &[NotificationRoute],
        work: Work<'_>,
    ) -> Result<bool, Error> {
        let key = Threads::key(model);
        let again = update_document(
            aws,
            &key,
            load(aws, &key).await?,
            work.caller,
            || Threads::new(model),
            |threads| threads.tick(routes, work.caller),
            async |effect: &Effect| self.execute(aws, model, effect, work).await,
        );
        Ok(again.await?)
    }

    /// Releases the held notifications of a destination if they are due. Returns whether they were.
    async fn send_held<C: Clients>(&self, aws: &C, key: &str, work: Work<'_>) -> Result<bool, Error> {
        let loaded = load::<HeldNotifications>(aws, key).await?;
        let Some(document) = loaded.document().filter(|held| held.is_due(work.caller.now)).cloned() else {
            return Ok(false);
        };
        update_document(
            aws,
            key,
            loaded,
            work.caller,
            || document.to_empty(),
            |held| held.release(work.caller),
            async |effect: &Effect| self.execute(aws, "", effect, work).await,
        )
        .await?;
        Ok(true)
    }

    /// Sends what is pending for each destination, to all destinations at the same time.
    async fn send_due<C: Clients>(&self, aws: &C, work: Work<'_>) -> SentPending {
        let mut sent = SentPending::default();
        let keys = list(aws, queue::FOLDER, &mut sent.failures).await;
        let all = stream::iter(keys.iter().map(async |key| {
            let loaded = load::<DestinationQueue>(aws, key).await?;
            let Some(queue) = loaded.document().cloned() else {
                return Ok((None, 0));
            };
            if !queue.has_work(aws.now()) {
                return Ok((Some(queue), 0));
            }
            let (after, delivered) = self
                .send_pending(aws, &queue.to, work)
                .await
                .map_err(UpdateError::from)?;
            Ok::<_, Error>((Some(after.unwrap_or(queue)), delivered))
        }));
        let all: Vec<_> = all.buffer_unordered(CONCURRENT_DOCUMENTS).collect().await;
        for result in all {
            match result {
                Ok((queue, delivered)) => {
                    sent.delivered += delivered;
                    sent.queues.extend(queue.map(|queue| (identity(&queue.to), queue)));
                }
                Err(error) => sent.failures.push(error),
            }
        }
        sent
    }

    /// Reports destinations that fail, and undelivered notifications, through another destination. Without another one,
    /// the report is an error.
    async fn report<C: Clients>(
        &self,
        aws: &C,
        routes: &[NotificationRoute],
        work: Work<'_>,
        sent: &mut SentPending,
        failures: &mut Vec<Error>,
    ) {
        let now = aws.now();
        let failing: BTreeSet<&String> = sent
            .queues
            .iter()
            .filter(|(_, queue)| queue.is_failing())
            .map(|(name, _)| name)
            .collect();
        let mut recipients = BTreeMap::new();
        for queue in sent.queues.values() {
            for report in queue.reports(now) {
                let notification = report::report_notification(&queue.to, &report, now);
                let to = report::recipient(&queue.to, routes, |to| failing.contains(&identity(to)));
                let added = if let Some(to) = &to {
                    let pending = queue::PendingNotification::new(None, &notification, now);
                    let key = DestinationQueue::key(to);
                    let add = |queue: &mut DestinationQueue| queue.add(pending.clone(), now);
                    change(aws, &key, work.caller, || DestinationQueue::new(to), add).await
                } else {
                    let why = notification.why.as_deref().unwrap_or_default();
                    failures.push(Error::NotificationUndelivered(format!("{} {why}", notification.what)));
                    Ok(())
                };
                // Recorded after the report is stored, so that an interruption loses no report.
                let record = |queue: &mut DestinationQueue| queue.reported(&report, now);
                let new = || DestinationQueue::new(&queue.to);
                let recorded = match added {
                    Ok(()) => change(aws, &DestinationQueue::key(&queue.to), work.caller, new, record).await,
                    Err(error) => Err(error),
                };
                if let Err(error) = recorded {
                    failures.push(UpdateError::from(error).into());
                }
                recipients.extend(to.map(|to| (identity(&to), to)));
            }
        }
        for (name, to) in recipients {
            match self.send_pending(aws, &to, work).await {
                Ok((queue, delivered)) => {
                    sent.delivered += delivered;
                    sent.queues.extend(queue.map(|queue| (name, queue)));
                }
                Err(error) => failures.push(UpdateError::from(error).into()),
            }
        }
    }

    /// Routes of notifications. Without a valid policy, the default route applies, so that no notification is lost.
    async fn routes(&self, aws: &impl Documents) -> Result<Vec<NotificationRoute>, Error> {
        let policy = match self.policy.load(aws).await {
            Ok(policy) => policy,
            Err(LoadPolicyError::Aws(error)) => return Err(UpdateError::from(error).into()),
            Err(error) => {
                tracing::error!(error = %error, "no valid policy: all notifications go to the deployment's topic");
                Arc::new(Policy::default())
            }
        };
        Ok(policy.notifications())
    }
}

/// What was sent to the destinations with pending notifications.
#[derive(Debug, Default)]
struct SentPending {
    /// The documents afterwards, by the identity of the destination.
    queues: BTreeMap<String, DestinationQueue>,
    /// Number of notifications that were delivered.
    delivered: usize,
    failures: Vec<Error>,
}

/// Keys of the documents in a folder.
async fn list(aws: &impl Documents, folder: &str, failures: &mut Vec<Error>) -> Vec<String> {
    match aws.keys(folder).await {
        Ok(keys) => keys,
        Err(error) => {
            failures.push(UpdateError::from(error).into());
            Vec::new()
        }
    }
}

/// An error that lists the refusals, if there are any.
fn fail_if_refused(deliveries: &Deliveries) -> Result<(), Error> {
    let refusals = deliveries.refused();
    if refusals.is_empty() {
        Ok(())
    } else {
        Err(Error::NotificationRefused(refusals.join("; ")))
    }
}
