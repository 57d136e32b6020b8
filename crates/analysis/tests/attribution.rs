//! Attribution drift: compared with scikit-learn's nDCG (`tests/peers/attribution.py`), examples by hand, and
//! properties.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use analysis::{
    attribution::{Aggregation, AttributionError, GlobalShap, MEDIAN_ROWS, analysis, drift, explanation, ndcg, values},
    compute::attribution::answer,
};
use model_monitor::{Analysis, Limits, MonitorType, ViolationReport};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeMap;

fn features(values: &[f64]) -> BTreeMap<String, f64> {
    let named = values.iter().enumerate();
    named.map(|(place, value)| (format!("f{place:03}"), *value)).collect()
}

fn near(one: f64, other: f64) -> bool {
    (one - other).abs() < 1e-12
}

#[test]
fn ndcg_matches_scikit_learn() {
    let lines = include_str!("fixtures/attribution.jsonl").lines();
    let cases = lines.map(|line| (line, serde_json::from_str::<Value>(line).unwrap()));
    let mut compared = 0;
    for (line, case) in cases.filter(|(_, case)| case["kind"] == "ndcg") {
        let answer = answer(line.as_bytes()).unwrap();
        let (found, expected) = (answer["ndcg"].as_f64().unwrap(), case["expected"].as_f64().unwrap());
        assert!(near(found, expected), "{found} is not {expected}: {line}");
        assert_eq!(answer["violation"], json!(found < 0.9));
        compared += 1;
    }
    assert!(compared > 180, "{compared}");
}

/// The guide's college admissions example.
#[test]
fn reversed_order_is_drift() {
    let baseline = features(&[0.70, 0.50, 0.05]);
    let found = ndcg(&baseline, &features(&[0.10, 0.20, 0.70])).unwrap();
    assert!((found - 0.6876).abs() < 1e-4, "{found}");
}

#[test]
fn equal_live_attributions_share_mean_gain() {
    let baseline = features(&[3.0, 1.0]);
    let (kept, reversed) = (ndcg(&baseline, &baseline), ndcg(&baseline, &features(&[1.0, 3.0])));
    let tied = ndcg(&baseline, &features(&[2.0, 2.0])).unwrap();
    assert!(near(tied, f64::midpoint(kept.unwrap(), reversed.unwrap())));
    assert!(near(tied, ndcg(&baseline, &features(&[0.0, -0.0])).unwrap()));
}

