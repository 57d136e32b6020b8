//! The rules for the alert of a monitor: the violations that count, the treatment of executions without a result, the
//! maintenance windows, and the alert window.

use crate::{
    AlarmState, AlertStatus, Datapoint, DatapointState, ExecutionWindow, PastResults, Period, ReportEvidence,
    ReportJudgment, TimeWindow, ViolationFacts, ViolationSummary, past::MAX_CELLS,
};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, fmt};

/// Severity of a violation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Check it during working hours.
    #[default]
    Warning,
    /// Act immediately, at any hour.
    Critical,
}

impl Severity {
    /// Name in policies and events.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// A pattern for names, in which `*` stands for any characters: `temp_*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(String);

impl Pattern {
    /// Makes a pattern from its text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Whether a name matches. Case is significant.
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

    /// Text of the pattern.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A rule for violations. `None` matches every violation.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ViolationRule {
    /// Pattern of the check type (`constraint_check_type` in the report).
    pub check_type: Option<Pattern>,
    /// Pattern of the feature.
    pub feature: Option<Pattern>,
    /// Pattern of the metric.
    pub metric: Option<Pattern>,
    /// Pattern of the facet.
    pub facet: Option<Pattern>,
    /// Minimum distance from the threshold at which a violation counts, as a fraction of the threshold. A violation
    /// without values always counts.
    pub minimum_exceedance: f64,
    /// Severity of matching violations.
    pub severity: Severity,
    /// Whether matching violations count toward the alert.
    pub counts: bool,
}

impl ViolationRule {
    /// Whether the check type of a violation determines the result of the rule.
    fn needs_only_check_type(&self) -> bool {
        let applies_to_all = self.feature.is_none() && self.metric.is_none() && self.facet.is_none();
        applies_to_all && (!self.counts || self.minimum_exceedance <= 0.0)
    }

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

/// Treatment of executions without a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum TreatAs {
    /// The execution takes no slot in a window over executions. In a time window, its period is missing.
    #[default]
    #[serde(rename = "missing")]
    Missing,
    /// The execution counts like one with violations.
    #[serde(rename = "breaching")]
    Breaching,
    /// The execution counts like a clean one.
    #[serde(rename = "notBreaching")]
    NotBreaching,
}

impl TreatAs {
    /// Name in policies.
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

/// Treatment of the three states without a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Treatment {
    /// Treatment of [`DatapointState::NoData`].
    pub no_data: TreatAs,
    /// Treatment of [`DatapointState::Failed`].
    pub failed: TreatAs,
    /// Treatment of [`DatapointState::Missing`].
    pub missing: TreatAs,
}

/// Period in which violations are ignored: executions scheduled in it take no slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MaintenanceWindow {
    /// Once, from `start` (inclusive) to `end` (exclusive).
    Once {
        /// Start of the window.
        start: Timestamp,
        /// End of the window.
        end: Timestamp,
    },
    /// Every week, in UTC.
    Weekly {
        /// Start in minutes after Monday 00:00.
        start_minute: i64,
        /// Duration in minutes, at most a week.
        minutes: i64,
    },
}

const MINUTES_PER_WEEK: i64 = 7 * 24 * 60;
/// 1970-01-05, the first Monday after the epoch, in minutes.
const FIRST_MONDAY_MINUTES: i64 = 4 * 24 * 60;

impl MaintenanceWindow {
    /// Whether the window contains a time.
    pub fn covers(&self, time: Timestamp) -> bool {
        match *self {
            Self::Once { start, end } => start <= time && time < end,
            Self::Weekly { start_minute, minutes } => {
                let minute = time.as_second().div_euclid(60) - FIRST_MONDAY_MINUTES;
                (minute - start_minute).rem_euclid(MINUTES_PER_WEEK) < minutes
            }
        }
    }
}

/// Length of a period of a time window. Periods are aligned in UTC: to the epoch, to Monday, or to the first day of a
/// month.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeriodLength {
    /// Number of minutes, at least 1. Whole weeks start on Monday.
    Minutes(u32),
    /// Number of calendar months, at least 1.
    Months(u32),
}

impl PeriodLength {
    /// Parses `15m`, `1h`, `1d`, `1w`, or `1mo`.
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

