//! Decisions at their limits, and the numbers behind them.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use experiment::{
    Allocation, AllocationError, ConfidenceSequence, Difference, Guardrail, Interval, Look, Outcome, Plan, PlanError,
    Posterior, Reason, Rule, Sample, SampleRatio, Verdict, judge,
};

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

fn sample(values: &[f64]) -> Sample {
    let mut sample = Sample::default();
    for value in values {
        sample.add(*value);
    }
    sample
}

/// Values `mean - 1` and `mean + 1` in turn.
fn around(mean: f64, count: usize) -> Sample {
    let values: Vec<f64> = [mean - 1.0, mean + 1.0].into_iter().cycle().take(count).collect();
    sample(&values)
}

fn is_near(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-9 * a.abs().max(b.abs()).max(1e-3)
}

fn interval(rule: &Rule, look: &Look<'_>) -> Interval {
    judge(rule, look).interval.unwrap()
}

#[test]
fn interval_is_from_confidence_sequence() {
    let look = look(800, 830, 1000);
    let sequence = ConfidenceSequence::new(RULE.alpha, RULE.narrowest);
    let difference = Difference::between(&look.champion, &look.challenger).unwrap();
    let interval = interval(&RULE, &look);
    assert_eq!(interval, sequence.interval(&difference));
    assert!(is_near(interval.estimate, 0.03));
    let half = sequence.half_width(difference.information());
    assert!(is_near(interval.low, 0.03 - half) && is_near(interval.high, 0.03 + half));
}

#[test]
fn adaptive_interval_adds_half_widths_per_variant() {
    let rule = Rule { adaptive: true, ..RULE };
    let look = Look {
        champion: Sample::proportion(800, 1000),
        challenger: Sample::proportion(230, 250),
        ..look(0, 0, 0)
    };
    let sequence = ConfidenceSequence::new(0.025, 40_000.0);
    let half = sequence.half_width(1000.0 / look.champion.variance())
        + sequence.half_width(250.0 / look.challenger.variance());
    let interval = interval(&rule, &look);
    assert!(is_near(interval.estimate, 0.12), "{interval:?}");
    assert!(is_near(interval.low, 0.12 - half), "{interval:?}");
    assert!(is_near(interval.high, 0.12 + half), "{interval:?}");
}

#[test]
fn adaptive_interval_is_finite_if_one_variant_is_constant() {
    let rule = Rule { adaptive: true, ..RULE };
    let look = Look {
        champion: sample(&[5.0; 600]),
        challenger: around(6.0, 600),
        ..look(0, 0, 0)
    };
    let sequence = ConfidenceSequence::new(0.025, 40_000.0);
    let half = sequence.half_width(600.0 / look.challenger.variance());
    let interval = interval(&rule, &look);
    assert!(is_near(interval.low, 1.0 - half) && is_near(interval.high, 1.0 + half));
}

#[test]
fn reasons_quantify_difference() {
    let reasons = |rule: &Rule, look: &Look<'_>| judge(rule, look).reasons;
    let better = look(800, 950, 1000);
    let low = interval(&RULE, &better).low;
    assert_eq!(reasons(&RULE, &better), [Reason::Superior { at_least: low }]);
    let worse = look(950, 800, 1000);
    let high = interval(&RULE, &worse).high;
    assert_eq!(reasons(&RULE, &worse), [Reason::Inferior { at_least: -high }]);
    let lower_is_better = Rule {
        lower_is_better: true,
        ..RULE
    };
    assert_eq!(
        reasons(&lower_is_better, &worse),
        [Reason::Superior { at_least: -high }]
    );
    assert_eq!(reasons(&lower_is_better, &better), [Reason::Inferior { at_least: low }]);
    let rule = Rule {
        margin: Some(0.1),
        ..RULE
    };
    let equal = look(8000, 8000, 10_000);
    let at_most = -interval(&rule, &equal).low;
    assert!(at_most > 0.0 && at_most < 0.1);
    assert_eq!(reasons(&rule, &equal), [Reason::NonInferior { at_most, margin: 0.1 }]);
}

