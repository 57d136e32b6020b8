//! The samples of our own events are in the layout of the types, to the last field.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use promotion::{
    BaselinesCreated, EXPERIMENT_COMMAND, EXPERIMENT_OUTCOMES_REPORTED, EXPERIMENT_STATE_CHANGE, ExperimentCommand,
    ExperimentStateChange, MODEL_BASELINES_CREATED, MONITOR_BASELINE_CHANGE, MonitorBaselineChange, OutcomesReported,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

/// As the type writes it again what it read.
fn through<T: DeserializeOwned + Serialize>(detail: &Value) -> Value {
    serde_json::to_value(serde_json::from_value::<T>(detail.clone()).unwrap()).unwrap()
}

#[test]
fn the_samples_are_in_their_layout() {
    let mut seen = 0;
    for folder in ["notify", "promote", "remediate", "analyze"] {
        let folder = format!("{}/../../events/{folder}", env!("CARGO_MANIFEST_DIR"));
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let event: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
            let (Some(detail_type), detail) = (event["detail-type"].as_str(), &event["detail"]) else {
                continue;
            };
            let again = match detail_type {
                EXPERIMENT_STATE_CHANGE => through::<ExperimentStateChange>(detail),
                EXPERIMENT_COMMAND => through::<ExperimentCommand>(detail),
                EXPERIMENT_OUTCOMES_REPORTED => through::<OutcomesReported>(detail),
                MODEL_BASELINES_CREATED => through::<BaselinesCreated>(detail),
                MONITOR_BASELINE_CHANGE => through::<MonitorBaselineChange>(detail),
                _ => continue,
            };
            seen += 1;
            assert!(again == *detail, "{}: {again:#}", path.display());
        }
    }
    assert!(seen >= 15, "{seen}");
}
