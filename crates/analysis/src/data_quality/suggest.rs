//! `constraints.json` suggested from a profile: exactly as Model Monitor does, or with a tolerance.

use crate::{
    ColumnProfile, InferredType, Profile,
    tolerance::{
        DataQualityTolerance, FeatureTolerance, MIN_SHORTFALL, Observed, Tolerance, distance_threshold, is_same,
        per_check,
    },
};
use model_monitor::{
    Constraints, DistributionConstraints, FeatureConstraints, MonitoringConfig, NumConstraints, StringConstraints,
    Switch,
};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Maximum number of distinct values for which a domain is suggested (Deequ, `DEFAULT_CARDINALITY_THRESHOLD`).
const MAX_DOMAIN_VALUES: usize = 120;
/// Maximum share of distinct values that occur once, for a domain (Deequ, `CategoricalRangeRule`).
const MAX_SINGLES_SHARE: f64 = 0.1;

/// Number of values below which a column is not examined: a few values hardly ever repeat.
const MIN_VALUES: f64 = 50.0;
/// Share of distinct values above which the values of a string column identify something.
const IDENTIFYING_TEXTS: f64 = 0.5;
/// Share of distinct values above which the values of a column of integers may identify something.
const IDENTIFYING_INTEGERS: f64 = 0.99;
/// Random integers from fewer values than this number times their count would repeat often: distinct ones are a sequence.
const MAX_SEQUENCE_RANGE: f64 = 10.0;
/// Range of integers beyond which distinct ones are random identifiers or times in milliseconds.
const MIN_RANDOM_RANGE: f64 = 1e12;
/// Unix times in seconds, from 2001 to 2096.
const UNIX_TIMES: std::ops::Range<f64> = 1e9..4e9;

/// Number of checks of a column that share the false alarms of an execution: completeness, domain, and drift. The type check is
/// strict.
pub(super) const CHECKS_PER_COLUMN: usize = 3;

/// Suggested constraints with their tolerance.
#[derive(Debug, Clone, PartialEq)]
pub struct TolerantSuggestion {
    /// `constraints.json`, with thresholds for the stated number of rows.
    pub constraints: Constraints,
    /// `tolerance.json`.
    pub tolerance: Tolerance,
    /// Columns whose values look like identifiers, times, or free text. The constraints switch off their comparison.
    pub identifiers: Vec<String>,
}

/// Constraints that executions of the same population rarely violate. See [`crate::tolerance`].
pub fn suggest_with_tolerance(profile: &Profile, rows_per_execution: u64) -> TolerantSuggestion {
    let mut constraints = suggest(profile);
    let mut tolerance = Tolerance::new(rows_per_execution, profile.item_count());
    let alpha = alpha(&tolerance, profile.columns().len());
    let mut of = DataQualityTolerance {
        comparison_threshold: distance_threshold(rows_per_execution, profile.item_count(), alpha),
        domain_content_threshold: 1.0 - MIN_SHORTFALL,
        features: BTreeMap::new(),
    };
    constraints.monitoring_config = Some(tolerant_config(&of));
    let mut identifiers = Vec::new();
    for feature in constraints.features.iter_mut().flatten() {
        let Some(column) = profile.get(&feature.name) else {
            continue;
        };
        let present = Observed {
            part: column.present(),
            whole: profile.item_count(),
        };
        let inside = feature.string_constraints.is_some().then(|| {
            let seen = seen_before(column.texts().iter().map(|(_, count)| *count));
            seen.lower(rows_per_execution, alpha)
        });
        let known = FeatureTolerance {
            completeness: completeness(present, rows_per_execution, alpha, &tolerance),
            domain_content_threshold: inside.filter(|own| *own < of.domain_content_threshold),
            is_identifier: is_identifier(&feature.name, column),
        };
        feature.completeness = Some(known.completeness);
        feature.monitoring_config_overrides = tolerant_overrides(&known);
        if known.is_identifier {
            identifiers.push(feature.name.clone());
        }
        of.features.insert(feature.name.clone(), known);
    }
    tolerance.data_quality = Some(of);
    TolerantSuggestion {
        constraints,
        tolerance,
        identifiers,
    }
}

/// Settings of all columns.
fn tolerant_config(of: &DataQualityTolerance) -> MonitoringConfig {
    let mut config = exact_config();
    config.domain_content_threshold = Some(of.domain_content_threshold);
    if let Some(distribution) = &mut config.distribution_constraints {
        distribution.comparison_threshold = Some(of.comparison_threshold);
        // The tolerance already contains the sampling error that `Robust` subtracts.
        distribution.comparison_method = Some("Simple".to_owned());
    }
    config
}

