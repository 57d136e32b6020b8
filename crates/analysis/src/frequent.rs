//! Most frequent values of a column with too many distinct values to count each.
//!
//! Misra and Gries 1982, "Finding repeated elements", in batches, and merged as in Agarwal et al. 2012, "Mergeable
//! summaries". A count is never too high, and too low by at most [`Frequent::error`], which is at most the number of
//! values divided by the size.

use crate::values::{self, Form, Value, Values};

/// Counters of frequent values.
#[derive(Debug, Clone, Default)]
pub(crate) struct Frequent {
    values: Values,
    /// Maximum amount by which a count is too low.
    error: u64,
}

impl Frequent {
    /// Restores counters that were stored.
    pub(crate) fn new(values: Values, error: u64) -> Self {
        Self { values, error }
    }

    /// Maximum amount by which a count is too low, and maximum count of a value that is absent.
    pub(crate) fn error(&self) -> u64 {
        self.error
    }

    pub(crate) fn values(&self) -> &Values {
        &self.values
    }

    /// Adds a string, with the hash of its key. Returns its issue, if any.
    pub(crate) fn add(&mut self, size: usize, hash: u64, text: &[u8], times: u64) -> Option<values::ValueIssue> {
        let key = values::key(text);
        if let Some(value) = self.values.find(hash, Form::Text, &key) {
            value.count += times;
            return value.issue();
        }
        let (class, issue) = values::classify_value(text);
        self.values.insert(hash, Form::Text, &key, class, times);
        self.shrink(size);
        issue
    }

    /// Adds other counters.
    pub(crate) fn merge(&mut self, size: usize, other: &Self) {
        for (key, value) in other.values.iter() {
            self.values
                .add(value.form, key, (value.class, value.number), value.count);
        }
        self.error += other.error;
        self.shrink(size);
    }

    /// Beyond twice the size: subtracts the count of the first value beyond the size from every count, so that at most
    /// this number of values remains.
    fn shrink(&mut self, size: usize) {
        if self.values.len() <= 2 * size {
            return;
        }
        let mut counts: Vec<u64> = self.values.iter().map(|(_, value)| value.count).collect();
        let (_, beyond, _) = counts.select_nth_unstable_by(size, |a, b| b.cmp(a));
        let beyond = *beyond;
        self.error += beyond;
        self.values.retain(|value: &mut Value| {
            value.count = value.count.saturating_sub(beyond);
            value.count > 0
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn counters_of(size: usize, values: impl Iterator<Item = u32>) -> Frequent {
        let mut frequent = Frequent::default();
        for value in values {
            let text = format!("v{value}");
            frequent.add(size, values::hash(text.as_bytes()), text.as_bytes(), 1);
        }
        frequent
    }

    proptest! {
        #[test]
        fn counts_are_low_by_at_most_the_error(
            values in prop::collection::vec(prop_oneof![0u32..5, 0u32..400], 0..3000),
            shards in 1usize..7,
        ) {
            const SIZE: usize = 32;
            let mut merged = Frequent::default();
            for shard in 0..shards {
                merged.merge(SIZE, &counters_of(SIZE, values.iter().copied().skip(shard).step_by(shards)));
            }
            prop_assert!(merged.values.len() <= 2 * SIZE);
            prop_assert!(merged.error() <= (values.len() / SIZE) as u64, "{}", merged.error());
            let mut exact = BTreeMap::new();
            for value in &values {
                *exact.entry(format!("v{value}")).or_insert(0u64) += 1;
            }
            let found: BTreeMap<_, _> = merged
                .values
                .iter()
                .map(|(key, value)| (String::from_utf8_lossy(key).into_owned(), value.count))
                .collect();
            for (value, exact) in &exact {
                let found = found.get(value).copied().unwrap_or(0);
                prop_assert!(found <= *exact && exact - found <= merged.error());
            }
        }
    }
}
