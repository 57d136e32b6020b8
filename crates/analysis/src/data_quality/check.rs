//! Violations of a baseline's constraints, and drift of the columns.

use super::distances::{CategoricalDistances, NumericDistances, categories};
use crate::{
    Class, ColumnProfile, InferredType, Profile,
    distance::{DistanceError, Rows, Weighted, control::benjamini_hochberg},
    java::java_double,
    violation::ConstraintViolation,
};
use model_monitor::{
    ConstraintCheckType, Constraints, DistributionConstraints, FeatureConstraints, FeatureStatistics, MonitoringConfig,
    Statistics, Switch,
};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Maximum number of missing columns, and of extra columns, that are named individually.
const MAX_NAMED_COLUMNS: usize = 100;

/// Options of the checks; used where the monitoring configuration of the constraints does not set them.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Options {
    /// Accepts integers as decimal numbers, and any value as a string. Model Monitor does not: "10" in a column of
    /// prices violates its data type check.
    pub lenient_types: bool,
    /// Computes distances of numbers as Deequ does. Deequ counts repeated values once and so hardly detects drift in
    /// columns with few distinct numbers.
    pub deequ_compat: bool,
    /// Reports drift only if it is significant, with at most this share of false alarms among all alarms (Benjamini and
    /// Hochberg 1995).
    pub false_discovery_rate: Option<f64>,
}

/// Result of the checks.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct DataQuality {
    /// Violations, column by column.
    pub violations: Vec<ConstraintViolation>,
    /// Drift of each column, where available.
    pub drift: Vec<ColumnDrift>,
    /// Skipped checks, with the reasons.
    pub notes: Vec<String>,
}

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

/// Settings of one column.
struct Settings<'a> {
    own: Option<&'a MonitoringConfig>,
    all: Option<&'a MonitoringConfig>,
}

