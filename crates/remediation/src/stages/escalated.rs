//! `Escalated`: an operator has to investigate. The incident ends if every monitor is OK again, or if the retraining is retried.

use super::{Change, Deadline};
use crate::{Cause, Incident, Outcome, Reason, incident::REMINDER_INTERVAL, situation::Situation, time::after};

pub(super) fn follow_up(open: &Incident, now: &Situation<'_>) -> Change {
    if now.is_quiet(open) {
        Change::Close(Outcome::Recovered)
    } else {
        Change::Stay
    }
}

/// The stage has no end by time. Its decision is published again after a week, so that it is not forgotten, and once it is known
/// what the alerts have in common.
pub(super) fn deadline(open: &Incident, now: &Situation<'_>) -> Option<Deadline> {
    let last = open.decision.as_ref()?;
    let is_own = |reason: &&Reason| !matches!(reason, Reason::MonitorInAlert { .. });
    let mut reasons: Vec<Reason> = last.reasons.iter().filter(is_own).cloned().collect();
    let mut at = after(last.time, REMINDER_INTERVAL);
    for reason in &mut reasons {
        if let Reason::DriftReturned { returns, recurrence } = reason {
            let known = now.recurrence(open);
            if recurrence.is_none() && known.is_some() {
                at = now.now();
            }
            *returns = open.returns;
            *recurrence = known;
        }
    }
    Some(Deadline {
        at,
        cause: Cause::Remind,
        reasons,
    })
}
