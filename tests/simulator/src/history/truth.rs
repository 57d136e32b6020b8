//! What the documents said at each moment of the last minutes.

use crate::world::after;
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use shell::memory::DocumentWrite;
use std::collections::{BTreeMap, VecDeque};

/// Seconds within which a fact that a start depends on must have been true.
const FACT_SECONDS: i64 = 60;

/// Versions of one document, oldest first: the time and the content.
type Versions = VecDeque<(Timestamp, Option<Vec<u8>>)>;

/// Versions of all documents in the last minutes.
#[derive(Debug, Default)]
pub(super) struct Truth {
    documents: BTreeMap<String, Versions>,
}

impl Truth {
    /// Adds a version. Returns the one before.
    pub(super) fn add(&mut self, write: &DocumentWrite) -> Option<Vec<u8>> {
        let versions = self.documents.entry(write.key.clone()).or_default();
        let before = versions.back().and_then(|(_, body)| body.clone());
        versions.push_back((write.at, write.body.clone()));
        let oldest = after(write.at, -FACT_SECONDS);
        while versions.get(1).is_some_and(|(at, _)| *at <= oldest) {
            versions.pop_front();
        }
        before
    }

    /// Content of a document at a moment. `None` if it did not exist, or cannot be parsed.
    pub(super) fn at<T: DeserializeOwned>(&self, key: &str, moment: Timestamp) -> Option<T> {
        let versions = self.documents.get(key)?;
        let (_, body) = versions.iter().rev().find(|(at, _)| *at <= moment)?;
        serde_json::from_slice(body.as_deref()?).ok()
    }

    /// Whether a document existed at a moment.
    pub(super) fn exists(&self, key: &str, moment: Timestamp) -> bool {
        let versions = self.documents.get(key).into_iter().flatten().rev();
        let mut earlier = versions.filter(|(at, _)| *at <= moment);
        earlier.next().is_some_and(|(_, body)| body.is_some())
    }

    /// The moments of the last minute at which a document with one of these keys changed, its start, and now.
    pub(super) fn moments<'a>(&self, keys: impl Iterator<Item = &'a str>, now: Timestamp) -> Vec<Timestamp> {
        let start = after(now, -FACT_SECONDS);
        let mut moments = vec![start, now];
        for versions in keys.filter_map(|key| self.documents.get(key)) {
            moments.extend(versions.iter().map(|(at, _)| *at).filter(|at| *at > start && *at < now));
        }
        moments.sort_unstable();
        moments.dedup();
        moments
    }
}
