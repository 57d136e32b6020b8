//! The `operator` Lambda function: configuration, clients, run. See the library `operator`.

use driftwarden_lambda::serve;
use operator::Operator;
use std::process::ExitCode;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    serve(
        |vars, aws| {
            let (operator, state_bucket, event_bus) = Operator::from_vars(vars)?;
            Ok((operator, aws.with_state_bucket(state_bucket).with_event_bus(event_bus)))
        },
        // Boxed, because the future is large and would be moved.
        async |operator, aws, request| Box::pin(operator.handle(aws, request.payload.get(), &request.request_id)).await,
    )
    .await
}
