//! Times at which executions of a monitoring schedule are due (developer guide, page
//! `model-monitor-schedule-expression`): hourly, daily, or every few hours from an hour of the day, in UTC; or once.

use jiff::{SignedDuration, Timestamp, tz::TimeZone};

/// `ScheduleConfig.ScheduleExpression`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScheduleExpression {
    /// `cron(0 * ? * * *)`, `cron(0 H ? * * *)`, `cron(0 H/N ? * * *)`: at the hours from `first`, every `step` hours.
    Hours {
        /// First hour of a day.
        first: i8,
        /// Hours between two executions.
        step: i8,
    },
    /// `NOW`: one execution, when the schedule is created.
    Once,
}

impl ScheduleExpression {
    /// Parses a rate expression of EventBridge, for native analyses: `rate(1 hour)`, `rate(6 hours)`, `rate(1 day)`,
    /// starting at midnight. `None` for less than an hour or more than a day, because the folder of a report is that of
    /// an hour.
    pub fn parse_rate(text: &str) -> Option<Self> {
        let rate = text.trim().strip_prefix("rate(")?.strip_suffix(')')?;
        let (count, unit) = rate.split_once(' ')?;
        let count: i8 = count.parse().ok()?;
        let step = match unit.trim() {
            "hour" | "hours" => count,
            "day" if count == 1 => 24,
            _ => return None,
        };
        (1..=24).contains(&step).then_some(Self::Hours { first: 0, step })
    }

    /// Parses an expression; `None` if Model Monitor would reject it.
    pub fn parse(text: &str) -> Option<Self> {
        if text.trim() == "NOW" {
            return Some(Self::Once);
        }
        let fields = text.trim().strip_prefix("cron(")?.strip_suffix(')')?;
        let fields: Vec<&str> = fields.split_whitespace().collect();
        let [minute, hour, rest @ ..] = fields.as_slice() else {
            return None;
        };
        if *minute != "0" || rest.iter().any(|field| !matches!(*field, "*" | "?")) {
            return None;
        }
        let (first, step) = match hour.split_once('/') {
            None if *hour == "*" => (0, 1),
            None => (hour.parse().ok()?, 24),
            Some(("*", step)) => (0, step.parse().ok()?),
            Some((first, step)) => (first.parse().ok()?, step.parse().ok()?),
        };
        ((0..24).contains(&first) && (1..=24).contains(&step)).then_some(Self::Hours { first, step })
    }

    /// The expression as Model Monitor accepts it. `None` for an expression without a recurring execution.
    pub fn to_cron(self) -> Option<String> {
        match self {
            Self::Hours { first, step } => Some(format!("cron(0 {first}/{step} ? * * *)")),
            Self::Once => None,
        }
    }

    /// Whether an execution is due at this full hour.
    pub fn is_due(self, hour: Timestamp) -> bool {
        let Self::Hours { first, step } = self else {
            return false;
        };
        let since = TimeZone::UTC.to_datetime(hour).hour() - first;
        since >= 0 && since % step == 0
    }

    /// Full hours after `after`, up to and including `until`, at which an execution is due, oldest first. Covers at
    /// most the last thousand hours.
    pub fn due(self, after: Timestamp, until: Timestamp) -> Vec<Timestamp> {
        let last = until.as_second().div_euclid(3600);
        let first = after.as_second().div_euclid(3600) + 1;
        (first.max(last - 1000)..=last)
            .filter_map(|hour| Timestamp::UNIX_EPOCH.checked_add(SignedDuration::from_hours(hour)).ok())
            .filter(|hour| self.is_due(*hour))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn due(expression: &str, after: &str, until: &str) -> Vec<String> {
        let expression = ScheduleExpression::parse(expression).unwrap();
        let due = expression.due(at(after), at(until));
        due.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn hourly_daily_and_stepped_schedules() {
        assert_eq!(
            due("cron(0 * ? * * *)", "2026-11-23T08:00:00Z", "2026-11-23T10:30:00Z"),
            ["2026-11-23T09:00:00Z", "2026-11-23T10:00:00Z"]
        );
        assert_eq!(
            due("cron(0 12 ? * * *)", "2026-11-21T12:00:00Z", "2026-11-23T11:59:00Z"),
            ["2026-11-22T12:00:00Z"]
        );
        assert_eq!(
            due("cron(0 17/6 ? * * *)", "2026-11-22T16:00:00Z", "2026-11-23T18:00:00Z"),
            ["2026-11-22T17:00:00Z", "2026-11-22T23:00:00Z", "2026-11-23T17:00:00Z"]
        );
    }

    #[test]
    fn cron_expression_parses_as_itself() {
        for text in ["cron(0 * ? * * *)", "cron(0 12 ? * * *)", "cron(0 17/6 ? * * *)"] {
            let expression = ScheduleExpression::parse(text);
            let cron = expression.and_then(ScheduleExpression::to_cron).unwrap();
            assert_eq!(ScheduleExpression::parse(&cron), expression, "{cron}");
        }
        assert_eq!(ScheduleExpression::Once.to_cron(), None);
    }

    #[test]
    fn once_is_never_due_and_invalid_is_none() {
        assert!(due("NOW", "2026-11-22T16:00:00Z", "2026-11-23T18:00:00Z").is_empty());
        for text in [
            "",
            "rate(1 hour)",
            "cron(5 * ? * * *)",
            "cron(0 24 ? * * *)",
            "cron(0 1/0 ? * * *)",
            "cron(0)",
        ] {
            assert_eq!(ScheduleExpression::parse(text), None, "{text}");
        }
    }
}
