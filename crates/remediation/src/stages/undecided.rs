//! The stages without a decision to retrain: `Deciding`, `AwaitingApproval`, `Holding`, and `AwaitingData`.
//!
//! They are in one file because they are one state: each decides again on what is true now, and the decision says which of
//! them is next. They differ in their deadlines alone.

use super::{Change, Deadline, Transition, judgment::judge};
use crate::{
    Approval, Cause, Incident, Outcome, Reason, Refusal, RemediationApproval,
    situation::Situation,
    state::{State, Undecided, WaitsFor},
    time::after,
};
use jiff::SignedDuration;

impl Undecided {
    pub(super) fn follow_up(&self, open: &Incident, now: &Situation<'_>) -> Change {
        if now.is_quiet(open) {
            return Change::Close(Outcome::Recovered);
        }
        // The monitors may be in alert again in the next hour: the incident waits for some executions.
        let is_waiting = now.in_alert().next().is_none() || self.is_settling(open, now);
        let Some(Ok(facts)) = now.given.facts.filter(|_| !is_waiting) else {
            return Change::Stay;
        };
        if self.past.has_execution() {
            // A reopened incident has had its retraining. In the other stages, the execution was recorded after its start was
            // withdrawn, and the next report about it leads to `Retraining`.
            return match self.waits_for {
                WaitsFor::Facts => {
                    let reasons = vec![Reason::DriftReturned { returns: open.returns }];
                    Transition::escalation(open, Cause::DriftReturned, reasons, now).into()
                }
                WaitsFor::Approval | WaitsFor::Release | WaitsFor::Data => Change::Stay,
            };
        }
        let decided = judge(&open.consent, facts, now.retrainings, self.past.clone(), now);
        let is_overdue = self
            .deadline(open, now)
            .is_some_and(|deadline| deadline.at <= now.now());
        if decided.cause == Cause::FixData && is_overdue {
            Change::Stay
        } else {
            decided.into()
        }
    }

    /// Whether alerts of other monitors may still join before the first decision.
    fn is_settling(&self, open: &Incident, now: &Situation<'_>) -> bool {
        // The clocks of AWS and of this function may differ.
        let settled = open
            .last_alert_at
            .map(|at| after(at.min(now.now()), now.policy.decide_after));
        self.waits_for == WaitsFor::Facts && settled.is_some_and(|settled| settled > now.now())
    }

    pub(super) fn deadline(&self, open: &Incident, now: &Situation<'_>) -> Option<Deadline> {
        // While no monitor is in alert, the incident waits for the executions that end it.
        now.in_alert().next()?;
        match (self.waits_for, now.given.facts) {
            (WaitsFor::Facts, Some(Err(error))) => Some(Deadline {
                at: after(open.stage_since, now.policy.decide_within),
                cause: Cause::Overdue,
                reasons: vec![Reason::FactsMissing {
                    error: error.to_owned(),
                }],
            }),
            (WaitsFor::Data, Some(Ok(_))) => {
                Some(Deadline::overdue(open, after(open.stage_since, now.policy.data_within)))
            }
            // A first decision and a check of the data follow from facts, which the next sweep reads if they are missing. An
            // approval request expires, and a reason to hold ends: then the incident is decided again.
            (WaitsFor::Facts, Some(Ok(_)) | None)
            | (WaitsFor::Data, Some(Err(_)) | None)
            | (WaitsFor::Approval | WaitsFor::Release, _) => None,
        }
    }
}

/// Checks the answer of an approver to an open incident.
///
/// # Errors
/// Why the answer has no effect.
pub(crate) fn on_approval(
    open: &Incident,
    approval: RemediationApproval,
    valid_for: SignedDuration,
) -> Result<Approval, Refusal> {
    let decision = open.decision.as_ref();
    let is_known = |known: &Approval| known.at >= approval.time;
    if !matches!(open.state, State::Undecided(_)) {
        return Err(Refusal::Decided);
    }
    if approval.decision.is_some() && approval.decision != decision.map(|decision| decision.number) {
        return Err(Refusal::OtherDecision);
    }
    if open
        .approval_expires_at()
        .is_some_and(|expires_at| approval.time >= expires_at)
    {
        return Err(Refusal::Expired);
    }
    if open.approval().is_some_and(is_known) {
        return Err(Refusal::Outdated);
    }
    // Without a decision, there is nothing yet that the approval could be bound to.
    let fingerprint = decision.map(|decision| decision.fingerprint.clone());
    Ok(Approval {
        granted: approval.granted,
        by: approval.by,
        fingerprint: fingerprint.filter(|fingerprint| !fingerprint.is_empty()),
        at: approval.time,
        valid_until: approval.valid_until.unwrap_or_else(|| after(approval.time, valid_for)),
        reason: approval.reason,
    })
}
