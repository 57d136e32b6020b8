//! Bounded parser of JSON from outside, with errors that name the place.

use crate::{ParseError, Problem};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, IgnoredAny},
};
use serde_json::{Value, error::Category};
use std::borrow::Cow;

/// Limits of an input. The JSON parser also limits nesting to 128 levels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Maximum size of a file in bytes. Default: 16 MiB. Real reports are kilobytes, statistics with sketches a few
    /// megabytes.
    pub max_bytes: usize,
    /// Maximum length of a list of violations or features. Default: 50,000.
    pub max_entries: usize,
    /// Maximum number of JSON values in a file, counted by `[`, `{`, and `,`. Default: 500,000. It bounds memory: a
    /// value of two bytes takes up to a hundred bytes when parsed. A report of 50,000 violations stays below the limit.
    pub max_values: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_bytes: 16 << 20,
            max_entries: 50_000,
            max_values: 500_000,
        }
    }
}

impl Limits {
    /// Rejects a list that is too long.
    pub(crate) fn check(&self, object: &str, path: &str, count: usize) -> Result<(), ParseError> {
        if count <= self.max_entries {
            return Ok(());
        }
        let problem = Problem::TooMany {
            path: path.to_owned(),
            count,
            limit: self.max_entries,
        };
        Err(ParseError::new(object, problem))
    }
}

/// Parses one JSON object of a known shape.
///
/// Accepted in addition to JSON: a byte order mark at the beginning, and bare `NaN`, `Infinity`, and `-Infinity`, as
/// Python's `json` writes them; they are parsed as strings. A known name that occurs twice in an object is an error,
/// because the intended value is ambiguous. Of an unknown name, the last value is used.
pub(crate) fn parse<T: DeserializeOwned>(object: &str, bytes: &[u8], limits: &Limits) -> Result<T, ParseError> {
    let error = |problem| ParseError::new(object, problem);
    if bytes.len() > limits.max_bytes {
        return Err(error(Problem::TooLarge {
            bytes: bytes.len(),
            limit: limits.max_bytes,
        }));
    }
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    let text = std::str::from_utf8(bytes).map_err(|not| error(not_text(bytes, &not)))?;
    if text.trim().is_empty() {
        return Err(error(Problem::Empty));
    }
    let text = scan(text, limits.max_values).map_err(error)?;
    // Derived parsers would accept a list of field values instead of the object.
    if !text.trim_start().starts_with('{') {
        serde_json::from_str::<IgnoredAny>(&text).map_err(|failure| error(problem(".".into(), &failure)))?;
        let found = kind(text.trim_start());
        return Err(ParseError::unexpected(object, ".", "an object", found));
    }
    let mut reader = serde_json::Deserializer::from_str(&text);
    let value = serde_path_to_error::deserialize(&mut reader)
        .map_err(|failure| error(problem(failure.path().to_string(), failure.inner())))?;
    reader.end().map_err(|failure| error(problem(".".into(), &failure)))?;
    Ok(value)
}

/// Type of the JSON value at the beginning of the input.
fn kind(text: &str) -> &'static str {
    match text.chars().next() {
        Some('[') => "a list",
        Some('{') => "an object",
        Some('"') => "a string",
        Some('n') => "null",
        Some('t' | 'f') => "a boolean",
        _ => "a number",
    }
}

/// Parses the known shape of an object that is JSON already. `path` is its place.
pub(crate) fn typed<T: DeserializeOwned>(object: &str, path: &str, value: Value) -> Result<T, ParseError> {
    if !value.is_object() {
        return Err(ParseError::unexpected(
            object,
            path,
            "an object",
            kind(&value.to_string()),
        ));
    }
    serde_path_to_error::deserialize(value).map_err(|failure| {
        let path = match (path, failure.path().to_string().as_str()) {
            (".", beneath) => beneath.to_owned(),
            (path, ".") => path.to_owned(),
            (path, beneath) => format!("{path}.{beneath}"),
        };
        ParseError::new(object, problem(path, failure.inner()))
    })
}

fn not_text(bytes: &[u8], not: &std::str::Utf8Error) -> Problem {
    match not.error_len() {
        Some(_) => Problem::NotUtf8 {
            offset: not.valid_up_to(),
        },
        // The input ends within a character.
        None => Problem::Truncated {
            line: bytes.split(|byte| *byte == b'\n').count(),
            column: bytes.iter().rev().take_while(|byte| **byte != b'\n').count(),
        },
    }
}

