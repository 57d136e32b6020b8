//! Turns the content of a request, a response, a label, or a line of a file into records.
//!
//! Frameworks wrap the same records in different envelopes: TensorFlow Serving, MLflow, pandas, scikit-learn, Hugging Face,
//! KServe, and SageMaker's containers. Content often has several readings: `[0, 1, 1]` is one record with three cells, or
//! three records. [`Content::readings`] lists them, the most natural one first. The caller selects the reading that fits
//! the other side of the request and the columns of the baseline.
//!
//! A cell gets a name only from the content. Cells without a name are aligned by position, which the caller decides.

use super::{
    csv,
    json::{Cell, Name, Record, Tree, trees},
};
use crate::split::leaves_quote_open;
use analysis::classify;
use serde_json::error::Category;
use std::collections::BTreeSet;

/// Keys that contain the records: of TensorFlow Serving, MLflow, KServe, and SageMaker's containers.
const ENVELOPES: [&str; 7] = [
    "instances",
    "predictions",
    "records",
    "inputs",
    "outputs",
    "dataframe_records",
    "dataframe_split",
];

/// Keys beside an envelope that describe the request. Their values are not data.
const METADATA: [&str; 6] = [
    "signature_name",
    "model_name",
    "model_version",
    "params",
    "parameters",
    "options",
];

/// Whether the name is a key whose records have no names: `predictions` is the response itself.
pub(crate) fn is_envelope(name: &str) -> bool {
    ENVELOPES.contains(&name)
}

/// Origin of content. It determines which reading is the most natural.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// Line of a JSON Lines file, which usually has one record.
    File,
    /// Request, response, or label, which can have any number of records.
    Message,
}

/// Content before a reading was selected.
#[derive(Debug, Clone)]
pub(crate) enum Content {
    /// Lines of CSV, with cells that have no names.
    Csv(Vec<Record>),
    /// JSON values in a row: usually one, several in JSON Lines.
    Json(Vec<Tree>, Source),
}

/// How content is divided into records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// Every line is a record.
    Lines,
    /// Every line is a record, and the first line has the names.
    NamedLines,
    /// Every cell of the only line is a record.
    CellsOfLine,
    /// The value is one record.
    Record,
    /// The value is one record, although it contains lists that could be records.
    Nested,
    /// Every item of the list is a record.
    Items,
    /// Every key is a column, with one value for each record.
    Columns,
    /// Every key is the index of a record (pandas, orient `index`).
    Index,
    /// Names and rows are separate (pandas, orient `split`).
    Split,
    /// Tensors of KServe, each a column or several.
    Tensors,
    /// The only tensor of KServe, whose columns have no names.
    Tensor,
}

/// Possible reading of content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reading {
    pub layout: Layout,
    /// Number of records.
    pub records: usize,
    /// How unusual the reading is, starting at 0.
    pub cost: usize,
}

const fn reading(layout: Layout, records: usize, cost: usize) -> Reading {
    Reading { layout, records, cost }
}

impl Content {
    /// Content of a side that was not captured.
    pub(crate) const EMPTY: Self = Self::Csv(Vec::new());

    /// Whether there are no records.
    pub(crate) fn is_empty(&self) -> bool {
        self.readings(&[]).is_empty()
    }

    pub(crate) fn from_csv(bytes: &[u8]) -> Result<Self, String> {
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
        Ok(Self::Csv(csv::Rows::new(bytes, b',').map(record).collect()))
    }

    pub(crate) fn from_json(bytes: &[u8], source: Source) -> Result<Self, String> {
        let trees = trees(bytes).map_err(|error| match error.classify() {
            Category::Data => format!("not readable: {error}"),
            Category::Io | Category::Syntax | Category::Eof => format!("not valid JSON: {error}"),
        })?;
        Ok(Self::Json(trees, source))
    }

    /// Content of a message in CSV or JSON, as its content type or its first byte shows.
    pub(crate) fn from_message(bytes: &[u8], content_type: &str) -> Result<Self, String> {
        if content_type.contains("json") || matches!(bytes.trim_ascii().first(), Some(b'{' | b'[')) {
            Self::from_json(bytes, Source::Message)
        } else if bytes.starts_with(b"\x93NUMPY") || content_type.contains("x-npy") {
            Err("a NumPy array (`npy`) is not supported: expected CSV or JSON".to_owned())
        } else if std::str::from_utf8(bytes).is_ok() {
            Self::from_csv(bytes)
        } else {
            Err(format!(
                "unsupported content type `{content_type}`: expected CSV or JSON"
            ))
        }
    }

