//! Comparison of a ledger's transitions with those of SageMaker's alert: which ones match, and why a transition has no
//! match.

use crate::{AlertHistoryItem, AlertStatus};
use jiff::{SignedDuration, Timestamp};

/// A transition of SageMaker's alert: its time and the new status.
pub type MonitoringAlertTransition = (Timestamp, AlertStatus);

/// Reason why a transition has no match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MismatchReason {
    /// SageMaker's alert does not have this status.
    UnsupportedStatus,
    /// The transition is older than the other side's history.
    OutsideHistory,
    /// The other side has a different window or different rules.
    DifferentRules,
}

/// One line of the comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transition {
    /// Both have the transition.
    Both(AlertHistoryItem, MonitoringAlertTransition),
    /// Only the ledger has the transition.
    LedgerOnly(AlertHistoryItem, MismatchReason),
    /// Only SageMaker has the transition.
    SageMakerOnly(MonitoringAlertTransition, MismatchReason),
}

impl Transition {
    /// Time for sorting: the scheduled time of the execution, if known.
    pub fn time(&self) -> Timestamp {
        match self {
            Self::Both(ours, _) | Self::LedgerOnly(ours, _) => ours.scheduled_time,
            Self::SageMakerOnly((time, _), _) => *time,
        }
    }
}

/// Matches transitions of the same status in order, oldest first, if their times differ by at most the tolerance.
/// Prefers the most matches, then the nearest. `known_since` is the scheduled time of the oldest execution in the
/// ledger.
pub fn compare(
    ours: &[AlertHistoryItem],
    theirs: &[MonitoringAlertTransition],
    known_since: Option<Timestamp>,
    tolerance: SignedDuration,
) -> Vec<Transition> {
    let distance = |our: &AlertHistoryItem, their: &MonitoringAlertTransition| {
        let apart = their.0.duration_since(our.scheduled_time).abs();
        (our.status == their.1 && apart <= tolerance).then(|| apart.as_secs())
    };
    // The best matching for each pair of prefixes: the number of matches, and the negative sum of their distances.
    let mut best: Vec<Vec<(u32, i64)>> = vec![vec![(0, 0); theirs.len() + 1]];
    for our in ours {
        let above = best.last().cloned().unwrap_or_default();
        let mut row = vec![(0, 0)];
        for (their, pair) in theirs.iter().zip(above.windows(2)) {
            let [before, over, ..] = pair else {
                continue;
            };
            let matched = distance(our, their).map(|apart| (before.0 + 1, before.1 - apart));
            let left = row.last().copied().unwrap_or_default();
            row.push((*over).max(left).max(matched.unwrap_or_default()));
        }
        best.push(row);
    }
    let at = |i: usize, j: usize| best.get(i).and_then(|row| row.get(j)).copied().unwrap_or_default();
    let oldest_theirs = theirs.first().map(|(time, _)| *time);
    let mut transitions = Vec::new();
    let (mut i, mut j) = (ours.len(), theirs.len());
    while i > 0 || j > 0 {
        let our = i.checked_sub(1).and_then(|i| ours.get(i));
        let their = j.checked_sub(1).and_then(|j| theirs.get(j));
        match (our, their) {
            (Some(our), _) if at(i - 1, j) == at(i, j) => {
                let previous = i.checked_sub(2).and_then(|i| ours.get(i)).map(|our| our.status);
                transitions.push(Transition::LedgerOnly(
                    *our,
                    why_only_ours(our, previous, oldest_theirs, tolerance),
                ));
                i -= 1;
            }
            (_, Some(their)) if at(i, j - 1) == at(i, j) => {
                transitions.push(Transition::SageMakerOnly(
                    *their,
                    why_only_theirs(their, known_since, tolerance),
                ));
                j -= 1;
            }
            (Some(our), Some(their)) => {
                transitions.push(Transition::Both(*our, *their));
                (i, j) = (i - 1, j - 1);
            }
            _ => break,
        }
    }
    transitions.reverse();
    transitions.sort_by_key(Transition::time);
    transitions
}

