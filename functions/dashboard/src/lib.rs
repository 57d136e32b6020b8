#![doc = include_str!("../README.md")]

mod error;
mod queries;
mod read;
mod reports;

pub use error::DashboardError;
pub use queries::{AwsQueries, facts};
pub use read::{ModelState, model, models};
pub use reports::{Files, comparisons, metrics};

use futures_util::stream::{self, StreamExt as _};
use jiff::{SignedDuration, Timestamp};
use model_dashboard::{
    Comparison, Console, Deployment, ExecutionMetrics, Facts, ModelView, OVERVIEW, Summary, model_page,
};
use model_monitor::{Detail, Event};
use remediation::{Policy, schedule_key};
use serde::{Serialize, de::DeserializeOwned};
use shell::{
    AwsError, Kind, PolicyStore,
    config::{ConfigError, Vars},
    ports::{Clock, Documents, ETag, Fetched, Precondition},
};
use std::{collections::BTreeSet, time::Duration};

/// Prefix of the pages in the state bucket.
pub const PREFIX: &str = "dashboard/";
/// Prefix of the models' summaries, from which the overview is rendered.
const SUMMARIES: &str = "dashboard/data/summaries/";
/// Prefix of the models' metric values. Each report file is read once.
const MEASURED: &str = "dashboard/data/measured/";
/// Number of models that are processed concurrently. More would be throttled by SageMaker.
const MODELS_AT_ONCE: usize = 6;
/// Number of summaries that are read concurrently.
const SUMMARIES_AT_ONCE: usize = 64;
/// Maximum number of attempts to write a page that other invocations write at the same time.
const MAX_ATTEMPTS: u32 = 8;
/// Facts from AWS are reused for this time, because events come in bursts.
const FACTS_TTL: SignedDuration = SignedDuration::from_mins(5);
/// No new model is started within this time before the function's deadline.
const RESERVE: SignedDuration = SignedDuration::from_secs(30);

/// AWS APIs that the dashboard uses.
pub trait DashboardClients: AwsQueries + Files + Clock {}

impl<W: AwsQueries + Files + Clock> DashboardClients for W {}

/// The `dashboard` function.
#[derive(Debug)]
pub struct Dashboard {
    name: String,
    console: Console,
    policy: PolicyStore,
}

/// Outcome of an event: the response of the function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "lowercase")]
pub enum Handled {
    /// Pages were written.
    Rendered {
        /// Number of models whose page was written.
        models: usize,
        /// Number of models left for the next tick because the deadline was near.
        left: usize,
    },
    /// The event changes no page.
    Ignored {
        /// Why the event was ignored.
        reason: String,
    },
}

/// The page of a model and its summary.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// HTML of the page.
    pub html: String,
    /// Summary of the model for the overview.
    pub summary: Summary,
}

