//! Reads ground truth: labels that arrive later than the predictions and are matched to them by inference ID.
//!
//! Source: developer guide, page `model-monitor-model-quality-merge`: the `eventId` of a label is the `inferenceId` of
//! the request, or its `eventId` if the request has no inference ID.

use crate::{
    findings::{Finding, Kind},
    labels::GroundTruth,
    object::{Object, Opened},
    read::{Content, EventMetadata, JsonCell, MANIFEST, ReadError, SPREAD_OUT, Side, is_manifest, is_spread_out},
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

impl Line<'_> {
    /// ID of the request, and one value for each of its records.
    fn label(self) -> Result<(String, Vec<JsonCell>), String> {
        let id = self.event_metadata.event_id.ok_or("eventMetadata.eventId is missing")?;
        let values = self.ground_truth_data.content().and_then(Content::into_labels)?;
        Ok((id.into_owned(), values))
    }
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
                if row == 0 && is_manifest(&block.bytes) {
                    return Err(ReadError::Object {
                        object: name,
                        message: MANIFEST.to_owned(),
                    });
                }
                if row == 0 && is_spread_out(&block.bytes) {
                    truth.reject(&name, 0, SPREAD_OUT.to_owned());
                    break;
                }
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

    /// Adds the record of a line, or all records of a list.
    fn add(&mut self, line: &[u8], object: &str, row: u64) -> Result<(), ReadError> {
        let records = if line.trim_ascii_start().starts_with(b"[") {
            serde_json::from_slice::<Vec<Line<'_>>>(line)
        } else {
            serde_json::from_slice::<Line<'_>>(line).map(|record| vec![record])
        };
        let records = match records {
            Ok(records) => records,
            Err(error) => {
                self.reject(object, row, format!("not a ground truth record: {error}"));
                return Ok(());
            }
        };
        for record in records {
            match record.label() {
                Ok((id, values)) => {
                    if self.insert(id, values) > MAX_LABELS {
                        return Err(ReadError::Object {
                            object: object.to_owned(),
                            message: format!("there are more than {MAX_LABELS} labels: analyze a shorter window"),
                        });
                    }
                }
                Err(message) => self.reject(object, row, message),
            }
        }
        Ok(())
    }

    /// Records that a label is ignored.
    fn reject(&mut self, object: &str, row: u64, message: String) {
        self.findings.add(Finding {
            kind: Kind::Unreadable,
            object: object.to_owned(),
            row,
            column: None,
            message,
        });
    }
}
