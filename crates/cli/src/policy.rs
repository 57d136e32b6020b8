//! `driftwarden policy`: checks, explains, and publishes policies.

use crate::{
    Exit, Streams,
    cloud::{Clients, Environment, StateBucket, connect, json_line, monitors},
    error::{Failure, Message},
    input,
    table::{Table, plain, plain_lines},
};
use alerting::Monitor;
use machine::{AwsError, Documents as _, Fetched, Kind, Precondition};
use remediation::{Explanation, MonitorRef, Policy, PolicyWarning, Setting};
use serde_json::json;
use shell::{LoadPolicyError, POLICY_KEY, PolicyStore};
use similar::TextDiff;
use std::{
    io::{self, Read, Write},
    sync::Arc,
};

/// Maximum size of a policy file in bytes.
const MAX_BYTES: usize = 1 << 20;

/// Check, explain, or publish a policy.
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

/// Check that a policy file is valid.
///
/// Parses the file as the functions do. If it is invalid, the error names the line and the expected value, and the exit code
/// is 1. Settings that are valid one by one, but cannot work together, are warnings on standard error; the exit code is 0.
#[derive(Debug, clap::Args)]
struct Check {
    /// Policy file; `-` reads standard input.
    #[arg(value_name = "FILE")]
    file: String,
    /// Print one JSON object.
    #[arg(long, display_order = 110)]
    json: bool,
}

/// Show the effective settings of a model, and the policy line of each.
///
/// Reads the policy file, or the published policy if no file is given. Lists the monitors of the model that have a ledger in
/// the state bucket. Without a state bucket, it lists the monitors that the policy names.
#[derive(Debug, clap::Args)]
struct Explain {
    /// Policy file; `-` reads standard input [default: the published policy].
    #[arg(long, value_name = "FILE")]
    policy: Option<String>,
    /// Model name.
    #[arg(long, value_name = "NAME")]
    model: String,
    /// Print one JSON object.
    #[arg(long, display_order = 110)]
    json: bool,
    #[command(flatten)]
    state_bucket: StateBucket,
}

/// Publish a policy to the state bucket.
///
/// Checks the policy first, and rejects an invalid one. Warns about settings that cannot work, tables that match no monitor in the
/// state bucket, and monitors that move to another model. Shows the changed lines. The policy is written only if the published
/// policy has not changed since the comparison. The functions use it from the next event; the next sweep re-evaluates every
/// monitor. If the same policy is already published, nothing changes.
#[derive(Debug, clap::Args)]
struct Push {
    /// Policy file; `-` reads standard input.
    #[arg(value_name = "FILE")]
    file: String,
    #[command(flatten)]
    state_bucket: StateBucket,
    /// Show the changes without writing them.
    #[arg(long)]
    dry_run: bool,
    /// Print one JSON object.
    #[arg(long, display_order = 110)]
    json: bool,
}

impl PolicyCommand {
    /// Runs the command.
    pub(crate) async fn run(&self, env: &impl Environment, streams: &mut Streams<'_>) -> Result<Exit, Failure> {
        match &self.action {
            Action::Check(check) => check.run(streams),
            Action::Explain(explain) => explain.run(env, streams).await,
            Action::Push(push) => push.run(env, streams).await,
        }
    }
}

impl Check {
    fn run(&self, streams: &mut Streams<'_>) -> Result<Exit, Failure> {
        let policy = match read(&self.file, streams.input) {
            Ok((_, policy)) => policy,
            Err(error) if self.json => {
                json_line(streams.out, &json!({"holds": false, "error": error.to_string()}))?;
                return Ok(Exit::Failed);
            }
            Err(error) => return Err(error.into()),
        };
        let (monitors, alarms) = policy.count_monitors_and_alarms();
        let warnings = policy.warnings();
        if self.json {
            let (version, models) = (policy.version(), policy.models().len());
            let line = json!({
                "holds": true, "version": version, "models": models, "monitors": monitors, "alarms": alarms,
                "warnings": warnings,
            });
            json_line(streams.out, &line)?;
            return Ok(Exit::Done);
        }
        show_warnings(&warnings, streams)?;
        let alarms = match alarms {
            0 => String::new(),
            alarms => format!(", {}", text::count(alarms, "alarm")),
        };
        writeln!(
            streams.out,
            "{} is valid: version {}, {}, {}{alarms}",
            plain(display_name(&self.file)),
            policy.version(),
            text::count(policy.models().len(), "model"),
            text::count(monitors, "monitor"),
        )?;
        Ok(Exit::Done)
    }
}

