//! Analyses of predictions, row by row, and the columns that they need.

use super::{
    Baseline, BiasJob, ExplainabilityJob, Invoke, JobError, ModelQualityJob, Thresholds,
    columns::{request_columns, wanted},
    config::{AnalysisConfig, ConfigError},
    data_notes,
};
use crate::{
    labels::GroundTruth,
    read::{Dataset, ReadOptions},
    report::Report,
    table::Table,
};
use analysis::bias::Metric;
use model_monitor::MonitorType;
use std::{collections::BTreeSet, sync::Arc};

/// Analysis of predictions.
#[derive(Debug, Clone)]
pub enum PredictionJob {
    /// Comparison with ground truth.
    ModelQuality(ModelQualityJob),
    /// Comparison of groups.
    Bias(BiasJob),
    /// Feature attributions.
    Explainability(ExplainabilityJob),
}

impl PredictionJob {
    /// Creates the analysis of a monitor type.
    ///
    /// # Errors
    /// Fails if the type does not analyze predictions (data quality, custom), or if a required configuration or one of
    /// its keys is missing.
    pub fn new(monitor_type: MonitorType, config: Option<AnalysisConfig>) -> Result<Self, JobError> {
        let needed = || config.clone().ok_or(ConfigError::None(monitor_type));
        match monitor_type {
            MonitorType::ModelQuality => Ok(Self::ModelQuality(ModelQualityJob::new(needed()?)?)),
            MonitorType::ModelBias => Ok(Self::Bias(BiasJob::new(needed()?)?)),
            // Local SHAP values need no configuration.
            MonitorType::ModelExplainability => {
                let config = config.unwrap_or_default();
                Ok(Self::Explainability(ExplainabilityJob::new(config)))
            }
            MonitorType::DataQuality | MonitorType::Custom => {
                Err(JobError::Data(format!("{monitor_type} does not analyze predictions")))
            }
        }
    }

    /// Monitor type of the analysis.
    pub fn monitor_type(&self) -> MonitorType {
        match self {
            Self::ModelQuality(_) => MonitorType::ModelQuality,
            Self::Bias(_) => MonitorType::ModelBias,
            Self::Explainability(_) => MonitorType::ModelExplainability,
        }
    }

    /// Configuration of the analysis.
    pub fn config(&self) -> &AnalysisConfig {
        match self {
            Self::ModelQuality(job) => job.config(),
            Self::Bias(job) => job.config(),
            Self::Explainability(job) => job.config(),
        }
    }

    /// Whether the analysis uses labels.
    pub fn uses_ground_truth(&self) -> bool {
        !matches!(self, Self::Explainability(_))
    }

    /// Sets how to read a dataset for the analysis: columns are named by the headers, and captured requests are joined
    /// with their responses and labels.
    pub fn prepare(&self, options: &mut ReadOptions) {
        let config = self.config();
        if !config.headers.is_empty() {
            options.expected.clone_from(&config.headers);
            options.capture.request = request_columns(config);
        }
        options.capture.predictions = true;
        options.capture.unlabeled = matches!(self, Self::ModelQuality(_)) && config.estimate_without_labels;
    }

    /// Returns a constructor of the tables that a dataset is read into. They keep the required columns, if these are
    /// known by name.
    pub fn tables(&self) -> impl Fn() -> Table + Send + Sync + 'static {
        let wanted: Option<Arc<BTreeSet<String>>> = self.wanted().map(Arc::new);
        move || Table::with_columns(wanted.clone())
    }

    fn wanted(&self) -> Option<BTreeSet<String>> {
        let config = self.config();
        match self {
            Self::ModelQuality(_) => wanted(config, config.segment.iter()),
            // The flip test needs all features.
            Self::Bias(_) if config.names_prediction() && config.reports(Metric::Ft) => None,
            Self::Bias(_) => {
                let facets = config.facets().iter().map(|facet| &facet.name_or_index);
                wanted(config, facets.chain(&config.group_variable))
            }
            Self::Explainability(_) => None,
        }
    }

    /// Creates a baseline from a dataset. Only the explainability analysis uses the model, if there is one.
    ///
    /// # Errors
    /// Fails if the configuration does not fit the dataset, or there is nothing to analyze.
    pub fn baseline(
        &self,
        dataset: &Dataset<Table>,
        truth: Option<&GroundTruth>,
        model: Option<&mut Invoke<'_>>,
        thresholds: Thresholds,
    ) -> Result<Report, JobError> {
        let report = match self {
            Self::ModelQuality(job) => job.baseline(dataset, truth, thresholds),
            Self::Bias(job) => job.baseline(dataset, truth, thresholds),
            Self::Explainability(job) => job.baseline(dataset, model),
        };
        report.map_err(|error| error.with_notes(&data_notes(dataset, truth)))
    }

    /// Compares a dataset with a baseline.
    ///
    /// # Errors
    /// Fails if the configuration does not fit the dataset, or the baseline belongs to another analysis.
    pub fn analyze(
        &self,
        dataset: &Dataset<Table>,
        truth: Option<&GroundTruth>,
        baseline: &Baseline,
        model: Option<&mut Invoke<'_>>,
    ) -> Result<Report, JobError> {
        let report = match self {
            Self::ModelQuality(job) => job.analyze(dataset, truth, baseline),
            Self::Bias(job) => job.analyze(dataset, truth, baseline),
            Self::Explainability(job) => job.analyze(dataset, baseline, model),
        };
        report.map_err(|error| error.with_notes(&data_notes(dataset, truth)))
    }
}
