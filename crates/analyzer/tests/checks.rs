//! All kinds of baselines, and all settings of the checks.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use crate::common;

use analysis::data_quality::Options;
use analyzer::{
    Outcome,
    job::{Baseline, DataQualityJob, JobError},
};
use common::{Files, file, violations};
use model_monitor::{Limits, ViolationReport};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// A thousand rows: a number around `mean`, and `x` in this number of ten rows.
fn data(mean: f64, of_ten: usize) -> Files {
    let rows = (0..1000).map(|row| {
        let text = if row % 10 < of_ten { "x" } else { "y" };
        format!(
            "{:?},{text}\n",
            mean + f64::from(u32::try_from(row * 7919 % 1000).unwrap()) / 1000.0
        )
    });
    file(format!("n,t\n{}", rows.collect::<String>()))
}

/// The baseline of `data(0.5, 9)` with another configuration for all columns, and overrides for some.
fn configured(config: &Value, overrides: &[(&str, &str, Value)]) -> Baseline {
    let mut baseline = data(0.5, 9).baseline();
    let mut constraints = serde_json::to_value(baseline.constraints.unwrap()).unwrap();
    let constraints_of_all = constraints.as_object_mut().unwrap();
    constraints_of_all.insert("monitoring_config".to_owned(), config.clone());
    for feature in constraints_of_all.get_mut("features").unwrap().as_array_mut().unwrap() {
        for (name, path, config) in overrides {
            if feature.get("name").unwrap() == name {
                let mut at = &mut *feature;
                let (parents, key) = path.rsplit_once('/').unwrap_or(("", path));
                for parent in parents.split('/').filter(|parent| !parent.is_empty()) {
                    at = at.as_object_mut().unwrap().entry(parent).or_insert(json!({}));
                }
                at.as_object_mut().unwrap().insert((*key).to_owned(), config.clone());
            }
        }
    }
    let bytes = serde_json::to_vec(&constraints).unwrap();
    baseline.constraints = None;
    baseline.add("constraints.json", "constraints.json", &bytes).unwrap();
    baseline
}

fn distribution(settings: &Value) -> Value {
    json!({ "distribution_constraints": settings })
}

/// Description of the only drift violation.
fn drift(report: &analyzer::Report, column: &str) -> String {
    let of = |violation: &&analysis::ConstraintViolation| {
        violation.subject() == column && violation.constraint_check_type == "baseline_drift_check"
    };
    report
        .violations
        .iter()
        .find(of)
        .map(|violation| violation.description.clone())
        .unwrap_or_default()
}

#[test]
fn same_data_is_clean_and_shifted_data_drifts() {
    let baseline = data(0.5, 9).baseline();
    assert_eq!(data(0.5, 9).analyze(&baseline).outcome(), Outcome::Clean);
    let report = data(0.8, 4).analyze(&baseline);
    assert_eq!(
        violations(&report),
        ["n baseline_drift_check", "t baseline_drift_check"]
    );
    assert_eq!(
        drift(&report, "t"),
        "Categorical distance: 0.41950155281000756 exceeds threshold: 0.1"
    );
    assert!(
        drift(&report, "n").starts_with("Numerical distance: 0.2"),
        "{}",
        drift(&report, "n")
    );
    assert!(report.files.iter().any(|file| file.name == "drift.json"));
}

