//! All distances between a column and its baseline.

use crate::distance::{Categories, ROBUST_C, Rows, Weighted};
use serde::Serialize;

/// Distances of a numeric column.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct NumericDistances {
    /// Largest difference between the distribution functions: the two-sample Kolmogorov-Smirnov statistic.
    #[serde(serialize_with = "crate::number")]
    pub linf_simple: f64,
    /// The same minus the sampling error (Deequ).
    #[serde(serialize_with = "crate::number")]
    pub linf_robust: f64,
    /// p-value of the Kolmogorov-Smirnov test.
    #[serde(serialize_with = "crate::number")]
    pub ks_pvalue: f64,
    /// Population stability index over the baseline's deciles.
    #[serde(serialize_with = "crate::number")]
    pub psi: f64,
    /// Jensen-Shannon distance over the baseline's deciles.
    #[serde(serialize_with = "crate::number")]
    pub jensen_shannon: f64,
    /// Wasserstein distance, in the unit of the column.
    #[serde(serialize_with = "crate::number")]
    pub wasserstein: f64,
}

impl NumericDistances {
    pub(super) fn new(sample: &Weighted, baseline: &Weighted, rows: Rows) -> Self {
        Self {
            linf_simple: sample.linf_simple(baseline),
            linf_robust: sample.linf_robust(baseline, rows, ROBUST_C),
            ks_pvalue: sample.ks_pvalue(baseline, rows),
            psi: sample.psi(baseline),
            jensen_shannon: sample.jensen_shannon(baseline),
            wasserstein: sample.wasserstein(baseline),
        }
    }
}

/// Distances of any other column.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct CategoricalDistances {
    /// Largest difference between the shares of a value.
    #[serde(serialize_with = "crate::number")]
    pub linf_simple: f64,
    /// The same minus the sampling error (Deequ).
    #[serde(serialize_with = "crate::number")]
    pub linf_robust: f64,
    /// Statistic of the chi-squared test of the shares against the baseline's; NaN if there are too few categories.
    #[serde(serialize_with = "crate::number")]
    pub chi2_statistic: f64,
    /// p-value of the chi-squared test.
    #[serde(serialize_with = "crate::number")]
    pub chi2_pvalue: f64,
    /// Population stability index.
    #[serde(serialize_with = "crate::number")]
    pub psi: f64,
    /// Jensen-Shannon distance.
    #[serde(serialize_with = "crate::number")]
    pub jensen_shannon: f64,
}

/// A value in the spelling in which values are compared: pandas writes `True`, JSON has `true`.
pub(super) fn canonical(value: &str) -> &str {
    ["true", "false"]
        .into_iter()
        .find(|known| value.eq_ignore_ascii_case(known))
        .unwrap_or(value)
}

impl CategoricalDistances {
    pub(super) fn new(sample: &Categories, baseline: &Categories) -> Self {
        let rows = sample.rows(baseline);
        let test = sample.chi_square(baseline);
        Self {
            linf_simple: sample.linf_simple(baseline),
            linf_robust: sample.linf_robust(baseline, rows, ROBUST_C),
            chi2_statistic: test.statistic,
            chi2_pvalue: test.pvalue,
            psi: sample.psi(baseline),
            jensen_shannon: sample.jensen_shannon(baseline),
        }
    }
}
