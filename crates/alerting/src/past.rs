//! Results of executions that are older than the datapoints of a ledger, for long time windows.
//!
//! One character per day (or hour) states whether an execution in it breached, none breached, or none had a result. A
//! period consists of whole days or hours, so its result is the worst one of them. The rules of the policy at the time at
//! which a datapoint left the ledger judged it: a later policy changes the length of periods, M, and N, but no longer
//! which violations count.

use crate::{AlertWindow, Period, PeriodLength};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Maximum number of days, and of hours, that are remembered.
pub(crate) const MAX_CELLS: usize = 4_800;

/// Maximum number of policy versions that are remembered.
const MAX_VERSIONS: usize = 16;

const DAY: i64 = 24 * 3600;
const HOUR: i64 = 3600;

/// Results of the executions that are older than the datapoints of a ledger.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct PastResults {
    /// Results by day in UTC. For all windows, so that a changed policy can evaluate them.
    #[serde(default, skip_serializing_if = "Cells::is_empty")]
    days: Cells<DAY>,
    /// Results by hour. Only for time windows whose periods are not whole days.
    #[serde(default, skip_serializing_if = "Cells::is_empty")]
    hours: Cells<HOUR>,
    /// Policy versions that judged the executions, oldest first, at most 16.
    #[serde(default, skip_serializing_if = "VecDeque::is_empty")]
    policy_versions: VecDeque<JudgedSince>,
}

/// Start of the results of a policy version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct JudgedSince {
    policy_version: String,
    /// Scheduled time of the first execution that this version judged.
    since: Timestamp,
}

impl PastResults {
    /// Whether there are no results.
    pub fn is_empty(&self) -> bool {
        self.days.is_empty() && self.hours.is_empty()
    }

    /// Adds the result of an execution.
    pub(crate) fn add(&mut self, time: Timestamp, result: Period, window: &AlertWindow, policy_version: &str) {
        if result != Period::Missing {
            self.days.add(time, result);
        }
        match window {
            AlertWindow::Time { period, .. } if !period.has_whole_days() => {
                if result != Period::Missing {
                    self.hours.add(time, result);
                }
            }
            _ => self.hours = Cells::default(),
        }
        let latest = self.policy_versions.back();
        if latest.is_none_or(|latest| latest.policy_version != policy_version) {
            self.policy_versions.push_back(JudgedSince {
                policy_version: policy_version.to_owned(),
                since: time,
            });
            if self.policy_versions.len() > MAX_VERSIONS {
                self.policy_versions.pop_front();
            }
        }
    }

    /// Removes the results of executions before a time. The day and the hour that contain it are removed, too.
    pub(crate) fn remove_before(&mut self, time: Timestamp) {
        self.days.remove_before(time);
        self.hours.remove_before(time);
    }

    /// Results with their times, newest first, for periods of this length.
    pub(crate) fn newest_first(&self, period: PeriodLength) -> impl Iterator<Item = (Timestamp, Period)> {
        let (days, hours) = if period.has_whole_days() {
            (Some(self.days.newest_first()), None)
        } else {
            (None, Some(self.hours.newest_first()))
        };
        days.into_iter().flatten().chain(hours.into_iter().flatten())
    }
}

/// Consecutive intervals of `SECONDS`, each with the worst result in it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(try_from = "RawCells", into = "RawCells")]
struct Cells<const SECONDS: i64> {
    /// Number of the first interval since the epoch.
    first: i64,
    results: VecDeque<Period>,
}

/// JSON form of [`Cells`].
#[derive(Serialize, Deserialize)]
struct RawCells {
    /// Start of the first interval.
    since: Timestamp,
    /// One character per interval: `X` (breaching), `0` (not breaching), or `-` (no result).
    results: String,
}

impl<const SECONDS: i64> Cells<SECONDS> {
    fn is_empty(&self) -> bool {
        self.results.is_empty()
    }

    fn add(&mut self, time: Timestamp, result: Period) {
        let cell = time.as_second().div_euclid(SECONDS);
        if self.results.is_empty() {
            self.first = cell;
        }
        if cell < self.first {
            self.extend_to(cell);
        }
        // Older than the limit allows.
        let Ok(mut at) = usize::try_from(cell - self.first) else {
            return;
        };
        if at >= self.results.len() + MAX_CELLS {
            self.results.clear();
            self.first = cell;
            at = 0;
        }
        while self.results.len() <= at {
            self.results.push_back(Period::Missing);
        }
        if let Some(known) = self.results.get_mut(at) {
            *known = known.worst(result);
        }
        while self.results.len() > MAX_CELLS {
            self.results.pop_front();
            self.first += 1;
        }
    }

    /// Adds earlier intervals without a result, if the limit allows.
    fn extend_to(&mut self, cell: i64) {
        let more = usize::try_from(self.first - cell).unwrap_or(usize::MAX);
        if more.saturating_add(self.results.len()) <= MAX_CELLS {
            for _ in 0..more {
                self.results.push_front(Period::Missing);
            }
            self.first = cell;
        }
    }

    fn remove_before(&mut self, time: Timestamp) {
        while !self.results.is_empty() && self.first * SECONDS < time.as_second() {
            self.results.pop_front();
            self.first += 1;
        }
        if self.results.is_empty() {
            *self = Self::default();
        }
    }

