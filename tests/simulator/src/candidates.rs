//! Candidates in a history: their endpoint, the true behavior of each, the traffic, the operator's actions, and the invariants.

use crate::world::read;
use fastrand::Rng;
use jiff::{SignedDuration, Timestamp};
use promotion::{Conclusion, Ended, Experiment, ExperimentDocument, ExperimentStage, Inconclusive, Mode, ModelPackage};
use remediation::{Incident, ModelDocument, Outcome, Policy, Reason, Stage};
use serde_json::{Value, json};
use shell::{memory::Memory, ports::DescribedModelPackage};
use std::collections::{BTreeMap, BTreeSet};

/// Model whose candidates are tested. Its endpoint and its model package group have the same name.
pub(crate) const MODEL: &str = "churn";
const KEY: &str = "experiments/churn.json";
const BASE: &str = "base";
/// Requests per minute.
const REQUESTS_PER_MINUTE: f64 = 600.0;
/// Number of ticks after the last activity. A lost event is found within 10 ticks.
const IDLE_TICKS: u8 = 14;

/// True behavior of a model.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Truth {
    /// Share of requests with a successful outcome. The levels differ by more than chance can explain.
    quality: f64,
    slow: bool,
    /// Whether most of its requests are lost during the test.
    skewed: bool,
}

/// State of the candidates in a history.
#[derive(Debug)]
pub(crate) struct Candidates {
    truths: BTreeMap<String, Truth>,
    versions: u64,
    /// Experiments that an operator ordered to promote.
    ordered: BTreeSet<String>,
    /// Experiment ID by model package ARN.
    experiments: BTreeMap<String, String>,
    events_seen: BTreeSet<String>,
    /// Variant and model package of the open experiment, as of the last tick.
    open: Option<(String, String)>,
    /// Whether the next tick is planned.
    pub(crate) ticking: bool,
    idle: u8,
    pub(crate) updates_seen: usize,
    /// Duration of an endpoint update.
    pub(crate) update_minutes: i64,
}

/// Operator's action on an experiment.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum OperatorAction {
    /// An `Experiment Command`.
    Order(Value),
    /// Approval or rejection of the model package.
    Approval(String, &'static str),
}

/// Policy table that turns promotion on for the model.
pub(crate) fn promotion_table(random: &mut Rng) -> String {
    let mode = ["variants", "variants", "variants", "variants", "shadow", "blue-green"];
    let mode = mode.get(random.usize(0..mode.len())).copied().unwrap_or("variants");
    let steps = ["50.0", "20.0, 50.0", "10.0, 30.0, 50.0"];
    let steps = steps.get(random.usize(0..steps.len())).copied().unwrap_or("50.0");
    let inconclusive = ["pause", "roll-back", "promote"];
    let inconclusive = inconclusive.get(random.usize(0..3)).copied().unwrap_or("pause");
    format!(
        "[[model]]\nname = '{MODEL}'\n[model.promotion]\nmode = '{mode}'\ntraffic = [{steps}]\nstep_lasts = '5m'\n\
         bake = '5m'\nmaximum_duration = '40m'\ncandidate_within = '6h'\ninconclusive = '{inconclusive}'\n\
         metric = 'orders'\neffect = 0.1\nminimum_sample = 100\n\
         guardrails = [{{ metric = 'latency_p99', margin = 0.2, limit = 900000.0 }}]\n\
         cloudwatch = {{ namespace = 'Shop', metric_name = 'Orders' }}\n"
    )
}

/// The table with promotion turned off.
pub(crate) fn turn_off(table: &str) -> String {
    let lines = table.lines().map(|line| {
        if line.starts_with("mode = ") {
            "mode = 'off'"
        } else {
            line
        }
    });
    lines.fold(String::new(), |text, line| text + line + "\n")
}

fn arn(version: u64) -> String {
    format!("arn:aws:sagemaker:us-east-1:111122223333:model-package/{MODEL}/{version}")
}

