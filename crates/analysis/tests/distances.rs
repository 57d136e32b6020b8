//! Distances: compared with `SciPy` and statsmodels (`tests/peers/distances.py`), examples by hand, and properties.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use analysis::{
    compute::drift::answer,
    distance::{
        Categories, DistanceError, ROBUST_C, Rows, Weighted,
        control::{ControlError, benjamini_hochberg},
        ks_pvalue, linf_robust, robust_c,
    },
};
use model_monitor::Quantity;
use proptest::prelude::*;
use serde_json::{Value, json};

fn number(value: &Value) -> f64 {
    let quantity: Quantity = serde_json::from_value(value.clone()).unwrap();
    quantity.as_number().unwrap()
}

/// Difference between two numbers, relative to the larger one beyond 1e-3. A number that is not finite is near only
/// itself.
fn difference(one: f64, other: f64) -> f64 {
    if one.is_finite() && other.is_finite() {
        (one - other).abs() / one.abs().max(other.abs()).max(1e-3)
    } else if one.total_cmp(&other).is_eq() || (one.is_nan() && other.is_nan()) {
        0.0
    } else {
        f64::INFINITY
    }
}

fn weighted(pairs: &Value) -> Weighted {
    let pairs: Vec<(f64, u64)> = serde_json::from_value(pairs.clone()).unwrap();
    Weighted::new(pairs).unwrap()
}

fn answer_to(case: &Value) -> Value {
    match case["kind"].as_str().unwrap() {
        "weighted" => {
            let (sample, baseline) = (weighted(&case["sample"]), weighted(&case["baseline"]));
            let rows = sample.rows(&baseline);
            json!({
                "linf_simple": sample.linf_simple(&baseline),
                "linf_robust": sample.linf_robust(&baseline, rows, ROBUST_C),
                "ks_statistic": sample.ks_statistic(&baseline),
                "ks_pvalue": sample.ks_pvalue(&baseline, rows),
                "psi": sample.psi(&baseline),
                "jensen_shannon": sample.jensen_shannon(&baseline),
                "wasserstein": sample.wasserstein(&baseline),
            })
        }
        "ks_pvalue" => {
            let rows = Rows::new(case["sample"].as_u64().unwrap(), case["baseline"].as_u64().unwrap()).unwrap();
            json!({ "pvalue": ks_pvalue(number(&case["statistic"]), rows) })
        }
        _ => answer(case.to_string().as_bytes()).unwrap(),
    }
}

