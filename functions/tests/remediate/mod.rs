//! Tests of remediate.

mod alarms;
mod bursts;
mod incidents;
mod starts;
