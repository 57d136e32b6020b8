//! Candidates in a history: the endpoint that they come to, how each does in truth, the traffic that shows it, what a person
//! orders, and what must be true of them.

use crate::world::read;
use fastrand::Rng;
use jiff::{SignedDuration, Timestamp};
use promotion::{Conclusion, Ended, Experiment, ExperimentDocument, ExperimentStage, Inconclusive, Mode, ModelPackage};
use remediation::{Incident, ModelDocument, Outcome, Policy, Reason, Stage};
use serde_json::{Value, json};
use shell::{memory::Memory, ports::DescribedModelPackage};
use std::collections::{BTreeMap, BTreeSet};

/// The model whose candidates are tested; its endpoint and its model package group are called the same.
pub(crate) const MODEL: &str = "churn";
const KEY: &str = "experiments/churn.json";
const BASE: &str = "base";
/// So many requests come every minute.
const REQUESTS: f64 = 600.0;
/// So many ticks look for a candidate that no event told of: each model is looked after in one minute of ten.
const IDLE: u8 = 14;

/// How a model does, whatever anybody knows of it.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Truth {
    /// Of its requests so many end well. Between two levels lies more than chance can.
    quality: f64,
    slow: bool,
    /// Of the requests that are meant for it while it is tested, most are lost.
    skewed: bool,
}

/// What there is of candidates in a history.
#[derive(Debug)]
pub(crate) struct Candidates {
    truths: BTreeMap<String, Truth>,
    versions: u64,
    /// The experiments in which a person ordered the promotion.
    ordered: BTreeSet<String>,
    /// By model package its experiment.
    experiments: BTreeMap<String, String>,
    heard: BTreeSet<String>,
    /// The open experiment as the last tick saw it: variant, and model package.
    open: Option<(String, String)>,
    /// Whether the next tick is planned.
    pub(crate) ticking: bool,
    idle: u8,
    pub(crate) updates_seen: usize,
    /// Minutes that an update of the endpoint takes.
    pub(crate) takes: i64,
}

/// What a person does about an experiment.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Word {
    /// An `Experiment Command`.
    Order(Value),
    /// The model package is approved, or rejected.
    Approval(String, &'static str),
}

