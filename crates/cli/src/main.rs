//! The command `driftwarden`. See the library.

use clap::Parser as _;
use cli::Cli;
use std::{
    io::{stderr, stdin, stdout},
    process::ExitCode,
};

fn main() -> ExitCode {
    let code = cli::run(
        &Cli::parse(),
        &mut stdin().lock(),
        &mut stdout().lock(),
        &mut stderr().lock(),
    );
    ExitCode::from(code)
}
