//! The lifecycle of a model as a table of transitions. Every change of a stage uses [`Stage::after`], and the diagram
//! in `ARCHITECTURE.md` is generated from [`TRANSITIONS`].

use serde::{Deserialize, Serialize};

/// Stage of a model in its lifecycle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Stage {
    /// No incident is open.
    Healthy,
    /// An incident is open, and the facts for its first decision are not available yet.
    Deciding,
    /// The retraining is waiting for approval.
    AwaitingApproval,
    /// The retraining is on hold: because of a cooldown, a budget, a pause, another pipeline execution, or the
    /// automation level.
    Holding,
    /// The input data is broken: an operator has to fix it.
    AwaitingData,
    /// The retraining is decided, but no execution of it is known yet.
    Starting,
    /// The retraining is in progress.
    Retraining,
    /// The retraining succeeded. Its model is tested against the champion before it serves.
    Candidate,
    /// The retrained model serves, and the next executions show whether the retraining helped.
    Verifying,
    /// An operator has to investigate.
    Escalated,
}

impl Stage {
    /// All stages, in the order of the lifecycle.
    pub const ALL: [Self; 10] = [
        Self::Healthy,
        Self::Deciding,
        Self::AwaitingApproval,
        Self::Holding,
        Self::AwaitingData,
        Self::Starting,
        Self::Retraining,
        Self::Candidate,
        Self::Verifying,
        Self::Escalated,
    ];

    /// Name in state documents and events.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "Healthy",
            Self::Deciding => "Deciding",
            Self::AwaitingApproval => "AwaitingApproval",
            Self::Holding => "Holding",
            Self::AwaitingData => "AwaitingData",
            Self::Starting => "Starting",
            Self::Retraining => "Retraining",
            Self::Candidate => "Candidate",
            Self::Verifying => "Verifying",
            Self::Escalated => "Escalated",
        }
    }

    /// Next stage after a cause. `None` if the cause has no effect in this stage.
    pub fn after(self, cause: Cause) -> Option<Self> {
        let mut rows = TRANSITIONS.iter();
        rows.find_map(|(from, by, to)| (*from == self && *by == cause).then_some(*to))
    }

    /// Whether the incident waits for a decision.
    pub fn is_undecided(self) -> bool {
        matches!(
            self,
            Self::Deciding | Self::AwaitingApproval | Self::Holding | Self::AwaitingData
        )
    }
}

/// Cause of a transition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Cause {
    /// A monitor of the model is in alert.
    InAlert,
    /// Decision to start the retraining.
    Retrain,
    /// Decision to request approval.
    AskApproval,
    /// Decision not to retrain now.
    Hold,
    /// Decision that the input data has to be fixed.
    FixData,
    /// The execution of the retraining was seen, or was retried after its end.
    RunSeen,
    /// AWS refused to start the retraining, or no retraining was seen in time.
    NotStarted,
    /// The stage lasted longer than permitted.
    Overdue,
    /// The decision of an escalated incident is published again.
    Remind,
    /// The drift returned after the incident had ended, and the incident has had its retraining.
    DriftReturned,
    /// The retraining succeeded, and its model serves.
    Succeeded,
    /// The retraining succeeded, and its model has to be tested.
    CandidateMade,
    /// The retrained model was promoted.
    Promoted,
    /// The retrained model was not promoted: it lost, or there was no experiment.
    NotPromoted,
    /// The retraining failed or was stopped.
    Failed,
    /// The drift persists after the retraining.
    DriftPersists,
    /// Every monitor is OK.
    AllOk,
    /// An operator closed the incident.
    Resolved,
}

impl Cause {
    /// All causes.
    pub const ALL: [Self; 18] = [
        Self::InAlert,
        Self::Retrain,
        Self::AskApproval,
        Self::Hold,
        Self::FixData,
        Self::RunSeen,
        Self::NotStarted,
        Self::Overdue,
        Self::Remind,
        Self::DriftReturned,
        Self::Succeeded,
        Self::CandidateMade,
        Self::Promoted,
        Self::NotPromoted,
        Self::Failed,
        Self::DriftPersists,
        Self::AllOk,
        Self::Resolved,
    ];

    /// Label of the transition in the diagram.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InAlert => "InAlert",
            Self::Retrain => "Retrain",
            Self::AskApproval => "Hold (approval missing)",
            Self::Hold => "Hold",
            Self::FixData => "FixData",
            Self::RunSeen => "retraining seen",
            Self::NotStarted => "not started (Escalate)",
            Self::Overdue => "overdue (Escalate)",
            Self::Remind => "reminder",
            Self::DriftReturned => "drift returned (Escalate)",
            Self::Succeeded => "retraining succeeded",
            Self::CandidateMade => "retraining succeeded (candidate to test)",
            Self::Promoted => "candidate promoted",
            Self::NotPromoted => "candidate not promoted (Escalate)",
            Self::Failed => "retraining failed (Escalate)",
            Self::DriftPersists => "drift persists (Escalate)",
            Self::AllOk => "all OK",
            Self::Resolved => "resolved by an operator",
        }
    }
}

