//! The notification from which all forms are rendered. It is also the JSON for machines and the input of user
//! templates.

use jiff::Timestamp;
use remediation::{NotificationKind, NotificationSeverity};
use serde::{Deserialize, Serialize};

/// Version of the notification layout.
pub const VERSION: &str = "1";

/// Maximum size of a notification as JSON, in bytes. SNS accepts messages of 256 KiB, PagerDuty events of 512 KB.
const MAX_JSON_BYTES: usize = 200_000;
/// Maximum length of a subject, in characters.
const MAX_SUBJECT_CHARS: usize = 300;
/// Maximum length of a sentence or a line, in characters.
const MAX_LINE_CHARS: usize = 1_000;
/// Maximum length of the reason, in characters: a decision names every monitor in alert.
const MAX_REASON_CHARS: usize = 2_000;
/// Maximum number of lines of a section.
const MAX_LINES: usize = 200;
/// Maximum number of sections.
const MAX_SECTIONS: usize = 50;
/// Maximum number of resources.
const MAX_PLACES: usize = 25;

/// Form of a notification: about one event, or a summary of several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    /// A notification about one event.
    Single,
    /// Number of repeats of notifications that were already sent.
    Repeats,
    /// Summary of the notifications that quiet hours held.
    QuietHours,
    /// Summary of the notifications of one day.
    Digest,
}

impl Form {
    /// The name as written in notifications.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Single => "single",
            Self::Repeats => "repeats",
            Self::QuietHours => "quiet-hours",
            Self::Digest => "digest",
        }
    }
}

/// Effect of a notification on its thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum ThreadStatus {
    /// Something is wrong, or a decision of an operator is needed.
    Open,
    /// Driftwarden is responding to the problem.
    InProgress,
    /// For information only; the state of the thread does not change.
    Note,
    /// The problem or the experiment has ended.
    Closed,
}

/// Section of a notification: lines under a title.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Facts {
    /// Title of the section.
    pub title: String,
    /// Lines of the section, as plain text.
    pub lines: Vec<String>,
}

/// Resource that a notification refers to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Place {
    /// Label of the resource, such as `Report`.
    pub what: String,
    /// Name of the resource: a URI, an ARN, or an endpoint name.
    pub at: String,
    /// Link to the resource in the AWS console.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
}

/// Action that the recipient can take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Action {
    /// Description of the action, without the commands.
    pub what: String,
    /// Commands that perform the action.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub commands: Vec<String>,
}

/// Repeats of a notification that were counted and not sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Repeat {
    /// Subject of the notification that was repeated.
    pub what: String,
    /// Number of repeats since the previous message to this destination.
    pub count: u64,
    /// Time of the latest repeat, in RFC 3339.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub last: Timestamp,
}

/// One notification in a summary of several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Collected {
    /// Kind of event that the notification reports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<NotificationKind>,
    /// Model that the notification is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Thread that the notification belongs to.
    pub thread: String,
    /// Severity of the notification.
    pub severity: NotificationSeverity,
    /// Subject of the notification, one line.
    pub subject: String,
    /// What happened, in one sentence.
    pub what: String,
    /// Number of occurrences of the notification.
    pub count: u64,
    /// Time of the first occurrence, in RFC 3339.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub first: Timestamp,
    /// Time of the latest occurrence, in RFC 3339.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub last: Timestamp,
}

/// Event that a notification reports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct SourceEvent {
    /// Detail-type of the event.
    pub detail_type: String,
    /// ID of the event, `detail.id`.
    pub id: String,
    /// Version of the policy that applied: the first 12 digits of its SHA-256, or `default`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_version: Option<String>,
}

/// A Driftwarden notification, version 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Notification {
    /// Version of this layout. Fields may be added within a version; ignore unknown fields.
    pub version: String,
    /// Deterministic ID of the notification. Every delivery of the same notification has the same ID.
    pub id: String,
    /// Form of the notification: about one event, or a summary of several.
    pub form: Form,
    /// Kind of event that the notification reports. Absent in a summary of several events, and in a report about a
    /// destination.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<NotificationKind>,
    /// Model that the notification is about. Absent in a summary of several models, and in a report about a
    /// destination.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Monitoring schedule that the notification is about, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monitoring_schedule: Option<String>,
    /// ID of the incident, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incident_id: Option<String>,
    /// Thread of the notification. All notifications of one incident have the same thread.
    pub thread: String,
    /// Effect of the notification on its thread.
    pub status: ThreadStatus,
    /// Severity of the notification.
    pub severity: NotificationSeverity,
    /// Subject of the notification, one line.
    pub subject: String,
    /// What happened, in one sentence.
    pub what: String,
    /// Reason for the event, or the decision with its reasons.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Severity with its cause, such as the worst violation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub how_bad: Option<String>,
    /// Start of what the notification reports, in RFC 3339, such as the time of the first violation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
    pub since: Option<Timestamp>,
    /// Repeats that were counted since the previous message to this destination.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub repeats: Vec<Repeat>,
    /// Details in sections, such as executions and violations.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub facts: Vec<Facts>,
    /// Notifications that this one summarizes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub collected: Vec<Collected>,
    /// Resources that the notification refers to, with links.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub look: Vec<Place>,
    /// What happens next, one sentence or more per line.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub next: Vec<String>,
    /// Actions that the recipient can take. If an answer is requested, the first action gives it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub actions: Vec<Action>,
    /// Event that the notification reports. Absent in a summary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<SourceEvent>,
    /// Time of the event or of the summary, in RFC 3339.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub time: Timestamp,
}

