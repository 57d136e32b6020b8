//! The `driftwarden` command line. See the library.

use clap::Parser as _;
use cli::{Cli, Exit, Places, Streams, Surroundings, Terminal};
use shell::Aws;
use std::{
    io::{self, BufWriter, Write as _},
    sync::Arc,
};

/// The environment, and AWS as it describes it.
struct Environment;

impl Surroundings for Environment {
    type World = Aws;

    fn variable(&self, name: &str) -> Option<String> {
        #[expect(clippy::disallowed_methods, reason = "the one place where the environment is read")]
        std::env::var(name).ok()
    }

    async fn connect(&self, places: Places) -> Result<Arc<Aws>, String> {
        let aws = Aws::from_env().await;
        let aws = aws.with_state_bucket(places.state_bucket.unwrap_or_default());
        Ok(Arc::new(aws.with_event_bus(places.event_bus.unwrap_or_default())))
    }
}

fn main() -> Exit {
    Terminal::of_process(|name| Environment.variable(name)).set();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Of `analyze` 2 says that there are violations: a command that is not called as it should be has failed.
            let failed = error.use_stderr() && std::env::args().nth(1).as_deref() == Some("analyze");
            return match error.print() {
                Err(error) => Exit::of_output(&error),
                Ok(()) if failed => Exit::Failed,
                Ok(()) if error.use_stderr() => Exit::Usage,
                Ok(()) => Exit::Done,
            };
        }
    };
    let mut out = BufWriter::new(io::stdout().lock());
    let streams = Streams {
        input: &mut io::stdin().lock(),
        out: &mut out,
        err: &mut io::stderr().lock(),
    };
    let exit = cli.run_in(streams, &Environment);
    match out.flush() {
        Ok(()) => exit,
        Err(error) => Exit::of_output(&error),
    }
}
