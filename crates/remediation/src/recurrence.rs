//! What alerts that come and go have in common: a time of day, or a weekday.

use jiff::{Timestamp, civil::Weekday, tz::TimeZone};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, fmt};

/// Minimum number of alerts, on as many days, that show a recurrence.
const MIN_ALERTS: usize = 3;
/// Longest part of the day, in hours, that counts as a time of day.
const MAX_HOURS: i64 = 6;
const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;

/// The time that several alerts of a monitor have in common, in UTC. At least one of the two is present.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Recurrence {
    /// Number of alerts of the monitor.
    pub alerts: usize,
    /// Start and end of the part of the day in which all are, as hours from 0 to 24. It may contain midnight.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hours: Option<[i64; 2]>,
    /// Name of the weekday of all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weekday: Option<String>,
}

impl Recurrence {
    /// What the alerts have in common. `None` if they are on fewer than three days, or have nothing in common.
    pub(crate) fn of(alerts: &[Timestamp]) -> Option<Self> {
        let days: BTreeSet<i64> = alerts.iter().map(|time| time.as_second().div_euclid(DAY)).collect();
        if days.len() < MIN_ALERTS {
            return None;
        }
        let hours = hours(alerts);
        let weekday = weekday(alerts);
        (hours.is_some() || weekday.is_some()).then(|| Self {
            alerts: alerts.len(),
            hours,
            weekday: weekday.map(|weekday| format!("{weekday:?}")),
        })
    }
}

impl fmt::Display for Recurrence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "all {} were raised", text::count(self.alerts, "alert"))?;
        if let Some(weekday) = &self.weekday {
            write!(f, " on a {weekday}")?;
        }
        if let Some([from, to]) = self.hours {
            write!(f, " between {from:02}:00 and {to:02}:00 UTC")?;
        }
        Ok(())
    }
}

/// The shortest part of the day that contains all times, in whole hours. `None` if it is longer than [`MAX_HOURS`].
fn hours(times: &[Timestamp]) -> Option<[i64; 2]> {
    let of_day: BTreeSet<i64> = times.iter().map(|time| time.as_second().rem_euclid(DAY)).collect();
    let first = *of_day.first()?;
    // The part begins after the longest gap between two times of day.
    let next = of_day.iter().skip(1).copied().chain([first + DAY]);
    let (_, last, begin) = of_day.iter().zip(next).map(|(at, next)| (next - at, *at, next)).max()?;
    let begin = begin % DAY;
    let length = (last - begin).rem_euclid(DAY);
    let (from, to) = (begin / HOUR, (begin + length) / HOUR + 1);
    (to - from <= MAX_HOURS).then(|| [from, if to > 24 { to - 24 } else { to }])
}

/// The weekday of all times.
fn weekday(times: &[Timestamp]) -> Option<Weekday> {
    let weekday = |time: &Timestamp| time.to_zoned(TimeZone::UTC).weekday();
    let first = weekday(times.first()?);
    times.iter().all(|time| weekday(time) == first).then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(times: &[&str]) -> Option<String> {
        let times: Vec<Timestamp> = times.iter().map(|time| time.parse().unwrap()).collect();
        Recurrence::of(&times).map(|recurrence| recurrence.to_string())
    }

    #[test]
    fn alerts_at_the_same_time_of_day_recur() {
        let nights = ["2026-11-02T01:00:00Z", "2026-11-03T04:59:59Z", "2026-11-05T02:00:00Z"];
        let expected = "all 3 alerts were raised between 01:00 and 05:00 UTC";
        assert_eq!(of(&nights).as_deref(), Some(expected));
        let around_midnight = ["2026-11-02T23:00:00Z", "2026-11-04T00:00:00Z", "2026-11-05T01:30:00Z"];
        let expected = "all 3 alerts were raised between 23:00 and 02:00 UTC";
        assert_eq!(of(&around_midnight).as_deref(), Some(expected));
        let late = ["2026-11-02T20:00:00Z", "2026-11-04T23:00:00Z", "2026-11-05T22:00:00Z"];
        let expected = "all 3 alerts were raised between 20:00 and 24:00 UTC";
        assert_eq!(of(&late).as_deref(), Some(expected));
    }

    #[test]
    fn alerts_on_the_same_weekday_recur() {
        let saturdays = ["2026-11-07T00:00:00Z", "2026-11-14T12:00:00Z", "2026-11-21T18:00:00Z"];
        assert_eq!(
            of(&saturdays).as_deref(),
            Some("all 3 alerts were raised on a Saturday")
        );
        let mornings = ["2026-11-07T08:00:00Z", "2026-11-14T08:00:00Z", "2026-11-21T08:00:00Z"];
        let expected = "all 3 alerts were raised on a Saturday between 08:00 and 09:00 UTC";
        assert_eq!(of(&mornings).as_deref(), Some(expected));
    }

    #[test]
    fn few_or_scattered_alerts_do_not_recur() {
        assert_eq!(of(&[]), None);
        assert_eq!(of(&["2026-11-02T01:00:00Z", "2026-11-03T01:00:00Z"]), None);
        // Three on one day, and on three days at any time.
        assert_eq!(
            of(&["2026-11-02T01:00:00Z", "2026-11-02T02:00:00Z", "2026-11-02T03:00:00Z"]),
            None
        );
        assert_eq!(
            of(&["2026-11-02T01:00:00Z", "2026-11-03T09:00:00Z", "2026-11-04T17:00:00Z"]),
            None
        );
        // Just longer than six hours.
        assert_eq!(
            of(&["2026-11-02T01:00:00Z", "2026-11-03T04:00:00Z", "2026-11-04T07:00:00Z"]),
            None
        );
    }
}
