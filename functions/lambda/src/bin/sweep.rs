//! The `sweep` Lambda function: configuration, clients, run. See the library `sweep`.

use driftwarden_lambda::serve;
use std::process::ExitCode;
use sweep::Sweep;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    serve(
        |vars, aws| {
            let (sweep, state_bucket, event_bus) = Sweep::from_vars(vars)?;
            Ok((sweep, aws.with_state_bucket(state_bucket).with_event_bus(event_bus)))
        },
        // Boxed, because the future is large and would be moved.
        async |sweep, aws, request| Box::pin(sweep.run(aws, &request.request_id, request.deadline)).await,
    )
    .await
}
