//! Verdict of a look: promote, roll back, continue, inconclusive, or invalid.

use crate::{
    confidence::{ConfidenceSequence, Interval},
    ratio::SampleRatio,
    real,
    sample::{Difference, Sample},
};
use serde::{Deserialize, Serialize};
use text::number;

/// Minimum number of values per variant for a guardrail's margin. The interval applies to large samples.
const MIN_MARGIN_VALUES: u64 = 50;
/// Minimum number of values for a guardrail's limit, so that one slow minute does not breach it.
const MIN_LIMIT_VALUES: u64 = 3;

/// Decision rule of an experiment.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rule {
    /// Accepted probability of a false alarm over all looks. Several tests share it ([`Rule::for_tests`]).
    pub alpha: f64,
    /// Information at which the confidence sequence is narrowest.
    pub narrowest: f64,
    /// Whether a lower value of the metric is better.
    pub lower_is_better: bool,
    /// Non-inferiority margin: how much worse the challenger may be. `None` promotes only a better challenger.
    pub margin: Option<f64>,
    /// Minimum number of values per variant before a comparison.
    pub minimum: u64,
    /// P-value of the sample ratio below which a look is invalid.
    pub ratio_alpha: f64,
    /// Whether the traffic depends on the outcomes, as with Thompson sampling. Each mean then gets a separate interval.
    pub adaptive: bool,
}

impl Rule {
    /// Rule for each of this number of tests, such as steps or challengers. A false alarm in any of them is as rare as in a
    /// single test (Bonferroni correction, which is valid for dependent tests and at every look).
    #[must_use]
    pub fn for_tests(self, tests: u32) -> Self {
        Self {
            alpha: self.alpha / f64::from(tests.max(1)),
            ..self
        }
    }
}

/// A guardrail with the values of both variants: a limited metric that is independent of the compared one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Guardrail {
    /// Name of the metric, for example `latency_p99`.
    pub name: String,
    /// Whether a lower value is better.
    pub lower_is_better: bool,
    /// How much worse than the champion the challenger may be.
    pub margin: f64,
    /// Information at which its confidence sequence is narrowest, chosen before the start.
    pub narrowest: f64,
    /// Values of the champion.
    pub champion: Sample,
    /// Values of the challenger.
    pub challenger: Sample,
    /// Absolute limit for the challenger's mean, independent of the champion. `None` sets no limit.
    pub limit: Option<f64>,
}

/// Data of a look.
#[derive(Debug, Clone, Copy)]
pub struct Look<'a> {
    /// Values of the champion.
    pub champion: Sample,
    /// Values of the challenger.
    pub challenger: Sample,
    /// Number of requests and weight of each variant of the endpoint. Empty skips the sample ratio check.
    pub traffic: &'a [(u64, f64)],
    /// Guardrails to check.
    pub guardrails: &'a [Guardrail],
    /// Whether the maximum duration has passed.
    pub expired: bool,
}

/// Result of a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Outcome {
    /// The challenger can be promoted.
    Promote,
    /// Remove the challenger from the endpoint.
    RollBack,
    /// Continue: there is no decision yet.
    Continue,
    /// The maximum duration has passed without a decision. The policy sets what to do.
    Inconclusive,
    /// The results cannot be trusted.
    Invalid,
}

/// Reason for the result of a look.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "code", rename_all_fields = "camelCase")]
pub enum Reason {
    /// The variants did not get their configured traffic shares.
    SampleRatioMismatch {
        /// P-value of the sample ratio, valid at every look.
        pvalue: f64,
    },
    /// A guardrail is breached.
    GuardrailBroken {
        /// Name of the guardrail metric.
        name: String,
        /// Minimum amount by which the challenger is worse. `null` if it is beyond its absolute limit.
        worse_by: Option<f64>,
    },
    /// A variant has too few outcomes.
    TooFew {
        /// Number of outcomes of the variant with fewer outcomes.
        count: u64,
        /// Minimum number of outcomes per variant.
        minimum: u64,
    },
    /// The challenger is better.
    Superior {
        /// Minimum amount by which the challenger is better.
        at_least: f64,
    },
    /// The challenger is not worse by more than the margin.
    NonInferior {
        /// Maximum amount by which the challenger is worse.
        at_most: f64,
        /// Non-inferiority margin: how much worse the challenger may be.
        margin: f64,
    },
    /// The challenger is worse.
    Inferior {
        /// Minimum amount by which the challenger is worse.
        at_least: f64,
    },
    /// The difference is not significant yet.
    Undecided,
    /// The maximum duration has passed.
    TimeOver,
}

