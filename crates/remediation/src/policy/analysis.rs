//! Monitoring schedules of Driftwarden's own, as the policy has them.

use super::{Policy, PolicyError, duration, file::AnalysisTable};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use model_monitor::{EndpointName, MonitorType, MonitoringScheduleName, S3Uri, ScheduleExpression};

/// Where data lie by the hour, if the URI does not say.
const HOURS: &str = "%Y/%m/%d/%H";

/// A monitoring schedule of Driftwarden's own.
#[derive(Debug, Clone, PartialEq)]
pub struct AnalysisSchedule {
    /// Its name.
    pub schedule: MonitoringScheduleName,
    /// Which analysis.
    pub monitor_type: MonitorType,
    /// The monitored endpoint; `None` as of batch transform.
    pub endpoint: Option<EndpointName>,
    /// When executions are due.
    pub expression: ScheduleExpression,
    /// How long after that they begin.
    pub delay: SignedDuration,
    /// What is analysed.
    pub data: HourlyUri,
    /// The baseline's folder.
    pub baseline: S3Uri,
    /// `S3OutputUri`.
    pub output: S3Uri,
    /// The labels.
    pub ground_truth: Option<HourlyUri>,
    /// So long before the scheduled time the data begin; `None`: at the execution before.
    pub start_time_offset: Option<SignedDuration>,
    /// So long before the scheduled time the data end.
    pub end_time_offset: SignedDuration,
    /// Whether the columns of the response stand before those of the request in the baseline dataset.
    pub output_columns_first: bool,
    /// Whether the data type check is lenient.
    pub lenient_types: bool,
    /// The false discovery rate of drift, if it is controlled.
    pub false_discovery_rate: Option<f64>,
    /// Where the configuration of the analysis lies, if not in the baseline's folder.
    pub config: Option<S3Uri>,
}

/// A folder in S3 for each hour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HourlyUri {
    /// The bucket.
    pub bucket: String,
    /// The prefix, with `%Y`, `%m`, `%d` and `%H` in it.
    template: String,
}

impl HourlyUri {
    /// Reads an `s3://` URI, with `%Y`, `%m`, `%d` and `%H` for the hour; without any, they follow at its end.
    pub fn parse(text: &str) -> Option<Self> {
        let S3Uri { bucket, key } = S3Uri::parse(text)?;
        let template = match (key.contains('%'), key.is_empty()) {
            (true, _) => key,
            (false, true) => HOURS.to_owned(),
            (false, false) => format!("{key}/{HOURS}"),
        };
        let uri = Self { bucket, template };
        // A template that cannot be filled in is none.
        jiff::fmt::strtime::format(&uri.template, Timestamp::UNIX_EPOCH).ok()?;
        Some(uri)
    }

    /// The prefix of an hour, with a slash at its end.
    pub fn prefix(&self, hour: Timestamp) -> String {
        let civil = TimeZone::UTC.to_datetime(hour);
        let mut prefix = jiff::fmt::strtime::format(&self.template, civil).unwrap_or_default();
        prefix.push('/');
        prefix
    }
}

impl AnalysisSchedule {
    /// The hours of data that an execution looks at, oldest first.
    pub fn hours(&self, scheduled_time: Timestamp) -> Vec<Timestamp> {
        let hours = |duration: SignedDuration| duration.as_hours();
        let begin = match self.start_time_offset {
            Some(offset) => hours(offset),
            None => hours(self.since_previous(scheduled_time)) + hours(self.end_time_offset),
        };
        let before = |hours: i64| scheduled_time.checked_sub(SignedDuration::from_hours(hours)).ok();
        (hours(self.end_time_offset) + 1..=begin)
            .rev()
            .filter_map(before)
            .collect()
    }

    /// How long before an execution the one before it was due.
    fn since_previous(&self, scheduled_time: Timestamp) -> SignedDuration {
        let day = SignedDuration::from_hours(24);
        let earlier = scheduled_time.checked_sub(day).unwrap_or(Timestamp::MIN);
        let just_before = scheduled_time
            .checked_sub(SignedDuration::from_secs(1))
            .unwrap_or(earlier);
        let due = self.expression.due(earlier, just_before);
        due.last()
            .map_or(day, |previous| scheduled_time.duration_since(*previous))
    }

