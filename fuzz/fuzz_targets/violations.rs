//! Invariants tested:
//!
//! - no bytes cause a panic in the parser of violation reports, or in the methods of a parsed report;
//! - the wording of every description stays unchanged;
//! - a report with a violation never parses as a report without violations;
//! - no prefix of a valid report is a valid report.

#![no_main]

use libfuzzer_sys::fuzz_target;
use model_monitor::{Limits, ViolationReport};
use serde_json::Value;

fuzz_target!(|bytes: &[u8]| {
    let limits = Limits::default();
    let report = match ViolationReport::parse("report", bytes, &limits) {
        Ok(report) => report,
        Err(error) => {
            assert!(error.to_string().contains("`report`"));
            return;
        }
    };
    for violation in &report.violations {
        assert!(violation.drift().is_none_or(|drift| !drift.is_nan()));
        serde_json::to_string(&violation.observed).unwrap();
        serde_json::to_string(&violation.threshold).unwrap();
    }
    if let Ok(Value::Object(raw)) = serde_json::from_slice(bytes) {
        let raw = raw["violations"].as_array().unwrap();
        assert_eq!(raw.len(), report.violations.len());
        for (raw, violation) in raw.iter().zip(&report.violations) {
            if let Some(words) = raw["description"].as_str() {
                assert_eq!(violation.description.as_deref(), Some(words));
            }
        }
    }
    let end = bytes.iter().rposition(|byte| *byte == b'}').unwrap();
    for cut in [end / 3, end / 2, end] {
        assert!(ViolationReport::parse("report", &bytes[..cut], &limits).is_err());
    }
});
