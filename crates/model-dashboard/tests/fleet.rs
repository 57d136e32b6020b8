//! Pages of a fleet: what they say, how large they are, and that they are well-formed whatever is in the documents.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{Story, fleet, overview};

#[test]
fn a_model_that_was_repaired_says_so() {
    let fleet = fleet(10);
    let repaired = fleet.iter().find(|fixture| fixture.story == Story::Repaired).unwrap();
    let summary = repaired.summary();
    assert_eq!(summary.retraining.unwrap().helped, Some(true));
    let page = repaired.page();
    assert!(page.contains("it helped"), "the page says that the retraining helped");
    assert!(page.contains("2 of 3") && page.contains("total_day_minutes"));
}
