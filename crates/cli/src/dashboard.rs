//! `driftwarden dashboard`: the model dashboard as a folder of static pages, out of the state bucket or a copy of it.

use crate::{
    Exit, Streams,
    cloud::{Failure, Places, StateBucket, Surroundings, counted, json_line, option, said, warn},
    table::plain,
    terminal::{progress, progress_ended},
};
use dashboard::{Known, Page};
use jiff::Timestamp;
use model_dashboard::{Comparison, Console, Deployment, Facts, Measured, OVERVIEW, Summary, overview, page_of};
use remediation::Policy;
use serde::Serialize;
use shell::{
    AwsError, Kind, PolicyStore,
    ports::{Clock as _, Documents, ETag, Fetched, Precondition},
};
use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

/// Where the pages go, if nothing is said.
const FOLDER: &str = "dashboard";

/// Write the model dashboard: an overview of all models, and a page for each.
///
/// The pages are plain files that need no server and no network: open them, print them, put them where people can see them.
/// The function `dashboard` keeps the same pages in the state bucket, below `dashboard/`.
#[derive(Debug, clap::Args)]
pub struct Dashboard {
    /// Only the page of this model.
    #[arg(value_name = "MODEL")]
    model: Option<String>,
    #[arg(
        long,
        value_name = "S3_URI|DIR",
        help = "Where the documents lie: s3://BUCKET, or a folder that is a copy of the state bucket; by default the state bucket"
    )]
    from: Option<String>,
    #[command(flatten)]
    state_bucket: StateBucket,
    /// The folder that the pages are written to.
    #[arg(long, value_name = "DIR", default_value = FOLDER)]
    output: PathBuf,
    /// Open the overview, or the model's page, when it is written.
    #[arg(long)]
    open: bool,
    /// Ask AWS nothing but for the documents: no numbers of endpoints, no lineage, no files of reports.
    #[arg(long)]
    documents_only: bool,
    /// Print one JSON object for each model: what the overview says of it.
    #[arg(long)]
    json: bool,
}

/// What `--json` prints of a model.
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

    async fn list(&self, prefix: &str) -> Result<Vec<String>, AwsError> {
        let entries = match fs::read_dir(self.0.join(prefix)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(self.failed("listing", prefix, &error)),
        };
        let mut keys: Vec<String> = entries
            .filter_map(|entry| Some(format!("{prefix}{}", entry.ok()?.file_name().to_str()?)))
            .collect();
        keys.sort();
        Ok(keys)
    }

    async fn earlier(&self, _: &str) -> Result<Vec<Vec<u8>>, AwsError> {
        Ok(Vec::new())
    }

    async fn write(&self, key: &str, _: Vec<u8>, _: &Precondition) -> Result<ETag, AwsError> {
        Err(self.failed("writing", key, &"a copy of the state bucket is only read"))
    }
}

/// What is asked of AWS beside the documents.
#[derive(Default)]
struct Beside {
    facts: Facts,
    measured: Vec<Measured>,
    comparisons: Vec<Comparison>,
}

