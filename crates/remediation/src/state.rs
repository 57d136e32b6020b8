//! The state of an open incident: a variant for each stage, with exactly the facts of that stage.
//!
//! What a stage does is in [`crate::stages`], and how a state is stored is in `stored.rs`. The time at which a stage began
//! belongs to every stage, so it is a field of the incident.

use crate::{PipelineExecution, Stage, StartAnswer};
use jiff::Timestamp;

/// State of an open incident. A closed incident keeps its last one.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum State {
    /// The incident waits for a decision.
    Undecided(Undecided),
    /// The retraining is decided, but no execution of it is known yet.
    Starting(Starting),
    /// The retraining is in progress.
    Retraining(Retraining),
    /// The retraining succeeded, and its model is tested before it serves.
    Candidate(Candidate),
    /// The retrained model serves, and the next executions verify it.
    Verifying(Verifying),
    /// An operator has to investigate.
    Escalated(Past),
}

/// The four stages without a decision to retrain. They have the same facts and the same exits, and differ in what they wait
/// for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Undecided {
    pub(crate) waits_for: WaitsFor,
    /// A reopened incident may have had its retraining.
    pub(crate) past: Past,
}

/// What an undecided incident waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WaitsFor {
    /// The facts for the first decision ([`Stage::Deciding`]).
    Facts,
    /// The answer of an approver ([`Stage::AwaitingApproval`]).
    Approval,
    /// The end of the reasons to hold ([`Stage::Holding`]).
    Release,
    /// Input data that is whole ([`Stage::AwaitingData`]).
    Data,
}

/// A retraining that was decided, and that AWS has not answered yet.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Starting {
    pub(crate) decided_at: Timestamp,
    /// Answer to the start that the incident has not followed up on yet.
    pub(crate) answer: Option<StartAnswer>,
}

/// A retraining whose execution is known.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Retraining {
    pub(crate) execution: PipelineExecution,
    /// Time of the decision to retrain. `None` if the execution was seen without one.
    pub(crate) decided_at: Option<Timestamp>,
    /// Number of times that the execution was retried after its end.
    pub(crate) retries: u32,
    /// Time of the end before the execution was last retried.
    pub(crate) retried_after: Option<Timestamp>,
}

/// A retraining whose model is tested.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Candidate {
    pub(crate) retraining: Retraining,
    pub(crate) test: CandidateTest,
}

/// The test of a retrained model against the champion.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct CandidateTest {
    /// Time at which the retraining succeeded: start of the wait for the model package.
    pub(crate) since: Timestamp,
    /// ID of the experiment. `None` until it is known.
    pub(crate) experiment_id: Option<String>,
}

/// A retraining whose model serves.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Verifying {
    pub(crate) retraining: Retraining,
    /// `None` if the model serves without a test.
    pub(crate) test: Option<CandidateTest>,
    pub(crate) serves_since: Timestamp,
}

/// How far the retraining of an incident came that waits for none now.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Past {
    /// None was decided, or it was withdrawn or refused.
    NoRetraining,
    /// It was decided at this time, and never seen.
    NotSeen(Timestamp),
    /// Its execution was seen.
    Seen(Retraining),
    /// Its model was tested.
    Tested(Candidate),
    /// Its model served.
    Served(Verifying),
}

/// The facts about the retraining of an incident, whatever its stage.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct RetrainingFacts<'a> {
    pub(crate) decided_at: Option<Timestamp>,
    pub(crate) retraining: Option<&'a Retraining>,
    pub(crate) test: Option<&'a CandidateTest>,
    pub(crate) serves_since: Option<Timestamp>,
}

impl State {
    /// The state after a decision that leads to no retraining now.
    pub(crate) fn undecided(waits_for: WaitsFor, past: Past) -> Self {
        Self::Undecided(Undecided { waits_for, past })
    }

