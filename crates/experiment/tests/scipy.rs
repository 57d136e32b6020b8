//! Compares the statistics with `SciPy` and statsmodels (`tests/peers/experiment.py`).
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use experiment::{ConfidenceSequence, Difference, Plan, Posterior, Sample, SampleRatio};
use serde_json::{Value, json};

const CASES: &str = include_str!("fixtures/experiment.jsonl");

fn answer(case: &Value) -> Value {
    let number = |name: &str| case[name].as_f64().unwrap();
    let proportion = |name: &str| {
        let [successes, trials]: [u64; 2] = serde_json::from_value(case[name].clone()).unwrap();
        Sample::proportion(successes, trials)
    };
    match case["kind"].as_str().unwrap() {
        "sequence" => {
            let sequence = ConfidenceSequence::new(number("alpha"), number("narrowest"));
            json!({"halfWidth": sequence.half_width(number("information"))})
        }
        "proportions" => {
            let posterior = Posterior::from_proportions(&proportion("champion"), &proportion("challenger"));
            json!(posterior.unwrap())
        }
        "means" => json!(Posterior::from_difference(&Difference {
            estimate: number("estimate"),
            variance: number("variance"),
        })),
        "ratio" => {
            let counts: Vec<u64> = serde_json::from_value(case["counts"].clone()).unwrap();
            let weights: Vec<f64> = serde_json::from_value(case["weights"].clone()).unwrap();
            json!(SampleRatio::from_counts(&counts, &weights).unwrap())
        }
        _ => {
            let plan = Plan {
                alpha: number("alpha"),
                power: number("power"),
                effect: number("effect"),
                variance: number("variance"),
                weights: serde_json::from_value(case["weights"].clone()).unwrap(),
                requests_per_hour: 1.0,
            };
            json!(plan.duration().unwrap())
        }
    }
}

#[test]
fn numbers_match_scipy_and_statsmodels() {
    let mut compared = 0;
    for line in CASES.lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let answer = answer(&case);
        let tolerance = match case["kind"].as_str().unwrap() {
            // Here requests are rounded up. There the power of a two-sided test includes the other side.
            "plan" => 1e-3,
            // The midpoint rule.
            "proportions" => 1e-5,
            _ => 1e-9,
        };
        for (name, expected) in case["expected"].as_object().unwrap() {
            let (actual, expected) = (answer[name].as_f64().unwrap(), expected.as_f64().unwrap());
            let error = (actual - expected).abs() / expected.abs().max(1e-6);
            assert!(error <= tolerance, "{name}: {actual} is not {expected}: {line}");
            compared += 1;
        }
    }
    assert!(compared > 50, "{compared}");
}
