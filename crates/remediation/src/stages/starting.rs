//! `Starting`: the retraining is decided, and no execution of it is known yet.

use super::{Change, Deadline, Transition, judgment::judge};
use crate::{
    Cause, Facts, Incident, ModelEffect, PipelineExecution, Reason, StartAnswer, StartKind, Verdict,
    situation::Situation,
    start::Target,
    state::{Past, Retraining, Starting, State, WaitsFor},
    time::after,
};
use jiff::{SignedDuration, Timestamp};
use machine::{Caller, Entry};

/// Difference between the clocks of AWS and of the function that is tolerated.
const CLOCK_TOLERANCE: SignedDuration = SignedDuration::from_mins(5);

/// Whether the answer to the start has no consequence yet, or the start is pending and this invocation may execute it: then it
/// is reviewed first.
pub(crate) fn has_start_to_review(open: &Incident, start: Option<&Entry<ModelEffect>>, caller: &Caller) -> bool {
    let State::Starting(starting) = &open.state else {
        return false;
    };
    let may_execute = |start: &Entry<ModelEffect>| start.claim.by == caller.id || start.claim.until <= caller.now;
    starting.answer.is_some() || start.is_some_and(may_execute)
}

impl Starting {
    pub(super) fn follow_up(&self, open: &Incident, now: &Situation<'_>) -> Change {
        if let Some(answer) = &self.answer {
            // What the facts say about the next start was true before this answer.
            return on_answer(answer, open, now).into();
        }
        let Some(Ok(facts)) = now.given.facts else {
            return Change::Stay;
        };
        // The answer to an earlier attempt may have been lost. Numbers of incidents are counted again after the loss of a document.
        let is_own = |execution: &&PipelineExecution| {
            let latest = execution.start_time.map(|start| after(start, CLOCK_TOLERANCE));
            latest.is_none_or(|latest| latest >= self.decided_at)
        };
        match facts.own_execution.as_ref().filter(is_own) {
            Some(execution) => {
                // The sweep asks for its status.
                let execution = PipelineExecution::started(execution.arn.clone());
                let retraining = Retraining::new(execution, Some(self.decided_at));
                Transition::new(Cause::RunSeen, State::Retraining(retraining)).into()
            }
            None => self.review(open, facts, now),
        }
    }

    /// Decides again about a start that was not executed at once: the facts may have changed since. The start is withdrawn or
    /// renewed.
    fn review(&self, open: &Incident, facts: &Facts, now: &Situation<'_>) -> Change {
        let Some(start) = now.start.filter(|_| !now.is_start_claimed()) else {
            return Change::Stay;
        };
        // The start that is reviewed already counts toward cooldown, budget, and fleet.
        let is_other = |time: &&Timestamp| **time != self.decided_at;
        let retrainings: Vec<Timestamp> = now.retrainings.iter().filter(is_other).copied().collect();
        let decided = judge(&open.consent, facts, &retrainings, Past::NoRetraining, now);
        if decided.cause == Cause::Retrain && is_same_start(&start.effect, open, now) {
            return Change::Stay;
        }
        decided.into()
    }

    pub(super) fn deadline(&self, now: &Situation<'_>) -> Option<Deadline> {
        if now.is_start_claimed() {
            // The claim expires, or the answer of AWS comes.
            return None;
        }
        // Who retrains on the event may report the end alone.
        let within = match now.policy.retraining.start {
            StartKind::Event => now.policy.retraining_within,
            StartKind::Pipeline | StartKind::StateMachine => now.policy.start_within,
        };
        let until = after(self.decided_at, within);
        // SageMaker was asked whether the retraining has begun, or could not be asked for long.
        let (at, unknown) = match now.given.facts {
            Some(Ok(_)) => (until, None),
            Some(Err(error)) => (after(until, now.policy.decide_within), Some(error.to_owned())),
            None => (after(until, now.policy.decide_within), None),
        };
        let failures = now.start.and_then(|start| start.failures.as_ref());
        let error = unknown.or_else(|| failures.map(|failures| failures.last.clone()));
        Some(Deadline {
            at,
            cause: Cause::NotStarted,
            reasons: vec![Reason::StartMissing { until, error }],
        })
    }
}

/// The consequence of the answer to the start. The retraining never began.
fn on_answer(answer: &StartAnswer, open: &Incident, now: &Situation<'_>) -> Transition {
    match answer {
        StartAnswer::Refused(error) => {
            let reasons = vec![Reason::StartRefused { error: error.clone() }];
            Transition {
                to: State::Escalated(Past::NoRetraining),
                ..Transition::escalation(open, Cause::NotStarted, reasons, now)
            }
        }
        StartAnswer::Held(reason) => Transition {
            decision: Some(now.decision(Verdict::Hold, vec![reason.clone()])),
            ..Transition::new(Cause::Hold, State::undecided(WaitsFor::Release, Past::NoRetraining))
        },
    }
}

/// Whether a new decision to retrain would lead to the start that is pending.
fn is_same_start(pending: &ModelEffect, open: &Incident, now: &Situation<'_>) -> bool {
    let target = Target::new(&now.policy.retraining, now.given.settings);
    let parameters = target.parameters(&now.policy.retraining, open, &now.snapshots(), now.model);
    if let ModelEffect::PutRemediationDecided(decided) = pending {
        return target.is_started_by_event()
            && decided.pipeline.as_deref() == target.name()
            && decided.pipeline_parameters == parameters;
    }
    match (target.start(&parameters, open, "", now.model), pending) {
        (Some(ModelEffect::StartPipelineExecution(new)), ModelEffect::StartPipelineExecution(start)) => {
            new.pipeline == start.pipeline && new.parameters == start.parameters
        }
        (Some(ModelEffect::StartStateMachine(new)), ModelEffect::StartStateMachine(start)) => {
            new.state_machine_arn == start.state_machine_arn
        }
        _ => false,
    }
}
