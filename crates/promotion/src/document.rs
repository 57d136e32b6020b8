//! State document of a model's experiments, and its reconciliation with the observed endpoint.

use crate::{
    AllocationPolicy, Assignment, BaselineFailure, BaselinesCreated, BaselinesRequested, Cause, Conclusion,
    EXPERIMENT_STATE_CHANGE, ExperimentCommand, ExperimentStage, ExperimentStateChange, Inconclusive, Mode,
    MonitorBaseline, MonitorBaselineChange, Order, OutcomesReported, PromotionPolicy, VariantState, policy::narrowest,
};
use experiment::{Allocation, Difference, Guardrail, Interval, Outcome, Posterior, Reason, Sample, Verdict, judge};
use jiff::{SignedDuration, Timestamp};
use machine::{Caller, GivenUp, Outbox, OutboxDocument};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// Maximum number of ended experiments in a document. Older ones are in the bucket's object versions.
const MAX_ENDED_EXPERIMENTS: usize = 20;
/// Maximum number of looks of an experiment. Beyond it, every second look is dropped.
const MAX_LOOKS: usize = 400;
/// Maximum number of looks of an experiment that has ended.
const MAX_ENDED_LOOKS: usize = 50;
/// Maximum number of reported periods of a variant. Beyond it, the two oldest are added up.
const MAX_REPORTED_PERIODS: usize = 1_000;
/// Outcomes are counted again when one part in 20 of the time since the start of the step has passed since the last count.
/// Every count reads from the start of the step, so all counts together read about 20 times what the last one reads.
const RECOUNT_DIVISOR: i32 = 20;
/// Maximum number of attempts to update the endpoint.
const MAX_UPDATE_ATTEMPTS: u32 = 3;
/// Maximum number of requests for the baselines of a promoted model.
const MAX_BASELINE_REQUESTS: u32 = 4;
/// Time after which a request for baselines is repeated.
const BASELINE_TIMEOUT: SignedDuration = SignedDuration::from_mins(20);
/// Difference below which two traffic shares are equal. SageMaker stores weights as 32-bit floats.
const WEIGHT_TOLERANCE: f64 = 1e-4;
/// Number of characters of the model name in resource names. SageMaker limits these to 63 characters.
const MODEL_NAME_CHARS: usize = 32;

/// Properties of a model package that an experiment uses.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelPackage {
    /// ARN of the model package.
    pub arn: String,
    /// Version in the model package group.
    pub version: u64,
    /// `Approved`, `Rejected` or `PendingManualApproval`.
    pub approval_status: String,
    /// ARN of the pipeline execution that created the model package.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generated_by: Option<String>,
    /// Value of the offline gate's metric. `None` without a gate, or if the report has no such number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<f64>,
    /// `DriftCheckBaselines` of the model package: file URI by monitor type and file name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub drift_check_baselines: BTreeMap<String, BTreeMap<String, String>>,
}

/// A candidate, with the champion's model package to compare with.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// Model package of the candidate.
    pub package: ModelPackage,
    /// Model package of the champion. `None` if the champion has none, or if it no longer exists.
    pub champion: Option<ModelPackage>,
    /// Correlation ID of the incident whose retraining created the candidate. `None` if there is no such incident.
    pub correlation_id: Option<String>,
}

/// SageMaker's `EndpointStatus`, reduced to what experiments distinguish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndpointStatus {
    /// `InService`.
    InService,
    /// `Creating`, `Updating`, `SystemUpdating`, `RollingBack`: the status changes without intervention.
    Busy,
    /// `OutOfService`, `Failed`, `UpdateRollbackFailed`, `Deleting`: an operator has to intervene.
    Broken,
}

/// An observed production variant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Variant {
    /// Variant name.
    pub name: String,
    /// Current weight.
    pub weight: f64,
}

/// An observed endpoint.
#[derive(Debug, Clone, PartialEq)]
pub struct Endpoint {
    /// Status of the endpoint.
    pub status: EndpointStatus,
    /// Name of the current endpoint configuration.
    pub config: String,
    /// Production variants.
    pub variants: Vec<Variant>,
    /// Reason of a failed update, if SageMaker reports one.
    pub failure_reason: Option<String>,
    /// Name of the endpoint configuration that an update in progress applies. `None` without one.
    pub pending: Option<String>,
    /// Time of the observation.
    pub at: Timestamp,
}

/// Traffic and outcomes since the start of a step. Every look counts from the start again, so nothing counts twice.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Evidence {
    /// Start of the period: [`Experiment::count_start`]. Evidence with another start belongs to another step and is ignored.
    pub since: Option<Timestamp>,
    /// Number of requests by variant.
    pub traffic: BTreeMap<String, u64>,
    /// Outcomes by variant. `None` if they were not counted again; then those of the last look apply.
    pub outcomes: Option<BTreeMap<String, Sample>>,
    /// Error of counting outcomes. `None` without an error.
    pub outcome_error: Option<String>,
    /// Guardrail values by variant, in the order of the policy. Latencies are natural logarithms.
    pub guardrails: Vec<BTreeMap<String, Sample>>,
}

/// Input of the state machine.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// A model package of the group was registered, approved, or rejected.
    Candidate(Box<Candidate>),
    /// An operator's command.
    Command(ExperimentCommand),
    /// Reported outcomes of a custom metric.
    Outcomes(OutcomesReported),
    /// Baselines of a promoted model were created.
    Baselines(Box<BaselinesCreated>),
    /// Time has passed, or the endpoint changed.
    Tick,
}

/// Policy and observations that an input is applied with.
#[derive(Debug, Clone, Copy)]
pub struct StepContext<'a> {
    /// Effective promotion settings of the model.
    pub policy: &'a PromotionPolicy,
    /// Observed endpoint. `None` if it does not exist.
    pub endpoint: Option<&'a Endpoint>,
    /// Traffic and outcomes. `None` if they were not queried.
    pub evidence: Option<&'a Evidence>,
    /// Monitors of the model with their current baselines. `None` if they were not queried.
    pub monitors: Option<&'a [MonitorBaseline]>,
}

/// Outcome of applying an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepOutcome {
    /// The document changed.
    Changed,
    /// The input was already applied, or does not concern the open experiment.
    Unchanged,
}

/// Traffic shifting of SageMaker's deployment guardrails (*Blue/green deployments* in the developer guide).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlueGreen {
    /// CloudWatch alarms that roll the deployment back.
    pub alarms: Vec<String>,
    /// First traffic share that is shifted, in percent.
    pub percent: i32,
    /// Whether the rest follows in steps of the same size (linear) or all at once (canary).
    pub linear: bool,
    /// Time between steps, in seconds.
    pub wait_seconds: i32,
    /// Time that the old fleet stays ready at the end, in seconds.
    pub termination_wait_seconds: i32,
}

