//! A number as Model Monitor writes it: a JSON number, or a string if JSON has no number for it.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;

/// Observed value of a constraint, or its threshold.
///
/// In JSON, a finite number is a number. `NaN`, `Infinity`, and `-Infinity` are strings, as Clarify and Model Monitor
/// write them. Any other string is kept unchanged.
#[derive(Debug, Clone, PartialEq)]
pub enum Quantity {
    /// A number, possibly not finite.
    Number(f64),
    /// A string that is not a number.
    Text(String),
}

impl Quantity {
    /// Parses a string: a number in Java's or JSON's notation (`5.09E-4`, `NaN`, `-Infinity`), otherwise the string
    /// itself.
    pub fn parse(text: &str) -> Self {
        number(text).map_or_else(|| Self::Text(text.to_owned()), Self::Number)
    }

    /// The number, if it is one.
    pub fn as_number(&self) -> Option<f64> {
        match self {
            Self::Number(value) => Some(*value),
            Self::Text(_) => None,
        }
    }
}

/// Number in the notations that reports use. Rust's own parser accepts more (`inf`, `nan`). Only the documented ones
/// are accepted.
pub(crate) fn number(text: &str) -> Option<f64> {
    match text {
        "NaN" => Some(f64::NAN),
        "Infinity" | "+Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        _ if text.bytes().all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b)) => text.parse().ok(),
        _ => None,
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(value) if value.is_nan() => f.write_str("NaN"),
            Self::Number(value) if value.is_infinite() => f.write_str(if value.is_sign_positive() {
                "Infinity"
            } else {
                "-Infinity"
            }),
            Self::Number(value) => write!(f, "{value}"),
            Self::Text(text) => f.write_str(text),
        }
    }
}

impl Serialize for Quantity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Number(value) if value.is_finite() => serializer.serialize_f64(*value),
            _ => serializer.collect_str(self),
        }
    }
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl de::Visitor<'_> for Visitor {
            type Value = Quantity;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number, or a number as a string")
            }

            fn visit_f64<E>(self, value: f64) -> Result<Quantity, E> {
                Ok(Quantity::Number(value))
            }

            #[expect(clippy::cast_precision_loss, reason = "a JSON number is a double")]
            fn visit_u64<E>(self, value: u64) -> Result<Quantity, E> {
                Ok(Quantity::Number(value as f64))
            }

            #[expect(clippy::cast_precision_loss, reason = "a JSON number is a double")]
            fn visit_i64<E>(self, value: i64) -> Result<Quantity, E> {
                Ok(Quantity::Number(value as f64))
            }

            fn visit_str<E>(self, text: &str) -> Result<Quantity, E> {
                Ok(Quantity::parse(text))
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

/// Field that is a number, or a number as a string (`"NaN"`, `"Infinity"`). It is written in the same form.
pub(crate) mod lenient {
    use super::Quantity;
    use serde::{
        Deserialize, Deserializer, Serialize, Serializer,
        de::{Error, Unexpected},
    };

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
    pub(crate) fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        Quantity::Number(*value).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        match Quantity::deserialize(deserializer)? {
            Quantity::Number(value) => Ok(value),
            Quantity::Text(text) => Err(D::Error::invalid_value(
                Unexpected::Str(&text),
                &"a number, `NaN`, `Infinity` or `-Infinity`",
            )),
        }
    }
}

/// [`lenient`] for a field that may be missing or null.
pub(crate) mod lenient_option {
    use super::{Quantity, lenient};
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[expect(clippy::ref_option, reason = "serde's signature")]
    pub(crate) fn serialize<S: Serializer>(value: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
        value.map(Quantity::Number).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
        #[derive(Deserialize)]
        struct Field(#[serde(with = "lenient")] f64);
        Ok(Option::<Field>::deserialize(deserializer)?.map(|field| field.0))
    }
}

/// [`lenient`] for the levels of a sketch.
pub(crate) mod lenient_levels {
    use super::{Quantity, lenient};
    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(levels: &[Vec<f64>], serializer: S) -> Result<S::Ok, S::Error> {
        let quantities = |level: &Vec<f64>| level.iter().copied().map(Quantity::Number).collect::<Vec<_>>();
        serializer.collect_seq(levels.iter().map(quantities))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Vec<f64>>, D::Error> {
        #[derive(Deserialize)]
        struct Item(#[serde(with = "lenient")] f64);
        let levels = Vec::<Vec<Item>>::deserialize(deserializer)?;
        Ok(levels
            .into_iter()
            .map(|level| level.into_iter().map(|item| item.0).collect())
            .collect())
    }
}
