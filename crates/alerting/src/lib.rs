#![doc = include_str!("../README.md")]

mod datapoint;
mod event;
mod history;
mod ledger;
mod level;
mod metric;
mod past;
mod rules;
mod time_window;
mod window;

pub use datapoint::{
    Datapoint, DatapointState, Evidence, ExecutionEvidence, ExecutionStatus, JobEvidence, JobStatus, MAX_AHEAD,
    REPORTED_VIOLATIONS, ReportEvidence, ReportJudgment, ReportedViolation, SUMMARIZED_VIOLATIONS, ViolationFacts,
    ViolationSummary, is_ahead,
};
pub use event::{
    AlertPosition, AlertStateChange, EVENT_SOURCE, EventDatapoint, HealthStateChange, MODEL_MONITOR_ALERT_STATE_CHANGE,
    MODEL_MONITOR_HEALTH_STATE_CHANGE, MODEL_MONITOR_LEVEL_CHANGE, MONITOR_DATAPOINT_DROP,
    MONITORING_EXECUTION_REQUESTED, MONITORING_EXECUTION_STATE_CHANGE, MonitorDatapointDrop,
    MonitoringExecutionRequested, MonitoringExecutionStateChange, execution_correlation_id,
};
pub use history::{MismatchReason, MonitoringAlertTransition, Transition, compare};
pub use ledger::{
    Alert, AlertHistoryItem, DOCTOR_SCHEDULE, DropOutcome, DroppedDatapoint, FollowedAlert, Health, HealthStatus,
    MAX_DATAPOINTS, MAX_LEDGER_BYTES, Monitor, MonitorEffect, MonitorLedger, Observation, Recorded,
};
pub use level::Level;
pub use metric::{Metric, MetricName, Unit};
pub use past::PastResults;
pub use rules::{
    AlertWindow, MaintenanceWindow, MonitorRules, Pattern, PeriodLength, Severity, TreatAs, Treatment, ViolationRule,
};
pub use time_window::{AlarmState, Period, TimeWindow, TreatMissingData};
pub use window::{AlertStatus, ExecutionWindow, WindowError};
