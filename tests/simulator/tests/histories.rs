//! Every history keeps every promise, and each planted bug is found among the first few.

use shell::memory::PlantedBug;
use simulator::{simulate, simulate_all};

/// Number of histories, unless the environment variable `SIMULATOR_SEEDS` says otherwise. `make simulate SEEDS=…` plays more.
const SEEDS: u64 = 10_000;

#[test]
fn every_history_keeps_every_promise() {
    #[expect(
        clippy::disallowed_methods,
        reason = "the size of a test is a setting of who runs it"
    )]
    let seeds = std::env::var("SIMULATOR_SEEDS").ok();
    let seeds = seeds.map_or(Ok(SEEDS), |seeds| seeds.parse());
    let seeds = seeds
        .expect("SIMULATOR_SEEDS is a number of histories, at least 1000")
        .max(1000);
    let seen = simulate_all(0, seeds, None, |_| {})
        .map_err(|failure| failure.to_string())
        .unwrap();
    assert_eq!(seen.histories, seeds);
    // Trouble enough to have meant something.
    for count in [seen.crashes, seen.errors, seen.lost, seen.duplicates, seen.runs] {
        assert!(count > seeds / 2, "{seen}");
    }
    assert!(seen.experiments > seeds / 25 && seen.promoted > seeds / 125, "{seen}");
    assert!(seen.experiments > seen.promoted + seeds / 125, "{seen}");
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
