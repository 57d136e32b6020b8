//! Model quality from the outside: the guide's examples, the monitor's files, segments, estimates, errors.
#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test fails by panicking")]

use analysis::{
    compute::model_quality::answer,
    model_quality::{
        Calibration, Classes, CurvePoints, EstimatedPerformance, Evaluation, Options, Rows, SegmentOptions, TwoClasses,
        by_segment, check_constraints, evaluate, metric_deviations, suggest_constraints, suggest_with_tolerance,
    },
};
use model_monitor::{Constraints, Limits, Statistics, ViolationReport};
use proptest::prelude::*;
use serde_json::{Value, json};

/// Classes 0 and 1, with class numbers 0 and 1.
fn zero_and_one() -> TwoClasses {
    let mut classes = Classes::default();
    classes.intern("0");
    classes.intern("1");
    classes.binary(None).unwrap()
}

/// Rows of a confusion matrix: labels and predictions.
fn rows_of(matrix: [[usize; 2]; 2]) -> (Vec<u32>, Vec<u32>) {
    let cell = |truth: u8, answer: u8| {
        let rows = matrix[usize::from(truth)][usize::from(answer)];
        std::iter::repeat_n((u32::from(truth), u32::from(answer)), rows)
    };
    let cells = [(0, 0), (0, 1), (1, 0), (1, 1)];
    cells
        .into_iter()
        .flat_map(|(truth, answer)| cell(truth, answer))
        .unzip()
}

fn binary(labels: &[u32], predictions: &[u32], probabilities: Option<&[f64]>) -> Evaluation {
    let rows = Rows::Binary {
        labels,
        predictions,
        probabilities,
        classes: &zero_and_one(),
    };
    evaluate(&rows, Options::default()).unwrap()
}

fn value(evaluation: &Evaluation, metric: &str) -> f64 {
    evaluation.metrics[metric].value
}

/// `metrics` of a result, or the error message.
fn metrics(question: &Value) -> Result<Value, String> {
    answer(question.to_string().as_bytes()).map(|answer| answer["metrics"].clone())
}

/// Generator for test data, uniform in 0..1 (Park and Miller).
fn random(state: &mut u32) -> f64 {
    *state = u32::try_from(u64::from(*state) * 48_271 % 2_147_483_647).unwrap();
    f64::from(*state) / 2_147_483_647.0
}

#[test]
fn binary_metrics_match_guide_example() {
    let ours = metrics(&json!({
        "problem_type": "BinaryClassification", "label": [0, 0, 0, 1], "prediction": [0, 1, 1, 1],
    }))
    .unwrap();
    let guide = json!({
        "confusion_matrix": {"0": {"0": 1, "1": 2}, "1": {"0": 0, "1": 1}},
        "recall": 1.0,
        "precision": 0.333_333_333_333_333_3,
        "accuracy": 0.5,
        "true_positive_rate": 1.0,
        "true_negative_rate": 0.333_333_333_333_333_37,
        "false_positive_rate": 0.666_666_666_666_666_6,
        "false_negative_rate": 0.0,
        "f0_5": 0.384_615_384_615_384_6,
        "f1": 0.5,
        "f2": 0.714_285_714_285_714_3,
        // The majority class; the guide uses the last label.
        "recall_best_constant_classifier": 0.0,
        "precision_best_constant_classifier": 0.0,
        "accuracy_best_constant_classifier": 0.75,
        "f0_5_best_constant_classifier": 0.0,
        "f1_best_constant_classifier": 0.0,
        "f2_best_constant_classifier": 0.0,
    });
    assert_eq!(ours, guide);
}

