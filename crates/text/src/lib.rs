#![doc = include_str!("../README.md")]

use std::fmt::Display;

use jiff::{SignedDuration, Timestamp};

/// Formats a number with four significant digits; digits before the decimal point are never dropped.
///
/// Integers below 10¹⁵ are written completely, with thousands separators. Magnitudes below 10⁻⁴ or from 10¹⁵ have an exponent. NaN
/// is `–`, infinities are `∞` and `-∞`.
pub fn number(value: f64) -> String {
    significant(value, 4)
}

/// Formats a share, from 0 to 1, in percent with three significant digits: `24.4%`.
pub fn percent(share: f64) -> String {
    format!("{}%", significant(share * 100.0, 3))
}

/// Formats how many times one value is another with two significant digits: `4.2×`.
pub fn ratio(value: f64) -> String {
    format!("{}×", significant(value, 2))
}

/// Formats a difference with its sign: `+0.0012`, `-0.0031`.
pub fn signed(value: f64) -> String {
    let sign = if value > 0.0 { "+" } else { "" };
    format!("{sign}{}", number(value))
}

/// Writes the sign of a formatted number as U+2212, for pages and drawings.
pub fn with_minus(number: &str) -> String {
    number.replacen('-', "−", 1)
}

/// Rounds the decimals within a sentence to four significant digits: descriptions of Model Monitor have up to 17.
pub fn rounded(sentence: &str) -> String {
    let mut text = String::with_capacity(sentence.len());
    let mut rest = sentence;
    while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
        let (before, from) = rest.split_at(start);
        let mut end = from
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(from.len());
        end -= from
            .get(..end)
            .map_or(0, |digits| digits.len() - digits.trim_end_matches('.').len());
        let (digits, after) = from.split_at(end);
        text.push_str(before);
        // Parts of a name and of a version stay: `f0_5`, `1.2.3`. So do short decimals, and those with an exponent.
        let is_name = before.ends_with(|c: char| c.is_alphanumeric() || c == '_')
            || after.starts_with(|c: char| c.is_alphanumeric() || c == '_');
        let decimals = digits.split_once('.').map_or(0, |(_, decimals)| decimals.len());
        match digits.parse::<f64>() {
            Ok(value) if decimals > 4 && !is_name => text.push_str(&number(value)),
            _ => text.push_str(digits),
        }
        rest = after;
    }
    text.push_str(rest);
    text
}

/// Formats a count with thousands separators: `50,000`.
pub fn integer(count: impl Into<u64>) -> String {
    grouped(&count.into().to_string())
}

/// Formats a count with its noun in the singular or the plural: `1 analysis`, `2 analyses`.
pub fn count(count: impl TryInto<u64>, noun: &str) -> String {
    // A count beyond 2⁶⁴ does not occur: `usize` has at most 64 bits on all targets.
    let count = count.try_into().unwrap_or(u64::MAX);
    format!(
        "{} {}",
        integer(count),
        if count == 1 { noun.to_owned() } else { plural(noun) }
    )
}

/// Formats names as a list for a sentence, each in backticks: `` `a` and `b` ``, `` `a`, `b`, and `c` ``.
pub fn list<T: Display>(names: impl IntoIterator<Item = T>) -> String {
    let mut names: Vec<String> = names.into_iter().map(|name| format!("`{name}`")).collect();
    match names.pop() {
        Some(last) if names.is_empty() => last,
        Some(last) => {
            let comma = if names.len() > 1 { "," } else { "" };
            format!("{}{comma} and {last}", names.join(", "))
        }
        None => String::new(),
    }
}

/// Lists the first names of many: "`a`, `b`, …".
pub fn first_names<T: Display>(names: impl ExactSizeIterator<Item = T>, most: usize) -> String {
    let more = if names.len() > most { ", …" } else { "" };
    let shown: Vec<String> = names.take(most).map(|name| format!("`{name}`")).collect();
    format!("{}{more}", shown.join(", "))
}

/// Formats a time to the minute: `2026-11-23 15:00 UTC`.
pub fn time(at: Timestamp) -> String {
    format!("{} UTC", minute(at))
}

/// Formats a time to the minute, in UTC, for a table or an element that names the zone: `2026-11-23 15:00`.
pub fn minute(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M").to_string()
}

