//! What the commands that use AWS share: their targets, their runtime, and the documents that they read.

use crate::{
    Exit, Streams,
    error::{Failure, Message},
    table::{Cell, Table, plain},
    terminal::{progress, progress_ended},
};
use alerting::{Monitor, MonitorLedger};
use futures_util::future::join_all;
use machine::{AwsError, Documents, Fetched};
use promotion::ExperimentDocument;
use remediation::ModelDocument;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use shell::{
    operator::{DeadLetters, Deployment, FunctionUrls, Functions, Stack, Stacks},
    ports::{Datasets, DatedDocuments, Endpoints, MetricData, MonitoringAlerts, MonitoringSchedules, Reports},
};
use std::{io, sync::Arc};

/// Number of documents that are read at the same time.
const CONCURRENT_READS: usize = 16;

/// The AWS clients that commands use.
pub trait Clients:
    Documents
    + DatedDocuments
    + Datasets
    + Reports
    + shell::ports::EventBus
    + FunctionUrls
    + MonitoringAlerts
    + MonitoringSchedules
    + MetricData
    + Endpoints
    + DeadLetters
    + Functions
    + Stacks
    + Deployment
    + functions::dashboard::DashboardClients
{
}

impl<W> Clients for W where
    W: Documents
        + DatedDocuments
        + Datasets
        + Reports
        + shell::ports::EventBus
        + FunctionUrls
        + MonitoringAlerts
        + MonitoringSchedules
        + MetricData
        + Endpoints
        + DeadLetters
        + Functions
        + Stacks
        + Deployment
        + functions::dashboard::DashboardClients
{
}

/// The AWS resources that a command uses.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AwsTargets {
    /// The state bucket.
    pub state_bucket: Option<String>,
    /// The event bus.
    pub event_bus: Option<String>,
}

/// What a command runs in: the environment variables, and AWS for the commands that need it.
pub trait Environment {
    /// The AWS clients.
    type Clients: Clients;

    /// Value of an environment variable.
    fn variable(&self, name: &str) -> Option<String>;

    /// Connects to AWS with these targets. The error may have a remedy in a line that starts with `hint: `.
    fn connect(&self, targets: AwsTargets) -> impl Future<Output = Result<Arc<Self::Clients>, String>>;
}

/// No environment and no AWS.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NoAws;

impl Environment for NoAws {
    type Clients = shell::memory::Memory;

    fn variable(&self, _: &str) -> Option<String> {
        None
    }

    async fn connect(&self, _: AwsTargets) -> Result<Arc<Self::Clients>, String> {
        Err("this command requires AWS access".to_owned())
    }
}

/// Runs a command to its end on its own runtime, and prints its error.
pub(crate) fn run(streams: Streams<'_>, command: impl AsyncFnOnce(&mut Streams<'_>) -> Result<Exit, Failure>) -> Exit {
    let mut streams = streams;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(command(&mut streams)),
        Err(error) => Err(format!("failed to create a runtime: {error}").into()),
    };
    progress_ended();
    result.unwrap_or_else(|failure| failure.print(streams.err))
}

/// Value of an option: from the command line, or from the environment.
pub(crate) fn option(given: Option<&String>, variable: &str, env: &impl Environment) -> Option<String> {
    let is_set = |value: &String| !value.trim().is_empty();
    let given = given.cloned().or_else(|| env.variable(variable));
    given.filter(is_set)
}

/// How an AWS resource is configured: an option, an environment variable, an output of the stack.
struct TargetSetting {
    option: &'static str,
    variable: &'static str,
    output: &'static str,
    what: &'static str,
    value_name: &'static str,
}

const STATE_BUCKET: TargetSetting = TargetSetting {
    option: "state-bucket",
    variable: "STATE_BUCKET",
    output: "StateBucketName",
    what: "state bucket",
    value_name: "NAME",
};

const EVENT_BUS: TargetSetting = TargetSetting {
    option: "event-bus",
    variable: "EVENT_BUS_NAME",
    output: "EventBusName",
    what: "event bus",
    value_name: "NAME",
};

const QUEUE_URL: TargetSetting = TargetSetting {
    option: "queue-url",
    variable: "QUEUE_URL",
    output: "DeadLetterQueueUrl",
    what: "dead-letter queue",
    value_name: "URL",
};

const OPERATOR_URL: TargetSetting = TargetSetting {
    option: "url",
    variable: "OPERATOR_URL",
    output: "OperatorUrl",
    what: "operator URL",
    value_name: "URL",
};