    /// Readings that give at least one record, the most natural one first. `expected` are the columns of the baseline.
    pub(crate) fn readings(&self, expected: &[String]) -> Vec<Reading> {
        let mut readings = match self {
            Self::Csv(rows) => csv_readings(rows, expected),
            Self::Json(trees, source) => match trees.as_slice() {
                [tree] => json_readings(tree, *source),
                trees => {
                    let records = trees
                        .iter()
                        .filter_map(|tree| json_readings(tree, *source).first().copied());
                    vec![reading(Layout::Lines, records.map(|reading| reading.records).sum(), 0)]
                }
            },
        };
        readings.retain(|reading| reading.records > 0);
        readings.sort_by_key(|reading| reading.cost);
        readings
    }

    /// Records of one of the readings.
    pub(crate) fn into_records(self, layout: Layout) -> Vec<Record> {
        match (self, layout) {
            (Self::Csv(rows), Layout::NamedLines) => named_lines(rows),
            (Self::Csv(rows), Layout::CellsOfLine) => {
                let cells = rows.into_iter().flatten();
                cells.map(|(_, cell)| vec![(Name::At(0), cell)]).collect()
            }
            (Self::Csv(rows), _) => rows,
            (Self::Json(trees, source), Layout::Lines) => {
                let natural = |tree: Tree| {
                    let first = json_readings(&tree, source).first().copied();
                    first.map_or(Vec::new(), |reading| json_records(tree, reading.layout, source))
                };
                trees.into_iter().flat_map(natural).collect()
            }
            (Self::Json(trees, source), layout) => {
                let records = trees.into_iter().map(|tree| json_records(tree, layout, source));
                records.flatten().collect()
            }
        }
    }

    /// Converts a single object without lists and objects to a record; otherwise, returns the content.
    pub(crate) fn into_plain_record(self) -> Result<Record, Self> {
        let is_plain = match &self {
            Self::Json(trees, _) => {
                matches!(trees.as_slice(), [Tree::Object(entries)] if entries.iter().all(|(_, value)| is_leaf(value)))
            }
            Self::Csv(_) => false,
        };
        match self {
            Self::Json(mut trees, _) if is_plain => Ok(trees.pop().map_or(Record::new(), record)),
            content => Err(content),
        }
    }

    /// Records of the most natural reading.
    pub(crate) fn into_natural_records(self) -> Vec<Record> {
        let first = self.readings(&[]).first().copied();
        first.map_or(Vec::new(), |reading| self.into_records(reading.layout))
    }

    /// Values of labels, one for each record.
    ///
    /// # Errors
    /// Fails if no reading has exactly one value for each record.
    pub(crate) fn into_labels(self) -> Result<Vec<Cell>, String> {
        let readings = self.readings(&[]);
        let mut widest = 0;
        for reading in readings {
            let records = self.clone().into_records(reading.layout);
            match records.iter().find(|record| record.len() != 1) {
                Some(record) => widest = widest.max(record.len()),
                None => return Ok(records.into_iter().flatten().map(|(_, cell)| cell).collect()),
            }
        }
        match widest {
            0 => Ok(Vec::new()),
            values => Err(format!("a label has {values} values: expected one")),
        }
    }
}

/// Whether a cell of CSV contains a number.
fn is_number(cell: &Cell) -> bool {
    matches!(cell, Cell::Text(text) if classify(text.as_bytes()).0.is_number())
}

fn csv_readings(rows: &[Record], expected: &[String]) -> Vec<Reading> {
    let Some((first, others)) = rows.split_first() else {
        return Vec::new();
    };
    let count = rows.len();
    if others.is_empty() {
        // The answers of several records can be the cells of one line.
        let cells = (first.len() > 1).then(|| reading(Layout::CellsOfLine, first.len(), 4));
        return std::iter::once(reading(Layout::Lines, 1, 0)).chain(cells).collect();
    }
    let mut names = BTreeSet::new();
    let could_be_names = first.iter().all(|(_, cell)| match cell {
        Cell::Text(text) => !is_number(cell) && !text.trim().is_empty() && names.insert(text.trim()),
        _ => false,
    });
    let are_expected = || names.iter().all(|name| expected.iter().any(|column| column == name));
    let is_above_numbers = |at: usize| {
        let mut column = others
            .iter()
            .filter_map(|row| row.get(at).map(|(_, cell)| cell))
            .filter(|cell| **cell != Cell::Null)
            .peekable();
        column.peek().is_some() && column.all(is_number)
    };
    if could_be_names && (are_expected() || (0..first.len()).any(is_above_numbers)) {
        vec![
            reading(Layout::NamedLines, count - 1, 0),
            reading(Layout::Lines, count, 1),
        ]
    } else {
        vec![reading(Layout::Lines, count, 0)]
    }
}

fn named_lines(rows: Vec<Record>) -> Vec<Record> {
    let mut rows = rows.into_iter();
    let names: Vec<Name> = rows
        .next()
        .into_iter()
        .flatten()
        .map(|(at, cell)| match cell {
            Cell::Text(name) => Name::Key(name.trim().to_owned()),
            _ => at,
        })
        .collect();
    let with_names = |row: Record| {
        let cells = row.into_iter().enumerate();
        cells
            .map(|(at, (place, cell))| (names.get(at).cloned().unwrap_or(place), cell))
            .collect()
    };
    rows.map(with_names).collect()
}

