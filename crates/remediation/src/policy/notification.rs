//! Where notifications go, as the policy has it.

use super::{
    Policy, PolicyError,
    explain::Setting,
    file::{NotificationChannel, NotificationKind, NotificationSeverity, NotificationTable},
};
use alerting::Pattern;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, fmt};

/// Where PagerDuty takes events (Events API v2, "Send an Alert Event").
const PAGERDUTY: &str = "https://events.pagerduty.com/v2/enqueue";
/// A URL longer than this is a slip.
const MAX_URL: usize = 2048;
/// The minutes of a day.
const DAY: i64 = 24 * 60;

/// Where a secret is kept. It is read when it is needed, and is not part of the policy.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SecretReference(String);

impl SecretReference {
    /// Reads `secretsmanager:NAME` or `ssm:/NAME`.
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

    /// The name under which Parameter Store knows it. It passes on what Secrets Manager keeps, too.
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

/// Where notifications can go.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "to", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum Destination {
    /// An SNS topic, as text.
    SnsText {
        /// Its ARN; `None` for the deployment's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        topic: Option<String>,
    },
    /// An SNS topic, as JSON.
    SnsJson {
        /// Its ARN; `None` for the deployment's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        topic: Option<String>,
    },
    /// An SNS topic that Amazon Q Developer in chat applications listens to.
    Chat {
        /// Its ARN; `None` for the deployment's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        topic: Option<String>,
    },
    /// PagerDuty's Events API v2.
    #[serde(rename = "pagerduty")]
    PagerDuty {
        /// Its URL.
        url: String,
        /// The routing key.
        routing_key: SecretReference,
    },
    /// A URL that takes signed POST requests.
    Webhook {
        /// The URL.
        url: String,
        /// The key that requests are signed with.
        signing_key: SecretReference,
    },
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |topic: &Option<String>| topic.clone().unwrap_or_else(|| "the deployment's topic".to_owned());
        match self {
            Self::SnsText { topic } => write!(f, "sns-text {}", of(topic)),
            Self::SnsJson { topic } => write!(f, "sns-json {}", of(topic)),
            Self::Chat { topic } => write!(f, "chat {}", of(topic)),
            Self::PagerDuty { url, routing_key } => write!(f, "pagerduty {url} ({routing_key})"),
            Self::Webhook { url, .. } => write!(f, "webhook {url}"),
        }
    }
}

/// A time of the day, on some days of the week, in which notifications are held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuietHours {
    /// The days on which it begins, Monday first.
    days: [bool; 7],
    /// The minute of the day in which it begins.
    from: i64,
    /// The minute in which it ends: of the next day unless it is later than `from`.
    to: i64,
}

impl QuietHours {
    /// Reads `22:00-07:00`, `Mon-Fri 22:00-07:00` or `Sat,Sun 00:00-24:00`.
    pub fn parse(text: &str) -> Option<Self> {
        let (days, times) = match text.trim().split_once(' ') {
            Some((days, times)) => (days_of_week(days)?, times.trim()),
            None => ([true; 7], text.trim()),
        };
        let (from, to) = times.split_once('-')?;
        let (from, to) = (minute_of_day(from)?, minute_of_day(to)?);
        (from < DAY && from != to).then_some(Self { days, from, to })
    }

    /// When it ends, if it is going on.
    pub fn until(&self, now: Timestamp) -> Option<Timestamp> {
        let minute = now.as_second().div_euclid(60);
        let today = minute.div_euclid(DAY);
        let ends = [today - 1, today].into_iter().filter_map(|day| {
            // The first of January 1970 was a Thursday.
            let weekday = usize::try_from((day + 3).rem_euclid(7)).ok()?;
            let begin = day * DAY + self.from;
            let end = if self.to > self.from { day } else { day + 1 } * DAY + self.to;
            (*self.days.get(weekday)? && begin <= minute && minute < end).then_some(end)
        });
        ends.max().and_then(|end| Timestamp::from_second(end * 60).ok())
    }
}

/// A time of every day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DailyAt {
    minute: i64,
}

impl DailyAt {
    /// Reads `daily at 08:00`.
    pub fn parse(text: &str) -> Option<Self> {
        let minute = minute_of_day(text.trim().strip_prefix("daily at ")?)?;
        (minute < DAY).then_some(Self { minute })
    }

    /// The next time after that.
    pub fn after(self, time: Timestamp) -> Timestamp {
        let day = time.as_second().div_euclid(DAY * 60);
        let at = |day: i64| (day * DAY + self.minute) * 60;
        let next = if at(day) > time.as_second() {
            at(day)
        } else {
            at(day + 1)
        };
        Timestamp::from_second(next).unwrap_or(Timestamp::MAX)
    }
}

