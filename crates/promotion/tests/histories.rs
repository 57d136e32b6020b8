//! Experiments on an endpoint whose updates are slow or fail and that is changed outside Driftwarden. Functions crash, are
//! repeated, and run late. In every history, a champion is in service, and no candidate that lost is promoted.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use experiment::Sample;
use fastrand::Rng;
use jiff::{SignedDuration, Timestamp};
use machine::Caller;
use promotion::{
    Assignment, Candidate, Conclusion, EffectOutcome, Endpoint, EndpointStatus, Evidence, ExperimentCommand,
    ExperimentDocument, ExperimentEffect, ExperimentStage, GuardrailMetric, GuardrailPolicy, Inconclusive, Input,
    Metric, Mode, ModelPackage, Order, PromotionPolicy, StepContext, StepOutcome, Variant,
};
use std::collections::BTreeMap;

const BASE: &str = "base";

pub(crate) fn policy(mode: Mode) -> PromotionPolicy {
    PromotionPolicy {
        mode,
        endpoint: "churn".into(),
        model_package_group: "churn".into(),
        unapproved: false,
        candidate_within: SignedDuration::from_hours(24),
        gate: None,
        traffic: vec![5.0, 25.0, 50.0],
        step_lasts: SignedDuration::from_mins(30),
        bake: SignedDuration::from_mins(60),
        maximum_duration: SignedDuration::from_hours(24),
        inconclusive: Inconclusive::RollBack,
        metric: Metric::Accuracy,
        alpha: 0.05,
        effect: 0.02,
        margin: None,
        minimum_sample: 100,
        guardrails: vec![GuardrailPolicy {
            metric: GuardrailMetric::Errors5xx,
            margin: 0.02,
            limit: Some(0.2),
        }],
        alarms: Vec::new(),
        capture: None,
        cloudwatch: None,
        assignment: Assignment::Weights,
        allocation: promotion::AllocationPolicy::Steps,
        metrics_period: SignedDuration::from_mins(1),
        baselines: None,
    }
}

/// Simulated SageMaker with one endpoint.
struct Sage {
    configs: BTreeMap<String, (Vec<Variant>, bool)>,
    config: String,
    weights: Vec<Variant>,
    /// Update in progress: new configuration, end, and whether it fails.
    updating: Option<(String, Timestamp, bool)>,
    failure: Option<String>,
    updates: usize,
    now: Timestamp,
}

impl Sage {
    fn new() -> Self {
        let variants = vec![
            Variant {
                name: "AllTraffic".into(),
                weight: 3.0,
            },
            Variant {
                name: "Spare".into(),
                weight: 1.0,
            },
        ];
        Self {
            configs: [(BASE.to_owned(), (variants.clone(), false))].into(),
            config: BASE.into(),
            weights: variants,
            updating: None,
            failure: None,
            updates: 0,
            now: "2026-11-23T00:00:00Z".parse().unwrap(),
        }
    }

    fn advance(&mut self, duration: SignedDuration) {
        self.now += duration;
        if let Some((to, until, fails)) = self.updating.clone()
            && until <= self.now
        {
            self.updating = None;
            if fails {
                self.failure = Some("the container did not answer /ping".into());
            } else {
                self.weights = self
                    .configs
                    .get(&to)
                    .expect("a configuration in use is not deleted")
                    .0
                    .clone();
                self.config = to;
                self.failure = None;
            }
        }
        let total: f64 = self.weights.iter().map(|variant| variant.weight).sum();
        assert!(total > 0.0, "{:?}", self.weights);
    }

    fn observe(&self) -> Endpoint {
        Endpoint {
            status: if self.updating.is_some() {
                EndpointStatus::Busy
            } else {
                EndpointStatus::InService
            },
            config: self.config.clone(),
            variants: self.weights.clone(),
            failure_reason: self.failure.clone(),
            pending: self.updating.as_ref().map(|(to, ..)| to.clone()),
            at: self.now,
        }
    }

    fn update(&mut self, to: &str, rng: &mut Rng) {
        assert!(self.configs.contains_key(to), "{to} does not exist");
        let fails = rng.u8(..100) < 15;
        let until = self.now + SignedDuration::from_mins(rng.i64(0..20));
        self.updating = Some((to.to_owned(), until, fails));
        self.updates += 1;
    }