impl Notification {
    /// An empty notification.
    pub(crate) fn new(id: &str, form: Form, time: Timestamp) -> Self {
        Self {
            version: VERSION.to_owned(),
            id: id.to_owned(),
            form,
            kind: None,
            model: None,
            monitoring_schedule: None,
            incident_id: None,
            thread: id.to_owned(),
            status: ThreadStatus::Note,
            severity: NotificationSeverity::Info,
            subject: String::new(),
            what: String::new(),
            why: None,
            how_bad: None,
            since: None,
            repeats: Vec::new(),
            facts: Vec::new(),
            collected: Vec::new(),
            look: Vec::new(),
            next: Vec::new(),
            actions: Vec::new(),
            event: None,
            time,
        }
    }

    pub(crate) fn add_facts(&mut self, title: &str, lines: Vec<String>) {
        if !lines.is_empty() {
            let title = title.to_owned();
            self.facts.push(Facts { title, lines });
        }
    }

    pub(crate) fn add_place(&mut self, what: &str, at: &str, link: Option<String>) {
        self.look.push(Place {
            what: what.to_owned(),
            at: at.to_owned(),
            link,
        });
    }

    pub(crate) fn add_next(&mut self, line: &str) {
        self.next.push(line.to_owned());
    }

    pub(crate) fn add_action(&mut self, what: &str, commands: &[String]) {
        self.actions.push(Action {
            what: what.to_owned(),
            commands: commands.to_vec(),
        });
    }

    /// Limits the size: long texts are cut, and what does not fit is counted.
    pub(crate) fn limit_size(&mut self) {
        shorten(&mut self.subject, MAX_SUBJECT_CHARS);
        shorten(&mut self.what, MAX_LINE_CHARS);
        for (text, max_chars) in [(&mut self.why, MAX_REASON_CHARS), (&mut self.how_bad, MAX_LINE_CHARS)] {
            if let Some(text) = text {
                shorten(text, max_chars);
            }
        }
        self.facts.truncate(MAX_SECTIONS);
        for facts in &mut self.facts {
            let more = facts.lines.len().saturating_sub(MAX_LINES);
            facts.lines.truncate(MAX_LINES);
            if more > 0 {
                facts.lines.push(format!("{} more", text::integer(more as u64)));
            }
        }
        self.look.truncate(MAX_PLACES);
        let lines = self.facts.iter_mut().flat_map(|facts| &mut facts.lines);
        for line in lines.chain(&mut self.next) {
            shorten(line, MAX_LINE_CHARS);
        }
        let mut dropped = 0;
        while serde_json::to_vec(self).map_or(0, |json| json.len()) > MAX_JSON_BYTES {
            if self.collected.is_empty() {
                if self.facts.pop().is_none() {
                    break;
                }
            } else {
                let kept = self.collected.len() * 3 / 4;
                dropped += self.collected.len() - kept;
                self.collected.truncate(kept);
            }
        }
        if dropped > 0 {
            self.add_facts("Too long to list", vec![text::count(dropped as u64, "notification")]);
        }
    }

    /// Removes the distances from deadlines, for a message that is not sent at once.
    pub(crate) fn remove_distances(&mut self) {
        for line in &mut self.next {
            *line = remove_distance(line);
        }
    }
}

/// Cuts a text to a number of characters, and marks it as cut.
pub(crate) fn shorten(text: &mut String, max_chars: usize) {
    if let Some((end, _)) = text.char_indices().nth(max_chars) {
        text.truncate(end);
        text.pop();
        text.push('…');
    }
}

/// A notification about one event of a model.
pub(crate) fn new_notification(id: &str, kind: NotificationKind, model: &str, time: Timestamp) -> Notification {
    let mut notification = Notification::new(id, Form::Single, time);
    notification.kind = Some(kind);
    notification.model = Some(model.to_owned());
    notification
}

/// Removes the distances that `words::format_deadline` wrote, for a message that is sent later.
pub(crate) fn remove_distance(line: &str) -> String {
    let parts = line.split_once(" UTC (in ").and_then(|(head, tail)| {
        let (_, rest) = tail.split_once(')')?;
        Some(format!("{head} UTC{rest}"))
    });
    parts.unwrap_or_else(|| line.to_owned())
}
