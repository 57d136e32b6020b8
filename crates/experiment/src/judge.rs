//! What a look at an experiment means: promote, roll back, go on, call a person, or trust nothing of it.

use crate::{
    confidence::{ConfidenceSequence, Interval},
    ratio::SampleRatio,
    real,
    sample::{Difference, Sample},
};
use serde::{Deserialize, Serialize};

/// Below this many values of each variant a guardrail's margin is not judged: the interval is one for large samples.
const GUARDRAIL_MINIMUM: u64 = 50;
/// So many values pass a guardrail's limit: one slow minute does not.
const LIMIT_MINIMUM: u64 = 3;

/// How an experiment is judged.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rule {
    /// The probability of a false alarm that is accepted, over all looks together. Of several challengers each gets its
    /// part ([`Rule::among`]).
    pub alpha: f64,
    /// Where the confidence sequence is narrowest, as information.
    pub narrowest: f64,
    /// Whether a lower value of the metric is better.
    pub lower_is_better: bool,
    /// Non-inferiority: how much worse the challenger may be. Without it only a challenger that is better is promoted.
    pub margin: Option<f64>,
    /// So many values of each variant are waited for.
    pub minimum: u64,
    /// Below this p-value, at any look, the shares of the traffic are not what they should be.
    pub ratio_alpha: f64,
    /// Whether the traffic follows the outcomes, as by Thompson sampling: then each mean gets an interval of its own.
    pub adaptive: bool,
}

impl Rule {
    /// The rule for each of so many challengers, so that a false alarm of any is as rare as for one (Bonferroni: it needs
    /// nothing of how they depend on one another, and holds at any time).
    #[must_use]
    pub fn among(self, challengers: u32) -> Self {
        Self {
            alpha: self.alpha / f64::from(challengers.max(1)),
            ..self
        }
    }
}

/// A metric that must not get worse, whatever the goal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Guardrail {
    /// Its name: `ModelLatency p99`.
    pub name: String,
    /// Whether a lower value is better.
    pub lower_is_better: bool,
    /// How much worse the challenger may be.
    pub margin: f64,
    /// Where its confidence sequence is narrowest, as information: chosen before the start.
    pub narrowest: f64,
    /// The champion's values.
    pub champion: Sample,
    /// The challenger's.
    pub challenger: Sample,
    /// A value that the challenger's mean must not pass, however the champion does.
    pub limit: Option<f64>,
}

/// What is seen at a look.
#[derive(Debug, Clone, Copy)]
pub struct Look<'a> {
    /// The champion's values.
    pub champion: Sample,
    /// The challenger's.
    pub challenger: Sample,
    /// How many requests each variant of the endpoint got, and its weight.
    pub traffic: &'a [(u64, f64)],
    /// The guardrails.
    pub guardrails: &'a [Guardrail],
    /// Whether the longest time is over.
    pub over: bool,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Outcome {
    /// The challenger takes over.
    Promote,
    /// It is taken off the endpoint.
    RollBack,
    /// It is too early to say.
    Continue,
    /// The time is over and nothing is certain: the policy says what then.
    Inconclusive,
    /// The numbers cannot be trusted.
    Invalid,
}

/// Why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "code", rename_all_fields = "camelCase")]
pub enum Reason {
    /// The variants did not get their shares of the traffic.
    SampleRatioMismatch {
        /// The p-value for any time.
        pvalue: f64,
    },
    /// A guardrail is broken.
    GuardrailBroken {
        /// Its name.
        name: String,
        /// How much worse the challenger is at least; `None` if it passed its limit.
        worse_by: Option<f64>,
    },
    /// A variant has too few values.
    TooFew {
        /// So many has the one with fewer.
        count: u64,
        /// So many are waited for.
        minimum: u64,
    },
    /// The challenger is better by this at least.
    Superior {
        /// The lower end, towards better.
        at_least: f64,
    },
    /// The challenger is worse by this at most, and may be by more.
    NonInferior {
        /// How much worse it may still be.
        at_most: f64,
        /// How much worse it may be.
        margin: f64,
    },
    /// The challenger is worse by this at least, and may not be.
    Inferior {
        /// How much worse.
        at_least: f64,
    },
    /// The interval holds both.
    Undecided,
    /// The longest time is over.
    TimeOver,
}

impl Reason {
    /// In words, as a part of a sentence.
    pub fn words(&self) -> String {
        match self {
            Self::SampleRatioMismatch { pvalue } => format!(
                "the variants did not get the shares of the traffic that they should have (p = {pvalue:.2e}), so that nothing \
                 else can be trusted"
            ),
            Self::GuardrailBroken {
                name,
                worse_by: Some(worse_by),
            } => {
                format!("guardrail `{name}` is broken: worse by {worse_by:.4} at least")
            }
            Self::GuardrailBroken { name, worse_by: None } => {
                format!("guardrail `{name}` is broken: the candidate passed its limit")
            }
            Self::TooFew { count, minimum } => format!("{count} of {minimum} outcomes have come so far"),
            Self::Superior { at_least } => format!("the candidate is better by {at_least:.4} at least"),
            Self::NonInferior { at_most, margin } => {
                format!("the candidate is worse by {at_most:.4} at most, where {margin:.4} may be")
            }
            Self::Inferior { at_least } => format!("the candidate is worse by {at_least:.4} at least"),
            Self::Undecided => "the difference may still be either way".to_owned(),
            Self::TimeOver => "the time is over".to_owned(),
        }
    }
}

