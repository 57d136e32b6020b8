//! JSON from outside, bounded, with errors that say where.

use crate::{ParseError, Problem};
use serde::de::DeserializeOwned;
use serde_json::error::Category;

/// Bounds on what is read. Nesting is bounded as well, at 128 levels, by the JSON reader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// The largest file; default 16 MiB. Real reports are kilobytes, statistics with sketches a few megabytes.
    pub max_bytes: usize,
    /// The longest list of violations or features; default 50,000.
    pub max_entries: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_bytes: 16 << 20,
            max_entries: 50_000,
        }
    }
}

impl Limits {
    /// Refuses a list that is too long.
    pub(crate) fn check(&self, object: &str, path: &str, count: usize) -> Result<(), ParseError> {
        if count <= self.max_entries {
            return Ok(());
        }
        let problem = Problem::TooMany {
            path: path.to_owned(),
            count,
            limit: self.max_entries,
        };
        Err(ParseError {
            object: object.to_owned(),
            problem,
        })
    }
}

/// Reads one JSON value of a known shape. A byte order mark at the beginning is tolerated.
pub(crate) fn parse<T: DeserializeOwned>(object: &str, bytes: &[u8], limits: &Limits) -> Result<T, ParseError> {
    let error = |problem| ParseError {
        object: object.to_owned(),
        problem,
    };
    if bytes.len() > limits.max_bytes {
        return Err(error(Problem::TooLarge {
            bytes: bytes.len(),
            limit: limits.max_bytes,
        }));
    }
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    let text = std::str::from_utf8(bytes).map_err(|not| {
        error(Problem::NotUtf8 {
            offset: not.valid_up_to(),
        })
    })?;
    if text.trim().is_empty() {
        return Err(error(Problem::Empty));
    }
    let problem = |path: String, failure: &serde_json::Error| match failure.classify() {
        Category::Eof => Problem::Truncated {
            line: failure.line(),
            column: failure.column(),
        },
        Category::Data => Problem::Unexpected {
            path,
            message: failure.to_string(),
        },
        Category::Syntax | Category::Io => Problem::NotJson {
            message: failure.to_string(),
        },
    };
    let mut reader = serde_json::Deserializer::from_str(text);
    let value = serde_path_to_error::deserialize(&mut reader)
        .map_err(|failure| error(problem(failure.path().to_string(), failure.inner())))?;
    reader.end().map_err(|failure| error(problem(".".into(), &failure)))?;
    Ok(value)
}

/// The problem of a place that a shape alone cannot judge.
pub(crate) fn unexpected(object: &str, path: impl Into<String>, message: impl Into<String>) -> ParseError {
    let problem = Problem::Unexpected {
        path: path.into(),
        message: message.into(),
    };
    ParseError {
        object: object.to_owned(),
        problem,
    }
}
