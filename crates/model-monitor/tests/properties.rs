//! Properties for any input: nothing panics, and values in a report's wording are parsed exactly.

#![expect(clippy::unwrap_used, reason = "test helpers")]

use model_monitor::{
    Analysis, Constraints, Document, Event, ExitMessage, Limits, Quantity, ReportFolder, S3Uri, Statistics,
    ViolationReport,
};
use proptest::prelude::*;
use serde_json::{Value, json};

fn read_as_everything(bytes: &[u8]) {
    let limits = Limits::default();
    let report = ViolationReport::parse("file", bytes, &limits);
    let statistics = Statistics::parse("file", bytes, &limits);
    let constraints = Constraints::parse("file", bytes, &limits);
    let analysis = Analysis::parse("file", bytes, &limits);
    let event = Event::parse("file", bytes);
    // Errors can be displayed, and parsed values can be used.
    for error in [
        report.as_ref().err(),
        statistics.as_ref().err(),
        constraints.as_ref().err(),
        analysis.as_ref().err(),
        event.as_ref().err(),
    ]
    .into_iter()
    .flatten()
    {
        let message = error.to_string();
        assert!(message.contains("`file`"));
        assert!(!message.contains("struct "), "{message}");
    }
    if let Ok(report) = report {
        for violation in report.violations {
            let violation = match (&constraints, &analysis) {
                (Ok(constraints), _) => violation.with_constraints(constraints),
                (_, Ok(analysis)) => violation.with_analysis(analysis),
                _ => violation,
            };
            assert!(violation.drift().is_none_or(|drift| !drift.is_nan()));
            assert!(violation.subject.to_string().len() < bytes.len() + 8);
        }
    }
    drop(Document::parse("file", bytes, &limits));
}

/// Names in the formats, so that shapes are close to real ones.
fn names() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        "version",
        "violations",
        "feature_name",
        "constraint_check_type",
        "description",
        "metric_name",
        "facet",
        "facet_value",
        "label",
        "features",
        "name",
        "inferred_type",
        "completeness",
        "monitoring_config",
        "distribution_constraints",
        "regression_metrics",
        "regression_constraints",
        "threshold",
        "comparison_operator",
        "pre_training_bias_metrics",
        "facets",
        "explanations",
        "kernel_shap",
        "global_shap_values",
        "source",
        "detail-type",
        "detail",
        "bucket",
        "object",
        "key",
        "ProcessingJobName",
        "ProcessingJobStatus",
        "time",
    ]);
    prop_oneof![9 => known.prop_map(str::to_owned), 1 => ".{0,8}"]
}

fn texts() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        "data_type_check",
        "bias_drift_check",
        "LessThanThreshold",
        "Enabled",
        "NaN",
        "-Infinity",
        "String",
        "aws.s3",
        "aws.sagemaker",
        "Object Created",
        "SageMaker Processing Job State Change",
        "2026-03-09T05:00:00Z",
    ]);
    prop_oneof![known.prop_map(str::to_owned), descriptions(), ".{0,20}"]
}

/// Words of descriptions, in any order.
fn descriptions() -> impl Strategy<Value = String> {
    let words = prop::sample::select(vec![
        "Metric",
        "value",
        "Value:",
        "with",
        "+/-",
        "was",
        "LessThanThreshold",
        "'",
        "exceeds",
        "threshold:",
        "distance:",
        "requirement",
        "Expected match:",
        "Observed:",
        "Only",
        "%",
        "1.5",
        "NaN",
        "-Infinity",
        "9e99",
        "current dataset:",
        "constraints:",
        ",",
        "ä",
    ]);
    prop::collection::vec(words, 0..12).prop_map(|words| words.join(" "))
}

fn json_values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(|number| json!(number)),
        any::<f64>().prop_map(|number| json!(number)),
        texts().prop_map(Value::String),
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::Array),
            prop::collection::btree_map(names(), inner, 0..6)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// Observed value and threshold of a report with one violation and this description.
fn values(description: &str) -> (Option<Quantity>, Option<Quantity>) {
    let report = json!({"violations": [{"constraint_check_type": "x", "description": description}]}).to_string();
    let mut report = ViolationReport::parse("report", report.as_bytes(), &Limits::default()).unwrap();
    let violation = report.violations.remove(0);
    assert_eq!(
        violation.description.as_deref(),
        Some(description),
        "the description is unchanged"
    );
    (violation.observed, violation.threshold)
}

