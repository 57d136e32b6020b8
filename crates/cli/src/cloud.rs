//! What the commands share that talk to AWS: where they look, the runtime that they run on, and how they fail.

use crate::{
    Exit, Streams,
    table::{Table, plain},
    terminal::{progress, progress_ended},
};
use alerting::{Monitor, MonitorLedger};
use futures_util::future::join_all;
use promotion::ExperimentDocument;
use remediation::ModelDocument;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use shell::{
    AwsError, Kind,
    operator::{DeadLetters, Deployment, Functions, Stack, Stacks},
    ports::{
        Datasets, Documents, Endpoints, Fetched, MetricData, MonitoringAlerts, MonitoringSchedules, OperatorBus,
        Reports,
    },
};
use std::{io, sync::Arc};

/// So many documents are read at the same time.
const READ_AT_ONCE: usize = 16;

/// What commands touch of AWS.
pub trait World:
    Documents
    + Datasets
    + Reports
    + OperatorBus
    + MonitoringAlerts
    + MonitoringSchedules
    + MetricData
    + Endpoints
    + DeadLetters
    + Functions
    + Stacks
    + Deployment
    + dashboard::World
{
}

impl<W> World for W where
    W: Documents
        + Datasets
        + Reports
        + OperatorBus
        + MonitoringAlerts
        + MonitoringSchedules
        + MetricData
        + Endpoints
        + DeadLetters
        + Functions
        + Stacks
        + Deployment
        + dashboard::World
{
}

/// Where in AWS a command looks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Places {
    /// The bucket of the documents.
    pub state_bucket: Option<String>,
    /// The bus.
    pub event_bus: Option<String>,
}

/// What a command is run in: the environment's variables, and AWS for those that need it.
pub trait Surroundings {
    /// AWS.
    type World: World;

    /// A variable of the environment.
    fn variable(&self, name: &str) -> Option<String>;

    /// AWS at those places; the reason if there is none.
    fn connect(&self, places: Places) -> impl Future<Output = Result<Arc<Self::World>, String>>;
}

/// No environment and no AWS.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Nowhere;

impl Surroundings for Nowhere {
    type World = shell::memory::Memory;

    fn variable(&self, _: &str) -> Option<String> {
        None
    }

    async fn connect(&self, _: Places) -> Result<Arc<Self::World>, String> {
        Err("this command talks to AWS, and is run without".to_owned())
    }
}

/// Why a command ended early.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The output could not be written.
    Output(io::Error),
    /// The command is not called as it should be.
    Usage(String),
    /// Anything else, in words.
    Said(String),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

impl From<String> for Failure {
    fn from(said: String) -> Self {
        Self::Said(said)
    }
}

impl From<AwsError> for Failure {
    fn from(error: AwsError) -> Self {
        Self::Said(said(&error))
    }
}

/// A failed operation in words for a person at a terminal.
pub(crate) fn said(error: &AwsError) -> String {
    let AwsError {
        operation,
        resource,
        kind,
        message,
    } = error;
    let remedy = match kind {
        Kind::Denied => format!(" (your credentials need `{operation}` on it)"),
        _ => String::new(),
    };
    format!("{operation} on `{resource}` failed: {message}{remedy}")
}

/// A text of several lines from outside, without what would steer a terminal.
pub(crate) fn plain_lines(text: &str) -> String {
    let mut lines = String::new();
    for (at, line) in text.trim_end().lines().enumerate() {
        let separator = if at == 0 { "" } else { "\n" };
        lines.push_str(separator);
        lines.extend(line.trim_end().chars().map(|c| if c.is_control() { ' ' } else { c }));
    }
    lines
}

/// Runs a command to its end, on a runtime made only for it.
pub(crate) fn run(streams: Streams<'_>, command: impl AsyncFnOnce(&mut Streams<'_>) -> Result<Exit, Failure>) -> Exit {
    let mut streams = streams;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(command(&mut streams)),
        Err(error) => Err(Failure::Said(format!("no runtime could be made: {error}"))),
    };
    progress_ended();
    let (exit, said) = match result {
        Ok(exit) => return exit,
        Err(Failure::Output(error)) => return Exit::of_output(&error),
        Err(Failure::Usage(said)) => (Exit::Usage, said),
        Err(Failure::Said(said)) => (Exit::Failed, said),
    };
    match writeln!(streams.err, "error: {}", plain_lines(&said)) {
        Ok(()) => exit,
        Err(error) => Exit::of_output(&error),
    }
}