fn is_leaf(tree: &Tree) -> bool {
    matches!(tree, Tree::Leaf(_))
}

/// Whether all keys are numbers: the index of a pandas data frame.
fn has_index(entries: &[(String, Tree)]) -> bool {
    let is_index = |(key, _): &(String, Tree)| !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_digit());
    !entries.is_empty() && entries.iter().all(is_index)
}

/// Position of the value that contains the records.
fn payload_at(entries: &[(String, Tree)], source: Source) -> Option<usize> {
    let is_tensors = |(key, value): &(String, Tree)| {
        matches!(key.as_str(), "inputs" | "outputs")
            && matches!(value, Tree::List(items) if tensor_rows(items).is_some())
    };
    if let Some(at) = entries.iter().position(is_tensors) {
        return Some(at);
    }
    let is_data = |(key, value): &(String, Tree)| {
        let is_metadata = METADATA.contains(&key.as_str()) || source == Source::Message && is_leaf(value);
        !is_metadata
    };
    let mut data = entries.iter().enumerate().filter(|(_, entry)| is_data(entry));
    match (data.next(), data.next()) {
        (Some((at, (key, value))), None) if is_envelope(key) && !is_leaf(value) => Some(at),
        _ => None,
    }
}

/// Number of records if every list is a column. Values that are not lists apply to no record.
fn column_records(entries: &[(String, Tree)]) -> Option<usize> {
    let mut records = None;
    for (_, value) in entries {
        let length = match value {
            Tree::Leaf(_) => continue,
            Tree::List(items) => items.len(),
            Tree::Object(items) if has_index(items) => items.len(),
            Tree::Object(_) => return None,
        };
        if *records.get_or_insert(length) != length {
            return None;
        }
    }
    records.filter(|records| *records > 0)
}

/// Number of rows in pandas' orient `split`.
fn split_records(entries: &[(String, Tree)]) -> Option<usize> {
    let list = |wanted: &str| {
        entries.iter().find_map(|(key, value)| match value {
            Tree::List(items) if key == wanted => Some(items),
            _ => None,
        })
    };
    let (columns, data) = (list("columns")?, list("data")?);
    let known = |(key, _): &(String, Tree)| matches!(key.as_str(), "columns" | "data" | "index");
    let is_row = |row: &Tree| matches!(row, Tree::List(cells) if cells.len() == columns.len());
    (entries.iter().all(known) && columns.iter().all(is_leaf) && data.iter().all(is_row)).then_some(data.len())
}

/// Number of records of KServe's tensors, whose first dimension is the record.
fn tensor_rows(items: &[Tree]) -> Option<usize> {
    let mut records = None;
    for item in items {
        let Tree::Object(entries) = item else { return None };
        let value = |wanted: &str| entries.iter().find(|(key, _)| key == wanted).map(|(_, value)| value);
        let (Some(Tree::Leaf(Cell::Text(_))), Some(Tree::List(shape)), Some(Tree::List(data))) =
            (value("name"), value("shape"), value("data"))
        else {
            return None;
        };
        let Some(Tree::Leaf(Cell::Integer(rows))) = shape.first() else {
            return None;
        };
        let rows = usize::try_from(*rows).ok().filter(|rows| *rows > 0)?;
        // Content can state any shape. At least one value for each record bounds the number of records.
        let values = count_leaves(data);
        if *records.get_or_insert(rows) != rows || values < rows || !values.is_multiple_of(rows) {
            return None;
        }
    }
    records
}

fn count_leaves(items: &[Tree]) -> usize {
    let count = |item: &Tree| match item {
        Tree::Leaf(_) => 1,
        Tree::List(items) => count_leaves(items),
        Tree::Object(_) => 0,
    };
    items.iter().map(count).sum()
}

fn json_readings(tree: &Tree, source: Source) -> Vec<Reading> {
    let mut readings = match tree {
        Tree::Leaf(_) => vec![reading(Layout::Record, 1, 0)],
        Tree::List(items) => list_readings(items, Layout::Record),
        Tree::Object(entries) if entries.iter().all(|(_, value)| is_leaf(value)) => {
            vec![reading(Layout::Record, 1, 0)]
        }
        Tree::Object(entries) => match payload_at(entries, source).and_then(|at| entries.get(at)) {
            Some((key, Tree::List(items))) => payload_readings(key, items, source),
            Some((_, Tree::Object(inner))) => object_readings(inner, source),
            _ => object_readings(entries, source),
        },
    };
    readings.sort_by_key(|reading| reading.cost);
    readings
}

