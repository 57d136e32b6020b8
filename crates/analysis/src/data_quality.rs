//! Data quality: the statistics of a dataset, the constraints that they suggest, and what of a later dataset violates
//! them, as Model Monitor's analyzer writes it.
//!
//! Sources: developer guide, pages `model-monitor-byoc-statistics`, `model-monitor-byoc-constraints`,
//! `model-monitor-interpreting-violations`; Deequ's `ColumnProfiler`, `KLLSketch` and constraint suggestion rules.

//mod check;
mod statistics;
mod suggest;

//pub use check::{ColumnDrift, DataQuality, Measured, Options, check};
pub use statistics::statistics;
pub use suggest::suggest;
