//! What a policy says of experiments.

use experiment::Plan;
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

/// How a candidate comes to the endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Not by Driftwarden: the retraining pipeline, or somebody else, deploys it.
    #[default]
    Off,
    /// As a second production variant, with more of the traffic step by step.
    Variants,
    /// As a shadow variant, which answers copies of the requests.
    Shadow,
    /// By SageMaker's deployment guardrails: blue/green, canary traffic, rolled back by alarms. There is nothing to compare.
    BlueGreen,
}

impl Mode {
    /// The name as written in policies.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Variants => "variants",
            Self::Shadow => "shadow",
            Self::BlueGreen => "blue-green",
        }
    }
}

/// What is done with a candidate of which nothing is certain when the time is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Inconclusive {
    /// A person decides.
    #[default]
    Pause,
    /// The champion stays.
    RollBack,
    /// The candidate takes over: it was trained on newer data.
    Promote,
}

impl Inconclusive {
    /// The name as written in policies.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::RollBack => "roll-back",
            Self::Promote => "promote",
        }
    }
}

/// Who assigns requests to variants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Assignment {
    /// SageMaker, by the weights of the variants.
    #[default]
    Weights,
    /// Whoever asks, by `TargetVariant` of the request: weights say nothing of the shares then, and are not compared with them.
    TargetVariant,
}

impl Assignment {
    /// The name as written in policies.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Weights => "weights",
            Self::TargetVariant => "target-variant",
        }
    }
}

/// How much of the traffic each variant gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum AllocationPolicy {
    /// As the steps of the traffic say.
    #[default]
    Steps,
    /// As Thompson sampling says of the outcomes so far: [`crate::Experiment::allocation`] tells whoever assigns users.
    Thompson,
}

impl AllocationPolicy {
    /// The name as written in policies.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Steps => "steps",
            Self::Thompson => "thompson",
        }
    }
}

/// By what variants are compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Metric {
    /// The share of predictions that the ground truth confirms.
    Accuracy,
    /// The absolute difference of prediction and ground truth.
    AbsoluteError,
    /// Its square.
    SquaredError,
    /// A metric of the owner's, reported by events.
    Custom {
        /// Its name.
        name: String,
        /// Whether a lower value is better.
        lower_is_better: bool,
    },
}

impl Metric {
    /// The name as written in policies and events.
    pub fn name(&self) -> &str {
        match self {
            Self::Accuracy => "accuracy",
            Self::AbsoluteError => "absolute_error",
            Self::SquaredError => "squared_error",
            Self::Custom { name, .. } => name,
        }
    }

    /// Whether a lower value is better.
    pub fn lower_is_better(&self) -> bool {
        match self {
            Self::Accuracy => false,
            Self::AbsoluteError | Self::SquaredError => true,
            Self::Custom { lower_is_better, .. } => *lower_is_better,
        }
    }
}

/// The offline gate: a metric of the model package's own report, against the champion's.
#[derive(Debug, Clone, PartialEq)]
pub struct Gate {
    /// JSON pointer into the report that `ModelMetrics.ModelQuality.Statistics` names.
    pub metric: String,
    /// Whether a lower value is better.
    pub lower_is_better: bool,
    /// How much worse the candidate may be.
    pub worse_by: f64,
}

/// What must not get worse, of `CloudWatch`'s metrics of a variant (developer guide, page `monitoring-cloudwatch`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum GuardrailMetric {
    /// `ModelLatency`, p50 of each minute.
    #[serde(rename = "latency_p50")]
    LatencyP50,
    /// `ModelLatency`, p90 of each minute.
    #[serde(rename = "latency_p90")]
    LatencyP90,
    /// `ModelLatency`, p99 of each minute.
    #[serde(rename = "latency_p99")]
    LatencyP99,
    /// `Invocation4XXErrors` of `Invocations`.
    #[serde(rename = "errors_4xx")]
    Errors4xx,
    /// `Invocation5XXErrors` of `Invocations`.
    #[serde(rename = "errors_5xx")]
    Errors5xx,
    /// `InvocationModelErrors` of `Invocations`.
    #[serde(rename = "model_errors")]
    ModelErrors,
}

impl GuardrailMetric {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::LatencyP50,
        Self::LatencyP90,
        Self::LatencyP99,
        Self::Errors4xx,
        Self::Errors5xx,
        Self::ModelErrors,
    ];

    /// The one of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|metric| metric.as_str() == name)
    }

    /// The name as written in policies and events.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::LatencyP50 => "latency_p50",
            Self::LatencyP90 => "latency_p90",
            Self::LatencyP99 => "latency_p99",
            Self::Errors4xx => "errors_4xx",
            Self::Errors5xx => "errors_5xx",
            Self::ModelErrors => "model_errors",
        }
    }

    /// Metric and statistic of `CloudWatch`.
    pub fn cloudwatch(self) -> (&'static str, &'static str) {
        match self {
            Self::LatencyP50 => ("ModelLatency", "p50"),
            Self::LatencyP90 => ("ModelLatency", "p90"),
            Self::LatencyP99 => ("ModelLatency", "p99"),
            Self::Errors4xx => ("Invocation4XXErrors", "Sum"),
            Self::Errors5xx => ("Invocation5XXErrors", "Sum"),
            Self::ModelErrors => ("InvocationModelErrors", "Sum"),
        }
    }

    /// Whether it is a time, and compared by its logarithm: by how many per cent the candidate is slower.
    pub fn is_latency(self) -> bool {
        matches!(self, Self::LatencyP50 | Self::LatencyP90 | Self::LatencyP99)
    }
}

