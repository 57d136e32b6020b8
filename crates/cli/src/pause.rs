//! `driftwarden pause` and `driftwarden resume`: the kill switch, for one model or for all models.

use crate::{
    Exit, Streams,
    cloud::{AwsTargets, Clients, Environment, OperatorUrl, StateBucket, json_line},
    error::Failure,
    operator::CommandArgs,
    table::plain,
};
use jiff::Timestamp;
use machine::{AwsError, Clock as _, Fetched, Kind, Precondition};
use remediation::{OperatorAction, PAUSE_KEY, Pause as PauseState, duration};
use serde_json::json;
use shell::ports::DatedDocuments;

/// Pause retraining for one model or for all models.
///
/// No retraining starts until the pause ends. Decisions hold it instead, with the reason `Paused`: who paused, until when, and
/// why. Alerts and incidents continue, and so does a pipeline execution or an experiment that has already started
/// (`driftwarden experiment stop` stops an experiment). After the pause, the next sweep decides again.
///
/// For one model, the command is sent, signed, to the deployment, and the model's document stores it with the caller and the time
/// that AWS authenticated. For all models, it writes the pause to the state bucket, next to the policy: it also applies to new
/// models, and no function has to run. Either pause applies when the command returns. The latest command counts.
#[derive(Debug, clap::Args)]
pub struct Pause {
    #[command(flatten)]
    args: PauseArgs,
    /// Accept a model that has had no alert and no experiment yet.
    #[arg(long, requires = "model")]
    new: bool,
    /// End of the pause: 24h, 7d, or a time, 2026-12-01T08:00:00Z [default: until `driftwarden resume`].
    #[arg(long, value_name = "WHEN", value_parser = parse_until)]
    until: Option<Until>,
}

/// Resume retraining for one model or for all models.
///
/// Driftwarden decides again about retrainings that were on hold: for one model immediately, for all models with the next
/// sweep. The two pauses are independent: resuming all models does not resume a model that was paused individually, or the
/// reverse. The setting `paused` of the policy is a third switch; only a new policy turns it off.
#[derive(Debug, clap::Args)]
pub struct Resume {
    #[command(flatten)]
    args: PauseArgs,
}

/// Arguments of both commands.
#[derive(Debug, clap::Args)]
struct PauseArgs {
    /// Model name [default: all models].
    #[arg(value_name = "MODEL")]
    model: Option<String>,
    #[command(flatten)]
    state_bucket: StateBucket,
    #[command(flatten)]
    url: OperatorUrl,
    #[command(flatten)]
    command: CommandArgs,
}

/// The end of a pause.
#[derive(Debug, Clone, Copy)]
enum Until {
    /// A duration from now.
    For(jiff::SignedDuration),
    /// A time.
    At(Timestamp),
}

fn parse_until(text: &str) -> Result<Until, String> {
    let at = || text.parse().ok().map(Until::At);
    let until = duration(text).map(Until::For).or_else(at);
    until.ok_or_else(|| "expected a duration or a time: 24h, 7d, 2026-12-01T08:00:00Z".to_owned())
}

impl Pause {
    /// Runs the command.
    pub(crate) async fn run(&self, env: &impl Environment, streams: &mut Streams<'_>) -> Result<Exit, Failure> {
        let reason = self.args.command.reason.as_deref().unwrap_or_default();
        if reason.trim().is_empty() {
            return Err(Failure::usage(
                "no reason for the pause",
                "pass --reason TEXT; Driftwarden reports it with every retraining that it holds",
            ));
        }
        self.args.send(true, self.until, self.new, env, streams).await
    }
}

impl Resume {
    /// Runs the command.
    pub(crate) async fn run(&self, env: &impl Environment, streams: &mut Streams<'_>) -> Result<Exit, Failure> {
        self.args.send(false, None, false, env, streams).await
    }
}