const APPROVE_URL: TargetSetting = TargetSetting {
    option: "url",
    variable: "APPROVE_URL",
    output: "ApproveUrl",
    what: "approve URL",
    value_name: "URL",
};

impl TargetSetting {
    /// The resource, if it is configured. Precedence: its option, `--stack`, its environment variable, `DRIFTWARDEN_STACK`.
    async fn find(
        &self,
        given: Option<&String>,
        stack_name: &StackName,
        env: &impl Environment,
    ) -> Result<Option<String>, Failure> {
        if let Some(given) = given.filter(|given| !given.trim().is_empty()) {
            return Ok(Some(given.clone()));
        }
        let variable = || option(None, self.variable, env);
        let stack = match (&stack_name.stack, variable()) {
            (None, Some(named)) => return Ok(Some(named)),
            _ => stack_name.optional(env),
        };
        let Some(name) = stack else {
            return Ok(variable());
        };
        let clients = env.connect(AwsTargets::default()).await?;
        let stack = find_stack(clients.as_ref(), &name).await?;
        let found = stack.outputs.get(self.output).cloned();
        found.map(Some).ok_or_else(|| {
            Failure::failed(
                format!("stack `{name}` has no output `{}`", self.output),
                "pass the name of a Driftwarden stack with --stack",
            )
        })
    }

    /// The error if it is not configured.
    fn missing(&self) -> Failure {
        let Self {
            option,
            variable,
            what,
            value_name,
            ..
        } = self;
        Failure::usage(
            format!("no {what} configured"),
            format!("pass --stack NAME or set DRIFTWARDEN_STACK; or pass --{option} {value_name} or set {variable}"),
        )
    }
}

/// The stack of that name.
pub(crate) async fn find_stack(clients: &impl Stacks, name: &str) -> Result<Stack, Failure> {
    let stack = clients.stack(name).await?;
    stack.ok_or_else(|| {
        Failure::failed(
            format!("stack `{name}` does not exist in this account and region"),
            "pass another name with --stack, or set AWS_REGION to another region",
        )
    })
}

/// `--stack`.
#[derive(Debug, clap::Args)]
pub(crate) struct StackName {
    #[arg(
        long,
        value_name = "NAME",
        help = "CloudFormation stack that names the bucket, the bus, and the queue [env: DRIFTWARDEN_STACK]",
        display_order = 100
    )]
    stack: Option<String>,
}

impl StackName {
    /// The stack, if one is configured.
    pub(crate) fn optional(&self, env: &impl Environment) -> Option<String> {
        option(self.stack.as_ref(), "DRIFTWARDEN_STACK", env)
    }
}

/// `--state-bucket`, and `--stack`.
#[derive(Debug, clap::Args)]
pub(crate) struct StateBucket {
    #[arg(
        long,
        value_name = "NAME",
        help = "State bucket [default: the stack's StateBucketName] [env: STATE_BUCKET]",
        display_order = 101
    )]
    state_bucket: Option<String>,
    #[command(flatten)]
    pub(crate) stack: StackName,
}

impl StateBucket {
    /// The bucket, if one is configured.
    pub(crate) async fn optional(&self, env: &impl Environment) -> Result<Option<String>, Failure> {
        STATE_BUCKET.find(self.state_bucket.as_ref(), &self.stack, env).await
    }

    /// The bucket, or the error if none is configured.
    pub(crate) async fn required(&self, env: &impl Environment) -> Result<String, Failure> {
        self.optional(env).await?.ok_or_else(|| STATE_BUCKET.missing())
    }

    /// Connects to AWS with the configured bucket.
    pub(crate) async fn connect<S: Environment>(&self, env: &S) -> Result<Arc<S::Clients>, Failure> {
        let state_bucket = Some(self.required(env).await?);
        connect(env, state_bucket).await
    }
}

/// Connects to AWS with this state bucket.
pub(crate) async fn connect<S: Environment>(env: &S, state_bucket: Option<String>) -> Result<Arc<S::Clients>, Failure> {
    let targets = AwsTargets {
        state_bucket,
        event_bus: None,
    };
    Ok(env.connect(targets).await?)
}

/// `--event-bus`.
#[derive(Debug, clap::Args)]
pub(crate) struct EventBus {
    #[arg(
        long,
        value_name = "NAME",
        help = "Event bus [default: the stack's EventBusName] [env: EVENT_BUS_NAME]",
        display_order = 102
    )]
    event_bus: Option<String>,
}