    /// Executes an effect if the endpoint is in the expected state, like the function. Returns whether SageMaker accepted an
    /// update.
    fn execute(&mut self, effect: &ExperimentEffect, rng: &mut Rng) -> bool {
        match effect {
            ExperimentEffect::CreateEndpointConfig {
                name, weights, shadow, ..
            } => {
                assert!(weights.values().sum::<f64>() > 0.0);
                let variants = weights
                    .iter()
                    .map(|(name, weight)| Variant {
                        name: name.clone(),
                        weight: *weight,
                    })
                    .collect();
                self.configs.entry(name.clone()).or_insert((variants, *shadow));
            }
            ExperimentEffect::UpdateEndpoint { from, to, .. } => {
                if self.updating.is_none() && self.config == *from && self.configs.contains_key(to) {
                    self.update(to, rng);
                    return true;
                }
            }
            ExperimentEffect::UpdateWeights { config, weights, .. } => {
                if self.updating.is_none() && self.config == *config {
                    assert!(weights.values().sum::<f64>() > 0.0);
                    for variant in &mut self.weights {
                        variant.weight = *weights.get(&variant.name).expect("every variant gets a weight");
                    }
                }
            }
            ExperimentEffect::DeleteEndpointConfig { name } => {
                let used = self.config == *name || self.updating.as_ref().is_some_and(|(to, ..)| to == name);
                assert!(!used, "{name} is in use");
                self.configs.remove(name);
            }
            ExperimentEffect::DeleteModel { .. }
            | ExperimentEffect::PutStateChange(_)
            | ExperimentEffect::RequestBaselines(_)
            | ExperimentEffect::SetBaseline { .. } => {}
        }
        false
    }
}

/// Behavior of the candidate: its accuracy, its share of errors, and whether it loses requests.
#[derive(Clone, Copy, Debug)]
struct Truth {
    accuracy: f64,
    errors: f64,
    skewed: bool,
}

fn evidence(document: &ExperimentDocument, policy: &PromotionPolicy, now: Timestamp, truth: Truth) -> Option<Evidence> {
    let open = document.experiment.as_ref()?;
    let since = open.count_start()?;
    let (champion, candidate) = open.compared_variants()?;
    let minutes = u32::try_from(now.duration_since(since).as_mins()).ok()?;
    let weights = open.weights(policy);
    let requests = |variant: &str| {
        let share = weights.get(variant).copied().unwrap_or(50.0) / 100.0;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
        let requests = (f64::from(minutes) * 400.0 * share) as u64;
        requests
    };
    let proportion = |rate: f64, requests: u64| {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a count"
        )]
        let successes = (rate * requests as f64).round() as u64;
        Sample::proportion(successes, requests)
    };
    let of = |rate: f64, other: f64| -> BTreeMap<String, Sample> {
        [
            (champion.clone(), proportion(rate, requests(&champion))),
            (candidate.clone(), proportion(other, requests(&candidate))),
        ]
        .into()
    };
    let lost = if truth.skewed { 4 } else { 1 };
    Some(Evidence {
        since: Some(since),
        outcome_error: None,
        traffic: weights
            .keys()
            .map(|name| {
                let count = requests(name);
                (name.clone(), if *name == candidate { count / lost } else { count })
            })
            .collect(),
        outcomes: Some(of(0.85, truth.accuracy)),
        guardrails: vec![of(0.001, truth.errors)],
    })
}

pub(crate) fn package(version: u64, status: &str) -> ModelPackage {
    ModelPackage {
        arn: format!("arn:aws:sagemaker:us-east-1:111122223333:model-package/churn/{version}"),
        version,
        approval_status: status.into(),
        generated_by: None,
        metric: None,
        drift_check_baselines: BTreeMap::new(),
    }
}

struct History {
    sage: Sage,
    document: ExperimentDocument,
    policy: PromotionPolicy,
    truth: Truth,
    rng: Rng,
    calls: u64,
    /// Sentences of the published state changes.
    sentences: Vec<String>,
    /// Percentage of invocations that crash before or after an effect.
    crashes: u8,
}

impl History {
    fn new(seed: u64, mode: Mode, truth: Truth) -> Self {
        Self {
            sage: Sage::new(),
            document: ExperimentDocument::new("churn"),
            policy: policy(mode),
            truth,
            rng: Rng::with_seed(seed),
            calls: 0,
            sentences: Vec::new(),
            crashes: 0,
        }
    }

