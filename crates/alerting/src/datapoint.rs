//! One monitoring execution as one datapoint: its evidence, and its state.

use crate::{MonitorRules, Severity};
use jiff::{SignedDuration, Timestamp};
use model_monitor::{Quantity, Subject, Violation, ViolationReport};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, io};

/// Maximum time by which the scheduled time of an execution may be ahead of the current time. An execution that is
/// further ahead has a wrong date, and would be the newest datapoint until that date.
pub const MAX_AHEAD: SignedDuration = SignedDuration::from_hours(2);

/// Whether an execution is scheduled more than [`MAX_AHEAD`] after `now`.
pub fn is_ahead(scheduled_time: Timestamp, now: Timestamp) -> bool {
    scheduled_time.duration_since(now) > MAX_AHEAD
}

/// Maximum number of violations with details in a datapoint, worst first. The datapoint also has the URI of the full
/// report.
pub const REPORTED_VIOLATIONS: usize = 20;

/// Maximum number of further violations that are kept as summaries.
pub const SUMMARIZED_VIOLATIONS: usize = 180;

/// Maximum size of the violations of one report in a ledger, in bytes of JSON. 200 violations of Model Monitor's usual
/// length take 26 kB.
const MAX_VIOLATION_BYTES: usize = 32_000;
/// Maximum size of the summaries of all violations in a condensed datapoint, in bytes of JSON.
const MAX_CONDENSED_SUMMARY_BYTES: usize = 200;
/// Maximum size of the check types in a condensed datapoint, in bytes of JSON.
const MAX_CONDENSED_CHECK_TYPE_BYTES: usize = 400;
/// Maximum length of the reason for a failure in a condensed datapoint.
const MAX_CONDENSED_REASON_CHARS: usize = 200;

/// Maximum length of the description of a violation. Custom containers can write descriptions of any length.
const MAX_DESCRIPTION_CHARS: usize = 300;
/// Maximum length of a name. CloudWatch limits dimension values to 1,024 characters.
const MAX_NAME_CHARS: usize = 256;
/// Maximum number of check types that are counted separately. Further check types of custom containers are counted
/// together.
const MAX_CHECK_TYPES: usize = 16;
/// Name under which further check types are counted.
const OTHER_CHECK_TYPES: &str = "other";

/// State of a datapoint. An unreadable report has no state: it is an error.
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
    /// Name in state documents and events.
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
    /// Scheduled time of the execution. It identifies the datapoint within its schedule.
    pub scheduled_time: Timestamp,
    /// Evidence about the execution.
    pub evidence: Evidence,
}

impl Datapoint {
    /// State of the datapoint, from its evidence.
    pub fn state(&self) -> DatapointState {
        self.evidence.state()
    }

    /// Size in bytes of JSON.
    pub(crate) fn size(&self) -> usize {
        json_size(self)
    }

    /// Condenses the datapoint to one line of bounded size. Kept: what identifies the evidence, so that duplicates are
    /// recognized; the state; the number of violations in total and by check type; the URI of the report; and the
    /// result of the rules with their policy version. Lost: the violations, unless their summaries are short; the job;
    /// and long reasons. Condensing a condensed datapoint does not change it.
    pub(crate) fn condense(&mut self, rules: &MonitorRules) {
        self.evidence.condense(rules);
    }
}

/// Evidence about an execution; empty if the execution was due and never ran. Merging is commutative, associative, and
/// idempotent, so the order and the number of events about the execution do not matter.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Evidence {
    /// The violation report, if one was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<ReportEvidence>,
    /// The end of the analysis job, if an event reported it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobEvidence>,
    /// The execution in SageMaker's list, if the sweep read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution: Option<ExecutionEvidence>,
}

