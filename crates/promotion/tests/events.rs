//! The samples of Driftwarden's events have exactly the fields of the event types.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use promotion::{
    BaselinesCreated, EXPERIMENT_COMMAND, EXPERIMENT_OUTCOMES_REPORTED, EXPERIMENT_STATE_CHANGE, ExperimentCommand,
    ExperimentStateChange, MODEL_BASELINES_CREATED, MONITOR_BASELINE_CHANGE, MonitorBaselineChange, OutcomesReported,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

/// Deserializes and serializes a detail.
fn round_trip<T: DeserializeOwned + Serialize>(detail: &Value) -> Value {
    serde_json::to_value(serde_json::from_value::<T>(detail.clone()).unwrap()).unwrap()
}

#[test]
fn samples_match_event_types() {
    let mut seen = 0;
    for folder in ["notify", "promote", "remediate", "analyze"] {
        let folder = format!("{}/../../events/{folder}", env!("CARGO_MANIFEST_DIR"));
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let event: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
            let (Some(detail_type), detail) = (event["detail-type"].as_str(), &event["detail"]) else {
                continue;
            };
            let written = match detail_type {
                EXPERIMENT_STATE_CHANGE => round_trip::<ExperimentStateChange>(detail),
                EXPERIMENT_COMMAND => round_trip::<ExperimentCommand>(detail),
                EXPERIMENT_OUTCOMES_REPORTED => round_trip::<OutcomesReported>(detail),
                MODEL_BASELINES_CREATED => round_trip::<BaselinesCreated>(detail),
                MONITOR_BASELINE_CHANGE => round_trip::<MonitorBaselineChange>(detail),
                _ => continue,
            };
            seen += 1;
            assert!(written == *detail, "{}: {written:#}", path.display());
        }
    }
    assert!(seen >= 15, "{seen}");
}