/// One `[[notification]]`: where notifications go, and which.
#[derive(Debug, Clone, PartialEq)]
pub struct NotificationRoute {
    /// Where.
    pub destination: Destination,
    /// Of which models; empty for all.
    pub models: Vec<Pattern>,
    /// At least how grave.
    pub severity: NotificationSeverity,
    /// About what; empty for all.
    pub kinds: BTreeSet<NotificationKind>,
    /// When they are held.
    pub quiet: Vec<QuietHours>,
    /// What is told at once all the same.
    pub urgent: Option<NotificationSeverity>,
    /// When they are told as one, if they are.
    pub digest: Option<DailyAt>,
}

impl NotificationRoute {
    /// Whether a notification goes this way.
    pub fn takes(&self, model: &str, kind: NotificationKind, severity: NotificationSeverity) -> bool {
        severity >= self.severity
            && (self.kinds.is_empty() || self.kinds.contains(&kind))
            && (self.models.is_empty() || self.models.iter().any(|pattern| pattern.matches(model)))
    }

    /// Until when a notification is held; `None` if it is told at once.
    pub fn held_until(&self, severity: NotificationSeverity, now: Timestamp) -> Option<Timestamp> {
        if self.urgent.is_some_and(|urgent| severity >= urgent) {
            return None;
        }
        if let Some(digest) = self.digest {
            return Some(digest.after(now));
        }
        let quiet_at = |time| self.quiet.iter().filter_map(|quiet| quiet.until(time)).max();
        let first = quiet_at(now)?;
        // Where one ends another may begin; whoever is always quiet is told all the same, once a day.
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
    /// Everything, as text, to the deployment's topic.
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
    /// Where notifications go: as the policy says, else everything as text to the deployment's topic.
    pub fn notifications(&self) -> Vec<NotificationRoute> {
        let tables = self.file.notification.iter().enumerate();
        let routes: Vec<_> = tables
            .filter_map(|(at, table)| self.notification(at, table).ok())
            .collect();
        if routes.is_empty() {
            vec![NotificationRoute::default()]
        } else {
            routes
        }
    }

    /// One of them, or why it cannot be.
    pub(super) fn notification(&self, at: usize, table: &NotificationTable) -> Result<NotificationRoute, PolicyError> {
        let wrong = |key: &str, value: &str, expected: &str| PolicyError::Value {
            of: self.place(&format!("notification.{at}.{key}")),
            value: value.to_owned(),
            expected: expected.to_owned(),
        };
        let destination = self.destination(at, table)?;
        let mut models = Vec::new();
        for model in table.models.iter().flatten() {
            if model.trim().is_empty() {
                return Err(wrong(
                    "models",
                    model,
                    "the name of a model, with `*` for any characters",
                ));
            }
            models.push(Pattern::new(model.as_str()));
        }
        for (key, empty) in [
            ("models", table.models.as_ref().is_some_and(Vec::is_empty)),
            ("kinds", table.kinds.as_ref().is_some_and(Vec::is_empty)),
        ] {
            if empty {
                return Err(wrong(key, "[]", "a list with anything in it; leave it out for all"));
            }
        }
        let mut quiet = Vec::new();
        for text in table.quiet.iter().flatten() {
            let expected = "a time of the day, UTC: `22:00-07:00`, `Mon-Fri 22:00-07:00`, `Sat-Sun 00:00-24:00`";
            quiet.push(QuietHours::parse(text).ok_or_else(|| wrong("quiet", text, expected))?);
        }
        let digest = match &table.digest {
            Some(text) => {
                let at = DailyAt::parse(text);
                Some(at.ok_or_else(|| wrong("digest", text, "a time of every day, UTC: `daily at 08:00`"))?)
            }
            None => None,
        };
        if let Some(text) = table.digest.as_ref().filter(|_| !quiet.is_empty()) {
            let expected = "for a table with `quiet`: a digest comes at its own time; choose one of them";
            return Err(wrong("digest", text, expected));
        }
        if let (Some(text), Destination::PagerDuty { .. }) = (&table.digest, &destination) {
            return Err(wrong(
                "digest",
                text,
                "for `pagerduty`: a page cannot wait for a digest; use `severity`, or `quiet`",
            ));
        }
        if let Some(urgent) = table.urgent.filter(|_| quiet.is_empty() && digest.is_none()) {
            let expected = "of use without `quiet` or `digest`: everything is told at once";
            return Err(wrong("urgent", urgent.as_str(), expected));
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
        let wrong = |key: &str, value: &str, expected: String| PolicyError::Value {
            of: self.place(&format!("notification.{at}.{key}")),
            value: value.to_owned(),
            expected,
        };
        let to = table.to.as_str();
        let by_topic = !matches!(table.to, NotificationChannel::PagerDuty | NotificationChannel::Webhook);
        let keys = [
            ("topic", &table.topic, by_topic),
            ("url", &table.url, !by_topic),
            ("secret", &table.secret, !by_topic),
        ];
        for (key, value, belongs) in keys {
            if let Some(value) = value.as_ref().filter(|_| !belongs) {
                return Err(wrong(key, value, format!("a setting of `{to}`, which has no `{key}`")));
            }
        }
        if let Some(topic) = table.topic.as_ref().filter(|topic| !is_topic(topic)) {
            return Err(wrong(
                "topic",
                topic,
                "the ARN of an SNS topic, `arn:aws:sns:…`".to_owned(),
            ));
        }
        let expected = "an `https://` URL, without a user and without spaces (`http://` on this machine alone)";
        if let Some(url) = table.url.as_ref().filter(|url| !is_safe(url)) {
            return Err(wrong("url", url, expected.to_owned()));
        }
        let missing = |what: &str| PolicyError::Value {
            of: self.place(&format!("notification.{at}")),
            value: to.to_owned(),
            expected: format!("complete without {what}"),
        };
        let secret = |of: &str| {
            let text = table.secret.as_ref();
            let text = text.ok_or_else(|| {
                missing(&format!(
                    "`secret`: where {of} is kept, `secretsmanager:NAME` or `ssm:/NAME`"
                ))
            })?;
            let expected = format!("where {of} is kept: `secretsmanager:NAME` or `ssm:/NAME`");
            // What is no reference may be the secret itself: it is not shown.
            SecretReference::parse(text).ok_or_else(|| wrong("secret", "…", expected))
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
                    .ok_or_else(|| missing("`url`: where it takes POST requests"))?,
                signing_key: secret("the signing key")?,
            },
        })
    }

