//! The `ingest` Lambda function: configuration, clients, run. See the library `ingest`.

use driftwarden_lambda::serve;
use ingest::Ingest;
use std::process::ExitCode;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    serve(
        |vars, aws| {
            let (ingest, state_bucket, event_bus) = Ingest::from_vars(vars)?;
            Ok((ingest, aws.with_state_bucket(state_bucket).with_event_bus(event_bus)))
        },
        // Boxed, because the future is large and would be moved.
        async |ingest, aws, request| Box::pin(ingest.handle(aws, request.payload.get(), &request.request_id)).await,
    )
    .await
}
