//! Drift of a column: its distance from the baseline, and the distance that is still no drift.

use super::{
    check::{CHI_SQUARED, Options, ROBUST, Settings, Tolerant},
    distances::{CategoricalDistances, NumericDistances, canonical},
};
use crate::{
    Class, ColumnProfile, InferredType,
    distance::{Categories, DistanceError, Rows, Weighted, control::benjamini_hochberg},
    tolerance::{MIN_DISTANCE, Observed, distance_threshold},
};
use model_monitor::{FeatureConstraints, FeatureStatistics, NumericalStatistics, StringStatistics};
use serde::Serialize;

/// Kind of distance between a column and its baseline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum DriftMethod {
    /// Largest difference between the distribution functions of two numeric columns.
    Numerical,
    /// Largest difference between the shares of a value.
    Categorical,
    /// One minus the p-value of the chi-squared test.
    ChiSquared,
}

/// Drift of a column from its baseline.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ColumnDrift {
    /// Name of the column.
    pub name: String,
    /// Kind of the distance.
    pub method: DriftMethod,
    /// Distance by the configured method, which the check compares with the threshold. With `ChiSquared`, one minus the
    /// p-value.
    #[serde(serialize_with = "crate::number")]
    pub distance: f64,
    /// Largest distance that is not drift.
    #[serde(serialize_with = "crate::number")]
    pub threshold: f64,
    /// Whether the distance is above its threshold, and significant if this is required.
    pub drifted: bool,
    /// Adjusted p-value (Benjamini and Hochberg), if the false discovery rate is controlled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adjusted_p_value: Option<f64>,
    /// All distances.
    #[serde(flatten)]
    pub measured: ColumnDistances,
}

/// Distances between a column and its baseline.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum ColumnDistances {
    /// Distances of a numeric column.
    Numeric(NumericDistances),
    /// Distances of any other column.
    Categorical(CategoricalDistances),
}

impl ColumnDistances {
    /// Distances with their names.
    pub(crate) fn named(&self) -> Vec<(&'static str, f64)> {
        match self {
            Self::Numeric(of) => vec![
                ("L-infinity", of.linf_simple),
                ("p-value (Kolmogorov-Smirnov)", of.ks_pvalue),
                ("population stability index", of.psi),
                ("Jensen-Shannon", of.jensen_shannon),
                ("Wasserstein", of.wasserstein),
            ],
            Self::Categorical(of) => vec![
                ("L-infinity", of.linf_simple),
                ("p-value (chi-squared)", of.chi2_pvalue),
                ("population stability index", of.psi),
                ("Jensen-Shannon", of.jensen_shannon),
            ],
        }
    }

    fn p_value(&self) -> f64 {
        match self {
            Self::Numeric(distances) => distances.ks_pvalue,
            Self::Categorical(distances) => distances.chi2_pvalue,
        }
    }
}

/// Distance by the configured method, its threshold, and all other distances.
struct Measured {
    method: DriftMethod,
    distances: ColumnDistances,
    distance: f64,
    threshold: f64,
}

/// Computes the drift of a column.
pub(super) fn drift(
    column: &ColumnProfile,
    feature: &FeatureConstraints,
    baseline: Option<&FeatureStatistics>,
    settings: &Settings<'_>,
    options: &Options,
    tolerant: Option<&Tolerant<'_>>,
) -> Result<ColumnDrift, String> {
    let baseline = baseline.ok_or("it is not in the baseline's statistics")?;
    let threshold = settings.comparison(|of| of.comparison_threshold).unwrap_or(0.1);
    // Other methods have other thresholds.
    let tolerant = tolerant.filter(|of| {
        of.has_comparison_threshold(threshold) && !options.deequ_compat && options.false_discovery_rate.is_none()
    });
    let method = settings.comparison(|of| of.comparison_method.as_deref());
    let robust = method.is_none_or(|method| ROBUST.contains(&method));
    let tolerant = tolerant.filter(|_| !robust);
    let measured = if let Some(numeric) = &baseline.numerical_statistics {
        numeric_drift(column, numeric, (robust, threshold), options, tolerant)?
    } else if let Some(string) = &baseline.string_statistics {
        categorical_drift(column, string, (robust, threshold), settings, tolerant)?
    } else {
        return Err("the baseline has no statistics for it".to_owned());
    };
    Ok(ColumnDrift {
        name: feature.name.clone(),
        method: measured.method,
        distance: measured.distance,
        threshold: measured.threshold,
        drifted: measured.distance > measured.threshold,
        adjusted_p_value: None,
        measured: measured.distances,
    })
}

