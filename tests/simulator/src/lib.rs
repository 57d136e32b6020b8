#![doc = include_str!("../README.md")]

mod agreement;
mod candidates;
mod history;
mod world;

pub use agreement::r11_backtest_agrees;
pub use history::{Failure, Statistics, TroubleCounts, simulate};

use shell::memory::PlantedBug;
use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

/// Simulates `count` seeds, starting at `first`, on all cores. Stops at the first failure. After every 1,000 seeds, `progress`
/// gets the number of finished seeds.
///
/// # Errors
/// The failure with the lowest seed that was found, with its trace.
pub fn simulate_all(
    first: u64,
    count: u64,
    bug: Option<PlantedBug>,
    progress: impl Fn(u64) + Sync,
) -> Result<Statistics, Failure> {
    let next = AtomicU64::new(0);
    let stop = AtomicBool::new(false);
    let total = Mutex::new(Statistics::default());
    let failed: Mutex<Option<Failure>> = Mutex::new(None);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                let mut own = Statistics::default();
                while !stop.load(Ordering::Relaxed) {
                    let done = next.fetch_add(1, Ordering::Relaxed);
                    if done >= count {
                        break;
                    }
                    match simulate(first + done, bug, false) {
                        Ok(statistics) => own.add(&statistics),
                        Err(failure) => {
                            stop.store(true, Ordering::Relaxed);
                            let mut failed = failed.lock().unwrap_or_else(PoisonError::into_inner);
                            if failed.as_ref().is_none_or(|known| failure.seed < known.seed) {
                                *failed = Some(failure);
                            }
                        }
                    }
                    if done % 1000 == 999 {
                        progress(done + 1);
                    }
                }
                total.lock().unwrap_or_else(PoisonError::into_inner).add(&own);
            });
        }
    });
    match failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
        None => Ok(total.into_inner().unwrap_or_else(PoisonError::into_inner)),
        // Simulate the seed again to record its trace.
        Some(failure) => Err(simulate(failure.seed, bug, true).err().unwrap_or(failure)),
    }
}
