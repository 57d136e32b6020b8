//! Profile of a column: all data that the data quality analysis needs, in bounded memory, mergeable.
//!
//! As long as a column has few distinct values ([`ColumnProfile::limit`]), each value is counted. Then all results are
//! exact, in whatever order the values came and however they were split. Beyond the limit, values are summarized:
//! counts, sums, minimum, and maximum stay exact and still depend on the values only. Quantiles come from a KLL sketch.
//! Frequent strings and the number of distinct values come from summaries with known error bounds.

pub(crate) mod partial;

use crate::{
    cell::Class,
    distinct::Distinct,
    frequent::Frequent,
    kll::Kll,
    sum::{ExactSum, standard_deviation},
    values::{self, Form, ValueIssue, Values},
};
use std::collections::BTreeMap;

/// Number of a column's first numbers that are kept in order: Deequ's sketch consists of these numbers until a level is
/// compacted.
const MAX_FIRST_NUMBERS: usize = 2050;
/// Magnitude beyond which a square may overflow, so there is no standard deviation.
const MAX_SQUARABLE: f64 = 1e150;

/// Type of a column, as `statistics.json` and `constraints.json` write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum InferredType {
    /// Numbers, some with fractions.
    Fractional,
    /// Integers.
    Integral,
    /// Strings; also booleans, for which Model Monitor's schema has no type.
    String,
    /// No values.
    Unknown,
}

impl InferredType {
    /// Name of the type in files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fractional => "Fractional",
            Self::Integral => "Integral",
            Self::String => "String",
            Self::Unknown => "Unknown",
        }
    }

    /// Whether the column has numerical statistics.
    pub fn is_number(self) -> bool {
        matches!(self, Self::Fractional | Self::Integral)
    }
}

/// Profile of a column.
#[derive(Debug, Clone)]
pub struct ColumnProfile {
    /// Maximum number of distinct values that are counted exactly.
    limit: usize,
    /// First numbers, in order.
    head: Vec<f64>,
    /// Number of values that are not finite; they count as missing.
    not_finite: u64,
    state: State,
}

#[derive(Debug, Clone)]
enum State {
    Exact(Values),
    Summarised(Box<Summary>),
}

/// Summary of a column with too many distinct values to count each.
#[derive(Debug, Clone, Default)]
pub(crate) struct Summary {
    /// Number of cells of each class.
    pub classes: [u64; 4],
    pub numbers: Numbers,
    /// Cells that are not numbers.
    pub texts: Frequent,
    /// All cells.
    pub distinct: Distinct,
}

/// Numbers of a column.
#[derive(Debug, Clone)]
pub(crate) struct Numbers {
    pub sum: ExactSum,
    pub squares: ExactSum,
    pub min: f64,
    pub max: f64,
    pub kll: Kll,
}

impl Default for Numbers {
    fn default() -> Self {
        Self {
            sum: ExactSum::default(),
            squares: ExactSum::default(),
            min: f64::INFINITY,
            max: f64::NEG_INFINITY,
            kll: Kll::default(),
        }
    }
}

/// Moments of numbers, as in `statistics.json`; all NaN without numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Moments {
    /// Arithmetic mean.
    pub mean: f64,
    /// Sum.
    pub sum: f64,
    /// Standard deviation of the population; NaN if the numbers are too large to be squared.
    pub std_dev: f64,
    /// Minimum.
    pub min: f64,
    /// Maximum.
    pub max: f64,
}

impl Numbers {
    fn add(&mut self, value: f64) {
        self.sum.add(value);
        self.squares.add_square(value);
        self.min = self.min.min(value);
        self.max = self.max.max(value);
        self.kll.add(value);
    }

    fn add_times(&mut self, value: f64, times: u64) {
        self.sum.add_times(value, times);
        self.squares.add_square_times(value, times);
        self.min = self.min.min(value);
        self.max = self.max.max(value);
        self.kll.add_times(value, times);
    }

    fn merge(&mut self, other: &Self) {
        self.sum.merge(&other.sum);
        self.squares.merge(&other.squares);
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        self.kll.merge(&other.kll);
    }

