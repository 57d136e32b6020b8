//! The `notify` Lambda function: configuration, clients, run. See the library `notify`.

use driftwarden_lambda::serve;
use notify::Notify;
use std::process::ExitCode;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    serve(
        |vars, aws| {
            let (notify, state_bucket, topic_arn) = Notify::from_vars(vars)?;
            Ok((notify, aws.with_state_bucket(state_bucket).with_topic(topic_arn)))
        },
        // Boxed, because the future is large and would be moved.
        async |notify, aws, request| {
            Box::pin(notify.handle(aws, request.payload.get(), &request.request_id, request.deadline)).await
        },
    )
    .await
}
