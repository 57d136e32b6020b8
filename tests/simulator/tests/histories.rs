//! No history violates an invariant, and each planted bug is found.

use remediation::{Cause, Stage, TRANSITIONS};
use shell::memory::PlantedBug;
use simulator::{TroubleCounts, r11_backtest_agrees, simulate, simulate_all};

/// Number of histories, unless the environment variable `SIMULATOR_SEEDS` is set (at least 1,000).
const SEEDS: u64 = 4000;

#[test]
fn backtest_makes_the_decisions_of_the_functions() {
    for seed in 0..100 {
        let difference = r11_backtest_agrees(seed).err();
        assert_eq!(difference, None, "{}", difference.as_deref().unwrap_or_default());
    }
}

#[test]
fn histories_violate_no_invariant() {
    #[expect(clippy::disallowed_methods, reason = "a test reads its size from the environment")]
    let seeds = std::env::var("SIMULATOR_SEEDS").ok();
    let seeds = seeds.map_or(Ok(SEEDS), |seeds| seeds.parse());
    let seeds = seeds.expect("SIMULATOR_SEEDS must be a number of histories").max(1000);
    let statistics = simulate_all(0, seeds, None, |_| {})
        .map_err(|failure| failure.to_string())
        .unwrap();
    assert_eq!(statistics.histories, seeds);
    // Failures are frequent enough for the test to be meaningful.
    let failures = [
        statistics.crashes,
        statistics.errors,
        statistics.lost,
        statistics.duplicates,
    ];
    for count in failures.into_iter().chain([statistics.executions]) {
        assert!(count > seeds / 2, "{statistics}");
    }
    assert!(statistics.experiments > seeds / 25, "{statistics}");
    assert!(statistics.promoted > seeds / 125, "{statistics}");
    assert!(
        statistics.experiments > statistics.promoted + seeds / 125,
        "{statistics}"
    );
    assert_troubles(&statistics.troubles, seeds);
    if seeds >= SEEDS {
        assert_transitions(statistics.transitions);
    }
}

/// Troubles are frequent enough for the invariants to be meaningful.
fn assert_troubles(troubles: &TroubleCounts, seeds: u64) {
    let TroubleCounts { histories, .. } = *troubles;
    assert!(histories > seeds / 6, "{troubles}");
    for (count, interval) in [
        (troubles.twins, 16),
        (troubles.fleets, 32),
        (troubles.commands, 1),
        (troubles.accepted, 3),
        (troubles.refused, 12),
        (troubles.held_by_fleet, 16),
        (troubles.disturbed_runs, 8),
        (troubles.deleted_schedules, 8),
        (troubles.retired, 16),
        (troubles.unreadable, 16),
        (troubles.resolved, 4),
    ] {
        assert!(count > histories / interval, "{count} of {histories}: {troubles}");
    }
}

/// Transitions that these histories need not take: operators resolve no incident with a candidate, and hardly ever one whose start is
/// pending, and no pipeline execution is seen after its start was withdrawn. The tests of the lifecycle take all of them.
const NOT_TAKEN: [(Stage, Cause); 6] = [
    (Stage::Starting, Cause::Resolved),
    (Stage::Deciding, Cause::RunSeen),
    (Stage::AwaitingApproval, Cause::RunSeen),
    (Stage::Holding, Cause::RunSeen),
    (Stage::AwaitingData, Cause::RunSeen),
    (Stage::Candidate, Cause::Resolved),
];

/// Every other transition of stages was taken.
fn assert_transitions(taken: u64) {
    let rows = TRANSITIONS.iter().enumerate();
    let rows = rows.filter(|(_, (from, cause, _))| !NOT_TAKEN.contains(&(*from, *cause)));
    let missing: Vec<_> = rows
        .filter(|(at, _)| taken & (1 << at) == 0)
        .map(|(_, row)| row)
        .collect();
    assert!(missing.is_empty(), "never taken: {missing:?}");
}

#[test]
fn each_planted_bug_is_found() {
    // Each bug is searched from the seed beside it: rare ones would take minutes from the first seed.
    for (bug, from) in [
        (PlantedBug::DropToken, 0),
        (PlantedBug::SkipOutbox, 0),
        (PlantedBug::LooseETag, 0),
        (PlantedBug::BlindUpdate, 100),
        (PlantedBug::FrozenStart, 1_700),
        (PlantedBug::EdgeFacts, 200),
        (PlantedBug::FailOpen, 0),
        (PlantedBug::StopAtFirst, 0),
        (PlantedBug::NoRotation, 0),
        (PlantedBug::RetireOnError, 300),
        (PlantedBug::DropUnknown, 0),
        (PlantedBug::SameEpoch, 300),
        (PlantedBug::StaleApproval, 1_900),
        (PlantedBug::IgnorePause, 100),
        (PlantedBug::SkipFleet, 0),
    ] {
        let found = simulate_all(from, 4000, Some(bug), |_| {}).unwrap_err();
        assert!(!found.trace.is_empty(), "{bug:?} has a trace");
        // The seed reproduces the failure.
        let again = simulate(found.seed, Some(bug), true).unwrap_err();
        assert_eq!(again, found, "{bug:?}");
        // Without the bug, the seed passes.
        let without = simulate(found.seed, None, false).err();
        assert_eq!(without, None, "{bug:?}");
    }
}
