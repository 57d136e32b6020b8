//! `driftwarden incidents`: the stage of each model, and why.

use crate::{
    Exit, Streams,
    cloud::{Clients, Environment, StateBucket, json_line, model, models, show_all},
    error::{Failure, Message},
    pause::{self, all_paused},
    state::State,
    table::{Cell, Table, plain, plain_lines},
    terminal::{colored, hang_indent},
};
use jiff::Timestamp;
use machine::{Clock as _, GivenUp};
use remediation::{ClosedIncident, Decision, Incident, ModelDocument, Pause, Reason};
use serde::Serialize;
use serde_json::Value;
use std::io::{self, Write};

/// Show the stage of each model and its open incident.
///
/// Lists every model that has been in alert, with its stage, its open incident, and the last decision. With MODEL, shows all
/// details of the open incident and the latest closed incidents of that model.
#[derive(Debug, clap::Args)]
pub struct Incidents {
    /// Show only this model, in detail.
    #[arg(value_name = "MODEL")]
    model: Option<String>,
    #[command(flatten)]
    state_bucket: StateBucket,
    /// Print JSON Lines: one object per model.
    #[arg(long, display_order = 110)]
    json: bool,
}

/// JSON line of a model.
#[derive(Serialize)]
struct Line<'a> {
    model: &'a str,
    stage: &'a str,
    /// The pause of the model, if it applies now.
    pause: Option<&'a Pause>,
    /// The pause of all models, if it applies now.
    all_paused: Option<&'a Pause>,
    incident: Option<&'a Incident>,
    closed: &'a [ClosedIncident],
    /// Effects that failed for 24 hours and were given up, oldest first.
    given_up: &'a [GivenUp],
}

impl<'a> Line<'a> {
    fn new(document: &'a ModelDocument, all_paused: Option<&'a Pause>, now: Timestamp) -> Self {
        Self {
            model: &document.model,
            stage: document.stage().as_str(),
            pause: document.pause.as_ref().filter(|pause| pause.is_active(now)),
            all_paused,
            incident: document.incident.as_ref(),
            closed: &document.closed,
            given_up: &document.given_up,
        }
    }
}

