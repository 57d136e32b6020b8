//! `driftwarden incidents`: where the models stand, and why.

use crate::{
    Exit, Streams,
    cloud::{Failure, Places, StateBucket, Surroundings, World, json_line, model, models, plain_lines, second},
    table::{Table, plain},
};
use jiff::Timestamp;
use remediation::{ClosedIncident, Decision, Incident, ModelDocument, Reason, in_words};
use serde::Serialize;
use serde_json::Value;
use shell::ports::Clock as _;
use std::io::{self, Write};

/// Show where the models stand.
///
/// Lists every model that has been in alert: its stage, its open incident, and what was decided last. Of one model, all
/// that its document says of the open incident, and the latest that are over.
#[derive(Debug, clap::Args)]
pub struct Incidents {
    /// Show one model in detail.
    #[arg(value_name = "MODEL")]
    model: Option<String>,
    #[command(flatten)]
    state_bucket: StateBucket,
    /// Print JSON Lines: one object per model.
    #[arg(long)]
    json: bool,
}

/// What `--json` prints of a model.
#[derive(Serialize)]
struct Line<'a> {
    model: &'a str,
    stage: &'a str,
    incident: Option<&'a Incident>,
    closed: &'a [ClosedIncident],
}

#[derive(Serialize)]
struct Unreadable<'a> {
    model: &'a str,
    error: &'a str,
}

impl<'a> Line<'a> {
    fn new(document: &'a ModelDocument) -> Self {
        Self {
            model: &document.model,
            stage: document.stage().as_str(),
            incident: document.incident.as_ref(),
            closed: &document.closed,
        }
    }
}

impl Incidents {
    /// Runs the command.
    pub(crate) async fn run(&self, around: &impl Surroundings, streams: &mut Streams<'_>) -> Result<Exit, Failure> {
        let state_bucket = Some(self.state_bucket.required(around)?);
        let places = Places {
            state_bucket,
            event_bus: None,
        };
        let world = around.connect(places).await?;
        let Some(name) = &self.model else {
            return self.all(world.as_ref(), streams).await;
        };
        let document = model(world.as_ref(), name).await?;
        let document = document.ok_or_else(|| {
            format!("there is no model `{name}` in the state bucket: none of its monitors has ever been in alert")
        })?;
        if self.json {
            json_line(streams.out, &Line::new(&document))?;
        } else {
            detail(streams.out, &document, world.now())?;
        }
        Ok(Exit::Done)
    }

    async fn all(&self, world: &impl World, streams: &mut Streams<'_>) -> Result<Exit, Failure> {
        let mut table = Table::new([
            "model",
            "stage",
            "incident",
            "since",
            "monitors",
            "until",
            "last decision",
        ]);
        let mut exit = Exit::Done;
        let models = models(world).await?;
        for (name, document) in &models {
            match document {
                Ok(document) if self.json => json_line(streams.out, &Line::new(document))?,
                Ok(document) => table.row(row(document)),
                Err(error) => {
                    exit = Exit::Failed;
                    if self.json {
                        json_line(streams.out, &Unreadable { model: name, error })?;
                    } else {
                        writeln!(streams.err, "error: {}", plain(error))?;
                    }
                }
            }
        }
        if self.json {
            return Ok(exit);
        }
        if models.is_empty() {
            writeln!(streams.out, "no monitor has ever been in alert")?;
        }
        table.write(streams.out)?;
        Ok(exit)
    }
}

fn row(document: &ModelDocument) -> [String; 7] {
    let incident = document.incident.as_ref();
    let decision = incident.and_then(|incident| incident.decision.as_ref());
    [
        document.model.clone(),
        document.stage().as_str().to_owned(),
        incident.map(|incident| incident.id.clone()).unwrap_or_default(),
        incident.map(|incident| second(incident.opened_at)).unwrap_or_default(),
        incident
            .map(|incident| incident.monitors.join(", "))
            .unwrap_or_default(),
        incident.and_then(until).map(second).unwrap_or_default(),
        decision.map(|decision| decision.sentence.clone()).unwrap_or_default(),
    ]
}

