//! Cuts a stream of lines into blocks that can be read apart from one another: each ends where a row ends.

use crate::object::read_up_to;
use memchr::{memchr, memchr_iter, memrchr};
use std::io::{self, Read};

/// The size of a block, but for a row that is longer.
const BLOCK: usize = 1 << 20;
/// A row that is longer is refused: a quote was left open, or it is no dataset.
pub(crate) const LONGEST_ROW: usize = 64 << 20;

/// Some whole rows.
#[derive(Debug)]
pub(crate) struct Block {
    pub bytes: Vec<u8>,
    /// Whether there are quotes in it, so that commas and line ends may be part of cells. Only told of CSV.
    pub quoted: bool,
    /// The rows in which a quoted cell goes on behind its closing quote, one for each cell.
    pub stray: Vec<u64>,
}

/// Where rows end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rows {
    /// At every line end.
    Lines,
    /// At line ends that are not within quotes.
    Csv {
        /// The byte between cells.
        delimiter: u8,
    },
}

/// Why there is no next block.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SplitError {
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The row begins with the block, so many rows after its beginning.
    #[error("a quoted cell that begins in this row is never closed")]
    OpenQuote { rows: u64 },
    #[error("the row is longer than {} MiB: is a quote left open?", LONGEST_ROW >> 20)]
    LongRow { rows: u64 },
}

/// The blocks of a stream.
pub(crate) struct Blocks<R> {
    rows: Rows,
    reader: R,
    /// What was read and not given out.
    left: Vec<u8>,
    ended: bool,
}

impl<R: Read> Blocks<R> {
    pub(crate) fn new(rows: Rows, begun: Vec<u8>, reader: R) -> Self {
        Self {
            rows,
            reader,
            left: begun,
            ended: false,
        }
    }

    /// The next block.
    pub(crate) fn next(&mut self) -> Result<Option<Block>, SplitError> {
        let mut wanted = BLOCK;
        loop {
            while !self.ended && self.left.len() < wanted {
                let from = self.left.len();
                self.left.resize(wanted, 0);
                let read = read_up_to(&mut self.reader, self.left.get_mut(from..).unwrap_or_default())?;
                self.left.truncate(from + read);
                self.ended = self.left.len() < wanted;
            }
            if self.left.is_empty() {
                return Ok(None);
            }
            let cut = self.cut();
            if self.ended {
                if cut.open {
                    return Err(SplitError::OpenQuote { rows: cut.rows });
                }
                let bytes = std::mem::take(&mut self.left);
                return Ok(Some(Block {
                    bytes,
                    quoted: cut.quoted,
                    stray: cut.stray,
                }));
            }
            if let Some(end) = cut.end {
                let rest = self.left.split_off(end);
                let bytes = std::mem::replace(&mut self.left, rest);
                // The row that is not whole yet comes again with the next block.
                let mut stray = cut.stray;
                stray.retain(|row| *row < cut.rows);
                return Ok(Some(Block {
                    bytes,
                    quoted: cut.quoted,
                    stray,
                }));
            }
            if wanted >= LONGEST_ROW {
                return Err(SplitError::LongRow { rows: cut.rows });
            }
            wanted *= 2;
        }
    }

    /// Where the last whole row ends.
    fn cut(&self) -> Cut {
        let bytes = &self.left;
        match self.rows {
            Rows::Csv { delimiter } if memchr(b'"', bytes).is_some() => quoted_cut(bytes, delimiter),
            _ => Cut {
                end: memrchr(b'\n', bytes).map(|at| at + 1),
                quoted: false,
                open: false,
                rows: 0,
                stray: Vec::new(),
            },
        }
    }
}

struct Cut {
    end: Option<usize>,
    quoted: bool,
    /// Whether the bytes end within quotes.
    open: bool,
    /// How many rows end before; told only if quotes are left open or stray.
    rows: u64,
    stray: Vec<u64>,
}

/// Whether a quoted cell of some rows is never closed.
pub(crate) fn leaves_quote_open(bytes: &[u8], delimiter: u8) -> bool {
    quoted_cut(bytes, delimiter).open
}

