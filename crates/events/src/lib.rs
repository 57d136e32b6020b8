#![doc = include_str!("../README.md")]

mod received;

pub use received::{Incoming, ReceiveError, ReceivedEvent};

use alerting::{
    AlertStateChange, EVENT_SOURCE, HealthStateChange, MODEL_MONITOR_ALERT_STATE_CHANGE,
    MODEL_MONITOR_HEALTH_STATE_CHANGE, MODEL_MONITOR_LEVEL_CHANGE, MONITOR_DATAPOINT_DROP,
    MONITORING_EXECUTION_REQUESTED, MONITORING_EXECUTION_STATE_CHANGE, MonitorDatapointDrop,
    MonitoringExecutionRequested, MonitoringExecutionStateChange,
};
use promotion::{
    BaselinesCreated, BaselinesRequested, EXPERIMENT_COMMAND, EXPERIMENT_OUTCOMES_REPORTED, EXPERIMENT_STATE_CHANGE,
    ExperimentCommand, ExperimentStateChange, MODEL_BASELINES_CREATED, MODEL_BASELINES_REQUESTED,
    MONITOR_BASELINE_CHANGE, MonitorBaselineChange, OutcomesReported,
};
use remediation::{
    IncidentClosed, OPERATOR_COMMAND_ACCEPTED, OPERATOR_SOURCE, OperatorCommandAccepted, PIPELINE_SOURCE,
    REMEDIATION_DECIDED, REMEDIATION_INCIDENT_CLOSED, RETRAINING_PIPELINE_EXECUTION_STATUS_CHANGE,
    RETRAINING_STATUS_REPORTED, RemediationDecided, RetrainingStatusChange, RetrainingStatusReported,
};
use serde::Deserialize as _;
use serde_json::Value;

