//! `driftwarden policy`: whether a policy can hold, what holds by it, and putting it in force.

use crate::{
    Exit, Streams,
    cloud::{Failure, StateBucket, Surroundings, World, connect, counted, json_line, monitors, plain_lines},
    input,
    table::{Table, plain},
};
use alerting::Monitor;
use remediation::{Explanation, MonitorOf, Policy, Setting};
use serde_json::json;
use shell::{
    AwsError, Kind, LoadPolicyError, POLICY_KEY, PolicyStore,
    ports::{Documents as _, Fetched, Precondition},
};
use similar::TextDiff;
use std::{
    io::{self, Read, Write},
    sync::Arc,
};

/// A policy file larger than this is not read.
const LIMIT: usize = 1 << 20;

/// Check a policy, explain what holds by it, put it in force.
#[derive(Debug, clap::Args)]
pub struct PolicyCommand {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    Check(Check),
    Explain(Explain),
    Push(Push),
}

/// Say whether a policy can hold.
///
/// Reads the file as the functions will read it. One that cannot hold ends with exit code 1, and with the line and what
/// would be right on standard error.
#[derive(Debug, clap::Args)]
struct Check {
    /// The policy; `-` is standard input.
    #[arg(value_name = "FILE")]
    file: String,
    /// Print a JSON object.
    #[arg(long)]
    json: bool,
}

/// Explain what holds for a model and its monitors, and which line of the policy says so.
///
/// The policy is the given file's, else that of the state bucket. The model's monitors are found in the ledgers of the
/// state bucket; without one, those are shown that the policy names.
#[derive(Debug, clap::Args)]
struct Explain {
    /// The policy, instead of that of the state bucket; `-` is standard input.
    #[arg(long, value_name = "FILE")]
    policy: Option<String>,
    /// The model.
    #[arg(long, value_name = "NAME")]
    model: String,
    /// Print a JSON object.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    state_bucket: StateBucket,
}

/// Put a policy in force: write it into the state bucket.
///
/// Checks it first, and refuses one that cannot hold. Shows which lines change. It is written only if the policy in force
/// is still the one that was compared with. The functions read it with the next event; monitors are judged anew by the
/// next sweep. Pushing the policy that is in force already changes nothing.
#[derive(Debug, clap::Args)]
struct Push {
    /// The policy; `-` is standard input.
    #[arg(value_name = "FILE")]
    file: String,
    #[command(flatten)]
    state_bucket: StateBucket,
    /// Show what would change, and write nothing.
    #[arg(long)]
    dry_run: bool,
    /// Print a JSON object.
    #[arg(long)]
    json: bool,
}

impl PolicyCommand {
    /// Runs the command.
    pub(crate) async fn run(&self, around: &impl Surroundings, streams: &mut Streams<'_>) -> Result<Exit, Failure> {
        match &self.action {
            Action::Check(check) => check.run(streams),
            Action::Explain(explain) => explain.run(around, streams).await,
            Action::Push(push) => push.run(around, streams).await,
        }
    }
}

impl Check {
    fn run(&self, streams: &mut Streams<'_>) -> Result<Exit, Failure> {
        let policy = match read(&self.file, streams.input) {
            Ok((_, policy)) => policy,
            Err(error) if self.json => {
                json_line(streams.out, &json!({"holds": false, "error": error}))?;
                return Ok(Exit::Failed);
            }
            Err(error) => return Err(error.into()),
        };
        let (monitors, alarms) = policy.monitors_and_alarms();
        if self.json {
            let (version, models) = (policy.version(), policy.models().len());
            let line = json!({
                "holds": true, "version": version, "models": models, "monitors": monitors, "alarms": alarms,
            });
            json_line(streams.out, &line)?;
            return Ok(Exit::Done);
        }
        let alarms = match alarms {
            0 => String::new(),
            alarms => format!(", {}", counted(alarms, "alarm")),
        };
        writeln!(
            streams.out,
            "{} holds: version {}, {}, {}{alarms}",
            plain(said_as(&self.file)),
            policy.version(),
            counted(policy.models().len(), "model"),
            counted(monitors, "monitor"),
        )?;
        Ok(Exit::Done)
    }
}

/// How a file is called in what is said of it.
fn said_as(name: &str) -> &str {
    if name == "-" { "standard input" } else { name }
}

/// A policy file: its bytes, and the policy.
fn read(name: &str, input: &mut dyn Read) -> Result<(Vec<u8>, Policy), String> {
    let bytes = input::read(name, input, LIMIT).map_err(|error| format!("`{name}` {error}"))?;
    match Policy::parse(&bytes) {
        Ok(policy) => Ok((bytes, policy)),
        Err(error) => Err(format!("{}: {}", said_as(name), shell::chain(&error))),
    }
}

