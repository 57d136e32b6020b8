//! A hundred thousand histories hold every promise, and each planted bug is found among the first few.

use shell::memory::PlantedBug;
use simulator::{simulate, simulate_all};

/// So many histories are part of `make test`; `make simulate SEEDS=…` plays more.
const SEEDS: u64 = 100_000;

#[test]
fn a_hundred_thousand_histories_hold_every_promise() {
    let seen = simulate_all(0, SEEDS, None, |_| {})
        .map_err(|failure| failure.to_string())
        .unwrap();
    assert_eq!(seen.histories, SEEDS);
    // Trouble enough to have meant something.
    for count in [seen.crashes, seen.errors, seen.lost, seen.duplicates, seen.runs] {
        assert!(count > SEEDS / 2, "{seen}");
    }
    assert!(seen.experiments > SEEDS / 25 && seen.promoted > SEEDS / 125, "{seen}");
    assert!(seen.experiments > seen.promoted + SEEDS / 125, "{seen}");
}

#[test]
fn each_planted_bug_is_found() {
    for bug in [
        PlantedBug::DropToken,
        PlantedBug::SkipOutbox,
        PlantedBug::LooseETag,
        PlantedBug::BlindUpdate,
    ] {
        let found = simulate_all(0, 2000, Some(bug), |_| {}).unwrap_err();
        assert!(!found.story.is_empty(), "{bug:?} has a story");
        // And replays.
        let again = simulate(found.seed, Some(bug), true).unwrap_err();
        assert_eq!(again, found, "{bug:?}");
    }
}
