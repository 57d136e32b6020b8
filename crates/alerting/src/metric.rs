//! The CloudWatch metrics of one execution. A clean execution has its datapoints too: a metric that only speaks of
//! violations can rise but never fall.

use crate::{Datapoint, DatapointState, Monitor, MonitorRules, Period};
use jiff::Timestamp;
use model_monitor::Quantity;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// The largest magnitude that CloudWatch takes (2^360, API `PutMetricData`). Model Monitor publishes infinities as this.
const CLOUDWATCH_BOUND: f64 = 2.348_542_582_773_833_3e108;

/// Names of the metrics. The dashboard and the alarms in `infra/` use the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum MetricName {
    /// Number of constraint violations of an execution; with the dimension `ConstraintCheckType`, those of one type.
    ConstraintViolations,
    /// 1 if the execution had violations that count, else 0: CloudWatch's word for such a datapoint.
    Breaching,
    /// 1 if the execution failed or was stopped, else 0.
    ExecutionFailed,
    /// The value that a violation was found at, by `Feature`, `MetricName`, `Facet` and `FacetValue`, or `Label`.
    ObservedValue,
    /// A violation report that could not be read; counted at every attempt.
    UnreadableReports,
}

impl MetricName {
    /// The name in CloudWatch.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ConstraintViolations => "ConstraintViolations",
            Self::Breaching => "Breaching",
            Self::ExecutionFailed => "ExecutionFailed",
            Self::ObservedValue => "ObservedValue",
            Self::UnreadableReports => "UnreadableReports",
        }
    }
}

/// CloudWatch's units, those used here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unit {
    /// A number of things.
    Count,
    /// A number without a unit.
    None,
}

/// One value for CloudWatch, within the limits of `PutMetricData`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Metric {
    /// What is measured.
    pub name: MetricName,
    /// At most six here; CloudWatch takes 30. Names and values are ASCII and not blank.
    pub dimensions: Vec<(String, String)>,
    /// The time that it is for: of an execution, its scheduled time.
    pub timestamp: Timestamp,
    /// Finite, within CloudWatch's bound.
    pub value: f64,
    /// Its unit.
    pub unit: Unit,
}

impl Metric {
    /// A metric of a monitor; `None` for a value that CloudWatch cannot hold (NaN). Infinities become CloudWatch's bound.
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

    /// All metrics of one execution. `check_types` are those that this monitor has ever reported: one that is not
    /// reported this time is 0, so that its metric falls again. What an execution does not tell is not published: a
    /// failed one has no number of violations.
    pub fn of(
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
                // An exit message alone counts violations without telling their types.
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

/// CloudWatch takes ASCII only, and nothing blank: other characters become their code points.
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