#[test]
fn curves_match_guide_example() {
    let ours = metrics(&json!({
        "problem_type": "BinaryClassification", "label": [1, 1, 1, 1], "prediction": [1, 1, 1, 1],
        "probability": [0.6, 0.9, 0.7, 0.8],
    }))
    .unwrap();
    let roc = json!({
        "false_positive_rates": [0.0, 0.0, 0.0, 0.0, 0.0, 1.0],
        "true_positive_rates": [0.0, 0.25, 0.5, 0.75, 1.0, 1.0],
    });
    let precision_recall = json!({"precisions": [1.0, 1.0, 1.0, 1.0, 1.0], "recalls": [0.0, 0.25, 0.5, 0.75, 1.0]});
    assert_eq!(ours["receiver_operating_characteristic_curve"], roc);
    assert_eq!(ours["precision_recall_curve"], precision_recall);
    assert_eq!(ours["au_prc"], 1.0);
    assert_eq!(ours["auc"], "NaN");
}

#[test]
fn multiclass_and_regression_match_guide_examples() {
    let (labels, predictions) = rows_of([[1180, 510], [268, 138]]);
    let mut classes = Classes::default();
    classes.intern("0");
    classes.intern("1");
    let rows = Rows::Multiclass {
        labels: &labels,
        predictions: &predictions,
        classes: &classes,
    };
    let ours = evaluate(&rows, Options::default()).unwrap();
    let guide = [
        ("accuracy", 0.628_816_793_893_129_7),
        ("weighted_recall", 0.628_816_793_893_129_7),
        ("weighted_precision", 0.698_317_226_962_950_5),
        ("weighted_f0_5", 0.680_394_731_717_877_1),
        ("weighted_f1", 0.657_116_234_666_490_4),
        ("weighted_f2", 0.638_402_435_439_460_1),
        // The majority class; the guide uses the last label.
        ("accuracy_best_constant_classifier", 1690.0 / 2096.0),
    ];
    for (metric, printed) in guide {
        assert!((value(&ours, metric) - printed).abs() < 1e-15, "{metric}");
    }
    // The guide prints 0.0038. Five samples give only the order of magnitude.
    let deviation = ours.metrics["accuracy"].standard_deviation;
    assert!((0.001..0.012).contains(&deviation), "{deviation}");

    // The regression example uses the same rows.
    let numbers = |ids: &[u32]| ids.iter().map(|id| f64::from(*id)).collect::<Vec<_>>();
    let rows = Rows::Regression {
        labels: &numbers(&labels),
        predictions: &numbers(&predictions),
    };
    let ours = evaluate(&rows, Options::default()).unwrap();
    let guide = [
        ("mae", 0.371_183_206_106_870_2),
        ("mse", 0.371_183_206_106_870_2),
        ("rmse", 0.609_248_066_149_471),
        ("r2", -1.376_611_187_221_266_5),
    ];
    for (metric, printed) in guide {
        assert!((value(&ours, metric) - printed).abs() < 1e-13, "{metric}");
    }
}

#[test]
fn constant_classifier_predicts_majority() {
    let (labels, predictions) = rows_of([[173, 0], [12, 16]]);
    let ours = binary(&labels, &predictions, None);
    assert!((value(&ours, "accuracy_best_constant_classifier") - 0.860_696_517_412_935_3).abs() < 1e-15);
    assert!(value(&ours, "recall_best_constant_classifier").abs() <= 0.0);
    // Metrics of the model in the same notebook; they are the thresholds of the violations below.
    assert!((value(&ours, "recall") - 0.571_428_571_428_571_4).abs() < 1e-15);
    assert!((value(&ours, "f1") - 0.727_272_727_272_727_3).abs() < 1e-15);
    assert!((value(&ours, "accuracy") - 0.940_298_507_462_686_6).abs() < 1e-15);
}

