//! Partial profiles in the form in which they are stored until they are merged.

use super::{ColumnProfile, MAX_FIRST_NUMBERS, Numbers, State, Summary};
use crate::{
    cell::Class,
    distinct::Distinct,
    frequent::Frequent,
    kll::Kll,
    profile::{MAX_COLUMNS, Profile},
    sum::ExactSum,
    values::{self, Form, Values},
};
use serde::{Deserialize, Serialize};

/// Version of the layout. Profiles of another version are rejected instead of misread.
const VERSION: u32 = 1;

/// Profile of a part of a dataset, stored as JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PartialProfile {
    version: u32,
    item_count: u64,
    columns: Vec<PartialColumn>,
}

/// Reason for which a partial profile is invalid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PartialError {
    /// Another version of Driftwarden created it.
    #[error(
        "the partial profile has version {0}: expected {VERSION}. Create all partial profiles with the same \
             version of Driftwarden"
    )]
    Version(u32),
    /// It has too many columns.
    #[error("the partial profile has {0} columns: the limit is {MAX_COLUMNS}")]
    Columns(usize),
    /// It contains an inconsistent value.
    #[error("the partial profile of column `{column}` contains an invalid value: {value}")]
    Value {
        /// Name of the column.
        column: String,
        /// The value.
        value: String,
    },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct PartialColumn {
    name: String,
    limit: usize,
    head: Vec<f64>,
    not_finite: u64,
    state: PartialState,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum PartialState {
    Exact(Vec<(Key, u64)>),
    Summarised(Box<PartialSummary>),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct PartialSummary {
    classes: [u64; 4],
    sum: ExactSum,
    squares: ExactSum,
    /// Minimum and maximum; `None` without numbers.
    range: Option<(f64, f64)>,
    kll: Kll,
    texts: Vec<(Key, u64)>,
    error: u64,
    distinct: Distinct,
}

/// A value, identified by its form.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Key {
    #[serde(rename = "t")]
    Text(String),
    /// A string that is not UTF-8.
    #[serde(rename = "b")]
    Bytes(Vec<u8>),
    #[serde(rename = "i")]
    Integer(i64),
    #[serde(rename = "d")]
    Double(f64),
}

fn keys(values: &Values) -> Vec<(Key, u64)> {
    let eight = |key: &[u8]| key.try_into().unwrap_or([0; 8]);
    let key = |(key, value): (&[u8], &values::Value)| {
        let key = match value.form {
            Form::Integer => Key::Integer(i64::from_le_bytes(eight(key))),
            Form::Double => Key::Double(f64::from_le_bytes(eight(key))),
            Form::Text => match std::str::from_utf8(key) {
                Ok(text) => Key::Text(text.to_owned()),
                Err(_) => Key::Bytes(key.to_vec()),
            },
        };
        (key, value.count)
    };
    values.iter().map(key).collect()
}

fn values(column: &str, keys: Vec<(Key, u64)>) -> Result<Values, PartialError> {
    let mut values = Values::default();
    for (key, count) in keys {
        let (form, bytes, class) = match key {
            #[expect(clippy::cast_precision_loss, reason = "statistics are doubles")]
            Key::Integer(value) => (
                Form::Integer,
                value.to_le_bytes().to_vec(),
                (Class::Integral, value as f64),
            ),
            Key::Double(value) => (Form::Double, value.to_le_bytes().to_vec(), (Class::Fractional, value)),
            Key::Text(text) => {
                let ((class, number), _) = values::classify_value(text.as_bytes());
                (Form::Text, text.into_bytes(), (class, number + 0.0))
            }
            Key::Bytes(bytes) => {
                let (class, _) = values::classify_value(&bytes);
                (Form::Text, bytes, class)
            }
        };
        if class.0.is_number() && !class.1.is_finite() || bytes.is_empty() || count == 0 {
            return Err(PartialError::Value {
                column: column.to_owned(),
                value: values::shown(&bytes, form),
            });
        }
        values.add(form, &bytes, class, count);
    }
    Ok(values)
}

impl From<&Profile> for PartialProfile {
    fn from(profile: &Profile) -> Self {
        let columns = profile.columns().map(|(name, column)| PartialColumn {
            name: name.to_owned(),
            limit: column.limit,
            head: column.head.clone(),
            not_finite: column.not_finite,
            state: match &column.state {
                State::Exact(values) => PartialState::Exact(keys(values)),
                State::Summarised(summary) => PartialState::Summarised(Box::new(PartialSummary {
                    classes: summary.classes,
                    sum: summary.numbers.sum.clone(),
                    squares: summary.numbers.squares.clone(),
                    range: summary
                        .numbers
                        .min
                        .is_finite()
                        .then_some((summary.numbers.min, summary.numbers.max)),
                    kll: summary.numbers.kll.clone(),
                    texts: keys(summary.texts.values()),
                    error: summary.texts.error(),
                    distinct: summary.distinct.settled(),
                })),
            },
        });
        Self {
            version: VERSION,
            item_count: profile.item_count(),
            columns: columns.collect(),
        }
    }
}

impl TryFrom<PartialProfile> for Profile {
    type Error = PartialError;

    fn try_from(partial: PartialProfile) -> Result<Self, PartialError> {
        if partial.version != VERSION {
            return Err(PartialError::Version(partial.version));
        }
        if partial.columns.len() > MAX_COLUMNS {
            return Err(PartialError::Columns(partial.columns.len()));
        }
        let mut columns = Vec::with_capacity(partial.columns.len());
        for column in partial.columns {
            let mut head = column.head;
            head.truncate(MAX_FIRST_NUMBERS);
            let state = match column.state {
                PartialState::Exact(keys) => State::Exact(values(&column.name, keys)?),
                PartialState::Summarised(summary) => {
                    let (min, max) = summary.range.unwrap_or((f64::INFINITY, f64::NEG_INFINITY));
                    State::Summarised(Box::new(Summary {
                        classes: summary.classes,
                        numbers: Numbers {
                            sum: summary.sum,
                            squares: summary.squares,
                            min,
                            max,
                            kll: summary.kll.with_counts(),
                        },
                        texts: Frequent::new(values(&column.name, summary.texts)?, summary.error),
                        distinct: summary.distinct,
                    }))
                }
            };
            let profile = ColumnProfile {
                limit: column.limit,
                head,
                not_finite: column.not_finite,
                state,
            };
            columns.push((column.name, profile));
        }
        Ok(Self::from_profiles(partial.item_count, columns))
    }
}
