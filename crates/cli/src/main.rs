//! The `driftwarden` command line. See the library.

use clap::Parser as _;
use cli::{Cli, Exit, Streams};
use std::io::{self, BufWriter, Write as _};

fn main() -> Exit {
    let cli = Cli::parse();
    let mut out = BufWriter::new(io::stdout().lock());
    let streams = Streams {
        input: &mut io::stdin().lock(),
        out: &mut out,
        err: &mut io::stderr().lock(),
    };
    let exit = cli.run(streams);
    match out.flush() {
        Ok(()) => exit,
        Err(error) => Exit::of_output(&error),
    }
}
