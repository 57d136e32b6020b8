//! The document of a model's experiments, and how it is reconciled with what is seen.

use crate::{
    AllocationPolicy, Assignment, BaselinesCreated, BaselinesRequested, Cause, Conclusion, EXPERIMENT_STATE_CHANGE,
    ExperimentCommand, ExperimentStage, ExperimentStateChange, Inconclusive, Mode, MonitorBaseline,
    MonitorBaselineChange, NotCreated, Order, OutcomesReported, PromotionPolicy, VariantState, policy::narrowest,
};
use experiment::{Allocation, Difference, Guardrail, Interval, Outcome, Posterior, Reason, Sample, Verdict, judge};
use jiff::{SignedDuration, Timestamp};
use outbox::{Caller, Outbox};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// How many experiments that are over a document keeps; older ones are in the versions of the bucket.
const ENDED: usize = 20;
/// How many looks an experiment keeps: of more, every second one is forgotten.
const LOOKS: usize = 400;
/// Outcomes are counted anew when so much of the time has passed again in which they were counted: they are read
/// from the beginning each time, and so all looks together read no more than about so many times what the last reads.
const RECOUNT: i32 = 20;
/// How often an update of the endpoint is tried.
const ATTEMPTS: u32 = 3;
/// How often the baselines of a promoted model are asked for, and how long an answer is waited for.
const BASELINE_REQUESTS: u32 = 4;
const BASELINES_WITHIN: SignedDuration = SignedDuration::from_mins(20);
/// SageMaker keeps weights as 32-bit floats.
const SAME_WEIGHT: f64 = 1e-4;
/// Of a model's name so much is in the names of our resources: SageMaker takes 63 characters.
const NAME_PART: usize = 32;

/// A model package, as far as an experiment needs to know it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelPackage {
    /// Its ARN.
    pub arn: String,
    /// Its version in the group.
    pub version: u64,
    /// `Approved`, `Rejected` or `PendingManualApproval`.
    pub approval_status: String,
    /// The pipeline execution that made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generated_by: Option<String>,
    /// The metric of the offline gate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<f64>,
    /// `DriftCheckBaselines`: by monitor type the URI of each file, by the name that a baseline has it under.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub drift_check_baselines: BTreeMap<String, BTreeMap<String, String>>,
}

/// A candidate beside the package of the champion.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// The candidate.
    pub package: ModelPackage,
    /// The champion's package, if it is one and could be read.
    pub champion: Option<ModelPackage>,
    /// The correlation id of the incident whose retraining made the candidate, if one did.
    pub correlation_id: Option<String>,
}

/// `EndpointStatus`, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndpointStatus {
    /// `InService`.
    InService,
    /// `Creating`, `Updating`, `SystemUpdating`, `RollingBack`: it will be something else by itself.
    Busy,
    /// `OutOfService`, `Failed`, `UpdateRollbackFailed`, `Deleting`: somebody has to look.
    Broken,
}

/// A production variant as it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Variant {
    /// Its name.
    pub name: String,
    /// Its weight.
    pub weight: f64,
}

/// An endpoint as it was seen.
#[derive(Debug, Clone, PartialEq)]
pub struct Endpoint {
    /// Its status.
    pub status: EndpointStatus,
    /// Its configuration.
    pub config: String,
    /// Its production variants.
    pub variants: Vec<Variant>,
    /// Why its last update failed.
    pub failure_reason: Option<String>,
    /// The configuration that it is being updated to.
    pub pending: Option<String>,
    /// When it was seen.
    pub at: Timestamp,
}

/// What is known of the traffic since a step began. It is counted anew at each look, so that nothing counts twice.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Evidence {
    /// Since when: [`Experiment::counts_since`]. What was counted since another time is of another step, and says nothing.
    pub since: Option<Timestamp>,
    /// Requests by variant.
    pub traffic: BTreeMap<String, u64>,
    /// Outcomes by variant; `None` if they were not counted anew, so that those of the last look hold.
    pub outcomes: Option<BTreeMap<String, Sample>>,
    /// Why outcomes could not be counted, if so.
    pub unread: Option<String>,
    /// The guardrails' values by variant, in the order of the policy. Latencies as natural logarithms.
    pub guardrails: Vec<BTreeMap<String, Sample>>,
}

/// What goes into the state machine.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// A model package of the group is there, or was approved or rejected.
    Candidate(Box<Candidate>),
    /// A person intervenes.
    Command(ExperimentCommand),
    /// Outcomes of a metric of the owner's.
    Outcomes(OutcomesReported),
    /// The baselines of a promoted model are there.
    Baselines(Box<BaselinesCreated>),
    /// Time has passed.
    Tick,
}

/// What an input is taken under.
#[derive(Debug, Clone, Copy)]
pub struct Given<'a> {
    /// What the policy says.
    pub policy: &'a PromotionPolicy,
    /// The endpoint as seen; `None` if there is none.
    pub endpoint: Option<&'a Endpoint>,
    /// What is known of the traffic; `None` if it was not asked for.
    pub evidence: Option<&'a Evidence>,
    /// The monitors of the model, and what they are held against; `None` if it was not asked for.
    pub monitors: Option<&'a [MonitorBaseline]>,
}

/// What an input did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stepped {
    /// The document changed.
    Changed,
    /// Already known, or not of this model's experiment.
    Nothing,
}

/// How SageMaker's deployment guardrails shift the traffic (developer guide, page `deployment-guardrails-blue-green`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlueGreen {
    /// The alarms that roll it back.
    pub alarms: Vec<String>,
    /// The first part of the traffic that is shifted, in per cent.
    pub percent: i32,
    /// Whether the rest follows in such steps, and not at once.
    pub linear: bool,
    /// How long after each step, in seconds.
    pub wait_seconds: i32,
    /// How long the old fleet stands by at the end, in seconds.
    pub termination_wait_seconds: i32,
}

impl BlueGreen {
    fn of(policy: &PromotionPolicy) -> Self {
        let seconds = |duration: SignedDuration| i32::try_from(duration.as_secs()).unwrap_or(i32::MAX).clamp(0, 3600);
        let first = policy.traffic.first().copied().unwrap_or(10.0);
        Self {
            alarms: policy.alarms.clone(),
            // SageMaker takes 10 to 50 for linear steps, 1 to 50 for a canary: whole per cents, found without a cast.
            percent: (1..=50).rev().find(|percent| f64::from(*percent) <= first).unwrap_or(1),
            linear: policy.traffic.len() > 1 && first >= 10.0,
            wait_seconds: seconds(policy.step_lasts),
            termination_wait_seconds: seconds(policy.bake),
        }
    }
}

