//! The analyses as a custom container for SageMaker Processing and Model Monitor: environment, paths, and exit messages
//! of the documented contract.
//!
//! Source: developer guide, pages `model-monitor-byoc-contract-inputs`, `model-monitor-byoc-contract-outputs`,
//! `model-monitor-byoc-cloudwatch`, `build-your-own-processing-container`.

use crate::{
    job::{AnalysisConfig, Baseline, ConfigError, DataQualityJob, JobError, PredictionJob, Thresholds},
    object::Object,
    read::{CaptureColumns, Dataset, Header, OutputColumns, ReadError, ReadOptions, read},
    report::Report,
};
use analysis::{
    Profile,
    metric::{AnalysisMetric, MetricValue},
};
use model_monitor::MonitorType;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

/// Path of the exit message, relative to the root.
const MESSAGE: &str = "opt/ml/output/message";
/// Path of the metrics that SageMaker publishes, relative to the root.
const METRICS: &str = "opt/ml/output/metrics/cloudwatch/cloudwatch_metrics.jsonl";
/// Default folder of data and baselines.
const INPUT: &str = "opt/ml/processing/input/endpoint";
/// Default folder of the report.
const OUTPUT: &str = "opt/ml/processing/output";

/// Path of Clarify's configuration, relative to the root.
const CONFIG: &str = "opt/ml/processing/input/config/analysis_config.json";
/// Environment variables that configure model quality.
const ATTRIBUTES: [&str; 5] = [
    "problem_type",
    "inference_attribute",
    "probability_attribute",
    "probability_threshold_attribute",
    "ground_truth_attribute",
];

/// Reason for which the job failed: its exit message.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ContainerError(String);

impl From<ReadError> for ContainerError {
    fn from(error: ReadError) -> Self {
        Self(error.to_string())
    }
}

impl From<JobError> for ContainerError {
    fn from(error: JobError) -> Self {
        Self(error.to_string())
    }
}

impl From<ConfigError> for ContainerError {
    fn from(error: ConfigError) -> Self {
        Self(error.to_string())
    }
}

/// Value of `dataset_format`.
#[derive(Debug, Default, Deserialize)]
struct DatasetFormat {
    csv: Option<Csv>,
}

#[derive(Debug, Deserialize)]
struct Csv {
    header: Option<bool>,
    output_columns_position: Option<String>,
}

/// One line of the metrics file.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct MetricLine<'a> {
    metric_name: &'a str,
    timestamp: &'a str,
    dimensions: Vec<Dimension<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    statistic_values: Option<StatisticValues>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Dimension<'a> {
    name: &'a str,
    value: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct StatisticValues {
    sample_count: f64,
    sum: f64,
    minimum: f64,
    maximum: f64,
}

/// Runs the job that the environment describes, relative to a root folder (`/` in a container). Results go to files.
/// The exit message, also that of a failure, goes to `/opt/ml/output/message`.
///
/// `analysis_type` selects the analysis. Values other than `DATA_QUALITY` and `MODEL_QUALITY` are Driftwarden's
/// extensions. Without `baseline_constraints` the job creates a baseline. With it, the job compares the data with the
/// baseline.
///
/// # Errors
/// Fails if the environment, the data, or the baseline is unreadable or invalid, or if the output is not writable.
pub fn run(root: &Path, variable: impl Fn(&str) -> Option<String>) -> Result<String, ContainerError> {
    let result = job(root, &variable);
    let message = match &result {
        Ok(message) => message.clone(),
        Err(error) => error.0.clone(),
    };
    write(&root.join(MESSAGE), message.as_bytes())?;
    result
}

