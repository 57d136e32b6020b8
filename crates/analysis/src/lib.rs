//! The four analyses of Model Monitor and Clarify, natively: data quality, model quality, bias, feature attribution.
//! Pure: values in, numbers out. The formulas are those of the developer guide and of Deequ and smclarify, whose
//! monitors these stand in for; each says where it comes from.
//!
//! | module | what it computes |
//! | --- | --- |
//! | [`distance`] | how far two distributions are from one another |
//! | [`model_quality`] | metrics of predictions against ground truth |
//! | [`bias`] | pre- and post-training bias metrics of facets |
//! | [`attribution`] | feature attribution drift, global SHAP |
//! | [`shap`] | Kernel SHAP |
//! | [`compute`] | the pure functions as scripts call them: a line of JSON in, JSON out |

mod random;

pub mod attribution;
pub mod bias;
pub mod compute;
pub mod distance;
pub mod model_quality;
pub mod shap;
