//! Profile of a dataset: its number of rows, and the profiles of its columns. Profiles of parts merge into the profile
//! of the whole.

use crate::column::ColumnProfile;
use std::collections::HashMap;

/// Maximum number of columns.
pub const MAX_COLUMNS: usize = 20_000;
/// Maximum number of distinct values of a column that are counted exactly; fewer if there are more than 256 columns.
pub const EXACT_VALUES: usize = 4096;

/// Maximum number of distinct values that are counted exactly in a dataset with this number of columns.
fn exact_values(columns: usize) -> usize {
    (256 * EXACT_VALUES / columns.max(256)).max(128)
}

/// Profile of a dataset, or of a part of it.
#[derive(Debug, Clone, Default)]
pub struct Profile {
    item_count: u64,
    columns: Vec<(String, ColumnProfile)>,
    places: HashMap<String, usize>,
}

/// There are more columns than [`MAX_COLUMNS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there are more than {MAX_COLUMNS} columns")]
pub struct TooManyColumns;

impl Profile {
    /// Creates a profile with these columns and no rows. Of two columns with the same name, the first is used.
    ///
    /// # Errors
    /// Fails if there are too many columns.
    pub fn with_columns<'a>(
        names: impl IntoIterator<Item = &'a str, IntoIter: ExactSizeIterator>,
    ) -> Result<Self, TooManyColumns> {
        let names = names.into_iter();
        let limit = exact_values(names.len());
        let mut profile = Self::default();
        for name in names {
            profile.place(name, limit)?;
        }
        Ok(profile)
    }

    /// Creates a profile with this number of rows and these columns. Of two columns with the same name, the first is
    /// used.
    pub(crate) fn from_profiles(item_count: u64, columns: Vec<(String, ColumnProfile)>) -> Self {
        let mut profile = Self {
            item_count,
            ..Self::default()
        };
        for (name, column) in columns {
            if !profile.places.contains_key(&name) {
                profile.places.insert(name.clone(), profile.columns.len());
                profile.columns.push((name, column));
            }
        }
        profile
    }

    /// Index of a column, which is added if it is new.
    ///
    /// # Errors
    /// Fails if there are too many columns.
    pub fn column(&mut self, name: &str) -> Result<usize, TooManyColumns> {
        self.place(name, exact_values(self.columns.len()))
    }

    fn place(&mut self, name: &str, limit: usize) -> Result<usize, TooManyColumns> {
        if let Some(at) = self.places.get(name) {
            return Ok(*at);
        }
        let at = self.columns.len();
        if at == MAX_COLUMNS {
            return Err(TooManyColumns);
        }
        self.columns.push((name.to_owned(), ColumnProfile::new(limit)));
        self.places.insert(name.to_owned(), at);
        Ok(at)
    }

    /// Profile of the column at an index, to add values to.
    pub fn at(&mut self, place: usize) -> Option<&mut ColumnProfile> {
        self.columns.get_mut(place).map(|(_, column)| column)
    }

    /// Counts rows. A row without a value for a column counts as missing there.
    pub fn add_rows(&mut self, rows: u64) {
        self.item_count += rows;
    }

    /// Number of rows.
    pub fn item_count(&self) -> u64 {
        self.item_count
    }

    /// Columns with their names, in order.
    pub fn columns(&self) -> impl ExactSizeIterator<Item = (&str, &ColumnProfile)> {
        self.columns.iter().map(|(name, column)| (name.as_str(), column))
    }

    /// Profile of a column.
    pub fn get(&self, name: &str) -> Option<&ColumnProfile> {
        let (_, column) = self.columns.get(*self.places.get(name)?)?;
        Some(column)
    }

    /// Adds the profile of other rows. Columns are matched by name.
    ///
    /// # Errors
    /// Fails if this leads to too many columns.
    pub fn merge(&mut self, other: &Self) -> Result<(), TooManyColumns> {
        self.item_count += other.item_count;
        for (name, theirs) in other.columns() {
            let at = self.place(name, theirs.limit())?;
            if let Some(mine) = self.at(at) {
                mine.merge(theirs);
            }
        }
        Ok(())
    }
}
