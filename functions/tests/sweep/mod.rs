//! Tests of sweep.

mod alarms;
mod common;
mod due;
mod fleets;
mod gone;
mod sweeps;
