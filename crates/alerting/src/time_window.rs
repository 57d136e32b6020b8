//! The alert window over time, with CloudWatch's rule (*User Guide*, pages *Configuring how CloudWatch alarms treat
//! missing data* and *Alarm evaluation window*).
//!
//! Each period is breaching, is not breaching, or has no datapoint. The evaluation range has more than the N evaluation
//! periods. If it has at least N datapoints, the newest N are evaluated. If it has fewer, all of them are evaluated,
//! and the missing ones up to N are treated by [`TreatMissingData`]. CloudWatch's window is at most a week long. This
//! one is as long as a ledger remembers, so it supports weekly and monthly monitors: see
//! [`PeriodLength::max_evaluation_range`](crate::PeriodLength::max_evaluation_range).

use crate::WindowError;
use serde::{Deserialize, Serialize};

/// One period.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Period {
    /// The datapoint is breaching.
    Breaching,
    /// The datapoint is not breaching.
    NotBreaching,
    /// The period has no datapoint.
    Missing,
}

impl Period {
    /// The worse of two results in the same period.
    pub(crate) fn worst(self, other: Self) -> Self {
        match (self, other) {
            (Self::Breaching, _) | (_, Self::Breaching) => Self::Breaching,
            (Self::NotBreaching, _) | (_, Self::NotBreaching) => Self::NotBreaching,
            (Self::Missing, Self::Missing) => Self::Missing,
        }
    }
}

/// Treatment of periods without a datapoint, like `TreatMissingData` of a CloudWatch alarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum TreatMissingData {
    /// Missing periods are left out. If all are missing, the status is `INSUFFICIENT_DATA`. CloudWatch's default.
    #[default]
    #[serde(rename = "missing")]
    Missing,
    /// Missing periods are left out. If all are missing, the status does not change.
    #[serde(rename = "ignore")]
    Ignore,
    /// Missing periods are breaching.
    #[serde(rename = "breaching")]
    Breaching,
    /// Missing periods are not breaching.
    #[serde(rename = "notBreaching")]
    NotBreaching,
}

impl TreatMissingData {
    /// CloudWatch's spelling.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Ignore => "ignore",
            Self::Breaching => "breaching",
            Self::NotBreaching => "notBreaching",
        }
    }
}

/// Alarm state, in CloudWatch's spelling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum AlarmState {
    /// The number of breaching datapoints is below M.
    #[serde(rename = "OK")]
    Ok,
    /// The number of breaching datapoints is at least M.
    #[serde(rename = "ALARM")]
    Alarm,
    /// There are not enough datapoints. The initial state.
    #[default]
    #[serde(rename = "INSUFFICIENT_DATA")]
    InsufficientData,
}

/// M datapoints to alarm within N evaluation periods, 1 ≤ M ≤ N ≤ 100.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeWindow {
    datapoints_to_alarm: usize,
    evaluation_periods: usize,
    evaluation_range: usize,
    treat_missing_data: TreatMissingData,
}

impl TimeWindow {
    /// A window of M = `datapoints_to_alarm` within N = `evaluation_periods`.
    ///
    /// The evaluation range is N + 2 periods. This is an assumption: CloudWatch documents only a range of 5 for N = 3.
    /// [`TimeWindow::with_evaluation_range`] sets another range.
    ///
    /// # Errors
    /// Unless 1 ≤ M ≤ N ≤ 100.
    pub fn new(
        datapoints_to_alarm: i64,
        evaluation_periods: i64,
        treat_missing_data: TreatMissingData,
    ) -> Result<Self, WindowError> {
        let in_range = |name, value: i64| match usize::try_from(value) {
            Ok(value @ 1..=100) => Ok(value),
            _ => Err(WindowError::OutOfRange { name, value }),
        };
        let m = in_range("datapoints_to_alarm", datapoints_to_alarm)?;
        let n = in_range("evaluation_periods", evaluation_periods)?;
        if m > n {
            return Err(WindowError::NeverAlarms {
                datapoints_to_alarm: m,
                evaluation_periods: n,
            });
        }
        Ok(Self {
            datapoints_to_alarm: m,
            evaluation_periods: n,
            evaluation_range: n + 2,
            treat_missing_data,
        })
    }

    /// The same window with a different evaluation range, at least N periods.
    #[must_use]
    pub fn with_evaluation_range(self, periods: usize) -> Self {
        Self {
            evaluation_range: periods.max(self.evaluation_periods),
            ..self
        }
    }

    /// The same window for a monitor with this number of periods so far. Earlier periods cannot be missing.
    #[must_use]
    pub(crate) fn with_periods_at_most(self, periods: usize) -> Self {
        Self {
            evaluation_periods: self.evaluation_periods.min(periods.max(1)),
            ..self
        }
    }

    /// Number of breaching datapoints that raise the alarm (M).
    pub fn datapoints_to_alarm(self) -> u8 {
        u8::try_from(self.datapoints_to_alarm).unwrap_or(u8::MAX)
    }

    /// Number of periods that are evaluated (N).
    pub fn evaluation_periods(self) -> u8 {
        u8::try_from(self.evaluation_periods).unwrap_or(u8::MAX)
    }

    /// Number of periods in which the window looks for datapoints.
    pub fn evaluation_range(self) -> usize {
        self.evaluation_range
    }

    /// Treatment of periods without a datapoint.
    pub fn treat_missing_data(self) -> TreatMissingData {
        self.treat_missing_data
    }

    /// State from the periods, oldest first, and the previous state.
    pub fn evaluate(self, periods: &[Period], previous: AlarmState) -> AlarmState {
        let (m, n) = (self.datapoints_to_alarm, self.evaluation_periods);
        let newest_first = || periods.iter().rev().copied().take(self.evaluation_range);
        let state = |breaching: usize| {
            if breaching >= m {
                AlarmState::Alarm
            } else {
                AlarmState::Ok
            }
        };
        let breaching_of_newest = |count: usize| {
            let real = newest_first().filter(|period| *period != Period::Missing);
            real.take(count).filter(|period| *period == Period::Breaching).count()
        };
        let real = newest_first().filter(|period| *period != Period::Missing).count();
        if real >= n {
            return state(breaching_of_newest(n));
        }
        let premature = self.is_premature(real, newest_first());
        match (self.treat_missing_data, real) {
            (TreatMissingData::Missing, 0) => AlarmState::InsufficientData,
            (TreatMissingData::Ignore, 0) => previous,
            (TreatMissingData::Missing, _) if premature => AlarmState::Alarm,
            (TreatMissingData::Ignore, _) if premature => previous,
            (TreatMissingData::Breaching, _) => state(breaching_of_newest(real) + (n - real)),
            _ => state(breaching_of_newest(real)),
        }
    }

    /// CloudWatch's rule for premature alarms: fewer than M datapoints exist, the oldest breaching one is at least M
    /// periods old, and every newer period is breaching or missing.
    fn is_premature(self, real: usize, newest_first: impl Iterator<Item = Period>) -> bool {
        let since_not_breaching = newest_first.take_while(|period| *period != Period::NotBreaching);
        let oldest = since_not_breaching
            .enumerate()
            .filter(|(_, period)| *period == Period::Breaching)
            .map(|(newer, _)| newer + 1)
            .last();
        real < self.datapoints_to_alarm && oldest.is_some_and(|age| age >= self.datapoints_to_alarm)
    }
}
