//! Invariants tested:
//!
//! - no bytes cause a panic in the parser, or in the display of its errors;
//! - a parsed file is written in the same layout: parsing the output gives the same value.

#![no_main]

use libfuzzer_sys::fuzz_target;
use model_monitor::{Analysis, Limits};

fuzz_target!(
    |bytes: &[u8]| match Analysis::parse("analysis.json", bytes, &Limits::default()) {
        Ok(read) => {
            let _: Option<f64> = read.bias_metric("facet", "1", "CI");
            let written = serde_json::to_vec(&read).unwrap();
            let limits = Limits {
                max_bytes: usize::MAX,
                max_values: usize::MAX,
                ..Limits::default()
            };
            let again = Analysis::parse("analysis.json", &written, &limits).unwrap();
            // As strings, because NaN equals nothing.
            assert_eq!(format!("{read:?}"), format!("{again:?}"));
        }
        Err(error) => assert!(error.to_string().contains("`analysis.json`")),
    }
);
