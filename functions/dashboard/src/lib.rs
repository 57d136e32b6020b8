#![doc = include_str!("../README.md")]

mod ask;
mod error;
mod read;
mod reports;

pub use ask::{Asked, facts};
pub use error::DashboardError;
pub use read::{Known, model, models};
pub use reports::{Files, comparisons, measured};

use futures_util::stream::{self, StreamExt as _};
use jiff::{SignedDuration, Timestamp};
use model_dashboard::{Comparison, Console, Deployment, Facts, Measured, ModelView, OVERVIEW, Summary, model_page};
use model_monitor::{Detail, Event};
use remediation::Policy;
use serde::{Serialize, de::DeserializeOwned};
use shell::{
    AwsError, Kind, PolicyStore,
    config::{ConfigError, Vars},
    ports::{Clock, Documents, ETag, Fetched, Precondition},
};
use std::{collections::BTreeSet, time::Duration};

/// Where the pages lie in the state bucket.
pub const PREFIX: &str = "dashboard/";
/// Where the overview's part of each model lies.
const SUMMARIES: &str = "dashboard/data/summaries/";
/// Where what was measured of each model lies: read once of the reports.
const MEASURED: &str = "dashboard/data/measured/";
/// So many models are looked after at the same time: SageMaker throttles sooner than it is slow.
const AT_ONCE: usize = 6;
/// So many summaries are read at the same time.
const SUMMARIES_AT_ONCE: usize = 64;
/// How often a page is made anew because somebody else wrote it meanwhile.
const ATTEMPTS: u32 = 8;
/// What AWS said is good for so long: events come in bursts.
const FRESH: SignedDuration = SignedDuration::from_mins(5);
/// So long before the function's deadline no other model is begun with.
const RESERVE: SignedDuration = SignedDuration::from_secs(30);

/// What the dashboard touches of AWS.
pub trait World: Asked + Files + Clock {}

impl<W: Asked + Files + Clock> World for W {}

/// The function.
#[derive(Debug)]
pub struct Dashboard {
    name: String,
    console: Console,
    policy: PolicyStore,
}

/// What became of an event: the function's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "lowercase")]
pub enum Handled {
    /// Pages were made.
    Rendered {
        /// Of so many models.
        models: usize,
        /// So many were left for the next tick, for want of time.
        left: usize,
    },
    /// It does not concern us.
    Ignored {
        /// Why.
        reason: String,
    },
}

/// A page of a model, and what goes with it.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// The page.
    pub html: String,
    /// What the overview says of the model.
    pub summary: Summary,
}

/// The page of a model, of all that is known of it.
pub fn page(
    deployment: &str,
    known: &Known,
    policy: &Policy,
    of_aws: (Facts, &[Measured], &[Comparison]),
    console: &Console,
    now: Timestamp,
) -> Page {
    let (facts, measured, comparisons) = of_aws;
    let documents = known.documents(policy);
    let summary = Summary::of(&documents, facts, now);
    let html = model_page(&ModelView {
        deployment,
        documents,
        summary: &summary,
        measured,
        comparisons,
        notes: &known.notes,
        now,
        console,
    });
    Page { html, summary }
}

impl Dashboard {
    /// The function with the name of the deployment and the region of its console.
    pub fn new(name: impl Into<String>, region: Option<&str>) -> Self {
        Self {
            name: name.into(),
            console: Console::new(region),
            policy: PolicyStore::default(),
        }
    }

    /// The function as the environment configures it, with the state bucket.
    ///
    /// # Errors
    /// If a variable is missing or wrong.
    pub fn from_vars(vars: &Vars<impl Fn(&str) -> Option<String>>) -> Result<(Self, String), ConfigError> {
        let state_bucket = vars.bucket("STATE_BUCKET")?;
        let name = vars.optional("DEPLOYMENT_NAME").unwrap_or_else(|| state_bucket.clone());
        Ok((Self::new(name, vars.optional("AWS_REGION").as_deref()), state_bucket))
    }

