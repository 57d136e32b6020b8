//! SageMaker's data capture: a line is a request to the endpoint, its response, or both, each with one or several
//! records in CSV, JSON, or BASE64. Also the output of the ground truth merge.
//!
//! Source: developer guide, pages `model-monitor-data-capture-endpoint`, `model-monitor-model-quality-merge`.

use super::{
    Notebook,
    envelope::{Content, Layout, Reading, Source},
    json::{Cell, Columns, LAYOUT_LINES, Name, Record, Tree},
};
use crate::{findings::Kind, labels::GroundTruth, sink::Sink};
use analysis::TooManyColumns;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use serde::{
    Deserialize, Deserializer,
    de::{
        MapAccess, SeqAccess, Visitor,
        value::{MapAccessDeserializer, SeqAccessDeserializer},
    },
};
use std::{
    borrow::Cow,
    collections::{BTreeSet, HashSet},
    fmt,
    sync::Arc,
};

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

/// Prefix of the columns of a response.
pub(crate) const OUTPUT: &str = "output:";

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
    #[serde(borrow, deserialize_with = "scalar")]
    pub event_id: Option<Cow<'a, str>>,
    #[serde(borrow, deserialize_with = "scalar")]
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
    data: Data<'a>,
    #[serde(borrow, default)]
    encoding: Cow<'a, str>,
    #[serde(borrow, rename = "observedContentType", default)]
    content_type: Cow<'a, str>,
}

/// Data of a side: encoded, or a JSON value as it is.
enum Data<'a> {
    Text(Cow<'a, str>),
    Value(Tree),
}

impl<'de: 'a, 'a> Deserialize<'de> for Data<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyData;

        impl<'de> Visitor<'de> for AnyData {
            type Value = Data<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("data")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Data<'de>, E> {
                Ok(Data::Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Data<'de>, E> {
                Ok(Data::Text(Cow::Owned(text.to_owned())))
            }

            fn visit_bool<E>(self, value: bool) -> Result<Data<'de>, E> {
                Ok(Data::Value(Tree::Leaf(Cell::Bool(value))))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Data<'de>, E> {
                Ok(Data::Value(Tree::Leaf(Cell::Integer(value))))
            }

            fn visit_u64<E>(self, value: u64) -> Result<Data<'de>, E> {
                Ok(Data::Value(Tree::from_unsigned(value)))
            }

            fn visit_f64<E>(self, value: f64) -> Result<Data<'de>, E> {
                Ok(Data::Value(Tree::Leaf(Cell::Double(value))))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Data<'de>, A::Error> {
                Tree::deserialize(SeqAccessDeserializer::new(list)).map(Data::Value)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Data<'de>, A::Error> {
                Tree::deserialize(MapAccessDeserializer::new(map)).map(Data::Value)
            }
        }

        deserializer.deserialize_any(AnyData)
    }
}

/// Reads an ID, which can be a string, a number, or a boolean.
fn scalar<'de: 'a, 'a, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Cow<'a, str>>, D::Error> {
    struct Scalar;

    impl<'de> Visitor<'de> for Scalar {
        type Value = Option<Cow<'de, str>>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a string, a number, or a boolean")
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_borrowed_str<E>(self, id: &'de str) -> Result<Self::Value, E> {
            Ok(Some(Cow::Borrowed(id)))
        }

        fn visit_str<E>(self, id: &str) -> Result<Self::Value, E> {
            Ok(Some(Cow::Owned(id.to_owned())))
        }

        fn visit_bool<E>(self, id: bool) -> Result<Self::Value, E> {
            Ok(Some(Cow::Owned(id.to_string())))
        }

        fn visit_i64<E>(self, id: i64) -> Result<Self::Value, E> {
            Ok(Some(Cow::Owned(id.to_string())))
        }

        fn visit_u64<E>(self, id: u64) -> Result<Self::Value, E> {
            Ok(Some(Cow::Owned(id.to_string())))
        }

        // pandas writes whole numbers with a decimal point if an ID is missing.
        fn visit_f64<E>(self, id: f64) -> Result<Self::Value, E> {
            Ok(Some(Cow::Owned(id.to_string())))
        }
    }

    deserializer.deserialize_any(Scalar)
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

/// Maximum number of columns that a message names.
const SHOWN: usize = 6;
/// Cost of a line that a layout is unable to read.
const UNREADABLE_COST: usize = 4;
/// Cost of a column that only the dataset or only the baseline has.
const COLUMN_COST: usize = 8;

/// Layouts of request and response; `None` if the side has no records.
type Layouts = (Option<Layout>, Option<Layout>);

/// Parts of a request that the baseline has the columns of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Parts {
    /// Request and response.
    Both,
    /// The request: a baseline of training data has no columns of a response.
    Request,
    /// The response.
    Response,
}

