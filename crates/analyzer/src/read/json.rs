//! JSON Lines. A line is a record or a list of records. A nested value has its path as name, with `_` between the keys.
//! Names have no spaces at their ends, as in CSV and Parquet.

use super::{
    Notebook,
    capture::{CaptureColumns, LABEL, mismatch},
    envelope::{Content, Layout, Reading, Source},
};
use crate::{
    findings::Kind,
    sink::{IGNORED_COLUMN, Sink},
};
use analysis::TooManyColumns;
use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, SeqAccess, Visitor},
};
use std::fmt;

/// Value that is neither a list nor an object.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Cell {
    Null,
    Bool(bool),
    Integer(i64),
    Double(f64),
    Text(String),
}

/// Name of a column of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Name {
    Key(String),
    /// No name, but an index.
    At(usize),
}

/// Cells of a record, in order.
pub(crate) type Record = Vec<(Name, Cell)>;

/// JSON with its keys in order.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Tree {
    Leaf(Cell),
    List(Vec<Tree>),
    Object(Vec<(String, Tree)>),
}

impl Tree {
    pub(super) fn from_unsigned(value: u64) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "no integer of 64 bits holds it")]
        let double = value as f64;
        Self::Leaf(i64::try_from(value).map_or(Cell::Double(double), Cell::Integer))
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Json;

        impl<'de> Visitor<'de> for Json {
            type Value = Tree;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("JSON")
            }

            fn visit_unit<E>(self) -> Result<Tree, E> {
                Ok(Tree::Leaf(Cell::Null))
            }

            fn visit_bool<E>(self, value: bool) -> Result<Tree, E> {
                Ok(Tree::Leaf(Cell::Bool(value)))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Tree, E> {
                Ok(Tree::Leaf(Cell::Integer(value)))
            }

            fn visit_u64<E>(self, value: u64) -> Result<Tree, E> {
                Ok(Tree::from_unsigned(value))
            }

            fn visit_f64<E>(self, value: f64) -> Result<Tree, E> {
                Ok(Tree::Leaf(Cell::Double(value)))
            }

            fn visit_str<E>(self, value: &str) -> Result<Tree, E> {
                Ok(Tree::Leaf(match value.strip_prefix(CONSTANT_PREFIX) {
                    Some("NaN") => Cell::Double(f64::NAN),
                    Some("Infinity") => Cell::Double(f64::INFINITY),
                    Some("-Infinity") => Cell::Double(f64::NEG_INFINITY),
                    _ => Cell::Text(value.to_owned()),
                }))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Tree, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = list.next_element()? {
                    items.push(item);
                }
                Ok(Tree::List(items))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tree, A::Error> {
                let mut entries: Vec<(String, Tree)> = Vec::new();
                while let Some(mut entry) = map.next_entry::<String, Tree>()? {
                    if entry.0.trim().len() < entry.0.len() {
                        entry.0 = String::from(entry.0.trim());
                    }
                    if entries.len() < 64 && entries.iter().any(|(key, _)| *key == entry.0) {
                        return Err(A::Error::custom(format!("the key `{}` occurs twice", entry.0)));
                    }
                    entries.push(entry);
                }
                if is_sparse(&entries) {
                    return Err(A::Error::custom(
                        "sparse records (`keys`, `shape`, `values`) are not supported: capture dense records",
                    ));
                }
                Ok(Tree::Object(entries))
            }
        }

        deserializer.deserialize_any(Json)
    }
}

/// Values of a JSON string, which may contain several in a row. `NaN`, `Infinity`, and `-Infinity` are not JSON, but
/// Python writes them: they are numbers that are not finite.
pub(super) fn trees(text: &[u8]) -> Result<Vec<Tree>, serde_json::Error> {
    let plain = |text: &[u8]| {
        serde_json::Deserializer::from_slice(text)
            .into_iter::<Tree>()
            .collect::<Result<Vec<_>, _>>()
    };
    plain(text).or_else(|error| match quote_constants(text) {
        Some(quoted) => plain(&quoted).map_err(|_| error),
        None => Err(error),
    })
}

/// Whether an object is a sparse record of SageMaker (developer guide, page `cdf-inference`). Its values would be taken for
/// those of the first columns.
fn is_sparse(entries: &[(String, Tree)]) -> bool {
    entries.len() == 3
        && ["keys", "shape", "values"].iter().all(|wanted| {
            let mut entries = entries.iter();
            entries.any(|(key, value)| key == wanted && matches!(value, Tree::List(_)))
        })
}

/// Prefix of strings that stand for a constant. Strings in data do not start like this.
const CONSTANT_PREFIX: &str = "\u{0}driftwarden:";

