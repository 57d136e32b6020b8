#![doc = include_str!("../README.md")]

mod datapoint;
mod event;
mod history;
mod ledger;
mod metric;
mod rules;
mod time_window;
mod window;

pub use datapoint::{
    Datapoint, DatapointState, Evidence, ExecutionEvidence, ExecutionStatus, JobEvidence, JobStatus,
    REPORTED_VIOLATIONS, ReportEvidence, ReportedViolation, SUMMARIZED_VIOLATIONS, ViolationFacts, ViolationSummary,
};
pub use event::{
    AlertStateChange, EVENT_SOURCE, EventDatapoint, HealthStateChange, MODEL_MONITOR_ALERT_STATE_CHANGE,
    MODEL_MONITOR_HEALTH_STATE_CHANGE, MONITORING_EXECUTION_REQUESTED, MONITORING_EXECUTION_STATE_CHANGE,
    MonitoringExecutionRequested, MonitoringExecutionStateChange, execution_correlation_id,
};
pub use history::{MismatchReason, MonitoringAlertTransition, Transition, compare};
pub use ledger::{
    Alert, AlertHistoryItem, DOCTOR_SCHEDULE, FollowedAlert, Health, HealthStatus, MAX_DATAPOINTS, Monitor,
    MonitorEffect, MonitorLedger, Observation, Recorded,
};
pub use metric::{Metric, MetricName, Unit};
pub use rules::{
    AlertWindow, MaintenanceWindow, MonitorRules, Pattern, PeriodLength, Severity, TreatAs, Treatment, ViolationRule,
};
pub use time_window::{AlarmState, Period, TimeWindow, TreatMissingData};
pub use window::{AlertStatus, ExecutionWindow, WindowError};
