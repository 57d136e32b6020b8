//! A file that can be read can be written, and reads back the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use model_monitor::{Analysis, Limits};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(parsed) = Analysis::parse("fuzz", bytes, &Limits::default()) {
        let written = serde_json::to_vec(&parsed).expect("what was read can be written");
        let again = Analysis::parse("fuzz", &written, &Limits::default()).expect("what was written can be read");
        assert_eq!(serde_json::to_vec(&again).expect("again"), written);
    }
});