/// What a change of the document owes to the world. Carrying one out twice does no more than once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ExperimentEffect {
    /// A model and an endpoint configuration are to be created, if they are not there yet.
    CreateEndpointConfig {
        /// Name of the configuration that is extended.
        base: String,
        /// Name of the new one.
        name: String,
        /// Name of the model.
        model_name: String,
        /// The model package that it is made of.
        model_package_arn: String,
        /// The variant whose instances the candidate's are like.
        like: String,
        /// Name of the candidate's variant.
        variant_name: String,
        /// Every other variant's weight, and the candidate's; without others the candidate stands alone.
        weights: BTreeMap<String, f64>,
        /// Whether the candidate is a shadow variant.
        shadow: bool,
    },
    /// The endpoint is to be updated, if it is in service with the first configuration.
    UpdateEndpoint {
        /// The endpoint.
        endpoint: String,
        /// The configuration that it should have now.
        from: String,
        /// The one that it is given.
        to: String,
        /// By SageMaker's deployment guardrails, if so.
        blue_green: Option<BlueGreen>,
    },
    /// The variants are to be given other weights, if the endpoint is in service with that configuration.
    UpdateWeights {
        /// The endpoint.
        endpoint: String,
        /// The configuration that it should have.
        config: String,
        /// The weights.
        weights: BTreeMap<String, f64>,
    },
    /// A configuration of ours is used no more.
    DeleteEndpointConfig {
        /// Its name.
        name: String,
    },
    /// A model of ours is used no more.
    DeleteModel {
        /// Its name.
        name: String,
    },
    /// `Experiment State Change` is to be put on the bus.
    PutStateChange(Box<ExperimentStateChange>),
    /// `Model Baselines Requested` is to be put on the bus.
    RequestBaselines(Box<BaselinesRequested>),
    /// A monitor is to be held against another baseline, unless a later change holds already.
    SetBaseline {
        /// Whether Driftwarden analyses by it, and not Model Monitor.
        own: bool,
        /// The change, which is told on the bus as well.
        change: Box<MonitorBaselineChange>,
    },
}

/// What became of an effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Carried {
    /// It is as it should be.
    Done,
    /// An update of the endpoint was accepted, at that time.
    Accepted(Timestamp),
    /// It did not fit what was there: the next look says what does.
    Overtaken,
    /// SageMaker will not do it.
    Refused(String),
}

/// What one look said.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Look {
    /// When.
    pub time: Timestamp,
    /// At which step.
    pub step: usize,
    /// The champion's outcomes.
    pub champion: Sample,
    /// The candidate's.
    pub candidate: Sample,
    /// The candidate's share of the traffic, per cent; none where it is not Driftwarden's to set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<f64>,
    /// Candidate less champion.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Interval>,
    /// What follows.
    pub outcome: Outcome,
}

/// By what the variants were compared at the last look.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// The metric.
    pub metric: String,
    /// Whether a lower value is better.
    pub lower_is_better: bool,
    /// Non-inferiority: how much worse the candidate may be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub margin: Option<f64>,
    /// The probability that an interval of this step misses the truth, over all its looks together.
    pub alpha: f64,
}

/// What became of the baselines of a promoted model's monitors.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Baselines {
    /// When they were asked for last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    requested_at: Option<Timestamp>,
    /// How often.
    #[serde(default)]
    requests: u32,
    /// Whether the answer has come.
    #[serde(default)]
    pub answered: bool,
    /// The monitors that they were asked for, with the baselines that these had.
    #[serde(default)]
    pub before: Vec<MonitorBaseline>,
    /// The monitors that have new ones.
    #[serde(default)]
    pub changed: Vec<MonitorBaseline>,
    /// The monitors that have none, and why.
    #[serde(default)]
    pub not_created: Vec<NotCreated>,
}

/// Outcomes of one period, as counted at some time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Counted {
    outcomes: Sample,
    time: Timestamp,
}

/// The endpoint before the experiment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Base {
    /// Its configuration.
    pub config: String,
    /// Its variants.
    pub variants: Vec<Variant>,
}

impl Base {
    /// The variant with the largest weight.
    fn champion(&self) -> &str {
        let heaviest = self.variants.iter().max_by(|a, b| a.weight.total_cmp(&b.weight));
        heaviest.map_or("", |variant| variant.name.as_str())
    }

    /// The weights that give the candidate a share, and leave the others' proportions as they were.
    fn weights(&self, candidate: &str, share: f64) -> BTreeMap<String, f64> {
        let total: f64 = self.variants.iter().map(|variant| variant.weight).sum();
        let others = self
            .variants
            .iter()
            .map(|variant| (variant.name.clone(), variant.weight / total * (100.0 - share)));
        others.chain([(candidate.to_owned(), share)]).collect()
    }
}

/// A candidate against the champion, from the model package to the end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Experiment {
    /// The how-manieth of the model, from 1.
    pub number: u64,
    /// `{model}-ab-{number}`.
    pub id: String,
    /// That of the incident whose retraining made the candidate, else one of the model package.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    /// The candidate.
    pub package: ModelPackage,
    /// The endpoint.
    pub endpoint: String,
    /// How it comes to the endpoint.
    pub mode: Mode,
    /// Where it stands.
    pub stage: ExperimentStage,
    /// How it will have ended, once the endpoint is settled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conclusion: Option<Conclusion>,
    /// The last reasons, for machines.
    #[serde(default)]
    pub reasons: Vec<Reason>,
    /// The last sentence, for people.
    pub sentence: String,
    /// Why it was concluded, once it was: at the end it is told again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided: Option<String>,
    /// What is waited for, if anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<String>,
    /// When it was opened.
    pub opened_at: Timestamp,
    /// When its stage was reached.
    pub since: Timestamp,
    /// When both variants were first in service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// The how-manieth step of the traffic, from 0.
    pub step: usize,
    /// When the endpoint was first seen with the weights of the step; `None` until then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step_since: Option<Timestamp>,
    /// The endpoint before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<Base>,
    /// The candidate's share of the traffic as it should be, per cent; none where it is not Driftwarden's to set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<f64>,
    /// By what they are compared; none before the first look.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comparison: Option<Comparison>,
    /// By Thompson sampling, each variant's share of the users; empty if the policy has it otherwise. For whoever assigns users
    /// to variants (`experiment::Allocation`).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub allocation: BTreeMap<String, f64>,
    /// The looks of the test, oldest first, bounded.
    #[serde(default)]
    pub looks: Vec<Look>,
    /// Outcomes that were reported of this step, by variant and period.
    #[serde(default)]
    reported: BTreeMap<String, BTreeMap<Timestamp, Counted>>,
    /// When outcomes of this step were counted last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    counted_at: Option<Timestamp>,
    /// Endpoint configurations that are there by now.
    #[serde(default)]
    prepared: Vec<String>,
    /// When the last update of the endpoint was accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    issued_at: Option<Timestamp>,
    /// How many updates failed since the last that did not.
    #[serde(default)]
    failures: u32,
    /// What SageMaker said when it refused the last change of ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// How many changes were told.
    #[serde(default)]
    changes: u64,
    /// The baselines of the monitors, once the candidate has all the traffic.
    #[serde(default)]
    pub baselines: Baselines,
    /// A part of every name of ours.
    token: String,
}

/// An experiment that is over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ended {
    /// The experiment as it last stood.
    pub experiment: Experiment,
    /// How.
    pub conclusion: Conclusion,
    /// When.
    pub ended_at: Timestamp,
}

/// The document of a model's experiments: `experiments/{model}.json` in the state bucket.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExperimentDocument {
    /// Version of this layout.
    pub version: u32,
    /// The model.
    pub model: String,
    /// How many experiments it has had, with the open one.
    #[serde(default)]
    pub experiments: u64,
    /// The open experiment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub experiment: Option<Experiment>,
    /// The newest candidate that came while another was tested.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<ModelPackage>,
    /// The latest experiments that are over, oldest first, bounded.
    #[serde(default)]
    pub ended: Vec<Ended>,
    /// What the last changes still owe.
    #[serde(default)]
    pub outbox: Outbox<ExperimentEffect>,
}

impl Experiment {
    /// How many changes of its state were told, or are owed.
    pub fn told(&self) -> usize {
        usize::try_from(self.changes).unwrap_or(usize::MAX)
    }

    /// Name of the candidate's variant: what its captured data and its metrics are known by.
    pub fn variant_name(&self) -> String {
        format!("candidate-{}", self.token)
    }