#[test]
fn statistics_and_constraints_round_trip() {
    let (labels, predictions) = rows_of([[173, 0], [12, 16]]);
    let scores: Vec<f64> = (0_u32..)
        .take(labels.len())
        .map(|row| f64::from(row * 7 % 101) / 101.0)
        .collect();
    let baseline = binary(&labels, &predictions, Some(&scores));
    let statistics = serde_json::to_string(&baseline.to_statistics()).unwrap();
    let read = Statistics::parse("statistics.json", statistics.as_bytes(), &Limits::default()).unwrap();
    assert_eq!(read.dataset.unwrap().item_count, 201);
    let metrics = read.binary_classification_metrics.unwrap();
    assert_eq!(metrics["precision"].value, Some(1.0));
    assert_eq!(metrics["confusion_matrix"].extra["1"], json!({"0": 12, "1": 16}));
    assert_eq!(
        metrics["precision_recall_curve"].extra["recalls"]
            .as_array()
            .unwrap()
            .len(),
        102
    );

    let suggestion = suggest_constraints(&baseline);
    assert!(suggestion.left_out.is_empty());
    let constraints = serde_json::to_string(&suggestion.constraints).unwrap();
    let read = Constraints::parse("constraints.json", constraints.as_bytes(), &Limits::default()).unwrap();
    assert_eq!(read, suggestion.constraints);
    assert_eq!(check_constraints(&baseline, &read, None).unwrap().violations, []);
    let written: Value = serde_json::from_str(&constraints).unwrap();
    let table = &written["binary_classification_constraints"];
    let names: Vec<_> = table.as_object().unwrap().keys().collect();
    let service = [
        "accuracy",
        "auc",
        "f0_5",
        "f1",
        "f2",
        "false_negative_rate",
        "false_positive_rate",
        "precision",
        "recall",
        "true_negative_rate",
        "true_positive_rate",
    ];
    assert_eq!(names, service);
    assert_eq!(
        table["false_positive_rate"],
        json!({"threshold": 0.0, "comparison_operator": "GreaterThanThreshold", "additional_properties": null})
    );
}

#[test]
fn deviations_below_two_hundred_rows_are_nan() {
    for (rows, there_is_one) in [(199, false), (200, true)] {
        let (labels, predictions) = rows_of([[rows - 30, 10], [10, 10]]);
        let statistics = binary(&labels, &predictions, None).to_statistics();
        let written = serde_json::to_value(&statistics).unwrap();
        let deviation = &written["binary_classification_metrics"]["f1"]["standard_deviation"];
        assert_eq!(deviation.is_number(), there_is_one, "{deviation}");
        assert_eq!(deviation == "NaN", !there_is_one, "{deviation}");
    }
}

#[test]
fn violation_descriptions_match_service() {
    let (labels, predictions) = rows_of([[173, 0], [12, 16]]);
    let baseline = suggest_constraints(&binary(&labels, &predictions, None));
    assert_eq!(baseline.left_out, ["auc"]);
    let (labels, predictions) = rows_of([[449, 69], [1218, 156]]);
    let live = binary(&labels, &predictions, None);
    let violations = check_constraints(&live, &baseline.constraints, None)
        .unwrap()
        .violations;
    let written = serde_json::to_value(json!({ "violations": violations })).unwrap();
    let report = ViolationReport::parse(
        "constraint_violations.json",
        written.to_string().as_bytes(),
        &Limits::default(),
    )
    .unwrap();
    let found: Vec<_> = report
        .violations
        .iter()
        .map(|violation| {
            format!(
                "{} {} {:?}",
                violation.subject,
                violation.check_type,
                violation.threshold.is_some()
            )
        })
        .collect();
    let expected = [
        "accuracy LessThanThreshold true",
        // Model Monitor omitted this one.
        "f0_5 LessThanThreshold true",
        "f1 LessThanThreshold true",
        "f2 LessThanThreshold true",
        "falseNegativeRate GreaterThanThreshold true",
        "falsePositiveRate GreaterThanThreshold true",
        "precision LessThanThreshold true",
        "recall LessThanThreshold true",
        "trueNegativeRate LessThanThreshold true",
        "truePositiveRate LessThanThreshold true",
    ];
    assert_eq!(found, expected);
    let precision = violations
        .iter()
        .find(|violation| violation.metric_name == "precision")
        .unwrap();
    let deviation = analysis::java::java_double(live.metrics["precision"].standard_deviation);
    assert_eq!(
        precision.description,
        format!("Metric precision with 0.6933333333333334 +/- {deviation} was LessThanThreshold '1.0'")
    );
}

