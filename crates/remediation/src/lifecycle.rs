//! The lifecycle of a model as a table: from which stage what leads where. Everything that changes a stage goes through
//! [`Stage::after`], and the diagram in `ARCHITECTURE.md` is drawn from [`TRANSITIONS`].

use serde::{Deserialize, Serialize};

/// Where a model stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Stage {
    /// No incident is open.
    Healthy,
    /// In alert, and what the decision needs to know could not be asked yet.
    Deciding,
    /// A retraining waits for a person's approval.
    AwaitingApproval,
    /// A retraining is held back: by a cooldown, a budget, a kill switch, a run in flight, the automation level.
    Holding,
    /// The data broke: a person has to mend them.
    AwaitingData,
    /// The retraining has been decided, and has not ended.
    Retraining,
    /// The retraining succeeded, and its model is tested against the one that serves.
    Candidate,
    /// The retrained model serves; the next executions say whether it helped.
    Verifying,
    /// A person has to look.
    Escalated,
}

impl Stage {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Healthy,
        Self::Deciding,
        Self::AwaitingApproval,
        Self::Holding,
        Self::AwaitingData,
        Self::Retraining,
        Self::Candidate,
        Self::Verifying,
        Self::Escalated,
    ];

    /// The name as written in documents and events.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "Healthy",
            Self::Deciding => "Deciding",
            Self::AwaitingApproval => "AwaitingApproval",
            Self::Holding => "Holding",
            Self::AwaitingData => "AwaitingData",
            Self::Retraining => "Retraining",
            Self::Candidate => "Candidate",
            Self::Verifying => "Verifying",
            Self::Escalated => "Escalated",
        }
    }

    /// Where a cause leads from here; `None` if it changes nothing.
    pub fn after(self, cause: Cause) -> Option<Self> {
        let mut rows = TRANSITIONS.iter();
        rows.find_map(|(from, by, to)| (*from == self && *by == cause).then_some(*to))
    }

    /// Whether it is still to be decided, or decided again, what is done.
    pub fn is_undecided(self) -> bool {
        self.after(Cause::Retrain).is_some()
    }
}

/// What leads from one stage to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Cause {
    /// A monitor of the model went into alert.
    InAlert,
    /// Decided: the retraining is started.
    Retrain,
    /// Decided: a person is asked.
    AskApproval,
    /// Decided: not now.
    Hold,
    /// Decided: the data are to be mended.
    FixData,
    /// The retraining ended well, and what it made serves.
    Succeeded,
    /// The retraining ended well, and what it made is to be tested first.
    CandidateMade,
    /// The retrained model won, and serves.
    Promoted,
    /// The retrained model does not serve: it lost, or its test could not be.
    NotPromoted,
    /// The retraining failed or was stopped.
    Failed,
    /// The drift is still there after the retraining.
    DriftPersists,
    /// Every monitor is OK.
    AllOk,
    /// A person closed the incident.
    Resolved,
}

impl Cause {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::InAlert,
        Self::Retrain,
        Self::AskApproval,
        Self::Hold,
        Self::FixData,
        Self::Succeeded,
        Self::CandidateMade,
        Self::Promoted,
        Self::NotPromoted,
        Self::Failed,
        Self::DriftPersists,
        Self::AllOk,
        Self::Resolved,
    ];

    /// What is written at the arrow.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InAlert => "InAlert",
            Self::Retrain => "Retrain",
            Self::AskApproval => "Hold (approval missing)",
            Self::Hold => "Hold",
            Self::FixData => "FixData",
            Self::Succeeded => "run succeeded",
            Self::CandidateMade => "run succeeded (candidate to be tested)",
            Self::Promoted => "candidate promoted",
            Self::NotPromoted => "candidate not promoted (Escalate)",
            Self::Failed => "run failed (Escalate)",
            Self::DriftPersists => "drift persists (Escalate)",
            Self::AllOk => "all OK",
            Self::Resolved => "resolved by a person",
        }
    }
}

/// Every transition there is. From one undecided stage a decision leads to another as what speaks for and against a
/// retraining changes.
pub const TRANSITIONS: [(Stage, Cause, Stage); 36] = {
    use Cause::{
        AllOk, AskApproval, CandidateMade, DriftPersists, Failed, FixData, Hold, InAlert, NotPromoted, Promoted,
        Resolved, Retrain, Succeeded,
    };
    use Stage::{
        AwaitingApproval, AwaitingData, Candidate, Deciding, Escalated, Healthy, Holding, Retraining, Verifying,
    };
    [
        (Healthy, InAlert, Deciding),
        (Deciding, Retrain, Retraining),
        (Deciding, AskApproval, AwaitingApproval),
        (Deciding, Hold, Holding),
        (Deciding, FixData, AwaitingData),
        (Deciding, AllOk, Healthy),
        (Deciding, Resolved, Healthy),
        (AwaitingApproval, Retrain, Retraining),
        (AwaitingApproval, AskApproval, AwaitingApproval),
        (AwaitingApproval, Hold, Holding),
        (AwaitingApproval, FixData, AwaitingData),
        (AwaitingApproval, AllOk, Healthy),
        (AwaitingApproval, Resolved, Healthy),
        (Holding, Retrain, Retraining),
        (Holding, AskApproval, AwaitingApproval),
        (Holding, Hold, Holding),
        (Holding, FixData, AwaitingData),
        (Holding, AllOk, Healthy),
        (Holding, Resolved, Healthy),
        (AwaitingData, Retrain, Retraining),
        (AwaitingData, AskApproval, AwaitingApproval),
        (AwaitingData, Hold, Holding),
        (AwaitingData, FixData, AwaitingData),
        (AwaitingData, AllOk, Healthy),
        (AwaitingData, Resolved, Healthy),
        (Retraining, Succeeded, Verifying),
        (Retraining, CandidateMade, Candidate),
        (Retraining, Failed, Escalated),
        (Candidate, Promoted, Verifying),
        (Candidate, NotPromoted, Escalated),
        (Candidate, Resolved, Healthy),
        (Verifying, DriftPersists, Escalated),
        (Verifying, AllOk, Healthy),
        (Verifying, Resolved, Healthy),
        (Escalated, AllOk, Healthy),
        (Escalated, Resolved, Healthy),
    ]
};

/// The table as a Mermaid state diagram. Arrows between the same two stages are drawn as one, those of a stage to itself
/// are left out.
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
