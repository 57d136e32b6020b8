//! Spans that add model, schedule, and correlation ID to log lines.

use tracing::Span;

/// Span around the processing of one item. Its fields are on every log line. A correlation ID that is not known yet can be
/// recorded later ([`record_correlation_id`]).
pub fn span_for(model: Option<&str>, monitoring_schedule: Option<&str>, correlation_id: Option<&str>) -> Span {
    // At the error level: the span must exist at every log level.
    tracing::error_span!("about", model, monitoring_schedule, correlation_id)
}

/// Records the correlation ID in the current span, which [`span_for`] created.
pub fn record_correlation_id(correlation_id: Option<&str>) {
    if let Some(id) = correlation_id {
        Span::current().record("correlation_id", id);
    }
}
