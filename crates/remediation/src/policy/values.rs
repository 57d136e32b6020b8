//! Values of settings, checked where they are read: a policy that was parsed has no invalid value.
//!
//! Each type keeps what was written, where people read it again, next to what it means. Its error completes the sentence
//! "SETTING, line N: …" and shows the value, unless the value may be a secret.

use super::{NAME_RULE, PIPELINE_PARAMETERS, PLACEHOLDERS, duration, is_name};
use alerting::PeriodLength;
use jiff::SignedDuration;
use model_monitor::{MonitorType, S3Uri};
use promotion::GuardrailMetric;
use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, SeqAccess, Visitor},
};
use std::{collections::BTreeMap, fmt};

/// Periods below a minute that CloudWatch supports, in seconds (*API Reference*, `MetricStat`).
const SHORT_PERIOD_SECONDS: [i64; 3] = [10, 20, 30];
/// Maximum number of steps of an experiment.
const MAX_STEPS: usize = 50;
/// Names of the weekdays, in lower case. Settings use them, or their first three letters.
const WEEKDAYS: [&str; 7] = [
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
    "sunday",
];
/// Minutes per day.
pub(super) const MINUTES_PER_DAY: i64 = 24 * 60;

/// The schema of a checked value is that of the type that it is written as.
macro_rules! schema_as {
    ($raw:ty: $($checked:ty),+ $(,)?) => {$(
        #[cfg(feature = "schema")]
        impl schemars::JsonSchema for $checked {
            fn inline_schema() -> bool {
                <$raw>::inline_schema()
            }

            fn schema_name() -> std::borrow::Cow<'static, str> {
                <$raw>::schema_name()
            }

            fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
                <$raw>::json_schema(generator)
            }
        }
    )+};
}

schema_as!(
    String: Length, Deadline, MetricsPeriod, Period, TypeName, Name, S3Text, JsonPointer, CloudWatchName, MetricName,
);
schema_as!(f64: NonNegative, Positive, Probability);
schema_as!(Vec<f64>: Traffic);
schema_as!(Vec<GuardrailTable>: Guardrails);

fn expected(what: &str, found: impl fmt::Display) -> String {
    format!("expected {what}, found `{found}`")
}

/// A duration of 0 or more, with its text.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Length {
    pub(crate) text: String,
    pub(crate) duration: SignedDuration,
}

impl Length {
    /// A default, in minutes.
    pub(super) fn from_minutes(minutes: i64) -> Self {
        match minutes {
            0 => Self::from_hours(0),
            minutes => Self {
                text: format!("{minutes}m"),
                duration: SignedDuration::from_mins(minutes),
            },
        }
    }

    /// A default, in whole hours.
    pub(super) fn from_hours(hours: i64) -> Self {
        let text = match hours {
            0 => "0s".to_owned(),
            hours if hours > 48 && hours % 24 == 0 => format!("{}d", hours / 24),
            hours => format!("{hours}h"),
        };
        Self {
            text,
            duration: SignedDuration::from_hours(hours),
        }
    }
}

impl TryFrom<String> for Length {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match duration(&text) {
            Some(duration) => Ok(Self { text, duration }),
            None => Err(expected("a duration such as 30m, 24h, 7d, or 2w", text)),
        }
    }
}

/// A duration of at least a minute: events and sweeps are not faster.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Deadline(pub(crate) Length);

impl TryFrom<String> for Deadline {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let length = Length::try_from(text)?;
        if length.duration < SignedDuration::from_mins(1) {
            return Err(expected("a duration of at least 1m", length.text));
        }
        Ok(Self(length))
    }
}

/// Period of CloudWatch metrics.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct MetricsPeriod(pub(crate) Length);

impl TryFrom<String> for MetricsPeriod {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let what = "10s, 20s, 30s, or whole minutes up to 1h";
        let length = Length::try_from(text)?;
        let seconds = length.duration.as_secs();
        let minutes = seconds > 0 && seconds % 60 == 0 && seconds <= 3600;
        if minutes || SHORT_PERIOD_SECONDS.contains(&seconds) {
            Ok(Self(length))
        } else {
            Err(expected(what, length.text))
        }
    }
}

