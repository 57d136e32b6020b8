//! Targets for the cells of a dataset: a profile, or a table of selected columns.

use analysis::{Profile, TooManyColumns, ValueIssue};

/// Index of a column that the sink does not need. Its cells are ignored.
pub const IGNORED_COLUMN: usize = usize::MAX;

/// Receives the cells of a dataset, in parts that are merged at the end. Columns are identified by index.
pub trait Sink: Send + Sized {
    /// Whether the columns of a row may go to different parts.
    const BY_COLUMN: bool;

    /// Index of a column, which is added if it is new; [`IGNORED_COLUMN`] if it is not needed.
    ///
    /// # Errors
    /// Fails if there are too many columns.
    fn column(&mut self, name: &str) -> Result<usize, TooManyColumns>;

    /// Adds the value of a cell as a string that is not empty. If the value has an issue and counts as missing, the
    /// sink fills the cell itself.
    fn text(&mut self, place: usize, text: &[u8]) -> Option<ValueIssue>;

    /// Adds the value of a cell as an integer of typed data.
    fn integer(&mut self, place: usize, value: i64);

    /// Adds the value of a cell as a floating-point number of typed data.
    fn double(&mut self, place: usize, value: f64) -> Option<ValueIssue>;

    /// Adds a cell without a value. The call may be omitted if the next cell of the column belongs to another row.
    fn null(&mut self, place: usize);

    /// Ends this number of rows. Columns without a value in a row are filled.
    fn rows(&mut self, rows: u64);

    /// Adds the rows of another part.
    ///
    /// # Errors
    /// Fails if this leads to too many columns.
    fn merge(&mut self, other: Self) -> Result<(), TooManyColumns>;
}

impl Sink for Profile {
    const BY_COLUMN: bool = true;

    fn column(&mut self, name: &str) -> Result<usize, TooManyColumns> {
        self.column(name)
    }

    fn text(&mut self, place: usize, text: &[u8]) -> Option<ValueIssue> {
        self.at(place)?.add_text(text)
    }

    fn integer(&mut self, place: usize, value: i64) {
        if let Some(column) = self.at(place) {
            column.add_integer(value);
        }
    }

    fn double(&mut self, place: usize, value: f64) -> Option<ValueIssue> {
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
