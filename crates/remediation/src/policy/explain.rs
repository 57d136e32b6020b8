//! The effective settings of a model and its monitors, each with its line in the policy.

use super::{MonitorRef, Policy};
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
        let named: Vec<MonitorRef<'_>> = self
            .file
            .monitor
            .iter()
            .filter_map(|table| {
                let schedule = table.schedule.as_deref().filter(|name| !name.contains('*'))?;
                Some(MonitorRef {
                    schedule,
                    endpoint: None,
                    monitor_type: table.monitor_type.as_deref(),
                })
            })
            .collect();
        let mut explained: Vec<(String, Vec<Setting>)> = Vec::new();
        for monitor in monitors.iter().chain(&named) {
            let (monitored, place) = self.model_for(monitor);
            if monitored != model || explained.iter().any(|(schedule, _)| schedule == monitor.schedule) {
                continue;
            }
            let mut settings = match self.rules(monitor, model) {
                Ok((_, settings)) => settings,
                Err(error) => vec![Setting {
                    name: "conflict".into(),
                    value: format!("{error}; the settings without [[monitor]] tables are effective"),
                    place: None,
                }],
            };
            settings.insert(
                0,
                Setting {
                    name: "model".into(),
                    value: monitored,
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
                    self.fleet_settings().map(|(_, settings)| settings),
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

    /// Replaces the paths of settings by places with lines.
    fn placed(&self, settings: Vec<Setting>) -> Vec<Setting> {
        let placed = |setting: Setting| Setting {
            place: setting.place.map(|path| self.place(&path)),
            ..setting
        };
        settings.into_iter().map(placed).collect()
    }

    /// Formats a path such as `monitor.0.alert.evaluation_period` as TOML, with its line.
    pub(super) fn place(&self, path: &str) -> String {
        let parts: Vec<&str> = path.split('.').collect();
        let mut text = String::new();
        let mut parts_left = parts.as_slice();
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
