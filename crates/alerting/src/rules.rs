//! By which rules a monitor's datapoints are judged: which violations count, what a datapoint without a judgement of the
//! data is taken for, which hours are muted, and by which window.

use crate::{
    AlarmState, AlertStatus, Brief, Datapoint, DatapointState, ExecutionWindow, Period, ReportEvidence, TimeWindow,
    ViolationFacts,
};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, fmt};

/// How grave a violation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth an alert.
    #[default]
    Warning,
    /// Worth waking somebody.
    Critical,
}

impl Severity {
    /// The name as written in policies and events.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// A name with `*` for any characters: `temp_*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(String);

impl Pattern {
    /// The pattern written so.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Whether a name matches, letter by letter.
    pub fn matches(&self, name: &str) -> bool {
        let Some((first, rest)) = self.0.split_once('*') else {
            return self.0 == name;
        };
        let Some(mut left) = name.strip_prefix(first) else {
            return false;
        };
        let mut parts: Vec<&str> = rest.split('*').collect();
        let last = parts.pop().unwrap_or_default();
        for part in parts {
            match left.split_once(part) {
                Some((_, after)) => left = after,
                None => return false,
            }
        }
        left.ends_with(last)
    }

    /// As written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// One rule about violations. What is `None` matches any.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ViolationRule {
    /// `constraint_check_type` of the report.
    pub check_type: Option<Pattern>,
    /// The feature.
    pub feature: Option<Pattern>,
    /// The metric.
    pub metric: Option<Pattern>,
    /// The facet.
    pub facet: Option<Pattern>,
    /// A violation nearer to its threshold than this, relative to the threshold, does not count. One that tells no
    /// values is as far as can be.
    pub minimum_exceedance: f64,
    /// How grave it is.
    pub severity: Severity,
    /// Whether it counts at all.
    pub counts: bool,
}

impl ViolationRule {
    fn matches(&self, violation: &ViolationFacts<'_>) -> bool {
        let fits = |pattern: &Option<Pattern>, name: Option<&str>| {
            pattern
                .as_ref()
                .is_none_or(|pattern| name.is_some_and(|name| pattern.matches(name)))
        };
        fits(&self.check_type, Some(violation.check_type))
            && fits(&self.feature, violation.feature)
            && fits(&self.metric, violation.metric)
            && fits(&self.facet, violation.facet)
    }
}

/// What a datapoint that says nothing of the data is taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum TreatAs {
    /// It takes no slot in a window over executions, and leaves its period missing in a window over time.
    #[default]
    #[serde(rename = "missing")]
    Missing,
    /// It counts as one with violations.
    #[serde(rename = "breaching")]
    Breaching,
    /// It counts as a clean one.
    #[serde(rename = "notBreaching")]
    NotBreaching,
}

impl TreatAs {
    /// The name as written in policies.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Breaching => "breaching",
            Self::NotBreaching => "notBreaching",
        }
    }

    fn period(self) -> Period {
        match self {
            Self::Missing => Period::Missing,
            Self::Breaching => Period::Breaching,
            Self::NotBreaching => Period::NotBreaching,
        }
    }
}

/// What the three states that say nothing of the data are taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Treatment {
    /// [`DatapointState::NoData`].
    pub no_data: TreatAs,
    /// [`DatapointState::Failed`].
    pub failed: TreatAs,
    /// [`DatapointState::Missing`].
    pub missing: TreatAs,
}

/// A time in which violations are muted: executions scheduled in it take no slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MaintenanceWindow {
    /// Once, from `start` until before `end`.
    Once {
        /// Its start.
        start: Timestamp,
        /// Its end.
        end: Timestamp,
    },
    /// Every week, in UTC.
    Weekly {
        /// Minutes after Monday 00:00 at which it starts.
        start_minute: i64,
        /// How many minutes it takes, at most a week.
        minutes: i64,
    },
}

const MINUTES_A_WEEK: i64 = 7 * 24 * 60;
/// 1970-01-05, the first Monday after the epoch, in minutes.
const FIRST_MONDAY_MINUTES: i64 = 4 * 24 * 60;

impl MaintenanceWindow {
    /// Whether a time lies in it.
    pub fn covers(&self, time: Timestamp) -> bool {
        match *self {
            Self::Once { start, end } => start <= time && time < end,
            Self::Weekly { start_minute, minutes } => {
                let minute = time.as_second().div_euclid(60) - FIRST_MONDAY_MINUTES;
                (minute - start_minute).rem_euclid(MINUTES_A_WEEK) < minutes
            }
        }
    }
}

