//! `driftwarden incidents`: where the models stand, and why.

use crate::{
    Exit, Streams,
    cloud::{Failure, StateBucket, Surroundings, World, json_line, model, models, plain_lines, second, show_all},
    pause::{self, all_paused},
    table::{Table, plain},
    terminal::{coloured, hanging},
};
use jiff::Timestamp;
use remediation::{ClosedIncident, Decision, Incident, ModelDocument, Pause, Reason, in_words};
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
    /// What was last said about pausing the model, if that holds.
    pause: Option<&'a Pause>,
    /// The same of all models.
    all_paused: Option<&'a Pause>,
    incident: Option<&'a Incident>,
    closed: &'a [ClosedIncident],
}

impl<'a> Line<'a> {
    fn new(document: &'a ModelDocument, all_paused: Option<&'a Pause>, now: Timestamp) -> Self {
        Self {
            model: &document.model,
            stage: document.stage().as_str(),
            pause: document.pause.as_ref().filter(|pause| pause.holds(now)),
            all_paused,
            incident: document.incident.as_ref(),
            closed: &document.closed,
        }
    }
}

impl Incidents {
    /// Runs the command.
    pub(crate) async fn run(&self, around: &impl Surroundings, streams: &mut Streams<'_>) -> Result<Exit, Failure> {
        let world = self.state_bucket.connect(around).await?;
        let now = world.now();
        let paused = all_paused(world.as_ref(), now).await?;
        let paused = paused.as_ref();
        if let Some(paused) = paused.filter(|_| !self.json) {
            writeln!(streams.out, "all models are {}\n", plain(&pause::in_words(paused)))?;
        }
        let Some(name) = &self.model else {
            return self.all(world.as_ref(), paused, streams).await;
        };
        let document = model(world.as_ref(), name).await?;
        let document = document.ok_or_else(|| {
            format!("there is no model `{name}` in the state bucket: none of its monitors has ever been in alert")
        })?;
        if self.json {
            json_line(streams.out, &Line::new(&document, paused, now))?;
        } else {
            detail(streams.out, &document, now)?;
        }
        Ok(Exit::Done)
    }

    async fn all(
        &self,
        world: &impl World,
        paused: Option<&Pause>,
        streams: &mut Streams<'_>,
    ) -> Result<Exit, Failure> {
        let header = [
            "model",
            "stage",
            "paused until",
            "incident",
            "since",
            "monitors",
            "until",
            "last decision",
        ];
        let now = world.now();
        let models = models(world).await?;
        if models.is_empty() && !self.json {
            writeln!(streams.out, "no monitor has ever been in alert")?;
        }
        let line = |document: &ModelDocument, out: &mut dyn Write| json_line(out, &Line::new(document, paused, now));
        let row = |document: &ModelDocument| Some(row(document, now));
        Ok(show_all(&models, self.json, header, line, row, streams)?)
    }
}

fn row(document: &ModelDocument, now: Timestamp) -> [String; 8] {
    let pause = document.pause.as_ref().filter(|pause| pause.holds(now));
    let incident = document.incident.as_ref();
    let decision = incident.and_then(|incident| incident.decision.as_ref());
    [
        document.model.clone(),
        document.stage().as_str().to_owned(),
        pause.map_or_else(String::new, |pause| {
            pause.until.map_or_else(|| "resumed".to_owned(), second)
        }),
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
    writeln!(
        out,
        "model `{}`: {}",
        plain(&document.model),
        coloured(document.stage().as_str())
    )?;
    if let Some(pause) = document.pause.as_ref().filter(|pause| pause.holds(now)) {
        writeln!(out, "  {}", plain(&pause::in_words(pause)))?;
    }
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
        coloured(decision.verdict.as_str())
    )?;
    writeln!(out, "  {}", hanging(&plain_lines(&decision.sentence), 2))?;
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