/// Length of a period of a time window, with its text.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Period {
    pub(crate) text: String,
    pub(crate) length: PeriodLength,
}

impl Default for Period {
    fn default() -> Self {
        Self {
            text: "1h".to_owned(),
            length: PeriodLength::Minutes(60),
        }
    }
}

impl TryFrom<String> for Period {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match PeriodLength::parse(&text) {
            Some(length) => Ok(Self { text, length }),
            None => Err(expected("a period such as 15m, 1h, 1d, 1w, or 1mo", text)),
        }
    }
}

/// Monitor type in a table's selection of monitors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct TypeName(pub(crate) MonitorType);

impl TryFrom<String> for TypeName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let what = "one of DataQuality, ModelQuality, ModelBias, ModelExplainability, Custom";
        MonitorType::parse(&text).map(Self).ok_or_else(|| expected(what, text))
    }
}

/// A number from `MIN` to `MAX`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "i64")]
pub(crate) struct Number<const MIN: u32, const MAX: u32>(pub(crate) u32);

/// A number of 0 or more.
pub(crate) type Count = Number<0, { u32::MAX }>;

impl<const MIN: u32, const MAX: u32> TryFrom<i64> for Number<MIN, MAX> {
    type Error = String;

    fn try_from(value: i64) -> Result<Self, String> {
        let found = u32::try_from(value).ok().filter(|value| (MIN..=MAX).contains(value));
        found.map(Self).ok_or_else(|| {
            let what = match MAX {
                u32::MAX => format!("a number of {MIN} or more"),
                _ => format!("a number from {MIN} to {MAX}"),
            };
            expected(&what, value)
        })
    }
}

#[cfg(feature = "schema")]
impl<const MIN: u32, const MAX: u32> schemars::JsonSchema for Number<MIN, MAX> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        format!("Number{MIN}To{MAX}").into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let mut schema = i64::json_schema(generator);
        schema.insert("minimum".into(), MIN.into());
        if MAX < u32::MAX {
            schema.insert("maximum".into(), MAX.into());
        }
        schema
    }
}

macro_rules! checked_number {
    ($(#[doc = $doc:literal] $name:ident: $what:literal if $fits:expr;)+) => {$(
        #[doc = $doc]
        #[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
        #[serde(try_from = "f64")]
        pub(crate) struct $name(pub(crate) f64);

        impl TryFrom<f64> for $name {
            type Error = String;

            fn try_from(value: f64) -> Result<Self, String> {
                let fits: fn(f64) -> bool = $fits;
                if value.is_finite() && fits(value) {
                    Ok(Self(value))
                } else {
                    Err(expected($what, value))
                }
            }
        }
    )+};
}

checked_number! {
    #[doc = "A number of 0 or more."]
    NonNegative: "a number of 0 or more" if |value| value >= 0.0;
    #[doc = "A number above 0."]
    Positive: "a number above 0" if |value| value > 0.0;
    #[doc = "A probability above 0 and below 1."]
    Probability: "a probability between 0 and 1" if |value| value > 0.0 && value < 1.0;
}

macro_rules! checked_text {
    ($(#[doc = $doc:literal] $name:ident: $what:expr, if $fits:expr;)+) => {$(
        #[doc = $doc]
        #[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
        #[serde(try_from = "String")]
        pub(crate) struct $name(pub(crate) String);

        impl TryFrom<String> for $name {
            type Error = String;

            fn try_from(text: String) -> Result<Self, String> {
                let fits: fn(&str) -> bool = $fits;
                if fits(&text) { Ok(Self(text)) } else { Err(expected($what, text)) }
            }
        }
    )+};
}

