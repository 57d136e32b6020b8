//! Log lines of a function: JSON, one object per line.

use serde_json::{Map, Value};
use shell::chain;
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

/// Whose lines are wanted at the function's level. Of all others only warnings: the SDK and the HTTP stack speak of payloads at
/// debug level. Names match by prefix: `aws` would let the lines of `aws_smithy_runtime` through.
const OURS: [&str; 10] = [
    "analyze",
    "dashboard",
    "driftwarden_aws",
    "driftwarden_lambda",
    "ingest",
    "notify",
    "promote",
    "remediate",
    "shell",
    "sweep",
];

/// Starts logging: one JSON object a line, at the level that Lambda's `AWS_LAMBDA_LOG_LEVEL` says (default `info`).
pub(crate) fn init(level: Option<&str>) {
    // A second call, in tests, keeps the first subscriber.
    if tracing::subscriber::set_global_default(subscriber(level, std::io::stdout)).is_err() {
        tracing::debug!("logging had been started before");
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
    let ours: String = OURS.map(|name| format!(",{name}={level}")).concat();
    tracing_subscriber::fmt()
        .fmt_fields(JsonFields::new())
        .event_format(Lines)
        .with_env_filter(EnvFilter::new(format!("warn{ours}")))
        .with_writer(writer)
        .finish()
}

/// A line: the event's own fields and those of the spans that it is in, all at the top, where Logs Insights finds them by their
/// names (`filter correlation_id = "…"`). The inner ones win.
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
        #[expect(clippy::disallowed_methods, reason = "a line says when it was written")]
        let now = jiff::Timestamp::now();
        let own = [
            ("timestamp", format!("{now:.6}")),
            ("level", metadata.level().to_string()),
            ("target", metadata.target().to_owned()),
        ];
        let own = own
            .into_iter()
            .map(|(name, value)| (name.to_owned(), Value::from(value)));
        line.0.extend(own);
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

/// A function that cannot start says why, once, and ends: Lambda shows it as an error of the initialisation.
pub(crate) fn cannot_start(error: &(dyn std::error::Error + 'static)) -> ExitCode {
    tracing::error!(error = %chain(error), "the function cannot start");
    ExitCode::FAILURE
}

/// The end of the runtime's loop: it only ends when the Runtime API is gone.
pub(crate) fn ended(result: Result<(), lambda_runtime::Error>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = %error, "the runtime ended");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shell::telemetry::{about, correlated};
    use std::sync::{Arc, Mutex};

    /// The lines that some work writes.
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
    fn a_line_has_what_it_is_about_at_its_top() {
        let lines = lines("info", || {
            let invocation = tracing::error_span!("invocation", request_id = "r1", correlation_id = "outer");
            let _invoked = invocation.enter();
            let about = about(Some("churn"), None, None);
            let _entered = about.enter();
            tracing::info!(violations = 3, failed = false, "before");
            correlated(None);
            correlated(Some("4bf92f3577b34da6a3ce929d0e0e4736"));
            tracing::info!(target: "sweep", model = %"other", "after");
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
        // What the line itself says wins.
        assert_eq!(after["model"], "other");
        assert_eq!(after["target"], "sweep");
    }

    #[test]
    fn ours_are_heard_at_their_level_and_the_sdk_only_when_it_warns() {
        let lines = lines("debug", || {
            tracing::debug!(target: "promote", "ours");
            tracing::info!(target: "aws_smithy_runtime", "theirs");
            tracing::info!(target: "lambda_runtime", "theirs");
            tracing::warn!(target: "aws_smithy_runtime", "theirs, and grave");
        });
        let heard: Vec<_> = lines.iter().map(|line| line["message"].as_str().unwrap()).collect();
        assert_eq!(heard, ["ours", "theirs, and grave"]);
    }

    #[test]
    fn a_span_is_there_also_where_only_errors_are_written() {
        let lines = lines("error", || {
            let about = about(None, Some("churn-data-quality"), Some("id"));
            let _entered = about.enter();
            tracing::info!("nothing");
            tracing::error!("failed");
        });
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0]["monitoring_schedule"], "churn-data-quality");
        assert_eq!(lines[0]["correlation_id"], "id");
    }
}
