//! The `driftwarden` command line. The library has the commands.

use clap::{CommandFactory as _, Parser as _};
use cli::{AwsTargets, Cli, Environment, Exit, Streams, Terminal};
use std::{
    io::{self, BufWriter, Write as _},
    sync::Arc,
};

/// AWS clients with the configuration of the environment.
#[cfg(feature = "aws")]
type AwsClients = aws::Aws;
/// Never connected: a build without the feature `aws` has no AWS support.
#[cfg(not(feature = "aws"))]
type AwsClients = shell::memory::Memory;

/// The environment variables of the process, and AWS.
struct ProcessEnvironment;

impl Environment for ProcessEnvironment {
    type Clients = AwsClients;

    fn variable(&self, name: &str) -> Option<String> {
        #[expect(clippy::disallowed_methods, reason = "the only place that reads the environment")]
        std::env::var(name).ok()
    }

    #[cfg(feature = "aws")]
    async fn connect(&self, targets: AwsTargets) -> Result<Arc<AwsClients>, String> {
        let aws = AwsClients::from_env().await;
        let aws = aws.with_state_bucket(targets.state_bucket.unwrap_or_default());
        Ok(Arc::new(aws.with_event_bus(targets.event_bus.unwrap_or_default())))
    }

    #[cfg(not(feature = "aws"))]
    async fn connect(&self, _: AwsTargets) -> Result<Arc<AwsClients>, String> {
        Err("this build of driftwarden has no AWS support\n\
             hint: install driftwarden with its default features"
            .to_owned())
    }
}

/// Whether the arguments name the subcommand `analyze`, whatever else is wrong with them.
fn is_analyze() -> bool {
    let matches = Cli::command().ignore_errors(true).try_get_matches();
    matches.is_ok_and(|matches| matches.subcommand_name() == Some("analyze"))
}

fn main() -> Exit {
    Terminal::from_process(|name| ProcessEnvironment.variable(name)).set();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // The exit code 2 of `analyze` means violations, so a usage error ends with 1.
            let failed = error.use_stderr() && is_analyze();
            return match error.print() {
                Err(error) => Exit::from_output_error(&error),
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
    let exit = cli.run_in(streams, &ProcessEnvironment);
    match out.flush() {
        Ok(()) => exit,
        Err(error) => Exit::from_output_error(&error),
    }
}