#[test]
fn incomparable_attributions_are_errors() {
    let error = |baseline: &[f64], live: &[f64]| ndcg(&features(baseline), &features(live)).unwrap_err().to_string();
    assert!(error(&[1.0, 2.0], &[1.0]).contains("feature `f001` is missing in the live"));
    assert!(error(&[1.0], &[1.0, 2.0]).contains("feature `f001` is missing in the baseline"));
    assert!(error(&[1.0], &[1.0]).contains("at least two"));
    assert!(error(&[], &[]).contains("at least two"));
    assert!(error(&[1.0, -0.5], &[1.0, 2.0]).contains("baseline attribution of feature `f001` is -0.5"));
    assert!(error(&[1.0, 0.5], &[1.0, f64::NAN]).contains("live attribution of feature `f001` is NaN"));
    assert!(ndcg(&features(&[0.0, 0.0]), &features(&[1.0, 2.0])).unwrap() <= 0.0);
    for (line, expected) in [
        (r#"{"baseline":{"a":1,"b":2}}"#, "missing field `live`"),
        (
            r#"{"baseline":{"a":1,"b":"x"},"live":{"a":1,"b":2}}"#,
            "`baseline`: expected a number for `b`, found `x`",
        ),
        (
            r#"{"baseline":{"a":1,"b":2},"live":{"a":1,"b":"Infinity"}}"#,
            "live attribution of feature `b` is inf",
        ),
        ("[]", "invalid"),
    ] {
        let error = answer(line.as_bytes()).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }
}

fn of_label(label: &str, values: &[f64]) -> Analysis {
    analysis(BTreeMap::from([(
        label.to_owned(),
        explanation(&features(values), Some(0.5)),
    )]))
}

#[test]
fn violation_matches_service_output() {
    let (baseline, live) = (of_label("label0", &[1.0, 0.0]), of_label("label0", &[0.0, 1.0]));
    let drifts = drift(&baseline, &live).unwrap();
    let drift = drifts.get("label0").unwrap().as_ref().unwrap();
    let violation = serde_json::to_value(drift.violation().unwrap()).unwrap();
    let expected = json!({
        "label": "label0",
        "metric_name": "shap",
        "constraint_check_type": "feature_attribution_drift_check",
        "description": "Feature attribution drift 0.6309297535714575 exceeds threshold 0.9",
    });
    assert_eq!(violation, expected);
    // The violation parses as one of this monitor.
    let report = json!({ "version": "1.0", "violations": [violation] }).to_string();
    let report = ViolationReport::parse("report", report.as_bytes(), &Limits::default()).unwrap();
    assert_eq!(report.monitor_type, Some(MonitorType::ModelExplainability));
    let kept = self::drift(&baseline, &of_label("label0", &[2.0, 1.0])).unwrap();
    assert_eq!(kept.get("label0").unwrap().as_ref().unwrap().violation(), None);
}

#[test]
fn labels_match_by_name_or_if_single() {
    let baseline = of_label("0.8125", &[1.0, 0.0]);
    let drifts = drift(&baseline, &of_label("0.25", &[1.0, 0.0])).unwrap();
    assert!(near(drifts.get("0.25").unwrap().as_ref().unwrap().ndcg, 1.0));
    let two = ["a", "b"].map(|label| (label.to_owned(), explanation(&features(&[1.0, 0.0]), None)));
    let two = analysis(BTreeMap::from(two));
    let drifts = drift(&of_label("b", &[1.0, 0.0]), &two).unwrap();
    assert_eq!(
        drifts.get("a").unwrap(),
        &Err(AttributionError::UnknownLabel("a".to_owned()))
    );
    assert!(drifts.get("b").unwrap().is_ok());
    assert_eq!(
        drift(&Analysis::default(), &two).unwrap_err(),
        AttributionError::NoExplanations("baseline")
    );
}

#[test]
fn analysis_round_trips() {
    let written = of_label("label0", &[0.25, 1e-9]);
    let json = serde_json::to_vec(&written).unwrap();
    let read = Analysis::parse("analysis.json", &json, &Limits::default()).unwrap();
    assert_eq!(read, written);
    let labels = read.explanations.unwrap().kernel_shap.unwrap();
    assert_eq!(values(labels.get("label0").unwrap()), features(&[0.25, 1e-9]));
}

fn global(aggregation: Aggregation, rows: &[[f64; 2]]) -> Vec<f64> {
    let mut global = GlobalShap::new(aggregation, 2);
    for row in rows {
        global.add(row).unwrap();
    }
    global.finish().unwrap()
}

#[test]
fn local_values_are_aggregated() {
    let rows = [[1.0, -2.0], [-3.0, 0.0], [5.0, -1.0], [-3.0, -7.0]];
    assert_eq!(global(Aggregation::MeanAbs, &rows), [3.0, 2.5]);
    assert_eq!(global(Aggregation::MeanSq, &rows), [11.0, 13.5]);
    assert_eq!(global(Aggregation::Median, &rows), [1.0, 1.5]);
    assert_eq!(global(Aggregation::Median, &rows[..3]), [1.0, 1.0]);
    assert_eq!(serde_json::to_value(Aggregation::MeanSq).unwrap(), "mean_sq");
    let mut global = GlobalShap::new(Aggregation::default(), 2);
    assert!(global.add(&[1.0]).is_err());
    assert!(global.add(&[1.0, f64::NAN]).is_err());
    assert_eq!(global.finish(), Err(AttributionError::NoRows));
}

/// With more rows than are kept, the median is that of a sample, near the true one.
#[test]
fn median_memory_is_bounded() {
    let mut global = GlobalShap::new(Aggregation::Median, 1);
    for row in 0..u32::try_from(5 * MEDIAN_ROWS).unwrap() {
        global.add(&[f64::from(row)]).unwrap();
    }
    let median = global.finish().unwrap();
    assert!((median.first().unwrap() - 25_000.0).abs() < 500.0, "{median:?}");
}

proptest! {
    #[test]
    fn ndcg_is_between_zero_and_one(
        pairs in prop::collection::vec((0.0..1e6_f64, -3..4_i32), 2..30),
        unit in 1e-3..1e3_f64,
    ) {
        let (baseline, live): (Vec<f64>, Vec<i32>) = pairs.into_iter().unzip();
        let live: Vec<f64> = live.into_iter().map(f64::from).collect();
        let found = ndcg(&features(&baseline), &features(&live)).unwrap();
        prop_assert!((0.0..=1.0).contains(&found));
        // Only the order of the live attributions matters, not their values, nor the unit of the baseline.
        let scaled: Vec<f64> = baseline.iter().map(|value| value * unit).collect();
        let moved: Vec<f64> = live.iter().map(|value| value.powi(3) - 5.0).collect();
        prop_assert!((found - ndcg(&features(&scaled), &features(&moved)).unwrap()).abs() < 1e-9);
        if baseline.iter().any(|value| *value > 0.0) {
            prop_assert!(ndcg(&features(&baseline), &features(&baseline)).unwrap() > 1.0 - 1e-9);
        }
    }
}