#[test]
fn disabled_checks_are_skipped() {
    let other = file("n,extra\nx,1\n,2\n5,2,3\n");
    let all = ["n data_type_check", "n completeness_check", "t missing_column_check"];
    let report = other.analyze(&configured(&json!({}), &[]));
    let mut found = violations(&report);
    found.retain(|violation| !violation.starts_with("extra"));
    assert_eq!(found, all);
    let off = configured(&json!({"evaluate_constraints": "Disabled"}), &[]);
    let report = other.analyze(&off);
    assert_eq!(violations(&report), [""; 0], "not even rows with too many cells");
    assert!(
        report.notes.iter().any(|note| note.contains("row 4, column `extra`")),
        "{:?}",
        report.notes
    );
    // One column is disabled; one is enabled although all are disabled.
    let report = data(0.8, 4).analyze(&configured(
        &json!({}),
        &[(
            "n",
            "monitoring_config_overrides",
            json!({"evaluate_constraints": "Disabled"}),
        )],
    ));
    assert_eq!(violations(&report), ["t baseline_drift_check"]);
    let report = data(0.8, 4).analyze(&configured(
        &json!({"evaluate_constraints": "Disabled"}),
        &[(
            "n",
            "monitoring_config_overrides",
            json!({"evaluate_constraints": "Enabled"}),
        )],
    ));
    assert_eq!(violations(&report), ["n baseline_drift_check"]);
    for settings in [
        json!({"perform_comparison": "Disabled"}),
        json!({"enable_comparisons": false}),
    ] {
        let report = data(0.8, 4).analyze(&configured(&distribution(&settings), &[]));
        assert_eq!(report.outcome(), Outcome::Clean);
        assert!(report.files.iter().all(|file| file.name != "drift.json"));
    }
    let silent = data(0.8, 4).analyze(&configured(&json!({"emit_metrics": "Disabled"}), &[]));
    assert!(silent.metrics.is_empty());
    assert!(!data(0.8, 4).analyze(&configured(&json!({}), &[])).metrics.is_empty());
}

#[test]
fn overrides_apply_in_all_three_spellings() {
    let looser = distribution(&json!({"comparison_threshold": 0.9}));
    for path in [
        "monitoring_config_overrides",
        "monitoringConfigOverrides",
        "string_constraints/monitoring_config_overrides",
        "string_constraints/monitoringConfigOverrides",
    ] {
        let report = data(0.5, 4).analyze(&configured(&json!({}), &[("t", path, looser.clone())]));
        assert_eq!(violations(&report), [""; 0], "{path}");
        let report = data(0.8, 4).analyze(&configured(&json!({}), &[("t", path, looser.clone())]));
        assert_eq!(violations(&report), ["n baseline_drift_check"], "{path}");
    }
}

#[test]
fn column_threshold_overrides_general_threshold() {
    let mixed = file("n,t\n0.5,x\n0.75,x\n1,x\n1.25,z\n");
    for (config, expected) in [
        (json!({}), vec!["n data_type_check", "t categorical_values_check"]),
        (
            json!({"datatype_check_threshold": 0.75}),
            vec!["t categorical_values_check"],
        ),
        (
            json!({"datatype_check_threshold": 0.76, "domain_content_threshold": 0.75}),
            vec!["n data_type_check"],
        ),
        (
            json!({"datatype_check_threshold": 0.5, "distribution_constraints": {"min_domain_mass": 0.5}}),
            vec![],
        ),
    ] {
        let mut baseline = configured(&config, &[]);
        baseline.statistics = None;
        // The few rows of the baseline's string column are its domain.
        let features = baseline.constraints.as_mut().unwrap().features.as_mut().unwrap();
        let text = features.iter_mut().find(|feature| feature.name == "t").unwrap();
        text.string_constraints.get_or_insert_default().domains = Some(vec!["x".to_owned(), "y".to_owned()]);
        assert_eq!(violations(&mixed.analyze(&baseline)), expected, "{config}");
    }
    let lenient = DataQualityJob {
        options: Options {
            lenient_types: true,
            ..Options::default()
        },
        ..DataQualityJob::default()
    };
    let mut baseline = data(0.5, 9).baseline();
    baseline.statistics = None;
    assert_eq!(
        violations(&file("n,t\n1,x\n2,5\n").analyze_by(&lenient, &baseline)),
        ["t categorical_values_check"]
    );
}

