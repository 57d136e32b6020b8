//! The `remediate` Lambda function: configuration, clients, run. See the library `remediate`.

use driftwarden_lambda::serve;
use remediate::Remediate;
use std::process::ExitCode;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    serve(
        |vars, aws| {
            let (remediate, state_bucket, event_bus) = Remediate::from_vars(vars)?;
            Ok((remediate, aws.with_state_bucket(state_bucket).with_event_bus(event_bus)))
        },
        // Boxed, because the future is large and would be moved.
        async |remediate, aws, request| {
            Box::pin(remediate.handle(aws, request.payload.get(), &request.request_id)).await
        },
    )
    .await
}
