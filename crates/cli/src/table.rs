//! Tables for people.

use std::io::{self, Write};

/// Columns wider than this are cut, except for the last.
const WIDEST: usize = 48;

/// A table with aligned columns.
#[derive(Debug)]
pub(crate) struct Table<const N: usize> {
    rows: Vec<[String; N]>,
}

impl<const N: usize> Table<N> {
    pub(crate) fn new(header: [&str; N]) -> Self {
        Self {
            rows: vec![header.map(ToOwned::to_owned)],
        }
    }

    pub(crate) fn row(&mut self, row: [String; N]) {
        self.rows.push(row.map(|cell| plain(&cell)));
    }

    /// Writes the table, indented by two, without columns that say nothing. A table without rows writes nothing.
    pub(crate) fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        if self.rows.len() < 2 {
            return Ok(());
        }
        let mut widths = [0; N];
        let mut said = [false; N];
        for row in self.rows.iter().skip(1) {
            for (said, cell) in said.iter_mut().zip(row) {
                *said |= !cell.is_empty();
            }
        }
        let last = said.iter().rposition(|said| *said).unwrap_or_default();
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = cell.chars().count().max(*width).min(WIDEST);
            }
        }
        for row in &self.rows {
            let mut line = String::new();
            let columns = widths.iter().zip(row).zip(said).enumerate();
            for (at, ((width, cell), _)) in columns.filter(|(_, (_, said))| *said) {
                line.push_str("  ");
                if at == last {
                    line.push_str(cell);
                } else {
                    let cut = cell.chars().count() > WIDEST;
                    line.extend(cell.chars().take(if cut { WIDEST - 1 } else { WIDEST }));
                    line.push_str(if cut { "…" } else { "" });
                    let missing = width.saturating_sub(cell.chars().count());
                    line.extend(std::iter::repeat_n(' ', missing));
                }
            }
            writeln!(out, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// A text from outside on one line, without what would steer a terminal.
pub(crate) fn plain(text: &str) -> String {
    text.trim()
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}
