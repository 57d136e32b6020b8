//! `driftwarden approve` and `driftwarden resolve`: what people say about incidents, put on the bus.

use crate::{
    Exit, Streams,
    cloud::{EventBus, Failure, Places, StackName, StateBucket, Surroundings, World, json_line, model, option, second},
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

/// Say that an incident's retraining may be started, or that it may not.
///
/// Puts `Remediation Approval` on the bus. With a state bucket it is looked up first whether the incident is open and can
/// still be approved; if not, nothing is put. Saying the same again is harmless: it is the latest word that counts, until
/// the retraining is started, which happens once.
#[derive(Debug, clap::Args)]
pub struct Approve {
    /// Say no: the retraining is not started.
    #[arg(long)]
    deny: bool,
    /// For how long the approval holds, if it cannot be acted on at once: 30m, 24h, 7d; by default as the policy says.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, conflicts_with = "deny")]
    valid_for: Option<SignedDuration>,
    #[command(flatten)]
    word: Word,
}

/// Close an incident.
///
/// Puts `Remediation Resolution` on the bus. What is still in alert then is an incident of its own, decided on anew. With
/// a state bucket it is looked up first whether the incident is open and can be closed; if not, nothing is put. Saying the
/// same again is harmless: an incident is closed once.
#[derive(Debug, clap::Args)]
pub struct Resolve {
    #[command(flatten)]
    word: Word,
}

/// What both have.
#[derive(Debug, clap::Args)]
struct Word {
    /// The incident, as events and `driftwarden incidents` name it: the model's name and a number.
    #[arg(value_name = "INCIDENT_ID")]
    incident_id: String,
    #[command(flatten)]
    state_bucket: StateBucket,
    #[command(flatten)]
    said: Said,
}

/// What every word of a person's has.
#[derive(Debug, clap::Args)]
pub(crate) struct Said {
    /// Why; told in what follows from it.
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    /// Who says so [env: USER].
    #[arg(long, value_name = "WHO")]
    by: Option<String>,
    #[command(flatten)]
    event_bus: EventBus,
    /// Show what would be said, and say nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Print a JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Who says something, and on which bus; none for a dry run without one.
pub(crate) struct Speaker {
    /// Who.
    pub(crate) by: String,
    /// On which bus.
    pub(crate) event_bus: Option<String>,
}

impl Said {
    /// Who says it.
    pub(crate) fn by(&self, around: &impl Surroundings) -> Result<String, Failure> {
        option(self.by.as_ref(), "USER", around)
            .ok_or_else(|| Failure::Usage("who says so? Neither --by is given nor is USER set".to_owned()))
    }

    /// Who says it, and on which bus.
    pub(crate) async fn speaker(&self, stack: &StackName, around: &impl Surroundings) -> Result<Speaker, Failure> {
        let by = self.by(around)?;
        let event_bus = if self.dry_run {
            self.event_bus.given(stack, around).await?
        } else {
            Some(self.event_bus.required(stack, around).await?)
        };
        Ok(Speaker { by, event_bus })
    }

    /// Puts an event about something on the bus, or prints it.
    pub(crate) async fn put(
        &self,
        world: &impl World,
        streams: &mut Streams<'_>,
        detail_type: &str,
        event: &impl Serialize,
        told: Told<'_>,
    ) -> Result<Exit, Failure> {
        let detail = serde_json::to_value(event).map_err(|error| error.to_string())?;
        let event: Value = json!({"source": OPERATOR_SOURCE, "detail-type": detail_type, "detail": detail});
        if self.dry_run && !self.json {
            writeln!(streams.out, "{event:#}\ndry run: nothing is put on the bus")?;
            return Ok(Exit::Done);
        }
        if !self.dry_run {
            world.put_as_operator(detail_type, detail.to_string()).await?;
        }
        if self.json {
            let bus = &told.speaker.event_bus;
            json_line(
                streams.out,
                &json!({"event": event, "event_bus": bus, "put": !self.dry_run}),
            )?;
            return Ok(Exit::Done);
        }
        writeln!(
            streams.out,
            "{}: `{detail_type}` of {} by {} is on bus `{}`",
            told.done,
            plain(told.about),
            plain(&told.speaker.by),
            plain(told.speaker.event_bus.as_deref().unwrap_or_default())
        )?;
        Ok(Exit::Done)
    }
}

/// How it is told that an event was put.
#[derive(Clone, Copy)]
pub(crate) struct Told<'a> {
    /// What was done: `approved`.
    pub(crate) done: &'a str,
    /// To what: an incident, an experiment.
    pub(crate) about: &'a str,
    /// By whom.
    pub(crate) speaker: &'a Speaker,
}

pub(crate) fn parse_duration(text: &str) -> Result<SignedDuration, String> {
    duration(text).ok_or_else(|| "expected a duration: 60s, 30m, 24h, 7d, 2w".to_owned())
}

impl Approve {
    /// Runs the command.
    pub(crate) async fn run(&self, around: &impl Surroundings, streams: &mut Streams<'_>) -> Result<Exit, Failure> {
        let event = |by: String, now: Timestamp| RemediationApproval {
            incident_id: self.word.incident_id.clone(),
            granted: !self.deny,
            by,
            time: now,
            valid_until: self
                .valid_for
                .map(|valid_for| now.saturating_add(valid_for).unwrap_or(Timestamp::MAX)),
            reason: self.word.said.reason.clone(),
        };
        let can = |incident: &Incident, now: Timestamp| match incident.asked_until {
            _ if !incident.stage.is_undecided() => Err("there is nothing to approve".to_owned()),
            Some(until) if until <= now => Err(format!(
                "nobody approved it until {}, and it is too late now; `driftwarden resolve` closes it, and what is still \
                 in alert then asks anew",
                second(until)
            )),
            _ => Ok(()),
        };
        let done = if self.deny { "denied" } else { "approved" };
        self.word
            .put(around, streams, REMEDIATION_APPROVAL, event, can, done)
            .await
    }
}

impl Resolve {
    /// Runs the command.
    pub(crate) async fn run(&self, around: &impl Surroundings, streams: &mut Streams<'_>) -> Result<Exit, Failure> {
        let event = |by: String, now: Timestamp| RemediationResolution {
            incident_id: self.word.incident_id.clone(),
            by,
            time: now,
            reason: self.word.said.reason.clone(),
        };
        let can = |incident: &Incident, _: Timestamp| match incident.stage.after(Cause::Resolved) {
            None if incident.stage == Stage::Retraining => {
                Err("it can be closed when its run has ended; stop the run, if it should not go on".to_owned())
            }
            None => Err("it cannot be closed".to_owned()),
            Some(_) => Ok(()),
        };
        self.word
            .put(around, streams, REMEDIATION_RESOLUTION, event, can, "resolved")
            .await
    }
}

impl Word {
    /// Looks the incident up, if a state bucket is named, and puts the event on the bus.
    async fn put<S: Surroundings, E: Serialize>(
        &self,
        around: &S,
        streams: &mut Streams<'_>,
        detail_type: &str,
        event: impl Fn(String, Timestamp) -> E,
        can: impl Fn(&Incident, Timestamp) -> Result<(), String>,
        done: &str,
    ) -> Result<Exit, Failure> {
        let model = model_of(&self.incident_id)?;
        let speaker = self.said.speaker(&self.state_bucket.stack, around).await?;
        let state_bucket = self.state_bucket.given(around).await?;
        let places = Places {
            state_bucket: state_bucket.clone(),
            event_bus: speaker.event_bus.clone(),
        };
        let world = around.connect(places).await?;
        let now = world.now();
        if state_bucket.is_some() {
            let incident = open(world.as_ref(), model, &self.incident_id).await?;
            let stage = incident.stage.as_str();
            can(&incident, now).map_err(|why| format!("incident `{}` is {stage}: {why}", incident.id))?;
            let waits_for = match &incident.decision {
                Some(decision) => decision.sentence.as_str(),
                None => "no decision has been taken yet",
            };
            if !self.said.json {
                writeln!(
                    streams.out,
                    "{}: {stage}, open since {}\n  {}",
                    plain(&incident.id),
                    second(incident.opened_at),
                    plain(waits_for)
                )?;
            }
        }
        let told = Told {
            done,
            about: &self.incident_id,
            speaker: &speaker,
        };
        let event = event(speaker.by.clone(), now);
        self.said.put(world.as_ref(), streams, detail_type, &event, told).await
    }
}

/// The model of an incident's id.
fn model_of(incident_id: &str) -> Result<&str, Failure> {
    let parts = incident_id.rsplit_once('-');
    let number = parts.filter(|(model, number)| !model.is_empty() && number.parse::<u64>().is_ok());
    number.map(|(model, _)| model).ok_or_else(|| {
        let said = format!("`{incident_id}` is no incident's id, which is the model's name and a number: churn-3");
        Failure::Usage(said)
    })
}

/// The incident, if it is open.
async fn open(world: &impl World, name: &str, incident_id: &str) -> Result<Incident, Failure> {
    let document = model(world, name).await?;
    let document = document.ok_or_else(|| format!("there is no model `{name}` in the state bucket"))?;
    if let Some(open) = document.incident.as_ref().filter(|open| open.id == incident_id) {
        return Ok(open.clone());
    }
    let now_open = match &document.incident {
        Some(incident) => format!("open is `{}`", incident.id),
        None => format!("model `{name}` has none that is open"),
    };
    let mut closed = document.closed.iter();
    Err(match closed.find(|closed| closed.incident.id == incident_id) {
        Some(closed) => Failure::Said(format!(
            "incident `{incident_id}` was closed at {} ({}); {now_open}",
            second(closed.closed_at),
            closed.outcome.as_str()
        )),
        None => Failure::Said(format!("incident `{incident_id}` is not known; {now_open}")),
    })
}
