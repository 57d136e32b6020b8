//! Kernel SHAP: compared with the shap package (`tests/peers/attribution.py`), with Shapley's definition, and
//! properties.
#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test fails by panicking")]

use analysis::shap::{KernelShap, KernelShapOptions, KmeansError, LocalShap, MAX_SAMPLES, ShapError, kmeans};
use proptest::prelude::*;
use serde_json::Value;
use std::convert::Infallible;

type Rows = Vec<Vec<f64>>;

fn count(number: usize) -> f64 {
    f64::from(u32::try_from(number).unwrap())
}

/// Models of the peer's script.
fn predict(model: &str, row: &[f64]) -> Vec<f64> {
    let last = row.len() - 1;
    match model {
        "linear" => vec![
            0.5 + (1..)
                .zip(row)
                .map(|(factor, value)| f64::from(factor) * value)
                .sum::<f64>(),
        ],
        "product" => vec![row.iter().product::<f64>() + row[0].sin()],
        "classes" => {
            let scores = [row[0] - row[1], row[1] * row[last], row.iter().sum::<f64>().tanh()];
            let powers = scores.map(f64::exp);
            powers.map(|power| power / powers.iter().sum::<f64>()).to_vec()
        }
        _ => vec![if row.iter().filter(|value| **value > 0.3).count() >= 2 {
            0.8
        } else {
            0.2
        }],
    }
}

fn explain(
    baseline: &Rows,
    row: &[f64],
    options: KernelShapOptions,
    model: impl Fn(&[f64]) -> Vec<f64>,
) -> (KernelShap, LocalShap) {
    let mut model = |rows: &[Vec<f64>]| {
        assert!(rows.len() <= options.batch_rows);
        Ok::<_, Infallible>(rows.iter().map(|row| model(row)).collect())
    };
    let explainer = KernelShap::new(baseline.clone(), options, &mut model).unwrap();
    let local = explainer.explain(row, &mut model).unwrap();
    (explainer, local)
}

#[test]
fn values_match_shap_package() {
    let lines = include_str!("fixtures/attribution.jsonl").lines();
    let cases = lines.map(|line| serde_json::from_str::<Value>(line).unwrap());
    let mut compared = 0;
    for case in cases.filter(|case| case["kind"] == "shap") {
        let baseline: Rows = serde_json::from_value(case["baseline"].clone()).unwrap();
        let row: Vec<f64> = serde_json::from_value(case["row"].clone()).unwrap();
        let options = KernelShapOptions {
            use_logit: case["use_logit"] == true,
            batch_rows: 17,
            ..KernelShapOptions::default()
        };
        let (explainer, local) = explain(&baseline, &row, options, |row| {
            predict(case["model"].as_str().unwrap(), row)
        });
        let values: Rows = serde_json::from_value(case["expected"]["values"].clone()).unwrap();
        let expected: Vec<f64> = serde_json::from_value(case["expected"]["expected_value"].clone()).unwrap();
        assert_eq!(
            (local.values.len(), explainer.expected().len()),
            (values.len(), expected.len())
        );
        for (one, other) in local.values.iter().flatten().zip(values.iter().flatten()) {
            assert!(
                (one - other).abs() < 1e-9 * one.abs().max(1.0),
                "{one} is not {other}: {case}"
            );
        }
        for (one, other) in explainer.expected().iter().zip(&expected) {
            assert!((one - other).abs() < 1e-12, "{one} is not {other}: {case}");
        }
        compared += 1;
    }
    assert!(compared > 100, "{compared}");
}