    /// Where the report of an execution goes: its prefix, with a slash at its end.
    pub fn report_prefix(&self, scheduled_time: Timestamp) -> String {
        let mut prefix = self.output.key.clone();
        if !prefix.is_empty() {
            prefix.push('/');
        }
        if let Some(endpoint) = &self.endpoint {
            prefix.push_str(endpoint.as_str());
            prefix.push('/');
        }
        prefix.push_str(self.schedule.as_str());
        prefix.push('/');
        prefix.push_str(&scheduled_time.strftime(HOURS).to_string());
        prefix.push('/');
        prefix
    }
}

impl Policy {
    /// The monitoring schedules of Driftwarden's own.
    pub fn analyses(&self) -> Vec<AnalysisSchedule> {
        let tables = self.file.analysis.iter().enumerate();
        tables.filter_map(|(at, table)| self.analysis(at, table).ok()).collect()
    }

    /// One of them, or why it cannot be.
    pub(super) fn analysis(&self, at: usize, table: &AnalysisTable) -> Result<AnalysisSchedule, PolicyError> {
        let place = |field: &str| self.place(&format!("analysis.{at}.{field}"));
        let wrong = |field: &str, value: &str, expected: &str| PolicyError::Value {
            of: place(field),
            value: value.to_owned(),
            expected: expected.to_owned(),
        };
        let uri = |field: &str, text: &str| S3Uri::parse(text).ok_or_else(|| wrong(field, text, "an s3:// URI"));
        let hourly = |field: &str, text: &str| {
            let expected = "an s3:// URI, with %Y, %m, %d and %H for year, month, day and hour, or no % in it";
            HourlyUri::parse(text).ok_or_else(|| wrong(field, text, expected))
        };
        let name = "1 to 63 letters, digits and hyphens, with no hyphen at either end";
        let lasting = |field: &str, text: Option<&String>| {
            let read = |text: &String| {
                let found = duration(text).filter(|duration| !duration.is_negative());
                found.ok_or_else(|| wrong(field, text, "a duration: 10m, 2h, 1d"))
            };
            text.map(read).transpose()
        };
        let kind = table.monitor_type.as_deref().unwrap_or("DataQuality");
        let kinds = [
            MonitorType::DataQuality,
            MonitorType::ModelQuality,
            MonitorType::ModelBias,
            MonitorType::ModelExplainability,
        ];
        let expression = table.expression.as_deref().unwrap_or("cron(0 * ? * * *)");
        let recurring = ScheduleExpression::parse(expression)
            .or_else(|| ScheduleExpression::parse_rate(expression))
            .filter(|expression| *expression != ScheduleExpression::Once);
        let position = table.output_columns_position.as_deref().unwrap_or("START");
        if !["START", "END"].contains(&position) {
            return Err(wrong("output_columns_position", position, "START or END"));
        }
        if let Some(rate) = table.false_discovery_rate.filter(|rate| !(*rate > 0.0 && *rate < 1.0)) {
            return Err(wrong(
                "false_discovery_rate",
                &rate.to_string(),
                "a number between 0 and 1",
            ));
        }
        Ok(AnalysisSchedule {
            schedule: MonitoringScheduleName::new(&table.schedule)
                .ok_or_else(|| wrong("schedule", &table.schedule, name))?,
            monitor_type: kinds.into_iter().find(|known| known.as_str() == kind).ok_or_else(|| {
                let expected = "one of DataQuality, ModelQuality, ModelBias, ModelExplainability";
                wrong("monitor_type", kind, expected)
            })?,
            endpoint: table
                .endpoint
                .as_ref()
                .map(|endpoint| EndpointName::new(endpoint).ok_or_else(|| wrong("endpoint", endpoint, name)))
                .transpose()?,
            expression: recurring.ok_or_else(|| {
                let expected =
                    "cron(0 * ? * * *), cron(0 H ? * * *), cron(0 H/N ? * * *), rate(N hours) or rate(1 day)";
                wrong("expression", expression, expected)
            })?,
            delay: lasting("delay", table.delay.as_ref())?.unwrap_or(SignedDuration::from_mins(10)),
            data: hourly("data", &table.data)?,
            baseline: uri("baseline", &table.baseline)?,
            output: uri("output", &table.output)?,
            ground_truth: table
                .ground_truth
                .as_ref()
                .map(|text| hourly("ground_truth", text))
                .transpose()?,
            start_time_offset: lasting("start_time_offset", table.start_time_offset.as_ref())?,
            end_time_offset: lasting("end_time_offset", table.end_time_offset.as_ref())?.unwrap_or_default(),
            output_columns_first: position == "START",
            lenient_types: table.lenient_types.unwrap_or(false),
            false_discovery_rate: table.false_discovery_rate,
            config: table.config.as_ref().map(|text| uri("config", text)).transpose()?,
        })
    }
}
