//! Warnings about a valid policy: settings that together cannot work, or do nothing.

use super::{Policy, fits, matches_monitor};
use crate::MonitorRef;
use alerting::Monitor;
use jiff::SignedDuration;
use promotion::{Mode, PromotionPolicy};
use serde::Serialize;
use std::collections::BTreeSet;
use text::nearest_name;

/// Longest wait between the steps of a blue/green deployment (*API Reference*, `TrafficRoutingConfig`,
/// `WaitIntervalInSeconds`).
const MAX_WAIT: SignedDuration = SignedDuration::from_hours(1);

/// Maximum number of warnings about monitors that move to another model.
const MAX_MOVES: usize = 10;

/// Chat services that reject the JSON of a generic webhook, by the end of their host.
const CHAT_HOSTS: [(&str, &str); 3] = [
    ("hooks.slack.com", "Slack rejects a body without `text` or `blocks`"),
    (
        ".webhook.office.com",
        "Microsoft Teams rejects a body that is not a card",
    ),
    ("discord.com", "Discord rejects a body without `content`"),
];

/// A warning about a policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PolicyWarning {
    /// Table or setting, and line.
    pub place: String,
    /// Why it cannot work or does nothing, and what to do.
    pub message: String,
}

impl Policy {
    /// Settings that are valid one by one, but cannot work together, or do nothing.
    pub fn warnings(&self) -> Vec<PolicyWarning> {
        let mut warnings = Vec::new();
        for (at, table) in self.file.notification.iter().enumerate() {
            let is_webhook = table.to == super::file::NotificationChannel::Webhook;
            let host = table
                .url
                .as_deref()
                .map(super::notification::url_host)
                .unwrap_or_default();
            let mut services = CHAT_HOSTS.iter();
            if let Some((_, why)) = services.find(|(end, _)| is_webhook && host.ends_with(end)) {
                warnings.push(PolicyWarning {
                    place: self.place(&format!("notification.{at}.url")),
                    message: format!(
                        "{why}, so this destination never works; use `to = \"chat\"` with Amazon Q Developer in chat \
                         applications, or a URL that translates the notification"
                    ),
                });
            }
        }
        for (model, promotion) in self.promoted_models() {
            self.warn_about_promotion(&model, &promotion, &mut warnings);
        }
        warnings
    }

    /// Tables that match no monitor, although some have reported, and monitors that move to another model.
    pub fn warnings_about(&self, monitors: &[Monitor]) -> Vec<PolicyWarning> {
        let mut warnings = Vec::new();
        if monitors.is_empty() {
            return warnings;
        }
        let refs: Vec<MonitorRef<'_>> = monitors.iter().map(MonitorRef::from).collect();
        let analyses = self.file.analysis.iter().map(|table| table.schedule.as_str());
        // An analysis has no ledger before its first execution.
        let schedules: Vec<&str> = refs.iter().map(|monitor| monitor.schedule).chain(analyses).collect();
        let models: Vec<String> = refs.iter().map(|monitor| self.monitor(monitor).model).collect();
        let alarms = self.file.alarm.iter().map(|table| table.model.as_str());
        let models: BTreeSet<&str> = models.iter().map(String::as_str).chain(alarms).collect();
        let mut warn = |path: String, name: &str, what: &str, similar: Option<&str>| {
            let hint = similar.map_or_else(String::new, |name| format!("; did you mean `{name}`?"));
            warnings.push(PolicyWarning {
                place: self.place(&path),
                message: format!("no monitor in the state bucket {what} `{name}`{hint}"),
            });
        };
        let is_known = |pattern: &String| {
            schedules
                .iter()
                .any(|name| fits(Some(&pattern.to_lowercase()), Some(&name.to_lowercase())))
        };
        let similar = |pattern: &str| nearest_name(schedules.iter().copied(), pattern);
        for (at, table) in self.file.monitor.iter().enumerate() {
            let schedule = table.schedule.as_ref();
            match (schedule, table.monitor_type) {
                (Some(schedule), _) if !is_known(schedule) => {
                    warn(
                        format!("monitor.{at}.schedule"),
                        schedule,
                        "has the schedule",
                        similar(schedule),
                    );
                }
                (_, Some(kind))
                    if !refs
                        .iter()
                        .any(|monitor| matches_monitor(schedule, table.monitor_type, monitor)) =>
                {
                    warn(
                        format!("monitor.{at}.monitor_type"),
                        kind.0.as_str(),
                        "has the type",
                        None,
                    );
                }
                _ => {}
            }
        }
        for (at, table) in self.file.violation.iter().enumerate() {
            if let Some(schedule) = table.schedule.as_ref().filter(|schedule| !is_known(schedule)) {
                warn(
                    format!("violation.{at}.schedule"),
                    schedule,
                    "has the schedule",
                    similar(schedule),
                );
            }
            let known = |model: &&String| models.iter().any(|name| fits(Some(*model), Some(name)));
            if let Some(model) = table.model.as_ref().filter(|model| !known(model)) {
                let similar = nearest_name(models.iter().copied(), model);
                warn(format!("violation.{at}.model"), model, "belongs to the model", similar);
            }
        }
        for (at, table) in self.file.model.iter().enumerate() {
            if !models.contains(table.name.as_str()) {
                let similar = nearest_name(models.iter().copied(), &table.name);
                warn(format!("model.{at}.name"), &table.name, "belongs to the model", similar);
            }
        }
        let moved = monitors.iter().zip(&refs).filter_map(|(monitor, reference)| {
            let model = self.monitor(reference).model;
            (model != monitor.model).then_some((monitor, model))
        });
        let moved: Vec<_> = moved.collect();
        warnings.extend(moved.iter().take(MAX_MOVES).map(|(monitor, model)| PolicyWarning {
            place: format!("monitor `{}`", monitor.schedule),
            message: format!(
                "it moves from the model `{}` to `{model}`, and its alert with it",
                monitor.model
            ),
        }));
        if let Some(more) = moved.len().checked_sub(MAX_MOVES).filter(|more| *more > 0) {
            warnings.push(PolicyWarning {
                place: "monitors".to_owned(),
                message: format!("{more} more move to another model"),
            });
        }
        warnings
    }

