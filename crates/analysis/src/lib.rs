#![doc = include_str!("../README.md")]

mod cell;
mod column;
mod distinct;
mod frequent;
mod judgment;
mod profile;
mod random;
mod sum;
mod values;
mod violation;

pub mod attribution;
pub mod bias;
pub mod compute;
pub mod data_quality;
pub mod distance;
pub mod java;
pub mod kll;
pub mod metric;
pub mod model_quality;
pub mod page;
pub mod shap;
pub mod tolerance;

pub use cell::{Class, classify};
pub use column::{
    ColumnProfile, InferredType, Moments,
    partial::{PartialError, PartialProfile},
};
pub use judgment::{Judgments, NotJudged};
pub use profile::{EXACT_VALUES, MAX_COLUMNS, Profile, TooManyColumns};
pub use sum::ExactSum;
pub use values::{ValueIssue, hash as stable_hash};
pub use violation::ConstraintViolation;

/// Serializes a number as in the files. A number that JSON cannot represent is the string `NaN`, `Infinity`, or
/// `-Infinity`.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
pub(crate) fn number<S: serde::Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    serde::Serialize::serialize(&model_monitor::Quantity::Number(*value), serializer)
}
