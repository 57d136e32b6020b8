//! Destinations of notifications, from the `[[notification]]` tables.

use super::{
    Policy, PolicyError,
    explain::Setting,
    file::{NotificationChannel, NotificationKind, NotificationSeverity, NotificationTable},
    values::{MINUTES_PER_DAY, minute_of_day, weekdays},
};
use alerting::Pattern;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, fmt};

/// PagerDuty's URL for events (*Events API v2*, *Send an Alert Event*).
const PAGERDUTY: &str = "https://events.pagerduty.com/v2/enqueue";
/// Maximum length of a URL, in bytes.
const MAX_URL_BYTES: usize = 2048;

/// Location of a secret. The secret is read when it is needed and is not part of the policy.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SecretReference(String);

impl SecretReference {
    /// Parses `secretsmanager:NAME` or `ssm:/NAME`.
    pub fn parse(text: &str) -> Option<Self> {
        let (store, name) = text.split_once(':')?;
        let marks = match store {
            "secretsmanager" => "/_+=.@-",
            "ssm" => "/_.-",
            _ => return None,
        };
        let fits = |c: char| c.is_ascii_alphanumeric() || marks.contains(c);
        ((1..=512).contains(&name.len()) && name.chars().all(fits)).then(|| Self(text.to_owned()))
    }

    /// Name of the secret in Parameter Store, which also gives access to the secrets of Secrets Manager.
    pub fn parameter(&self) -> String {
        match self.0.split_once(':') {
            Some(("secretsmanager", name)) => format!("/aws/reference/secretsmanager/{name}"),
            Some((_, name)) => name.to_owned(),
            None => self.0.clone(),
        }
    }
}

impl fmt::Display for SecretReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Destination of a notification.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "to", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum Destination {
    /// Text to an SNS topic.
    SnsText {
        /// ARN of the topic. `None`: the topic of the stack.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        topic: Option<String>,
    },
    /// JSON to an SNS topic.
    SnsJson {
        /// ARN of the topic. `None`: the topic of the stack.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        topic: Option<String>,
    },
    /// Message to an SNS topic with a subscription of Amazon Q Developer in chat applications.
    Chat {
        /// ARN of the topic. `None`: the topic of the stack.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        topic: Option<String>,
    },
    /// Alert to PagerDuty's Events API v2.
    #[serde(rename = "pagerduty")]
    PagerDuty {
        /// URL of the API.
        url: String,
        /// Location of the routing key.
        routing_key: SecretReference,
    },
    /// Signed POST request to a URL.
    Webhook {
        /// URL of the receiver.
        url: String,
        /// Location of the key that signs the requests.
        signing_key: SecretReference,
    },
}

/// For logs, errors, and people. Of URLs, it shows only the host: the path of a webhook may be a secret.
impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |topic: &Option<String>| topic.clone().unwrap_or_else(|| "topic of the stack".to_owned());
        match self {
            Self::SnsText { topic } => write!(f, "sns-text {}", name(topic)),
            Self::SnsJson { topic } => write!(f, "sns-json {}", name(topic)),
            Self::Chat { topic } => write!(f, "chat {}", name(topic)),
            Self::PagerDuty { url, routing_key } => write!(f, "pagerduty {} ({routing_key})", url_host(url)),
            Self::Webhook { url, .. } => write!(f, "webhook {}", url_host(url)),
        }
    }
}

/// Time range on some weekdays in which notifications are held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuietHours {
    /// Weekdays on which the range starts, Monday first.
    days: [bool; 7],
    /// First minute of the day.
    from: i64,
    /// Minute at which the range ends: on the next day unless it is later than `from`.
    to: i64,
}

impl QuietHours {
    /// Parses `22:00-07:00`, `Mon-Fri 22:00-07:00`, or `Sat,Sun 00:00-24:00`.
    pub fn parse(text: &str) -> Option<Self> {
        let (days, times) = match text.trim().split_once(' ') {
            Some((days, times)) => (weekdays(days)?, times.trim()),
            None => ([true; 7], text.trim()),
        };
        let (from, to) = times.split_once('-')?;
        let (from, to) = (minute_of_day(from)?, minute_of_day(to)?);
        (from < MINUTES_PER_DAY && from != to).then_some(Self { days, from, to })
    }