/// An option's value: given, or the environment's.
pub(crate) fn option(given: Option<&String>, variable: &str, around: &impl Surroundings) -> Option<String> {
    let said = |value: &String| !value.trim().is_empty();
    let given = given.cloned().or_else(|| around.variable(variable));
    given.filter(said)
}

/// A place in AWS: how an option, a variable and the stack's outputs name it.
struct Place {
    option: &'static str,
    variable: &'static str,
    output: &'static str,
    what: &'static str,
}

const STATE_BUCKET: Place = Place {
    option: "state-bucket",
    variable: "STATE_BUCKET",
    output: "StateBucketName",
    what: "the bucket of the documents",
};

const EVENT_BUS: Place = Place {
    option: "event-bus",
    variable: "EVENT_BUS_NAME",
    output: "EventBusName",
    what: "our bus",
};

const QUEUE_URL: Place = Place {
    option: "queue-url",
    variable: "QUEUE_URL",
    output: "DeadLetterQueueUrl",
    what: "the dead-letter queue",
};

impl Place {
    /// The place, if it is named: by its option, by a stack that is named on the command line, by its variable, by a
    /// stack that the environment names.
    async fn find(
        &self,
        given: Option<&String>,
        of: &StackName,
        around: &impl Surroundings,
    ) -> Result<Option<String>, Failure> {
        if let Some(given) = given.filter(|given| !given.trim().is_empty()) {
            return Ok(Some(given.clone()));
        }
        let variable = || option(None, self.variable, around);
        let stack = match (&of.stack, variable()) {
            (None, Some(named)) => return Ok(Some(named)),
            _ => of.given(around),
        };
        let Some(name) = stack else {
            return Ok(variable());
        };
        let world = around.connect(Places::default()).await?;
        let stack = stack_of(world.as_ref(), &name).await?;
        let found = stack.outputs.get(self.output).cloned();
        found.map(Some).ok_or_else(|| {
            Failure::Said(format!(
                "stack `{name}` has no output `{}`: is it Driftwarden's?",
                self.output
            ))
        })
    }

    /// That it is not named.
    fn missing(&self) -> Failure {
        let Self {
            option,
            variable,
            output,
            what,
        } = self;
        Failure::Usage(format!(
            "neither --{option} nor --stack is given, nor is {variable} or DRIFTWARDEN_STACK set: it is {what}, `{output}` of \
             the stack's outputs"
        ))
    }
}

/// The stack of that name.
pub(crate) async fn stack_of(world: &impl Stacks, name: &str) -> Result<Stack, Failure> {
    let stack = world.stack(name).await?;
    stack.ok_or_else(|| {
        Failure::Said(format!(
            "there is no stack `{name}` in this account and region: name another with --stack, or another region with \
             AWS_REGION"
        ))
    })
}

/// `--stack`.
#[derive(Debug, clap::Args)]
pub(crate) struct StackName {
    #[arg(
        long,
        value_name = "NAME",
        help = "The CloudFormation stack, whose outputs name what is not named otherwise [env: DRIFTWARDEN_STACK]"
    )]
    stack: Option<String>,
}

impl StackName {
    /// The stack, if one is named.
    pub(crate) fn given(&self, around: &impl Surroundings) -> Option<String> {
        option(self.stack.as_ref(), "DRIFTWARDEN_STACK", around)
    }
}

/// `--state-bucket`, and `--stack`.
#[derive(Debug, clap::Args)]
pub(crate) struct StateBucket {
    #[arg(
        long,
        value_name = "NAME",
        help = "The bucket of the documents: StateBucketName of the stack's outputs [env: STATE_BUCKET]"
    )]
    state_bucket: Option<String>,
    #[command(flatten)]
    pub(crate) stack: StackName,
}

impl StateBucket {
    /// The bucket, if one is named.
    pub(crate) async fn given(&self, around: &impl Surroundings) -> Result<Option<String>, Failure> {
        STATE_BUCKET.find(self.state_bucket.as_ref(), &self.stack, around).await
    }

