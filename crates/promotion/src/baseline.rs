//! Baselines of a promoted model: the events that request and report them, and the baseline that each monitor uses.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Detail-type of [`BaselinesRequested`].
pub const MODEL_BASELINES_REQUESTED: &str = "Model Baselines Requested";
/// Detail-type of [`BaselinesCreated`].
pub const MODEL_BASELINES_CREATED: &str = "Model Baselines Created";
/// Detail-type of [`MonitorBaselineChange`].
pub const MONITOR_BASELINE_CHANGE: &str = "Monitor Baseline Change";

/// A monitor of a model, with its baseline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct MonitorBaseline {
    /// Name of the monitoring schedule.
    pub monitoring_schedule: String,
    /// Monitor type: `DataQuality`, `ModelQuality`, `ModelBias`, or `ModelExplainability`.
    pub monitor_type: String,
    /// Whether Driftwarden analyzes with this baseline (native analysis) instead of Model Monitor.
    pub own: bool,
    /// `s3://` URI of the folder with the baseline files. Absent if it is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline_uri: Option<String>,
}

/// Detail of `Model Baselines Requested`, version 1: the monitors of a promoted model need baselines from its training data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct BaselinesRequested {
    /// Version of the event layout. Fields can be added within a version; ignore unknown fields.
    pub version: String,
    /// Deterministic ID of the request. Repeated deliveries have the same ID.
    pub id: String,
    /// Correlation ID of the experiment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    /// Name of the model.
    pub model: String,
    /// ID of the experiment that promoted the model package.
    pub experiment_id: String,
    /// ARN of the promoted model package.
    pub model_package_arn: String,
    /// `s3://` URI of the folder for the baselines of this model package. Each monitoring schedule gets a subfolder.
    pub output_uri: String,
    /// `s3://` URI of the training dataset. Absent if the policy does not set `training_data`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub training_data_uri: Option<String>,
    /// Monitors that need a new baseline, with their current baselines.
    pub monitors: Vec<MonitorBaseline>,
    /// `DriftCheckBaselines` of the model package: by monitor type, the `s3://` URI of each baseline file by its file name
    /// (`statistics.json`, `constraints.json`).
    #[serde(default)]
    pub drift_check_baselines: BTreeMap<String, BTreeMap<String, String>>,
    /// Time of the request.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub time: Timestamp,
}

/// A monitor without a new baseline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct BaselineFailure {
    /// Name of the monitoring schedule.
    pub monitoring_schedule: String,
    /// Reason why the baseline was not created, and what to do.
    pub reason: String,
}

/// Detail of `Model Baselines Created`, version 1: the response to `Model Baselines Requested`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct BaselinesCreated {
    /// Version of the event layout. Fields can be added within a version; ignore unknown fields.
    pub version: String,
    /// ID of the request.
    pub id: String,
    /// Correlation ID of the experiment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    /// Name of the model.
    pub model: String,
    /// ID of the experiment that promoted the model package.
    pub experiment_id: String,
    /// ARN of the promoted model package.
    pub model_package_arn: String,
    /// Monitors with a new baseline, each with the folder of the baseline files.
    pub baselines: Vec<MonitorBaseline>,
    /// Monitors without a new baseline. They keep their current baseline.
    #[serde(default)]
    pub not_created: Vec<BaselineFailure>,
    /// Time at which the baselines were created.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub time: Timestamp,
}

/// Detail of `Monitor Baseline Change`, version 1: a monitor uses another baseline, and its alert window restarts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct MonitorBaselineChange {
    /// Version of the event layout. Fields can be added within a version; ignore unknown fields.
    pub version: String,
    /// Deterministic ID of the change. Repeated deliveries have the same ID.
    pub id: String,
    /// Correlation ID of the experiment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    /// Name of the model.
    pub model: String,
    /// Name of the monitoring schedule.
    pub monitoring_schedule: String,
    /// Monitor type: `DataQuality`, `ModelQuality`, `ModelBias`, or `ModelExplainability`.
    pub monitor_type: String,
    /// `s3://` URI of the folder with the new baseline.
    pub baseline_uri: String,
    /// `s3://` URI of the folder with the previous baseline. Absent if it is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_baseline_uri: Option<String>,
    /// ARN of the model package that the baseline belongs to. Absent if the previous baseline was restored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_package_arn: Option<String>,
    /// ID of the experiment that caused the change.
    pub experiment_id: String,
    /// Description of the change, for people.
    pub sentence: String,
    /// Time of the change. Executions scheduled after it start a new alert window.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub time: Timestamp,
}

/// Current baseline of a monitor after a promotion: `baselines/{schedule}.json` in the state bucket. It takes precedence over
/// the baseline in the policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BaselineDocument {
    version: u64,
    /// The latest change.
    pub change: MonitorBaselineChange,
    /// Fields of a newer release.
    #[serde(flatten)]
    rest: Map<String, Value>,
}

impl BaselineDocument {
    /// Newest format version that this release supports.
    pub const VERSION: u64 = 1;

    /// The document with its first change.
    pub fn new(change: MonitorBaselineChange) -> Self {
        Self {
            version: Self::VERSION,
            change,
            rest: Map::new(),
        }
    }

    /// The document's key in the state bucket.
    pub fn key(monitoring_schedule: &str) -> String {
        // SageMaker lower-cases schedule names in ARNs.
        format!("baselines/{}.json", monitoring_schedule.to_lowercase())
    }
}
