//! `driftwarden approve` and `driftwarden resolve`: commands of operators on incidents. They are sent, signed, to the function
//! `operator`, which takes the step and answers with what the model's document says then.

use crate::{
    Exit, Streams,
    cloud::{
        ApproveUrl, AwsTargets, Clients, Environment, OperatorUrl, StateBucket, json_line, model, models, option, warn,
    },
    error::{Failure, Message},
    table::plain,
};
use jiff::{SignedDuration, Timestamp};
use machine::Clock as _;
use remediation::{
    CommandResult, InAlertChoice, Incident, ModelState, OperatorAction, OperatorAnswer, OperatorCommand,
    OperatorRefusal, duration, incident_model,
};
use serde::Deserialize;
use serde_json::{Value, json};
use shell::ports::PostResponse;
use std::time::Duration;

/// Approve or deny an incident's retraining.
///
/// Sends a signed command to the deployment. The approval has taken effect when the command ends, and the output shows what the model
/// does then. Driftwarden records the caller and the time as AWS authenticated them.
///
/// The command answers one decision: the current one, which it reads from the state bucket and shows, or that of --decision. If
/// another decision was made since, nothing changes. The latest answer counts until the retraining starts.
#[derive(Debug, clap::Args)]
pub struct Approve {
    /// Deny the retraining.
    #[arg(long)]
    deny: bool,
    #[arg(
        long,
        value_name = "DURATION",
        value_parser = parse_duration,
        conflicts_with = "deny",
        help = "How long the approval stays valid if the retraining cannot start yet, for example because of a cooldown: 30m, \
                24h, 7d [default: approval_valid_for of the policy]"
    )]
    valid_for: Option<SignedDuration>,
    #[command(flatten)]
    args: IncidentArgs,
    #[command(flatten)]
    url: ApproveUrl,
}

/// Close an incident.
///
/// Sends a signed command to the deployment. The incident is closed when the command ends, in any stage. A start that is pending is
/// withdrawn; a retraining in progress continues, and its result is recorded with the closed incident. Driftwarden records the
/// caller and the time as AWS authenticated them.
///
/// If a monitor of the model is in alert, --accept or --reopen says what becomes of its alert.
///
/// The command expects the stage that it reads from the state bucket and shows, or the decision of --decision. If the incident
/// changed since, nothing is closed.
#[derive(Debug, clap::Args)]
pub struct Resolve {
    /// Accept alerts that last: they open no incident until their monitors have been OK once, for 7 days at most.
    #[arg(long, conflicts_with = "reopen")]
    accept: bool,
    /// Open a new incident for alerts that last, under the usual cooldown and budget.
    #[arg(long)]
    reopen: bool,
    #[command(flatten)]
    args: IncidentArgs,
    #[command(flatten)]
    url: OperatorUrl,
}

/// What a command on an incident says beside the incident.
#[derive(Debug, Clone, Copy)]
struct Sent {
    action: OperatorAction,
    valid_for: Option<SignedDuration>,
    in_alert: Option<InAlertChoice>,
}

/// Arguments of commands on an incident.
#[derive(Debug, clap::Args)]
struct IncidentArgs {
    /// Incident ID as shown by `driftwarden incidents`: MODEL-NUMBER, for example churn-3.
    #[arg(value_name = "INCIDENT_ID")]
    incident_id: String,
    /// Number of the decision that the command answers [default: the current one].
    #[arg(long, value_name = "NUMBER")]
    decision: Option<u64>,
    #[command(flatten)]
    state_bucket: StateBucket,
    #[command(flatten)]
    command: CommandArgs,
}

/// Arguments of all commands that are sent to the function `operator`.
#[derive(Debug, clap::Args)]
pub(crate) struct CommandArgs {
    /// Reason, recorded and included in notifications.
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    /// Name of the operator, as a note beside the caller [env: USER].
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    /// Print the command without sending it.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Print one JSON object.
    #[arg(long, display_order = 110)]
    pub(crate) json: bool,
}

impl CommandArgs {
    /// Name of the operator, or the error if there is none.
    pub(crate) fn by(&self, env: &impl Environment) -> Result<String, Failure> {
        let name = option(self.by.as_ref(), "USER", env);
        name.ok_or_else(|| Failure::usage("no operator name", "pass --by NAME or set USER"))
    }