    /// Name of the candidate's model.
    pub fn model_name(&self) -> String {
        self.resource("")
    }

    /// Name of the configuration with champion and candidate.
    pub fn test_config(&self) -> String {
        self.resource("-test")
    }

    /// Name of the configuration with the candidate alone.
    pub fn final_config(&self) -> String {
        if self.mode == Mode::BlueGreen {
            self.test_config()
        } else {
            self.resource("-final")
        }
    }

    fn resource(&self, suffix: &str) -> String {
        let model = self.id.rsplit_once("-ab-").map_or("", |(model, _)| model);
        let part: String = model.chars().take(NAME_PART).collect();
        format!("driftwarden-{}-{}{suffix}", part.trim_end_matches('-'), self.token)
    }

    /// Whether the monitors of the model, and their baselines, are needed to go on.
    pub fn needs_monitors(&self, policy: &PromotionPolicy) -> bool {
        let alone = matches!(self.stage, ExperimentStage::Baking | ExperimentStage::Retiring);
        // What leads to the next look may lead there.
        let soon = matches!(self.stage, ExperimentStage::Promoting) || self.mode != Mode::Variants;
        policy.baselines.is_some() && !self.baselines.answered && (alone || soon)
    }

    /// Since when requests count: the step's beginning; `None` while there is nothing to count.
    pub fn counts_since(&self) -> Option<Timestamp> {
        let compares = matches!(
            self.stage,
            ExperimentStage::Testing | ExperimentStage::Paused | ExperimentStage::Baking
        );
        self.step_since.filter(|_| compares)
    }

    /// Whether outcomes are to be counted anew, at this time.
    pub fn counts_outcomes(&self, now: Timestamp) -> bool {
        let compares = matches!(self.stage, ExperimentStage::Testing | ExperimentStage::Paused);
        let (Some(since), Some(counted)) = (self.step_since, self.counted_at) else {
            return compares;
        };
        compares && now.duration_since(counted) * RECOUNT >= counted.duration_since(since)
    }

    /// The variants that are compared: the champion's name, and the candidate's.
    pub fn compared(&self) -> Option<(String, String)> {
        let base = self.base.as_ref()?;
        Some((base.champion().to_owned(), self.variant_name()))
    }

    /// The weights that the variants should have now; empty where they are not ours to set.
    pub fn weights(&self, policy: &PromotionPolicy) -> BTreeMap<String, f64> {
        let Some(base) = self.base.as_ref().filter(|_| self.mode == Mode::Variants) else {
            return BTreeMap::new();
        };
        let share = match self.stage {
            ExperimentStage::Ended if self.conclusion == Some(Conclusion::Abandoned) => return BTreeMap::new(),
            ExperimentStage::Ended if self.conclusion == Some(Conclusion::Promoted) => 100.0,
            ExperimentStage::Promoting | ExperimentStage::Baking | ExperimentStage::Retiring => 100.0,
            ExperimentStage::RollingBack | ExperimentStage::Ended | ExperimentStage::AwaitingApproval => 0.0,
            ExperimentStage::Preparing | ExperimentStage::Testing | ExperimentStage::Paused => policy
                .traffic
                .get(self.step)
                .or(policy.traffic.last())
                .copied()
                .unwrap_or(0.0),
        };
        base.weights(&self.variant_name(), share)
    }

    /// Notes how many users each variant should get, by what is known of both, if the policy has it so.
    fn allocate(&mut self, policy: &PromotionPolicy, champion: &Sample, candidate: &Sample) {
        let Some((champion_name, candidate_name)) = self.compared() else {
            return;
        };
        if policy.allocation != AllocationPolicy::Thompson {
            return;
        }
        let least = policy.traffic.first().copied().unwrap_or(5.0) / 100.0;
        let rates = |sample: &Sample| (sample.sum - sample.sum_of_squares).abs() < 1e-9;
        let lower = policy.metric.lower_is_better();
        let better = if rates(champion) && rates(candidate) {
            // Successes are what is better: of a rate that should be low, the failures.
            let of = |sample: &Sample| Sample {
                sum: if lower {
                    sample_count(sample) - sample.sum
                } else {
                    sample.sum
                },
                ..*sample
            };
            let shares = Allocation::thompson(&[of(champion), of(candidate)], least);
            shares.last().copied().unwrap_or(0.5)
        } else {
            let higher = Difference::of(champion, candidate).map(|found| Posterior::of_means(&found).challenger_higher);
            let higher = higher.unwrap_or(0.5);
            let share = if lower { 1.0 - higher } else { higher };
            share.clamp(least, 1.0 - least)
        };
        self.allocation = [(champion_name, 1.0 - better), (candidate_name, better)].into();
    }

    fn owed(&self, name: &str) -> String {
        format!("{name}/{}/{}", self.id, self.token)
    }
}

fn has_weights(endpoint: &Endpoint, weights: &BTreeMap<String, f64>) -> bool {
    let share = |weight: f64, total: f64| weight / total;
    let (wanted, seen): (f64, f64) = (
        weights.values().sum(),
        endpoint.variants.iter().map(|variant| variant.weight).sum(),
    );
    let fits = |variant: &Variant| {
        let weight = weights.get(&variant.name).copied().unwrap_or(0.0);
        (share(weight, wanted) - share(variant.weight, seen)).abs() < SAME_WEIGHT
    };
    weights.is_empty() || (seen > 0.0 && endpoint.variants.iter().all(fits))
}

impl ExperimentDocument {
    /// The document's key in the state bucket.
    pub fn key(model: &str) -> String {
        format!("experiments/{model}.json")
    }

    /// The document of a model that has had no experiment yet.
    pub fn new(model: impl Into<String>) -> Self {
        Self {
            version: 1,
            model: model.into(),
            experiments: 0,
            experiment: None,
            next: None,
            ended: Vec::new(),
            outbox: Outbox::default(),
        }
    }

    /// Takes one input, and goes on as far as what is seen allows. What follows from it is in the outbox.
    pub fn step(&mut self, input: &Input, given: Given<'_>, caller: &Caller) -> Stepped {
        let before = self.clone();
        // Somebody was faster, and saw more: a look from before that says nothing of what is there now.
        let overtaken = given.endpoint.is_some_and(|seen| seen.at < self.changed_at());
        let given = Given {
            endpoint: given.endpoint.filter(|_| !overtaken),
            ..given
        };
        match input {
            Input::Candidate(candidate) => self.on_candidate(candidate, given, caller),
            Input::Command(command) => self.on_command(command, given, caller),
            Input::Outcomes(reported) => self.on_outcomes(reported, given),
            Input::Baselines(created) => self.on_baselines(created, caller),
            Input::Tick => {}
        }
        if !overtaken {
            self.reconcile(given, caller);
        }
        self.request_baselines(given, caller);
        if *self == before {
            Stepped::Nothing
        } else {
            Stepped::Changed
        }
    }

    /// When the endpoint, or what it should be, was last known to change.
    fn changed_at(&self) -> Timestamp {
        let open = self.experiment.iter();
        let open = open.flat_map(|open| [Some(open.since), open.step_since, open.issued_at]);
        let ended = self.ended.last().map(|ended| ended.ended_at);
        open.flatten().chain(ended).max().unwrap_or(Timestamp::MIN)
    }

    /// The correlation id of the open experiment, else of the one that was over last.
    pub fn correlation_id(&self) -> Option<&str> {
        let ended = self.ended.last().map(|ended| &ended.experiment);
        self.experiment.as_ref().or(ended)?.correlation_id.as_deref()
    }

