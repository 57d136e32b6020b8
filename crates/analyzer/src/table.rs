//! Selected columns of a dataset in memory, row by row, for the analyses of predictions.

use crate::sink::{IGNORED_COLUMN, Sink};
use analysis::{Class, TooManyColumns, ValueIssue, classify};
use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, OnceLock},
};

/// Maximum number of cells. A cell takes 16 bytes.
pub const MAX_CELLS: usize = 40_000_000;
/// Maximum number of names of other columns that are remembered for messages.
const MAX_OTHER_COLUMNS: usize = 20;

/// Value of a cell.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Cell {
    /// No value.
    Missing,
    /// A number.
    Number(f64),
    /// A string, as its index among the strings of the column.
    Text(u32),
}

/// Column of a table.
#[derive(Debug, Clone, Default)]
pub struct Column {
    cells: Vec<Cell>,
    texts: Vec<String>,
    places: HashMap<String, u32>,
    fractional: bool,
}

impl Column {
    /// Creates a column from values as they are written, one for each row.
    pub(crate) fn from_texts<'t>(texts: impl Iterator<Item = Option<&'t str>>) -> Self {
        let mut column = Self::default();
        for text in texts {
            let cell = match text.map(|text| (text, classify(text.as_bytes()))) {
                None => Cell::Missing,
                Some((_, (class, number))) if class.is_number() && number.is_finite() => Cell::Number(number),
                Some((text, _)) => column.intern(text),
            };
            column.cells.push(cell);
        }
        column
    }

    /// Cells, one for each row.
    pub fn cells(&self) -> &[Cell] {
        &self.cells
    }

    /// Distinct strings, by the index that cells contain.
    pub fn texts(&self) -> &[String] {
        &self.texts
    }

    /// Whether one of the numbers was written with a fraction or an exponent, or has a type that allows one. `1.0`
    /// counts.
    pub fn is_fractional(&self) -> bool {
        self.fractional
    }

    /// Cell as a string. Integers have no fraction.
    pub fn text(&self, cell: Cell) -> Option<String> {
        match cell {
            Cell::Missing => None,
            Cell::Number(number) if number.fract().abs() <= 0.0 && number.abs() < 1e15 => Some(format!("{number:.0}")),
            Cell::Number(number) => Some(format!("{number:?}")),
            Cell::Text(place) => self.texts.get(place as usize).cloned(),
        }
    }

    fn intern(&mut self, text: &str) -> Cell {
        if let Some(place) = self.places.get(text) {
            return Cell::Text(*place);
        }
        let place = u32::try_from(self.texts.len()).unwrap_or(u32::MAX);
        self.texts.push(text.to_owned());
        self.places.insert(text.to_owned(), place);
        Cell::Text(place)
    }
}

/// Columns of a dataset.
#[derive(Debug, Clone, Default)]
pub struct Table {
    /// Columns to keep; `None` keeps all.
    wanted: Option<Arc<BTreeSet<String>>>,
    names: Vec<String>,
    /// Other columns, up to the number that is remembered.
    others: BTreeSet<String>,
    columns: Vec<Column>,
    rows: usize,
    cells: usize,
    full: bool,
    /// Column that an analysis computed from others, with its name.
    derived: OnceLock<(String, Column)>,
}

impl Table {
    /// Creates a table of these columns, or of all.
    pub fn with_columns(wanted: Option<Arc<BTreeSet<String>>>) -> Self {
        Self {
            wanted,
            ..Self::default()
        }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Whether rows were dropped because there are more than [`MAX_CELLS`] cells.
    pub fn is_full(&self) -> bool {
        self.full
    }

    /// Names of the columns.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Names of columns that exist and were not kept. Only some if there are many.
    pub fn others(&self) -> impl Iterator<Item = &str> {
        self.others.iter().map(String::as_str)
    }

    /// Column that is computed from others. It is computed once.
    pub(crate) fn derived(&self, compute: impl FnOnce() -> (String, Column)) -> (&str, &Column) {
        let (name, column) = self.derived.get_or_init(compute);
        (name, column)
    }

    /// Column with a name.
    pub fn get(&self, name: &str) -> Option<&Column> {
        self.columns.get(self.names.iter().position(|known| known == name)?)
    }

    fn put(&mut self, place: usize, cell: impl FnOnce(&mut Column) -> Cell) {
        if self.full {
            return;
        }
        if let Some(column) = self.columns.get_mut(place) {
            let cell = cell(column);
            column.cells.push(cell);
            self.cells += 1;
            self.full = self.cells >= MAX_CELLS;
        }
    }

    /// Fills columns up to the number of rows, and removes cells of a row that was dropped.
    fn fill(&mut self) {
        for column in &mut self.columns {
            column.cells.resize(self.rows, Cell::Missing);
        }
    }
}

impl Sink for Table {
    const BY_COLUMN: bool = false;

