//! CSV (RFC 4180), with or without a header. An empty cell is a missing value.

use super::{Notebook, ReadOptions};
use crate::{findings::Kind, sink::Sink, split::Block};
use analysis::classify;
use memchr::{memchr, memchr2, memchr2_iter};
use std::collections::BTreeSet;

/// Whether a CSV file has a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Header {
    /// Detect a header: the first row contains expected names, or no number.
    #[default]
    Auto,
    /// The first row is a header.
    Present,
    /// There is no header. Columns have the names of the baseline, or `_c0`, `_c1`, … as in Model Monitor.
    Absent,
}

/// First row of a CSV file.
pub(super) struct FileStart {
    pub names: Vec<String>,
    pub header: bool,
    /// Findings about the first row.
    pub notes: Vec<(Kind, Option<String>, String)>,
    /// Offset of the first row after the header.
    from: usize,
}

impl FileStart {
    /// Block without the header.
    pub(super) fn rest(&self, mut block: Block) -> Block {
        block.bytes.drain(..self.from.min(block.bytes.len()));
        if self.header {
            block.stray.retain_mut(|row| {
                let behind = *row > 0;
                *row = row.saturating_sub(1);
                behind
            });
        }
        block
    }
}

/// First row of the earlier CSV files.
pub(super) struct EarlierFiles {
    pub header: bool,
    pub names: Vec<String>,
}

/// Determines the columns of a file from its first block.
pub(super) fn begin(
    block: &Block,
    delimiter: u8,
    options: &ReadOptions,
    before: Option<&EarlierFiles>,
) -> Result<FileStart, String> {
    if memchr(b'\n', &block.bytes).is_none() && memchr(b'\r', block.bytes.trim_ascii_end()).is_some() {
        return Err("lines end with carriage returns only: expected line feeds".to_owned());
    }
    let (first, from) = Rows::new(&block.bytes, delimiter).next().unwrap_or_default();
    let mut cells = Vec::with_capacity(first.len());
    let mut notes = Vec::new();
    for cell in &first {
        let text = String::from_utf8_lossy(cell).trim().to_owned();
        if std::str::from_utf8(cell).is_err() {
            let message = "the column name is not valid UTF-8".to_owned();
            notes.push((Kind::NotUtf8, Some(text.clone()), message));
        }
        cells.push(text);
    }
    if options.delimiter.is_none()
        && let [cell] = cells.as_slice()
        && cell.contains([';', '\t', '|'])
    {
        let (name, option) = match cell.chars().find(|c| matches!(c, ';' | '\t' | '|')) {
            Some('\t') => ("tab", "\\t"),
            Some('|') => ("vertical bar", "|"),
            _ => ("semicolon", ";"),
        };
        return Err(format!(
            "row 1 has only one column: `{}`\nhint: if the delimiter is a {name}, add --delimiter '{option}'",
            cell.chars().take(60).collect::<String>()
        ));
    }
    let names_of = |names: &[String]| names.iter().map(String::clone).collect::<BTreeSet<_>>();
    let expected = names_of(&options.expected);
    let known = cells.iter().filter(|cell| expected.contains(cell.as_str())).count();
    let texts = || cells.iter().filter(|cell| !cell.is_empty());
    let of_names = texts().next().is_some() && texts().all(|cell| !classify(cell.as_bytes()).0.is_number());
    // The columns of the baseline had no names.
    let unnamed = options
        .expected
        .iter()
        .zip(0..)
        .all(|(name, at)| *name == format!("_c{at}"));
    let unnamed = unnamed && !options.expected.is_empty();
    let header = match options.header {
        Header::Present => true,
        Header::Absent => false,
        Header::Auto => known * 2 > cells.len() || (of_names && !unnamed && before.is_none_or(|before| before.header)),
    };
    if let (Header::Auto, Some(before)) = (options.header, before) {
        let same = names_of(&before.names);
        if before.header && !(header && (known > 0 || cells.iter().any(|cell| same.contains(cell)))) {
            return Err(
                "row 1 has none of the column names of the earlier files, which have a header\nhint: add --header \
                 present or --header absent"
                    .to_owned(),
            );
        }
    }
    if !header {
        // The cells are not names, so findings about names do not apply.
        notes.clear();
        let looks_like_names = of_names && texts().count() == cells.len();
        let of_data = first_row_of_data(&cells, options, before, looks_like_names);
        notes.extend(of_data.into_iter().map(|message| (Kind::FirstRow, None, message)));
        let names = (0..cells.len()).map(|at| options.expected.get(at).cloned().unwrap_or_else(|| format!("_c{at}")));
        let names = distinct(names).map_err(|name| {
            format!(
                "row 1: two columns without a name would get the name `{name}` from the baseline\nhint: add --header \
                 present or --header absent"
            )
        })?;
        return Ok(FileStart {
            names,
            header,
            notes,
            from: 0,
        });
    }
    if block.stray.first() == Some(&0) {
        notes.push((Kind::StrayQuote, None, STRAY_QUOTE.to_owned()));
    }
    let names = cells
        .into_iter()
        .zip(0..)
        .map(|(cell, at)| if cell.is_empty() { format!("_c{at}") } else { cell });
    let names = distinct(names).map_err(|name| {
        format!("row 1: two columns have the name `{name}`\nhint: rename one, or add --header absent")
    })?;
    Ok(FileStart {
        names,
        header,
        notes,
        from,
    })
}