impl Evidence {
    /// Merges two pieces of evidence. The later version of a report, job, or execution wins.
    #[must_use]
    pub fn merge(self, other: Self) -> Self {
        Self {
            report: later(self.report, other.report, |report| {
                // S3 states the time of a version in seconds. Within a second, the sequencer of its event decides.
                (report.last_modified, report.sequencer.clone(), report.etag.clone())
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

    /// Time of the latest change that the evidence shows. `None` if the execution never ran.
    pub(crate) fn latest_change(&self) -> Option<Timestamp> {
        let report = self.report.as_ref().map(|report| report.last_modified);
        let job = self.job.as_ref().map(|job| job.ended_at);
        let execution = self.execution.as_ref().map(|execution| execution.last_modified);
        report.max(job).max(execution)
    }

    pub(crate) fn condense(&mut self, rules: &MonitorRules) {
        let no_data = self.execution.as_ref().is_some_and(ExecutionEvidence::had_no_data);
        if let Some(report) = &mut self.report {
            report.condense(rules);
        }
        if let Some(job) = &mut self.job {
            job.processing_job_arn.clear();
            let failed = job.status != JobStatus::Completed;
            job.reason = job
                .reason
                .take()
                .filter(|_| failed)
                .map(|reason| condensed_reason(&reason));
        }
        if let Some(execution) = &mut self.execution {
            let reason = execution.reason.take();
            // The words that make the state `NoData` can be anywhere in the reason.
            execution.reason = if no_data {
                Some("Job inputs had no data".to_owned())
            } else {
                reason.map(|reason| condensed_reason(&reason))
            };
        }
    }

    /// Whether violations, the job, or reasons were removed, see [`Datapoint::condense`].
    pub(crate) fn is_condensed(&self) -> bool {
        let is_cut = |reason: &String| reason.chars().count() > MAX_CONDENSED_REASON_CHARS;
        let reason = self.execution.as_ref().and_then(|execution| execution.reason.as_ref());
        self.report.as_ref().is_some_and(|report| report.judged.is_some())
            || self.job.as_ref().is_some_and(|job| job.processing_job_arn.is_empty())
            || reason.is_some_and(is_cut)
    }

    /// State of the datapoint. A report with violations determines it. Otherwise, the end of the job or of the
    /// execution determines it: a failed execution is never clean.
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

    /// Number of violations, if known: from the report, or else from the exit message of a completed job.
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
            // SageMaker's list shows that there were violations, but not their number.
            (Some(execution), Some(0) | None) if execution.status == ExecutionStatus::CompletedWithViolations => {
                Some(1)
            }
            (Some(execution), None) if execution.status == ExecutionStatus::Completed => Some(0),
            (_, found) => found,
        }
    }
}

/// Final status of a monitoring execution, in the spelling of `ListMonitoringExecutions`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ExecutionStatus {
    /// Completed without violations.
    Completed,
    /// Completed with violations.
    CompletedWithViolations,
    /// Stopped before its end.
    Stopped,
    /// Failed, or had no data.
    Failed,
}

impl ExecutionStatus {
    /// Parses a final status. `None` for `Pending`, `InProgress`, and `Stopping`.
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

/// A monitoring execution in SageMaker's list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecutionEvidence {
    /// Final status.
    pub status: ExecutionStatus,
    /// Reason for a failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Time of the last change. The later of two versions wins.
    pub last_modified: Timestamp,
}

impl ExecutionEvidence {
    /// Whether the execution had no data. SageMaker lists an hour without captured data as a `Failed` execution without
    /// a job.
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

/// Final status of the analysis job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum JobStatus {
    /// Completed, with or without violations.
    Completed,
    /// Stopped before its end.
    Stopped,
    /// Failed.
    Failed,
}

/// The end of the analysis job, which is a processing job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobEvidence {
    /// ARN of the processing job.
    pub processing_job_arn: String,
    /// Final status.
    pub status: JobStatus,
    /// Number of violations in the exit message. 0 if the message reports none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub violations: Option<u64>,
    /// Reason for a failure, or the exit message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// End time. The later of two jobs for the same execution wins.
    pub ended_at: Timestamp,
}

