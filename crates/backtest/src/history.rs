//! Recorded executions, in a compact form for millions of them.

use alerting::{DatapointState, Evidence, ExecutionEvidence, ExecutionStatus, ReportEvidence};
use jiff::Timestamp;
use remediation::{MonitorRef, Policy};
use std::collections::BTreeMap;

/// One recorded execution.
#[derive(Debug, Clone, PartialEq)]
pub struct Recorded {
    /// Scheduled time.
    pub scheduled_time: Timestamp,
    /// State of the datapoint.
    pub state: DatapointState,
    /// Violation report, if there is one.
    pub report: Option<Box<ReportEvidence>>,
}

impl Recorded {
    /// Evidence for a ledger.
    pub(crate) fn evidence(&self) -> Evidence {
        let (status, reason) = match self.state {
            DatapointState::Missing => return Evidence::default(),
            DatapointState::Clean => (ExecutionStatus::Completed, None),
            DatapointState::Violations => (ExecutionStatus::CompletedWithViolations, None),
            DatapointState::Failed => (ExecutionStatus::Failed, None),
            DatapointState::NoData => (ExecutionStatus::Failed, Some("Job inputs had no data".to_owned())),
        };
        Evidence {
            report: self.report.as_deref().cloned(),
            job: None,
            execution: Some(ExecutionEvidence {
                status,
                reason,
                last_modified: self.scheduled_time,
            }),
        }
    }
}

/// One execution with its monitor.
#[derive(Debug, Clone, PartialEq)]
pub struct Execution {
    /// Name of the monitoring schedule.
    pub schedule: String,
    /// Name of the monitored endpoint. `None` for batch transform.
    pub endpoint: Option<String>,
    /// Monitor type, if known: `DataQuality`, `ModelQuality`, `ModelBias`, `ModelExplainability`, or `Custom`.
    pub monitor_type: Option<String>,
    /// The recorded execution.
    pub recorded: Recorded,
}

/// One monitor and its executions, ordered by scheduled time.
#[derive(Debug, Clone, PartialEq)]
pub struct Monitor {
    /// Name of the monitoring schedule.
    pub schedule: String,
    /// Name of the monitored endpoint. `None` for batch transform.
    pub endpoint: Option<String>,
    /// Monitor type, if known.
    pub monitor_type: Option<String>,
    /// Executions, ordered by scheduled time.
    pub executions: Vec<Recorded>,
}

impl Monitor {
    /// Reference for lookups in a policy.
    pub fn to_ref(&self) -> MonitorRef<'_> {
        MonitorRef {
            schedule: &self.schedule,
            endpoint: self.endpoint.as_deref(),
            monitor_type: self.monitor_type.as_deref(),
        }
    }
}

/// Executions of many monitors.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct History {
    /// Monitors by schedule name in lower case.
    monitors: BTreeMap<String, Monitor>,
}

impl History {
    /// Adds an execution. The order does not matter, but if two executions have the same monitor and time, the last
    /// added one wins.
    pub fn add(&mut self, execution: Execution) {
        let Execution {
            schedule,
            endpoint,
            monitor_type,
            recorded,
        } = execution;
        let monitor = self.monitors.entry(schedule.to_lowercase()).or_insert_with(|| Monitor {
            schedule,
            endpoint: None,
            monitor_type: None,
            executions: Vec::new(),
        });
        monitor.endpoint = endpoint.or(monitor.endpoint.take());
        monitor.monitor_type = monitor_type.or(monitor.monitor_type.take());
        let executions = &mut monitor.executions;
        match executions.last() {
            Some(last) if last.scheduled_time >= recorded.scheduled_time => {
                match executions.binary_search_by_key(&recorded.scheduled_time, |known| known.scheduled_time) {
                    Ok(at) => {
                        if let Some(known) = executions.get_mut(at) {
                            *known = recorded;
                        }
                    }
                    Err(at) => executions.insert(at, recorded),
                }
            }
            _ => executions.push(recorded),
        }
    }

    /// Fills the gaps of monitors whose reports without violations were not recorded. Between the first and the last
    /// execution, each missing execution at the most common interval gets this state.
    pub fn fill_gaps(&mut self, state: DatapointState) {
        for monitor in self.monitors.values_mut() {
            let times: Vec<i64> = monitor
                .executions
                .iter()
                .map(|known| known.scheduled_time.as_second())
                .collect();
            let mut steps: BTreeMap<i64, usize> = BTreeMap::new();
            for (before, after) in times.iter().zip(times.iter().skip(1)) {
                *steps.entry(after - before).or_default() += 1;
            }
            let most_common = steps
                .iter()
                .max_by_key(|(step, count)| (**count, std::cmp::Reverse(**step)));
            let Some(step) = most_common.map(|(step, _)| *step).filter(|step| *step > 0) else {
                continue;
            };
            let mut filled = Vec::with_capacity(monitor.executions.len());
            for known in monitor.executions.drain(..) {
                let last = filled.last().map(|last: &Recorded| last.scheduled_time.as_second());
                let mut next = last.map_or(i64::MAX, |last| last.saturating_add(step));
                while next < known.scheduled_time.as_second() {
                    if let Ok(scheduled_time) = Timestamp::from_second(next) {
                        filled.push(Recorded {
                            scheduled_time,
                            state,
                            report: None,
                        });
                    }
                    next = next.saturating_add(step);
                }
                filled.push(known);
            }
            monitor.executions = filled;
        }
    }

    /// Whether the history has this execution of a schedule.
    pub fn contains(&self, schedule: &str, scheduled_time: Timestamp) -> bool {
        self.monitors.get(&schedule.to_lowercase()).is_some_and(|monitor| {
            monitor
                .executions
                .binary_search_by_key(&scheduled_time, |known| known.scheduled_time)
                .is_ok()
        })
    }

    /// Adds the executions of another history.
    pub fn append(&mut self, other: Self) {
        for monitor in other.monitors.into_values() {
            for recorded in monitor.executions {
                self.add(Execution {
                    schedule: monitor.schedule.clone(),
                    endpoint: monitor.endpoint.clone(),
                    monitor_type: monitor.monitor_type.clone(),
                    recorded,
                });
            }
        }
    }

    /// Number of executions.
    pub fn len(&self) -> usize {
        self.monitors.values().map(|monitor| monitor.executions.len()).sum()
    }

    /// Whether the history has no executions.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// First and last scheduled time.
    pub fn span(&self) -> Option<(Timestamp, Timestamp)> {
        let first = self.monitors.values().filter_map(|monitor| monitor.executions.first());
        let last = self.monitors.values().filter_map(|monitor| monitor.executions.last());
        let first = first.map(|recorded| recorded.scheduled_time).min()?;
        let last = last.map(|recorded| recorded.scheduled_time).max()?;
        Some((first, last))
    }

    /// Monitors by model, as assigned by a policy.
    pub fn models(&self, policy: &Policy) -> BTreeMap<String, Vec<&Monitor>> {
        let mut models: BTreeMap<String, Vec<&Monitor>> = BTreeMap::new();
        for monitor in self.monitors.values() {
            let model = policy.monitor(&monitor.to_ref()).model;
            models.entry(model).or_default().push(monitor);
        }
        models
    }
}