impl BlueGreen {
    fn from_policy(policy: &PromotionPolicy) -> Self {
        let seconds = |duration: SignedDuration| i32::try_from(duration.as_secs()).unwrap_or(i32::MAX).clamp(0, 3600);
        let first = policy.traffic.first().copied().unwrap_or(10.0);
        Self {
            alarms: policy.alarms.clone(),
            // SageMaker accepts whole percents: 10 to 50 for linear steps, 1 to 50 for a canary. The search avoids a cast.
            percent: (1..=50).rev().find(|percent| f64::from(*percent) <= first).unwrap_or(1),
            linear: policy.traffic.len() > 1 && first >= 10.0,
            wait_seconds: seconds(policy.step_lasts),
            termination_wait_seconds: seconds(policy.bake),
        }
    }
}

/// Side effect of a change of the document. Executing an effect twice has the same result as executing it once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ExperimentEffect {
    /// Creates a model and an endpoint configuration, if they do not exist yet.
    CreateEndpointConfig {
        /// Name of the endpoint configuration that the new one extends.
        base: String,
        /// Name of the new endpoint configuration.
        name: String,
        /// Name of the new model.
        model_name: String,
        /// ARN of the model package that the model is created from.
        model_package_arn: String,
        /// Name of the variant whose instance type and count the candidate's variant copies.
        like: String,
        /// Name of the candidate's variant.
        variant_name: String,
        /// Weights of all variants, including the candidate's. Variants that are not listed are removed.
        weights: BTreeMap<String, f64>,
        /// Whether the candidate is a shadow variant.
        shadow: bool,
    },
    /// Updates the endpoint, if it is in service with the configuration `from`.
    UpdateEndpoint {
        /// Name of the endpoint.
        endpoint: String,
        /// Name of the expected current configuration.
        from: String,
        /// Name of the new configuration.
        to: String,
        /// Traffic shifting by SageMaker's deployment guardrails. `None` updates without them.
        blue_green: Option<BlueGreen>,
    },
    /// Updates the variant weights, if the endpoint is in service with the expected configuration.
    UpdateWeights {
        /// Name of the endpoint.
        endpoint: String,
        /// Name of the expected current configuration.
        config: String,
        /// New weight by variant name.
        weights: BTreeMap<String, f64>,
    },
    /// Deletes an unused endpoint configuration that Driftwarden created.
    DeleteEndpointConfig {
        /// Name of the endpoint configuration.
        name: String,
    },
    /// Deletes an unused model that Driftwarden created.
    DeleteModel {
        /// Name of the model.
        name: String,
    },
    /// Publishes `Experiment State Change`.
    PutStateChange(Box<ExperimentStateChange>),
    /// Publishes `Model Baselines Requested`.
    RequestBaselines(Box<BaselinesRequested>),
    /// Changes the baseline of a monitor, unless a later change is already recorded.
    SetBaseline {
        /// Whether Driftwarden analyzes with this baseline (native analysis) instead of Model Monitor.
        own: bool,
        /// The change, which is also published as an event.
        change: Box<MonitorBaselineChange>,
    },
}

/// Outcome of executing an effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EffectOutcome {
    /// The effect is executed.
    Done,
    /// SageMaker accepted an update of the endpoint at this time.
    Accepted(Timestamp),
    /// The endpoint was not in the expected state. The next step decides what to do.
    Stale,
    /// SageMaker rejected the request permanently, with this error.
    Rejected(String),
}

/// Result of one look (interim analysis).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Look {
    /// Time of the look.
    pub time: Timestamp,
    /// Index of the traffic step, starting at 0.
    pub step: usize,
    /// Outcomes of the champion in this step.
    pub champion: Sample,
    /// Outcomes of the candidate in this step.
    pub candidate: Sample,
    /// Traffic share of the candidate, in percent. `None` if Driftwarden does not set it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<f64>,
    /// Confidence interval of candidate − champion. `None` with too few outcomes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Interval>,
    /// Result of the look.
    pub outcome: Outcome,
}

/// Comparison that the last look made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// Name of the metric.
    pub metric: String,
    /// Whether a lower value is better.
    pub lower_is_better: bool,
    /// Non-inferiority margin: how much worse the candidate may be. `None` requires a better candidate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub margin: Option<f64>,
    /// Probability that any interval of this step misses the true difference, over all its looks.
    pub alpha: f64,
}

/// Progress of new baselines for the monitors of a promoted model.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Baselines {
    /// Time of the last request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    requested_at: Option<Timestamp>,
    /// Number of requests.
    #[serde(default)]
    requests: u32,
    /// Whether the request was answered, or there was nothing to request.
    #[serde(default)]
    pub answered: bool,
    /// Monitors in the request, with their previous baselines.
    #[serde(default)]
    pub before: Vec<MonitorBaseline>,
    /// Monitors with a new baseline.
    #[serde(default)]
    pub changed: Vec<MonitorBaseline>,
    /// Monitors without a new baseline, with the reasons.
    #[serde(default)]
    pub not_created: Vec<BaselineFailure>,
}

/// Reported outcomes of one period.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct PeriodOutcomes {
    outcomes: Sample,
    /// Time of the report. Of two reports of one period, the later one counts.
    time: Timestamp,
}

/// The endpoint before the experiment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OriginalEndpoint {
    /// Name of its endpoint configuration.
    pub config: String,
    /// Its production variants.
    pub variants: Vec<Variant>,
}

impl OriginalEndpoint {
    /// Name of the variant with the largest weight.
    fn champion(&self) -> &str {
        let heaviest = self.variants.iter().max_by(|a, b| a.weight.total_cmp(&b.weight));
        heaviest.map_or("", |variant| variant.name.as_str())
    }

    /// Weights that give the candidate this share, in percent, and keep the proportions of the other variants.
    fn weights(&self, candidate: &str, share: f64) -> BTreeMap<String, f64> {
        let total: f64 = self.variants.iter().map(|variant| variant.weight).sum();
        let others = self
            .variants
            .iter()
            .map(|variant| (variant.name.clone(), variant.weight / total * (100.0 - share)));
        others.chain([(candidate.to_owned(), share)]).collect()
    }
}

