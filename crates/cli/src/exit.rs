//! Exit codes.

use std::{
    io,
    process::{ExitCode, Termination},
};

/// The exit codes, as `driftwarden help` tells them.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0  what was asked for was done; analyze: nothing violates the constraints
  1  something could not be done or read, as the error says; the rest was
  2  the command was not called as it should be; analyze: violations (a wrong
     call is 1 there)
  3  analyze: there was nothing to analyse, which is not clean
  4  doctor: something is broken

Data goes to standard output, errors and warnings to standard error. With
--json it is JSON, one object or one a line; its fields stay. Colours are for
terminals, and not where NO_COLOR is set. COLUMNS says how wide the output
may be: by default as the terminal, 80 where there is none.";

/// How the command ended. Arguments that clap refuses end with 2 as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Everything asked for was done: 0. Of `analyze`: nothing violates the constraints.
    Done,
    /// At least one input could not be answered, and the others were; or what was asked for could not be done: 1.
    Failed,
    /// The command was not called as it should be: 2, but 1 of `analyze`.
    Usage,
    /// `analyze`: there are violations: 2.
    Violations,
    /// `analyze`: there was nothing to analyse, which is not clean: 3.
    NoData,
    /// `doctor`: something is broken: 4.
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

    /// How a failure to write the output ends: a reader who has seen enough (`| head`) is no failure.
    pub fn of_output(error: &io::Error) -> Self {
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