impl PauseArgs {
    async fn send(
        &self,
        paused: bool,
        until: Option<Until>,
        new_model: bool,
        env: &impl Environment,
        streams: &mut Streams<'_>,
    ) -> Result<Exit, Failure> {
        let Some(model) = &self.model else {
            let by = self.command.by(env)?;
            let bucket = self.state_bucket.required(env).await?;
            let clients = self.state_bucket.connect(env).await?;
            let now = clients.now();
            let pause = PauseState {
                paused,
                by,
                time: now,
                until: end(until, now)?,
                reason: self.command.reason.clone(),
            };
            return self.write(clients.as_ref(), &bucket, &pause, streams).await;
        };
        let stack = &self.state_bucket.stack;
        let url = self.url.find(self.command.dry_run, stack, env).await?;
        let clients = env.connect(AwsTargets::default()).await?;
        let now = clients.now();
        let action = if paused {
            OperatorAction::Pause
        } else {
            OperatorAction::Resume
        };
        let mut command = self.command.command(action, now, env);
        command.model = Some(model.clone());
        command.until = end(until, now)?;
        command.new_model = new_model;
        self.command
            .send(clients.as_ref(), url.as_deref(), &command, streams)
            .await
    }

    /// Writes the pause of all models.
    async fn write(
        &self,
        clients: &impl Clients,
        bucket: &str,
        pause: &PauseState,
        streams: &mut Streams<'_>,
    ) -> Result<Exit, Failure> {
        let uri = format!("s3://{bucket}/{PAUSE_KEY}");
        let precondition = match clients.read(PAUSE_KEY, None).await? {
            Fetched::Absent | Fetched::Unchanged => Precondition::Absent,
            Fetched::Found(_, etag) => Precondition::Unchanged(etag),
        };
        let body = serde_json::to_vec(pause).map_err(|error| error.to_string())?;
        if !self.command.dry_run {
            match clients.write(PAUSE_KEY, body, &precondition).await {
                Ok(_) => {}
                Err(AwsError {
                    kind: Kind::Conflict, ..
                }) => {
                    return Err(Failure::failed(
                        format!("{uri} was changed by another process; nothing was written"),
                        "check the pause with `driftwarden incidents`, then run the command again",
                    ));
                }
                Err(error) => return Err(error.into()),
            }
        }
        if self.command.json {
            let line = json!({"place": uri, "document": pause, "written": !self.command.dry_run});
            json_line(streams.out, &line)?;
            return Ok(Exit::Done);
        }
        let until = match pause.until {
            Some(until) => format!("until {}", text::time(until)),
            None => "until `driftwarden resume`".to_owned(),
        };
        let by = plain(&pause.by);
        if pause.paused {
            writeln!(
                streams.out,
                "paused: all models, by {by}, {until}; no retraining starts"
            )?;
        } else {
            writeln!(
                streams.out,
                "resumed: all models, by {by}; the next sweep decides again"
            )?;
        }
        if self.command.dry_run {
            writeln!(streams.out, "dry run: {uri} was not written")?;
        } else {
            writeln!(streams.out, "written: {uri}")?;
        }
        Ok(Exit::Done)
    }
}

/// The end of a pause that begins now.
fn end(until: Option<Until>, now: Timestamp) -> Result<Option<Timestamp>, Failure> {
    match until {
        None => Ok(None),
        Some(Until::For(duration)) => Ok(Some(now.saturating_add(duration).unwrap_or(Timestamp::MAX))),
        Some(Until::At(at)) if at <= now => Err(Failure::usage(
            format!("--until {at} is in the past; the current time is {}", text::time(now)),
            "pass a later time, or a duration: 24h, 7d",
        )),
        Some(Until::At(at)) => Ok(Some(at)),
    }
}

/// The pause of all models, if it applies at a time. Its time is that of the write as S3 recorded it, not that of the clock of the
/// operator.
pub(crate) async fn all_paused(clients: &impl DatedDocuments, now: Timestamp) -> Result<Option<PauseState>, Failure> {
    let Some((body, written)) = clients.read_dated(PAUSE_KEY).await? else {
        return Ok(None);
    };
    let pause: PauseState = serde_json::from_slice(&body)
        .map_err(|error| format!("failed to read `{PAUSE_KEY}` in the state bucket: {error}"))?;
    Ok(Some(PauseState { time: written, ..pause }).filter(|pause| pause.is_active(now)))
}

/// Description of a pause: `paused by ada at … until … (reason)`.
pub(crate) fn describe(pause: &PauseState) -> String {
    let until = pause
        .until
        .map_or_else(String::new, |until| format!(" until {}", text::time(until)));
    let why = pause
        .reason
        .as_ref()
        .map_or_else(String::new, |why| format!(" ({why})"));
    format!("paused by {} at {}{until}{why}", pause.by, text::time(pause.time))
}
