//! A notification as all its forms are made of it: JSON for machines, and what templates of users see.

use jiff::Timestamp;
use remediation::{NotificationKind, NotificationSeverity};
use serde::{Deserialize, Serialize};

/// Version of the layout.
pub const VERSION: &str = "1";

/// How a notification tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    /// Of one event.
    Single,
    /// How often something came again that had been told.
    Repeats,
    /// What came in quiet hours.
    QuietHours,
    /// What came in a day.
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

/// What a notification means for its thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum ThreadStatus {
    /// Something is wrong, or somebody has to decide.
    Open,
    /// Driftwarden is at it.
    InProgress,
    /// Good to know.
    Note,
    /// It is over.
    Closed,
}

/// Lines under a title.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Facts {
    /// The title.
    pub title: String,
    /// The lines.
    pub lines: Vec<String>,
}

/// Where to look.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Place {
    /// What is there.
    pub what: String,
    /// Its name: a URI, an ARN, an endpoint.
    pub at: String,
    /// Link into the AWS console.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
}

/// What people can do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Action {
    /// In words.
    pub what: String,
    /// Commands that do it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub commands: Vec<String>,
}

/// What came again, and was counted instead of told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Repeat {
    /// The subject under which it had been told.
    pub what: String,
    /// How often it came since then, or since it was last counted here.
    pub count: u64,
    /// When it came last.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub last: Timestamp,
}

/// One of several that are told as one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Collected {
    /// What it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<NotificationKind>,
    /// The model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The thread.
    pub thread: String,
    /// How grave it is.
    pub severity: NotificationSeverity,
    /// One line.
    pub subject: String,
    /// What it tells, in a sentence.
    pub what: String,
    /// How often it came.
    pub count: u64,
    /// When it came first.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub first: Timestamp,
    /// When it came last.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub last: Timestamp,
}

/// The event that a notification tells of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct ToldEvent {
    /// Its detail-type.
    pub detail_type: String,
    /// Its `detail.id`.
    pub id: String,
    /// Version (hash) of the policy that judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_version: Option<String>,
}

/// A notification, version 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Notification {
    /// Version of this layout. Fields may be added within a version; unknown ones are to be ignored.
    pub version: String,
    /// Deterministic: the same notification has the same id, however often it is sent.
    pub id: String,
    /// Whether it tells of one event, or of several as one.
    pub form: Form,
    /// What it is about; absent if it tells of several events as one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<NotificationKind>,
    /// The model; absent if it tells of several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The monitoring schedule, if it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monitoring_schedule: Option<String>,
    /// The incident, once it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incident_id: Option<String>,
    /// What belongs together has the same thread: one incident is one.
    pub thread: String,
    /// What it means for the thread.
    pub status: ThreadStatus,
    /// How grave it is.
    pub severity: NotificationSeverity,
    /// One line.
    pub subject: String,
    /// What happened.
    pub what: String,
    /// Why, or what was decided and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// How bad it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub how_bad: Option<String>,
    /// Since when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
    pub since: Option<Timestamp>,
    /// What came again since it was last told of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub repeats: Vec<Repeat>,
    /// What is known in detail.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub facts: Vec<Facts>,
    /// What is told as one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub collected: Vec<Collected>,
    /// Where to look.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub look: Vec<Place>,
    /// What happens next.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub next: Vec<String>,
    /// What people can do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub actions: Vec<Action>,
    /// The event that it tells of, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<ToldEvent>,
    /// When it happened.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub time: Timestamp,
}

impl Notification {
    /// A notification that tells nothing yet.
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

    pub(crate) fn facts(&mut self, title: &str, lines: Vec<String>) {
        if !lines.is_empty() {
            let title = title.to_owned();
            self.facts.push(Facts { title, lines });
        }
    }

    pub(crate) fn look(&mut self, what: &str, at: &str, link: Option<String>) {
        self.look.push(Place {
            what: what.to_owned(),
            at: at.to_owned(),
            link,
        });
    }

    pub(crate) fn next(&mut self, line: &str) {
        self.next.push(line.to_owned());
    }

    pub(crate) fn action(&mut self, what: &str, commands: &[String]) {
        self.actions.push(Action {
            what: what.to_owned(),
            commands: commands.to_vec(),
        });
    }
}
