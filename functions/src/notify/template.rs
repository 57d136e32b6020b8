//! User templates: `notification-templates/{kind}.txt` (and `.md` for chat) in the state bucket, in Jinja syntax. Their
//! input is the notification as JSON (`events/schemas/notification.v1.json`).
//!
//! If a template fails, the built-in text is sent, with a line that contains the error.
//!
//! Time and memory are bounded. Fuel pays for instructions and for the bytes of strings. It does not pay for the text of a
//! list, whose items can be the same long string many times: so a list becomes text only through `join` and within the
//! output, which both measure it.

use crate::notify::notification::Notification;
use minijinja::{
    AutoEscape, Environment, Error, ErrorKind, Output, State, UndefinedBehavior, Value,
    machinery::{Token, tokenize},
    syntax::SyntaxConfig,
    value::{Kwargs, Serde, ValueKind},
};
use std::{
    borrow::Cow,
    fmt::{self, Write as _},
    io,
};

/// Folder of the templates in the state bucket.
pub(crate) const FOLDER: &str = "notification-templates";
/// Maximum size of a template.
const MAX_TEMPLATE_BYTES: usize = 64 << 10;
/// Maximum size of the output.
const MAX_OUTPUT_BYTES: usize = 128 << 10;
/// Maximum number of instructions, which is a few milliseconds. 64 bytes of a string cost as much as an instruction, so all
/// strings of a template have at most 6.4 MB.
const FUEL: u64 = 100_000;

/// Key of the template for the kind of a notification, or for its form if it has no kind.
pub(crate) fn key(notification: &Notification, extension: &str) -> String {
    let name = notification
        .kind
        .map_or(notification.form.as_str(), |kind| kind.as_str());
    format!("{FOLDER}/{name}.{extension}")
}

/// Renders a template.
///
/// # Errors
/// The error in one line, if the template is invalid or exceeds a limit.
pub(crate) fn render(source: &[u8], notification: &Notification) -> Result<String, String> {
    if source.len() > MAX_TEMPLATE_BYTES {
        return Err(format!(
            "the template has {} bytes; the limit is {MAX_TEMPLATE_BYTES}",
            source.len()
        ));
    }
    let source = std::str::from_utf8(source).map_err(|_| "the template is not UTF-8".to_owned())?;
    if concatenates(source) {
        return Err("`~` is not supported: write the values one after another, or use `join`".to_owned());
    }
    let mut environment = Environment::empty();
    add_builtins(&mut environment);
    environment.set_formatter(write_value);
    environment.set_fuel(Some(FUEL));
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_undefined_behavior(UndefinedBehavior::SemiStrict);
    let in_line = |error: &Error| {
        let line = error.line().map_or_else(String::new, |line| format!(", line {line}"));
        format!("{error}{line}").replace('\n', " ")
    };
    let template = environment.template_from_str(source).map_err(|error| in_line(&error))?;
    let mut rendered = BoundedOutput(Vec::new());
    let written = template.render_captured_to(Serde(notification), &mut rendered);
    written.map(drop).map_err(|error| in_line(&error))?;
    let text = String::from_utf8(rendered.0).map_err(|_| "the output is not UTF-8".to_owned())?;
    if text.trim().is_empty() {
        return Err("the output is empty".to_owned());
    }
    Ok(text)
}

/// Whether a template contains the operator `~`, which turns lists of any size into text.
fn concatenates(source: &str) -> bool {
    let tokens = tokenize(source, false, SyntaxConfig::default());
    tokens
        .filter_map(Result::ok)
        .any(|(token, _)| matches!(token, Token::Tilde))
}

