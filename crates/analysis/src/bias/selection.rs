//! Rows that a facet value, an interval, or a positive label selects.
//!
//! By Clarify's rules, a column is *continuous* if it contains floats, or integers (also as strings) of which at least 5% are distinct, and
//! at most one value was given; this value is then a threshold. Otherwise the column is *categorical*. If no row has a
//! categorical value as it was given, the value is converted to the type of the first row's value and searched again.
//!
//! The share depends on the number of rows: in 40 rows or fewer, 0 and 1 count as measurements. So a baseline decides by the number
//! of distinct values too, and an execution follows its baseline ([`super::Reading`]).

use super::column::{Categories, Cell, Column, Key, float_text, truncate};
use std::{borrow::Cow, fmt};
use thiserror::Error;

/// Share of distinct values from which integers count as measurements.
const CONTINUOUS_UNIQUENESS: f64 = 0.05;

/// Number of distinct integers up to which they are codes, whatever their share.
const MAX_CODES: usize = 10;

/// How the values of one column are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ColumnReading {
    /// By Clarify's rules.
    Clarify,
    /// By Clarify's rules, but few distinct integers are codes.
    FewAreCodes,
    /// As codes.
    Codes,
    /// As measurements, with a threshold.
    Threshold,
}

impl ColumnReading {
    /// The column as it is read: with missing values, integers are stored as floats, and they are codes nevertheless.
    fn column(self, column: &Column) -> Cow<'_, Column> {
        match (self, column) {
            (Self::Codes | Self::FewAreCodes, Column::Float(values)) => {
                let code = |value: &f64| match truncate(*value).filter(|_| value.fract().abs() <= 0.0) {
                    Some(whole) => Some(Cell::Int(whole)),
                    None => value.is_nan().then_some(Cell::Null),
                };
                let cells: Option<Vec<Cell>> = values.iter().map(code).collect();
                cells.map_or(Cow::Borrowed(column), |cells| Cow::Owned(Column::Object(cells)))
            }
            _ => Cow::Borrowed(column),
        }
    }
}

/// Reason for which rows are not selectable. The whole report fails.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SelectionError {
    /// The column does not exist.
    #[error("`{field}`: column `{name}` is not in the dataset")]
    NoColumn {
        /// Key that names the column.
        field: &'static str,
        /// Name of the column.
        name: String,
    },
    /// The predicted label is the facet.
    #[error("`facet`: column `{0}` is the predicted label: name another column")]
    FacetIsPrediction(String),
    /// The columns differ in length.
    #[error("column `{name}` has {found} rows: expected {expected}, as the other columns have")]
    Length {
        /// Name of the column.
        name: String,
        /// Number of its rows.
        found: usize,
        /// Number of rows of the first column.
        expected: usize,
    },
    /// There are no rows.
    #[error("the dataset has no rows")]
    NoRows,
    /// No positive label was given.
    #[error("`label_values_or_threshold` is empty: set it to the positive values or a threshold")]
    NoLabelValues,
    /// A continuous column needs a threshold.
    #[error("column `{0}` is continuous: set a threshold")]
    NoThreshold(String),
    /// The threshold is not a number.
    #[error("column `{name}` is continuous: expected a number as threshold, found `{value}`")]
    NotAThreshold {
        /// Name of the column.
        name: String,
        /// Value that was given.
        value: String,
    },
    /// The column contains no numbers.
    #[error("column `{0}` is continuous, but all its values are missing")]
    OnlyNulls(String),
    /// An integer is out of range, or only some readers accept a string as a number.
    #[error("column `{name}` looks continuous, but `{value}` is not a number")]
    NotANumber {
        /// Name of the column.
        name: String,
        /// Its value.
        value: String,
    },
    /// The value has another type than the column.
    #[error("no row of column `{name}` has the value `{value}`, and the value has another type than the column")]
    NotConvertible {
        /// Name of the column.
        name: String,
        /// Value that was given.
        value: String,
    },
    /// A prediction is not a number, but labels are integers.
    #[error("column `{0}` has missing or infinite values, but the label is an integer")]
    NotFinite(String),
    /// Label and prediction have different kinds.
    #[error(
        "columns `{label}` and `{predicted}` must both be continuous or both be categorical: use the same values in \
         both"
    )]
    KindsDiffer {
        /// Name of the label.
        label: String,
        /// Name of the predicted label.
        predicted: String,
    },
    /// No predicted label is positive.
    #[error("no value of the predicted label `{0}` is positive")]
    NoPositivePrediction(String),
    /// No probability reaches the threshold.
    #[error("no probability reaches the threshold of a positive prediction")]
    NoneAccepted,
    /// A facet without listed values has too many values.
    #[error("column `{name}` has {found} values, more than {limit}: list the values of the sensitive group")]
    TooManyValues {
        /// Name of the facet.
        name: String,
        /// Number of its values.
        found: usize,
        /// Maximum number of values.
        limit: usize,
    },
}

