//! PagerDuty form of a notification: an alert event of the Events API v2 (*Send an Alert Event*). One thread is one
//! alert, with the `dedup_key` of the thread.

use crate::notify::{
    notification::{Notification, ThreadStatus},
    text::truncate,
};
use remediation::NotificationSeverity;
use serde::Serialize;

/// Maximum length of `payload.summary`.
const MAX_SUMMARY_CHARS: usize = 1024;
/// Maximum length of `dedup_key`.
const MAX_DEDUP_KEY_CHARS: usize = 255;

/// The alert event. It contains the routing key, so it has no `Debug`.
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
    /// Triggers an alert for a problem, acknowledges it when Driftwarden responds, and resolves it at the end.
    pub(crate) fn from_notification(notification: &'a Notification, dedup_key: &str, routing_key: &'a str) -> Self {
        let dedup_key = dedup_key.chars().take(MAX_DEDUP_KEY_CHARS).collect();
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
                summary: truncate(notification.subject.clone(), MAX_SUMMARY_CHARS),
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
