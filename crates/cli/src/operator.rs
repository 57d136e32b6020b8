//! `driftwarden approve` and `driftwarden resolve`: commands of operators on incidents, sent as events.

use crate::{
    Exit, Streams,
    cloud::{AwsTargets, Clients, Environment, EventBus, StackName, StateBucket, json_line, model, option},
    error::{Failure, Message},
    table::plain,
};
use jiff::{SignedDuration, Timestamp};
use remediation::{
    Cause, Incident, OPERATOR_SOURCE, REMEDIATION_APPROVAL, REMEDIATION_RESOLUTION, RemediationApproval,
    RemediationResolution, Stage, duration,
};
use serde::Serialize;
use serde_json::{Value, json};
use shell::ports::Clock as _;

/// Approve or deny an incident's retraining.
///
/// Sends the event `Remediation Approval` to the event bus. If the state bucket is known, the command first checks that the
/// incident is open and can still be approved, and sends nothing if not. You can repeat the command: the latest answer counts
/// until the retraining starts.
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
}

/// Close an incident.
///
/// Sends the event `Remediation Resolution` to the event bus. Monitors that are still in alert open a new incident. If the
/// state bucket is known, the command first checks that the incident is open and can be closed, and sends nothing if not. You
/// can repeat the command: an incident is closed once.
#[derive(Debug, clap::Args)]
pub struct Resolve {
    #[command(flatten)]
    args: IncidentArgs,
}

/// Arguments of commands on an incident.
#[derive(Debug, clap::Args)]
struct IncidentArgs {
    /// Incident ID as shown by `driftwarden incidents`: MODEL-NUMBER, for example churn-3.
    #[arg(value_name = "INCIDENT_ID")]
    incident_id: String,
    #[command(flatten)]
    state_bucket: StateBucket,
    #[command(flatten)]
    operator: OperatorArgs,
}

/// Arguments of all commands that send an event of an operator.
#[derive(Debug, clap::Args)]
pub(crate) struct OperatorArgs {
    /// Reason, recorded and included in notifications.
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    /// Name of the operator [env: USER].
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    #[command(flatten)]
    event_bus: EventBus,
    /// Print the event without sending it.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Print one JSON object.
    #[arg(long, display_order = 110)]
    pub(crate) json: bool,
}

/// An operator, and the event bus that gets the event.
pub(crate) struct Operator {
    /// Name of the operator.
    pub(crate) by: String,
    /// The event bus. `None` for a dry run without one.
    pub(crate) event_bus: Option<String>,
}

impl OperatorArgs {
    /// Name of the operator.
    pub(crate) fn by(&self, env: &impl Environment) -> Result<String, Failure> {
        option(self.by.as_ref(), "USER", env)
            .ok_or_else(|| Failure::usage("no operator name", "pass --by NAME or set USER"))
    }

    /// The operator, and the event bus.
    pub(crate) async fn operator(&self, stack: &StackName, env: &impl Environment) -> Result<Operator, Failure> {
        let by = self.by(env)?;
        let event_bus = if self.dry_run {
            self.event_bus.optional(stack, env).await?
        } else {
            Some(self.event_bus.required(stack, env).await?)
        };
        Ok(Operator { by, event_bus })
    }

    /// Sends an event to the event bus, or prints it for a dry run.
    pub(crate) async fn send(
        &self,
        clients: &impl Clients,
        streams: &mut Streams<'_>,
        detail_type: &str,
        event: &impl Serialize,
        confirmation: Confirmation<'_>,
    ) -> Result<Exit, Failure> {
        let detail = serde_json::to_value(event).map_err(|error| error.to_string())?;
        let event: Value = json!({"source": OPERATOR_SOURCE, "detail-type": detail_type, "detail": detail});
        if self.dry_run && !self.json {
            writeln!(streams.out, "{event:#}\ndry run: the event was not sent")?;
            return Ok(Exit::Done);
        }
        if !self.dry_run {
            clients.put_as_operator(detail_type, detail.to_string()).await?;
        }
        let Confirmation {
            action,
            subject,
            operator,
        } = confirmation;
        if self.json {
            let line = json!({"event": event, "event_bus": operator.event_bus, "put": !self.dry_run});
            json_line(streams.out, &line)?;
            return Ok(Exit::Done);
        }
        writeln!(
            streams.out,
            "{action}: {}, by {}; sent `{detail_type}` to event bus `{}`",
            plain(subject),
            plain(&operator.by),
            plain(operator.event_bus.as_deref().unwrap_or_default())
        )?;
        Ok(Exit::Done)
    }
}

/// What the output says after an event was sent.
#[derive(Clone, Copy)]
pub(crate) struct Confirmation<'a> {
    /// The action, as a past participle: `approved`.
    pub(crate) action: &'a str,
    /// The incident, model, or experiment.
    pub(crate) subject: &'a str,
    /// The operator.
    pub(crate) operator: &'a Operator,
}

