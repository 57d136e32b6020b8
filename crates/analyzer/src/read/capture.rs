//! SageMaker's data capture: a line is a request to the endpoint, its response, or both, each with one or several
//! records in CSV, JSON, or BASE64. Also the output of the ground truth merge.
//!
//! Source: developer guide, pages `model-monitor-data-capture-endpoint`, `model-monitor-model-quality-merge`.

use super::{
    Notebook, csv,
    json::{self, Cell, Columns, Name, Record},
};
use crate::{findings::Kind, labels::GroundTruth, sink::Sink, split::leaves_quote_open};
use analysis::TooManyColumns;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use serde::Deserialize;
use std::{borrow::Cow, sync::Arc};

/// Position of the columns of the response in the baseline dataset (SDK, `output_columns_position`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OutputColumns {
    /// Before the columns of the request.
    #[default]
    Start,
    /// After the columns of the request.
    End,
}

/// Parts of captured data that are read.
#[derive(Debug, Clone, Default)]
pub struct CaptureColumns {
    /// Position of the columns of the response.
    pub output: OutputColumns,
    /// Labels by inference ID, for analyses of predictions. With labels, the columns of the response have the names
    /// `output:0`, `output:1`, … or `output:` and their keys, the label has the name `label`, and requests without a
    /// label are ignored.
    pub ground_truth: Option<Arc<GroundTruth>>,
    /// Whether the columns of the response have these names without ground truth too.
    pub predictions: bool,
    /// Whether requests without a label are kept.
    pub unlabeled: bool,
    /// Start time: requests that were answered earlier are ignored. Requests without a time are kept.
    pub since: Option<Timestamp>,
    /// Names of request columns without a name, in order, if they differ from the baseline's.
    pub request: Vec<String>,
}

/// Name of the column of labels.
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
    #[serde(borrow)]
    inference_time: Option<Cow<'a, str>>,
}

impl EventMetadata<'_> {
    /// Whether the request was answered before a time.
    fn is_before(&self, since: Timestamp) -> bool {
        let time: Option<Timestamp> = self.inference_time.as_ref().and_then(|time| time.parse().ok());
        time.is_some_and(|time| time < since)
    }
}

/// Request, response, or label of a captured request.
#[derive(Deserialize)]
pub(crate) struct Side<'a> {
    #[serde(borrow)]
    data: Cow<'a, str>,
    #[serde(borrow, default)]
    encoding: Cow<'a, str>,
    #[serde(borrow, rename = "observedContentType", default)]
    content_type: Cow<'a, str>,
}

/// Number of lines from which captured data is detected. Some of them can be invalid.
const PROBE_LINES: usize = 10;

/// Whether the first lines are captured data.
pub(super) fn is_capture(bytes: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Probe {
        #[serde(rename = "captureData")]
        capture_data: Option<serde::de::IgnoredAny>,
    }
    let mut probes = lines(bytes)
        .take(PROBE_LINES)
        .filter_map(|line| serde_json::from_slice::<Probe>(line).ok());
    probes.any(|probe| probe.capture_data.is_some())
}

fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let lines = bytes.split(|byte| *byte == b'\n');
    lines.filter(|line| !line.trim_ascii().is_empty())
}

/// How to read captured data.
pub(super) struct Plan {
    wanted: CaptureColumns,
    /// Columns of the baseline.
    expected: Vec<String>,
    /// Whether requests have both sides, judging from the first block.
    both: bool,
}

impl Plan {
    pub(super) fn new(wanted: &CaptureColumns, expected: &[String], bytes: &[u8]) -> Self {
        let both =
            |line| matches!(request(line, wanted), Ok(Some(of)) if !of.input.is_empty() && !of.output.is_empty());
        Self {
            wanted: wanted.clone(),
            expected: expected.to_vec(),
            // Without a baseline, the other requests determine the columns of a request with one side. With labels, the
            // sides have separate names, and every request needs a label.
            both: expected.is_empty() && wanted.ground_truth.is_none() && lines(bytes).any(both),
        }
    }
}

impl Side<'_> {
    /// Records of this side.
    pub(crate) fn records(&self) -> Result<Vec<Record>, String> {
        match self.encoding.as_ref() {
            "CSV" => csv_records(self.data.as_bytes()),
            "JSON" => json::records(self.data.as_bytes()).map_err(|error| format!("not valid JSON: {error}")),
            "BASE64" | "" => {
                let bytes = STANDARD
                    .decode(self.data.trim())
                    .map_err(|error| format!("not valid BASE64: {error}"))?;
                // BASE64 is used for content types that are not listed as CSV or JSON.
                let json =
                    self.content_type.contains("json") || matches!(bytes.trim_ascii().first(), Some(b'{' | b'['));
                if json {
                    json::records(&bytes).map_err(|error| format!("not valid JSON: {error}"))
                } else if std::str::from_utf8(&bytes).is_ok() {
                    csv_records(&bytes)
                } else {
                    Err(format!(
                        "unsupported content type `{}`: expected CSV or JSON",
                        self.content_type
                    ))
                }
            }
            other => Err(format!("unsupported encoding `{other}`: expected CSV, JSON, or BASE64")),
        }
    }
}

