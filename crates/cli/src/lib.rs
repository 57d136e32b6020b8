//! `driftwarden`: the loop's parts on the command line. Data goes to standard output, everything else to standard error.
//!
//! | exit code | meaning |
//! | --- | --- |
//! | 0 | done |
//! | 1 | something that was asked for could not be done; standard error says what |
//! | 2 | the command line is wrong |

mod commands;

use clap::{Parser, Subcommand};
use std::io::{self, Read, Write};

/// Closes the loop on model drift for models served by Amazon SageMaker.
#[derive(Debug, Parser)]
#[command(name = "driftwarden", version, about, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Read Model Monitor's files and say what is in them
    Inspect(commands::Inspect),
}

/// Runs a command and returns its exit code.
pub fn run(cli: &Cli, input: &mut dyn Read, output: &mut dyn Write, errors: &mut dyn Write) -> u8 {
    let Command::Inspect(inspect) = &cli.command;
    match inspect.run(input, output, errors) {
        Ok(true) => 0,
        Ok(false) => 1,
        // Whoever read the output has gone: nobody is left to tell.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => 0,
        Err(error) => {
            let told = writeln!(errors, "error: {error}");
            u8::from(told.is_ok()).max(1)
        }
    }
}
