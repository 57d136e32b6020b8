//! `driftwarden dashboard`: writes the model dashboard as static pages, from the state bucket or a copy of it.

use crate::{
    Exit, Streams,
    cloud::{AwsTargets, Environment, StateBucket, json_line, option, warn},
    error::{Failure, Message},
    table::plain,
    terminal::{progress, progress_ended},
};
use functions::dashboard::{self, ModelState, Page};
use jiff::Timestamp;
use machine::{AwsError, Clock as _, Documents, ETag, Fetched, Kind, ListedDocument, Precondition};
use model_dashboard::{
    Comparison, Console, Deployment, ExecutionMetrics, Facts, OVERVIEW, Summary, overview, page_path,
};
use remediation::Policy;
use serde::Serialize;
use shell::PolicyStore;
use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

/// Default folder of the pages.
const FOLDER: &str = "dashboard";

/// Write the model dashboard as static pages.
///
/// Writes an overview of all models, and one page per model. Pages are single files that need neither a server nor a network:
/// you can open, print, or share them. The function `dashboard` keeps the same pages in the state bucket, below `dashboard/`.
#[derive(Debug, clap::Args)]
pub struct Dashboard {
    /// Write only the page of this model.
    #[arg(value_name = "MODEL")]
    model: Option<String>,
    #[arg(
        long,
        value_name = "S3_URI|DIR",
        help = "Source of the state documents: s3://BUCKET, or a folder with a copy of the state bucket [default: the state bucket]"
    )]
    from: Option<String>,
    #[command(flatten)]
    state_bucket: StateBucket,
    /// Folder for the pages.
    #[arg(long, value_name = "DIR", default_value = FOLDER)]
    output: PathBuf,
    /// Open the overview, or the page of the model.
    #[arg(long)]
    open: bool,
    /// Read only the state documents; do not query other AWS services (endpoint metrics, lineage, report files).
    #[arg(long)]
    documents_only: bool,
    /// Print JSON Lines: one object per model, with the data of the overview.
    #[arg(long, display_order = 110)]
    json: bool,
}

/// JSON line of a model.
#[derive(Serialize)]
struct Line<'a> {
    page: &'a Path,
    #[serde(flatten)]
    summary: &'a Summary,
}

/// A copy of the state bucket in a folder.
struct Folder(PathBuf);

impl Folder {
    fn failed(&self, operation: &'static str, key: &str, message: &dyn std::fmt::Display) -> AwsError {
        AwsError {
            operation,
            resource: self.0.join(key).display().to_string(),
            kind: Kind::Rejected,
            message: message.to_string(),
        }
    }
}

impl Documents for Folder {
    async fn read(&self, key: &str, _: Option<&ETag>) -> Result<Fetched, AwsError> {
        match fs::read(self.0.join(key)) {
            Ok(body) => Ok(Fetched::Found(body, ETag(String::new()))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Fetched::Absent),
            Err(error) => Err(self.failed("reading", key, &error)),
        }
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ListedDocument>, AwsError> {
        let entries = match fs::read_dir(self.0.join(prefix)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(self.failed("listing", prefix, &error)),
        };
        let mut keys: Vec<String> = entries
            .filter_map(|entry| Some(format!("{prefix}{}", entry.ok()?.file_name().to_str()?)))
            .collect();
        keys.sort();
        let etag = ETag(String::new());
        let listed = keys.into_iter().map(|key| ListedDocument {
            key,
            etag: etag.clone(),
        });
        Ok(listed.collect())
    }

    async fn earlier_versions(&self, _: &str) -> Result<Vec<Vec<u8>>, AwsError> {
        Ok(Vec::new())
    }

    async fn write(&self, key: &str, _: Vec<u8>, _: &Precondition) -> Result<ETag, AwsError> {
        Err(self.failed("writing", key, &"a copy of the state bucket is read-only"))
    }
}

/// Data from AWS that is not in the state documents.
#[derive(Default)]
struct AwsFacts {
    facts: Facts,
    measured: Vec<ExecutionMetrics>,
    comparisons: Vec<Comparison>,
}

impl Dashboard {
    /// Runs the command.
    pub(crate) async fn run(&self, env: &impl Environment, streams: &mut Streams<'_>) -> Result<Exit, Failure> {
        let region = option(None, "AWS_REGION", env).or_else(|| option(None, "AWS_DEFAULT_REGION", env));
        let console = Console::new(region.as_deref());
        let nothing = async |_: &mut ModelState, _: &Policy| Ok(AwsFacts::default());
        match self.from.as_deref() {
            Some(folder) if !folder.starts_with("s3://") => {
                let folder = PathBuf::from(folder);
                if !folder.is_dir() {
                    return Err(Failure::usage(
                        format!("--from: {} is not a folder", folder.display()),
                        "pass s3://BUCKET, or create a copy of the state bucket: aws s3 sync s3://BUCKET DIR",
                    ));
                }
                let name = folder
                    .file_name()
                    .unwrap_or(folder.as_os_str())
                    .to_string_lossy()
                    .into_owned();
                self.write(&Folder(folder), &name, &console, now_here(), nothing, streams)
                    .await
            }
            from => {
                let bucket = match from.and_then(|uri| uri.strip_prefix("s3://")) {
                    Some(bucket) => bucket.trim_end_matches('/').to_owned(),
                    None => self.state_bucket.required(env).await?,
                };
                let name = self.state_bucket.stack.optional(env).unwrap_or_else(|| bucket.clone());
                let targets = AwsTargets {
                    state_bucket: Some(bucket),
                    event_bus: None,
                };
                let clients = env.connect(targets).await?;
                let clients = clients.as_ref();
                let now = clients.now();
                if self.documents_only {
                    return self.write(clients, &name, &console, now, nothing, streams).await;
                }
                let query = async |known: &mut ModelState, policy: &Policy| {
                    let facts = dashboard::facts(clients, known, policy, None, now).await;
                    let measured = dashboard::metrics(clients, known, policy, Vec::new()).await?;
                    let mut notes = Vec::new();
                    let comparisons = dashboard::comparisons(clients, known, policy, &mut notes).await?;
                    known.notes.append(&mut notes);
                    Ok(AwsFacts {
                        facts,
                        measured,
                        comparisons,
                    })
                };
                self.write(clients, &name, &console, now, query, streams).await
            }
        }
    }