/// Input with Python's constants as strings, if there are any outside of strings.
fn quote_constants(text: &[u8]) -> Option<Vec<u8>> {
    let mut quoted = Vec::with_capacity(text.len() + 64);
    let (mut rest, mut found) = (text, false);
    while let Some(byte) = rest.first() {
        let constant = ["NaN", "Infinity", "-Infinity"]
            .into_iter()
            .find(|constant| rest.starts_with(constant.as_bytes()));
        let taken = if let Some(constant) = constant {
            found = true;
            quoted.extend_from_slice(format!("\"\\u0000driftwarden:{constant}\"").as_bytes());
            rest = rest.get(constant.len()..).unwrap_or_default();
            continue;
        } else if *byte == b'"' {
            // Find the closing quote that is not escaped.
            let (mut at, mut escaped) = (1, false);
            while let Some(byte) = rest.get(at) {
                at += 1;
                if *byte == b'"' && !escaped {
                    break;
                }
                escaped = *byte == b'\\' && !escaped;
            }
            at
        } else {
            1
        };
        let (text, behind) = rest.split_at_checked(taken)?;
        quoted.extend_from_slice(text);
        rest = behind;
    }
    found.then_some(quoted)
}

/// Whether the first line only begins a JSON value that continues in the next.
pub(crate) fn is_spread_out(bytes: &[u8]) -> bool {
    let mut lines = bytes.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    lines
        .find(|line| !line.is_empty())
        .is_some_and(|line| matches!(line, b"{" | b"["))
}

/// Whether some bytes begin like a manifest of a transform or processing job: `[{"prefix": "s3://…"}, "file", …]` (API,
/// `S3DataSource`).
pub(crate) fn is_manifest(bytes: &[u8]) -> bool {
    let Some(items) = bytes.trim_ascii_start().strip_prefix(b"[") else {
        return false;
    };
    let mut items = serde_json::Deserializer::from_slice(items).into_iter::<Tree>();
    let Some(Ok(Tree::Object(entries))) = items.next() else {
        return false;
    };
    matches!(entries.as_slice(), [(key, Tree::Leaf(Cell::Text(_)))] if key == "prefix")
}

/// Number of cells of the first record.
pub(super) fn width(bytes: &[u8]) -> usize {
    let records = |line| Content::from_json(line, Source::File).map(Content::into_natural_records);
    let mut lines = bytes.split(|byte| *byte == b'\n').filter_map(|line| records(line).ok());
    lines.find_map(|records| Some(records.first()?.len())).unwrap_or(0)
}

/// Columns of one part, with their names and indices, in the order of the last record.
#[derive(Default)]
pub(super) struct Columns {
    known: Vec<(String, usize)>,
    /// Number of the record, starting at 1, that last gave the column at an index a value.
    given: Vec<u64>,
    records: u64,
}

impl Columns {
    /// Passes the cells of a record of a line on to the sink. A column that occurs twice keeps its first value.
    pub(super) fn put<S: Sink>(
        &mut self,
        sink: &mut S,
        line: u64,
        cells: impl Iterator<Item = (String, Cell)>,
        notebook: &mut Notebook,
    ) -> Result<(), TooManyColumns> {
        self.records += 1;
        for (at, (name, cell)) in cells.enumerate() {
            let place = match self.known.get(at) {
                Some((known, place)) if *known == name => *place,
                _ => {
                    let place = sink.column(&name)?;
                    if at < self.known.len() {
                        self.known.truncate(at);
                    }
                    self.known.push((name.clone(), place));
                    place
                }
            };
            if place == IGNORED_COLUMN {
                continue;
            }
            if self.given.len() <= place {
                self.given.resize(place + 1, 0);
            }
            if let Some(given) = self.given.get_mut(place) {
                if *given == self.records {
                    notebook.note(Kind::TwoValues, line, Some(&name), || {
                        "the record has two values for this column: the first one is used".to_owned()
                    });
                    continue;
                }
                *given = self.records;
            }
            put(sink, place, &name, &cell, line, notebook);
        }
        sink.rows(1);
        Ok(())
    }
}

fn put<S: Sink>(sink: &mut S, place: usize, name: &str, cell: &Cell, line: u64, notebook: &mut Notebook) {
    let odd = match cell {
        Cell::Null => {
            sink.null(place);
            None
        }
        Cell::Bool(value) => sink.text(place, if *value { b"true" } else { b"false" }),
        Cell::Integer(value) => {
            sink.integer(place, *value);
            None
        }
        Cell::Double(value) => sink.double(place, *value),
        Cell::Text(text) if text.is_empty() => {
            sink.null(place);
            None
        }
        Cell::Text(text) => sink.text(place, text.as_bytes()),
    };
    if let Some(issue) = odd {
        let text = match cell {
            Cell::Text(text) => text.clone(),
            Cell::Double(value) => format!("{value}"),
            other => format!("{other:?}"),
        };
        notebook.note_issue(issue, line, name, text.as_bytes());
    }
}