    /// Invokes the function: writes the state, executes the effects, and settles them, unless it crashes.
    fn invoke(&mut self, input: &Input) {
        self.calls += 1;
        let caller = Caller {
            id: format!("request-{}", self.calls),
            now: self.sage.now,
        };
        let seen = self.sage.observe();
        let evidence = evidence(&self.document, &self.policy, self.sage.now, self.truth);
        let given = StepContext {
            policy: &self.policy,
            endpoint: Some(&seen),
            evidence: evidence.as_ref(),
            monitors: None,
        };
        self.document.step(input, given, &caller);
        self.document.outbox.take_over(&caller);
        let claimed: Vec<_> = self.document.outbox.claimed_by(&caller).cloned().collect();
        for entry in claimed {
            if self.rng.u8(..100) < self.crashes {
                return;
            }
            let accepted = self.sage.execute(&entry.effect, &mut self.rng);
            if self.rng.u8(..100) < self.crashes {
                return;
            }
            self.document.outbox.settle(&entry.id);
            match &entry.effect {
                ExperimentEffect::PutStateChange(change) => self.sentences.push(change.sentence.clone()),
                effect => {
                    let outcome = if accepted {
                        EffectOutcome::Accepted(self.sage.now)
                    } else {
                        EffectOutcome::Done
                    };
                    self.document.record_outcome(effect, outcome);
                }
            }
        }
    }

    /// Ticks every five minutes until the experiment has ended.
    fn run(&mut self) -> Conclusion {
        for _ in 0..2000 {
            self.sage.advance(SignedDuration::from_mins(5));
            self.invoke(&Input::Tick);
            if self.document.experiment.is_none() && self.document.outbox.is_empty() {
                break;
            }
        }
        let ended = self.document.ended.last();
        ended.map_or_else(
            || {
                panic!(
                    "not ended: {:?}",
                    self.document
                        .experiment
                        .as_ref()
                        .map(|open| (open.stage, &open.waits_for))
                )
            },
            |ended| ended.conclusion,
        )
    }

    fn offer(&mut self, version: u64, status: &str) {
        let candidate = Candidate {
            package: package(version, status),
            champion: None,
            correlation_id: None,
        };
        self.invoke(&Input::Candidate(Box::new(candidate)));
    }
}

const BETTER: Truth = Truth {
    accuracy: 0.92,
    errors: 0.001,
    skewed: false,
};
const WORSE: Truth = Truth {
    accuracy: 0.78,
    ..BETTER
};
const EQUAL: Truth = Truth {
    accuracy: 0.85,
    ..BETTER
};
const FAILING: Truth = Truth { errors: 0.4, ..BETTER };
const SKEWED: Truth = Truth { skewed: true, ..BETTER };

#[test]
fn experiments_end_with_expected_conclusion() {
    for (truth, conclusion) in [
        (BETTER, Conclusion::Promoted),
        (WORSE, Conclusion::RolledBack),
        (EQUAL, Conclusion::Inconclusive),
        (FAILING, Conclusion::RolledBack),
        (SKEWED, Conclusion::Invalid),
    ] {
        let mut history = History::new(7, Mode::Variants, truth);
        history.offer(1, "Approved");
        assert_eq!(history.run(), conclusion, "{truth:?}: {:#?}", history.sentences);
        let ended = &history.document.ended.last().unwrap().experiment;
        // The last sentence has the reason and the final traffic share.
        let (share, why) = match conclusion {
            Conclusion::Promoted => ("100%", "the candidate is at least"),
            Conclusion::Inconclusive => ("0%", "the maximum duration has passed"),
            Conclusion::Invalid => ("0%", "did not get their configured traffic shares"),
            _ if truth.errors > 0.1 => ("0%", "is beyond its limit"),
            _ => ("0%", "worse; the champion gets"),
        };
        let last = history.sentences.last().unwrap();
        assert!(
            last.contains(&format!(", traffic share {share}. Reason: ")) && last.contains(why),
            "{last}"
        );
        let alone = history.sage.config == ended.final_config();
        assert_eq!(alone, conclusion == Conclusion::Promoted);
        assert!(alone || history.sage.config == BASE);
        let left = history.sage.configs.contains_key(&ended.test_config());
        assert!(!left, "unused resources are deleted");
    }
}

