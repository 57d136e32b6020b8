//! All integration tests of the package, in one binary: each binary is linked separately.

mod analyses;
mod baselines;
mod common;
mod executions;
mod predictions;
