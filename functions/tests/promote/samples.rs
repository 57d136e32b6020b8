//! Every sample event is handled, even without promotion in the policy.

use functions::promote::Promote;
use jiff::{SignedDuration, Timestamp};
use shell::memory::Memory;

const EVENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../events/promote");

#[tokio::test]
async fn sample_events_are_handled() {
    let now = Timestamp::from_second(1_795_404_000).unwrap();
    let mut seen = 0;
    for entry in std::fs::read_dir(EVENTS).unwrap() {
        let path = entry.unwrap().path();
        let event = std::fs::read_to_string(&path).unwrap();
        let aws = Memory::at(now);
        let deadline = now + SignedDuration::from_mins(1);
        let handled = Promote::default().handle(&aws, &event, "request", deadline).await;
        assert!(handled.is_ok(), "{}: {handled:?}", path.display());
        // Without a policy there is no promotion, and nothing is changed in SageMaker.
        let writes = ["sagemaker:Create", "sagemaker:Update", "sagemaker:Delete"];
        let calls = aws.calls();
        let changed = calls
            .iter()
            .any(|call| writes.iter().any(|write| call.starts_with(write)));
        assert!(!changed, "{calls:?}");
        seen += 1;
    }
    assert!(seen >= 7, "{seen}");
}