    /// The bucket.
    pub(crate) async fn required(&self, around: &impl Surroundings) -> Result<String, Failure> {
        self.given(around).await?.ok_or_else(|| STATE_BUCKET.missing())
    }

    /// AWS with the bucket that is named.
    pub(crate) async fn connect<S: Surroundings>(&self, around: &S) -> Result<Arc<S::World>, Failure> {
        let state_bucket = Some(self.required(around).await?);
        connect(around, state_bucket).await
    }
}

/// AWS with that bucket of documents.
pub(crate) async fn connect<S: Surroundings>(
    around: &S,
    state_bucket: Option<String>,
) -> Result<Arc<S::World>, Failure> {
    let places = Places {
        state_bucket,
        event_bus: None,
    };
    Ok(around.connect(places).await?)
}

/// `--event-bus`.
#[derive(Debug, clap::Args)]
pub(crate) struct EventBus {
    #[arg(
        long,
        value_name = "NAME",
        help = "Our bus: EventBusName of the stack's outputs [env: EVENT_BUS_NAME]"
    )]
    event_bus: Option<String>,
}

impl EventBus {
    /// The bus, if one is named.
    pub(crate) async fn given(&self, stack: &StackName, around: &impl Surroundings) -> Result<Option<String>, Failure> {
        EVENT_BUS.find(self.event_bus.as_ref(), stack, around).await
    }

    /// The bus.
    pub(crate) async fn required(&self, stack: &StackName, around: &impl Surroundings) -> Result<String, Failure> {
        self.given(stack, around).await?.ok_or_else(|| EVENT_BUS.missing())
    }
}

/// `--queue-url`.
#[derive(Debug, clap::Args)]
pub(crate) struct QueueUrl {
    #[arg(
        long,
        value_name = "URL",
        help = "The dead-letter queue: DeadLetterQueueUrl of the stack's outputs [env: QUEUE_URL]"
    )]
    queue_url: Option<String>,
}

impl QueueUrl {
    /// The queue, if one is named.
    pub(crate) async fn given(&self, stack: &StackName, around: &impl Surroundings) -> Result<Option<String>, Failure> {
        QUEUE_URL.find(self.queue_url.as_ref(), stack, around).await
    }

    /// The queue.
    pub(crate) async fn required(&self, stack: &StackName, around: &impl Surroundings) -> Result<String, Failure> {
        self.given(stack, around).await?.ok_or_else(|| QUEUE_URL.missing())
    }
}

/// A document of the state bucket; `None` if there is none.
pub(crate) async fn document<T: DeserializeOwned>(world: &impl Documents, key: &str) -> Result<Option<T>, String> {
    match world.read(key, None).await.map_err(|error| said(&error))? {
        Fetched::Absent | Fetched::Unchanged => Ok(None),
        Fetched::Found(body, _) => serde_json::from_slice(&body)
            .map(Some)
            .map_err(|error| format!("`{key}` in the state bucket cannot be read: {error}")),
    }
}

/// Every document below a prefix with its key, in order. One that vanished meanwhile is left out.
async fn documents<T: DeserializeOwned>(
    world: &impl Documents,
    prefix: &str,
) -> Result<Vec<(String, Result<T, String>)>, AwsError> {
    let mut keys = world.list(prefix).await?;
    keys.retain(|key| key.strip_suffix(".json").is_some());
    let mut documents = Vec::new();
    for some in keys.chunks(READ_AT_ONCE) {
        let read = join_all(some.iter().map(|key| document(world, key))).await;
        let found = some.iter().zip(read);
        documents.extend(found.filter_map(|(key, read)| Some((key.clone(), read.transpose()?))));
        if keys.len() > READ_AT_ONCE {
            progress(&format!("{} of {} documents", documents.len(), keys.len()));
        }
    }
    progress_ended();
    Ok(documents)
}

/// Where the models' documents lie in the state bucket.
const MODELS: &str = "models/";
/// Where the documents of experiments lie in the state bucket.
const EXPERIMENTS: &str = "experiments/";
/// Where the monitors' ledgers lie in the state bucket.
const MONITORS: &str = "monitors/";

/// The document of a model.
pub(crate) async fn model(world: &impl Documents, model: &str) -> Result<Option<ModelDocument>, String> {
    document(world, &format!("{MODELS}{model}.json")).await
}

