//! The transitions of stages that a write of a model's document took.

use remediation::{Cause, ModelDocument, Outcome, Reason, Stage, TRANSITIONS};

/// Maximum number of transitions in one write: an alert opens an incident, a decision starts the retraining, and its end was
/// lost.
const MAX_ROWS: usize = 3;

/// The transitions between two versions of a model's document, as bits of the rows of [`TRANSITIONS`]. Only transitions that are
/// certain are in the result.
///
/// # Errors
/// If the table has no transitions between their stages.
pub(super) fn taken(before: Option<&ModelDocument>, after: &ModelDocument) -> Result<u64, String> {
    let open = before.and_then(|before| before.incident.as_ref());
    let mut rows = 0;
    if let Some(open) = open {
        if let Some(same) = after.incident.as_ref().filter(|now| now.number == open.number) {
            if same.stage() == open.stage() {
                let is_decided = same.decisions > open.decisions;
                return Ok(if is_decided {
                    row(open.stage(), None, open.stage())
                } else {
                    0
                });
            }
            let cause = (same.stage() == Stage::Escalated).then(|| escalated_by(same)).flatten();
            return step(open.stage(), cause, same.stage());
        }
        let closed = after
            .closed
            .iter()
            .rev()
            .find(|closed| closed.incident.number == open.number);
        let closed = closed.ok_or_else(|| format!("incident {} disappeared", open.id))?;
        let cause = if closed.outcome == Outcome::Resolved {
            Cause::Resolved
        } else {
            Cause::AllOk
        };
        rows |= step(open.stage(), Some(cause), Stage::Healthy)?;
    }
    if let Some(new) = &after.incident {
        rows |= row(Stage::Healthy, Some(Cause::InAlert), Stage::Deciding);
        let from = Stage::Deciding;
        if new.stage() != from {
            let cause = (new.stage() == Stage::Escalated).then(|| escalated_by(new)).flatten();
            rows |= step(from, cause, new.stage())?;
        }
    }
    Ok(rows)
}

/// The row of a transition. 0 if there is none, or more than one.
fn row(from: Stage, cause: Option<Cause>, to: Stage) -> u64 {
    let fits = |(before, by, after): &(Stage, Cause, Stage)| {
        *before == from && *after == to && cause.is_none_or(|cause| cause == *by)
    };
    let mut rows = TRANSITIONS.iter().enumerate().filter(|(_, row)| fits(row));
    match (rows.next(), rows.next()) {
        (Some((at, _)), None) => 1 << at,
        _ => 0,
    }
}

/// The row between two stages. Without one, there must be some transitions in a row that lead there.
fn step(from: Stage, cause: Option<Cause>, to: Stage) -> Result<u64, String> {
    let certain = row(from, cause, to);
    if certain != 0 || leads(from, cause, to, MAX_ROWS) {
        return Ok(certain);
    }
    Err(format!(
        "no transition leads from {} to {} (cause {cause:?})",
        from.as_str(),
        to.as_str()
    ))
}

/// Whether at most `left` transitions lead to a stage, the last one by the cause.
fn leads(from: Stage, cause: Option<Cause>, to: Stage, left: usize) -> bool {
    left > 0
        && TRANSITIONS.iter().any(|(before, by, after)| {
            *before == from
                && ((*after == to && cause.is_none_or(|cause| cause == *by))
                    || (*after != from && *after != Stage::Healthy && leads(*after, cause, to, left - 1)))
        })
}

/// The cause of an escalation, from the reasons of its decision.
fn escalated_by(incident: &remediation::Incident) -> Option<Cause> {
    let mut reasons = incident.decision.iter().flat_map(|decision| &decision.reasons);
    reasons.find_map(|reason| match reason {
        Reason::DriftReturned { .. } => Some(Cause::DriftReturned),
        Reason::StartRefused { .. } | Reason::StartMissing { .. } => Some(Cause::NotStarted),
        Reason::StageOverdue { .. } | Reason::FactsMissing { .. } => Some(Cause::Overdue),
        Reason::DriftPersists { .. } => Some(Cause::DriftPersists),
        Reason::NotPromoted { .. } | Reason::CandidateMissing { .. } => Some(Cause::NotPromoted),
        Reason::RunEnded { .. } | Reason::RunUnknown { .. } => Some(Cause::Failed),
        _ => None,
    })
}
