//! What would have been: a history of monitoring executions, replayed through the very code that runs in Lambda. Pure: no
//! AWS, no clock, no I/O.
//!
//! [`History`] holds executions by monitor; [`replay`] takes those of one model through ledger, window, decision and
//! lifecycle under a policy, in the order of time, and says what would have come of it: a [`ModelReport`]. [`cell`] does so
//! with another window; [`plot`] draws the trade-off between many.
//!
//! A history cannot show what a retraining would have changed: executions after it are those that were recorded. So
//! `Repaired` means that the recorded drift was over after the simulated run, and `Escalate` that it was not.

mod history;
pub mod plot;
mod replay;
mod report;

pub use history::{Execution, History, Monitor, Recorded};
pub use replay::{Assumptions, replay};
pub use report::{Cell, Comparison, Delay, ModelReport, Total, cell, compare, total};