    /// A command with the notes of the operator.
    pub(crate) fn command(&self, command: OperatorAction, now: Timestamp, env: &impl Environment) -> OperatorCommand {
        OperatorCommand {
            id: format!("cli-{}", now.as_nanosecond()),
            command,
            incident_id: None,
            model: None,
            experiment_id: None,
            monitoring_schedule: None,
            scheduled_time: None,
            decision: None,
            stage: None,
            valid_until: None,
            until: None,
            in_alert: None,
            new_model: false,
            by: option(self.by.as_ref(), "USER", env),
            reason: self.reason.clone(),
        }
    }

    /// Sends a command to the URL of its function, and prints what it did. For a dry run, prints the command.
    pub(crate) async fn send(
        &self,
        clients: &impl Clients,
        url: Option<&str>,
        command: &OperatorCommand,
        streams: &mut Streams<'_>,
    ) -> Result<Exit, Failure> {
        self.send_and_wait(clients, url, command, streams, async || Ok(None))
            .await
    }

    /// As [`Self::send`]. If another function executes the command, waits until `effect` finds in the state bucket that it has.
    pub(crate) async fn send_and_wait(
        &self,
        clients: &impl Clients,
        url: Option<&str>,
        command: &OperatorCommand,
        streams: &mut Streams<'_>,
        effect: impl AsyncFn() -> Result<Option<Effect>, Failure>,
    ) -> Result<Exit, Failure> {
        // The function checks it too. Without it, a mistake would be found only after the request.
        command.target().map_err(|error| Failure::Usage(error.into()))?;
        let Some(url) = url.filter(|_| !self.dry_run) else {
            if self.json {
                json_line(streams.out, &json!({"command": command, "url": url, "answer": null}))?;
            } else {
                let shown = serde_json::to_value(command).map_err(|error| error.to_string())?;
                writeln!(streams.out, "{shown:#}\ndry run: the command was not sent")?;
            }
            return Ok(Exit::Done);
        };
        let body = serde_json::to_string(command).map_err(|error| error.to_string())?;
        let answer = read_answer(url, &clients.invoke_url(url, body).await?)?;
        let state = match &answer.result {
            CommandResult::Done(state) => Some(state),
            CommandResult::Sent { .. } => None,
        };
        if !self.json {
            writeln!(streams.out, "{}", describe_answer(command, &answer))?;
            if let Some(state) = state {
                writeln!(streams.out, "{}", describe_state(command, state))?;
            }
        }
        let effect = match state {
            Some(_) => None,
            None => Some(wait(clients, effect).await?),
        };
        match effect {
            effect if self.json => {
                let mut line = json!({"command": command, "url": url, "answer": answer});
                if let (Some(effect), Some(line)) = (effect, line.as_object_mut()) {
                    line.insert("effect".to_owned(), effect.json);
                }
                json_line(streams.out, &line)?;
            }
            Some(effect) => writeln!(streams.out, "{}", effect.text)?,
            None => {}
        }
        if let Some(warning) = &answer.warning {
            warn(streams.err, warning)?;
        }
        Ok(Exit::Done)
    }
}

/// What the state bucket says after a command that another function executed.
pub(crate) struct Effect {
    /// For people.
    pub(crate) text: String,
    /// For programs.
    pub(crate) json: Value,
}

/// Pause between two looks at the state bucket.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Number of looks until the command gives up.
const MAX_LOOKS: usize = 60;

/// Waits for the effect of a command.
async fn wait(
    clients: &impl Clients,
    effect: impl AsyncFn() -> Result<Option<Effect>, Failure>,
) -> Result<Effect, Failure> {
    for _ in 0..MAX_LOOKS {
        if let Some(effect) = effect().await? {
            return Ok(effect);
        }
        clients.sleep(LOOK_INTERVAL).await;
    }
    Err(Failure::failed(
        format!("the command was accepted, but has had no effect within {MAX_LOOKS} s"),
        "it takes effect when the function that executes it succeeds; the log of the function has the error, and `driftwarden \
         doctor` shows dead letters",
    ))
}

/// An error of AWS, which does not come from the function (Lambda developer guide, page *urls-auth*).
#[derive(Deserialize)]
struct AwsAnswer {
    #[serde(alias = "Message")]
    message: Option<String>,
}

