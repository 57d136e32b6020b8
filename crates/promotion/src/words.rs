//! Numbers and outcomes as people read them.

use experiment::Outcome;

/// A number with about four digits that say something.
pub fn number(value: f64) -> String {
    let magnitude = value.abs();
    if !value.is_finite() {
        return "–".to_owned();
    }
    if magnitude > 0.0 && !(1e-6..1e9).contains(&magnitude) {
        return format!("{value:.3e}");
    }
    let more = if magnitude >= 1000.0 {
        0
    } else if magnitude >= 1.0 {
        2
    } else {
        digits(value) + 3
    };
    let text = format!("{value:.more$}");
    let text = if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.')
    } else {
        &text
    };
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

/// The same with its sign, whichever it is.
pub fn signed(value: f64) -> String {
    let text = number(value);
    if value > 0.0 { format!("+{text}") } else { text }
}

/// How many digits after the point a number has until its first that is not zero.
pub(crate) fn digits(value: f64) -> usize {
    let reaches = |digits: &u8| value.abs() * 10.0_f64.powi(i32::from(*digits)) >= 1.0 - 1e-9;
    usize::from((0..12).find(reaches).unwrap_or(0))
}

/// What a look says, in a word or two.
pub fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Promote => "promote",
        Outcome::RollBack => "roll back",
        Outcome::Continue => "go on",
        Outcome::Inconclusive => "inconclusive",
        Outcome::Invalid => "not to be trusted",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_digits_that_say_something() {
        for (value, said) in [
            (0.0, "0"),
            (-0.0, "0"),
            (0.85123, "0.8512"),
            (-0.0118, "-0.0118"),
            (0.000_123_456, "0.0001235"),
            (1.0, "1"),
            (99.753, "99.75"),
            (12_345.6, "12346"),
            (1e12, "1.000e12"),
            (2e-9, "2.000e-9"),
            (f64::NAN, "–"),
        ] {
            assert_eq!(number(value), said);
        }
        assert_eq!(
            (signed(0.5), signed(-0.5), signed(0.0)),
            ("+0.5".into(), "-0.5".into(), "0".into())
        );
    }
}