#[test]
fn metric_without_number_is_not_judged() {
    let constraints = |table: Value| -> Constraints {
        serde_json::from_value(json!({"binary_classification_constraints": table})).unwrap()
    };
    let live = binary(&[0, 0, 1], &[0, 1, 1], None);
    let at_least = |threshold: Value| json!({"threshold": threshold, "comparison_operator": "LessThanThreshold"});
    let checked = constraints(json!({"auc": at_least(json!(0.5)), "recall": at_least(json!("NaN"))}));
    let check = check_constraints(&live, &checked, None).unwrap();
    let descriptions: Vec<_> = check
        .violations
        .into_iter()
        .map(|violation| violation.description)
        .collect();
    assert_eq!(
        descriptions,
        ["Metric recall with 1.0 +/- NaN was LessThanThreshold 'NaN'"]
    );
    let skipped: Vec<_> = check
        .judgments
        .not_judged
        .iter()
        .map(|skipped| skipped.subject.as_str())
        .collect();
    assert_eq!((check.judgments.judged, skipped), (1, vec!["auc"]));
    let misspelled = constraints(json!({"accuracyy": at_least(json!(0.5))}));
    assert_eq!(
        check_constraints(&live, &misspelled, None).unwrap_err().to_string(),
        "constraints.json: unknown metric `accuracyy`: did you mean `accuracy`?"
    );
    let of_another_kind = Constraints::default();
    assert_eq!(
        check_constraints(&live, &of_another_kind, None)
            .unwrap_err()
            .to_string(),
        "the constraints have no `binary_classification_constraints`: create a baseline with this problem type"
    );
}

#[test]
fn rates_without_rows_are_not_judged() {
    let constraints = suggest_constraints(&binary(&[0, 0, 1, 1], &[0, 1, 1, 0], Some(&[0.1, 0.6, 0.9, 0.4])));
    let judged = |labels: &[u32], predictions: &[u32], scores: &[f64]| {
        let live = binary(labels, predictions, Some(scores));
        let check = check_constraints(&live, &constraints.constraints, None).unwrap();
        let skipped = check.judgments.not_judged.into_iter();
        let skipped: Vec<String> = skipped
            .map(|skipped| format!("{}: {}", skipped.subject, skipped.reason))
            .collect();
        assert_eq!(check.judgments.judged, 11 - skipped.len() as u64);
        assert!(
            check
                .violations
                .iter()
                .all(|violation| !violation.description.contains("NaN +/-"))
        );
        skipped
    };
    assert_eq!(judged(&[0, 1], &[0, 1], &[0.1, 0.9]), [""; 0]);
    let no_positives = judged(&[0, 0], &[0, 0], &[0.1, 0.2]);
    assert_eq!(no_positives.len(), 8, "{no_positives:?}");
    assert!(no_positives.contains(&"precision: no prediction is positive".to_owned()));
    assert!(no_positives.contains(&"recall: no label is positive".to_owned()));
    let no_negatives = judged(&[1, 1], &[0, 1], &[0.1, 0.9]);
    assert_eq!(
        no_negatives,
        [
            "auc: no label is negative",
            "false_positive_rate: no label is negative",
            "true_negative_rate: no label is negative"
        ]
    );
    assert_eq!(
        judged(&[0, 1], &[0, 0], &[0.1, 0.2]),
        ["precision: no prediction is positive"]
    );
}