/// How long a period of a window over time is. Periods are aligned: to the epoch, to Monday, to the first of a month; in
/// UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeriodLength {
    /// So many minutes, at least one. Whole weeks begin on Monday.
    Minutes(u32),
    /// Calendar months.
    Months(u32),
}

impl PeriodLength {
    /// Reads `15m`, `1h`, `1d`, `1w` or `1mo`.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let digits = text.find(|c: char| !c.is_ascii_digit())?;
        let (count, unit) = text.split_at_checked(digits)?;
        let count: u32 = count.parse().ok().filter(|count| *count > 0)?;
        let minutes = |each: u32| count.checked_mul(each).map(Self::Minutes);
        match unit.trim() {
            "m" | "min" => minutes(1),
            "h" => minutes(60),
            "d" => minutes(24 * 60),
            "w" => minutes(7 * 24 * 60),
            "mo" => Some(Self::Months(count)),
            _ => None,
        }
    }

    /// The number of the period that a time lies in: the next period has the next number.
    pub fn index(self, time: Timestamp) -> i64 {
        match self {
            Self::Minutes(minutes) => {
                let length = i64::from(minutes);
                let offset = if length % MINUTES_A_WEEK == 0 {
                    FIRST_MONDAY_MINUTES
                } else {
                    0
                };
                (time.as_second().div_euclid(60) - offset).div_euclid(length.max(1))
            }
            Self::Months(months) => {
                let date = TimeZone::UTC.to_datetime(time).date();
                let month = i64::from(date.year()) * 12 + i64::from(date.month()) - 1;
                month.div_euclid(i64::from(months.max(1)))
            }
        }
    }

    /// Its length in seconds, a month taken as 30 days.
    pub fn approximate(self) -> SignedDuration {
        match self {
            Self::Minutes(minutes) => SignedDuration::from_mins(minutes.into()),
            Self::Months(months) => SignedDuration::from_hours(i64::from(months) * 30 * 24),
        }
    }
}

impl fmt::Display for PeriodLength {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Months(months) => write!(f, "{months}mo"),
            Self::Minutes(minutes) if minutes % (7 * 24 * 60) == 0 => write!(f, "{}w", minutes / (7 * 24 * 60)),
            Self::Minutes(minutes) if minutes % (24 * 60) == 0 => write!(f, "{}d", minutes / (24 * 60)),
            Self::Minutes(minutes) if minutes % 60 == 0 => write!(f, "{}h", minutes / 60),
            Self::Minutes(minutes) => write!(f, "{minutes}m"),
        }
    }
}

/// The window that judges a monitor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AlertWindow {
    /// Over the latest executions, SageMaker's rule.
    Executions(ExecutionWindow),
    /// Over periods of time, CloudWatch's rule.
    Time {
        /// M, N, and what missing data are.
        window: TimeWindow,
        /// How long a period is.
        period: PeriodLength,
    },
}

impl AlertWindow {
    /// M: datapoints to alert, or to alarm.
    pub fn datapoints_to_alert(&self) -> u8 {
        match self {
            Self::Executions(window) => window.datapoints_to_alert(),
            Self::Time { window, .. } => window.datapoints_to_alarm(),
        }
    }

    /// N: the evaluation period, or the evaluation periods.
    pub fn evaluation_period(&self) -> u8 {
        match self {
            Self::Executions(window) => window.evaluation_period(),
            Self::Time { window, .. } => window.evaluation_periods(),
        }
    }
}

/// All by which a monitor is judged.
#[derive(Debug, Clone, PartialEq)]
pub struct MonitorRules {
    /// The alert window.
    pub window: AlertWindow,
    /// Whether the datapoints to alert and the evaluation period of the schedule's own `MonitoringAlert` hold instead,
    /// as far as they are known.
    pub follow_monitoring_alert: bool,
    /// What datapoints that say nothing of the data are taken for.
    pub treatment: Treatment,
    /// Which violations count. The first rule that matches a violation decides; one that no rule matches counts, as a
    /// warning.
    pub violations: Vec<ViolationRule>,
    /// When violations are muted.
    pub maintenance: Vec<MaintenanceWindow>,
    /// After how many executions in a row that failed, had no data or never ran the monitor is unhealthy; 0 for never.
    pub unhealthy_after: u8,
    /// Version (hash) of the policy that says so.
    pub policy_version: String,
}

