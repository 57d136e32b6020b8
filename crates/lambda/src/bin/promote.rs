//! The `promote` Lambda function. See [`functions::promote`].

use functions::promote::Promote;
use std::process::ExitCode;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    driftwarden_lambda::serve(Promote::from_vars).await
}