/// A number that is still an integer or a float.
#[derive(Debug, Clone, Copy)]
enum Number {
    Int(i64),
    Float(f64),
}

impl Number {
    #[expect(clippy::cast_precision_loss, reason = "thresholds are compared as doubles")]
    fn value(self) -> f64 {
        match self {
            Self::Int(value) => value as f64,
            Self::Float(value) => value,
        }
    }
}

/// Values of a continuous column.
#[derive(Debug)]
enum Numbers {
    Int(Vec<i64>),
    Float(Vec<f64>),
}

impl Numbers {
    /// Largest value that is not missing.
    fn max(&self) -> Option<Number> {
        match self {
            Self::Int(values) => values.iter().copied().max().map(Number::Int),
            Self::Float(values) => {
                let max = values.iter().copied().filter(|value| !value.is_nan());
                max.reduce(f64::max).map(Number::Float)
            }
        }
    }

    fn rows(&self, interval: &ThresholdInterval) -> Vec<bool> {
        match self {
            Self::Int(values) => values
                .iter()
                .map(|value| interval.contains(Number::Int(*value).value()))
                .collect(),
            Self::Float(values) => values.iter().map(|value| interval.contains(*value)).collect(),
        }
    }
}

/// Kind of a column.
#[derive(Debug)]
enum Kind {
    Categorical(Categories),
    Continuous(Numbers),
}

/// Values or interval as reports name them, and the selected rows.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Selection {
    pub(super) name: String,
    pub(super) rows: Vec<bool>,
}

/// Selections of a facet: the given values or threshold, or each value against the rest. Null is one of the values, for
/// which smclarify finds no rows unless nulls convert to a value of the column.
pub(super) fn facets(
    name: &str,
    column: &Column,
    values: &[Cell],
    reading: ColumnReading,
    limit: usize,
) -> Result<Vec<Selection>, SelectionError> {
    let column = &*reading.column(column);
    let categories = match kind(name, column, values, reading)? {
        Kind::Continuous(numbers) => {
            let interval = ThresholdInterval::new(name, numbers.max(), values)?;
            let rows = numbers.rows(&interval);
            return Ok(vec![Selection {
                name: interval.to_string(),
                rows,
            }]);
        }
        Kind::Categorical(categories) => categories,
    };
    if !values.is_empty() {
        return Ok(vec![Selection {
            name: names(values),
            rows: categories.rows(&select(name, column, &categories, values)?),
        }]);
    }
    let null = categories.codes.iter().position(Option::is_none);
    let found = categories.values.len() + usize::from(null.is_some());
    if found > limit {
        return Err(SelectionError::TooManyValues {
            name: name.to_owned(),
            found,
            limit,
        });
    }
    let mut facets = Vec::with_capacity(found);
    // Null is listed where it occurs first.
    let before_null = null.map(|row| {
        let seen = categories.codes.iter().take(row).flatten();
        seen.max().map_or(0, |code| code + 1)
    });
    for code in 0..=categories.values.len() {
        if before_null == Some(code) {
            let missing = [Cell::Float(f64::NAN)];
            facets.push(Selection {
                name: names(&missing),
                rows: categories.rows(&select(name, column, &categories, &missing)?),
            });
        }
        if let Some(value) = categories.values.get(code) {
            facets.push(Selection {
                name: value.to_string(),
                rows: categories.codes.iter().map(|of_row| *of_row == Some(code)).collect(),
            });
        }
    }
    Ok(facets)
}