impl Candidates {
    /// Creates the endpoint with its champion on one or two variants.
    pub(crate) fn new(random: &mut Rng, world: &Memory) -> Self {
        let champion = arn(1);
        let package = Some(champion.as_str());
        let two = [("AllTraffic", 3.0, package), ("Spare", 1.0, package)];
        let variants = if random.bool() { &two[..] } else { two.split_at(1).0 };
        world.put_endpoint(MODEL, BASE, variants);
        let update_minutes = random.i64(2..=4);
        let failing = [0, 0, 100, 400].get(random.usize(0..4)).copied().unwrap_or(0);
        world.updates(SignedDuration::from_mins(update_minutes), failing);
        let truth = Truth {
            quality: 0.7,
            slow: false,
            skewed: false,
        };
        let mut candidates = Self {
            truths: BTreeMap::new(),
            versions: 0,
            ordered: BTreeSet::new(),
            experiments: BTreeMap::new(),
            events_seen: BTreeSet::new(),
            open: None,
            ticking: false,
            idle: 0,
            updates_seen: 0,
            update_minutes,
        };
        candidates.register(world, truth, None, "Approved", Timestamp::UNIX_EPOCH);
        candidates
    }

    fn register(
        &mut self,
        world: &Memory,
        truth: Truth,
        execution: Option<&str>,
        status: &str,
        at: Timestamp,
    ) -> Value {
        self.versions += 1;
        let (version, arn) = (self.versions, arn(self.versions));
        self.truths.insert(arn.clone(), truth);
        world.put_package(DescribedModelPackage {
            package: ModelPackage {
                arn: arn.clone(),
                version,
                approval_status: status.to_owned(),
                generated_by: execution.map(str::to_owned),
                metric: None,
                drift_check_baselines: BTreeMap::new(),
            },
            group: MODEL.to_owned(),
            status: "Completed".to_owned(),
            model_quality: None,
            created: at,
        });
        change(&arn, version, status)
    }

    /// Registers the model of a pipeline execution. Returns the event and a description of the model.
    pub(crate) fn register_model(&mut self, random: &mut Rng, world: &Memory, execution: &str) -> (Value, String) {
        let kind = random.u8(0..100);
        let truth = Truth {
            quality: match kind {
                0..20 => 0.7,
                20..40 => 0.5,
                _ => 0.9,
            },
            slow: (40..55).contains(&kind),
            skewed: (55..70).contains(&kind),
        };
        let status = if random.u8(0..8) == 0 {
            "PendingManualApproval"
        } else {
            "Approved"
        };
        let event = self.register(world, truth, Some(execution), status, world.time());
        self.idle = IDLE_TICKS;
        (event, format!("version {}, {status}: {truth:?}", self.versions))
    }

    /// Approves or rejects a model package. Returns the event.
    pub(crate) fn set_approval(world: &Memory, arn: &str, status: &str) -> Option<Value> {
        let mut described = world.package(arn)?;
        status.clone_into(&mut described.package.approval_status);
        let version = described.package.version;
        world.put_package(described);
        Some(change(arn, version, status))
    }

    /// Seconds until the next tick. `None` if no further tick is necessary.
    pub(crate) fn after_tick(&mut self, random: &mut Rng, world: &Memory) -> Result<Option<i64>, String> {
        let document = document(world)?;
        let open = document.as_ref().and_then(|document| document.experiment.as_ref());
        self.open = open.map(|open| (open.variant_name(), open.package.arn.clone()));
        if let Some(open) = open {
            self.idle = IDLE_TICKS;
            // An experiment that waits for the operator needs no ticks.
            return Ok((!waits_for_operator(open)).then(|| random.i64(30..420)));
        }
        let has_effects = document.as_ref().is_some_and(|document| !document.outbox.is_empty());
        let waits = document.as_ref().is_some_and(|document| document.next.is_some());
        let newest = arn(self.versions);
        let mut tested = document.iter().flat_map(|document| &document.ended);
        let known = self.versions == 1 || tested.any(|ended| ended.experiment.package.arn == newest);
        // With promotion turned off, no function searches for the newest package: stop after some ticks.
        self.idle = self.idle.saturating_sub(1);
        Ok((has_effects || (self.idle > 0 && (waits || !known))).then_some(60))
    }

