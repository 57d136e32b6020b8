//! The `ingest` Lambda function. See [`functions::ingest`].

use functions::ingest::Ingest;
use std::process::ExitCode;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    driftwarden_lambda::serve(Ingest::from_vars).await
}
