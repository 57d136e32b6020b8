//! Locations of monitor outputs in S3.
//!
//! Reports of an endpoint: `{S3OutputUri}/{endpoint}/{schedule}/yyyy/mm/dd/hh/`. Reports of batch transform:
//! `{S3OutputUri}/{schedule}/yyyy/mm/dd/hh/`. The hour is the one for which the execution was scheduled, in UTC. Only a
//! caller that knows `S3OutputUri` is able to distinguish an endpoint before the schedule from the end of
//! `S3OutputUri`.

use crate::{EndpointName, MonitoringScheduleName, S3Uri};
use jiff::{Timestamp, tz::TimeZone};

/// File names of the report: the built-in containers' name, and the name in the guide's contract for custom containers
/// (page `model-monitor-byoc-contract-outputs`).
pub const VIOLATION_FILE_NAMES: [&str; 2] = ["constraint_violations.json", "constraints_violations.json"];

/// Last part of the output URI of a ground truth merge job.
pub const GROUND_TRUTH_MERGE_FOLDER: &str = "merge";

/// Folder of one monitoring execution. It identifies the execution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportFolder {
    /// Name of the bucket.
    pub bucket: String,
    /// Key up to the hour, without a trailing slash.
    pub key: String,
    /// Monitored endpoint; `None` for batch transform.
    pub endpoint: Option<EndpointName>,
    /// Monitoring schedule.
    pub schedule: MonitoringScheduleName,
    /// Hour for which the execution was scheduled.
    pub scheduled_time: Timestamp,
}

impl ReportFolder {
    /// Execution of a violation report; `None` if the object is not a violation report.
    ///
    /// `output_prefixes` are the key parts of the monitors' `S3OutputUri`. With prefixes, a key outside of all of them
    /// is not a report, and the part between the prefix and the schedule is the endpoint. Without prefixes, the part
    /// before the schedule counts as the endpoint. This is wrong for batch transform, whose monitors need a prefix.
    pub fn from_key(bucket: &str, key: &str, output_prefixes: &[String]) -> Option<Self> {
        let (folder, file) = key.rsplit_once('/')?;
        VIOLATION_FILE_NAMES
            .contains(&file)
            .then(|| Self::new(bucket, folder, output_prefixes))?
    }

    /// Execution of an output URI of a job (`s3://bucket/…/hh`, with or without a trailing slash).
    pub fn from_uri(uri: &str, output_prefixes: &[String]) -> Option<Self> {
        let S3Uri { bucket, key } = S3Uri::parse(uri)?;
        Self::new(&bucket, &key, output_prefixes)
    }

    fn new(bucket: &str, folder: &str, output_prefixes: &[String]) -> Option<Self> {
        let parts: Vec<&str> = folder.split('/').collect();
        let [before @ .., schedule, year, month, day, hour] = parts.as_slice() else {
            return None;
        };
        let scheduled_time = hour_of(year, month, day, hour)?;
        let schedule = MonitoringScheduleName::new(schedule)?;
        let endpoint = if output_prefixes.is_empty() {
            before.last().and_then(|name| EndpointName::new(name))
        } else {
            let before = before.join("/");
            let beyond = |prefix: &String| {
                let prefix = prefix.trim_matches('/');
                let rest = before.strip_prefix(prefix)?;
                if rest.is_empty() || prefix.is_empty() {
                    Some(rest)
                } else {
                    rest.strip_prefix('/')
                }
            };
            // The longest prefix is the most specific one.
            let rest = output_prefixes
                .iter()
                .filter_map(beyond)
                .min_by_key(|rest| rest.len())?;
            if rest.is_empty() {
                None
            } else {
                Some(EndpointName::new(rest)?)
            }
        };
        Some(Self {
            bucket: bucket.to_owned(),
            key: folder.to_owned(),
            endpoint,
            schedule,
            scheduled_time,
        })
    }

    /// Possible keys of the violation report, the usual one first.
    pub fn violation_keys(&self) -> [String; 2] {
        VIOLATION_FILE_NAMES.map(|name| format!("{}/{name}", self.key))
    }

    /// Possible URIs of the violation report, the usual one first.
    pub fn violation_uris(&self) -> [S3Uri; 2] {
        self.violation_keys().map(|key| S3Uri {
            bucket: self.bucket.clone(),
            key,
        })
    }

    /// URI of the folder, as in the output of a job.
    pub fn uri(&self) -> S3Uri {
        S3Uri {
            bucket: self.bucket.clone(),
            key: self.key.clone(),
        }
    }
}

