//! What a check found.

use crate::{
    cloud::{plain_lines, said},
    table::plain,
    terminal::{coloured, hanging},
};
use serde::Serialize;
use shell::AwsError;
use std::{
    borrow::Cow,
    io::{self, Write},
};

/// How wide the columns of verdict and check are.
const VERDICT: usize = 9;
const CHECK: usize = 15;
/// Where what was seen begins.
const INDENT: usize = VERDICT + CHECK;

/// How it stands. Graver ones come later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Verdict {
    /// Not looked at, on purpose or for want of a place.
    Skipped,
    /// As it has to be.
    Ok,
    /// It works, and somebody should look.
    Warning,
    /// It could not be looked at.
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

/// What a check found.
#[derive(Debug, Serialize)]
pub(super) struct Finding {
    /// The check.
    pub(super) check: &'static str,
    /// How it stands.
    pub(super) verdict: Verdict,
    /// What was seen.
    pub(super) seen: String,
    /// How to mend it: a command to paste, mostly.
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

    /// It could not be looked at, or this AWS does not have it at all.
    pub(super) fn unseen(check: &'static str, error: &AwsError) -> Self {
        let message = error.message.to_lowercase();
        let unsupported = ["not implemented", "notimplemented", "not yet been", "not supported"];
        if unsupported.iter().any(|words| message.contains(words)) {
            return Self::skipped(check, format!("{} is not supported here", error.operation));
        }
        Self::new(check, Verdict::Unknown, said(error))
    }

    /// With the remedy.
    pub(super) fn mend(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    /// Shows it: the verdict, the check, what was seen, and the remedy below. A remedy is never broken up: it is pasted.
    pub(super) fn show(&self, out: &mut dyn Write) -> io::Result<()> {
        let Self {
            check,
            verdict,
            seen,
            remedy,
        } = self;
        let word = verdict.as_str();
        let missing = VERDICT.saturating_sub(word.len());
        let seen = plain_lines(seen);
        let seen: Vec<String> = seen.lines().map(|line| hanging(line, INDENT)).collect();
        let seen = seen.join(&format!("\n{:INDENT$}", ""));
        writeln!(out, "{}{:missing$}{check:<CHECK$}{seen}", coloured(word), "")?;
        if let Some(remedy) = remedy {
            writeln!(out, "{:INDENT$}mend: {}", "", plain(remedy))?;
        }
        Ok(())
    }
}

/// A word for a shell: quoted where it has to be.
pub(super) fn quoted(word: &str) -> Cow<'_, str> {
    let safe = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    if !word.is_empty() && word.chars().all(safe) {
        Cow::Borrowed(word)
    } else {
        Cow::Owned(format!("'{}'", word.replace('\'', r"'\''")))
    }
}