#[test]
fn pending_package_is_stopped_if_promotion_is_turned_off() {
    let mut history = History::new(1, Mode::Variants, BETTER);
    history.offer(1, "PendingManualApproval");
    history.policy.mode = Mode::Off;
    assert_eq!(history.run(), Conclusion::Stopped);
    assert_eq!(history.sage.updates, 0);
}

#[test]
fn experiment_has_correlation_id_of_incident_or_package() {
    for incident in [Some("4bf92f3577b34da6a3ce929d0e0e4736".to_owned()), None] {
        let mut history = History::new(1, Mode::Variants, BETTER);
        let candidate = Candidate {
            package: package(2, "Approved"),
            champion: None,
            correlation_id: incident.clone(),
        };
        let derived = machine::correlation_id("model-package", &candidate.package.arn);
        history.invoke(&Input::Candidate(Box::new(candidate)));
        assert_eq!(
            history.document.correlation_id(),
            Some(incident.unwrap_or(derived).as_str())
        );
    }
}

#[test]
fn outdated_observation_is_ignored() {
    let mut history = History::new(1, Mode::Variants, BETTER);
    let mut base = history.sage.observe();
    history.offer(1, "Approved");
    let mut observations = vec![base.clone()];
    let stale = |history: &mut History, seen: &Endpoint| {
        let caller = Caller {
            id: "stalled".into(),
            now: history.sage.now,
        };
        let given = StepContext {
            policy: &history.policy,
            endpoint: Some(seen),
            evidence: None,
            monitors: None,
        };
        history.document.step(&Input::Tick, given, &caller)
    };
    while history.document.experiment.is_some() {
        history.sage.advance(SignedDuration::from_mins(5));
        observations.push(history.sage.observe());
        history.sage.advance(SignedDuration::from_secs(1));
        history.invoke(&Input::Tick);
        let Some(open) = &history.document.experiment else {
            break;
        };
        let since = open.step_since.unwrap_or(open.since).max(open.since);
        // An observation from before the last change has no effect.
        for seen in observations.iter().filter(|seen| seen.at < since) {
            assert_eq!(stale(&mut history, seen), StepOutcome::Unchanged, "{seen:?}");
        }
    }
    assert_eq!(history.document.ended.last().unwrap().conclusion, Conclusion::Promoted);
    // Nor does the next experiment start from an outdated observation.
    history.invoke(&Input::Tick);
    base.at = history.document.ended.last().unwrap().ended_at - SignedDuration::from_secs(1);
    let candidate = Candidate {
        package: package(2, "Approved"),
        champion: None,
        correlation_id: None,
    };
    let caller = Caller {
        id: "stalled".into(),
        now: history.sage.now,
    };
    let given = StepContext {
        policy: &history.policy,
        endpoint: Some(&base),
        evidence: None,
        monitors: None,
    };
    history
        .document
        .step(&Input::Candidate(Box::new(candidate)), given, &caller);
    let open = history.document.experiment.as_ref().unwrap();
    assert_eq!((open.stage, &open.base), (ExperimentStage::Preparing, &None));
}

#[test]
fn equal_candidate_is_promoted_within_margin() {
    let mut history = History::new(1, Mode::Variants, EQUAL);
    history.policy.margin = Some(0.03);
    history.offer(1, "Approved");
    assert_eq!(history.run(), Conclusion::Promoted);
}

#[test]
fn equal_candidate_pauses_until_operator_promotes() {
    let mut history = History::new(1, Mode::Variants, EQUAL);
    history.policy.inconclusive = Inconclusive::Pause;
    history.offer(1, "Approved");
    for _ in 0..400 {
        history.sage.advance(SignedDuration::from_mins(5));
        history.invoke(&Input::Tick);
    }
    let open = history.document.experiment.clone().unwrap();
    assert_eq!(open.stage, ExperimentStage::Paused);
    let updates = history.sage.updates;
    history.invoke(&Input::Command(ExperimentCommand {
        model: "churn".into(),
        experiment_id: open.id,
        order: Order::Promote,
        by: "ada".into(),
        time: history.sage.now,
        stage_since: Some(open.since),
        reason: None,
    }));
    assert_eq!(
        history.sage.updates, updates,
        "a paused experiment does not update the endpoint"
    );
    assert_eq!(history.run(), Conclusion::Promoted);
}