/// A test of a candidate against the champion, from the model package to the end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Experiment {
    /// Sequence number within the model, starting at 1.
    pub number: u64,
    /// Experiment ID: `{model}-ab-{number}`.
    pub id: String,
    /// Correlation ID of the incident whose retraining created the candidate; otherwise derived from the model package.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    /// Model package of the candidate.
    pub package: ModelPackage,
    /// Name of the endpoint.
    pub endpoint: String,
    /// How the candidate is deployed to the endpoint.
    pub mode: Mode,
    /// Current stage.
    pub stage: ExperimentStage,
    /// Final result, set with the decision. The experiment ends when the endpoint has its final configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conclusion: Option<Conclusion>,
    /// Reasons of the last look, for programs.
    #[serde(default)]
    pub reasons: Vec<Reason>,
    /// Description of the last change, for people.
    pub sentence: String,
    /// Reason for the conclusion, repeated in the final event. `None` until there is a conclusion.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided: Option<String>,
    /// What the experiment is waiting for. `None` if it is not waiting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<String>,
    /// Time at which the experiment was opened.
    pub opened_at: Timestamp,
    /// Time at which the current stage was reached.
    pub since: Timestamp,
    /// Time at which both variants were first in service, or at which the experiment was resumed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// Index of the traffic step, starting at 0.
    pub step: usize,
    /// Time at which the endpoint was first observed with the weights of the step. `None` until then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step_since: Option<Timestamp>,
    /// The endpoint before the experiment. `None` until it was observed in service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<OriginalEndpoint>,
    /// Desired traffic share of the candidate, in percent. `None` if Driftwarden does not set it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<f64>,
    /// Comparison of the last look. `None` before the first look.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comparison: Option<Comparison>,
    /// Share of the users that each variant should get by Thompson sampling, for applications that assign users to variants
    /// (`experiment::Allocation`). Empty with other allocations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub allocation: BTreeMap<String, f64>,
    /// Looks of the experiment, oldest first, at most 400.
    #[serde(default)]
    pub looks: Vec<Look>,
    /// Reported outcomes of the current step, by variant and start of the period.
    #[serde(default)]
    reported: BTreeMap<String, BTreeMap<Timestamp, PeriodOutcomes>>,
    /// Start of the latest period that was added up with an earlier one, by variant. Reports up to it are too late.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    added_up_to: BTreeMap<String, Timestamp>,
    /// Time of the last count of outcomes in this step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    counted_at: Option<Timestamp>,
    /// Names of the endpoint configurations that were created.
    #[serde(default)]
    prepared: Vec<String>,
    /// Time at which SageMaker accepted the last update of the endpoint. `None` without an update in progress.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    issued_at: Option<Timestamp>,
    /// Number of failed updates since the last successful one.
    #[serde(default)]
    failures: u32,
    /// SageMaker's error for the last rejected request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// Number of state changes that were published or are pending.
    #[serde(default)]
    changes: u64,
    /// Progress of new baselines, after the candidate gets all traffic.
    #[serde(default)]
    pub baselines: Baselines,
    /// Part of the name of every created resource, derived from the experiment and the model package.
    token: String,
    /// Fields of a newer release. They survive a rewrite.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// An experiment that has ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ended {
    /// Last state of the experiment.
    pub experiment: Experiment,
    /// Final result.
    pub conclusion: Conclusion,
    /// Time of the end.
    pub ended_at: Timestamp,
}

/// State document of a model's experiments: `experiments/{model}.json` in the state bucket.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExperimentDocument {
    /// Version of the document layout.
    pub version: u32,
    /// Name of the model.
    pub model: String,
    /// Number of experiments of the model, including the open one.
    #[serde(default)]
    pub experiments: u64,
    /// The open experiment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub experiment: Option<Experiment>,
    /// Newest candidate that was registered during the open experiment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<ModelPackage>,
    /// Latest ended experiments, oldest first, at most 20.
    #[serde(default)]
    pub ended: Vec<Ended>,
    /// Pending effects.
    #[serde(default)]
    pub outbox: Outbox<ExperimentEffect>,
    /// Latest effects that were given up, oldest first. At most 10.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub given_up: Vec<GivenUp>,
    /// Fields of a newer release. They survive a rewrite.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

impl Experiment {
    /// Number of state changes that were published or are pending.
    pub fn change_count(&self) -> usize {
        usize::try_from(self.changes).unwrap_or(usize::MAX)
    }

    /// Name of the candidate's variant, in captured data and in metrics.
    pub fn variant_name(&self) -> String {
        format!("candidate-{}", self.token)
    }

    /// Name of the candidate's model.
    pub fn model_name(&self) -> String {
        self.resource("")
    }

    /// Name of the endpoint configuration with champion and candidate.
    pub fn test_config(&self) -> String {
        self.resource("-test")
    }

    /// Name of the endpoint configuration with the candidate only.
    pub fn final_config(&self) -> String {
        if self.mode == Mode::BlueGreen {
            self.test_config()
        } else {
            self.resource("-final")
        }
    }

    fn resource(&self, suffix: &str) -> String {
        let model = self.id.rsplit_once("-ab-").map_or("", |(model, _)| model);
        let part: String = model.chars().take(MODEL_NAME_CHARS).collect();
        format!("driftwarden-{}-{}{suffix}", part.trim_end_matches('-'), self.token)
    }

    /// Whether the next step needs the monitors of the model with their baselines.
    pub fn needs_monitors(&self, policy: &PromotionPolicy) -> bool {
        let alone = matches!(self.stage, ExperimentStage::Baking | ExperimentStage::Retiring);
        // The next step may reach `Baking` or `Retiring`.
        let soon = matches!(self.stage, ExperimentStage::Promoting) || self.mode != Mode::Variants;
        policy.baselines.is_some() && !self.baselines.answered && (alone || soon)
    }

    /// Drops the reported outcomes: they are of another step, or no longer needed.
    fn clear_reported(&mut self) {
        self.reported.clear();
        self.added_up_to.clear();
    }

    /// Start of the period in which requests are counted: the start of the step. `None` if nothing is counted in this stage.
    pub fn count_start(&self) -> Option<Timestamp> {
        let compares = matches!(
            self.stage,
            ExperimentStage::Testing | ExperimentStage::Paused | ExperimentStage::Baking
        );
        self.step_since.filter(|_| compares)
    }

    /// Whether outcomes have to be counted again at this time.
    pub fn is_recount_due(&self, now: Timestamp) -> bool {
        let compares = matches!(self.stage, ExperimentStage::Testing | ExperimentStage::Paused);
        let (Some(since), Some(counted)) = (self.step_since, self.counted_at) else {
            return compares;
        };
        compares && now.duration_since(counted) * RECOUNT_DIVISOR >= counted.duration_since(since)
    }

    /// Names of the compared variants: champion and candidate. `None` until the endpoint was observed.
    pub fn compared_variants(&self) -> Option<(String, String)> {
        let base = self.base.as_ref()?;
        Some((base.champion().to_owned(), self.variant_name()))
    }

    /// Desired weights of the variants in the current stage. Empty if Driftwarden does not set them.
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

