//! Renders marked pages, in rounds. A round has the marked models, longest marked first. While all models are rendered, a round also
//! has the models whose pages are oldest, so that new marks wait for a round and not for all models.

use crate::dashboard::{
    DashboardClients, Handled, PREFIX, bytes, data_file, json,
    marks::{self, Mark, Marks},
    models, page, put,
    queries::facts,
    read,
    reports::{comparisons, metrics},
    stored,
    summaries::Summaries,
    written,
};
use crate::{Error, Incomplete};
use futures_util::stream::{self, StreamExt as _};
use jiff::{SignedDuration, Timestamp};
use machine::Documents;
use model_dashboard::{Console, Deployment, ExecutionMetrics, OVERVIEW, Summary};
use remediation::Policy;
use std::collections::{BTreeMap, BTreeSet};

/// Prefix of the models' metric values. Each report file is read once.
const MEASURED: &str = "dashboard/data/measured/";
/// Number of models that are processed concurrently. More would be throttled by SageMaker.
const MODELS_AT_ONCE: usize = 6;
/// Number of models in a round while all models are rendered.
const MODELS_PER_ROUND: usize = 60;
/// A page that cannot be written is tried again for this time. Then it waits for the next event or rebuild.
const RETRY_TIME: SignedDuration = SignedDuration::from_mins(10);
/// Facts from AWS are reused for this time, because events come in bursts.
const FACTS_TTL: SignedDuration = SignedDuration::from_mins(5);
/// No new model is started within this time before the function's deadline.
const RESERVE: SignedDuration = SignedDuration::from_secs(30);

/// What all pages have in common.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Site<'a> {
    /// Name of the deployment.
    pub name: &'a str,
    /// Links to the console.
    pub console: &'a Console,
    /// The effective policy.
    pub policy: &'a Policy,
    /// Time at which Lambda stops the invocation.
    pub deadline: Timestamp,
}

/// Outcome of rendering the page of a model.
enum PageOutcome {
    /// The page was written.
    Written(Box<Summary>),
    /// The page has to be rendered later.
    Left,
}

/// Rendering by one invocation.
struct Rendering<'a> {
    site: Site<'a>,
    summaries: Summaries,
    rebuild: Option<Rebuild>,
    /// Models whose page could not be written.
    failed: BTreeSet<String>,
    counts: Counts,
}

/// Number of models by outcome.
#[derive(Default)]
struct Counts {
    written: usize,
    /// Models that are left for the next tick.
    left: usize,
    /// Models whose page waits for the next event or rebuild.
    failed: usize,
    /// The first error of these.
    first: Option<String>,
}

/// Rendering of all models.
struct Rebuild {
    /// Marks of the rebuild.
    marks: Vec<Mark>,
    /// All models with the schedules of their monitors.
    found: BTreeMap<String, BTreeSet<String>>,
    /// Models that have to be rendered; first the one whose page is oldest.
    stale: Vec<String>,
    /// Whether no model was left for the next tick.
    is_complete: bool,
}

/// The models of a round.
struct Round {
    /// Marks as listed at the beginning. Those that arrive later survive the round.
    marks: Marks,
    /// Models to render, in order. Marked ones are first.
    models: Vec<String>,
    /// Number of marked models.
    marked: usize,
}

/// Renders what is marked.
pub(crate) async fn render_marked(clients: &impl DashboardClients, site: Site<'_>) -> Result<Handled, Error> {
    let mut rendering = Rendering {
        site,
        summaries: Summaries::read(clients).await?,
        rebuild: None,
        failed: BTreeSet::new(),
        counts: Counts::default(),
    };
    while let Some(round) = rendering.next_round(clients).await? {
        if !rendering.render_round(clients, round).await? {
            break;
        }
    }
    rendering.conclude(clients).await
}

