//! What an analysis writes: the files of a monitoring execution, and what it says at its end.

use analysis::{ConstraintViolation, metric::AnalysisMetric};
use model_monitor::MonitorType;
use serde::Serialize;

/// Name of the file of the violations.
const VIOLATIONS: &str = "constraint_violations.json";

/// A file of a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportFile {
    /// Its name in the report's folder.
    pub name: &'static str,
    /// Its content.
    pub content: Vec<u8>,
}

/// How an analysis ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing violates the constraints.
    Clean,
    /// So many violations.
    Violations(usize),
    /// There was nothing to analyse, which is not clean.
    NoData,
}

/// The result of an analysis.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// Which analysis.
    pub monitor_type: MonitorType,
    /// How many rows were analysed.
    pub item_count: u64,
    /// What violates the constraints; none for a baseline.
    pub violations: Vec<ConstraintViolation>,
    /// The files, without that of the violations.
    pub files: Vec<ReportFile>,
    /// The CloudWatch metrics.
    pub metrics: Vec<AnalysisMetric>,
    /// What people should know: what is wrong with the data, and what could not be judged.
    pub notes: Vec<String>,
}

#[derive(Serialize)]
struct Violations<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'a str>,
    violations: &'a [ConstraintViolation],
}

impl Report {
    /// How the analysis ended.
    pub fn outcome(&self) -> Outcome {
        match (self.item_count, self.violations.len()) {
            (0, _) => Outcome::NoData,
            (_, 0) => Outcome::Clean,
            (_, violations) => Outcome::Violations(violations),
        }
    }

    /// The exit message, in the analyzer's words; its first word tells SageMaker the status of the execution.
    pub fn exit_message(&self) -> String {
        match self.outcome() {
            Outcome::Clean => "Completed: Job completed successfully with no violations.".to_owned(),
            Outcome::Violations(count) => {
                format!("CompletedWithViolations: Job completed successfully with {count} violations.")
            }
            Outcome::NoData => "Job inputs had no data".to_owned(),
        }
    }

    /// All files; that of the violations only if there are any, as the analyzer has it.
    pub fn all_files(&self) -> Vec<ReportFile> {
        let mut files = self.files.clone();
        if !self.violations.is_empty() {
            files.push(self.violations_file());
        }
        files
    }

    /// The file of the violations, also if there are none: what takes the place of one that an earlier run left.
    pub fn violations_file(&self) -> ReportFile {
        let clarify = matches!(
            self.monitor_type,
            MonitorType::ModelBias | MonitorType::ModelExplainability
        );
        ReportFile {
            name: VIOLATIONS,
            content: json(&Violations {
                version: clarify.then_some("1.0"),
                violations: &self.violations,
            }),
        }
    }
}

/// A file's content. What is written here always is JSON.
pub(crate) fn json(value: &impl Serialize) -> Vec<u8> {
    let mut content = serde_json::to_vec_pretty(value).unwrap_or_default();
    content.push(b'\n');
    content
}
