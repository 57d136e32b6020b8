//! Output of an analysis: the files of a monitoring execution, and its exit message.

use analysis::{ConstraintViolation, Judgments, metric::AnalysisMetric};
use model_monitor::MonitorType;
use serde::Serialize;

/// Exit message of Model Monitor if there is nothing to analyze.
pub const NO_DATA: &str = "Job inputs had no data";

/// Name of the violation report.
const VIOLATIONS: &str = "constraint_violations.json";

/// File of a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportFile {
    /// Name in the folder of the report.
    pub name: &'static str,
    /// Content.
    pub content: Vec<u8>,
}

/// Outcome of an analysis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// No violations.
    Clean,
    /// Number of violations.
    Violations(usize),
    /// There was nothing to analyze. This differs from clean.
    NoData,
    /// There was data, but no check could be evaluated. This differs from clean.
    NotJudged,
}

/// Result of an analysis.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// Type of the analysis.
    pub monitor_type: MonitorType,
    /// Number of analyzed rows.
    pub item_count: u64,
    /// Violations; empty for a baseline.
    pub violations: Vec<ConstraintViolation>,
    /// Checks that were evaluated, and those that were not. `None` for a baseline, and without data.
    pub judgments: Option<Judgments>,
    /// Files, without the violation report.
    pub files: Vec<ReportFile>,
    /// CloudWatch metrics.
    pub metrics: Vec<AnalysisMetric>,
    /// Notes for operators: problems of the data, and skipped checks.
    pub notes: Vec<String>,
}

#[derive(Serialize)]
struct Violations<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'a str>,
    violations: &'a [ConstraintViolation],
}

impl Report {
    /// Report of no data.
    pub(crate) fn new(monitor_type: MonitorType) -> Self {
        Self {
            monitor_type,
            item_count: 0,
            violations: Vec::new(),
            judgments: None,
            files: Vec::new(),
            metrics: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Outcome of the analysis.
    pub fn outcome(&self) -> Outcome {
        match (self.item_count, self.violations.len()) {
            (0, _) => Outcome::NoData,
            (_, 0) if self.judgments.as_ref().is_some_and(Judgments::is_void) => Outcome::NotJudged,
            (_, 0) => Outcome::Clean,
            (_, violations) => Outcome::Violations(violations),
        }
    }

    /// Reason for which an execution without violations is not clean. `None` if it is, or has violations.
    pub fn failure_reason(&self) -> Option<String> {
        match self.outcome() {
            Outcome::Clean | Outcome::Violations(_) => None,
            Outcome::NoData => Some(NO_DATA.to_owned()),
            Outcome::NotJudged => {
                let why = self.judgments.as_ref().and_then(Judgments::main_reason);
                let why = why.unwrap_or("the baseline has no checks");
                Some(format!("No check could be evaluated: {why}"))
            }
        }
    }

    /// Exit message as Model Monitor writes it. Its first word determines the status of the execution in SageMaker.
    pub fn exit_message(&self) -> String {
        match self.outcome() {
            Outcome::Violations(count) => {
                format!("CompletedWithViolations: Job completed successfully with {count} violations.")
            }
            _ => self
                .failure_reason()
                .unwrap_or_else(|| "Completed: Job completed successfully with no violations.".to_owned()),
        }
    }

    /// All files. The violation report is included only if there are violations, as in Model Monitor.
    pub fn all_files(&self) -> Vec<ReportFile> {
        let mut files = self.files.clone();
        if !self.violations.is_empty() {
            files.push(self.violations_file());
        }
        files
    }

    /// Violation report, also without violations. It replaces the report of an earlier execution.
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

/// Serializes the content of a file. All values written here are valid JSON.
pub(crate) fn json(value: &impl Serialize) -> Vec<u8> {
    let mut content = serde_json::to_vec_pretty(value).unwrap_or_default();
    content.push(b'\n');
    content
}