#[test]
fn difference_at_margin_is_undecided() {
    let outcome = |look: &Look<'_>, margin| {
        let rule = Rule {
            margin: Some(margin),
            ..RULE
        };
        judge(&rule, look).outcome
    };
    let worse = look(8500, 8000, 10_000);
    let Interval { low, high, .. } = interval(&RULE, &worse);
    assert!(high < 0.0);
    assert_eq!(outcome(&worse, -high * 0.999), Outcome::RollBack);
    assert_eq!(outcome(&worse, -high), Outcome::Continue);
    assert_eq!(outcome(&worse, -low), Outcome::Continue);
    assert_eq!(outcome(&worse, -low * 1.001), Outcome::Promote);
    // Without a margin, equally good is not enough.
    assert_eq!(judge(&RULE, &look(8000, 8000, 10_000)).outcome, Outcome::Continue);
}

#[test]
fn look_is_judged_from_minimum_on() {
    let rule = |minimum| Rule { minimum, ..RULE };
    assert_eq!(judge(&rule(1000), &look(800, 950, 1000)).outcome, Outcome::Promote);
    assert_eq!(judge(&rule(1001), &look(800, 950, 1000)).outcome, Outcome::Continue);
    // The smaller variant decides.
    let uneven = Look {
        challenger: Sample::proportion(480, 499),
        ..look(800, 0, 1000)
    };
    let too_few = Reason::TooFew {
        count: 499,
        minimum: 500,
    };
    let early = judge(&RULE, &uneven);
    assert_eq!(
        (early.outcome, early.reasons),
        (Outcome::Continue, vec![too_few.clone()])
    );
    let over = judge(
        &RULE,
        &Look {
            expired: true,
            ..uneven
        },
    );
    assert_eq!(over.outcome, Outcome::Inconclusive);
    assert_eq!(over.reasons, [Reason::TimeOver, too_few]);
}

#[test]
fn constant_variants_are_undecided() {
    let look = Look {
        champion: sample(&[5.0; 600]),
        challenger: sample(&[6.0; 600]),
        ..look(0, 0, 0)
    };
    let undecided = Verdict {
        outcome: Outcome::Continue,
        reasons: vec![Reason::Undecided],
        interval: None,
    };
    assert_eq!(judge(&RULE, &look), undecided);
}

#[test]
fn traffic_below_ratio_alpha_is_invalid() {
    let traffic = [(560, 50.0), (440, 50.0)];
    let pvalue = SampleRatio::from_counts(&[560, 440], &[50.0, 50.0])
        .unwrap()
        .anytime_pvalue;
    let look = Look {
        traffic: &traffic,
        ..look(800, 950, 1000)
    };
    let rule = |ratio_alpha| Rule { ratio_alpha, ..RULE };
    let verdict = judge(&rule(pvalue * 1.001), &look);
    assert_eq!(verdict.outcome, Outcome::Invalid);
    assert_eq!(verdict.reasons, [Reason::SampleRatioMismatch { pvalue }]);
    assert_eq!(judge(&rule(pvalue), &look).outcome, Outcome::Promote);
}

fn guardrail(champion: Sample, challenger: Sample) -> Guardrail {
    Guardrail {
        name: "ModelLatency".into(),
        lower_is_better: true,
        margin: 5.0,
        narrowest: 1.0,
        champion,
        challenger,
        limit: None,
    }
}

