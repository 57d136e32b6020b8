//! The `notify` Lambda function: configuration, clients, run. See the library.

use jiff::Timestamp;
use lambda_runtime::{LambdaEvent, run, service_fn};
use notify::Notify;
use serde_json::value::RawValue;
use shell::{Aws, config::Vars, telemetry};
use std::process::ExitCode;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    #[expect(clippy::disallowed_methods, reason = "the one place where the environment is read")]
    let vars = Vars(|name: &str| std::env::var(name).ok());
    telemetry::init(vars.optional("AWS_LAMBDA_LOG_LEVEL").as_deref());
    let (notify, state_bucket, topic_arn) = match Notify::from_vars(&vars) {
        Ok(configured) => configured,
        Err(error) => return telemetry::cannot_start(&error),
    };
    let aws = Aws::from_env()
        .await
        .with_state_bucket(state_bucket)
        .with_topic(topic_arn);
    // Boxed: the future is large, and the runtime would move it about.
    let handler = async |event: LambdaEvent<Box<RawValue>>| {
        let deadline = Timestamp::from_millisecond(i64::try_from(event.context.deadline).unwrap_or(i64::MAX));
        let deadline = deadline.unwrap_or(Timestamp::MAX);
        Box::pin(notify.handle(&aws, event.payload.get(), &event.context.request_id, deadline)).await
    };
    telemetry::ended(Box::pin(run(service_fn(handler))).await)
}