impl Explain {
    async fn run(&self, around: &impl Surroundings, streams: &mut Streams<'_>) -> Result<Exit, Failure> {
        let bucket = self.state_bucket.given(around).await?;
        let world = match &bucket {
            Some(_) => Some(connect(around, bucket.clone()).await?),
            None => None,
        };
        let policy = match (&self.policy, &world) {
            (Some(file), _) => Arc::new(read(file, streams.input)?.1),
            (None, Some(world)) => in_force(world.as_ref()).await?,
            (None, None) => {
                let said = "which policy? Name a file with --policy, or the bucket that holds it with --state-bucket \
                            (or STATE_BUCKET)";
                return Err(Failure::Usage(said.to_owned()));
            }
        };
        let mut known = Vec::new();
        let mut exit = Exit::Done;
        if let Some(world) = &world {
            for monitor in monitors(world.as_ref()).await? {
                match monitor {
                    Ok(monitor) => known.push(monitor),
                    Err(message) => {
                        exit = Exit::Failed;
                        writeln!(streams.err, "error: {}", plain(&message))?;
                    }
                }
            }
        }
        let known: Vec<MonitorOf<'_>> = known.iter().map(of).collect();
        let explanation = policy.explain(&self.model, &known);
        if self.json {
            json_line(streams.out, &explanation)?;
        } else {
            show(streams.out, &explanation, world.is_some())?;
        }
        Ok(exit)
    }
}

/// The policy in force.
pub(crate) async fn in_force(world: &impl World) -> Result<Arc<Policy>, Failure> {
    PolicyStore::default().load(world).await.map_err(|error| match error {
        LoadPolicyError::Aws(error) => error.into(),
        LoadPolicyError::Invalid(_) => Failure::Said(shell::chain(&error)),
    })
}

/// A monitor as the policy is asked for it.
pub(crate) fn of(monitor: &Monitor) -> MonitorOf<'_> {
    MonitorOf {
        schedule: &monitor.schedule,
        endpoint: monitor.endpoint.as_deref(),
        monitor_type: monitor.monitor_type.map(model_monitor::MonitorType::as_str),
    }
}

fn show(out: &mut dyn Write, explanation: &Explanation, with_ledgers: bool) -> io::Result<()> {
    let version = match explanation.policy_version.as_str() {
        "default" => "by the defaults: there is no policy".to_owned(),
        version => format!("by policy {version}"),
    };
    writeln!(out, "model `{}`, {version}", plain(&explanation.model))?;
    settings(out, &explanation.settings)?;
    for (schedule, of_monitor) in &explanation.monitors {
        writeln!(out, "\nmonitor `{}`", plain(schedule))?;
        settings(out, of_monitor)?;
    }
    if explanation.monitors.is_empty() {
        let looked = if with_ledgers {
            "no ledger in the state bucket is of a monitor of this model, and the policy names none"
        } else {
            "the policy names no monitor of this model; with --state-bucket those are shown that have reported"
        };
        writeln!(out, "\n{looked}")?;
    }
    Ok(())
}

fn settings(out: &mut dyn Write, settings: &[Setting]) -> io::Result<()> {
    let mut table = Table::new(["setting", "said by", "value"]);
    for setting in settings {
        let place = setting.place.as_deref().unwrap_or("default");
        table.row([setting.name.clone(), place.to_owned(), setting.value.clone()]);
    }
    table.write(out)
}

impl Push {
    async fn run(&self, around: &impl Surroundings, streams: &mut Streams<'_>) -> Result<Exit, Failure> {
        let (bytes, policy) = read(&self.file, streams.input)?;
        let bucket = self.state_bucket.required(around).await?;
        let world = connect(around, Some(bucket.clone())).await?;
        let place = format!("s3://{bucket}/{POLICY_KEY}");
        let version = policy.version();
        let (old, old_version, precondition) = match world.read(POLICY_KEY, None).await? {
            Fetched::Absent | Fetched::Unchanged => (Vec::new(), "defaults".to_owned(), Precondition::Absent),
            Fetched::Found(body, etag) => {
                let old = Policy::parse(&body).map(|policy| policy.version().to_owned());
                let version = old.unwrap_or_else(|_| "one that cannot hold".to_owned());
                (body, version, Precondition::Unchanged(etag))
            }
        };
        let in_force = old == bytes && matches!(precondition, Precondition::Unchanged(_));
        if in_force && !self.json {
            writeln!(
                streams.out,
                "{place}: version {version} is in force already, nothing is changed"
            )?;
            return Ok(Exit::Done);
        }
        let (before, after) = (String::from_utf8_lossy(&old), String::from_utf8_lossy(&bytes));
        let diff = TextDiff::from_lines(before.as_ref(), after.as_ref());
        let mut unified = diff.unified_diff();
        let unified = unified.header(&old_version, version).to_string();
        let answer = |written: bool| {
            let diff = if in_force { "" } else { &unified };
            json!({"place": place, "from": old_version, "to": version, "diff": diff, "written": written})
        };
        if self.json && (self.dry_run || in_force) {
            json_line(streams.out, &answer(false))?;
            return Ok(Exit::Done);
        }
        if !self.json {
            writeln!(streams.out, "{place}: {old_version} → {version}")?;
            writeln!(streams.out, "{}", plain_lines(&unified))?;
        }
        if self.dry_run {
            writeln!(streams.out, "dry run: nothing is written")?;
            return Ok(Exit::Done);
        }
        match world.write(POLICY_KEY, bytes, &precondition).await {
            Ok(_) if self.json => {
                json_line(streams.out, &answer(true))?;
                Ok(Exit::Done)
            }
            Ok(_) => {
                writeln!(
                    streams.out,
                    "written: version {version} is in force from the next event on"
                )?;
                Ok(Exit::Done)
            }
            Err(AwsError {
                kind: Kind::Conflict, ..
            }) => Err(Failure::Said(format!(
                "{place} has been changed by somebody else meanwhile: nothing is written; push again to see what changes"
            ))),
            Err(error) => Err(error.into()),
        }
    }
}
