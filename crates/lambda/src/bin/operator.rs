//! The `operator` Lambda function. See [`functions::operator`].

use functions::operator::Operator;
use std::process::ExitCode;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    driftwarden_lambda::serve(Operator::from_vars).await
}
