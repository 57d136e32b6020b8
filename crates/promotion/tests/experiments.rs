//! Single experiments, step by step, on an endpoint whose updates succeed at once unless a test says otherwise.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use crate::histories::{package, policy};
use experiment::Sample;
use jiff::{SignedDuration, Timestamp};
use machine::Caller;
use promotion::{
    AllocationPolicy, BaselineDocument, BaselinesCreated, BaselinesPolicy, BaselinesRequested, Candidate, Conclusion,
    EffectOutcome, Endpoint, EndpointStatus, Evidence, Experiment, ExperimentCommand, ExperimentDocument,
    ExperimentEffect, ExperimentStage, Gate, Inconclusive, Input, Metric, Mode, ModelPackage, MonitorBaseline, Order,
    OutcomesReported, PromotionPolicy, StepContext, Variant,
};
use std::collections::BTreeMap;

/// An endpoint with one experiment. Each effect succeeds at once.
struct Case {
    document: ExperimentDocument,
    policy: PromotionPolicy,
    endpoint: Endpoint,
    evidence: Option<Evidence>,
    monitors: Option<Vec<MonitorBaseline>>,
    effects: Vec<ExperimentEffect>,
    /// Whether updates of the endpoint fail after SageMaker has accepted them.
    updates_fail: bool,
    calls: u32,
}

impl Case {
    fn new(mode: Mode) -> Self {
        let variant = |name: &str, weight| Variant {
            name: name.into(),
            weight,
        };
        Self {
            document: ExperimentDocument::new("churn"),
            policy: policy(mode),
            endpoint: Endpoint {
                status: EndpointStatus::InService,
                config: "base".into(),
                variants: vec![variant("AllTraffic", 3.0), variant("Spare", 1.0)],
                failure_reason: None,
                pending: None,
                at: "2026-11-23T00:00:00Z".parse().unwrap(),
            },
            evidence: None,
            monitors: None,
            effects: Vec::new(),
            updates_fail: false,
            calls: 0,
        }
    }

    /// An experiment whose variants are in service, with the weights of the first step.
    fn in_test(mode: Mode) -> Self {
        Self::in_test_with(mode, |_| {})
    }

    /// The same with another policy.
    fn in_test_with(mode: Mode, change: impl FnOnce(&mut PromotionPolicy)) -> Self {
        let mut case = Self::new(mode);
        change(&mut case.policy);
        case.offer(package(2, "Approved"), None);
        case.ticks(4);
        assert_eq!(case.open().stage, ExperimentStage::Testing, "{:?}", case.open());
        case
    }

    fn open(&self) -> &Experiment {
        self.document.experiment.as_ref().unwrap()
    }

    fn stage(&self) -> Option<ExperimentStage> {
        self.document.experiment.as_ref().map(|open| open.stage)
    }

    fn conclusion(&self) -> Option<Conclusion> {
        self.document.ended.last().map(|ended| ended.conclusion)
    }

    fn now(&self) -> Timestamp {
        self.endpoint.at
    }

    fn pass(&mut self, duration: SignedDuration) {
        self.endpoint.at += duration;
    }

    /// Applies an input and executes the effects.
    fn step(&mut self, input: &Input) {
        self.calls += 1;
        let caller = Caller {
            id: format!("request-{}", self.calls),
            now: self.now(),
        };
        let given = StepContext {
            policy: &self.policy,
            endpoint: Some(&self.endpoint),
            evidence: self.evidence.as_ref(),
            monitors: self.monitors.as_deref(),
        };
        self.document.step(input, given, &caller);
        let entries: Vec<_> = self.document.outbox.entries().to_vec();
        for entry in entries {
            self.document.outbox.settle(&entry.id);
            let outcome = self.execute(&entry.effect);
            self.document.record_outcome(&entry.effect, outcome);
            self.effects.push(entry.effect);
        }
    }

