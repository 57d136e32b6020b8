//! Formats outcomes for people.

use experiment::Outcome;

/// Number of digits after the point, up to the first nonzero digit.
pub(crate) fn digits(value: f64) -> usize {
    let reaches = |digits: &u8| value.abs() * 10.0_f64.powi(i32::from(*digits)) >= 1.0 - 1e-9;
    usize::from((0..12).find(reaches).unwrap_or(0))
}

/// Short description of a look's outcome.
pub fn describe_outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Promote => "promote",
        Outcome::RollBack => "roll back",
        Outcome::Continue => "continue",
        Outcome::Inconclusive => "inconclusive",
        Outcome::Invalid => "invalid",
    }
}
