//! KLL sketch of quantiles as in Deequ: an item on level h represents 2^h values, and level 0 is the largest.
//!
//! Source: Karnin, Lang, Liberty 2016, "Optimal quantile approximation in streams"; Deequ's `QuantileNonSample` and
//! `NonSampleCompactor`, which Model Monitor writes to `statistics.json`. There is no randomness: the same values in
//! the same order give the same sketch.

use serde::{Deserialize, Serialize};

/// Size of the largest level, as Model Monitor writes it.
pub const K: f64 = 2048.0;
/// Factor by which each level shrinks.
pub const C: f64 = 0.64;

/// Number of items that a level contains before it is compacted: 2050, 1314, 842, …
fn capacity(level: usize) -> usize {
    let shrunk = K * C.powi(i32::try_from(level).unwrap_or(i32::MAX)) / 2.0;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 0 and 1024"
    )]
    let half = shrunk.ceil() as usize;
    2 * (half + 1)
}

/// Sketch of numbers. NaN must not be added.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Kll {
    levels: Vec<Level>,
    /// Number of items on all levels, and its maximum. Both follow from the levels.
    #[serde(skip)]
    size: usize,
    #[serde(skip)]
    total: usize,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
struct Level {
    items: Vec<f64>,
    /// Number of compactions of this level, and which item of each pair was kept last.
    compactions: u64,
    offset: bool,
}

/// Converts a number to an integer with the same order, and back.
fn ordered(value: f64) -> i64 {
    let bits = value.to_bits().cast_signed();
    bits ^ ((bits >> 63).cast_unsigned() >> 1).cast_signed()
}

fn unordered(key: i64) -> f64 {
    let bits = key ^ ((key >> 63).cast_unsigned() >> 1).cast_signed();
    f64::from_bits(bits.cast_unsigned())
}

impl Level {
    /// Passes every second item to the next level, where it represents twice as many values. An odd item, the last that
    /// arrived, stays.
    fn compact(&mut self) -> Vec<f64> {
        if self.compactions % 2 == 1 {
            self.offset = !self.offset;
        }
        self.compactions += 1;
        let odd = if self.items.len() % 2 == 1 {
            self.items.pop()
        } else {
            None
        };
        // Sorting takes most of the time. It is faster with integers in the order of the numbers (IEEE 754,
        // totalOrder).
        let mut keys: Vec<i64> = self.items.iter().map(|item| ordered(*item)).collect();
        #[expect(
            clippy::stable_sort_primitive,
            reason = "above the first level they come in sorted runs, which this sort merges"
        )]
        keys.sort();
        let kept = keys
            .into_iter()
            .skip(usize::from(self.offset))
            .step_by(2)
            .map(unordered)
            .collect();
        self.items.clear();
        self.items.extend(odd);
        kept
    }
}

impl Kll {
    /// Adds a value.
    pub fn add(&mut self, value: f64) {
        let Some(level) = self.levels.first_mut() else {
            self.grow();
            return self.add(value);
        };
        level.items.push(value);
        self.size += 1;
        if self.size > self.total {
            self.condense();
        }
    }

    /// Adds a value several times: one item for each power of two in the count.
    pub fn add_times(&mut self, value: f64, times: u64) {
        let mut left = times;
        let mut at = 0;
        while left > 0 {
            if left & 1 == 1 {
                while self.levels.len() <= at {
                    self.grow();
                }
                if let Some(level) = self.levels.get_mut(at) {
                    level.items.push(value);
                    self.size += 1;
                }
            }
            left >>= 1;
            at += 1;
        }
        while self.size > self.total {
            self.condense();
        }
    }

    /// Adds another sketch: level by level, then compacted until it fits.
    pub fn merge(&mut self, other: &Self) {
        while self.levels.len() < other.levels.len() {
            self.grow();
        }
        for (mine, theirs) in self.levels.iter_mut().zip(&other.levels) {
            mine.items.extend_from_slice(&theirs.items);
            self.size += theirs.items.len();
        }
        while self.size > 0 && self.size >= self.total {
            self.condense();
        }
    }

    /// Items with the number of values that each represents, level by level.
    pub fn items(&self) -> impl Iterator<Item = (f64, u64)> {
        let weights = (0..).map(|level: u32| 1u64.checked_shl(level).unwrap_or(u64::MAX));
        let levels = self.levels.iter().zip(weights);
        levels.flat_map(|(level, weight)| level.items.iter().map(move |item| (*item, weight)))
    }

    /// Items of each level.
    pub fn levels(&self) -> impl Iterator<Item = &[f64]> {
        self.levels.iter().map(|level| level.items.as_slice())
    }