/// Positive rows of the label and, with predictions, of the prediction by the same values. The interval of a threshold
/// ends at the largest label; for predictions, at the largest value of both. The name of the selection contains the
/// former.
pub(super) fn labels(
    label: (&str, &Column),
    predicted: Option<(&str, &Column)>,
    values: &[Cell],
    reading: ColumnReading,
) -> Result<(Selection, Option<Vec<bool>>), SelectionError> {
    if values.is_empty() {
        return Err(SelectionError::NoLabelValues);
    }
    let of_label = reading.column(label.1);
    let label = (label.0, &*of_label);
    let label_kind = kind(label.0, label.1, values, reading)?;
    // Labels and predictions are read alike.
    let reading = match (&label_kind, reading) {
        (_, ColumnReading::Clarify) => ColumnReading::Clarify,
        (Kind::Categorical(_), _) => ColumnReading::Codes,
        (Kind::Continuous(_), _) => ColumnReading::Threshold,
    };
    let positive = match &label_kind {
        Kind::Continuous(numbers) => {
            let interval = ThresholdInterval::new(label.0, numbers.max(), values)?;
            Selection {
                rows: numbers.rows(&interval),
                name: interval.to_string(),
            }
        }
        Kind::Categorical(categories) => Selection {
            rows: categories.rows(&select(label.0, label.1, categories, values)?),
            name: names(values),
        },
    };
    let Some(predicted) = predicted else {
        return Ok((positive, None));
    };
    let of_predicted = reading.column(predicted.1);
    let predicted = (predicted.0, &*of_predicted);
    let accepted = match (&label_kind, kind(predicted.0, predicted.1, values, reading)?) {
        (Kind::Categorical(_), Kind::Categorical(categories)) => {
            categories.rows(&select(predicted.0, predicted.1, &categories, values)?)
        }
        (Kind::Continuous(label_numbers), Kind::Continuous(numbers)) => {
            let numbers = as_labels(predicted.0, numbers, label_numbers)?;
            let max = [label_numbers.max(), numbers.max()].into_iter().flatten();
            let max = max.reduce(|a, b| if b.value() > a.value() { b } else { a });
            numbers.rows(&ThresholdInterval::new(predicted.0, max, values)?)
        }
        _ => {
            return Err(SelectionError::KindsDiffer {
                label: label.0.to_owned(),
                predicted: predicted.0.to_owned(),
            });
        }
    };
    if reading == ColumnReading::Clarify && !accepted.contains(&true) {
        return Err(SelectionError::NoPositivePrediction(predicted.0.to_owned()));
    }
    Ok((positive, Some(accepted)))
}

/// Predictions converted to the type of the labels. If labels are integers, fractions are truncated.
fn as_labels(name: &str, predicted: Numbers, labels: &Numbers) -> Result<Numbers, SelectionError> {
    Ok(match (predicted, labels) {
        (Numbers::Float(values), Numbers::Int(_)) => {
            let whole = values.into_iter().map(truncate).collect::<Option<Vec<i64>>>();
            Numbers::Int(whole.ok_or_else(|| SelectionError::NotFinite(name.to_owned()))?)
        }
        (Numbers::Int(values), Numbers::Float(_)) => {
            Numbers::Float(values.into_iter().map(|value| Number::Int(value).value()).collect())
        }
        (same, _) => same,
    })
}

/// Values as a string.
fn names(values: &[Cell]) -> String {
    values.iter().map(Cell::to_string).collect::<Vec<_>>().join(",")
}

fn kind(name: &str, column: &Column, values: &[Cell], reading: ColumnReading) -> Result<Kind, SelectionError> {
    let categories = || column.categories();
    if values.len() > 1 || reading == ColumnReading::Codes {
        return Ok(Kind::Categorical(categories()));
    }
    let is_continuous = |categories: &Categories| match reading {
        ColumnReading::Threshold => true,
        ColumnReading::FewAreCodes if are_codes(categories, values) => false,
        _ => categories.uniqueness() >= CONTINUOUS_UNIQUENESS,
    };
    let of_integers = |numbers: Numbers, categories: Categories| {
        if is_continuous(&categories) {
            Kind::Continuous(numbers)
        } else {
            Kind::Categorical(categories)
        }
    };
    Ok(match column {
        Column::Bool(_) => Kind::Categorical(categories()),
        Column::Float(values) => Kind::Continuous(Numbers::Float(values.clone())),
        Column::Int(values) => of_integers(Numbers::Int(values.clone()), categories()),
        Column::Object(cells) => {
            if !are_integers(name, cells)? {
                return Ok(Kind::Categorical(categories()));
            }
            let categories = categories();
            if is_continuous(&categories) {
                Kind::Continuous(numbers(name, cells)?)
            } else {
                Kind::Categorical(categories)
            }
        }
    })
}