    /// Notes what carrying an effect out has told.
    pub fn carried(&mut self, effect: &ExperimentEffect, carried: Carried) {
        let Some(open) = &mut self.experiment else { return };
        match (effect, carried) {
            (ExperimentEffect::CreateEndpointConfig { name, .. }, Carried::Done) => {
                // Of an experiment before this one it says nothing.
                let ours = [open.test_config(), open.final_config()].contains(name);
                if ours && !open.prepared.contains(name) {
                    open.prepared.push(name.clone());
                }
            }
            (ExperimentEffect::UpdateEndpoint { .. }, Carried::Accepted(at)) => open.issued_at = Some(at),
            (
                ExperimentEffect::CreateEndpointConfig { .. }
                | ExperimentEffect::UpdateEndpoint { .. }
                | ExperimentEffect::UpdateWeights { .. },
                Carried::Refused(why),
            ) => {
                open.failures += 1;
                open.refused = Some(why);
            }
            _ => {}
        }
    }

    fn on_candidate(&mut self, candidate: &Candidate, given: Given<'_>, caller: &Caller) {
        let Candidate {
            package,
            champion,
            correlation_id,
        } = candidate;
        if given.policy.mode == Mode::Off {
            return;
        }
        if let Some(open) = &self.experiment {
            if open.package.arn == package.arn {
                self.on_approval_status(&package.approval_status, given, caller);
            } else if package.version > open.package.version
                && self.next.as_ref().is_none_or(|next| next.version <= package.version)
            {
                self.next = Some(package.clone());
            }
            return;
        }
        let arn = &package.arn;
        let known = self.ended.iter().any(|ended| ended.experiment.package.arn == *arn);
        let serves = champion.as_ref().is_some_and(|champion| champion.arn == *arn);
        if known || serves || package.approval_status == "Rejected" {
            return;
        }
        self.next = self.next.take().filter(|next| next.arn != *arn);
        self.open(package, correlation_id.clone(), given, caller);
        if let Some(worse) = Self::worse(package, champion.as_ref(), given.policy) {
            self.end(Conclusion::Rejected, &worse, given, caller);
        }
    }

    /// Why a package is not worth a test, by its own metrics.
    fn worse(package: &ModelPackage, champion: Option<&ModelPackage>, policy: &PromotionPolicy) -> Option<String> {
        let gate = policy.gate.as_ref()?;
        let Some(metric) = package.metric else {
            return Some(format!(
                "its report of model quality has no number at `{}`, which the gate asks for",
                gate.metric
            ));
        };
        let known = champion.and_then(|champion| champion.metric)?;
        let worse_by = if gate.lower_is_better {
            metric - known
        } else {
            known - metric
        };
        (worse_by > gate.worse_by).then(|| {
            format!(
                "its `{}` is {metric}, and the champion's {known}: worse by {worse_by:.4}, where {} may be",
                gate.metric, gate.worse_by
            )
        })
    }

    fn open(&mut self, package: &ModelPackage, correlation_id: Option<String>, given: Given<'_>, caller: &Caller) {
        self.experiments += 1;
        let number = self.experiments;
        let id = format!("{}-ab-{number}", self.model);
        let mut token = hex::encode(Sha256::digest(format!("driftwarden/experiment/{id}/{}", package.arn)));
        token.truncate(8);
        let correlation_id = correlation_id.unwrap_or_else(|| outbox::correlation_id("model-package", &package.arn));
        let approved = package.approval_status == "Approved" || given.policy.unapproved;
        let stage = if approved {
            ExperimentStage::Preparing
        } else {
            ExperimentStage::AwaitingApproval
        };
        self.experiment = Some(Experiment {
            number,
            id,
            correlation_id: Some(correlation_id),
            package: package.clone(),
            endpoint: given.policy.endpoint.clone(),
            mode: given.policy.mode,
            stage,
            conclusion: None,
            reasons: Vec::new(),
            sentence: String::new(),
            decided: None,
            waits_for: None,
            opened_at: caller.now,
            since: caller.now,
            started_at: None,
            step: 0,
            step_since: None,
            base: None,
            share: None,
            comparison: None,
            allocation: BTreeMap::new(),
            looks: Vec::new(),
            reported: BTreeMap::new(),
            counted_at: None,
            prepared: Vec::new(),
            issued_at: None,
            failures: 0,
            refused: None,
            changes: 0,
            baselines: Baselines::default(),
            token,
        });
        let why = if approved {
            "it is put beside the champion"
        } else {
            "a person has to approve its model package"
        };
        self.tell(why, given, caller);
    }

    fn on_approval_status(&mut self, status: &str, given: Given<'_>, caller: &Caller) {
        let Some(open) = &mut self.experiment else { return };
        if open.package.approval_status == status {
            return;
        }
        status.clone_into(&mut open.package.approval_status);
        match status {
            "Approved" => self.go(Cause::Approved, "its model package was approved", given, caller),
            "Rejected" if open.stage == ExperimentStage::AwaitingApproval => {
                self.end(Conclusion::Rejected, "its model package was rejected", given, caller);
            }
            "Rejected" => self.conclude(Conclusion::Rejected, "its model package was rejected", given, caller),
            _ => {}
        }
    }

    fn on_command(&mut self, command: &ExperimentCommand, given: Given<'_>, caller: &Caller) {
        let Some(open) = self.experiment.as_ref().filter(|open| open.id == command.experiment_id) else {
            return;
        };
        let reason = command
            .reason
            .as_ref()
            .map_or_else(String::new, |reason| format!(": {reason}"));
        let why = format!("{} by {}{reason}", command.order.as_str(), command.by);
        match command.order {
            Order::Promote => self.promote(&why, given, caller),
            Order::Resume => self.go(Cause::Resume, &why, given, caller),
            Order::Stop | Order::Rollback if open.stage == ExperimentStage::AwaitingApproval => {
                self.end(Conclusion::Stopped, &why, given, caller);
            }
            Order::Stop => self.conclude(Conclusion::Stopped, &why, given, caller),
            Order::Rollback => self.conclude(Conclusion::RolledBack, &why, given, caller),
        }
    }

    fn on_outcomes(&mut self, reported: &OutcomesReported, given: Given<'_>) {
        let Some(open) = &mut self.experiment else { return };
        let counts = open.counts_since().is_some_and(|since| reported.period_start >= since);
        let of_test = open
            .compared()
            .is_some_and(|(champion, candidate)| [champion, candidate].contains(&reported.variant_name));
        if !counts || !of_test || reported.metric != given.policy.metric.name() {
            return;
        }
        let periods = open.reported.entry(reported.variant_name.clone()).or_default();
        if periods
            .get(&reported.period_start)
            .is_none_or(|known| known.time < reported.time)
        {
            let counted = Counted {
                outcomes: reported.outcomes,
                time: reported.time,
            };
            periods.insert(reported.period_start, counted);
        }
    }

