//! `Candidate`: the retraining succeeded, and an experiment tests its model before it serves.

use super::{Change, Deadline, Transition};
use crate::{
    CandidateStatus, Cause, Incident, Reason,
    situation::Situation,
    state::{Candidate, CandidateTest, Past, State, Verifying},
    time::after,
};
use jiff::SignedDuration;
use promotion::Conclusion;

/// Time after the longest experiment within which its end must be known.
const EXPERIMENT_GRACE: SignedDuration = SignedDuration::from_hours(24);

impl Candidate {
    pub(super) fn deadline(&self, open: &Incident, now: &Situation<'_>) -> Deadline {
        let promotion = now.given.policy.promotion(now.model);
        if self.test.experiment_id.is_none() {
            let until = after(self.test.since, promotion.candidate_within);
            return Deadline {
                at: until,
                cause: Cause::NotPromoted,
                reasons: vec![Reason::CandidateMissing {
                    model_package_group: promotion.model_package_group,
                    until,
                }],
            };
        }
        let longest = [
            promotion.candidate_within,
            promotion.maximum_duration,
            promotion.bake,
            EXPERIMENT_GRACE,
        ];
        let longest = longest
            .into_iter()
            .fold(SignedDuration::ZERO, SignedDuration::saturating_add);
        Deadline::overdue(open, after(open.stage_since, longest))
    }

    /// Whether an experiment tests this candidate. If SageMaker does not report which pipeline execution registered the model
    /// package, an experiment after the retraining does.
    fn is_tested_by(&self, status: &CandidateStatus) -> bool {
        match &status.pipeline_execution_arn {
            Some(arn) => *arn == self.retraining.execution.arn,
            None => status.at >= self.test.since,
        }
    }
}

/// What the status of an experiment changes.
pub(crate) fn on_experiment(open: &Incident, status: CandidateStatus, now: &Situation<'_>) -> Change {
    let State::Candidate(candidate) = &open.state else {
        return Change::Stay;
    };
    let is_known = candidate.test.experiment_id.as_ref() == Some(&status.experiment_id);
    if !is_known && !candidate.is_tested_by(&status) {
        return Change::Stay;
    }
    let retraining = candidate.retraining.clone();
    let test = CandidateTest {
        experiment_id: Some(status.experiment_id.clone()),
        ..candidate.test
    };
    match status.ended {
        None if is_known => Change::Stay,
        None => Change::Update(State::Candidate(Candidate { retraining, test })),
        Some(Conclusion::Promoted) => {
            let verifying = Verifying {
                retraining,
                test: Some(test),
                serves_since: status.at,
            };
            Transition::new(Cause::Promoted, State::Verifying(verifying)).into()
        }
        Some(conclusion) => {
            let reasons = vec![Reason::NotPromoted {
                experiment_id: status.experiment_id,
                conclusion,
                sentence: status.sentence,
            }];
            let past = Past::Tested(Candidate { retraining, test });
            Transition {
                to: State::Escalated(past),
                ..Transition::escalation(open, Cause::NotPromoted, reasons, now)
            }
            .into()
        }
    }
}