/// Settings of a column that differ from those of all columns.
fn tolerant_overrides(of: &FeatureTolerance) -> Option<MonitoringConfig> {
    let overrides = MonitoringConfig {
        domain_content_threshold: of.domain_content_threshold,
        distribution_constraints: of.is_identifier.then(|| DistributionConstraints {
            perform_comparison: Some(Switch::Disabled),
            ..DistributionConstraints::default()
        }),
        ..MonitoringConfig::default()
    };
    Some(overrides).filter(|own| *own != MonitoringConfig::default())
}

/// Copies what a person changed in the constraints of an earlier baseline: what differs from its tolerance. Settings of a column
/// are copied as long as the column exists.
pub fn keep_edits(constraints: &mut Constraints, before: &Constraints, of_before: &DataQualityTolerance) {
    merge(
        &mut constraints.monitoring_config,
        before.monitoring_config.as_ref(),
        Some(&tolerant_config(of_before)),
    );
    let columns = before.features.iter().flatten();
    let columns: BTreeMap<&str, &FeatureConstraints> =
        columns.map(|feature| (feature.name.as_str(), feature)).collect();
    for feature in constraints.features.iter_mut().flatten() {
        let name = feature.name.as_str();
        let (Some(before), Some(known)) = (columns.get(name), of_before.features.get(name)) else {
            continue;
        };
        if before
            .completeness
            .is_none_or(|edited| !is_same(known.completeness, edited))
        {
            feature.completeness = before.completeness;
        }
        let suggested = tolerant_overrides(known);
        merge(
            &mut feature.monitoring_config_overrides,
            before.overrides(),
            suggested.as_ref(),
        );
    }
}

/// Takes over the settings that differ between `before` and what had been suggested.
fn merge(next: &mut Option<MonitoringConfig>, before: Option<&MonitoringConfig>, suggested: Option<&MonitoringConfig>) {
    let value = |config: Option<&MonitoringConfig>| serde_json::to_value(config).unwrap_or_default();
    let mut merged = value(next.as_ref());
    merge_values(&mut merged, &value(before), &value(suggested));
    if let Ok(merged) = serde_json::from_value(merged) {
        *next = merged;
    }
}

fn merge_values(next: &mut Value, before: &Value, suggested: &Value) {
    let is_same = match (before.as_f64(), suggested.as_f64()) {
        (Some(before), Some(suggested)) => is_same(before, suggested),
        _ => before == suggested,
    };
    if is_same {
        return;
    }
    let (Value::Object(before_fields), Value::Object(suggested_fields)) = (before, suggested) else {
        before.clone_into(next);
        return;
    };
    if !next.is_object() {
        *next = Value::Object(Map::new());
    }
    let Value::Object(fields) = next else { return };
    let absent = Value::Null;
    for key in before_fields.keys().chain(suggested_fields.keys()) {
        let (before, suggested) = (
            before_fields.get(key).unwrap_or(&absent),
            suggested_fields.get(key).unwrap_or(&absent),
        );
        let mut field = fields.remove(key).unwrap_or_default();
        merge_values(&mut field, before, suggested);
        if !field.is_null() {
            fields.insert(key.clone(), field);
        }
    }
}

/// Probability of a false alarm that each check of a dataset with this number of columns gets.
pub(super) fn alpha(tolerance: &Tolerance, columns: usize) -> f64 {
    per_check(tolerance.false_alarm_rate, columns.saturating_mul(CHECKS_PER_COLUMN))
}

/// The smallest share of present values that is no violation. Where the baseline has a value in each row, values are hardly ever
/// missing without a cause. So such a column does not share the false alarms of an execution with the other checks.
pub(super) fn completeness(present: Observed, rows: u64, alpha: f64, tolerance: &Tolerance) -> f64 {
    let alpha = if present.part == present.whole {
        tolerance.false_alarm_rate
    } else {
        alpha
    };
    present.threshold(rows, alpha)
}

/// Values of a column that the next sample has seen before, estimated from the counts of its values: as many values will be new
/// as occurred once (Good, The population frequencies of species, 1953).
pub(super) fn seen_before(counts: impl Iterator<Item = u64>) -> Observed {
    let (mut once, mut whole) = (0, 0);
    for count in counts {
        once += u64::from(count == 1);
        whole += count;
    }
    Observed {
        part: whole - once,
        whole,
    }
}

