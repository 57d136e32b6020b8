//! Delivery of events to the function, as EventBridge and Lambda do it.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use functions::analyze::{Analyze, Handled};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use shell::memory::Memory;

/// Detail-type of the requests that ticks publish.
pub(crate) const REQUESTED: &str = "Monitoring Execution Requested";

/// Invokes the function with a payload. Lambda stops it after 15 minutes.
pub(crate) async fn invoke_as(
    analyze: &Analyze,
    aws: &Memory,
    payload: &str,
    request_id: &str,
) -> Result<Value, String> {
    let deadline = aws.time() + SignedDuration::from_mins(15);
    let handled = analyze.handle(aws, payload, request_id, deadline).await;
    handled
        .map(|handled: Handled| serde_json::to_value(handled).unwrap())
        .map_err(|error| error.to_string())
}

/// Invokes the function with a request.
pub(crate) async fn invoke(analyze: &Analyze, aws: &Memory, request: Value) -> Result<Value, String> {
    invoke_as(analyze, aws, &request.to_string(), "request").await
}

/// Requests for executions among the events after the first `count`, as EventBridge delivers them.
pub(crate) fn requests(aws: &Memory, count: usize) -> Vec<String> {
    let events = aws.events_after(count).into_iter();
    let requests = events.filter(|(detail_type, _)| detail_type == REQUESTED);
    requests.map(|(_, detail)| request_event(&detail)).collect()
}

/// Event with the detail of a request.
pub(crate) fn request_event(detail: &str) -> String {
    let detail: Value = serde_json::from_str(detail).unwrap();
    let event =
        json!({"version": "0", "id": "e1", "source": "driftwarden", "detail-type": REQUESTED, "detail": detail});
    event.to_string()
}

/// Runs a tick and all executions that it requests, one after another. Returns the executions.
pub(crate) async fn tick(analyze: &Analyze, aws: &Memory) -> Result<Vec<Value>, String> {
    let mut seen = aws.events().len();
    invoke(analyze, aws, json!({})).await?;
    let mut executions = Vec::new();
    loop {
        let requests = requests(aws, seen);
        seen = aws.events().len();
        if requests.is_empty() {
            return Ok(executions);
        }
        for (number, request) in requests.iter().enumerate() {
            let handled = invoke_as(analyze, aws, request, &format!("{seen}-{number}")).await?;
            executions.extend(handled["executions"].as_array().cloned().unwrap_or_default());
        }
    }
}

/// Details of the events about ended executions.
pub(crate) fn ended(aws: &Memory) -> Vec<Value> {
    let events = aws.events().into_iter();
    let ended = events.filter(|(detail_type, _)| detail_type == "Monitoring Execution State Change");
    ended
        .map(|(_, detail)| serde_json::from_str(&detail).unwrap())
        .collect()
}

/// A time.
pub(crate) fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}
