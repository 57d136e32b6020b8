//! A notification as Amazon Q Developer in chat applications takes it ("Custom notifications", event schema 1.0): Slack and
//! Microsoft Teams. Messages of one `threadId` are one thread of the channel.

use crate::{
    notification::Notification,
    text::{collected, limited, repeats},
    words::second,
};
use serde::Serialize;
use std::collections::BTreeMap;

/// A block of Slack's has 3,000 characters; the title stands in one of its own.
const DESCRIPTION: usize = 2_900;
/// One line.
const TITLE: usize = 250;
/// Lists longer than this hide what matters.
const STEPS: usize = 10;

/// The event.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ChatNotification {
    version: &'static str,
    source: &'static str,
    id: String,
    content: Content,
    metadata: Metadata,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Content {
    text_type: &'static str,
    title: String,
    description: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    next_steps: Vec<String>,
    keywords: Vec<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    thread_id: String,
    summary: String,
    event_type: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    related_resources: Vec<String>,
    additional_context: BTreeMap<&'static str, String>,
}

impl ChatNotification {
    /// With a description of the user's own, if a template gives one.
    pub(crate) fn of(notification: &Notification, described: Option<String>) -> Self {
        let kind = notification
            .kind
            .map_or(notification.form.as_str(), |kind| kind.as_str());
        let known = [
            ("model", notification.model.clone()),
            ("incidentId", notification.incident_id.clone()),
            ("monitoringSchedule", notification.monitoring_schedule.clone()),
            ("severity", Some(notification.severity.as_str().to_owned())),
            ("time", Some(notification.time.to_string())),
        ];
        let known = known.into_iter().filter_map(|(name, value)| Some((name, value?)));
        let mut keywords = vec![kind.to_owned(), notification.severity.as_str().to_owned()];
        keywords.extend(notification.model.clone());
        keywords.extend(notification.incident_id.clone());
        // A sentence is no resource.
        let places = notification.look.iter().filter(|place| !place.at.contains(' '));
        let event_type = notification.event.as_ref().map(|event| event.detail_type.clone());
        Self {
            version: "1.0",
            source: "custom",
            id: notification.id.clone(),
            content: Content {
                text_type: "client-markdown",
                title: limited(notification.subject.clone(), TITLE).trim_end().to_owned(),
                description: limited(described.unwrap_or_else(|| description(notification)), DESCRIPTION),
                next_steps: steps(notification),
                keywords,
            },
            metadata: Metadata {
                thread_id: notification.thread.clone(),
                summary: notification.subject.clone(),
                event_type: event_type.unwrap_or_else(|| format!("Driftwarden {kind}")),
                related_resources: places.map(|place| place.at.clone()).collect(),
                additional_context: known.collect(),
            },
        }
    }
}

/// What happens next, and what people can do.
fn steps(notification: &Notification) -> Vec<String> {
    let actions = notification.actions.iter().map(|action| {
        let commands: Vec<String> = action.commands.iter().map(|command| format!("`{command}`")).collect();
        format!("{} {}", action.what, commands.join(" ")).trim_end().to_owned()
    });
    notification.next.iter().cloned().chain(actions).take(STEPS).collect()
}

fn description(notification: &Notification) -> String {
    let mut lines = vec![notification.what.clone()];
    lines.extend(notification.why.as_ref().map(|why| format!("*Why:* {why}")));
    lines.extend(notification.how_bad.as_ref().map(|bad| format!("*How bad:* {bad}")));
    lines.extend(notification.since.map(|since| format!("*Since:* {}", second(since))));
    lines.extend(
        repeats(notification)
            .into_iter()
            .map(|line| format!("*Came again:* {line}")),
    );
    let facts = notification
        .facts
        .iter()
        .map(|facts| (facts.title.clone(), facts.lines.clone()));
    for (title, facts) in facts.chain(collected(&notification.collected, notification.form)) {
        if !facts.is_empty() {
            lines.push(format!("*{title}*\n```\n{}\n```", facts.join("\n")));
        }
    }
    for place in &notification.look {
        let at = place.link.as_ref().unwrap_or(&place.at);
        lines.push(format!("*{}:* {at}", place.what));
    }
    lines.join("\n")
}
