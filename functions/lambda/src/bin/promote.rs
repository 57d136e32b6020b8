//! The `promote` Lambda function: configuration, clients, run. See the library `promote`.

use driftwarden_lambda::serve;
use promote::Promote;
use std::process::ExitCode;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    serve(
        |vars, aws| {
            let (promote, state_bucket, event_bus) = Promote::from_vars(vars)?;
            Ok((promote, aws.with_state_bucket(state_bucket).with_event_bus(event_bus)))
        },
        // Boxed, because the future is large and would be moved.
        async |promote, aws, request| {
            Box::pin(promote.handle(aws, request.payload.get(), &request.request_id, request.deadline)).await
        },
    )
    .await
}