    async fn write<W: Documents>(
        &self,
        clients: &W,
        name: &str,
        console: &Console,
        now: Timestamp,
        query: impl AsyncFn(&mut ModelState, &Policy) -> Result<AwsFacts, AwsError>,
        streams: &mut Streams<'_>,
    ) -> Result<Exit, Failure> {
        let policy = PolicyStore::default();
        let policy = policy.load(clients).await.map_err(|error| machine::chain(&error))?;
        let (mut models, notes) = dashboard::models(clients).await?;
        for note in &notes {
            warn(streams.err, note)?;
        }
        if let Some(wanted) = &self.model {
            models.retain(|model, _| model == wanted);
            if models.is_empty() {
                return Err(Failure::failed(
                    format!("model `{wanted}` has no monitor with results"),
                    "`driftwarden dashboard --json` lists the models that have one",
                ));
            }
        }
        let count = models.len();
        let mut summaries = Vec::with_capacity(count);
        let mut exit = Exit::Done;
        for (at, (model, schedules)) in models.into_iter().enumerate() {
            progress(&format!("page {} of {count}: {}", at + 1, plain(&model)));
            let made = self
                .model(clients, &policy, (name, console, now), (&model, &schedules), &query)
                .await;
            match made {
                Ok(page) => {
                    let path = self.output.join(page_path(&model));
                    put(&path, &page.html)?;
                    if self.json {
                        let line = Line {
                            page: &path,
                            summary: &page.summary,
                        };
                        json_line(streams.out, &line)?;
                    }
                    summaries.push(page.summary);
                }
                Err(error) => {
                    progress_ended();
                    exit = Exit::Failed;
                    Message::from(&error)
                        .within(&format!("model `{model}`"))
                        .print(streams.err)?;
                }
            }
        }
        progress_ended();
        let first = if let Some(model) = &self.model {
            self.output.join(page_path(model))
        } else {
            let path = self.output.join(OVERVIEW);
            let deployment = Deployment {
                name,
                now,
                policy_version: policy.version(),
                models: &summaries,
                notes: &notes,
                console,
            };
            put(&path, &overview(&deployment))?;
            path
        };
        if !self.json {
            writeln!(
                streams.out,
                "{}: {}",
                first.display(),
                text::count(summaries.len(), "model")
            )?;
        }
        if self.open {
            crate::analysis::open_page(&first, streams)?;
        }
        Ok(exit)
    }

    async fn model<W: Documents>(
        &self,
        clients: &W,
        policy: &Policy,
        (name, console, now): (&str, &Console, Timestamp),
        (model, schedules): (&str, &BTreeSet<String>),
        query: &impl AsyncFn(&mut ModelState, &Policy) -> Result<AwsFacts, AwsError>,
    ) -> Result<Page, AwsError> {
        let mut known = dashboard::model(clients, model, schedules).await?;
        let aws = query(&mut known, policy).await?;
        let data = (aws.facts, &aws.measured[..], &aws.comparisons[..]);
        Ok(dashboard::page(name, &known, policy, data, console, now))
    }
}

/// The current time of this machine.
#[expect(clippy::disallowed_methods, reason = "a folder has no clock, unlike AWS")]
fn now_here() -> Timestamp {
    Timestamp::now()
}

/// Writes a page, and creates its folder.
fn put(path: &Path, html: &str) -> Result<(), Failure> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let written = fs::create_dir_all(folder).and_then(|()| fs::write(path, html));
    written.map_err(|error| {
        Failure::failed(
            format!("{}: failed to write the page: {error}", path.display()),
            "pass another folder with --output",
        )
    })
}