/// Formats a duration with its two largest units: `3 d 4 h`, `5 h 1 min`, `45 s`, `250 ms`. Negative ones are written as zero: `0 s`.
pub fn duration(duration: SignedDuration) -> String {
    let seconds = duration.as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        _ if duration <= SignedDuration::ZERO => "0 s".to_owned(),
        (0, 0, 0) if seconds == 0 => format!("{} ms", duration.as_millis().max(1)),
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, 0) => format!("{hours} h"),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, 0, _) => format!("{days} d"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

/// Formats how far a time is from now, in its largest unit: `in 3 days`, `2 hours ago`, `now`.
pub fn distance(at: Timestamp, now: Timestamp) -> String {
    let seconds = at.duration_since(now).as_secs();
    // Rounded down, except for the last 2%: a deadline of 72 hours is in 3 days, although its message took a minute to arrive.
    let rounded = seconds.unsigned_abs() + (seconds.unsigned_abs() / 50).max(30);
    let (size, unit) = match seconds.unsigned_abs() {
        s if s < 60 => return "now".to_owned(),
        _ if rounded < 2 * 3600 => (rounded / 60, "minute"),
        _ if rounded < 48 * 3600 => (rounded / 3600, "hour"),
        _ => (rounded / 86_400, "day"),
    };
    let size = count(size, unit);
    if seconds > 0 {
        format!("in {size}")
    } else {
        format!("{size} ago")
    }
}

fn significant(value: f64, digits: usize) -> String {
    if value.is_nan() {
        return "–".to_owned();
    }
    let (sign, magnitude) = (if value < 0.0 { "-" } else { "" }, value.abs());
    if magnitude.is_infinite() {
        return format!("{sign}∞");
    }
    if magnitude <= 0.0 {
        return "0".to_owned();
    }
    // The decimal exponent after rounding, so that 999.96 has four digits before the point and 9.9996 two.
    let rounded = format!("{magnitude:.*e}", digits - 1);
    let (mantissa, exponent) = rounded.split_once('e').unwrap_or((&rounded, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if !(-4..15).contains(&exponent) {
        return format!("{sign}{}e{exponent}", trimmed(mantissa));
    }
    let whole = magnitude.fract() <= 0.0;
    let decimals = usize::try_from(i32::try_from(digits).unwrap_or(4) - 1 - exponent).unwrap_or(0);
    let text = format!("{magnitude:.*}", if whole { 0 } else { decimals });
    let (integer, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let fraction = fraction.trim_end_matches('0');
    let point = if fraction.is_empty() { "" } else { "." };
    format!("{sign}{}{point}{fraction}", grouped(integer))
}

fn trimmed(mantissa: &str) -> &str {
    if mantissa.contains('.') {
        mantissa.trim_end_matches('0').trim_end_matches('.')
    } else {
        mantissa
    }
}

/// Digits with a comma between groups of three.
fn grouped(digits: &str) -> String {
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn plural(noun: &str) -> String {
    if let Some(stem) = noun.strip_suffix("sis") {
        return format!("{stem}ses");
    }
    if let Some(stem) = noun
        .strip_suffix('y')
        .filter(|stem| !stem.ends_with(['a', 'e', 'o', 'u']))
    {
        return format!("{stem}ies");
    }
    let ending = if noun.ends_with(['s', 'x']) || noun.ends_with("ch") || noun.ends_with("sh") {
        "es"
    } else {
        "s"
    };
    format!("{noun}{ending}")
}

/// Largest edit distance of a name that is suggested instead of an unknown one.
const MAX_DISTANCE: usize = 3;

/// The name that is most similar to an unknown one, if one is similar.
pub fn nearest_name<'a>(names: impl IntoIterator<Item = &'a str>, unknown: &str) -> Option<&'a str> {
    let unknown = unknown.to_lowercase();
    let distance = |name: &str| strsim::damerau_levenshtein(&unknown, &name.to_lowercase());
    let ranked = names.into_iter().map(|name| (distance(name), name));
    let (distance, name) = ranked.min()?;
    (distance <= MAX_DISTANCE && distance < name.chars().count()).then_some(name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_have_four_significant_digits() {
        for (value, expected) in [
            (0.0, "0"),
            (-0.0, "0"),
            (0.345_536_258_161_589_1, "0.3455"),
            (0.000_42, "0.00042"),
            (-0.003_149, "-0.003149"),
            (0.99996, "1"),
            (9.9996, "10"),
            (1.25, "1.25"),
            (999.96, "1,000"),
            (12_345.678, "12,346"),
            (50_000.0, "50,000"),
            (1_234_567_890.0, "1,234,567,890"),
            (0.000_012_345_6, "1.235e-5"),
            (1e15, "1e15"),
            (f64::NAN, "–"),
            (f64::NEG_INFINITY, "-∞"),
        ] {
            assert_eq!(number(value), expected, "{value}");
        }
    }

    #[test]
    fn percentages_ratios_and_differences_have_their_digits() {
        assert_eq!(percent(0.2442), "24.4%");
        assert_eq!(percent(0.5), "50%");
        assert_eq!(percent(1.0), "100%");
        assert_eq!(ratio(4.17), "4.2×");
        assert_eq!(ratio(41.7), "42×");
        assert_eq!(signed(0.0012), "+0.0012");
        assert_eq!(signed(-0.0031), "-0.0031");
        assert_eq!(signed(0.0), "0");
        assert_eq!(with_minus(&signed(-0.0031)), "−0.0031");
    }

    #[test]
    fn nouns_agree_with_their_count() {
        assert_eq!(count(0_u64, "monitor"), "0 monitors");
        assert_eq!(count(1_usize, "analysis"), "1 analysis");
        assert_eq!(count(2_u32, "analysis"), "2 analyses");
        assert_eq!(count(2_u32, "retry"), "2 retries");
        assert_eq!(count(2_u32, "day"), "2 days");
        assert_eq!(count(2_u32, "match"), "2 matches");
        assert_eq!(count(50_000_u64, "row"), "50,000 rows");
    }

    #[test]
    fn names_are_listed_as_in_a_sentence() {
        assert_eq!(list(Vec::<String>::new()), "");
        assert_eq!(list(["a"]), "`a`");
        assert_eq!(list(["a", "b"]), "`a` and `b`");
        assert_eq!(list(["a", "b", "c"]), "`a`, `b`, and `c`");
    }

    #[test]
    fn decimals_in_sentences_are_rounded() {
        for (sentence, expected) in [
            (
                "Numerical distance: 0.6227207793864215 exceeds threshold: 0.1",
                "Numerical distance: 0.6227 exceeds threshold: 0.1",
            ),
            (
                "Metric f0_5 with 0.19999999999999996 +/- 0.01672 was '0.9782608695652175'.",
                "Metric f0_5 with 0.2 +/- 0.01672 was '0.9783'.",
            ),
            (
                "version 1.2.34567890, 12345678, 1.23456e-7",
                "version 1.2.34567890, 12345678, 1.23456e-7",
            ),
            ("", ""),
        ] {
            assert_eq!(rounded(sentence), expected);
        }
    }

    #[test]
    fn durations_have_at_most_two_units() {
        for (seconds, expected) in [
            (-1, "0 s"),
            (0, "0 s"),
            (45, "45 s"),
            (61, "1 min"),
            (3600, "1 h"),
            (18_060, "5 h 1 min"),
            (259_200, "3 d"),
            (273_600, "3 d 4 h"),
        ] {
            assert_eq!(duration(SignedDuration::from_secs(seconds)), expected);
        }
        assert_eq!(duration(SignedDuration::from_millis(250)), "250 ms");
    }

    #[test]
    fn distances_have_one_unit() {
        let now: Timestamp = "2026-11-23T15:00:30Z".parse().unwrap();
        for (seconds, expected) in [
            (0, "now"),
            (85, "in 1 minute"),
            (259_000, "in 3 days"),
            (216_000, "in 2 days"),
            (-7200, "2 hours ago"),
            (3 * 86_400, "in 3 days"),
            (-86_400, "24 hours ago"),
        ] {
            assert_eq!(distance(now + SignedDuration::from_secs(seconds), now), expected);
        }
        assert_eq!(time(now), "2026-11-23 15:00 UTC");
    }

    proptest! {
        #[test]
        fn numbers_are_read_back_within_rounding(value in proptest::num::f64::NORMAL) {
            let read: f64 = number(value).replace(',', "").parse().unwrap();
            prop_assert!(((read - value) / value).abs() <= 5e-4, "{value} is {}", number(value));
        }

        #[test]
        fn rounding_changes_only_digits(sentence in ".{0,60}") {
            let letters = |text: &str| text.chars().filter(|c| !c.is_ascii_digit() && !matches!(c, '.' | ',' | '-' | 'e')).collect::<String>();
            prop_assert_eq!(letters(&rounded(&sentence)), letters(&sentence));
        }

        #[test]
        fn times_are_as_far_from_now_in_both_directions(seconds in 60_i64..100_000_000) {
            let now = Timestamp::UNIX_EPOCH + SignedDuration::from_secs(1_000_000_000);
            let after = distance(now + SignedDuration::from_secs(seconds), now);
            let before = distance(now - SignedDuration::from_secs(seconds), now);
            prop_assert_eq!(after.strip_prefix("in "), before.strip_suffix(" ago"));
        }
    }

    #[test]
    fn first_names_of_a_list() {
        assert_eq!(first_names(["a", "b"].into_iter(), 2), "`a`, `b`");
        assert_eq!(first_names(["a", "b", "c"].into_iter(), 2), "`a`, `b`, …");
        assert_eq!(first_names([""; 0].into_iter(), 2), "");
    }

    #[test]
    fn nearest_name_is_a_similar_one() {
        let names = ["churn", "fraud", "a"];
        assert_eq!(nearest_name(names, "chrun"), Some("churn"));
        assert_eq!(nearest_name(names, "Churn"), Some("churn"));
        assert_eq!(nearest_name(names, "lifetime-value"), None);
        assert_eq!(nearest_name(names, "b"), None);
        assert_eq!(nearest_name([], "churn"), None);
    }

    #[test]
    fn suggested_name_differs_in_three_characters_at_most() {
        let nearest = |name, unknown| nearest_name([name], unknown).is_some();
        assert!(nearest("churn", "churnxyz") && !nearest("churn", "churnwxyz"));
        // A name that differs completely is not similar.
        assert!(nearest("abcd", "axyz") && !nearest("abc", "xyz"));
        assert_eq!(nearest_name(["fraud-eu", "fraud-us"], "fraud-ux"), Some("fraud-us"));
    }
}
