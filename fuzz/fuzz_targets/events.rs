//! An event never panics, and a job that claims to be a monitor's can be asked everything.
#![no_main]

use libfuzzer_sys::fuzz_target;
use model_monitor::{Detail, Event, ReportFolder};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(event) = Event::parse("fuzz", bytes) {
        match event.detail {
            Detail::ProcessingJob(job) => {
                let _ = (job.is_ground_truth_merge(), job.schedule(), job.ended_at());
                for uri in &job.outputs {
                    let _ = ReportFolder::from_uri(uri, &[]);
                }
            }
            Detail::ObjectCreated(object) => {
                let _ = ReportFolder::from_key(&object.bucket, &object.key, &["reports".to_owned()]);
            }
            _ => {}
        }
    }
});
