//! Labels, matched to predictions by inference ID.

use crate::{findings::Findings, read::JsonCell};
use std::{
    collections::HashMap,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

/// Labels by inference ID.
#[derive(Debug, Default)]
pub struct GroundTruth {
    labels: HashMap<String, Label>,
    /// Problems of the files.
    pub findings: Findings,
    /// Number of labels whose ID already had a label. The last one is used.
    pub repeated: u64,
    matched: AtomicU64,
    unlabeled: AtomicU64,
}

#[derive(Debug)]
struct Label {
    /// One value for each record of the request.
    values: Vec<JsonCell>,
    /// Whether a request has used the label.
    used: AtomicBool,
}

/// Result of matching labels to predictions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MatchCounts {
    /// Requests with a label.
    pub matched: u64,
    /// Requests without a label: it is late or missing.
    pub unlabeled: u64,
    /// Labels that match no request of this window.
    pub unused: u64,
}

impl GroundTruth {
    /// Adds the label of a request, or replaces it. Returns the number of labels.
    pub(crate) fn insert(&mut self, id: String, values: Vec<JsonCell>) -> usize {
        let used = AtomicBool::new(false);
        if self.labels.insert(id, Label { values, used }).is_some() {
            self.repeated += 1;
        }
        self.labels.len()
    }

    /// Labels of a request, without counting that it uses them.
    pub(crate) fn get(&self, id: &str) -> Option<&[JsonCell]> {
        self.labels.get(id).map(|label| label.values.as_slice())
    }

    /// Labels of a request, one for each of its records.
    pub(crate) fn label(&self, id: &str) -> Option<&[JsonCell]> {
        let label = self.labels.get(id);
        let counter = if label.is_some() {
            &self.matched
        } else {
            &self.unlabeled
        };
        counter.fetch_add(1, Ordering::Relaxed);
        let label = label?;
        label.used.store(true, Ordering::Relaxed);
        Some(&label.values)
    }

    /// Number of requests with labels, and number of labels.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let labels = self.labels.values().map(|label| label.values.len()).sum();
        (self.labels.len(), labels)
    }

    /// Result of the match, after all requests were read.
    pub fn merged(&self) -> MatchCounts {
        let unused = self.labels.values().filter(|label| !label.used.load(Ordering::Relaxed));
        MatchCounts {
            matched: self.matched.load(Ordering::Relaxed),
            unlabeled: self.unlabeled.load(Ordering::Relaxed),
            unused: unused.count() as u64,
        }
    }
}
