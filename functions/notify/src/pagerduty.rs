//! A notification as PagerDuty's Events API v2 takes it ("Send an Alert Event"). One thread is one alert: its `dedup_key`.

use crate::{
    notification::{Notification, ThreadStatus},
    text::limited,
};
use remediation::NotificationSeverity;
use serde::Serialize;

/// `payload.summary` has 1024 characters.
const SUMMARY: usize = 1024;
/// `dedup_key` has 255 characters.
const DEDUP_KEY: usize = 255;

/// The event. It holds the routing key: it is not shown.
#[derive(Serialize)]
pub(crate) struct PagerDutyEvent<'a> {
    routing_key: &'a str,
    event_action: &'static str,
    dedup_key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<Payload<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    links: Vec<Link<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<&'static str>,
}

#[derive(Serialize)]
struct Payload<'a> {
    summary: String,
    source: String,
    severity: &'static str,
    timestamp: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    component: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<&'a str>,
    class: &'a str,
    custom_details: &'a Notification,
}

#[derive(Serialize)]
struct Link<'a> {
    href: &'a str,
    text: &'a str,
}

impl<'a> PagerDutyEvent<'a> {
    /// Triggers what is wrong, acknowledges what Driftwarden is at, resolves what is over.
    pub(crate) fn of(notification: &'a Notification, dedup_key: &str, routing_key: &'a str) -> Self {
        let dedup_key = dedup_key.chars().take(DEDUP_KEY).collect();
        let event_action = match notification.status {
            ThreadStatus::Open | ThreadStatus::Note => "trigger",
            ThreadStatus::InProgress => "acknowledge",
            ThreadStatus::Closed => "resolve",
        };
        if event_action != "trigger" {
            return Self {
                routing_key,
                event_action,
                dedup_key,
                payload: None,
                links: Vec::new(),
                client: None,
            };
        }
        let links = notification.look.iter().filter_map(|place| {
            Some(Link {
                href: place.link.as_deref()?,
                text: &place.what,
            })
        });
        Self {
            routing_key,
            event_action,
            dedup_key,
            payload: Some(Payload {
                summary: limited(notification.subject.clone(), SUMMARY),
                source: notification.model.clone().unwrap_or_else(|| "driftwarden".to_owned()),
                severity: match notification.severity {
                    NotificationSeverity::Info => "info",
                    NotificationSeverity::Warning => "warning",
                    NotificationSeverity::Critical => "critical",
                },
                timestamp: notification.time.to_string(),
                component: notification.monitoring_schedule.as_deref(),
                group: notification.model.as_deref(),
                class: notification
                    .kind
                    .map_or(notification.form.as_str(), |kind| kind.as_str()),
                custom_details: notification,
            }),
            links: links.collect(),
            client: Some("Driftwarden"),
        }
    }
}
