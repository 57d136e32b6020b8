//! Model quality compared with scikit-learn; `tests/peers/model_quality.py` stored its results.
#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use analysis::{
    compute::model_quality::answer,
    model_quality::{Calibration, Classes, EstimatedPerformance, TwoClasses},
};
use serde_json::Value;

/// Relative tolerance.
const TOLERANCE: f64 = 1e-9;

fn number(value: &Value) -> Option<f64> {
    serde_json::from_value::<model_monitor::Quantity>(value.clone())
        .ok()?
        .as_number()
}

/// Largest difference. Panics beyond the tolerance, or if the shapes differ.
fn compare(path: &str, ours: &Value, peer: &Value) -> f64 {
    match (ours, peer) {
        (Value::Object(a), Value::Object(b)) => {
            let names = |object: &serde_json::Map<String, Value>| object.keys().cloned().collect::<Vec<_>>();
            assert_eq!(names(a), names(b), "{path}");
            let differences = a
                .iter()
                .map(|(name, value)| compare(&format!("{path}.{name}"), value, &b[name]));
            differences.fold(0.0, f64::max)
        }
        (Value::Array(a), Value::Array(b)) => {
            assert_eq!(a.len(), b.len(), "{path}");
            a.iter().zip(b).map(|(a, b)| compare(path, a, b)).fold(0.0, f64::max)
        }
        _ => {
            let (Some(a), Some(b)) = (number(ours), number(peer)) else {
                panic!("{path}: {ours} is not {peer}");
            };
            if a.is_nan() && b.is_nan() {
                return 0.0;
            }
            let difference = (a - b).abs() / b.abs().max(f64::MIN_POSITIVE);
            // Around 0, only rounding errors remain.
            if (a - b).abs() < 1e-15 {
                return 0.0;
            }
            assert!(difference <= TOLERANCE, "{path}: {a} is not {b}");
            difference
        }
    }
}

fn cases(text: &str) -> impl Iterator<Item = Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap())
}

fn largest_difference(part: &str, text: &str) -> f64 {
    let mut largest = 0.0_f64;
    for (at, case) in cases(text).enumerate() {
        let question = case["question"].to_string();
        let mut ours = answer(question.as_bytes()).unwrap_or_else(|error| panic!("{part} {at}: {error}: {question}"));
        let ours = ours["metrics"].as_object_mut().unwrap();
        // The peer's curves of long columns are not stored.
        ours.retain(|name, _| !name.ends_with("_curve") || case["metrics"].get(name).is_some());
        let ours = Value::Object(ours.clone());
        largest = largest.max(compare(&format!("{part} {at}"), &ours, &case["metrics"]));
    }
    largest
}

#[test]
fn binary_classification_matches_scikit_learn() {
    let largest = largest_difference("binary", include_str!("fixtures/model-quality-binary.jsonl"));
    assert!(largest < 1e-12, "{largest}");
}

#[test]
fn multiclass_classification_matches_scikit_learn() {
    let largest = largest_difference("multiclass", include_str!("fixtures/model-quality-multiclass.jsonl"));
    assert!(largest < 1e-12, "{largest}");
}

#[test]
fn regression_matches_scikit_learn() {
    let largest = largest_difference("regression", include_str!("fixtures/model-quality-regression.jsonl"));
    assert!(largest < 1e-12, "{largest}");
}

fn zero_and_one() -> (Classes, TwoClasses) {
    let mut classes = Classes::default();
    classes.intern("0");
    classes.intern("1");
    let two = classes.binary(None).unwrap();
    (classes, two)
}

fn column(value: &Value) -> Vec<f64> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|value| number(value).unwrap())
        .collect()
}

fn ids(value: &Value) -> Vec<u32> {
    let ids = value.as_array().unwrap().iter();
    ids.map(|id| u32::try_from(id.as_u64().unwrap()).unwrap()).collect()
}

#[test]
fn estimates_match_weighted_scikit_learn() {
    let (_, two) = zero_and_one();
    let mut largest = 0.0_f64;
    for (at, case) in cases(include_str!("fixtures/model-quality-estimate.jsonl")).enumerate() {
        let (predictions, probabilities) = (ids(&case["prediction"]), column(&case["probability"]));
        let ours = EstimatedPerformance::new(&predictions, &probabilities, &two, None).unwrap();
        largest = largest.max(compare(&format!("estimate {at}"), &ours.to_json(), &case["estimates"]));
    }
    assert!(largest < 1e-12, "{largest}");
}

#[test]
fn isotonic_calibration_matches_scikit_learn() {
    let (_, two) = zero_and_one();
    let mut largest = 0.0_f64;
    for (at, case) in cases(include_str!("fixtures/model-quality-calibration.jsonl")).enumerate() {
        let ours = Calibration::isotonic(&ids(&case["label"]), &column(&case["probability"]), &two).unwrap();
        let ours: Vec<f64> = column(&case["at"]).iter().map(|score| ours.apply(*score)).collect();
        largest = largest.max(compare(&format!("calibration {at}"), &ours.into(), &case["isotonic"]));
    }
    assert!(largest < 1e-12, "{largest}");
}