fn cases() -> Vec<Value> {
    let lines = include_str!("fixtures/distances.jsonl").lines();
    lines.map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn distances_match_peers() {
    let cases = cases();
    let mut compared = 0;
    for case in cases.iter().filter(|case| case["kind"] != "control") {
        let answer = answer_to(case);
        let expected = case["expected"].as_object().unwrap();
        assert_eq!(answer.as_object().unwrap().len(), expected.len(), "{answer}");
        for (name, value) in expected {
            let apart = difference(number(&answer[name]), number(value));
            assert!(
                apart < 1e-9,
                "{name}: {} is not {value}, off by {apart:e}: {case}",
                answer[name]
            );
            compared += 1;
        }
    }
    assert!(compared > 1800, "{compared}");
}

/// Very small p-values also agree in their leading digits.
#[test]
fn small_pvalues_match_peers() {
    for case in cases() {
        let answer = if case["kind"] == "control" {
            continue;
        } else {
            answer_to(&case)
        };
        for name in ["pvalue", "ks_pvalue", "chi2_pvalue"] {
            let expected = &case["expected"][name];
            if expected.is_null() || number(expected) < 1e-290 || number(expected).is_nan() {
                continue;
            }
            let ratio = number(&answer[name]) / number(expected);
            assert!(
                (ratio - 1.0).abs() < 1e-9,
                "{name}: {} is not {expected}: {case}",
                answer[name]
            );
        }
    }
}

#[test]
fn false_discovery_control_matches_peers() {
    for case in cases().iter().filter(|case| case["kind"] == "control") {
        let pvalues: Vec<f64> = serde_json::from_value(case["pvalues"].clone()).unwrap();
        let controlled = benjamini_hochberg(&pvalues, number(&case["rate"])).unwrap();
        assert_eq!(json!(controlled.rejected), case["expected"]["rejected"], "{case}");
        let expected: Vec<f64> = serde_json::from_value(case["expected"]["adjusted"].clone()).unwrap();
        assert_eq!(controlled.adjusted.len(), expected.len());
        for (one, other) in controlled.adjusted.iter().zip(expected) {
            assert!(difference(*one, other) < 1e-12, "{one} is not {other}: {case}");
        }
    }
}

fn of(values: &[f64]) -> Weighted {
    Weighted::from_values(values.iter().copied()).unwrap()
}

fn categories(counts: &[(&str, u64)]) -> Categories {
    Categories::new(counts.iter().map(|(name, count)| ((*name).to_owned(), *count))).unwrap()
}

/// A column of zeros and ones, a tenth ones compared with nine tenths: the case that shows Deequ's defect.
#[test]
fn repeated_values_count_once_only_in_deequ_mode() {
    let rows = |ones: u32| (0..100).map(move |row| (if row < ones { 1.0 } else { 0.0 }, 1));
    let (sample, baseline) = (Weighted::new(rows(10)).unwrap(), Weighted::new(rows(90)).unwrap());
    assert!(difference(sample.linf_simple(&baseline), 0.8) < 1e-15);
    let (sample, baseline) = (
        Weighted::deequ_compat(rows(10)).unwrap(),
        Weighted::deequ_compat(rows(90)).unwrap(),
    );
    assert_eq!((sample.total(), baseline.total()), (2, 2));
    assert!(sample.linf_simple(&baseline) <= 0.0);
    // For an item on two levels of a sketch, the weight of the higher level remains.
    assert_eq!(
        Weighted::deequ_compat([(5.0, 1), (5.0, 4), (5.0, 2)]).unwrap().values(),
        [(5.0, 4)]
    );
}

#[test]
fn sample_is_sorted_and_distinct() {
    let sample = Weighted::new([(2.0, 3), (-1.0, 1), (0.0, 2), (-0.0, 5), (2.0, 4), (9.0, 0)]).unwrap();
    assert_eq!(sample.values(), [(-1.0, 1), (0.0, 7), (2.0, 7)]);
    assert_eq!(sample.total(), 15);
    assert_eq!(Weighted::new([]), Err(DistanceError::Empty));
    assert_eq!(Weighted::new([(1.0, 0)]), Err(DistanceError::Empty));
    assert_eq!(Weighted::from_values([1.0, f64::NAN]), Err(DistanceError::NotANumber));
    assert_eq!(Weighted::new([(1.0, u64::MAX), (1.0, 1)]), Err(DistanceError::TooMany));
    assert_eq!(Weighted::new([(1.0, u64::MAX), (2.0, 1)]), Err(DistanceError::TooMany));
    assert_eq!(Rows::new(0, 1), Err(DistanceError::Empty));
}

#[test]
fn robust_distance_subtracts_sampling_error() {
    let rows = Rows::new(400, 500).unwrap();
    let correction = 1.8 * (900.0_f64 / 200_000.0).sqrt();
    assert!(difference(linf_robust(0.3, rows, ROBUST_C), 0.3 - correction) < 1e-15);
    assert!(linf_robust(0.1, rows, ROBUST_C) <= 0.0);
    assert!(difference(robust_c(0.003), 1.803) < 1e-4);
    // The weights of a sketch can differ from the row counts. The row counts are used.
    let (sample, baseline) = (of(&[1.0, 2.0]), of(&[3.0, 4.0]));
    assert!(difference(sample.linf_robust(&baseline, rows, ROBUST_C), 1.0 - correction) < 1e-15);
    assert!(ks_pvalue(f64::NAN, rows).is_nan());
}

#[test]
fn infinities_are_valid_values() {
    let (sample, baseline) = (
        of(&[f64::NEG_INFINITY, 1.0, f64::INFINITY]),
        of(&[1.0, 2.0, f64::INFINITY]),
    );
    assert!(difference(sample.linf_simple(&baseline), 1.0 / 3.0) < 1e-15);
    assert!(sample.wasserstein(&baseline).is_infinite());
    assert!(sample.wasserstein(&sample) <= 0.0);
    let (sample, baseline) = (of(&[1.0, f64::INFINITY]), of(&[3.0, f64::INFINITY]));
    assert!(difference(sample.wasserstein(&baseline), 1.0) < 1e-15);
    assert!(difference(of(&[f64::MAX, 0.0]).wasserstein(&of(&[f64::MIN, 0.0])), f64::MAX) < 1e-15);
}

/// A few repeated values have one bin each. Many values have ten bins, and equal cuts are merged.
#[test]
fn bins_come_from_baseline() {
    // Shares of the baseline: 1/2 and 1/2. Shares of the sample: 1/4, 1/4, and 1/2 elsewhere. The order of values is
    // irrelevant.
    let (sample, baseline) = (of(&[0.0, 1.0, 0.5, 7.0]), of(&[0.0, 0.0, 1.0, 1.0]));
    let term = |p: f64, q: f64| (p - q) * (p / q).ln();
    let expected = 2.0 * term(0.25, 0.5) + term(0.5, 1e-4);
    assert!(difference(sample.psi(&baseline), expected) < 1e-12);
    // 21 values, 80 of 100 rows at 0: the first to eighth deciles are one cut, the ninth is at 10.
    let baseline = (1..=20).map(|value| (f64::from(value), 1)).chain([(0.0, 80)]);
    let baseline = Weighted::new(baseline).unwrap();
    let sample = of(&[-3.0, 0.0, 10.0, 10.5]);
    let expected = term(0.5, 0.8) + term(0.25, 0.1) + term(0.25, 0.1);
    assert!(difference(sample.psi(&baseline), expected) < 1e-12);
}

#[test]
fn chi_square_requires_two_large_categories() {
    let baseline = categories(&[("a", 50), ("b", 50)]);
    // Ten expected rows each are enough. Nine are not, and merging leaves one category.
    assert!(categories(&[("a", 20)]).chi_square(&baseline).statistic > 19.0);
    assert!(categories(&[("a", 9), ("b", 9)]).chi_square(&baseline).pvalue.is_nan());
    // All rows have new categories.
    assert!(categories(&[("c", 90)]).chi_square(&baseline).statistic.is_nan());
    // New categories are excluded from the test, but not from the other distances.
    let sample = categories(&[("a", 50), ("b", 50), ("c", 100)]);
    assert!(sample.chi_square(&baseline).statistic <= 0.0);
    assert!(sample.chi_square(&baseline).pvalue >= 1.0);
    assert!(difference(sample.linf_simple(&baseline), 0.5) < 1e-15);
    // The baseline has a category without rows. Its expected count is 0, so any row of it is impossible.
    let mut named: Vec<(&str, u64)> = vec![("a", 50), ("b", 50), ("c", 50), ("d", 50), ("e", 50), ("f", 0)];
    let baseline = categories(&named);
    assert!(baseline.chi_square(&baseline).statistic.is_nan());
    named[5].1 = 1;
    assert!(categories(&named).chi_square(&baseline).statistic.is_infinite());
    assert!(categories(&named).chi_square(&baseline).pvalue <= 0.0);
    assert_eq!(Categories::new([("a".to_owned(), 0)]), Err(DistanceError::Empty));
    let many = [("a".to_owned(), u64::MAX), ("b".to_owned(), 1)];
    assert_eq!(Categories::new(many), Err(DistanceError::TooMany));
}

#[test]
fn invalid_probabilities_are_rejected() {
    assert_eq!(
        benjamini_hochberg(&[0.1, 1.5], 0.05),
        Err(ControlError::NotAProbability { place: 1, value: 1.5 })
    );
    assert!(benjamini_hochberg(&[f64::NAN], 0.05).is_err());
    assert!(benjamini_hochberg(&[0.1], -0.05).is_err());
}

#[test]
fn error_names_invalid_field() {
    let error = |line: &str| answer(line.as_bytes()).unwrap_err();
    for (line, expected) in [
        (
            r#"{"kind":"numeric","sample":[],"baseline":[1]}"#,
            "`sample`: there are no values",
        ),
        (
            r#"{"kind":"numeric","sample":[1],"baseline":["NaN"]}"#,
            "`baseline`: a value is NaN",
        ),
        (
            r#"{"kind":"numeric","sample":[1],"baseline":[1,"x"]}"#,
            "`baseline[1]`: expected a number, found `x`",
        ),
        (
            r#"{"kind":"numeric","sample":[1,null],"baseline":[1]}"#,
            "`sample[1]` is null",
        ),
        (
            r#"{"kind":"numeric","sample":{"a":1},"baseline":[1]}"#,
            "`sample`: expected a list",
        ),
        (r#"{"kind":"numeric","sample":[1]}"#, "missing field `baseline`"),
        (r#"{"kind":"text","sample":[1],"baseline":[1]}"#, "`kind` is `text`"),
        (
            r#"{"kind":"categorical","sample":{"a":0},"baseline":{"a":1}}"#,
            "`sample`: there are no values",
        ),
        (
            r#"{"kind":"categorical","sample":{"a":1},"baseline":{}}"#,
            "`baseline`: there are no values",
        ),
        (
            r#"{"kind":"categorical","sample":{"a":-1},"baseline":{"a":1}}"#,
            "count of `a`, found -1",
        ),
        (
            r#"{"kind":"categorical","sample":{"a":1.5},"baseline":{"a":1}}"#,
            "count of `a`, found 1.5",
        ),
        (
            r#"{"kind":"categorical","sample":{"a":null},"baseline":{"a":1}}"#,
            "count of `a`, found null",
        ),
        (
            r#"{"kind":"categorical","sample":["a"],"baseline":{"a":1}}"#,
            "`sample`: expected an object",
        ),
        ("", "EOF"),
    ] {
        assert!(error(line).contains(expected), "{line}: {}", error(line));
    }
}

#[test]
fn non_finite_numbers_are_strings() {
    let line = json!({"kind": "numeric", "sample": ["Infinity", 1], "baseline": [1, 2.5]});
    assert_eq!(answer(line.to_string().as_bytes()).unwrap()["wasserstein"], "Infinity");
    let line = json!({"kind": "categorical", "sample": {"a": 3.0}, "baseline": {"a": 4}});
    assert_eq!(answer(line.to_string().as_bytes()).unwrap()["chi2_pvalue"], "NaN");
}

/// Among the largest samples with an exact p-value, with coprime numbers of rows.
#[test]
fn pvalue_of_many_rows_is_exact() {
    let rows = Rows::new(9_999, 10_000).unwrap();
    assert!((0.0..1e-300).contains(&ks_pvalue(0.9, rows)));
    // Any path except those along the diagonal leaves it by one step.
    assert!(ks_pvalue(1e-4, rows) >= 1.0 - 1e-12);
}

fn samples() -> impl Strategy<Value = Vec<f64>> {
    prop_oneof![
        prop::collection::vec((-3..4_i32).prop_map(f64::from), 1..40),
        prop::collection::vec(-1e3..1e3_f64, 1..60),
        prop::collection::vec(any::<f64>().prop_filter("a number", |value| !value.is_nan()), 1..20),
    ]
}

/// Cumulative distribution by counting.
fn reached(values: &[f64], value: f64) -> f64 {
    let count = |values: &[f64]| f64::from(u32::try_from(values.len()).unwrap());
    let below: Vec<f64> = values.iter().copied().filter(|other| *other <= value).collect();
    count(&below) / count(values)
}

proptest! {
    #[test]
    fn numeric_distances_keep_their_laws(one in samples(), other in samples()) {
        let (sample, baseline) = (of(&one), of(&other));
        let simple = sample.linf_simple(&baseline);
        let counted = one.iter().chain(&other).map(|value| (reached(&one, *value) - reached(&other, *value)).abs());
        prop_assert!((simple - counted.fold(0.0, f64::max)).abs() < 1e-12);
        prop_assert!((simple - baseline.linf_simple(&sample)).abs() <= 0.0);
        prop_assert!((0.0..=1.0).contains(&simple));
        prop_assert!((0.0..=1.0).contains(&sample.ks_pvalue(&baseline, sample.rows(&baseline))));
        prop_assert!(sample.psi(&baseline) >= 0.0);
        prop_assert!((0.0..=0.832_554_7).contains(&sample.jensen_shannon(&baseline)));
        prop_assert!(sample.wasserstein(&baseline) >= 0.0);
        for distance in [sample.linf_simple(&sample), sample.psi(&sample), sample.jensen_shannon(&sample), sample.wasserstein(&sample)] {
            prop_assert!(distance <= 0.0);
        }
        prop_assert!(ks_pvalue(0.0, sample.rows(&sample)) >= 1.0);
    }

    #[test]
    fn pvalue_decreases_with_statistic(n in 1..3_000_u64, m in 1..3_000_u64, large in any::<bool>(), at in 0.0..1.0_f64, more in 0.0..0.2_f64) {
        let rows = Rows::new(if large { n + 10_000 } else { n }, m).unwrap();
        let (least, most) = (ks_pvalue(at, rows), ks_pvalue(at + more, rows));
        prop_assert!((0.0..=1.0).contains(&least));
        // There may be a step where one method ends and the next begins.
        prop_assert!(most <= least + 1e-5, "{least} {most}");
    }

    #[test]
    fn categorical_distances_keep_their_laws(
        one in prop::collection::btree_map("[a-f]", 0..200_u64, 1..6),
        other in prop::collection::btree_map("[a-f]", 0..200_u64, 1..6),
    ) {
        prop_assume!(one.values().sum::<u64>() > 0 && other.values().sum::<u64>() > 0);
        let (sample, baseline) = (Categories::new(one).unwrap(), Categories::new(other).unwrap());
        let simple = sample.linf_simple(&baseline);
        prop_assert!((0.0..=1.0).contains(&simple));
        prop_assert!((simple - baseline.linf_simple(&sample)).abs() <= 0.0);
        prop_assert!(sample.psi(&baseline) >= 0.0 && sample.psi(&sample) <= 0.0);
        prop_assert!((0.0..=0.832_554_7).contains(&sample.jensen_shannon(&baseline)));
        let chi_square = sample.chi_square(&baseline);
        prop_assert!(chi_square.pvalue.is_nan() || (0.0..=1.0).contains(&chi_square.pvalue));
        prop_assert_eq!(chi_square.pvalue.is_nan(), chi_square.statistic.is_nan());
    }

    #[test]
    fn any_line_gives_result_or_error(line in "\\PC*") {
        prop_assert!(answer(line.as_bytes()).is_err());
    }
}
