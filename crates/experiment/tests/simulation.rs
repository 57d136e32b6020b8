//! False alarms by simulation: of experiments without a difference that are analyzed after every batch, at most a share α ever
//! finds one. As a control, a test for a single look that is repeated after every batch exceeds α.
#![expect(
    clippy::cast_precision_loss,
    clippy::unwrap_used,
    reason = "counts are small, and a test fails by panicking"
)]

use experiment::{ConfidenceSequence, Difference, Look, Outcome, Plan, Posterior, Rule, Sample, SampleRatio, judge};

const EXPERIMENTS: u32 = 10_000;
const ALPHA: f64 = 0.05;

/// Number of experiments: `full`, or fewer if `DRIFTWARDEN_TEST_CASES` limits the cases of each test.
#[expect(clippy::disallowed_methods, reason = "a test reads its size from the environment")]
fn experiments(full: u32) -> u32 {
    let limit = std::env::var("DRIFTWARDEN_TEST_CASES").map_or(full, |limit| limit.parse().unwrap());
    full.min(limit)
}

/// Standard deviations of the share of false alarms among this number of experiments. A share 4 of them above [`ALPHA`] occurs
/// by chance once in 30,000 runs; the seeds are fixed, so it does not occur at random.
fn deviations(number: f64, experiments: u32) -> f64 {
    number * (ALPHA * (1.0 - ALPHA) / f64::from(experiments)).sqrt()
}

/// `SplitMix64` (Steele, Lea and Flood 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// Shares of experiments that ever find a difference: with the confidence sequence, and with a test for a single look.
fn false_alarms(
    looks: u32,
    batch: u32,
    challenger_share: f64,
    mut value: impl FnMut(&mut Random) -> f64,
    narrowest: f64,
) -> (f64, f64) {
    let sequence = ConfidenceSequence::new(ALPHA, narrowest);
    let (mut by_sequence, mut by_single_looks) = (0, 0);
    let experiments = experiments(EXPERIMENTS);
    for experiment in 0..experiments {
        let mut random = Random(u64::from(experiment) << 20);
        let mut samples = [Sample::default(); 2];
        let (mut found, mut found_by_single) = (false, false);
        for _ in 0..looks {
            for _ in 0..batch {
                let variant = usize::from(random.unit() < challenger_share);
                let value = value(&mut random);
                samples.get_mut(variant).unwrap().add(value);
            }
            let [champion, challenger] = &samples;
            let Some(difference) = Difference::between(champion, challenger) else {
                continue;
            };
            let interval = sequence.interval(&difference);
            found |= interval.low > 0.0 || interval.high < 0.0;
            found_by_single |= difference.estimate.abs() > 1.959_964 * difference.variance.sqrt();
        }
        by_sequence += u32::from(found);
        by_single_looks += u32::from(found_by_single);
    }
    let share = |count: u32| f64::from(count) / f64::from(experiments);
    (share(by_sequence), share(by_single_looks))
}

#[test]
fn proportions_raise_false_alarms_below_alpha() {
    // 50 looks at 100 requests each, one of five to the challenger. Information at the end: 1 / (0.2 · 0.8 (1/1000 + 1/4000)).
    let (sequence, single) = false_alarms(50, 100, 0.2, |random| f64::from(u8::from(random.unit() < 0.2)), 5000.0);
    assert!(
        sequence <= ALPHA + deviations(4.0, experiments(EXPERIMENTS)),
        "{sequence}"
    );
    assert!(
        single > 4.0 * ALPHA,
        "a repeated test for a single look exceeds alpha: {single}"
    );
}

#[test]
fn skewed_means_raise_false_alarms_below_alpha() {
    // Latencies: exponential, mean 1.
    let (sequence, single) = false_alarms(40, 100, 0.5, |random| -(1.0 - random.unit()).ln(), 1000.0);
    assert!(
        sequence <= ALPHA + deviations(4.0, experiments(EXPERIMENTS)),
        "{sequence}"
    );
    assert!(single > 4.0 * ALPHA, "{single}");
}

