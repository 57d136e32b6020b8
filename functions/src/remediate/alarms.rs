//! CloudWatch alarms that the policy names: each counts as a monitor of its model.
//!
//! Events and lists of CloudWatch say the same, the state of an alarm since a time. So the later one counts, in whatever order they
//! arrive.

use crate::{Ignored, Routed};
use alerting::{AlertStateChange, AlertStatus, HealthStatus, Level};
use jiff::Timestamp;
use machine::{AwsError, correlation_id};
use model_monitor::AlarmStateChange;
use remediation::{AlarmPolicy, Input, Levels, ModelDocument, Policy, schedule_key};
use shell::ports::{AlarmNames, Alarms, CloudWatchAlarm};
use std::collections::BTreeMap;

/// The alarms of the policy as CloudWatch lists them, by name.
#[derive(Debug)]
pub struct ListedAlarms {
    /// Time of the list. A later alarm may be missing.
    at: Timestamp,
    alarms: BTreeMap<String, CloudWatchAlarm>,
}

impl ListedAlarms {
    /// Reads all alarms of the policy.
    ///
    /// # Errors
    /// If a call to AWS fails.
    pub async fn read(clients: &impl Alarms, policy: &Policy, now: Timestamp) -> Result<Self, AwsError> {
        let names = policy.alarm_names().map(ToOwned::to_owned);
        let (patterns, names): (Vec<String>, Vec<String>) = names.partition(|name| name.contains('*'));
        let mut alarms = describe(clients, &names).await?;
        for pattern in patterns {
            let prefix = pattern.split('*').next().unwrap_or_default();
            read_pages(clients, AlarmNames::Prefix(prefix), &mut alarms).await?;
        }
        alarms.retain(|name, _| policy.alarm(name).is_some());
        Ok(Self { at: now, alarms })
    }

    /// The alarms of a model, with their settings.
    fn for_model<'a>(
        &'a self,
        model: &'a str,
        policy: &'a Policy,
    ) -> impl Iterator<Item = (&'a CloudWatchAlarm, AlarmPolicy)> {
        let alarms = self.alarms.values();
        let alarms = alarms.filter_map(|alarm| Some((alarm, policy.alarm(&alarm.name)?)));
        alarms.filter(move |(_, rules)| rules.model == model)
    }

    /// Names of the models with an alarm in the state ALARM.
    pub fn models_in_alert(&self, policy: &Policy) -> impl Iterator<Item = String> {
        let in_alert = self
            .alarms
            .values()
            .filter(|alarm| alarm.status == AlertStatus::InAlert);
        in_alert.filter_map(|alarm| Some(policy.alarm(&alarm.name)?.model))
    }

    /// The states of the alarms of a model as a text, which changes with them.
    pub fn describe(&self, model: &str, policy: &Policy) -> String {
        let states = self.for_model(model, policy);
        let states = states.map(|(alarm, _)| format!("{} {} {}", alarm.name, alarm.status.as_str(), alarm.since));
        states.collect::<Vec<String>>().join("\n")
    }
}

/// The alarms with these names that exist, by name.
async fn describe(clients: &impl Alarms, names: &[String]) -> Result<BTreeMap<String, CloudWatchAlarm>, AwsError> {
    let mut alarms = BTreeMap::new();
    for names in names.chunks(AlarmNames::MAX_LISTED) {
        read_pages(clients, AlarmNames::Listed(names), &mut alarms).await?;
    }
    Ok(alarms)
}

async fn read_pages(
    clients: &impl Alarms,
    names: AlarmNames<'_>,
    alarms: &mut BTreeMap<String, CloudWatchAlarm>,
) -> Result<(), AwsError> {
    let mut next: Option<String> = None;
    loop {
        let page = clients.describe_alarms(names, next.as_deref()).await?;
        alarms.extend(page.alarms.into_iter().map(|alarm| (alarm.name.clone(), alarm)));
        next = page.next;
        if next.is_none() {
            return Ok(());
        }
    }
}