/// Minimum amounts by which the candidate is worse, one per breached guardrail.
fn breaches(guardrail: Guardrail) -> Vec<Option<f64>> {
    let guardrails = [guardrail];
    let look = Look {
        guardrails: &guardrails,
        ..look(80, 80, 100)
    };
    let verdict = judge(&RULE, &look);
    let worse_by = |reason: &Reason| match reason {
        Reason::GuardrailBroken { name, worse_by } => {
            assert_eq!((name.as_str(), verdict.outcome), ("ModelLatency", Outcome::RollBack));
            Some(*worse_by)
        }
        _ => None,
    };
    verdict.reasons.iter().filter_map(worse_by).collect()
}

#[test]
fn guardrail_limit_breaks_from_three_values_on() {
    let limited = |lower_is_better, mean, count| {
        breaches(Guardrail {
            lower_is_better,
            limit: Some(100.0),
            ..guardrail(Sample::default(), sample(&vec![mean; count]))
        })
    };
    assert_eq!(limited(true, 101.0, 3), [None]);
    assert_eq!(limited(true, 101.0, 2), []);
    assert_eq!(limited(true, 100.0, 3), []);
    assert_eq!(limited(true, 99.0, 3), []);
    assert_eq!(limited(false, 99.0, 3), [None]);
    assert_eq!(limited(false, 99.0, 2), []);
    assert_eq!(limited(false, 100.0, 3), []);
    assert_eq!(limited(false, 101.0, 3), []);
}

#[test]
fn guardrail_margin_breaks_from_fifty_values_on() {
    let broken =
        |champion, challenger| !breaches(guardrail(around(50.0, champion), around(80.0, challenger))).is_empty();
    assert!(broken(50, 50));
    assert!(!broken(49, 50));
    assert!(!broken(50, 49));
}

#[test]
fn guardrail_breaks_if_worse_by_more_than_margin() {
    let (low, high) = (around(50.0, 400), around(80.0, 400));
    let sequence = ConfidenceSequence::new(RULE.alpha, 1.0);
    // The candidate's latency is higher by this at least.
    let worse_by = sequence.interval(&Difference::between(&low, &high).unwrap()).low;
    assert!(worse_by > 25.0 && worse_by < 30.0);
    let with_margin = |margin| {
        breaches(Guardrail {
            margin,
            ..guardrail(low, high)
        })
    };
    assert_eq!(with_margin(worse_by * 0.999), [Some(worse_by)]);
    assert_eq!(with_margin(worse_by), []);
    assert_eq!(breaches(guardrail(high, low)), []);
    let higher_is_better = |champion, challenger| {
        breaches(Guardrail {
            lower_is_better: false,
            ..guardrail(champion, challenger)
        })
    };
    assert_eq!(higher_is_better(low, high), []);
    assert_eq!(higher_is_better(high, low), [Some(worse_by)]);
}

#[test]
fn reasons_are_described_with_their_numbers() {
    let described = |reason: Reason| reason.describe();
    let name = || "ModelLatency".to_owned();
    for (reason, words) in [
        (Reason::SampleRatioMismatch { pvalue: 0.000_012 }, "p = 1.2e-5"),
        (
            Reason::GuardrailBroken {
                name: name(),
                worse_by: Some(2.5),
            },
            "`ModelLatency` is breached: the candidate is at least 2.5 worse",
        ),
        (
            Reason::GuardrailBroken {
                name: name(),
                worse_by: None,
            },
            "`ModelLatency` is breached: the candidate is beyond its limit",
        ),
        (
            Reason::TooFew {
                count: 12,
                minimum: 500,
            },
            "12 of 500 outcomes",
        ),
        (Reason::Superior { at_least: 0.0123 }, "at least 0.0123 better"),
        (
            Reason::NonInferior {
                at_most: 0.0123,
                margin: 0.05,
            },
            "at most 0.0123 worse; the allowed margin is 0.05",
        ),
        (Reason::Inferior { at_least: 0.0123 }, "at least 0.0123 worse"),
        (Reason::Undecided, "not significant"),
        (Reason::TimeOver, "maximum duration"),
    ] {
        let described = described(reason);
        assert!(described.contains(words), "{described}");
    }
}

