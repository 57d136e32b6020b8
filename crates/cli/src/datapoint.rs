//! `driftwarden datapoint drop`: removes a datapoint from the ledger of a monitor.

use crate::{
    Exit, Streams,
    cloud::{AwsTargets, Clients, Environment, StateBucket, ledger},
    error::{Failure, Message},
    operator::{Confirmation, OperatorArgs},
    table::plain,
};
use alerting::{DroppedDatapoint, MonitorDatapointDrop};
use events::Event;
use jiff::Timestamp;
use machine::Clock as _;

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
/// Sends the event `Monitor Datapoint Drop` to the event bus. Use it for an execution whose report is wrong, for example a
/// report in the folder of another hour or model. The ledger records who dropped the datapoint, when, and why. If the alert
/// changes, its event is sent. Published metrics stay in CloudWatch.
///
/// Evidence about the execution that is older than the command is ignored from then on. A report that is written later counts.
/// If the state bucket is known, the command first checks that the ledger has the datapoint, and sends nothing if not. You can
/// repeat the command: a datapoint is dropped once.
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
    operator: OperatorArgs,
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
        let reason = self.operator.reason.clone().unwrap_or_default();
        if reason.trim().is_empty() {
            return Err(Failure::usage(
                "no reason for the drop",
                "pass --reason TEXT; the ledger of the monitor records it",
            ));
        }
        let operator = self.operator.operator(&self.state_bucket.stack, env).await?;
        let state_bucket = self.state_bucket.optional(env).await?;
        let targets = AwsTargets {
            state_bucket: state_bucket.clone(),
            event_bus: operator.event_bus.clone(),
        };
        let clients = env.connect(targets).await?;
        if state_bucket.is_some() {
            let found = self.check(clients.as_ref()).await?;
            if !self.operator.json {
                writeln!(streams.out, "{}: {found}", plain(&self.schedule))?;
            }
        }
        let event = MonitorDatapointDrop {
            monitoring_schedule: self.schedule.clone(),
            scheduled_time: self.time,
            by: operator.by.clone(),
            time: clients.now(),
            reason,
        };
        let confirmation = Confirmation {
            action: "dropped",
            subject: &format!("datapoint {} of {}", text::time(self.time), self.schedule),
            operator: &operator,
        };
        self.operator
            .send(
                clients.as_ref(),
                streams,
                &Event::DatapointDrop(Box::new(event)),
                confirmation,
            )
            .await
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
        let mut datapoints = ledger.datapoints.iter();
        if let Some(datapoint) = datapoints.find(|datapoint| datapoint.scheduled_time == self.time) {
            let violations = datapoint.evidence.violations().filter(|count| *count > 0);
            let violations =
                violations.map_or_else(String::new, |count| format!(", {}", text::count(count, "violation")));
            return Ok(format!("{time} {}{violations}", datapoint.state().as_str()));
        }
        let mut dropped = ledger.dropped.iter();
        let dropped = dropped.find(|dropped| dropped.scheduled_time == self.time);
        if let Some(DroppedDatapoint {
            by, time: at, reason, ..
        }) = dropped
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
