//! The `sweep` Lambda function. See [`functions::sweep`].

use functions::sweep::Sweep;
use std::process::ExitCode;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    driftwarden_lambda::serve(Sweep::from_vars).await
}
