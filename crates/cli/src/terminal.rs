//! What people look at: how wide it is, whether it has colours, and how far a command is.

use anstyle::{AnsiColor, Style};
use std::{
    io::{self, IsTerminal as _, Write as _},
    sync::OnceLock,
};

/// So wide is what goes to a file or another command.
const PIPED: usize = 80;
/// Narrower than this nothing is broken into lines.
const NARROWEST: usize = 20;

/// How the output is looked at. A fact of the process, said once by `main`; without it, as in tests, nothing is broken into
/// lines or coloured.
#[derive(Debug, Clone, Copy, Default)]
pub struct Terminal {
    width: Option<usize>,
    colour: bool,
}

static TERMINAL: OnceLock<Terminal> = OnceLock::new();

impl Terminal {
    /// The terminal of this process, as its standard output is and the environment says: `COLUMNS` or the terminal's own
    /// width, 80 for what is no terminal; colours only for a terminal, and not with `NO_COLOR`.
    pub fn of_process(variable: impl Fn(&str) -> Option<String>) -> Self {
        let is_terminal = io::stdout().is_terminal();
        let columns = variable("COLUMNS").and_then(|columns| columns.trim().parse().ok());
        let own = || {
            let size = terminal_size::terminal_size_of(io::stdout());
            size.map(|(width, _)| usize::from(width.0))
        };
        let width = columns.filter(|columns| *columns >= NARROWEST).or_else(own);
        let no_colour = variable("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = variable("TERM").is_some_and(|term| term == "dumb");
        Self {
            width: Some(width.unwrap_or(PIPED)),
            colour: is_terminal && !no_colour && !dumb,
        }
    }

    /// Lets every command of this process write for it.
    pub fn set(self) {
        // Whoever says it first is right.
        TERMINAL.get_or_init(|| self);
    }

    fn now() -> Self {
        TERMINAL.get().copied().unwrap_or_default()
    }
}

/// How wide the output may be; `None` if it may be as wide as it likes.
pub(crate) fn width() -> Option<usize> {
    Terminal::now().width
}

/// A text broken between words into lines of at most so many characters. A word that is longer has its own line.
pub(crate) fn lines(text: &str, width: usize) -> Vec<String> {
    let width = width.max(NARROWEST);
    let mut lines = vec![String::new()];
    let mut used = 0;
    for word in text.split_whitespace() {
        let length = word.chars().count();
        if used > 0 && used + 1 + length > width {
            lines.push(String::new());
            used = 0;
        }
        if let Some(line) = lines.last_mut() {
            if used > 0 {
                line.push(' ');
                used += 1;
            }
            line.push_str(word);
            used += length;
        }
    }
    lines
}

/// A text that begins after so many characters of its line, and goes on below them.
pub(crate) fn hanging(text: &str, indent: usize) -> String {
    match width() {
        Some(width) if width >= indent + NARROWEST && text.chars().count() > width - indent => {
            lines(text, width - indent).join(&format!("\n{:indent$}", ""))
        }
        _ => text.to_owned(),
    }
}

/// A word in the colour of what it stands for; as it is where there are no colours, or it stands for nothing.
pub(crate) fn coloured(word: &str) -> String {
    match style(word).filter(|_| Terminal::now().colour) {
        Some(style) => format!("{style}{word}{style:#}"),
        None => word.to_owned(),
    }
}

/// The colour of a state or a verdict.
fn style(word: &str) -> Option<Style> {
    let colour = match word {
        "broken" | "InAlert" | "ALARM" | "Escalated" | "Escalate" | "Failed" | "Unhealthy" | "Violations"
        | "Missing" | "RolledBack" | "left" => AnsiColor::Red,
        "warning" | "unknown" | "Holding" | "Hold" | "AwaitingApproval" | "AwaitingData" | "FixData" | "Deciding"
        | "Paused" | "Stopped" | "InsufficientData" | "NoData" | "Inconclusive" => AnsiColor::Yellow,
        "ok" | "OK" | "Healthy" | "Repaired" | "Recovered" | "Promoted" | "Clean" | "Succeeded" | "handed over" => {
            AnsiColor::Green
        }
        "Retraining" | "Retrain" | "Candidate" | "Verifying" | "Executing" | "Testing" | "Baking" | "Promoting" => {
            AnsiColor::Cyan
        }
        _ => return None,
    };
    Some(colour.on_default())
}

/// Says on a terminal how far a command is, over what was said before. Only a person sees it: that it could not be said is no
/// failure.
pub(crate) fn progress(text: &str) {
    let mut err = io::stderr();
    if err.is_terminal() {
        drop(write!(err, "\r\x1b[K{text}").and_then(|()| err.flush()));
    }
}

/// Takes away what was said of how far a command is.
pub(crate) fn progress_ended() {
    progress("");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_broken_between_words() {
        let text = "one two three four five six seven";
        assert_eq!(lines(text, 20), ["one two three four", "five six seven"]);
        assert_eq!(
            lines(text, 3),
            ["one two three four", "five six seven"],
            "never narrower"
        );
        let long = "arn:aws:sagemaker:eu-west-1:1:pipeline/retraining";
        assert_eq!(lines(&format!("the run {long} ended"), 20), ["the run", long, "ended"]);
        assert_eq!(lines("", 20), [""]);
    }

    #[test]
    fn without_a_terminal_nothing_is_changed() {
        let text = "word ".repeat(100);
        assert_eq!(hanging(&text, 10), text);
        assert_eq!(coloured("broken"), "broken");
        assert!(style("broken").is_some() && style("churn").is_none());
    }
}
