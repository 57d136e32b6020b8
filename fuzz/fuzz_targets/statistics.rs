//! Invariants tested:
//!
//! - no bytes cause a panic in the parser, or in the display of its errors;
//! - a parsed file is written in the same layout: parsing the output gives the same value.

#![no_main]

use libfuzzer_sys::fuzz_target;
use model_monitor::{Limits, Statistics};

fuzz_target!(
    |bytes: &[u8]| match Statistics::parse("statistics.json", bytes, &Limits::default()) {
        Ok(read) => {
            let _: usize = read.metrics().count();
            let written = serde_json::to_vec(&read).unwrap();
            let limits = Limits {
                max_bytes: usize::MAX,
                max_values: usize::MAX,
                ..Limits::default()
            };
            let again = Statistics::parse("statistics.json", &written, &limits).unwrap();
            // As strings, because NaN equals nothing.
            assert_eq!(format!("{read:?}"), format!("{again:?}"));
        }
        Err(error) => assert!(error.to_string().contains("`statistics.json`")),
    }
);