#[test]
fn configured_shares_rarely_raise_mismatch() {
    let weights = [45.0, 10.0, 20.0, 15.0, 10.0];
    let mut alarms = 0;
    let experiments = experiments(2000);
    for experiment in 0..experiments {
        let mut random = Random(u64::from(experiment) << 24);
        let mut counts = [0_u64; 5];
        let mut alarm = false;
        for _ in 0..50 {
            for _ in 0..100 {
                let place = random.unit() * 100.0;
                let mut end = 0.0;
                for (count, weight) in counts.iter_mut().zip(weights) {
                    end += weight;
                    if place < end {
                        *count += 1;
                        break;
                    }
                }
            }
            alarm |= SampleRatio::from_counts(&counts, &weights).unwrap().anytime_pvalue < 0.05;
        }
        alarms += u32::from(alarm);
    }
    let share = f64::from(alarms) / f64::from(experiments);
    assert!(share <= ALPHA + deviations(4.0, experiments), "{alarms}");
}

#[test]
fn difference_is_found_within_planned_requests() {
    let plan = Plan {
        alpha: ALPHA,
        power: 0.8,
        effect: 0.05,
        variance: 0.2 * 0.8,
        weights: [0.8, 0.2],
        requests_per_hour: 500.0,
    };
    let schedule = plan.duration().unwrap();
    let rule = Rule {
        alpha: ALPHA,
        narrowest: schedule.information,
        lower_is_better: false,
        margin: None,
        minimum: 100,
        ratio_alpha: 0.001,
        adaptive: false,
    };
    let (mut in_time, mut wrong) = (0, 0);
    let experiments = experiments(500);
    for experiment in 0..experiments {
        let mut random = Random(u64::from(experiment) << 24);
        let (mut counts, mut successes) = ([0_u64; 2], [0_u64; 2]);
        let mut outcome = Outcome::Continue;
        while (counts.iter().sum::<u64>() as f64) < schedule.requests && outcome == Outcome::Continue {
            for _ in 0..100 {
                let variant = usize::from(random.unit() < 0.2);
                let rate = if variant == 1 { 0.25 } else { 0.20 };
                *counts.get_mut(variant).unwrap() += 1;
                *successes.get_mut(variant).unwrap() += u64::from(random.unit() < rate);
            }
            let [champion, challenger] =
                [0, 1].map(|at: usize| Sample::proportion(*successes.get(at).unwrap(), *counts.get(at).unwrap()));
            let traffic = [(champion.count, 0.8), (challenger.count, 0.2)];
            outcome = judge(
                &rule,
                &Look {
                    champion,
                    challenger,
                    traffic: &traffic,
                    guardrails: &[],
                    expired: false,
                },
            )
            .outcome;
        }
        in_time += u32::from(outcome == Outcome::Promote);
        wrong += u32::from(matches!(outcome, Outcome::RollBack | Outcome::Invalid));
    }
    assert!(
        in_time * 4 >= experiments * 3,
        "planned power 0.8: {in_time} of {experiments}"
    );
    assert!(wrong * 100 <= experiments, "{wrong}");
}

#[test]
fn adaptive_traffic_raises_false_alarms_below_alpha() {
    let rule = Rule {
        alpha: ALPHA,
        narrowest: 5000.0,
        lower_is_better: false,
        margin: None,
        minimum: 100,
        ratio_alpha: 0.001,
        adaptive: true,
    };
    let mut alarms = 0;
    let experiments = experiments(1000);
    for experiment in 0..experiments {
        let mut random = Random(u64::from(experiment) << 24);
        let mut samples = [Sample::default(); 2];
        let mut alarm = false;
        for _ in 0..30 {
            let [champion, challenger] = samples;
            // With two variants, the share by Thompson sampling is the probability of being better. The normal posterior is
            // faster than the quadrature of beta distributions.
            let better = Difference::between(&champion, &challenger)
                .map(|found| Posterior::from_difference(&found).challenger_higher);
            let share = better.unwrap_or(0.5).clamp(0.1, 0.9);
            for _ in 0..100 {
                let at = usize::from(random.unit() < share);
                let value = f64::from(u8::from(random.unit() < 0.2));
                samples.get_mut(at).unwrap().add(value);
            }
            let [champion, challenger] = samples;
            let look = Look {
                champion,
                challenger,
                traffic: &[],
                guardrails: &[],
                expired: false,
            };
            alarm |= matches!(judge(&rule, &look).outcome, Outcome::Promote | Outcome::RollBack);
        }
        alarms += u32::from(alarm);
    }
    let share = f64::from(alarms) / f64::from(experiments);
    assert!(share <= ALPHA + deviations(3.0, experiments), "{alarms}");
}