    fn newest_first(&self) -> impl Iterator<Item = (Timestamp, Period)> {
        let next = self.first + i64::try_from(self.results.len()).unwrap_or_default();
        let newest_first = self.results.iter().rev().zip(1..);
        newest_first
            .filter(|(result, _)| **result != Period::Missing)
            .filter_map(move |(result, age)| Some((Timestamp::from_second((next - age) * SECONDS).ok()?, *result)))
    }
}

impl<const SECONDS: i64> From<Cells<SECONDS>> for RawCells {
    fn from(cells: Cells<SECONDS>) -> Self {
        let sign = |result: &Period| match result {
            Period::Breaching => 'X',
            Period::NotBreaching => '0',
            Period::Missing => '-',
        };
        Self {
            since: Timestamp::from_second(cells.first * SECONDS).unwrap_or_default(),
            results: cells.results.iter().map(sign).collect(),
        }
    }
}

impl<const SECONDS: i64> TryFrom<RawCells> for Cells<SECONDS> {
    type Error = String;

    fn try_from(raw: RawCells) -> Result<Self, String> {
        let result = |sign: char| match sign {
            'X' => Ok(Period::Breaching),
            '0' => Ok(Period::NotBreaching),
            '-' => Ok(Period::Missing),
            other => Err(format!(
                "results: expected X (breaching), 0 (not breaching), or - (no result), found `{other}`"
            )),
        };
        Ok(Self {
            first: raw.since.as_second().div_euclid(SECONDS),
            results: raw.results.chars().map(result).collect::<Result<_, _>>()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Period::{Breaching, Missing, NotBreaching};

    fn hour(n: i64) -> Timestamp {
        // 2026-09-21 is a Monday.
        let start = "2026-09-21T00:00:00Z".parse::<Timestamp>().unwrap();
        Timestamp::from_second(start.as_second() + n * HOUR).unwrap()
    }

    fn time_window(period: PeriodLength) -> AlertWindow {
        AlertWindow::Time {
            window: crate::TimeWindow::new(1, 1, crate::TreatMissingData::Missing).unwrap(),
            period,
        }
    }

    fn json(past: &PastResults) -> String {
        serde_json::to_string(past).unwrap()
    }

    #[test]
    fn worst_result_of_a_day_is_kept_in_any_order() {
        let results = [
            (0, NotBreaching),
            (5, Breaching),
            (23, NotBreaching),
            (49, NotBreaching),
            (75, Missing),
        ];
        let days = time_window(PeriodLength::Minutes(24 * 60));
        let expected = r#"{"days":{"since":"2026-09-21T00:00:00Z","results":"X-0"},"policy_versions":[{"policy_version":"a","since""#;
        for order in [[0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [2, 4, 0, 3, 1]] {
            let mut past = PastResults::default();
            for at in order {
                let (time, result) = results[at];
                past.add(hour(time), result, &days, "a");
            }
            assert!(json(&past).starts_with(expected), "{}", json(&past));
            assert_eq!(serde_json::from_str::<PastResults>(&json(&past)).unwrap(), past);
        }
        let invalid = r#"{"days":{"since":"2026-09-21T00:00:00Z","results":"X?"}}"#;
        let error = serde_json::from_str::<PastResults>(invalid).unwrap_err().to_string();
        assert!(error.contains("found `?`"), "{error}");
    }

    #[test]
    fn hours_are_kept_only_for_periods_that_need_them() {
        let mut past = PastResults::default();
        let half_days = time_window(PeriodLength::Minutes(12 * 60));
        past.add(hour(0), Breaching, &half_days, "a");
        past.add(hour(2), NotBreaching, &half_days, "a");
        let newest_first: Vec<_> = past.newest_first(PeriodLength::Minutes(12 * 60)).collect();
        assert_eq!(newest_first, [(hour(2), NotBreaching), (hour(0), Breaching)]);
        past.add(hour(3), NotBreaching, &time_window(PeriodLength::Months(1)), "b");
        assert_eq!(past.newest_first(PeriodLength::Minutes(60)).count(), 0);
        let days: Vec<_> = past.newest_first(PeriodLength::Months(1)).collect();
        assert_eq!(days, [(hour(0), Breaching)]);
    }

    #[test]
    fn number_of_cells_and_versions_is_bounded() {
        let mut past = PastResults::default();
        let window = time_window(PeriodLength::Minutes(12 * 60));
        for n in 0..6_000 {
            past.add(hour(n * 24), Breaching, &window, &n.to_string());
        }
        assert_eq!(
            (past.days.results.len(), past.hours.results.len()),
            (MAX_CELLS, MAX_CELLS)
        );
        assert_eq!(past.policy_versions.len(), MAX_VERSIONS);
        assert!(json(&past).len() < 11_000, "{}", json(&past).len());
        // Too old, and far ahead.
        let before = past.clone();
        past.add(hour(0), Breaching, &window, "5999");
        assert_eq!(past, before);
        past.add(hour(24 * 1_000_000), NotBreaching, &window, "5999");
        assert_eq!((past.days.results.len(), past.hours.results.len()), (1, 1));
    }

    #[test]
    fn restart_removes_the_day_that_contains_it() {
        let mut past = PastResults::default();
        let window = time_window(PeriodLength::Minutes(12 * 60));
        for n in 0..72 {
            past.add(hour(n), Breaching, &window, "a");
        }
        past.remove_before(hour(24));
        assert_eq!((past.days.results.len(), past.hours.results.len()), (2, 48));
        past.remove_before(hour(25));
        assert_eq!((past.days.results.len(), past.hours.results.len()), (1, 47));
        past.remove_before(hour(1_000));
        assert!(past.is_empty());
    }
}