    fn execute(&mut self, effect: &ExperimentEffect) -> EffectOutcome {
        match effect {
            ExperimentEffect::UpdateEndpoint { to, .. } => {
                let at = self.now();
                if self.updates_fail {
                    self.endpoint.failure_reason = Some("no answer to /ping".into());
                } else {
                    let created = self.effects.iter().rev().find_map(|effect| match effect {
                        ExperimentEffect::CreateEndpointConfig { name, weights, .. } if name == to => Some(weights),
                        _ => None,
                    });
                    self.endpoint.config.clone_from(to);
                    if let Some(weights) = created {
                        self.endpoint.variants = variants(weights);
                    }
                }
                EffectOutcome::Accepted(at)
            }
            ExperimentEffect::UpdateWeights { weights, .. } => {
                self.endpoint.variants = variants(weights);
                EffectOutcome::Done
            }
            _ => EffectOutcome::Done,
        }
    }

    fn ticks(&mut self, count: usize) {
        for _ in 0..count {
            self.pass(SignedDuration::from_mins(1));
            self.step(&Input::Tick);
        }
    }

    fn offer(&mut self, package: ModelPackage, champion: Option<ModelPackage>) {
        self.step(&Input::Candidate(Box::new(Candidate {
            package,
            champion,
            correlation_id: None,
        })));
    }

    fn order(&mut self, order: Order) {
        let command = self.command(order);
        self.step(&Input::Command(command));
    }

    fn command(&self, order: Order) -> ExperimentCommand {
        ExperimentCommand {
            model: "churn".into(),
            experiment_id: self.open().id.clone(),
            order,
            by: "ada".into(),
            time: self.now(),
            stage_since: Some(self.open().since),
            reason: None,
        }
    }

    /// Evidence since the start of the step: successes of champion and candidate out of the number of requests.
    fn observe(&mut self, requests: u64, champion: u64, candidate: u64) {
        let (first, second) = self.open().compared_variants().unwrap();
        let weights = self.open().weights(&self.policy);
        let count = |variant: &str| {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
            let count = (weights.get(variant).copied().unwrap_or(50.0) * 1000.0) as u64;
            count
        };
        let outcomes = [
            (first.clone(), Sample::proportion(champion, requests)),
            (second.clone(), Sample::proportion(candidate, requests)),
        ];
        let errors = [
            (first, Sample::proportion(0, requests)),
            (second, Sample::proportion(0, requests)),
        ];
        self.evidence = Some(Evidence {
            since: self.open().count_start(),
            outcome_error: None,
            traffic: weights.keys().map(|name| (name.clone(), count(name))).collect(),
            outcomes: Some(outcomes.into()),
            guardrails: vec![errors.into()],
        });
    }

    fn requests(&self) -> Vec<&BaselinesRequested> {
        let effects = self.effects.iter();
        effects
            .filter_map(|effect| match effect {
                ExperimentEffect::RequestBaselines(request) => Some(request.as_ref()),
                _ => None,
            })
            .collect()
    }
}

fn variants(weights: &BTreeMap<String, f64>) -> Vec<Variant> {
    let weights = weights.iter();
    weights
        .map(|(name, weight)| Variant {
            name: name.clone(),
            weight: *weight,
        })
        .collect()
}

#[test]
fn documents_have_their_keys() {
    assert_eq!(ExperimentDocument::key("churn"), "experiments/churn.json");
    let key = BaselineDocument::key("churn-dq");
    assert!(
        key.contains("churn-dq") && key != BaselineDocument::key("other"),
        "{key}"
    );
}

#[test]
fn every_published_change_is_counted() {
    let case = Case::in_test(Mode::Variants);
    let published = case.effects.iter().filter_map(|effect| match effect {
        ExperimentEffect::PutStateChange(change) => Some(change.id.clone()),
        _ => None,
    });
    let published: Vec<_> = published.collect();
    assert_eq!(case.open().change_count(), published.len());
    assert!(published.len() >= 2, "{published:?}");
    let unique: std::collections::BTreeSet<_> = published.iter().collect();
    assert_eq!(unique.len(), published.len(), "{published:?}");
}