/// Readings of a list, of which `natural` is the most natural one if no item is a list or an object.
fn list_readings(items: &[Tree], natural: Layout) -> Vec<Reading> {
    let count = items.len();
    if items.iter().all(is_leaf) {
        let (record, each) = if natural == Layout::Record { (0, 1) } else { (1, 0) };
        // An empty list has no record, not a record without cells.
        return vec![
            reading(Layout::Record, count.min(1), record),
            reading(Layout::Items, count, each),
        ];
    }
    let mut readings = vec![reading(Layout::Items, count, 0)];
    if count > 1 {
        readings.push(reading(Layout::Nested, 1, if is_scores(items) { 1 } else { 3 }));
    }
    readings
}

fn payload_readings(key: &str, items: &[Tree], source: Source) -> Vec<Reading> {
    if let Some(records) = tensor_rows(items) {
        // The columns of several tensors have names. The rows of a single one usually have not.
        let (named, unnamed) = if items.len() > 1 { (0, 0) } else { (1, 1) };
        let mut readings = vec![reading(Layout::Tensors, records, named)];
        if unnamed > 0 {
            readings.push(reading(Layout::Tensor, records, 0));
        }
        return readings;
    }
    let natural = match key {
        "inputs" | "outputs" if source == Source::File => Layout::Record,
        _ => Layout::Items,
    };
    let mut readings = list_readings(items, natural);
    readings.push(reading(Layout::Columns, items.len(), 3));
    readings
}

fn object_readings(entries: &[(String, Tree)], source: Source) -> Vec<Reading> {
    if let Some(records) = split_records(entries) {
        return vec![reading(Layout::Split, records, 0), reading(Layout::Nested, 1, 4)];
    }
    let is_object = |value: &Tree| matches!(value, Tree::Object(_));
    if has_index(entries) && entries.iter().all(|(_, value)| is_object(value)) {
        return vec![reading(Layout::Index, entries.len(), 0), reading(Layout::Nested, 1, 3)];
    }
    let one = vec![reading(Layout::Record, 1, 0)];
    let Some(records) = column_records(entries) else {
        return one;
    };
    let mut nested = entries.iter().filter(|(_, value)| !is_leaf(value));
    match (nested.next(), nested.next(), source) {
        (Some((_, Tree::List(items))), None, _) if items.iter().all(is_leaf) => {
            let columns = if entries.len() == 1 { 1 } else { 2 };
            vec![
                reading(Layout::Record, 1, 0),
                reading(Layout::Columns, records, columns),
                reading(Layout::Items, records, columns + 1),
            ]
        }
        (Some((_, Tree::List(items))), None, _) if entries.len() == 1 => {
            let mut readings = list_readings(items, Layout::Items);
            readings.push(reading(Layout::Columns, records, 4));
            readings
        }
        (Some((_, Tree::List(_))), None, Source::Message) => {
            vec![reading(Layout::Items, records, 0), reading(Layout::Nested, 1, 1)]
        }
        (Some((_, Tree::List(_))), None, Source::File) => {
            vec![reading(Layout::Nested, 1, 0), reading(Layout::Items, records, 1)]
        }
        (Some(_), Some(_), Source::File) if !entries.iter().any(|(_, value)| is_object(value)) => {
            vec![reading(Layout::Nested, 1, 0), reading(Layout::Columns, records, 1)]
        }
        (Some(_), ..) => vec![reading(Layout::Columns, records, 0), reading(Layout::Nested, 1, 3)],
        (None, ..) => one,
    }
}

/// Value that contains the records in a layout.
fn unwrap(tree: Tree, layout: Layout, source: Source) -> Tree {
    let Tree::Object(mut entries) = tree else { return tree };
    let payload = payload_at(&entries, source).filter(|at| {
        // The columns of a list have the name of its key.
        layout != Layout::Columns || !matches!(entries.get(*at), Some((_, Tree::List(_))))
    });
    let list = || entries.iter().position(|(_, value)| matches!(value, Tree::List(_)));
    let at = payload.or_else(|| if layout == Layout::Items { list() } else { None });
    match at {
        Some(at) if at < entries.len() => entries.swap_remove(at).1,
        _ => Tree::Object(entries),
    }
}

fn json_records(tree: Tree, layout: Layout, source: Source) -> Vec<Record> {
    match (unwrap(tree, layout, source), layout) {
        (Tree::List(items), Layout::Items) => items.into_iter().map(record).collect(),
        (Tree::List(items), Layout::Tensors) => tensor_records(items, true),
        (Tree::List(items), Layout::Tensor) => tensor_records(items, false),
        (Tree::Object(entries), Layout::Columns) => column_rows(entries),
        (Tree::Object(entries), Layout::Index) => entries.into_iter().map(|(_, row)| record(row)).collect(),
        (Tree::Object(entries), Layout::Split) => split_rows(entries),
        (tree, _) => vec![record(tree)],
    }
}