    fn column(&mut self, name: &str) -> Result<usize, TooManyColumns> {
        if self.wanted.as_ref().is_some_and(|wanted| !wanted.contains(name)) {
            if self.others.len() < MAX_OTHER_COLUMNS {
                self.others.insert(name.to_owned());
            }
            return Ok(IGNORED_COLUMN);
        }
        if let Some(place) = self.names.iter().position(|known| known == name) {
            return Ok(place);
        }
        if self.names.len() == analysis::MAX_COLUMNS {
            return Err(TooManyColumns);
        }
        self.names.push(name.to_owned());
        self.columns.push(Column {
            cells: vec![Cell::Missing; self.rows],
            ..Column::default()
        });
        Ok(self.names.len() - 1)
    }

    fn text(&mut self, place: usize, text: &[u8]) -> Option<ValueIssue> {
        let mut issue = None;
        self.put(place, |column| match classify(text) {
            (class @ (Class::Integral | Class::Fractional), number) if number.is_finite() => {
                column.fractional |= class == Class::Fractional;
                Cell::Number(number)
            }
            (Class::Integral | Class::Fractional, _) => {
                issue = Some(ValueIssue::NotFinite);
                Cell::Missing
            }
            _ => {
                if std::str::from_utf8(text).is_err() {
                    issue = Some(ValueIssue::NotUtf8);
                }
                column.intern(&String::from_utf8_lossy(text))
            }
        });
        issue
    }

    fn integer(&mut self, place: usize, value: i64) {
        #[expect(clippy::cast_precision_loss, reason = "labels and scores are doubles")]
        self.put(place, |_| Cell::Number(value as f64));
    }

    fn double(&mut self, place: usize, value: f64) -> Option<ValueIssue> {
        if value.is_finite() {
            self.put(place, |column| {
                column.fractional = true;
                Cell::Number(value)
            });
            None
        } else {
            self.put(place, |_| Cell::Missing);
            Some(ValueIssue::NotFinite)
        }
    }

    fn null(&mut self, place: usize) {
        self.put(place, |_| Cell::Missing);
    }

    fn rows(&mut self, rows: u64) {
        if !self.full {
            self.rows += usize::try_from(rows).unwrap_or(0);
            self.fill();
        }
    }

    fn merge(&mut self, other: Self) -> Result<(), TooManyColumns> {
        let rows = self.rows + other.rows;
        // If the table became full in the middle of a row, some columns have one more cell than others.
        self.fill();
        self.full |= other.full || self.cells + other.cells > MAX_CELLS;
        let room = MAX_OTHER_COLUMNS.saturating_sub(self.others.len());
        self.others.extend(other.others.into_iter().take(room));
        for (name, theirs) in other.names.iter().zip(&other.columns) {
            let place = self.column(name)?;
            let Some(mine) = self.columns.get_mut(place) else {
                continue;
            };
            mine.fractional |= theirs.fractional;
            let texts: Vec<Cell> = theirs.texts.iter().map(|text| mine.intern(text)).collect();
            mine.cells
                .extend(theirs.cells.iter().take(other.rows).map(|cell| match cell {
                    Cell::Text(place) => texts.get(*place as usize).copied().unwrap_or(Cell::Missing),
                    cell => *cell,
                }));
        }
        self.cells += other.cells;
        self.rows = rows;
        self.fill();
        Ok(())
    }
}