    /// End of the range that contains the time. `None` if the time is outside.
    pub fn end_after(&self, now: Timestamp) -> Option<Timestamp> {
        let minute = now.as_second().div_euclid(60);
        let today = minute.div_euclid(MINUTES_PER_DAY);
        let ends = [today - 1, today].into_iter().filter_map(|day| {
            // January 1, 1970 was a Thursday.
            let weekday = usize::try_from((day + 3).rem_euclid(7)).ok()?;
            let begin = day * MINUTES_PER_DAY + self.from;
            let end = if self.to > self.from { day } else { day + 1 } * MINUTES_PER_DAY + self.to;
            (*self.days.get(weekday)? && begin <= minute && minute < end).then_some(end)
        });
        ends.max().and_then(|end| Timestamp::from_second(end * 60).ok())
    }
}

/// A time of day, every day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DailyAt {
    minute: i64,
}

impl DailyAt {
    /// Parses `daily at 08:00`.
    pub fn parse(text: &str) -> Option<Self> {
        let minute = minute_of_day(text.trim().strip_prefix("daily at ")?)?;
        (minute < MINUTES_PER_DAY).then_some(Self { minute })
    }

    /// First occurrence after a time.
    pub fn next_after(self, time: Timestamp) -> Timestamp {
        let day = time.as_second().div_euclid(MINUTES_PER_DAY * 60);
        let at = |day: i64| (day * MINUTES_PER_DAY + self.minute) * 60;
        let next = if at(day) > time.as_second() {
            at(day)
        } else {
            at(day + 1)
        };
        Timestamp::from_second(next).unwrap_or(Timestamp::MAX)
    }
}

/// One `[[notification]]` table: a destination and the notifications that it gets.
#[derive(Debug, Clone, PartialEq)]
pub struct NotificationRoute {
    /// Destination.
    pub destination: Destination,
    /// Patterns of model names. Empty: all models.
    pub models: Vec<Pattern>,
    /// Minimum severity.
    pub severity: NotificationSeverity,
    /// Subjects. Empty: all subjects.
    pub kinds: BTreeSet<NotificationKind>,
    /// Quiet hours, in which notifications are held.
    pub quiet: Vec<QuietHours>,
    /// Minimum severity that bypasses quiet hours and the digest.
    pub urgent: Option<NotificationSeverity>,
    /// Time of the daily digest, if enabled.
    pub digest: Option<DailyAt>,
}

impl NotificationRoute {
    /// Whether the destination gets a notification.
    pub fn matches(&self, model: &str, kind: NotificationKind, severity: NotificationSeverity) -> bool {
        severity >= self.severity
            && (self.kinds.is_empty() || self.kinds.contains(&kind))
            && (self.models.is_empty() || self.models.iter().any(|pattern| pattern.matches(model)))
    }

    /// Time until which a notification is held. `None`: it is sent immediately.
    pub fn held_until(&self, severity: NotificationSeverity, now: Timestamp) -> Option<Timestamp> {
        if self.urgent.is_some_and(|urgent| severity >= urgent) {
            return None;
        }
        if let Some(digest) = self.digest {
            return Some(digest.next_after(now));
        }
        let quiet_at = |time| self.quiet.iter().filter_map(|quiet| quiet.end_after(time)).max();
        let first = quiet_at(now)?;
        // Another range may start where one ends. If the quiet hours never end, notifications are sent once a day.
        let mut until = first;
        while let Some(later) = quiet_at(until) {
            if later.duration_since(now).as_hours() > 7 * 24 {
                return Some(first);
            }
            until = later;
        }
        Some(until)
    }
}

impl Default for NotificationRoute {
    /// All notifications as text to the topic of the stack.
    fn default() -> Self {
        Self {
            destination: Destination::SnsText { topic: None },
            models: Vec::new(),
            severity: NotificationSeverity::Info,
            kinds: BTreeSet::new(),
            quiet: Vec::new(),
            urgent: None,
            digest: None,
        }
    }
}

