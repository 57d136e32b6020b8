//! One monitoring execution as one datapoint: the evidence of it, and the state that follows.

use jiff::Timestamp;
use model_monitor::{Quantity, Subject, Violation, ViolationReport};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Of how many violations the details are kept with a datapoint, those farthest beyond their threshold first.
/// The report itself stays in S3, and its URI with the datapoint.
pub const REPORTED_VIOLATIONS: usize = 20;

/// Of how many more violations it is kept what they are about.
pub const BRIEF_VIOLATIONS: usize = 180;

/// A description of a violation longer than this is cut: a custom container may write anything.
const DESCRIPTION_CHARS: usize = 300;
/// A name longer than this is cut: CloudWatch takes no dimension value beyond 1,024.
const NAME_CHARS: usize = 256;
/// Check types counted apart; what a custom container invents beyond them is counted together.
const CHECK_TYPES: usize = 16;

/// The five states of a datapoint. What cannot be read is in none of them: it is an error, kept until it can.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum DatapointState {
    /// The execution ended and found no constraint violation.
    Clean,
    /// The execution ended and found constraint violations.
    Violations,
    /// There was nothing to analyze (`Job inputs had no data`).
    NoData,
    /// The execution failed or was stopped.
    Failed,
    /// The execution was due and never ran.
    Missing,
}

impl DatapointState {
    /// The name as written in documents and events.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Clean => "Clean",
            Self::Violations => "Violations",
            Self::NoData => "NoData",
            Self::Failed => "Failed",
            Self::Missing => "Missing",
        }
    }
}

/// One monitoring execution.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Datapoint {
    /// The hour that the execution was scheduled for: with the schedule it is the datapoint's identity.
    pub scheduled_time: Timestamp,
    /// What is known of it.
    pub evidence: Evidence,
}

impl Datapoint {
    /// The state that the evidence gives.
    pub fn state(&self) -> DatapointState {
        self.evidence.state()
    }
}

/// What is known of an execution; nothing, of one that was due and never ran. Merging is commutative, associative and idempotent, so that neither the order nor
/// the number of the events that tell of it matters.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Evidence {
    /// The violation report, when one was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<ReportEvidence>,
    /// The end of the analysis job, when an event told of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobEvidence>,
    /// The execution as SageMaker's own list has it, when the sweep read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution: Option<ExecutionEvidence>,
}

impl Evidence {
    /// Both pieces of evidence as one; of two versions of the same thing the later one.
    #[must_use]
    pub fn merge(self, other: Self) -> Self {
        Self {
            report: later(self.report, other.report, |report| {
                (report.last_modified, report.etag.clone())
            }),
            job: later(self.job, other.job, |job| {
                (
                    job.ended_at,
                    job.status,
                    job.violations,
                    job.reason.clone(),
                    job.processing_job_arn.clone(),
                )
            }),
            execution: later(self.execution, other.execution, |execution| {
                (execution.last_modified, execution.status, execution.reason.clone())
            }),
        }
    }

    /// The state of the datapoint. A report with violations settles it; otherwise the job's end, or the execution's,
    /// does: what failed is never clean, whatever else is known of it.
    pub fn state(&self) -> DatapointState {
        if self.violations().is_some_and(|count| count > 0) {
            return DatapointState::Violations;
        }
        let job_failed = self
            .job
            .as_ref()
            .is_some_and(|job| matches!(job.status, JobStatus::Failed | JobStatus::Stopped));
        match &self.execution {
            Some(execution) if execution.had_no_data() => DatapointState::NoData,
            Some(execution) if execution.status.is_failure() => DatapointState::Failed,
            _ if job_failed => DatapointState::Failed,
            None if self.report.is_none() && self.job.is_none() => DatapointState::Missing,
            _ => DatapointState::Clean,
        }
    }

