//! All kinds of files and events, as fixtures with the layout of real ones, and how they are parsed.

#![expect(clippy::unwrap_used, reason = "test helpers")]

use model_monitor::{
    Analysis, Constraints, Document, Event, Limits, MonitorType, ParseError, Quantity, Statistics, Violation,
    ViolationReport,
};
use serde_json::Value;
use std::{
    fmt::Debug,
    fs,
    path::{Path, PathBuf},
};

fn fixtures(folder: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(folder);
    let mut paths: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    assert!(!paths.is_empty());
    let read = |path: PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        (name, fs::read(path).unwrap())
    };
    paths.into_iter().map(read).collect()
}

fn fixture(path: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(path)).unwrap()
}

fn snapshot_of_each<T: Debug>(folder: &str, parse: impl Fn(&str, &[u8]) -> Result<T, ParseError>) {
    for (name, bytes) in fixtures(folder) {
        let typed = parse(&name, &bytes).unwrap();
        insta::with_settings!({ snapshot_suffix => name, prepend_module_to_snapshot => false }, {
            insta::assert_debug_snapshot!(folder, typed);
        });
    }
}

#[test]
fn violation_reports() {
    snapshot_of_each("violations", |name, bytes| {
        ViolationReport::parse(name, bytes, &Limits::default())
    });
}

#[test]
fn statistics() {
    snapshot_of_each("statistics", |name, bytes| {
        Statistics::parse(name, bytes, &Limits::default())
    });
}

#[test]
fn constraints() {
    snapshot_of_each("constraints", |name, bytes| {
        Constraints::parse(name, bytes, &Limits::default())
    });
}

#[test]
fn analyses() {
    snapshot_of_each("analysis", |name, bytes| {
        Analysis::parse(name, bytes, &Limits::default())
    });
}

#[test]
fn events() {
    snapshot_of_each("events", Event::parse);
}

#[test]
fn invalid_files_give_errors() {
    let message = |(name, bytes): (String, Vec<u8>)| {
        let read = ViolationReport::parse(&name, &bytes, &Limits::default());
        read.unwrap_err().to_string()
    };
    let messages: Vec<String> = fixtures("broken").into_iter().map(message).collect();
    insta::assert_snapshot!(messages.join("\n"));
}

#[test]
fn error_messages_name_no_rust_types() {
    let limits = Limits::default();
    let messages = [
        Statistics::parse("statistics.json", b"{\"dataset\": {\"item_count\": 1.5}}", &limits).unwrap_err(),
        Statistics::parse(
            "statistics.json",
            b"{\"dataset\": {\"item_count\": -1}, \"features\": []}",
            &limits,
        )
        .unwrap_err(),
        Statistics::parse(
            "statistics.json",
            b"{\"version\": 0.0, \"dataset\": {\"item_count\": 3}}",
            &limits,
        )
        .unwrap_err(),
        Statistics::parse("statistics.json", b"{\"features\": [{\"name\": \"a\"}]}", &limits).unwrap_err(),
        Statistics::parse(
            "statistics.json",
            b"{\"regression_metrics\": {\"mae\": {\"value\": \"small\"}}}",
            &limits,
        )
        .unwrap_err(),
        Constraints::parse(
            "constraints.json",
            b"{\"monitoring_config\": {\"emit_metrics\": \"On\"}}",
            &limits,
        )
        .unwrap_err(),
        Constraints::parse("constraints.json", b"{\"features\": [{\"name\": \"a\"}, 7]}", &limits).unwrap_err(),
        Constraints::parse(
            "constraints.json",
            b"{\"features\": [{\"name\": \"a\", \"inferred_type\": \"String\", \"num_constraints\": \
              {\"is_non_negative\": \"yes\"}}]}",
            &limits,
        )
        .unwrap_err(),
        Analysis::parse(
            "analysis.json",
            b"{\"explanations\": {\"kernel_shap\": {\"label0\": {}}}}",
            &limits,
        )
        .unwrap_err(),
        Analysis::parse("analysis.json", b"{}", &limits).unwrap_err(),
        Event::parse("event", b"{}").unwrap_err(),
        Event::parse(
            "event",
            b"{\"source\": \"aws.s3\", \"detail-type\": \"Object Created\"}",
        )
        .unwrap_err(),
        Event::parse(
            "event",
            b"{\"source\": \"aws.s3\", \"detail-type\": \"Object Created\", \"detail\": {\"bucket\": {\"name\": 5}}}",
        )
        .unwrap_err(),
        Document::parse("something.json", b"{\"a\": 1}", &limits).unwrap_err(),
        Document::parse("reports/constraint_violations.json", b"{\"features\": []}", &limits).unwrap_err(),
    ];
    insta::assert_snapshot!(messages.map(|error| error.to_string()).join("\n"));
}

