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
    /// Ends in the middle of a JSON value, or of a character.
    Truncated {
        /// Line of the end, from 1.
        line: usize,
        /// Column of the end.
        column: usize,
    },
    /// Nested deeper than the 128 levels that are read.
    TooDeep {
        /// Line of the first value that is too deep, from 1.
        line: usize,
        /// Its column.
        column: usize,
    },
    /// Not JSON.
    NotJson {
        /// What is not.
        message: String,
        /// Line, from 1.
        line: usize,
        /// Column.
        column: usize,
    },
    /// JSON, but not what it should be at that place.
    Unexpected {
        /// JSON path: `violations[3].feature_name`; `.` is the whole.
        path: String,
        /// What was expected there.
        expected: String,
        /// What was found there.
        found: String,
    },
    /// A list with more entries than are read.
    TooMany {
        /// JSON path of the list.
        path: String,
        /// How many there are.
        count: usize,
        /// The limit.
        limit: usize,
    },
    /// More JSON values than are read.
    TooManyValues {
        /// The limit.
        limit: usize,
    },
}

impl ParseError {
    /// The problem of an object.
    pub fn new(object: &str, problem: Problem) -> Self {
        Self {
            object: object.to_owned(),
            problem,
        }
    }

    /// What stands at a place is not what should.
    pub(crate) fn unexpected(
        object: &str,
        path: impl Into<String>,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> Self {
        let problem = Problem::Unexpected {
            path: path.into(),
            expected: expected.into(),
            found: found.into(),
        };
        Self::new(object, problem)
    }
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
            Problem::TooDeep { line, column } => {
                write!(
                    f,
                    "`{object}` is nested too deeply at line {line}, column {column}: at most 128 levels are read"
                )
            }
            Problem::NotJson { message, line, column } => {
                write!(f, "`{object}` is not JSON: {message}, at line {line}, column {column}")
            }
            Problem::Unexpected { path, expected, found } => {
                write!(f, "`{object}` at `{path}`: expected {expected}, found {found}")
            }
            Problem::TooMany { path, count, limit } => {
                write!(f, "`{object}` at `{path}`: {count} entries, at most {limit} are read")
            }
            Problem::TooManyValues { limit } => {
                write!(f, "`{object}` holds too many JSON values: at most {limit} are read")
            }
        }
    }
}

impl std::error::Error for ParseError {}