impl Policy {
    /// Destinations from the `[[notification]]` tables. Without a table, the topic of the stack gets all notifications
    /// as text.
    pub fn notifications(&self) -> Vec<NotificationRoute> {
        if self.notifications.is_empty() {
            vec![NotificationRoute::default()]
        } else {
            self.notifications.clone()
        }
    }

    /// Validates one table.
    pub(super) fn notification(&self, at: usize, table: &NotificationTable) -> Result<NotificationRoute, PolicyError> {
        let invalid = |key: &str, value: &str, expected: &str| PolicyError::Value {
            place: self.place(&format!("notification.{at}.{key}")),
            value: value.to_owned(),
            expected: expected.to_owned(),
        };
        let conflict = |key: &str, message: &str| PolicyError::Conflict {
            place: self.place(&format!("notification.{at}.{key}")),
            message: message.to_owned(),
        };
        let destination = self.destination(at, table)?;
        let mut models = Vec::new();
        for model in table.models.iter().flatten() {
            if model.trim().is_empty() {
                let expected = "the name of a model, where `*` stands for any characters";
                return Err(invalid("models", model, expected));
            }
            models.push(Pattern::new(model.as_str()));
        }
        for (key, empty) in [
            ("models", table.models.as_ref().is_some_and(Vec::is_empty)),
            ("kinds", table.kinds.as_ref().is_some_and(Vec::is_empty)),
        ] {
            if empty {
                return Err(invalid(key, "[]", "a list that is not empty (leave it out for all)"));
            }
        }
        let mut quiet = Vec::new();
        for text in table.quiet.iter().flatten() {
            let expected = "a time range in UTC such as `22:00-07:00` or `Sat-Sun 00:00-24:00`";
            quiet.push(QuietHours::parse(text).ok_or_else(|| invalid("quiet", text, expected))?);
        }
        let digest = match &table.digest {
            Some(text) => {
                let at = DailyAt::parse(text);
                Some(at.ok_or_else(|| invalid("digest", text, "a time of day in UTC such as `daily at 08:00`"))?)
            }
            None => None,
        };
        if digest.is_some() && !quiet.is_empty() {
            return Err(conflict(
                "digest",
                "`digest` and `quiet` exclude each other; remove one of them",
            ));
        }
        if digest.is_some() && matches!(destination, Destination::PagerDuty { .. }) {
            let message = "`digest` is not supported for `pagerduty`; use `severity` or `quiet`";
            return Err(conflict("digest", message));
        }
        if table.urgent.is_some() && quiet.is_empty() && digest.is_none() {
            let message = "`urgent` requires `quiet` or `digest`; without them, everything is sent immediately";
            return Err(conflict("urgent", message));
        }
        Ok(NotificationRoute {
            destination,
            models,
            severity: table.severity.unwrap_or(NotificationSeverity::Info),
            kinds: table.kinds.iter().flatten().copied().collect(),
            quiet,
            urgent: table.urgent,
            digest,
        })
    }