/// The answer of the function, or the error.
fn read_answer(url: &str, response: &PostResponse) -> Result<OperatorAnswer, Failure> {
    let PostResponse { status, body } = response;
    if *status == 200 {
        return serde_json::from_str(body).map_err(|error| {
            let what = format!("failed to read the answer of {url}: {error}");
            let hint = "check with `driftwarden incidents` whether the command has taken effect; update driftwarden";
            Failure::failed(what, hint)
        });
    }
    if let Ok(refusal) = serde_json::from_str::<OperatorRefusal>(body) {
        return Err(Failure::Failed(match refusal.hint {
            Some(hint) => Message::new(refusal.message, hint),
            None => refusal.message.into(),
        }));
    }
    let message = serde_json::from_str::<AwsAnswer>(body)
        .ok()
        .and_then(|answer| answer.message);
    let message = message.unwrap_or_else(|| body.chars().take(200).collect());
    let what = format!("{url} answered with status {status}: {message}");
    Err(Failure::failed(
        what,
        if *status == 403 {
            "allow `lambda:InvokeFunctionUrl` on the function for your credentials, and `lambda:InvokeFunction` with the condition \
             `lambda:InvokedViaFunctionUrl` (infra/iam), and check the region and the clock of this machine"
        } else {
            "check with `driftwarden incidents` whether the command has taken effect; the log of the function has the error"
        },
    ))
}

/// What the output says about an answer.
fn describe_answer(command: &OperatorCommand, answer: &OperatorAnswer) -> String {
    let caller = plain(&answer.caller);
    let subject = match &answer.result {
        CommandResult::Done(state) => plain(command.incident_id.as_deref().unwrap_or(&state.model)),
        CommandResult::Sent { .. } => {
            let subject = command.experiment_id.as_ref().or(command.monitoring_schedule.as_ref());
            let subject = plain(subject.map_or("", String::as_str));
            return format!("accepted: {} {subject}, by {caller}", command.command.as_str());
        }
    };
    let action = match command.command {
        OperatorAction::Approve => "approved",
        OperatorAction::Deny => "denied",
        OperatorAction::Resolve => "resolved",
        OperatorAction::Pause => "paused",
        OperatorAction::Resume => "resumed",
        action => action.as_str(),
    };
    let until = match (command.command, command.until.or(command.valid_until)) {
        (OperatorAction::Pause, None) => ", until `driftwarden resume`".to_owned(),
        (OperatorAction::Pause, Some(until)) => format!(", until {}", text::time(until)),
        (_, Some(until)) => format!(", valid until {}", text::time(until)),
        (_, None) => String::new(),
    };
    format!("{action}: {subject}, by {caller}{until}")
}

/// What the output says about a model after a command.
fn describe_state(command: &OperatorCommand, state: &ModelState) -> String {
    let incident = match &state.incident_id {
        Some(id) if command.incident_id.as_ref() != Some(id) => format!(" (incident {})", plain(id)),
        _ => String::new(),
    };
    let sentence = match &state.sentence {
        Some(sentence) => format!("\n  {}", plain(sentence)),
        None => String::new(),
    };
    format!(
        "model {}: {}{incident}{sentence}",
        plain(&state.model),
        state.stage.as_str()
    )
}

pub(crate) fn parse_duration(text: &str) -> Result<SignedDuration, String> {
    duration(text).ok_or_else(|| "expected a duration: 60s, 30m, 24h, 7d, 2w".to_owned())
}

impl Approve {
    /// Runs the command.
    pub(crate) async fn run(&self, env: &impl Environment, streams: &mut Streams<'_>) -> Result<Exit, Failure> {
        let id = &self.args.incident_id;
        let check = |incident: &Incident, now: Timestamp| match incident.approval_expires_at() {
            _ if !incident.stage().is_undecided() => Err(Message::new(
                "it does not wait for an approval",
                "`driftwarden incidents MODEL` shows the decision of the open incident",
            )),
            Some(expires_at) if expires_at <= now => Err(Message::new(
                format!("the approval request expired at {}", text::time(expires_at)),
                format!(
                    "`driftwarden resolve {id} --reopen` closes it, and opens a new incident for monitors in alert"
                ),
            )),
            _ => Ok(()),
        };
        let action = if self.deny {
            OperatorAction::Deny
        } else {
            OperatorAction::Approve
        };
        let stack = &self.args.state_bucket.stack;
        let url = self.url.find(self.args.command.dry_run, stack, env).await?;
        let sent = Sent {
            action,
            valid_for: self.valid_for,
            in_alert: None,
        };
        self.args.send(env, streams, sent, check, url).await
    }
}