/// Items of a list, or values of an object in their order.
fn into_items(tree: Tree) -> Option<Vec<Tree>> {
    match tree {
        Tree::Leaf(_) => None,
        Tree::List(items) => Some(items),
        Tree::Object(entries) => Some(entries.into_iter().map(|(_, item)| item).collect()),
    }
}

fn column_rows(entries: Vec<(String, Tree)>) -> Vec<Record> {
    let mut rows: Vec<Record> = Vec::new();
    for (name, values) in entries {
        for (at, value) in into_items(values).into_iter().flatten().enumerate() {
            if rows.len() <= at {
                rows.push(Record::new());
            }
            if let Some(row) = rows.get_mut(at) {
                flatten(name.clone(), value, row);
            }
        }
    }
    rows
}

fn split_rows(entries: Vec<(String, Tree)>) -> Vec<Record> {
    let (mut columns, mut data) = (Vec::new(), Vec::new());
    for (key, value) in entries {
        match (key.as_str(), value) {
            ("columns", Tree::List(names)) => columns = names,
            ("data", Tree::List(rows)) => data = rows,
            _ => {}
        }
    }
    let names: Vec<Option<String>> = columns
        .into_iter()
        .map(|name| match name {
            Tree::Leaf(Cell::Text(name)) => Some(name.trim().to_owned()),
            // pandas numbers the columns of an array.
            _ => None,
        })
        .collect();
    let row = |row: Tree| {
        let mut record = Record::new();
        for (at, cell) in into_items(row).into_iter().flatten().enumerate() {
            match (names.get(at).cloned().flatten(), cell) {
                (Some(name), cell) => flatten(name, cell, &mut record),
                (None, Tree::Leaf(cell)) => record.push((Name::At(at), cell)),
                (None, nested) => flatten(format!("_c{at}"), nested, &mut record),
            }
        }
        record
    };
    data.into_iter().map(row).collect()
}

fn tensor_records(items: Vec<Tree>, named: bool) -> Vec<Record> {
    let Some(count) = tensor_rows(&items) else {
        return Vec::new();
    };
    let mut rows = vec![Record::new(); count];
    for item in items {
        let Tree::Object(entries) = item else { continue };
        let (mut name, mut cells) = (String::new(), Vec::new());
        for (key, value) in entries {
            match (key.as_str(), value) {
                ("name", Tree::Leaf(Cell::Text(text))) => text.trim().clone_into(&mut name),
                ("data", data) => leaves(data, &mut cells),
                _ => {}
            }
        }
        let width = cells.len() / count;
        for (at, cell) in cells.into_iter().enumerate() {
            let (row, column) = (at / width.max(1), at % width.max(1));
            let name = match (named, width) {
                (false, _) => Name::At(column),
                (true, 1) => Name::Key(name.clone()),
                (true, _) => Name::Key(format!("{name}_{column}")),
            };
            if let Some(row) = rows.get_mut(row) {
                row.push((name, cell));
            }
        }
    }
    rows
}

fn leaves(tree: Tree, cells: &mut Vec<Cell>) {
    match tree {
        Tree::Leaf(cell) => cells.push(cell),
        nested => {
            for item in into_items(nested).into_iter().flatten() {
                leaves(item, cells);
            }
        }
    }
}

/// Label and score of an object that has exactly these, as Hugging Face writes them.
fn score(tree: &Tree) -> Option<(&str, f64)> {
    let Tree::Object(entries) = tree else { return None };
    let (mut label, mut score) = (None, None);
    for (key, value) in entries {
        match (key.as_str(), value) {
            ("label", Tree::Leaf(Cell::Text(text))) => label = Some(text.as_str()),
            ("score", Tree::Leaf(Cell::Double(value))) => score = Some(*value),
            #[expect(clippy::cast_precision_loss, reason = "a score is between 0 and 1")]
            ("score", Tree::Leaf(Cell::Integer(value))) => score = Some(*value as f64),
            _ => return None,
        }
    }
    label.zip(score)
}

/// Whether the items are the scores of different labels.
fn is_scores(items: &[Tree]) -> bool {
    let mut labels = BTreeSet::new();
    items.len() > 1
        && items
            .iter()
            .all(|item| score(item).is_some_and(|(label, _)| labels.insert(label)))
}

/// Record of the scores of one input: the best label, its score, and the score of each label.
fn scores_record(items: &[Tree]) -> Record {
    let mut record = Record::new();
    let scores: Vec<(&str, f64)> = items.iter().filter_map(score).collect();
    if let Some((label, best)) = scores.iter().copied().max_by(|a, b| a.1.total_cmp(&b.1)) {
        record.push((Name::Key("label".to_owned()), Cell::Text(label.to_owned())));
        record.push((Name::Key("score".to_owned()), Cell::Double(best)));
    }
    for (label, score) in scores {
        record.push((Name::Key(format!("score_{label}")), Cell::Double(score)));
    }
    record
}

