//! Number of distinct values, from a sample that is selected by hash.
//!
//! A value belongs to the sample if its hash begins with a number of zero bits; the number grows so that the sample
//! stays within its size (Gibbons 2001, "Distinct sampling for highly-accurate answers to distinct values queries").
//! The sample depends only on the set of values, not on their order or on how they were split. The standard error is
//! about one divided by the square root of the size: 1.6%.

use serde::{Deserialize, Serialize};

/// Maximum number of hashes that are kept. Up to this number, distinct values are counted exactly.
const SIZE: usize = 4096;

/// Sample of distinct values, as hashes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Distinct {
    /// Minimum number of leading zero bits of hashes in the sample.
    level: u32,
    /// Hashes, some of them twice until they are sorted.
    hashes: Vec<u64>,
}

impl Distinct {
    /// Adds a value by its hash.
    pub(crate) fn add(&mut self, hash: u64) {
        if hash.leading_zeros() >= self.level {
            self.hashes.push(hash);
            if self.hashes.len() > 2 * SIZE {
                self.settle();
            }
        }
    }

    /// Adds another sample.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.level = self.level.max(other.level);
        let level = self.level;
        self.hashes.retain(|hash| hash.leading_zeros() >= level);
        for hash in &other.hashes {
            self.add(*hash);
        }
    }

    /// Estimated number of distinct values.
    pub(crate) fn estimate(&self) -> f64 {
        let settled = self.settled();
        #[expect(clippy::cast_precision_loss, reason = "at most the size of the sample")]
        let sampled = settled.hashes.len() as f64;
        sampled * f64::from(settled.level).exp2()
    }

    /// Sample in a form that does not depend on the order of the values.
    pub(crate) fn settled(&self) -> Self {
        let mut settled = self.clone();
        settled.settle();
        settled
    }

    fn settle(&mut self) {
        self.hashes.sort_unstable();
        self.hashes.dedup();
        while self.hashes.len() > SIZE && self.level < 64 {
            self.level += 1;
            // Hashes with more zero bits are the smallest.
            let level = self.level;
            let end = self.hashes.partition_point(|hash| hash.leading_zeros() >= level);
            self.hashes.truncate(end);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use xxhash_rust::xxh3::xxh3_64;

    fn sample_of(values: impl IntoIterator<Item = u64>) -> Distinct {
        let mut distinct = Distinct::default();
        for value in values {
            distinct.add(xxh3_64(&value.to_le_bytes()));
        }
        distinct
    }

    #[test]
    fn few_values_are_counted_and_many_estimated() {
        let estimate = sample_of(0..1_000_000).estimate();
        assert!((estimate / 1e6 - 1.0).abs() < 0.05, "{estimate}");
        assert!((sample_of((0..100_000).map(|value| value % 1000)).estimate() - 1000.0).abs() <= 0.0);
        assert!(sample_of([]).estimate().abs() <= 0.0);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20))]
        #[test]
        fn result_ignores_order_and_split(from in 0u64..1000, to in 0u64..60_000, shards in 1usize..9) {
            let whole = sample_of(from..from + to);
            let mut merged = Distinct::default();
            for shard in (0..shards).rev() {
                merged.merge(&sample_of((from..from + to).rev().skip(shard).step_by(shards)));
            }
            prop_assert_eq!(whole.settled(), merged.settled());
        }
    }
}