/// Number of lines from which the layout of a file is determined.
pub(super) const LAYOUT_LINES: usize = 32;

/// How to read a file.
pub(super) struct Plan {
    /// Columns of the baseline.
    expected: Vec<String>,
    /// Labels, for the output of a transform job.
    wanted: CaptureColumns,
    /// Layout of lines that have several readings.
    layout: Option<Layout>,
}

/// Key of the inference ID in the output of a transform job (API, `DataCaptureConfig.GenerateInferenceId`).
const INFERENCE_ID: &str = "SageMakerInferenceId";

impl Plan {
    /// Determines how to read a file from its first lines.
    pub(super) fn new(expected: &[String], wanted: &CaptureColumns, bytes: &[u8]) -> Self {
        let mut plan = Self {
            expected: expected.to_vec(),
            wanted: wanted.clone(),
            layout: None,
        };
        if !expected.is_empty() {
            let lines = bytes.split(|byte| *byte == b'\n').take(LAYOUT_LINES);
            let contents = lines.filter_map(|line| Content::from_json(line, Source::File).ok());
            let mut totals: Vec<(Layout, usize)> = Vec::new();
            for layout in contents.filter_map(|content| plan.select(&content)) {
                match totals.iter_mut().find(|(known, _)| *known == layout) {
                    Some((_, lines)) => *lines += 1,
                    None => totals.push((layout, 1)),
                }
            }
            let most = totals.iter().rev().max_by_key(|(_, lines)| *lines);
            plan.layout = most.map(|(layout, _)| *layout);
        }
        plan
    }

    /// Records of a line.
    fn records(&self, content: Content) -> Vec<Record> {
        // Most lines are an object without lists: there is nothing to select.
        let content = match content.into_plain_record() {
            Ok(record) => return vec![record],
            Err(content) => content,
        };
        let layout = self.select(&content);
        layout.map_or(Vec::new(), |layout| content.into_records(layout))
    }

    /// Selects the reading whose columns are most similar to the baseline's. Lines of a file are read alike, if possible.
    fn select(&self, content: &Content) -> Option<Layout> {
        let readings = content.readings(&self.expected);
        let first = readings.first()?;
        if self.expected.is_empty() || readings.len() == 1 {
            return Some(first.layout);
        }
        let is_decided = |reading: &&Reading| Some(reading.layout) == self.layout;
        if let Some(decided) = readings.iter().find(is_decided) {
            return Some(decided.layout);
        }
        let cost = |reading: &&Reading| {
            let records = content.clone().into_records(reading.layout);
            let names = records.into_iter().next().unwrap_or_default();
            let names: Vec<String> = self.named(names).map(|(name, _)| name).collect();
            (mismatch(&names, &self.expected), reading.cost)
        };
        readings.iter().min_by_key(cost).map(|reading| reading.layout)
    }

    /// Names the cells of a record. Cells without a name get the names of the baseline if their number is the same.
    fn named(&self, record: Record) -> impl Iterator<Item = (String, Cell)> {
        let aligned = record.len() == self.expected.len();
        record.into_iter().map(move |(name, cell)| match name {
            Name::Key(key) => (key, cell),
            Name::At(at) => {
                let expected = self.expected.get(at).filter(|_| aligned);
                (expected.cloned().unwrap_or_else(|| format!("_c{at}")), cell)
            }
        })
    }

    /// Adds the label to a record of a transform job. Returns whether to keep the record.
    fn label(&self, record: &mut Record) -> bool {
        let Some(truth) = &self.wanted.ground_truth else {
            return true;
        };
        let id = record.iter().find_map(|(name, cell)| match (name, cell) {
            (Name::Key(key), Cell::Text(id)) if key == INFERENCE_ID => Some(id.as_str()),
            _ => None,
        });
        let Some(id) = id else { return true };
        match truth.label(id) {
            Some([label]) => {
                record.push((Name::Key(LABEL.to_owned()), label.clone()));
                true
            }
            Some(_) => false,
            None => self.wanted.unlabeled,
        }
    }
}

/// Reads the lines of a block. Returns their number.
pub(super) fn read<S: Sink>(
    sink: &mut S,
    plan: &Plan,
    bytes: &[u8],
    notebook: &mut Notebook,
) -> Result<u64, TooManyColumns> {
    let mut columns = Columns::default();
    let mut lines = 0;
    for line in bytes.split(|byte| *byte == b'\n') {
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        match Content::from_json(line, Source::File) {
            Ok(content) => {
                for mut record in plan.records(content) {
                    if plan.label(&mut record) {
                        columns.put(sink, lines, plan.named(record), notebook)?;
                    } else {
                        notebook.incomplete += 1;
                    }
                }
            }
            Err(error) => {
                notebook.note(Kind::Unreadable, lines, None, || format!("the line is {error}"));
                sink.rows(1);
            }
        }
        lines += 1;
    }
    Ok(lines)
}