/// Adds the filters and tests that templates can use.
fn add_builtins(environment: &mut Environment<'_>) {
    use minijinja::{filters, tests};
    environment.add_filter("upper", |value: &Value| {
        Ok::<_, Error>(plain_text(value)?.to_uppercase())
    });
    environment.add_filter("lower", |value: &Value| {
        Ok::<_, Error>(plain_text(value)?.to_lowercase())
    });
    environment.add_filter("title", |value: &Value| {
        Ok::<_, Error>(filters::title(plain_text(value)?))
    });
    environment.add_filter("trim", trim);
    environment.add_filter("replace", replace);
    environment.add_filter("length", filters::length);
    environment.add_filter("join", join);
    environment.add_filter("default", filters::default);
    environment.add_filter("first", filters::first);
    environment.add_filter("last", filters::last);
    environment.add_test("defined", tests::is_defined);
}

/// The text of a value that is not a list.
fn plain_text(value: &Value) -> Result<Cow<'_, str>, Error> {
    match value.kind() {
        ValueKind::String => Ok(Cow::Borrowed(value.as_str().unwrap_or_default())),
        ValueKind::Number | ValueKind::Bool | ValueKind::None => Ok(Cow::Owned(value.to_string())),
        ValueKind::Undefined => Err(ErrorKind::UndefinedError.into()),
        kind => {
            let message = format!("a {kind} is not a text: use `join`, or a loop");
            Err(Error::new(ErrorKind::InvalidOperation, message))
        }
    }
}

fn trim(value: &Value, chars: Option<&str>) -> Result<String, Error> {
    let text = plain_text(value)?;
    let trimmed = match chars {
        Some(chars) => text.trim_matches(|c| chars.contains(c)),
        None => text.trim(),
    };
    Ok(trimmed.to_owned())
}

fn replace(value: &Value, from: &Value, to: &Value) -> Result<String, Error> {
    let (value, from, to) = (plain_text(value)?, plain_text(from)?, plain_text(to)?);
    let growth = to.len().saturating_sub(from.len());
    let matches = value.matches(from.as_ref()).count();
    if value.len().saturating_add(growth.saturating_mul(matches)) > MAX_OUTPUT_BYTES {
        return Err(too_long());
    }
    Ok(value.replace(from.as_ref(), &to))
}

/// Joins the items of a list, or an attribute of each, or the characters of a string.
#[expect(clippy::needless_pass_by_value, reason = "minijinja passes the options by value")]
fn join(value: &Value, separator: Option<&str>, options: Kwargs) -> Result<String, Error> {
    let attribute: Option<&str> = options.get("attribute")?;
    options.assert_all_used()?;
    let mut joined = BoundedText(String::new());
    for (at, item) in value.try_iter()?.enumerate() {
        if at > 0 {
            joined
                .write_str(separator.unwrap_or_default())
                .map_err(|_| too_long())?;
        }
        let item = attribute.map_or(Ok(item.clone()), |name| item.get_attr(name))?;
        joined.write_str(&plain_text(&item)?).map_err(|_| too_long())?;
    }
    Ok(joined.0)
}

/// Writes a value into the output, or into a block that is assigned to a variable.
fn write_value(output: &mut Output<'_>, _: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
    if value.is_undefined() {
        return Err(ErrorKind::UndefinedError.into());
    }
    if let Some(text) = value.as_str() {
        return Ok(output.write_str(text)?);
    }
    let mut text = BoundedText(String::new());
    write!(text, "{value}").map_err(|_| too_long())?;
    Ok(output.write_str(&text.0)?)
}

fn too_long() -> Error {
    let message = format!("a text exceeds {MAX_OUTPUT_BYTES} bytes");
    Error::new(ErrorKind::InvalidOperation, message)
}

/// A string with a maximum size.
struct BoundedText(String);

impl fmt::Write for BoundedText {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.0.len() + text.len() > MAX_OUTPUT_BYTES {
            return Err(fmt::Error);
        }
        self.0.push_str(text);
        Ok(())
    }
}

/// Output with a maximum size.
struct BoundedOutput(Vec<u8>);

impl io::Write for BoundedOutput {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > MAX_OUTPUT_BYTES {
            return Err(io::Error::other(format!("the output exceeds {MAX_OUTPUT_BYTES} bytes")));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::notification::Form;
    use jiff::Timestamp;