#[test]
fn rejected_package_is_not_tested() {
    let mut history = History::new(1, Mode::Variants, BETTER);
    history.offer(1, "PendingManualApproval");
    history.sage.advance(SignedDuration::from_hours(5));
    history.invoke(&Input::Tick);
    assert_eq!(
        history.document.experiment.as_ref().unwrap().stage,
        ExperimentStage::AwaitingApproval
    );
    history.offer(1, "Rejected");
    assert_eq!(history.document.ended.last().unwrap().conclusion, Conclusion::Rejected);
    history.offer(1, "Rejected");
    history.offer(2, "Approved");
    history.offer(2, "Approved");
    assert_eq!(history.run(), Conclusion::Promoted);
    assert_eq!(history.document.experiments, 2);
}

#[test]
fn candidate_rejected_by_gate_gets_no_traffic() {
    let mut history = History::new(1, Mode::Variants, BETTER);
    history.policy.gate = Some(promotion::Gate {
        metric: "/auc/value".into(),
        lower_is_better: false,
        worse_by: 0.01,
    });
    let with_metric = |version: u64, metric: Option<f64>| ModelPackage {
        metric,
        ..package(version, "Approved")
    };
    for (version, metric) in [(2, Some(0.80)), (3, None)] {
        let candidate = Candidate {
            package: with_metric(version, metric),
            champion: Some(with_metric(1, Some(0.85))),
            correlation_id: None,
        };
        history.invoke(&Input::Candidate(Box::new(candidate)));
        assert_eq!(history.document.ended.last().unwrap().conclusion, Conclusion::Rejected);
    }
    assert_eq!(history.sage.updates, 0);
    assert!(
        history
            .sentences
            .iter()
            .any(|sentence| sentence.contains("0.0500 worse")),
        "{:#?}",
        history.sentences
    );
}

#[test]
fn externally_changed_endpoint_is_not_touched() {
    let mut history = History::new(3, Mode::Variants, EQUAL);
    history.offer(1, "Approved");
    while history
        .document
        .experiment
        .as_ref()
        .is_some_and(|open| open.stage != ExperimentStage::Testing)
    {
        history.sage.advance(SignedDuration::from_mins(5));
        history.invoke(&Input::Tick);
    }
    let theirs = vec![Variant {
        name: "Theirs".into(),
        weight: 1.0,
    }];
    history.sage.configs.insert("theirs".into(), (theirs, false));
    history.sage.updating = Some(("theirs".into(), history.sage.now, false));
    let updates = history.sage.updates;
    assert_eq!(history.run(), Conclusion::Abandoned);
    assert_eq!(
        (history.sage.updates, history.sage.config.as_str()),
        (updates, "theirs")
    );
}

#[test]
fn shadow_and_blue_green_experiments_end() {
    for mode in [Mode::Shadow, Mode::BlueGreen] {
        let mut history = History::new(5, mode, BETTER);
        history.offer(1, "Approved");
        let conclusion = history.run();
        let ended = &history.document.ended.last().unwrap().experiment;
        if conclusion == Conclusion::Promoted {
            assert_eq!(history.sage.config, ended.final_config());
        } else {
            assert_eq!(history.sage.config, BASE, "{mode:?}");
        }
    }
}