#[test]
fn document_format_is_detected_by_content() {
    for (folder, kind) in [
        ("violations", "constraint_violations"),
        ("statistics", "statistics"),
        ("constraints", "constraints"),
        ("analysis", "analysis"),
        ("events", "event"),
    ] {
        for (name, bytes) in fixtures(folder) {
            let document = Document::parse("file", &bytes, &Limits::default()).unwrap();
            assert_eq!(document.kind(), kind, "{name}");
        }
    }
}

/// Files that were written parse to the same value. Compared as strings, because NaN equals nothing.
fn written_and_read_again<T: Debug + serde::Serialize>(
    folder: &str,
    parse: impl Fn(&str, &[u8], &Limits) -> Result<T, ParseError>,
) {
    for (name, bytes) in fixtures(folder) {
        let read = parse(&name, &bytes, &Limits::default()).unwrap();
        let written = serde_json::to_vec(&read).unwrap();
        let again = parse(&name, &written, &Limits::default()).unwrap();
        assert_eq!(format!("{read:?}"), format!("{again:?}"), "{name}");
    }
}

#[test]
fn files_round_trip_in_same_layout() {
    written_and_read_again("statistics", Statistics::parse);
    written_and_read_again("constraints", Constraints::parse);
    written_and_read_again("analysis", Analysis::parse);
    // All fields are equal if a file has only one notation.
    for path in [
        "constraints/data-quality-2019.json",
        "constraints/model-quality-binary.json",
    ] {
        let bytes = fixture(path);
        let read = Constraints::parse(path, &bytes, &Limits::default()).unwrap();
        let original: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(serde_json::to_value(&read).unwrap(), original, "{path}");
    }
}

#[test]
fn constraints_fill_missing_thresholds() {
    let constraints = |path: &str| Constraints::parse(path, &fixture(path), &Limits::default()).unwrap();
    let violation = |feature: &str, check: &str, description: &str| {
        let entry =
            serde_json::json!({"feature_name": feature, "constraint_check_type": check, "description": description});
        let report = serde_json::json!({"violations": [entry]}).to_string();
        let mut report = ViolationReport::parse("report", report.as_bytes(), &Limits::default()).unwrap();
        report.violations.remove(0)
    };
    let threshold = |violation: Violation, constraints: &Constraints| {
        violation
            .with_constraints(constraints)
            .threshold
            .and_then(|threshold| threshold.as_number())
    };
    let current = constraints("constraints/data-quality.json");
    let old = constraints("constraints/data-quality-2019.json");
    let value = "Value: 0.25 does not meet the constraint requirement! ";
    for (feature, check, constraints, expected) in [
        ("loyalty_tier", "completeness_check", &current, Some(0.9375)),
        ("loyalty_tier", "categorical_values_check", &current, Some(0.875)),
        ("delivery_region", "categorical_values_check", &current, Some(1.0)),
        ("tariff zone", "data_type_check", &current, Some(0.75)),
        ("delivery_region", "data_type_check", &current, Some(1.0)),
        ("tariff zone", "baseline_drift_check", &current, Some(0.125)),
        ("delivery_region", "baseline_drift_check", &current, Some(0.25)),
        ("not there", "completeness_check", &current, None),
        ("city", "categorical_values_check", &old, Some(0.625)),
        ("street", "categorical_values_check", &old, Some(0.5)),
        ("street", "extra_column_check", &old, None),
    ] {
        assert_eq!(
            threshold(violation(feature, check, value), constraints),
            expected,
            "{feature} {check}"
        );
    }
    let description = "Baseline drift distance: 0.5 exceeds threshold: 0.375";
    let description = violation("tariff zone", "baseline_drift_check", description);
    assert_eq!(
        threshold(description, &current),
        Some(0.375),
        "the threshold of the description is kept"
    );
    // A rate that reports write in camel case.
    let entry =
        r#"{"violations": [{"metric_name": "falsePositiveRate", "constraint_check_type": "GreaterThanThreshold"}]}"#;
    let mut report = ViolationReport::parse("report", entry.as_bytes(), &Limits::default()).unwrap();
    let quality = constraints("constraints/model-quality-binary.json");
    assert_eq!(threshold(report.violations.remove(0), &quality), Some(0.0));
}