    /// Handles one event.
    ///
    /// # Errors
    /// If the event cannot be read, or AWS fails: Lambda retries it, then keeps it in the dead-letter queue.
    pub async fn handle<W: World>(
        &self,
        world: &W,
        payload: &str,
        deadline: Timestamp,
    ) -> Result<Handled, DashboardError> {
        let event = Event::parse("event", payload.as_bytes()).map_err(DashboardError::Event)?;
        let detail_type = event.detail_type.as_str();
        if event.source == "aws.events" && detail_type == "Scheduled Event" {
            return self.everything(world, deadline).await;
        }
        let Detail::Other(detail) = &event.detail else {
            return Ok(ignored(format!("`{detail_type}` changes nothing on a page")));
        };
        let named = detail.get("model").and_then(serde_json::Value::as_str);
        let (true, Some(model)) = (event.source == "driftwarden", named) else {
            return Ok(ignored(format!(
                "`{detail_type}` of `{}` names no model of ours",
                event.source
            )));
        };
        let schedule = detail.get("monitoringSchedule").and_then(serde_json::Value::as_str);
        let policy = self.policy.load(world).await.map_err(DashboardError::Policy)?;
        self.model(world, &policy, model, schedule.into_iter().map(str::to_owned).collect())
            .await?;
        self.overview(world, &policy, &[]).await?;
        tracing::info!(model, "pages made");
        Ok(Handled::Rendered { models: 1, left: 0 })
    }

    /// Makes every page anew.
    async fn everything<W: World>(&self, world: &W, deadline: Timestamp) -> Result<Handled, DashboardError> {
        let policy = self.policy.load(world).await.map_err(DashboardError::Policy)?;
        let (found, notes) = models(world).await.map_err(DashboardError::Aws)?;
        let count = found.len();
        let policy = &policy;
        let made = found.into_iter().map(|(model, schedules)| async move {
            let left = deadline.duration_since(world.now()) < RESERVE;
            if left {
                return (model, None);
            }
            let made = self.model(world, policy, &model, schedules).await;
            (model, Some(made))
        });
        let mut made = stream::iter(made).buffer_unordered(AT_ONCE);
        let (mut left, mut failed) = (0, 0);
        while let Some((model, made)) = made.next().await {
            match made {
                None => left += 1,
                Some(Ok(())) => {}
                Some(Err(error)) => {
                    failed += 1;
                    tracing::error!(model, error = %shell::chain(&error), "no page could be made");
                }
            }
        }
        self.overview(world, policy, &notes).await?;
        tracing::info!(models = count, left, failed, "pages made");
        if failed > 0 {
            return Err(DashboardError::Incomplete { failed, models: count });
        }
        Ok(Handled::Rendered {
            models: count - left,
            left,
        })
    }

    /// Makes the page of a model, and its part of the overview.
    async fn model<W: World>(
        &self,
        world: &W,
        policy: &Policy,
        model: &str,
        mut schedules: BTreeSet<String>,
    ) -> Result<(), DashboardError> {
        let page_key = format!("{PREFIX}{}", model_dashboard::page_of(model));
        let summary_key = format!("{SUMMARIES}{}", data_of(model));
        let measured_key = format!("{MEASURED}{}", data_of(model));
        for attempt in 0..ATTEMPTS {
            backoff(world, attempt).await;
            // Before the documents: whoever writes in between has read no more than will be read here.
            let (_, page_etag) = bytes(world, &page_key).await?;
            let (before, summary_etag) = kept::<Summary>(world, &summary_key).await?;
            let (read_before, measured_etag) = kept::<Vec<Measured>>(world, &measured_key).await?;
            let now = world.now();
            let of_before = before.iter().flat_map(|summary| &summary.monitors);
            schedules.extend(of_before.map(|monitor| monitor.schedule.clone()));
            let mut known = read::model(world, model, &schedules)
                .await
                .map_err(DashboardError::Aws)?;
            let facts_before = before.as_ref().map(|summary| &summary.facts);
            let fresh = facts_before.filter(|facts| facts.at.is_some_and(|at| now.duration_since(at) < FRESH));
            let said = match fresh {
                Some(facts) => facts.clone(),
                None => facts(world, &known, policy, facts_before, now).await,
            };
            let before = read_before.unwrap_or_default();
            let values = measured(world, &known, policy, before.clone())
                .await
                .map_err(DashboardError::Aws)?;
            let mut notes = Vec::new();
            let distributions = comparisons(world, &known, policy, &mut notes)
                .await
                .map_err(DashboardError::Aws)?;
            known.notes.append(&mut notes);
            let page = page(
                &self.name,
                &known,
                policy,
                (said, &values, &distributions),
                &self.console,
                now,
            );
            if values != before {
                // Only what was read of reports: who loses it reads it again.
                written(put(world, &measured_key, json(&values), measured_etag).await)?;
            }
            let summary = json(&page.summary);
            if written(put(world, &summary_key, summary, summary_etag).await)?
                && written(put(world, &page_key, page.html.into_bytes(), page_etag).await)?
            {
                return Ok(());
            }
        }
        Err(DashboardError::Contended { key: page_key })
    }

