//! Files and standard input, read no farther than a limit.

use std::{
    fmt,
    fs::File,
    io::{self, Read},
};

/// Why an input could not be read; completes a sentence that begins with its name.
#[derive(Debug)]
pub(crate) enum InputError {
    /// It could not be opened or read.
    Io(io::Error),
    /// It is larger than the limit; its size, if that is known.
    TooLarge { bytes: Option<u64>, limit: usize },
}

impl fmt::Display for InputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "cannot be read: {error}"),
            Self::TooLarge {
                bytes: Some(bytes),
                limit,
            } => write!(f, "is {bytes} bytes: at most {limit} are read"),
            Self::TooLarge { bytes: None, limit } => write!(f, "is larger than the {limit} bytes that are read"),
        }
    }
}

impl From<io::Error> for InputError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Reads a file, or standard input if it is called `-`. One that is too large is refused before it is read, or, where
/// its size is not known before, as soon as the limit is passed.
pub(crate) fn read(name: &str, input: &mut dyn Read, limit: usize) -> Result<Vec<u8>, InputError> {
    if name == "-" {
        return bounded(input, limit);
    }
    let file = File::open(name)?;
    let bytes = file.metadata()?.len();
    if usize::try_from(bytes).is_ok_and(|bytes| bytes <= limit) {
        bounded(&mut &file, limit)
    } else {
        Err(InputError::TooLarge {
            bytes: Some(bytes),
            limit,
        })
    }
}

fn bounded(input: &mut dyn Read, limit: usize) -> Result<Vec<u8>, InputError> {
    let mut bytes = Vec::new();
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    input.take(most).read_to_end(&mut bytes)?;
    if bytes.len() > limit {
        return Err(InputError::TooLarge { bytes: None, limit });
    }
    Ok(bytes)
}
