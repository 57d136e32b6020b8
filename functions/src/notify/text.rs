//! Plain-text form of a notification: a subject, and a body that is clear without the console.

use crate::notify::notification::{Action, Collected, Form, Notification, Place, ThreadStatus};
use remediation::NotificationKind;

/// SNS accepts subjects of fewer than 100 ASCII characters.
const MAX_SUBJECT_CHARS: usize = 99;
/// SNS accepts messages of 256 kB.
const MAX_BODY_BYTES: usize = 240_000;
/// Longer labels have a separate line.
const MAX_LABEL_CHARS: usize = 40;

/// A message for SNS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Text {
    /// One line of ASCII, within SNS's limit.
    pub(crate) subject: String,
    /// Plain text.
    pub(crate) body: String,
}

impl Text {
    /// The built-in text.
    pub(crate) fn from_notification(notification: &Notification) -> Self {
        Self {
            subject: subject_line(&notification.subject),
            body: truncate(body(notification), MAX_BODY_BYTES),
        }
    }
}

/// One line of ASCII, truncated to SNS's limit.
pub(crate) fn subject_line(text: &str) -> String {
    let plain: String = format!("[Driftwarden] {text}")
        .chars()
        .map(|c| if c == ' ' || c.is_ascii_graphic() { c } else { '?' })
        .collect();
    if plain.len() <= MAX_SUBJECT_CHARS {
        plain
    } else {
        plain.chars().take(MAX_SUBJECT_CHARS - 3).chain("...".chars()).collect()
    }
}

/// Truncates a text to a number of bytes, and marks it as truncated.
pub(crate) fn truncate(mut text: String, bytes: usize) -> String {
    const MARK: &str = "\n… (truncated)\n";
    if text.len() > bytes {
        let mut end = bytes.saturating_sub(MARK.len());
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push_str(MARK);
    }
    text
}

/// The repeats, one line each.
pub(crate) fn repeat_lines(notification: &Notification) -> Vec<String> {
    let lines = notification.repeats.iter().map(|repeat| {
        let count = text::count(repeat.count, "repeat");
        format!("{count}, last at {}: {}", text::time(repeat.last), repeat.what)
    });
    lines.collect()
}

/// Severity and start of what happened, with their labels.
pub(crate) fn severity_lines(notification: &Notification) -> Vec<(&'static str, String)> {
    let severity = notification.how_bad.as_ref();
    let severity = severity.map(|severity| ("Severity", format!("{}.", severity.trim_end_matches('.'))));
    let label = match notification.kind {
        Some(NotificationKind::Alert | NotificationKind::Decision) => "First violation",
        Some(NotificationKind::Incident) => "Opened",
        Some(NotificationKind::Health) => "No result since",
        _ => "First event",
    };
    let since = notification.since.map(|since| (label, text::time(since)));
    severity.into_iter().chain(since).collect()
}

/// The action that Driftwarden asks for: the first one of an open notification. Alerts and health changes ask for none.
fn requested_action(notification: &Notification) -> Option<&Action> {
    let is_report = matches!(
        notification.kind,
        None | Some(NotificationKind::Alert | NotificationKind::Health)
    );
    let is_open = notification.status == ThreadStatus::Open;
    notification.actions.first().filter(|_| is_open && !is_report)
}

/// What an action does, with a colon if commands follow.
pub(crate) fn action_label(action: &Action) -> String {
    let colon = if action.commands.is_empty() { "" } else { ":" };
    format!("{}{colon}", action.what)
}

