//! The CloudWatch metrics of one execution. Clean executions have metrics, too, so that the metrics can fall again.

use crate::{Datapoint, DatapointState, Monitor, MonitorRules, Period};
use jiff::Timestamp;
use model_monitor::Quantity;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Largest magnitude that CloudWatch accepts: 2^360 (*API Reference*, `PutMetricData`). Model Monitor publishes it for
/// infinities.
const CLOUDWATCH_BOUND: f64 = 2.348_542_582_773_833_3e108;

/// Names of the metrics. The dashboard and the alarms in `infra/` use them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum MetricName {
    /// Number of constraint violations of an execution. With the dimension `ConstraintCheckType`, the number for one
    /// check type.
    ConstraintViolations,
    /// 1 if the execution had violations that count toward the alert, else 0.
    Breaching,
    /// 1 if the execution failed or was stopped, else 0.
    ExecutionFailed,
    /// Observed value of a violation, by `Feature`, `MetricName`, `Facet` and `FacetValue`, or `Label`.
    ObservedValue,
    /// Number of attempts that failed to read a violation report.
    UnreadableReports,
    /// Time since the monitor or model that was not swept for the longest time was swept. With the dimension
    /// `FunctionName` only.
    SweepAge,
    /// 1 if `policy.toml` is invalid or was deleted, so that its last valid version is effective, else 0. With the
    /// dimension `FunctionName` only.
    PolicyFallback,
}

impl MetricName {
    /// Name in CloudWatch.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ConstraintViolations => "ConstraintViolations",
            Self::Breaching => "Breaching",
            Self::ExecutionFailed => "ExecutionFailed",
            Self::ObservedValue => "ObservedValue",
            Self::UnreadableReports => "UnreadableReports",
            Self::SweepAge => "SweepAge",
            Self::PolicyFallback => "PolicyFallback",
        }
    }
}

/// Units of CloudWatch that the metrics use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unit {
    /// A count.
    Count,
    /// A duration.
    Seconds,
    /// A number without a unit.
    None,
}

/// One value for CloudWatch, within the limits of `PutMetricData`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Metric {
    /// Name of the metric.
    pub name: MetricName,
    /// Dimensions: at most 6, where CloudWatch accepts 30. Names and values are ASCII and not blank.
    pub dimensions: Vec<(String, String)>,
    /// Time of the value: the scheduled time of the execution.
    pub timestamp: Timestamp,
    /// Finite value within CloudWatch's range.
    pub value: f64,
    /// Unit of the value.
    pub unit: Unit,
}

impl Metric {
    /// A metric of a function itself. A value that is not finite becomes 0.
    pub fn for_function(function_name: &str, name: MetricName, timestamp: Timestamp, value: f64) -> Self {
        Self {
            name,
            dimensions: vec![("FunctionName".to_owned(), function_name.to_owned())],
            timestamp,
            value: if value.is_finite() { value } else { 0.0 },
            unit: if name == MetricName::SweepAge {
                Unit::Seconds
            } else {
                Unit::Count
            },
        }
    }

    /// A metric of a monitor. `None` for NaN, which CloudWatch rejects. Infinities become the largest value that
    /// CloudWatch accepts.
    pub fn new(
        monitor: &Monitor,
        name: MetricName,
        more: impl IntoIterator<Item = (String, String)>,
        timestamp: Timestamp,
        value: f64,
    ) -> Option<Self> {
        if value.is_nan() {
            return None;
        }
        let mut dimensions = Vec::with_capacity(2);
        if let Some(endpoint) = &monitor.endpoint {
            dimensions.push(("Endpoint".to_owned(), endpoint.clone()));
        }
        dimensions.push(("MonitoringSchedule".to_owned(), monitor.schedule.clone()));
        dimensions.extend(more.into_iter().map(|(name, value)| (name, ascii(&value))));
        let unit = if name == MetricName::ObservedValue {
            Unit::None
        } else {
            Unit::Count
        };
        Some(Self {
            name,
            dimensions,
            timestamp,
            value: value.clamp(-CLOUDWATCH_BOUND, CLOUDWATCH_BOUND),
            unit,
        })
    }

    /// All metrics of one execution. `check_types` are those that this monitor has ever reported. A check type without
    /// violations in this execution gets 0, so that its metric falls again. Unknown values are not published: a failed
    /// execution has no number of violations.
    pub fn for_datapoint(
        datapoint: &Datapoint,
        monitor: &Monitor,
        check_types: &BTreeSet<String>,
        rules: &MonitorRules,
    ) -> Vec<Self> {
        let at = datapoint.scheduled_time;
        let state = datapoint.state();
        let count = |name, value: u64| Self::new(monitor, name, [], at, float(value));
        let mut metrics: Vec<Option<Self>> = vec![count(
            MetricName::ExecutionFailed,
            u64::from(state == DatapointState::Failed),
        )];
        if matches!(state, DatapointState::Clean | DatapointState::Violations) {
            let violations = datapoint.evidence.violations().unwrap_or(0);
            metrics.push(count(MetricName::ConstraintViolations, violations));
            metrics.push(count(
                MetricName::Breaching,
                u64::from(rules.judge(datapoint) == Period::Breaching),
            ));
            let report = datapoint.evidence.report.as_ref();
            for check_type in check_types {
                let reported = report.and_then(|report| report.by_check_type.get(check_type)).copied();
                // An exit message has the number of violations, but not their check types.
                if report.is_some() || violations == 0 {
                    metrics.push(Self::new(
                        monitor,
                        MetricName::ConstraintViolations,
                        [("ConstraintCheckType".to_owned(), check_type.clone())],
                        at,
                        float(reported.unwrap_or(0)),
                    ));
                }
            }
            if let Some(report) = report {
                metrics.extend(report.top.iter().map(|violation| {
                    let Some(Quantity::Number(value)) = violation.observed else {
                        return None;
                    };
                    let parts = violation.dimensions.clone().into_iter();
                    let check = (
                        "ConstraintCheckType".to_owned(),
                        violation.constraint_check_type.clone(),
                    );
                    Self::new(monitor, MetricName::ObservedValue, parts.chain([check]), at, value)
                }));
                if let Some(sum) = report.other_drift {
                    let rest = ("Feature".to_owned(), "(all others, summed)".to_owned());
                    metrics.push(Self::new(monitor, MetricName::ObservedValue, [rest], at, sum));
                }
            }
        }
        metrics.into_iter().flatten().collect()
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a report holds far fewer than 2^52 violations"
)]
fn float(count: u64) -> f64 {
    count as f64
}

/// CloudWatch accepts only ASCII, and no blank values. Other characters become their code points.
fn ascii(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_ascii() && !c.is_ascii_control() {
            plain.push(c);
        } else {
            plain.extend(c.escape_unicode());
        }
    }
    plain.truncate(1024);
    if plain.trim().is_empty() {
        "(blank)".to_owned()
    } else {
        plain
    }
}