    /// Which tables a model's notifications go by.
    pub(super) fn notification_settings(&self, model: &str) -> Vec<Setting> {
        let tables = self.file.notification.iter().enumerate();
        let routes = tables.filter_map(|(at, table)| Some((at, self.notification(at, table).ok()?)));
        let of_model = routes
            .filter(|(_, route)| route.models.is_empty() || route.models.iter().any(|pattern| pattern.matches(model)));
        let shown = of_model.map(|(at, route)| Setting {
            name: "notification".into(),
            value: format!("{}, from {}", route.destination, route.severity.as_str()),
            place: Some(format!("notification.{at}")),
        });
        shown.collect()
    }
}

/// Minutes of `22:00`, `24:00` among them.
fn minute_of_day(text: &str) -> Option<i64> {
    let (hour, minute) = text.trim().split_once(':')?;
    let digits = |text: &str| text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(hour) || !digits(minute) {
        return None;
    }
    let (hour, minute): (i64, i64) = (hour.parse().ok()?, minute.parse().ok()?);
    let minutes = hour * 60 + minute;
    (minute < 60 && minutes <= DAY).then_some(minutes)
}

/// The days of `Mon-Fri`, `Sat,Sun` or `Fri-Mon,Wed`, Monday first.
fn days_of_week(text: &str) -> Option<[bool; 7]> {
    let names = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
    let number = |name: &str| names.iter().position(|known| *known == name.trim().to_lowercase());
    let mut days = [false; 7];
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (number(first)?, number(last)?);
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

fn is_topic(arn: &str) -> bool {
    let parts: Vec<&str> = arn.split(':').collect();
    matches!(parts[..], ["arn", _, "sns", region, account, name]
        if ![region, account, name].iter().any(|part| part.is_empty()) && !arn.contains(char::is_whitespace))
}

/// Whether secrets and messages may be sent to a URL.
fn is_safe(url: &str) -> bool {
    let Some((scheme, rest)) = url.split_once("://") else {
        return false;
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = match authority.strip_prefix('[').and_then(|v6| v6.split_once(']')) {
        Some((v6, _)) => v6,
        None => authority.split(':').next().unwrap_or_default(),
    };
    let plain = url.len() <= MAX_URL && url.chars().all(|c| c.is_ascii_graphic()) && !url.contains('#');
    let local = ["localhost", "127.0.0.1", "::1"].contains(&host);
    plain && !host.is_empty() && !authority.contains('@') && (scheme == "https" || (scheme == "http" && local))
}