/// Contents of a violation report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReportEvidence {
    /// URI of the report: `s3://BUCKET/KEY`.
    pub uri: String,
    /// Entity tag (`ETag`) of the S3 object that was read.
    pub etag: String,
    /// Last modification of the S3 object. The later of two versions wins.
    pub last_modified: Timestamp,
    /// Sequencer of the S3 event about this version of the object, comparable as text. `None` if another event led to
    /// the report. Of two versions of the same second, the one with the later sequencer wins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequencer: Option<String>,
    /// Number of violations in the report.
    pub violations: u64,
    /// Number of violations by constraint check type.
    pub by_check_type: BTreeMap<String, u64>,
    /// Worst violations with details, at most [`REPORTED_VIOLATIONS`].
    pub top: Vec<ReportedViolation>,
    /// Summaries of the next violations, at most [`SUMMARIZED_VIOLATIONS`], for the rules of the policy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rest: Vec<ViolationSummary>,
    /// Sum of the drift values of the features beyond `top`. `None` if there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other_drift: Option<f64>,
    /// Result of the rules for the violations of a condensed datapoint. `None` as long as the violations are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judged: Option<Box<ReportJudgment>>,
}

/// Result of the rules of a policy for the violations in a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportJudgment {
    /// Version of the policy.
    pub policy_version: String,
    /// Highest severity of the violations that count. `None` if none counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity: Option<Severity>,
    /// Check types of the violations that count. `None` if those of all violations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check_types: Option<Vec<String>>,
}

impl ReportEvidence {
    /// Extracts the evidence from a report. The size is bounded. `top` is the number of violations with details, at
    /// most [`REPORTED_VIOLATIONS`].
    pub fn new(uri: String, etag: String, last_modified: Timestamp, report: &ViolationReport, top: usize) -> Self {
        let mut by_check_type: BTreeMap<String, u64> = BTreeMap::new();
        for violation in &report.violations {
            let name = cut(violation.check_type.as_str(), MAX_NAME_CHARS);
            let known = by_check_type.contains_key(&name) || by_check_type.len() < MAX_CHECK_TYPES;
            *by_check_type
                .entry(if known { name } else { OTHER_CHECK_TYPES.into() })
                .or_default() += 1;
        }
        let mut ranked: Vec<&Violation> = report.violations.iter().collect();
        // The sort is stable: violations with the same distance keep the order of the report.
        ranked.sort_by(|a, b| rank(b).total_cmp(&rank(a)));
        let most = top.min(REPORTED_VIOLATIONS);
        let mut left = MAX_VIOLATION_BYTES;
        let mut top: Vec<ReportedViolation> = ranked.iter().take(most).map(|v| ReportedViolation::new(v)).collect();
        top.truncate(fitting(&top, &mut left));
        let others: Vec<f64> = ranked
            .iter()
            .skip(top.len())
            .filter_map(|v| number(v.observed.as_ref()))
            .filter(|value| value.is_finite())
            .collect();
        let mut rest: Vec<ViolationSummary> = ranked
            .iter()
            .skip(top.len())
            .take(SUMMARIZED_VIOLATIONS)
            .map(|violation| ViolationSummary::new(violation))
            .collect();
        rest.truncate(fitting(&rest, &mut left));
        Self {
            uri,
            etag,
            last_modified,
            sequencer: None,
            violations: report.violations.len() as u64,
            by_check_type,
            top,
            rest,
            other_drift: (!others.is_empty()).then(|| others.iter().sum()),
            judged: None,
        }
    }

    /// The evidence with the sequencer of the S3 event about this version of the object.
    ///
    /// Sequencers are hexadecimal numbers. To compare two of them, S3 pads the shorter one on the right with zeros
    /// (*Amazon S3 User Guide*, page *notification-content-structure*), so trailing zeros are removed. A value that is
    /// no sequencer is ignored.
    #[must_use]
    pub fn with_sequencer(self, sequencer: Option<&str>) -> Self {
        let is_valid = |text: &&str| (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit());
        let sequencer = sequencer
            .filter(is_valid)
            .map(|text| text.trim_end_matches('0').to_ascii_uppercase());
        Self { sequencer, ..self }
    }