    fn rendered(source: &str) -> Result<String, String> {
        let mut notification = Notification::new("id", Form::Single, Timestamp::UNIX_EPOCH);
        notification.model = Some("churn".to_owned());
        notification.add_next("Nothing.");
        render(source.as_bytes(), &notification)
    }

    #[test]
    fn template_reads_fields_of_notification() {
        let source =
            "{{ model | upper }}{% for line in next %} {{ line }}{% endfor %}{% if why %} because {{ why }}{% endif %}";
        assert_eq!(rendered(source).unwrap(), "CHURN Nothing.");
    }

    #[test]
    fn invalid_and_endless_templates_fail() {
        assert!(rendered("{{ modl }}").unwrap_err().contains("undefined value"));
        assert!(rendered("{% for").unwrap_err().contains("syntax error"));
        assert!(rendered(" ").unwrap_err().contains("output is empty"));
        assert!(rendered("{{ '\\'").unwrap_err().contains("line 1"));
        let endless = "{% for a in 'abcdefghij' %}{% for b in 'abcdefghij' %}{% for c in 'abcdefghij' %}{% for d in 'abcdefghij' \
                       %}{% for e in 'abcdefghij' %}{{ e }}{% endfor %}{% endfor %}{% endfor %}{% endfor %}{% endfor %}";
        assert!(rendered(endless).unwrap_err().contains("fuel"));
        let long = format!(
            "{{% for a in '{}' %}}{}{{% endfor %}}",
            "x".repeat(300),
            "y".repeat(1000)
        );
        assert!(rendered(&long).is_err());
        let concatenated = "{{ model ~ ' ' ~ model }}";
        assert!(rendered(concatenated).unwrap_err().contains("`~` is not supported"));
        let nested = format!("{}1{}", "(".repeat(10_000), ")".repeat(10_000));
        assert!(rendered(&format!("{{{{ {nested} }}}}")).is_err());
    }

    #[test]
    fn memory_of_templates_is_bounded() {
        let doublings = |operation: &str| format!("{{% set a = {operation} %}}").repeat(40);
        let strings = format!("{{% set a = model %}}{}{{{{ a | length }}}}", doublings("a + a"));
        assert!(
            rendered(&strings).unwrap_err().contains("fuel"),
            "{:?}",
            rendered(&strings)
        );
        let lists = format!("{{% set a = [model] %}}{}", doublings("[a, a]"));
        for text in [
            "{{ a }}",
            "{% set b %}{{ a }}{% endset %}{{ b | length }}",
            "{{ a | upper }}",
            "{{ a | join }}",
            "{{ a | replace('a', 'b') }}",
            "{{ (next * 1000000000) | join }}",
            "{{ next * 1000000000 }}",
            "{{ (next * 1000000000) | trim }}",
        ] {
            assert!(rendered(&format!("{lists}{text}")).is_err(), "{text}");
        }
        let same = format!("{{% set a = 'x' * 100000 %}}{{{{ [{}] | join }}}}", "a,".repeat(20_000));
        assert!(
            rendered(&same).unwrap_err().contains("exceeds"),
            "{:?}",
            rendered(&same)
        );
        let replaced = "{% set a = 'x' * 100000 %}{{ a | replace('x', a) | length }}";
        assert!(rendered(replaced).unwrap_err().contains("exceeds"));
    }

    #[test]
    fn filters_change_texts_and_join_lists() {
        assert_eq!(
            rendered("{{ 'a b-c' | title }} {{ next | join('; ') }}").unwrap(),
            "A B-C Nothing."
        );
        assert_eq!(
            rendered("{{ model | replace('ch', 'b') | trim }}{{ 3 | upper }}").unwrap(),
            "burn3"
        );
        assert_eq!(rendered("{{ next }}").unwrap(), "['Nothing.']");
        assert!(rendered("{{ next | upper }}").unwrap_err().contains("use `join`"));
    }
}
