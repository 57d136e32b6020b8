//! An analysis from its inputs to its report: shared by the CLI, the `analyze` function, and the container.

mod bias;
mod columns;
pub mod config;
mod data_quality;
mod dropped_rows;
mod explainability;
mod model_quality;
mod prediction;
mod predictor;
mod spelling;

pub use bias::BiasJob;
pub use config::{ANALYSIS_CONFIG, AnalysisConfig, ConfigError};
pub use data_quality::{BaselineComparison, DataQualityJob};
pub use explainability::ExplainabilityJob;
pub use model_quality::{CALIBRATION, ModelQualityJob};
pub use prediction::PredictionJob;
pub use predictor::{Invoke, ModelRequest};

use crate::{
    findings::Findings,
    labels::GroundTruth,
    read::{Dataset, ReadError},
    report::{ReportFile, json},
    table::{MAX_CELLS, Table},
};
use analysis::{
    attribution::AttributionError,
    bias::SelectionError,
    data_quality::Options,
    model_quality::{Calibration, ModelQualityError},
    tolerance::{DEFAULT_ROWS_PER_EXECUTION, Tolerance},
};
use model_monitor::{Analysis, Constraints, Limits, MonitorType, ParseError, Statistics};
use serde::de::DeserializeOwned;

/// Reason for which an analysis failed.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// A dataset is unreadable.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A file of the baseline is unreadable.
    #[error("baseline: {0}")]
    Baseline(#[from] ParseError),
    /// A file of the baseline is missing.
    #[error(
        "the baseline has no {0}: create a baseline with `driftwarden baseline`, or pass the folder that contains \
             it"
    )]
    Missing(&'static str),
    /// The configuration is invalid.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Model quality metrics are not computable.
    #[error(transparent)]
    ModelQuality(#[from] ModelQualityError),
    /// The bias report is not computable.
    #[error(transparent)]
    Bias(#[from] SelectionError),
    /// Global attributions are not computable or not comparable.
    #[error(transparent)]
    Attribution(#[from] AttributionError),
    /// The data does not fit the analysis.
    #[error("{0}")]
    Data(String),
}

/// Files of a baseline; each may be absent.
#[derive(Debug, Clone, Default)]
pub struct Baseline {
    /// `constraints.json`.
    pub constraints: Option<Constraints>,
    /// `statistics.json`.
    pub statistics: Option<Statistics>,
    /// `analysis.json`.
    pub analysis: Option<Analysis>,
    /// `analysis_config.json`.
    pub config: Option<AnalysisConfig>,
    /// `calibration.json`.
    pub calibration: Option<Calibration>,
    /// `tolerance.json`.
    pub tolerance: Option<Tolerance>,
}

/// Names of the files of a baseline.
pub const BASELINE_FILES: [&str; 6] = [
    "constraints.json",
    "statistics.json",
    "analysis.json",
    ANALYSIS_CONFIG,
    CALIBRATION,
    TOLERANCE,
];

/// How far an execution may be from the baseline by chance, in the folder of the baseline.
pub const TOLERANCE: &str = "tolerance.json";

/// Limits for files of a baseline. They are high, because the sketches of thousands of columns are large.
const LIMITS: Limits = Limits {
    max_bytes: 512 << 20,
    max_entries: 100_000,
    max_values: 100_000_000,
};

impl Baseline {
    /// Adds a file of the baseline. `name` is one of [`BASELINE_FILES`]; `object` is its name in errors.
    ///
    /// # Errors
    /// Fails if the file is unreadable or invalid.
    pub fn add(&mut self, name: &str, object: &str, bytes: &[u8]) -> Result<(), JobError> {
        match name {
            "constraints.json" => self.constraints = Some(Constraints::parse(object, bytes, &LIMITS)?),
            "statistics.json" => self.statistics = Some(Statistics::parse(object, bytes, &LIMITS)?),
            "analysis.json" => self.analysis = Some(Analysis::parse(object, bytes, &LIMITS)?),
            ANALYSIS_CONFIG => self.config = Some(AnalysisConfig::parse(object, bytes)?),
            CALIBRATION => self.calibration = Some(own_file(object, bytes)?),
            TOLERANCE => {
                let tolerance: Tolerance = own_file(object, bytes)?;
                if tolerance.version != Tolerance::VERSION {
                    return Err(JobError::Data(format!(
                        "baseline: {object} has version {}: expected {}; update driftwarden, or delete the file to apply the \
                         thresholds of the constraints as they are",
                        tolerance.version,
                        Tolerance::VERSION
                    )));
                }
                self.tolerance = Some(tolerance);
            }
            _ => {}
        }
        Ok(())
    }

    /// Analyses that the files can serve as a baseline for.
    pub fn monitor_types(&self) -> Vec<MonitorType> {
        let constraints = self.constraints.as_ref();
        let analysis = self.analysis.as_ref();
        let bias = |analysis: &Analysis| {
            analysis.pre_training_bias_metrics.is_some() || analysis.post_training_bias_metrics.is_some()
        };
        let found = [
            (
                MonitorType::DataQuality,
                constraints.is_some_and(|file| file.features.is_some()),
            ),
            (
                MonitorType::ModelQuality,
                constraints.is_some_and(|file| model_quality::problem_type(file).is_some()),
            ),
            (MonitorType::ModelBias, analysis.is_some_and(bias)),
            (
                MonitorType::ModelExplainability,
                analysis.is_some_and(|file| file.explanations.is_some()),
            ),
        ];
        found
            .into_iter()
            .filter(|(_, is_one)| *is_one)
            .map(|(kind, _)| kind)
            .collect()
    }

    /// How the thresholds of the baseline that replaces this one are made: like those of this one.
    pub fn thresholds(&self) -> Thresholds {
        match &self.tolerance {
            Some(tolerance) => Thresholds::Tolerant {
                rows_per_execution: tolerance.rows_per_execution,
            },
            None if self.constraints.is_some() || self.analysis.is_some() => Thresholds::Exact,
            None => Thresholds::default(),
        }
    }

    /// Columns of the baseline, in order.
    pub fn columns(&self) -> Vec<String> {
        let features = self
            .constraints
            .iter()
            .filter_map(|constraints| constraints.features.as_ref());
        features.flatten().map(|feature| feature.name.clone()).collect()
    }
}

/// Parses a file of a baseline that Driftwarden alone writes.
fn own_file<T: DeserializeOwned>(object: &str, bytes: &[u8]) -> Result<T, JobError> {
    let unreadable = |error| JobError::Data(format!("baseline: failed to read {object}: {error}"));
    serde_json::from_slice(bytes).map_err(unreadable)
}

/// How the thresholds of a baseline are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Thresholds {
    /// Exactly as Model Monitor and Clarify make them: each execution that is worse than the baseline violates them.
    Exact,
    /// With a tolerance for executions of this number of rows, and a file from which the tolerance for other numbers follows.
    Tolerant {
        /// Number of rows.
        rows_per_execution: u64,
    },
}

impl Default for Thresholds {
    fn default() -> Self {
        Self::Tolerant {
            rows_per_execution: DEFAULT_ROWS_PER_EXECUTION,
        }
    }
}

/// Notes about a dataset, for the report.
fn notes<S>(dataset: &Dataset<S>) -> Vec<String> {
    let mut notes = dataset.findings.lines();
    if dataset.incomplete > 0 {
        notes.push(format!(
            "captured requests without data or without a label, ignored: {}",
            dataset.incomplete
        ));
    }
    notes
}

/// Number of notes that an error repeats.
const MAX_REASONS: usize = 3;

impl JobError {
    /// Adds the first notes about the data: often they are the reason.
    fn with_notes(self, notes: &[String]) -> Self {
        match self {
            Self::Data(message) if !notes.is_empty() && !notes.iter().any(|note| message.contains(note.as_str())) => {
                let first: Vec<&str> = notes.iter().take(MAX_REASONS).map(String::as_str).collect();
                Self::Data(format!("{message} ({})", first.join("; ")))
            }
            other => other,
        }
    }
}

/// Options of the data quality checks; used where the constraints do not set them.
pub type DataQualityOptions = Options;

/// Whether rows of a dataset had more cells than there are columns.
fn has_long_rows(findings: &Findings) -> bool {
    findings.count(crate::findings::Kind::LongRow) > 0
}

/// Notes about the labels, for the report.
fn truth_notes(truth: Option<&GroundTruth>) -> Vec<String> {
    let Some(truth) = truth else { return Vec::new() };
    let merged = truth.merged();
    let lines = truth.findings.lines().into_iter();
    let mut notes: Vec<String> = lines.map(|line| format!("ground truth: {line}")).collect();
    let requests = merged.matched + merged.unlabeled;
    for (what, count) in [
        (
            format!("requests without a label yet, out of {requests}"),
            merged.unlabeled,
        ),
        ("labels that match no request of this window".to_owned(), merged.unused),
        (
            "labels that replace an earlier label with the same ID".to_owned(),
            truth.repeated,
        ),
    ] {
        if count > 0 {
            notes.push(format!("ground truth: {what}: {count}"));
        }
    }
    notes
}

/// Notes about the dataset and its labels.
fn data_notes(dataset: &Dataset<Table>, truth: Option<&GroundTruth>) -> Vec<String> {
    let mut notes = notes(dataset);
    notes.extend(truth_notes(truth));
    notes
}

/// Notes about the dataset, its labels, and the configuration.
fn all_notes(dataset: &Dataset<Table>, truth: Option<&GroundTruth>, config: &AnalysisConfig) -> Vec<String> {
    let mut notes = data_notes(dataset, truth);
    notes.extend(config_notes(config, &dataset.sink));
    notes
}

/// Notes about the configuration: misspelled keys, and names that do not fit the columns of the dataset.
fn config_notes(config: &AnalysisConfig, table: &Table) -> Vec<String> {
    let mut notes = spelling::CONFIG.misspelled(ANALYSIS_CONFIG, config.raw());
    let headers = config.headers.len();
    let unnamed = format!("_c{headers}");
    let has_more = table.names().contains(&unnamed) || table.others().any(|name| name == unnamed);
    if headers > 0 && has_more {
        notes.push(format!(
            "`headers` in {ANALYSIS_CONFIG} has {headers} names, but the dataset has more columns: the others are named by their \
             position, such as `{unnamed}`"
        ));
    }
    notes
}

/// Rejects a table that rows were dropped from.
fn not_full(table: &Table) -> Result<(), JobError> {
    if table.is_full() {
        return Err(JobError::Data(format!(
            "the dataset has more than {MAX_CELLS} cells in the {} required columns: analyze a shorter window or a \
             sample",
            table.names().len()
        )));
    }
    Ok(())
}

/// The tolerance, to lie beside a baseline.
fn tolerance_file(tolerance: &Tolerance) -> ReportFile {
    ReportFile {
        name: TOLERANCE,
        content: json(tolerance),
    }
}

/// The configuration, to lie beside a baseline.
fn config_file(config: &AnalysisConfig) -> ReportFile {
    ReportFile {
        name: ANALYSIS_CONFIG,
        content: json(config.raw()),
    }
}
