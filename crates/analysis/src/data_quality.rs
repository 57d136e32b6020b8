//! Data quality: statistics of a dataset, suggested constraints, and violations of a later dataset, as Model Monitor
//! writes them.
//!
//! Sources: developer guide, pages `model-monitor-byoc-statistics`, `model-monitor-byoc-constraints`,
//! `model-monitor-interpreting-violations`; Deequ's `ColumnProfiler`, `KLLSketch`, and constraint suggestion rules.

mod check;
mod distances;
mod drift;
mod metrics;
mod statistics;
mod suggest;

pub use check::{Baseline, DataQuality, Options, check, check_settings};
pub use distances::{CategoricalDistances, NumericDistances};
pub use drift::{ColumnDistances, ColumnDrift, DriftMethod};
pub use metrics::metrics;
pub use statistics::statistics;
pub use suggest::{TolerantSuggestion, keep_edits, suggest, suggest_with_tolerance};
