//! Violations of a baseline's constraints, and drift of the columns.

use super::{
    distances::canonical,
    drift::{ColumnDrift, DriftMethod, control, drift},
    suggest,
};
use crate::{
    Class, ColumnProfile, Judgments, NotJudged, Profile,
    java::java_double,
    tolerance::{DataQualityTolerance, FeatureTolerance, Observed, Tolerance, is_same},
    violation::ConstraintViolation,
};
use model_monitor::{
    ConstraintCheckType, Constraints, DistributionConstraints, FeatureConstraints, FeatureStatistics, MonitoringConfig,
    Statistics, Switch,
};
use serde::Serialize;
use std::collections::{BTreeSet, HashMap};

/// Maximum number of missing columns, and of extra columns, that are named individually.
const MAX_NAMED_COLUMNS: usize = 100;

/// Names of `comparison_method` with the correction for the sampling error.
pub(super) const ROBUST: [&str; 2] = ["Robust", "linf_robust"];
/// Names of `comparison_method` without it.
const SIMPLE: [&str; 2] = ["Simple", "linf_simple"];
/// Default of `categorical_drift_method`.
const L_INFINITY: &str = "LInfinity";
/// The other value of `categorical_drift_method`.
pub(super) const CHI_SQUARED: &str = "ChiSquared";

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
    /// Checks that were evaluated, and those that were not. The names of the columns are not among them.
    #[serde(skip)]
    pub judgments: Judgments,
    /// Notes about the columns, and skipped checks with the reasons.
    pub notes: Vec<String>,
}

/// Baseline of data quality.
#[derive(Debug, Clone, Copy)]
pub struct Baseline<'a> {
    /// Constraints.
    pub constraints: &'a Constraints,
    /// Statistics. Without them, drift is not checked, and thresholds have no tolerance.
    pub statistics: Option<&'a Statistics>,
    /// Tolerance. Without it, thresholds are applied as they are.
    pub tolerance: Option<&'a Tolerance>,
}

/// Thresholds for the number of rows of an execution.
pub(super) struct Tolerant<'a> {
    tolerance: &'a Tolerance,
    of: &'a DataQualityTolerance,
    /// Probability of a false alarm of each check.
    pub(super) alpha: f64,
    rows: u64,
    baseline_rows: u64,
}

impl<'a> Tolerant<'a> {
    fn new(baseline: &Baseline<'a>, columns: usize, rows: u64) -> Option<Self> {
        // Thresholds for another number of rows follow from the statistics.
        let tolerance = baseline.tolerance.filter(|_| baseline.statistics.is_some())?;
        Some(Self {
            tolerance,
            of: tolerance.data_quality.as_ref()?,
            alpha: suggest::alpha(tolerance, columns),
            rows,
            baseline_rows: tolerance.baseline_rows,
        })
    }

    /// Whether `comparison_threshold` is the suggested one.
    pub(super) fn has_comparison_threshold(&self, threshold: f64) -> bool {
        is_same(self.of.comparison_threshold, threshold)
    }

    fn feature(&self, name: &str) -> Option<&FeatureTolerance> {
        self.of.features.get(name)
    }

    /// Completeness for the number of rows, if the constraint is the suggested one.
    fn completeness(&self, name: &str, present: u64, least: f64) -> f64 {
        if !self.feature(name).is_some_and(|of| is_same(of.completeness, least)) {
            return least;
        }
        let present = Observed {
            part: present,
            whole: self.baseline_rows,
        };
        suggest::completeness(present, self.rows, self.alpha, self.tolerance)
    }

    /// Share of values in the domain for a number of values, if the threshold is the suggested one.
    fn domain(&self, name: &str, statistics: &FeatureStatistics, least: f64, present: u64) -> f64 {
        let own = self.feature(name).and_then(|of| of.domain_content_threshold);
        let suggested = own.unwrap_or(self.of.domain_content_threshold);
        let string = statistics.string_statistics.as_ref();
        let Some(distribution) = string.and_then(|string| string.distribution.as_ref()) else {
            return least;
        };
        if !is_same(suggested, least) {
            return least;
        }
        let seen = suggest::seen_before(distribution.categorical.buckets.iter().map(|bucket| bucket.count));
        seen.lower(present, self.alpha).min(self.of.domain_content_threshold)
    }
}

/// Settings of one column.
pub(super) struct Settings<'a> {
    own: Option<&'a MonitoringConfig>,
    all: Option<&'a MonitoringConfig>,
}

