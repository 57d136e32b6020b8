//! Log lines of a function: JSON, one object per line.

use machine::chain;
use serde_json::{Map, Value};
use std::{fmt, process::ExitCode};
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    EnvFilter,
    fmt::{
        FmtContext, FormatEvent, FormatFields, FormattedFields, MakeWriter,
        format::{JsonFields, Writer},
    },
    registry::{LookupSpan, Scope},
};

/// Crates that log at the level of the function. All others log warnings and errors only, because the SDK and the HTTP stack log
/// payloads at debug level. Names match by prefix: `aws` would also match `aws_smithy_runtime`.
const CRATES: [&str; 5] = ["driftwarden_aws", "driftwarden_lambda", "functions", "machine", "shell"];

/// Starts logging: one JSON object per line, at the level of Lambda's `AWS_LAMBDA_LOG_LEVEL`. Default: `info`.
pub(crate) fn init(level: Option<&str>) {
    // Tests call this repeatedly: the first subscriber stays.
    if tracing::subscriber::set_global_default(subscriber(level, std::io::stdout)).is_err() {
        tracing::debug!("logging is already started");
    }
}

fn subscriber<W>(level: Option<&str>, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let level = match level.map(str::to_lowercase).as_deref() {
        Some(level @ ("trace" | "debug" | "info" | "warn" | "error")) => level.to_owned(),
        Some("fatal") => "error".to_owned(),
        _ => "info".to_owned(),
    };
    let directives: String = CRATES.map(|name| format!(",{name}={level}")).concat();
    tracing_subscriber::fmt()
        .fmt_fields(JsonFields::new())
        .event_format(Lines)
        .with_env_filter(EnvFilter::new(format!("warn{directives}")))
        .with_writer(writer)
        .finish()
}

/// Formats a line: the fields of the event and of its spans, all at the top level, where Logs Insights finds them by name (`filter
/// correlation_id = "…"`). Inner fields override outer ones.
struct Lines;

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut line = Line::default();
        for span in context.event_scope().into_iter().flat_map(Scope::from_root) {
            let extensions = span.extensions();
            let fields = extensions.get::<FormattedFields<N>>();
            if let Some(Ok(fields)) = fields.map(|fields| serde_json::from_str::<Map<String, Value>>(&fields.fields)) {
                line.0.extend(fields);
            }
        }
        event.record(&mut line);
        let metadata = event.metadata();
        #[expect(clippy::disallowed_methods, reason = "timestamp of the log line")]
        let now = jiff::Timestamp::now();
        let standard = [
            ("timestamp", format!("{now:.6}")),
            ("level", metadata.level().to_string()),
            ("target", metadata.target().to_owned()),
        ];
        let standard = standard
            .into_iter()
            .map(|(name, value)| (name.to_owned(), Value::from(value)));
        line.0.extend(standard);
        writeln!(writer, "{}", Value::Object(line.0))
    }
}

#[derive(Default)]
struct Line(Map<String, Value>);

impl Line {
    fn put(&mut self, field: &Field, value: impl Into<Value>) {
        self.0.insert(field.name().to_owned(), value.into());
    }
}

impl Visit for Line {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}"));
    }
}

/// Logs why the function cannot start, and exits. Lambda reports an error of the initialization.
pub(crate) fn cannot_start(error: &(dyn std::error::Error + 'static)) -> ExitCode {
    tracing::error!(error = %chain(error), "the function cannot start");
    ExitCode::FAILURE
}

/// Handles the end of the runtime's loop. It ends only if the Runtime API is unavailable.
pub(crate) fn ended(result: Result<(), lambda_runtime::Error>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = %error, "the Lambda runtime ended");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shell::telemetry::{record_correlation_id, span_for};
    use std::sync::{Arc, Mutex};

    /// Log lines that `work` writes.
    fn lines(level: &str, work: impl FnOnce()) -> Vec<Value> {
        #[derive(Clone, Default)]
        struct Written(Arc<Mutex<Vec<u8>>>);
        impl std::io::Write for Written {
            fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
                self.0.lock().unwrap().extend_from_slice(bytes);
                Ok(bytes.len())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let written = Written::default();
        let writer = written.clone();
        tracing::subscriber::with_default(subscriber(Some(level), move || writer.clone()), work);
        let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn line_has_span_fields_at_top_level() {
        let lines = lines("info", || {
            let invocation = tracing::error_span!("invocation", request_id = "r1", correlation_id = "outer");
            let _invoked = invocation.enter();
            let about = span_for(Some("churn"), None, None);
            let _entered = about.enter();
            tracing::info!(violations = 3, failed = false, "before");
            record_correlation_id(None);
            record_correlation_id(Some("4bf92f3577b34da6a3ce929d0e0e4736"));
            tracing::info!(target: "functions::sweep", model = %"other", "after");
        });
        let [before, after] = &lines[..] else {
            panic!("{lines:?}")
        };
        assert_eq!(before["message"], "before");
        assert_eq!(before["level"], "INFO");
        assert_eq!(before["violations"], 3);
        assert_eq!(before["failed"], false);
        assert_eq!(before["request_id"], "r1");
        assert_eq!(before["model"], "churn");
        assert_eq!(before["correlation_id"], "outer");
        assert!(before.get("monitoring_schedule").is_none());
        assert!(before["timestamp"].as_str().unwrap().ends_with('Z'));
        assert_eq!(after["correlation_id"], "4bf92f3577b34da6a3ce929d0e0e4736");
        // Fields of the event override those of its spans.
        assert_eq!(after["model"], "other");
        assert_eq!(after["target"], "functions::sweep");
    }

    #[test]
    fn other_crates_log_warnings_only() {
        let lines = lines("debug", || {
            tracing::debug!(target: "functions::promote", "own");
            tracing::info!(target: "aws_smithy_runtime", "foreign");
            tracing::info!(target: "lambda_runtime", "foreign");
            tracing::warn!(target: "aws_smithy_runtime", "foreign warning");
        });
        let messages: Vec<_> = lines.iter().map(|line| line["message"].as_str().unwrap()).collect();
        assert_eq!(messages, ["own", "foreign warning"]);
    }

    #[test]
    fn span_exists_at_error_level() {
        let lines = lines("error", || {
            let about = span_for(None, Some("churn-data-quality"), Some("id"));
            let _entered = about.enter();
            tracing::info!("nothing");
            tracing::error!("failed");
        });
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0]["monitoring_schedule"], "churn-data-quality");
        assert_eq!(lines[0]["correlation_id"], "id");
    }
}
