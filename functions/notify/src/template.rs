//! Texts of the user's own: `notification-templates/{kind}.txt` (and `.md` for chat) in the state bucket, in the language of
//! Jinja, over the notification as machines get it (`events/schemas/notification.v1.json`).
//!
//! A template that cannot be used loses nothing: the built-in text is sent, with a line that says what is wrong.

use crate::notification::Notification;
use minijinja::{AutoEscape, Environment, UndefinedBehavior, value::Serde};
use std::io;

/// Where templates lie in the state bucket.
pub(crate) const FOLDER: &str = "notification-templates";
/// A template has so many bytes at most.
const SOURCE: usize = 64 << 10;
/// And may render so many.
const RENDERED: usize = 128 << 10;
/// So many instructions are carried out: a few milliseconds.
const FUEL: u64 = 100_000;

/// The template of a notification: by its kind, or by how it tells.
pub(crate) fn key(notification: &Notification, extension: &str) -> String {
    let name = notification
        .kind
        .map_or(notification.form.as_str(), |kind| kind.as_str());
    format!("{FOLDER}/{name}.{extension}")
}

/// Renders a template.
///
/// # Errors
/// What is wrong with it, in a line.
pub(crate) fn render(source: &[u8], notification: &Notification) -> Result<String, String> {
    if source.len() > SOURCE {
        return Err(format!("it has {} bytes: at most {SOURCE} are read", source.len()));
    }
    let source = std::str::from_utf8(source).map_err(|_| "it is not UTF-8 text".to_owned())?;
    let mut environment = Environment::empty();
    add_builtins(&mut environment);
    environment.set_fuel(Some(FUEL));
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_undefined_behavior(UndefinedBehavior::SemiStrict);
    let in_line = |error: &minijinja::Error| {
        let line = error.line().map_or_else(String::new, |line| format!(", line {line}"));
        format!("{error}{line}").replace('\n', " ")
    };
    let template = environment.template_from_str(source).map_err(|error| in_line(&error))?;
    let mut rendered = Limited(Vec::new());
    let written = template.render_captured_to(Serde(notification), &mut rendered);
    written.map(drop).map_err(|error| in_line(&error))?;
    let text = String::from_utf8(rendered.0).map_err(|_| "it renders no text".to_owned())?;
    if text.trim().is_empty() {
        return Err("it renders nothing".to_owned());
    }
    Ok(text)
}

/// What every template can use.
fn add_builtins(environment: &mut Environment<'_>) {
    use minijinja::{filters, tests};
    environment.add_filter("upper", filters::upper);
    environment.add_filter("lower", filters::lower);
    environment.add_filter("title", filters::title);
    environment.add_filter("trim", filters::trim);
    environment.add_filter("replace", filters::replace);
    environment.add_filter("length", filters::length);
    environment.add_filter("join", filters::join);
    environment.add_filter("default", filters::default);
    environment.add_filter("first", filters::first);
    environment.add_filter("last", filters::last);
    environment.add_test("defined", tests::is_defined);
}

/// Text that does not grow without bound.
struct Limited(Vec<u8>);

impl io::Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > RENDERED {
            return Err(io::Error::other(format!("it renders more than {RENDERED} bytes")));
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
    use crate::notification::Form;
    use jiff::Timestamp;

    fn rendered(source: &str) -> Result<String, String> {
        let mut notification = Notification::new("id", Form::Single, Timestamp::UNIX_EPOCH);
        notification.model = Some("churn".to_owned());
        notification.next("Nothing.");
        render(source.as_bytes(), &notification)
    }

    #[test]
    fn it_sees_the_notification() {
        let source =
            "{{ model | upper }}{% for line in next %} {{ line }}{% endfor %}{% if why %} because {{ why }}{% endif %}";
        assert_eq!(rendered(source).unwrap(), "CHURN Nothing.");
    }

    #[test]
    fn what_is_wrong_is_said_and_bounded() {
        assert!(rendered("{{ modl }}").unwrap_err().contains("undefined value"));
        assert!(rendered("{% for").unwrap_err().contains("syntax error"));
        assert!(rendered(" ").unwrap_err().contains("renders nothing"));
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
        let nested = format!("{}1{}", "(".repeat(10_000), ")".repeat(10_000));
        assert!(rendered(&format!("{{{{ {nested} }}}}")).is_err());
    }
}
