//! Bias: merged counts, drift compared with a baseline, confidence intervals, and errors.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use analysis::{
    bias::{
        BiasReport, Bootstrap, Cell, Column, FacetCounts, Features, Interval, Intervals, MAX_FACET_VALUES, Metric,
        MetricError, Reading, Request, SelectionError, Stage, analysis, bias_report, check, flip_test,
    },
    compute::bias::{answer, report},
};
use model_monitor::{Analysis, Limits, Subject, ViolationReport};
use proptest::prelude::*;
use serde_json::json;

type Row = (bool, bool, bool, u8);

fn count(rows: &[Row]) -> FacetCounts {
    let mut counts = FacetCounts::with_subgroups();
    for (facet, label, predicted, group) in rows {
        counts.add(*facet, *label, *predicted, Some(&group.to_string()));
    }
    counts
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    prop::collection::vec((any::<bool>(), any::<bool>(), any::<bool>(), 0..3_u8), 0..60)
}

proptest! {
    #[test]
    fn merged_counts_equal_whole(left in rows(), right in rows()) {
        let mut parts = count(&left);
        parts.merge(&count(&right));
        prop_assert_eq!(parts, count(&[left, right].concat()));
    }

    #[test]
    fn differences_change_sign_with_facet(rows in rows()) {
        let other: Vec<Row> = rows.iter().map(|(facet, y, h, g)| (!facet, *y, *h, *g)).collect();
        let (counts, other) = (count(&rows), count(&other));
        // A divergence has a direction, a ratio is not a difference, and the share of an empty set is 0 on both sides.
        let others = |metric: &&Metric| {
            !matches!(metric, Metric::Kl | Metric::Di | Metric::Ft | Metric::Cddl | Metric::Cddpl)
        };
        for metric in Metric::ALL.iter().filter(others) {
            let distance = matches!(metric, Metric::Js | Metric::Lp | Metric::Tvd | Metric::Ks | Metric::Ge);
            if let (Ok(there), Ok(here)) = (counts.evaluate(*metric), other.evaluate(*metric)) {
                let back = if distance { here } else { -here };
                prop_assert!(there.total_cmp(&back).is_eq() || (there - back).abs() < 1e-12, "{}: {} {}", metric, there, here);
            } else {
                prop_assert!(counts.evaluate(*metric).is_err() && other.evaluate(*metric).is_err());
            }
        }
    }

    #[test]
    fn no_metric_is_nan(rows in rows()) {
        let counts = count(&rows);
        for metric in Metric::ALL {
            prop_assert!(!counts.evaluate(*metric).is_ok_and(f64::is_nan), "{}", metric);
        }
    }

    #[test]
    fn any_line_gives_result_or_error(line in prop::collection::vec(any::<u8>(), 0..80)) {
        prop_assert!(answer(&line).is_err() && report(&line).is_err());
    }

    /// The nearest neighbor of a row in the flip test is the row itself if it is in group a.
    #[test]
    fn copy_of_advantaged_group_does_not_flip(
        rows in prop::collection::vec((-1e3..1e3_f64, any::<bool>()), 1..9),
    ) {
        let mut rows = rows;
        rows.dedup_by(|a, b| a.0.total_cmp(&b.0).is_eq());
        let distinct: std::collections::BTreeSet<u64> = rows.iter().map(|row| row.0.to_bits()).collect();
        prop_assume!(distinct.len() == rows.len());
        let twice = [rows.clone(), rows.clone()].concat();
        let column = Column::Float(twice.iter().map(|row| row.0).collect());
        let features = Features::new(twice.len(), [("x", &column)]).unwrap();
        let facet: Vec<bool> = (0..twice.len()).map(|at| at < rows.len()).collect();
        let predicted: Vec<bool> = twice.iter().map(|row| row.1).collect();
        prop_assert_eq!(flip_test(&features, &facet, &predicted), Ok(0.0));
    }
}

#[test]
fn merge_keeps_subgroups_only_if_both_have_them() {
    let mut counts = count(&[(true, true, true, 0), (false, false, false, 0)]);
    assert!(counts.evaluate(Metric::Cddl).is_ok());
    counts.merge(&FacetCounts::new());
    assert_eq!(counts.evaluate(Metric::Cddl), Err(MetricError::NoGroup));
}

