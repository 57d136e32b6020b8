//! Rows that cannot be analysed, counted by why.

use super::columns::Found;
use crate::table::Cell;

/// How many rows are left out, and why.
#[derive(Debug, Default)]
pub(super) struct LeftOut {
    /// By what the rows lack and the column that should have it: how many, and what the first has instead.
    counts: Vec<(String, u64, Option<String>)>,
}

impl LeftOut {
    /// Whether a row has a value of the column, which may have to be a number; one that has not is counted.
    pub(super) fn has(&mut self, what: &str, found: Option<&Found<'_>>, row: usize, number: bool) -> bool {
        let cell = found.map_or(Cell::Missing, |found| found.cell(row));
        let text = match cell {
            Cell::Missing => None,
            Cell::Text(_) if number => found.and_then(|found| found.column.text(cell)),
            Cell::Number(_) | Cell::Text(_) => return true,
        };
        let column = found.map_or(String::new(), |found| format!(" (column `{}`)", found.name));
        let lacks = match &text {
            None => format!("have no {what}{column}"),
            Some(_) => format!("have a {what} that is no number{column}"),
        };
        match self.counts.iter_mut().find(|(known, ..)| *known == lacks) {
            Some((_, count, _)) => *count += 1,
            None => self.counts.push((lacks, 1, text)),
        }
        false
    }

    /// What people should know.
    pub(super) fn notes(&self) -> impl Iterator<Item = String> {
        self.counts.iter().map(|(lacks, count, first)| {
            let first = first.as_ref().map_or(String::new(), |text| {
                let text: String = text.chars().take(40).collect();
                format!(", the first `{text}`")
            });
            format!("rows left out that {lacks}: {count}{first}")
        })
    }
}
