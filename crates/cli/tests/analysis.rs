//! `driftwarden baseline` and `analyze`: the four analyses on files, on S3 in memory, and with predictions of a model.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use clap::Parser as _;
use cli::{AwsTargets, Cli, Environment, Exit, Streams};
use serde_json::{Value, json};
use shell::memory::Memory;
use std::{fmt::Write as _, fs, path::Path, sync::Arc};
use tempfile::TempDir;

/// A folder, and S3 in memory.
struct Bench {
    folder: TempDir,
    aws: Arc<Memory>,
}

impl Environment for Bench {
    type Clients = Memory;

    fn variable(&self, _: &str) -> Option<String> {
        None
    }

    async fn connect(&self, _: AwsTargets) -> Result<Arc<Memory>, String> {
        Ok(Arc::clone(&self.aws))
    }
}

impl Bench {
    fn new() -> Self {
        Self {
            folder: TempDir::new().unwrap(),
            aws: Arc::new(Memory::at("2026-11-23T03:15:00Z".parse().unwrap())),
        }
    }

    fn file(&self, name: &str, content: &str) {
        let path = self.folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// Runs a command. Words that start with `@` are paths below the folder.
    fn run(&self, line: &str) -> (Exit, String) {
        let root = self.folder.path().display().to_string();
        let words = line.split(' ').map(|word| match word.strip_prefix('@') {
            Some(name) => Path::new(&root).join(name).display().to_string(),
            None => word.to_owned(),
        });
        let cli = Cli::parse_from(["driftwarden".to_owned()].into_iter().chain(words));
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let streams = Streams {
            input: &mut [].as_slice(),
            out: &mut out,
            err: &mut err,
        };
        let exit = cli.run_in(streams, self);
        let text = String::from_utf8([out, err].concat()).unwrap();
        (exit, text.replace(&format!("{root}/"), "@"))
    }

    fn json(&self, name: &str) -> Value {
        serde_json::from_slice(&fs::read(self.folder.path().join(name)).unwrap()).unwrap()
    }
}

/// Scores of two regions. One in `wrong` rows is wrong.
fn scored(rows: usize, wrong: usize) -> String {
    let mut csv = "region,score,truth\n".to_owned();
    for row in 0..rows {
        let truth = row % 2;
        let score = if (truth == 1) == (row % wrong == 3) { 0.2 } else { 0.8 };
        let region = ["north", "south", "south"][row % 3];
        writeln!(csv, "{region},{score},{truth}").unwrap();
    }
    csv
}

#[test]
fn model_quality_with_labels_in_dataset() {
    let bench = Bench::new();
    bench.file("then.csv", &scored(400, 20));
    bench.file("now.csv", &scored(400, 5));
    let config = json!({
        "problem_type": "BinaryClassification", "probability_attribute": "score",
        "probability_threshold_attribute": 0.5, "ground_truth_attribute": "truth",
    });
    bench.file("config.json", &config.to_string());
    let (exit, output) =
        bench.run("baseline @then.csv --monitor-type ModelQuality --config @config.json --output @baseline");
    assert_eq!(exit, Exit::Done, "{output}");
    insta::assert_snapshot!(output);
    // The monitor type is detected from the files of the baseline.
    let (exit, output) = bench.run("analyze @now.csv --baseline @baseline --output @report");
    assert_eq!(exit, Exit::Violations, "{output}");
    insta::assert_snapshot!(output);
    let violations = bench.json("report/constraint_violations.json");
    assert_eq!(violations["violations"][0]["metric_name"], "accuracy");
    // The data of the baseline are clean.
    let (exit, output) = bench.run("analyze @then.csv --baseline @baseline --output @report");
    assert_eq!(exit, Exit::Done, "{output}");
    assert!(!bench.folder.path().join("report/constraint_violations.json").exists());
}

#[test]
fn model_quality_with_captured_data_and_ground_truth_in_s3() {
    let bench = Bench::new();
    bench.file("then.csv", &scored(400, 20));
    let config = json!({
        "problem_type": "BinaryClassification", "probability_attribute": "score",
        "probability_threshold_attribute": 0.5, "ground_truth_attribute": "truth",
    });
    bench.file("config.json", &config.to_string());
    let (exit, output) =
        bench.run("baseline @then.csv --monitor-type ModelQuality --config @config.json --output s3://data/baseline");
    assert_eq!(exit, Exit::Done, "{output}");
    let (mut capture, mut truth) = (String::new(), String::new());
    for id in 0..300 {
        let output = json!({"observedContentType": "text/csv", "mode": "OUTPUT", "encoding": "CSV",
            "data": if id % 2 == 0 { "0.2" } else { "0.8" }});
        let metadata = json!({"eventId": format!("{id}"), "inferenceTime": "2026-11-23T02:20:00Z"});
        let request =
            json!({"captureData": {"endpointOutput": output}, "eventMetadata": metadata, "eventVersion": "0"});
        writeln!(capture, "{request}").unwrap();
        if id % 10 != 0 {
            let data = json!({"data": if id % 3 == 0 { "1" } else { "0" }, "encoding": "CSV"});
            let label =
                json!({"groundTruthData": data, "eventMetadata": {"eventId": format!("{id}")}, "eventVersion": "0"});
            writeln!(truth, "{label}").unwrap();
        }
    }
    bench.aws.put_object("s3://data/capture/02/a.jsonl", capture);
    bench.aws.put_object("s3://data/truth/02/a.jsonl", truth);
    // Captured data have another name for the prediction than the dataset of the baseline.
    let live = json!({
        "problem_type": "BinaryClassification", "probability_attribute": "0",
        "probability_threshold_attribute": 0.5,
    });
    bench.file("live.json", &live.to_string());
    let (exit, output) = bench.run(
        "analyze s3://data/capture --ground-truth s3://data/truth --config @live.json --baseline s3://data/baseline \
         --output s3://data/report",
    );
    assert_eq!(exit, Exit::Violations, "{output}");
    assert!(output.contains("ModelQuality: 270 rows, "), "{output}");
    assert!(
        output.contains("requests without a label yet, out of 300: 30"),
        "{output}"
    );
    assert!(
        output.contains("s3://data/report/constraint_violations.json"),
        "{output}"
    );
}

#[test]
fn clean_analysis_replaces_violation_report_in_s3() {
    let bench = Bench::new();
    bench.file("then.csv", &scored(400, 20));
    let (exit, output) = bench.run("baseline @then.csv --output s3://data/baseline");
    assert_eq!(exit, Exit::Done, "{output}");
    let (left, untouched) = (
        "s3://data/report/constraint_violations.json",
        "s3://data/new/constraint_violations.json",
    );
    bench
        .aws
        .put_object(left, r#"{"violations": [{"feature_name": "score"}]}"#);
    for folder in ["report", "new"] {
        let command = format!("analyze @then.csv --baseline s3://data/baseline --output s3://data/{folder}");
        let (exit, output) = bench.run(&command);
        assert_eq!(exit, Exit::Done, "{output}");
    }
    let report: Value = serde_json::from_slice(&bench.aws.object(left).unwrap()).unwrap();
    assert_eq!(report, json!({"violations": []}));
    assert_eq!(bench.aws.object(untouched), None);
}

#[test]
fn bias_of_facet() {
    let bench = Bench::new();
    let loans = |favoured: usize| {
        let mut csv = "sex,granted\n".to_owned();
        for row in 0..6_000 {
            let sex = ["f", "m"][row % 2];
            let granted = u8::from(row % 10 < if sex == "m" { favoured } else { 5 });
            writeln!(csv, "{sex},{granted}").unwrap();
        }
        csv
    };
    bench.file("then.csv", &loans(5));
    bench.file("now.csv", &loans(10));
    let config = json!({
        "label": "granted", "label_values_or_threshold": [1],
        "facet": [{"name_or_index": "sex", "value_or_threshold": ["f"]}],
    });
    bench.file("config.json", &config.to_string());
    let (exit, output) =
        bench.run("baseline @then.csv --monitor-type ModelBias --config @config.json --output @baseline");
    assert_eq!(exit, Exit::Done, "{output}");
    let (exit, output) = bench.run("analyze @now.csv --baseline @baseline --output @report");
    assert_eq!(exit, Exit::Violations, "{output}");
    assert!(output.contains("DPL"), "{output}");
    let analysis = bench.json("report/analysis.json");
    let metrics = &analysis["pre_training_bias_metrics"]["facets"]["sex"][0]["metrics"];
    assert!(
        metrics.as_array().unwrap().iter().any(|metric| metric["name"] == "DPL"),
        "{metrics}"
    );
}

/// A model with CSV requests: three times the first number plus the second.
fn linear(body: &[u8]) -> Vec<u8> {
    let body = String::from_utf8(body.to_vec()).unwrap();
    let mut answer = String::new();
    for line in body.lines() {
        let numbers: Vec<f64> = line.split(',').map(|cell| cell.parse().unwrap()).collect();
        writeln!(answer, "{}", 3.0 * numbers[0] + numbers[1]).unwrap();
    }
    answer.into_bytes()
}

#[test]
fn feature_attributions_with_endpoint() {
    let bench = Bench::new();
    bench.aws.put_model("churn", linear);
    bench.aws.put_model("http://localhost:8080/invocations", |body| {
        // Another model: the second number has ten times the weight.
        let body = String::from_utf8(body.to_vec()).unwrap();
        let scaled = body.lines().map(|line| {
            let (first, second) = line.split_once(',').unwrap();
            format!("{first},{}\n", 10.0 * second.parse::<f64>().unwrap())
        });
        linear(scaled.collect::<String>().as_bytes())
    });
    bench.file("rows.csv", "y,a,b\n0,1,5\n1,3,7\n0,2,2\n1,4,1\n");
    let config =
        json!({"label": "y", "methods": {"shap": {"baseline": [[0, 0]]}}, "predictor": {"content_type": "text/csv"}});
    bench.file("config.json", &config.to_string());
    let command = "baseline @rows.csv --monitor-type ModelExplainability --config @config.json --output @baseline";
    let (exit, output) = bench.run(command);
    assert_eq!(exit, Exit::Usage, "{output}");
    let (exit, output) = bench.run(&format!("{command} --endpoint churn"));
    assert_eq!(exit, Exit::Done, "{output}");
    let global =
        bench.json("baseline/analysis.json")["explanations"]["kernel_shap"]["label0"]["global_shap_values"].clone();
    assert!((global["a"].as_f64().unwrap() - 7.5).abs() < 1e-9, "{global}");
    let (exit, output) = bench.run("analyze @rows.csv --endpoint churn --baseline @baseline --output @report");
    assert_eq!(exit, Exit::Done, "{output}");
    let other =
        "analyze @rows.csv --endpoint-url http://localhost:8080/invocations --baseline @baseline --output @report";
    let (exit, output) = bench.run(other);
    assert_eq!(exit, Exit::Violations, "{output}");
    assert!(output.contains("feature_attribution_drift_check"), "{output}");
    // The error names an endpoint that does not exist.
    let (exit, output) = bench.run("analyze @rows.csv --endpoint gone --baseline @baseline --output @report");
    assert_eq!(exit, Exit::Failed, "{output}");
    assert!(output.contains("sagemaker:InvokeEndpoint on `gone` failed"), "{output}");
}

#[test]
fn rejects_incompatible_options() {
    let bench = Bench::new();
    bench.file("then.csv", &scored(40, 20));
    bench.file("config.json", "{}");
    let output = |line: &str| {
        let (exit, output) = bench.run(line);
        format!("exit {} {output}", exit as u8)
    };
    let (exit, _) = bench.run("baseline @then.csv --output @baseline");
    assert_eq!(exit, Exit::Done);
    let answers = [
        output("baseline @then.csv --config @config.json --output @out"),
        output("baseline @then.csv --monitor-type ModelBias --output @out"),
        output("baseline @then.csv --monitor-type ModelQuality --config @none.json --output @out"),
        output(
            "analyze @then.csv --monitor-type ModelBias --config @config.json --baseline @baseline --html --output @out",
        ),
        output("analyze @then.csv --monitor-type ModelExplainability --baseline @baseline --output @out"),
        output("analyze @then.csv --endpoint churn --baseline @baseline --output @out"),
    ];
    insta::assert_snapshot!(answers.concat());
}