    /// How many violations the execution found, as far as it can be known: what the report lists, else what a
    /// completed job's exit message counts.
    pub fn violations(&self) -> Option<u64> {
        let listed = self.report.as_ref().map(|report| report.violations);
        let counted = match &self.job {
            Some(JobEvidence {
                status: JobStatus::Completed,
                violations,
                ..
            }) => Some(violations.unwrap_or(0)),
            _ => None,
        };
        let found = match (listed, counted) {
            (Some(0) | None, Some(counted)) => Some(counted),
            (listed, _) => listed,
        };
        match (&self.execution, found) {
            // SageMaker's list says that there were some, and not how many.
            (Some(execution), Some(0) | None) if execution.status == ExecutionStatus::CompletedWithViolations => {
                Some(1)
            }
            (Some(execution), None) if execution.status == ExecutionStatus::Completed => Some(0),
            (_, found) => found,
        }
    }
}

/// How a monitoring execution ended, as `ListMonitoringExecutions` spells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ExecutionStatus {
    /// Without violations.
    Completed,
    /// With violations.
    CompletedWithViolations,
    /// Stopped by somebody.
    Stopped,
    /// Failed, also for want of data.
    Failed,
}

impl ExecutionStatus {
    /// The final status of that name; `None` for `Pending`, `InProgress` and `Stopping`.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "Completed" => Some(Self::Completed),
            "CompletedWithViolations" => Some(Self::CompletedWithViolations),
            "Stopped" => Some(Self::Stopped),
            "Failed" => Some(Self::Failed),
            _ => None,
        }
    }

    fn is_failure(self) -> bool {
        matches!(self, Self::Stopped | Self::Failed)
    }
}

/// A monitoring execution as SageMaker's own list has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecutionEvidence {
    /// How it ended.
    pub status: ExecutionStatus,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When it last changed: of two answers the later one holds.
    pub last_modified: Timestamp,
}

impl ExecutionEvidence {
    /// Whether it failed for want of data: an hour without captured data is a `Failed` execution without a job.
    pub fn had_no_data(&self) -> bool {
        let no_data = |reason: &String| reason.to_ascii_lowercase().contains("no data");
        self.status == ExecutionStatus::Failed && self.reason.as_ref().is_some_and(no_data)
    }
}

fn later<T, K: Ord>(a: Option<T>, b: Option<T>, key: impl Fn(&T) -> K) -> Option<T> {
    match (a, b) {
        (Some(a), Some(b)) => Some(if key(&b) > key(&a) { b } else { a }),
        (a, b) => a.or(b),
    }
}

/// How the processing job that analyzes ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum JobStatus {
    /// It ran to its end, with or without violations.
    Completed,
    /// It was stopped.
    Stopped,
    /// It failed.
    Failed,
}

/// The end of the processing job that analyzes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobEvidence {
    /// Which job.
    pub processing_job_arn: String,
    /// How it ended.
    pub status: JobStatus,
    /// How many violations its exit message counts; 0 if it says that there were none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub violations: Option<u64>,
    /// Why it failed, or its exit message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When it ended: of two jobs for the same execution the later one holds.
    pub ended_at: Timestamp,
}

/// A violation report that has been read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReportEvidence {
    /// `s3://bucket/key` of the report.
    pub uri: String,
    /// S3's entity tag of what was read.
    pub etag: String,
    /// When S3 got it: of two versions the later one holds.
    pub last_modified: Timestamp,
    /// How many violations it lists.
    pub violations: u64,
    /// How many of each constraint check type.
    pub by_check_type: BTreeMap<String, u64>,
    /// Those farthest beyond their threshold, at most [`REPORTED_VIOLATIONS`].
    pub top: Vec<ReportedViolation>,
    /// The next ones in short, at most [`BRIEF_VIOLATIONS`], so that a policy can say which count.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rest: Vec<Brief>,
    /// What the drift values of the features beyond `top` add up to, when there are such.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other_drift: Option<f64>,
}