/// Shapley's definition: the gain when a feature joins, averaged over all orders of joining.
fn shapley(baseline: &Rows, row: &[f64], model: &dyn Fn(&[f64]) -> f64) -> Vec<f64> {
    let value = |members: &[bool]| {
        let mixed = baseline.iter().map(|known| {
            let pairs = members.iter().zip(row.iter().zip(known));
            let mixed: Vec<f64> = pairs
                .map(|(member, (own, known))| if *member { *own } else { *known })
                .collect();
            model(&mixed)
        });
        mixed.sum::<f64>() / count(baseline.len())
    };
    let mut values = vec![0.0; row.len()];
    let mut orders = 0;
    let mut waiting = vec![(vec![false; row.len()], vec![0.0; row.len()])];
    while let Some((members, gained)) = waiting.pop() {
        if members.iter().all(|member| *member) {
            orders += 1;
            values.iter_mut().zip(gained).for_each(|(sum, gain)| *sum += gain);
            continue;
        }
        for feature in 0..row.len() {
            if !members[feature] {
                let (mut joined, mut gained) = (members.clone(), gained.clone());
                joined[feature] = true;
                gained[feature] = value(&joined) - value(&members);
                waiting.push((joined, gained));
            }
        }
    }
    values.iter().map(|sum| sum / count(orders)).collect()
}

fn nonlinear(row: &[f64]) -> f64 {
    let neighbors: f64 = row.windows(2).map(|pair| pair[0] * pair[1] * pair[1]).sum();
    neighbors + row[0].max(row[row.len() - 1]).exp()
}

#[test]
fn all_coalitions_give_shapley_values() {
    let rows = |rows: usize, features: usize| -> Rows {
        let value = |place: usize| (count(place) * 1.7).sin() * 1.5;
        (0..rows)
            .map(|row| (0..features).map(|feature| value(row * features + feature)).collect())
            .collect()
    };
    for features in 1..=6 {
        let (baseline, row) = (rows(3, features), vec![0.9; features]);
        let (_, local) = explain(&baseline, &row, KernelShapOptions::default(), |row| {
            vec![nonlinear(row)]
        });
        let exact = shapley(&baseline, &row, &nonlinear);
        for (one, other) in local.values[0].iter().zip(&exact) {
            assert!((one - other).abs() < 1e-12, "{one} is not {other}");
        }
    }
}

/// For a linear model, the value of a feature is its weight times its difference from the mean of the baseline, for any
/// sample of coalitions.
#[test]
fn linear_model_values_are_exact() {
    let weights: Vec<f64> = (0..40).map(|place| (count(place) - 15.0) / 4.0).collect();
    let linear = |row: &[f64]| {
        vec![
            3.0 + row
                .iter()
                .zip(&weights)
                .map(|(value, weight)| value * weight)
                .sum::<f64>(),
        ]
    };
    let baseline: Rows = (0..5)
        .map(|row| (0..40).map(|place| (count(row * 40 + place)).cos()).collect())
        .collect();
    let row: Vec<f64> = (0..40).map(|place| count(place) / 10.0).collect();
    for num_samples in [None, Some(80), Some(81), Some(300), Some(5_000)] {
        let options = KernelShapOptions {
            num_samples,
            seed: 3,
            ..KernelShapOptions::default()
        };
        let (explainer, local) = explain(&baseline, &row, options, linear);
        for (feature, value) in local.values[0].iter().enumerate() {
            let mean = baseline.iter().map(|row| row[feature]).sum::<f64>() / 5.0;
            assert!((value - weights[feature] * (row[feature] - mean)).abs() < 1e-9);
        }
        let rows = num_samples.unwrap_or(2 * 40 + 2_048) * 5 + 1;
        assert_eq!(explainer.rows_per_explanation(), rows);
    }
}

#[test]
fn sampled_coalitions_approximate_exact_values() {
    let baseline: Rows = vec![vec![0.0; 14], vec![0.5; 14]];
    let row: Vec<f64> = (0..14).map(|place| count(place).sin()).collect();
    let values = |num_samples, seed| {
        let options = KernelShapOptions {
            num_samples: Some(num_samples),
            seed,
            ..KernelShapOptions::default()
        };
        explain(&baseline, &row, options, |row| vec![nonlinear(row)])
            .1
            .values
            .remove(0)
    };
    let exact = values(16_382, 0);
    let largest = exact.iter().fold(0.0_f64, |most, value| most.max(value.abs()));
    for seed in 0..3 {
        let drawn = values(2_076, seed);
        for (one, other) in drawn.iter().zip(&exact) {
            assert!((one - other).abs() < 0.02 * largest, "{one} is not near {other}");
        }
        assert_eq!(drawn, values(2_076, seed));
    }
    assert_ne!(values(500, 1), values(500, 2));
}

