//! A ledger's transitions beside those of SageMaker's own alert: which are the same, and why one side can have one that
//! the other has not.

use crate::{AlertHistoryItem, AlertStatus};
use jiff::{SignedDuration, Timestamp};

/// A transition of SageMaker's own alert: when it was found, and the status from then on.
pub type MonitoringAlertTransition = (Timestamp, AlertStatus);

/// Why only one side has a transition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnlyBecause {
    /// SageMaker's own alert has no such status.
    NoSuchStatus,
    /// It is older than everything that the other side still knows.
    BeforeTheOther,
    /// The other side judges by another window, or by other rules.
    OtherRules,
}

/// One line of the comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transition {
    /// Both have it.
    Both(AlertHistoryItem, MonitoringAlertTransition),
    /// Only the ledger has it.
    Ours(AlertHistoryItem, OnlyBecause),
    /// Only SageMaker has it.
    Theirs(MonitoringAlertTransition, OnlyBecause),
}

impl Transition {
    /// The time that it is listed under: that of the execution, where it is known.
    pub fn time(&self) -> Timestamp {
        match self {
            Self::Both(ours, _) | Self::Ours(ours, _) => ours.scheduled_time,
            Self::Theirs((time, _), _) => *time,
        }
    }
}

/// Matches transitions of the same status in order, oldest first, whose times are no farther apart than the tolerance:
/// as many as can be, and among those the nearest. `known_since` is the oldest execution that the ledger still knows.
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
    // Of every pair of prefixes the best matching: its size and, negative, how far its pairs are apart.
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
                transitions.push(Transition::Ours(
                    *our,
                    why_only_ours(our, previous, oldest_theirs, tolerance),
                ));
                i -= 1;
            }
            (_, Some(their)) if at(i, j - 1) == at(i, j) => {
                transitions.push(Transition::Theirs(
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
) -> OnlyBecause {
    let unknown = AlertStatus::InsufficientData;
    let before = |oldest| {
        our.scheduled_time
            .saturating_add(tolerance)
            .is_ok_and(|time| time < oldest)
    };
    // From "too little to say" to OK is nothing to SageMaker, which was at OK all the time.
    if our.status == unknown || our.status == AlertStatus::Ok && previous == Some(unknown) {
        OnlyBecause::NoSuchStatus
    } else if oldest_theirs.is_some_and(before) {
        OnlyBecause::BeforeTheOther
    } else {
        OnlyBecause::OtherRules
    }
}

fn why_only_theirs(
    their: &MonitoringAlertTransition,
    known_since: Option<Timestamp>,
    tolerance: SignedDuration,
) -> OnlyBecause {
    let before = |since| their.0.saturating_sub(tolerance).is_ok_and(|time| time < since);
    if known_since.is_none_or(before) {
        OnlyBecause::BeforeTheOther
    } else {
        OnlyBecause::OtherRules
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

    /// Each line as `both 3/4`, `ours 3`, `theirs 4` with the hours, and why.
    fn lines(ours: &[AlertHistoryItem], theirs: &[MonitoringAlertTransition], since: Option<i64>) -> Vec<String> {
        let hours = |time: Timestamp| (time.as_second() - 1_790_000_000) / 3600;
        compare(ours, theirs, since.map(hour), TOLERANCE)
            .iter()
            .map(|line| match line {
                Transition::Both(our, their) => format!("both {}/{}", hours(our.scheduled_time), hours(their.0)),
                Transition::Ours(our, why) => format!("ours {} {why:?}", hours(our.scheduled_time)),
                Transition::Theirs(their, why) => format!("theirs {} {why:?}", hours(their.0)),
            })
            .collect()
    }

    use AlertStatus::{InAlert, InsufficientData, Ok};

    #[test]
    fn transitions_of_the_same_status_match_in_order_within_the_tolerance() {
        let known = [ours(InAlert, 10), ours(Ok, 20), ours(InAlert, 30)];
        let said = [(hour(11), InAlert), (hour(21), Ok), (hour(33), InAlert)];
        assert_eq!(
            lines(&known, &said, Some(0)),
            ["both 10/11", "both 20/21", "ours 30 OtherRules", "theirs 33 OtherRules"]
        );
        assert_eq!(lines(&[], &[], None), [""; 0]);
    }

    #[test]
    fn of_several_matchings_the_largest_and_then_the_nearest_is_taken() {
        let known = [ours(InAlert, 10), ours(Ok, 11), ours(InAlert, 12)];
        assert_eq!(
            lines(&known, &[(hour(12), InAlert)], Some(0)),
            ["ours 10 OtherRules", "ours 11 OtherRules", "both 12/12"]
        );
        // The nearest for each would leave the second without one.
        let known = [ours(InAlert, 10), ours(InAlert, 12)];
        let said = [(hour(12), InAlert), (hour(14), InAlert)];
        assert_eq!(lines(&known, &said, Some(0)), ["both 10/12", "both 12/14"]);
    }

    #[test]
    fn what_one_side_alone_has_is_explained() {
        let known = [
            ours(InAlert, 1),
            ours(InsufficientData, 40),
            ours(Ok, 41),
            ours(InAlert, 50),
        ];
        let said = [(hour(20), InAlert), (hour(30), Ok)];
        assert_eq!(
            lines(&known, &said, Some(25)),
            [
                "ours 1 BeforeTheOther",
                "theirs 20 BeforeTheOther",
                "theirs 30 OtherRules",
                "ours 40 NoSuchStatus",
                "ours 41 NoSuchStatus",
                "ours 50 OtherRules",
            ]
        );
        assert_eq!(lines(&known[..1], &[], None), ["ours 1 OtherRules"]);
    }
}