/// One guardrail.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GuardrailPolicy {
    /// Of what.
    pub metric: GuardrailMetric,
    /// How much worse the candidate may be than the champion: a share of its latency (0.2 is a fifth slower), or of the
    /// requests (0.01 is one in a hundred more).
    pub margin: f64,
    /// What the candidate must never pass, whatever the champion does: microseconds, or a share of the requests.
    pub limit: Option<f64>,
}

/// Where outcomes by variant come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capture {
    /// `s3://` URI of data capture, up to the endpoint's folder: below it lie `{variant}/yyyy/mm/dd/hh`.
    pub data: String,
    /// `s3://` URI of ground truth, in folders by hour.
    pub ground_truth: String,
    /// `s3://` URI of `analysis_config.json`: which columns are label and prediction.
    pub config: String,
}

/// A `CloudWatch` metric of the owner's, with the dimensions `EndpointName` and `VariantName`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloudWatchMetric {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub metric_name: String,
    /// Whether its values are zeros and ones, so that sum and sample count say all. Else the average of each period is one
    /// value.
    pub proportion: bool,
}

/// Which baselines a promoted model's monitors get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaselinesPolicy {
    /// `s3://` URI of the folder in which each version of the model package group gets one of its own.
    pub output: String,
    /// `s3://` URI of what a model was trained on, with `{version}` for the version of its model package.
    pub training_data: Option<String>,
}

/// What holds for the experiments of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct PromotionPolicy {
    /// How a candidate comes to the endpoint.
    pub mode: Mode,
    /// The endpoint.
    pub endpoint: String,
    /// The model package group whose new versions are candidates.
    pub model_package_group: String,
    /// Whether a package is tested before anybody approved it.
    pub unapproved: bool,
    /// How long after a retraining its model package is waited for.
    pub candidate_within: SignedDuration,
    /// The offline gate.
    pub gate: Option<Gate>,
    /// The candidate's share of the traffic, step by step: 5 is five per cent.
    pub traffic: Vec<f64>,
    /// How long a step lasts at least.
    pub step_lasts: SignedDuration,
    /// How long the old champion stands by after the promotion.
    pub bake: SignedDuration,
    /// How long a test may last.
    pub maximum_duration: SignedDuration,
    /// What then.
    pub inconclusive: Inconclusive,
    /// By what the variants are compared.
    pub metric: Metric,
    /// The probability of a false alarm that is accepted, over all looks together.
    pub alpha: f64,
    /// The smallest difference worth finding.
    pub effect: f64,
    /// Non-inferiority: how much worse the candidate may be. Without it only a better one is promoted.
    pub margin: Option<f64>,
    /// So many outcomes of each variant are waited for.
    pub minimum_sample: u64,
    /// What must not get worse.
    pub guardrails: Vec<GuardrailPolicy>,
    /// Alarms that roll a blue/green deployment back.
    pub alarms: Vec<String>,
    /// Who assigns requests to variants.
    pub assignment: Assignment,
    /// How much each variant gets.
    pub allocation: AllocationPolicy,
    /// Over what periods the guardrails' metrics are asked of `CloudWatch`.
    pub metrics_period: SignedDuration,
    /// Where outcomes come from, of the metrics that are Driftwarden's own.
    pub capture: Option<Capture>,
    /// Where outcomes come from, of a metric of the owner's in `CloudWatch`.
    pub cloudwatch: Option<CloudWatchMetric>,
    /// The baselines of the monitors after a promotion; without it they keep theirs.
    pub baselines: Option<BaselinesPolicy>,
}

impl PromotionPolicy {
    /// Of so many steps is the test: each is one of its own.
    pub(crate) fn steps(&self) -> usize {
        match (self.mode, self.allocation) {
            (Mode::Variants, AllocationPolicy::Steps) => self.traffic.len(),
            _ => 1,
        }
    }

    /// The rule of the test.
    pub(crate) fn rule(&self) -> experiment::Rule {
        experiment::Rule {
            alpha: self.alpha,
            narrowest: narrowest(self.alpha, self.effect),
            lower_is_better: self.metric.lower_is_better(),
            margin: self.margin,
            minimum: self.minimum_sample,
            adaptive: self.allocation == AllocationPolicy::Thompson,
            ratio_alpha: RATIO_ALPHA / f64::from(u32::try_from(self.traffic.len()).unwrap_or(u32::MAX).max(1)),
        }
    }
}

/// A false alarm of the sample ratio check, over all steps.
const RATIO_ALPHA: f64 = 0.001;

/// Where a confidence sequence is best narrowest, to find such a difference with probability 0.8.
pub(crate) fn narrowest(alpha: f64, effect: f64) -> f64 {
    let plan = Plan {
        alpha,
        power: 0.8,
        effect,
        variance: 1.0,
        weights: [1.0, 1.0],
        requests_per_hour: 1.0,
    };
    plan.duration().map_or(1.0, |schedule| schedule.information)
}