/// Whether the values of a column identify its rows, or are times or free text: they hardly repeat, so each
/// sample differs from the baseline.
#[expect(clippy::cast_precision_loss, reason = "counts of rows are below 2^53")]
fn is_identifier(name: &str, column: &ColumnProfile) -> bool {
    let present = column.present() as f64;
    let distinct = column.distinct_count();
    match column.inferred_type() {
        InferredType::String => present >= MIN_VALUES && distinct > IDENTIFYING_TEXTS * present,
        InferredType::Integral if present >= MIN_VALUES && distinct > IDENTIFYING_INTEGERS * present => {
            let moments = column.moments();
            let range = moments.max - moments.min + 1.0;
            let is_sequence = range <= MAX_SEQUENCE_RANGE * present;
            let is_time = UNIX_TIMES.contains(&moments.min) && UNIX_TIMES.contains(&moments.max);
            is_sequence || is_time || range >= MIN_RANDOM_RANGE || names_identifier(name)
        }
        _ => false,
    }
}

/// Whether the name of a column says that it is an identifier: `id`, `user_id`, `orderId`, `uuid`.
fn names_identifier(name: &str) -> bool {
    let last = name.rsplit(|c: char| !c.is_alphanumeric()).next().unwrap_or(name);
    ["id", "uuid", "guid", "key"].contains(&last.to_lowercase().as_str())
        || last.ends_with("Id")
        || last.ends_with("ID")
}

/// Constraints that Model Monitor would suggest for a dataset, with its settings.
pub fn suggest(profile: &Profile) -> Constraints {
    let rows = profile.item_count();
    Constraints {
        version: Some(0.0.into()),
        features: Some(
            profile
                .columns()
                .map(|(name, column)| feature(name, column, rows))
                .collect(),
        ),
        monitoring_config: Some(exact_config()),
        ..Constraints::default()
    }
}

/// Settings that Model Monitor writes.
fn exact_config() -> MonitoringConfig {
    let setting = Some(Switch::Enabled);
    MonitoringConfig {
        evaluate_constraints: setting,
        emit_metrics: setting,
        datatype_check_threshold: Some(1.0),
        domain_content_threshold: Some(1.0),
        distribution_constraints: Some(DistributionConstraints {
            perform_comparison: setting,
            comparison_threshold: Some(0.1),
            comparison_method: Some("Robust".to_owned()),
            ..DistributionConstraints::default()
        }),
        ..MonitoringConfig::default()
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of rows are below 2^53")]
fn feature(name: &str, column: &ColumnProfile, rows: u64) -> FeatureConstraints {
    let kind = column.inferred_type();
    FeatureConstraints {
        name: name.to_owned(),
        inferred_type: kind.as_str().to_owned(),
        completeness: (rows > 0).then(|| column.present() as f64 / rows as f64),
        num_constraints: kind.is_number().then(|| NumConstraints {
            is_non_negative: column.moments().min >= 0.0,
            ..NumConstraints::default()
        }),
        string_constraints: domain(column).map(|domains| StringConstraints {
            domains: Some(domains),
            ..StringConstraints::default()
        }),
        ..FeatureConstraints::default()
    }
}

/// Values of a string column, the most frequent first, if they look like a closed list.
#[expect(clippy::cast_precision_loss, reason = "at most the largest domain")]
fn domain(column: &ColumnProfile) -> Option<Vec<String>> {
    if column.inferred_type() != InferredType::String || !column.is_exact() {
        return None;
    }
    let texts = column.texts();
    let singles = texts.iter().filter(|(_, count)| *count == 1).count();
    let closed = texts.len() <= MAX_DOMAIN_VALUES && singles as f64 <= MAX_SINGLES_SHARE * texts.len() as f64;
    closed.then(|| texts.into_iter().map(|(value, _)| value).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn integers(values: impl Iterator<Item = i64>) -> ColumnProfile {
        let mut profile = Profile::default();
        let place = profile.column("x").unwrap();
        for value in values {
            profile.at(place).unwrap().add_integer(value);
            profile.add_rows(1);
        }
        profile.get("x").unwrap().clone()
    }

    #[test]
    fn identifiers_are_recognized_among_integers() {
        let incomes = || (0..2_000).map(|n| (n * 48_271) % 2_147_483);
        for (name, column, expected) in [
            ("row", integers(1..2_000), true),
            ("income", integers(incomes()), false),
            ("customer_id", integers(incomes()), true),
            ("customerId", integers(incomes()), true),
            ("paid", integers(incomes()), false),
            ("read_at", integers(incomes().map(|n| n + 1_760_000_000)), true),
            ("user", integers(incomes().map(|n| n * 1_000_000_000)), true),
            ("age", integers((0..2_000).map(|n| n % 70)), false),
            ("order_id", integers((0..2_000).map(|n| n % 70)), false),
            ("flag", integers(std::iter::empty()), false),
        ] {
            assert_eq!(is_identifier(name, &column), expected, "{name}");
        }
    }

    #[test]
    fn values_that_occurred_once_stand_for_new_ones() {
        let seen = seen_before([5, 1, 3, 1].into_iter());
        assert_eq!(seen, Observed { part: 8, whole: 10 });
    }
}