impl Default for MonitorRules {
    fn default() -> Self {
        Self {
            window: AlertWindow::Executions(ExecutionWindow::default()),
            follow_monitoring_alert: false,
            treatment: Treatment::default(),
            violations: Vec::new(),
            maintenance: Vec::new(),
            unhealthy_after: 3,
            policy_version: "default".into(),
        }
    }
}

impl MonitorRules {
    /// The severity of a violation, or `None` if it does not count.
    pub fn severity_of(&self, violation: &ViolationFacts<'_>) -> Option<Severity> {
        let Some(rule) = self.violations.iter().find(|rule| rule.matches(violation)) else {
            return Some(Severity::Warning);
        };
        let far_enough = violation
            .exceedance
            .is_none_or(|exceedance| exceedance >= rule.minimum_exceedance);
        (rule.counts && far_enough).then_some(rule.severity)
    }

    /// The gravest severity among a datapoint's violations that count; `None` if none counts.
    pub fn severity(&self, datapoint: &Datapoint) -> Option<Severity> {
        if datapoint.state() != DatapointState::Violations {
            return None;
        }
        if self.violations.is_empty() {
            return Some(Severity::Warning);
        }
        let Some(report) = &datapoint.evidence.report else {
            // Counted by the exit message alone: nothing tells them apart.
            return Some(Severity::Warning);
        };
        let listed = report.top.iter().map(ViolationFacts::from);
        let graver = listed
            .chain(report.rest.iter().map(Brief::facts))
            .filter_map(|violation| self.severity_of(&violation))
            .max();
        // Those beyond what is kept are as grave as what nobody has a rule for.
        let unlisted = report.violations > (report.top.len() + report.rest.len()) as u64;
        graver.or((unlisted || report.violations == 0).then_some(Severity::Warning))
    }

    /// The check types of a report's violations that count.
    pub fn check_types(&self, report: &ReportEvidence) -> Vec<String> {
        if self.violations.is_empty() {
            return report.by_check_type.keys().cloned().collect();
        }
        let listed = report
            .top
            .iter()
            .map(ViolationFacts::from)
            .chain(report.rest.iter().map(Brief::facts));
        let counting = listed.filter(|violation| self.severity_of(violation).is_some());
        let check_types: BTreeSet<&str> = counting.map(|violation| violation.check_type).collect();
        check_types.into_iter().map(ToOwned::to_owned).collect()
    }

    /// What a datapoint is to the window.
    pub fn judge(&self, datapoint: &Datapoint) -> Period {
        if self
            .maintenance
            .iter()
            .any(|window| window.covers(datapoint.scheduled_time))
        {
            return Period::Missing;
        }
        match datapoint.state() {
            DatapointState::Violations if self.violations.is_empty() || self.severity(datapoint).is_some() => {
                Period::Breaching
            }
            DatapointState::Clean | DatapointState::Violations => Period::NotBreaching,
            DatapointState::NoData => self.treatment.no_data.period(),
            DatapointState::Failed => self.treatment.failed.period(),
            DatapointState::Missing => self.treatment.missing.period(),
        }
    }