    /// Updates the share of the users that each variant should get, if the policy uses Thompson sampling.
    fn allocate(&mut self, policy: &PromotionPolicy, champion: &Sample, candidate: &Sample) {
        let Some((champion_name, candidate_name)) = self.compared_variants() else {
            return;
        };
        if policy.allocation != AllocationPolicy::Thompson {
            return;
        }
        let least = policy.traffic.first().copied().unwrap_or(5.0) / 100.0;
        let rates = |sample: &Sample| (sample.sum - sample.sum_of_squares).abs() < 1e-9;
        let lower = policy.metric.lower_is_better();
        let better = if rates(champion) && rates(candidate) {
            // Thompson sampling maximizes successes. If a lower rate is better, failures count as successes.
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
            let higher = Difference::between(champion, candidate)
                .map(|found| Posterior::from_difference(&found).challenger_higher);
            let higher = higher.unwrap_or(0.5);
            let share = if lower { 1.0 - higher } else { higher };
            share.clamp(least, 1.0 - least)
        };
        self.allocation = [(champion_name, 1.0 - better), (candidate_name, better)].into();
    }

    fn effect_id(&self, name: &str) -> String {
        format!("{name}/{}/{}", self.id, self.token)
    }
}

/// Reason for ending an experiment whose endpoint got another configuration.
fn changed_outside(config: &str) -> String {
    format!("the endpoint configuration was changed to `{config}` outside Driftwarden")
}

/// Reason for ending an experiment whose endpoint got its original configuration back.
fn changed_back_outside(config: &str) -> String {
    format!("the endpoint configuration was changed back to `{config}` outside Driftwarden")
}

/// Whether the observed traffic shares equal those of these weights.
fn has_weights(endpoint: &Endpoint, weights: &BTreeMap<String, f64>) -> bool {
    let share = |weight: f64, total: f64| weight / total;
    let (wanted, seen): (f64, f64) = (
        weights.values().sum(),
        endpoint.variants.iter().map(|variant| variant.weight).sum(),
    );
    let fits = |variant: &Variant| {
        let weight = weights.get(&variant.name).copied().unwrap_or(0.0);
        (share(weight, wanted) - share(variant.weight, seen)).abs() < WEIGHT_TOLERANCE
    };
    weights.is_empty() || (seen > 0.0 && endpoint.variants.iter().all(fits))
}

impl ExperimentDocument {
    /// The document's key in the state bucket.
    pub fn key(model: &str) -> String {
        format!("experiments/{model}.json")
    }

    /// Empty document of a model without experiments.
    pub fn new(model: impl Into<String>) -> Self {
        Self {
            version: 1,
            model: model.into(),
            experiments: 0,
            experiment: None,
            next: None,
            ended: Vec::new(),
            outbox: Outbox::default(),
            given_up: Vec::new(),
            rest: Map::new(),
        }
    }

    /// Applies one input and reconciles with the observed endpoint. Effects go to the outbox.
    pub fn step(&mut self, input: &Input, given: StepContext<'_>, caller: &Caller) -> StepOutcome {
        let before = self.clone();
        // Another invocation has already applied a later observation: this one is outdated.
        let is_stale = given.endpoint.is_some_and(|seen| seen.at < self.changed_at());
        let given = StepContext {
            endpoint: given.endpoint.filter(|_| !is_stale),
            ..given
        };
        match input {
            Input::Candidate(candidate) => self.on_candidate(candidate, given, caller),
            Input::Command(command) => self.on_command(command, given, caller),
            Input::Outcomes(reported) => self.on_outcomes(reported, given),
            Input::Baselines(created) => self.on_baselines(created, caller),
            Input::Tick => {}
        }
        if !is_stale {
            self.reconcile(given, caller);
        }
        self.request_baselines(given, caller);
        if *self == before {
            StepOutcome::Unchanged
        } else {
            StepOutcome::Changed
        }
    }

    /// Time of the last known change of the endpoint or of its desired state.
    fn changed_at(&self) -> Timestamp {
        let open = self.experiment.iter();
        let open = open.flat_map(|open| [Some(open.since), open.step_since, open.issued_at]);
        let ended = self.ended.last().map(|ended| ended.ended_at);
        open.flatten().chain(ended).max().unwrap_or(Timestamp::MIN)
    }

    /// Correlation ID of the open experiment; otherwise of the latest ended one.
    pub fn correlation_id(&self) -> Option<&str> {
        let ended = self.ended.last().map(|ended| &ended.experiment);
        self.experiment.as_ref().or(ended)?.correlation_id.as_deref()
    }

    /// Records the outcome of an executed effect.
    pub fn record_outcome(&mut self, effect: &ExperimentEffect, record_outcome: EffectOutcome) {
        let Some(open) = &mut self.experiment else { return };
        match (effect, record_outcome) {
            (ExperimentEffect::CreateEndpointConfig { name, .. }, EffectOutcome::Done) => {
                // Effects of an earlier experiment do not count.
                let is_current = [open.test_config(), open.final_config()].contains(name);
                if is_current && !open.prepared.contains(name) {
                    open.prepared.push(name.clone());
                }
            }
            (ExperimentEffect::UpdateEndpoint { .. }, EffectOutcome::Accepted(at)) => open.issued_at = Some(at),
            (
                ExperimentEffect::CreateEndpointConfig { .. }
                | ExperimentEffect::UpdateEndpoint { .. }
                | ExperimentEffect::UpdateWeights { .. },
                EffectOutcome::Rejected(why),
            ) => {
                open.failures += 1;
                open.refused = Some(why);
            }
            _ => {}
        }
    }

    fn on_candidate(&mut self, candidate: &Candidate, given: StepContext<'_>, caller: &Caller) {
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
        if let Some(why) = Self::gate_failure(package, champion.as_ref(), given.policy) {
            self.end(Conclusion::Rejected, &why, given, caller);
        }
    }

    /// Reason why the offline gate rejects a model package. `None` if it passes.
    fn gate_failure(
        package: &ModelPackage,
        champion: Option<&ModelPackage>,
        policy: &PromotionPolicy,
    ) -> Option<String> {
        let gate = policy.gate.as_ref()?;
        let Some(metric) = package.metric else {
            return Some(format!(
                "its model quality report has no number at `{}`, which the offline gate requires",
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
                "its `{}` is {metric}, the champion's is {known}: {worse_by:.4} worse; the allowed difference is {}",
                gate.metric, gate.worse_by
            )
        })
    }

