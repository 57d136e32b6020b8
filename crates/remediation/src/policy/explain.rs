//! The effective settings of a model and its monitors, each with its line in the policy.

use super::{MonitorRef, Policy, PolicyError, same_schedule};
use promotion::Mode;
use serde::Serialize;

/// One effective setting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Setting {
    /// Name of the setting.
    pub name: String,
    /// Value of the setting.
    pub value: String,
    /// Place in the policy with its line: `[alert] datapoints_to_alert, line 3`. `None` for a default.
    pub place: Option<String>,
}

/// Effective settings of a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// Name of the model.
    pub model: String,
    /// Policy version.
    pub policy_version: String,
    /// Settings of the model: remediation, retraining, the fleet, promotion, and notifications.
    pub settings: Vec<Setting>,
    /// Alert settings of its monitors, by schedule.
    pub monitors: Vec<(String, Vec<Setting>)>,
}

impl Policy {
    /// Effective settings of a model and of its monitors, out of the given ones and those that the policy names without
    /// `*`.
    pub fn explain(&self, model: &str, monitors: &[MonitorRef<'_>]) -> Explanation {
        let mut explained: Vec<(String, Option<&str>, Vec<Setting>)> = Vec::new();
        for monitor in monitors.iter().copied().chain(self.named_monitors(monitors)) {
            let (monitored, place) = self.model_for(&monitor);
            let is_explained = explained.iter().any(|(schedule, monitor_type, _)| {
                same_schedule(schedule, monitor.schedule) && *monitor_type == monitor.monitor_type
            });
            if monitored != model || is_explained {
                continue;
            }
            let mut settings = vec![Setting {
                name: "model".into(),
                value: monitored,
                place,
            }];
            settings.extend(monitor.monitor_type.map(|monitor_type| Setting {
                name: "monitor_type".into(),
                value: monitor_type.to_owned(),
                place: None,
            }));
            settings.extend(self.rules(&monitor, model).1);
            explained.push((monitor.schedule.to_owned(), monitor.monitor_type, self.placed(settings)));
        }
        let (_, mut settings) = self.model_settings(model);
        settings.extend(self.fleet_settings().1);
        let (promotion, mut of_promotion) = self.promotion_settings(model);
        if promotion.mode == Mode::Off {
            // No other setting has an effect.
            of_promotion.truncate(1);
        }
        settings.extend(of_promotion);
        settings.extend(self.notification_settings(model));
        Explanation {
            model: model.to_owned(),
            policy_version: self.version().to_owned(),
            settings: self.placed(settings),
            monitors: explained
                .into_iter()
                .map(|(schedule, _, settings)| (schedule, settings))
                .collect(),
        }
    }

    /// Monitors that the policy names without `*`, one for each type that a table names, except those that are known with
    /// their type.
    fn named_monitors<'a>(&'a self, known: &[MonitorRef<'_>]) -> Vec<MonitorRef<'a>> {
        let tables = self.file.monitor.iter();
        let named = tables.filter_map(|table| {
            let schedule = table.schedule.as_deref().filter(|name| !name.contains('*'))?;
            let mut known = known.iter().filter(|monitor| monitor.monitor_type.is_some());
            (!known.any(|monitor| same_schedule(monitor.schedule, schedule))).then_some(MonitorRef {
                schedule,
                endpoint: None,
                monitor_type: table.monitor_type.map(|monitor_type| monitor_type.0.as_str()),
            })
        });
        let named: Vec<MonitorRef<'_>> = named.collect();
        // A table without a type applies to all types that other tables name.
        let is_typed = |monitor: &MonitorRef<'_>| {
            let mut others = named.iter().filter(|other| other.monitor_type.is_some());
            monitor.monitor_type.is_some() || !others.any(|other| same_schedule(other.schedule, monitor.schedule))
        };
        named.iter().copied().filter(is_typed).collect()
    }

    /// Replaces the paths of settings by places with lines.
    fn placed(&self, settings: Vec<Setting>) -> Vec<Setting> {
        let placed = |setting: Setting| Setting {
            place: setting.place.map(|path| self.place(&path)),
            ..setting
        };
        settings.into_iter().map(placed).collect()
    }

    /// Place of a setting that was looked up, by its name.
    pub(super) fn place_of(&self, settings: &[Setting], name: &str) -> String {
        let setting = settings.iter().rev().find(|setting| setting.name == name);
        match setting.and_then(|setting| setting.place.as_ref()) {
            Some(path) => self.place(path),
            None => name.to_owned(),
        }
    }

    /// Formats a path such as `monitor.0.alert.evaluation_period` as TOML, with its line.
    pub(super) fn place(&self, path: &str) -> String {
        let parts: Vec<&str> = path.split('.').collect();
        let text = describe_path(&parts);
        match self.line(&parts) {
            Some(line) => format!("{text}, line {line}"),
            None => text,
        }
    }

    /// Line of a path in the policy, or of the nearest table that contains it.
    fn line(&self, path: &[&str]) -> Option<usize> {
        let root = toml::de::DeTable::parse(&self.text).ok()?;
        let mut at = None;
        let mut table = Some(root.get_ref());
        let mut list: Option<&toml::de::DeArray<'_>> = None;
        for part in path {
            let found = match (table, list, part.parse::<usize>()) {
                (_, Some(items), Ok(index)) => items.get(index).map(|item| (item.span().start, item)),
                (Some(table), ..) => table.get_key_value(*part).map(|(key, value)| (key.span().start, value)),
                _ => None,
            };
            let Some((start, value)) = found else {
                break;
            };
            at = Some(start);
            (table, list) = match value.get_ref() {
                toml::de::DeValue::Table(table) => (Some(table), None),
                toml::de::DeValue::Array(items) => (None, Some(items)),
                _ => (None, None),
            };
        }
        let before = self.text.get(..at?)?;
        Some(before.matches('\n').count() + 1)
    }
}

/// Formats a path as TOML: `[[monitor]] alert.evaluation_period`.
fn describe_path(path: &[&str]) -> String {
    let mut text = String::new();
    let mut parts_left = path;
    while let [first, rest @ ..] = parts_left {
        match rest {
            [index, rest @ ..] if index.parse::<usize>().is_ok() => {
                text = format!("[[{first}]]");
                parts_left = rest;
            }
            [] if text.is_empty() => (text, parts_left) = ((*first).to_owned(), rest),
            _ if text.is_empty() => (text, parts_left) = (format!("[{first}]"), rest),
            _ => {
                text = format!("{text} {}", parts_left.join("."));
                break;
            }
        }
    }
    text
}

/// Explains an error of the TOML parser: the setting, its line, what was found, and what was expected. The text of the line
/// is not shown: it may contain a secret, and messages are logged.
pub(super) fn malformed(text: &str, error: &toml::de::Error) -> PolicyError {
    let message = with_nearest(&plain(error.message()));
    let Some(start) = error.span().map(|span| span.start) else {
        return PolicyError::Malformed { message };
    };
    let before = text.get(..start).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let path = toml::de::DeTable::parse(text).ok().and_then(|root| {
        let mut path = Vec::new();
        find_in_table(root.get_ref(), start, &mut path).then_some(path)
    });
    let place = if let Some(mut path) = path {
        // The position within the list of a setting says no more than the line.
        let is_position = |part: &String| part.parse::<usize>().is_ok();
        if let Some(list) = path.iter().skip(2).position(is_position) {
            path.truncate(list + 2);
        }
        let parts: Vec<&str> = path.iter().map(String::as_str).collect();
        format!("{}, line {line}", describe_path(&parts))
    } else {
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        format!("line {line}, column {column}")
    };
    PolicyError::Malformed {
        message: format!("{place}: {message}"),
    }
}

/// Finds the key or value that a position lies in, as deep as possible. The path is written from the root.
fn find_in_table(table: &toml::de::DeTable<'_>, at: usize, path: &mut Vec<String>) -> bool {
    for (key, value) in table {
        path.push(key.get_ref().to_string());
        if find_in_value(value, at, path) || key.span().contains(&at) {
            return true;
        }
        path.pop();
    }
    false
}

fn find_in_value(value: &toml::Spanned<toml::de::DeValue<'_>>, at: usize, path: &mut Vec<String>) -> bool {
    let found = match value.get_ref() {
        toml::de::DeValue::Table(table) => find_in_table(table, at, path),
        toml::de::DeValue::Array(items) => items.iter().enumerate().any(|(position, item)| {
            path.push(position.to_string());
            let found = find_in_value(item, at, path);
            if !found {
                path.pop();
            }
            found
        }),
        _ => false,
    };
    found || value.span().contains(&at)
}

/// Replaces names of Rust types and phrases of the parser by TOML's terms.
fn plain(message: &str) -> String {
    let message = message.trim().replace('\n', ", ");
    if message == "wanted string or table" {
        return "expected a string".to_owned();
    }
    let found = message
        .strip_prefix("invalid type: ")
        .or_else(|| message.strip_prefix("invalid value: "))
        .and_then(|rest| rest.rsplit_once(", expected "));
    let Some((found, expected)) = found else {
        return message;
    };
    let expected = match expected {
        "a sequence" => "a list",
        "a map" => "a table",
        "a boolean" => "true or false",
        "i64" | "u32" => "a whole number",
        "f64" => "a number",
        struct_name if struct_name.starts_with("struct ") => "a table",
        enum_name if enum_name.starts_with("enum ") => "a string",
        other => other,
    };
    let found = match found {
        "map" => "a table".to_owned(),
        "sequence" => "a list".to_owned(),
        other => other.to_owned(),
    };
    format!("expected {expected}, found {found}")
}

/// Adds the nearest known key to an error about an unknown key.
fn with_nearest(message: &str) -> String {
    let mut names = message.split('`').skip(1).step_by(2);
    let is_unknown = message.contains("unknown field") || message.contains("unknown variant");
    let unknown = names.next().filter(|_| is_unknown);
    let nearest = unknown.and_then(|unknown| {
        let ranked = names.map(|name| (strsim::damerau_levenshtein(unknown, name), name));
        ranked
            .min()
            .filter(|(distance, name)| *distance <= name.len().max(3) / 3 + 1)
    });
    match nearest {
        Some((_, name)) => format!("{}\ndid you mean `{name}`?", message.trim_end()),
        None => message.trim_end().to_owned(),
    }
}
