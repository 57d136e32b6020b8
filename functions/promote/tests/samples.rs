//! Every sample event is taken, also where nothing is promoted.

use jiff::{SignedDuration, Timestamp};
use promote::Promote;
use shell::memory::Memory;

const EVENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../events/promote");

#[tokio::test]
async fn every_event_of_the_folder_is_taken() {
    let now = Timestamp::from_second(1_795_404_000).unwrap();
    let mut seen = 0;
    for entry in std::fs::read_dir(EVENTS).unwrap() {
        let path = entry.unwrap().path();
        let event = std::fs::read_to_string(&path).unwrap();
        let world = Memory::at(now);
        let deadline = now + SignedDuration::from_mins(1);
        let handled = Promote::default().handle(&world, &event, "request", deadline).await;
        assert!(handled.is_ok(), "{}: {handled:?}", path.display());
        // Without a policy nothing is promoted, and nothing is changed.
        let changes = ["sagemaker:Create", "sagemaker:Update", "sagemaker:Delete"];
        let calls = world.calls();
        let changed = calls
            .iter()
            .any(|call| changes.iter().any(|change| call.starts_with(change)));
        assert!(!changed, "{calls:?}");
        seen += 1;
    }
    assert!(seen >= 7, "{seen}");
}