/// Whether integers are codes: there are two of them, or few, and the given value is one of them.
fn are_codes(categories: &Categories, values: &[Cell]) -> bool {
    let is_one = |value: &Cell| {
        let key = Key::new(value);
        key.is_some() && categories.values.iter().any(|known| Key::new(known) == key)
    };
    let distinct = categories.values.len();
    distinct <= 2 || (distinct <= MAX_CODES && values.iter().all(is_one))
}

/// Whether every cell of a mixed column is an integer or a string with one. Floats count, because they are truncated.
fn are_integers(name: &str, cells: &[Cell]) -> Result<bool, SelectionError> {
    for cell in cells {
        let integer = match cell {
            Cell::Null => return Ok(false),
            Cell::Bool(_) | Cell::Int(_) => Ok(()),
            Cell::Float(value) if value.is_nan() => return Ok(false),
            Cell::Float(value) => truncate(*value).map(|_| ()).ok_or(IntegerError::TooLarge),
            Cell::Text(text) => integer(text).map(|_| ()),
        };
        match integer {
            Ok(()) => {}
            Err(IntegerError::Invalid) => return Ok(false),
            Err(IntegerError::TooLarge) => return Err(not_a_number(name, cell)),
        }
    }
    Ok(true)
}

fn not_a_number(name: &str, cell: &Cell) -> SelectionError {
    SelectionError::NotANumber {
        name: name.to_owned(),
        value: cell.to_string(),
    }
}

/// Numbers of a mixed column that [`are_integers`] accepts: as floats if one of them is a float.
fn numbers(name: &str, cells: &[Cell]) -> Result<Numbers, SelectionError> {
    let mut integers = Vec::with_capacity(cells.len());
    for cell in cells {
        let value = match cell {
            Cell::Bool(value) => Some(Number::Int(i64::from(*value))),
            Cell::Int(value) => Some(Number::Int(*value)),
            Cell::Float(value) => Some(Number::Float(*value)),
            // Underscores between digits are valid in an integer, but not in the number parser used next.
            Cell::Text(text) if !text.contains('_') => integer(text).ok().map(Number::Int),
            Cell::Text(_) | Cell::Null => None,
        };
        integers.push(value.ok_or_else(|| not_a_number(name, cell))?);
    }
    let whole = |number: &Number| match number {
        Number::Int(value) => Some(*value),
        Number::Float(_) => None,
    };
    let all = integers.iter().map(whole).collect::<Option<Vec<_>>>();
    Ok(all.map_or_else(
        || Numbers::Float(integers.iter().map(|number| number.value()).collect()),
        Numbers::Int,
    ))
}

/// Interval from a threshold (exclusive) to the largest value (inclusive). It is empty and has no name if both are
/// equal. A threshold above the largest value swaps the ends.
#[derive(Debug)]
struct ThresholdInterval {
    ends: Option<(Number, Number)>,
}

impl ThresholdInterval {
    fn new(name: &str, max: Option<Number>, values: &[Cell]) -> Result<Self, SelectionError> {
        let value = values
            .first()
            .ok_or_else(|| SelectionError::NoThreshold(name.to_owned()))?;
        let threshold = match value {
            Cell::Bool(value) => Some(Number::Int(i64::from(*value))),
            Cell::Int(value) => Some(Number::Int(*value)),
            Cell::Float(value) => Some(Number::Float(*value)),
            Cell::Text(text) => float(text).map(Number::Float),
            Cell::Null => None,
        };
        let threshold = threshold
            .filter(|threshold| !threshold.value().is_nan())
            .ok_or_else(|| SelectionError::NotAThreshold {
                name: name.to_owned(),
                value: value.to_string(),
            })?;
        let max = max.ok_or_else(|| SelectionError::OnlyNulls(name.to_owned()))?;
        // smclarify compares with the magnitude of the maximum. So 5 for values -7 and -5 selects nothing either.
        let same = max.value().abs().total_cmp(&(threshold.value() + 0.0)).is_eq();
        let ends = match (threshold, max) {
            (Number::Int(a), Number::Int(b)) => (Number::Int(a.min(b)), Number::Int(a.max(b))),
            (a, b) => {
                let (a, b) = (a.value(), b.value());
                (Number::Float(a.min(b)), Number::Float(a.max(b)))
            }
        };
        Ok(Self {
            ends: (!same).then_some(ends),
        })
    }

