//! What is not read again, because nothing has changed since nothing was left to do for it.

use super::{
    candidates::{Candidate, GRACE, MonitorContext},
    state::MonitorState,
};
use jiff::{SignedDuration, Timestamp};
use machine::ETag;
use sha2::{Digest as _, Sha256};

/// Time range before a monitor was read in which a change of the list of its executions is noticed. With the time for which a monitor is
/// not read again (`QUIET_FOR`), it is shorter than `SHARED_LOOK_BACK`.
const QUIET_LOOK_BACK: SignedDuration = SignedDuration::from_hours(8);

/// Whether nothing has happened since the monitor was last read that could lead to work: its documents, its schedule, the
/// policy, and the list of its executions are as they were, and no further execution is due.
pub(super) fn is_quiet(
    candidate: &Candidate,
    state: &mut MonitorState,
    context: &MonitorContext<'_>,
    now: Timestamp,
) -> bool {
    let (Some(quiet), Some(compared_until)) = (&state.quiet, state.compared_until) else {
        return false;
    };
    let fingerprint = monitor_fingerprint(candidate, &quiet.model, quiet.since, context);
    if !fingerprint.is_some_and(|fingerprint| quiet.holds(&fingerprint, now)) {
        return false;
    }
    let delay = candidate
        .analysis
        .as_ref()
        .map_or(SignedDuration::ZERO, |analysis| analysis.delay);
    let until = now
        .saturating_sub(GRACE.saturating_add(delay))
        .unwrap_or(Timestamp::MIN);
    if !state.due(compared_until, until).is_empty() {
        return false;
    }
    state.compared_until = Some(until.max(compared_until));
    state.observe_no_change(now);
    true
}

/// Hash of all that could lead to work for a monitor, beside the passing of time. `None` if a list is unknown, or the monitor is not
/// listed. Executions that are scheduled long before `since` were compared then.
pub(super) fn monitor_fingerprint(
    candidate: &Candidate,
    model: &str,
    since: Timestamp,
    context: &MonitorContext<'_>,
) -> Option<String> {
    let ledger = candidate.ledger.as_ref()?;
    let etag = |etag: Option<&ETag>| etag.map_or_else(String::new, |etag| etag.0.clone());
    let mut parts = vec![
        context.policy.version().to_owned(),
        ledger.0.clone(),
        etag(context.models?.get(model)),
        etag(candidate.baseline.as_ref()),
    ];
    match (&candidate.listed, &candidate.analysis) {
        (Some(schedule), _) => {
            parts.push(format!("{} {}", schedule.status, schedule.last_modified));
            let after = since.saturating_sub(QUIET_LOOK_BACK).unwrap_or(Timestamp::MIN);
            let mut executions: Vec<String> = context
                .shared?
                .since(&schedule.name, after)
                .iter()
                .map(|execution| {
                    let at = execution.scheduled_time;
                    format!("{at} {} {}", execution.status, execution.last_modified)
                })
                .collect();
            executions.sort_unstable();
            parts.append(&mut executions);
        }
        (None, Some(analysis)) => parts.push(analysis.schedule.to_string()),
        (None, None) => return None,
    }
    Some(fingerprint(&parts))
}

/// Hash of texts, in hexadecimal digits.
pub(super) fn fingerprint(parts: &[impl AsRef<str>]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.as_ref());
        hash.update([0]);
    }
    let mut digits = hex::encode(hash.finalize());
    digits.truncate(16);
    digits
}