#[test]
fn tolerance_fits_the_number_of_rows() {
    // 90% of 10,000 rows are right.
    let column = |of: fn(usize) -> bool| (0..10_000).map(|row| u32::from(of(row))).collect::<Vec<_>>();
    let labels = column(|row| row % 2 == 0);
    let baseline = |predictions: &[u32]| {
        let classes = zero_and_one();
        let rows = Rows::Binary {
            labels: &labels,
            predictions,
            probabilities: None,
            classes: &classes,
        };
        let evaluation = evaluate(&rows, Options::default()).unwrap();
        suggest_with_tolerance(&evaluation, &metric_deviations(&rows).unwrap(), 1_000)
    };
    let (suggestion, tolerance) = baseline(&column(|row| (row % 2 == 0) != (row % 10 == 3)));
    let violations = |rows: usize, wrong: usize| {
        let labels: Vec<u32> = (0..rows).map(|row| u32::from(row % 2 == 0)).collect();
        let answer =
            |row: usize| u32::from((row.is_multiple_of(2)) != (row * wrong / rows != (row + 1) * wrong / rows));
        let live = binary(&labels, &(0..rows).map(answer).collect::<Vec<_>>(), None);
        let check = check_constraints(&live, &suggestion.constraints, Some(&tolerance)).unwrap();
        let names = check.violations.into_iter().map(|violation| violation.metric_name);
        names.filter(|name| name == "accuracy").count()
    };
    // Of 100 rows, 18 mistakes can be chance; of 10,000 rows, 12% are not.
    assert_eq!([violations(100, 18), violations(100, 30)], [0, 1]);
    assert_eq!([violations(10_000, 1_030), violations(10_000, 1_200)], [0, 1]);
    // A perfect baseline tolerates a mistake.
    let (perfect, _) = baseline(&labels);
    let thresholds = perfect.constraints.binary_classification_constraints.unwrap();
    let accuracy = thresholds["accuracy"].threshold;
    assert!((0.98..0.9999).contains(&accuracy), "{accuracy}");
}

#[test]
fn thinned_curves_keep_full_areas() {
    let labels: Vec<u32> = (0..4_500).map(|row| u32::from(row % 3 == 0)).collect();
    let scores: Vec<f64> = (0..4_500).map(|row| f64::from(row * 7 % 4_507)).collect();
    let rows = |curve_points| {
        let rows = Rows::Binary {
            labels: &labels,
            predictions: &labels,
            probabilities: Some(&scores),
            classes: &zero_and_one(),
        };
        let options = Options {
            standard_deviations: false,
            curve_points,
        };
        evaluate(&rows, options).unwrap()
    };
    let (thinned, all) = (rows(CurvePoints::Thinned), rows(CurvePoints::All));
    let points = |evaluation: &Evaluation| evaluation.curve.as_ref().unwrap().recalls().count();
    // 4,500 distinct scores in groups of four, and the beginning of the curve.
    assert_eq!((points(&thinned), points(&all)), (1_126, 4_501));
    assert!((value(&thinned, "auc") - value(&all, "auc")).abs() <= 0.0);
    assert!((thinned.curve.unwrap().recalls().last().unwrap() - 1.0).abs() <= 0.0);
}

#[test]
fn labels_of_any_kind_are_classes() {
    let matrix = |label: Value, prediction: Value| {
        let question = json!({"problem_type": "BinaryClassification", "label": label, "prediction": prediction});
        metrics(&question).map_or_else(|error| json!(error), |metrics| metrics["confusion_matrix"].clone())
    };
    let expected = json!({"0": {"0": 1, "1": 0}, "1": {"0": 1, "1": 1}});
    assert_eq!(matrix(json!([1, 0, 1]), json!([1.0, 0.0, 0])), expected);
    assert_eq!(matrix(json!(["1", "0.0", "1.0"]), json!([1, 0, 0])), expected);
    assert_eq!(matrix(json!([true, false, true]), json!([1, 0, -0.0])), expected);
    assert_eq!(
        matrix(json!([true, false, true]), json!([true, "false", false])),
        json!({"false": {"false": 1, "true": 0}, "true": {"false": 1, "true": 1}})
    );
}

