//! Tests of sweep.

mod common;
mod due;
mod fleets;
mod sweeps;
