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

/// The stage has no end by time. Its decision is published again after a week, so that it is not forgotten.
pub(super) fn deadline(open: &Incident) -> Option<Deadline> {
    let last = open.decision.as_ref()?;
    let is_own = |reason: &&Reason| !matches!(reason, Reason::MonitorInAlert { .. });
    Some(Deadline {
        at: after(last.time, REMINDER_INTERVAL),
        cause: Cause::Remind,
        reasons: last.reasons.iter().filter(is_own).cloned().collect(),
    })
}
