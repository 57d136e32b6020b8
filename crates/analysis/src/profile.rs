//! The profile of a dataset: its rows counted, its columns profiled. Profiles of parts merge into that of the whole.

use crate::column::ColumnProfile;
use std::collections::HashMap;

/// More columns than this are refused.
pub const MAX_COLUMNS: usize = 20_000;
/// So many different values of a column are counted exactly, and fewer where there are more than 256 columns.
pub const EXACT_VALUES: usize = 4096;

/// So many different values are counted exactly in a dataset of so many columns.
fn exact_values(columns: usize) -> usize {
    (256 * EXACT_VALUES / columns.max(256)).max(128)
}

/// The profile of a dataset, or of a part of it.
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
    /// The profile of no rows of these columns; of two with the same name the first counts.
    ///
    /// # Errors
    /// If there are too many.
    pub fn of_columns<'a>(
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

    /// The profile of so many rows with these columns; of two with the same name the first counts.
    pub(crate) fn of_profiles(item_count: u64, columns: Vec<(String, ColumnProfile)>) -> Self {
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

    /// Where a column is; it is added if it is new.
    ///
    /// # Errors
    /// If there are too many.
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

    /// The profile of a column by its place, to add values to.
    pub fn at(&mut self, place: usize) -> Option<&mut ColumnProfile> {
        self.columns.get_mut(place).map(|(_, column)| column)
    }

    /// Counts rows. A row that gives a column no value counts as missing there.
    pub fn add_rows(&mut self, rows: u64) {
        self.item_count += rows;
    }

    /// How many rows there are.
    pub fn item_count(&self) -> u64 {
        self.item_count
    }

    /// The columns with their names, in order.
    pub fn columns(&self) -> impl ExactSizeIterator<Item = (&str, &ColumnProfile)> {
        self.columns.iter().map(|(name, column)| (name.as_str(), column))
    }

    /// The profile of a column.
    pub fn get(&self, name: &str) -> Option<&ColumnProfile> {
        let (_, column) = self.columns.get(*self.places.get(name)?)?;
        Some(column)
    }

    /// Adds the profile of other rows; columns are matched by name.
    ///
    /// # Errors
    /// If there are then too many columns.
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
