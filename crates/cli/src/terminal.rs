//! The terminal: its width, its colors, and the progress of a command.

use crate::state::{State, Tone};
use anstyle::{AnsiColor, Style};
use std::{
    io::{self, IsTerminal as _, Write as _},
    sync::OnceLock,
};

/// Width of output to a file or another command.
const DEFAULT_WIDTH: usize = 80;
/// Minimum width of a line.
const MIN_WIDTH: usize = 20;

/// Width and color of the output. `main` sets it once for the process. Without it, as in tests, output is neither wrapped nor
/// colored.
#[derive(Debug, Clone, Copy, Default)]
pub struct Terminal {
    width: Option<usize>,
    color: bool,
}

static TERMINAL: OnceLock<Terminal> = OnceLock::new();

impl Terminal {
    /// The terminal of this process. The width is `COLUMNS` or the width of the terminal; 80 if standard output is not a
    /// terminal. Color is used on terminals only, and not with `NO_COLOR`.
    pub fn from_process(variable: impl Fn(&str) -> Option<String>) -> Self {
        let is_terminal = io::stdout().is_terminal();
        let columns = variable("COLUMNS").and_then(|columns| columns.trim().parse().ok());
        let actual = || {
            let size = terminal_size::terminal_size_of(io::stdout());
            size.map(|(width, _)| usize::from(width.0))
        };
        let width = columns.filter(|columns| *columns >= MIN_WIDTH).or_else(actual);
        let no_color = variable("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = variable("TERM").is_some_and(|term| term == "dumb");
        Self {
            width: Some(width.unwrap_or(DEFAULT_WIDTH)),
            color: is_terminal && !no_color && !dumb,
        }
    }

    /// Applies it to all commands of this process.
    pub fn set(self) {
        // The first call wins.
        TERMINAL.get_or_init(|| self);
    }

    fn current() -> Self {
        TERMINAL.get().copied().unwrap_or_default()
    }
}

/// Maximum width of the output. `None` if it is not limited.
pub(crate) fn width() -> Option<usize> {
    Terminal::current().width
}

/// Wraps a text at words into lines of at most `width` characters. A longer word has its own line.
pub(crate) fn lines(text: &str, width: usize) -> Vec<String> {
    let width = width.max(MIN_WIDTH);
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

/// Wraps a text that starts after `indent` characters of its line; the other lines are indented.
pub(crate) fn hang_indent(text: &str, indent: usize) -> String {
    match width() {
        Some(width) if width >= indent + MIN_WIDTH && text.chars().count() > width - indent => {
            lines(text, width - indent).join(&format!("\n{:indent$}", ""))
        }
        _ => text.to_owned(),
    }
}

/// The name of a state in its color; without color if the terminal has none.
pub(crate) fn colored(state: impl Into<State>) -> String {
    let State { name, tone } = state.into();
    colored_text(name, tone)
}

/// A text in the color of a tone; unchanged without a tone, or if the terminal has no color.
pub(crate) fn colored_text(text: &str, tone: Option<Tone>) -> String {
    match tone.filter(|_| Terminal::current().color) {
        Some(tone) => {
            let style = tone.style();
            format!("{style}{text}{style:#}")
        }
        None => text.to_owned(),
    }
}

impl Tone {
    fn style(self) -> Style {
        let color = match self {
            Self::Bad => AnsiColor::Red,
            Self::Attention => AnsiColor::Yellow,
            Self::Good => AnsiColor::Green,
            Self::Active => AnsiColor::Cyan,
        };
        color.on_default()
    }
}

/// Shows the progress of a command on a terminal, in place of the previous text. A failed write is not an error.
pub(crate) fn progress(text: &str) {
    let mut err = io::stderr();
    if err.is_terminal() {
        drop(write!(err, "\r\x1b[K{text}").and_then(|()| err.flush()));
    }
}

/// Removes the progress text.
pub(crate) fn progress_ended() {
    progress("");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_wrap_at_words() {
        let text = "one two three four five six seven";
        assert_eq!(lines(text, 20), ["one two three four", "five six seven"]);
        assert_eq!(
            lines(text, 3),
            ["one two three four", "five six seven"],
            "never narrower"
        );
        let long = "arn:aws:sagemaker:eu-west-1:1:pipeline/retraining";
        assert_eq!(
            lines(&format!("execution {long} ended"), 20),
            ["execution", long, "ended"]
        );
        assert_eq!(lines("", 20), [""]);
    }

    #[test]
    fn text_is_unchanged_without_terminal() {
        let text = "word ".repeat(100);
        assert_eq!(hang_indent(&text, 10), text);
        assert_eq!(colored(remediation::Stage::Escalated), "Escalated");
        assert_eq!(colored_text("churn", None), "churn");
    }
}