fn finite() -> impl Strategy<Value = f64> {
    prop_oneof![
        any::<f64>().prop_filter("finite", |number| number.is_finite()),
        -1e3..1e3
    ]
}

proptest! {
    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        read_as_everything(&bytes);
    }

    #[test]
    fn any_json(value in json_values()) {
        read_as_everything(value.to_string().as_bytes());
    }

    #[test]
    fn any_fields(fields in prop::collection::btree_map(names(), json_values(), 0..8)) {
        let value = Value::Object(fields.into_iter().collect());
        read_as_everything(value.to_string().as_bytes());
    }

    #[test]
    fn any_words(text in prop_oneof![descriptions(), ".{0,60}"]) {
        let _: (Option<Quantity>, Option<Quantity>) = values(&text);
        let _: ExitMessage = ExitMessage::parse(&text);
        let _: Option<S3Uri> = S3Uri::parse(&text);
        let _: Option<ReportFolder> = ReportFolder::from_uri(&text, &[]);
    }

    #[test]
    fn numbers_in_descriptions_round_trip(observed in finite(), threshold in finite(), deviation in finite()) {
        let number = |value| Some(Quantity::Number(value));
        let both = (number(observed), number(threshold));
        for text in [
            format!("Metric f1 with {observed:e} +/- {deviation:e} was LessThanThreshold '{threshold:e}'"),
            format!("Metric f1 with {observed} was GreaterThanThreshold {threshold}"),
            format!("Metric value {observed} doesn't meet the baseline constraint requirement {threshold:E}"),
            format!("Feature attribution drift {observed} exceeds threshold {threshold}"),
            format!("Numerical distance: {observed:e} exceeds numerical threshold: {threshold}"),
            format!("Data type match requirement is not met. Expected data type: Integral, Expected match: \
                     {threshold:e}%.  Observed: Only {observed}% of data is Integral."),
            format!("Number of columns in current dataset: {observed}, Number of columns in baseline constraints: \
                     {threshold}"),
        ] {
            prop_assert_eq!(values(&text), both.clone(), "{}", text);
        }
        for text in [
            format!("Value: {observed:e} does not meet the constraint requirement! "),
            format!("Value {observed} does not meet the constraint requirement"),
        ] {
            prop_assert_eq!(values(&text), (number(observed), None), "{}", text);
        }
    }

    #[test]
    fn number_round_trips(value in any::<f64>()) {
        let written = serde_json::to_string(&Quantity::Number(value)).unwrap();
        let read: Quantity = serde_json::from_str(&written).unwrap();
        match read {
            Quantity::Number(read) => prop_assert!(read.to_bits() == value.to_bits() || read.is_nan() && value.is_nan()),
            Quantity::Text(text) => prop_assert!(false, "{text}"),
        }
    }

    #[test]
    fn folder_round_trips_through_uris(
        prefix in prop::collection::vec("[a-z0-9]{1,8}", 0..3),
        endpoint in prop::option::of("[A-Za-z0-9](-?[A-Za-z0-9]){0,20}"),
        schedule in "[A-Za-z0-9](-?[A-Za-z0-9]){0,20}",
        (year, month, day, hour) in (2019..2100_i16, 1..=12_i8, 1..=28_i8, 0..24_i8),
    ) {
        let mut parts = prefix.clone();
        parts.extend(endpoint.clone());
        parts.push(schedule.clone());
        let key = format!("{}/{year}/{month:02}/{day:02}/{hour:02}", parts.join("/"));
        let prefixes = [prefix.join("/")];
        let folder = ReportFolder::from_uri(&format!("s3://bucket/{key}/"), &prefixes).unwrap();
        prop_assert_eq!(folder.schedule.as_str(), schedule);
        prop_assert_eq!(folder.endpoint.as_ref().map(ToString::to_string), endpoint);
        let time = format!("{year}-{month:02}-{day:02}T{hour:02}:00:00Z");
        prop_assert_eq!(folder.scheduled_time.to_string(), time);
        for uri in folder.violation_uris() {
            let of_report = ReportFolder::from_key("bucket", &uri.key, &prefixes);
            prop_assert_eq!(of_report.as_ref(), Some(&folder));
        }
    }
}