/// Until when an incident waits as it does: for an approval, or until it is decided again by itself.
fn until(incident: &Incident) -> Option<Timestamp> {
    let decision = incident.decision.as_ref();
    let asks = |decision: &Decision| {
        let missing = decision.reasons.iter().find_map(|reason| match reason {
            Reason::ApprovalMissing { until } => Some(*until),
            _ => None,
        });
        missing.or(decision.until)
    };
    decision.and_then(asks)
}

fn detail(out: &mut dyn Write, document: &ModelDocument, now: Timestamp) -> io::Result<()> {
    writeln!(out, "model `{}`: {}", plain(&document.model), document.stage().as_str())?;
    if let Some(incident) = &document.incident {
        writeln!(out)?;
        show(out, incident, now)?;
    }
    if document.closed.is_empty() {
        return writeln!(out, "\nno incident is over yet");
    }
    writeln!(out, "\nincidents that are over, the latest first")?;
    let mut table = Table::new([
        "incident",
        "opened",
        "closed",
        "outcome",
        "time to repair",
        "run",
        "monitors",
    ]);
    for closed in document.closed.iter().rev() {
        let incident = &closed.incident;
        let run = incident.execution.as_ref();
        table.row([
            incident.id.clone(),
            second(incident.opened_at),
            second(closed.closed_at),
            closed.outcome.as_str().to_owned(),
            in_words(closed.closed_at.duration_since(incident.opened_at)),
            run.map(|run| run.status.as_str().to_owned()).unwrap_or_default(),
            incident.monitors.join(", "),
        ]);
    }
    table.write(out)
}

/// Shows an open incident.
fn show(out: &mut dyn Write, incident: &Incident, now: Timestamp) -> io::Result<()> {
    let opened = incident.opened_at;
    let age = in_words(now.duration_since(opened));
    writeln!(
        out,
        "incident {}, open since {} ({age})",
        plain(&incident.id),
        second(opened)
    )?;
    let mut table = Table::new(["field", "value"]);
    let mut field = |name: &str, value: String| table.row([name.to_owned(), value]);
    field("monitors", incident.monitors.join(", "));
    if let Some(id) = &incident.correlation_id {
        field("correlation id", id.clone());
    }
    if let Some(approval) = &incident.approval {
        let said = if approval.granted {
            format!("approved until {}", second(approval.valid_until))
        } else {
            "denied".to_owned()
        };
        let why = approval
            .reason
            .as_ref()
            .map_or_else(String::new, |reason| format!(": {reason}"));
        field(
            "approval",
            format!("{said} by {} at {}{why}", approval.by, second(approval.at)),
        );
    } else if let Some(asked_until) = incident.asked_until {
        field("approval", format!("waited for until {}", second(asked_until)));
    }
    if let Some(run) = &incident.execution {
        field("run", format!("{}, {}", run.arn, run.status.as_str()));
        let times = [("run started", run.start_time), ("run ended", run.end_time)];
        for (name, time) in times {
            field(name, time.map_or_else(|| "-".to_owned(), second));
        }
    }
    if let Some(since) = incident.verifying_since {
        field("verifying", format!("on executions scheduled after {}", second(since)));
    }
    table.write(out)?;
    let Some(decision) = &incident.decision else {
        return writeln!(out, "\nno decision has been taken yet: the next sweep tries again");
    };
    writeln!(
        out,
        "\ndecision {} at {}, by policy {}: {}",
        decision.number,
        second(decision.time),
        plain(&decision.policy_version),
        decision.verdict.as_str()
    )?;
    writeln!(out, "  {}", plain_lines(&decision.sentence))?;
    if let Some(until) = until(incident) {
        writeln!(out, "  until {}", second(until))?;
    }
    let mut table = Table::new(["reason", "in words"]);
    for reason in &decision.reasons {
        table.row([code(reason), reason.words()]);
    }
    table.write(out)
}

/// The code of a reason, as events have it.
fn code(reason: &Reason) -> String {
    let value = serde_json::to_value(reason).unwrap_or_default();
    let code = value.get("code").and_then(Value::as_str);
    code.unwrap_or_default().to_owned()
}
