//! Splits a stream of lines into blocks that can be read independently: each ends at the end of a row.

use crate::object::read_up_to;
use memchr::{memchr, memchr_iter, memrchr};
use std::io::{self, Read};

/// Size of a block in bytes; a longer row makes a larger block.
const BLOCK_BYTES: usize = 1 << 20;
/// Maximum length of a row in bytes. A longer row indicates a missing closing quote, or a file that is not a dataset.
pub(crate) const MAX_ROW_BYTES: usize = 64 << 20;

/// Block of complete rows.
#[derive(Debug)]
pub(crate) struct Block {
    pub bytes: Vec<u8>,
    /// Whether the block contains quotes, so that commas and line feeds may be part of cells. Set for CSV only.
    pub quoted: bool,
    /// Rows in which a quoted cell continues after its closing quote, one entry per cell.
    pub stray: Vec<u64>,
}

/// Row ends of a format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rows {
    /// Every line feed.
    Lines,
    /// Every line feed outside of quotes.
    Csv {
        /// Byte between cells.
        delimiter: u8,
    },
}

/// Reason for which there is no next block.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SplitError {
    #[error("{0}")]
    Io(#[from] io::Error),
    /// Number of rows between the beginning of the block and the row.
    #[error("a quoted cell that begins in this row has no closing quote")]
    OpenQuote { rows: u64 },
    #[error("the row is longer than {} MiB: check for a missing closing quote", MAX_ROW_BYTES >> 20)]
    LongRow { rows: u64 },
}

/// Blocks of a stream.
pub(crate) struct Blocks<R> {
    rows: Rows,
    reader: R,
    /// Bytes that were read and not returned yet.
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

    /// Returns the next block.
    pub(crate) fn next(&mut self) -> Result<Option<Block>, SplitError> {
        let mut wanted = BLOCK_BYTES;
        loop {
            while !self.ended && self.left.len() < wanted {
                read_up_to(&mut self.reader, wanted - self.left.len(), &mut self.left)?;
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
                // The incomplete row is part of the next block.
                let mut stray = cut.stray;
                stray.retain(|row| *row < cut.rows);
                return Ok(Some(Block {
                    bytes,
                    quoted: cut.quoted,
                    stray,
                }));
            }
            if wanted >= MAX_ROW_BYTES {
                return Err(SplitError::LongRow { rows: cut.rows });
            }
            wanted *= 2;
        }
    }

    /// Finds the end of the last complete row.
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
    /// Number of complete rows; computed only if a quote is open or stray.
    rows: u64,
    stray: Vec<u64>,
}

/// Whether some rows have a quoted cell without a closing quote.
pub(crate) fn leaves_quote_open(bytes: &[u8], delimiter: u8) -> bool {
    quoted_cut(bytes, delimiter).open
}

/// Follows the quotes. A quote at the beginning of a cell opens it, and the next quote that is not doubled closes it
/// (RFC 4180).
fn quoted_cut(bytes: &[u8], delimiter: u8) -> Cut {
    // A cell begins after a delimiter or a line feed.
    let begins = |at: usize| {
        let before = at.checked_sub(1).and_then(|before| bytes.get(before));
        before.is_none_or(|before| *before == delimiter || *before == b'\n')
    };
    // Spans of quoted cells, and the stray closing quotes.
    let mut spans: Vec<(usize, usize)> = Vec::new();
    let mut stray_at = Vec::new();
    let mut opened = None;
    // The second of two adjacent quotes within a cell has no meaning.
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
    // Search backward for the last line feed outside of quotes.
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
    // Rows are counted only if a message needs the number.
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

/// Line feeds outside of quotes at which rows end. An empty line is not a row.
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
    fn open_quote_error_names_row() {
        let error = blocks(CSV, b"a,b\n1,2\n3,\"4\n5,6\n").unwrap_err();
        assert!(matches!(error, SplitError::OpenQuote { rows: 2 }), "{error:?}");
        let error = blocks(CSV, b"\na,b\r\n\r\n\n1,2\n3,\"4\n5,6\n").unwrap_err();
        assert!(
            matches!(error, SplitError::OpenQuote { rows: 2 }),
            "empty lines are no rows: {error:?}"
        );
        assert!(
            blocks(CSV, b"a,b\n1,2\"\n3,4\n").is_ok(),
            "a quote within a cell is part of the cell"
        );
        assert!(
            blocks(CSV, b"a\n\"x\"\"\n\"\n").is_ok(),
            "a doubled quote closes nothing"
        );
    }

    #[test]
    fn blocks_end_at_row_ends() {
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
    fn stray_quote_in_split_row_is_reported_once() {
        let row = format!("\"a\"b,{}\n", "c".repeat(1000));
        let cut = blocks(CSV, row.repeat(5000).as_bytes()).unwrap();
        assert!(cut.len() > 3);
        assert_eq!(cut.iter().map(|block| block.stray.len()).sum::<usize>(), 5000);
    }
}