    /// Operator's action at the end of a history, if an experiment waits for one.
    pub(crate) fn final_action(&mut self, random: &mut Rng, world: &Memory) -> Result<Option<OperatorAction>, String> {
        let document = document(world)?;
        let open = document.and_then(|document| document.experiment);
        Ok(open.filter(waits_for_operator).map(|open| {
            if open.stage == ExperimentStage::AwaitingApproval {
                OperatorAction::Approval(open.package.arn, "Approved")
            } else {
                self.order(random, world, &open.id, false)
            }
        }))
    }

    fn order(&mut self, random: &mut Rng, world: &Memory, experiment: &str, resumable: bool) -> OperatorAction {
        let orders = ["Stop", "Promote", "Rollback", "Resume"];
        let order = orders.get(random.usize(0..if resumable { 4 } else { 3 }));
        let order = order.copied().unwrap_or("Stop");
        if order == "Promote" {
            self.ordered.insert(experiment.to_owned());
        }
        OperatorAction::Order(json!({
            "model": MODEL, "experimentId": experiment, "order": order, "by": "ada", "time": world.time().to_string(),
        }))
    }

    /// Checks a published state change: each model package has one experiment, and nothing else changes the endpoint. Returns
    /// the operator's next action, and the seconds until then.
    pub(crate) fn observe(
        &mut self,
        random: &mut Rng,
        world: &Memory,
        change: &Value,
        settling: bool,
    ) -> Result<Option<(i64, OperatorAction)>, String> {
        let text = |name: &str| change.get(name).and_then(Value::as_str).unwrap_or_default();
        let (experiment, package, sentence) = (text("experimentId"), text("modelPackageArn"), text("sentence"));
        if !self.events_seen.insert(text("id").to_owned()) {
            return Ok(None);
        }
        let known = self.experiments.entry(package.to_owned());
        let known = known.or_insert_with(|| experiment.to_owned());
        if known != experiment {
            return Err(format!("{package} has two experiments: {known} and {experiment}"));
        }
        if sentence.contains("outside Driftwarden") {
            return Err(format!("nothing else changed the endpoint: {sentence}"));
        }
        let soon = random.i64(60..1200);
        Ok(match text("stage") {
            "AwaitingApproval" => {
                let status = if random.u8(0..6) == 0 { "Rejected" } else { "Approved" };
                Some((
                    random.i64(60..3 * 3600),
                    OperatorAction::Approval(package.to_owned(), status),
                ))
            }
            "Paused" => Some((
                random.i64(60..3 * 3600),
                self.order(random, world, experiment, !settling),
            )),
            "Ended" => None,
            _ if random.u8(0..100) < 4 => Some((soon, self.order(random, world, experiment, true))),
            _ => None,
        })
    }

    /// One minute of traffic, split by the weights of the endpoint.
    pub(crate) fn traffic(&self, random: &mut Rng, world: &Memory) {
        let Some((config, variants)) = world.hosted(MODEL) else {
            return;
        };
        // Without a candidate, traffic has no effect.
        if config == BASE || config.ends_with("-final") {
            return;
        }
        let total: f64 = variants.iter().map(|variant| variant.weight).sum();
        for variant in &variants {
            let package = world.serves(MODEL, &variant.name);
            let tested = variant.name.strip_prefix("candidate-");
            let tested = tested.is_some_and(|token| config.contains(token));
            let share = variant.weight / total;
            self.serve(random, world, &variant.name, package.as_deref(), share, tested);
        }
        let shadow = world.shadow(MODEL);
        if let Some((variant, package)) = self.open.as_ref().filter(|open| shadow.as_ref() == Some(&open.0)) {
            // The shadow variant gets a copy of each request.
            self.serve(random, world, variant, Some(package), 1.0, true);
        }
    }