/// Notes about a first row that is read as data.
fn first_row_of_data(
    cells: &[String],
    options: &ReadOptions,
    before: Option<&EarlierFiles>,
    looks_like_names: bool,
) -> Vec<String> {
    let mut notes = Vec::new();
    let unnumbered = |before: &&EarlierFiles| !before.header && before.names.len() != cells.len();
    if let Some(before) = before.filter(unnumbered) {
        notes.push(format!(
            "the row has {} cells, but earlier files without a header have {} columns",
            cells.len(),
            before.names.len()
        ));
    }
    if options.header != Header::Auto {
        return notes;
    }
    if cells.len() > 1 && cells.iter().zip(0_u32..).all(|(cell, at)| *cell == at.to_string()) {
        let message = "the row counts 0, 1, 2, …, and is read as data: if these are column names, add --header present";
        notes.push(message.to_owned());
    }
    if looks_like_names {
        let message =
            "the row looks like a header, but counts as data: neither the baseline nor the earlier files have one";
        notes.push(message.to_owned());
    }
    notes
}

/// Names, or the first one that occurs twice.
fn distinct(names: impl Iterator<Item = String>) -> Result<Vec<String>, String> {
    let mut seen = BTreeSet::new();
    names
        .map(|name| if seen.insert(name.clone()) { Ok(name) } else { Err(name) })
        .collect()
}

const STRAY_QUOTE: &str = "a quoted cell continues after its closing quote: quotes within a cell must be doubled";

/// Rows of some bytes with their cells, and the offset of the next row. Used for headers and captured data; datasets
/// are read by [`Cells`].
pub(super) struct Rows<'a> {
    bytes: &'a [u8],
    delimiter: u8,
    from: usize,
}

impl<'a> Rows<'a> {
    pub(super) fn new(bytes: &'a [u8], delimiter: u8) -> Self {
        Self {
            bytes,
            delimiter,
            from: 0,
        }
    }
}

impl Iterator for Rows<'_> {
    type Item = (Vec<Vec<u8>>, usize);

    fn next(&mut self) -> Option<Self::Item> {
        let mut scratch = Vec::new();
        let mut cells = Vec::new();
        loop {
            let rest = self.bytes.get(self.from..).unwrap_or_default();
            if rest.is_empty() && cells.is_empty() {
                return None;
            }
            let (cell, end) = cut(rest, self.delimiter, &mut scratch);
            self.from += end + 1;
            let last = rest.get(end) != Some(&self.delimiter);
            if !last || !cells.is_empty() || !cell.is_empty() || rest.first() == Some(&b'"') {
                cells.push(cell.to_vec());
                if last {
                    return Some((cells, self.from));
                }
            }
        }
    }
}