    /// Makes the overview of what is kept of every model.
    async fn overview<W: World>(&self, world: &W, policy: &Policy, notes: &[String]) -> Result<(), DashboardError> {
        let key = format!("{PREFIX}{OVERVIEW}");
        for attempt in 0..ATTEMPTS {
            backoff(world, attempt).await;
            let (_, etag) = bytes(world, &key).await?;
            let keys = world.list(SUMMARIES).await.map_err(DashboardError::Aws)?;
            let read = keys.iter().map(|key| kept::<Summary>(world, key));
            let mut read = stream::iter(read).buffered(SUMMARIES_AT_ONCE);
            let mut models = Vec::with_capacity(keys.len());
            while let Some(summary) = read.next().await {
                models.extend(summary?.0);
            }
            let html = model_dashboard::overview(&Deployment {
                name: &self.name,
                now: world.now(),
                policy_version: policy.version(),
                models: &models,
                notes,
                console: &self.console,
            });
            if written(put(world, &key, html.into_bytes(), etag).await)? {
                return Ok(());
            }
        }
        Err(DashboardError::Contended { key })
    }
}

fn ignored(reason: String) -> Handled {
    tracing::debug!(reason = %reason, "event ignored");
    Handled::Ignored { reason }
}

/// The name of a model's data: that of its page.
fn data_of(model: &str) -> String {
    let page = model_dashboard::page_of(model);
    let name = page.trim_start_matches("models/").trim_end_matches(".html");
    format!("{name}.json")
}

fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

/// Waits a while before another attempt, longer each time and never as long as somebody else.
async fn backoff(world: &impl Clock, attempt: u32) {
    if attempt > 0 {
        let most = 40u64 << attempt.min(6);
        world.sleep(Duration::from_millis(fastrand::u64(5..most))).await;
    }
}

/// An object's content and its entity tag, if there is one.
async fn bytes(world: &impl Documents, key: &str) -> Result<(Option<Vec<u8>>, Option<ETag>), DashboardError> {
    match world.read(key, None).await.map_err(DashboardError::Aws)? {
        Fetched::Found(body, etag) => Ok((Some(body), Some(etag))),
        Fetched::Absent | Fetched::Unchanged => Ok((None, None)),
    }
}

/// What was kept before. What cannot be read, of an earlier version perhaps, is made anew.
async fn kept<T: DeserializeOwned>(
    world: &impl Documents,
    key: &str,
) -> Result<(Option<T>, Option<ETag>), DashboardError> {
    let (body, etag) = bytes(world, key).await?;
    Ok((body.and_then(|body| serde_json::from_slice(&body).ok()), etag))
}

async fn put(world: &impl Documents, key: &str, body: Vec<u8>, etag: Option<ETag>) -> Result<(), AwsError> {
    let precondition = etag.map_or(Precondition::Absent, Precondition::Unchanged);
    world.write(key, body, &precondition).await.map(drop)
}

/// Whether it was written, or somebody else was first.
fn written(put: Result<(), AwsError>) -> Result<bool, DashboardError> {
    match put {
        Ok(()) => Ok(true),
        Err(error) if error.kind == Kind::Conflict => Ok(false),
        Err(error) => Err(DashboardError::Aws(error)),
    }
}
