//! What every page has: the frame, the style, and the small pieces that pages are made of.

use crate::summary::letter;
use alerting::DatapointState;
use jiff::{SignedDuration, Timestamp};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use std::fmt::Write as _;

const STYLE: &str = include_str!("frame.css");

/// The five states, in the order of legends.
pub(crate) const STATES: [(DatapointState, &str); 5] = [
    (DatapointState::Clean, "c"),
    (DatapointState::Violations, "v"),
    (DatapointState::NoData, "n"),
    (DatapointState::Failed, "f"),
    (DatapointState::Missing, "m"),
];

/// A page: its title, the style of its own, what is in its header, its main part and its footer.
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
                    // What a page says is nobody's business but its reader's, and nothing that it quotes may run.
                    meta name="referrer" content="no-referrer";
                    title { (self.title) }
                    style { (PreEscaped(STYLE)) (PreEscaped(self.style)) }
                }
                body {
                    a.skip href="#main" { "To the content" }
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

/// A mark with a word in it.
pub(crate) fn badge(class: &str, text: &str) -> Markup {
    html! { span class=(format!("b {class}").trim_end()) { (text) } }
}

/// A sentence of ours: what it quotes in backticks is a name.
pub(crate) fn prose(text: &str) -> Markup {
    html! {
        @for (at, part) in text.split('`').enumerate() {
            @if at % 2 == 1 { code { (part) } } @else { (part) }
        }
    }
}

/// A time to the minute, as people and machines read it.
pub(crate) fn time(at: Timestamp) -> Markup {
    html! { time datetime=(at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()) { (minute(at)) } }
}

/// A time to the minute.
pub(crate) fn minute(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M").to_string()
}

/// How long something took: its two largest units.
pub(crate) fn lasting(duration: SignedDuration) -> String {
    let seconds = duration.as_secs().max(0);
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, 0) => format!("{hours} h"),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, 0, _) => format!("{days} d"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

/// A number for people: whole, or with about three significant digits.
pub(crate) fn number(value: f64) -> String {
    let magnitude = value.abs();
    match magnitude {
        _ if !value.is_finite() => "–".to_owned(),
        m if m >= 1e7 || (m > 0.0 && m < 1e-4) => format!("{value:.2e}"),
        m if m.fract().abs() <= 0.0 => grouped(value),
        m if m >= 1000.0 => grouped(value.round()),
        m if m >= 100.0 => format!("{value:.0}"),
        m if m >= 10.0 => format!("{value:.1}"),
        m if m >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// A whole number with its thousands apart.
fn grouped(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut text = String::new();
    if value < 0.0 {
        text.push('−');
    }
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// How often each state occurs, in words: `45 Clean, 3 Violations`.
pub(crate) fn counts(states: &str) -> String {
    let mut said = String::new();
    for (state, _) in STATES {
        let count = states.chars().filter(|of| *of == letter(state)).count();
        if count > 0 {
            let separator = if said.is_empty() { "" } else { ", " };
            // Writing to a text does not fail.
            let _written = write!(said, "{separator}{count} {}", state.as_str());
        }
    }
    if said.is_empty() {
        said.push_str("no execution yet");
    }
    said
}

/// The states of executions as a strip, oldest first, three units wide each. Heights differ as well as colours. Written by hand:
/// an overview has thousands of them.
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

/// The runs of a state as a path.
fn runs(states: &str, of: char, empty: usize, state: DatapointState) -> String {
    // What says nothing of the data stands lower than what does.
    let (top, height) = match state {
        DatapointState::Clean => (2, 10),
        DatapointState::Violations => (0, 12),
        DatapointState::Failed => (5, 7),
        DatapointState::NoData => (8, 4),
        DatapointState::Missing => (9, 2),
    };
    let mut path = String::new();
    let mut begun = None;
    for (at, letter) in states.chars().chain(std::iter::once('-')).enumerate() {
        match (letter == of, begun) {
            (true, None) => begun = Some(at),
            (false, Some(from)) => {
                let (x, width) = ((from + empty) * 3, (at - from) * 3);
                let _written = write!(path, "M{x} {top}h{width}v{height}h-{width}z");
                begun = None;
            }
            _ => {}
        }
    }
    path
}

/// What the colours of a strip mean.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_for_people() {
        let said = [
            0.0,
            0.123_456,
            1.5,
            34.26,
            512.4,
            1240.0,
            98_765.4,
            12.0,
            -3.0,
            f64::NAN,
        ]
        .map(number);
        let expected = [
            "0",
            "0.123",
            "1.50",
            "34.3",
            "512",
            "1\u{202f}240",
            "98\u{202f}765",
            "12",
            "−3",
            "–",
        ];
        assert_eq!(said, expected);
    }

    #[test]
    fn durations_have_two_units() {
        let said = [5, 65, 3600, 5400, 90_000, 864_000].map(|seconds| lasting(SignedDuration::from_secs(seconds)));
        assert_eq!(said, ["5 s", "1 min", "1 h", "1 h 30 min", "1 d 1 h", "10 d"]);
    }

    #[test]
    fn runs_of_a_state_are_one_shape() {
        assert_eq!(runs("CCVVC", 'V', 0, DatapointState::Violations), "M6 0h6v12h-6z");
        assert_eq!(
            runs("CCVVC", 'C', 1, DatapointState::Clean),
            "M3 2h6v10h-6zM15 2h3v10h-3z"
        );
        assert_eq!(counts("CCVVC"), "3 Clean, 2 Violations");
    }
}
