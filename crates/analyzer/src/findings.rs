//! What is wrong with a dataset: a bounded number of messages that name file, row and column, and how many more there
//! were.

use std::fmt;

/// So many findings of each kind are told one by one.
pub const TOLD: usize = 5;

/// What can be wrong with a row or a cell without the rest being lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A row has fewer cells than there are columns: those missing count as missing.
    ShortRow,
    /// A row has more cells than there are columns: those beyond are left out.
    LongRow,
    /// A quoted cell goes on behind its closing quote.
    StrayQuote,
    /// A cell is not UTF-8: it counts as a text.
    NotUtf8,
    /// A number that no double holds, or NaN: it counts as missing.
    NotFinite,
    /// A row that cannot be read: its cells count as missing.
    Unreadable,
    /// A record has two values for a column: the first one counts.
    TwoValues,
    /// A column of a type that is not analysed: its cells count as missing.
    UnknownType,
    /// A file that does not begin as those before it do, or as the baseline did.
    FirstRow,
}

impl Kind {
    fn plural(self) -> &'static str {
        match self {
            Self::ShortRow => "rows have too few cells",
            Self::LongRow => "rows have too many cells",
            Self::StrayQuote => "quoted cells go on behind their closing quote",
            Self::NotUtf8 => "values are not UTF-8",
            Self::NotFinite => "numbers are not finite and count as missing",
            Self::Unreadable => "rows cannot be read and count as rows without values",
            Self::TwoValues => "values are second ones for their column and left out",
            Self::UnknownType => "columns are of a type that is not analysed",
            Self::FirstRow => "files do not begin as those before them",
        }
    }
}

/// Something wrong at one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What it is.
    pub kind: Kind,
    /// The object it was found in.
    pub object: String,
    /// The row in it, from 1, with the header counted; 0 if it is about the whole object.
    pub row: u64,
    /// The column, if it is about one.
    pub column: Option<String>,
    /// What was expected and found.
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.object)?;
        if self.row > 0 {
            write!(f, ", row {}", self.row)?;
        }
        if let Some(column) = &self.column {
            write!(f, ", column `{column}`")?;
        }
        write!(f, ": {}", self.message)
    }
}

/// All findings about a dataset: the first of each kind, and the number of each.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Findings {
    told: Vec<Finding>,
    counts: std::collections::BTreeMap<Kind, u64>,
}

impl Findings {
    /// Whether another finding of the kind would be told one by one.
    pub fn wants(&self, kind: Kind) -> bool {
        self.count(kind) < TOLD as u64
    }

    /// Counts a finding of a kind that is told enough of.
    pub fn count_only(&mut self, kind: Kind, times: u64) {
        *self.counts.entry(kind).or_default() += times;
    }

    /// Adds a finding.
    pub fn add(&mut self, finding: Finding) {
        let count = self.counts.entry(finding.kind).or_default();
        *count += 1;
        if *count <= TOLD as u64 {
            self.told.push(finding);
        }
    }

    /// How many there are of a kind.
    pub fn count(&self, kind: Kind) -> u64 {
        self.counts.get(&kind).copied().unwrap_or(0)
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// Adds those about other parts, which come later.
    pub fn merge(&mut self, other: Self) {
        for (kind, count) in other.counts {
            let told = other.told.iter().filter(|finding| finding.kind == kind);
            let room = usize::try_from(self.count(kind)).map_or(0, |count| TOLD.saturating_sub(count));
            self.told.extend(told.take(room).cloned());
            self.count_only(kind, count);
        }
    }

    /// The findings that are told one by one, for each kind the first in the order of their places.
    pub fn told(&self) -> &[Finding] {
        &self.told
    }

    /// One line for each finding that is told, and one for each kind that has more.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (kind, count) in &self.counts {
            let told: Vec<_> = self.told.iter().filter(|finding| finding.kind == *kind).collect();
            lines.extend(told.iter().map(ToString::to_string));
            if *count > told.len() as u64 {
                lines.push(format!("in all {count} {}", kind.plural()));
            }
        }
        lines
    }
}