    /// Goes on as far as what is seen allows.
    fn reconcile(&mut self, given: Given<'_>, caller: &Caller) {
        if given.policy.mode == Mode::Off {
            self.called_off(given, caller);
        }
        let Some(open) = &mut self.experiment else { return };
        open.waits_for = None;
        if open.stage == ExperimentStage::AwaitingApproval {
            open.waits_for = Some("the approval of its model package".to_owned());
            return;
        }
        let Some(seen) = given.endpoint else {
            open.waits_for = Some(format!("endpoint `{}`, which does not exist", open.endpoint));
            return;
        };
        if seen.status != EndpointStatus::InService {
            open.waits_for = Some(match (seen.status, open.issued_at) {
                (EndpointStatus::Broken, _) => format!("endpoint `{}`, which is not in service", open.endpoint),
                (_, Some(_)) => "the update of the endpoint".to_owned(),
                (_, None) => "the endpoint, which somebody else is updating".to_owned(),
            });
            return;
        }
        if open.base.is_none() {
            open.base = Some(Base {
                config: seen.config.clone(),
                variants: seen.variants.clone(),
            });
        }
        let ours = [open.test_config(), open.final_config()];
        let base = open.base.as_ref().map(|base| base.config.as_str());
        if base != Some(seen.config.as_str()) && !ours.contains(&seen.config) {
            let why = format!(
                "the endpoint was given the configuration `{}` by somebody else",
                seen.config
            );
            open.conclusion = Some(Conclusion::Abandoned);
            self.go(Cause::Changed, &why, given, caller);
            return;
        }
        match open.stage {
            ExperimentStage::Preparing => self.prepare(seen, given, caller),
            ExperimentStage::Testing | ExperimentStage::Paused => self.test(seen, given, caller),
            ExperimentStage::Promoting | ExperimentStage::Baking => self.bake(seen, given, caller),
            ExperimentStage::Retiring => self.retire(seen, given, caller),
            ExperimentStage::RollingBack => self.roll_back(seen, given, caller),
            ExperimentStage::AwaitingApproval | ExperimentStage::Ended => {}
        }
    }

    /// A test that the policy does not want any more is stopped; what has all the traffic already stays.
    fn called_off(&mut self, given: Given<'_>, caller: &Caller) {
        let Some(open) = &self.experiment else { return };
        let why = "the policy has promotion off now";
        match open.stage {
            ExperimentStage::AwaitingApproval => self.end(Conclusion::Stopped, why, given, caller),
            ExperimentStage::Preparing | ExperimentStage::Testing | ExperimentStage::Paused => {
                self.conclude(Conclusion::Stopped, why, given, caller);
            }
            _ => {}
        }
    }

    fn prepare(&mut self, seen: &Endpoint, given: Given<'_>, caller: &Caller) {
        let Some(open) = &mut self.experiment else { return };
        let test = open.test_config();
        if seen.config != test {
            let others = open.mode != Mode::BlueGreen;
            let weights = match open.mode {
                Mode::Variants => open.weights(given.policy),
                _ => BTreeMap::new(),
            };
            self.bring(&test, weights, others, seen, given, caller);
            return;
        }
        (open.issued_at, open.failures, open.refused) = (None, 0, None);
        if open.mode == Mode::BlueGreen {
            open.conclusion = Some(Conclusion::Promoted);
            self.go(
                Cause::Baked,
                "SageMaker's deployment guardrails let it through",
                given,
                caller,
            );
        } else {
            open.started_at = Some(caller.now);
            open.step_since = None;
            self.go(Cause::InService, "both are in service", given, caller);
        }
    }

    /// Brings the endpoint to a configuration of ours: creates it, then updates the endpoint; counts what fails.
    fn bring(
        &mut self,
        config: &str,
        weights: BTreeMap<String, f64>,
        others: bool,
        seen: &Endpoint,
        given: Given<'_>,
        caller: &Caller,
    ) {
        let Some(open) = &mut self.experiment else { return };
        let Some(base) = &open.base else { return };
        if let Some(why) = open.refused.take_if(|_| open.failures >= ATTEMPTS)
            && open.stage == ExperimentStage::Preparing
        {
            open.conclusion = Some(Conclusion::Failed);
            let why = format!("SageMaker will not put it on the endpoint: {why}");
            self.go(Cause::Failed, &why, given, caller);
            return;
        }
        if !open.prepared.iter().any(|known| known == config) {
            let variant_name = open.variant_name();
            let weights = match (others, open.mode) {
                (false, _) => [(variant_name.clone(), 1.0)].into(),
                (true, Mode::Variants) => weights,
                (true, _) => base.variants.iter().map(|one| (one.name.clone(), one.weight)).collect(),
            };
            let effect = ExperimentEffect::CreateEndpointConfig {
                base: base.config.clone(),
                name: config.to_owned(),
                model_name: open.model_name(),
                model_package_arn: open.package.arn.clone(),
                like: base.champion().to_owned(),
                variant_name,
                weights,
                shadow: others && open.mode == Mode::Shadow,
            };
            open.waits_for = Some("its endpoint configuration".to_owned());
            self.outbox.owe(format!("create/{config}"), effect, caller);
            return;
        }
        if self.update_failed(seen, given, caller) {
            return;
        }
        self.update(config, seen, given, caller);
    }

    /// Whether the last update of the endpoint turned out to have failed for good.
    fn update_failed(&mut self, seen: &Endpoint, given: Given<'_>, caller: &Caller) -> bool {
        let Some(open) = &mut self.experiment else { return true };
        if open.issued_at.is_none_or(|issued| seen.at <= issued) {
            return false;
        }
        // Accepted, in service again, and not what it should be: SageMaker rolled it back.
        open.issued_at = None;
        open.failures += 1;
        let settles = matches!(open.stage, ExperimentStage::Retiring | ExperimentStage::RollingBack);
        let reason = seen
            .failure_reason
            .clone()
            .unwrap_or_else(|| "SageMaker gave no reason".to_owned());
        if settles || (open.failures < ATTEMPTS && open.mode != Mode::BlueGreen) {
            return false;
        }
        open.conclusion = Some(if open.mode == Mode::BlueGreen {
            Conclusion::RolledBack
        } else {
            Conclusion::Failed
        });
        let why = format!("the endpoint could not be updated: {reason}");
        self.go(Cause::Failed, &why, given, caller);
        true
    }

    fn update(&mut self, config: &str, seen: &Endpoint, given: Given<'_>, caller: &Caller) {
        let Some(open) = &mut self.experiment else { return };
        let blue_green = open.mode == Mode::BlueGreen && open.stage == ExperimentStage::Preparing;
        let effect = ExperimentEffect::UpdateEndpoint {
            endpoint: open.endpoint.clone(),
            from: seen.config.clone(),
            to: config.to_owned(),
            blue_green: blue_green.then(|| BlueGreen::of(given.policy)),
        };
        open.waits_for = Some(if open.failures > 0 {
            format!("the update of the endpoint, which failed {} times", open.failures)
        } else {
            "the update of the endpoint".to_owned()
        });
        // One that was issued and is not settled yet stays the same; after that it may be ordered again.
        if open.issued_at.is_none() {
            self.outbox.owe(format!("update/{config}"), effect, caller);
        }
    }

    /// Whether the endpoint has the weights that it should have; orders them if not.
    fn weighed(&mut self, seen: &Endpoint, given: Given<'_>, caller: &Caller) -> bool {
        let Some(open) = &mut self.experiment else { return false };
        let weights = open.weights(given.policy);
        if seen.config != open.test_config() || has_weights(seen, &weights) {
            return true;
        }
        open.waits_for = Some("the weights of its variants".to_owned());
        // Weights of an earlier step, that somebody died over, are not set after these.
        let unwanted = |effect: &ExperimentEffect| matches!(effect, ExperimentEffect::UpdateWeights { weights: others, .. } if *others != weights);
        if self.outbox.withdraw(unwanted, caller) {
            return false;
        }
        let id = format!("{}/{}/{}", open.owed("weights"), open.stage.as_str(), open.step);
        let effect = ExperimentEffect::UpdateWeights {
            endpoint: open.endpoint.clone(),
            config: open.test_config(),
            weights,
        };
        self.outbox.owe(id, effect, caller);
        false
    }

