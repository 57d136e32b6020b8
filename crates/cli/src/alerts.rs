//! `driftwarden alerts`: compares a monitor's alert with SageMaker's own alert.

use crate::{
    Exit, Streams,
    cloud::{Environment, StateBucket, json_line, ledger},
    error::{Failure, Message},
    policy::{effective_policy, monitor_ref},
    state::State,
    table::{Cell, Table, plain},
};
use alerting::{
    AlertHistoryItem, AlertStatus, AlertWindow, ExecutionWindow, MismatchReason, MonitorLedger,
    MonitoringAlertTransition, Transition, compare,
};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use shell::ports::MonitoringAlerts as _;
use std::io::{self, Write};

/// Maximum time between an execution and SageMaker's transition: an execution starts up to 20 minutes late and takes a while.
const TOLERANCE: SignedDuration = SignedDuration::from_hours(2);

/// Compare a monitor's alert with SageMaker's own alert.
///
/// Shows the alert status and the latest transitions of the ledger next to the `MonitoringAlert` of the schedule in SageMaker
/// and its history. Two transitions match if they have the same status and are within two hours of the execution. For a
/// transition that only one side has, the output names the likely reason.
#[derive(Debug, clap::Args)]
pub struct Alerts {
    /// Name of the monitoring schedule.
    #[arg(value_name = "SCHEDULE")]
    schedule: String,
    #[command(flatten)]
    state_bucket: StateBucket,
    /// Print one JSON object.
    #[arg(long, display_order = 110)]
    json: bool,
}

/// The alerts of Driftwarden and of SageMaker.
struct Sides {
    ledger: MonitorLedger,
    window: AlertWindow,
    theirs: Option<ExecutionWindow>,
    their_status: AlertStatus,
    known_since: Option<Timestamp>,
    theirs_since: Option<Timestamp>,
    transitions: Vec<Transition>,
}

impl Alerts {
    /// Runs the command.
    pub(crate) async fn run(&self, env: &impl Environment, streams: &mut Streams<'_>) -> Result<Exit, Failure> {
        let clients = self.state_bucket.connect(env).await?;
        let ledger = ledger(clients.as_ref(), &self.schedule).await?.ok_or_else(|| {
            Message::new(
                format!("schedule `{}` has no ledger in the state bucket", self.schedule),
                "a ledger exists after the first execution; check the name of the schedule",
            )
        })?;
        let policy = effective_policy(clients.as_ref()).await?;
        let rules = policy.monitor(&monitor_ref(&ledger.monitor)).rules;
        let schedule = &ledger.monitor.schedule;
        let theirs = clients.monitoring_alert(schedule).await?;
        let their_history = clients.monitoring_alert_history(schedule).await?;
        let our_history: Vec<AlertHistoryItem> = ledger.history.iter().copied().collect();
        let oldest = ledger.datapoints.front().map(|datapoint| datapoint.scheduled_time);
        // The ledger keeps only the latest transitions.
        let forgotten = ledger.alert.transition > our_history.len() as u64;
        let oldest_kept = our_history.first().filter(|_| forgotten);
        let known_since = oldest.max(oldest_kept.map(|item| item.scheduled_time));
        let sides = Sides {
            window: ledger.window(&rules),
            theirs,
            known_since,
            their_status: their_history.last().map(|(_, status)| *status).unwrap_or_default(),
            theirs_since: their_history.first().map(|(time, _)| *time),
            transitions: compare(&our_history, &their_history, known_since, TOLERANCE),
            ledger,
        };
        if self.json {
            json_line(streams.out, &sides.json())?;
        } else {
            sides.show(streams.out)?;
        }
        Ok(Exit::Done)
    }
}

/// JSON output.
#[derive(Serialize)]
struct Json<'a> {
    schedule: &'a str,
    model: &'a str,
    status: AlertStatus,
    datapoints_to_alert: u8,
    evaluation_period: u8,
    period: Option<String>,
    known_since: Option<Timestamp>,
    monitoring_alert: Option<JsonAlert>,
    monitoring_alert_history_since: Option<Timestamp>,
    transitions: Vec<JsonTransition>,
}

#[derive(Serialize)]
struct JsonAlert {
    status: AlertStatus,
    datapoints_to_alert: u8,
    evaluation_period: u8,
}

#[derive(Serialize)]
struct JsonTransition {
    status: AlertStatus,
    side: &'static str,
    scheduled_time: Option<Timestamp>,
    ours: Option<Timestamp>,
    theirs: Option<Timestamp>,
    because: Option<String>,
}