fn numeric_drift(
    column: &ColumnProfile,
    numeric: &NumericalStatistics,
    (robust, threshold): (bool, f64),
    options: &Options,
    tolerant: Option<&Tolerant<'_>>,
) -> Result<Measured, String> {
    let distribution = numeric
        .distribution
        .as_ref()
        .ok_or("the baseline has no distribution for it")?;
    let sample = numbers(column, options.deequ_compat)?;
    let baseline = baseline_numbers(distribution, options.deequ_compat)
        .ok_or("the baseline has neither a sketch nor values for it")?;
    let rows = if options.deequ_compat {
        sample.rows(&baseline)
    } else {
        let n = column.class_count(Class::Fractional) + column.class_count(Class::Integral);
        Rows::new(n, numeric.common.num_present).map_err(|error| error.to_string())?
    };
    let distances = NumericDistances::new(&sample, &baseline, rows);
    Ok(Measured {
        method: DriftMethod::Numerical,
        distance: if robust {
            distances.linf_robust
        } else {
            distances.linf_simple
        },
        threshold: tolerant.map_or(threshold, |of| {
            distance_threshold(rows.sample(), rows.baseline(), of.alpha)
        }),
        distances: ColumnDistances::Numeric(distances),
    })
}

fn categorical_drift(
    column: &ColumnProfile,
    string: &StringStatistics,
    (robust, threshold): (bool, f64),
    settings: &Settings<'_>,
    tolerant: Option<&Tolerant<'_>>,
) -> Result<Measured, String> {
    let buckets = string.distribution.iter().flat_map(|of| &of.categorical.buckets);
    let expected: Vec<(String, u64)> = buckets
        .map(|bucket| (canonical(&bucket.value).to_owned(), bucket.count))
        .collect();
    let listed: u64 = expected.iter().map(|(_, count)| count).sum();
    if column.present() == 0 {
        return Err("it has no values".to_owned());
    }
    if string.common.num_present == 0 {
        return Err("the baseline has no values for it".to_owned());
    }
    // The values beyond the listed ones differ between the two sides, so a remainder is no category.
    if listed < string.common.num_present {
        return Err("the baseline does not list all of its values".to_owned());
    }
    if !column.is_exact() {
        return Err("it has too many different values to count each".to_owned());
    }
    let texts = column.texts().into_iter();
    let sample = texts.map(|(value, count)| (canonical(&value).to_owned(), count));
    let sample = Categories::new(sample).map_err(|error| error.to_string())?;
    let expected = Categories::new(expected).map_err(|error| error.to_string())?;
    let distances = CategoricalDistances::new(&sample, &expected);
    let own = settings.comparison(|of| of.categorical_comparison_threshold);
    let threshold = own.unwrap_or(threshold);
    let is_chi_squared = settings.comparison(|of| of.categorical_drift_method.as_deref()) == Some(CHI_SQUARED);
    let (method, distance, threshold) = match tolerant.filter(|_| own.is_none()) {
        _ if is_chi_squared && distances.chi2_pvalue.is_nan() => {
            return Err("the chi-squared test requires at least two categories".to_owned());
        }
        _ if is_chi_squared => (DriftMethod::ChiSquared, 1.0 - distances.chi2_pvalue, 1.0 - threshold),
        Some(of) => {
            let (distance, threshold) = most_unusual(&sample, &expected, of.alpha);
            (DriftMethod::Categorical, distance, threshold)
        }
        None if robust => (DriftMethod::Categorical, distances.linf_robust, threshold),
        None => (DriftMethod::Categorical, distances.linf_simple, threshold),
    };
    Ok(Measured {
        method,
        distances: ColumnDistances::Categorical(distances),
        distance,
        threshold,
    })
}

