//! The analyses that look at predictions row by row: which there are, and what of a dataset they need.

use super::{
    Baseline, BiasJob, ExplainabilityJob, Invoke, JobError, ModelQualityJob,
    columns::{request_columns, wanted},
    config::{AnalysisConfig, ConfigError},
};
use crate::{
    ground_truth::GroundTruth,
    read::{Dataset, ReadOptions},
    report::Report,
    table::Table,
};
use analysis::bias::Metric;
use model_monitor::MonitorType;
use std::{collections::BTreeSet, sync::Arc};

/// An analysis of predictions.
#[derive(Debug, Clone)]
pub enum PredictionJob {
    /// Against ground truth.
    ModelQuality(ModelQualityJob),
    /// Of groups against one another.
    Bias(BiasJob),
    /// By what moves them.
    Explainability(ExplainabilityJob),
}

impl PredictionJob {
    /// The analysis of a type.
    ///
    /// # Errors
    /// If it is data quality or a custom one, which look at no predictions; if there is no configuration and one is
    /// needed; or if the configuration lacks something.
    pub fn new(monitor_type: MonitorType, config: Option<AnalysisConfig>) -> Result<Self, JobError> {
        let needed = || config.clone().ok_or(ConfigError::None(monitor_type));
        match monitor_type {
            MonitorType::ModelQuality => Ok(Self::ModelQuality(ModelQualityJob::new(needed()?)?)),
            MonitorType::ModelBias => Ok(Self::Bias(BiasJob::new(needed()?)?)),
            // Of local SHAP values alone there is nothing to be said.
            MonitorType::ModelExplainability => {
                let config = config.unwrap_or_default();
                Ok(Self::Explainability(ExplainabilityJob::new(config)))
            }
            MonitorType::DataQuality | MonitorType::Custom => {
                Err(JobError::Data(format!("{monitor_type} is no analysis of predictions")))
            }
        }
    }

    /// Which analysis.
    pub fn monitor_type(&self) -> MonitorType {
        match self {
            Self::ModelQuality(_) => MonitorType::ModelQuality,
            Self::Bias(_) => MonitorType::ModelBias,
            Self::Explainability(_) => MonitorType::ModelExplainability,
        }
    }

    /// The configuration.
    pub fn config(&self) -> &AnalysisConfig {
        match self {
            Self::ModelQuality(job) => job.config(),
            Self::Bias(job) => job.config(),
            Self::Explainability(job) => job.config(),
        }
    }

    /// Whether labels are of use to it.
    pub fn uses_ground_truth(&self) -> bool {
        !matches!(self, Self::Explainability(_))
    }

    /// How to read a dataset for it: the columns are those of the headers, captured requests stand beside their responses
    /// and labels.
    pub fn prepare(&self, options: &mut ReadOptions) {
        let config = self.config();
        if !config.headers.is_empty() {
            options.expected.clone_from(&config.headers);
            options.capture.request = request_columns(config);
        }
        options.capture.predictions = true;
        options.capture.unlabelled = matches!(self, Self::ModelQuality(_)) && config.estimate_without_labels;
    }

    /// Makes the tables that a dataset is read into: of the columns that are needed, if they are known by name.
    pub fn tables(&self) -> impl Fn() -> Table + Send + Sync + 'static {
        let wanted: Option<Arc<BTreeSet<String>>> = self.wanted().map(Arc::new);
        move || Table::of(wanted.clone())
    }

    fn wanted(&self) -> Option<BTreeSet<String>> {
        let config = self.config();
        match self {
            Self::ModelQuality(_) => wanted(config, config.segment.iter()),
            // The flip test needs every feature.
            Self::Bias(_) if config.names_prediction() && config.reports(Metric::Ft) => None,
            Self::Bias(_) => {
                let facets = config.facets().iter().map(|facet| &facet.name_or_index);
                wanted(config, facets.chain(&config.group_variable))
            }
            Self::Explainability(_) => None,
        }
    }

    /// The baseline that a dataset makes. Only the explainability analysis asks a model, if there is one.
    ///
    /// # Errors
    /// If the configuration does not fit the dataset, or there is nothing to analyse.
    pub fn baseline(
        &self,
        dataset: &Dataset<Table>,
        truth: Option<&GroundTruth>,
        model: Option<&mut Invoke<'_>>,
    ) -> Result<Report, JobError> {
        match self {
            Self::ModelQuality(job) => job.baseline(dataset, truth),
            Self::Bias(job) => job.baseline(dataset, truth),
            Self::Explainability(job) => job.baseline(dataset, model),
        }
    }

    /// Holds a dataset against a baseline.
    ///
    /// # Errors
    /// If the configuration does not fit the dataset, or the baseline is one of another analysis.
    pub fn analyze(
        &self,
        dataset: &Dataset<Table>,
        truth: Option<&GroundTruth>,
        baseline: &Baseline,
        model: Option<&mut Invoke<'_>>,
    ) -> Result<Report, JobError> {
        match self {
            Self::ModelQuality(job) => job.analyze(dataset, truth, baseline),
            Self::Bias(job) => job.analyze(dataset, truth, baseline),
            Self::Explainability(job) => job.analyze(dataset, baseline, model),
        }
    }
}
