//! User templates: `notification-templates/{kind}.txt` (and `.md` for chat) in the state bucket, in Jinja syntax. Their
//! input is the notification as JSON (`events/schemas/notification.v1.json`).
//!
//! If a template fails, the built-in text is sent, with a line that contains the error.

use crate::notification::Notification;
use minijinja::{AutoEscape, Environment, UndefinedBehavior, value::Serde};
use std::io;

/// Folder of the templates in the state bucket.
pub(crate) const FOLDER: &str = "notification-templates";
/// Maximum size of a template.
const MAX_TEMPLATE_BYTES: usize = 64 << 10;
/// Maximum size of the output.
const MAX_OUTPUT_BYTES: usize = 128 << 10;
/// Maximum number of instructions, which is a few milliseconds.
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
    let mut rendered = BoundedOutput(Vec::new());
    let written = template.render_captured_to(Serde(notification), &mut rendered);
    written.map(drop).map_err(|error| in_line(&error))?;
    let text = String::from_utf8(rendered.0).map_err(|_| "the output is not UTF-8".to_owned())?;
    if text.trim().is_empty() {
        return Err("the output is empty".to_owned());
    }
    Ok(text)
}

/// Adds the filters and tests that templates can use.
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
    use crate::notification::Form;
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
        let nested = format!("{}1{}", "(".repeat(10_000), ")".repeat(10_000));
        assert!(rendered(&format!("{{{{ {nested} }}}}")).is_err());
    }
}