fn job(root: &Path, variable: &impl Fn(&str) -> Option<String>) -> Result<String, ContainerError> {
    let given = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
    let below = |name: &str, default: &str| {
        let path = given(name).unwrap_or_else(|| default.to_owned());
        root.join(path.trim_start_matches('/'))
    };
    let kind = match given("analysis_type").as_deref() {
        None | Some("DATA_QUALITY") => MonitorType::DataQuality,
        Some("MODEL_QUALITY") => MonitorType::ModelQuality,
        Some("MODEL_BIAS") => MonitorType::ModelBias,
        Some("MODEL_EXPLAINABILITY") => MonitorType::ModelExplainability,
        Some(other) => {
            return Err(ContainerError(format!(
                "analysis_type is `{other}`: expected DATA_QUALITY, MODEL_QUALITY, MODEL_BIAS, or MODEL_EXPLAINABILITY"
            )));
        }
    };
    let format = match given("dataset_format") {
        None => DatasetFormat::default(),
        Some(text) => serde_json::from_str(&text)
            .map_err(|error| ContainerError(format!("failed to parse dataset_format `{text}`: {error}")))?,
    };
    let baseline = baseline(root, kind, &given)?;
    let options = options(&format, baseline.as_ref());
    let source = below("dataset_source", INPUT);
    let mut files = Vec::new();
    files_below(&source, &mut files)?;
    let objects = files.iter().map(|path| Object::file(path)).collect();
    let report = if kind == MonitorType::DataQuality {
        data_quality(objects, &options, baseline.as_ref())?
    } else {
        predictions(kind, config(root, &given)?, objects, options, baseline.as_ref())?
    };
    let output = below("output_path", OUTPUT);
    for file in report.all_files() {
        write(&output.join(file.name), &file.content)?;
    }
    if given("publish_cloudwatch_metrics").as_deref() != Some("Disabled") && !report.metrics.is_empty() {
        write(&root.join(METRICS), &metrics(&report, &given)?)?;
    }
    for note in &report.notes {
        // Notes go to the log of the job. A failure to write the log is not an error.
        drop(writeln!(io::stderr(), "{note}"));
    }
    Ok(report.exit_message())
}

fn data_quality(
    objects: Vec<Object>,
    options: &ReadOptions,
    baseline: Option<&Baseline>,
) -> Result<Report, ContainerError> {
    let dataset: Dataset<Profile> = read(objects, options, Profile::default)?;
    let job = DataQualityJob::default();
    Ok(match baseline {
        Some(baseline) => job.analyze(&dataset, baseline)?.0,
        None => job.baseline(&dataset)?,
    })
}

/// Runs an analysis of predictions on a dataset, or on data that SageMaker has merged with ground truth.
fn predictions(
    kind: MonitorType,
    config: Option<AnalysisConfig>,
    objects: Vec<Object>,
    mut options: ReadOptions,
    baseline: Option<&Baseline>,
) -> Result<Report, ContainerError> {
    let job = PredictionJob::new(kind, config)?;
    if kind == MonitorType::ModelExplainability && job.config().calls_model() {
        return Err(ContainerError(
            "the configuration has a `predictor`, but the container does not call endpoints: provide local SHAP values"
                .to_owned(),
        ));
    }
    job.prepare(&mut options);
    let dataset = read(objects, &options, job.tables())?;
    Ok(match baseline {
        Some(baseline) => job.analyze(&dataset, None, baseline, None)?,
        None => job.baseline(&dataset, None, None, Thresholds::default())?,
    })
}

