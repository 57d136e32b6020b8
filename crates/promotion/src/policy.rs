//! Promotion settings of a policy.

use experiment::Plan;
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

/// How a candidate is deployed to the endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Driftwarden does not deploy candidates. The retraining pipeline, or another process, does.
    #[default]
    Off,
    /// A second production variant whose traffic share grows in steps.
    Variants,
    /// A shadow variant, which gets copies of the requests.
    Shadow,
    /// SageMaker's deployment guardrails: blue/green with canary or linear traffic shifting, rolled back by alarms. The
    /// variants are not compared.
    BlueGreen,
}

impl Mode {
    /// Name in the policy.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Variants => "variants",
            Self::Shadow => "shadow",
            Self::BlueGreen => "blue-green",
        }
    }
}

/// What to do with a candidate if the comparison is inconclusive after the maximum duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Inconclusive {
    /// Pause until an operator decides.
    #[default]
    Pause,
    /// Roll back: the champion stays.
    RollBack,
    /// Promote the candidate: it was trained on newer data.
    Promote,
}

impl Inconclusive {
    /// Name in the policy.
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
    /// SageMaker assigns requests by the variant weights.
    #[default]
    Weights,
    /// The caller assigns requests with `TargetVariant`. The traffic shares are then not compared with the weights.
    TargetVariant,
}

impl Assignment {
    /// Name in the policy.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Weights => "weights",
            Self::TargetVariant => "target-variant",
        }
    }
}

/// How the share of each variant is determined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum AllocationPolicy {
    /// By the traffic steps.
    #[default]
    Steps,
    /// By Thompson sampling of the outcomes so far. The application that assigns users reads [`crate::Experiment::allocation`].
    Thompson,
}

impl AllocationPolicy {
    /// Name in the policy.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Steps => "steps",
            Self::Thompson => "thompson",
        }
    }
}

/// Metric by which the variants are compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Metric {
    /// Share of predictions that match the ground truth.
    Accuracy,
    /// Absolute difference between prediction and ground truth.
    AbsoluteError,
    /// Squared difference between prediction and ground truth.
    SquaredError,
    /// A custom metric, reported by events or read from CloudWatch.
    Custom {
        /// Name of the metric.
        name: String,
        /// Whether a lower value is better.
        lower_is_better: bool,
    },
}

impl Metric {
    /// Name in policies and events.
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

/// Offline gate: compares a metric in the model quality reports of the candidate's and the champion's model packages.
#[derive(Debug, Clone, PartialEq)]
pub struct Gate {
    /// JSON pointer into the report at `ModelMetrics.ModelQuality.Statistics`.
    pub metric: String,
    /// Whether a lower value is better.
    pub lower_is_better: bool,
    /// Allowed difference by which the candidate may be worse.
    pub worse_by: f64,
}

/// `CloudWatch` metric of a variant that a guardrail limits (*Monitoring SageMaker with CloudWatch* in the developer guide).
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
    /// `Invocation4XXErrors` as a share of `Invocations`.
    #[serde(rename = "errors_4xx")]
    Errors4xx,
    /// `Invocation5XXErrors` as a share of `Invocations`.
    #[serde(rename = "errors_5xx")]
    Errors5xx,
    /// `InvocationModelErrors` as a share of `Invocations`.
    #[serde(rename = "model_errors")]
    ModelErrors,
}

impl GuardrailMetric {
    /// All guardrail metrics.
    pub const ALL: [Self; 6] = [
        Self::LatencyP50,
        Self::LatencyP90,
        Self::LatencyP99,
        Self::Errors4xx,
        Self::Errors5xx,
        Self::ModelErrors,
    ];

    /// Guardrail metric with this name. `None` if there is no such metric.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|metric| metric.as_str() == name)
    }

    /// Name in policies and events.
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

    /// Name of the `CloudWatch` metric, and the statistic.
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

    /// Whether the metric is a latency. Latencies are compared by their logarithms, so margins are relative.
    pub fn is_latency(self) -> bool {
        matches!(self, Self::LatencyP50 | Self::LatencyP90 | Self::LatencyP99)
    }
}

