//! `simulate`: simulates seeded histories. Prints statistics, or the trace of the first history that violates an invariant.

use clap::Parser as _;
use shell::memory::PlantedBug;
use simulator::{simulate, simulate_all};
use std::{
    io::{self, IsTerminal as _, Write as _},
    process::ExitCode,
    time::Instant,
};

/// Simulate histories with failures and check the invariants
#[derive(Debug, clap::Parser)]
struct Arguments {
    /// Number of seeds
    #[arg(long, default_value_t = 100_000)]
    seeds: u64,
    /// First seed
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Simulate only this seed, and print its trace
    #[arg(long)]
    seed: Option<u64>,
    /// Plant a bug that the simulation must find
    #[arg(long)]
    plant: Option<Bug>,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Bug {
    /// Retrainings are started without an idempotency token
    DropToken,
    /// State documents are written without their outbox
    SkipOutbox,
    /// Conditional writes ignore the `ETag`
    LooseEtag,
    /// Endpoint updates are repeated without observing the endpoint
    BlindUpdate,
    /// Starts that failed are executed again later, without a check
    FrozenStart,
    /// Decisions use the facts with which an alert began
    EdgeFacts,
    /// A deleted policy counts as the default policy
    FailOpen,
    /// A sweep stops at the first unreadable document
    StopAtFirst,
    /// Each sweep begins with the same monitors
    NoRotation,
    /// A list of schedules that fails counts as empty
    RetireOnError,
    /// Fields of a newer release are dropped
    DropUnknown,
    /// A ledger that was lost continues with its old epoch
    SameEpoch,
    /// An approval counts for later decisions, too
    StaleApproval,
    /// The pause of all models is not read
    IgnorePause,
    /// The state of the fleet is not written
    SkipFleet,
}

impl From<Bug> for PlantedBug {
    fn from(bug: Bug) -> Self {
        match bug {
            Bug::DropToken => Self::DropToken,
            Bug::SkipOutbox => Self::SkipOutbox,
            Bug::LooseEtag => Self::LooseETag,
            Bug::BlindUpdate => Self::BlindUpdate,
            Bug::FrozenStart => Self::FrozenStart,
            Bug::EdgeFacts => Self::EdgeFacts,
            Bug::FailOpen => Self::FailOpen,
            Bug::StopAtFirst => Self::StopAtFirst,
            Bug::NoRotation => Self::NoRotation,
            Bug::RetireOnError => Self::RetireOnError,
            Bug::DropUnknown => Self::DropUnknown,
            Bug::SameEpoch => Self::SameEpoch,
            Bug::StaleApproval => Self::StaleApproval,
            Bug::IgnorePause => Self::IgnorePause,
            Bug::SkipFleet => Self::SkipFleet,
        }
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let bug = arguments.plant.map(PlantedBug::from);
    #[expect(clippy::disallowed_methods, reason = "the duration is shown to people only")]
    let started = Instant::now();
    let mut out = io::stdout().lock();
    let result = if let Some(seed) = arguments.seed {
        simulate(seed, bug, true)
    } else {
        let is_terminal = io::stderr().is_terminal();
        simulate_all(arguments.from, arguments.seeds, bug, |done| {
            if is_terminal {
                let _shown = write!(io::stderr(), "\r{done} of {} histories", arguments.seeds).is_ok();
            }
        })
    };
    let (text, code) = match result {
        Ok(statistics) => (
            format!(
                "{statistics}; {:.1} s; no invariant was violated",
                started.elapsed().as_secs_f64()
            ),
            ExitCode::SUCCESS,
        ),
        Err(failure) => (failure.to_string(), ExitCode::FAILURE),
    };
    match writeln!(out, "{text}") {
        Ok(()) => code,
        Err(_) => ExitCode::FAILURE,
    }
}
