//! The alert window over executions, by SageMaker's rule (developer guide, page `model-dashboard-alerts`).
//!
//! After each execution the failures among the latest N (the evaluation period) are counted; with M (datapoints to
//! alert) or more of them the monitor is in alert, also while fewer than N executions exist, until the count falls
//! below M. What a failure is, the guide leaves open: here an execution with violations counts, a clean one takes its
//! slot without counting, and one that says nothing of the data (no data, failed, missing) takes no slot.

use serde::{Deserialize, Serialize};

/// Status of a monitor's alert, as `ListMonitoringAlerts` spells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum AlertStatus {
    /// Fewer than the datapoints to alert.
    #[default]
    #[serde(rename = "OK")]
    Ok,
    /// At least the datapoints to alert.
    InAlert,
    /// Too little to say, of a window over time (CloudWatch's word; SageMaker's own alert has no such status).
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

/// A window that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WindowError {
    /// Outside SageMaker's range (API, `UpdateMonitoringAlert`).
    #[error("{name} is {value}: it must be from 1 to 100")]
    OutOfRange {
        /// Which of the two numbers.
        name: &'static str,
        /// What was given.
        value: i64,
    },
    /// More datapoints than the window holds could never alert.
    #[error(
        "datapoints_to_alert ({datapoints_to_alert}) is more than evaluation_period ({evaluation_period}): such a monitor would never alert"
    )]
    NeverAlerts {
        /// M.
        datapoints_to_alert: u8,
        /// N.
        evaluation_period: u8,
    },
    /// The same over time.
    #[error(
        "datapoints_to_alarm ({datapoints_to_alarm}) is more than evaluation_periods ({evaluation_periods}): such an alarm would never go off"
    )]
    NeverAlarms {
        /// M.
        datapoints_to_alarm: usize,
        /// N.
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
    /// One of one: the first execution with violations alerts.
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

    /// M.
    pub fn datapoints_to_alert(self) -> u8 {
        self.datapoints_to_alert
    }

    /// N.
    pub fn evaluation_period(self) -> u8 {
        self.evaluation_period
    }

    /// Judges executions that take a slot, newest first: whether each breaches.
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
