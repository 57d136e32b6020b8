#![doc = include_str!("../README.md")]

pub mod container;
mod description;
pub mod findings;
mod ground_truth;
pub mod job;
mod labels;
mod object;
mod read;
mod report;
mod sink;
mod split;
mod table;

pub use description::{Description, describe};
pub use labels::{GroundTruth, MatchCounts};
pub use object::Object;
pub use read::{CaptureColumns, Dataset, Header, LABEL, OutputColumns, ReadError, ReadOptions, read};
pub use report::{NO_DATA, Outcome, Report, ReportFile};
pub use sink::{IGNORED_COLUMN, Sink};
pub use table::{Cell, Column, MAX_CELLS, Table};
