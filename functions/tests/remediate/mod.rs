//! Tests of remediate.

mod incidents;
