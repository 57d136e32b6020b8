#![doc = include_str!("../README.md")]

mod alerts;
mod analysis;
mod backtest;
mod cloud;
mod completions;
mod compute;
mod dashboard;
mod doctor;
mod exit;
mod experiment;
mod incidents;
mod input;
mod inspect;
mod lines;
mod pause;
mod people;
mod policy;
mod redrive;
mod table;
mod terminal;
mod window;

pub use self::analysis::{Analyze, Baseline};
pub use self::dashboard::Dashboard;
pub use self::experiment::Experiment;
pub use alerts::Alerts;
pub use backtest::Backtest;
pub use cloud::{Places, Surroundings, World};
pub use completions::{Completions, Man};
pub use compute::Compute;
pub use doctor::Doctor;
pub use exit::Exit;
pub use incidents::Incidents;
pub use inspect::Inspect;
pub use pause::{Pause, Resume};
pub use people::{Approve, Resolve};
pub use policy::PolicyCommand;
pub use redrive::Redrive;
pub use terminal::Terminal;
pub use window::Window;

use cloud::Nowhere;
use std::io::{Read, Write};

/// Watches SageMaker Model Monitor and starts what is due when a model drifts.
#[derive(Debug, clap::Parser)]
#[command(name = "driftwarden", version, about, after_help = exit::EXIT_CODES)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Inspect(Inspect),
    Window(Window),
    Policy(PolicyCommand),
    Incidents(Incidents),
    Approve(Approve),
    Resolve(Resolve),
    Pause(Pause),
    Resume(Resume),
    Alerts(Alerts),
    Redrive(Redrive),
    Dashboard(Dashboard),
    Doctor(Doctor),
    Backtest(Backtest),
    Baseline(Baseline),
    Analyze(Box<Analyze>),
    Compute(Compute),
    Experiment(Experiment),
    Completions(Completions),
    Man(Man),
}

/// What a command reads and writes.
#[expect(missing_debug_implementations, reason = "streams have nothing to show")]
pub struct Streams<'a> {
    /// Standard input.
    pub input: &'a mut dyn Read,
    /// Standard output.
    pub out: &'a mut dyn Write,
    /// Standard error.
    pub err: &'a mut dyn Write,
}

impl Cli {
    /// Runs a command that needs no AWS; any other says that there is none.
    pub fn run(&self, streams: Streams<'_>) -> Exit {
        self.run_in(streams, &Nowhere)
    }

    /// Runs the command. Those that talk to AWS do so on a runtime of their own.
    pub fn run_in(&self, streams: Streams<'_>, around: &impl Surroundings) -> Exit {
        let mut streams = streams;
        match &self.command {
            Command::Inspect(inspect) => inspect.run(streams),
            Command::Window(_) => Window::run(streams),
            Command::Policy(policy) => cloud::run(streams, async |streams| policy.run(around, streams).await),
            Command::Incidents(incidents) => cloud::run(streams, async |streams| incidents.run(around, streams).await),
            Command::Approve(approve) => cloud::run(streams, async |streams| approve.run(around, streams).await),
            Command::Resolve(resolve) => cloud::run(streams, async |streams| resolve.run(around, streams).await),
            Command::Pause(pause) => cloud::run(streams, async |streams| pause.run(around, streams).await),
            Command::Resume(resume) => cloud::run(streams, async |streams| resume.run(around, streams).await),
            Command::Alerts(alerts) => cloud::run(streams, async |streams| alerts.run(around, streams).await),
            Command::Backtest(backtest) => cloud::run(streams, async |streams| backtest.run(around, streams).await),
            Command::Baseline(baseline) => cloud::run(streams, async |streams| baseline.run(around, streams).await),
            Command::Analyze(analyze) => {
                match cloud::run(streams, async |streams| analyze.run(around, streams).await) {
                    // Of `analyze` 2 says that there are violations.
                    Exit::Usage => Exit::Failed,
                    exit => exit,
                }
            }
            Command::Compute(compute) => compute.run(streams),
            Command::Completions(completions) => completions.run(&mut streams),
            Command::Man(man) => man.run(&mut streams),
            Command::Experiment(experiment) => {
                cloud::run(streams, async |streams| experiment.run(around, streams).await)
            }
            Command::Dashboard(dashboard) => cloud::run(streams, async |streams| dashboard.run(around, streams).await),
            Command::Doctor(doctor) => cloud::run(streams, async |streams| doctor.run(around, streams).await),
            Command::Redrive(redrive) => cloud::run(streams, async |streams| redrive.run(around, streams).await),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_arguments_are_consistent() {
        Cli::command().debug_assert();
    }
}