/// The table of the policy that tests the model's candidates.
pub(crate) fn table(random: &mut Rng) -> String {
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

/// The same table, switched off.
pub(crate) fn off(table: &str) -> String {
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
    /// The endpoint with its champion, on one variant or on two.
    pub(crate) fn new(random: &mut Rng, world: &Memory) -> Self {
        let champion = arn(1);
        let package = Some(champion.as_str());
        let two = [("AllTraffic", 3.0, package), ("Spare", 1.0, package)];
        let variants = if random.bool() { &two[..] } else { two.split_at(1).0 };
        world.put_endpoint(MODEL, BASE, variants);
        let takes = random.i64(2..=4);
        let failing = [0, 0, 100, 400].get(random.usize(0..4)).copied().unwrap_or(0);
        world.updates(SignedDuration::from_mins(takes), failing);
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
            heard: BTreeSet::new(),
            open: None,
            ticking: false,
            idle: 0,
            updates_seen: 0,
            takes,
        };
        candidates.register(world, truth, None, "Approved", Timestamp::UNIX_EPOCH);
        candidates
    }

    fn register(&mut self, world: &Memory, truth: Truth, run: Option<&str>, status: &str, at: Timestamp) -> Value {
        self.versions += 1;
        let (version, arn) = (self.versions, arn(self.versions));
        self.truths.insert(arn.clone(), truth);
        world.put_package(DescribedModelPackage {
            package: ModelPackage {
                arn: arn.clone(),
                version,
                approval_status: status.to_owned(),
                generated_by: run.map(str::to_owned),
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

    /// A run registers what it made; returns the event that tells of it, and what kind of a model it is.
    pub(crate) fn made(&mut self, random: &mut Rng, world: &Memory, run: &str) -> (Value, String) {
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
        let event = self.register(world, truth, Some(run), status, world.time());
        self.idle = IDLE;
        (event, format!("version {}, {status}: {truth:?}", self.versions))
    }

    /// A person approves or rejects a model package; returns the event that tells of it.
    pub(crate) fn approve(world: &Memory, arn: &str, status: &str) -> Option<Value> {
        let mut described = world.package(arn)?;
        status.clone_into(&mut described.package.approval_status);
        let version = described.package.version;
        world.put_package(described);
        Some(change(arn, version, status))
    }

    /// What the tick sees: whether there is to be another one, and in how many seconds.
    pub(crate) fn after_tick(&mut self, random: &mut Rng, world: &Memory) -> Result<Option<i64>, String> {
        let document = document(world)?;
        let open = document.as_ref().and_then(|document| document.experiment.as_ref());
        self.open = open.map(|open| (open.variant_name(), open.package.arn.clone()));
        if let Some(open) = open {
            self.idle = IDLE;
            // Who waits for a person waits without us.
            return Ok((!waits_for_a_person(open)).then(|| random.i64(30..420)));
        }
        let owes = document.as_ref().is_some_and(|document| !document.outbox.is_empty());
        let waits = document.as_ref().is_some_and(|document| document.next.is_some());
        let newest = arn(self.versions);
        let mut tested = document.iter().flat_map(|document| &document.ended);
        let known = self.versions == 1 || tested.any(|ended| ended.experiment.package.arn == newest);
        // Where promotion is switched off by now, nobody looks for it.
        self.idle = self.idle.saturating_sub(1);
        Ok((owes || (self.idle > 0 && (waits || !known))).then_some(60))
    }

    /// Whether somebody or something is to be waited for at the end, and what a person does about it.
    pub(crate) fn word_at_last(&mut self, random: &mut Rng, world: &Memory) -> Result<Option<Word>, String> {
        let document = document(world)?;
        let open = document.and_then(|document| document.experiment);
        Ok(open.filter(waits_for_a_person).map(|open| {
            if open.stage == ExperimentStage::AwaitingApproval {
                Word::Approval(open.package.arn, "Approved")
            } else {
                self.order(random, world, &open.id, false)
            }
        }))
    }

    fn order(&mut self, random: &mut Rng, world: &Memory, experiment: &str, resumable: bool) -> Word {
        let orders = ["Stop", "Promote", "Rollback", "Resume"];
        let order = orders.get(random.usize(0..if resumable { 4 } else { 3 }));
        let order = order.copied().unwrap_or("Stop");
        if order == "Promote" {
            self.ordered.insert(experiment.to_owned());
        }
        Word::Order(json!({
            "model": MODEL, "experimentId": experiment, "order": order, "by": "ada", "time": world.time().to_string(),
        }))
    }

    /// Hears of an experiment: one for each model package, which nobody else disturbs here. What a person says to it, and
    /// when, follows.
    pub(crate) fn hear(
        &mut self,
        random: &mut Rng,
        world: &Memory,
        change: &Value,
        settling: bool,
    ) -> Result<Option<(i64, Word)>, String> {
        let text = |name: &str| change.get(name).and_then(Value::as_str).unwrap_or_default();
        let (experiment, package, sentence) = (text("experimentId"), text("modelPackageArn"), text("sentence"));
        if !self.heard.insert(text("id").to_owned()) {
            return Ok(None);
        }
        let known = self.experiments.entry(package.to_owned());
        let known = known.or_insert_with(|| experiment.to_owned());
        if known != experiment {
            return Err(format!("{package} has two experiments: {known} and {experiment}"));
        }
        if sentence.contains("somebody else") {
            return Err(format!("nobody else touched the endpoint, and it is said: {sentence}"));
        }
        let soon = random.i64(60..1200);
        Ok(match text("stage") {
            "AwaitingApproval" => {
                let status = if random.u8(0..6) == 0 { "Rejected" } else { "Approved" };
                Some((random.i64(60..3 * 3600), Word::Approval(package.to_owned(), status)))
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

    /// A minute of traffic, split by the weights that the endpoint has.
    pub(crate) fn traffic(&self, random: &mut Rng, world: &Memory) {
        let Some((config, variants)) = world.hosted(MODEL) else {
            return;
        };
        // Without a candidate nobody asks.
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
            // A copy of each request.
            self.serve(random, world, variant, Some(package), 1.0, true);
        }
    }

    fn serve(&self, random: &mut Rng, world: &Memory, variant: &str, package: Option<&str>, share: f64, tested: bool) {
        let Some(truth) = package.and_then(|arn| self.truths.get(arn)) else {
            return;
        };
        let reaches = if truth.skewed && tested { 0.3 } else { 1.0 };
        let requests = count(REQUESTS * share * reaches);
        if requests == 0 {
            return;
        }
        let well = count(REQUESTS * share * reaches * truth.quality);
        let latency = if truth.slow { 1_500_000.0 } else { 40_000.0 };
        let latency = latency * (0.95 + random.f64() / 10.0);
        world.put_value("AWS/SageMaker", "Invocations", MODEL, variant, 1.0, requests);
        world.put_value("AWS/SageMaker", "ModelLatency", MODEL, variant, latency, requests);
        world.put_value("Shop", "Orders", MODEL, variant, 1.0, well);
        world.put_value("Shop", "Orders", MODEL, variant, 0.0, requests - well);
    }

    /// How many experiments there were, and how many candidates were promoted.
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

    /// What must be true when all is quiet: every experiment is over, only candidates were promoted that may be, the endpoint
    /// serves the last of them, nothing else of ours is left, and incidents know.
    pub(crate) fn check(&self, world: &Memory, policy: &Policy) -> Result<(), String> {
        let mut expected = (BASE.to_owned(), BTreeSet::new(), BTreeSet::new());
        let document = document(world)?.unwrap_or_else(|| ExperimentDocument::new(MODEL));
        if let Some(open) = &document.experiment {
            return Err(format!("experiment {} is still {:?}", open.id, open.stage));
        }
        if let Some(entry) = document.outbox.entries().first() {
            return Err(format!("the experiments still owe {}", entry.id));
        }
        let mut champion = arn(1);
        let mut packages = BTreeSet::new();
        for ended in &document.ended {
            let open = &ended.experiment;
            if !packages.insert(&open.package.arn) {
                return Err(format!("{} was tested twice", open.package.arn));
            }
            if ended.conclusion == Conclusion::Promoted {
                self.may_be_promoted(ended, &champion, policy)?;
                champion.clone_from(&open.package.arn);
                expected.0 = open.final_config();
                expected.1.insert(open.final_config());
                expected.2.insert(open.model_name());
            }
        }
        let (config, variants) = world.hosted(MODEL).ok_or("the endpoint is gone")?;
        let served: BTreeSet<_> = variants.iter().map(|one| world.serves(MODEL, &one.name)).collect();
        if config != expected.0 || served != [Some(champion.clone())].into() {
            return Err(format!(
                "the endpoint has {config} with {served:?}, and should have {} with {champion}",
                expected.0
            ));
        }
        let (configs, models) = world.hosted_names();
        let ours = |names: BTreeSet<String>| -> BTreeSet<String> {
            let ours = names.into_iter().filter(|name| name.starts_with("driftwarden-"));
            ours.collect()
        };
        let (configs, models) = (ours(configs), ours(models));
        if configs != expected.1 || models != expected.2 {
            return Err(format!(
                "{configs:?} and {models:?} are there, and of ours should be {:?} and {:?}",
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

    /// Whether a candidate was one that may be promoted: by its truth, or because a person ordered it.
    fn may_be_promoted(&self, ended: &Ended, champion: &str, policy: &Policy) -> Result<(), String> {
        let open = &ended.experiment;
        let (truth, champion) = (self.truths.get(&open.package.arn), self.truths.get(champion));
        let (Some(truth), Some(champion)) = (truth, champion) else {
            return Err(format!("{} was promoted, and never registered", open.package.arn));
        };
        let split = open.mode == Mode::Variants;
        // Nothing was certain, and the owner has it so.
        let by_policy = policy.promotion(MODEL).inconclusive == Inconclusive::Promote
            && open
                .looks
                .last()
                .is_some_and(|look| look.outcome == experiment::Outcome::Inconclusive);
        let lost = truth.quality < champion.quality || truth.slow || (truth.skewed && split);
        // SageMaker's deployment guardrails compare nothing.
        if lost && open.mode != Mode::BlueGreen && !self.ordered.contains(&open.id) && !by_policy {
            return Err(format!(
                "{} was promoted in experiment {}, and is {truth:?} against {champion:?}",
                open.package.arn, open.id
            ));
        }
        Ok(())
    }
}

/// An incident knows what became of its candidate.
fn check_incident(incident: &Incident, outcome: Option<Outcome>, document: &ExperimentDocument) -> Result<(), String> {
    if incident.candidate_since.is_none() {
        return Ok(());
    }
    let (id, stage) = (&incident.id, incident.stage);
    if outcome.is_none() && stage == Stage::Candidate {
        return Err(format!("incident {id} still waits for its candidate"));
    }
    let mut ended = document.ended.iter();
    let ended = match &incident.experiment_id {
        None => None,
        Some(of) => Some(
            ended
                .find(|ended| ended.experiment.id == *of)
                .ok_or_else(|| format!("incident {id} knows of experiment {of}, and there is none"))?,
        ),
    };
    let promoted = ended.is_some_and(|ended| ended.conclusion == Conclusion::Promoted);
    let reasons = incident.decision.iter().flat_map(|decision| &decision.reasons);
    let by_drift = reasons
        .clone()
        .any(|reason| matches!(reason, Reason::DriftPersists { .. }));
    let verifies = stage == Stage::Verifying && incident.verifying_since.is_some();
    let fits = match outcome {
        Some(Outcome::Repaired) => promoted,
        _ if promoted => verifies || (stage == Stage::Escalated && by_drift),
        _ => stage == Stage::Escalated && !by_drift,
    };
    if fits {
        return Ok(());
    }
    let reasons: Vec<_> = reasons.collect();
    let conclusion = ended.map(|ended| ended.conclusion);
    Err(format!(
        "incident {id} is {stage:?} ({outcome:?}), its candidate {conclusion:?}: {reasons:?}"
    ))
}

fn waits_for_a_person(open: &Experiment) -> bool {
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
    reason = "a whole number, not below 0"
)]
fn count(requests: f64) -> u64 {
    requests.round() as u64
}
