//! Tables in text output.

use crate::{
    state::{State, Tone},
    terminal::{colored_text, lines, width},
};
use std::io::{self, Write};

/// Maximum width of a column, except the last one. Longer cells are cut.
const MAX_COLUMN: usize = 48;
/// Minimum width of the wrapped last column.
const MIN_LAST_COLUMN: usize = 24;

/// A cell of a table.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cell {
    text: String,
    tone: Option<Tone>,
}

impl Cell {
    fn width(&self) -> usize {
        self.text.chars().count()
    }

    /// Whether the text is a number with a unit, or stands for a missing one.
    fn is_number(&self) -> bool {
        let text = self.text.trim_end_matches(['%', '×']);
        matches!(text, "" | "-" | "–") || text.replace(',', "").parse::<f64>().is_ok()
    }

    fn colored(&self) -> String {
        colored_text(&self.text, self.tone)
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self {
            text: plain(&text),
            tone: None,
        }
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self {
            text: plain(text),
            tone: None,
        }
    }
}

impl From<State> for Cell {
    fn from(State { name, tone }: State) -> Self {
        Self {
            text: name.to_owned(),
            tone,
        }
    }
}

/// A table with aligned columns: numbers to the right, all other columns to the left.
#[derive(Debug)]
pub(crate) struct Table<const N: usize> {
    rows: Vec<[Cell; N]>,
}

impl<const N: usize> Table<N> {
    pub(crate) fn new(header: [&str; N]) -> Self {
        Self {
            rows: vec![header.map(Cell::from)],
        }
    }

    pub(crate) fn row<C: Into<Cell>>(&mut self, row: [C; N]) {
        self.rows.push(row.map(Into::into));
    }

    /// Writes the table, indented by two, without empty columns. Without rows it writes nothing.
    pub(crate) fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        self.write_within(out, width())
    }

    /// Writes the table within a width. A long last column is wrapped.
    fn write_within(&self, out: &mut dyn Write, width: Option<usize>) -> io::Result<()> {
        if self.rows.len() < 2 {
            return Ok(());
        }
        let mut widths = [0; N];
        let mut used = [false; N];
        for row in self.rows.iter().skip(1) {
            for (used, cell) in used.iter_mut().zip(row) {
                *used |= !cell.text.is_empty();
            }
        }
        let numbers: [bool; N] = std::array::from_fn(|at| {
            let mut cells = self.rows.iter().skip(1).filter_map(|row| row.get(at));
            cells.all(Cell::is_number)
        });
        let last = used.iter().rposition(|used| *used).unwrap_or_default();
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = cell.width().max(*width).min(MAX_COLUMN);
            }
        }
        let before = widths.iter().zip(used).take(last).filter(|(_, used)| *used);
        let begin: usize = before.map(|(width, _)| width + 2).sum::<usize>() + 2;
        for row in &self.rows {
            let mut line = String::new();
            let columns = widths.iter().zip(row).zip(used).zip(numbers).enumerate();
            for (at, (((column_width, cell), _), is_number)) in columns.filter(|(_, ((_, used), _))| *used) {
                line.push_str("  ");
                let missing = column_width.saturating_sub(cell.width());
                if is_number {
                    line.extend(std::iter::repeat_n(' ', missing));
                    line.push_str(&cell.colored());
                } else if at == last {
                    let room = width.map(|width| width.saturating_sub(begin).max(MIN_LAST_COLUMN));
                    match room.filter(|room| cell.width() > *room) {
                        Some(room) => line.push_str(&lines(&cell.text, room).join(&format!("\n{:begin$}", ""))),
                        None => line.push_str(&cell.colored()),
                    }
                } else if cell.width() > MAX_COLUMN {
                    line.extend(cell.text.chars().take(MAX_COLUMN - 1));
                    line.push('…');
                } else {
                    line.push_str(&cell.colored());
                    line.extend(std::iter::repeat_n(' ', missing));
                }
            }
            writeln!(out, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// External text on one line, without control characters.
pub(crate) fn plain(text: &str) -> String {
    text.trim()
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

/// External text of several lines, without control characters.
pub(crate) fn plain_lines(text: &str) -> String {
    let mut lines = String::new();
    for (at, line) in text.trim_end().lines().enumerate() {
        let separator = if at == 0 { "" } else { "\n" };
        lines.push_str(separator);
        lines.extend(line.trim_end().chars().map(|c| if c.is_control() { ' ' } else { c }));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_aligned_to_the_right() {
        let mut table = Table::new(["column", "distance", "ratio"]);
        table.row(["income", "0.2318", "2.3×"]);
        table.row(["age", "1,234", "-"]);
        let mut out = Vec::new();
        table.write_within(&mut out, None).unwrap();
        insta::assert_snapshot!(String::from_utf8(out).unwrap(), @r"
          column  distance  ratio
          income    0.2318   2.3×
          age        1,234      -
        ");
    }

    #[test]
    fn table_fits_the_terminal() {
        let mut table = Table::new(["model", "stage", "last decision"]);
        let sentence = "Hold the retraining of `churn`: monitor `churn-dq` is in alert. The cooldown lasts until noon.";
        table.row(["churn", "Holding", sentence]);
        table.row(["fraud", "Healthy", ""]);
        let written = |width| {
            let mut out = Vec::new();
            table.write_within(&mut out, width).unwrap();
            String::from_utf8(out).unwrap()
        };
        assert!(written(None).contains(sentence));
        assert!(written(Some(60)).lines().all(|line| line.chars().count() <= 60));
        insta::assert_snapshot!(written(Some(60)), @r"
        model  stage    last decision
        churn  Holding  Hold the retraining of `churn`: monitor
                        `churn-dq` is in alert. The cooldown lasts
                        until noon.
        fraud  Healthy
        ");
    }
}