    fn open(
        &mut self,
        package: &ModelPackage,
        correlation_id: Option<String>,
        given: StepContext<'_>,
        caller: &Caller,
    ) {
        self.experiments += 1;
        let number = self.experiments;
        let id = format!("{}-ab-{number}", self.model);
        let mut token = hex::encode(Sha256::digest(format!("driftwarden/experiment/{id}/{}", package.arn)));
        token.truncate(8);
        let correlation_id = correlation_id.unwrap_or_else(|| machine::correlation_id("model-package", &package.arn));
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
            added_up_to: BTreeMap::new(),
            counted_at: None,
            prepared: Vec::new(),
            issued_at: None,
            failures: 0,
            refused: None,
            changes: 0,
            baselines: Baselines::default(),
            token,
            rest: Map::new(),
        });
        let why = if approved {
            "the candidate is being deployed next to the champion"
        } else {
            "its model package is pending approval"
        };
        self.publish_change(why, given, caller);
    }

    fn on_approval_status(&mut self, status: &str, given: StepContext<'_>, caller: &Caller) {
        let Some(open) = &mut self.experiment else { return };
        if open.package.approval_status == status {
            return;
        }
        status.clone_into(&mut open.package.approval_status);
        match status {
            "Approved" => self.transition(Cause::Approved, "its model package was approved", given, caller),
            "Rejected" if open.stage == ExperimentStage::AwaitingApproval => {
                self.end(Conclusion::Rejected, "its model package was rejected", given, caller);
            }
            "Rejected" => self.conclude(Conclusion::Rejected, "its model package was rejected", given, caller),
            _ => {}
        }
    }

    fn on_command(&mut self, command: &ExperimentCommand, given: StepContext<'_>, caller: &Caller) {
        let Some(open) = self.experiment.as_ref().filter(|open| open.id == command.experiment_id) else {
            return;
        };
        // A late or repeated delivery, after the command or something else changed the stage.
        if command.stage_since.is_some_and(|since| since != open.since) {
            return;
        }
        let reason = command
            .reason
            .as_ref()
            .map_or_else(String::new, |reason| format!(": {reason}"));
        let why = format!("{} by {}{reason}", command.order.as_str(), command.by);
        match command.order {
            Order::Promote => self.promote(&why, given, caller),
            Order::Resume => self.transition(Cause::Resume, &why, given, caller),
            Order::Stop | Order::Rollback if open.stage == ExperimentStage::AwaitingApproval => {
                self.end(Conclusion::Stopped, &why, given, caller);
            }
            Order::Stop => self.conclude(Conclusion::Stopped, &why, given, caller),
            Order::Rollback => self.conclude(Conclusion::RolledBack, &why, given, caller),
        }
    }

    fn on_outcomes(&mut self, reported: &OutcomesReported, given: StepContext<'_>) {
        let Some(open) = &mut self.experiment else { return };
        let counts = open.count_start().is_some_and(|since| reported.period_start >= since);
        let is_compared = open
            .compared_variants()
            .is_some_and(|(champion, candidate)| [champion, candidate].contains(&reported.variant_name));
        if !counts || !is_compared || reported.metric != given.policy.metric.name() {
            return;
        }
        let added_up_to = open.added_up_to.get(&reported.variant_name);
        if added_up_to.is_some_and(|until| reported.period_start <= *until) {
            return;
        }
        let periods = open.reported.entry(reported.variant_name.clone()).or_default();
        if periods
            .get(&reported.period_start)
            .is_none_or(|known| known.time < reported.time)
        {
            let counted = PeriodOutcomes {
                outcomes: reported.outcomes,
                time: reported.time,
            };
            periods.insert(reported.period_start, counted);
        }
        if periods.len() > MAX_REPORTED_PERIODS
            && let Some((_, oldest)) = periods.pop_first()
            && let Some(mut next) = periods.first_entry()
        {
            let sum = next.get().outcomes.and(oldest.outcomes);
            next.get_mut().outcomes = sum;
            open.added_up_to.insert(reported.variant_name.clone(), *next.key());
        }
    }

    /// Compares the desired with the observed endpoint, and continues the experiment by at most one change of the endpoint.
    fn reconcile(&mut self, given: StepContext<'_>, caller: &Caller) {
        if given.policy.mode == Mode::Off {
            self.stop_if_turned_off(given, caller);
        }
        let Some(open) = &mut self.experiment else { return };
        open.waits_for = None;
        if open.stage == ExperimentStage::AwaitingApproval {
            open.waits_for = Some("approval of its model package".to_owned());
            return;
        }
        let Some(seen) = given.endpoint else {
            open.waits_for = Some(format!("endpoint `{}`, which does not exist", open.endpoint));
            return;
        };
        if seen.status != EndpointStatus::InService {
            open.waits_for = Some(match (seen.status, open.issued_at) {
                (EndpointStatus::Broken, _) => format!("endpoint `{}`, which is not in service", open.endpoint),
                (_, Some(_)) => "the endpoint update".to_owned(),
                (_, None) => "an endpoint update that was started outside Driftwarden".to_owned(),
            });
            return;
        }
        if open.base.is_none() {
            open.base = Some(OriginalEndpoint {
                config: seen.config.clone(),
                variants: seen.variants.clone(),
            });
        }
        let own = [open.test_config(), open.final_config()];
        let base = open.base.as_ref().map(|base| base.config.as_str());
        if base != Some(seen.config.as_str()) && !own.contains(&seen.config) {
            let why = changed_outside(&seen.config);
            open.conclusion = Some(Conclusion::Abandoned);
            self.transition(Cause::Changed, &why, given, caller);
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

    /// Stops the experiment if the policy turned promotion off. A candidate that already gets all traffic stays.
    fn stop_if_turned_off(&mut self, given: StepContext<'_>, caller: &Caller) {
        let Some(open) = &self.experiment else { return };
        let why = "promotion was turned off in the policy";
        match open.stage {
            ExperimentStage::AwaitingApproval => self.end(Conclusion::Stopped, why, given, caller),
            ExperimentStage::Preparing | ExperimentStage::Testing | ExperimentStage::Paused => {
                self.conclude(Conclusion::Stopped, why, given, caller);
            }
            _ => {}
        }
    }

    fn prepare(&mut self, seen: &Endpoint, given: StepContext<'_>, caller: &Caller) {
        let Some(open) = &mut self.experiment else { return };
        let test = open.test_config();
        if seen.config != test {
            let others = open.mode != Mode::BlueGreen;
            let weights = match open.mode {
                Mode::Variants => open.weights(given.policy),
                _ => BTreeMap::new(),
            };
            self.move_to(&test, weights, others, seen, given, caller);
            return;
        }
        (open.issued_at, open.failures, open.refused) = (None, 0, None);
        if open.mode == Mode::BlueGreen {
            open.conclusion = Some(Conclusion::Promoted);
            self.transition(Cause::Baked, "the blue/green deployment is complete", given, caller);
        } else {
            open.started_at = Some(caller.now);
            open.step_since = None;
            self.transition(Cause::InService, "champion and candidate are in service", given, caller);
        }
    }

    /// Moves the endpoint to a configuration of the experiment: creates the configuration, then updates the endpoint. Counts
    /// failures.
    fn move_to(
        &mut self,
        config: &str,
        weights: BTreeMap<String, f64>,
        others: bool,
        seen: &Endpoint,
        given: StepContext<'_>,
        caller: &Caller,
    ) {
        let Some(open) = &mut self.experiment else { return };
        let Some(base) = &open.base else { return };
        if let Some(why) = open.refused.take_if(|_| open.failures >= MAX_UPDATE_ATTEMPTS)
            && open.stage == ExperimentStage::Preparing
        {
            open.conclusion = Some(Conclusion::Failed);
            let why = format!("SageMaker rejected the deployment of the candidate: {why}");
            self.transition(Cause::Failed, &why, given, caller);
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
            self.outbox.enqueue(format!("create/{config}"), effect, caller);
            return;
        }
        if self.update_failed(seen, given, caller) {
            return;
        }
        self.update(config, seen, given, caller);
    }

    /// Whether the last update of the endpoint failed permanently.
    fn update_failed(&mut self, seen: &Endpoint, given: StepContext<'_>, caller: &Caller) -> bool {
        let Some(open) = &mut self.experiment else { return true };
        if open.issued_at.is_none_or(|issued| seen.at <= issued) {
            return false;
        }
        // SageMaker accepted the update, and the endpoint is in service with another configuration: the update was rolled back.
        open.issued_at = None;
        open.failures += 1;
        let settles = matches!(open.stage, ExperimentStage::Retiring | ExperimentStage::RollingBack);
        let reason = seen
            .failure_reason
            .clone()
            .unwrap_or_else(|| "SageMaker gave no reason".to_owned());
        if settles || (open.failures < MAX_UPDATE_ATTEMPTS && open.mode != Mode::BlueGreen) {
            return false;
        }
        open.conclusion = Some(if open.mode == Mode::BlueGreen {
            Conclusion::RolledBack
        } else {
            Conclusion::Failed
        });
        let why = format!("the endpoint update failed: {reason}");
        self.transition(Cause::Failed, &why, given, caller);
        true
    }

    fn update(&mut self, config: &str, seen: &Endpoint, given: StepContext<'_>, caller: &Caller) {
        let Some(open) = &mut self.experiment else { return };
        let blue_green = open.mode == Mode::BlueGreen && open.stage == ExperimentStage::Preparing;
        let effect = ExperimentEffect::UpdateEndpoint {
            endpoint: open.endpoint.clone(),
            from: seen.config.clone(),
            to: config.to_owned(),
            blue_green: blue_green.then(|| BlueGreen::from_policy(given.policy)),
        };
        open.waits_for = Some(if open.failures > 0 {
            format!("the endpoint update (failed attempts: {})", open.failures)
        } else {
            "the endpoint update".to_owned()
        });
        // An update in progress is not repeated. After it has ended, it can be ordered again.
        if open.issued_at.is_none() {
            self.outbox.enqueue(format!("update/{config}"), effect, caller);
        }
    }

    /// Returns whether the endpoint has the desired weights; if not, orders them.
    fn ensure_weights(&mut self, seen: &Endpoint, given: StepContext<'_>, caller: &Caller) -> bool {
        let Some(open) = &mut self.experiment else { return false };
        let weights = open.weights(given.policy);
        if seen.config != open.test_config() || has_weights(seen, &weights) {
            return true;
        }
        open.waits_for = Some("the new variant weights".to_owned());
        // Withdraw weight updates of an interrupted invocation; they would overwrite these.
        let unwanted = |effect: &ExperimentEffect| matches!(effect, ExperimentEffect::UpdateWeights { weights: others, .. } if *others != weights);
        if self.outbox.withdraw(unwanted, caller) {
            return false;
        }
        let id = format!("{}/{}/{}", open.effect_id("weights"), open.stage.as_str(), open.step);
        let effect = ExperimentEffect::UpdateWeights {
            endpoint: open.endpoint.clone(),
            config: open.test_config(),
            weights,
        };
        self.outbox.enqueue(id, effect, caller);
        false
    }

    fn test(&mut self, seen: &Endpoint, given: StepContext<'_>, caller: &Caller) {
        let Some(open) = &mut self.experiment else { return };
        if seen.config != open.test_config() {
            open.conclusion = Some(Conclusion::Abandoned);
            let why = changed_back_outside(&seen.config);
            self.transition(Cause::Changed, &why, given, caller);
            return;
        }
        let paused = open.stage == ExperimentStage::Paused;
        let as_set = has_weights(seen, &open.weights(given.policy));
        let step_since = open.step_since;
        match step_since {
            None if !self.ensure_weights(seen, given, caller) => return,
            Some(_) if !paused && !as_set => {
                let why = "the variant weights were changed outside Driftwarden";
                self.transition(Cause::Pause, why, given, caller);
                return;
            }
            _ => {}
        }
        let Some(open) = &mut self.experiment else { return };
        if open.step_since.is_none() {
            open.step_since = Some(caller.now);
            return;
        }
        let Some(verdict) = self.take_look(given, caller) else {
            return;
        };
        self.act(&verdict, paused, given, caller);
    }

    /// Makes a look at the evidence and records it. `None` without evidence of this step.
    fn take_look(&mut self, given: StepContext<'_>, caller: &Caller) -> Option<Verdict> {
        let open = self.experiment.as_mut()?;
        let evidence = given.evidence.filter(|evidence| evidence.since == open.step_since)?;
        let (champion, candidate) = open.compared_variants()?;
        if let Some(why) = &evidence.outcome_error {
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
                        .find(|(name, _)| *name == variant)
                        .map_or_else(Sample::default, |known| known.1);
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
        let expires_at = open.started_at.and_then(|start| start.checked_add(lasts).ok());
        let (champion, candidate) = (outcomes(&champion), outcomes(&candidate));
        let steps = u32::try_from(given.policy.steps()).unwrap_or(u32::MAX);
        open.allocate(given.policy, &champion, &candidate);
        // Each step is a separate test.
        let rule = given.policy.rule().for_tests(steps);
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
                expired: expires_at.is_some_and(|at| caller.now >= at),
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
        let is_new = open.looks.last().is_none_or(|last| {
            (&last.champion, &last.candidate, last.outcome) != (&champion, &candidate, look.outcome)
        });
        if is_new {
            open.looks.push(look);
        }
        if open.looks.len() > MAX_LOOKS {
            drop_every_second(&mut open.looks);
        }
        open.reasons.clone_from(&verdict.reasons);
        Some(verdict)
    }

    fn act(&mut self, verdict: &Verdict, paused: bool, given: StepContext<'_>, caller: &Caller) {
        let Some(open) = &mut self.experiment else { return };
        let why = verdict
            .reasons
            .iter()
            .map(Reason::describe)
            .collect::<Vec<_>>()
            .join("; ");
        let last = open.step + 1 >= given.policy.steps();
        // Reading the evidence can take long: it counts for the time at which reading started.
        let observed_at = given.endpoint.map_or(caller.now, |seen| seen.at);
        let step_ended = open
            .step_since
            .and_then(|since| since.checked_add(given.policy.step_lasts).ok())
            .is_some_and(|end| observed_at >= end);
        match verdict.outcome {
            Outcome::RollBack => self.conclude(Conclusion::RolledBack, &why, given, caller),
            Outcome::Invalid => self.conclude(Conclusion::Invalid, &why, given, caller),
            // An operator decides or resumes.
            _ if paused => {}
            // Guardrails need several periods of data. Until then, outcomes alone do not promote.
            Outcome::Promote if last && step_ended => self.promote(&why, given, caller),
            Outcome::Inconclusive => match given.policy.inconclusive {
                Inconclusive::Pause => self.transition(Cause::Pause, &why, given, caller),
                Inconclusive::RollBack => self.conclude(Conclusion::Inconclusive, &why, given, caller),
                Inconclusive::Promote => self.promote(&why, given, caller),
            },
            Outcome::Promote | Outcome::Continue if !last && step_ended => {
                open.step += 1;
                (open.step_since, open.counted_at) = (None, None);
                // Outcomes at different traffic shares are not added up: traffic also differs by hour, which would bias the
                // sum.
                open.clear_reported();
                self.publish_change("the next traffic step starts", given, caller);
                if let Some(seen) = given.endpoint {
                    self.ensure_weights(seen, given, caller);
                }
            }
            Outcome::Promote | Outcome::Continue => {}
        }
    }

    fn promote(&mut self, why: &str, given: StepContext<'_>, caller: &Caller) {
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
        self.transition(cause, why, given, caller);
        if let Some(seen) = given.endpoint {
            self.ensure_weights(seen, given, caller);
        }
    }

    fn bake(&mut self, seen: &Endpoint, given: StepContext<'_>, caller: &Caller) {
        let Some(open) = &mut self.experiment else { return };
        if seen.config != open.test_config() {
            open.conclusion = Some(Conclusion::Abandoned);
            let why = changed_outside(&seen.config);
            self.transition(Cause::Changed, &why, given, caller);
            return;
        }
        if open.stage == ExperimentStage::Promoting {
            if self.ensure_weights(seen, given, caller)
                && let Some(open) = &mut self.experiment
            {
                open.step_since = Some(caller.now);
                self.transition(
                    Cause::AllTraffic,
                    "the candidate gets 100% of the traffic",
                    given,
                    caller,
                );
            }
            return;
        }
        let (champion, candidate) = open.compared_variants().unwrap_or_default();
        let evidence = given.evidence.filter(|evidence| evidence.since == open.step_since);
        let breached = evidence.map(|evidence| {
            // The previous champion gets no requests: only guardrails with a limit can be evaluated.
            let mut guardrails = guardrails(evidence, given.policy, &champion, &candidate);
            guardrails.retain(|guardrail| guardrail.limit.is_some());
            let look = experiment::Look {
                champion: Sample::default(),
                challenger: Sample::default(),
                traffic: &[],
                guardrails: &guardrails,
                expired: false,
            };
            judge(&given.policy.rule(), &look)
        });
        if let Some(verdict) = breached.filter(|verdict| verdict.outcome == Outcome::RollBack) {
            let why = verdict
                .reasons
                .iter()
                .map(Reason::describe)
                .collect::<Vec<_>>()
                .join("; ");
            open.reasons = verdict.reasons;
            self.conclude(Conclusion::RolledBack, &why, given, caller);
            return;
        }
        let baked = open
            .since
            .checked_add(given.policy.bake)
            .is_ok_and(|end| seen.at >= end);
        if baked {
            self.transition(Cause::Baked, "the bake period has ended", given, caller);
        }
    }

    fn retire(&mut self, seen: &Endpoint, given: StepContext<'_>, caller: &Caller) {
        let Some(open) = &mut self.experiment else { return };
        let last = open.final_config();
        if open.base.as_ref().is_some_and(|base| base.config == seen.config) {
            open.conclusion = Some(Conclusion::Abandoned);
            let why = changed_back_outside(&seen.config);
            self.transition(Cause::Changed, &why, given, caller);
            return;
        }
        if seen.config != last {
            self.move_to(&last, BTreeMap::new(), false, seen, given, caller);
            return;
        }
        let test = open.test_config();
        if test != last {
            let effect = ExperimentEffect::DeleteEndpointConfig { name: test.clone() };
            self.outbox.enqueue(format!("delete/{test}"), effect, caller);
        }
        self.transition(
            Cause::Settled,
            "the previous champion was removed from the endpoint",
            given,
            caller,
        );
    }

    fn roll_back(&mut self, seen: &Endpoint, given: StepContext<'_>, caller: &Caller) {
        let Some(open) = &mut self.experiment else { return };
        let Some(base) = open.base.clone() else { return };
        // Withdraw effects that would deploy the candidate. If another invocation is executing one, wait for it.
        let unwanted = |effect: &ExperimentEffect| match effect {
            ExperimentEffect::CreateEndpointConfig { .. } => true,
            ExperimentEffect::UpdateEndpoint { to, .. } => *to != base.config,
            _ => false,
        };
        if self.outbox.withdraw(unwanted, caller) {
            open.waits_for = Some("an endpoint update that is in progress".to_owned());
            return;
        }
        if seen.config == base.config {
            self.clean_up(caller);
            self.transition(Cause::Settled, "the champion gets 100% of the traffic", given, caller);
            return;
        }
        // Weights change within seconds, configurations within minutes: set the weights first.
        if self.ensure_weights(seen, given, caller) && !self.update_failed(seen, given, caller) {
            self.update(&base.config, seen, given, caller);
        }
    }

    /// Enqueues the deletion of the resources of a candidate that is not promoted.
    fn clean_up(&mut self, caller: &Caller) {
        let Some(open) = &self.experiment else { return };
        let (test, model) = (open.test_config(), open.model_name());
        let effect = ExperimentEffect::DeleteEndpointConfig { name: test.clone() };
        self.outbox.enqueue(format!("delete/{test}"), effect, caller);
        let effect = ExperimentEffect::DeleteModel { name: model.clone() };
        self.outbox.enqueue(format!("delete/{model}"), effect, caller);
    }

    /// Requests baselines for a candidate that gets all traffic, and repeats the request until it is answered.
    fn request_baselines(&mut self, given: StepContext<'_>, caller: &Caller) {
        let (Some(open), Some(policy)) = (&mut self.experiment, &given.policy.baselines) else {
            return;
        };
        let alone = matches!(open.stage, ExperimentStage::Baking | ExperimentStage::Retiring);
        let is_waiting = open.baselines.requested_at.is_some_and(|at| {
            let repeat_at = at.checked_add(BASELINE_TIMEOUT).unwrap_or(Timestamp::MAX);
            caller.now < repeat_at || open.baselines.requests >= MAX_BASELINE_REQUESTS
        });
        let Some(monitors) = given
            .monitors
            .filter(|_| alone && !open.baselines.answered && !is_waiting)
        else {
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
            .enqueue(id, ExperimentEffect::RequestBaselines(Box::new(request)), caller);
    }

    /// Changes the monitors of a promoted model to its new baselines.
    fn on_baselines(&mut self, created: &BaselinesCreated, caller: &Caller) {
        let ended = self.ended.iter_mut().rev();
        let mut promoted = ended.filter(|ended| ended.conclusion == Conclusion::Promoted);
        // Of the ended experiments, only the candidate of the last promotion still serves.
        let served = promoted.next().map(|ended| &mut ended.experiment);
        let mut experiments = self.experiment.as_mut().into_iter().chain(served);
        let Some(experiment) = experiments.find(|experiment| experiment.id == created.experiment_id) else {
            return;
        };
        let rolls_back = matches!(experiment.stage, ExperimentStage::RollingBack);
        if experiment.baselines.answered || rolls_back || experiment.package.arn != created.model_package_arn {
            return;
        }
        experiment.baselines.answered = true;
        experiment.baselines.not_created.clone_from(&created.not_created);
        let mut effects = Vec::new();
        for monitor in &created.baselines {
            let before = experiment.baselines.before.iter();
            let mut before = before.filter(|before| before.monitoring_schedule == monitor.monitoring_schedule);
            let Some(before) = before
                .next()
                .filter(|before| before.baseline_uri != monitor.baseline_uri)
            else {
                continue;
            };
            experiment.baselines.changed.push(monitor.clone());
            let package = Some(created.model_package_arn.as_str());
            effects.extend(baseline_change(
                &self.model,
                experiment,
                before,
                monitor,
                package,
                caller,
            ));
        }
        for (id, effect) in effects {
            self.outbox.enqueue(id, effect, caller);
        }
    }

    /// Restores the previous baselines of the monitors.
    fn restore_baselines(&mut self, caller: &Caller) {
        let Some(open) = &mut self.experiment else { return };
        let changed = std::mem::take(&mut open.baselines.changed);
        for monitor in &changed {
            let mut before = open.baselines.before.iter();
            let before = before.find(|before| before.monitoring_schedule == monitor.monitoring_schedule);
            let restored = before.and_then(|before| baseline_change(&self.model, open, monitor, before, None, caller));
            if let Some((id, effect)) = restored {
                self.outbox.enqueue(id, effect, caller);
            }
        }
    }

    /// Concludes for the champion and rolls the endpoint back.
    fn conclude(&mut self, conclusion: Conclusion, why: &str, given: StepContext<'_>, caller: &Caller) {
        let Some(open) = &mut self.experiment else { return };
        if open.stage.after(Cause::RollBack).is_none() {
            return;
        }
        open.conclusion = Some(conclusion);
        open.issued_at = None;
        self.restore_baselines(caller);
        self.transition(Cause::RollBack, why, given, caller);
        if let Some(seen) = given.endpoint.filter(|seen| seen.status == EndpointStatus::InService) {
            self.ensure_weights(seen, given, caller);
        }
    }

    /// Ends an experiment that has not changed the endpoint.
    fn end(&mut self, conclusion: Conclusion, why: &str, given: StepContext<'_>, caller: &Caller) {
        let Some(open) = &mut self.experiment else { return };
        open.conclusion = Some(conclusion);
        open.stage = ExperimentStage::Ended;
        self.publish_change(why, given, caller);
        self.close(caller);
    }

    /// Makes a transition and publishes it. Does nothing if the cause has no effect in the current stage.
    fn transition(&mut self, cause: Cause, why: &str, given: StepContext<'_>, caller: &Caller) {
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
            // The weights may have changed meanwhile, and the maximum duration restarts.
            open.started_at = Some(caller.now);
            (open.step_since, open.counted_at) = (None, None);
            open.clear_reported();
        }
        if cause == Cause::Failed {
            self.clean_up(caller);
        }
        self.publish_change(why, given, caller);
        if stage == ExperimentStage::Ended {
            self.close(caller);
        }
    }

    fn close(&mut self, caller: &Caller) {
        let Some(mut experiment) = self.experiment.take() else {
            return;
        };
        experiment.clear_reported();
        while experiment.looks.len() > MAX_ENDED_LOOKS {
            drop_every_second(&mut experiment.looks);
        }
        self.ended.push(Ended {
            conclusion: experiment.conclusion.unwrap_or(Conclusion::Failed),
            experiment,
            ended_at: caller.now,
        });
        if self.ended.len() > MAX_ENDED_EXPERIMENTS {
            self.ended.remove(0);
        }
    }

    /// Enqueues an `Experiment State Change`.
    fn publish_change(&mut self, why: &str, given: StepContext<'_>, caller: &Caller) {
        let Some(open) = &mut self.experiment else { return };
        open.changes += 1;
        let weights = open.weights(given.policy);
        let last = open.looks.last();
        let compared = open.compared_variants();
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
            .map_or_else(String::new, |share| format!(", traffic share {share}%"));
        let decided = open.decided.as_deref().filter(|decided| {
            let ended = open.stage == ExperimentStage::Ended;
            ended && *decided != why
        });
        let why = decided.map_or_else(|| why.to_owned(), |decided| format!("{decided}; {why}"));
        open.sentence = format!(
            "Experiment {} of `{}` is {what}: candidate {} on endpoint `{}`{traffic}. Reason: {}.",
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
            .enqueue(id, ExperimentEffect::PutStateChange(Box::new(change)), caller);
    }
}

/// Effect that changes the baseline of a monitor: to that of a model package, or back to the previous one. `None` if the new
/// baseline is unknown.
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
        Some(arn) => ("set", format!("the baseline of model package {arn}")),
        None => ("restored", "its previous baseline".to_owned()),
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
        sentence: format!("Monitor `{schedule}` of `{model}` now uses {how}: {uri}. Its alert window restarts."),
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

/// Guardrails with the values of both variants.
fn guardrails(evidence: &Evidence, policy: &PromotionPolicy, champion: &str, candidate: &str) -> Vec<Guardrail> {
    let with_values = |(guardrail, seen): (&crate::GuardrailPolicy, &BTreeMap<String, Sample>)| {
        let sample = |variant: &str| seen.get(variant).copied().unwrap_or_default();
        // Latencies are logarithms: a relative margin is a difference of logarithms.
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
    policy
        .guardrails
        .iter()
        .zip(&evidence.guardrails)
        .map(with_values)
        .collect()
}

/// Drops every second look, but neither the first nor the last one.
fn drop_every_second(looks: &mut Vec<Look>) {
    let last = looks.len().saturating_sub(1);
    let mut at = 0;
    looks.retain(|_| {
        let is_kept = at % 2 == 0 || at == last;
        at += 1;
        is_kept
    });
}

impl OutboxDocument for ExperimentDocument {
    type Effect = ExperimentEffect;
    type Done = EffectOutcome;

    fn outbox(&mut self) -> &mut Outbox<ExperimentEffect> {
        &mut self.outbox
    }

    fn note_given_up(&mut self, given_up: GivenUp) {
        given_up.record(&mut self.given_up);
    }

    fn note(&mut self, effect: &ExperimentEffect, record_outcome: EffectOutcome) {
        self.record_outcome(effect, record_outcome);
    }
}