/// All transitions. Decisions move an incident between undecided stages when their reasons change. A start that no longer
/// holds is withdrawn before it is executed.
pub const TRANSITIONS: [(Stage, Cause, Stage); 56] = {
    use Cause::{
        AllOk, AskApproval, CandidateMade, DriftPersists, DriftReturned, Failed, FixData, Hold, InAlert, NotPromoted,
        NotStarted, Overdue, Promoted, Remind, Resolved, Retrain, RunSeen, Succeeded,
    };
    use Stage::{
        AwaitingApproval, AwaitingData, Candidate, Deciding, Escalated, Healthy, Holding, Retraining, Starting,
        Verifying,
    };
    [
        (Healthy, InAlert, Deciding),
        (Deciding, Retrain, Starting),
        (Deciding, AskApproval, AwaitingApproval),
        (Deciding, Hold, Holding),
        (Deciding, FixData, AwaitingData),
        (Deciding, RunSeen, Retraining),
        (Deciding, Overdue, Escalated),
        (Deciding, DriftReturned, Escalated),
        (Deciding, AllOk, Healthy),
        (Deciding, Resolved, Healthy),
        (AwaitingApproval, Retrain, Starting),
        (AwaitingApproval, AskApproval, AwaitingApproval),
        (AwaitingApproval, Hold, Holding),
        (AwaitingApproval, FixData, AwaitingData),
        (AwaitingApproval, RunSeen, Retraining),
        (AwaitingApproval, AllOk, Healthy),
        (AwaitingApproval, Resolved, Healthy),
        (Holding, Retrain, Starting),
        (Holding, AskApproval, AwaitingApproval),
        (Holding, Hold, Holding),
        (Holding, FixData, AwaitingData),
        (Holding, RunSeen, Retraining),
        (Holding, AllOk, Healthy),
        (Holding, Resolved, Healthy),
        (AwaitingData, Retrain, Starting),
        (AwaitingData, AskApproval, AwaitingApproval),
        (AwaitingData, Hold, Holding),
        (AwaitingData, FixData, AwaitingData),
        (AwaitingData, RunSeen, Retraining),
        (AwaitingData, Overdue, Escalated),
        (AwaitingData, AllOk, Healthy),
        (AwaitingData, Resolved, Healthy),
        (Starting, Retrain, Starting),
        (Starting, AskApproval, AwaitingApproval),
        (Starting, Hold, Holding),
        (Starting, FixData, AwaitingData),
        (Starting, RunSeen, Retraining),
        (Starting, NotStarted, Escalated),
        (Starting, Resolved, Healthy),
        (Retraining, Succeeded, Verifying),
        (Retraining, CandidateMade, Candidate),
        (Retraining, Failed, Escalated),
        (Retraining, Overdue, Escalated),
        (Retraining, Resolved, Healthy),
        (Candidate, Promoted, Verifying),
        (Candidate, NotPromoted, Escalated),
        (Candidate, Overdue, Escalated),
        (Candidate, Resolved, Healthy),
        (Verifying, DriftPersists, Escalated),
        (Verifying, Overdue, Escalated),
        (Verifying, AllOk, Healthy),
        (Verifying, Resolved, Healthy),
        (Escalated, RunSeen, Retraining),
        (Escalated, Remind, Escalated),
        (Escalated, AllOk, Healthy),
        (Escalated, Resolved, Healthy),
    ]
};

/// The table as a Mermaid state diagram. Transitions between the same two stages share an arrow. Transitions from a
/// stage to itself are left out.
pub fn diagram() -> String {
    let mut text = String::from("stateDiagram-v2\n    [*] --> Healthy\n");
    for from in Stage::ALL {
        for to in Stage::ALL.into_iter().filter(|to| *to != from) {
            let causes = TRANSITIONS.iter().filter(|(a, _, b)| *a == from && *b == to);
            let names: Vec<&str> = causes.map(|(_, cause, _)| cause.as_str()).collect();
            if !names.is_empty() {
                let (from, to) = (from.as_str(), to.as_str());
                text.push_str(&["    ", from, " --> ", to, ": ", &names.join(", "), "\n"].concat());
            }
        }
    }
    text
}