impl Rendering<'_> {
    fn is_near_deadline(&self, clients: &impl DashboardClients) -> bool {
        is_near(self.site.deadline, clients.now())
    }

    /// The models of the next round. `None` if nothing is marked.
    async fn next_round(&mut self, clients: &impl DashboardClients) -> Result<Option<Round>, Error> {
        let mut marks = Marks::list(clients).await?;
        if !self.summaries.is_complete && marks.all.is_empty() {
            // Without summaries, the overview would have only the marked models.
            marks::leave(clients, "no-summaries", None).await?;
            marks = Marks::list(clients).await?;
        }
        if self.rebuild.is_none() && !marks.all.is_empty() {
            self.rebuild = Some(Rebuild::begin(clients, &mut self.summaries, &marks).await?);
        }
        let mut models = marks.longest_first();
        models.retain(|model| !self.failed.contains(model));
        let marked = models.len();
        if let Some(rebuild) = &mut self.rebuild {
            rebuild.stale.retain(|model| !marks.models.contains_key(model));
            let count = MODELS_PER_ROUND.saturating_sub(marked).min(rebuild.stale.len());
            models.extend(rebuild.stale.drain(..count));
        } else if models.is_empty() {
            return Ok(None);
        }
        Ok(Some(Round { marks, models, marked }))
    }

    /// Renders a round: the pages, then the overview. Then deletes the marks. Returns whether there may be another round.
    async fn render_round(&mut self, clients: &impl DashboardClients, round: Round) -> Result<bool, Error> {
        let marked = round.marked;
        let outcomes = self.render_models(clients, &round).await?;
        let done = self.record(clients, round.marks, outcomes);
        let is_last = self.is_near_deadline(clients) || self.rebuild.as_ref().is_none_or(|all| all.stale.is_empty());
        if !self.summaries.write(clients).await? {
            // Another invocation has taken over, and renders what is still marked.
            self.counts.left += std::mem::take(&mut self.counts.written);
            if let Some(rebuild) = &mut self.rebuild {
                rebuild.is_complete = false;
            }
            return Ok(false);
        }
        if marked > 0 || is_last {
            self.render_overview(clients).await?;
        }
        marks::delete(clients, done).await?;
        Ok(!is_last)
    }

    /// Renders the pages of a round.
    async fn render_models(
        &self,
        clients: &impl DashboardClients,
        round: &Round,
    ) -> Result<Vec<(String, Result<PageOutcome, Error>)>, Error> {
        let site = self.site;
        let found = self.rebuild.as_ref().map(|rebuild| &rebuild.found);
        let mut new = BTreeMap::new();
        if round.marked > 0 {
            let found = found.into_iter().flat_map(BTreeMap::values).flatten().cloned();
            let known = self.summaries.schedules().into_iter().chain(found).collect();
            new = read::unassigned(clients, &known).await.map_err(Error::Aws)?;
        }
        let rendered = round.models.iter().map(|model| {
            let found = found.and_then(|found| found.get(model));
            let schedules = found.into_iter().chain(new.get(model)).flatten().cloned().collect();
            let before = self.summaries.models.get(model);
            async move {
                let outcome = if is_near(site.deadline, clients.now()) {
                    Ok(PageOutcome::Left)
                } else {
                    render_model(clients, site, model, schedules, before).await
                };
                (model.clone(), outcome)
            }
        });
        Ok(stream::iter(rendered).buffer_unordered(MODELS_AT_ONCE).collect().await)
    }

    /// Records the outcomes of a round. Returns the marks to delete.
    fn record(
        &mut self,
        clients: &impl DashboardClients,
        mut marks: Marks,
        outcomes: Vec<(String, Result<PageOutcome, Error>)>,
    ) -> Vec<Mark> {
        let mut done = Vec::new();
        for (model, outcome) in outcomes {
            match outcome {
                Ok(PageOutcome::Written(summary)) => {
                    self.counts.written += 1;
                    done.extend(marks.models.remove(&model).unwrap_or_default());
                    self.summaries.models.insert(model, *summary);
                }
                Ok(PageOutcome::Left) => {
                    self.counts.left += 1;
                    if let Some(rebuild) = &mut self.rebuild {
                        rebuild.is_complete = false;
                    }
                }
                Err(error) => {
                    tracing::error!(model, error = %machine::chain(&error), "failed to write the page of a model");
                    let mut given_up = marks.models.remove(&model).unwrap_or_default();
                    let is_marked = !given_up.is_empty();
                    given_up.retain(|mark| clients.now().duration_since(mark.since) >= RETRY_TIME);
                    if is_marked && given_up.is_empty() {
                        // The next tick, in a minute, tries again.
                        self.counts.left += 1;
                    } else {
                        self.counts.failed += 1;
                        let first = || format!("model {model}: {}", machine::chain(&error));
                        self.counts.first.get_or_insert_with(first);
                    }
                    done.extend(given_up);
                    self.failed.insert(model);
                }
            }
        }
        done
    }

    /// Ends the rebuild, if every model has had its turn.
    async fn conclude(self, clients: &impl DashboardClients) -> Result<Handled, Error> {
        if let Some(rebuild) = self
            .rebuild
            .filter(|rebuild| rebuild.is_complete && rebuild.stale.is_empty())
        {
            marks::delete(clients, rebuild.marks).await?;
        }
        let Counts {
            written,
            left,
            failed,
            first,
        } = self.counts;
        tracing::info!(models = written, left, failed, "pages written");
        if failed > 0 {
            return Err(Error::Incomplete {
                what: Incomplete::Dashboard,
                failed,
                all: written + left + failed,
                first: first.unwrap_or_default(),
            });
        }
        Ok(Handled::Rendered { models: written, left })
    }

    /// Renders the overview.
    async fn render_overview(&self, clients: &impl DashboardClients) -> Result<(), Error> {
        let key = format!("{PREFIX}{OVERVIEW}");
        let (_, etag) = bytes(clients, &key).await?;
        let models: Vec<Summary> = self.summaries.models.values().cloned().collect();
        let html = model_dashboard::overview(&Deployment {
            name: self.site.name,
            now: clients.now(),
            policy_version: self.site.policy.version(),
            models: &models,
            notes: &self.summaries.notes,
            console: self.site.console,
        });
        if !written(put(clients, &key, html.into_bytes(), etag).await)? {
            tracing::info!("overview not written: another invocation has written it");
        }
        Ok(())
    }
}