/// An outcome with its reasons.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// What is to be done.
    pub outcome: Outcome,
    /// Why, the weightiest first.
    pub reasons: Vec<Reason>,
    /// The difference with its interval, challenger less champion, if there is one.
    pub interval: Option<Interval>,
}

/// How much better the challenger is, at least and at most.
fn better_by(interval: &Interval, lower_is_better: bool) -> (f64, f64) {
    if lower_is_better {
        (-interval.high, -interval.low)
    } else {
        (interval.low, interval.high)
    }
}

fn broken(guardrail: &Guardrail, rule: &Rule) -> Option<Reason> {
    let Guardrail {
        champion, challenger, ..
    } = guardrail;
    let broken = |worse_by| {
        Some(Reason::GuardrailBroken {
            name: guardrail.name.clone(),
            worse_by,
        })
    };
    let passed = |limit: f64| {
        if guardrail.lower_is_better {
            challenger.mean() > limit
        } else {
            challenger.mean() < limit
        }
    };
    if challenger.count >= LIMIT_MINIMUM && guardrail.limit.is_some_and(passed) {
        return broken(None);
    }
    if champion.count.min(challenger.count) < GUARDRAIL_MINIMUM {
        return None;
    }
    let difference = Difference::of(champion, challenger)?;
    let sequence = ConfidenceSequence::new(rule.alpha, guardrail.narrowest);
    let (_, at_most) = better_by(&sequence.interval(&difference), guardrail.lower_is_better);
    (at_most < -guardrail.margin).then(|| broken(Some(-at_most))).flatten()
}

/// The interval of a difference where how many values each variant has depends on the values: the sequence of each mean
/// holds at any count, whatever decides that count, and both hold together with probability 1 - α (Bonferroni).
fn apart(rule: &Rule, champion: &Sample, challenger: &Sample, difference: &Difference) -> Interval {
    // Half of the difference's variance is one mean's: there its information is twice as much.
    let sequence = ConfidenceSequence::new(rule.alpha / 2.0, 2.0 * rule.narrowest);
    let half = |sample: &Sample| {
        let variance = sample.variance();
        if variance > 0.0 {
            sequence.half_width(real(sample.count) / variance)
        } else {
            0.0
        }
    };
    let half = half(champion) + half(challenger);
    Interval {
        low: difference.estimate - half,
        estimate: difference.estimate,
        high: difference.estimate + half,
    }
}