    fn contains(&self, value: f64) -> bool {
        self.ends
            .is_some_and(|(low, high)| low.value() < value && value <= high.value())
    }
}

impl fmt::Display for ThresholdInterval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ends {
            None => Ok(()),
            Some((Number::Int(low), Number::Int(high))) => write!(f, "({low}, {high}]"),
            Some((low, high)) => write!(f, "({}, {}]", float_text(low.value()), float_text(high.value())),
        }
    }
}

/// Type of the distinct values of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Type {
    Bool,
    Int,
    Float,
    Mixed,
}

impl Type {
    fn new(values: &[Cell]) -> Self {
        let all = |of: fn(&Cell) -> bool| !values.is_empty() && values.iter().all(of);
        if all(|value| matches!(value, Cell::Bool(_))) {
            Self::Bool
        } else if all(|value| matches!(value, Cell::Int(_))) {
            Self::Int
        } else if all(|value| matches!(value, Cell::Int(_) | Cell::Float(_))) {
            Self::Float
        } else {
            Self::Mixed
        }
    }

    /// Whether values of this type can contain a value. In a mixed column, a boolean equals its number.
    fn takes(self, value: &Cell) -> bool {
        match self {
            Self::Bool => matches!(value, Cell::Bool(_)),
            Self::Int | Self::Float => matches!(value, Cell::Int(_) | Cell::Float(_)),
            Self::Mixed => true,
        }
    }
}

/// Categories that are among the values.
fn select(name: &str, column: &Column, categories: &Categories, values: &[Cell]) -> Result<Vec<bool>, SelectionError> {
    let kind = Type::new(&categories.values);
    let find = |values: &[Cell]| -> Vec<bool> {
        let keys: Vec<_> = values
            .iter()
            .filter(|value| kind.takes(value))
            .filter_map(Key::new)
            .collect();
        let is_one = |category: &Cell| Key::new(category).is_some_and(|key| keys.contains(&key));
        categories.values.iter().map(is_one).collect()
    };
    let found = find(values);
    if found.contains(&true) {
        return Ok(found);
    }
    Ok(find(&converted(name, column, kind, values)?))
}

/// Values converted to the type of the first row's value. A row without a value is a float.
fn converted(name: &str, column: &Column, kind: Type, values: &[Cell]) -> Result<Vec<Cell>, SelectionError> {
    let given = values.first().unwrap_or(&Cell::Null);
    let first = column.cell(0);
    // A value that already has the type is not converted, nor are the values after it.
    let same = match (&first, given) {
        (Cell::Null, Cell::Float(_)) => true,
        (Cell::Bool(_), Cell::Bool(_))
        | (Cell::Int(_), Cell::Int(_) | Cell::Bool(_))
        | (Cell::Float(_), Cell::Float(_))
        | (Cell::Text(_), Cell::Text(_)) => kind == Type::Mixed,
        _ => false,
    };
    if same {
        return Ok(values.to_vec());
    }
    let wrong = |value: &Cell| SelectionError::NotConvertible {
        name: name.to_owned(),
        value: value.to_string(),
    };
    let floats = |null: Option<f64>| {
        let float = |value: &Cell| as_float(value, null).map(Cell::Float).ok_or_else(|| wrong(value));
        values.iter().map(float).collect()
    };
    match (first, kind) {
        (Cell::Null, _) => floats(None),
        (_, Type::Float) => floats(Some(f64::NAN)),
        (Cell::Float(_), _) => floats(None),
        (Cell::Bool(_), _) => Ok(values.iter().map(|value| Cell::Bool(is_true(value))).collect()),
        (Cell::Text(_), _) => Ok(values.iter().map(|value| Cell::Text(value.to_string())).collect()),
        (Cell::Int(_), _) => {
            let mut integers = Vec::with_capacity(values.len());
            for value in values {
                match as_integer(value, kind) {
                    Ok(integer) => integers.push(integer),
                    Err(IntegerError::Invalid) if matches!(value, Cell::Text(_)) => return floats(None),
                    Err(_) => return Err(wrong(value)),
                }
            }
            Ok(integers)
        }
    }
}

