//! Errors of the parsers.

use std::fmt;

/// Input that is invalid: the object, the place in it, and the problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseError {
    /// Name of the object: `s3://bucket/key`, a file, or `event`.
    pub object: String,
    /// Description of the problem.
    pub problem: Problem,
}

/// Problem of an input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// The input exceeds the size limit.
    TooLarge {
        /// Size in bytes.
        bytes: usize,
        /// Limit in bytes.
        limit: usize,
    },
    /// The input is empty or contains only white space.
    Empty,
    /// The input is not UTF-8.
    NotUtf8 {
        /// Offset of the first invalid byte.
        offset: usize,
    },
    /// The input ends within a JSON value or a character.
    Truncated {
        /// Line of the end, starting at 1.
        line: usize,
        /// Column of the end.
        column: usize,
    },
    /// The input has more than 128 nested levels.
    TooDeep {
        /// Line of the first value that is nested too deeply, starting at 1.
        line: usize,
        /// Column of the value.
        column: usize,
    },
    /// The input is not JSON.
    NotJson {
        /// Description of the syntax error.
        message: String,
        /// Line, starting at 1.
        line: usize,
        /// Column.
        column: usize,
    },
    /// The input is JSON, but has an unexpected value.
    Unexpected {
        /// JSON path, such as `violations[3].feature_name`; `.` is the whole input.
        path: String,
        /// Expected value.
        expected: String,
        /// Value that was found.
        found: String,
    },
    /// A list has too many entries.
    TooMany {
        /// JSON path of the list.
        path: String,
        /// Number of entries.
        count: usize,
        /// Limit.
        limit: usize,
    },
    /// The input has too many JSON values.
    TooManyValues {
        /// Limit.
        limit: usize,
    },
}

impl ParseError {
    /// Creates the error of an object.
    pub fn new(object: &str, problem: Problem) -> Self {
        Self {
            object: object.to_owned(),
            problem,
        }
    }

    /// Creates the error of an unexpected value.
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
            Problem::TooLarge { bytes, limit } => write!(f, "`{object}` has {bytes} bytes: the limit is {limit}"),
            Problem::Empty => write!(f, "`{object}` is empty: expected a JSON object"),
            Problem::NotUtf8 { offset } => {
                write!(f, "`{object}` is not UTF-8: invalid byte at offset {offset}")
            }
            Problem::Truncated { line, column } => {
                write!(
                    f,
                    "`{object}` is truncated: it ends within a JSON value at line {line}, column {column}"
                )
            }
            Problem::TooDeep { line, column } => {
                write!(
                    f,
                    "`{object}` is nested too deeply at line {line}, column {column}: the limit is 128 levels"
                )
            }
            Problem::NotJson { message, line, column } => {
                write!(f, "`{object}` is not JSON: {message}, at line {line}, column {column}")
            }
            Problem::Unexpected { path, expected, found } => {
                write!(f, "`{object}` at `{path}`: expected {expected}, found {found}")
            }
            Problem::TooMany { path, count, limit } => {
                write!(
                    f,
                    "`{object}` at `{path}`: the list has {count} entries; the limit is {limit}"
                )
            }
            Problem::TooManyValues { limit } => {
                write!(f, "`{object}` contains too many JSON values: the limit is {limit}")
            }
        }
    }
}

impl std::error::Error for ParseError {}
