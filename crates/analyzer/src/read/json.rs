//! JSON Lines. A line is a record or a list of records; what is nested in a record is named by its path with `_`
//! between the keys.

use super::Notebook;
use crate::{
    findings::Kind,
    sink::{Sink, UNWANTED},
};
use analysis::TooManyColumns;
use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, SeqAccess, Visitor},
};
use std::fmt;

/// Keys whose list holds one record per item, whatever the items are (the request and response formats of SageMaker's
/// built-in containers and of TensorFlow Serving).
const LISTS_OF_RECORDS: [&str; 3] = ["instances", "predictions", "records"];

/// A value that is no list and no object.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Cell {
    Null,
    Bool(bool),
    Integer(i64),
    Double(f64),
    Text(String),
}

/// What a column of a record is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Name {
    Key(String),
    /// It has none, but a place.
    At(usize),
}

/// The cells of a record, in their order.
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
                Ok(Tree::Leaf(Cell::Text(value.to_owned())))
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

/// The records of a JSON text, which may be several texts behind one another.
pub(super) fn records(text: &[u8]) -> Result<Vec<Record>, serde_json::Error> {
    let mut records = Vec::new();
    for tree in serde_json::Deserializer::from_slice(text).into_iter::<Tree>() {
        unroll(tree?, &mut records);
    }
    Ok(records)
}

fn unroll(tree: Tree, records: &mut Vec<Record>) {
    match tree {
        Tree::Leaf(cell) => records.push(vec![(Name::At(0), cell)]),
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

/// One record. A list alone, or alone in an object, gives columns without names.
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

/// The columns of one part after the other: their names and places, as the last record had them.
#[derive(Default)]
pub(super) struct Columns {
    known: Vec<(String, usize)>,
    /// The row, counted from 1, that last gave the column at a place a value.
    given: Vec<u64>,
}

impl Columns {
    /// Hands the cells of a row on. A column that occurs twice keeps its first value.
    pub(super) fn put<S: Sink>(
        &mut self,
        sink: &mut S,
        row: u64,
        cells: impl Iterator<Item = (String, Cell)>,
        notebook: &mut Notebook,
    ) -> Result<(), TooManyColumns> {
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
            if place == UNWANTED {
                continue;
            }
            if self.given.len() <= place {
                self.given.resize(place + 1, 0);
            }
            if let Some(given) = self.given.get_mut(place) {
                if *given == row + 1 {
                    notebook.note(Kind::Unreadable, row, Some(&name), || {
                        "the record has two values for this column: the first one counts".to_owned()
                    });
                    continue;
                }
                *given = row + 1;
            }
            put(sink, place, &name, &cell, row, notebook);
        }
        sink.rows(1);
        Ok(())
    }
}

fn put<S: Sink>(sink: &mut S, place: usize, name: &str, cell: &Cell, row: u64, notebook: &mut Notebook) {
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
    if let Some(oddity) = odd {
        let text = match cell {
            Cell::Text(text) => text.clone(),
            other => format!("{other:?}"),
        };
        notebook.odd(oddity, row, name, text.as_bytes());
    }
}

/// Reads the lines of a block, and says how many there are.
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
                    format!("the line is not JSON: {error}")
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
    fn records_are_found_in_the_formats_of_containers() {
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
            ("18446744073709551615", "#0=1.8446744073709552e19"),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
        assert!(records(b"{\"a\": ").is_err());
        assert!(records(br#"{"a": 1, "a": 2}"#).is_err());
    }
}
