//! Transition table of the stages of an experiment. The diagram in `ARCHITECTURE.md` is generated from [`TRANSITIONS`].

use serde::{Deserialize, Serialize};

/// Stage of an experiment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum ExperimentStage {
    /// The model package is pending approval (`PendingManualApproval`).
    AwaitingApproval,
    /// The candidate is being deployed next to the champion.
    Preparing,
    /// Champion and candidate serve requests and are compared.
    Testing,
    /// An operator has to decide. Driftwarden does not change the endpoint meanwhile.
    Paused,
    /// The traffic is being shifted to the candidate.
    Promoting,
    /// The candidate gets all traffic, and the previous champion stays ready (bake period).
    Baking,
    /// The previous champion is being removed from the endpoint.
    Retiring,
    /// The original endpoint configuration is being restored.
    RollingBack,
    /// The experiment has ended.
    Ended,
}

impl ExperimentStage {
    /// All stages.
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

    /// Name in documents and events.
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

    /// Stage after this cause. `None` if the cause has no effect in this stage.
    pub fn after(self, cause: Cause) -> Option<Self> {
        let mut rows = TRANSITIONS.iter();
        rows.find_map(|(from, by, to)| (*from == self && *by == cause).then_some(*to))
    }
}

/// Final result of an experiment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Conclusion {
    /// The candidate is the new champion.
    Promoted,
    /// The candidate lost, breached a guardrail, or was rolled back by an operator or by SageMaker's deployment guardrails: the
    /// champion stays.
    RolledBack,
    /// The candidate was rejected: the offline gate failed, or its model package was rejected. The champion stays.
    Rejected,
    /// The results cannot be trusted, because the variants did not get their configured traffic shares: the champion stays.
    Invalid,
    /// The maximum duration passed without a significant difference: the champion stays.
    Inconclusive,
    /// An operator stopped the experiment, or the policy turned promotion off: the champion stays.
    Stopped,
    /// The endpoint was changed outside Driftwarden. It stays as it is.
    Abandoned,
    /// The endpoint update failed: the champion stays.
    Failed,
}

impl Conclusion {
    /// Name in documents and events.
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

/// Cause of a transition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Cause {
    /// The model package was approved.
    Approved,
    /// The model package was rejected, or replaced by a newer one.
    Rejected,
    /// Champion and candidate are in service.
    InService,
    /// The candidate won, or an operator ordered the promotion.
    Promote,
    /// The candidate lost or breached a guardrail, or an operator ordered the rollback.
    RollBack,
    /// An operator has to decide.
    Pause,
    /// An operator resumed the experiment.
    Resume,
    /// The candidate gets all traffic.
    AllTraffic,
    /// The bake period has ended.
    Baked,
    /// The endpoint is in service with its final configuration.
    Settled,
    /// The update failed permanently, before the comparison started.
    Failed,
    /// The endpoint was changed outside Driftwarden.
    Changed,
}

impl Cause {
    /// All causes.
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

    /// Label of the arrow in the diagram.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Approved => "approved",
            Self::Rejected => "rejected or superseded",
            Self::InService => "both in service",
            Self::Promote => "promote",
            Self::RollBack => "roll back",
            Self::Pause => "operator has to decide",
            Self::Resume => "resumed by operator",
            Self::AllTraffic => "all traffic",
            Self::Baked => "baked",
            Self::Settled => "configuration in service",
            Self::Failed => "update failed",
            Self::Changed => "changed outside Driftwarden",
        }
    }
}

/// All transitions: stage, cause, next stage.
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

/// The transitions as a Mermaid state diagram.
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