#[test]
fn half_width_matches_closed_form() {
    // Information and ρ both 1, α = e⁻¹: √(2 · ln(2 e²)) = √(2 ln 2 + 4).
    let alpha = (-1.0_f64).exp();
    let narrowest = 2.0 + 3.0_f64.ln();
    let sequence = ConfidenceSequence::new(alpha, narrowest);
    assert!(is_near(sequence.half_width(1.0), (2.0 * 2.0_f64.ln() + 4.0).sqrt()));
    // Information 3: √(4 · ln(4 e²)) / 3.
    assert!(is_near(
        sequence.half_width(3.0),
        (4.0 * (4.0_f64.ln() + 2.0)).sqrt() / 3.0
    ));
}

fn plan() -> Plan {
    Plan {
        alpha: 0.05,
        power: 0.8,
        effect: 0.02,
        variance: 0.09,
        weights: [0.9, 0.1],
        requests_per_hour: 500.0,
    }
}

#[test]
fn plan_depends_on_ratio_of_weights_only() {
    let schedule = plan().duration().unwrap();
    let percent = Plan {
        weights: [90.0, 10.0],
        ..plan()
    };
    let other = percent.duration().unwrap();
    // Requests are whole numbers, rounded up.
    assert!((schedule.requests - other.requests).abs() <= 1.0);
    assert!((schedule.fixed_requests - other.fixed_requests).abs() <= 1.0);
    // 19,622.2 (1.959964 + 0.841621)² / 0.02², times 0.09 (1/0.9 + 1/0.1).
    assert!((schedule.information - 19_622.2).abs() < 0.1, "{schedule:?}");
    assert!((schedule.fixed_requests - 19_622.2).abs() < 1.0, "{schedule:?}");
    assert!(is_near(schedule.hours, schedule.requests / 500.0));
}

#[test]
fn plan_ignores_direction_of_effect() {
    let down = Plan {
        effect: -0.02,
        ..plan()
    };
    assert_eq!(down.duration().unwrap(), plan().duration().unwrap());
}

#[test]
fn planned_sequence_is_narrowest_at_single_look() {
    let plan = plan();
    let information = plan.duration().unwrap().information;
    assert_eq!(
        plan.sequence().unwrap(),
        ConfidenceSequence::new(plan.alpha, information)
    );
    let invalid = Plan { alpha: 1.0, ..plan };
    assert_eq!(invalid.sequence(), Err(PlanError::Probability("alpha")));
}

#[test]
fn planned_requests_give_planned_power() {
    let schedule = plan().duration().unwrap();
    // Expected estimate, less z(power) standard deviations, is at the edge of the interval.
    let information = schedule.requests / (0.09 * (1.0 / 0.9 + 1.0 / 0.1));
    let half = plan().sequence().unwrap().half_width(information);
    let estimate = 0.02 - 0.841_621_233_6 / information.sqrt();
    assert!((estimate / half - 1.0).abs() < 1e-4, "{estimate} {half}");
}

#[test]
fn plan_with_invalid_number_is_rejected() {
    let probability = |change: fn(&mut Plan, f64), name| {
        for value in [0.0, 1.0, -0.5, 1.5, f64::NAN] {
            let mut plan = plan();
            change(&mut plan, value);
            assert_eq!(plan.duration(), Err(PlanError::Probability(name)), "{value}");
        }
    };
    probability(|plan, value| plan.alpha = value, "alpha");
    probability(|plan, value| plan.power = value, "power");
    let positive = |change: fn(&mut Plan, f64), name| {
        for value in [0.0, f64::INFINITY, f64::NAN] {
            let mut plan = plan();
            change(&mut plan, value);
            assert_eq!(plan.duration(), Err(PlanError::NotPositive(name)), "{value}");
        }
    };
    positive(|plan, value| plan.effect = value, "effect");
    positive(|plan, value| plan.variance = value, "variance");
    positive(|plan, value| plan.weights = [value, value], "weights");
    positive(|plan, value| plan.requests_per_hour = value, "requestsPerHour");
}