/// Counts the values, and quotes bare words for numbers that JSON does not have.
///
/// Every character that can separate values is counted, also within strings: a string may contain JSON that is parsed
/// with the rest.
fn scan(text: &str, max_values: usize) -> Result<Cow<'_, str>, Problem> {
    let mut values = 1;
    let mut quoted: Option<String> = None;
    let mut copied = 0;
    let mut in_text = false;
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b',' | b'[' | b'{' => {
                values += 1;
                if values > max_values {
                    return Err(Problem::TooManyValues { limit: max_values });
                }
            }
            b'N' | b'I' if !in_text && at >= copied => {
                let rest = text.get(at..).unwrap_or_default();
                let words = ["NaN", "Infinity"];
                if let Some(word) = words.into_iter().find(|word| rest.starts_with(word)) {
                    let before = text.get(copied..at).unwrap_or_default();
                    let (before, sign) = match before.strip_suffix('-') {
                        Some(before) if word == "Infinity" => (before, "-"),
                        _ => (before, ""),
                    };
                    let output = quoted.get_or_insert_with(|| String::with_capacity(text.len() + 64));
                    output.extend([before, "\"", sign, word, "\""]);
                    copied = at + word.len();
                }
            }
            _ => {}
        }
        (in_text, escaped) = match (byte, in_text, escaped) {
            (b'"', _, false) => (!in_text, false),
            (b'\\', true, false) => (true, true),
            _ => (in_text, false),
        };
    }
    Ok(match quoted {
        None => Cow::Borrowed(text),
        Some(mut output) => {
            output.push_str(text.get(copied..).unwrap_or_default());
            Cow::Owned(output)
        }
    })
}

/// Problem of an input, from the error of the JSON parser.
fn problem(path: String, failure: &serde_json::Error) -> Problem {
    let (line, column) = (failure.line(), failure.column());
    let message = failure.to_string();
    let message = message
        .rsplit_once(" at line ")
        .map_or(message.as_str(), |(text, _)| text);
    match failure.classify() {
        Category::Eof => Problem::Truncated { line, column },
        Category::Syntax | Category::Io if message == "recursion limit exceeded" => Problem::TooDeep { line, column },
        Category::Syntax | Category::Io => Problem::NotJson {
            message: message.to_owned(),
            line,
            column,
        },
        Category::Data => {
            let (expected, found) = expected_and_found(message);
            Problem::Unexpected { path, expected, found }
        }
    }
}

/// Expected and found value, from serde's message, without type names.
fn expected_and_found(message: &str) -> (String, String) {
    let name_in = |prefix| message.strip_prefix(prefix);
    if let Some(field) = name_in("missing field ") {
        return (format!("a field {field}"), "none".to_owned());
    }
    if let Some(field) = name_in("duplicate field ") {
        return (format!("one field {field}"), "two".to_owned());
    }
    let Some((head, expected)) = message.rsplit_once(", expected ") else {
        return ("a valid value".to_owned(), shortened(message));
    };
    let expected = match expected {
        "f64" | "f32" => "a number",
        "u64" | "u32" | "usize" => "a nonnegative integer",
        "i64" | "i32" => "an integer",
        "a sequence" => "a list",
        "a map" => "an object",
        "a boolean" => "`true` or `false`",
        other if other.starts_with("struct ") => "an object",
        other => other,
    };
    let found = head
        .strip_prefix("invalid type: ")
        .or_else(|| head.strip_prefix("invalid value: "))
        .or_else(|| head.strip_prefix("unknown variant "))
        .unwrap_or(head);
    let found = match found {
        "sequence" => "a list".to_owned(),
        "map" => "an object".to_owned(),
        _ => {
            if let Some(text) = found.strip_prefix("string ") {
                format!("the string `{}`", shortened(text.trim_matches('"')))
            } else if let Some(length) = found.strip_prefix("invalid length ") {
                format!("{length} values")
            } else if let Some(number) = found
                .strip_prefix("integer ")
                .or_else(|| found.strip_prefix("floating point "))
            {
                format!("the number {number}")
            } else {
                shortened(found.strip_prefix("boolean ").unwrap_or(found))
            }
        }
    };
    (expected.to_owned(), found)
}

/// String from outside in a message, truncated if it is long.
fn shortened(text: &str) -> String {
    const CHARS: usize = 80;
    match text.char_indices().nth(CHARS) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
    }
}

/// A string. A number or a boolean is converted if a string is expected (the value of a facet, a label). Null is
/// `None`.
pub(crate) fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    use serde::de::{Error, Unexpected};
    match Value::deserialize(deserializer)? {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text)),
        Value::Number(number) => Ok(Some(number.to_string())),
        Value::Bool(truth) => Ok(Some(truth.to_string())),
        Value::Array(_) => Err(D::Error::invalid_type(Unexpected::Seq, &"a string")),
        Value::Object(_) => Err(D::Error::invalid_type(Unexpected::Map, &"a string")),
    }
}

