//! The `driftwarden` command line. See the library.

use clap::Parser as _;
use cli::{Cli, Exit, Places, Streams, Surroundings, Terminal};
use std::{
    io::{self, BufWriter, Write as _},
    sync::Arc,
};

/// AWS as the environment describes it.
#[cfg(feature = "aws")]
type World = aws::Aws;
/// Never connected: a build without the feature `aws` knows no AWS.
#[cfg(not(feature = "aws"))]
type World = shell::memory::Memory;

/// The environment variables of the process, and AWS.
struct Environment;

impl Surroundings for Environment {
    type World = World;

    fn variable(&self, name: &str) -> Option<String> {
        #[expect(clippy::disallowed_methods, reason = "the one place where the environment is read")]
        std::env::var(name).ok()
    }

    #[cfg(feature = "aws")]
    async fn connect(&self, places: Places) -> Result<Arc<World>, String> {
        let aws = World::from_env().await;
        let aws = aws.with_state_bucket(places.state_bucket.unwrap_or_default());
        Ok(Arc::new(aws.with_event_bus(places.event_bus.unwrap_or_default())))
    }

    #[cfg(not(feature = "aws"))]
    async fn connect(&self, _: Places) -> Result<Arc<World>, String> {
        Err(
            "this command needs AWS, and this build of driftwarden has no AWS support\n\
             hint: install driftwarden with its default features"
                .to_owned(),
        )
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
