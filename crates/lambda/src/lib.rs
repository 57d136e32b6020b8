#![doc = include_str!("../README.md")]

mod emf;
mod telemetry;

use aws::Aws;
use emf::Record;
use functions::{Function, Request, Resources};
use jiff::Timestamp;
use lambda_runtime::{Context, Diagnostic, LambdaEvent, run, service_fn};
use machine::{Clock as _, ErrorType as _, chain, invocation::Invocation};
use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};
use shell::config::{ConfigError, Vars};
use std::{
    io::{self, Write as _},
    process::ExitCode,
};
use tracing::Instrument as _;

/// The environment of a function.
pub type Environment = Vars<fn(&str) -> Option<String>>;

/// Runs a function until its execution environment ends: creates it with `configure` and its AWS clients, and processes
/// one invocation after another.
pub async fn serve<F: Function<Aws>>(
    configure: impl FnOnce(&Environment) -> Result<(F, Resources), ConfigError>,
) -> ExitCode {
    #[expect(
        clippy::disallowed_methods,
        reason = "the only place that reads the environment of the functions"
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
    let (function, resources) = match configure(&vars) {
        Ok(configured) => configured,
        Err(error) => return telemetry::cannot_start(&error),
    };
    let aws = connect(resources).await;
    let level = level.unwrap_or_else(|| "INFO".to_owned());
    let handler = async |event: LambdaEvent<Box<RawValue>>| {
        let LambdaEvent { payload, context } = event;
        let started = aws.now();
        let (event_time, about) = read_envelope(payload.get());
        let deadline = i64::try_from(context.deadline).unwrap_or(i64::MAX);
        let deadline = Timestamp::from_millisecond(deadline).unwrap_or(Timestamp::MAX);
        let invocation = Invocation::new(context.xray_trace_id.clone());
        let request = Request {
            payload: payload.get(),
            request_id: &context.request_id,
            deadline,
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
            // Boxed, because the future is large and the runtime would move it.
            let handled = Box::pin(function.invoke(&aws, request))
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
                started,
                ended: aws.now(),
                event_time,
                conflicts_retried: invocation.conflicts_retried(),
                effects_executed: invocation.effects_executed(),
                properties: properties(&level, &context, &invocation, &about),
            };
            // A failed write to the log does not fail the invocation.
            if writeln!(io::stdout().lock(), "{}", record.line()).is_err() {
                tracing::debug!("failed to write the metrics record");
            }
        }
        handled
    };
    telemetry::ended(Box::pin(run(service_fn(handler))).await)
}

/// The clients of AWS for the resources of the deployment.
async fn connect(resources: Resources) -> Aws {
    let Resources {
        state_bucket,
        event_bus,
        topic_arn,
    } = resources;
    let mut aws = Aws::from_env().await.with_state_bucket(state_bucket);
    if let Some(event_bus) = event_bus {
        aws = aws.with_event_bus(event_bus);
    }
    if let Some(topic_arn) = topic_arn {
        aws = aws.with_topic(topic_arn);
    }
    aws
}

/// Outcome of an event: the member `outcome` of the response, or `handled` if it has none.
fn outcome<A: Serialize>(handled: &Result<A, Diagnostic>) -> String {
    match handled {
        Ok(answer) => {
            let answer = serde_json::to_value(answer).unwrap_or_default();
            let outcome = answer.get("outcome").and_then(Value::as_str);
            outcome.unwrap_or("handled").to_owned()
        }
        Err(diagnostic) => diagnostic.error_type.clone(),
    }
}

/// Members that the invocation's log lines also have. The level is required: Lambda drops lines below the level of the function,
/// and assigns a low level to lines without one.
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

/// The part of the envelope that all events have.
#[derive(Debug, Default, Deserialize)]
struct Envelope<'a> {
    #[serde(default)]
    time: Option<Timestamp>,
    #[serde(borrow, default)]
    detail: Option<&'a RawValue>,
}

/// IDs in the detail of Driftwarden's events.
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

/// Reads the time and the IDs of an event, if present. Parse errors are left to the function.
fn read_envelope(payload: &str) -> (Option<Timestamp>, About) {
    let envelope: Envelope<'_> = serde_json::from_str(payload).unwrap_or_default();
    let detail = envelope.detail.map(RawValue::get);
    let about = detail.and_then(|detail| serde_json::from_str(detail).ok());
    (envelope.time, about.unwrap_or_default())
}