#[test]
fn gate_compares_with_champion() {
    let with = |version, metric| ModelPackage {
        metric,
        ..package(version, "Approved")
    };
    for (lower_is_better, champion, candidate, is_tested) in [
        // The allowed difference itself passes.
        (false, Some(0.75), Some(0.5), true),
        (false, Some(0.75), Some(0.49), false),
        (false, Some(0.5), Some(0.75), true),
        (true, Some(0.5), Some(0.75), true),
        (true, Some(0.5), Some(0.76), false),
        (false, None, Some(0.1), true),
        (false, Some(0.5), None, false),
    ] {
        let mut case = Case::new(Mode::Variants);
        case.policy.gate = Some(Gate {
            metric: "/auc/value".into(),
            lower_is_better,
            worse_by: 0.25,
        });
        case.offer(with(2, candidate), Some(with(1, champion)));
        assert_eq!(case.stage().is_some(), is_tested, "{champion:?} {candidate:?}");
        let expected = (!is_tested).then_some(Conclusion::Rejected);
        assert_eq!(case.conclusion(), expected, "{champion:?} {candidate:?}");
    }
}

#[test]
fn approval_starts_and_rejection_ends() {
    let mut case = Case::new(Mode::Variants);
    case.offer(package(2, "PendingManualApproval"), None);
    assert_eq!(case.stage(), Some(ExperimentStage::AwaitingApproval));
    case.ticks(3);
    assert_eq!(case.stage(), Some(ExperimentStage::AwaitingApproval));
    case.offer(package(2, "Approved"), None);
    assert_eq!(case.stage(), Some(ExperimentStage::Preparing));
    assert_eq!(case.open().package.approval_status, "Approved");

    let mut rejected = Case::new(Mode::Variants);
    rejected.offer(package(2, "PendingManualApproval"), None);
    rejected.offer(package(2, "Rejected"), None);
    assert_eq!(
        (rejected.stage(), rejected.conclusion()),
        (None, Some(Conclusion::Rejected))
    );
    // A known package is not tested again, and neither is one that is rejected from the start.
    rejected.offer(package(2, "Approved"), None);
    rejected.offer(package(3, "Rejected"), None);
    assert_eq!((rejected.stage(), rejected.document.experiments), (None, 1));

    // In a test, a rejection restores the champion first.
    let mut tested = Case::in_test(Mode::Variants);
    tested.offer(package(2, "Rejected"), None);
    assert_eq!(tested.stage(), Some(ExperimentStage::RollingBack));
    tested.ticks(4);
    assert_eq!(
        (tested.stage(), tested.conclusion()),
        (None, Some(Conclusion::Rejected))
    );
    assert_eq!(tested.endpoint.config, "base");
}

#[test]
fn newest_other_candidate_is_next() {
    let mut case = Case::in_test(Mode::Variants);
    let next = |case: &Case| case.document.next.as_ref().map(|next| next.version);
    case.offer(package(1, "Approved"), None);
    assert_eq!(next(&case), None, "an older package is no candidate");
    case.offer(package(4, "Approved"), None);
    case.offer(package(3, "Approved"), None);
    assert_eq!(next(&case), Some(4));
    case.offer(package(5, "Approved"), None);
    assert_eq!(next(&case), Some(5));
    // The candidate's own package is none.
    case.offer(package(2, "Approved"), None);
    assert_eq!(next(&case), Some(5));
    // The champion is not tested against itself.
    let mut served = Case::new(Mode::Variants);
    served.offer(package(1, "Approved"), Some(package(1, "Approved")));
    assert_eq!(served.stage(), None);
}

