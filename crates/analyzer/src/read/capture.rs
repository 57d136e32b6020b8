//! SageMaker's data capture: a line is a request to the endpoint, its response, or both, each with one or several
//! records in CSV, JSON or BASE64; also what the ground truth merge writes.
//!
//! Source: developer guide, pages `model-monitor-data-capture-endpoint`, `model-monitor-model-quality-merge`.

use super::{
    Notebook,
    json::{self, Cell, Columns, Name, Record},
};
use crate::{findings::Kind, ground_truth::GroundTruth, sink::Sink};
use analysis::TooManyColumns;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;
use std::{borrow::Cow, sync::Arc};

/// Where the columns of the response stand in the baseline dataset (SDK, `output_columns_position`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OutputColumns {
    /// Before those of the request.
    #[default]
    Start,
    /// After them.
    End,
}

/// What of captured data is read.
#[derive(Debug, Clone, Default)]
pub struct CaptureColumns {
    /// Where the columns of the response stand.
    pub output: OutputColumns,
    /// For the analyses of predictions: the labels, by inference id. The columns of the response are then called
    /// `output:0`, `output:1`, … or `output:` and their keys, the label is called `label`, and requests without one are
    /// left out.
    pub ground_truth: Option<Arc<GroundTruth>>,
    /// The columns of the response are called so without ground truth too.
    pub predictions: bool,
    /// Requests without a label are kept.
    pub unlabelled: bool,
    /// The columns of the request, in their order: the names of those that have none, if others than the baseline's are
    /// expected there.
    pub request: Vec<String>,
}

/// The name of the column of labels.
pub const LABEL: &str = "label";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    #[serde(borrow)]
    capture_data: CaptureData<'a>,
    #[serde(borrow)]
    ground_truth_data: Option<Side<'a>>,
    #[serde(borrow, default)]
    event_metadata: EventMetadata<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CaptureData<'a> {
    #[serde(borrow)]
    endpoint_input: Option<Side<'a>>,
    #[serde(borrow)]
    endpoint_output: Option<Side<'a>>,
    #[serde(borrow)]
    batch_transform_output: Option<Side<'a>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct EventMetadata<'a> {
    #[serde(borrow)]
    pub event_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub inference_id: Option<Cow<'a, str>>,
}

/// One side of a captured request, or a label.
#[derive(Deserialize)]
pub(crate) struct Side<'a> {
    #[serde(borrow)]
    data: Cow<'a, str>,
    #[serde(borrow, default)]
    encoding: Cow<'a, str>,
    #[serde(borrow, rename = "observedContentType", default)]
    content_type: Cow<'a, str>,
}

/// Whether the first line is captured data.
pub(super) fn is_capture(bytes: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Probe {
        #[serde(rename = "captureData")]
        capture_data: Option<serde::de::IgnoredAny>,
    }
    let line = bytes
        .split(|byte| *byte == b'\n')
        .find(|line| !line.trim_ascii().is_empty());
    let probe = line.and_then(|line| serde_json::from_slice::<Probe>(line).ok());
    probe.is_some_and(|probe| probe.capture_data.is_some())
}

impl Side<'_> {
    /// The records in it.
    pub(crate) fn records(&self) -> Result<Vec<Record>, String> {
        match self.encoding.as_ref() {
            "CSV" => Ok(csv_records(self.data.as_bytes())),
            "JSON" => json::records(self.data.as_bytes()).map_err(|error| format!("it is not JSON: {error}")),
            "BASE64" | "" => {
                let bytes = STANDARD
                    .decode(self.data.trim())
                    .map_err(|error| format!("it is not BASE64: {error}"))?;
                // What was captured in BASE64 is of a content type that was not listed as CSV or JSON.
                let json =
                    self.content_type.contains("json") || matches!(bytes.trim_ascii().first(), Some(b'{' | b'['));
                if json {
                    json::records(&bytes).map_err(|error| format!("it is not JSON: {error}"))
                } else if std::str::from_utf8(&bytes).is_ok() {
                    Ok(csv_records(&bytes))
                } else {
                    Err(format!(
                        "content of type `{}` is neither CSV nor JSON",
                        self.content_type
                    ))
                }
            }
            other => Err(format!("the encoding `{other}` is none of CSV, JSON, BASE64")),
        }
    }
}

/// The records of a model's answer, in JSON or CSV.
pub(crate) fn answered(bytes: &[u8], content_type: &str) -> Result<Vec<Record>, String> {
    if content_type.contains("json") || matches!(bytes.trim_ascii_start().first(), Some(b'{')) {
        json::records(bytes).map_err(|error| format!("it is not JSON: {error}"))
    } else if std::str::from_utf8(bytes).is_ok() {
        Ok(csv_records(bytes))
    } else {
        Err("it is neither CSV nor JSON".to_owned())
    }
}

fn csv_records(bytes: &[u8]) -> Vec<Record> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .from_reader(bytes);
    let mut records = Vec::new();
    let mut row = csv::ByteRecord::new();
    while let Ok(true) = reader.read_byte_record(&mut row) {
        let cells = row.iter().enumerate().map(|(at, cell)| {
            let cell = match cell {
                [] => Cell::Null,
                cell => Cell::Text(String::from_utf8_lossy(cell).into_owned()),
            };
            (Name::At(at), cell)
        });
        records.push(cells.collect());
    }
    records
}

