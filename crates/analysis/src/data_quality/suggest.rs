//! `constraints.json` suggested from a profile.

use crate::{ColumnProfile, InferredType, Profile};
use model_monitor::{
    Constraints, DistributionConstraints, FeatureConstraints, MonitoringConfig, NumConstraints, StringConstraints,
    Switch,
};

/// Maximum number of distinct values for which a domain is suggested (Deequ, `DEFAULT_CARDINALITY_THRESHOLD`).
const MAX_DOMAIN_VALUES: usize = 120;
/// Maximum share of distinct values that occur once, for a domain (Deequ, `CategoricalRangeRule`).
const MAX_SINGLES_SHARE: f64 = 0.1;

/// Constraints that Model Monitor would suggest for a dataset, with its settings.
pub fn suggest(profile: &Profile) -> Constraints {
    let rows = profile.item_count();
    let setting = Some(Switch::Enabled);
    Constraints {
        version: Some(0.0.into()),
        features: Some(
            profile
                .columns()
                .map(|(name, column)| feature(name, column, rows))
                .collect(),
        ),
        monitoring_config: Some(MonitoringConfig {
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
        }),
        ..Constraints::default()
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