checked_text! {
    #[doc = "Name of an endpoint, a schedule, or a model."]
    Name: NAME_RULE, if is_name;
    #[doc = "An `s3://` URI."]
    S3Text: "an s3:// URI", if |text| S3Uri::parse(text).is_some();
    #[doc = "A JSON pointer that is not empty."]
    JsonPointer: "a JSON pointer such as /binary_classification_metrics/auc/value", if |text| text.starts_with('/');
    #[doc = "Name of a namespace or metric in CloudWatch."]
    CloudWatchName: "a name of up to 255 ASCII characters",
        if |name| !name.trim().is_empty() && name.len() <= 255 && name.is_ascii();
    #[doc = "Name of the metric that variants are compared by."]
    MetricName: "the name of a metric", if |name| !name.is_empty();
}

/// Traffic shares of a candidate in percent, in ascending order.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(try_from = "Vec<f64>")]
pub(crate) struct Traffic(pub(crate) Vec<f64>);

impl TryFrom<Vec<f64>> for Traffic {
    type Error = String;

    fn try_from(steps: Vec<f64>) -> Result<Self, String> {
        let fits = |share: &f64| share.is_finite() && *share > 0.0 && *share < 100.0;
        let rises = steps.is_sorted_by(|a, b| a < b);
        let traffic = Self(steps);
        if traffic.0.is_empty() || traffic.0.len() > MAX_STEPS || !traffic.0.iter().all(fits) || !rises {
            let what = "percentages in ascending order, each above 0 and below 100";
            return Err(expected(what, traffic));
        }
        Ok(traffic)
    }
}

impl fmt::Display for Traffic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let steps: Vec<String> = self.0.iter().map(f64::to_string).collect();
        f.write_str(&steps.join(", "))
    }
}

/// Limit of an endpoint metric that stops an experiment.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct GuardrailTable {
    /// Metric to limit: `latency_p50`, `latency_p90`, `latency_p99`, `errors_4xx`, `errors_5xx`, or `model_errors`.
    pub(crate) metric: GuardrailMetric,
    /// Maximum amount by which the candidate may be worse than the champion: a fraction of the champion's latency (0.2
    /// is 20% slower), or a fraction of the requests (0.01 is 1 percentage point more errors).
    pub(crate) margin: NonNegative,
    /// Absolute limit for the candidate, in microseconds or as a fraction of the requests. Default: none.
    pub(crate) limit: Option<Positive>,
}

/// Guardrails, each metric at most once.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(try_from = "Vec<GuardrailTable>")]
pub(crate) struct Guardrails(pub(crate) Vec<GuardrailTable>);

impl TryFrom<Vec<GuardrailTable>> for Guardrails {
    type Error = String;

    fn try_from(tables: Vec<GuardrailTable>) -> Result<Self, String> {
        for (at, guardrail) in tables.iter().enumerate() {
            if tables.iter().take(at).any(|earlier| earlier.metric == guardrail.metric) {
                return Err(expected("each metric at most once", guardrail.metric.as_str()));
            }
        }
        Ok(Self(tables))
    }
}

/// Parameters of a pipeline execution: a list of Driftwarden's parameters, or a table of names with templates.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "ParametersTable", untagged))]
pub(crate) enum Parameters {
    /// Names out of `DriftwardenModel`, `DriftwardenIncident`, `MonitoringSchedule`, `ReportUri`, and `DriftedFeatures`
    /// that the pipeline declares.
    Names(Vec<String>),
    /// Values by parameter name. `{model}`, `{incident}`, `{schedule}`, `{report_uri}`, `{features}`, `{endpoint}`, and
    /// `{monitor_type}` in a value are replaced by the data of the incident.
    Templates(BTreeMap<String, String>),
}

impl Parameters {
    /// All of Driftwarden's parameters.
    pub(super) fn all() -> Self {
        Self::Templates(
            PIPELINE_PARAMETERS
                .map(|(name, template)| (name.to_owned(), template.to_owned()))
                .into(),
        )
    }

    /// Templates by parameter name.
    pub(super) fn into_templates(self) -> BTreeMap<String, String> {
        match self {
            Self::Templates(templates) => templates,
            Self::Names(names) => {
                let template = |name: String| {
                    let (_, template) = PIPELINE_PARAMETERS.iter().find(|(own, _)| *own == name)?;
                    Some((name, (*template).to_owned()))
                };
                names.into_iter().filter_map(template).collect()
            }
        }
    }
}