#[test]
fn flip_test_rejects_unusable_features() {
    let texts = Column::new(vec![Cell::Text("a".to_owned()), Cell::Text("b".to_owned())]);
    let holes = Column::new(vec![Cell::Int(1), Cell::Null]);
    let short = Column::new(vec![Cell::Int(1)]);
    let refused = |column| Features::new(2, [("age", column)]).unwrap_err().to_string();
    assert_eq!(refused(&texts), "flip test does not support non-numeric columns: `age`");
    assert_eq!(
        refused(&holes),
        "flip test does not support nulls, NaN or infinity: column `age`"
    );
    assert_eq!(refused(&short), "`age` has 1 rows: expected 2, as the facet has");
    assert_eq!(Features::new(2, []), Err(MetricError::NoFeatures));

    let rows = 200_002;
    let column = Column::Int((0..rows).collect());
    let facet: Vec<bool> = (0..rows).map(|row| row % 2 == 0).collect();
    let features = Features::new(facet.len(), [("x", &column)]).unwrap();
    let error = flip_test(&features, &facet, &facet).unwrap_err().to_string();
    assert_eq!(
        error,
        "flip test would compare 100001 rows with 100001 rows: analyze a sample of the dataset"
    );
}

fn texts(values: impl IntoIterator<Item = String>) -> Column {
    Column::new(values.into_iter().map(Cell::Text).collect())
}

fn loans() -> Vec<(String, Column)> {
    let of = |name: &str, of: fn(i64) -> i64| (name.to_owned(), Column::Int((0..200).map(of).collect()));
    vec![
        (
            "sex".to_owned(),
            texts((0..200).map(|i| if i % 3 == 0 { "f" } else { "m" }.to_owned())),
        ),
        of("age", |i| 20 + i % 60),
        of("paid", |i| i64::from(i % 7 < 4)),
        of("granted", |i| i64::from(i % 5 < 3)),
        of("branch", |i| i % 2),
    ]
}

fn report_on(facet: &str, values: &[Cell], predicted: Option<&str>) -> Result<BiasReport, SelectionError> {
    bias_report(&Request {
        columns: &loans(),
        facet,
        facet_values_or_threshold: values,
        label: "paid",
        label_values_or_threshold: &[Cell::Int(1)],
        predicted_label: predicted,
        accepted: None,
        group_variable: Some("branch"),
        reading: Reading::Clarify,
    })
}

#[test]
fn reports_build_analysis_file() {
    let reports = [
        report_on("sex", &[], Some("granted")).unwrap(),
        report_on("age", &[Cell::Float(40.0)], Some("granted")).unwrap(),
    ];
    let written = serde_json::to_vec(&analysis(&reports)).unwrap();
    let read = Analysis::parse("analysis.json", &written, &Limits::default()).unwrap();
    assert_eq!(read, analysis(&reports));
    let post = read.post_training_bias_metrics.unwrap();
    assert_eq!(post.label_value_or_threshold.as_deref(), Some("1"));
    let values = |facet: &str| {
        post.facets
            .get(facet)
            .unwrap()
            .iter()
            .map(|f| f.value_or_threshold.clone())
            .collect()
    };
    let (sex, age): (Vec<_>, Vec<_>) = (values("sex"), values("age"));
    assert_eq!(
        (sex, age),
        (vec!["f".to_owned(), "m".to_owned()], vec!["(40.0, 79.0]".to_owned()])
    );
    let ft = post
        .facets
        .get("sex")
        .unwrap()
        .first()
        .unwrap()
        .metrics
        .iter()
        .find(|metric| metric.name == "FT")
        .unwrap();
    assert_eq!(ft.description.as_deref(), Some("Flip Test (FT)"));
    assert!(ft.value.is_some());

    let pre = analysis(&[report_on("sex", &[], None).unwrap()]);
    assert!(pre.pre_training_bias_metrics.is_some() && pre.post_training_bias_metrics.is_none());
}

