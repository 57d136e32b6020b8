//! The alert window over time, by CloudWatch's rule (user guide, pages "Configuring how CloudWatch alarms treat missing
//! data" and "Alarm evaluation window").
//!
//! Every period has a datapoint that breaches, does not, or is missing. More than the N evaluation periods are looked
//! at: the evaluation range. With at least N datapoints in it the newest N are judged; with fewer all of them, and what
//! is missing up to N is filled as [`TreatMissingData`] says. Unlike a CloudWatch alarm's, this window may be of any
//! length: weekly and monthly monitors can be judged.

use crate::WindowError;
use serde::{Deserialize, Serialize};

/// One period.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Period {
    /// Its datapoint breaches.
    Breaching,
    /// Its datapoint does not.
    NotBreaching,
    /// It has none.
    Missing,
}

/// `TreatMissingData` of a CloudWatch alarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum TreatMissingData {
    /// Missing periods are left out; if all are missing, `INSUFFICIENT_DATA`. CloudWatch's default.
    #[default]
    #[serde(rename = "missing")]
    Missing,
    /// Missing periods are left out; if they alone would decide, the state is kept.
    #[serde(rename = "ignore")]
    Ignore,
    /// A missing period breaches.
    #[serde(rename = "breaching")]
    Breaching,
    /// A missing period does not breach.
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

/// State of an alarm, as CloudWatch spells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum AlarmState {
    /// Within the threshold.
    #[serde(rename = "OK")]
    Ok,
    /// Beyond it.
    #[serde(rename = "ALARM")]
    Alarm,
    /// Not enough datapoints to say. A new alarm's state.
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
    /// The evaluation range is N + 2 periods. CloudWatch's documented examples look at 5 with N = 3 and tell it of no
    /// other N, so that this is a choice; [`TimeWindow::with_evaluation_range`] sets another.
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

    /// With another evaluation range, at least N periods.
    #[must_use]
    pub fn with_evaluation_range(self, periods: usize) -> Self {
        Self {
            evaluation_range: periods.max(self.evaluation_periods),
            ..self
        }
    }

    /// For a time in which there have been so many periods at all: more than they cannot be missing.
    #[must_use]
    pub(crate) fn with_periods_at_most(self, periods: usize) -> Self {
        Self {
            evaluation_periods: self.evaluation_periods.min(periods.max(1)),
            ..self
        }
    }

    /// M.
    pub fn datapoints_to_alarm(self) -> u8 {
        u8::try_from(self.datapoints_to_alarm).unwrap_or(u8::MAX)
    }

    /// N.
    pub fn evaluation_periods(self) -> u8 {
        u8::try_from(self.evaluation_periods).unwrap_or(u8::MAX)
    }

    /// How many periods are looked at.
    pub fn evaluation_range(self) -> usize {
        self.evaluation_range
    }

    /// What is made of missing periods.
    pub fn treat_missing_data(self) -> TreatMissingData {
        self.treat_missing_data
    }

    /// The state that follows from the periods, oldest first, and the state before.
    pub fn evaluate(self, periods: &[Period], previous: AlarmState) -> AlarmState {
        let (m, n) = (self.datapoints_to_alarm, self.evaluation_periods);
        let newest_first = || periods.iter().rev().copied().take(self.evaluation_range);
        let judge = |breaching: usize| {
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
            return judge(breaching_of_newest(n));
        }
        let premature = self.is_premature(real, newest_first());
        match (self.treat_missing_data, real) {
            (TreatMissingData::Missing, 0) => AlarmState::InsufficientData,
            (TreatMissingData::Ignore, 0) => previous,
            (TreatMissingData::Missing, _) if premature => AlarmState::Alarm,
            (TreatMissingData::Ignore, _) if premature => previous,
            (TreatMissingData::Breaching, _) => judge(breaching_of_newest(real) + (n - real)),
            _ => judge(breaching_of_newest(real)),
        }
    }

    /// The premature-alarm rule: fewer than M datapoints exist, the oldest breaching one is at least M periods old, and
    /// every newer period breaches or is missing.
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
