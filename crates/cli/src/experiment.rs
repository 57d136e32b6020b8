//! `driftwarden experiment`: plans, shows, and controls A/B tests of candidates.

mod order;
mod status;

use crate::{
    Exit, Streams,
    cloud::{Environment, json_line},
    error::Failure,
    table::Table,
};
use experiment::Plan;
use jiff::SignedDuration;
use order::OrderArgs;
use promotion::Order;
use status::Status;

/// Plan, show, and control A/B tests of candidates.
#[derive(Debug, clap::Args)]
pub struct Experiment {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Plan(PlanArgs),
    Status(Status),
    /// Stop an experiment and keep the champion.
    ///
    /// Sends a signed command to the deployment, and waits until it has taken effect. The champion gets all traffic again, and
    /// the resources of the candidate are deleted. If the experiment has ended or is being rolled back, nothing is sent.
    Stop(OrderArgs),
    /// Promote the candidate, regardless of the results.
    ///
    /// Sends a signed command to the deployment, and waits until it has taken effect. The candidate gets all traffic. The
    /// previous champion stays ready for the bake period of the policy; during that time `rollback` restores it within seconds.
    /// If the candidate is already promoted, nothing is sent.
    Promote(OrderArgs),
    /// Restore the champion and record that the candidate lost.
    ///
    /// Sends a signed command to the deployment, and waits until it has taken effect. Works while the previous champion is
    /// ready. If the experiment is already rolled back, nothing is sent.
    Rollback(OrderArgs),
    /// Resume a paused experiment.
    ///
    /// Sends a signed command to the deployment, and waits until it has taken effect. The current step starts from scratch, and
    /// so does the time limit of the test. If the experiment is not paused, nothing is sent.
    Resume(OrderArgs),
}

/// Estimate the number of requests and the duration of an experiment.
///
/// You can look at the results at any time and stop the experiment early. This needs more requests than a test with a single
/// look at its end, which the output shows for comparison.
#[derive(Debug, clap::Args)]
struct PlanArgs {
    /// Champion's rate, for a metric that is a proportion, for example 0.12.
    #[arg(
        long,
        value_name = "RATE",
        conflicts_with = "std_dev",
        required_unless_present = "std_dev"
    )]
    rate: Option<f64>,
    /// Standard deviation of the champion's values, for a metric that is a mean.
    #[arg(long, value_name = "NUMBER")]
    std_dev: Option<f64>,
    /// Smallest difference to detect, in the unit of the metric: for a rate, 0.01 is one percentage point.
    #[arg(long, value_name = "NUMBER")]
    effect: f64,
    /// Traffic weights of champion and candidate.
    #[arg(
        long,
        value_name = "WEIGHTS",
        default_value = "90,10",
        value_delimiter = ',',
        num_args = 1
    )]
    weights: Vec<f64>,
    /// Requests per hour with a known outcome, champion and candidate together.
    #[arg(long, value_name = "NUMBER")]
    requests_per_hour: f64,
    /// Maximum probability of a false alarm, over all looks.
    #[arg(long, value_name = "PROBABILITY", default_value_t = 0.05)]
    alpha: f64,
    /// Probability of detecting the difference.
    #[arg(long, value_name = "PROBABILITY", default_value_t = 0.8)]
    power: f64,
    /// Print one JSON object.
    #[arg(long, display_order = 110)]
    json: bool,
}

impl Experiment {
    /// Runs the command.
    pub(crate) async fn run(&self, env: &impl Environment, streams: &mut Streams<'_>) -> Result<Exit, Failure> {
        match &self.command {
            Command::Plan(plan) => plan.run(streams),
            Command::Status(status) => status.run(env, streams).await,
            Command::Stop(order) => order.run(Order::Stop, env, streams).await,
            Command::Promote(order) => order.run(Order::Promote, env, streams).await,
            Command::Rollback(order) => order.run(Order::Rollback, env, streams).await,
            Command::Resume(order) => order.run(Order::Resume, env, streams).await,
        }
    }
}

impl PlanArgs {
    fn run(&self, streams: &mut Streams<'_>) -> Result<Exit, Failure> {
        let variance = match (self.rate, self.std_dev) {
            (Some(rate), _) if rate > 0.0 && rate < 1.0 => rate * (1.0 - rate),
            (Some(rate), _) => {
                return Err(Failure::usage(
                    format!("--rate: {rate} is not between 0 and 1"),
                    "pass a proportion: --rate 0.12",
                ));
            }
            (None, deviation) => deviation.unwrap_or_default().powi(2),
        };
        let [champion, challenger] = self.weights[..] else {
            return Err(Failure::usage(
                "--weights: expected two numbers",
                "pass the weights of champion and candidate: --weights 90,10",
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
        let schedule = plan
            .duration()
            .map_err(|error| Failure::Usage(error.to_string().into()))?;
        if self.json {
            json_line(streams.out, &schedule)?;
            return Ok(Exit::Done);
        }
        let mut table = Table::new(["", "requests", "duration"]);
        for (name, requests) in [
            ("looks at any time", schedule.requests),
            ("single look at the end", schedule.fixed_requests),
        ] {
            let duration = SignedDuration::try_from_secs_f64(requests / self.requests_per_hour * 3600.0)
                .unwrap_or(SignedDuration::MAX);
            table.row([
                name.to_owned(),
                text::number(requests.round()),
                text::duration(duration),
            ]);
        }
        writeln!(
            streams.out,
            "to detect a difference of {} with probability {}, false alarm rate {}:",
            self.effect, self.power, self.alpha
        )?;
        table.write(streams.out)?;
        Ok(Exit::Done)
    }
}
