//! Tests of remediate.

mod alarms;
mod incidents;
