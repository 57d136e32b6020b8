//! The `notify` Lambda function. See [`functions::notify`].

use functions::notify::Notify;
use std::process::ExitCode;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    driftwarden_lambda::serve(Notify::from_vars).await
}
