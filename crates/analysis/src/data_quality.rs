//! Data quality: the statistics of a dataset, the constraints that they suggest, and what of a later dataset violates
//! them, as Model Monitor's analyzer writes it.
//!
//! Sources: developer guide, pages `model-monitor-byoc-statistics`, `model-monitor-byoc-constraints`,
//! `model-monitor-interpreting-violations`; Deequ's `ColumnProfiler`, `KLLSketch` and constraint suggestion rules.

mod check;
mod distances;
mod metrics;
mod statistics;
mod suggest;

pub use check::{ColumnDrift, DataQuality, DriftMethod, Measured, Options, check};
pub use distances::{CategoricalDistances, NumericDistances};
pub use metrics::metrics;
pub use statistics::statistics;
pub use suggest::suggest;
