//! What only AWS can say of a model, as a page shows it. Everything may be missing: who renders without AWS has none.

use jiff::Timestamp;
use remediation::RiskRating;
use serde::{Deserialize, Serialize};

/// What AWS says of a model.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Facts {
    /// When it was asked; `None` if it never was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    /// Its endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<EndpointFacts>,
    /// The risk rating of its model card.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub risk_rating: Option<RiskRating>,
    /// Its most recent batch transform job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transform_job: Option<TransformJob>,
    /// The model package that the lineage is of: it does not change, and is asked for once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lineage_of: Option<String>,
    /// SageMaker's lineage of what serves: artifacts, and what made or used what.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub artifacts: Vec<LineageArtifact>,
    /// How they belong together.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub associations: Vec<LineageAssociation>,
    /// What could not be asked, each in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
}

/// An endpoint as it is.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct EndpointFacts {
    /// Its name.
    pub name: String,
    /// `EndpointStatus`.
    pub status: String,
    /// Its configuration.
    pub config: String,
    /// Its production variants.
    pub variants: Vec<VariantFacts>,
}

/// A production variant over the latest hour, from CloudWatch's namespaces `AWS/SageMaker` and
/// `/aws/sagemaker/Endpoints` (developer guide, page `monitoring-cloudwatch`). What has no datapoint is `None`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct VariantFacts {
    /// Its name.
    pub name: String,
    /// Its share of the traffic, per cent.
    pub share: f64,
    /// The model package that it serves, if its model is of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_package_arn: Option<String>,
    /// `CPUUtilization`, per cent of one core: up to 100 for each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<f64>,
    /// `MemoryUtilization`, per cent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<f64>,
    /// `DiskUtilization`, per cent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<f64>,
    /// `GPUUtilization`, per cent of one GPU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu: Option<f64>,
    /// `Invocations` within the hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invocations: Option<f64>,
    /// `ModelLatency`, the 99th percentile, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<f64>,
    /// `Invocation4XXErrors` within the hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errors_4xx: Option<f64>,
    /// `Invocation5XXErrors` within the hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errors_5xx: Option<f64>,
}

/// A batch transform job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransformJob {
    /// Its name.
    pub name: String,
    /// `TransformJobStatus`.
    pub status: String,
    /// When it was created.
    pub created: Timestamp,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Timestamp>,
    /// Why it failed.
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
    /// What it stands for: the URI of its source.
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