pub(crate) fn hour_of(year: &str, month: &str, day: &str, hour: &str) -> Option<Timestamp> {
    let digits = |text: &str, count: usize| {
        (text.len() == count && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse::<i16>().ok())?
    };
    let small = |text: &str| digits(text, 2).and_then(|number| i8::try_from(number).ok());
    let (year, month, day, hour) = (digits(year, 4)?, small(month)?, small(day)?, small(hour)?);
    // A year that is far ahead is a valid folder: its reports are errors, not objects that are ignored.
    let valid = (2015..=9998).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24;
    if !valid {
        return None;
    }
    let date = jiff::civil::Date::new(year, month, day).ok()?;
    date.at(hour, 0, 0, 0)
        .to_zoned(TimeZone::UTC)
        .ok()
        .map(|zoned| zoned.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(key: &str, prefixes: &[&str]) -> Option<String> {
        let prefixes: Vec<String> = prefixes.iter().map(|prefix| (*prefix).to_owned()).collect();
        ReportFolder::from_key("bucket", key, &prefixes).map(|folder| {
            let endpoint = folder
                .endpoint
                .map_or_else(|| "-".to_owned(), |endpoint| endpoint.to_string());
            format!("{endpoint} {} {}", folder.schedule, folder.scheduled_time)
        })
    }

    #[test]
    fn endpoint_report_key_gives_endpoint_schedule_and_hour() {
        let key = "monitoring/reports/Churn/Churn-DQ/2026/11/23/03/constraint_violations.json";
        let expected = Some("Churn Churn-DQ 2026-11-23T03:00:00Z".to_owned());
        assert_eq!(read(key, &["monitoring/reports"]), expected);
        assert_eq!(read(key, &[]), expected);
        assert_eq!(
            read(
                &key.replace("constraint_", "constraints_"),
                &["other", "monitoring/reports"]
            ),
            expected
        );
        assert_eq!(
            read("Churn/Churn-DQ/2026/11/23/03/constraint_violations.json", &[]),
            expected
        );
    }

    #[test]
    fn batch_report_has_no_endpoint_if_prefix_is_known() {
        let key = "batch/reports/churn-dq/2026/11/23/03/constraint_violations.json";
        assert_eq!(
            read(key, &["batch/reports"]),
            Some("- churn-dq 2026-11-23T03:00:00Z".to_owned())
        );
        assert_eq!(
            read(key, &["batch", "batch/reports"]),
            Some("- churn-dq 2026-11-23T03:00:00Z".to_owned())
        );
        assert_eq!(
            read(key, &[]),
            Some("reports churn-dq 2026-11-23T03:00:00Z".to_owned()),
            "the trap"
        );
    }

    #[test]
    fn other_keys_are_not_reports() {
        for key in [
            "constraint_violations.json",
            "baselines/constraint_violations.json",
            "r/e/s/2026/11/23/03/statistics.json",
            "r/e/s/2026/11/23/24/constraint_violations.json",
            "r/e/s/2026/02/30/03/constraint_violations.json",
            "r/e/s/2026/11/23/3/constraint_violations.json",
            "r/e/s/2026/11/23/constraint_violations.json",
            "r/e/bad_name/2026/11/23/03/constraint_violations.json",
            "r/e/s/+026/11/23/03/constraint_violations.json",
        ] {
            assert_eq!(read(key, &[]), None, "{key}");
        }
        let elsewhere = "other/e/s/2026/11/23/03/constraint_violations.json";
        assert_eq!(read(elsewhere, &["monitoring/reports"]), None);
        assert_eq!(
            read(
                "monitoring/reportsX/s/2026/11/23/03/constraint_violations.json",
                &["monitoring/reports"]
            ),
            None
        );
    }

    #[test]
    fn report_of_any_future_year_is_a_report() {
        for year in ["2126", "2200", "2999", "9998"] {
            let key = format!("r/e/s/{year}/11/23/03/constraint_violations.json");
            assert_eq!(read(&key, &["r"]), Some(format!("e s {year}-11-23T03:00:00Z")));
        }
    }

    #[test]
    fn job_output_parses_with_and_without_slash() {
        for uri in ["s3://b/r/e/s/2026/11/23/03", "s3://b/r/e/s/2026/11/23/03/"] {
            let folder = ReportFolder::from_uri(uri, &["r".to_owned()]).unwrap();
            assert_eq!(
                folder.violation_keys()[0],
                "r/e/s/2026/11/23/03/constraint_violations.json"
            );
        }
        assert_eq!(ReportFolder::from_uri("https://b/r/e/s/2026/11/23/03", &[]), None);
    }
}
