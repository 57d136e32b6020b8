//! Where the cells of a dataset go: into a profile, or into a table of some columns.

use analysis::{Oddity, Profile, TooManyColumns};

/// The place of a column that a sink does not keep: what is put there is lost.
pub(crate) const UNWANTED: usize = usize::MAX;

/// Takes the cells of a dataset, in parts that are merged in the end. Columns are known by their places.
pub trait Sink: Send + Sized {
    /// Whether the columns of a row may go to different parts.
    const BY_COLUMN: bool;

    /// The place of a column, which is added if it is new.
    ///
    /// # Errors
    /// If there are too many.
    fn column(&mut self, name: &str) -> Result<usize, TooManyColumns>;

    /// The value of a cell, as text that is not empty. What is odd and counts as missing is the sink's own to fill.
    fn text(&mut self, place: usize, text: &[u8]) -> Option<Oddity>;

    /// The value of a cell, as a whole number of typed data.
    fn integer(&mut self, place: usize, value: i64);

    /// The value of a cell, as a number of typed data.
    fn double(&mut self, place: usize, value: f64) -> Option<Oddity>;

    /// A cell without a value, which need not be told where the next cell of its column belongs to another row.
    fn null(&mut self, place: usize);

    /// The end of as many rows: columns that were not given a value for each are filled.
    fn rows(&mut self, rows: u64);

    /// Adds the rows of another part.
    ///
    /// # Errors
    /// If there are then too many columns.
    fn merge(&mut self, other: Self) -> Result<(), TooManyColumns>;
}

impl Sink for Profile {
    const BY_COLUMN: bool = true;

    fn column(&mut self, name: &str) -> Result<usize, TooManyColumns> {
        self.column(name)
    }

    fn text(&mut self, place: usize, text: &[u8]) -> Option<Oddity> {
        self.at(place)?.add_text(text)
    }

    fn integer(&mut self, place: usize, value: i64) {
        if let Some(column) = self.at(place) {
            column.add_integer(value);
        }
    }

    fn double(&mut self, place: usize, value: f64) -> Option<Oddity> {
        self.at(place)?.add_double(value)
    }

    fn null(&mut self, _: usize) {}

    fn rows(&mut self, rows: u64) {
        self.add_rows(rows);
    }

    fn merge(&mut self, other: Self) -> Result<(), TooManyColumns> {
        Self::merge(self, &other)
    }
}