    /// See [`Datapoint::condense`].
    fn condense(&mut self, rules: &MonitorRules) {
        if self.judged.is_some() {
            return;
        }
        let counting = rules.check_types(self);
        let all = counting.len() == self.by_check_type.len();
        self.judged = Some(Box::new(ReportJudgment {
            policy_version: rules.policy_version.clone(),
            severity: rules.severity_of_report(self),
            check_types: (!all).then_some(counting),
        }));
        let top = std::mem::take(&mut self.top);
        let mut summaries: Vec<ViolationSummary> = top.iter().map(ViolationSummary::from).collect();
        summaries.append(&mut self.rest);
        // The rules of a changed policy can be applied to all violations, or not to any.
        let is_complete = summaries.len() as u64 == self.violations;
        if is_complete && json_size(&summaries) <= MAX_CONDENSED_SUMMARY_BYTES {
            self.rest = summaries;
        }
        self.other_drift = None;
        let mut left = MAX_CONDENSED_CHECK_TYPE_BYTES;
        let mut others = 0;
        self.by_check_type.retain(|name, count| {
            let fits = left.checked_sub(json_size(name));
            left = fits.unwrap_or(left);
            others += if fits.is_some() { 0 } else { *count };
            fits.is_some()
        });
        if others > 0 {
            *self.by_check_type.entry(OTHER_CHECK_TYPES.to_owned()).or_default() += others;
        }
        let known = &self.by_check_type;
        if let Some(counting) = self.judged.as_mut().and_then(|judged| judged.check_types.as_mut()) {
            let was_any_removed = counting.iter().any(|name| !known.contains_key(name));
            counting.retain(|name| known.contains_key(name));
            if was_any_removed && !counting.iter().any(|name| name == OTHER_CHECK_TYPES) {
                counting.push(OTHER_CHECK_TYPES.to_owned());
            }
        }
    }
}

/// Number of items from the first one whose size in bytes of JSON fits, which is subtracted.
fn fitting<T: Serialize>(items: &[T], left: &mut usize) -> usize {
    items
        .iter()
        .take_while(|item| match left.checked_sub(json_size(item) + 1) {
            Some(remaining) => {
                *left = remaining;
                true
            }
            None => false,
        })
        .count()
}

/// Reason for a failure in a condensed datapoint. In JSON, a control character takes six bytes.
fn condensed_reason(reason: &str) -> String {
    let plain: String = reason.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    cut(&plain, MAX_CONDENSED_REASON_CHARS)
}

/// Size of a value as JSON, in bytes.
pub(crate) fn json_size(value: &impl Serialize) -> usize {
    struct Counter(usize);

    impl io::Write for Counter {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    let mut counter = Counter(0);
    match serde_json::to_writer(&mut counter, value) {
        Ok(()) => counter.0,
        Err(_) => usize::MAX,
    }
}

/// One violation with details, of bounded size.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct ReportedViolation {
    /// Subject of the violation: the feature, the metric, `facet=value metric`, or the label.
    pub subject: String,
    /// Subject as the CloudWatch dimensions of the observed value: `Feature`, `MetricName`, `Facet` and `FacetValue`,
    /// or `Label`.
    pub dimensions: BTreeMap<String, String>,
    /// Check type of the violation (`constraint_check_type` in the report).
    pub constraint_check_type: String,
    /// Observed value, if the report has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<serde_json::Value>"))]
    pub observed: Option<Quantity>,
    /// Threshold for the observed value, if the report has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<serde_json::Value>"))]
    pub threshold: Option<Quantity>,
    /// Description in the report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

impl ReportedViolation {
    /// How many times its threshold the observed value is. `None` if it does not exceed a positive threshold, or is infinite.
    pub fn threshold_ratio(&self) -> Option<f64> {
        let (observed, threshold) = (
            self.observed.as_ref()?.as_number()?,
            self.threshold.as_ref()?.as_number()?,
        );
        (observed.is_finite() && threshold > 0.0 && observed > threshold).then(|| observed / threshold)
    }

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
            subject: cut(&violation.subject.to_string(), MAX_NAME_CHARS),
            dimensions: parts
                .iter()
                .map(|(name, value)| ((*name).into(), cut(value, MAX_NAME_CHARS)))
                .collect(),
            constraint_check_type: cut(violation.check_type.as_str(), MAX_NAME_CHARS),
            observed: violation.observed.clone().map(cut_quantity),
            threshold: violation.threshold.clone().map(cut_quantity),
            description: violation
                .description
                .as_deref()
                .map(|text| cut(text.trim(), MAX_DESCRIPTION_CHARS)),
        }
    }

    /// Describes the observed value and the threshold, if known: `0.27 (threshold 0.1)`.
    pub fn values(&self) -> Option<String> {
        match (&self.observed, &self.threshold) {
            (Some(observed), Some(threshold)) => Some(format!("{observed} (threshold {threshold})")),
            (Some(observed), None) => Some(observed.to_string()),
            (None, _) => None,
        }
    }
}

