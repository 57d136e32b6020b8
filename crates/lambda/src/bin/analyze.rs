//! The `analyze` Lambda function. See [`functions::analyze`].

use functions::analyze::Analyze;
use std::process::ExitCode;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    driftwarden_lambda::serve(Analyze::from_vars).await
}
