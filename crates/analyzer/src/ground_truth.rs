//! Reads ground truth: labels that arrive later than the predictions and are matched to them by inference ID.
//!
//! Source: developer guide, page `model-monitor-model-quality-merge`: the `eventId` of a label is the `inferenceId` of
//! the request, or its `eventId` if the request has no inference ID.

use crate::{
    findings::{Finding, Kind},
    labels::GroundTruth,
    object::{Object, Opened},
    read::{Content, EventMetadata, ReadError, Side},
    split::{Blocks, Rows},
};
use serde::Deserialize;

/// Maximum number of labels, because they are held in memory.
const MAX_LABELS: usize = 20_000_000;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    #[serde(borrow)]
    ground_truth_data: Side<'a>,
    #[serde(borrow)]
    event_metadata: EventMetadata<'a>,
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
                let values = line.ground_truth_data.content().and_then(Content::into_labels)?;
                Ok((id.into_owned(), values))
            });
        match read {
            Ok((id, values)) => {
                if self.insert(id, values) > MAX_LABELS {
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
}
