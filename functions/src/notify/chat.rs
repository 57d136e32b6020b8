//! Chat form of a notification: a custom notification of Amazon Q Developer in chat applications (*Custom
//! notifications*, event schema 1.0), for Slack and Microsoft Teams. Messages with the same `threadId` form one thread
//! of the channel.

use crate::notify::{
    notification::{Notification, shorten},
    text::{action_label, collected_sections, repeat_lines, severity_lines, truncate},
};
use serde::Serialize;
use std::collections::BTreeMap;

/// A Slack block has at most 3,000 characters. The title is in a separate block.
const MAX_DESCRIPTION_BYTES: usize = 2_900;
/// Maximum length of the title.
const MAX_TITLE_BYTES: usize = 250;
/// Maximum length of the reason: the severity and the violations must fit, too.
const MAX_REASON_CHARS: usize = 800;
/// Maximum number of next steps.
const MAX_STEPS: usize = 10;

/// The custom notification.
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
    /// The description of a user template replaces the built-in one.
    pub(crate) fn from_notification(notification: &Notification, template: Option<String>) -> Self {
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
        // A place without a report has a sentence instead of a resource.
        let places = notification.look.iter().filter(|place| !place.at.contains(' '));
        let event_type = notification.event.as_ref().map(|event| event.detail_type.clone());
        Self {
            version: "1.0",
            source: "custom",
            id: notification.id.clone(),
            content: Content {
                text_type: "client-markdown",
                title: truncate(notification.subject.clone(), MAX_TITLE_BYTES)
                    .trim_end()
                    .to_owned(),
                next_steps: next_steps(notification, template.is_some()),
                description: truncate_markdown(template.unwrap_or_else(|| description(notification))),
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

/// Truncates a description, and closes the code block in which it ends.
fn truncate_markdown(description: String) -> String {
    const FENCE: &str = "```";
    let mut truncated = truncate(description, MAX_DESCRIPTION_BYTES);
    if truncated.matches(FENCE).count() % 2 == 1 {
        truncated.push_str(FENCE);
    }
    truncated
}

/// The actions of the recipient. The built-in description already says what happens next, a user template may not.
fn next_steps(notification: &Notification, has_template: bool) -> Vec<String> {
    let actions = notification.actions.iter().map(|action| {
        let commands: Vec<String> = action.commands.iter().map(|command| format!("`{command}`")).collect();
        format!("{} {}", action_label(action), commands.join(" "))
            .trim_end()
            .to_owned()
    });
    let next = notification.next.iter().filter(|_| has_template).cloned();
    next.chain(actions).take(MAX_STEPS).collect()
}

fn description(notification: &Notification) -> String {
    let mut lines = vec![notification.what.clone()];
    lines.extend(notification.next.iter().cloned());
    if let Some(mut why) = notification.why.clone() {
        shorten(&mut why, MAX_REASON_CHARS);
        lines.push(format!("*Why:* {why}"));
    }
    let severity = severity_lines(notification).into_iter();
    lines.extend(severity.map(|(label, value)| format!("*{label}:* {value}")));
    let repeats = repeat_lines(notification).into_iter();
    lines.extend(repeats.map(|line| format!("*Repeats:* {line}")));
    let facts = notification
        .facts
        .iter()
        .map(|facts| (facts.title.clone(), facts.lines.clone()));
    for (title, facts) in facts.chain(collected_sections(&notification.collected, notification.form)) {
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
