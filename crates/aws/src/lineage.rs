//! SageMaker's lineage and batch transform jobs, for the dashboard.

use super::{Aws, json::Time, sagemaker::known};
use machine::{AwsError, Kind};
use model_dashboard::{LineageArtifact, LineageAssociation, TransformJob};
use serde::Deserialize;
use serde_json::json;
use shell::ports::{Lineage, TransformJobs};
use std::collections::BTreeMap;

/// Depth of a lineage query: data, training job, model, model package, endpoint, and the entities between them (API,
/// `QueryLineage`: at most 10).
const MAX_DEPTH: u32 = 6;
/// Maximum number of entities that are described, with one request each.
const MAX_ENTITIES: usize = 24;

/// Response of `ListTransformJobs`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
#[cfg_attr(test, derive(serde::Serialize))]
pub(crate) struct TransformJobList {
    transform_job_summaries: Option<Vec<TransformJobSummary>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
#[cfg_attr(test, derive(serde::Serialize))]
struct TransformJobSummary {
    transform_job_name: Option<String>,
    transform_job_status: Option<String>,
    creation_time: Option<Time>,
    transform_end_time: Option<Time>,
    failure_reason: Option<String>,
}

/// Response of `QueryLineage`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
#[cfg_attr(test, derive(serde::Serialize))]
pub(crate) struct LineageGraph {
    vertices: Option<Vec<Vertex>>,
    edges: Option<Vec<Edge>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
#[cfg_attr(test, derive(serde::Serialize))]
struct Vertex {
    arn: Option<String>,
    r#type: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
#[cfg_attr(test, derive(serde::Serialize))]
struct Edge {
    source_arn: Option<String>,
    destination_arn: Option<String>,
    association_type: Option<String>,
}

/// Response of `ListArtifacts`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
#[cfg_attr(test, derive(serde::Serialize))]
pub(crate) struct Artifacts {
    artifact_summaries: Option<Vec<ArtifactSummary>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
#[cfg_attr(test, derive(serde::Serialize))]
struct ArtifactSummary {
    artifact_arn: Option<String>,
}

/// Response of `ListContexts`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
#[cfg_attr(test, derive(serde::Serialize))]
pub(crate) struct Contexts {
    context_summaries: Option<Vec<ContextSummary>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
#[cfg_attr(test, derive(serde::Serialize))]
struct ContextSummary {
    context_arn: Option<String>,
}

/// Response of `DescribeArtifact` and `DescribeContext`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
#[cfg_attr(test, derive(serde::Serialize))]
pub(crate) struct Entity {
    source: Option<EntitySource>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
#[cfg_attr(test, derive(serde::Serialize))]
struct EntitySource {
    source_uri: Option<String>,
}

impl TransformJobs for Aws {
    async fn latest_transform_job(&self, name_contains: &str) -> Result<Option<TransformJob>, AwsError> {
        let input = json!({
            "NameContains": name_contains,
            "SortBy": "CreationTime",
            "SortOrder": "Descending",
            "MaxResults": 1,
        });
        let listed = self
            .sagemaker("sagemaker:ListTransformJobs", name_contains, input)
            .await;
        let listed: TransformJobList = listed?;
        let newest = listed.transform_job_summaries.into_iter().flatten().next();
        Ok(newest.map(|job| TransformJob {
            name: job.transform_job_name.unwrap_or_default(),
            status: job.transform_job_status.unwrap_or_default(),
            created: known(job.creation_time),
            ended: job.transform_end_time.map(|time| time.0),
            failure_reason: job.failure_reason,
        }))
    }
}

impl Lineage for Aws {
    async fn lineage(&self, arn: &str) -> Result<(Vec<LineageArtifact>, Vec<LineageAssociation>), AwsError> {
        let starts = self.find_entities(arn).await?;
        if starts.is_empty() {
            return Ok((Vec::new(), Vec::new()));
        }
        let input = json!({
            "StartArns": starts,
            "Direction": "Ascendants",
            "IncludeEdges": true,
            "MaxDepth": MAX_DEPTH,
        });
        let answer: LineageGraph = match self.sagemaker("sagemaker:QueryLineage", arn, input).await {
            Ok(answer) => answer,
            Err(error) if error.kind == Kind::NotFound => return Ok((Vec::new(), Vec::new())),
            Err(error) => return Err(error),
        };
        let mut artifacts = BTreeMap::new();
        for vertex in answer.vertices.into_iter().flatten() {
            let (Some(arn), true) = (vertex.arn, artifacts.len() < MAX_ENTITIES) else {
                continue;
            };
            // The ARN of a vertex is that of the lineage entity. Its description contains the source.
            let Some(source) = self.find_source(&arn).await? else {
                continue;
            };
            let artifact = LineageArtifact {
                arn: arn.clone(),
                kind: vertex.r#type.unwrap_or_default(),
                source,
            };
            artifacts.insert(arn, artifact);
        }
        let associations = answer.edges.into_iter().flatten().filter_map(|edge| {
            Some(LineageAssociation {
                source: edge.source_arn?,
                destination: edge.destination_arn?,
                kind: edge.association_type.unwrap_or_default(),
            })
        });
        Ok((artifacts.into_values().collect(), associations.collect()))
    }
}

impl Aws {
    /// Finds the lineage entities (artifacts and contexts) for the resource with this ARN.
    async fn find_entities(&self, arn: &str) -> Result<Vec<String>, AwsError> {
        let input = json!({"SourceUri": arn});
        let artifacts: Artifacts = self.sagemaker("sagemaker:ListArtifacts", arn, input.clone()).await?;
        let contexts: Contexts = self.sagemaker("sagemaker:ListContexts", arn, input).await?;
        let artifacts = artifacts.artifact_summaries.into_iter().flatten();
        let contexts = contexts.context_summaries.into_iter().flatten();
        let found = artifacts.filter_map(|artifact| artifact.artifact_arn);
        Ok(found
            .chain(contexts.filter_map(|context| context.context_arn))
            .collect())
    }

    /// Source URI of a lineage entity. `None` if the entity was deleted, or its kind has no source.
    async fn find_source(&self, arn: &str) -> Result<Option<String>, AwsError> {
        let (kind, name) = {
            let resource = arn.rsplit(':').next().unwrap_or_default();
            resource.split_once('/').unwrap_or((resource, ""))
        };
        let (operation, input) = match kind {
            "artifact" => ("sagemaker:DescribeArtifact", json!({"ArtifactArn": arn})),
            "context" => ("sagemaker:DescribeContext", json!({"ContextName": name})),
            // A trial component stands for a step of a pipeline execution. Its job has the same name.
            "experiment-trial-component" => return Ok(Some(arn.to_owned())),
            _ => return Ok(None),
        };
        match self.sagemaker(operation, arn, input).await {
            Ok(Entity { source }) => Ok(source.and_then(|source| source.source_uri)),
            Err(error) if error.kind == Kind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}
