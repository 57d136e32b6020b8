//! Problems of a dataset: a bounded number of messages with file, row, and column, and the total of each kind.

use std::fmt;

/// Maximum number of findings of each kind that are reported individually.
pub const MAX_REPORTED: usize = 5;

/// Problems of a row or a cell that do not end the reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A row has fewer cells than there are columns. The missing cells count as missing values.
    ShortRow,
    /// A row has more cells than there are columns. The extra cells are ignored.
    LongRow,
    /// A quoted cell continues after its closing quote.
    StrayQuote,
    /// A cell is not valid UTF-8. It counts as a string.
    NotUtf8,
    /// A number that is NaN or outside the range of a double. It counts as missing.
    NotFinite,
    /// A row that is unreadable. Its cells count as missing.
    Unreadable,
    /// A record has two values for a column. The first one is used.
    TwoValues,
    /// A column has a type that is not supported. Its cells count as missing.
    UnknownType,
    /// A file that begins differently from earlier files or from the baseline.
    FirstRow,
    /// A dataset that has several readings. One of them is used.
    Ambiguous,
}

impl Kind {
    fn plural(self) -> &'static str {
        match self {
            Self::ShortRow => "rows have too few cells",
            Self::LongRow => "rows have too many cells",
            Self::StrayQuote => "quoted cells continue after their closing quote",
            Self::NotUtf8 => "values are not valid UTF-8",
            Self::NotFinite => "numbers are not finite and count as missing",
            Self::Unreadable => "rows are unreadable and count as rows without values",
            Self::TwoValues => "values are duplicates within their record and are ignored",
            Self::UnknownType => "columns have a type that is not supported",
            Self::FirstRow => "files begin differently from earlier files",
            Self::Ambiguous => "files have several readings, or columns that are left out",
        }
    }
}

/// A problem at one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Kind of the problem.
    pub kind: Kind,
    /// Object in which it was found.
    pub object: String,
    /// Row in the object, starting at 1 and including the header; 0 if the finding concerns the whole object.
    pub row: u64,
    /// Column, if the finding concerns one.
    pub column: Option<String>,
    /// Expected and found values.
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

/// All findings of a dataset: the first ones of each kind, and the count of each kind.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Findings {
    reported: Vec<Finding>,
    counts: std::collections::BTreeMap<Kind, u64>,
}

impl Findings {
    /// Whether the next finding of this kind would be reported individually.
    pub fn has_room_for(&self, kind: Kind) -> bool {
        self.count(kind) < MAX_REPORTED as u64
    }

    /// Counts findings of a kind that are not reported individually.
    pub fn count_only(&mut self, kind: Kind, times: u64) {
        *self.counts.entry(kind).or_default() += times;
    }

    /// Adds a finding.
    pub fn add(&mut self, finding: Finding) {
        let count = self.counts.entry(finding.kind).or_default();
        *count += 1;
        if *count <= MAX_REPORTED as u64 {
            self.reported.push(finding);
        }
    }

    /// Number of findings of a kind.
    pub fn count(&self, kind: Kind) -> u64 {
        self.counts.get(&kind).copied().unwrap_or(0)
    }

    /// Whether there are no findings.
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// Adds the findings of a later part.
    pub fn merge(&mut self, other: Self) {
        for (kind, count) in other.counts {
            let reported = other.reported.iter().filter(|finding| finding.kind == kind);
            let room = usize::try_from(self.count(kind)).map_or(0, |count| MAX_REPORTED.saturating_sub(count));
            self.reported.extend(reported.take(room).cloned());
            self.count_only(kind, count);
        }
    }

    /// Findings that are reported individually: the first ones of each kind, ordered by place.
    pub fn reported(&self) -> &[Finding] {
        &self.reported
    }

    /// One line for each reported finding, and one for each kind that has more.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (kind, count) in &self.counts {
            let reported: Vec<_> = self.reported.iter().filter(|finding| finding.kind == *kind).collect();
            lines.extend(reported.iter().map(ToString::to_string));
            if *count > reported.len() as u64 {
                lines.push(format!("in total, {count} {}", kind.plural()));
            }
        }
        lines
    }
}
