//! Invariant tested: no policy causes a panic, and a valid policy has settings and a description for any monitor and
//! any model.
#![no_main]

use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;
use remediation::{MonitorRef, NotificationSeverity, Policy};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(policy) = Policy::parse(bytes) {
        let any = MonitorRef {
            schedule: "any",
            endpoint: None,
            monitor_type: Some("DataQuality"),
        };
        let window = policy.monitor(&any).rules.window;
        assert!(1 <= window.datapoints_to_alert() && window.datapoints_to_alert() <= window.evaluation_period());
        for model in policy.models() {
            policy.model(model);
            policy.explain(model, &[any]);
        }
        policy.alarm("any");
        for route in policy.notifications() {
            let now = Timestamp::UNIX_EPOCH;
            let held = route.held_until(NotificationSeverity::Info, now);
            assert!(
                held.is_none_or(|until| until > now),
                "a held notification is held until a later time"
            );
        }
    }
});
