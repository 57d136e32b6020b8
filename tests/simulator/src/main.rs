//! `simulate`: plays seeded histories and says what it saw, or the story of the first that broke a promise.

use clap::Parser as _;
use shell::memory::PlantedBug;
use simulator::{simulate, simulate_all};
use std::{
    io::{self, IsTerminal as _, Write as _},
    process::ExitCode,
    time::Instant,
};

/// Plays seeded histories of the whole loop under every kind of trouble, and checks what must always hold.
#[derive(Debug, clap::Parser)]
struct Arguments {
    /// How many seeds.
    #[arg(long, default_value_t = 100_000)]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Plays this one seed alone and tells its story.
    #[arg(long)]
    seed: Option<u64>,
    /// Plants a bug on purpose, which should be found.
    #[arg(long)]
    plant: Option<Bug>,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Bug {
    /// Starts are made without their token.
    DropToken,
    /// Documents are written without their outbox.
    SkipOutbox,
    /// Conditional writes look at no `ETag`.
    LooseEtag,
    /// Updates of an endpoint are carried out once more, without a look.
    BlindUpdate,
}

impl From<Bug> for PlantedBug {
    fn from(bug: Bug) -> Self {
        match bug {
            Bug::DropToken => Self::DropToken,
            Bug::SkipOutbox => Self::SkipOutbox,
            Bug::LooseEtag => Self::LooseETag,
            Bug::BlindUpdate => Self::BlindUpdate,
        }
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let bug = arguments.plant.map(PlantedBug::from);
    #[expect(clippy::disallowed_methods, reason = "how long it took is for people only")]
    let began = Instant::now();
    let mut out = io::stdout().lock();
    let result = if let Some(seed) = arguments.seed {
        simulate(seed, bug, true)
    } else {
        let watched = io::stderr().is_terminal();
        simulate_all(arguments.from, arguments.seeds, bug, |done| {
            if watched {
                let _shown = write!(io::stderr(), "\r{done} of {} histories", arguments.seeds).is_ok();
            }
        })
    };
    let (text, code) = match result {
        Ok(statistics) => (
            format!(
                "{statistics}; {:.1} s; every promise held",
                began.elapsed().as_secs_f64()
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