impl Dashboard {
    /// Runs the command.
    pub(crate) async fn run(&self, around: &impl Surroundings, streams: &mut Streams<'_>) -> Result<Exit, Failure> {
        let region = option(None, "AWS_REGION", around).or_else(|| option(None, "AWS_DEFAULT_REGION", around));
        let console = Console::new(region.as_deref());
        let nothing = async |_: &mut Known, _: &Policy| Ok(Beside::default());
        match self.from.as_deref() {
            Some(folder) if !folder.starts_with("s3://") => {
                let folder = PathBuf::from(folder);
                if !folder.is_dir() {
                    return Err(Failure::Usage(format!(
                        "{} is no folder: --from is s3://BUCKET, or a folder with a copy of the state bucket (`aws s3 sync \
                         s3://BUCKET DIR`)",
                        folder.display()
                    )));
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
                    None => self.state_bucket.required(around).await?,
                };
                let name = self.state_bucket.stack.given(around).unwrap_or_else(|| bucket.clone());
                let places = Places {
                    state_bucket: Some(bucket),
                    event_bus: None,
                };
                let world = around.connect(places).await?;
                let world = world.as_ref();
                let now = world.now();
                if self.documents_only {
                    return self.write(world, &name, &console, now, nothing, streams).await;
                }
                let ask = async |known: &mut Known, policy: &Policy| {
                    let facts = dashboard::facts(world, known, policy, None, now).await;
                    let measured = dashboard::measured(world, known, policy, Vec::new()).await?;
                    let mut notes = Vec::new();
                    let comparisons = dashboard::comparisons(world, known, policy, &mut notes).await?;
                    known.notes.append(&mut notes);
                    Ok(Beside {
                        facts,
                        measured,
                        comparisons,
                    })
                };
                self.write(world, &name, &console, now, ask, streams).await
            }
        }
    }

    async fn write<W: Documents>(
        &self,
        world: &W,
        name: &str,
        console: &Console,
        now: Timestamp,
        ask: impl AsyncFn(&mut Known, &Policy) -> Result<Beside, AwsError>,
        streams: &mut Streams<'_>,
    ) -> Result<Exit, Failure> {
        let policy = PolicyStore::default();
        let policy = policy.load(world).await.map_err(|error| shell::chain(&error))?;
        let (mut models, notes) = dashboard::models(world).await?;
        for note in &notes {
            warn(streams.err, note)?;
        }
        if let Some(wanted) = &self.model {
            models.retain(|model, _| model == wanted);
            if models.is_empty() {
                return Err(Failure::Said(format!(
                    "no monitor of a model `{wanted}` has reported yet; `driftwarden dashboard` lists those that have"
                )));
            }
        }
        let count = models.len();
        let mut summaries = Vec::with_capacity(count);
        let mut exit = Exit::Done;
        for (at, (model, schedules)) in models.into_iter().enumerate() {
            progress(&format!("page {} of {count}: {}", at + 1, plain(&model)));
            let made = self
                .model(world, &policy, (name, console, now), (&model, &schedules), &ask)
                .await;
            match made {
                Ok(page) => {
                    let path = self.output.join(page_of(&model));
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
                    writeln!(
                        streams.err,
                        "error: model `{}`: {}",
                        plain(&model),
                        plain(&said(&error))
                    )?;
                }
            }
        }
        progress_ended();
        let first = if let Some(model) = &self.model {
            self.output.join(page_of(model))
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
                counted(summaries.len(), "model")
            )?;
        }
        if self.open {
            crate::analysis::open_page(&first, streams)?;
        }
        Ok(exit)
    }

    async fn model<W: Documents>(
        &self,
        world: &W,
        policy: &Policy,
        (name, console, now): (&str, &Console, Timestamp),
        (model, schedules): (&str, &BTreeSet<String>),
        ask: &impl AsyncFn(&mut Known, &Policy) -> Result<Beside, AwsError>,
    ) -> Result<Page, AwsError> {
        let mut known = dashboard::model(world, model, schedules).await?;
        let beside = ask(&mut known, policy).await?;
        let of_aws = (beside.facts, &beside.measured[..], &beside.comparisons[..]);
        Ok(dashboard::page(name, &known, policy, of_aws, console, now))
    }
}

/// The time of this machine.
#[expect(clippy::disallowed_methods, reason = "a folder has no clock of its own, as AWS has")]
fn now_here() -> Timestamp {
    Timestamp::now()
}

/// Writes a page, and the folder that it is in.
fn put(path: &Path, html: &str) -> Result<(), Failure> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let written = fs::create_dir_all(folder).and_then(|()| fs::write(path, html));
    written.map_err(|error| {
        Failure::Said(format!(
            "{} cannot be written: {error}; --output names another folder",
            path.display()
        ))
    })
}
