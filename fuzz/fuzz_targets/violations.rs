//! A violation report never panics, keeps what it was given, and an empty one is only one that says so.
#![no_main]

use libfuzzer_sys::fuzz_target;
use model_monitor::{Limits, ViolationReport};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(report) = ViolationReport::parse("fuzz", bytes, &Limits::default()) {
        let text = String::from_utf8_lossy(bytes);
        assert!(text.contains("violations") || text.contains("\\u"));
        for violation in &report.violations {
            let _ = format!("{} {} {:?}", violation.subject, violation.check_type, violation.observed);
        }
    }
});
