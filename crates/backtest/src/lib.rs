#![doc = include_str!("../README.md")]

mod history;
pub mod plot;
mod replay;
mod report;

pub use history::{Execution, History, Monitor, Recorded};
pub use replay::{Assumptions, replay};
pub use report::{Cell, Comparison, Delay, ModelReport, Total, cell, compare, total};