/// Declares [`Event`]: for each variant the type of the detail, the detail-type, and the source.
macro_rules! events {
    ($($(#[doc = $doc:literal])* $variant:ident($detail:ty): $detail_type:ident from $source:ident,)*) => {
        /// An event of Driftwarden, with its detail.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Event {
            $($(#[doc = $doc])* $variant(Box<$detail>),)*
        }

        impl Event {
            /// Detail-type and source of every event.
            pub const ALL: &[(&str, &str)] = &[$(($detail_type, $source),)*];

            /// Detail-type of the event.
            pub fn detail_type(&self) -> &'static str {
                match self {
                    $(Self::$variant(_) => $detail_type,)*
                }
            }

            /// Source of the event: Driftwarden, an operator, or an external service.
            pub fn source(&self) -> &'static str {
                match self {
                    $(Self::$variant(_) => $source,)*
                }
            }

            /// Detail of the event as JSON.
            ///
            /// # Errors
            /// If the detail contains a number that JSON has not, as infinity.
            pub fn detail(&self) -> Result<String, serde_json::Error> {
                match self {
                    $(Self::$variant(detail) => serde_json::to_string(detail),)*
                }
            }

            /// Parses the detail of an event. `None` if it is not an event of Driftwarden, or if this release does not know it.
            ///
            /// # Errors
            /// If the detail does not have the layout of its detail-type.
            pub fn parse(source: &str, detail_type: &str, detail: &Value) -> Result<Option<Self>, serde_json::Error> {
                match detail_type {
                    $($detail_type if is_from(source, $source, detail_type) => {
                        Box::deserialize(detail).map(|detail| Some(Self::$variant(detail)))
                    })*
                    _ => Ok(None),
                }
            }
        }
    };
}

events! {
    /// The alert status of a monitor changed.
    AlertStateChange(AlertStateChange): MODEL_MONITOR_ALERT_STATE_CHANGE from EVENT_SOURCE,
    /// The facts of an alert changed, but not its status.
    LevelChange(AlertStateChange): MODEL_MONITOR_LEVEL_CHANGE from EVENT_SOURCE,
    /// A monitor became unhealthy, recovered, or retired from its model.
    HealthStateChange(HealthStateChange): MODEL_MONITOR_HEALTH_STATE_CHANGE from EVENT_SOURCE,
    /// An execution of a native analysis is due.
    ExecutionRequested(MonitoringExecutionRequested): MONITORING_EXECUTION_REQUESTED from EVENT_SOURCE,
    /// An execution of a native analysis ended.
    ExecutionStateChange(MonitoringExecutionStateChange): MONITORING_EXECUTION_STATE_CHANGE from EVENT_SOURCE,
    /// An operator removes a datapoint of a monitor.
    DatapointDrop(MonitorDatapointDrop): MONITOR_DATAPOINT_DROP from OPERATOR_SOURCE,
    /// A decision on an incident.
    RemediationDecided(RemediationDecided): REMEDIATION_DECIDED from EVENT_SOURCE,
    /// A retraining ended.
    RetrainingStatusChange(RetrainingStatusChange): RETRAINING_PIPELINE_EXECUTION_STATUS_CHANGE from EVENT_SOURCE,
    /// A retraining service reports the status of a retraining.
    RetrainingStatusReported(RetrainingStatusReported): RETRAINING_STATUS_REPORTED from PIPELINE_SOURCE,
    /// An incident was closed.
    IncidentClosed(IncidentClosed): REMEDIATION_INCIDENT_CLOSED from EVENT_SOURCE,
    /// A command of an operator took effect.
    CommandAccepted(OperatorCommandAccepted): OPERATOR_COMMAND_ACCEPTED from EVENT_SOURCE,
    /// An experiment reached another stage, or its next traffic step.
    ExperimentStateChange(ExperimentStateChange): EXPERIMENT_STATE_CHANGE from EVENT_SOURCE,
    /// An operator controls an experiment.
    ExperimentCommand(ExperimentCommand): EXPERIMENT_COMMAND from OPERATOR_SOURCE,
    /// Outcomes of a custom metric.
    OutcomesReported(OutcomesReported): EXPERIMENT_OUTCOMES_REPORTED from PIPELINE_SOURCE,
    /// The monitors of a promoted model need baselines.
    BaselinesRequested(BaselinesRequested): MODEL_BASELINES_REQUESTED from EVENT_SOURCE,
    /// Baselines of a promoted model were created.
    BaselinesCreated(BaselinesCreated): MODEL_BASELINES_CREATED from EVENT_SOURCE,
    /// A monitor uses another baseline.
    BaselineChange(MonitorBaselineChange): MONITOR_BASELINE_CHANGE from EVENT_SOURCE,
}

/// Whether an event comes from the source that may send it.
fn is_from(source: &str, expected: &str, detail_type: &str) -> bool {
    // External services had the source of operators in the previous release.
    let is_external = [RETRAINING_STATUS_REPORTED, EXPERIMENT_OUTCOMES_REPORTED].contains(&detail_type);
    source == expected || (is_external && source == OPERATOR_SOURCE)
}

impl From<Box<AlertStateChange>> for Event {
    fn from(change: Box<AlertStateChange>) -> Self {
        if change.revision == 0 {
            Self::AlertStateChange(change)
        } else {
            Self::LevelChange(change)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::collections::BTreeSet;

    fn drop_event() -> Value {
        json!({"monitoringSchedule": "churn-dq", "scheduledTime": "2026-11-23T03:00:00Z", "by": "ada",
            "time": "2026-11-23T04:00:00Z", "reason": "wrong file"})
    }

    #[test]
    fn event_is_parsed_as_it_was_written() {
        let event = Event::parse(OPERATOR_SOURCE, MONITOR_DATAPOINT_DROP, &drop_event());
        let event = event.unwrap().unwrap();
        assert_eq!(
            (event.source(), event.detail_type()),
            (OPERATOR_SOURCE, MONITOR_DATAPOINT_DROP)
        );
        assert_eq!(
            serde_json::from_str::<Value>(&event.detail().unwrap()).unwrap(),
            drop_event()
        );
    }

    #[test]
    fn event_from_another_source_is_not_driftwardens() {
        for source in [EVENT_SOURCE, PIPELINE_SOURCE, "aws.s3"] {
            let event = Event::parse(source, MONITOR_DATAPOINT_DROP, &drop_event());
            assert_eq!(event.unwrap(), None, "{source}");
        }
        let reported = json!({"incidentId": "churn-1", "executionArn": "job-17", "status": "Succeeded",
            "time": "2026-11-23T15:00:00Z"});
        for source in [PIPELINE_SOURCE, OPERATOR_SOURCE] {
            let event = Event::parse(source, RETRAINING_STATUS_REPORTED, &reported).unwrap();
            assert!(matches!(event, Some(Event::RetrainingStatusReported(_))), "{source}");
        }
    }

    #[test]
    fn invalid_detail_is_an_error() {
        let error = Event::parse(EVENT_SOURCE, REMEDIATION_DECIDED, &json!({"model": "churn"}));
        assert!(error.unwrap_err().to_string().contains("missing field"));
    }

    #[test]
    fn detail_types_are_unique() {
        let names: BTreeSet<_> = Event::ALL.iter().map(|(detail_type, _)| detail_type).collect();
        assert_eq!(names.len(), Event::ALL.len());
    }
}