fn as_float(value: &Cell, null: Option<f64>) -> Option<f64> {
    match value {
        Cell::Text(text) => float(text),
        Cell::Null => null,
        number => number.number(),
    }
}

fn is_true(value: &Cell) -> bool {
    match value {
        Cell::Text(text) => !text.is_empty(),
        Cell::Float(value) => value.is_nan() || value.abs() > 0.0,
        other => other.number().is_some_and(|number| number.abs() > 0.0),
    }
}

/// Integer: 64 bits if the column has 64-bit integers, any size in a mixed column.
fn as_integer(value: &Cell, kind: Type) -> Result<Cell, IntegerError> {
    let large = |value: f64| match kind {
        Type::Mixed if value.is_finite() => Ok(Cell::Float(value)),
        _ => Err(IntegerError::TooLarge),
    };
    match value {
        Cell::Null => Err(IntegerError::Invalid),
        Cell::Bool(value) => Ok(Cell::Int(i64::from(*value))),
        Cell::Int(value) => Ok(Cell::Int(*value)),
        Cell::Float(value) => truncate(*value).map_or_else(|| large(value.trunc()), |whole| Ok(Cell::Int(whole))),
        Cell::Text(text) => match integer(text) {
            Err(IntegerError::TooLarge) => large(float(text).unwrap_or(f64::NAN)),
            read => read.map(Cell::Int),
        },
    }
}

#[derive(Debug, PartialEq, Eq)]
enum IntegerError {
    Invalid,
    TooLarge,
}

/// String without the underscores between its digits.
fn without_groups(text: &str) -> Option<String> {
    let digit = |text: Option<char>| text.is_some_and(|c| c.is_ascii_digit());
    let mut plain = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        if c != '_' {
            plain.push(c);
        } else if !digit(plain.chars().last()) || !digit(rest.peek().copied()) {
            return None;
        }
    }
    Some(plain)
}

/// Integer as Python parses it: optional surrounding spaces, one sign, digits, single underscores between digits.
fn integer(text: &str) -> Result<i64, IntegerError> {
    let plain = without_groups(text.trim()).ok_or(IntegerError::Invalid)?;
    plain
        .parse()
        .map_err(|error: std::num::ParseIntError| match error.kind() {
            std::num::IntErrorKind::PosOverflow | std::num::IntErrorKind::NegOverflow => IntegerError::TooLarge,
            _ => IntegerError::Invalid,
        })
}

/// Float as Python parses it.
fn float(text: &str) -> Option<f64> {
    without_groups(text.trim())?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn float_text_matches_python() {
        let text = [
            0.0,
            -0.0,
            40.0,
            79.376,
            1e16,
            1e15,
            1e-4,
            1e-5,
            1.5e-7,
            1e300,
            -2.5,
            0.1 + 0.2,
        ]
        .map(float_text);
        let expected = [
            "0.0",
            "-0.0",
            "40.0",
            "79.376",
            "1e+16",
            "1000000000000000.0",
            "0.0001",
            "1e-05",
            "1.5e-07",
            "1e+300",
            "-2.5",
            "0.30000000000000004",
        ];
        assert_eq!(text, expected);
    }

    #[test]
    fn number_parsing_matches_python() {
        assert_eq!(integer(" +1_000 "), Ok(1000));
        for text in ["", "_1", "1_", "1__0", "1.0", "x", "- 1"] {
            assert_eq!(integer(text), Err(IntegerError::Invalid), "{text}");
        }
        assert_eq!(integer("9223372036854775808"), Err(IntegerError::TooLarge));
        assert_eq!(float(" 1_0.5e1 "), Some(105.0));
        assert_eq!(float("infinity"), Some(f64::INFINITY));
        assert_eq!(float("1,5"), None);
    }
}