/// The documents below a prefix by what is between it and `.json`.
async fn named<T: DeserializeOwned>(
    world: &impl Documents,
    prefix: &str,
) -> Result<Vec<(String, Result<T, String>)>, AwsError> {
    let name = |key: &str| {
        let name = key.strip_prefix(prefix).and_then(|key| key.strip_suffix(".json"));
        name.unwrap_or(key).to_owned()
    };
    let found = documents(world, prefix).await?;
    Ok(found
        .into_iter()
        .map(|(key, document)| (name(&key), document))
        .collect())
}

/// The documents of all models by their names.
pub(crate) async fn models(world: &impl Documents) -> Result<Vec<(String, Result<ModelDocument, String>)>, Failure> {
    Ok(named(world, MODELS).await?)
}

/// The document of a model's experiments.
pub(crate) async fn experiments_of(world: &impl Documents, model: &str) -> Result<Option<ExperimentDocument>, String> {
    document(world, &format!("{EXPERIMENTS}{model}.json")).await
}

/// The documents of all models' experiments by the models' names.
pub(crate) async fn experiments(
    world: &impl Documents,
) -> Result<Vec<(String, Result<ExperimentDocument, String>)>, Failure> {
    Ok(named(world, EXPERIMENTS).await?)
}

/// The ledger of a schedule.
pub(crate) async fn ledger(world: &impl Documents, schedule: &str) -> Result<Option<MonitorLedger>, String> {
    document(world, &format!("{MONITORS}{}.json", schedule.to_ascii_lowercase())).await
}

/// Every ledger by the name of its schedule, in lower case.
pub(crate) async fn named_ledgers(
    world: &impl Documents,
) -> Result<Vec<(String, Result<MonitorLedger, String>)>, AwsError> {
    named(world, MONITORS).await
}

/// Every monitor that has a ledger.
pub(crate) async fn monitors(world: &impl Documents) -> Result<Vec<Result<Monitor, String>>, Failure> {
    /// What of a ledger is needed; the datapoints are left unread.
    #[derive(Deserialize)]
    struct Named {
        monitor: Monitor,
    }

    let ledgers = documents::<Named>(world, MONITORS).await?.into_iter();
    Ok(ledgers.map(|(_, ledger)| ledger.map(|named| named.monitor)).collect())
}

/// What `--json` prints of a document that cannot be read.
#[derive(Serialize)]
struct Unreadable<'a> {
    model: &'a str,
    error: &'a str,
}

/// Shows the models' documents: each as a line of JSON, or as a row of a table. One that cannot be read stops no other.
pub(crate) fn show_all<D, const N: usize>(
    documents: &[(String, Result<D, String>)],
    json: bool,
    header: [&str; N],
    line: impl Fn(&D, &mut dyn io::Write) -> io::Result<()>,
    row: impl Fn(&D) -> Option<[String; N]>,
    streams: &mut Streams<'_>,
) -> io::Result<Exit> {
    let mut exit = Exit::Done;
    let mut table = Table::new(header);
    for (model, document) in documents {
        match document {
            Ok(document) if json => line(document, streams.out)?,
            Ok(document) => {
                if let Some(row) = row(document) {
                    table.row(row);
                }
            }
            Err(error) => {
                exit = Exit::Failed;
                if json {
                    json_line(streams.out, &Unreadable { model, error })?;
                } else {
                    writeln!(streams.err, "error: {}", plain(error))?;
                }
            }
        }
    }
    if !json {
        table.write(streams.out)?;
    }
    Ok(exit)
}

/// A count with its noun: `1 model`, `2 models`.
pub(crate) fn counted(count: usize, noun: &str) -> String {
    let mut text = format!("{count} {noun}");
    if count != 1 {
        text.push('s');
    }
    text
}

/// A time to the second.
pub(crate) fn second(time: jiff::Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Writes something as JSON on a line.
pub(crate) fn json_line(out: &mut dyn io::Write, value: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, value)?;
    writeln!(out)
}

/// Warns on standard error, on one line.
pub(crate) fn warn(err: &mut dyn io::Write, message: &str) -> io::Result<()> {
    writeln!(err, "warning: {}", plain(message))
}