    fn destination(&self, at: usize, table: &NotificationTable) -> Result<Destination, PolicyError> {
        let invalid = |key: &str, value: &str, expected: String| PolicyError::Value {
            place: self.place(&format!("notification.{at}.{key}")),
            value: value.to_owned(),
            expected,
        };
        let conflict = |path: &str, message: String| PolicyError::Conflict {
            place: self.place(path),
            message,
        };
        let to = table.to.as_str();
        let by_topic = !matches!(table.to, NotificationChannel::PagerDuty | NotificationChannel::Webhook);
        let keys = [
            ("topic", &table.topic, by_topic),
            ("url", &table.url, !by_topic),
            ("secret", &table.secret, !by_topic),
        ];
        for (key, value, supported) in keys {
            if value.is_some() && !supported {
                return Err(conflict(
                    &format!("notification.{at}.{key}"),
                    format!("`{key}` is not supported for `{to}`; remove it"),
                ));
            }
        }
        if let Some(topic) = table.topic.as_ref().filter(|topic| !is_topic(topic)) {
            return Err(invalid(
                "topic",
                topic,
                "the ARN of an SNS topic, such as `arn:aws:sns:REGION:ACCOUNT:NAME`".to_owned(),
            ));
        }
        let expected = "an `https://` URL without a user name and spaces (`http://` for localhost only)";
        if let Some(url) = table.url.as_ref().filter(|url| !is_safe(url)) {
            // The path and the user name of a URL often are secrets: the message shows the host only.
            let found = match url_host(url) {
                "" => "the value is not shown, because it may be a secret".to_owned(),
                host => format!("found a URL of the host `{host}`"),
            };
            return Err(conflict(
                &format!("notification.{at}.url"),
                format!("expected {expected}; {found}"),
            ));
        }
        let missing = |what: &str| conflict(&format!("notification.{at}"), format!("`{to}` requires {what}"));
        let secret = |key: &str| {
            let location = format!("the location of {key} (`secretsmanager:NAME` or `ssm:/NAME`)");
            let text = table.secret.as_ref();
            let text = text.ok_or_else(|| missing(&format!("`secret`, {location}")))?;
            // An invalid value may be the secret: the message does not show it.
            let message = format!("expected {location}; the value is not shown, because it may be a secret");
            SecretReference::parse(text).ok_or_else(|| conflict(&format!("notification.{at}.secret"), message))
        };
        let topic = table.topic.clone();
        Ok(match table.to {
            NotificationChannel::SnsText => Destination::SnsText { topic },
            NotificationChannel::SnsJson => Destination::SnsJson { topic },
            NotificationChannel::Chat => Destination::Chat { topic },
            NotificationChannel::PagerDuty => Destination::PagerDuty {
                url: table.url.clone().unwrap_or_else(|| PAGERDUTY.to_owned()),
                routing_key: secret("the routing key")?,
            },
            NotificationChannel::Webhook => Destination::Webhook {
                url: table
                    .url
                    .clone()
                    .ok_or_else(|| missing("`url`, the receiver of the POST requests"))?,
                signing_key: secret("the signing key")?,
            },
        })
    }

    /// The `[[notification]]` tables that apply to a model, as settings.
    pub(super) fn notification_settings(&self, model: &str) -> Vec<Setting> {
        let routes = self.notifications.iter().enumerate();
        let matching = routes
            .filter(|(_, route)| route.models.is_empty() || route.models.iter().any(|pattern| pattern.matches(model)));
        let settings = matching.map(|(at, route)| Setting {
            name: "notification".into(),
            value: format!("{}, severity {} and above", route.destination, route.severity.as_str()),
            place: Some(format!("notification.{at}")),
        });
        settings.collect()
    }
}

fn is_topic(arn: &str) -> bool {
    let parts: Vec<&str> = arn.split(':').collect();
    matches!(parts[..], ["arn", _, "sns", region, account, name]
        if ![region, account, name].iter().any(|part| part.is_empty()) && !arn.contains(char::is_whitespace))
}

/// Host of a URL, without a user name. Empty if the text is not a URL.
pub(super) fn url_host(url: &str) -> &str {
    let Some((_, rest)) = url.split_once("://") else {
        return "";
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    match host.strip_prefix('[').and_then(|v6| v6.split_once(']')) {
        Some((v6, _)) => v6,
        None => host.split(':').next().unwrap_or_default(),
    }
}

/// Whether a URL is safe for secrets and messages: HTTPS, or HTTP to this machine.
fn is_safe(url: &str) -> bool {
    let Some((scheme, rest)) = url.split_once("://") else {
        return false;
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = url_host(url);
    let plain = url.len() <= MAX_URL_BYTES && url.chars().all(|c| c.is_ascii_graphic()) && !url.contains('#');
    let local = ["localhost", "127.0.0.1", "::1"].contains(&host);
    plain && !host.is_empty() && !authority.contains('@') && (scheme == "https" || (scheme == "http" && local))
}