pub(crate) fn parse_duration(text: &str) -> Result<SignedDuration, String> {
    duration(text).ok_or_else(|| "expected a duration: 60s, 30m, 24h, 7d, 2w".to_owned())
}

impl Approve {
    /// Runs the command.
    pub(crate) async fn run(&self, env: &impl Environment, streams: &mut Streams<'_>) -> Result<Exit, Failure> {
        let id = &self.args.incident_id;
        let event = |by: String, now: Timestamp| RemediationApproval {
            incident_id: id.clone(),
            granted: !self.deny,
            decision: None,
            by,
            time: now,
            valid_until: self
                .valid_for
                .map(|valid_for| now.saturating_add(valid_for).unwrap_or(Timestamp::MAX)),
            reason: self.args.operator.reason.clone(),
        };
        let check = |incident: &Incident, now: Timestamp| match incident.approval_expires_at {
            _ if !incident.stage().is_undecided() => Err(Message::new(
                "it does not wait for an approval",
                "`driftwarden incidents MODEL` shows the decision of the open incident",
            )),
            Some(expires_at) if expires_at <= now => Err(Message::new(
                format!("the approval request expired at {}", text::time(expires_at)),
                format!("`driftwarden resolve {id}` closes it; monitors that are still in alert open a new incident"),
            )),
            _ => Ok(()),
        };
        let action = if self.deny { "denied" } else { "approved" };
        self.args
            .send(env, streams, REMEDIATION_APPROVAL, event, check, action)
            .await
    }
}

impl Resolve {
    /// Runs the command.
    pub(crate) async fn run(&self, env: &impl Environment, streams: &mut Streams<'_>) -> Result<Exit, Failure> {
        let event = |by: String, now: Timestamp| RemediationResolution {
            incident_id: self.args.incident_id.clone(),
            in_alert: None,
            by,
            time: now,
            reason: self.args.operator.reason.clone(),
        };
        let check = |incident: &Incident, _: Timestamp| match incident.stage().after(Cause::Resolved) {
            None if incident.stage() == Stage::Retraining => Err(Message::new(
                "its pipeline execution is still in progress",
                "wait for the end of the pipeline execution, or stop it, then run the command again",
            )),
            None => Err("an incident cannot be closed in this stage".to_owned().into()),
            Some(_) => Ok(()),
        };
        self.args
            .send(env, streams, REMEDIATION_RESOLUTION, event, check, "resolved")
            .await
    }
}

impl IncidentArgs {
    /// Checks the incident if the state bucket is known, and sends the event.
    async fn send<S: Environment, E: Serialize>(
        &self,
        env: &S,
        streams: &mut Streams<'_>,
        detail_type: &str,
        event: impl Fn(String, Timestamp) -> E,
        check: impl Fn(&Incident, Timestamp) -> Result<(), Message>,
        action: &str,
    ) -> Result<Exit, Failure> {
        let model = model_name(&self.incident_id)?;
        let operator = self.operator.operator(&self.state_bucket.stack, env).await?;
        let state_bucket = self.state_bucket.optional(env).await?;
        let targets = AwsTargets {
            state_bucket: state_bucket.clone(),
            event_bus: operator.event_bus.clone(),
        };
        let clients = env.connect(targets).await?;
        let now = clients.now();
        if state_bucket.is_some() {
            let incident = open_incident(clients.as_ref(), model, &self.incident_id).await?;
            let stage = incident.stage().as_str();
            check(&incident, now)
                .map_err(|error| error.within(&format!("incident `{}` is in stage {stage}", incident.id)))?;
            let sentence = match &incident.decision {
                Some(decision) => decision.sentence.as_str(),
                None => "no decision yet",
            };
            if !self.operator.json {
                writeln!(
                    streams.out,
                    "{}: {stage}, open since {}\n  {}",
                    plain(&incident.id),
                    text::time(incident.opened_at),
                    plain(sentence)
                )?;
            }
        }
        let confirmation = Confirmation {
            action,
            subject: &self.incident_id,
            operator: &operator,
        };
        let event = event(operator.by.clone(), now);
        self.operator
            .send(clients.as_ref(), streams, detail_type, &event, confirmation)
            .await
    }
}

/// The model in an incident ID.
fn model_name(incident_id: &str) -> Result<&str, Failure> {
    let parts = incident_id.rsplit_once('-');
    let number = parts.filter(|(model, number)| !model.is_empty() && number.parse::<u64>().is_ok());
    number.map(|(model, _)| model).ok_or_else(|| {
        Failure::usage(
            format!("`{incident_id}` is not an incident ID"),
            "an incident ID is MODEL-NUMBER, for example churn-3; `driftwarden incidents` lists them",
        )
    })
}

/// The incident, if it is open.
async fn open_incident(clients: &impl Clients, name: &str, incident_id: &str) -> Result<Incident, Failure> {
    let document = model(clients, name).await?;
    let document = document.ok_or_else(|| {
        Message::new(
            format!("model `{name}` does not exist in the state bucket"),
            "`driftwarden incidents` lists the models",
        )
    })?;
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
