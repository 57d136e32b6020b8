//! Thresholds with a tolerance: executions without drift are clean, drift is found, and edited thresholds are exact.

use crate::common::{file, violations};
use analyzer::{
    Outcome, ReadOptions,
    job::{Baseline, DataQualityJob, Thresholds},
};
use model_monitor::Constraints;

/// Pseudorandom number in [0, 1) of a row and a column.
fn random(row: usize, column: u64) -> f64 {
    let mut bits = (row as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ column.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    for _ in 0..3 {
        bits = (bits ^ (bits >> 29)).wrapping_mul(0x94d0_49bb_1331_11eb);
    }
    f64::from(u32::try_from(bits >> 32).unwrap_or_default()) / f64::from(u32::MAX)
}

/// Rows of one population: an ID, a number with 3% missing values, a category with a rare value, a boolean, and free text.
fn rows(from: usize, rows: usize, shift: f64, missing: f64) -> crate::common::Files {
    let mut csv = "order_id,amount,plan,active,comment\n".to_owned();
    for row in from..from + rows {
        let amount = if random(row, 1) < missing {
            String::new()
        } else {
            format!("{:.3}", random(row, 2) + shift)
        };
        let plan = match random(row, 3) {
            share if share < 0.7 => "basic",
            share if share < 0.9995 => "pro",
            _ => "trial",
        };
        let active = if random(row, 4) < 0.8 { "True" } else { "False" };
        let comment = random(row, 5);
        csv.extend([format!("{row},{amount},{plan},{active},text {comment}\n")]);
    }
    file(csv)
}

fn baseline() -> Baseline {
    rows(0, 20_000, 0.0, 0.03).baseline_by(&DataQualityJob::default(), &ReadOptions::default())
}

#[test]
fn executions_without_drift_are_clean() {
    let baseline = baseline();
    for (at, size) in [1, 30, 300, 2_000].into_iter().cycle().take(40).enumerate() {
        let report = rows(100_000 + at * 10_000, size, 0.0, 0.03).analyze(&baseline);
        assert_eq!(report.outcome(), Outcome::Clean, "{size} rows: {:?}", report.violations);
    }
}

#[test]
fn drift_that_matters_is_found() {
    let baseline = baseline();
    let shifted = rows(100_000, 2_000, 0.1, 0.03).analyze(&baseline);
    assert_eq!(violations(&shifted), ["amount baseline_drift_check"]);
    let missing = rows(100_000, 2_000, 0.0, 0.08).analyze(&baseline);
    assert_eq!(violations(&missing), ["amount completeness_check"]);
    // Too small to matter, however many rows there are.
    let trifle = rows(100_000, 20_000, 0.01, 0.03).analyze(&baseline);
    assert_eq!(violations(&trifle), [""; 0]);
}

#[test]
fn identifiers_are_not_compared() {
    let overrides = |constraints: &Constraints, name: &str| {
        let features = constraints.features.as_ref().unwrap();
        let feature = features.iter().find(|feature| feature.name == name).unwrap();
        serde_json::to_value(feature.overrides()).unwrap()
    };
    let constraints = baseline().constraints.unwrap();
    for name in ["order_id", "comment"] {
        let disabled = &overrides(&constraints, name)["distribution_constraints"]["perform_comparison"];
        assert_eq!(disabled, "Disabled", "{name}");
    }
    assert!(overrides(&constraints, "amount").is_null());
}

#[test]
fn edited_thresholds_are_exact() {
    let mut baseline = baseline();
    let window = rows(100_000, 300, 0.0, 0.03);
    assert_eq!(violations(&window.analyze(&baseline)), [""; 0]);
    let constraints = baseline.constraints.as_mut().unwrap();
    let features = constraints.features.as_mut().unwrap();
    let amount = features.iter_mut().find(|feature| feature.name == "amount").unwrap();
    amount.completeness = Some(0.995);
    assert_eq!(violations(&window.analyze(&baseline)), ["amount completeness_check"]);
    // Without the file, the thresholds are those for 1,000 rows.
    baseline.tolerance = None;
    assert_eq!(violations(&window.analyze(&baseline)), ["amount completeness_check"]);
}

#[test]
fn next_baseline_keeps_edits_only() {
    let mut before = baseline();
    let config = before.constraints.as_mut().unwrap().monitoring_config.as_mut().unwrap();
    config.datatype_check_threshold = Some(0.9);
    let features = before.constraints.as_mut().unwrap().features.as_mut().unwrap();
    features[1].completeness = Some(0.5);
    let job = DataQualityJob {
        thresholds: before.thresholds(),
        ..DataQualityJob::default()
    };
    let dataset = rows(500_000, 3_000, 0.0, 0.2).read();
    let report = job.next_baseline(&dataset, &before).unwrap();
    let mut next = Baseline::default();
    for file in &report.files {
        next.add(file.name, file.name, &file.content).unwrap();
    }
    let constraints = next.constraints.unwrap();
    let of = |constraints: &Constraints| constraints.monitoring_config.clone().unwrap();
    assert_eq!(of(&constraints).datatype_check_threshold, Some(0.9));
    let threshold = |constraints: &Constraints| {
        of(constraints)
            .distribution_constraints
            .unwrap()
            .comparison_threshold
            .unwrap()
    };
    assert!(
        threshold(&constraints) > threshold(before.constraints.as_ref().unwrap()),
        "a smaller baseline has a wider tolerance"
    );
    let features = constraints.features.unwrap();
    assert_eq!(features[1].completeness, Some(0.5));
    assert!(features[0].completeness.unwrap() > 0.95);
    assert!(next.tolerance.is_some());
}

#[test]
fn exact_thresholds_are_those_of_the_dataset() {
    let exact = DataQualityJob {
        thresholds: Thresholds::Exact,
        ..DataQualityJob::default()
    };
    let baseline = rows(0, 1_000, 0.0, 0.1).baseline_by(&exact, &ReadOptions::default());
    assert!(baseline.tolerance.is_none());
    let constraints = baseline.constraints.unwrap();
    let config = constraints.monitoring_config.unwrap();
    assert_eq!(config.domain_content_threshold, Some(1.0));
    assert_eq!(config.distribution_constraints.unwrap().comparison_threshold, Some(0.1));
}

#[test]
fn window_without_a_judgment_is_not_clean() {
    let exact = DataQualityJob {
        thresholds: Thresholds::Exact,
        ..DataQualityJob::default()
    };
    let mut baseline = file("id\n1\n2\n").baseline_by(&exact, &ReadOptions::default());
    baseline.statistics = None;
    let features = baseline.constraints.as_mut().unwrap().features.as_mut().unwrap();
    features[0].completeness = None;
    features[0].inferred_type = "Unknown".to_owned();
    let report = file("id\n3\n").analyze(&baseline);
    assert_eq!(report.outcome(), Outcome::NotJudged);
    assert_eq!(
        report.exit_message(),
        "No check could be evaluated: the baseline has no statistics.json"
    );
}
