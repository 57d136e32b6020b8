//! Reads files and standard input up to a limit.

use std::{
    fmt,
    fs::File,
    io::{self, Read},
};

/// Why reading an input failed. The text completes `NAME: …`.
#[derive(Debug)]
pub(crate) enum InputError {
    /// It cannot be opened or read.
    Io(io::Error),
    /// It is larger than the limit. `bytes` is its size, if known.
    TooLarge { bytes: Option<u64>, limit: usize },
}

impl fmt::Display for InputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "failed to read: {error}"),
            Self::TooLarge {
                bytes: Some(bytes),
                limit,
            } => write!(f, "the file has {bytes} bytes; the limit is {limit} bytes"),
            Self::TooLarge { bytes: None, limit } => write!(f, "the input exceeds the limit of {limit} bytes"),
        }
    }
}

impl From<io::Error> for InputError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Reads a file, or standard input for `-`. An input that is too large is rejected before it is read or, if its size is
/// unknown, as soon as it exceeds the limit.
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
    let max = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    input.take(max).read_to_end(&mut bytes)?;
    if bytes.len() > limit {
        return Err(InputError::TooLarge { bytes: None, limit });
    }
    Ok(bytes)
}