#[test]
fn invalid_lines_give_errors() {
    let message = |question: Value| metrics(&question).unwrap_err();
    let binary = |label: Value, prediction: Value| {
        message(json!({"problem_type": "BinaryClassification", "label": label, "prediction": prediction}))
    };
    assert_eq!(
        binary(json!([]), json!([])),
        "label has no values: expected at least one row"
    );
    assert_eq!(
        binary(json!([1, 0]), json!([1])),
        "prediction has 1 values, but label has 2: expected equal numbers"
    );
    assert_eq!(
        binary(json!([1, 0]), json!([1, 2])),
        "label and prediction have the values `0`, `1`, `2`: expected two classes; set the problem type to \
         MulticlassClassification, or map the values to two classes"
    );
    assert_eq!(
        binary(json!([1, null]), json!([1, 0])),
        "label[1]: expected a number, a string, or a boolean, found null: remove or fix the row"
    );
    assert!(binary(json!(["NaN", "1"]), json!([1, 0])).ends_with("found \"NaN\": remove or fix the row"));
    let regression =
        |label: Value| message(json!({"problem_type": "Regression", "label": label, "prediction": [1, 2]}));
    assert_eq!(
        regression(json!([1, "Infinity"])),
        "label[1]: expected a finite number, found Infinity: remove or fix the row"
    );
    assert_eq!(
        regression(json!([1, "two"])),
        "label[1]: expected a number, found \"two\""
    );
    assert_eq!(
        message(json!({
            "problem_type": "BinaryClassification", "label": [1, 0], "prediction": [1, 0], "probability": [0.5, "NaN"],
        })),
        "probability[1]: expected a finite number, found NaN: remove or fix the row"
    );
    assert!(
        answer(b"")
            .unwrap_err()
            .starts_with("expected an object with problem_type")
    );
    assert!(message(json!({"problem_type": "Ranking", "label": [], "prediction": []})).contains("Ranking"));
}

#[test]
fn error_shows_non_finite_number() {
    let ours = metrics(&json!({
        "problem_type": "Regression", "label": [1e200, 0], "prediction": [-1e200, 0],
    }))
    .unwrap();
    assert_eq!(
        ours,
        json!({"mae": 1e200, "mse": "Infinity", "rmse": "Infinity", "r2": "NaN"})
    );
}

#[test]
fn too_many_classes_are_rejected() {
    let labels: Vec<_> = (0..2_001).collect();
    let question = json!({"problem_type": "MulticlassClassification", "label": labels, "prediction": labels});
    assert_eq!(
        metrics(&question).unwrap_err(),
        "label and prediction have 2001 classes, more than 2000: for numbers, set the problem type to Regression"
    );
}