    fn moments(&self, count: u64) -> Moments {
        if count == 0 {
            let nan = f64::NAN;
            return Moments {
                mean: nan,
                sum: nan,
                std_dev: nan,
                min: nan,
                max: nan,
            };
        }
        let sum = self.sum.value();
        let squarable = self.min.abs().max(self.max.abs()) < MAX_SQUARABLE;
        #[expect(clippy::cast_precision_loss, reason = "a count of rows is below 2^53")]
        Moments {
            mean: sum / count as f64,
            sum,
            std_dev: if squarable {
                standard_deviation(count, &self.sum, &self.squares)
            } else {
                f64::NAN
            },
            min: self.min,
            max: self.max,
        }
    }
}

impl Summary {
    /// Adds values that were counted individually.
    fn absorb(&mut self, limit: usize, values: &Values) {
        for (key, value) in values.iter() {
            if let Some(count) = self.classes.get_mut(value.class.index()) {
                *count += value.count;
            }
            let hash = values::hash(key);
            self.distinct.add(hash);
            if value.class.is_number() {
                self.numbers.add_times(value.number, value.count);
            } else {
                self.texts.add(limit, hash, key, value.count);
            }
        }
    }

    fn merge(&mut self, limit: usize, other: &Self) {
        for (mine, theirs) in self.classes.iter_mut().zip(other.classes) {
            *mine += theirs;
        }
        self.numbers.merge(&other.numbers);
        self.texts.merge(limit, &other.texts);
        self.distinct.merge(&other.distinct);
    }
}

