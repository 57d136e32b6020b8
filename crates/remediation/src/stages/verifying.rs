//! `Verifying`: the retrained model serves, and the executions since then show whether the retraining helped.

use super::{Change, Deadline, Transition};
use crate::{
    Cause, Incident, Outcome, Reason, monitor::is_alarm, schedule_key, situation::Situation, state::Verifying,
    time::after,
};
use alerting::AlertStatus;
use jiff::SignedDuration;

/// Minimum time for the executions that verify a retrained model, unless the policy sets it.
const MIN_VERIFY_WITHIN: SignedDuration = SignedDuration::from_hours(48);

/// What the executions since the retraining show.
struct Verification {
    /// Monitors that are still in alert.
    persists: Vec<Reason>,
    /// Monitors with too few executions.
    silent: Vec<Reason>,
    /// Whether every monitor has had its executions, and none is in alert.
    is_verified: bool,
    /// Time in which the executions must come.
    within: SignedDuration,
}

impl Verifying {
    pub(super) fn follow_up(&self, open: &Incident, now: &Situation<'_>) -> Change {
        let verification = self.verification(open, now);
        if !verification.persists.is_empty() {
            return Transition::escalation(open, Cause::DriftPersists, verification.persists, now).into();
        }
        if verification.is_verified && now.is_quiet(open) {
            return Change::Close(Outcome::Repaired);
        }
        Change::Stay
    }

    pub(super) fn deadline(&self, open: &Incident, now: &Situation<'_>) -> Deadline {
        let verification = self.verification(open, now);
        let mut deadline = Deadline::overdue(open, after(self.serves_since, verification.within));
        deadline.reasons.extend(verification.silent);
        deadline
    }

    fn verification(&self, open: &Incident, now: &Situation<'_>) -> Verification {
        let mut found = Verification {
            persists: Vec::new(),
            silent: Vec::new(),
            is_verified: true,
            within: now.policy.verify_within.unwrap_or(MIN_VERIFY_WITHIN),
        };
        for schedule in &open.monitors {
            let key = schedule_key(schedule);
            let Some(alert) = now.alerts.get(&key) else { continue };
            if is_alarm(&key) {
                found.is_verified &= alert.status == AlertStatus::Ok;
                continue;
            }
            let Some(level) = now.given.levels.get(&key) else {
                found.is_verified = false;
                continue;
            };
            let required = match now.policy.verify_executions {
                0 => u32::from(level.alert.evaluation_period),
                required => required,
            };
            let executions = level.judged_after(self.serves_since);
            if now.policy.verify_within.is_none() {
                let intervals = i32::try_from(required.saturating_mul(3)).unwrap_or(i32::MAX);
                found.within = found.within.max(level.interval().saturating_mul(intervals));
            }
            if executions < required {
                found.is_verified = false;
                found.silent.push(Reason::MonitorSilent {
                    monitoring_schedule: schedule.clone(),
                    since: level.judged.first().copied().unwrap_or(self.serves_since),
                });
            } else if alert.is_in_alert(now.now()) {
                found.persists.push(Reason::DriftPersists {
                    monitoring_schedule: schedule.clone(),
                    executions,
                });
            }
        }
        found
    }
}