/// How to read captured data.
pub(super) struct Plan {
    wanted: CaptureColumns,
    /// Columns of the baseline.
    expected: Vec<String>,
    /// Whether requests have both sides, judging from the first block.
    both: bool,
    /// Parts that become columns.
    parts: Parts,
    /// Layouts of lines that have several readings.
    layouts: Option<Layouts>,
    /// Finding about the layouts.
    pub note: Option<String>,
}

impl Plan {
    /// Determines how to read captured data from its first lines.
    ///
    /// # Errors
    /// Fails if columns without names do not fit those of the baseline.
    pub(super) fn new(wanted: &CaptureColumns, expected: &[String], bytes: &[u8]) -> Result<Self, String> {
        let mut plan = Self {
            wanted: wanted.clone(),
            expected: expected.to_vec(),
            both: false,
            parts: Parts::Both,
            layouts: None,
            note: None,
        };
        let contents = |line| parse(line).and_then(|line| line.contents(wanted, false)).ok().flatten();
        let both = |line| contents(line).is_some_and(|of: Contents| !of.input.is_empty() && !of.output.is_empty());
        // Without a baseline, the other requests determine the columns of a request with one side. With labels, the
        // sides have separate names, and every request needs a label.
        plan.both = expected.is_empty() && wanted.ground_truth.is_none() && lines(bytes).any(both);
        let sample: Vec<Contents> = lines(bytes).take(LAYOUT_LINES).filter_map(contents).collect();
        plan.select_layouts(&sample);
        plan.select_parts(&sample)?;
        Ok(plan)
    }

    /// Selects the parts whose columns are those of the baseline, judging from the first request with both sides.
    fn select_parts(&mut self, sample: &[Contents]) -> Result<(), String> {
        let is_whole = |contents: &&Contents| !contents.input.is_empty() && !contents.output.is_empty();
        let Some(contents) = sample.iter().find(is_whole) else {
            return Ok(());
        };
        if self.expected.is_empty() || contents.is_apart(self) {
            return Ok(());
        }
        let Ok(Some(candidate)) = contents.select(self) else {
            return Ok(());
        };
        let [both, request, response] = [Parts::Both, Parts::Request, Parts::Response].map(|parts| {
            self.parts = parts;
            let names = contents.names(&candidate, self);
            (mismatch(&names, &self.expected), parts, names.len())
        });
        let ((.., all), (.., of_request), (.., of_response)) = (both, request, response);
        let fewer =
            |one: (usize, Parts, usize), other: (usize, Parts, usize)| if other.0 < one.0 { other } else { one };
        let (mismatch, parts, _) = fewer(fewer(both, request), response);
        self.parts = parts;
        // A name says which column a cell is of. Without names, one column more or less would shift all that follow.
        if mismatch > 0 && contents.has_unnamed(&candidate, parts) {
            return Err(format!(
                "the columns do not fit the baseline: the request has {}, the response {}, and the baseline has {} ({}). Create the \
                 baseline from data with the columns of the request, or of request and response ({all} columns)",
                text::count(of_request, "column"),
                of_response,
                self.expected.len(),
                text::first_names(self.expected.iter(), SHOWN),
            ));
        }
        let left_out = match parts {
            Parts::Both => return Ok(()),
            Parts::Request => "the response is left out",
            Parts::Response => "the request is left out",
        };
        self.note.get_or_insert(format!(
            "{left_out}, because the baseline has no columns of it: request {}, response {of_response}, baseline {}",
            text::count(of_request, "column"),
            self.expected.len()
        ));
        Ok(())
    }