#[test]
fn comparison_methods_work_in_both_spellings() {
    let shifted = data(0.8, 4);
    let of = |settings: Value| shifted.analyze(&configured(&distribution(&settings), &[]));
    for method in ["Simple", "linf_simple"] {
        let report = of(json!({"comparison_method": method, "comparison_threshold": 0.45}));
        assert_eq!(violations(&report), ["t baseline_drift_check"], "{method}");
        assert_eq!(drift(&report, "t"), "Categorical distance: 0.5 exceeds threshold: 0.45");
    }
    for method in ["Robust", "linf_robust"] {
        let report = of(json!({"comparison_method": method, "comparison_threshold": 0.45}));
        assert_eq!(violations(&report), [""; 0], "{method}");
    }
    let report = of(json!({"categorical_comparison_threshold": 0.6, "categorical_drift_method": "LInfinity"}));
    assert_eq!(violations(&report), ["n baseline_drift_check"]);
    let report = of(json!({"categorical_comparison_threshold": 0.05, "categorical_drift_method": "ChiSquared"}));
    assert_eq!(
        drift(&report, "t"),
        "Chi-squared distance: 1.0 exceeds threshold: 0.95 (one minus the p-value)"
    );
    let same = data(0.5, 9).analyze(&configured(
        &distribution(&json!({"categorical_drift_method": "ChiSquared"})),
        &[],
    ));
    assert_eq!(violations(&same), [""; 0]);
}

#[test]
fn unknown_settings_are_errors() {
    let shifted = data(0.8, 4).read();
    let error = |settings: Value| {
        let job = DataQualityJob::default();
        job.analyze(&shifted, &configured(&distribution(&settings), &[]))
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        error(json!({"comparison_method": "Wasserstein"})),
        "constraints.json, `comparison_method`: unknown value `Wasserstein`: expected `Robust`, `linf_robust`, `Simple`, \
         `linf_simple`"
    );
    assert_eq!(
        error(json!({"categorical_drift_method": "PSI"})),
        "constraints.json, `categorical_drift_method`: unknown value `PSI`: expected `LInfinity`, `ChiSquared`"
    );
    let mut misspelled = data(0.5, 9).baseline();
    let features = misspelled.constraints.as_mut().unwrap().features.as_mut().unwrap();
    features[0].inferred_type = "integral".to_owned();
    let error = DataQualityJob::default().analyze(&shifted, &misspelled).unwrap_err();
    assert_eq!(
        error.to_string(),
        "constraints.json, column `n`, `inferred_type`: unknown value `integral`: expected `Integral`, `Fractional`, `String`, \
         `Unknown`"
    );
}

#[test]
fn chi_squared_test_needs_two_categories() {
    let constant = file("n,t\n0.5,x\n0.5,x\n");
    let report = constant.analyze(&configured(
        &distribution(&json!({"categorical_drift_method": "ChiSquared"})),
        &[],
    ));
    assert!(violations(&report).is_empty() || report.notes.is_empty(), "{report:?}");
}

#[test]
fn unknown_switch_is_an_error() {
    let mut unknown = Baseline::default();
    let error = unknown
        .add(
            "constraints.json",
            "constraints.json",
            br#"{"features": [], "monitoring_config": {"evaluate_constraints": "Off"}}"#,
        )
        .unwrap_err();
    assert!(error.to_string().contains("constraints.json"), "{error}");
}

#[test]
fn new_negative_values_are_noted() {
    let baseline = file("a,b\n0.5,1.5\n1.5,-0.5\n").baseline();
    let report = file("a,b\n0.5,1.5\n-1.5,-0.5\n").analyze(&baseline);
    assert_eq!(
        report.notes,
        ["column `a`: negative values, but the baseline has none (Model Monitor has no check for this)"]
    );
}

#[test]
fn unsuitable_baselines_are_rejected() {
    let job = DataQualityJob::default();
    let dataset = data(0.8, 4).read();
    let error = job.analyze(&dataset, &Baseline::default()).unwrap_err();
    assert!(matches!(error, JobError::Missing("constraints.json")), "{error}");
    assert_eq!(
        error.to_string(),
        "the baseline has no constraints.json: create a baseline with `driftwarden baseline`, or pass the folder that \
         contains it"
    );
    let mut quality = Baseline::default();
    quality
        .add(
            "constraints.json",
            "constraints.json",
            br#"{"version": 0.0, "regression_constraints": {"mae": {"threshold": 1, "comparison_operator": "GreaterThanThreshold"}}}"#,
        )
        .unwrap();
    let error = job.analyze(&dataset, &quality).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the baseline's constraints.json has no `features`: expected constraints of data quality"
    );
    let mut without = data(0.5, 9).baseline();
    without.statistics = None;
    let report = data(0.8, 4).analyze(&without);
    assert_eq!(violations(&report), [""; 0]);
    assert_eq!(
        report.notes,
        ["drift was not checked for columns `n`, `t`: the baseline has no statistics.json"]
    );
    // The statistics belong to other columns.
    let mut other = data(0.5, 9).baseline();
    other.statistics = file("p,q\n1,2\n").baseline().statistics;
    let report = data(0.8, 4).analyze(&other);
    assert_eq!(
        report.notes,
        ["drift was not checked for columns `n`, `t`: it is not in the baseline's statistics"]
    );
    let report = data(0.5, 9).analyze(&file("p,q\n1,2\n").baseline());
    assert_eq!(
        violations(&report),
        [
            "p missing_column_check",
            "q missing_column_check",
            "n extra_column_check",
            "t extra_column_check"
        ]
    );
    for broken in [&b"{"[..], b"[]", b"", b"{\"features\": 5}", b"\xff\xfe{}"] {
        let error = Baseline::default()
            .add("constraints.json", "s3://bucket/constraints.json", broken)
            .unwrap_err();
        assert!(error.to_string().contains("s3://bucket/constraints.json"), "{error}");
    }
}