    /// Creates a sketch from the items of its levels, as in `statistics.json`.
    pub fn from_levels(levels: impl IntoIterator<Item = Vec<f64>>) -> Self {
        let levels = levels.into_iter().map(|items| Level {
            items,
            ..Level::default()
        });
        Self {
            levels: levels.collect(),
            ..Self::default()
        }
        .with_counts()
    }

    /// Restores the numbers that follow from the levels, after a sketch was deserialized.
    #[must_use]
    pub(crate) fn with_counts(mut self) -> Self {
        self.size = self.levels.iter().map(|level| level.items.len()).sum();
        self.total = (0..self.levels.len()).map(capacity).sum();
        self
    }

    fn grow(&mut self) {
        self.total += capacity(self.levels.len());
        self.levels.push(Level::default());
    }

    /// Compacts the first level that is full.
    fn condense(&mut self) {
        let full = |(at, level): (usize, &Level)| (level.items.len() >= capacity(at)).then_some(at);
        let Some(at) = self.levels.iter().enumerate().find_map(full) else {
            // In a sketch from elsewhere, every level can be below its capacity. Another level makes room.
            return self.grow();
        };
        if at + 1 == self.levels.len() {
            self.grow();
        }
        if let Some(level) = self.levels.get_mut(at) {
            let before = level.items.len();
            let kept = level.compact();
            self.size = self.size + level.items.len() + kept.len() - before;
            if let Some(next) = self.levels.get_mut(at + 1) {
                next.items.extend(kept);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn level_sizes_match_deequ() {
        assert_eq!((0..4).map(capacity).collect::<Vec<_>>(), [2050, 1314, 842, 540]);
        assert_eq!(capacity(60), 4);
    }

    #[test]
    fn offsets_alternate_as_in_deequ() {
        let mut level = Level::default();
        let mut offsets = Vec::new();
        for _ in 0..7 {
            level.items = vec![0.0, 1.0];
            offsets.push(level.compact()[0]);
        }
        assert_eq!(offsets, [0.0, 1.0, 1.0, 0.0, 0.0, 1.0, 1.0]);
    }

    #[test]
    fn odd_item_is_the_last_that_arrived() {
        let mut level = Level {
            items: vec![5.0, 1.0, 4.0, 2.0, 9.0],
            ..Level::default()
        };
        assert_eq!(level.compact(), [1.0, 4.0]);
        assert_eq!(level.items, [9.0]);
    }

    /// Largest difference between the ranks of the sketch and of the values.
    #[expect(clippy::cast_precision_loss, reason = "some million values")]
    fn error(sketch: &Kll, values: &mut [f64]) -> f64 {
        values.sort_by(f64::total_cmp);
        let mut items: Vec<_> = sketch.items().collect();
        items.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (mut rank, mut worst) = (0u64, 0f64);
        for (item, weight) in items {
            rank += weight;
            let exact = values.partition_point(|value| *value <= item);
            worst = worst.max((rank as f64 - exact as f64).abs() / values.len() as f64);
        }
        worst
    }

    #[test]
    #[expect(clippy::cast_precision_loss, reason = "shifted to 53 bits")]
    fn million_values_keep_their_ranks() {
        let mut values: Vec<f64> = (0..1_000_000u64)
            .map(|at| (at.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 11) as f64)
            .collect();
        let mut sketch = Kll::default();
        for value in &values {
            sketch.add(*value);
        }
        assert_eq!(sketch.items().map(|(_, weight)| weight).sum::<u64>(), 1_000_000);
        let alone = error(&sketch, &mut values.clone());
        let mut merged = Kll::default();
        for shard in values.chunks(values.len() / 64) {
            let mut sketch = Kll::default();
            for value in shard {
                sketch.add(*value);
            }
            merged.merge(&sketch);
        }
        let of_shards = error(&merged, &mut values);
        assert!(alone < 0.003 && of_shards < 0.003, "{alone} {of_shards}");
    }

    proptest! {
        #[test]
        fn weights_are_never_lost(counts in prop::collection::vec((0u32..50, 0u64..5_000_000), 0..300), split in 0usize..300) {
            let mut whole = Kll::default();
            for (value, times) in &counts {
                whole.add_times(f64::from(*value), *times);
            }
            let total: u64 = counts.iter().map(|(_, times)| times).sum();
            prop_assert_eq!(whole.items().map(|(_, weight)| weight).sum::<u64>(), total);
            let (mut left, mut right) = (Kll::default(), Kll::default());
            for (at, (value, times)) in counts.iter().enumerate() {
                if at < split { &mut left } else { &mut right }.add_times(f64::from(*value), *times);
            }
            left.merge(&right);
            prop_assert_eq!(left.items().map(|(_, weight)| weight).sum::<u64>(), total);
            let read = Kll::from_levels(left.levels().map(<[f64]>::to_vec));
            prop_assert!(read.items().eq(left.items()));
        }
    }
}