#[test]
fn better_candidate_is_promoted_in_last_step_only() {
    let mut case = Case::in_test(Mode::Variants);
    let mut steps = Vec::new();
    for _ in 0..400 {
        if case.stage() != Some(ExperimentStage::Testing) {
            break;
        }
        steps.push(case.open().step);
        if case.open().count_start().is_some() {
            case.observe(20_000, 10_000, 14_000);
        }
        case.ticks(1);
    }
    steps.dedup();
    assert_eq!(steps, [0, 1, 2]);
    assert_eq!(case.open().conclusion, Some(Conclusion::Promoted));
    case.evidence = None;
    case.ticks(70);
    assert_eq!((case.stage(), case.conclusion()), (None, Some(Conclusion::Promoted)));
}

#[test]
fn step_lasts_at_least_its_time() {
    let mut case = Case::in_test(Mode::Variants);
    case.ticks(1);
    let since = case.open().count_start().unwrap();
    while case.open().step == 0 {
        case.observe(20_000, 10_000, 14_000);
        case.ticks(1);
    }
    let lasted = case.now().duration_since(since);
    let minimum = case.policy.step_lasts;
    assert!(
        lasted >= minimum && lasted <= minimum + SignedDuration::from_mins(1),
        "{lasted:#}"
    );
}

#[test]
fn paused_experiment_waits_for_the_operator() {
    let mut case = Case::in_test_with(Mode::Variants, |policy| policy.traffic = vec![50.0]);
    case.ticks(1);
    // Another person changes the weights.
    for variant in &mut case.endpoint.variants {
        variant.weight = 1.0;
    }
    case.ticks(1);
    assert_eq!(case.stage(), Some(ExperimentStage::Paused));
    for _ in 0..60 {
        case.observe(20_000, 10_000, 14_000);
        case.ticks(1);
    }
    assert_eq!(
        case.stage(),
        Some(ExperimentStage::Paused),
        "a good candidate is not promoted"
    );
    case.evidence = None;
    case.order(Order::Resume);
    assert_eq!(case.stage(), Some(ExperimentStage::Testing));
    case.order(Order::Promote);
    assert_eq!(case.open().conclusion, Some(Conclusion::Promoted));
}

#[test]
fn late_order_has_no_effect_in_a_later_stage() {
    let mut case = Case::in_test_with(Mode::Variants, |policy| policy.traffic = vec![50.0]);
    let pause = |case: &mut Case| {
        case.ticks(1);
        for variant in &mut case.endpoint.variants {
            variant.weight = 1.0;
        }
        case.ticks(1);
        assert_eq!(case.stage(), Some(ExperimentStage::Paused));
    };
    pause(&mut case);
    let resume = case.command(Order::Resume);
    case.step(&Input::Command(resume.clone()));
    assert_eq!(case.stage(), Some(ExperimentStage::Testing));
    pause(&mut case);
    // The event of the first order is delivered again.
    case.step(&Input::Command(resume));
    assert_eq!(case.stage(), Some(ExperimentStage::Paused));
    case.order(Order::Resume);
    assert_eq!(case.stage(), Some(ExperimentStage::Testing));
}

#[test]
fn worse_candidate_is_rolled_back_also_while_paused() {
    for paused in [false, true] {
        let mut case = Case::in_test(Mode::Variants);
        case.ticks(1);
        if paused {
            for variant in &mut case.endpoint.variants {
                variant.weight = 1.0;
            }
            case.ticks(1);
            assert_eq!(case.stage(), Some(ExperimentStage::Paused));
        }
        case.observe(20_000, 14_000, 10_000);
        case.ticks(1);
        assert_eq!(case.open().conclusion, Some(Conclusion::RolledBack));
        case.evidence = None;
        case.ticks(5);
        assert_eq!(case.conclusion(), Some(Conclusion::RolledBack));
        assert_eq!(case.endpoint.config, "base");
    }
}

