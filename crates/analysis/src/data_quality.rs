//! Data quality: statistics of a dataset, suggested constraints, and violations of a later dataset, as Model Monitor
//! writes them.
//!
//! Sources: developer guide, pages `model-monitor-byoc-statistics`, `model-monitor-byoc-constraints`,
//! `model-monitor-interpreting-violations`; Deequ's `ColumnProfiler`, `KLLSketch`, and constraint suggestion rules.

mod check;
mod distances;
mod metrics;
mod statistics;
mod suggest;

pub use check::{ColumnDistances, ColumnDrift, DataQuality, DriftMethod, Options, check};
pub use distances::{CategoricalDistances, NumericDistances};
pub use metrics::metrics;
pub use statistics::statistics;
pub use suggest::suggest;