#[test]
fn model_calls_stay_below_announced_rows() {
    let mut asked = 0;
    let mut calls = 0;
    let mut model = |rows: &[Vec<f64>]| {
        asked += rows.len();
        calls += 1;
        Ok::<_, Infallible>(rows.iter().map(|row| vec![row.iter().sum()]).collect())
    };
    let baseline = vec![vec![0.0; 30]; 7];
    let explainer = KernelShap::new(baseline, KernelShapOptions::default(), &mut model).unwrap();
    let local = explainer.explain(&[1.0; 30], &mut model).unwrap();
    assert_eq!(local.prediction, [30.0]);
    assert!(asked <= 7 + explainer.rows_per_explanation(), "{asked}");
    assert!(calls <= 1 + 1 + asked / 1_000 + 1, "{calls}");
}

#[test]
fn invalid_inputs_give_errors() {
    let baseline = vec![vec![0.0, 1.0]];
    let setup = |baseline: &Rows, options: KernelShapOptions, predictions: &[&[f64]]| {
        let mut model = |_: &[Vec<f64>]| Ok::<_, Infallible>(predictions.iter().map(|row| row.to_vec()).collect());
        KernelShap::new(baseline.clone(), options, &mut model)
            .map(|_| ())
            .unwrap_err()
    };
    let plain = KernelShapOptions::default();
    assert_eq!(setup(&vec![], plain, &[]), ShapError::NoBaseline);
    assert_eq!(setup(&vec![vec![]], plain, &[]), ShapError::Features(0));
    assert_eq!(setup(&vec![vec![0.0; 1_001]], plain, &[]), ShapError::Features(1_001));
    assert!(matches!(
        setup(&vec![vec![0.0], vec![]], plain, &[]),
        ShapError::RowLength { found: 0, .. }
    ));
    assert!(matches!(
        setup(&baseline, plain, &[]),
        ShapError::Predictions { found: 0, expected: 1 }
    ));
    assert!(matches!(
        setup(&baseline, plain, &[&[]]),
        ShapError::Labels { found: 0, .. }
    ));
    assert_eq!(
        setup(&baseline, plain, &[&[f64::INFINITY]]),
        ShapError::NotFinite(f64::INFINITY)
    );
    let logit = KernelShapOptions {
        use_logit: true,
        ..plain
    };
    assert_eq!(setup(&baseline, logit, &[&[1.0]]), ShapError::Logit(1.0));
    let no_batch = KernelShapOptions { batch_rows: 0, ..plain };
    assert_eq!(setup(&baseline, no_batch, &[]), ShapError::BatchRows);
    for found in [0, 19, MAX_SAMPLES + 1] {
        let options = KernelShapOptions {
            num_samples: Some(found),
            ..plain
        };
        let error = setup(&vec![vec![0.0; 10]], options, &[]);
        assert_eq!(
            error,
            ShapError::Samples {
                found,
                features: 10,
                needed: 20
            }
        );
    }
    let mut broken = |_: &[Vec<f64>]| Err("endpoint is gone");
    let error = KernelShap::new(baseline.clone(), plain, &mut broken)
        .map(|_| ())
        .unwrap_err();
    assert_eq!(error, ShapError::Model("endpoint is gone"));
    // A model that changes the number of labels, and a row of another length.
    let mut labels = 0;
    let mut model = |rows: &[Vec<f64>]| {
        labels += 1;
        Ok::<_, Infallible>(vec![vec![0.5; labels]; rows.len()])
    };
    let explainer = KernelShap::new(baseline, plain, &mut model).unwrap();
    assert!(matches!(
        explainer.explain(&[1.0], &mut model),
        Err(ShapError::RowLength { found: 1, .. })
    ));
    assert_eq!(
        explainer.explain(&[1.0, 2.0], &mut model),
        Err(ShapError::Labels { found: 2, expected: 1 })
    );
}

