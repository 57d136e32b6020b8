//! Tables for people.

use crate::terminal::{coloured, lines, width};
use std::io::{self, Write};

/// Columns wider than this are cut, except for the last.
const WIDEST: usize = 48;
/// The last column is broken into lines of at least so many characters.
const NARROWEST: usize = 24;

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
        self.write_within(out, width())
    }

    /// Writes the table as wide as that: what the last column has no room for goes on below it.
    fn write_within(&self, out: &mut dyn Write, width: Option<usize>) -> io::Result<()> {
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
        let before = widths.iter().zip(said).take(last).filter(|(_, said)| *said);
        let begin: usize = before.map(|(width, _)| width + 2).sum::<usize>() + 2;
        for row in &self.rows {
            let mut line = String::new();
            let columns = widths.iter().zip(row).zip(said).enumerate();
            for (at, ((width_of, cell), _)) in columns.filter(|(_, (_, said))| *said) {
                line.push_str("  ");
                if at == last {
                    let room = width.map(|width| width.saturating_sub(begin).max(NARROWEST));
                    match room.filter(|room| cell.chars().count() > *room) {
                        Some(room) => line.push_str(&lines(cell, room).join(&format!("\n{:begin$}", ""))),
                        None => line.push_str(&coloured(cell)),
                    }
                } else if cell.chars().count() > WIDEST {
                    line.extend(cell.chars().take(WIDEST - 1));
                    line.push('…');
                } else {
                    line.push_str(&coloured(cell));
                    let missing = width_of.saturating_sub(cell.chars().count());
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_fits_the_terminal() {
        let mut table = Table::new(["model", "stage", "last decision"]);
        let sentence = "Hold the retraining of `churn`: monitor `churn-dq` is in alert. The cooldown lasts until noon.";
        table.row(["churn".into(), "Holding".into(), sentence.into()]);
        table.row(["fraud".into(), "Healthy".into(), String::new()]);
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