impl<'a> Settings<'a> {
    fn first<T>(&self, setting: impl Fn(&'a MonitoringConfig) -> Option<T>) -> Option<T> {
        self.own.into_iter().chain(self.all).find_map(setting)
    }

    fn comparison<T>(&self, setting: impl Fn(&'a DistributionConstraints) -> Option<T>) -> Option<T> {
        self.first(|config| config.distribution_constraints.as_ref().and_then(&setting))
    }

    fn evaluates(&self) -> bool {
        self.first(|config| config.evaluate_constraints) != Some(Switch::Disabled)
    }

    fn compares(&self) -> bool {
        let legacy = |constraints: &DistributionConstraints| {
            let enabled = |enabled| if enabled { Switch::Enabled } else { Switch::Disabled };
            constraints
                .perform_comparison
                .or(constraints.enable_comparisons.map(enabled))
        };
        self.comparison(legacy) != Some(Switch::Disabled)
    }
}

/// Checks a dataset against the constraints of its baseline, and for drift against its statistics.
pub fn check(
    profile: &Profile,
    constraints: &Constraints,
    baseline: Option<&Statistics>,
    options: &Options,
) -> DataQuality {
    let mut found = DataQuality::default();
    let features = constraints.features.as_deref().unwrap_or_default();
    let global = constraints.monitoring_config.as_ref();
    let statistics: HashMap<&str, &FeatureStatistics> = baseline
        .and_then(|baseline| baseline.features.as_ref())
        .into_iter()
        .flatten()
        .map(|feature| (feature.name.as_str(), feature))
        .collect();
    if global.and_then(|config| config.evaluate_constraints) != Some(Switch::Disabled) {
        columns(profile, features, &mut found);
    }
    let mut negative = Vec::new();
    let mut untold = BTreeMap::<String, Vec<&str>>::new();
    for feature in features {
        let settings = Settings {
            own: feature.overrides(),
            all: global,
        };
        let Some(column) = profile.get(&feature.name) else {
            continue;
        };
        if !settings.evaluates() {
            continue;
        }
        let mut violate = |check_type: ConstraintCheckType, description: String| {
            found.violations.push(ConstraintViolation::for_feature(
                &feature.name,
                &check_type,
                description,
            ));
        };
        data_type(column, feature, &settings, options, &mut violate);
        completeness(column, feature, profile.item_count(), &mut violate);
        domain(column, feature, &settings, &mut violate);
        if feature.num_constraints.as_ref().is_some_and(|of| of.is_non_negative) && column.moments().min < 0.0 {
            negative.push(feature.name.as_str());
        }
        if settings.compares() && baseline.is_some() {
            match drift(
                column,
                feature,
                statistics.get(feature.name.as_str()).copied(),
                &settings,
                options,
            ) {
                Ok(drift) => found.drift.push(drift),
                Err(why) => untold.entry(why).or_default().push(&feature.name),
            }
        }
    }
    if !negative.is_empty() {
        let note = "negative values, but the baseline has none (Model Monitor has no check for this)";
        found.notes.push(format!("{}: {note}", named(&negative)));
    }
    for (why, names) in untold {
        found
            .notes
            .push(format!("drift was not checked for {}: {why}", named(&names)));
    }
    if let Some(rate) = options.false_discovery_rate {
        control(&mut found.drift, rate);
    }
    for drift in found.drift.iter().filter(|drift| drift.drifted) {
        let (name, unit) = match drift.method {
            DriftMethod::Numerical => ("Numerical", ""),
            DriftMethod::Categorical => ("Categorical", ""),
            DriftMethod::ChiSquared => ("Chi-squared", " (one minus the p-value)"),
        };
        let (distance, threshold) = (java_double(drift.distance), java_double(drift.threshold));
        let description = format!("{name} distance: {distance} exceeds threshold: {threshold}{unit}");
        found.violations.push(ConstraintViolation::for_feature(
            &drift.name,
            &ConstraintCheckType::BaselineDrift,
            description,
        ));
    }
    // Column by column, in the order of the constraints.
    let order: HashMap<&str, usize> = features
        .iter()
        .enumerate()
        .map(|(at, feature)| (feature.name.as_str(), at))
        .collect();
    let place = |violation: &ConstraintViolation| order.get(violation.subject()).copied().unwrap_or(usize::MAX);
    found.violations.sort_by_key(place);
    found
}

/// Describes some columns for a note: the first ones, and their number.
fn named(names: &[&str]) -> String {
    const FIRST: usize = 10;
    let first: Vec<_> = names.iter().take(FIRST).map(|name| format!("`{name}`")).collect();
    let first = first.join(", ");
    match names.len() {
        1 => format!("column {first}"),
        all if all <= FIRST => format!("columns {first}"),
        all => format!("{all} columns ({first}, …)"),
    }
}

/// Checks for missing and extra columns.
fn columns(profile: &Profile, features: &[FeatureConstraints], found: &mut DataQuality) {
    let known: BTreeSet<&str> = features.iter().map(|feature| feature.name.as_str()).collect();
    let missing: Vec<&str> = features
        .iter()
        .map(|feature| feature.name.as_str())
        .filter(|name| profile.get(name).is_none())
        .collect();
    let extra: Vec<&str> = profile
        .columns()
        .map(|(name, _)| name)
        .filter(|name| !known.contains(name))
        .collect();
    let numbers = format!(
        "Number of columns in current dataset: {}, Number of columns in baseline constraints: {}",
        profile.columns().len(),
        features.len()
    );
    for (names, check_type, word) in [
        (missing, ConstraintCheckType::MissingColumn, "missing"),
        (extra, ConstraintCheckType::ExtraColumn, "extra"),
    ] {
        for name in names.iter().take(MAX_NAMED_COLUMNS) {
            let description = format!("There are {word} columns in current dataset. {numbers}");
            found
                .violations
                .push(ConstraintViolation::for_feature(name, &check_type, description));
        }
        if names.len() > MAX_NAMED_COLUMNS {
            found
                .notes
                .push(format!("{} more columns are {word}", names.len() - MAX_NAMED_COLUMNS));
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of rows are below 2^53")]
fn share(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}

fn data_type(
    column: &ColumnProfile,
    feature: &FeatureConstraints,
    settings: &Settings<'_>,
    options: &Options,
    violate: &mut impl FnMut(ConstraintCheckType, String),
) {
    let present = column.present();
    let count = |classes: &[Class]| classes.iter().map(|class| column.class_count(*class)).sum::<u64>();
    let lenient = options.lenient_types;
    let matching = match feature.inferred_type.as_str() {
        "Integral" => count(&[Class::Integral]),
        "Fractional" if lenient => count(&[Class::Fractional, Class::Integral]),
        "Fractional" => count(&[Class::Fractional]),
        "String" if lenient => present,
        "String" => count(&[Class::String, Class::Boolean]),
        _ => return,
    };
    if present == 0 {
        return;
    }
    let threshold = settings.first(|config| config.datatype_check_threshold).unwrap_or(1.0);
    let observed = share(matching, present);
    if observed < threshold {
        let kind = &feature.inferred_type;
        let (expected, observed) = (java_double(threshold * 100.0), java_double(observed * 100.0));
        violate(
            ConstraintCheckType::DataType,
            format!(
                "Data type match requirement is not met. Expected data type: {kind}, Expected match: {expected}%. \
                 Observed: Only {observed}% of data is {kind}."
            ),
        );
    }
}

fn completeness(
    column: &ColumnProfile,
    feature: &FeatureConstraints,
    rows: u64,
    violate: &mut impl FnMut(ConstraintCheckType, String),
) {
    let Some(least) = feature.completeness else { return };
    let observed = share(column.present(), rows);
    if observed < least {
        violate(
            ConstraintCheckType::Completeness,
            unmet(observed, "Completeness", least),
        );
    }
}

fn domain(
    column: &ColumnProfile,
    feature: &FeatureConstraints,
    settings: &Settings<'_>,
    violate: &mut impl FnMut(ConstraintCheckType, String),
) {
    let Some(domains) = feature.string_constraints.as_ref().and_then(|of| of.domains.as_ref()) else {
        return;
    };
    let present = column.present();
    if present == 0 {
        return;
    }
    let least = settings
        .first(|config| config.domain_content_threshold)
        .or_else(|| settings.comparison(|comparison| comparison.min_domain_mass))
        .unwrap_or(1.0);
    let domain: BTreeSet<&str> = domains.iter().map(String::as_str).collect();
    let inside = column
        .texts()
        .iter()
        .filter(|(value, _)| domain.contains(value.as_str()))
        .map(|(_, count)| count)
        .sum();
    let observed = share(inside, present);
    if observed < least {
        violate(
            ConstraintCheckType::CategoricalValues,
            unmet(observed, "Share of values in the domain", least),
        );
    }
}

/// Deequ's wording for a share that is too small, with the minimum.
fn unmet(observed: f64, what: &str, least: f64) -> String {
    format!(
        "Value: {} does not meet the constraint requirement! {what} should be at least {}",
        java_double(observed),
        java_double(least)
    )
}

/// Computes the drift of a column.
fn drift(
    column: &ColumnProfile,
    feature: &FeatureConstraints,
    baseline: Option<&FeatureStatistics>,
    settings: &Settings<'_>,
    options: &Options,
) -> Result<ColumnDrift, String> {
    let baseline = baseline.ok_or("it is not in the baseline's statistics")?;
    let threshold = settings.comparison(|of| of.comparison_threshold).unwrap_or(0.1);
    let method = settings
        .comparison(|of| of.comparison_method.as_deref())
        .unwrap_or("Robust");
    let robust = match method {
        "Robust" | "linf_robust" => true,
        "Simple" | "linf_simple" => false,
        other => {
            let known = "`Robust`, `Simple`, `linf_robust`, `linf_simple`";
            return Err(format!("unknown comparison_method `{other}`: expected one of {known}"));
        }
    };
    let (method, measured, distance, threshold) = if let Some(numeric) = &baseline.numerical_statistics {
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
        let distance = if robust {
            distances.linf_robust
        } else {
            distances.linf_simple
        };
        (
            DriftMethod::Numerical,
            ColumnDistances::Numeric(distances),
            distance,
            threshold,
        )
    } else if let Some(string) = &baseline.string_statistics {
        let buckets = string.distribution.iter().flat_map(|of| &of.categorical.buckets);
        let expected = buckets.map(|bucket| (bucket.value.clone(), bucket.count));
        let sample = categories(column.texts().into_iter(), column.present()).map_err(|_| "it has no values")?;
        let expected =
            categories(expected, string.common.num_present).map_err(|_| "the baseline has no values for it")?;
        let distances = CategoricalDistances::new(&sample, &expected);
        let threshold = settings
            .comparison(|of| of.categorical_comparison_threshold)
            .unwrap_or(threshold);
        match settings
            .comparison(|of| of.categorical_drift_method.as_deref())
            .unwrap_or("LInfinity")
        {
            "LInfinity" => {
                let distance = if robust {
                    distances.linf_robust
                } else {
                    distances.linf_simple
                };
                (
                    DriftMethod::Categorical,
                    ColumnDistances::Categorical(distances),
                    distance,
                    threshold,
                )
            }
            "ChiSquared" if distances.chi2_pvalue.is_nan() => {
                return Err("the chi-squared test requires at least two categories".to_owned());
            }
            "ChiSquared" => {
                let distance = 1.0 - distances.chi2_pvalue;
                (
                    DriftMethod::ChiSquared,
                    ColumnDistances::Categorical(distances),
                    distance,
                    1.0 - threshold,
                )
            }
            other => {
                return Err(format!(
                    "unknown categorical_drift_method `{other}`: expected `LInfinity` or `ChiSquared`"
                ));
            }
        }
    } else {
        return Err("the baseline has no statistics for it".to_owned());
    };
    Ok(ColumnDrift {
        name: feature.name.clone(),
        method,
        distance,
        threshold,
        drifted: distance > threshold,
        adjusted_p_value: None,
        measured,
    })
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

/// Discards drift that is not significant, given the number of columns that are tested.
fn control(drift: &mut [ColumnDrift], rate: f64) {
    let (at, p_values): (Vec<usize>, Vec<f64>) = drift
        .iter()
        .enumerate()
        .map(|(at, drift)| (at, drift.measured.p_value()))
        .filter(|(_, p)| !p.is_nan())
        .unzip();
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