impl ColumnProfile {
    /// Creates an empty profile that counts up to `limit` distinct values exactly.
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            head: Vec::new(),
            not_finite: 0,
            state: State::Exact(Values::default()),
        }
    }

    /// Maximum number of distinct values that are counted exactly.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Adds a cell, a string that is not empty. Returns the issue of the value, if any. A number outside the range of a
    /// double counts as missing.
    pub fn add_text(&mut self, text: &[u8]) -> Option<ValueIssue> {
        match &mut self.state {
            State::Exact(values) => {
                if let Some(value) = values.find_text(text) {
                    value.count += 1;
                    let (class, number, issue) = (value.class, value.number, value.issue());
                    self.keep_first(class, number);
                    return issue;
                }
                self.add_new(values::hash(text), text)
            }
            State::Summarised(summary) => {
                let (class, number) = crate::cell::classify(text);
                if class.is_number() && !number.is_finite() {
                    self.not_finite += 1;
                    return Some(ValueIssue::NotFinite);
                }
                if let Some(count) = summary.classes.get_mut(class.index()) {
                    *count += 1;
                }
                // A long string is identified by its key, as in the exact counts.
                let hash = values::key_hash(text, values::hash(text));
                summary.distinct.add(hash);
                if class.is_number() {
                    summary.numbers.add(number + 0.0);
                    None
                } else {
                    summary.texts.add(self.limit, hash, text, 1)
                }
            }
        }
    }

    /// Adds a string that may be new.
    #[cold]
    fn add_new(&mut self, hash: u64, text: &[u8]) -> Option<ValueIssue> {
        let key = values::key(text);
        let ((class, number), issue) = values::classify_value(text);
        if issue == Some(ValueIssue::NotFinite) {
            self.not_finite += 1;
            return issue;
        }
        let number = number + 0.0;
        self.keep_first(class, number);
        let hash = values::key_hash(text, hash);
        self.count(hash, Form::Text, &key, (class, number), 1);
        issue
    }

    /// Adds an integer of typed data.
    pub fn add_integer(&mut self, value: i64) {
        #[expect(clippy::cast_precision_loss, reason = "statistics are doubles")]
        let number = value as f64;
        self.add_typed(Form::Integer, value.to_le_bytes(), (Class::Integral, number));
    }

    /// Adds a number of typed data. A number that is not finite counts as missing.
    pub fn add_double(&mut self, value: f64) -> Option<ValueIssue> {
        if !value.is_finite() {
            self.not_finite += 1;
            return Some(ValueIssue::NotFinite);
        }
        let value = value + 0.0;
        self.add_typed(Form::Double, value.to_le_bytes(), (Class::Fractional, value));
        None
    }

    fn add_typed(&mut self, form: Form, key: [u8; 8], (class, number): (Class, f64)) {
        self.keep_first(class, number);
        let hash = values::hash(&key);
        match &mut self.state {
            State::Exact(_) => self.count(hash, form, &key, (class, number), 1),
            State::Summarised(summary) => {
                if let Some(count) = summary.classes.get_mut(class.index()) {
                    *count += 1;
                }
                summary.distinct.add(hash);
                summary.numbers.add(number);
            }
        }
    }

    /// Adds a value this number of times, whatever its source.
    pub(crate) fn count(&mut self, hash: u64, form: Form, key: &[u8], class: (Class, f64), times: u64) {
        if let State::Exact(values) = &mut self.state {
            match values.find(hash, form, key) {
                Some(value) => value.count += times,
                None => values.insert(hash, form, key, class, times),
            }
            self.summarize_if_many();
        }
    }

    fn keep_first(&mut self, class: Class, number: f64) {
        if self.head.len() < MAX_FIRST_NUMBERS && class.is_number() {
            self.head.push(number);
        }
    }

    fn summarize_if_many(&mut self) {
        if let State::Exact(values) = &self.state
            && values.len() > self.limit
        {
            let mut summary = Box::<Summary>::default();
            summary.absorb(self.limit, values);
            self.state = State::Summarised(summary);
        }
    }

    /// Adds another profile of the same column, whose values come after those of this one.
    pub fn merge(&mut self, other: &Self) {
        self.limit = self.limit.min(other.limit);
        self.not_finite += other.not_finite;
        let room = MAX_FIRST_NUMBERS.saturating_sub(self.head.len());
        self.head.extend(other.head.iter().take(room));
        match (&mut self.state, &other.state) {
            (State::Exact(mine), State::Exact(theirs)) => {
                for (key, value) in theirs.iter() {
                    mine.add(value.form, key, (value.class, value.number), value.count);
                }
                self.summarize_if_many();
            }
            (State::Exact(mine), State::Summarised(theirs)) => {
                let mut summary = theirs.clone();
                summary.absorb(self.limit, mine);
                self.state = State::Summarised(summary);
            }
            (State::Summarised(mine), State::Exact(theirs)) => mine.absorb(self.limit, theirs),
            (State::Summarised(mine), State::Summarised(theirs)) => mine.merge(self.limit, theirs),
        }
    }

    /// Number of cells of each class, in the order of [`Class::ALL`].
    pub fn classes(&self) -> [u64; 4] {
        match &self.state {
            State::Exact(values) => {
                let mut classes = [0; 4];
                for (_, value) in values.iter() {
                    if let Some(count) = classes.get_mut(value.class.index()) {
                        *count += value.count;
                    }
                }
                classes
            }
            State::Summarised(summary) => summary.classes,
        }
    }

    /// Number of cells with a value.
    pub fn present(&self) -> u64 {
        self.classes().iter().sum()
    }

    /// Number of values that were ignored because they are not finite.
    pub fn not_finite(&self) -> u64 {
        self.not_finite
    }

    /// Type of the column (Deequ, `DataTypeHistogram.determineType`). A single string makes it a `String`.
    pub fn inferred_type(&self) -> InferredType {
        match self.classes() {
            [0, 0, 0, 0] => InferredType::Unknown,
            [_, _, 0, 0] if self.class_count(Class::Fractional) > 0 => InferredType::Fractional,
            [0, _, 0, 0] => InferredType::Integral,
            _ => InferredType::String,
        }
    }

    /// Number of cells of a class.
    pub fn class_count(&self, class: Class) -> u64 {
        self.classes().get(class.index()).copied().unwrap_or(0)
    }

    /// Whether all results of this profile are exact.
    pub fn is_exact(&self) -> bool {
        matches!(self.state, State::Exact(_))
    }

    /// Distinct numbers with their counts, in ascending order: exact, or the items of the sketch.
    pub fn numbers(&self) -> Vec<(f64, u64)> {
        let mut numbers: Vec<(f64, u64)> = match &self.state {
            State::Exact(values) => {
                let numbers = values.iter().filter(|(_, value)| value.class.is_number());
                numbers.map(|(_, value)| (value.number, value.count)).collect()
            }
            State::Summarised(summary) => summary.numbers.kll.items().collect(),
        };
        numbers.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        numbers.dedup_by(|next, kept| {
            let same = next.0.total_cmp(&kept.0).is_eq();
            if same {
                kept.1 += next.1;
            }
            same
        });
        numbers
    }

    /// Mean, sum, standard deviation, minimum, and maximum of the numbers.
    pub fn moments(&self) -> Moments {
        match &self.state {
            State::Exact(_) => {
                let (mut numbers, mut count) = (Numbers::default(), 0);
                for (value, times) in self.numbers() {
                    numbers.add_times(value, times);
                    count += times;
                }
                numbers.moments(count)
            }
            State::Summarised(summary) => {
                let count = self.class_count(Class::Fractional) + self.class_count(Class::Integral);
                summary.numbers.moments(count)
            }
        }
    }

    /// Sketch of the numbers. Up to 2,050 numbers it contains them in order, as Deequ's.
    pub fn sketch(&self) -> Kll {
        if u64::try_from(self.head.len()) == Ok(self.present()) {
            return Kll::from_levels((!self.head.is_empty()).then(|| self.head.clone()));
        }
        match &self.state {
            State::Exact(_) => {
                let mut kll = Kll::default();
                for (value, times) in self.numbers() {
                    kll.add_times(value, times);
                }
                kll
            }
            State::Summarised(summary) => summary.numbers.kll.clone(),
        }
    }

    /// Number of distinct values: exact, or estimated with an error of about 1.6%.
    #[expect(clippy::cast_precision_loss, reason = "at most the limit")]
    pub fn distinct_count(&self) -> f64 {
        match &self.state {
            State::Exact(values) => {
                let typed = values.iter().filter(|(_, value)| value.form != Form::Text).count();
                // `5` and `"5"` in JSON are shown as the same value.
                let mixed = typed > 0 && typed < values.len();
                (if mixed { self.texts().len() } else { values.len() }) as f64
            }
            State::Summarised(summary) => summary.distinct.estimate(),
        }
    }

    /// Values as strings with their counts, the most frequent first. For a column with too many distinct values, only
    /// the frequent ones, with counts that are too low by at most [`Self::count_error`].
    pub fn texts(&self) -> Vec<(String, u64)> {
        let mut counts = BTreeMap::<String, u64>::new();
        let mut add = |values: &Values| {
            for (key, value) in values.iter() {
                *counts.entry(values::shown(key, value.form)).or_default() += value.count;
            }
        };
        match &self.state {
            State::Exact(values) => add(values),
            State::Summarised(summary) => {
                add(summary.texts.values());
                self.frequent_numbers(summary, &mut counts);
            }
        }
        let mut texts: Vec<_> = counts.into_iter().collect();
        texts.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        texts
    }

    /// Numbers that are more frequent than the error of the sketch by far, in a column with strings and many distinct
    /// numbers.
    fn frequent_numbers(&self, summary: &Summary, counts: &mut BTreeMap<String, u64>) {
        let least = self.present() / 200;
        for (number, count) in self.numbers() {
            if count > least {
                let whole = number.fract().abs() <= 0.0 && summary.classes.first() == Some(&0);
                let text = if whole {
                    format!("{number}")
                } else {
                    format!("{number:?}")
                };
                *counts.entry(text).or_default() += count;
            }
        }
    }

    /// Maximum amount by which counts of [`Self::texts`] are too low.
    pub fn count_error(&self) -> u64 {
        match &self.state {
            State::Exact(_) => 0,
            State::Summarised(summary) => summary.texts.error(),
        }
    }
}
