//! Time axes and value axes.

use jiff::{SignedDuration, Timestamp};

/// Distances between the marks of a time axis, in seconds.
const STEP_SECONDS: [i64; 12] = [
    3600, 10_800, 21_600, 43_200, 86_400, 172_800, 345_600, 604_800, 1_209_600, 2_592_000, 7_776_000, 31_536_000,
];

/// Time range of a chart, and its horizontal position.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span {
    pub(crate) from: Timestamp,
    pub(crate) to: Timestamp,
    pub(crate) left: f64,
    pub(crate) width: f64,
}

impl Span {
    /// The range from the first to the last time, at least one hour. `None` without times.
    pub(crate) fn from_times(times: impl Iterator<Item = Timestamp>, left: f64, width: f64) -> Option<Self> {
        let (mut from, mut to) = (Timestamp::MAX, Timestamp::MIN);
        for time in times {
            (from, to) = (from.min(time), to.max(time));
        }
        if to < from {
            return None;
        }
        if to.duration_since(from) < SignedDuration::from_hours(1) {
            from = from
                .saturating_sub(SignedDuration::from_hours(1))
                .unwrap_or(Timestamp::MIN);
        }
        Some(Self { from, to, left, width })
    }

    /// Horizontal position of a time. Times outside the range are at the edge.
    pub(crate) fn x(&self, at: Timestamp) -> f64 {
        let all = self.to.duration_since(self.from).as_secs_f64();
        let part = at.duration_since(self.from).as_secs_f64() / all;
        self.left + part.clamp(0.0, 1.0) * self.width
    }

    /// Positions and labels of the axis marks, at most `limit`.
    pub(crate) fn marks(&self, limit: i64) -> Vec<(f64, String)> {
        let seconds = self.to.duration_since(self.from).as_secs();
        let fits = |step: &&i64| seconds / **step < limit;
        let step = STEP_SECONDS.iter().find(fits).copied().unwrap_or(31_536_000);
        let format = if step < 86_400 { "%d %b %H:%M" } else { "%d %b" };
        let first = self.from.as_second().div_euclid(step) + 1;
        (first..)
            .map_while(|at| Timestamp::from_second(at.checked_mul(step)?).ok())
            .take_while(|at| *at <= self.to)
            .map(|at| (self.x(at), at.strftime(format).to_string()))
            .collect()
    }
}

/// Value range of a chart, with a margin, and its vertical position.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Range {
    pub(crate) least: f64,
    pub(crate) most: f64,
    pub(crate) top: f64,
    pub(crate) height: f64,
}

impl Range {
    /// The range of all finite values. `None` without finite values.
    pub(crate) fn from_values(values: impl Iterator<Item = f64>, top: f64, height: f64) -> Option<Self> {
        // Sums of larger values would not be finite.
        let finite = values.filter(|value| value.abs() < 1e100);
        let (mut least, mut most) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in finite {
            (least, most) = (least.min(value), most.max(value));
        }
        if most < least {
            return None;
        }
        let room = if most > least {
            (most - least) * 0.08
        } else {
            most.abs().max(1.0) * 0.1
        };
        // The axis of a quantity without negative values does not go below 0.
        let floor = if least >= 0.0 { 0.0 } else { f64::NEG_INFINITY };
        Some(Self {
            least: (least - room).max(floor),
            most: most + room,
            top,
            height,
        })
    }

    /// Vertical position of a value. Values outside the range are at the edge.
    pub(crate) fn y(&self, value: f64) -> f64 {
        let part = (value - self.least) / (self.most - self.least);
        self.top + (1.0 - part.clamp(0.0, 1.0)) * self.height
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn positions_stay_inside_chart(values in prop::collection::vec(prop::num::f64::ANY, 0..20), times in prop::collection::vec(-377_705_000_000i64..253_402_000_000, 0..10)) {
            if let Some(range) = Range::from_values(values.iter().copied(), 10.0, 100.0) {
                for value in values.iter().filter(|value| value.abs() < 1e100) {
                    prop_assert!((10.0..=110.0).contains(&range.y(*value)));
                }
            }
            let times: Vec<Timestamp> = times.iter().filter_map(|at| Timestamp::from_second(*at).ok()).collect();
            if let Some(span) = Span::from_times(times.iter().copied(), 5.0, 50.0) {
                for time in &times {
                    prop_assert!((5.0..=55.0).contains(&span.x(*time)));
                }
                let marks = span.marks(8);
                prop_assert!(marks.iter().all(|(x, _)| (5.0..=55.0).contains(x)));
            }
        }
    }
}