impl<'a> Settings<'a> {
    fn first<T>(&self, setting: impl Fn(&'a MonitoringConfig) -> Option<T>) -> Option<T> {
        self.own.into_iter().chain(self.all).find_map(setting)
    }

    pub(super) fn comparison<T>(&self, setting: impl Fn(&'a DistributionConstraints) -> Option<T>) -> Option<T> {
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
pub fn check(profile: &Profile, baseline: &Baseline<'_>, options: &Options) -> DataQuality {
    let mut found = DataQuality::default();
    let features = baseline.constraints.features.as_deref().unwrap_or_default();
    let global = baseline.constraints.monitoring_config.as_ref();
    let statistics: HashMap<&str, &FeatureStatistics> = baseline
        .statistics
        .and_then(|baseline| baseline.features.as_ref())
        .into_iter()
        .flatten()
        .map(|feature| (feature.name.as_str(), feature))
        .collect();
    if global.and_then(|config| config.evaluate_constraints) != Some(Switch::Disabled) {
        columns(profile, features, &mut found);
    }
    let tolerant = Tolerant::new(baseline, features.len(), profile.item_count());
    let mut negative = Vec::new();
    for feature in features {
        let settings = Settings {
            own: feature.overrides(),
            all: global,
        };
        let name = &feature.name;
        let Some(column) = profile.get(name) else {
            found.judgments.skip(name, "all", "the dataset has no such column");
            continue;
        };
        if !settings.evaluates() {
            found.judgments.disabled += 1;
            continue;
        }
        let own = statistics.get(name.as_str()).copied();
        let mut judge = Judge {
            feature,
            found: &mut found,
        };
        judge.data_type(column, &settings, options);
        judge.completeness(column, own, profile.item_count(), tolerant.as_ref());
        judge.domain(column, own, &settings, tolerant.as_ref());
        if feature.num_constraints.as_ref().is_some_and(|of| of.is_non_negative) && column.moments().min < 0.0 {
            negative.push(name.as_str());
        }
        if !settings.compares() {
            found.judgments.disabled += 1;
        } else if baseline.statistics.is_none() {
            let reason = "the baseline has no statistics.json";
            found
                .judgments
                .skip(name, ConstraintCheckType::BaselineDrift.as_str(), reason);
        } else {
            match drift(column, feature, own, &settings, options, tolerant.as_ref()) {
                Ok(drift) => {
                    found.judgments.judged += 1;
                    found.drift.push(drift);
                }
                Err(why) => found
                    .judgments
                    .skip(name, ConstraintCheckType::BaselineDrift.as_str(), why),
            }
        }
    }
    if !negative.is_empty() {
        let note = "negative values, but the baseline has none (Model Monitor has no check for this)";
        found.notes.push(format!("{}: {note}", named(&negative)));
    }
    skipped_drift(&mut found);
    if let Some(rate) = options.false_discovery_rate {
        control(&mut found.drift, rate);
    }
    drift_violations(&mut found);
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

/// Notes the columns whose drift was not checked, by reason.
fn skipped_drift(found: &mut DataQuality) {
    let is_drift = |skipped: &&NotJudged| skipped.check == ConstraintCheckType::BaselineDrift.as_str();
    for (why, skipped) in found.judgments.by_reason() {
        let skipped = skipped.into_iter().filter(is_drift);
        let names: Vec<&str> = skipped.map(|skipped| skipped.subject.as_str()).collect();
        if !names.is_empty() {
            found
                .notes
                .push(format!("drift was not checked for {}: {why}", named(&names)));
        }
    }
}

/// Adds a violation for each column that drifted.
fn drift_violations(found: &mut DataQuality) {
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
}

/// Checks the settings whose values are names.
///
/// # Errors
/// The setting with an unknown value, and the known values.
pub fn check_settings(constraints: &Constraints) -> Result<(), String> {
    let known = |place: &str, value: &str, known: &[&str]| {
        if known.contains(&value) {
            return Ok(());
        }
        let names: Vec<String> = known.iter().map(|name| format!("`{name}`")).collect();
        Err(format!(
            "constraints.json, {place}: unknown value `{value}`: expected {}",
            names.join(", ")
        ))
    };
    let config = |place: &str, config: &MonitoringConfig| -> Result<(), String> {
        let Some(distribution) = &config.distribution_constraints else {
            return Ok(());
        };
        if let Some(method) = &distribution.comparison_method {
            known(
                &format!("{place}`comparison_method`"),
                method,
                &[ROBUST, SIMPLE].concat(),
            )?;
        }
        if let Some(method) = &distribution.categorical_drift_method {
            known(
                &format!("{place}`categorical_drift_method`"),
                method,
                &[L_INFINITY, CHI_SQUARED],
            )?;
        }
        Ok(())
    };
    if let Some(all) = &constraints.monitoring_config {
        config("", all)?;
    }
    for feature in constraints.features.iter().flatten() {
        let place = format!("column `{}`, ", feature.name);
        let types = ["Integral", "Fractional", "String", "Unknown"];
        known(&format!("{place}`inferred_type`"), &feature.inferred_type, &types)?;
        if let Some(own) = feature.overrides() {
            config(&place, own)?;
        }
    }
    Ok(())
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

/// The checks of one column.
struct Judge<'a> {
    feature: &'a FeatureConstraints,
    found: &'a mut DataQuality,
}

impl Judge<'_> {
    fn violate(&mut self, check_type: &ConstraintCheckType, description: String) {
        let violation = ConstraintViolation::for_feature(&self.feature.name, check_type, description);
        self.found.violations.push(violation);
    }

    fn skip(&mut self, check_type: &ConstraintCheckType, reason: &str) {
        self.found
            .judgments
            .skip(&self.feature.name, check_type.as_str(), reason);
    }

    fn data_type(&mut self, column: &ColumnProfile, settings: &Settings<'_>, options: &Options) {
        let present = column.present();
        let count = |classes: &[Class]| classes.iter().map(|class| column.class_count(*class)).sum::<u64>();
        let lenient = options.lenient_types;
        let matching = match self.feature.inferred_type.as_str() {
            "Integral" if lenient => whole_numbers(column),
            "Integral" => count(&[Class::Integral]),
            "Fractional" if lenient => count(&[Class::Fractional, Class::Integral]),
            "Fractional" => count(&[Class::Fractional]),
            "String" if lenient => present,
            "String" => count(&[Class::String, Class::Boolean]),
            // The baseline has no values for the column, so it has no type.
            _ => return,
        };
        if present == 0 {
            return self.skip(&ConstraintCheckType::DataType, "it has no values");
        }
        self.found.judgments.judged += 1;
        let threshold = settings.first(|config| config.datatype_check_threshold).unwrap_or(1.0);
        let observed = share(matching, present);
        if observed < threshold {
            let kind = &self.feature.inferred_type;
            let (expected, observed) = (java_double(threshold * 100.0), java_double(observed * 100.0));
            self.violate(
                &ConstraintCheckType::DataType,
                format!(
                    "Data type match requirement is not met. Expected data type: {kind}, Expected match: {expected}%. \
                     Observed: Only {observed}% of data is {kind}."
                ),
            );
        }
    }

    fn completeness(
        &mut self,
        column: &ColumnProfile,
        statistics: Option<&FeatureStatistics>,
        rows: u64,
        tolerant: Option<&Tolerant<'_>>,
    ) {
        let Some(least) = self.feature.completeness else {
            return;
        };
        self.found.judgments.judged += 1;
        let least = match (tolerant, statistics.and_then(num_present)) {
            (Some(of), Some(present)) => of.completeness(&self.feature.name, present, least),
            _ => least,
        };
        let observed = share(column.present(), rows);
        if observed < least {
            let description = unmet(observed, "Completeness", least);
            self.violate(&ConstraintCheckType::Completeness, description);
        }
    }

    fn domain(
        &mut self,
        column: &ColumnProfile,
        statistics: Option<&FeatureStatistics>,
        settings: &Settings<'_>,
        tolerant: Option<&Tolerant<'_>>,
    ) {
        let strings = self.feature.string_constraints.as_ref();
        let Some(domains) = strings.and_then(|of| of.domains.as_ref()) else {
            return;
        };
        let present = column.present();
        if present == 0 {
            return self.skip(&ConstraintCheckType::CategoricalValues, "it has no values");
        }
        self.found.judgments.judged += 1;
        let least = settings
            .first(|config| config.domain_content_threshold)
            .or_else(|| settings.comparison(|comparison| comparison.min_domain_mass))
            .unwrap_or(1.0);
        let least = match (tolerant, statistics) {
            (Some(of), Some(statistics)) => of.domain(&self.feature.name, statistics, least, present),
            _ => least,
        };
        let domain: BTreeSet<&str> = domains.iter().map(|value| canonical(value)).collect();
        let inside = column
            .texts()
            .iter()
            .filter(|(value, _)| domain.contains(canonical(value)))
            .map(|(_, count)| count)
            .sum();
        let observed = share(inside, present);
        if observed < least {
            let description = unmet(observed, "Share of values in the domain", least);
            self.violate(&ConstraintCheckType::CategoricalValues, description);
        }
    }
}

/// Number of values of a baseline's column.
fn num_present(statistics: &FeatureStatistics) -> Option<u64> {
    let numeric = statistics.numerical_statistics.as_ref().map(|of| of.common);
    let common = numeric.or_else(|| statistics.string_statistics.as_ref().map(|of| of.common));
    common.map(|common| common.num_present)
}

/// Number of numbers without a fraction, however they are written: pandas writes `296.0` in a column with missing values.
fn whole_numbers(column: &ColumnProfile) -> u64 {
    let numbers = column.class_count(Class::Integral) + column.class_count(Class::Fractional);
    let fractions = column
        .numbers()
        .into_iter()
        .filter(|(number, _)| number.fract().abs() > 0.0);
    numbers.saturating_sub(fractions.map(|(_, count)| count).sum())
}

/// Deequ's wording for a share that is too small, with the minimum.
fn unmet(observed: f64, what: &str, least: f64) -> String {
    format!(
        "Value: {} does not meet the constraint requirement! {what} should be at least {}",
        java_double(observed),
        java_double(least)
    )
}
