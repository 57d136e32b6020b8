//! CloudWatch alarms in memory.

use super::{Memory, page_of};
use crate::ports::{AlarmNames, AlarmPage, Alarms, CloudWatchAlarm};
use alerting::AlertStatus;
use machine::{AwsError, Kind};

impl Memory {
    /// Adds an alarm, or changes its state, at the current time.
    pub fn set_alarm_state(&self, name: &str, status: AlertStatus) {
        let mut inner = self.inner();
        let alarm = CloudWatchAlarm {
            name: name.to_owned(),
            status,
            reason: "Threshold Crossed".to_owned(),
            since: inner.now,
        };
        inner.alarms.insert(name.to_owned(), alarm);
    }

    /// Deletes an alarm.
    pub fn delete_alarm(&self, name: &str) {
        self.inner().alarms.remove(name);
    }
}

impl Alarms for Memory {
    async fn describe_alarms(&self, names: AlarmNames<'_>, next: Option<&str>) -> Result<AlarmPage, AwsError> {
        self.call("cloudwatch:DescribeAlarms", "*", |inner| {
            let is_named = |name: &String| match names {
                AlarmNames::Listed(names) => names.contains(name),
                AlarmNames::Prefix(prefix) => name.starts_with(prefix),
            };
            if matches!(names, AlarmNames::Listed(names) if names.len() > AlarmNames::MAX_LISTED) {
                return Err(AwsError {
                    operation: "cloudwatch:DescribeAlarms",
                    resource: "*".to_owned(),
                    kind: Kind::Rejected,
                    message: "too many names".to_owned(),
                });
            }
            let matching = inner.alarms.iter().filter(|(name, _)| is_named(name));
            let alarms: Vec<CloudWatchAlarm> = matching.map(|(_, alarm)| alarm.clone()).collect();
            let (alarms, next) = page_of(&alarms, next);
            Ok(AlarmPage { alarms, next })
        })
        .await
    }
}