#[test]
fn undecided_experiment_follows_its_policy() {
    for (choice, expected) in [
        (Inconclusive::RollBack, Some(Conclusion::Inconclusive)),
        (Inconclusive::Promote, Some(Conclusion::Promoted)),
        (Inconclusive::Pause, None),
    ] {
        let mut case = Case::in_test_with(Mode::Variants, |policy| {
            policy.inconclusive = choice;
            policy.traffic = vec![50.0];
            policy.maximum_duration = SignedDuration::from_mins(40);
        });
        case.ticks(1);
        for _ in 0..60 {
            if case.stage() != Some(ExperimentStage::Testing) {
                break;
            }
            case.observe(400, 200, 200);
            case.ticks(1);
        }
        assert_eq!(case.open().conclusion, expected, "{choice:?}");
        assert_eq!(
            case.stage() == Some(ExperimentStage::Paused),
            choice == Inconclusive::Pause
        );
    }
}

#[test]
fn failing_updates_end_the_experiment_after_three() {
    let mut case = Case::new(Mode::Variants);
    case.updates_fail = true;
    case.offer(package(2, "Approved"), None);
    case.ticks(20);
    assert_eq!(case.conclusion(), Some(Conclusion::Failed));
    let updates = case
        .effects
        .iter()
        .filter(|effect| matches!(effect, ExperimentEffect::UpdateEndpoint { .. }));
    assert_eq!(updates.count(), 3);
    let sentence = &case.document.ended.last().unwrap().experiment.sentence;
    assert!(sentence.contains("no answer to /ping"), "{sentence}");
}

#[test]
fn change_outside_abandons_experiment() {
    // The original configuration.
    let mut back = Case::in_test(Mode::Variants);
    back.endpoint.config = "base".into();
    back.ticks(1);
    assert_eq!(back.conclusion(), Some(Conclusion::Abandoned));
    let sentence = &back.document.ended.last().unwrap().experiment.sentence;
    assert!(sentence.contains("changed back to `base`"), "{sentence}");
    // Another one.
    let mut other = Case::in_test(Mode::Variants);
    other.endpoint.config = "manual".into();
    other.ticks(1);
    assert_eq!(other.conclusion(), Some(Conclusion::Abandoned));
    let sentence = &other.document.ended.last().unwrap().experiment.sentence;
    assert!(sentence.contains("changed to `manual`"), "{sentence}");
}

#[test]
fn outcomes_count_for_their_variant_metric_and_period() {
    let mut case = Case::in_test(Mode::Variants);
    case.policy.metric = Metric::Custom {
        name: "revenue".into(),
        lower_is_better: false,
    };
    case.ticks(1);
    let since = case.open().count_start().unwrap();
    let (champion, candidate) = case.open().compared_variants().unwrap();
    let report = |variant: &str, metric: &str, period_start, time, successes| {
        Input::Outcomes(OutcomesReported {
            model: "churn".into(),
            variant_name: variant.into(),
            metric: metric.into(),
            period_start,
            outcomes: Sample::proportion(successes, 1000),
            time,
        })
    };
    let unchanged = |case: &mut Case, input: &Input| {
        let before = case.document.clone();
        case.step(input);
        case.document == before
    };
    let later = since + SignedDuration::from_mins(1);
    assert!(unchanged(&mut case, &report("Spare", "revenue", since, since, 500)));
    assert!(unchanged(&mut case, &report(&candidate, "accuracy", since, since, 500)));
    let before = since - SignedDuration::from_mins(1);
    assert!(unchanged(&mut case, &report(&candidate, "revenue", before, since, 500)));
    assert!(!unchanged(&mut case, &report(&candidate, "revenue", since, since, 500)));
    assert!(!unchanged(&mut case, &report(&champion, "revenue", since, since, 500)));
    // A repeated report changes nothing, a later one replaces it, an earlier one does not.
    assert!(unchanged(&mut case, &report(&candidate, "revenue", since, since, 500)));
    assert!(!unchanged(&mut case, &report(&candidate, "revenue", since, later, 600)));
    assert!(unchanged(&mut case, &report(&candidate, "revenue", since, since, 700)));
}