impl fmt::Display for Parameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let each: Vec<String> = match self {
            Self::Names(names) => names.clone(),
            Self::Templates(templates) => {
                let each = templates.iter().map(|(name, template)| format!("{name} = {template}"));
                each.collect()
            }
        };
        f.write_str(&each.join(", "))
    }
}

impl<'de> Deserialize<'de> for Parameters {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ParametersVisitor)
    }
}

struct ParametersVisitor;

impl<'de> Visitor<'de> for ParametersVisitor {
    type Value = Parameters;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of parameter names, or a table of parameter names and templates")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Parameters, A::Error> {
        let mut names = Vec::new();
        while let Some(name) = list.next_element::<String>()? {
            if !PIPELINE_PARAMETERS.iter().any(|(own, _)| *own == name) {
                let own = PIPELINE_PARAMETERS.map(|(own, _)| own).join(", ");
                let what = format!("one of {own}, or a table of names and values ({{ {name} = \"…\" }})");
                return Err(A::Error::custom(expected(&what, name)));
            }
            names.push(name);
        }
        Ok(Parameters::Names(names))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut table: A) -> Result<Parameters, A::Error> {
        let mut templates = BTreeMap::new();
        while let Some((name, template)) = table.next_entry::<String, String>()? {
            let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
            if name.is_empty() || name.len() > 256 || !name.chars().all(fits) {
                let what = "a parameter name of up to 256 letters, digits, hyphens, and underscores";
                return Err(A::Error::custom(expected(what, name)));
            }
            for part in template.split('{').skip(1) {
                let placeholder = part.split_once('}').map(|(placeholder, _)| placeholder);
                if !placeholder.is_some_and(|placeholder| PLACEHOLDERS.contains(&placeholder)) {
                    let what = format!("a template with the placeholders {{{}}}", PLACEHOLDERS.join("}, {"));
                    return Err(A::Error::custom(expected(&what, template)));
                }
            }
            templates.insert(name, template);
        }
        Ok(Parameters::Templates(templates))
    }
}

/// Number of a weekday, Monday first, from its name: `Mon` or `Monday`.
fn weekday(name: &str) -> Option<usize> {
    let name = name.trim().to_lowercase();
    let is_named = |day: &&str| **day == name || day.get(..3) == Some(name.as_str());
    WEEKDAYS.iter().position(is_named)
}

/// Parses `Mon-Fri`, `Sat,Sun`, or `Fri-Mon,Wed` as weekdays, Monday first.
pub(super) fn weekdays(text: &str) -> Option<[bool; 7]> {
    let mut days = [false; 7];
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (weekday(first)?, weekday(last)?);
        let mut day = first;
        loop {
            *days.get_mut(day)? = true;
            if day == last {
                break;
            }
            day = (day + 1) % 7;
        }
    }
    Some(days)
}

/// Parses a time of day up to `24:00` as minutes after 00:00.
pub(super) fn minute_of_day(text: &str) -> Option<i64> {
    let (hour, minute) = text.trim().split_once(':')?;
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !matches!(hour.len(), 1 | 2) || minute.len() != 2 || !digits(hour) || !digits(minute) {
        return None;
    }
    let (hour, minute): (i64, i64) = (hour.parse().ok()?, minute.parse().ok()?);
    let minutes = hour * 60 + minute;
    (minute < 60 && minutes <= MINUTES_PER_DAY).then_some(minutes)
}

/// Parses `Sat 22:00` as minutes after Monday 00:00.
pub(super) fn minute_of_week(text: &str) -> Option<i64> {
    let (day, time) = text.trim().split_once(' ')?;
    let minute = minute_of_day(time).filter(|minute| *minute < MINUTES_PER_DAY)?;
    Some(i64::try_from(weekday(day)?).ok()? * MINUTES_PER_DAY + minute)
}
