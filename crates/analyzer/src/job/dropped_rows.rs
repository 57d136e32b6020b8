//! Rows that are not analyzed, counted by reason.

use super::columns::Found;
use crate::table::Cell;

/// Number of dropped rows by reason.
#[derive(Debug, Default)]
pub(super) struct DroppedRows {
    /// Reason, which names the column; number of rows; first value that is not a number.
    counts: Vec<(String, u64, Option<String>)>,
}

impl DroppedRows {
    /// Whether a row has a value of the column, which must be a number if `number` is set. Counts the row if not.
    pub(super) fn has(&mut self, what: &str, found: Option<&Found<'_>>, row: usize, number: bool) -> bool {
        let cell = found.map_or(Cell::Missing, |found| found.cell(row));
        let text = match cell {
            Cell::Missing => None,
            Cell::Text(_) if number => found.and_then(|found| found.column.text(cell)),
            Cell::Number(_) | Cell::Text(_) => return true,
        };
        let column = found.map_or(String::new(), |found| format!(" (column `{}`)", found.name));
        let lacks = match &text {
            None => format!("rows without a {what}{column}"),
            Some(_) => format!("rows whose {what} is not a number{column}"),
        };
        match self.counts.iter_mut().find(|(known, ..)| *known == lacks) {
            Some((_, count, _)) => *count += 1,
            None => self.counts.push((lacks, 1, text)),
        }
        false
    }

    /// Notes for the report.
    pub(super) fn notes(&self) -> impl Iterator<Item = String> {
        self.counts.iter().map(|(lacks, count, first)| {
            let first = first.as_ref().map_or(String::new(), |text| {
                let text: String = text.chars().take(40).collect();
                format!(", first value `{text}`")
            });
            format!("ignored {lacks}: {count}{first}")
        })
    }
}