#[test]
fn outcomes_are_counted_again_after_a_twentieth_of_the_step() {
    let mut case = Case::in_test(Mode::Variants);
    case.ticks(1);
    assert!(case.open().is_recount_due(case.now()), "nothing was counted yet");
    case.pass(SignedDuration::from_mins(19));
    case.observe(400, 200, 200);
    case.step(&Input::Tick);
    let (counted, since) = (case.now(), case.open().count_start().unwrap());
    let part = counted.duration_since(since) / 20;
    assert!(
        !case
            .open()
            .is_recount_due(counted + part - SignedDuration::from_secs(1))
    );
    assert!(case.open().is_recount_due(counted + part));
}

#[test]
fn thompson_prefers_the_better_variant_in_both_directions() {
    let share = |metric: Metric, champion, candidate| {
        let mut case = Case::in_test(Mode::Variants);
        case.policy.metric = metric;
        case.policy.allocation = AllocationPolicy::Thompson;
        case.ticks(1);
        case.observe(2000, champion, candidate);
        case.step(&Input::Tick);
        let (first, second) = case.open().compared_variants().unwrap();
        let of = |name: &str| {
            case.open()
                .allocation
                .get(name)
                .copied()
                .unwrap_or_else(|| panic!("{name}"))
        };
        assert!((of(&first) + of(&second) - 1.0).abs() < 1e-9);
        of(&second)
    };
    assert!(share(Metric::Accuracy, 1000, 1100) > 0.6);
    assert!(share(Metric::Accuracy, 1100, 1000) < 0.4);
    let errors = || Metric::Custom {
        name: "errors".into(),
        lower_is_better: true,
    };
    assert!(share(errors(), 1100, 1000) > 0.6);
    assert!(share(errors(), 1000, 1100) < 0.4);
}

#[test]
fn promotion_turned_off_restores_champion() {
    let mut case = Case::in_test(Mode::Variants);
    case.policy.mode = Mode::Off;
    case.ticks(5);
    assert_eq!((case.stage(), case.conclusion()), (None, Some(Conclusion::Stopped)));
    assert_eq!(case.endpoint.config, "base");
    let mut waiting = Case::new(Mode::Variants);
    waiting.offer(package(2, "PendingManualApproval"), None);
    waiting.policy.mode = Mode::Off;
    waiting.ticks(1);
    assert_eq!(waiting.conclusion(), Some(Conclusion::Stopped));
    waiting.offer(package(3, "Approved"), None);
    assert_eq!(waiting.stage(), None);
}

fn monitor(baseline: &str) -> MonitorBaseline {
    MonitorBaseline {
        monitoring_schedule: "churn-dq".into(),
        monitor_type: "DataQuality".into(),
        own: false,
        baseline_uri: Some(baseline.into()),
    }
}

