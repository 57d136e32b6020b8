//! Errors of commands: what is wrong, what to do about it, and how both are printed.

use crate::{Exit, table::plain_lines};
use machine::{AwsError, Kind};
use std::{
    fmt,
    io::{self, Write},
};

/// Separates the hint in errors that are strings.
const HINT: &str = "\nhint: ";

/// An error for people, printed as `error: what` and `hint: remedy` on separate lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    what: String,
    hint: Option<String>,
}

impl Message {
    /// An error with its remedy.
    pub(crate) fn new(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            hint: Some(hint.into()),
        }
    }

    /// What is wrong.
    pub(crate) fn what(&self) -> &str {
        &self.what
    }

    /// What to do about it.
    pub(crate) fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// The error, with the place where it occurred in front.
    pub(crate) fn within(self, place: &str) -> Self {
        Self {
            what: format!("{place}: {}", self.what),
            hint: self.hint,
        }
    }

    /// Prints the error.
    pub(crate) fn print(&self, err: &mut dyn Write) -> io::Result<()> {
        writeln!(err, "error: {}", plain_lines(&self.what))?;
        match &self.hint {
            Some(hint) => writeln!(err, "hint: {}", plain_lines(hint)),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        match &self.hint {
            Some(hint) => write!(f, "{HINT}{hint}"),
            None => Ok(()),
        }
    }
}

impl From<String> for Message {
    fn from(text: String) -> Self {
        match text.split_once(HINT) {
            Some((what, hint)) => Self::new(what, hint),
            None => Self { what: text, hint: None },
        }
    }
}

impl From<&AwsError> for Message {
    fn from(error: &AwsError) -> Self {
        let AwsError {
            operation,
            resource,
            kind,
            message,
        } = error;
        let what = format!("{operation} on `{resource}` failed: {message}");
        match kind {
            Kind::Denied => Self::new(
                what,
                format!("allow `{operation}` on `{resource}` for your credentials"),
            ),
            _ => Self { what, hint: None },
        }
    }
}

/// Why a command ended early.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The output could not be written.
    Output(io::Error),
    /// The arguments are invalid.
    Usage(Message),
    /// Any other error.
    Failed(Message),
}

impl Failure {
    /// Invalid arguments, and what to pass instead.
    pub(crate) fn usage(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Usage(Message::new(what, hint))
    }

    /// Any other error, with its remedy.
    pub(crate) fn failed(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Failed(Message::new(what, hint))
    }

    /// Prints the error, and returns the exit code that belongs to it.
    pub(crate) fn print(&self, err: &mut dyn Write) -> Exit {
        let (exit, message) = match self {
            Self::Output(error) => return Exit::from_output_error(error),
            Self::Usage(message) => (Exit::Usage, message),
            Self::Failed(message) => (Exit::Failed, message),
        };
        match message.print(err) {
            Ok(()) => exit,
            Err(error) => Exit::from_output_error(&error),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

impl From<Message> for Failure {
    fn from(message: Message) -> Self {
        Self::Failed(message)
    }
}

impl From<String> for Failure {
    fn from(text: String) -> Self {
        Self::Failed(text.into())
    }
}

impl From<AwsError> for Failure {
    fn from(error: AwsError) -> Self {
        Self::Failed(Message::from(&error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hint_is_printed_on_its_own_line() {
        let printed = |message: &Message| {
            let mut err = Vec::new();
            message.print(&mut err).unwrap();
            String::from_utf8(err).unwrap()
        };
        let message = Message::new("no operator name", "pass --by NAME or set USER");
        assert_eq!(
            printed(&message),
            "error: no operator name\nhint: pass --by NAME or set USER\n"
        );
        assert_eq!(Message::from(message.to_string()), message);
        let bare = Message::from("it failed\u{7}".to_owned());
        assert_eq!(printed(&bare), "error: it failed \n");
    }
}