impl ReportEvidence {
    /// What is kept of a report: bounded, whatever the report holds. `top` says of how many violations the details are
    /// kept, at most [`REPORTED_VIOLATIONS`].
    pub fn new(uri: String, etag: String, last_modified: Timestamp, report: &ViolationReport, top: usize) -> Self {
        let mut by_check_type: BTreeMap<String, u64> = BTreeMap::new();
        for violation in &report.violations {
            let name = cut(violation.check_type.as_str(), NAME_CHARS);
            let known = by_check_type.contains_key(&name) || by_check_type.len() < CHECK_TYPES;
            *by_check_type
                .entry(if known { name } else { "other".into() })
                .or_default() += 1;
        }
        let mut ranked: Vec<&Violation> = report.violations.iter().collect();
        // A stable sort: violations equally far beyond stay in the report's order.
        ranked.sort_by(|a, b| rank(b).total_cmp(&rank(a)));
        let top = top.min(REPORTED_VIOLATIONS);
        let rest: Vec<f64> = ranked
            .iter()
            .skip(top)
            .filter_map(|v| number(v.observed.as_ref()))
            .filter(|value| value.is_finite())
            .collect();
        Self {
            uri,
            etag,
            last_modified,
            violations: report.violations.len() as u64,
            by_check_type,
            top: ranked
                .iter()
                .take(top)
                .map(|violation| ReportedViolation::new(violation))
                .collect(),
            rest: ranked
                .iter()
                .skip(top)
                .take(BRIEF_VIOLATIONS)
                .map(|violation| Brief::new(violation))
                .collect(),
            other_drift: (!rest.is_empty()).then(|| rest.iter().sum()),
        }
    }
}

/// One violation as kept with its datapoint and told in events: bounded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct ReportedViolation {
    /// What it is about: the feature, the metric, `facet=value metric`, or the label.
    pub subject: String,
    /// The same in parts, as the CloudWatch dimensions under which the observed value is published: `Feature`,
    /// `MetricName`, `Facet` and `FacetValue`, `Label`.
    pub dimensions: BTreeMap<String, String>,
    /// `constraint_check_type` of the report.
    pub constraint_check_type: String,
    /// The value that was observed, when the report tells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<serde_json::Value>"))]
    pub observed: Option<Quantity>,
    /// The threshold that it was held against, when the report tells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<serde_json::Value>"))]
    pub threshold: Option<Quantity>,
    /// The report's own words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

impl ReportedViolation {
    fn new(violation: &Violation) -> Self {
        let parts: &[(&str, &str)] = match &violation.subject {
            Subject::Feature(feature) => &[("Feature", feature)],
            Subject::Metric(metric) => &[("MetricName", metric)],
            Subject::Facet { facet, value, metric } => {
                &[("Facet", facet), ("FacetValue", value), ("MetricName", metric)]
            }
            Subject::Label { label, metric } => &[("Label", label), ("MetricName", metric)],
            Subject::Unknown => &[],
        };
        Self {
            subject: cut(&violation.subject.to_string(), NAME_CHARS),
            dimensions: parts
                .iter()
                .map(|(name, value)| ((*name).into(), cut(value, NAME_CHARS)))
                .collect(),
            constraint_check_type: cut(violation.check_type.as_str(), NAME_CHARS),
            observed: violation.observed.clone().map(cut_quantity),
            threshold: violation.threshold.clone().map(cut_quantity),
            description: violation
                .description
                .as_deref()
                .map(|text| cut(text.trim(), DESCRIPTION_CHARS)),
        }
    }

    /// `observed` against `threshold` in words, as far as they are known: `0.27 (threshold 0.1)`.
    pub fn values(&self) -> Option<String> {
        match (&self.observed, &self.threshold) {
            (Some(observed), Some(threshold)) => Some(format!("{observed} (threshold {threshold})")),
            (Some(observed), None) => Some(observed.to_string()),
            (None, _) => None,
        }
    }
}

