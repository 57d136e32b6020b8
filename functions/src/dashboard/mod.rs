#![doc = include_str!("README.md")]

mod marks;
mod queries;
mod read;
mod render;
mod reports;
mod summaries;

pub use queries::{AwsQueries, facts};
pub use read::{ModelState, model, models};
pub use reports::{Files, comparisons, metrics};

use crate::{Error, Function, Request, Resources};
use alerting::EVENT_SOURCE;
use events::ReceiveError;
use jiff::Timestamp;
use machine::{AwsError, Clock, Documents, ETag, Fetched, Kind, Precondition};
use marks::{Marks, WriterClaim};
use model_dashboard::{Comparison, Console, ExecutionMetrics, Facts, ModelView, Summary, model_page};
use model_monitor::Detail;
use remediation::Policy;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use shell::{
    PolicyStore,
    config::{ConfigError, Vars},
    ports::Marks as DeleteMarks,
};

/// Prefix of the pages in the state bucket.
pub const PREFIX: &str = "dashboard/";

/// AWS APIs that the dashboard uses.
pub trait DashboardClients: AwsQueries + Files + DeleteMarks + Clock {}

impl<W: AwsQueries + Files + DeleteMarks + Clock> DashboardClients for W {}

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
    /// Pages have to be rendered: the next tick does.
    Marked,
    /// Pages were written.
    Rendered {
        /// Number of models whose page was written.
        models: usize,
        /// Number of models left for the next tick, because the deadline was near or their page was not written.
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

impl<C: DashboardClients> Function<C> for Dashboard {
    type Response = Handled;

    async fn invoke(&self, clients: &C, request: Request<'_>) -> Result<Handled, Error> {
        self.handle(clients, request.payload, request.request_id, request.deadline)
            .await
    }
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

    /// Creates the function from environment variables. Also returns the resources that its clients use.
    ///
    /// # Errors
    /// If a variable is missing or invalid.
    pub fn from_vars(vars: &Vars<impl Fn(&str) -> Option<String>>) -> Result<(Self, Resources), ConfigError> {
        let resources = Resources::state_bucket(vars)?;
        let name = vars.optional("DEPLOYMENT_NAME");
        let name = name.unwrap_or_else(|| resources.state_bucket.clone());
        Ok((Self::new(name, vars.optional("AWS_REGION").as_deref()), resources))
    }

    /// Handles one event. `request_id` is the Lambda request ID, which Lambda's retries of the invocation share, and `deadline` the
    /// time at which Lambda stops the invocation.
    ///
    /// # Errors
    /// If the event cannot be parsed, a call to AWS fails, or a page was not written for some time. Lambda retries the event, then
    /// sends it to the dead-letter queue.
    pub async fn handle<W: DashboardClients>(
        &self,
        clients: &W,
        payload: &str,
        request_id: &str,
        deadline: Timestamp,
    ) -> Result<Handled, Error> {
        if serde_json::from_str::<RenderRequest>(payload).is_ok() {
            return self.render(clients, request_id, deadline).await;
        }
        let event = model_monitor::Event::parse("event", payload.as_bytes())
            .map_err(|error| Error::Event(ReceiveError::Event(error)))?;
        let detail_type = event.detail_type.as_str();
        if event.source == "aws.events" && detail_type == "Scheduled Event" {
            marks::leave(clients, &event.id, None).await?;
            return Ok(Handled::Marked);
        }
        // Any event that names a model, also one of a newer release.
        let model = match &event.detail {
            Detail::Other(detail) if event.source == EVENT_SOURCE => detail.get("model").and_then(Value::as_str),
            _ => None,
        };
        let Some(model) = model.filter(|model| !model.is_empty()) else {
            return Ok(ignored(format!(
                "`{detail_type}` from `{}` names no model of Driftwarden",
                event.source
            )));
        };
        marks::leave(clients, &event.id, Some(model)).await?;
        Ok(Handled::Marked)
    }

    /// Renders what is marked, unless another invocation renders.
    async fn render<W: DashboardClients>(
        &self,
        clients: &W,
        request_id: &str,
        deadline: Timestamp,
    ) -> Result<Handled, Error> {
        if Marks::list(clients).await?.is_empty() {
            return Ok(Handled::Rendered { models: 0, left: 0 });
        }
        let Some(claim) = WriterClaim::take(clients, request_id, deadline).await? else {
            return Ok(ignored("another invocation writes the pages".to_owned()));
        };
        let rendered = async {
            let policy = self.policy.load(clients).await.map_err(Error::Policy)?;
            let site = render::Site {
                name: &self.name,
                console: &self.console,
                policy: &policy,
                deadline,
            };
            render::render_marked(clients, site).await
        };
        let rendered = rendered.await;
        claim.release(clients).await;
        rendered
    }
}

fn ignored(reason: String) -> Handled {
    tracing::debug!(reason = %reason, "event ignored");
    Handled::Ignored { reason }
}

/// Input of the rule that renders every minute: `{"render": "marked"}`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RenderRequest {
    #[serde(rename = "render")]
    _render: RenderScope,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum RenderScope {
    Marked,
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

/// Content and entity tag of an object, if it exists.
async fn bytes(clients: &impl Documents, key: &str) -> Result<(Option<Vec<u8>>, Option<ETag>), Error> {
    match clients.read(key, None).await.map_err(Error::Aws)? {
        Fetched::Found(body, etag) => Ok((Some(body), Some(etag))),
        Fetched::Absent | Fetched::Unchanged => Ok((None, None)),
    }
}

/// A stored object and its entity tag. An object that cannot be parsed, for example of an earlier version, counts as absent.
async fn stored<T: DeserializeOwned>(clients: &impl Documents, key: &str) -> Result<(Option<T>, Option<ETag>), Error> {
    let (body, etag) = bytes(clients, key).await?;
    Ok((body.and_then(|body| serde_json::from_slice(&body).ok()), etag))
}

async fn put(clients: &impl Documents, key: &str, body: Vec<u8>, etag: Option<ETag>) -> Result<(), AwsError> {
    let precondition = etag.map_or(Precondition::Absent, Precondition::Unchanged);
    clients.write(key, body, &precondition).await.map(drop)
}

/// Whether the object was written. `false` if another invocation was faster.
fn written(put: Result<(), AwsError>) -> Result<bool, Error> {
    match put {
        Ok(()) => Ok(true),
        Err(error) if error.kind == Kind::Conflict => Ok(false),
        Err(error) => Err(Error::Aws(error)),
    }
}
