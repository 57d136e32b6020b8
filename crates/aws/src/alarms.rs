//! CloudWatch alarms.

use super::{Aws, failed};
use alerting::AlertStatus;
use aws_sdk_cloudwatch::{
    primitives::DateTime,
    types::{AlarmType, StateValue},
};
use jiff::Timestamp;
use machine::AwsError;
use shell::ports::{AlarmNames, AlarmPage, Alarms, CloudWatchAlarm};

/// Maximum number of alarms per page (API, `DescribeAlarms`).
const MAX_ALARMS_PER_PAGE: i32 = 100;

impl Alarms for Aws {
    async fn describe_alarms(&self, names: AlarmNames<'_>, next: Option<&str>) -> Result<AlarmPage, AwsError> {
        // Without types, only metric alarms are listed.
        let types = [AlarmType::MetricAlarm, AlarmType::CompositeAlarm, AlarmType::LogAlarm];
        let request = self
            .cloudwatch()
            .describe_alarms()
            .set_alarm_types(Some(types.into()))
            .max_records(MAX_ALARMS_PER_PAGE)
            .set_next_token(next.map(ToOwned::to_owned));
        let request = match names {
            AlarmNames::Listed(names) => request.set_alarm_names(Some(names.to_vec())),
            AlarmNames::Prefix("") => request,
            AlarmNames::Prefix(prefix) => request.alarm_name_prefix(prefix),
        };
        let page = request.send().await;
        let page = page.map_err(|error| failed("cloudwatch:DescribeAlarms", "*", &error))?;
        let metric = page.metric_alarms.into_iter().flatten().map(|alarm| {
            let since = alarm.state_transitioned_timestamp.or(alarm.state_updated_timestamp);
            described(alarm.alarm_name, alarm.state_value.as_ref(), alarm.state_reason, since)
        });
        let composite = page.composite_alarms.into_iter().flatten().map(|alarm| {
            let since = alarm.state_transitioned_timestamp.or(alarm.state_updated_timestamp);
            described(alarm.alarm_name, alarm.state_value.as_ref(), alarm.state_reason, since)
        });
        let log = page.log_alarms.into_iter().flatten().map(|alarm| {
            let since = alarm.state_transitioned_timestamp.or(alarm.state_updated_timestamp);
            described(alarm.alarm_name, alarm.state_value.as_ref(), alarm.state_reason, since)
        });
        Ok(AlarmPage {
            alarms: metric.chain(composite).chain(log).collect(),
            next: page.next_token.filter(|token| !token.is_empty()),
        })
    }
}

fn described(
    name: Option<String>,
    state: Option<&StateValue>,
    reason: Option<String>,
    since: Option<DateTime>,
) -> CloudWatchAlarm {
    let since = since.and_then(|since| Timestamp::from_nanosecond(since.as_nanos()).ok());
    CloudWatchAlarm {
        name: name.unwrap_or_default(),
        status: match state {
            Some(StateValue::Ok) => AlertStatus::Ok,
            Some(StateValue::Alarm) => AlertStatus::InAlert,
            _ => AlertStatus::InsufficientData,
        },
        reason: reason.unwrap_or_default(),
        since: since.unwrap_or(Timestamp::UNIX_EPOCH),
    }
}