fn show_warnings(warnings: &[PolicyWarning], streams: &mut Streams<'_>) -> Result<(), Failure> {
    for warning in warnings {
        writeln!(
            streams.err,
            "warning: {}: {}",
            plain(&warning.place),
            plain(&warning.message)
        )?;
    }
    Ok(())
}

/// Name of a file in messages.
fn display_name(name: &str) -> &str {
    if name == "-" { "standard input" } else { name }
}

/// Reads a policy file: its bytes, and the policy.
fn read(name: &str, input: &mut dyn Read) -> Result<(Vec<u8>, Policy), Message> {
    let bytes = input::read(name, input, MAX_BYTES).map_err(|error| format!("{}: {error}", display_name(name)))?;
    if bytes.trim_ascii().is_empty() {
        // Functions treat an empty object as an interrupted upload.
        return Err(Message::new(
            format!(
                "{}: the policy is empty, and functions reject an empty policy",
                display_name(name)
            ),
            "to publish the defaults, write a comment into the file",
        ));
    }
    match Policy::parse(&bytes) {
        Ok(policy) => Ok((bytes, policy)),
        Err(error) => Err(format!("{}: {}", display_name(name), machine::chain(&error)).into()),
    }
}

impl Explain {
    async fn run(&self, env: &impl Environment, streams: &mut Streams<'_>) -> Result<Exit, Failure> {
        let bucket = self.state_bucket.optional(env).await?;
        let clients = match &bucket {
            Some(_) => Some(connect(env, bucket.clone()).await?),
            None => None,
        };
        let policy = match (&self.policy, &clients) {
            (Some(file), _) => Arc::new(read(file, streams.input)?.1),
            (None, Some(clients)) => effective_policy(clients.as_ref()).await?,
            (None, None) => {
                return Err(Failure::usage(
                    "no policy to explain",
                    "pass --policy FILE; or, for the published policy, pass --stack NAME or --state-bucket NAME",
                ));
            }
        };
        let mut known = Vec::new();
        let mut exit = Exit::Done;
        if let Some(clients) = &clients {
            for monitor in monitors(clients.as_ref()).await? {
                match monitor {
                    Ok(monitor) => known.push(monitor),
                    Err(message) => {
                        exit = Exit::Failed;
                        message.print(streams.err)?;
                    }
                }
            }
        }
        let known: Vec<MonitorRef<'_>> = known.iter().map(monitor_ref).collect();
        let explanation = policy.explain(&self.model, &known);
        if self.json {
            json_line(streams.out, &explanation)?;
        } else {
            show(streams.out, &explanation, clients.is_some())?;
        }
        Ok(exit)
    }
}

/// The effective policy: the published one, or the default.
pub(crate) async fn effective_policy(clients: &impl Clients) -> Result<Arc<Policy>, Failure> {
    PolicyStore::default().load(clients).await.map_err(|error| match error {
        LoadPolicyError::Aws(error) => error.into(),
        error => machine::chain(&error).into(),
    })
}

/// A monitor, as policy look-ups take it.
pub(crate) fn monitor_ref(monitor: &Monitor) -> MonitorRef<'_> {
    MonitorRef {
        schedule: &monitor.schedule,
        endpoint: monitor.endpoint.as_deref(),
        monitor_type: monitor.monitor_type.map(model_monitor::MonitorType::as_str),
    }
}

