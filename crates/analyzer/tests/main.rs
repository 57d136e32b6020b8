//! All integration tests of the package, in one binary: each binary is linked separately.

mod alignment;
mod any_bytes;
mod checks;
mod common;
mod container;
mod csv;
mod jobs;
mod json;
mod parquet;
mod tolerance;