    fn test(&mut self, seen: &Endpoint, given: Given<'_>, caller: &Caller) {
        let Some(open) = &mut self.experiment else { return };
        if seen.config != open.test_config() {
            open.conclusion = Some(Conclusion::Abandoned);
            let why = format!(
                "the endpoint was given back the configuration `{}` by somebody else",
                seen.config
            );
            self.go(Cause::Changed, &why, given, caller);
            return;
        }
        let paused = open.stage == ExperimentStage::Paused;
        let as_set = has_weights(seen, &open.weights(given.policy));
        let step_since = open.step_since;
        match step_since {
            None if !self.weighed(seen, given, caller) => return,
            Some(_) if !paused && !as_set => {
                self.go(
                    Cause::Pause,
                    "somebody else changed the weights of the variants",
                    given,
                    caller,
                );
                return;
            }
            _ => {}
        }
        let Some(open) = &mut self.experiment else { return };
        if open.step_since.is_none() {
            open.step_since = Some(caller.now);
            return;
        }
        let Some(verdict) = self.look(given, caller) else {
            return;
        };
        self.act(&verdict, paused, given, caller);
    }

    /// Looks at what is known, and keeps the look.
    fn look(&mut self, given: Given<'_>, caller: &Caller) -> Option<Verdict> {
        let open = self.experiment.as_mut()?;
        let evidence = given.evidence.filter(|evidence| evidence.since == open.step_since)?;
        let (champion, candidate) = open.compared()?;
        if let Some(why) = &evidence.unread {
            open.waits_for = Some(format!("the outcomes of its variants: {why}"));
        }
        if evidence.outcomes.is_some() {
            open.counted_at = Some(caller.now);
        }
        let last = open
            .looks
            .last()
            .filter(|last| last.step == open.step && open.counted_at.is_some());
        let last = last.map(|last| [(&champion, last.champion), (&candidate, last.candidate)]);
        let outcomes = |variant: &str| {
            let counted = match (&evidence.outcomes, last) {
                (Some(counted), _) => counted.get(variant).copied(),
                (None, Some(last)) => {
                    return last
                        .iter()
                        .find(|(of, _)| *of == variant)
                        .map_or_else(Sample::default, |of| of.1);
                }
                (None, None) => None,
            };
            let counted = counted.unwrap_or_default();
            let reported = open.reported.get(variant).into_iter().flatten();
            reported.fold(counted, |sum, (_, counted)| sum.and(counted.outcomes))
        };
        let weights = open.weights(given.policy);
        let by_weights = given.policy.assignment == Assignment::Weights;
        let traffic: Vec<(u64, f64)> = weights
            .iter()
            .filter(|_| by_weights)
            .map(|(variant, weight)| (evidence.traffic.get(variant).copied().unwrap_or(0), *weight))
            .collect();
        let guardrails = guardrails(evidence, given.policy, &champion, &candidate);
        let lasts = given.policy.maximum_duration;
        let over = open.started_at.and_then(|start| start.checked_add(lasts).ok());
        let (champion, candidate) = (outcomes(&champion), outcomes(&candidate));
        let steps = u32::try_from(given.policy.steps()).unwrap_or(u32::MAX);
        open.allocate(given.policy, &champion, &candidate);
        // Each step is a test of its own.
        let rule = given.policy.rule().among(steps);
        open.comparison = Some(Comparison {
            metric: given.policy.metric.name().to_owned(),
            lower_is_better: rule.lower_is_better,
            margin: rule.margin,
            alpha: rule.alpha,
        });
        let verdict = judge(
            &rule,
            &experiment::Look {
                champion,
                challenger: candidate,
                traffic: &traffic,
                guardrails: &guardrails,
                over: over.is_some_and(|over| caller.now >= over),
            },
        );
        let look = Look {
            time: caller.now,
            step: open.step,
            champion,
            candidate,
            share: weights.get(&open.variant_name()).copied(),
            interval: verdict.interval,
            outcome: verdict.outcome,
        };
        let news = open.looks.last().is_none_or(|last| {
            (&last.champion, &last.candidate, last.outcome) != (&champion, &candidate, look.outcome)
        });
        if news {
            open.looks.push(look);
        }
        if open.looks.len() > LOOKS {
            let mut keep = false;
            open.looks.retain(|_| {
                keep = !keep;
                keep
            });
        }
        open.reasons.clone_from(&verdict.reasons);
        Some(verdict)
    }

    fn act(&mut self, verdict: &Verdict, paused: bool, given: Given<'_>, caller: &Caller) {
        let Some(open) = &mut self.experiment else { return };
        let why = verdict.reasons.iter().map(Reason::words).collect::<Vec<_>>().join("; ");
        let last = open.step + 1 >= given.policy.steps();
        // What took long to read is of the time when it began to be read.
        let looked_at = given.endpoint.map_or(caller.now, |seen| seen.at);
        let step_over = open
            .step_since
            .and_then(|since| since.checked_add(given.policy.step_lasts).ok())
            .is_some_and(|over| looked_at >= over);
        match verdict.outcome {
            Outcome::RollBack => self.conclude(Conclusion::RolledBack, &why, given, caller),
            Outcome::Invalid => self.conclude(Conclusion::Invalid, &why, given, caller),
            // A person decides, or lets it go on.
            _ if paused => {}
            // Guardrails need some periods to say anything: until then no outcomes are good enough.
            Outcome::Promote if last && step_over => self.promote(&why, given, caller),
            Outcome::Inconclusive => match given.policy.inconclusive {
                Inconclusive::Pause => self.go(Cause::Pause, &why, given, caller),
                Inconclusive::RollBack => self.conclude(Conclusion::Inconclusive, &why, given, caller),
                Inconclusive::Promote => self.promote(&why, given, caller),
            },
            Outcome::Promote | Outcome::Continue if !last && step_over => {
                open.step += 1;
                (open.step_since, open.counted_at) = (None, None);
                // What was counted at another split of the traffic is not added to: hours differ, and so do splits.
                open.reported.clear();
                self.tell("its next step of the traffic begins", given, caller);
                if let Some(seen) = given.endpoint {
                    self.weighed(seen, given, caller);
                }
            }
            Outcome::Promote | Outcome::Continue => {}
        }
    }

    fn promote(&mut self, why: &str, given: Given<'_>, caller: &Caller) {
        let Some(open) = &mut self.experiment else { return };
        let cause = if open.mode == Mode::Variants {
            Cause::Promote
        } else {
            Cause::Baked
        };
        if !matches!(open.stage, ExperimentStage::Testing | ExperimentStage::Paused) {
            return;
        }
        open.conclusion = Some(Conclusion::Promoted);
        self.go(cause, why, given, caller);
        if let Some(seen) = given.endpoint {
            self.weighed(seen, given, caller);
        }
    }

