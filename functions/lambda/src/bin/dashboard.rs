//! The `dashboard` Lambda function: configuration, clients, run. See the library `dashboard`.

use dashboard::Dashboard;
use driftwarden_lambda::serve;
use std::process::ExitCode;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    serve(
        |vars, aws| {
            let (dashboard, state_bucket) = Dashboard::from_vars(vars)?;
            Ok((dashboard, aws.with_state_bucket(state_bucket)))
        },
        // Boxed, because the future is large and would be moved.
        async |dashboard, aws, request| {
            Box::pin(dashboard.handle(aws, request.payload.get(), &request.request_id, request.deadline)).await
        },
    )
    .await
}