#[test]
fn worst_segment_is_reported() {
    let mut state = 7;
    let mut values = Classes::default();
    let regions = ["north", "south", "east"].map(|region| values.intern(region));
    let rare = values.intern("moon");
    let (mut column, mut labels, mut predictions) = (Vec::new(), Vec::new(), Vec::new());
    for (region, rows, errors) in [
        (regions[0], 300, 0.05),
        (regions[1], 200, 0.4),
        (regions[2], 100, 0.1),
        (rare, 9, 1.0),
    ] {
        for _ in 0..rows {
            let label = u32::from(random(&mut state) < 0.5);
            column.push(region);
            labels.push(label);
            predictions.push(if random(&mut state) < errors { 1 - label } else { label });
        }
    }
    let two = zero_and_one();
    let rows = Rows::Binary {
        labels: &labels,
        predictions: &predictions,
        probabilities: None,
        classes: &two,
    };
    let options = SegmentOptions {
        most_segments: 2,
        ..SegmentOptions::default()
    };
    let report = by_segment(&rows, &column, &values, options).unwrap();
    let worst: Vec<_> = report
        .worst("f1")
        .iter()
        .map(|(segment, _)| segment.value.clone())
        .collect();
    assert_eq!(worst, ["south", "north"]);
    let written = report.to_json("region");
    assert_eq!(written["worst"]["segments"][0]["value"], "south");
    assert_eq!(written["too_small"], json!({"values": 1, "rows": 9}));
    assert_eq!(written["too_many"], json!({"values": 1, "rows": 100}));
    assert!(written["segments"][0]["metrics"]["f1"]["standard_deviation"].is_number());
    let too_short = by_segment(&rows, &column[1..], &values, options);
    assert!(too_short.unwrap_err().to_string().starts_with("segment has 608 values"));

    let (labels, predictions): (Vec<f64>, Vec<f64>) = labels
        .iter()
        .zip(&predictions)
        .map(|(a, b)| (f64::from(*a), f64::from(*b)))
        .unzip();
    let rows = Rows::Regression {
        labels: &labels,
        predictions: &predictions,
    };
    let report = by_segment(&rows, &column, &values, SegmentOptions::default()).unwrap();
    assert_eq!(report.worst("rmse")[0].0.value, "south");
    assert_eq!(report.worst("r2")[0].0.value, "south");
}

/// Rows of a model whose score is the square of the true probability, and therefore not calibrated.
fn scored_rows(state: &mut u32, rows: usize, hard: f64) -> (Vec<u32>, Vec<u32>, Vec<f64>) {
    let mut columns = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rows {
        let probability = if random(state) < hard {
            0.35 + 0.3 * random(state)
        } else {
            random(state)
        };
        columns.0.push(u32::from(random(state) < probability));
        columns.1.push(u32::from(probability >= 0.5));
        columns.2.push(probability * probability);
    }
    columns
}

#[test]
fn estimate_predicts_measured_performance() {
    let two = zero_and_one();
    let mut state = 11;
    let (labels, predictions, scores) = scored_rows(&mut state, 20_000, 0.0);
    let baseline = suggest_constraints(&binary(&labels, &predictions, Some(&scores)));
    // More rows that are difficult to classify.
    let (live_labels, live_predictions, live_scores) = scored_rows(&mut state, 20_000, 0.7);
    let live = binary(&live_labels, &live_predictions, Some(&live_scores));
    let calibrations = [
        Calibration::isotonic(&labels, &scores, &two).unwrap(),
        Calibration::binned(&labels, &scores, &two, 25).unwrap(),
    ];
    for calibration in calibrations {
        let estimate = EstimatedPerformance::new(&live_predictions, &live_scores, &two, Some(&calibration)).unwrap();
        for (name, estimated) in estimate.metrics() {
            let real = value(&live, name.strip_prefix("estimated_").unwrap());
            assert!((estimated - real).abs() < 0.03, "{name}: {estimated} of {real}");
        }
        let warnings = estimate.warnings(&baseline.constraints).unwrap();
        assert!(
            warnings
                .iter()
                .any(|warning| warning.estimated_metric == "estimated_auc"),
            "{warnings:?}"
        );
    }
    // Scores that are not probabilities give wrong estimates.
    let naive = EstimatedPerformance::new(&live_predictions, &live_scores, &two, None).unwrap();
    assert!((naive.estimated_recall - value(&live, "recall")).abs() > 0.03);
    let error = EstimatedPerformance::new(&[1], &[1.5], &two, None).unwrap_err();
    assert_eq!(
        error.to_string(),
        "probability[0]: expected a probability between 0 and 1, found 1.5"
    );
}

/// Columns of a binary classification, with many equal scores.
fn columns() -> impl Strategy<Value = Vec<(u32, u32, i8)>> {
    prop::collection::vec((0..2_u32, 0..2_u32, -5..5_i8), 1..300)
}

fn split(rows: &[(u32, u32, i8)]) -> (Vec<u32>, Vec<u32>, Vec<f64>) {
    let labels = rows.iter().map(|row| row.0).collect();
    let predictions = rows.iter().map(|row| row.1).collect();
    (labels, predictions, rows.iter().map(|row| f64::from(row.2)).collect())
}

