//! Exit codes.

use std::{
    io,
    process::{ExitCode, Termination},
};

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
}

impl Exit {
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
        ExitCode::from(match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage | Self::Violations => 2,
            Self::NoData => 3,
        })
    }
}