impl Resolve {
    /// Runs the command.
    pub(crate) async fn run(&self, env: &impl Environment, streams: &mut Streams<'_>) -> Result<Exit, Failure> {
        let check = |_: &Incident, _: Timestamp| Ok(());
        let stack = &self.args.state_bucket.stack;
        let url = self.url.find(self.args.command.dry_run, stack, env).await?;
        let sent = Sent {
            action: OperatorAction::Resolve,
            valid_for: None,
            in_alert: match (self.accept, self.reopen) {
                (true, _) => Some(InAlertChoice::Accept),
                (false, true) => Some(InAlertChoice::Reopen),
                (false, false) => None,
            },
        };
        self.args.send(env, streams, sent, check, url).await
    }
}

impl IncidentArgs {
    /// Shows and checks the incident if the state bucket is known, and sends the command.
    async fn send<S: Environment>(
        &self,
        env: &S,
        streams: &mut Streams<'_>,
        sent: Sent,
        check: impl Fn(&Incident, Timestamp) -> Result<(), Message>,
        url: Option<String>,
    ) -> Result<Exit, Failure> {
        let Sent {
            action,
            valid_for,
            in_alert,
        } = sent;
        let model = model_name(&self.incident_id)?;
        let state_bucket = self.state_bucket.optional(env).await?;
        let targets = AwsTargets {
            state_bucket: state_bucket.clone(),
            event_bus: None,
        };
        let clients = env.connect(targets).await?;
        let now = clients.now();
        let mut command = self.command.command(action, now, env);
        command.incident_id = Some(self.incident_id.clone());
        command.decision = self.decision;
        command.in_alert = in_alert;
        command.valid_until = valid_for.map(|valid_for| now.saturating_add(valid_for).unwrap_or(Timestamp::MAX));
        if state_bucket.is_some() {
            let incident = open_incident(clients.as_ref(), model, &self.incident_id).await?;
            let stage = incident.stage().as_str();
            check(&incident, now)
                .map_err(|error| error.within(&format!("incident `{}` is in stage {stage}", incident.id)))?;
            let decision = incident.decision.as_ref();
            if self.decision.is_none() {
                if action.is_answer() {
                    command.decision = Some(decision.map_or(0, |decision| decision.number));
                } else {
                    command.stage = Some(incident.stage());
                }
            }
            if !self.command.json {
                let (number, sentence) = match decision {
                    Some(decision) => (format!(", decision {}", decision.number), decision.sentence.as_str()),
                    None => (String::new(), "no decision yet"),
                };
                writeln!(
                    streams.out,
                    "{}: {stage}, open since {}{number}\n  {}",
                    plain(&incident.id),
                    text::time(incident.opened_at),
                    plain(sentence)
                )?;
            }
        } else if self.decision.is_none() {
            return Err(Failure::usage(
                "no decision: the state bucket, which has the current one, is not configured",
                "pass --decision NUMBER (`decision` of the event `Remediation Decided`); or pass --stack NAME or set DRIFTWARDEN_STACK",
            ));
        }
        self.command
            .send(clients.as_ref(), url.as_deref(), &command, streams)
            .await
    }
}

/// The model in an incident ID.
fn model_name(incident_id: &str) -> Result<&str, Failure> {
    incident_model(incident_id).ok_or_else(|| {
        Failure::usage(
            format!("`{incident_id}` is not an incident ID"),
            "an incident ID is MODEL-NUMBER, for example churn-3; `driftwarden incidents` lists them",
        )
    })
}

/// The incident, if it is open.
async fn open_incident(clients: &impl Clients, name: &str, incident_id: &str) -> Result<Incident, Failure> {
    let Some(document) = model(clients, name).await? else {
        let known = models(clients).await?;
        let nearest = text::nearest_name(known.iter().map(|(name, _)| name.as_str()), name);
        return Err(Failure::failed(
            format!("model `{name}` does not exist in the state bucket"),
            match nearest {
                Some(nearest) => format!("did you mean `{nearest}`? `driftwarden incidents` lists the models"),
                None => "`driftwarden incidents` lists the models".to_owned(),
            },
        ));
    };
    if let Some(open) = document.incident.as_ref().filter(|open| open.id == incident_id) {
        return Ok(open.clone());
    }
    let hint = match &document.incident {
        Some(incident) => format!("the open incident of model `{name}` is `{}`", incident.id),
        None => format!("model `{name}` has no open incident"),
    };
    let mut closed = document.closed.iter();
    let what = match closed.find(|closed| closed.incident.id == incident_id) {
        Some(closed) => format!(
            "incident `{incident_id}` was closed at {} ({})",
            text::time(closed.closed_at),
            closed.outcome.as_str()
        ),
        None => format!("incident `{incident_id}` does not exist"),
    };
    Err(Failure::failed(what, hint))
}
