//! `driftwarden fleet`: the limits of retrainings over all models, and the hold of a common cause.

use crate::{
    Exit, Streams,
    cloud::{AwsTargets, Environment, StateBucket, json_line},
    error::Failure,
    table::{Table, plain},
};
use jiff::Timestamp;
use machine::{Clock as _, load_shared, update_shared};
use remediation::{FLEET_KEY, Fleet as FleetState};
use serde_json::json;
use std::io::{self, Write};

/// Show and release the limits of retrainings over all models.
#[derive(Debug, clap::Args)]
pub struct Fleet {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Show the retrainings of all models in progress, and a common cause.
    ///
    /// A retraining that was started takes a slot until it ends. The section `[fleet]` of the policy sets the limits.
    Status(FleetArgs),
    /// Release the retrainings that a common cause holds.
    ///
    /// If many models want to retrain within an hour, one cause is more likely than many, and all retrainings are held. Release
    /// them after you have found the cause. The next sweep decides again about each model. If there is no common cause, nothing is
    /// changed.
    Release(FleetArgs),
}

/// Arguments of both commands.
#[derive(Debug, clap::Args)]
struct FleetArgs {
    #[command(flatten)]
    state_bucket: StateBucket,
    /// Print one JSON object.
    #[arg(long, display_order = 110)]
    json: bool,
}

impl Fleet {
    /// Runs the command.
    pub(crate) async fn run(&self, env: &impl Environment, streams: &mut Streams<'_>) -> Result<Exit, Failure> {
        let (Command::Status(args) | Command::Release(args)) = &self.command;
        let targets = AwsTargets {
            state_bucket: Some(args.state_bucket.required(env).await?),
            event_bus: None,
        };
        let clients = env.connect(targets).await?;
        let clients = clients.as_ref();
        let now = clients.now();
        let is_release = matches!(self.command, Command::Release(_));
        let released = if is_release {
            let release = |fleet: &mut FleetState| {
                if fleet.common_cause.is_some() {
                    fleet.release(now)
                } else {
                    false
                }
            };
            let released = update_shared(clients, FLEET_KEY, release).await;
            released.map_err(|error| machine::chain(&error))?
        } else {
            false
        };
        let fleet: FleetState = load_shared(clients, FLEET_KEY)
            .await
            .map_err(|error| machine::chain(&error))?;
        if args.json {
            json_line(streams.out, &json!({"fleet": fleet, "released": released}))?;
            return Ok(Exit::Done);
        }
        if released {
            writeln!(
                streams.out,
                "released: the next sweep decides again about the retrainings that were held"
            )?;
        } else if is_release {
            writeln!(streams.out, "no common cause holds retrainings; nothing was changed")?;
        } else {
            show(&fleet, now, streams.out)?;
        }
        Ok(Exit::Done)
    }
}

fn show(fleet: &FleetState, now: Timestamp, out: &mut dyn Write) -> io::Result<()> {
    if let Some(cause) = &fleet.common_cause {
        writeln!(
            out,
            "common cause since {}: {} drifted within an hour; no retraining starts until `driftwarden fleet release`",
            text::time(cause.since),
            text::count(cause.models.len() as u64, "model")
        )?;
        writeln!(out, "  {}", plain(&text::list(cause.models.iter())))?;
    }
    let day = now
        .saturating_sub(jiff::SignedDuration::from_hours(24))
        .unwrap_or(Timestamp::MIN);
    let started = fleet.starts.iter().filter(|start| **start > day).count();
    writeln!(
        out,
        "{} started in the last 24 hours",
        text::count(started as u64, "retraining")
    )?;
    let mut table = Table::new(["model", "incident", "started", "slot until"]);
    let mut is_empty = true;
    for slot in fleet.slots.iter().filter(|slot| slot.until > now) {
        is_empty = false;
        table.row([
            slot.model.clone(),
            format!("{}-{}", slot.model, slot.incident),
            text::time(slot.since),
            text::time(slot.until),
        ]);
    }
    if is_empty {
        return writeln!(out, "no retraining is in progress");
    }
    table.write(out)
}