/// Reads the lines of a block, and says how many there are.
pub(super) fn read<S: Sink>(
    sink: &mut S,
    wanted: &CaptureColumns,
    expected: &[String],
    bytes: &[u8],
    notebook: &mut Notebook,
) -> Result<u64, TooManyColumns> {
    let mut columns = Columns::default();
    let (mut lines, mut rows) = (0, 0);
    for line in bytes.split(|byte| *byte == b'\n') {
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        match request(line, wanted) {
            Ok(Some(request)) => {
                for record in request.rows(wanted, expected) {
                    // Findings count lines, the marks of columns count rows.
                    columns.put(sink, rows, record.into_iter(), notebook)?;
                    rows += 1;
                }
            }
            Ok(None) => notebook.incomplete += 1,
            Err(why) => {
                notebook.note(Kind::Unreadable, lines, None, || why);
                if wanted.ground_truth.is_none() {
                    sink.rows(1);
                }
            }
        }
        lines += 1;
    }
    Ok(lines)
}

/// The records of a captured request, side by side.
struct Request {
    input: Vec<Record>,
    output: Vec<Record>,
    labels: Option<Vec<Record>>,
    records: usize,
}

/// Reads a line; `None` if it lacks what is wanted of it.
fn request(line: &[u8], wanted: &CaptureColumns) -> Result<Option<Request>, String> {
    let line: Line<'_> = serde_json::from_slice(line).map_err(|error| format!("it is no captured request: {error}"))?;
    let side = |side: Option<&Side<'_>>, name: &str| {
        side.map_or(Ok(Vec::new()), Side::records)
            .map_err(|why| format!("{name}: {why}"))
    };
    let output = line
        .capture_data
        .endpoint_output
        .as_ref()
        .or(line.capture_data.batch_transform_output.as_ref());
    let labels = match (&line.ground_truth_data, &wanted.ground_truth) {
        (Some(data), _) => Some(data.records().map_err(|why| format!("groundTruthData: {why}"))?),
        (None, Some(truth)) => {
            let id = line.event_metadata.inference_id.or(line.event_metadata.event_id);
            match id.and_then(|id| truth.label(&id)) {
                Some(label) => Some(label.to_vec()),
                None if wanted.unlabelled => None,
                None => return Ok(None),
            }
        }
        (None, None) => None,
    };
    let request = Request {
        input: side(line.capture_data.endpoint_input.as_ref(), "endpointInput")?,
        output: side(output, "endpointOutput")?,
        labels,
        records: 0,
    };
    let counts = [Some(&request.input), Some(&request.output), request.labels.as_ref()];
    let mut counts: Vec<usize> = counts
        .into_iter()
        .flatten()
        .map(Vec::len)
        .filter(|count| *count > 0)
        .collect();
    counts.sort_unstable();
    counts.dedup();
    match counts.as_slice() {
        [] => Ok(None),
        [records] => Ok(Some(Request {
            records: *records,
            ..request
        })),
        _ => Err(format!(
            "the request has {} records, the response {}, the labels {}: they cannot be told apart",
            request.input.len(),
            request.output.len(),
            request.labels.map_or(0, |labels| labels.len()),
        )),
    }
}

impl Request {
    /// The cells of each record, with the names of their columns.
    fn rows(self, wanted: &CaptureColumns, expected: &[String]) -> Vec<Vec<(String, Cell)>> {
        let apart = wanted.predictions || self.labels.is_some();
        let (mut input, mut output) = (self.input.into_iter(), self.output.into_iter());
        let mut labels = self.labels.map(Vec::into_iter);
        let mut rows = Vec::with_capacity(self.records);
        for _ in 0..self.records {
            let (input, output) = (input.next().unwrap_or_default(), output.next().unwrap_or_default());
            let mut row = Vec::with_capacity(input.len() + output.len() + 1);
            if apart {
                row.extend(output.into_iter().map(|(name, cell)| match name {
                    Name::Key(key) => (format!("output:{key}"), cell),
                    Name::At(at) => (format!("output:{at}"), cell),
                }));
                if let Some(label) = labels.as_mut().and_then(Iterator::next) {
                    // A label is a value, or an object with one.
                    row.extend(label.into_iter().take(1).map(|(_, cell)| (LABEL.to_owned(), cell)));
                }
                number(input, expected, &mut row);
            } else {
                let sides = match wanted.output {
                    OutputColumns::Start => [output, input],
                    OutputColumns::End => [input, output],
                };
                for side in sides {
                    number(side, expected, &mut row);
                }
            }
            rows.push(row);
        }
        rows
    }
}

/// Adds cells to a row; those without a name are called as the baseline calls the column at their place.
fn number(record: Record, expected: &[String], row: &mut Vec<(String, Cell)>) {
    let before = row
        .iter()
        .filter(|(name, _)| !name.starts_with("output:") && name != LABEL)
        .count();
    for (at, (name, cell)) in record.into_iter().enumerate() {
        let name = match name {
            Name::Key(key) => key,
            Name::At(_) => expected
                .get(before + at)
                .cloned()
                .unwrap_or_else(|| format!("_c{}", before + at)),
        };
        row.push((name, cell));
    }
}
