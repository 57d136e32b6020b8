//! Invariants tested: those of `crates/analyzer/tests/common/invariants.rs`, for Parquet files.

#![no_main]

#[path = "../../crates/analyzer/tests/common/invariants.rs"]
mod invariants;

use analyzer::ReadOptions;
use libfuzzer_sys::fuzz_target;

fuzz_target!(
    init: {
        // The parquet crate panics on some corrupt files. The reader catches these panics.
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let within = info.location().is_some_and(|at| at.file().contains("/parquet-"));
            if !within {
                hook(info);
            }
        }));
    },
    |bytes: &[u8]| {
        // Any other beginning is not Parquet.
        let file = if bytes.starts_with(b"PAR1") { bytes.to_vec() } else { [b"PAR1", bytes].concat() };
        invariants::check(&[file], &ReadOptions::default());
    }
);
