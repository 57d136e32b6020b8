//! Second opinion on a look: a Bayesian estimate that does not influence the decision.

use crate::{Comparison, Look};
use experiment::{Difference, Posterior, Sample};
use serde::Serialize;
use text::number;

/// Bayesian estimate at a look. It does not influence the decision: with enough looks, it finds a difference where there is
/// none.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Opinion {
    /// Probability that the candidate is better.
    pub candidate_better: f64,
    /// Expected loss of promoting the candidate, in the unit of the metric.
    pub expected_loss: f64,
}

impl Opinion {
    /// Estimate at a look. `None` with too few outcomes.
    pub fn from_look(look: &Look, comparison: &Comparison) -> Option<Self> {
        let (champion, candidate) = (&look.champion, &look.candidate);
        // Where lower is better, the candidate is better if the champion's values are higher.
        let (lower, higher) = if comparison.lower_is_better {
            (candidate, champion)
        } else {
            (champion, candidate)
        };
        let posterior = if is_proportion(champion) && is_proportion(candidate) {
            Posterior::from_proportions(lower, higher)?
        } else {
            Posterior::from_difference(&Difference::between(lower, higher)?)
        };
        Some(Self {
            candidate_better: posterior.challenger_higher,
            expected_loss: posterior.expected_loss,
        })
    }

    /// Describes the estimate as part of a sentence.
    pub fn describe(&self) -> String {
        let better = match self.candidate_better {
            probability if probability > 0.999 => "more than 0.999".to_owned(),
            probability if probability < 0.001 => "less than 0.001".to_owned(),
            probability => format!("{probability:.3}"),
        };
        let loss = if self.expected_loss < 1e-6 {
            "negligible".to_owned()
        } else {
            number(self.expected_loss)
        };
        format!("the candidate is better with probability {better}; the expected loss of promoting it is {loss}")
    }
}

/// Whether all values are 0 or 1. Only then does the sum equal the sum of squares, except by chance.
fn is_proportion(sample: &Sample) -> bool {
    (sample.sum - sample.sum_of_squares).abs() <= 0.0 && sample.sum >= 0.0 && sample.mean() <= 1.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opinion(champion: Sample, candidate: Sample, lower_is_better: bool) -> Option<Opinion> {
        let look = Look {
            time: jiff::Timestamp::UNIX_EPOCH,
            step: 0,
            champion,
            candidate,
            share: None,
            interval: None,
            outcome: experiment::Outcome::Continue,
        };
        let comparison = Comparison {
            metric: "m".into(),
            lower_is_better,
            margin: None,
            alpha: 0.05,
        };
        Opinion::from_look(&look, &comparison)
    }

    fn mean(mean: f64) -> Sample {
        Sample {
            count: 100,
            sum: 100.0 * mean,
            sum_of_squares: 100.0 * (mean * mean + 4.0),
        }
    }

    #[test]
    fn better_candidate_has_high_probability() {
        for (champion, candidate) in [
            (Sample::proportion(60, 100), Sample::proportion(80, 100)),
            (mean(10.0), mean(11.0)),
        ] {
            let up = opinion(champion, candidate, false).unwrap();
            let down = opinion(candidate, champion, true).unwrap();
            assert!(up.candidate_better > 0.99 && up.expected_loss < 0.01, "{up:?}");
            assert_eq!(up, down);
            let worse = opinion(champion, candidate, true).unwrap();
            assert!(worse.candidate_better < 0.01 && worse.expected_loss > 0.1, "{worse:?}");
        }
    }

    #[test]
    fn opinion_without_outcomes_is_none() {
        assert_eq!(opinion(Sample::default(), Sample::default(), false), None);
        assert_eq!(opinion(mean(1.0), Sample::default(), false), None);
    }
}
