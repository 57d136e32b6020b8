//! A policy never panics, and answers for any monitor.
#![no_main]

use libfuzzer_sys::fuzz_target;
use remediation::Policy;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(policy) = Policy::parse(bytes) {
        let window = policy.monitor("any").window;
        assert!(1 <= window.datapoints_to_alert() && window.datapoints_to_alert() <= window.evaluation_period());
    }
});
