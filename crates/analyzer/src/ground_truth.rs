//! Ground truth: labels that arrive later than the predictions and are matched to them by inference ID.
//!
//! Source: developer guide, page `model-monitor-model-quality-merge`: the `eventId` of a label is the `inferenceId` of
//! the request, or its `eventId` if the request has no inference ID.

use crate::{
    findings::{Finding, Findings, Kind},
    object::{Object, Opened},
    read::{EventMetadata, ReadError, Record, Side, one_value_each},
    split::{Blocks, Rows},
};
use serde::Deserialize;
use std::{
    collections::HashMap,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

/// Maximum number of labels, because they are held in memory.
const MAX_LABELS: usize = 20_000_000;

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
    records: Vec<Record>,
    /// Whether a request has used the label.
    used: AtomicBool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    #[serde(borrow)]
    ground_truth_data: Side<'a>,
    #[serde(borrow)]
    event_metadata: EventMetadata<'a>,
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
    /// Reads ground truth files.
    ///
    /// # Errors
    /// Fails if a file is unreadable or there are too many labels. A line that is not a label is a finding.
    pub fn read(objects: Vec<Object>) -> Result<Self, ReadError> {
        let mut truth = Self::default();
        for object in objects {
            let name = object.name.clone();
            let failed = |source| ReadError::Io {
                object: name.clone(),
                source,
            };
            let (begun, reader) = match object.open().map_err(failed)? {
                Opened::Empty => continue,
                Opened::Lines(_, begun, reader) => (begun, reader),
                Opened::Parquet(_) => {
                    return Err(ReadError::Object {
                        object: name,
                        message: "expected JSON Lines for ground truth, found Parquet".to_owned(),
                    });
                }
            };
            let mut blocks = Blocks::new(Rows::Lines, begun, reader);
            let mut row = 0;
            while let Some(block) = blocks.next().map_err(|error| ReadError::Object {
                object: name.clone(),
                message: error.to_string(),
            })? {
                for line in block.bytes.split(|byte| *byte == b'\n') {
                    if line.trim_ascii().is_empty() {
                        continue;
                    }
                    row += 1;
                    truth.add(line, &name, row)?;
                }
            }
        }
        Ok(truth)
    }

    fn add(&mut self, line: &[u8], object: &str, row: u64) -> Result<(), ReadError> {
        let read = serde_json::from_slice::<Line<'_>>(line)
            .map_err(|error| format!("not a ground truth record: {error}"))
            .and_then(|line| {
                let id = line.event_metadata.event_id.ok_or("eventMetadata.eventId is missing")?;
                let records = line.ground_truth_data.records()?;
                one_value_each(&records)?;
                Ok((id.into_owned(), records))
            });
        match read {
            Ok((id, records)) => {
                let used = AtomicBool::new(false);
                if self.labels.insert(id, Label { records, used }).is_some() {
                    self.repeated += 1;
                }
                if self.labels.len() > MAX_LABELS {
                    return Err(ReadError::Object {
                        object: object.to_owned(),
                        message: format!("there are more than {MAX_LABELS} labels: analyze a shorter window"),
                    });
                }
            }
            Err(message) => self.findings.add(Finding {
                kind: Kind::Unreadable,
                object: object.to_owned(),
                row,
                column: None,
                message,
            }),
        }
        Ok(())
    }

    /// Labels of a request, one for each of its records.
    pub(crate) fn label(&self, id: &str) -> Option<&[Record]> {
        let label = self.labels.get(id);
        let counter = if label.is_some() {
            &self.matched
        } else {
            &self.unlabeled
        };
        counter.fetch_add(1, Ordering::Relaxed);
        let label = label?;
        label.used.store(true, Ordering::Relaxed);
        Some(&label.records)
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
