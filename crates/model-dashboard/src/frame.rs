//! Frame, style, and small parts that all pages share.

use alerting::DatapointState;
use jiff::Timestamp;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use remediation::Policy;
use std::fmt::Write as _;

const STYLE: &str = include_str!("frame.css");

/// The five states with their CSS classes, in legend order.
pub(crate) const STATES: [(DatapointState, &str); 5] = [
    (DatapointState::Clean, "c"),
    (DatapointState::Violations, "v"),
    (DatapointState::NoData, "n"),
    (DatapointState::Failed, "f"),
    (DatapointState::Missing, "m"),
];

/// A complete page. `style` is added to the common style sheet.
pub(crate) struct Frame<'a> {
    pub(crate) title: &'a str,
    pub(crate) style: &'a str,
    pub(crate) header: Markup,
    pub(crate) main: Markup,
    pub(crate) footer: Markup,
    pub(crate) script: &'a str,
}

impl Frame<'_> {
    pub(crate) fn page(self) -> String {
        let markup = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width,initial-scale=1";
                    meta name="generator" content="Driftwarden";
                    // Pages contain internal names: do not send them to linked sites.
                    meta name="referrer" content="no-referrer";
                    title { (self.title) }
                    style { (PreEscaped(STYLE)) (PreEscaped(self.style)) }
                }
                body {
                    a.skip href="#main" { "Skip to content" }
                    header { (self.header) }
                    main #main { (self.main) }
                    footer { (self.footer) }
                    @if !self.script.is_empty() {
                        script { (PreEscaped(self.script)) }
                    }
                }
            }
        };
        markup.into_string()
    }
}

/// A badge with a short text.
pub(crate) fn badge(class: &str, text: &str) -> Markup {
    html! { span class=(format!("b {class}").trim_end()) { (text) } }
}

/// A sentence, with names in backticks as code.
pub(crate) fn prose(text: &str) -> Markup {
    html! {
        @for (at, part) in text.split('`').enumerate() {
            @if at % 2 == 1 { code { (part) } } @else { (part) }
        }
    }
}

/// Describes the effective policy.
pub(crate) fn policy(version: &str) -> Markup {
    html! {
        @if version == Policy::default().version() { "default settings: no policy was published yet" }
        @else { "policy version " code { (version) } }
    }
}

/// A time to the minute, in UTC, as a `time` element.
pub(crate) fn time(at: Timestamp) -> Markup {
    html! { time datetime=(at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()) { (text::minute(at)) } }
}

/// Formats a number with U+2212 as the minus sign.
pub(crate) fn number(value: f64) -> String {
    text::with_minus(&text::number(value))
}

/// Describes the number of executions per state: `45 Clean, 3 Violations`.
pub(crate) fn describe_states(states: &str) -> String {
    let mut text = String::new();
    for (state, _) in STATES {
        let count = states.chars().filter(|other| *other == letter(state)).count();
        if count > 0 {
            let separator = if text.is_empty() { "" } else { ", " };
            // Writing to a `String` never fails.
            let _written = write!(text, "{separator}{count} {}", state.as_str());
        }
    }
    if text.is_empty() {
        text.push_str("no executions yet");
    }
    text
}

/// Draws the states of executions as a strip, oldest first, three units per execution. States differ in height and color.
///
/// Written without `maud` for its size: an overview contains thousands of strips.
pub(crate) fn strip(states: &str, slots: usize, label: &str) -> Markup {
    let empty = slots.saturating_sub(states.len());
    let label = html! { (label) }.into_string();
    let mut svg = format!(
        "<svg class=h viewBox=\"0 0 {} 12\" role=img aria-label=\"{label}\">",
        slots * 3
    );
    for (state, class) in STATES {
        let path = runs(states, letter(state), empty, state);
        if !path.is_empty() {
            let _written = write!(svg, "<path class={class} d=\"{path}\"/>");
        }
    }
    svg.push_str("</svg>");
    PreEscaped(svg)
}

/// Path of all consecutive runs of one state.
fn runs(states: &str, letter: char, empty: usize, state: DatapointState) -> String {
    // States without a result are drawn lower than Clean and Violations.
    let (top, height) = match state {
        DatapointState::Clean => (2, 10),
        DatapointState::Violations => (0, 12),
        DatapointState::Failed => (5, 7),
        DatapointState::NoData => (8, 4),
        DatapointState::Missing => (9, 2),
    };
    let mut path = String::new();
    let mut start = None;
    for (at, other) in states.chars().chain(std::iter::once('-')).enumerate() {
        match (other == letter, start) {
            (true, None) => start = Some(at),
            (false, Some(from)) => {
                let (x, width) = ((from + empty) * 3, (at - from) * 3);
                let _written = write!(path, "M{x} {top}h{width}v{height}h-{width}z");
                start = None;
            }
            _ => {}
        }
    }
    path
}

/// Legend of the states.
pub(crate) fn legend() -> Markup {
    html! {
        ul.legend aria-label="States of a monitoring execution" style="list-style:none;padding:0" {
            @for (state, class) in STATES {
                li {
                    svg viewBox="0 0 12 12" aria-hidden="true" { path class=(class) d=(runs("SSSS", 'S', 0, state)) {} }
                    (state.as_str())
                }
            }
        }
    }
}

/// Letter of a state: `C`lean, `V`iolations, `N`oData, `F`ailed, `M`issing.
pub(crate) fn letter(state: DatapointState) -> char {
    match state {
        DatapointState::Clean => 'C',
        DatapointState::Violations => 'V',
        DatapointState::NoData => 'N',
        DatapointState::Failed => 'F',
        DatapointState::Missing => 'M',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn consecutive_states_are_one_shape() {
        assert_eq!(runs("CCVVC", 'V', 0, DatapointState::Violations), "M6 0h6v12h-6z");
        assert_eq!(
            runs("CCVVC", 'C', 1, DatapointState::Clean),
            "M3 2h6v10h-6zM15 2h3v10h-3z"
        );
        assert_eq!(describe_states("CCVVC"), "3 Clean, 2 Violations");
    }
}
