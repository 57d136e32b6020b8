//! Analyses of predictions: from files in a folder to the files of a report.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    reason = "a test fails by panicking"
)]

use analyzer::{
    GroundTruth, Object, Outcome, ReadOptions, Report,
    job::{AnalysisConfig, Baseline, JobError, ModelQualityJob, ModelRequest, PredictionJob, Thresholds},
    read,
};
use model_monitor::{Limits, MonitorType, ViolationReport};
use serde_json::{Value, json};
use std::{collections::BTreeMap, fmt::Write as _, fs, sync::Arc};
use tempfile::TempDir;

/// Inputs of a job, and its results.
struct Bench {
    folder: TempDir,
    kind: MonitorType,
}

type Model<'a> = &'a mut dyn FnMut(&ModelRequest) -> Result<Vec<u8>, String>;

impl Bench {
    fn new(kind: MonitorType) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { folder, kind }
    }

    fn file(&self, name: &str, content: &str) {
        fs::write(self.folder.path().join(name), content).unwrap();
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    /// Reads a dataset, and ground truth if there is a file.
    fn run<T>(
        &self,
        job: &PredictionJob,
        dataset: &str,
        truth: Option<&str>,
        run: impl FnOnce(&analyzer::Dataset<analyzer::Table>, Option<&GroundTruth>) -> Result<T, JobError>,
    ) -> Result<T, JobError> {
        let truth = truth.map(|name| Arc::new(GroundTruth::read(vec![Object::file(&self.path(name))]).unwrap()));
        let mut options = ReadOptions::default();
        options.capture.ground_truth.clone_from(&truth);
        job.prepare(&mut options);
        let dataset = read(vec![Object::file(&self.path(dataset))], &options, job.tables())?;
        run(&dataset, truth.as_deref())
    }

    fn job(&self, config: &Value) -> Result<PredictionJob, JobError> {
        let config = AnalysisConfig::parse("analysis_config.json", config.to_string().as_bytes())?;
        PredictionJob::new(self.kind, Some(config))
    }

    /// Creates a baseline from a dataset, and reads its files back.
    fn baseline(
        &self,
        config: &Value,
        dataset: &str,
        model: Option<Model<'_>>,
    ) -> Result<(Report, Baseline), JobError> {
        let job = self.job(config)?;
        let report = self.run(&job, dataset, None, |dataset, truth| {
            job.baseline(dataset, truth, model, Thresholds::Exact)
        })?;
        let mut baseline = Baseline::default();
        for file in report.all_files() {
            baseline.add(file.name, file.name, &file.content)?;
        }
        assert_eq!(baseline.monitor_types(), [self.kind]);
        Ok((report, baseline))
    }

    /// Analyzes a dataset with the configuration in the baseline's folder.
    fn analyze(
        &self,
        baseline: &Baseline,
        dataset: &str,
        truth: Option<&str>,
        model: Option<Model<'_>>,
    ) -> Result<Report, JobError> {
        let job = PredictionJob::new(self.kind, baseline.config.clone())?;
        let report = self.run(&job, dataset, truth, |dataset, truth| {
            job.analyze(dataset, truth, baseline, model)
        })?;
        // The parser of Model Monitor's files accepts the output.
        for file in report.all_files() {
            if file.name == "constraint_violations.json" {
                let read = ViolationReport::parse(file.name, &file.content, &Limits::default()).unwrap();
                assert_eq!(read.violations.len(), report.violations.len());
                assert_eq!(read.monitor_type, Some(self.kind));
            }
        }
        Ok(report)
    }
}

fn content(report: &Report, name: &str) -> Value {
    let files = report.all_files();
    let file = files.iter().find(|file| file.name == name);
    let file = file.unwrap_or_else(|| panic!("no {name} among {:?}", names(report)));
    serde_json::from_slice(&file.content).unwrap()
}

fn names(report: &Report) -> Vec<&'static str> {
    report.all_files().iter().map(|file| file.name).collect()
}

fn metrics(report: &Report) -> BTreeMap<String, String> {
    let of = |metric: &analysis::metric::AnalysisMetric| {
        let dimensions: Vec<&str> = metric.dimensions.iter().map(|(_, value)| value.as_str()).collect();
        (
            format!("{} {}", metric.name, dimensions.join(" ")),
            format!("{:?}", metric.value),
        )
    };
    report.metrics.iter().map(of).collect()
}

/// Captured request with one record.
fn captured(id: usize, request: &str, response: &str) -> String {
    let side = |mode: &str, data: &str| {
        let (kind, encoding) = if data.starts_with('{') {
            ("application/json", "JSON")
        } else {
            ("text/csv", "CSV")
        };
        json!({"observedContentType": kind, "mode": mode, "data": data, "encoding": encoding})
    };
    let line = json!({
        "captureData": {"endpointInput": side("INPUT", request), "endpointOutput": side("OUTPUT", response)},
        "eventMetadata": {"eventId": format!("event-{id}"), "inferenceId": id.to_string(), "inferenceTime": "2026-11-23T02:20:00Z"},
        "eventVersion": "0",
    });
    format!("{line}\n")
}

fn labeled(id: usize, label: &str) -> String {
    let line = json!({
        "groundTruthData": {"data": label, "encoding": "CSV"},
        "eventMetadata": {"eventId": id.to_string()},
        "eventVersion": "0",
    });
    format!("{line}\n")
}