fn body(notification: &Notification) -> String {
    let mut text = Lines::default();
    text.line(&notification.what);
    for line in &notification.next {
        text.line(line);
    }
    let requested = requested_action(notification);
    if let Some(action) = requested {
        text.line(&format!("\n{}", action_label(action)));
        for command in &action.commands {
            text.line(&format!("    {command}"));
        }
    }
    let severity = severity_lines(notification);
    if notification.why.is_some() || !severity.is_empty() {
        text.line("");
    }
    if let Some(why) = &notification.why {
        text.line(&format!("Why: {why}"));
    }
    for (label, value) in severity {
        text.line(&format!("{label}: {value}"));
    }
    text.section("Repeats (counted, not sent)", repeat_lines(notification));
    for facts in &notification.facts {
        text.section(&facts.title, facts.lines.clone());
    }
    for (title, lines) in collected_sections(&notification.collected, notification.form) {
        text.section(&title, lines);
    }
    let others = notification.actions.iter().skip(usize::from(requested.is_some()));
    text.section("More", more_lines(others.collect(), &notification.look));
    match &notification.event {
        Some(event) => {
            let version = event.policy_version.as_ref();
            let version = version.map_or_else(String::new, |version| format!(", policy version {version}"));
            text.line(&format!("\nEvent {}{version}", event.id));
        }
        None => text.line(&format!("\nNotification {}", notification.id)),
    }
    text.0
}

/// Commands and links in two columns. Long labels, and those of several commands, have a separate line.
fn more_lines(actions: Vec<&Action>, places: &[Place]) -> Vec<String> {
    let in_column = |action: &Action| action.commands.len() == 1 && action.what.chars().count() <= MAX_LABEL_CHARS;
    let labels = actions
        .iter()
        .filter(|action| in_column(action))
        .map(|action| &action.what);
    let labels = labels.chain(places.iter().map(|place| &place.what));
    let width = labels.map(|label| label.chars().count()).max().unwrap_or(0);
    let mut lines = Vec::new();
    for action in actions {
        if in_column(action) {
            lines.push(format!("{:width$}  {}", action.what, action.commands.join(" ")));
        } else {
            lines.push(action_label(action));
            lines.extend(action.commands.iter().map(|command| format!("    {command}")));
        }
    }
    for place in places {
        lines.push(format!("{:width$}  {}", place.what, place.at));
        lines.extend(place.link.as_ref().map(|link| format!("{:width$}  {link}", "")));
    }
    lines
}

/// Sections of a message that summarizes several notifications: by kind for a digest, otherwise in order.
pub(crate) fn collected_sections(collected: &[Collected], form: Form) -> Vec<(String, Vec<String>)> {
    let line = |one: &Collected| {
        let times = match one.count {
            1 => String::new(),
            count => format!(" ({}, last at {})", text::count(count, "time"), text::minute(one.last)),
        };
        format!(
            "{}  {:8}  {}{times}",
            text::minute(one.first),
            one.severity.as_str(),
            one.subject
        )
    };
    if form != Form::Digest {
        let lines: Vec<String> = collected.iter().map(line).collect();
        return vec![("Held notifications (UTC)".to_owned(), lines)];
    }
    let sections = [
        ("Alerts", NotificationKind::Alert),
        ("Monitor health", NotificationKind::Health),
        ("Decisions", NotificationKind::Decision),
        ("Retrainings", NotificationKind::Retraining),
        ("Experiments", NotificationKind::Experiment),
        ("Baselines", NotificationKind::Baseline),
        ("Closed incidents", NotificationKind::Incident),
    ];
    let sections = sections.map(|(title, kind)| {
        let of_kind = collected.iter().filter(|one| one.kind == Some(kind));
        let count: u64 = of_kind.clone().map(|one| one.count).sum();
        (format!("{title}: {count} (UTC)"), of_kind.map(line).collect::<Vec<_>>())
    });
    sections.into_iter().filter(|(_, lines)| !lines.is_empty()).collect()
}

/// The lines of a text.
#[derive(Default)]
struct Lines(String);

impl Lines {
    fn line(&mut self, line: &str) {
        self.0.push_str(line);
        self.0.push('\n');
    }

    fn section(&mut self, title: &str, lines: Vec<String>) {
        if lines.is_empty() {
            return;
        }
        self.line(&format!("\n{title}"));
        for line in lines {
            self.line(&format!("  {line}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_truncated_between_characters() {
        assert_eq!(truncate("short".into(), 100), "short");
        let truncated = truncate("ä".repeat(100), 50);
        assert!(
            truncated.len() <= 50 && truncated.ends_with("… (truncated)\n"),
            "{truncated}"
        );
    }
}