/// Reads the rows of a block. Returns their number.
pub(super) fn read<S: Sink>(
    sink: &mut S,
    names: &[String],
    places: &[usize],
    delimiter: u8,
    block: &Block,
    notebook: &mut Notebook,
) -> u64 {
    for row in &block.stray {
        notebook.note(Kind::StrayQuote, *row, None, || STRAY_QUOTE.to_owned());
    }
    let mut rows = Cells {
        bytes: &block.bytes,
        delimiter,
        unquoted: Vec::new(),
        columns: vec![Vec::new(); names.len()],
        names,
        notebook,
        row: 0,
        cell: 0,
    };
    if block.quoted {
        rows.quoted();
    } else {
        rows.plain();
    }
    rows.pass_cells(sink, places);
    rows.row
}

/// Cell at the beginning of some bytes, and its end. A carriage return before the end of a row is not part of the cell.
fn cut<'a>(bytes: &'a [u8], delimiter: u8, scratch: &'a mut Vec<u8>) -> (&'a [u8], usize) {
    if bytes.first() == Some(&b'"') {
        scratch.clear();
        let end = unquote(bytes, delimiter, scratch);
        return (scratch, end);
    }
    let end = memchr2(delimiter, b'\n', bytes).unwrap_or(bytes.len());
    (bare(bytes, end, delimiter), end)
}

/// Bytes before the end of a cell.
fn bare(bytes: &[u8], end: usize, delimiter: u8) -> &[u8] {
    let cell = bytes.get(..end).unwrap_or_default();
    if bytes.get(end) == Some(&delimiter) {
        cell
    } else {
        cell.strip_suffix(b"\r").unwrap_or(cell)
    }
}

/// Appends the content of the quoted cell at the beginning of some bytes to a buffer. Returns the end of the cell.
fn unquote(bytes: &[u8], delimiter: u8, content: &mut Vec<u8>) -> usize {
    let mut from = 1;
    loop {
        let rest = bytes.get(from..).unwrap_or_default();
        let Some(at) = memchr(b'"', rest) else {
            content.extend_from_slice(rest);
            return bytes.len();
        };
        content.extend_from_slice(rest.get(..at).unwrap_or_default());
        from += at + 1;
        if bytes.get(from) == Some(&b'"') {
            content.push(b'"');
            from += 1;
            continue;
        }
        let rest = bytes.get(from..).unwrap_or_default();
        let end = memchr2(delimiter, b'\n', rest).unwrap_or(rest.len());
        content.extend_from_slice(bare(rest, end, delimiter));
        return from + end;
    }
}

/// Start and end of a cell: in the bytes of its block, or, beyond their end, in the buffer of unquoted cells.
type Span = (u32, u32);

/// Rows of a block. First the spans of their cells are found. Then cells are passed on column by column, because the
/// next cell of a column is most similar to the previous one.
struct Cells<'a> {
    bytes: &'a [u8],
    delimiter: u8,
    unquoted: Vec<u8>,
    columns: Vec<Vec<Span>>,
    names: &'a [String],
    notebook: &'a mut Notebook,
    /// Row in the block, and cell in the row.
    row: u64,
    cell: usize,
}