    /// Selects the layouts that fit most lines of a sample.
    fn select_layouts(&mut self, sample: &[Contents]) {
        let mut totals: Vec<(Layouts, usize, usize)> = Vec::new();
        for contents in sample {
            for candidate in contents.candidates(self) {
                let mismatch = contents.mismatch(&candidate, self);
                if mismatch > 0 && !contents.is_certain(&candidate, self) {
                    continue;
                }
                let cost = candidate.cost + COLUMN_COST * mismatch;
                match totals.iter_mut().find(|(layouts, ..)| *layouts == candidate.layouts) {
                    Some((_, lines, total)) => {
                        *lines += 1;
                        *total += cost;
                    }
                    None => totals.push((candidate.layouts, 1, cost)),
                }
            }
        }
        let total = |(_, lines, total): &(Layouts, usize, usize)| total + UNREADABLE_COST * (sample.len() - lines);
        let Some(best) = totals.iter().min_by_key(|layouts| total(layouts)) else {
            return;
        };
        self.layouts = Some(best.0);
        // Without names, one record with several cells and several records with one cell look the same.
        let items = (Some(Layout::Items), Some(Layout::Items));
        let several = |contents: &Contents| {
            let candidates = contents.candidates(self);
            candidates
                .iter()
                .any(|candidate| candidate.layouts == items && candidate.records > 1)
        };
        if self.expected.is_empty()
            && best.0 == (Some(Layout::Record), Some(Layout::Record))
            && totals
                .iter()
                .any(|(layouts, lines, _)| *layouts == items && *lines == sample.len())
            && sample.iter().any(several)
        {
            self.note = Some(
                "a request is read as one record with several columns; it could also be several records with one \
                 column, because request and response are lists of equal length"
                    .to_owned(),
            );
        }
    }
}

impl Side<'_> {
    /// Content of this side.
    pub(crate) fn content(self) -> Result<Content, String> {
        let text = match self.data {
            Data::Value(tree) => return Ok(Content::Json(vec![tree], Source::Message)),
            Data::Text(text) => text,
        };
        let encoding = self.encoding.trim();
        if encoding.eq_ignore_ascii_case("CSV") {
            Content::from_csv(text.as_bytes())
        } else if encoding.eq_ignore_ascii_case("JSON") {
            Content::from_json(text.as_bytes(), Source::Message)
        } else if encoding.is_empty() || encoding.eq_ignore_ascii_case("BASE64") {
            // BASE64 is used for content types that are not listed as CSV or JSON.
            let bytes = STANDARD
                .decode(text.trim())
                .map_err(|error| format!("not valid BASE64: {error}"))?;
            Content::from_message(&bytes, &self.content_type)
        } else {
            Err(format!(
                "unsupported encoding `{encoding}`: expected CSV, JSON, or BASE64"
            ))
        }
    }
}

