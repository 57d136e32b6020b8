//! Datapoints → alert window → alert state of one monitor. Pure: no AWS, no clock, no I/O.
//!
//! One monitoring execution is one [`Datapoint`] in one of five states ([`DatapointState`]). What is known of an
//! execution is [`Evidence`]: its violation report, its processing job. Evidence merges in any order and any number of
//! times to the same datapoint, and the [`ExecutionWindow`] is a pure function of the datapoints; so duplicate, late
//! and out-of-order events end in the state that the same events in order would have given.
//!
//! [`TimeWindow`] is CloudWatch's own rule, over periods instead of executions.
//!
//! [`MonitorLedger`] is the document that remembers a monitor: its latest datapoints, its alert state, and the effects
//! ([`MonitorEffect`]) that the last change still owes.

mod datapoint;
mod event;
mod ledger;
mod metric;
mod time_window;
mod window;

pub use datapoint::{
    Datapoint, DatapointState, Evidence, JobEvidence, JobStatus, REPORTED_VIOLATIONS, ReportEvidence, ReportedViolation,
};
pub use event::{AlertStateChange, EventDatapoint, MODEL_MONITOR_ALERT_STATE_CHANGE};
pub use ledger::{KEPT_DATAPOINTS, Monitor, MonitorEffect, MonitorLedger, Observation, Recorded};
pub use metric::{Metric, MetricName, Unit};
pub use time_window::{AlarmState, Period, TimeWindow, TreatMissingData};
pub use window::{AlertStatus, Evaluation, ExecutionWindow, WindowError};
