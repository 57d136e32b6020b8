//! What the checks of an execution were: evaluated, not evaluated for a reason, or switched off.

use serde::Serialize;
use std::collections::BTreeMap;

/// Check of the baseline that was not evaluated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NotJudged {
    /// Column, metric, facet, or label.
    pub subject: String,
    /// Check type or metric.
    pub check: String,
    /// Reason.
    pub reason: String,
}

/// The checks of an execution.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Judgments {
    /// Number of checks that were evaluated.
    pub judged: u64,
    /// Checks that were not evaluated.
    pub not_judged: Vec<NotJudged>,
    /// Number of checks that the constraints switch off.
    pub disabled: u64,
}

impl Judgments {
    /// Adds a check that was not evaluated.
    pub fn skip(&mut self, subject: impl Into<String>, check: impl Into<String>, reason: impl Into<String>) {
        self.not_judged.push(NotJudged {
            subject: subject.into(),
            check: check.into(),
            reason: reason.into(),
        });
    }

    /// Whether nothing was evaluated, although not everything is switched off. Such an execution is not clean.
    pub fn is_void(&self) -> bool {
        self.judged == 0 && (self.disabled == 0 || !self.not_judged.is_empty())
    }

    /// Checks that were not evaluated, by reason.
    pub fn by_reason(&self) -> BTreeMap<&str, Vec<&NotJudged>> {
        let mut by_reason = BTreeMap::<&str, Vec<&NotJudged>>::new();
        for skipped in &self.not_judged {
            by_reason.entry(&skipped.reason).or_default().push(skipped);
        }
        by_reason
    }

    /// The most frequent reason for which checks were not evaluated.
    pub fn main_reason(&self) -> Option<&str> {
        let most = self.by_reason().into_iter().max_by_key(|(_, skipped)| skipped.len());
        most.map(|(reason, _)| reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn execution_without_judgment_is_void() {
        let mut judgments = Judgments::default();
        assert!(judgments.is_void(), "no check at all");
        judgments.disabled = 2;
        assert!(!judgments.is_void(), "everything is switched off");
        judgments.skip("age", "baseline_drift_check", "it has no values");
        assert!(judgments.is_void());
        judgments.judged = 1;
        assert!(!judgments.is_void());
    }

    #[test]
    fn main_reason_is_most_frequent() {
        let mut judgments = Judgments::default();
        assert_eq!(judgments.main_reason(), None);
        for (column, reason) in [("a", "one"), ("b", "two"), ("c", "two")] {
            judgments.skip(column, "baseline_drift_check", reason);
        }
        assert_eq!(judgments.main_reason(), Some("two"));
    }
}