fn show(out: &mut dyn Write, explanation: &Explanation, with_ledgers: bool) -> io::Result<()> {
    let version = match explanation.policy_version.as_str() {
        "default" => "default settings: no policy is published".to_owned(),
        version => format!("policy version {version}"),
    };
    writeln!(out, "model `{}`, {version}", plain(&explanation.model))?;
    settings(out, &explanation.settings)?;
    for (schedule, of_monitor) in &explanation.monitors {
        writeln!(out, "\nmonitor `{}`", plain(schedule))?;
        settings(out, of_monitor)?;
    }
    if explanation.monitors.is_empty() {
        let note = if with_ledgers {
            "no monitor of this model has a ledger in the state bucket, and the policy names none"
        } else {
            "the policy names no monitor of this model; --state-bucket also shows the monitors that have reported"
        };
        writeln!(out, "\n{note}")?;
    }
    Ok(())
}

fn settings(out: &mut dyn Write, settings: &[Setting]) -> io::Result<()> {
    let mut table = Table::new(["setting", "source", "value"]);
    for setting in settings {
        let source = setting.place.as_deref().unwrap_or("default");
        table.row([setting.name.clone(), source.to_owned(), setting.value.clone()]);
    }
    table.write(out)
}

impl Push {
    async fn run(&self, env: &impl Environment, streams: &mut Streams<'_>) -> Result<Exit, Failure> {
        let (bytes, policy) = read(&self.file, streams.input)?;
        let bucket = self.state_bucket.required(env).await?;
        let clients = connect(env, Some(bucket.clone())).await?;
        // A ledger that cannot be read is reported by `doctor`, and does not keep a policy from being published.
        let known: Vec<Monitor> = monitors(clients.as_ref()).await?.into_iter().flatten().collect();
        let mut warnings = policy.warnings();
        warnings.extend(policy.warnings_about(&known));
        if !self.json {
            show_warnings(&warnings, streams)?;
        }
        let uri = format!("s3://{bucket}/{POLICY_KEY}");
        let version = policy.version();
        let (old, old_version, precondition) = match clients.read(POLICY_KEY, None).await? {
            Fetched::Absent | Fetched::Unchanged => (Vec::new(), "default".to_owned(), Precondition::Absent),
            Fetched::Found(body, etag) => {
                let old = Policy::parse(&body).map(|policy| policy.version().to_owned());
                let version = old.unwrap_or_else(|_| "an invalid policy".to_owned());
                (body, version, Precondition::Unchanged(etag))
            }
        };
        let is_published = old == bytes && matches!(precondition, Precondition::Unchanged(_));
        if is_published && !self.json {
            writeln!(
                streams.out,
                "{uri}: version {version} is already published; nothing changed"
            )?;
            return Ok(Exit::Done);
        }
        let (before, after) = (String::from_utf8_lossy(&old), String::from_utf8_lossy(&bytes));
        let diff = TextDiff::from_lines(before.as_ref(), after.as_ref());
        let mut unified = diff.unified_diff();
        let unified = unified.header(&old_version, version).to_string();
        let answer = |written: bool| {
            let diff = if is_published { "" } else { &unified };
            json!({
                "place": uri, "from": old_version, "to": version, "diff": diff, "written": written, "warnings": warnings,
            })
        };
        if self.json && (self.dry_run || is_published) {
            json_line(streams.out, &answer(false))?;
            return Ok(Exit::Done);
        }
        if !self.json {
            writeln!(streams.out, "{uri}: {old_version} → {version}")?;
            writeln!(streams.out, "{}", plain_lines(&unified))?;
        }
        if self.dry_run {
            writeln!(streams.out, "dry run: nothing was written")?;
            return Ok(Exit::Done);
        }
        match clients.write(POLICY_KEY, bytes, &precondition).await {
            Ok(_) if self.json => {
                json_line(streams.out, &answer(true))?;
                Ok(Exit::Done)
            }
            Ok(_) => {
                writeln!(streams.out, "published: version {version} applies from the next event")?;
                Ok(Exit::Done)
            }
            Err(AwsError {
                kind: Kind::Conflict, ..
            }) => Err(Failure::failed(
                format!("{uri} was changed by another process; nothing was written"),
                "run the command again to see the changes",
            )),
            Err(error) => Err(error.into()),
        }
    }
}
