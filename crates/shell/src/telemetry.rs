//! Logs and errors at the boundary of a function.

use lambda_runtime::Diagnostic;
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;

/// Starts logging: one JSON object a line, at the level that Lambda's `AWS_LAMBDA_LOG_LEVEL` says (default `info`).
pub fn init(level: Option<&str>) {
    let level = match level.map(str::to_lowercase).as_deref() {
        Some(level @ ("trace" | "debug" | "info" | "warn" | "error")) => level.to_owned(),
        Some("fatal") => "error".to_owned(),
        _ => "info".to_owned(),
    };
    // The SDK and the HTTP stack speak of payloads at debug level.
    let filter = EnvFilter::new(format!(
        "warn,ingest={level},remediate={level},notify={level},shell={level}"
    ));
    let subscriber = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_ansi(false)
        .with_env_filter(filter)
        .with_writer(std::io::stdout)
        .finish();
    // A second call, in tests, keeps the first subscriber.
    if tracing::subscriber::set_global_default(subscriber).is_err() {
        tracing::debug!("logging had been started before");
    }
}

/// An error as Lambda is told of it: a stable type for alarms and runbooks, and the whole chain of causes.
pub fn diagnostic(error_type: &str, error: &(dyn std::error::Error + 'static)) -> Diagnostic {
    Diagnostic {
        error_type: error_type.to_owned(),
        error_message: chain(error),
    }
}

/// An error and its causes, joined by colons. `Display` of our errors never repeats its source.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// A function that cannot start says why, once, and ends: Lambda shows it as an error of the initialisation.
pub fn cannot_start(error: &(dyn std::error::Error + 'static)) -> ExitCode {
    tracing::error!(error = %chain(error), "the function cannot start");
    ExitCode::FAILURE
}

/// The end of the runtime's loop: it only ends when the Runtime API is gone.
pub fn ended(result: Result<(), lambda_runtime::Error>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = %error, "the runtime ended");
            ExitCode::FAILURE
        }
    }
}
