//! An analysis from its inputs to its report: what the CLI, the Lambda function and the container have in common.

mod bias;
mod columns;
pub mod config;
mod data_quality;
mod explainability;
mod left_out;
mod model_quality;
mod prediction;
mod predictor;

pub use bias::BiasJob;
pub use config::{ANALYSIS_CONFIG, AnalysisConfig, ConfigError};
pub use data_quality::{Compared, DataQualityJob};
pub use explainability::ExplainabilityJob;
pub use model_quality::{CALIBRATION, ModelQualityJob};
pub use prediction::PredictionJob;
pub use predictor::{Invoke, ModelRequest};

use crate::{
    findings::Findings,
    ground_truth::GroundTruth,
    read::{Dataset, ReadError},
    report::{ReportFile, json},
    table::{MAX_CELLS, Table},
};
use analysis::{
    attribution::AttributionError,
    bias::SelectionError,
    data_quality::Options,
    model_quality::{Calibration, ModelQualityError},
};
use model_monitor::{Analysis, Constraints, Limits, MonitorType, ParseError, Statistics};

/// Why an analysis failed.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// A dataset cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A file of the baseline cannot be read.
    #[error("the baseline: {0}")]
    Baseline(#[from] ParseError),
    /// A file of the baseline is missing.
    #[error("the baseline has no {0}: run `driftwarden baseline` first, or say where it is")]
    Missing(&'static str),
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// There are no metrics of model quality.
    #[error(transparent)]
    ModelQuality(#[from] ModelQualityError),
    /// There is no bias report.
    #[error(transparent)]
    Bias(#[from] SelectionError),
    /// There are no global attributions, or they cannot be compared.
    #[error(transparent)]
    Attribution(#[from] AttributionError),
    /// The data cannot be analysed like that.
    #[error("{0}")]
    Data(String),
}

/// The files of a baseline, as far as there are.
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
}

/// The files that make a baseline.
pub const BASELINE_FILES: [&str; 5] = [
    "constraints.json",
    "statistics.json",
    "analysis.json",
    ANALYSIS_CONFIG,
    CALIBRATION,
];

/// Files of a baseline are read up to this size: a sketch of each of thousands of columns is large.
const LIMITS: Limits = Limits {
    max_bytes: 512 << 20,
    max_entries: 100_000,
    max_values: 100_000_000,
};

impl Baseline {
    /// Takes a file of the baseline; `name` is one of [`BASELINE_FILES`], `object` what errors call it.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn add(&mut self, name: &str, object: &str, bytes: &[u8]) -> Result<(), JobError> {
        match name {
            "constraints.json" => self.constraints = Some(Constraints::parse(object, bytes, &LIMITS)?),
            "statistics.json" => self.statistics = Some(Statistics::parse(object, bytes, &LIMITS)?),
            "analysis.json" => self.analysis = Some(Analysis::parse(object, bytes, &LIMITS)?),
            ANALYSIS_CONFIG => self.config = Some(AnalysisConfig::parse(object, bytes)?),
            CALIBRATION => {
                let calibration = serde_json::from_slice(bytes);
                let unreadable = |error| JobError::Data(format!("the baseline: {object} cannot be read: {error}"));
                self.calibration = Some(calibration.map_err(unreadable)?);
            }
            _ => {}
        }
        Ok(())
    }

    /// Which analyses its files are a baseline of.
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
                constraints.is_some_and(|file| model_quality::problem_of(file).is_some()),
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

    /// The columns of the baseline, in their order.
    pub fn columns(&self) -> Vec<String> {
        let features = self
            .constraints
            .iter()
            .filter_map(|constraints| constraints.features.as_ref());
        features.flatten().map(|feature| feature.name.clone()).collect()
    }
}

/// What people should know of a dataset.
fn notes<S>(dataset: &Dataset<S>) -> Vec<String> {
    let mut notes = dataset.findings.lines();
    if dataset.incomplete > 0 {
        notes.push(format!(
            "{} captured requests were left out: they have neither request nor response, or no label",
            dataset.incomplete
        ));
    }
    notes
}

/// How data quality is checked, where its constraints do not say.
pub type DataQualityOptions = Options;

/// Whether rows of a dataset had more cells than there are columns.
fn has_long_rows(findings: &Findings) -> bool {
    findings.count(crate::findings::Kind::LongRow) > 0
}

/// What people should know of the labels.
fn truth_notes(truth: Option<&GroundTruth>) -> Vec<String> {
    let Some(truth) = truth else { return Vec::new() };
    let merged = truth.merged();
    let lines = truth.findings.lines().into_iter();
    let mut notes: Vec<String> = lines.map(|line| format!("ground truth: {line}")).collect();
    let requests = merged.matched + merged.unlabelled;
    for (what, count) in [
        (
            format!("requests, of {requests}, that have no label yet"),
            merged.unlabelled,
        ),
        (
            "labels that belong to no request of this window".to_owned(),
            merged.unused,
        ),
        (
            "labels that came after another one of the same id, and count instead of it".to_owned(),
            truth.repeated,
        ),
    ] {
        if count > 0 {
            notes.push(format!("ground truth: {what}: {count}"));
        }
    }
    notes
}

/// Refuses a table that rows were left out of.
fn not_full(table: &Table) -> Result<(), JobError> {
    if table.is_full() {
        return Err(JobError::Data(format!(
            "the dataset has more than {MAX_CELLS} cells in the {} columns that are needed, and no analysis is made of a \
             part of it: analyse a shorter window, or a sample",
            table.names().len()
        )));
    }
    Ok(())
}

/// The configuration, to lie beside a baseline.
fn config_file(config: &AnalysisConfig) -> ReportFile {
    ReportFile {
        name: ANALYSIS_CONFIG,
        content: json(config.raw()),
    }
}