/// Renders the page of a model. `of_aws` are the facts, metric values, and distributions from AWS.
pub fn page(
    deployment: &str,
    known: &ModelState,
    policy: &Policy,
    of_aws: (Facts, &[ExecutionMetrics], &[Comparison]),
    console: &Console,
    now: Timestamp,
) -> Page {
    let (facts, measured, comparisons) = of_aws;
    let documents = known.documents(policy);
    let summary = Summary::from_documents(&documents, facts, now);
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
    /// Creates the function from the name of the deployment and the region of the console.
    pub fn new(name: impl Into<String>, region: Option<&str>) -> Self {
        Self {
            name: name.into(),
            console: Console::new(region),
            policy: PolicyStore::default(),
        }
    }

    /// Creates the function from environment variables. Also returns the name of the state bucket.
    ///
    /// # Errors
    /// If a variable is missing or invalid.
    pub fn from_vars(vars: &Vars<impl Fn(&str) -> Option<String>>) -> Result<(Self, String), ConfigError> {
        let state_bucket = vars.bucket("STATE_BUCKET")?;
        let name = vars.optional("DEPLOYMENT_NAME").unwrap_or_else(|| state_bucket.clone());
        Ok((Self::new(name, vars.optional("AWS_REGION").as_deref()), state_bucket))
    }

    /// Handles one event.
    ///
    /// # Errors
    /// If the event cannot be parsed, or a call to AWS fails. Lambda retries the event, then sends it to the dead-letter queue.
    pub async fn handle<W: DashboardClients>(
        &self,
        clients: &W,
        payload: &str,
        deadline: Timestamp,
    ) -> Result<Handled, DashboardError> {
        let event = Event::parse("event", payload.as_bytes()).map_err(DashboardError::Event)?;
        let detail_type = event.detail_type.as_str();
        if event.source == "aws.events" && detail_type == "Scheduled Event" {
            return self.render_all(clients, deadline).await;
        }
        let Detail::Other(detail) = &event.detail else {
            return Ok(ignored(format!("`{detail_type}` changes no page")));
        };
        let model = detail.get("model").and_then(serde_json::Value::as_str);
        let (true, Some(model)) = (event.source == "driftwarden", model) else {
            return Ok(ignored(format!(
                "`{detail_type}` from `{}` names no model of Driftwarden",
                event.source
            )));
        };
        let schedule = detail.get("monitoringSchedule").and_then(serde_json::Value::as_str);
        let policy = self.policy.load(clients).await.map_err(DashboardError::Policy)?;
        let mut schedules = model_schedules(clients, model).await?;
        schedules.extend(schedule.map(str::to_owned));
        self.render_model(clients, &policy, model, schedules).await?;
        self.render_overview(clients, &policy, &[]).await?;
        tracing::info!(model, "pages written");
        Ok(Handled::Rendered { models: 1, left: 0 })
    }

    /// Renders all pages.
    async fn render_all<W: DashboardClients>(
        &self,
        clients: &W,
        deadline: Timestamp,
    ) -> Result<Handled, DashboardError> {
        let policy = self.policy.load(clients).await.map_err(DashboardError::Policy)?;
        let (found, notes) = models(clients).await.map_err(DashboardError::Aws)?;
        let count = found.len();
        let policy = &policy;
        let rendered = found.into_iter().map(|(model, schedules)| async move {
            if deadline.duration_since(clients.now()) < RESERVE {
                return (model, None);
            }
            let result = self.render_model(clients, policy, &model, schedules).await;
            (model, Some(result))
        });
        let mut rendered = stream::iter(rendered).buffer_unordered(MODELS_AT_ONCE);
        let (mut left, mut failed) = (0, 0);
        while let Some((model, result)) = rendered.next().await {
            match result {
                None => left += 1,
                Some(Ok(())) => {}
                Some(Err(error)) => {
                    failed += 1;
                    tracing::error!(model, error = %shell::chain(&error), "failed to write the page of a model");
                }
            }
        }
        self.render_overview(clients, policy, &notes).await?;
        tracing::info!(models = count, left, failed, "pages written");
        if failed > 0 {
            return Err(DashboardError::Incomplete { failed, models: count });
        }
        Ok(Handled::Rendered {
            models: count - left,
            left,
        })
    }

    /// Renders the page of a model, and its summary for the overview.
    async fn render_model<W: DashboardClients>(
        &self,
        clients: &W,
        policy: &Policy,
        model: &str,
        mut schedules: BTreeSet<String>,
    ) -> Result<(), DashboardError> {
        let page_key = format!("{PREFIX}{}", model_dashboard::page_path(model));
        let summary_key = format!("{SUMMARIES}{}", data_file(model));
        let measured_key = format!("{MEASURED}{}", data_file(model));
        for attempt in 0..MAX_ATTEMPTS {
            backoff(clients, attempt).await;
            // Entity tags are read before the documents: another invocation that writes in between has read no newer documents.
            let (_, page_etag) = bytes(clients, &page_key).await?;
            let (summary_before, summary_etag) = stored::<Summary>(clients, &summary_key).await?;
            let (values_before, measured_etag) = stored::<Vec<ExecutionMetrics>>(clients, &measured_key).await?;
            let now = clients.now();
            let monitors_before = summary_before.iter().flat_map(|summary| &summary.monitors);
            schedules.extend(monitors_before.map(|monitor| monitor.schedule.clone()));
            let mut known = read::model(clients, model, &schedules)
                .await
                .map_err(DashboardError::Aws)?;
            let facts_before = summary_before.as_ref().map(|summary| &summary.facts);
            let fresh = facts_before.filter(|facts| facts.at.is_some_and(|at| now.duration_since(at) < FACTS_TTL));
            let facts = match fresh {
                Some(facts) => facts.clone(),
                None => facts(clients, &known, policy, facts_before, now).await,
            };
            let values_before = values_before.unwrap_or_default();
            let values = metrics(clients, &known, policy, values_before.clone())
                .await
                .map_err(DashboardError::Aws)?;
            let mut notes = Vec::new();
            let distributions = comparisons(clients, &known, policy, &mut notes)
                .await
                .map_err(DashboardError::Aws)?;
            known.notes.append(&mut notes);
            let page = page(
                &self.name,
                &known,
                policy,
                (facts, &values, &distributions),
                &self.console,
                now,
            );
            if values != values_before {
                // A conflict does no harm: the values can be read from the reports again.
                written(put(clients, &measured_key, json(&values), measured_etag).await)?;
            }
            let summary = json(&page.summary);
            if written(put(clients, &summary_key, summary, summary_etag).await)?
                && written(put(clients, &page_key, page.html.into_bytes(), page_etag).await)?
            {
                return Ok(());
            }
        }
        Err(DashboardError::Contended { key: page_key })
    }

    /// Renders the overview from the summaries of all models.
    async fn render_overview<W: DashboardClients>(
        &self,
        clients: &W,
        policy: &Policy,
        notes: &[String],
    ) -> Result<(), DashboardError> {
        let key = format!("{PREFIX}{OVERVIEW}");
        for attempt in 0..MAX_ATTEMPTS {
            backoff(clients, attempt).await;
            let (_, etag) = bytes(clients, &key).await?;
            let models = summaries(clients).await?;
            let html = model_dashboard::overview(&Deployment {
                name: &self.name,
                now: clients.now(),
                policy_version: policy.version(),
                models: &models,
                notes,
                console: &self.console,
            });
            if written(put(clients, &key, html.into_bytes(), etag).await)? {
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

/// Reads the summaries of all models.
async fn summaries(clients: &impl Documents) -> Result<Vec<Summary>, DashboardError> {
    let keys = clients.list(SUMMARIES).await.map_err(DashboardError::Aws)?;
    let read = keys.iter().map(|key| stored::<Summary>(clients, key));
    let mut read = stream::iter(read).buffered(SUMMARIES_AT_ONCE);
    let mut summaries = Vec::with_capacity(keys.len());
    while let Some(summary) = read.next().await {
        summaries.extend(summary?.0);
    }
    Ok(summaries)
}

/// Schedules of all monitors of a model, also of those that have never been in alert. Ledgers that a summary assigns to another
/// model are not read: otherwise each event would read all ledgers.
async fn model_schedules(clients: &impl Documents, model: &str) -> Result<BTreeSet<String>, DashboardError> {
    let summaries = summaries(clients).await?;
    let others = summaries.iter().filter(|summary| summary.model != model);
    let others = others.flat_map(|summary| &summary.monitors);
    let others = others.map(|monitor| schedule_key(&monitor.schedule)).collect();
    read::schedules_for(clients, model, &others)
        .await
        .map_err(DashboardError::Aws)
}

/// File name of a model's data: that of its page, with another extension.
fn data_file(model: &str) -> String {
    let page = model_dashboard::page_path(model);
    let name = page.trim_start_matches("models/").trim_end_matches(".html");
    format!("{name}.json")
}

fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

/// Waits before another attempt: a random time, longer with each attempt.
async fn backoff(clients: &impl Clock, attempt: u32) {
    if attempt > 0 {
        let limit = 40u64 << attempt.min(6);
        clients.sleep(Duration::from_millis(fastrand::u64(5..limit))).await;
    }
}

/// Content and entity tag of an object, if it exists.
async fn bytes(clients: &impl Documents, key: &str) -> Result<(Option<Vec<u8>>, Option<ETag>), DashboardError> {
    match clients.read(key, None).await.map_err(DashboardError::Aws)? {
        Fetched::Found(body, etag) => Ok((Some(body), Some(etag))),
        Fetched::Absent | Fetched::Unchanged => Ok((None, None)),
    }
}

/// A stored object and its entity tag. An object that cannot be parsed, for example of an earlier version, counts as absent.
async fn stored<T: DeserializeOwned>(
    clients: &impl Documents,
    key: &str,
) -> Result<(Option<T>, Option<ETag>), DashboardError> {
    let (body, etag) = bytes(clients, key).await?;
    Ok((body.and_then(|body| serde_json::from_slice(&body).ok()), etag))
}

async fn put(clients: &impl Documents, key: &str, body: Vec<u8>, etag: Option<ETag>) -> Result<(), AwsError> {
    let precondition = etag.map_or(Precondition::Absent, Precondition::Unchanged);
    clients.write(key, body, &precondition).await.map(drop)
}

/// Whether the object was written. `false` if another invocation was faster.
fn written(put: Result<(), AwsError>) -> Result<bool, DashboardError> {
    match put {
        Ok(()) => Ok(true),
        Err(error) if error.kind == Kind::Conflict => Ok(false),
        Err(error) => Err(DashboardError::Aws(error)),
    }
}