impl Sides {
    fn json(&self) -> Json<'_> {
        let transitions = self.transitions.iter().map(|transition| {
            let (ours, theirs, because) = parts(*transition);
            JsonTransition {
                status: status(ours, theirs),
                side: match (ours, theirs) {
                    (Some(_), Some(_)) => "both",
                    (Some(_), None) => "ours",
                    _ => "theirs",
                },
                scheduled_time: ours.map(|ours| ours.scheduled_time),
                ours: ours.map(|ours| ours.time),
                theirs: theirs.map(|(time, _)| time),
                because: because.map(|because| self.why(ours.is_some(), because)),
            }
        });
        Json {
            schedule: &self.ledger.monitor.schedule,
            model: &self.ledger.monitor.model,
            status: self.ledger.alert.status,
            datapoints_to_alert: self.window.datapoints_to_alert(),
            evaluation_period: self.window.evaluation_period(),
            period: match self.window {
                AlertWindow::Executions(_) => None,
                AlertWindow::Time { period, .. } => Some(period.to_string()),
            },
            known_since: self.known_since,
            monitoring_alert: self.theirs.map(|window| JsonAlert {
                status: self.their_status,
                datapoints_to_alert: window.datapoints_to_alert(),
                evaluation_period: window.evaluation_period(),
            }),
            monitoring_alert_history_since: self.theirs_since,
            transitions: transitions.collect(),
        }
    }

    fn show(&self, out: &mut dyn Write) -> io::Result<()> {
        let monitor = &self.ledger.monitor;
        writeln!(
            out,
            "{}: monitor of model `{}`",
            plain(&monitor.schedule),
            plain(&monitor.model)
        )?;
        let known = |what: &str, since: Option<Timestamp>| match since {
            Some(since) => format!("{what}s since {}", text::time(since)),
            None => format!("no {what}s"),
        };
        let mut table = Table::new(["", "alert", "window", "history"]);
        table.row([
            Cell::from("Driftwarden"),
            State::from(self.ledger.alert.status).into(),
            self.our_window().into(),
            known("execution", self.known_since).into(),
        ]);
        table.row([
            Cell::from("SageMaker"),
            State::from(self.their_status).into(),
            self.their_window().into(),
            known("transition", self.theirs_since).into(),
        ]);
        table.write(out)?;
        writeln!(out)?;
        let mut table = Table::new([
            "status",
            "execution",
            "Driftwarden",
            "SageMaker",
            "reason for the difference",
        ]);
        let mut agreeing = 0;
        for transition in &self.transitions {
            let (ours, theirs, because) = parts(*transition);
            agreeing += usize::from(because.is_none());
            table.row([
                Cell::from(State::from(status(ours, theirs))),
                ours.map_or_else(|| "-".to_owned(), |ours| text::time(ours.scheduled_time))
                    .into(),
                ours.map_or_else(|| "-".to_owned(), |ours| text::time(ours.time)).into(),
                theirs
                    .map_or_else(|| "-".to_owned(), |(time, _)| text::time(time))
                    .into(),
                because
                    .map_or_else(String::new, |because| self.why(ours.is_some(), because))
                    .into(),
            ]);
        }
        table.write(out)?;
        match self.transitions.len() {
            0 => writeln!(out, "no transitions on either side"),
            all => writeln!(out, "{agreeing} of {all} transitions match"),
        }
    }

    fn our_window(&self) -> String {
        let (m, n) = (self.window.datapoints_to_alert(), self.window.evaluation_period());
        match self.window {
            AlertWindow::Executions(_) => format!("{m} of {}", text::count(n, "execution")),
            AlertWindow::Time { period, .. } => format!("{m} of {} of {period}", text::count(n, "period")),
        }
    }

    fn their_window(&self) -> String {
        match self.theirs {
            Some(window) => format!(
                "{} of {}",
                window.datapoints_to_alert(),
                text::count(window.evaluation_period(), "execution")
            ),
            None => "none, or a window that can never alert".to_owned(),
        }
    }

    /// Why only one side has a transition.
    fn why(&self, ours: bool, because: MismatchReason) -> String {
        let since = |since: Option<Timestamp>| since.map_or_else(|| "never".to_owned(), text::time);
        let same = self
            .theirs
            .is_some_and(|theirs| self.window == AlertWindow::Executions(theirs));
        match because {
            MismatchReason::UnsupportedStatus => "SageMaker's alert is OK when data is insufficient".to_owned(),
            MismatchReason::OutsideHistory if ours => {
                format!("SageMaker's history starts at {}", since(self.theirs_since))
            }
            MismatchReason::OutsideHistory => match self.known_since {
                Some(since) => format!("the ledger starts with the execution of {}", text::time(since)),
                None => "the ledger has no executions".to_owned(),
            },
            MismatchReason::DifferentRules if same => {
                "same window: other rules of the policy, or an execution that one side did not get".to_owned()
            }
            MismatchReason::DifferentRules if self.theirs.is_none() => "SageMaker's window can never alert".to_owned(),
            MismatchReason::DifferentRules => format!(
                "different windows: Driftwarden {}, SageMaker {}",
                self.our_window(),
                self.their_window()
            ),
        }
    }
}

type Parts = (
    Option<AlertHistoryItem>,
    Option<MonitoringAlertTransition>,
    Option<MismatchReason>,
);

fn parts(transition: Transition) -> Parts {
    match transition {
        Transition::Both(ours, theirs) => (Some(ours), Some(theirs), None),
        Transition::LedgerOnly(ours, because) => (Some(ours), None, Some(because)),
        Transition::SageMakerOnly(theirs, because) => (None, Some(theirs), Some(because)),
    }
}

fn status(ours: Option<AlertHistoryItem>, theirs: Option<MonitoringAlertTransition>) -> AlertStatus {
    let theirs = theirs.map(|(_, status)| status);
    ours.map(|ours| ours.status).or(theirs).unwrap_or_default()
}
