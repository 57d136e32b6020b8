//! The stages of an experiment as a table: from which stage what leads where. The diagram in `ARCHITECTURE.md` is drawn from
//! [`TRANSITIONS`].

use serde::{Deserialize, Serialize};

/// Where an experiment stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum ExperimentStage {
    /// The model package is `PendingManualApproval`.
    AwaitingApproval,
    /// The candidate is being put beside the champion.
    Preparing,
    /// Both answer requests, and are compared.
    Testing,
    /// A person has to decide. Nothing of the endpoint is changed meanwhile.
    Paused,
    /// The candidate is given all the traffic.
    Promoting,
    /// It has all the traffic, and the old champion still stands by.
    Baking,
    /// The old champion is being removed.
    Retiring,
    /// The endpoint is being given back its old configuration.
    RollingBack,
    /// It is over.
    Ended,
}

impl ExperimentStage {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::AwaitingApproval,
        Self::Preparing,
        Self::Testing,
        Self::Paused,
        Self::Promoting,
        Self::Baking,
        Self::Retiring,
        Self::RollingBack,
        Self::Ended,
    ];

    /// The name as written in documents and events.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AwaitingApproval => "AwaitingApproval",
            Self::Preparing => "Preparing",
            Self::Testing => "Testing",
            Self::Paused => "Paused",
            Self::Promoting => "Promoting",
            Self::Baking => "Baking",
            Self::Retiring => "Retiring",
            Self::RollingBack => "RollingBack",
            Self::Ended => "Ended",
        }
    }

    /// Where a cause leads from here; `None` if it changes nothing.
    pub fn after(self, cause: Cause) -> Option<Self> {
        let mut rows = TRANSITIONS.iter();
        rows.find_map(|(from, by, to)| (*from == self && *by == cause).then_some(*to))
    }
}

/// How an experiment ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Conclusion {
    /// The candidate is the champion.
    Promoted,
    /// The candidate lost, or broke a guardrail: the champion stays.
    RolledBack,
    /// The candidate was not put on the endpoint: its own metrics are worse, or a person said no.
    Rejected,
    /// The numbers cannot be trusted: the champion stays.
    Invalid,
    /// The time was over, and nothing was certain: the champion stays.
    Inconclusive,
    /// A person stopped it: the champion stays.
    Stopped,
    /// Somebody else changed the endpoint, which is left as it is.
    Abandoned,
    /// The endpoint could not be updated: the champion stays.
    Failed,
}

impl Conclusion {
    /// The name as written in documents and events.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Promoted => "Promoted",
            Self::RolledBack => "RolledBack",
            Self::Rejected => "Rejected",
            Self::Invalid => "Invalid",
            Self::Inconclusive => "Inconclusive",
            Self::Stopped => "Stopped",
            Self::Abandoned => "Abandoned",
            Self::Failed => "Failed",
        }
    }
}

/// What leads from one stage to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Cause {
    /// The model package was approved.
    Approved,
    /// The model package was rejected, or replaced by a newer one.
    Rejected,
    /// Champion and candidate are both in service.
    InService,
    /// The candidate won, or a person ordered it.
    Promote,
    /// The candidate lost, broke a guardrail, or a person ordered it.
    RollBack,
    /// A person has to decide.
    Pause,
    /// A person lets the comparison go on.
    Resume,
    /// The candidate has all the traffic.
    AllTraffic,
    /// It has had it for long enough.
    Baked,
    /// The endpoint has its last configuration.
    Settled,
    /// The update failed for good, before there was anything to compare.
    Failed,
    /// Somebody else changed the endpoint.
    Changed,
}

impl Cause {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Approved,
        Self::Rejected,
        Self::InService,
        Self::Promote,
        Self::RollBack,
        Self::Pause,
        Self::Resume,
        Self::AllTraffic,
        Self::Baked,
        Self::Settled,
        Self::Failed,
        Self::Changed,
    ];

    /// What is written at the arrow.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Approved => "approved",
            Self::Rejected => "rejected or superseded",
            Self::InService => "both in service",
            Self::Promote => "promote",
            Self::RollBack => "roll back",
            Self::Pause => "a person has to decide",
            Self::Resume => "resumed by a person",
            Self::AllTraffic => "all traffic",
            Self::Baked => "baked",
            Self::Settled => "configuration in service",
            Self::Failed => "update failed",
            Self::Changed => "changed by somebody else",
        }
    }
}

/// Every transition there is.
pub const TRANSITIONS: [(ExperimentStage, Cause, ExperimentStage); 29] = {
    use Cause::{
        AllTraffic, Approved, Baked, Changed, Failed, InService, Pause, Promote, Rejected, Resume, RollBack, Settled,
    };
    use ExperimentStage::{
        AwaitingApproval, Baking, Ended, Paused, Preparing, Promoting, Retiring, RollingBack, Testing,
    };
    [
        (AwaitingApproval, Approved, Preparing),
        (AwaitingApproval, Rejected, Ended),
        (AwaitingApproval, RollBack, Ended),
        (Preparing, InService, Testing),
        (Preparing, Baked, Retiring),
        (Preparing, Rejected, RollingBack),
        (Preparing, RollBack, RollingBack),
        (Preparing, Failed, Ended),
        (Preparing, Changed, Ended),
        (Testing, Promote, Promoting),
        (Testing, Baked, Retiring),
        (Testing, RollBack, RollingBack),
        (Testing, Pause, Paused),
        (Testing, Changed, Ended),
        (Paused, Promote, Promoting),
        (Paused, Baked, Retiring),
        (Paused, RollBack, RollingBack),
        (Paused, Resume, Testing),
        (Paused, Changed, Ended),
        (Promoting, AllTraffic, Baking),
        (Promoting, RollBack, RollingBack),
        (Promoting, Changed, Ended),
        (Baking, Baked, Retiring),
        (Baking, RollBack, RollingBack),
        (Baking, Changed, Ended),
        (Retiring, Settled, Ended),
        (Retiring, Changed, Ended),
        (RollingBack, Settled, Ended),
        (RollingBack, Changed, Ended),
    ]
};

/// The table as a Mermaid state diagram.
pub fn diagram() -> String {
    let mut text = String::from(
        "stateDiagram-v2\n    [*] --> AwaitingApproval: package pending\n    [*] --> Preparing: package approved\n    [*] --> Ended: worse than the champion's package\n",
    );
    for from in ExperimentStage::ALL {
        for to in ExperimentStage::ALL.into_iter().filter(|to| *to != from) {
            let causes = TRANSITIONS.iter().filter(|(a, _, b)| *a == from && *b == to);
            let names: Vec<&str> = causes.map(|(_, cause, _)| cause.as_str()).collect();
            if !names.is_empty() {
                let (from, to) = (from.as_str(), to.as_str());
                text.push_str(&["    ", from, " --> ", to, ": ", &names.join(", "), "\n"].concat());
            }
        }
    }
    text.push_str("    Ended --> [*]\n");
    text
}