#[test]
fn histories_keep_champion_and_promote_no_loser() {
    let truths = [BETTER, WORSE, EQUAL, FAILING, SKEWED];
    for seed in 0..2000 {
        let mut rng = Rng::with_seed(seed);
        let truth = truths[rng.usize(..truths.len())];
        let mode = [Mode::Variants, Mode::Variants, Mode::Variants, Mode::Shadow][rng.usize(..4)];
        let mut history = History::new(seed, mode, truth);
        history.crashes = rng.u8(..40);
        let mut ordered = false;
        history.offer(1, "Approved");
        let mut ticks = 0;
        while history.document.experiments == 0
            || history.document.experiment.is_some()
            || !history.document.outbox.is_empty()
        {
            ticks += 1;
            assert!(ticks < 20_000, "seed {seed}: {:?}", history.document.experiment);
            history.sage.advance(SignedDuration::from_mins(rng.i64(0..12)));
            match rng.u8(..60) {
                0 => history.offer(1, "Approved"),
                1..=3 => {
                    // A duplicate without delay.
                    history.invoke(&Input::Tick);
                    history.invoke(&Input::Tick);
                }
                4 if rng.u8(..20) == 0 => {
                    let Some(open) = &history.document.experiment else {
                        continue;
                    };
                    let command = ExperimentCommand {
                        model: "churn".into(),
                        experiment_id: open.id.clone(),
                        order: [Order::Stop, Order::Rollback][rng.usize(..2)],
                        by: "ada".into(),
                        time: history.sage.now,
                        stage_since: Some(open.since),
                        reason: None,
                    };
                    ordered = true;
                    history.invoke(&Input::Command(command));
                }
                _ => history.invoke(&Input::Tick),
            }
        }
        let ended = history.document.ended.last().unwrap();
        let promoted = ended.conclusion == Conclusion::Promoted;
        let config = &history.sage.config;
        if promoted {
            assert_eq!(*config, ended.experiment.final_config(), "seed {seed}");
            assert!(
                truth.accuracy > 0.9 && truth.errors < 0.1 && (!truth.skewed || mode == Mode::Shadow),
                "seed {seed}"
            );
        } else {
            assert_eq!(config, BASE, "seed {seed}: {:?}", history.sentences);
            let won = matches!(
                (truth.accuracy > 0.9, truth.errors < 0.1, truth.skewed),
                (true, true, false)
            );
            assert!(
                !won || ordered || ended.conclusion == Conclusion::Failed,
                "seed {seed}: {:?}",
                history.sentences
            );
        }
        assert_eq!(
            history.document.experiments, 1,
            "seed {seed}: one candidate has one experiment"
        );
    }
}

#[test]
fn thompson_sampling_allocates_users_to_better_variant() {
    let mut history = History::new(11, Mode::Variants, BETTER);
    history.policy.assignment = Assignment::TargetVariant;
    history.policy.allocation = promotion::AllocationPolicy::Thompson;
    history.offer(1, "Approved");
    let mut shares = Vec::new();
    while history.document.experiments == 0 || history.document.experiment.is_some() {
        history.sage.advance(SignedDuration::from_mins(5));
        history.invoke(&Input::Tick);
        if let Some(open) = &history.document.experiment
            && let Some(share) = open.allocation.get(&open.variant_name())
        {
            assert!((open.allocation.values().sum::<f64>() - 1.0).abs() < 1e-9);
            shares.push(*share);
        }
    }
    let ended = history.document.ended.last().unwrap();
    assert_eq!(ended.conclusion, Conclusion::Promoted);
    assert_eq!(ended.experiment.step, 0, "Thompson sampling has one step");
    assert!(shares.last().unwrap() > &0.9, "{shares:?}");
    assert!(shares.iter().all(|share| (0.05..=0.95).contains(share)));
}

#[test]
fn experiment_is_stopped_if_promotion_is_turned_off() {
    let mut history = History::new(1, Mode::Variants, EQUAL);
    history.offer(1, "Approved");
    for _ in 0..12 {
        history.sage.advance(SignedDuration::from_mins(5));
        history.invoke(&Input::Tick);
    }
    history.policy.mode = Mode::Off;
    assert_eq!(history.run(), Conclusion::Stopped);
    assert_eq!(history.sage.config, BASE);
}

#[test]
fn old_evidence_does_not_end_step() {
    let mut history = History::new(1, Mode::Variants, BETTER);
    history.policy.traffic = vec![50.0];
    history.offer(1, "Approved");
    while history
        .document
        .experiment
        .as_ref()
        .is_none_or(|open| open.count_start().is_none())
    {
        history.sage.advance(SignedDuration::from_mins(5));
        history.invoke(&Input::Tick);
    }
    // Observed after 10 minutes, evaluated after an hour: the step lasts 30 minutes.
    history.sage.advance(SignedDuration::from_mins(10));
    let seen = history.sage.observe();
    let evidence = evidence(&history.document, &history.policy, history.sage.now, BETTER);
    history.sage.advance(SignedDuration::from_mins(50));
    let caller = Caller {
        id: "stalled".into(),
        now: history.sage.now,
    };
    let given = StepContext {
        policy: &history.policy,
        endpoint: Some(&seen),
        evidence: evidence.as_ref(),
        monitors: None,
    };
    history.document.step(&Input::Tick, given, &caller);
    let open = history.document.experiment.as_ref().unwrap();
    assert_eq!(open.looks.last().unwrap().outcome, experiment::Outcome::Promote);
    assert_eq!(open.stage, ExperimentStage::Testing);
}
