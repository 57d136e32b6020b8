//! Model Monitor's files: what is read, what survives, and what an error says.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use model_monitor::{
    Analysis, Constraints, Event, Limits, MonitorType, Problem, Quantity, ReportFolder, Statistics, Subject, Violation,
    ViolationReport,
};
use proptest::prelude::*;
use serde::Serialize;
use serde_json::{Value, json};

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/tests/fixtures/{name}.json", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn limits() -> Limits {
    Limits::default()
}

fn report(value: &Value) -> ViolationReport {
    ViolationReport::parse("report", value.to_string().as_bytes(), &limits()).unwrap()
}

fn violation(value: &Value) -> Violation {
    report(&json!({ "violations": [value] })).violations.remove(0)
}

/// What was read, written again, is what the file says: nothing is lost, nothing invented.
fn same<T: Serialize>(parsed: &T, file: &[u8]) {
    assert_eq!(
        serde_json::to_value(parsed).unwrap(),
        serde_json::from_slice::<Value>(file).unwrap()
    );
}

#[test]
fn statistics_and_constraints_are_written_as_they_were_read() {
    for name in ["statistics.data-quality", "statistics.model-quality"] {
        same(
            &Statistics::parse(name, &fixture(name), &limits()).unwrap(),
            &fixture(name),
        );
    }
    {
        let name = "constraints.data-quality";
        same(
            &Constraints::parse(name, &fixture(name), &limits()).unwrap(),
            &fixture(name),
        );
    }
    for name in ["analysis.bias", "analysis.explainability"] {
        same(
            &Analysis::parse(name, &fixture(name), &limits()).unwrap(),
            &fixture(name),
        );
    }
}

#[test]
fn statistics_of_data_quality_are_typed() {
    let statistics = Statistics::parse("statistics", &fixture("statistics.data-quality"), &limits()).unwrap();
    let features = statistics.features.unwrap();
    let tenure = features[0].numerical_statistics.as_ref().unwrap();
    assert_eq!((tenure.common.num_present, tenure.common.num_missing), (7, 1));
    let kll = &tenure.distribution.as_ref().unwrap().kll;
    assert_eq!(kll.buckets.len(), 2);
    assert_eq!(kll.sketch.as_ref().unwrap().data[0].len(), 7);
    let plan = features[1].string_statistics.as_ref().unwrap();
    assert_eq!(plan.distribution.as_ref().unwrap().categorical.buckets[1].count, 3);
}

#[test]
fn a_deviation_that_is_no_number_is_nan_and_the_matrix_is_no_metric() {
    let statistics = Statistics::parse("statistics", &fixture("statistics.model-quality"), &limits()).unwrap();
    let values: Vec<(&str, Option<f64>)> = statistics
        .metrics()
        .map(|(name, metric)| (name.as_str(), metric.value))
        .collect();
    assert_eq!(values[0], ("auc", Some(0.825)));
    assert_eq!(values[1], ("confusion_matrix", None));
    let recall = statistics.metrics().find(|(name, _)| *name == "recall").unwrap().1;
    assert!(recall.standard_deviation.unwrap().is_nan());
}

#[test]
fn overrides_are_found_in_every_place_where_files_have_them() {
    let parse = |name| {
        Constraints::parse(name, &fixture(name), &limits())
            .unwrap()
            .features
            .unwrap()
    };
    let current = parse("constraints.data-quality");
    assert!(current[0].overrides().is_none());
    assert_eq!(current[1].overrides().unwrap().domain_content_threshold, Some(0.9));
    let older = parse("constraints.data-quality-overrides");
    assert_eq!(older[0].overrides().unwrap().datatype_check_threshold, Some(0.5));
    assert!(older[1].overrides().unwrap().evaluate_constraints.is_some());
}