#[test]
fn sample_ratio_takes_weights_in_any_unit() {
    let ratio = |weights: [f64; 3]| SampleRatio::from_counts(&[450, 330, 220], &weights).unwrap();
    let (shares, percent) = (ratio([0.5, 0.3, 0.2]), ratio([50.0, 30.0, 20.0]));
    // (450 - 500)² / 500 + (330 - 300)² / 300 + (220 - 200)² / 200 = 10; with 2 degrees of freedom p = e⁻⁵.
    for ratio in [shares, percent] {
        assert!(is_near(ratio.statistic, 10.0), "{ratio:?}");
        assert!(is_near(ratio.pvalue, (-5.0_f64).exp()), "{ratio:?}");
    }
    assert!(is_near(shares.anytime_pvalue, percent.anytime_pvalue));
    assert!(shares.anytime_pvalue > shares.pvalue && shares.anytime_pvalue < 1.0);
}

#[test]
fn perfect_sample_ratio_has_pvalue_one() {
    let ratio = SampleRatio::from_counts(&[50, 50], &[1.0, 1.0]).unwrap();
    assert_eq!((ratio.statistic, ratio.pvalue, ratio.anytime_pvalue), (0.0, 1.0, 1.0));
}

#[test]
fn sample_ratio_without_valid_input_is_none() {
    assert_eq!(SampleRatio::from_counts(&[], &[]), None);
    assert_eq!(SampleRatio::from_counts(&[1, 2], &[1.0, 1.0, 1.0]), None);
    for weight in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert_eq!(
            SampleRatio::from_counts(&[1, 2, 3], &[1.0, 1.0, weight]),
            None,
            "{weight}"
        );
    }
    assert_eq!(SampleRatio::from_counts(&[0, 0], &[1.0, 1.0]), None);
    assert!(SampleRatio::from_counts(&[0, 1], &[1.0, 1.0]).is_some());
}

#[test]
fn sample_sums_values_and_squares() {
    let sample = sample(&[3.0, -1.0, 4.0]);
    assert_eq!(
        sample,
        Sample {
            count: 3,
            sum: 6.0,
            sum_of_squares: 26.0
        }
    );
    assert!(is_near(sample.mean(), 2.0) && is_near(sample.variance(), 7.0));
    assert_eq!(sample.and(sample).count, 6);
}

#[test]
fn two_values_are_enough_for_variance() {
    assert!(is_near(sample(&[1.0, 4.0]).variance(), 4.5));
    assert!(sample(&[4.0]).variance().is_nan());
    assert!(sample(&[]).variance().is_nan());
    assert!(is_near(sample(&[4.0; 3]).variance(), 0.0));
}

#[test]
fn proportion_varies_as_with_one_more_success_and_failure() {
    // 4 of 12 instead of 3 of 10.
    assert!(is_near(Sample::proportion(3, 10).variance(), 4.0 / 12.0 * 8.0 / 12.0));
    assert!(is_near(Sample::proportion(10, 10).variance(), 11.0 / 12.0 / 12.0));
    assert_eq!(Sample::proportion(11, 10), Sample::proportion(10, 10));
}

#[test]
fn negative_values_vary_as_numbers() {
    let values = sample(&[-1.0, -1.0, 2.0, 0.0, 0.0]);
    assert!(is_near(values.variance(), 1.5), "{values:?}");
    let values = sample(&[-0.5, -0.5, -1.0, -2.0]);
    assert!(is_near(values.variance(), 0.5), "{values:?}");
}

