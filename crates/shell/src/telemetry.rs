//! Spans that say what log lines are about.

use tracing::Span;

/// A span around the handling of one thing: its lines say what they are about. What is not known yet can be noted
/// later ([`correlated`]).
pub fn about(model: Option<&str>, monitoring_schedule: Option<&str>, correlation_id: Option<&str>) -> Span {
    // At the gravest level, so that it is there at whatever level lines are written.
    tracing::error_span!("about", model, monitoring_schedule, correlation_id)
}

/// Notes, once it is known, the correlation id of what is being handled in the span of [`about`].
pub fn correlated(correlation_id: Option<&str>) {
    if let Some(id) = correlation_id {
        Span::current().record("correlation_id", id);
    }
}