#[test]
fn thresholds_come_from_the_constraints_where_the_text_has_none() {
    let check = |feature: &str, check_type: &str| {
        violation(&json!({"feature_name": feature, "constraint_check_type": check_type,
            "description": "Value: 0.5 does not meet the constraint requirement! "}))
    };
    let constraints = Constraints::parse("constraints", &fixture("constraints.data-quality"), &limits()).unwrap();
    let threshold = |violation: Violation| violation.with_constraints(&constraints).threshold;
    assert_eq!(
        threshold(check("tenure", "completeness_check")),
        Some(Quantity::Number(0.875))
    );
    assert_eq!(
        threshold(check("plan", "categorical_values_check")),
        Some(Quantity::Number(0.9)),
        "the column's own"
    );
    assert_eq!(
        threshold(check("tenure", "categorical_values_check")),
        Some(Quantity::Number(1.0))
    );
    assert_eq!(
        threshold(check("tenure", "baseline_drift_check")),
        Some(Quantity::Number(0.1))
    );
    assert_eq!(threshold(check("tenure", "extra_column_check")), None);

    let constraints = Constraints::parse("constraints", &fixture("constraints.model-quality"), &limits()).unwrap();
    let rate = violation(
        &json!({"metric_name": "falsePositiveRate", "constraint_check_type": "GreaterThanThreshold",
        "description": "too many"}),
    );
    assert_eq!(
        rate.with_constraints(&constraints).threshold,
        Some(Quantity::Number(0.125)),
        "spelled in another case"
    );

    let baseline = Analysis::parse("analysis", &fixture("analysis.bias"), &limits()).unwrap();
    let bias = violation(
        &json!({"facet": "region", "facet_value": "north", "metric_name": "DPPL",
        "constraint_check_type": "bias_drift_check", "description": "Value -0.29 does not meet the constraint requirement"}),
    );
    assert_eq!(bias.observed, Some(Quantity::Number(-0.29)));
    assert_eq!(bias.with_analysis(&baseline).threshold, Some(Quantity::Number(-0.0625)));
}

#[test]
fn the_version_is_read_as_number_as_text_and_not_at_all() {
    let version = |value: Value| report(&value).version;
    assert_eq!(
        version(json!({"version": 0.0, "violations": []})).as_deref(),
        Some("0.0")
    );
    assert_eq!(version(json!({"version": 0, "violations": []})).as_deref(), Some("0"));
    assert_eq!(
        version(json!({"version": "1.0", "violations": []})).as_deref(),
        Some("1.0")
    );
    assert_eq!(version(json!({"violations": []})), None);
    assert_eq!(
        report(&json!({"violations": []})).monitor_type,
        None,
        "an empty report may be any monitor's"
    );
}

#[test]
fn what_is_not_documented_survives() {
    let read = report(&json!({
        "violations": [{"constraint_check_type": "toxicity_check", "feature_name": "answer", "sentence": "…", "score": 3}],
        "model": "chat"
    }));
    assert_eq!(read.monitor_type, Some(MonitorType::Custom));
    assert_eq!(read.extra["model"], "chat");
    let violation = &read.violations[0];
    assert_eq!(violation.check_type.as_str(), "toxicity_check");
    assert_eq!(
        (violation.extra["sentence"].as_str(), violation.extra["score"].as_i64()),
        (Some("…"), Some(3))
    );
    assert_eq!((&violation.description, &violation.observed), (&None, &None));
}

#[test]
fn a_mixture_and_a_builtin_check_without_a_description_are_a_custom_containers() {
    let drift = json!({"feature_name": "a", "constraint_check_type": "baseline_drift_check", "description": "d"});
    let bias = json!({"facet": "f", "facet_value": 0, "metric_name": "DPL", "constraint_check_type": "bias_drift_check", "description": "d"});
    let kind = |violations: Value| report(&json!({ "violations": violations })).monitor_type;
    assert_eq!(kind(json!([drift])), Some(MonitorType::DataQuality));
    assert_eq!(
        kind(json!([bias])),
        Some(MonitorType::ModelBias),
        "a facet's value may be a number"
    );
    assert_eq!(kind(json!([drift, bias])), Some(MonitorType::Custom));
    assert_eq!(
        kind(json!([{"feature_name": "a", "constraint_check_type": "baseline_drift_check"}])),
        Some(MonitorType::Custom)
    );
}

#[test]
fn a_byte_order_mark_is_tolerated_and_what_follows_the_report_is_not() {
    let mut bytes = b"\xEF\xBB\xBF".to_vec();
    bytes.extend_from_slice(b"{\"violations\": []}");
    assert!(ViolationReport::parse("report", &bytes, &limits()).is_ok());
    bytes.extend_from_slice(b"{}");
    let error = ViolationReport::parse("report", &bytes, &limits()).unwrap_err();
    assert!(matches!(error.problem, Problem::NotJson { .. }), "{error}");
}

