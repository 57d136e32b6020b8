//! CloudWatch metrics of the data quality monitor: for each column its values, their number, and its drift.

use super::{ColumnDistances, DataQuality};
use crate::{Profile, metric::AnalysisMetric};

/// Metrics of a dataset and of its drift. In addition to Model Monitor's, there are other distances of each column:
/// `feature_psi_{column}`, `feature_jensen_shannon_{column}`, `feature_wasserstein_{column}`,
/// `feature_p_value_{column}`.
#[expect(clippy::cast_precision_loss, reason = "counts of rows are below 2^53")]
pub fn metrics(profile: &Profile, found: &DataQuality) -> Vec<AnalysisMetric> {
    let mut metrics = Vec::new();
    let one = |name: String, value: f64| AnalysisMetric::value(name, Vec::new(), value);
    for (name, column) in profile.columns() {
        let present = column.present() as f64;
        if column.inferred_type().is_number() {
            let moments = column.moments();
            let name = format!("feature_data_{name}");
            metrics.extend(AnalysisMetric::statistic_set(
                name,
                present,
                moments.sum,
                moments.min,
                moments.max,
            ));
        }
        metrics.extend(one(format!("feature_non_null_{name}"), present));
    }
    for drift in &found.drift {
        let name = &drift.name;
        metrics.extend(one(format!("feature_baseline_drift_{name}"), drift.distance));
        let (psi, jensen_shannon, p_value) = match &drift.measured {
            ColumnDistances::Numeric(distances) => {
                metrics.extend(one(format!("feature_wasserstein_{name}"), distances.wasserstein));
                (distances.psi, distances.jensen_shannon, distances.ks_pvalue)
            }
            ColumnDistances::Categorical(distances) => (distances.psi, distances.jensen_shannon, distances.chi2_pvalue),
        };
        metrics.extend(one(format!("feature_psi_{name}"), psi));
        metrics.extend(one(format!("feature_jensen_shannon_{name}"), jensen_shannon));
        metrics.extend(one(format!("feature_p_value_{name}"), p_value));
    }
    metrics
}