/// Follows the quotes: one opens a cell where a cell begins, and closes it unless it is doubled (RFC 4180).
fn quoted_cut(bytes: &[u8], delimiter: u8) -> Cut {
    // A cell begins behind a delimiter or a line end.
    let begins = |at: usize| {
        let before = at.checked_sub(1).and_then(|before| bytes.get(before));
        before.is_none_or(|before| *before == delimiter || *before == b'\n')
    };
    // Where quotes open and close, and which of the latter are stray.
    let mut spans: Vec<(usize, usize)> = Vec::new();
    let mut stray_at = Vec::new();
    let mut opened = None;
    // Of two quotes in a row within a cell the second says nothing.
    let mut doubled = usize::MAX;
    for at in memchr_iter(b'"', bytes) {
        match opened {
            None if begins(at) => opened = Some(at),
            None => {}
            Some(_) if at == doubled => {}
            Some(from) => match bytes.get(at + 1) {
                Some(b'"') => doubled = at + 1,
                next => {
                    spans.push((from, at));
                    opened = None;
                    if next.is_some_and(|next| ![delimiter, b'\n', b'\r'].contains(next)) {
                        stray_at.push(at);
                    }
                }
            },
        }
    }
    // The last line end that is not within quotes, from the back.
    let mut until = opened.unwrap_or(bytes.len());
    let mut end = None;
    for (from, to) in spans.iter().rev().copied().chain([(0, 0)]) {
        let unquoted = bytes.get(to..until).unwrap_or_default();
        end = memrchr(b'\n', unquoted).map(|at| to + at + 1);
        if end.is_some() {
            break;
        }
        until = from;
    }
    // Rows are counted only for those who are told of them.
    let rows = || rows_before(bytes, &spans, opened.unwrap_or(bytes.len()));
    let (rows, stray) = if stray_at.is_empty() {
        (if opened.is_some() { rows().len() as u64 } else { 0 }, Vec::new())
    } else {
        let ends = rows();
        let row = |at: &usize| ends.partition_point(|end| end < at) as u64;
        (ends.len() as u64, stray_at.iter().map(row).collect())
    };
    Cut {
        end,
        quoted: true,
        open: opened.is_some(),
        rows,
        stray,
    }
}

/// The line ends outside of quotes at which rows end; an empty line is no row.
fn rows_before(bytes: &[u8], spans: &[(usize, usize)], until: usize) -> Vec<usize> {
    let mut spans = spans.iter().copied().peekable();
    let mut row = 0;
    let mut ends = Vec::new();
    for at in memchr_iter(b'\n', bytes.get(..until).unwrap_or_default()) {
        while spans.next_if(|(_, to)| *to < at).is_some() {}
        if spans.peek().is_some_and(|(from, _)| *from < at) {
            continue;
        }
        if !matches!(bytes.get(row..at), Some(b"" | b"\r")) {
            ends.push(at);
        }
        row = at + 1;
    }
    ends
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocks(rows: Rows, text: &[u8]) -> Result<Vec<Block>, SplitError> {
        let mut blocks = Blocks::new(rows, Vec::new(), text);
        let mut all = Vec::new();
        while let Some(block) = blocks.next()? {
            all.push(block);
        }
        Ok(all)
    }

    const CSV: Rows = Rows::Csv { delimiter: b',' };

    #[test]
    fn an_open_quote_is_an_error_and_names_its_row() {
        let error = blocks(CSV, b"a,b\n1,2\n3,\"4\n5,6\n").unwrap_err();
        assert!(matches!(error, SplitError::OpenQuote { rows: 2 }), "{error:?}");
        let error = blocks(CSV, b"\na,b\r\n\r\n\n1,2\n3,\"4\n5,6\n").unwrap_err();
        assert!(
            matches!(error, SplitError::OpenQuote { rows: 2 }),
            "empty lines are no rows: {error:?}"
        );
        assert!(
            blocks(CSV, b"a,b\n1,2\"\n3,4\n").is_ok(),
            "a quote within a cell is text"
        );
        assert!(
            blocks(CSV, b"a\n\"x\"\"\n\"\n").is_ok(),
            "a doubled quote closes nothing"
        );
    }

    #[test]
    fn blocks_end_where_rows_end() {
        let row = format!("{},\"{}\n,\"\"{}\"\n", "a".repeat(300), "b".repeat(300), "c".repeat(99));
        let text = row.repeat(8000);
        let cut = blocks(CSV, text.as_bytes()).unwrap();
        assert!(cut.len() > 3);
        assert!(
            cut.iter()
                .all(|block| block.bytes.starts_with(b"aaa") && block.bytes.ends_with(b"c\"\n"))
        );
        assert_eq!(cut.iter().flat_map(|block| &block.bytes).count(), text.len());
    }

    #[test]
    fn what_is_stray_in_a_row_that_is_cut_is_told_once() {
        let row = format!("\"a\"b,{}\n", "c".repeat(1000));
        let cut = blocks(CSV, row.repeat(5000).as_bytes()).unwrap();
        assert!(cut.len() > 3);
        assert_eq!(cut.iter().map(|block| block.stray.len()).sum::<usize>(), 5000);
    }
}