/// What the events of the alarms of a model would have caused that were lost. Without a list, only alarms that left the policy
/// retire.
pub(super) fn lost_inputs(
    document: Option<&ModelDocument>,
    model: &str,
    policy: &Policy,
    listed: Option<&ListedAlarms>,
) -> Vec<Input> {
    let known: BTreeMap<&str, _> = document.into_iter().flat_map(ModelDocument::alarms).collect();
    let is_retired = |name: &str, since: Timestamp| {
        let is_unknown = |listed: &ListedAlarms| since <= listed.at && !listed.alarms.contains_key(name);
        policy.alarm(name).is_none_or(|rules| rules.model != model) || listed.is_some_and(is_unknown)
    };
    let retired = known.iter().filter(|(name, alert)| is_retired(name, alert.since));
    let retired = retired.map(|(name, _)| Input::Retired {
        monitoring_schedule: format!("alarm:{name}"),
    });
    let present = listed.into_iter().flat_map(|listed| listed.for_model(model, policy));
    let changed = present.filter(|(alarm, _)| {
        let known = known
            .get(alarm.name.as_str())
            .map_or(AlertStatus::Ok, |alert| alert.status);
        // An alarm that has never been in alert is of no concern.
        known != alarm.status && (known != AlertStatus::Ok || alarm.status == AlertStatus::InAlert)
    });
    let changed = changed.map(|(alarm, rules)| Input::Alert(Box::new(alert(alarm, None, rules, policy))));
    retired.chain(changed).collect()
}

/// The present levels of alarms. One that does not exist, or that left the policy, has no data.
pub(super) async fn levels(
    clients: &impl Alarms,
    names: &[String],
    model: &str,
    policy: &Policy,
    now: Timestamp,
) -> Result<Levels, AwsError> {
    let mut alarms = describe(clients, names).await?;
    let level = |name: &String| {
        let known = policy
            .alarm(name)
            .filter(|rules| rules.model == model)
            .zip(alarms.remove(name));
        let (rules, alarm) = known.unwrap_or_else(|| {
            let rules = AlarmPolicy {
                model: model.to_owned(),
                severity: alerting::Severity::default(),
            };
            let gone = CloudWatchAlarm {
                name: name.clone(),
                status: AlertStatus::InsufficientData,
                reason: "CloudWatch or the policy no longer has the alarm".to_owned(),
                since: now,
            };
            (rules, gone)
        });
        let level = Level {
            alert: alert(&alarm, None, rules, policy),
            health: HealthStatus::Healthy,
            interval: None,
            judged_since_transition: 0,
            alerts: Vec::new(),
            judged: Vec::new(),
        };
        (schedule_key(&level.alert.monitoring_schedule), level)
    };
    Ok(names.iter().map(level).collect())
}

/// The alert of an alarm whose state changed. Ignores an alarm that the policy does not name.
pub(super) fn route(change: &AlarmStateChange, policy: &Policy) -> Routed<(String, Input)> {
    let name = &change.alarm_name;
    let Some(rules) = policy.alarm(name) else {
        return Err(Ignored(format!("the policy has no [[alarm]] for `{name}`")));
    };
    let status = |state: &str| match state {
        "OK" => Some(AlertStatus::Ok),
        "ALARM" => Some(AlertStatus::InAlert),
        "INSUFFICIENT_DATA" => Some(AlertStatus::InsufficientData),
        _ => None,
    };
    let (Some(present), Some(since)) = (status(&change.state), change.timestamp) else {
        return Err(Ignored(format!(
            "the event of alarm `{name}` has no known state or no time"
        )));
    };
    let reason = change.reason.clone();
    let alarm = CloudWatchAlarm {
        name: name.clone(),
        status: present,
        reason: reason.unwrap_or_else(|| format!("the alarm is {}", change.state)),
        since,
    };
    let previous = change.previous_state.as_deref().and_then(status);
    let alert = alert(&alarm, previous, rules, policy);
    Ok((alert.model.clone(), Input::Alert(Box::new(alert))))
}

/// The alert of an alarm in its state.
fn alert(
    alarm: &CloudWatchAlarm,
    previous: Option<AlertStatus>,
    rules: AlarmPolicy,
    policy: &Policy,
) -> AlertStateChange {
    let CloudWatchAlarm { name, since: time, .. } = alarm;
    let in_alert = alarm.status == AlertStatus::InAlert;
    // The time orders the states of an alarm.
    let transition = u64::try_from(time.as_millisecond()).unwrap_or_default();
    AlertStateChange {
        version: "1".into(),
        id: format!("alarm-{name}-{transition}"),
        correlation_id: Some(correlation_id("alarm", &format!("{name}/{time}"))),
        model: rules.model,
        endpoint: None,
        monitoring_schedule: format!("alarm:{name}"),
        monitor_type: None,
        epoch: None,
        transition,
        revision: 0,
        alert_status: alarm.status,
        previous_alert_status: previous.unwrap_or_default(),
        severity: in_alert.then_some(rules.severity),
        datapoints_to_alert: 1,
        evaluation_period: 1,
        period: None,
        breaching: usize::from(in_alert),
        datapoints: Vec::new(),
        violations: Vec::new(),
        check_types: Vec::new(),
        report_uri: None,
        reason: alarm.reason.clone(),
        policy_version: policy.version().to_owned(),
        time: *time,
    }
}
