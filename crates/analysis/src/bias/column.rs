//! A column as it was read, and how Clarify interprets its values.

use serde::{Deserialize, Deserializer, de};
use std::{collections::HashMap, fmt};

/// Value of a dataset.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// No value.
    Null,
    /// A boolean.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A number that is not an integer.
    Float(f64),
    /// A string.
    Text(String),
}

impl fmt::Display for Cell {
    /// A facet's value as Clarify writes it: `None`, `True`, `1`, `1.0`, or the string itself.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("None"),
            Self::Bool(true) => f.write_str("True"),
            Self::Bool(false) => f.write_str("False"),
            Self::Int(value) => write!(f, "{value}"),
            Self::Float(value) => f.write_str(&float_text(*value)),
            Self::Text(text) => f.write_str(text),
        }
    }
}

/// A float as Python writes it: the shortest digits that parse as the same number, with an exponent below 1e-4 and from
/// 1e16.
pub(super) fn float_text(value: f64) -> String {
    if value.is_nan() {
        return "nan".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    let magnitude = value.abs();
    if magnitude > 0.0 && !(1e-4..1e16).contains(&magnitude) {
        let text = format!("{value:e}");
        let Some((digits, exponent)) = text.split_once('e') else {
            return text;
        };
        return match exponent.strip_prefix('-') {
            Some(exponent) => format!("{digits}e-{exponent:0>2}"),
            None => format!("{digits}e+{exponent:0>2}"),
        };
    }
    format!("{value:?}")
}

impl<'de> Deserialize<'de> for Cell {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl de::Visitor<'_> for Visitor {
            type Value = Cell;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number, a string, a boolean, or null")
            }

            fn visit_unit<E>(self) -> Result<Cell, E> {
                Ok(Cell::Null)
            }

            fn visit_bool<E>(self, value: bool) -> Result<Cell, E> {
                Ok(Cell::Bool(value))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Cell, E> {
                Ok(Cell::Int(value))
            }

            #[expect(clippy::cast_precision_loss, reason = "an integer that large is taken as a float")]
            fn visit_u64<E>(self, value: u64) -> Result<Cell, E> {
                Ok(i64::try_from(value).map_or(Cell::Float(value as f64), Cell::Int))
            }

            fn visit_f64<E>(self, value: f64) -> Result<Cell, E> {
                Ok(Cell::Float(value))
            }

            fn visit_str<E>(self, text: &str) -> Result<Cell, E> {
                Ok(Cell::Text(text.to_owned()))
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

/// Column with the type that a data frame infers from its values.
#[derive(Debug, Clone, PartialEq)]
pub enum Column {
    /// Booleans only.
    Bool(Vec<bool>),
    /// Integers only.
    Int(Vec<i64>),
    /// Numbers, some of them fractional or missing (NaN).
    Float(Vec<f64>),
    /// Strings, booleans with nulls, or mixed types.
    Object(Vec<Cell>),
}

impl Column {
    /// Creates a column from values.
    pub fn new(cells: Vec<Cell>) -> Self {
        let all = |of: fn(&Cell) -> bool| !cells.is_empty() && cells.iter().all(of);
        if all(|cell| matches!(cell, Cell::Bool(_))) {
            Self::Bool(cells.iter().map(|cell| *cell == Cell::Bool(true)).collect())
        } else if all(|cell| matches!(cell, Cell::Int(_))) {
            let int = |cell: &Cell| if let Cell::Int(value) = cell { *value } else { 0 };
            Self::Int(cells.iter().map(int).collect())
        } else if all(|cell| matches!(cell, Cell::Int(_) | Cell::Float(_) | Cell::Null)) && !all(|c| *c == Cell::Null) {
            Self::Float(cells.iter().map(|cell| cell.number().unwrap_or(f64::NAN)).collect())
        } else {
            Self::Object(cells)
        }
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        match self {
            Self::Bool(values) => values.len(),
            Self::Int(values) => values.len(),
            Self::Float(values) => values.len(),
            Self::Object(values) => values.len(),
        }
    }

    /// Whether the column has no rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Value of a row; NaN is null.
    pub(super) fn cell(&self, row: usize) -> Cell {
        let cell = match self {
            Self::Bool(values) => values.get(row).copied().map(Cell::Bool),
            Self::Int(values) => values.get(row).copied().map(Cell::Int),
            Self::Float(values) => values.get(row).copied().map(Cell::Float),
            Self::Object(values) => values.get(row).cloned(),
        };
        cell.filter(|cell| !matches!(cell, Cell::Float(value) if value.is_nan()))
            .unwrap_or(Cell::Null)
    }

    /// Values as numbers, if the column contains numbers or booleans.
    #[expect(clippy::cast_precision_loss, reason = "distances are of doubles")]
    pub(super) fn numbers(&self) -> Option<Vec<f64>> {
        match self {
            Self::Bool(values) => Some(values.iter().map(|value| f64::from(u8::from(*value))).collect()),
            Self::Int(values) => Some(values.iter().map(|value| *value as f64).collect()),
            Self::Float(values) => Some(values.clone()),
            Self::Object(_) => None,
        }
    }

    /// Distinct values, and the value of each row.
    pub(super) fn categories(&self) -> Categories {
        let mut categories = Categories::default();
        let mut codes: HashMap<Key<'_>, usize> = HashMap::default();
        for row in 0..self.len() {
            let key = match self {
                Self::Bool(values) => values.get(row).map(|value| Key::Int(i64::from(*value))),
                Self::Int(values) => values.get(row).map(|value| Key::Int(*value)),
                Self::Float(values) => values.get(row).and_then(|value| Key::float(*value)),
                Self::Object(cells) => cells.get(row).and_then(Key::new),
            };
            let code = key.map(|key| {
                *codes.entry(key).or_insert_with(|| {
                    categories.values.push(self.cell(row));
                    categories.values.len() - 1
                })
            });
            categories.codes.push(code);
        }
        categories
    }
}

impl Cell {
    /// Number that equals the value in Python, also for a boolean.
    #[expect(clippy::cast_precision_loss, reason = "a number among floats is a float")]
    pub(crate) fn number(&self) -> Option<f64> {
        match self {
            Self::Bool(value) => Some(f64::from(u8::from(*value))),
            Self::Int(value) => Some(*value as f64),
            Self::Float(value) => Some(*value),
            Self::Null | Self::Text(_) => None,
        }
    }
}

/// Identity of a value: 1, 1.0, and true are equal.
#[derive(PartialEq, Eq, Hash)]
pub(super) enum Key<'a> {
    Int(i64),
    Bits(u64),
    Text(&'a str),
}

impl<'a> Key<'a> {
    pub(super) fn new(cell: &'a Cell) -> Option<Self> {
        match cell {
            Cell::Null => None,
            Cell::Bool(value) => Some(Self::Int(i64::from(*value))),
            Cell::Int(value) => Some(Self::Int(*value)),
            Cell::Float(value) => Self::float(*value),
            Cell::Text(text) => Some(Self::Text(text)),
        }
    }

    fn float(value: f64) -> Option<Self> {
        if value.is_nan() {
            return None;
        }
        let whole = truncate(value).filter(|_| value.fract().abs() <= 0.0);
        Some(whole.map_or(Self::Bits(value.to_bits()), Self::Int))
    }
}

/// Float without a fraction, if it fits an `i64`.
pub(super) fn truncate(value: f64) -> Option<i64> {
    // 2^63.
    const LIMIT: f64 = 4_294_967_296.0 * 2_147_483_648.0;
    #[expect(clippy::cast_possible_truncation, reason = "in range")]
    (-LIMIT..LIMIT).contains(&value).then_some(value as i64)
}

/// Distinct values of a column in order of occurrence, and the value of each row; `None` for null.
#[derive(Debug, Default)]
pub(crate) struct Categories {
    pub(super) values: Vec<Cell>,
    pub(super) codes: Vec<Option<usize>>,
}

impl Categories {
    /// Number of distinct values relative to all values. Clarify uses it to distinguish identifiers and measurements
    /// from codes.
    pub(super) fn uniqueness(&self) -> f64 {
        let present = self.codes.iter().flatten().count();
        if present == 0 {
            return 0.0;
        }
        #[expect(clippy::cast_precision_loss, reason = "a dataset has fewer than 2^53 rows")]
        let share = self.values.len() as f64 / present as f64;
        share
    }

    /// Selects the rows whose value is one of these.
    pub(super) fn rows(&self, selected: &[bool]) -> Vec<bool> {
        let of = |code: &Option<usize>| code.and_then(|code| selected.get(code).copied()).unwrap_or_default();
        self.codes.iter().map(of).collect()
    }
}
