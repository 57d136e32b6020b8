//! The baselines of a promoted model: who asks for them, where they lie, and which monitor is held against which.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Detail-type of [`BaselinesRequested`].
pub const MODEL_BASELINES_REQUESTED: &str = "Model Baselines Requested";
/// Detail-type of [`BaselinesCreated`].
pub const MODEL_BASELINES_CREATED: &str = "Model Baselines Created";
/// Detail-type of [`MonitorBaselineChange`].
pub const MONITOR_BASELINE_CHANGE: &str = "Monitor Baseline Change";

/// A monitor of a model, with the baseline that it is held against.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct MonitorBaseline {
    /// The monitoring schedule.
    pub monitoring_schedule: String,
    /// `DataQuality`, `ModelQuality`, `ModelBias` or `ModelExplainability`.
    pub monitor_type: String,
    /// Whether Driftwarden analyses by it, and not Model Monitor.
    pub own: bool,
    /// `s3://` URI of the folder of the baseline's files, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline_uri: Option<String>,
}

/// Detail of `Model Baselines Requested`, version 1: the monitors of a promoted model need baselines of what it was trained on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct BaselinesRequested {
    /// Version of this layout. Fields may be added within a version; unknown ones are to be ignored.
    pub version: String,
    /// Deterministic: the same request has the same id, however often it is delivered.
    pub id: String,
    /// The experiment's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    /// The model.
    pub model: String,
    /// The experiment that promoted the model package.
    pub experiment_id: String,
    /// The model package.
    pub model_package_arn: String,
    /// `s3://` URI of the folder of this model package, in which each monitoring schedule gets a folder of its own.
    pub output_uri: String,
    /// `s3://` URI of the dataset that the model was trained on, if the policy says where it lies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub training_data_uri: Option<String>,
    /// The monitors that need a baseline.
    pub monitors: Vec<MonitorBaseline>,
    /// `DriftCheckBaselines` of the model package: by monitor type the `s3://` URI of each file, by the name that a
    /// baseline has it under (`statistics.json`, `constraints.json`).
    #[serde(default)]
    pub drift_check_baselines: BTreeMap<String, BTreeMap<String, String>>,
    /// When.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub time: Timestamp,
}

/// A monitor that has no baseline of the model package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct NotCreated {
    /// The monitoring schedule.
    pub monitoring_schedule: String,
    /// Why, and what would help.
    pub reason: String,
}

/// Detail of `Model Baselines Created`, version 1: the answer to `Model Baselines Requested`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct BaselinesCreated {
    /// Version of this layout. Fields may be added within a version; unknown ones are to be ignored.
    pub version: String,
    /// Deterministic: that of the request.
    pub id: String,
    /// The experiment's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    /// The model.
    pub model: String,
    /// The experiment that promoted the model package.
    pub experiment_id: String,
    /// The model package.
    pub model_package_arn: String,
    /// The monitors that have a baseline of it now, each with its folder.
    pub baselines: Vec<MonitorBaseline>,
    /// The monitors that have none, and stay with the one that they had.
    #[serde(default)]
    pub not_created: Vec<NotCreated>,
    /// When.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub time: Timestamp,
}

/// Detail of `Monitor Baseline Change`, version 1: from now on a monitor is held against another baseline, and its alert
/// window begins anew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct MonitorBaselineChange {
    /// Version of this layout. Fields may be added within a version; unknown ones are to be ignored.
    pub version: String,
    /// Deterministic: the same change has the same id, however often it is delivered.
    pub id: String,
    /// The experiment's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    /// The model.
    pub model: String,
    /// The monitoring schedule.
    pub monitoring_schedule: String,
    /// `DataQuality`, `ModelQuality`, `ModelBias` or `ModelExplainability`.
    pub monitor_type: String,
    /// `s3://` URI of the folder of the baseline that holds from now on.
    pub baseline_uri: String,
    /// That of the baseline before, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_baseline_uri: Option<String>,
    /// The model package that it is a baseline of; none where an older baseline came back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_package_arn: Option<String>,
    /// The experiment that this follows from.
    pub experiment_id: String,
    /// Why, for people.
    pub sentence: String,
    /// When: executions that are scheduled later are judged anew.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub time: Timestamp,
}

/// Which baseline a monitor is held against: `baselines/{schedule}.json` in the state bucket, once a promotion changed it. It
/// holds over the policy's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BaselineDocument {
    /// Version of this layout.
    pub version: u32,
    /// The change that holds.
    pub change: MonitorBaselineChange,
}

impl BaselineDocument {
    /// The document's key in the state bucket.
    pub fn key(monitoring_schedule: &str) -> String {
        // SageMaker lower-cases schedule names in ARNs.
        format!("baselines/{}.json", monitoring_schedule.to_lowercase())
    }
}
