//! From datasets to report files: reads CSV, JSON Lines, Parquet, captured data and ground truth, in parallel and in
//! bounded memory, and carries out the analyses of the `analysis` crate on them. Knows files and streams, no AWS.

pub mod findings;
mod ground_truth;
mod object;
mod read;
mod sink;
mod split;

pub use ground_truth::{GroundTruth, Merged};
pub use object::Object;
pub use read::{CaptureColumns, Dataset, Header, LABEL, OutputColumns, Progress, ReadError, ReadOptions, read};
pub use sink::Sink;
