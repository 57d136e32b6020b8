//! Datapoints → alert window → alert state of one monitor. Pure: no AWS, no clock, no I/O.
//!
//! One monitoring execution is one [`Datapoint`] in one of five states ([`DatapointState`]). What is known of an
//! execution is [`Evidence`]: its violation report, its processing job. Evidence merges in any order and any number of
//! times to the same datapoint, and the [`ExecutionWindow`] is a pure function of the datapoints; so duplicate, late
//! and out-of-order events end in the state that the same events in order would have given.
//!
//! [`TimeWindow`] is CloudWatch's own rule, over periods instead of executions. [`MonitorRules`] say by which window a
//! monitor is judged, which violations count, and what a datapoint that says nothing of the data is taken for.
//!
//! [`MonitorLedger`] is the document that remembers a monitor: its latest datapoints, its alert state, and the effects
//! ([`MonitorEffect`]) that the last change still owes.

mod datapoint;
mod event;
mod history;
mod ledger;
mod metric;
mod rules;
mod time_window;
mod window;

pub use datapoint::{
    BRIEF_VIOLATIONS, Brief, Datapoint, DatapointState, Evidence, ExecutionEvidence, ExecutionStatus, JobEvidence,
    JobStatus, REPORTED_VIOLATIONS, ReportEvidence, ReportedViolation, ViolationFacts,
};
pub use event::{
    AlertStateChange, EVENT_SOURCE, EventDatapoint, HealthStateChange, MODEL_MONITOR_ALERT_STATE_CHANGE,
    MODEL_MONITOR_HEALTH_STATE_CHANGE, MONITORING_EXECUTION_STATE_CHANGE, MonitoringExecutionStateChange,
    execution_correlation_id,
};
pub use history::{MonitoringAlertTransition, OnlyBecause, Transition, compare};
pub use ledger::{
    Alert, AlertHistoryItem, DOCTOR_SCHEDULE, FollowedAlert, Health, HealthStatus, KEPT_DATAPOINTS, Monitor,
    MonitorEffect, MonitorLedger, Observation, Recorded,
};
pub use metric::{Metric, MetricName, Unit};
pub use rules::{
    AlertWindow, MaintenanceWindow, MonitorRules, Pattern, PeriodLength, Severity, TreatAs, Treatment, ViolationRule,
};
pub use time_window::{AlarmState, Period, TimeWindow, TreatMissingData};
pub use window::{AlertStatus, ExecutionWindow, WindowError};
