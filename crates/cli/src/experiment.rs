//! `driftwarden experiment`: A/B tests of a candidate against the champion.

mod order;
mod status;

use crate::{
    Exit, Streams,
    cloud::{Failure, Surroundings, json_line},
    table::Table,
};
use experiment::Plan;
use order::OrderArgs;
use promotion::Order;
use status::Status;

/// A/B tests of a candidate against the champion.
#[derive(Debug, clap::Args)]
pub struct Experiment {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Plan(PlanArgs),
    Status(Status),
    /// End an experiment: the champion stays.
    ///
    /// Puts `Experiment Command` on the bus. The champion gets all the traffic again, and what was made for the candidate is
    /// removed. Of one that is over, or being rolled back, nothing is put.
    Stop(OrderArgs),
    /// Give the candidate all the traffic, whatever the numbers say.
    ///
    /// Puts `Experiment Command` on the bus. The old champion stands by for as long as the policy's `bake` says: until then
    /// `rollback` brings it back within seconds. Of one that is promoted already nothing is put.
    Promote(OrderArgs),
    /// Bring the champion back: as `stop`, but noted as a loss of the candidate's.
    ///
    /// Puts `Experiment Command` on the bus. It works as long as the old champion stands by. Of one that is rolled back
    /// already nothing is put.
    Rollback(OrderArgs),
    /// Let a paused experiment go on.
    ///
    /// Puts `Experiment Command` on the bus. Its step of the traffic begins anew, and so does the time that a test may last.
    /// Of one that is not paused nothing is put.
    Resume(OrderArgs),
}

/// How many requests a test needs, and how long that takes.
///
/// The test may be looked at at any time, and stopped by what is seen: that costs more requests than a test with a single
/// look at its end, which is told beside it.
#[derive(Debug, clap::Args)]
struct PlanArgs {
    /// The champion's rate, of a metric that is a proportion: 0.12.
    #[arg(
        long,
        value_name = "RATE",
        conflicts_with = "std_dev",
        required_unless_present = "std_dev"
    )]
    rate: Option<f64>,
    /// The standard deviation of the champion's values, of a metric that is a mean.
    #[arg(long, value_name = "NUMBER")]
    std_dev: Option<f64>,
    /// The smallest difference worth finding, in the metric's own unit: 0.01 is one percentage point of a rate.
    #[arg(long, value_name = "NUMBER")]
    effect: f64,
    /// The weights of champion and challenger.
    #[arg(
        long,
        value_name = "WEIGHTS",
        default_value = "90,10",
        value_delimiter = ',',
        num_args = 1
    )]
    weights: Vec<f64>,
    /// How many requests an hour both get together whose outcome is known.
    #[arg(long, value_name = "NUMBER")]
    requests_per_hour: f64,
    /// The probability of a false alarm that is accepted, over all looks together.
    #[arg(long, value_name = "PROBABILITY", default_value_t = 0.05)]
    alpha: f64,
    /// The probability with which the difference is to be found.
    #[arg(long, value_name = "PROBABILITY", default_value_t = 0.8)]
    power: f64,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

impl Experiment {
    /// Runs the command.
    pub(crate) async fn run(&self, around: &impl Surroundings, streams: &mut Streams<'_>) -> Result<Exit, Failure> {
        match &self.command {
            Command::Plan(plan) => plan.run(streams),
            Command::Status(status) => status.run(around, streams).await,
            Command::Stop(order) => order.run(Order::Stop, around, streams).await,
            Command::Promote(order) => order.run(Order::Promote, around, streams).await,
            Command::Rollback(order) => order.run(Order::Rollback, around, streams).await,
            Command::Resume(order) => order.run(Order::Resume, around, streams).await,
        }
    }
}

impl PlanArgs {
    fn run(&self, streams: &mut Streams<'_>) -> Result<Exit, Failure> {
        let variance = match (self.rate, self.std_dev) {
            (Some(rate), _) if rate > 0.0 && rate < 1.0 => rate * (1.0 - rate),
            (Some(rate), _) => return Err(Failure::Usage(format!("--rate is {rate}, not between 0 and 1"))),
            (None, deviation) => deviation.unwrap_or_default().powi(2),
        };
        let [champion, challenger] = self.weights[..] else {
            return Err(Failure::Usage(
                "--weights are two numbers, the champion's and the challenger's: 90,10".to_owned(),
            ));
        };
        let plan = Plan {
            alpha: self.alpha,
            power: self.power,
            effect: self.effect,
            variance,
            weights: [champion, challenger],
            requests_per_hour: self.requests_per_hour,
        };
        let schedule = plan.duration().map_err(|error| Failure::Usage(error.to_string()))?;
        if self.json {
            json_line(streams.out, &schedule)?;
            return Ok(Exit::Done);
        }
        let mut table = Table::new(["", "requests", "hours", "days"]);
        for (name, requests) in [
            ("looked at any time", schedule.requests),
            ("a single look", schedule.fixed_requests),
        ] {
            let hours = requests / self.requests_per_hour;
            table.row([
                name.to_owned(),
                format!("{requests:.0}"),
                format!("{hours:.1}"),
                format!("{:.1}", hours / 24.0),
            ]);
        }
        writeln!(
            streams.out,
            "to find a difference of {} with probability {}, false alarms {}:",
            self.effect, self.power, self.alpha
        )?;
        table.write(streams.out)?;
        Ok(Exit::Done)
    }
}