    fn warn_about_promotion(&self, model: &str, promotion: &PromotionPolicy, warnings: &mut Vec<PolicyWarning>) {
        let (_, settings) = self.promotion_settings(model);
        let full_name = |name: &str| format!("promotion.{name}");
        let place = |name: &str| self.place_of(&settings, &full_name(name));
        let is_set = |name: &str| {
            let mut named = settings.iter().filter(|setting| setting.name == full_name(name));
            named.any(|setting| setting.place.is_some())
        };
        let mut warn = |place: String, message: String| warnings.push(PolicyWarning { place, message });
        if promotion.mode == Mode::BlueGreen {
            if is_set("step_lasts") && promotion.step_lasts > MAX_WAIT {
                warn(
                    place("step_lasts"),
                    "SageMaker waits at most 1h between the steps of a blue/green deployment, so the steps are shorter; use \
                     `mode = \"variants\"` for longer steps"
                        .to_owned(),
                );
            }
            if is_set("traffic") && promotion.traffic.len() > 1 {
                warn(
                    place("traffic"),
                    "a blue/green deployment has no list of shares: only the first one is used; use `mode = \"variants\"`"
                        .to_owned(),
                );
            }
            if promotion.alarms.is_empty() {
                warn(
                    place("mode"),
                    format!(
                        "a blue/green deployment of `{model}` compares nothing, and no alarm rolls it back: every candidate that \
                         starts is promoted; set `alarms`"
                    ),
                );
            }
        }
        let steps = i32::try_from(promotion.traffic.len()).unwrap_or(i32::MAX);
        let shortest = promotion.step_lasts.saturating_mul(steps);
        if promotion.mode == Mode::Variants && shortest > promotion.maximum_duration {
            warn(
                place("step_lasts"),
                format!(
                    "{steps} steps of {} take longer than the experiment may last ({}): the last step is never reached; set \
                     `maximum_duration`, or fewer or shorter steps",
                    text::duration(promotion.step_lasts),
                    text::duration(promotion.maximum_duration)
                ),
            );
        }
        for (at, table) in self.file.analysis.iter().enumerate() {
            if table.endpoint.as_deref() != Some(promotion.endpoint.as_str()) {
                continue;
            }
            let folder = table.data.split('%').next().unwrap_or_default().trim_end_matches('/');
            let capture = promotion
                .capture
                .as_ref()
                .map(|capture| capture.data.trim_end_matches('/'));
            let of_endpoint = format!("/{}/", promotion.endpoint);
            let is_variant = capture.is_some_and(|capture| {
                folder
                    .strip_prefix(capture)
                    .is_some_and(|variant| variant.starts_with('/'))
            }) || folder
                .rsplit_once(&of_endpoint)
                .is_some_and(|(_, variant)| !variant.contains('/'));
            if is_variant {
                warn(
                    self.place(&format!("analysis.{at}.data")),
                    format!(
                        "it names the folder of one variant, and a promotion of `{model}` changes the variant: the analysis then \
                         finds no data; after each promotion, change `data` to the folder of the new variant"
                    ),
                );
            }
        }
    }
}