/// Records of a model's response to a request with this number of records, in JSON or CSV.
pub(crate) fn response_records(bytes: &[u8], content_type: &str, records: usize) -> Result<Vec<Record>, String> {
    let content = Content::from_message(bytes, content_type)?;
    let readings = content.readings(&[]);
    let fitting = readings.iter().find(|reading| reading.records == records);
    let layout = fitting.or(readings.first()).map(|reading| reading.layout);
    Ok(layout.map_or(Vec::new(), |layout| content.into_records(layout)))
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
        let contents = parse(line).and_then(|line| line.contents(&plan.wanted, true));
        let rows = contents.and_then(|contents| contents.map(|of| of.rows(plan)).transpose());
        match rows.map(Option::flatten) {
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

/// Facts about a file of captured requests.
pub(crate) struct CaptureSummary {
    pub requests: u64,
    /// Number of requests with a label, as the ground truth merge writes them.
    pub labeled: u64,
    pub unreadable: u64,
    /// Times of the first and the last request.
    pub times: Option<(Timestamp, Timestamp)>,
    pub encodings: BTreeSet<String>,
    /// Number of columns of the request and of the response, in the first request with both.
    pub columns: Option<(usize, usize)>,
}

impl CaptureSummary {
    /// Summarizes a file; `None` if it contains no captured requests.
    pub(crate) fn new(bytes: &[u8]) -> Option<Self> {
        if !is_capture(bytes) {
            return None;
        }
        let wanted = CaptureColumns::default();
        let plan = Plan::new(&wanted, &[], bytes).ok()?;
        let mut summary = Self {
            requests: 0,
            labeled: 0,
            unreadable: 0,
            times: None,
            encodings: BTreeSet::new(),
            columns: None,
        };
        for line in lines(bytes) {
            let Ok(line) = parse(line) else {
                summary.unreadable += 1;
                continue;
            };
            summary.requests += 1;
            summary.labeled += u64::from(line.ground_truth_data.is_some());
            let time: Option<Timestamp> = line
                .event_metadata
                .inference_time
                .as_ref()
                .and_then(|time| time.parse().ok());
            if let Some(time) = time {
                let (first, last) = summary.times.unwrap_or((time, time));
                summary.times = Some((first.min(time), last.max(time)));
            }
            let encoding = line
                .capture_data
                .endpoint_input
                .as_ref()
                .map(|side| side.encoding.to_uppercase());
            summary
                .encodings
                .extend(encoding.filter(|encoding| !encoding.is_empty()));
            if summary.columns.is_none()
                && let Ok(Some(contents)) = line.contents(&wanted, false)
                && let Ok(Some(candidate)) = contents.select(&plan)
                && let (Some(input), Some(output)) = candidate.layouts
            {
                let width = |content: Content, layout| content.into_records(layout).first().map_or(0, Vec::len);
                summary.columns = Some((width(contents.input, input), width(contents.output, output)));
            }
        }
        Some(summary)
    }
}

/// Parses a line.
fn parse(line: &[u8]) -> Result<Line<'_>, String> {
    serde_json::from_slice(line).map_err(|error| format!("not a captured request: {error}"))
}

impl Line<'_> {
    /// Contents of the request; `None` if it is too old or has no label. `counted` counts the use of the label.
    fn contents(self, wanted: &CaptureColumns, counted: bool) -> Result<Option<Contents>, String> {
        if wanted.since.is_some_and(|since| self.event_metadata.is_before(since)) {
            return Ok(None);
        }
        let labels = match (self.ground_truth_data, &wanted.ground_truth) {
            (Some(data), _) => {
                let labels = data.content().and_then(Content::into_labels);
                Some(labels.map_err(|why| format!("groundTruthData: {why}"))?)
            }
            (None, Some(truth)) => {
                let id = self.event_metadata.inference_id.or(self.event_metadata.event_id);
                match id.and_then(|id| if counted { truth.label(&id) } else { truth.get(&id) }) {
                    Some(labels) => Some(labels.to_vec()),
                    None if wanted.unlabeled => None,
                    None => return Ok(None),
                }
            }
            (None, None) => None,
        };
        if labels.as_ref().is_some_and(Vec::is_empty) {
            return Ok(None);
        }
        let content = |side: Option<Side<'_>>, name: &str| {
            let content = side.map_or(Ok(Content::EMPTY), Side::content);
            content.map_err(|why| format!("{name}: {why}"))
        };
        let data = self.capture_data;
        Ok(Some(Contents {
            input: content(data.endpoint_input, "endpointInput")?,
            output: content(data.endpoint_output.or(data.batch_transform_output), "endpointOutput")?,
            labels,
        }))
    }
}

/// Contents of a captured request.
struct Contents {
    input: Content,
    output: Content,
    labels: Option<Vec<Cell>>,
}

/// Readings of request and response that have the same number of records.
struct Candidate {
    layouts: Layouts,
    records: usize,
    cost: usize,
}

impl Contents {
    /// Whether request and response have separate names.
    fn is_apart(&self, plan: &Plan) -> bool {
        plan.wanted.predictions || self.labels.is_some()
    }

    /// Readings of request and response, the most natural ones first.
    fn readings(&self, plan: &Plan) -> (Vec<Reading>, Vec<Reading>) {
        let mut input = self.input.readings(&plan.expected);
        input.retain(|reading| reading.layout != Layout::CellsOfLine);
        let mut output = self.output.readings(&plan.expected);
        if plan.expected.is_empty() && !self.is_apart(plan) {
            // Nothing could confirm that the cells of a line are several answers.
            output.retain(|reading| reading.layout != Layout::CellsOfLine);
        }
        (input, output)
    }