impl Incidents {
    /// Runs the command.
    pub(crate) async fn run(&self, env: &impl Environment, streams: &mut Streams<'_>) -> Result<Exit, Failure> {
        let clients = self.state_bucket.connect(env).await?;
        let now = clients.now();
        let paused = all_paused(clients.as_ref(), now).await?;
        let paused = paused.as_ref();
        if let Some(paused) = paused.filter(|_| !self.json) {
            writeln!(streams.out, "all models: {}\n", plain(&pause::describe(paused)))?;
        }
        let Some(name) = &self.model else {
            return self.all(clients.as_ref(), paused, streams).await;
        };
        let document = model(clients.as_ref(), name).await?;
        let document = document.ok_or_else(|| {
            Message::new(
                format!("model `{name}` does not exist in the state bucket"),
                "a model exists after its first alert; `driftwarden incidents` lists all models",
            )
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
        clients: &impl Clients,
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
            "expires",
            "last decision",
        ];
        let now = clients.now();
        let models = models(clients).await?;
        if models.is_empty() && !self.json {
            writeln!(streams.out, "no monitor has been in alert yet")?;
        }
        let line = |document: &ModelDocument, out: &mut dyn Write| json_line(out, &Line::new(document, paused, now));
        let row = |document: &ModelDocument| Some(row(document, now));
        let exit = show_all(&models, self.json, header, line, row, streams)?;
        if !self.json {
            let documents = models.iter().filter_map(|(_, document)| document.as_ref().ok());
            for document in documents.filter(|document| !document.given_up.is_empty()) {
                let (name, count) = (plain(&document.model), document.given_up.len());
                let effects = if count == 1 { "effect was" } else { "effects were" };
                writeln!(
                    streams.out,
                    "\nmodel `{name}`: {count} {effects} given up; for details, run `driftwarden incidents {name}`"
                )?;
            }
        }
        Ok(exit)
    }
}

fn row(document: &ModelDocument, now: Timestamp) -> [Cell; 8] {
    let pause = document.pause.as_ref().filter(|pause| pause.is_active(now));
    let incident = document.incident.as_ref();
    let decision = incident.and_then(|incident| incident.decision.as_ref());
    [
        document.model.as_str().into(),
        State::from(document.stage()).into(),
        pause
            .map_or_else(String::new, |pause| {
                pause.until.map_or_else(|| "resumed".to_owned(), text::time)
            })
            .into(),
        incident.map(|incident| incident.id.clone()).unwrap_or_default().into(),
        incident
            .map(|incident| text::time(incident.opened_at))
            .unwrap_or_default()
            .into(),
        incident
            .map(|incident| incident.monitors.join(", "))
            .unwrap_or_default()
            .into(),
        incident.and_then(expiry).map(text::time).unwrap_or_default().into(),
        decision
            .map(|decision| decision.sentence.clone())
            .unwrap_or_default()
            .into(),
    ]
}

/// When the approval request or the decision of an incident expires.
fn expiry(incident: &Incident) -> Option<Timestamp> {
    let decision = incident.decision.as_ref();
    let expires_at = |decision: &Decision| {
        let missing = decision.reasons.iter().find_map(|reason| match reason {
            Reason::ApprovalMissing { until } => Some(*until),
            _ => None,
        });
        missing.or(decision.until)
    };
    decision.and_then(expires_at)
}

fn detail(out: &mut dyn Write, document: &ModelDocument, now: Timestamp) -> io::Result<()> {
    writeln!(out, "model `{}`: {}", plain(&document.model), colored(document.stage()))?;
    if let Some(pause) = document.pause.as_ref().filter(|pause| pause.is_active(now)) {
        writeln!(out, "  {}", plain(&pause::describe(pause)))?;
    }
    if let Some(incident) = &document.incident {
        writeln!(out)?;
        show(out, incident, now)?;
    }
    if !document.given_up.is_empty() {
        writeln!(
            out,
            "\neffects that failed for 24 hours and were given up, latest first"
        )?;
        let mut table = Table::new(["effect", "given up", "attempts", "last error"]);
        for effect in document.given_up.iter().rev() {
            table.row([
                effect.id.clone(),
                text::time(effect.at),
                effect.failures.attempts.to_string(),
                effect.failures.last.clone(),
            ]);
        }
        table.write(out)?;
    }
    if document.closed.is_empty() {
        return writeln!(out, "\nno closed incident");
    }
    writeln!(out, "\nclosed incidents, latest first")?;
    let mut table = Table::new([
        "incident",
        "opened",
        "closed",
        "outcome",
        "time to repair",
        "pipeline execution",
        "monitors",
    ]);
    for closed in document.closed.iter().rev() {
        let incident = &closed.incident;
        let execution = incident.execution();
        table.row([
            Cell::from(incident.id.as_str()),
            text::time(incident.opened_at).into(),
            text::time(closed.closed_at).into(),
            State::from(closed.outcome).into(),
            text::duration(closed.closed_at.duration_since(incident.opened_at)).into(),
            execution.map_or_else(Cell::default, |execution| State::from(execution.status).into()),
            incident.monitors.join(", ").into(),
        ]);
    }
    table.write(out)
}

/// Shows an open incident.
fn show(out: &mut dyn Write, incident: &Incident, now: Timestamp) -> io::Result<()> {
    let opened = incident.opened_at;
    let age = text::duration(now.duration_since(opened));
    writeln!(
        out,
        "incident {}, open since {} ({age})",
        plain(&incident.id),
        text::time(opened)
    )?;
    let mut table = Table::new(["field", "value"]);
    let mut field = |name: &str, value: String| table.row([name.to_owned(), value]);
    field("monitors", incident.monitors.join(", "));
    if let Some(id) = &incident.correlation_id {
        field("correlation ID", id.clone());
    }
    if let Some(approval) = incident.approval() {
        let answer = if approval.granted {
            format!("approved, valid until {},", text::time(approval.valid_until))
        } else {
            "denied".to_owned()
        };
        let why = approval
            .reason
            .as_ref()
            .map_or_else(String::new, |reason| format!(": {reason}"));
        field(
            "approval",
            format!("{answer} by {} at {}{why}", approval.by, text::time(approval.at)),
        );
    } else if let Some(expires_at) = incident.approval_expires_at() {
        field("approval", format!("pending, expires at {}", text::time(expires_at)));
    }
    if let Some(execution) = incident.execution() {
        field(
            "pipeline execution",
            format!("{}, {}", execution.arn, execution.status.as_str()),
        );
        let times = [("started", execution.start_time), ("ended", execution.end_time)];
        for (name, time) in times {
            field(name, time.map_or_else(|| "-".to_owned(), text::time));
        }
    }
    if let Some(since) = incident.verifying_since() {
        field("verifying", format!("executions scheduled after {}", text::time(since)));
    }
    table.write(out)?;
    let Some(decision) = &incident.decision else {
        return writeln!(out, "\nno decision yet: the next sweep tries again");
    };
    writeln!(
        out,
        "\ndecision {} at {}, policy version {}: {}",
        decision.number,
        text::time(decision.time),
        plain(&decision.policy_version),
        colored(decision.verdict)
    )?;
    writeln!(out, "  {}", hang_indent(&plain_lines(&decision.sentence), 2))?;
    if let Some(expires_at) = expiry(incident) {
        writeln!(out, "  expires at {}", text::time(expires_at))?;
    }
    let mut table = Table::new(["reason", "description"]);
    for reason in &decision.reasons {
        table.row([code(reason), reason.describe()]);
    }
    table.write(out)
}

/// The code of a reason, as in events.
fn code(reason: &Reason) -> String {
    let value = serde_json::to_value(reason).unwrap_or_default();
    let code = value.get("code").and_then(Value::as_str);
    code.unwrap_or_default().to_owned()
}
