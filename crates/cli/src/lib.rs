#![doc = include_str!("../README.md")]

mod alerts;
mod analysis;
mod backtest;
mod cloud;
mod completions;
mod compute;
mod dashboard;
mod datapoint;
mod doctor;
mod error;
mod exit;
mod experiment;
mod fleet;
mod incidents;
mod input;
mod inspect;
mod lines;
mod operator;
mod pause;
mod policy;
mod redrive;
mod state;
mod table;
mod terminal;
mod window;

pub use self::analysis::{Analyze, Baseline};
pub use self::dashboard::Dashboard;
pub use self::experiment::Experiment;
pub use alerts::Alerts;
pub use backtest::Backtest;
pub use cloud::{AwsTargets, Clients, Environment};
pub use completions::{Completions, Man};
pub use compute::Compute;
pub use datapoint::DatapointCommand;
pub use doctor::Doctor;
pub use exit::Exit;
pub use fleet::Fleet;
pub use incidents::Incidents;
pub use inspect::Inspect;
pub use operator::{Approve, Resolve};
pub use pause::{Pause, Resume};
pub use policy::PolicyCommand;
pub use redrive::Redrive;
pub use terminal::Terminal;
pub use window::Window;

use cloud::NoAws;
use std::io::{Read, Write};

/// Detect SageMaker model drift and respond: decide, retrain, test, promote.
#[derive(Debug, clap::Parser)]
#[command(name = "driftwarden", version, about, after_help = exit::EXIT_CODES)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Inspect(Inspect),
    Baseline(Baseline),
    Analyze(Box<Analyze>),
    Backtest(Backtest),
    Policy(PolicyCommand),
    Incidents(Incidents),
    Approve(Approve),
    Resolve(Resolve),
    Pause(Pause),
    Resume(Resume),
    Experiment(Experiment),
    Fleet(Fleet),
    Alerts(Alerts),
    Datapoint(DatapointCommand),
    Dashboard(Dashboard),
    Doctor(Doctor),
    Redrive(Redrive),
    Window(Window),
    Compute(Compute),
    Completions(Completions),
    Man(Man),
}

/// Input and output streams of a command.
#[expect(missing_debug_implementations, reason = "streams have no useful debug output")]
pub struct Streams<'a> {
    /// Standard input.
    pub input: &'a mut dyn Read,
    /// Standard output.
    pub out: &'a mut dyn Write,
    /// Standard error.
    pub err: &'a mut dyn Write,
}

impl Cli {
    /// Runs a command without AWS. Commands that require AWS fail.
    pub fn run(&self, streams: Streams<'_>) -> Exit {
        self.run_in(streams, &NoAws)
    }

    /// Runs the command in an environment. Each command that uses AWS has its own runtime.
    pub fn run_in(&self, streams: Streams<'_>, env: &impl Environment) -> Exit {
        let mut streams = streams;
        match &self.command {
            Command::Inspect(inspect) => inspect.run(streams),
            Command::Window(_) => Window::run(streams),
            Command::Policy(policy) => cloud::run(streams, async |streams| policy.run(env, streams).await),
            Command::Incidents(incidents) => cloud::run(streams, async |streams| incidents.run(env, streams).await),
            Command::Approve(approve) => cloud::run(streams, async |streams| approve.run(env, streams).await),
            Command::Resolve(resolve) => cloud::run(streams, async |streams| resolve.run(env, streams).await),
            Command::Pause(pause) => cloud::run(streams, async |streams| pause.run(env, streams).await),
            Command::Resume(resume) => cloud::run(streams, async |streams| resume.run(env, streams).await),
            Command::Fleet(fleet) => cloud::run(streams, async |streams| fleet.run(env, streams).await),
            Command::Alerts(alerts) => cloud::run(streams, async |streams| alerts.run(env, streams).await),
            Command::Datapoint(datapoint) => cloud::run(streams, async |streams| datapoint.run(env, streams).await),
            Command::Backtest(backtest) => cloud::run(streams, async |streams| backtest.run(env, streams).await),
            Command::Baseline(baseline) => cloud::run(streams, async |streams| baseline.run(env, streams).await),
            Command::Analyze(analyze) => {
                match cloud::run(streams, async |streams| analyze.run(env, streams).await) {
                    // The exit code 2 of `analyze` means violations.
                    Exit::Usage => Exit::Failed,
                    exit => exit,
                }
            }
            Command::Compute(compute) => compute.run(streams),
            Command::Completions(completions) => completions.run(&mut streams),
            Command::Man(man) => man.run(&mut streams),
            Command::Experiment(experiment) => cloud::run(streams, async |streams| experiment.run(env, streams).await),
            Command::Dashboard(dashboard) => cloud::run(streams, async |streams| dashboard.run(env, streams).await),
            Command::Doctor(doctor) => cloud::run(streams, async |streams| doctor.run(env, streams).await),
            Command::Redrive(redrive) => cloud::run(streams, async |streams| redrive.run(env, streams).await),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn arguments_are_consistent() {
        Cli::command().debug_assert();
    }
}