#[test]
fn errors_name_the_object_the_path_what_was_expected_and_what_was_found() {
    let error = |text: &str| {
        ViolationReport::parse("s3://reports/r.json", text.as_bytes(), &limits())
            .unwrap_err()
            .to_string()
    };
    let told: Vec<String> = [
        "",
        " \n",
        "[]",
        "{}",
        "{\"violations\": null}",
        "{\"violations\": {}}",
        "{\"violations\": [7]}",
        "{\"violations\": [{\"feature_name\": {}, \"constraint_check_type\": \"x\"}]}",
        "{\"violations\": [{\"feature_name\": \"age\"}]}",
        "{\"violations\": [",
        "{'violations': []}",
    ]
    .map(error)
    .to_vec();
    insta::assert_snapshot!(told.join("\n"));
    let small = Limits {
        max_bytes: 8,
        max_entries: 1,
    };
    let error = |text: &str, limits: &Limits| {
        ViolationReport::parse("r", text.as_bytes(), limits)
            .unwrap_err()
            .to_string()
    };
    insta::assert_snapshot!(error("{\"violations\": []}", &small), @"`r` is 18 bytes: at most 8 are read");
    let few = Limits {
        max_entries: 1,
        ..limits()
    };
    let two = "{\"violations\": [{\"constraint_check_type\": \"x\"}, {\"constraint_check_type\": \"x\"}]}";
    insta::assert_snapshot!(error(two, &few), @"`r` at `violations`: 2 entries: at most 1 are read");
    let bytes = b"{\"violations\": [\"\xFF\"]}";
    insta::assert_snapshot!(ViolationReport::parse("r", bytes, &limits()).unwrap_err(), @"`r` is not UTF-8 text: the byte at offset 17 is not part of a character");
    let other = |bytes: &[u8]| Constraints::parse("c", bytes, &limits()).unwrap_err().to_string();
    insta::assert_snapshot!(other(b"{\"version\": 0.0}"), @"`c` at `.`: expected `features`, or one of `regression_constraints`, `binary_classification_constraints`, `multiclass_classification_constraints`");
}

#[test]
fn an_event_that_claims_to_be_ours_and_is_not_says_where() {
    let event =
        json!({"source": "aws.s3", "detail-type": "Object Created", "detail": {"bucket": {"name": "b"}, "object": {}}});
    let error = Event::parse("event", event.to_string().as_bytes()).unwrap_err();
    insta::assert_snapshot!(error, @"`event` at `detail.object`: missing field `key`");
}

/// How many of the other parsers can read the bytes.
fn readable(bytes: &[u8]) -> usize {
    let read = [
        Statistics::parse("x", bytes, &limits()).is_ok(),
        Constraints::parse("x", bytes, &limits()).is_ok(),
        Analysis::parse("x", bytes, &limits()).is_ok(),
        Event::parse("x", bytes).is_ok(),
    ];
    read.into_iter().filter(|ok| *ok).count()
}

fn some_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[ -~]{0,12}".prop_map(Value::from),
        Just(Value::from("NaN")),
    ];
    let keys = prop_oneof![
        Just("violations".to_owned()),
        Just("features".to_owned()),
        Just("feature_name".to_owned()),
        Just("constraint_check_type".to_owned()),
        Just("description".to_owned()),
        Just("version".to_owned()),
        Just("detail".to_owned()),
        Just("object".to_owned()),
        "[a-z_]{1,6}",
    ];
    leaf.prop_recursive(4, 40, 6, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            proptest::collection::btree_map(keys.clone(), inner, 0..5)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let limits = limits();
        prop_assert!(ViolationReport::parse("x", &bytes, &limits).is_err() || !bytes.is_empty());
        prop_assert!(readable(&bytes) <= 4);
    }

    #[test]
    fn no_json_panics_and_a_report_without_its_list_is_never_one_without_violations(value in some_json()) {
        let bytes = value.to_string().into_bytes();
        if let Ok(report) = ViolationReport::parse("x", &bytes, &limits()) {
            prop_assert_eq!(report.violations.len(), value["violations"].as_array().unwrap().len());
        }
        prop_assert!(readable(&bytes) <= 4);
    }

    #[test]
    fn any_description_is_kept_as_it_is(text in "\\PC{0,80}") {
        let read = violation(&json!({"feature_name": "a", "constraint_check_type": "data_type_check", "description": text}));
        prop_assert_eq!(read.description.as_deref(), Some(text.as_str()));
        prop_assert_eq!(read.subject, Subject::Feature("a".into()));
    }

    #[test]
    fn the_values_of_a_metric_are_recovered_to_the_last_digit(observed in any::<f64>(), threshold in any::<f64>()) {
        prop_assume!(observed.is_finite() && threshold.is_finite());
        let text = format!("Metric auc with {observed:e} +/- 0.01 was LessThanThreshold '{threshold:?}'");
        let read = violation(&json!({"metric_name": "auc", "constraint_check_type": "LessThanThreshold", "description": text}));
        prop_assert_eq!(read.observed, Some(Quantity::Number(observed)));
        prop_assert_eq!(read.threshold, Some(Quantity::Number(threshold)));
    }

    #[test]
    fn any_key_is_a_folder_or_none(key in "[a-z0-9/_.-]{0,60}") {
        if let Some(folder) = ReportFolder::from_key("b", &key, &[]) {
            prop_assert!(folder.violation_keys().contains(&key));
        }
    }
}
