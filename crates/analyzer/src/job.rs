//! An analysis from its inputs to its report: what the CLI, the Lambda function and the container have in common.

mod data_quality;

pub use data_quality::{Compared, DataQualityJob};

use crate::{
    findings::Findings,
    read::{Dataset, ReadError},
};
use analysis::data_quality::Options;
use model_monitor::{Analysis, Constraints, Limits, ParseError, Statistics};

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
}

/// The files that make a baseline.
pub const BASELINE_FILES: [&str; 3] = ["constraints.json", "statistics.json", "analysis.json"];

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
    pub fn add(&mut self, name: &str, object: &str, bytes: &[u8]) -> Result<(), ParseError> {
        match name {
            "constraints.json" => self.constraints = Some(Constraints::parse(object, bytes, &LIMITS)?),
            "statistics.json" => self.statistics = Some(Statistics::parse(object, bytes, &LIMITS)?),
            "analysis.json" => self.analysis = Some(Analysis::parse(object, bytes, &LIMITS)?),
            _ => {}
        }
        Ok(())
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
