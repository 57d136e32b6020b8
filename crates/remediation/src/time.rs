//! Calculations with times.

use jiff::{SignedDuration, Timestamp, civil::Date, tz::TimeZone};

/// The time after a duration.
pub(crate) fn after(time: Timestamp, duration: SignedDuration) -> Timestamp {
    time.saturating_add(duration).unwrap_or(Timestamp::MAX)
}

/// Start of a day (UTC).
pub(crate) fn midnight(date: Date) -> Timestamp {
    let midnight = date.to_zoned(TimeZone::UTC);
    midnight.map_or(Timestamp::MAX, |zoned| zoned.timestamp())
}