    fn bake(&mut self, seen: &Endpoint, given: Given<'_>, caller: &Caller) {
        let Some(open) = &mut self.experiment else { return };
        if seen.config != open.test_config() {
            open.conclusion = Some(Conclusion::Abandoned);
            let why = format!(
                "the endpoint was given the configuration `{}` by somebody else",
                seen.config
            );
            self.go(Cause::Changed, &why, given, caller);
            return;
        }
        if open.stage == ExperimentStage::Promoting {
            if self.weighed(seen, given, caller)
                && let Some(open) = &mut self.experiment
            {
                open.step_since = Some(caller.now);
                self.go(Cause::AllTraffic, "it has all the traffic", given, caller);
            }
            return;
        }
        let (champion, candidate) = open.compared().unwrap_or_default();
        let evidence = given.evidence.filter(|evidence| evidence.since == open.step_since);
        let broken = evidence.map(|evidence| {
            // The old champion answers nothing any more: only limits say something.
            let mut guardrails = guardrails(evidence, given.policy, &champion, &candidate);
            guardrails.retain(|guardrail| guardrail.limit.is_some());
            let look = experiment::Look {
                champion: Sample::default(),
                challenger: Sample::default(),
                traffic: &[],
                guardrails: &guardrails,
                over: false,
            };
            judge(&given.policy.rule(), &look)
        });
        if let Some(verdict) = broken.filter(|verdict| verdict.outcome == Outcome::RollBack) {
            let why = verdict.reasons.iter().map(Reason::words).collect::<Vec<_>>().join("; ");
            open.reasons = verdict.reasons;
            self.conclude(Conclusion::RolledBack, &why, given, caller);
            return;
        }
        let baked = open
            .since
            .checked_add(given.policy.bake)
            .is_ok_and(|over| seen.at >= over);
        if baked {
            self.go(Cause::Baked, "it has been alone for long enough", given, caller);
        }
    }

    fn retire(&mut self, seen: &Endpoint, given: Given<'_>, caller: &Caller) {
        let Some(open) = &mut self.experiment else { return };
        let last = open.final_config();
        if open.base.as_ref().is_some_and(|base| base.config == seen.config) {
            open.conclusion = Some(Conclusion::Abandoned);
            let why = format!(
                "the endpoint was given back the configuration `{}` by somebody else",
                seen.config
            );
            self.go(Cause::Changed, &why, given, caller);
            return;
        }
        if seen.config != last {
            self.bring(&last, BTreeMap::new(), false, seen, given, caller);
            return;
        }
        let test = open.test_config();
        if test != last {
            let effect = ExperimentEffect::DeleteEndpointConfig { name: test.clone() };
            self.outbox.owe(format!("delete/{test}"), effect, caller);
        }
        self.go(Cause::Settled, "the old champion is off the endpoint", given, caller);
    }

    fn roll_back(&mut self, seen: &Endpoint, given: Given<'_>, caller: &Caller) {
        let Some(open) = &mut self.experiment else { return };
        let Some(base) = open.base.clone() else { return };
        // What would still put the candidate on the endpoint is called off, and waited for where somebody is at it.
        let unwanted = |effect: &ExperimentEffect| match effect {
            ExperimentEffect::CreateEndpointConfig { .. } => true,
            ExperimentEffect::UpdateEndpoint { to, .. } => *to != base.config,
            _ => false,
        };
        if self.outbox.withdraw(unwanted, caller) {
            open.waits_for = Some("an update of the endpoint that is under way".to_owned());
            return;
        }
        if seen.config == base.config {
            self.clean_up(caller);
            self.go(Cause::Settled, "the champion has all the traffic", given, caller);
            return;
        }
        // Weights change within seconds, configurations within minutes.
        if self.weighed(seen, given, caller) && !self.update_failed(seen, given, caller) {
            self.update(&base.config, seen, given, caller);
        }
    }

    /// Owes the removal of what was made for a candidate that is not promoted.
    fn clean_up(&mut self, caller: &Caller) {
        let Some(open) = &self.experiment else { return };
        let (test, model) = (open.test_config(), open.model_name());
        let effect = ExperimentEffect::DeleteEndpointConfig { name: test.clone() };
        self.outbox.owe(format!("delete/{test}"), effect, caller);
        let effect = ExperimentEffect::DeleteModel { name: model.clone() };
        self.outbox.owe(format!("delete/{model}"), effect, caller);
    }

    /// Asks for the baselines of what now has all the traffic, until the answer comes.
    fn request_baselines(&mut self, given: Given<'_>, caller: &Caller) {
        let (Some(open), Some(policy)) = (&mut self.experiment, &given.policy.baselines) else {
            return;
        };
        let alone = matches!(open.stage, ExperimentStage::Baking | ExperimentStage::Retiring);
        let waits = open.baselines.requested_at.is_some_and(|at| {
            let until = at.checked_add(BASELINES_WITHIN).unwrap_or(Timestamp::MAX);
            caller.now < until || open.baselines.requests >= BASELINE_REQUESTS
        });
        let Some(monitors) = given.monitors.filter(|_| alone && !open.baselines.answered && !waits) else {
            return;
        };
        if open.baselines.requests == 0 {
            open.baselines.before = monitors.to_vec();
        }
        if open.baselines.before.is_empty() {
            open.baselines.answered = true;
            return;
        }
        open.baselines.requested_at = Some(caller.now);
        open.baselines.requests += 1;
        let version = open.package.version.to_string();
        let training_data = policy.training_data.as_ref();
        let request = BaselinesRequested {
            version: "1".into(),
            id: format!("baselines-{}-{}", open.id, open.token),
            correlation_id: open.correlation_id.clone(),
            model: self.model.clone(),
            experiment_id: open.id.clone(),
            model_package_arn: open.package.arn.clone(),
            output_uri: format!("{}/{version}", policy.output.trim_end_matches('/')),
            training_data_uri: training_data.map(|uri| uri.replace("{version}", &version)),
            monitors: open.baselines.before.clone(),
            drift_check_baselines: open.package.drift_check_baselines.clone(),
            time: caller.now,
        };
        let id = format!("{}/{}", request.id, open.baselines.requests);
        self.outbox
            .owe(id, ExperimentEffect::RequestBaselines(Box::new(request)), caller);
    }

    /// The monitors of a promoted model are held against its own baselines from now on.
    fn on_baselines(&mut self, created: &BaselinesCreated, caller: &Caller) {
        let ended = self.ended.iter_mut().rev();
        let mut promoted = ended.filter(|ended| ended.conclusion == Conclusion::Promoted);
        // Of those that are over only the last one that was promoted still serves.
        let served = promoted.next().map(|ended| &mut ended.experiment);
        let of = self.experiment.as_mut().into_iter().chain(served);
        let Some(of) = of.into_iter().find(|of| of.id == created.experiment_id) else {
            return;
        };
        let leaves = matches!(of.stage, ExperimentStage::RollingBack);
        if of.baselines.answered || leaves || of.package.arn != created.model_package_arn {
            return;
        }
        of.baselines.answered = true;
        of.baselines.not_created.clone_from(&created.not_created);
        let mut owed = Vec::new();
        for monitor in &created.baselines {
            let before = of.baselines.before.iter();
            let mut before = before.filter(|before| before.monitoring_schedule == monitor.monitoring_schedule);
            let Some(before) = before
                .next()
                .filter(|before| before.baseline_uri != monitor.baseline_uri)
            else {
                continue;
            };
            of.baselines.changed.push(monitor.clone());
            let package = Some(created.model_package_arn.as_str());
            owed.extend(baseline_change(&self.model, of, before, monitor, package, caller));
        }
        for (id, effect) in owed {
            self.outbox.owe(id, effect, caller);
        }
    }

    /// The monitors get back the baselines that they had.
    fn restore_baselines(&mut self, caller: &Caller) {
        let Some(open) = &mut self.experiment else { return };
        let changed = std::mem::take(&mut open.baselines.changed);
        for monitor in &changed {
            let mut before = open.baselines.before.iter();
            let before = before.find(|before| before.monitoring_schedule == monitor.monitoring_schedule);
            let owed = before.and_then(|before| baseline_change(&self.model, open, monitor, before, None, caller));
            if let Some((id, effect)) = owed {
                self.outbox.owe(id, effect, caller);
            }
        }
    }