    fn serve(&self, random: &mut Rng, world: &Memory, variant: &str, package: Option<&str>, share: f64, tested: bool) {
        let Some(truth) = package.and_then(|arn| self.truths.get(arn)) else {
            return;
        };
        let arriving = if truth.skewed && tested { 0.3 } else { 1.0 };
        let requests = count(REQUESTS_PER_MINUTE * share * arriving);
        if requests == 0 {
            return;
        }
        let successes = count(REQUESTS_PER_MINUTE * share * arriving * truth.quality);
        let latency = if truth.slow { 1_500_000.0 } else { 40_000.0 };
        let latency = latency * (0.95 + random.f64() / 10.0);
        world.put_value("AWS/SageMaker", "Invocations", MODEL, variant, 1.0, requests);
        world.put_value("AWS/SageMaker", "ModelLatency", MODEL, variant, latency, requests);
        world.put_value("Shop", "Orders", MODEL, variant, 1.0, successes);
        world.put_value("Shop", "Orders", MODEL, variant, 0.0, requests - successes);
    }

    /// Number of experiments, and number of promoted candidates.
    pub(crate) fn counts(world: &Memory) -> Result<(u64, u64), String> {
        let document = document(world)?;
        Ok(document.map_or((0, 0), |document| {
            let promoted = document
                .ended
                .iter()
                .filter(|ended| ended.conclusion == Conclusion::Promoted);
            (document.experiments, promoted.map(|_| 1).sum())
        }))
    }

    /// Checks the invariants at the end: every experiment has ended, only permitted candidates were promoted, the endpoint
    /// serves the last of them, no other resources of Driftwarden are left, and incidents have the results.
    pub(crate) fn check(&self, world: &Memory, policy: &Policy) -> Result<(), String> {
        let mut expected = (BASE.to_owned(), BTreeSet::new(), BTreeSet::new());
        let document = document(world)?.unwrap_or_else(|| ExperimentDocument::new(MODEL));
        if let Some(open) = &document.experiment {
            return Err(format!("experiment {} is still {:?}", open.id, open.stage));
        }
        if let Some(entry) = document.outbox.entries().first() {
            return Err(format!("the experiment document has the pending effect {}", entry.id));
        }
        let mut champion = arn(1);
        let mut packages = BTreeSet::new();
        for ended in &document.ended {
            let open = &ended.experiment;
            if !packages.insert(&open.package.arn) {
                return Err(format!("{} was tested twice", open.package.arn));
            }
            if ended.conclusion == Conclusion::Promoted {
                self.check_promotion(ended, &champion, policy)?;
                champion.clone_from(&open.package.arn);
                expected.0 = open.final_config();
                expected.1.insert(open.final_config());
                expected.2.insert(open.model_name());
            }
        }
        let (config, variants) = world.hosted(MODEL).ok_or("the endpoint does not exist")?;
        let served: BTreeSet<_> = variants.iter().map(|one| world.serves(MODEL, &one.name)).collect();
        if config != expected.0 || served != [Some(champion.clone())].into() {
            return Err(format!(
                "the endpoint has {config} with {served:?}; expected {} with {champion}",
                expected.0
            ));
        }
        let (configs, models) = world.hosted_names();
        let own = |names: BTreeSet<String>| -> BTreeSet<String> {
            let own = names.into_iter().filter(|name| name.starts_with("driftwarden-"));
            own.collect()
        };
        let (configs, models) = (own(configs), own(models));
        if configs != expected.1 || models != expected.2 {
            return Err(format!(
                "Driftwarden's resources are {configs:?} and {models:?}; expected {:?} and {:?}",
                expected.1, expected.2
            ));
        }
        let key = format!("models/{MODEL}.json");
        if world.document(&key).is_none() {
            return Ok(());
        }
        let incidents: ModelDocument = read(world, &key)?;
        for closed in &incidents.closed {
            check_incident(&closed.incident, Some(closed.outcome), &document)?;
        }
        match &incidents.incident {
            Some(open) => check_incident(open, None, &document),
            None => Ok(()),
        }
    }

