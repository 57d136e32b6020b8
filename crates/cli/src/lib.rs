//! The `driftwarden` command line: the pure parts of Driftwarden, reachable from a shell, a notebook or a pipeline.
//!
//! | command | what it does |
//! | --- | --- |
//! | [`inspect`](Inspect) | shows what Model Monitor's files and events say, or prints it as JSON Lines |
//! | [`window`](Window) | judges alert windows, JSON Lines in and out |
//!
//! Data goes to standard output, everything else to standard error. An input that cannot be answered never stops the
//! others: with `--json` it gives `{"error": "…"}` on its line. [`Exit`] says what the exit codes mean. In JSON a number
//! that JSON cannot hold is the text `NaN`, `Infinity` or `-Infinity`.

mod exit;
mod input;
mod inspect;
mod table;
mod window;

pub use exit::Exit;
pub use inspect::Inspect;
pub use window::Window;

use std::io::{Read, Write};

/// Watches SageMaker Model Monitor and starts what is due when a model drifts.
#[derive(Debug, clap::Parser)]
#[command(name = "driftwarden", version, about)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Inspect(Inspect),
    Window(Window),
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
    /// Runs the command.
    pub fn run(&self, streams: Streams<'_>) -> Exit {
        match &self.command {
            Command::Inspect(inspect) => inspect.run(streams),
            Command::Window(_) => Window::run(streams),
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
