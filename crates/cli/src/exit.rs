//! Exit codes.

use std::{
    io,
    process::{ExitCode, Termination},
};

/// How the command ended. Arguments that clap refuses end with 2 as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Everything asked for was done.
    Done = 0,
    /// At least one input could not be answered, and the others were; or what was asked for could not be done.
    Failed = 1,
    /// The command was not called as it should be.
    Usage = 2,
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
        ExitCode::from(self as u8)
    }
}
