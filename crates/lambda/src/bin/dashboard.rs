//! The `dashboard` Lambda function. See [`functions::dashboard`].

use functions::dashboard::Dashboard;
use std::process::ExitCode;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    driftwarden_lambda::serve(Dashboard::from_vars).await
}