/// Difference between the shares of the category that is farthest beyond its threshold, and that threshold. Each category has
/// its own: a difference that is usual for a frequent category is unusual for a rare one.
fn most_unusual(sample: &Categories, baseline: &Categories, alpha: f64) -> (f64, f64) {
    let (rows, whole) = (sample.total(), baseline.total());
    let union: Vec<(u64, u64)> = sample.union(baseline).collect();
    // Each category may be too frequent or too rare.
    #[expect(clippy::cast_precision_loss, reason = "a number of categories")]
    let alpha = alpha / (2.0 * union.len() as f64);
    let mut most = (0.0, MIN_DISTANCE);
    let mut largest: f64 = -1.0;
    for (count, part) in union {
        let then = Observed { part, whole };
        let now = Observed {
            part: count,
            whole: rows,
        };
        let difference = (now.share() - then.share()).abs();
        // The limit of a small difference matters only for the largest of them, which the report shows.
        if difference <= MIN_DISTANCE && difference <= largest {
            continue;
        }
        largest = largest.max(difference);
        let limit = if now.share() > then.share() {
            then.upper(rows, alpha) - then.share()
        } else {
            then.share() - then.lower(rows, alpha)
        };
        let threshold = limit.max(MIN_DISTANCE);
        if difference / threshold > most.0 / most.1 {
            most = (difference, threshold);
        }
    }
    most
}

/// Numbers of a column, whatever other values it contains.
fn numbers(column: &ColumnProfile, deequ_compat: bool) -> Result<Weighted, String> {
    let numbers = if deequ_compat {
        Weighted::deequ_compat(column.sketch().items())
    } else {
        Weighted::new(column.numbers())
    };
    numbers.map_err(|error| match (error, column.inferred_type()) {
        (DistanceError::Empty, InferredType::Unknown) => "it has no values".to_owned(),
        (DistanceError::Empty, _) => "it has no numbers".to_owned(),
        (error, _) => error.to_string(),
    })
}

/// Numbers of a baseline: each with its count, or the items of the sketch.
fn baseline_numbers(distribution: &model_monitor::Distribution, deequ_compat: bool) -> Option<Weighted> {
    let sketched = || {
        let levels = distribution.kll.sketch.as_ref()?.data.iter().zip(0u32..);
        let weight = |level: u32| 1u64.checked_shl(level).unwrap_or(u64::MAX);
        Some(levels.flat_map(move |(items, level)| items.iter().map(move |item| (*item, weight(level)))))
    };
    if deequ_compat {
        return Weighted::deequ_compat(sketched()?).ok();
    }
    if let Some(categorical) = &distribution.categorical {
        let pairs = categorical
            .buckets
            .iter()
            .map(|bucket| Some((bucket.value.parse().ok()?, bucket.count)));
        return Weighted::new(pairs.collect::<Option<Vec<_>>>()?).ok();
    }
    Weighted::new(sketched()?).ok()
}

/// Discards drift that is not significant, given the number of columns that are tested. Without a p-value it is not significant.
pub(super) fn control(drift: &mut [ColumnDrift], rate: f64) {
    let (at, p_values): (Vec<usize>, Vec<f64>) = drift
        .iter()
        .enumerate()
        .map(|(at, drift)| (at, drift.measured.p_value()))
        .filter(|(_, p)| !p.is_nan())
        .unzip();
    for drift in drift.iter_mut().filter(|drift| drift.measured.p_value().is_nan()) {
        drift.drifted = false;
    }
    // If the control fails, the results stay unchanged.
    let Ok(controlled) = benjamini_hochberg(&p_values, rate) else {
        return;
    };
    for (at, adjusted) in at.into_iter().zip(controlled.adjusted) {
        if let Some(drift) = drift.get_mut(at) {
            drift.adjusted_p_value = Some(adjusted);
            drift.drifted &= adjusted <= rate;
        }
    }
}
