#![doc = include_str!("../README.md")]

mod emf;
mod telemetry;

use aws::Aws;
use emf::Record;
use jiff::Timestamp;
use lambda_runtime::{Context, Diagnostic, LambdaEvent, run, service_fn};
use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};
use shell::{
    ErrorType, chain,
    config::{ConfigError, Vars},
    invocation::Invocation,
    ports::Clock as _,
};
use std::{
    fmt::Debug,
    io::{self, Write as _},
    process::ExitCode,
};
use tracing::Instrument as _;

/// The environment of a function.
pub type Environment = Vars<fn(&str) -> Option<String>>;

/// What a function is invoked with.
#[derive(Debug)]
pub struct Request {
    /// The event.
    pub payload: Box<RawValue>,
    /// The Lambda request id. Retries of an asynchronous invocation keep it.
    pub request_id: String,
    /// When Lambda ends the function.
    pub deadline: Timestamp,
}

/// Runs a function until its environment ends: `configure` makes it, and AWS as it needs it, from the environment; `handle`
/// takes one invocation after another.
pub async fn serve<F, A: Serialize, E: ErrorType>(
    configure: impl FnOnce(&Environment, Aws) -> Result<(F, Aws), ConfigError>,
    handle: impl AsyncFn(&F, &Aws, &Request) -> Result<A, E>,
) -> ExitCode {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place where the functions' environment is read"
    )]
    let vars: Environment = Vars(|name: &str| std::env::var(name).ok());
    let level = vars.optional("AWS_LAMBDA_LOG_LEVEL");
    telemetry::init(level.as_deref());
    let namespace = match vars.optional("FUNCTION_METRICS").as_deref() {
        Some("off") => None,
        _ => Some(format!(
            "{}/Functions",
            vars.optional("METRIC_NAMESPACE").as_deref().unwrap_or("Driftwarden")
        )),
    };
    let (function, aws) = match configure(&vars, Aws::from_env().await) {
        Ok(configured) => configured,
        Err(error) => return telemetry::cannot_start(&error),
    };
    let level = level.unwrap_or_else(|| "INFO".to_owned());
    let handler = async |event: LambdaEvent<Box<RawValue>>| {
        let LambdaEvent { payload, context } = event;
        let began = aws.now();
        let (event_time, about) = told(payload.get());
        let invocation = Invocation::new(context.xray_trace_id.clone());
        let deadline = i64::try_from(context.deadline).unwrap_or(i64::MAX);
        let request = Request {
            payload,
            request_id: context.request_id.clone(),
            deadline: Timestamp::from_millisecond(deadline).unwrap_or(Timestamp::MAX),
        };
        let span = tracing::error_span!(
            "invocation",
            request_id = context.request_id,
            xray_trace_id = invocation.trace_id(),
            correlation_id = about.correlation_id,
            model = about.model,
            monitoring_schedule = about.monitoring_schedule,
        );
        let work = async {
            // Boxed: the future is large, and the runtime would move it about.
            let handled = Box::pin(handle(&function, &aws, &request))
                .await
                .map_err(|error| Diagnostic {
                    error_type: error.error_type().to_owned(),
                    error_message: chain(&error),
                });
            if let Err(Diagnostic {
                error_type,
                error_message,
            }) = &handled
            {
                tracing::error!(error_type, error = error_message, "invocation failed");
            }
            handled
        };
        let handled = invocation.scope(work.instrument(span)).await;
        if let Some(namespace) = &namespace {
            let record = Record {
                namespace,
                function_name: &context.env_config.function_name,
                outcome: &outcome(&handled),
                began,
                ended: aws.now(),
                event_time,
                conflicts_retried: invocation.conflicts_retried(),
                effects_carried_out: invocation.effects_carried_out(),
                properties: properties(&level, &context, &invocation, &about),
            };
            // A log that cannot be written is no reason to fail.
            if writeln!(io::stdout().lock(), "{}", record.line()).is_err() {
                tracing::debug!("the record of metrics could not be written");
            }
        }
        handled
    };
    telemetry::ended(Box::pin(run(service_fn(handler))).await)
}

/// What became of an event: the answer says so if there is more than one thing to become of it.
fn outcome<A: Serialize>(handled: &Result<A, Diagnostic>) -> String {
    match handled {
        Ok(answer) => {
            let answer = serde_json::to_value(answer).unwrap_or_default();
            let outcome = answer.get("outcome").and_then(Value::as_str);
            outcome.unwrap_or("handled").to_owned()
        }
        Err(failed) => failed.error_type.clone(),
    }
}

/// What the invocation's log lines have, too. With a level and a time, as Lambda lets no line pass that is less grave than
/// the level of the function, and takes one without them for less.
fn properties(level: &str, context: &Context, invocation: &Invocation, about: &About) -> Vec<(&'static str, Value)> {
    let mut properties = vec![
        ("level", Value::from(level.to_uppercase())),
        ("message", Value::from("invocation ended")),
        ("request_id", Value::from(context.request_id.as_str())),
    ];
    let ids = [
        ("xray_trace_id", invocation.trace_id()),
        ("correlation_id", about.correlation_id.as_deref()),
    ];
    properties.extend(ids.into_iter().filter_map(|(name, id)| Some((name, Value::from(id?)))));
    properties
}

/// What an event says of itself, of whatever kind it is.
#[derive(Debug, Default, Deserialize)]
struct Envelope<'a> {
    #[serde(default)]
    time: Option<Timestamp>,
    #[serde(borrow, default)]
    detail: Option<&'a RawValue>,
}

/// What one of our own events is about.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct About {
    #[serde(default)]
    correlation_id: Option<String>,
    #[serde(default)]
    model: Option<String>,
    #[serde(default)]
    monitoring_schedule: Option<String>,
}

/// When an event happened and what it is about, as far as it says so: what cannot be read is told of by the function.
fn told(payload: &str) -> (Option<Timestamp>, About) {
    let envelope: Envelope<'_> = serde_json::from_str(payload).unwrap_or_default();
    let detail = envelope.detail.map(RawValue::get);
    let about = detail.and_then(|detail| serde_json::from_str(detail).ok());
    (envelope.time, about.unwrap_or_default())
}
