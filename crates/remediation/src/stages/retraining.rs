//! `Retraining`: the execution of the retraining is known, and has not ended.

use super::{Change, Deadline, Transition};
use crate::{
    Cause, ExecutionStatus, Incident, PipelineExecution, Reason, effect,
    situation::Situation,
    state::{Candidate, CandidateTest, Retraining, State, Verifying},
    time::after,
};
use jiff::Timestamp;
use promotion::Mode;

pub(super) fn deadline(open: &Incident, now: &Situation<'_>) -> Deadline {
    Deadline::overdue(open, after(open.stage_since, now.policy.retraining_within))
}

/// What the execution of the incident's retraining changes. `at` is the time at which it was reported.
pub(crate) fn on_execution(open: &Incident, execution: PipelineExecution, at: Timestamp) -> Change {
    let facts = open.state.facts();
    let may_be_retried = matches!(open.state, State::Escalated(_));
    let retraining = match facts.retraining {
        None => Some(Retraining::new(execution, facts.decided_at)),
        Some(known) => known.with_report(execution, at, may_be_retried),
    };
    match (&open.state, retraining) {
        (State::Retraining(_), Some(retraining)) => Change::Update(State::Retraining(retraining)),
        (State::Undecided(_) | State::Starting(_) | State::Escalated(_), Some(retraining)) => {
            Transition::new(Cause::RunSeen, State::Retraining(retraining)).into()
        }
        // A retraining whose model is tested or serves has ended.
        (State::Candidate(_) | State::Verifying(_), Some(_)) | (_, None) => Change::Stay,
    }
}

/// What the end of the retraining leads to.
pub(crate) fn on_retraining_end(open: &Incident, now: &Situation<'_>) -> Change {
    let State::Retraining(retraining) = &open.state else {
        return Change::Stay;
    };
    let execution = &retraining.execution;
    if !execution.status.is_final() {
        return Change::Stay;
    }
    let is_tested = now.given.policy.promotion(now.model).mode != Mode::Off;
    let ended_at = execution.end_time.unwrap_or_else(|| now.now());
    let retraining = retraining.clone();
    let transition = match execution.status {
        ExecutionStatus::Succeeded if is_tested => {
            let test = CandidateTest {
                since: ended_at,
                experiment_id: None,
            };
            Transition::new(Cause::CandidateMade, State::Candidate(Candidate { retraining, test }))
        }
        ExecutionStatus::Succeeded => {
            let verifying = Verifying {
                retraining,
                test: None,
                serves_since: ended_at,
            };
            Transition::new(Cause::Succeeded, State::Verifying(verifying))
        }
        status => {
            let reasons = vec![Reason::RunEnded {
                execution_arn: execution.arn.clone(),
                status,
            }];
            Transition::escalation(open, Cause::Failed, reasons, now)
        }
    };
    Transition {
        effects: effect::status_change(open, now.model, now.now()).into_iter().collect(),
        ..transition
    }
    .into()
}

/// What follows if AWS does not know an execution.
pub(crate) fn on_run_unknown(open: &Incident, execution_arn: String, now: &Situation<'_>) -> Change {
    match &open.state {
        State::Retraining(retraining) if retraining.execution.arn == execution_arn => {
            let reasons = vec![Reason::RunUnknown { execution_arn }];
            Transition::escalation(open, Cause::Failed, reasons, now).into()
        }
        _ => Change::Stay,
    }
}

impl Retraining {
    /// The retraining after a report of its execution. `None` if the report is late, a duplicate, or about another execution. A
    /// pipeline execution that is retried after its end keeps its ARN.
    fn with_report(&self, execution: PipelineExecution, at: Timestamp, may_be_retried: bool) -> Option<Self> {
        let known = &self.execution;
        if known.arn != execution.arn || *known == execution {
            return None;
        }
        let is_final = execution.status.is_final();
        // A report from before the end is late.
        let changed_at = if is_final { execution.end_time } else { Some(at) };
        let has_ended = known.status.is_final();
        let is_retried = has_ended && may_be_retried && changed_at > known.end_time;
        let is_old = is_final && execution.end_time.is_some() && execution.end_time <= self.retried_after;
        if !is_retried && (has_ended || is_old || execution.status.rank() < known.status.rank()) {
            return None;
        }
        Some(Self {
            execution: PipelineExecution {
                start_time: execution.start_time.or(known.start_time),
                ..execution
            },
            decided_at: self.decided_at,
            retries: self.retries.saturating_add(u32::from(is_retried)),
            retried_after: if is_retried { known.end_time } else { self.retried_after },
        })
    }
}