#[test]
fn facet_with_too_many_values_is_rejected() {
    let columns = [
        (
            "id".to_owned(),
            texts((0..=MAX_FACET_VALUES).map(|i| format!("id-{i}"))),
        ),
        (
            "y".to_owned(),
            Column::Bool((0..=MAX_FACET_VALUES).map(|i| i % 2 == 0).collect()),
        ),
    ];
    let request = Request {
        columns: &columns,
        facet: "id",
        facet_values_or_threshold: &[],
        label: "y",
        label_values_or_threshold: &[Cell::Bool(true)],
        predicted_label: None,
        accepted: None,
        group_variable: None,
        reading: Reading::Clarify,
    };
    let error = bias_report(&request).unwrap_err().to_string();
    assert_eq!(
        error,
        "column `id` has 1001 values, more than 1000: list the values of the sensitive group"
    );
    let values = [Cell::Text("id-7".to_owned())];
    assert!(
        bias_report(&Request {
            facet_values_or_threshold: &values,
            ..request
        })
        .is_ok()
    );
}

fn stage(facet: &str, value: &str, metrics: &[(&str, serde_json::Value)]) -> serde_json::Value {
    let metric = |(name, value): &(&str, serde_json::Value)| json!({"name": name, "value": value});
    let metrics: Vec<_> = metrics.iter().map(metric).collect();
    json!({"facets": {facet: [{"value_or_threshold": value, "metrics": metrics}]}})
}

fn post_training(value: &str, metrics: &[(&str, serde_json::Value)]) -> Analysis {
    let text = json!({"post_training_bias_metrics": stage("Sex", value, metrics)}).to_string();
    Analysis::parse("analysis.json", text.as_bytes(), &Limits::default()).unwrap()
}

/// Values of a published baseline, and of the violations that Model Monitor found.
#[test]
fn violations_match_service_output() {
    let published = [
        ("AD", json!(-0.151_566_416_040_100_24), json!(-0.15), false),
        (
            "CDDPL",
            json!(0.281_765_637_331_942_76),
            json!(0.374_894_782_529_513_1),
            true,
        ),
        (
            "DAR",
            json!(-0.095_081_967_213_114_79),
            json!(-0.346_938_775_510_204_13),
            true,
        ),
        (
            "DCA",
            json!(-0.527_868_852_459_016_3),
            json!(-36.693_877_551_020_41),
            true,
        ),
        (
            "DCR",
            json!(0.027_874_251_497_005_953),
            json!(-0.076_507_936_507_936_47),
            true,
        ),
        ("TE", json!(2.916_666_666_666_667), json!("Infinity"), true),
    ];
    let baseline = published.clone().map(|(name, baseline, ..)| (name, baseline));
    let run = published.clone().map(|(name, _, value, _)| (name, value));
    let drift = check(&post_training("0", &run), &post_training("0", &baseline), None, None);
    let found: Vec<&str> = drift
        .violations
        .iter()
        .map(|v| v.metric_name.as_deref().unwrap())
        .collect();
    let expected: Vec<&str> = published.iter().filter(|case| case.3).map(|case| case.0).collect();
    assert_eq!(found, expected);
    let written = json!({"version": "1.0", "violations": drift.violations});
    assert_eq!(
        written["violations"].get(0),
        Some(&json!({
            "constraint_check_type": "bias_drift_check",
            "description": "Metric value 0.3748947825295131 doesn't meet the baseline constraint requirement \
                            0.28176563733194276",
            "facet": "Sex",
            "facet_value": "0",
            "metric_name": "CDDPL"
        }))
    );

    let read = ViolationReport::parse("violations", written.to_string().as_bytes(), &Limits::default()).unwrap();
    let te = read.violations.last().unwrap();
    let subject = Subject::Facet {
        facet: "Sex".to_owned(),
        value: "0".to_owned(),
        metric: "TE".to_owned(),
    };
    assert_eq!((&te.subject, te.drift()), (&subject, Some(f64::INFINITY)));
}