/// Configuration: Clarify's file, plus the environment variables of model quality.
fn config(root: &Path, given: &impl Fn(&str) -> Option<String>) -> Result<Option<AnalysisConfig>, ContainerError> {
    let path = root.join(CONFIG);
    let mut config = match fs::read(&path) {
        Ok(bytes) => {
            let config = AnalysisConfig::parse(&path.display().to_string(), &bytes)?;
            config.raw().as_object().cloned()
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(ContainerError(format!("failed to read {}: {error}", path.display()))),
    };
    for name in ATTRIBUTES {
        if let Some(text) = given(name) {
            // Only the threshold is a number among these keys.
            let number = text
                .parse::<f64>()
                .ok()
                .filter(|_| name.ends_with("threshold_attribute"));
            let value = number.map_or_else(|| json!(text), |number| json!(number));
            config.get_or_insert_default().insert(name.to_owned(), value);
        }
    }
    let Some(config) = config else { return Ok(None) };
    let bytes = Value::Object(config).to_string();
    Ok(Some(AnalysisConfig::parse("the environment", bytes.as_bytes())?))
}

fn options(format: &DatasetFormat, baseline: Option<&Baseline>) -> ReadOptions {
    let csv = format.csv.as_ref();
    ReadOptions {
        header: match csv.and_then(|csv| csv.header) {
            Some(true) => Header::Present,
            Some(false) => Header::Absent,
            None => Header::Auto,
        },
        expected: baseline.map(Baseline::columns).unwrap_or_default(),
        capture: CaptureColumns {
            output: match csv.and_then(|csv| csv.output_columns_position.as_deref()) {
                Some("END") => OutputColumns::End,
                _ => OutputColumns::Start,
            },
            ..CaptureColumns::default()
        },
        ..ReadOptions::default()
    }
}

/// Baseline that the environment names; `None` if it names none.
fn baseline(
    root: &Path,
    kind: MonitorType,
    given: &impl Fn(&str) -> Option<String>,
) -> Result<Option<Baseline>, ContainerError> {
    // Clarify uses an `analysis.json` as the constraints of bias and feature attributions.
    let constraints = match kind {
        MonitorType::ModelBias | MonitorType::ModelExplainability => "analysis.json",
        _ => "constraints.json",
    };
    let mut baseline = Baseline::default();
    let mut found = false;
    for (variable, name) in [
        ("baseline_constraints", constraints),
        ("baseline_statistics", "statistics.json"),
    ] {
        let Some(path) = given(variable) else { continue };
        let path = root.join(path.trim_start_matches('/'));
        let bytes = fs::read(&path)
            .map_err(|error| ContainerError(format!("{variable}: failed to read {}: {error}", path.display())))?;
        let object = path.display().to_string();
        baseline.add(name, &object, &bytes)?;
        found = true;
    }
    Ok(found.then_some(baseline))
}

/// Collects all files in a folder, recursively, or the file itself, ordered by path.
fn files_below(path: &Path, files: &mut Vec<PathBuf>) -> Result<(), ContainerError> {
    let failed =
        |error: io::Error| ContainerError(format!("dataset_source: failed to read {}: {error}", path.display()));
    if path.is_file() {
        files.push(path.to_owned());
        return Ok(());
    }
    let entries = fs::read_dir(path).map_err(failed)?;
    let mut entries: Vec<PathBuf> = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()
        .map_err(failed)?;
    entries.sort();
    for entry in entries {
        files_below(&entry, files)?;
    }
    Ok(())
}

/// Metrics as lines that SageMaker publishes.
fn metrics(report: &Report, given: &impl Fn(&str) -> Option<String>) -> Result<Vec<u8>, ContainerError> {
    let monitor = [
        ("Endpoint", given("sagemaker_endpoint_name")),
        ("MonitoringSchedule", given("sagemaker_monitoring_schedule_name")),
    ];
    let timestamp = given("end_time").or_else(|| given("start_time")).unwrap_or_default();
    let mut lines = Vec::new();
    for metric in &report.metrics {
        let AnalysisMetric {
            name,
            dimensions,
            value,
        } = metric;
        let of_monitor = monitor.iter().filter_map(|(name, value)| {
            let value = value.as_deref()?;
            Some(Dimension { name, value })
        });
        let own = dimensions.iter().map(|(name, value)| Dimension { name, value });
        let (value, statistic_values) = match *value {
            MetricValue::Value(value) => (Some(value), None),
            MetricValue::StatisticSet {
                sample_count,
                sum,
                minimum,
                maximum,
            } => {
                let set = StatisticValues {
                    sample_count,
                    sum,
                    minimum,
                    maximum,
                };
                (None, Some(set))
            }
        };
        let line = MetricLine {
            metric_name: name,
            timestamp: &timestamp,
            dimensions: of_monitor.chain(own).collect(),
            value,
            statistic_values,
        };
        serde_json::to_writer(&mut lines, &line).map_err(|error| ContainerError(error.to_string()))?;
        lines.push(b'\n');
    }
    Ok(lines)
}

fn write(path: &Path, content: &[u8]) -> Result<(), ContainerError> {
    let folder = path.parent().unwrap_or(path);
    fs::create_dir_all(folder)
        .and_then(|()| fs::write(path, content))
        .map_err(|error| ContainerError(format!("failed to write {}: {error}", path.display())))
}
