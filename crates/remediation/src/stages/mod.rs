//! What an incident does in each of its stages.
//!
//! Every function here is pure: it reads the incident and the [`Situation`], and returns a [`Change`]. The document applies
//! it (`step.rs`). So no stage can change another one, and every transition has a cause.

mod candidate;
mod escalated;
mod judgment;
mod retraining;
mod starting;
mod undecided;
mod verifying;

use crate::{
    Cause, Decision, Incident, ModelEffect, Outcome, Reason, Verdict, incident::Consent, situation::Situation,
    state::State,
};
use jiff::Timestamp;

pub(crate) use candidate::on_experiment;
pub(crate) use retraining::{on_execution, on_retraining_end, on_run_unknown};
pub(crate) use starting::has_start_to_review;
pub(crate) use undecided::{on_approval, settled_at};

/// What follows from an input, or from what is true now.
#[derive(Debug)]
pub(crate) enum Change {
    /// Nothing.
    Stay,
    /// Other facts in the same stage.
    Update(State),
    /// A transition to a stage, which may be the same one.
    Advance(Box<Transition>),
    /// The end of the incident, because every monitor is OK.
    Close(Outcome),
}

/// A transition between two stages of an open incident.
#[derive(Debug)]
pub(crate) struct Transition {
    pub(crate) cause: Cause,
    pub(crate) to: State,
    /// The decision that it follows from. It is published.
    pub(crate) decision: Option<Decision>,
    /// The approval request and its answer after the decision. `None` leaves them as they are.
    pub(crate) consent: Option<Consent>,
    /// Other effects, with their IDs.
    pub(crate) effects: Vec<(String, ModelEffect)>,
}

/// End of a stage by time.
#[derive(Debug)]
pub(crate) struct Deadline {
    pub(crate) at: Timestamp,
    /// Cause of the escalation.
    pub(crate) cause: Cause,
    pub(crate) reasons: Vec<Reason>,
}

impl Deadline {
    /// The deadline of a stage that must not last longer.
    fn overdue(open: &Incident, until: Timestamp) -> Self {
        let stage = open.stage();
        Self {
            at: until,
            cause: Cause::Overdue,
            reasons: vec![Reason::StageOverdue { stage, until }],
        }
    }
}

impl Transition {
    /// A transition that follows from an event, and not from a decision.
    fn new(cause: Cause, to: State) -> Self {
        Self {
            cause,
            to,
            decision: None,
            consent: None,
            effects: Vec::new(),
        }
    }

    /// A transition to [`crate::Stage::Escalated`].
    fn escalation(open: &Incident, cause: Cause, reasons: Vec<Reason>, now: &Situation<'_>) -> Self {
        Self {
            decision: Some(now.decision(Verdict::Escalate, reasons)),
            ..Self::new(cause, State::Escalated(open.state.clone().into_past()))
        }
    }
}

impl From<Transition> for Change {
    fn from(transition: Transition) -> Self {
        Self::Advance(Box::new(transition))
    }
}

/// What an open incident does about what is true now. If it does nothing, its deadline counts.
pub(crate) fn follow_up(open: &Incident, now: &Situation<'_>) -> Change {
    let change = match &open.state {
        State::Undecided(undecided) => undecided.follow_up(open, now),
        State::Starting(starting) => starting.follow_up(open, now),
        // The end of a retraining, or of an experiment, is an input.
        State::Retraining(_) | State::Candidate(_) => Change::Stay,
        State::Verifying(verifying) => verifying.follow_up(open, now),
        State::Escalated(_) => escalated::follow_up(open, now),
    };
    if !matches!(change, Change::Stay) {
        return change;
    }
    match deadline(open, now) {
        Some(deadline) if deadline.at <= now.now() => {
            Transition::escalation(open, deadline.cause, deadline.reasons, now).into()
        }
        Some(_) | None => Change::Stay,
    }
}

/// Deadline of the stage of an open incident. `None` if time alone does not end the stage now; each stage says why.
fn deadline(open: &Incident, now: &Situation<'_>) -> Option<Deadline> {
    match &open.state {
        State::Undecided(undecided) => undecided.deadline(open, now),
        State::Starting(starting) => starting.deadline(now),
        State::Retraining(_) => Some(retraining::deadline(open, now)),
        State::Candidate(candidate) => Some(candidate.deadline(open, now)),
        State::Verifying(verifying) => Some(verifying.deadline(open, now)),
        State::Escalated(_) => escalated::deadline(open, now),
    }
}
