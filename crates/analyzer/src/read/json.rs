//! JSON Lines. A line is a record or a list of records. A nested value has its path as name, with `_` between the keys.

use super::Notebook;
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

/// Keys whose list has one record per item, whatever the items are (the request and response formats of SageMaker's
/// built-in containers and of TensorFlow Serving).
const LISTS_OF_RECORDS: [&str; 3] = ["instances", "predictions", "records"];

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
#[derive(Debug, PartialEq)]
pub(super) enum Tree {
    Leaf(Cell),
    List(Vec<Tree>),
    Object(Vec<(String, Tree)>),
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
                #[expect(clippy::cast_precision_loss, reason = "no integer of 64 bits holds it")]
                let double = value as f64;
                Ok(Tree::Leaf(
                    i64::try_from(value).map_or(Cell::Double(double), Cell::Integer),
                ))
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
                while let Some(entry) = map.next_entry::<String, Tree>()? {
                    if entries.len() < 64 && entries.iter().any(|(key, _)| *key == entry.0) {
                        return Err(A::Error::custom(format!("the key `{}` occurs twice", entry.0)));
                    }
                    entries.push(entry);
                }
                Ok(Tree::Object(entries))
            }
        }

        deserializer.deserialize_any(Json)
    }
}

/// Records of a JSON string, which may contain several JSON values in a row. `NaN`, `Infinity`, and `-Infinity` are not
/// JSON, but Python writes them: they are numbers that are not finite.
pub(super) fn records(text: &[u8]) -> Result<Vec<Record>, serde_json::Error> {
    plain_records(text).or_else(|error| match quote_constants(text) {
        Some(quoted) => plain_records(&quoted).map_err(|_| error),
        None => Err(error),
    })
}

fn plain_records(text: &[u8]) -> Result<Vec<Record>, serde_json::Error> {
    let mut records = Vec::new();
    for tree in serde_json::Deserializer::from_slice(text).into_iter::<Tree>() {
        unroll(tree?, &mut records);
    }
    Ok(records)
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
pub(super) fn is_spread_out(bytes: &[u8]) -> bool {
    let mut lines = bytes.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    lines
        .find(|line| !line.is_empty())
        .is_some_and(|line| matches!(line, b"{" | b"["))
}

/// Number of cells of the first record.
pub(super) fn width(bytes: &[u8]) -> usize {
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let records = lines.find_map(|line| records(line).ok().filter(|records| !records.is_empty()));
    records.and_then(|records| Some(records.first()?.len())).unwrap_or(0)
}

fn unroll(tree: Tree, records: &mut Vec<Record>) {
    match tree {
        Tree::Leaf(cell) => records.push(vec![(Name::At(0), cell)]),
        // An empty list has no record, not a record without cells.
        Tree::List(items) if items.is_empty() => {}
        Tree::List(items) if items.iter().all(|item| matches!(item, Tree::Leaf(_))) => records.push(cells(items)),
        Tree::List(items) => records.extend(items.into_iter().map(record)),
        Tree::Object(mut entries) => match entries.as_mut_slice() {
            [(key, Tree::List(items))]
                if LISTS_OF_RECORDS.contains(&key.as_str())
                    || items.iter().any(|item| !matches!(item, Tree::Leaf(_))) =>
            {
                records.extend(std::mem::take(items).into_iter().map(record));
            }
            _ => records.push(record(Tree::Object(entries))),
        },
    }
}

/// Converts a value to a record. A list alone, or alone in an object, gives columns without names.
fn record(tree: Tree) -> Record {
    match tree {
        Tree::Leaf(cell) => vec![(Name::At(0), cell)],
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

/// Reads the lines of a block. Returns their number.
pub(super) fn read<S: Sink>(sink: &mut S, bytes: &[u8], notebook: &mut Notebook) -> Result<u64, TooManyColumns> {
    let mut columns = Columns::default();
    let mut lines = 0;
    for line in bytes.split(|byte| *byte == b'\n') {
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        match records(line) {
            Ok(records) => {
                for record in records {
                    let named = record.into_iter().map(|(name, cell)| match name {
                        Name::Key(key) => (key, cell),
                        Name::At(at) => (format!("_c{at}"), cell),
                    });
                    columns.put(sink, lines, named, notebook)?;
                }
            }
            Err(error) => {
                notebook.note(Kind::Unreadable, lines, None, || {
                    format!("the line is not valid JSON: {error}")
                });
                sink.rows(1);
            }
        }
        lines += 1;
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> String {
        let records = records(text.as_bytes()).unwrap();
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

    #[test]
    fn records_are_found_in_container_formats() {
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
            ("0.5", "#0=0.5"),
            ("[]", ""),
            (r#"{"instances": []}"#, ""),
            (
                r#"{"a": NaN, "b": [-Infinity, "NaN, \"Infinity"], "Infinity": Infinity}"#,
                r#"a=NaN b_0=-inf b_1="NaN, \"Infinity" Infinity=inf"#,
            ),
            ("18446744073709551615", "#0=1.8446744073709552e19"),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
        assert!(records(b"{\"a\": ").is_err());
        assert!(records(br#"{"a": 1, "a": 2}"#).is_err());
        for text in ["NaNa", "{\"a\": nan}", "{NaN: 1", "\"NaN"] {
            assert!(records(text.as_bytes()).is_err(), "{text}");
        }
    }
}