#[test]
fn difference_is_challenger_minus_champion() {
    let (champion, challenger) = (sample(&[1.0, 3.0]), sample(&[4.0, 8.0, 6.0]));
    let difference = Difference::between(&champion, &challenger).unwrap();
    assert!(is_near(difference.estimate, 4.0));
    // 2 / 2 + 4 / 3.
    assert!(is_near(difference.variance, 7.0 / 3.0));
    assert!(is_near(difference.information(), 3.0 / 7.0));
    let constant = sample(&[2.0, 2.0]);
    assert_eq!(Difference::between(&constant, &constant), None);
    assert!(Difference::between(&constant, &challenger).is_some());
    assert_eq!(Difference::between(&sample(&[2.0]), &challenger), None);
    let infinite = sample(&[f64::INFINITY, 1.0]);
    assert_eq!(Difference::between(&infinite, &challenger), None);
}

#[test]
fn posterior_without_trials_is_none() {
    let (none, some) = (Sample::proportion(0, 0), Sample::proportion(3, 10));
    assert_eq!(Posterior::from_proportions(&none, &some), None);
    assert_eq!(Posterior::from_proportions(&some, &none), None);
}

#[test]
fn posterior_sides_add_up_to_one() {
    let (a, b) = (Sample::proportion(30, 200), Sample::proportion(45, 210));
    let (there, back) = (
        Posterior::from_proportions(&a, &b).unwrap(),
        Posterior::from_proportions(&b, &a).unwrap(),
    );
    assert!((there.challenger_higher + back.challenger_higher - 1.0).abs() < 1e-4);
    // E[max(p - q, 0)] - E[max(q - p, 0)] is the difference of the posterior means.
    let means = 46.0 / 212.0 - 31.0 / 202.0;
    assert!((back.expected_loss - there.expected_loss - means).abs() < 1e-4);
}

#[test]
fn normal_posterior_matches_closed_form() {
    let posterior = Posterior::from_difference(&Difference {
        estimate: 0.0,
        variance: 4.0,
    });
    assert!(is_near(posterior.challenger_higher, 0.5));
    assert!(is_near(
        posterior.expected_loss,
        2.0 / (2.0 * std::f64::consts::PI).sqrt()
    ));
}

#[test]
fn variant_without_weight_gets_no_users() {
    let allocation = Allocation::new(&[("none", 0.0), ("all", 3.0), ("also_none", 0.0)], 1).unwrap();
    assert!((0..1000).all(|user| allocation.variant(&user.to_string()) == "all"));
}

#[test]
fn seed_changes_assignment() {
    let variants = |seed| {
        let allocation = Allocation::new(&[("a", 1.0), ("b", 1.0)], seed).unwrap();
        (0..100)
            .map(|user| allocation.variant(&user.to_string()).to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(variants(1), variants(1));
    assert_ne!(variants(1), variants(2));
}

#[test]
fn invalid_weights_are_rejected() {
    for weight in [f64::NAN, f64::INFINITY, -0.5] {
        let allocation = Allocation::new(&[("a", 1.0), ("b", weight)], 1);
        assert_eq!(allocation, Err(AllocationError::Weights), "{weight}");
    }
    assert_eq!(Allocation::new(&[], 1), Err(AllocationError::Weights));
    assert!(Allocation::new(&[("a", 1.0), ("b", 0.0)], 1).is_ok());
}

#[test]
fn thompson_shares_are_probabilities_above_minimum() {
    // Beta(1, 2) against Beta(2, 1): the second is better with probability 5/6.
    let shares = |least| Allocation::thompson(&[Sample::proportion(0, 1), Sample::proportion(1, 1)], least);
    for (least, champion) in [(0.0, 1.0 / 6.0), (0.1, 0.1 + 0.8 / 6.0), (0.5, 0.5), (0.9, 0.5)] {
        let shares = shares(least);
        assert!((shares.first().unwrap() - champion).abs() < 1e-4, "{shares:?}");
        assert!(is_near(shares.iter().sum(), 1.0), "{shares:?}");
    }
    assert_eq!(Allocation::thompson(&[], 0.1), Vec::<f64>::new());
}
