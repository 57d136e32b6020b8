//! The alert window over executions, with SageMaker's rule (*Developer Guide*, page *model-dashboard-alerts*).
//!
//! After each execution, the breaching ones among the latest N (evaluation period) are counted. If there are at least M
//! (datapoints to alert), the monitor is in alert, even if there are fewer than N executions, until the count falls
//! below M. The guide does not define a failure. Here, an execution with violations breaches, a clean execution takes a
//! slot without breaching, and an execution without a result (no data, failed, missing) takes no slot.

use serde::{Deserialize, Serialize};

/// Alert status of a monitor, in the spelling of `ListMonitoringAlerts`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum AlertStatus {
    /// The number of breaching datapoints is below M.
    #[default]
    #[serde(rename = "OK")]
    Ok,
    /// The number of breaching datapoints is at least M.
    InAlert,
    /// A time window has insufficient data (CloudWatch's status; SageMaker's alert does not have it).
    #[serde(rename = "INSUFFICIENT_DATA")]
    InsufficientData,
}

impl AlertStatus {
    /// SageMaker's spelling.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::InAlert => "InAlert",
            Self::InsufficientData => "INSUFFICIENT_DATA",
        }
    }
}

/// M datapoints to alert within an evaluation period of the N latest executions, 1 ≤ M ≤ N ≤ 100.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "RawWindow", into = "RawWindow")]
pub struct ExecutionWindow {
    datapoints_to_alert: u8,
    evaluation_period: u8,
}

/// Reason why an alert window is not valid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WindowError {
    /// A number is outside SageMaker's range (*API Reference*, `UpdateMonitoringAlert`).
    #[error("{name} is {value}, but must be from 1 to 100")]
    OutOfRange {
        /// Name of the number.
        name: &'static str,
        /// The invalid value.
        value: i64,
    },
    /// M is greater than N: the monitor could never be in alert.
    #[error(
        "datapoints_to_alert ({datapoints_to_alert}) must not be greater than evaluation_period ({evaluation_period})"
    )]
    NeverAlerts {
        /// Datapoints to alert (M).
        datapoints_to_alert: u8,
        /// Evaluation period (N).
        evaluation_period: u8,
    },
    /// M is greater than N in a time window: the alarm could never be raised.
    #[error(
        "datapoints_to_alarm ({datapoints_to_alarm}) must not be greater than evaluation_periods ({evaluation_periods})"
    )]
    NeverAlarms {
        /// Datapoints to alarm (M).
        datapoints_to_alarm: usize,
        /// Evaluation periods (N).
        evaluation_periods: usize,
    },
}

#[derive(Serialize, Deserialize)]
struct RawWindow {
    datapoints_to_alert: i64,
    evaluation_period: i64,
}

impl TryFrom<RawWindow> for ExecutionWindow {
    type Error = WindowError;

    fn try_from(raw: RawWindow) -> Result<Self, WindowError> {
        Self::new(raw.datapoints_to_alert, raw.evaluation_period)
    }
}

impl From<ExecutionWindow> for RawWindow {
    fn from(window: ExecutionWindow) -> Self {
        Self {
            datapoints_to_alert: window.datapoints_to_alert.into(),
            evaluation_period: window.evaluation_period.into(),
        }
    }
}

impl Default for ExecutionWindow {
    /// 1 of 1: the first execution with violations raises the alert.
    fn default() -> Self {
        Self {
            datapoints_to_alert: 1,
            evaluation_period: 1,
        }
    }
}

impl ExecutionWindow {
    /// A window of M = `datapoints_to_alert` within N = `evaluation_period` executions.
    ///
    /// # Errors
    /// Unless 1 ≤ M ≤ N ≤ 100.
    pub fn new(datapoints_to_alert: i64, evaluation_period: i64) -> Result<Self, WindowError> {
        let in_range = |name, value: i64| match u8::try_from(value) {
            Ok(value @ 1..=100) => Ok(value),
            _ => Err(WindowError::OutOfRange { name, value }),
        };
        let datapoints_to_alert = in_range("datapoints_to_alert", datapoints_to_alert)?;
        let evaluation_period = in_range("evaluation_period", evaluation_period)?;
        if datapoints_to_alert > evaluation_period {
            return Err(WindowError::NeverAlerts {
                datapoints_to_alert,
                evaluation_period,
            });
        }
        Ok(Self {
            datapoints_to_alert,
            evaluation_period,
        })
    }

    /// Number of breaching datapoints that raise the alert (M).
    pub fn datapoints_to_alert(self) -> u8 {
        self.datapoints_to_alert
    }

    /// Number of latest executions that are evaluated (N).
    pub fn evaluation_period(self) -> u8 {
        self.evaluation_period
    }

    /// Alert status from the executions that take a slot, newest first. True stands for a breaching execution.
    pub fn judge(self, newest_first: impl Iterator<Item = bool>) -> AlertStatus {
        let latest = newest_first.take(self.evaluation_period.into());
        let breaching = latest.filter(|breaches| *breaches).count();
        if breaching >= self.datapoints_to_alert.into() {
            AlertStatus::InAlert
        } else {
            AlertStatus::Ok
        }
    }
}