impl Cells<'_> {
    /// Splits a block without quotes: every comma ends a cell, every line feed a row.
    fn plain(&mut self) {
        let mut from = 0;
        for at in memchr2_iter(self.delimiter, b'\n', self.bytes) {
            if self.bytes.get(at) == Some(&self.delimiter) {
                self.cell(from, at);
            } else {
                self.last_cell(from, at);
            }
            from = at + 1;
        }
        if from < self.bytes.len() || self.cell > 0 {
            self.last_cell(from, self.bytes.len());
        }
    }

    fn last_cell(&mut self, from: usize, to: usize) {
        let to = match self.bytes.get(from..to) {
            Some([.., b'\r']) => to - 1,
            _ => to,
        };
        // An empty line is not a row, as in Spark, even for a single column, where it could be a missing value.
        if self.cell > 0 || from < to {
            self.cell(from, to);
            self.end();
        }
    }

    /// Splits a block with quotes, which may contain commas, line feeds, and doubled quotes (RFC 4180). Text after a
    /// closing quote belongs to the cell.
    fn quoted(&mut self) {
        let mut from = 0;
        // End of the last quoted cell, and the span of its content.
        let (mut end, mut content) = (0, None);
        let ends = memchr2_iter(self.delimiter, b'\n', self.bytes).chain([self.bytes.len()]);
        for at in ends {
            if at < end {
                // Within quotes.
                continue;
            }
            if content.is_none() && self.bytes.get(from) == Some(&b'"') {
                let rest = self.bytes.get(from..).unwrap_or_default();
                let begun = self.bytes.len() + self.unquoted.len();
                end = from + unquote(rest, self.delimiter, &mut self.unquoted);
                content = Some((begun, self.bytes.len() + self.unquoted.len()));
                if at < end {
                    continue;
                }
            }
            let last = self.bytes.get(at) != Some(&self.delimiter);
            match content.take() {
                Some((begun, ended)) => {
                    self.cell(begun, ended);
                    if last {
                        self.end();
                    }
                }
                None if last => {
                    if at < self.bytes.len() || from < at || self.cell > 0 {
                        self.last_cell(from, at);
                    }
                }
                None => self.cell(from, at),
            }
            from = at + 1;
        }
    }

    #[inline]
    fn cell(&mut self, from: usize, to: usize) {
        if let Some(column) = self.columns.get_mut(self.cell) {
            // A block is far smaller than 2^32 bytes.
            #[expect(
                clippy::cast_possible_truncation,
                reason = "a block has at most twice the longest row"
            )]
            column.push((from as u32, to as u32));
        }
        self.cell += 1;
    }

    #[inline]
    fn end(&mut self) {
        if self.cell != self.columns.len() {
            self.ragged();
        }
        self.row += 1;
        self.cell = 0;
    }

    /// Passes the cells on to the sink, column by column.
    fn pass_cells<S: Sink>(&mut self, sink: &mut S, places: &[usize]) {
        for ((spans, place), name) in self.columns.iter().zip(places).zip(self.names) {
            for ((from, to), row) in spans.iter().zip(0..) {
                let (from, to) = (*from as usize, *to as usize);
                let cell = match from.checked_sub(self.bytes.len()) {
                    None => self.bytes.get(from..to),
                    Some(from) => self.unquoted.get(from..to - self.bytes.len()),
                };
                match cell {
                    Some(cell) if !cell.is_empty() => {
                        if let Some(issue) = sink.text(*place, cell) {
                            self.notebook.note_issue(issue, row, name, cell);
                        }
                    }
                    _ => sink.null(*place),
                }
            }
        }
        sink.rows(self.row);
    }

    #[cold]
    fn ragged(&mut self) {
        let (cells, columns) = (self.cell, self.columns.len());
        for column in self.columns.iter_mut().skip(cells) {
            column.push((0, 0));
        }
        if cells < columns {
            let first = self.names.get(cells).map(String::as_str);
            self.notebook.note(Kind::ShortRow, self.row, first, || {
                format!("expected {columns} cells, found {cells}: this column and those after it count as missing")
            });
        } else {
            let last = self.names.last().map(String::as_str);
            self.notebook.note(Kind::LongRow, self.row, last, || {
                format!("expected {columns} cells, found {cells}: those after this column are ignored")
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        sink::Sink,
        split::{Blocks, Rows as RowsOf},
    };
    use analysis::{TooManyColumns, ValueIssue};
    use proptest::prelude::*;

    /// Cells of a few columns.
    #[derive(Default)]
    struct Columns(Vec<Vec<Vec<u8>>>);

    impl Sink for Columns {
        const BY_COLUMN: bool = false;

        fn column(&mut self, _: &str) -> Result<usize, TooManyColumns> {
            Ok(0)
        }

        fn text(&mut self, place: usize, text: &[u8]) -> Option<ValueIssue> {
            self.0[place].push(text.to_vec());
            None
        }

        fn integer(&mut self, _: usize, _: i64) {}

        fn double(&mut self, _: usize, _: f64) -> Option<ValueIssue> {
            None
        }

        fn null(&mut self, place: usize) {
            self.0[place].push(Vec::new());
        }

        fn rows(&mut self, _: u64) {}

        fn merge(&mut self, _: Self) -> Result<(), TooManyColumns> {
            Ok(())
        }
    }

    const COLUMNS: usize = 40;

    /// Rows of a string, each filled up to the number of columns.
    fn cells(text: &[u8]) -> Option<Vec<Vec<Vec<u8>>>> {
        let (names, places) = (vec![String::new(); COLUMNS], (0..COLUMNS).collect::<Vec<_>>());
        let mut sink = Columns(vec![Vec::new(); COLUMNS]);
        let mut notebook = Notebook::default();
        let mut blocks = Blocks::new(RowsOf::Csv { delimiter: b',' }, Vec::new(), text);
        while let Some(block) = blocks.next().ok()? {
            read(&mut sink, &names, &places, b',', &block, &mut notebook);
        }
        let rows = sink.0[0].len();
        Some(
            (0..rows)
                .map(|row| sink.0.iter().map(|column| column[row].clone()).collect())
                .collect(),
        )
    }

    proptest! {
        /// The cells equal those of the csv crate if no quote is left open. Exception: a carriage return ends a row
        /// only before a line feed.
        #[test]
        fn cells_match_rfc_4180(text in "[ab,\"\n]{0,39}") {
            if let Some(found) = cells(text.as_bytes()) {
                let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text.as_bytes());
                let expected: Vec<Vec<Vec<u8>>> = reader
                    .byte_records()
                    .map(|record| {
                        let mut row: Vec<Vec<u8>> = record.unwrap().iter().map(<[u8]>::to_vec).collect();
                        row.resize(COLUMNS, Vec::new());
                        row
                    })
                    .collect();
                prop_assert_eq!(found, expected);
            }
        }
    }

    #[test]
    fn header_parser_splits_like_dataset_parser() {
        let text = "\n\r\n a ,\"b\n\"\"c\"\"\",\r\n1,2,3\n";
        let rows: Vec<_> = Rows::new(text.as_bytes(), b',').collect();
        let cells = |cells: [&str; 3]| cells.map(|cell| cell.as_bytes().to_vec()).to_vec();
        assert_eq!(
            rows,
            [
                (cells([" a ", "b\n\"c\"", ""]), text.len() - 6),
                (cells(["1", "2", "3"]), text.len())
            ]
        );
    }

    proptest! {
        #[test]
        fn both_parsers_give_same_cells(text in "[ab,\"\n\r]{0,39}") {
            if let Some(found) = cells(text.as_bytes()) {
                let filled = |(mut row, _): (Vec<Vec<u8>>, usize)| {
                    row.resize(COLUMNS, Vec::new());
                    row
                };
                let expected: Vec<_> = Rows::new(text.as_bytes(), b',').map(filled).collect();
                prop_assert_eq!(found, expected);
            }
        }
    }

    #[test]
    fn carriage_return_before_line_feed_is_dropped() {
        let plain = cells(b"a,b\r\n\r\nc,\r\n").unwrap();
        let quoted = cells(b"a,\"b\"\r\n\r\nc,\"\"\r\n").unwrap();
        assert_eq!(plain, quoted);
        let begun: Vec<_> = plain.iter().map(|row| (row[0].as_slice(), row[1].as_slice())).collect();
        assert_eq!(begun, [(&b"a"[..], &b"b"[..]), (b"c", b"")]);
        let within = cells(b"\"\r\"\r\n\"a\r\",b\r").unwrap();
        let begun: Vec<_> = within
            .iter()
            .map(|row| (row[0].as_slice(), row[1].as_slice()))
            .collect();
        assert_eq!(begun, [(&b"\r"[..], &b""[..]), (b"a\r", b"b")]);
    }
}