/// Records of a model's response, in JSON or CSV.
pub(crate) fn response_records(bytes: &[u8], content_type: &str) -> Result<Vec<Record>, String> {
    if content_type.contains("json") || matches!(bytes.trim_ascii_start().first(), Some(b'{')) {
        json::records(bytes).map_err(|error| format!("not valid JSON: {error}"))
    } else if std::str::from_utf8(bytes).is_ok() {
        csv_records(bytes)
    } else {
        Err("unsupported content type: expected CSV or JSON".to_owned())
    }
}

fn csv_records(bytes: &[u8]) -> Result<Vec<Record>, String> {
    if leaves_quote_open(bytes, b',') {
        return Err("a quoted cell has no closing quote".to_owned());
    }
    let record = |(cells, _): (Vec<Vec<u8>>, usize)| {
        let cells = cells.into_iter().enumerate().map(|(at, cell)| {
            let cell = match cell.as_slice() {
                [] => Cell::Null,
                cell => Cell::Text(String::from_utf8_lossy(cell).into_owned()),
            };
            (Name::At(at), cell)
        });
        cells.collect()
    };
    Ok(csv::Rows::new(bytes, b',').map(record).collect())
}

/// Reads the lines of a block. Returns their number.
pub(super) fn read<S: Sink>(
    sink: &mut S,
    plan: &Plan,
    bytes: &[u8],
    notebook: &mut Notebook,
) -> Result<u64, TooManyColumns> {
    let mut columns = Columns::default();
    let mut count = 0;
    for line in lines(bytes) {
        let rows = request(line, &plan.wanted).and_then(|request| request.map(|of| of.rows(plan)).transpose());
        match rows {
            Ok(Some(rows)) => {
                for row in rows {
                    columns.put(sink, count, row.into_iter(), notebook)?;
                }
            }
            Ok(None) => notebook.incomplete += 1,
            Err(why) => {
                notebook.note(Kind::Unreadable, count, None, || why);
                if plan.wanted.ground_truth.is_none() {
                    sink.rows(1);
                }
            }
        }
        count += 1;
    }
    Ok(count)
}

/// Records of a captured request, side by side.
struct Request {
    input: Vec<Record>,
    output: Vec<Record>,
    labels: Option<Vec<Record>>,
    records: usize,
}

/// Reads a line; `None` if a required part is missing.
fn request(line: &[u8], wanted: &CaptureColumns) -> Result<Option<Request>, String> {
    let line: Line<'_> = serde_json::from_slice(line).map_err(|error| format!("not a captured request: {error}"))?;
    if wanted.since.is_some_and(|since| line.event_metadata.is_before(since)) {
        return Ok(None);
    }
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
                None if wanted.unlabeled => None,
                None => return Ok(None),
            }
        }
        (None, None) => None,
    };
    match &labels {
        Some(labels) if labels.is_empty() => return Ok(None),
        Some(labels) => one_value_each(labels)?,
        None => {}
    }
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
            "the request has {} records, the response {}, the labels {}: expected equal numbers",
            request.input.len(),
            request.output.len(),
            request.labels.map_or(0, |labels| labels.len()),
        )),
    }
}

/// Checks that a label is a value or an object with one value.
pub(crate) fn one_value_each(labels: &[Record]) -> Result<(), String> {
    match labels.iter().find(|label| label.len() != 1) {
        Some(label) => Err(format!("a label has {} values: expected one", label.len())),
        None => Ok(()),
    }
}

impl Request {
    /// Cells of each record, with the names of their columns.
    fn rows(self, plan: &Plan) -> Result<Vec<Vec<(String, Cell)>>, String> {
        let apart = plan.wanted.predictions || self.labels.is_some();
        let first = match plan.wanted.output {
            OutputColumns::Start => &self.output,
            OutputColumns::End => &self.input,
        };
        // Columns without names are identified by position, after those of the missing side.
        let missing = !apart && first.is_empty();
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
                row.extend(
                    labels
                        .iter_mut()
                        .flatten()
                        .next()
                        .into_iter()
                        .flatten()
                        .map(|(_, cell)| (LABEL.to_owned(), cell)),
                );
                number(input, 0, &plan.expected, &mut row);
            } else {
                let [first, second] = match plan.wanted.output {
                    OutputColumns::Start => [output, input],
                    OutputColumns::End => [input, output],
                };
                let unnamed = second.iter().any(|(name, _)| matches!(name, Name::At(_)));
                let before = match (missing && unnamed, plan.expected.len().checked_sub(second.len())) {
                    (false, _) => first.len(),
                    (true, Some(before)) => before,
                    (true, None) if plan.both => {
                        return Err(
                            "only the request or only the response was captured, but other lines have both: the \
                             columns are ambiguous"
                                .to_owned(),
                        );
                    }
                    (true, None) => 0,
                };
                number(first, 0, &plan.expected, &mut row);
                number(second, before, &plan.expected, &mut row);
            }
            rows.push(row);
        }
        Ok(rows)
    }
}

/// Adds cells to a row. A cell without a name gets the baseline's name of the column at its position, offset by
/// `before`.
fn number(record: Record, before: usize, expected: &[String], row: &mut Vec<(String, Cell)>) {
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
