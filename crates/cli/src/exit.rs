//! Exit codes.

use std::{
    io,
    process::{ExitCode, Termination},
};

/// What `driftwarden --help` prints below the commands.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0  success; analyze: no violations
  1  error (other inputs were still processed); analyze: also usage errors
  2  usage error; analyze: violations found
  3  analyze: no data
  4  doctor: a check failed

Results go to standard output; errors, warnings, and progress go to standard error. --json prints JSON with stable \
field names.
Color is used on terminals only; NO_COLOR turns it off. COLUMNS sets the width.";

/// How a command ended. Arguments that clap rejects end with 2 as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Success: 0. `analyze`: no violations.
    Done,
    /// Error: 1. Other inputs were still processed.
    Failed,
    /// Usage error: 2. `analyze`: 1.
    Usage,
    /// `analyze`: violations found: 2.
    Violations,
    /// `analyze`: no data, which is not clean: 3.
    NoData,
    /// `doctor`: a check failed: 4.
    Broken,
}

impl Exit {
    /// The exit code.
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage | Self::Violations => 2,
            Self::NoData => 3,
            Self::Broken => 4,
        }
    }

    /// Exit code after the output could not be written. A closed pipe (`| head`) is not a failure.
    pub fn from_output_error(error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Self::Done
        } else {
            Self::Failed
        }
    }
}

impl Termination for Exit {
    fn report(self) -> ExitCode {
        ExitCode::from(self.code())
    }
}