impl EventBus {
    /// The event bus, if one is configured.
    pub(crate) async fn optional(&self, stack: &StackName, env: &impl Environment) -> Result<Option<String>, Failure> {
        EVENT_BUS.find(self.event_bus.as_ref(), stack, env).await
    }
}

/// `--url` of commands on incidents and models.
#[derive(Debug, clap::Args)]
pub(crate) struct OperatorUrl {
    #[arg(
        long,
        value_name = "URL",
        help = "URL of the function that takes commands [default: the stack's OperatorUrl] [env: OPERATOR_URL]",
        display_order = 102
    )]
    url: Option<String>,
}

impl OperatorUrl {
    /// The URL. A dry run works without one.
    pub(crate) async fn find(
        &self,
        dry_run: bool,
        stack: &StackName,
        env: &impl Environment,
    ) -> Result<Option<String>, Failure> {
        find_url(&OPERATOR_URL, self.url.as_ref(), dry_run, stack, env).await
    }
}

/// `--url` of approvals and denials.
#[derive(Debug, clap::Args)]
pub(crate) struct ApproveUrl {
    #[arg(
        long,
        value_name = "URL",
        help = "URL of the function that takes approvals [default: the stack's ApproveUrl] [env: APPROVE_URL]",
        display_order = 102
    )]
    url: Option<String>,
}

impl ApproveUrl {
    /// The URL. A dry run works without one.
    pub(crate) async fn find(
        &self,
        dry_run: bool,
        stack: &StackName,
        env: &impl Environment,
    ) -> Result<Option<String>, Failure> {
        find_url(&APPROVE_URL, self.url.as_ref(), dry_run, stack, env).await
    }
}

/// The URL of a function; `None` only for a dry run without one. A signed request leaves this machine only encrypted.
async fn find_url(
    setting: &TargetSetting,
    given: Option<&String>,
    dry_run: bool,
    stack: &StackName,
    env: &impl Environment,
) -> Result<Option<String>, Failure> {
    let Some(url) = setting.find(given, stack, env).await? else {
        return if dry_run { Ok(None) } else { Err(setting.missing()) };
    };
    let schemes = ["https://", "http://127.0.0.1:", "http://localhost:"];
    if schemes.iter().any(|scheme| url.starts_with(scheme)) {
        return Ok(Some(url));
    }
    Err(Failure::usage(
        format!("`{url}` is not the URL of a function"),
        format!(
            "pass the stack's output {} with --url: https://….lambda-url.REGION.on.aws/",
            setting.output
        ),
    ))
}

/// `--queue-url`.
#[derive(Debug, clap::Args)]
pub(crate) struct QueueUrl {
    #[arg(
        long,
        value_name = "URL",
        help = "Dead-letter queue [default: the stack's DeadLetterQueueUrl] [env: QUEUE_URL]",
        display_order = 103
    )]
    queue_url: Option<String>,
}

impl QueueUrl {
    /// The queue, if one is configured.
    pub(crate) async fn optional(&self, stack: &StackName, env: &impl Environment) -> Result<Option<String>, Failure> {
        QUEUE_URL.find(self.queue_url.as_ref(), stack, env).await
    }

    /// The queue, or the error if none is configured.
    pub(crate) async fn required(&self, stack: &StackName, env: &impl Environment) -> Result<String, Failure> {
        self.optional(stack, env).await?.ok_or_else(|| QUEUE_URL.missing())
    }
}

/// A document of the state bucket. `None` if it does not exist.
pub(crate) async fn document<T: DeserializeOwned>(clients: &impl Documents, key: &str) -> Result<Option<T>, Message> {
    match clients.read(key, None).await.map_err(|error| Message::from(&error))? {
        Fetched::Absent | Fetched::Unchanged => Ok(None),
        Fetched::Found(body, _) => serde_json::from_slice(&body)
            .map(Some)
            .map_err(|error| format!("failed to read `{key}` in the state bucket: {error}").into()),
    }
}

/// Every document below a prefix with its key, in order. Documents that were deleted meanwhile are omitted.
async fn documents<T: DeserializeOwned>(
    clients: &impl Documents,
    prefix: &str,
) -> Result<Vec<(String, Result<T, Message>)>, AwsError> {
    let mut keys = clients.keys(prefix).await?;
    keys.retain(|key| key.strip_suffix(".json").is_some());
    let mut documents = Vec::new();
    for some in keys.chunks(CONCURRENT_READS) {
        let read = join_all(some.iter().map(|key| document(clients, key))).await;
        let found = some.iter().zip(read);
        documents.extend(found.filter_map(|(key, read)| Some((key.clone(), read.transpose()?))));
        if keys.len() > CONCURRENT_READS {
            progress(&format!("{} of {} documents", documents.len(), keys.len()));
        }
    }
    progress_ended();
    Ok(documents)
}

