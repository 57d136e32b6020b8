//! Invariants tested: those of `crates/analyzer/tests/common/invariants.rs`, for JSON Lines.

#![no_main]

#[path = "../../crates/analyzer/tests/common/invariants.rs"]
mod invariants;

use analyzer::ReadOptions;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    // Any other beginning is CSV.
    let lines = [b"{}\n", bytes].concat();
    invariants::check(&[lines], &ReadOptions::default());
});