#[test]
fn disparate_impact_without_bias_is_one() {
    let of = |run: f64, baseline: f64| {
        let metrics = |value: f64| [("DI", json!(value)), ("DPPL", json!(value))];
        let drift = check(
            &post_training("0", &metrics(run)),
            &post_training("0", &metrics(baseline)),
            None,
            None,
        );
        drift
            .violations
            .into_iter()
            .map(|violation| violation.metric_name.unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(of(0.5, 0.9), ["DI"]);
    assert_eq!(of(0.95, 0.9), ["DPPL"]);
    assert_eq!(of(-0.95, 0.9), ["DI", "DPPL"]);
    assert!(of(0.9, 0.9).is_empty());
    assert!(of(0.3 + 0.6, 0.9).is_empty(), "rounding is no drift");
}

#[test]
fn null_or_missing_metrics_are_not_checked() {
    let baseline = [
        ("AD", json!(null)),
        ("DI", json!(0.5)),
        ("RD", json!(0.1)),
        ("SD", json!(0.1)),
    ];
    let run = [
        ("AD", json!(0.9)),
        ("DI", json!(null)),
        ("SD", json!(0.1)),
        ("TE", json!(1)),
    ];
    let drift = check(&post_training("0", &run), &post_training("0", &baseline), None, None);
    assert!(drift.violations.is_empty());
    let reasons: Vec<_> = drift
        .judgments
        .not_judged
        .iter()
        .map(|not| (not.check.as_str(), not.reason.as_str()))
        .collect();
    let expected = [
        ("AD", "the baseline value is null"),
        ("DI", "the value is null"),
        ("RD", "it is not in this execution"),
        ("TE", "it is not in the baseline"),
    ];
    assert_eq!(reasons, expected);
}

#[test]
fn interval_matches_baseline_by_threshold() {
    let (run, baseline) = ([("RD", json!(0.4))], [("RD", json!(0.1))]);
    let drift = check(
        &post_training("(40.0, 81.0]", &run),
        &post_training("(40.0, 79.5]", &baseline),
        None,
        None,
    );
    assert_eq!(
        drift.violations.first().unwrap().facet_value.as_deref().unwrap(),
        "(40.0, 81.0]"
    );
    assert!(drift.judgments.not_judged.is_empty());
    let drift = check(
        &post_training("(41.0, 81.0]", &run),
        &post_training("(40.0, 79.5]", &baseline),
        None,
        None,
    );
    assert_eq!((drift.violations.len(), drift.judgments.not_judged.len()), (0, 2));
}

#[test]
fn overlapping_interval_is_no_violation() {
    let (run, baseline) = (
        post_training("0", &[("RD", json!(0.4))]),
        post_training("0", &[("RD", json!(0.1))]),
    );
    let violations = |low, high| {
        let key = ("Sex".to_owned(), "0".to_owned(), Metric::Rd);
        let intervals = Intervals::from([(key, Interval { low, high })]);
        check(&run, &baseline, Some(&intervals), None).violations.len()
    };
    assert_eq!(
        [violations(0.05, 0.7), violations(-0.5, 0.7), violations(0.2, 0.7)],
        [0, 0, 1]
    );
    assert_eq!(
        check(&run, &baseline, Some(&Intervals::new()), None).violations.len(),
        1
    );
}

#[test]
fn bootstrap_intervals_narrow_with_more_rows() {
    let sample = |times: u64| {
        let mut counts = FacetCounts::with_subgroups();
        for row in 0..40 * times {
            counts.add(
                row % 4 == 0,
                row % 8 < 3,
                row % 5 < 2,
                Some(if row % 3 == 0 { "a" } else { "b" }),
            );
        }
        counts
    };
    let bootstrap = Bootstrap {
        seed: 3,
        ..Bootstrap::default()
    };
    let stages = [Stage::PreTraining, Stage::PostTraining];
    let (few, many) = (sample(1), sample(1_000));
    let (wide, narrow) = (bootstrap.intervals(&few, &stages), bootstrap.intervals(&many, &stages));
    assert_eq!(wide, bootstrap.intervals(&few, &stages), "the same seed");
    assert_eq!(narrow.len(), Metric::ALL.len() - 1, "all but the flip test");
    for metric in [
        Metric::Dpl,
        Metric::Ci,
        Metric::Rd,
        Metric::Di,
        Metric::Cddl,
        Metric::Ge,
    ] {
        let (wide, narrow) = (wide.get(&metric).unwrap(), narrow.get(&metric).unwrap());
        let value = many.evaluate(metric).unwrap();
        assert!(
            narrow.low < value && value < narrow.high,
            "{metric}: {value} {narrow:?}"
        );
        assert!(
            wide.high - wide.low > 10.0 * (narrow.high - narrow.low),
            "{metric}: {wide:?} {narrow:?}"
        );
    }
    // Standard error of a difference of shares of 3/8 in 10,000 and 30,000 rows.
    let dpl = narrow.get(&Metric::Dpl).unwrap();
    let share = |numerator: f64, rows: f64| numerator * (1.0 - numerator) / rows;
    let error = (share(0.5, 10_000.0) + share(1.0 / 3.0, 30_000.0)).sqrt();
    assert!(
        ((dpl.high - dpl.low) / (2.0 * 1.96 * error) - 1.0).abs() < 0.15,
        "{dpl:?} {error}"
    );
    let none = Bootstrap {
        resamples: 0,
        ..bootstrap
    };
    assert!(none.intervals(&few, &stages).is_empty());
}

#[test]
fn report_has_intervals_for_all_values() {
    let report = report_on("sex", &[], Some("granted")).unwrap();
    let intervals = report.intervals(&Bootstrap::default());
    let of = |value: &str| ("sex".to_owned(), value.to_owned(), Metric::Dppl);
    assert!(intervals.contains_key(&of("f")) && intervals.contains_key(&of("m")));
}

#[test]
fn invalid_lines_give_errors() {
    let lines = [
        ("", "EOF while parsing a value at line 1 column 0"),
        (
            r#"{"facet":[0,2],"label":[0,1]}"#,
            "`facet`: expected 0 or 1, found `2`",
        ),
        (r#"{"facet":[0,1]}"#, "missing field `label` at line 1 column 15"),
        (
            r#"{"facet":[0,1],"label":[0]}"#,
            "`label` has 1 rows: expected 2, as `facet` has",
        ),
        (
            r#"{"facet":[0],"label":[0],"features":{"x":[1,2]}}"#,
            "`x` has 2 rows: expected 1, as `facet` has",
        ),
    ];
    for (line, error) in lines {
        assert_eq!(answer(line.as_bytes()), Err(error.to_owned()), "{line}");
    }
    let of = |rest: serde_json::Value| {
        let mut line = json!({
            "columns": {"f": ["a", "b"], "y": ["no", "yes"], "h": ["no", "yes"]},
            "facet": "f", "label": "y", "label_values_or_threshold": "yes", "predicted_label": "h"
        });
        line.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        report(line.to_string().as_bytes())
    };
    assert!(of(json!({})).is_ok());
    let cases = [
        (json!({"facet": "g"}), "`facet`: column `g` is not in the dataset"),
        (
            json!({"facet": "h"}),
            "`facet`: column `h` is the predicted label: name another column",
        ),
        (
            json!({"columns": {"f": [1], "y": [1, 2], "h": [1]}}),
            "column `y` has 2 rows: expected 1, as the other columns have",
        ),
        (
            json!({"columns": {"f": [], "y": [], "h": []}}),
            "the dataset has no rows",
        ),
        (
            json!({"columns": {"f": [0.5, 1], "y": ["no", "yes"], "h": ["no", "yes"]}}),
            "column `f` is continuous: set a threshold",
        ),
        (
            json!({"label_values_or_threshold": []}),
            "`label_values_or_threshold` is empty: set it to the positive values or a threshold",
        ),
        (
            json!({"label_values_or_threshold": "maybe"}),
            "no value of the predicted label `h` is positive",
        ),
    ];
    for (rest, error) in cases {
        assert_eq!(of(rest), Err(error.to_owned()));
    }
}

#[test]
fn nan_and_infinity_strings_are_numbers() {
    let line =
        json!({"facet": [0, 1, 0], "label": [0, 1, 1], "predicted": [0, 1, 1], "features": {"x": [1, "NaN", 2]}});
    let found = answer(line.to_string().as_bytes()).unwrap();
    let error = "flip test does not support nulls, NaN or infinity: column `x`";
    assert_eq!(found["errors"].get("FT"), Some(&json!(error)));
    assert_eq!(
        found["errors"].get("CDDL"),
        Some(&json!("Group variable is empty or not provided"))
    );
    assert_eq!(found["metrics"].get("DI"), Some(&json!(2.0)));
}
