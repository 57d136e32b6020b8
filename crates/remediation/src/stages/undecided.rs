//! The stages without a decision to retrain: `Deciding`, `AwaitingApproval`, `Holding`, and `AwaitingData`.
//!
//! They are in one file because they are one state: each decides again on what is true now, and the decision says which of
//! them is next. They differ in their deadlines alone.

use super::{Change, Deadline, Transition, judgment::judge};
use crate::{
    Approval, Cause, Decision, Incident, Outcome, Reason, Refusal, RemediationApproval, Verdict,
    situation::Situation,
    state::{State, Undecided, WaitsFor},
    time::after,
};
use jiff::{SignedDuration, Timestamp};

impl Undecided {
    pub(super) fn follow_up(&self, open: &Incident, now: &Situation<'_>) -> Change {
        if now.is_quiet(open) {
            return Change::Close(Outcome::Recovered);
        }
        if now.in_alert().next().is_none() {
            return self.without_alert(open, now);
        }
        let Some(Ok(facts)) = now.given.facts.filter(|_| !Self::is_settling(open, now)) else {
            return Change::Stay;
        };
        if self.past.has_execution() {
            // A reopened incident has had its retraining. In the other stages, the execution was recorded after its start was
            // withdrawn, and the next report about it leads to `Retraining`.
            return match self.waits_for {
                WaitsFor::Facts => {
                    let reasons = vec![Reason::DriftReturned {
                        returns: open.returns,
                        recurrence: now.recurrence(open),
                    }];
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

    /// No monitor is in alert, and not every one has been OK for long enough: the incident waits for their next executions. If
    /// there are none, the decision says so.
    fn without_alert(&self, open: &Incident, now: &Situation<'_>) -> Change {
        let silence = now.silence(open);
        if silence.is_empty() {
            return Change::Stay;
        }
        let reasons = [Reason::NoMonitorInAlert].into_iter().chain(silence).collect();
        Transition {
            decision: Some(now.decision(Verdict::Hold, reasons)),
            ..Transition::new(Cause::Hold, State::undecided(WaitsFor::Release, self.past.clone()))
        }
        .into()
    }

    /// Whether alerts of other monitors may still join before the decision on the latest one. The answer of an approver counts
    /// at once.
    fn is_settling(open: &Incident, now: &Situation<'_>) -> bool {
        let is_answered = open.consent.answer.is_some();
        !is_answered && settled_at(open, now.policy.decide_after, now.now()).is_some()
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

/// Time at which an alert that joined after the last decision is decided on. `None` without such an alert, and in the past.
pub(crate) fn settled_at(open: &Incident, decide_after: SignedDuration, now: Timestamp) -> Option<Timestamp> {
    let last_alert_at = open.last_alert_at?;
    let is_decided = |decision: &Decision| decision.time >= last_alert_at;
    let is_undecided = !open.decision.as_ref().is_some_and(is_decided);
    // The clocks of AWS and of this function may differ.
    let settled = after(last_alert_at.min(now), decide_after);
    (is_undecided && settled > now).then_some(settled)
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
    let is_known = |known: &Approval| known.at >= approval.time;
    if !matches!(open.state, State::Undecided(_)) {
        return Err(Refusal::Decided);
    }
    // Without a decision, there is nothing yet that the approval could be bound to.
    let decision = open.decision.as_ref().ok_or(Refusal::OtherDecision)?;
    if approval.decision.is_some_and(|number| number != decision.number) {
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
    Ok(Approval {
        granted: approval.granted,
        by: approval.by,
        // Decisions of the first release have none.
        fingerprint: Some(decision.fingerprint.clone()).filter(|fingerprint| !fingerprint.is_empty()),
        at: approval.time,
        valid_until: approval.valid_until.unwrap_or_else(|| after(approval.time, valid_for)),
        reason: approval.reason,
    })
}
