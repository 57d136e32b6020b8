//! Some columns of a dataset, row by row, in memory: what the analyses of predictions need.

use crate::sink::{NOWHERE, Sink};
use analysis::{Class, Oddity, TooManyColumns, classify};
use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

/// More cells than this are refused: a cell takes 16 bytes.
pub const MAX_CELLS: usize = 40_000_000;

/// The value of a cell.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Cell {
    /// None.
    Missing,
    /// A number.
    Number(f64),
    /// A text, as its place among the texts of the column.
    Text(u32),
}

/// A column.
#[derive(Debug, Clone, Default)]
pub struct Column {
    cells: Vec<Cell>,
    texts: Vec<String>,
    places: HashMap<String, u32>,
}

impl Column {
    /// The cells, one for each row.
    pub fn cells(&self) -> &[Cell] {
        &self.cells
    }

    /// A cell as text; whole numbers without a fraction.
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
    /// Only these columns are kept, if any are named.
    wanted: Option<Arc<BTreeSet<String>>>,
    names: Vec<String>,
    columns: Vec<Column>,
    rows: usize,
    cells: usize,
    full: bool,
}

impl Table {
    /// A table of these columns, or of all.
    pub fn of(wanted: Option<Arc<BTreeSet<String>>>) -> Self {
        Self {
            wanted,
            ..Self::default()
        }
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Whether rows were left out, since there are more than [`MAX_CELLS`] cells.
    pub fn is_full(&self) -> bool {
        self.full
    }

    /// The names of the columns.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// A column by its name.
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

    /// Fills columns up to the number of rows, and cuts off what is of a row that was left out.
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
            return Ok(NOWHERE);
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

    fn text(&mut self, place: usize, text: &[u8]) -> Option<Oddity> {
        let mut oddity = None;
        self.put(place, |column| match classify(text) {
            (Class::Integral | Class::Fractional, number) if number.is_finite() => Cell::Number(number),
            (Class::Integral | Class::Fractional, _) => {
                oddity = Some(Oddity::NotFinite);
                Cell::Missing
            }
            _ => {
                if std::str::from_utf8(text).is_err() {
                    oddity = Some(Oddity::NotUtf8);
                }
                column.intern(&String::from_utf8_lossy(text))
            }
        });
        oddity
    }

    fn integer(&mut self, place: usize, value: i64) {
        #[expect(clippy::cast_precision_loss, reason = "labels and scores are doubles")]
        self.put(place, |_| Cell::Number(value as f64));
    }

    fn double(&mut self, place: usize, value: f64) -> Option<Oddity> {
        if value.is_finite() {
            self.put(place, |_| Cell::Number(value));
            None
        } else {
            self.put(place, |_| Cell::Missing);
            Some(Oddity::NotFinite)
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
        // When it was full in the middle of a row, some columns have a cell more than others.
        self.fill();
        self.full |= other.full || self.cells + other.cells > MAX_CELLS;
        for (name, theirs) in other.names.iter().zip(&other.columns) {
            let place = self.column(name)?;
            let Some(mine) = self.columns.get_mut(place) else {
                continue;
            };
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