#[test]
fn baselines_are_requested_four_times_and_set_once() {
    let mut case = Case::in_test(Mode::Variants);
    case.policy.baselines = Some(BaselinesPolicy {
        output: "s3://baselines/churn/".into(),
        training_data: Some("s3://training/{version}/train.csv".into()),
    });
    case.policy.bake = SignedDuration::from_hours(4);
    case.monitors = Some(vec![monitor("s3://baselines/old")]);
    case.ticks(1);
    assert!(
        case.requests().is_empty(),
        "the candidate does not serve all requests yet"
    );
    case.order(Order::Promote);
    let mut times = Vec::new();
    for _ in 0..180 {
        case.ticks(1);
        if case.requests().len() > times.len() {
            times.push(case.now());
        }
    }
    let gaps = times
        .windows(2)
        .map(|pair| pair.last().unwrap().duration_since(*pair.first().unwrap()));
    assert_eq!(gaps.collect::<Vec<_>>(), vec![SignedDuration::from_mins(20); 3]);
    let request = case.requests().first().map(|request| (*request).clone()).unwrap();
    assert_eq!(request.output_uri, "s3://baselines/churn/2");
    assert_eq!(request.training_data_uri.as_deref(), Some("s3://training/2/train.csv"));
    assert_eq!(request.monitors, [monitor("s3://baselines/old")]);

    let created = |arn: &str| {
        Input::Baselines(Box::new(BaselinesCreated {
            version: "1".into(),
            id: request.id.clone(),
            correlation_id: None,
            model: "churn".into(),
            experiment_id: request.experiment_id.clone(),
            model_package_arn: arn.to_owned(),
            baselines: vec![monitor("s3://baselines/churn/2/dq")],
            not_created: Vec::new(),
            time: request.time,
        }))
    };
    let changes = |case: &Case| {
        let effects = case.effects.iter();
        effects
            .filter(|effect| matches!(effect, ExperimentEffect::SetBaseline { .. }))
            .count()
    };
    case.step(&created("arn:other"));
    assert_eq!(changes(&case), 0, "an answer for another package is ignored");
    for _ in 0..2 {
        case.step(&created(&request.model_package_arn));
        assert_eq!(changes(&case), 1);
    }
    assert!(case.open().baselines.answered);
}

/// A report for each minute of two days about each variant, and many experiments with as many looks as are kept.
#[test]
fn document_of_experiments_stays_within_its_limit() {
    let mut case = Case::in_test_with(Mode::Variants, |policy| {
        policy.metric = Metric::Custom {
            name: "purchases".into(),
            lower_is_better: false,
        };
    });
    let since = case.open().count_start().unwrap();
    let variants = ["AllTraffic".to_owned(), case.open().variant_name()];
    let report = |case: &mut Case, minute: i64, successes| {
        for variant in &variants {
            let period_start = since + SignedDuration::from_mins(minute);
            case.step(&Input::Outcomes(OutcomesReported {
                model: "churn".into(),
                variant_name: variant.clone(),
                metric: "purchases".into(),
                period_start,
                outcomes: Sample::proportion(successes, 10),
                time: period_start,
            }));
        }
    };
    let minutes = 2 * 24 * 60;
    for minute in 0..minutes {
        report(&mut case, minute, 5);
    }
    // Repeated reports of all periods change nothing, also of those that were added up.
    let before = case.document.clone();
    report(&mut case, 0, 10);
    report(&mut case, minutes / 2, 10);
    report(&mut case, minutes - 1, 10);
    assert_eq!(case.document, before);
    case.observe(400, 200, 200);
    case.step(&Input::Tick);
    let look = case.open().looks.last().unwrap().clone();
    let reported = u64::try_from(minutes).unwrap() * 10;
    for sample in [look.champion, look.candidate] {
        assert!((reported..=reported + 400).contains(&sample.count), "{look:?}");
    }

    let looks = (0..400_i64).map(|minute| promotion::Look {
        time: since + SignedDuration::from_mins(minute),
        ..look.clone()
    });
    let mut open = case.document.experiment.clone().unwrap();
    open.looks = looks.collect();
    for _ in 0..25 {
        case.document.experiment = Some(open.clone());
        let command = ExperimentCommand {
            model: "churn".into(),
            experiment_id: open.id.clone(),
            order: Order::Stop,
            by: "ada".into(),
            time: case.now(),
            stage_since: None,
            reason: None,
        };
        case.step(&Input::Command(command));
        case.ticks(5);
        assert_eq!(case.document.experiment, None);
    }
    let ended = &case.document.ended.last().unwrap().experiment.looks;
    let (first, last) = (open.looks.first().unwrap(), open.looks.last().unwrap());
    assert!((25..=50).contains(&ended.len()), "{} looks", ended.len());
    assert_eq!((ended.first().unwrap(), ended.last().unwrap()), (first, last));
    case.document.experiment = Some(open);
    let bytes = serde_json::to_vec(&case.document).unwrap().len();
    assert!(bytes <= 1 << 20, "{bytes} bytes");
}
