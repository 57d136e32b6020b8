//! States and verdicts as the output shows them: a name, and a tone that decides the color.

use alerting::AlertStatus;
use promotion::{Conclusion, ExperimentStage};
use remediation::{ExecutionStatus, Outcome, Stage, Verdict};

/// What a state means for the reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    /// Healthy or successful.
    Good,
    /// In progress.
    Active,
    /// Waits, or needs a look.
    Attention,
    /// Failed, or in alert.
    Bad,
}

/// A state or a verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct State {
    /// Its name.
    pub(crate) name: &'static str,
    /// Its meaning. `None` if it is neutral.
    pub(crate) tone: Option<Tone>,
}

impl State {
    pub(crate) fn new(name: &'static str, tone: Option<Tone>) -> Self {
        Self { name, tone }
    }
}

impl From<Stage> for State {
    fn from(stage: Stage) -> Self {
        let tone = match stage {
            Stage::Healthy => Tone::Good,
            Stage::Deciding | Stage::AwaitingApproval | Stage::Holding | Stage::AwaitingData => Tone::Attention,
            Stage::Starting | Stage::Retraining | Stage::Candidate | Stage::Verifying => Tone::Active,
            Stage::Escalated => Tone::Bad,
        };
        Self::new(stage.as_str(), Some(tone))
    }
}

impl From<Verdict> for State {
    fn from(verdict: Verdict) -> Self {
        let tone = match verdict {
            Verdict::Retrain => Tone::Active,
            Verdict::FixData | Verdict::Hold => Tone::Attention,
            Verdict::Escalate => Tone::Bad,
        };
        Self::new(verdict.as_str(), Some(tone))
    }
}

impl From<Outcome> for State {
    fn from(outcome: Outcome) -> Self {
        let tone = match outcome {
            Outcome::Repaired | Outcome::Recovered => Some(Tone::Good),
            Outcome::Resolved => None,
        };
        Self::new(outcome.as_str(), tone)
    }
}

impl From<ExecutionStatus> for State {
    fn from(status: ExecutionStatus) -> Self {
        let tone = match status {
            ExecutionStatus::Executing | ExecutionStatus::Stopping => Tone::Active,
            ExecutionStatus::Succeeded => Tone::Good,
            ExecutionStatus::Stopped => Tone::Attention,
            ExecutionStatus::Failed | ExecutionStatus::CompletedWithFailures => Tone::Bad,
        };
        Self::new(status.as_str(), Some(tone))
    }
}

impl From<ExperimentStage> for State {
    fn from(stage: ExperimentStage) -> Self {
        let tone = match stage {
            ExperimentStage::AwaitingApproval | ExperimentStage::Paused => Some(Tone::Attention),
            ExperimentStage::Testing | ExperimentStage::Promoting | ExperimentStage::Baking => Some(Tone::Active),
            ExperimentStage::Preparing
            | ExperimentStage::Retiring
            | ExperimentStage::RollingBack
            | ExperimentStage::Ended => None,
        };
        Self::new(stage.as_str(), tone)
    }
}

impl From<Conclusion> for State {
    fn from(conclusion: Conclusion) -> Self {
        let tone = match conclusion {
            Conclusion::Promoted => Some(Tone::Good),
            Conclusion::RolledBack | Conclusion::Failed => Some(Tone::Bad),
            Conclusion::Inconclusive | Conclusion::Stopped => Some(Tone::Attention),
            Conclusion::Rejected | Conclusion::Invalid | Conclusion::Abandoned => None,
        };
        Self::new(conclusion.as_str(), tone)
    }
}

impl From<AlertStatus> for State {
    fn from(status: AlertStatus) -> Self {
        let tone = match status {
            AlertStatus::Ok => Tone::Good,
            AlertStatus::InAlert => Tone::Bad,
            AlertStatus::InsufficientData => Tone::Attention,
        };
        Self::new(status.as_str(), Some(tone))
    }
}