/// Prefix of the documents of models in the state bucket.
const MODELS: &str = "models/";
/// Prefix of the documents of experiments in the state bucket.
const EXPERIMENTS: &str = "experiments/";
/// Prefix of the ledgers of monitors in the state bucket.
const MONITORS: &str = "monitors/";

/// The document of a model.
pub(crate) async fn model(clients: &impl Documents, model: &str) -> Result<Option<ModelDocument>, Message> {
    document(clients, &format!("{MODELS}{model}.json")).await
}

/// The documents below a prefix by name: the key without the prefix and `.json`.
async fn named<T: DeserializeOwned>(
    clients: &impl Documents,
    prefix: &str,
) -> Result<Vec<(String, Result<T, Message>)>, AwsError> {
    let name = |key: &str| {
        let name = key.strip_prefix(prefix).and_then(|key| key.strip_suffix(".json"));
        name.unwrap_or(key).to_owned()
    };
    let found = documents(clients, prefix).await?;
    Ok(found
        .into_iter()
        .map(|(key, document)| (name(&key), document))
        .collect())
}

/// The documents of all models by their names.
pub(crate) async fn models(clients: &impl Documents) -> Result<Vec<(String, Result<ModelDocument, Message>)>, Failure> {
    Ok(named(clients, MODELS).await?)
}

/// The document of a model's experiments.
pub(crate) async fn model_experiments(
    clients: &impl Documents,
    model: &str,
) -> Result<Option<ExperimentDocument>, Message> {
    document(clients, &format!("{EXPERIMENTS}{model}.json")).await
}

/// The documents of all models' experiments by the models' names.
pub(crate) async fn experiments(
    clients: &impl Documents,
) -> Result<Vec<(String, Result<ExperimentDocument, Message>)>, Failure> {
    Ok(named(clients, EXPERIMENTS).await?)
}

/// The ledger of a schedule.
pub(crate) async fn ledger(clients: &impl Documents, schedule: &str) -> Result<Option<MonitorLedger>, Message> {
    document(clients, &format!("{MONITORS}{}.json", schedule.to_ascii_lowercase())).await
}

/// Every ledger by the name of its schedule, in lower case.
pub(crate) async fn named_ledgers(
    clients: &impl Documents,
) -> Result<Vec<(String, Result<MonitorLedger, Message>)>, AwsError> {
    named(clients, MONITORS).await
}

/// Every monitor that has a ledger.
pub(crate) async fn monitors(clients: &impl Documents) -> Result<Vec<Result<Monitor, Message>>, Failure> {
    /// The part of a ledger that is needed. The datapoints are not parsed.
    #[derive(Deserialize)]
    struct Named {
        monitor: Monitor,
    }

    let ledgers = documents::<Named>(clients, MONITORS).await?.into_iter();
    Ok(ledgers.map(|(_, ledger)| ledger.map(|named| named.monitor)).collect())
}

/// JSON line of a document that failed to load.
#[derive(Serialize)]
struct Unreadable<'a> {
    model: &'a str,
    error: &'a str,
}

/// Shows the documents of models: each as a line of JSON or as a row of a table. A document that failed to load does not
/// stop the others.
pub(crate) fn show_all<D, const N: usize>(
    documents: &[(String, Result<D, Message>)],
    json: bool,
    header: [&str; N],
    line: impl Fn(&D, &mut dyn io::Write) -> io::Result<()>,
    row: impl Fn(&D) -> Option<[Cell; N]>,
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
                    let error = &error.to_string();
                    json_line(streams.out, &Unreadable { model, error })?;
                } else {
                    error.print(streams.err)?;
                }
            }
        }
    }
    if !json {
        table.write(streams.out)?;
    }
    Ok(exit)
}

/// Writes a value as JSON on one line.
pub(crate) fn json_line(out: &mut dyn io::Write, value: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, value)?;
    writeln!(out)
}

/// Prints a warning on one line.
pub(crate) fn warn(err: &mut dyn io::Write, message: &str) -> io::Result<()> {
    writeln!(err, "warning: {}", plain(message))
}
