//! Monitoring schedules of native analyses, from the `[[analysis]]` tables.

use super::{NAME_RULE, Policy, PolicyError, duration, file::AnalysisTable};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use model_monitor::{EndpointName, MonitorType, MonitoringScheduleName, S3Uri, ScheduleExpression};

/// Default layout of the hourly folders, and layout of the reports.
const HOURLY_FOLDERS: &str = "%Y/%m/%d/%H";

/// Monitoring schedule of a native analysis.
#[derive(Debug, Clone, PartialEq)]
pub struct AnalysisSchedule {
    /// Name of the schedule.
    pub schedule: MonitoringScheduleName,
    /// Type of the analysis.
    pub monitor_type: MonitorType,
    /// Monitored endpoint. `None` for batch transform.
    pub endpoint: Option<EndpointName>,
    /// Times at which executions are due.
    pub expression: ScheduleExpression,
    /// Delay between the scheduled time and the start of an execution.
    pub delay: SignedDuration,
    /// Data to analyze.
    pub data: HourlyUri,
    /// Folder with the baseline files.
    pub baseline: S3Uri,
    /// Folder for the reports (`S3OutputUri`).
    pub output: S3Uri,
    /// Ground truth.
    pub ground_truth: Option<HourlyUri>,
    /// Start of the data window before the scheduled time. `None`: the time of the previous execution.
    pub start_time_offset: Option<SignedDuration>,
    /// End of the data window before the scheduled time.
    pub end_time_offset: SignedDuration,
    /// Whether the response columns precede the request columns in the baseline dataset.
    pub output_columns_first: bool,
    /// Whether the data type check accepts integers as decimal numbers, and any value as a string.
    pub lenient_types: bool,
    /// Maximum false discovery rate of drift, if significance is tested.
    pub false_discovery_rate: Option<f64>,
    /// Analysis configuration. `None`: the file in the baseline folder.
    pub config: Option<S3Uri>,
}

/// S3 URI with a folder for each hour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HourlyUri {
    /// Name of the bucket.
    pub bucket: String,
    /// Prefix with the placeholders `%Y`, `%m`, `%d`, and `%H`.
    template: String,
}

impl HourlyUri {
    /// Parses an `s3://` URI with the placeholders `%Y`, `%m`, `%d`, and `%H`. Without a `%`, `/%Y/%m/%d/%H` is
    /// appended.
    pub fn parse(text: &str) -> Option<Self> {
        let S3Uri { bucket, key } = S3Uri::parse(text)?;
        let template = match (key.contains('%'), key.is_empty()) {
            (true, _) => key,
            (false, true) => HOURLY_FOLDERS.to_owned(),
            (false, false) => format!("{key}/{HOURLY_FOLDERS}"),
        };
        let uri = Self { bucket, template };
        // Rejects a template that cannot be filled in, such as one with a time zone.
        uri.folder(Timestamp::UNIX_EPOCH)?;
        Some(uri)
    }

    fn folder(&self, hour: Timestamp) -> Option<String> {
        jiff::fmt::strtime::format(&self.template, TimeZone::UTC.to_datetime(hour)).ok()
    }

    /// Prefix for an hour, with a slash at the end.
    pub fn prefix(&self, hour: Timestamp) -> String {
        let mut prefix = self.folder(hour).unwrap_or_default();
        prefix.push('/');
        prefix
    }
}

impl AnalysisSchedule {
    /// Hours in the data window of an execution, oldest first.
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

    /// Time between the previous execution and this one.
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

    /// Prefix for the report of an execution, with a slash at the end.
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
        prefix.push_str(&scheduled_time.strftime(HOURLY_FOLDERS).to_string());
        prefix.push('/');
        prefix
    }
}

impl Policy {
    /// Monitoring schedules of native analyses.
    pub fn analyses(&self) -> Vec<AnalysisSchedule> {
        self.analyses.clone()
    }

    /// Validates one table.
    pub(super) fn analysis(&self, at: usize, table: &AnalysisTable) -> Result<AnalysisSchedule, PolicyError> {
        let place = |field: &str| self.place(&format!("analysis.{at}.{field}"));
        let invalid = |field: &str, value: &str, expected: &str| PolicyError::Value {
            place: place(field),
            value: value.to_owned(),
            expected: expected.to_owned(),
        };
        let uri = |field: &str, text: &str| S3Uri::parse(text).ok_or_else(|| invalid(field, text, "an s3:// URI"));
        let hourly = |field: &str, text: &str| {
            let expected = "an s3:// URI without % or with %Y, %m, %d, and %H";
            HourlyUri::parse(text).ok_or_else(|| invalid(field, text, expected))
        };
        let optional_duration = |field: &str, text: Option<&String>| {
            let read = |text: &String| {
                let found = duration(text).filter(|duration| !duration.is_negative());
                found.ok_or_else(|| invalid(field, text, "a duration such as 10m, 2h, or 1d"))
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
            return Err(invalid("output_columns_position", position, "START or END"));
        }
        if let Some(rate) = table.false_discovery_rate.filter(|rate| !(*rate > 0.0 && *rate < 1.0)) {
            return Err(invalid(
                "false_discovery_rate",
                &rate.to_string(),
                "a number between 0 and 1",
            ));
        }
        Ok(AnalysisSchedule {
            schedule: MonitoringScheduleName::new(&table.schedule)
                .ok_or_else(|| invalid("schedule", &table.schedule, NAME_RULE))?,
            monitor_type: kinds.into_iter().find(|known| known.as_str() == kind).ok_or_else(|| {
                let expected = "DataQuality, ModelQuality, ModelBias, or ModelExplainability";
                invalid("monitor_type", kind, expected)
            })?,
            endpoint: table
                .endpoint
                .as_ref()
                .map(|endpoint| EndpointName::new(endpoint).ok_or_else(|| invalid("endpoint", endpoint, NAME_RULE)))
                .transpose()?,
            expression: recurring.ok_or_else(|| {
                let expected =
                    "cron(0 * ? * * *), cron(0 H ? * * *), cron(0 H/N ? * * *), rate(N hours), or rate(1 day)";
                invalid("expression", expression, expected)
            })?,
            delay: optional_duration("delay", table.delay.as_ref())?.unwrap_or(SignedDuration::from_mins(10)),
            data: hourly("data", &table.data)?,
            baseline: uri("baseline", &table.baseline)?,
            output: uri("output", &table.output)?,
            ground_truth: table
                .ground_truth
                .as_ref()
                .map(|text| hourly("ground_truth", text))
                .transpose()?,
            start_time_offset: optional_duration("start_time_offset", table.start_time_offset.as_ref())?,
            end_time_offset: optional_duration("end_time_offset", table.end_time_offset.as_ref())?.unwrap_or_default(),
            output_columns_first: position == "START",
            lenient_types: table.lenient_types.unwrap_or(false),
            false_discovery_rate: table.false_discovery_rate,
            config: table.config.as_ref().map(|text| uri("config", text)).transpose()?,
        })
    }
}
