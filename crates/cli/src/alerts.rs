//! `driftwarden alerts`: a monitor's alert beside SageMaker's own.

use crate::{
    Exit, Streams,
    cloud::{Failure, StateBucket, Surroundings, json_line, ledger, second},
    policy::{in_force, of},
    table::{Table, plain},
};
use alerting::{
    AlertHistoryItem, AlertStatus, AlertWindow, ExecutionWindow, MonitorLedger, MonitoringAlertTransition, OnlyBecause,
    Transition, compare,
};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use shell::ports::MonitoringAlerts as _;
use std::io::{self, Write};

/// So far from its execution SageMaker's transition may be: an execution begins up to 20 minutes after it was due, and
/// takes its time.
const TOLERANCE: SignedDuration = SignedDuration::from_hours(2);

/// Compare a monitor's alert with SageMaker's own.
///
/// Shows the alert status and the latest transitions of our ledger beside the `MonitoringAlert` of the schedule in
/// SageMaker and its history: which transitions agree (the same status within two hours of the execution), which only one
/// side has, and why that can be.
#[derive(Debug, clap::Args)]
pub struct Alerts {
    /// The monitoring schedule.
    #[arg(value_name = "SCHEDULE")]
    schedule: String,
    #[command(flatten)]
    state_bucket: StateBucket,
    /// Print a JSON object.
    #[arg(long)]
    json: bool,
}

/// Both sides.
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
    pub(crate) async fn run(&self, around: &impl Surroundings, streams: &mut Streams<'_>) -> Result<Exit, Failure> {
        let world = self.state_bucket.connect(around).await?;
        let ledger = ledger(world.as_ref(), &self.schedule).await?.ok_or_else(|| {
            format!(
                "there is no ledger of schedule `{}` in the state bucket: none of its executions has been heard of",
                self.schedule
            )
        })?;
        let policy = in_force(world.as_ref()).await?;
        let rules = policy.monitor(&of(&ledger.monitor)).rules;
        let schedule = &ledger.monitor.schedule;
        let theirs = world.monitoring_alert(schedule).await?;
        let their_history = world.monitoring_alert_history(schedule).await?;
        let our_history: Vec<AlertHistoryItem> = ledger.history.iter().copied().collect();
        let oldest = ledger.datapoints.front().map(|datapoint| datapoint.scheduled_time);
        // Of many transitions the ledger keeps the latest only.
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

/// What `--json` prints.
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
            Some(since) => format!("{what}s since {}", second(since)),
            None => format!("no {what}"),
        };
        let mut table = Table::new(["", "alert", "window", "knows of"]);
        table.row([
            "Driftwarden".into(),
            self.ledger.alert.status.as_str().into(),
            self.our_window(),
            known("execution", self.known_since),
        ]);
        table.row([
            "SageMaker".into(),
            self.their_status.as_str().into(),
            self.their_window(),
            known("transition", self.theirs_since),
        ]);
        table.write(out)?;
        writeln!(out)?;
        let mut table = Table::new([
            "status",
            "execution",
            "Driftwarden",
            "SageMaker",
            "only one side, because",
        ]);
        let mut agreeing = 0;
        for transition in &self.transitions {
            let (ours, theirs, because) = parts(*transition);
            agreeing += usize::from(because.is_none());
            table.row([
                status(ours, theirs).as_str().to_owned(),
                ours.map_or_else(|| "-".to_owned(), |ours| second(ours.scheduled_time)),
                ours.map_or_else(|| "-".to_owned(), |ours| second(ours.time)),
                theirs.map_or_else(|| "-".to_owned(), |(time, _)| second(time)),
                because.map_or_else(String::new, |because| self.why(ours.is_some(), because)),
            ]);
        }
        table.write(out)?;
        match self.transitions.len() {
            0 => writeln!(out, "neither side has a transition"),
            all => writeln!(out, "{agreeing} of {all} transitions agree"),
        }
    }

    fn our_window(&self) -> String {
        let (m, n) = (self.window.datapoints_to_alert(), self.window.evaluation_period());
        match self.window {
            AlertWindow::Executions(_) => format!("{m} of {n} executions"),
            AlertWindow::Time { period, .. } => format!("{m} of {n} periods of {period}"),
        }
    }

    fn their_window(&self) -> String {
        match self.theirs {
            Some(window) => format!(
                "{} of {} executions",
                window.datapoints_to_alert(),
                window.evaluation_period()
            ),
            None => "none, or one that can never alert".to_owned(),
        }
    }

    /// Why only one side has a transition, in words.
    fn why(&self, ours: bool, because: OnlyBecause) -> String {
        let since = |since: Option<Timestamp>| since.map_or_else(|| "never".to_owned(), second);
        let same = self
            .theirs
            .is_some_and(|theirs| self.window == AlertWindow::Executions(theirs));
        match because {
            OnlyBecause::NoSuchStatus => "SageMaker's alert is OK while there is too little to say".to_owned(),
            OnlyBecause::BeforeTheOther if ours => {
                format!("SageMaker's history begins at {}", since(self.theirs_since))
            }
            OnlyBecause::BeforeTheOther => match self.known_since {
                Some(since) => format!("the ledger begins with the execution of {}", second(since)),
                None => "the ledger knows no execution".to_owned(),
            },
            OnlyBecause::OtherRules if same => {
                "the windows are the same: other rules of the policy, or an execution that one side did not see"
                    .to_owned()
            }
            OnlyBecause::OtherRules if self.theirs.is_none() => "SageMaker's alert cannot alert now".to_owned(),
            OnlyBecause::OtherRules => format!(
                "the windows differ: ours {}, SageMaker's {}",
                self.our_window(),
                self.their_window()
            ),
        }
    }
}

type Parts = (
    Option<AlertHistoryItem>,
    Option<MonitoringAlertTransition>,
    Option<OnlyBecause>,
);

fn parts(transition: Transition) -> Parts {
    match transition {
        Transition::Both(ours, theirs) => (Some(ours), Some(theirs), None),
        Transition::Ours(ours, because) => (Some(ours), None, Some(because)),
        Transition::Theirs(theirs, because) => (None, Some(theirs), Some(because)),
    }
}

fn status(ours: Option<AlertHistoryItem>, theirs: Option<MonitoringAlertTransition>) -> AlertStatus {
    let theirs = theirs.map(|(_, status)| status);
    ours.map(|ours| ours.status).or(theirs).unwrap_or_default()
}