    /// Checks that a promotion was permitted: by the candidate's true behavior, by the operator, or by the policy.
    fn check_promotion(&self, ended: &Ended, champion: &str, policy: &Policy) -> Result<(), String> {
        let open = &ended.experiment;
        let (truth, champion) = (self.truths.get(&open.package.arn), self.truths.get(champion));
        let (Some(truth), Some(champion)) = (truth, champion) else {
            return Err(format!("{} was promoted but never registered", open.package.arn));
        };
        let split = open.mode == Mode::Variants;
        // The comparison was inconclusive, and the policy promotes in this case.
        let by_policy = policy.promotion(MODEL).inconclusive == Inconclusive::Promote
            && open
                .looks
                .last()
                .is_some_and(|look| look.outcome == experiment::Outcome::Inconclusive);
        let lost = truth.quality < champion.quality || truth.slow || (truth.skewed && split);
        // SageMaker's deployment guardrails compare nothing.
        if lost && open.mode != Mode::BlueGreen && !self.ordered.contains(&open.id) && !by_policy {
            return Err(format!(
                "{} was promoted in experiment {} although it is {truth:?} and the champion {champion:?}",
                open.package.arn, open.id
            ));
        }
        Ok(())
    }
}

/// Checks that an incident has the result of its candidate.
fn check_incident(incident: &Incident, outcome: Option<Outcome>, document: &ExperimentDocument) -> Result<(), String> {
    if incident.candidate_since().is_none() {
        return Ok(());
    }
    let (id, stage) = (&incident.id, incident.stage());
    if outcome.is_none() && stage == Stage::Candidate {
        return Err(format!("incident {id} is still waiting for its candidate"));
    }
    let mut ended = document.ended.iter();
    let ended = match incident.experiment_id() {
        None => None,
        Some(experiment) => Some(
            ended
                .find(|ended| ended.experiment.id == experiment)
                .ok_or_else(|| format!("incident {id} refers to experiment {experiment}, which does not exist"))?,
        ),
    };
    let promoted = ended.is_some_and(|ended| ended.conclusion == Conclusion::Promoted);
    let reasons = incident.decision.iter().flat_map(|decision| &decision.reasons);
    let is_unverified = reasons.clone().any(|reason| match reason {
        Reason::DriftPersists { .. } => true,
        Reason::StageOverdue { stage, .. } => *stage == Stage::Verifying,
        _ => false,
    });
    // The event of the promotion came after the deadline, or the drift came back after the incident had closed.
    let is_late = reasons
        .clone()
        .any(|reason| matches!(reason, Reason::DriftReturned { .. } | Reason::StageOverdue { .. }));
    let verifies = stage == Stage::Verifying && incident.verifying_since().is_some();
    let fits = match outcome {
        Some(Outcome::Repaired) => promoted,
        _ if promoted => verifies || (stage == Stage::Escalated && (is_unverified || is_late)),
        _ => stage == Stage::Escalated && !is_unverified,
    };
    if fits {
        return Ok(());
    }
    let reasons: Vec<_> = reasons.collect();
    let conclusion = ended.map(|ended| ended.conclusion);
    Err(format!(
        "incident {id} is {stage:?} (outcome {outcome:?}), but its candidate is {conclusion:?}: {reasons:?}"
    ))
}

fn waits_for_operator(open: &Experiment) -> bool {
    matches!(open.stage, ExperimentStage::Paused | ExperimentStage::AwaitingApproval)
}

fn document(world: &Memory) -> Result<Option<ExperimentDocument>, String> {
    match world.document(KEY) {
        Some(_) => read(world, KEY).map(Some),
        None => Ok(None),
    }
}

fn change(arn: &str, version: u64, status: &str) -> Value {
    json!({
        "ModelPackageGroupName": MODEL, "ModelPackageVersion": version, "ModelPackageArn": arn,
        "ModelPackageStatus": "Completed", "ModelApprovalStatus": status,
    })
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a nonnegative integer"
)]
fn count(requests: f64) -> u64 {
    requests.round() as u64
}