/// Judges a look.
pub fn judge(rule: &Rule, look: &Look<'_>) -> Verdict {
    let (counts, weights): (Vec<u64>, Vec<f64>) = look.traffic.iter().copied().unzip();
    let difference = Difference::of(&look.champion, &look.challenger);
    let sequence = ConfidenceSequence::new(rule.alpha, rule.narrowest);
    let interval = difference.map(|difference| {
        if rule.adaptive {
            apart(rule, &look.champion, &look.challenger, &difference)
        } else {
            sequence.interval(&difference)
        }
    });
    let verdict = |outcome, reasons| Verdict {
        outcome,
        reasons,
        interval,
    };
    if let Some(ratio) = SampleRatio::of(&counts, &weights)
        && ratio.anytime_pvalue < rule.ratio_alpha
    {
        let pvalue = ratio.anytime_pvalue;
        return verdict(Outcome::Invalid, vec![Reason::SampleRatioMismatch { pvalue }]);
    }
    let broken: Vec<Reason> = look
        .guardrails
        .iter()
        .filter_map(|guardrail| broken(guardrail, rule))
        .collect();
    if !broken.is_empty() {
        return verdict(Outcome::RollBack, broken);
    }
    let not_yet = |reason| {
        if look.over {
            verdict(Outcome::Inconclusive, vec![Reason::TimeOver, reason])
        } else {
            verdict(Outcome::Continue, vec![reason])
        }
    };
    let count = look.champion.count.min(look.challenger.count);
    if count < rule.minimum {
        let minimum = rule.minimum;
        return not_yet(Reason::TooFew { count, minimum });
    }
    let Some(interval) = interval else {
        return not_yet(Reason::Undecided);
    };
    let (at_least, at_most) = better_by(&interval, rule.lower_is_better);
    if at_least > 0.0 {
        return verdict(Outcome::Promote, vec![Reason::Superior { at_least }]);
    }
    let margin = rule.margin.unwrap_or(0.0);
    if at_most < -margin {
        return verdict(Outcome::RollBack, vec![Reason::Inferior { at_least: -at_most }]);
    }
    if rule.margin.is_some() && at_least > -margin {
        let at_most = -at_least;
        return verdict(Outcome::Promote, vec![Reason::NonInferior { at_most, margin }]);
    }
    not_yet(Reason::Undecided)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: Rule = Rule {
        alpha: 0.05,
        narrowest: 20_000.0,
        lower_is_better: false,
        margin: None,
        minimum: 500,
        ratio_alpha: 0.001,
        adaptive: false,
    };

    fn look(champion: u64, challenger: u64, n: u64) -> Look<'static> {
        Look {
            champion: Sample::proportion(champion, n),
            challenger: Sample::proportion(challenger, n),
            traffic: &[],
            guardrails: &[],
            over: false,
        }
    }

    #[test]
    fn a_better_challenger_is_promoted_a_worse_one_rolled_back_and_time_ends_the_rest() {
        assert_eq!(judge(&RULE, &look(800, 950, 1000)).outcome, Outcome::Promote);
        assert_eq!(judge(&RULE, &look(950, 800, 1000)).outcome, Outcome::RollBack);
        let equal = judge(&RULE, &look(800, 805, 1000));
        assert_eq!(
            (equal.outcome, equal.reasons),
            (Outcome::Continue, vec![Reason::Undecided])
        );
        let over = Look {
            over: true,
            ..look(800, 805, 1000)
        };
        assert_eq!(judge(&RULE, &over).outcome, Outcome::Inconclusive);
        let early = judge(&RULE, &look(80, 95, 100));
        assert_eq!(
            early.reasons,
            [Reason::TooFew {
                count: 100,
                minimum: 500
            }]
        );
    }

    #[test]
    fn a_challenger_that_is_as_good_is_promoted_where_that_is_enough() {
        let rule = Rule {
            margin: Some(0.05),
            ..RULE
        };
        let verdict = judge(&rule, &look(8000, 7990, 10_000));
        assert!(
            matches!(verdict.reasons[..], [Reason::NonInferior { at_most, .. }] if at_most < 0.05),
            "{verdict:?}"
        );
        // Worse for certain, but not by more than may be.
        assert_eq!(judge(&rule, &look(80_000, 78_000, 100_000)).outcome, Outcome::Promote);
        assert_eq!(judge(&rule, &look(8000, 7000, 10_000)).outcome, Outcome::RollBack);
    }

    #[test]
    fn where_lower_is_better_it_is_the_other_way_round() {
        let rule = Rule {
            lower_is_better: true,
            ..RULE
        };
        assert_eq!(judge(&rule, &look(200, 50, 1000)).outcome, Outcome::Promote);
        assert_eq!(judge(&rule, &look(50, 200, 1000)).outcome, Outcome::RollBack);
    }

    #[test]
    fn a_broken_guardrail_stops_at_once_and_a_mismatch_before_that() {
        let latency = |mean: f64, count: u64| Sample {
            count,
            sum: mean * real(count),
            sum_of_squares: (mean * mean + 100.0) * real(count),
        };
        let guardrail = Guardrail {
            name: "ModelLatency".to_owned(),
            lower_is_better: true,
            margin: 5.0,
            narrowest: 1.0,
            champion: latency(50.0, 400),
            challenger: latency(80.0, 100),
            limit: None,
        };
        let guardrails = [guardrail.clone()];
        let look = Look {
            guardrails: &guardrails,
            ..look(80, 99, 100)
        };
        let verdict = judge(&RULE, &look);
        assert_eq!(verdict.outcome, Outcome::RollBack);
        assert!(
            matches!(&verdict.reasons[..], [Reason::GuardrailBroken { worse_by: Some(worse_by), .. }] if *worse_by > 20.0),
            "{verdict:?}"
        );
        let within = [Guardrail {
            challenger: latency(52.0, 100),
            ..guardrail.clone()
        }];
        assert_eq!(
            judge(
                &RULE,
                &Look {
                    guardrails: &within,
                    ..look
                }
            )
            .outcome,
            Outcome::Continue
        );
        let limited = [Guardrail {
            limit: Some(51.0),
            challenger: latency(52.0, 100),
            ..guardrail
        }];
        assert_eq!(
            judge(
                &RULE,
                &Look {
                    guardrails: &limited,
                    ..look
                }
            )
            .outcome,
            Outcome::RollBack
        );
        let traffic = [(9000, 50.0), (1000, 50.0)];
        assert_eq!(
            judge(
                &RULE,
                &Look {
                    traffic: &traffic,
                    ..look
                }
            )
            .outcome,
            Outcome::Invalid
        );
    }

    #[test]
    fn where_the_traffic_follows_the_outcomes_it_takes_more_of_them() {
        let rule = Rule { adaptive: true, ..RULE };
        let (apart, together) = (judge(&rule, &look(800, 850, 1000)), judge(&RULE, &look(800, 850, 1000)));
        let width = |verdict: &Verdict| verdict.interval.map_or(0.0, |interval| interval.high - interval.low);
        assert!(width(&apart) > width(&together) && width(&apart) < 2.0 * width(&together));
        assert_eq!(judge(&rule, &look(8000, 9000, 10_000)).outcome, Outcome::Promote);
    }

    #[test]
    fn several_challengers_share_what_may_go_wrong() {
        assert!((RULE.among(5).alpha - 0.01).abs() < 1e-12);
        assert!((RULE.among(0).alpha - 0.05).abs() < 1e-12);
    }
}
