//! Why something could not be read.

use std::fmt;

/// Something from outside that could not be read: which object, where in it, and what is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseError {
    /// The object: `s3://bucket/key`, a file, or `event`.
    pub object: String,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// Larger than the limit.
    TooLarge {
        /// Its size in bytes.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// Not a byte, or nothing but white space.
    Empty,
    /// Not UTF-8 text.
    NotUtf8 {
        /// Offset of the first byte that is not.
        offset: usize,
    },
    /// Ends in the middle of a JSON value.
    Truncated {
        /// Line of the end, from 1.
        line: usize,
        /// Column of the end, from 1.
        column: usize,
    },
    /// Not JSON.
    NotJson {
        /// What is not, with line and column.
        message: String,
    },
    /// JSON, but not what it should be at that place.
    Unexpected {
        /// JSON path: `violations[3].feature_name`; `.` is the whole.
        path: String,
        /// What was expected and what was found.
        message: String,
    },
    /// More entries than are read.
    TooMany {
        /// JSON path of the list.
        path: String,
        /// How many there are.
        count: usize,
        /// The limit.
        limit: usize,
    },
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let object = &self.object;
        match &self.problem {
            Problem::TooLarge { bytes, limit } => write!(f, "`{object}` is {bytes} bytes: at most {limit} are read"),
            Problem::Empty => write!(f, "`{object}` is empty: expected a JSON object"),
            Problem::NotUtf8 { offset } => {
                write!(
                    f,
                    "`{object}` is not UTF-8 text: the byte at offset {offset} is not part of a character"
                )
            }
            Problem::Truncated { line, column } => {
                write!(
                    f,
                    "`{object}` is truncated: it ends in the middle of a JSON value, at line {line}, column {column}"
                )
            }
            Problem::NotJson { message } => write!(f, "`{object}` is not JSON: {message}"),
            Problem::Unexpected { path, message } => write!(f, "`{object}` at `{path}`: {message}"),
            Problem::TooMany { path, count, limit } => {
                write!(f, "`{object}` at `{path}`: {count} entries: at most {limit} are read")
            }
        }
    }
}

impl std::error::Error for ParseError {}