/// Converts a value to a record. A list alone, or alone in an object, gives columns without names.
pub(super) fn record(tree: Tree) -> Record {
    match tree {
        Tree::Leaf(cell) => vec![(Name::At(0), cell)],
        Tree::List(items) if is_scores(&items) => scores_record(&items),
        Tree::List(items) => cells(items),
        Tree::Object(mut entries) => {
            if let [(_, Tree::List(items))] = entries.as_mut_slice() {
                return cells(std::mem::take(items));
            }
            let mut record = Vec::with_capacity(entries.len());
            for (key, tree) in entries {
                flatten(key, tree, &mut record);
            }
            record
        }
    }
}

fn cells(items: Vec<Tree>) -> Record {
    let mut record = Vec::with_capacity(items.len());
    for (at, item) in items.into_iter().enumerate() {
        match item {
            Tree::Leaf(cell) => record.push((Name::At(at), cell)),
            nested => flatten(format!("_c{at}"), nested, &mut record),
        }
    }
    record
}

fn flatten(name: String, tree: Tree, record: &mut Record) {
    match tree {
        Tree::Leaf(cell) => record.push((Name::Key(name), cell)),
        Tree::List(items) => {
            for (at, item) in items.into_iter().enumerate() {
                flatten(format!("{name}_{at}"), item, record);
            }
        }
        Tree::Object(entries) => {
            for (key, item) in entries {
                flatten(format!("{name}_{key}"), item, record);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(records: &[Record]) -> String {
        let cell = |(name, cell): &(Name, Cell)| {
            let name = match name {
                Name::Key(key) => key.clone(),
                Name::At(at) => format!("#{at}"),
            };
            let cell = match cell {
                Cell::Null => "null".to_owned(),
                Cell::Bool(value) => value.to_string(),
                Cell::Integer(value) => value.to_string(),
                Cell::Double(value) => format!("{value:?}"),
                Cell::Text(text) => format!("{text:?}"),
            };
            format!("{name}={cell}")
        };
        let rows = records
            .iter()
            .map(|record| record.iter().map(cell).collect::<Vec<_>>().join(" "));
        rows.collect::<Vec<_>>().join(" | ")
    }

    /// Records of the most natural reading with this number of records.
    fn read(content: Content, records: usize) -> String {
        let readings = content.readings(&[]);
        match readings.iter().find(|reading| reading.records == records) {
            Some(reading) => show(&content.into_records(reading.layout)),
            None => format!("{readings:?}"),
        }
    }

    #[test]
    fn natural_records_of_json_lines() {
        for (text, expected) in [
            (
                r#"{"a": 1, "b": 1.0, "c": "x", "d": null, "e": true}"#,
                r#"a=1 b=1.0 c="x" d=null e=true"#,
            ),
            (
                r#"{"b": {"z": 1, "a": [2, {"k": 3}]}, "a": 4}"#,
                "b_z=1 b_a_0=2 b_a_1_k=3 a=4",
            ),
            (
                r#"{"instances": [{"features": [28, 2]}, {"features": [43, 1]}]}"#,
                "#0=28 #1=2 | #0=43 #1=1",
            ),
            (r#"{"instances": [1.0, 2.0]}"#, "#0=1.0 | #0=2.0"),
            (r#"{"features": [1, 2]}"#, "#0=1 #1=2"),
            (r#"{"predictions": [{"score": 0.5, "label": 1}]}"#, "score=0.5 label=1"),
            ("[1, 2, 3]", "#0=1 #1=2 #2=3"),
            ("[[1, 2], [3, 4]]", "#0=1 #1=2 | #0=3 #1=4"),
            (r#"[{"a": 1}, {"a": 2}]"#, "a=1 | a=2"),
            ("{\"a\": 1}\n{\"a\": 2}\n", "a=1 | a=2"),
            (r#"{"id": 7, "vector": [1, 2]}"#, "id=7 vector_0=1 vector_1=2"),
            (r#"{"a": [1, 2], "b": [3, 4]}"#, "a_0=1 a_1=2 b_0=3 b_1=4"),
            (
                r#"{"id": 7, "items": [{"k": 1}, {"k": 2}]}"#,
                "id=7 items_0_k=1 items_1_k=2",
            ),
            (
                r#"{"id": 7, "predictions": [0.1, 0.9]}"#,
                "id=7 predictions_0=0.1 predictions_1=0.9",
            ),
            (r#"{" a ": 1, "b ": {" c": 2}}"#, "a=1 b_c=2"),
            ("0.5", "#0=0.5"),
            ("[]", ""),
            (r#"{"instances": []}"#, ""),
            (
                r#"{"a": NaN, "b": [-Infinity, "NaN, \"Infinity"], "Infinity": Infinity}"#,
                r#"a=NaN b_0=-inf b_1="NaN, \"Infinity" Infinity=inf"#,
            ),
            ("18446744073709551615", "#0=1.8446744073709552e19"),
        ] {
            let content = Content::from_json(text.as_bytes(), Source::File).unwrap();
            assert_eq!(show(&content.into_natural_records()), expected, "{text}");
        }
        for text in [
            "{\"a\": ",
            r#"{"a": 1, "a": 2}"#,
            r#"{"a": 1, " a": 2}"#,
            "NaNa",
            "{\"a\": nan}",
            "{NaN: 1",
            "\"NaN",
        ] {
            assert!(Content::from_json(text.as_bytes(), Source::File).is_err(), "{text}");
        }
    }

    #[test]
    fn envelopes_of_requests_give_rows() {
        let unnamed = "#0=30 #1=1.5 | #0=40 #1=2.5";
        let named = "age=30 income=1.5 | age=40 income=2.5";
        for (text, expected) in [
            // TensorFlow Serving.
            (r#"{"instances": [[30, 1.5], [40, 2.5]]}"#, unnamed),
            (
                r#"{"signature_name": "s", "instances": [[30, 1.5], [40, 2.5]]}"#,
                unnamed,
            ),
            (r#"{"signature_name": "s", "inputs": [[30, 1.5], [40, 2.5]]}"#, unnamed),
            (r#"{"inputs": {"age": [30, 40], "income": [1.5, 2.5]}}"#, named),
            (
                r#"{"instances": [{"age": 30, "income": 1.5}, {"age": 40, "income": 2.5}]}"#,
                named,
            ),
            // MLflow.
            (
                r#"{"dataframe_split": {"columns": ["age", "income"], "data": [[30, 1.5], [40, 2.5]]}, "params": {"t": 1}}"#,
                named,
            ),
            (
                r#"{"dataframe_records": [{"age": 30, "income": 1.5}, {"age": 40, "income": 2.5}]}"#,
                named,
            ),
            // pandas: orients split, records, columns, index, values; lists by column.
            (
                r#"{"columns": ["age", "income"], "index": [0, 1], "data": [[30, 1.5], [40, 2.5]]}"#,
                named,
            ),
            (
                r#"{"columns": [0, 1], "index": [0, 1], "data": [[30, 1.5], [40, 2.5]]}"#,
                unnamed,
            ),
            (r#"[{"age": 30, "income": 1.5}, {"age": 40, "income": 2.5}]"#, named),
            (r#"{"age": {"0": 30, "1": 40}, "income": {"0": 1.5, "1": 2.5}}"#, named),
            (
                r#"{"0": {"age": 30, "income": 1.5}, "1": {"age": 40, "income": 2.5}}"#,
                named,
            ),
            (r"[[30, 1.5], [40, 2.5]]", unnamed),
            (r#"{"age": [30, 40], "income": [1.5, 2.5]}"#, named),
            (r#"{"model": "m", "age": [30, 40], "income": [1.5, 2.5]}"#, named),
            // KServe, version 2.
            (
                r#"{"id": "1", "inputs": [{"name": "x", "shape": [2, 2], "datatype": "FP32", "data": [30, 1.5, 40, 2.5]}], "outputs": [{"name": "p"}]}"#,
                unnamed,
            ),
            (
                r#"{"inputs": [{"name": "age", "shape": [2], "datatype": "FP32", "data": [30, 40]}, {"name": "income", "shape": [2, 1], "datatype": "FP32", "data": [[1.5], [2.5]]}]}"#,
                named,
            ),
            // Records beside metadata.
            (
                r#"{"model": "m", "rows": [{"age": 30, "income": 1.5}, {"age": 40, "income": 2.5}]}"#,
                named,
            ),
            // JSON Lines.
            ("{\"features\": [30, 1.5]}\n{\"features\": [40, 2.5]}\n", unnamed),
            (
                "{\"age\": 30, \"income\": 1.5}\n{\"age\": 40, \"income\": 2.5}\n",
                named,
            ),
        ] {
            let content = Content::from_json(text.as_bytes(), Source::Message).unwrap();
            assert_eq!(read(content, 2), expected, "{text}");
        }
    }

    #[test]
    fn envelopes_of_responses_give_answers() {
        for (text, records, expected) in [
            ("[0, 1]", 2, "#0=0 | #0=1"),
            ("[0, 1]", 1, "#0=0 #1=1"),
            (r#"{"predictions": [0, 1]}"#, 2, "#0=0 | #0=1"),
            (r#"{"predictions": [0.1, 0.9]}"#, 1, "#0=0.1 #1=0.9"),
            (
                r#"{"outputs": [[0.1, 0.9], [0.8, 0.2]]}"#,
                2,
                "#0=0.1 #1=0.9 | #0=0.8 #1=0.2",
            ),
            (r#"{"outputs": {"p": [0.1, 0.8]}}"#, 2, "p=0.1 | p=0.8"),
            (
                r#"{"value": [478046.5, 206551.0]}"#,
                2,
                "value=478046.5 | value=206551.0",
            ),
            ("[[0.1, 0.9]]", 1, "#0=0.1 #1=0.9"),
            (
                r#"{"model_name": "m", "outputs": [{"name": "p", "shape": [2], "datatype": "INT64", "data": [0, 1]}]}"#,
                2,
                "#0=0 | #0=1",
            ),
            (
                r#"{"predictions": [0, 1], "probabilities": [[0.9, 0.1], [0.2, 0.8]]}"#,
                2,
                "predictions=0 probabilities_0=0.9 probabilities_1=0.1 | predictions=1 probabilities_0=0.2 probabilities_1=0.8",
            ),
            (
                r#"{"prediction": 0, "probabilities": [0.7, 0.3]}"#,
                1,
                "prediction=0 probabilities_0=0.7 probabilities_1=0.3",
            ),
            // Hugging Face.
            (
                r#"[{"label": "A", "score": 0.5}, {"label": "A", "score": 0.75}]"#,
                2,
                r#"label="A" score=0.5 | label="A" score=0.75"#,
            ),
            (
                r#"[{"label": "A", "score": 0.25}, {"label": "B", "score": 0.75}]"#,
                1,
                r#"label="B" score=0.75 score_A=0.25 score_B=0.75"#,
            ),
            (
                r#"[[{"label": "A", "score": 0.25}, {"label": "B", "score": 0.75}]]"#,
                1,
                r#"label="B" score=0.75 score_A=0.25 score_B=0.75"#,
            ),
        ] {
            let content = Content::from_json(text.as_bytes(), Source::Message).unwrap();
            assert_eq!(read(content, records), expected, "{text}");
        }
    }

    #[test]
    fn tensor_shape_without_values_is_no_record() {
        for shape in ["[1000000000000, 2]", "[3]", "[-1, 2]", "[0]"] {
            let text = format!(r#"{{"inputs": [{{"name": "x", "shape": {shape}, "datatype": "FP32", "data": []}}]}}"#);
            let content = Content::from_json(text.as_bytes(), Source::Message).unwrap();
            assert!(
                content.readings(&[]).iter().all(|reading| reading.records == 1),
                "{text}"
            );
        }
    }

    #[test]
    fn csv_may_begin_with_names() {
        for (text, records, expected) in [
            ("1,2\n3,4\n", 2, r#"#0="1" #1="2" | #0="3" #1="4""#),
            ("a,b\n1,x\n2,y\n", 2, r#"a="1" b="x" | a="2" b="y""#),
            ("a,b\n1,x\n2,y\n", 3, r#"#0="a" #1="b" | #0="1" #1="x" | #0="2" #1="y""#),
            ("a,b\nc,d\n", 2, r#"#0="a" #1="b" | #0="c" #1="d""#),
            ("0,1,1", 3, r#"#0="0" | #0="1" | #0="1""#),
        ] {
            let content = Content::from_csv(text.as_bytes()).unwrap();
            assert_eq!(read(content, records), expected, "{text}");
        }
        let expected = ["a", "b"].map(str::to_owned);
        let content = Content::from_csv(b"a,b\nc,d\n").unwrap();
        let first = content.readings(&expected).first().copied();
        assert_eq!(first, Some(reading(Layout::NamedLines, 1, 0)));
        assert!(Content::from_message(b"\x93NUMPY\x01", "").unwrap_err().contains("npy"));
    }

    #[test]
    fn labels_have_one_value_for_each_record() {
        let labels = |content: Result<Content, String>| match content.and_then(Content::into_labels) {
            Ok(values) => show(
                &values
                    .into_iter()
                    .map(|cell| vec![(Name::At(0), cell)])
                    .collect::<Vec<_>>(),
            ),
            Err(why) => why,
        };
        for (text, expected) in [
            ("[1, 0]", "#0=1 | #0=0"),
            ("[[1], [0]]", "#0=1 | #0=0"),
            ("1", "#0=1"),
            ("true", "#0=true"),
            (r#"{"label": 1}"#, "#0=1"),
            (r#"{"label": [1, 0]}"#, "#0=1 | #0=0"),
            (r#"[{"label": 1}, {"label": 0}]"#, "#0=1 | #0=0"),
            ("{\"label\": 1}\n{\"label\": 0}", "#0=1 | #0=0"),
            (r#"{"label": 1, "weight": 2}"#, "a label has 2 values: expected one"),
            ("[]", ""),
        ] {
            let content = Content::from_json(text.as_bytes(), Source::Message);
            assert_eq!(labels(content), expected, "{text}");
        }
        for (text, expected) in [
            ("1\n0\n", r#"#0="1" | #0="0""#),
            ("label\n1\n0\n", r#"#0="1" | #0="0""#),
            ("1,0", r#"#0="1" | #0="0""#),
            ("1,0\n1,1", "a label has 2 values: expected one"),
            ("", ""),
        ] {
            assert_eq!(labels(Content::from_csv(text.as_bytes())), expected, "{text}");
        }
    }
}