mod model_quality {
    use super::*;

    /// Scores that are right except for one row of ten.
    fn scored(rows: usize) -> String {
        let mut csv = "region,score,truth\n".to_owned();
        for row in 0..rows {
            let (truth, wrong) = (row % 2, row % 10 == 3);
            let score = if (truth == 1) == wrong { 0.2 } else { 0.8 } + (row % 7) as f64 / 100.0;
            let region = if row % 5 == 0 { "north" } else { "south" };
            writeln!(csv, "{region},{score},{truth}").unwrap();
        }
        csv
    }

    const CONFIG: &str = r#"{
        "problem_type": "BinaryClassification",
        "probability_attribute": "score",
        "ground_truth_attribute": "truth",
        "predictor": {"probability": 0},
        "a_key_of_tomorrow": {"kept": true}
    }"#;

    fn config() -> Value {
        serde_json::from_str(CONFIG).unwrap()
    }

    #[test]
    fn one_configuration_is_valid_for_file_and_capture() {
        let config = json!({
            "problem_type": "BinaryClassification",
            "inference_attribute": "prediction",
            "probability_attribute": "probability",
            "ground_truth_attribute": "truth",
        });
        let bench = Bench::new(MonitorType::ModelQuality);
        let row = |at: usize| (at % 10, at % 10 < 5, at.is_multiple_of(7));
        let mut scored = "x,prediction,probability,truth\n".to_owned();
        let (mut captured, mut labels) = (String::new(), String::new());
        for at in 0..300 {
            let (score, predicted, flipped) = row(at);
            let (predicted, truth) = (u8::from(predicted), u8::from(predicted != flipped));
            writeln!(scored, "{at},{predicted},0.{score},{truth}").unwrap();
            let side = |data: String| json!({"data": data, "encoding": "CSV"});
            let line = json!({
                "captureData": {"endpointInput": side(at.to_string()), "endpointOutput": side(format!("{predicted},0.{score}"))},
                "eventMetadata": {"inferenceId": at.to_string()},
            });
            writeln!(captured, "{line}").unwrap();
            let label =
                json!({"groundTruthData": side(truth.to_string()), "eventMetadata": {"eventId": at.to_string()}});
            writeln!(labels, "{label}").unwrap();
        }
        bench.file("scored.csv", &scored);
        bench.file("capture.jsonl", &captured);
        bench.file("labels.jsonl", &labels);
        let (_, baseline) = bench.baseline(&config, "scored.csv", None).unwrap();
        let report = bench
            .analyze(&baseline, "capture.jsonl", Some("labels.jsonl"), None)
            .unwrap();
        assert_eq!((report.outcome(), report.item_count), (Outcome::Clean, 300));
    }

    #[test]
    fn baseline_contains_metrics_and_constraints() {
        let bench = Bench::new(MonitorType::ModelQuality);
        bench.file("data.csv", "prediction,truth\n1,1\n1,0\n0,0\n0,0\n1,1\n0,1\n");
        let config = json!({
            "problem_type": "BinaryClassification",
            "inference_attribute": "prediction",
            "ground_truth_attribute": "truth",
        });
        let (report, _) = bench.baseline(&config, "data.csv", None).unwrap();
        assert_eq!(
            names(&report),
            ["statistics.json", "constraints.json", "analysis_config.json"]
        );
        insta::assert_json_snapshot!("binary_statistics", content(&report, "statistics.json"));
        insta::assert_json_snapshot!("binary_constraints", content(&report, "constraints.json"));
        assert_eq!(content(&report, "analysis_config.json"), config);
        assert_eq!(
            report.notes,
            [
                "no constraint is suggested for auc: the baseline value is not a number",
                "the positive class is `1`, the last of `0` and `1` in sort order: to change it, set `positive_label`"
            ]
        );
        assert!(metrics(&report).contains_key("false_positive_rate "));
        assert!(!metrics(&report).keys().any(|name| name.starts_with("confusion")));
    }

    #[test]
    fn captured_data_is_joined_with_labels() {
        let bench = Bench::new(MonitorType::ModelQuality);
        bench.file("train.csv", &scored(400));
        let (_, baseline) = bench.baseline(&config(), "train.csv", None).unwrap();
        assert_eq!(
            baseline.config.as_ref().unwrap().raw()["a_key_of_tomorrow"],
            json!({"kept": true})
        );
        let (mut capture, mut truth) = (String::new(), String::new());
        for id in 0..300 {
            capture += &captured(id, "17,north", if id % 3 == 0 { "0.9" } else { "0.1" });
            if id < 250 {
                truth += &labeled(id, if id % 2 == 0 { "1" } else { "0" });
            }
        }
        capture += "no JSON\n";
        truth += &labeled(9_999, "1");
        truth += &labeled(0, "1");
        bench.file("capture.jsonl", &capture);
        bench.file("truth.jsonl", &truth);
        let report = bench
            .analyze(&baseline, "capture.jsonl", Some("truth.jsonl"), None)
            .unwrap();
        assert_eq!(report.item_count, 250);
        assert_eq!(report.exit_message().split(':').next(), Some("CompletedWithViolations"));
        let matrix = &content(&report, "statistics.json")["binary_classification_metrics"]["confusion_matrix"];
        assert_eq!(*matrix, json!({"0": {"0": 83, "1": 42}, "1": {"0": 83, "1": 42}}));
        insta::assert_json_snapshot!(
            "violations_of_captured_data",
            content(&report, "constraint_violations.json")
        );
        let notes: Vec<&str> = report.notes.iter().map(String::as_str).collect();
        let path = bench.path("").display().to_string();
        let notes = notes.join("\n").replace(&path, "");
        insta::assert_snapshot!("notes_of_captured_data", notes);
    }

    #[test]
    fn highest_probability_is_predicted_class() {
        let bench = Bench::new(MonitorType::ModelQuality);
        let probabilities = [
            "[0.7, 0.2, 0.1]",
            "[0.1, 0.8, 0.1]",
            "[0.2, 0.2, 0.6]",
            "[0.5, 0.4, 0.1]",
        ];
        let response = |envelope: &str| {
            let rows = probabilities.iter().enumerate();
            rows.map(|(id, row)| captured(id, "1,2", &envelope.replace("ROW", row)))
                .collect::<String>()
        };
        let accuracy = |config: &Value, envelope: &str, labels: [&str; 4]| {
            let truth: String = labels
                .iter()
                .enumerate()
                .map(|(id, label)| labeled(id, label))
                .collect();
            bench.file("capture.jsonl", &response(envelope));
            bench.file("truth.jsonl", &truth);
            let job = bench.job(config).unwrap();
            let report = bench.run(&job, "capture.jsonl", Some("truth.jsonl"), |dataset, truth| {
                job.baseline(dataset, truth, None, Thresholds::default())
            });
            report.map(|report| {
                content(&report, "statistics.json")["multiclass_classification_metrics"]["accuracy"]["value"].clone()
            })
        };
        let config = |probability: &str| json!({"problem_type": "MulticlassClassification", "probability_attribute": probability});
        let numbers = ["0", "1", "2", "1"];
        for (probability, envelope) in [
            ("predictions", r#"{"predictions": [ROW]}"#),
            ("probabilities", r#"{"probabilities": ROW, "version": 3}"#),
        ] {
            let found = accuracy(&config(probability), envelope, numbers).unwrap();
            assert_eq!(found, json!(0.75), "{probability}");
        }
        let mut named = config("predictions");
        named["predictor"] = json!({"label_headers": ["cat", "dog", "bird"]});
        let found = accuracy(&named, r#"{"predictions": [ROW]}"#, ["cat", "dog", "bird", "cat"]);
        assert_eq!(found.unwrap(), json!(1.0));
        let error = accuracy(&config("scores"), r#"{"predictions": [ROW]}"#, numbers).unwrap_err();
        let expected = "`probability_attribute` names column `scores`, which is not in the dataset; its columns are `output:0`, \
                        `output:1`, `output:2`";
        assert!(error.to_string().starts_with(expected), "{error}");
        let error = accuracy(&config("predictions"), r#"{"predictions": 0.5}"#, numbers).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("not a list with the probability of each class"),
            "{error}"
        );
    }

    #[test]
    fn single_class_window_keeps_baseline_classes() {
        let bench = Bench::new(MonitorType::ModelQuality);
        let config = json!({
            "problem_type": "BinaryClassification",
            "inference_attribute": "answer",
            "ground_truth_attribute": "truth",
        });
        bench.file("train.csv", "answer,truth\ngood,good\nbad,bad\ngood,bad\n");
        let (_, baseline) = bench.baseline(&config, "train.csv", None).unwrap();
        bench.file("live.csv", "answer,truth\nbad,bad\nbad,bad\n");
        let report = bench.analyze(&baseline, "live.csv", None, None).unwrap();
        let statistics = content(&report, "statistics.json");
        assert_eq!(
            statistics["binary_classification_metrics"]["confusion_matrix"],
            json!({"bad": {"bad": 2, "good": 0}, "good": {"bad": 0, "good": 0}})
        );
        // Without the classes of the baseline, the positive class is unknown.
        let error = bench.baseline(&config, "live.csv", None).unwrap_err();
        assert_eq!(
            error.to_string(),
            "label and prediction have only the value `bad`: set the positive class in `positive_label`"
        );
    }

    #[test]
    fn other_problem_types_have_other_metrics() {
        let bench = Bench::new(MonitorType::ModelQuality);
        bench.file(
            "train.jsonl",
            "{\"y\": 1.5, \"out\": {\"p\": [1.0]}}\n{\"y\": 2, \"out\": {\"p\": [3]}}\n",
        );
        let regression = json!({
            "problem_type": "Regression",
            "inference_attribute": "out.p[0]",
            "ground_truth_attribute": "y",
        });
        let (report, baseline) = bench.baseline(&regression, "train.jsonl", None).unwrap();
        let metrics = &content(&report, "statistics.json")["regression_metrics"];
        assert_eq!(metrics["mae"], json!({"value": 0.75, "standard_deviation": "NaN"}));
        bench.file(
            "live.jsonl",
            "{\"y\": 1, \"out\": {\"p\": [3]}}\n{\"y\": \"n/a\", \"out\": {\"p\": [3]}}\n{\"y\": 1}\n",
        );
        let report = bench.analyze(&baseline, "live.jsonl", None, None).unwrap();
        assert_eq!(report.item_count, 1);
        assert_eq!(
            report.notes,
            [
                "ignored rows whose label is not a number (column `y`): 1, first value `n/a`",
                "ignored rows without a prediction (column `out_p_0`): 1",
                "not checked, because it is not defined for these rows: r2"
            ]
        );
        let text: Vec<&str> = report
            .violations
            .iter()
            .map(|violation| violation.description.as_str())
            .collect();
        assert_eq!(text[0], "Metric mae with 2.0 +/- NaN was GreaterThanThreshold '0.75'");

        let multiclass = json!({
            "problem_type": "MulticlassClassification",
            "inference_attribute": "0",
            "ground_truth_attribute": "1",
        });
        bench.file("train.csv", "1,1\n2,2\n3,1\n");
        let (report, _) = bench.baseline(&multiclass, "train.csv", None).unwrap();
        let statistics = content(&report, "statistics.json");
        assert!(statistics["multiclass_classification_metrics"]["weighted_f1"]["value"].is_number());
    }

    #[test]
    fn segments_show_where_model_fails() {
        let bench = Bench::new(MonitorType::ModelQuality);
        bench.file("train.csv", &scored(400));
        let mut config = config();
        config["segment"] = json!("region");
        let (report, _) = bench.baseline(&config, "train.csv", None).unwrap();
        let segments = content(&report, "segments.json");
        let values: Vec<_> = segments["segments"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| &one["value"])
            .collect();
        assert_eq!(values, ["south", "north"]);
        // Every wrong row is in the south.
        assert_eq!(segments["worst"]["segments"][0]["value"], "south");
    }

    #[test]
    fn performance_is_estimated_before_labels() {
        let bench = Bench::new(MonitorType::ModelQuality);
        bench.file("train.csv", &scored(400));
        let mut config = config();
        config["estimate_without_labels"] = json!(true);
        let (report, baseline) = bench.baseline(&config, "train.csv", None).unwrap();
        assert!(names(&report).contains(&"calibration.json"));
        let capture: String = (0..100).map(|id| captured(id, "1", "0.55")).collect();
        bench.file("capture.jsonl", &capture);
        bench.file("truth.jsonl", &labeled(7, "1"));
        let report = bench
            .analyze(&baseline, "capture.jsonl", Some("truth.jsonl"), None)
            .unwrap();
        // The one label counts for the metrics, all rows for the estimate.
        assert_eq!(report.item_count, 1);
        let estimate = content(&report, "estimate.json");
        assert_eq!(estimate["dataset"]["item_count"], 100);
        assert_eq!(estimate["calibrated"], true);
        assert!(metrics(&report).contains_key("estimated_precision "));
        assert!(
            report
                .notes
                .iter()
                .any(|note| note.starts_with("early warning, not a violation: estimated_precision is 0.")),
            "{:?}",
            report.notes
        );
        bench.file("truth.jsonl", "");
        let report = bench
            .analyze(&baseline, "capture.jsonl", Some("truth.jsonl"), None)
            .unwrap();
        assert_eq!(
            (report.outcome(), names(&report)),
            (Outcome::NoData, vec!["estimate.json"])
        );
    }

    #[test]
    fn invalid_inputs_give_errors() {
        let bench = Bench::new(MonitorType::ModelQuality);
        bench.file("train.csv", &scored(20));
        let said = |change: &dyn Fn(&mut Value)| {
            let mut config = config();
            change(&mut config);
            bench
                .baseline(&config, "train.csv", None)
                .map(|_| ())
                .unwrap_err()
                .to_string()
        };
        let errors = [
            said(&|config| config["ground_truth_attribute"] = json!("actual")),
            said(&|config| config["problem_type"] = json!("Binary")),
            said(&|config| config["problem_type"] = Value::Null),
            said(&|config| config["probability_attribute"] = json!(-1)),
            said(&|config| {
                config["inference_attribute"] = json!("score");
                config["probability_attribute"] = Value::Null;
            }),
            said(&|config| *config = json!({"problem_type": "Regression"})),
            said(&|config| {
                config["ground_truth_attribute"] = Value::Null;
                config["probability_attribute"] = json!(1);
            }),
            said(&|config| config["positive_label"] = json!(7)),
            said(&|config| *config = json!([])),
        ];
        insta::assert_json_snapshot!("model_quality_errors", errors);
        bench.file("empty.csv", "region,score,truth\n");
        let error = bench.baseline(&config(), "empty.csv", None).unwrap_err();
        assert!(
            error.to_string().starts_with("no row has a label and a prediction"),
            "{error}"
        );
        let (_, baseline) = bench.baseline(&config(), "train.csv", None).unwrap();
        let report = bench.analyze(&baseline, "empty.csv", None, None).unwrap();
        assert_eq!(report.outcome(), Outcome::NoData);
        let other = Baseline {
            statistics: None,
            ..Baseline::default()
        };
        assert_eq!(
            PredictionJob::new(MonitorType::ModelQuality, other.config.clone())
                .unwrap_err()
                .to_string(),
            "ModelQuality requires an analysis_config.json that assigns roles to the columns: pass one, or put it \
             into the folder of the baseline"
        );
    }
}

mod bias {
    use super::*;

    /// Loans: women get fewer, by the labels, and even fewer by the predictions of a later model.
    fn loans(rows: usize, refused: usize) -> String {
        let mut csv = "approved,sex,income,group,predicted\n".to_owned();
        for row in 0..rows {
            let sex = row % 2;
            let label = usize::from(row % 5 != 0);
            let predicted = if sex == 0 && row % refused == 0 { 0 } else { label };
            writeln!(csv, "{label},{sex},{},{},{predicted}", 20 + row % 9, row % 3).unwrap();
        }
        csv
    }

    fn config() -> Value {
        json!({
            "label": "approved",
            "label_values_or_threshold": [1],
            "facet": [{"name_or_index": "sex", "value_or_threshold": [0]}],
            "group_variable": "group",
            "predicted_label": "predicted",
            "methods": {
                "pre_training_bias": {"methods": ["CI", "DPL", "CDDL"]},
                "post_training_bias": {"methods": ["DPPL", "DI", "FT", "TE"]},
            },
        })
    }

    /// Share of positive labels: 80% of `m`, and of `f` 70% in the baseline and 30% in the window.
    fn approvals(rows: usize, of_f: usize) -> String {
        let row = |row: usize| {
            format!(
                "{},{}\n",
                ["m", "f"][row % 2],
                u8::from(row / 2 % 10 < [8, of_f][row % 2])
            )
        };
        "sex,approved\n".to_owned() + &(0..rows).map(row).collect::<String>()
    }

    #[test]
    fn small_window_is_read_like_its_baseline() {
        let config = json!({
            "label": "approved",
            "label_values_or_threshold": [1],
            "facet": [{"name_or_index": "sex", "value_or_threshold": ["f"]}],
            "methods": {"pre_training_bias": {"methods": ["CI", "DPL"]}},
        });
        let bench = Bench::new(MonitorType::ModelBias);
        bench.file("train.csv", &approvals(200, 7));
        let (_, baseline) = bench.baseline(&config, "train.csv", None).unwrap();
        // In 40 rows or fewer, Clarify reads 0 and 1 as measurements, and 1 as a threshold that nothing exceeds.
        for rows in [20, 40, 60] {
            bench.file("live.csv", &approvals(rows, 3));
            let report = bench.analyze(&baseline, "live.csv", None, None).unwrap();
            let analysis = content(&report, "analysis.json");
            let dpl = &analysis["pre_training_bias_metrics"]["facets"]["sex"][0]["metrics"][1];
            assert_eq!(dpl["name"], "DPL");
            assert!(
                (dpl["value"].as_f64().unwrap() - 0.5).abs() < 1e-9,
                "{rows} rows: {dpl}"
            );
        }
    }

    #[test]
    fn window_of_one_group_is_not_judged() {
        let config = json!({
            "label": "approved",
            "label_values_or_threshold": [1],
            "facet": [{"name_or_index": "sex", "value_or_threshold": ["f"]}],
            "methods": {"pre_training_bias": {"methods": ["DPL"]}},
        });
        let bench = Bench::new(MonitorType::ModelBias);
        bench.file("train.csv", &approvals(200, 7));
        let (_, baseline) = bench.baseline(&config, "train.csv", None).unwrap();
        bench.file("live.csv", "sex,approved\nm,1\nm,0\n");
        let report = bench.analyze(&baseline, "live.csv", None, None).unwrap();
        assert_eq!(report.outcome(), Outcome::NotJudged);
    }

    #[test]
    fn window_is_compared_with_baseline() {
        let bench = Bench::new(MonitorType::ModelBias);
        bench.file("train.csv", &loans(200, 10));
        let (report, baseline) = bench.baseline(&config(), "train.csv", None).unwrap();
        assert_eq!(names(&report), ["analysis.json", "analysis_config.json"]);
        insta::assert_json_snapshot!("bias_baseline", content(&report, "analysis.json"));
        bench.file("live.csv", &loans(200, 4));
        let report = bench.analyze(&baseline, "live.csv", None, None).unwrap();
        insta::assert_json_snapshot!("bias_violations", content(&report, "constraint_violations.json"));
        insta::assert_debug_snapshot!("bias_metrics", metrics(&report));
        assert_eq!(
            bench.analyze(&baseline, "train.csv", None, None).unwrap().outcome(),
            Outcome::Clean
        );
    }

    #[test]
    fn captured_columns_are_named_by_headers() {
        let bench = Bench::new(MonitorType::ModelBias);
        bench.file("train.csv", &loans(200, 10));
        let mut config = config();
        config["headers"] = json!(["approved", "sex", "income", "group", "predicted"]);
        config["predictor"] = json!({"label": "predictions[*].predicted_label"});
        let (_, baseline) = bench.baseline(&config, "train.csv", None).unwrap();
        let (mut capture, mut truth) = (String::new(), String::new());
        for id in 0..200 {
            let request = json!({"instances": [{"features": [id % 2, 20 + id % 9, id % 3]}]});
            let predicted = usize::from(id % 2 == 1 || id % 4 != 0);
            let response = json!({"predictions": [{"score": 0.3, "predicted_label": predicted}]});
            capture += &captured(id, &request.to_string(), &response.to_string());
            truth += &labeled(id, if id % 5 == 0 { "0" } else { "1" });
        }
        bench.file("capture.jsonl", &capture);
        bench.file("truth.jsonl", &truth);
        let report = bench
            .analyze(&baseline, "capture.jsonl", Some("truth.jsonl"), None)
            .unwrap();
        assert_eq!(report.item_count, 200);
        assert_eq!(report.notes, Vec::<String>::new());
        let analysis = content(&report, "analysis.json");
        assert_eq!(analysis["pre_training_bias_metrics"]["label"], "approved");
        let dppl = &analysis["post_training_bias_metrics"]["facets"]["sex"][0]["metrics"][1];
        assert_eq!((&dppl["name"], &dppl["value"]), (&json!("DPPL"), &json!(0.5)));
        assert!(
            report
                .violations
                .iter()
                .any(|violation| violation.metric_name.as_deref() == Some("DPPL"))
        );
    }

    #[test]
    fn predictions_follow_from_probabilities() {
        let bench = Bench::new(MonitorType::ModelBias);
        let mut csv = "y,sex,p\n".to_owned();
        for row in 0..100 {
            let label = if row % 3 == 0 { "bad" } else { "good" };
            writeln!(
                csv,
                "{label},{},{}",
                ["f", "m"][row % 2],
                if row % 2 == 0 { 0.6 } else { 0.7 }
            )
            .unwrap();
        }
        bench.file("train.csv", &csv);
        let config = json!({
            "label": "y",
            "label_values_or_threshold": ["good"],
            "facet": {"name_or_index": 1},
            "probability": "p",
            "probability_threshold": 0.7,
            "bootstrap": {"resamples": 50, "seed": 3},
        });
        let (report, _) = bench.baseline(&config, "train.csv", None).unwrap();
        let analysis = content(&report, "analysis.json");
        let facets = &analysis["post_training_bias_metrics"]["facets"]["sex"];
        let value = |facet: usize, name: &str| {
            let metrics = facets[facet]["metrics"].as_array().unwrap();
            metrics.iter().find(|metric| metric["name"] == name).unwrap()["value"].clone()
        };
        assert_eq!(facets[0]["value_or_threshold"], "f");
        assert_eq!((value(0, "DI"), value(1, "DI")), (json!(0.0), json!("Infinity")));
        let intervals = content(&report, "intervals.json");
        let dpl = intervals["intervals"]
            .as_array()
            .unwrap()
            .iter()
            .find(|one| one["metric_name"] == "DPL");
        let dpl = dpl.unwrap();
        assert!(dpl["low"].as_f64().unwrap() < dpl["high"].as_f64().unwrap());
        assert!(
            metrics(&report)
                .keys()
                .any(|name| name == "bias_metric_DI Post-Training y good sex m")
        );
    }

    #[test]
    fn invalid_inputs_give_errors() {
        let bench = Bench::new(MonitorType::ModelBias);
        bench.file("train.csv", &loans(60, 10));
        let said = |change: &dyn Fn(&mut Value)| {
            let mut config = config();
            change(&mut config);
            bench
                .baseline(&config, "train.csv", None)
                .map(|_| ())
                .unwrap_err()
                .to_string()
        };
        let errors = [
            said(&|config| config["facet"] = json!([])),
            said(&|config| config["facet"] = json!([{"name": "sex"}])),
            said(&|config| config["facet"][0]["name_or_index"] = json!("age")),
            said(&|config| config["label"] = Value::Null),
            said(&|config| config["label_values_or_threshold"] = Value::Null),
            said(&|config| config["label_values_or_threshold"] = json!(["yes"])),
            said(&|config| config["methods"]["pre_training_bias"]["methods"] = json!(["CI", "FAIR"])),
            said(&|config| config["bootstrap"] = json!({"confidence": 95})),
            said(&|config| {
                config["predicted_label"] = Value::Null;
                config["probability"] = json!("income");
                config["probability_threshold"] = json!(100);
            }),
        ];
        insta::assert_json_snapshot!("bias_errors", errors);
    }
}

mod explainability {
    use super::*;

    #[test]
    fn given_local_values_are_aggregated() {
        let bench = Bench::new(MonitorType::ModelExplainability);
        bench.file("train.csv", "age,income,city\n-4,2,1\n4,-2,0\n,1,1\n");
        let config = json!({"methods": {"shap": {"agg_method": "mean_sq"}}});
        let (report, baseline) = bench.baseline(&config, "train.csv", None).unwrap();
        assert_eq!(report.item_count, 2);
        insta::assert_json_snapshot!("attributions", content(&report, "analysis.json"));
        bench.file("live.csv", "age,income,city\n0,1,-3\n0,1,3\n");
        let report = bench.analyze(&baseline, "live.csv", None, None).unwrap();
        insta::assert_json_snapshot!("attribution_violations", content(&report, "constraint_violations.json"));
        insta::assert_debug_snapshot!("attribution_metrics", metrics(&report));
        assert_eq!(
            bench.analyze(&baseline, "train.csv", None, None).unwrap().outcome(),
            Outcome::Clean
        );
        bench.file("other.csv", "age,income\n1,2\n");
        let error = bench
            .analyze(&baseline, "other.csv", None, None)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("feature `city` is missing in the live attributions"),
            "{error}"
        );
    }

    #[test]
    fn clarify_column_names_are_split() {
        let bench = Bench::new(MonitorType::ModelExplainability);
        bench.file(
            "out.csv",
            "age_label0,income_label0,age_label1,income_label1\n1,2,-1,-2\n",
        );
        let (report, _) = bench.baseline(&json!({}), "out.csv", None).unwrap();
        let labels = &content(&report, "analysis.json")["explanations"]["kernel_shap"];
        assert_eq!(
            labels["label1"]["global_shap_values"],
            json!({"age": 1.0, "income": 2.0})
        );
    }

    /// A linear model in CSV: 3 a + b, plus 10 if the string is `gold`.
    #[expect(clippy::unnecessary_wraps, reason = "as an endpoint, which may fail")]
    fn linear(request: &ModelRequest) -> Result<Vec<u8>, String> {
        assert_eq!(
            (request.content_type.as_str(), request.accept.as_str()),
            ("text/csv", "text/csv")
        );
        let body = String::from_utf8(request.body.clone()).unwrap();
        let mut answer = String::new();
        for line in body.lines() {
            let cells: Vec<&str> = line.split(',').collect();
            let number = |at: usize| cells[at].parse::<f64>().unwrap();
            let gold = if cells[2] == "gold" { 10.0 } else { 0.0 };
            writeln!(answer, "{}", 3.0 * number(0) + number(1) + gold).unwrap();
        }
        Ok(answer.into_bytes())
    }

    #[test]
    fn model_is_called_for_predictions() {
        let bench = Bench::new(MonitorType::ModelExplainability);
        bench.file("train.csv", "y,a,b,tier\n0,1,5,gold\n1,3,7,none\n");
        let config = json!({
            "label": "y",
            "methods": {"shap": {"baseline": [[1, 5, "none"]]}},
        });
        let (report, baseline) = bench.baseline(&config, "train.csv", Some(&mut linear)).unwrap();
        // For a linear model, a local value is its weight times the distance from the baseline.
        let explanation = &content(&report, "analysis.json")["explanations"]["kernel_shap"]["label0"];
        let near = |value: &Value, expected: f64| assert!((value.as_f64().unwrap() - expected).abs() < 1e-9, "{value}");
        near(&explanation["global_shap_values"]["a"], 3.0);
        near(&explanation["global_shap_values"]["b"], 1.0);
        near(&explanation["global_shap_values"]["tier"], 5.0);
        near(&explanation["expected_value"], 8.0);
        bench.file("live.csv", "y,a,b,tier\n0,1,5,none\n1,1,70,none\n");
        let report = bench.analyze(&baseline, "live.csv", None, Some(&mut linear)).unwrap();
        let ndcg = &content(&report, "attribution_drift.json")["labels"]["label0"];
        assert!(ndcg["ndcg"].as_f64().unwrap() < 0.9, "{ndcg}");
        assert_eq!(report.violations.len(), 1);
    }

    #[test]
    fn requests_and_responses_support_json() {
        let bench = Bench::new(MonitorType::ModelExplainability);
        bench.file(
            "train.jsonl",
            "{\"a\": 1, \"b\": 2}\n{\"a\": 3, \"b\": 2}\n{\"a\": 5, \"b\": 8}\n",
        );
        let mut asked = Vec::new();
        let mut run = |predictor: Value| {
            let mut model = |request: &ModelRequest| {
                asked.push(String::from_utf8(request.body.clone()).unwrap());
                let body: String = asked.last().unwrap().clone();
                let rows = body.matches("\"a\":").count()
                    + body
                        .matches('[')
                        .count()
                        .saturating_sub(usize::from(body.contains("instances")));
                let scores: Vec<Value> = (0..rows).map(|row| json!({"label": "x", "p": [row, 1]})).collect();
                Ok(json!({"predictions": scores}).to_string().into_bytes())
            };
            let config = json!({"predictor": predictor, "methods": {"shap": {"num_clusters": 1, "sample_rows": 1}}});
            bench
                .baseline(&config, "train.jsonl", Some(&mut model))
                .map(|(report, baseline)| (content(&report, "analysis.json"), baseline, report.notes))
        };
        let (analysis, baseline, notes) = run(json!({
            "content_type": "application/json",
            "probability": "predictions[*].p",
            "label_headers": ["no", 1],
        }))
        .unwrap();
        let labels = analysis["explanations"]["kernel_shap"].as_object().unwrap();
        assert_eq!(labels.keys().collect::<Vec<_>>(), ["1", "no"]);
        assert_eq!(
            notes,
            ["1 of 3 rows are explained, sampled with seed 0: `methods.shap.sample_rows` sets the number"]
        );
        // The execution uses the background of the baseline, not clusters of the new data.
        assert_eq!(
            baseline.config.unwrap().raw()["methods"]["shap"]["baseline"],
            json!([[3, 4]])
        );
        run(json!({
            "content_type": "application/jsonlines",
            "accept_type": "application/json",
            "content_template": "{\"x\":$features_kvp}",
            "probability": "p",
        }))
        .unwrap();
        assert_eq!(asked[0], r#"{"instances":[{"features":[3,4]}]}"#);
        assert!(asked.last().unwrap().starts_with(r#"{"x":{"a":3,"b":"#), "{asked:?}");
    }

    #[test]
    fn invalid_inputs_give_errors() {
        let bench = Bench::new(MonitorType::ModelExplainability);
        bench.file("train.csv", "a,b,tier\n1,2,gold\n2,3,none\n");
        let said = |config: Value, answer: &'static str| {
            let mut model = |_: &ModelRequest| Ok(answer.as_bytes().to_vec());
            let said = bench.baseline(&config, "train.csv", Some(&mut model));
            said.map(|_| ()).unwrap_err().to_string()
        };
        let shap = |shap: Value| json!({"methods": {"shap": shap}});
        let rows = json!([[1, 2, "none"]]);
        let errors = [
            said(json!({}), "1\n"),
            said(shap(json!({"baseline": []})), "1\n"),
            said(shap(json!({"baseline": [[1, 2]]})), "1\n"),
            said(shap(json!({"baseline": [[1, "x", "none"]]})), "1\n"),
            said(shap(json!({"baseline": rows})), "1\n2\n3\n"),
            said(shap(json!({"baseline": rows})), "yes\n"),
            said(shap(json!({"baseline": rows})), ""),
            said(shap(json!({"baseline": rows, "use_logit": true})), "1\n"),
            said(shap(json!({"baseline": rows, "num_samples": 1})), "1\n"),
            said(shap(json!({"baseline": rows, "agg_method": "mean"})), "1\n"),
            said(shap(json!({"baseline": "s3://bucket/rows.csv"})), "1\n"),
            said(
                json!({"predictor": {"content_type": "image/png"}, "methods": {"shap": {"baseline": rows}}}),
                "1\n",
            ),
            said(
                json!({"predictor": {"probability": 1}, "methods": {"shap": {"baseline": rows}}}),
                "1\n",
            ),
        ];
        insta::assert_json_snapshot!("explainability_errors", errors);
        let mut refusing = |_: &ModelRequest| Err("503 Service Unavailable".to_owned());
        let config = shap(json!({"baseline": rows}));
        let error = bench
            .baseline(&config, "train.csv", Some(&mut refusing))
            .unwrap_err()
            .to_string();
        assert_eq!(error, "the model failed: 503 Service Unavailable");
        bench.file("capture.jsonl", &captured(0, "1,2,gold", "0.5"));
        let error = bench.baseline(&config, "capture.jsonl", None).unwrap_err().to_string();
        assert!(error.starts_with("captured data contains no SHAP values"), "{error}");
    }
}

#[test]
fn invalid_configuration_names_its_keys() {
    let said = |text: &str| {
        AnalysisConfig::parse("analysis_config.json", text.as_bytes())
            .unwrap_err()
            .to_string()
    };
    let errors = [
        said("{"),
        said("[1]"),
        said(r#"{"methods": {"shap": {"num_samples": "many"}}}"#),
        said(r#"{"methods": {"shap": {"sample_rows": 0}}}"#),
        said(r#"{"headers": ["a", "a"]}"#),
        said(r#"{"estimate_without_labels": "yes"}"#),
        said(r#"{"predictor": {"label": 1.5}}"#),
    ];
    insta::assert_json_snapshot!("configuration_errors", errors);
}

#[test]
fn outcomes_cover_labeled_requests_since_time() {
    let line = |id: &str, time: &str, score: &str| {
        format!(
            r#"{{"captureData":{{"endpointInput":{{"data":"1","encoding":"CSV"}},"endpointOutput":{{"data":"{score}","encoding":"CSV"}}}},"eventMetadata":{{"eventId":"{id}","inferenceTime":"{time}"}},"eventVersion":"0"}}"#
        )
    };
    let lines = [
        line("before", "2026-11-23T10:29:59Z", "0.9"),
        line("right", "2026-11-23T10:30:00Z", "0.9"),
        line("wrong", "2026-11-23T10:31:00Z", "0.2"),
        line("late", "2026-11-23T10:32:00Z", "0.9"),
    ];
    let label = |id: &str| {
        format!(
            r#"{{"groundTruthData":{{"data":"1","encoding":"CSV"}},"eventMetadata":{{"eventId":"{id}"}},"eventVersion":"0"}}"#
        )
    };
    let truth = [label("before"), label("right"), label("wrong")].join("\n");
    let bench = Bench::new(MonitorType::ModelQuality);
    bench.file("labels.jsonl", &truth);
    bench.file("captured.jsonl", &lines.join("\n"));
    let truth = GroundTruth::read(vec![Object::file(&bench.path("labels.jsonl"))]).unwrap();
    let config = br#"{"problem_type": "BinaryClassification", "probability_attribute": "0"}"#;
    let config = AnalysisConfig::parse("analysis_config.json", config).unwrap();
    let job = ModelQualityJob::new(config.clone()).unwrap();
    let prediction = PredictionJob::new(MonitorType::ModelQuality, Some(config)).unwrap();
    let mut options = ReadOptions::default();
    options.capture.ground_truth = Some(Arc::new(truth));
    options.capture.since = Some("2026-11-23T10:30:00Z".parse().unwrap());
    prediction.prepare(&mut options);
    let captured = Object::file(&bench.path("captured.jsonl"));
    let dataset = read(vec![captured], &options, prediction.tables()).unwrap();
    assert_eq!(job.outcomes(&dataset).unwrap(), [1.0, 0.0]);
}