/// [`text`] for a required value.
pub(crate) fn some_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    use serde::de::{Error, Unexpected};
    text(deserializer)?.ok_or_else(|| D::Error::invalid_type(Unexpected::Other("null"), &"a string"))
}

/// A count: an integer, also written as a floating-point number.
pub(crate) fn count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    use serde::de::{Error, Unexpected};
    const EXPECTED: &str = "a nonnegative integer";
    /// Up to 2^53, every integer is a double.
    const LIMIT: f64 = 9_007_199_254_740_992.0;
    let value = Value::deserialize(deserializer)?;
    if let Some(count) = value.as_u64() {
        return Ok(count);
    }
    match value {
        Value::Number(number) => match number.as_f64() {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "an integer from 0 to 2^53"
            )]
            Some(float) if (0.0..=LIMIT).contains(&float) && float.fract().abs() < f64::MIN_POSITIVE => {
                Ok(float as u64)
            }
            _ => Err(D::Error::invalid_value(
                Unexpected::Float(number.as_f64().unwrap_or(f64::NAN)),
                &EXPECTED,
            )),
        },
        Value::Null => Err(D::Error::invalid_type(Unexpected::Other("null"), &EXPECTED)),
        Value::Bool(truth) => Err(D::Error::invalid_type(Unexpected::Bool(truth), &EXPECTED)),
        Value::String(text) => Err(D::Error::invalid_type(Unexpected::Str(&text), &EXPECTED)),
        Value::Array(_) => Err(D::Error::invalid_type(Unexpected::Seq, &EXPECTED)),
        Value::Object(_) => Err(D::Error::invalid_type(Unexpected::Map, &EXPECTED)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Value, String> {
        let limits = Limits {
            max_bytes: 2_000,
            max_values: 300,
            ..Limits::default()
        };
        parse("file", text.as_bytes(), &limits).map_err(|error| error.to_string())
    }

    #[test]
    fn bare_number_words_are_strings() {
        let value = read(r#"{"a": NaN, "b": [-Infinity,Infinity], "c": "say \"NaN\" or -Infinity", "d": -1}"#).unwrap();
        assert_eq!(
            value.to_string(),
            r#"{"a":"NaN","b":["-Infinity","Infinity"],"c":"say \"NaN\" or -Infinity","d":-1}"#
        );
        for text in ["{\"a\":-NaN}", "{\"a\":Infinit}", "{\"a\":Nan}", "{\"a\":NaNa}"] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_limited() {
        assert_eq!(
            read(&" ".repeat(2_001)).unwrap_err(),
            "`file` has 2001 bytes: the limit is 2000"
        );
        assert_eq!(
            read(&format!("{{\"a\":[{}]}}", "0,".repeat(400))).unwrap_err(),
            "`file` contains too many JSON values: the limit is 300"
        );
        assert_eq!(
            read(&format!("{{\"a\":{}", "[".repeat(200))).unwrap_err(),
            "`file` is nested too deeply at line 1, column 132: the limit is 128 levels"
        );
    }

    #[test]
    fn only_objects_are_accepted() {
        for (text, found) in [
            ("[1, 2]", "a list"),
            ("\"text\"", "a string"),
            (" null", "null"),
            ("-1", "a number"),
            ("true", "a boolean"),
        ] {
            let expected = format!("`file` at `.`: expected an object, found {found}");
            assert_eq!(read(text).unwrap_err(), expected);
        }
        assert_eq!(
            read("nothing").unwrap_err(),
            "`file` is not JSON: expected ident, at line 1, column 2"
        );
    }

    #[test]
    fn raw_value_syntax_does_not_hide_values() {
        // serde_json parses the string under this name as JSON.
        let hidden = format!("{{\"$serde_json::private::RawValue\":\"[{}0]\"}}", "0,".repeat(400));
        assert_eq!(
            read(&hidden).unwrap_err(),
            "`file` contains too many JSON values: the limit is 300"
        );
    }

    #[test]
    fn early_end_is_truncated() {
        for text in ["{", "{\"a\": [1,", "{\"abc", "{\"a\"", "{\"a\":tru", "[", "\"ab"] {
            assert!(read(text).unwrap_err().starts_with("`file` is truncated"), "{text}");
        }
        let cut = parse::<Value>(
            "file",
            "{\"a\":\n \"ä".as_bytes().strip_suffix(b"\xA4").unwrap(),
            &Limits::default(),
        );
        let expected = "`file` is truncated: it ends within a JSON value at line 2, column 3";
        assert_eq!(cut.unwrap_err().to_string(), expected);
    }
}
