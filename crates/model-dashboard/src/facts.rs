//! Facts about a model that only AWS knows. All of them are optional: pages can be rendered without AWS access.

use jiff::Timestamp;
use remediation::RiskRating;
use serde::{Deserialize, Serialize};

/// Facts about a model from AWS.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Facts {
    /// Time of the queries. `None` if AWS was never queried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    /// The endpoint that serves the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<EndpointFacts>,
    /// Risk rating from the model card.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub risk_rating: Option<RiskRating>,
    /// The most recent batch transform job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transform_job: Option<TransformJob>,
    /// ARN of the model package whose lineage this is. A package's lineage does not change, so it is queried once.
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "lineage_of")]
    pub lineage_package_arn: Option<String>,
    /// SageMaker's lineage of the serving model: the artifacts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub artifacts: Vec<LineageArtifact>,
    /// The associations between the artifacts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub associations: Vec<LineageAssociation>,
    /// Failed queries, one message each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
}

/// Current state of an endpoint.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct EndpointFacts {
    /// Name of the endpoint.
    pub name: String,
    /// `EndpointStatus`.
    pub status: String,
    /// Name of the endpoint configuration.
    pub config: String,
    /// The production variants.
    pub variants: Vec<VariantFacts>,
}

/// A production variant and its CloudWatch metrics of the last hour, from the namespaces `AWS/SageMaker` and
/// `/aws/sagemaker/Endpoints` (developer guide, page *monitoring-cloudwatch*). A metric without a datapoint is `None`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct VariantFacts {
    /// Name of the variant.
    pub name: String,
    /// Share of the traffic, in percent.
    pub share: f64,
    /// ARN of the model package that the variant serves. `None` if its model was created without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_package_arn: Option<String>,
    /// `CPUUtilization`, in percent: up to 100 per core.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<f64>,
    /// `MemoryUtilization`, in percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<f64>,
    /// `DiskUtilization`, in percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<f64>,
    /// `GPUUtilization`, in percent: up to 100 per GPU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu: Option<f64>,
    /// `Invocations` in the hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invocations: Option<f64>,
    /// 99th percentile of `ModelLatency`, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<f64>,
    /// `Invocation4XXErrors` in the hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errors_4xx: Option<f64>,
    /// `Invocation5XXErrors` in the hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errors_5xx: Option<f64>,
}

/// A batch transform job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransformJob {
    /// Name of the job.
    pub name: String,
    /// `TransformJobStatus`.
    pub status: String,
    /// Creation time.
    pub created: Timestamp,
    /// End time. `None` while the job is in progress.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Timestamp>,
    /// `FailureReason`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_reason: Option<String>,
}

/// A vertex of SageMaker's lineage (`QueryLineage`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LineageArtifact {
    /// ARN of the lineage entity.
    pub arn: String,
    /// `DataSet`, `TrainingJob`, `Model`, `ModelPackage`, `Endpoint`, …
    pub kind: String,
    /// Source URI: what the entity stands for.
    pub source: String,
}

/// An edge of SageMaker's lineage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LineageAssociation {
    /// ARN of the source.
    pub source: String,
    /// ARN of the destination.
    pub destination: String,
    /// `ContributedTo`, `Produced`, `DerivedFrom`, `AssociatedWith`.
    pub kind: String,
}