/// What the rules of a policy look at in a violation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ViolationFacts<'a> {
    /// `constraint_check_type` of the report.
    pub check_type: &'a str,
    /// The feature, of data quality.
    pub feature: Option<&'a str>,
    /// The metric, of model quality and bias; `shap` of a label's attribution.
    pub metric: Option<&'a str>,
    /// The facet, of bias.
    pub facet: Option<&'a str>,
    /// How far beyond its threshold it lies, relative to the threshold (absolute for a threshold of zero); `None` where
    /// the report tells no numbers.
    pub exceedance: Option<f64>,
}

impl<'a> From<&'a ReportedViolation> for ViolationFacts<'a> {
    fn from(violation: &'a ReportedViolation) -> Self {
        let part = |name: &str| violation.dimensions.get(name).map(String::as_str);
        Self {
            check_type: &violation.constraint_check_type,
            feature: part("Feature"),
            metric: part("MetricName"),
            facet: part("Facet"),
            exceedance: exceedance(violation.observed.as_ref(), violation.threshold.as_ref()),
        }
    }
}

/// A violation in short.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Brief {
    /// `constraint_check_type` of the report.
    pub check_type: String,
    /// The feature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub feature: Option<String>,
    /// The metric.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<String>,
    /// The facet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub facet: Option<String>,
    /// How far beyond the threshold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exceedance: Option<f64>,
}

impl Brief {
    fn new(violation: &Violation) -> Self {
        let (feature, metric, facet) = match &violation.subject {
            Subject::Feature(feature) => (Some(feature), None, None),
            Subject::Metric(metric) | Subject::Label { metric, .. } => (None, Some(metric), None),
            Subject::Facet { facet, metric, .. } => (None, Some(metric), Some(facet)),
            Subject::Unknown => (None, None, None),
        };
        let name = |name: Option<&String>| name.map(|name| cut(name, NAME_CHARS));
        Self {
            check_type: cut(violation.check_type.as_str(), NAME_CHARS),
            feature: name(feature),
            metric: name(metric),
            facet: name(facet),
            exceedance: exceedance(violation.observed.as_ref(), violation.threshold.as_ref())
                // JSON holds no infinity.
                .map(|exceedance| exceedance.min(f64::MAX)),
        }
    }

    /// What the rules of a policy look at.
    pub fn facts(&self) -> ViolationFacts<'_> {
        ViolationFacts {
            check_type: &self.check_type,
            feature: self.feature.as_deref(),
            metric: self.metric.as_deref(),
            facet: self.facet.as_deref(),
            exceedance: self.exceedance,
        }
    }
}

/// How far beyond its threshold a value lies, relative to the threshold.
fn exceedance(observed: Option<&Quantity>, threshold: Option<&Quantity>) -> Option<f64> {
    let (observed, threshold) = (number(observed)?, number(threshold)?);
    let distance = (observed - threshold).abs();
    let relative = if threshold.abs() > f64::EPSILON {
        distance / threshold.abs()
    } else {
        distance
    };
    (!relative.is_nan()).then_some(relative)
}

/// For ranking: unknown is nearest.
fn rank(violation: &Violation) -> f64 {
    exceedance(violation.observed.as_ref(), violation.threshold.as_ref()).unwrap_or(-1.0)
}

fn number(quantity: Option<&Quantity>) -> Option<f64> {
    match quantity {
        Some(Quantity::Number(value)) => Some(*value),
        _ => None,
    }
}

fn cut_quantity(quantity: Quantity) -> Quantity {
    match quantity {
        Quantity::Text(text) => Quantity::Text(cut(&text, NAME_CHARS)),
        number @ Quantity::Number(_) => number,
    }
}

fn cut(text: &str, chars: usize) -> String {
    match text.char_indices().nth(chars) {
        Some((at, _)) => text.get(..at).map_or_else(String::new, |head| format!("{head}…")),
        None => text.to_owned(),
    }
}