fn same(a: f64, b: f64) -> bool {
    a.is_nan() && b.is_nan() || (a - b).abs() < 1e-12
}

proptest! {
    #[test]
    fn metrics_ignore_row_order(mut rows in columns()) {
        let (labels, predictions, scores) = split(&rows);
        let before = binary(&labels, &predictions, Some(&scores));
        rows.reverse();
        let (labels, predictions, scores) = split(&rows);
        let after = binary(&labels, &predictions, Some(&scores));
        // The standard deviations are equal too.
        for (name, metric) in &before.metrics {
            prop_assert!(same(metric.value, after.metrics[name].value), "{}", name);
            prop_assert!(same(metric.standard_deviation, after.metrics[name].standard_deviation), "{}", name);
        }
        prop_assert_eq!(before.curve, after.curve);
    }

    #[test]
    fn auc_is_the_share_of_pairs_in_order(rows in columns()) {
        let (labels, predictions, scores) = split(&rows);
        let (mut in_order, mut pairs) = (0.0, 0.0);
        for positive in rows.iter().filter(|row| row.0 == 1) {
            for negative in rows.iter().filter(|row| row.0 == 0) {
                pairs += 1.0;
                in_order += match positive.2.cmp(&negative.2) {
                    std::cmp::Ordering::Greater => 1.0,
                    std::cmp::Ordering::Equal => 0.5,
                    std::cmp::Ordering::Less => 0.0,
                };
            }
        }
        let ours = binary(&labels, &predictions, Some(&scores));
        prop_assert!(same(value(&ours, "auc"), in_order / pairs));
        let negated: Vec<f64> = scores.iter().map(|score| -score).collect();
        let other = binary(&labels, &predictions, Some(&negated));
        prop_assert!(same(value(&other, "auc"), 1.0 - in_order / pairs));
    }

    #[test]
    fn metrics_are_between_zero_and_one_or_undefined(rows in columns()) {
        let (labels, predictions, scores) = split(&rows);
        for (name, metric) in binary(&labels, &predictions, Some(&scores)).metrics {
            let undefined = name == "auc" && (labels.iter().all(|label| *label == 0) || !labels.contains(&0));
            prop_assert!((0.0..=1.0).contains(&metric.value) || undefined && metric.value.is_nan(), "{}", name);
        }
    }

    #[test]
    fn baseline_satisfies_its_own_constraints(rows in columns()) {
        let (labels, predictions, scores) = split(&rows);
        let ours = binary(&labels, &predictions, Some(&scores));
        let constraints = suggest_constraints(&ours).constraints;
        prop_assert_eq!(check_constraints(&ours, &constraints, None).unwrap().violations, vec![]);
    }

    #[test]
    fn shift_keeps_regression_errors(rows in prop::collection::vec((-100..100_i32, -100..100_i32), 2..50), shift in -1_000_000_000..1_000_000_000_i32) {
        let evaluation = |shift: i32| {
            let labels: Vec<f64> = rows.iter().map(|(label, _)| f64::from(*label) + f64::from(shift)).collect();
            let predictions: Vec<f64> = rows.iter().map(|(_, answer)| f64::from(*answer) + f64::from(shift)).collect();
            evaluate(&Rows::Regression { labels: &labels, predictions: &predictions }, Options::default()).unwrap()
        };
        let (here, there) = (evaluation(0), evaluation(shift));
        for (name, metric) in &here.metrics {
            let other = there.metrics[name].value;
            prop_assert!(same(metric.value, other) || (metric.value - other).abs() < 1e-9 * metric.value.abs(), "{}", name);
        }
    }

    #[test]
    fn no_line_panics(line in any::<Vec<u8>>()) {
        prop_assert!(answer(&line).is_err());
    }
}
