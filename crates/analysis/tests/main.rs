//! All integration tests of the package, in one binary: each binary is linked separately.

mod attribution;
mod bias;
mod bias_peer;
mod distances;
mod model_quality;
mod model_quality_peer;
mod profile;
mod shap;