/// Properties of a violation that the rules of a policy use.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ViolationFacts<'a> {
    /// Check type (`constraint_check_type` in the report).
    pub check_type: &'a str,
    /// Feature, for data quality.
    pub feature: Option<&'a str>,
    /// Metric, for model quality and bias; `shap` for feature attribution.
    pub metric: Option<&'a str>,
    /// Facet, for bias.
    pub facet: Option<&'a str>,
    /// Distance from the threshold, as a fraction of the threshold (absolute if the threshold is 0). `None` if the
    /// report has no numbers.
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

/// Summary of a violation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ViolationSummary {
    /// Check type (`constraint_check_type` in the report).
    pub check_type: String,
    /// Feature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub feature: Option<String>,
    /// Metric.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<String>,
    /// Facet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub facet: Option<String>,
    /// Distance from the threshold, as a fraction of the threshold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exceedance: Option<f64>,
}

impl From<&ReportedViolation> for ViolationSummary {
    fn from(violation: &ReportedViolation) -> Self {
        let facts = ViolationFacts::from(violation);
        Self {
            check_type: facts.check_type.to_owned(),
            feature: facts.feature.map(ToOwned::to_owned),
            metric: facts.metric.map(ToOwned::to_owned),
            facet: facts.facet.map(ToOwned::to_owned),
            // JSON has no infinity.
            exceedance: facts.exceedance.map(|exceedance| exceedance.min(f64::MAX)),
        }
    }
}

impl ViolationSummary {
    fn new(violation: &Violation) -> Self {
        let (feature, metric, facet) = match &violation.subject {
            Subject::Feature(feature) => (Some(feature), None, None),
            Subject::Metric(metric) | Subject::Label { metric, .. } => (None, Some(metric), None),
            Subject::Facet { facet, metric, .. } => (None, Some(metric), Some(facet)),
            Subject::Unknown => (None, None, None),
        };
        let name = |name: Option<&String>| name.map(|name| cut(name, MAX_NAME_CHARS));
        Self {
            check_type: cut(violation.check_type.as_str(), MAX_NAME_CHARS),
            feature: name(feature),
            metric: name(metric),
            facet: name(facet),
            exceedance: exceedance(violation.observed.as_ref(), violation.threshold.as_ref())
                // JSON has no infinity.
                .map(|exceedance| exceedance.min(f64::MAX)),
        }
    }

    /// Properties that the rules of a policy use.
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

/// Distance of a value from its threshold, as a fraction of the threshold (absolute if the threshold is 0).
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

/// Sort key: the distance from the threshold. Unknown distances come last.
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
        Quantity::Text(text) => Quantity::Text(cut(&text, MAX_NAME_CHARS)),
        number @ Quantity::Number(_) => number,
    }
}

fn cut(text: &str, chars: usize) -> String {
    match text.char_indices().nth(chars) {
        Some((at, _)) => text.get(..at).map_or_else(String::new, |head| format!("{head}…")),
        None => text.to_owned(),
    }
}
