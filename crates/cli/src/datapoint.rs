//! `driftwarden datapoint drop`: removes a datapoint from the ledger of a monitor.

use crate::{
    Exit, Streams,
    cloud::{Clients, Environment, OperatorUrl, StateBucket, ledger},
    error::{Failure, Message},
    operator::{CommandArgs, Effect},
    table::plain,
};
use alerting::{DroppedDatapoint, MonitorLedger};
use jiff::Timestamp;
use machine::Clock as _;
use remediation::OperatorAction;
use serde_json::json;

/// Drop a datapoint of a monitor.
#[derive(Debug, clap::Args)]
pub struct DatapointCommand {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Drop(DropArgs),
}

/// Drop a datapoint, and evaluate the alert of its monitor again.
///
/// Sends a signed command to the deployment, and waits until the datapoint is dropped. Use it for an execution whose report is
/// wrong, for example a report in the folder of another hour or model. The ledger records who dropped the datapoint, when, and
/// why. If the alert changes, its event is sent. Published metrics stay in CloudWatch.
///
/// Evidence about the execution that is older than the command is ignored from then on. A report that is written later counts.
/// You can repeat the command: a datapoint is dropped once.
#[derive(Debug, clap::Args)]
struct DropArgs {
    /// Name of the monitoring schedule.
    #[arg(value_name = "SCHEDULE")]
    schedule: String,
    /// Scheduled time of the execution, for example 2026-11-23T03:00:00Z.
    #[arg(value_name = "TIME")]
    time: Timestamp,
    #[command(flatten)]
    state_bucket: StateBucket,
    #[command(flatten)]
    command: CommandArgs,
    #[command(flatten)]
    url: OperatorUrl,
}

impl DatapointCommand {
    /// Runs the command.
    pub(crate) async fn run(&self, env: &impl Environment, streams: &mut Streams<'_>) -> Result<Exit, Failure> {
        let Command::Drop(args) = &self.command;
        args.run(env, streams).await
    }
}

impl DropArgs {
    async fn run(&self, env: &impl Environment, streams: &mut Streams<'_>) -> Result<Exit, Failure> {
        let url = self
            .url
            .find(self.command.dry_run, &self.state_bucket.stack, env)
            .await?;
        let clients = self.state_bucket.connect(env).await?;
        let mut command = self.command.command(OperatorAction::Drop, clients.now(), env);
        command.monitoring_schedule = Some(self.schedule.clone());
        command.scheduled_time = Some(self.time);
        command.target().map_err(|error| Failure::Usage(error.into()))?;
        let found = self.check(clients.as_ref()).await?;
        if !self.command.json {
            writeln!(streams.out, "{}: {found}", plain(&self.schedule))?;
        }
        let effect = async || {
            let ledger = ledger(clients.as_ref(), &self.schedule).await?;
            let dropped = ledger.as_ref().and_then(|ledger| self.dropped(ledger));
            Ok(dropped.map(|dropped| Effect {
                text: format!(
                    "dropped: datapoint {} of {}",
                    text::time(self.time),
                    plain(&self.schedule)
                ),
                json: json!({"dropped": dropped}),
            }))
        };
        self.command
            .send_and_wait(clients.as_ref(), url.as_deref(), &command, streams, effect)
            .await
    }

    /// What the ledger has about the drop of the datapoint.
    fn dropped<'a>(&self, ledger: &'a MonitorLedger) -> Option<&'a DroppedDatapoint> {
        let mut dropped = ledger.dropped.iter();
        dropped.find(|dropped| dropped.scheduled_time == self.time)
    }

    /// Checks that the ledger has the datapoint. Returns its description.
    async fn check(&self, clients: &impl Clients) -> Result<String, Failure> {
        let schedule = &self.schedule;
        let time = text::time(self.time);
        let ledger = ledger(clients, schedule).await?.ok_or_else(|| {
            Message::new(
                format!("schedule `{schedule}` has no ledger in the state bucket"),
                "a ledger exists after the first execution; check the name of the schedule",
            )
        })?;
        if let Some(datapoint) = ledger.datapoint(self.time) {
            let violations = datapoint.evidence.violations().filter(|count| *count > 0);
            let violations =
                violations.map_or_else(String::new, |count| format!(", {}", text::count(count, "violation")));
            return Ok(format!("{time} {}{violations}", datapoint.state().as_str()));
        }
        if let Some(DroppedDatapoint {
            by, time: at, reason, ..
        }) = self.dropped(&ledger)
        {
            return Err(Failure::failed(
                format!("the datapoint {time} of schedule `{schedule}` is already dropped"),
                format!("by {} at {}: {}", plain(by), text::time(*at), plain(reason)),
            ));
        }
        let hint = match (ledger.datapoints.front(), ledger.datapoints.back()) {
            (Some(oldest), Some(newest)) => format!(
                "its ledger has datapoints from {} to {}",
                text::time(oldest.scheduled_time),
                text::time(newest.scheduled_time)
            ),
            _ => "its ledger has no datapoints".to_owned(),
        };
        Err(Failure::failed(
            format!("schedule `{schedule}` has no datapoint {time}"),
            hint,
        ))
    }
}