#[test]
fn cluster_centers_form_baseline() {
    // Two clusters that differ in a feature of small numbers. The other feature is large and carries no information.
    let rows: Rows = (0..40)
        .map(|row| {
            vec![
                if row % 2 == 0 { 0.0 } else { 0.01 },
                1e6 * (count(row / 2) * 2.0).sin(),
            ]
        })
        .collect();
    let mut centres = kmeans(&rows, 2, 1).unwrap();
    assert_eq!(kmeans(&rows, 2, 1).unwrap(), centres);
    centres.sort_by(|one, other| one[0].total_cmp(&other[0]));
    assert_eq!(centres.len(), 2);
    assert!(
        kmeans(&rows, 12, 0)
            .unwrap()
            .iter()
            .flatten()
            .all(|value| value.is_finite())
    );
    let mean = kmeans(&rows, 1, 0).unwrap();
    assert!((mean[0][0] - 0.005).abs() < 1e-12);
    // Three distinct rows give at most three centers.
    let few: Rows = (0..9).map(|row| vec![count(row % 3), 5.0]).collect();
    let mut centres = kmeans(&few, 8, 0).unwrap();
    centres.sort_by(|one, other| one[0].total_cmp(&other[0]));
    assert_eq!(centres, [[0.0, 5.0], [1.0, 5.0], [2.0, 5.0]]);
    assert_eq!(kmeans(&few, 0, 0), Err(KmeansError::Clusters(0)));
    assert_eq!(kmeans(&few, 13, 0), Err(KmeansError::Clusters(13)));
    assert_eq!(kmeans(&[], 1, 0), Err(KmeansError::NoRows));
    assert_eq!(kmeans(&[vec![f64::NAN]], 1, 0), Err(KmeansError::NotFinite { row: 0 }));
    assert!(matches!(
        kmeans(&[vec![1.0], vec![]], 1, 0),
        Err(KmeansError::RowLength { row: 1, .. })
    ));
    let wide = kmeans(&[vec![f64::MAX], vec![f64::MIN], vec![f64::MAX]], 2, 0).unwrap();
    assert!(wide.iter().flatten().all(|value| value.is_finite()));
}

fn row(features: usize) -> impl Strategy<Value = Vec<f64>> {
    prop::collection::vec(-2.0..2.0_f64, features)
}

proptest! {
    #[test]
    fn values_satisfy_shapley_axioms(
        (baseline, row) in (2..13_usize).prop_flat_map(|features| (prop::collection::vec(row(features), 1..4), row(features))),
        coalitions in 24..200_usize,
        seed: u64,
    ) {
        // The last feature has no effect; the first two have the same effect.
        let (mut baseline, mut row) = (baseline, row);
        for row in baseline.iter_mut().chain([&mut row]) {
            row[1] = row[0];
        }
        let model = |row: &[f64]| {
            let seen = &row[..row.len() - 1];
            let mut sum: f64 = seen.iter().sum();
            if row.len() > 2 {
                sum += (row[0] * row[1]).cos();
            }
            vec![sum + sum * sum, 1.0 / (1.0 + (-sum).exp())]
        };
        let options = KernelShapOptions { num_samples: Some(coalitions), seed, ..KernelShapOptions::default() };
        let (explainer, local) = explain(&baseline, &row, options, model);
        for (label, values) in local.values.iter().enumerate() {
            let sum: f64 = values.iter().sum();
            prop_assert!((sum - (local.prediction[label] - explainer.expected()[label])).abs() < 1e-9);
        }
        let all = coalitions >= (1 << row.len()) - 2;
        if all {
            for values in &local.values {
                prop_assert!(values[row.len() - 1].abs() < 1e-9);
                if row.len() > 2 {
                    prop_assert!((values[0] - values[1]).abs() < 1e-9);
                }
            }
        }
    }

    #[test]
    fn constant_feature_has_zero_value(row in row(5), other in row(5), same in 0..5_usize) {
        let mut baseline = vec![other.clone(), row.clone()];
        baseline[0][same] = row[same];
        let (_, local) = explain(&baseline, &row, KernelShapOptions::default(), |row| vec![nonlinear(row)]);
        prop_assert!(local.values[0][same].abs() <= 0.0);
    }
}