#[test]
fn analysis_fills_missing_bias_thresholds() {
    let bytes = fixture("violations/model-bias.json");
    let report = ViolationReport::parse("report", &bytes, &Limits::default()).unwrap();
    let baseline = Analysis::parse("analysis.json", &fixture("analysis/bias.json"), &Limits::default()).unwrap();
    let thresholds: Vec<String> = report
        .violations
        .into_iter()
        .map(|violation| violation.with_analysis(&baseline).threshold.unwrap().to_string())
        .collect();
    assert_eq!(thresholds, ["0.1875", "3.25", "0"]);
}

#[test]
fn drift_is_distance_beyond_threshold() {
    let drift = |path: &str| -> Vec<Option<f64>> {
        let report = ViolationReport::parse(path, &fixture(path), &Limits::default()).unwrap();
        report.violations.iter().map(Violation::drift).collect()
    };
    assert_eq!(
        drift("violations/data-quality.json"),
        [
            Some(2.65625),
            Some(0.289_062_5),
            Some(0.382_812_5),
            None,
            None,
            Some(3.0)
        ]
    );
    assert_eq!(
        drift("violations/model-quality.json"),
        [Some(0.46875), Some(0.46875), Some(4.25), Some(0.25)]
    );
    assert_eq!(
        drift("violations/model-bias.json"),
        [Some(0.25), Some(f64::INFINITY), None]
    );
    assert_eq!(drift("violations/model-explainability.json").len(), 1);
    assert_eq!(drift("violations/custom-container.json"), [None, None, None]);
}

#[test]
fn monitor_type_requires_all_entries() {
    let of = |path: &str| {
        ViolationReport::parse(path, &fixture(path), &Limits::default())
            .unwrap()
            .monitor_type
    };
    assert_eq!(of("violations/data-quality.json"), Some(MonitorType::DataQuality));
    assert_eq!(of("violations/model-quality.json"), Some(MonitorType::ModelQuality));
    assert_eq!(of("violations/model-bias.json"), Some(MonitorType::ModelBias));
    assert_eq!(
        of("violations/model-explainability.json"),
        Some(MonitorType::ModelExplainability)
    );
    assert_eq!(of("violations/custom-container.json"), Some(MonitorType::Custom));
    assert_eq!(of("violations/mixed.json"), Some(MonitorType::Custom));
    assert_eq!(of("violations/no-entries.json"), None, "the monitor type is unknown");
}

#[test]
fn truncated_report_is_rejected() {
    for (name, bytes) in fixtures("violations") {
        let end = bytes.iter().rposition(|byte| *byte == b'}').unwrap();
        for cut in 0..end {
            let read = ViolationReport::parse(&name, &bytes[..cut], &Limits::default());
            assert!(read.is_err(), "{name} cut at {cut}: {read:?}");
        }
    }
}

#[test]
fn sizes_are_limited() {
    let entry = r#"{"constraint_check_type":"x"}"#;
    let report = |entries: usize| format!("{{\"violations\":[{}]}}", vec![entry; entries].join(","));
    let limits = Limits {
        max_bytes: 1_000,
        max_entries: 3,
        max_values: 20,
    };
    let parse = |text: String, limits: &Limits| {
        ViolationReport::parse("report", text.as_bytes(), limits).map_err(|error| error.to_string())
    };
    assert_eq!(parse(report(3), &limits).unwrap().violations.len(), 3);
    let messages = [
        parse(report(4), &limits).unwrap_err(),
        parse(report(20), &limits).unwrap_err(),
        parse(report(40), &limits).unwrap_err(),
        parse(format!("{{\"note\":{}", "[".repeat(150)), &Limits::default()).unwrap_err(),
        Event::parse("event", &vec![b' '; 3 << 20]).unwrap_err().to_string(),
    ];
    insta::assert_snapshot!(messages.join("\n"));
    let most = parse(report(50_000), &Limits::default()).unwrap();
    assert_eq!(most.violations.len(), 50_000);
}

#[test]
fn quantity_is_equal_as_number_and_string() {
    for (json, shown) in [
        ("0.25", "0.25"),
        ("\"0.25\"", "0.25"),
        ("3", "3"),
        ("\"5.5E-4\"", "0.00055"),
        ("\"NaN\"", "NaN"),
        ("\"-Infinity\"", "-Infinity"),
        ("\"nan\"", "nan"),
        ("\"many\"", "many"),
        ("\"\"", ""),
    ] {
        let quantity: Quantity = serde_json::from_str(json).unwrap();
        assert_eq!(quantity.to_string(), shown, "{json}");
        let again: Quantity = serde_json::from_str(&serde_json::to_string(&quantity).unwrap()).unwrap();
        assert_eq!(format!("{quantity:?}"), format!("{again:?}"), "{json}");
    }
}
