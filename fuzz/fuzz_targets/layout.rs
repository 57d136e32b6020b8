//! A key never panics, and a folder that is one gives its own keys back.
#![no_main]

use libfuzzer_sys::fuzz_target;
use model_monitor::ReportFolder;

fuzz_target!(|key: &str| {
    if let Some(folder) = ReportFolder::from_key("bucket", key, &[]) {
        assert!(folder.violation_keys().iter().any(|known| known == key));
    }
});