/// Settings of one guardrail.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GuardrailPolicy {
    /// The limited metric.
    pub metric: GuardrailMetric,
    /// How much worse than the champion the candidate may be. For latencies, relative: 0.2 is 20% slower. For errors, as a
    /// share of the requests: 0.01 is one percentage point more.
    pub margin: f64,
    /// Absolute limit for the candidate, independent of the champion: microseconds, or a share of the requests. `None` sets no
    /// limit.
    pub limit: Option<f64>,
}

/// Sources of captured data and ground truth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capture {
    /// `s3://` URI of the endpoint's data capture folder, which contains `{variant}/yyyy/mm/dd/hh`.
    pub data: String,
    /// `s3://` URI of the ground truth, in hourly folders.
    pub ground_truth: String,
    /// `s3://` URI of `analysis_config.json`, which names the label and prediction columns.
    pub config: String,
}

/// A custom `CloudWatch` metric with the dimensions `EndpointName` and `VariantName`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloudWatchMetric {
    /// Namespace of the metric.
    pub namespace: String,
    /// Name of the metric.
    pub metric_name: String,
    /// Whether all values are 0 or 1, so that sum and sample count are sufficient. Otherwise the average of each period is one
    /// value.
    pub proportion: bool,
}

/// Baselines for the monitors of a promoted model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaselinesPolicy {
    /// `s3://` URI of the folder for baselines. Each version of the model package group gets a subfolder.
    pub output: String,
    /// `s3://` URI of the training dataset, with the placeholder `{version}` for the version of the model package.
    pub training_data: Option<String>,
}

/// Effective promotion settings of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct PromotionPolicy {
    /// How a candidate is deployed to the endpoint.
    pub mode: Mode,
    /// Name of the endpoint.
    pub endpoint: String,
    /// Name of the model package group whose new versions are candidates.
    pub model_package_group: String,
    /// Whether model packages are tested without approval.
    pub unapproved: bool,
    /// Time after a retraining within which its model package must be registered.
    pub candidate_within: SignedDuration,
    /// The offline gate. `None` tests every candidate.
    pub gate: Option<Gate>,
    /// Traffic share of the candidate in each step, in percent.
    pub traffic: Vec<f64>,
    /// Minimum duration of a step.
    pub step_lasts: SignedDuration,
    /// Bake period: time that the previous champion stays ready after a promotion.
    pub bake: SignedDuration,
    /// Maximum duration of an experiment.
    pub maximum_duration: SignedDuration,
    /// What to do if the comparison is inconclusive after the maximum duration.
    pub inconclusive: Inconclusive,
    /// Metric by which the variants are compared.
    pub metric: Metric,
    /// Accepted probability of a false alarm over all looks.
    pub alpha: f64,
    /// Smallest difference that matters.
    pub effect: f64,
    /// Non-inferiority margin: how much worse the candidate may be. `None` promotes only a better candidate.
    pub margin: Option<f64>,
    /// Minimum number of outcomes per variant before a comparison.
    pub minimum_sample: u64,
    /// Guardrails, checked at every look.
    pub guardrails: Vec<GuardrailPolicy>,
    /// CloudWatch alarms that roll a blue/green deployment back.
    pub alarms: Vec<String>,
    /// Who assigns requests to variants.
    pub assignment: Assignment,
    /// How the share of each variant is determined.
    pub allocation: AllocationPolicy,
    /// Period of the `CloudWatch` metrics for guardrails.
    pub metrics_period: SignedDuration,
    /// Sources of outcomes for the built-in metrics.
    pub capture: Option<Capture>,
    /// Source of outcomes for a custom metric in `CloudWatch`.
    pub cloudwatch: Option<CloudWatchMetric>,
    /// New baselines for the monitors after a promotion. `None` keeps the current baselines.
    pub baselines: Option<BaselinesPolicy>,
}

impl PromotionPolicy {
    /// Number of steps of the experiment. Each step is a separate test.
    pub(crate) fn steps(&self) -> usize {
        match (self.mode, self.allocation) {
            (Mode::Variants, AllocationPolicy::Steps) => self.traffic.len(),
            _ => 1,
        }
    }

    /// Decision rule of the experiment.
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

/// Accepted probability of a false alarm of the sample ratio check, over all steps.
const RATIO_ALPHA: f64 = 0.001;

/// Information at which the confidence sequence should be narrowest, to find this effect with a power of 0.8.
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
