//! Inputs of a model's state machine, what they need to know, and their outcomes.

use crate::{
    CandidateStatus, Pause, PipelineExecution, Policy, Reason, RemediationApproval, RemediationPause,
    RemediationResolution, RiskRating, Settings,
};
use alerting::{AlertStateChange, Level};
use jiff::Timestamp;
use serde::Serialize;
use std::collections::BTreeMap;

/// Levels of the monitors of a model, by [`crate::schedule_key`]. A monitor whose level was not read is missing. The level of a
/// CloudWatch alarm is its present state.
pub type Levels = BTreeMap<String, Level>;

/// Input of the state machine.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// The alert of one of the model's monitors changed.
    Alert(Box<AlertStateChange>),
    /// A monitor no longer exists, or monitors another model now.
    Retired {
        /// Name of its monitoring schedule.
        monitoring_schedule: String,
    },
    /// The execution of the retraining of one of the model's incidents changed.
    PipelineExecution {
        /// Sequence number of the incident within the model.
        incident: u64,
        /// The execution.
        execution: PipelineExecution,
        /// Time of the change.
        at: Timestamp,
    },
    /// AWS does not know the execution of the retraining of the open incident.
    RunUnknown {
        /// ARN of the execution.
        execution_arn: String,
    },
    /// An approver approved or denied the retraining.
    Approval(RemediationApproval),
    /// An operator closed the incident.
    Resolution(RemediationResolution),
    /// An operator paused or resumed the model.
    Pause(RemediationPause),
    /// The experiment with a retrained model changed.
    Experiment(CandidateStatus),
    /// Time has passed.
    Tick,
}

/// Facts from AWS that a decision needs, beside the levels of the monitors.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    /// ARNs of the pipeline executions in progress that may belong to this model, no matter who started them.
    pub in_flight: Vec<String>,
    /// The latest pipeline execution with the display name of the open incident, in progress or ended.
    pub own_execution: Option<PipelineExecution>,
    /// Risk rating in the model card.
    pub risk_rating: RiskRating,
    /// Latest pause or resume of all models.
    pub paused: Option<Pause>,
    /// The reason why a start has to wait for other models ([`crate::Fleet::check`]).
    pub fleet: Option<Reason>,
}

/// Context in which an input is processed.
#[derive(Debug, Clone, Copy)]
pub struct StepContext<'a> {
    /// Effective policy.
    pub policy: &'a Policy,
    /// Settings of the stack.
    pub settings: &'a Settings,
    /// Levels of the model's monitors.
    pub levels: &'a Levels,
    /// Facts from AWS. `None` if they were not needed. An error is the message of the failure to read them.
    pub facts: Option<Result<&'a Facts, &'a str>>,
}

/// What an input needs to know ([`crate::ModelDocument::needs`]).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Needs {
    /// Whether it needs [`Facts`], because it may lead to a decision.
    pub facts: bool,
    /// Names of the monitoring schedules of which it needs the [`Level`].
    pub levels: Vec<String>,
    /// Names of the CloudWatch alarms of which it needs the present state, because they may support a retraining.
    pub alarms: Vec<String>,
}

impl Needs {
    /// Whether other needs are met by what was read for these. `levels` are those that were read for these or are known.
    pub fn cover(&self, other: &Self, levels: &Levels) -> bool {
        let has_level = |key: &String| self.levels.contains(key) || levels.contains_key(key);
        (self.facts || !other.facts)
            && other.levels.iter().all(has_level)
            && other.alarms.iter().all(|name| self.alarms.contains(name))
    }
}

/// Why a command changed nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Refusal {
    /// The incident is not open.
    NotOpen,
    /// The incident does not wait for a decision.
    Decided,
    /// The command answers another decision than the latest one.
    OtherDecision,
    /// The approval request has expired.
    Expired,
    /// A later command is known.
    Outdated,
    /// Monitors are in alert, and the command does not say what becomes of them.
    MonitorsInAlert,
}

/// Outcome of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepOutcome {
    /// The document changed.
    Changed,
    /// The document is unchanged: the input is a duplicate, is outdated, or belongs to an incident that is not open.
    Unchanged,
    /// The command of an operator was refused.
    Refused(Refusal),
}
