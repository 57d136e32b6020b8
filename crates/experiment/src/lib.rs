#![doc = include_str!("../README.md")]

mod allocation;
mod confidence;
mod judge;
mod plan;
mod posterior;
mod ratio;
mod sample;

pub use allocation::{Allocation, AllocationError};
pub use confidence::{ConfidenceSequence, Interval};
pub use judge::{Guardrail, Look, Outcome, Reason, Rule, Verdict, judge};
pub use plan::{Plan, PlanError, Schedule};
pub use posterior::Posterior;
pub use ratio::SampleRatio;
pub use sample::{Difference, Sample};

/// Quantile of the standard normal distribution.
fn normal_quantile(probability: f64) -> f64 {
    -std::f64::consts::SQRT_2 * statrs::function::erf::erfc_inv(2.0 * probability)
}

/// Distribution function of the standard normal distribution.
fn normal_cdf(z: f64) -> f64 {
    statrs::function::erf::erfc(-z / std::f64::consts::SQRT_2) / 2.0
}

#[expect(clippy::cast_precision_loss, reason = "counts of requests are below 2^53")]
fn real(count: u64) -> f64 {
    count as f64
}
