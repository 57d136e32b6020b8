//! A notification as text: a subject and a body that a person understands without opening the console.

use crate::{
    notification::{Collected, Form, Notification},
    words::{plural, second},
};
use remediation::NotificationKind;

/// SNS takes subjects of fewer than 100 ASCII characters.
const SUBJECT: usize = 99;
/// SNS takes messages of 256 kB.
const BODY: usize = 240_000;
/// Lines that follow a label are indented so far.
const INDENT: &str = "  ";

/// A message of SNS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Text {
    /// One line of ASCII, within SNS's limit.
    pub(crate) subject: String,
    /// Plain text.
    pub(crate) body: String,
}

impl Text {
    /// The built-in text.
    pub(crate) fn of(notification: &Notification) -> Self {
        Self {
            subject: subject(&notification.subject),
            body: limited(body(notification), BODY),
        }
    }
}

/// One line of ASCII, cut to SNS's limit.
pub(crate) fn subject(text: &str) -> String {
    let plain: String = format!("[Driftwarden] {text}")
        .chars()
        .map(|c| if c == ' ' || c.is_ascii_graphic() { c } else { '?' })
        .collect();
    if plain.len() <= SUBJECT {
        plain
    } else {
        plain.chars().take(SUBJECT - 3).chain("...".chars()).collect()
    }
}

/// A text of so many bytes at most; what is left out is said.
pub(crate) fn limited(mut text: String, bytes: usize) -> String {
    const CUT: &str = "\n… (cut)\n";
    if text.len() > bytes {
        let mut end = bytes.saturating_sub(CUT.len());
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push_str(CUT);
    }
    text
}

/// What came again, in a line each.
pub(crate) fn repeats(notification: &Notification) -> Vec<String> {
    let lines = notification.repeats.iter().map(|repeat| {
        let count = repeat.count;
        format!(
            "{count} time{} more, last at {}: {}",
            plural(count),
            second(repeat.last),
            repeat.what
        )
    });
    lines.collect()
}

fn body(notification: &Notification) -> String {
    let mut text = Lines::default();
    text.line(&notification.what);
    let answers = [
        ("Why", notification.why.clone()),
        (
            "How bad",
            notification
                .how_bad
                .as_ref()
                .map(|bad| format!("{}.", bad.trim_end_matches('.'))),
        ),
        ("Since", notification.since.map(|since| format!("{}.", second(since)))),
    ];
    for (label, answer) in answers {
        if let Some(answer) = answer {
            text.line(&format!("{label}: {answer}"));
        }
    }
    text.section("Came again, and was counted instead of told", repeats(notification));
    for facts in &notification.facts {
        text.section(&facts.title, facts.lines.clone());
    }
    for (title, lines) in collected(&notification.collected, notification.form) {
        text.section(&title, lines);
    }
    let mut look = Vec::new();
    for place in &notification.look {
        look.push(format!("{}: {}", place.what, place.at));
        look.extend(place.link.as_ref().map(|link| format!("        {link}")));
    }
    text.section("Where to look", look);
    text.section("What happens next", notification.next.clone());
    let mut actions = Vec::new();
    for action in &notification.actions {
        actions.push(action.what.clone());
        actions.extend(action.commands.iter().map(|command| format!("    {command}")));
    }
    text.section("What you can do", actions);
    text.line("\n--");
    match &notification.event {
        Some(event) => {
            let judged = event.policy_version.as_ref();
            let judged = judged.map_or_else(String::new, |version| format!(", judged by policy {version}"));
            text.line(&format!("Event {}{judged}", event.id));
        }
        None => text.line(&format!("Notification {}", notification.id)),
    }
    text.0
}

/// Several that are told as one: of a digest by kind, else in order.
pub(crate) fn collected(collected: &[Collected], form: Form) -> Vec<(String, Vec<String>)> {
    let line = |one: &Collected| {
        let times = match one.count {
            1 => String::new(),
            count => format!(" ({count} times, last at {})", one.last.strftime("%H:%M")),
        };
        let time = one.first.strftime("%m-%d %H:%M");
        format!("{time}  {:8}  {}{times}", one.severity.as_str(), one.subject)
    };
    if form != Form::Digest {
        let lines: Vec<String> = collected.iter().map(line).collect();
        return vec![("What came, UTC".to_owned(), lines)];
    }
    let sections = [
        ("Alerts", NotificationKind::Alert),
        ("Monitors' health", NotificationKind::Health),
        ("Decisions", NotificationKind::Decision),
        ("Retrainings", NotificationKind::Retraining),
        ("Experiments", NotificationKind::Experiment),
        ("Baselines", NotificationKind::Baseline),
        ("Incidents that ended", NotificationKind::Incident),
    ];
    let sections = sections.map(|(title, kind)| {
        let of_kind = collected.iter().filter(|one| one.kind == Some(kind));
        let title = format!("{title}: {}", of_kind.clone().map(|one| one.count).sum::<u64>());
        (title, of_kind.map(line).collect::<Vec<_>>())
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
        self.line(&format!("\n{title}:"));
        for line in lines {
            self.line(&format!("{INDENT}{line}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_between_characters() {
        assert_eq!(limited("short".into(), 100), "short");
        let cut = limited("ä".repeat(100), 50);
        assert!(cut.len() <= 50 && cut.ends_with("… (cut)\n"), "{cut}");
    }
}