impl Reason {
    /// Describes the reason as part of a sentence.
    pub fn describe(&self) -> String {
        match self {
            Self::SampleRatioMismatch { pvalue } => format!(
                "the variants did not get their configured traffic shares (p = {}), so the results cannot be trusted",
                number(*pvalue)
            ),
            Self::GuardrailBroken {
                name,
                worse_by: Some(worse_by),
            } => {
                format!(
                    "guardrail `{name}` is breached: the candidate is at least {} worse",
                    number(*worse_by)
                )
            }
            Self::GuardrailBroken { name, worse_by: None } => {
                format!("guardrail `{name}` is breached: the candidate is beyond its limit")
            }
            Self::TooFew { count, minimum } => format!(
                "{} of {} outcomes collected",
                text::integer(*count),
                text::integer(*minimum)
            ),
            Self::Superior { at_least } => format!("the candidate is at least {} better", number(*at_least)),
            Self::NonInferior { at_most, margin } => {
                format!(
                    "the candidate is at most {} worse; the allowed margin is {}",
                    number(*at_most),
                    number(*margin)
                )
            }
            Self::Inferior { at_least } => format!("the candidate is at least {} worse", number(*at_least)),
            Self::Undecided => "the difference is not significant yet".to_owned(),
            Self::TimeOver => "the maximum duration has passed".to_owned(),
        }
    }
}

/// Result of a look with its reasons.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// Result of the look.
    pub outcome: Outcome,
    /// Reasons, most important first.
    pub reasons: Vec<Reason>,
    /// Confidence interval of challenger − champion. `None` with too few values.
    pub interval: Option<Interval>,
}

/// Minimum and maximum amount by which the challenger is better.
fn better_by(interval: &Interval, lower_is_better: bool) -> (f64, f64) {
    if lower_is_better {
        (-interval.high, -interval.low)
    } else {
        (interval.low, interval.high)
    }
}

/// Reason for a rollback if the guardrail is breached.
fn breach(guardrail: &Guardrail, rule: &Rule) -> Option<Reason> {
    let Guardrail {
        champion, challenger, ..
    } = guardrail;
    let reason = |worse_by| Reason::GuardrailBroken {
        name: guardrail.name.clone(),
        worse_by,
    };
    let is_beyond = |limit: f64| {
        if guardrail.lower_is_better {
            challenger.mean() > limit
        } else {
            challenger.mean() < limit
        }
    };
    if challenger.count >= MIN_LIMIT_VALUES && guardrail.limit.is_some_and(is_beyond) {
        return Some(reason(None));
    }
    if champion.count.min(challenger.count) < MIN_MARGIN_VALUES {
        return None;
    }
    let difference = Difference::between(champion, challenger)?;
    let sequence = ConfidenceSequence::new(rule.alpha, guardrail.narrowest);
    let (_, at_most) = better_by(&sequence.interval(&difference), guardrail.lower_is_better);
    (at_most < -guardrail.margin).then(|| reason(Some(-at_most)))
}

