//! What holds for a model and its monitors, and which line of the policy says so.

use super::{MonitorOf, Policy};
use serde::Serialize;

/// One setting as it holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Setting {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
    /// Where the policy says so, with the line: `[alert] datapoints_to_alert, line 3`; `None` for a default.
    pub place: Option<String>,
}

/// What holds for a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// The model.
    pub model: String,
    /// Version of the policy.
    pub policy_version: String,
    /// How is decided for it, and what a retraining is.
    pub settings: Vec<Setting>,
    /// How its monitors are judged, by schedule.
    pub monitors: Vec<(String, Vec<Setting>)>,
}

impl Policy {
    /// What holds for a model and those of the given monitors that watch it. Monitors that the policy names by their
    /// whole schedule need not be given.
    pub fn explain(&self, model: &str, monitors: &[MonitorOf<'_>]) -> Explanation {
        let named: Vec<MonitorOf<'_>> = self
            .file
            .monitor
            .iter()
            .filter_map(|table| {
                let schedule = table.schedule.as_deref().filter(|name| !name.contains('*'))?;
                Some(MonitorOf {
                    schedule,
                    endpoint: None,
                    monitor_type: table.monitor_type.as_deref(),
                })
            })
            .collect();
        let mut explained: Vec<(String, Vec<Setting>)> = Vec::new();
        for monitor in monitors.iter().chain(&named) {
            let (watched, place) = self.model_of(monitor);
            if watched != model || explained.iter().any(|(schedule, _)| schedule == monitor.schedule) {
                continue;
            }
            let mut settings = match self.rules(monitor, model) {
                Ok((_, settings)) => settings,
                Err(error) => vec![Setting {
                    name: "conflict".into(),
                    value: format!("{error}: what holds for every monitor is taken"),
                    place: None,
                }],
            };
            settings.insert(
                0,
                Setting {
                    name: "model".into(),
                    value: watched,
                    place,
                },
            );
            explained.push((monitor.schedule.to_owned(), self.placed(settings)));
        }
        Explanation {
            model: model.to_owned(),
            policy_version: self.version().to_owned(),
            settings: self.placed(
                [
                    self.model_settings(model).map(|(_, settings)| settings),
                    self.promotion_settings(model).map(|(_, settings)| settings),
                    Ok(self.notification_settings(model)),
                ]
                .into_iter()
                .flat_map(Result::unwrap_or_default)
                .collect(),
            ),
            monitors: explained,
        }
    }

    /// Settings with their paths as places.
    fn placed(&self, settings: Vec<Setting>) -> Vec<Setting> {
        let placed = |setting: Setting| Setting {
            place: setting.place.map(|path| self.place(&path)),
            ..setting
        };
        settings.into_iter().map(placed).collect()
    }

    /// A path like `monitor.0.alert.evaluation_period` in the policy's own words, with its line.
    pub(super) fn place(&self, path: &str) -> String {
        let parts: Vec<&str> = path.split('.').collect();
        let mut words = String::new();
        let mut parts_left = parts.as_slice();
        while let [first, rest @ ..] = parts_left {
            match rest {
                [index, rest @ ..] if index.parse::<usize>().is_ok() => {
                    words = format!("[[{first}]]");
                    parts_left = rest;
                }
                [] if words.is_empty() => (words, parts_left) = ((*first).to_owned(), rest),
                _ if words.is_empty() => (words, parts_left) = (format!("[{first}]"), rest),
                _ => {
                    words = format!("{words} {}", parts_left.join("."));
                    break;
                }
            }
        }
        match self.line(&parts) {
            Some(line) => format!("{words}, line {line}"),
            None => words,
        }
    }

    /// The line of the policy on which a path stands, or the nearest table around it.
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