    pub(crate) fn stage(&self) -> Stage {
        match self {
            Self::Undecided(undecided) => match undecided.waits_for {
                WaitsFor::Facts => Stage::Deciding,
                WaitsFor::Approval => Stage::AwaitingApproval,
                WaitsFor::Release => Stage::Holding,
                WaitsFor::Data => Stage::AwaitingData,
            },
            Self::Starting(_) => Stage::Starting,
            Self::Retraining(_) => Stage::Retraining,
            Self::Candidate(_) => Stage::Candidate,
            Self::Verifying(_) => Stage::Verifying,
            Self::Escalated(_) => Stage::Escalated,
        }
    }

    /// What is left of the state when the incident escalates or is reopened.
    pub(crate) fn into_past(self) -> Past {
        match self {
            Self::Undecided(Undecided { past, .. }) | Self::Escalated(past) => past,
            Self::Starting(starting) => Past::NotSeen(starting.decided_at),
            Self::Retraining(retraining) => Past::Seen(retraining),
            Self::Candidate(candidate) => Past::Tested(candidate),
            Self::Verifying(verifying) => Past::Served(verifying),
        }
    }

    pub(crate) fn facts(&self) -> RetrainingFacts<'_> {
        match self {
            Self::Undecided(Undecided { past, .. }) | Self::Escalated(past) => past.facts(),
            Self::Starting(starting) => RetrainingFacts {
                decided_at: Some(starting.decided_at),
                ..RetrainingFacts::default()
            },
            Self::Retraining(retraining) => retraining.facts(),
            Self::Candidate(candidate) => candidate.facts(),
            Self::Verifying(verifying) => verifying.facts(),
        }
    }

    /// Records the execution of the retraining as AWS reports it. The answer to a start begins the retraining. In any other
    /// stage, the execution is only noted.
    pub(crate) fn record_execution(&mut self, execution: PipelineExecution) {
        match self {
            Self::Starting(starting) => *self = Self::Retraining(Retraining::new(execution, Some(starting.decided_at))),
            Self::Undecided(Undecided { past, .. }) | Self::Escalated(past) => past.record_execution(execution),
            Self::Retraining(retraining)
            | Self::Candidate(Candidate { retraining, .. })
            | Self::Verifying(Verifying { retraining, .. }) => retraining.execution = execution,
        }
    }
}

impl Past {
    /// Whether an execution of the retraining was seen.
    pub(crate) fn has_execution(&self) -> bool {
        self.facts().retraining.is_some()
    }

    fn facts(&self) -> RetrainingFacts<'_> {
        match self {
            Self::NoRetraining => RetrainingFacts::default(),
            Self::NotSeen(decided_at) => RetrainingFacts {
                decided_at: Some(*decided_at),
                ..RetrainingFacts::default()
            },
            Self::Seen(retraining) => retraining.facts(),
            Self::Tested(candidate) => candidate.facts(),
            Self::Served(verifying) => verifying.facts(),
        }
    }

    fn record_execution(&mut self, execution: PipelineExecution) {
        match self {
            Self::NoRetraining => *self = Self::Seen(Retraining::new(execution, None)),
            Self::NotSeen(decided_at) => *self = Self::Seen(Retraining::new(execution, Some(*decided_at))),
            Self::Seen(retraining)
            | Self::Tested(Candidate { retraining, .. })
            | Self::Served(Verifying { retraining, .. }) => {
                retraining.execution = execution;
            }
        }
    }
}

impl Retraining {
    pub(crate) fn new(execution: PipelineExecution, decided_at: Option<Timestamp>) -> Self {
        Self {
            execution,
            decided_at,
            retries: 0,
            retried_after: None,
        }
    }

    fn facts(&self) -> RetrainingFacts<'_> {
        RetrainingFacts {
            decided_at: self.decided_at,
            retraining: Some(self),
            ..RetrainingFacts::default()
        }
    }
}

impl Candidate {
    fn facts(&self) -> RetrainingFacts<'_> {
        RetrainingFacts {
            test: Some(&self.test),
            ..self.retraining.facts()
        }
    }
}

impl Verifying {
    fn facts(&self) -> RetrainingFacts<'_> {
        RetrainingFacts {
            test: self.test.as_ref(),
            serves_since: Some(self.serves_since),
            ..self.retraining.facts()
        }
    }
}
