//! Invariants tested:
//!
//! - no bytes cause a panic in the parser of events, or in the methods of a parsed event;
//! - an exit message that does not begin with `CompletedWithViolations` has no violations.

#![no_main]

use libfuzzer_sys::fuzz_target;
use model_monitor::{Detail, Event, ExitMessage, ReportFolder};

fuzz_target!(|bytes: &[u8]| {
    match Event::parse("event", bytes) {
        Ok(event) => match event.detail {
            Detail::ProcessingJob(job) => {
                let _: bool = job.is_ground_truth_merge();
                let _: (Option<_>, Option<_>, Option<_>) = (job.schedule(), job.scheduled_time(), job.ended_at());
                for uri in &job.outputs {
                    let _: Option<ReportFolder> = ReportFolder::from_uri(uri, &[]);
                }
                let text = job.exit_message.unwrap_or_default();
                if let ExitMessage::CompletedWithViolations { .. } = ExitMessage::parse(&text) {
                    assert!(text.trim_start().starts_with("CompletedWithViolations"));
                }
            }
            Detail::ObjectCreated(object) => {
                let _: Option<ReportFolder> = ReportFolder::from_key(&object.bucket, &object.key, &[]);
            }
            _ => {}
        },
        Err(error) => assert!(error.to_string().contains("`event`")),
    }
});
