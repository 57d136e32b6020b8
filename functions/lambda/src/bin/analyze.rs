//! The `analyze` Lambda function: configuration, clients, run. See the library `analyze`.

use analyze::Analyze;
use driftwarden_lambda::serve;
use std::process::ExitCode;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    serve(
        |vars, aws| {
            let (analyze, state_bucket, event_bus) = Analyze::from_vars(vars)?;
            Ok((analyze, aws.with_state_bucket(state_bucket).with_event_bus(event_bus)))
        },
        // Boxed, because the future is large and would be moved.
        async |analyze, aws, request| {
            Box::pin(analyze.handle(aws, request.payload.get(), &request.request_id, request.deadline)).await
        },
    )
    .await
}
