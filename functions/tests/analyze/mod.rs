//! Tests of analyze.

mod analyses;
mod baselines;
mod common;
mod executions;
mod predictions;