#[test]
fn constraints_of_2019_are_accepted() {
    let mut baseline = Baseline::default();
    let constraints = json!({
        "version": 0.0,
        "features": [
            {"name": "t", "inferred_type": "String", "completeness": 1.0, "string_constraints": {
                "domains": ["x", "y"],
                "monitoring_config_overrides": {"evaluate_constraints": "Enabled", "emit_metrics": "Enabled"}}},
            {"name": "n", "inferred_type": "Fractional", "completeness": 1.0},
        ],
        "monitoring_config": {
            "evaluate_constraints": "Enabled",
            "emit_metrics": "Enabled",
            "distribution_constraints": {"enable_comparisons": true, "min_domain_mass": 0.5, "comparison_threshold": 1.0},
        },
    });
    baseline
        .add(
            "constraints.json",
            "constraints.json",
            constraints.to_string().as_bytes(),
        )
        .unwrap();
    baseline.statistics = data(0.5, 9).baseline().statistics;
    let report = data(0.8, 4).analyze(&baseline);
    assert_eq!(report.outcome(), Outcome::Clean, "{report:?}");
    let report = file("t,n\nx,0.5\nz,0.5\nz,1.5\n,2\n").analyze(&baseline);
    assert_eq!(
        violations(&report),
        [
            "t completeness_check",
            "t categorical_values_check",
            "n data_type_check"
        ]
    );
}

#[test]
fn empty_dataset_is_never_clean() {
    let baseline = data(0.5, 9).baseline();
    for (text, expected) in [
        ("n,t\n,\n", vec!["n completeness_check", "t completeness_check"]),
        ("n,t\nNaN,x\n", vec!["n data_type_check"]),
        ("n\n0.5\n", vec!["t missing_column_check"]),
        (
            "t,n\n0.5,x\n",
            vec!["n data_type_check", "t data_type_check", "t categorical_values_check"],
        ),
    ] {
        let mut found = violations(&file(text).analyze(&baseline));
        found.retain(|violation| !violation.ends_with("baseline_drift_check"));
        assert_eq!(found, expected, "{text}");
    }
}

#[test]
fn every_violation_is_read_back_with_value_and_threshold() {
    let baseline = data(0.5, 9).baseline();
    let mixed = ["0.9,1\n", ",1\n", "text,1\n", "1.9,1\n"].concat().repeat(250);
    let unknown = ["0.4,x\n", "0.8,y\n", "1.2,z\n"].concat().repeat(300);
    let windows = [
        file(format!("n,extra\n{mixed}")),
        file(format!("n,t\n{unknown}")),
        data(0.8, 4),
    ];
    let mut check_types = BTreeSet::new();
    for window in windows {
        let report = window.analyze(&baseline);
        let written = report.violations_file().content;
        let read = ViolationReport::parse("report", &written, &Limits::default()).unwrap();
        assert_eq!(read.violations.len(), report.violations.len());
        for violation in &read.violations {
            check_types.insert(violation.check_type.as_str().to_owned());
            assert!(violation.drift().is_some(), "{violation:?}");
        }
    }
    assert_eq!(check_types.len(), 6, "{check_types:?}");
}
