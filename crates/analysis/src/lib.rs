//! The four analyses of Model Monitor and Clarify, natively: data quality, model quality, bias, feature attribution.
//! Pure: values in, numbers out. The formulas are those of the developer guide and of Deequ and smclarify, whose
//! monitors these stand in for; each says where it comes from.
//!
//! | module | what it computes |
//! | --- | --- |
//! | [`Profile`], [`ColumnProfile`], [`kll`] | what is known of a dataset and its columns, in bounded memory, mergeable |
//! | [`data_quality`] | statistics, suggested constraints, and what violates them |
//! | [`distance`] | how far two distributions are from one another |
//! | [`model_quality`] | metrics of predictions against ground truth |
//! | [`bias`] | pre- and post-training bias metrics of facets |
//! | [`attribution`] | feature attribution drift, global SHAP |
//! | [`shap`] | Kernel SHAP |
//! | [`metric`] | the CloudWatch metrics of an analysis |
//! | [`page`] | an analysis as a page to look at |
//! | [`java`] | numbers as Java spells them, in descriptions |
//! | [`compute`] | the pure functions as scripts call them: a line of JSON in, JSON out |

mod cell;
mod column;
mod distinct;
mod frequent;
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

pub use cell::{Class, classify};
pub use column::{
    ColumnProfile, InferredType, Moments,
    partial::{PartialError, PartialProfile},
};
pub use profile::{EXACT_VALUES, MAX_COLUMNS, Profile, TooManyColumns};
pub use sum::ExactSum;
pub use values::{Oddity, hash as stable_hash};
pub use violation::ConstraintViolation;

/// A number as the files have it: one that JSON cannot hold is the text `NaN`, `Infinity` or `-Infinity`.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
pub(crate) fn number<S: serde::Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    serde::Serialize::serialize(&model_monitor::Quantity::Number(*value), serializer)
}
