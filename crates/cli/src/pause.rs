//! `driftwarden pause` and `driftwarden resume`: the kill switch, for one model or for all models.

use crate::{
    Exit, Streams,
    cloud::{AwsTargets, Clients, Environment, StateBucket, document, json_line},
    error::Failure,
    operator::{Confirmation, Operator, OperatorArgs},
    table::plain,
};
use jiff::Timestamp;
use remediation::{PAUSE_KEY, Pause as PauseState, REMEDIATION_PAUSE, RemediationPause, duration};
use serde_json::json;
use shell::{
    AwsError, Kind,
    ports::{Clock as _, Documents, Fetched, Precondition},
};

/// Pause retraining for one model or for all models.
///
/// No retraining starts until the pause ends. Decisions hold it instead, with the reason `Paused`: who paused, until when, and
/// why. Alerts and incidents continue, and so does a pipeline execution or an experiment that has already started
/// (`driftwarden experiment stop` stops an experiment). After the pause, the next sweep decides again.
///
/// For one model, the command sends the event `Remediation Pause` to the event bus, and the model's document stores it. For
/// all models, it writes the pause to the state bucket, next to the policy: the pause applies when the command returns, also to
/// new models, and no function has to run. You can repeat the command: the latest command counts.
#[derive(Debug, clap::Args)]
pub struct Pause {
    #[command(flatten)]
    args: PauseArgs,
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
    operator: OperatorArgs,
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
        let reason = self.args.operator.reason.as_deref().unwrap_or_default();
        if reason.trim().is_empty() {
            return Err(Failure::usage(
                "no reason for the pause",
                "pass --reason TEXT; Driftwarden reports it with every retraining that it holds",
            ));
        }
        self.args.send(true, self.until, env, streams).await
    }
}

impl Resume {
    /// Runs the command.
    pub(crate) async fn run(&self, env: &impl Environment, streams: &mut Streams<'_>) -> Result<Exit, Failure> {
        self.args.send(false, None, env, streams).await
    }
}

impl PauseArgs {
    async fn send(
        &self,
        paused: bool,
        until: Option<Until>,
        env: &impl Environment,
        streams: &mut Streams<'_>,
    ) -> Result<Exit, Failure> {
        let operator = match &self.model {
            Some(_) => self.operator.operator(&self.state_bucket.stack, env).await?,
            None => Operator {
                by: self.operator.by(env)?,
                event_bus: None,
            },
        };
        let state_bucket = match &self.model {
            Some(_) => None,
            None => Some(self.state_bucket.required(env).await?),
        };
        let targets = AwsTargets {
            state_bucket: state_bucket.clone(),
            event_bus: operator.event_bus.clone(),
        };
        let clients = env.connect(targets).await?;
        let now = clients.now();
        let until = match until {
            None => None,
            Some(Until::For(duration)) => Some(now.saturating_add(duration).unwrap_or(Timestamp::MAX)),
            Some(Until::At(at)) if at <= now => {
                return Err(Failure::usage(
                    format!("--until {at} is in the past; the current time is {}", text::time(now)),
                    "pass a later time, or a duration: 24h, 7d",
                ));
            }
            Some(Until::At(at)) => Some(at),
        };
        let pause = PauseState {
            paused,
            by: operator.by.clone(),
            time: now,
            until,
            reason: self.operator.reason.clone(),
        };
        let Some(model) = &self.model else {
            let bucket = state_bucket.unwrap_or_default();
            return self.write(clients.as_ref(), &bucket, &pause, streams).await;
        };
        let event = RemediationPause {
            model: model.clone(),
            paused: pause.paused,
            by: pause.by,
            time: pause.time,
            until: pause.until,
            reason: pause.reason,
        };
        let confirmation = Confirmation {
            action: if paused { "paused" } else { "resumed" },
            subject: model,
            operator: &operator,
        };
        self.operator
            .send(clients.as_ref(), streams, REMEDIATION_PAUSE, &event, confirmation)
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
        if !self.operator.dry_run {
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
        if self.operator.json {
            let line = json!({"place": uri, "document": pause, "written": !self.operator.dry_run});
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
        if self.operator.dry_run {
            writeln!(streams.out, "dry run: {uri} was not written")?;
        } else {
            writeln!(streams.out, "written: {uri}")?;
        }
        Ok(Exit::Done)
    }
}

/// The pause of all models, if it applies at a time.
pub(crate) async fn all_paused(clients: &impl Documents, now: Timestamp) -> Result<Option<PauseState>, Failure> {
    let pause: Option<PauseState> = document(clients, PAUSE_KEY).await?;
    Ok(pause.filter(|pause| pause.is_active(now)))
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
