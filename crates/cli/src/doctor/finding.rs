//! Findings of checks, and how they are printed.

use crate::{
    error::Message,
    state::{State, Tone},
    table::{plain, plain_lines},
    terminal::{colored, hang_indent},
};
use machine::AwsError;
use serde::Serialize;
use std::{
    borrow::Cow,
    io::{self, Write},
};

/// Widths of the columns for verdict and check.
const VERDICT_WIDTH: usize = 9;
const CHECK_WIDTH: usize = 15;
/// Indentation of the text.
const INDENT: usize = VERDICT_WIDTH + CHECK_WIDTH;

/// Result of a check, in the order of severity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Verdict {
    /// Not checked: by option, or because the resource is not known.
    Skipped,
    /// No problem.
    Ok,
    /// It works, but needs attention.
    Warning,
    /// It could not be checked.
    Unknown,
    /// It does not work.
    Broken,
}

impl Verdict {
    pub(super) const ALL: [Self; 5] = [Self::Ok, Self::Warning, Self::Broken, Self::Unknown, Self::Skipped];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Skipped => "skipped",
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Unknown => "unknown",
            Self::Broken => "broken",
        }
    }
}

impl From<Verdict> for State {
    fn from(verdict: Verdict) -> Self {
        let tone = match verdict {
            Verdict::Skipped => None,
            Verdict::Ok => Some(Tone::Good),
            Verdict::Warning | Verdict::Unknown => Some(Tone::Attention),
            Verdict::Broken => Some(Tone::Bad),
        };
        Self::new(verdict.as_str(), tone)
    }
}

/// A finding of a check.
#[derive(Debug, Serialize)]
pub(super) struct Finding {
    /// Name of the check.
    pub(super) check: &'static str,
    /// Result of the check.
    pub(super) verdict: Verdict,
    /// What was found.
    pub(super) seen: String,
    /// How to fix it: usually a command to paste.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) remedy: Option<String>,
}

impl Finding {
    fn new(check: &'static str, verdict: Verdict, seen: impl Into<String>) -> Self {
        Self {
            check,
            verdict,
            seen: seen.into(),
            remedy: None,
        }
    }

    pub(super) fn ok(check: &'static str, seen: impl Into<String>) -> Self {
        Self::new(check, Verdict::Ok, seen)
    }

    pub(super) fn warning(check: &'static str, seen: impl Into<String>) -> Self {
        Self::new(check, Verdict::Warning, seen)
    }

    pub(super) fn broken(check: &'static str, seen: impl Into<String>) -> Self {
        Self::new(check, Verdict::Broken, seen)
    }

    pub(super) fn skipped(check: &'static str, seen: impl Into<String>) -> Self {
        Self::new(check, Verdict::Skipped, seen)
    }

    /// The check could not run, or this AWS endpoint does not support it.
    pub(super) fn unknown(check: &'static str, error: &AwsError) -> Self {
        let message = error.message.to_lowercase();
        let unsupported = ["not implemented", "notimplemented", "not yet been", "not supported"];
        if unsupported.iter().any(|words| message.contains(words)) {
            return Self::skipped(
                check,
                format!("{} is not supported by this AWS endpoint", error.operation),
            );
        }
        let message = Message::from(error);
        Self {
            remedy: message.hint().map(str::to_owned),
            ..Self::new(check, Verdict::Unknown, message.what())
        }
    }

    /// Sets the remedy.
    pub(super) fn with_remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    /// Prints the verdict, the check, the text, and the remedy below. The remedy is never wrapped, so that it can be pasted.
    pub(super) fn show(&self, out: &mut dyn Write) -> io::Result<()> {
        let Self {
            check,
            verdict,
            seen,
            remedy,
        } = self;
        let word = verdict.as_str();
        let missing = VERDICT_WIDTH.saturating_sub(word.len());
        let seen = plain_lines(seen);
        let seen: Vec<String> = seen.lines().map(|line| hang_indent(line, INDENT)).collect();
        let seen = seen.join(&format!("\n{:INDENT$}", ""));
        writeln!(out, "{}{:missing$}{check:<CHECK_WIDTH$}{seen}", colored(*verdict), "")?;
        if let Some(remedy) = remedy {
            writeln!(out, "{:INDENT$}fix: {}", "", plain(remedy))?;
        }
        Ok(())
    }
}

/// A word for a shell, quoted if necessary.
pub(super) fn quoted(word: &str) -> Cow<'_, str> {
    let safe = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    if !word.is_empty() && word.chars().all(safe) {
        Cow::Borrowed(word)
    } else {
        Cow::Owned(format!("'{}'", word.replace('\'', r"'\''")))
    }
}