fn why_only_ours(
    our: &AlertHistoryItem,
    previous: Option<AlertStatus>,
    oldest_theirs: Option<Timestamp>,
    tolerance: SignedDuration,
) -> MismatchReason {
    let unknown = AlertStatus::InsufficientData;
    let before = |oldest| {
        our.scheduled_time
            .saturating_add(tolerance)
            .is_ok_and(|time| time < oldest)
    };
    // A transition from INSUFFICIENT_DATA to OK has no match, because SageMaker's alert was OK all the time.
    if our.status == unknown || our.status == AlertStatus::Ok && previous == Some(unknown) {
        MismatchReason::UnsupportedStatus
    } else if oldest_theirs.is_some_and(before) {
        MismatchReason::OutsideHistory
    } else {
        MismatchReason::DifferentRules
    }
}

fn why_only_theirs(
    their: &MonitoringAlertTransition,
    known_since: Option<Timestamp>,
    tolerance: SignedDuration,
) -> MismatchReason {
    let before = |since| their.0.saturating_sub(tolerance).is_ok_and(|time| time < since);
    if known_since.is_none_or(before) {
        MismatchReason::OutsideHistory
    } else {
        MismatchReason::DifferentRules
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOLERANCE: SignedDuration = SignedDuration::from_hours(2);

    fn hour(hour: i64) -> Timestamp {
        Timestamp::from_second(1_790_000_000 + hour * 3600).unwrap()
    }

    fn ours(status: AlertStatus, at: i64) -> AlertHistoryItem {
        AlertHistoryItem {
            status,
            scheduled_time: hour(at),
            time: hour(at),
        }
    }

    /// Lines such as `both 3/4`, `ours 3 REASON`, and `theirs 4 REASON`, with the hours.
    fn lines(ours: &[AlertHistoryItem], theirs: &[MonitoringAlertTransition], since: Option<i64>) -> Vec<String> {
        let hours = |time: Timestamp| (time.as_second() - 1_790_000_000) / 3600;
        compare(ours, theirs, since.map(hour), TOLERANCE)
            .iter()
            .map(|line| match line {
                Transition::Both(our, their) => format!("both {}/{}", hours(our.scheduled_time), hours(their.0)),
                Transition::LedgerOnly(our, why) => format!("ours {} {why:?}", hours(our.scheduled_time)),
                Transition::SageMakerOnly(their, why) => format!("theirs {} {why:?}", hours(their.0)),
            })
            .collect()
    }

    use AlertStatus::{InAlert, InsufficientData, Ok};

    #[test]
    fn transitions_match_in_order_within_tolerance() {
        let known = [ours(InAlert, 10), ours(Ok, 20), ours(InAlert, 30)];
        let theirs = [(hour(11), InAlert), (hour(21), Ok), (hour(33), InAlert)];
        assert_eq!(
            lines(&known, &theirs, Some(0)),
            [
                "both 10/11",
                "both 20/21",
                "ours 30 DifferentRules",
                "theirs 33 DifferentRules"
            ]
        );
        assert_eq!(lines(&[], &[], None), [""; 0]);
    }

    #[test]
    fn prefers_most_matches_then_nearest() {
        let known = [ours(InAlert, 10), ours(Ok, 11), ours(InAlert, 12)];
        assert_eq!(
            lines(&known, &[(hour(12), InAlert)], Some(0)),
            ["ours 10 DifferentRules", "ours 11 DifferentRules", "both 12/12"]
        );
        // The nearest match of the first would leave the second without a match.
        let known = [ours(InAlert, 10), ours(InAlert, 12)];
        let theirs = [(hour(12), InAlert), (hour(14), InAlert)];
        assert_eq!(lines(&known, &theirs, Some(0)), ["both 10/12", "both 12/14"]);
    }

    #[test]
    fn transition_without_match_has_a_reason() {
        let known = [
            ours(InAlert, 1),
            ours(InsufficientData, 40),
            ours(Ok, 41),
            ours(InAlert, 50),
        ];
        let theirs = [(hour(20), InAlert), (hour(30), Ok)];
        assert_eq!(
            lines(&known, &theirs, Some(25)),
            [
                "ours 1 OutsideHistory",
                "theirs 20 OutsideHistory",
                "theirs 30 DifferentRules",
                "ours 40 UnsupportedStatus",
                "ours 41 UnsupportedStatus",
                "ours 50 DifferentRules",
            ]
        );
        assert_eq!(lines(&known[..1], &[], None), ["ours 1 DifferentRules"]);
    }
}
