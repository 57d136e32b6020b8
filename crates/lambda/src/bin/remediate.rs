//! The `remediate` Lambda function. See [`functions::remediate`].

use functions::remediate::Remediate;
use std::process::ExitCode;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    driftwarden_lambda::serve(Remediate::from_vars).await
}
