//! Tests of promote.

mod candidates;
mod samples;