    /// The champion stays: the endpoint is given back to it.
    fn conclude(&mut self, conclusion: Conclusion, why: &str, given: Given<'_>, caller: &Caller) {
        let Some(open) = &mut self.experiment else { return };
        if open.stage.after(Cause::RollBack).is_none() {
            return;
        }
        open.conclusion = Some(conclusion);
        open.issued_at = None;
        self.restore_baselines(caller);
        self.go(Cause::RollBack, why, given, caller);
        if let Some(seen) = given.endpoint.filter(|seen| seen.status == EndpointStatus::InService) {
            self.weighed(seen, given, caller);
        }
    }

    /// Ends an experiment that never touched the endpoint.
    fn end(&mut self, conclusion: Conclusion, why: &str, given: Given<'_>, caller: &Caller) {
        let Some(open) = &mut self.experiment else { return };
        open.conclusion = Some(conclusion);
        open.stage = ExperimentStage::Ended;
        self.tell(why, given, caller);
        self.close(caller);
    }

    /// Takes a transition, and tells of it.
    fn go(&mut self, cause: Cause, why: &str, given: Given<'_>, caller: &Caller) {
        let Some(open) = &mut self.experiment else { return };
        let Some(stage) = open.stage.after(cause) else { return };
        open.stage = stage;
        open.since = caller.now;
        open.waits_for = None;
        let overrules = matches!(cause, Cause::RollBack | Cause::Changed | Cause::Failed);
        if open.conclusion.is_some() && (overrules || open.decided.is_none()) {
            open.decided = Some(why.to_owned());
        }
        if cause == Cause::Resume {
            // The weights may be others by now, and the time is counted anew.
            open.started_at = Some(caller.now);
            (open.step_since, open.counted_at) = (None, None);
            open.reported.clear();
        }
        if cause == Cause::Failed {
            self.clean_up(caller);
        }
        self.tell(why, given, caller);
        if stage == ExperimentStage::Ended {
            self.close(caller);
        }
    }

    fn close(&mut self, caller: &Caller) {
        let Some(experiment) = self.experiment.take() else {
            return;
        };
        self.ended.push(Ended {
            conclusion: experiment.conclusion.unwrap_or(Conclusion::Failed),
            experiment,
            ended_at: caller.now,
        });
        if self.ended.len() > ENDED {
            self.ended.remove(0);
        }
    }

    /// Owes an `Experiment State Change`.
    fn tell(&mut self, why: &str, given: Given<'_>, caller: &Caller) {
        let Some(open) = &mut self.experiment else { return };
        open.changes += 1;
        let weights = open.weights(given.policy);
        let last = open.looks.last();
        let compared = open.compared();
        let variants = compared.iter().flat_map(|(champion, candidate)| {
            [
                (champion, last.map(|look| look.champion)),
                (candidate, last.map(|look| look.candidate)),
            ]
        });
        let what = match (open.stage, open.conclusion) {
            (ExperimentStage::Ended, Some(conclusion)) => conclusion.as_str(),
            (stage, _) => stage.as_str(),
        };
        open.share = weights.get(&open.variant_name()).copied();
        let traffic = open
            .share
            .map_or_else(String::new, |share| format!(", with {share} % of the traffic"));
        let decided = open.decided.as_deref().filter(|decided| {
            let ended = open.stage == ExperimentStage::Ended;
            ended && *decided != why
        });
        let why = decided.map_or_else(|| why.to_owned(), |decided| format!("{decided}; {why}"));
        open.sentence = format!(
            "Experiment {} of `{}` is {what}: candidate {} on endpoint `{}`{traffic}; {}.",
            open.id,
            self.model,
            open.package.arn,
            open.endpoint,
            why.trim_end_matches('.')
        );
        let change = ExperimentStateChange {
            version: "1".into(),
            id: format!("experiment-{}-{}-{}", open.id, open.changes, open.token),
            correlation_id: open.correlation_id.clone(),
            model: self.model.clone(),
            experiment_id: open.id.clone(),
            endpoint: open.endpoint.clone(),
            model_package_arn: open.package.arn.clone(),
            pipeline_execution_arn: open.package.generated_by.clone(),
            stage: open.stage,
            conclusion: open.conclusion,
            outcome: last.map(|look| look.outcome),
            reasons: open.reasons.clone(),
            interval: last.and_then(|look| look.interval),
            variants: variants
                .map(|(name, outcomes)| VariantState {
                    variant_name: name.clone(),
                    weight: weights.get(name).copied().unwrap_or(0.0),
                    outcomes: outcomes.unwrap_or_default(),
                })
                .collect(),
            sentence: open.sentence.clone(),
            time: caller.now,
        };
        let id = format!("{EXPERIMENT_STATE_CHANGE}/{}", change.id);
        self.outbox
            .owe(id, ExperimentEffect::PutStateChange(Box::new(change)), caller);
    }
}

/// What is owed where a monitor is held against another baseline: of a model package, or an older one that comes back.
fn baseline_change(
    model: &str,
    experiment: &Experiment,
    before: &MonitorBaseline,
    after: &MonitorBaseline,
    package: Option<&str>,
    caller: &Caller,
) -> Option<(String, ExperimentEffect)> {
    let uri = after.baseline_uri.clone()?;
    let schedule = &after.monitoring_schedule;
    let (what, how) = match package {
        Some(arn) => ("set", format!("that of model package {arn}")),
        None => ("restored", "the one that it had before".to_owned()),
    };
    let change = MonitorBaselineChange {
        version: "1".into(),
        id: format!("baseline-{what}-{}-{schedule}-{}", experiment.id, experiment.token),
        correlation_id: experiment.correlation_id.clone(),
        model: model.to_owned(),
        monitoring_schedule: schedule.clone(),
        monitor_type: after.monitor_type.clone(),
        baseline_uri: uri.clone(),
        previous_baseline_uri: before.baseline_uri.clone(),
        model_package_arn: package.map(str::to_owned),
        experiment_id: experiment.id.clone(),
        sentence: format!(
            "Monitor `{schedule}` of `{model}` is held against another baseline, {how} ({uri}), and its alert window \
             begins anew."
        ),
        time: caller.now,
    };
    let id = change.id.clone();
    let effect = ExperimentEffect::SetBaseline {
        own: after.own,
        change: Box::new(change),
    };
    Some((id, effect))
}

#[expect(clippy::cast_precision_loss, reason = "counts of requests are below 2^53")]
fn sample_count(sample: &Sample) -> f64 {
    sample.count as f64
}

/// The guardrails as they are judged.
fn guardrails(evidence: &Evidence, policy: &PromotionPolicy, champion: &str, candidate: &str) -> Vec<Guardrail> {
    let of = |(guardrail, seen): (&crate::GuardrailPolicy, &BTreeMap<String, Sample>)| {
        let sample = |variant: &str| seen.get(variant).copied().unwrap_or_default();
        // A share of a latency is a difference of logarithms.
        let scale = |value: f64| {
            if guardrail.metric.is_latency() {
                value.ln()
            } else {
                value
            }
        };
        let margin = if guardrail.metric.is_latency() {
            guardrail.margin.ln_1p()
        } else {
            guardrail.margin
        };
        Guardrail {
            name: guardrail.metric.as_str().to_owned(),
            lower_is_better: true,
            margin,
            narrowest: narrowest(policy.alpha, margin.max(1e-6)),
            champion: sample(champion),
            challenger: sample(candidate),
            limit: guardrail.limit.map(scale),
        }
    };
    policy.guardrails.iter().zip(&evidence.guardrails).map(of).collect()
}