/// Interval of a difference if the number of values of each variant depends on the values. The confidence sequence of each mean
/// is valid at any count, however it is chosen. Both cover simultaneously with probability 1 - α (Bonferroni correction).
fn adaptive_interval(rule: &Rule, champion: &Sample, challenger: &Sample, difference: &Difference) -> Interval {
    // One mean has half the variance of the difference, so its information is twice as large.
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

/// Evaluates a look.
pub fn judge(rule: &Rule, look: &Look<'_>) -> Verdict {
    let (counts, weights): (Vec<u64>, Vec<f64>) = look.traffic.iter().copied().unzip();
    let difference = Difference::between(&look.champion, &look.challenger);
    let sequence = ConfidenceSequence::new(rule.alpha, rule.narrowest);
    let interval = difference.map(|difference| {
        if rule.adaptive {
            adaptive_interval(rule, &look.champion, &look.challenger, &difference)
        } else {
            sequence.interval(&difference)
        }
    });
    let verdict = |outcome, reasons| Verdict {
        outcome,
        reasons,
        interval,
    };
    if let Some(ratio) = SampleRatio::from_counts(&counts, &weights)
        && ratio.anytime_pvalue < rule.ratio_alpha
    {
        let pvalue = ratio.anytime_pvalue;
        return verdict(Outcome::Invalid, vec![Reason::SampleRatioMismatch { pvalue }]);
    }
    let breaches: Vec<Reason> = look
        .guardrails
        .iter()
        .filter_map(|guardrail| breach(guardrail, rule))
        .collect();
    if !breaches.is_empty() {
        return verdict(Outcome::RollBack, breaches);
    }
    let not_yet = |reason| {
        if look.expired {
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
            expired: false,
        }
    }

    #[test]
    fn outcome_depends_on_difference_count_and_time() {
        assert_eq!(judge(&RULE, &look(800, 950, 1000)).outcome, Outcome::Promote);
        assert_eq!(judge(&RULE, &look(950, 800, 1000)).outcome, Outcome::RollBack);
        let equal = judge(&RULE, &look(800, 805, 1000));
        assert_eq!(
            (equal.outcome, equal.reasons),
            (Outcome::Continue, vec![Reason::Undecided])
        );
        let expired = Look {
            expired: true,
            ..look(800, 805, 1000)
        };
        assert_eq!(judge(&RULE, &expired).outcome, Outcome::Inconclusive);
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
    fn equal_challenger_is_promoted_within_margin() {
        let rule = Rule {
            margin: Some(0.05),
            ..RULE
        };
        let verdict = judge(&rule, &look(8000, 7990, 10_000));
        assert!(
            matches!(verdict.reasons[..], [Reason::NonInferior { at_most, .. }] if at_most < 0.05),
            "{verdict:?}"
        );
        // Significantly worse, but within the margin.
        assert_eq!(judge(&rule, &look(80_000, 78_000, 100_000)).outcome, Outcome::Promote);
        assert_eq!(judge(&rule, &look(8000, 7000, 10_000)).outcome, Outcome::RollBack);
    }

    #[test]
    fn lower_is_better_reverses_outcome() {
        let rule = Rule {
            lower_is_better: true,
            ..RULE
        };
        assert_eq!(judge(&rule, &look(200, 50, 1000)).outcome, Outcome::Promote);
        assert_eq!(judge(&rule, &look(50, 200, 1000)).outcome, Outcome::RollBack);
    }

    #[test]
    fn mismatch_precedes_guardrail_breach() {
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
    fn adaptive_rule_has_wider_interval() {
        let rule = Rule { adaptive: true, ..RULE };
        let (adaptive, fixed) = (judge(&rule, &look(800, 850, 1000)), judge(&RULE, &look(800, 850, 1000)));
        let width = |verdict: &Verdict| verdict.interval.map_or(0.0, |interval| interval.high - interval.low);
        assert!(width(&adaptive) > width(&fixed) && width(&adaptive) < 2.0 * width(&fixed));
        assert_eq!(judge(&rule, &look(8000, 9000, 10_000)).outcome, Outcome::Promote);
    }

    #[test]
    fn tests_share_alpha() {
        assert!((RULE.for_tests(5).alpha - 0.01).abs() < 1e-12);
        assert!((RULE.for_tests(0).alpha - 0.05).abs() < 1e-12);
    }
}