impl Rebuild {
    /// Lists the models. Those that were rendered after the mark are done: an earlier invocation has begun the rebuild.
    async fn begin(clients: &impl Documents, summaries: &mut Summaries, marks: &Marks) -> Result<Self, Error> {
        let (found, notes) = models(clients).await.map_err(Error::Aws)?;
        summaries.notes = notes;
        // A model whose documents were deleted is not on the overview.
        summaries.models.retain(|model, _| found.contains_key(model));
        let rendered_at = |model: &str| summaries.models.get(model).map(|summary| summary.at);
        let since = marks.all.last().map(|mark| mark.since);
        let mut stale: Vec<String> = found.keys().cloned().collect();
        stale.retain(|model| rendered_at(model).is_none_or(|rendered_at| Some(rendered_at) < since));
        stale.sort_by_key(|model| rendered_at(model));
        Ok(Self {
            marks: marks.all.clone(),
            found,
            stale,
            is_complete: true,
        })
    }
}

/// Whether the deadline is too near to start another model.
fn is_near(deadline: Timestamp, now: Timestamp) -> bool {
    deadline.duration_since(now) < RESERVE
}

/// Renders the page of a model.
async fn render_model(
    clients: &impl DashboardClients,
    site: Site<'_>,
    model: &str,
    mut schedules: BTreeSet<String>,
    before: Option<&Summary>,
) -> Result<PageOutcome, Error> {
    let policy = site.policy;
    let page_key = format!("{PREFIX}{}", model_dashboard::page_path(model));
    let measured_key = format!("{MEASURED}{}", data_file(model));
    // Entity tags are read before the documents: another invocation that writes in between has read no newer documents.
    let (_, page_etag) = bytes(clients, &page_key).await?;
    let (values_before, measured_etag) = stored::<Vec<ExecutionMetrics>>(clients, &measured_key).await?;
    let now = clients.now();
    let monitors_before = before.iter().flat_map(|summary| &summary.monitors);
    schedules.extend(monitors_before.map(|monitor| monitor.schedule.clone()));
    let mut known = read::model(clients, model, &schedules).await.map_err(Error::Aws)?;
    let facts_before = before.map(|summary| &summary.facts);
    let fresh = facts_before.filter(|facts| facts.at.is_some_and(|at| now.duration_since(at) < FACTS_TTL));
    let facts = match fresh {
        Some(facts) => facts.clone(),
        None => facts(clients, &known, policy, facts_before, now).await,
    };
    let values_before = values_before.unwrap_or_default();
    let values = metrics(clients, &known, policy, values_before.clone())
        .await
        .map_err(Error::Aws)?;
    let mut notes = Vec::new();
    let distributions = comparisons(clients, &known, policy, &mut notes)
        .await
        .map_err(Error::Aws)?;
    known.notes.append(&mut notes);
    let page = page(
        site.name,
        &known,
        policy,
        (facts, &values, &distributions),
        site.console,
        now,
    );
    if values != values_before {
        // A conflict does no harm: the values can be read from the reports again.
        written(put(clients, &measured_key, json(&values), measured_etag).await)?;
    }
    if written(put(clients, &page_key, page.html.into_bytes(), page_etag).await)? {
        return Ok(PageOutcome::Written(Box::new(page.summary)));
    }
    // Another invocation has rendered the page. The mark stays, because it may have read older documents.
    Ok(PageOutcome::Left)
}