    /// Number of the period that contains a time. Periods are numbered consecutively.
    pub fn index(self, time: Timestamp) -> i64 {
        match self {
            Self::Minutes(minutes) => {
                let length = i64::from(minutes);
                let offset = if length % MINUTES_PER_WEEK == 0 {
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

    /// Whether each period consists of whole days in UTC.
    pub(crate) fn has_whole_days(self) -> bool {
        match self {
            Self::Minutes(minutes) => minutes.is_multiple_of(24 * 60),
            Self::Months(_) => true,
        }
    }

    /// Maximum number of periods that a ledger remembers, and so the maximum evaluation range of a time window. A
    /// ledger remembers the results of 4,800 days for periods of whole days, and of 4,800 hours for other periods.
    ///
    /// ```
    /// use alerting::PeriodLength;
    ///
    /// let most = |text| PeriodLength::parse(text).map(PeriodLength::max_evaluation_range);
    /// assert_eq!(most("1w"), Some(685));
    /// assert_eq!(most("1mo"), Some(154));
    /// assert_eq!(most("1y"), None);
    /// assert_eq!(most("52w"), Some(13));
    /// ```
    pub fn max_evaluation_range(self) -> usize {
        let minutes = match self {
            Self::Minutes(minutes) => u64::from(minutes.max(1)),
            Self::Months(months) => u64::from(months.max(1)) * 31 * 24 * 60,
        };
        let cell = if self.has_whole_days() { 24 * 60 } else { 60 };
        usize::try_from(MAX_CELLS as u64 * cell / minutes).unwrap_or(usize::MAX)
    }

    /// Approximate length, with 30 days per month.
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

/// Alert window of a monitor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AlertWindow {
    /// Evaluates the latest executions (SageMaker's rule).
    Executions(ExecutionWindow),
    /// Evaluates periods of time (CloudWatch's rule).
    Time {
        /// M, N, and the treatment of missing data.
        window: TimeWindow,
        /// Length of a period.
        period: PeriodLength,
    },
}

impl AlertWindow {
    /// Number of breaching datapoints that raise the alert (M).
    pub fn datapoints_to_alert(&self) -> u8 {
        match self {
            Self::Executions(window) => window.datapoints_to_alert(),
            Self::Time { window, .. } => window.datapoints_to_alarm(),
        }
    }

    /// Number of latest executions, or periods, that are evaluated (N).
    pub fn evaluation_period(&self) -> u8 {
        match self {
            Self::Executions(window) => window.evaluation_period(),
            Self::Time { window, .. } => window.evaluation_periods(),
        }
    }
}

/// Effective alert settings of a monitor.
#[derive(Debug, Clone, PartialEq)]
pub struct MonitorRules {
    /// The alert window.
    pub window: AlertWindow,
    /// Whether M and N of the schedule's `MonitoringAlert` replace those of the window, if they are known.
    pub follow_monitoring_alert: bool,
    /// Treatment of executions without a result.
    pub treatment: Treatment,
    /// Rules for violations. The first rule that matches a violation applies. A violation without a matching rule
    /// counts as a warning.
    pub violations: Vec<ViolationRule>,
    /// Maintenance windows, in which violations are ignored.
    pub maintenance: Vec<MaintenanceWindow>,
    /// Number of consecutive executions without a result that makes the monitor unhealthy. 0 disables it.
    pub unhealthy_after: u8,
    /// Version of the policy.
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
    /// Severity of a violation. `None` if it does not count.
    pub fn severity_of(&self, violation: &ViolationFacts<'_>) -> Option<Severity> {
        let Some(rule) = self.violations.iter().find(|rule| rule.matches(violation)) else {
            return Some(Severity::Warning);
        };
        let far_enough = violation
            .exceedance
            .is_none_or(|exceedance| exceedance >= rule.minimum_exceedance);
        (rule.counts && far_enough).then_some(rule.severity)
    }

    /// Highest severity of the violations of a datapoint that count. `None` if none counts.
    pub fn severity(&self, datapoint: &Datapoint) -> Option<Severity> {
        if datapoint.state() != DatapointState::Violations {
            return None;
        }
        match &datapoint.evidence.report {
            Some(report) => self.severity_of_report(report),
            // The exit message has only the number of violations, so no rule can match.
            None => Some(Severity::Warning),
        }
    }

    /// Highest severity of the violations in a report that count. `None` if none counts.
    pub(crate) fn severity_of_report(&self, report: &ReportEvidence) -> Option<Severity> {
        if self.violations.is_empty() {
            return Some(Severity::Warning);
        }
        if let Some(judged) = self.earlier_judgment(report) {
            return match self.by_check_type(report) {
                Some(counting) if judged.policy_version != self.policy_version => {
                    counting.into_iter().map(|(_, severity)| severity).max()
                }
                _ => judged.severity,
            };
        }
        let listed = report.top.iter().map(ViolationFacts::from);
        let highest = listed
            .chain(report.rest.iter().map(ViolationSummary::facts))
            .filter_map(|violation| self.severity_of(&violation))
            .max();
        // Violations that are not kept count like those without a matching rule.
        let unlisted = report.violations > (report.top.len() + report.rest.len()) as u64;
        highest.or((unlisted || report.violations == 0).then_some(Severity::Warning))
    }

    /// Check types of the violations in a report that count.
    pub fn check_types(&self, report: &ReportEvidence) -> Vec<String> {
        if self.violations.is_empty() {
            return report.by_check_type.keys().cloned().collect();
        }
        if let Some(judged) = self.earlier_judgment(report) {
            return match (self.by_check_type(report), &judged.check_types) {
                (Some(counting), _) if judged.policy_version != self.policy_version => {
                    counting.into_iter().map(|(name, _)| name.to_owned()).collect()
                }
                (_, Some(check_types)) => check_types.clone(),
                (_, None) => report.by_check_type.keys().cloned().collect(),
            };
        }
        let listed = report
            .top
            .iter()
            .map(ViolationFacts::from)
            .chain(report.rest.iter().map(ViolationSummary::facts));
        let counting = listed.filter(|violation| self.severity_of(violation).is_some());
        let check_types: BTreeSet<&str> = counting.map(|violation| violation.check_type).collect();
        check_types.into_iter().map(ToOwned::to_owned).collect()
    }

    /// Result of the rules when the report was condensed, unless all of its violations are still known.
    fn earlier_judgment<'a>(&self, report: &'a ReportEvidence) -> Option<&'a ReportJudgment> {
        let judged = report.judged.as_deref()?;
        let is_current = judged.policy_version == self.policy_version;
        (is_current || report.rest.len() as u64 != report.violations).then_some(judged)
    }

    /// Check types in a report that count, with their severities, if the rules need nothing else of its violations.
    fn by_check_type<'a>(&self, report: &'a ReportEvidence) -> Option<Vec<(&'a str, Severity)>> {
        let mut counting = Vec::new();
        for name in report.by_check_type.keys() {
            let fits = |rule: &&ViolationRule| rule.check_type.as_ref().is_none_or(|pattern| pattern.matches(name));
            let severity = match self.violations.iter().find(fits) {
                None => Some(Severity::Warning),
                Some(rule) if rule.needs_only_check_type() => rule.counts.then_some(rule.severity),
                Some(_) => return None,
            };
            counting.extend(severity.map(|severity| (name.as_str(), severity)));
        }
        Some(counting)
    }

    /// Result of a datapoint for the window.
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

    /// Datapoints that the window evaluates with their results, oldest first, out of those that count, newest first. A
    /// window over executions evaluates the latest N that take a slot. A time window evaluates those in its evaluation
    /// range, which ends with the period of `as_of`.
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

    /// Periods in the evaluation range of a time window, oldest first, from the datapoints that count, newest first, and
    /// the results of earlier executions. The range ends with the period of `as_of`.
    pub(crate) fn periods<'a>(
        &self,
        range: usize,
        period: PeriodLength,
        newest_first: impl Iterator<Item = &'a Datapoint>,
        past: &PastResults,
        as_of: Timestamp,
    ) -> Vec<Period> {
        let mut periods = vec![Period::Missing; range];
        let newest = period.index(as_of);
        let age = |time: Timestamp| usize::try_from(newest - period.index(time)).ok();
        let judged = newest_first
            .filter_map(|datapoint| Some((age(datapoint.scheduled_time)?, datapoint)))
            .take_while(|(age, _)| *age < range)
            .map(|(age, datapoint)| (age, self.judge(datapoint)));
        let earlier = past
            .newest_first(period)
            .filter_map(|(time, result)| Some((age(time)?, result)))
            .take_while(|(age, _)| *age < range);
        for (age, result) in judged.chain(earlier) {
            // The worst execution in a period determines it, like the statistic `Maximum` of the metric `Breaching`.
            if let Some(slot) = range.checked_sub(age + 1).and_then(|at| periods.get_mut(at)) {
                *slot = slot.worst(result);
            }
        }
        periods
    }

    /// Alert status from the datapoints that count, newest first, the results of earlier executions, and the previous
    /// status. A time window ends with the period of `as_of`. If datapoints count only since a time, it has no periods
    /// before `since`.
    pub fn status<'a>(
        &self,
        window: &AlertWindow,
        newest_first: impl Iterator<Item = &'a Datapoint>,
        past: &PastResults,
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
                let periods = self.periods(window.evaluation_range(), *period, newest_first, past, as_of);
                let before = match previous {
                    AlertStatus::Ok => AlarmState::Ok,
                    AlertStatus::InAlert => AlarmState::Alarm,
                    AlertStatus::InsufficientData => AlarmState::InsufficientData,
                };
                let window = since.map_or(*window, |since| {
                    let periods = usize::try_from(period.index(as_of) - period.index(since) + 1);
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
    fn pattern_has_stars_at_any_position() {
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
    fn weeks_start_on_monday_and_months_on_the_first() {
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
    fn weekly_maintenance_window_may_cross_the_weekend() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        // Sunday 22:00, for 6 hours.
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