    /// Readings that give both sides and the labels the same number of records.
    fn candidates(&self, plan: &Plan) -> Vec<Candidate> {
        let (input, output) = self.readings(plan);
        let some = |readings: Vec<Reading>| -> Vec<Option<Reading>> {
            if readings.is_empty() {
                return vec![None];
            }
            readings.into_iter().map(Some).collect()
        };
        let output = some(output);
        let labels = self.labels.as_ref().map(Vec::len);
        let mut candidates = Vec::new();
        for input in some(input) {
            for output in &output {
                let both = [input, *output];
                let mut counts = both.iter().flatten().map(|reading| reading.records).chain(labels);
                let Some(records) = counts.next() else { continue };
                if counts.all(|count| count == records) {
                    candidates.push(Candidate {
                        layouts: (
                            input.map(|reading| reading.layout),
                            output.map(|reading| reading.layout),
                        ),
                        records,
                        cost: both.iter().flatten().map(|reading| reading.cost).sum(),
                    });
                }
            }
        }
        candidates
    }

    /// Whether a reading requires no confirmation by the columns of the baseline.
    fn is_certain(&self, candidate: &Candidate, plan: &Plan) -> bool {
        self.is_apart(plan) || candidate.layouts.1 != Some(Layout::CellsOfLine)
    }

    /// Names of the columns of the first record.
    fn names(&self, candidate: &Candidate, plan: &Plan) -> Vec<String> {
        let first = |content: &Content, layout: Option<Layout>| {
            let records = layout.map_or(Vec::new(), |layout| content.clone().into_records(layout));
            records.into_iter().take(1).collect()
        };
        let request = Request {
            input: first(&self.input, candidate.layouts.0),
            output: first(&self.output, candidate.layouts.1),
            labels: self.labels.clone(),
            records: 1,
        };
        let rows = request.rows(plan).unwrap_or_default();
        rows.into_iter().flatten().map(|(name, _)| name).collect()
    }

    /// Whether a part that becomes columns has cells without a name.
    fn has_unnamed(&self, candidate: &Candidate, parts: Parts) -> bool {
        let unnamed = |content: &Content, layout: Option<Layout>| {
            let records = layout.map_or(Vec::new(), |layout| content.clone().into_records(layout));
            let mut cells = records.into_iter().take(1).flatten();
            cells.any(|(name, _)| matches!(name, Name::At(_)))
        };
        let (input, output) = candidate.layouts;
        (parts != Parts::Response && unnamed(&self.input, input))
            || (parts != Parts::Request && unnamed(&self.output, output))
    }

    /// Number of columns that only the request or only the baseline has.
    fn mismatch(&self, candidate: &Candidate, plan: &Plan) -> usize {
        if plan.expected.is_empty() {
            return 0;
        }
        let mut names = self.names(candidate, plan);
        if self.is_apart(plan) {
            // The baseline's columns are those of the request.
            names.retain(|name| !name.starts_with(OUTPUT) && name != LABEL);
        }
        mismatch(&names, &plan.expected)
    }

    /// Selects a reading of the request; `None` if it has no records.
    fn select(&self, plan: &Plan) -> Result<Option<Candidate>, String> {
        let mut candidates = self.candidates(plan);
        if let [candidate] = candidates.as_slice()
            && self.is_certain(candidate, plan)
        {
            return Ok(candidates.pop());
        }
        let decided = candidates
            .iter()
            .position(|candidate| Some(candidate.layouts) == plan.layouts);
        if let Some(at) = decided {
            return Ok(Some(candidates.swap_remove(at)));
        }
        let scored = candidates
            .into_iter()
            .map(|candidate| (self.mismatch(&candidate, plan), candidate));
        let mut scored: Vec<(usize, Candidate)> = scored
            .filter(|(mismatch, candidate)| *mismatch == 0 || self.is_certain(candidate, plan))
            .collect();
        scored.sort_by_key(|(mismatch, candidate)| (*mismatch, candidate.cost));
        let mut scored = scored.into_iter();
        let Some((mismatch, best)) = scored.next() else {
            return self.unequal(plan).map_or(Ok(None), Err);
        };
        if let Some((next_mismatch, next)) = scored.next()
            && (next_mismatch, next.cost) == (mismatch, best.cost)
        {
            let (names, next_names) = (self.names(&best, plan), self.names(&next, plan));
            if names != next_names {
                return Err(format!(
                    "the request has two readings: {} with the columns {}, or {} with the columns {}",
                    text::count(best.records, "record"),
                    text::first_names(names.iter(), SHOWN),
                    text::count(next.records, "record"),
                    text::first_names(next_names.iter(), SHOWN),
                ));
            }
        }
        Ok(Some(best))
    }

