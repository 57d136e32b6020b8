//! Warnings about a valid policy: settings that together cannot work, or do nothing.

use super::Policy;
use jiff::SignedDuration;
use promotion::{Mode, PromotionPolicy};
use serde::Serialize;

/// Longest wait between the steps of a blue/green deployment (*API Reference*, `TrafficRoutingConfig`,
/// `WaitIntervalInSeconds`).
const MAX_WAIT: SignedDuration = SignedDuration::from_hours(1);

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