    /// The datapoints that the window looks at, oldest first, each with what it is to the window, out of those that count,
    /// newest first. A window over executions looks at the N latest that take a slot; one over time at those of its
    /// evaluation range that ends with the period of `as_of`.
    pub fn evaluated<'a>(
        &self,
        window: &AlertWindow,
        newest_first: impl Iterator<Item = &'a Datapoint>,
        as_of: Timestamp,
    ) -> Vec<(&'a Datapoint, Period)> {
        let judged = newest_first.map(|datapoint| (datapoint, self.judge(datapoint)));
        let slots = judged.filter(|(_, period)| *period != Period::Missing);
        let mut evaluated: Vec<_> = match window {
            AlertWindow::Executions(window) => slots.take(window.evaluation_period().into()).collect(),
            AlertWindow::Time { window, period } => {
                let newest = period.index(as_of);
                let range = i64::try_from(window.evaluation_range()).unwrap_or(i64::MAX);
                let in_range = |datapoint: &Datapoint| newest - period.index(datapoint.scheduled_time) < range;
                slots.take_while(|(datapoint, _)| in_range(datapoint)).collect()
            }
        };
        evaluated.reverse();
        evaluated
    }

    /// The alert status that follows from the datapoints that count, newest first, and the status before. A window over
    /// time ends with the period of `as_of`; it has no periods before `since`, if datapoints count only since then.
    pub fn status<'a>(
        &self,
        window: &AlertWindow,
        newest_first: impl Iterator<Item = &'a Datapoint>,
        since: Option<Timestamp>,
        as_of: Timestamp,
        previous: AlertStatus,
    ) -> AlertStatus {
        match window {
            AlertWindow::Executions(window) => {
                let slots = newest_first
                    .map(|datapoint| self.judge(datapoint))
                    .filter(|period| *period != Period::Missing);
                window.judge(slots.map(|period| period == Period::Breaching))
            }
            AlertWindow::Time { window, period } => {
                let mut periods = vec![Period::Missing; window.evaluation_range()];
                let newest = period.index(as_of);
                let last = periods.len();
                for datapoint in newest_first {
                    let Ok(age) = usize::try_from(newest - period.index(datapoint.scheduled_time)) else {
                        continue;
                    };
                    let Some(slot) = last.checked_sub(age + 1).and_then(|at| periods.get_mut(at)) else {
                        break;
                    };
                    // Of several executions in a period the worst holds, as the statistic `Maximum` of `Breaching`.
                    *slot = match (*slot, self.judge(datapoint)) {
                        (Period::Breaching, _) | (_, Period::Breaching) => Period::Breaching,
                        (Period::NotBreaching, _) | (_, Period::NotBreaching) => Period::NotBreaching,
                        (Period::Missing, Period::Missing) => Period::Missing,
                    };
                }
                let before = match previous {
                    AlertStatus::Ok => AlarmState::Ok,
                    AlertStatus::InAlert => AlarmState::Alarm,
                    AlertStatus::InsufficientData => AlarmState::InsufficientData,
                };
                let window = since.map_or(*window, |since| {
                    let periods = usize::try_from(newest - period.index(since) + 1);
                    window.with_periods_at_most(periods.unwrap_or_default())
                });
                match window.evaluate(&periods, before) {
                    AlarmState::Ok => AlertStatus::Ok,
                    AlarmState::Alarm => AlertStatus::InAlert,
                    AlarmState::InsufficientData => AlertStatus::InsufficientData,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_with_stars_anywhere() {
        for (pattern, name, matches) in [
            ("age", "age", true),
            ("age", "ages", false),
            ("*", "", true),
            ("temp_*", "temp_1", true),
            ("temp_*", "tem", false),
            ("*_id", "user_id", true),
            ("a*b*c", "aXbYc", true),
            ("a*b*c", "aXcYb", false),
            ("ab*ab", "ab", false),
        ] {
            assert_eq!(Pattern::new(pattern).matches(name), matches, "{pattern} {name}");
        }
    }

    #[test]
    fn periods_are_aligned_and_weeks_begin_on_monday() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let week = PeriodLength::parse("1w").unwrap();
        assert_eq!(
            week.index(at("2026-11-23T00:00:00Z")),
            week.index(at("2026-11-29T23:59:59Z"))
        );
        assert_eq!(
            week.index(at("2026-11-22T23:59:59Z")) + 1,
            week.index(at("2026-11-23T00:00:00Z"))
        );
        let month = PeriodLength::parse("1mo").unwrap();
        assert_eq!(
            month.index(at("2026-12-31T23:00:00Z")) + 1,
            month.index(at("2027-01-01T00:00:00Z"))
        );
        for text in ["15m", "1h", "6h", "1d", "1w", "2w", "3mo"] {
            assert_eq!(PeriodLength::parse(text).unwrap().to_string(), text);
        }
        for text in ["", "h", "0h", "1y", "-1h", "99999999999h"] {
            assert_eq!(PeriodLength::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_weekly_maintenance_window_may_pass_the_end_of_the_week() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        // From Sunday 22:00 for six hours.
        let window = MaintenanceWindow::Weekly {
            start_minute: (6 * 24 + 22) * 60,
            minutes: 6 * 60,
        };
        assert!(window.covers(at("2026-11-22T22:00:00Z")));
        assert!(window.covers(at("2026-11-23T03:59:00Z")));
        assert!(!window.covers(at("2026-11-23T04:00:00Z")));
        assert!(!window.covers(at("2026-11-22T21:59:00Z")));
    }
}