    /// Describes that the sides have different numbers of records; `None` if there are none.
    fn unequal(&self, plan: &Plan) -> Option<String> {
        let (input, output) = self.readings(plan);
        let labels = self.labels.as_ref().map(Vec::len);
        if input.is_empty() && output.is_empty() && labels.is_none() {
            return None;
        }
        let counts = |readings: &[Reading]| {
            let mut counts: Vec<usize> = Vec::new();
            for reading in readings {
                if !counts.contains(&reading.records) {
                    counts.push(reading.records);
                }
            }
            let last = *counts.last().unwrap_or(&0);
            let texts: Vec<String> = counts.iter().map(ToString::to_string).collect();
            let unit = if last == 1 { "record" } else { "records" };
            (
                if texts.is_empty() {
                    "0".to_owned()
                } else {
                    texts.join(" or ")
                },
                unit,
            )
        };
        let ((input, unit), (output, _)) = (counts(&input), counts(&output));
        let labels = labels.map_or(String::new(), |labels| format!(", the labels {labels}"));
        Some(format!(
            "the request has {input} {unit}, the response {output}{labels}: expected equal numbers"
        ))
    }

    /// Cells of each record, with the names of their columns; `None` if there are no records.
    fn rows(self, plan: &Plan) -> Result<Option<Vec<Row>>, String> {
        let Some(Candidate { layouts, records, .. }) = self.select(plan)? else {
            return Ok(None);
        };
        let has_columns = match plan.parts {
            Parts::Both => true,
            Parts::Request => layouts.0.is_some(),
            Parts::Response => layouts.1.is_some(),
        };
        if !has_columns {
            return Ok(None);
        }
        let convert =
            |content: Content, layout: Option<Layout>| layout.map_or(Vec::new(), |layout| content.into_records(layout));
        let request = Request {
            input: convert(self.input, layouts.0),
            output: convert(self.output, layouts.1),
            labels: self.labels,
            records,
        };
        request.rows(plan).map(Some)
    }
}

/// Cells of a record, with the names of their columns.
type Row = Vec<(String, Cell)>;

/// Number of columns that only one of two datasets has.
pub(super) fn mismatch(names: &[String], expected: &[String]) -> usize {
    let (found, known): (HashSet<&String>, HashSet<&String>) = (names.iter().collect(), expected.iter().collect());
    found.symmetric_difference(&known).count()
}

/// Records of a captured request, side by side.
struct Request {
    input: Vec<Record>,
    output: Vec<Record>,
    labels: Option<Vec<Cell>>,
    records: usize,
}

impl Request {
    /// Cells of each record, with the names of their columns.
    fn rows(mut self, plan: &Plan) -> Result<Vec<Row>, String> {
        let apart = plan.wanted.predictions || self.labels.is_some();
        match plan.parts {
            Parts::Request if !apart => self.output.clear(),
            Parts::Response if !apart => self.input.clear(),
            _ => {}
        }
        let first = match plan.wanted.output {
            OutputColumns::Start => &self.output,
            OutputColumns::End => &self.input,
        };
        // Columns without names are identified by position, after those of the missing side.
        let missing = !apart && first.is_empty() && plan.parts == Parts::Both;
        let (mut input, mut output) = (self.input.into_iter(), self.output.into_iter());
        let mut labels = self.labels.map(Vec::into_iter);
        let mut rows = Vec::with_capacity(self.records);
        for _ in 0..self.records {
            let (input, output) = (input.next().unwrap_or_default(), output.next().unwrap_or_default());
            let mut row = Vec::with_capacity(input.len() + output.len() + 1);
            if apart {
                row.extend(output.into_iter().map(|(name, cell)| match name {
                    Name::Key(key) => (format!("{OUTPUT}{key}"), cell),
                    Name::At(at) => (format!("{OUTPUT}{at}"), cell),
                }));
                let label = labels.as_mut().and_then(Iterator::next);
                row.extend(label.map(|label| (LABEL.to_owned(), label)));
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
